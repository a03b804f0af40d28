//! Received mail.
use super::words::words;
words! {
    /// How far a received message has come.
    InboundState {
        Received = "received",
        Done = "done",
        Quarantined = "quarantined",
    }
}
words! {
    /// The door it came through.
    InboundSource {
        Lmtp = "lmtp",
        Imap = "imap",
        Maildir = "maildir",
        File = "file",
    }
}
