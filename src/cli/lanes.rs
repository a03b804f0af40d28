//! `tidings lanes`: which recipient domains share a limit, and what a breaker or a person did to them.

use clap::Subcommand;
use serde::Serialize;

use super::Context;
use crate::app::Failure;
use crate::runtime::{Clock, SystemClock, Timestamp};
use crate::store::lanes::{self, LaneState};
use crate::store::{Store, audit, suppressions};

#[derive(Debug, Subcommand)]
pub enum LanesCommand {
    /// The lanes, and what slows them down.
    List,
    /// Editions stop leaving by it; answers and sign-in links go on.
    Pause { lane: String },
    /// Ends a pause, a silence or a slow-down. Hard bounces that were held are forgotten: these people are mailed again.
    Resume {
        lane: String,
        /// The bounces were true: the held addresses are suppressed after all.
        #[arg(long)]
        suppress: bool,
    },
}

#[derive(Serialize)]
struct Shown {
    lane: String,
    /// `open`, `paused`, `quiet` or `slow`.
    state: &'static str,
    reason: Option<String>,
    quiet_until: Option<Timestamp>,
    /// Connections at once while it is slowed down.
    connections: Option<u32>,
    /// Whether something of it is due.
    due: bool,
}

impl Shown {
    fn new(row: LaneState, now: Timestamp) -> Shown {
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
        LanesCommand::Resume { lane, suppress } => resume(context, &store, &lane, suppress).await?,
    }
    store.close().await;
    Ok(())
}

async fn list(context: &Context, store: &Store) -> Result<(), Failure> {
    let now = SystemClock.now();
    let rows = lanes::states(&mut store.read().await?, now).await?;
    let shown: Vec<Shown> = rows.into_iter().map(|row| Shown::new(row, now)).collect();
    if context.output.json {
        return context.output.document(&shown);
    }
    let cells: Vec<Vec<String>> = shown
        .iter()
        .map(|lane| {
            let why = lane.reason.clone().or(lane.quiet_until.map(|at| format!("until {at}")));
            let due = if lane.due { "yes" } else { "no" };
            vec![lane.lane.clone(), lane.state.into(), due.into(), why.unwrap_or_default()]
        })
        .collect();
    context.output.table(&["LANE", "STATE", "DUE", "WHY"], &cells, "There is no lane.");
    Ok(())
}

async fn pause(context: &Context, store: &Store, name: &str) -> Result<(), Failure> {
    let now = SystemClock.now();
    let mut tx = store.write().await?;
    let lane = lanes::by_name(&mut tx, name).await?.ok_or_else(|| unknown(name))?;
    if !lanes::pause(&mut tx, lane, "paused by hand", now).await? {
        return Err(Failure::No(format!("`{name}` is paused already")));
    }
    audit::record(&mut tx, now, "cli", "lane paused", name, "").await?;
    tx.commit().await?;
    context.output.line(format!("{name}: paused"));
    Ok(())
}

async fn resume(context: &Context, store: &Store, name: &str, suppress: bool) -> Result<(), Failure> {
    let now = SystemClock.now();
    let mut tx = store.write().await?;
    let lane = lanes::by_name(&mut tx, name).await?.ok_or_else(|| unknown(name))?;
    if !lanes::resume(&mut tx, lane).await? {
        return Err(Failure::No(format!("`{name}` is neither paused nor slowed down")));
    }
    let held = suppressions::end_hold(&mut tx, lane, suppress).await?;
    let detail = match (held, suppress) {
        (0, _) => String::new(),
        (held, true) => format!("{held} held addresses are suppressed"),
        (held, false) => format!("{held} held addresses are mailed again"),
    };
    audit::record(&mut tx, now, "cli", "lane resumed", name, &detail).await?;
    tx.commit().await?;
    context.output.line(format!("{name}: open"));
    if !detail.is_empty() {
        context.output.line(detail);
    }
    Ok(())
}

fn unknown(name: &str) -> Failure {
    Failure::No(format!("there is no lane `{name}`; `tidings lanes list` names them"))
}
