//! What a refusal or a deferral means: one table of rules, read from the top, first match wins. State: 25 November 2026.
//!
//! The order is the strategy. Vendors' own texts come before codes, because the same code means different things at different
//! vendors. Then the phase: before RCPT nobody has been named, so whatever is said there is about us. Then the enhanced code
//! (RFC 3463, IANA's registry), then the basic code (RFC 5321 section 4.2.3), then what is left. The first digit of the basic
//! code picks the column: where the enhanced code's class disagrees with it, the basic one counts (W96).
//!
//! Known gaps: 5.1.2 and 5.4.4 would be hard after a DNS look-up of our own, which is not made here; a vendor is known by its
//! words only, not by its MX.

use super::delivery::{Phase, Reply};
use super::words::words;

words! {
    /// What a reply is about, and so what follows from it (W137).
    ReplyClass {
        /// H: there is no such mailbox. The address is suppressed.
        Hard = "hard",
        /// F: the mailbox is full. Tried again in the message's life, then a soft bounce.
        Full = "full",
        /// T: it will pass. Tried again.
        Transient = "transient",
        /// S: about this recipient, and not for sure. A soft bounce.
        Recipient = "recipient",
        /// P: policy, reputation or authentication of the sender. Never the recipient's fault.
        Policy = "policy",
        /// C: our content, size or format.
        Content = "content",
        /// X: our transport or its settings.
        Relay = "relay",
        /// Not a failure of anybody: it counts for nothing (x.1.9).
        Ignored = "ignored",
    }
}

/// A class with the reason for it: a stable word for logs and reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    pub class: ReplyClass,
    pub reason: &'static str,
}

/// What this 4xx or 5xx reply is about. Of a 2xx or 3xx reply it says nothing of use.
pub fn class_of(reply: &Reply) -> ReplyClass {
    judge(reply).class
}

/// As [`class_of`], with the reason.
pub fn judge(reply: &Reply) -> Judgement {
    let seen = Seen::of(reply);
    let found = RULES.iter().find_map(|rule| seen.judged_by(rule));
    found.unwrap_or(Judgement { class: Transient, reason: "unknown" })
}

use ReplyClass::{Content, Full, Hard, Ignored, Policy, Recipient, Relay, Transient};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Vendor {
    Google,
}

/// The part of the dialogue in which a rule holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    /// Up to and with MAIL: no recipient has been named.
    Before,
    /// STARTTLS and AUTH.
    Entering,
    /// RCPT and later.
    Named,
    Rcpt,
    /// DATA and later.
    After,
}

/// One row. `None` in a column: the row does not hold for that first digit.
#[derive(Clone, Copy)]
struct Rule {
    vendor: Option<Vendor>,
    when: When,
    /// Basic codes; empty: any.
    codes: &'static [u16],
    enhanced: Enhanced,
    /// Lower case; one of them must be in the text. A `*` stands for anything between. Empty: any text.
    words: &'static [&'static str],
    four: Option<ReplyClass>,
    five: Option<ReplyClass>,
    reason: &'static str,
}

#[derive(Clone, Copy)]
enum Enhanced {
    Any,
    /// None, or one that says nothing (x.0.z).
    Absent,
    /// Subject and detail, for example `1.1`; `7.*` is every detail.
    Is(&'static [&'static str]),
}

const fn texts(words: &'static [&'static str], class: ReplyClass, reason: &'static str) -> Rule {
    Rule {
        vendor: None,
        when: When::Always,
        codes: &[],
        enhanced: Enhanced::Any,
        words,
        four: Some(class),
        five: Some(class),
        reason,
    }
}

const fn status(
    is: &'static [&'static str],
    four: ReplyClass,
    five: ReplyClass,
    reason: &'static str,
) -> Rule {
    let (enhanced, four, five) = (Enhanced::Is(is), Some(four), Some(five));
    Rule { enhanced, four, five, ..texts(&[], Transient, reason) }
}

/// A basic code without an enhanced one.
const fn basic(codes: &'static [u16], class: ReplyClass, reason: &'static str) -> Rule {
    Rule { codes, enhanced: Enhanced::Absent, ..texts(&[], class, reason) }
}

impl Rule {
    const fn says(self, words: &'static [&'static str]) -> Rule {
        Rule { words, ..self }
    }

    const fn at(self, when: When) -> Rule {
        Rule { when, ..self }
    }

    const fn with(self, codes: &'static [u16]) -> Rule {
        Rule { codes, ..self }
    }

    const fn is(self, enhanced: &'static [&'static str]) -> Rule {
        Rule { enhanced: Enhanced::Is(enhanced), ..self }
    }

    const fn google(self) -> Rule {
        Rule { vendor: Some(Vendor::Google), ..self }
    }

    const fn only_five(self) -> Rule {
        Rule { four: None, ..self }
    }

    const fn only_four(self) -> Rule {
        Rule { five: None, ..self }
    }
}

