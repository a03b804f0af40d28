//! `bounces`: mails that came back, and complaints about them, one row per delivery and kind.
//!
//! Rows of failures in the dialogue are written with their settlement, those of reports with the message that brought them. What a
//! person's rows come to is `domain::bounce`'s; here are the history that it asks for and the counts that breakers and editors see.

use super::sql::{row, rows, run};
use super::{StoreError, Tx};
use crate::domain::bounce::Bounce;
use crate::domain::breaker::{SLICES, slice_of};
use crate::domain::delivery::{DeliveryKind, DeliveryState};
use crate::domain::reply_rule::ReplyClass;
use crate::domain::standing::{Issue, IssueResult};
use crate::runtime::{MaskedText, Timestamp};

/// Editions of a person's history that are looked at: so many up to the one that failed, which are two weeks of several a day, and
/// so many behind it. Each is one look into an index.
const EARLIER: i64 = 120;
const LATER: i64 = 60;

/// The word of a failure that nothing says the kind of.
pub const UNCLASSIFIED: &str = "unclassified";

/// The mail that something came back of.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Mailed {
    pub id: i64,
    pub kind: String,
    pub edition_id: Option<i64>,
    pub subscriber_id: Option<i64>,
    pub thread_id: Option<i64>,
    pub staff_id: Option<i64>,
    pub lane: i64,
    pub state: String,
    /// Where it went, whatever address its person has by now, in lower case; no address where its person was erased or has
    /// expired.
    pub address_key: String,
}

impl Mailed {
    /// Somebody of the house was to get it.
    pub fn is_for_the_house(&self) -> bool {
        let kind = DeliveryKind::from_word(&self.kind);
        kind.is_some_and(|kind| kind.is_for_the_house(self.subscriber_id, self.staff_id))
    }

    /// Its person was erased, or never confirmed: nothing more is written down about them.
    pub fn is_nobodys(&self) -> bool {
        !self.address_key.contains('@')
    }
}

/// A delivery that has been tried at least once.
///
/// # Errors
/// When the database fails.
pub async fn mailed(tx: &mut Tx, delivery: i64) -> Result<Option<Mailed>, StoreError> {
    const SQL: &str = "SELECT d.id, d.kind, d.edition_id, d.subscriber_id, d.thread_id, d.staff_id, d.lane, d.state, \
            coalesce(d.address, (SELECT f.address_key FROM former_addresses f WHERE f.subscriber_id = d.subscriber_id \
                AND f.left_at > coalesce(d.settled_at, d.first_attempt_at) ORDER BY f.left_at LIMIT 1), \
                s.address_key, '') AS address_key \
        FROM deliveries d LEFT JOIN subscribers s ON s.id = d.subscriber_id \
        WHERE d.id = $1 AND d.first_attempt_at IS NOT NULL";
    let found = row!(tx, Mailed, SQL, delivery)?;
    Ok(found.map(|found| Mailed { address_key: found.address_key.to_lowercase(), ..found }))
}

/// The newest edition that a person's mailbox took.
///
/// # Errors
/// When the database fails.
pub async fn newest_taken(tx: &mut Tx, subscriber: i64) -> Result<Option<i64>, StoreError> {
    const SQL: &str = "SELECT d.id FROM editions e CROSS JOIN deliveries d \
        WHERE d.edition_id = e.id AND d.subscriber_id = $1 AND d.state = 'accepted' ORDER BY e.id DESC LIMIT 1";
    Ok(row!(tx, (i64,), SQL, subscriber)?.map(|(id,)| id))
}

/// Whether this person's mailbox took an edition before this delivery, and nothing came back: one look for each edition, so it is
/// for the few who bounce.
///
/// # Errors
/// When the database fails.
pub async fn took_before(tx: &mut Tx, subscriber: i64, delivery: i64) -> Result<bool, StoreError> {
    const SQL: &str = "SELECT CAST(1 AS BIGINT) FROM editions e CROSS JOIN deliveries d \
        WHERE d.edition_id = e.id AND d.subscriber_id = $1 AND d.state = 'accepted' AND d.id < $2 \
            AND NOT EXISTS (SELECT 1 FROM bounces b WHERE b.delivery_id = d.id AND b.kind = 'bounce') LIMIT 1";
    Ok(row!(tx, (i64,), SQL, subscriber, delivery)?.is_some())
}

