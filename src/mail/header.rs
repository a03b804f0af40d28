//! Header fields (RFC 5322 section 2.2) with encoded-words (RFC 2047) only where they are needed and allowed.
//!
//! Text that is printable ASCII and cannot be taken for an encoded-word goes out as it is, folded before white space. All other
//! text becomes encoded-words as a whole, each of them valid UTF-8 of its own, one to a line. Control characters never get here:
//! every value goes through `one_line`. Limits: a word of more than 60 ASCII characters is encoded, because it could not be
//! folded otherwise.

/// RFC 2047 section 2: a line that holds an encoded-word.
const ENCODED_LINE: usize = 76;
/// RFC 2047 section 2: one encoded-word.
const ENCODED_WORD: usize = 75;
/// RFC 5322 section 2.1.1 wants 78; one less than an encoded line keeps all lines alike.
const LINE: usize = 76;
const LONG_WORD: usize = 60;

/// Control characters as spaces, none at the ends: what may stand in a header (W11).
pub fn one_line(text: &str) -> String {
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    spaced.trim().to_owned()
}

/// Appends `Name: text`, for fields whose value is text (RFC 5322 section 3.6.5).
pub fn unstructured(name: &str, text: &str, into: &mut Vec<u8>) {
    let text = one_line(text);
    into.extend_from_slice(name.as_bytes());
    into.extend_from_slice(b": ");
    let column = name.len() + 2;
    if needs_words(&text) {
        encoded_words(&text, column, into);
    } else {
        folded(&text, column, into);
    }
    into.extend_from_slice(b"\r\n");
}

/// Appends `Name: phrase <address>`, for fields with one mailbox (RFC 5322 section 3.4). The address is never encoded (W9).
pub fn mailbox(name: &str, phrase_text: &str, address: &str, into: &mut Vec<u8>) {
    into.extend_from_slice(name.as_bytes());
    into.extend_from_slice(b": ");
    let phrase_text = one_line(phrase_text);
    if phrase_text.is_empty() {
        into.extend_from_slice(address.as_bytes());
    } else {
        let column = phrase(&phrase_text, name.len() + 2, into);
        let break_before = column + 3 + address.len() > LINE;
        into.extend_from_slice(if break_before { b"\r\n <" } else { b" <" });
        into.extend_from_slice(address.as_bytes());
        into.push(b'>');
    }
    into.extend_from_slice(b"\r\n");
}

/// Appends `Name: phrase <id>`, or `Name: <id>` where there is no phrase (RFC 2919 section 3).
pub fn identifier(name: &str, phrase_text: &str, id: &str, into: &mut Vec<u8>) {
    if one_line(phrase_text).is_empty() {
        plain(name, &format!("<{id}>"), into);
    } else {
        mailbox(name, phrase_text, id, into);
    }
}

/// Appends `Name: value` as it is. The caller knows that the value is printable ASCII and short enough.
pub fn plain(name: &str, value: &str, into: &mut Vec<u8>) {
    into.extend_from_slice(name.as_bytes());
    into.extend_from_slice(b": ");
    into.extend_from_slice(value.as_bytes());
    into.extend_from_slice(b"\r\n");
}

/// Appends `Name: first,\r\n second`: folds between whole items only, never inside angle brackets (W12).
pub fn items<'a>(name: &str, between: &str, items: impl IntoIterator<Item = &'a str>, into: &mut Vec<u8>) {
    into.extend_from_slice(name.as_bytes());
    into.push(b':');
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            into.extend_from_slice(between.as_bytes());
            into.extend_from_slice(b"\r\n");
        }
        into.push(b' ');
        into.extend_from_slice(item.as_bytes());
    }
    into.extend_from_slice(b"\r\n");
}

/// Writes a phrase (RFC 5322 section 3.2.5) and says in which column it ends.
fn phrase(text: &str, column: usize, into: &mut Vec<u8>) -> usize {
    let start = into.len();
    if needs_words(text) || text.len() > LONG_WORD {
        return encoded_words(text, column, into);
    }
    let atoms =
        text.bytes().all(|b| b == b' ' || b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b));
    if atoms {
        into.extend_from_slice(text.as_bytes());
    } else {
        into.push(b'"');
        for octet in text.bytes() {
            if matches!(octet, b'"' | b'\\') {
                into.push(b'\\');
            }
            into.push(octet);
        }
        into.push(b'"');
    }
    column + into.len() - start
}

