//! `suppressions`: addresses that must not be mailed. The list outranks everything (W157): it is read when an edition is queued
//! and again in the transaction that claims a delivery.

use super::sql::{row, rows, run};
use super::{StoreError, Tx};
use crate::domain::address::Address;
use crate::domain::suppression::SuppressionReason;
use crate::runtime::Timestamp;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Suppression {
    pub address: String,
    pub reason: SuppressionReason,
    pub at: Timestamp,
    pub source: String,
}

/// Adds an address. An address that is there already keeps its first reason. Answers whether it is new.
///
/// # Errors
/// When the database fails.
pub async fn add(
    tx: &mut Tx,
    address: &Address,
    reason: SuppressionReason,
    source: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const SQL: &str = "INSERT INTO suppressions (address_key, reason, at, source) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (address_key) DO NOTHING";
    Ok(run!(tx, SQL, address.key(), reason.as_str(), now.millis(), source)? > 0)
}

/// Takes an address off the list. Answers whether it was on it.
///
/// # Errors
/// When the database fails.
pub async fn remove(tx: &mut Tx, address: &Address) -> Result<bool, StoreError> {
    Ok(run!(tx, "DELETE FROM suppressions WHERE address_key = $1", address.key())? > 0)
}

/// # Errors
/// When the database fails.
pub async fn of(tx: &mut Tx, address: &Address) -> Result<Option<Suppression>, StoreError> {
    const SQL: &str = "SELECT address_key, reason, at, source FROM suppressions WHERE address_key = $1";
    row!(tx, (String, String, i64, String), SQL, address.key())?.map(read).transpose()
}

/// All of them, by address.
///
/// # Errors
/// When the database fails.
pub async fn list(tx: &mut Tx) -> Result<Vec<Suppression>, StoreError> {
    const SQL: &str = "SELECT address_key, reason, at, source FROM suppressions ORDER BY address_key";
    rows!(tx, (String, String, i64, String), SQL)?.into_iter().map(read).collect()
}

fn read((address, reason, at, source): (String, String, i64, String)) -> Result<Suppression, StoreError> {
    let reason = super::word("a suppression", &reason, SuppressionReason::from_word)?;
    Ok(Suppression { address, reason, at: Timestamp(at), source })
}
