//! What staff do on the desk's page. Each wish is one transaction: that the conversation is still what the page showed, the change, and
//! who made it. An answer goes through the one function of [`super::answer`].

use std::sync::Arc;

use tokio::sync::Notify;

use super::answer::{Answer, Answered};
use super::receive::EffectProblem;
use super::threading::Desk;
use crate::domain::desk::{DeskOrder, Outcome, Wish};
use crate::domain::thread::{PostKind, ThreadState};
use crate::runtime::Timestamp;
use crate::store::staff::StaffRow;
use crate::store::threads::{self, NewPost, Participant};
use crate::store::{Store, Tx, audit, desk, staff};

/// Beside whose changes an audit row says that they came from here.
const DOOR: &str = "desk";

/// The steps behind the page.
pub struct DeskPage {
    pub desk: Desk,
    pub store: Store,
    /// Whoever sends is told that there is something to send.
    pub wake: Arc<Notify>,
}

impl DeskPage {
    /// Does what a member wishes, or says why not.
    ///
    /// # Errors
    /// When the database fails or a mail cannot be rendered. Nothing was done then.
    pub async fn obey(&self, order: &DeskOrder, now: Timestamp) -> Result<Outcome, EffectProblem> {
        let mut tx = self.store.write().await?;
        let members = staff::active(&mut tx).await?;
        let Some(member) = members.iter().find(|member| member.id == order.member) else {
            return Ok(Outcome::Left);
        };
        let number = threads::hold(&mut tx, order.thread).await?;
        let Some(thread) = threads::participant(&mut tx, number).await? else { return Ok(Outcome::Unknown) };
        if desk::seen(&mut tx, number).await? != order.seen {
            let outcome =
                if self.is_repeated(&mut tx, number, order).await? { Outcome::Done } else { Outcome::Moved };
            return Ok(outcome);
        }
        let outcome = self.act(&mut tx, (&thread, member, &members), order, now).await?;
        if outcome == Outcome::Done {
            tx.commit().await?;
            self.wake.notify_waiters();
        }
        Ok(outcome)
    }

    /// The same words once more are no second answer: a button was pressed twice.
    async fn is_repeated(&self, tx: &mut Tx, number: i64, order: &DeskOrder) -> Result<bool, EffectProblem> {
        let kind = match order.wish {
            Wish::Answer { .. } => PostKind::Staff,
            Wish::Note => PostKind::Note,
            Wish::Close | Wish::Reopen | Wish::Assign(_) => return Ok(false),
        };
        let said = (kind, order.text.as_str());
        Ok(desk::was_said(tx, (number, order.member), order.seen.post, said).await?)
    }

    async fn act(
        &self,
        tx: &mut Tx,
        (thread, member, members): (&Participant, &StaffRow, &[StaffRow]),
        order: &DeskOrder,
        now: Timestamp,
    ) -> Result<Outcome, EffectProblem> {
        let number = thread.thread;
        let by = format!("by {}", member.name);
        let is_closed = thread.state == ThreadState::Closed.as_str();
        match order.wish {
            Wish::Answer { insists, closes } => {
                return self.answer(tx, (number, member), (order, insists, closes), now).await;
            }
            Wish::Note if order.text.is_empty() => {
                return Ok(Outcome::Refused { why: "a note needs words".to_owned(), question: false });
            }
            Wish::Note => {
                threads::add_post(tx, &NewPost::note(number, member, &order.text), now).await?;
                audit::record(tx, now, DOOR, "inbox note", &number.to_string(), &by).await?;
            }
            Wish::Close if !is_closed => {
                self.desk.close(tx, number, (DOOR, &by), now).await?;
            }
            Wish::Reopen if is_closed => {
                threads::set_open(tx, number, true, now).await?;
                audit::record(tx, now, DOOR, "inbox reopen", &number.to_string(), &by).await?;
            }
            Wish::Assign(heir) if heir != thread.assigned_to => {
                let found = members.iter().find(|member| Some(member.id) == heir);
                if heir.is_some() && found.is_none() {
                    let why = "whom you chose has left the desk".to_owned();
                    return Ok(Outcome::Refused { why, question: false });
                }
                self.assign(tx, (number, member, found), now).await?;
            }
            Wish::Close | Wish::Reopen | Wish::Assign(_) => {}
        }
        Ok(Outcome::Done)
    }

    async fn answer(
        &self,
        tx: &mut Tx,
        (thread, member): (i64, &StaffRow),
        (order, insists, closes): (&DeskOrder, bool, bool),
        now: Timestamp,
    ) -> Result<Outcome, EffectProblem> {
        let answer = Answer {
            thread,
            author: Some(member),
            also_called: "",
            text: &order.text,
            files: &[],
            seen: order.seen.post,
            insists,
            closes,
            inbound: None,
            doubt: None,
        };
        match self.desk.answer(tx, &answer, now).await? {
            Answered::Sent { thread, .. } => {
                let end = if closes { ", and closed" } else { "" };
                let detail = format!("by {}{end}", member.name);
                audit::record(tx, now, DOOR, "inbox reply", &thread.to_string(), &detail).await?;
                Ok(Outcome::Done)
            }
            Answered::Refused(refusal) => {
                Ok(Outcome::Refused { why: refusal.to_string(), question: refusal.is_a_question() })
            }
        }
    }

    /// Who takes a conversation needs no mail about it.
    async fn assign(
        &self,
        tx: &mut Tx,
        (thread, member, heir): (i64, &StaffRow, Option<&StaffRow>),
        now: Timestamp,
    ) -> Result<(), EffectProblem> {
        let by = format!("by {}", member.name);
        if heir.is_none_or(|heir| heir.id != member.id) {
            return self.desk.hand_over(tx, thread, heir, &by, now).await;
        }
        threads::assign(tx, thread, Some(member.id)).await?;
        let detail = format!("to {}, {by}", member.name);
        Ok(audit::record(tx, now, DOOR, "inbox assign", &thread.to_string(), &detail).await?)
    }
}
