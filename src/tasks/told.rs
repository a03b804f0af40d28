//! What a member of staff is told about a mail or an answer of theirs. Nobody else hears of it, a subscriber least of all.

use std::time::Duration;

use super::receive::EffectProblem;
use super::threading::Desk;
use crate::domain::alarm::AlarmCause;
use crate::render::{ToldInput, render_told};
use crate::runtime::Timestamp;
use crate::store::answers::{self, Lost};
use crate::store::deliveries::{self, DeskMail};
use crate::store::staff::StaffRow;
use crate::store::threads::Participant;
use crate::store::{Store, Tx, bodies, threads, told_mails};

/// What failed before that is no news.
const LOST_FOR: Duration = Duration::from_secs(30 * 86_400);

/// Who wonders why nothing more comes.
const LAST: &str = "This is the last mail of this kind for three hours, because there were many; the desk has all that comes.";

/// Characters of a person's subject that are shown.
const SUBJECT_SHOWN: usize = 120;

/// One thing to tell.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told<'a> {
    pub title: &'a str,
    pub reason: &'a str,
    pub action: &'a str,
    /// A colleague's words.
    pub theirs: &'a str,
    /// The reader's own.
    pub text: &'a str,
    /// The newest post that it shows: who answers has seen it.
    pub shows: Option<i64>,
}

impl Desk {
    /// Queues one mail to a member, unless a program of theirs seems to answer such mails: then operators are told. An answer to it is
    /// an answer in the conversation. Answers its delivery.
    pub(super) async fn tell(
        &self,
        tx: &mut Tx,
        (thread, member): (i64, &StaffRow),
        told: Told<'_>,
        now: Timestamp,
    ) -> Result<Option<i64>, EffectProblem> {
        let lately = told_mails::lately(tx, (thread, member.id), now).await?;
        if !lately.may_tell() {
            let text = format!(
                "conversation {thread}: {} gets no more mails about their own mails for a while; the last one would have said: {}",
                member.name, told.title
            );
            self.alarms.raise(AlarmCause::MailLoop, &member.name, &text, now);
            return Ok(None);
        }
        told_mails::count(tx, (thread, member.id), now).await?;
        let last = format!("{} {LAST}", told.action);
        let action = if lately.is_last() { last.as_str() } else { told.action };
        let subject = threads::show(tx, thread).await?.map(|row| row.subject).unwrap_or_default();
        let subject: String = subject.chars().take(SUBJECT_SHOWN).collect();
        let url = self.press.page(thread);
        let body_id = self.print_told(tx, (thread, &subject, &url), Told { action, ..told }).await?;
        let mail = DeskMail::to_member(thread, member, body_id);
        let delivery = deliveries::queue_desk_mail(tx, mail, now).await?;
        if let Some(post) = told.shows {
            answers::is_about(tx, delivery, post).await?;
        }
        Ok(Some(delivery))
    }

    /// The same about a conversation that is not in the store.
    pub(super) async fn tell_apart(
        &self,
        tx: &mut Tx,
        (thread, member): (i64, &StaffRow),
        told: Told<'_>,
        now: Timestamp,
    ) -> Result<(), EffectProblem> {
        let body_id = self.print_told(tx, (thread, "", ""), told).await?;
        let mail = DeskMail { thread_id: None, ..DeskMail::to_member(thread, member, body_id) };
        deliveries::queue_desk_mail(tx, mail, now).await?;
        Ok(())
    }

    async fn print_told(
        &self,
        tx: &mut Tx,
        (number, subject, url): (i64, &str, &str),
        told: Told<'_>,
    ) -> Result<i64, EffectProblem> {
        let content = self.press.shelf.get();
        let input = ToldInput {
            publication: &content.publication,
            support: &content.support,
            desk: &self.press.desk_name,
            number,
            subject,
            url,
            title: told.title,
            reason: told.reason,
            action: told.action,
            theirs: told.theirs,
            text: told.text,
        };
        let body = render_told(&content.templates, &input).map_err(|problems| {
            let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
            EffectProblem::Message(format!("a mail to staff cannot be rendered: {}", list.join("; ")))
        })?;
        let json = |error: serde_json::Error| EffectProblem::Message(error.to_string());
        let frame = serde_json::to_string(&self.press.frame).map_err(json)?;
        Ok(bodies::add(tx, &frame, &serde_json::to_string(&body).map_err(json)?).await?)
    }

