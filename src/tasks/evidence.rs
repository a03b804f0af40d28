//! What an imported row brings beside the person: suppression, consent history, note. All of it is added, nothing replaced.

use super::people::Keyed;
use crate::domain::subscriber::joined_notes;
use crate::runtime::Timestamp;
use crate::store::people::Evidence;
use crate::store::suppressions::NewSuppression;
use crate::store::{StoreError, Tx, notes, people, suppressions};

/// Adds the suppressions of one chunk.
///
/// # Errors
/// When the database fails.
pub(super) async fn suppress(tx: &mut Tx, chunk: &[Keyed], now: Timestamp) -> Result<(), StoreError> {
    let rows = chunk.iter().filter_map(|(key, row)| Some((row.suppression.as_ref()?, key)));
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
    chunk: &[Keyed],
    (source, now): (&str, Timestamp),
) -> Result<(), StoreError> {
    let mut lines: Vec<Evidence<'_>> = Vec::new();
    for (key, row) in chunk {
        lines.extend(row.history.iter().map(|line| Evidence {
            key,
            at: line.at.min(now),
            source: line.source.as_deref().unwrap_or(source),
            text: &line.text,
        }));
    }
    people::add_evidence(tx, &lines).await?;
    let noted: Vec<(&str, &str)> = chunk
        .iter()
        .filter(|(_, row)| !row.note.is_empty())
        .map(|(key, row)| (key.as_str(), row.note.as_str()))
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
