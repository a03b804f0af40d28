//! Macros of SPF records (RFC 7208 section 7): names that hang on the address that sends.

use std::net::IpAddr;

/// Octets of a name; what is longer loses labels on its left (section 7.3).
const NAME: usize = 253;

/// Where the parts of a value are split unless a macro says otherwise, and where it may.
const DOT: &str = ".";
const DELIMITERS: &str = ".-+,/_=";

/// A stretch of text, or a macro.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Macro {
        /// In lower case.
        letter: char,
        /// Written in upper case: escaped as in URLs.
        escaped: bool,
        /// Parts that are kept, counted from the right; 0: all.
        kept: usize,
        reversed: bool,
        delimiters: String,
    },
}

/// What macros stand for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values<'a> {
    pub ip: IpAddr,
    /// Of the record that the macro stands in.
    pub domain: &'a str,
    /// The domain of the envelope sender.
    pub sender: &'a str,
    pub hello: &'a str,
    /// The sending address's own name.
    pub name: &'a str,
}

/// A name with macros in its parts.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parts(text: &str) -> Result<Vec<Part>, String> {
    let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
    while let Some(at) = rest.find('%') {
        plain.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (put, used) = match after.chars().next() {
            Some('%') => ("%", 1),
            Some('_') => (" ", 1),
            Some('-') => ("%20", 1),
            Some('{') => {
                let end = after.find('}').ok_or("a macro has no end")?;
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(read(&after[1..end])?);
                ("", end + 1)
            }
            _ => return Err("a single % means nothing; %% is one".to_owned()),
        };
        plain.push_str(put);
        rest = &after[used..];
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(parts)
}

/// What stands between the braces.
fn read(text: &str) -> Result<Part, String> {
    let unknown = || format!("%{{{text}}} is no macro");
    let letter = text.chars().next().ok_or_else(unknown)?;
    let lower = letter.to_ascii_lowercase();
    if !"slodiphv".contains(lower) {
        // c, r and t are for explanations only.
        return Err(unknown());
    }
    let rest = &text[1..];
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, rest) = rest.split_at(digits);
    let kept = match number {
        "" => 0,
        number => number.parse::<usize>().ok().filter(|kept| *kept > 0).ok_or_else(unknown)?,
    };
    let reversed = rest.starts_with(['r', 'R']);
    let delimiters = if reversed { &rest[1..] } else { rest };
    if !delimiters.chars().all(|c| DELIMITERS.contains(c)) {
        return Err(unknown());
    }
    let delimiters = if delimiters.is_empty() { DOT } else { delimiters }.to_owned();
    Ok(Part::Macro { letter: lower, escaped: letter.is_ascii_uppercase(), kept, reversed, delimiters })
}

/// Whether one of them asks for the left half of the envelope sender, or for all of it.
pub(super) fn ask_for_local(parts: &[Part]) -> bool {
    asks(parts, &['s', 'l'])
}

/// Whether one of them asks for the name of the sending address.
pub(super) fn ask_for_name(parts: &[Part]) -> bool {
    asks(parts, &['p'])
}

fn asks(parts: &[Part], letters: &[char]) -> bool {
    parts.iter().any(|part| matches!(part, Part::Macro { letter, .. } if letters.contains(letter)))
}

/// The name that they make, in lower case.
pub(super) fn expand(parts: &[Part], values: &Values<'_>) -> String {
    let mut name = String::new();
    for part in parts {
        match part {
            Part::Text(text) => name.push_str(text),
            Part::Macro { letter, escaped, kept, reversed, delimiters } => {
                let value = transformed(&value(*letter, values), (*kept, *reversed), delimiters);
                match escaped {
                    true => escape(&value, &mut name),
                    false => name.push_str(&value),
                }
            }
        }
    }
    while name.len() > NAME {
        match name.split_once('.') {
            Some((_, rest)) => name = rest.to_owned(),
            None => name.truncate(name.floor_char_boundary(NAME)),
        }
    }
    name.to_ascii_lowercase()
}

fn value(letter: char, values: &Values<'_>) -> String {
    match (letter, values.ip.to_canonical()) {
        ('o', _) => values.sender.to_owned(),
        ('d', _) => values.domain.to_owned(),
        ('p', _) => values.name.to_owned(),
        ('h', _) => values.hello.to_owned(),
        ('i', IpAddr::V4(four)) => four.to_string(),
        ('i', IpAddr::V6(six)) => {
            let digits: Vec<String> = format!("{:032x}", six.to_bits()).chars().map(String::from).collect();
            digits.join(".")
        }
        ('v', IpAddr::V4(_)) => "in-addr".to_owned(),
        ('v', IpAddr::V6(_)) => "ip6".to_owned(),
        // `ask_for_local` keeps the others away.
        _ => String::new(),
    }
}

