//! What the editors' board asks for beside the numbers of an edition. Small tables, read from their ends.

use super::audit::{self, Entry};
use super::sql::{row, rows};
use super::{StoreError, Tx, editions, word};
use crate::domain::board::{LeftOut, Stood};
use crate::domain::edition::EditionState;
use crate::domain::publication::TierId;
use crate::runtime::Timestamp;

/// An edition that is over, without any numbers but its audience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    pub slug: String,
    pub state: EditionState,
    pub due_at: Timestamp,
    pub audience: i64,
    pub reason: String,
}

/// Slugs of the editions that are queued and not over, the oldest first.
///
/// # Errors
/// When the database fails.
pub async fn under_way(tx: &mut Tx) -> Result<Vec<String>, StoreError> {
    const SQL: &str = "SELECT slug FROM editions WHERE state = 'sending' OR state = 'paused' OR state = 'attention' \
        OR state = 'waiting_approval' ORDER BY due_at, id LIMIT 20";
    Ok(rows!(tx, (String,), SQL)?.into_iter().map(|(slug,)| slug).collect())
}

/// Those that are over, the newest first.
///
/// # Errors
/// When the database fails.
pub async fn over(tx: &mut Tx, limit: i64) -> Result<Vec<Over>, StoreError> {
    const SQL: &str = "SELECT slug, state, due_at, audience, reason FROM editions WHERE state = 'sent' \
        OR state = 'cancelled' OR state = 'missed' OR state = 'skipped' ORDER BY due_at DESC, id DESC LIMIT $1 + 0";
    let found = rows!(tx, (String, String, i64, i64, String), SQL, limit)?;
    let read = |(slug, state, due_at, audience, reason): (String, String, i64, i64, String)| {
        let state = word("an edition's state", &state, EditionState::from_word)?;
        Ok(Over { slug, state, due_at: Timestamp(due_at), audience, reason })
    };
    found.into_iter().map(read).collect()
}

/// What was done to editions by hand, the newest first. Nothing else is read: other rows name subscribers.
///
/// # Errors
/// When the database fails.
pub async fn changes(tx: &mut Tx, limit: i64) -> Result<Vec<Entry>, StoreError> {
    audit::of_action(tx, "edition ", limit).await
}

/// Everybody who has an address, by why they would get no edition at all then, or by the tier that they would count as. `None`: a
/// term that ended into nothing.
///
/// # Errors
/// When the database fails.
pub async fn everybody(
    tx: &mut Tx,
    lapsed: Option<&TierId>,
    at: Timestamp,
) -> Result<Vec<(Standing, i64)>, StoreError> {
    const SQL: &str = "SELECT CASE WHEN s.status = 'pending' THEN 'pending' WHEN s.status <> 'active' THEN 'gone' \
            WHEN s.id IN (SELECT y.id FROM suppressions x JOIN subscribers y ON y.address_key = x.address_key) \
                THEN 'suppressed' \
            WHEN s.paused_until IS NOT NULL AND s.paused_until > $1 THEN 'paused' ELSE 'active' END, \
        CASE WHEN s.term_ends_at IS NOT NULL AND s.term_ends_at <= $1 THEN $2 ELSE s.tier END, count(*) \
        FROM subscribers s WHERE s.address <> '' GROUP BY 1, 2";
    let lapsed = lapsed.map_or("", TierId::as_str);
    let found = rows!(tx, (String, String, i64), SQL, at.millis(), lapsed)?;
    let read = |(standing, tier, people): (String, String, i64)| {
        let standing = match standing.as_str() {
            "pending" => Standing::Out(LeftOut::Unconfirmed),
            "gone" => Standing::Out(LeftOut::Unsubscribed),
            "suppressed" => Standing::Out(LeftOut::Suppressed),
            "paused" => Standing::Out(LeftOut::Paused),
            _ => Standing::In(Some(tier).filter(|tier| !tier.is_empty()).map(TierId)),
        };
        (standing, people)
    };
    Ok(found.into_iter().map(read).collect())
}

/// Where somebody stands before it is asked what an edition holds for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Out(LeftOut),
    In(Option<TierId>),
}

/// How an edition stands now; `None`: it is not queued.
///
/// # Errors
/// When the database fails.
pub async fn stood(tx: &mut Tx, slug: &str) -> Result<Option<(Stood, String)>, StoreError> {
    const SQL: &str = "SELECT coalesce(max(id), 0) FROM audit WHERE subject = $1 AND action LIKE 'edition %'";
    let Some(standing) = editions::standing(tx, slug).await? else { return Ok(None) };
    let (change,) = row!(tx, (i64,), SQL, slug)?.unwrap_or_default();
    Ok(Some((Stood { state: standing.state, change }, standing.reason)))
}
