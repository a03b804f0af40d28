//! The one gatherer of a process: many connections ask, one transaction answers them all.
//!
//! A connection asks with the settlement of its last delivery and the wish for another. The answer comes after the commit, so
//! that a connection's settlement is durable before its next MAIL: that bounds the doubles after a crash to the open
//! connections. Gathering makes commits few; on PostgreSQL it also avoids the deadlocks of every connection claiming for itself.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::domain::publication::TierId;
use crate::runtime::Timestamp;
use crate::store::deliveries::{self, ClaimRequest, Claimed, LANE_OTHER, Settled};
use crate::store::{Store, StoreError, editions, owners};

/// Asks in flight per process; a connection has one at a time.
const WAITING: usize = 256;

/// A claim is made by an owner that was heard of this recently: far less than the silence after which it is dead.
const HEARD_OF: Duration = Duration::from_secs(1);

/// More rows than this in one statement do not make it cheaper.
const BATCH: usize = 64;

/// The ledger could not write. The settlement that went with the ask is not durable: ask again with it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the ledger cannot write: {0}")]
pub struct LedgerProblem(String);

impl From<StoreError> for LedgerProblem {
    fn from(error: StoreError) -> LedgerProblem {
        LedgerProblem(error.to_string())
    }
}

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
    heard_of: Option<Timestamp>,
}

/// A ledger and the gatherer that serves it. When all ledgers are gone, the gatherer's [`Gatherer::run`] ends.
pub fn ledger(store: Store, owner: Owner) -> (Ledger, Gatherer) {
    let (sender, asks) = mpsc::channel(WAITING);
    (Ledger(sender), Gatherer { store, owner, asks, heard_of: None })
}

impl Gatherer {
    /// Answers asks until every ledger is gone.
    pub async fn run(mut self, now: impl Fn() -> Timestamp) {
        while let Some(first) = self.asks.recv().await {
            let asks = self.gather(first).await;
            self.answer(asks, now()).await;
        }
    }

    /// Takes what waits. Yielding lets the other connections of this thread read their replies and ask too, which halves the
    /// commits at eight connections; a timer would round up to a millisecond and more.
    async fn gather(&mut self, first: Ask) -> Vec<Ask> {
        let mut asks = vec![first];
        for _ in 0..3 {
            while asks.len() < BATCH {
                match self.asks.try_recv() {
                    Ok(ask) => asks.push(ask),
                    Err(_) => break,
                }
            }
            tokio::task::yield_now().await;
        }
        asks
    }

    async fn answer(&mut self, asks: Vec<Ask>, now: Timestamp) {
        let wanted = asks.iter().filter(|ask| ask.wants).count();
        let settled: Vec<Settled> = asks.iter().filter_map(|ask| ask.settled.clone()).collect();
        match self.transact(&settled, wanted, now).await {
            Ok(claimed) => {
                let mut claimed = claimed.into_iter();
                for ask in asks {
                    let given = if ask.wants { claimed.next() } else { None };
                    // A connection that is gone leaves its row leased; the next start finds it.
                    let _ = ask.answer.send(Ok(given));
                }
            }
            Err(problem) => {
                tracing::error!(%problem, asks = asks.len(), "nothing is sent until the ledger can write");
                for ask in asks {
                    let _ = ask.answer.send(Err(problem.clone()));
                }
            }
        }
    }

    /// All or nothing. Who was declared dead may still settle what it sent, but claims nothing more.
    async fn transact(
        &mut self,
        settled: &[Settled],
        wanted: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, LedgerProblem> {
        let mut tx = self.store.write().await?;
        deliveries::settle(&mut tx, settled).await?;
        let beats = wanted > 0 && self.heard_of.is_none_or(|at| now.since(at) >= HEARD_OF);
        if beats && !owners::beat(&mut tx, self.owner.id, now).await? {
            return Err(LedgerProblem("another process declared this one dead".into()));
        }
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
        if beats {
            self.heard_of = Some(now);
        }
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

/// Puts doubtful deliveries whose wait is over back, and closes editions of which nothing more leaves by itself: as sent, or for
/// attention. Answers their slugs.
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
            match held {
                true => tracing::error!(edition = %slug, "the edition stops here: {reason}"),
                false => tracing::info!(edition = %slug, "the edition is finished"),
            }
            finished.push(slug);
        }
    }
    Ok(finished)
}
