//! Erasing a person (W190): first everything that could still be sent to them or written about them, in one transaction, with a row
//! that says what is being erased; then what they wrote, in pieces that keep nobody waiting; last the row itself. Whoever was cut
//! short in between is gone on with: by the daemon's housekeeping, or by the same command.
//!
//! A person is all the addresses that they had. What stays is in `store::erasure`; what comes in later is `aftermath`'s. Mail that is
//! on its way at this moment is the peer's already; what is said about it is wiped once it is settled.
//! Known gaps: backups that were taken before hold the person until they are thrown away. A message of theirs that opened no
//! conversation, answered no mail of ours and came through a door without an envelope is not found by address: its age ends it.

use std::time::Duration;

use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::settings::AddressPatterns;
use crate::domain::token::{Purpose, Subject};
use crate::mail::token::Keyring;
use crate::runtime::Timestamp;
use crate::store::erasure::{self, Delivery, Erasing};
use crate::store::erasures::{self, Erasure};
use crate::store::{Store, StoreError, Tx, audit, former_addresses, people};

/// An erasing without a piece for this long was cut short. Where it was not, two do it together, piece by piece.
pub const CUT_SHORT_AFTER: Duration = Duration::from_secs(30);

/// Pieces of one look, so that the rest of housekeeping is not kept waiting.
const PIECES: usize = 20;

const ACTION: &str = "subscriber erase";

/// What was wiped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Erased {
    /// Rows of the ledger that say no more to whom they were.
    pub deliveries: u64,
    /// Of these, on their way to a peer at this moment.
    pub in_flight: u64,
    pub messages: u64,
    /// Conversations, and posts in those of others.
    pub conversations: u64,
    /// Addresses that they had before, erased as well.
    pub former_addresses: u64,
    /// Addresses that they had before and that another subscription has now: that one is left as it is.
    pub others: Vec<String>,
}

/// What has to be known to erase.
#[derive(Clone, Copy)]
pub struct Eraser<'a> {
    pub store: &'a Store,
    pub keyring: &'a Keyring,
    pub addresses: &'a AddressPatterns,
}

/// What one transaction has wiped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    pub messages: u64,
    pub conversations: u64,
    pub more: bool,
}

/// Does it again where PostgreSQL chose it to give way to somebody who holds the same rows in another order.
async fn at_peace<T, F: Future<Output = Result<T, StoreError>>>(
    step: impl Fn() -> F,
) -> Result<T, StoreError> {
    const TRIES: usize = 5;
    for _ in 1..TRIES {
        match step().await {
            Err(error) if error.is_crossed() => tracing::debug!(%error, "erasing is tried again"),
            done => return done,
        }
    }
    step().await
}

/// One of a person's addresses with all that is made of it.
struct Named {
    key: String,
    marks: Vec<String>,
    fingerprints: Vec<String>,
    subscriber: Option<i64>,
}

impl Named {
    fn who(&self) -> Erasing<'_> {
        let Named { key, marks, fingerprints, subscriber } = self;
        Erasing { key, marks, fingerprints, subscriber: *subscriber }
    }
}

