//! The one gatherer of a process: many connections ask, one transaction answers them all.
//!
//! A connection asks with the settlement of its last delivery and the wish for another. The answer comes after the commit, so
//! that a connection's settlement is durable before its next MAIL: that bounds the doubles after a crash to the open
//! connections. Gathering makes commits few; on PostgreSQL it also avoids the deadlocks of every connection claiming for itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::alarm::Alarms;
use super::bounces;
use super::breakers::Breakers;
use super::closing;
use super::content::Shelf;
use super::traffic::{Caps, Dry, News, Seen, Traffic};
use crate::domain::alarm::AlarmCause;
use crate::domain::delivery::DeliveryState;
use crate::domain::edition::EditionState;
use crate::runtime::{Masked, MaskedText, ShortWait, Timestamp};
use crate::store::claims::{self, ClaimRequest, Claimed};
use crate::store::deliveries::{self, Settled};
use crate::store::lanes::{self, LANE_OTHER, LaneState};
use crate::store::{Store, StoreError, Tx, editions, owners};

/// Asks in flight per process; a connection has one at a time.
const WAITING: usize = 256;

/// A claim is made by an owner that was heard of this recently: far less than the silence after which it is dead.
const HEARD_OF: Duration = Duration::from_secs(1);

/// A relay's whole rate, in thousandths.
const WHOLE: u32 = 1000;

/// More rows than this in one statement do not make it cheaper.
const BATCH: usize = 64;

/// How long a transaction waits for further asks, for each delivery in flight. Measured in one run on loopback, beside not waiting
/// longer than twelve yields: half a millisecond at 8 connections takes a quarter off the processor time of a message and adds a
/// sixth to the rate, a millisecond at 32 takes off a third.
const PATIENCE: Duration = Duration::from_micros(60);

/// More than this brings nothing, and a relay that is far away takes longer anyway.
const LONGEST: Duration = Duration::from_millis(1);

fn patience(in_flight: usize) -> Duration {
    PATIENCE.saturating_mul(u32::try_from(in_flight).unwrap_or(u32::MAX)).min(LONGEST)
}

/// The ledger could not write. The settlement that went with the ask is not durable: ask again with it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the ledger cannot write: {0}")]
pub struct LedgerProblem(String);

struct Ask {
    done: Option<Done>,
    wants: bool,
    relay: Option<i64>,
    /// Thousandths of the relay's rates.
    share: u32,
    answer: oneshot::Sender<Result<Turn, LedgerProblem>>,
}

/// A decision about a delivery, with what the attempt showed.
#[derive(Clone, Debug)]
pub struct Done {
    pub settled: Settled,
    pub seen: Seen,
    /// Of what was claimed. An attempt that was none leaves its number to the next claim, so a settlement that comes again, after
    /// a commit whose answer was lost, is told from that claim by this. `None`: whoever asks never comes again.
    pub lease: Option<u64>,
}

type Turns = Result<Vec<Turn>, StoreError>;

/// What an ask brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    Delivery(Box<Claimed>),
    /// Nothing that may leave is due.
    Nothing,
    /// Something is due and waits for a permit: ask again after this time.
    Later(Duration),
}

/// A connection's side.
#[derive(Clone, Debug)]
pub struct Ledger {
    asks: mpsc::Sender<Ask>,
    /// The relay that whatever is claimed here goes to, and whose limits hold.
    relay: Option<i64>,
    /// Lanes without a permit.
    dry: Arc<Mutex<BTreeMap<i64, Dry>>>,
}

impl Ledger {
    /// The same for the connections of one relay, by its id in the store.
    pub fn of_relay(&self, relay: i64) -> Ledger {
        Ledger { relay: Some(relay), ..self.clone() }
    }

    /// Settles and, if `wants`, claims.
    ///
    /// # Errors
    /// When nothing was written.
    pub async fn turn(&self, done: Option<Done>, wants: bool) -> Result<Turn, LedgerProblem> {
        self.turn_at(WHOLE, done, wants).await
    }

