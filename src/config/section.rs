//! A cursor over one table of a config file: takes keys, checks types, and knows in the end which keys nobody asked for.
//!
//! A reader asks for every key it knows, gets `None` for what is missing or wrong, and goes on, so that ten mistakes make
//! ten problems. Nothing here prints a value; only the small grammars quote what they could not read.

use std::cell::RefCell;
use std::ops::RangeInclusive;

use super::syntax::Wrong;
use super::tree::{Node, Place, Table, Value};
use crate::domain::problem::{Problem, Severity, Spot};

/// Collects the problems of one file.
#[derive(Default)]
pub(super) struct Report {
    problems: RefCell<Vec<Problem>>,
    /// The lines that are not TOML. What they were meant to say is unknown, so nothing else is said about them, and no key is
    /// called missing.
    broken: Vec<usize>,
}

impl Report {
    pub fn error(&self, place: &Place, key: &str, problem: &str, hint: &str) {
        self.push(Problem::error(&place.source, place.at, key, problem, hint));
    }

    pub fn warning(&self, place: &Place, key: &str, problem: &str, hint: &str) {
        self.push(Problem::warning(&place.source, place.at, key, problem, hint));
    }

    /// Starts with what the TOML parser said.
    pub fn with_syntax(problems: Vec<Problem>) -> Report {
        let broken = problems.iter().map(|problem| problem.line).collect();
        Report { problems: RefCell::new(problems), broken }
    }

    pub fn push(&self, problem: Problem) {
        if problem.line == 0 || !self.broken.contains(&problem.line) {
            self.problems.borrow_mut().push(problem);
        }
    }

    pub fn errors(&self) -> usize {
        self.problems.borrow().iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    pub fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

/// One table that is being read.
pub(super) struct Section<'a> {
    pub table: &'a Table,
    pub place: &'a Place,
    pub path: String,
    pub report: &'a Report,
    asked: Vec<&'static str>,
    /// Required keys that are not there, with their hints; reported in the end, when misspelt ones are known.
    missing: Vec<(&'static str, String)>,
}

impl<'a> Section<'a> {
    /// The top of a file.
    pub fn root(node: &'a Node, report: &'a Report) -> Option<Section<'a>> {
        Found { node, path: String::new(), report }.section()
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A key that may be missing.
    pub fn optional(&mut self, key: &'static str) -> Option<Found<'a>> {
        self.asked.push(key);
        let entry = self.table.get(key)?;
        Some(Found { node: &entry.node, path: self.path_of(key), report: self.report })
    }

    /// A key that must be there; the hint says what to write.
    pub fn required(&mut self, key: &'static str, hint: &str) -> Option<Found<'a>> {
        let found = self.optional(key);
        if found.is_none() {
            self.missing(key, hint);
        }
        found
    }

    pub fn missing(&mut self, key: &'static str, hint: &str) {
        self.missing.push((key, hint.to_owned()));
    }

    /// Every key of a table whose keys are names, in the order of the file.
    pub fn names(&self) -> Vec<(&'a str, &'a Place, Found<'a>)> {
        let found = |key: &str, node| Found { node, path: self.path_of(key), report: self.report };
        let entries = self.table.0.iter();
        entries.map(|e| (e.key.as_str(), &e.key_place, found(&e.key, &e.node))).collect()
    }

    /// Reports the keys that nobody asked for, and the required ones that are missing. A required key that is only misspelt
    /// is one mistake, not two.
    pub fn finish(self) {
        let mut meant = Vec::new();
        for entry in &self.table.0 {
            if self.asked.contains(&entry.key.as_str()) {
                continue;
            }
            let near = nearest(&entry.key, &self.asked);
            meant.extend(near);
            let hint = match near {
                Some(near) => format!("did you mean `{near}`? Known here: {}", self.asked.join(", ")),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            self.report.error(&entry.key_place, &self.path_of(&entry.key), "is not a setting", &hint);
        }
        let missing = self.missing.iter().filter(|(key, _)| !meant.contains(key));
        for (key, hint) in missing.filter(|_| self.report.broken.is_empty()) {
            self.report.error(self.place, &self.path_of(key), "is missing", hint);
        }
    }
}

/// One value that is being read.
pub(super) struct Found<'a> {
    pub node: &'a Node,
    pub path: String,
    report: &'a Report,
}

impl<'a> Found<'a> {
    /// Reports an error here. Returns `None` so that a reader can end with it.
    pub fn wrong<T>(&self, problem: &str, hint: &str) -> Option<T> {
        self.report.error(&self.node.place, &self.path, problem, hint);
        None
    }

    pub fn warn(&self, problem: &str, hint: &str) {
        self.report.warning(&self.node.place, &self.path, problem, hint);
    }

    /// For checks that come later.
    pub fn spot(&self) -> Spot {
        let place = &self.node.place;
        Spot { source: place.source.to_string(), at: place.at, key: self.path.clone() }
    }

    fn wrong_kind<T>(&self, expected: &str) -> Option<T> {
        self.wrong(&format!("is {}", self.node.value.kind()), &format!("write {expected}"))
    }

    /// One line of text that is not empty.
    pub fn text(&self) -> Option<&'a str> {
        let text = match &self.node.value {
            Value::Text(text) => text.as_str(),
            Value::Integer(_) | Value::Fraction | Value::Bool(_) | Value::Time(_)
                if self.node.raw.is_some() =>
            {
                self.node.raw.as_deref().unwrap_or_default()
            }
            _ => return self.wrong_kind("text in quotes"),
        };
        if text.trim().is_empty() {
            return self.wrong("is empty", "write some text, or leave the key out");
        }
        if text.contains(char::is_control) {
            return self.wrong("holds a line break or a control character", "write it on one line");
        }
        Some(text.trim())
    }

    /// Text, or a TOML date or time without quotes.
    pub fn time_text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Time(text) => Some(text),
            _ => self.text(),
        }
    }

    pub fn flag(&self) -> Option<bool> {
        match self.node.value {
            Value::Bool(flag) => Some(flag),
            _ => self.wrong_kind("true or false"),
        }
    }

    pub fn integer(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let Value::Integer(number) = self.node.value else { return self.wrong_kind(&expected) };
        match u32::try_from(number) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => self.wrong(&format!("{number} is out of range"), &format!("write {expected}")),
        }
    }

