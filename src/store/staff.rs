//! `staff`: who answers threads. The config is the truth; the rows give members ids that tokens can name.

use super::sql::{row, rows, run};
use super::{StoreError, Tx};
use crate::domain::settings::StaffMember;

/// A member with their row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaffRow {
    pub id: i64,
    pub name: String,
    pub address: String,
}

/// Makes the rows agree with the config. A member who left keeps the row, because posts name it, and becomes inactive.
///
/// # Errors
/// When the database fails.
pub async fn sync(tx: &mut Tx, members: &[StaffMember]) -> Result<Vec<StaffRow>, StoreError> {
    const ENTER: &str = "INSERT INTO staff (name, address, address_key, active) VALUES ($1, $2, $3, 1) \
        ON CONFLICT (address_key) DO UPDATE SET name = excluded.name, address = excluded.address, active = 1";
    run!(tx, "UPDATE staff SET active = 0")?;
    for member in members {
        run!(tx, ENTER, member.name.as_str(), member.email.as_str(), member.email.key())?;
    }
    active(tx).await
}

/// # Errors
/// When the database fails.
pub async fn active(tx: &mut Tx) -> Result<Vec<StaffRow>, StoreError> {
    const SQL: &str = "SELECT id, name, address FROM staff WHERE active = 1 ORDER BY id";
    let found = rows!(tx, (i64, String, String), SQL)?;
    Ok(found.into_iter().map(|(id, name, address)| StaffRow { id, name, address }).collect())
}

/// The member with this address, if they answer threads now.
///
/// # Errors
/// When the database fails.
pub async fn by_key(tx: &mut Tx, address_key: &str) -> Result<Option<StaffRow>, StoreError> {
    const SQL: &str = "SELECT id, name, address FROM staff WHERE address_key = $1 AND active = 1";
    let found = row!(tx, (i64, String, String), SQL, address_key)?;
    Ok(found.map(|(id, name, address)| StaffRow { id, name, address }))
}
