//! Lanes share a store and nothing else: one without a permit costs the others nothing.

use std::time::Duration;

use tidings::domain::breaker::PauseCause;
use tidings::domain::delivery::DeliveryKind;
use tidings::domain::settings::DomainSettings;
use tidings::runtime::Clock;
use tidings::store::deliveries::{self, DeskMail};
use tidings::store::{Store, bodies, lanes};
use tidings::tasks::ledger::Work;
use tidings::tasks::send::Step;

use crate::support::clock::{StoppedClock, TUESDAY};
use crate::support::peer::Peer;
use crate::support::receiving::example;
use crate::support::stores::on_every_store;
use crate::support::traffic::{Process, add_people, at, lane, named, per_second, queue};

async fn taken_by(peer: &Peer, domain: &str) -> usize {
    peer.taken().iter().filter(|mail| mail.to.ends_with(domain)).count()
}

/// A message to somebody at `address`, as staff and editors get them.
async fn desk_mail(store: &Store, kind: DeliveryKind, address: &str) -> i64 {
    let mut tx = store.write().await.unwrap();
    let frame = serde_json::to_string(&example(&[]).notice_frame()).unwrap();
    let body = serde_json::to_string(&crate::support::sending::body("desk")).unwrap();
    let body_id = bodies::add(&mut tx, &frame, &body).await.unwrap();
    let mail = DeskMail {
        kind,
        subscriber_id: None,
        thread_id: None,
        address: Some(address),
        staff_id: None,
        body_id,
    };
    let id = deliveries::queue_desk_mail(&mut tx, mail, TUESDAY).await.unwrap();
    tx.commit().await.unwrap();
    id
}

#[tokio::test]
async fn a_limited_lane_leaves_the_others_alone() {
    on_every_store(|store| async move {
        let (peer, clock) = (Peer::willing().await, StoppedClock::at(TUESDAY));
        let domains = [lane("slow.example", &[per_second(1)])];
        // The limited ones are first in the queue.
        add_people(&store, &at("slow.example", 30)).await;
        add_people(&store, &at("x.example", 20)).await;
        let process = Process::start(&store, &clock, &[named("main", &peer)], &domains).await;
        queue(&store, "weekly").await;
        process.drain().await;
        assert_eq!((taken_by(&peer, "@slow.example").await, taken_by(&peer, "@x.example").await), (1, 20));
        let work = process.lines[0].ledger.has_work(&store, clock.now()).await.unwrap();
        assert!(matches!(work, Work::Later(wait) if wait <= Duration::from_secs(1)), "{work:?}");
        for second in 2..=5 {
            clock.advance(Duration::from_secs(1));
            process.drain().await;
            assert_eq!(taken_by(&peer, "@slow.example").await, second);
        }
        let rows =
            deliveries::list(&mut store.read().await.unwrap(), Some("weekly"), None, 0, 100).await.unwrap();
        let in_lane = |name: &str| rows.iter().filter(|row| row.lane == name).count();
        assert_eq!((in_lane("slow.example"), in_lane("other")), (30, 20));
    })
    .await;
}

#[tokio::test]
async fn a_lane_has_no_more_in_flight_than_its_connections() {
    on_every_store(|store| async move {
        let (peer, clock) = (Peer::willing().await, StoppedClock::at(TUESDAY));
        let narrow = DomainSettings { connections: Some(2), ..lane("slow.example", &[]) };
        add_people(&store, &at("slow.example", 10)).await;
        let process = Process::start(&store, &clock, &[named("main", &peer)], &[narrow]).await;
        queue(&store, "weekly").await;
        let ledger = &process.lines[0].ledger;
        let mut held = Vec::new();
        for _ in 0..4 {
            held.extend(ledger.ask(None, true).await.unwrap());
        }
        assert_eq!(held.len(), 2);
        assert_eq!(process.edition("weekly").await.counts.leased, 2);
        add_people(&store, &at("x.example", 1)).await;
        queue(&store, "special").await;
        let other = ledger.ask(None, true).await.unwrap().unwrap();
        assert_eq!(other.address.as_str(), "p00000@x.example", "another lane has room");
    })
    .await;
}

