//! What an imported row brings beside the person: suppression, consent history, note. All of it is added, nothing replaced.

use crate::domain::subscriber::{ImportRow, joined_notes};
use crate::runtime::Timestamp;
use crate::store::people::Evidence;
use crate::store::suppressions::NewSuppression;
use crate::store::{StoreError, Tx, notes, people, suppressions};

/// Adds the suppressions of one chunk. `keys` are the address keys of its rows, each once.
///
/// # Errors
/// When the database fails.
pub(super) async fn suppress(
    tx: &mut Tx,
    chunk: &[ImportRow],
    keys: &[String],
    now: Timestamp,
) -> Result<(), StoreError> {
    let rows = chunk.iter().zip(keys).filter_map(|(row, key)| Some((row.suppression.as_ref()?, key)));
    let new: Vec<NewSuppression<'_>> = rows
        .map(|(found, key)| NewSuppression {
            key,
            reason: found.reason,
            // Files of the future come from clocks that are wrong.
            at: found.at.map_or(now, |at| at.min(now)),
            source: found.source.as_deref().unwrap_or("import"),
        })
        .collect();
    suppressions::add_many(tx, &new).await
}

/// Adds consent history and notes of one chunk whose people are in the store. `source` is what the import declares.
///
/// # Errors
/// When the database fails.
pub(super) async fn keep(
    tx: &mut Tx,
    chunk: &[ImportRow],
    keys: &[String],
    (source, now): (&str, Timestamp),
) -> Result<(), StoreError> {
    let rows = || chunk.iter().zip(keys);
    let mut lines: Vec<Evidence<'_>> = Vec::new();
    for (row, key) in rows() {
        lines.extend(row.history.iter().map(|line| Evidence {
            key,
            at: line.at.min(now),
            source: line.source.as_deref().unwrap_or(source),
            text: &line.text,
        }));
    }
    people::add_evidence(tx, &lines).await?;
    let noted: Vec<(&str, &str)> = rows()
        .filter(|(row, _)| !row.note.is_empty())
        .map(|(row, key)| (key.as_str(), row.note.as_str()))
        .collect();
    let known = notes::by_keys(tx, &noted.iter().map(|(key, _)| *key).collect::<Vec<_>>()).await?;
    let mut new = Vec::new();
    for (key, note) in noted {
        let before = known.get(key).map_or("", String::as_str);
        let joined = joined_notes(before, note);
        if joined != before {
            new.push((key, joined));
        }
    }
    notes::put(tx, &new, now).await
}
