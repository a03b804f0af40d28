//! Pause, hold, cancel, resume and retry act within one message per connection, on every process of a store.

use tidings::domain::edition::EditionState;
use tidings::store::{Store, editions};
use tidings::tasks::send::{Connection, Step};

use crate::support::clock::{StoppedClock, TUESDAY};
use crate::support::peer::Peer;
use crate::support::stores::on_every_store;
use crate::support::traffic::{Process, add_people, at, named, queue};

async fn set(store: &Store, from: EditionState, to: EditionState) {
    let mut tx = store.write().await.unwrap();
    assert!(editions::change_state(&mut tx, "weekly", &[from], to, "by hand", TUESDAY).await.unwrap());
    tx.commit().await.unwrap();
}

/// One step of each connection; answers how many sent something.
async fn step(connections: &mut [Connection]) -> usize {
    let mut tried = 0;
    for connection in connections {
        tried += usize::from(connection.step().await == Step::Tried);
    }
    tried
}

#[tokio::test]
async fn within_one_message_per_connection() {
    on_every_store(|store| async move {
        let (peer, clock) = (Peer::willing().await, StoppedClock::at(TUESDAY));
        add_people(&store, &at("x.example", 100)).await;
        let relays = [named("main", &peer)];
        let one = Process::start(&store, &clock, &relays, &[]).await;
        let two = Process::start(&store, &clock, &relays, &[]).await;
        queue(&store, "weekly").await;
        let mut connections = Vec::new();
        for process in [&one, &one, &two, &two] {
            connections.extend(process.connections());
        }
        assert_eq!(step(&mut connections).await, 4);
        for stopped in [EditionState::Paused, EditionState::WaitingApproval, EditionState::Attention] {
            set(&store, EditionState::Sending, stopped).await;
            let before = peer.count();
            assert_eq!(step(&mut connections).await, 0, "{stopped}");
            assert_eq!(step(&mut connections).await, 0, "{stopped}");
            assert_eq!(peer.count(), before, "{stopped}");
            assert_eq!(one.edition("weekly").await.counts.leased, 0, "{stopped}: what was sent is settled");
            set(&store, stopped, EditionState::Sending).await;
            assert_eq!(step(&mut connections).await, 4, "and on");
        }
        set(&store, EditionState::Sending, EditionState::Cancelled).await;
        assert_eq!(step(&mut connections).await, 0);
        assert_eq!(peer.count(), 16);
    })
    .await;
}
