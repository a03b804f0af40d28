//! The daemon is killed at every step of sending, and a hundred times at random: on both databases nobody is missed, and what
//! comes twice is the very same message, at most as often as connections were open. Prints the table.
//!
//! The peer is what kills, so that the step is known: the process is stopped by SIGKILL while it waits for that very reply, or
//! with the reply in its socket, unread.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::daemon::{Daemon, EDITION, Site, until};
use crate::support::doubles::{doubles, no_doubles};
use crate::support::peer::{Do, Moment, Peer, Stage};
use crate::support::stores::TestStore;

const CONNECTIONS: usize = 8;

/// Where the daemon dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    /// It waits for the reply of this stage, and the peer never says it.
    At(Stage),
    /// The reply to the final dot is in its socket, and it never reads it.
    After250,
}

const DEATHS: [Death; 8] = [
    Death::At(Stage::Banner),
    Death::At(Stage::Ehlo),
    Death::At(Stage::Mail),
    Death::At(Stage::Rcpt),
    Death::At(Stage::Data),
    Death::At(Stage::Body),
    Death::At(Stage::Dot),
    Death::After250,
];

/// What the peer's script is armed with: a death at the n-th moment of its stage.
#[derive(Clone, Default)]
struct Trap {
    pid: Arc<AtomicI32>,
    set: Arc<Mutex<Option<(Death, usize)>>>,
}

impl Trap {
    fn arm(&self, daemon: &Daemon, death: Death, nth: usize) {
        self.pid.store(daemon.pid(), Ordering::SeqCst);
        *self.set.lock().unwrap() = Some((death, nth));
    }

    fn sprung(&self) -> bool {
        self.set.lock().unwrap().is_none()
    }

    fn step(&self, moment: &Moment) -> Do {
        let mut set = self.set.lock().unwrap();
        let Some((death, left)) = set.as_mut() else { return Do::Go };
        let stage = if let Death::At(stage) = *death { stage } else { Stage::Dot };
        if moment.stage != stage {
            return Do::Go;
        }
        *left -= 1;
        if *left > 0 {
            return Do::Go;
        }
        let after = *death == Death::After250;
        *set = None;
        let pid = self.pid.load(Ordering::SeqCst);
        // SAFETY: the child is waited for by its test after the trap has sprung, so the id is still its own. Stopped, it reads
        // nothing of what the peer says now; the test kills it then.
        assert_eq!(unsafe { libc::kill(pid, if after { libc::SIGSTOP } else { libc::SIGKILL }) }, 0);
        if after { Do::Go } else { Do::Stall }
    }
}

async fn trapped(store: &TestStore, policy: &str, count: usize) -> (Peer, Trap, Site, Vec<String>) {
    let trap = Trap::default();
    let script = trap.clone();
    let peer = Peer::start(&["PIPELINING", "8BITMIME"], move |moment| script.step(moment)).await;
    let site = Site::sending_to(peer.address);
    site.hurry();
    site.keep_in(store);
    site.change("tidings.toml", "on_uncertain = \"resend\"", &format!("on_uncertain = \"{policy}\""));
    let people = site.import(count);
    (peer, trap, site, people)
}

/// Starts once more, and lets an operator decide about what is held. Answers how many were held.
fn to_the_end(site: &Site, people: usize) -> usize {
    let daemon = site.start();
    let mut held = 0;
    loop {
        let edition = site.edition_in(&["sent", "attention"]);
        if edition["state"] == "sent" {
            assert_eq!(edition["counts"]["accepted"], people, "{edition}");
            break;
        }
        let rows = site.json(&["deliveries", "list", "--edition", EDITION, "--state", "uncertain", "--json"]);
        let listed = rows.as_array().unwrap().len();
        assert_eq!(edition["counts"]["uncertain"], listed, "every doubtful one is listed: {edition}");
        held += listed;
        assert_eq!(site.run(&["editions", "retry", EDITION]).code, 0);
        // Its rows move again before it may be looked at.
        site.edition_in(&["sending", "sent"]);
    }
    daemon.stop();
    held
}

async fn every_step(store: &TestStore) {
    const PEOPLE: usize = 600;
    let (peer, trap, site, people) = trapped(store, "resend", PEOPLE).await;
    // New connections all the time: the first ones are there before the trap is set.
    site.change("tidings.toml", "messages_per_connection = 100", "messages_per_connection = 10");
    let mut before = 0;
    for (turn, death) in DEATHS.into_iter().enumerate() {
        let daemon = site.start();
        // A connection is opened for every tenth message only.
        let nth = if matches!(death, Death::At(Stage::Banner | Stage::Ehlo)) { 1 + turn } else { 40 + turn };
        trap.arm(&daemon, death, nth);
        until(&format!("{death:?}: {}", daemon.log()), || trap.sprung().then_some(()));
        daemon.kill();
        let taken = peer.count();
        println!("{:8} {death:?} number {nth}: {} taken before it", store.name(), taken - before);
        before = taken;
    }
    let held = to_the_end(&site, PEOPLE);
    let doubles = doubles(&peer, &people);
    let bound = DEATHS.len() * CONNECTIONS;
    println!("{:8} every step: missed 0, doubles {doubles} (at most {bound}), held {held}", store.name());
    assert!(doubles <= bound, "{doubles}");
}

async fn at_random(store: &TestStore, policy: &str, kills: usize) {
    const PEOPLE: usize = 5_000;
    let (peer, _, site, people) = trapped(store, policy, PEOPLE).await;
    let mut seed = 0x5DEE_CE66_D201_u64 ^ kills as u64;
    let mut wanted = 0;
    for _ in 0..kills {
        // xorshift64*, so that a failure can be seen again.
        seed ^= seed >> 12;
        seed ^= seed << 25;
        seed ^= seed >> 27;
        wanted = peer.count().max(wanted) + (seed % (2 * (PEOPLE / kills) as u64 - 30)) as usize;
        let daemon = site.start();
        let enough = wanted.min(PEOPLE - 1);
        until(&format!("{enough} messages: {}", daemon.log()), || (peer.count() >= enough).then_some(()));
        daemon.kill();
    }
    if policy == "hold" {
        no_doubles(&peer);
    }
    let before = peer.count();
    let held = to_the_end(&site, PEOPLE);
    let doubles = doubles(&peer, &people);
    let bound = kills * CONNECTIONS;
    println!(
        "{:8} {kills} kills at random, {policy}: missed 0, doubles {doubles} (at most {bound}), held {held}, \
         {before} taken before the last start",
        store.name()
    );
    assert!(doubles <= if policy == "hold" { held } else { bound }, "{doubles}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_every_step_on_sqlite() {
    every_step(&TestStore::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_every_step_on_postgres() {
    let Some(store) = TestStore::postgres().await else { return };
    every_step(&store).await;
    store.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_times_at_random_on_sqlite() {
    at_random(&TestStore::sqlite().await, "resend", 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_times_at_random_on_postgres() {
    let Some(store) = TestStore::postgres().await else { return };
    at_random(&store, "resend", 100).await;
    store.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_times_at_random_on_hold() {
    at_random(&TestStore::sqlite().await, "hold", 100).await;
}