/// What recording did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    New,
    /// It was known, and less was known of it.
    Worse,
    /// Nothing that was not known.
    Known,
}

/// Enters a report about a mail. The same failure told twice is one (W147); only one that weighs more replaces it.
///
/// # Errors
/// When the database fails.
pub async fn enter(
    tx: &mut Tx,
    mailed: &Mailed,
    (inbound, known): (i64, bool),
    bounce: &Bounce,
    now: Timestamp,
) -> Result<Entered, StoreError> {
    const WORSE: &str = "UPDATE bounces SET class = $2, reason = $3, status = $4, said = $5, confirmed = $6, \
            points = $7, inbound_id = $8 \
        WHERE delivery_id = $1 AND kind = 'bounce' AND NOT (class = 'hard' AND confirmed = 1) \
            AND (($2 = 'hard' AND (class <> 'hard' OR confirmed < $6)) OR (class = 'unclassified' AND $2 <> 'unclassified'))";
    let class = bounce.class.map_or(UNCLASSIFIED, ReplyClass::as_str);
    let masked = MaskedText(&bounce.said).to_string();
    let said = Said {
        kind: "bounce",
        class,
        reason: &bounce.reason,
        status: &bounce.status,
        said: &masked,
        confirmed: bounce.confirmed,
        points: bounce.points,
    };
    if insert(tx, mailed, (inbound, known), &said, now).await? {
        return Ok(Entered::New);
    }
    let changed = run!(
        tx,
        WORSE,
        mailed.id,
        class,
        bounce.reason.as_str(),
        bounce.status.as_str(),
        masked.as_str(),
        i64::from(bounce.confirmed),
        bounce.points,
        inbound
    )?;
    Ok(if changed > 0 { Entered::Worse } else { Entered::Known })
}

/// Enters a complaint. Answers whether it is the first one about this mail.
///
/// # Errors
/// When the database fails.
pub async fn complain(
    tx: &mut Tx,
    mailed: &Mailed,
    inbound: i64,
    feedback: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let said = Said {
        kind: "complaint",
        class: "complaint",
        reason: feedback,
        status: "",
        said: "",
        confirmed: true,
        points: 0,
    };
    insert(tx, mailed, (inbound, false), &said, now).await
}

struct Said<'a> {
    kind: &'a str,
    class: &'a str,
    reason: &'a str,
    status: &'a str,
    said: &'a str,
    confirmed: bool,
    points: i64,
}

async fn insert(
    tx: &mut Tx,
    mailed: &Mailed,
    (inbound, known): (i64, bool),
    said: &Said<'_>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const SQL: &str = "INSERT INTO bounces (delivery_id, kind, edition_id, subscriber_id, lane, at, inbound_id, class, \
            reason, status, said, confirmed, points, known, stands) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 1) \
        ON CONFLICT (delivery_id, kind) DO NOTHING";
    let entered = run!(
        tx,
        SQL,
        mailed.id,
        said.kind,
        mailed.edition_id,
        mailed.subscriber_id,
        mailed.lane,
        now.millis(),
        inbound,
        said.class,
        said.reason,
        said.status,
        said.said,
        i64::from(said.confirmed),
        said.points,
        i64::from(known)
    )?;
    Ok(entered > 0)
}

/// A failure in the dialogue, settled for good.
#[derive(Clone, Debug)]
pub struct Refused<'a> {
    pub delivery: i64,
    pub attempt: i64,
    pub at: Timestamp,
    pub class: ReplyClass,
    pub status: &'a str,
    pub said: &'a str,
    pub points: i64,
}