/// We may not use this relay, or not without saying who we are.
const NOT_LET_IN: &[&str] = &[
    "relay access denied",
    "relaying denied",
    "relaying not allowed",
    "relay not permitted",
    "unable to relay",
    "not permitted to relay",
    "not allowed to relay",
    "authentication required",
    "authentication is required",
    "must authenticate",
    "must issue a starttls",
    "client was not authenticated",
    "client not authenticated",
    "not owned by user",
    "not logged in",
];

const OUR_REPUTATION: &[&str] = &[
    "spam",
    "reputation",
    "unsolicited",
    "blacklist",
    "blocklist",
    "block list",
    "blocked using",
    "ip address",
    "your ip",
    "dmarc",
    "dkim",
    "spf",
];

const THE_RECIPIENTS_WISH: &[&str] = &[
    "user*policy that prohibit",
    "recipient*policy",
    "user*blocked you",
    "recipient*blocked you",
    "blocked by recipient",
    "blocked by the recipient",
];

const CLOSED: &[&str] = &["disabled", "inactive", "closed", "deactivated", "no longer available"];
const RATE: &[&str] = &["at a rate", "too quickly", "too fast", "rate limit"];
const NO_SUCH_USER: &[&str] = &["user doesn't exist", "user doesn't have a", "user does not exist"];
const TOO_LARGE: &[&str] = &[
    "message size",
    "message exceeds",
    "message too",
    "too large",
    "too big",
    "size limit",
    "maximum size",
    "fixed maximum",
];

