//! A received message that ends the process each time it is read: it is tried three times, set aside with its reason, and the others
//! are understood. What ends the process is played by not coming back from a try; and once it is a real daemon that is killed while
//! it asks for the key of the message's signature.

use std::net::UdpSocket;
use std::time::Duration;

use sha2::Digest;
use tidings::domain::inbound::InboundState;
use tidings::runtime::Timestamp;
use tidings::store::inbound;
use tidings::tasks::receive::{Recorded, Step};

use crate::support::clock::TUESDAY;
use crate::support::daemon::{PATIENCE, Site, until};
use crate::support::lmtp::Lmtp;
use crate::support::receiving::{Receiving, message};
use crate::support::stores::{TestStore, on_every_store};

fn later(minutes: i64) -> Timestamp {
    Timestamp(TUESDAY.millis() + minutes * 60_000)
}

/// Begins to read the first message that waits, and ends.
async fn ends_while_reading(line: &Receiving, now: Timestamp) {
    let waiting = inbound::next(&mut line.store.read().await.unwrap(), 0).await.unwrap().unwrap();
    assert!(line.receiver.marks.may_try(&line.store, &waiting, now).await.unwrap());
}

async fn recorded(line: &Receiving, count: usize) -> Vec<i64> {
    let mut ids = Vec::new();
    for number in 0..count {
        let raw =
            message("ann@x.example", &format!("m{number}@x.example"), "", &format!("Question {number}"));
        let Recorded::New(id) = line.record("support@news.example.org", "ann@x.example", &raw).await else {
            panic!()
        };
        ids.push(id);
    }
    ids
}

#[tokio::test]
async fn it_is_set_aside_after_three_ends_and_the_others_are_understood() {
    on_every_store(|store| async move {
        let line = Receiving::start(&store).await;
        let ids = recorded(&line, 3).await;
        ends_while_reading(&line, later(0)).await;
        for minutes in [1, 2] {
            ends_while_reading(&Receiving::start(&store).await, later(minutes)).await;
        }
        let line = Receiving::start(&store).await;
        assert_eq!(
            line.receiver.step(0, later(3)).await.unwrap(),
            (Step::Failed { quarantined: true }, ids[0])
        );
        line.receiver.drain(|| later(3)).await.unwrap();
        let poison = line.inbound(ids[0]).await;
        assert_eq!(poison.state, InboundState::Quarantined);
        assert_eq!(poison.reason, "the process ended each time that it was read");
        for id in &ids[1..] {
            assert_eq!(line.inbound(*id).await.state, InboundState::Done);
        }
        // An operator who has repaired what was wrong gives it three tries again.
        let mut tx = store.write().await.unwrap();
        assert!(inbound::rerun(&mut tx, ids[0]).await.unwrap());
        tx.commit().await.unwrap();
        line.receiver.drain(|| later(4)).await.unwrap();
        assert_eq!(line.inbound(ids[0]).await.state, InboundState::Done);
    })
    .await;
}

#[tokio::test]
async fn whoever_waited_beside_it_is_not_to_blame() {
    on_every_store(|store| async move {
        // All of them are marked together, and the first one ends the process again and again.
        let line = Receiving::start(&store).await;
        let ids = recorded(&line, 5).await;
        for minutes in 0..3 {
            ends_while_reading(&Receiving::start(&store).await, later(minutes)).await;
        }
        let line = Receiving::start(&store).await;
        line.receiver.drain(|| later(4)).await.unwrap();
        let mut states = Vec::new();
        for id in &ids {
            states.push(line.inbound(*id).await.state);
        }
        use InboundState::{Done, Quarantined};
        assert_eq!(states, [Quarantined, Done, Done, Done, Done]);
    })
    .await;
}

