//! Bounces without fields: what mail servers write in their own words (qmail, Exim, Exchange, Yahoo, IMail, GroupWise and others).
//!
//! One table, one row a form: words that start it, words that end it, and how the address is written between. Forms that say
//! "not yet" stand first and need their end as well, because "no action is required" is what makes them one. The first row that
//! finds an address wins. A form is a hint, never proof: `domain::bounce` lets none of them suppress anybody alone (W135).

use super::dsn::{codes, phase};
use super::leaves::Leaf;
use super::parse::{self, Parsed};
use crate::domain::bounce::{Action, BounceForm, Report, Reported};

/// Octets of text and lines of it that are looked at.
const TEXT_MAX: usize = 128 * 1024;
const LINES_MAX: usize = 2_000;
/// RFC 5322 section 2.1.1 has 998. Behind that no server writes an address.
const LINE_MAX: usize = 1_000;
const RECIPIENTS_MAX: usize = 100;
const ADDRESS_MAX: usize = 320;

/// How a form writes the address.
#[derive(Clone, Copy)]
enum Place {
    /// `<a@x>`, anywhere in the line.
    Angle,
    /// `<a@x>:`.
    AngleColon,
    /// At the start of the line, behind bullets and brackets at most.
    Head,
    /// All addresses of the line.
    Any,
    /// Behind one of these words.
    After(&'static [&'static str]),
    /// A word alone; without a domain it is this one's.
    Word(&'static str),
}

struct Form {
    name: &'static str,
    /// In lower case. `^` in front: at the start of the line; `$` behind: and at its end.
    start: &'static [&'static str],
    end: &'static [&'static str],
    place: Place,
    delayed: bool,
    /// What the sender's address has to hold; empty: anything.
    from: &'static str,
}

const fn form(
    name: &'static str,
    start: &'static [&'static str],
    end: &'static [&'static str],
    place: Place,
) -> Form {
    Form { name, start, end, place, delayed: false, from: "" }
}

const fn warning(start: &'static [&'static str], end: &'static [&'static str], place: Place) -> Form {
    Form { delayed: true, ..form("warning", start, end, place) }
}

const fn of(from: &'static str, form: Form) -> Form {
    Form { from, ..form }
}

use Place::{After, Angle, AngleColon, Any, Head, Word};

/// Where a copy of the message begins.
const COPY: &[&str] = &[
    "^--- ",
    "^----",
    "original message follows",
    "forwarded message",
    "copy of the message",
    "^returned mail",
];

