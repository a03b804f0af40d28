//! `alarms`: what happened how often, and what operators were told of it. One row per cause and what it is about.
//!
//! Several processes may see the same thing: the row is locked by the first write of each transaction, so that one of them tells.

use super::sql::{row, rows, run};
use super::{StoreError, Tx, word};
use crate::domain::alarm::{AlarmCause, EVERY};
use crate::domain::delivery::DeliveryKind;
use crate::runtime::Timestamp;

/// Occurrences of one cause, gathered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurred {
    pub cause: AlarmCause,
    /// A relay, an edition, or nothing.
    pub subject: String,
    pub text: String,
    pub since: Timestamp,
    pub last: Timestamp,
    pub count: i64,
}

/// A row: what happened that no mail has told yet, or that the mail tells which still waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    pub occurred: Occurred,
    pub told_at: Option<Timestamp>,
    /// The body of the mail that tells it.
    pub body_id: Option<i64>,
}

type Stored = (String, String, String, i64, i64, i64, Option<i64>, Option<i64>);

const COLUMNS: &str = "cause, subject, text, since_at, last_at, count, told_at, body_id";

fn read((cause, subject, text, since, last, count, told_at, body_id): Stored) -> Result<Alarm, StoreError> {
    let cause = word("an alarm's cause", &cause, AlarmCause::from_word)?;
    let (since, last) = (Timestamp(since), Timestamp(last));
    let occurred = Occurred { cause, subject, text, since, last, count };
    Ok(Alarm { occurred, told_at: told_at.map(Timestamp), body_id })
}

/// Adds occurrences to the row of their cause, which is locked from here on. Answers the row.
///
/// # Errors
/// When the database fails.
pub async fn add(tx: &mut Tx, more: &Occurred) -> Result<Alarm, StoreError> {
    let sql = format!(
        "INSERT INTO alarms (cause, subject, text, since_at, last_at, count) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (cause, subject) DO UPDATE SET text = excluded.text, last_at = excluded.last_at, \
            count = alarms.count + excluded.count, \
            since_at = CASE WHEN alarms.count = 0 THEN excluded.since_at ELSE alarms.since_at END \
         RETURNING {COLUMNS}"
    );
    let found = row!(
        tx,
        Stored,
        sqlx::AssertSqlSafe(sql),
        more.cause.as_str(),
        more.subject.as_str(),
        more.text.as_str(),
        more.since.millis(),
        more.last.millis(),
        more.count
    )?;
    read(found.ok_or(StoreError::Corrupt { what: "an alarm", why: "no row came back".into() })?)
}

/// Writes what is known of one alarm after it was told, or decided not to be.
///
/// # Errors
/// When the database fails.
pub async fn put(tx: &mut Tx, alarm: &Alarm) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE alarms SET since_at = $3, last_at = $4, count = $5, told_at = $6, body_id = $7 \
        WHERE cause = $1 AND subject = $2";
    let Occurred { cause, subject, since, last, count, .. } = &alarm.occurred;
    let told_at = alarm.told_at.map(Timestamp::millis);
    run!(
        tx,
        SQL,
        cause.as_str(),
        subject.as_str(),
        since.millis(),
        last.millis(),
        count,
        told_at,
        alarm.body_id
    )?;
    Ok(())
}

/// All rows: one per cause and subject, so never many.
///
/// # Errors
/// When the database fails.
pub async fn all(tx: &mut Tx) -> Result<Vec<Alarm>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM alarms ORDER BY cause, subject");
    rows!(tx, Stored, sqlx::AssertSqlSafe(sql))?.into_iter().map(read).collect()
}

/// What happened again within the hour after it was told, and whose hour is over.
///
/// # Errors
/// When the database fails.
pub async fn untold(tx: &mut Tx, now: Timestamp) -> Result<Vec<Alarm>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM alarms WHERE count > 0 AND body_id IS NULL AND told_at IS NOT NULL AND told_at <= $1"
    );
    let before = (now - EVERY).millis();
    rows!(tx, Stored, sqlx::AssertSqlSafe(sql), before)?.into_iter().map(read).collect()
}

/// Gives the mails of `from` that no relay has heard of the body `to`. Answers how many there are; a claim that runs beside this
/// finds them with one body or with the other.
///
/// # Errors
/// When the database fails.
pub async fn reword(tx: &mut Tx, from: i64, to: Option<i64>) -> Result<u64, StoreError> {
    const SQL: &str = "UPDATE deliveries SET body_id = coalesce($2, body_id) \
        WHERE state = 'queued' AND stream = $3 AND body_id = $1 AND attempt = 0";
    Ok(run!(tx, SQL, from, to, DeliveryKind::Report.stream(0))?)
}
