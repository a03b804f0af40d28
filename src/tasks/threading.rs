//! Conversations: which one a message belongs to, and who is told about it.
//!
//! The rule is `domain::thread`'s; here are its lookups. A thread is found by the token of the address, then by cited
//! Message-IDs, those of posts and those that we minted ourselves, and only for somebody who takes part in it.

use std::sync::Arc;
use std::time::Duration;

use super::alarm::Alarms;
use super::receive::EffectProblem;
use crate::domain::address::Address;
use crate::domain::alarm::AlarmCause;
use crate::domain::loop_guard::{LOOKED_AT, sounds_like_a_program};
use crate::domain::publication::{Publication, TierId};
use crate::domain::settings::Settings;
use crate::domain::thread::{Belongs, Candidate, Link, PostKind, TOO_OLD, ThreadState, cited, find_thread};
use crate::domain::token::{Purpose, Subject};
use crate::mail::files::File;
use crate::mail::parse::{Parsed, Person};
use crate::mail::token::{Keyring, delivery_in_message_id};
use crate::mail::trim;
use crate::runtime::Timestamp;
use crate::store::deliveries::{self, DeskMail, Origin};
use crate::store::people;
use crate::store::staff::StaffRow;
use crate::store::threads::{self, Attachment, NewPost, NewThread, ThreadRow};
use crate::store::{StoreError, Tx, answers, bodies, told_mails};

/// Conversations of people who are no subscribers that staff are told about in an hour.
const STRANGERS_AN_HOUR: i64 = 20;
const HOUR: Duration = Duration::from_secs(3600);

/// The copies of one message come within this time: a server tries each recipient for as long.
const ANOTHER_COPY: Duration = Duration::from_secs(7 * 86_400);

/// A second answer to the same edition within this time goes on in the same thread.
const SAME_EDITION: Duration = Duration::from_secs(14 * 86_400);

/// A received message with what its address said.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    pub inbound: i64,
    pub token: Option<Subject>,
    pub from: Option<&'a Person>,
    pub parsed: &'a Parsed,
    /// Of the verdict.
    pub reason: &'a str,
    /// Why no program of ours answers it, if none may.
    pub unanswered: Option<&'static str>,
    /// Its sender is a subscriber who may want to leave, and is not proven.
    pub asks_to_leave: bool,
    /// Where somebody of the house may answer with some.
    pub files: &'a [File],
    /// What another address of ours says that its To or Cc names: one mail may come to two of them.
    pub also: Option<Subject>,
}

/// The people who answer, and all that their answers and notices are made with.
pub struct Desk {
    pub staff: Vec<StaffRow>,
    pub press: super::notice::Press,
    pub keyring: Arc<Keyring>,
    pub settings: Settings,
    pub alarms: Alarms,
}

/// What the address and the cited ids lead to.
#[derive(Default)]
struct Leads {
    candidates: Vec<Candidate>,
    edition_id: Option<i64>,
}

