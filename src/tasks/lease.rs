//! The life of an owner: it enters, says that it lives, ends the silent ones, and leaves.
//!
//! Several processes share one PostgreSQL and nobody leads them: with its own heartbeat each one looks for owners that were not
//! heard of for [`SILENCE`], ends them, and declares uncertain what they held. Whoever was ended while it was only slow finds out
//! with its next heartbeat, or before its next claim, and stops. On a SQLite file, where the lock proves that we are alone,
//! every other owner is dead at once.

use std::time::Duration;

use crate::domain::delivery;
use crate::domain::settings::RetrySettings;
use crate::runtime::Timestamp;
use crate::store::{Dialect, Store, StoreError, Tx, deliveries, owners};

/// How often an owner says that it lives; one that has not for [`SILENCE`] is dead.
pub const HEARTBEAT: Duration = Duration::from_secs(10);
pub const SILENCE: Duration = Duration::from_secs(30);

/// A process that takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entered {
    pub owner: i64,
    /// How many others had not ended by themselves.
    pub ended: u64,
}

/// Registers this process, and declares uncertain what dead ones held.
///
/// # Errors
/// When the database fails.
pub async fn enter(
    store: &Store,
    process: &str,
    retry: &RetrySettings,
    now: Timestamp,
) -> Result<Entered, StoreError> {
    let silent_since = match store.dialect() {
        Dialect::Sqlite => Timestamp(i64::MAX),
        Dialect::Postgres => silence_before(now),
    };
    let mut tx = store.write().await?;
    let owner = owners::register(&mut tx, process, now).await?;
    let (ended, found) = end_silent(&mut tx, owner, silent_since, retry, now).await?;
    tx.commit().await?;
    tell(found);
    Ok(Entered { owner, ended })
}

/// Says that this owner lives, and ends those that do not. Answers how many it ended, or `None` where it does not count as living
/// itself: another process that did not hear of it for too long has given its deliveries away.
///
/// # Errors
/// When the database fails.
pub async fn beat(
    store: &Store,
    owner: i64,
    retry: &RetrySettings,
    now: Timestamp,
) -> Result<Option<u64>, StoreError> {
    let mut tx = store.write().await?;
    if !owners::beat(&mut tx, owner, now).await? {
        return Ok(None);
    }
    let (ended, found) = end_silent(&mut tx, owner, silence_before(now), retry, now).await?;
    tx.commit().await?;
    tell(found);
    Ok(Some(ended))
}

/// How many processes live on this store.
///
/// # Errors
/// When the database fails.
pub async fn living(store: &Store, now: Timestamp) -> Result<i64, StoreError> {
    owners::alive(&mut store.read().await?, silence_before(now)).await
}

/// A clean end. What is still leased is uncertain for whoever looks next.
///
/// # Errors
/// When the database fails.
pub async fn leave(store: &Store, owner: i64, now: Timestamp) -> Result<(), StoreError> {
    let mut tx = store.write().await?;
    owners::end(&mut tx, owner, now).await?;
    tx.commit().await
}

/// Who was last heard of before this instant is dead.
pub fn silence_before(now: Timestamp) -> Timestamp {
    now - SILENCE
}

async fn end_silent(
    tx: &mut Tx,
    owner: i64,
    silent_since: Timestamp,
    retry: &RetrySettings,
    now: Timestamp,
) -> Result<(u64, u64), StoreError> {
    let ended = owners::end_silent(tx, owner, silent_since, now).await?;
    let resend_at = delivery::uncertain_due(0, now, retry).unwrap_or(now);
    Ok((ended, deliveries::recover(tx, retry.on_uncertain, resend_at, now).await?))
}

fn tell(found: u64) {
    if found > 0 {
        tracing::warn!(
            deliveries = found,
            "in flight when a process was lost: the relay may or may not have them"
        );
    }
}
