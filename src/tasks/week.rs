//! The week: which editions are due, which articles a slot's date takes, and what the next dates would send.
//!
//! A slot counts from when it was first seen, so that a new one does not miss dates of the past; of several dates that passed while
//! nobody looked only the latest is considered (W201).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::content::Content;
use crate::domain::article_queue::{self, Taken, Waiting};
use crate::domain::publication::{PlannedEdition, Slot, TierId};
use crate::domain::slot_rule::{Occurrence, SlotRule};
use crate::render::Status;
use crate::runtime::Timestamp;
use crate::store::{Store, StoreError, edition_articles, people, slots};

/// Of an edition that is no longer in the config.
const LATE: Duration = Duration::from_secs(86_400);

/// How far behind the latest date of a slot is looked for.
const BEHIND: Duration = Duration::from_secs(31 * 86_400);

/// How many dates ahead one may ask about.
const AHEAD: usize = 400;

/// Something that is due.
#[derive(Clone, Debug)]
pub enum Due {
    OneOff(PlannedEdition),
    Date { slot: Slot, occurrence: Occurrence, slug: String },
}

impl Due {
    pub fn slug(&self) -> &str {
        match self {
            Due::OneOff(edition) => &edition.slug,
            Due::Date { slug, .. } => slug,
        }
    }

    pub fn due_at(&self) -> Timestamp {
        match self {
            Due::OneOff(edition) => edition.due_at,
            Due::Date { occurrence, .. } => occurrence.due_at,
        }
    }

    pub fn late(&self) -> Duration {
        match self {
            Due::OneOff(edition) => edition.late,
            Due::Date { slot, .. } => slot.late,
        }
    }

    pub fn slot_name(&self) -> Option<&str> {
        match self {
            Due::OneOff(_) => None,
            Due::Date { slot, .. } => Some(&slot.name),
        }
    }

    /// The slot and its local date.
    pub fn slot(&self) -> Option<(String, String)> {
        match self {
            Due::OneOff(_) => None,
            Due::Date { slot, occurrence, .. } => Some((slot.name.clone(), occurrence.date.to_string())),
        }
    }
}

/// One line of `tidings schedule`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Forecast {
    /// `None` for a one-off.
    pub slot: Option<String>,
    pub date: chrono::NaiveDate,
    pub due_at: Timestamp,
    pub articles: Vec<String>,
    pub audience: BTreeMap<String, i64>,
    #[serde(skip)]
    pub slug: String,
}

/// What is due at `now`: one-offs, and the latest date of each slot.
///
/// # Errors
/// When the database fails.
pub async fn due(store: &Store, content: &Content, now: Timestamp) -> Result<Vec<Due>, StoreError> {
    let publication = &content.publication;
    let mut due: Vec<Due> = publication
        .editions
        .iter()
        .filter(|edition| edition.due_at <= now)
        .cloned()
        .map(Due::OneOff)
        .collect();
    for slot in &publication.slots {
        let since = since(store, slot, now).await?;
        let latest = rule(slot)?.latest(now, since, publication.timezone);
        due.extend(latest.map(|occurrence| date_of(slot, occurrence)));
    }
    Ok(due)
}

fn date_of(slot: &Slot, occurrence: Occurrence) -> Due {
    Due::Date { slug: format!("{}-{}", slot.name, occurrence.date), slot: slot.clone(), occurrence }
}

fn rule(slot: &Slot) -> Result<SlotRule, StoreError> {
    // `config` has read the rule before.
    SlotRule::parse(&slot.cron).map_err(|why| StoreError::Corrupt { what: "a slot's rule", why })
}

async fn since(store: &Store, slot: &Slot, now: Timestamp) -> Result<Timestamp, StoreError> {
    if let Some(since) = slots::since(&mut store.read().await?, &slot.name).await? {
        return Ok(since);
    }
    let mut tx = store.write().await?;
    slots::enter(&mut tx, &slot.name, now).await?;
    tx.commit().await?;
    Ok(now)
}

/// The one-off, or the latest or a coming date of a slot, that has this slug.
///
/// # Errors
/// When a slot's rule cannot be read.
pub fn planned(content: &Content, slug: &str, now: Timestamp) -> Result<Option<Due>, StoreError> {
    let publication = &content.publication;
    if let Some(edition) = publication.editions.iter().find(|edition| edition.slug == slug) {
        return Ok(Some(Due::OneOff(edition.clone())));
    }
    for slot in publication.slots.iter().filter(|slot| slug.starts_with(&slot.name)) {
        let rule = rule(slot)?;
        // The date that is due and not decided yet counts too.
        let behind = rule.latest(now, now - BEHIND, publication.timezone);
        let ahead = rule.after(now, publication.timezone).take(AHEAD);
        let mut dates = behind.into_iter().chain(ahead).map(|found| date_of(slot, found));
        if let Some(due) = dates.find(|due| due.slug() == slug) {
            return Ok(Some(due));
        }
    }
    Ok(None)
}

