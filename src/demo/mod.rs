//! Layer 5: `tidings demo`. The whole daemon on loopback with the sample publication: real config, real SQLite file, real SMTP to
//! a recording server, one real answer through LMTP.
//!
//! Nothing here is a second path: the sample files are those of `config/`, people come through the import, the edition through
//! the schedule, the answer through the door. Only the server that records the mail belongs to the demo.

mod answer;
mod gallery;
mod sample;
mod sink;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::app::{self, Daemon, Failure, Parts, Setup};
use crate::domain::delivery::{DeliveryKind, DeliveryState};
use crate::domain::edition::EditionState;
use crate::domain::settings::StorageUrl;
use crate::domain::verdict::Verdict;
use crate::import;
use crate::runtime::{Clock, Shutdown, SystemClock, Timestamp};
use crate::store::editions::EditionRow;
use crate::store::{Store, deliveries, editions, inbound, people, threads};
use crate::tasks::people::{ImportOptions, import as import_rows};
use sink::{Recorded, Sink};

/// No step of the demo takes longer than this on a machine that is alive.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `demo --json` prints.
#[derive(Debug, Serialize)]
struct Summary {
    subscribers: usize,
    tiers: BTreeMap<String, i64>,
    editions: Vec<EditionSummary>,
    messages_on_disk: usize,
    threads: usize,
    posts: i64,
    relayed: usize,
    bounces: usize,
    unsubscribed: usize,
    elapsed_ms: u64,
}

#[derive(Debug, Serialize)]
struct EditionSummary {
    slug: String,
    audience: i64,
    accepted: i64,
    skipped: i64,
}

/// Runs the demo and prints what happened. `keep` is a new folder that keeps everything: each mail as .eml, and an index.html
/// with every tier's mail side by side.
///
/// # Errors
/// When the folder is not empty, or any part of the line does not do its part.
pub async fn run(keep: Option<&Path>, json: bool) -> Result<(), Failure> {
    let started = SystemClock.now();
    let folder = Folder::prepare(keep)?;
    let told = World::start(&folder.path, started).await?.play(json, started).await?;
    if json {
        let text =
            serde_json::to_string_pretty(&told.summary).map_err(|error| Failure::Ours(error.to_string()))?;
        println!("{text}");
    } else {
        print!("{}", told.text);
        match keep {
            Some(_) => println!(
                "\nEverything is in {}; start with index.html. The mails are signed; {} is the DNS record they verify with.",
                folder.path.display(),
                sample::RECORD_FILE
            ),
            None => println!("\n`tidings demo --keep DIR` leaves every mail and an index.html to look at."),
        }
    }
    Ok(())
}

/// The demo's files. Removed at the end unless they are to be kept.
struct Folder {
    path: PathBuf,
    kept: bool,
}

