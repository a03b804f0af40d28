//! Tries of received messages, written down before each one: a message that ends the process must not end it for ever.
//!
//! A panic is caught and counted where it happens; what ends the process (memory, a stack that overflows) leaves nothing but this mark.
//! New messages are marked many at a time, because a commit each would halve the line. One that was marked by a process that has
//! ended is marked alone, so that the next end is its own; after three it is set aside untried. Another living process, or this
//! one before an orderly look at the store failed, marks without blame: only a mark older than this process counts.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::runtime::Timestamp;
use crate::store::inbound::{self, FAILURES_MAX, Waiting};
use crate::store::{Store, StoreError};

/// New messages that one commit marks.
const TOGETHER: i64 = 64;

/// Why a message is set aside that nobody could finish.
const ENDED: &str = "the process ended each time that it was read";

/// The marks of one process.
#[derive(Debug, Default)]
pub struct Marks(Mutex<Marked>);

#[derive(Debug, Default)]
struct Marked {
    since: Option<Timestamp>,
    ids: HashSet<i64>,
}

impl Marks {
    /// Marks a message as being tried. Answers `false` where it was set aside instead.
    ///
    /// # Errors
    /// When the database fails; nothing may be tried then.
    pub async fn may_try(
        &self,
        store: &Store,
        waiting: &Waiting,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let since = {
            let mut marked = self.lock();
            if marked.ids.contains(&waiting.id) {
                return Ok(true);
            }
            *marked.since.get_or_insert(now)
        };
        if waiting.tries == 0 {
            let mut tx = store.write().await?;
            let ids = inbound::mark_new(&mut tx, waiting.id, TOGETHER, now).await?;
            tx.commit().await?;
            self.lock().ids = ids.into_iter().collect();
            return Ok(true);
        }
        let ended = waiting.tried_at.is_some_and(|at| at < since.millis());
        if ended {
            let mut tx = store.write().await?;
            if waiting.tries >= FAILURES_MAX {
                inbound::set_aside(&mut tx, waiting.id, ENDED).await?;
                tx.commit().await?;
                tracing::error!(
                    inbound = waiting.id,
                    "a received message was set aside: {ENDED}; `tidings inbound rerun` tries it again"
                );
                return Ok(false);
            }
            inbound::mark_again(&mut tx, waiting.id, now).await?;
            tx.commit().await?;
        }
        self.lock().ids.insert(waiting.id);
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, Marked> {
        // A panic of another thread leaves a set of numbers, all of them right.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
