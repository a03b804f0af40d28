//! `editions`, `edition_articles`, `bodies`: queueing an edition in one transaction, its states, its numbers.

use std::collections::BTreeMap;

use super::bodies::NewBody;
use super::sql::{extras_of_s, row, rows, run};
use super::{StoreError, Tx, edition_articles, word};
use crate::domain::breaker::Tally;
use crate::domain::delivery::{DeliveryKind, DeliveryState};
use crate::domain::edition::{Counts, EditionState};
use crate::domain::publication::TierId;
use crate::runtime::Timestamp;

/// How many rows one cancelling statement touches: short enough that LMTP and pages do not notice.
const CHUNK: i64 = 5000;

/// An edition with its frozen bodies, ready to be queued.
#[derive(Clone, Debug)]
pub struct NewEdition {
    pub slug: String,
    /// The slot and its local date, unique together; `None` for a one-off.
    pub slot: Option<(String, String)>,
    pub due_at: Timestamp,
    pub subject: String,
    pub articles: Vec<String>,
    pub bodies: Vec<NewBody>,
    pub lapsed: Option<TierId>,
    pub extra: bool,
    /// Nothing of it leaves before somebody approves.
    pub approval: bool,
}

/// What queueing did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    pub edition_id: i64,
    pub audience: i64,
    pub tiers: BTreeMap<TierId, i64>,
}

/// Writes the edition, its bodies and one delivery per person of the audience. `None`: the slug or the slot's date is there
/// already, or another edition has taken an article that the slot would take, and nothing was written.
///
/// # Errors
/// When the database fails; nothing is queued then.
pub async fn queue(tx: &mut Tx, edition: &NewEdition, now: Timestamp) -> Result<Option<Queued>, StoreError> {
    const INSERT: &str = "INSERT INTO editions (slug, state, slot, slot_date, due_at, queued_at, subject, audience, \
            reason, extra) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, '', $8) ON CONFLICT DO NOTHING RETURNING id";
    let state = if edition.approval { EditionState::WaitingApproval } else { EditionState::Sending };
    if edition.slot.is_some() && !edition_articles::are_free(tx, &edition.articles).await? {
        return Ok(None);
    }
    let (slot, date) = edition.slot.clone().unzip();
    let entered = row!(
        tx,
        (i64,),
        INSERT,
        edition.slug.as_str(),
        state.as_str(),
        slot,
        date,
        edition.due_at.millis(),
        now.millis(),
        edition.subject.as_str(),
        i64::from(edition.extra)
    )?;
    let Some((edition_id,)) = entered else { return Ok(None) };
    edition_articles::enter(tx, edition_id, &edition.articles).await?;
    for body in &edition.bodies {
        const BODY: &str = "INSERT INTO bodies (edition_id, tier, audience, frame, body, extra_limit) \
            VALUES ($1, $2, 0, $3, $4, $5)";
        let (frame, json) = (body.frame.as_str(), body.body.as_str());
        run!(tx, BODY, edition_id, body.tier.as_str(), frame, json, body.extra_limit)?;
    }
    queue_deliveries(tx, edition_id, edition.lapsed.as_ref(), now).await.map(Some)
}

/// By the rows just written, one after the other; the index by edition would fetch each of them for every tier.
pub(super) const PER_BODY: &str = "UPDATE bodies SET audience = c.people FROM \
        (SELECT d.body_id, count(*) AS people FROM deliveries d WHERE d.id > $2 AND +d.edition_id = $1 \
            GROUP BY d.body_id) AS c \
    WHERE bodies.id = c.body_id";

/// [`Audience::body_for`] as SQL: the bodies of the edition are the tiers of the audience, with their limits. Suppressions are
/// read as a set of ids, which costs a third of asking for each address.
///
/// [`Audience::body_for`]: crate::domain::entitlement::Audience::body_for
pub(super) fn deliveries_sql(lane: &str) -> String {
    format!("{INTO}{lane}{AUDIENCE}")
}

/// The lane where the config has none, and where it has some.
pub(super) const ONE_LANE: &str = "0";
pub(super) const SEVERAL_LANES: &str =
    "coalesce((SELECT m.lane_id FROM lane_domains m WHERE m.domain = s.domain), 0)";

const INTO: &str = "INSERT INTO deliveries (kind, edition_id, subscriber_id, body_id, lane, stream, state, \
        due_at, attempt, uncertain_count) \
    SELECT 'edition', $1, s.id, b.id, ";
