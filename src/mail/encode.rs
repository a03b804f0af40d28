//! Transfer encodings for text (RFC 2045 section 6), made so that encoded pieces can be laid end to end.
//!
//! A piece starts in column 0 and ends in column 0, by its own line end or by a soft break, so constant text is encoded once and
//! a recipient's values are spliced between. A dot and an `F` in column 0 are encoded: dot stuffing has nothing to do, and no
//! mailbox program writes `>From`. Lines are at most 76 characters, octets outside printable ASCII never appear.

const HEX: &[u8; 16] = b"0123456789ABCDEF";
/// Characters before the `=` of a soft break (RFC 2045 section 6.7, rule 5).
const LINE: usize = 75;
const SOFT_BREAK: &[u8] = b"=\r\n";

/// Octets that stand for themselves anywhere in a line. Space and tab do too, except before a line end.
const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut octet = 32;
    while octet < 127 {
        table[octet] = octet != b'=' as usize;
        octet += 1;
    }
    table[b'\t' as usize] = true;
    table
};

/// Appends one piece of text as quoted-printable. Every kind of line end becomes CRLF (W1); the line ends of `text` are line ends
/// of the message. The output may be followed by another piece, or by [`finish_quoted_printable`].
pub fn quoted_printable(text: &str, into: &mut Vec<u8>) {
    let octets = text.as_bytes();
    let mut column = 0;
    let mut at = 0;
    while at < octets.len() {
        let octet = octets[at];
        if octet == b'\r' || octet == b'\n' {
            into.extend_from_slice(b"\r\n");
            at += if octet == b'\r' && octets.get(at + 1) == Some(&b'\n') { 2 } else { 1 };
            column = 0;
            continue;
        }
        let run = plain_run(&octets[at..], column);
        if run > 0 {
            into.extend_from_slice(&octets[at..at + run]);
            at += run;
            column += run;
        } else if column + 3 > LINE {
            // What stands here is three characters wide, or the line is full.
            into.extend_from_slice(SOFT_BREAK);
            column = 0;
        } else {
            into.extend_from_slice(&[b'=', HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]);
            at += 1;
            column += 3;
        }
    }
    if column > 0 {
        into.extend_from_slice(SOFT_BREAK);
    }
}

/// How many octets from here may be copied as they are before the line is full.
fn plain_run(octets: &[u8], column: usize) -> usize {
    if column == 0 && matches!(octets.first(), Some(b'.' | b'F')) {
        return 0;
    }
    let room = octets.len().min(LINE - column);
    let run = octets[..room].iter().position(|octet| !PLAIN[usize::from(*octet)]).unwrap_or(room);
    // White space before a line end, or before the end of the piece, has to be encoded (rule 3).
    let blank_end = octets[..run].last().is_some_and(|octet| matches!(octet, b' ' | b'\t'))
        && matches!(octets.get(run), None | Some(b'\r' | b'\n'));
    if blank_end { run - 1 } else { run }
}

/// Takes back the soft break at the end of the last piece: nothing follows that it could join.
pub fn finish_quoted_printable(into: &mut Vec<u8>) {
    if into.ends_with(SOFT_BREAK) {
        into.truncate(into.len() - SOFT_BREAK.len());
    }
}

/// Appends text as base64 in lines of 76 characters (RFC 2045 section 6.8), its line ends as CRLF.
pub fn base64(text: &str, into: &mut Vec<u8>) {
    let encoded = data_encoding::BASE64_MIME.encode(with_crlf(text).as_bytes());
    into.extend_from_slice(encoded.as_bytes());
}

/// Whether base64 is the smaller one (W6): it costs a third of everything, quoted-printable two thirds of what it encodes.
pub fn base64_is_smaller(text: &str) -> bool {
    let encoded = text.bytes().filter(|octet| !PLAIN[usize::from(*octet)]).count();
    encoded * 6 > text.len()
}

/// Every line end as CRLF.
pub fn with_crlf(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 32);
    let mut rest = text;
    while let Some(at) = rest.find(['\r', '\n']) {
        out.push_str(&rest[..at]);
        out.push_str("\r\n");
        rest = &rest[at..];
        rest = rest.strip_prefix("\r\n").unwrap_or(&rest[1..]);
    }
    out.push_str(rest);
    out
}

/// Control characters that no text part may hold as spaces; tabs and line ends stay (W1).
pub fn without_controls(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\t' | '\r' | '\n') { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_parser::decoders::quoted_printable::quoted_printable_decode;
    use proptest::prelude::*;

    fn encode(text: &str) -> String {
        let mut out = Vec::new();
        quoted_printable(text, &mut out);
        finish_quoted_printable(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn check_wire(wire: &str) {
        assert!(wire.is_ascii());
        for line in wire.split("\r\n") {
            assert!(line.len() <= 76, "{line}");
            assert!(!line.starts_with(['.', 'F']), "{line}");
            assert!(!line.ends_with([' ', '\t']), "{line:?}");
            assert!(!line.contains(['\r', '\n', '\0']), "{line:?}");
        }
    }

    #[test]
    fn w7_quoted_printable_is_exact() {
        let text = "<a href=\"https://x.example/?a=1&b=é\">Hi</a> \r\n.\r\nFrom here\r\n";
        let expected =
            "<a href=3D\"https://x.example/?a=3D1&b=3D=C3=A9\">Hi</a>=20\r\n=2E\r\n=46rom here\r\n";
        assert_eq!(encode(text), expected);
    }

    #[test]
    fn w7_long_lines_break_softly() {
        for length in 70..80 {
            for end in ["", " ", "\t", "é", "=", "\r\n", " \r\n", ".\r\n"] {
                let text = format!("{}{end}", "x".repeat(length));
                let wire = encode(&text);
                check_wire(&wire);
                assert_eq!(quoted_printable_decode(wire.as_bytes()).unwrap(), text.as_bytes(), "{wire}");
            }
        }
    }

    #[test]
    fn w1_every_line_end_becomes_crlf() {
        assert_eq!(encode("a\nb\rc\r\nd\u{2028}e"), "a\r\nb\r\nc\r\nd=E2=80=A8e");
        assert_eq!(with_crlf("\na\r\r\n\n"), "\r\na\r\n\r\n\r\n");
        assert_eq!(without_controls("a\0b\u{85}c\x7f\td\n"), "a b c \td\n");
    }

    #[test]
    fn w6_picks_the_smaller_one() {
        assert!(base64_is_smaller(&"日".repeat(2000)));
        assert!(base64_is_smaller("Привет, как дела?"));
        assert!(!base64_is_smaller(&format!("{}é", "a".repeat(2000))));
    }

    proptest! {
        #[test]
        fn w7_pieces_decode_to_their_sum(pieces in prop::collection::vec("[ -~\\t\\r\\n=.Fé日🎉]{0,90}", 0..6)) {
            let mut out = Vec::new();
            for piece in &pieces {
                quoted_printable(piece, &mut out);
            }
            finish_quoted_printable(&mut out);
            let wire = String::from_utf8(out).unwrap();
            check_wire(&wire);
            let sum: String = pieces.iter().map(|piece| with_crlf(piece)).collect();
            // mail-parser turns no line end into another one, so the sums must agree octet by octet.
            prop_assert_eq!(quoted_printable_decode(wire.as_bytes()).unwrap(), sum.as_bytes());
        }
    }
}
