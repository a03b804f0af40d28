//! `tidings run` and `tidings migrate`.

use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::Context;
use crate::app::{Daemon, Failure, Parts};
use crate::runtime::{Shutdown, SystemClock};
use crate::store::Store;

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Runs some of the workers only, as one of several processes on one PostgreSQL.
    #[arg(long, value_delimiter = ',', value_name = "PARTS")]
    only: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Schedule,
    Send,
    Receive,
}

impl RunArgs {
    fn parts(&self) -> Parts {
        if self.only.is_empty() {
            return Parts::ALL;
        }
        let has = |part| self.only.contains(&part);
        Parts { schedule: has(Part::Schedule), send: has(Part::Send), receive: has(Part::Receive) }
    }
}

/// Runs until SIGTERM or SIGINT, then drains.
pub async fn run(context: &Context, args: &RunArgs) -> Result<(), Failure> {
    let setup = context.setup()?;
    let store = Store::open(&setup.settings.storage).await?;
    let shutdown = Shutdown::new();
    shutdown.on_signals().map_err(|error| Failure::Ours(format!("signals: {error}")))?;
    let daemon = Daemon::start(&setup, store.clone(), Arc::new(SystemClock), shutdown, args.parts()).await?;
    tracing::info!(
        publication = %setup.content.publication.name,
        editions = setup.content.publication.editions.len(),
        lmtp = daemon.lmtp().map(|address| address.to_string()),
        "ready"
    );
    let sound = daemon.finish().await;
    store.close().await;
    tracing::info!("stopped");
    if sound { Ok(()) } else { Err(Failure::Ours("a worker broke; its reason is in the log".into())) }
}

/// Migrates whatever the settings name.
pub async fn migrate(context: &Context) -> Result<(), Failure> {
    let store = Store::migrate(&context.settings()?.storage).await?;
    store.close().await;
    context.output.line("the schema is up to date");
    Ok(())
}
