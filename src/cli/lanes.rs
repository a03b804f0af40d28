//! `tidings lanes`: which recipient domains share a limit, and what a breaker or a person did to them.

use clap::Subcommand;
use serde::Serialize;

use super::Context;
use crate::app::Failure;
use crate::domain::breaker::PauseCause;
use crate::runtime::{Clock, SystemClock, Timestamp};
use crate::store::lanes::{self, LaneState};
use crate::store::suppressions::{self, Word};
use crate::store::{Store, audit};

#[derive(Debug, Subcommand)]
pub enum LanesCommand {
    /// The lanes, and what slows them down.
    List,
    /// Editions stop leaving by it; answers and sign-in links go on.
    Pause { lane: String },
    /// Hard bounces that are not believed: so many people at once who took mail before.
    Held { lane: String },
    /// Ends a pause, a silence or a slow-down. Where hard bounces are held, it needs your word what they were.
    Resume {
        lane: String,
        /// The held bounces were true: these addresses are suppressed.
        #[arg(long, alias = "suppress", conflicts_with = "forget")]
        believe: bool,
        /// The provider was wrong: these people get the next edition.
        #[arg(long)]
        forget: bool,
    },
}

#[derive(Serialize)]
struct Shown {
    lane: String,
    /// `open`, `paused`, `quiet` or `slow`.
    state: &'static str,
    reason: Option<String>,
    /// Who paused it: `operator`, `policy`, `false_bounces` or `complaints`.
    paused_by: Option<PauseCause>,
    /// Hard bounces that are not believed and wait for `lanes resume`.
    held: i64,
    quiet_until: Option<Timestamp>,
    /// Connections at once while it is slowed down.
    connections: Option<u32>,
    /// Whether something of it is due.
    due: bool,
}

impl Shown {
    fn new(row: LaneState, held: i64, now: Timestamp) -> Shown {
        let quiet = row.pace.is_quiet(now);
        let state = match (&row.paused, quiet, row.pace.width) {
            (Some(_), _, _) => "paused",
            (None, true, _) => "quiet",
            (None, false, Some(_)) => "slow",
            (None, false, None) => "open",
        };
        Shown {
            lane: row.name,
            state,
            reason: row.paused,
            paused_by: row.paused_by,
            held,
            quiet_until: row.pace.quiet_until.filter(|_| quiet),
            connections: row.pace.width,
            due: row.due.is_some(),
        }
    }
}

pub async fn lanes(context: &Context, command: LanesCommand) -> Result<(), Failure> {
    let store = context.store().await?;
    match command {
        LanesCommand::List => list(context, &store).await?,
        LanesCommand::Pause { lane } => pause(context, &store, &lane).await?,
        LanesCommand::Held { lane } => held(context, &store, &lane).await?,
        LanesCommand::Resume { lane, believe, forget } => {
            let word = match (believe, forget) {
                (true, _) => Some(Word::Believe),
                (false, true) => Some(Word::Forget),
                (false, false) => None,
            };
            resume(context, &store, &lane, word).await?;
        }
    }
    store.close().await;
    Ok(())
}

async fn list(context: &Context, store: &Store) -> Result<(), Failure> {
    let now = SystemClock.now();
    let mut tx = store.read().await?;
    let held = suppressions::count_held(&mut tx).await?;
    let rows = lanes::states(&mut tx, now).await?;
    drop(tx);
    let shown: Vec<Shown> = rows
        .into_iter()
        .map(|row| {
            let held = held.get(&row.id).copied().unwrap_or(0);
            Shown::new(row, held, now)
        })
        .collect();
    if context.output.json {
        return context.output.document(&shown);
    }
    let cells: Vec<Vec<String>> = shown
        .iter()
        .map(|lane| {
            let why = lane.reason.clone().or(lane.quiet_until.map(|at| format!("until {at}")));
            let mut why = why.unwrap_or_default();
            if lane.held > 0 {
                why.push_str(&format!("; {} are held", bounces(lane.held)));
            }
            let due = if lane.due { "yes" } else { "no" };
            vec![lane.lane.clone(), lane.state.into(), due.into(), why]
        })
        .collect();
    context.output.table(&["LANE", "STATE", "DUE", "WHY"], &cells, "There is no lane.");
    Ok(())
}

async fn pause(context: &Context, store: &Store, name: &str) -> Result<(), Failure> {
    let now = SystemClock.now();
    let mut tx = store.write().await?;
    let lane = lanes::by_name(&mut tx, name).await?.ok_or_else(|| unknown(name))?;
    if !lanes::pause(&mut tx, lane, PauseCause::Operator, "paused by hand", now).await? {
        return Err(Failure::No(format!("`{name}` is paused already")));
    }
    audit::record(&mut tx, now, "cli", "lane paused", name, "").await?;
    tx.commit().await?;
    context.output.line(format!("{name}: paused"));
    Ok(())
}

async fn held(context: &Context, store: &Store, name: &str) -> Result<(), Failure> {
    let mut tx = store.read().await?;
    let lane = lanes::by_name(&mut tx, name).await?.ok_or_else(|| unknown(name))?;
    let held = suppressions::held(&mut tx, lane).await?;
    drop(tx);
    if context.output.json {
        return context.output.document(&held);
    }
    let cells: Vec<Vec<String>> =
        held.into_iter().map(|row| vec![row.address, row.at.to_string(), row.source]).collect();
    context.output.table(&["ADDRESS", "SINCE", "SOURCE"], &cells, "Nothing is held.");
    Ok(())
}

/// Without a word about what is held, nothing changes: an outage is not to suppress anybody, and who is gone is not to be mailed.
async fn resume(context: &Context, store: &Store, name: &str, word: Option<Word>) -> Result<(), Failure> {
    let now = SystemClock.now();
    let mut tx = store.write().await?;
    let lane = lanes::by_name(&mut tx, name).await?.ok_or_else(|| unknown(name))?;
    let waiting = suppressions::held(&mut tx, lane).await?.len() as i64;
    if waiting > 0 && word.is_none() {
        return Err(Failure::No(format!(
            "nothing was changed: {} of `{name}` are held, because so many people who took mail before bounced at once. \
            `tidings lanes held {name}` shows them. Say what they were: `tidings lanes resume {name} --believe` suppresses \
            these addresses, `tidings lanes resume {name} --forget` mails these people again, from the next edition on",
            bounces(waiting)
        )));
    }
    let detail = match word {
        Some(word) if waiting > 0 => {
            suppressions::end_hold(&mut tx, lane, word).await?;
            match word {
                Word::Believe => format!("{} are believed: these addresses are suppressed", bounces(waiting)),
                Word::Forget => format!(
                    "{} are forgotten: these people get the next edition; what bounced is not sent again",
                    bounces(waiting)
                ),
            }
        }
        _ => "no hard bounce was held".to_owned(),
    };
    if !lanes::resume(&mut tx, lane).await? && waiting == 0 {
        return Err(Failure::No(format!("`{name}` is neither paused nor slowed down")));
    }
    audit::record(&mut tx, now, "cli", "lane resumed", name, &detail).await?;
    tx.commit().await?;
    context.output.line(format!("{name}: open; {detail}"));
    Ok(())
}

fn bounces(count: i64) -> String {
    if count == 1 { "1 hard bounce".to_owned() } else { format!("{count} hard bounces") }
}

fn unknown(name: &str) -> Failure {
    Failure::No(format!("there is no lane `{name}`; `tidings lanes list` names them"))
}
