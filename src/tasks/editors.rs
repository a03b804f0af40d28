//! Editors answer a report: the first line of their own words is `approve` or `hold`.
//!
//! Nothing happens without the token of the report, a From that the publication names as an editor, and a proof that the sender
//! is who it says; the rules of `domain::verdict` see to that. Whatever comes of an answer is told: to all editors what was done,
//! to the one it came from why nothing was.

use super::report::{Report, Reporter};
use crate::domain::address::Address;
use crate::domain::edition::EditionState;
use crate::domain::token::{Purpose, Subject};
use crate::domain::verdict::Verdict;
use crate::mail::trim;
use crate::render::ReportEvent;
use crate::runtime::Timestamp;
use crate::store::{StoreError, Tx, audit, editions};

use super::threading::Message;

/// What an editor can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Approve,
    Hold,
}

/// Does what an answer to a report says, or tells its sender why not.
///
/// # Errors
/// When the database fails.
pub(super) async fn answered(
    tx: &mut Tx,
    reporter: &Reporter,
    (verdict, why): (Verdict, &str),
    message: Message<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(Subject { purpose: Purpose::Editors, row, .. }) = message.token else { return Ok(()) };
    let Some(from) = message.from else { return Ok(()) };
    let editors = reporter.shelf.get().publication.editors.clone();
    let key = Address::trusted(from.address.clone()).key();
    let Some(editor) = editors.iter().find(|editor| editor.key() == key) else { return Ok(()) };
    let Some(slug) = editions::slug(tx, row).await? else {
        let reason = "the report that was answered is about no edition that can be approved";
        return tell(tx, reporter, "", reason, std::slice::from_ref(editor), now).await;
    };
    if verdict != Verdict::StaffReply {
        let reason =
            format!("an answer in your name was not taken ({why}); `tidings editions approve` works");
        return tell(tx, reporter, &slug, &reason, std::slice::from_ref(editor), now).await;
    }
    let Some(word) = word(&message.parsed.text) else {
        let reason = "your answer was not understood; its first line must be `approve` or `hold`";
        return tell(tx, reporter, &slug, reason, std::slice::from_ref(editor), now).await;
    };
    let held = format!("held by {editor}");
    let (from, to, reason) = match word {
        Word::Approve => (EditionState::APPROVABLE, EditionState::Sending, ""),
        Word::Hold => (EditionState::HOLDABLE, EditionState::WaitingApproval, held.as_str()),
    };
    let state = editions::state(tx, &slug).await?;
    if editions::change_state(tx, &slug, from, to, reason, now).await? {
        let was = state.map(EditionState::as_str).unwrap_or_default();
        let detail = format!("was {was}; by {editor}");
        audit::record(tx, now, "mail", &format!("edition {to}"), &slug, &detail).await?;
        let done = if word == Word::Approve { "approved" } else { "held" };
        tell(tx, reporter, &slug, &format!("{done} by {editor}"), &editors, now).await
    } else {
        let state = state.map(EditionState::as_str).unwrap_or("gone");
        let reason = format!("it is {state}, so your answer changed nothing");
        tell(tx, reporter, &slug, &reason, std::slice::from_ref(editor), now).await
    }
}

async fn tell(
    tx: &mut Tx,
    reporter: &Reporter,
    slug: &str,
    reason: &str,
    to: &[Address],
    now: Timestamp,
) -> Result<(), StoreError> {
    let report = Report {
        event: ReportEvent::Answered,
        slug,
        slot: None,
        due_at: None,
        reason,
        action: "",
        notes: &[],
    };
    reporter.tell_to(tx, &report, to, now).await
}

/// The first line of what the editor wrote above the quote, without case and punctuation.
fn word(text: &str) -> Option<Word> {
    let trimmed = trim::trim(text);
    let line = trimmed.shown.lines().map(str::trim).find(|line| !line.is_empty())?;
    match line.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase().as_str() {
        "approve" | "approved" => Some(Word::Approve),
        "hold" => Some(Word::Hold),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_line_that_says_nothing_else_counts() {
        let quoted = "\n\nOn Tue, 24 Nov 2026 Example News wrote:\n> Nothing leaves before you approve.\n";
        for (text, expected) in [
            ("approve", Some(Word::Approve)),
            ("Approved.\n\nThanks, Ed", Some(Word::Approve)),
            ("  *HOLD*  ", Some(Word::Hold)),
            ("", None),
            ("do not approve", None),
            ("I cannot approve this", None),
            ("approve it tomorrow", None),
        ] {
            assert_eq!(word(text), expected, "{text}");
            assert_eq!(word(&format!("{text}{quoted}")), expected, "{text} above a quote");
        }
    }
}
