//! `deliveries` and `attempts`: the ledger. Settling, what a dead owner leaves, desk mail, lists; claiming is in `claims`.
//!
//! A settlement counts only while the row is still leased by that owner for that attempt. Planner trap, measured: a plain
//! `state = 'leased'` beside `id = v.id` makes SQLite scan the leased index once per settlement, hence `state || ''`.

use super::sql::{row, rows, rows_each, run, run_each};
use super::staff::StaffRow;
use super::suppressions::{self, NewSuppression};
use super::{StoreError, Tx};
use crate::domain::address::Address;
use crate::domain::delivery::{DeliveryKind, DeliveryState, Settlement, UNCERTAIN_RESENDS};
use crate::domain::settings::OnUncertain;
use crate::runtime::Timestamp;

pub use super::lanes::LANE_OTHER;

/// One connection's decision about its last delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    pub delivery: i64,
    pub attempt: i64,
    pub owner: i64,
    pub relay: String,
    pub at: Timestamp,
    pub settlement: Settlement,
    /// Whom it went to: needed where the settlement suppresses, `None` elsewhere.
    pub recipient: Option<Address>,
}

/// The binds of one settlement, in the order of the columns of `v`.
macro_rules! bound {
    ($query:expr, $one:expr) => {
        $query
            .bind($one.delivery)
            .bind($one.attempt)
            .bind($one.owner)
            .bind($one.settlement.state.as_str())
            .bind($one.settlement.due_at.map(Timestamp::millis))
            .bind($one.settlement.last_reply.as_str())
            .bind($one.at.millis())
            .bind($one.relay.as_str())
            .bind(i64::from($one.settlement.state == DeliveryState::Uncertain))
            .bind(i64::from(!$one.settlement.burns_attempt))
    };
}

/// Writes many settlements with one statement, each fenced by id, attempt and owner. Answers how many took effect: a late
/// settlement of a row that is no longer ours changes nothing, but a late `accepted` of an uncertain one does count.
///
/// # Errors
/// When the database fails; none of them is written then.
pub async fn settle(tx: &mut Tx, settled: &[Settled]) -> Result<u64, StoreError> {
    if settled.is_empty() {
        return Ok(0);
    }
    // Which ones took effect is asked only where something has to be recorded of them: rows that come back cost about a
    // twentieth of the rate at eight connections.
    let returning = settled.iter().any(|one| is_recorded(one.settlement.state));
    let sql = settle_sql(settled.len(), returning);
    if !returning {
        return Ok(run_each!(tx, sql, settled, |query, one| bound!(query, one))?);
    }
    let changed = rows_each!(tx, (i64,), sql, settled, |query, one| bound!(query, one))?;
    let took_effect = |one: &&Settled| changed.iter().any(|(id,)| *id == one.delivery);
    record_attempts(tx, settled.iter().filter(took_effect)).await?;
    suppress(tx, settled.iter().filter(took_effect)).await?;
    Ok(changed.len() as u64)
}

/// Suppresses the recipients of what was refused for good, in the transaction that settles it: no later claim can miss it.
async fn suppress(tx: &mut Tx, settled: impl Iterator<Item = &Settled>) -> Result<(), StoreError> {
    let mut found: Vec<_> = settled
        .filter_map(|one| {
            let (reason, recipient) = one.settlement.suppress.zip(one.recipient.as_ref())?;
            let source = format!("delivery {}: {}", one.delivery, one.settlement.last_reply);
            Some((recipient.key(), reason, one.at, source))
        })
        .collect();
    // In one order: two processes that suppress the same people must not wait for each other.
    found.sort_by(|one, other| one.0.cmp(&other.0));
    let new: Vec<_> = found
        .iter()
        .map(|(key, reason, at, source)| NewSuppression { key, reason: *reason, at: *at, source })
        .collect();
    suppressions::add_many(tx, &new).await
}

/// An accepted delivery keeps its reply itself, and a skipped one was no attempt.
fn is_recorded(state: DeliveryState) -> bool {
    !matches!(state, DeliveryState::Accepted | DeliveryState::Skipped)
}

