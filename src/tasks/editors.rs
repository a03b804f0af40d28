//! Editors answer a report or a proof: the first line of their own words is `approve` or `hold`.
//!
//! Nothing happens without the token, a From that the publication names as an editor, and a proof that the sender is who it says;
//! the rules of `domain::verdict` see to that. A word counts once, because a copy of an old one can come again. What was done is
//! told to all editors; why nothing was, to the one it came from, once an hour and in fixed words: who forges an answer must not
//! write our mail.

use std::time::Duration;

use super::before_release::APPROVED_BEFORE;
use super::content::Content;
use super::report::{Report, Reporter};
use super::restore::came_before;
use super::threading::Message;
use super::week;
use crate::domain::address::Address;
use crate::domain::edition::EditionState;
use crate::domain::token::{Purpose, Subject};
use crate::domain::verdict::Verdict;
use crate::mail::trim;
use crate::render::ReportEvent;
use crate::runtime::Timestamp;
use crate::store::editions::Standing;
use crate::store::{StoreError, Tx, audit, editions, editor_words};

/// One editor hears of refusals about one edition this often at most.
const REFUSED_EVERY: Duration = Duration::from_secs(3600);

/// More text than this beside the word may say anything.
const BESIDE_MAX: usize = 80;

/// Words that may take an approval back.
const DOUBTS: [&str; 10] = ["no", "not", "don't", "dont", "but", "wait", "stop", "hold", "mistake", "error"];

/// What an editor can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Approve,
    Hold,
}

/// What came of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    Done(EditionState),
    /// Why not.
    Not(String),
}

/// Does what an editor said, by mail or by command. `by`: who holds it, for its reason.
///
/// # Errors
/// When the database fails.
pub async fn obey(
    tx: &mut Tx,
    content: &Content,
    slug: &str,
    (word, by): (Word, &str),
    now: Timestamp,
) -> Result<Changed, StoreError> {
    let Some(standing) = editions::standing(tx, slug).await? else {
        return Ok(Changed::Not("it is not queued".to_owned()));
    };
    if word == Word::Approve && is_too_late(content, slug, &standing, now) {
        return Ok(Changed::Not("it is too late for it".to_owned()));
    }
    let held = format!("held {by}");
    let (from, to, reason) = match word {
        Word::Approve => (EditionState::APPROVABLE, EditionState::Sending, ""),
        Word::Hold => (EditionState::HOLDABLE, EditionState::WaitingApproval, held.as_str()),
    };
    if !editions::change_state(tx, slug, from, to, reason, now).await? {
        return Ok(Changed::Not(format!("it is {} and cannot become {to}", standing.state)));
    }
    Ok(Changed::Done(to))
}

/// Whether an edition that nobody ever approved is beyond its lateness. One that was held waits for as long as it takes: a part of
/// it may be out.
pub fn is_too_late(content: &Content, slug: &str, standing: &Standing, now: Timestamp) -> bool {
    standing.state == EditionState::WaitingApproval
        && standing.reason.is_empty()
        && now.since(standing.due_at) > week::lateness(content, slug, standing.slot.as_deref())
}

/// Does what an answer says, or tells its sender that nothing came of it.
///
/// # Errors
/// When the database fails.
pub(super) async fn answered(
    tx: &mut Tx,
    reporter: &Reporter,
    verdict: Verdict,
    message: Message<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(Subject { purpose: Purpose::Editors, row, .. }) = message.token else { return Ok(()) };
    let Some(from) = message.from else { return Ok(()) };
    let content = reporter.shelf.get();
    let key = Address::trusted(from.address.clone()).key();
    let editors = &content.publication.editors;
    let Some(editor) = editors.iter().find(|editor| editor.key() == key) else { return Ok(()) };
    let desk = Desk { reporter, edition: row, editor, now };
    let Some(slug) = editions::slug(tx, row).await? else {
        // A preview of what is not queued, or a report about no edition: nothing can be done, and there is nobody to flood.
        return Ok(());
    };
    if verdict != Verdict::StaffReply {
        let reason = "an answer in your name was not taken: its sender was not proven";
        return desk.refuse(tx, &slug, reason).await;
    }
    let Some(word) = word(&message.parsed.text) else {
        let reason =
            "your answer was not understood: write `approve` or `hold` in the first line, and no more";
        return desk.refuse(tx, &slug, reason).await;
    };
    if word == Word::Approve && came_before(tx, &message).await? {
        return desk.refuse(tx, &slug, APPROVED_BEFORE).await;
    }
    let Some(id) = &message.parsed.message_id else {
        return desk.refuse(tx, &slug, "your answer has no Message-ID and was not taken").await;
    };
    if !editor_words::enter(tx, row, id, now).await? {
        return Ok(());
    }
    let was =
        editions::standing(tx, &slug).await?.map(|standing| standing.state.as_str()).unwrap_or_default();
    let by = format!("by {editor}");
    match obey(tx, &content, &slug, (word, &by), now).await? {
        Changed::Done(to) => {
            let detail = format!("was {was}; {by}");
            audit::record(tx, now, "mail", &format!("edition {to}"), &slug, &detail).await?;
            let done = if word == Word::Approve { "approved" } else { "held" };
            desk.tell(tx, &slug, &format!("{done} {by}"), editors).await
        }
        Changed::Not(why) => {
            let reason = format!("your answer changed nothing: {why}");
            desk.tell(tx, &slug, &reason, std::slice::from_ref(editor)).await
        }
    }
}