const FORMS: &[Form] = &[
    warning(&["has not yet been delivered is"], &["no action is required"], Any),
    warning(&["your message to:"], &["this is just a warning"], Any),
    warning(&["your message with subject:"], &["delivery attempts will continue"], Head),
    warning(&["following recipient has been delayed"], &["message will be retried"], Head),
    warning(&["this is an advisory-only email"], &["has been postponed"], Any),
    warning(&["not yet been delivered"], &["no action is required"], Head),
    form(
        "qmail",
        &[
            "^hi. this is the",
            "^hi. the mta program",
            "^this is the mail delivery agent at",
            "^unfortunately, your mail was not delivered",
            "^your mail message to the following",
            "^we're sorry. there's a problem",
            "^check your send e-mail address",
            "your message could not be delivered",
            "this is the machine generated message",
        ],
        &["^-"],
        AngleColon,
    ),
    form(
        "postfix",
        &["postfix program", "keftamail program", "smtp_gateway program", "failure reason:$", "^the postfix"],
        COPY,
        AngleColon,
    ),
    of("mailer-daemon@sina.com", form("sina", &[""], COPY, Angle)),
    form(
        "yahoo",
        &[
            "message from yahoo",
            "unable to deliver your message to the following address",
            "unable to deliver message to the following address",
        ],
        COPY,
        AngleColon,
    ),
    form("yahoo", &["able to deliver the following message"], &["below this line"], After(&[" to:", "^to:"])),
    form(
        "exim",
        &["the following address(es) failed", "the following address failed"],
        &["^---", "included is a copy"],
        Head,
    ),
    form("exim", &["a message that you sent was rejected"], &["this is a copy"], Any),
    form("exim", &["a message that you sent could not be delivered"], &["^---"], Angle),
    form("exim", &["a message that you sent could not be delivered"], &["^---"], Head),
    form("exim", &["a message that you sent could not be delivered"], &["^---"], Any),
    form(
        "exim",
        &["created automatically by mail delivery"],
        &["start of returned message"],
        After(&["addressed to '"]),
    ),
    form("exchange", &["did not reach the following recipient"], &["msexch:"], Any),
    form("microsoft", &["could not be delivered to the following user"], &["old message"], Angle),
    form("sendmail", &["the following addresses had"], &["transcript of session follows"], Head),
    form("microsoft", &["transcript of session follows"], COPY, Head),
    form(
        "viruswall",
        &["message from interscan", "created automatically by mail delivery"],
        &["end of message", "original message follows"],
        After(&["rcpt to:"]),
    ),
    form("viruswall", &["^unable to deliver message to"], &["end of message"], Angle),
    form("smail", &["failed addresses follow"], &["message text follows"], Head),
    form("mdaemon", &["did not receive a copy of your message"], &["session transcript"], Head),
    form("mdaemon", &["no such user here"], &["there is no user"], Head),
    form("gmail", &["delivery to the following recipient failed"], &["original message"], Head),
    form(
        "songbird",
        &["to the following recipients failed", "to the following recipients was aborted"],
        &["technical details", "^==="],
        Head,
    ),
    form("imail", &["failed recipients ---"], &["returned mail ---"], Angle),
    form("lsmtp", &["error description:"], &["error-end:"], After(&["error-for:"])),
    form(
        "hmail",
        &["the following recipient(s) could not be reached"],
        &["^error type", "message headers follow"],
        Head,
    ),
    form(
        "mailenable",
        &["could not be delivered to some recipients"],
        &["message headers follow"],
        After(&["[smtp:"]),
    ),
    form("failed list", &["here is your list of failed recipients"], &["here is your returned mail"], Angle),
    form("mailbox full", &["user's mailbox is full:"], &["unable to deliver mail"], Angle),
    form("usa.net", &["intended recipient:"], &["returned mail follows"], After(&["intended recipient:"])),
    form(
        "hotpop",
        &["undeliverable address:"],
        &["original message attached"],
        After(&["undeliverable address:"]),
    ),
    form("because", &["^your message$"], &["^because:"], Head),
    form("unable", &["^sorry, unable to deliver your message to"], &["^a copy of the original"], Any),
    form("not delivered", &["^a message could not be delivered to:"], &["^subject:"], Head),
    form("not delivered", &["message not delivered to the following"], &["error detail"], Head),
    form(
        "not delivered",
        &["could not deliver message to the following recipient"],
        &["-- the header"],
        After(&["failed recipient:"]),
    ),
    form("final delivery", &["invalid final delivery userid"], &["original message follows"], Any),
    form("not delivered", &["your message could not be delivered to"], &["^$"], Any),
    form("problems", &["encountered delivery problems"], &["your message reads"], After(&["addressed to"])),
    form("deliver program", &["this is the deliver program at"], &["^-"], Head),
    form("email server", &["this is the email server at"], &["^-"], Any),
    form("rejected", &["was automatically rejected"], &["^reporting"], After(&["your message to"])),
    form("postmaster", &["this is a delivery failure notification message"], &["the problem appears"], Head),
    form("office", &["delivery has failed"], &["original message details"], Any),
    form(
        "recipients",
        &["recipients did not receive this message", "recipients did not receive your message"],
        COPY,
        Angle,
    ),
    of("@aol.com", form("aol", &["following recipients could not be delivered"], COPY, Word("aol.com"))),
    form("recipients", &["following recipients could not be delivered", "recipients or groups"], COPY, Any),
];

/// IMail has many phrases and names itself: the address stands behind the colon.
const IMAIL: Form = form(
    "imail",
    &[""],
    &["original message follows"],
    After(&["user mailbox", "delivery failed", "unknown user", "undeliverable to", "delivery userid"]),
);

/// GroupWise and its like name themselves too, and have no phrase of their own.
const GROUPWISE: Form = form("groupwise", &[""], COPY, Head);
const GROUPWISE_ANGLE: Form = form("groupwise", &[""], COPY, Angle);

