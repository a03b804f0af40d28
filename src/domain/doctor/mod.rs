//! What a set of DNS records means for a sender: the checks of `tidings doctor` that are about names (W65-W84). Pure.
//!
//! A rule reads a [`Zone`], the answers that are known so far. What it misses comes back as questions; whoever can ask (tasks and
//! intake) adds the answers and calls [`examine`] again, until nothing is missing. So a rule follows includes and parents as if it
//! asked by itself, and a test is a table of records.
//!
//! "Not there" and "could not be looked up" are never the same (W77): a name server that fails makes the check `unknown`, which is
//! no pass. One lookup that fails is one finding; other checks that need it say `skipped`.

mod dkim;
mod dmarc;
mod names;
mod spf;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Serialize;

use super::words::words;

words! {
    /// How a check ended. Only `warn`, `fail` and `unknown` are findings.
    Status {
        Ok = "ok",
        Warn = "warn",
        Fail = "fail",
        /// It could not be found out.
        Unknown = "unknown",
        /// It does not apply, or another finding has to be repaired first.
        Skipped = "skipped",
    }
}

/// The answer of one check (W79).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The rule of the wire that it belongs to, for example `W74`.
    pub id: &'static str,
    /// A stable word for what was looked at or found.
    pub key: &'static str,
    pub status: Status,
    /// Where: a name in DNS, a relay, a setting, a file.
    #[serde(rename = "where")]
    pub place: String,
    pub found: String,
    pub expected: String,
    /// The record, line or command that repairs it. Empty where there is nothing to repair.
    pub fix: String,
    /// What providers would answer to mail with this fault (W165).
    pub codes: Vec<String>,
}

impl Check {
    pub fn new(id: &'static str, key: &'static str, status: Status, place: &str) -> Check {
        let place = place.to_owned();
        let (found, expected, fix) = (String::new(), String::new(), String::new());
        Check { id, key, status, place, found, expected, fix, codes: Vec::new() }
    }

    pub fn ok(id: &'static str, key: &'static str, place: &str) -> Check {
        Check::new(id, key, Status::Ok, place)
    }

    pub fn fail(id: &'static str, key: &'static str, place: &str) -> Check {
        Check::new(id, key, Status::Fail, place)
    }

    pub fn warn(id: &'static str, key: &'static str, place: &str) -> Check {
        Check::new(id, key, Status::Warn, place)
    }

    pub fn skipped(id: &'static str, key: &'static str, place: &str) -> Check {
        Check::new(id, key, Status::Skipped, place)
    }

    pub fn found(self, found: impl Into<String>) -> Check {
        Check { found: shortened(&found.into()), ..self }
    }

    pub fn expected(self, expected: impl Into<String>) -> Check {
        Check { expected: expected.into(), ..self }
    }

    pub fn fix(self, fix: impl Into<String>) -> Check {
        Check { fix: fix.into(), ..self }
    }

    pub fn is_finding(&self) -> bool {
        matches!(self.status, Status::Warn | Status::Fail | Status::Unknown)
    }
}

/// What strangers publish goes to a terminal: no control characters, and not without end.
fn shortened(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect();
    if clean.len() < text.len() && text.chars().count() > 500 { clean + "..." } else { clean }
}

words! {
    /// The record types that the rules read.
    Kind {
        Txt = "TXT",
        A = "A",
        Aaaa = "AAAA",
        Mx = "MX",
        Ptr = "PTR",
        /// Of the zone that holds the name: whether the name exists at all.
        Soa = "SOA",
    }
}

/// What a rule wants to know. The name is in lower case and without a dot at its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    pub name: String,
    pub kind: Kind,
}

impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.kind)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Never empty. TXT: the strings of each record joined; MX: `10 mx.example.org`; names without a dot at their end.
    Records(Vec<String>),
    /// There is no such name, or no such record at it.
    Nothing,
    /// Why it could not be found out.
    Unknown(String),
}

/// All answers that are known so far.
#[derive(Clone, Debug, Default)]
pub struct Zone(BTreeMap<Question, Answer>);

