//! Keeping nothing for longer than it is needed (W191): a worker whose step throws away one bounded piece of each kind, so that
//! whoever waits for the store waits for a moment. It looks every hour and goes on at once while there is more.
//!
//! What a person's erasing left to do, and links that come too late, are cleared here too.

use std::time::Duration;

use super::erase;
use crate::domain::settings::RetentionSettings;
use crate::domain::sign_in;
use crate::runtime::Timestamp;
use crate::store::{Store, StoreError, Tx, retention, sessions};

/// When nothing was left to throw away.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

/// The worker of one process.
pub struct Retention {
    store: Store,
    ages: RetentionSettings,
    next_at: Timestamp,
}

/// What one step threw away or went through, in rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thrown {
    pub messages: u64,
    pub attempts: u64,
    pub replies: u64,
    pub bounces: u64,
    pub audit: u64,
    pub networks: u64,
    pub sign_ins: u64,
}

impl Thrown {
    pub fn is_nothing(&self) -> bool {
        *self == Thrown::default()
    }
}

impl Retention {
    /// Looks for the first time at once.
    pub fn new(store: Store, ages: RetentionSettings) -> Retention {
        Retention { store, ages, next_at: Timestamp(0) }
    }

    /// One piece of each kind, each in a transaction of its own, when it is time.
    ///
    /// # Errors
    /// When the database fails; the next step asks again.
    pub async fn step(&mut self, now: Timestamp) -> Result<Thrown, StoreError> {
        erase::sweep(&self.store, now).await?;
        self.expire_links(now).await?;
        // A clock that was set back must not silence it.
        let waits = now < self.next_at && self.next_at.since(now) <= LOOK_AGAIN;
        if waits {
            return Ok(Thrown::default());
        }
        let thrown = self.piece(now).await?;
        if thrown.is_nothing() {
            self.next_at = now + LOOK_AGAIN;
        }
        Ok(thrown)
    }

    async fn piece(&self, now: Timestamp) -> Result<Thrown, StoreError> {
        let before = |age: Option<Duration>| age.map(|age| now - age);
        let ages = &self.ages;
        let mut thrown = Thrown::default();
        if let Some(before) = before(ages.messages) {
            thrown.messages = self.one(async |tx| retention::messages(tx, before).await).await?;
        }
        if let Some(before) = before(ages.replies) {
            thrown.attempts = self.one(async |tx| retention::attempts(tx, before).await).await?;
            thrown.replies = self.one(async |tx| retention::replies(tx, before).await).await?;
            thrown.replies += self.one(async |tx| retention::late_replies(tx, before).await).await?;
            thrown.bounces = self.one(async |tx| retention::bounces(tx, before).await).await?;
        }
        if let Some(before) = before(ages.audit) {
            thrown.audit = self.one(async |tx| retention::audit(tx, before).await).await?;
        }
        if let Some(before) = before(ages.networks) {
            thrown.networks = self.one(async |tx| retention::networks(tx, before, now).await).await?;
        }
        thrown.sign_ins = self.one(async |tx| sessions::expire(tx, now).await).await?;
        Ok(thrown)
    }

    async fn one(
        &self,
        piece: impl AsyncFnOnce(&mut Tx) -> Result<u64, StoreError>,
    ) -> Result<u64, StoreError> {
        let mut tx = self.store.write().await?;
        let rows = piece(&mut tx).await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// A link that is mailed after its end helps nobody.
    async fn expire_links(&self, now: Timestamp) -> Result<(), StoreError> {
        let ago = now - sign_in::LINK_FOR;
        if !retention::has_late_links(&mut self.store.read().await?, ago).await? {
            return Ok(());
        }
        let mut tx = self.store.write().await?;
        retention::late_links(&mut tx, ago, now).await?;
        tx.commit().await
    }
}
