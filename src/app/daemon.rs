//! Construction and the life of one process: which workers run, what wakes them, and how they end.
//!
//! Workers are awaited, never dropped in the middle: after SIGTERM no new MAIL is sent and no new message taken; what is on the
//! wire gets `drain` to be answered, is settled, and what is left stays leased for the next start to find. A worker that ends by
//! itself brings the process down, because half a daemon looks alive and is not.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use super::Setup;
use crate::domain::delivery;
use crate::intake::lmtp::{self, Listener, LmtpConfig};
use crate::runtime::{Clock, Shutdown, Timestamp};
use crate::store::{DaemonLock, Dialect, Store, StoreError, deliveries, owners, staff};
use crate::tasks::ledger::{self, Gatherer, Owner};
use crate::tasks::notice::Press;
use crate::tasks::receive::{self, Doors, Receiver};
use crate::tasks::schedule::{Happened, Scheduler};
use crate::tasks::send::{Connection, SendLine, Wording};
use crate::tasks::threading::Desk;
use crate::transport::{Pacer, Timeouts};

/// How often an owner says that it lives; one that has not for [`SILENCE`] is dead.
const HEARTBEAT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(30);

/// Every second, in the six fields that the ticker reads, UTC.
const TICK: &str = "* * * * * *";

/// Which workers a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    pub schedule: bool,
    pub send: bool,
    pub receive: bool,
}

