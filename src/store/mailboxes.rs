//! `mailboxes`, `unfiled`: how far a mailbox on an IMAP server was read, and which of its messages wait to be moved or flagged.
//!
//! A message is recorded in the transaction that moves `last_uid` from the message before it to itself. So whoever is late, or
//! missed one, changes nothing: two processes may read one mailbox, and a crash leaves no message out and none twice.
//!
//! A copy is not made twice: that a command leaves is written before it does, and what nobody answered for stays where it is.

use super::sql::{row, rows, run, run_each};
use super::{StoreError, Tx, refused_mail};
use crate::runtime::Timestamp;

/// How far a mailbox was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Position {
    pub id: i64,
    /// UIDVALIDITY: another one, and all UIDs have changed.
    pub validity: i64,
    /// 0: nothing yet.
    pub last_uid: i64,
    first_seen_at: i64,
    renumbered: i64,
}

impl Position {
    /// Where its UIDs have changed since: when it was seen first.
    pub fn renumbered_since(&self) -> Option<Timestamp> {
        (self.renumbered != 0).then_some(Timestamp(self.first_seen_at))
    }
}

/// One message's place, and the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub mailbox: i64,
    pub validity: i64,
    /// The message that was recorded before this one.
    pub after: i64,
    pub uid: i64,
    /// Whether it has to be moved or flagged once it is recorded.
    pub file: bool,
}

/// How far a recorded message has come on its way to where it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filing {
    Waiting,
    /// The command to copy it has left, and nobody knows of an answer.
    Copying,
    /// There is a copy of it, and it is not yet removed.
    Copied,
    /// It stays where it is.
    Left,
}

impl Filing {
    fn as_str(self) -> &'static str {
        match self {
            Filing::Waiting => "waiting",
            Filing::Copying => "copying",
            Filing::Copied => "copied",
            Filing::Left => "left",
        }
    }
}

/// What a server says about a mailbox when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `None`: its UIDs mean nothing the next time.
    pub validity: Option<u32>,
    /// UIDNEXT.
    pub next: Option<u32>,
    /// Whether what is there already counts when the mailbox is seen for the first time.
    pub backlog: bool,
    /// The server was asked twice.
    pub sure: bool,
}

/// Where to go on reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    GoOn(Position),
    /// From the start, because the UIDs have changed. What was recorded is known by its octets.
    Again(Position),
    /// There are fewer UIDs than were recorded. A mailbox that came out of a backup is like that, and one that another process
    /// reads at this moment: the server has to be asked again.
    Unsure,
}

/// Looks up how far a mailbox was read.
///
/// # Errors
/// When the database fails.
pub async fn open(tx: &mut Tx, place: &str, seen: Seen, now: Timestamp) -> Result<Opening, StoreError> {
    const NEW: &str = "INSERT INTO mailboxes (place, validity, last_uid, first_seen_at, renumbered) \
        VALUES ($1, $2, $3, $4, 0) ON CONFLICT (place) DO NOTHING";
    const FIND: &str =
        "SELECT id, validity, last_uid, first_seen_at, renumbered FROM mailboxes WHERE place = $1";
    const AGAIN: &str = "UPDATE mailboxes SET validity = $2, last_uid = 0, renumbered = 1 WHERE id = $1";
    let validity = i64::from(seen.validity.unwrap_or(0));
    let there = seen.next.map_or(0, |next| i64::from(next) - 1).max(0);
    run!(tx, NEW, place, validity, if seen.backlog { 0 } else { there }, now.millis())?;
    let known = row!(tx, Position, FIND, place)?.ok_or(sqlx::Error::RowNotFound)?;
    let behind = seen.next.is_some() && there < known.last_uid;
    if known.validity == validity && seen.validity.is_some() && !behind {
        return Ok(Opening::GoOn(known));
    }
    if behind && !seen.sure {
        return Ok(Opening::Unsure);
    }
    run!(tx, AGAIN, known.id, validity)?;
    run!(tx, "DELETE FROM unfiled WHERE mailbox_id = $1", known.id)?;
    // A server without UIDVALIDITY is met like this each time; most of them number by place, and failures have to add up.
    if known.validity != validity || seen.validity.is_some() {
        refused_mail::forget_all(tx, known.id).await?;
    }
    Ok(Opening::Again(Position { validity, last_uid: 0, renumbered: 1, ..known }))
}

