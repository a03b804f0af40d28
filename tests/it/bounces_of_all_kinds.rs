//! The test messages of flufl.bounce 6.0.0, each beside what that package answers: the same addresses, and permanent or temporary.
//!
//! `TIDINGS_FLUFL_BOUNCE` names a folder with its messages and an `answers.json`, which `.ci/run` makes; a run without it says so,
//! and fails with `TIDINGS_REQUIRE_FLUFL=1`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;

use tidings::domain::bounce::Action;
use tidings::mail::report::bounce_in;

const MESSAGES: usize = 117;
const SAME_AT_LEAST: usize = 100;

/// Where we answer otherwise, and why.
const DIFFERENT: &[(&str, &str)] = &[
    (
        "dsn_15.txt",
        "a scanner encloses the report in a message of its own: enclosed messages are not opened, or forwarding a bounce would be one",
    ),
    (
        "llnl_01.txt",
        "prose without any words that other servers write: the address is a guess, between two commas",
    ),
    ("yale_01.txt", "names without domains: both addresses of the answer are made up"),
];

#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
struct Answer {
    temporary: BTreeSet<String>,
    permanent: BTreeSet<String>,
}

pub fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("TIDINGS_FLUFL_BOUNCE").map(PathBuf::from).filter(|folder| folder.is_dir());
    if folder.is_none() {
        let required = std::env::var("TIDINGS_REQUIRE_FLUFL").is_ok_and(|value| value == "1");
        assert!(!required, "TIDINGS_FLUFL_BOUNCE names no folder");
        eprintln!("skipped: without TIDINGS_FLUFL_BOUNCE no bounce of another package's tests was read");
    }
    folder
}

fn ours(raw: &[u8]) -> Answer {
    let mut answer = Answer::default();
    for one in bounce_in(raw).map(|report| report.recipients).unwrap_or_default() {
        let Some(address) = one.addresses.first().cloned() else { continue };
        match one.action {
            Some(Action::Failed) => answer.permanent.insert(address),
            Some(Action::Delayed) => answer.temporary.insert(address),
            _ => continue,
        };
    }
    answer
}

#[test]
fn the_same_addresses_and_the_same_kind_as_another_package() {
    let Some(folder) = folder() else { return };
    let answers = std::fs::read(folder.join("answers.json")).unwrap();
    let answers: BTreeMap<String, Answer> = serde_json::from_slice(&answers).unwrap();
    assert_eq!(answers.len(), MESSAGES);
    let lower = |all: &BTreeSet<String>| all.iter().map(|one| one.to_lowercase()).collect();
    let mut wrong = Vec::new();
    for (file, theirs) in &answers {
        let theirs = Answer { temporary: lower(&theirs.temporary), permanent: lower(&theirs.permanent) };
        let ours = ours(&std::fs::read(folder.join(file)).unwrap());
        if ours != theirs {
            wrong.push((file.as_str(), ours, theirs));
        }
    }
    println!("{} of {MESSAGES} messages of flufl.bounce are read alike", MESSAGES - wrong.len());
    assert!(wrong.len() <= MESSAGES - SAME_AT_LEAST, "file, ours, theirs: {wrong:#?}");
    let explained: BTreeSet<&str> = DIFFERENT.iter().map(|(file, _)| *file).collect();
    let different: BTreeSet<&str> = wrong.iter().map(|(file, ..)| *file).collect();
    assert_eq!(different, explained, "each difference has its reason in the table, and no more: {wrong:#?}");
}
