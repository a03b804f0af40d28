//! Importing a CSV file of new people in random order of addresses, beside SQLite's own `.import` into a table with the same unique
//! column; and importing the same file again, which changes nothing.

mod common;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use common::world::{NOW, World, folder};
use common::{Report, median, ratio, rounds, size};
use tidings::domain::publication::TierId;
use tidings::import;
use tidings::mail::token::Keyring;
use tidings::tasks::people::{ImportOptions, ImportReport};

const TIERS: [&str; 4] = ["free", "monthly", "yearly", "lifetime"];

/// Multiplying by an odd number permutes the numbers below a power of two: no order, and no address twice.
fn csv(rows: usize) -> String {
    let range = rows.next_power_of_two();
    let mut text = String::from("email,name,tier,status\n");
    for at in 0..rows {
        let id = at.wrapping_mul(0x9E37_79B1) % range;
        let (tier, host) = (TIERS[at % 4], id % 50);
        writeln!(text, "reader{id:07}@host{host}.example,Reader Number {id},{tier},active").unwrap();
    }
    text
}

async fn import(world: &World, file: &Path) -> ImportReport {
    let tiers: Vec<TierId> = TIERS.iter().map(|tier| TierId::from(*tier)).collect();
    let rows = import::rows(std::fs::File::open(file).unwrap(), &tiers).unwrap();
    let rows = rows.map(Result::unwrap);
    let keyring = Keyring::new(&["a secret of sixteen or more".to_owned().into()]).unwrap();
    let options = ImportOptions {
        consent_source: Some("bench"),
        dry_run: false,
        now: NOW,
        keyring: &keyring,
        terms: &Default::default(),
    };
    tidings::tasks::people::import(&world.store, rows, options, |_| {}).await.unwrap()
}

/// Seconds of SQLite's shell; `None` where it is not installed.
fn shell(file: &Path) -> Option<f64> {
    let folder = folder();
    let table = "CREATE TABLE people (address TEXT UNIQUE, name TEXT, tier TEXT, status TEXT);";
    let settings = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;";
    let start = Instant::now();
    let status = Command::new("sqlite3")
        .arg(folder.path().join("shell.db"))
        .args([settings, table, ".mode csv", &format!(".import {} people", file.display())])
        .stdout(std::process::Stdio::null())
        .status()
        .ok()?;
    assert!(status.success(), "sqlite3 failed");
    Some(start.elapsed().as_secs_f64())
}

fn main() -> ExitCode {
    let rows = size(200_000);
    let mut report = Report::new(&format!("import: {rows} people from CSV"));
    let folder = folder();
    let file = folder.path().join("people.csv");
    std::fs::write(&file, csv(rows)).unwrap();
    let (mut ours, mut again, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    common::reset_peak();
    common::runtime().block_on(async {
        for _ in 0..rounds(3) {
            theirs.extend(shell(&file));
            let world = World::new().await;
            let start = Instant::now();
            assert_eq!(import(&world, &file).await.added, rows as u64);
            ours.push(start.elapsed().as_secs_f64());
            let start = Instant::now();
            assert_eq!(import(&world, &file).await.unchanged, rows as u64);
            again.push(start.elapsed().as_secs_f64());
        }
    });
    report.figure("importing", median(&ours), "s");
    report.figure("importing again", median(&again), "s");
    report.figure("peak memory", common::peak_mb(), "MB");
    if theirs.is_empty() {
        println!("  sqlite3 is not installed: there is nothing to compare with.");
        return report.finish();
    }
    report.figure("sqlite3 .import", median(&theirs), "s");
    report.at_most("importing / .import", ratio(&ours, &theirs), 1.0);
    report.ratio("importing again / .import", ratio(&again, &theirs));
    report.finish()
}
