//! A member of staff writes to the address that was made for them: an answer, a note, a command, or something that only looks like
//! one of these.
//!
//! The verdict has proven who wrote it. Here it is done, and what cannot be done is told to that member and to nobody else: a subscriber
//! gets an answer or nothing. What is not proven is told to the member's registered address and to operators in fixed words, because
//! who forges a mail must not write ours.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::answer::{Answer, Answered, Question, Refusal, asked, carries_files, crossed};
use super::before_release::SENT_BEFORE;
use super::receive::EffectProblem;
use super::restore::came_before;
use super::threading::{Desk, Message};
use super::told::Told;
use crate::domain::alarm::AlarmCause;
use crate::domain::relayed::relayed;
use crate::domain::staff_order::{self, ABOVE, Orders};
use crate::domain::token::{Purpose, Subject};
use crate::domain::verdict::Verdict;
use crate::mail::files::File;
use crate::mail::token::delivery_in_message_id;
use crate::mail::trim;
use crate::runtime::Timestamp;
use crate::store::answers;
use crate::store::staff::StaffRow;
use crate::store::threads::{self, NewPost, Participant};
use crate::store::{Tx, audit, bodies};

/// One member hears of forged mail in one conversation this often at most.
const UNPROVEN_EVERY: Duration = Duration::from_secs(3600);

/// Ids of a mail that are looked up.
const CITED: usize = 3;

const NOTHING_SENT: &str = "Nothing of it was sent.";

/// A member's mail about a conversation.
struct Mail<'a> {
    member: &'a StaffRow,
    thread: &'a Participant,
    message: Message<'a>,
    now: Timestamp,
}

impl Desk {
    /// Does what a member's mail says. Answers the conversation.
    pub(super) async fn staff_mail(
        &self,
        tx: &mut Tx,
        verdict: Verdict,
        message: Message<'_>,
        now: Timestamp,
    ) -> Result<Option<i64>, EffectProblem> {
        let Some(Subject { purpose: Purpose::Staff | Purpose::StaffNote, row, second }) = message.token
        else {
            return Ok(None);
        };
        let number = threads::current(tx, row).await?;
        let Some(thread) = threads::participant(tx, number).await? else {
            self.unknown_conversation(tx, (verdict, number), second, now).await?;
            return Ok(None);
        };
        if verdict == Verdict::RejectedStaff {
            let text = format!("received message {}: {}", message.inbound, message.reason);
            self.alarms.raise(AlarmCause::StaffUnproven, "", &text, now);
        }
        let Some(member) = self.staff.iter().find(|member| member.id == second) else {
            return Ok(Some(number));
        };
        let mail = Mail { member, thread: &thread, message, now };
        match verdict {
            Verdict::StaffReply if self.is_new(tx, &mail).await? => self.obey(tx, &mail).await?,
            Verdict::InternalNote if self.is_new(tx, &mail).await? => {
                self.note(tx, &mail, &trim::trim(&message.parsed.text).shown).await?;
                if message.token.is_some_and(|token| token.purpose == Purpose::Staff) {
                    let told = Told {
                        title: "Kept as a note",
                        reason: "You sent something on, so it is a note in the conversation.",
                        action: "Nothing of it was sent to the subscriber. To answer, answer the mail that told you of the question.",
                        ..Told::default()
                    };
                    self.tell(tx, (number, member), told, now).await?;
                }
            }
            Verdict::RejectedStaff => self.unproven(tx, &mail).await?,
            _ => {}
        }
        Ok(Some(number))
    }

    /// A member's answer to a notice that came to another address than the one that was made for it: some programs do not know
    /// Reply-To. It is no question of a subscriber. Answers the conversation.
    pub(super) async fn misdirected(
        &self,
        tx: &mut Tx,
        message: Message<'_>,
        from: &str,
        now: Timestamp,
    ) -> Result<Option<i64>, EffectProblem> {
        let Some(member) = self.staff.iter().find(|member| member.address.to_lowercase() == from) else {
            return Ok(None);
        };
        let parsed = message.parsed;
        let cited = parsed.in_reply_to.iter().chain(parsed.references.iter().rev()).take(CITED);
        for delivery in cited.filter_map(|id| delivery_in_message_id(&self.keyring, id)) {
            let Some(thread) = answers::notice_about(tx, delivery, member.id).await? else { continue };
            let thread = threads::current(tx, thread).await?;
            let since = Timestamp(now.millis() - UNPROVEN_EVERY.as_millis() as i64);
            if answers::may_tell(tx, (thread, member.id), "misdirected", since, now).await? {
                let told = Told {
                    title: "Your mail came to the wrong address",
                    reason: "Your answer came to an address that everybody may write to, so nothing proves that it is one. Nothing of it was sent.",
                    action: "Answer this mail: your program has to take the address in Reply-To.",
                    ..Told::default()
                };
                self.tell(tx, (thread, member), told, now).await?;
            }
            return Ok(Some(thread));
        }
        Ok(None)
    }