/// How late an edition may be: as its slot says, or itself, where it is a one-off.
pub fn lateness(content: &Content, slug: &str, slot: Option<&str>) -> Duration {
    let publication = &content.publication;
    match slot {
        Some(slot) => publication.slots.iter().find(|known| known.name == slot).map(|slot| slot.late),
        None => publication.editions.iter().find(|edition| edition.slug == slug).map(|edition| edition.late),
    }
    .unwrap_or(LATE)
}

/// The edition that a due date sends; or why its date is skipped.
///
/// # Errors
/// When the database fails.
pub async fn plan(
    store: &Store,
    content: &Content,
    due: &Due,
) -> Result<Result<PlannedEdition, String>, StoreError> {
    match due {
        Due::OneOff(edition) => Ok(Ok(edition.clone())),
        Due::Date { slot, occurrence, .. } => {
            let used = used(store, content).await?;
            Ok(take(slot, *occurrence, &waiting(content), &used))
        }
    }
}

/// Articles that a slot may not take: sent ones, and those that a one-off names.
async fn used(store: &Store, content: &Content) -> Result<BTreeSet<String>, StoreError> {
    let mut used: BTreeSet<String> =
        edition_articles::used(&mut store.read().await?).await?.into_iter().collect();
    used.extend(content.publication.editions.iter().flat_map(|edition| edition.articles.iter().cloned()));
    Ok(used)
}

fn waiting(content: &Content) -> Vec<Waiting> {
    let ready = content.articles.values().filter(|article| article.status == Status::Ready);
    ready
        .map(|article| Waiting { id: article.id.clone(), extra: article.extra, tiers: article.tiers.clone() })
        .collect()
}

fn take(
    slot: &Slot,
    occurrence: Occurrence,
    waiting: &[Waiting],
    used: &BTreeSet<String>,
) -> Result<PlannedEdition, String> {
    let articles = match article_queue::take(slot, waiting, used) {
        Taken::Articles(articles) => articles,
        Taken::TooFew(count) => {
            let kind = if slot.extra { "extra articles" } else { "articles" };
            return Err(format!("{count} {kind} are ready, the slot takes at least {}", slot.take_min));
        }
    };
    Ok(PlannedEdition {
        slug: format!("{}-{}", slot.name, occurrence.date),
        due_at: occurrence.due_at,
        late: slot.late,
        subject: slot.subject.clone(),
        articles,
        tiers: slot.tiers.clone(),
        template: slot.template.clone(),
        slot: Some((slot.name.clone(), occurrence.date)),
        approval: slot.approval,
    })
}

/// The next `count` dates of every slot and one-off after `from`, and what each would send to whom. Simulates the article queue;
/// sends and writes nothing.
///
/// # Errors
/// When the database fails.
pub async fn forecast(
    store: &Store,
    content: &Content,
    from: Timestamp,
    count: usize,
) -> Result<Vec<Forecast>, StoreError> {
    let publication = &content.publication;
    let mut dates: Vec<Due> = Vec::new();
    for slot in &publication.slots {
        let rule = rule(slot)?;
        dates.extend(rule.after(from, publication.timezone).take(count).map(|found| date_of(slot, found)));
    }
    dates.extend(
        publication.editions.iter().filter(|edition| edition.due_at > from).cloned().map(Due::OneOff),
    );
    dates.sort_by_key(|due| (due.due_at(), due.slug().to_owned()));
    dates.truncate(count);
    let mut used = used(store, content).await?;
    let waiting = waiting(content);
    let mut forecasts = Vec::new();
    for due in dates {
        let (tiers, articles) = match &due {
            Due::OneOff(edition) => (edition.tiers.clone(), edition.articles.clone()),
            Due::Date { slot, occurrence, .. } => {
                let taken = take(slot, *occurrence, &waiting, &used);
                (slot.tiers.clone(), taken.map(|edition| edition.articles).unwrap_or_default())
            }
        };
        let audience = if articles.is_empty() {
            BTreeMap::new()
        } else {
            audience(store, content, &tiers, &articles, due.due_at()).await?
        };
        used.extend(articles.iter().cloned());
        let local = due.due_at().to_utc().with_timezone(&publication.timezone).date_naive();
        let (slot, date) = match &due {
            Due::OneOff(_) => (None, local),
            Due::Date { slot, occurrence, .. } => (Some(slot.name.clone()), occurrence.date),
        };
        let slug = due.slug().to_owned();
        forecasts.push(Forecast { slot, date, due_at: due.due_at(), articles, audience, slug });
    }
    Ok(forecasts)
}

/// How many people of each tier would get it then, as far as terms and consents are known now.
async fn audience(
    store: &Store,
    content: &Content,
    tiers: &[TierId],
    articles: &[String],
    at: Timestamp,
) -> Result<BTreeMap<String, i64>, StoreError> {
    let extra = articles.iter().filter_map(|id| content.articles.get(id)).any(|article| article.extra);
    let lapsed = content.publication.lapsed_tier.as_ref();
    let mut counts = BTreeMap::new();
    for tier in tiers {
        let limit = content.publication.tier(tier).map_or(0, |tier| i64::from(tier.extra_articles));
        let limit = extra.then_some(limit);
        let count = people::count_entitled(&mut store.read().await?, tier, lapsed, limit, at).await?;
        counts.insert(tier.0.clone(), count);
    }
    Ok(counts)
}
