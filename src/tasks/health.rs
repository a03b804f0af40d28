//! Whether a relay can be used at all. One connection probes a relay that is down, the others wait: a thousand due messages cost
//! one connection attempt per interval (W105).

use std::sync::Mutex;
use std::time::Duration;

use crate::runtime::Timestamp;

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Shared by all connections to one relay.
#[derive(Debug, Default)]
pub struct Health(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    until: Timestamp,
}

impl Health {
    /// Whether a connection may be tried now. The first one that asks after a wait is the probe; for the others the wait
    /// starts again.
    ///
    /// # Errors
    /// How long to wait before asking again.
    pub fn may_try(&self, now: Timestamp) -> Result<(), Duration> {
        let mut state = self.lock();
        if state.failures == 0 {
            return Ok(());
        }
        if now < state.until {
            return Err(state.until.since(now).max(Duration::from_millis(10)));
        }
        state.until = now + wait(state.failures);
        Ok(())
    }

    /// Notes a failure. Answers how long to wait, and whether it is the first one since the relay worked.
    pub fn failed(&self, now: Timestamp) -> (Duration, bool) {
        let mut state = self.lock();
        state.failures = state.failures.saturating_add(1);
        let wait = wait(state.failures);
        state.until = now + wait;
        (wait, state.failures == 1)
    }

    /// Notes that a connection worked. Answers whether the relay was down before.
    pub fn recovered(&self) -> bool {
        let mut state = self.lock();
        std::mem::take(&mut *state).failures > 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic of another connection leaves two numbers, both valid.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
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
}
