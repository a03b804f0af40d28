//! How the database itself is: whether what it holds fits together, and what a commit waits for.

use super::sql::rows;
use super::{StoreError, Tx};

/// What the database's own check finds wrong; empty: nothing, or it has no such check.
///
/// # Errors
/// When the database fails.
pub async fn faults(tx: &mut Tx) -> Result<Vec<String>, StoreError> {
    let Some(sql) = tx.dialect().integrity() else { return Ok(Vec::new()) };
    let found = rows!(tx, (String,), sql)?;
    Ok(found.into_iter().map(|(line,)| line).filter(|line| line != "ok").collect())
}

/// One setting that decides whether a commit outlives a power cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durability {
    pub setting: String,
    pub value: String,
    pub is_safe: bool,
}

/// # Errors
/// When the database fails.
pub async fn durability(tx: &mut Tx) -> Result<Vec<Durability>, StoreError> {
    let (safe, sql) = (tx.dialect().safe_values(), tx.dialect().durability());
    let found = rows!(tx, (String, String), sql)?;
    Ok(found
        .into_iter()
        .map(|(setting, value)| Durability { is_safe: safe.contains(&value.as_str()), setting, value })
        .collect())
}
