//! What the editors' board shows of what is to come, and what somebody asks for on it.

use super::address::Address;
use super::edition::{EditionOrder, EditionState};
use crate::runtime::Timestamp;

/// How an edition stood when a page showed it: its state, and its newest change by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stood {
    pub state: EditionState,
    pub change: i64,
}

impl std::fmt::Display for Stood {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.state, self.change)
    }
}

impl Stood {
    /// As [`Stood`] is written. Anything else was shown by nobody.
    pub fn read(text: &str) -> Option<Stood> {
        let (state, change) = text.split_once('-')?;
        Some(Stood { state: EditionState::from_word(state)?, change: change.parse().ok()? })
    }
}

/// One wish about one edition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardOrder {
    pub slug: String,
    pub order: EditionOrder,
    /// The editor.
    pub by: Address,
    pub stood: Stood,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ordered {
    Done,
    /// Nothing was done: it does not stand any more as the page showed it.
    Moved,
    /// Nothing was done, and why.
    Not(String),
    /// It is not queued.
    Unknown,
}

/// What is to come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ahead {
    /// In the order of time.
    pub dates: Vec<Coming>,
    /// What each tier gets on the first of them.
    pub tiers: Vec<TierPlan>,
    pub subject: String,
    /// Nothing of it leaves before somebody approves.
    pub approval: bool,
    /// Why people get nothing of it, and how many, the gravest reason first.
    pub left_out: Vec<(LeftOut, i64)>,
    /// Articles that are ready, by title, with their minutes; the first ones go first.
    pub ready: Vec<(String, usize)>,
}

/// Why somebody gets nothing of an edition; the first reason that holds, in the order of [`super::entitlement::Audience::body_for`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOut {
    Unconfirmed,
    Unsubscribed,
    Suppressed,
    Paused,
    NotEntitled,
    ExtrasUsed,
}

impl LeftOut {
    /// As a person reads it.
    pub fn said(self) -> &'static str {
        match self {
            LeftOut::Unconfirmed => "not confirmed yet",
            LeftOut::Unsubscribed => "unsubscribed",
            LeftOut::Suppressed => "suppressed: mail came back, a complaint, or by hand",
            LeftOut::Paused => "paused beyond that day",
            LeftOut::NotEntitled => "their plan gets nothing of it",
            LeftOut::ExtrasUsed => "no extras are left in their term",
        }
    }
}

/// What each tier gets of an edition, as the mail itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    Shown(Vec<TierLook>),
    /// Why there is nothing to look at.
    Nothing(String),
    /// It does not render, and why.
    Problems(Vec<String>),
    /// There is no such edition, and no slot has such a date.
    Unknown,
}

/// One tier's mail, filled in for a sample reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierLook {
    pub tier: String,
    pub label: String,
    pub subject: String,
    pub html: String,
    pub text: String,
    pub warnings: Vec<String>,
    /// It is queued: this is what was frozen then.
    pub frozen: bool,
}

/// One date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coming {
    pub slug: String,
    pub due_at: Timestamp,
    /// Titles; empty: too few are ready.
    pub articles: Vec<String>,
    pub people: i64,
}

/// What one tier gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierPlan {
    pub label: String,
    pub people: i64,
    /// In words.
    pub gets: String,
    /// Octets of the HTML part; 0 where it cannot be rendered.
    pub bytes: usize,
    /// Warnings, or what keeps it from being sent.
    pub problems: Vec<String>,
    /// It cannot be sent.
    pub is_stopped: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_it_stood_survives_a_form() {
        let stood = Stood { state: EditionState::WaitingApproval, change: 7 };
        assert_eq!(Stood::read(&stood.to_string()), Some(stood));
        for wrong in ["", "sending", "sending-", "gone-1", "sending-x", "-1"] {
            assert_eq!(Stood::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn each_order_is_for_states_in_which_it_changes_something() {
        for order in [EditionOrder::Approve, EditionOrder::Pause, EditionOrder::Resume, EditionOrder::Hold] {
            assert!(!order.from().contains(&order.to()), "{order}");
            assert!(order.from().iter().all(|state| !state.is_over()), "{order}");
        }
    }
}
