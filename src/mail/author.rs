//! Who wrote a message, for who acts on a name: one author, whichever program reads it.
//!
//! Programs disagree about messages with several From fields, with control characters in one, or with a header longer than they
//! read (RFC 5322 section 3.6 allows one From, one To and one Cc). Here only a message counts that leaves no room for that: the
//! whole header is looked at, octet by octet, and the parser must find the same author in it. A second To or Cc counts
//! because a signature covers the lowest one, and others read the topmost: who has an old mail could prepend another address.

use super::mime::{HEADER_MAX, clean, with_header};
use super::parse::{Parsed, addresses, without_mbox_line};

/// The one address of the one From, in lower case.
///
/// # Errors
/// Why programs may disagree about it.
pub fn sole_author(raw: &[u8], parsed: &Parsed) -> Result<String, &'static str> {
    let mut from: Option<Vec<u8>> = None;
    let (mut to, mut cc) = (false, false);
    let mut length = 0;
    let mut inside = false;
    for line in without_mbox_line(raw).split_inclusive(|octet| *octet == b'\n') {
        if matches!(line, b"\n" | b"\r\n") {
            break;
        }
        length += line.len();
        if length > HEADER_MAX {
            return Err("its header is too long");
        }
        if line.first().is_some_and(|octet| matches!(octet, b' ' | b'\t')) {
            if let (true, Some(value)) = (inside, from.as_mut()) {
                extend(value, line);
            }
            continue;
        }
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let name = line[..colon].trim_ascii();
        inside = name.eq_ignore_ascii_case(b"from");
        if inside && from.is_some() {
            return Err("it has more than one From");
        }
        if inside {
            let mut value = Vec::new();
            extend(&mut value, line.get(colon + 1..).unwrap_or_default());
            from = Some(value);
        }
        if name.eq_ignore_ascii_case(b"to") && std::mem::replace(&mut to, true) {
            return Err("it has more than one To");
        }
        if name.eq_ignore_ascii_case(b"cc") && std::mem::replace(&mut cc, true) {
            return Err("it has more than one Cc");
        }
    }
    let value = String::from_utf8(from.ok_or("it has no From")?).map_err(|_| "its From is not UTF-8")?;
    if clean(&value) != value {
        return Err("its From holds control characters");
    }
    let listed = with_header(format!("From: {value}").as_bytes(), |message| {
        let list = message.from().map(|list| {
            list.iter().map(|entry| entry.address().unwrap_or("").to_lowercase()).collect::<Vec<_>>()
        });
        list.unwrap_or_default()
    });
    let listed = listed.unwrap_or_default();
    let [author] = listed.as_slice() else { return Err("it does not name one author") };
    let same = parsed.from.as_ref().is_some_and(|person| person.address.to_lowercase() == *author);
    match author.matches('@').count() == 1 && same {
        true => Ok(author.clone()),
        false => Err("programs disagree about its author"),
    }
}

fn extend(value: &mut Vec<u8>, line: &[u8]) {
    value.extend_from_slice(
        line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line)),
    );
}

/// The addresses of To and Cc, in lower case. What was written to somebody else and comes here by a third hand is no answer.
pub fn addressed(parsed: &Parsed) -> Vec<String> {
    ["to", "cc"].iter().filter_map(|name| parsed.field(name)).flat_map(addresses).collect()
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    fn author(header: &str) -> Result<String, &'static str> {
        let raw = format!("{header}\r\nTo: r+t@example.org\r\n\r\nx");
        sole_author(raw.as_bytes(), &parse(raw.as_bytes()))
    }

    #[test]
    fn one_author_whoever_reads() {
        for header in [
            "From: ed@example.org",
            "FROM : Ed <Ed@Example.org>",
            "From: \"Ed, the editor\"\r\n <ed@example.org>",
            "From: =?utf-8?q?=C3=89d?= <ed@example.org>\r\nX-From: eve@evil.example",
        ] {
            assert_eq!(author(header).as_deref(), Ok("ed@example.org"), "{header}");
        }
    }

    #[test]
    fn anything_else_has_none() {
        let many = "X-n: y\r\n".repeat(1_100);
        let long = format!("X-n: {}\r\n", "y".repeat(HEADER_MAX));
        for (header, why) in [
            ("Subject: x", "no From"),
            ("From: ed@example.org\r\nFrom: eve@evil.example", "more than one From"),
            ("From: ed@example.org\r\nFrom : eve@evil.example", "more than one From"),
            (&format!("From: ed@example.org\r\n{many}From: eve@evil.example"), "more than one From"),
            (&format!("From: ed@example.org\r\n{long}From: eve@evil.example"), "too long"),
            ("From: ed@example.org, eve@evil.example", "one author"),
            ("From: ed <x>, <eve@evil.example>", "one author"),
            ("From: \"a\\\u{1}\" <ed@example.org>, \"<eve@evil.example>", "control characters"),
            ("From: \"a\\\u{202a}\" <ed@example.org>, \"<eve@evil.example>", "control characters"),
            ("From: g: ed@example.org, eve@evil.example;", "one author"),
            ("To: r+old@example.org\r\nFrom: ed@example.org", "more than one To"),
            ("From: ed@example.org\r\nTO : ana@x.example", "more than one To"),
            ("Cc: a@x.example\r\nFrom: ed@example.org\r\ncc: b@x.example", "more than one Cc"),
            ("From: ed", "author"),
            ("From:", "author"),
        ] {
            let answer = author(header).unwrap_err();
            assert!(answer.contains(why), "{}: {answer}", &header[..header.len().min(80)]);
        }
    }

    #[test]
    fn only_to_and_cc_address_somebody() {
        let parsed = parse(b"From: a@x.example\nDelivered-To: r+t@example.org\nTo: eve@x.example\n\nx");
        assert_eq!(addressed(&parsed), ["eve@x.example"]);
        let parsed = parse(b"From: a@x.example\nCc: b@x.example, R+T@example.org\n\nx");
        assert_eq!(addressed(&parsed), ["b@x.example", "r+t@example.org"]);
    }
}
