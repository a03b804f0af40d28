//! Signs of life of one process, for whoever asks whether it still does its work: pages, the init system.
//!
//! A worker beats once per round, whatever came of the round: a database that is away makes rounds fail, not stop. A worker that
//! was silent for longer than its patience is stuck. Measured with the timer's clock, which nobody sets back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Timestamp;

/// Shared by everything that runs.
#[derive(Clone, Debug, Default)]
pub struct Vitals(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    workers: BTreeMap<&'static str, Worker>,
    last_tick: Option<Timestamp>,
    heartbeat: Option<(Timestamp, Instant)>,
    on_hold: Option<String>,
}

#[derive(Debug)]
struct Worker {
    beaten: Instant,
    patience: Duration,
}

/// One worker's side.
#[derive(Clone, Debug)]
pub struct Pulse {
    vitals: Vitals,
    worker: &'static str,
}

impl Pulse {
    /// Says that another round is done.
    pub fn beat(&self) {
        let beaten = Instant::now();
        if let Some(worker) = self.vitals.lock().workers.get_mut(self.worker) {
            worker.beaten = beaten;
        }
    }
}

impl Vitals {
    /// Enters a worker, which beats from now on.
    pub fn worker(&self, worker: &'static str, patience: Duration) -> Pulse {
        self.lock().workers.insert(worker, Worker { beaten: Instant::now(), patience });
        Pulse { vitals: self.clone(), worker }
    }

    /// Workers that were silent for too long, by name.
    pub fn stuck(&self) -> Vec<&'static str> {
        self.stuck_at(Instant::now())
    }

    fn stuck_at(&self, now: Instant) -> Vec<&'static str> {
        let state = self.lock();
        let silent = state.workers.iter().filter(|(_, worker)| now - worker.beaten > worker.patience);
        silent.map(|(name, _)| *name).collect()
    }

    pub fn ticked(&self, now: Timestamp) {
        self.lock().last_tick = Some(now);
    }

    pub fn last_tick(&self) -> Option<Timestamp> {
        self.lock().last_tick
    }

    /// The heartbeat of this process is committed: it can write.
    pub fn wrote(&self, now: Timestamp) {
        self.lock().heartbeat = Some((now, Instant::now()));
    }

    /// When the heartbeat was written last, and how long ago that is.
    pub fn heartbeat(&self) -> Option<(Timestamp, Duration)> {
        self.lock().heartbeat.map(|(at, written)| (at, written.elapsed()))
    }

    /// Nothing is scheduled or sent, for this reason.
    pub fn hold(&self, why: String) {
        self.lock().on_hold = Some(why);
    }

    pub fn on_hold(&self) -> Option<String> {
        self.lock().on_hold.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment: what a panic leaves is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_is_silent_for_longer_than_its_patience_is_stuck() {
        let vitals = Vitals::default();
        let in_seconds = |seconds| Instant::now() + Duration::from_secs(seconds);
        let quick = vitals.worker("quick", Duration::from_secs(10));
        let _slow = vitals.worker("slow", Duration::from_secs(100));
        assert!(vitals.stuck_at(in_seconds(9)).is_empty());
        assert_eq!(vitals.stuck_at(in_seconds(11)), ["quick"]);
        assert_eq!(vitals.stuck_at(in_seconds(111)), ["quick", "slow"]);
        let before = in_seconds(10);
        quick.beat();
        assert!(vitals.stuck_at(before).is_empty(), "each beat starts its patience anew");
    }
}
