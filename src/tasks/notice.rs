//! Printing the notice that tells staff of a subscriber's words, with the context that answers need.

use std::sync::Arc;

use super::content::Shelf;
use super::receive::EffectProblem;
use crate::domain::publication::Publication;
use crate::domain::thread::PostKind;
use crate::mail::compose::Frame;
use crate::render::{NoticeInput, NoticePost, NoticeThread, render_notice};
use crate::store::{Tx, editions, people, threads};

/// Earlier conversations that a notice names.
const EARLIER: i64 = 3;

/// Answers and notes of the house after those words, and characters of each.
const SINCE: usize = 5;
const SINCE_SHOWN: usize = 2000;

/// Attachments that a notice names.
const ATTACHED: usize = 5;

/// Characters of a person's subject that a notice shows.
const SUBJECT_SHOWN: usize = 120;

/// What is the same for all notices.
pub struct Press {
    pub shelf: Arc<Shelf>,
    pub frame: Frame,
    pub desk_name: String,
    /// Where the private pages are, without a slash at the end; empty where there are none.
    pub house: String,
}

/// A notice as it is stored.
pub struct Printed {
    pub frame: String,
    pub body: String,
}

impl Press {
    /// The page of a conversation, for who may sign in there; empty where there is none.
    pub(super) fn page(&self, thread: i64) -> String {
        if self.house.is_empty() { String::new() } else { format!("{}/desk/{thread}", self.house) }
    }

    /// The notice of one post of a thread, for the member whose notes come to `note_address`.
    pub(super) async fn print(
        &self,
        tx: &mut Tx,
        (thread, post): (i64, i64),
        note_address: &str,
    ) -> Result<Printed, EffectProblem> {
        let missing = || EffectProblem::Message(format!("thread {thread} is not there"));
        let row = threads::show(tx, thread).await?.ok_or_else(missing)?;
        let key = row.subscriber.to_lowercase();
        let person = people::by_key(tx, &key).await?;
        let earlier = threads::earlier(tx, &key, thread, EARLIER).await?;
        let mut posts = threads::posts(tx, thread).await?.into_iter();
        let post = posts.find(|found| found.id == post).ok_or_else(missing)?;
        let later: Vec<threads::PostRow> = posts.filter(|post| said(post.kind).is_some()).collect();
        let edition_subject = match &row.edition {
            Some(slug) => editions::show_subject(tx, slug).await?.unwrap_or_default(),
            None => String::new(),
        };
        let content = self.shelf.get();
        let publication = &content.publication;
        let tier = person.as_ref().and_then(|person| publication.tier(&person.tier));
        let thread = NoticeThread {
            number: row.number,
            subject: shortened(&row.subject),
            state: row.state.to_string(),
            tier_label: tier.map(|tier| tier.label.clone()).unwrap_or_default(),
            term_ends: person
                .as_ref()
                .and_then(|person| person.term_ends_at)
                .map(|at| publication.date(at, "%-d %B %Y"))
                .unwrap_or_default(),
            edition_subject,
            earlier: named(&earlier),
            subscriber_name: row.name,
            subscriber_address: row.subscriber,
            assigned_to: row.assigned_to.unwrap_or_default(),
            waiting_since: row
                .waiting_since
                .map(|at| publication.date(at, "%A %-d %B, %H:%M"))
                .unwrap_or_default(),
            url: self.page(row.number),
        };
        let post = words(publication, &post, &later);
        let input = NoticeInput {
            publication,
            thread: &thread,
            post: &post,
            desk: &self.desk_name,
            support: &content.support,
            note_address,
        };
        let body = render_notice(&content.templates, &input).map_err(|problems| {
            let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
            EffectProblem::Message(format!("the notice cannot be rendered: {}", list.join("; ")))
        })?;
        let json = |error: serde_json::Error| EffectProblem::Message(error.to_string());
        Ok(Printed {
            frame: serde_json::to_string(&self.frame).map_err(json)?,
            body: serde_json::to_string(&body).map_err(json)?,
        })
    }
}

/// The words that a notice is about, and what was said since.
fn words(publication: &Publication, post: &threads::PostRow, later: &[threads::PostRow]) -> NoticePost {
    NoticePost {
        folded_lines: post.folded.lines().count(),
        attachments: attached(&post.attachments),
        at: publication.date(post.at, "%A %-d %B, %H:%M"),
        text: format!("{}{}", post.text, said_since(publication, later)),
    }
}

/// What the house did after the words that a notice is about: who takes a conversation over has to know it.
fn said_since(publication: &Publication, posts: &[threads::PostRow]) -> String {
    let newest = &posts[posts.len().saturating_sub(SINCE)..];
    let each = newest.iter().filter_map(|post| {
        let at = publication.date(post.at, "%A %-d %B, %H:%M");
        let text: String = post.text.chars().take(SINCE_SHOWN).collect();
        Some(format!("\n\n[{} {}, {at}]\n{text}", post.from, said(post.kind)?))
    });
    each.collect()
}

fn said(kind: PostKind) -> Option<&'static str> {
    match kind {
        PostKind::Staff => Some("answered"),
        PostKind::Note => Some("noted"),
        PostKind::Subscriber | PostKind::Automatic => None,
    }
}

/// `2 files: a.png (image/png, 12 kB), b.pdf (application/pdf, 90 kB)`.
fn attached(files: &[threads::Attachment]) -> String {
    let named = |file: &threads::Attachment| {
        format!("{} ({}, {} kB)", file.name, file.media_type, (file.bytes + 999) / 1000)
    };
    let list: Vec<String> = files.iter().take(ATTACHED).map(named).collect();
    match files.len() {
        0 => String::new(),
        1 => format!("1 file: {}", list[0]),
        count if count > ATTACHED => format!("{count} files, among them {}", list.join(", ")),
        count => format!("{count} files: {}", list.join(", ")),
    }
}

/// A header's subject has at most 255 characters with what the template adds; a person's may have any number.
fn shortened(subject: &str) -> String {
    if subject.chars().count() <= SUBJECT_SHOWN {
        return subject.to_owned();
    }
    let start: String = subject.chars().take(SUBJECT_SHOWN).collect();
    format!("{}...", start.trim_end())
}

/// `2 conversations: #97 invoice (closed), #61 GPU memory (closed)`.
fn named(earlier: &[(i64, String, String)]) -> String {
    let list: Vec<String> = earlier
        .iter()
        .map(|(number, subject, state)| format!("#{number} {} ({state})", shortened(subject)))
        .collect();
    match list.len() {
        0 => String::new(),
        1 => format!("1 conversation: {}", list[0]),
        count => format!("{count} conversations: {}", list.join(", ")),
    }
}