pub(super) fn settle_sql(count: usize, returning: bool) -> String {
    let returning = if returning { " RETURNING deliveries.id" } else { "" };
    format!(
        "WITH v (id, attempt, owner, state, due_at, reply, at, relay, doubt, untried) AS (VALUES {}) \
        UPDATE deliveries SET state = v.state, due_at = v.due_at, last_reply = v.reply, settled_at = v.at, \
            relay = v.relay, uncertain_count = uncertain_count + v.doubt, \
            attempt = deliveries.attempt - v.untried, \
            owner = CASE WHEN v.doubt = 1 THEN v.owner END \
        FROM v WHERE deliveries.id = v.id AND deliveries.attempt = v.attempt AND deliveries.owner = v.owner \
            AND (deliveries.state || '' = 'leased' \
                OR (deliveries.state || '' = 'uncertain' AND v.state = 'accepted')){returning}",
        typed_markers(count)
    )
}

/// The rows of the settlement's VALUES. PostgreSQL takes the column types from the first one.
fn typed_markers(count: usize) -> String {
    const WIDTH: usize = 10;
    let types =
        ["BIGINT", "BIGINT", "BIGINT", "TEXT", "BIGINT", "TEXT", "BIGINT", "TEXT", "BIGINT", "BIGINT"];
    let first: Vec<String> =
        types.iter().enumerate().map(|(at, kind)| format!("CAST(${} AS {kind})", at + 1)).collect();
    let mut text = format!("({})", first.join(", "));
    for index in 1..count {
        let group: Vec<String> = (1..=WIDTH).map(|at| format!("${}", index * WIDTH + at)).collect();
        text.push_str(", (");
        text.push_str(&group.join(", "));
        text.push(')');
    }
    text
}

async fn record_attempts(tx: &mut Tx, settled: impl Iterator<Item = &Settled>) -> Result<(), StoreError> {
    const SQL: &str = "INSERT INTO attempts (delivery_id, attempt, at, relay, state, reply) \
        VALUES ($1, $2, $3, $4, $5, $6)";
    for one in settled {
        if !is_recorded(one.settlement.state) {
            continue;
        }
        run!(
            tx,
            SQL,
            one.delivery,
            one.attempt,
            one.at.millis(),
            one.relay.as_str(),
            one.settlement.state.as_str(),
            one.settlement.last_reply.as_str()
        )?;
    }
    Ok(())
}

/// Declares every delivery uncertain that an ended owner holds. `resend_at`: when those are sent again that have not been
/// uncertain too often; with `hold` all of them stay.
///
/// # Errors
/// When the database fails.
pub async fn recover(
    tx: &mut Tx,
    policy: OnUncertain,
    resend_at: Timestamp,
    now: Timestamp,
) -> Result<u64, StoreError> {
    const SQL: &str = "UPDATE deliveries SET state = 'uncertain', uncertain_count = uncertain_count + 1, \
            due_at = CASE WHEN uncertain_count < $1 THEN $2 + 0 END, settled_at = $3, \
            last_reply = 'the process was lost while the message was in flight' \
        WHERE state = 'leased' AND owner IN (SELECT id FROM owners WHERE ended_at IS NOT NULL)";
    let resends = match policy {
        OnUncertain::Resend => UNCERTAIN_RESENDS,
        OnUncertain::Hold => 0,
    };
    Ok(run!(tx, SQL, resends, resend_at.millis(), now.millis())?)
}

/// Gives back what this owner leased and nobody holds: a claim whose commit succeeded although its answer was lost. `held` are
/// the deliveries that its connections have in hand. Nothing of the others was ever sent.
///
/// # Errors
/// When the database fails.
pub async fn give_back(tx: &mut Tx, owner: i64, held: &[i64]) -> Result<u64, StoreError> {
    let leased = rows!(tx, (i64,), "SELECT id FROM deliveries WHERE state = 'leased' AND owner = $1", owner)?;
    const SQL: &str = "UPDATE deliveries SET state = 'queued', owner = NULL, attempt = attempt - 1 \
        WHERE id = $1 AND state = 'leased' AND owner = $2";
    let mut given = 0;
    for (id,) in leased.into_iter().filter(|(id,)| !held.contains(id)) {
        given += run!(tx, SQL, id, owner)?;
    }
    Ok(given)
}

