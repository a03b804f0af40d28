//! Reads the rules that replies are judged by: the ones in this binary (`reply_rules.toml` beside this file, with the format in its
//! head), and a file of the operator's that `reply_rules` names (W166).
//!
//! The operator's rows come before ours, list by list: providers' texts of both before codes of both, so that no row for a code
//! hides what a provider says in words. The marks and word lists of ours may be named in it; a list of the same name replaces ours there.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use chrono::NaiveDate;

use super::reply_rule_row::{check, check_order, class, filled, mark, part, pattern, status, word};
use super::section::{Found, Report, Section};
use super::syntax::{self, Wrong};
use super::{text_of, tree};
use crate::domain::problem::Problem;
use crate::domain::reply_rule::{ReplyRules, Rule, Status, When};

const BUILT_IN: &str = include_str!("reply_rules.toml");
const NAME: &str = "reply_rules.toml";

type Lists = Vec<(String, Vec<String>)>;

/// What one file holds.
struct Rows {
    dated: NaiveDate,
    provider: Vec<Rule>,
    standard: Vec<Rule>,
    marks: Vec<(String, String)>,
    words: Lists,
}

static OURS: LazyLock<(Rows, Arc<ReplyRules>)> = LazyLock::new(|| {
    let (rows, _) = rows(BUILT_IN, NAME, &[]);
    let rows = rows.expect("the embedded rules check: a test reads them");
    let rules = [rows.provider.as_slice(), &rows.standard].concat();
    let rules = Arc::new(ReplyRules::new(rules, rows.marks.clone()));
    (rows, rules)
});

/// The rules of this binary.
pub fn built_in() -> Arc<ReplyRules> {
    OURS.1.clone()
}

/// The date of the rules of this binary.
pub fn dated() -> NaiveDate {
    OURS.0.dated
}

impl Rows {
    fn before_ours(self) -> ReplyRules {
        let ours = &OURS.0;
        let lists = [&self.provider, &ours.provider, &self.standard, &ours.standard];
        let rules = lists.into_iter().flatten().cloned().collect();
        ReplyRules::new(rules, self.marks.into_iter().chain(ours.marks.iter().cloned()).collect())
    }
}

/// The rules with those of a file before them. `None` when the file has a mistake; every one is reported.
pub(super) fn with_file(path: &Path) -> (Option<Arc<ReplyRules>>, Vec<Problem>) {
    let name = path.display().to_string();
    match text_of(path, &name, "relative paths start at the parent of the config folder") {
        Ok(text) => {
            let (rows, problems) = rows(&text, &name, &OURS.0.words);
            (rows.map(|rows| Arc::new(rows.before_ours())), problems)
        }
        Err(problem) => (None, vec![problem]),
    }
}

/// Reads one file. `lists`: word lists that it may name beside its own.
fn rows(text: &str, name: &str, lists: &[(String, Vec<String>)]) -> (Option<Rows>, Vec<Problem>) {
    let (root, problems) = tree::parse(text.strip_prefix('\u{FEFF}').unwrap_or(text), name);
    let report = Report::with_syntax(problems);
    let found = Section::root(&root, &report).and_then(|root| file(root, lists));
    let found = if report.errors() == 0 { found } else { None };
    (found, report.into_problems())
}

fn file(mut root: Section<'_>, lists: &[(String, Vec<String>)]) -> Option<Rows> {
    let dated = root
        .required(
            "dated",
            "write the day on which it was last compared with its sources: dated = \"2026-11-25\"",
        )
        .and_then(|found| found.checked(syntax::date(found.time_text()?)));
    let marks = names(&mut root, "marks", mark);
    let mut words = names(&mut root, "words", pattern);
    words.extend(lists.iter().cloned());
    let is_ours = lists.is_empty();
    let known = |name: &str| {
        let theirs = !is_ours && known_to_us(name);
        theirs || marks.iter().any(|(of, _)| of == name)
    };
    let mut reader =
        Reader { words: &words, is_marked: &known, is_ours, rows: Vec::new(), named: Default::default() };
    let provider = reader.list(&mut root, "provider");
    let standard = reader.list(&mut root, "standard");
    let named = reader.named.take();
    if !is_ours {
        unused(&mut root, "marks", |name| known_to_us(name) || named.contains(&format!("of {name}")));
        unused(&mut root, "words", |name| named.contains(name));
    }
    root.finish();
    let marks =
        marks.into_iter().flat_map(|(of, marks)| marks.into_iter().map(move |mark| (mark, of.clone())));
    Some(Rows { dated: dated?, provider, standard, marks: marks.collect(), words })
}

