//! The daemon is killed in the middle of an edition and started again: nobody is missed, doubles are few and the same message.

use crate::support::daemon::{Daemon, EDITION, Site, until};
use crate::support::doubles::{doubles, no_doubles};
use crate::support::peer::Peer;
use crate::support::stores::TestStore;

const PEOPLE: usize = 2_000;
const CONNECTIONS: usize = 8;

/// Starts, waits until the peer has so many messages, kills; for each number.
fn kill_at(site: &Site, peer: &Peer, progress: &[usize]) {
    for wanted in progress {
        let daemon: Daemon = site.start();
        until(&format!("{wanted} messages: {}", daemon.log()), || (peer.count() >= *wanted).then_some(()));
        daemon.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_five_kills_nobody_is_missed_and_doubles_are_the_same_message() {
    let peer = Peer::willing().await;
    let site = Site::sending_to(peer.address);
    site.hurry();
    let people = site.import(PEOPLE);
    kill_at(&site, &peer, &[1, 300, 701, 1_150, 1_700]);
    let daemon = site.start();
    let edition = site.edition_in(&["sent", "attention"]);
    daemon.stop();
    assert_eq!(edition["state"], "sent", "{edition}");
    assert_eq!(edition["audience"], PEOPLE);
    assert_eq!(edition["counts"]["accepted"], PEOPLE, "{edition}");
    let doubles = doubles(&peer, &people);
    println!("five kills, resend: missed 0, doubles {doubles}, {}", edition["counts"]);
    assert!(doubles <= 5 * CONNECTIONS, "{doubles}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_hold_there_are_no_doubles_and_an_operator_decides() {
    let peer = Peer::willing().await;
    let site = Site::sending_to(peer.address);
    site.hurry();
    site.change("tidings.toml", "on_uncertain = \"resend\"", "on_uncertain = \"hold\"");
    let people = site.import(PEOPLE);
    kill_at(&site, &peer, &[100, 500, 900, 1_300, 1_600]);
    let daemon = site.start();
    let edition = site.edition_in(&["sent", "attention"]);
    let uncertain = edition["counts"]["uncertain"].as_u64().unwrap();
    assert_eq!(edition["counts"]["accepted"].as_u64().unwrap() + uncertain, PEOPLE as u64, "{edition}");
    assert!(uncertain as usize <= 5 * CONNECTIONS, "{edition}");
    no_doubles(&peer);
    if uncertain > 0 {
        assert_eq!(edition["state"], "attention", "{edition}");
        let held = site.json(&["deliveries", "list", "--edition", EDITION, "--state", "uncertain", "--json"]);
        let held = held.as_array().unwrap();
        assert_eq!(held.len() as u64, uncertain);
        assert!(held.iter().all(|row| row["state"] == "uncertain" && row["due_at"].is_null()), "{held:?}");
        assert_eq!(site.run(&["editions", "retry", EDITION]).code, 0);
    }
    let edition = site.edition_in(&["sent"]);
    daemon.stop();
    assert_eq!(edition["counts"]["accepted"], PEOPLE, "{edition}");
    let doubles = doubles(&peer, &people);
    println!("five kills, hold: doubles 0, held {uncertain}; after the retry doubles {doubles}");
    assert!(doubles as u64 <= uncertain, "{doubles}");
}

/// The daemon that comes after the killed one finds an owner that was heard of a moment ago, and must find out later, while
/// it runs, that it is dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_the_next_daemon_notices_the_silence_of_the_killed_one() {
    let Some(store) = TestStore::postgres().await else { return };
    let peer = Peer::willing().await;
    let site = Site::sending_to(peer.address);
    site.hurry();
    site.keep_in(&store);
    let people = site.import(PEOPLE);
    kill_at(&site, &peer, &[500]);
    let daemon = site.start();
    let edition = site.edition_in(&["sent", "attention"]);
    daemon.stop();
    assert_eq!(edition["state"], "sent", "{edition}");
    assert_eq!(edition["counts"]["accepted"], PEOPLE, "{edition}");
    let doubles = doubles(&peer, &people);
    println!("one kill on PostgreSQL: missed 0, doubles {doubles}, {}", edition["counts"]);
    assert!(doubles <= CONNECTIONS, "{doubles}");
    store.remove().await;
}
