//! The states of a delivery and the one pure step from what a peer said to what we decide (design section 4).

use std::time::Duration;

use super::reply_rule::{Judgement, ReplyClass, ReplyRules};
use super::settings::{OnUncertain, RetrySettings};
use super::suppression::SuppressionReason;
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
    /// Whether it is for staff, editors or operators. No bounce keeps mail from them: one refusal would silence a desk, and nobody
    /// would hear of it.
    pub fn is_for_the_house(self, subscriber: Option<i64>, staff: Option<i64>) -> bool {
        let kind = matches!(self, DeliveryKind::Report | DeliveryKind::SignIn);
        staff.is_some() || (kind && subscriber.is_none())
    }

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
    /// What it is about, by the rules that held when it was read.
    pub judgement: Judgement,
}

impl Reply {
    pub fn new(code: u16, enhanced: Option<String>, text: String, phase: Phase, rules: &ReplyRules) -> Reply {
        let judgement = rules.judge(code, enhanced.as_deref(), &text, phase);
        Reply { code, enhanced, text, phase, judgement }
    }

    pub fn class(&self) -> ReplyClass {
        self.judgement.class
    }
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
    /// Why the address must not be mailed any more: written in the same transaction (W143).
    pub suppress: Option<SuppressionReason>,
}

impl Settlement {
    /// Back into the queue as if it had never been claimed.
    pub fn untried(now: Timestamp, why: &str) -> Settlement {
        Settlement {
            state: DeliveryState::Queued,
            due_at: Some(now),
            last_reply: shorten(why),
            burns_attempt: false,
            suppress: None,
        }
    }
}

