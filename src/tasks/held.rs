//! Answers that wait for a word of their author: held as they would go, asked about, and sent at `#send`.
//!
//! The word is about the answer that the author was asked about in the mail that they answer. Where that is not to be seen, it is
//! about the only one that waits; of several none goes, and the author is asked which. What was ordered beside an answer (`#close`,
//! `#assign`) waits with it.

use super::answer::{Answer, Question, Said, asked, clean, crossed, shown};
use super::before_release::SENT_BEFORE;
use super::receive::EffectProblem;
use super::restore::came_before;
use super::staff_mail::{Mail, who_is};
use super::threading::Desk;
use super::told::Told;
use crate::domain::staff_order::Orders;
use crate::mail::files::{File, Shown};
use crate::runtime::Timestamp;
use crate::store::answers::{self, BodyFile};
use crate::store::held::{self, Held, NOBODY, NewHeld};
use crate::store::staff::StaffRow;
use crate::store::threads::{self, Attachment, Participant};
use crate::store::{Tx, audit};

/// Which held answer a mail means.
pub(super) enum Meant {
    None,
    One(Box<Held>),
    /// It answers none of the mails that ask, and more than one waits.
    Several,
}

impl Desk {
    /// The held answer that a mail is about. `cited`: mails of ours that it answers, the newest first.
    pub(super) async fn meant(
        &self,
        tx: &mut Tx,
        who: (i64, i64),
        cited: &[i64],
    ) -> Result<(Meant, bool), EffectProblem> {
        let mut waiting = held::of_author(tx, who.0, who.1).await?;
        let by_mail = cited.first().and_then(|first| {
            waiting.iter().position(|held| held.asked_in.is_some() && held.asked_in == Some(*first))
        });
        if let Some(at) = by_mail {
            return Ok((Meant::One(Box::new(waiting.swap_remove(at))), true));
        }
        Ok(match (waiting.pop(), waiting.is_empty()) {
            (None, _) => (Meant::None, false),
            (Some(only), true) => (Meant::One(Box::new(only)), false),
            (Some(_), false) => (Meant::Several, false),
        })
    }