const RULES: &[Rule] = &[
    // W140, W141: Google, known by its mark.
    texts(RATE, Transient, "rate_of_recipient").google().is(&["2.1"]).at(When::Named),
    texts(&["inactive", "disabled"], Hard, "inactive").google().is(&["2.1"]).at(When::Named).only_five(),
    texts(&["out of storage", "over quota"], Full, "mailbox_full").google().at(When::Named),
    texts(&[], Content, "too_large").google().with(&[552]).is(&["3.4"]),
    texts(&["reputation", "unusual rate of unsolicited"], Policy, "reputation").google(),
    texts(
        &["message-id", "duplicate header", "multiple*from", "missing*from", "'from' header", "from: header"],
        Content,
        "headers",
    )
    .google()
    .is(&["7.1"])
    .at(When::Named),
    texts(&["unsolicited"], Policy, "reputation").google().is(&["7.1"]),
    texts(&["policy that prohibit"], Recipient, "recipients_policy").google().is(&["7.1"]).at(When::Named),
    texts(
        &["daily user sending limit", "daily*sending limit", "relay limit exceeded"],
        Relay,
        "sending_limit",
    )
    .google(),
    texts(&["malformed"], Content, "malformed").google().is(&["6.0"]),
    status(&["7.27"], Policy, Policy, "spf_failed").google(),
    status(&["7.29"], Policy, Policy, "tls_missing").google(),
    status(&["7.30"], Policy, Policy, "dkim_failed").google(),
    status(&["7.28"], Policy, Policy, "sending_rate").google(),
    status(&["7.31", "7.32", "7.40"], Policy, Policy, "dmarc").google(),
    // W142: Microsoft's consumer mail and Yahoo. Their marks are in the words.
    texts(&["rp-001", "rp-002", "rp-003"], Policy, "slow_down"),
    texts(
        &["sc-001", "sc-002", "sc-003", "sc-004", "dy-001", "dy-002", "ou-001", "ou-002"],
        Policy,
        "reputation",
    )
    .only_five(),
    texts(&[], Policy, "authentication_level").is(&["7.515"]),
    texts(&["[ts0", "[tss", "(tss", "tss04", "tss05"], Policy, "slow_down").with(&[421, 451]),
    texts(NO_SUCH_USER, Hard, "no_such_mailbox").with(&[550, 553, 554]).at(When::Named),
    texts(&["[ph0", "(ph0", "ph01"], Content, "phishing").with(&[554]),
    texts(&["not accepted for policy reasons", "unable to authenticate"], Policy, "authentication")
        .with(&[550, 554, 421, 451]),
    texts(&["spamhaus"], Policy, "listed"),
    // W114, W138: before a recipient is named it is about us, and at the door about our key.
    texts(&[], Relay, "not_let_in").at(When::Entering).only_five(),
    texts(&[], Transient, "not_now").at(When::Entering).only_four(),
    texts(&[], Relay, "not_let_in").with(&[530, 534, 535, 538]),
    texts(NOT_LET_IN, Relay, "not_let_in").is(&["7.*"]).only_five(),
    texts(NOT_LET_IN, Relay, "not_let_in").at(When::Named).with(&[550, 551, 553, 554]),
    status(&["1.7", "1.8"], Relay, Relay, "sender_address"),
    status(&["7.3", "7.4", "7.5", "7.6", "7.7"], Relay, Relay, "cryptography"),
    status(&["7.8", "7.9", "7.11", "7.12", "7.14"], Relay, Relay, "not_let_in"),
    status(&["3.4"], Content, Content, "too_large"),
    basic(&[552], Content, "too_large").at(When::Before),
    status(&["1.*"], Transient, Relay, "sender_address").at(When::Before),
    basic(&[500, 501, 502, 503, 504, 553, 555], Relay, "protocol").at(When::Before),
    status(&["5.3"], Transient, Transient, "too_many_recipients"),
    status(&["5.*"], Relay, Relay, "protocol"),
    status(&["7.*"], Policy, Policy, "policy").at(When::Before),
    texts(&[], Policy, "refused").at(When::Before).only_five(),
    texts(&[], Transient, "not_now").at(When::Before).only_four(),
    // W137: addresses.
    status(&["1.0"], Transient, Recipient, "address"),
    status(&["1.1"], Transient, Hard, "no_such_mailbox"),
    status(&["1.2"], Transient, Recipient, "no_such_domain"),
    status(&["1.3"], Transient, Hard, "address_syntax"),
    status(&["1.4"], Transient, Recipient, "ambiguous_address"),
    status(&["1.6"], Transient, Hard, "moved"),
    status(&["1.9"], Ignored, Ignored, "relayed_on"),
    status(&["1.10"], Transient, Hard, "null_mx"),
    // Mailboxes.
    status(&["2.1"], Transient, Transient, "rate_of_recipient").says(RATE),
    status(&["2.1"], Transient, Hard, "inactive").says(CLOSED),
    status(&["2.1"], Transient, Recipient, "not_accepting"),
    status(&["2.2"], Full, Full, "mailbox_full"),
    status(&["2.3"], Content, Content, "too_large"),
    status(&["2.0", "2.4"], Transient, Recipient, "mailbox"),
    // Systems and the way there.
    status(&["3.1"], Transient, Transient, "system_full"),
    status(&["3.0", "3.2", "3.3", "3.5"], Transient, Recipient, "system"),
    status(&["4.1"], Transient, Hard, "no_such_mailbox")
        .says(&["recipient address rejected: access denied"])
        .only_five(),
    status(&["4.7"], Recipient, Recipient, "gave_up"),
    status(&["4.*"], Transient, Recipient, "routing"),
    // Content.
    status(&["6.7", "6.8", "6.9"], Recipient, Recipient, "smtputf8"),
    status(&["6.*"], Content, Content, "content"),
    // Security and policy.
    status(&["7.0"], Policy, Policy, "policy"),
    status(&["7.1"], Policy, Recipient, "recipients_policy").says(THE_RECIPIENTS_WISH),
    status(&["7.1"], Policy, Policy, "reputation").says(OUR_REPUTATION),
    status(&["7.1"], Policy, Policy, "policy"),
    status(&["7.2"], Recipient, Recipient, "list_expansion"),
    status(&["7.13"], Recipient, Recipient, "account_disabled"),
    status(&["7.17"], Transient, Hard, "owner_changed"),
    status(&["7.15", "7.16", "7.18", "7.19"], Transient, Recipient, "priority"),
    status(&["7.20", "7.21", "7.22"], Policy, Policy, "dkim_failed"),
    status(&["7.23", "7.24"], Policy, Policy, "spf_failed"),
    status(&["7.25"], Policy, Policy, "reverse_dns"),
    status(&["7.26"], Policy, Policy, "authentication"),
    status(&["7.27"], Policy, Policy, "sender_null_mx"),
    status(&["7.28"], Policy, Policy, "mail_flood"),
    status(&["7.29"], Policy, Policy, "arc_failed"),
    status(&["7.30"], Policy, Policy, "requiretls"),
    status(&["7.31", "7.32", "7.40"], Policy, Policy, "dmarc"),
    // RFC 3463 section 3.8: all of subject 7 is somebody's policy.
    status(&["7.*"], Policy, Policy, "policy"),
    // W139, W92: no enhanced code.
    texts(&["too many recipients"], Transient, "too_many_recipients").with(&[452, 552]),
    basic(&[452], Transient, "system_full").says(&["system storage"]),
    basic(&[452], Full, "mailbox_full").says(&["mailbox", "quota", "out of storage"]),
    basic(&[421, 450, 451, 452], Transient, "not_now"),
    basic(&[550], Recipient, "unclear").at(When::Rcpt),
    basic(&[551], Recipient, "moved"),
    basic(&[552], Full, "mailbox_full").says(&["mailbox", "quota"]),
    basic(&[552], Content, "too_large").says(TOO_LARGE),
    basic(&[552], Full, "mailbox_full"),
    basic(&[553], Hard, "address_syntax").says(&["syntax"]),
    basic(&[553], Recipient, "address"),
    basic(&[554], Recipient, "unclear").at(When::Rcpt),
    basic(&[555], Relay, "protocol"),
    basic(&[556], Hard, "null_mx"),
    basic(&[500, 502, 503, 504], Relay, "protocol"),
    // Nothing is known but the first digit (W86, W95); after DATA it is hardly the recipient's (W138).
    texts(&[], Policy, "refused").at(When::After).only_five(),
    texts(&[], Recipient, "unknown").only_five(),
    texts(&[], Transient, "unknown").only_four(),
];

