//! Receiving: record -> acknowledge -> parse -> classify -> thread -> effects.
//!
//! Doors deposit into `recording`: raw bytes are committed before anything is acknowledged. `Receiver::step` then takes one
//! recorded message: parsing runs off the reactor and cannot take the process with it, effects and the `done` mark are one
//! transaction, and what fails three times is set aside with its reason.

use std::sync::Arc;

use tokio::sync::Notify;

use super::aftermath::{self, Bearing};
use super::bounces::{self, Reported, Told};
use super::marks::Marks;
use super::readers::{JoinAsk, JoinDoor, Readers};
pub use super::recording::{Doors, Recorded, Recorder, RecordingLine, recorder};
use super::report::Reporter;
use super::{editors, staff_mail, threading};
use crate::domain::address::Address;
use crate::domain::sender::SenderProof;
use crate::domain::subscriber::SubscriberStatus;
use crate::domain::token::{Purpose, Subject};
use crate::domain::verdict::{Facts, Verdict, classify, why_unanswered};
use crate::intake::signature::Signatures;
use crate::mail::parse::{self, Arrived, Own};
use crate::mail::token::Keyring;
use crate::mail::{authentication, author, forward, report};
use crate::runtime::{Masked, MaskedText, Timestamp};
use crate::store::inbound::{self, Waiting};
use crate::store::{Store, StoreError, Tx, people};

/// Characters of a name that is kept.
const NAME: usize = 100;

/// What understanding a message needs to know.
pub struct Receiver {
    pub store: Store,
    pub keyring: Arc<Keyring>,
    pub own: Arc<Own>,
    pub desk: threading::Desk,
    pub max_message: usize,
    pub reporter: Reporter,
    pub readers: Readers,
    pub proving: Proving,
    pub marks: Marks,
    /// Something was queued.
    pub wake: Arc<Notify>,
}

/// What tells whether the From of somebody of the house is true.
#[derive(Debug)]
pub enum Proving {
    /// The authserv-id of the receiving server, which is believed (RFC 8601).
    Server(String),
    /// We look for ourselves.
    Signatures(Box<Signatures>),
    /// Why nobody can.
    Nothing(String),
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Done(Verdict),
    /// This one failed and waits, or was set aside.
    Failed {
        quarantined: bool,
    },
    Idle,
}

impl Receiver {
    /// Takes the oldest recorded message after `after` through the line. Answers its id as well, so that one which fails does not
    /// keep the others waiting.
    ///
    /// # Errors
    /// When the database fails; the message waits.
    pub async fn step(&self, after: i64, now: Timestamp) -> Result<(Step, i64), StoreError> {
        let Some(waiting) = inbound::next(&mut self.store.read().await?, after).await? else {
            return Ok((Step::Idle, 0));
        };
        let id = waiting.id;
        if !self.marks.may_try(&self.store, &waiting, now).await? {
            return Ok((Step::Failed { quarantined: true }, id));
        }
        match self.understand(waiting, now).await {
            Ok(verdict) => Ok((Step::Done(verdict), id)),
            Err(EffectProblem::Store(error)) if error.is_away() => Err(error),
            Err(problem) => {
                let mut tx = self.store.write().await?;
                let quarantined = inbound::failed(&mut tx, id, &problem.to_string()).await?;
                tx.commit().await?;
                if quarantined {
                    tracing::error!(inbound = id, %problem, "a received message was set aside; `tidings inbound rerun` tries it again");
                }
                Ok((Step::Failed { quarantined }, id))
            }
        }
    }

