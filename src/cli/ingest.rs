//! `tidings ingest`: raw messages from files or an MTA's pipe, into the same line as every other door.
//!
//! Exit 0 means that every message is stored for good: an MTA may forget it. Everything that keeps one from being stored now is "try
//! again" (75), because a pipe's other codes make an MTA send the mail back. What will be wrong tomorrow too (too large, empty) is a
//! no (1). What is stored is understood here if the config allows, and by the daemon otherwise.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::Context;
use super::desk::understand;
use crate::app::Failure;
use crate::domain::inbound::InboundSource;
use crate::intake::ReceivedMail;
use crate::intake::file::{self, FileProblem};
use crate::runtime::{Clock, SystemClock};
use crate::store::Store;
use crate::tasks::recording::{self, Answer, Found, Recorded, Recorder};

/// Where MTAs tell a pipe whom a message is for; the address before any alias first. Postfix sets both, Exim the second.
const RECIPIENT_VARIABLES: [&str; 2] = ["ORIGINAL_RECIPIENT", "RECIPIENT"];
const SENDER_VARIABLE: &str = "SENDER";

/// Octets that are handed in before their commit is waited for.
const GROUP_BYTES: usize = 8 << 20;
const GROUP_MESSAGES: usize = 50;

#[derive(Debug, Args)]
pub struct IngestArgs {
    /// Files with one raw message each; none, or `-`, is standard input.
    files: Vec<PathBuf>,
    /// The envelope recipient, as often as there are several; without it ORIGINAL_RECIPIENT or RECIPIENT of the environment, as MTAs
    /// set them, and without those header fields decide.
    #[arg(long, value_name = "ADDRESS")]
    recipient: Vec<String>,
    /// The envelope sender, empty for the null sender; without it SENDER of the environment.
    #[arg(long, value_name = "ADDRESS")]
    sender: Option<String>,
}

/// The envelope of all messages of one call.
#[derive(Debug, PartialEq, Eq)]
struct Envelope {
    sender: Option<String>,
    /// Empty ones: header fields decide.
    recipients: Vec<String>,
}

impl Envelope {
    fn of(args: &IngestArgs, variable: impl Fn(&str) -> Option<String>) -> Envelope {
        // Some programs pass an address as it stood in the dialogue.
        let bare = |address: &str| address.trim().trim_start_matches('<').trim_end_matches('>').to_owned();
        let given: Vec<String> = args.recipient.iter().map(|address| bare(address)).collect();
        let said = RECIPIENT_VARIABLES.iter().filter_map(|name| variable(name));
        let said = said.map(|address| bare(&address)).find(|address| address.contains('@'));
        let recipients = match given.is_empty() {
            true => vec![said.unwrap_or_default()],
            false => given,
        };
        let sender = args.sender.clone().or_else(|| variable(SENDER_VARIABLE));
        // MAILER-DAEMON is how Postfix' pipe writes the null sender.
        let sender = sender.map(|address| bare(&address));
        let sender = sender.map(|address| if address.contains('@') { address } else { String::new() });
        Envelope { sender, recipients }
    }
}

pub async fn ingest(context: &Context, args: &IngestArgs) -> Result<(), Failure> {
    let again = |error: &dyn std::fmt::Display| Failure::TryAgain(error.to_string());
    let settings = context.settings().map_err(|failure| again(&failure))?;
    let store = Store::open(&settings.storage).await.map_err(|error| again(&error))?;
    let envelope = Envelope::of(args, |name| std::env::var(name).ok());
    let (recorder, line) = recording::recorder(store.clone(), Arc::default());
    let recording = tokio::spawn(line.run(|| SystemClock.now()));
    let mut taking = Taking { recorder, envelope, max: settings.intake.max_message, recorded: Vec::new() };
    let taken = taking.files(&args.files).await;
    let recorded = std::mem::take(&mut taking.recorded);
    drop(taking);
    recording.await.map_err(|error| again(&error))?;
    // What is stored is said even if another one was not.
    say(context, &store, recorded).await;
    store.close().await;
    taken
}

struct Taking {
    recorder: Recorder,
    envelope: Envelope,
    max: usize,
    recorded: Vec<(PathBuf, Recorded)>,
}

