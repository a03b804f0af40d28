//! Slowing down where a provider says so, and recovering step by step (W106, W107). Pure: time is an argument.
//!
//! Three deferrals of the throttle kind in five minutes halve the connections, and the rate with them; five minutes without one
//! give a connection back. Gmail's 4.7.28 means silence for ten minutes, then one connection, then one more at a time.

use std::time::Duration;

use super::delivery::{Outcome, Reply};
use super::reply_rule::ReplyClass;
use crate::runtime::Timestamp;

/// So long is nothing sent after a provider's "too much" (W106).
pub const SILENCE: Duration = Duration::from_secs(600);
/// Deferrals count so long, and a step of recovery takes as long without one (W107).
pub const STEP: Duration = Duration::from_secs(300);
/// So many deferrals within [`STEP`] halve.
const DEFERRALS: usize = 3;

/// A first message from a stranger is told to come again, often as 4.7.1 (RFC 6647).
const GREYLISTING: &[&str] = &["greylist", "graylist", "grey-list", "gray-list", "grey list", "gray list"];

/// How far a lane or a relay is slowed down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    pub quiet_until: Option<Timestamp>,
    /// Connections at once; `None`: all of them.
    pub width: Option<u32>,
    /// Since when nothing was wrong with that width.
    pub width_at: Timestamp,
}

/// What a reply says about our speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttle {
    /// A deferral for policy or load.
    Slower,
    /// Stop for a while.
    Silence,
}

/// Reads a reply to one attempt. Greylisting is not about speed, and a 5xx is the breaker's.
pub fn throttle(outcome: &Outcome) -> Option<Throttle> {
    let Outcome::Deferred(reply) = outcome else { return None };
    of_reply(reply)
}

fn of_reply(reply: &Reply) -> Option<Throttle> {
    if reply.enhanced.as_deref() == Some("4.7.28") {
        return Some(Throttle::Silence);
    }
    let text = reply.text.to_lowercase();
    if GREYLISTING.iter().any(|word| text.contains(word)) {
        return None;
    }
    (reply.code == 421 || reply.class() == ReplyClass::Policy).then_some(Throttle::Slower)
}

/// The deferrals of the last minutes, of one lane or relay.
#[derive(Clone, Debug, Default)]
pub struct Deferrals(Vec<Timestamp>);

impl Deferrals {
    /// Notes one. Answers whether there are now enough to slow down; they then count no more.
    pub fn note(&mut self, now: Timestamp) -> bool {
        self.0.retain(|at| *at <= now && now.since(*at) < STEP);
        self.0.push(now);
        let enough = self.0.len() >= DEFERRALS;
        if enough {
            self.0.clear();
        }
        enough
    }
}

impl Pace {
    /// Whether anything may leave now.
    pub fn is_quiet(&self, now: Timestamp) -> bool {
        // Further ahead than it was ever set: the clock was set back.
        self.quiet_until.is_some_and(|until| until > now && until.since(now) <= SILENCE)
    }

    /// Connections that may be used at once, of `full`.
    pub fn width(&self, full: u32) -> u32 {
        self.width.map_or(full, |width| width.min(full)).max(1)
    }

    /// Thousandths of the rate.
    pub fn share(&self, full: u32) -> u32 {
        self.width(full) * 1000 / full.max(1)
    }

    /// Halves, down to one connection.
    pub fn halve(&mut self, full: u32, now: Timestamp) {
        self.width = Some((self.width(full) / 2).max(1));
        self.width_at = now;
    }

    /// Silence, and one connection after it.
    pub fn silence(&mut self, now: Timestamp) {
        let until = now + SILENCE;
        *self = Pace { quiet_until: Some(until), width: Some(1), width_at: until };
    }

    /// A deferral that is not enough to halve still is no clean minute.
    pub fn touched(&mut self, now: Timestamp) {
        if self.width.is_some() && self.width_at < now {
            self.width_at = now;
        }
    }

