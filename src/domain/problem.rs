//! What `tidings check` says. Every checker of the house answers with a list of these, never with the first one only.

use std::fmt;

use serde::Serialize;

/// Whether a problem stops the send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

/// One thing that is wrong in a file that people write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// As the person named it: relative paths stay relative.
    pub file: String,
    /// From 1. 0 where the whole file is meant.
    pub line: usize,
    /// From 1, in characters. 0 where the whole line is meant.
    pub column: usize,
    /// The setting, field, tag or gate that is meant, for example `relays.0.rate`.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub hint: String,
    pub severity: Severity,
}

impl Problem {
    pub fn error(file: &str, at: Position, key: &str, problem: &str, hint: &str) -> Problem {
        Problem {
            file: file.to_owned(),
            line: at.line,
            column: at.column,
            key: key.to_owned(),
            problem: problem.to_owned(),
            hint: hint.to_owned(),
            severity: Severity::Error,
        }
    }

    pub fn warning(file: &str, at: Position, key: &str, problem: &str, hint: &str) -> Problem {
        Problem { severity: Severity::Warning, ..Problem::error(file, at, key, problem, hint) }
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// `file:line:column: key: what is wrong, what would be right`. A position that is not known is left out.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        f.write_str(&self.file)?;
        for number in [self.line, self.column].iter().take_while(|number| **number > 0) {
            write!(f, ":{number}")?;
        }
        write!(f, ": {severity}")?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)?;
        if !self.hint.is_empty() {
            write!(f, ", {}", self.hint)?;
        }
        Ok(())
    }
}

/// Where a setting was written, for a check that needs more than its own file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// A file, or the name of a variable or flag.
    pub source: String,
    pub at: Position,
    pub key: String,
}

impl Spot {
    pub fn error(&self, problem: &str, hint: &str) -> Problem {
        Problem::error(&self.source, self.at, &self.key, problem, hint)
    }

    pub fn warning(&self, problem: &str, hint: &str) -> Problem {
        Problem::warning(&self.source, self.at, &self.key, problem, hint)
    }
}

/// A place in a text, both from 1, columns in characters. Ordered as one reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

impl Position {
    /// The whole file.
    pub const FILE: Position = Position { line: 0, column: 0 };

    pub fn new(line: usize, column: usize) -> Position {
        Position { line, column }
    }

    /// The position of a byte offset. An offset inside a character counts as that character.
    pub fn of(text: &str, offset: usize) -> Position {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Position { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters() {
        let text = "a\nüb\n";
        assert_eq!(Position::of(text, 0), Position::new(1, 1));
        assert_eq!(Position::of(text, 2), Position::new(2, 1));
        assert_eq!(Position::of(text, 3), Position::new(2, 1));
        assert_eq!(Position::of(text, 4), Position::new(2, 2));
        assert_eq!(Position::of(text, 99), Position::new(3, 1));
    }

    #[test]
    fn reads_as_one_line() {
        let at = Position::new(3, 7);
        let problem = Problem::error("config/tidings.toml", at, "relays.0.rate", "no unit", "write 50/s");
        assert_eq!(problem.to_string(), "config/tidings.toml:3:7: relays.0.rate: no unit, write 50/s");
        let variable = Problem { file: "TIDINGS__DRAIN".into(), line: 0, column: 0, ..problem };
        assert_eq!(variable.to_string(), "TIDINGS__DRAIN: relays.0.rate: no unit, write 50/s");
    }
}
