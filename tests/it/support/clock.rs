//! A clock that moves when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tidings::runtime::{Clock, Timestamp};

/// 2026-11-24T14:00:00Z, a Tuesday.
pub const TUESDAY: Timestamp = Timestamp(1_795_528_800_000);

#[derive(Clone)]
pub struct StoppedClock(Arc<AtomicI64>);

impl StoppedClock {
    pub fn at(instant: Timestamp) -> StoppedClock {
        StoppedClock(Arc::new(AtomicI64::new(instant.millis())))
    }

    /// As an operator or a time server does.
    pub fn set(&self, instant: Timestamp) {
        self.0.store(instant.millis(), Ordering::SeqCst);
    }

    pub fn advance(&self, span: Duration) {
        self.0.fetch_add(span.as_millis() as i64, Ordering::SeqCst);
    }
}

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}
