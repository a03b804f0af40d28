//! The mailbox line: what is new on an IMAP server -> record -> move or flag, and wait for more.
//!
//! UIDs ascend, so one number says how far the mailbox was read; it moves in the transaction that records. After that commit the
//! message is moved or flagged, as configured (`filing`). Batches are small, so a backlog takes no more memory than a few messages.
//! A lost connection is opened again, after longer and longer waits; operators hear of one that stays lost, and of a login that is
//! refused. What the server does not give, in whatever way, is counted by UID and set aside in the end (`refused`): it stops no other.
//!
//! Known gap: a message that appears under a UID below one that was recorded is not seen; RFC 3501 section 2.3.1.1 forbids it.

mod filing;
mod refused;

use std::sync::Arc;
use std::time::Duration;

use super::alarm::Alarms;
use super::recording::{Found, Late, Recorded, Recorder};
use crate::domain::alarm::AlarmCause;
use crate::domain::inbound::InboundSource;
use crate::domain::settings::{AfterImap, ImapSettings};
use crate::intake::ReceivedMail;
use crate::intake::imap::{Fetched, ImapProblem, Listed, Mailbox};
use crate::mail::envelope;
use crate::mail::parse::Own;
use crate::runtime::{Clock, MaskedText, Shutdown};
use crate::store::mailboxes::{self, Opening, Place, Position, Seen};
use crate::store::{Store, StoreError};
use filing::Filer;
use refused::Stubborn;

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// A server that counts wrong passwords shall not lock us out.
const REFUSED_WAIT: Duration = Duration::from_secs(60);
/// Messages whose sizes are asked for at once.
const LISTED: usize = 200;

/// Reads one mailbox.
pub struct MailboxLine {
    pub settings: ImapSettings,
    pub common: Common,
    stubborn: Stubborn,
    filer: Filer,
}

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    #[error(transparent)]
    Server(#[from] ImapProblem),
    /// The message waits on the server.
    #[error("{0}")]
    Store(String),
    /// The position is not what we thought: connect and look again.
    #[error("another process reads this mailbox")]
    OutOfTurn,
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Stopped {
        Stopped::Store(error.to_string())
    }
}

/// What the doors of mailboxes have in common.
pub struct Common {
    pub store: Store,
    pub recorder: Recorder,
    pub own: Arc<Own>,
    pub max_message: usize,
    pub alarms: Alarms,
    pub clock: Arc<dyn Clock>,
    pub shutdown: Shutdown,
}

impl Common {
    /// An operator has to know.
    pub(super) fn raise(&self, cause: AlarmCause, place: &str, why: &str) {
        self.alarms.raise(cause, place, &why, self.clock.now());
    }
}

impl MailboxLine {
    pub fn new(settings: ImapSettings, common: Common) -> MailboxLine {
        MailboxLine { settings, common, stubborn: Stubborn::default(), filer: Filer::default() }
    }

    /// Names the mailbox to operators, without its user, who may be an address.
    fn place(&self) -> String {
        format!("{} at {}", self.settings.mailbox, self.settings.host)
    }

