//! The automatic answer to a question: that a person will read it, or, where a tier has no answers from a person, that nobody will; and
//! to the bare word for leaving, whether it was them.
//!
//! Headers do not tell every program from a person, so it is counted as well: one in a conversation, one a day to an address, and only to
//! people who are subscribers (RFC 3834 section 2, and what two desks do to each other). It carries the marks that keep programs from
//! answering it, and it is a post of its conversation, so that a reply to it opens nothing new.

use std::time::Duration;

use super::frames;
use super::readers::unprintable;
use super::receive::EffectProblem;
use super::threading::Desk;
use crate::domain::body::{Body, fill};
use crate::domain::delivery::DeliveryKind;
use crate::domain::entitlement::effective_tier;
use crate::domain::subscriber::Subscriber;
use crate::domain::thread::PostKind;
use crate::domain::token::{Purpose, Subject};
use crate::mail::compose::Frame;
use crate::render::{LeaveInput, SupportAckInput, render_leave, render_support_ack};
use crate::runtime::Timestamp;
use crate::store::answers;
use crate::store::deliveries::{self, DeskMail};
use crate::store::threads::{self, NewPost};
use crate::store::{Tx, bodies, requests};

/// One address gets no second automatic answer within this time, however many conversations it opens.
const EVERY: Duration = Duration::from_secs(86_400);

/// Characters of a person's subject that go into a header.
const SUBJECT_SHOWN: usize = 200;

impl Desk {
    /// Queues the automatic answer to a conversation that `person` has just opened, if there has to be one.
    pub(super) async fn acknowledge(
        &self,
        tx: &mut Tx,
        thread: i64,
        person: &Subscriber,
        now: Timestamp,
    ) -> Result<(), EffectProblem> {
        let since = now - EVERY;
        if answers::automatic(tx, thread, &person.address.key(), since).await? != (0, 0) {
            return Ok(());
        }
        let content = self.press.shelf.get();
        let publication = &content.publication;
        let lapsed = publication.lapsed_tier.as_ref();
        let counts_as = effective_tier(&person.tier, person.term_ends_at, lapsed, now);
        let Some(tier) = counts_as.and_then(|tier| publication.tier(tier)) else { return Ok(()) };
        let subject = threads::show(tx, thread).await?.map(|row| row.subject).unwrap_or_default();
        let subject: String = subject.chars().take(SUBJECT_SHOWN).collect();
        let input = SupportAckInput {
            publication,
            support: &content.support,
            desk: &self.press.desk_name,
            subject: &subject,
            name: &person.name,
            tier,
            promise: "",
        };
        let body = render_support_ack(&content.templates, &input).map_err(unprintable)?;
        self.answer_automatically(tx, thread, person, &body, now).await
    }

    /// Asks somebody whose mail says that they want to leave, and does not prove who wrote it, whether they do: one link to press, once
    /// a day. Nothing else follows from such a mail, so that nobody can end anybody's mails.
    pub(super) async fn ask_to_leave(
        &self,
        tx: &mut Tx,
        thread: i64,
        person: &Subscriber,
        now: Timestamp,
    ) -> Result<(), EffectProblem> {
        let since = now - EVERY;
        if !requests::ask_to_leave(tx, person.id, since, now).await? {
            return Ok(());
        }
        let content = self.press.shelf.get();
        let token = self.keyring.mint(Subject { purpose: Purpose::Unsubscribe, row: person.id, second: 0 });
        let input = LeaveInput {
            publication: &content.publication,
            support: &content.support,
            address: person.address.as_str(),
            unsubscribe: &format!("{}/u/{token}", content.publication.url),
        };
        let body = render_leave(&content.templates, &input).map_err(unprintable)?;
        self.answer_automatically(tx, thread, person, &body, now).await
    }

    /// Queues an automatic mail in a conversation, and shows it there.
    async fn answer_automatically(
        &self,
        tx: &mut Tx,
        thread: i64,
        person: &Subscriber,
        body: &Body,
        now: Timestamp,
    ) -> Result<(), EffectProblem> {
        let publication = &self.press.shelf.get().publication;
        let (in_reply_to, references) = self.seen_ids(tx, thread).await?;
        let frame = Frame { in_reply_to, references, ..frames::acknowledgement(&self.settings, publication) };
        let text = fill(&body.text, &Default::default());
        let json = |error: serde_json::Error| EffectProblem::Message(error.to_string());
        let (frame, body) =
            (serde_json::to_string(&frame).map_err(json)?, serde_json::to_string(body).map_err(json)?);
        let body_id = bodies::add(tx, &frame, &body).await?;
        let mail = DeskMail {
            kind: DeliveryKind::Notice,
            subscriber_id: Some(person.id),
            thread_id: Some(thread),
            address: None,
            staff_id: None,
            body_id,
        };
        let delivery = deliveries::queue_desk_mail(tx, mail, now).await?;
        let desk = &self.settings.desk.mailbox;
        let post = NewPost {
            thread,
            kind: PostKind::Automatic,
            from_name: &desk.name,
            from_address: desk.address.as_str(),
            text: text.trim(),
            folded: "",
            message_id: None,
            inbound_id: None,
            staff_id: None,
            attachments: &[],
        };
        let post = threads::add_post(tx, &post, now).await?;
        Ok(answers::is_about(tx, delivery, post).await?)
    }
}