    /// As [`Ledger::turn`], of a relay that gets `share` thousandths of its rates while it is slowed down.
    ///
    /// # Errors
    /// When nothing was written.
    pub async fn turn_at(&self, share: u32, done: Option<Done>, wants: bool) -> Result<Turn, LedgerProblem> {
        let gone = || LedgerProblem("it has stopped".into());
        let (answer, answered) = oneshot::channel();
        let ask = Ask { done, wants, relay: self.relay, share, answer };
        self.asks.send(ask).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// As [`Ledger::turn`], of a settlement that showed nothing. `None`: nothing is due, or it waits for a permit.
    ///
    /// # Errors
    /// When nothing was written.
    pub async fn ask(&self, settled: Option<Settled>, wants: bool) -> Result<Option<Claimed>, LedgerProblem> {
        let done = settled.map(|settled| Done { settled, seen: Seen::default(), lease: None });
        match self.turn(done, wants).await? {
            Turn::Delivery(claimed) => Ok(Some(*claimed)),
            Turn::Nothing | Turn::Later(_) => Ok(None),
        }
    }

    /// Whether an ask would find anything. Writes nothing. `Later`: what is due waits for a permit.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_work(&self, store: &Store, now: Timestamp) -> Result<Work, StoreError> {
        let due = due_lanes(store, now).await?;
        let dry = lock(&self.dry);
        let waits: Vec<Duration> = due
            .iter()
            .map(|lane| dry.get(lane).map_or(Duration::ZERO, |dry| dry.wait(now).unwrap_or_default()))
            .collect();
        Ok(match waits.into_iter().min() {
            None => Work::Nothing,
            Some(Duration::ZERO) => Work::Now,
            Some(wait) => Work::Later(wait),
        })
    }
}

/// What a look into the store found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Nothing,
    Now,
    Later(Duration),
}

fn lock(dry: &Mutex<BTreeMap<i64, Dry>>) -> MutexGuard<'_, BTreeMap<i64, Dry>> {
    // A panic of another connection leaves a map of times, all of them valid.
    dry.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who claims, and by which rules.
#[derive(Clone)]
pub struct Owner {
    pub id: i64,
    /// Signs first attempts.
    pub key_id: i64,
    /// Says what a lapsed person counts as.
    pub shelf: Arc<Shelf>,
    /// Hear what an operator has to know.
    pub alarms: Alarms,
}

/// The store's side.
pub struct Gatherer {
    store: Store,
    owner: Owner,
    asks: mpsc::Receiver<Ask>,
    linger: ShortWait,
    heard_of: Option<Timestamp>,
    /// What connections have in hand: claimed and not settled. One whose connection broke down stays in it: that
    /// costs patience, and room in its lane, until the process ends.
    held: HashMap<i64, Held>,
    /// Claims so far.
    leases: u64,
    /// A transaction failed, and may have happened all the same.
    in_doubt: bool,
    traffic: Traffic,
    breakers: Breakers,
    dry: Arc<Mutex<BTreeMap<i64, Dry>>>,
}

/// One delivery in the hand of a connection.
#[derive(Clone, Copy, Debug)]
struct Held {
    lane: i64,
    lease: u64,
}

/// A ledger and the gatherer that serves it, for relays that nobody limits. When all ledgers are gone, the gatherer's
/// [`Gatherer::run`] ends.
pub fn ledger(store: Store, owner: Owner) -> (Ledger, Gatherer) {
    ledger_within(store, owner, Caps::default())
}

/// As [`ledger`], within what the config lets this process have in flight.
pub fn ledger_within(store: Store, owner: Owner, caps: Caps) -> (Ledger, Gatherer) {
    let (sender, asks) = mpsc::channel(WAITING);
    let dry: Arc<Mutex<BTreeMap<i64, Dry>>> = Arc::default();
    let gatherer = Gatherer {
        store,
        owner,
        asks,
        linger: ShortWait::default(),
        heard_of: None,
        held: HashMap::new(),
        leases: 0,
        in_doubt: false,
        traffic: Traffic::new(caps),
        breakers: Breakers::default(),
        dry: dry.clone(),
    };
    (Ledger { asks: sender, relay: None, dry }, gatherer)
}

impl Gatherer {
    /// Answers asks until every ledger is gone, then gives back what was borrowed and not used.
    pub async fn run(mut self, now: impl Fn() -> Timestamp) {
        while let Some(first) = self.asks.recv().await {
            // Others ask while the transaction opens.
            let opened = self.store.write().await;
            let asks = self.gather(first).await;
            self.answer(opened, asks, now()).await;
        }
        if self.traffic.has_left()
            && let Err(error) = self.leave(now()).await
        {
            tracing::debug!(%error, "what was borrowed of the limits is not given back");
        }
    }

    async fn leave(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.store.write().await?;
        self.traffic.give_back(&mut tx, now).await?;
        tx.commit().await
    }

    /// Takes what waits, and waits a little for more: the fewer commits, the less each message costs. There is nothing to wait
    /// for once every delivery in flight has come back.
    async fn gather(&mut self, first: Ask) -> Vec<Ask> {
        let mut back = usize::from(first.done.is_some());
        let mut asks = vec![first];
        let mut lingers = false;
        while asks.len() < BATCH {
            let ask = match self.asks.try_recv() {
                Ok(ask) => Some(ask),
                Err(_) if back >= self.held.len() => None,
                Err(_) => {
                    if !lingers && self.linger.start(patience(self.held.len())).is_err() {
                        return asks;
                    }
                    lingers = true;
                    tokio::select! {
                        biased;
                        ask = self.asks.recv() => ask,
                        () = self.linger.over() => None,
                    }
                }
            };
            let Some(ask) = ask else { break };
            back += usize::from(ask.done.is_some());
            asks.push(ask);
        }
        asks
    }