    /// Takes all that waits, each once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drain(&self, now: impl Fn() -> Timestamp) -> Result<usize, StoreError> {
        let (mut after, mut taken) = (0, 0);
        loop {
            match self.step(after, now()).await? {
                (Step::Idle, _) => return Ok(taken),
                (_, id) => after = id,
            }
            taken += 1;
        }
    }

    async fn understand(&self, waiting: Waiting, now: Timestamp) -> Result<Verdict, EffectProblem> {
        let (own, keyring, limit) = (self.own.clone(), self.keyring.clone(), self.max_message);
        let recipient = Some(waiting.recipient.clone()).filter(|recipient| !recipient.is_empty());
        let envelope_from = waiting.envelope_from.clone();
        // Not copied: it may be 25 MB.
        let raw = Arc::new(waiting.raw);
        let bytes = raw.clone();
        let read = tokio::task::spawn_blocking(move || {
            let parsed = parse::parse_guarded(&bytes, limit);
            let arrived =
                Arrived { envelope_from: envelope_from.as_deref(), recipient: recipient.as_deref() };
            let mut facts = parse::facts(&parsed, arrived, &own, &keyring);
            report::add(&mut facts, &bytes, &parsed, &keyring);
            let from = parse::sender(&parsed, arrived);
            (parsed, facts, from)
        });
        let (parsed, mut facts, from) =
            read.await.map_err(|error| EffectProblem::Message(format!("the parser broke: {error}")))?;
        facts.to_join = self.is_join(&waiting.recipient, &parsed);
        self.editor_facts(&mut facts, raw.clone(), &parsed, from.as_ref()).await;
        self.staff_facts(&mut facts, raw.clone(), &parsed, from.as_ref()).await;
        self.leaving_facts(&mut facts, raw.clone(), &parsed, from.as_ref()).await?;
        let mailed = bounces::named(&mut self.store.read().await?, &facts).await?;
        facts.finding = bounces::finding(&facts, mailed.as_ref(), &self.reporter.settings.rules);
        let (verdict, reason) = classify(&facts);
        let files = match verdict == Verdict::StaffReply && staff_mail::may_carry_files(facts.token) {
            true => staff_mail::files_of(raw).await?,
            false => Vec::new(),
        };
        let mut tx = self.store.write().await?;
        let message = threading::Message {
            inbound: waiting.id,
            token: facts.token,
            from: from.as_ref(),
            parsed: &parsed,
            reason: &reason,
            unanswered: why_unanswered(&facts),
            asks_to_leave: facts.asks_to_leave,
            files: &files,
            also: self.own.token(&self.keyring, parsed.recipients.iter().map(String::as_str)),
        };
        let mut reported =
            Reported { inbound: waiting.id, facts: &facts, mailed, lost: None, told: Told::default() };
        let received_at = Timestamp(waiting.received_at);
        let bearing = aftermath::bearing(&mut tx, &self.keyring, &facts, from.as_ref(), received_at).await?;
        let thread = match bearing {
            Bearing::Overtaken => None,
            _ => self.effects(&mut tx, verdict, message, &mut reported, now).await?,
        };
        let wiped = aftermath::is_wiped(&mut tx, bearing, verdict, thread).await?;
        let reason = if wiped { aftermath::WHY.to_owned() } else { reason };
        if !inbound::done(&mut tx, waiting.id, verdict, &reason, thread).await? {
            return Ok(verdict);
        }
        if wiped {
            aftermath::wipe(&mut tx, waiting.id).await?;
        }
        tx.commit().await?;
        if wiped {
            aftermath::clear_log(&self.store).await;
        }
        reported.told.tell(&self.readers.alarms, now);
        let from = from.as_ref().map_or("", |from| from.address.as_str());
        tracing::info!(inbound = waiting.id, verdict = verdict.as_str(), reason = %MaskedText(&reason), thread, from = %Masked(from), "received");
        self.wake.notify_waiters();
        Ok(verdict)
    }

    /// What is asked of a mail to an address that was made for editors.
    async fn editor_facts(
        &self,
        facts: &mut Facts,
        raw: Arc<Vec<u8>>,
        parsed: &parse::Parsed,
        from: Option<&parse::Person>,
    ) {
        if facts.token.is_none_or(|token| token.purpose != Purpose::Editors) {
            return;
        }
        facts.from_is_editor = from.is_some_and(|from| self.is_editor(&from.address));
        if facts.from_is_editor {
            let proof = self.proof(raw, parsed, facts.token).await;
            facts.proof = proof.map_or_else(SenderProof::Unproven, SenderProof::Proven);
        }
    }

    /// What is asked of a mail to an address that was made for a member of staff. A note that they are away may say so in its subject
    /// only; everywhere else a person may write such a subject.
    async fn staff_facts(
        &self,
        facts: &mut Facts,
        raw: Arc<Vec<u8>>,
        parsed: &parse::Parsed,
        from: Option<&parse::Person>,
    ) {
        let Some(Subject { purpose: Purpose::Staff | Purpose::StaffNote, second, .. }) = facts.token else {
            return;
        };
        let member = self.desk.staff.iter().find(|member| member.id == second);
        let key = from.map(|from| Address::trusted(from.address.clone()).key());
        facts.from_is_staff = member.is_some_and(|member| Some(member.address.to_lowercase()) == key);
        if facts.subject_suspected {
            facts.auto_header.get_or_insert_with(|| "its subject is that of an automatic answer".to_owned());
        }
        let is_ours = |address: &str| self.own.token(&self.keyring, [address]) == facts.token;
        facts.forward = forward::forward(parsed, is_ours);
        if facts.from_is_staff {
            let proof = self.proof(raw, parsed, facts.token).await;
            facts.proof = proof.map_or_else(SenderProof::Unproven, SenderProof::Proven);
        }
    }

    /// Whether it was sent to the join address; without an envelope the header says it.
    fn is_join(&self, recipient: &str, parsed: &parse::Parsed) -> bool {
        let Some(join) = &self.reporter.settings.addresses.join else { return false };
        let is_it = |address: &str| address.to_lowercase() == join.key();
        if recipient.is_empty() { parsed.recipients.iter().any(|to| is_it(to)) } else { is_it(recipient) }
    }

    /// The wish of a person who wrote to the join address; the mail that asks back proves that the sender is true.
    async fn join(
        &self,
        tx: &mut Tx,
        message: threading::Message<'_>,
        now: Timestamp,
    ) -> Result<(), EffectProblem> {
        let Some(from) = message.from else { return Ok(()) };
        // An address that we could not write to cannot join.
        let Ok(address) = Address::parse(&from.address) else { return Ok(()) };
        let name: String =
            from.name.chars().map(|c| if c.is_control() { ' ' } else { c }).take(NAME).collect();
        let ask = JoinAsk { address: &address, name: name.trim(), door: JoinDoor::Mail };
        self.readers.join_in(tx, &ask, now).await?;
        Ok(())
    }

    fn is_editor(&self, address: &str) -> bool {
        let key = Address::trusted(address.to_owned()).key();
        self.reporter.shelf.get().publication.editors.iter().any(|editor| editor.key() == key)
    }

    /// Whether a reader who asks to leave is who they say; asked for nobody else.
    async fn leaving_facts(
        &self,
        facts: &mut Facts,
        raw: Arc<Vec<u8>>,
        parsed: &parse::Parsed,
        from: Option<&parse::Person>,
    ) -> Result<(), EffectProblem> {
        let for_nobody =
            facts.token.is_none_or(|token| matches!(token.purpose, Purpose::Edition | Purpose::Thread));
        facts.asks_to_leave &= for_nobody && reader(&mut self.store.read().await?, from).await?.is_some();
        if facts.asks_to_leave {
            let proof = self.proof(raw, parsed, facts.token).await;
            facts.proof = proof.map_or_else(SenderProof::Unproven, SenderProof::Proven);
        }
        Ok(())
    }

    /// Whether the sender is who the From says, and wrote to this address. Asks a name server where our own mail server has not
    /// said it; outside of any transaction. Known gap: where the server is believed, it does not say which fields were signed.
    async fn proof(
        &self,
        raw: Arc<Vec<u8>>,
        parsed: &parse::Parsed,
        token: Option<Subject>,
    ) -> Result<String, String> {
        let author = author::sole_author(&raw, parsed)?;
        let names_it = |address: &String| self.own.token(&self.keyring, [address.as_str()]) == token;
        if !author::addressed(parsed).iter().any(names_it) {
            return Err("it was not written to this address".to_owned());
        }
        let domain = author.rsplit_once('@').map_or("", |(_, domain)| domain);
        match &self.proving {
            Proving::Server(authserv_id) => authentication::proven_by(parsed, authserv_id, domain),
            Proving::Signatures(signatures) => signatures.proves(raw, &author).await,
            Proving::Nothing(why) => Err(why.clone()),
        }
    }

    async fn effects(
        &self,
        tx: &mut Tx,
        verdict: Verdict,
        message: threading::Message<'_>,
        reported: &mut Reported<'_>,
        now: Timestamp,
    ) -> Result<Option<i64>, EffectProblem> {
        match verdict {
            Verdict::SupportMessage => self.desk.converse(tx, &self.keyring, message, now).await.map(Some),
            Verdict::AutoReply => self.desk.note_automatic(tx, &self.keyring, message, now).await,
            Verdict::Unsubscribe => {
                if let Some(Subject { purpose: Purpose::Unsubscribe, row, .. }) = message.token {
                    people::unsubscribe(tx, row, "mail", now).await?;
                } else if let Some(person) = reader(tx, message.from).await? {
                    people::unsubscribe(tx, person, "mail", now).await?;
                }
                Ok(None)
            }
            Verdict::StaffReply | Verdict::RejectedStaff | Verdict::InternalNote => {
                editors::answered(tx, &self.reporter, verdict, message, now).await?;
                self.desk.staff_mail(tx, verdict, message, now).await
            }
            Verdict::Join => {
                self.join(tx, message, now).await?;
                Ok(None)
            }
            Verdict::BounceHard | Verdict::BounceSoft => {
                let thread = bounces::came_back(tx, reported, now).await?;
                if let Some((answer, why)) = reported.lost.take() {
                    self.desk.bounced(tx, answer, &why, now).await?;
                }
                Ok(thread)
            }
            Verdict::Complaint => Ok(bounces::complained(tx, reported, now).await?),
            Verdict::BounceDelayed => {
                bounces::delayed(tx, reported, now).await?;
                Ok(None)
            }
            // Kept raw with verdict and reason, and nothing follows.
            Verdict::Receipt | Verdict::Loop | Verdict::Unreadable => Ok(None),
        }
    }
}

/// The active subscriber who has this address.
async fn reader(tx: &mut Tx, from: Option<&parse::Person>) -> Result<Option<i64>, StoreError> {
    let Some(from) = from else { return Ok(None) };
    let key = Address::trusted(from.address.clone()).key();
    let person = people::by_key(tx, &key).await?;
    Ok(person.filter(|person| person.status == SubscriberStatus::Active).map(|person| person.id))
}

/// Why a message's effects did not happen.
#[derive(Debug, thiserror::Error)]
pub enum EffectProblem {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Message(String),
}