    /// Reads until shutdown. Being dropped anywhere loses nothing: what is not committed is on the server.
    pub async fn run(mut self) {
        let shutdown = self.common.shutdown.clone();
        let mut failures = 0;
        while !shutdown.asked() {
            let before = self.common.clock.now();
            let stopped = tokio::select! {
                stopped = self.serve() => stopped,
                () = shutdown.wait() => return,
            };
            let now = self.common.clock.now();
            // It went well for a while.
            failures = if now.since(before) > LONGEST_WAIT { 1 } else { failures + 1 };
            let wait = self.tell(&stopped, failures);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.wait() => return,
            }
        }
    }

    /// Says why reading stopped. Answers how long to wait.
    fn tell(&self, stopped: &Stopped, failures: u32) -> Duration {
        let (place, now) = (self.place(), self.common.clock.now());
        let wait = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_WAIT);
        match stopped {
            Stopped::Server(ImapProblem::Refused(why)) => {
                self.common.raise(AlarmCause::IntakeRefuses, &place, why);
                return (wait * 16).clamp(REFUSED_WAIT, LONGEST_WAIT * 3);
            }
            Stopped::Server(problem) => {
                self.common.alarms.intake_failed(&place, problem, now);
                tracing::warn!(%place, problem = %MaskedText(&problem.to_string()), "the mailbox is opened again");
            }
            // That the store is away is said elsewhere.
            Stopped::Store(why) => tracing::warn!(%place, %why, "mail waits in the mailbox"),
            Stopped::OutOfTurn => {
                tracing::debug!(%place, "another process was quicker");
                return FIRST_WAIT;
            }
        }
        wait
    }

    /// Opens the mailbox, takes all that is new, and waits for more. Ends with what stopped it.
    pub async fn serve(&mut self) -> Stopped {
        match self.read_on().await {
            Ok(never) => match never {},
            Err(stopped) => stopped,
        }
    }

    async fn read_on(&mut self) -> Result<std::convert::Infallible, Stopped> {
        let mailbox = Mailbox::open(&self.settings).await?;
        let (mut mailbox, mut position) = self.position(mailbox).await?;
        loop {
            self.look(&mut mailbox, &mut position).await?;
            mailbox.wait().await?;
        }
    }

    /// Opens the mailbox, takes all that is new, and closes it. Answers how far it was read.
    ///
    /// # Errors
    /// What stopped it.
    pub async fn step(&mut self) -> Result<i64, Stopped> {
        let mailbox = Mailbox::open(&self.settings).await?;
        let (mut mailbox, mut position) = self.position(mailbox).await?;
        self.look(&mut mailbox, &mut position).await?;
        mailbox.close().await;
        Ok(position.last_uid)
    }

    /// Takes all that is new, and asks once more for what the server did not give.
    async fn look(&mut self, mailbox: &mut Mailbox, position: &mut Position) -> Result<(), Stopped> {
        self.catch_up(mailbox, position).await?;
        self.common.alarms.intake_works(&self.place());
        self.ask_again(mailbox, position).await
    }

    async fn position(&mut self, mut mailbox: Mailbox) -> Result<(Mailbox, Position), Stopped> {
        let mut sure = false;
        loop {
            let opened = mailbox.opened();
            let seen =
                Seen { validity: opened.validity, next: opened.next, backlog: self.settings.backlog, sure };
            let mut tx = self.common.store.write().await?;
            let opening =
                mailboxes::open(&mut tx, &self.settings.place(), seen, self.common.clock.now()).await?;
            if let Opening::GoOn(position) | Opening::Again(position) = opening {
                self.stubborn.recall(&mut tx, position).await?;
            }
            tx.commit().await?;
            self.filer.begin();
            match opening {
                Opening::GoOn(position) => return Ok((mailbox, position)),
                Opening::Again(position) => {
                    tracing::warn!(place = %self.place(), "its messages have new numbers; all of them are looked at, known ones are left out");
                    return Ok((mailbox, position));
                }
                Opening::Unsure => {
                    mailbox.close().await;
                    mailbox = Mailbox::open(&self.settings).await?;
                    sure = true;
                }
            }
        }
    }

    async fn catch_up(&mut self, mailbox: &mut Mailbox, position: &mut Position) -> Result<(), Stopped> {
        self.file(mailbox, position.id).await?;
        // What was in the mailbox before we knew it does not count, even under new numbers.
        let since = position.renumbered_since().filter(|_| !self.settings.backlog);
        let mut after = u32::try_from(position.last_uid).unwrap_or(u32::MAX);
        loop {
            let uids = mailbox.new_uids(after, since).await?;
            let Some(last) = uids.last() else { return Ok(()) };
            after = *last;
            for part in uids.chunks(LISTED) {
                let listed = self.list(mailbox, position, part).await?;
                let mut rest = listed.as_slice();
                while let Some(first) = rest.first() {
                    let alone = self.stubborn.is_near(first.uid);
                    let (batch, others) = rest.split_at(if alone { 1 } else { Mailbox::batch(rest) });
                    self.take(mailbox, position, batch).await?;
                    self.file(mailbox, position.id).await?;
                    rest = others;
                }
            }
        }
    }

    /// These messages, with their sizes. Near one that the server did not give, it is not even asked for sizes: that may be what it
    /// stumbles over.
    async fn list(
        &mut self,
        mailbox: &mut Mailbox,
        position: &Position,
        uids: &[u32],
    ) -> Result<Vec<Listed>, Stopped> {
        let near = uids.iter().take_while(|uid| self.stubborn.is_near(**uid)).count();
        let (near, others) = uids.split_at(near);
        let mut listed: Vec<Listed> = near.iter().map(|uid| Listed { uid: *uid, size: None }).collect();
        if others.is_empty() {
            return Ok(listed);
        }
        match mailbox.sizes(others).await {
            Ok(sized) => listed.extend(sized),
            Err(problem) => {
                // What it stumbles over may give itself all the same: no failure of one message.
                self.note(position.id, others, &problem, false).await?;
                return Err(problem.into());
            }
        }
        Ok(listed)
    }

    /// Fetches and records one batch.
    async fn take(
        &mut self,
        mailbox: &mut Mailbox,
        position: &mut Position,
        batch: &[Listed],
    ) -> Result<(), Stopped> {
        let fetched = match self.fetch(mailbox, batch).await {
            Ok(fetched) => fetched,
            Err(problem) => {
                let uids: Vec<u32> = batch.iter().map(|one| one.uid).collect();
                self.note(position.id, &uids, &problem, true).await?;
                return Err(problem.into());
            }
        };
        let mut answers = Vec::with_capacity(fetched.len());
        let mut after = position.last_uid;
        for (uid, fetched) in fetched {
            let (raw, set_aside) = match fetched {
                Given::Fetched(Fetched::Whole(raw)) => (raw, None),
                Given::Never(why) => (Vec::new(), Some(why)),
                Given::Fetched(Fetched::TooLarge(header)) => {
                    let max = self.common.max_message;
                    let why = format!(
                        "it has more than {max} octets; this is its header, the message is where it was"
                    );
                    (header, Some(why))
                }
                Given::Fetched(Fetched::Gone) => continue,
            };
            let uid = i64::from(uid);
            let file = self.settings.after != AfterImap::Keep && set_aside.is_none();
            let place = Place { mailbox: position.id, validity: position.validity, after, uid, file };
            let reason = set_aside.clone();
            let found = Found { mail: self.mail(raw), place: Some(place), set_aside, late: None };
            let handed = self.common.recorder.hand_in(found).await;
            answers.push((uid, reason, handed.map_err(|problem| Stopped::Store(problem.to_string()))?));
            after = uid;
        }
        for (uid, reason, answer) in answers {
            let recorded = answer.recorded().await.map_err(|problem| Stopped::Store(problem.to_string()))?;
            match (recorded, reason) {
                (Recorded::OutOfTurn, _) => return Err(Stopped::OutOfTurn),
                (Recorded::New(id), Some(reason)) => {
                    let text = format!("number {id}: {reason}");
                    self.common.raise(AlarmCause::InboundQuarantined, "", &text);
                }
                (_, None) => self.given(position.id, uid).await?,
                _ => {}
            }
            position.last_uid = uid;
        }
        Ok(())
    }

    fn mail(&self, raw: Vec<u8>) -> ReceivedMail {
        ReceivedMail {
            envelope_from: None,
            recipient: envelope::delivered_for(&raw, &self.common.own).unwrap_or_default(),
            source: InboundSource::Imap,
            raw: Arc::new(raw),
        }
    }
}

/// What became of asking for a message.
enum Given {
    Fetched(Fetched),
    /// The server failed at it so often that it is set aside; why.
    Never(String),
}
