//! Where a message goes once it is recorded. Everything here may be done twice.

use super::name::{quoted, set};
use super::{ImapProblem, KEYWORD, Mailbox};
use crate::domain::settings::AfterImap;

impl Mailbox {
    /// Moves or flags these messages, as configured. Those that are gone are no error.
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

    /// By MOVE (RFC 6851), or as it was done before.
    async fn move_to(&mut self, uids: &[u32], folder: &str) -> Result<(), ImapProblem> {
        let (uids, folder) = (set(uids), quoted(folder));
        if self.moves {
            return self.wire.ask(&format!("UID MOVE {uids} {folder}"), 0, |_| {}).await;
        }
        self.wire.ask(&format!("UID COPY {uids} {folder}"), 0, |_| {}).await?;
        self.wire.ask(&format!("UID STORE {uids} +FLAGS.SILENT (\\Deleted)"), 0, |_| {}).await?;
        // A plain EXPUNGE would remove what other people have marked and still think about.
        if self.expunges {
            self.wire.ask(&format!("UID EXPUNGE {uids}"), 0, |_| {}).await?;
        }
        Ok(())
    }
}
