//! `tidings subscribers` and `tidings suppressions`.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::Context;
use crate::app::Failure;
use crate::domain::address::Address;
use crate::domain::publication::{Publication, TierId};
use crate::domain::subscriber::{Subscriber, SubscriberStatus};
use crate::domain::suppression::SuppressionReason;
use crate::import;
use crate::runtime::{Clock, SystemClock, Timestamp};
use crate::store::people::Consent;
use crate::store::{Store, audit, erasures, former_addresses, notes, people, suppressions};
use crate::tasks::people::{ImportOptions, ImportReport};
use crate::tasks::restore;

#[derive(Debug, Subcommand)]
pub enum SubscribersCommand {
    /// Imports a CSV file: our own (email,name,tier,status[,timezone,language,term_started_at,term_ends_at]), or an export of
    /// Ghost, listmonk, Mailchimp, Substack, Keila or Buttondown.
    Import(ImportArgs),
    /// Writes everybody as CSV that an import takes back without loss, or everything about one person as JSON.
    Export(super::export::ExportArgs),
    /// Adds one person.
    Add(AddArgs),
    /// One person with term, consent and suppression.
    Show { address: String },
    /// Gives a person a tier and a new term.
    SetTier(super::terms::SetTierArgs),
    /// Ends a subscription.
    Unsubscribe { address: String },
    /// Takes everything about a person off the store, for good. What stays is a keyed hash that keeps them away.
    Erase { address: String },
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The file; `-` is standard input.
    file: PathBuf,
    /// tidings, ghost, listmonk, mailchimp, substack, keila, buttondown or plain; without it the header decides.
    #[arg(long, value_parser = format)]
    format: Option<import::Format>,
    /// utf-8, utf-16le, utf-16be or windows-1252; without it UTF-8, or UTF-16 where a byte order mark says so.
    #[arg(long, value_parser = encoding)]
    encoding: Option<import::Encoding>,
    /// Where the consent of these people comes from; without it, it is stored as `unproven`.
    #[arg(long, value_name = "TEXT")]
    consent_source: Option<String>,
    /// Says what would happen.
    #[arg(long)]
    dry_run: bool,
}

fn format(text: &str) -> Result<import::Format, String> {
    import::Format::from_word(text).ok_or_else(|| choices(import::Format::ALL))
}

fn encoding(text: &str) -> Result<import::Encoding, String> {
    import::Encoding::from_word(&text.to_ascii_lowercase()).ok_or_else(|| choices(import::Encoding::ALL))
}

fn choices(all: &[impl std::fmt::Display]) -> String {
    let words: Vec<String> = all.iter().map(ToString::to_string).collect();
    format!("write one of {}", words.join(", "))
}

#[derive(Debug, Args)]
pub struct AddArgs {
    address: String,
    #[arg(long, default_value = "")]
    name: String,
    #[arg(long)]
    tier: String,
    /// Where the consent comes from.
    #[arg(long, value_name = "TEXT", default_value = "unproven")]
    consent_source: String,
    /// Somebody else had the address and moved away from it: add it all the same, because another person has it now.
    #[arg(long)]
    another_person: bool,
}

#[derive(Debug, Subcommand)]
pub enum SuppressionsCommand {
    List,
    /// Never mail this address again.
    Add {
        address: String,
    },
    /// Takes an address off the list; the reason is kept in the audit.
    Remove {
        address: String,
        #[arg(long)]
        reason: String,
    },
}

pub async fn subscribers(context: &Context, command: SubscribersCommand) -> Result<(), Failure> {
    match command {
        SubscribersCommand::Import(args) => import_file(context, &args).await,
        SubscribersCommand::Export(args) => super::export::export(context, &args).await,
        SubscribersCommand::SetTier(args) => super::terms::set_tier(context, &args).await,
        SubscribersCommand::Add(args) => add(context, &args).await,
        SubscribersCommand::Show { address } => show(context, &address).await,
        SubscribersCommand::Unsubscribe { address } => unsubscribe(context, &address).await,
        SubscribersCommand::Erase { address } => super::erase::erase(context, &address).await,
    }
}