const AUDIENCE: &str = concat!(
    ", $1, 'queued', $2, 0, 0 \
    FROM subscribers s JOIN bodies b ON b.edition_id = $1 AND b.tier = \
        CASE WHEN s.term_ends_at IS NOT NULL AND s.term_ends_at <= $2 THEN $3 ELSE s.tier END \
    WHERE s.status = 'active' AND s.id NOT IN \
        (SELECT y.id FROM suppressions x JOIN subscribers y ON y.address_key = x.address_key) \
    AND (s.paused_until IS NULL OR s.paused_until <= $2) \
    AND (b.extra_limit IS NULL OR b.extra_limit > (",
    extras_of_s!(),
    "))"
);

async fn queue_deliveries(
    tx: &mut Tx,
    edition_id: i64,
    lapsed: Option<&TierId>,
    now: Timestamp,
) -> Result<Queued, StoreError> {
    let lapsed = lapsed.map(|tier| tier.0.clone());
    let newest =
        row!(tx, (Option<i64>,), "SELECT max(id) FROM deliveries")?.and_then(|(id,)| id).unwrap_or(0);
    const LANES: &str = "SELECT CAST(1 AS BIGINT) WHERE EXISTS (SELECT 1 FROM lane_domains)";
    let several = row!(tx, (i64,), LANES)?.is_some();
    let sql = deliveries_sql(if several { SEVERAL_LANES } else { ONE_LANE });
    let total = run!(tx, sqlx::AssertSqlSafe(sql), edition_id, now.millis(), lapsed)? as i64;
    run!(tx, PER_BODY, edition_id, newest)?;
    run!(tx, "UPDATE editions SET audience = $2 WHERE id = $1", edition_id, total)?;
    const TIERS: &str = "SELECT tier, audience FROM bodies WHERE edition_id = $1 AND tier IS NOT NULL";
    let tiers = rows!(tx, (String, i64), TIERS, edition_id)?;
    Ok(Queued {
        edition_id,
        audience: total,
        tiers: tiers.into_iter().map(|(tier, count)| (TierId(tier), count)).collect(),
    })
}

/// An edition that will never be sent.
#[derive(Clone, Debug)]
pub struct Unsent<'a> {
    pub slug: &'a str,
    pub slot: Option<(String, String)>,
    /// `missed` or `skipped`.
    pub state: EditionState,
    pub due_at: Timestamp,
    pub reason: &'a str,
}

/// Enters an edition that will never be sent, so that it is decided once. Answers whether it is new.
///
/// # Errors
/// When the database fails.
pub async fn enter_unsent(tx: &mut Tx, unsent: &Unsent<'_>, now: Timestamp) -> Result<bool, StoreError> {
    const SQL: &str = "INSERT INTO editions (slug, state, slot, slot_date, due_at, finished_at, subject, audience, \
            reason) VALUES ($1, $2, $3, $4, $5, $6, '', 0, $7) ON CONFLICT DO NOTHING";
    let (slot, date) = unsent.slot.clone().unzip();
    let (due_at, now) = (unsent.due_at.millis(), now.millis());
    Ok(run!(tx, SQL, unsent.slug, unsent.state.as_str(), slot, date, due_at, now, unsent.reason)? > 0)
}

/// The articles that went out to a tier, extras left out, each with the instant at which it first did.
///
/// # Errors
/// When the database fails.
pub async fn sent_articles(tx: &mut Tx, tier: &TierId) -> Result<BTreeMap<String, Timestamp>, StoreError> {
    const SQL: &str = "SELECT a.article_id, min(e.queued_at) FROM edition_articles a \
        JOIN editions e ON e.id = a.edition_id \
        WHERE e.queued_at IS NOT NULL AND e.extra = 0 AND (e.state = 'sent' OR e.state = 'sending' \
            OR e.state = 'paused' OR e.state = 'attention') \
        AND EXISTS (SELECT 1 FROM bodies b WHERE b.edition_id = e.id AND b.tier = $1) \
        GROUP BY a.article_id";
    let found = rows!(tx, (String, i64), SQL, tier.as_str())?;
    Ok(found.into_iter().map(|(id, at)| (id, Timestamp(at))).collect())
}

/// One tier's numbers: its frozen audience, and what became of those who got its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TierCounts {
    pub audience: i64,
    pub counts: Counts,
}

