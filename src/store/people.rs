//! `subscribers` and `consents`: people, and what they agreed to.

use std::collections::HashMap;

use super::sql::{extras_of_s, markers, row, rows, rows_each, run, run_each};
use super::{StoreError, Tx, word};
use crate::domain::address::Address;
use crate::domain::publication::TierId;
use crate::domain::subscriber::{Subscriber, SubscriberStatus};
use crate::runtime::Timestamp;

#[derive(sqlx::FromRow)]
pub(super) struct SubscriberRow {
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

pub(super) fn read(row: SubscriberRow) -> Result<Subscriber, StoreError> {
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

pub(super) const COLUMNS: &str = "SELECT id, address, name, tier, status, timezone, language, term_started_at, term_ends_at \
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

/// Writes what may change about a person whom the store knows, in place of what was read with `held_people`. Who gets mail is decided
/// by [`unsubscribe`] and [`activate`] alone: the status is not written here.
///
/// # Errors
/// When the database fails.
pub async fn update(tx: &mut Tx, person: &Subscriber, now: Timestamp) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE subscribers SET name = $2, tier = $3, timezone = $4, language = $5, \
        term_started_at = $6, term_ends_at = $7, updated_at = $8 WHERE id = $1 AND address <> ''";
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
        now.millis()
    )?;
    Ok(())
}

/// Gives a person another name, or none.
///
/// # Errors
/// When the database fails.
pub async fn rename(tx: &mut Tx, subscriber: i64, name: &str, now: Timestamp) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE subscribers SET name = $2, updated_at = $3 WHERE id = $1 AND address <> ''";
    run!(tx, SQL, subscriber, name, now.millis())?;
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

/// Makes somebody get mail who proved that they want it: status, a suppression that stands for their having left, consent
/// history. Other suppressions stay. Answers whether they got none before.
///
/// # Errors
/// When the database fails.
pub async fn activate(
    tx: &mut Tx,
    subscriber: i64,
    (source, text): (&str, &str),
    now: Timestamp,
) -> Result<bool, StoreError> {
    const STATUS: &str = "UPDATE subscribers SET status = 'active', updated_at = $2 WHERE id = $1 AND status <> 'active' AND address <> ''";
    const LIFT: &str = "DELETE FROM suppressions WHERE reason = 'unsubscribed' \
        AND address_key = (SELECT s.address_key FROM subscribers s WHERE s.id = $1)";
    const CONSENT: &str = "INSERT INTO consents (subscriber_id, at, source, text) VALUES ($1, $2, $3, $4)";
    let raised = run!(tx, STATUS, subscriber, now.millis())? > 0;
    let changed = run!(tx, LIFT, subscriber)? > 0 || raised;
    if changed {
        run!(tx, CONSENT, subscriber, now.millis(), source, text)?;
    }
    Ok(changed)
}

/// Keeps editions from a person until then; `None` ends the pause.
///
/// # Errors
/// When the database fails.
pub async fn pause(
    tx: &mut Tx,
    subscriber: i64,
    until: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), StoreError> {
    const SQL: &str =
        "UPDATE subscribers SET paused_until = $2, updated_at = $3 WHERE id = $1 AND address <> ''";
    run!(tx, SQL, subscriber, until.map(Timestamp::millis), now.millis())?;
    Ok(())
}

/// Until when a person gets no editions, whether or not that is over.
///
/// # Errors
/// When the database fails.
pub async fn paused_until(tx: &mut Tx, subscriber: i64) -> Result<Option<Timestamp>, StoreError> {
    const SQL: &str = "SELECT paused_until FROM subscribers WHERE id = $1";
    let found = row!(tx, (Option<i64>,), SQL, subscriber)?;
    Ok(found.and_then(|(until,)| until).map(Timestamp))
}

/// Keeps a person as they are until the end of the transaction: whoever changes or erases them waits. Answers whether there is a
/// person; who was erased or never confirmed has left a row without one.
///
/// # Errors
/// When the database fails.
pub async fn hold(tx: &mut Tx, subscriber: i64) -> Result<bool, StoreError> {
    const SQL: &str = "UPDATE subscribers SET updated_at = updated_at WHERE id = $1 AND address <> ''";
    Ok(run!(tx, SQL, subscriber)? > 0)
}

