//! A member of staff writes to the address that was made for them: an answer, a note, a command, or something that only looks like
//! one of these.
//!
//! The verdict has proven who wrote it. Here it is done, and what cannot be done is told to that member and to nobody else: a subscriber
//! gets an answer or nothing. What is not proven is told to the member's registered address and to operators in fixed words, because
//! who forges a mail must not write ours.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::answer::{Answer, Answered, Refusal, carries_files};
use super::held::Meant;
use super::receive::EffectProblem;
use super::threading::{Desk, Message};
use super::told::Told;
use crate::domain::alarm::AlarmCause;
use crate::domain::relayed::relayed;
use crate::domain::staff_order::{self, ABOVE, Heir, Orders};
use crate::domain::token::{Purpose, Subject};
use crate::domain::verdict::Verdict;
use crate::mail::files::File;
use crate::mail::parse::Parsed;
use crate::mail::token::delivery_in_message_id;
use crate::mail::trim;
use crate::runtime::Timestamp;
use crate::store::answers;
use crate::store::held::NOBODY;
use crate::store::staff::StaffRow;
use crate::store::threads::{self, NewPost, Participant};
use crate::store::{Tx, audit, bodies};

/// One member hears of forged mail in one conversation this often at most.
const UNPROVEN_EVERY: Duration = Duration::from_secs(3600);

/// Ids of a mail that are looked up.
const CITED: usize = 3;

const NOTHING_SENT: &str = "Nothing of it was sent or done.";

/// What stands in place of a note's words.
const SENT_ON: &str = "(sent on without words)";