/// One edition with its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditionRow {
    pub id: i64,
    pub slug: String,
    pub state: EditionState,
    pub slot: Option<String>,
    pub due_at: Timestamp,
    pub queued_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub subject: String,
    pub audience: i64,
    pub reason: String,
    pub counts: Counts,
    /// In the order in which the bodies were entered.
    pub tiers: Vec<(TierId, TierCounts)>,
}

#[derive(sqlx::FromRow)]
struct Bare {
    id: i64,
    slug: String,
    state: String,
    slot: Option<String>,
    due_at: i64,
    queued_at: Option<i64>,
    finished_at: Option<i64>,
    subject: String,
    audience: i64,
    reason: String,
}

const COLUMNS: &str = "SELECT id, slug, state, slot, due_at, queued_at, finished_at, subject, audience, reason \
    FROM editions";

/// # Errors
/// When the database fails.
pub async fn show(tx: &mut Tx, slug: &str) -> Result<Option<EditionRow>, StoreError> {
    let sql = sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE slug = $1"));
    match row!(tx, Bare, sql, slug)? {
        Some(bare) => with_numbers(tx, bare).await.map(Some),
        None => Ok(None),
    }
}

/// The slug of the edition with this id.
///
/// # Errors
/// When the database fails.
pub async fn slug(tx: &mut Tx, id: i64) -> Result<Option<String>, StoreError> {
    Ok(row!(tx, (String,), "SELECT slug FROM editions WHERE id = $1", id)?.map(|(slug,)| slug))
}

/// # Errors
/// When the database fails.
pub async fn id(tx: &mut Tx, slug: &str) -> Result<Option<i64>, StoreError> {
    Ok(row!(tx, (i64,), "SELECT id FROM editions WHERE slug = $1", slug)?.map(|(id,)| id))
}

/// Makes everybody else who changes this edition, or tries its deliveries again, wait until this transaction ends.
///
/// # Errors
/// When the database fails.
pub async fn hold(tx: &mut Tx, id: i64) -> Result<(), StoreError> {
    run!(tx, "UPDATE editions SET state = state WHERE id = $1", id)?;
    Ok(())
}

/// Where an edition stands, without any numbers: those are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub state: EditionState,
    pub slot: Option<String>,
    pub due_at: Timestamp,
    /// Why it stands there; empty where it simply went on.
    pub reason: String,
}

/// # Errors
/// When the database fails.
pub async fn standing(tx: &mut Tx, slug: &str) -> Result<Option<Standing>, StoreError> {
    const SQL: &str = "SELECT state, slot, due_at, reason FROM editions WHERE slug = $1";
    let found = row!(tx, (String, Option<String>, i64, String), SQL, slug)?;
    let standing = |(state, slot, due_at, reason): (String, Option<String>, i64, String)| {
        let state = word("an edition's state", &state, EditionState::from_word)?;
        Ok(Standing { state, slot, due_at: Timestamp(due_at), reason })
    };
    found.map(standing).transpose()
}

/// The subject under which an edition went out.
///
/// # Errors
/// When the database fails.
pub async fn show_subject(tx: &mut Tx, slug: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "SELECT subject FROM editions WHERE slug = $1";
    Ok(row!(tx, (String,), SQL, slug)?.map(|(subject,)| subject))
}

/// All of them, the newest due date first.
///
/// # Errors
/// When the database fails.
pub async fn list(tx: &mut Tx) -> Result<Vec<EditionRow>, StoreError> {
    let sql = sqlx::AssertSqlSafe(format!("{COLUMNS} ORDER BY due_at DESC, id DESC"));
    let mut editions = Vec::new();
    for bare in rows!(tx, Bare, sql)? {
        editions.push(with_numbers(tx, bare).await?);
    }
    Ok(editions)
}

/// Slugs of editions of which everybody was tried once, and whose editors have not been told.
///
/// # Errors
/// When the database fails.
pub async fn first_passes(tx: &mut Tx) -> Result<Vec<String>, StoreError> {
    const SQL: &str = "SELECT e.slug FROM editions e WHERE e.first_pass_at IS NULL AND e.queued_at IS NOT NULL \
            AND (e.state = 'sending' OR e.state = 'sent' OR e.state = 'attention') \
        AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.state = 'queued' AND d.stream = e.id \
            AND d.first_attempt_at IS NULL) \
        AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.state = 'leased' AND d.stream = e.id) ORDER BY e.id";
    Ok(rows!(tx, (String,), SQL)?.into_iter().map(|(slug,)| slug).collect())
}