/// Gives a person another address; the one that they had is remembered as theirs. Answers whether nobody had it.
///
/// # Errors
/// When the database fails.
pub async fn move_to(
    tx: &mut Tx,
    subscriber: i64,
    address: &Address,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const LEFT: &str = "INSERT INTO former_addresses (subscriber_id, address_key, left_at) \
        SELECT id, address_key, CAST($2 AS BIGINT) FROM subscribers WHERE id = $1 AND address <> '' \
        ON CONFLICT (subscriber_id, address_key) DO UPDATE SET left_at = excluded.left_at";
    const SQL: &str = "UPDATE subscribers SET address = $2, address_key = $3, updated_at = $4 WHERE id = $1 AND address <> '' \
        AND NOT EXISTS (SELECT 1 FROM subscribers o WHERE o.address_key = $3 AND o.id <> $1)";
    const BACK: &str = "DELETE FROM former_addresses WHERE subscriber_id = $1 \
        AND address_key = (SELECT s.address_key FROM subscribers s WHERE s.id = $1)";
    run!(tx, LEFT, subscriber, now.millis())?;
    let moved = run!(tx, SQL, subscriber, address.as_str(), address.key(), now.millis())? > 0;
    run!(tx, BACK, subscriber)?;
    if moved {
        super::bounces::forgive(tx, subscriber).await?;
    }
    Ok(moved)
}

/// Takes everything personal off somebody who never confirmed: what is left is a row without a person. Deleting it would make
/// the database look for its id in the whole ledger, which has no index by person.
///
/// # Errors
/// When the database fails.
pub(super) async fn forget_pending(tx: &mut Tx, subscriber: i64) -> Result<(), StoreError> {
    const BLANK: &str = "UPDATE subscribers SET address = '', address_key = 'expired:' || id, name = '', \
            status = 'unsubscribed', timezone = NULL, language = NULL \
        WHERE id = $1 AND status = 'pending' \
        AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.subscriber_id = $1) \
        AND NOT EXISTS (SELECT 1 FROM threads t WHERE t.address_key = subscribers.address_key)";
    if run!(tx, BLANK, subscriber)? == 0 {
        return Ok(());
    }
    // In this order: the deliveries lead to the rest.
    for sql in [
        "DELETE FROM attempts WHERE delivery_id IN \
            (SELECT id FROM deliveries WHERE kind = 'confirm' AND subscriber_id = $1)",
        "UPDATE bodies SET body = '{}' WHERE id IN \
            (SELECT body_id FROM deliveries WHERE kind = 'confirm' AND subscriber_id = $1)",
        "UPDATE deliveries SET last_reply = NULL WHERE kind = 'confirm' AND subscriber_id = $1",
        "DELETE FROM consents WHERE subscriber_id = $1",
        "DELETE FROM notes WHERE subscriber_id = $1",
    ] {
        run!(tx, sql, subscriber)?;
    }
    Ok(())
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
    const SQL: &str = "SELECT at, source, text FROM consents WHERE subscriber_id = $1 ORDER BY at, id";
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

/// Extras that count against a person's term.
///
/// # Errors
/// When the database fails.
pub async fn extras_used(tx: &mut Tx, subscriber: i64) -> Result<i64, StoreError> {
    const SQL: &str = concat!("SELECT (", extras_of_s!(), ") FROM subscribers s WHERE s.id = $1");
    Ok(row!(tx, (i64,), SQL, subscriber)?.map_or(0, |(count,)| count))
}

/// How many people would get an edition as `tier` at `at`: the rule of `domain::entitlement`, counted. `extra_limit` is set for an
/// extra edition.
///
/// # Errors
/// When the database fails.
pub async fn count_entitled(
    tx: &mut Tx,
    tier: &TierId,
    lapsed: Option<&TierId>,
    extra_limit: Option<i64>,
    at: Timestamp,
) -> Result<i64, StoreError> {
    const SQL: &str = concat!(
        "SELECT count(*) FROM subscribers s WHERE s.status = 'active' AND $1 = \
            CASE WHEN s.term_ends_at IS NOT NULL AND s.term_ends_at <= $2 THEN $3 ELSE s.tier END \
        AND s.id NOT IN (SELECT y.id FROM suppressions x JOIN subscribers y ON y.address_key = x.address_key) \
        AND (s.paused_until IS NULL OR s.paused_until <= $2) \
        AND ($4 < 0 OR $4 > (",
        extras_of_s!(),
        "))"
    );
    let lapsed = lapsed.map_or("", TierId::as_str);
    let found = row!(tx, (i64,), SQL, tier.as_str(), at.millis(), lapsed, extra_limit.unwrap_or(-1))?;
    Ok(found.map_or(0, |(count,)| count))
}

/// The next people by id, at most `limit` of them.
///
/// # Errors
/// When the database fails.
pub async fn page(tx: &mut Tx, after: i64, limit: i64) -> Result<Vec<Subscriber>, StoreError> {
    let sql = sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id > $1 AND address <> '' ORDER BY id LIMIT $2"));
    rows!(tx, SubscriberRow, sql, after, limit)?.into_iter().map(read).collect()
}

/// The consent history of people whose id is above `after` and at most `last`, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn consents_between(
    tx: &mut Tx,
    after: i64,
    last: i64,
) -> Result<HashMap<i64, Vec<Consent>>, StoreError> {
    const SQL: &str = "SELECT subscriber_id, at, source, text FROM consents \
        WHERE subscriber_id > $1 AND subscriber_id <= $2 ORDER BY subscriber_id, at, id";
    let mut found: HashMap<i64, Vec<Consent>> = HashMap::new();
    for (id, at, source, text) in rows!(tx, (i64, i64, String, String), SQL, after, last)? {
        found.entry(id).or_default().push(Consent { at: Timestamp(at), source, text });
    }
    Ok(found)
}

