//! Replies, read as octets and bounded (W85): lines may be long, their words need not be UTF-8, and neither decides anything.
//!
//! The code decides, by its first digit (W86). What is no reply at all ends the connection: whoever talks out of turn cannot be
//! believed about the next message either.

use crate::domain::delivery::{Phase, Reply};
use crate::domain::reply_rule::ReplyRules;

/// W85. A reply that is longer is none.
const LINES_MAX: usize = 100;
const OCTETS_MAX: usize = 64 * 1024;

/// Not a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Garbage {
    #[error("a reply of more than {OCTETS_MAX} octets or {LINES_MAX} lines")]
    TooLong,
    #[error("what it says is not an SMTP reply")]
    NotAReply,
}

/// One whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub code: u16,
    /// RFC 3463, of the first line that starts with one.
    pub enhanced: Option<String>,
    /// The lines, joined by spaces, without the codes that are repeated.
    pub text: String,
    /// The lines without their codes; what EHLO offers has one keyword on each.
    pub lines: Vec<String>,
}

impl Said {
    pub fn at(self, phase: Phase, rules: &ReplyRules) -> Reply {
        Reply::new(self.code, self.enhanced, self.text, phase, rules)
    }
}

/// What was read and not yet understood. Each octet is looked at once, however small the pieces are in which it comes.
#[derive(Default)]
pub(super) struct Replies {
    octets: Vec<u8>,
    line_start: usize,
    searched: usize,
    lines: Vec<String>,
    code: u16,
}

impl Replies {
    /// Where the next octets go.
    pub fn room(&mut self) -> &mut Vec<u8> {
        self.octets.reserve(512);
        &mut self.octets
    }