/// Puts uncertain deliveries whose wait is over back into the queue.
///
/// # Errors
/// When the database fails.
pub async fn requeue_uncertain(tx: &mut Tx, now: Timestamp) -> Result<u64, StoreError> {
    const SQL: &str = "UPDATE deliveries SET state = 'queued', owner = NULL \
        WHERE state = 'uncertain' AND due_at IS NOT NULL AND due_at <= $1 + 0";
    Ok(run!(tx, SQL, now.millis())?)
}

/// A report says that a mail failed which was to be tried again, because nobody knew whether the peer had it: it had, and it is not
/// sent again. Of one that is in flight the next claim finds it out. Locks the row, whatever its state, for what follows in this
/// transaction. Answers whether it waited.
///
/// # Errors
/// When the database fails.
pub async fn came_back(tx: &mut Tx, delivery: i64, said: &str, now: Timestamp) -> Result<bool, StoreError> {
    // An update that changes nothing locks its row in either dialect.
    const LOCK: &str = "UPDATE deliveries SET lane = lane WHERE id = $1";
    const SQL: &str = "UPDATE deliveries SET state = 'refused', owner = NULL, due_at = NULL, last_reply = $2, \
            settled_at = $3 \
        WHERE id = $1 AND first_attempt_at IS NOT NULL \
            AND (state = 'queued' OR state = 'uncertain' OR state = 'parked')";
    run!(tx, LOCK, delivery)?;
    Ok(run!(tx, SQL, delivery, said, now.millis())? > 0)
}

/// A report says that a mail is still being tried whose fate nobody knew: the peer has it, and it is not sent again. Answers whether
/// it was in doubt.
///
/// # Errors
/// When the database fails.
pub async fn is_on_its_way(tx: &mut Tx, delivery: i64, now: Timestamp) -> Result<bool, StoreError> {
    const SQL: &str = "UPDATE deliveries SET state = 'accepted', owner = NULL, due_at = NULL, \
            last_reply = 'a report says that it is on its way', settled_at = $2 \
        WHERE id = $1 AND uncertain_count > 0 AND (state = 'queued' OR state = 'uncertain')";
    Ok(run!(tx, SQL, delivery, now.millis())? > 0)
}

/// An operator's word: one delivery that waits for one is tried again now. Answers whether it did wait.
///
/// # Errors
/// When the database fails.
pub async fn retry_one(tx: &mut Tx, delivery: i64, now: Timestamp) -> Result<bool, StoreError> {
    const SQL: &str = "UPDATE deliveries SET state = 'queued', owner = NULL, due_at = $2 \
        WHERE id = $1 AND (state = 'uncertain' OR state = 'parked')";
    // Who was told that an answer waits has to hear of what comes of it now.
    const UNTOLD: &str =
        "UPDATE posts SET told_at = NULL WHERE id = (SELECT post_id FROM deliveries WHERE id = $1)";
    let is_retried = run!(tx, SQL, delivery, now.millis())? > 0;
    if is_retried {
        run!(tx, UNTOLD, delivery)?;
    }
    Ok(is_retried)
}

/// An operator's word: everything of this stream that waits for one is tried again now.
///
/// # Errors
/// When the database fails.
pub async fn retry_held(tx: &mut Tx, stream: i64, now: Timestamp) -> Result<u64, StoreError> {
    const SQL: &str = "UPDATE deliveries SET state = 'queued', owner = NULL, due_at = $2 \
        WHERE stream = $1 AND (state = 'uncertain' OR state = 'parked')";
    Ok(run!(tx, SQL, stream, now.millis())?)
}

