//! The own format: `email,name,tier,status`, and what `subscribers export` adds to it.
//!
//! An unknown tier, status, zone or date skips the row. An empty status is `active`, because lists of people who get mail
//! often have no such column filled. A file with a `suppression` column says who is suppressed; without one, whoever left is.

use serde::Deserialize;

use super::Rules;
use super::columns::{Texts, short};
use super::draft::{Draft, Plan, Standing};
use super::format::Layout;
use super::times::moment;
use crate::domain::publication::TierId;
use crate::domain::subscriber::{ImportedConsent, SubscriberStatus};
use crate::domain::suppression::SuppressionReason;
use crate::runtime::Timestamp;

/// In the order in which they are written.
pub(super) const COLUMNS: [&str; 13] = [
    "email",
    "name",
    "tier",
    "status",
    "timezone",
    "language",
    "term_started_at",
    "term_ends_at",
    "note",
    "suppression",
    "suppressed_at",
    "suppression_source",
    "consent",
];

pub(super) static LAYOUT: Layout = Layout {
    columns: &COLUMNS,
    required: 4,
    signatures: &[&["email", "name", "tier", "status"]],
    rename: None,
    read,
};

/// One line of the cell `consent`, which holds a JSON list of them.
#[derive(Deserialize)]
struct Line {
    at: Timestamp,
    source: String,
    text: String,
}

fn read(texts: &Texts<'_>, rules: &Rules) -> Result<Draft, String> {
    let mut draft = Draft::new(texts.get(0)?, Standing::ACTIVE);
    draft.name = texts.get(1)?;
    draft.plan = Plan::Tier(tier(&texts.get(2)?, &rules.tiers)?);
    draft.standing.status = status(&texts.get(3)?)?;
    draft.timezone = texts
        .some(4)?
        .map(|text| text.parse().map_err(|_| format!("`{}` is not a time zone", short(&text))))
        .transpose()?;
    draft.language = texts.some(5)?;
    draft.term_started_at = time(texts, 6, "term_started_at")?;
    draft.term_ends_at = time(texts, 7, "term_ends_at")?;
    draft.note = texts.lines(8)?;
    draft.standing.suppression = suppression(texts, draft.standing.status)?;
    draft.suppressed_at = time(texts, 10, "suppressed_at")?;
    draft.suppression_source = texts.some(11)?;
    if let Some(cell) = texts.some(12)? {
        let lines: Vec<Line> = serde_json::from_str(&cell)
            .map_err(|_| "consent is not a JSON list of at, source and text".to_owned())?;
        let known = |line: Line| ImportedConsent { at: line.at, source: Some(line.source), text: line.text };
        draft.history = lines.into_iter().map(known).collect();
    }
    Ok(draft)
}

fn time(texts: &Texts<'_>, column: usize, name: &str) -> Result<Option<Timestamp>, String> {
    texts.some(column)?.map(|text| moment(&text).map_err(|why| format!("{name} {why}"))).transpose()
}

fn suppression(texts: &Texts<'_>, status: SubscriberStatus) -> Result<Option<SuppressionReason>, String> {
    if !texts.has(9) {
        let left = status == SubscriberStatus::Unsubscribed;
        return Ok(left.then_some(SuppressionReason::Unsubscribed));
    }
    let read = |word: String| {
        SuppressionReason::from_word(&word.to_ascii_lowercase())
            .ok_or_else(|| format!("`{}` is not a reason for a suppression", short(&word)))
    };
    texts.some(9)?.map(read).transpose()
}

/// Ids are lower case, so `Yearly` is the tier `yearly` and nothing else.
fn tier(text: &str, tiers: &[TierId]) -> Result<TierId, String> {
    if text.is_empty() {
        return Err("it has no tier".to_owned());
    }
    let found = tiers.iter().find(|tier| tier.as_str().eq_ignore_ascii_case(text));
    found.cloned().ok_or_else(|| format!("there is no tier `{}`", short(text)))
}

fn status(text: &str) -> Result<SubscriberStatus, String> {
    if text.is_empty() {
        return Ok(SubscriberStatus::Active);
    }
    SubscriberStatus::from_word(&text.to_ascii_lowercase())
        .ok_or_else(|| format!("`{}` is not a status (pending, active, unsubscribed)", short(text)))
}
