//! `tidings subscribers export`: everybody as CSV, one person as JSON.
//!
//! A file is written beside its place and moved there when it is whole, readable by its owner only: it holds people's data.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::Context;
use super::people::address;
use crate::app::Failure;
use crate::store::{Store, dossier};
use crate::tasks::export::{ExportProblem, export as export_people};

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The file to write; standard output without it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Everything about this one person, as JSON, and nothing about anybody else.
    #[arg(long, value_name = "ADDRESS")]
    person: Option<String>,
}

pub async fn export(context: &Context, args: &ExportArgs) -> Result<(), Failure> {
    let store = context.store().await?;
    let text = match &args.person {
        Some(text) => Some(person(&store, text).await?),
        None => None,
    };
    let Some(place) = &args.out else {
        let out = std::io::stdout().lock();
        let done = write(&store, text.as_deref(), out).await;
        store.close().await;
        // A reader that has gone away is no failure of ours.
        return match done {
            Err(ExportProblem::Write(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            done => done.map(|_| ()).map_err(|problem| failure(Path::new("standard output"), problem)),
        };
    };
    let part = PathBuf::from(format!("{}.part", place.display()));
    let file = create(&part).map_err(|error| failure(&part, error.into()))?;
    let count = write(&store, text.as_deref(), BufWriter::new(file)).await;
    store.close().await;
    let moved = count.and_then(|count| {
        std::fs::rename(&part, place)?;
        Ok(count)
    });
    let count = moved.map_err(|problem| {
        // What is half written helps nobody; that it cannot be removed either is no news.
        let _ = std::fs::remove_file(&part);
        failure(place, problem)
    })?;
    if context.output.json {
        return context.output.document(&serde_json::json!({ "file": place, "people": count }));
    }
    context.output.line(format!("{count} people are in {}", place.display()));
    Ok(())
}

fn create(place: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(place)
}

async fn write(store: &Store, text: Option<&str>, mut out: impl Write) -> Result<u64, ExportProblem> {
    let Some(text) = text else {
        let progress = counter();
        let done = export_people(store, out, |count| progress.set_position(count)).await;
        progress.finish_and_clear();
        return done;
    };
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(1)
}

/// How many people so far; how many there will be is not asked for.
fn counter() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let counter = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} people") {
        counter.set_style(style);
    }
    counter
}

async fn person(store: &Store, text: &str) -> Result<String, Failure> {
    let address = address(text)?;
    let mut tx = store.read().await?;
    let found = dossier::of(&mut tx, &address).await?;
    let found = found.ok_or_else(|| Failure::No(format!("nothing is known about {address}")))?;
    serde_json::to_string_pretty(&found).map_err(|error| Failure::Ours(error.to_string()))
}

fn failure(place: &Path, problem: ExportProblem) -> Failure {
    match problem {
        ExportProblem::Store(error) => error.into(),
        ExportProblem::Write(error) => Failure::No(format!("{}: {error}", place.display())),
    }
}
