//! `erasures`, `erasing_deliveries` and the marks in `suppressions`: who is being erased, and who was.
//!
//! A row stands from the first transaction of an erasing to its last, so that one which was cut short is gone on with. What is left
//! after it is a mark: a keyed hash in the list of suppressions that begins with the id of its key.

use super::erasure::Delivery;
use super::sql::{row, rows, run};
use super::{StoreError, Tx};
use crate::runtime::Timestamp;

/// An erasing that is not over: of one address of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    pub id: i64,
    pub key: String,
    /// Set where it is a subscriber's.
    pub subscriber: Option<i64>,
}

type Row = (i64, String, Option<i64>);

fn read((id, key, subscriber): Row) -> Erasure {
    Erasure { id, key, subscriber }
}

/// Enters an erasing and the deliveries that it is about; one that was begun before goes on. Answers its id.
///
/// # Errors
/// When the database fails.
pub async fn begin(
    tx: &mut Tx,
    key: &str,
    subscriber: Option<i64>,
    theirs: &[Delivery],
    now: Timestamp,
) -> Result<i64, StoreError> {
    const SQL: &str = "INSERT INTO erasures (address_key, subscriber_id, begun_at, touched_at) VALUES ($1, $2, $3, $3) \
        ON CONFLICT (address_key) DO UPDATE SET touched_at = excluded.touched_at, \
            subscriber_id = coalesce(excluded.subscriber_id, erasures.subscriber_id) RETURNING id";
    let found = row!(tx, (i64,), SQL, key, subscriber, now.millis())?;
    let (id,) = found.ok_or(StoreError::Corrupt { what: "an erasing", why: "no id came back".into() })?;
    add(tx, id, theirs).await?;
    Ok(id)
}

/// Adds deliveries that it is about.
///
/// # Errors
/// When the database fails.
pub async fn add(tx: &mut Tx, erasure: i64, theirs: &[Delivery]) -> Result<(), StoreError> {
    const SQL: &str = "INSERT INTO erasing_deliveries (erasure_id, delivery_id) VALUES ($1, $2) \
        ON CONFLICT (erasure_id, delivery_id) DO NOTHING";
    for (delivery, _) in theirs {
        run!(tx, SQL, erasure, *delivery)?;
    }
    Ok(())
}

/// The deliveries that it is about.
///
/// # Errors
/// When the database fails.
pub async fn deliveries(tx: &mut Tx, erasure: i64) -> Result<Vec<Delivery>, StoreError> {
    const SQL: &str = "SELECT d.id, d.key_id FROM erasing_deliveries e JOIN deliveries d ON d.id = e.delivery_id \
        WHERE e.erasure_id = $1 ORDER BY d.id";
    Ok(rows!(tx, Delivery, SQL, erasure)?)
}

/// Whose an erasing is; `None`: it is over, or nobody's who is subscribed.
///
/// # Errors
/// When the database fails.
pub async fn subscriber(tx: &mut Tx, id: i64) -> Result<Option<i64>, StoreError> {
    let found = row!(tx, (Option<i64>,), "SELECT subscriber_id FROM erasures WHERE id = $1", id)?;
    Ok(found.and_then(|(subscriber,)| subscriber))
}

/// Takes an erasing up for one piece: nobody else does one until the end of the transaction. `None`: it is over.
///
/// # Errors
/// When the database fails.
pub async fn touch(tx: &mut Tx, id: i64, now: Timestamp) -> Result<Option<Erasure>, StoreError> {
    const SQL: &str =
        "UPDATE erasures SET touched_at = $2 WHERE id = $1 RETURNING id, address_key, subscriber_id";
    Ok(row!(tx, Row, SQL, id, now.millis())?.map(read))
}

/// Those of the person with this address that are not over.
///
/// # Errors
/// When the database fails.
pub async fn of(tx: &mut Tx, key: &str) -> Result<Vec<Erasure>, StoreError> {
    const SQL: &str = "SELECT id, address_key, subscriber_id FROM erasures WHERE address_key = $1 \
        OR subscriber_id = (SELECT e.subscriber_id FROM erasures e WHERE e.address_key = $1) ORDER BY id";
    Ok(rows!(tx, Row, SQL, key)?.into_iter().map(read).collect())
}

