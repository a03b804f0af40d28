//! `subscribers` and `consents`: people, and what they agreed to.

use std::collections::HashMap;

use super::sql::{markers, row, rows, rows_each, run, run_each};
use super::{StoreError, Tx, word};
use crate::domain::address::Address;
use crate::domain::publication::TierId;
use crate::domain::subscriber::{Subscriber, SubscriberStatus};
use crate::runtime::Timestamp;

#[derive(sqlx::FromRow)]
struct SubscriberRow {
    id: i64,
    address: String,
    name: String,
    tier: String,
    status: String,
    timezone: Option<String>,
    language: Option<String>,
    term_started_at: Option<i64>,
    term_ends_at: Option<i64>,
}

fn read(row: SubscriberRow) -> Result<Subscriber, StoreError> {
    Ok(Subscriber {
        id: row.id,
        address: Address::trusted(row.address),
        name: row.name,
        tier: TierId(row.tier),
        status: word("a subscriber's status", &row.status, SubscriberStatus::from_word)?,
        timezone: row.timezone,
        language: row.language,
        term_started_at: row.term_started_at.map(Timestamp),
        term_ends_at: row.term_ends_at.map(Timestamp),
    })
}

const COLUMNS: &str = "SELECT id, address, name, tier, status, timezone, language, term_started_at, term_ends_at \
    FROM subscribers";

/// # Errors
/// When the database fails.
pub async fn by_key(tx: &mut Tx, address_key: &str) -> Result<Option<Subscriber>, StoreError> {
    let sql = sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE address_key = $1"));
    row!(tx, SubscriberRow, sql, address_key)?.map(read).transpose()
}

/// # Errors
/// When the database fails.
pub async fn by_id(tx: &mut Tx, id: i64) -> Result<Option<Subscriber>, StoreError> {
    let sql = sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id = $1"));
    row!(tx, SubscriberRow, sql, id)?.map(read).transpose()
}

/// Those of the given keys that the store knows.
///
/// # Errors
/// When the database fails.
pub async fn by_keys(tx: &mut Tx, keys: &[&str]) -> Result<HashMap<String, Subscriber>, StoreError> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!("{COLUMNS} WHERE address_key IN ({})", markers(keys.len(), 1));
    let found = rows_each!(tx, SubscriberRow, sql, keys, |query, key| query.bind(*key))?;
    found.into_iter().map(|row| read(row).map(|person| (person.address.key(), person))).collect()
}

/// Those of the given keys that are suppressed.
///
/// # Errors
/// When the database fails.
pub async fn suppressed_keys(
    tx: &mut Tx,
    keys: &[&str],
) -> Result<std::collections::HashSet<String>, StoreError> {
    if keys.is_empty() {
        return Ok(Default::default());
    }
    let sql =
        format!("SELECT address_key FROM suppressions WHERE address_key IN ({})", markers(keys.len(), 1));
    let found = rows_each!(tx, (String,), sql, keys, |query, key| query.bind(*key))?;
    Ok(found.into_iter().map(|(key,)| key).collect())
}

/// Enters people that the store does not know yet, with one line of consent each, in two statements. The caller has checked
/// that none of the addresses is there and that there are at most 1000 of them.
///
/// # Errors
/// When the database fails.
pub async fn add_many(
    tx: &mut Tx,
    people: &[&Subscriber],
    source: &str,
    text: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    if people.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "INSERT INTO subscribers (address, address_key, name, tier, status, timezone, language, term_started_at, \
            term_ends_at, created_at, updated_at) VALUES {}",
        markers(people.len(), 11)
    );
    run_each!(tx, sql, people.iter(), |query, person| query
        .bind(person.address.as_str())
        .bind(person.address.key())
        .bind(person.name.as_str())
        .bind(person.tier.as_str())
        .bind(person.status.as_str())
        .bind(person.timezone.as_deref())
        .bind(person.language.as_deref())
        .bind(person.term_started_at.map(Timestamp::millis))
        .bind(person.term_ends_at.map(Timestamp::millis))
        .bind(now.millis())
        .bind(now.millis()))?;
    let consents = format!(
        "INSERT INTO consents (subscriber_id, at, source, text) \
         SELECT id, CAST($1 AS BIGINT), CAST($2 AS TEXT), CAST($3 AS TEXT) FROM subscribers WHERE address_key IN ({})",
        (4..people.len() + 4).map(|at| format!("${at}")).collect::<Vec<_>>().join(", ")
    );
    consent_for(tx, &consents, people, (now, source, text)).await
}

