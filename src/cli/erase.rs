//! `tidings subscribers erase`: takes everything about one person off the store, and keeps them away.

use super::Context;
use super::people::address;
use crate::app::{Failure, Setup};
use crate::runtime::{Clock, SystemClock};
use crate::store::Store;
use crate::tasks::erase::{Eraser, lost_secrets};

pub async fn erase(context: &Context, text: &str) -> Result<(), Failure> {
    let setup = context.setup()?;
    let address = address(text)?;
    let store = Store::open(&setup.settings.storage).await?;
    let eraser = Eraser { store: &store, keyring: &setup.keyring, addresses: &setup.settings.addresses };
    let erased = eraser.erase(&address, SystemClock.now()).await.inspect_err(|_| {
        eprintln!(
            "tidings: it may not be over. A running daemon goes on by itself; else run `tidings subscribers erase {address}` again"
        );
    })?;
    store.close().await;
    let erased = erased.ok_or_else(|| Failure::No(format!("nothing is known about {address}")))?;
    if context.output.json {
        return context.output.document(&erased);
    }
    context.output.line(format!(
        "{address} is erased: {} deliveries, {} received messages and {} conversations hold nothing of them any more",
        erased.deliveries, erased.messages, erased.conversations
    ));
    if erased.former_addresses > 0 {
        context
            .output
            .line(format!("{} addresses that they had before are erased as well", erased.former_addresses));
    }
    for other in &erased.others {
        context.output.line(format!(
            "they had {other} before; another subscription has it now and stays: if it is theirs too, erase it as well"
        ));
    }
    if erased.in_flight > 0 {
        context.output.line(format!(
            "{} are on their way at this moment; the daemon wipes them once they are settled",
            erased.in_flight
        ));
    }
    context.output.line("Backups from before hold them until you throw them away.");
    Ok(())
}

/// Nothing is begun that could bring back who was erased.
pub(super) async fn refuse_lost_secrets(setup: &Setup, store: &Store) -> Result<(), Failure> {
    let lost = lost_secrets(store, &setup.keyring).await?;
    if lost.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = lost.iter().map(|one| format!("{one}\n  {}", one.fix())).collect();
    Err(Failure::Config(lines.join("\n")))
}
