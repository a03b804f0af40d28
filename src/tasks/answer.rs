//! Staff answers a conversation: the one function behind the mail of a member, `inbox reply` and the desk's page.
//!
//! What leaves is a message of our own from the desk's address. Of what the author sent only words and cleaned files are in it, and not
//! even those while they still tell who of the house wrote ([`crate::domain::hidden`]). The ids that it cites are those that the
//! subscriber has seen. Post, delivery and the new state of the conversation are one transaction, the caller's.

use super::frames;
use super::receive::EffectProblem;
use super::threading::Desk;
use crate::domain::delivery::DeliveryKind;
use crate::domain::hidden::{Hidden, Leak, seen};
use crate::domain::relayed::signature_like;
use crate::domain::thread::PostKind;
use crate::mail::compose::Frame;
use crate::mail::files::{Cleaned, File, TOTAL_MAX, cleaned};
use crate::mail::token::message_id;
use crate::render::{AnswerInput, render_answer};
use crate::runtime::Timestamp;
use crate::store::answers::{self, BodyFile, Seen};
use crate::store::deliveries::{self, DeskMail};
use crate::store::staff::StaffRow;
use crate::store::threads::{self, Attachment, NewPost, Participant};
use crate::store::{StoreError, Tx, bodies, held};

/// A header's subject has at most 255 characters; a subscriber's may have any number.
const SUBJECT_MAX: usize = 200;

/// What somebody of the house wants the subscriber of a conversation to read.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub thread: i64,
    /// `None`: an operator, in the desk's name.
    pub author: Option<&'a StaffRow>,
    /// The name that the author's own program gives them. It must not leave either.
    pub also_called: &'a str,
    /// Their own words, plain text.
    pub text: &'a str,
    /// The line of it from which on it may be a copy of another mail, or a signature.
    pub doubt: Option<&'a str>,
    pub files: &'a [File],
    /// The newest post that the author knew of.
    pub seen: i64,
    /// They know what speaks against it, and want it sent all the same: without files that cannot be cleaned.
    pub insists: bool,
    /// The conversation ends with it.
    pub closes: bool,
    /// The received message that it came by.
    pub inbound: Option<(i64, Option<&'a str>)>,
    /// The held answer whose place it takes: the author was asked about that one, and wrote this.
    pub instead_of: Option<i64>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It is in the queue.
    Sent { thread: i64, post: i64, delivery: i64 },
    /// Nothing happened, and why.
    Refused(Refusal),
}

/// Why an answer does not leave, in words for its author.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no conversation {0}")]
    NoThread(i64),
    #[error("this person was erased")]
    Erased,
    #[error("there are no words of yours in it")]
    Empty,
    #[error("its words hold {0}")]
    Leak(Leak),
    #[error("the file {0} holds {1}")]
    FileLeak(String, Leak),
    #[error("its files are larger than {} MB together", TOTAL_MAX >> 20)]
    TooLarge,
    /// Never empty: everything that the author has to know before they say yes.
    #[error("{}", asked(.0))]
    Asks(Vec<Question>),
}

