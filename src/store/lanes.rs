//! `lanes`, `limits`, `lane_domains`: which recipient domains share what limit, what is left of it, and what slows it down. Relays
//! have their limits here too.
//!
//! The config is written down when a daemon starts; with several daemons the last one's holds. Rows are never removed: a delivery
//! that was queued for a lane finds it whatever became of the config. What has left the config has no limits of its own, and is
//! never paused or slowed down, but by the guard against false bounces.

use super::sql::{row, rows, run};
use super::{StoreError, Tx, word};
use crate::domain::breaker::PauseCause;
use crate::domain::limit::{self, Account, Accounts};
use crate::domain::settings::{DomainSettings, Rate, RelaySettings};
use crate::domain::slow_down::Pace;
use crate::runtime::Timestamp;

/// The lane of every recipient domain that the config does not name.
pub const LANE_OTHER: i64 = 0;

/// What the config's lanes and relays are called in the store, in the order of the config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    pub lanes: Vec<i64>,
    pub relays: Vec<i64>,
}

/// Writes down the config. What it no longer names stays for the deliveries that are queued for it.
///
/// # Errors
/// When the database fails.
pub async fn sync(
    tx: &mut Tx,
    domains: &[DomainSettings],
    relays: &[RelaySettings],
    now: Timestamp,
) -> Result<Known, StoreError> {
    let all = rows!(tx, (i64,), "SELECT id FROM lanes ORDER BY id")?;
    lock(tx, all.into_iter().map(|(id,)| id)).await?;
    run!(tx, "UPDATE lanes SET configured = 0 WHERE id <> $1", LANE_OTHER)?;
    run!(tx, "DELETE FROM lane_domains")?;
    let mut known = Known::default();
    for lane in domains {
        let id = enter(tx, "lane", lane.name()).await?;
        for domain in &lane.matches {
            run!(tx, "INSERT INTO lane_domains (domain, lane_id) VALUES ($1, $2)", domain.as_str(), id)?;
        }
        set_rates(tx, id, &lane.rates, now).await?;
        known.lanes.push(id);
    }
    for relay in relays {
        let id = enter(tx, "relay", &relay.name).await?;
        set_rates(tx, id, &relay.rates, now).await?;
        known.relays.push(id);
    }
    const LEFT: &str = "SELECT id FROM lanes WHERE configured = 0";
    run!(tx, sqlx::AssertSqlSafe(format!("DELETE FROM limits WHERE lane_id IN ({LEFT})")))?;
    // Of what the guard paused, an operator has to say what its bounces were; a change of the config says nothing about them.
    const FREE: &str = "UPDATE lanes SET paused = NULL, paused_by = NULL, paused_at = NULL, quiet_until = NULL, \
        width = NULL, width_at = NULL \
        WHERE configured = 0 AND (paused_by IS NULL OR paused_by <> 'false_bounces')";
    run!(tx, FREE)?;
    Ok(known)
}

/// Locks these lanes until the transaction ends. To be called once, before any of them is changed, where there may be several: two
/// transactions that lock in different orders wait for each other for ever.
///
/// # Errors
/// When the database fails.
pub async fn lock(tx: &mut Tx, lanes: impl IntoIterator<Item = i64>) -> Result<(), StoreError> {
    let in_order: std::collections::BTreeSet<i64> = lanes.into_iter().collect();
    for id in in_order {
        run!(tx, "UPDATE lanes SET name = name WHERE id = $1", id)?;
    }
    Ok(())
}

async fn enter(tx: &mut Tx, kind: &str, name: &str) -> Result<i64, StoreError> {
    const SQL: &str = "INSERT INTO lanes (kind, name, configured) VALUES ($1, $2, 1) \
        ON CONFLICT (kind, name) DO UPDATE SET configured = 1 RETURNING id";
    let (id,) = row!(tx, (i64,), SQL, kind, name)?
        .ok_or(StoreError::Corrupt { what: "a lane", why: "no id came back".into() })?;
    Ok(id)
}