    /// Keeps an answer until its author says that it may go, as it would go then. Answers its number among those.
    pub(super) async fn hold(
        &self,
        tx: &mut Tx,
        (answer, author): (&Answer<'_>, &StaffRow),
        assign_to: Option<i64>,
        now: Timestamp,
    ) -> Result<Option<i64>, EffectProblem> {
        let Some(thread) = threads::participant(tx, answer.thread).await? else { return Ok(None) };
        let files = clean(answer.files);
        let body_id = self.prepare(tx, &thread, answer.text, &files).await?;
        let files = serde_json::to_string(&shown(&files))
            .map_err(|error| EffectProblem::Message(error.to_string()))?;
        let new = NewHeld {
            thread: thread.thread,
            staff: author.id,
            inbound_id: answer.inbound.map(|(id, _)| id),
            body_id,
            text: answer.text,
            files: &files,
            closes: answer.closes,
            assign_to,
        };
        if let Some(older) = answer.instead_of {
            held::end(tx, older, "dropped").await?;
        }
        Ok(Some(held::hold(tx, &new, now).await?))
    }

    /// Keeps what is held once more, because its author is asked once more.
    async fn hold_again(
        &self,
        tx: &mut Tx,
        (author, held): (&StaffRow, &Held),
        thread: i64,
        now: Timestamp,
    ) -> Result<Option<i64>, EffectProblem> {
        let file = |file: BodyFile| File {
            name: file.name,
            media_type: file.media_type,
            octets: file.octets,
            shown: Shown::Nowhere,
        };
        let files: Vec<File> = answers::files(tx, held.body_id).await?.into_iter().map(file).collect();
        let answer = Answer {
            thread,
            author: Some(author),
            also_called: "",
            text: &held.text,
            doubt: None,
            files: &files,
            seen: held.seen,
            insists: false,
            closes: held.closes,
            inbound: held.inbound_id.map(|id| (id, None)),
            instead_of: Some(held.id),
        };
        self.hold(tx, (&answer, author), held.assign_to, now).await
    }

    /// Sends what was held, at its author's word.
    async fn send_held(
        &self,
        tx: &mut Tx,
        (thread, author, held): (&Participant, &StaffRow, &Held),
        now: Timestamp,
    ) -> Result<(), EffectProblem> {
        let files: Vec<Attachment> =
            serde_json::from_str(&held.files).map_err(|error| EffectProblem::Message(error.to_string()))?;
        let inbound = held.inbound_id.map(|id| (id, None));
        let said =
            Said { staff: Some(author.id), text: &held.text, files: &files, body_id: held.body_id, inbound };
        self.say(tx, thread, Some(author), said, now).await?;
        held::end(tx, held.id, "sent").await?;
        if held.closes {
            threads::set_open(tx, thread.thread, false, now).await?;
        }
        Ok(())
    }

    /// `#send`. Answers whether it was sent. Who answered since it was held is asked about as well.
    pub(super) async fn send(
        &self,
        tx: &mut Tx,
        mail: &Mail<'_>,
        orders: &Orders,
    ) -> Result<bool, EffectProblem> {
        let (thread, member) = who_is(mail);
        let cited = self.cited(mail.message.parsed);
        let held = match self.meant(tx, (thread, member.id), &cited).await?.0 {
            Meant::One(held) => held,
            Meant::None => {
                self.come_back(tx, mail, "no answer of yours waits in this conversation", "").await?;
                return Ok(false);
            }
            Meant::Several => {
                let why = "several answers of yours wait in this conversation; answer the mail that asked about the one that you mean";
                self.come_back(tx, mail, why, "").await?;
                return Ok(false);
            }
        };
        if came_before(tx, &mail.message).await? {
            self.come_back(tx, mail, SENT_BEFORE, "").await?;
            return Ok(false);
        }
        if let Some(question) = crossed(tx, (thread, member.id), held.seen).await? {
            let again = self.hold_again(tx, (member, &held), thread, mail.now).await?;
            let heir = self.waits_for(held.assign_to);
            self.ask(tx, mail, (&[question], again), (&held.text, held.closes, heir)).await?;
            return Ok(false);
        }
        self.send_held(tx, (mail.thread, mail.member, &held), mail.now).await?;
        let by = format!("by {}, who was asked", mail.member.name);
        audit::record(tx, mail.now, "mail", "inbox reply", &mail.thread.thread.to_string(), &by).await?;
        // What the word itself orders counts more than what was ordered before.
        if let (Some(heir), None) = (self.waits_for(held.assign_to), &orders.assign) {
            self.hand_over(tx, thread, heir, (Some(member), &by), mail.now).await?;
        }
        Ok(true)
    }

    /// To whom a conversation goes with a held answer, if it does. Who has left the desk since takes nothing over.
    fn waits_for(&self, assign_to: Option<i64>) -> Option<Option<&StaffRow>> {
        match assign_to? {
            NOBODY => Some(None),
            id => self.staff.iter().find(|member| member.id == id).map(Some),
        }
    }

    /// The answer is kept; its author is asked whether it is to go. They are told of all that speaks against it, because `#send` means
    /// all of it.
    pub(super) async fn ask(
        &self,
        tx: &mut Tx,
        mail: &Mail<'_>,
        (questions, held): (&[Question], Option<i64>),
        (text, closes, heir): (&str, bool, Option<Option<&StaffRow>>),
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
        let without = others.iter().any(|asks| matches!(asks, Question::Files(_)));
        let how = if without { "without these files" } else { "as they stand" };
        let action = format!(
            "Answer this mail with #send alone, and your words go {how}{}; or answer it with a new text, and only that goes.",
            ordered(closes, heir)
        );
        told.action = &action;
        told.reason = &reason;
        let delivery = self.tell(tx, who_is(mail), told, mail.now).await?;
        if let (Some(held), Some(delivery)) = (held, delivery) {
            held::asked_in(tx, held, delivery).await?;
        }
        Ok(())
    }
}

/// What happens together with a held answer.
fn ordered(closes: bool, heir: Option<Option<&StaffRow>>) -> String {
    let name = |heir: Option<&StaffRow>| heir.map_or("nobody".to_owned(), |heir| heir.name.clone());
    let heir = heir.map(|heir| format!("the conversation goes to {}", name(heir)));
    let orders: Vec<String> = heir.into_iter().chain(closes.then(|| "it is closed".to_owned())).collect();
    if orders.is_empty() { String::new() } else { format!(", and {}", orders.join(" and ")) }
}