/// What the author may answer with yes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Question {
    /// The database that this one is a copy of may have sent it.
    #[error("{}", super::before_release::SENT_BEFORE)]
    SentBefore,
    /// Somebody else answered what the author answers.
    #[error("{name} has answered meanwhile")]
    Crossed { name: String, at: Timestamp, words: String },
    #[error("{}", files_said(.0))]
    Files(Vec<(String, &'static str)>),
    #[error("its end looks like a signature: {0}")]
    Signature(String),
    #[error("from this line on it may be a copy of another mail, or a signature: {0}")]
    Copied(String),
}

impl Refusal {
    /// Whether it is a question that the author may answer with yes.
    pub fn is_a_question(&self) -> bool {
        matches!(self, Refusal::Asks(_))
    }
}

/// All of it in one sentence.
pub(super) fn asked<'a>(questions: impl IntoIterator<Item = &'a Question>) -> String {
    questions.into_iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn files_said(files: &[(String, &'static str)]) -> String {
    let each: Vec<String> =
        files.iter().map(|(name, why)| format!("{name} cannot go with it: {why}")).collect();
    each.join("; ")
}

/// The files that go, and those that cannot.
#[derive(Default)]
struct Sorted {
    clean: Vec<File>,
    unclean: Vec<(String, &'static str)>,
}

impl Desk {
    /// Answers a conversation in the desk's name, or says why not.
    ///
    /// # Errors
    /// When the database fails or the mail cannot be rendered.
    pub async fn answer(
        &self,
        tx: &mut Tx,
        answer: &Answer<'_>,
        now: Timestamp,
    ) -> Result<Answered, EffectProblem> {
        // Two who answer at the same moment do so one after the other, and the second one sees what the first said.
        let number = threads::hold(tx, answer.thread).await?;
        let Some(thread) = threads::participant(tx, number).await? else {
            return Ok(Answered::Refused(Refusal::NoThread(answer.thread)));
        };
        if thread.address.is_empty() {
            return Ok(Answered::Refused(Refusal::Erased));
        }
        let files = match self.checked(tx, &thread, answer).await? {
            Ok(files) => files,
            Err(refusal) => return Ok(Answered::Refused(refusal)),
        };
        let body_id = self.prepare(tx, &thread, answer.text, &files).await?;
        let staff = answer.author.map(|author| author.id);
        let shown = shown(&files);
        let said = Said { staff, text: answer.text, files: &shown, body_id, inbound: answer.inbound };
        let (post, delivery) = self.say(tx, &thread, answer.author, said, now).await?;
        if let Some(older) = answer.instead_of {
            held::end(tx, older, "dropped").await?;
        }
        if answer.closes {
            threads::set_open(tx, number, false, now).await?;
        }
        Ok(Answered::Sent { thread: number, post, delivery })
    }

    /// Everything that may speak against an answer, the gravest first. Answers the files that go with it.
    pub(super) async fn checked(
        &self,
        tx: &mut Tx,
        thread: &Participant,
        answer: &Answer<'_>,
    ) -> Result<Result<Vec<File>, Refusal>, StoreError> {
        if answer.text.trim().is_empty() {
            return Ok(Err(Refusal::Empty));
        }
        let hidden = self.hidden(answer.also_called);
        if let Some(leak) = hidden.found_in(answer.text) {
            return Ok(Err(Refusal::Leak(leak)));
        }
        if let Some((name, leak)) = leak_in_files(&hidden, answer.files) {
            return Ok(Err(Refusal::FileLeak(name, leak)));
        }
        let files = sorted(answer.files);
        if files.clean.iter().map(|file| file.octets.len()).sum::<usize>() > TOTAL_MAX {
            return Ok(Err(Refusal::TooLarge));
        }
        if answer.insists {
            return Ok(Ok(files.clean));
        }
        let staff = answer.author.map_or(0, |author| author.id);
        let mut questions = Vec::new();
        questions.extend(crossed(tx, (thread.thread, staff), answer.seen).await?);
        if !files.unclean.is_empty() {
            questions.push(Question::Files(files.unclean));
        }
        if let Some(line) = answer.doubt {
            questions.push(Question::Copied(line.to_owned()));
        }
        if let Some(line) = signature_like(answer.text) {
            questions.push(Question::Signature(line.trim().to_owned()));
        }
        Ok(if questions.is_empty() { Ok(files.clean) } else { Err(Refusal::Asks(questions)) })
    }

    /// Everything that tells who of the house writes.
    pub fn hidden(&self, also_called: &str) -> Hidden {
        let content = self.press.shelf.get();
        let publication = &content.publication;
        let desk = self.settings.desk.mailbox.address.domain();
        let host = publication.url.split("//").nth(1).unwrap_or("").split(['/', ':']).next().unwrap_or("");
        let public =
            [desk, publication.from.address.domain(), self.settings.message_id_domain.as_str(), host];
        let members = self.staff.iter().map(|member| (member.name.as_str(), member.address.as_str()));
        let addresses = &self.settings.addresses;
        let mut hidden = Hidden::new(members, &public, &[&addresses.reply, &addresses.bounce]);
        hidden.add_pages(&self.press.house);
        // Some answer under the desk's own name, which everybody knows.
        if seen(also_called) != seen(&self.press.desk_name) && seen(also_called) != seen(&publication.name) {
            hidden.add(also_called, "", &public);
        }
        hidden
    }

    /// Renders and stores what is sent.
    pub(super) async fn prepare(
        &self,
        tx: &mut Tx,
        thread: &Participant,
        text: &str,
        files: &[File],
    ) -> Result<i64, EffectProblem> {
        let subject = threads::show(tx, thread.thread).await?.map(|row| row.subject).unwrap_or_default();
        let subject: String = subject.chars().take(SUBJECT_MAX).collect();
        let content = self.press.shelf.get();
        let input = AnswerInput {
            publication: &content.publication,
            support: &content.support,
            desk: &self.press.desk_name,
            subject: &subject,
            text,
        };
        let body = render_answer(&content.templates, &input).map_err(|problems| {
            let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
            EffectProblem::Message(format!("the answer cannot be rendered: {}", list.join("; ")))
        })?;
        let frame = self.frame(tx, thread.thread).await?;
        let json = |error: serde_json::Error| EffectProblem::Message(error.to_string());
        let (frame, body) =
            (serde_json::to_string(&frame).map_err(json)?, serde_json::to_string(&body).map_err(json)?);
        let body_id = bodies::add(tx, &frame, &body).await?;
        for (position, file) in (0..).zip(files) {
            let file = BodyFile {
                name: file.name.clone(),
                media_type: file.media_type.clone(),
                octets: file.octets.clone(),
            };
            answers::add_file(tx, body_id, position, &file).await?;
        }
        Ok(body_id)
    }

    /// The frame of an answer: it cites what the subscriber has seen and nothing else.
    async fn frame(&self, tx: &mut Tx, thread: i64) -> Result<Frame, StoreError> {
        let (in_reply_to, references) = self.seen_ids(tx, thread).await?;
        let content = self.press.shelf.get();
        Ok(Frame { in_reply_to, references, ..frames::answer(&self.settings, &content.publication) })
    }

    /// The subscriber's newest message, or ours where they wrote none; and all the messages that they have, oldest first.
    pub(super) async fn seen_ids(
        &self,
        tx: &mut Tx,
        thread: i64,
    ) -> Result<(Option<String>, Vec<String>), StoreError> {
        let seen = answers::seen_by_subscriber(tx, thread).await?;
        let theirs = seen.iter().rposition(|seen| matches!(seen, Seen::Theirs(_)));
        let domain = &self.settings.message_id_domain;
        let id = |seen: Seen| match seen {
            Seen::Theirs(id) => id,
            Seen::Ours { delivery, key } => {
                let key = key.and_then(|key| u8::try_from(key).ok());
                message_id(&self.keyring, key.unwrap_or(self.keyring.current_key_id()), delivery, domain)
            }
        };
        let ids: Vec<String> = seen.into_iter().map(id).collect();
        let answered = theirs.and_then(|at| ids.get(at)).or(ids.last()).cloned();
        Ok((answered, ids))
    }

    /// The post and its delivery.
    pub(super) async fn say(
        &self,
        tx: &mut Tx,
        thread: &Participant,
        author: Option<&StaffRow>,
        said: Said<'_>,
        now: Timestamp,
    ) -> Result<(i64, i64), StoreError> {
        let desk = &self.settings.desk.mailbox;
        let post = NewPost {
            thread: thread.thread,
            kind: PostKind::Staff,
            from_name: author.map_or(desk.name.as_str(), |author| author.name.as_str()),
            from_address: author.map_or(desk.address.as_str(), |author| author.address.as_str()),
            text: said.text,
            // What was cut off stays in the raw message: it may name people.
            folded: "",
            message_id: said.inbound.and_then(|(_, id)| id),
            inbound_id: said.inbound.map(|(id, _)| id),
            staff_id: said.staff,
            attachments: said.files,
        };
        let post = threads::add_post(tx, &post, now).await?;
        let mail = DeskMail {
            kind: DeliveryKind::Answer,
            subscriber_id: thread.subscriber_id,
            thread_id: Some(thread.thread),
            address: thread.subscriber_id.is_none().then_some(thread.address.as_str()),
            staff_id: None,
            body_id: said.body_id,
        };
        let delivery = deliveries::queue_desk_mail(tx, mail, now).await?;
        answers::is_about(tx, delivery, post).await?;
        Ok((post, delivery))
    }
}

/// The question whether an answer goes although somebody else answered after `post`.
pub(super) async fn crossed(tx: &mut Tx, who: (i64, i64), post: i64) -> Result<Option<Question>, StoreError> {
    let since = answers::answered_since(tx, who, post).await?;
    Ok(since.map(|(name, at, words)| Question::Crossed { name, at, words }))
}

/// What is said, ready to be sent.
pub(super) struct Said<'a> {
    pub staff: Option<i64>,
    pub text: &'a str,
    pub files: &'a [Attachment],
    pub body_id: i64,
    pub inbound: Option<(i64, Option<&'a str>)>,
}

/// Whether somebody attached something that they may want to be read: a calling card or a logo comes with every mail of theirs.
pub(super) fn carries_files(files: &[File]) -> bool {
    let sorted = sorted(files);
    !sorted.clean.is_empty() || !sorted.unclean.is_empty()
}

/// The files that go with an answer, as they go.
pub(super) fn clean(files: &[File]) -> Vec<File> {
    sorted(files).clean
}

fn sorted(files: &[File]) -> Sorted {
    let mut sorted = Sorted::default();
    for file in files {
        match cleaned(file) {
            Cleaned::Clean(file) | Cleaned::Text(file, _) => sorted.clean.push(file),
            Cleaned::Unclean(why) => sorted.unclean.push((file.name.clone(), why)),
            Cleaned::Dropped => {}
        }
    }
    sorted
}

/// What a file's name, or the words of a text, tell. A name is read as words.
fn leak_in_files(hidden: &Hidden, files: &[File]) -> Option<(String, Leak)> {
    files.iter().find_map(|file| {
        let words = match cleaned(file) {
            Cleaned::Clean(_) => String::new(),
            Cleaned::Text(_, words) => words,
            Cleaned::Unclean(_) | Cleaned::Dropped => return None,
        };
        let name = file.name.replace(['_', '-', '.', '+'], " ");
        let leak = hidden
            .found_in(&words)
            .or_else(|| hidden.found_in(&file.name))
            .or_else(|| hidden.found_in(&name));
        leak.map(|leak| (file.name.clone(), leak))
    })
}

pub(super) fn shown(files: &[File]) -> Vec<Attachment> {
    let shown = |file: &File| Attachment {
        name: file.name.clone(),
        media_type: file.media_type.clone(),
        bytes: file.octets.len() as i64,
    };
    files.iter().map(shown).collect()
}
