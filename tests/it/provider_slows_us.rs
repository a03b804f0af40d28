//! A provider says that we are too fast: its lane slows down and recovers step by step, the others go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidings::domain::settings::{DomainSettings, OnUncertain, RelaySettings};
use tidings::runtime::Clock;
use tidings::tasks::ledger::Work;
use tidings::tasks::send::Step;

use crate::support::clock::{StoppedClock, TUESDAY};
use crate::support::peer::{Do, Moment, Peer, Stage};
use crate::support::sending::{FIRST_RETRY, Sending, queued_edition};
use crate::support::stores::{TestStore, on_every_store};
use crate::support::traffic::{Process, add_people, at, lane, named, per_second, queue};

const MINUTE: Duration = Duration::from_secs(60);

/// Says this at the dot while it is angry.
fn angry(reply: &'static str) -> (Arc<AtomicBool>, impl Fn(&Moment) -> Do + Send + Sync) {
    let is = Arc::new(AtomicBool::new(true));
    let asked = is.clone();
    let script = move |moment: &Moment| match moment.stage == Stage::Dot && asked.load(Ordering::SeqCst) {
        true => Do::Say(reply),
        false => Do::Go,
    };
    (is, script)
}

/// W106: nothing for ten minutes, then one connection, then one more at a time.
#[tokio::test]
async fn w106_4_7_28_is_ten_minutes_of_silence_then_one_connection() {
    on_every_store(|store| async move {
        let clock = StoppedClock::at(TUESDAY);
        let (is_angry, script) = angry("450 4.7.28 unusual rate of mail - gsmtp");
        let (google, other) = (Peer::start(&["PIPELINING"], script).await, Peer::willing().await);
        add_people(&store, &at("gmail.example", 40)).await;
        let domains = [DomainSettings { connections: Some(4), ..lane("gmail.example", &[]) }];
        let process = Process::start(&store, &clock, &[named("main", &google)], &domains).await;
        queue(&store, "weekly").await;
        let mut connection = process.connections().remove(0);
        assert_eq!([connection.step().await, connection.step().await], [Step::Tried, Step::Idle]);
        is_angry.store(false, Ordering::SeqCst);

        // Nobody else pays, and another process or a restart knows of it.
        add_people(&store, &at("x.example", 5)).await;
        queue(&store, "special").await;
        let second = Process::start(&store, &clock, &[named("main", &other)], &domains).await;
        second.drain().await;
        assert_eq!(other.count(), 5);
        for _ in 0..9 {
            clock.advance(MINUTE);
            assert_eq!((process.drain().await, second.drain().await), (vec![0], vec![0]));
        }
        assert_eq!(process.lines[0].ledger.has_work(&store, clock.now()).await.unwrap(), Work::Nothing);
        clock.advance(MINUTE);
        assert_ne!(process.lines[0].ledger.has_work(&store, clock.now()).await.unwrap(), Work::Nothing);
        let mut in_flight = Vec::new();
        let mut seen = Vec::new();
        for _ in 0..4 {
            while let Some(claimed) = process.lines[0].ledger.ask(None, true).await.unwrap() {
                in_flight.push(claimed);
            }
            seen.push(in_flight.len());
            clock.advance(MINUTE * 5);
        }
        assert_eq!(seen, [1, 2, 3, 4]);
        assert_eq!(process.lane("gmail.example").await.pace, Default::default(), "it has recovered");
    })
    .await;
}

/// W107: three deferrals in five minutes halve; five clean minutes give one back.
#[tokio::test]
async fn w107_three_policy_deferrals_halve_the_lane() {
    let test = TestStore::sqlite().await;
    let clock = StoppedClock::at(TUESDAY);
    let (is_angry, script) = angry("451 4.7.0 [TSS04] messages temporarily deferred");
    let peer = Peer::start(&["PIPELINING"], script).await;
    add_people(&test.store, &at("big.example", 60)).await;
    let domains = [DomainSettings { connections: Some(4), ..lane("big.example", &[]) }];
    let process = Process::start(&test.store, &clock, &[named("main", &peer)], &domains).await;
    queue(&test.store, "weekly").await;
    let mut connection = process.connections().remove(0);
    let mut widths = Vec::new();
    for _ in 0..9 {
        connection.step().await;
        // The step's settlement is written with the next one.
        widths.push(process.lane("big.example").await.pace.width(4));
    }
    assert_eq!(widths, [4, 4, 4, 2, 2, 2, 1, 1, 1]);
    is_angry.store(false, Ordering::SeqCst);
    let mut widths = Vec::new();
    for _ in 0..4 {
        clock.advance(MINUTE * 5);
        connection.step().await;
        widths.push(process.lane("big.example").await.pace.width(4));
    }
    assert_eq!(widths, [2, 3, 4, 4]);
}

