//! Claiming: leases due deliveries and reads consent, suppression and entitlement again in the same transaction.
//!
//! A claim is the write-ahead mark: it is committed before the peer hears of the message. Planner trap, measured: `LIMIT $n` alone
//! is prepared anew at every execution on SQLite, hence `+ 0`.

use super::deliveries::{Settled, settle};
use super::sql::{extras_of_s, row, rows, run};
use super::{Dialect, StoreError, Tx, word};
use crate::domain::address::Address;
use crate::domain::delivery::{DeliveryKind, DeliveryState, Settlement};
use crate::domain::entitlement::{Audience, Person, Skip};
use crate::domain::publication::TierId;
use crate::domain::subscriber::{SAMPLE_NAME, SubscriberStatus};
use crate::domain::suppression::SuppressionReason;
use crate::runtime::Timestamp;

/// What a gatherer asks for on behalf of its free connections.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    pub owner: i64,
    /// The key that signs a first attempt; later ones keep theirs, so that envelope and Message-ID stay the same.
    pub key_id: i64,
    pub lane: i64,
    /// Editions stay where they are: the lane is paused.
    pub desk_only: bool,
    pub limit: usize,
    /// What a lapsed person counts as.
    pub lapsed: Option<TierId>,
    pub now: Timestamp,
}

/// A delivery in flight: leased by us, checked, with all that its mail needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    pub id: i64,
    pub lane: i64,
    pub kind: DeliveryKind,
    pub edition_id: Option<i64>,
    pub subscriber_id: Option<i64>,
    pub thread_id: Option<i64>,
    pub staff_id: Option<i64>,
    pub body_id: i64,
    pub attempt: i64,
    pub first_attempt_at: Timestamp,
    pub uncertain_before: i64,
    pub key_id: i64,
    pub address: Address,
    pub name: String,
    /// What the person counts as now, or the tier that a proof is of; `None` for staff.
    pub tier: Option<TierId>,
    pub term_ends_at: Option<Timestamp>,
    /// The queued edition that a proof is of.
    pub proof_of: Option<i64>,
    /// Which claim of this process it is; the ledger counts them.
    pub lease: u64,
}

impl Claimed {
    /// Somebody of the house gets it.
    pub fn is_for_the_house(&self) -> bool {
        self.kind.is_for_the_house(self.subscriber_id, self.staff_id)
    }

    /// A tier's mail to somebody who checks it, not to a reader.
    pub fn is_proof(&self) -> bool {
        self.subscriber_id.is_none() && self.tier.is_some()
    }
}

#[derive(sqlx::FromRow)]
struct LeasedRow {
    id: i64,
    lane: i64,
    kind: String,
    edition_id: Option<i64>,
    subscriber_id: Option<i64>,
    thread_id: Option<i64>,
    staff_id: Option<i64>,
    address: Option<String>,
    body_id: i64,
    attempt: i64,
    first_attempt_at: i64,
    uncertain_count: i64,
    key_id: i64,
    /// A report said that an earlier try of it failed.
    came_back: Option<i64>,
    #[sqlx(flatten)]
    person: PersonRow,
}

/// The subscriber as they are now, and the tier that the body was made for; all of it empty for staff.
#[derive(sqlx::FromRow)]
struct PersonRow {
    person_address: Option<String>,
    person_name: Option<String>,
    person_tier: Option<String>,
    person_status: Option<String>,
    term_ends_at: Option<i64>,
    paused_until: Option<i64>,
    suppression: Option<String>,
    body_tier: Option<String>,
    extra_limit: Option<i64>,
}

/// An owner that was declared dead claims nothing, however alive it is.
const CLAIM: &str = "UPDATE deliveries SET state = 'leased', owner = $1, attempt = attempt + 1, \
        first_attempt_at = coalesce(first_attempt_at, $2), key_id = coalesce(key_id, $3) \
    WHERE id ";
