//! `sign_ins` and `sessions`: mailed links, and who is signed in. Both are known by hashes of what people hold.

use super::sql::{row, run};
use super::{StoreError, Tx};
use crate::domain::sign_in::{Account, Links, Place};
use crate::runtime::Timestamp;

/// In place of where a question came from: whoever asked had a link of a mail to the person.
pub const HOLDER: &str = "holder";

/// Rows that are deleted at a time.
const CHUNK: i64 = 500;

/// Somebody asks for a link.
#[derive(Clone, Copy, Debug)]
pub struct NewSignIn<'a> {
    pub hash: &'a str,
    /// Keyed hash of the address.
    pub fingerprint: &'a str,
    /// Keyed hash of the address and of where the question came from, or [`HOLDER`].
    pub asker: &'a str,
    /// `None`: no mail is sent, and the link opens nothing.
    pub account: Option<&'a Account>,
    pub back: &'a str,
    pub expires_at: Timestamp,
}

/// A link that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    pub account: Account,
    pub back: String,
    pub expires_at: Timestamp,
}

/// A session as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub id: i64,
    pub account: Account,
    pub expires_at: Timestamp,
}

fn columns(account: Option<&Account>) -> (Option<i64>, Option<&str>) {
    match account {
        Some(Account::Subscriber(id)) => (Some(*id), None),
        Some(Account::House(key)) => (None, Some(key)),
        None => (None, None),
    }
}

fn account(subscriber: Option<i64>, key: Option<String>) -> Option<Account> {
    subscriber.map(Account::Subscriber).or(key.map(Account::House))
}

/// # Errors
/// When the database fails.
pub async fn ask(tx: &mut Tx, new: &NewSignIn<'_>, now: Timestamp) -> Result<(), StoreError> {
    const SQL: &str = "INSERT INTO sign_ins (hash, fingerprint, subscriber_id, address_key, back, asked_at, expires_at, \
        asker) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let (subscriber, key) = columns(new.account);
    let (asked, expires) = (now.millis(), new.expires_at.millis());
    run!(tx, SQL, new.hash, new.fingerprint, subscriber, key, new.back, asked, expires, new.asker)?;
    Ok(())
}

/// The links that an address was sent in the last day. `hashes`: under each of our keys, the address and the asker.
///
/// # Errors
/// When the database fails.
pub async fn links(tx: &mut Tx, hashes: &[(String, String)], now: Timestamp) -> Result<Links, StoreError> {
    const SQL: &str = "SELECT \
            count(CASE WHEN asker = $2 AND used_at IS NULL AND expires_at > $3 THEN 1 END), \
            count(CASE WHEN asker = $2 THEN 1 END), count(CASE WHEN asker <> 'holder' THEN 1 END) \
        FROM sign_ins WHERE fingerprint = $1 AND asked_at > $4 \
            AND (subscriber_id IS NOT NULL OR address_key IS NOT NULL)";
    let mut links = Links::default();
    let day_ago = now.millis() - 86_400_000;
    for (fingerprint, asker) in hashes {
        let found =
            row!(tx, (i64, i64, i64), SQL, fingerprint.as_str(), asker.as_str(), now.millis(), day_ago)?;
        let (open, here, all) = found.unwrap_or_default();
        links = Links { open: links.open + open, here: links.here + here, all: links.all + all };
    }
    Ok(links)
}

type LinkRow = (Option<i64>, Option<String>, String, i64);

fn link((subscriber, key, back, expires): LinkRow, place: Place) -> Option<SignIn> {
    let account = account(subscriber, key).filter(|account| account.place() == place)?;
    Some(SignIn { account, back, expires_at: Timestamp(expires) })
}

/// A link that still works on these pages; looking uses nothing up.
///
/// # Errors
/// When the database fails.
pub async fn look(
    tx: &mut Tx,
    hash: &str,
    place: Place,
    now: Timestamp,
) -> Result<Option<SignIn>, StoreError> {
    const SQL: &str = "SELECT subscriber_id, address_key, back, expires_at FROM sign_ins \
        WHERE hash = $1 AND used_at IS NULL AND expires_at > $2";
    Ok(row!(tx, LinkRow, SQL, hash, now.millis())?.and_then(|found| link(found, place)))
}

