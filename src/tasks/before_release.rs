//! Words of the house that may have been obeyed before: mail that was written before a copy was put to use ([`restore::came_before`]),
//! and answers in conversations that the copy does not know.
//!
//! Their author is asked or told; nothing of it leaves by itself, and what only stays in the house is done again. Known gap: an answer
//! in a conversation that began after the copy was taken cannot be kept beside it, so it is not held but comes back.

use super::answer::{Answer, Question, Refusal};
use super::receive::EffectProblem;
use super::restore;
use super::threading::{Desk, Message};
use super::told::Told;
use crate::domain::verdict::Verdict;
use crate::runtime::Timestamp;
use crate::store::threads::Participant;
use crate::store::{StoreError, Tx};

/// Why a word that a copy may have heard before is not taken.
pub(super) const SENT_BEFORE: &str =
    "it was written before the desk came back from a backup, so it may have been sent before";

/// Why an approval is not taken.
pub(super) const APPROVED_BEFORE: &str =
    "your approval was written before this edition came back from a backup, so it may have been sent since";

impl Desk {
    /// What its author is asked before this answer leaves, or why it cannot leave at all; `None`: it came after the release.
    pub(super) async fn asked_first(
        &self,
        tx: &mut Tx,
        (thread, message): (&Participant, &Message<'_>),
        answer: &Answer<'_>,
    ) -> Result<Option<Refusal>, StoreError> {
        if !restore::came_before(tx, message).await? {
            return Ok(None);
        }
        let mut questions = vec![Question::SentBefore];
        match self.checked(tx, thread, answer).await? {
            Ok(_) => {}
            Err(Refusal::Asks(more)) => questions.extend(more),
            Err(refusal) => return Ok(Some(refusal)),
        }
        Ok(Some(Refusal::Asks(questions)))
    }

    /// A member's mail in a conversation that this store does not have: they hear that nothing came of it.
    pub(super) async fn unknown_conversation(
        &self,
        tx: &mut Tx,
        (verdict, number): (Verdict, i64),
        member: i64,
        now: Timestamp,
    ) -> Result<(), EffectProblem> {
        let taken = matches!(verdict, Verdict::StaffReply | Verdict::InternalNote);
        let Some(member) = self.staff.iter().find(|known| taken && known.id == member) else {
            return Ok(());
        };
        let told = Told {
            title: "Your mail came back",
            reason: "Nothing of it was sent. The reason: this desk has no such conversation. It came back from a backup, which does \
                     not know of what began after it was taken; then your answer may have been sent before.",
            action: "If the question comes in again, there is a notice of it: answer that one. `tidings inbound list` has your mail.",
            ..Told::default()
        };
        self.tell_apart(tx, (number, member), told, now).await
    }
}
