//! Reports with fields: `message/delivery-status` (RFC 3464) and `message/global-delivery-status` (RFC 6533).
//!
//! Groups of fields with empty lines between: the first is about the message, each other one about a recipient. Real reports have
//! the recipient's fields in the first group, comments behind codes, no address types, angle brackets, and servers that say
//! `error` for `failed`; all of that is read. What counts is decided in `domain::bounce`.

use super::leaves::Leaf;
use super::parse;
use crate::domain::bounce::{Action, BounceForm, Report, Reported, is_expired};
use crate::domain::delivery::Phase;

/// Recipients of one report that are looked at.
const RECIPIENTS_MAX: usize = 100;
/// Characters of an address (RFC 5321 section 4.5.3.1 has fewer).
const ADDRESS_MAX: usize = 320;

/// The report in these leaves, if there is one.
pub(super) fn read(leaves: &[Leaf<'_>]) -> Option<Report> {
    let mut parts = leaves.iter().filter(|leaf| is_status(leaf)).peekable();
    parts.peek()?;
    let mut recipients = Vec::new();
    for part in parts {
        for group in groups(&part.octets()) {
            if let Some(reported) = recipient(&group)
                && recipients.len() < RECIPIENTS_MAX
            {
                recipients.push(reported);
            }
        }
    }
    Some(Report { form: BounceForm::Fields, name: "delivery-status".to_owned(), recipients })
}

pub(super) fn is_status(leaf: &Leaf<'_>) -> bool {
    matches!(leaf.media_type.as_str(), "message/delivery-status" | "message/global-delivery-status")
}

type Fields = Vec<(String, String)>;

fn groups(octets: &[u8]) -> Vec<Fields> {
    let mut groups = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while at < octets.len() {
        let end = memchr::memchr(b'\n', &octets[at..]).map_or(octets.len(), |found| at + found + 1);
        if octets[at..end].trim_ascii().is_empty() {
            groups.push(parse::split_fields(&octets[start..at]));
            start = end;
        }
        at = end;
    }
    groups.push(parse::split_fields(&octets[start.min(octets.len())..]));
    groups.retain(|group| !group.is_empty());
    groups
}

fn field<'a>(group: &'a Fields, name: &str) -> Option<&'a str> {
    group.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn recipient(group: &Fields) -> Option<Reported> {
    let named = ["original-recipient", "final-recipient", "x-actual-recipient"];
    let mut addresses: Vec<String> = Vec::new();
    for value in named.iter().filter_map(|name| field(group, name)) {
        if let Some(address) = address(value)
            && !addresses.contains(&address)
        {
            addresses.push(address);
        }
    }
    let action = field(group, "action").map(action);
    if addresses.is_empty() && (action.is_none() || field(group, "status").is_none()) {
        return None;
    }
    let diagnostic = field(group, "diagnostic-code").unwrap_or("");
    let words = diagnostic.split_once(';').map_or(diagnostic, |(_, words)| words).trim();
    let is_smtp = diagnostic.trim_start().get(..4).is_some_and(|start| start.eq_ignore_ascii_case("smtp"));
    let (code, enhanced) = if is_smtp { codes(words) } else { (None, codes(words).1) };
    Some(Reported {
        addresses,
        action,
        status: field(group, "status").and_then(enhanced_code),
        code,
        enhanced,
        phase: phase(words),
        said: words.to_owned(),
    })
}

fn action(value: &str) -> Action {
    let value = value.to_lowercase();
    if value.starts_with("fail") || value.starts_with("error") {
        Action::Failed
    } else if value.starts_with("delay") {
        Action::Delayed
    } else {
        Action::Other
    }
}

/// `rfc822; a@x`, `utf-8; a@x`, `<a@x>` or bare: the address in lower case.
fn address(value: &str) -> Option<String> {
    let bare = value.split_once(';').map_or(value, |(_, rest)| rest);
    // Each letter may be written in ten octets; without a limit a value of nothing but starts of them is looked at once for each.
    let bare = bare.split('(').next().unwrap_or("");
    let bare = unescaped(&bare[..bare.floor_char_boundary(ADDRESS_MAX * 10)]).to_lowercase();
    let bare = bare.trim().trim_matches(['<', '>', '"', '\'', ' ']);
    (bare.contains('@') && bare.len() <= ADDRESS_MAX).then(|| bare.to_owned())
}

/// `\x{f6}` of RFC 6533 section 3 as the letter that it stands for.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x{") {
        out.push_str(before);
        // Six digits at most, and the brace.
        let near = &after[..after.floor_char_boundary(7)];
        let letter = near.find('}').and_then(|end| {
            let (hex, tail) = (&after[..end], &after[end + 1..]);
            let number = u32::from_str_radix(hex, 16).ok()?;
            Some((char::from_u32(number).filter(|c| !c.is_control())?, tail))
        });
        match letter {
            Some((letter, tail)) => {
                out.push(letter);
                rest = tail;
            }
            None => {
                out.push_str("\\x{");
                rest = after;
            }
        }
    }
    out + rest
}