/// A reply, made ready for the table.
struct Seen {
    code: u16,
    phase: Phase,
    /// Subject and detail without the class; empty where there is none.
    status: String,
    text: String,
    vendor: Option<Vendor>,
}

impl Seen {
    fn of(reply: &Reply) -> Seen {
        let status =
            reply.enhanced.as_deref().and_then(|code| code.split_once('.')).map_or("", |(_, rest)| rest);
        let text = reply.text.to_lowercase();
        let marked = |mark: &str| text.trim_end().ends_with(mark);
        let vendor = (marked("- gsmtp") || marked("- gcdp")).then_some(Vendor::Google);
        Seen { code: reply.code, phase: reply.phase, status: status.to_owned(), text, vendor }
    }

    fn judged_by(&self, rule: &Rule) -> Option<Judgement> {
        let class = if self.code >= 500 { rule.five } else { rule.four }?;
        let holds = (rule.vendor.is_none() || rule.vendor == self.vendor)
            && self.is_when(rule.when)
            && (rule.codes.is_empty() || rule.codes.contains(&self.code))
            && self.has(rule.enhanced)
            && (rule.words.is_empty() || rule.words.iter().any(|words| says(&self.text, words)));
        holds.then_some(Judgement { class, reason: rule.reason })
    }

    fn is_when(&self, when: When) -> bool {
        match when {
            When::Always => true,
            When::Before => self.phase.is_before_recipient(),
            When::Entering => matches!(self.phase, Phase::StartTls | Phase::Auth),
            When::Named => !self.phase.is_before_recipient(),
            When::Rcpt => self.phase == Phase::Rcpt,
            When::After => matches!(self.phase, Phase::Data | Phase::Dot),
        }
    }

    fn has(&self, enhanced: Enhanced) -> bool {
        match enhanced {
            Enhanced::Any => true,
            Enhanced::Absent => self.status.is_empty() || self.status.starts_with("0."),
            Enhanced::Is(all) => all.iter().any(|one| match one.strip_suffix('*') {
                Some(subject) => self.status.starts_with(subject),
                None => self.status == *one,
            }),
        }
    }
}

