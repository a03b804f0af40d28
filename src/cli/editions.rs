//! `tidings editions`.

use std::collections::BTreeMap;

use clap::Subcommand;
use serde::Serialize;

use super::Context;
use crate::app::Failure;
use crate::config;
use crate::domain::edition::{Counts, EditionOrder, EditionState};
use crate::runtime::{Clock, SystemClock, Timestamp};
use crate::store::editions::{EditionRow, TierCounts};
use crate::store::{Store, editions};
use crate::tasks::edition_orders::{self, By, Obeyed, Retried};
use crate::tasks::editors::Word;
use crate::tasks::schedule::freeze;
use crate::tasks::{restore, week};

/// Whose change it is.
const BY: By<'static> = By { door: "cli", who: "by hand" };

#[derive(Debug, Subcommand)]
pub enum EditionsCommand {
    /// All of them, planned ones included.
    List,
    /// One with its numbers.
    Show { slug: String },
    /// What it would send to whom, before anything is queued. Takes a one-off, or the next date of a slot.
    Plan { slug: String },
    /// Lets an edition go that waits for approval.
    Approve { slug: String },
    /// Keeps an approved or sending edition back until `approve`.
    Hold { slug: String },
    /// Stops claiming from it; messages in flight are finished.
    Pause { slug: String },
    /// Goes on after a pause.
    Resume { slug: String },
    /// Ends it: what was not sent yet never is.
    Cancel { slug: String },
    /// Tries again what waits for a word: uncertain and parked deliveries.
    Retry { slug: String },
}

#[derive(Serialize)]
struct Shown {
    slug: String,
    state: EditionState,
    slot: Option<String>,
    due_at: Timestamp,
    queued_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    audience: i64,
    counts: Counts,
    tiers: BTreeMap<String, TierNumbers>,
}

#[derive(Serialize)]
struct TierNumbers {
    audience: i64,
    accepted: i64,
}

impl From<EditionRow> for Shown {
    fn from(row: EditionRow) -> Shown {
        Shown {
            slug: row.slug,
            state: row.state,
            slot: row.slot,
            due_at: row.due_at,
            queued_at: row.queued_at,
            finished_at: row.finished_at,
            audience: row.audience,
            counts: row.counts,
            tiers: row
                .tiers
                .into_iter()
                .map(|(tier, TierCounts { audience, counts })| {
                    (tier.0, TierNumbers { audience, accepted: counts.accepted })
                })
                .collect(),
        }
    }
}

/// Editions that the config knows and the store does not.
fn planned(context: &Context, known: &[Shown]) -> Vec<Shown> {
    let loaded = config::load(&context.config, &config::process_environment(), &context.flags);
    let configured = loaded.publication.map(|publication| publication.editions).unwrap_or_default();
    configured
        .into_iter()
        .filter(|edition| known.iter().all(|row| row.slug != edition.slug))
        .map(|edition| not_yet(edition.slug, edition.due_at))
        .collect()
}

fn not_yet(slug: String, due_at: Timestamp) -> Shown {
    Shown {
        slug,
        state: EditionState::Planned,
        slot: None,
        due_at,
        queued_at: None,
        finished_at: None,
        audience: 0,
        counts: Counts::default(),
        tiers: BTreeMap::new(),
    }
}

pub async fn editions(context: &Context, command: EditionsCommand) -> Result<(), Failure> {
    let store = context.store().await?;
    match command {
        EditionsCommand::List => list(context, &store).await?,
        EditionsCommand::Show { slug } => show(context, &store, &slug).await?,
        EditionsCommand::Pause { slug } => {
            change(context, &store, &slug, EditionOrder::Pause).await?;
        }
        EditionsCommand::Resume { slug } => {
            change(context, &store, &slug, EditionOrder::Resume).await?;
        }
        EditionsCommand::Plan { slug } => plan(context, &store, &slug).await?,
        EditionsCommand::Approve { slug } => {
            obey(context, &store, &slug, Word::Approve).await?;
        }
        EditionsCommand::Hold { slug } => {
            obey(context, &store, &slug, Word::Hold).await?;
        }
        EditionsCommand::Cancel { slug } => cancel(context, &store, &slug).await?,
        EditionsCommand::Retry { slug } => retry(context, &store, &slug).await?,
    }
    store.close().await;
    Ok(())
}

