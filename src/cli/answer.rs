//! How a command answers: what it prints, and the exit code that scripts rely on.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;

use super::Context;
use crate::app::{Setup, StartProblem};
use crate::config;
use crate::domain::problem::Problem;
use crate::domain::settings::Settings;
use crate::store::{Store, StoreError};

/// Why a command did not do what it was asked. Each kind has its exit code (sysexits where there is one).
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// 1: the answer is no.
    #[error("{0}")]
    No(String),
    /// 1: as `No`, and everything has been printed.
    #[error("")]
    Printed,
    /// 2: asked in a way that cannot be answered.
    #[error("{0}")]
    Usage(String),
    /// 69: a peer or the database is unreachable.
    #[error("{0}")]
    Unreachable(String),
    /// 70: our own fault.
    #[error("{0}")]
    Ours(String),
    /// 75: later it will work.
    #[error("{0}")]
    TryAgain(String),
    /// 78: the config, or a schema that does not fit.
    #[error("{0}")]
    Config(String),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Failure::No(_) | Failure::Printed => 1,
            Failure::Usage(_) => 2,
            Failure::Unreachable(_) => 69,
            Failure::Ours(_) => 70,
            Failure::TryAgain(_) => 75,
            Failure::Config(_) => 78,
        }
    }

    /// Prints the failure and answers its code.
    pub fn report(&self) -> ExitCode {
        let text = self.to_string();
        if !text.is_empty() {
            eprintln!("tidings: {text}");
        }
        ExitCode::from(self.code())
    }

    /// All problems, one a line.
    pub fn problems(problems: &[Problem]) -> Failure {
        let list: Vec<String> =
            problems.iter().filter(|problem| problem.is_error()).map(ToString::to_string).collect();
        Failure::Config(format!("the config does not check\n{}", list.join("\n")))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let text = error.to_string();
        match error {
            StoreError::NewerSchema { .. } | StoreError::OlderSchema { .. } => Failure::Config(text),
            StoreError::Locked(_) => Failure::TryAgain(text),
            StoreError::File { .. } => Failure::Unreachable(text),
            StoreError::Sql(sqlx_error) if is_away(&sqlx_error) => Failure::Unreachable(text),
            _ => Failure::Ours(text),
        }
    }
}

fn is_away(error: &impl Display) -> bool {
    let text = error.to_string();
    ["connect", "refused", "timed out", "unable to open", "No such file"]
        .iter()
        .any(|sign| text.contains(sign))
}

impl From<StartProblem> for Failure {
    fn from(problem: StartProblem) -> Failure {
        match problem {
            StartProblem::Store(error) => error.into(),
            StartProblem::Listen { .. } => Failure::Unreachable(problem.to_string()),
            StartProblem::Ticker(_) => Failure::Ours(problem.to_string()),
        }
    }
}

/// Standard output. A reader that has gone away is no failure of ours.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub json: bool,
}

impl Output {
    /// The one JSON document of a command.
    pub fn document(self, document: &impl Serialize) -> Result<(), Failure> {
        let text =
            serde_json::to_string_pretty(document).map_err(|error| Failure::Ours(error.to_string()))?;
        self.line(text);
        Ok(())
    }

    pub fn line(self, text: impl Display) {
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    /// Columns as wide as their widest cell; numbers to the right. An empty table says so in `empty`.
    pub fn table(self, head: &[&str], rows: &[Vec<String>], empty: &str) {
        if rows.is_empty() {
            return self.line(empty);
        }
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([head[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let is_number = |column: usize| {
            rows.iter().all(|row| row.get(column).is_some_and(|cell| cell.parse::<i64>().is_ok()))
        };
        let numbers: Vec<bool> = (0..head.len()).map(is_number).collect();
        let print = |cells: &[String]| {
            let line: Vec<String> = cells
                .iter()
                .enumerate()
                .map(|(at, cell)| {
                    let width = widths[at];
                    if numbers[at] { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
                })
                .collect();
            self.line(line.join("  ").trim_end());
        };
        print(&head.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>());
        rows.iter().for_each(|row| print(row));
    }
}

impl Context {
    /// The operator's settings alone: enough for commands that only ask the store.
    pub fn settings(&self) -> Result<Settings, Failure> {
        let loaded = config::load(&self.config, &config::process_environment(), &self.flags);
        loaded.settings.ok_or_else(|| Failure::problems(&loaded.problems))
    }

    /// Everything, checked.
    pub fn setup(&self) -> Result<Setup, Failure> {
        let (setup, problems) = Setup::load(&self.config, &config::process_environment(), &self.flags);
        setup.ok_or_else(|| Failure::problems(&problems))
    }

    pub async fn store(&self) -> Result<Store, Failure> {
        Ok(Store::open(&self.settings()?.storage).await?)
    }
}