/// Whether the text has the fragments of `words` in their order.
fn says(text: &str, words: &str) -> bool {
    let mut rest = text;
    words.split('*').all(|fragment| match rest.find(fragment) {
        Some(at) => {
            rest = &rest[at + fragment.len()..];
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(line: &str, phase: Phase) -> Reply {
        let (code, text) = line.split_once(' ').unwrap();
        let first = text.split(' ').next().unwrap();
        let enhanced = first.split('.').count() == 3 && first.starts_with(['4', '5']);
        Reply {
            code: code.parse().unwrap(),
            enhanced: enhanced.then(|| first.to_owned()),
            text: text.to_owned(),
            phase,
        }
    }

    fn letter(line: &str, phase: Phase) -> char {
        match class_of(&reply(line, phase)) {
            Hard => 'H',
            Full => 'F',
            Transient => 'T',
            Recipient => 'S',
            Policy => 'P',
            Content => 'C',
            Relay => 'X',
            Ignored => '-',
        }
    }

    fn check(cases: &[(Phase, &str, char)]) {
        let wrong: Vec<_> = cases
            .iter()
            .map(|(phase, line, expected)| (*phase, *line, *expected, letter(line, *phase)))
            .filter(|(_, _, expected, seen)| expected != seen)
            .collect();
        assert!(wrong.is_empty(), "phase, reply, expected, seen: {wrong:#?}");
    }

    /// W137, each row with 4 and with 5: status, text, class of 4.y.z, class of 5.y.z.
    #[rustfmt::skip]
    const W137: &[(&str, &str, char, char)] = &[
        ("1.0", "other address status", 'T', 'S'),
        ("1.1", "no such mailbox", 'T', 'H'),
        ("1.2", "no such domain", 'T', 'S'),
        ("1.3", "bad address syntax", 'T', 'H'),
        ("1.4", "ambiguous", 'T', 'S'),
        ("1.6", "moved, no forwarding", 'T', 'H'),
        ("1.7", "bad sender address", 'X', 'X'),
        ("1.8", "bad sender domain", 'X', 'X'),
        ("1.9", "relayed to non-compliant mailer", '-', '-'),
        ("1.10", "recipient address has null MX", 'T', 'H'),
        ("2.0", "other mailbox status", 'T', 'S'),
        ("2.1", "mailbox is disabled", 'T', 'H'),
        ("2.1", "account inactive", 'T', 'H'),
        ("2.1", "mailbox closed", 'T', 'H'),
        ("2.1", "receiving mail at a rate that prevents more", 'T', 'T'),
        ("2.1", "not accepting messages", 'T', 'S'),
        ("2.2", "mailbox full", 'F', 'F'),
        ("2.3", "message too long for mailbox", 'C', 'C'),
        ("2.4", "list expansion problem", 'T', 'S'),
        ("3.0", "other system status", 'T', 'S'),
        ("3.1", "system full", 'T', 'T'),
        ("3.2", "system not accepting", 'T', 'S'),
        ("3.3", "feature not supported", 'T', 'S'),
        ("3.4", "message too big", 'C', 'C'),
        ("3.5", "misconfigured system", 'T', 'S'),
        ("4.0", "other network status", 'T', 'S'),
        ("4.1", "no answer from host", 'T', 'S'),
        ("4.1", "Recipient address rejected: Access denied", 'T', 'H'),
        ("4.2", "bad connection", 'T', 'S'),
        ("4.3", "directory server failure", 'T', 'S'),
        ("4.4", "unable to route", 'T', 'S'),
        ("4.5", "congestion", 'T', 'S'),
        ("4.6", "routing loop", 'T', 'S'),
        ("4.7", "expired in queue", 'S', 'S'),
        ("5.0", "other protocol status", 'X', 'X'),
        ("5.1", "invalid command", 'X', 'X'),
        ("5.2", "syntax error", 'X', 'X'),
        ("5.3", "too many recipients", 'T', 'T'),
        ("5.4", "invalid arguments", 'X', 'X'),
        ("5.5", "wrong version", 'X', 'X'),
        ("6.0", "other media error", 'C', 'C'),
        ("6.1", "media not supported", 'C', 'C'),
        ("6.2", "conversion prohibited", 'C', 'C'),
        ("6.3", "conversion not supported", 'C', 'C'),
        ("6.4", "conversion with loss", 'C', 'C'),
        ("6.5", "conversion failed", 'C', 'C'),
        ("6.7", "non-ASCII addresses not permitted", 'S', 'S'),
        ("6.8", "UTF-8 reply required", 'S', 'S'),
        ("6.9", "UTF-8 header not possible", 'S', 'S'),
        ("7.0", "other security status", 'P', 'P'),
        ("7.0", "Authentication required", 'P', 'X'),
        ("7.0", "Must issue a STARTTLS command first", 'P', 'X'),
        ("7.1", "delivery not authorised", 'P', 'P'),
        ("7.1", "Relay access denied", 'P', 'X'),
        ("7.1", "blocked using bl.example.org", 'P', 'P'),
        ("7.1", "your IP has a poor reputation", 'P', 'P'),
        ("7.1", "the recipient has blocked you", 'P', 'S'),
        ("7.1", "user has a policy that prohibits this", 'P', 'S'),
        ("7.2", "list expansion prohibited", 'S', 'S'),
        ("7.3", "security conversion required", 'X', 'X'),
        ("7.4", "security features not supported", 'X', 'X'),
        ("7.5", "cryptographic failure", 'X', 'X'),
        ("7.6", "algorithm not supported", 'X', 'X'),
        ("7.7", "integrity failure", 'X', 'X'),
        ("7.8", "credentials invalid", 'X', 'X'),
        ("7.9", "mechanism too weak", 'X', 'X'),
        ("7.11", "encryption required for mechanism", 'X', 'X'),
        ("7.12", "password transition needed", 'X', 'X'),
        ("7.13", "account disabled", 'S', 'S'),
        ("7.14", "trust relationship required", 'X', 'X'),
        ("7.15", "priority too low", 'T', 'S'),
        ("7.16", "too big for priority", 'T', 'S'),
        ("7.17", "mailbox owner has changed", 'T', 'H'),
        ("7.18", "domain owner has changed", 'T', 'S'),
        ("7.19", "RRVS cannot be completed", 'T', 'S'),
        ("7.20", "no passing DKIM signature", 'P', 'P'),
        ("7.21", "no acceptable DKIM signature", 'P', 'P'),
        ("7.22", "no author-matched DKIM signature", 'P', 'P'),
        ("7.23", "SPF validation failed", 'P', 'P'),
        ("7.24", "SPF validation error", 'P', 'P'),
        ("7.25", "reverse DNS failed", 'P', 'P'),
        ("7.26", "multiple authentication checks failed", 'P', 'P'),
        ("7.27", "sender address has null MX", 'P', 'P'),
        ("7.28", "mail flood detected", 'P', 'P'),
        ("7.29", "ARC validation failure", 'P', 'P'),
        ("7.30", "REQUIRETLS support required", 'P', 'P'),
        ("7.31", "no DMARC record", 'P', 'P'),
        ("7.32", "From not aligned", 'P', 'P'),
        ("7.40", "no DMARC record", 'P', 'P'),
        ("7.515", "Access denied, sending domain does not meet the required authentication level", 'P', 'P'),
        ("7.999", "a policy that nobody registered", 'P', 'P'),
        ("9.99", "unknown", 'T', 'S'),
    ];

    #[test]
    fn w137_every_row_once_for_4_and_once_for_5() {
        let mut wrong = Vec::new();
        for (status, text, four, five) in W137 {
            for (line, expected) in
                [(format!("450 4.{status} {text}"), *four), (format!("550 5.{status} {text}"), *five)]
            {
                let seen = letter(&line, Phase::Rcpt);
                if seen != expected {
                    wrong.push((line, expected, seen));
                }
            }
        }
        assert!(wrong.is_empty(), "reply, expected, seen: {wrong:#?}");
    }

    #[test]
    fn w137_access_to_the_relay_is_not_the_recipients_matter() {
        check(&[
            (Phase::Rcpt, "530 5.7.0 go away", 'X'),
            (Phase::Auth, "535 5.7.13 user account disabled", 'X'),
            (Phase::Rcpt, "535 5.7.13 user account disabled", 'X'),
            (Phase::Rcpt, "550 5.7.13 user account disabled", 'S'),
            (Phase::Auth, "535 5.7.8 Authentication credentials invalid", 'X'),
            (Phase::Auth, "454 4.7.0 Temporary authentication failure", 'T'),
            (Phase::StartTls, "454 4.7.0 TLS not available", 'T'),
            (Phase::StartTls, "502 what is that", 'X'),
            (Phase::Mail, "530 5.7.0 Must issue a STARTTLS command first", 'X'),
            (Phase::Mail, "530 5.7.0 Authentication Required", 'X'),
            (Phase::Mail, "550 5.7.60 no permission to send as this sender", 'P'),
        ]);
    }

    #[test]
    fn w138_the_phase_is_part_of_the_evidence() {
        check(&[
            (Phase::Connect, "550 5.7.1 we do not know you", 'P'),
            (Phase::Connect, "554 no", 'P'),
            (Phase::Connect, "421 4.3.2 busy", 'T'),
            (Phase::Hello, "501 5.5.4 invalid domain name", 'X'),
            (Phase::Hello, "550 no", 'P'),
            (Phase::Mail, "550 5.1.1 unknown", 'X'),
            (Phase::Mail, "550 5.2.1 mailbox disabled", 'P'),
            (Phase::Mail, "553 sender not allowed", 'X'),
            (Phase::Mail, "450 4.1.8 Sender address rejected: Domain not found", 'X'),
            (Phase::Mail, "552 5.3.4 too large", 'C'),
            (Phase::Mail, "452 4.3.1 Insufficient system storage", 'T'),
            (Phase::Dot, "550 5.1.1 no such user", 'H'),
            (Phase::Data, "550 5.1.1 no such user", 'H'),
            (Phase::Dot, "550 5.7.1 refused", 'P'),
            (Phase::Dot, "550 5.9.99 what", 'P'),
            (Phase::Rcpt, "550 5.9.99 what", 'S'),
        ]);
    }

    #[test]
    fn w139_no_enhanced_code() {
        check(&[
            (Phase::Rcpt, "421 later", 'T'),
            (Phase::Rcpt, "450 later", 'T'),
            (Phase::Dot, "451 later", 'T'),
            (Phase::Rcpt, "452 Requested action not taken: insufficient system storage", 'T'),
            (Phase::Rcpt, "452 mailbox is over quota", 'F'),
            (Phase::Rcpt, "550 no", 'S'),
            (Phase::Data, "550 no", 'P'),
            (Phase::Dot, "550 no", 'P'),
            (Phase::Rcpt, "551 user not local", 'S'),
            (Phase::Rcpt, "552 Requested mail action aborted: exceeded storage allocation", 'F'),
            (Phase::Dot, "552 message size exceeds fixed maximum message size", 'C'),
            (Phase::Rcpt, "553 no", 'S'),
            (Phase::Rcpt, "553 address syntax error", 'H'),
            (Phase::Connect, "554 no", 'P'),
            (Phase::Mail, "554 no", 'P'),
            (Phase::Data, "554 no", 'P'),
            (Phase::Dot, "554 no", 'P'),
            (Phase::Rcpt, "554 no", 'S'),
            (Phase::Rcpt, "555 parameters not recognized", 'X'),
            (Phase::Rcpt, "556 domain does not accept mail", 'H'),
            (Phase::Rcpt, "503 bad sequence", 'X'),
            (Phase::Rcpt, "550 Relay access denied", 'X'),
            // W86: unknown codes by their first digit; W95: x.0.z says nothing.
            (Phase::Rcpt, "487 what", 'T'),
            (Phase::Rcpt, "599 what", 'S'),
            (Phase::Rcpt, "550 5.0.0 no", 'S'),
            (Phase::Dot, "554 5.0.0 no", 'P'),
        ]);
    }

    #[test]
    fn w92_too_many_recipients_passes() {
        check(&[
            (Phase::Rcpt, "552 5.5.3 too many recipients", 'T'),
            (Phase::Rcpt, "452 4.5.3 Your message has too many recipients.", 'T'),
            (Phase::Rcpt, "552 too many recipients", 'T'),
        ]);
    }

    #[test]
    fn w96_the_basic_code_picks_the_column() {
        check(&[
            (Phase::Dot, "421 5.7.32 From not aligned", 'P'),
            (Phase::Rcpt, "450 5.1.1 no such user", 'T'),
            (Phase::Rcpt, "550 4.2.2 mailbox full", 'F'),
        ]);
    }

    #[test]
    #[rustfmt::skip]
    fn w140_google() {
        use Phase::{Dot, Rcpt};
        check(&[
            (Rcpt, "550 5.2.1 The email account that you tried to reach is inactive. For more information, go to https://support.google.com/mail/?p=DisabledUser d2-20020a05 - gsmtp", 'H'),
            (Rcpt, "450 4.2.1 The user you are trying to contact is receiving email at a rate that prevents additional messages from being delivered. Please resend your message at a later time. - gsmtp", 'T'),
            (Rcpt, "550 5.2.1 The user you are trying to contact is receiving email at a rate that prevents additional messages from being delivered. - gsmtp", 'T'),
            (Rcpt, "450 4.2.1 The user you are trying to contact is receiving mail too quickly. - gsmtp", 'T'),
            (Rcpt, "452 4.2.2 The recipient's inbox is out of storage space. - gsmtp", 'F'),
            (Rcpt, "552 5.2.2 The recipient's inbox is out of storage space and inactive. - gsmtp", 'F'),
            (Dot, "552 5.3.4 Your message exceeded Google's message size limits. - gsmtp", 'C'),
            (Dot, "552 5.3.4 Your message exceeded Google's message header size limits. - gsmtp", 'C'),
            (Dot, "421 4.7.0 [192.0.2.1 15] Our system has detected that this message is suspicious due to the very low reputation of the sending IP/domain. - gsmtp", 'P'),
            (Dot, "550 5.7.1 [192.0.2.1 12] Our system has detected that this message is likely unsolicited mail. - gsmtp", 'P'),
            (Dot, "550 5.7.1 Messages missing a valid Message-ID header are not accepted. - gsmtp", 'C'),
            (Dot, "550 5.7.1 This message is not RFC 5322 compliant because it has duplicate headers. - gsmtp", 'C'),
            (Dot, "550 5.7.1 This message is not RFC 5322 compliant, the issue is: 'From' header is missing. - gsmtp", 'C'),
            (Rcpt, "550 5.7.1 The user or domain that you are sending to (or from) has a policy that prohibited the mail that you sent. - gsmtp", 'S'),
            (Dot, "550 5.7.1 This user has a policy that prohibits the mail that you sent. - gsmtp", 'S'),
            (Dot, "550 5.4.5 Daily user sending limit exceeded. - gsmtp", 'X'),
            (Dot, "554 5.6.0 Mail message is malformed. Not accepted. - gsmtp", 'C'),
            (Rcpt, "550 5.1.1 The email account that you tried to reach does not exist. - gsmtp", 'H'),
            (Dot, "421 4.7.28 [192.0.2.1] Our system has detected an unusual rate of unsolicited mail originating from your IP address. - gsmtp", 'P'),
        ]);
    }

    #[test]
    fn w141_a_vendors_meaning_needs_the_vendor() {
        let judged = |line| judge(&reply(line, Phase::Dot));
        let google = judged("550 5.7.27 unauthenticated - gsmtp");
        let other = judged("550 5.7.27 unauthenticated");
        assert_eq!(google, Judgement { class: Policy, reason: "spf_failed" });
        assert_eq!(other, Judgement { class: Policy, reason: "sender_null_mx" });
        assert_eq!(judged("550 5.7.27 custom - gcdp abc - gsmtp").reason, "spf_failed");
        assert_eq!(judged("550 5.7.27 we are not gsmtp here").reason, "sender_null_mx");
    }

    #[test]
    #[rustfmt::skip]
    fn w142_microsoft_and_yahoo() {
        use Phase::{Connect, Dot, Mail, Rcpt};
        check(&[
            (Connect, "421 RP-001 (BAY) Unfortunately, some messages from 192.0.2.1 weren't sent.", 'P'),
            (Mail, "421 RP-002 (BAY) Unfortunately, some messages weren't sent.", 'P'),
            (Rcpt, "421 RP-003 (BAY) Unfortunately, some messages weren't sent.", 'P'),
            (Mail, "550 SC-001 (BAY) Unfortunately, messages from 192.0.2.1 weren't sent.", 'P'),
            (Rcpt, "550 SC-002 (BAY) Unfortunately, messages weren't sent.", 'P'),
            (Rcpt, "550 SC-003 (BAY) Unfortunately, messages weren't sent.", 'P'),
            (Rcpt, "550 SC-004 (BAY) Unfortunately, messages weren't sent.", 'P'),
            (Rcpt, "550 DY-001 (BAY) Unfortunately, messages weren't sent.", 'P'),
            (Rcpt, "550 DY-002 (BAY) Unfortunately, messages weren't sent.", 'P'),
            (Rcpt, "550 OU-001 (BAY) Unfortunately, messages weren't sent.", 'P'),
            (Rcpt, "550 OU-002 (BAY) Unfortunately, messages weren't sent.", 'P'),
            (Dot, "550 5.7.515 Access denied, sending domain NEWS.EXAMPLE.ORG does not meet the required authentication level.", 'P'),
            (Mail, "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints", 'P'),
            (Rcpt, "451 4.7.0 [TS01] Messages temporarily deferred due to user complaints", 'P'),
            (Rcpt, "553 user doesn't exist", 'H'),
            (Dot, "554 delivery error: dd This user doesn't have a yahoo.com account (x@yahoo.com) [0]", 'H'),
            (Rcpt, "554 user doesn't exist", 'H'),
            (Dot, "554 Message not allowed - [PH01] Email not accepted for policy reasons.", 'C'),
            (Dot, "554 5.7.9 Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes", 'P'),
            (Dot, "550 5.7.9 This mail has been blocked because the sender is unauthenticated: unable to authenticate by DKIM", 'P'),
            (Connect, "553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.1, because the ip is in Spamhaus's list", 'P'),
            (Rcpt, "550 Service unavailable; client host blocked using Spamhaus", 'P'),
        ]);
    }

    #[test]
    fn before_rcpt_nobody_is_blamed() {
        for phase in [Phase::Connect, Phase::Hello, Phase::StartTls, Phase::Auth, Phase::Mail] {
            for (status, text, _, _) in W137 {
                for line in [format!("450 4.{status} {text}"), format!("550 5.{status} {text}")] {
                    let class = class_of(&reply(&line, phase));
                    assert!(!matches!(class, Hard | Full | Recipient), "{phase:?} {line}: {class}");
                }
            }
        }
    }
}
