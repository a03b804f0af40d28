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

/// Claims are made from one stream at a time: answers and sign-in links before notices before editions, the newest edition
/// first. Within a stream the due time decides, so that retries come after new mail.
impl DeliveryKind {
    /// The stream of a delivery of this kind; `edition` is used for editions only.
    pub fn stream(self, edition: i64) -> i64 {
        match self {
            DeliveryKind::Answer | DeliveryKind::SignIn | DeliveryKind::Confirm => -2,
            DeliveryKind::Notice | DeliveryKind::Report => -1,
            DeliveryKind::Edition => edition,
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
        StartTls = "starttls",
        Auth = "auth",
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
    /// No message was in doubt: the peer was lost in this step, before the final dot was written (W90).
    Unreachable(Phase, String),
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
    /// Whether it counts as a try. What is our own fault, or the relay's, costs the recipient none.
    pub burns_attempt: bool,
}

impl Settlement {
    /// Back into the queue as if it had never been claimed.
    pub fn untried(now: Timestamp, why: &str) -> Settlement {
        Settlement {
            state: DeliveryState::Queued,
            due_at: Some(now),
            last_reply: shorten(why),
            burns_attempt: false,
        }
    }
}

impl Outcome {
    /// Whether the relay would have done the same to any message: it is lost, or refuses us before it has heard of a recipient
    /// (W93, W114, W136). A message that is too large for it is not the relay's fault.
    pub fn is_the_relays_fault(&self) -> bool {
        match self {
            Outcome::Deferred(reply) | Outcome::Refused(reply) => {
                reply.phase.is_before_recipient() && reply.code != 552
            }
            Outcome::Unreachable(phase, _) => phase.is_before_recipient(),
            Outcome::Accepted(_) | Outcome::Unknown(_) | Outcome::Unsendable(_) => false,
        }
    }
}

impl Phase {
    /// Whether no recipient has been named yet: whatever is said here is about us (W138).
    pub fn is_before_recipient(self) -> bool {
        !matches!(self, Phase::Rcpt | Phase::Data | Phase::Dot)
    }
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
        Outcome::Deferred(reply) | Outcome::Refused(reply) if outcome.is_the_relays_fault() => {
            Settlement::untried(now, &reply.to_string())
        }
        Outcome::Refused(reply) if reply.phase.is_before_recipient() => {
            Settlement { burns_attempt: false, ..done(DeliveryState::Parked, reply.to_string()) }
        }
        Outcome::Refused(reply) if too_many_recipients(reply) => {
            again(reply.to_string(), history, now, retry)
        }
        Outcome::Refused(reply) => done(DeliveryState::Refused, reply.to_string()),
        Outcome::Deferred(reply) => again(reply.to_string(), history, now, retry),
        Outcome::Unreachable(_, why) if outcome.is_the_relays_fault() => Settlement::untried(now, why),
        Outcome::Unreachable(_, why) => again(why.clone(), history, now, retry),
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
fn too_many_recipients(reply: &Reply) -> bool {
    reply.code == 552 && reply.enhanced.as_deref() == Some("5.5.3")
}

fn again(why: String, history: History, now: Timestamp, retry: &RetrySettings) -> Settlement {
    let wait = step(retry, history.attempt).mul_f64(0.8 + 0.4 * history.jitter.clamp(0.0, 1.0));
    let due_at = now + wait;
    // A message whose last try would come after the give-up time has had its last try (W104).
    if due_at.since(history.first_attempt_at) > retry.give_up {
        return Settlement {
            state: DeliveryState::Expired,
            due_at: None,
            last_reply: shorten(&why),
            burns_attempt: true,
        };
    }
    Settlement {
        state: DeliveryState::Queued,
        due_at: Some(due_at),
        last_reply: shorten(&why),
        burns_attempt: true,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(on_uncertain: OnUncertain) -> RetrySettings {
        let minutes = |m: u64| Duration::from_secs(m * 60);
        RetrySettings { schedule: vec![minutes(5), minutes(30)], give_up: minutes(60), on_uncertain }
    }

    fn reply(code: u16, enhanced: Option<&str>, phase: Phase) -> Reply {
        Reply { code, enhanced: enhanced.map(str::to_owned), text: "words".into(), phase }
    }

    fn history(attempt: i64) -> History {
        History { attempt, first_attempt_at: Timestamp(0), uncertain_before: 0, jitter: 0.5 }
    }

    fn settled(outcome: Outcome, history: History, now: i64) -> (DeliveryState, Option<i64>) {
        let settlement = settle(&outcome, history, Timestamp(now), &retry(OnUncertain::Resend));
        (settlement.state, settlement.due_at.map(Timestamp::millis))
    }

    #[test]
    fn each_outcome_has_one_settlement() {
        use DeliveryState::{Accepted, Expired, Parked, Queued, Refused, Uncertain};
        let five = 5 * 60_000;
        let cases = [
            (Outcome::Accepted(reply(250, None, Phase::Dot)), (Accepted, None)),
            (Outcome::Deferred(reply(451, None, Phase::Rcpt)), (Queued, Some(five))),
            (Outcome::Refused(reply(550, Some("5.1.1"), Phase::Rcpt)), (Refused, None)),
            (Outcome::Refused(reply(554, None, Phase::Dot)), (Refused, None)),
            (Outcome::Refused(reply(552, Some("5.5.3"), Phase::Rcpt)), (Queued, Some(five))),
            (Outcome::Refused(reply(550, Some("5.7.1"), Phase::Mail)), (Queued, Some(0))),
            (Outcome::Deferred(reply(451, None, Phase::Mail)), (Queued, Some(0))),
            (Outcome::Refused(reply(552, Some("5.3.4"), Phase::Mail)), (Parked, None)),
            (Outcome::Unreachable(Phase::Data, "reset".into()), (Queued, Some(five))),
            (Outcome::Unreachable(Phase::Mail, "reset".into()), (Queued, Some(0))),
            (Outcome::Unknown("no reply".into()), (Uncertain, Some(five))),
            (Outcome::Unsendable("too large".into()), (Parked, None)),
        ];
        for (outcome, expected) in cases {
            assert_eq!(settled(outcome.clone(), history(1), 0), expected, "{outcome:?}");
        }
        let late = settled(Outcome::Deferred(reply(451, None, Phase::Rcpt)), history(2), 31 * 60_000);
        assert_eq!(late, (Expired, None));
    }

    #[test]
    fn the_schedule_is_walked_and_its_last_step_repeats() {
        let wait = |attempt| settled(Outcome::Unreachable(Phase::Rcpt, String::new()), history(attempt), 0).1;
        assert_eq!([wait(1), wait(2), wait(9)], [Some(300_000), Some(1_800_000), Some(1_800_000)]);
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        for (jitter, expected) in [(0.0, 240_000), (1.0, 360_000), (7.0, 360_000)] {
            let history = History { jitter, ..history(1) };
            assert_eq!(
                settled(Outcome::Unreachable(Phase::Rcpt, String::new()), history, 0).1,
                Some(expected)
            );
        }
    }

    #[test]
    fn uncertain_is_sent_again_twice_at_most_and_never_on_hold() {
        let due = |before, policy| uncertain_due(before, Timestamp(0), &retry(policy));
        assert!(due(0, OnUncertain::Resend).is_some());
        assert!(due(1, OnUncertain::Resend).is_some());
        assert!(due(2, OnUncertain::Resend).is_none());
        assert!(due(0, OnUncertain::Hold).is_none());
    }
}
