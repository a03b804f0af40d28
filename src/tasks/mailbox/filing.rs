//! Where recorded messages go: moved or flagged on the server, as configured.
//!
//! Moving and flagging may be done twice; a copy (RFC 3501 has no MOVE) may not. So each step of copy and delete is in the store:
//! the copy is written down before its command leaves, and what nobody answered for stays where it is. A server that refuses, or
//! hangs up, stops no reading: filing rests until the next connection, or for an hour, and operators are told of one reason once.

use std::time::Duration;

use super::{MailboxLine, Stopped};
use crate::domain::alarm::AlarmCause;
use crate::intake::imap::Mailbox;
use crate::runtime::Timestamp;
use crate::store::mailboxes::{self, Filing};

/// Messages that are moved or flagged with one command.
const FILED: i64 = 500;
/// Connections in a row that were lost by it.
const LOST: u32 = 3;
const REST: Duration = Duration::from_secs(3600);

/// How filing goes.
#[derive(Clone, Debug, Default)]
pub(super) struct Filer {
    /// What connections before left unanswered was looked for.
    looked: bool,
    /// It was refused then, on this connection.
    refused_at: Option<Timestamp>,
    /// Connections that were lost by it one after the other, and when the last one was.
    lost: u32,
    lost_at: Option<Timestamp>,
    /// What operators know.
    told: Option<String>,
}

impl Filer {
    /// There is a new connection.
    pub fn begin(&mut self) {
        self.refused_at = None;
        self.looked = false;
    }

    fn rests(&self, now: Timestamp) -> bool {
        let lately = |at: Option<Timestamp>| at.is_some_and(|at| now.since(at) < REST);
        lately(self.refused_at) || (self.lost >= LOST && lately(self.lost_at))
    }
}

impl MailboxLine {
    /// Moves or flags what is recorded. A server that refuses is told of, and reading goes on.
    pub(super) async fn file(&mut self, mailbox: &mut Mailbox, id: i64) -> Result<(), Stopped> {
        let now = self.common.clock.now();
        if self.filer.rests(now) {
            return Ok(());
        }
        match self.file_all(mailbox, id).await {
            Ok(done) => {
                if done {
                    self.filer = Filer { looked: true, ..Filer::default() };
                }
                Ok(())
            }
            Err(Stopped::Server(problem)) if problem.spares_connection() => {
                self.filer.refused_at = Some(now);
                self.tell_once(format!("recorded messages stay where they are: {problem}"));
                Ok(())
            }
            Err(Stopped::Server(problem)) => {
                self.filer.lost += 1;
                self.filer.lost_at = Some(now);
                if self.filer.lost >= LOST {
                    self.tell_once(format!(
                        "recorded messages stay where they are, because the server fails at moving them: {problem}"
                    ));
                }
                Err(Stopped::Server(problem))
            }
            Err(stopped) => Err(stopped),
        }
    }

    fn tell_once(&mut self, text: String) {
        if self.filer.told.as_ref() != Some(&text) {
            self.common.raise(AlarmCause::IntakeRefuses, &self.place(), &text);
            self.filer.told = Some(text);
        }
    }

    /// Answers whether there was anything to do.
    async fn file_all(&mut self, mailbox: &mut Mailbox, id: i64) -> Result<bool, Stopped> {
        if !mailbox.copies() {
            return self.each(mailbox, id, Filing::Waiting).await;
        }
        if !self.filer.looked {
            self.leave_unanswered(id).await?;
            self.filer.looked = true;
        }
        let copied = self.each(mailbox, id, Filing::Waiting).await?;
        Ok(self.each(mailbox, id, Filing::Copied).await? || copied)
    }

    async fn each(&mut self, mailbox: &mut Mailbox, id: i64, step: Filing) -> Result<bool, Stopped> {
        let mut after = 0;
        loop {
            let mut tx = self.common.store.read().await?;
            let uids = mailboxes::unfiled(&mut tx, id, step, after, FILED).await?;
            drop(tx);
            let Some(last) = uids.last() else { return Ok(after > 0) };
            after = *last;
            match step {
                Filing::Waiting if mailbox.copies() => self.copy(mailbox, id, &uids).await?,
                Filing::Copied => mailbox.remove(&uids).await?,
                _ => mailbox.file(&uids).await?,
            }
            if step == Filing::Waiting && mailbox.copies() {
                continue;
            }
            let mut tx = self.common.store.write().await?;
            mailboxes::filed(&mut tx, id, &uids).await?;
            tx.commit().await?;
        }
    }

    async fn copy(&self, mailbox: &mut Mailbox, id: i64, uids: &[u32]) -> Result<(), Stopped> {
        if !self.step_on(id, uids, (Filing::Waiting, Filing::Copying)).await? {
            return Ok(());
        }
        match mailbox.file(uids).await {
            Ok(()) => drop(self.step_on(id, uids, (Filing::Copying, Filing::Copied)).await?),
            Err(problem) => {
                // A refused copy has copied nothing (RFC 3501 section 6.4.7).
                if problem.spares_connection() {
                    self.step_on(id, uids, (Filing::Copying, Filing::Waiting)).await?;
                }
                return Err(problem.into());
            }
        }
        Ok(())
    }

    /// Nothing happens where another process was quicker.
    async fn step_on(&self, id: i64, uids: &[u32], steps: (Filing, Filing)) -> Result<bool, Stopped> {
        let mut tx = self.common.store.write().await?;
        let moved = mailboxes::step_on(&mut tx, id, uids, steps).await?;
        if moved {
            tx.commit().await?;
        }
        Ok(moved)
    }

    async fn leave_unanswered(&mut self, id: i64) -> Result<(), Stopped> {
        let mut tx = self.common.store.write().await?;
        let left = mailboxes::leave_unanswered(&mut tx, id).await?;
        tx.commit().await?;
        if left > 0 {
            let text = format!(
                "{left} recorded messages stay where they are: the connection was lost while they were copied, and a copy may be there already"
            );
            self.common.raise(AlarmCause::IntakeRefuses, &self.place(), &text);
        }
        Ok(())
    }
}
