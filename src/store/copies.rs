//! `copies`: whether this store began as a copy of another one, and what becomes of what the copy has in its queue.
//!
//! A copy knows what was queued when it was taken. Whether that was sent afterwards, it cannot know: that is for a person to say.
//! Nor does it know which ids were given: see `domain::restored`.

use super::sql::{row, rows, run};
use super::{StoreError, Tx};
use crate::domain::edition::EditionState;
use crate::domain::restored::{PER_MS, floor};
use crate::domain::settings::OnUncertain;
use crate::runtime::Timestamp;

/// The mark of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    pub taken_at: Timestamp,
    /// The last delivery that was there when it was taken.
    pub newest_delivery: i64,
    /// `None`: nobody has said yet that it may be used.
    pub restored_at: Option<Timestamp>,
}

/// Marks a store as a copy that was taken now.
///
/// # Errors
/// When the database fails.
pub async fn mark(tx: &mut Tx, now: Timestamp) -> Result<(), StoreError> {
    const SQL: &str = "INSERT INTO copies (taken_at, newest_delivery) \
        SELECT CAST($1 AS BIGINT), coalesce(max(id), 0) FROM deliveries";
    run!(tx, SQL, now.millis())?;
    Ok(())
}

/// The newest mark, if this store ever was a copy.
///
/// # Errors
/// When the database fails.
pub async fn newest(tx: &mut Tx) -> Result<Option<Copy>, StoreError> {
    const SQL: &str = "SELECT taken_at, newest_delivery, restored_at FROM copies ORDER BY id DESC LIMIT 1";
    let found = row!(tx, (i64, i64, Option<i64>), SQL)?;
    Ok(found.map(|(taken_at, newest_delivery, restored_at)| Copy {
        taken_at: Timestamp(taken_at),
        newest_delivery,
        restored_at: restored_at.map(Timestamp),
    }))
}

/// What was put aside when a copy came into use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutAside {
    /// Editions that were sending when the copy was taken, now paused.
    pub editions: Vec<String>,
    /// Queued mail of the desk, now uncertain.
    pub desk: u64,
}

/// Takes the mark off. What was queued when the copy was taken may have been accepted since: editions pause, and mail of the desk
/// becomes uncertain. `resend_at`: when `resend` tries the latter again.
///
/// # Errors
/// When the database fails.
pub async fn restore(
    tx: &mut Tx,
    copy: Copy,
    policy: OnUncertain,
    resend_at: Timestamp,
    now: Timestamp,
) -> Result<PutAside, StoreError> {
    const SENDING: &str = "SELECT slug FROM editions WHERE state = 'sending' ORDER BY id";
    const PAUSE: &str = "UPDATE editions SET state = $1, reason = $2 WHERE state = 'sending'";
    const WAITING: &str = "UPDATE editions SET reason = $1 WHERE state = 'waiting_approval' OR state = 'paused' \
        OR state = 'attention'";
    const DESK: &str = "UPDATE deliveries SET state = 'uncertain', uncertain_count = uncertain_count + 1, due_at = $2, \
            settled_at = $3, last_reply = 'queued when the copy was taken that this store began as' \
        WHERE state = 'queued' AND stream < 0 AND id <= $1";
    let editions = rows!(tx, (String,), SENDING)?.into_iter().map(|(slug,)| slug).collect();
    let reason =
        format!("restored from a copy of {}; what it has queued may have been sent since", copy.taken_at);
    run!(tx, PAUSE, EditionState::Paused.as_str(), reason.as_str())?;
    run!(tx, WAITING, reason.as_str())?;
    let due_at = (policy == OnUncertain::Resend).then_some(resend_at.millis());
    let desk = run!(tx, DESK, copy.newest_delivery, due_at, now.millis())?;
    skip_ids(tx, now).await?;
    // Who signed out since would be signed in again.
    super::sessions::end_everything(tx).await?;
    run!(tx, "UPDATE copies SET restored_at = $1 WHERE restored_at IS NULL", now.millis())?;
    Ok(PutAside { editions, desk })
}