/// The bounce that a message is by its words.
pub(super) fn read(parsed: &Parsed, leaves: &[Leaf<'_>]) -> Option<Report> {
    let text = text(leaves);
    let from = parsed.from.as_ref().map(|from| from.address.to_lowercase()).unwrap_or_default();
    let lines: Vec<&str> =
        text.lines().take(LINES_MAX).map(|line| &line[..line.floor_char_boundary(LINE_MAX)]).collect();
    let lower: Vec<String> = lines.iter().map(|line| line.trim().to_lowercase()).collect();
    let whole = lower.join("\n");
    let page = Page { lines: &lines, lower: &lower, whole: &whole };
    if let Some(report) = by_header(parsed, &page) {
        return Some(report);
    }
    let applies = |form: &&Form| form.from.is_empty() || from.contains(form.from);
    FORMS.iter().filter(applies).find_map(|form| page.read(form))
}

/// Servers that name themselves or the failed address in a field.
fn by_header(parsed: &Parsed, page: &Page<'_>) -> Option<Report> {
    if let Some(failed) = parsed.field("x-failed-recipients") {
        let recipients: Vec<String> = parse::addresses(failed);
        if !recipients.is_empty() {
            return Some(report("exim", recipients, false, &page.lines.join(" ")));
        }
    }
    let mailer = parsed.field("x-mailer").unwrap_or("").to_lowercase();
    if mailer.starts_with("<smtp32 v") {
        return page.read(&IMAIL);
    }
    let groupwise = ["novell", "ntmail", "internet mail service"].iter().any(|name| mailer.starts_with(name));
    if groupwise {
        let exchange = FORMS.iter().filter(|form| form.name == "exchange");
        return exchange.chain([&GROUPWISE_ANGLE, &GROUPWISE]).find_map(|form| page.read(form));
    }
    None
}

fn text(leaves: &[Leaf<'_>]) -> String {
    let mut text = String::new();
    for leaf in
        leaves.iter().filter(|leaf| leaf.media_type.starts_with("text/") && !leaf.is_enclosed_message())
    {
        if text.len() > TEXT_MAX {
            break;
        }
        text.push_str(&leaf.text());
        text.push('\n');
    }
    if text.len() > TEXT_MAX {
        let end = (0..=TEXT_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

struct Page<'a> {
    lines: &'a [&'a str],
    /// Trimmed, in lower case.
    lower: &'a [String],
    /// All of `lower`: most forms are not in it, which is seen at once.
    whole: &'a str,
}

impl Page<'_> {
    fn read(&self, form: &Form) -> Option<Report> {
        let bare = |mark: &str| self.whole.contains(mark.trim_start_matches('^').trim_end_matches('$'));
        if !form.start.iter().any(|mark| bare(mark)) {
            return None;
        }
        let first = self.lower.iter().position(|line| form.start.iter().any(|mark| is_marked(line, mark)))?;
        // The line that starts a form may hold the address, and is not its end.
        let ends = |line: &&String| form.end.iter().any(|mark| is_marked(line, mark));
        let length = self.lower[first + 1..].iter().position(|line| ends(&line));
        if form.delayed && length.is_none() {
            return None;
        }
        let last = length.map_or(self.lower.len(), |length| first + 1 + length);
        let mut found: Vec<String> = Vec::new();
        // A warning's address may stand in the line that ends it.
        let lines = &self.lines[first..(last + usize::from(form.delayed)).min(self.lines.len())];
        for line in lines {
            for address in form.place.addresses(line) {
                if found.len() < RECIPIENTS_MAX && !found.contains(&address) {
                    found.push(address);
                }
            }
        }
        (!found.is_empty()).then(|| report(form.name, found, form.delayed, &lines.join(" ")))
    }
}

fn is_marked(line: &str, mark: &str) -> bool {
    match (mark.strip_prefix('^'), mark.strip_suffix('$')) {
        (Some(_), Some(_)) => mark[1..mark.len() - 1] == *line,
        (Some(start), None) => line.starts_with(start),
        (None, Some(end)) => line.ends_with(end),
        (None, None) => line.contains(mark),
    }
}

fn report(name: &str, addresses: Vec<String>, delayed: bool, words: &str) -> Report {
    let words: String = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let (code, enhanced) = codes(&words);
    let one = |address: String| Reported {
        addresses: vec![address],
        action: Some(if delayed { Action::Delayed } else { Action::Failed }),
        status: None,
        code,
        enhanced: enhanced.clone(),
        phase: phase(&words),
        said: words.chars().take(1_000).collect(),
    };
    Report {
        form: BounceForm::Words,
        name: name.to_owned(),
        recipients: addresses.into_iter().map(one).collect(),
    }
}

impl Place {
    fn addresses(self, line: &str) -> Vec<String> {
        match self {
            Place::Angle => angles(line).filter_map(|(inside, _)| address(inside)).collect(),
            Place::AngleColon => {
                let colon = angles(line).filter(|(_, behind)| behind.starts_with(':'));
                colon.filter_map(|(inside, _)| address(inside)).collect()
            }
            Place::Head => {
                let line = line.trim_start_matches([' ', '\t', '*', '-', '>', '<', '"', '\'', '(']);
                first_address(line.strip_prefix("expanded from:").unwrap_or(line))
            }
            Place::Any => words(line).filter_map(address).collect(),
            Place::After(marks) => {
                let line = &line.split_whitespace().collect::<Vec<_>>().join(" ");
                let lower = line.to_lowercase();
                // Lower case may have another length; then the address is in what is left of it.
                let source = if lower.len() == line.len() { line.as_str() } else { lower.as_str() };
                marks
                    .iter()
                    .find_map(|mark| after(source, &lower, mark))
                    .map(|rest| words(rest).find_map(address).into_iter().collect())
                    .unwrap_or_default()
            }
            Place::Word(domain) => {
                let word = line.trim();
                let alone = !word.is_empty() && !word.contains(char::is_whitespace) && !word.contains('@');
                if alone {
                    address(&format!("{word}@{domain}")).into_iter().collect()
                } else {
                    first_address(word)
                }
            }
        }
    }
}

fn after<'a>(source: &'a str, lower: &str, mark: &str) -> Option<&'a str> {
    let at = match mark.strip_prefix('^') {
        Some(start) => lower
            .trim_start()
            .starts_with(start)
            .then(|| lower.len() - lower.trim_start().len() + start.len()),
        None => lower.find(mark).map(|at| at + mark.len()),
    }?;
    source.get(at..)
}

