//! A person on the list.
use super::words::words;
words! {
    /// Whether a person agreed to get mail.
    SubscriberStatus {
        Active = "active",
        Pending = "pending",
        Unsubscribed = "unsubscribed",
    }
}