/// A table of named lists of texts.
fn names(root: &mut Section<'_>, key: &'static str, grammar: fn(&str) -> Result<String, Wrong>) -> Lists {
    let Some(section) = root.optional(key).and_then(|found| found.section()) else { return Vec::new() };
    let one = |found: &Found<'_>| filled(found, "[\"some words\"]").and_then(|_| found.parse_list(grammar));
    let lists = section.names().into_iter();
    lists.filter_map(|(name, _, found)| Some((name.to_owned(), one(&found)?))).collect()
}

fn known_to_us(name: &str) -> bool {
    OURS.0.marks.iter().any(|(_, of)| of == name)
}

/// A list that no row asks for changes nothing, which is not what its author meant.
fn unused(root: &mut Section<'_>, key: &'static str, is_used: impl Fn(&str) -> bool) {
    let Some(section) = root.optional(key).and_then(|found| found.section()) else { return };
    for (name, _, found) in section.names() {
        if !is_used(name) {
            found.wrong::<()>(
                "is named by no row of this file, and so changes nothing",
                &format!("name it in a row: {} = \"{name}\"", if key == "marks" { "of" } else { "says" }),
            );
        }
    }
}

struct Reader<'a> {
    words: &'a [(String, Vec<String>)],
    is_marked: &'a dyn Fn(&str) -> bool,
    is_ours: bool,
    /// What was read before, with its key.
    rows: Vec<(String, Rule)>,
    /// Lists that rows ask for, and behind "of " the marks.
    named: RefCell<BTreeSet<String>>,
}

