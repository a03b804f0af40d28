//! Importing people, in chunks that are short enough for sending and receiving to go on beside them.
//!
//! Rows are put into the order of their addresses, window by window: a chunk then touches neighbouring pages of the index of
//! addresses and not a page a row, which made an import of 200,000 people in random order 2.5 times faster.
//!
//! An import never raises consent and never lifts a suppression. What it skips and why is part of its answer, and what it
//! decided the careful way. An address that comes twice in a file is merged and reported; eight bytes a row remember it.
//! Rows of addresses that somebody gave up are put aside until the whole file is known: `former_rows`.
//!
//! The people of a chunk are held while it is written, so that an import undoes nothing that others do at the same time. What
//! still crosses on PostgreSQL, somebody who joins just now, rolls the chunk back, and it is done again.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::domain::publication::{Term, TierId};
use crate::domain::subscriber::{ImportRow, Subscriber, SubscriberStatus};
use crate::import::Skipped;
use crate::mail::token::Keyring;
use crate::runtime::Timestamp;
use crate::store::{Dialect, Store, StoreError, Tx, audit, erasures, former_addresses, held_people, people};

use super::evidence;
use super::former_rows::{FormerRow, FormerRows};

/// Rows a transaction.
pub(super) const CHUNK: usize = 500;

/// A chunk that others cross is done again; one that is crossed this often fails.
const TRIES: usize = 5;

/// SQLite has one writer, and who waits for it asks every 100 ms in the end. An import that begins its next chunk at once is
/// met in a gap by luck only (8 s were seen); a pause longer than that, once a second, lets everybody in.
const STRETCH: Duration = Duration::from_millis(800);
const PAUSE: Duration = Duration::from_millis(110);

/// Rows that are sorted at a time: about 15 MB.
const WINDOW: usize = 40_000;

/// More skipped rows than this are counted, and not listed.
const LISTED: usize = 10_000;

const AGAIN: &str = "the same address stands in an earlier line; the two are merged";

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
    /// How long terms are: what tells a renewal from a correction.
    pub terms: &'a BTreeMap<TierId, Term>,
}

/// What was done so far, and what is done last.
#[derive(Default)]
struct SoFar {
    report: ImportReport,
    former: FormerRows,
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
    let mut so_far = SoFar::default();
    let (hash, mut seen) = (RandomState::new(), HashSet::new());
    let mut window = Window { rows: Vec::new(), paused_at: Instant::now() };
    for row in rows {
        so_far.report.rows += 1;
        match row {
            Ok(row) => {
                let key = row.address.key();
                let again = (!seen.insert(hash.hash_one(&key))).then_some(AGAIN);
                let reasons: Vec<&str> = row.unclear.as_deref().into_iter().chain(again).collect();
                if !reasons.is_empty() {
                    so_far.report.note_unclear(&row, &reasons.join("; "));
                }
                window.rows.push((key, row));
            }
            Err(skipped) => so_far.report.skip(skipped),
        }
        if window.rows.len() == WINDOW {
            window.write(store, options, &mut so_far, &mut told_rows).await?;
        }
    }
    window.write(store, options, &mut so_far, &mut told_rows).await?;
    let SoFar { mut report, former } = so_far;
    former.write(store, |key| seen.contains(&hash.hash_one(key)), options, &mut report).await?;
    report.format = "tidings";
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
    pub(super) fn skip(&mut self, row: Skipped) {
        self.skipped_rows += 1;
        if self.skipped.len() < LISTED {
            self.skipped.push(row);
        }
    }

    pub(super) fn note_unclear(&mut self, row: &ImportRow, reason: &str) {
        self.unclear_rows += 1;
        if self.unclear.len() < LISTED {
            self.unclear.push(told(row, reason.to_owned()));
        }
    }

    /// What a chunk came to.
    pub(super) fn add(&mut self, part: ImportReport) {
        self.added += part.added;
        self.updated += part.updated;
        self.unchanged += part.unchanged;
        self.suppressed += part.suppressed;
        self.skipped_rows += part.skipped_rows;
        self.unclear_rows += part.unclear_rows;
        let lists = [
            (&mut self.skipped, part.skipped),
            (&mut self.unclear, part.unclear),
            (&mut self.kept_suppressed, part.kept_suppressed),
        ];
        for (list, more) in lists {
            let room = LISTED.saturating_sub(list.len());
            list.extend(more.into_iter().take(room));
        }
    }