/// Whether text has to be encoded: anything but printable ASCII, what looks like an encoded-word (W10), runs of spaces that
/// folding could lose, and words that no line can hold.
fn needs_words(text: &str) -> bool {
    !text.bytes().all(|b| (b' '..0x7f).contains(&b))
        || text.contains("=?")
        || text.contains("  ")
        || text.split(' ').any(|word| word.len() > LONG_WORD)
}

/// Plain words, folded before a space where the line would grow too long (RFC 5322 section 2.2.3).
fn folded(text: &str, mut column: usize, into: &mut Vec<u8>) {
    for (at, word) in text.split(' ').enumerate() {
        if at > 0 {
            if column + 1 + word.len() > LINE {
                into.extend_from_slice(b"\r\n");
                column = 0;
            }
            into.push(b' ');
            column += 1;
        }
        into.extend_from_slice(word.as_bytes());
        column += word.len();
    }
}

/// Encoded-words, one to a line, no character split (RFC 2047 sections 2 and 5). Says in which column the last one ends.
fn encoded_words(text: &str, column: usize, into: &mut Vec<u8>) -> usize {
    let q_length: usize = text.bytes().map(q_width).sum();
    let base64 = q_length > text.len().div_ceil(3) * 4;
    let mut room = ENCODED_LINE.saturating_sub(column).min(ENCODED_WORD) - "=?utf-8?q??=".len();
    let mut rest = text;
    let mut end = column;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(fitting(rest, room, base64));
        if end == 0 {
            into.extend_from_slice(b"\r\n ");
            end = 1;
        }
        let start = into.len();
        if base64 {
            into.extend_from_slice(b"=?utf-8?b?");
            into.extend_from_slice(data_encoding::BASE64.encode(head.as_bytes()).as_bytes());
        } else {
            into.extend_from_slice(b"=?utf-8?q?");
            head.bytes().for_each(|octet| q_octet(octet, into));
        }
        into.extend_from_slice(b"?=");
        let ended = end + into.len() - start;
        rest = tail;
        if rest.is_empty() {
            return ended;
        }
        end = 0;
        room = ENCODED_WORD - "=?utf-8?q??=".len();
    }
    end
}

/// How many octets of `text`, whole characters only, fit into `room` characters once encoded. At least one character.
fn fitting(text: &str, room: usize, base64: bool) -> usize {
    let mut used = 0;
    let mut end = 0;
    for c in text.chars() {
        let next = end + c.len_utf8();
        used = if base64 {
            next.div_ceil(3) * 4
        } else {
            used + text[end..next].bytes().map(q_width).sum::<usize>()
        };
        if used > room && end > 0 {
            break;
        }
        end = next;
    }
    end
}

/// The octets that RFC 2047 section 5 (3) allows inside a phrase; they serve everywhere.
fn q_plain(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!*+-/".contains(&octet)
}

fn q_width(octet: u8) -> usize {
    if q_plain(octet) || octet == b' ' { 1 } else { 3 }
}

