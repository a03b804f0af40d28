//! `tidings inbox`: support conversations, read and answered. What is done here goes through the functions that mail and pages use.

use std::io::Read;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Context;
use crate::app::{self, Failure};
use crate::config;
use crate::domain::thread::{PostKind, ThreadState};
use crate::mail::files::{self, File, Shown};
use crate::runtime::{Clock, SystemClock, Timestamp};
use crate::store::staff::StaffRow;
use crate::store::threads::{NewPost, PostRow, ThreadRow};
use crate::store::{Store, Tx, audit, threads};
use crate::tasks::answer::{Answer, Answered};
use crate::tasks::restore;
use crate::tasks::threading::{Desk, paid_first};

/// More rows than this are not listed; who needs them searches.
const LISTED: i64 = 1000;

#[derive(Debug, Subcommand)]
pub enum InboxCommand {
    /// Who waits for an answer: tiers that have answers first, then the longest wait.
    List {
        /// In subject, address, name and words.
        #[arg(long, default_value = "", hide_default_value = true)]
        search: String,
        /// open, waiting or closed; without it, those that are not closed.
        #[arg(long, value_parser = state)]
        state: Option<ThreadState>,
    },
    /// One conversation.
    Show { number: i64 },
    /// Answers it, from the desk's address. The words come from standard input or --text.
    Reply(ReplyArgs),
    /// Adds words that only staff see.
    Note {
        number: i64,
        #[command(flatten)]
        words: Words,
    },
    /// Ends it. A later word of the subscriber opens it again.
    Close { number: i64 },
    /// Opens a closed one again: it waits for an answer from now on.
    Reopen { number: i64 },
    /// Hands it to a member of staff, who is told; `nobody` hands it to all.
    Assign { number: i64, name: String },
    /// Moves a post and all behind it into a conversation of its own.
    Split {
        number: i64,
        /// The id of the first post that moves, from `inbox show --json`.
        #[arg(long, value_name = "POST")]
        from: i64,
    },
    /// Moves all posts of a conversation into another one with the same person.
    Merge {
        number: i64,
        #[arg(value_name = "INTO")]
        into: i64,
    },
}

#[derive(Debug, Args)]
pub struct Words {
    /// The words; without it, standard input.
    #[arg(long)]
    text: Option<String>,
    /// Which member of staff writes: name or address. Without it, the desk.
    #[arg(long = "as", value_name = "NAME")]
    author: Option<String>,
}

#[derive(Debug, Args)]
pub struct ReplyArgs {
    number: i64,
    #[command(flatten)]
    words: Words,
    /// Files that go with it.
    #[arg(long, value_name = "FILE")]
    attach: Vec<PathBuf>,
    /// Ends the conversation.
    #[arg(long)]
    close: bool,
    /// Sends it although its end looks like a signature, and without files that cannot be cleaned.
    #[arg(long)]
    anyway: bool,
}

fn state(word: &str) -> Result<ThreadState, String> {
    ThreadState::from_word(word).ok_or_else(|| "states are open, waiting, closed".to_owned())
}

pub async fn inbox(context: &Context, command: InboxCommand) -> Result<(), Failure> {
    match command {
        InboxCommand::List { search, state } => list(context, &search, state).await,
        InboxCommand::Show { number } => show(context, number).await,
        InboxCommand::Reply(args) => reply(context, &args).await,
        InboxCommand::Note { number, words } => note(context, number, &words).await,
        InboxCommand::Assign { number, name } => assign(context, number, &name).await,
        InboxCommand::Close { number } => change(context, number, Change::Close).await,
        InboxCommand::Reopen { number } => change(context, number, Change::Reopen).await,
        InboxCommand::Split { number, from } => change(context, number, Change::Split(from)).await,
        InboxCommand::Merge { number, into } => change(context, number, Change::Merge(into)).await,
    }
}

async fn list(context: &Context, search: &str, state: Option<ThreadState>) -> Result<(), Failure> {
    let store = context.store().await?;
    if let Some(copy) = restore::held(&store).await? {
        // What came in since is not here yet.
        eprintln!("tidings: {}", restore::reason(&copy));
    }
    let mut tx = store.read().await?;
    let mut rows = match state {
        Some(state) => threads::in_state(&mut tx, state, search, LISTED).await?,
        None => threads::inbox(&mut tx, search, LISTED).await?,
    };
    drop(tx);
    store.close().await;
    // Only the order depends on the editors' file: a mistake in it keeps nobody from reading.
    let loaded = config::load(&context.config, &config::process_environment(), &context.flags);
    if let (Some(publication), None) = (loaded.publication, state) {
        paid_first(&mut rows, &publication);
    }
    if context.output.json {
        return context.output.document(&rows);
    }
    let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
    let head = ["NUMBER", "STATE", "WAITING SINCE", "TIER", "FOR", "FROM", "SUBJECT"];
    context.output.table(&head, &cells, "Nobody is waiting.");
    Ok(())
}

