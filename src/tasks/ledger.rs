//! The one gatherer of a process: many connections ask, one transaction answers them all.
//!
//! A connection asks with the settlement of its last delivery and the wish for another. The answer comes after the commit, so
//! that a connection's settlement is durable before its next MAIL: that bounds the doubles after a crash to the open
//! connections. Gathering makes commits few; on PostgreSQL it also avoids the deadlocks of every connection claiming for itself.

use tokio::sync::{mpsc, oneshot};

use crate::domain::publication::TierId;
use crate::runtime::Timestamp;
use crate::store::deliveries::{self, ClaimRequest, Claimed, LANE_OTHER, Settled};
use crate::store::{Store, StoreError, Tx, editions};

/// Asks in flight per process; a connection has one at a time.
const WAITING: usize = 256;

/// More rows than this in one statement do not make it cheaper.
const BATCH: usize = 64;

/// So many yields in a row that bring no further ask end the gathering; each takes one or two microseconds, because it looks
/// at the sockets. Measured with 8 connections on loopback: none 3100 messages a second, three 5900, twelve 6800 and more.
const PATIENCE: usize = 12;

/// The ledger could not write. The settlement that went with the ask is not durable: ask again with it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the ledger cannot write: {0}")]
pub struct LedgerProblem(String);

struct Ask {
    settled: Option<Settled>,
    wants: bool,
    answer: oneshot::Sender<Result<Option<Claimed>, LedgerProblem>>,
}

/// A connection's side.
#[derive(Clone, Debug)]
pub struct Ledger(mpsc::Sender<Ask>);