/// The basic and the enhanced code that a server's words start with, or hold. Words that only say that the time is over may hold
/// the last real reply behind them: that one counts.
pub(super) fn codes(words: &str) -> (Option<u16>, Option<String>) {
    let mut basic = None;
    let mut enhanced: Option<String> = None;
    let mut before = None;
    let pieces =
        words.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '#' | '[' | ']' | ',' | ';'));
    for piece in pieces.filter(|piece| !piece.is_empty()).take(80) {
        let piece = piece.trim_matches([':', '"', '\'', '<', '>']);
        // `550-5.1.1` is a line of a reply that goes on.
        let (first, second) = piece.split_once('-').unwrap_or((piece, ""));
        let code = basic_code(first);
        if basic.is_none() && enhanced.is_none() {
            basic = code;
        }
        if enhanced.as_deref().is_none_or(is_expired) {
            let found = enhanced_code(piece).or_else(|| code.and(enhanced_code(second)));
            if let Some(found) = found.filter(|found| enhanced.is_none() || !is_expired(found)) {
                basic = if enhanced.is_none() { basic } else { code.or(before) };
                enhanced = Some(found);
            }
        }
        before = code;
    }
    (basic, enhanced)
}

fn basic_code(word: &str) -> Option<u16> {
    let digits = word.len() == 3 && word.bytes().all(|b| b.is_ascii_digit()) && word.starts_with(['4', '5']);
    digits.then(|| word.parse().ok()).flatten()
}

/// RFC 3463 section 2; what stands behind the code is a comment.
fn enhanced_code(text: &str) -> Option<String> {
    let code =
        text.trim().split(|c: char| c.is_whitespace() || c == '(').next()?.trim_end_matches([':', '.']);
    let mut parts = code.split('.');
    let number = |part: Option<&str>| {
        part.is_some_and(|part| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()))
    };
    let class = parts.next().is_some_and(|class| matches!(class, "2" | "4" | "5"));
    (class && number(parts.next()) && number(parts.next()) && parts.next().is_none()).then(|| code.to_owned())
}

/// At which command the remote server said it, where the reporting one tells.
pub(super) fn phase(words: &str) -> Option<Phase> {
    let words = words.to_lowercase();
    let says = |marks: &[&str]| marks.iter().any(|mark| words.contains(mark));
    if says(&["end of data", "after data", "to data", "data command"]) {
        Some(Phase::Dot)
    } else if says(&["rcpt to", "[rcpt_to]"]) {
        Some(Phase::Rcpt)
    } else if says(&["mail from", "[mail_from]"]) {
        Some(Phase::Mail)
    } else if says(&["initial server greeting", "banner"]) {
        Some(Phase::Connect)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_every_form() {
        for (value, expected) in [
            ("rfc822; Ann@X.example", Some("ann@x.example")),
            ("RFC822;<ann@x.example>", Some("ann@x.example")),
            ("<ann@x.example>", Some("ann@x.example")),
            ("ann@x.example (was forwarded)", Some("ann@x.example")),
            ("utf-8; j\\x{F6}@x.example", Some("j\u{f6}@x.example")),
            ("utf-8; j\\x{ZZ}@x.example", Some("j\\x{zz}@x.example")),
            ("utf-8; \\x{110000}@x.example", Some("\\x{110000}@x.example")),
            ("x400; /C=us/", None),
            ("", None),
        ] {
            assert_eq!(address(value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn w133_codes_wherever_they_stand() {
        let enhanced = |code: &str| Some(code.to_owned());
        for (words, expected) in [
            ("550 5.1.1 unknown", (Some(550), enhanced("5.1.1"))),
            ("550-5.7.1 line one 550 5.7.1 two", (Some(550), enhanced("5.7.1"))),
            (
                "host mx.x.example[192.0.2.1] said: 452 4.2.2 full (in reply to RCPT TO command)",
                (Some(452), enhanced("4.2.2")),
            ),
            ("Sorry, no mailbox here by that name. (#5.1.1)", (None, enhanced("5.1.1"))),
            ("550: 5.1.1 <a@x>: Recipient address rejected", (Some(550), enhanced("5.1.1"))),
            ("4.4.7 Message expired; last error: 452 4.2.2 mailbox full", (Some(452), enhanced("4.2.2"))),
            ("550 4.4.7 QUEUE.Expired; message expired", (Some(550), enhanced("4.4.7"))),
            ("4.4.7 expired (last reply 4.7.1 greylisted)", (None, enhanced("4.7.1"))),
            ("host 192.0.2.250 said no", (None, None)),
            ("5.0.0 (permanent failure)", (None, enhanced("5.0.0"))),
            ("6.1.1 and 5.1 and 5.1.1.1", (None, None)),
        ] {
            assert_eq!(codes(words), expected, "{words}");
        }
    }

    #[test]
    fn w138_the_command_is_told_by_some() {
        assert_eq!(phase("(in reply to end of DATA command)"), Some(Phase::Dot));
        assert_eq!(phase("SMTP error after RCPT TO:<a@x>"), Some(Phase::Rcpt));
        assert_eq!(phase("unknown user"), None);
    }
}
