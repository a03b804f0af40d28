//! `requests`, `asks` and `leave_asks`: wishes that a mail has to prove, and how often somebody asked for such a mail.

use super::sql::{row, rows, run};
use super::{StoreError, Tx, word};
use crate::domain::address::Address;
use crate::domain::joining::{Asks, RequestKind};
use crate::runtime::Timestamp;

/// A wish as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub id: i64,
    pub kind: RequestKind,
    pub subscriber: i64,
    pub address: Address,
    /// How, when and from where, as words for the consent history.
    pub asked: String,
    pub asked_at: Timestamp,
    pub expires_at: Timestamp,
    pub confirmed_at: Option<Timestamp>,
}

/// A wish that is new, or made again.
#[derive(Clone, Copy, Debug)]
pub struct NewRequest<'a> {
    pub kind: RequestKind,
    pub subscriber: i64,
    pub address: &'a Address,
    pub asked: &'a str,
    pub expires_at: Timestamp,
}

/// Enters a wish; one that is made again takes the place of the earlier one and keeps its id, so that both mails work.
///
/// # Errors
/// When the database fails.
pub async fn enter(tx: &mut Tx, new: &NewRequest<'_>, now: Timestamp) -> Result<i64, StoreError> {
    const SQL: &str = "INSERT INTO requests (kind, subscriber_id, address, address_key, asked, asked_at, expires_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7) \
        ON CONFLICT (kind, subscriber_id, address_key) DO UPDATE SET asked = excluded.asked, \
            asked_at = excluded.asked_at, expires_at = excluded.expires_at, confirmed_at = NULL RETURNING id";
    let (key, expires) = (new.address.key(), new.expires_at.millis());
    let (kind, address) = (new.kind.as_str(), new.address.as_str());
    let found = row!(tx, (i64,), SQL, kind, new.subscriber, address, key, new.asked, now.millis(), expires)?;
    let (id,) = found.ok_or(StoreError::Corrupt { what: "a request", why: "no id came back".into() })?;
    Ok(id)
}

/// # Errors
/// When the database fails.
pub async fn by_id(tx: &mut Tx, id: i64) -> Result<Option<Request>, StoreError> {
    const SQL: &str = "SELECT id, kind, subscriber_id, address, asked, asked_at, expires_at, confirmed_at \
        FROM requests WHERE id = $1";
    type Row = (i64, String, i64, String, String, i64, i64, Option<i64>);
    let read = |(id, kind, subscriber, address, asked, asked_at, expires_at, confirmed_at): Row| {
        Ok(Request {
            id,
            kind: word("a request's kind", &kind, RequestKind::from_word)?,
            subscriber,
            address: Address::trusted(address),
            asked,
            asked_at: Timestamp(asked_at),
            expires_at: Timestamp(expires_at),
            confirmed_at: confirmed_at.map(Timestamp),
        })
    };
    row!(tx, Row, SQL, id)?.map(read).transpose()
}

/// Marks a wish as proven. Answers whether it was open.
///
/// # Errors
/// When the database fails.
pub async fn confirm(tx: &mut Tx, id: i64, now: Timestamp) -> Result<bool, StoreError> {
    const SQL: &str = "UPDATE requests SET confirmed_at = $2 \
        WHERE id = $1 AND confirmed_at IS NULL AND expires_at > $2";
    Ok(run!(tx, SQL, id, now.millis())? > 0)
}

/// How often this person asked for a mail that has to be confirmed, and what everybody did within the last hour.
///
/// # Errors
/// When the database fails.
pub async fn asks(tx: &mut Tx, fingerprints: &[String], now: Timestamp) -> Result<Asks, StoreError> {
    const THEIRS: &str = "SELECT count(*), CAST(coalesce(sum(CASE WHEN at > $2 THEN 1 ELSE 0 END), 0) AS BIGINT) FROM asks \
        WHERE fingerprint = $1 AND mailed = 1 AND confirmed = 0";
    const ALL: &str = "SELECT CAST(coalesce(sum(mailed), 0) AS BIGINT), CAST(coalesce(sum(confirmed), 0) AS BIGINT) \
        FROM asks WHERE at > $1";
    let ago = |hours: i64| now.millis() - hours * 3_600_000;
    let mut asks = Asks::default();
    // Under each of our keys: who rotates them has not forgotten anybody.
    for fingerprint in fingerprints {
        let found = row!(tx, (i64, i64), THEIRS, fingerprint.as_str(), ago(24))?;
        let (ever, today) = found.unwrap_or_default();
        asks.mailed_ever += ever;
        asks.mailed_today += today;
    }
    let (mailed, confirmed) = row!(tx, (i64, i64), ALL, ago(1))?.unwrap_or_default();
    Ok(Asks { all_in_hour: mailed, confirmed_in_hour: confirmed, ..asks })
}

