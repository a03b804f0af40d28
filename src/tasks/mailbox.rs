//! The mailbox line: what is new on an IMAP server -> record -> move or flag, and wait for more.
//!
//! UIDs ascend, so one number says how far the mailbox was read; it moves in the transaction that records. After that commit the
//! message is moved or flagged, as configured; what a crash leaves to do is in the store. Batches are small, so a backlog takes no
//! more memory than a few messages. A lost connection is opened again, after longer and longer waits; operators hear of one that
//! stays lost, and of a login that is refused. A message that the server cannot give three times is set aside and stops no other.

use std::sync::Arc;
use std::time::Duration;

use super::alarm::Alarms;
use super::recording::{Found, Recorded, Recorder};
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

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// A server that counts wrong passwords shall not lock us out.
const REFUSED_WAIT: Duration = Duration::from_secs(60);
/// Messages whose sizes are asked for at once.
const LISTED: usize = 200;
/// Messages that are moved or flagged with one command.
const FILED: i64 = 500;
/// The server's failures to give one message.
const FAILURES: u32 = 3;

/// Reads one mailbox.
pub struct MailboxLine {
    pub settings: ImapSettings,
    pub common: Common,
    stubborn: Stubborn,
}

/// Up to this UID messages are fetched one by one, and this one has failed so often.
#[derive(Clone, Debug, Default)]
struct Stubborn {
    uid: u32,
    failures: u32,
    why: String,
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
        MailboxLine { settings, common, stubborn: Stubborn::default() }
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
            self.catch_up(&mut mailbox, &mut position).await?;
            self.common.alarms.intake_works(&self.place());
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
        self.catch_up(&mut mailbox, &mut position).await?;
        mailbox.close().await;
        Ok(position.last_uid)
    }

    async fn position(&self, mut mailbox: Mailbox) -> Result<(Mailbox, Position), Stopped> {
        let mut sure = false;
        loop {
            let opened = mailbox.opened();
            let seen =
                Seen { validity: opened.validity, next: opened.next, backlog: self.settings.backlog, sure };
            let mut tx = self.common.store.write().await?;
            let opening =
                mailboxes::open(&mut tx, &self.settings.place(), seen, self.common.clock.now()).await?;
            tx.commit().await?;
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
                let listed = mailbox.sizes(part).await?;
                let mut rest = listed.as_slice();
                while let Some(first) = rest.first() {
                    let careful = first.uid <= self.stubborn.uid;
                    let (batch, others) = rest.split_at(if careful { 1 } else { Mailbox::batch(rest) });
                    self.take(mailbox, position, batch).await?;
                    self.file(mailbox, position.id).await?;
                    rest = others;
                }
            }
        }
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
                self.remember(batch, &problem);
                return Err(problem.into());
            }
        };
        let mut answers = Vec::with_capacity(fetched.len());
        let mut after = position.last_uid;
        for (uid, fetched) in fetched {
            let (raw, set_aside) = match fetched {
                Fetched::Whole(raw) => (raw, None),
                Fetched::TooLarge(nothing) if nothing.is_empty() && uid == self.stubborn.uid => {
                    let why = format!("the server does not give it: {}", self.stubborn.why);
                    (nothing, Some(format!("{why}; the message is where it was")))
                }
                Fetched::TooLarge(header) => {
                    let why =
                        format!("it has more than {} octets; this is its header", self.common.max_message);
                    (header, Some(format!("{why}, the message is where it was")))
                }
                Fetched::Gone => continue,
            };
            let uid = i64::from(uid);
            let file = self.settings.after != AfterImap::Keep && set_aside.is_none();
            let place = Place { mailbox: position.id, validity: position.validity, after, uid, file };
            let mail = ReceivedMail {
                envelope_from: None,
                recipient: envelope::delivered_for(&raw, &self.common.own).unwrap_or_default(),
                source: InboundSource::Imap,
                raw: Arc::new(raw),
            };
            let reason = set_aside.clone();
            let handed = self.common.recorder.hand_in(Found { mail, place: Some(place), set_aside }).await;
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
                _ => {}
            }
            position.last_uid = uid;
        }
        Ok(())
    }

    /// What a server does not give three times is kept as a row that says so.
    async fn fetch(
        &self,
        mailbox: &mut Mailbox,
        batch: &[Listed],
    ) -> Result<Vec<(u32, Fetched)>, ImapProblem> {
        if let [one] = batch
            && one.uid == self.stubborn.uid
            && self.stubborn.failures >= FAILURES
        {
            tracing::error!(place = %self.place(), uid = one.uid, why = %self.stubborn.why, "the server does not give this message");
            return Ok(vec![(one.uid, Fetched::TooLarge(Vec::new()))]);
        }
        let fetched = mailbox.fetch(batch, self.common.max_message).await?;
        let nothing = |one: &Fetched| *one == Fetched::Gone || *one == Fetched::Whole(Vec::new());
        let without: Vec<u32> = fetched.iter().filter(|(_, one)| nothing(one)).map(|(uid, _)| *uid).collect();
        // Nothing is left out because a server forgot it once, or gave none of its octets.
        if !without.is_empty() && mailbox.sizes(&without).await?.iter().any(|listed| listed.size > 0) {
            return Err(ImapProblem::Nonsense("the server lists a message and does not give it".to_owned()));
        }
        Ok(fetched)
    }

    fn remember(&mut self, batch: &[Listed], problem: &ImapProblem) {
        let its_fault = matches!(problem, ImapProblem::Nonsense(_)) || problem.spares_connection();
        let Some(last) = batch.last().filter(|_| its_fault) else { return };
        let again = batch.len() == 1 && self.stubborn.uid == last.uid;
        let failures = if again { self.stubborn.failures + 1 } else { u32::from(batch.len() == 1) };
        self.stubborn = Stubborn { uid: last.uid, failures, why: problem.to_string() };
    }

    /// Moves or flags what is recorded. A server that refuses is told of, and reading goes on.
    async fn file(&self, mailbox: &mut Mailbox, id: i64) -> Result<(), Stopped> {
        loop {
            let mut tx = self.common.store.read().await?;
            let uids = mailboxes::unfiled(&mut tx, id, FILED).await?;
            drop(tx);
            if uids.is_empty() {
                return Ok(());
            }
            match mailbox.file(&uids).await {
                Ok(()) => {}
                Err(problem) if problem.spares_connection() => {
                    let text = format!("recorded messages stay where they are: {problem}");
                    self.common.raise(AlarmCause::IntakeRefuses, &self.place(), &text);
                    return Ok(());
                }
                Err(problem) => return Err(problem.into()),
            }
            let mut tx = self.common.store.write().await?;
            mailboxes::filed(&mut tx, id, &uids).await?;
            tx.commit().await?;
        }
    }
}