    /// A copy that comes again, or by another way, says nothing new.
    async fn is_new(&self, tx: &mut Tx, mail: &Mail<'_>) -> Result<bool, EffectProblem> {
        let Some(id) = &mail.message.parsed.message_id else { return Ok(true) };
        let words = Sha256::digest(mail.message.parsed.text.as_bytes());
        let what = format!("<{id}> {}", data_encoding::HEXLOWER.encode(&words[..8]));
        let who = (mail.thread.thread, mail.member.id);
        Ok(answers::may_tell(tx, who, &what, Timestamp(i64::MIN), mail.now).await?)
    }

    async fn unproven(&self, tx: &mut Tx, mail: &Mail<'_>) -> Result<(), EffectProblem> {
        let since = Timestamp(mail.now.millis() - UNPROVEN_EVERY.as_millis() as i64);
        let who = (mail.thread.thread, mail.member.id);
        if !answers::may_tell(tx, who, "unproven", since, mail.now).await? {
            return Ok(());
        }
        let action = format!(
            "If it was you: answer from {} through your own mail server, which has to sign for that domain (DKIM). \
             `tidings inbound list` says why it is held. You hear of this once an hour at most.",
            mail.member.address
        );
        let told = Told {
            title: "A mail in your name is held",
            reason: "A mail came to the address that was made for you, and nothing proves that you wrote it. Nothing of it was sent.",
            action: &action,
            ..Told::default()
        };
        self.tell(tx, who_is(mail), told, mail.now).await
    }

    async fn obey(&self, tx: &mut Tx, mail: &Mail<'_>) -> Result<(), EffectProblem> {
        if mail.thread.address.is_empty() {
            // The notices about them are wiped as well, and cannot be read.
            return self.come_back(tx, mail, &Refusal::Erased.to_string(), "").await;
        }
        let parsed = mail.message.parsed;
        let (seen, notice) = self.told_of(tx, mail).await?.unwrap_or_default();
        let theirs = answers::words_of_subscriber(tx, mail.thread.thread).await?;
        let own = trim::own_words(&parsed.text, ABOVE, &parsed.signature);
        let doubt = own.doubt.as_deref();
        let own = relayed(&own.words, &theirs, &notice);
        let orders = match staff_order::read(&own) {
            Ok(orders) => orders,
            Err(problem) => return self.come_back(tx, mail, &problem.to_string(), &own).await,
        };
        let heir = match orders.assign.as_deref().map(|name| self.member(name)) {
            Some(None) => {
                let names: Vec<&str> = self.staff.iter().map(|member| member.name.as_str()).collect();
                let why = format!("nobody of that name answers here; there are {}", names.join(", "));
                return self.come_back(tx, mail, &why, &own).await;
            }
            Some(heir) => heir,
            None => None,
        };
        let text = orders.text.as_str();
        let done = if orders.note {
            self.note(tx, mail, &orders.text).await?;
            !orders.text.is_empty()
        } else if orders.send {
            self.send(tx, mail).await?
        } else if text.is_empty() && !carries_files(mail.message.files) && (orders.close || heir.is_some()) {
            true
        } else {
            self.reply(tx, mail, &orders, (seen, text, doubt)).await?
        };
        if !done {
            return Ok(());
        }
        let by = format!("by {}", mail.member.name);
        if let Some(heir) = heir {
            self.hand_over(tx, mail.thread.thread, Some(heir), &by, mail.now).await?;
        }
        if orders.close {
            self.close(tx, mail.thread.thread, ("mail", &by), mail.now).await?;
        }
        Ok(())
    }