/// Whether doubtful deliveries wait to be put back into the queue.
///
/// # Errors
/// When the database fails.
pub async fn has_due_uncertain(tx: &mut Tx, now: Timestamp) -> Result<bool, StoreError> {
    const SQL: &str = "SELECT CAST(1 AS BIGINT) WHERE EXISTS (SELECT 1 FROM deliveries \
        WHERE state = 'uncertain' AND due_at IS NOT NULL AND due_at <= $1 + 0)";
    Ok(row!(tx, (i64,), SQL, now.millis())?.is_some())
}

/// Whether a claim of this lane would find a row.
///
/// # Errors
/// When the database fails.
pub async fn has_due(tx: &mut Tx, lane: i64, now: Timestamp) -> Result<bool, StoreError> {
    Ok(row!(tx, (i64,), HAS_DUE, lane, now.millis())?.is_some())
}

pub(super) const HAS_DUE: &str = "SELECT CAST(1 AS BIGINT) FROM ( \
            SELECT column1 AS stream FROM (VALUES (-2), (-1)) AS desk \
            UNION ALL SELECT e.id FROM editions e WHERE e.state = 'sending' \
        ) AS c \
        WHERE EXISTS (SELECT 1 FROM deliveries x WHERE x.state = 'queued' AND x.lane = $1 \
            AND x.stream = c.stream AND x.due_at <= $2 + 0) LIMIT 1";

/// A message that is not an edition's.
#[derive(Clone, Debug)]
pub struct DeskMail<'a> {
    pub kind: DeliveryKind,
    pub subscriber_id: Option<i64>,
    pub thread_id: Option<i64>,
    /// Where it goes, when not to the subscriber.
    pub address: Option<&'a str>,
    /// The member of staff whom a notice is for.
    pub staff_id: Option<i64>,
    pub body_id: i64,
}

impl<'a> DeskMail<'a> {
    /// To a member of staff, about a conversation.
    pub fn to_member(thread: i64, member: &'a StaffRow, body_id: i64) -> DeskMail<'a> {
        DeskMail {
            kind: DeliveryKind::Notice,
            subscriber_id: None,
            thread_id: Some(thread),
            address: Some(&member.address),
            staff_id: Some(member.id),
            body_id,
        }
    }
}

/// Queues one message that is not an edition's, due now.
///
/// # Errors
/// When the database fails.
pub async fn queue_desk_mail(tx: &mut Tx, mail: DeskMail<'_>, now: Timestamp) -> Result<i64, StoreError> {
    const SQL: &str = "INSERT INTO deliveries (kind, subscriber_id, thread_id, staff_id, address, body_id, lane, \
            stream, state, due_at, attempt, uncertain_count) \
        VALUES ($1, $2, $3, $4, $5, $6, \
            coalesce((SELECT m.lane_id FROM lane_domains m \
                WHERE m.domain = coalesce($7, (SELECT s.domain FROM subscribers s WHERE s.id = $2))), 0), \
            $8, 'queued', $9, 0, 0) RETURNING id";
    let domain =
        mail.address.and_then(|address| address.rsplit_once('@')).map(|(_, domain)| domain.to_lowercase());
    let (id,) = row!(
        tx,
        (i64,),
        SQL,
        mail.kind.as_str(),
        mail.subscriber_id,
        mail.thread_id,
        mail.staff_id,
        mail.address,
        mail.body_id,
        domain,
        mail.kind.stream(0),
        now.millis()
    )?
    .ok_or(StoreError::Corrupt { what: "a delivery", why: "no id came back".into() })?;
    Ok(id)
}

/// The body that a delivery carries.
///
/// # Errors
/// When the database fails.
pub async fn body_of(tx: &mut Tx, delivery: i64) -> Result<Option<i64>, StoreError> {
    let found = row!(tx, (i64,), "SELECT body_id FROM deliveries WHERE id = $1", delivery)?;
    Ok(found.map(|(body,)| body))
}

/// A delivery that its reader looks at in a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewed {
    pub body_id: i64,
    pub subscriber_id: Option<i64>,
    pub address: String,
    /// `None`: a proof that shows nobody in particular.
    pub name: Option<String>,
    /// Of the body.
    pub tier: Option<String>,
    pub term_ends_at: Option<Timestamp>,
    pub key_id: Option<i64>,
    pub first_attempt_at: Timestamp,
}