async fn import_file(context: &Context, args: &ImportArgs) -> Result<(), Failure> {
    let setup = context.setup()?;
    let store = restore::open(&setup.settings.storage, SystemClock.now()).await?;
    super::erase::refuse_lost_secrets(&setup, &store).await?;
    let unreadable = |error: std::io::Error| Failure::No(format!("{}: {error}", args.file.display()));
    let (reader, size): (Box<dyn Read>, u64) = if args.file == Path::new("-") {
        (Box::new(std::io::stdin()), 0)
    } else {
        let file = std::fs::File::open(&args.file).map_err(unreadable)?;
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        (Box::new(file), size)
    };
    let progress = bar(size, context.output.json);
    let publication = &setup.content.publication;
    let tiers = publication.tier_ids();
    let wishes = import::Wishes {
        format: args.format,
        encoding: args.encoding,
        tiers: &tiers,
        rules: &publication.import,
    };
    let rows = import::open(progress.wrap_read(reader), &wishes)
        .map_err(|problem| Failure::No(format!("{}: {problem}", args.file.display())))?;
    let format = rows.format();
    for column in rows.unknown_columns() {
        eprintln!(
            "tidings: {}: the column `{column}` is not read for {format} and is left out",
            args.file.display()
        );
    }
    let broken = std::cell::RefCell::new(None);
    let rows = rows.map_while(|row| match row {
        Ok(row) => Some(row),
        Err(error) => {
            *broken.borrow_mut() = Some(error);
            None
        }
    });
    let options = ImportOptions {
        consent_source: args.consent_source.as_deref(),
        dry_run: args.dry_run,
        now: SystemClock.now(),
        keyring: &setup.keyring,
        terms: &publication.terms(),
    };
    let mut report = crate::tasks::people::import(&store, rows, options, |_| {}).await?;
    report.format = format.as_str();
    progress.finish_and_clear();
    store.close().await;
    print_import(context, args, &report)?;
    match broken.into_inner() {
        Some(error) => {
            Err(Failure::No(format!("the rest of {} could not be read: {error}", args.file.display())))
        }
        None => Ok(()),
    }
}

pub(super) fn bar(size: u64, json: bool) -> ProgressBar {
    if json || size == 0 || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(size);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes}  {eta}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn print_import(context: &Context, args: &ImportArgs, report: &ImportReport) -> Result<(), Failure> {
    if context.output.json {
        return context.output.document(report);
    }
    let would = if args.dry_run { "would be " } else { "" };
    context.output.line(format!(
        "{}, {} rows: {} {would}added, {} {would}updated, {} unchanged, {} skipped; {} are suppressed",
        report.format,
        report.rows,
        report.added,
        report.updated,
        report.unchanged,
        report.skipped_rows,
        report.suppressed
    ));
    let lists =
        [("skipped", &report.skipped), ("unclear", &report.unclear), ("suppressed", &report.kept_suppressed)];
    for (what, rows) in lists {
        for row in rows {
            context.output.line(format!("{what}: line {}: {}: {}", row.line, row.address, row.reason));
        }
    }
    Ok(())
}

pub(super) fn address(text: &str) -> Result<Address, Failure> {
    Address::parse(text).map_err(|problem| Failure::Usage(format!("`{text}` is not an address: {problem}")))
}

pub(super) fn not_there(address: &Address) -> Failure {
    Failure::No(format!("there is no subscriber {address}"))
}