    /// Answers whether it was sent.
    async fn reply(
        &self,
        tx: &mut Tx,
        mail: &Mail<'_>,
        orders: &Orders,
        (seen, text, doubt): (i64, &str, Option<&str>),
    ) -> Result<bool, EffectProblem> {
        let message = mail.message;
        let answer = Answer {
            thread: mail.thread.thread,
            author: Some(mail.member),
            also_called: message.from.map_or("", |from| from.name.as_str()),
            text,
            doubt,
            files: message.files,
            seen,
            insists: false,
            closes: orders.close,
            inbound: Some((message.inbound, message.parsed.message_id.as_deref())),
        };
        let answered = match self.asked_first(tx, (mail.thread, &message), &answer).await? {
            Some(refusal) => Answered::Refused(refusal),
            None => self.answer(tx, &answer, mail.now).await?,
        };
        let refusal = match answered {
            Answered::Sent { thread, .. } => {
                let by = format!("by {}", mail.member.name);
                audit::record(tx, mail.now, "mail", "inbox reply", &thread.to_string(), &by).await?;
                return Ok(true);
            }
            Answered::Refused(refusal) => refusal,
        };
        let Refusal::Asks(questions) = &refusal else {
            self.come_back(tx, mail, &refusal.to_string(), text).await?;
            return Ok(false);
        };
        self.hold(tx, (&answer, mail.member), mail.now).await?;
        self.ask(tx, mail, questions, text).await?;
        Ok(false)
    }

    /// The answer is kept; its author is asked whether it is to go. They are told of all that speaks against it, because `#send` means
    /// all of it.
    async fn ask(
        &self,
        tx: &mut Tx,
        mail: &Mail<'_>,
        questions: &[Question],
        text: &str,
    ) -> Result<(), EffectProblem> {
        let content = self.press.shelf.get();
        let newest = threads::posts(tx, mail.thread.thread).await?.last().map(|post| post.id);
        let mut told =
            Told { title: "Your answer waits for a word of yours", text, shows: newest, ..Told::default() };
        let others: Vec<&Question> =
            questions.iter().filter(|asks| !matches!(asks, Question::Crossed { .. })).collect();
        let mut reason = String::new();
        if !others.is_empty() {
            reason = format!("It was not sent: {}.", asked(others.iter().copied()));
        }
        for question in questions {
            let Question::Crossed { name, at, words } = question else { continue };
            let at = content.publication.date(*at, "%A %-d %B, %H:%M");
            let blank = if reason.is_empty() { "" } else { " " };
            reason.push_str(&format!(
                "{blank}{name} answered on {at}, before your words came. This is what the subscriber was told:"
            ));
            told.theirs = words;
        }
        told.action = match others.iter().any(|asks| matches!(asks, Question::Files(_))) {
            true => {
                "Answer with #send alone, and your words go without these files; or write a new answer, and only that goes."
            }
            false => {
                "Answer with #send alone, and your words go as they stand; or write a new answer, and only that goes."
            }
        };
        told.reason = &reason;
        self.tell(tx, who_is(mail), told, mail.now).await
    }

    /// Answers whether it was sent. Who answered since it was held is asked about as well.
    async fn send(&self, tx: &mut Tx, mail: &Mail<'_>) -> Result<bool, EffectProblem> {
        let Some(held) = answers::held(tx, mail.thread.thread, mail.member.id).await? else {
            self.come_back(tx, mail, "no answer of yours waits in this conversation", "").await?;
            return Ok(false);
        };
        if came_before(tx, &mail.message).await? {
            self.come_back(tx, mail, SENT_BEFORE, "").await?;
            return Ok(false);
        }
        let (thread, member) = who_is(mail);
        if let Some(question) = crossed(tx, (thread, member.id), held.seen).await? {
            self.hold_again(tx, (member, &held), thread, mail.now).await?;
            self.ask(tx, mail, &[question], &held.text).await?;
            return Ok(false);
        }
        self.send_held(tx, (mail.thread, mail.member, &held), mail.now).await?;
        let by = format!("by {}, who was asked", mail.member.name);
        audit::record(tx, mail.now, "mail", "inbox reply", &mail.thread.thread.to_string(), &by).await?;
        Ok(true)
    }

    async fn note(&self, tx: &mut Tx, mail: &Mail<'_>, text: &str) -> Result<(), EffectProblem> {
        if text.is_empty() {
            return self.come_back(tx, mail, "a note needs words", "").await;
        }
        let message = mail.message;
        let attachments = super::threading::attached(message.parsed);
        let post = NewPost {
            message_id: message.parsed.message_id.as_deref(),
            inbound_id: Some(message.inbound),
            attachments: &attachments,
            ..NewPost::note(mail.thread.thread, mail.member, text)
        };
        threads::add_post(tx, &post, mail.now).await?;
        Ok(())
    }

