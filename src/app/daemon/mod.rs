//! Construction and the life of one process: which workers run, what wakes them, and how they end.
//!
//! Workers are awaited, never dropped in the middle: after SIGTERM no new MAIL is sent and no new message taken; what is on the
//! wire gets `drain` to be answered, is settled, and what is left stays leased for the next start to find. A worker that ends by
//! itself brings the process down, because half a daemon looks alive and is not.

mod pages;

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
use super::doors::{self, House};
use super::keeping::{Keeping, told_of_dead};
use super::operations::{self, PagesListener};
use super::receiving::receiver;
use crate::intake::lmtp::Listener;
use crate::runtime::{Clock, Shutdown, Timestamp, Vitals, init_system};
use crate::store::lanes::{self, Known};
use crate::store::{DaemonLock, Store, StoreError};
use crate::tasks::alarm::{Alarms, Teller};
use crate::tasks::bodies::Bodies;
use crate::tasks::health::Health;
use crate::tasks::lease::{self, Entered};
use crate::tasks::ledger::{self, Gatherer, Owner};
use crate::tasks::report::Reporter;
use crate::tasks::restore;
use crate::tasks::retention::Retention;
use crate::tasks::schedule::{Happened, Scheduler};
use crate::tasks::send::{Connection, SendLine};
use crate::tasks::shares::Shares;
use crate::tasks::signing::Signing;
use crate::tasks::traffic::Caps;
use crate::tasks::watch::Watch;
use crate::transport::{Pacer, Timeouts};

/// What is left to write when the drain time is over.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// Workers look again after this time whatever became of the ticker, whose clock is the wall's and may be set back.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// A worker that is silent for longer is stuck: far longer than its longest round, with a database that does not answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A round that may render and queue for a million people, or read a very long backlog.
const LONG_PATIENCE: Duration = Duration::from_secs(600);

/// Every second, in the six fields that the ticker reads, UTC.
const TICK: &str = "* * * * * *";

/// Which workers a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    pub schedule: bool,
    pub send: bool,
    pub receive: bool,
    /// The pages for operators, and those for everybody.
    pub web: bool,
}