fn cells(row: &ThreadRow) -> Vec<String> {
    vec![
        row.number.to_string(),
        row.state.to_string(),
        row.waiting_since.map(|at| at.to_string()).unwrap_or_default(),
        row.tier.clone().unwrap_or_else(|| "-".into()),
        row.assigned_to.clone().unwrap_or_else(|| "-".into()),
        row.subscriber.clone(),
        row.subject.clone(),
    ]
}

#[derive(Serialize)]
struct Conversation<'a> {
    #[serde(flatten)]
    thread: &'a ThreadRow,
    posts: &'a [PostRow],
}

async fn show(context: &Context, number: i64) -> Result<(), Failure> {
    let store = context.store().await?;
    let mut tx = store.read().await?;
    let current = threads::current(&mut tx, number).await?;
    let thread = threads::show(&mut tx, current).await?.ok_or_else(|| no_thread(number))?;
    let posts = threads::posts(&mut tx, current).await?;
    drop(tx);
    store.close().await;
    if context.output.json {
        return context.output.document(&Conversation { thread: &thread, posts: &posts });
    }
    context.output.line(app::conversation(&thread, &posts));
    Ok(())
}

fn no_thread(number: i64) -> Failure {
    Failure::No(format!("there is no conversation {number}; `tidings inbox list` names those that wait"))
}

/// The words of an answer or a note.
fn read_words(words: &Words) -> Result<String, Failure> {
    let text = match &words.text {
        Some(text) => text.clone(),
        None => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| Failure::No(format!("standard input: {error}")))?;
            text
        }
    };
    match text.trim() {
        "" => Err(Failure::No("there are no words; write them to standard input or give --text".into())),
        text => Ok(text.to_owned()),
    }
}

/// The member whom `--as` names.
fn author<'a>(desk: &'a Desk, words: &Words) -> Result<Option<&'a StaffRow>, Failure> {
    words.author.as_deref().map(|name| member(desk, name)).transpose()
}

fn member<'a>(desk: &'a Desk, name: &str) -> Result<&'a StaffRow, Failure> {
    desk.member(name).ok_or_else(|| {
        let names: Vec<String> =
            desk.staff.iter().map(|member| format!("{} <{}>", member.name, member.address)).collect();
        Failure::No(format!("nobody is called `{name}`; [[desk.staff]] names {}", names.join(", ")))
    })
}

/// The conversation that is about to be changed, held.
async fn existing(tx: &mut Tx, number: i64) -> Result<i64, Failure> {
    let current = threads::hold(tx, number).await?;
    threads::participant(tx, current).await?.ok_or_else(|| no_thread(number))?;
    Ok(current)
}

async fn reply(context: &Context, args: &ReplyArgs) -> Result<(), Failure> {
    let setup = context.setup()?;
    let text = read_words(&args.words)?;
    let attached = args.attach.iter().map(attachment).collect::<Result<Vec<_>, _>>()?;
    let store = restore::open(&setup.settings.storage, SystemClock.now()).await?;
    let desk = app::desk(&setup, &store, Default::default()).await?;
    let answer = Answer {
        thread: args.number,
        author: author(&desk, &args.words)?,
        also_called: "",
        text: &text,
        doubt: None,
        instead_of: None,
        files: &attached,
        // Who types a command has looked.
        seen: i64::MAX,
        insists: args.anyway,
        closes: args.close,
        inbound: None,
    };
    let now = SystemClock.now();
    let mut tx = store.write().await?;
    let answered =
        desk.answer(&mut tx, &answer, now).await.map_err(|problem| Failure::Ours(problem.to_string()))?;
    let Answered::Sent { thread, .. } = answered else {
        let Answered::Refused(refusal) = answered else { return Ok(()) };
        let hint = if refusal.is_a_question() { "; --anyway sends it" } else { "" };
        return Err(Failure::No(format!("nothing was sent: {refusal}{hint}")));
    };
    let by = answer.author.map_or_else(|| "as the desk".to_owned(), |author| format!("by {}", author.name));
    audit::record(&mut tx, now, "cli", "inbox reply", &thread.to_string(), &by).await?;
    tx.commit().await?;
    printed(context, &store, thread).await
}

