//! Who reads, and what of each article they may have now: the answers of the store and the editors' files, joined by the rule of
//! `domain::archive`. Every page and the feed ask here, so that nothing is gated in two ways.

use std::collections::{BTreeMap, BTreeSet};

use axum::response::Response;
use chrono::NaiveDate;
use serde_json::{Value, json};

use super::public::Site;
use super::sign_in::Signed;
use crate::domain::archive::{self, Facts, Share};
use crate::domain::entitlement::effective_tier;
use crate::domain::publication::{Publication, Tier, TierId};
use crate::domain::sign_in::Who;
use crate::domain::subscriber::Subscriber;
use crate::render::{Article, Status};
use crate::runtime::Timestamp;
use crate::store::{archive as went_out, editions, people};

/// When each article went out to a tier.
type Sent = BTreeMap<String, Timestamp>;

/// A reader and what the store knows of their articles.
#[derive(Default)]
pub(super) struct Reading {
    pub member: Option<Subscriber>,
    /// What the member counts as now; `None`: a stranger, or a term that ended into nothing.
    pub tier: Option<Tier>,
    everybody: Option<Tier>,
    sent_to_tier: Sent,
    sent_to_everybody: Sent,
    extras: BTreeSet<String>,
}

/// An article that the reader may open.
pub(super) struct Open<'a> {
    pub article: &'a Article,
    /// What it is cut as.
    pub tier: &'a Tier,
    pub day: Option<NaiveDate>,
}

impl Open<'_> {
    /// Whether a part is missing that others get.
    pub fn is_cut(&self) -> bool {
        self.article.is_cut_for(self.tier)
    }
}

/// Reads what decides, in one view of the store.
pub(super) async fn reading(site: &Site, signed: Option<&Signed>) -> Result<Reading, Response> {
    let content = site.shown();
    let publication = content.publication();
    let everybody = archive::everybody(publication);
    let lapsed = publication.lapsed_tier.clone();
    let id = signed.and_then(|signed| match signed.0.who {
        Who::Subscriber(id) => Some(id),
        Who::House { .. } => None,
    });
    let now = site.now();
    let open = everybody.as_ref().map(|tier| tier.id.clone());
    let read = site.read(move |store| async move {
        let mut tx = store.read().await?;
        let mut reading = Reading::default();
        if let Some(open) = &open {
            reading.sent_to_everybody = editions::sent_articles(&mut tx, open).await?;
        }
        let member = match id {
            Some(id) => people::by_id(&mut tx, id).await?,
            None => None,
        };
        let Some(member) = member else { return Ok((reading, None)) };
        let tier = effective_tier(&member.tier, member.term_ends_at, lapsed.as_ref(), now).cloned();
        if let Some(tier) = &tier {
            reading.sent_to_tier = editions::sent_articles(&mut tx, tier).await?;
        }
        reading.extras = went_out::extras_got(&mut tx, member.id).await?;
        reading.member = Some(member);
        Ok((reading, tier))
    });
    let (mut reading, tier): (Reading, Option<TierId>) = read.await?;
    reading.tier = tier.and_then(|tier| publication.tier(&tier).cloned());
    reading.everybody = everybody;
    Ok(reading)
}

impl Reading {
    /// What the reader gets of an article, if anything.
    pub fn open<'a>(&'a self, publication: &Publication, article: &'a Article) -> Option<Open<'a>> {
        let is_for = |tier: Option<&Tier>| tier.is_some_and(|tier| article.is_for(&tier.id));
        let facts = Facts {
            draft: article.status == Status::Draft,
            published: article.status == Status::Published,
            extra: article.extra,
            for_tier: is_for(self.tier.as_ref()),
            sent_to_tier: self.sent_to_tier.contains_key(&article.id),
            for_everybody: is_for(self.everybody.as_ref()),
            sent_to_everybody: self.sent_to_everybody.contains_key(&article.id),
            got: self.extras.contains(&article.id),
        };
        let tier = match archive::share(&facts, self.tier.as_ref()) {
            Share::Own => self.tier.as_ref()?,
            Share::Start => self.everybody.as_ref()?,
            Share::Nothing => return None,
        };
        let day = |at: &Timestamp| at.to_utc().with_timezone(&publication.timezone).date_naive();
        let sent = self.sent_to_tier.get(&article.id).or_else(|| self.sent_to_everybody.get(&article.id));
        Some(Open { article, tier, day: article.date.or_else(|| sent.map(day)) })
    }

    /// Everything that the reader may open, the newest first.
    pub fn all<'a>(&'a self, publication: &Publication, articles: &[&'a Article]) -> Vec<Open<'a>> {
        let mut open: Vec<Open<'_>> =
            articles.iter().filter_map(|article| self.open(publication, article)).collect();
        open.sort_by(|one, other| {
            other.day.cmp(&one.day).then_with(|| one.article.id.cmp(&other.article.id))
        });
        open
    }

    /// The way to the other pages, `here` among them.
    pub fn nav(&self, site: &Site, here: &str) -> Value {
        let entry = |path: &str, label: &str| json!({ "href": format!("{}/{path}", site.base()), "label": label, "here": path == here });
        let mut entries = vec![entry("archive", "Articles"), entry("plans", "Plans")];
        match &self.member {
            Some(member) => entries.push(entry("you", &self.called(member))),
            None => entries.extend([entry("join", "Subscribe"), entry("sign-in", "Sign in")]),
        }
        Value::Array(entries)
    }

    /// `Jonas, yearly`.
    fn called(&self, member: &Subscriber) -> String {
        let first: String = member.name.split_whitespace().next().unwrap_or("You").chars().take(20).collect();
        match &self.tier {
            Some(tier) => format!("{first}, {}", tier.label.to_lowercase()),
            None => first,
        }
    }
}
