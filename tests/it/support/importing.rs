//! Rows as an import reads them.

use tidings::domain::address::Address;
use tidings::domain::subscriber::{ImportRow, SubscriberStatus};

/// Somebody active, of whom the file says nothing else.
pub fn row(address: &str, tier: &str) -> ImportRow {
    ImportRow {
        line: 2,
        address: Address::parse(address).unwrap(),
        name: String::new(),
        tier: tier.into(),
        status: SubscriberStatus::Active,
        timezone: None,
        language: None,
        term_started_at: None,
        term_ends_at: None,
        note: String::new(),
        history: Vec::new(),
        suppression: None,
        unclear: None,
        keeps_tier: false,
    }
}