/// Of streams with due rows: desk mail first, then sending editions, the newest first.
const CANDIDATES: &str = "SELECT d.id FROM deliveries d \
        WHERE d.state = 'queued' AND d.lane = $4 AND d.due_at <= $2 + 0 \
            AND EXISTS (SELECT 1 FROM owners o WHERE o.id = $1 AND o.ended_at IS NULL) AND d.stream = ( \
            SELECT c.stream FROM ( \
                SELECT column1 AS stream FROM (VALUES (-2), (-1)) AS desk \
                UNION ALL SELECT e.id FROM editions e WHERE e.state = 'sending' \
            ) AS c \
            WHERE c.stream < $6 AND EXISTS (SELECT 1 FROM deliveries x WHERE x.state = 'queued' AND x.lane = $4 \
                AND x.stream = c.stream AND x.due_at <= $2 + 0) \
            ORDER BY c.stream > 0, abs(c.stream) DESC LIMIT 1) \
        ORDER BY d.due_at, d.id LIMIT $5 + 0";
/// The person is read here and not by a query of their own: a call more in each transaction costs more than seven lookups.
const CLAIM_RETURNING: &str = " RETURNING id, lane, kind, edition_id, subscriber_id, thread_id, staff_id, address, \
    body_id, attempt, first_attempt_at, uncertain_count, key_id, \
    CASE WHEN attempt > 1 THEN (SELECT CAST(1 AS BIGINT) FROM bounces x \
        WHERE x.delivery_id = deliveries.id AND x.kind = 'bounce') END AS came_back, \
    (SELECT s.address FROM subscribers s WHERE s.id = subscriber_id) AS person_address, \
    (SELECT s.name FROM subscribers s WHERE s.id = subscriber_id) AS person_name, \
    (SELECT s.tier FROM subscribers s WHERE s.id = subscriber_id) AS person_tier, \
    (SELECT s.status FROM subscribers s WHERE s.id = subscriber_id) AS person_status, \
    (SELECT s.term_ends_at FROM subscribers s WHERE s.id = subscriber_id) AS term_ends_at, \
    (SELECT s.paused_until FROM subscribers s WHERE s.id = subscriber_id) AS paused_until, \
    (SELECT x.reason FROM subscribers s JOIN suppressions x ON x.address_key = s.address_key \
        WHERE s.id = subscriber_id) AS suppression, \
    (SELECT b.tier FROM bodies b WHERE b.id = body_id) AS body_tier, \
    (SELECT b.extra_limit FROM bodies b WHERE b.id = body_id) AS extra_limit";

pub(super) fn claim_sql(dialect: Dialect) -> String {
    let (before, after) = dialect.around_claim();
    format!("{CLAIM}{before}{CANDIDATES}{after}{CLAIM_RETURNING}")
}

/// Leases up to `limit` due deliveries of one lane and reads consent, suppression and entitlement again in the same transaction.
/// Who may no longer get it becomes `skipped` and is not in the answer; a lapsed person gets the fallback tier's body.
///
/// # Errors
/// When the database fails; nothing is leased then.
pub async fn claim(tx: &mut Tx, request: &ClaimRequest) -> Result<Vec<Claimed>, StoreError> {
    let sql = claim_sql(tx.dialect());
    let mut claimed = Vec::with_capacity(request.limit);
    while claimed.len() < request.limit {
        let wanted = (request.limit - claimed.len()) as i64;
        let mut leased = rows!(
            tx,
            LeasedRow,
            sqlx::AssertSqlSafe(sql.clone()),
            request.owner,
            request.now.millis(),
            request.key_id,
            request.lane,
            wanted,
            if request.desk_only { 0 } else { i64::MAX }
        )?;
        if leased.is_empty() {
            break;
        }
        // RETURNING has no order of its own.
        leased.sort_by_key(|row| (row.attempt, row.id));
        admit(tx, request, leased, &mut claimed).await?;
    }
    Ok(claimed)
}

/// Sorts freshly leased rows into those that may be sent and those that are skipped.
async fn admit(
    tx: &mut Tx,
    request: &ClaimRequest,
    leased: Vec<LeasedRow>,
    claimed: &mut Vec<Claimed>,
) -> Result<(), StoreError> {
    let mut skipped = Vec::new();
    for row in leased {
        let kind = word("a delivery's kind", &row.kind, DeliveryKind::from_word)?;
        if row.came_back.is_some() {
            skipped.push((row, Skip::CameBack));
            continue;
        }
        if row.subscriber_id.is_none() {
            match may_get_desk_mail(tx, &row).await? {
                Ok(()) if row.person.body_tier.is_some() => match to_checker(tx, row, kind).await? {
                    Ok(proof) => claimed.push(proof),
                    Err(skip) => skipped.push(skip),
                },
                Ok(()) => claimed.push(to_staff(row, kind)?),
                Err(skip) => skipped.push((row, skip)),
            }
            continue;
        }
        match body_now(tx, request, &row, kind).await? {
            Ok((body_id, tier)) => claimed.push(to_person(LeasedRow { body_id, ..row }, kind, tier)?),
            Err(skip) => skipped.push((row, skip)),
        }
    }
    let settled: Vec<Settled> =
        skipped.into_iter().map(|(row, skip)| skip_row(request, &row, skip)).collect();
    settle(tx, &settled).await?;
    Ok(())
}

