//! Erasing a person (W190): first everything that could still be sent to them, in one transaction; then what they wrote, in chunks
//! that keep nobody waiting; then one line in the audit. Cut short at any point, it is done by doing it again.
//!
//! What stays is in `store::erasure`. Mail that is on its way at this moment is the peer's already; what is said about it is wiped
//! by the daemon's housekeeping once it is settled.
//! Known gaps: backups that were taken before hold the person until they are thrown away. A message of theirs that opened no
//! conversation, answered no mail of ours and came through a door without an envelope is not found by address: its age ends it.

use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::settings::AddressPatterns;
use crate::domain::token::{Purpose, Subject};
use crate::mail::token::Keyring;
use crate::runtime::Timestamp;
use crate::store::erasure::{self, Delivery, Erasing};
use crate::store::{Store, StoreError, audit, people};

/// What was wiped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Erased {
    /// Rows of the ledger that say no more to whom they were.
    pub deliveries: u64,
    /// Of these, on their way to a peer at this moment.
    pub in_flight: u64,
    pub messages: u64,
    /// Conversations, and posts in those of others.
    pub conversations: u64,
}

/// What has to be known to erase.
#[derive(Clone, Copy)]
pub struct Eraser<'a> {
    pub store: &'a Store,
    pub keyring: &'a Keyring,
    pub addresses: &'a AddressPatterns,
}

impl Eraser<'_> {
    /// Erases everything about the person with this address. `None`: nothing is known about it.
    ///
    /// # Errors
    /// When the database fails; what was wiped stays wiped, and doing it again wipes the rest.
    pub async fn erase(&self, address: &Address, now: Timestamp) -> Result<Option<Erased>, StoreError> {
        let key = address.key();
        let (marks, fingerprints) = (self.keyring.erased_marks(&key), self.keyring.fingerprints(&key));
        let mut tx = self.store.write().await?;
        let subscriber = people::by_key(&mut tx, &key).await?.map(|person| person.id);
        let who = Erasing { key: &key, marks: &marks, fingerprints: &fingerprints, subscriber };
        if subscriber.is_none() && !erasure::is_known(&mut tx, &who).await? {
            return Ok(None);
        }
        let theirs = erasure::deliveries(&mut tx, &who).await?;
        let recipients = self.recipients(&theirs, subscriber);
        let in_flight = erasure::person(&mut tx, &who, &theirs, now).await?;
        tx.commit().await?;
        let mut erased = Erased { deliveries: theirs.len() as u64, in_flight, ..Erased::default() };
        loop {
            let mut tx = self.store.write().await?;
            let some = erasure::messages(&mut tx, &who, &recipients).await?;
            tx.commit().await?;
            erased.messages += some;
            if some == 0 {
                break;
            }
        }
        loop {
            let mut tx = self.store.write().await?;
            let some = erasure::conversations(&mut tx, &who).await?;
            tx.commit().await?;
            erased.conversations += some;
            if some == 0 {
                break;
            }
        }
        let mut tx = self.store.write().await?;
        erasure::finish(&mut tx, &who).await?;
        audit::record(&mut tx, now, "cli", "subscriber erase", &marks[0], "").await?;
        tx.commit().await?;
        self.store.flush().await?;
        Ok(Some(erased))
    }

    /// The addresses that were made for their mails: what came back to one of them is about them.
    fn recipients(&self, theirs: &[Delivery], subscriber: Option<i64>) -> Vec<String> {
        let token = |key: Option<i64>, purpose, row| {
            let subject = Subject { purpose, row, second: 0 };
            let key = key.and_then(|key| u8::try_from(key).ok());
            key.map_or_else(|| self.keyring.mint(subject), |key| self.keyring.mint_with(key, subject))
        };
        let mut found = Vec::new();
        for (delivery, key) in theirs {
            found.push(self.addresses.bounce.with(&token(*key, Purpose::Bounce, *delivery)));
            found.push(self.addresses.reply.with(&token(*key, Purpose::Edition, *delivery)));
        }
        if let (Some(pattern), Some(id)) = (&self.addresses.unsubscribe, subscriber) {
            for key in self.keyring.key_ids() {
                found.push(pattern.with(&token(Some(key.into()), Purpose::Unsubscribe, id)));
            }
        }
        found.into_iter().map(|address| address.to_lowercase()).collect()
    }
}

/// Wipes what was on its way when its person was erased. Answers how many deliveries still are.
///
/// # Errors
/// When the database fails.
pub async fn sweep(store: &Store, now: Timestamp) -> Result<i64, StoreError> {
    if !erasure::waits(&mut store.read().await?).await? {
        return Ok(0);
    }
    let mut tx = store.write().await?;
    let left = erasure::sweep(&mut tx, now).await?;
    tx.commit().await?;
    Ok(left)
}