fn attachment(path: &PathBuf) -> Result<File, Failure> {
    let octets = std::fs::read(path).map_err(|error| Failure::No(format!("{}: {error}", path.display())))?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let media_type = files::sniffed(&octets).unwrap_or("application/octet-stream").to_owned();
    Ok(File { name, media_type, octets, shown: Shown::Nowhere })
}

async fn note(context: &Context, number: i64, words: &Words) -> Result<(), Failure> {
    let setup = context.setup()?;
    let text = read_words(words)?;
    let store = restore::open(&setup.settings.storage, SystemClock.now()).await?;
    let desk = app::desk(&setup, &store, Default::default()).await?;
    let author = author(&desk, words)?;
    let mailbox = &setup.settings.desk.mailbox;
    let now = SystemClock.now();
    let mut tx = store.write().await?;
    let thread = existing(&mut tx, number).await?;
    let post = NewPost {
        thread,
        kind: PostKind::Note,
        from_name: author.map_or(mailbox.name.as_str(), |author| author.name.as_str()),
        from_address: author.map_or(mailbox.address.as_str(), |author| author.address.as_str()),
        text: &text,
        folded: "",
        message_id: None,
        inbound_id: None,
        staff_id: author.map(|author| author.id),
        attachments: &[],
    };
    threads::add_post(&mut tx, &post, now).await?;
    audit::record(&mut tx, now, "cli", "inbox note", &thread.to_string(), "").await?;
    tx.commit().await?;
    printed(context, &store, thread).await
}

async fn assign(context: &Context, number: i64, name: &str) -> Result<(), Failure> {
    let setup = context.setup()?;
    let store = restore::open(&setup.settings.storage, SystemClock.now()).await?;
    let desk = app::desk(&setup, &store, Default::default()).await?;
    let heir = if name == "nobody" { None } else { Some(member(&desk, name)?) };
    let mut tx = store.write().await?;
    let thread = existing(&mut tx, number).await?;
    let handed = desk.hand_over(&mut tx, thread, heir, (None, "by command"), SystemClock.now()).await;
    handed.map_err(|problem| Failure::Ours(problem.to_string()))?;
    tx.commit().await?;
    printed(context, &store, thread).await
}

/// What needs no words.
#[derive(Clone, Copy)]
enum Change {
    Close,
    Reopen,
    Split(i64),
    Merge(i64),
}

async fn change(context: &Context, number: i64, change: Change) -> Result<(), Failure> {
    let store = context.store().await?;
    let now = SystemClock.now();
    restore::opened(&store, now).await?;
    let mut tx = store.write().await?;
    let thread = existing(&mut tx, number).await?;
    let (left, action, detail) = changed(&mut tx, thread, change, now).await?;
    audit::record(&mut tx, now, "cli", action, &thread.to_string(), &detail).await?;
    tx.commit().await?;
    printed(context, &store, left).await
}

/// Does it. Answers the conversation to show, and what is written down.
async fn changed(
    tx: &mut Tx,
    thread: i64,
    change: Change,
    now: Timestamp,
) -> Result<(i64, &'static str, String), Failure> {
    let no = |why: String| Err(Failure::No(why));
    match change {
        Change::Close if !threads::set_open(tx, thread, false, now).await? => {
            no(format!("conversation {thread} is closed already"))
        }
        Change::Close => Ok((thread, "inbox close", String::new())),
        Change::Reopen if !threads::set_open(tx, thread, true, now).await? => {
            no(format!("conversation {thread} is not closed"))
        }
        Change::Reopen => Ok((thread, "inbox reopen", String::new())),
        Change::Split(from) => match threads::split(tx, thread, from, now).await? {
            Some(new) => Ok((new, "inbox split", format!("from post {from} into {new}"))),
            None => no(format!(
                "post {from} is not in conversation {thread}, or is its first one; `inbox show {thread} --json` has the ids"
            )),
        },
        Change::Merge(into) => {
            let into = existing(tx, into).await?;
            match threads::merge(tx, thread, into).await? {
                true => Ok((into, "inbox merge", format!("into {into}"))),
                false => {
                    no(format!("conversations {thread} and {into} are one, or not with the same person"))
                }
            }
        }
    }
}

/// The conversation as it stands now.
async fn printed(context: &Context, store: &Store, thread: i64) -> Result<(), Failure> {
    let mut tx = store.read().await?;
    let row = threads::show(&mut tx, thread).await?.ok_or_else(|| no_thread(thread))?;
    let posts = threads::posts(&mut tx, thread).await?;
    drop(tx);
    store.close().await;
    if context.output.json {
        return context.output.document(&Conversation { thread: &row, posts: &posts });
    }
    context.output.line(format!("#{} {}: {}, {} posts", row.number, row.subject, row.state, posts.len()));
    Ok(())
}
