//! Queueing an edition for everybody, beside a bare INSERT .. SELECT of the same columns into a table without any constraint or
//! index: once of all people as they are, once of the same audience (tier, status, suppressions). One person in a hundred is
//! suppressed.

mod common;

use std::process::ExitCode;
use std::time::Instant;

use common::world::{World, execute};
use common::{Report, median, ratio, rounds, size};

const BARE_TABLE: &str = "CREATE TABLE bare (id INTEGER PRIMARY KEY, kind TEXT, edition_id INTEGER, subscriber_id INTEGER, \
    body_id INTEGER, lane INTEGER, stream INTEGER, state TEXT, due_at INTEGER, attempt INTEGER, uncertain_count INTEGER)";
const BARE: &str = "INSERT INTO bare (kind, edition_id, subscriber_id, body_id, lane, stream, state, due_at, attempt, \
    uncertain_count) SELECT 'edition', 1, s.id, 1, 0, 1, 'queued', 0, 0, 0 FROM subscribers s";
const AUDIENCE: &str = " JOIN bodies b ON b.edition_id = 1 AND b.tier = \
        CASE WHEN s.term_ends_at IS NOT NULL AND s.term_ends_at <= 5 THEN 'free' ELSE s.tier END \
    WHERE s.status = 'active' AND s.id NOT IN \
        (SELECT y.id FROM suppressions x JOIN subscribers y ON y.address_key = x.address_key)";
const SUPPRESS: &str = "INSERT INTO suppressions SELECT address_key, 'hard_bounce', 0, 'bench' FROM subscribers \
    WHERE id % 100 = 0";

fn main() -> ExitCode {
    let people = size(200_000);
    let mut report = Report::new(&format!("queueing: an edition for {people} people"));
    let (mut ours, mut bare, mut audience) = (Vec::new(), Vec::new(), Vec::new());
    common::runtime().block_on(async {
        let world = World::new().await;
        world.people(people).await;
        let mut sql = world.sql().await;
        execute(&mut sql, SUPPRESS).await;
        world.edition("first").await;
        let of_audience = format!("{BARE}{AUDIENCE}");
        for round in 0..rounds(5) {
            for (select, into) in [(BARE, &mut bare), (of_audience.as_str(), &mut audience)] {
                execute(&mut sql, BARE_TABLE).await;
                let start = Instant::now();
                execute(&mut sql, select).await;
                into.push(start.elapsed().as_secs_f64());
                execute(&mut sql, "DROP TABLE bare").await;
            }
            let start = Instant::now();
            world.edition(&format!("edition-{round}")).await;
            ours.push(start.elapsed().as_secs_f64());
        }
    });
    report.figure("bare INSERT .. SELECT", median(&bare) * 1e3, "ms");
    report.figure("the same of the audience", median(&audience) * 1e3, "ms");
    report.figure("queueing", median(&ours) * 1e3, "ms");
    report.at_most("queueing / bare", ratio(&ours, &bare), 3.5);
    report.ratio("queueing / bare of the audience", ratio(&ours, &audience));
    report.figure("peak memory", common::peak_mb(), "MB");
    report.finish()
}
