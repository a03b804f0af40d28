//! Ten people, two connections, and an end after the third mail: by SIGKILL, by SIGTERM, and with a relay that takes nothing at
//! first. All ten get it; what comes twice was in flight, and nothing is called sent that was not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::daemon::{Site, until};
use crate::support::doubles::{doubles, no_doubles};
use crate::support::peer::{Do, Peer, Stage};

const PEOPLE: usize = 10;
const CONNECTIONS: usize = 2;

fn site(peer: &Peer) -> (Site, Vec<String>) {
    let site = Site::sending_to(peer.address);
    site.hurry();
    site.change("tidings.toml", "connections = 8", &format!("connections = {CONNECTIONS}"));
    let people = site.import(PEOPLE);
    (site, people)
}

/// Takes three mails, then says nothing more to a final dot until it is told to.
async fn takes_three() -> (Peer, Arc<AtomicBool>) {
    let goes_on = Arc::new(AtomicBool::new(false));
    let (taken, free) = (std::sync::atomic::AtomicUsize::new(0), goes_on.clone());
    let peer = Peer::start(&["PIPELINING"], move |moment| {
        let held = moment.stage == Stage::Dot
            && !free.load(Ordering::SeqCst)
            && taken.fetch_add(1, Ordering::SeqCst) >= 3;
        if held { Do::Stall } else { Do::Go }
    })
    .await;
    (peer, goes_on)
}

fn finishes(site: &Site) -> serde_json::Value {
    let daemon = site.start();
    let edition = site.edition_in(&["sent", "attention"]);
    daemon.stop();
    edition
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_three() {
    let (peer, goes_on) = takes_three().await;
    let (site, people) = site(&peer);
    let daemon = site.start();
    until("both connections hang", || (peer.count() == 3 + CONNECTIONS).then_some(()));
    daemon.kill();
    let edition = site.edition();
    assert_eq!(edition["state"], "sending", "unsent rows are left: {edition}");
    goes_on.store(true, Ordering::SeqCst);
    let edition = finishes(&site);
    assert_eq!((&edition["state"], &edition["counts"]["accepted"]), (&"sent".into(), &PEOPLE.into()));
    let doubles = doubles(&peer, &people);
    assert!(doubles <= CONNECTIONS, "{doubles}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asked_to_stop_after_three() {
    let (peer, goes_on) = takes_three().await;
    let (site, people) = site(&peer);
    site.change("tidings.toml", "drain = \"60s\"", "drain = \"1s\"");
    let daemon = site.start();
    until("both connections hang", || (peer.count() == 3 + CONNECTIONS).then_some(()));
    daemon.stop();
    let edition = site.edition();
    assert_eq!((&edition["state"], &edition["counts"]["accepted"]), (&"sending".into(), &3.into()));
    goes_on.store(true, Ordering::SeqCst);
    let edition = finishes(&site);
    assert_eq!((&edition["state"], &edition["counts"]["accepted"]), (&"sent".into(), &PEOPLE.into()));
    assert_eq!(doubles(&peer, &people), CONNECTIONS, "the two that hung, and no other");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_refuses_everybody_at_first() {
    let refused = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = refused.clone();
    // Two tries, then one that works: each waits longer than the last.
    let peer = Peer::start(&["PIPELINING"], move |moment| {
        let down = moment.stage == Stage::Banner && count.fetch_add(1, Ordering::SeqCst) < 2;
        if down { Do::Close } else { Do::Go }
    })
    .await;
    let (site, people) = site(&peer);
    let daemon = site.start();
    until("it was refused", || (refused.load(Ordering::SeqCst) >= 1).then_some(()));
    let counts = site.edition()["counts"].clone();
    assert_eq!((&counts["accepted"], &counts["skipped"]), (&0.into(), &0.into()), "{counts}");
    assert_eq!(counts["queued"], PEOPLE, "nobody lost a try to it");
    let edition = site.edition_in(&["sent", "attention"]);
    daemon.stop();
    assert_eq!((&edition["state"], &edition["counts"]["accepted"]), (&"sent".into(), &PEOPLE.into()));
    no_doubles(&peer);
    assert_eq!(doubles(&peer, &people), 0);
}
