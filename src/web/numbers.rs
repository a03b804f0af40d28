//! `GET /metrics`: Prometheus text. Counters and histograms are this process's own; what is in the store is read when somebody
//! asks, and kept for as long as twenty times what reading it took: a queue of millions never costs more than a twentieth.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Process;
use crate::runtime::{Timestamp, telemetry};
use crate::store::deliveries::LANE_OTHER;
use crate::store::numbers::{self, Numbers};

/// Kept for this long at least.
const FRESH: Duration = Duration::from_secs(3);

/// And for so many times what reading took.
const SHARE: u32 = 20;

/// Longer than this nobody waits for a page.
const STORE: Duration = Duration::from_secs(5);

/// As long as an owner may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// The prefix of every name is ours.
pub struct Sheet {
    process: Arc<Process>,
    last: Mutex<Option<(Instant, Duration, String)>>,
}

impl Sheet {
    pub fn new(process: Arc<Process>) -> Sheet {
        Sheet { process, last: Mutex::new(None) }
    }

    async fn of_store(&self) -> String {
        let mut last = self.last.lock().await;
        if let Some((at, took, text)) = last.as_ref()
            && at.elapsed() < FRESH.max(*took * SHARE)
        {
            return text.clone();
        }
        let now = self.process.clock.now();
        let store = self.process.store.clone();
        let heard_of_since = now - SILENCE;
        let began = Instant::now();
        let read = self
            .process
            .ask(STORE, async move { numbers::read(&mut store.read().await?, heard_of_since).await })
            .await;
        let mut text = String::new();
        match read {
            Ok(numbers) => {
                gauge(&mut text, "store_up", "Whether the store answers.", [(vec![], 1.0)]);
                of_numbers(&mut text, &numbers, now);
            }
            Err(why) => {
                tracing::warn!(%why, "the store's numbers could not be read");
                gauge(&mut text, "store_up", "Whether the store answers.", [(vec![], 0.0)]);
            }
        }
        *last = Some((Instant::now(), began.elapsed(), text.clone()));
        text
    }

    fn of_process(&self) -> String {
        let process = &self.process;
        let mut text = String::new();
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        gauge(&mut text, "build_info", "What is running.", [(version, 1.0)]);
        let hold = f64::from(u8::from(process.vitals.on_hold().is_some()));
        gauge(
            &mut text,
            "on_hold",
            "Whether nothing is scheduled or sent until it is released.",
            [(vec![], hold)],
        );
        let stuck = process.vitals.stuck();
        let stuck: Vec<_> = stuck.iter().map(|worker| (vec![("worker", *worker)], 1.0)).collect();
        gauge(&mut text, "worker_stuck", "Workers that make no progress.", stuck);
        // The one name that every Prometheus client library has.
        let started = process.started_at.millis() as f64 / 1000.0;
        let _ = writeln!(
            text,
            "# HELP process_start_time_seconds When the process started, since the epoch.\n\
             # TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {started}"
        );
        text
    }
}

fn of_numbers(text: &mut String, numbers: &Numbers, now: Timestamp) {
    let age = |since: Timestamp| now.since(since).as_secs_f64();
    let lane = |id: i64| if id == LANE_OTHER { "other".to_owned() } else { id.to_string() };
    let lanes: Vec<String> = numbers.queue.iter().map(|queue| lane(queue.lane)).collect();
    let by_lane = |value: fn(&numbers::Queue, Timestamp) -> f64| {
        let values = numbers.queue.iter().zip(&lanes);
        values.map(|(queue, lane)| (vec![("lane", lane.as_str())], value(queue, now))).collect::<Vec<_>>()
    };
    let waiting = by_lane(|queue, _| queue.waiting as f64);
    gauge(text, "queue_deliveries", "Deliveries that wait to be sent, by lane.", waiting);
    let oldest = by_lane(|queue, now| now.since(queue.oldest_due).as_secs_f64());
    gauge(text, "queue_oldest_seconds", "How long the oldest one of a lane has been due.", oldest);
    let open = [("leased", numbers.leased), ("uncertain", numbers.uncertain), ("parked", numbers.parked)];
    let open = open.map(|(state, count)| (vec![("state", state)], count as f64));
    gauge(text, "open_deliveries", "Deliveries in flight, in doubt, or waiting for an operator.", open);
    let editions =
        numbers.editions.iter().map(|(state, count)| (vec![("state", state.as_str())], *count as f64));
    gauge(text, "editions", "Editions by state.", editions);
    let inbound = [("received", numbers.inbound_received), ("quarantined", numbers.inbound_quarantined)];
    let inbound = inbound.map(|(state, count)| (vec![("state", state)], count as f64));
    gauge(text, "inbound_open", "Received messages that are not understood yet, or set aside.", inbound);
    let threads = numbers.threads.iter().map(|threads| {
        (vec![("state", threads.state.as_str()), ("tier", threads.tier.as_str())], threads.count as f64)
    });
    gauge(text, "threads", "Support conversations that are not closed.", threads);
    let waiting = numbers.threads.iter().filter_map(|threads| {
        let labels = vec![("state", threads.state.as_str()), ("tier", threads.tier.as_str())];
        threads.waiting_since.map(|since| (labels, age(since)))
    });
    gauge(text, "threads_waiting_seconds", "How long the one has waited that has waited longest.", waiting);
    gauge(text, "owners", "Processes that are alive.", [(vec![], numbers.owners as f64)]);
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

/// One metric with its values. Values come from tables, not from a registry: what is gone from them is gone from the page.
fn gauge<'a>(text: &mut String, name: &str, help: &str, values: impl IntoIterator<Item = (Labels<'a>, f64)>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# HELP tidings_{name} {help}\n# TYPE tidings_{name} gauge");
    for (labels, value) in values {
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(text, "tidings_{name}{labels} {value}");
    }
}

/// A label's value in the text format.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

pub async fn page(State(sheet): State<Arc<Sheet>>) -> impl IntoResponse {
    let text = sheet.of_process() + &sheet.of_store().await + &telemetry::counters();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

#[cfg(test)]
mod tests {
    use super::gauge;

    #[test]
    fn labels_are_escaped() {
        let mut text = String::new();
        gauge(&mut text, "x", "Help.", [(vec![("a", "b\"c\\d\ne")], 1.5), (vec![], 2.0)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "# HELP tidings_x Help.",
                "# TYPE tidings_x gauge",
                "tidings_x{a=\"b\\\"c\\\\d\\ne\"} 1.5",
                "tidings_x 2"
            ]
        );
    }
}
