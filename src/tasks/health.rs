//! How one relay is doing, as this process sees it: whether it can be used, how many connections it stands, and its share.
//!
//! Down: one connection probes, the others wait, so that a thousand due messages cost one attempt per interval (W105). Stopped: it
//! refused us, or left us three times in a row without an answer to a message (W114, W136, W138, W146); it is tried again after an
//! hour, or when an operator says so with SIGHUP or a restart. Slowed down: fewer connections and as much less of its rate, recovering step by step (W107).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::shares::Shares;
use crate::domain::slow_down::{Deferrals, Pace};
use crate::runtime::Timestamp;

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A stopped relay is tried again after this.
pub const STOPPED_FOR: Duration = Duration::from_secs(3600);
/// How soon a connection notices that an operator let a stopped relay go on.
const NOTICE: Duration = Duration::from_secs(2);

/// Doubts in a row after which a relay is stopped.
const DOUBTS: u32 = 3;

/// Shared by all connections to one relay.
#[derive(Debug, Default)]
pub struct Health {
    state: Arc<Mutex<State>>,
    /// Its place among the relays of this process.
    share: Option<(Arc<Shares>, usize)>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    until: Timestamp,
    /// Since when nothing may be sent by it.
    stopped_at: Option<Timestamp>,
    doubts: u32,
    pace: Pace,
    deferrals: Deferrals,
    /// Connections that use it or are about to.
    seats: u32,
    /// How often an operator let it go on.
    resumed: u32,
}

/// One connection's place. It is free again when this is dropped.
#[derive(Debug)]
pub struct Seat {
    state: Arc<Mutex<State>>,
    /// What had been resumed when its attempt began.
    resumed: u32,
}

impl Seat {
    /// What comes now is a new attempt.
    pub fn begins(&mut self) {
        self.resumed = lock(&self.state).resumed;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.seats = state.seats.saturating_sub(1);
    }
}

impl Health {
    /// The relay at `index` of those that share the mail.
    pub fn among(shares: Arc<Shares>, index: usize) -> Health {
        Health { share: Some((shares, index)), ..Health::default() }
    }

    /// Whether a connection may be tried now. The first one that asks after a wait is the probe; for the others the wait
    /// starts again.
    ///
    /// # Errors
    /// How long to wait before asking again.
    pub fn may_try(&self, now: Timestamp) -> Result<(), Duration> {
        self.may_use(now)?;
        let mut state = lock(&self.state);
        if state.failures == 0 {
            return Ok(());
        }
        // Further ahead than it was ever set: the clock was set back.
        if now < state.until && state.until.since(now) <= LONGEST_WAIT {
            return Err(state.until.since(now).max(Duration::from_millis(10)));
        }
        state.until = now + wait(state.failures);
        Ok(())
    }

    /// Whether a connection that is open may be used.
    ///
    /// # Errors
    /// While it is stopped: how long to wait before asking again.
    pub fn may_use(&self, now: Timestamp) -> Result<(), Duration> {
        let mut state = lock(&self.state);
        let Some(at) = state.stopped_at else { return Ok(()) };
        // A clock that was set back must not make it an hour and a day.
        if now.since(at) >= STOPPED_FOR || at.since(now) >= STOPPED_FOR {
            state.stopped_at = None;
            return Ok(());
        }
        Err(NOTICE)
    }

    /// Notes a failure. Answers how long to wait, and whether it is the first one since the relay worked.
    pub fn failed(&self, now: Timestamp) -> (Duration, bool) {
        self.rests();
        let mut state = lock(&self.state);
        state.failures = state.failures.saturating_add(1);
        let wait = wait(state.failures);
        state.until = now + wait;
        (wait, state.failures == 1)
    }

    /// Stops it. Answers how long to wait before asking again, and whether it was not stopped before. What began before an
    /// operator let the relay go on says nothing about it as it is now.
    pub fn stop(&self, seat: Option<&Seat>, now: Timestamp) -> (Duration, bool) {
        self.rests();
        let mut state = lock(&self.state);
        if seat.is_some_and(|seat| seat.resumed != state.resumed) {
            return (NOTICE, false);
        }
        state.doubts = 0;
        (NOTICE, state.stopped_at.replace(now).is_none())
    }

    /// An operator's word: it is tried again, at full width.
    pub fn resume(&self) {
        let mut state = lock(&self.state);
        *state = State { seats: state.seats, resumed: state.resumed.wrapping_add(1), ..State::default() };
    }

    /// Notes that one connection was lost while a message was in doubt. Answers whether that was once too often in a row.
    pub fn doubted(&self) -> bool {
        let mut state = lock(&self.state);
        state.doubts += 1;
        state.doubts >= DOUBTS
    }

    /// Notes that it took a message. Answers whether it was down before.
    pub fn recovered(&self) -> bool {
        let mut state = lock(&self.state);
        state.doubts = 0;
        std::mem::take(&mut state.failures) > 0
    }

