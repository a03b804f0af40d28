//! A TOML document as a tree whose every node knows where it stands.
//!
//! The tree is ours rather than the TOML crate's, so that a value from the environment or a flag can take the place of one
//! from the file and still say where it came from. Limits: a float is kept only as "a number with a fraction", because no
//! setting is one.

use std::rc::Rc;

use toml::de::{DeTable, DeValue};

use crate::domain::problem::{Position, Problem};

/// Where a value was written: a file and a position in it, or the name of a variable or flag and [`Position::FILE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub source: Rc<str>,
    pub at: Position,
}

impl Place {
    pub fn new(source: &str, at: Position) -> Place {
        Place { source: Rc::from(source), at }
    }
}

/// A value with its place. No `Debug`: it may hold a secret that somebody wrote where none belongs.
pub(super) struct Node {
    pub place: Place,
    pub value: Value,
    /// The text as given, for a value from the environment: `TIDINGS__NAME=1984` is a name where a name is expected.
    pub raw: Option<String>,
}

pub(super) enum Value {
    Text(String),
    Integer(i64),
    Fraction,
    Bool(bool),
    /// A TOML date, time or both, as written.
    Time(String),
    List(Vec<Node>),
    Table(Table),
}

impl Value {
    /// What to call it in a sentence.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "text",
            Value::Integer(_) => "a whole number",
            Value::Fraction => "a number with a fraction",
            Value::Bool(_) => "true or false",
            Value::Time(_) => "a date or time",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

/// Keys in the order of the file.
#[derive(Default)]
pub(super) struct Table(pub Vec<Entry>);

pub(super) struct Entry {
    pub key: String,
    pub key_place: Place,
    pub node: Node,
}

impl Table {
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.key == key)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Entry> {
        self.0.iter_mut().find(|entry| entry.key == key)
    }
}

/// Reads a whole document. Every syntax error is reported; what could be read around them is returned all the same.
pub(super) fn parse(text: &str, source: &str) -> (Node, Vec<Problem>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let reader = Reader { text, source: Rc::from(source) };
    let mut problems: Vec<Problem> = errors
        .iter()
        .map(|error| {
            let at = error.span().map_or(Position::FILE, |span| Position::of(text, span.start));
            let what = error.message().trim().replace('\n', ", ");
            Problem::error(source, at, "", &format!("not valid TOML: {what}"), "see toml.io for the syntax")
        })
        .collect();
    // The first error of a line is the mistake; the others are the parser finding its way back.
    problems.sort_by_key(|problem| (problem.line, problem.column));
    problems.dedup_by_key(|problem| problem.line);
    let place = Place { source: reader.source.clone(), at: Position::new(1, 1) };
    (Node { place, value: Value::Table(reader.table(document.get_ref())), raw: None }, problems)
}

/// Reads what a variable or a flag holds: a TOML value if it is one, else the text itself.
pub(super) fn parse_value(text: &str, place: &Place) -> Node {
    let reader = Reader { text: "", source: place.source.clone() };
    let value = match DeValue::parse(text) {
        Ok(value) => reader.value(value.get_ref()),
        Err(_) => Value::Text(text.to_owned()),
    };
    Node { place: place.clone(), value, raw: Some(text.to_owned()) }
}

/// With an empty text every place is the source itself.
struct Reader<'a> {
    text: &'a str,
    source: Rc<str>,
}

impl Reader<'_> {
    fn place(&self, offset: usize) -> Place {
        let at = if self.text.is_empty() { Position::FILE } else { Position::of(self.text, offset) };
        Place { source: self.source.clone(), at }
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        let mut pairs: Vec<_> = table.iter().collect();
        pairs.sort_by_key(|(key, _)| key.span().start);
        let entries = pairs.into_iter().map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_place: self.place(key.span().start),
            node: Node {
                place: self.place(value.span().start),
                value: self.value(value.get_ref()),
                raw: None,
            },
        });
        Table(entries.collect())
    }

    fn value(&self, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => Value::Fraction,
            },
            DeValue::Float(_) => Value::Fraction,
            DeValue::Boolean(flag) => Value::Bool(*flag),
            DeValue::Datetime(time) => Value::Time(time.to_string()),
            DeValue::Array(list) => Value::List(
                list.iter()
                    .map(|item| Node {
                        place: self.place(item.span().start),
                        value: self.value(item.get_ref()),
                        raw: None,
                    })
                    .collect(),
            ),
            DeValue::Table(table) => Value::Table(self.table(table)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'a>(node: &'a Node, path: &[&str]) -> &'a Node {
        path.iter().fold(node, |node, step| match &node.value {
            Value::Table(table) => &table.get(step).unwrap().node,
            Value::List(list) => &list[step.parse::<usize>().unwrap()],
            _ => panic!("no way down at {step}"),
        })
    }

    #[test]
    fn every_node_knows_its_place() {
        let text = "a = 1\n[b]\nc = \"x\"\n[[d]]\ne.f = true\n[[d]]\ng = [1,\n 2.5]\n[h.i]\n";
        let (root, problems) = parse(text, "f.toml");
        assert!(problems.is_empty());
        let cases = [
            ("a", (1, 5)),
            ("b", (2, 1)),
            ("b.c", (3, 5)),
            ("d.0", (4, 1)),
            ("d.0.e.f", (5, 7)),
            ("d.1", (6, 1)),
            ("d.1.g.1", (8, 2)),
            ("h.i", (9, 1)),
        ];
        for (path, (line, column)) in cases {
            let node = at(&root, &path.split('.').collect::<Vec<_>>());
            assert_eq!(node.place.at, Position::new(line, column), "{path}");
        }
    }

    #[test]
    fn syntax_errors_leave_the_rest_readable() {
        let (root, problems) = parse("a = = 1\nb = 2\nb = 3\n", "f.toml");
        assert!(problems.len() >= 2, "{problems:?}");
        assert_eq!(problems[0].line, 1);
        assert!(problems.iter().any(|problem| problem.line == 3), "{problems:?}");
        assert!(matches!(at(&root, &["b"]).value, Value::Integer(_)));
    }

    #[test]
    fn variables_hold_toml_or_text() {
        let place = Place::new("TIDINGS__X", Position::FILE);
        assert!(matches!(parse_value("5", &place).value, Value::Integer(5)));
        assert!(matches!(parse_value("[\"a\"]", &place).value, Value::List(_)));
        assert!(matches!(parse_value("50/s", &place).value, Value::Text(_)));
        assert!(matches!(parse_value("a b # c", &place).value, Value::Text(_)));
        assert!(matches!(parse_value("", &place).value, Value::Text(_)));
    }
}
