//! The words of a received message's life. What it was found to be is in `verdict`, where it belongs is in `thread`.

use super::words::words;

words! {
    /// Where a received message stands. `received` is committed before the sender hears 250, so nothing is lost after that.
    InboundState {
        Received = "received",
        Done = "done",
        /// It failed three times; it waits for an operator with its reason and stops no other message.
        Quarantined = "quarantined",
    }
}

words! {
    /// The door a message came through.
    InboundSource {
        Lmtp = "lmtp",
        Imap = "imap",
        Maildir = "maildir",
        File = "file",
    }
}