impl Desk {
    /// A person's words: opens or continues a thread, adds the post, tells the staff. Answers the thread.
    pub(super) async fn converse(
        &self,
        tx: &mut Tx,
        keyring: &Keyring,
        message: Message<'_>,
        now: Timestamp,
    ) -> Result<i64, EffectProblem> {
        let from = sender(message)?;
        if let Some(thread) = self.misdirected(tx, message, &from.key, now).await? {
            return Ok(thread);
        }
        let trimmed = trim::trim(&message.parsed.text);
        if let Some(thread) = said_already(tx, message, (&from, &trimmed.shown), now).await? {
            return Ok(thread);
        }
        let leads = leads(tx, keyring, message, &from.key, now).await?;
        let mut opened_by = None;
        let thread = match find_thread(&from.key, &leads.candidates) {
            Belongs::To { thread, .. } => threads::hold(tx, thread).await?,
            Belongs::New { suspected } => {
                let subscriber = people::by_key(tx, &from.key).await?;
                let name = subscriber
                    .as_ref()
                    .map(|person| person.name.as_str())
                    .filter(|name| !name.is_empty())
                    .unwrap_or(from.name);
                let new = NewThread {
                    subscriber_id: subscriber.as_ref().map(|person| person.id),
                    address: &from.address,
                    address_key: &from.key,
                    name,
                    subject: bare_subject(&message.parsed.subject),
                    edition_id: leads.edition_id,
                    suspected,
                };
                let thread = threads::open(tx, &new, now).await?;
                opened_by = subscriber;
                thread
            }
        };
        let post = self.post(tx, thread, PostKind::Subscriber, message, now).await?;
        self.tell_staff(tx, (thread, post), &from.key, now).await?;
        match (message.unanswered, message.asks_to_leave, opened_by) {
            (Some(_), ..) | (None, false, None) => {}
            // It may have had its answer before the copy was put to use that this store began as.
            _ if super::restore::came_before(tx, &message).await? => {}
            (None, true, _) => {
                if let Some(person) = people::by_key(tx, &from.key).await? {
                    self.ask_to_leave(tx, thread, &person, now).await?;
                }
            }
            (None, false, Some(person)) => self.acknowledge(tx, thread, &person, now).await?,
        }
        Ok(thread)
    }

    /// A program's words: shown in the thread that they belong to, and nothing else. Answers the thread, if there is one.
    pub(super) async fn note_automatic(
        &self,
        tx: &mut Tx,
        keyring: &Keyring,
        message: Message<'_>,
        now: Timestamp,
    ) -> Result<Option<i64>, EffectProblem> {
        let of_staff = [Purpose::Staff, Purpose::StaffNote, Purpose::Editors];
        if message.token.is_some_and(|token| of_staff.contains(&token.purpose)) {
            return Ok(None);
        }
        let Ok(from) = sender(message) else { return Ok(None) };
        let leads = leads(tx, keyring, message, &from.key, now).await?;
        let Belongs::To { thread, .. } = find_thread(&from.key, &leads.candidates) else {
            return Ok(None);
        };
        let thread = threads::hold(tx, thread).await?;
        self.post(tx, thread, PostKind::Automatic, message, now).await?;
        Ok(Some(thread))
    }

    async fn post(
        &self,
        tx: &mut Tx,
        thread: i64,
        kind: PostKind,
        message: Message<'_>,
        now: Timestamp,
    ) -> Result<i64, EffectProblem> {
        let from = sender(message)?;
        let trimmed = trim::trim(&message.parsed.text);
        let attachments = attached(message.parsed);
        let post = NewPost {
            thread,
            kind,
            from_name: from.name,
            from_address: &from.address,
            text: &trimmed.shown,
            folded: &trimmed.folded,
            message_id: message.parsed.message_id.as_deref(),
            inbound_id: Some(message.inbound),
            staff_id: None,
            attachments: &attachments,
        };
        Ok(threads::add_post(tx, &post, now).await?)
    }

    /// Whether notices about people whom nobody knows have come too thick to send another: anybody can write to the desk, and staff's
    /// mailboxes are not to be filled by it. The conversation is in the inbox all the same.
    async fn too_many_strangers(
        &self,
        tx: &mut Tx,
        thread: i64,
        now: Timestamp,
    ) -> Result<bool, EffectProblem> {
        let since = now - HOUR;
        let many = threads::is_a_strangers(tx, thread).await?
            && threads::strangers_since(tx, since).await? > STRANGERS_AN_HOUR;
        if many {
            tracing::warn!(thread, "no notice: more than {STRANGERS_AN_HOUR} strangers wrote within an hour");
        }
        Ok(many)
    }

