//! Layer 3: the doors that mail comes in by. A door hands on octets and envelope; it understands nothing of a message, and says
//! "taken" only after the deposit said so.

pub mod dns;
pub mod file;
pub mod imap;
pub mod knock;
pub mod lmtp;
pub mod maildir;
mod session;
pub mod signature;

use std::sync::Arc;

use crate::domain::inbound::InboundSource;

/// One message for one recipient, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedMail {
    /// Empty for the null sender `<>`; `None` where the source has no envelope.
    pub envelope_from: Option<String>,
    /// Empty where the source has no envelope.
    pub recipient: String,
    pub source: InboundSource,
    /// Shared between the recipients of one transaction.
    pub raw: Arc<Vec<u8>>,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DepositError {
    /// Storage is away or busy; the sender shall keep the message and try again.
    #[error("it cannot be stored now")]
    Later,
}

/// Where received mail goes. `Ok` means that it is stored for good.
pub trait Deposit: Send + Sync + 'static {
    /// Whether this is an address of ours. Asked at RCPT, so it must be quick.
    fn accepts(&self, recipient: &str) -> bool;

    fn deposit(&self, mail: ReceivedMail) -> impl Future<Output = Result<(), DepositError>> + Send;
}