/// The body that this person gets now. A delivery that is not of an edition was asked for by the person: it keeps its own.
async fn body_now(
    tx: &mut Tx,
    request: &ClaimRequest,
    row: &LeasedRow,
    kind: DeliveryKind,
) -> Result<Result<(i64, TierId), Skip>, StoreError> {
    let person = &row.person;
    let status = person.person_status.as_deref().ok_or_else(nobody)?;
    let now = Person {
        status: word("a subscriber's status", status, SubscriberStatus::from_word)?,
        tier: TierId(person.person_tier.clone().unwrap_or_default()),
        term_ends_at: person.term_ends_at.map(Timestamp),
        suppression: person
            .suppression
            .as_deref()
            .map(|reason| word("a suppression", reason, SuppressionReason::from_word))
            .transpose()?,
        paused_until: person.paused_until.map(Timestamp),
        extras_used: extras_used(tx, row).await?,
    };
    let (DeliveryKind::Edition, Some(edition)) = (kind, row.edition_id) else {
        return Ok(match now.suppression {
            Some(reason) if reason != SuppressionReason::Unsubscribed => Err(Skip::Suppressed(reason)),
            _ if person.person_address.as_deref() == Some("") => Err(Skip::Erased),
            _ => Ok((row.body_id, now.tier)),
        });
    };
    let own = person.body_tier.as_deref().map(TierId::from);
    let mut audience = Audience {
        extra_limits: own.clone().zip(person.extra_limit).into_iter().collect(),
        tiers: own.into_iter().collect(),
        lapsed: request.lapsed.clone(),
    };
    match audience.body_for(&now, request.now) {
        Ok(tier) => return Ok(Ok((row.body_id, tier.clone()))),
        Err(Skip::NotEntitled) => {}
        Err(skip) => return Ok(Err(skip)),
    }
    // The person counts as another tier than when the edition was queued.
    const BODIES: &str =
        "SELECT tier, id, extra_limit FROM bodies WHERE edition_id = $1 AND tier IS NOT NULL";
    let bodies = rows!(tx, (String, i64, Option<i64>), BODIES, edition)?;
    audience.tiers = bodies.iter().map(|(tier, _, _)| TierId(tier.clone())).collect();
    audience.extra_limits =
        bodies.iter().filter_map(|(tier, _, limit)| Some((TierId(tier.clone()), (*limit)?))).collect();
    let tier = match audience.body_for(&now, request.now) {
        Ok(tier) => tier.clone(),
        Err(skip) => return Ok(Err(skip)),
    };
    let body = bodies.iter().find(|(name, _, _)| *name == tier.0).map_or(row.body_id, |(_, id, _)| *id);
    run!(tx, "UPDATE deliveries SET body_id = $2 WHERE id = $1", row.id, body)?;
    Ok(Ok((body, tier)))
}

/// Extras of this person's term without this one; asked for extra editions only.
async fn extras_used(tx: &mut Tx, row: &LeasedRow) -> Result<i64, StoreError> {
    const SQL: &str =
        concat!("SELECT (", extras_of_s!(), " AND u.id <> $2) FROM subscribers s WHERE s.id = $1");
    if row.person.extra_limit.is_none() {
        return Ok(0);
    }
    Ok(row!(tx, (i64,), SQL, row.subscriber_id, row.id)?.map_or(0, |(count,)| count))
}

