//! Several relays share the mail by weight; one that is down gives its share to the others and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidings::domain::settings::RelaySettings;

use crate::support::clock::{StoppedClock, TUESDAY};
use crate::support::peer::{Do, Moment, Peer, Stage};
use crate::support::stores::{TestStore, on_every_store};
use crate::support::traffic::{Process, add_people, at, named, per_second, queue};

#[tokio::test]
async fn relays_share_by_weight() {
    on_every_store(|store| async move {
        let (one, two, clock) = (Peer::willing().await, Peer::willing().await, StoppedClock::at(TUESDAY));
        let relays = [RelaySettings { weight: 3, ..named("one", &one) }, named("two", &two)];
        add_people(&store, &at("x.example", 80)).await;
        let process = Process::start(&store, &clock, &relays, &[]).await;
        queue(&store, "weekly").await;
        process.drain().await;
        assert_eq!(one.count() + two.count(), 80);
        assert!((18..=23).contains(&two.count()), "a quarter: {}", two.count());
    })
    .await;
}

#[tokio::test]
async fn one_that_is_down_gives_its_share_away_and_comes_back() {
    let test = TestStore::sqlite().await;
    let clock = StoppedClock::at(TUESDAY);
    let down = Arc::new(AtomicBool::new(true));
    let said = down.clone();
    let shut = move |_: &Moment| if said.load(Ordering::SeqCst) { Do::Close } else { Do::Go };
    let (one, two) = (Peer::start(&["PIPELINING"], shut).await, Peer::willing().await);
    add_people(&test.store, &at("x.example", 30)).await;
    let process = Process::start(&test.store, &clock, &[named("one", &one), named("two", &two)], &[]).await;
    queue(&test.store, "weekly").await;
    assert_eq!(process.drain().await, [0, 30]);
    assert_eq!(one.connections(), 1, "one probe");

    down.store(false, Ordering::SeqCst);
    clock.advance(Duration::from_secs(1));
    add_people(&test.store, &at("y.example", 30)).await;
    queue(&test.store, "special").await;
    process.drain().await;
    assert!(one.count() >= 28, "it has its half again, and not what it missed: {}", one.count());
    assert_eq!(one.count() + two.count(), 30 + 60);
}

/// A recipient that one relay deferred is tried again by another, as the same message.
#[tokio::test]
async fn a_retry_may_go_by_another_relay() {
    let test = TestStore::sqlite().await;
    let clock = StoppedClock::at(TUESDAY);
    let later = |moment: &Moment| match moment.stage {
        Stage::Dot => Do::Stall,
        _ => Do::Go,
    };
    let (one, two) = (Peer::start(&["PIPELINING"], later).await, Peer::willing().await);
    let relays = [named("one", &one), named("two", &two)];
    add_people(&test.store, &at("x.example", 1)).await;
    let process = Process::start(&test.store, &clock, &relays, &[]).await;
    queue(&test.store, "weekly").await;
    let mut connection = process.connections().remove(0);
    let stalled = tokio::time::timeout(Duration::from_millis(200), connection.step()).await;
    assert!(stalled.is_err(), "the first relay has it and says nothing");
    drop(connection);
    process.kill();

    // The process is lost and another one takes over, with the other relay.
    clock.advance(Duration::from_secs(60));
    let mut tx = test.store.write().await.unwrap();
    let now = tidings::runtime::Clock::now(&clock);
    tidings::store::owners::end_silent(&mut tx, 0, tidings::runtime::Timestamp(i64::MAX), now).await.unwrap();
    let resend = tidings::domain::settings::OnUncertain::Resend;
    assert_eq!(tidings::store::deliveries::recover(&mut tx, resend, now, now).await.unwrap(), 1);
    tidings::store::deliveries::requeue_uncertain(&mut tx, now).await.unwrap();
    tx.commit().await.unwrap();
    let process = Process::start(&test.store, &clock, &relays[1..], &[]).await;
    assert_eq!(process.drain().await, [1]);
    let (first, second) = (one.taken().remove(0), two.taken().remove(0));
    assert_eq!((&first.from, &first.to), (&second.from, &second.to), "the same envelope");
    assert_eq!(first.bytes, second.bytes, "the same message");
}

/// A relay that waits for its own rate does not hold the others back to its share.
#[tokio::test]
async fn one_without_a_permit_gives_its_share_away() {
    let test = TestStore::sqlite().await;
    let (one, two, clock) = (Peer::willing().await, Peer::willing().await, StoppedClock::at(TUESDAY));
    let relays = [RelaySettings { rates: vec![per_second(1)], ..named("one", &one) }, named("two", &two)];
    add_people(&test.store, &at("x.example", 30)).await;
    let process = Process::start(&test.store, &clock, &relays, &[]).await;
    queue(&test.store, "weekly").await;
    assert_eq!(process.drain().await, [1, 29]);
}
