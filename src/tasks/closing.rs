//! The end of an edition: `sent`, or `attention` where deliveries wait for a word.

use crate::domain::edition::EditionState;
use crate::runtime::Timestamp;
use crate::store::{Store, StoreError, editions};

/// `sent` is a promise: every row final, and as many of them as the frozen audience.
/// `held`: whether somebody has to say a word first. Answers whether it is closed; if not, it was changed since it was looked at.
///
/// # Errors
/// When the database fails.
pub(super) async fn close(
    store: &Store,
    (id, slug): (i64, &str),
    held: bool,
    now: Timestamp,
) -> Result<bool, StoreError> {
    use EditionState::{Attention, Sending, Sent};
    let mut tx = store.write().await?;
    // Nobody tries a row again between the count and the change: it would stay behind in an edition that is over.
    editions::hold(&mut tx, id).await?;
    let Some(row) = editions::show(&mut tx, slug).await? else { return Ok(false) };
    let (to, reason) = if held { (Attention, "deliveries wait for `editions retry`") } else { (Sent, "") };
    let waits = row.counts.uncertain + row.counts.parked > 0;
    let complete = row.counts.open() == 0 && row.counts.total() == row.audience && waits == held;
    let closed =
        complete && editions::change_state(&mut tx, slug, &[Sending, Attention], to, reason, now).await?;
    tx.commit().await?;
    match (closed, held) {
        (true, true) => tracing::error!(edition = %slug, "the edition stops here: {reason}"),
        (true, false) => tracing::info!(edition = %slug, "the edition is finished"),
        (false, _) => {}
    }
    Ok(closed)
}