/// Moves on to this message. Answers whether it was its turn; if not, it must not be recorded.
///
/// # Errors
/// When the database fails.
pub async fn advance(tx: &mut Tx, place: &Place) -> Result<bool, StoreError> {
    const MOVE: &str = "UPDATE mailboxes SET last_uid = $4 WHERE id = $1 AND validity = $2 AND last_uid = $3";
    let moved = run!(tx, MOVE, place.mailbox, place.validity, place.after, place.uid)? > 0;
    if moved && place.file {
        to_file(tx, place.mailbox, place.uid).await?;
    }
    Ok(moved)
}

/// This message has to be moved or flagged.
///
/// # Errors
/// When the database fails.
pub async fn to_file(tx: &mut Tx, mailbox: i64, uid: i64) -> Result<(), StoreError> {
    const SQL: &str = "INSERT INTO unfiled (mailbox_id, uid) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    run!(tx, SQL, mailbox, uid)?;
    Ok(())
}

/// The first messages after `after` that wait for this step of being moved or flagged.
///
/// # Errors
/// When the database fails.
pub async fn unfiled(
    tx: &mut Tx,
    mailbox: i64,
    step: Filing,
    after: u32,
    limit: i64,
) -> Result<Vec<u32>, StoreError> {
    const SQL: &str = "SELECT uid FROM unfiled WHERE mailbox_id = $1 AND state = $2 AND uid > $3 \
        ORDER BY uid LIMIT $4 + 0";
    let found = rows!(tx, (i64,), SQL, mailbox, step.as_str(), i64::from(after), limit)?;
    Ok(found.into_iter().filter_map(|(uid,)| u32::try_from(uid).ok()).collect())
}

/// These have come so far. Answers whether all of them were where they were thought to be; if not, another process is at them, and
/// nothing must happen.
///
/// # Errors
/// When the database fails.
pub async fn step_on(
    tx: &mut Tx,
    mailbox: i64,
    uids: &[u32],
    (from, to): (Filing, Filing),
) -> Result<bool, StoreError> {
    let sql = format!("UPDATE unfiled SET state = '{}' WHERE state = '{}'", to.as_str(), from.as_str());
    Ok(of_uids(tx, mailbox, sql, uids).await? == uids.len() as u64)
}

/// What was copied or not, nobody knows, stays where it is. Answers how many.
///
/// # Errors
/// When the database fails.
pub async fn leave_unanswered(tx: &mut Tx, mailbox: i64) -> Result<u64, StoreError> {
    const SQL: &str = "UPDATE unfiled SET state = 'left' WHERE mailbox_id = $1 AND state = 'copying'";
    Ok(run!(tx, SQL, mailbox)?)
}

/// These were moved or flagged.
///
/// # Errors
/// When the database fails.
pub async fn filed(tx: &mut Tx, mailbox: i64, uids: &[u32]) -> Result<(), StoreError> {
    of_uids(tx, mailbox, "DELETE FROM unfiled WHERE state <> 'left'".to_owned(), uids).await?;
    Ok(())
}

async fn of_uids(tx: &mut Tx, mailbox: i64, sql: String, uids: &[u32]) -> Result<u64, StoreError> {
    if uids.is_empty() {
        return Ok(0);
    }
    let markers: Vec<String> = (2..uids.len() + 2).map(|marker| format!("${marker}")).collect();
    let sql = format!("{sql} AND mailbox_id = $1 AND uid IN ({})", markers.join(", "));
    let binds = std::iter::once(mailbox).chain(uids.iter().map(|uid| i64::from(*uid)));
    Ok(run_each!(tx, sql, binds, |query, value| query.bind(value))?)
}