impl Parts {
    pub const ALL: Parts = Parts { schedule: true, send: true, receive: true, web: true };
}

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartProblem {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot listen for mail on {place}: {error}")]
    Listen { place: String, error: std::io::Error },
    #[error("cannot serve pages on {address}: {error}; `{key}` names where")]
    Pages { key: &'static str, address: SocketAddr, error: std::io::Error },
    #[error(
        "another daemon was heard of within the last 30 s; stop all of them before one puts a copy to use"
    )]
    NotAlone,
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
    pages: Option<SocketAddr>,
    public: Option<SocketAddr>,
    vitals: Vitals,
    alarms: Alarms,
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
            (Some(lmtp), true) => Some(
                Listener::bind(lmtp)
                    .await
                    .map_err(|error| StartProblem::Listen { place: lmtp.listen.to_string(), error })?,
            ),
            _ => None,
        };
        let web = &setup.settings.web;
        let pages = operations::bind_pages("web.private", web.private.filter(|_| parts.web))?;
        let public = operations::bind_pages("web.listen", web.listen.filter(|_| parts.web))?;
        let (vitals, alarms) = (Vitals::default(), Alarms::default());
        let parts = operations::on_hold(&store, (&vitals, clock.now()), parts).await?;
        let process = format!("pid {}", std::process::id());
        let started_at = clock.now();
        let Entered { owner, ended } =
            lease::enter(&store, &process, &setup.settings.retry, started_at).await?;
        vitals.wrote(started_at);
        let known = write_lanes(setup, &store, clock.now()).await?;
        let mut daemon = Daemon {
            lmtp: listener.as_ref().and_then(|listener| listener.local_addr()),
            pages: pages.as_ref().and_then(PagesListener::address),
            public: public.as_ref().and_then(PagesListener::address),
            store,
            owner,
            clock,
            shutdown,
            drain: setup.settings.drain,
            ticker: JobScheduler::new().await?,
            workers: JoinSet::new(),
            connections: JoinSet::new(),
            vitals,
            alarms,
            _lock: lock,
        };
        let tick = daemon.start_ticker().await?;
        let wake = Arc::new(Notify::new());
        if parts.schedule {
            daemon.start_schedule(setup, tick.clone(), wake.clone()).await?;
        }
        let lines = match parts.send {
            true => daemon.start_send(setup, &known, &wake),
            false => Vec::new(),
        };
        daemon.start_keeping(setup, ended, tick.clone(), wake.clone()).await?;
        daemon.start_reload(setup, lines)?;
        if parts.receive {
            daemon.start_receive(setup, listener, tick, wake.clone()).await?;
        }
        if let Some(public) = public {
            daemon.start_public(setup, public, wake.clone())?;
        }
        if let Some(pages) = pages {
            daemon.start_pages(setup, pages, wake, started_at).await?;
        }
        daemon.start_watchdog();
        Ok(daemon)
    }

    /// Where the private pages are, if they are served.
    pub fn pages(&self) -> Option<SocketAddr> {
        self.pages
    }

    /// Where the public pages are, if they are served.
    pub fn public(&self) -> Option<SocketAddr> {
        self.public
    }

    /// The id under which this process holds what it sends.
    pub fn owner(&self) -> i64 {
        self.owner
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
            ended = self.workers.join_next() => sound = operations::report_early(ended),
            ended = self.connections.join_next(), if !self.connections.is_empty() => sound = operations::report_early(ended),
        }
        self.shutdown.ask();
        init_system::stopping();
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

    async fn start_schedule(
        &mut self,
        setup: &Setup,
        tick: Arc<Notify>,
        wake: Arc<Notify>,
    ) -> Result<(), StartProblem> {
        let scheduler = Scheduler::new(self.store.clone(), setup.shelf.clone(), setup.settings.clone(), wake)
            .after_restore(restore::restored_at(&self.store).await?);
        let pulse = self.vitals.worker("schedule", LONG_PATIENCE);
        let (clock, shutdown) = (self.clock.clone(), self.shutdown.clone());
        self.workers.spawn(async move {
            let mut blocked = HashMap::new();
            while !shutdown.asked() {
                match scheduler.step(clock.now()).await {
                    Ok(happened) => happened.into_iter().for_each(|event| tell(event, &mut blocked)),
                    Err(error) => tracing::error!(%error, "due editions could not be looked at"),
                }
                pulse.beat();
                wait(&tick, &shutdown).await;
            }
            "schedule"
        });
        Ok(())
    }

    fn start_send(&mut self, setup: &Setup, known: &Known, wake: &Arc<Notify>) -> Vec<Arc<SendLine>> {
        let settings = &setup.settings;
        let who = Owner {
            id: self.owner,
            key_id: setup.keyring.current_key_id().into(),
            shelf: setup.shelf.clone(),
            alarms: self.alarms.clone(),
        };
        let lanes = known.lanes.iter().zip(&settings.domains);
        let caps = Caps {
            connections: settings.relays.iter().map(|relay| relay.connections).sum(),
            lanes: lanes.filter_map(|(id, lane)| Some((*id, lane.connections?))).collect(),
        };
        let (asks, gatherer) = ledger::ledger_within(self.store.clone(), who, caps);
        self.start_gatherer(gatherer);
        let pulse = self.vitals.worker("ledger", PATIENCE);
        let asked = operations::ask_ledger(asks.clone(), pulse, self.shutdown.clone());
        self.workers.spawn(async move {
            asked.await;
            "ledger's pulse"
        });
        let weights: Vec<u32> = settings.relays.iter().map(|relay| relay.weight).collect();
        let shares = Arc::new(Shares::new(&weights));
        let bodies = Arc::new(Bodies::default());
        let signing = setup.signer.clone().map(Signing::new);
        let relays = settings.relays.iter().zip(&known.relays).enumerate();
        let lines = relays.map(|(index, (relay, id))| {
            Arc::new(SendLine {
                store: self.store.clone(),
                ledger: asks.of_relay(*id),
                owner: self.owner,
                pacer: Pacer::new(&relay.rates),
                relay: relay.clone(),
                timeouts: Timeouts::default(),
                retry: settings.retry.clone(),
                keyring: setup.keyring.clone(),
                signing: signing.clone(),
                shelf: setup.shelf.clone(),
                bodies: bodies.clone(),
                health: Health::among(shares.clone(), index),
                alarms: self.alarms.clone(),
                clock: self.clock.clone(),
                shutdown: self.shutdown.clone(),
                wake: wake.clone(),
            })
        });
        let lines: Vec<Arc<SendLine>> = lines.collect();
        for line in &lines {
            for _ in 0..line.relay.connections {
                let connection = Connection::new(line.clone());
                self.connections.spawn(async move {
                    connection.run().await;
                    "connection"
                });
            }
        }
        lines
    }

    /// SIGHUP: the editors' part is read again at once. A config that does not check is refused and the old one stays; what falls
    /// due is queued only from files that check. Relays that were stopped are tried again.
    fn start_reload(&mut self, setup: &Setup, lines: Vec<Arc<SendLine>>) -> Result<(), StartProblem> {
        let mut hangup = signal(SignalKind::hangup()).map_err(StartProblem::Signals)?;
        let (shelf, shutdown) = (setup.shelf.clone(), self.shutdown.clone());
        let (alarms, clock) = (self.alarms.clone(), self.clock.clone());
        self.workers.spawn(async move {
            loop {
                tokio::select! {
                    _ = hangup.recv() => {
                        init_system::reloading();
                        lines.iter().for_each(|line| line.health.resume());
                        operations::reload(&shelf, &alarms, clock.now()).await;
                        init_system::ready("the editors' files were read again");
                    }
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

    /// Who finds itself declared dead ends, and with it the process.
    async fn start_keeping(
        &mut self,
        setup: &Setup,
        ended: u64,
        tick: Arc<Notify>,
        wake: Arc<Notify>,
    ) -> Result<(), StartProblem> {
        let teller = Teller {
            alarms: self.alarms.clone(),
            store: self.store.clone(),
            shelf: setup.shelf.clone(),
            settings: setup.settings.clone(),
        };
        let mut keeping = Keeping {
            store: self.store.clone(),
            owner: self.owner,
            keyring: setup.keyring.clone(),
            retry: setup.settings.retry.clone(),
            reporter: Reporter { shelf: setup.shelf.clone(), settings: setup.settings.clone() },
            watch: Watch::start(&teller).await?,
            retention: Retention::new(self.store.clone(), setup.settings.retention.clone()),
            teller,
            vitals: self.vitals.clone(),
            wake,
            beaten: self.clock.now(),
            away: false,
        };
        told_of_dead(&keeping.teller, ended, keeping.beaten);
        let pulse = self.vitals.worker("keeping", PATIENCE);
        let (clock, shutdown) = (self.clock.clone(), self.shutdown.clone());
        self.workers.spawn(async move {
            while !shutdown.asked() && keeping.step(clock.now()).await {
                pulse.beat();
                wait(&tick, &shutdown).await;
            }
            "keeping"
        });
        Ok(())
    }

    fn start_watchdog(&mut self) {
        let Some(every) = init_system::watched() else { return };
        let watched =
            operations::watchdog(self.vitals.clone(), every, self.shutdown.clone(), init_system::alive);
        self.workers.spawn(async move {
            watched.await;
            "watchdog"
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
        let receiver = receiver(setup, &self.store, self.alarms.clone(), wake).await?;
        let (clock, shutdown, alarms) = (self.clock.clone(), self.shutdown.clone(), self.alarms.clone());
        let pulse = self.vitals.worker("receive", LONG_PATIENCE);
        self.workers.spawn(async move {
            while !shutdown.asked() {
                if let Err(error) = operations::understand(&receiver, &*clock, &alarms, &pulse).await {
                    tracing::error!(%error, "received mail waits");
                }
                pulse.beat();
                tokio::select! {
                    () = recorded.notified() => {}
                    () = wait(&tick, &shutdown) => {}
                }
            }
            "receive"
        });
        let house = House {
            store: self.store.clone(),
            alarms: self.alarms.clone(),
            clock: self.clock.clone(),
            shutdown: self.shutdown.clone(),
            recorded: hint,
        };
        doors::open(&mut self.workers, setup, listener, house);
        Ok(())
    }
}

/// The config's lanes and relays, as the store knows them.
async fn write_lanes(setup: &Setup, store: &Store, now: Timestamp) -> Result<Known, StoreError> {
    let once = || async {
        let mut tx = store.write().await?;
        let known = lanes::sync(&mut tx, &setup.settings.domains, &setup.settings.relays, now).await?;
        tx.commit().await?;
        Ok(known)
    };
    match once().await {
        // Another process was claiming, and PostgreSQL chose us to give way.
        Err(error) if matches!(&error, StoreError::Sql(_)) && error.is_away() => once().await,
        done => done,
    }
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
