//! A person who gets mail, as other files describe them.

use chrono_tz::Tz;

use super::address::Address;
use super::publication::TierId;
use super::words::words;
use crate::runtime::Timestamp;

words! {
    /// Whether a person gets editions.
    SubscriberStatus {
        /// Asked to join and has not confirmed yet.
        Pending = "pending",
        Active = "active",
        Unsubscribed = "unsubscribed",
    }
}

/// One checked row of an import. What it may change is decided where it is stored: an import never raises consent and never
/// lifts a suppression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRow {
    /// Where the record starts in its file, from 1.
    pub line: u64,
    pub address: Address,
    /// May be empty. NFC, one line, no control characters.
    pub name: String,
    /// One of the publication's tiers.
    pub tier: TierId,
    pub status: SubscriberStatus,
    pub timezone: Option<Tz>,
    pub language: Option<String>,
    pub term_started_at: Option<Timestamp>,
    pub term_ends_at: Option<Timestamp>,
}

/// Whether a text has the shape of a BCP 47 tag such as `en` or `pt-BR`.
pub fn is_language_tag(text: &str) -> bool {
    let mut parts = text.split('-');
    let first = parts.next().unwrap_or_default();
    (2..=3).contains(&first.len())
        && first.bytes().all(|b| b.is_ascii_alphabetic())
        && text.len() <= 35
        && parts.all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()))
}
