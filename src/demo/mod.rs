//! Layer 5: `tidings demo`. The whole daemon on loopback with the sample publication: real config, real SQLite file, real SMTP to
//! a recording server, and through LMTP what people and programs answer: a question, what staff say to it, a mailbox that is gone,
//! a reader who leaves. A second edition respects it.
//!
//! Nothing here is a second path: the sample files are those of `config/`, people come through the import, editions through
//! the schedule, answers through the door. Only the server that records the mail belongs to the demo. Between the two editions the
//! daemon is stopped and started, with the second one added to its config.

mod gallery;
mod letters;
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
use crate::store::{Store, deliveries, editions, inbound, threads};
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

/// What the config is read with.
struct Given {
    folder: PathBuf,
    secret: String,
    flags: Vec<(String, String)>,
}

impl Given {
    fn load(&self) -> Result<Setup, Failure> {
        let env = BTreeMap::from([("TIDINGS_SECRET".to_owned(), self.secret.clone())]);
        let (setup, problems) = Setup::load(&self.folder.join("config/tidings.toml"), &env, &self.flags);
        setup.ok_or_else(|| Failure::problems(&problems))
    }
}

async fn start_daemon(setup: &Setup, store: &Store) -> Result<(Daemon, Shutdown), Failure> {
    let shutdown = Shutdown::new();
    let daemon =
        Daemon::start(setup, store.clone(), Arc::new(SystemClock), shutdown.clone(), Parts::ALL).await?;
    Ok((daemon, shutdown))
}

/// Everything that runs.
struct World {
    given: Given,
    setup: Setup,
    store: Store,
    sink: Arc<Sink>,
    daemon: Daemon,
    shutdown: Shutdown,
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
        let flags = vec![
            set("dkim.domain", sample::DOMAIN.into()),
            set("dkim.selector", sample::SELECTOR.into()),
            set("dkim.key.file", key),
            set("relays.0.url", format!("smtp://{}", sink.address)),
            set("relays.0.rate", "100000/s".into()),
            set("intake.lmtp.listen", "127.0.0.1:0".into()),
            set("intake.authserv_id", sample::AUTHSERV_ID.into()),
            set("editions.0.at", now.rfc3339()),
            // A disk that is nearly full would be a mail more.
            set("operators", "[]".into()),
        ];
        let given = Given { folder: folder.to_owned(), secret: sample::secret()?, flags };
        let setup = given.load()?;
        let store = Store::open(&setup.settings.storage).await?;
        import_people(&setup, &store, now).await?;
        let (daemon, shutdown) = start_daemon(&setup, &store).await?;
        Ok(World { given, setup, store, sink, daemon, shutdown })
    }

    /// Stops the daemon as SIGTERM does, and starts it again with a second edition in its config, due now.
    async fn go_on(self) -> Result<World, Failure> {
        let World { mut given, store, sink, daemon, shutdown, .. } = self;
        shutdown.ask();
        if !daemon.finish().await {
            return Err(Failure::Ours("a worker broke".into()));
        }
        given.flags.extend(sample::second_edition(SystemClock.now()));
        let setup = given.load()?;
        let (daemon, shutdown) = start_daemon(&setup, &store).await?;
        Ok(World { given, setup, store, sink, daemon, shutdown })
    }

    async fn play(self, json: bool, started: Timestamp) -> Result<Told, Failure> {
        let first = self.watch_edition(&self.slug(0), json).await?;
        self.exchange().await?;
        let world = self.go_on().await?;
        let second = world.watch_edition(&world.slug(1), json).await?;
        world.tell(&[first, second], started).await
    }

    fn slug(&self, number: usize) -> String {
        self.setup.content.publication.editions[number].slug.clone()
    }

    /// What people and programs do with the first edition.
    async fn exchange(&self) -> Result<(), Failure> {
        let mail = |tier: &str| {
            self.sink.of_tier(tier).ok_or_else(|| Failure::Ours(format!("no {tier} reader got mail")))
        };
        let door = self.daemon.lmtp().ok_or_else(|| Failure::Ours("LMTP does not listen".into()))?;
        let asked = mail("yearly")?;
        letters::question(&asked).deliver(door).await?;
        letters::bounce(&mail("free")?).deliver(door).await?;
        letters::leaving(&mail("monthly")?)?.deliver(door).await?;
        let staff = self.setup.settings.desk.staff.first();
        let member = staff.map(|member| member.email.as_str()).unwrap_or_default();
        let notice = self.mail_to(member, 1, "the notice to staff").await?;
        letters::answer(&notice).deliver(door).await?;
        // The edition, the automatic answer, and the one that staff wrote.
        self.mail_to(&asked.to, 3, "the answer of staff").await?;
        Ok(())
    }

    /// Waits until so many mails went to an address. Answers the newest.
    async fn mail_to(&self, address: &str, count: usize, what: &str) -> Result<Recorded, Failure> {
        patiently(&format!("{what} did not arrive"), async || {
            let mails = self.sink.to(address);
            Ok(if mails.len() >= count { mails.into_iter().next_back() } else { None })
        })
        .await
    }

    async fn tell(self, editions: &[EditionRow], started: Timestamp) -> Result<Told, Failure> {
        let World { given, setup, store, sink, daemon, shutdown } = self;
        shutdown.ask();
        if !daemon.finish().await {
            return Err(Failure::Ours("a worker broke".into()));
        }
        let mut tx = store.read().await?;
        let open = threads::inbox(&mut tx, "", 1000).await?;
        let thread = open.first().cloned().ok_or_else(|| Failure::Ours("nobody asked anything".into()))?;
        let posts = threads::posts(&mut tx, thread.thread).await?;
        let verdicts = inbound::list(&mut tx, None, 1000).await?;
        let found = |wanted: &[Verdict]| {
            verdicts.iter().filter(|row| row.verdict.is_some_and(|verdict| wanted.contains(&verdict))).count()
        };
        let accepted = deliveries::list(&mut tx, None, Some(DeliveryState::Accepted), 0, 10_000).await?;
        drop(tx);
        store.close().await;
        let mails = sink.mails();
        let conversation = app::conversation(&thread, &posts);
        gallery::write(&given.folder, &setup, &mails, &conversation)
            .map_err(|error| Failure::No(format!("{}: {error}", given.folder.display())))?;
        let summary = Summary {
            subscribers: editions.first().map_or(0, |edition| edition.audience) as usize,
            tiers: editions.first().map(people_by_tier).unwrap_or_default(),
            editions: editions.iter().map(summed).collect(),
            messages_on_disk: mails.len(),
            threads: open.len(),
            posts: open.iter().map(|thread| thread.posts).sum(),
            relayed: accepted.iter().filter(|row| row.kind == DeliveryKind::Answer.as_str()).count(),
            bounces: found(&[Verdict::BounceHard, Verdict::BounceSoft]),
            unsubscribed: found(&[Verdict::Unsubscribe]),
            elapsed_ms: SystemClock.now().since(started).as_millis() as u64,
        };
        let text = table(editions, &mails, &conversation, &summary);
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
}