impl Taking {
    /// Records every file that can be read. One that cannot stops no other.
    async fn files(&mut self, files: &[PathBuf]) -> Result<(), Failure> {
        let standard_input = [PathBuf::from("-")];
        let files = if files.is_empty() { &standard_input[..] } else { files };
        let (mut answers, mut octets) = (Vec::new(), 0);
        let (mut later, mut refused) = (None, None);
        for path in files {
            match file::read_path(path, self.max) {
                Ok(raw) => {
                    octets += raw.len();
                    self.hand_in(path, raw, &mut answers).await?;
                }
                Err(problem @ FileProblem::Io(_)) => later = Some(format!("{}: {problem}", path.display())),
                // It will be so tomorrow.
                Err(problem) => {
                    let text = format!("{}: {problem}", path.display());
                    eprintln!("tidings: {text}");
                    refused = Some(text);
                }
            }
            if octets >= GROUP_BYTES || answers.len() >= GROUP_MESSAGES {
                self.wait(&mut answers).await?;
                octets = 0;
            }
        }
        self.wait(&mut answers).await?;
        match (later, refused) {
            (Some(why), _) => Err(Failure::TryAgain(why)),
            (None, Some(why)) => Err(Failure::No(why)),
            (None, None) => Ok(()),
        }
    }

    async fn hand_in(
        &self,
        path: &Path,
        raw: Vec<u8>,
        answers: &mut Vec<(PathBuf, Answer)>,
    ) -> Result<(), Failure> {
        let raw = Arc::new(raw);
        for recipient in &self.envelope.recipients {
            let mail = ReceivedMail {
                envelope_from: self.envelope.sender.clone(),
                recipient: recipient.clone(),
                source: InboundSource::File,
                raw: raw.clone(),
            };
            let handed =
                self.recorder.hand_in(Found { mail, place: None, set_aside: None, late: None }).await;
            answers
                .push((path.to_owned(), handed.map_err(|problem| Failure::TryAgain(problem.to_string()))?));
        }
        Ok(())
    }

    async fn wait(&mut self, answers: &mut Vec<(PathBuf, Answer)>) -> Result<(), Failure> {
        for (path, answer) in answers.drain(..) {
            let recorded =
                answer.recorded().await.map_err(|problem| Failure::TryAgain(problem.to_string()))?;
            self.recorded.push((path, recorded));
        }
        Ok(())
    }
}

/// Understands what was recorded and says what it is. Whatever happens here, the messages are stored.
async fn say(context: &Context, store: &Store, recorded: Vec<(PathBuf, Recorded)>) {
    let setup = context.setup();
    for (path, answer) in recorded {
        let Recorded::New(id) = answer else {
            context.output.line(format!("{}: was received before", path.display()));
            continue;
        };
        let understood = match &setup {
            Ok(setup) => understand(setup, store, id).await,
            Err(failure) => Err(Failure::Config(failure.to_string())),
        };
        match understood {
            Ok(row) => {
                let thread = row.thread.map(|thread| format!(", conversation {thread}")).unwrap_or_default();
                let verdict = row.verdict.map_or("not understood", |verdict| verdict.as_str());
                context.output.line(format!("{}: {verdict}{thread} ({})", path.display(), row.reason));
            }
            Err(failure) => {
                eprintln!("tidings: {failure}");
                let text = format!("{}: stored as {id}; the daemon will understand it", path.display());
                context.output.line(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_comes_from_arguments_before_the_environment() {
        let args = |recipient: &[&str], sender: Option<&str>| IngestArgs {
            files: Vec::new(),
            recipient: recipient.iter().map(|address| (*address).to_owned()).collect(),
            sender: sender.map(str::to_owned),
        };
        let postfix = |name: &str| match name {
            "ORIGINAL_RECIPIENT" => Some("support+abc@news.example.org".to_owned()),
            "RECIPIENT" => Some("box@local.example".to_owned()),
            "SENDER" => Some("MAILER-DAEMON".to_owned()),
            _ => None,
        };
        let envelope = Envelope::of(&args(&[], None), postfix);
        assert_eq!(envelope.recipients, ["support+abc@news.example.org"]);
        assert_eq!(envelope.sender.as_deref(), Some(""));
        let envelope = Envelope::of(&args(&["<a@x.example>", "b@x.example"], Some("<>")), postfix);
        assert_eq!(envelope.recipients, ["a@x.example", "b@x.example"]);
        assert_eq!(envelope.sender.as_deref(), Some(""));
        let exim = |name: &str| (name == "RECIPIENT").then(|| "box@local.example".to_owned());
        let envelope = Envelope::of(&args(&[], Some("c@x.example")), exim);
        assert_eq!(
            (envelope.recipients[0].as_str(), envelope.sender.as_deref()),
            ("box@local.example", Some("c@x.example"))
        );
        let nothing = Envelope::of(&args(&[], None), |_| None);
        assert_eq!(nothing, Envelope { sender: None, recipients: vec![String::new()] });
    }
}