impl Parts {
    pub const ALL: Parts = Parts { schedule: true, send: true, receive: true };
}

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartProblem {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot listen for mail on {place}: {error}")]
    Listen { place: String, error: std::io::Error },
    #[error("the ticker did not start: {0}")]
    Ticker(#[from] JobSchedulerError),
}

/// A running daemon.
pub struct Daemon {
    store: Store,
    owner: i64,
    clock: Arc<dyn Clock>,
    shutdown: Shutdown,
    drain: Duration,
    ticker: JobScheduler,
    /// Everything that ends by itself once shutdown was asked for.
    workers: JoinSet<&'static str>,
    /// Connections: awaited for `drain` only.
    connections: JoinSet<&'static str>,
    lmtp: Option<SocketAddr>,
    _lock: DaemonLock,
}

impl Daemon {
    /// Takes over what a dead owner left, then starts the workers.
    ///
    /// # Errors
    /// When the store is held by another daemon or is away, or a door cannot be opened. Nothing runs then.
    pub async fn start(
        setup: &Setup,
        store: Store,
        clock: Arc<dyn Clock>,
        shutdown: Shutdown,
        parts: Parts,
    ) -> Result<Daemon, StartProblem> {
        let lock = store.lock_for_daemon()?;
        let listener = match (&setup.settings.intake.lmtp, parts.receive) {
            (Some(listen), true) => Some(
                Listener::bind(listen)
                    .await
                    .map_err(|error| StartProblem::Listen { place: format!("{listen:?}"), error })?,
            ),
            _ => None,
        };
        let owner = take_over(setup, &store, clock.now()).await?;
        let mut daemon = Daemon {
            lmtp: listener.as_ref().and_then(|listener| listener.local_addr()),
            store,
            owner,
            clock,
            shutdown,
            drain: setup.settings.drain,
            ticker: JobScheduler::new().await?,
            workers: JoinSet::new(),
            connections: JoinSet::new(),
            _lock: lock,
        };
        let tick = daemon.start_ticker().await?;
        let wake = Arc::new(Notify::new());
        if parts.schedule {
            daemon.start_schedule(setup, tick.clone(), wake.clone());
        }
        if parts.send {
            daemon.start_send(setup, wake.clone());
        }
        daemon.start_keeping(tick.clone(), wake.clone());
        if parts.receive {
            daemon.start_receive(setup, listener, tick, wake).await?;
        }
        Ok(daemon)
    }

    /// Where LMTP listens, if it does over TCP.
    pub fn lmtp(&self) -> Option<SocketAddr> {
        self.lmtp
    }

    /// Runs until shutdown is asked for, then drains. Answers whether every worker ended as it should.
    pub async fn finish(mut self) -> bool {
        let mut sound = true;
        tokio::select! {
            // First, because it is also what ends the workers.
            biased;
            () = self.shutdown.wait() => {}
            ended = self.workers.join_next() => sound = report_early(ended),
            ended = self.connections.join_next(), if !self.connections.is_empty() => sound = report_early(ended),
        }
        self.shutdown.ask();
        let drained =
            tokio::time::timeout(self.drain, async { while self.connections.join_next().await.is_some() {} });
        if drained.await.is_err() {
            tracing::warn!(
                connections = self.connections.len(),
                "no reply within the drain time; these deliveries stay leased and are uncertain at the next start"
            );
        }
        self.connections.abort_all();
        while self.connections.join_next().await.is_some() {}
        if let Err(error) = self.ticker.shutdown().await {
            tracing::debug!(%error, "the ticker");
        }
        // A slow peer in the middle of a message could hold intake for minutes; unacknowledged, it comes again.
        let ended = tokio::time::timeout(self.drain, async {
            while let Some(ended) = self.workers.join_next().await {
                sound &= ended.is_ok();
            }
        });
        if ended.await.is_err() {
            self.workers.abort_all();
        }
        if let Err(error) = end_owner(&self.store, self.owner, self.clock.now()).await {
            tracing::warn!(%error, "the end of this process could not be written down");
        }
        sound
    }

    async fn start_ticker(&mut self) -> Result<Arc<Notify>, StartProblem> {
        let tick = Arc::new(Notify::new());
        let ticked = tick.clone();
        let job = Job::new(TICK, move |_, _| ticked.notify_waiters())?;
        self.ticker.add(job).await?;
        self.ticker.start().await?;
        Ok(tick)
    }

    fn start_schedule(&mut self, setup: &Setup, tick: Arc<Notify>, wake: Arc<Notify>) {
        let scheduler =
            Scheduler::new(self.store.clone(), setup.content.clone(), setup.edition_frame(), wake);
        let (clock, shutdown) = (self.clock.clone(), self.shutdown.clone());
        self.workers.spawn(async move {
            let mut blocked = HashMap::new();
            while !shutdown.asked() {
                match scheduler.step(clock.now()).await {
                    Ok(happened) => happened.into_iter().for_each(|event| tell(event, &mut blocked)),
                    Err(error) => tracing::error!(%error, "due editions could not be looked at"),
                }
                wait(&tick, &shutdown).await;
            }
            "schedule"
        });
    }

    fn start_send(&mut self, setup: &Setup, wake: Arc<Notify>) {
        let publication = &setup.content.publication;
        let who = Owner {
            id: self.owner,
            key_id: setup.keyring.current_key_id().into(),
            lapsed: publication.lapsed_tier.clone(),
        };
        let (asks, gatherer) = ledger::ledger(self.store.clone(), who);
        self.start_gatherer(gatherer);
        // The check refuses a second relay until relays share by weight.
        let Some(relay) = setup.settings.relays.first().cloned() else { return };
        let connections = relay.connections;
        let line = Arc::new(SendLine {
            store: self.store.clone(),
            ledger: asks,
            owner: self.owner,
            pacer: Pacer::new(&relay.rates),
            relay,
            timeouts: Timeouts::default(),
            retry: setup.settings.retry.clone(),
            keyring: setup.keyring.clone(),
            people: Wording {
                tier_labels: publication
                    .tiers
                    .iter()
                    .map(|tier| (tier.id.clone(), tier.label.clone()))
                    .collect(),
                timezone: publication.timezone,
            },
            bodies: Default::default(),
            health: Default::default(),
            clock: self.clock.clone(),
            shutdown: self.shutdown.clone(),
            wake,
        });
        for _ in 0..connections {
            let connection = Connection::new(line.clone());
            self.connections.spawn(async move {
                connection.run().await;
                "connection"
            });
        }
    }

    fn start_gatherer(&mut self, gatherer: Gatherer) {
        let clock = self.clock.clone();
        self.workers.spawn(async move {
            gatherer.run(|| clock.now()).await;
            "ledger"
        });
    }

    /// Heartbeat, doubtful rows whose wait is over, finished editions, and the look for due work that backs every hint.
    fn start_keeping(&mut self, tick: Arc<Notify>, wake: Arc<Notify>) {
        let (store, owner) = (self.store.clone(), self.owner);
        let (clock, shutdown) = (self.clock.clone(), self.shutdown.clone());
        self.workers.spawn(async move {
            let mut beaten = clock.now();
            while !shutdown.asked() {
                let now = clock.now();
                if let Err(error) = keep(&store, owner, &mut beaten, now, &wake).await {
                    tracing::error!(%error, "housekeeping");
                }
                wait(&tick, &shutdown).await;
            }
            "keeping"
        });
    }

    async fn start_receive(
        &mut self,
        setup: &Setup,
        listener: Option<Listener>,
        tick: Arc<Notify>,
        wake: Arc<Notify>,
    ) -> Result<(), StartProblem> {
        let recorded = Arc::new(Notify::new());
        let (recorder, line) = receive::recorder(self.store.clone(), recorded.clone());
        let clock = self.clock.clone();
        self.workers.spawn(async move {
            line.run(|| clock.now()).await;
            "recording"
        });
        let receiver = receiver(setup, &self.store, wake).await?;
        let (clock, shutdown) = (self.clock.clone(), self.shutdown.clone());
        self.workers.spawn(async move {
            while !shutdown.asked() {
                if let Err(error) = receiver.drain(|| clock.now()).await {
                    tracing::error!(%error, "received mail waits");
                }
                tokio::select! {
                    () = recorded.notified() => {}
                    () = wait(&tick, &shutdown) => {}
                }
            }
            "receive"
        });
        if let Some(listener) = listener {
            let doors = Arc::new(Doors { recorder, own: Arc::new(setup.own()) });
            let config =
                LmtpConfig::new(setup.settings.message_id_domain.clone(), setup.settings.intake.max_message);
            let shutdown = self.shutdown.clone();
            self.workers.spawn(async move {
                lmtp::serve(listener, config, doors, shutdown).await;
                "lmtp"
            });
        }
        Ok(())
    }
}

/// Everything that understands recorded messages, for the daemon and for commands.
///
/// # Errors
/// When the database fails.
pub async fn receiver(setup: &Setup, store: &Store, wake: Arc<Notify>) -> Result<Receiver, StoreError> {
    let mut tx = store.write().await?;
    let members = staff::sync(&mut tx, &setup.settings.desk.staff).await?;
    tx.commit().await?;
    let press = Press {
        content: setup.content.clone(),
        frame: setup.notice_frame(),
        desk_name: setup.settings.desk.mailbox.name.clone(),
    };
    Ok(Receiver {
        store: store.clone(),
        keyring: setup.keyring.clone(),
        own: Arc::new(setup.own()),
        desk: Desk { staff: members, press },
        max_message: setup.settings.intake.max_message,
        wake,
    })
}

/// Registers this process, and declares uncertain what dead ones held. On SQLite, where the lock proves that we are alone, every
/// other owner is dead; on PostgreSQL those are that have been silent.
async fn take_over(setup: &Setup, store: &Store, now: Timestamp) -> Result<i64, StoreError> {
    let retry = &setup.settings.retry;
    let mut tx = store.write().await?;
    let owner = owners::register(&mut tx, &format!("pid {}", std::process::id()), now).await?;
    let silent_since = match store.dialect() {
        Dialect::Sqlite => Timestamp(i64::MAX),
        Dialect::Postgres => Timestamp(now.millis() - SILENCE.as_millis() as i64),
    };
    owners::end_silent(&mut tx, owner, silent_since, now).await?;
    let resend_at = delivery::uncertain_due(0, now, retry).unwrap_or(now);
    let found = deliveries::recover(&mut tx, retry.on_uncertain, resend_at, now).await?;
    tx.commit().await?;
    if found > 0 {
        tracing::warn!(
            deliveries = found,
            "in flight when a process was lost: the relay may or may not have them"
        );
    }
    Ok(owner)
}

async fn end_owner(store: &Store, owner: i64, now: Timestamp) -> Result<(), StoreError> {
    let mut tx = store.write().await?;
    owners::end(&mut tx, owner, now).await?;
    tx.commit().await
}

async fn keep(
    store: &Store,
    owner: i64,
    beaten: &mut Timestamp,
    now: Timestamp,
    wake: &Notify,
) -> Result<(), StoreError> {
    if now.since(*beaten) >= HEARTBEAT {
        let mut tx = store.write().await?;
        owners::beat(&mut tx, owner, now).await?;
        tx.commit().await?;
        *beaten = now;
    }
    for slug in ledger::tidy(store, now).await? {
        tracing::info!(edition = %slug, "the edition is finished");
    }
    if ledger::has_work(store, now).await? {
        wake.notify_waiters();
    }
    Ok(())
}

async fn wait(tick: &Notify, shutdown: &Shutdown) {
    tokio::select! {
        () = tick.notified() => {}
        () = shutdown.wait() => {}
    }
}

/// A blocked edition is told once for the same problems, not every second.
fn tell(event: Happened, blocked: &mut HashMap<String, usize>) {
    match event {
        Happened::Queued { slug, audience } => {
            tracing::info!(edition = %slug, audience, "the edition is queued");
        }
        Happened::Missed { slug } => {
            tracing::error!(edition = %slug, "the edition is missed: its time was over")
        }
        Happened::Blocked { slug, problems } => {
            if blocked.insert(slug.clone(), problems.len()) != Some(problems.len()) {
                for problem in problems {
                    tracing::error!(edition = %slug, %problem, "the edition is due and cannot be sent");
                }
            }
        }
    }
}

fn report_early(ended: Option<Result<&'static str, tokio::task::JoinError>>) -> bool {
    match ended {
        Some(Ok(worker)) => tracing::error!(worker, "a worker ended by itself; the daemon stops"),
        Some(Err(error)) => tracing::error!(%error, "a worker broke; the daemon stops"),
        None => return true,
    }
    false
}