    async fn come_back(
        &self,
        tx: &mut Tx,
        mail: &Mail<'_>,
        why: &str,
        text: &str,
    ) -> Result<(), EffectProblem> {
        let reason = format!("{NOTHING_SENT} The reason: {why}.");
        let told = Told {
            title: "Your mail came back",
            reason: &reason,
            action: "Answer this mail, or the one before, to try again.",
            text,
            ..Told::default()
        };
        self.tell(tx, who_is(mail), told, mail.now).await
    }

    /// What the member had been told when they wrote: the post, and the words of that mail.
    async fn told_of(&self, tx: &mut Tx, mail: &Mail<'_>) -> Result<Option<(i64, String)>, EffectProblem> {
        let parsed = mail.message.parsed;
        let who = (mail.thread.thread, mail.member.id);
        let cited = parsed.in_reply_to.iter().chain(parsed.references.iter().rev()).take(CITED);
        let mut found = None;
        for delivery in cited.filter_map(|id| delivery_in_message_id(&self.keyring, id)) {
            found = answers::told_of(tx, who, Some(delivery)).await?;
            if found.is_some() {
                break;
            }
        }
        let found = match found {
            Some(found) => Some(found),
            None => answers::told_of(tx, who, None).await?,
        };
        let Some((post, body)) = found else { return Ok(None) };
        let (_, body) = bodies::by_id(tx, body).await?;
        let body: crate::domain::body::Body =
            serde_json::from_str(&body).map_err(|error| EffectProblem::Message(error.to_string()))?;
        Ok(Some((post, crate::domain::body::fill(&body.text, &Default::default()))))
    }

    /// The member of this name or address.
    pub fn member(&self, name: &str) -> Option<&StaffRow> {
        let wanted = name.trim().trim_start_matches('@').to_lowercase();
        let is = |member: &&StaffRow| {
            let address = member.address.to_lowercase();
            let first = member.name.split_whitespace().next().unwrap_or("").to_lowercase();
            member.name.to_lowercase() == wanted
                || address == wanted
                || address.split('@').next() == Some(wanted.as_str())
                || first == wanted
        };
        let mut found = self.staff.iter().filter(is);
        let first = found.next();
        // Two who are called alike are told apart by the whole name or address.
        let exact = self
            .staff
            .iter()
            .find(|member| member.name.to_lowercase() == wanted || member.address.to_lowercase() == wanted);
        exact.or(if found.next().is_none() { first } else { None })
    }

    /// Hands a conversation to a member, who is told of it, or to nobody.
    ///
    /// # Errors
    /// When the database fails or the notice cannot be rendered.
    pub async fn hand_over(
        &self,
        tx: &mut Tx,
        thread: i64,
        heir: Option<&StaffRow>,
        by: &str,
        now: Timestamp,
    ) -> Result<(), EffectProblem> {
        threads::assign(tx, thread, heir.map(|member| member.id)).await?;
        let to = heir.map_or("nobody", |member| member.name.as_str());
        audit::record(tx, now, "desk", "inbox assign", &thread.to_string(), &format!("to {to}, {by}"))
            .await?;
        if let Some(member) = heir {
            self.tell_member(tx, thread, member, now).await?;
        }
        Ok(())
    }

    /// Ends a conversation. `door`: the one it came through, and who did it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn close(
        &self,
        tx: &mut Tx,
        thread: i64,
        (door, by): (&str, &str),
        now: Timestamp,
    ) -> Result<bool, EffectProblem> {
        let changed = threads::set_open(tx, thread, false, now).await?;
        audit::record(tx, now, door, "inbox close", &thread.to_string(), by).await?;
        Ok(changed)
    }
}

fn who_is<'a>(mail: &Mail<'a>) -> (i64, &'a StaffRow) {
    (mail.thread.thread, mail.member)
}

/// Files are read only where somebody of the house may answer.
pub(super) fn may_carry_files(token: Option<Subject>) -> bool {
    token.is_some_and(|token| token.purpose == Purpose::Staff)
}

/// The files of a message, off the reactor.
pub(super) async fn files_of(raw: std::sync::Arc<Vec<u8>>) -> Result<Vec<File>, EffectProblem> {
    let read = tokio::task::spawn_blocking(move || crate::mail::files::read(&raw)).await;
    read.map_err(|error| EffectProblem::Message(format!("reading its files broke: {error}")))
}
