//! `inbound`: every received message, raw, before it is acknowledged; and what it was found to be.

use super::sql::{row, rows, run};
use super::{StoreError, Tx, word};
use crate::domain::inbound::{InboundSource, InboundState};
use crate::domain::verdict::Verdict;
use crate::runtime::Timestamp;

/// A message that fails this often is set aside.
pub const FAILURES_MAX: i64 = 3;

/// A message as it came through a door, for one of its recipients.
#[derive(Debug)]
pub struct NewInbound<'a> {
    pub source: InboundSource,
    /// `None`: the door has no envelope; empty: the null sender.
    pub envelope_from: Option<&'a str>,
    pub recipient: &'a str,
    /// Hex of SHA-256 over the raw bytes.
    pub hash: &'a str,
    /// Given away, because a copy for the driver may be 25 MB.
    pub raw: Vec<u8>,
}

/// Records one message. Answers its id, or `None` where the same bytes came for the same recipient before: a peer that did not
/// hear our acknowledgement sends again.
///
/// # Errors
/// When the database fails; the door must not acknowledge then.
pub async fn record(tx: &mut Tx, message: NewInbound<'_>, now: Timestamp) -> Result<Option<i64>, StoreError> {
    const SQL: &str = "INSERT INTO inbound (received_at, source, envelope_from, recipient, hash, raw, state, \
            failures, reason) VALUES ($1, $2, $3, $4, $5, $6, 'received', 0, '') \
        ON CONFLICT (hash, recipient) DO NOTHING RETURNING id";
    let entered = row!(
        tx,
        (i64,),
        SQL,
        now.millis(),
        message.source.as_str(),
        message.envelope_from,
        message.recipient,
        message.hash,
        message.raw
    )?;
    Ok(entered.map(|(id,)| id))
}

/// Whether a message with these octets came through this door before, whatever its recipient was taken to be. For doors without an
/// envelope: there the recipient is read from the message, by settings that may have changed.
///
/// # Errors
/// When the database fails.
pub async fn is_known(tx: &mut Tx, source: InboundSource, hash: &str) -> Result<bool, StoreError> {
    const SQL: &str = "SELECT id FROM inbound WHERE hash = $1 AND source = $2 LIMIT 1";
    Ok(row!(tx, (i64,), SQL, hash, source.as_str())?.is_some())
}

/// Sets a message aside that waits: its row says why, and an operator decides.
///
/// # Errors
/// When the database fails.
pub async fn set_aside(tx: &mut Tx, id: i64, reason: &str) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE inbound SET state = 'quarantined', failures = $3, reason = $2 \
        WHERE id = $1 AND state = 'received'";
    run!(tx, SQL, id, reason, FAILURES_MAX)?;
    Ok(())
}

/// A message that was set aside because it could not be had has come: its row becomes it, and waits to be understood. Answers
/// whether that row was still there for it.
///
/// # Errors
/// When the database fails.
pub async fn came_late(
    tx: &mut Tx,
    id: i64,
    recipient: &str,
    hash: &str,
    raw: &[u8],
) -> Result<bool, StoreError> {
    const SQL: &str = "UPDATE inbound SET recipient = $2, hash = $3, raw = $4, state = 'received', failures = 0, \
            tries = 0, reason = '' WHERE id = $1 AND state = 'quarantined' AND emptied_at IS NULL";
    Ok(run!(tx, SQL, id, recipient, hash, raw)? > 0)
}

/// A recorded message, waiting to be understood.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Waiting {
    pub id: i64,
    pub received_at: i64,
    pub source: String,
    pub envelope_from: Option<String>,
    pub recipient: String,
    pub raw: Vec<u8>,
    pub failures: i64,
    /// Tries that were begun, and when the last one was.
    pub tries: i64,
    pub tried_at: Option<i64>,
}

/// The oldest message that waits after the given id. One at a time, because a message may be 25 MB. None in a copy on hold: the
/// database that it is a copy of may have understood what comes in again, and nobody has said yet that it is gone.
///
/// # Errors
/// When the database fails.
pub async fn next(tx: &mut Tx, after: i64) -> Result<Option<Waiting>, StoreError> {
    const SQL: &str = "SELECT id, received_at, source, envelope_from, recipient, raw, failures, tries, tried_at FROM inbound \
        WHERE state = 'received' AND id > $1 AND NOT EXISTS (SELECT 1 FROM copies WHERE restored_at IS NULL) \
        ORDER BY id LIMIT 1";
    Ok(row!(tx, Waiting, SQL, after)?)
}

/// When a message was recorded.
///
/// # Errors
/// When the database fails.
pub async fn received_at(tx: &mut Tx, id: i64) -> Result<Timestamp, StoreError> {
    let found = row!(tx, (i64,), "SELECT received_at FROM inbound WHERE id = $1", id)?;
    found
        .map(|(at,)| Timestamp(at))
        .ok_or(StoreError::Corrupt { what: "a received message", why: format!("{id} is gone") })
}

