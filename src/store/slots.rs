//! `slots`: since when a slot is known. What was due before is not missed.

use super::sql::{row, run};
use super::{StoreError, Tx};
use crate::runtime::Timestamp;

/// Since when the store knows the slot; `None`: it does not.
///
/// # Errors
/// When the database fails.
pub async fn since(tx: &mut Tx, name: &str) -> Result<Option<Timestamp>, StoreError> {
    let found = row!(tx, (i64,), "SELECT since FROM slots WHERE name = $1", name)?;
    Ok(found.map(|(since,)| Timestamp(since)))
}

/// Enters a slot that is new. One that is known keeps its time.
///
/// # Errors
/// When the database fails.
pub async fn enter(tx: &mut Tx, name: &str, now: Timestamp) -> Result<(), StoreError> {
    const SQL: &str = "INSERT INTO slots (name, since) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    run!(tx, SQL, name, now.millis())?;
    Ok(())
}

/// The edition of this slot that was queued before this one.
///
/// # Errors
/// When the database fails.
pub async fn edition_before(tx: &mut Tx, name: &str, slug: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "SELECT e.slug FROM editions e WHERE e.slot = $1 AND e.queued_at IS NOT NULL \
            AND e.id < coalesce((SELECT n.id FROM editions n WHERE n.slug = $2), 9223372036854775807) \
        ORDER BY e.id DESC LIMIT 1";
    Ok(row!(tx, (String,), SQL, name, slug)?.map(|(slug,)| slug))
}
