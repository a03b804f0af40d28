//! What a file says of one person, in our words but not yet decided; and the one place where it is decided.
//!
//! Nothing is guessed upward. A plan that the editors have not named gives the default tier without a term to people who are
//! new, and changes nobody's tier who is known. A term belongs to a plan: people without one never lapse.

use chrono_tz::Tz;

use super::columns::short;
use super::{Rules, times};
use crate::domain::address::Address;
use crate::domain::publication::TierId;
use crate::domain::subscriber::{
    ImportRow, ImportedConsent, ImportedSuppression, SubscriberStatus, is_language_tag,
};
use crate::domain::suppression::SuppressionReason;
use crate::runtime::Timestamp;

const NAME_MAX: usize = 500;
/// A term that ends behind this date is how other systems write "for ever".
const FOR_EVER: Timestamp = Timestamp(4_102_444_800_000); // 2100-01-01

/// What a file says about somebody's plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Plan {
    /// Nothing: the file has no place for it.
    #[default]
    Silent,
    /// That there is none.
    Free,
    /// Its names. Several that mean different tiers are unclear.
    Named(Vec<String>),
    /// Our own tier.
    Tier(TierId),
}

/// What a status word means for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub status: SubscriberStatus,
    pub suppression: Option<SuppressionReason>,
    /// The word may mean several things; the careful one was taken.
    pub unclear: bool,
}

impl Standing {
    pub const ACTIVE: Standing = Standing::of(SubscriberStatus::Active, None);
    pub const PENDING: Standing = Standing::of(SubscriberStatus::Pending, None);
    pub const LEFT: Standing = Standing::never(SuppressionReason::Unsubscribed);

    const fn of(status: SubscriberStatus, suppression: Option<SuppressionReason>) -> Standing {
        Standing { status, suppression, unclear: false }
    }

    pub const fn never(reason: SuppressionReason) -> Standing {
        Standing::of(SubscriberStatus::Unsubscribed, Some(reason))
    }

    /// Reads a status of another system. Whole words only: `inactive` and `unactivated` contain `active`.
    pub fn read(word: &str) -> Result<Standing, String> {
        use SuppressionReason::{Complaint, HardBounce, Manual};
        Ok(match word.to_lowercase().as_str() {
            "" | "active" | "subscribed" | "enabled" | "confirmed" => Standing::ACTIVE,
            "unsubscribed" => Standing::LEFT,
            "pending" | "unconfirmed" | "unactivated" => Standing::PENDING,
            "inactive" => Standing { unclear: true, ..Standing::PENDING },
            "cleaned" | "bounced" | "unreachable" | "undeliverable" => Standing::never(HardBounce),
            "complained" | "spam" => Standing::never(Complaint),
            "blocklisted" | "blocked" | "disabled" | "removed" => Standing::never(Manual),
            _ => return Err(format!("`{}` is not a status", short(word))),
        })
    }
}

/// What a file says of one person.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub address: String,
    pub name: String,
    pub note: String,
    pub standing: Standing,
    pub suppressed_at: Option<Timestamp>,
    pub suppression_source: Option<String>,
    pub plan: Plan,
    pub timezone: Option<Tz>,
    pub language: Option<String>,
    pub term_started_at: Option<Timestamp>,
    pub term_ends_at: Option<Timestamp>,
    pub history: Vec<ImportedConsent>,
    pub unclear: Vec<String>,
}

impl Draft {
    pub fn new(address: String, standing: Standing) -> Draft {
        Draft {
            address,
            standing,
            name: String::new(),
            note: String::new(),
            suppressed_at: None,
            suppression_source: None,
            plan: Plan::Silent,
            timezone: None,
            language: None,
            term_started_at: None,
            term_ends_at: None,
            history: Vec::new(),
            unclear: Vec::new(),
        }
    }

    /// Adds a line to the consent history. Evidence whose time cannot be read is no evidence: it is reported and left out.
    pub fn remember(&mut self, time: &str, text: String) -> Option<Timestamp> {
        if time.is_empty() {
            return None;
        }
        match times::foreign(time) {
            Ok(at) => {
                self.history.push(ImportedConsent { at, source: None, text });
                Some(at)
            }
            Err(why) => {
                self.unclear.push(format!("{text}: {why}, left out"));
                None
            }
        }
    }

    /// The end of what was paid for. One that cannot be read must not become "for ever", so it costs the row.
    pub fn paid_until(&mut self, time: &str, column: &str) -> Result<(), String> {
        if !time.is_empty() {
            let ends = times::foreign(time).map_err(|why| format!("{column} {why}"))?;
            self.term_ends_at = Some(ends).filter(|at| *at < FOR_EVER);
        }
        Ok(())
    }

    pub fn checked(mut self, line: u64, rules: &Rules) -> Result<ImportRow, String> {
        if self.address.is_empty() {
            return Err("it has no address".to_owned());
        }
        let address = Address::parse(&self.address).map_err(|why| format!("not an address: {why}"))?;
        if self.name.chars().count() > NAME_MAX {
            return Err(format!("the name is longer than {NAME_MAX} characters"));
        }
        if let Some(text) = self.language.as_deref().filter(|text| !is_language_tag(text)) {
            return Err(format!("`{}` is not a language", short(text)));
        }
        let (tier, keeps_tier) = self.tier(rules)?;
        if let (Some(start), Some(end)) = (self.term_started_at, self.term_ends_at)
            && end < start
        {
            return Err("the term ends before it starts".to_owned());
        }
        if self.standing.unclear {
            let status = self.standing.status;
            self.unclear.push(format!("its status may mean several things; it was taken as {status}"));
        }
        let unclear = Some(self.unclear.join("; ")).filter(|text| !text.is_empty());
        let (at, source) = (self.suppressed_at, self.suppression_source);
        Ok(ImportRow {
            line,
            address,
            name: self.name,
            tier,
            keeps_tier,
            status: self.standing.status,
            timezone: self.timezone,
            language: self.language,
            term_started_at: self.term_started_at,
            term_ends_at: self.term_ends_at,
            note: self.note,
            suppression: self.standing.suppression.map(|reason| ImportedSuppression { reason, at, source }),
            history: self.history,
            unclear,
        })
    }

    /// The tier, and whether somebody who is known keeps theirs.
    fn tier(&mut self, rules: &Rules) -> Result<(TierId, bool), String> {
        const NO_DEFAULT: &str = "it has no plan, and [import] names no default tier";
        let fallback = || rules.import.default.clone().ok_or_else(|| NO_DEFAULT.to_owned());
        let names = match std::mem::take(&mut self.plan) {
            Plan::Tier(tier) => return Ok((tier, false)),
            Plan::Named(names) => names,
            other => {
                // A term without a plan would make people lapse who pay nothing.
                (self.term_started_at, self.term_ends_at) = (None, None);
                return Ok((fallback()?, other == Plan::Silent));
            }
        };
        let mut found: Vec<Option<&TierId>> = names.iter().map(|name| rules.import.tier_of(name)).collect();
        found.sort_unstable();
        found.dedup();
        if let [Some(tier)] = found.as_slice() {
            return Ok(((*tier).clone(), false));
        }
        (self.term_started_at, self.term_ends_at) = (None, None);
        let plans: Vec<String> = names.iter().map(|name| format!("`{}`", short(name))).collect();
        let what = if found.contains(&None) { "not named in [import.plans]" } else { "different tiers" };
        let tier = fallback()?;
        self.unclear.push(format!(
            "the plan {} is {what}: who is new is {tier} without a term, who is known keeps their tier",
            plans.join(", ")
        ));
        Ok((tier, true))
    }
}