/// Enters a failure of the dialogue, if its settlement took effect. Answers whether nothing was known of it.
///
/// # Errors
/// When the database fails.
pub async fn enter_refused(tx: &mut Tx, refused: &Refused<'_>) -> Result<bool, StoreError> {
    const SQL: &str = "INSERT INTO bounces (delivery_id, kind, edition_id, subscriber_id, lane, at, class, reason, status, \
            said, confirmed, points, known, stands) \
        SELECT d.id, 'bounce', d.edition_id, d.subscriber_id, d.lane, CAST($3 AS BIGINT), CAST($4 AS TEXT), \
            CAST($4 AS TEXT), CAST($5 AS TEXT), CAST($6 AS TEXT), 1, CAST($7 AS BIGINT), 0, 1 \
        FROM deliveries d WHERE d.id = $1 AND d.attempt = $2 AND d.settled_at = $3 \
            AND (d.state = 'refused' OR d.state = 'expired') \
        ON CONFLICT (delivery_id, kind) DO NOTHING";
    let entered = run!(
        tx,
        SQL,
        refused.delivery,
        refused.attempt,
        refused.at.millis(),
        refused.class.as_str(),
        refused.status,
        MaskedText(refused.said).to_string(),
        refused.points
    )?;
    Ok(entered > 0)
}

type IssueRow = (i64, i64, String, Option<String>, Option<String>, Option<i64>, Option<i64>);

/// What a person was sent of the editions around this one, oldest first, and what came back. Failures that no longer stand are none.
///
/// # Errors
/// When the database fails.
pub async fn history(tx: &mut Tx, subscriber: i64, edition: i64) -> Result<Vec<Issue>, StoreError> {
    const SQL: &str = "SELECT d.id, d.first_attempt_at, d.state, b.class, b.status, b.confirmed, b.points \
        FROM (SELECT * FROM (SELECT e.id FROM editions e WHERE e.queued_at IS NOT NULL AND e.id <= $2 \
                ORDER BY e.id DESC LIMIT $3 + 0) AS earlier \
            UNION ALL SELECT * FROM (SELECT e.id FROM editions e WHERE e.queued_at IS NOT NULL AND e.id > $2 \
                ORDER BY e.id LIMIT $4 + 0) AS later) AS n \
        CROSS JOIN deliveries d \
        LEFT JOIN bounces b ON b.delivery_id = d.id AND b.kind = 'bounce' AND b.stands = 1 \
        WHERE d.edition_id = n.id AND d.subscriber_id = $1 AND d.first_attempt_at IS NOT NULL \
        ORDER BY d.first_attempt_at, d.id";
    let found = rows!(tx, IssueRow, SQL, subscriber, edition, EARLIER, LATER)?;
    Ok(found.into_iter().map(issue).collect())
}

fn issue((delivery, at, state, class, status, confirmed, points): IssueRow) -> Issue {
    let result = match class {
        Some(class) => IssueResult::Bounced {
            class: ReplyClass::from_word(&class),
            status: status.unwrap_or_default(),
            confirmed: confirmed == Some(1),
            points: points.unwrap_or(0),
        },
        None if state == DeliveryState::Accepted.as_str() => IssueResult::Took,
        None => IssueResult::Nothing,
    };
    Issue { delivery, at: Timestamp(at), result }
}

/// What came back of a person so far stands against them no longer: they have another address, or an operator said so.
///
/// # Errors
/// When the database fails.
pub async fn forgive(tx: &mut Tx, subscriber: i64) -> Result<(), StoreError> {
    run!(tx, "UPDATE bounces SET stands = 0 WHERE subscriber_id = $1 AND stands = 1", subscriber)?;
    Ok(())
}