/// Uses a link up. `None` where it does not work, or not here.
///
/// # Errors
/// When the database fails.
pub async fn take(
    tx: &mut Tx,
    hash: &str,
    place: Place,
    now: Timestamp,
) -> Result<Option<SignIn>, StoreError> {
    const SQL: &str = "UPDATE sign_ins SET used_at = $2 \
        WHERE hash = $1 AND used_at IS NULL AND expires_at > $2 \
            AND (subscriber_id IS NOT NULL OR address_key IS NOT NULL) AND (subscriber_id IS NOT NULL) = ($3 = 1) \
        RETURNING subscriber_id, address_key, back, expires_at";
    let public = i64::from(place == Place::Public);
    Ok(row!(tx, LinkRow, SQL, hash, now.millis(), public)?.and_then(|found| link(found, place)))
}

/// Opens a session. Answers its id.
///
/// # Errors
/// When the database fails.
pub async fn open(
    tx: &mut Tx,
    hash: &str,
    account: &Account,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<i64, StoreError> {
    const SQL: &str = "INSERT INTO sessions (hash, subscriber_id, address_key, opened_at, expires_at) \
        VALUES ($1, $2, $3, $4, $5) RETURNING id";
    let (subscriber, key) = columns(Some(account));
    let (id,) = row!(tx, (i64,), SQL, hash, subscriber, key, now.millis(), expires_at.millis())?
        .ok_or(StoreError::Corrupt { what: "a session", why: "no id came back".into() })?;
    Ok(id)
}

/// The session that this hash stands for, while it lasts.
///
/// # Errors
/// When the database fails.
pub async fn by_hash(tx: &mut Tx, hash: &str, now: Timestamp) -> Result<Option<Stored>, StoreError> {
    const SQL: &str = "SELECT id, subscriber_id, address_key, expires_at FROM sessions \
        WHERE hash = $1 AND expires_at > $2";
    let found = row!(tx, (i64, Option<i64>, Option<String>, i64), SQL, hash, now.millis())?;
    Ok(found.and_then(|(id, subscriber, key, expires)| {
        Some(Stored { id, account: account(subscriber, key)?, expires_at: Timestamp(expires) })
    }))
}

/// Ends one session.
///
/// # Errors
/// When the database fails.
pub async fn close(tx: &mut Tx, id: i64) -> Result<bool, StoreError> {
    Ok(run!(tx, "DELETE FROM sessions WHERE id = $1", id)? > 0)
}

/// Ends every session of the same account, and uses up the links that were sent to it. Answers how many sessions.
///
/// # Errors
/// When the database fails.
pub async fn close_all(tx: &mut Tx, account: &Account) -> Result<u64, StoreError> {
    let (subscriber, key) = columns(Some(account));
    const LINKS: &str = "UPDATE sign_ins SET used_at = asked_at \
        WHERE (subscriber_id = $1 OR address_key = $2) AND used_at IS NULL";
    run!(tx, LINKS, subscriber, key)?;
    Ok(run!(tx, "DELETE FROM sessions WHERE subscriber_id = $1 OR address_key = $2", subscriber, key)?)
}

/// Ends everything: who was signed in when a copy was taken may have signed out since.
///
/// # Errors
/// When the database fails.
pub async fn end_everything(tx: &mut Tx) -> Result<(), StoreError> {
    run!(tx, "DELETE FROM sign_ins")?;
    run!(tx, "DELETE FROM sessions")?;
    Ok(())
}

/// Deletes some of what is over: sessions, and links a day after they were asked for. Answers how many rows; a full chunk means
/// that there may be more.
///
/// # Errors
/// When the database fails.
pub async fn expire(tx: &mut Tx, now: Timestamp) -> Result<u64, StoreError> {
    const SESSIONS: &str = "DELETE FROM sessions WHERE id IN \
        (SELECT id FROM sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 + 0)";
    const LINKS: &str = "DELETE FROM sign_ins WHERE id IN \
        (SELECT id FROM sign_ins WHERE asked_at <= $1 ORDER BY asked_at LIMIT $2 + 0)";
    let sessions = run!(tx, SESSIONS, now.millis(), CHUNK)?;
    Ok(sessions + run!(tx, LINKS, now.millis() - 86_400_000, CHUNK)?)
}