/// Binds differ in type: the constant ones first, then the keys.
async fn consent_for(
    tx: &mut Tx,
    sql: &str,
    people: &[&Subscriber],
    (now, source, text): (Timestamp, &str, &str),
) -> Result<(), StoreError> {
    enum Bind<'a> {
        At(i64),
        Text(&'a str),
        Key(String),
    }
    let fixed = [Bind::At(now.millis()), Bind::Text(source), Bind::Text(text)];
    let keys = people.iter().map(|person| Bind::Key(person.address.key()));
    run_each!(tx, sql.to_owned(), fixed.into_iter().chain(keys.clone()), |query, bind| match bind {
        Bind::At(at) => query.bind(at),
        Bind::Text(text) => query.bind(text),
        Bind::Key(key) => query.bind(key),
    })?;
    Ok(())
}

/// Writes what may change about a person whom the store knows. Consent is not touched here.
///
/// # Errors
/// When the database fails.
pub async fn update(tx: &mut Tx, person: &Subscriber, now: Timestamp) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE subscribers SET name = $2, tier = $3, timezone = $4, language = $5, \
        term_started_at = $6, term_ends_at = $7, status = $8, updated_at = $9 WHERE id = $1";
    run!(
        tx,
        SQL,
        person.id,
        person.name.as_str(),
        person.tier.as_str(),
        person.timezone.as_deref(),
        person.language.as_deref(),
        person.term_started_at.map(Timestamp::millis),
        person.term_ends_at.map(Timestamp::millis),
        person.status.as_str(),
        now.millis()
    )?;
    Ok(())
}

/// Ends a subscription, whatever door the wish came through: status, suppression, consent history. Waiting deliveries are
/// skipped when they are claimed. Answers whether it was not ended before.
///
/// # Errors
/// When the database fails.
pub async fn unsubscribe(
    tx: &mut Tx,
    subscriber: i64,
    source: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const STATUS: &str = "UPDATE subscribers SET status = 'unsubscribed', updated_at = $2 \
        WHERE id = $1 AND status <> 'unsubscribed'";
    const SUPPRESS: &str = "INSERT INTO suppressions (address_key, reason, at, source) \
        SELECT address_key, 'unsubscribed', CAST($2 AS BIGINT), CAST($3 AS TEXT) FROM subscribers WHERE id = $1 \
        ON CONFLICT (address_key) DO NOTHING";
    const CONSENT: &str =
        "INSERT INTO consents (subscriber_id, at, source, text) VALUES ($1, $2, $3, 'unsubscribed')";
    let changed = run!(tx, STATUS, subscriber, now.millis())? > 0;
    if changed {
        run!(tx, SUPPRESS, subscriber, now.millis(), source)?;
        run!(tx, CONSENT, subscriber, now.millis(), source)?;
    }
    Ok(changed)
}

/// One line of a person's consent history.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Consent {
    pub at: Timestamp,
    pub source: String,
    pub text: String,
}

/// The consent history of a person, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn consents(tx: &mut Tx, subscriber: i64) -> Result<Vec<Consent>, StoreError> {
    const SQL: &str = "SELECT at, source, text FROM consents WHERE subscriber_id = $1 ORDER BY id";
    let found = rows!(tx, (i64, String, String), SQL, subscriber)?;
    Ok(found.into_iter().map(|(at, source, text)| Consent { at: Timestamp(at), source, text }).collect())
}

/// How many active people each tier has.
///
/// # Errors
/// When the database fails.
pub async fn active_by_tier(tx: &mut Tx) -> Result<Vec<(String, i64)>, StoreError> {
    const SQL: &str =
        "SELECT tier, count(*) FROM subscribers WHERE status = 'active' GROUP BY tier ORDER BY tier";
    Ok(rows!(tx, (String, i64), SQL)?)
}
