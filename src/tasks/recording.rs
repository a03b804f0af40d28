//! Recording: what the doors deposit into. Raw bytes are committed, many messages with one commit, before anything is acknowledged.
//!
//! A message is known by its octets: for one recipient where the door has an envelope, for the door where it has none. A message of
//! a mailbox moves the mailbox's position in the same transaction, and one that is not next in line is not recorded. A group that
//! the store refuses is recorded one by one, so that one message which cannot be keeps no other from it.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::sync::{Notify, mpsc, oneshot};

use super::alarm::Alarms;
use crate::domain::alarm::AlarmCause;
use crate::domain::inbound::InboundSource;
use crate::intake::{Deposit, DepositError, ReceivedMail};
use crate::mail::parse::Own;
use crate::runtime::{MaskedText, Timestamp};
use crate::store::inbound::{self, NewInbound};
use crate::store::mailboxes::{self, Place};
use crate::store::refused_mail;
use crate::store::{Store, StoreError, Tx};

/// Messages waiting for their commit; a door waits when there are more.
const RECORDING: usize = 64;

/// Bytes of one group commit. Above it the next message waits for the next commit.
const GROUP_BYTES: usize = 8 << 20;

/// What became of a deposit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    New(i64),
    /// The same bytes for the same recipient were recorded before.
    Known,
    /// It was not its turn: another process reads the mailbox too, or a message before it could not be recorded. Nothing
    /// happened; the door has to ask again where to go on.
    OutOfTurn,
}

/// The store is away; the door answers "later".
#[derive(Clone, Debug, thiserror::Error)]
#[error("the message could not be recorded: {0}")]
pub struct RecordProblem(String);

impl From<StoreError> for RecordProblem {
    fn from(error: StoreError) -> RecordProblem {
        RecordProblem(error.to_string())
    }
}

impl RecordProblem {
    fn stopped() -> RecordProblem {
        RecordProblem("recording has stopped".into())
    }
}

/// A message that a door found by looking, instead of being handed it.
#[derive(Clone, Debug)]
pub struct Found {
    pub mail: ReceivedMail,
    /// Where it is in a mailbox whose messages have an order.
    pub place: Option<Place>,
    /// Why the message is not whole; an operator decides about it.
    pub set_aside: Option<String>,
    /// It was set aside before, without an octet.
    pub late: Option<Late>,
}

/// Where a message is that its server gives late, and the row that stands for it so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    pub row: i64,
    pub mailbox: i64,
    pub uid: i64,
    /// Whether it has to be moved or flagged.
    pub file: bool,
}

type Recording = (Found, oneshot::Sender<Result<Recorded, RecordProblem>>);

/// A door's side of recording. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder(mpsc::Sender<Recording>);

/// Resolves when a message is committed, or is not going to be.
#[derive(Debug)]
pub struct Answer(oneshot::Receiver<Result<Recorded, RecordProblem>>);

/// The store's side.
pub struct RecordingLine {
    store: Store,
    incoming: mpsc::Receiver<Recording>,
    recorded: Arc<Notify>,
    alarms: Alarms,
}

/// A recorder with the line that serves it; `recorded` is notified after each commit.
pub fn recorder(store: Store, recorded: Arc<Notify>) -> (Recorder, RecordingLine) {
    let (sender, incoming) = mpsc::channel(RECORDING);
    (Recorder(sender), RecordingLine { store, incoming, recorded, alarms: Alarms::default() })
}

impl Recorder {
    /// Returns after the message is committed.
    ///
    /// # Errors
    /// When it is not: the door must not acknowledge it.
    pub async fn record(&self, mail: ReceivedMail) -> Result<Recorded, RecordProblem> {
        self.hand_in(Found { mail, place: None, set_aside: None, late: None }).await?.recorded().await
    }

