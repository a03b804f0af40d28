//! `tidings deliveries`: single messages with their state.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Context;
use super::editions::not_queued;
use crate::app::Failure;
use crate::domain::delivery::DeliveryState;
use crate::mail::token::{Keyring, message_id};
use crate::runtime::{Clock, SystemClock, Timestamp};
use crate::store::{audit, deliveries, editions};

#[derive(Debug, Subcommand)]
pub enum DeliveriesCommand {
    /// Single messages with their state.
    List(DeliveriesArgs),
    /// Tries again one that waits for a word: uncertain or parked, of an edition or of the desk.
    Retry { id: i64 },
}

#[derive(Debug, Args)]
pub struct DeliveriesArgs {
    /// The slug of an edition; without it, mail of the desk too.
    #[arg(long)]
    edition: Option<String>,
    /// For example uncertain.
    #[arg(long, value_parser = state)]
    state: Option<DeliveryState>,
}

fn state(word: &str) -> Result<DeliveryState, String> {
    DeliveryState::from_word(word).ok_or_else(|| {
        let words: Vec<_> = DeliveryState::ALL.iter().map(|state| state.as_str()).collect();
        format!("states are {}", words.join(", "))
    })
}

#[derive(Serialize)]
struct ShownDelivery {
    id: i64,
    edition: Option<String>,
    kind: String,
    address: String,
    tier: Option<String>,
    state: String,
    attempt: i64,
    relay: Option<String>,
    lane: String,
    message_id: String,
    last_reply: Option<String>,
    due_at: Option<Timestamp>,
    settled_at: Option<Timestamp>,
}

/// Rows a page, so that a million deliveries are printed in bounded memory.
const PAGE: i64 = 1000;

pub async fn deliveries(context: &Context, command: DeliveriesCommand) -> Result<(), Failure> {
    let args = match command {
        DeliveriesCommand::List(args) => args,
        DeliveriesCommand::Retry { id } => return retry_delivery(context, id).await,
    };
    let settings = context.settings()?;
    let store = context.store().await?;
    if let Some(slug) = &args.edition
        && editions::show_subject(&mut store.read().await?, slug).await?.is_none()
    {
        return Err(not_queued(context, slug));
    }
    let keyring = Keyring::new(&settings.secrets).map_err(|problem| Failure::Config(problem.to_string()))?;
    let out = context.output;
    let (mut after, mut count) = (0, 0);
    if out.json {
        out.line("[");
    }
    loop {
        let mut tx = store.read().await?;
        let page = deliveries::list(&mut tx, args.edition.as_deref(), args.state, after, PAGE).await?;
        drop(tx);
        let Some(last) = page.last() else { break };
        after = last.id;
        for row in page {
            let shown = shown_delivery(row, &keyring, &settings.message_id_domain);
            if out.json {
                let text = serde_json::to_string(&shown).map_err(|error| Failure::Ours(error.to_string()))?;
                out.line(format!("{}{text}", if count > 0 { "," } else { "" }));
            } else {
                let reply = shown.last_reply.as_deref().unwrap_or("");
                let tier = shown.tier.as_deref().unwrap_or("-");
                out.line(format!(
                    "{}  {}  {}  {tier}  {}  {reply}",
                    shown.id, shown.kind, shown.state, shown.address
                ));
            }
            count += 1;
        }
    }
    if out.json {
        out.line("]");
    } else if count == 0 {
        out.line("There are no such deliveries.");
    }
    store.close().await;
    Ok(())
}

async fn retry_delivery(context: &Context, id: i64) -> Result<(), Failure> {
    let store = context.store().await?;
    let now = SystemClock.now();
    let mut tx = store.write().await?;
    if !deliveries::retry_one(&mut tx, id, now).await? {
        return Err(Failure::No(format!(
            "delivery {id} does not wait for a word; `tidings deliveries list` shows states"
        )));
    }
    audit::record(&mut tx, now, "cli", "delivery retry", &id.to_string(), "").await?;
    tx.commit().await?;
    store.close().await;
    context.output.line(format!("delivery {id} is tried again"));
    Ok(())
}

fn shown_delivery(row: deliveries::DeliveryRow, keyring: &Keyring, domain: &str) -> ShownDelivery {
    let key = row.key_id.and_then(|key| u8::try_from(key).ok()).unwrap_or(keyring.current_key_id());
    ShownDelivery {
        message_id: message_id(keyring, key, row.id, domain),
        id: row.id,
        edition: row.edition,
        kind: row.kind,
        address: row.address,
        tier: row.tier,
        state: row.state,
        attempt: row.attempt,
        relay: row.relay.filter(|relay| !relay.is_empty()),
        lane: row.lane,
        last_reply: row.last_reply,
        due_at: row.due_at.map(Timestamp),
        settled_at: row.settled_at.map(Timestamp),
    }
}