async fn add(context: &Context, args: &AddArgs) -> Result<(), Failure> {
    let setup = context.setup()?;
    let address = address(&args.address)?;
    let tier = known_tier(&setup.content.publication, &args.tier)?;
    let store = restore::open(&setup.settings.storage, SystemClock.now()).await?;
    super::erase::refuse_lost_secrets(&setup, &store).await?;
    let now = SystemClock.now();
    let mut tx = store.write().await?;
    if people::by_key(&mut tx, &address.key()).await?.is_some() {
        return Err(Failure::No(format!("{address} is there already")));
    }
    if erasures::is_erased(&mut tx, &setup.keyring.erased_marks(&address.key())).await? {
        let why = "the person was erased; `suppressions remove` lifts it, once they want that";
        return Err(Failure::No(format!("{address}: {why}")));
    }
    if !args.another_person && former_addresses::subscriber(&mut tx, &address.key()).await?.is_some() {
        let why = "a subscriber moved away from this address to another one (`subscribers export --person` shows them) and would be \
                   mailed twice; if another person has it now, say --another-person, or let them join by the form";
        return Err(Failure::No(format!("{address}: {why}")));
    }
    let person = Subscriber {
        id: 0,
        address: address.clone(),
        name: args.name.chars().filter(|c| !c.is_control()).collect(),
        tier,
        status: SubscriberStatus::Active,
        timezone: None,
        language: None,
        term_started_at: None,
        term_ends_at: None,
    };
    people::add_many(&mut tx, &[&person], &args.consent_source, "added by hand", now).await?;
    audit::record(&mut tx, now, "cli", "subscriber add", &address.key(), person.tier.as_str()).await?;
    tx.commit().await?;
    store.close().await;
    context.output.line(format!("{address} is added as {}", person.tier));
    Ok(())
}

pub(super) fn known_tier(publication: &Publication, name: &str) -> Result<TierId, Failure> {
    let tier = TierId::from(name);
    if publication.tier(&tier).is_some() {
        return Ok(tier);
    }
    let tiers: Vec<String> = publication.tier_ids().into_iter().map(|tier| tier.0).collect();
    Err(Failure::Usage(format!("there is no tier `{name}`; tiers are {}", tiers.join(", "))))
}

#[derive(Serialize)]
struct Shown {
    address: String,
    name: String,
    tier: String,
    status: SubscriberStatus,
    timezone: Option<String>,
    language: Option<String>,
    term: Term,
    /// No edition before this instant; in the past, where a pause is over.
    paused_until: Option<Timestamp>,
    note: String,
    consent: Vec<Consent>,
    suppression: Option<ShownSuppression>,
}

#[derive(Serialize)]
struct Term {
    started_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    refund_until: Option<Timestamp>,
    extras_used: i64,
}

#[derive(Serialize)]
struct ShownSuppression {
    reason: SuppressionReason,
    at: Timestamp,
}

async fn show(context: &Context, text: &str) -> Result<(), Failure> {
    let setup = context.setup()?;
    let address = address(text)?;
    let store = Store::open(&setup.settings.storage).await?;
    let mut tx = store.read().await?;
    let person = people::by_key(&mut tx, &address.key()).await?.ok_or_else(|| not_there(&address))?;
    let suppression = suppressions::of(&mut tx, &address).await?;
    let consent = people::consents(&mut tx, person.id).await?;
    let extras_used = people::extras_used(&mut tx, person.id).await?;
    let note = notes::of(&mut tx, person.id).await?;
    let paused_until = people::paused_until(&mut tx, person.id).await?;
    drop(tx);
    store.close().await;
    let refund_days = setup.content.publication.tier(&person.tier).map_or(0, |tier| tier.refund_days);
    let refund = Duration::from_secs(u64::from(refund_days) * 86_400);
    let shown = Shown {
        address: person.address.to_string(),
        name: person.name,
        tier: person.tier.0,
        status: person.status,
        timezone: person.timezone,
        language: person.language,
        term: Term {
            started_at: person.term_started_at,
            ends_at: person.term_ends_at,
            refund_until: person.term_started_at.filter(|_| refund_days > 0).map(|at| at + refund),
            extras_used,
        },
        paused_until,
        note,
        consent,
        suppression: suppression.map(|found| ShownSuppression { reason: found.reason, at: found.at }),
    };
    if context.output.json {
        return context.output.document(&shown);
    }
    let out = context.output;
    out.line(format!("{} <{}>", shown.name, shown.address));
    out.line(format!("{}, {}", shown.tier, shown.status));
    if let Some(ends) = shown.term.ends_at {
        out.line(format!("until {ends}"));
    }
    if let Some(until) = shown.paused_until {
        out.line(format!("no edition before {until}"));
    }
    if !shown.note.is_empty() {
        out.line(format!("note: {}", shown.note));
    }
    for line in &shown.consent {
        out.line(format!("consent {}: {} {}", line.at, line.source, line.text));
    }
    if let Some(found) = &shown.suppression {
        out.line(format!("not mailed since {}: {}", found.at, found.reason));
    }
    Ok(())
}

