//! Several relays and lanes on one store: a process is a ledger with its send lines, stepped by hand.

use std::sync::{Arc, OnceLock};

use tidings::domain::settings::{DomainSettings, OnUncertain, Rate, RelaySettings};
use tidings::mail::token::Keyring;
use tidings::runtime::{Clock, Shutdown};
use tidings::store::{Store, editions, lanes, owners, people};
use tidings::tasks::content::Shelf;
use tidings::tasks::health::Health;
use tidings::tasks::ledger::{self, Owner};
use tidings::tasks::send::{Connection, SendLine, Step};
use tidings::tasks::shares::Shares;
use tidings::tasks::traffic::Caps;
use tidings::transport::{Pacer, Timeouts};
use tokio::task::JoinHandle;

use super::clock::{StoppedClock, TUESDAY};
use super::peer::Peer;
use super::receiving::example;
use super::sending::{edition, relay, retry, subscriber};

pub fn per_second(count: u32) -> Rate {
    Rate { count, per: std::time::Duration::from_secs(1) }
}

pub fn lane(domain: &str, rates: &[Rate]) -> DomainSettings {
    DomainSettings { matches: vec![domain.into()], rates: rates.to_vec(), connections: None }
}

pub fn named(name: &str, peer: &Peer) -> RelaySettings {
    RelaySettings { name: name.into(), ..relay(peer) }
}

/// People of the free tier.
pub async fn add_people(store: &Store, addresses: &[String]) {
    let people: Vec<_> = addresses.iter().map(|address| subscriber(address, "free")).collect();
    let mut tx = store.write().await.unwrap();
    for chunk in people.chunks(500) {
        people::add_many(&mut tx, &chunk.iter().collect::<Vec<_>>(), "test", "", TUESDAY).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// `count` addresses of one domain.
pub fn at(domain: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("p{n:05}@{domain}")).collect()
}

pub async fn queue(store: &Store, slug: &str) {
    let mut tx = store.write().await.unwrap();
    editions::queue(&mut tx, &edition(slug, &["free"]), TUESDAY).await.unwrap().unwrap();
    tx.commit().await.unwrap();
}

/// One process.
pub struct Process {
    pub lines: Vec<Arc<SendLine>>,
    pub clock: StoppedClock,
    pub store: Store,
    gathering: JoinHandle<()>,
}

impl Process {
    pub async fn start(
        store: &Store,
        clock: &StoppedClock,
        relays: &[RelaySettings],
        domains: &[DomainSettings],
    ) -> Process {
        let keyring = Arc::new(Keyring::new(&["a secret of sixteen or more".to_owned().into()]).unwrap());
        let now = clock.now();
        let mut tx = store.write().await.unwrap();
        let owner = owners::register(&mut tx, "test", now).await.unwrap();
        let known = lanes::sync(&mut tx, domains, relays, now).await.unwrap();
        tx.commit().await.unwrap();
        static SHELF: OnceLock<Arc<Shelf>> = OnceLock::new();
        let shelf = SHELF.get_or_init(|| example(&[]).shelf).clone();
        let who = Owner {
            id: owner,
            key_id: keyring.current_key_id().into(),
            shelf: shelf.clone(),
            alarms: Default::default(),
        };
        let caps = Caps {
            connections: relays.iter().map(|relay| relay.connections).sum(),
            lanes: known
                .lanes
                .iter()
                .zip(domains)
                .filter_map(|(id, lane)| Some((*id, lane.connections?)))
                .collect(),
        };
        let (asks, gatherer) = ledger::ledger_within(store.clone(), who, caps);
        let time = clock.clone();
        let gathering = tokio::spawn(gatherer.run(move || time.now()));
        let weights: Vec<u32> = relays.iter().map(|relay| relay.weight).collect();
        let shares = Arc::new(Shares::new(&weights));
        let line = |(index, (relay, id)): (usize, (&RelaySettings, &i64))| {
            Arc::new(SendLine {
                store: store.clone(),
                ledger: asks.of_relay(*id),
                owner,
                relay: relay.clone(),
                // It runs on the machine's clock; the rows are what these tests are about.
                pacer: Pacer::default(),
                timeouts: Timeouts::default(),
                retry: retry(OnUncertain::Resend),
                keyring: keyring.clone(),
                signing: None,
                shelf: shelf.clone(),
                bodies: Default::default(),
                alarms: Default::default(),
                health: Health::among(shares.clone(), index),
                clock: Arc::new(clock.clone()),
                shutdown: Shutdown::new(),
                wake: Default::default(),
            })
        };
        let lines = relays.iter().zip(&known.relays).enumerate().map(line).collect();
        Process { lines, clock: clock.clone(), store: store.clone(), gathering }
    }

    /// One connection to each relay.
    pub fn connections(&self) -> Vec<Connection> {
        self.lines.iter().map(|line| Connection::new(line.clone())).collect()
    }

    /// Steps one connection to each relay in turn until none of them finds anything. Answers how many each has tried.
    pub async fn drain(&self) -> Vec<usize> {
        let mut connections = self.connections();
        let mut tried = vec![0; connections.len()];
        loop {
            let before = tried.clone();
            for (at, connection) in connections.iter_mut().enumerate() {
                if connection.step().await == Step::Tried {
                    tried[at] += 1;
                }
            }
            if tried == before {
                break;
            }
        }
        tried
    }

    /// A clean end: what was borrowed is given back.
    pub async fn end(self) {
        drop(self.lines);
        self.gathering.await.unwrap();
    }

    /// The process is gone between two instructions.
    pub fn kill(self) {
        self.gathering.abort();
    }

    pub async fn edition(&self, slug: &str) -> editions::EditionRow {
        editions::show(&mut self.store.read().await.unwrap(), slug).await.unwrap().unwrap()
    }

    pub async fn lane(&self, name: &str) -> lanes::LaneState {
        let states = lanes::states(&mut self.store.read().await.unwrap(), self.clock.now()).await.unwrap();
        states.into_iter().find(|lane| lane.name == name).unwrap()
    }
}
