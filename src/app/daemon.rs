//! Construction and the life of one process: which workers run, what wakes them, and how they end.
//!
//! Workers are awaited, never dropped in the middle: after SIGTERM no new MAIL is sent and no new message taken; what is on the
//! wire gets `drain` to be answered, is settled, and what is left stays leased for the next start to find. A worker that ends by
//! itself brings the process down, because half a daemon looks alive and is not.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use super::Setup;
use crate::domain::settings::IntakeSettings;
use crate::intake::lmtp::{self, Listener, LmtpConfig};
use crate::intake::signature::Signatures;
use crate::runtime::{Clock, Shutdown, Timestamp};
use crate::store::{DaemonLock, Store, StoreError, staff};
use crate::tasks::content::Shelf;
use crate::tasks::lease;
use crate::tasks::ledger::{self, Gatherer, Owner};
use crate::tasks::notice::Press;
use crate::tasks::receive::{self, Doors, Proving, Receiver};
use crate::tasks::report::Reporter;
use crate::tasks::schedule::{Happened, Scheduler};
use crate::tasks::send::{Connection, SendLine};
use crate::tasks::signing::Signing;
use crate::tasks::threading::Desk;
use crate::transport::{Pacer, Timeouts};

/// What is left to write when the drain time is over.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// Workers look again after this time whatever became of the ticker, whose clock is the wall's and may be set back.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

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
    #[error("no signals: {0}")]
    Signals(std::io::Error),
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
        let process = format!("pid {}", std::process::id());
        let owner = lease::enter(&store, &process, &setup.settings.retry, clock.now()).await?;
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
        daemon.start_keeping(setup, tick.clone(), wake.clone());
        daemon.start_reload(setup)?;
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
            // A worker that ended because it was asked to may be seen at the same moment: the wish counts.
            biased;
            () = self.shutdown.wait() => {}
            ended = self.workers.join_next() => sound = report_early(ended),
            ended = self.connections.join_next(), if !self.connections.is_empty() => sound = report_early(ended),
        }
        self.shutdown.ask();
        // One deadline for all of it: an init system waits no longer than the operator said.
        let deadline = Instant::now() + self.drain;
        let drained = timeout_at(deadline, async { while self.connections.join_next().await.is_some() {} });
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
        let ended = timeout_at(deadline.max(Instant::now() + LAST_WRITES), async {
            while let Some(ended) = self.workers.join_next().await {
                sound &= ended.is_ok();
            }
            if let Err(error) = lease::leave(&self.store, self.owner, self.clock.now()).await {
                tracing::warn!(%error, "the end of this process could not be written down");
            }
        });
        if ended.await.is_err() {
            self.workers.abort_all();
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
        let scheduler = Scheduler::new(self.store.clone(), setup.shelf.clone(), setup.settings.clone(), wake);
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
        let who = Owner {
            id: self.owner,
            key_id: setup.keyring.current_key_id().into(),
            shelf: setup.shelf.clone(),
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
            signing: setup.signer.clone().map(Signing::new),
            shelf: setup.shelf.clone(),
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

    /// SIGHUP: the editors' part is read again at once. A config that does not check is refused and the old one stays; what falls
    /// due is queued only from files that check.
    fn start_reload(&mut self, setup: &Setup) -> Result<(), StartProblem> {
        let mut hangup = signal(SignalKind::hangup()).map_err(StartProblem::Signals)?;
        let (shelf, shutdown) = (setup.shelf.clone(), self.shutdown.clone());
        self.workers.spawn(async move {
            loop {
                tokio::select! {
                    _ = hangup.recv() => reload(&shelf).await,
                    () = shutdown.wait() => return "reload",
                }
            }
        });
        Ok(())
    }

    fn start_gatherer(&mut self, gatherer: Gatherer) {
        let clock = self.clock.clone();
        self.workers.spawn(async move {
            gatherer.run(|| clock.now()).await;
            "ledger"
        });
    }

    /// Heartbeat, silent owners, doubtful rows whose wait is over, finished editions, and the look for due work that backs every
    /// hint. Who finds itself declared dead ends, and with it the process.
    fn start_keeping(&mut self, setup: &Setup, tick: Arc<Notify>, wake: Arc<Notify>) {
        let (store, owner, retry) = (self.store.clone(), self.owner, setup.settings.retry.clone());
        let reporter = Reporter { shelf: setup.shelf.clone(), settings: setup.settings.clone() };
        let (clock, shutdown) = (self.clock.clone(), self.shutdown.clone());
        self.workers.spawn(async move {
            let mut beaten = clock.now();
            while !shutdown.asked() {
                let now = clock.now();
                if now.since(beaten) >= lease::HEARTBEAT {
                    match lease::beat(&store, owner, &retry, now).await {
                        Ok(true) => beaten = now,
                        Ok(false) => {
                            tracing::error!("another process declared this one dead: its heartbeat was late");
                            break;
                        }
                        Err(error) => tracing::error!(%error, "heartbeat"),
                    }
                }
                if let Err(error) = keep(&store, &reporter, now, &wake).await {
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
        let hint = recorded.clone();
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
            self.start_door(setup, listener, hint);
        }
        Ok(())
    }

    /// LMTP, and the line that records what it takes. Without a door nothing is recorded here: `ingest` brings its own line.
    fn start_door(&mut self, setup: &Setup, listener: Listener, recorded: Arc<Notify>) {
        let (recorder, line) = receive::recorder(self.store.clone(), recorded);
        let clock = self.clock.clone();
        self.workers.spawn(async move {
            line.run(|| clock.now()).await;
            "recording"
        });
        let doors = Arc::new(Doors { recorder, own: Arc::new(setup.own()) });
        let settings = &setup.settings;
        let config = LmtpConfig::new(settings.message_id_domain.clone(), settings.intake.max_message);
        let shutdown = self.shutdown.clone();
        self.workers.spawn(async move {
            lmtp::serve(listener, config, doors, shutdown).await;
            "lmtp"
        });
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
        shelf: setup.shelf.clone(),
        frame: setup.notice_frame(),
        desk_name: setup.settings.desk.mailbox.name.clone(),
    };
    Ok(Receiver {
        store: store.clone(),
        keyring: setup.keyring.clone(),
        own: Arc::new(setup.own()),
        desk: Desk { staff: members, press },
        max_message: setup.settings.intake.max_message,
        reporter: Reporter { shelf: setup.shelf.clone(), settings: setup.settings.clone() },
        proving: proving(&setup.settings.intake),
        wake,
    })
}

fn proving(intake: &IntakeSettings) -> Proving {
    match &intake.authserv_id {
        Some(id) => Proving::Server(id.clone()),
        None => match Signatures::new(intake.resolver) {
            Ok(signatures) => Proving::Signatures(Box::new(signatures)),
            Err(why) => Proving::Nothing(format!("no name server can be asked for keys: {why}")),
        },
    }
}

async fn reload(shelf: &Arc<Shelf>) {
    let shelf = shelf.clone();
    match tokio::task::spawn_blocking(move || shelf.refresh()).await {
        Ok(Ok(content)) => tracing::info!(articles = content.articles.len(), "the editors' files are read"),
        Ok(Err(problems)) => {
            for problem in problems {
                tracing::error!(%problem, "the editors' files are refused, what was read before stays");
            }
        }
        Err(error) => tracing::error!(%error, "reading the editors' files broke"),
    }
}

async fn keep(store: &Store, reporter: &Reporter, now: Timestamp, wake: &Notify) -> Result<(), StoreError> {
    ledger::tidy(store, now).await?;
    reporter.first_passes(store, now).await?;
    if ledger::has_work(store, now).await? {
        wake.notify_waiters();
    }
    Ok(())
}

async fn wait(tick: &Notify, shutdown: &Shutdown) {
    tokio::select! {
        () = tick.notified() => {}
        () = tokio::time::sleep(LOOK_AGAIN) => {}
        () = shutdown.wait() => {}
    }
}

/// A blocked edition is told once for the same problems, not every second.
fn tell(event: Happened, blocked: &mut HashMap<String, usize>) {
    match event {
        Happened::Queued { slug, audience, waits_for_approval } => {
            tracing::info!(edition = %slug, audience, waits_for_approval, "the edition is queued");
        }
        Happened::Missed { slug, reason } => {
            tracing::error!(edition = %slug, %reason, "the edition is missed")
        }
        Happened::Skipped { slug, reason } => tracing::warn!(edition = %slug, %reason, "the date is skipped"),
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
