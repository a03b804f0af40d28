//! Claims and settlements through the ledger by 8 and 32 askers that do nothing else, beside single-row autocommits on the same
//! disk; then the same with many settled rows in the table, and with many rows that nobody may claim.

mod common;

use std::process::ExitCode;
use std::time::Instant;

use common::world::{NOW, World, execute, folder, shelf, sql};
use common::{Report, median, ratio, rounds, size};
use tidings::domain::delivery::{DeliveryState, Settlement};
use tidings::store::claims::Claimed;
use tidings::store::deliveries::Settled;
use tidings::tasks::ledger::{Ledger, Owner, ledger};

/// Claims a round, for each number of askers.
const CLAIMS: usize = 8_000;

fn settled(claimed: &Claimed, owner: i64) -> Settled {
    Settled {
        delivery: claimed.id,
        attempt: claimed.attempt,
        owner,
        relay: "main".into(),
        at: NOW,
        recipient: None,
        settlement: Settlement {
            state: DeliveryState::Accepted,
            due_at: None,
            last_reply: "250 2.0.0 Ok: queued as 4XyZ123456".into(),
            burns_attempt: true,
            suppress: None,
        },
    }
}

async fn asker(ledger: Ledger, owner: i64, count: usize) {
    let mut last = None;
    for _ in 0..count {
        let claimed = ledger.ask(last.take(), true).await.unwrap().expect("enough rows are queued");
        last = Some(settled(&claimed, owner));
    }
    ledger.ask(last, false).await.unwrap();
}

/// Requests a second.
async fn through_the_ledger(world: &World, owner: i64, askers: usize) -> f64 {
    let who = Owner { id: owner, key_id: 1, shelf: shelf(), alarms: Default::default() };
    let (ledger, gatherer) = ledger(world.store.clone(), who);
    let gathering = tokio::spawn(gatherer.run(|| NOW));
    let start = Instant::now();
    let asking: Vec<_> =
        (0..askers).map(|_| tokio::spawn(asker(ledger.clone(), owner, CLAIMS / askers))).collect();
    for one in asking {
        one.await.unwrap();
    }
    let rate = CLAIMS as f64 / start.elapsed().as_secs_f64();
    drop(ledger);
    gathering.await.unwrap();
    rate
}

/// Single-row updates a second, each its own commit.
async fn autocommits() -> f64 {
    const COUNT: i64 = 2_000;
    let folder = folder();
    let mut sql = sql(&folder.path().join("plain.db")).await;
    execute(&mut sql, "CREATE TABLE plain (id INTEGER PRIMARY KEY, state TEXT, owner INTEGER)").await;
    execute(
        &mut sql,
        "INSERT INTO plain WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2000) \
         SELECT i, 'queued', NULL FROM n",
    )
    .await;
    let start = Instant::now();
    for id in 1..=COUNT {
        let update = sqlx::query("UPDATE plain SET state = 'leased', owner = 1 WHERE id = $1").bind(id);
        update.execute(&mut sql).await.unwrap();
    }
    COUNT as f64 / start.elapsed().as_secs_f64()
}

/// `rows` settled deliveries, and as many of a paused edition, of one that is not due, and of another lane.
async fn ballast(world: &World, rows: usize) {
    world.people(rows.saturating_sub(CLAIMS * 2)).await;
    for slug in ["settled", "paused", "later", "elsewhere"] {
        world.edition(slug).await;
    }
    let mut sql = world.sql().await;
    let of = |slug: &str| format!("edition_id = (SELECT id FROM editions WHERE slug = '{slug}')");
    for change in [
        format!(
            "UPDATE deliveries SET state = 'accepted', due_at = NULL, attempt = 1, owner = NULL, relay = 'main', \
             last_reply = '250 2.0.0 Ok', settled_at = 1 WHERE {}",
            of("settled")
        ),
        "UPDATE editions SET state = 'sent' WHERE slug = 'settled'".into(),
        "UPDATE editions SET state = 'paused' WHERE slug = 'paused'".into(),
        format!("UPDATE deliveries SET due_at = due_at + 3600000 WHERE {}", of("later")),
        format!("UPDATE deliveries SET lane = 7 WHERE {}", of("elsewhere")),
    ] {
        execute(&mut sql, &change).await;
    }
}

struct Rates {
    plain: Vec<f64>,
    eight: Vec<f64>,
    many: Vec<f64>,
}

async fn measure(world: &World, name: &str) -> Rates {
    let mut rates = Rates { plain: Vec::new(), eight: Vec::new(), many: Vec::new() };
    let owner = world.owner().await;
    for round in 0..rounds(5) {
        world.edition(&format!("{name}-{round}")).await;
        rates.plain.push(autocommits().await);
        rates.eight.push(through_the_ledger(world, owner, 8).await);
        rates.many.push(through_the_ledger(world, owner, 32).await);
    }
    rates
}

fn main() -> ExitCode {
    let rows = size(300_000);
    let mut report =
        Report::new(&format!("ledger: claim and settle, empty and beside {rows} rows of each other kind"));
    common::runtime().block_on(async {
        let small = World::new().await;
        small.people(CLAIMS * 2).await;
        let alone = measure(&small, "alone").await;
        let big = World::new().await;
        big.people(CLAIMS * 2).await;
        ballast(&big, rows).await;
        let beside = measure(&big, "beside").await;
        report.figure("single-row autocommits", median(&alone.plain), "/s");
        report.figure("8 askers", median(&alone.eight), "/s");
        report.figure("32 askers", median(&alone.many), "/s");
        report.figure("8 askers, beside the other rows", median(&beside.eight), "/s");
        report.figure("32 askers, beside the other rows", median(&beside.many), "/s");
        report.at_least("8 askers / autocommits", ratio(&alone.eight, &alone.plain), 2.5);
        report.ratio("32 askers / autocommits", ratio(&alone.many, &alone.plain));
        // Both against the autocommits of their own minute.
        let full = |rates: &Rates, of: &[f64]| ratio(&rates.plain, of);
        report.at_most(
            "8: time beside the other rows / alone",
            full(&beside, &beside.eight) / full(&alone, &alone.eight),
            1.1,
        );
        report.at_most(
            "32: time beside the other rows / alone",
            full(&beside, &beside.many) / full(&alone, &alone.many),
            1.1,
        );
    });
    report.figure("peak memory", common::peak_mb(), "MB");
    report.finish()
}
