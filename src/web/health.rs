//! `GET /health`: whether this process can do its work. 200 or 503, with the reasons, for load balancers and people.
//!
//! A process on hold does what it should: it answers 200 and says so.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Process;
use crate::runtime::{Timestamp, disk};
use crate::store::{Dialect, numbers};

/// The store has to answer within this.
const STORE: Duration = Duration::from_secs(1);

/// Three heartbeats: whoever has not written for this long cannot, and counts as dead to the others.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Less room than this, and the next commit may fail.
const ROOM: u64 = 8 << 20;

/// Everybody who asks within this gets the same answer.
const FRESH: Duration = Duration::from_secs(1);

/// Looks after one process.
pub struct Checkup {
    process: Arc<Process>,
    last: Mutex<Option<(Instant, Answer)>>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    status: &'static str,
    version: &'static str,
    store: &'static str,
    owner: i64,
    started_at: Timestamp,
    last_tick_at: Option<Timestamp>,
    last_heartbeat_at: Option<Timestamp>,
    disk_free_bytes: Option<u64>,
    reasons: Vec<String>,
}

impl Checkup {
    pub fn new(process: Arc<Process>) -> Checkup {
        Checkup { process, last: Mutex::new(None) }
    }

    async fn answer(&self) -> Answer {
        let mut last = self.last.lock().await;
        if let Some((at, answer)) = last.as_ref()
            && at.elapsed() < FRESH
        {
            return answer.clone();
        }
        let answer = self.look().await;
        *last = Some((Instant::now(), answer.clone()));
        answer
    }

    async fn look(&self) -> Answer {
        let process = &self.process;
        let mut reasons = Vec::new();
        if process.shutdown.asked() {
            reasons.push("it is stopping".to_owned());
        }
        for worker in process.vitals.stuck() {
            reasons.push(format!("the {worker} worker makes no progress"));
        }
        let heartbeat = process.vitals.heartbeat();
        if let Some((_, ago)) = heartbeat.filter(|(_, ago)| *ago > HEARTBEAT) {
            reasons.push(format!("nothing could be written for {} s", ago.as_secs()));
        }
        let store = process.store.clone();
        let asked = process.ask(STORE, async move { numbers::ping(&mut store.read().await?).await });
        if let Err(why) = asked.await {
            reasons.push(format!("the store: {why}"));
        }
        let room = process.folder().map(|folder| disk::room(&folder));
        match &room {
            Some(Ok(room)) if room.read_only => reasons.push("the disk is mounted read-only".to_owned()),
            Some(Ok(room)) if room.free < ROOM => {
                reasons.push(format!("the disk is full: {} bytes free", room.free))
            }
            Some(Err(error)) => reasons.push(format!("the folder of the database: {error}")),
            _ => {}
        }
        let failing = !reasons.is_empty();
        let on_hold = process.vitals.on_hold();
        let status = match (failing, &on_hold) {
            (true, _) => "failing",
            (false, Some(_)) => "on_hold",
            (false, None) => "ok",
        };
        reasons.extend(on_hold);
        Answer {
            status,
            version: env!("CARGO_PKG_VERSION"),
            store: match process.store.dialect() {
                Dialect::Sqlite => "sqlite",
                Dialect::Postgres => "postgres",
            },
            owner: process.owner,
            started_at: process.started_at,
            last_tick_at: process.vitals.last_tick(),
            last_heartbeat_at: heartbeat.map(|(at, _)| at),
            disk_free_bytes: room.and_then(Result::ok).map(|room| room.free),
            reasons,
        }
    }
}

pub async fn page(State(checkup): State<Arc<Checkup>>) -> (StatusCode, Json<Answer>) {
    let answer = checkup.answer().await;
    let code = if answer.status == "failing" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, Json(answer))
}