/// Marks messages that nobody has tried yet as being tried: this one and those behind it. Answers which.
///
/// # Errors
/// When the database fails.
pub async fn mark_new(tx: &mut Tx, from: i64, most: i64, now: Timestamp) -> Result<Vec<i64>, StoreError> {
    const SQL: &str = "UPDATE inbound SET tries = 1, tried_at = $3 WHERE tries = 0 AND id IN \
        (SELECT n.id FROM inbound n WHERE n.state = 'received' AND n.id >= $1 ORDER BY n.id LIMIT $2 + 0) RETURNING id";
    Ok(rows!(tx, (i64,), SQL, from, most, now.millis())?.into_iter().map(|(id,)| id).collect())
}

/// Marks a message as being tried once more.
///
/// # Errors
/// When the database fails.
pub async fn mark_again(tx: &mut Tx, id: i64, now: Timestamp) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE inbound SET tries = tries + 1, tried_at = $2 WHERE id = $1";
    run!(tx, SQL, id, now.millis())?;
    Ok(())
}

/// Marks a message as done, with its verdict. Belongs into the transaction of its effects. Answers whether it was still
/// waiting; if not, the effects must be rolled back.
///
/// # Errors
/// When the database fails.
pub async fn done(
    tx: &mut Tx,
    id: i64,
    verdict: Verdict,
    reason: &str,
    thread: Option<i64>,
) -> Result<bool, StoreError> {
    const SQL: &str = "UPDATE inbound SET state = 'done', verdict = $2, reason = $3, thread_id = $4 \
        WHERE id = $1 AND state = 'received'";
    Ok(run!(tx, SQL, id, verdict.as_str(), reason, thread)? > 0)
}

/// Counts a failure; the third one sets the message aside. Answers whether it did.
///
/// # Errors
/// When the database fails.
pub async fn failed(tx: &mut Tx, id: i64, reason: &str) -> Result<bool, StoreError> {
    const SQL: &str = "UPDATE inbound SET failures = failures + 1, reason = $2, \
            state = CASE WHEN failures + 1 >= $3 THEN 'quarantined' ELSE 'received' END \
        WHERE id = $1 AND state = 'received' RETURNING state";
    let state = row!(tx, (String,), SQL, id, reason, FAILURES_MAX)?;
    Ok(state.is_some_and(|(state,)| state == InboundState::Quarantined.as_str()))
}

/// Puts a quarantined message back into the line. Answers whether it was quarantined.
///
/// # Errors
/// When the database fails.
pub async fn rerun(tx: &mut Tx, id: i64) -> Result<bool, StoreError> {
    const SQL: &str = "UPDATE inbound SET state = 'received', failures = 0, tries = 0 \
            WHERE id = $1 AND state = 'quarantined' AND emptied_at IS NULL";
    Ok(run!(tx, SQL, id)? > 0)
}

/// One row of `inbound list`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct InboundRow {
    pub id: i64,
    pub received_at: Timestamp,
    pub source: String,
    pub recipient: String,
    pub verdict: Option<Verdict>,
    pub reason: String,
    pub thread: Option<i64>,
    pub state: InboundState,
}

type Listed = (i64, i64, String, String, Option<String>, String, Option<i64>, String);

/// All of them or those in one state, the newest first.
///
/// # Errors
/// When the database fails.
pub async fn list(
    tx: &mut Tx,
    state: Option<InboundState>,
    limit: i64,
) -> Result<Vec<InboundRow>, StoreError> {
    const SQL: &str = "SELECT id, received_at, source, recipient, verdict, reason, thread_id, state FROM inbound \
        WHERE ($1 = '' OR state = $1) ORDER BY id DESC LIMIT $2 + 0";
    let found = rows!(tx, Listed, SQL, state.map_or("", InboundState::as_str), limit)?;
    found.into_iter().map(read).collect()
}

/// One message with its raw bytes.
///
/// # Errors
/// When the database fails.
pub async fn show(tx: &mut Tx, id: i64) -> Result<Option<(InboundRow, Vec<u8>)>, StoreError> {
    const SQL: &str = "SELECT id, received_at, source, recipient, verdict, reason, thread_id, state FROM inbound \
        WHERE id = $1";
    let Some(found) = row!(tx, Listed, SQL, id)? else { return Ok(None) };
    let (raw,) = row!(tx, (Vec<u8>,), "SELECT raw FROM inbound WHERE id = $1", id)?.unwrap_or_default();
    Ok(Some((read(found)?, raw)))
}

fn read(
    (id, received_at, source, recipient, verdict, reason, thread, state): Listed,
) -> Result<InboundRow, StoreError> {
    Ok(InboundRow {
        id,
        received_at: Timestamp(received_at),
        source,
        recipient,
        verdict: verdict.map(|text| word("a verdict", &text, Verdict::from_word)).transpose()?,
        reason,
        thread,
        state: word("an inbound state", &state, InboundState::from_word)?,
    })
}
