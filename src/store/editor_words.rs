//! `editor_words`: what editors said about an edition by mail, and when one of them was last told that nothing came of it.

use super::sql::run;
use super::{StoreError, Tx};
use crate::runtime::Timestamp;

/// Enters the message with this id. Answers whether it is new.
///
/// # Errors
/// When the database fails.
pub async fn enter(tx: &mut Tx, edition: i64, message_id: &str, now: Timestamp) -> Result<bool, StoreError> {
    const SQL: &str =
        "INSERT INTO editor_words (edition_id, word, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    Ok(run!(tx, SQL, edition, format!("<{message_id}>"), now.millis())? > 0)
}

/// Enters that this editor is told of a refusal. Answers whether they may be: not if they were since `since`.
///
/// # Errors
/// When the database fails.
pub async fn may_refuse(
    tx: &mut Tx,
    edition: i64,
    editor_key: &str,
    since: Timestamp,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const SQL: &str = "INSERT INTO editor_words (edition_id, word, at) VALUES ($1, $2, $3) \
        ON CONFLICT (edition_id, word) DO UPDATE SET at = excluded.at WHERE editor_words.at < $4";
    Ok(run!(tx, SQL, edition, format!("refused {editor_key}"), now.millis(), since.millis())? > 0)
}