async fn list(context: &Context, store: &Store) -> Result<(), Failure> {
    if let Some(copy) = restore::held(store).await? {
        // Beside the answer: with --json that is one document.
        eprintln!("tidings: {}", restore::reason(&copy));
    }
    let rows = editions::list(&mut store.read().await?).await?;
    let mut shown: Vec<Shown> = rows.into_iter().map(Shown::from).collect();
    let planned = planned(context, &shown);
    shown.splice(0..0, planned);
    if context.output.json {
        return context.output.document(&shown);
    }
    let rows: Vec<Vec<String>> = shown
        .iter()
        .map(|row| {
            vec![
                row.slug.clone(),
                row.state.to_string(),
                row.due_at.to_string(),
                row.audience.to_string(),
                row.counts.accepted.to_string(),
                row.counts.open().to_string(),
            ]
        })
        .collect();
    let head = ["EDITION", "STATE", "DUE", "AUDIENCE", "ACCEPTED", "OPEN"];
    context.output.table(
        &head,
        &rows,
        "There is no edition yet. Plan one in publication.toml under [[editions]].",
    );
    Ok(())
}

async fn show(context: &Context, store: &Store, slug: &str) -> Result<(), Failure> {
    let row = editions::show(&mut store.read().await?, slug).await?;
    let reason = row.as_ref().map(|row| row.reason.clone()).unwrap_or_default();
    let shown = match row {
        Some(row) => Shown::from(row),
        None => return show_planned(context, store, slug).await,
    };
    if context.output.json {
        return context.output.document(&shown);
    }
    let out = context.output;
    out.line(format!(
        "{}: {}{}",
        shown.slug,
        shown.state,
        if reason.is_empty() { "".into() } else { format!(" ({reason})") }
    ));
    out.line(format!("due {}, audience {}", shown.due_at, shown.audience));
    let Counts { queued, leased, accepted, refused, expired, uncertain, skipped, parked } = shown.counts;
    out.line(format!(
        "queued {queued}, leased {leased}, accepted {accepted}, refused {refused}, expired {expired}, \
         uncertain {uncertain}, skipped {skipped}, parked {parked}"
    ));
    let rows: Vec<Vec<String>> = shown
        .tiers
        .iter()
        .map(|(tier, numbers)| vec![tier.clone(), numbers.audience.to_string(), numbers.accepted.to_string()])
        .collect();
    out.table(&["TIER", "AUDIENCE", "ACCEPTED"], &rows, "Nothing is queued yet.");
    Ok(())
}

/// A one-off or a slot's coming date. One that is due and still not queued is blocked: then every problem is told.
async fn show_planned(context: &Context, store: &Store, slug: &str) -> Result<(), Failure> {
    let now = SystemClock.now();
    let (setup, found) = context.load();
    let mut problems: Vec<String> =
        found.iter().filter(|problem| problem.is_error()).map(ToString::to_string).collect();
    let mut edition = planned(context, &[]).into_iter().find(|edition| edition.slug == slug);
    if let Some(setup) = &setup
        && let Some(due) = week::planned(&setup.content, slug, now)?
    {
        edition = edition.or_else(|| {
            let slot = due.slot_name().map(str::to_owned);
            Some(Shown { slot, ..not_yet(slug.to_owned(), due.due_at()) })
        });
        if let (true, Ok(edition)) = (due.due_at() <= now, week::plan(store, &setup.content, &due).await?)
            && let Err(more) = freeze(&setup.content, &setup.edition_frame(), &edition, 1)
        {
            problems.extend(more.iter().map(ToString::to_string));
        }
    }
    // Where the files do not check, nobody can say what they plan.
    let edition = edition.ok_or_else(|| match setup {
        Some(_) => unknown(slug),
        None => Failure::problems(&found),
    })?;
    if context.output.json {
        return context.output.document(&edition);
    }
    context.output.line(format!("{slug}: {}, due {}", edition.state, edition.due_at));
    if edition.due_at <= now && !problems.is_empty() {
        context.output.line("It is due and cannot be queued:");
        problems.iter().for_each(|problem| context.output.line(problem));
    }
    Ok(())
}

