//! Values from the environment and from flags, put into the tree before it is checked.
//!
//! `TIDINGS__RELAYS__0__RATE=50/s` is the key `relays.0.rate`: two underscores between the parts, numbers count list items
//! from 0. Nothing is checked here but the way down; a key that does not exist is added, and the reader of its table then
//! reports it as it reports one from a file. Names with a single underscore (`TIDINGS_CONFIG`) are not settings.

use std::collections::BTreeMap;

use super::section::Report;
use super::tree::{Entry, Node, Place, Table, Value, parse_value};
use crate::domain::problem::Position;

const PREFIX: &str = "TIDINGS__";

/// One value with the key that it sets.
pub(super) struct Override {
    pub path: Vec<String>,
    pub node: Node,
}

/// Reads the overrides, environment first: what comes later wins.
pub(super) fn collect(env: &BTreeMap<String, String>, flags: &[(String, String)]) -> Vec<Override> {
    let variables = env.iter().filter_map(|(name, value)| {
        let path = name.strip_prefix(PREFIX)?.split("__").map(str::to_lowercase).collect();
        Some(Override { path, node: parse_value(value, &Place::new(name, Position::FILE)) })
    });
    let flags = flags.iter().map(|(key, value)| {
        let place = Place::new(&format!("command line, {key}"), Position::FILE);
        Override { path: key.split('.').map(str::to_owned).collect(), node: parse_value(value, &place) }
    });
    variables.chain(flags).collect()
}

/// Puts one override in its place. A way down that the tree does not allow is a problem of the variable.
pub(super) fn apply(root: &mut Node, change: Override, report: &Report) {
    let Override { path, node } = change;
    let place = node.place.clone();
    if let Err(why) = put(root, &path, node) {
        report.error(&place, &path.join("."), &why, "see the keys of tidings.toml and publication.toml");
    }
}

fn put(target: &mut Node, path: &[String], node: Node) -> Result<(), String> {
    let Some((step, rest)) = path.split_first() else {
        *target = node;
        return Ok(());
    };
    if step.is_empty() {
        return Err("has an empty part".to_owned());
    }
    match &mut target.value {
        Value::Table(table) => {
            if table.get(step).is_none() {
                let empty = empty_for(rest, &node.place);
                table.0.push(Entry { key: step.clone(), key_place: node.place.clone(), node: empty });
            }
            let entry = table.get_mut(step).ok_or("cannot be set")?;
            put(&mut entry.node, rest, node)
        }
        Value::List(items) => {
            let index: usize =
                step.parse().map_err(|_| format!("`{step}` is not the number of a list item"))?;
            if index > items.len() {
                return Err(format!("there are only {} items before number {index}", items.len()));
            }
            if index == items.len() {
                items.push(empty_for(rest, &node.place));
            }
            put(&mut items[index], rest, node)
        }
        _ => Err(format!("leads through a value that has no `{step}`")),
    }
}

/// What a missing part of the way is made of: a list before a number, else a table.
fn empty_for(rest: &[String], place: &Place) -> Node {
    let value = match rest.first() {
        Some(step) if step.parse::<usize>().is_ok() => Value::List(Vec::new()),
        _ => Value::Table(Table::default()),
    };
    Node { place: place.clone(), value, raw: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree::parse;

    fn set(text: &str, name: &str, value: &str) -> (Node, usize) {
        let (mut root, _) = parse(text, "f.toml");
        let report = Report::default();
        let env = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        for change in collect(&env, &[]) {
            apply(&mut root, change, &report);
        }
        (root, report.errors())
    }

    #[test]
    fn finds_the_way_through_lists_and_tables() {
        let (root, errors) = set("[[relays]]\nrate = \"1/s\"\n", "TIDINGS__RELAYS__0__RATE", "50/s");
        assert_eq!(errors, 0);
        let Value::Table(table) = &root.value else { panic!() };
        let Value::List(relays) = &table.get("relays").unwrap().node.value else { panic!() };
        let Value::Table(relay) = &relays[0].value else { panic!() };
        let rate = &relay.get("rate").unwrap().node;
        assert!(matches!(&rate.value, Value::Text(text) if text == "50/s"));
        assert_eq!(&*rate.place.source, "TIDINGS__RELAYS__0__RATE");
    }

    #[test]
    fn refuses_ways_that_lead_nowhere() {
        for name in ["TIDINGS__DRAIN__X", "TIDINGS__LIST__A", "TIDINGS__LIST__3", "TIDINGS__A____B"] {
            assert_eq!(set("drain = \"1s\"\nlist = [1]\n", name, "1").1, 1, "{name}");
        }
        assert_eq!(set("", "TIDINGS_SECRET", "1").1, 0);
        assert_eq!(set("list = [1]\n", "TIDINGS__LIST__1", "1").1, 0);
    }
}
