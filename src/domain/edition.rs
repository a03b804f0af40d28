//! The life of an edition.

use super::delivery::DeliveryState;
use super::words::words;

words! {
    /// `planned` exists in the config only. Claims are made from `sending` alone.
    EditionState {
        Planned = "planned",
        WaitingApproval = "waiting_approval",
        Sending = "sending",
        Paused = "paused",
        Attention = "attention",
        Sent = "sent",
        Cancelled = "cancelled",
        Missed = "missed",
        Skipped = "skipped",
    }
}

impl EditionState {
    /// What an editor's approval lets go.
    pub const APPROVABLE: &[EditionState] = &[EditionState::WaitingApproval];
    /// What can be held back until it is approved.
    pub const HOLDABLE: &[EditionState] = &[EditionState::Sending, EditionState::Paused];

    /// Whether nothing of it can leave any more.
    pub fn is_over(self) -> bool {
        use EditionState::{Cancelled, Missed, Sent, Skipped};
        matches!(self, Sent | Cancelled | Missed | Skipped)
    }
}

words! {
    /// What somebody can do to an edition that is queued.
    EditionOrder {
        Approve = "approve",
        Pause = "pause",
        Resume = "resume",
        Hold = "hold",
        /// What was not sent yet never is.
        Cancel = "cancel",
    }
}

impl EditionOrder {
    /// The states in which it can be done.
    pub fn from(self) -> &'static [EditionState] {
        use EditionState::{Attention, Cancelled, Paused, Sending, WaitingApproval};
        match self {
            EditionOrder::Approve => EditionState::APPROVABLE,
            EditionOrder::Pause => &[Sending, Attention],
            EditionOrder::Resume => &[Paused, Attention],
            EditionOrder::Hold => EditionState::HOLDABLE,
            // Cancelling twice is cancelling once: the second time ends what a first one did not live to end.
            EditionOrder::Cancel => &[Sending, Paused, Attention, WaitingApproval, Cancelled],
        }
    }

    /// The state that it leads to.
    pub fn to(self) -> EditionState {
        match self {
            EditionOrder::Approve | EditionOrder::Resume => EditionState::Sending,
            EditionOrder::Pause => EditionState::Paused,
            EditionOrder::Hold => EditionState::WaitingApproval,
            EditionOrder::Cancel => EditionState::Cancelled,
        }
    }
}

/// How many deliveries of an edition are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    pub queued: i64,
    pub leased: i64,
    pub accepted: i64,
    pub refused: i64,
    pub expired: i64,
    pub uncertain: i64,
    pub skipped: i64,
    pub parked: i64,
}

impl Counts {
    pub fn of(&mut self, state: DeliveryState) -> &mut i64 {
        match state {
            DeliveryState::Queued => &mut self.queued,
            DeliveryState::Leased => &mut self.leased,
            DeliveryState::Accepted => &mut self.accepted,
            DeliveryState::Refused => &mut self.refused,
            DeliveryState::Expired => &mut self.expired,
            DeliveryState::Uncertain => &mut self.uncertain,
            DeliveryState::Skipped => &mut self.skipped,
            DeliveryState::Parked => &mut self.parked,
        }
    }

    pub fn total(&self) -> i64 {
        let Counts { queued, leased, accepted, refused, expired, uncertain, skipped, parked } = *self;
        queued + leased + accepted + refused + expired + uncertain + skipped + parked
    }

    /// What may still be sent without anybody's word.
    pub fn open(&self) -> i64 {
        self.queued + self.leased
    }
}