/// Answers whether nobody marked it before.
///
/// # Errors
/// When the database fails.
pub async fn mark_first_pass(tx: &mut Tx, slug: &str, now: Timestamp) -> Result<bool, StoreError> {
    const SQL: &str = "UPDATE editions SET first_pass_at = $2 WHERE slug = $1 AND first_pass_at IS NULL";
    Ok(run!(tx, SQL, slug, now.millis())? > 0)
}

/// How many editions went into the queue so far: the next one's number is one more.
///
/// # Errors
/// When the database fails.
pub async fn queued_count(tx: &mut Tx) -> Result<u64, StoreError> {
    const SQL: &str = "SELECT count(*) FROM editions WHERE queued_at IS NOT NULL";
    let (count,) = row!(tx, (i64,), SQL)?.unwrap_or_default();
    Ok(count.unsigned_abs())
}

/// The slugs that the store knows, whatever became of them.
///
/// # Errors
/// When the database fails.
pub async fn known_slugs(tx: &mut Tx) -> Result<Vec<String>, StoreError> {
    Ok(rows!(tx, (String,), "SELECT slug FROM editions")?.into_iter().map(|(slug,)| slug).collect())
}

async fn with_numbers(tx: &mut Tx, bare: Bare) -> Result<EditionRow, StoreError> {
    const PER_BODY: &str = "SELECT d.body_id, d.state, count(*) FROM deliveries d WHERE d.edition_id = $1 \
        GROUP BY d.body_id, d.state";
    const BODIES: &str =
        "SELECT id, tier, audience FROM bodies WHERE edition_id = $1 AND tier IS NOT NULL ORDER BY id";
    let mut counts = Counts::default();
    let mut per_body: BTreeMap<i64, Counts> = BTreeMap::new();
    for (body, state, count) in rows!(tx, (i64, String, i64), PER_BODY, bare.id)? {
        let state = word("a delivery's state", &state, DeliveryState::from_word)?;
        *counts.of(state) += count;
        *per_body.entry(body).or_default().of(state) += count;
    }
    let bodies = rows!(tx, (i64, String, i64), BODIES, bare.id)?;
    let tiers = bodies
        .into_iter()
        .map(|(id, tier, audience)| {
            let counts = per_body.get(&id).copied().unwrap_or_default();
            (TierId(tier), TierCounts { audience, counts })
        })
        .collect();
    Ok(EditionRow {
        id: bare.id,
        state: word("an edition's state", &bare.state, EditionState::from_word)?,
        slug: bare.slug,
        slot: bare.slot,
        due_at: Timestamp(bare.due_at),
        queued_at: bare.queued_at.map(Timestamp),
        finished_at: bare.finished_at.map(Timestamp),
        subject: bare.subject,
        audience: bare.audience,
        reason: bare.reason,
        counts,
        tiers,
    })
}

/// Moves an edition from one of `from` to `to`. Answers whether it was in one of them.
///
/// # Errors
/// When the database fails.
pub async fn change_state(
    tx: &mut Tx,
    slug: &str,
    from: &[EditionState],
    to: EditionState,
    reason: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    // Who sets it going has seen what a breaker counted.
    let again = if to == EditionState::Sending { ", decided = 0, hard = 0, content = 0" } else { "" };
    let words: Vec<String> = from.iter().map(|state| format!("'{state}'")).collect();
    let sql = format!(
        "UPDATE editions SET state = $2, reason = $3, finished_at = $4{again} WHERE slug = $1 AND state IN ({})",
        words.join(", ")
    );
    let finished = to.is_over().then_some(now.millis());
    Ok(run!(tx, sqlx::AssertSqlSafe(sql), slug, to.as_str(), reason, finished)? > 0)
}

/// Adds to what a breaker counts of an edition. Answers the sums since it was last set going; `None`: it is not being sent.
///
/// # Errors
/// When the database fails.
pub async fn count(tx: &mut Tx, id: i64, new: Tally) -> Result<Option<Tally>, StoreError> {
    const SQL: &str = "UPDATE editions SET decided = decided + $2, hard = hard + $3, content = content + $4 \
        WHERE id = $1 AND state = 'sending' RETURNING decided, hard, content";
    let sums = row!(tx, (i64, i64, i64), SQL, id, new.decided, new.hard, new.content)?;
    Ok(sums.map(|(decided, hard, content)| Tally { decided, hard, content }))
}

