//! The one gatherer of a process: many connections ask, one transaction answers them all.
//!
//! A connection asks with the settlement of its last delivery and the wish for another. The answer comes after the commit, so
//! that a connection's settlement is durable before its next MAIL: that bounds the doubles after a crash to the open
//! connections. Gathering makes commits few; on PostgreSQL it also avoids the deadlocks of every connection claiming for itself.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::content::Shelf;
use crate::domain::edition::EditionState;
use crate::runtime::Timestamp;
use crate::store::claims::{self, ClaimRequest, Claimed};
use crate::store::deliveries::{self, LANE_OTHER, Settled};
use crate::store::{Store, StoreError, Tx, editions, owners};

/// Asks in flight per process; a connection has one at a time.
const WAITING: usize = 256;

/// A claim is made by an owner that was heard of this recently: far less than the silence after which it is dead.
const HEARD_OF: Duration = Duration::from_secs(1);

/// More rows than this in one statement do not make it cheaper.
const BATCH: usize = 64;

/// So many yields in a row that bring no further ask end the gathering; each takes one or two microseconds, because it looks
/// at the sockets. Measured in one run with 8 connections on loopback: three make 1.9 times the messages of none, twelve 2.2.
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
#[derive(Clone)]
pub struct Owner {
    pub id: i64,
    /// Signs first attempts.
    pub key_id: i64,
    /// Says what a lapsed person counts as.
    pub shelf: Arc<Shelf>,
}

/// The store's side.
pub struct Gatherer {
    store: Store,
    owner: Owner,
    asks: mpsc::Receiver<Ask>,
    heard_of: Option<Timestamp>,
    /// What connections have in hand: claimed and not settled. One whose connection broke down stays in it: that costs patience
    /// only.
    held: HashSet<i64>,
    /// A transaction failed, and may have happened all the same.
    in_doubt: bool,
}

/// A ledger and the gatherer that serves it. When all ledgers are gone, the gatherer's [`Gatherer::run`] ends.
pub fn ledger(store: Store, owner: Owner) -> (Ledger, Gatherer) {
    let (sender, asks) = mpsc::channel(WAITING);
    (Ledger(sender), Gatherer { store, owner, asks, heard_of: None, held: HashSet::new(), in_doubt: false })
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
                Err(_) if back >= self.held.len() => break,
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
                for one in &settled {
                    self.held.remove(&one.delivery);
                }
                self.held.extend(claimed.iter().map(|one| one.id));
                let mut claimed = claimed.into_iter();
                for ask in asks {
                    let given = if ask.wants { claimed.next() } else { None };
                    // A connection that is gone leaves its row leased; the next start finds it.
                    let _ = ask.answer.send(Ok(given));
                }
            }
            Err(error) => {
                self.in_doubt = true;
                tracing::error!(%error, asks = asks.len(), "the ledger cannot write; nothing is sent until it can");
                let problem = LedgerProblem(error.to_string());
                for ask in asks {
                    let _ = ask.answer.send(Err(problem.clone()));
                }
            }
        }
    }

    /// All or nothing. Who was declared dead may still settle what it sent, but claims nothing more.
    async fn transact(
        &mut self,
        mut tx: Tx,
        settled: &[Settled],
        wanted: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, StoreError> {
        deliveries::settle(&mut tx, settled).await?;
        if self.in_doubt {
            self.give_back(&mut tx, settled).await?;
        }
        let beats = wanted > 0 && self.heard_of.is_none_or(|at| now.since(at) >= HEARD_OF);
        if beats && !owners::beat(&mut tx, self.owner.id, now).await? {
            tx.commit().await?;
            return Ok(Vec::new());
        }
        let request = ClaimRequest {
            owner: self.owner.id,
            key_id: self.owner.key_id,
            lane: LANE_OTHER,
            limit: wanted,
            lapsed: self.owner.shelf.get().publication.lapsed_tier.clone(),
            now,
        };
        let claimed = claims::claim(&mut tx, &request).await?;
        tx.commit().await?;
        self.in_doubt = false;
        if beats {
            self.heard_of = Some(now);
        }
        Ok(claimed)
    }

    /// A claim whose commit succeeded although its answer was lost is in nobody's hand: it was never sent.
    async fn give_back(&self, tx: &mut Tx, settled: &[Settled]) -> Result<(), StoreError> {
        let settling = |id: &&i64| settled.iter().all(|one| one.delivery != **id);
        let held: Vec<i64> = self.held.iter().filter(settling).copied().collect();
        let given = deliveries::give_back(tx, self.owner.id, &held).await?;
        if given > 0 {
            tracing::warn!(
                deliveries = given,
                "claimed by a transaction whose answer was lost, and queued again"
            );
        }
        Ok(())
    }
}

/// Whether a claim would find anything. Writes nothing.
///
/// # Errors
/// When the database fails.
pub async fn has_work(store: &Store, now: Timestamp) -> Result<bool, StoreError> {
    let mut tx = store.read().await?;
    deliveries::has_due(&mut tx, LANE_OTHER, now).await
}

/// Puts doubtful deliveries whose wait is over back, skips what cancelled editions still have in the queue, and closes editions
/// of which nothing more leaves by itself, as sent or for attention. Answers their slugs. Reads first: while there is nothing to
/// do, nothing is written.
///
/// # Errors
/// When the database fails.
pub async fn tidy(store: &Store, now: Timestamp) -> Result<Vec<String>, StoreError> {
    let mut looked = store.read().await?;
    let doubtful = deliveries::has_due_uncertain(&mut looked, now).await?;
    let cancelled = editions::cancelled_with_rows(&mut looked).await?;
    let mut still = Vec::new();
    for state in [EditionState::Sending, EditionState::Attention] {
        for (id, slug) in editions::in_state(&mut looked, state).await? {
            let open = editions::open(&mut looked, id).await?;
            // What waits for a word leaves `attention` when the last of it was settled by a late reply.
            if !open.moving && (state == EditionState::Sending || !open.held) {
                still.push((slug, open.held));
            }
        }
    }
    drop(looked);
    if doubtful {
        let mut tx = store.write().await?;
        deliveries::requeue_uncertain(&mut tx, now).await?;
        tx.commit().await?;
    }
    for id in cancelled {
        let mut tx = store.write().await?;
        editions::skip_chunk(&mut tx, id, now).await?;
        tx.commit().await?;
    }
    let mut finished = Vec::new();
    for (slug, held) in still {
        if close(store, &slug, held, now).await? {
            finished.push(slug);
        }
    }
    Ok(finished)
}

/// `sent` is a promise: every row final, and as many of them as the frozen audience.
async fn close(store: &Store, slug: &str, held: bool, now: Timestamp) -> Result<bool, StoreError> {
    use EditionState::{Attention, Sending, Sent};
    let mut tx = store.write().await?;
    let Some(row) = editions::show(&mut tx, slug).await? else { return Ok(false) };
    let (to, reason) = if held { (Attention, "deliveries wait for `editions retry`") } else { (Sent, "") };
    let complete = row.counts.open() == 0 && row.counts.total() == row.audience;
    let closed =
        complete && editions::change_state(&mut tx, slug, &[Sending, Attention], to, reason, now).await?;
    tx.commit().await?;
    match (closed, held) {
        (true, true) => tracing::error!(edition = %slug, "the edition stops here: {reason}"),
        (true, false) => tracing::info!(edition = %slug, "the edition is finished"),
        (false, _) => {}
    }
    Ok(closed)
}
