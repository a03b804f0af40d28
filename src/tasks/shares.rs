//! How several relays share the mail: by weight, among those that can take some.
//!
//! Each relay has an account of what it took, divided by its weight. One that is further ahead than the others waits for them, but
//! only for those that asked a moment ago: a relay that is down, stopped, stalled or out of permits gives its share to the
//! others, and comes back without a claim to what it missed. Weights are kept by each process among its own connections.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::runtime::Timestamp;

/// A relay that has not asked for this long waits for something else.
const RECENT: Duration = Duration::from_secs(2);

/// So many messages a relay of weight one may be ahead: connections ask at their own moments.
const AHEAD: f64 = 2.0;

/// All relays of one process.
#[derive(Debug)]
pub struct Shares(Mutex<Vec<Share>>);

#[derive(Debug)]
struct Share {
    weight: f64,
    taken: f64,
    asked_at: Option<Timestamp>,
}

impl Share {
    fn is_active(&self, now: Timestamp) -> bool {
        self.asked_at.is_some_and(|at| at <= now && now.since(at) < RECENT)
    }
}

impl Shares {
    pub fn new(weights: &[u32]) -> Shares {
        let share = |weight: &u32| Share { weight: f64::from((*weight).max(1)), taken: 0.0, asked_at: None };
        Shares(Mutex::new(weights.iter().map(share).collect()))
    }

    /// Whether this relay may take a delivery now.
    pub fn allows(&self, index: usize, now: Timestamp) -> bool {
        let mut shares = self.lock();
        let others = shares.iter().enumerate().filter(|(at, other)| *at != index && other.is_active(now));
        let least = others.map(|(_, other)| other.taken).min_by(f64::total_cmp);
        let Some(own) = shares.get_mut(index) else { return true };
        if let (false, Some(least)) = (own.is_active(now), least) {
            own.taken = own.taken.max(least);
        }
        own.asked_at = Some(now);
        least.is_none_or(|least| own.taken < least + AHEAD / own.weight)
    }

    pub fn took(&self, index: usize) {
        if let Some(own) = self.lock().get_mut(index) {
            own.taken += 1.0 / own.weight;
        }
    }

    pub fn rests(&self, index: usize) {
        if let Some(own) = self.lock().get_mut(index) {
            own.asked_at = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Share>> {
        // A panic of another connection leaves numbers, all of them valid.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everybody asks in turn; answers what each took of `count` rounds.
    fn rounds(shares: &Shares, asking: &[usize], count: usize, now: Timestamp) -> Vec<usize> {
        let mut taken = vec![0; asking.len()];
        for _ in 0..count {
            for (at, index) in asking.iter().enumerate() {
                if shares.allows(*index, now) {
                    shares.took(*index);
                    taken[at] += 1;
                }
            }
        }
        taken
    }

    #[test]
    fn weights_are_kept_among_equals_in_speed() {
        let shares = Shares::new(&[3, 1]);
        let taken = rounds(&shares, &[0, 1], 300, Timestamp(0));
        assert!(taken[0] == 300 && (99..=103).contains(&taken[1]), "{taken:?}");
    }

    #[test]
    fn who_can_take_nothing_gives_its_share_away() {
        let shares = Shares::new(&[1, 1]);
        rounds(&shares, &[0, 1], 10, Timestamp(0));
        assert!(rounds(&shares, &[0], 100, Timestamp(0))[0] <= 3, "the other one is about to ask");
        shares.rests(1);
        assert_eq!(rounds(&shares, &[0], 100, Timestamp(0)), [100]);
        // It comes back, and gets half from now on, not what it missed.
        let taken = rounds(&shares, &[0, 1], 100, Timestamp(0));
        assert!(taken[0] >= 97, "{taken:?}");
        // One that stalls is not waited for.
        assert_eq!(rounds(&shares, &[0], 50, Timestamp(2000)), [50]);
    }
}