    async fn answer(&mut self, opened: Result<Tx, StoreError>, mut asks: Vec<Ask>, now: Timestamp) {
        asks.iter_mut().for_each(|ask| ask.done = ask.done.take().filter(|done| self.is_current(done)));
        // What goes wrong is weighed in the transaction, and has to be forgotten with it.
        let bad = asks.iter().flat_map(|ask| &ask.done).any(|done| done.seen.is_bad());
        let before = bad.then(|| (self.traffic.clone(), self.breakers.clone()));
        let done = match opened {
            Ok(tx) => self.transact(tx, &asks, now).await,
            Err(error) => Err(error),
        };
        match done {
            Ok((turns, news)) => {
                news.iter().for_each(|one| one.tell(&self.owner.alarms, now));
                self.committed(&asks, &turns, now);
                for (ask, turn) in asks.into_iter().zip(turns) {
                    // A connection that is gone leaves its row leased; the next start finds it.
                    let _ = ask.answer.send(Ok(turn));
                }
            }
            Err(error) => {
                if let Some(before) = before {
                    (self.traffic, self.breakers) = before;
                }
                self.traffic.forget();
                self.in_doubt = true;
                tracing::error!(%error, asks = asks.len(), "the ledger cannot write; nothing is sent until it can");
                let problem = LedgerProblem(error.to_string());
                for ask in asks {
                    let _ = ask.answer.send(Err(problem.clone()));
                }
            }
        }
    }

    /// Whether nobody has claimed the delivery since: a settlement that was written although its answer was lost comes again.
    fn is_current(&self, done: &Done) -> bool {
        let held = self.held.get(&done.settled.delivery);
        !matches!((held, done.lease), (Some(held), Some(lease)) if held.lease != lease)
    }

    /// What is durable now: who holds what, and the attempts that are only counted.
    fn committed(&mut self, asks: &[Ask], turns: &[Turn], now: Timestamp) {
        for done in asks.iter().filter_map(|ask| ask.done.as_ref()) {
            if let Some(held) = self.held.remove(&done.settled.delivery) {
                self.traffic.came_back(held.lane);
            }
            let is_lost =
                matches!(done.settled.settlement.state, DeliveryState::Refused | DeliveryState::Expired);
            if let (Some(who), true, true) = (&done.settled.recipient, done.seen.house, is_lost) {
                let (who, why) = (Masked(who.as_str()).to_string(), &done.settled.settlement.last_reply);
                let text = format!("{who}: {}", MaskedText(why));
                self.owner.alarms.raise(AlarmCause::HouseUnreachable, &who, &text, now);
            }
            if !done.seen.is_bad() {
                self.traffic.count(&done.seen, now);
                self.breakers.count(&done.seen);
            }
        }
        for turn in turns {
            if let Turn::Delivery(claimed) = turn {
                self.held.insert(claimed.id, Held { lane: claimed.lane, lease: claimed.lease });
            }
        }
        *lock(&self.dry) = self.traffic.dry();
    }

    /// All or nothing. Who was declared dead may still settle what it sent, but claims nothing more.
    async fn transact(
        &mut self,
        mut tx: Tx,
        asks: &[Ask],
        now: Timestamp,
    ) -> Result<(Vec<Turn>, Vec<News>), StoreError> {
        // Rows are locked in the order of `store`: owners, deliveries, lanes, editions, limits.
        let wants = asks.iter().any(|ask| ask.wants);
        let beats = wants && self.heard_of.is_none_or(|at| now.since(at) >= HEARD_OF);
        let alive = !beats || owners::beat(&mut tx, self.owner.id, now).await?;
        let settled: Vec<Settled> =
            asks.iter().filter_map(|ask| Some(ask.done.as_ref()?.settled.clone())).collect();
        deliveries::settle(&mut tx, &settled).await?;
        bounces::refused(&mut tx, asks.iter().filter_map(|ask| ask.done.as_ref()), now).await?;
        if self.in_doubt {
            self.give_back(&mut tx, &settled).await?;
        }
        let seen = asks.iter().filter_map(|ask| Some(&ask.done.as_ref()?.seen)).filter(|seen| seen.is_bad());
        let looked = self.traffic.lock(&mut tx, seen.clone(), wants && alive, now).await?;
        let news = self.breakers.weigh(&mut tx, &mut self.traffic, seen, now).await?;
        let turns = match wants && alive {
            true => self.claim(&mut tx, asks, looked, now).await?,
            false => vec![Turn::Nothing; asks.len()],
        };
        tx.commit().await?;
        self.in_doubt = false;
        if beats && alive {
            self.heard_of = Some(now);
        }
        Ok((turns, news))
    }

