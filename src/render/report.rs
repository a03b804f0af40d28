//! What editors are told about an edition: queued, skipped, missed, blocked, paused, stopped, or its first pass done.

use serde_json::{Value, json};

use super::edition::{of_publication, one_line};
use super::fields;
use super::one_off::print;
use super::plain;
use super::template::TemplateSet;
use crate::domain::body::{Body, escape_html};
use crate::domain::problem::Problem;
use crate::domain::publication::Publication;

/// More lines than these are counted, not shown.
const NOTES: usize = 5;
/// As many characters of code are sure to fit side by side at 320 px.
const PHONE: usize = 28;
const CODE: &str = "<span style=\"font-family:Consolas, Menlo, 'DejaVu Sans Mono', 'Liberation Mono', 'Courier New', \
                    monospace;font-size:15px\">";

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReportEvent {
    /// It is in the queue, and leaves when it is due.
    Queued,
    /// It is in the queue, and nothing of it leaves before an editor approves it.
    WaitingApproval,
    /// Fewer articles were ready than the slot wants.
    Skipped,
    /// Its time was over when the daemon looked.
    Missed,
    /// It is due and cannot be sent as it is.
    Blocked,
    /// A person stopped it.
    Paused,
    /// A breaker stopped it.
    Stopped,
    /// Everybody was tried once.
    FirstPassDone,
    /// What came of an editor's answer to an earlier report.
    Answered,
}

impl ReportEvent {
    /// As templates compare it.
    pub fn as_str(self) -> &'static str {
        match self {
            ReportEvent::Queued => "queued",
            ReportEvent::WaitingApproval => "waiting_approval",
            ReportEvent::Skipped => "skipped",
            ReportEvent::Missed => "missed",
            ReportEvent::Blocked => "blocked",
            ReportEvent::Paused => "paused",
            ReportEvent::Stopped => "stopped",
            ReportEvent::FirstPassDone => "first_pass_done",
            ReportEvent::Answered => "answered",
        }
    }
}

/// One tier's share.
#[derive(Clone, Debug, Default)]
pub struct ReportTier {
    pub label: String,
    pub audience: u64,
    pub accepted: u64,
    pub refused: u64,
    pub skipped: u64,
    pub uncertain: u64,
    pub parked: u64,
    /// Taken at first, and reported as undelivered since.
    pub came_back: u64,
    pub complaints: u64,
    /// Still in the queue, deferred ones among them.
    pub queued: u64,
    /// The whole address of a page that shows this tier's mail. Empty if there is none.
    pub proof: String,
}

/// A report to render.
#[derive(Clone, Copy, Debug)]
pub struct ReportInput<'a> {
    pub publication: &'a Publication,
    pub support: &'a str,
    pub event: ReportEvent,
    pub slug: &'a str,
    /// The edition's subject. Empty when there is none yet.
    pub subject: &'a str,
    /// The name of its slot. Empty for a one-off.
    pub slot: &'a str,
    /// As shown, in the publication's zone: `Tuesday 24 November, 09:00 New York time`. Empty ones are left out.
    pub due_at: &'a str,
    pub queued_at: &'a str,
    pub settled_at: &'a str,
    /// In the order of the config.
    pub tiers: &'a [ReportTier],
    /// Why, in one clause: `5 % refused`, `1 article is ready, 2 are wanted`. Goes into the subject of bad news.
    pub reason: &'a str,
    /// What editors can do, as a sentence with the command. Empty when there is nothing to do.
    pub action: &'a str,
    /// "Worth a look": whole sentences, the first five are shown.
    pub notes: &'a [String],
    /// The whole address of the board. Empty leaves the button out.
    pub board: &'a str,
    /// The next date and what it would send, as a sentence. Empty leaves it out.
    pub next: &'a str,
}

/// Renders the report.
pub fn render_report(templates: &TemplateSet, input: &ReportInput<'_>) -> Result<Body, Vec<Problem>> {
    let total = total(input.tiers);
    let columns = columns(input);
    let lines = table(input.tiers, &total, &[&columns[..], &doubtful(input, &total)].concat());
    let tiers: Vec<Value> = input.tiers.iter().map(|tier| of_tier(tier, &columns)).collect();
    let left = input.notes.len().saturating_sub(NOTES);
    let notes: Vec<String> = input.notes.iter().take(NOTES).map(|note| one_line(note)).collect();
    let more = json!({
        "report": {
            "event": input.event.as_str(),
            "reason": one_line(input.reason),
            "action": one_line(input.action),
            "notes": notes,
            "reason_html": with_code(&one_line(input.reason)),
            "action_html": with_code(&one_line(input.action)),
            "notes_html": notes.iter().map(|note| with_code(note)).collect::<Vec<_>>(),
            "notes_text": listed(&notes),
            "more_notes": left,
            "next": one_line(input.next),
            "table": lines,
            "columns": columns.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            "proofs": input.tiers.iter().any(|tier| !tier.proof.is_empty()),
        },
        "edition": {
            "slug": input.slug,
            "subject": one_line(input.subject),
            "slot": one_line(input.slot),
            "due_at": one_line(input.due_at),
            "queued_at": one_line(input.queued_at),
            "settled_at": one_line(input.settled_at),
        },
        "tiers": tiers,
        "total": of_tier(&total, &columns),
        "links": { "board": input.board },
    });
    print(templates, fields::REPORT_KIND, of_publication(input.publication, input.support), more)
}

type Count = fn(&ReportTier) -> u64;

