//! Messages that the server does not give: it says no, says nonsense, hangs up, falls silent, or leaves one out of its answer.
//!
//! Near such a message all are fetched alone, so that the failure is its own, and its failures are counted in the store, so that a
//! restart does not begin again. After [`FAILURES`] of them a row says so, with an alarm, and reading goes on behind it. The message
//! is where it was; a line that was lost five times in a row by chance is made up for, because it is asked for again once a day.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Given, Late, MailboxLine, Stopped};
use crate::domain::settings::AfterImap;
use crate::intake::imap::{Fetched, ImapProblem, Listed, Mailbox};
use crate::store::mailboxes::Position;
use crate::store::refused_mail::{self, Refused};
use crate::store::{StoreError, Tx};
use crate::tasks::recording::Found;

/// The server's failures to give one message, before it is set aside.
pub(super) const FAILURES: i64 = 5;
/// How often it is asked once more after that.
const LATER: i64 = 7;
const AGAIN: Duration = Duration::from_secs(24 * 3600);

/// What is known of such messages.
#[derive(Clone, Debug, Default)]
pub(super) struct Stubborn {
    /// Up to this UID messages are asked for one by one.
    near: u32,
    /// Failures by UID, and the last reason.
    failed: BTreeMap<u32, (i64, String)>,
}

impl Stubborn {
    pub fn is_near(&self, uid: u32) -> bool {
        uid <= self.near
    }

    /// Learns what other connections and processes met with.
    pub async fn recall(&mut self, tx: &mut Tx, position: Position) -> Result<(), StoreError> {
        let known = refused_mail::all(tx, position.id).await?;
        let ahead = |one: Refused| {
            let uid = u32::try_from(one.uid).ok().filter(|_| one.uid > position.last_uid)?;
            Some((uid, (one.failures, one.why)))
        };
        self.failed = known.into_iter().filter_map(ahead).collect();
        if let Some((last, _)) = self.failed.last_key_value() {
            self.near = self.near.max(*last);
        }
        Ok(())
    }
}

impl MailboxLine {
    /// Asks for one batch. What a server does not give too often is not asked for.
    pub(super) async fn fetch(
        &self,
        mailbox: &mut Mailbox,
        batch: &[Listed],
    ) -> Result<Vec<(u32, Given)>, ImapProblem> {
        if let [one] = batch
            && let Some((failures, why)) = self.stubborn.failed.get(&one.uid)
            && *failures >= FAILURES
        {
            tracing::error!(place = %self.place(), uid = one.uid, %why, "the server does not give this message");
            let why =
                format!("the server does not give it: {why}; the message is where it was, UID {}", one.uid);
            return Ok(vec![(one.uid, Given::Never(why))]);
        }
        let fetched = mailbox.fetch(batch, self.common.max_message).await?;
        self.refuse_nothing(mailbox, batch, &fetched).await?;
        Ok(fetched.into_iter().map(|(uid, one)| (uid, Given::Fetched(one))).collect())
    }

    /// Nothing is left out because a server forgot it, or gave none of its octets: what is still in the mailbox is no `Gone`.
    async fn refuse_nothing(
        &self,
        mailbox: &mut Mailbox,
        batch: &[Listed],
        fetched: &[(u32, Fetched)],
    ) -> Result<(), ImapProblem> {
        let without = |wanted: Fetched| {
            let of_it = fetched.iter().filter(move |(_, one)| *one == wanted);
            of_it.map(|(uid, _)| *uid).collect::<Vec<u32>>()
        };
        let gone = without(Fetched::Gone);
        if !gone.is_empty() && !mailbox.are_there(&gone).await?.is_empty() {
            return Err(ImapProblem::Nonsense("the server lists a message and does not give it".to_owned()));
        }
        let mut empty = without(Fetched::Whole(Vec::new()));
        empty.retain(|uid| !batch.iter().any(|one| one.uid == *uid && one.size == Some(0)));
        if !empty.is_empty() && mailbox.sizes(&empty).await?.iter().any(|listed| listed.size != Some(0)) {
            return Err(ImapProblem::Nonsense(
                "the server gives none of a message\u{2019}s octets".to_owned(),
            ));
        }
        Ok(())
    }

    /// A failure of one message alone is counted; of several, they are asked for one by one the next time, after a restart too.
    pub(super) async fn note(
        &mut self,
        mailbox: i64,
        batch: &[u32],
        problem: &ImapProblem,
        counts: bool,
    ) -> Result<(), StoreError> {
        let Some(last) = batch.last() else { return Ok(()) };
        let (why, alone) = (problem.to_string(), i64::from(counts && batch.len() == 1));
        let now = self.common.clock.now();
        let mut tx = self.common.store.write().await?;
        let failures = refused_mail::count(&mut tx, mailbox, *last, (alone, &why), now).await?;
        tx.commit().await?;
        self.stubborn.near = self.stubborn.near.max(*last);
        self.stubborn.failed.insert(*last, (failures, why));
        Ok(())
    }

    /// It was given after all.
    pub(super) async fn given(&mut self, mailbox: i64, uid: i64) -> Result<(), StoreError> {
        let known = u32::try_from(uid).is_ok_and(|uid| self.stubborn.failed.remove(&uid).is_some());
        if known {
            let mut tx = self.common.store.write().await?;
            refused_mail::forget(&mut tx, mailbox, uid).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Asks for one message that was set aside; its row becomes the message if it comes.
    pub(super) async fn ask_again(
        &mut self,
        mailbox: &mut Mailbox,
        position: &Position,
    ) -> Result<(), Stopped> {
        let now = self.common.clock.now();
        let mut tx = self.common.store.read().await?;
        let before = now - AGAIN;
        let due = refused_mail::due(&mut tx, position.id, before, FAILURES + LATER).await?;
        drop(tx);
        let Some(Refused { uid, why, inbound_id: Some(row), .. }) = due else { return Ok(()) };
        let Ok(number) = u32::try_from(uid) else { return Ok(()) };
        // Counted first: the server may hang up.
        let mut tx = self.common.store.write().await?;
        refused_mail::count(&mut tx, position.id, number, (1, &why), now).await?;
        tx.commit().await?;
        let asked = [Listed { uid: number, size: None }];
        let fetched = mailbox.fetch(&asked, self.common.max_message).await;
        match fetched.as_deref() {
            Err(problem) if problem.spares_connection() => return Ok(()),
            Ok([(_, Fetched::Whole(raw))]) if !raw.is_empty() => {}
            Ok(_) => return Ok(()),
            Err(problem) => return Err(problem.clone().into()),
        }
        let raw = fetched.into_iter().flatten().find_map(|(_, one)| match one {
            Fetched::Whole(raw) => Some(raw),
            _ => None,
        });
        let file = self.settings.after != AfterImap::Keep;
        let late = Some(Late { row, mailbox: position.id, uid, file });
        let mail = self.mail(raw.unwrap_or_default());
        let recorded = self.common.recorder.hand_in(Found { mail, place: None, set_aside: None, late }).await;
        let answer = recorded.map_err(|problem| Stopped::Store(problem.to_string()))?;
        let recorded = answer.recorded().await.map_err(|problem| Stopped::Store(problem.to_string()))?;
        tracing::warn!(place = %self.place(), uid, ?recorded, "the server gave at last what was set aside");
        self.file(mailbox, position.id).await
    }
}
