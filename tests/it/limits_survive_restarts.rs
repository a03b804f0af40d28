//! Rates live in rows: neither a restart nor a second process nor a clock that is set back gives more than they allow.

use std::time::Duration;

use tidings::domain::settings::Rate;
use tidings::runtime::{Clock, Timestamp};
use tidings::tasks::send::Step;

use crate::support::clock::{StoppedClock, TUESDAY};
use crate::support::peer::Peer;
use crate::support::stores::on_every_store;
use crate::support::traffic::{Process, add_people, at, named, per_second, queue};

const MINUTE: Duration = Duration::from_secs(60);

/// The most in any window of this length; `sent` are milliseconds in order.
fn busiest(sent: &[i64], window: i64) -> usize {
    let mut most = 0;
    let mut first = 0;
    for (last, at) in sent.iter().enumerate() {
        while sent[first] <= at - window {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

#[tokio::test]
async fn sixty_a_minute_with_a_restart_every_ten_seconds() {
    on_every_store(|store| async move {
        let (peer, clock) = (Peer::willing().await, StoppedClock::at(TUESDAY));
        let mut relay = named("main", &peer);
        relay.rates = vec![Rate { count: 60, per: MINUTE }];
        add_people(&store, &at("x.example", 200)).await;
        queue(&store, "weekly").await;
        let mut sent = Vec::new();
        for life in 0..9 {
            let process = Process::start(&store, &clock, std::slice::from_ref(&relay), &[]).await;
            for _ in 0..40 {
                let tried: usize = process.drain().await.iter().sum();
                sent.extend(std::iter::repeat_n(clock.now().millis(), tried));
                clock.advance(Duration::from_millis(250));
            }
            // Every second end is a sudden one.
            if life % 2 == 0 { process.end().await } else { process.kill() }
        }
        assert!(
            busiest(&sent, 60_000) <= 61,
            "the limit plus one second's worth: {}",
            busiest(&sent, 60_000)
        );
        assert!(busiest(&sent, 1000) <= 2, "{}", busiest(&sent, 1000));
        assert!(sent.len() >= 85, "in ninety seconds: {}", sent.len());
    })
    .await;
}

#[tokio::test]
async fn two_processes_stay_under_one_limit_in_every_second() {
    on_every_store(|store| async move {
        let (peer, clock) = (Peer::willing().await, StoppedClock::at(TUESDAY));
        let mut relay = named("main", &peer);
        relay.rates = vec![per_second(100)];
        add_people(&store, &at("x.example", 500)).await;
        let one = Process::start(&store, &clock, std::slice::from_ref(&relay), &[]).await;
        let two = Process::start(&store, &clock, std::slice::from_ref(&relay), &[]).await;
        queue(&store, "weekly").await;
        let (mut first, mut second) = (one.connections().remove(0), two.connections().remove(0));
        let mut sent = Vec::new();
        let mut each = [0, 0];
        for round in 0..600 {
            let mut both = [(0, &mut first), (1, &mut second)];
            both.rotate_left(round % 3 % 2);
            for (at, connection) in both {
                while connection.step().await == Step::Tried {
                    sent.push(clock.now().millis());
                    each[at] += 1;
                }
            }
            clock.advance(Duration::from_millis(5));
        }
        assert!(busiest(&sent, 1000) <= 105, "{}", busiest(&sent, 1000));
        assert!(sent.len() >= 298, "and the limit is used: {} in three seconds", sent.len());
        assert!(each.iter().all(|count| *count > 0), "{each:?}");
    })
    .await;
}

/// `14/s` and a quota for a longer span: full pace until the quota is used, and the whole quota again when it has left its span.
#[tokio::test]
async fn a_quota_holds_across_restarts() {
    on_every_store(|store| async move {
        let (peer, clock) = (Peer::willing().await, StoppedClock::at(TUESDAY));
        let mut relay = named("main", &peer);
        relay.rates = vec![Rate { count: 20, per: MINUTE }, per_second(14)];
        add_people(&store, &at("x.example", 60)).await;
        queue(&store, "weekly").await;
        let mut sent = Vec::new();
        for _ in 0..13 {
            let process = Process::start(&store, &clock, std::slice::from_ref(&relay), &[]).await;
            for _ in 0..50 {
                let tried: usize = process.drain().await.iter().sum();
                sent.extend(std::iter::repeat_n(clock.now().millis(), tried));
                clock.advance(Duration::from_millis(100));
            }
            process.end().await;
        }
        let early = sent.iter().filter(|at| **at < TUESDAY.millis() + 3000).count();
        assert_eq!(early, 20, "at full pace");
        assert!(busiest(&sent, 60_000) <= 20, "wherever the minute starts: {}", busiest(&sent, 60_000));
        assert_eq!(sent.len(), 40);
    })
    .await;
}

#[tokio::test]
async fn a_clock_set_back_neither_gives_nor_blocks() {
    on_every_store(|store| async move {
        let (peer, clock) = (Peer::willing().await, StoppedClock::at(TUESDAY + MINUTE * 60));
        let mut relay = named("main", &peer);
        relay.rates = vec![per_second(10)];
        add_people(&store, &at("x.example", 100)).await;
        queue(&store, "weekly").await;
        let process = Process::start(&store, &clock, std::slice::from_ref(&relay), &[]).await;
        process.drain().await;
        assert_eq!(peer.count(), 1);
        clock.set(Timestamp(TUESDAY.millis() + 1000));
        process.drain().await;
        assert_eq!(peer.count(), 1, "going back gives nothing");
        for _ in 0..10 {
            clock.advance(Duration::from_millis(100));
            process.drain().await;
        }
        assert_eq!(peer.count(), 11, "and a second later a second's worth has left");
    })
    .await;
}