/// Why a rule cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stop {
    Ask(Question),
    Unknown(Question, String),
}

impl Zone {
    pub fn add(&mut self, question: Question, answer: Answer) {
        self.0.insert(question, answer);
    }

    /// The records; none where there are none.
    fn get(&self, name: &str, kind: Kind) -> Result<&[String], Stop> {
        let question = Question { name: name.trim_end_matches('.').to_lowercase(), kind };
        match self.0.get(&question) {
            Some(Answer::Records(records)) => Ok(records),
            Some(Answer::Nothing) => Ok(&[]),
            Some(Answer::Unknown(why)) => Err(Stop::Unknown(question, why.clone())),
            None => Err(Stop::Ask(question)),
        }
    }

    /// All addresses of a name.
    fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Stop> {
        let (four, six) = (self.get(name, Kind::A), self.get(name, Kind::Aaaa));
        Ok(four?.iter().chain(six?).filter_map(|text| text.parse().ok()).collect())
    }

    /// The addresses of a name that was asked for by [`examine`].
    pub fn known_addresses(&self, name: &str) -> Vec<IpAddr> {
        self.addresses(name).unwrap_or_default()
    }
}

/// A key with the record that publishes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedKey {
    pub domain: String,
    pub selector: String,
    /// `v=DKIM1; k=rsa; p=...`
    pub record: String,
    /// The same as lines of a zone file.
    pub zone: String,
}

/// One address that mail reaches other servers from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendingAddress {
    pub relay: String,
    pub address: IpAddr,
    pub hello: String,
}

/// Whose mail is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The domains of every From, the publication's first.
    pub from: Vec<String>,
    /// The domain of the envelope sender.
    pub bounce: String,
    /// Domains that mail comes back to, each with the setting that names it; each domain once.
    pub inbound: Vec<(String, String)>,
    pub keys: Vec<PublishedKey>,
    pub sending: Vec<SendingAddress>,
    /// Relays that do not say which addresses they send from.
    pub relays_without_addresses: Vec<String>,
    /// The host of the public pages.
    pub web: String,
    /// Where reports may go, for the records that are proposed.
    pub postmaster: String,
}

type Section = fn(&Subject, &Zone) -> Vec<Result<Check, (&'static str, Stop)>>;

/// In the order in which they are printed. A rule whose record others need stands before them.
const SECTIONS: &[Section] =
    &[dkim::checks, spf::checks, names::envelope, names::reverse, dmarc::checks, names::inbound, names::web];

/// All checks, or what has to be asked first.
///
/// # Errors
/// The questions that are open; each of them once.
pub fn examine(subject: &Subject, zone: &Zone) -> Result<Vec<Check>, Vec<Question>> {
    let (mut checks, mut open, mut failed) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for result in SECTIONS.iter().flat_map(|section| section(subject, zone)) {
        match result {
            Ok(check) => checks.push(check),
            Err((_, Stop::Ask(question))) => {
                open.insert(question);
            }
            Err((id, Stop::Unknown(question, why))) => {
                let first = failed.insert(question.clone());
                checks.push(not_known(id, &question, &why, first));
            }
        }
    }
    if open.is_empty() { Ok(checks) } else { Err(open.into_iter().collect()) }
}

/// W77.
fn not_known(id: &'static str, question: &Question, why: &str, first: bool) -> Check {
    let place = question.to_string();
    if !first {
        return Check::skipped(id, "lookup", &place).found("it could not be looked up, as above");
    }
    Check::new(id, "lookup", Status::Unknown, &place)
        .found(format!("it could not be looked up: {why}"))
        .expected("an answer of a name server, be it that there is no such record")
        .fix("ask again later; if it stays, repair the name servers of this domain, or name another resolver: [intake] resolver = \"127.0.0.1:53\"")
}

/// `name` or something below it.
fn is_within(name: &str, domain: &str) -> bool {
    name == domain || name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

#[cfg(test)]
mod tests;
