//! `audit`: who changed what by hand, and when.

use super::sql::{rows, run};
use super::{StoreError, Tx};
use crate::runtime::Timestamp;

/// Records one change. `actor` is the door it came through (`cli`, `daemon`, `mail`, `desk`, `board`), `subject` what was changed.
///
/// # Errors
/// When the database fails.
pub async fn record(
    tx: &mut Tx,
    now: Timestamp,
    actor: &str,
    action: &str,
    subject: &str,
    detail: &str,
) -> Result<(), StoreError> {
    const SQL: &str = "INSERT INTO audit (at, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5)";
    run!(tx, SQL, now.millis(), actor, action, subject, detail)?;
    Ok(())
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub at: Timestamp,
    pub actor: String,
    pub action: String,
    pub subject: String,
    pub detail: String,
}

type Row = (i64, String, String, String, String);

fn read((at, actor, action, subject, detail): Row) -> Entry {
    Entry { at: Timestamp(at), actor, action, subject, detail }
}

/// What was changed about one thing, the newest first. `kind`: how these actions begin, `edition` or `inbox`; an edition may be
/// called 1, as a conversation is.
///
/// # Errors
/// When the database fails.
pub async fn about(tx: &mut Tx, (kind, subject): (&str, &str), limit: i64) -> Result<Vec<Entry>, StoreError> {
    const SQL: &str = "SELECT at, actor, action, subject, detail FROM audit WHERE subject = $1 \
        AND action LIKE $2 ORDER BY id DESC LIMIT $3 + 0";
    let like = format!("{kind} %");
    Ok(rows!(tx, Row, SQL, subject, like.as_str(), limit)?.into_iter().map(read).collect())
}

/// The changes whose action begins so, the newest first.
///
/// # Errors
/// When the database fails.
pub async fn of_action(tx: &mut Tx, action: &str, limit: i64) -> Result<Vec<Entry>, StoreError> {
    const SQL: &str = "SELECT at, actor, action, subject, detail FROM audit WHERE action LIKE $1 \
        ORDER BY id DESC LIMIT $2 + 0";
    let like = format!("{action}%");
    Ok(rows!(tx, Row, SQL, like.as_str(), limit)?.into_iter().map(read).collect())
}