/// The oldest one that nobody has gone on with since then.
///
/// # Errors
/// When the database fails.
pub async fn abandoned(tx: &mut Tx, since: Timestamp) -> Result<Option<i64>, StoreError> {
    const SQL: &str = "SELECT id FROM erasures WHERE touched_at <= $1 ORDER BY id LIMIT 1";
    Ok(row!(tx, (i64,), SQL, since.millis())?.map(|(id,)| id))
}

/// It is over.
///
/// # Errors
/// When the database fails.
pub async fn end(tx: &mut Tx, id: i64) -> Result<(), StoreError> {
    run!(tx, "DELETE FROM erasing_deliveries WHERE erasure_id = $1", id)?;
    run!(tx, "DELETE FROM erasures WHERE id = $1", id)?;
    Ok(())
}

/// Whether an address with one of these marks was erased.
///
/// # Errors
/// When the database fails.
pub async fn is_erased(tx: &mut Tx, marks: &[String]) -> Result<bool, StoreError> {
    Ok(erased_at(tx, marks).await?.is_some())
}

/// When an address with one of these marks was erased: the end of it, or its beginning while it is not over.
///
/// # Errors
/// When the database fails.
pub async fn erased_at(tx: &mut Tx, marks: &[String]) -> Result<Option<Timestamp>, StoreError> {
    for mark in marks {
        let found = row!(tx, (i64,), "SELECT at FROM suppressions WHERE address_key = $1", mark.as_str())?;
        if let Some((at,)) = found {
            return Ok(Some(Timestamp(at)));
        }
    }
    Ok(None)
}

/// Lets somebody be who was erased. Answers whether they were.
///
/// # Errors
/// When the database fails.
pub async fn lift(tx: &mut Tx, marks: &[String]) -> Result<bool, StoreError> {
    let mut lifted = 0;
    for mark in marks {
        lifted += run!(tx, "DELETE FROM suppressions WHERE address_key = $1", mark.as_str())?;
    }
    Ok(lifted > 0)
}

/// Whether anybody ever was.
///
/// # Errors
/// When the database fails.
pub async fn any(tx: &mut Tx) -> Result<bool, StoreError> {
    // A range of texts would hang on the collation of the database.
    const SQL: &str = "SELECT CAST(1 AS BIGINT) WHERE EXISTS (SELECT 1 FROM suppressions \
        WHERE reason = 'erased' AND address_key LIKE 'erased:%')";
    Ok(row!(tx, (i64,), SQL)?.is_some())
}

/// The ids of the keys that marks were made with, as marks write them, and how many marks each has.
///
/// # Errors
/// When the database fails.
pub async fn keys(tx: &mut Tx) -> Result<Vec<(String, i64)>, StoreError> {
    const SQL: &str = "SELECT substr(address_key, 8, 2), count(*) FROM suppressions \
        WHERE reason = 'erased' AND address_key LIKE 'erased:%' GROUP BY substr(address_key, 8, 2) ORDER BY 1";
    Ok(rows!(tx, (String, i64), SQL)?)
}

/// Forgets all who were erased under a key, as [`keys`] names it. Answers how many.
///
/// # Errors
/// When the database fails.
pub async fn forget_key(tx: &mut Tx, key: &str) -> Result<u64, StoreError> {
    const SQL: &str = "DELETE FROM suppressions WHERE reason = 'erased' AND address_key LIKE 'erased:%' \
        AND substr(address_key, 8, 2) = $1";
    Ok(run!(tx, SQL, key)?)
}

/// Whether a delivery was to somebody who was erased, or is to nobody any more.
///
/// # Errors
/// When the database fails.
pub async fn is_wiped_delivery(tx: &mut Tx, delivery: i64) -> Result<bool, StoreError> {
    const SQL: &str = "SELECT d.id FROM deliveries d LEFT JOIN subscribers s ON s.id = d.subscriber_id \
        LEFT JOIN threads t ON t.id = d.thread_id \
        WHERE d.id = $1 AND (d.address = '' OR s.address = '' OR t.address = '')";
    Ok(row!(tx, (i64,), SQL, delivery)?.is_some())
}