    pub fn section(&self) -> Option<Section<'a>> {
        match &self.node.value {
            Value::Table(table) => Some(Section {
                table,
                place: &self.node.place,
                path: self.path.clone(),
                report: self.report,
                asked: Vec::new(),
                missing: Vec::new(),
            }),
            _ => self.wrong_kind(&format!("a table: [{}]", self.path)),
        }
    }

    pub fn is_empty_list(&self) -> bool {
        matches!(&self.node.value, Value::List(items) if items.is_empty())
    }

    /// The items of a list.
    pub fn list(&self) -> Option<Vec<Found<'a>>> {
        let Value::List(items) = &self.node.value else { return self.wrong_kind("a list: [ ... ]") };
        Some(self.items(items))
    }

    /// The items of a list, or the value itself as the only item.
    pub fn one_or_list(self) -> Vec<Found<'a>> {
        match &self.node.value {
            Value::List(items) => self.items(items),
            _ => vec![self],
        }
    }

    fn items(&self, items: &'a [Node]) -> Vec<Found<'a>> {
        let found =
            |(index, node)| Found { node, path: format!("{}.{index}", self.path), report: self.report };
        items.iter().enumerate().map(found).collect()
    }

    /// Reads text with one of the small grammars. For what is no text at all, the grammar's own hint says what to write.
    pub fn parse<T>(&self, grammar: impl Fn(&str) -> Result<T, Wrong>) -> Option<T> {
        if !matches!(self.node.value, Value::Text(_))
            && self.node.raw.is_none()
            && let Err(Wrong { hint, .. }) = grammar("")
        {
            return self.wrong(&format!("is {}", self.node.value.kind()), &hint);
        }
        self.checked(grammar(self.text()?))
    }

    /// Reports what a grammar could not read.
    pub fn checked<T>(&self, result: Result<T, Wrong>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(Wrong { problem, hint }) => self.wrong(&problem, &hint),
        }
    }

    /// Reads every item of a list with one grammar; an equal item twice is an error. `None` where the list is none.
    pub fn parse_list<T: PartialEq>(&self, grammar: impl Fn(&str) -> Result<T, Wrong>) -> Option<Vec<T>> {
        let mut values = Vec::new();
        for item in self.list()? {
            let Some(value) = item.parse(&grammar) else { continue };
            if values.contains(&value) {
                item.wrong::<()>("is in this list twice", "write it once");
            } else {
                values.push(value);
            }
        }
        Some(values)
    }
}

/// The known key that is closest to a misspelt one, if one is close.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let limit = (word.chars().count() / 3).max(1);
    let best = known.iter().map(|key| (distance(word, key), *key)).min()?;
    (best.0 <= limit).then_some(best.1)
}

/// Edit distance (insert, delete, replace, swap of neighbours each cost 1).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn suggests_only_what_is_close() {
        let known = ["rate", "name", "connections", "messages_per_connection"];
        assert_eq!(nearest("conections", &known), Some("connections"));
        assert_eq!(nearest("raet", &known), Some("rate"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest("", &known), None);
    }
}
