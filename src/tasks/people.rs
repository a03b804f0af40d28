//! Importing people, in chunks that are short enough for sending and receiving to go on beside them.
//!
//! Rows are put into the order of their addresses, window by window: a chunk then touches neighbouring pages of the index of
//! addresses and not a page a row, which made an import of 200,000 people in random order 2.5 times faster.
//!
//! An import never raises consent and never lifts a suppression. What it skips and why is part of its answer, and what it
//! decided the careful way. An address that comes twice in a file is merged and reported; eight bytes a row remember it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::domain::subscriber::{ImportRow, Subscriber, SubscriberStatus};
use crate::import::Skipped;
use crate::mail::token::Keyring;
use crate::runtime::Timestamp;
use crate::store::{Dialect, Store, StoreError, Tx, audit, erasures, people};

use super::evidence;

/// Rows a transaction.
const CHUNK: usize = 500;

/// SQLite has one writer, and who waits for it asks every 100 ms in the end. An import that begins its next chunk at once is
/// met in a gap by luck only (8 s were seen); a pause longer than that, once a second, lets everybody in.
const STRETCH: Duration = Duration::from_millis(800);
const PAUSE: Duration = Duration::from_millis(110);

/// Rows that are sorted at a time: about 15 MB.
const WINDOW: usize = 40_000;

/// More skipped rows than this are counted, and not listed.
const LISTED: usize = 10_000;

/// What an import did, or with `dry_run` would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    pub format: &'static str,
    /// Rows read, the skipped ones among them.
    pub rows: u64,
    pub added: u64,
    pub updated: u64,
    pub unchanged: u64,
    /// Rows whose address is suppressed, whatever else became of them: nothing is sent there.
    pub suppressed: u64,
    /// The first ten thousand.
    pub skipped: Vec<Skipped>,
    pub skipped_rows: u64,
    /// Rows that were taken the careful way, because the file left something open. The first ten thousand.
    pub unclear: Vec<Skipped>,
    pub unclear_rows: u64,
    /// Rows that the file would have mailed and that stay suppressed (W157). The first ten thousand.
    pub kept_suppressed: Vec<Skipped>,
}

/// How to import.
#[derive(Clone, Copy, Debug)]
pub struct ImportOptions<'a> {
    /// Where the consent of these people comes from; `None` is stored as `unproven` (W187).
    pub consent_source: Option<&'a str>,
    pub dry_run: bool,
    pub now: Timestamp,
    /// Knows whom the file names that was erased.
    pub keyring: &'a Keyring,
}

/// Imports rows as they come. `told_rows` hears the number of rows so far after each chunk.
///
/// # Errors
/// When the database fails: the chunks before are kept, and running the import again is harmless.
pub async fn import(
    store: &Store,
    rows: impl Iterator<Item = Result<ImportRow, Skipped>>,
    options: ImportOptions<'_>,
    mut told_rows: impl FnMut(u64),
) -> Result<ImportReport, StoreError> {
    let mut report = ImportReport { format: "tidings", ..Default::default() };
    let (hash, mut seen) = (RandomState::new(), HashSet::new());
    let mut window = Window { rows: Vec::new(), paused_at: Instant::now() };
    for row in rows {
        report.rows += 1;
        match row {
            Ok(row) => {
                let key = row.address.key();
                report.note_unclear(&row, !seen.insert(hash.hash_one(&key)));
                window.rows.push((key, row));
            }
            Err(skipped) => report.skip(skipped),
        }
        if window.rows.len() == WINDOW {
            window.write(store, options, &mut report, &mut told_rows).await?;
        }
    }
    window.write(store, options, &mut report, &mut told_rows).await?;
    told_rows(report.rows);
    if !options.dry_run {
        let mut tx = store.write().await?;
        let detail = format!("{} rows, {} added, {} updated", report.rows, report.added, report.updated);
        audit::record(&mut tx, options.now, "cli", "subscribers import", "", &detail).await?;
        tx.commit().await?;
    }
    Ok(report)
}

impl ImportReport {
    fn skip(&mut self, row: Skipped) {
        self.skipped_rows += 1;
        if self.skipped.len() < LISTED {
            self.skipped.push(row);
        }
    }

    fn note_unclear(&mut self, row: &ImportRow, seen: bool) {
        let again = seen.then_some("the same address stands in an earlier line; the two are merged");
        let reasons: Vec<&str> = row.unclear.as_deref().into_iter().chain(again).collect();
        if reasons.is_empty() {
            return;
        }
        self.unclear_rows += 1;
        if self.unclear.len() < LISTED {
            self.unclear.push(told(row, reasons.join("; ")));
        }
    }

