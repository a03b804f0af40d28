//! `told_mails`, and the newest words of a conversation: what is counted so that programs that answer each other come to an end.

use super::sql::{row, rows, run};
use super::{StoreError, Tx};
use crate::domain::loop_guard::{Spoken, ToldLately, WITHIN};
use crate::runtime::Timestamp;

/// How many mails told this member about mails of theirs lately.
///
/// # Errors
/// When the database fails.
pub async fn lately(
    tx: &mut Tx,
    (thread, staff): (i64, i64),
    now: Timestamp,
) -> Result<ToldLately, StoreError> {
    const SQL: &str = "SELECT count(CASE WHEN thread_id = $1 THEN 1 END), count(*) FROM told_mails \
        WHERE staff_id = $2 AND at > $3";
    let since = now - WITHIN;
    let (in_thread, in_all) = row!(tx, (i64, i64), SQL, thread, staff, since.millis())?.unwrap_or_default();
    Ok(ToldLately { in_thread, in_all })
}

/// Counts one more, and forgets those that no longer count.
///
/// # Errors
/// When the database fails.
pub async fn count(tx: &mut Tx, (thread, staff): (i64, i64), now: Timestamp) -> Result<(), StoreError> {
    const SQL: &str = "INSERT INTO told_mails (thread_id, staff_id, at) VALUES ($1, $2, $3)";
    const OLD: &str = "DELETE FROM told_mails WHERE staff_id = $1 AND at <= $2";
    let before = now - WITHIN;
    run!(tx, OLD, staff, before.millis())?;
    run!(tx, SQL, thread, staff, now.millis())?;
    Ok(())
}

/// What the subscriber of a conversation wrote last, the newest first.
///
/// # Errors
/// When the database fails.
pub async fn spoken(tx: &mut Tx, thread: i64, limit: i64) -> Result<Vec<Spoken>, StoreError> {
    const SQL: &str = "SELECT at, substr(text, 1, 2000) FROM posts WHERE thread_id = $1 AND kind = 'subscriber' \
        ORDER BY id DESC LIMIT $2 + 0";
    let found = rows!(tx, (i64, String), SQL, thread, limit)?;
    Ok(found.into_iter().map(|(at, text)| Spoken { at: Timestamp(at), text }).collect())
}

/// The conversation of a post that already is this message, come by another of our addresses: same id, same sender, same words.
///
/// # Errors
/// When the database fails.
pub async fn same_message(
    tx: &mut Tx,
    message_id: &str,
    (address, text): (&str, &str),
    since: Timestamp,
) -> Result<Vec<(i64, i64)>, StoreError> {
    const SQL: &str = "SELECT id, thread_id FROM posts WHERE message_id = $1 AND kind = 'subscriber' \
        AND from_address = $2 AND text = $3 AND at >= $4 ORDER BY id LIMIT 10";
    Ok(rows!(tx, (i64, i64), SQL, message_id, address, text, since.millis())?)
}