    /// What becomes of somebody who is known; `None`: nothing.
    pub(super) fn merged<'a>(
        &mut self,
        before: &'a Subscriber,
        row: &ImportRow,
        options: ImportOptions<'_>,
    ) -> Option<(&'a Subscriber, Subscriber)> {
        let after = before.merged(row, options.terms.get(&row.tier).copied(), options.now);
        let changes = after != *before;
        self.updated += u64::from(changes);
        self.unchanged += u64::from(!changes);
        changes.then_some((before, after))
    }

    /// `suppressed` are the keys that were suppressed before.
    pub(super) fn note_suppressed(&mut self, chunk: &[Keyed], suppressed: &HashSet<String>) {
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

pub(super) fn told(row: &ImportRow, reason: String) -> Skipped {
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
        so_far: &mut SoFar,
        told_rows: &mut impl FnMut(u64),
    ) -> Result<(), StoreError> {
        // Stable: of rows with the same address the later one is merged into what the earlier one made.
        self.rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut rest = self.rows.as_slice();
        while !rest.is_empty() {
            let most = &rest[..rest.len().min(CHUNK)];
            let twice = most.windows(2).position(|pair| pair[0].0 == pair[1].0);
            let (chunk, more) = rest.split_at(twice.map_or(most.len(), |at| at + 1));
            write(store, chunk, options, so_far).await?;
            if store.dialect() == Dialect::Sqlite && !options.dry_run && self.paused_at.elapsed() > STRETCH {
                tokio::time::sleep(PAUSE).await;
                self.paused_at = Instant::now();
            }
            told_rows(so_far.report.rows - more.len() as u64);
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
    so_far: &mut SoFar,
) -> Result<(), StoreError> {
    let (part, former) = until_uncrossed(async || write_once(store, chunk, options).await).await?;
    so_far.report.add(part);
    for row in former {
        so_far.former.put(row, &mut so_far.report);
    }
    Ok(())
}

/// Does a transaction again that others have crossed; it left nothing behind.
pub(super) async fn until_uncrossed<T>(
    mut once: impl AsyncFnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    for _ in 1..TRIES {
        match once().await {
            Err(error) if error.is_crossed() => tracing::debug!(%error, "others wrote the same; once more"),
            done => return done,
        }
    }
    once().await
}

async fn write_once(
    store: &Store,
    chunk: &[Keyed],
    options: ImportOptions<'_>,
) -> Result<(ImportReport, Vec<FormerRow>), StoreError> {
    let mut report = ImportReport::default();
    let mut tx = if options.dry_run { store.read().await? } else { store.write().await? };
    let keys: Vec<&str> = chunk.iter().map(|(key, _)| key.as_str()).collect();
    let known = match options.dry_run {
        true => people::by_keys(&mut tx, &keys).await?,
        false => held_people::by_keys(&mut tx, &keys).await?,
    };
    // Behind it: who was erased or moved while it waited is found as that.
    let chunk = match erasures::any(&mut tx).await? {
        true => Cow::Owned(without_erased(&mut tx, chunk, options.keyring, &mut report).await?),
        false => Cow::Borrowed(chunk),
    };
    let (chunk, former) = without_former(&mut tx, &chunk, &known).await?;
    let chunk: &[Keyed] = &chunk;
    let keys: Vec<&str> = chunk.iter().map(|(key, _)| key.as_str()).collect();
    report.note_suppressed(chunk, &people::suppressed_keys(&mut tx, &keys).await?);
    let mut new = Vec::new();
    let mut changed = Vec::new();
    for (key, row) in chunk {
        match known.get(key) {
            None => new.push(Subscriber::from(row)),
            Some(before) => changed.extend(report.merged(before, row, options)),
        }
    }
    report.added += new.len() as u64;
    if options.dry_run {
        return Ok((report, former));
    }
    let source = options.consent_source.unwrap_or("unproven");
    people::add_many(&mut tx, &new.iter().collect::<Vec<_>>(), source, "import", options.now).await?;
    // Before anybody is unsubscribed: the file knows the reason and the time better.
    evidence::suppress(&mut tx, chunk, options.now).await?;
    for (before, after) in changed {
        change(&mut tx, before, &after, options.now).await?;
    }
    evidence::keep(&mut tx, chunk, (source, options.now)).await?;
    tx.commit().await?;
    Ok((report, former))
}

/// Puts rows aside whose address somebody had who has another one now. Who has it by now and has proven that, by a confirmation,
/// is who it is about.
async fn without_former<'a>(
    tx: &mut Tx,
    chunk: &'a [Keyed],
    known: &HashMap<String, Subscriber>,
) -> Result<(Cow<'a, [Keyed]>, Vec<FormerRow>), StoreError> {
    let is_proven = |key: &str| known.get(key).is_some_and(|one| one.status != SubscriberStatus::Pending);
    if chunk.iter().all(|(key, _)| is_proven(key)) || !former_addresses::any(tx).await? {
        return Ok((Cow::Borrowed(chunk), Vec::new()));
    }
    let unproven: Vec<&str> =
        chunk.iter().map(|(key, _)| key.as_str()).filter(|key| !is_proven(key)).collect();
    let found = former_addresses::among(tx, &unproven).await?;
    if found.is_empty() {
        return Ok((Cow::Borrowed(chunk), Vec::new()));
    }
    let (mut kept, mut aside) = (Vec::with_capacity(chunk.len()), Vec::new());
    for (key, row) in chunk {
        match found.get(key) {
            Some(whose) => aside.push(FormerRow { whose: *whose, row: row.clone() }),
            None => kept.push((key.clone(), row.clone())),
        }
    }
    Ok((Cow::Owned(kept), aside))
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

pub(super) async fn change(
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
