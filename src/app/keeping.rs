//! The keeping worker: heartbeat, silent owners, doubtful rows whose wait is over, finished editions, alarms, and the look for due
//! work that backs every hint. It goes on while the store is away: then it is the one that says so.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::domain::alarm::AlarmCause;
use crate::domain::settings::RetrySettings;
use crate::mail::token::Keyring;
use crate::runtime::{Timestamp, Vitals, init_system, telemetry};
use crate::store::{Store, StoreError};
use crate::tasks::alarm::Teller;
use crate::tasks::erase::{self, Eraser};
use crate::tasks::readers::Readers;
use crate::tasks::report::Reporter;
use crate::tasks::retention::Retention;
use crate::tasks::watch::Watch;
use crate::tasks::{lease, ledger};

/// What one process keeps in order.
pub(super) struct Keeping {
    pub store: Store,
    pub owner: i64,
    pub keyring: Arc<Keyring>,
    pub retry: RetrySettings,
    pub reporter: Reporter,
    pub teller: Teller,
    pub watch: Watch,
    pub retention: Retention,
    pub vitals: Vitals,
    /// Something became due.
    pub wake: Arc<Notify>,
    /// When the heartbeat was written last.
    pub beaten: Timestamp,
    /// The store could not be used in the last round that tried.
    pub away: bool,
}

impl Keeping {
    /// One round. Answers whether this process still counts as living.
    pub async fn step(&mut self, now: Timestamp) -> bool {
        self.vitals.ticked(now);
        // A clock that was set back must not silence it.
        if now.since(self.beaten) >= lease::HEARTBEAT || now < self.beaten {
            match lease::beat(&self.store, self.owner, &self.retry, now).await {
                Ok(Some(ended)) => {
                    self.beaten = now;
                    self.vitals.wrote(now);
                    if std::mem::take(&mut self.away) {
                        tracing::info!("the database is back");
                        init_system::status("the database is back");
                    }
                    told_of_dead(&self.teller, ended, now);
                }
                Ok(None) => {
                    tracing::error!("another process declared this one dead: its heartbeat was late");
                    return false;
                }
                Err(error) => {
                    // The rest would wait for the same database, one after the other.
                    self.failed("heartbeat", &error, now);
                    return true;
                }
            }
            telemetry::fold();
            if let Err(error) = self.watch.step(now).await {
                self.failed("looking for what operators want to know", &error, now);
            }
        }
        if let Err(error) = self.teller.step(now).await {
            self.failed("writing alarms down", &error, now);
        }
        if let Err(error) = self.keep(now).await {
            self.failed("housekeeping", &error, now);
        }
        true
    }

    /// A copy on hold is left as it is.
    async fn keep(&mut self, now: Timestamp) -> Result<(), StoreError> {
        if self.vitals.on_hold().is_some() {
            return Ok(());
        }
        ledger::tidy(&self.store, now).await?;
        self.reporter.first_passes(&self.store, now).await?;
        Readers::expire(&self.store, now).await?;
        self.reporter.stopped(&self.store, now).await?;
        self.retention.step(now).await?;
        if ledger::has_work(&self.store, now).await? {
            self.wake.notify_waiters();
        }
        // Last: one that cannot be ended keeps nothing else from being done.
        let addresses = &self.reporter.settings.addresses;
        erase::go_on(&Eraser { store: &self.store, keyring: &self.keyring, addresses }, now).await?;
        Ok(())
    }

    fn failed(&mut self, what: &str, error: &StoreError, now: Timestamp) {
        tracing::error!(%error, "{what}");
        if error.is_away() {
            if !std::mem::replace(&mut self.away, true) {
                init_system::status("the database is away");
            }
            self.teller.alarms.raise(AlarmCause::StoreAway, "", error, now);
        }
    }
}

/// Processes that did not end by themselves.
pub(super) fn told_of_dead(teller: &Teller, ended: u64, now: Timestamp) {
    if ended > 0 {
        let text = format!("{ended} ended without saying so");
        teller.alarms.raise(AlarmCause::DaemonDead, "", &text, now);
    }
}