async fn unsubscribe(context: &Context, text: &str) -> Result<(), Failure> {
    let address = address(text)?;
    let store = context.store().await?;
    let now = SystemClock.now();
    let mut tx = store.write().await?;
    let person = people::by_key(&mut tx, &address.key()).await?.ok_or_else(|| not_there(&address))?;
    let changed = people::unsubscribe(&mut tx, person.id, "cli", now).await?;
    audit::record(&mut tx, now, "cli", "subscriber unsubscribe", &address.key(), "").await?;
    tx.commit().await?;
    store.close().await;
    context.output.line(match changed {
        true => format!("{address} is unsubscribed; waiting mail to it is not sent"),
        false => format!("{address} was unsubscribed before"),
    });
    Ok(())
}

pub async fn suppressions(context: &Context, command: SuppressionsCommand) -> Result<(), Failure> {
    let store = context.store().await?;
    let now = SystemClock.now();
    match command {
        SuppressionsCommand::List => {
            let list = suppressions::list(&mut store.read().await?).await?;
            if context.output.json {
                context.output.document(&list)?;
            } else {
                let rows: Vec<Vec<String>> = list
                    .into_iter()
                    .map(|row| vec![row.address, row.reason.to_string(), row.at.to_string(), row.source])
                    .collect();
                context.output.table(
                    &["ADDRESS", "REASON", "SINCE", "SOURCE"],
                    &rows,
                    "Nobody is suppressed.",
                );
            }
        }
        SuppressionsCommand::Add { address: text } => {
            let address = address(&text)?;
            let mut tx = store.write().await?;
            let new = suppressions::add(&mut tx, &address, SuppressionReason::Manual, "cli", now).await?;
            audit::record(&mut tx, now, "cli", "suppression add", &address.key(), "").await?;
            tx.commit().await?;
            let already = if new { "is" } else { "was already" };
            context.output.line(format!("{address} {already} suppressed"));
        }
        SuppressionsCommand::Remove { address: text, reason } => {
            if let Some(key) = text.strip_prefix("erased:").filter(|rest| rest.len() == 2) {
                return forget_key(context, &store, key, &reason).await;
            }
            let address = address(&text)?;
            let marks = context.setup()?.keyring.erased_marks(&address.key());
            let mut tx = store.write().await?;
            let listed = suppressions::remove(&mut tx, &address).await?;
            if !erasures::lift(&mut tx, &marks).await? && !listed {
                return Err(Failure::No(format!("{address} is not suppressed")));
            }
            audit::record(&mut tx, now, "cli", "suppression remove", &address.key(), &reason).await?;
            tx.commit().await?;
            context.output.line(format!("{address} may be mailed again, once it is subscribed"));
        }
    }
    store.close().await;
    Ok(())
}

/// A secret is lost for good: who was erased under it cannot be recognised any more.
async fn forget_key(context: &Context, store: &Store, key: &str, reason: &str) -> Result<(), Failure> {
    if context.setup()?.keyring.key_ids().any(|id| format!("{id:02x}") == key) {
        let why = "`secret` names it: name the address of a person instead";
        return Err(Failure::Usage(format!("erased:{key}: {why}")));
    }
    let mut tx = store.write().await?;
    let count = erasures::forget_key(&mut tx, key).await?;
    if count == 0 {
        return Err(Failure::No(format!("nobody was erased under the key {key}")));
    }
    let subject = format!("erased:{key}");
    audit::record(&mut tx, SystemClock.now(), "cli", "suppression remove", &subject, reason).await?;
    tx.commit().await?;
    store.close().await;
    context.output.line(format!("{count} erased addresses are forgotten; an import can bring them back"));
    Ok(())
}
