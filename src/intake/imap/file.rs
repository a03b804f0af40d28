//! Where a message goes once it is recorded. Everything here may be done twice, but a copy: it would be there twice.

use super::name::{quoted, set};
use super::{ImapProblem, KEYWORD, Mailbox};
use crate::domain::settings::AfterImap;

impl Mailbox {
    /// Whether [`Mailbox::file`] copies, and [`Mailbox::remove`] has to follow.
    pub fn copies(&self) -> bool {
        !self.moves && matches!(self.after, AfterImap::Move(_))
    }

    /// Moves, copies or flags these messages, as configured. Those that are gone are no error.
    ///
    /// # Errors
    /// When the connection is lost or the server says no; some of them may have been moved then.
    pub async fn file(&mut self, uids: &[u32]) -> Result<(), ImapProblem> {
        if uids.is_empty() {
            return Ok(());
        }
        match self.after.clone() {
            AfterImap::Keep => Ok(()),
            AfterImap::Flag => {
                let command = format!("UID STORE {} +FLAGS.SILENT ({KEYWORD})", set(uids));
                self.wire.ask(&command, 0, |_| {}).await
            }
            AfterImap::Move(folder) => match self.move_to(uids, &folder).await {
                Err(ImapProblem::NoFolder(_)) => {
                    self.wire.ask(&format!("CREATE {}", quoted(&folder)), 0, |_| {}).await?;
                    self.move_to(uids, &folder).await
                }
                done => done,
            },
        }
    }

    /// Removes messages of which there is a copy.
    ///
    /// # Errors
    /// As [`Mailbox::file`].
    pub async fn remove(&mut self, uids: &[u32]) -> Result<(), ImapProblem> {
        let uids = set(uids);
        self.wire.ask(&format!("UID STORE {uids} +FLAGS.SILENT (\\Deleted)"), 0, |_| {}).await?;
        // A plain EXPUNGE would remove what other people have marked and still think about.
        if self.expunges {
            self.wire.ask(&format!("UID EXPUNGE {uids}"), 0, |_| {}).await?;
        }
        Ok(())
    }

    /// By MOVE (RFC 6851), or as it was done before.
    async fn move_to(&mut self, uids: &[u32], folder: &str) -> Result<(), ImapProblem> {
        let (uids, folder) = (set(uids), quoted(folder));
        let verb = if self.moves { "MOVE" } else { "COPY" };
        self.wire.ask(&format!("UID {verb} {uids} {folder}"), 0, |_| {}).await
    }
}