impl Outcome {
    /// Whether the relay would have done the same to any message: it is lost, refuses us before it has heard of a recipient, or
    /// says later that it does not let us in (W93, W114, W136). A message that is too large for it is not the relay's fault.
    pub fn is_the_relays_fault(&self) -> bool {
        match self {
            Outcome::Deferred(reply) | Outcome::Refused(reply) => match reply.class() {
                ReplyClass::Relay => true,
                ReplyClass::Content => false,
                _ => reply.phase.is_before_recipient(),
            },
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

/// Turns an outcome into a settlement. Pure; with the rules of `reply_rule` the whole retry policy is here.
pub fn settle(outcome: &Outcome, history: History, now: Timestamp, retry: &RetrySettings) -> Settlement {
    match outcome {
        Outcome::Accepted(reply) => done(DeliveryState::Accepted, &reply.to_string()),
        Outcome::Deferred(reply) | Outcome::Refused(reply) => answered(reply, history, now, retry),
        Outcome::Unreachable(_, why) if outcome.is_the_relays_fault() => Settlement::untried(now, why),
        Outcome::Unreachable(_, why) => again(why, history, now, retry),
        Outcome::Unsendable(why) => parked(why),
        Outcome::Unknown(why) => Settlement {
            due_at: uncertain_due(history.uncertain_before, now, retry),
            ..done(DeliveryState::Uncertain, why)
        },
    }
}

/// What follows from a 4xx or 5xx: the class says whose matter it is, the first digit whether the same message may be tried for
/// the same recipient again (W87).
fn answered(reply: &Reply, history: History, now: Timestamp, retry: &RetrySettings) -> Settlement {
    let why = reply.to_string();
    let class = reply.class();
    let permanent = reply.code >= 500;
    match class {
        // What is wrong with the message is wrong with the next one too: somebody has to look.
        ReplyClass::Content if permanent => parked(&why),
        ReplyClass::Content => postponed(&why, history, now, retry),
        _ if reply.phase.is_before_recipient() => Settlement::untried(now, &why),
        ReplyClass::Relay => postponed(&why, history, now, retry),
        ReplyClass::Hard => {
            Settlement { suppress: Some(SuppressionReason::HardBounce), ..done(DeliveryState::Refused, &why) }
        }
        ReplyClass::Full | ReplyClass::Transient if !permanent || passes(reply, history) => {
            again(&why, history, now, retry)
        }
        _ if permanent => done(DeliveryState::Refused, &why),
        _ => again(&why, history, now, retry),
    }
}

/// Whether a 5xx is worth another try although its first digit says no: a full mailbox or too many recipients is (W92, W137), a
/// full system once, and nothing whose two codes contradict each other (W96).
fn passes(reply: &Reply, history: History) -> bool {
    match reply.enhanced.as_deref() {
        Some("5.3.1") => history.attempt <= 1,
        Some(enhanced) => enhanced.starts_with('5'),
        None => true,
    }
}

fn done(state: DeliveryState, why: &str) -> Settlement {
    Settlement { state, due_at: None, last_reply: shorten(why), burns_attempt: true, suppress: None }
}

fn parked(why: &str) -> Settlement {
    Settlement { burns_attempt: false, ..done(DeliveryState::Parked, why) }
}

/// Our own fault, met after a recipient was named. Not at once, so that one odd address does not stand before all others; at the
/// end of its life it waits for an operator, because it was never the recipient's.
fn postponed(why: &str, history: History, now: Timestamp, retry: &RetrySettings) -> Settlement {
    let due_at = now + jittered(step(retry, 1), history);
    if due_at.since(history.first_attempt_at) > retry.give_up {
        return parked(why);
    }
    Settlement { due_at: Some(due_at), burns_attempt: false, ..done(DeliveryState::Queued, why) }
}

/// When a delivery that has just become `uncertain` is sent again; `None`: it is held for `editions retry`.
pub fn uncertain_due(uncertain_before: i64, now: Timestamp, retry: &RetrySettings) -> Option<Timestamp> {
    let resend = retry.on_uncertain == OnUncertain::Resend && uncertain_before < UNCERTAIN_RESENDS;
    resend.then(|| now + step(retry, 1))
}

fn again(why: &str, history: History, now: Timestamp, retry: &RetrySettings) -> Settlement {
    let due_at = now + jittered(step(retry, history.attempt), history);
    // A message whose last try would come after the give-up time has had its last try (W104). What we held back ourselves, in a
    // paused edition or lane, had fewer tries than that time brings, and gets them.
    if due_at.since(history.first_attempt_at) > retry.give_up && history.attempt >= tries_within(retry) {
        return done(DeliveryState::Expired, why);
    }
    Settlement { due_at: Some(due_at), ..done(DeliveryState::Queued, why) }
}

/// As many tries as any delivery has within the give-up time, one walk of the schedule at most.
fn tries_within(retry: &RetrySettings) -> i64 {
    let longest = |wait: &Duration| wait.mul_f64(1.2);
    let waits = retry.schedule.iter().map(longest).scan(Duration::ZERO, |sum, wait| {
        *sum = sum.saturating_add(wait);
        Some(*sum)
    });
    1 + waits.take_while(|sum| *sum <= retry.give_up).count() as i64
}

fn jittered(wait: Duration, history: History) -> Duration {
    wait.mul_f64(0.8 + 0.4 * history.jitter.clamp(0.0, 1.0))
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
        let rules = crate::domain::reply_rule::samples::rules();
        Reply::new(code, enhanced.map(str::to_owned), "words".into(), phase, &rules)
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
        let refused = |code, enhanced, phase| Outcome::Refused(reply(code, enhanced, phase));
        let deferred = |code, enhanced, phase| Outcome::Deferred(reply(code, enhanced, phase));
        let cases = [
            (Outcome::Accepted(reply(250, None, Phase::Dot)), (Accepted, None)),
            (deferred(451, None, Phase::Rcpt), (Queued, Some(five))),
            (deferred(421, Some("5.7.32"), Phase::Dot), (Queued, Some(five))),
            (refused(550, Some("5.1.1"), Phase::Rcpt), (Refused, None)),
            (refused(554, None, Phase::Dot), (Refused, None)),
            (refused(550, Some("5.7.26"), Phase::Dot), (Refused, None)),
            (refused(552, Some("5.5.3"), Phase::Rcpt), (Queued, Some(five))),
            (refused(552, Some("5.2.2"), Phase::Rcpt), (Queued, Some(five))),
            (refused(550, Some("4.2.2"), Phase::Rcpt), (Refused, None)),
            (deferred(452, Some("5.3.1"), Phase::Rcpt), (Queued, Some(five))),
            // Ours: never refused.
            (refused(550, Some("5.7.1"), Phase::Mail), (Queued, Some(0))),
            (refused(535, Some("5.7.8"), Phase::Auth), (Queued, Some(0))),
            (refused(550, Some("5.5.4"), Phase::Rcpt), (Queued, Some(five))),
            (deferred(451, None, Phase::Mail), (Queued, Some(0))),
            (refused(552, Some("5.3.4"), Phase::Mail), (Parked, None)),
            (refused(554, Some("5.6.0"), Phase::Dot), (Parked, None)),
            (deferred(451, Some("4.6.0"), Phase::Dot), (Queued, Some(five))),
            (Outcome::Unreachable(Phase::Data, "reset".into()), (Queued, Some(five))),
            (Outcome::Unreachable(Phase::Mail, "reset".into()), (Queued, Some(0))),
            (Outcome::Unknown("no reply".into()), (Uncertain, Some(five))),
            (Outcome::Unsendable("too large".into()), (Parked, None)),
        ];
        for (outcome, expected) in cases {
            assert_eq!(settled(outcome.clone(), history(1), 0), expected, "{outcome:?}");
        }
        let late = |outcome| settled(outcome, history(3), 35 * 60_000);
        assert_eq!(late(deferred(451, None, Phase::Rcpt)), (Expired, None));
        assert_eq!(late(refused(552, Some("5.2.2"), Phase::Rcpt)), (Expired, None));
        let ours = settled(refused(550, Some("5.5.4"), Phase::Rcpt), history(1), 61 * 60_000);
        assert_eq!(ours, (Parked, None), "our own fault never ends as the recipient's");
    }

    /// An edition that was paused for longer than the give-up time, or its lane: the time was ours.
    #[test]
    fn w104_what_we_held_back_gets_the_tries_of_the_schedule() {
        let deferred = || Outcome::Deferred(reply(451, None, Phase::Rcpt));
        let days = 5 * 86_400_000;
        for attempt in [1, 2] {
            assert_eq!(settled(deferred(), history(attempt), days).0, DeliveryState::Queued, "{attempt}");
        }
        assert_eq!(settled(deferred(), history(3), days).0, DeliveryState::Expired);
        let tries = |schedule: &[u64], give_up: u64| {
            let schedule = schedule.iter().map(|hours| Duration::from_secs(hours * 3600)).collect();
            let give_up = Duration::from_secs(give_up * 3600);
            tries_within(&RetrySettings { schedule, give_up, on_uncertain: OnUncertain::Hold })
        };
        assert_eq!(
            [tries(&[], 1), tries(&[48], 24), tries(&[1, 12, 12, 12], 24), tries(&[1, 1], 96)],
            [1, 1, 3, 3]
        );
    }

    #[test]
    fn w137_a_full_system_gets_one_more_try() {
        let full = || Outcome::Refused(reply(550, Some("5.3.1"), Phase::Rcpt));
        assert_eq!(settled(full(), history(1), 0).0, DeliveryState::Queued);
        assert_eq!(settled(full(), history(2), 0).0, DeliveryState::Refused);
    }

    /// W136, W137, W139, W143: for each row of what a relay may say, whether the address is suppressed and a try is spent.
    #[test]
    fn w143_only_a_confirmed_hard_bounce_suppresses() {
        let cases = [
            (550, Some("5.1.1"), Phase::Rcpt, true, true),
            (550, Some("5.1.10"), Phase::Rcpt, true, true),
            (556, None, Phase::Rcpt, true, true),
            (550, Some("5.1.1"), Phase::Dot, true, true),
            (450, Some("5.1.1"), Phase::Rcpt, false, true),
            (550, None, Phase::Rcpt, false, true),
            (550, Some("5.7.26"), Phase::Rcpt, false, true),
            (550, Some("5.7.1"), Phase::Dot, false, true),
            (552, Some("5.2.2"), Phase::Rcpt, false, true),
            (554, None, Phase::Dot, false, true),
            (550, Some("5.1.1"), Phase::Mail, false, false),
            (550, Some("5.7.1"), Phase::Mail, false, false),
            (530, Some("5.7.0"), Phase::Mail, false, false),
            (555, Some("5.5.4"), Phase::Rcpt, false, false),
            (554, Some("5.6.0"), Phase::Dot, false, false),
        ];
        for (code, enhanced, phase, suppresses, burns) in cases {
            let said = reply(code, enhanced, phase);
            let outcome = if code >= 500 { Outcome::Refused(said) } else { Outcome::Deferred(said) };
            let settlement = settle(&outcome, history(1), Timestamp(0), &retry(OnUncertain::Resend));
            let expected = suppresses.then_some(SuppressionReason::HardBounce);
            assert_eq!((settlement.suppress, settlement.burns_attempt), (expected, burns), "{outcome:?}");
        }
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