/// Which numbers are always shown: before anything left only the audience.
fn columns(input: &ReportInput<'_>) -> Vec<(&'static str, Count)> {
    let mut columns: Vec<(&'static str, Count)> = vec![("Audience", |tier| tier.audience)];
    if has_left(input.event) {
        let sent: [(&'static str, Count); 3] = [
            ("Accepted", |tier| tier.accepted),
            ("Refused", |tier| tier.refused),
            ("Skipped", |tier| tier.skipped),
        ];
        columns.extend(sent);
    }
    columns
}

/// What is shown only where there is any. In the HTML part it stands below the tier's name: a phone is four columns wide.
fn doubtful(input: &ReportInput<'_>, total: &ReportTier) -> Vec<(&'static str, Count)> {
    let doubtful: [(&'static str, Count); 4] = [
        ("Uncertain", |tier| tier.uncertain),
        ("Parked", |tier| tier.parked),
        ("Came back", |tier| tier.came_back),
        ("Complaints", |tier| tier.complaints),
    ];
    doubtful.into_iter().filter(|(_, count)| has_left(input.event) && count(total) > 0).collect()
}

fn has_left(event: ReportEvent) -> bool {
    matches!(event, ReportEvent::FirstPassDone | ReportEvent::Paused)
}

fn total(tiers: &[ReportTier]) -> ReportTier {
    let sum = |of: Count| tiers.iter().map(of).sum();
    ReportTier {
        label: "All".to_owned(),
        audience: sum(|tier| tier.audience),
        accepted: sum(|tier| tier.accepted),
        refused: sum(|tier| tier.refused),
        skipped: sum(|tier| tier.skipped),
        uncertain: sum(|tier| tier.uncertain),
        parked: sum(|tier| tier.parked),
        came_back: sum(|tier| tier.came_back),
        complaints: sum(|tier| tier.complaints),
        queued: sum(|tier| tier.queued),
        proof: String::new(),
    }
}

fn of_tier(tier: &ReportTier, columns: &[(&'static str, Count)]) -> Value {
    json!({
        "label": one_line(&tier.label),
        "audience": grouped(tier.audience),
        "accepted": grouped(tier.accepted),
        "refused": grouped(tier.refused),
        "skipped": grouped(tier.skipped),
        "uncertain": grouped(tier.uncertain),
        "parked": grouped(tier.parked),
        "queued": grouped(tier.queued),
        // For conditions: "0" is a text like any other.
        "has_refused": tier.refused > 0,
        "has_skipped": tier.skipped > 0,
        "has_queued": tier.queued > 0,
        "has_uncertain": tier.uncertain > 0,
        "has_parked": tier.parked > 0,
        "came_back": grouped(tier.came_back),
        "complaints": grouped(tier.complaints),
        "has_came_back": tier.came_back > 0,
        "has_complaints": tier.complaints > 0,
        "proof": tier.proof,
        "cells": columns.iter().map(|(_, count)| grouped(count(tier))).collect::<Vec<_>>(),
    })
}

/// The table as aligned text. With more than one tier, the sum stands below a line.
fn table(tiers: &[ReportTier], total: &ReportTier, columns: &[(&'static str, Count)]) -> String {
    let head: Vec<String> = std::iter::once("Tier".to_owned())
        .chain(columns.iter().map(|(name, _)| (*name).to_owned()))
        .collect();
    let row = |tier: &ReportTier| -> Vec<String> {
        let numbers = columns.iter().map(|(_, count)| grouped(count(tier)));
        std::iter::once(one_line(&tier.label)).chain(numbers).collect()
    };
    let mut rows: Vec<Vec<String>> = tiers.iter().map(row).collect();
    rows.push(row(total));
    let width = |column: usize| {
        std::iter::once(&head).chain(&rows).map(|row| row[column].chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
            if at == 0 { format!("{cell:width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rule = "-".repeat((widths.iter().sum::<usize>() + 2 * (widths.len() - 1)).min(plain::COLUMNS));
    let (last, others) = rows.split_last().expect("the sum is always there");
    let mut lines = vec![line(&head), rule.clone()];
    lines.extend(others.iter().map(line));
    lines.extend([rule, line(last)]);
    lines.join("\n")
}

fn listed(notes: &[String]) -> String {
    let items = notes.iter().map(|note| plain::indent(&plain::wrap(note, plain::COLUMNS - 2), "- ", "  "));
    items.collect::<Vec<_>>().join("\n")
}

/// Escaped, with what stands between backticks as code. A word of a command breaks nowhere, as long as a phone has room
/// for it: half a slug is no slug.
fn with_code(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    let mut out = String::new();
    for (at, part) in parts.iter().enumerate() {
        // A last backtick that nothing closes is a character like any other.
        match (at % 2 == 1, at + 1 < parts.len()) {
            (false, _) => escape_html(part, &mut out),
            (true, false) => escape_html(&format!("`{part}"), &mut out),
            (true, true) => {
                out.push_str(CODE);
                let words: Vec<String> = part.split(' ').map(unbroken).collect();
                out.push_str(&words.join(" "));
                out.push_str("</span>");
            }
        }
    }
    out
}

fn unbroken(word: &str) -> String {
    let mut escaped = String::new();
    escape_html(word, &mut escaped);
    match word.contains('-') && word.chars().count() <= PHONE {
        true => format!("<span style=\"white-space:nowrap\">{escaped}</span>"),
        false => escaped,
    }
}

/// `12,052`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (12052, "12,052"), (1_000_000, "1,000,000")]
        {
            assert_eq!(grouped(number), text);
        }
    }
}
