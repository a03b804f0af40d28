//! What a command prints, and what it reads first.

use std::fmt::Display;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::Context;
use crate::app::{Failure, Setup};
use crate::config;
use crate::domain::problem::Problem;
use crate::domain::settings::Settings;
use crate::store::Store;

/// Whether a line could not be written, to a full disk for example. Then the command has not answered, whatever it did.
static OUTPUT_FAILED: AtomicBool = AtomicBool::new(false);

pub fn output_failed() -> bool {
    let flushed = std::io::stdout().flush();
    let gone = |error: std::io::Error| error.kind() != std::io::ErrorKind::BrokenPipe;
    OUTPUT_FAILED.load(Ordering::Relaxed) || flushed.is_err_and(gone)
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
        if let Err(error) = writeln!(std::io::stdout(), "{text}")
            && error.kind() != std::io::ErrorKind::BrokenPipe
        {
            OUTPUT_FAILED.store(true, Ordering::Relaxed);
        }
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
        let (setup, problems) = self.load();
        setup.ok_or_else(|| Failure::problems(&problems))
    }

    /// What can be had, and every problem.
    pub fn load(&self) -> (Option<Setup>, Vec<Problem>) {
        Setup::load(&self.config, &config::process_environment(), &self.flags)
    }

    pub async fn store(&self) -> Result<Store, Failure> {
        Ok(Store::open(&self.settings()?.storage).await?)
    }
}