impl Eraser<'_> {
    /// Erases everything about the person who has this address, or had it and gave it up. `None`: nothing is known about it.
    ///
    /// # Errors
    /// When the database fails; what was wiped stays wiped, and doing it again wipes the rest.
    pub async fn erase(&self, address: &Address, now: Timestamp) -> Result<Option<Erased>, StoreError> {
        let begun = at_peace(|| self.begin(address, now)).await?;
        let Some((ids, mut erased)) = begun else { return Ok(None) };
        for id in ids {
            loop {
                let done = at_peace(|| self.piece(id, now)).await?;
                erased.messages += done.messages;
                erased.conversations += done.conversations;
                if !done.more {
                    break;
                }
            }
        }
        self.store.flush().await?;
        Ok(Some(erased))
    }

    /// The first transaction. Answers what has to be gone on with; `None`: nothing is known about the address.
    ///
    /// # Errors
    /// When the database fails; nothing was done then.
    pub async fn begin(
        &self,
        address: &Address,
        now: Timestamp,
    ) -> Result<Option<(Vec<i64>, Erased)>, StoreError> {
        let key = address.key();
        let mut tx = self.store.write().await?;
        let (keys, subscriber, others) = self.addresses_of(&mut tx, key.clone()).await?;
        let begun: Vec<i64> = erasures::of(&mut tx, &key).await?.into_iter().map(|one| one.id).collect();
        let first = self.named(key.clone(), subscriber);
        if subscriber.is_none() && !erasure::is_known(&mut tx, &first.who()).await? {
            return Ok((!begun.is_empty()).then(|| (begun, Erased::default())));
        }
        let mut erased = Erased { former_addresses: keys.len() as u64 - 1, others, ..Erased::default() };
        let (mut ids, mut all) = (begun, Vec::new());
        for key in keys {
            let named = self.named(key, subscriber);
            let theirs = erasure::deliveries(&mut tx, &named.who()).await?;
            ids.push(erasures::begin(&mut tx, &named.key, subscriber, &theirs, now).await?);
            erasure::forget(&mut tx, &named.who(), now).await?;
            all.extend(theirs);
        }
        all.sort_unstable();
        all.dedup();
        erased.deliveries = all.len() as u64;
        erased.in_flight = erasure::wipe_all(&mut tx, &all, now).await?;
        audit::record(&mut tx, now, "cli", ACTION, first.who().mark(), "begun").await?;
        tx.commit().await?;
        ids.sort_unstable();
        ids.dedup();
        Ok(Some((ids, erased)))
    }

    /// All addresses of a person, the one that they have first; who they are; and addresses that are somebody else's by now.
    async fn addresses_of(
        &self,
        tx: &mut Tx,
        key: String,
    ) -> Result<(Vec<String>, Option<i64>, Vec<String>), StoreError> {
        let id = match people::by_key(tx, &key).await? {
            Some(person) => Some(person.id),
            None => former_addresses::subscriber(tx, &key).await?,
        };
        let person = match id {
            // Read behind it: nobody moves them any more.
            Some(id) if people::hold(tx, id).await? => people::by_id(tx, id).await?,
            _ => None,
        };
        // Somebody else erased them at the same moment: what is left is theirs, and this one's to go on with.
        let person = person.filter(|person| !person.address.as_str().is_empty());
        let Some(person) = person else { return Ok((vec![key], None, Vec::new())) };
        let (former, others) = former_addresses::of(tx, person.id).await?;
        let keys = std::iter::once(person.address.key()).chain(former).collect();
        Ok((keys, Some(person.id), others))
    }

    fn named(&self, key: String, subscriber: Option<i64>) -> Named {
        let (marks, fingerprints) = (self.keyring.erased_marks(&key), self.keyring.fingerprints(&key));
        Named { key, marks, fingerprints, subscriber }
    }

    /// One piece of what is left, in a transaction of its own. Answers whether there may be more.
    ///
    /// # Errors
    /// When the database fails; the piece was not done then.
    pub async fn piece(&self, id: i64, now: Timestamp) -> Result<Piece, StoreError> {
        let mut tx = self.store.write().await?;
        // The person's row before the erasing's, as where one begins: two who erase them do not wait for each other in a circle.
        if let Some(subscriber) = erasures::subscriber(&mut tx, id).await? {
            people::hold(&mut tx, subscriber).await?;
        }
        let Some(Erasure { key, subscriber, .. }) = erasures::touch(&mut tx, id, now).await? else {
            return Ok(Piece::default());
        };
        let named = self.named(key, subscriber);
        let who = named.who();
        let known = erasures::deliveries(&mut tx, id).await?;
        let recipients = self.recipients(&known, subscriber);
        let messages = erasure::messages(&mut tx, &who, &recipients).await?;
        let conversations = match messages {
            0 => erasure::conversations(&mut tx, &who).await?,
            _ => 0,
        };
        let more = messages + conversations > 0 || self.late(&mut tx, id, (&who, &known), now).await?;
        if !more {
            erasure::finish(&mut tx, &who, now).await?;
            audit::record(&mut tx, now, "cli", ACTION, who.mark(), "done").await?;
            erasures::end(&mut tx, id).await?;
        }
        tx.commit().await?;
        Ok(Piece { messages, conversations, more })
    }

    /// Wipes what others were writing while the first transaction was, and committed after it. Answers whether there was a mail.
    async fn late(
        &self,
        tx: &mut Tx,
        id: i64,
        (who, known): (&Erasing<'_>, &[Delivery]),
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        erasure::forget(tx, who, now).await?;
        let mut new = erasure::deliveries(tx, who).await?;
        new.retain(|(delivery, _)| !known.iter().any(|(before, _)| before == delivery));
        erasures::add(tx, id, &new).await?;
        erasure::wipe_all(tx, &new, now).await?;
        Ok(!new.is_empty())
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

/// A secret that is not in the settings any more and that people were erased under: they are not recognised without it, and a file could
/// bring them back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostSecret {
    /// The id of its key, as the marks in the list of suppressions begin: `erased:` and two digits.
    pub key: String,
    pub people: i64,
}

impl LostSecret {
    /// What repairs it.
    pub fn fix(&self) -> String {
        format!(
            "put that secret back as a further entry of `secret` in tidings.toml (the first one signs); if it is lost for good, \
             `tidings suppressions remove erased:{} --reason TEXT` forgets who was erased under it",
            self.key
        )
    }
}

impl std::fmt::Display for LostSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} erased addresses are known only under a secret that `secret` does not name any more (key {}): nothing would keep \
             them from being imported again",
            self.people, self.key
        )
    }
}

/// Every secret that is missed. Known gap: a new secret whose key has the same id, one of 256, hides it.
///
/// # Errors
/// When the database fails.
pub async fn lost_secrets(store: &Store, keyring: &Keyring) -> Result<Vec<LostSecret>, StoreError> {
    let known: Vec<String> = keyring.key_ids().map(|id| format!("{id:02x}")).collect();
    let mut found = erasures::keys(&mut store.read().await?).await?;
    found.retain(|(key, _)| !known.contains(key));
    Ok(found.into_iter().map(|(key, people)| LostSecret { key, people }).collect())
}

/// Goes on with an erasing that was cut short, some pieces of it. Answers whether it is over by that; `None`: there is none.
///
/// # Errors
/// When the database fails; the next look goes on.
pub async fn go_on(eraser: &Eraser<'_>, now: Timestamp) -> Result<Option<bool>, StoreError> {
    let since = now - CUT_SHORT_AFTER;
    let Some(id) = erasures::abandoned(&mut eraser.store.read().await?, since).await? else {
        return Ok(None);
    };
    let mut messages = 0;
    for _ in 0..PIECES {
        let done = eraser.piece(id, now).await?;
        messages += done.messages;
        if done.more {
            continue;
        }
        eraser.store.flush().await?;
        tracing::info!(messages, "an erasing that was cut short is over");
        return Ok(Some(true));
    }
    Ok(Some(false))
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
    store.flush().await?;
    Ok(left)
}