    /// Takes the steps that are due. Answers whether anything changed.
    pub fn recover(&mut self, full: u32, now: Timestamp) -> bool {
        let before = *self;
        if self.quiet_until.is_some() && !self.is_quiet(now) {
            self.quiet_until = None;
        }
        if let (Some(width), None) = (self.width, self.quiet_until) {
            if self.width_at > now {
                self.width_at = now;
            }
            let steps =
                u32::try_from(now.since(self.width_at).as_millis() / STEP.as_millis()).unwrap_or(u32::MAX);
            let wider = width.saturating_add(steps);
            self.width = (wider < full).then_some(wider);
            self.width_at = if wider < full { self.width_at + STEP * steps } else { Timestamp::default() };
        }
        *self != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::Phase;

    fn deferred(code: u16, enhanced: &str, text: &str) -> Outcome {
        let enhanced = (!enhanced.is_empty()).then(|| enhanced.to_owned());
        let rules = crate::domain::reply_rule::samples::rules();
        Outcome::Deferred(Reply::new(code, enhanced, text.into(), Phase::Dot, &rules))
    }

    fn minutes(count: u64) -> Duration {
        Duration::from_secs(count * 60)
    }

    #[test]
    fn replies_about_speed() {
        let gmail = deferred(421, "4.7.28", "4.7.28 Our system has detected an unusual rate of mail - gsmtp");
        assert_eq!(throttle(&gmail), Some(Throttle::Silence));
        let slow =
            deferred(421, "4.7.0", "4.7.0 [TSS04] Messages temporarily deferred due to user complaints");
        assert_eq!(throttle(&slow), Some(Throttle::Slower));
        assert_eq!(throttle(&deferred(451, "4.7.1", "4.7.1 Greylisted, try again later")), None);
        assert_eq!(throttle(&deferred(452, "4.2.2", "4.2.2 over quota")), None);
    }

    /// W106: silence for ten minutes, one connection, one more at a time; failing again starts it over.
    #[test]
    fn w106_gmails_procedure_as_a_timeline() {
        let full = 4;
        let mut pace = Pace::default();
        let start = Timestamp(1_000_000);
        pace.silence(start);
        let mut seen = Vec::new();
        for minute in 0..=30 {
            let now = start + minutes(minute);
            pace.recover(full, now);
            seen.push(if pace.is_quiet(now) { 0 } else { pace.width(full) });
        }
        let mut expected = vec![0; 10];
        expected.extend([1; 5].into_iter().chain([2; 5]).chain([3; 5]).chain([4; 6]));
        assert_eq!(seen, expected);
        assert_eq!(pace, Pace::default());

        pace.silence(start);
        pace.recover(full, start + minutes(11));
        pace.silence(start + minutes(11));
        assert!(pace.is_quiet(start + minutes(20)));
        assert!(!pace.is_quiet(start + minutes(21)));
    }

    /// W107: simulated replies as a curve of connections.
    #[test]
    fn w107_halved_by_deferrals_and_recovered_by_clean_minutes() {
        let full = 8;
        let (mut pace, mut deferrals) = (Pace::default(), Deferrals::default());
        let mut at = Timestamp(0);
        let mut deferral = |pace: &mut Pace, at: Timestamp| {
            pace.recover(full, at);
            pace.touched(at);
            if deferrals.note(at) {
                pace.halve(full, at);
            }
            pace.width(full)
        };
        let curve: Vec<u32> = (0..9)
            .map(|_| {
                at = at + Duration::from_secs(1);
                deferral(&mut pace, at)
            })
            .collect();
        assert_eq!(curve, [8, 8, 4, 4, 4, 2, 2, 2, 1]);
        assert_eq!(pace.share(full), 125);
        for _ in 0..3 {
            assert_eq!(deferral(&mut pace, at), 1, "one connection is the floor");
        }
        let curve: Vec<u32> = (1..=8)
            .map(|step| {
                pace.recover(full, at + STEP * step);
                pace.width(full)
            })
            .collect();
        assert_eq!(curve, [2, 3, 4, 5, 6, 7, 8, 8]);
        // Three in more than five minutes are none.
        let far: Vec<u32> = (20..26).map(|n| deferral(&mut pace, at + minutes(4) * n)).collect();
        assert_eq!(far, [8; 6]);
    }

    #[test]
    fn a_deferral_starts_the_clean_minutes_again() {
        let mut pace = Pace::default();
        pace.halve(8, Timestamp(0));
        pace.recover(8, Timestamp(0) + minutes(4));
        pace.touched(Timestamp(0) + minutes(4));
        pace.recover(8, Timestamp(0) + minutes(8));
        assert_eq!(pace.width(8), 4);
        pace.recover(8, Timestamp(0) + minutes(9));
        assert_eq!(pace.width(8), 5);
    }

    #[test]
    fn a_clock_that_is_set_back_ends_no_silence_late() {
        let mut pace = Pace::default();
        pace.silence(Timestamp(0) + minutes(600));
        assert!(!pace.is_quiet(Timestamp(0)));
        pace.recover(8, Timestamp(0));
        pace.recover(8, Timestamp(0) + minutes(5));
        assert_eq!(pace.width(8), 2);
    }
}