fn people_by_tier(edition: &EditionRow) -> BTreeMap<String, i64> {
    edition.tiers.iter().map(|(tier, numbers)| (tier.to_string(), numbers.audience)).collect()
}

fn summed(edition: &EditionRow) -> EditionSummary {
    EditionSummary {
        slug: edition.slug.clone(),
        audience: edition.audience,
        accepted: edition.counts.accepted,
        skipped: edition.counts.skipped,
    }
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
        terms: &setup.content.publication.terms(),
    };
    let report = import_rows(store, rows, options, |_| {}).await?;
    match report.skipped.first() {
        Some(row) => Err(Failure::Ours(format!("line {} of the sample people: {}", row.line, row.reason))),
        None => Ok(()),
    }
}

fn table(editions: &[EditionRow], mails: &[Recorded], conversation: &str, summary: &Summary) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    // Writing to a String cannot fail.
    for (number, edition) in editions.iter().enumerate() {
        let _ = writeln!(out, "{} \"{}\" is {}\n", edition.slug, edition.subject, edition.state);
        let _ = writeln!(out, "{:<10} {:>8} {:>8} {:>8}", "TIER", "PEOPLE", "MAILS", "kB EACH");
        for (tier, numbers) in &edition.tiers {
            let (audience, accepted) = (numbers.audience, numbers.counts.accepted);
            // A reader's first mail is the first edition's.
            let of_edition =
                |mail: &&Recorded| mail.tier() == tier.as_str() && mail.subject() == edition.subject;
            let sizes: Vec<usize> = mails.iter().filter(of_edition).map(|mail| mail.bytes.len()).collect();
            let each = sizes.iter().sum::<usize>() / sizes.len().max(1) / 1000;
            let _ = writeln!(out, "{:<10} {audience:>8} {accepted:>8} {each:>8}", tier.as_str());
        }
        out.push('\n');
        if number == 0 {
            let _ = writeln!(
                out,
                "Then one reader asked, staff answered from their own mail program, {} mailbox was gone, and {} reader left by mail:\n",
                summary.bounces, summary.unsubscribed
            );
            for line in conversation.lines() {
                let _ = writeln!(out, "  {line}");
            }
            out.push('\n');
        }
    }
    let _ = writeln!(out, "Done in {:.1} s.", summary.elapsed_ms as f64 / 1000.0);
    out
}