    /// Hands in a message, those of one mailbox in the order of their UIDs. Returns when there is room for the next one.
    ///
    /// # Errors
    /// When nothing is recorded any more.
    pub async fn hand_in(&self, found: Found) -> Result<Answer, RecordProblem> {
        let (answer, answered) = oneshot::channel();
        self.0.send((found, answer)).await.map_err(|_| RecordProblem::stopped())?;
        Ok(Answer(answered))
    }
}

impl Answer {
    /// # Errors
    /// When the message is not committed.
    pub async fn recorded(self) -> Result<Recorded, RecordProblem> {
        self.0.await.map_err(|_| RecordProblem::stopped())?
    }
}

/// What doors with an envelope deposit into.
pub struct Doors {
    pub recorder: Recorder,
    pub own: Arc<Own>,
}

impl Deposit for Doors {
    /// Any address of ours, whether or not its token is sound: a broken token is found out later, with a reason, and the mail of
    /// a person is not refused for it.
    fn accepts(&self, recipient: &str) -> bool {
        self.own.is_ours(recipient)
    }

    async fn deposit(&self, mail: ReceivedMail) -> Result<(), DepositError> {
        self.recorder.record(mail).await.map(drop).map_err(|_| DepositError::Later)
    }
}

impl RecordingLine {
    /// Who hears of a message that had to be set aside.
    pub fn telling(self, alarms: Alarms) -> RecordingLine {
        RecordingLine { alarms, ..self }
    }

    /// Records until every recorder is gone.
    pub async fn run(mut self, now: impl Fn() -> Timestamp) {
        while let Some(first) = self.incoming.recv().await {
            let mut bytes = first.0.mail.raw.len();
            let mut group = vec![first];
            while bytes < GROUP_BYTES && group.len() < RECORDING {
                let Ok(next) = self.incoming.try_recv() else { break };
                bytes += next.0.mail.raw.len();
                group.push(next);
            }
            self.record(group, now()).await;
        }
    }

    async fn record(&self, group: Vec<Recording>, now: Timestamp) {
        let (messages, answers): (Vec<Found>, Vec<_>) = group.into_iter().unzip();
        let recorded = match self.commit(&messages, now).await {
            Ok(recorded) => recorded.into_iter().map(Ok).collect(),
            Err(error) if error.is_away() => vec![Err(RecordProblem::from(error)); messages.len()],
            Err(error) => {
                tracing::warn!(%error, messages = messages.len(), "a group of received mail cannot be recorded; each is tried alone");
                self.one_by_one(&messages, now).await
            }
        };
        if let Some(problem) = recorded.iter().find_map(|one| one.as_ref().err()) {
            let later = recorded.iter().filter(|one| one.is_err()).count();
            tracing::error!(%problem, messages = later, "received mail cannot be recorded; peers are asked to come later");
        }
        let any = recorded.iter().any(Result::is_ok);
        for (answer, recorded) in answers.into_iter().zip(recorded) {
            // A door that went away asks again: the hash knows the message.
            let _ = answer.send(recorded);
        }
        if any {
            self.recorded.notify_one();
        }
    }

    /// After a group failed for one of its rows: only that one may suffer. It is kept for an operator, without what its door said
    /// of it; where even that is refused, its door says "later". A group that was committed although its answer was lost is known.
    async fn one_by_one(&self, messages: &[Found], now: Timestamp) -> Vec<Result<Recorded, RecordProblem>> {
        let mut recorded = Vec::with_capacity(messages.len());
        for found in messages {
            let mut done = self.commit_one(found, now).await;
            if let Err(error) = &done
                && !error.is_away()
            {
                let why = MaskedText(&error.to_string()).to_string();
                done = self.commit_one(&bare(found, &why), now).await;
                if let Ok(Recorded::New(id)) = done {
                    let text = format!("number {id}: it could not be recorded as it came: {why}");
                    tracing::error!(inbound = id, %why, "a received message was set aside as it was recorded");
                    self.alarms.raise(AlarmCause::InboundQuarantined, "", &text, now);
                }
            }
            let is_away = done.as_ref().is_err_and(StoreError::is_away);
            recorded.push(done.map_err(RecordProblem::from));
            if is_away {
                break;
            }
        }
        // The store has gone away meanwhile.
        recorded.resize_with(messages.len(), || Err(RecordProblem("the store is away".into())));
        recorded
    }

