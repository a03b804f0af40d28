//! `editions`, `edition_articles`, `bodies`: queueing an edition in one transaction, its states, its numbers.

use std::collections::BTreeMap;

use super::sql::{row, rows, run};
use super::{StoreError, Tx, word};
use crate::domain::delivery::{DeliveryKind, DeliveryState};
use crate::domain::edition::{Counts, EditionState};
use crate::domain::entitlement::Audience;
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
}

/// One tier's frozen body as it is stored.
#[derive(Clone, Debug)]
pub struct NewBody {
    pub tier: TierId,
    /// JSON of `mail`'s frame.
    pub frame: String,
    /// JSON of `domain::body::Body`.
    pub body: String,
}

/// What queueing did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    pub edition_id: i64,
    pub audience: i64,
    pub tiers: BTreeMap<TierId, i64>,
}

/// Writes the edition, its bodies and one delivery per person of the audience. `None`: the slug or the slot's date is there
/// already, and nothing was written.
///
/// # Errors
/// When the database fails; nothing is queued then.
pub async fn queue(tx: &mut Tx, edition: &NewEdition, now: Timestamp) -> Result<Option<Queued>, StoreError> {
    const INSERT: &str = "INSERT INTO editions (slug, state, slot, slot_date, due_at, queued_at, subject, audience, \
            reason) VALUES ($1, 'sending', $2, $3, $4, $5, $6, 0, '') ON CONFLICT DO NOTHING RETURNING id";
    let (slot, date) = edition.slot.clone().unzip();
    let entered = row!(
        tx,
        (i64,),
        INSERT,
        edition.slug.as_str(),
        slot,
        date,
        edition.due_at.millis(),
        now.millis(),
        edition.subject.as_str()
    )?;
    let Some((edition_id,)) = entered else { return Ok(None) };
    for (position, article) in edition.articles.iter().enumerate() {
        const ARTICLE: &str =
            "INSERT INTO edition_articles (edition_id, position, article_id) VALUES ($1, $2, $3)";
        run!(tx, ARTICLE, edition_id, position as i64, article.as_str())?;
    }
    for body in &edition.bodies {
        const BODY: &str = "INSERT INTO bodies (edition_id, tier, audience, frame, body) \
            VALUES ($1, $2, 0, $3, $4)";
        run!(tx, BODY, edition_id, body.tier.as_str(), body.frame.as_str(), body.body.as_str())?;
    }
    let audience = Audience {
        tiers: edition.bodies.iter().map(|body| body.tier.clone()).collect(),
        lapsed: edition.lapsed.clone(),
    };
    queue_deliveries(tx, edition_id, &audience, now).await.map(Some)
}

/// By the rows just written, one after the other; the index by edition would fetch each of them for every tier.
pub(super) const PER_BODY: &str = "UPDATE bodies SET audience = c.people FROM \
        (SELECT d.body_id, count(*) AS people FROM deliveries d WHERE d.id > $2 AND +d.edition_id = $1 \
            GROUP BY d.body_id) AS c \
    WHERE bodies.id = c.body_id";

/// [`Audience::body_for`] as SQL: the bodies of the edition are the tiers of the audience. Suppressions are read as a set of ids,
/// which costs a third of asking for each address.
pub(super) const DELIVERIES: &str = "INSERT INTO deliveries (kind, edition_id, subscriber_id, body_id, lane, stream, state, \
        due_at, attempt, uncertain_count) \
    SELECT 'edition', $1, s.id, b.id, 0, $1, 'queued', $2, 0, 0 \
    FROM subscribers s JOIN bodies b ON b.edition_id = $1 AND b.tier = \
        CASE WHEN s.term_ends_at IS NOT NULL AND s.term_ends_at <= $2 THEN $3 ELSE s.tier END \
    WHERE s.status = 'active' AND s.id NOT IN \
        (SELECT y.id FROM suppressions x JOIN subscribers y ON y.address_key = x.address_key)";

