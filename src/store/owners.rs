//! `owners`: the processes that hold deliveries in flight. A lease is worth as much as the row it names.

use super::sql::{row, run};
use super::{StoreError, Tx};
use crate::runtime::Timestamp;

/// Enters this process as an owner; the answer is its id.
///
/// # Errors
/// When the database fails.
pub async fn register(tx: &mut Tx, process: &str, now: Timestamp) -> Result<i64, StoreError> {
    const SQL: &str =
        "INSERT INTO owners (process, started_at, heartbeat_at) VALUES ($1, $2, $2) RETURNING id";
    let (id,) = row!(tx, (i64,), SQL, process, now.millis())?
        .ok_or(StoreError::Corrupt { what: "an owner", why: "no id came back".into() })?;
    Ok(id)
}

/// Says that an owner lives. Answers whether it does: who was ended stays ended. Until this transaction commits, nobody else
/// can end it.
///
/// # Errors
/// When the database fails.
pub async fn beat(tx: &mut Tx, owner: i64, now: Timestamp) -> Result<bool, StoreError> {
    const SQL: &str = "UPDATE owners SET heartbeat_at = $2 WHERE id = $1 AND ended_at IS NULL";
    Ok(run!(tx, SQL, owner, now.millis())? == 1)
}

/// A clean end. What is still leased stays leased until somebody declares it uncertain.
///
/// # Errors
/// When the database fails.
pub async fn end(tx: &mut Tx, owner: i64, now: Timestamp) -> Result<(), StoreError> {
    run!(tx, "UPDATE owners SET heartbeat_at = $2, ended_at = $2 WHERE id = $1", owner, now.millis())?;
    Ok(())
}

/// How many owners were heard of since then and have not ended.
///
/// # Errors
/// When the database fails.
pub async fn alive(tx: &mut Tx, since: Timestamp) -> Result<i64, StoreError> {
    const SQL: &str = "SELECT count(*) FROM owners WHERE ended_at IS NULL AND heartbeat_at >= $1";
    Ok(row!(tx, (i64,), SQL, since.millis())?.map_or(0, |(count,)| count))
}

/// Ends every other owner that has not been heard of since `silent_since`; on a SQLite file, which has one daemon, that is
/// every other owner. Their leases are then free to be declared uncertain.
///
/// # Errors
/// When the database fails.
pub async fn end_silent(
    tx: &mut Tx,
    owner: i64,
    silent_since: Timestamp,
    now: Timestamp,
) -> Result<u64, StoreError> {
    const SQL: &str = "UPDATE owners SET ended_at = $3 \
        WHERE id <> $1 AND ended_at IS NULL AND heartbeat_at < $2";
    Ok(run!(tx, SQL, owner, silent_since.millis(), now.millis())?)
}