/// Why rows stand in SQLite that keep the ids below them from being given.
const WHY: &str = "ids below are not given again: the database that this one is a copy of may have used them";

/// Lets all ids that go out go on above whatever the lost store, or another opening of the same copy, can have given: a mailbox that
/// has seen a Message-ID drops the next mail that carries it, an answer finds its conversation by number, and a link to unsubscribe
/// its person. Wishes and sessions need none of it: their links name an address and a secret.
///
/// # Errors
/// When the database fails.
pub async fn skip_ids(tx: &mut Tx, now: Timestamp) -> Result<(), StoreError> {
    for (table, per_ms) in PER_MS {
        let newest = sqlx::AssertSqlSafe(format!("SELECT coalesce(max(id), 0) FROM {table}"));
        let (newest,) = row!(tx, (i64,), newest)?.unwrap_or_default();
        let next = floor(newest, per_ms, now);
        match tx.dialect().skip_ids() {
            Some(sql) => run!(tx, sql, table, next)?,
            None => stand_in(tx, table, (newest, next), now).await?,
        };
    }
    Ok(())
}

/// SQLite goes on after the highest row. One that was put there before and still is the highest moves up.
async fn stand_in(
    tx: &mut Tx,
    table: &str,
    (newest, next): (i64, i64),
    now: Timestamp,
) -> Result<u64, StoreError> {
    const BODY: &str = "INSERT INTO bodies (audience, frame, body) VALUES (0, '', '') RETURNING id";
    const DELIVERED: &str = "INSERT INTO deliveries (id, kind, address, body_id, lane, stream, state, attempt, \
            uncertain_count, last_reply, settled_at) \
        VALUES ($1, 'report', '', $2, 0, -1, 'skipped', 0, 0, $3, $4)";
    const DELIVERED_UP: &str =
        "UPDATE deliveries SET id = $1 WHERE id = $2 AND state = 'skipped' AND last_reply = $3";
    const CLOSED: &str = "INSERT INTO threads (id, state, address, address_key, name, subject, created_at, last_post_at) \
        VALUES ($1, 'closed', '', '', '', $2, $3, $3)";
    const CLOSED_UP: &str = "UPDATE threads SET id = $1 WHERE id = $2 AND address = '' AND subject = $3";
    const NOBODY: &str = "INSERT INTO subscribers (id, address, address_key, name, tier, status, created_at, updated_at) \
        VALUES ($1, '', 'restored:' || $1, '', '', 'unsubscribed', $2, $2)";
    const NOBODY_UP: &str = "UPDATE subscribers SET id = $1, address_key = 'restored:' || $1 WHERE id = $2 AND address_key = 'restored:' || $2";
    const CANCELLED: &str = "INSERT INTO editions (id, slug, state, due_at, subject, audience, reason) \
        VALUES ($1, 'restored-' || $1, 'cancelled', $2, '', 0, $3)";
    const CANCELLED_UP: &str =
        "UPDATE editions SET id = $1, slug = 'restored-' || $1 WHERE id = $2 AND slug = 'restored-' || $2";
    let moved = match table {
        "deliveries" => run!(tx, DELIVERED_UP, next, newest, WHY)?,
        "threads" => run!(tx, CLOSED_UP, next, newest, WHY)?,
        "subscribers" => run!(tx, NOBODY_UP, next, newest)?,
        _ => run!(tx, CANCELLED_UP, next, newest)?,
    };
    if moved > 0 {
        return Ok(moved);
    }
    Ok(match table {
        "deliveries" => {
            let (body,) = row!(tx, (i64,), BODY)?.unwrap_or_default();
            run!(tx, DELIVERED, next, body, WHY, now.millis())?
        }
        "threads" => run!(tx, CLOSED, next, WHY, now.millis())?,
        "subscribers" => run!(tx, NOBODY, next, now.millis())?,
        _ => run!(tx, CANCELLED, next, now.millis(), WHY)?,
    })
}