fn q_octet(octet: u8, into: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    match octet {
        b' ' => into.push(b'_'),
        octet if q_plain(octet) => into.push(octet),
        octet => into.extend_from_slice(&[b'=', HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_parser::MessageParser;
    use proptest::prelude::*;

    fn subject(text: &str) -> String {
        let mut out = Vec::new();
        unstructured("Subject", text, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn to(name: &str) -> String {
        let mut out = Vec::new();
        mailbox("To", name, "ann@x.example", &mut out);
        String::from_utf8(out).unwrap()
    }

    fn words(wire: &str) -> Vec<&str> {
        wire.split_whitespace().filter(|word| word.starts_with("=?")).collect()
    }

    fn check_wire(wire: &str) {
        assert!(wire.is_ascii());
        for line in wire.trim_end().split("\r\n") {
            assert!(line.len() <= 76, "{line}");
            assert!(!line.trim().is_empty());
        }
        for word in words(wire) {
            assert!(word.len() <= 75 && word.ends_with("?="), "{word}");
            // Each word decodes alone to what has no broken character in it (W8).
            let alone = format!("Subject: {word}\r\n\r\n");
            let parsed = MessageParser::new().parse(alone.as_bytes()).unwrap();
            assert!(!parsed.subject().unwrap_or("").contains('\u{fffd}'), "{word}");
        }
    }

    fn decoded_subject(wire: &str) -> String {
        let raw = format!("{wire}\r\n");
        MessageParser::new().parse(raw.as_bytes()).unwrap().subject().unwrap_or("").to_owned()
    }

    #[test]
    fn w8_long_text_decodes_from_whole_words() {
        let text = "Grüße aus Köln: die Ausgabe №12 ist da – lesen Sie jetzt, was sich geändert hat 🎉";
        let wire = subject(text);
        check_wire(&wire);
        assert_eq!(decoded_subject(&wire), text);
        let wire = subject(&"日本語のニュース".repeat(20));
        check_wire(&wire);
        assert_eq!(decoded_subject(&wire), "日本語のニュース".repeat(20));
    }

    #[test]
    fn w9_words_only_in_phrases() {
        let wire = to("Zoë \"Z\" <x>");
        check_wire(&wire);
        assert!(wire.starts_with("To: =?utf-8?") && wire.ends_with("?= <ann@x.example>\r\n"), "{wire}");
        assert!(!wire.contains("\"=?"));
        assert_eq!(to("O'Brien, \"Bob\""), "To: \"O'Brien, \\\"Bob\\\"\" <ann@x.example>\r\n");
        assert_eq!(to("Ann Lee"), "To: Ann Lee <ann@x.example>\r\n");
        assert_eq!(to(""), "To: ann@x.example\r\n");
    }

    #[test]
    fn w10_a_literal_word_stays_literal() {
        let text = "=?utf-8?q?Boss=0D=0ABcc:x?=";
        let wire = subject(text);
        check_wire(&wire);
        assert_eq!(decoded_subject(&wire), text);
    }

    #[test]
    fn w11_nothing_is_injected() {
        for text in ["Hi\r\nBcc: evil@x", "Hi\nX: y", "Hi\r\n\r\n<body>", "a\0b"] {
            let wire = subject(text);
            assert_eq!(wire.matches("\r\n").count(), 1, "{wire}");
            assert!(!decoded_subject(&wire).contains(['\r', '\n', '\0']));
        }
    }

    #[test]
    fn w12_folds_before_white_space_only() {
        let text = "word ".repeat(40);
        let wire = subject(&text);
        check_wire(&wire);
        assert_eq!(wire.replace("\r\n ", " "), format!("Subject: {}\r\n", text.trim()));
        let mut out = Vec::new();
        let url = format!("<https://x.example/{}>", "u".repeat(700));
        items("List-Unsubscribe", ",", [url.as_str(), "<mailto:a@x.example>"], &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!("List-Unsubscribe: {url},\r\n <mailto:a@x.example>\r\n")
        );
    }

    proptest! {
        #[test]
        fn w33_any_text_comes_back(text in "\\PC{0,250}") {
            let text = text.replace('\u{fffd}', "?");
            let wire = subject(&text);
            check_wire(&wire);
            prop_assert_eq!(decoded_subject(&wire), one_line(&text));
        }

        #[test]
        fn w33_any_name_comes_back(name in "\\PC{0,100}") {
            let name = name.replace('\u{fffd}', "?");
            let wire = format!("{}\r\n", to(&name));
            check_wire(&wire);
            let parsed = MessageParser::new().parse(wire.as_bytes()).unwrap();
            let first = parsed.to().unwrap().first().unwrap();
            prop_assert_eq!(first.name().unwrap_or(""), one_line(&name));
            prop_assert_eq!(first.address().unwrap(), "ann@x.example");
            prop_assert_eq!(parsed.to().unwrap().iter().count(), 1);
        }
    }
}