/// A breaker stops an edition. Answers its slug, unless it was not being sent. Editors are told by whoever finds it in
/// [`untold`].
///
/// # Errors
/// When the database fails.
pub async fn stop(tx: &mut Tx, id: i64, reason: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "UPDATE editions SET state = 'attention', reason = $2, told = 0 \
        WHERE id = $1 AND state = 'sending' RETURNING slug";
    Ok(row!(tx, (String,), SQL, id, reason)?.map(|(slug,)| slug))
}

/// Editions that a breaker stopped and whose editors have not been told.
///
/// # Errors
/// When the database fails.
pub async fn untold(tx: &mut Tx) -> Result<Vec<String>, StoreError> {
    Ok(rows!(tx, (String,), "SELECT slug FROM editions WHERE told = 0 ORDER BY id")?
        .into_iter()
        .map(|(slug,)| slug)
        .collect())
}

/// Answers whether nobody marked it before.
///
/// # Errors
/// When the database fails.
pub async fn mark_told(tx: &mut Tx, slug: &str) -> Result<bool, StoreError> {
    Ok(run!(tx, "UPDATE editions SET told = 1 WHERE slug = $1 AND told = 0", slug)? > 0)
}

/// Turns one chunk of a cancelled edition's waiting rows into `skipped`. Answers how many; 0: it is done. The state of the
/// edition must have been changed before, so that nobody claims from it.
///
/// # Errors
/// When the database fails.
pub async fn skip_chunk(tx: &mut Tx, edition_id: i64, now: Timestamp) -> Result<u64, StoreError> {
    const SQL: &str = "UPDATE deliveries SET state = 'skipped', due_at = NULL, settled_at = $2, \
            last_reply = 'the edition was cancelled' \
        WHERE id IN (SELECT id FROM deliveries WHERE state = 'queued' AND stream = $1 LIMIT $3 + 0)";
    Ok(run!(tx, SQL, edition_id, now.millis(), CHUNK)?)
}

/// Cancelled editions of which something is still in the queue: what was in flight at the time and came back, or what a
/// cancelling command did not live to skip.
///
/// # Errors
/// When the database fails.
pub async fn cancelled_with_rows(tx: &mut Tx) -> Result<Vec<i64>, StoreError> {
    const SQL: &str = "SELECT e.id FROM editions e WHERE (e.state = 'cancelled' OR e.state = 'missed') AND EXISTS \
        (SELECT 1 FROM deliveries d WHERE d.state = 'queued' AND d.stream = e.id)";
    Ok(rows!(tx, (i64,), SQL)?.into_iter().map(|(id,)| id).collect())
}

/// Whether an edition has rows that will still be sent, and rows that wait for somebody's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    pub moving: bool,
    pub held: bool,
}

/// Reads only the partial indexes of unsettled rows, so that asking is cheap while millions are settled.
///
/// # Errors
/// When the database fails.
pub async fn open(tx: &mut Tx, edition_id: i64) -> Result<Open, StoreError> {
    const MOVING: &str = "SELECT CAST(1 AS BIGINT) WHERE \
        EXISTS (SELECT 1 FROM deliveries WHERE state = 'queued' AND stream = $1) \
        OR EXISTS (SELECT 1 FROM deliveries WHERE state = 'leased' AND stream = $1) \
        OR EXISTS (SELECT 1 FROM deliveries WHERE state = 'uncertain' AND stream = $1 AND due_at IS NOT NULL)";
    const HELD: &str = "SELECT CAST(1 AS BIGINT) WHERE EXISTS (SELECT 1 FROM deliveries \
        WHERE (state = 'uncertain' OR state = 'parked') AND stream = $1)";
    Ok(Open {
        moving: row!(tx, (i64,), MOVING, edition_id)?.is_some(),
        held: row!(tx, (i64,), HELD, edition_id)?.is_some(),
    })
}

/// Ids and slugs of the editions in one state.
///
/// # Errors
/// When the database fails.
pub async fn in_state(tx: &mut Tx, state: EditionState) -> Result<Vec<(i64, String)>, StoreError> {
    const SQL: &str = "SELECT id, slug FROM editions WHERE state = $1 ORDER BY id";
    Ok(rows!(tx, (i64, String), SQL, state.as_str())?)
}

/// The stream of the edition's deliveries.
pub fn stream(edition_id: i64) -> i64 {
    DeliveryKind::Edition.stream(edition_id)
}