/// Who answered what.
struct Desk<'a> {
    reporter: &'a Reporter,
    edition: i64,
    editor: &'a Address,
    now: Timestamp,
}

impl Desk<'_> {
    async fn refuse(&self, tx: &mut Tx, slug: &str, reason: &str) -> Result<(), StoreError> {
        let since = self.now - REFUSED_EVERY;
        if !editor_words::may_refuse(tx, self.edition, &self.editor.key(), since, self.now).await? {
            return Ok(());
        }
        self.tell(tx, slug, reason, std::slice::from_ref(self.editor)).await
    }

    async fn tell(&self, tx: &mut Tx, slug: &str, reason: &str, to: &[Address]) -> Result<(), StoreError> {
        let event = ReportEvent::Answered;
        let action = "`tidings editions approve` and `tidings editions hold` work as well.";
        let report = Report { event, slug, slot: None, due_at: None, reason, action, notes: &[] };
        self.reporter.tell_to(tx, &report, to, self.now).await
    }
}

/// The first line of what the editor wrote, which says nothing else. A quote is nobody's word.
fn word(text: &str) -> Option<Word> {
    let shown = trim::trim(text).shown;
    let mut lines = shown.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next()?;
    let beside = lines.collect::<Vec<_>>().join(" ").to_lowercase();
    let doubtful = beside.contains(['?', '>', '|'])
        || beside.split(|c: char| !c.is_alphanumeric() && c != '\'').any(|word| DOUBTS.contains(&word));
    let bare = first.trim_matches(['*', '_', '"', '`', ' ']).trim_end_matches(['.', '!']);
    match bare.trim_matches(['*', '_', '"', '`', ' ']).to_lowercase().as_str() {
        // To hold is safe, whatever else is said.
        "hold" => Some(Word::Hold),
        "approve" | "approved" if !doubtful && beside.chars().count() <= BESIDE_MAX => Some(Word::Approve),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::html::to_text;

    #[test]
    fn only_a_line_that_says_nothing_else_counts() {
        let quoted = "\n\nOn Tue, 24 Nov 2026 Example News wrote:\n> Nothing leaves before you approve.\n";
        for (text, expected) in [
            ("approve", Some(Word::Approve)),
            ("Approved.\n\nThanks, Ed", Some(Word::Approve)),
            ("*approve*\n\n-- \nEd\nExample Street 1", Some(Word::Approve)),
            ("  *HOLD*  ", Some(Word::Hold)),
            (
                "Hold!\n\nThere is a mistake in the second table, I mend it tonight and approve it then.",
                Some(Word::Hold),
            ),
            ("", None),
            ("Approve?", None),
            ("do not approve", None),
            ("I cannot approve this", None),
            ("approve it tomorrow", None),
            ("Approve\nNo, wait, there is a mistake", None),
            ("> approve\nNo, wait, there is a mistake\n> Ed", None),
            ("> approve", None),
            ("| approve\nwhy?", None),
        ] {
            assert_eq!(word(text), expected, "{text}");
            assert_eq!(word(&format!("{text}{quoted}")), expected, "{text} above a quote");
        }
        let html = "<blockquote>approve</blockquote><p>No! a mistake</p>";
        assert_eq!(word(&to_text(html)), None);
    }
}
