//! A person who gets mail: as the store knows them, and as other files describe them.

use chrono_tz::Tz;

use super::address::Address;
use super::publication::{Term, TierId};
use super::suppression::SuppressionReason;
use super::term::{self, Known};
use super::words::words;
use crate::runtime::Timestamp;

/// Whose name a proof shows where nobody's is asked for.
pub const SAMPLE_NAME: &str = "Sample Reader";

words! {
    /// Whether a person gets editions.
    SubscriberStatus {
        /// Asked to join and has not confirmed yet.
        Pending = "pending",
        Active = "active",
        Unsubscribed = "unsubscribed",
    }
}

/// A person as the store knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// 0 before they are stored.
    pub id: i64,
    pub address: Address,
    pub name: String,
    pub tier: TierId,
    pub status: SubscriberStatus,
    /// An IANA name.
    pub timezone: Option<String>,
    pub language: Option<String>,
    pub term_started_at: Option<Timestamp>,
    pub term_ends_at: Option<Timestamp>,
}

impl Subscriber {
    /// What an import makes of a person whom the store knows. Consent is never raised: who left or never confirmed stays so,
    /// whatever a file says, and only a file that says `unsubscribed` changes a status. Empty fields of the file change nothing,
    /// but a new tier comes with its own term or with none. `length`: of a term of the row's tier.
    pub fn merged(&self, row: &ImportRow, length: Option<Term>, now: Timestamp) -> Subscriber {
        let left = row.status == SubscriberStatus::Unsubscribed;
        // A term belongs to its tier: who bought another one does not keep the end of the old.
        let same = row.keeps_tier || row.tier == self.tier;
        let known = Known { started_at: self.term_started_at, ends_at: self.term_ends_at };
        let begins = match row.term_ends_at {
            _ if !same => Some(now),
            Some(ends) => term::begins(known, ends, length, now),
            None => known.started_at,
        };
        Subscriber {
            id: self.id,
            address: self.address.clone(),
            name: if row.name.is_empty() { self.name.clone() } else { row.name.clone() },
            tier: if row.keeps_tier { self.tier.clone() } else { row.tier.clone() },
            status: if left { SubscriberStatus::Unsubscribed } else { self.status },
            timezone: row.timezone.map(|zone| zone.name().to_owned()).or_else(|| self.timezone.clone()),
            language: row.language.clone().or_else(|| self.language.clone()),
            term_started_at: row.term_started_at.or(begins),
            term_ends_at: row.term_ends_at.or(known.ends_at.filter(|_| same)),
        }
    }
}

impl From<&ImportRow> for Subscriber {
    fn from(row: &ImportRow) -> Subscriber {
        Subscriber {
            id: 0,
            address: row.address.clone(),
            name: row.name.clone(),
            tier: row.tier.clone(),
            status: row.status,
            timezone: row.timezone.map(|zone| zone.name().to_owned()),
            language: row.language.clone(),
            term_started_at: row.term_started_at,
            term_ends_at: row.term_ends_at,
        }
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
    /// The file does not say the tier, or not clearly: `tier` is for people who are new, and who is known keeps theirs.
    pub keeps_tier: bool,
    pub status: SubscriberStatus,
    pub timezone: Option<Tz>,
    pub language: Option<String>,
    pub term_started_at: Option<Timestamp>,
    pub term_ends_at: Option<Timestamp>,
    /// May be empty, may have several lines.
    pub note: String,
    /// Added, never lifted.
    pub suppression: Option<ImportedSuppression>,
    /// Added to what is known, never in its place.
    pub history: Vec<ImportedConsent>,
    /// What the file left open and was decided the careful way; people should look at it.
    pub unclear: Option<String>,
}

/// Why a file says that an address must not be mailed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedSuppression {
    pub reason: SuppressionReason,
    /// `None`: the file does not say when.
    pub at: Option<Timestamp>,
    /// `None`: the import itself.
    pub source: Option<String>,
}

/// One line of a consent history as a file tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedConsent {
    pub at: Timestamp,
    /// `None`: what the import declares.
    pub source: Option<String>,
    pub text: String,
}

