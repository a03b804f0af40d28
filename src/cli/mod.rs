//! Layer 5: the commands. Each file holds the commands of one noun; what they print is here and nowhere below.
//!
//! Results go to standard output, logs and problems to standard error. With `--json` exactly one JSON document is printed.

mod answer;
mod backup;
mod check;
mod deliveries;
mod desk;
mod dkim;
mod doctor;
mod editions;
mod erase;
mod export;
mod inbox;
mod ingest;
mod lanes;
mod people;
mod preview;
mod run;
mod schedule;
mod terms;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use answer::Output;

use crate::app::Failure;

/// An email-first newsletter daemon: sends one right mail per subscriber tier and takes the answers.
#[derive(Debug, Parser)]
#[command(name = "tidings", version, propagate_version = true)]
struct Cli {
    /// The operator's file; the editors' publication.toml and articles stand beside it.
    #[arg(
        long,
        global = true,
        env = "TIDINGS_CONFIG",
        default_value = "config/tidings.toml",
        value_name = "FILE"
    )]
    config: PathBuf,
    /// Sets one setting, for example relays.0.rate=20/s; wins over environment and files.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
    /// Prints one JSON document.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

fn setting(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| "it has no =, write KEY=VALUE".to_owned())
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the whole daemon on loopback with the sample publication.
    Demo {
        /// Keeps everything there: each mail as .eml, and an index.html with every tier's mail side by side.
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
    },
    /// Runs the daemon.
    Run(run::RunArgs),
    /// Checks config, articles and templates: all problems at once.
    Check,
    /// DNS, DKIM, TLS, relays, intake, clock, storage: what is wrong, and the record or line that repairs it.
    Doctor(doctor::DoctorArgs),
    /// Keys that sign mail.
    #[command(subcommand)]
    Dkim(dkim::DkimCommand),
    /// The next dates of each slot, and what each would send to whom.
    Schedule(schedule::ScheduleArgs),
    /// Shows what one tier will get of an edition, byte for byte.
    Preview(preview::PreviewArgs),
    /// Editions and their numbers.
    #[command(subcommand)]
    Editions(editions::EditionsCommand),
    /// Single messages.
    #[command(subcommand)]
    Deliveries(deliveries::DeliveriesCommand),
    /// Recipient domains that share a limit.
    #[command(subcommand)]
    Lanes(lanes::LanesCommand),
    /// People.
    #[command(subcommand)]
    Subscribers(people::SubscribersCommand),
    /// Addresses that are not mailed.
    #[command(subcommand)]
    Suppressions(people::SuppressionsCommand),
    /// Support conversations.
    #[command(subcommand)]
    Inbox(inbox::InboxCommand),
    /// Received messages and what they were found to be.
    #[command(subcommand)]
    Inbound(desk::InboundCommand),
    /// Takes raw messages into the inbound line, from files or standard input.
    Ingest(ingest::IngestArgs),
    /// Writes a consistent copy of the SQLite file, beside a running daemon too.
    Backup(backup::BackupArgs),
    /// Brings a PostgreSQL database to the schema of this binary. SQLite files migrate themselves.
    Migrate,
    /// Prints a completion script.
    Completions { shell: clap_complete::Shell },
}

/// Where the files are and how answers are printed.
pub(crate) struct Context {
    pub config: PathBuf,
    pub flags: Vec<(String, String)>,
    pub output: Output,
}

/// Reads the command line and does what it says. Clap ends the process itself for `--help` and for wrong usage (2). `demo` plays
/// the demo, keeping its files in a folder, answering in JSON or not: it stands beside this module, not below it.
pub fn main<D, F>(demo: D) -> ExitCode
where
    D: FnOnce(Option<PathBuf>, bool) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    let cli = Cli::parse();
    let level = match &cli.command {
        Command::Run(_) => "info",
        _ => "warn",
    };
    let is_pipe = matches!(cli.command, Command::Ingest(_));
    crate::runtime::telemetry::start(level);
    let context = Context { config: cli.config, flags: cli.set, output: Output { json: cli.json } };
    // Sockets, store and parsing each have threads of their own; one thread for the rest costs a fifth less CPU a message
    // than several that wake each other.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::Ours(format!("the runtime did not start: {error}")).report(),
    };
    let done = match cli.command {
        Command::Demo { keep } => runtime.block_on(demo(keep, context.output.json)),
        command => runtime.block_on(dispatch(command, &context)),
    };
    match done {
        // What it stored is stored, whoever listens: another code would make an MTA send the mail back.
        Ok(()) if answer::output_failed() && !is_pipe => {
            Failure::Ours("the answer could not be written".into()).report()
        }
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn dispatch(command: Command, context: &Context) -> Result<(), Failure> {
    match command {
        // Answered in `main`.
        Command::Demo { .. } => Ok(()),
        Command::Run(args) => run::run(context, &args).await,
        Command::Check => check::check(context),
        Command::Doctor(args) => doctor::doctor(context, &args).await,
        Command::Dkim(command) => dkim::dkim(context, command),
        Command::Schedule(args) => schedule::schedule(context, &args).await,
        Command::Preview(args) => preview::preview(context, &args).await,
        Command::Editions(command) => editions::editions(context, command).await,
        Command::Deliveries(command) => deliveries::deliveries(context, command).await,
        Command::Lanes(command) => lanes::lanes(context, command).await,
        Command::Subscribers(command) => people::subscribers(context, command).await,
        Command::Suppressions(command) => people::suppressions(context, command).await,
        Command::Inbox(command) => inbox::inbox(context, command).await,
        Command::Inbound(command) => desk::inbound(context, command).await,
        Command::Ingest(args) => ingest::ingest(context, &args).await,
        Command::Backup(args) => backup::backup(context, &args).await,
        Command::Migrate => run::migrate(context).await,
        Command::Completions { shell } => {
            // The generator breaks on a reader that has gone away; a buffer does not.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tidings", &mut script);
            context.output.line(String::from_utf8_lossy(&script).trim_end());
            Ok(())
        }
    }
}
