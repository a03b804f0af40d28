//! `suppressions`: addresses that must not be mailed. The list outranks everything (W157): it is read when an edition is queued
//! and again in the transaction that claims a delivery.

use super::sql::{markers, row, rows, run, run_each};
use super::{StoreError, Tx};
use crate::domain::address::Address;
use crate::domain::suppression::SuppressionReason;
use crate::runtime::Timestamp;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Suppression {
    pub address: String,
    pub reason: SuppressionReason,
    pub at: Timestamp,
    pub source: String,
}

/// Adds an address. An address that is there already keeps its first reason. Answers whether it is new.
///
/// # Errors
/// When the database fails.
pub async fn add(
    tx: &mut Tx,
    address: &Address,
    reason: SuppressionReason,
    source: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const SQL: &str = "INSERT INTO suppressions (address_key, reason, at, source) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (address_key) DO NOTHING";
    let key = address.key();
    // What was erased or has expired leaves something that is no address.
    if !key.contains('@') {
        return Ok(false);
    }
    Ok(run!(tx, SQL, key, reason.as_str(), now.millis(), source)? > 0)
}

/// Takes an address off the list. Answers whether it was on it.
///
/// # Errors
/// When the database fails.
pub async fn remove(tx: &mut Tx, address: &Address) -> Result<bool, StoreError> {
    let was = run!(tx, "DELETE FROM suppressions WHERE address_key = $1", address.key())? > 0;
    // What came back before does not stand against them any more, or the next soft bounce would suppress them again.
    const FORGIVE: &str = "UPDATE bounces SET stands = 0 WHERE stands = 1 \
        AND subscriber_id = (SELECT s.id FROM subscribers s WHERE s.address_key = $1)";
    run!(tx, FORGIVE, address.key())?;
    Ok(was)
}

/// A complaint outranks a wish to leave and a full mailbox: who complained comes back only by an operator's hand.
///
/// # Errors
/// When the database fails.
pub async fn complain(
    tx: &mut Tx,
    address: &Address,
    source: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const RAISE: &str = "UPDATE suppressions SET reason = 'complaint', at = $2, source = $3 \
        WHERE address_key = $1 AND (reason = 'unsubscribed' OR reason = 'soft_limit')";
    let new = add(tx, address, SuppressionReason::Complaint, source, now).await?;
    Ok(new || run!(tx, RAISE, address.key(), now.millis(), source)? > 0)
}

/// # Errors
/// When the database fails.
pub async fn of(tx: &mut Tx, address: &Address) -> Result<Option<Suppression>, StoreError> {
    const SQL: &str = "SELECT address_key, reason, at, source FROM suppressions WHERE address_key = $1";
    row!(tx, (String, String, i64, String), SQL, address.key())?.map(read).transpose()
}

/// All of them, by address.
///
/// # Errors
/// When the database fails.
pub async fn list(tx: &mut Tx) -> Result<Vec<Suppression>, StoreError> {
    const SQL: &str = "SELECT address_key, reason, at, source FROM suppressions ORDER BY address_key";
    rows!(tx, (String, String, i64, String), SQL)?.into_iter().map(read).collect()
}

fn read((address, reason, at, source): (String, String, i64, String)) -> Result<Suppression, StoreError> {
    let reason = super::word("a suppression", &reason, SuppressionReason::from_word)?;
    Ok(Suppression { address, reason, at: Timestamp(at), source })
}

/// Holds back the hard bounces since `since` of a lane's people who took an edition before: they are not suppressed before somebody
/// says so (W145). Answers how many.
///
/// # Errors
/// When the database fails.
pub async fn hold(tx: &mut Tx, lane: i64, since: Timestamp, now: Timestamp) -> Result<u64, StoreError> {
    const HOLD: &str = "INSERT INTO held_suppressions (address_key, lane_id, at, source) \
        SELECT x.address_key, $1, x.at, x.source FROM suppressions x JOIN subscribers s ON s.address_key = x.address_key \
        WHERE x.reason = 'hard_bounce' AND x.at >= $2 AND x.at <= $3 \
            AND coalesce((SELECT m.lane_id FROM lane_domains m WHERE m.domain = s.domain), 0) = $1 \
            AND EXISTS (SELECT 1 FROM editions e CROSS JOIN deliveries d \
                WHERE d.edition_id = e.id AND d.subscriber_id = s.id AND d.state = 'accepted') \
        ON CONFLICT (address_key) DO NOTHING";
    const LIFT: &str = "DELETE FROM suppressions WHERE reason = 'hard_bounce' AND at >= $2 AND address_key IN \
        (SELECT h.address_key FROM held_suppressions h WHERE h.lane_id = $1)";
    run!(tx, HOLD, lane, since.millis(), now.millis())?;
    Ok(run!(tx, LIFT, lane, since.millis())?)
}

/// Ends the hold of a lane: the addresses are suppressed after all, or mailed again. Answers how many were held.
///
/// # Errors
/// When the database fails.
pub async fn end_hold(tx: &mut Tx, lane: i64, suppress: bool) -> Result<u64, StoreError> {
    const APPLY: &str = "INSERT INTO suppressions (address_key, reason, at, source) \
        SELECT address_key, 'hard_bounce', at, source FROM held_suppressions WHERE lane_id = $1 \
        ON CONFLICT (address_key) DO NOTHING";
    if suppress {
        run!(tx, APPLY, lane)?;
    }
    Ok(run!(tx, "DELETE FROM held_suppressions WHERE lane_id = $1", lane)?)
}

/// One suppression to be added, by address key.
#[derive(Clone, Copy, Debug)]
pub struct NewSuppression<'a> {
    pub key: &'a str,
    pub reason: SuppressionReason,
    pub at: Timestamp,
    pub source: &'a str,
}

/// Adds many in one statement; what is there already keeps its first reason. At most 1000, each key once.
///
/// # Errors
/// When the database fails.
pub async fn add_many(tx: &mut Tx, new: &[NewSuppression<'_>]) -> Result<(), StoreError> {
    if new.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "INSERT INTO suppressions (address_key, reason, at, source) VALUES {} ON CONFLICT (address_key) DO NOTHING",
        markers(new.len(), 4)
    );
    run_each!(tx, sql, new, |query, one| query
        .bind(one.key)
        .bind(one.reason.as_str())
        .bind(one.at.millis())
        .bind(one.source))?;
    Ok(())
}

/// Those of people whose id is above `after` and at most `last`, by subscriber.
///
/// # Errors
/// When the database fails.
pub async fn between(
    tx: &mut Tx,
    after: i64,
    last: i64,
) -> Result<std::collections::HashMap<i64, Suppression>, StoreError> {
    const SQL: &str = "SELECT s.id, x.address_key, x.reason, x.at, x.source FROM subscribers s \
        JOIN suppressions x ON x.address_key = s.address_key WHERE s.id > $1 AND s.id <= $2";
    let found = rows!(tx, (i64, String, String, i64, String), SQL, after, last)?;
    found.into_iter().map(|(id, key, reason, at, by)| Ok((id, read((key, reason, at, by))?))).collect()
}
