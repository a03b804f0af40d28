//! `former_addresses`: what a person was written to before they moved. Written where they move, in `people`; gone when they are erased.

use std::collections::HashMap;

use super::sql::{markers, row, rows, rows_each};
use super::{StoreError, Tx};
use crate::runtime::Timestamp;

/// Addresses that this person had and nobody has now, and those that another subscription has now.
///
/// # Errors
/// When the database fails.
pub async fn of(tx: &mut Tx, subscriber: i64) -> Result<(Vec<String>, Vec<String>), StoreError> {
    const SQL: &str = "SELECT f.address_key, (SELECT o.id FROM subscribers o WHERE o.address_key = f.address_key) \
        FROM former_addresses f WHERE f.subscriber_id = $1 ORDER BY f.left_at, f.address_key";
    let found = rows!(tx, (String, Option<i64>), SQL, subscriber)?;
    let (taken, free): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, other)| other.is_some());
    let key = |(key, _): (String, Option<i64>)| key;
    Ok((free.into_iter().map(key).collect(), taken.into_iter().map(key).collect()))
}

/// Who had this address last.
///
/// # Errors
/// When the database fails.
pub async fn subscriber(tx: &mut Tx, address_key: &str) -> Result<Option<i64>, StoreError> {
    const SQL: &str = "SELECT f.subscriber_id FROM former_addresses f WHERE f.address_key = $1 \
        ORDER BY f.left_at DESC LIMIT 1";
    Ok(row!(tx, (i64,), SQL, address_key)?.map(|(id,)| id))
}

/// Whether anybody ever moved.
///
/// # Errors
/// When the database fails.
pub async fn any(tx: &mut Tx) -> Result<bool, StoreError> {
    const SQL: &str = "SELECT CAST(1 AS BIGINT) WHERE EXISTS (SELECT 1 FROM former_addresses)";
    Ok(row!(tx, (i64,), SQL)?.is_some())
}

/// Who had an address, and when they gave it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Former {
    pub subscriber: i64,
    pub left_at: Timestamp,
}

/// Those of the given keys that somebody had and gave up, each with who had it last. At most 1000 keys.
///
/// # Errors
/// When the database fails.
pub async fn among(tx: &mut Tx, keys: &[&str]) -> Result<HashMap<String, Former>, StoreError> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "SELECT address_key, subscriber_id, left_at FROM former_addresses WHERE address_key IN ({}) ORDER BY left_at",
        markers(keys.len(), 1)
    );
    let found = rows_each!(tx, (String, i64, i64), sql, keys, |query, key| query.bind(*key))?;
    let former = |(key, subscriber, left_at)| (key, Former { subscriber, left_at: Timestamp(left_at) });
    Ok(found.into_iter().map(former).collect())
}
