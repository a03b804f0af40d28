//! Support conversations.
use super::words::words;
words! {
    /// Whose turn it is.
    ThreadState {
        Open = "open",
        Waiting = "waiting",
        Closed = "closed",
    }
}
words! {
    /// Who speaks in a post.
    PostKind {
        Subscriber = "subscriber",
        Staff = "staff",
        Note = "note",
        Automatic = "automatic",
    }
}
