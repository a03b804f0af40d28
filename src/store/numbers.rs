//! What a page of numbers asks for. Each question reads a partial index of what is open or a table that stays small, so that
//! millions of settled deliveries and understood messages cost nothing; what is in the queue is counted in its index.

use std::collections::BTreeMap;

use super::sql::{row, rows};
use super::{StoreError, Tx};
use crate::runtime::Timestamp;

/// The deliveries of one lane that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    pub lane: i64,
    pub waiting: i64,
    /// When the one was due that waits for longest.
    pub oldest_due: Timestamp,
}

/// Open conversations of one tier and state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threads {
    /// Empty for people who are no subscribers.
    pub tier: String,
    pub state: String,
    pub count: i64,
    /// Since when the one waits that waits for longest.
    pub waiting_since: Option<Timestamp>,
}

/// All of it, of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    pub queue: Vec<Queue>,
    pub leased: i64,
    pub uncertain: i64,
    pub parked: i64,
    /// State and count.
    pub editions: Vec<(String, i64)>,
    pub inbound_received: i64,
    pub inbound_quarantined: i64,
    pub threads: Vec<Threads>,
    pub owners: i64,
}

/// In the order of its index, so that nothing is sorted.
pub(super) const QUEUE: &str =
    "SELECT lane, count(*), min(due_at) FROM deliveries WHERE state = 'queued' GROUP BY stream, lane";
pub(super) const OPEN: &str = "SELECT \
    (SELECT count(*) FROM deliveries WHERE state = 'leased'), \
    (SELECT count(*) FROM deliveries WHERE state = 'uncertain'), \
    (SELECT count(*) FROM deliveries WHERE state = 'parked'), \
    (SELECT count(*) FROM inbound WHERE state = 'received'), \
    (SELECT count(*) FROM inbound WHERE state = 'quarantined'), \
    (SELECT count(*) FROM owners WHERE ended_at IS NULL AND heartbeat_at >= $1)";
pub(super) const THREADS: &str = "SELECT coalesce(s.tier, ''), t.state, count(*), min(t.waiting_since) \
    FROM threads t LEFT JOIN subscribers s ON s.id = t.subscriber_id \
    WHERE t.state = 'open' OR t.state = 'waiting' GROUP BY coalesce(s.tier, ''), t.state ORDER BY 1, 2";

/// Reads all of it. `heard_of_since`: an owner that was silent for longer does not count.
///
/// # Errors
/// When the database fails.
pub async fn read(tx: &mut Tx, heard_of_since: Timestamp) -> Result<Numbers, StoreError> {
    const EDITIONS: &str = "SELECT state, count(*) FROM editions GROUP BY state ORDER BY state";
    type Open = (i64, i64, i64, i64, i64, i64);
    let mut lanes: BTreeMap<i64, Queue> = BTreeMap::new();
    for (lane, waiting, due) in rows!(tx, (i64, i64, i64), QUEUE)? {
        let oldest_due = Timestamp(due);
        let queue = lanes.entry(lane).or_insert(Queue { lane, waiting: 0, oldest_due });
        queue.waiting += waiting;
        queue.oldest_due = queue.oldest_due.min(oldest_due);
    }
    let open = row!(tx, Open, OPEN, heard_of_since.millis())?.unwrap_or_default();
    let (leased, uncertain, parked, inbound_received, inbound_quarantined, owners) = open;
    let editions = rows!(tx, (String, i64), EDITIONS)?;
    Ok(Numbers {
        queue: lanes.into_values().collect(),
        leased,
        uncertain,
        parked,
        editions,
        inbound_received,
        inbound_quarantined,
        threads: threads(tx).await?,
        owners,
    })
}

/// Open conversations by tier and state.
///
/// # Errors
/// When the database fails.
pub async fn threads(tx: &mut Tx) -> Result<Vec<Threads>, StoreError> {
    let found = rows!(tx, (String, String, i64, Option<i64>), THREADS)?;
    let read = |(tier, state, count, since): (String, String, i64, Option<i64>)| Threads {
        tier,
        state,
        count,
        waiting_since: since.map(Timestamp),
    };
    Ok(found.into_iter().map(read).collect())
}

/// Whether the store answers at all.
///
/// # Errors
/// When the database fails.
pub async fn ping(tx: &mut Tx) -> Result<(), StoreError> {
    row!(tx, (i64,), "SELECT CAST(1 AS BIGINT)")?;
    Ok(())
}