/// A planned edition with its articles and the people of each tier. The numbers come from queueing it in a transaction that is
/// taken back, so they are those of a queue at this moment.
async fn plan(context: &Context, store: &Store, slug: &str) -> Result<(), Failure> {
    let setup = context.setup()?;
    let content = &setup.content;
    let now = SystemClock.now();
    let due = week::planned(content, slug, now)?.ok_or_else(|| {
        Failure::No(format!(
            "`{slug}` is no one-off edition and no coming date of a slot; `tidings schedule` names them"
        ))
    })?;
    let edition = week::plan(store, content, &due).await?.map_err(Failure::No)?;
    let frozen = freeze(content, &setup.edition_frame(), &edition, 1)
        .map_err(|problems| Failure::problems(&problems))?;
    let mut tx = store.write().await?;
    let queued = editions::queue(&mut tx, &frozen, now).await?;
    drop(tx);
    let queued = queued
        .ok_or_else(|| Failure::No(format!("`{slug}` is queued already; `editions show` has its numbers")))?;
    let planned = Planned {
        slug: slug.to_owned(),
        state: EditionState::Planned,
        due_at: edition.due_at,
        subject: frozen.subject.clone(),
        articles: edition.articles.clone(),
        approval: edition.approval,
        audience: queued.tiers.into_iter().map(|(tier, count)| (tier.0, count)).collect(),
    };
    if context.output.json {
        return context.output.document(&planned);
    }
    let out = context.output;
    out.line(format!("{slug}: \"{}\", due {}", planned.subject, planned.due_at));
    out.line(format!("articles: {}", planned.articles.join(", ")));
    let rows: Vec<Vec<String>> =
        planned.audience.iter().map(|(tier, count)| vec![tier.clone(), count.to_string()]).collect();
    out.table(&["TIER", "PEOPLE"], &rows, "Nobody would get it.");
    Ok(())
}

#[derive(Serialize)]
struct Planned {
    slug: String,
    state: EditionState,
    due_at: Timestamp,
    subject: String,
    articles: Vec<String>,
    approval: bool,
    audience: BTreeMap<String, i64>,
}

fn unknown(slug: &str) -> Failure {
    Failure::No(format!("there is no edition `{slug}`; `tidings editions list` names them"))
}

/// A planned edition can only be changed where it is planned.
pub(super) fn not_queued(context: &Context, slug: &str) -> Failure {
    match planned(context, &[]).iter().any(|edition| edition.slug == slug) {
        true => Failure::No(format!(
            "`{slug}` is planned and not queued yet; take it out of publication.toml to stop it"
        )),
        false => unknown(slug),
    }
}

/// An editor's word, as by mail.
async fn obey(context: &Context, store: &Store, slug: &str, word: Word) -> Result<(), Failure> {
    let setup = context.setup()?;
    let mut tx = store.write().await?;
    let said = edition_orders::say(&mut tx, &setup.content, slug, (word, BY), SystemClock.now()).await?;
    let to = match said {
        Obeyed::Done { to, .. } => to,
        Obeyed::Not { why, .. } => return Err(Failure::No(format!("`{slug}`: {why}"))),
        Obeyed::Unknown => return Err(not_queued(context, slug)),
    };
    tx.commit().await?;
    context.output.line(format!("{slug}: {to}"));
    Ok(())
}

/// One change of state, with its audit row, or why it cannot be. Needs no files: it works while they do not check.
async fn change(context: &Context, store: &Store, slug: &str, order: EditionOrder) -> Result<i64, Failure> {
    let mut tx = store.write().await?;
    let (id, to) = match edition_orders::change(&mut tx, slug, order, BY, SystemClock.now()).await? {
        Obeyed::Done { id, to } => (id, to),
        Obeyed::Not { state, .. } => {
            return Err(Failure::No(format!("`{slug}` is {state}; it cannot become {}", order.to())));
        }
        Obeyed::Unknown => return Err(not_queued(context, slug)),
    };
    tx.commit().await?;
    context.output.line(format!("{slug}: {to}"));
    Ok(id)
}

async fn cancel(context: &Context, store: &Store, slug: &str) -> Result<(), Failure> {
    let id = change(context, store, slug, EditionOrder::Cancel).await?;
    let mut skipped = 0;
    loop {
        let mut tx = store.write().await?;
        let count = editions::skip_chunk(&mut tx, id, SystemClock.now()).await?;
        tx.commit().await?;
        skipped += count;
        if count == 0 {
            break;
        }
    }
    context.output.line(format!("{skipped} deliveries are skipped"));
    Ok(())
}

async fn retry(context: &Context, store: &Store, slug: &str) -> Result<(), Failure> {
    let mut tx = store.write().await?;
    let retried = match edition_orders::retry(&mut tx, slug, BY, SystemClock.now()).await? {
        Retried::Done(count) => count,
        Retried::Over(state) => {
            return Err(Failure::No(format!("`{slug}` is {state}; nothing of it is sent any more")));
        }
        Retried::Unknown => return Err(unknown(slug)),
    };
    tx.commit().await?;
    context.output.line(format!("{slug}: {retried} deliveries are tried again"));
    Ok(())
}