    /// Tells the member who has a conversation of another one's note in it. A note is for the house; nobody else waits for it.
    pub(super) async fn tell_of_note(
        &self,
        tx: &mut Tx,
        (thread, author): (&Participant, &StaffRow),
        (post, text): (i64, &str),
        now: Timestamp,
    ) -> Result<(), EffectProblem> {
        let has_it = |member: &&StaffRow| Some(member.id) == thread.assigned_to && member.id != author.id;
        let Some(reader) = self.staff.iter().find(has_it) else { return Ok(()) };
        let reason = format!("{} wrote it, and only the desk reads it:", author.name);
        let told = Told {
            title: "A note in your conversation",
            reason: &reason,
            action: "What you answer to this mail goes to the subscriber, unless #note stands in its first line.",
            theirs: text,
            shows: Some(post),
            ..Told::default()
        };
        self.tell(tx, (thread.thread, reader), told, now).await?;
        Ok(())
    }

    /// Tells of every answer that failed since the last look. Answers how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tell_lost(&self, store: &Store, now: Timestamp) -> Result<usize, EffectProblem> {
        let since = now - LOST_FOR;
        let found = answers::lost(&mut store.read().await?, since).await?;
        for lost in &found {
            let mut tx = store.write().await?;
            let why = match (lost.state.as_str(), lost.reply.as_deref().unwrap_or_default()) {
                ("uncertain", reply) => {
                    format!("Nobody knows whether it left, and it waits for an operator: {reply}")
                }
                ("parked", reply) => format!("It waits for an operator: {reply}"),
                (state, reply) => format!("It is {state}: {reply}"),
            };
            self.tell_of_loss(&mut tx, lost, &why, now).await?;
            tx.commit().await?;
        }
        Ok(found.len())
    }

    /// An answer came back: its delivery bounced. Answers whether it was one that nobody knew to be lost.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn bounced(
        &self,
        tx: &mut Tx,
        delivery: i64,
        why: &str,
        now: Timestamp,
    ) -> Result<bool, EffectProblem> {
        let Some(mut lost) = answers::carried(tx, delivery).await? else { return Ok(false) };
        // What comes back did leave, whatever we knew of it.
        "bounced".clone_into(&mut lost.state);
        self.tell_of_loss(tx, &lost, &format!("It came back: {why}"), now).await?;
        Ok(true)
    }

    /// Its author is told; all are where it has none, or one who has left.
    async fn tell_of_loss(
        &self,
        tx: &mut Tx,
        lost: &Lost,
        why: &str,
        now: Timestamp,
    ) -> Result<(), EffectProblem> {
        if !answers::mark_lost(tx, lost.post, now).await? {
            return Ok(());
        }
        let posts = threads::posts(tx, lost.thread).await?;
        let text = posts.iter().find(|post| post.id == lost.post).map_or("", |post| post.text.as_str());
        let (title, action) = match lost.state.as_str() {
            "uncertain" => (
                "Your answer may not have arrived",
                "The subscriber may or may not have read it, and an operator may send it again. `tidings inbox show` has the conversation.",
            ),
            "parked" => (
                "Your answer has not left yet",
                "An operator may still send it: you hear of it again only if it fails. `tidings inbox show` has the conversation.",
            ),
            _ => (
                "Your answer did not arrive",
                "The subscriber has not read it. `tidings inbox show` has the conversation.",
            ),
        };
        let told = Told { title, reason: why, action, text, ..Told::default() };
        let author = self.staff.iter().find(|member| Some(member.id) == lost.staff);
        let readers: Vec<&StaffRow> =
            author.map_or_else(|| self.staff.iter().collect(), |author| vec![author]);
        for member in readers {
            self.tell(tx, (lost.thread, member), told, now).await?;
        }
        Ok(())
    }
}