    /// `suppressed` are the keys that were suppressed before.
    fn note_suppressed(&mut self, chunk: &[Keyed], suppressed: &HashSet<String>) {
        for (key, row) in chunk {
            let before = suppressed.contains(key);
            self.suppressed += u64::from(before || row.suppression.is_some());
            let would_mail = row.status == SubscriberStatus::Active && row.suppression.is_none();
            if before && would_mail && self.kept_suppressed.len() < LISTED {
                self.kept_suppressed.push(told(row, "the address is suppressed and stays so".to_owned()));
            }
        }
    }
}

fn told(row: &ImportRow, reason: String) -> Skipped {
    Skipped { line: row.line, address: row.address.to_string(), reason }
}

/// A row and its address's key.
pub(super) type Keyed = (String, ImportRow);

/// Rows that wait to be written together.
struct Window {
    rows: Vec<Keyed>,
    paused_at: Instant,
}

impl Window {
    /// Writes what was read, in the order of addresses, and empties the window.
    async fn write(
        &mut self,
        store: &Store,
        options: ImportOptions<'_>,
        report: &mut ImportReport,
        told_rows: &mut impl FnMut(u64),
    ) -> Result<(), StoreError> {
        // Stable: of rows with the same address the later one is merged into what the earlier one made.
        self.rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut rest = self.rows.as_slice();
        while !rest.is_empty() {
            let most = &rest[..rest.len().min(CHUNK)];
            let twice = most.windows(2).position(|pair| pair[0].0 == pair[1].0);
            let (chunk, more) = rest.split_at(twice.map_or(most.len(), |at| at + 1));
            write(store, chunk, options, report).await?;
            if store.dialect() == Dialect::Sqlite && !options.dry_run && self.paused_at.elapsed() > STRETCH {
                tokio::time::sleep(PAUSE).await;
                self.paused_at = Instant::now();
            }
            told_rows(report.rows - more.len() as u64);
            rest = more;
        }
        self.rows.clear();
        Ok(())
    }
}

async fn write(
    store: &Store,
    chunk: &[Keyed],
    options: ImportOptions<'_>,
    report: &mut ImportReport,
) -> Result<(), StoreError> {
    let mut tx = if options.dry_run { store.read().await? } else { store.write().await? };
    let chunk = match erasures::any(&mut tx).await? {
        true => Cow::Owned(without_erased(&mut tx, chunk, options.keyring, report).await?),
        false => Cow::Borrowed(chunk),
    };
    let chunk: &[Keyed] = &chunk;
    let keys: Vec<&str> = chunk.iter().map(|(key, _)| key.as_str()).collect();
    let known = people::by_keys(&mut tx, &keys).await?;
    report.note_suppressed(chunk, &people::suppressed_keys(&mut tx, &keys).await?);
    let mut new = Vec::new();
    let mut changed = Vec::new();
    for (key, row) in chunk {
        match known.get(key) {
            None => new.push(Subscriber::from(row)),
            Some(before) => {
                let after = before.merged(row);
                if after == *before {
                    report.unchanged += 1;
                } else {
                    changed.push((before, after));
                }
            }
        }
    }
    report.added += new.len() as u64;
    report.updated += changed.len() as u64;
    if options.dry_run {
        return Ok(());
    }
    let source = options.consent_source.unwrap_or("unproven");
    people::add_many(&mut tx, &new.iter().collect::<Vec<_>>(), source, "import", options.now).await?;
    // Before anybody is unsubscribed: the file knows the reason and the time better.
    evidence::suppress(&mut tx, chunk, options.now).await?;
    for (before, after) in changed {
        change(&mut tx, before, &after, options.now).await?;
    }
    evidence::keep(&mut tx, chunk, (source, options.now)).await?;
    tx.commit().await
}

/// Who was erased is not brought back by a file (W190).
async fn without_erased(
    tx: &mut Tx,
    chunk: &[Keyed],
    keyring: &Keyring,
    report: &mut ImportReport,
) -> Result<Vec<Keyed>, StoreError> {
    let marks: Vec<Vec<String>> = chunk.iter().map(|(key, _)| keyring.erased_marks(key)).collect();
    let all: Vec<&str> = marks.iter().flatten().map(String::as_str).collect();
    let mut erased = HashSet::new();
    for some in all.chunks(CHUNK) {
        erased.extend(people::suppressed_keys(tx, some).await?);
    }
    let mut kept = Vec::with_capacity(chunk.len());
    for ((key, row), marks) in chunk.iter().zip(&marks) {
        if marks.iter().any(|mark| erased.contains(mark)) {
            report.suppressed += 1;
            report.skip(told(
                row,
                "the person was erased and stays so; `suppressions remove` lifts it".to_owned(),
            ));
        } else {
            kept.push((key.clone(), row.clone()));
        }
    }
    Ok(kept)
}

async fn change(
    tx: &mut Tx,
    before: &Subscriber,
    after: &Subscriber,
    now: Timestamp,
) -> Result<(), StoreError> {
    if after.status == SubscriberStatus::Unsubscribed && before.status != after.status {
        people::unsubscribe(tx, before.id, "import", now).await?;
    }
    people::update(tx, after, now).await
}