/// Answers and sign-in links, then notices, then editions, whatever lane they are in.
#[tokio::test]
async fn desk_mail_goes_first_across_lanes() {
    on_every_store(|store| async move {
        let (peer, clock) = (Peer::willing().await, StoppedClock::at(TUESDAY));
        let domains = [lane("a.example", &[]), lane("b.example", &[])];
        add_people(&store, &at("x.example", 3)).await;
        add_people(&store, &at("a.example", 3)).await;
        let process = Process::start(&store, &clock, &[named("main", &peer)], &domains).await;
        queue(&store, "weekly").await;
        desk_mail(&store, DeliveryKind::Notice, "staff@a.example").await;
        desk_mail(&store, DeliveryKind::SignIn, "reader@B.example").await;
        process.drain().await;
        let order: Vec<String> = peer.taken().into_iter().map(|mail| mail.to).collect();
        assert_eq!(order[..2], ["reader@B.example", "staff@a.example"], "{order:?}");
        assert_eq!(order.len(), 8);
        let lanes: Vec<String> = deliveries::list(&mut store.read().await.unwrap(), None, None, 0, 100)
            .await
            .unwrap()
            .into_iter()
            .filter(|row| row.edition.is_none())
            .map(|row| row.lane)
            .collect();
        assert_eq!(
            lanes,
            ["a.example", "b.example"],
            "desk mail has its lane, whatever the case of its domain"
        );
    })
    .await;
}

#[tokio::test]
async fn a_lane_that_left_the_config_is_served_without_a_limit_of_its_own() {
    on_every_store(|store| async move {
        let (peer, clock) = (Peer::willing().await, StoppedClock::at(TUESDAY));
        let relays = [named("main", &peer)];
        add_people(&store, &at("slow.example", 10)).await;
        let process =
            Process::start(&store, &clock, &relays, &[lane("slow.example", &[per_second(1)])]).await;
        queue(&store, "weekly").await;
        process.drain().await;
        assert_eq!(peer.count(), 1);
        let mut tx = store.write().await.unwrap();
        let lane = lanes::by_name(&mut tx, "slow.example").await.unwrap().unwrap();
        assert!(lanes::pause(&mut tx, lane, PauseCause::Operator, "by hand", TUESDAY).await.unwrap());
        tx.commit().await.unwrap();
        process.end().await;
        let process = Process::start(&store, &clock, &relays, &[]).await;
        process.drain().await;
        assert_eq!(peer.count(), 10, "nothing is stranded, not even by a pause");
    })
    .await;
}

/// A paused lane keeps editions; answers and sign-in links go on.
#[tokio::test]
async fn a_paused_lane_lets_desk_mail_through() {
    on_every_store(|store| async move {
        let (peer, clock) = (Peer::willing().await, StoppedClock::at(TUESDAY));
        add_people(&store, &at("a.example", 3)).await;
        let process =
            Process::start(&store, &clock, &[named("main", &peer)], &[lane("a.example", &[])]).await;
        queue(&store, "weekly").await;
        let mut tx = store.write().await.unwrap();
        let lane = lanes::by_name(&mut tx, "a.example").await.unwrap().unwrap();
        lanes::pause(&mut tx, lane, PauseCause::Operator, "by hand", TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        desk_mail(&store, DeliveryKind::SignIn, "reader@a.example").await;
        process.drain().await;
        let order: Vec<String> = peer.taken().into_iter().map(|mail| mail.to).collect();
        assert_eq!(order, ["reader@a.example"]);
        assert!(
            !tidings::tasks::ledger::has_work(&store, clock.now()).await.unwrap(),
            "nobody is woken for it"
        );
        let mut tx = store.write().await.unwrap();
        assert!(lanes::resume(&mut tx, lane).await.unwrap());
        assert!(!lanes::resume(&mut tx, lane).await.unwrap());
        tx.commit().await.unwrap();
        process.drain().await;
        assert_eq!(peer.count(), 4);
    })
    .await;
}

/// Recipients of one lane that stays silent do not keep a connection from idling.
#[tokio::test]
async fn nothing_permitted_is_idle() {
    let test = crate::support::stores::TestStore::sqlite().await;
    let (peer, clock) = (Peer::willing().await, StoppedClock::at(TUESDAY));
    add_people(&test.store, &at("slow.example", 3)).await;
    let domains = [lane("slow.example", &[per_second(1)])];
    let process = Process::start(&test.store, &clock, &[named("main", &peer)], &domains).await;
    queue(&test.store, "weekly").await;
    let mut connection = process.connections().remove(0);
    assert_eq!(connection.step().await, Step::Tried);
    assert_eq!(connection.step().await, Step::Idle);
    assert_eq!(
        process.edition("weekly").await.counts.accepted,
        1,
        "what was sent is settled before the wait"
    );
    assert_eq!(process.connections().remove(0).step().await, Step::Idle);
    assert_eq!(peer.connections(), 1, "no connection is opened for what may not leave");
}
