//! `tidings backup`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::Context;
use crate::app::Failure;
use crate::domain::settings::StorageUrl;
use crate::runtime::{Clock, SystemClock, Timestamp};
use crate::tasks::backup::{self, BackupProblem};

#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Where the copy goes; nothing may be there yet.
    file: PathBuf,
}

#[derive(Serialize)]
struct Written {
    file: PathBuf,
    bytes: u64,
    taken_at: Timestamp,
}

pub async fn backup(context: &Context, args: &BackupArgs) -> Result<(), Failure> {
    if let StorageUrl::Postgres(_) = context.settings()?.storage {
        return Err(Failure::No(
            "this copies SQLite files. PostgreSQL brings its own: `pg_dump --format=custom --file=FILE DATABASE`. After \
             `pg_restore`, the first daemon on that database must be started with `tidings run --restored`, before any other"
                .into(),
        ));
    }
    let store = context.store().await?;
    let taken_at = SystemClock.now();
    let done = backup::backup(&store, &args.file, taken_at).await;
    store.close().await;
    let bytes = done?;
    let written = Written { file: args.file.clone(), bytes, taken_at };
    if context.output.json {
        return context.output.document(&written);
    }
    context.output.line(format!("{}: {bytes} bytes", args.file.display()));
    context.output.line("A daemon that opens it starts on hold; `tidings run --restored` puts it to use.");
    Ok(())
}

impl From<BackupProblem> for Failure {
    fn from(problem: BackupProblem) -> Failure {
        match problem {
            BackupProblem::Exists(_) | BackupProblem::UnderWay(_) => Failure::No(problem.to_string()),
            BackupProblem::File { .. } => Failure::Unreachable(problem.to_string()),
            BackupProblem::Store(error) => error.into(),
        }
    }
}