impl Ledger {
    /// Settles and, if `wants`, claims. `None`: nothing is due.
    ///
    /// # Errors
    /// When nothing was written.
    pub async fn ask(&self, settled: Option<Settled>, wants: bool) -> Result<Option<Claimed>, LedgerProblem> {
        let gone = || LedgerProblem("it has stopped".into());
        let (answer, answered) = oneshot::channel();
        self.0.send(Ask { settled, wants, answer }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// Who claims, and by which rules.
#[derive(Clone, Debug)]
pub struct Owner {
    pub id: i64,
    /// Signs first attempts.
    pub key_id: i64,
    pub lapsed: Option<TierId>,
}

/// The store's side.
pub struct Gatherer {
    store: Store,
    owner: Owner,
    asks: mpsc::Receiver<Ask>,
    /// Deliveries that connections have and have not settled. One whose connection broke down stays counted: that costs
    /// patience only.
    in_flight: usize,
}

/// A ledger and the gatherer that serves it. When all ledgers are gone, the gatherer's [`Gatherer::run`] ends.
pub fn ledger(store: Store, owner: Owner) -> (Ledger, Gatherer) {
    let (sender, asks) = mpsc::channel(WAITING);
    (Ledger(sender), Gatherer { store, owner, asks, in_flight: 0 })
}

impl Gatherer {
    /// Answers asks until every ledger is gone.
    pub async fn run(mut self, now: impl Fn() -> Timestamp) {
        while let Some(first) = self.asks.recv().await {
            // Others ask while the transaction opens.
            let opened = self.store.write().await;
            let asks = self.gather(first).await;
            self.answer(opened, asks, now()).await;
        }
    }

    /// Takes what waits, and waits a little for more: the fewer commits, the less each message costs. Yielding lets the other
    /// connections of this thread read their replies and ask too; a timer would round up to a millisecond and more. There
    /// is nothing to wait for once every delivery in flight has come back.
    async fn gather(&mut self, first: Ask) -> Vec<Ask> {
        let mut back = usize::from(first.settled.is_some());
        let mut asks = vec![first];
        let mut idle = 0;
        while asks.len() < BATCH && idle < PATIENCE {
            match self.asks.try_recv() {
                Ok(ask) => {
                    back += usize::from(ask.settled.is_some());
                    asks.push(ask);
                    idle = 0;
                }
                Err(_) if back >= self.in_flight => break,
                Err(_) => {
                    idle += 1;
                    tokio::task::yield_now().await;
                }
            }
        }
        asks
    }

    async fn answer(&mut self, opened: Result<Tx, StoreError>, asks: Vec<Ask>, now: Timestamp) {
        let wanted = asks.iter().filter(|ask| ask.wants).count();
        let settled: Vec<Settled> = asks.iter().filter_map(|ask| ask.settled.clone()).collect();
        let done = match opened {
            Ok(tx) => self.transact(tx, &settled, wanted, now).await,
            Err(error) => Err(error),
        };
        match done {
            Ok(claimed) => {
                let mut claimed = claimed.into_iter();
                for ask in asks {
                    let given = if ask.wants { claimed.next() } else { None };
                    self.in_flight -= usize::from(ask.settled.is_some()).min(self.in_flight);
                    self.in_flight += usize::from(given.is_some());
                    // A connection that is gone leaves its row leased; the next start finds it.
                    let _ = ask.answer.send(Ok(given));
                }
            }
            Err(error) => {
                tracing::error!(%error, asks = asks.len(), "the ledger cannot write; nothing is sent until it can");
                let problem = LedgerProblem(error.to_string());
                for ask in asks {
                    let _ = ask.answer.send(Err(problem.clone()));
                }
            }
        }
    }

    async fn transact(
        &self,
        mut tx: Tx,
        settled: &[Settled],
        wanted: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, StoreError> {
        deliveries::settle(&mut tx, settled).await?;
        let claimed = if wanted == 0 {
            Vec::new()
        } else {
            let request = ClaimRequest {
                owner: self.owner.id,
                key_id: self.owner.key_id,
                lane: LANE_OTHER,
                limit: wanted,
                lapsed: self.owner.lapsed.clone(),
                now,
            };
            deliveries::claim(&mut tx, &request).await?
        };
        tx.commit().await?;
        Ok(claimed)
    }
}

/// Whether a claim would find anything, and whether doubtful rows wait to be queued again; both without writing.
///
/// # Errors
/// When the database fails.
pub async fn has_work(store: &Store, now: Timestamp) -> Result<bool, StoreError> {
    let mut tx = store.read().await?;
    deliveries::has_due(&mut tx, LANE_OTHER, now).await
}

/// Puts doubtful deliveries whose wait is over back, and closes editions that are finished. Answers the slugs that were.
///
/// # Errors
/// When the database fails.
pub async fn tidy(store: &Store, now: Timestamp) -> Result<Vec<String>, StoreError> {
    use crate::domain::edition::EditionState::{Attention, Sending, Sent};
    let mut finished = Vec::new();
    let mut looked = store.read().await?;
    let doubtful = deliveries::has_due_uncertain(&mut looked, now).await?;
    let mut still = Vec::new();
    for (id, slug) in editions::in_state(&mut looked, Sending).await? {
        let open = editions::open(&mut looked, id).await?;
        if !open.moving {
            still.push((slug, open.held));
        }
    }
    drop(looked);
    if doubtful {
        let mut tx = store.write().await?;
        deliveries::requeue_uncertain(&mut tx, now).await?;
        tx.commit().await?;
    }
    for (slug, held) in still {
        let mut tx = store.write().await?;
        let Some(row) = editions::show(&mut tx, &slug).await? else { continue };
        let to = if held { Attention } else { Sent };
        let reason = if held { "deliveries wait for `editions retry`" } else { "" };
        // `sent` is a promise: every row final, and as many of them as the frozen audience.
        let complete = row.counts.open() == 0 && row.counts.total() == row.audience;
        if complete && editions::change_state(&mut tx, &slug, &[Sending], to, reason, now).await? {
            tx.commit().await?;
            finished.push(slug);
        }
    }
    Ok(finished)
}
