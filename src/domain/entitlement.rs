//! Who may get what now. One rule, asked twice: as a value that `store` renders to SQL when an edition is queued, and for each
//! person again in the transaction that claims their delivery. A test compares the two.

use std::collections::BTreeMap;

use super::publication::TierId;
use super::subscriber::SubscriberStatus;
use super::suppression::SuppressionReason;
use crate::runtime::Timestamp;

/// What decides about one person, as the store knows it at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub status: SubscriberStatus,
    pub tier: TierId,
    /// `None`: never lapses.
    pub term_ends_at: Option<Timestamp>,
    pub suppression: Option<SuppressionReason>,
    /// No edition before this instant.
    pub paused_until: Option<Timestamp>,
    /// Extras counted in this term, without the one that is asked about.
    pub extras_used: i64,
}

/// The people of one edition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    /// The tiers that have a body of this edition.
    pub tiers: Vec<TierId>,
    /// What a lapsed person counts as; `None`: they get nothing.
    pub lapsed: Option<TierId>,
    /// Of an extra edition: how many a person of each tier may have in a term. Empty for any other.
    pub extra_limits: BTreeMap<TierId, i64>,
}

/// Why a delivery is not sent after all. The text is what `deliveries list` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Skip {
    #[error("unsubscribed before the send")]
    Unsubscribed,
    #[error("suppressed before the send: {0}")]
    Suppressed(SuppressionReason),
    #[error("paused before the send")]
    Paused,
    #[error("no longer entitled: the tier gets nothing of this edition")]
    NotEntitled,
    #[error("no extras are left in this term")]
    ExtrasUsed,
    #[error("erased before the send")]
    Erased,
    #[error("no longer on the desk")]
    LeftTheDesk,
    #[error("came back already")]
    CameBack,
    #[error("a proof of an edition that is cancelled or missed")]
    EditionEnded,
}

/// The tier that a person counts as at `now`: a term that has ended counts as the fallback. The last instant of a term is the
/// one before `term_ends_at`.
pub fn effective_tier<'a>(
    tier: &'a TierId,
    term_ends_at: Option<Timestamp>,
    lapsed: Option<&'a TierId>,
    now: Timestamp,
) -> Option<&'a TierId> {
    match term_ends_at {
        Some(ends) if ends <= now => lapsed,
        _ => Some(tier),
    }
}

impl Audience {
    /// The tier whose body this person gets, or why they get none.
    ///
    /// # Errors
    /// The first reason that holds: consent, suppression, pause, entitlement.
    pub fn body_for<'a>(&'a self, person: &'a Person, now: Timestamp) -> Result<&'a TierId, Skip> {
        if person.status != SubscriberStatus::Active {
            return Err(Skip::Unsubscribed);
        }
        if let Some(reason) = person.suppression {
            return Err(Skip::Suppressed(reason));
        }
        if person.paused_until.is_some_and(|until| until > now) {
            return Err(Skip::Paused);
        }
        let tier = effective_tier(&person.tier, person.term_ends_at, self.lapsed.as_ref(), now)
            .filter(|tier| self.tiers.contains(tier))
            .ok_or(Skip::NotEntitled)?;
        match self.extra_limits.get(tier) {
            Some(limit) if person.extras_used >= *limit => Err(Skip::ExtrasUsed),
            _ => Ok(tier),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audience() -> Audience {
        Audience {
            tiers: vec!["free".into(), "yearly".into()],
            lapsed: Some("free".into()),
            extra_limits: BTreeMap::new(),
        }
    }

    fn person(tier: &str, ends: Option<i64>) -> Person {
        Person {
            status: SubscriberStatus::Active,
            tier: tier.into(),
            term_ends_at: ends.map(Timestamp),
            suppression: None,
            paused_until: None,
            extras_used: 0,
        }
    }

    #[test]
    fn a_lapsed_person_gets_the_fallback_from_the_instant_the_term_ends() {
        let now = Timestamp(1000);
        let tier = |ends| audience().body_for(&person("yearly", ends), now).cloned();
        assert_eq!(tier(None), Ok("yearly".into()));
        assert_eq!(tier(Some(1001)), Ok("yearly".into()));
        assert_eq!(tier(Some(1000)), Ok("free".into()));
        let strict = Audience { lapsed: None, ..audience() };
        assert_eq!(strict.body_for(&person("yearly", Some(1000)), now), Err(Skip::NotEntitled));
    }

    #[test]
    fn consent_and_suppression_come_first() {
        let now = Timestamp(0);
        let gone = Person { status: SubscriberStatus::Unsubscribed, ..person("yearly", None) };
        assert_eq!(audience().body_for(&gone, now), Err(Skip::Unsubscribed));
        let pending = Person { status: SubscriberStatus::Pending, ..person("yearly", None) };
        assert_eq!(audience().body_for(&pending, now), Err(Skip::Unsubscribed));
        let reason = SuppressionReason::HardBounce;
        let bounced = Person { suppression: Some(reason), ..person("yearly", None) };
        assert_eq!(audience().body_for(&bounced, now), Err(Skip::Suppressed(reason)));
        assert_eq!(audience().body_for(&person("monthly", None), now), Err(Skip::NotEntitled));
    }

    #[test]
    fn a_pause_ends_with_its_instant() {
        let paused = Person { paused_until: Some(Timestamp(1000)), ..person("yearly", None) };
        assert_eq!(audience().body_for(&paused, Timestamp(999)), Err(Skip::Paused));
        assert_eq!(audience().body_for(&paused, Timestamp(1000)), Ok(&"yearly".into()));
    }

    #[test]
    fn extras_run_out_with_the_tenth() {
        let extra =
            Audience { extra_limits: [("yearly".into(), 10), ("free".into(), 0)].into(), ..audience() };
        let now = Timestamp(1000);
        let tenth = Person { extras_used: 9, ..person("yearly", None) };
        assert_eq!(extra.body_for(&tenth, now), Ok(&"yearly".into()));
        let eleventh = Person { extras_used: 10, ..person("yearly", None) };
        assert_eq!(extra.body_for(&eleventh, now), Err(Skip::ExtrasUsed));
        assert_eq!(
            extra.body_for(&person("yearly", Some(1000)), now),
            Err(Skip::ExtrasUsed),
            "lapsed to free"
        );
    }
}
