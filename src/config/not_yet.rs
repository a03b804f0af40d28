//! Settings that are checked and that this version does not act on. Nothing is ignored in silence: whoever writes one is told.
//!
//! The one place to delete from when a part arrives.

use super::section::{Report, Section};
use super::tree::{Node, Table, Value};

/// Keys of `tidings.toml`, from its top.
const SETTINGS: &[(&str, &str)] = &[
    ("intake.imap", "is checked, but this version takes mail in by LMTP and `tidings ingest` only"),
    ("intake.maildir", "is checked, but this version takes mail in by LMTP and `tidings ingest` only"),
];

const HINT: &str = "leave it out until a version that acts on it";

pub(super) fn in_settings(root: &Section<'_>) {
    warn(root, SETTINGS);
}

fn warn(root: &Section<'_>, parts: &[(&str, &str)]) {
    for (path, problem) in parts {
        if let Some(node) = find(root.table, path) {
            warn_at(root.report, node, path, problem);
        }
    }
}

fn warn_at(report: &Report, node: &Node, path: &str, problem: &str) {
    // An array of tables has no place of its own; its first table has.
    let first = match &node.value {
        Value::List(items) => items.first().unwrap_or(node),
        _ => node,
    };
    report.warning(&first.place, path, problem, HINT);
}

fn find<'a>(table: &'a Table, path: &str) -> Option<&'a Node> {
    let mut steps = path.split('.');
    let first = &table.get(steps.next()?)?.node;
    steps.try_fold(first, |node, step| match &node.value {
        Value::Table(table) => table.get(step).map(|entry| &entry.node),
        Value::List(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}