async fn queue_deliveries(
    tx: &mut Tx,
    edition_id: i64,
    audience: &Audience,
    now: Timestamp,
) -> Result<Queued, StoreError> {
    let lapsed = audience.lapsed.as_ref().map(|tier| tier.0.clone());
    let newest =
        row!(tx, (Option<i64>,), "SELECT max(id) FROM deliveries")?.and_then(|(id,)| id).unwrap_or(0);
    let total = run!(tx, DELIVERIES, edition_id, now.millis(), lapsed)? as i64;
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

/// Enters an edition that will never be sent (`missed`, `skipped`), so that it is decided once. Answers whether it is new.
///
/// # Errors
/// When the database fails.
pub async fn enter_unsent(
    tx: &mut Tx,
    slug: &str,
    state: EditionState,
    due_at: Timestamp,
    reason: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const SQL: &str = "INSERT INTO editions (slug, state, due_at, finished_at, subject, audience, reason) \
        VALUES ($1, $2, $3, $4, '', 0, $5) ON CONFLICT DO NOTHING";
    Ok(run!(tx, SQL, slug, state.as_str(), due_at.millis(), now.millis(), reason)? > 0)
}

/// A message that is not an edition's: its own frozen body.
///
/// # Errors
/// When the database fails.
pub async fn add_body(tx: &mut Tx, frame: &str, body: &str) -> Result<i64, StoreError> {
    const SQL: &str = "INSERT INTO bodies (audience, frame, body) VALUES (1, $1, $2) RETURNING id";
    let (id,) = row!(tx, (i64,), SQL, frame, body)?
        .ok_or(StoreError::Corrupt { what: "a body", why: "no id came back".into() })?;
    Ok(id)
}

/// The frame and body of one row, as JSON.
///
/// # Errors
/// When the database fails or the row is gone.
pub async fn body(tx: &mut Tx, id: i64) -> Result<(String, String), StoreError> {
    const SQL: &str = "SELECT frame, body FROM bodies WHERE id = $1";
    row!(tx, (String, String), SQL, id)?
        .ok_or(StoreError::Corrupt { what: "a delivery", why: format!("its body {id} is gone") })
}

/// The frozen bodies of an edition: tier, frame, body.
///
/// # Errors
/// When the database fails.
pub async fn bodies(tx: &mut Tx, slug: &str) -> Result<Vec<(String, String, String)>, StoreError> {
    const SQL: &str = "SELECT b.tier, b.frame, b.body FROM bodies b JOIN editions e ON e.id = b.edition_id \
        WHERE e.slug = $1 AND b.tier IS NOT NULL ORDER BY b.id";
    Ok(rows!(tx, (String, String, String), SQL, slug)?)
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
    /// Tier, audience, accepted; in the order in which the bodies were entered.
    pub tiers: Vec<(TierId, i64, i64)>,
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
    let mut accepted: BTreeMap<i64, i64> = BTreeMap::new();
    for (body, state, count) in rows!(tx, (i64, String, i64), PER_BODY, bare.id)? {
        let state = word("a delivery's state", &state, DeliveryState::from_word)?;
        *counts.of(state) += count;
        if state == DeliveryState::Accepted {
            accepted.insert(body, count);
        }
    }
    let bodies = rows!(tx, (i64, String, i64), BODIES, bare.id)?;
    let tiers = bodies
        .into_iter()
        .map(|(id, tier, audience)| (TierId(tier), audience, accepted.get(&id).copied().unwrap_or(0)))
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
    let words: Vec<String> = from.iter().map(|state| format!("'{state}'")).collect();
    let sql = format!(
        "UPDATE editions SET state = $2, reason = $3, finished_at = $4 WHERE slug = $1 AND state IN ({})",
        words.join(", ")
    );
    let finished = to.is_over().then_some(now.millis());
    Ok(run!(tx, sqlx::AssertSqlSafe(sql), slug, to.as_str(), reason, finished)? > 0)
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
