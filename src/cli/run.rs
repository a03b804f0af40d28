//! `tidings run` and `tidings migrate`.

use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::Context;
use crate::app::{self, Daemon, Failure, Parts};
use crate::runtime::{Clock, Shutdown, SystemClock, init_system, telemetry};
use crate::store::Store;

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Runs some of the workers only, as one of several processes on one PostgreSQL.
    #[arg(long, value_delimiter = ',', value_name = "PARTS")]
    only: Vec<Part>,
    /// Puts a restored backup to use. Editions that were sending when it was taken are paused, what fell due since waits for
    /// approval: both may have been sent in the meantime.
    #[arg(long)]
    restored: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Schedule,
    Send,
    Receive,
    Web,
}

impl RunArgs {
    fn parts(&self) -> Parts {
        if self.only.is_empty() {
            return Parts::ALL;
        }
        let has = |part| self.only.contains(&part);
        Parts {
            schedule: has(Part::Schedule),
            send: has(Part::Send),
            receive: has(Part::Receive),
            web: has(Part::Web),
        }
    }
}

/// Runs until SIGTERM or SIGINT, then drains.
pub async fn run(context: &Context, args: &RunArgs) -> Result<(), Failure> {
    let setup = context.setup()?;
    let store = Store::open(&setup.settings.storage).await?;
    super::erase::refuse_lost_secrets(&setup, &store).await?;
    let shutdown = Shutdown::new();
    shutdown.on_signals().map_err(|error| Failure::Ours(format!("signals: {error}")))?;
    if args.restored {
        app::restored(&setup, &store, SystemClock.now()).await?;
    }
    if args.parts().web && setup.settings.web.private.is_some() {
        telemetry::count().map_err(|error| Failure::Ours(format!("counters: {error}")))?;
    }
    let daemon = Daemon::start(&setup, store.clone(), Arc::new(SystemClock), shutdown, args.parts()).await?;
    tracing::info!(
        publication = %setup.content.publication.name,
        editions = setup.content.publication.editions.len(),
        owner = daemon.owner(),
        lmtp = daemon.lmtp().map(|address| address.to_string()),
        pages = daemon.pages().map(|address| address.to_string()),
        public = daemon.public().map(|address| address.to_string()),
        "ready"
    );
    init_system::ready(&format!("owner {}", daemon.owner()));
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
