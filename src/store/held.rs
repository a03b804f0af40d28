//! `held_answers`: answers of staff that wait for a word of their author.
//!
//! A member may have several of them in one conversation. The mail that asks about one is noted beside it, so that the word is about
//! the answer that it answers, and about no other.

use super::sql::{row, rows, run};
use super::{StoreError, Tx};
use crate::runtime::Timestamp;

/// In place of a member to whom a conversation goes: nobody has it.
pub const NOBODY: i64 = 0;

/// An answer that waits for a word of its author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub id: i64,
    pub inbound_id: Option<i64>,
    /// What would be sent.
    pub body_id: i64,
    pub text: String,
    /// As JSON: what is shown of its files.
    pub files: String,
    pub closes: bool,
    /// The member who takes the conversation over with it, or [`NOBODY`].
    pub assign_to: Option<i64>,
    /// The delivery of the mail that asks about it.
    pub asked_in: Option<i64>,
    /// The newest post when it was held.
    pub seen: i64,
}

/// An answer that is about to be held.
#[derive(Clone, Copy, Debug)]
pub struct NewHeld<'a> {
    pub thread: i64,
    pub staff: i64,
    pub inbound_id: Option<i64>,
    pub body_id: i64,
    pub text: &'a str,
    pub files: &'a str,
    pub closes: bool,
    pub assign_to: Option<i64>,
}

/// Holds an answer. Answers its id.
///
/// # Errors
/// When the database fails.
pub async fn hold(tx: &mut Tx, new: &NewHeld<'_>, now: Timestamp) -> Result<i64, StoreError> {
    const SQL: &str = "INSERT INTO held_answers (thread_id, staff_id, inbound_id, body_id, at, text, files, closes, \
        state, assign_to) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'held', $9) RETURNING id";
    let entered = row!(
        tx,
        (i64,),
        SQL,
        new.thread,
        new.staff,
        new.inbound_id,
        new.body_id,
        now.millis(),
        new.text,
        new.files,
        i64::from(new.closes),
        new.assign_to
    )?;
    Ok(entered.ok_or(sqlx::Error::RowNotFound)?.0)
}

/// This mail asks about it.
///
/// # Errors
/// When the database fails.
pub async fn asked_in(tx: &mut Tx, held: i64, delivery: i64) -> Result<(), StoreError> {
    run!(tx, "UPDATE held_answers SET asked_in = $2 WHERE id = $1", held, delivery)?;
    Ok(())
}

/// The answers of this author that are held in this conversation, the newest first. The mail that asks about one is about the
/// newest post of that moment; before mails were noted, it was the first one that followed.
///
/// # Errors
/// When the database fails.
pub async fn of_author(tx: &mut Tx, thread: i64, staff: i64) -> Result<Vec<Held>, StoreError> {
    const SQL: &str = "SELECT h.id, h.inbound_id, h.body_id, h.text, h.files, h.closes, h.assign_to, h.asked_in, \
            coalesce((SELECT a.post_id FROM deliveries a WHERE a.id = h.asked_in), (SELECT d.post_id \
            FROM deliveries d JOIN posts p ON p.id = d.post_id \
            WHERE p.thread_id = $1 AND d.staff_id = $2 AND d.body_id > h.body_id ORDER BY d.body_id LIMIT 1), 0) \
        FROM held_answers h WHERE h.thread_id = $1 AND h.staff_id = $2 AND h.state = 'held' ORDER BY h.id DESC";
    type Row = (i64, Option<i64>, i64, String, String, i64, Option<i64>, Option<i64>, i64);
    let read = |(id, inbound_id, body_id, text, files, closes, assign_to, asked_in, seen): Row| Held {
        id,
        inbound_id,
        body_id,
        text,
        files,
        closes: closes == 1,
        assign_to,
        asked_in,
        seen,
    };
    Ok(rows!(tx, Row, SQL, thread, staff)?.into_iter().map(read).collect())
}

/// This one is `sent`, or `dropped` because another answer took its place.
///
/// # Errors
/// When the database fails.
pub async fn end(tx: &mut Tx, held: i64, state: &str) -> Result<(), StoreError> {
    run!(tx, "UPDATE held_answers SET state = $2 WHERE id = $1 AND state = 'held'", held, state)?;
    Ok(())
}

/// What is held in a conversation goes with it where it is joined to another one.
///
/// # Errors
/// When the database fails.
pub async fn follow(tx: &mut Tx, from: i64, into: i64) -> Result<(), StoreError> {
    run!(tx, "UPDATE held_answers SET thread_id = $2 WHERE thread_id = $1", from, into)?;
    Ok(())
}
