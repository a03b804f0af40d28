//! `notes`: one text about a person, as other systems kept it.
//!
//! CROSS JOIN keeps SQLite at the order in which the tables are written; left alone it reads all notes for each chunk.

use std::collections::HashMap;

use super::sql::{markers, row, rows, rows_each, run_each};
use super::{StoreError, Tx};
use crate::runtime::Timestamp;

/// Rows a statement: far below what SQLite (32766) and PostgreSQL (65535) can bind.
const ROWS: usize = 1000;

/// The note about one person; empty where there is none.
///
/// # Errors
/// When the database fails.
pub async fn of(tx: &mut Tx, subscriber: i64) -> Result<String, StoreError> {
    const SQL: &str = "SELECT text FROM notes WHERE subscriber_id = $1";
    Ok(row!(tx, (String,), SQL, subscriber)?.map(|(text,)| text).unwrap_or_default())
}

/// The notes about people of the given address keys, by key. At most 1000 keys.
///
/// # Errors
/// When the database fails.
pub async fn by_keys(tx: &mut Tx, keys: &[&str]) -> Result<HashMap<String, String>, StoreError> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "SELECT s.address_key, n.text FROM subscribers s CROSS JOIN notes n \
         WHERE n.subscriber_id = s.id AND s.address_key IN ({})",
        markers(keys.len(), 1)
    );
    let found = rows_each!(tx, (String, String), sql, keys, |query, key| query.bind(*key))?;
    Ok(found.into_iter().collect())
}

/// The notes about people whose id is above `after` and at most `last`.
///
/// # Errors
/// When the database fails.
pub async fn between(tx: &mut Tx, after: i64, last: i64) -> Result<HashMap<i64, String>, StoreError> {
    const SQL: &str =
        "SELECT subscriber_id, text FROM notes WHERE subscriber_id > $1 AND subscriber_id <= $2";
    Ok(rows!(tx, (i64, String), SQL, after, last)?.into_iter().collect())
}

/// Writes notes about people of the given address keys, each in place of the one before.
///
/// # Errors
/// When the database fails.
pub async fn put(tx: &mut Tx, notes: &[(&str, String)], now: Timestamp) -> Result<(), StoreError> {
    for part in notes.chunks(ROWS) {
        let values: Vec<String> = (0..part.len())
            .map(|at| format!("(CAST(${} AS TEXT), CAST(${} AS TEXT))", at * 2 + 1, at * 2 + 2))
            .collect();
        let sql = format!(
            "INSERT INTO notes (subscriber_id, text, updated_at) \
             SELECT s.id, v.column2, {} FROM (VALUES {}) AS v CROSS JOIN subscribers s WHERE s.address_key = v.column1 \
             ON CONFLICT (subscriber_id) DO UPDATE SET text = excluded.text, updated_at = excluded.updated_at",
            now.millis(),
            values.join(", ")
        );
        run_each!(tx, sql, part, |query, note| query.bind(note.0).bind(note.1.as_str()))?;
    }
    Ok(())
}
