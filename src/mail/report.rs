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

/// Adds to the facts what the message reports. What people write, and nobody's server, costs no second look.
pub fn add(facts: &mut Facts, raw: &[u8], parsed: &Parsed, keyring: &Keyring) {
    let encloses = parsed.attachments.iter().any(|file| file.media_type.starts_with("message/"));
    if !facts.is_from_a_server() && parsed.report.is_none() && !encloses {
        return;
    }
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

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::domain::bounce::Action;
    use crate::domain::complaint::FeedbackType;

    fn keyring() -> Keyring {
        Keyring::new(&[SecretString::from("a secret of sixteen or more")]).unwrap()
    }

    fn found(raw: &str) -> Found {
        let raw = raw.replace('\n', "\r\n");
        read(raw.as_bytes(), &parse::parse(raw.as_bytes()), &keyring())
    }

    /// A report in three parts, as RFC 3464 and RFC 5965 have it.
    fn report(kind: &str, media_type: &str, fields: &str, copy: &str) -> String {
        format!(
            "From: MAILER-DAEMON@x.example\nSubject: report\nMIME-Version: 1.0\n\
             Content-Type: multipart/report; report-type={kind}; boundary=\"=_b\"\n\n--=_b\n\
             Content-Type: text/plain\n\nwords\n--=_b\nContent-Type: {media_type}\n\n{fields}\n--=_b\n\
             Content-Type: message/rfc822\n\n{copy}\n\nbody\n--=_b--\n"
        )
    }

    #[test]
    fn w131_groups_folds_comments_and_several_recipients() {
        let fields = "Reporting-MTA: dns; mx.x.example\nArrival-Date: Thu, 05 Mar 2026 07:00:00 +0000\n\n\
            ORIGINAL-RECIPIENT: rfc822;Ann@x.example\nFinal-Recipient: rfc822; ann@inside.x.example\nAction: FAILED (gone)\n\
            Status: 5.0.0 (permanent\n failure)\nRemote-MTA: dns; inside.x.example\n\
            Diagnostic-Code: smtp;\n 550-5.1.1 The address\n 550 5.1.1 is not here\n\n\
            Final-Recipient: rfc822; bob@x.example\nAction: delayed\nStatus: 4.4.1\n\n\
            Final-Recipient: rfc822; eve@x.example\nAction: relayed\nStatus: 2.1.9\n";
        let bounce =
            found(&report("Delivery-Status", "Message/Delivery-Status", fields, "To: x")).bounce.unwrap();
        assert_eq!((bounce.form, bounce.recipients.len()), (BounceForm::Fields, 3));
        let [ann, bob, eve] = bounce.recipients.try_into().unwrap();
        assert_eq!(ann.addresses, ["ann@x.example", "ann@inside.x.example"]);
        assert_eq!((ann.action, ann.status.as_deref()), (Some(Action::Failed), Some("5.0.0")));
        assert_eq!((ann.code, ann.enhanced.as_deref()), (Some(550), Some("5.1.1")));
        assert_eq!((bob.action, eve.action), (Some(Action::Delayed), Some(Action::Other)));
    }

    #[test]
    fn w131_internationalised_reports() {
        let fields = "Reporting-MTA: dns; mx.x.example\n\nFinal-Recipient: utf-8; j\\x{F6}@x.example\n\
            Action: failed\nStatus: 5.1.1\n";
        let bounce = found(&report("delivery-status", "message/global-delivery-status", fields, "To: x"))
            .bounce
            .unwrap();
        assert_eq!(bounce.recipients[0].addresses, ["j\u{f6}@x.example"]);
    }

    #[test]
    fn an_encoded_report_and_one_without_its_type_are_read() {
        let fields = "UmVwb3J0aW5nLU1UQTogZG5zOyBteAoKRmluYWwtUmVjaXBpZW50OiByZmM4MjI7IGFAeC5leGFtcGxlCkFjdGlvbjogZXJyb3IKU3RhdHVzOiA1LjEuMQo=";
        let raw = report(
            "delivery-status",
            "message/delivery-status\nContent-Transfer-Encoding: base64",
            fields,
            "To: x",
        );
        let bounce = found(&raw).bounce.unwrap();
        assert_eq!(bounce.recipients[0].addresses, ["a@x.example"]);
        let bare = raw.replace("multipart/report; report-type=delivery-status", "multipart/mixed");
        assert_eq!(found(&bare).bounce.unwrap().form, BounceForm::Fields);
    }

    #[test]
    fn a_bounce_that_somebody_sends_on_is_none() {
        let fields = "Final-Recipient: rfc822; a@x.example\nAction: failed\nStatus: 5.1.1\n";
        let inner = report("delivery-status", "message/delivery-status", fields, "To: x");
        let raw = format!(
            "From: ann@x.example\nSubject: Fwd: what is this?\nContent-Type: multipart/mixed; boundary=o\n\n--o\n\n\
             What is this?\n--o\nContent-Type: message/rfc822\n\n{inner}\n--o--\n"
        );
        assert_eq!(found(&raw).bounce, None);
    }

    #[test]
    fn w151_feedback_reports_and_w150_whose_mail_it_is() {
        let token = |purpose, row| keyring().mint(Subject { purpose, row, second: 0 });
        let fields = "Feedback-Type: abuse\nUser-Agent: SomeGenerator/1.0\nVersion: 0.1\n\
            Original-Mail-From: <somespammer@x.example>\nOriginal-Rcpt-To: <redacted@y.example>\nIncidents: 1\n";
        let copy = format!(
            "Message-ID: <m.{}@news.example.org>\nList-Unsubscribe: <https://x.example/u/{}>",
            token(Purpose::MessageId, 7).to_uppercase(),
            token(Purpose::Unsubscribe, 3)
        );
        let seen = found(&report("feedback-report", "message/feedback-report", fields, &copy));
        assert_eq!((seen.feedback, seen.bounce.is_none()), (Some(FeedbackType::Abuse), true));
        assert_eq!(seen.returned, Returned { delivery: Some(7), subscriber: Some(3) });
        let foreign = found(&report("feedback-report", "message/feedback-report", fields, "To: redacted"));
        assert_eq!(foreign.returned, Returned::default());
        let proof = format!("Return-Path: <bounce+{}@x.example>", token(Purpose::Bounce, -1));
        assert_eq!(
            found(&report("feedback-report", "message/feedback-report", fields, &proof)).returned,
            Returned::default()
        );
    }

    #[test]
    fn a_flood_of_candidates_is_bounded() {
        let copy: String = (0..5_000).map(|n| format!("X-A: {n:030}\n")).collect();
        let started = found(&report(
            "feedback-report",
            "message/feedback-report",
            "Feedback-Type: abuse\n",
            copy.trim_end(),
        ));
        assert_eq!(started.returned, Returned::default());
    }
}