/// What was left of a rate stays left of it, whatever the rate is now: a restart gives nothing.
async fn set_rates(tx: &mut Tx, lane: i64, rates: &[Rate], now: Timestamp) -> Result<(), StoreError> {
    let old = rows!(tx, (i64,), "SELECT per FROM limits WHERE lane_id = $1", lane)?;
    for (per,) in old {
        if rates.iter().all(|rate| rate.per.as_millis() as i64 != per) {
            run!(tx, "DELETE FROM limits WHERE lane_id = $1 AND per = $2", lane, per)?;
        }
    }
    const SQL: &str = "INSERT INTO limits (lane_id, per, messages, tokens, refilled_at, spent) \
        VALUES ($1, $2, $3, $4, $5, '') ON CONFLICT (lane_id, per) DO UPDATE SET messages = excluded.messages";
    for rate in rates {
        let fresh = Account::fresh(*rate, now);
        let per = rate.per.as_millis() as i64;
        run!(tx, SQL, lane, per, i64::from(rate.count), fresh.tokens, now.millis())?;
    }
    Ok(())
}

/// The accounts of a lane or relay, locked until the transaction ends.
///
/// # Errors
/// When the database fails.
pub async fn accounts(tx: &mut Tx, lane: i64) -> Result<Accounts, StoreError> {
    // An update that changes nothing locks its rows in either dialect, and sees what others have committed.
    const SQL: &str = "UPDATE limits SET tokens = tokens WHERE lane_id = $1 \
        RETURNING per, messages, tokens, refilled_at, spent";
    let found = rows!(tx, (i64, i64, i64, i64, String), SQL, lane)?;
    let account = |(per, messages, tokens, refilled_at, spent): (i64, i64, i64, i64, String)| {
        let spent = limit::spent_from_text(&spent)
            .ok_or_else(|| StoreError::Corrupt { what: "a limit", why: format!("`{spent}`") })?;
        let per = std::time::Duration::from_millis(per.unsigned_abs());
        let rate = Rate { count: u32::try_from(messages).unwrap_or(u32::MAX), per };
        Ok(Account { rate, tokens, refilled_at: Timestamp(refilled_at), spent })
    };
    Ok(Accounts::new(found.into_iter().map(account).collect::<Result<_, StoreError>>()?))
}

/// # Errors
/// When the database fails.
pub async fn set_accounts(tx: &mut Tx, lane: i64, accounts: &Accounts) -> Result<(), StoreError> {
    const SQL: &str =
        "UPDATE limits SET tokens = $3, refilled_at = $4, spent = $5 WHERE lane_id = $1 AND per = $2";
    for account in accounts.each() {
        let per = account.rate.per.as_millis() as i64;
        let spent = limit::spent_as_text(&account.spent);
        run!(tx, SQL, lane, per, account.tokens, account.refilled_at.millis(), spent)?;
    }
    Ok(())
}

/// A lane with its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneState {
    pub id: i64,
    pub name: String,
    /// Whether it has limits.
    pub limited: bool,
    /// Why editions do not leave by it.
    pub paused: Option<String>,
    pub paused_by: Option<PauseCause>,
    pub pace: Pace,
    /// The stream of its best due row; `None`: nothing is due.
    pub due: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct StateRow {
    id: i64,
    name: String,
    limited: i64,
    paused: Option<String>,
    paused_by: Option<String>,
    quiet_until: Option<i64>,
    width: Option<i64>,
    width_at: Option<i64>,
    due: Option<i64>,
}

/// Every lane with the stream of its best row that is due: answers and sign-in links, notices, the newest edition.
pub(super) const STATES: &str = "SELECT l.id, l.name, \
        CASE WHEN EXISTS (SELECT 1 FROM limits r WHERE r.lane_id = l.id) THEN CAST(1 AS BIGINT) \
            ELSE CAST(0 AS BIGINT) END AS limited, \
        l.paused, l.paused_by, l.quiet_until, l.width, l.width_at, \
        (SELECT c.stream FROM ( \
                SELECT column1 AS stream FROM (VALUES (-2), (-1)) AS desk \
                UNION ALL SELECT e.id FROM editions e WHERE e.state = 'sending' \
            ) AS c \
            WHERE EXISTS (SELECT 1 FROM deliveries x WHERE x.state = 'queued' AND x.lane = l.id \
                AND x.stream = c.stream AND x.due_at <= $1 + 0) \
            ORDER BY c.stream > 0, abs(c.stream) DESC LIMIT 1) AS due \
    FROM lanes l WHERE l.kind = 'lane' ORDER BY l.id";

/// # Errors
/// When the database fails.
pub async fn states(tx: &mut Tx, now: Timestamp) -> Result<Vec<LaneState>, StoreError> {
    let state = |row: StateRow| {
        Ok(LaneState {
            id: row.id,
            name: row.name,
            limited: row.limited != 0,
            paused: row.paused,
            paused_by: row.paused_by.map(cause).transpose()?,
            pace: read_pace(row.quiet_until, row.width, row.width_at),
            due: row.due,
        })
    };
    rows!(tx, StateRow, STATES, now.millis())?.into_iter().map(state).collect()
}