    /// Gives each ask that wants one a delivery, as far as relays and lanes have permits.
    async fn claim(&mut self, tx: &mut Tx, asks: &[Ask], looked: bool, now: Timestamp) -> Turns {
        let mut turns = vec![Turn::Nothing; asks.len()];
        let mut permitted = Vec::new();
        let mut relays: BTreeMap<Option<i64>, Vec<usize>> = BTreeMap::new();
        for (at, ask) in asks.iter().enumerate().filter(|(_, ask)| ask.wants) {
            relays.entry(ask.relay).or_default().push(at);
        }
        for (relay, wanting) in relays {
            let share = wanting.iter().map(|at| asks[*at].share).min().unwrap_or(WHOLE);
            let permits = self.traffic.relay_permits(tx, relay, (wanting.len(), share), now).await?;
            let (now_served, later) = wanting.split_at(permits);
            permitted.extend_from_slice(now_served);
            let wait = self.traffic.relay_wait(relay, now);
            later.iter().for_each(|at| turns[*at] = Turn::Later(wait));
        }
        permitted.sort_unstable();
        let claimed = self.claim_from_lanes(tx, permitted.len(), looked, now).await?;
        let none = self.traffic.wait(now).map_or(Turn::Nothing, Turn::Later);
        let mut claimed = claimed.into_iter();
        for at in permitted {
            turns[at] = match claimed.next() {
                Some(one) => {
                    self.traffic.sent_by(asks[at].relay);
                    self.leases += 1;
                    Turn::Delivery(Box::new(Claimed { lease: self.leases, ..one }))
                }
                None => none.clone(),
            };
        }
        Ok(turns)
    }

    /// One lane after the other; where they do not bring enough, they are looked at again, once.
    async fn claim_from_lanes(
        &mut self,
        tx: &mut Tx,
        wanted: usize,
        mut looked: bool,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, StoreError> {
        let mut claimed: Vec<Claimed> = Vec::with_capacity(wanted);
        if wanted == 0 {
            return Ok(claimed);
        }
        let mut request = ClaimRequest {
            owner: self.owner.id,
            key_id: self.owner.key_id,
            lane: LANE_OTHER,
            desk_only: false,
            limit: 0,
            lapsed: self.owner.shelf.get().publication.lapsed_tier.clone(),
            now,
        };
        loop {
            let candidates = self.traffic.candidates(now);
            self.traffic.open_accounts(tx, &candidates, now).await?;
            for lane in candidates {
                let permits = self.traffic.permits(tx, lane, wanted - claimed.len(), now).await?;
                if permits == 0 {
                    continue;
                }
                request.lane = lane;
                request.limit = permits;
                request.desk_only = self.traffic.is_paused(lane);
                let mut found = claims::claim(tx, &request).await?;
                self.traffic.claimed(lane, permits, found.len());
                claimed.append(&mut found);
            }
            if claimed.len() == wanted || looked {
                return Ok(claimed);
            }
            looked = true;
            self.traffic.read(tx, now).await?;
        }
    }

    /// A claim whose commit succeeded although its answer was lost is in nobody's hand: it was never sent.
    async fn give_back(&self, tx: &mut Tx, settled: &[Settled]) -> Result<(), StoreError> {
        let settling = |id: &&i64| settled.iter().all(|one| one.delivery != **id);
        let held: Vec<i64> = self.held.keys().filter(settling).copied().collect();
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

/// Whether anything is due in a lane that is neither paused nor quiet. Writes nothing.
///
/// # Errors
/// When the database fails.
pub async fn has_work(store: &Store, now: Timestamp) -> Result<bool, StoreError> {
    Ok(!due_lanes(store, now).await?.is_empty())
}

async fn due_lanes(store: &Store, now: Timestamp) -> Result<Vec<i64>, StoreError> {
    let states = lanes::states(&mut store.read().await?, now).await?;
    let open = |lane: &LaneState| {
        let leaves = lane.due.is_some_and(|stream| lane.paused.is_none() || stream < 0);
        leaves && !lane.pace.is_quiet(now)
    };
    Ok(states.iter().filter(|lane| open(lane)).map(|lane| lane.id).collect())
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
                still.push((id, slug, open.held));
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
    for (id, slug, held) in still {
        if closing::close(store, (id, &slug), held, now).await? {
            finished.push(slug);
        }
    }
    Ok(finished)
}
