//! `former_addresses`: what a person was written to before they moved. Written where they move, in `people`; gone when they are erased.

use super::sql::{row, rows};
use super::{StoreError, Tx};

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
