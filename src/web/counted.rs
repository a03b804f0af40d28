//! What is dear to read, kept for a while: for as long as twenty times what reading it took, so that a page that many look at, or that
//! looks again by itself, never costs more than a twentieth.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::runtime::Timestamp;
use crate::store::editions::EditionRow;

/// Kept for so many times what reading took.
const SHARE: u32 = 20;

/// Things that are kept at the same time.
const KEPT: usize = 30;

/// A pace is that of this time.
const PACE: Duration = Duration::from_secs(60);

/// Two looks that are nearer to each other make no pace.
const APART: Duration = Duration::from_secs(2);

struct Entry<T> {
    /// By the clock of the pages, so that what was decided since is seen by it.
    at: Timestamp,
    began: Instant,
    took: Duration,
    value: Arc<T>,
}

/// Answers by name.
pub(super) struct Kept<T> {
    least: Duration,
    entries: Mutex<HashMap<String, Entry<T>>>,
}

impl<T> Kept<T> {
    /// `least`: everything is kept for so long.
    pub fn new(least: Duration) -> Kept<T> {
        Kept { least, entries: Mutex::default() }
    }

    /// What is kept under this name, or what `read` answers. Who asks meanwhile waits for the same answer.
    pub async fn get<E>(
        &self,
        name: &str,
        now: Timestamp,
        read: impl Future<Output = Result<T, E>>,
    ) -> Result<Arc<T>, E> {
        let mut entries = self.entries.lock().await;
        if let Some(entry) = entries.get(name) {
            let for_long = self.least.max(entry.took * SHARE);
            if now.since(entry.at) < for_long && entry.began.elapsed() < for_long {
                return Ok(entry.value.clone());
            }
        }
        let began = Instant::now();
        let value = Arc::new(read.await?);
        if entries.len() >= KEPT {
            entries.clear();
        }
        let entry = Entry { at: now, began: Instant::now(), took: began.elapsed(), value: value.clone() };
        entries.insert(name.to_owned(), entry);
        Ok(value)
    }

    pub async fn forget(&self) {
        self.entries.lock().await.clear();
    }
}

/// How many deliveries of an edition were decided, at some instants of the last minute.
#[derive(Default)]
pub(super) struct Paces(Mutex<HashMap<i64, VecDeque<(Timestamp, i64)>>>);

impl Paces {
    /// Deliveries that were decided in a second, since a look of a minute ago; `None` before the second look.
    pub async fn of(&self, row: &EditionRow, now: Timestamp) -> Option<f64> {
        let decided = row.counts.total() - row.counts.open();
        let mut paces = self.0.lock().await;
        if paces.len() >= KEPT {
            paces.clear();
        }
        let looks = paces.entry(row.id).or_default();
        if looks.back().is_none_or(|(at, _)| now.since(*at) >= APART) {
            looks.push_back((now, decided));
        }
        while looks.len() > 2 && looks.front().is_some_and(|(at, _)| now.since(*at) > PACE) {
            looks.pop_front();
        }
        let (at, before) = *looks.front()?;
        let seconds = now.since(at).as_secs_f64();
        (seconds >= APART.as_secs_f64()).then(|| (decided - before).max(0) as f64 / seconds)
    }
}
