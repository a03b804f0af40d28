//! What programs report about a mail of ours: that it bounced, that somebody complained, that it was read. Octets to facts.
//!
//! Whose mail it is, is found by our own tokens: in the copy that came back, in the fields of the report, in the text of servers that
//! send neither. Recipients are redacted, forwarded and forged; tokens are not (W134, W150). A candidate is any run of letters and
//! digits of a token's length, so that it does not matter which field or link was left over. Limits: octets and candidates.

use std::collections::HashSet;

use super::leaves::{Leaf, leaves};
use super::parse::Parsed;
use super::token::Keyring;
use super::{arf, bounce_text, dsn, parse};
use crate::domain::bounce::{BounceForm, Report};
use crate::domain::token::{Purpose, Subject};
use crate::domain::verdict::{Facts, Returned};

/// Octets of one part that are searched for tokens.
const SEARCHED: usize = 64 * 1024;
const CANDIDATES_MAX: usize = 200;
/// Purpose, key, two rows and the MAC, as base32.
const TOKEN_MIN: usize = 26;
const TOKEN_LONGEST: usize = 56;

/// Adds to the facts what the message reports.
pub fn add(facts: &mut Facts, raw: &[u8], parsed: &Parsed, keyring: &Keyring) {
    let found = read(raw, parsed, keyring);
    facts.bounce = found.bounce;
    facts.feedback = found.feedback;
    facts.returned = found.returned;
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub bounce: Option<Report>,
    pub feedback: Option<crate::domain::complaint::FeedbackType>,
    pub returned: Returned,
}

/// Reads a message as a report.
pub fn read(raw: &[u8], parsed: &Parsed, keyring: &Keyring) -> Found {
    let leaves = leaves(raw);
    let feedback = arf::read(parsed, &leaves);
    let bounce = feedback.is_none().then(|| bounce(parsed, &leaves)).flatten();
    let returned = match bounce.is_some() || feedback.is_some() || parsed.report.is_some() {
        true => returned(&leaves, keyring),
        false => Returned::default(),
    };
    Found { bounce, feedback, returned }
}

/// The bounce in a message, with fields or in words.
pub fn bounce_in(raw: &[u8]) -> Option<Report> {
    let parsed = parse::parse(raw);
    bounce(&parsed, &leaves(raw))
}

/// Fields count before words; words are read where the fields name nobody.
fn bounce(parsed: &Parsed, leaves: &[Leaf<'_>]) -> Option<Report> {
    let fields = dsn::read(leaves);
    if fields.as_ref().is_some_and(|report| !report.recipients.is_empty()) {
        return fields;
    }
    bounce_text::read(parsed, leaves).or(fields).or_else(|| unknown(parsed))
}

/// A mail server's message in words that nobody here knows: it names itself.
fn unknown(parsed: &Parsed) -> Option<Report> {
    const SERVERS: [&str; 3] = ["mailer-daemon", "postmaster", "mail-daemon"];
    let from = parsed.from.as_ref()?;
    let local = from.address.rsplit_once('@').map_or("", |(local, _)| local).to_lowercase();
    let name = from.name.to_lowercase();
    let is_server = SERVERS.contains(&local.as_str()) || name.contains("mail delivery");
    is_server.then(|| Report {
        form: BounceForm::Unknown,
        name: "unknown".to_owned(),
        recipients: Vec::new(),
    })
}

/// Which mail of ours came back, by the first token of each kind.
fn returned(leaves: &[Leaf<'_>], keyring: &Keyring) -> Returned {
    let mut found = Returned::default();
    let mut tried: HashSet<String> = HashSet::new();
    // The copy first: what stands in the words may be quoted from somewhere else.
    let (copies, others): (Vec<_>, Vec<_>) = leaves.iter().partition(|leaf| leaf.is_enclosed_message());
    for leaf in copies.into_iter().chain(others) {
        let octets = leaf.octets();
        let text = String::from_utf8_lossy(&octets[..octets.len().min(SEARCHED)]);
        for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
            if !(TOKEN_MIN..=TOKEN_LONGEST).contains(&word.len()) || tried.len() >= CANDIDATES_MAX {
                continue;
            }
            if tried.insert(word.to_ascii_lowercase())
                && let Some(subject) = keyring.verify(word)
            {
                found.add(subject);
            }
        }
    }
    found
}

impl Returned {
    fn add(&mut self, Subject { purpose, row, .. }: Subject) {
        let slot = match purpose {
            Purpose::Bounce | Purpose::MessageId | Purpose::Edition | Purpose::View => &mut self.delivery,
            Purpose::Unsubscribe | Purpose::Preferences => &mut self.subscriber,
            _ => return,
        };
        if row > 0 {
            slot.get_or_insert(row);
        }
    }
}
