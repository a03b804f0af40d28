//! A mailbox on an IMAP server (RFC 3501): what is new in it, its octets, and where a message goes once it is recorded.
//!
//! Nothing here decides when: `tasks::mailbox` records between fetching and filing. Messages are read with BODY.PEEK, and a mailbox
//! that is to stay as it is is opened with EXAMINE, so that nobody's \Seen changes. Memory is bounded whatever the server holds or
//! says: UIDs come in windows, small messages in batches, large ones in pieces, too large ones as their header. From the library
//! only the reading and writing of lines is used.
//!
//! Known gaps: no OAuth, no client certificates, no NOTIFY; one mailbox per connection; a server without both MOVE and UIDPLUS
//! keeps moved messages in their old place, marked as deleted.

mod fetch;
mod file;
mod login;
mod name;
mod wire;

use std::time::Duration;

use async_imap::imap_proto::{Capability, MailboxDatum, Response, ResponseCode};

use crate::domain::settings::{AfterImap, ImapSettings};
use name::quoted;
use wire::Wire;

pub use fetch::{Fetched, Listed};

/// The keyword of `after = "flag"`.
pub const KEYWORD: &str = "$TidingsRecorded";

/// Servers may close a connection after 30 minutes (RFC 9051 section 5.4), and some routers forget one after 10.
const IDLE_FOR: Duration = Duration::from_secs(9 * 60);

/// Why something could not be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImapProblem {
    /// The connection is gone, or could not be had. Another try may go better.
    #[error("{0}")]
    Lost(String),
    /// Login, certificate or settings: somebody has to do something.
    #[error("{0}")]
    Refused(String),
    /// The server understood a command and did not do it.
    #[error("the server says no: {0}")]
    No(String),
    /// As `No`, because the folder is missing.
    #[error("the server has no such folder: {0}")]
    NoFolder(String),
    /// What came is not IMAP, or more than was asked for. It is not shown: it may be anybody's mail.
    #[error("{0}")]
    Nonsense(String),
}

impl ImapProblem {
    fn slow() -> ImapProblem {
        ImapProblem::Lost("the server did not answer in time".to_owned())
    }

    /// Whether the connection can be used further.
    pub fn spares_connection(&self) -> bool {
        matches!(self, ImapProblem::No(_) | ImapProblem::NoFolder(_))
    }

    fn of(error: async_imap::error::Error) -> ImapProblem {
        use async_imap::error::Error;
        use std::io::ErrorKind;
        match error {
            Error::No(text) | Error::Bad(text) => ImapProblem::No(text),
            Error::Io(error) if error.kind() == ErrorKind::FileTooLarge => {
                ImapProblem::Nonsense("the server sends more than it was asked for".to_owned())
            }
            // Its text holds all that could not be read.
            Error::Io(error) if error.kind() == ErrorKind::Other => {
                ImapProblem::Nonsense("the server said something that is not IMAP".to_owned())
            }
            Error::Io(error) => ImapProblem::Lost(error.to_string()),
            Error::Parse(_) => ImapProblem::Nonsense("the server said something unexpected".to_owned()),
            Error::Validate(_) => ImapProblem::Refused("user name or password hold a line break".to_owned()),
            _ => ImapProblem::Lost("the connection was lost".to_owned()),
        }
    }
}

/// What opening a mailbox told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// UIDVALIDITY; `None`: UIDs mean nothing on the next connection.
    pub validity: Option<u32>,
    /// UIDNEXT.
    pub next: Option<u32>,
    pub messages: u32,
}

/// An open mailbox.
#[derive(Debug)]
pub struct Mailbox {
    wire: Wire,
    after: AfterImap,
    poll: Duration,
    opened: Opened,
    idles: bool,
    moves: bool,
    expunges: bool,
}

impl Mailbox {
    /// Connects, logs in and opens the mailbox.
    ///
    /// # Errors
    /// When one of these fails; a mailbox that is not there is `Refused`.
    pub async fn open(settings: &ImapSettings) -> Result<Mailbox, ImapProblem> {
        let mut wire = login::open(settings).await?;
        let mut offered: Vec<String> = Vec::new();
        wire.ask("CAPABILITY", 0, |response| {
            if let Response::Capabilities(list) = response {
                let atoms = list.iter().filter_map(|one| match one {
                    Capability::Atom(name) => Some(name.to_ascii_uppercase()),
                    _ => None,
                });
                offered.extend(atoms);
            }
        })
        .await?;
        let has = |name: &str| offered.iter().any(|known| known == name);
        // Read-only, where nothing is to be changed.
        let verb = if settings.after == AfterImap::Keep { "EXAMINE" } else { "SELECT" };
        let mut opened = Opened::default();
        let mut read_only = false;
        let command = format!("{verb} {}", quoted(&settings.mailbox));
        let selected = wire.ask(&command, 0, |response| {
            let code = match response {
                Response::MailboxData(MailboxDatum::Exists(count)) => {
                    opened.messages = *count;
                    return;
                }
                Response::Data { outcome, .. } | Response::Done { outcome, .. } => &outcome.code,
                _ => return,
            };
            match code {
                Some(ResponseCode::UidValidity(validity)) => opened.validity = Some(*validity),
                Some(ResponseCode::UidNext(next)) => opened.next = Some(*next),
                Some(ResponseCode::UidNotSticky) => opened.validity = None,
                Some(ResponseCode::ReadOnly) => read_only = true,
                _ => {}
            }
        });
        selected.await.map_err(|problem| match problem {
            ImapProblem::No(why) | ImapProblem::NoFolder(why) => {
                ImapProblem::Refused(format!("the mailbox {} cannot be opened: {why}", settings.mailbox))
            }
            other => other,
        })?;
        if read_only && settings.after != AfterImap::Keep {
            let why = format!("the mailbox {} may not be changed by this user", settings.mailbox);
            return Err(ImapProblem::Refused(why));
        }
        Ok(Mailbox {
            after: settings.after.clone(),
            poll: settings.poll,
            opened,
            idles: has("IDLE"),
            moves: has("MOVE"),
            expunges: has("UIDPLUS"),
            wire,
        })
    }

    pub fn opened(&self) -> Opened {
        self.opened
    }

    /// Returns when there may be new mail: the server said so, or it is time to look. Safe to drop only together with the mailbox.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn wait(&mut self) -> Result<(), ImapProblem> {
        if self.idles {
            self.idles = self.wire.idle(IDLE_FOR).await?;
        }
        if !self.idles {
            tokio::time::sleep(self.poll).await;
            self.wire.ask("NOOP", 0, |_| {}).await?;
        }
        Ok(())
    }

    /// Whether a folder is there and may be seen.
    ///
    /// # Errors
    /// When the server says no, or the connection is lost.
    pub async fn look_for(&mut self, folder: &str) -> Result<(), ImapProblem> {
        self.wire.ask(&format!("STATUS {} (UIDNEXT)", quoted(folder)), 0, |_| {}).await
    }

    /// Says goodbye. A failure changes nothing.
    pub async fn close(mut self) {
        // The answer to it is BYE, which is an error elsewhere.
        drop(self.wire.ask("LOGOUT", 0, |_| {}).await);
    }
}