    /// Notes that it deferred us for its own sake. Answers the connections that it gets from now on, where that is fewer.
    pub fn deferred(&self, full: usize, now: Timestamp) -> Option<u32> {
        let full = width_of(full);
        let mut state = lock(&self.state);
        state.pace.recover(full, now);
        state.pace.touched(now);
        if !state.deferrals.note(now) {
            return None;
        }
        state.pace.halve(full, now);
        Some(state.pace.width(full))
    }

    /// A place for one more connection of `full`; `None` while it stands no more.
    pub fn seat(&self, full: usize, now: Timestamp) -> Option<Seat> {
        let full = width_of(full);
        let mut state = lock(&self.state);
        state.pace.recover(full, now);
        if state.pace.width.is_some_and(|width| state.seats >= width) {
            return None;
        }
        state.seats += 1;
        Some(Seat { state: self.state.clone(), resumed: state.resumed })
    }

    /// Thousandths of its rates that it gets now, where `full` connections are all of them (W107).
    pub fn share_of_rate(&self, full: usize) -> u32 {
        lock(&self.state).pace.share(width_of(full))
    }

    /// Whether more connections use it than it stands now: one of them should go.
    pub fn is_crowded(&self) -> bool {
        let state = lock(&self.state);
        state.pace.width.is_some_and(|width| state.seats > width)
    }

    /// Whether another delivery may go by it, or another relay's share comes first.
    pub fn has_share(&self, now: Timestamp) -> bool {
        self.share.as_ref().is_none_or(|(shares, index)| shares.allows(*index, now))
    }

    /// One delivery goes by it.
    pub fn took(&self) {
        if let Some((shares, index)) = &self.share {
            shares.took(*index);
        }
    }

    /// It can take nothing now: its share is the others'.
    pub fn rests(&self) {
        if let Some((shares, index)) = &self.share {
            shares.rests(*index);
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A panic of another connection leaves numbers, all of them valid.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn width_of(connections: usize) -> u32 {
    u32::try_from(connections).unwrap_or(u32::MAX)
}

fn wait(failures: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(6)).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_probe_per_interval() {
        let health = Health::default();
        assert_eq!(health.may_try(Timestamp(0)), Ok(()));
        assert_eq!(health.failed(Timestamp(0)), (Duration::from_secs(1), true));
        assert!(health.may_try(Timestamp(999)).is_err());
        assert_eq!(health.may_try(Timestamp(1000)), Ok(()));
        assert!(health.may_try(Timestamp(1000)).is_err(), "the probe is under way");
        assert_eq!(health.failed(Timestamp(1000)), (Duration::from_secs(2), false));
        assert!(health.recovered());
        assert!(!health.recovered());
        assert_eq!(health.may_try(Timestamp(1000)), Ok(()));
    }

    #[test]
    fn the_wait_is_bounded() {
        assert_eq!(wait(1), FIRST_WAIT);
        assert_eq!(wait(7), LONGEST_WAIT);
        assert_eq!(wait(u32::MAX), LONGEST_WAIT);
    }

    #[test]
    fn a_stopped_relay_is_told_once_and_tried_again_after_an_hour() {
        let health = Health::default();
        assert!(health.stop(None, Timestamp(0)).1);
        assert!(!health.stop(None, Timestamp(0)).1);
        assert!(health.may_use(Timestamp(3_599_999)).is_err() && health.may_try(Timestamp(0)).is_err());
        assert_eq!(health.may_use(Timestamp(3_600_000)), Ok(()));
        assert!(health.stop(None, Timestamp(3_600_000)).1, "an hour later it is news");
        health.resume();
        assert_eq!(health.may_try(Timestamp(3_600_000)), Ok(()));
    }

    #[test]
    fn what_was_under_way_when_an_operator_let_it_go_on_does_not_stop_it_again() {
        let health = Health::default();
        let mut seat = health.seat(4, Timestamp(0)).unwrap();
        assert!(health.stop(Some(&seat), Timestamp(0)).1);
        health.resume();
        assert!(!health.stop(Some(&seat), Timestamp(1)).1);
        assert_eq!(health.may_use(Timestamp(1)), Ok(()));
        seat.begins();
        assert!(health.stop(Some(&seat), Timestamp(2)).1);
    }

    #[test]
    fn three_doubts_in_a_row() {
        let health = Health::default();
        assert_eq!([health.doubted(), health.doubted()], [false; 2]);
        health.recovered();
        assert_eq!([health.doubted(), health.doubted(), health.doubted()], [false, false, true]);
    }

    #[test]
    fn deferrals_take_seats_and_clean_minutes_give_them_back() {
        let health = Health::default();
        let mut seats: Vec<Seat> = (0..4).filter_map(|_| health.seat(4, Timestamp(0))).collect();
        assert_eq!((seats.len(), health.is_crowded()), (4, false));
        let told: Vec<_> = (0..3).map(|_| health.deferred(4, Timestamp(0))).collect();
        assert_eq!(told, [None, None, Some(2)]);
        assert!(health.is_crowded());
        assert_eq!(health.share_of_rate(4), 500, "and half of its rate");
        seats.truncate(2);
        assert!(!health.is_crowded() && health.seat(4, Timestamp(299_999)).is_none());
        seats.extend(health.seat(4, Timestamp(300_000)));
        assert_eq!(seats.len(), 3);
    }
}
