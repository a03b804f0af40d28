//! What staff do on the desk's page. Each wish is one transaction: that the conversation is still what the page showed, the change, and
//! who made it. An answer goes through the one function of [`super::answer`].

use std::sync::Arc;

use tokio::sync::Notify;

use super::answer::{Answer, Answered};
use super::receive::EffectProblem;
use super::threading::Desk;
use crate::domain::desk::{DeskOrder, Enclosed, Outcome, Wish};
use crate::domain::thread::{PostKind, ThreadState};
use crate::mail::files::{File, Shown};
use crate::runtime::Timestamp;
use crate::store::desk::{self, News};
use crate::store::staff::StaffRow;
use crate::store::threads::{self, NewPost, Participant};
use crate::store::{Store, Tx, audit, staff};

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
            let news = desk::news(&mut tx, number, order.seen).await?;
            let is_done = is_repeated(order, member, &members, &news);
            return Ok(if is_done { Outcome::Done } else { Outcome::Moved });
        }
        let outcome = self.act(&mut tx, (&thread, member, &members), order, now).await?;
        if outcome == Outcome::Done {
            tx.commit().await?;
            self.wake.notify_waiters();
        }
        Ok(outcome)
    }

    async fn act(
        &self,
        tx: &mut Tx,
        (thread, member, members): (&Participant, &StaffRow, &[StaffRow]),
        order: &DeskOrder,
        now: Timestamp,
    ) -> Result<Outcome, EffectProblem> {
        let number = thread.thread;
        let (action, detail) = told(order, member, members);
        let is_closed = thread.state == ThreadState::Closed.as_str();
        match order.wish {
            Wish::Answer { insists, closes } => {
                let answered = self.answer(tx, (number, member), (order, insists, closes), now).await?;
                if answered != Outcome::Done {
                    return Ok(answered);
                }
                audit::record(tx, now, DOOR, action, &number.to_string(), &detail).await?;
            }
            Wish::Note if !order.files.is_empty() => {
                let why = "a note holds words only; files go with an answer".to_owned();
                return Ok(Outcome::Refused { why, question: false });
            }
            Wish::Note if order.text.is_empty() => {
                return Ok(Outcome::Refused { why: "a note needs words".to_owned(), question: false });
            }
            Wish::Note => {
                let post = threads::add_post(tx, &NewPost::note(number, member, &order.text), now).await?;
                self.desk.tell_of_note(tx, (thread, member), (post, &order.text), now).await?;
                audit::record(tx, now, DOOR, action, &number.to_string(), &detail).await?;
            }
            Wish::Close if !is_closed => {
                self.desk.close(tx, number, (DOOR, &detail), now).await?;
            }
            Wish::Reopen if is_closed => {
                threads::set_open(tx, number, true, now).await?;
                audit::record(tx, now, DOOR, action, &number.to_string(), &detail).await?;
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
        let file = |file: &Enclosed| File {
            name: file.name.clone(),
            media_type: file.media_type.clone(),
            octets: file.octets.clone(),
            shown: Shown::Nowhere,
        };
        let files: Vec<File> = order.files.iter().map(file).collect();
        let answer = Answer {
            thread,
            author: Some(member),
            also_called: "",
            text: &order.text,
            files: &files,
            seen: order.seen.post,
            insists,
            closes,
            inbound: None,
            doubt: None,
            instead_of: None,
        };
        match self.desk.answer(tx, &answer, now).await? {
            Answered::Sent { .. } => Ok(Outcome::Done),
            Answered::Refused(refusal) => {
                Ok(Outcome::Refused { why: refusal.to_string(), question: refusal.is_a_question() })
            }
        }
    }

    async fn assign(
        &self,
        tx: &mut Tx,
        (thread, member, heir): (i64, &StaffRow, Option<&StaffRow>),
        now: Timestamp,
    ) -> Result<(), EffectProblem> {
        let by = format!("by {}", member.name);
        self.desk.hand_over(tx, thread, heir, (Some(member), &by), now).await
    }
}

/// How the audit tells of what was ordered.
fn told(order: &DeskOrder, member: &StaffRow, members: &[StaffRow]) -> (&'static str, String) {
    let by = format!("by {}", member.name);
    match order.wish {
        Wish::Answer { closes: true, .. } => ("inbox reply", format!("{by}, and closed")),
        Wish::Answer { closes: false, .. } => ("inbox reply", by),
        Wish::Note => ("inbox note", by),
        Wish::Close => ("inbox close", by),
        Wish::Reopen => ("inbox reopen", by),
        Wish::Assign(heir) => {
            let found = members.iter().find(|member| Some(member.id) == heir);
            ("inbox assign", format!("to {}, {by}", found.map_or("nobody", |heir| &heir.name)))
        }
    }
}

/// A button was pressed twice: this very order is all that happened since the page was made. The same words once more, after
/// somebody else's, are another answer.
fn is_repeated(order: &DeskOrder, member: &StaffRow, members: &[StaffRow], news: &News) -> bool {
    let (action, detail) = told(order, member, members);
    let post = match order.wish {
        Wish::Answer { .. } => Some(PostKind::Staff),
        Wish::Note => Some(PostKind::Note),
        Wish::Close | Wish::Reopen | Wish::Assign(_) => None,
    };
    let post = post.map(|kind| (kind.as_str().to_owned(), Some(member.id), order.text.clone()));
    news.changes == [(action.to_owned(), detail)] && news.posts == Vec::from_iter(post)
}