/// Counts a report about a lane in its slice of an hour, and answers what the last hour had: hard bounces of people who took mail
/// before, and refusals for policy. Those of the dialogue are counted where they are settled. Reads a handful of rows, however many
/// reports there are.
///
/// # Errors
/// When the database fails.
pub async fn count_report(
    tx: &mut Tx,
    lane: i64,
    (false_hard, policy): (bool, bool),
    now: Timestamp,
) -> Result<(i64, i64), StoreError> {
    const COUNT: &str = "INSERT INTO report_counts (lane_id, slice, false_hard, policy) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (lane_id, slice) DO UPDATE SET false_hard = report_counts.false_hard + excluded.false_hard, \
            policy = report_counts.policy + excluded.policy";
    const SUMS: &str = "SELECT false_hard, policy FROM report_counts WHERE lane_id = $1 AND slice <= $2";
    let slice = slice_of(now);
    run!(tx, "DELETE FROM report_counts WHERE lane_id = $1 AND slice < $2", lane, slice - SLICES)?;
    run!(tx, COUNT, lane, slice, i64::from(false_hard), i64::from(policy))?;
    let found = rows!(tx, (i64, i64), SUMS, lane, slice)?;
    Ok(found.into_iter().fold((0, 0), |sums, one| (sums.0 + one.0, sums.1 + one.1)))
}

/// Deliveries of an edition that a lane's providers took, counted up to `most`; `None`: of all lanes.
///
/// # Errors
/// When the database fails.
pub async fn taken(tx: &mut Tx, edition: i64, lane: Option<i64>, most: i64) -> Result<i64, StoreError> {
    const SQL: &str = "SELECT count(*) FROM (SELECT 1 FROM deliveries d WHERE d.edition_id = $1 AND d.state = 'accepted' \
            AND ($2 = -1 OR d.lane = $2) LIMIT $3 + 0) AS counted";
    Ok(row!(tx, (i64,), SQL, edition, lane.unwrap_or(-1), most)?.map_or(0, |(count,)| count))
}

/// Complaints about an edition, of one lane or of all.
///
/// # Errors
/// When the database fails.
pub async fn complaints(tx: &mut Tx, edition: i64, lane: Option<i64>) -> Result<i64, StoreError> {
    const SQL: &str = "SELECT count(*) FROM bounces WHERE edition_id = $1 AND kind = 'complaint' AND ($2 = -1 OR lane = $2)";
    Ok(row!(tx, (i64,), SQL, edition, lane.unwrap_or(-1))?.map_or(0, |(count,)| count))
}

/// What came back of an edition, by tier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CameBack {
    pub tier: String,
    /// After the relay had taken them.
    pub hard: i64,
    pub soft: i64,
    /// About us: policy, content.
    pub ours: i64,
    pub complaints: i64,
}

/// Reports and complaints of an edition, by tier; what was refused in the dialogue is in the edition's counts.
///
/// # Errors
/// When the database fails.
pub async fn of_edition(tx: &mut Tx, slug: &str) -> Result<Vec<CameBack>, StoreError> {
    const SQL: &str = "SELECT coalesce(t.tier, ''), b.kind, b.class, b.confirmed, count(*) FROM editions e \
        JOIN bounces b ON b.edition_id = e.id JOIN deliveries d ON d.id = b.delivery_id \
        JOIN bodies t ON t.id = d.body_id \
        WHERE e.slug = $1 AND b.inbound_id IS NOT NULL GROUP BY t.tier, b.kind, b.class, b.confirmed ORDER BY 1";
    let mut tiers: Vec<CameBack> = Vec::new();
    for (tier, kind, class, confirmed, count) in rows!(tx, (String, String, String, i64, i64), SQL, slug)? {
        if tiers.last().is_none_or(|last| last.tier != tier) {
            tiers.push(CameBack { tier, ..CameBack::default() });
        }
        let Some(last) = tiers.last_mut() else { continue };
        match (kind.as_str(), ReplyClass::from_word(&class)) {
            ("complaint", _) => last.complaints += count,
            (_, Some(ReplyClass::Hard)) if confirmed == 1 => last.hard += count,
            (_, Some(ReplyClass::Policy | ReplyClass::Content | ReplyClass::Relay)) => last.ours += count,
            _ => last.soft += count,
        }
    }
    Ok(tiers)
}