    /// Whether nothing is left over.
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Takes one reply, if all of it is here.
    ///
    /// # Errors
    /// When it is none. Nothing that comes after can be understood.
    pub fn take(&mut self) -> Result<Option<Said>, Garbage> {
        while let Some(found) = memchr::memchr(b'\n', &self.octets[self.searched..]) {
            let end = self.searched + found;
            let line = &self.octets[self.line_start..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let (code, last) = code_of(line).ok_or(Garbage::NotAReply)?;
            if !self.lines.is_empty() && code / 100 != self.code / 100 {
                return Err(Garbage::NotAReply);
            }
            self.lines.push(String::from_utf8_lossy(line.get(4..).unwrap_or_default()).into_owned());
            (self.code, self.searched, self.line_start) = (code, end + 1, end + 1);
            if end >= OCTETS_MAX || self.lines.len() > LINES_MAX {
                return Err(Garbage::TooLong);
            }
            if last {
                return Ok(Some(self.finish()));
            }
        }
        self.searched = self.octets.len();
        if self.searched >= OCTETS_MAX { Err(Garbage::TooLong) } else { Ok(None) }
    }

    fn finish(&mut self) -> Said {
        self.octets.drain(..self.line_start);
        (self.searched, self.line_start) = (0, 0);
        let lines = std::mem::take(&mut self.lines);
        let enhanced = lines.iter().find_map(|line| enhanced_code(line));
        Said { code: self.code, text: joined(&lines, enhanced.as_deref()), enhanced, lines }
    }
}

/// The code of a line, and whether it is the last one. The last line may have neither text nor space.
fn code_of(line: &[u8]) -> Option<(u16, bool)> {
    let digits = line.get(..3)?;
    if !digits.iter().all(u8::is_ascii_digit) || !(b'2'..=b'5').contains(&digits[0]) {
        return None;
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match line.get(3) {
        None | Some(b' ' | b'\t') => Some((code, true)),
        Some(b'-') => Some((code, false)),
        Some(_) => None,
    }
}

/// Vendors repeat the enhanced code on every line; in the middle of a sentence it would hide the words that rules look for.
fn joined(lines: &[String], enhanced: Option<&str>) -> String {
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        let repeated = enhanced.filter(|_| at > 0).and_then(|code| line.strip_prefix(code));
        let words = repeated.unwrap_or(line).trim();
        if !text.is_empty() && !words.is_empty() {
            text.push(' ');
        }
        text.push_str(words);
    }
    text
}

/// RFC 3463: only where the text starts with it, with one published variant that writes a `#` before it (W94).
fn enhanced_code(text: &str) -> Option<String> {
    let word = text.split_whitespace().next()?;
    let word = word.strip_prefix('#').unwrap_or(word);
    let mut parts = word.split('.');
    let class = parts.next().is_some_and(|part| matches!(part, "2" | "4" | "5"));
    let number = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let rest = parts.next().is_some_and(number) && parts.next().is_some_and(number);
    (class && rest && parts.next().is_none()).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(octets: &[u8]) -> Result<Vec<Said>, Garbage> {
        let mut replies = Replies::default();
        replies.room().extend_from_slice(octets);
        let mut said = Vec::new();
        while let Some(one) = replies.take()? {
            said.push(one);
        }
        assert!(replies.is_empty() || !octets.ends_with(b"\n") || said.is_empty());
        Ok(said)
    }

    fn one(octets: &[u8]) -> Said {
        all(octets).unwrap().remove(0)
    }

    #[test]
    fn w85_shapes_of_replies() {
        assert_eq!(one(b"250\r\n").code, 250);
        assert_eq!(one(b"250 \r\n").text, "");
        assert_eq!(one(b"250 2.0.0 \xff\xfe ok\r\n").text, "2.0.0 \u{fffd}\u{fffd} ok");
        assert_eq!(one(b"250 bare line end\n").text, "bare line end");
        let long = [b"250 ".as_slice(), &b"x".repeat(2000), b"\r\n"].concat();
        assert_eq!(one(&long).text.len(), 2000);
        let several = one(b"250-peer.example\r\n250-SIZE 1000\r\n250 PIPELINING\r\n");
        assert_eq!(several.lines, ["peer.example", "SIZE 1000", "PIPELINING"]);
        let codes: Vec<_> =
            all(b"250 a\r\n550 b\r\n354 c\r\n").unwrap().iter().map(|said| said.code).collect();
        assert_eq!(codes, [250, 550, 354]);
        // Codes that nobody registered.
        assert_eq!([one(b"259 x\r\n").code, one(b"487 x\r\n").code, one(b"599 x\r\n").code], [259, 487, 599]);
    }

    #[test]
    fn w85_what_is_no_reply_or_too_long() {
        for bad in [
            "hello\r\n",
            "25\r\n",
            "2500 x\r\n",
            "650 x\r\n",
            "150 x\r\n",
            "250x\r\n",
            "\r\n",
            "250-a\r\n550 b\r\n",
        ] {
            assert_eq!(all(bad.as_bytes()), Err(Garbage::NotAReply), "{bad:?}");
        }
        assert_eq!(all(&b"x".repeat(1024 * 1024)), Err(Garbage::TooLong));
        assert_eq!(all(&b"250-x\r\n".repeat(101)), Err(Garbage::TooLong));
        assert_eq!(all(&[b"250 ".as_slice(), &b"x".repeat(70_000), b"\r\n"].concat()), Err(Garbage::TooLong));
        assert_eq!(all(&b"250-x\r\n".repeat(99)), Ok(vec![]));
    }

    #[test]
    fn w85_it_may_come_octet_by_octet() {
        let mut replies = Replies::default();
        let octets = b"250-5.7.26 first\r\n250 second\r\n";
        for (at, octet) in octets.iter().enumerate() {
            assert_eq!(replies.take(), Ok(None), "{at}");
            replies.room().push(*octet);
        }
        assert_eq!(replies.take().unwrap().unwrap().text, "5.7.26 first second");
    }

    #[test]
    fn w94_enhanced_codes_stand_first_or_not_at_all() {
        let code = |octets: &[u8]| one(octets).enhanced;
        assert_eq!(code(b"550 5.1.1 no such user\r\n").as_deref(), Some("5.1.1"));
        assert_eq!(code(b"550 #5.1.0 Address rejected\r\n").as_deref(), Some("5.1.0"));
        assert_eq!(code(b"550 5.1.1\r\n").as_deref(), Some("5.1.1"));
        for none in
            ["550 Host 5.1.1.1 refused\r\n", "550 5.1.1.1 refused\r\n", "550 3.1.1 what\r\n", "550\r\n"]
        {
            assert_eq!(code(none.as_bytes()), None, "{none}");
        }
        let gmail = one(b"550-5.7.26 Your email has\r\n550-5.7.26 been blocked\r\n550 5.7.26 - gsmtp\r\n");
        assert_eq!(gmail.enhanced.as_deref(), Some("5.7.26"));
        assert_eq!(gmail.text, "5.7.26 Your email has been blocked - gsmtp");
        assert_eq!(code(b"550-first line\r\n550 5.7.1 second\r\n").as_deref(), Some("5.7.1"));
    }
}
