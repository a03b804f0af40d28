//! Rows of an import whose address somebody had and gave up for another one. They make nobody new: the shop still knows the person by
//! the address that they moved away from, and would mail them twice, or mail them although they left.
//!
//! Such a row is about that person, unless the file names the address that they have now as well; so it is taken last, when the
//! whole file is known, and of several former addresses of one person the one that they gave up last counts. What else is in the
//! file is in the answer, row by row. What a row says of the old mailbox (it bounced, it was blocked) stays with the old address;
//! a wish to leave counts for the person, unless it is known to be older than their move. Somebody who has the address now, and
//! has confirmed it, is another person: their rows never come here.
//!
//! Memory: one row for each person who ever moved and is in the file.

use std::collections::BTreeMap;

use super::evidence;
use super::people::{CHUNK, ImportOptions, ImportReport, Keyed, change, told, until_uncrossed};
use crate::domain::subscriber::{ImportRow, Subscriber, SubscriberStatus};
use crate::domain::suppression::SuppressionReason;
use crate::runtime::Timestamp;
use crate::store::former_addresses::Former;
use crate::store::{Store, StoreError, held_people, people};

/// A row, and whose address it was.
#[derive(Clone, Debug)]
pub(super) struct FormerRow {
    pub whose: Former,
    pub row: ImportRow,
}

/// Of each person the row that counts.
#[derive(Default)]
pub(super) struct FormerRows(BTreeMap<i64, FormerRow>);

const TAKEN: &str = "its subscriber has another address now; the row was taken for them. Change the address where the file comes from";
const BOTH: &str = "its subscriber has another address now, which the file names too: that row counts";
const OTHER: &str = "its subscriber has another address now; the file names a former one of theirs once more, and that row counts";
const GONE: &str = "its subscriber had another address, and was erased";

impl FormerRows {
    /// Of two rows of one person the address that they gave up last counts; of two with one address the later line.
    pub fn put(&mut self, new: FormerRow, report: &mut ImportReport) {
        let id = new.whose.subscriber;
        let (kept, other) = match self.0.remove(&id) {
            Some(old) if old.whose.left_at > new.whose.left_at => (old, Some(new)),
            old => (new, old),
        };
        if let Some(FormerRow { row, .. }) = other {
            report.skip(told(&row, OTHER.to_owned()));
        }
        self.0.insert(id, kept);
    }

    /// Writes them. `in_file`: whether the file has a row with this address.
    ///
    /// # Errors
    /// When the database fails: the chunks before are kept, and running the import again is harmless.
    pub async fn write(
        self,
        store: &Store,
        in_file: impl Fn(&str) -> bool,
        options: ImportOptions<'_>,
        report: &mut ImportReport,
    ) -> Result<(), StoreError> {
        let rows: Vec<FormerRow> = self.0.into_values().collect();
        for chunk in rows.chunks(CHUNK) {
            let once = async || write_once(store, chunk, &in_file, options).await;
            report.add(until_uncrossed(once).await?);
        }
        Ok(())
    }
}

async fn write_once(
    store: &Store,
    chunk: &[FormerRow],
    in_file: &impl Fn(&str) -> bool,
    options: ImportOptions<'_>,
) -> Result<ImportReport, StoreError> {
    let mut report = ImportReport::default();
    let ids: Vec<i64> = chunk.iter().map(|row| row.whose.subscriber).collect();
    let mut tx = if options.dry_run { store.read().await? } else { store.write().await? };
    let known = match options.dry_run {
        true => held_people::look(&mut tx, &ids).await?,
        false => held_people::by_ids(&mut tx, &ids).await?,
    };
    // Under the address that they have now; suppressions under the one of the file.
    let (mut theirs, mut old): (Vec<Keyed>, Vec<Keyed>) = Default::default();
    let mut changed = Vec::new();
    for FormerRow { whose, row } in chunk {
        let person = known.get(&whose.subscriber).filter(|person| !person.address.as_str().is_empty());
        let Some(person) = person else {
            // Nothing of the row is kept, not even where not to write.
            report.skip(told(row, GONE.to_owned()));
            continue;
        };
        old.push((row.address.key(), row.clone()));
        if in_file(&person.address.key()) {
            report.skip(told(row, BOTH.to_owned()));
            continue;
        }
        let meant = meant(person, row, whose.left_at);
        report.note_unclear(row, TAKEN);
        changed.extend(report.merged(person, &meant, options));
        theirs.push((person.address.key(), meant));
    }
    let keys: Vec<&str> = theirs.iter().map(|(key, _)| key.as_str()).collect();
    report.note_suppressed(&theirs, &people::suppressed_keys(&mut tx, &keys).await?);
    if options.dry_run {
        return Ok(report);
    }
    old.sort_by(|(one, _), (other, _)| one.cmp(other));
    evidence::suppress(&mut tx, &old, options.now).await?;
    for (before, after) in changed {
        change(&mut tx, before, &after, options.now).await?;
    }
    let source = options.consent_source.unwrap_or("unproven");
    evidence::keep(&mut tx, &theirs, (source, options.now)).await?;
    tx.commit().await?;
    Ok(report)
}

/// What a row that names a former address says of the person.
fn meant(person: &Subscriber, row: &ImportRow, left_at: Timestamp) -> ImportRow {
    use SuppressionReason::{Complaint, Unsubscribed};
    let wishes = match &row.suppression {
        Some(found) => {
            matches!(found.reason, Unsubscribed | Complaint) && found.at.is_none_or(|at| at > left_at)
        }
        None => true,
    };
    let status = match row.status {
        SubscriberStatus::Unsubscribed if !wishes => SubscriberStatus::Active,
        status => status,
    };
    ImportRow { address: person.address.clone(), status, suppression: None, ..row.clone() }
}