impl Folder {
    fn prepare(keep: Option<&Path>) -> Result<Folder, Failure> {
        let path = match keep {
            Some(path) => path.to_owned(),
            None => std::env::temp_dir().join(format!("tidings-demo-{}", std::process::id())),
        };
        let failed = |error: std::io::Error| Failure::No(format!("{}: {error}", path.display()));
        if path.exists() && std::fs::read_dir(&path).map_err(failed)?.next().is_some() {
            return Err(Failure::No(format!("{} is not empty; name a new folder", path.display())));
        }
        sample::write(&path).map_err(failed)?;
        Ok(Folder { path, kept: keep.is_some() })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.kept {
            // What the operating system will not remove now it removes with its temporary files.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Everything that runs.
struct World {
    setup: Setup,
    store: Store,
    sink: Arc<Sink>,
    daemon: Daemon,
    shutdown: Shutdown,
    folder: PathBuf,
}

/// What the demo has to say.
struct Told {
    summary: Summary,
    text: String,
}

impl World {
    async fn start(folder: &Path, now: Timestamp) -> Result<World, Failure> {
        let sink = Sink::start(&folder.join("mails"), &folder.join("others"))
            .await
            .map_err(|error| Failure::Unreachable(format!("the recording server: {error}")))?;
        let set = |key: &str, value: String| (key.to_owned(), value);
        // The sample config as it is shipped; only where things are on this machine differs.
        let key = sample::signing_key(folder)?;
        let flags = [
            set("dkim.domain", sample::DOMAIN.into()),
            set("dkim.selector", sample::SELECTOR.into()),
            set("dkim.key.file", key),
            set("relays.0.url", format!("smtp://{}", sink.address)),
            set("relays.0.rate", "100000/s".into()),
            set("intake.lmtp.listen", "127.0.0.1:0".into()),
            set("editions.0.at", now.rfc3339()),
            // A disk that is nearly full would be a mail more.
            set("operators", "[]".into()),
        ];
        let env = BTreeMap::from([("TIDINGS_SECRET".to_owned(), sample::secret()?)]);
        let (setup, problems) = Setup::load(&folder.join("config/tidings.toml"), &env, &flags);
        let setup = setup.ok_or_else(|| Failure::problems(&problems))?;
        let store = Store::open(&setup.settings.storage).await?;
        import_people(&setup, &store, now).await?;
        let shutdown = Shutdown::new();
        let clock = Arc::new(SystemClock);
        let daemon = Daemon::start(&setup, store.clone(), clock, shutdown.clone(), Parts::ALL).await?;
        Ok(World { setup, store, sink, daemon, shutdown, folder: folder.to_owned() })
    }

    async fn play(self, json: bool, started: Timestamp) -> Result<Told, Failure> {
        let slug = self.setup.content.publication.editions[0].slug.clone();
        let edition = self.watch_edition(&slug, json).await?;
        let asked =
            self.sink.of_tier("yearly").ok_or_else(|| Failure::Ours("no yearly reader got mail".into()))?;
        let door = self.daemon.lmtp().ok_or_else(|| Failure::Ours("LMTP does not listen".into()))?;
        answer::send(door, &asked.to, &asked.bytes).await?;
        let thread = self.watch_thread().await?;
        let World { setup, store, sink, daemon, shutdown, folder } = self;
        shutdown.ask();
        if !daemon.finish().await {
            return Err(Failure::Ours("a worker broke".into()));
        }
        let mut tx = store.read().await?;
        let posts = threads::posts(&mut tx, thread.thread).await?;
        let by_tier: BTreeMap<String, i64> = people::active_by_tier(&mut tx).await?.into_iter().collect();
        let open = threads::inbox(&mut tx, "", 1000).await?;
        let verdicts = inbound::list(&mut tx, None, 1000).await?;
        let found = |wanted: &[Verdict]| {
            verdicts.iter().filter(|row| row.verdict.is_some_and(|verdict| wanted.contains(&verdict))).count()
        };
        let bounces = found(&[Verdict::BounceHard, Verdict::BounceSoft]);
        let unsubscribed = found(&[Verdict::Unsubscribe]);
        let accepted = deliveries::list(&mut tx, None, Some(DeliveryState::Accepted), 0, 10_000).await?;
        let relayed = accepted.iter().filter(|row| row.kind == DeliveryKind::Answer.as_str()).count();
        let notices = notices(&setup, &sink);
        drop(tx);
        store.close().await;
        let mails = sink.mails();
        let conversation = app::conversation(&thread, &posts);
        gallery::write(&folder, &setup, &mails, &conversation)
            .map_err(|error| Failure::No(format!("{}: {error}", folder.display())))?;
        let summary = Summary {
            subscribers: by_tier.values().sum::<i64>() as usize,
            tiers: by_tier,
            editions: vec![EditionSummary {
                slug: edition.slug.clone(),
                audience: edition.audience,
                accepted: edition.counts.accepted,
                skipped: edition.counts.skipped,
            }],
            messages_on_disk: mails.len(),
            threads: open.len(),
            posts: open.iter().map(|thread| thread.posts).sum(),
            relayed,
            bounces,
            unsubscribed,
            elapsed_ms: SystemClock.now().since(started).as_millis() as u64,
        };
        let text = table(&edition, &mails, &conversation, notices, summary.elapsed_ms);
        Ok(Told { summary, text })
    }

    /// Waits until the edition is sent, with a bar on a terminal.
    async fn watch_edition(&self, slug: &str, json: bool) -> Result<EditionRow, Failure> {
        let bar = if json || !std::io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(1)
        };
        if let Ok(style) = ProgressStyle::with_template("{msg:12} {bar:40} {pos}/{len}") {
            bar.set_style(style);
        }
        bar.set_message("sending");
        let found = patiently("the edition was not sent", async || {
            let Some(row) = editions::show(&mut self.store.read().await?, slug).await? else {
                return Ok(None);
            };
            bar.set_length(row.audience.max(1) as u64);
            bar.set_position(row.counts.accepted as u64);
            Ok(Some(row).filter(|row| row.state != EditionState::Sending))
        })
        .await;
        bar.finish_and_clear();
        let row = found?;
        if row.state == EditionState::Sent {
            Ok(row)
        } else {
            Err(Failure::Ours(format!("the edition is {}: {:?}", row.state, row.counts)))
        }
    }

    /// Waits until the answer is a thread and the staff have been told.
    async fn watch_thread(&self) -> Result<threads::ThreadRow, Failure> {
        patiently("the answer did not arrive", async || {
            let rows = threads::inbox(&mut self.store.read().await?, "", 10).await?;
            Ok(rows.into_iter().next().filter(|_| notices(&self.setup, &self.sink) > 0))
        })
        .await
    }
}

/// Mails that members of staff got.
fn notices(setup: &Setup, sink: &Sink) -> usize {
    setup.settings.desk.staff.iter().map(|member| sink.sent_to(member.email.as_str())).sum()
}

/// Asks until there is an answer.
async fn patiently<T>(
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let asking = async {
        loop {
            if let Some(found) = ask().await? {
                return Ok(found);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .map_err(|_| Failure::Ours(format!("{what} within {} s", PATIENCE.as_secs())))?
}

async fn import_people(setup: &Setup, store: &Store, now: Timestamp) -> Result<(), Failure> {
    let StorageUrl::Sqlite(_) = &setup.settings.storage else {
        return Err(Failure::Config("the demo runs on SQLite".into()));
    };
    let csv = sample::people();
    let rows = import::rows(csv.as_bytes(), &setup.content.publication.tier_ids())
        .map_err(|problem| Failure::Ours(problem.to_string()))?;
    let rows = rows.filter_map(Result::ok);
    let options = ImportOptions {
        consent_source: Some("the demo's sample people"),
        dry_run: false,
        now,
        keyring: &setup.keyring,
    };
    let report = import_rows(store, rows, options, |_| {}).await?;
    match report.skipped.first() {
        Some(row) => Err(Failure::Ours(format!("line {} of the sample people: {}", row.line, row.reason))),
        None => Ok(()),
    }
}

fn table(
    edition: &EditionRow,
    mails: &[Recorded],
    conversation: &str,
    notices: usize,
    elapsed: u64,
) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{} \"{}\" is {}\n", edition.slug, edition.subject, edition.state);
    let _ = writeln!(out, "{:<10} {:>8} {:>8} {:>8}", "TIER", "PEOPLE", "MAILS", "kB EACH");
    for (tier, numbers) in &edition.tiers {
        let (audience, accepted) = (numbers.audience, numbers.counts.accepted);
        let sizes: Vec<usize> =
            mails.iter().filter(|mail| mail.tier() == tier.as_str()).map(|mail| mail.bytes.len()).collect();
        let each = sizes.iter().sum::<usize>() / sizes.len().max(1) / 1000;
        let _ = writeln!(out, "{:<10} {audience:>8} {accepted:>8} {each:>8}", tier.as_str());
    }
    let _ = writeln!(out, "\nOne reader answered the mail; {notices} notice went to staff:\n");
    for line in conversation.lines() {
        let _ = writeln!(out, "  {line}");
    }
    let _ = writeln!(out, "\nDone in {:.1} s.", elapsed as f64 / 1000.0);
    out
}
