//! Writing everybody to a file, page by page, so that memory does not grow with the audience.
//!
//! Each page is one consistent view, in the order of ids. What changes while it runs is in the file or not; no person is there
//! twice or half.

use std::io::Write;

use serde::Serialize;

use crate::domain::subscriber::Subscriber;
use crate::import::{ExportRow, Writer};
use crate::runtime::Timestamp;
use crate::store::{Store, StoreError, notes, people, suppressions};

const PAGE: i64 = 1000;

/// Why an export did not end.
#[derive(Debug, thiserror::Error)]
pub enum ExportProblem {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the file could not be written: {0}")]
    Write(#[from] std::io::Error),
}

/// A line of the consent cell.
#[derive(Serialize)]
struct Line<'a> {
    at: Timestamp,
    source: &'a str,
    text: &'a str,
}

/// Writes everybody in the own format. `told` hears the number of people so far. Answers how many there are.
///
/// # Errors
/// When the database or the file fails.
pub async fn export(store: &Store, out: impl Write, mut told: impl FnMut(u64)) -> Result<u64, ExportProblem> {
    let mut writer = Writer::new(out)?;
    let (mut after, mut count) = (0, 0);
    loop {
        let mut tx = store.read().await?;
        let page = people::page(&mut tx, after, PAGE).await?;
        let Some(last) = page.last().map(|person| person.id) else { break };
        let suppressions = suppressions::between(&mut tx, after, last).await?;
        let consents = people::consents_between(&mut tx, after, last).await?;
        let notes = notes::between(&mut tx, after, last).await?;
        drop(tx);
        for person in &page {
            let suppression = suppressions.get(&person.id);
            writer.row(&ExportRow {
                person,
                note: notes.get(&person.id).map_or("", String::as_str),
                suppression: suppression.map(|one| (one.reason.as_str(), one.at, one.source.as_str())),
                consent: &cell(person, &consents)?,
            })?;
        }
        (after, count) = (last, count + page.len() as u64);
        told(count);
    }
    writer.finish()?;
    Ok(count)
}

fn cell(
    person: &Subscriber,
    consents: &std::collections::HashMap<i64, Vec<people::Consent>>,
) -> Result<String, ExportProblem> {
    let Some(lines) = consents.get(&person.id) else { return Ok(String::new()) };
    let lines: Vec<Line<'_>> =
        lines.iter().map(|line| Line { at: line.at, source: &line.source, text: &line.text }).collect();
    Ok(serde_json::to_string(&lines).map_err(std::io::Error::from)?)
}
