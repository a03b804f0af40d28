//! The Maildir line: what is in `new` -> record -> move to `cur` or delete, and look again.
//!
//! A file is known by its octets, so one that was recorded before a crash is only put where it belongs.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::sync::Arc;

use super::mailbox::Common;
use super::recording::{Found, Recorded};
use crate::domain::alarm::AlarmCause;
use crate::domain::inbound::InboundSource;
use crate::domain::settings::{AfterMaildir, MaildirSettings};
use crate::intake::ReceivedMail;
use crate::intake::maildir::{Maildir, Read};
use crate::mail::envelope;

/// Names that are read from the folder at once.
const LISTED: usize = 500;
/// Octets that are handed in before their commit is waited for.
const GROUP_BYTES: usize = 4 << 20;

/// Reads one Maildir.
pub struct MaildirLine {
    pub settings: MaildirSettings,
    pub common: Common,
}

/// Why reading stopped; the messages are in the folder.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    #[error("{0}")]
    Folder(#[from] io::Error),
    #[error("{0}")]
    Store(String),
}

impl MaildirLine {
    /// Reads until shutdown.
    pub async fn run(self) {
        let (shutdown, clock) = (self.common.shutdown.clone(), self.common.clock.clone());
        let place = self.settings.path.display().to_string();
        while !shutdown.asked() {
            let stepped = tokio::select! {
                stepped = self.step() => stepped,
                () = shutdown.wait() => return,
            };
            match stepped {
                Ok(_) => self.common.alarms.intake_works(&place),
                Err(Stopped::Folder(error)) => {
                    self.common.alarms.intake_failed(&place, &error, clock.now());
                    tracing::warn!(%place, %error, "the Maildir cannot be read");
                }
                // That the store is away is said elsewhere.
                Err(Stopped::Store(why)) => tracing::warn!(%place, %why, "mail waits in the Maildir"),
            }
            tokio::select! {
                () = tokio::time::sleep(self.settings.poll) => {}
                () = shutdown.wait() => return,
            }
        }
    }

    /// Takes all that is in `new`. Answers how many files it put where they belong.
    ///
    /// # Errors
    /// When the folder cannot be read or written, or nothing can be recorded.
    pub async fn step(&self) -> Result<usize, Stopped> {
        let path = self.settings.path.clone();
        let maildir = off_reactor(move || Maildir::open(&path)).await?;
        let (mut taken, mut unread) = (0, Unread::default());
        loop {
            let (looked, left_out) = (maildir.clone(), unread.names.len());
            let mut names = off_reactor(move || looked.list(LISTED + left_out)).await?;
            names.retain(|name| !unread.names.contains(name));
            if names.is_empty() {
                return unread.first.map_or(Ok(taken), |error| Err(error.into()));
            }
            let mut names = names.into_iter().peekable();
            while names.peek().is_some() {
                taken += self.take_group(&maildir, &mut names, &mut unread).await?;
            }
        }
    }

    async fn take_group(
        &self,
        maildir: &Maildir,
        names: &mut impl Iterator<Item = OsString>,
        unread: &mut Unread,
    ) -> Result<usize, Stopped> {
        let (mut answers, mut octets) = (Vec::new(), 0);
        let max = self.common.max_message;
        for name in names.by_ref() {
            let (read_from, wanted) = (maildir.clone(), name.clone());
            let (raw, set_aside) = match off_reactor(move || read_from.read(&wanted, max)).await {
                Ok(Read::Whole(raw)) => (raw, None),
                Ok(Read::Part(why, start)) => (start, Some(why)),
                Ok(Read::Gone) => continue,
                Err(error) => {
                    unread.note(name, error);
                    continue;
                }
            };
            octets += raw.len();
            let mail = ReceivedMail {
                envelope_from: None,
                recipient: envelope::delivered_for(&raw, &self.common.own).unwrap_or_default(),
                source: InboundSource::Maildir,
                raw: Arc::new(raw),
            };
            let reason = set_aside.clone();
            let handed =
                self.common.recorder.hand_in(Found { mail, place: None, set_aside, late: None }).await;
            answers.push((name, reason, handed.map_err(|problem| Stopped::Store(problem.to_string()))?));
            if octets >= GROUP_BYTES {
                break;
            }
        }
        let taken = answers.len();
        for (name, reason, answer) in answers {
            let recorded = answer.recorded().await.map_err(|problem| Stopped::Store(problem.to_string()))?;
            // What is not whole in the store is not deleted.
            let after = if reason.is_some() { AfterMaildir::Keep } else { self.settings.after };
            if let (Recorded::New(id), Some(reason)) = (recorded, reason) {
                self.common.raise(AlarmCause::InboundQuarantined, "", &format!("number {id}: {reason}"));
            }
            let maildir = maildir.clone();
            off_reactor(move || maildir.file(&name, after)).await?;
        }
        Ok(taken)
    }
}

/// Files that cannot be read, in one step: they stop no other, and are tried again at the next one.
#[derive(Default)]
struct Unread {
    names: BTreeSet<OsString>,
    first: Option<io::Error>,
}

impl Unread {
    fn note(&mut self, name: OsString, error: io::Error) {
        let named = io::Error::new(error.kind(), format!("new/{}: {error}", name.to_string_lossy()));
        self.first.get_or_insert(named);
        self.names.insert(name);
    }
}

async fn off_reactor<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