#[tokio::test]
async fn a_message_in_the_hand_of_a_living_process_is_not_to_blame() {
    on_every_store(|store| async move {
        let line = Receiving::start(&store).await;
        let ids = recorded(&line, 1).await;
        // Four processes that all live begin with it, and one of them finishes.
        let lines =
            [Receiving::start(&store).await, Receiving::start(&store).await, Receiving::start(&store).await];
        for line in &lines {
            ends_while_reading(line, later(0)).await;
        }
        line.receiver.drain(|| later(0)).await.unwrap();
        assert_eq!(line.inbound(ids[0]).await.state, InboundState::Done);
    })
    .await;
}

/// A reader's wish to leave, with a signature whose key a name server has to be asked for.
fn signed_wish(from: &str) -> Vec<u8> {
    let body = "Thank you.\r\n";
    let hash = data_encoding::BASE64.encode(&sha2::Sha256::digest(body.as_bytes()));
    format!(
        "DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=readers.example; s=sel; h=from:to:subject;\r\n\
         \tbh={hash};\r\n\tb=AAAA\r\n\
         From: {from}\r\nTo: support@news.example.org\r\nSubject: unsubscribe\r\nMessage-ID: <w1@readers.example>\r\n\
         \r\n{body}"
    )
    .into_bytes()
}

/// The daemon is killed with the message in its hand: it has asked for the key, and is not answered.
fn killed_while_it_reads(site: &Site, names: &UdpSocket, deliver: impl FnOnce(&mut Lmtp)) {
    let daemon = site.start();
    deliver(&mut Lmtp::connect(daemon.lmtp()));
    let mut question = [0; 1500];
    let (length, _) = names.recv_from(&mut question).expect("a question about the key");
    assert!(String::from_utf8_lossy(&question[..length]).contains("_domainkey"));
    daemon.kill();
    // Questions that it sent once more before its end.
    names.set_nonblocking(true).unwrap();
    while names.recv_from(&mut question).is_ok() {}
    names.set_nonblocking(false).unwrap();
}

fn sets_aside_what_kills_it(site: &Site) {
    let names = UdpSocket::bind("127.0.0.1:0").unwrap();
    names.set_read_timeout(Some(PATIENCE)).unwrap();
    let line = "# resolver = \"127.0.0.1:53\"";
    site.change("tidings.toml", line, &format!("resolver = \"{}\"", names.local_addr().unwrap()));
    let people = site.import(3);
    killed_while_it_reads(site, &names, |door| {
        let support = "support@news.example.org";
        assert!(door.deliver(&people[0], support, &signed_wish(&people[0])).starts_with("250"));
        for (number, person) in people.iter().enumerate().skip(1) {
            let raw = message(person, &format!("m{number}@readers.example"), "", "A question");
            assert!(door.deliver(person, support, &raw).starts_with("250"));
        }
    });
    killed_while_it_reads(site, &names, |_| {});
    killed_while_it_reads(site, &names, |_| {});
    let daemon = site.start();
    let rows = until("the others are understood", || {
        let rows = site.json(&["inbound", "list", "--json"]);
        let open = rows.as_array().unwrap().iter().any(|row| row["state"] == "received");
        (!open).then_some(rows)
    });
    // The newest first.
    let states: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["done", "done", "quarantined"], "{rows}");
    assert_eq!(rows[2]["reason"], "the process ended each time that it was read");
    names.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert!(names.recv_from(&mut [0; 1500]).is_err(), "it was not read a fourth time");
    daemon.stop();
    let person = site.json(&["subscribers", "show", &people[0], "--json"]);
    assert_eq!(person["status"], "active", "nothing of it happened");
}

#[test]
fn a_daemon_that_is_killed_three_times_by_one_message_sets_it_aside() {
    let site = Site::shipped();
    sets_aside_what_kills_it(&site);
}

#[test]
fn a_daemon_on_postgres_that_is_killed_three_times_by_one_message_sets_it_aside() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(store) = runtime.block_on(TestStore::postgres()) else { return };
    let site = Site::shipped();
    site.keep_in(&store);
    sets_aside_what_kills_it(&site);
    runtime.block_on(store.remove());
}