/// A delivery of an edition, or a proof of one, that has left or tried to; anything else has no page.
///
/// # Errors
/// When the database fails.
pub async fn viewed(tx: &mut Tx, delivery: i64) -> Result<Option<Viewed>, StoreError> {
    const SQL: &str = "SELECT d.body_id, d.subscriber_id, coalesce(s.address, d.address, '') AS address, \
            coalesce(s.name, p.name) AS name, b.tier, coalesce(s.term_ends_at, p.term_ends_at) AS term_ends_at, \
            d.key_id, d.first_attempt_at \
        FROM deliveries d JOIN bodies b ON b.id = d.body_id \
        LEFT JOIN subscribers s ON s.id = d.subscriber_id LEFT JOIN subscribers p ON p.id = d.as_subscriber_id \
        WHERE d.id = $1 AND b.tier IS NOT NULL AND d.first_attempt_at IS NOT NULL AND d.state <> 'skipped'";
    type Row = (i64, Option<i64>, String, Option<String>, Option<String>, Option<i64>, Option<i64>, i64);
    let read = |(body_id, subscriber_id, address, name, tier, ends, key_id, first): Row| Viewed {
        body_id,
        subscriber_id,
        address,
        name,
        tier,
        term_ends_at: ends.map(Timestamp),
        key_id,
        first_attempt_at: Timestamp(first),
    };
    Ok(row!(tx, Row, SQL, delivery)?.map(read))
}

/// Makes a proof show this person's name and term.
///
/// # Errors
/// When the database fails.
pub async fn show_as(tx: &mut Tx, delivery: i64, person: i64) -> Result<(), StoreError> {
    run!(tx, "UPDATE deliveries SET as_subscriber_id = $2 WHERE id = $1", delivery, person)?;
    Ok(())
}

/// One row of `deliveries list`.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct DeliveryRow {
    pub id: i64,
    pub edition: Option<String>,
    pub kind: String,
    pub address: String,
    pub tier: Option<String>,
    pub state: String,
    pub attempt: i64,
    pub relay: Option<String>,
    pub lane: String,
    pub key_id: Option<i64>,
    pub last_reply: Option<String>,
    pub due_at: Option<i64>,
    pub settled_at: Option<i64>,
}

/// A page of deliveries by id: at most `limit` after `after`. `edition` and `state` narrow it.
///
/// # Errors
/// When the database fails.
pub async fn list(
    tx: &mut Tx,
    edition: Option<&str>,
    state: Option<DeliveryState>,
    after: i64,
    limit: i64,
) -> Result<Vec<DeliveryRow>, StoreError> {
    const SQL: &str = "SELECT d.id, e.slug AS edition, d.kind, coalesce(d.address, s.address) AS address, \
            b.tier, d.state, d.attempt, d.relay, l.name AS lane, d.key_id, d.last_reply, d.due_at, d.settled_at \
        FROM deliveries d JOIN bodies b ON b.id = d.body_id JOIN lanes l ON l.id = d.lane \
        LEFT JOIN editions e ON e.id = d.edition_id LEFT JOIN subscribers s ON s.id = d.subscriber_id \
        WHERE d.id > $1 AND ($2 = '' OR e.slug = $2) AND ($3 = '' OR d.state = $3) ORDER BY d.id LIMIT $4 + 0";
    let state = state.map_or("", DeliveryState::as_str);
    Ok(rows!(tx, DeliveryRow, SQL, after, edition.unwrap_or(""), state, limit)?)
}

/// Which subscriber, thread and edition a delivery belongs to: what an answer to it is about.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Origin {
    pub id: i64,
    pub edition_id: Option<i64>,
    pub subscriber_id: Option<i64>,
    pub thread_id: Option<i64>,
}

/// # Errors
/// When the database fails.
pub async fn origin(tx: &mut Tx, delivery: i64) -> Result<Option<Origin>, StoreError> {
    const SQL: &str = "SELECT id, edition_id, subscriber_id, thread_id FROM deliveries WHERE id = $1";
    Ok(row!(tx, Origin, SQL, delivery)?)
}
