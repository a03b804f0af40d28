//! What staff are told: a subscriber's words, and what became of a mail of their own. Rendered for one thread, without holes.

use std::fmt::Write;

use serde_json::json;

use super::edition::{of_publication, one_line};
use super::fields::{NOTICE_KIND, TOLD_KIND};
use super::holes::Sentinels;
use super::one_off::print_with;
use super::template::TemplateSet;
use crate::domain::body::{Body, escape_html};
use crate::domain::problem::Problem;
use crate::domain::publication::Publication;
use crate::domain::staff_order::ABOVE;

/// What the notice says beside the words. Everything is shown as it is; empty strings leave their line out.
#[derive(Clone, Debug, Default)]
pub struct NoticeThread {
    pub number: i64,
    pub subject: String,
    /// A word: open, waiting or closed.
    pub state: String,
    pub tier_label: String,
    pub term_ends: String,
    pub edition_subject: String,
    /// `2 conversations: #97 invoice (closed), #61 GPU memory (closed)`.
    pub earlier: String,
    pub subscriber_name: String,
    pub subscriber_address: String,
    pub assigned_to: String,
    pub waiting_since: String,
    /// Its page on the private listener; empty where there is none.
    pub url: String,
}

/// The words themselves.
#[derive(Clone, Debug, Default)]
pub struct NoticePost {
    /// Plain text, quotes already folded.
    pub text: String,
    pub folded_lines: usize,
    /// `2 files: a.png (image/png, 12 kB), b.pdf (application/pdf, 90 kB)`; empty leaves the line out.
    pub attachments: String,
    /// When, as shown.
    pub at: String,
}

/// A notice to render.
#[derive(Clone, Copy, Debug)]
pub struct NoticeInput<'a> {
    pub publication: &'a Publication,
    pub thread: &'a NoticeThread,
    pub post: &'a NoticePost,
    /// The desk's name.
    pub desk: &'a str,
    /// The address that answers reach.
    pub support: &'a str,
    /// The member's own address for notes; empty leaves it out.
    pub note_address: &'a str,
}

/// What became of a member's mail.
#[derive(Clone, Copy, Debug)]
pub struct ToldInput<'a> {
    pub publication: &'a Publication,
    pub support: &'a str,
    pub desk: &'a str,
    pub number: i64,
    /// Of the thread.
    pub subject: &'a str,
    /// Its page on the private listener; empty where there is none.
    pub url: &'a str,
    /// What happened, in few words, and why and what to do as sentences.
    pub title: &'a str,
    pub reason: &'a str,
    pub action: &'a str,
    /// A colleague's words, and the reader's own; empty ones are left out.
    pub theirs: &'a str,
    pub text: &'a str,
}

/// Renders the notice.
pub fn render_notice(templates: &TemplateSet, input: &NoticeInput<'_>) -> Result<Body, Vec<Problem>> {
    let (thread, post) = (input.thread, input.post);
    let shown = start(&post.text, SHOWN);
    let mut sentinels = Sentinels::new();
    let fields = json!({
        "publication": of_publication(input.publication, input.support),
        "thread": {
            "number": thread.number,
            "subject": one_line(&thread.subject),
            "state": one_line(&thread.state),
            "tier_label": one_line(&thread.tier_label),
            "term_ends": one_line(&thread.term_ends),
            "edition_subject": one_line(&thread.edition_subject),
            "earlier": one_line(&thread.earlier),
            "subscriber_name": one_line(&thread.subscriber_name),
            "subscriber_address": one_line(&thread.subscriber_address),
            "assigned_to": one_line(&thread.assigned_to),
            "waiting_since": one_line(&thread.waiting_since),
            "url": thread.url,
        },
        "post": {
            "html": sentinels.markup(paragraphs(shown)),
            "text": barred(&visible(shown)),
            "folded_lines": post.folded_lines,
            "attachments": visible(&post.attachments),
            "cut": shown.len() < post.text.len(),
            "at": one_line(&post.at),
        },
        "desk": { "name": input.desk, "above": ABOVE, "note_address": input.note_address },
    });
    print_with(templates, NOTICE_KIND, &fields, &mut sentinels)
}

/// Renders what a member is told.
pub fn render_told(templates: &TemplateSet, input: &ToldInput<'_>) -> Result<Body, Vec<Problem>> {
    let mut sentinels = Sentinels::new();
    let (theirs, text) = (start(input.theirs, SHOWN), start(input.text, SHOWN));
    let fields = json!({
        "publication": of_publication(input.publication, input.support),
        "thread": { "number": input.number, "subject": one_line(input.subject), "url": input.url },
        "told": {
            "title": one_line(input.title),
            "reason": one_line(input.reason),
            "action": one_line(input.action),
            "theirs": barred(&visible(theirs)),
            "theirs_html": sentinels.markup(paragraphs(theirs)),
            "text": barred(&visible(text)),
            "html": sentinels.markup(paragraphs(text)),
        },
        "desk": { "name": input.desk, "above": ABOVE },
    });
    print_with(templates, TOLD_KIND, &fields, &mut sentinels)
}

/// Bytes of a person's words that a notice carries. The desk has all of them.
const SHOWN: usize = 20_000;

/// The start of a text, cut between characters.
fn start(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A bar before every line: no line of a stranger's can pass for one of ours.
fn barred(text: &str) -> String {
    text.lines().map(|line| format!("| {line}").trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Line ends as `\n`, other control characters as blanks.
pub(super) fn visible(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let text: String = text.chars().map(|c| if c == '\n' || !c.is_control() { c } else { ' ' }).collect();
    text.trim().to_owned()
}

/// A person's plain text as paragraphs, its lines kept.
fn paragraphs(text: &str) -> String {
    let text = visible(text);
    let parts: Vec<&str> = text.split("\n\n").map(str::trim).filter(|part| !part.is_empty()).collect();
    let mut out = String::new();
    for (at, part) in parts.iter().enumerate() {
        let margin = if at + 1 == parts.len() { "0" } else { "0 0 20px" };
        let mut escaped = String::new();
        escape_html(part, &mut escaped);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "<p style=\"margin:{margin}\">{}</p>", escaped.replace('\n', "<br />"));
    }
    out
}