/// Greylisting is no sign of speed.
#[tokio::test]
async fn w108_greylisting_slows_nothing() {
    let test = TestStore::sqlite().await;
    let clock = StoppedClock::at(TUESDAY);
    let (_, script) = angry("451 4.7.1 greylisted, come back in five minutes");
    let peer = Peer::start(&["PIPELINING"], script).await;
    add_people(&test.store, &at("x.example", 20)).await;
    let process = Process::start(&test.store, &clock, &[named("main", &peer)], &[]).await;
    queue(&test.store, "weekly").await;
    assert_eq!(process.drain().await, [20]);
    assert_eq!(process.lane("other").await.pace, Default::default());
}

/// 421 at the banner, again and again: the relay gets fewer connections, nobody loses an attempt.
#[tokio::test]
async fn a_relay_that_says_421_at_the_door_gets_fewer_connections() {
    let test = TestStore::sqlite().await;
    let said = Arc::new(AtomicBool::new(true));
    let asked = said.clone();
    let script = move |moment: &Moment| match moment.stage == Stage::Banner && asked.load(Ordering::SeqCst) {
        true => Do::SayAndClose("421 4.7.0 too many connections"),
        false => Do::Go,
    };
    let peer = Peer::start(&["PIPELINING"], script).await;
    let sending = Sending::start(&test.store, &peer, OnUncertain::Resend).await;
    queued_edition(&test.store, 5).await;
    for _ in 0..3 {
        assert!(matches!(sending.connection().step().await, Step::Down(_)));
        sending.clock.advance(Duration::from_secs(60));
    }
    said.store(false, Ordering::SeqCst);
    let mut connections: Vec<_> = (0..4).map(|_| sending.connection()).collect();
    let mut steps = Vec::new();
    for connection in &mut connections {
        steps.push(connection.step().await);
    }
    assert_eq!(steps, [Step::Tried, Step::Tried, Step::Idle, Step::Idle], "two of four connections");
    sending.clock.advance(FIRST_RETRY);
    assert_eq!(connections[2].step().await, Step::Tried, "five clean minutes later one more");
    let counts = sending.counts().await;
    assert_eq!(counts.queued + counts.leased + counts.accepted, 5);
}

/// W107: half the connections, and half the rate with them.
#[tokio::test]
async fn w107_a_relay_that_is_slowed_down_gets_as_much_less_of_its_rate() {
    on_every_store(|store| async move {
        let clock = StoppedClock::at(TUESDAY);
        let peer = Peer::willing().await;
        add_people(&store, &at("x.example", 400)).await;
        let relays = [RelaySettings { rates: vec![per_second(10)], connections: 4, ..named("main", &peer) }];
        let process = Process::start(&store, &clock, &relays, &[]).await;
        queue(&store, "weekly").await;
        // The first message is free, and what the bucket holds more than it.
        process.drain().await;
        let mut connection = process.connections().remove(0);
        let mut in_ten_seconds = Vec::new();
        for _ in 0..2 {
            let before = peer.count();
            for _ in 0..1000 {
                clock.advance(Duration::from_millis(10));
                while connection.step().await == Step::Tried {}
            }
            in_ten_seconds.push(peer.count() - before);
            for _ in 0..3 {
                process.lines[0].health.deferred(4, clock.now());
            }
        }
        assert!((98..=101).contains(&in_ten_seconds[0]), "{in_ten_seconds:?}");
        assert!((48..=51).contains(&in_ten_seconds[1]), "{in_ten_seconds:?}");
    })
    .await;
}

/// Processes follow the newest config of any of them, without a restart of their own.
#[tokio::test]
async fn limits_that_another_process_brings_hold_for_all() {
    on_every_store(|store| async move {
        let clock = StoppedClock::at(TUESDAY);
        let peer = Peer::willing().await;
        add_people(&store, &at("x.example", 100)).await;
        let unlimited = [named("main", &peer)];
        let limited = [RelaySettings { rates: vec![per_second(10)], ..named("main", &peer) }];
        let process = Process::start(&store, &clock, &unlimited, &[]).await;
        queue(&store, "weekly").await;
        let mut connection = process.connections().remove(0);
        for _ in 0..30 {
            assert_eq!(connection.step().await, Step::Tried);
        }
        let _other = Process::start(&store, &clock, &limited, &[]).await;
        clock.advance(Duration::from_secs(2));
        let before = peer.count();
        while connection.step().await == Step::Tried {}
        assert!(peer.count() - before <= 3, "{} at once", peer.count() - before);
    })
    .await;
}