fn transformed(value: &str, (kept, reversed): (usize, bool), delimiters: &str) -> String {
    let mut parts: Vec<&str> = value.split(|c| delimiters.contains(c)).collect();
    if reversed {
        parts.reverse();
    }
    let from = if kept == 0 { 0 } else { parts.len().saturating_sub(kept) };
    parts[from..].join(".")
}

/// RFC 3986 section 2.3.
fn escape(value: &str, into: &mut String) {
    for octet in value.bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => into.push(octet.into()),
            _ => into.push_str(&format!("%{octet:02X}")),
        }
    }
}

/// `example.org/24//64` into the name and the bits for both families. A slash inside of a macro is one of its delimiters.
pub(super) fn split_bits(argument: &str) -> (&str, (u8, u8)) {
    let outside = argument.rfind('}').map_or(0, |at| at + 1);
    let at = argument[outside..].find('/').map_or(argument.len(), |at| outside + at);
    let (name, bits) = (&argument[..at], argument[at..].strip_prefix('/').unwrap_or(""));
    let (four, six) = match bits.split_once("//") {
        Some((four, six)) => (four, six),
        None => bits.strip_prefix('/').map_or((bits, ""), |six| ("", six)),
    };
    (name, (four.parse().unwrap_or(32), six.parse().unwrap_or(128)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str, ip: &str) -> Result<String, String> {
        let values = Values {
            ip: ip.parse().unwrap(),
            domain: "email.example.com",
            sender: "email.example.com",
            hello: "out.example.com",
            name: "mx.example.org",
        };
        Ok(expand(&parts(text)?, &values))
    }

    #[test]
    fn the_examples_of_rfc_7208_section_7_4() {
        let six = "2001:db8::cb01";
        for (text, ip, name) in [
            ("%{o}", "192.0.2.3", "email.example.com"),
            ("%{d}", "192.0.2.3", "email.example.com"),
            ("%{d4}", "192.0.2.3", "email.example.com"),
            ("%{d3}", "192.0.2.3", "email.example.com"),
            ("%{d2}", "192.0.2.3", "example.com"),
            ("%{d1}", "192.0.2.3", "com"),
            ("%{dr}", "192.0.2.3", "com.example.email"),
            ("%{d2r}", "192.0.2.3", "example.email"),
            ("%{ir}.%{v}._spf.%{d2}", "192.0.2.3", "3.2.0.192.in-addr._spf.example.com"),
            (
                "%{ir}.%{v}._spf.%{d2}",
                six,
                "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com",
            ),
            ("%{h}.%{p}", "192.0.2.3", "out.example.com.mx.example.org"),
            ("a%%b%_c%-d", "192.0.2.3", "a%b c%20d"),
            ("%{I}", "192.0.2.3", "192.0.2.3"),
        ] {
            assert_eq!(expanded(text, ip).as_deref(), Ok(name), "{text}");
        }
    }

    #[test]
    fn what_is_no_macro_is_an_error_and_says_so() {
        for text in
            ["%", "%x", "%{", "%{d", "%{}", "%{x}", "%{c}", "%{t}", "%{d0}", "%{d2x}", "%{d!}", "%{\u{e4}}"]
        {
            assert!(expanded(text, "192.0.2.3").is_err(), "{text}");
        }
        assert!(ask_for_local(&parts("%{l1r-}.x").unwrap()) && ask_for_local(&parts("%{S}").unwrap()));
        assert!(!ask_for_local(&parts("%{i}%{d}l").unwrap()));
    }

    #[test]
    fn delimiters_split_and_long_names_lose_their_left() {
        let kept = |text| transformed("strong-bad.x", (2, false), text);
        assert_eq!((kept("-").as_str(), kept(".-").as_str()), ("strong.bad.x", "bad.x"));
        let long = format!("{}%{{d}}", "abcdefghi.".repeat(40));
        let name = expanded(&long, "192.0.2.3").unwrap();
        assert!(name.len() <= NAME && name.ends_with("abcdefghi.email.example.com"), "{name}");
        assert_eq!(split_bits("%{d/}.x/24//64"), ("%{d/}.x", (24, 64)));
        assert_eq!(split_bits("x//64"), ("x", (32, 64)));
        assert_eq!(split_bits("x"), ("x", (32, 128)));
    }
}