/// Who is no subscriber: nothing goes to a suppressed address, unless it is one of the house, and no subscriber's words to somebody
/// who has left the desk.
async fn may_get_desk_mail(tx: &mut Tx, row: &LeasedRow) -> Result<Result<(), Skip>, StoreError> {
    if let Some(staff) = row.staff_id {
        const ACTIVE: &str = "SELECT active FROM staff WHERE id = $1";
        if row!(tx, (i64,), ACTIVE, staff)?.is_none_or(|(active,)| active == 0) {
            return Ok(Err(Skip::LeftTheDesk));
        }
    }
    let address = Address::trusted(row.address.clone().unwrap_or_default());
    if address.as_str().is_empty() {
        return Ok(Err(Skip::Erased));
    }
    let suppression = super::suppressions::of(tx, &address).await?;
    let kind = word("a delivery's kind", &row.kind, DeliveryKind::from_word)?;
    // Who wants no newsletter any more, and works here, still hears of their work; so does who could not be reached once.
    let counts = |reason| match kind.is_for_the_house(row.subscriber_id, row.staff_id) {
        true => matches!(reason, SuppressionReason::Manual | SuppressionReason::Erased),
        false => reason != SuppressionReason::Unsubscribed,
    };
    let suppression = suppression.filter(|found| counts(found.reason));
    Ok(suppression.map_or(Ok(()), |found| Err(Skip::Suppressed(found.reason))))
}

fn to_staff(row: LeasedRow, kind: DeliveryKind) -> Result<Claimed, StoreError> {
    let address = row.address.clone().ok_or_else(nobody)?;
    Ok(Claimed {
        address: Address::trusted(address),
        name: String::new(),
        tier: None,
        term_ends_at: None,
        ..bare(row, kind)
    })
}

/// A proof: shown as one person sees it, or a sample reader. Of an edition that will not be sent, none leaves any more.
async fn to_checker(
    tx: &mut Tx,
    row: LeasedRow,
    kind: DeliveryKind,
) -> Result<Result<Claimed, (LeasedRow, Skip)>, StoreError> {
    const SQL: &str = "SELECT s.name, s.term_ends_at, b.edition_id, \
            (SELECT e.id FROM editions e WHERE e.id = b.edition_id \
                AND (e.state = 'cancelled' OR e.state = 'missed')) AS ended \
        FROM deliveries d JOIN bodies b ON b.id = d.body_id \
        LEFT JOIN subscribers s ON s.id = d.as_subscriber_id WHERE d.id = $1";
    type Shown = (Option<String>, Option<i64>, Option<i64>, Option<i64>);
    let (name, term_ends_at, proof_of, ended) = row!(tx, Shown, SQL, row.id)?.unwrap_or_default();
    if ended.is_some() {
        return Ok(Err((row, Skip::EditionEnded)));
    }
    let name = name.unwrap_or_else(|| SAMPLE_NAME.to_owned());
    let tier = row.person.body_tier.clone().map(TierId);
    let term_ends_at = term_ends_at.map(Timestamp);
    Ok(Ok(Claimed { name, tier, term_ends_at, proof_of, ..to_staff(row, kind)? }))
}

fn to_person(mut row: LeasedRow, kind: DeliveryKind, tier: TierId) -> Result<Claimed, StoreError> {
    let (address, name) = (row.person.person_address.take(), row.person.person_name.take());
    Ok(Claimed {
        address: Address::trusted(address.ok_or_else(nobody)?),
        name: name.unwrap_or_default(),
        tier: Some(tier),
        term_ends_at: row.person.term_ends_at.map(Timestamp),
        ..bare(row, kind)
    })
}

fn nobody() -> StoreError {
    StoreError::Corrupt { what: "a delivery", why: "it has no recipient".into() }
}

fn bare(row: LeasedRow, kind: DeliveryKind) -> Claimed {
    Claimed {
        id: row.id,
        lane: row.lane,
        kind,
        edition_id: row.edition_id,
        subscriber_id: row.subscriber_id,
        thread_id: row.thread_id,
        staff_id: row.staff_id,
        body_id: row.body_id,
        attempt: row.attempt,
        first_attempt_at: Timestamp(row.first_attempt_at),
        uncertain_before: row.uncertain_count,
        key_id: row.key_id,
        address: Address::trusted(String::new()),
        name: String::new(),
        tier: None,
        term_ends_at: None,
        proof_of: None,
        lease: 0,
    }
}

fn skip_row(request: &ClaimRequest, row: &LeasedRow, skip: Skip) -> Settled {
    Settled {
        delivery: row.id,
        attempt: row.attempt,
        owner: request.owner,
        relay: String::new(),
        at: request.now,
        settlement: Settlement {
            state: DeliveryState::Skipped,
            due_at: None,
            last_reply: skip.to_string(),
            burns_attempt: true,
            suppress: None,
        },
        recipient: None,
    }
}