/// Two notes about one person as one: nothing is lost, and taking the same note again changes nothing.
pub fn joined_notes(known: &str, new: &str) -> String {
    let holds = |all: &str, part: &str| format!("\n\n{all}\n\n").contains(&format!("\n\n{part}\n\n"));
    if new.is_empty() || holds(known, new) {
        known.to_owned()
    } else if known.is_empty() || holds(new, known) {
        new.to_owned()
    } else {
        format!("{known}\n\n{new}")
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn row(status: SubscriberStatus, tier: &str) -> ImportRow {
        ImportRow {
            line: 2,
            address: Address::parse("ann@x.example").unwrap(),
            name: String::new(),
            tier: tier.into(),
            keeps_tier: false,
            status,
            timezone: None,
            language: None,
            term_started_at: None,
            term_ends_at: Some(Timestamp(9)),
            note: String::new(),
            suppression: None,
            history: Vec::new(),
            unclear: None,
        }
    }

    #[test]
    fn an_import_never_raises_consent() {
        use SubscriberStatus::{Active, Pending, Unsubscribed};
        for (known, file, expected) in [
            (Unsubscribed, Active, Unsubscribed),
            (Pending, Active, Pending),
            (Active, Unsubscribed, Unsubscribed),
            (Pending, Unsubscribed, Unsubscribed),
            (Active, Active, Active),
            (Active, Pending, Active),
        ] {
            let before = Subscriber { name: "Ann".into(), ..Subscriber::from(&row(known, "free")) };
            let after = before.merged(&row(file, "yearly"), None, Timestamp(0));
            assert_eq!(after.status, expected, "{known} and the file says {file}");
            assert_eq!((after.tier.as_str(), after.name.as_str()), ("yearly", "Ann"));
            assert_eq!(after.term_ends_at, Some(Timestamp(9)));
        }
    }

    #[test]
    fn a_new_tier_does_not_keep_the_old_term() {
        use SubscriberStatus::Active;
        let before = Subscriber::from(&row(Active, "yearly"));
        let silent = |tier| ImportRow { term_ends_at: None, ..row(Active, tier) };
        let merged = |tier| before.merged(&silent(tier), None, Timestamp(5));
        assert_eq!(
            (merged("yearly").term_started_at, merged("yearly").term_ends_at),
            (None, Some(Timestamp(9)))
        );
        let started = Some(Timestamp(5));
        assert_eq!((merged("lifetime").term_started_at, merged("lifetime").term_ends_at), (started, None));
    }

    #[test]
    fn a_row_that_says_when_a_term_starts_is_believed() {
        const DAY: i64 = 86_400_000;
        let before = Subscriber {
            term_started_at: Some(Timestamp(0)),
            term_ends_at: Some(Timestamp(30 * DAY)),
            ..Subscriber::from(&row(SubscriberStatus::Active, "yearly"))
        };
        let told = |start, end: i64| {
            let row = ImportRow {
                term_started_at: start,
                term_ends_at: Some(Timestamp(end * DAY)),
                ..row(SubscriberStatus::Active, "yearly")
            };
            before.merged(&row, None, Timestamp(29 * DAY)).term_started_at
        };
        assert_eq!(told(Some(Timestamp(7)), 60), Some(Timestamp(7)));
        assert_eq!(told(Some(Timestamp(0)), 60), Some(Timestamp(0)), "no renewal");
        assert_eq!(told(None, 60), Some(Timestamp(30 * DAY)));
        assert_eq!(told(None, 33), Some(Timestamp(0)));
        // The same file once more changes nothing.
        let renewed =
            ImportRow { term_ends_at: Some(Timestamp(60 * DAY)), ..row(SubscriberStatus::Active, "yearly") };
        let after = before.merged(&renewed, None, Timestamp(29 * DAY));
        assert_eq!(after.merged(&renewed, None, Timestamp(40 * DAY)), after);
    }

    #[test]
    fn a_file_without_tiers_takes_nobodys_tier() {
        let before = Subscriber::from(&row(SubscriberStatus::Active, "yearly"));
        let silent = ImportRow { keeps_tier: true, ..row(SubscriberStatus::Active, "free") };
        assert_eq!(before.merged(&silent, None, Timestamp(0)).tier.as_str(), "yearly");
        assert_eq!(Subscriber::from(&silent).tier.as_str(), "free");
    }

    #[test]
    fn notes_are_joined_once() {
        assert_eq!(joined_notes("", "a"), "a");
        assert_eq!(joined_notes("a", ""), "a");
        let both = joined_notes("a\nb", "c");
        assert_eq!(both, "a\nb\n\nc");
        assert_eq!(joined_notes(&both, "c"), both);
        assert_eq!(joined_notes("c", &both), both);
        assert_eq!(joined_notes("abc", "b"), "abc\n\nb");
    }
}