/// A member's mail about a conversation.
pub(super) struct Mail<'a> {
    pub member: &'a StaffRow,
    pub thread: &'a Participant,
    pub message: Message<'a>,
    pub now: Timestamp,
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
        let number = threads::hold(tx, row).await?;
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
            Verdict::InternalNote if thread.address.is_empty() => self.of_nobody(tx, &mail).await?,
            Verdict::InternalNote if self.is_new(tx, &mail).await? => {
                let sent_on = message.token.is_some_and(|token| token.purpose == Purpose::Staff);
                let (words, folded) = words_of_note(message, sent_on);
                if self.note(tx, &mail, (&words, &folded)).await? && sent_on {
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
        for delivery in self.cited(message.parsed) {
            let Some(thread) = answers::notice_about(tx, delivery, member.id).await? else { continue };
            let thread = threads::current(tx, thread).await?;
            let to_us_too = |token: Subject| token.purpose == Purpose::Staff && token.second == member.id;
            if message.also.is_some_and(to_us_too) {
                // The same mail comes, or came, to the address that was made for them.
                return Ok(Some(thread));
            }
            let who = (thread, member.id);
            let what = format!("misdirected {}", fingerprint(message));
            if answers::may_tell(tx, who, &what, Timestamp(i64::MIN), now).await? {
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
        if mail.message.parsed.message_id.is_none() {
            return Ok(true);
        }
        let what = fingerprint(mail.message);
        let who = (mail.thread.thread, mail.member.id);
        Ok(answers::may_tell(tx, who, &what, Timestamp(i64::MIN), mail.now).await?)
    }

    async fn unproven(&self, tx: &mut Tx, mail: &Mail<'_>) -> Result<(), EffectProblem> {
        let since = mail.now - UNPROVEN_EVERY;
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
        self.tell(tx, who_is(mail), told, mail.now).await?;
        Ok(())
    }

    /// The person was erased: the notices about them are wiped as well, and nothing new is kept.
    async fn of_nobody(&self, tx: &mut Tx, mail: &Mail<'_>) -> Result<(), EffectProblem> {
        self.come_back(tx, mail, &Refusal::Erased.to_string(), "").await
    }

    async fn obey(&self, tx: &mut Tx, mail: &Mail<'_>) -> Result<(), EffectProblem> {
        if mail.thread.address.is_empty() {
            return self.of_nobody(tx, mail).await;
        }
        let parsed = mail.message.parsed;
        let (seen, notice) = self.told_of(tx, mail).await?.unwrap_or((0, Some(String::new())));
        let theirs = answers::words_of_subscriber(tx, mail.thread.thread).await?;
        let own = trim::own_words(&parsed.text, ABOVE, &parsed.signature);
        let doubt = own.doubt;
        let own = relayed(&own.words, &theirs, notice.as_deref().unwrap_or_default());
        let orders = match staff_order::read(&own) {
            Ok(orders) => orders,
            Err(problem) => return self.come_back(tx, mail, &problem.to_string(), &own).await,
        };
        let heir = match self.named(&orders, mail.member) {
            Ok(heir) => heir,
            Err(why) => return self.come_back(tx, mail, &why, &own).await,
        };
        let text = orders.text.as_str();
        // A notice that is too old to be here cannot be told from their own words.
        let doubt = doubt.or_else(|| text.lines().next().filter(|_| notice.is_none()).map(str::to_owned));
        let orders_only = orders.close || orders.reopen || heir.is_some();
        let done = if orders.note {
            self.note(tx, mail, (&orders.text, "")).await?
        } else if orders.send {
            self.send(tx, mail, &orders).await?
        } else if text.is_empty() && !carries_files(mail.message.files) && orders_only {
            true
        } else {
            self.reply(tx, mail, (&orders, heir), (seen, &own, doubt.as_deref())).await?
        };
        if !done {
            return Ok(());
        }
        let by = format!("by {}", mail.member.name);
        if let Some(heir) = heir {
            self.hand_over(tx, mail.thread.thread, heir, (Some(mail.member), &by), mail.now).await?;
        }
        if orders.close {
            self.close(tx, mail.thread.thread, ("mail", &by), mail.now).await?;
        }
        if orders.reopen {
            self.reopen(tx, mail).await?;
        }
        Ok(())
    }

    async fn reopen(&self, tx: &mut Tx, mail: &Mail<'_>) -> Result<(), EffectProblem> {
        threads::set_open(tx, mail.thread.thread, true, mail.now).await?;
        let (number, by) = (mail.thread.thread.to_string(), format!("by {}", mail.member.name));
        Ok(audit::record(tx, mail.now, "mail", "inbox reopen", &number, &by).await?)
    }

    /// Who the orders name; `Some(None)`: nobody shall have it.
    fn named<'a>(
        &'a self,
        orders: &Orders,
        member: &'a StaffRow,
    ) -> Result<Option<Option<&'a StaffRow>>, String> {
        Ok(match &orders.assign {
            None => None,
            Some(Heir::Me) => Some(Some(member)),
            Some(Heir::Nobody) => Some(None),
            Some(Heir::Named(name)) => {
                let names =
                    || self.staff.iter().map(|member| member.name.as_str()).collect::<Vec<_>>().join(", ");
                let found = self.member(name);
                Some(Some(
                    found
                        .ok_or_else(|| format!("nobody of that name answers here; there are {}", names()))?,
                ))
            }
        })
    }

    /// Answers whether it was sent.
    async fn reply(
        &self,
        tx: &mut Tx,
        mail: &Mail<'_>,
        (orders, heir): (&Orders, Option<Option<&StaffRow>>),
        (seen, own, doubt): (i64, &str, Option<&str>),
    ) -> Result<bool, EffectProblem> {
        let message = mail.message;
        let text = orders.text.as_str();
        let cited = self.cited(message.parsed);
        // Only a word to the mail that asks takes the place of what is held.
        let instead_of = match self.meant(tx, (mail.thread.thread, mail.member.id), &cited).await? {
            (Meant::One(held), true) => Some(held.id),
            _ => None,
        };
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
            instead_of,
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
            // With its orders, so that it can be sent once more as it was.
            self.come_back(tx, mail, &refusal.to_string(), own).await?;
            return Ok(false);
        };
        let assign_to = heir.map(|heir| heir.map_or(NOBODY, |heir| heir.id));
        let held = self.hold(tx, (&answer, mail.member), assign_to, mail.now).await?;
        self.ask(tx, mail, (questions, held), (text, orders.close, heir)).await?;
        if orders.reopen {
            // It has to be open for the question to be answered, and says nothing to the subscriber.
            self.reopen(tx, mail).await?;
        }
        Ok(false)
    }

    /// Answers whether it was kept.
    async fn note(
        &self,
        tx: &mut Tx,
        mail: &Mail<'_>,
        (text, folded): (&str, &str),
    ) -> Result<bool, EffectProblem> {
        if text.is_empty() {
            self.come_back(tx, mail, "a note needs words", "").await?;
            return Ok(false);
        }
        let message = mail.message;
        let attachments = super::threading::attached(message.parsed);
        let post = NewPost {
            message_id: message.parsed.message_id.as_deref(),
            inbound_id: Some(message.inbound),
            attachments: &attachments,
            folded,
            ..NewPost::note(mail.thread.thread, mail.member, text)
        };
        let post = threads::add_post(tx, &post, mail.now).await?;
        self.tell_of_note(tx, (mail.thread, mail.member), (post, text), mail.now).await?;
        Ok(true)
    }

    pub(super) async fn come_back(
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
        self.tell(tx, who_is(mail), told, mail.now).await?;
        Ok(())
    }

    /// The mails of ours that a message answers, the newest first.
    pub(super) fn cited(&self, parsed: &Parsed) -> Vec<i64> {
        let ids = parsed.in_reply_to.iter().chain(parsed.references.iter().rev()).take(CITED);
        ids.filter_map(|id| delivery_in_message_id(&self.keyring, id)).collect()
    }

    /// What the member had been told when they wrote: the post, and the words of that mail, where they are not yet thrown away.
    async fn told_of(
        &self,
        tx: &mut Tx,
        mail: &Mail<'_>,
    ) -> Result<Option<(i64, Option<String>)>, EffectProblem> {
        let who = (mail.thread.thread, mail.member.id);
        let mut found = None;
        for delivery in self.cited(mail.message.parsed) {
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
        if bodies::is_emptied(&body) {
            return Ok(Some((post, None)));
        }
        let body: crate::domain::body::Body =
            serde_json::from_str(&body).map_err(|error| EffectProblem::Message(error.to_string()))?;
        Ok(Some((post, Some(crate::domain::body::fill(&body.text, &Default::default())))))
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
        (author, by): (Option<&StaffRow>, &str),
        now: Timestamp,
    ) -> Result<(), EffectProblem> {
        threads::assign(tx, thread, heir.map(|member| member.id)).await?;
        let to = heir.map_or("nobody", |member| member.name.as_str());
        audit::record(tx, now, "desk", "inbox assign", &thread.to_string(), &format!("to {to}, {by}"))
            .await?;
        // Who takes a conversation needs no mail about it.
        if let Some(member) = heir.filter(|member| author.is_none_or(|author| member.id != author.id)) {
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

pub(super) fn who_is<'a>(mail: &Mail<'a>) -> (i64, &'a StaffRow) {
    (mail.thread.thread, mail.member)
}

/// A message's id and words: what has both is the same one.
fn fingerprint(message: Message<'_>) -> String {
    let words = Sha256::digest(message.parsed.text.as_bytes());
    let id = message.parsed.message_id.as_deref().unwrap_or_default();
    format!("<{id}> {}", data_encoding::HEXLOWER.encode(&words[..8]))
}

/// What is kept of a note, and what is folded beside it. Of a mail that was sent on without a word, all of it: that is what was meant.
fn words_of_note(message: Message<'_>, sent_on: bool) -> (String, String) {
    let trimmed = trim::trim(&message.parsed.text);
    if !sent_on {
        return (trimmed.shown, String::new());
    }
    if !trimmed.shown.trim().is_empty() {
        return (trimmed.shown, trimmed.folded);
    }
    let whole = message.parsed.text.trim();
    let words = match (whole.is_empty(), message.parsed.attachments.is_empty()) {
        (false, _) => whole.to_owned(),
        (true, false) => SENT_ON.to_owned(),
        (true, true) => String::new(),
    };
    (words, String::new())
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