    /// A notice of this post to the member whom the conversation is assigned to, or to all, due now.
    async fn tell_staff(
        &self,
        tx: &mut Tx,
        (thread, post): (i64, i64),
        from: &str,
        now: Timestamp,
    ) -> Result<(), EffectProblem> {
        if self.staff.is_empty() || self.too_many_strangers(tx, thread, now).await? {
            return Ok(());
        }
        let spoken = told_mails::spoken(tx, thread, LOOKED_AT).await?;
        if let Some(why) = sounds_like_a_program(&spoken, now) {
            let text = format!("conversation {thread}: no notice of the newest message, because {why}");
            self.alarms.raise(AlarmCause::MailLoop, &format!("conversation {thread}"), &text, now);
            return Ok(());
        }
        let assigned = threads::participant(tx, thread).await?.and_then(|found| found.assigned_to);
        // Who has left the desk answers nothing: then all of the others are told.
        let heir = self.staff.iter().find(|member| Some(member.id) == assigned);
        let mut readers: Vec<&StaffRow> =
            heir.map_or_else(|| self.staff.iter().collect(), |member| vec![member]);
        if readers.len() > 1 {
            // A member who asks as a subscriber is not told what they asked.
            readers.retain(|member| member.address.to_lowercase() != from);
        }
        for member in readers {
            self.notice(tx, (thread, post, post), member, now).await?;
        }
        Ok(())
    }

    /// A notice of the newest words of a subscriber to one member.
    pub(super) async fn tell_member(
        &self,
        tx: &mut Tx,
        thread: i64,
        member: &StaffRow,
        now: Timestamp,
    ) -> Result<(), EffectProblem> {
        let posts = threads::posts(tx, thread).await?;
        let theirs = posts.iter().rev().find(|post| post.kind == PostKind::Subscriber);
        match (theirs, posts.last()) {
            (Some(post), Some(newest)) => self.notice(tx, (thread, post.id, newest.id), member, now).await,
            _ => Ok(()),
        }
    }

    /// `newest`: all that is in the conversation by now is in the notice or beside it, so an answer to it knows of that.
    async fn notice(
        &self,
        tx: &mut Tx,
        (thread, post, newest): (i64, i64, i64),
        member: &StaffRow,
        now: Timestamp,
    ) -> Result<(), EffectProblem> {
        let token =
            self.keyring.mint(Subject { purpose: Purpose::StaffNote, row: thread, second: member.id });
        let note_address = self.settings.addresses.reply.with(&token);
        let printed = self.press.print(tx, (thread, post), &note_address).await?;
        let body_id = bodies::add(tx, &printed.frame, &printed.body).await?;
        let mail = DeskMail::to_member(thread, member, body_id);
        let delivery = deliveries::queue_desk_mail(tx, mail, now).await?;
        Ok(answers::is_about(tx, delivery, newest).await?)
    }
}

/// Puts those first whose tier has answers from a person, each group in the order that it had. Who waits stays before who does not.
pub fn paid_first(rows: &mut [ThreadRow], publication: &Publication) {
    let paid = |tier: &str| publication.tier(&TierId::from(tier)).is_some_and(|tier| tier.chat_support);
    rows.sort_by_key(|row| (row.waiting_since.is_none(), !row.tier.as_deref().is_some_and(paid)));
}

/// What is kept of the files of a message; the octets stay in the raw copy.
pub(super) fn attached(parsed: &Parsed) -> Vec<Attachment> {
    let kept = |file: &crate::mail::parse::Attachment| Attachment {
        name: file.name.clone(),
        media_type: file.media_type.clone(),
        bytes: file.bytes as i64,
    };
    parsed.attachments.iter().map(kept).collect()
}

/// Who writes, as the thread names them.
struct Sender<'a> {
    name: &'a str,
    address: String,
    key: String,
}

