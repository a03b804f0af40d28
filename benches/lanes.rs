//! A lane without a permit costs nobody else anything: claims and settlements of the other lanes by 8 askers, alone and behind nine
//! times as many rows of a lane that is limited to one message a second and stands first in the queue.

mod common;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::world::{NOW, World, execute, shelf};
use common::{Report, median, ratio, rounds, size};
use tidings::domain::delivery::{DeliveryState, Settlement};
use tidings::domain::settings::{DomainSettings, Rate};
use tidings::runtime::Timestamp;
use tidings::store::claims::Claimed;
use tidings::store::deliveries::Settled;
use tidings::store::lanes::{self, LANE_OTHER};
use tidings::tasks::ledger::{Ledger, Owner, ledger};

const ASKERS: usize = 8;

/// People of the limited domain first, then a ninth as many of others.
async fn people(world: &World, limited: usize) {
    let mut sql = world.sql().await;
    for (domain, count) in [("slow.example", limited), ("fast.example", limited / 9)] {
        let insert = format!(
            "INSERT INTO subscribers (address, address_key, name, tier, status, created_at, updated_at) \
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {count}) \
             SELECT i || '@{domain}', i || '@{domain}', '', 'free', 'active', 0, 0 FROM n"
        );
        execute(&mut sql, &insert).await;
    }
}

fn settled(claimed: &Claimed, owner: i64, at: Timestamp) -> Settled {
    let settlement = Settlement {
        state: DeliveryState::Accepted,
        due_at: None,
        last_reply: "250 2.0.0 Ok: queued as 4XyZ123456".into(),
        burns_attempt: true,
        suppress: None,
    };
    let (delivery, attempt) = (claimed.id, claimed.attempt);
    Settled { delivery, attempt, owner, relay: "main".into(), at, settlement, recipient: None }
}

async fn asker(ledger: Ledger, owner: i64, others: Arc<AtomicUsize>, slow: Arc<AtomicUsize>, total: usize) {
    let mut last = None;
    while others.load(Ordering::Relaxed) < total {
        let Some(claimed) = ledger.ask(last.take(), true).await.unwrap() else { break };
        let count = if claimed.lane == LANE_OTHER { &others } else { &slow };
        count.fetch_add(1, Ordering::Relaxed);
        last = Some(settled(&claimed, owner, NOW));
    }
    ledger.ask(last, false).await.unwrap();
}

/// Messages of the other lanes a second, and how many of the limited lane left meanwhile.
async fn others_a_second(world: &World, owner: i64, total: usize) -> (f64, usize) {
    let who = Owner { id: owner, key_id: 1, shelf: shelf(), alarms: Default::default() };
    let (ledger, gatherer) = ledger(world.store.clone(), who);
    let start = Instant::now();
    let gathering = tokio::spawn(gatherer.run(move || NOW + start.elapsed()));
    let (others, slow) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let asking: Vec<_> = (0..ASKERS)
        .map(|_| tokio::spawn(asker(ledger.clone(), owner, others.clone(), slow.clone(), total)))
        .collect();
    for one in asking {
        one.await.unwrap();
    }
    let rate = others.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
    drop(ledger);
    gathering.await.unwrap();
    assert_eq!(others.load(Ordering::Relaxed), total, "all others left");
    (rate, slow.load(Ordering::Relaxed))
}

async fn only_others(world: &World) {
    let mut sql = world.sql().await;
    execute(
        &mut sql,
        "UPDATE deliveries SET state = 'skipped', due_at = NULL WHERE state = 'queued' AND lane <> 0",
    )
    .await;
}

fn main() -> ExitCode {
    let limited = size(90_000);
    let total = limited / 9;
    let mut report =
        Report::new(&format!("lanes: {total} messages behind {limited} of a lane limited to 1/s"));
    let (mut alone, mut behind, mut slow) = (Vec::new(), Vec::new(), 0);
    common::runtime().block_on(async {
        let world = World::new().await;
        people(&world, limited).await;
        let domains = [DomainSettings {
            matches: vec!["slow.example".into()],
            rates: vec![Rate { count: 1, per: Duration::from_secs(1) }],
            connections: None,
        }];
        let mut tx = world.store.write().await.unwrap();
        lanes::sync(&mut tx, &domains, &[], NOW).await.unwrap();
        tx.commit().await.unwrap();
        let owner = world.owner().await;
        for round in 0..rounds(5) {
            world.edition(&format!("alone-{round}")).await;
            only_others(&world).await;
            alone.push(others_a_second(&world, owner, total).await.0);
            world.edition(&format!("behind-{round}")).await;
            let (rate, left) = others_a_second(&world, owner, total).await;
            behind.push(rate);
            slow += left;
            only_others(&world).await;
        }
    });
    report.figure("the others alone", median(&alone), "/s");
    report.figure("the others behind the limited lane", median(&behind), "/s");
    report.figure("of the limited lane meanwhile, in all rounds", slow as f64, "");
    report.at_least("behind / alone", ratio(&behind, &alone), 0.8);
    report.figure("peak memory", common::peak_mb(), "MB");
    report.finish()
}