/// Writes down that somebody asked, and whether a mail was sent for it.
///
/// # Errors
/// When the database fails.
pub async fn note_ask(
    tx: &mut Tx,
    fingerprint: &str,
    mailed: bool,
    now: Timestamp,
) -> Result<(), StoreError> {
    const SQL: &str = "INSERT INTO asks (fingerprint, at, mailed, confirmed) VALUES ($1, $2, $3, 0)";
    run!(tx, SQL, fingerprint, now.millis(), i64::from(mailed))?;
    Ok(())
}

/// Whoever confirms starts anew: what counts against an address are the mails that nobody wanted.
///
/// # Errors
/// When the database fails.
pub async fn note_confirmed(tx: &mut Tx, fingerprint: &str) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE asks SET confirmed = 1 WHERE fingerprint = $1 AND mailed = 1 AND confirmed = 0";
    run!(tx, SQL, fingerprint)?;
    Ok(())
}

/// Notes that a subscriber is asked whether they want to leave. Answers `false`, and notes nothing, where they were asked since then.
///
/// # Errors
/// When the database fails.
pub async fn ask_to_leave(
    tx: &mut Tx,
    subscriber: i64,
    since: Timestamp,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const SQL: &str = "INSERT INTO leave_asks (subscriber_id, at) VALUES ($1, $2) \
        ON CONFLICT (subscriber_id) DO UPDATE SET at = excluded.at WHERE leave_asks.at <= $3";
    Ok(run!(tx, SQL, subscriber, now.millis(), since.millis())? > 0)
}

/// Deletes what nobody confirmed in time: the wishes, and everything about people who waited for nothing else. A wish whose mail
/// is still on its way waits for it. A year later the hashes go too. Answers how many wishes.
///
/// # Errors
/// When the database fails.
pub async fn expire(tx: &mut Tx, now: Timestamp) -> Result<usize, StoreError> {
    const OPEN: &str = "SELECT r.id, r.subscriber_id FROM requests r \
        WHERE r.confirmed_at IS NULL AND r.expires_at <= $1 AND NOT EXISTS (SELECT 1 FROM deliveries d \
            WHERE d.kind = 'confirm' AND d.subscriber_id = r.subscriber_id \
            AND (d.state = 'queued' OR d.state = 'leased' OR d.state = 'uncertain')) \
        ORDER BY r.expires_at LIMIT 500";
    const EXPIRED: &str = "DELETE FROM requests WHERE id = $1 AND confirmed_at IS NULL AND expires_at <= $2";
    const OLD: &str = "DELETE FROM asks WHERE at < $1 OR (mailed = 0 AND at < $2)";
    const DAY: i64 = 86_400_000;
    let expired = rows!(tx, (i64, i64), OPEN, now.millis())?;
    let mut count = 0;
    for (request, subscriber) in &expired {
        // Whoever asks once more at this moment holds the person as well: their wish is younger when this goes on.
        super::people::hold(tx, *subscriber).await?;
        if run!(tx, EXPIRED, *request, now.millis())? > 0 {
            super::people::forget_pending(tx, *subscriber).await?;
            count += 1;
        }
    }
    run!(tx, OLD, now.millis() - 365 * DAY, now.millis() - DAY)?;
    Ok(count)
}

/// Whether [`expire`] has something to do; asked every second.
///
/// # Errors
/// When the database fails.
pub async fn has_expired(tx: &mut Tx, now: Timestamp) -> Result<bool, StoreError> {
    const SQL: &str = "SELECT CAST(1 AS BIGINT) WHERE EXISTS \
        (SELECT 1 FROM requests WHERE confirmed_at IS NULL AND expires_at <= $1)";
    Ok(row!(tx, (i64,), SQL, now.millis())?.is_some())
}
