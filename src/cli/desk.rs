//! `tidings inbound`.

use std::io::Write;
use std::sync::Arc;

use clap::Subcommand;
use serde::Serialize;

use super::Context;
use crate::app::{self, Failure, Setup};
use crate::domain::inbound::InboundState;
use crate::runtime::{Clock, SystemClock};
use crate::store::{Store, audit, inbound};
use crate::tasks::restore;

/// More rows than this are not listed; who needs them searches.
const LISTED: i64 = 1000;

#[derive(Debug, Subcommand)]
pub enum InboundCommand {
    /// Received messages, the newest first.
    List {
        /// received, done or quarantined.
        #[arg(long, value_parser = state)]
        state: Option<InboundState>,
    },
    /// One message: what it was found to be and why.
    Show {
        id: i64,
        /// Prints the message as it came, and nothing else.
        #[arg(long)]
        raw: bool,
    },
    /// Tries a quarantined message again.
    Rerun { id: i64 },
}

fn state(word: &str) -> Result<InboundState, String> {
    InboundState::from_word(word).ok_or_else(|| "states are received, done, quarantined".to_owned())
}

#[derive(Serialize)]
struct ShownInbound {
    #[serde(flatten)]
    row: inbound::InboundRow,
    #[serde(rename = "bytes")]
    size: usize,
    /// The first of it, without control characters: enough to see who wrote what.
    start: String,
}

/// Bytes of a message that are shown.
const SHOWN: usize = 4096;

pub async fn inbound(context: &Context, command: InboundCommand) -> Result<(), Failure> {
    match command {
        InboundCommand::List { state } => {
            let store = context.store().await?;
            let rows = inbound::list(&mut store.read().await?, state, LISTED).await?;
            store.close().await;
            if context.output.json {
                return context.output.document(&rows);
            }
            let cells: Vec<Vec<String>> = rows.into_iter().map(inbound_cells).collect();
            let head = ["ID", "RECEIVED", "STATE", "VERDICT", "THREAD", "REASON"];
            context.output.table(&head, &cells, "Nothing was received.");
            Ok(())
        }
        InboundCommand::Show { id, raw } => {
            let store = context.store().await?;
            let shown = inbound::show(&mut store.read().await?, id).await?;
            store.close().await;
            let (row, bytes) = shown.ok_or_else(|| no_message(id))?;
            if raw {
                // Standard output that has gone away is no failure of ours.
                let _ = std::io::stdout().write_all(&bytes);
                return Ok(());
            }
            let start: String = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)])
                .chars()
                .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
                .collect();
            let shown = ShownInbound { size: bytes.len(), start, row };
            if context.output.json {
                return context.output.document(&shown);
            }
            context.output.line(inbound_cells(shown.row).join("  "));
            context.output.line(format!("\n{}", shown.start.trim_end()));
            if shown.size > SHOWN {
                context.output.line(format!("\n[{} bytes in all; --raw prints them]", shown.size));
            }
            Ok(())
        }
        InboundCommand::Rerun { id } => rerun(context, id).await,
    }
}

fn no_message(id: i64) -> Failure {
    Failure::No(format!("there is no received message {id}"))
}

fn inbound_cells(row: inbound::InboundRow) -> Vec<String> {
    vec![
        row.id.to_string(),
        row.received_at.to_string(),
        row.state.to_string(),
        row.verdict.map_or("-", |verdict| verdict.as_str()).to_owned(),
        row.thread.map_or_else(|| "-".to_owned(), |thread| thread.to_string()),
        row.reason,
    ]
}

async fn rerun(context: &Context, id: i64) -> Result<(), Failure> {
    let setup = context.setup()?;
    let store = Store::open(&setup.settings.storage).await?;
    let now = SystemClock.now();
    let mut tx = store.write().await?;
    if !inbound::rerun(&mut tx, id).await? {
        let shown = inbound::show(&mut tx, id).await?.ok_or_else(|| no_message(id))?;
        return Err(Failure::No(format!(
            "message {id} is {}, only a quarantined one is tried again",
            shown.0.state
        )));
    }
    audit::record(&mut tx, now, "cli", "inbound rerun", &id.to_string(), "").await?;
    tx.commit().await?;
    let row = understand(&setup, &store, id).await?;
    store.close().await;
    context.output.line(inbound_cells(row.clone()).join("  "));
    if row.state == InboundState::Done { Ok(()) } else { Err(Failure::Printed) }
}

/// Takes one recorded message through the line, as often as the line itself would.
pub(super) async fn understand(
    setup: &Setup,
    store: &Store,
    id: i64,
) -> Result<inbound::InboundRow, Failure> {
    if let Some(copy) = restore::held(store).await? {
        return Err(Failure::TryAgain(format!("message {id} waits: {}", restore::reason(&copy))));
    }
    let receiver = app::receiver(setup, store, Default::default(), Arc::default()).await?;
    for _ in 0..inbound::FAILURES_MAX {
        receiver.step(id - 1, SystemClock.now()).await?;
        let (row, _) = inbound::show(&mut store.read().await?, id).await?.ok_or_else(|| no_message(id))?;
        if row.state != InboundState::Received {
            return Ok(row);
        }
    }
    let (row, _) = inbound::show(&mut store.read().await?, id).await?.ok_or_else(|| no_message(id))?;
    Ok(row)
}