fn first_address(line: &str) -> Vec<String> {
    words(line).next().and_then(address).into_iter().collect()
}

/// What stands between `<` and `>`, and what is behind up to the next `<`.
fn angles(line: &str) -> impl Iterator<Item = (&str, &str)> {
    // Cut at the next `<`: no address holds one, and a line of nothing else would be looked at once for each of them.
    line.split('<').skip(1).filter_map(|piece| piece.split_once('>'))
}

/// Pieces of a line that may be addresses. `SMTP=` is how Exchange writes one.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let pieces = line.split(|c: char| {
        c.is_whitespace() || matches!(c, '<' | '>' | '"' | '\'' | ';' | ',' | '(' | ')' | '[' | ']')
    });
    pieces.filter(|piece| !piece.is_empty()).map(|piece| {
        let piece = piece.strip_prefix("SMTP:").unwrap_or(piece);
        let lower = piece.to_ascii_lowercase();
        lower.rfind("smtp=").map_or(piece, |at| &piece[at + "smtp=".len()..])
    })
}

/// A word as an address in lower case, if it looks like one.
fn address(word: &str) -> Option<String> {
    let word = word.trim().trim_matches([':', '.', '\'', '"', ',']).trim_start_matches("mailto:");
    let (local, domain) = word.rsplit_once('@')?;
    let is_local = !local.is_empty()
        && !local.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '@'));
    let is_domain = !domain.is_empty()
        && !domain.contains("..")
        && domain.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'));
    (is_local && is_domain && word.len() <= ADDRESS_MAX).then(|| word.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::super::leaves::leaves;
    use super::super::parse::parse;
    use super::*;

    /// What is handed out of a line, counted: each octet once, whatever stands in it.
    #[test]
    fn angles_look_at_each_octet_once() {
        for line in [
            "<".repeat(1_000),
            "<a@x.example>".repeat(70),
            "<<<a@x.example>:".to_owned(),
            "<a".repeat(500) + ">",
        ] {
            let counted: usize = angles(&line).map(|(inside, behind)| inside.len() + behind.len()).sum();
            assert!(counted <= line.len(), "{counted} of {}", line.len());
        }
        let found: Vec<_> = angles("to <<a@x.example>: and <b@x.example> <c").collect();
        assert_eq!(found, [("a@x.example", ": and "), ("b@x.example", " ")]);
    }

    #[test]
    fn a_line_is_read_as_far_as_a_line_goes() {
        let bounce = |filler: &str| {
            let raw = format!(
                "From: MAILER-DAEMON@y.example\r\n\r\nHi. This is the qmail-send program at y.example.\r\n{filler}<a@x.example>:\r\nno\r\n--- copy\r\n"
            );
            let parsed = parse(raw.as_bytes());
            read(&parsed, &leaves(raw.as_bytes())).map(|report| report.recipients.len())
        };
        assert_eq!(bounce(""), Some(1));
        assert_eq!(bounce(&"\u{e4}".repeat(400)), Some(1));
        assert_eq!(bounce(&"\u{e4}<".repeat(400)), None, "behind a thousand octets");
    }
}
