//! The states of a delivery and the one pure step from what a peer said to what we decide (design section 4).

use std::time::Duration;

use super::settings::{OnUncertain, RetrySettings};
use super::words::words;
use crate::runtime::Timestamp;

words! {
    /// Where a delivery stands. What a crash leaves of each is in the table of design section 4.
    DeliveryState {
        Queued = "queued",
        Leased = "leased",
        Accepted = "accepted",
        Refused = "refused",
        Expired = "expired",
        Uncertain = "uncertain",
        Skipped = "skipped",
        Parked = "parked",
    }
}

words! {
    /// What a delivery carries.
    DeliveryKind {
        Edition = "edition",
        Answer = "answer",
        Notice = "notice",
        Confirm = "confirm",
        SignIn = "sign_in",
        Report = "report",
    }
}

impl DeliveryKind {
    /// Claim order, lowest first: answers and sign-in links, notices, editions. Retries come last by their due time.
    pub fn priority(self) -> i64 {
        match self {
            DeliveryKind::Answer | DeliveryKind::SignIn | DeliveryKind::Confirm => 0,
            DeliveryKind::Notice | DeliveryKind::Report => 1,
            DeliveryKind::Edition => 2,
        }
    }
}

/// What a peer answered, RFC 5321 section 4.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The basic code, for example 550.
    pub code: u16,
    /// RFC 3463, for example `5.1.1`, where the reply starts with one (W94).
    pub enhanced: Option<String>,
    pub text: String,
    pub phase: Phase,
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({})", self.code, self.text, self.phase.as_str())
    }
}

words! {
    /// The step of the SMTP dialogue to which something belongs.
    Phase {
        Connect = "connect",
        Hello = "hello",
        Mail = "mail",
        Rcpt = "rcpt",
        Data = "data",
        Dot = "dot",
    }
}

/// One try, as the transport saw it. A value, never an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx to the final dot.
    Accepted(Reply),
    /// 4xx.
    Deferred(Reply),
    /// 5xx.
    Refused(Reply),
    /// No message was in doubt: the peer was lost before the final dot was written (W90).
    Unreachable(String),
    /// The final dot was written and no reply was read (W100).
    Unknown(String),
    /// Our own fault, found before anything was sent: size, template, key.
    Unsendable(String),
}

/// What the ledger is told about one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    pub state: DeliveryState,
    /// When it is tried again: set for `queued`, and for an `uncertain` one that is not held.
    pub due_at: Option<Timestamp>,
    /// The peer's words or our own, at most 500 characters.
    pub last_reply: String,
    /// Whether the recipient's state counts as tried: a lost connection does not burn an attempt.
    pub burns_attempt: bool,
}

/// How long a delivery may be tried, and what it has been through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct History {
    /// The attempt that the outcome belongs to, from 1.
    pub attempt: i64,
    pub first_attempt_at: Timestamp,
    /// How often this delivery has been `uncertain` before.
    pub uncertain_before: i64,
    /// From 0 to 1: where in the jitter window the next try falls.
    pub jitter: f64,
}

/// An `uncertain` delivery is sent again this often at most.
pub const UNCERTAIN_RESENDS: i64 = 2;

/// Turns an outcome into a settlement. Pure; the whole retry policy is here.
pub fn settle(outcome: &Outcome, history: History, now: Timestamp, retry: &RetrySettings) -> Settlement {
    let done = |state, reply: String| Settlement {
        state,
        due_at: None,
        last_reply: shorten(&reply),
        burns_attempt: true,
    };
    match outcome {
        Outcome::Accepted(reply) => done(DeliveryState::Accepted, reply.to_string()),
        Outcome::Refused(reply) if temporary_in_spite_of_5xx(reply) => {
            again(reply.to_string(), true, history, now, retry)
        }
        Outcome::Refused(reply) => done(DeliveryState::Refused, reply.to_string()),
        Outcome::Deferred(reply) => again(reply.to_string(), true, history, now, retry),
        Outcome::Unreachable(why) => again(why.clone(), false, history, now, retry),
        Outcome::Unsendable(why) => {
            Settlement { burns_attempt: false, ..done(DeliveryState::Parked, why.clone()) }
        }
        Outcome::Unknown(why) => Settlement {
            due_at: uncertain_due(history.uncertain_before, now, retry),
            ..done(DeliveryState::Uncertain, why.clone())
        },
    }
}

/// When a delivery that has just become `uncertain` is sent again; `None`: it is held for `editions retry`.
pub fn uncertain_due(uncertain_before: i64, now: Timestamp, retry: &RetrySettings) -> Option<Timestamp> {
    let resend = retry.on_uncertain == OnUncertain::Resend && uncertain_before < UNCERTAIN_RESENDS;
    resend.then(|| now + step(retry, 1))
}

/// RFC 5321 section 4.5.3.1.10: too many recipients is temporary, whatever its first digit (W92).
fn temporary_in_spite_of_5xx(reply: &Reply) -> bool {
    reply.code == 552 && reply.enhanced.as_deref() == Some("5.5.3")
}

fn again(
    why: String,
    burns_attempt: bool,
    history: History,
    now: Timestamp,
    retry: &RetrySettings,
) -> Settlement {
    let wait = step(retry, history.attempt).mul_f64(0.8 + 0.4 * history.jitter.clamp(0.0, 1.0));
    let due_at = now + wait;
    // A message whose last try would come after the give-up time has had its last try (W104).
    if due_at.since(history.first_attempt_at) > retry.give_up {
        return Settlement {
            state: DeliveryState::Expired,
            due_at: None,
            last_reply: shorten(&why),
            burns_attempt,
        };
    }
    Settlement {
        state: DeliveryState::Queued,
        due_at: Some(due_at),
        last_reply: shorten(&why),
        burns_attempt,
    }
}

/// The wait after the given attempt (from 1); the last one of the schedule repeats.
fn step(retry: &RetrySettings, attempt: i64) -> Duration {
    let index = usize::try_from(attempt.max(1) - 1).unwrap_or(usize::MAX);
    let last = retry.schedule.last().copied().unwrap_or(Duration::from_secs(300));
    retry.schedule.get(index).copied().unwrap_or(last)
}

fn shorten(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect()
}