/// An address that we would not send to is still a person's: it is kept as it stands, and nothing is ever sent there.
fn sender(message: Message<'_>) -> Result<Sender<'_>, EffectProblem> {
    let from = message.from.ok_or_else(|| EffectProblem::Message("it names no sender".into()))?;
    let address = match Address::parse(&from.address) {
        Ok(address) => address.as_str().to_owned(),
        Err(_) => from.address.chars().filter(|c| !c.is_control()).take(254).collect(),
    };
    Ok(Sender { name: &from.name, key: address.to_lowercase(), address })
}

async fn leads(
    tx: &mut Tx,
    keyring: &Keyring,
    message: Message<'_>,
    key: &str,
    now: Timestamp,
) -> Result<Leads, StoreError> {
    let mut leads = Leads::default();
    for token in [message.token, message.also] {
        match token {
            Some(Subject { purpose: Purpose::Thread, row, .. }) => {
                leads.thread(tx, Link::Token, row, now).await?
            }
            Some(Subject { purpose: Purpose::Edition | Purpose::Bounce, row, .. }) => {
                if let Some(origin) = deliveries::origin(tx, row).await? {
                    leads.delivery(tx, Link::Token, &origin, key, now).await?;
                }
            }
            _ => {}
        }
    }
    let cited = cited(&message.parsed.in_reply_to, &message.parsed.references);
    let ids: Vec<String> = cited.iter().map(|(_, id)| (*id).to_owned()).collect();
    let known = threads::by_message_ids(tx, &ids).await?;
    for (link, id) in cited {
        if let Some((_, thread)) = known.iter().find(|(known, _)| known == id) {
            leads.thread(tx, link, *thread, now).await?;
        } else if let Some(delivery) = delivery_in_message_id(keyring, id)
            && let Some(origin) = deliveries::origin(tx, delivery).await?
        {
            leads.delivery(tx, link, &origin, key, now).await?;
        }
    }
    Ok(leads)
}

/// The conversation of a post that already is this message: it was sent to two addresses of ours. The same id alone proves nothing.
async fn said_already(
    tx: &mut Tx,
    message: Message<'_>,
    (from, text): (&Sender<'_>, &str),
    now: Timestamp,
) -> Result<Option<i64>, StoreError> {
    let Some(id) = message.parsed.message_id.as_deref() else { return Ok(None) };
    let since = now - ANOTHER_COPY;
    let files = attached(message.parsed);
    for (post, thread) in told_mails::same_message(tx, id, (&from.address, text), since).await? {
        let posts = threads::posts(tx, thread).await?;
        if posts.iter().any(|known| known.id == post && known.attachments == files) {
            return Ok(Some(thread));
        }
    }
    Ok(None)
}

impl Leads {
    async fn thread(
        &mut self,
        tx: &mut Tx,
        link: Link,
        thread: i64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let thread = threads::current(tx, thread).await?;
        if let Some(found) = threads::participant(tx, thread).await? {
            let silent = now.since(Timestamp(found.last_post_at));
            let too_old = found.state == ThreadState::Closed.as_str() && silent > TOO_OLD;
            self.candidates.push(Candidate { link, thread, participants: vec![found.address_key], too_old });
        }
        Ok(())
    }

    async fn delivery(
        &mut self,
        tx: &mut Tx,
        link: Link,
        origin: &Origin,
        key: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if let Some(thread) = origin.thread_id {
            return self.thread(tx, link, thread, now).await;
        }
        let Some(edition) = origin.edition_id else { return Ok(()) };
        self.edition_id = self.edition_id.or(Some(edition));
        let since = now - SAME_EDITION;
        match threads::about_edition(tx, key, edition, since).await? {
            Some(thread) => self.thread(tx, link, thread, now).await,
            None => Ok(()),
        }
    }
}

/// A subject without the marks of answering in the languages that mail programs write.
fn bare_subject(subject: &str) -> &str {
    const MARKS: [&str; 9] = ["re", "aw", "antw", "sv", "vs", "rv", "fwd", "fw", "wg"];
    let mut rest = subject.trim();
    while let Some((mark, after)) = rest.split_once(':') {
        if !MARKS.iter().any(|known| mark.trim().eq_ignore_ascii_case(known)) {
            break;
        }
        rest = after.trim();
    }
    if rest.is_empty() { "(no subject)" } else { rest }
}

#[cfg(test)]
mod tests {
    use super::bare_subject;

    #[test]
    fn marks_of_answering_go() {
        assert_eq!(bare_subject("Re: AW:  re: Make it smaller"), "Make it smaller");
        assert_eq!(bare_subject("Question: does it work?"), "Question: does it work?");
        assert_eq!(bare_subject(" Re: "), "(no subject)");
    }
}