/// One line of evidence about a person, by address key.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    pub key: &'a str,
    pub at: Timestamp,
    pub source: &'a str,
    pub text: &'a str,
}

/// Adds lines to consent histories. A line that is there already is not added again, so a file can be imported twice.
///
/// # Errors
/// When the database fails.
pub async fn add_evidence(tx: &mut Tx, lines: &[Evidence<'_>]) -> Result<(), StoreError> {
    // 4000 binds a statement; both databases take many more.
    for part in lines.chunks(1000) {
        let values: Vec<String> = (0..part.len())
            .map(|at| {
                let first = at * 4;
                format!(
                    "(CAST(${} AS TEXT), CAST(${} AS BIGINT), CAST(${} AS TEXT), CAST(${} AS TEXT))",
                    first + 1,
                    first + 2,
                    first + 3,
                    first + 4
                )
            })
            .collect();
        let sql = format!(
            "INSERT INTO consents (subscriber_id, at, source, text) \
             SELECT s.id, v.column2, v.column3, v.column4 FROM (VALUES {}) AS v \
             CROSS JOIN subscribers s WHERE s.address_key = v.column1 \
             AND NOT EXISTS (SELECT 1 FROM consents c WHERE c.subscriber_id = s.id AND c.at = v.column2 \
             AND c.source = v.column3 AND c.text = v.column4)",
            values.join(", ")
        );
        run_each!(tx, sql, part, |query, line| query
            .bind(line.key)
            .bind(line.at.millis())
            .bind(line.source)
            .bind(line.text))?;
    }
    Ok(())
}

/// Gives a person a tier and a term, in place of those they had.
///
/// # Errors
/// When the database fails.
pub async fn set_tier(
    tx: &mut Tx,
    subscriber: i64,
    tier: &TierId,
    term: (Option<Timestamp>, Option<Timestamp>),
    now: Timestamp,
) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE subscribers SET tier = $2, term_started_at = $3, term_ends_at = $4, updated_at = $5 \
        WHERE id = $1 AND address <> ''";
    let (starts, ends) = (term.0.map(Timestamp::millis), term.1.map(Timestamp::millis));
    run!(tx, SQL, subscriber, tier.as_str(), starts, ends, now.millis())?;
    Ok(())
}