impl Reader<'_> {
    fn list(&mut self, root: &mut Section<'_>, key: &'static str) -> Vec<Rule> {
        let items = root.optional(key).and_then(|found| found.list()).unwrap_or_default();
        let mut rules = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let Some(rule) = self.rule(item, key == "provider") else { continue };
            if check_order(item, &rule, &self.rows).is_some() {
                self.rows.push((format!("{key}.{at}"), rule.clone()));
                rules.push(rule);
            }
        }
        rules
    }

    fn rule(&self, item: &Found<'_>, of_provider: bool) -> Option<Rule> {
        let mut row = item.section()?;
        let (report, before) = (row.report, row.report.errors());
        let of = row.optional("of").and_then(|found| self.mark(&found));
        let when = row.optional("when").map_or(Some(When::Always), |found| found.parse(part));
        let codes = row.optional("codes").and_then(|found| filled(&found, "[550]")).unwrap_or_default();
        let codes = codes.iter().filter_map(|code| code.integer(400..=599)).map(|code| code as u16).collect();
        let status = row.optional("status").and_then(|found| self.statuses(&found)).unwrap_or_default();
        let says = row.optional("says").and_then(|found| self.texts(&found)).unwrap_or_default();
        let [both, four, five] =
            ["class", "on_4xx", "on_5xx"].map(|key| row.optional(key).map(|found| found.parse(class)));
        let reason = row.required("reason", "write one word: reason = \"mailbox_full\"");
        let reason = reason.and_then(|found| found.parse(word));
        row.finish();
        let (four, five) = match (both, four, five) {
            (Some(both), None, None) => (both, both),
            (None, None, None) => {
                return item.wrong("has no class", "write class = \"transient\", or `on_4xx` and `on_5xx`");
            }
            (None, four, five) => (four.flatten(), five.flatten()),
            _ => {
                return item.wrong(
                    "has `class` and a class for one column",
                    "keep `class`, or `on_4xx` and `on_5xx`",
                );
            }
        };
        let rule = Rule { of, when: when?, codes, status, says, four, five, reason: reason?.into() };
        // What a row means is not known where a part of it is wrong.
        if report.errors() > before {
            return None;
        }
        check(item, &rule, (of_provider, self.is_ours))?;
        Some(rule)
    }

    fn statuses(&self, found: &Found<'_>) -> Option<Vec<Status>> {
        filled(found, "[\"1.1\"]").and_then(|_| found.parse_list(status))
    }

    fn mark(&self, found: &Found<'_>) -> Option<String> {
        let name = found.text()?;
        self.named.borrow_mut().insert(format!("of {name}"));
        match (self.is_marked)(name) {
            true => Some(name.to_owned()),
            false => found.wrong(
                &format!("there are no marks of `{name}`"),
                "add the ends of its replies: [marks] example = [\"- example mx\"]",
            ),
        }
    }

    fn texts(&self, found: &Found<'_>) -> Option<Vec<String>> {
        if !matches!(found.node.value, tree::Value::Text(_)) {
            return filled(found, "[\"no such user\"]").and_then(|_| found.parse_list(pattern));
        }
        let name = found.text()?;
        self.named.borrow_mut().insert(name.to_owned());
        let list = self.words.iter().find(|(of, _)| of == name);
        match list {
            Some((_, words)) => Some(words.clone()),
            None => found.wrong(
                &format!("there is no list `{name}`"),
                "write a list of texts, or the name of one in [words]",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::Phase;
    use crate::domain::reply_rule::{Judgement, ReplyClass};
    use ReplyClass::{Content, Full, Hard, Ignored, Policy, Recipient, Relay, Transient};

    fn judged(line: &str, phase: Phase) -> Judgement {
        let (code, text) = line.split_once(' ').unwrap();
        let first = text.split(' ').next().unwrap();
        let enhanced = first.split('.').count() == 3 && first.starts_with(['4', '5']);
        built_in().judge(code.parse().unwrap(), enhanced.then_some(first), text, phase)
    }

    fn letter(line: &str, phase: Phase) -> char {
        match judged(line, phase).class {
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
    fn w137_an_end_of_time_says_in_words_what_it_was_over() {
        check(&[
            (Phase::Rcpt, "450 4.4.7 expired: the mailbox is full", 'F'),
            (Phase::Rcpt, "550 5.4.7 gave up; last reply: blocked using bl.example", 'P'),
            (Phase::Rcpt, "450 4.4.7 delivery time expired: connection timed out", 'S'),
        ]);
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
            (Rcpt, "550 5.1.1 Verification failed for <bounce+x@news.example.org>: its server said: User unknown. Sender verify failed", 'P'),
            (Dot, "421 4.7.28 [192.0.2.1] Our system has detected an unusual rate of unsolicited mail originating from your IP address. - gsmtp", 'P'),
        ]);
    }

    #[test]
    fn w141_a_vendors_meaning_needs_the_vendor() {
        let judged = |line| judged(line, Phase::Dot);
        let google = judged("550 5.7.27 unauthenticated - gsmtp");
        let other = judged("550 5.7.27 unauthenticated");
        assert_eq!(google, Judgement::new(Policy, "spf_failed"));
        assert_eq!(other, Judgement::new(Policy, "sender_null_mx"));
        assert_eq!(judged("550 5.7.27 custom - gcdp abc - gsmtp").reason.as_ref(), "spf_failed");
        assert_eq!(judged("550 5.7.27 we are not gsmtp here").reason.as_ref(), "sender_null_mx");
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
                    let class = judged(&line, phase).class;
                    assert!(!matches!(class, Hard | Full | Recipient), "{phase:?} {line}: {class}");
                }
            }
        }
    }

    fn loaded(text: &str) -> (ReplyRules, Vec<String>) {
        let (rows, problems) = rows(text, "rules.toml", &OURS.0.words);
        (
            rows.map_or_else(|| built_in().as_ref().clone(), Rows::before_ours),
            problems.iter().map(ToString::to_string).collect(),
        )
    }

    #[test]
    fn w166_a_file_of_ones_own_comes_first_list_by_list() {
        let (rules, problems) = loaded(
            "dated = \"2027-01-01\"\nprovider = [\n\
             { of = \"example\", says = \"ours\", on_5xx = \"hard\", reason = \"no_such_mailbox\" },\n\
             { says = [\"RP-001\"], class = \"transient\", reason = \"slow_down\" },\n]\n\
             standard = [{ codes = [550], class = \"transient\", reason = \"odd\" }]\n\
             [marks]\nexample = [\"- Example MX\"]\n[words]\nours = [\"unknown in our * house\"]\n",
        );
        assert!(problems.is_empty(), "{problems:?}");
        let judged = |code, text: &str| rules.judge(code, None, text, Phase::Rcpt);
        assert_eq!(judged(550, "Unknown in our old house - example mx").reason.as_ref(), "no_such_mailbox");
        assert_eq!(judged(550, "Unknown in our old house").reason.as_ref(), "odd", "the mark is missing");
        assert_eq!(judged(421, "RP-001 (BAY)").class, Transient, "a row of ours is overridden");
        assert_eq!(judged(421, "RP-002 (BAY)").class, Policy, "and the next one is not");
        // Providers' texts of ours come before codes of theirs.
        assert_eq!(judged(550, "listed at Spamhaus").reason.as_ref(), "listed");
        assert_eq!(judged(550, "no").reason.as_ref(), "odd");
        // What nobody knows falls back to the table of codes.
        assert_eq!(judged(551, "no").reason.as_ref(), "moved");
    }

    #[test]
    #[rustfmt::skip]
    fn w166_mistakes_have_their_place() {
        let cases = [
            ("provider = [{ says = [\"abc\"], class = \"hard\", reason = \"x\" }]", "rules.toml:1:1: dated: is missing"),
            ("dated = \"soon\"", "rules.toml:1:9: dated: `soon` is not a date"),
            ("dated = \"2027-01-01\"\nprovidr = []", "rules.toml:2:1: providr: is not a setting, did you mean `provider`?"),
            ("dated = \"2027-01-01\"\nprovider = [\n{ says = [\"abc\"], reason = \"x\" }]", "rules.toml:3:1: provider.0: has no class"),
            ("dated = \"2027-01-01\"\nprovider = [{ says = [\"abc\"], class = \"bad\", reason = \"x\" }]", "rules.toml:2:39: provider.0.class: `bad` is not a class"),
            ("dated = \"2027-01-01\"\nprovider = [{ says = [\"abc\"], class = \"hard\", on_4xx = \"full\", reason = \"x\" }]", "provider.0: has `class` and a class for one column"),
            ("dated = \"2027-01-01\"\nprovider = [{ says = [\"*a*\"], class = \"hard\", reason = \"x\" }]", "provider.0.says.0: `*a*` is in almost every text"),
            ("dated = \"2027-01-01\"\nprovider = [{ says = \"nosuch\", class = \"hard\", reason = \"x\" }]", "provider.0.says: there is no list `nosuch`"),
            ("dated = \"2027-01-01\"\nprovider = [{ of = \"gogle\", class = \"hard\", reason = \"x\" }]", "provider.0.of: there are no marks of `gogle`"),
            ("dated = \"2027-01-01\"\nprovider = [{ codes = [550], class = \"hard\", reason = \"x\" }]", "provider.0: says nothing that only a provider says"),
            ("dated = \"2027-01-01\"\nstandard = [{ class = \"hard\", reason = \"x\" }]", "standard.0: has no condition"),
            ("dated = \"2027-01-01\"\nstandard = [{ codes = [250], class = \"hard\", reason = \"x\" }]", "standard.0.codes.0: 250 is out of range"),
            ("dated = \"2027-01-01\"\nstandard = [{ status = [\"5.1.1\"], class = \"hard\", reason = \"x\" }]", "standard.0.status.0: `5.1.1` is not a subject and detail"),
            ("dated = \"2027-01-01\"\nstandard = [{ when = \"later\", class = \"hard\", reason = \"x\" }]", "standard.0.when: `later` is not a part of the dialogue"),
            ("dated = \"2027-01-01\"\nstandard = [{ when = \"rcpt\", class = \"hard\", reason = \"Two words\" }]", "standard.0.reason: `Two words` is not a reason"),
            ("dated = \"2027-01-01\"\nstandard = [{ when = \"rcpt\", class = \"hard\" ", "rules.toml:2:"),
        ];
        for (text, expected) in cases {
            let (_, problems) = loaded(text);
            assert!(problems.iter().any(|problem| problem.contains(expected)), "{text}\n{expected}\n{problems:#?}");
        }
    }

    #[test]
    fn the_embedded_rules_check_and_have_a_date() {
        let (rows, problems) = rows(BUILT_IN, NAME, &[]);
        assert!(problems.is_empty(), "{problems:#?}");
        assert!(rows.is_some_and(|rows| rows.provider.len() > 20 && rows.standard.len() > 60));
    }
}
