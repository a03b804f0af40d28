//! `subscribers`, read by whoever changes them by what was read: others who do the same wait until the transaction ends. Without it
//! PostgreSQL lets two read the same person, and the later one writes over what the other one wrote.
//!
//! For transactions that write. Several people are held in the order of their ids.

use std::collections::HashMap;

use super::people::{COLUMNS, SubscriberRow, read};
use super::sql::{markers, row, rows_each};
use super::{StoreError, Tx};
use crate::domain::subscriber::Subscriber;

/// # Errors
/// When the database fails.
pub async fn by_key(tx: &mut Tx, address_key: &str) -> Result<Option<Subscriber>, StoreError> {
    let sql = format!("{COLUMNS} WHERE address_key = $1{}", tx.dialect().to_change());
    row!(tx, SubscriberRow, sqlx::AssertSqlSafe(sql), address_key)?.map(read).transpose()
}

/// Those of the given keys that the store knows. At most 1000.
///
/// # Errors
/// When the database fails.
pub async fn by_keys(tx: &mut Tx, keys: &[&str]) -> Result<HashMap<String, Subscriber>, StoreError> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let wanted = markers(keys.len(), 1);
    let sql = format!("{COLUMNS} WHERE address_key IN ({wanted}){}", tx.dialect().to_change());
    let found = rows_each!(tx, SubscriberRow, sql, keys, |query, key| query.bind(*key))?;
    found.into_iter().map(|row| read(row).map(|person| (person.address.key(), person))).collect()
}

/// At most 1000.
///
/// # Errors
/// When the database fails.
pub async fn by_ids(tx: &mut Tx, ids: &[i64]) -> Result<HashMap<i64, Subscriber>, StoreError> {
    let held = tx.dialect().to_change();
    by_ids_with(tx, ids, held).await
}

/// As [`by_ids`], for a look that changes nothing.
///
/// # Errors
/// When the database fails.
pub async fn look(tx: &mut Tx, ids: &[i64]) -> Result<HashMap<i64, Subscriber>, StoreError> {
    by_ids_with(tx, ids, "").await
}

async fn by_ids_with(tx: &mut Tx, ids: &[i64], held: &str) -> Result<HashMap<i64, Subscriber>, StoreError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!("{COLUMNS} WHERE id IN ({}){held}", markers(ids.len(), 1));
    let found = rows_each!(tx, SubscriberRow, sql, ids, |query, id| query.bind(*id))?;
    found.into_iter().map(|row| read(row).map(|person| (person.id, person))).collect()
}
