//! `audit`: who changed what by hand, and when.

use super::sql::run;
use super::{StoreError, Tx};
use crate::runtime::Timestamp;

/// Records one change. `actor` is the door it came through (`cli`, `daemon`, `mail`), `subject` what was changed.
///
/// # Errors
/// When the database fails.
pub async fn record(
    tx: &mut Tx,
    now: Timestamp,
    actor: &str,
    action: &str,
    subject: &str,
    detail: &str,
) -> Result<(), StoreError> {
    const SQL: &str = "INSERT INTO audit (at, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5)";
    run!(tx, SQL, now.millis(), actor, action, subject, detail)?;
    Ok(())
}