fn cause(text: String) -> Result<PauseCause, StoreError> {
    word("why a lane is paused", &text, PauseCause::from_word)
}

/// What slows a lane down, held until the transaction ends: as others have left it, and not as it was when the lanes were looked at.
///
/// # Errors
/// When the database fails.
pub async fn pace(tx: &mut Tx, lane: i64) -> Result<Pace, StoreError> {
    const SQL: &str = "UPDATE lanes SET width = width WHERE id = $1 RETURNING quiet_until, width, width_at";
    let (quiet, width, at) =
        row!(tx, (Option<i64>, Option<i64>, Option<i64>), SQL, lane)?.unwrap_or_default();
    Ok(read_pace(quiet, width, at))
}

fn read_pace(quiet: Option<i64>, width: Option<i64>, at: Option<i64>) -> Pace {
    Pace {
        quiet_until: quiet.map(Timestamp),
        width: width.and_then(|width| u32::try_from(width).ok()),
        width_at: Timestamp(at.unwrap_or_default()),
    }
}

/// Writes what slows a lane down, in place of what [`pace`] has read in this transaction.
///
/// # Errors
/// When the database fails.
pub async fn set_pace(tx: &mut Tx, lane: i64, pace: &Pace) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE lanes SET quiet_until = $2, width = $3, width_at = $4 WHERE id = $1";
    let (quiet, width) = (pace.quiet_until.map(Timestamp::millis), pace.width.map(i64::from));
    run!(tx, SQL, lane, quiet, width, width.map(|_| pace.width_at.millis()))?;
    Ok(())
}

/// Stops editions from leaving by this lane. Answers whether that is news: a lane that is paused keeps its first reason, but the
/// guard takes over what somebody else paused, and adds its own.
///
/// # Errors
/// When the database fails.
pub async fn pause(
    tx: &mut Tx,
    lane: i64,
    cause: PauseCause,
    reason: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const SQL: &str = "UPDATE lanes SET paused_by = $3, paused_at = $4, \
            paused = CAST($2 AS TEXT) || CASE WHEN paused IS NULL THEN '' ELSE '; before: ' || paused END \
        WHERE id = $1 AND (paused IS NULL \
            OR (CAST($3 AS TEXT) = 'false_bounces' AND coalesce(paused_by, '') <> 'false_bounces'))";
    Ok(run!(tx, SQL, lane, reason, cause.as_str(), now.millis())? > 0)
}

/// Lets editions leave again, at full width. Answers whether the lane was stopped or slowed down. What was held of its bounces is
/// `suppressions::end_hold`'s, in the same transaction.
///
/// # Errors
/// When the database fails.
pub async fn resume(tx: &mut Tx, lane: i64) -> Result<bool, StoreError> {
    const SQL: &str = "UPDATE lanes SET paused = NULL, paused_by = NULL, paused_at = NULL, quiet_until = NULL, \
        width = NULL, width_at = NULL \
        WHERE id = $1 AND (paused IS NOT NULL OR quiet_until IS NOT NULL OR width IS NOT NULL)";
    Ok(run!(tx, SQL, lane)? > 0)
}

/// What a lane is called, and whether editions leave by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub name: String,
    /// Why they do not.
    pub paused: Option<String>,
    pub paused_by: Option<PauseCause>,
}

impl Standing {
    /// Whether the guard paused it: its hard bounces are not believed.
    pub fn is_doubted(&self) -> bool {
        self.paused_by == Some(PauseCause::FalseBounces)
    }
}

/// # Errors
/// When the database fails.
pub async fn standing(tx: &mut Tx, lane: i64) -> Result<Option<Standing>, StoreError> {
    const SQL: &str = "SELECT name, paused, paused_by FROM lanes WHERE id = $1";
    let found = row!(tx, (String, Option<String>, Option<String>), SQL, lane)?;
    let read = |(name, paused, paused_by): (String, Option<String>, Option<String>)| {
        Ok(Standing { name, paused, paused_by: paused_by.map(cause).transpose()? })
    };
    found.map(read).transpose()
}

/// The lane of that name.
///
/// # Errors
/// When the database fails.
pub async fn by_name(tx: &mut Tx, name: &str) -> Result<Option<i64>, StoreError> {
    const SQL: &str = "SELECT id FROM lanes WHERE kind = 'lane' AND name = $1";
    Ok(row!(tx, (i64,), SQL, name)?.map(|(id,)| id))
}
