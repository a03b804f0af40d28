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
