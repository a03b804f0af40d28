//! The editors' settings, checked: one newsletter, its tiers and its one-off editions. Produced by `config`, used by everybody.

use std::collections::BTreeMap;

use chrono::{Days, Months};
use chrono_tz::Tz;

use super::address::{Address, Mailbox};
use super::slot_rule::SlotRule;
use crate::runtime::Timestamp;

/// A tier's identifier: lower-case letters, digits, `-` and `_`, as written behind `[tiers.`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct TierId(pub String);

impl TierId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for TierId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for TierId {
    fn from(id: &str) -> TierId {
        TierId(id.to_owned())
    }
}

/// How much of an article a tier gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArticleAccess {
    /// Up to `<!-- more -->`.
    Teaser,
    Full,
}

/// The length of what a person paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    Days(u32),
    Months(u32),
    Years(u32),
}

impl Term {
    /// When a term ends that starts then. A month from the 31st ends on the last day of a shorter one.
    pub fn end(self, start: Timestamp) -> Timestamp {
        let start = start.to_utc();
        let end = match self {
            Term::Days(days) => start.checked_add_days(Days::new(days.into())),
            Term::Months(months) => start.checked_add_months(Months::new(months)),
            Term::Years(years) => start.checked_add_months(Months::new(years.saturating_mul(12))),
        };
        end.unwrap_or(start).into()
    }

    /// When a term started that ends then; the reverse of [`Term::end`], but for the lengths of months.
    pub fn start(self, end: Timestamp) -> Timestamp {
        let end = end.to_utc();
        let start = match self {
            Term::Days(days) => end.checked_sub_days(Days::new(days.into())),
            Term::Months(months) => end.checked_sub_months(Months::new(months)),
            Term::Years(years) => end.checked_sub_months(Months::new(years.saturating_mul(12))),
        };
        start.unwrap_or(end).into()
    }
}

/// What a group of subscribers is entitled to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    pub id: TierId,
    pub label: String,
    /// As shown to readers, for example `$60 a year`. A tier with a price is a plan.
    pub price: Option<String>,
    /// What the plan adds, one line for the members' box.
    pub note: Option<String>,
    pub articles: ArticleAccess,
    pub archive: bool,
    pub chat_support: bool,
    /// Per term.
    pub extra_articles: u32,
    pub term: Option<Term>,
    pub refund_days: u32,
}

/// A running discount, shown with the plans until its last day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub label: String,
    pub until: chrono::NaiveDate,
}

/// An edition that is not queued yet: a one-off of the config, or a slot's date with the articles that it takes. Nothing of it is
/// in the store before it is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedEdition {
    pub slug: String,
    pub due_at: Timestamp,
    /// How long after `due_at` it may still be queued.
    pub late: std::time::Duration,
    /// A template of its own; rendered once per tier.
    pub subject: String,
    /// Article ids, one or two.
    pub articles: Vec<String>,
    pub tiers: Vec<TierId>,
    pub template: String,
    /// The slot and its local date; `None` for a one-off.
    pub slot: Option<(String, chrono::NaiveDate)>,
    /// Waits for an editor's word before anything leaves.
    pub approval: bool,
}

/// A recurring time at which an edition is due, as configured and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    pub name: String,
    /// Five cron fields on the publication's wall clock; day of month and weekday must both match.
    pub cron: String,
    pub take_min: usize,
    pub take_max: usize,
    pub extra: bool,
    pub tiers: Vec<TierId>,
    pub subject: String,
    pub late: std::time::Duration,
    pub approval: bool,
    pub template: String,
}

/// What plans of other systems mean here. A plan that is not named is never guessed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportRules {
    /// For people of whom a file names no plan, or none that is known.
    pub default: Option<TierId>,
    /// As the other system spells them; compared without case.
    pub plans: Vec<(String, TierId)>,
}

impl ImportRules {
    /// The tier of one plan, if the editors have named it.
    pub fn tier_of(&self, plan: &str) -> Option<&TierId> {
        let plan = plan.trim().to_lowercase();
        self.plans.iter().find(|(name, _)| name.to_lowercase() == plan).map(|(_, tier)| tier)
    }
}

/// The one newsletter that a config folder describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    pub name: String,
    pub from: Mailbox,
    /// `https://...` without a slash at the end.
    pub url: String,
    pub postal_address: String,
    pub timezone: Tz,
    /// BCP 47, for example `en`.
    pub language: String,
    pub editors: Vec<Address>,
    /// Whether editors get each tier's mail too when an edition is queued.
    pub proofs: bool,
    pub upgrade_url: Option<String>,
    /// What a lapsed person counts as; `None`: they get nothing.
    pub lapsed_tier: Option<TierId>,
    pub offer: Option<Offer>,
    /// In the order of the file, which is the order of the members' box.
    pub tiers: Vec<Tier>,
    pub slots: Vec<Slot>,
    pub editions: Vec<PlannedEdition>,
    pub import: ImportRules,
}

impl Publication {
    pub fn tier(&self, id: &TierId) -> Option<&Tier> {
        self.tiers.iter().find(|tier| &tier.id == id)
    }

    /// An instant on the publication's calendar, in a pattern of chrono's. Names of days and months are English.
    pub fn date(&self, at: Timestamp, pattern: &str) -> String {
        at.to_utc().with_timezone(&self.timezone).format(pattern).to_string()
    }

    /// What somebody gets who joins by themselves: what a lapsed person counts as, or else the first tier that costs nothing.
    /// `None`: nobody can join without paying.
    pub fn joining_tier(&self) -> Option<&Tier> {
        let lapsed = self.lapsed_tier.as_ref().and_then(|id| self.tier(id));
        lapsed.or_else(|| self.tiers.iter().find(|tier| tier.price.is_none()))
    }

    /// When the next edition for this tier is due, as far as the config says.
    pub fn next_mail(&self, tier: &TierId, now: Timestamp) -> Option<Timestamp> {
        let slots = self.slots.iter().filter(|slot| slot.tiers.contains(tier)).filter_map(|slot| {
            let rule = SlotRule::parse(&slot.cron).ok()?;
            rule.after(now, self.timezone).next().map(|occurrence| occurrence.due_at)
        });
        let one_offs = self.editions.iter().filter(|edition| edition.tiers.contains(tier));
        slots.chain(one_offs.map(|edition| edition.due_at).filter(|due| *due > now)).min()
    }

    /// How long the terms of the tiers are that have any.
    pub fn terms(&self) -> BTreeMap<TierId, Term> {
        self.tiers.iter().filter_map(|tier| Some((tier.id.clone(), tier.term?))).collect()
    }

    pub fn tier_ids(&self) -> Vec<TierId> {
        self.tiers.iter().map(|tier| tier.id.clone()).collect()
    }
}