    async fn commit_one(&self, found: &Found, now: Timestamp) -> Result<Recorded, StoreError> {
        let mut tx = self.store.write().await?;
        let recorded = enter(&mut tx, found, now).await?;
        tx.commit().await?;
        Ok(recorded)
    }

    async fn commit(&self, messages: &[Found], now: Timestamp) -> Result<Vec<Recorded>, StoreError> {
        let mut tx = self.store.write().await?;
        let mut recorded = Vec::with_capacity(messages.len());
        for found in messages {
            recorded.push(enter(&mut tx, found, now).await?);
        }
        tx.commit().await?;
        Ok(recorded)
    }
}

/// A message without what its door said of it, set aside.
fn bare(found: &Found, why: &str) -> Found {
    let mail = ReceivedMail { envelope_from: None, recipient: String::new(), ..found.mail.clone() };
    let why = format!("it could not be recorded as it came: {why}");
    Found { mail, place: found.place, set_aside: Some(why), late: found.late }
}

async fn enter(tx: &mut Tx, found: &Found, now: Timestamp) -> Result<Recorded, StoreError> {
    let Found { mail, set_aside, .. } = found;
    let (place, late) = (found.place, found.late);
    if let Some(place) = &place
        && !mailboxes::advance(tx, place).await?
    {
        return Ok(Recorded::OutOfTurn);
    }
    let hash = match place {
        // Without an octet of it only its place tells it from others.
        Some(Place { mailbox, validity, uid, .. }) if mail.raw.is_empty() => {
            hex(format!("{mailbox} {validity} {uid}").as_bytes())
        }
        _ => hex(&mail.raw),
    };
    let without_octets = mail.raw.is_empty();
    let has_envelope = !matches!(mail.source, InboundSource::Imap | InboundSource::Maildir);
    if !has_envelope && inbound::is_known(tx, mail.source, &hash).await? {
        return arrived(tx, late, Recorded::Known).await;
    }
    if let Some(Late { row, .. }) = late
        && inbound::came_late(tx, row, &mail.recipient, &hash, &mail.raw).await?
    {
        return arrived(tx, late, Recorded::New(row)).await;
    }
    let sender = mail.envelope_from.as_deref().map(in_text);
    let new = NewInbound {
        source: mail.source,
        envelope_from: sender.as_deref(),
        recipient: &in_text(&mail.recipient),
        hash: &hash,
        // The driver takes it as its own; ours is there for the case that the group fails.
        raw: mail.raw.to_vec(),
    };
    let Some(id) = inbound::record(tx, new, now).await? else {
        return arrived(tx, late, Recorded::Known).await;
    };
    if let Some(reason) = set_aside {
        inbound::set_aside(tx, id, &in_text(reason)).await?;
        if let Some(place) = place.filter(|_| without_octets) {
            refused_mail::set_aside(tx, place.mailbox, place.uid, id).await?;
        }
    }
    arrived(tx, late, Recorded::New(id)).await
}

/// A message that was given late is no longer asked for, and goes where the others went.
async fn arrived(tx: &mut Tx, late: Option<Late>, recorded: Recorded) -> Result<Recorded, StoreError> {
    if let Some(late) = late {
        refused_mail::forget(tx, late.mailbox, late.uid).await?;
        if late.file {
            mailboxes::to_file(tx, late.mailbox, late.uid).await?;
        }
    }
    Ok(recorded)
}

/// What a text column may hold; PostgreSQL refuses NUL. A door without an envelope reads addresses from the message.
fn in_text(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}

fn hex(octets: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(octets))
}
