//! `refused_mail`: messages that a mailbox's server does not give, with the number of its failures, across restarts.
//!
//! A message that was given in the end, at whatever try, has no row. One that was set aside keeps its row, with the row of `inbound`
//! that stands for it, and is asked for again now and then.

use super::sql::{row, rows, run};
use super::{StoreError, Tx};
use crate::runtime::Timestamp;

/// Rows that are read at once. A server with more of them is broken as a whole.
const MOST: i64 = 1000;

/// A message that was not given.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Refused {
    pub uid: i64,
    pub failures: i64,
    /// What the server did the last time.
    pub why: String,
    /// The row that stands for it, once it is set aside.
    pub inbound_id: Option<i64>,
}

/// Counts failures of this message, or none: then it is only known that something near it went wrong. Answers how many there were.
///
/// # Errors
/// When the database fails.
pub async fn count(
    tx: &mut Tx,
    mailbox: i64,
    uid: u32,
    (failures, why): (i64, &str),
    now: Timestamp,
) -> Result<i64, StoreError> {
    const SQL: &str = "INSERT INTO refused_mail (mailbox_id, uid, failures, why, tried_at) VALUES ($1, $2, $5, $3, $4) \
        ON CONFLICT (mailbox_id, uid) DO UPDATE SET failures = refused_mail.failures + excluded.failures, why = excluded.why, \
            tried_at = excluded.tried_at RETURNING failures";
    let counted = row!(tx, (i64,), SQL, mailbox, i64::from(uid), why, now.millis(), failures)?;
    Ok(counted.map_or(failures, |(failures,)| failures))
}

/// All that were not given, by UID.
///
/// # Errors
/// When the database fails.
pub async fn all(tx: &mut Tx, mailbox: i64) -> Result<Vec<Refused>, StoreError> {
    const SQL: &str = "SELECT uid, failures, why, inbound_id FROM refused_mail WHERE mailbox_id = $1 \
        ORDER BY uid LIMIT $2 + 0";
    Ok(rows!(tx, Refused, SQL, mailbox, MOST)?)
}

/// One that was set aside, was asked for last before then, and less often than `failures`.
///
/// # Errors
/// When the database fails.
pub async fn due(
    tx: &mut Tx,
    mailbox: i64,
    before: Timestamp,
    failures: i64,
) -> Result<Option<Refused>, StoreError> {
    const SQL: &str = "SELECT uid, failures, why, inbound_id FROM refused_mail WHERE mailbox_id = $1 \
        AND inbound_id IS NOT NULL AND tried_at < $2 AND failures < $3 ORDER BY tried_at, uid LIMIT 1";
    Ok(row!(tx, Refused, SQL, mailbox, before.millis(), failures)?)
}

/// It was set aside: this row stands for it.
///
/// # Errors
/// When the database fails.
pub async fn set_aside(tx: &mut Tx, mailbox: i64, uid: i64, inbound: i64) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE refused_mail SET inbound_id = $3 WHERE mailbox_id = $1 AND uid = $2";
    run!(tx, SQL, mailbox, uid, inbound)?;
    Ok(())
}

/// It was given, or is gone.
///
/// # Errors
/// When the database fails.
pub async fn forget(tx: &mut Tx, mailbox: i64, uid: i64) -> Result<(), StoreError> {
    run!(tx, "DELETE FROM refused_mail WHERE mailbox_id = $1 AND uid = $2", mailbox, uid)?;
    Ok(())
}

/// The UIDs mean other messages now.
///
/// # Errors
/// When the database fails.
pub async fn forget_all(tx: &mut Tx, mailbox: i64) -> Result<(), StoreError> {
    run!(tx, "DELETE FROM refused_mail WHERE mailbox_id = $1", mailbox)?;
    Ok(())
}
