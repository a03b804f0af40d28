//! One of several processes says nothing for too long: the others take over what it held, and it claims nothing more, even
//! if it was only slow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidings::app::{Daemon, Parts, Setup};
use tidings::domain::delivery::{DeliveryState, Settlement};
use tidings::domain::settings::OnUncertain;
use tidings::runtime::{Clock, Shutdown, Timestamp};
use tidings::store::claims::Claimed;
use tidings::store::deliveries::Settled;
use tidings::store::{Store, owners};
use tidings::tasks::lease;
use tidings::tasks::ledger::{Done, Turn};
use tidings::tasks::traffic::Seen;

use crate::support::clock::{StoppedClock, TUESDAY};
use crate::support::daemon::Site;
use crate::support::peer::Peer;
use crate::support::sending::{FIRST_RETRY, Sending, queued_edition, retry};
use crate::support::stores::on_every_store;

#[tokio::test]
async fn what_it_held_is_uncertain_and_it_claims_no_more() {
    on_every_store(|store| async move {
        let peer = Peer::willing().await;
        let slow = Sending::start(&store, &peer, OnUncertain::Resend).await;
        let retry = retry(OnUncertain::Resend);
        queued_edition(&store, 10).await;
        let other = {
            let mut tx = store.write().await.unwrap();
            let other = owners::register(&mut tx, "other", TUESDAY).await.unwrap();
            tx.commit().await.unwrap();
            other
        };
        let claimed = slow.line.ledger.ask(None, true).await.unwrap().unwrap();
        slow.clock.advance(lease::SILENCE);
        assert!(lease::beat(&store, other, &retry, slow.clock.now()).await.unwrap().is_some());
        assert_eq!(slow.counts().await.leased, 1, "it was heard of a moment less than too long ago");
        slow.clock.advance(Duration::from_millis(1));
        assert!(lease::beat(&store, other, &retry, slow.clock.now()).await.unwrap().is_some());
        let counts = slow.counts().await;
        assert_eq!((counts.leased, counts.uncertain, counts.queued), (0, 1, 9));

        // It wakes up: no more MAIL.
        assert_eq!(slow.line.ledger.ask(None, true).await.unwrap(), None);
        assert!(lease::beat(&store, slow.line.owner, &retry, slow.clock.now()).await.unwrap().is_none());
        assert_eq!((slow.counts().await.queued, peer.count()), (9, 0));

        // Its late 250 still counts, so that the message is not sent twice.
        let settlement = Settlement {
            state: DeliveryState::Accepted,
            due_at: None,
            last_reply: "250 ok".into(),
            burns_attempt: true,
            suppress: None,
        };
        let late = Settled {
            recipient: None,
            delivery: claimed.id,
            attempt: claimed.attempt,
            owner: slow.line.owner,
            relay: "main".into(),
            at: slow.clock.now(),
            settlement,
        };
        assert_eq!(slow.line.ledger.ask(Some(late), false).await.unwrap(), None);
        slow.clock.advance(FIRST_RETRY);
        slow.tidy(slow.clock.now()).await;
        let counts = slow.counts().await;
        assert_eq!((counts.accepted, counts.uncertain, counts.queued), (1, 0, 9));
    })
    .await;
}

/// A commit is written and its answer lost: the settlement comes again. What was no attempt leaves its number to the next claim,
/// whose lease it must not end.
#[tokio::test]
async fn a_settlement_that_comes_again_ends_no_later_lease() {
    on_every_store(|store| async move {
        let peer = Peer::willing().await;
        let sending = Sending::start(&store, &peer, OnUncertain::Resend).await;
        queued_edition(&store, 1).await;
        let ledger = &sending.line.ledger;
        let Turn::Delivery(first) = ledger.turn(None, true).await.unwrap() else { panic!("it is due") };
        let untried = Settlement::untried(sending.clock.now(), "the relay hung up at MAIL");
        let done = |claimed: &Claimed, settlement| Done {
            settled: Settled {
                recipient: None,
                delivery: claimed.id,
                attempt: claimed.attempt,
                owner: sending.line.owner,
                relay: "main".into(),
                at: sending.clock.now(),
                settlement,
            },
            seen: Seen::default(),
            lease: Some(claimed.lease),
        };
        let back = done(&first, untried);
        assert_eq!(ledger.turn(Some(back.clone()), false).await.unwrap(), Turn::Nothing);
        let Turn::Delivery(second) = ledger.turn(None, true).await.unwrap() else {
            panic!("it is due again")
        };
        assert_eq!((second.id, second.attempt), (first.id, first.attempt), "its number was left to it");

        assert_eq!(ledger.turn(Some(back), true).await.unwrap(), Turn::Nothing, "nobody else may have it");
        let counts = sending.counts().await;
        assert_eq!((counts.leased, counts.queued), (1, 0));
        let accepted = Settlement {
            state: DeliveryState::Accepted,
            due_at: None,
            last_reply: "250 ok".into(),
            burns_attempt: true,
            suppress: None,
        };
        ledger.turn(Some(done(&second, accepted)), false).await.unwrap();
        assert_eq!(sending.counts().await.accepted, 1);
    })
    .await;
}

#[tokio::test]
async fn the_daemon_that_was_declared_dead_stops() {
    let peer = Peer::willing().await;
    let site = Site::sending_to(peer.address);
    let env = BTreeMap::from([("TIDINGS_SECRET".to_owned(), "a secret of sixteen or more".to_owned())]);
    let (setup, problems) = Setup::load(&site.path().join("config/tidings.toml"), &env, &[]);
    let setup = setup.unwrap_or_else(|| panic!("{problems:?}"));
    let store = Store::open(&setup.settings.storage).await.unwrap();
    let clock = StoppedClock::at(TUESDAY);
    let parts = Parts { schedule: false, send: true, receive: false, web: false };
    let time = Arc::new(clock.clone());
    let daemon = Daemon::start(&setup, store.clone(), time, Shutdown::new(), parts).await.unwrap();
    let mut tx = store.write().await.unwrap();
    let other = owners::register(&mut tx, "other", TUESDAY + lease::SILENCE).await.unwrap();
    assert_eq!(owners::end_silent(&mut tx, other, Timestamp(i64::MAX), TUESDAY).await.unwrap(), 1);
    tx.commit().await.unwrap();
    clock.advance(lease::HEARTBEAT);
    assert!(!daemon.finish().await, "half a daemon looks alive and is not");
}

#[tokio::test]
async fn who_is_heard_of_keeps_what_it_holds() {
    on_every_store(|store| async move {
        let peer = Peer::willing().await;
        let sending = Sending::start(&store, &peer, OnUncertain::Resend).await;
        let retry = retry(OnUncertain::Resend);
        queued_edition(&store, 10).await;
        let mut tx = store.write().await.unwrap();
        let other = owners::register(&mut tx, "other", TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        for _ in 0..10 {
            // A claim says that its owner lives, as a heartbeat does.
            sending.line.ledger.ask(None, true).await.unwrap().unwrap();
            sending.clock.advance(lease::SILENCE / 2);
            assert!(lease::beat(&store, other, &retry, sending.clock.now()).await.unwrap().is_some());
        }
        assert_eq!(sending.counts().await.leased, 10);
    })
    .await;
}
