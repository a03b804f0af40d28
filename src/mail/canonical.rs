//! The relaxed canonical form of header and body (RFC 6376 section 3.4), in one pass over octets as they are on the wire.
//!
//! The body goes to the caller in slices: what is canonical already, nearly all of a mail of ours, is neither copied nor walked. Lines end in
//! CRLF; a bare CR or LF is an octet like any other. Own code because the library at hand is wrong about bodies that end in
//! blank lines.

use memchr::{memchr, memmem};

/// One header field with its folding and its CRLF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawField<'a> {
    pub name: &'a [u8],
    /// What stands behind the colon, up to the CRLF that ends the field.
    pub value: &'a [u8],
}

/// The fields of a header, in order. Ends at the first empty line; a line without a colon is left out.
pub fn fields(header: &[u8]) -> Vec<RawField<'_>> {
    let mut found = Vec::with_capacity(24);
    let mut rest = header;
    while !rest.is_empty() && !rest.starts_with(b"\r\n") {
        let end = field_end(rest);
        let field = rest[..end].strip_suffix(b"\r\n").unwrap_or(&rest[..end]);
        if let Some(colon) = memchr(b':', field) {
            found.push(RawField { name: field[..colon].trim_ascii(), value: &field[colon + 1..] });
        }
        rest = &rest[end..];
    }
    found
}

/// Behind the CRLF that is not followed by white space.
fn field_end(rest: &[u8]) -> usize {
    let ends = memmem::find_iter(rest, b"\r\n").map(|at| at + 2);
    ends.into_iter().find(|end| !matches!(rest.get(*end), Some(b' ' | b'\t'))).unwrap_or(rest.len())
}

/// Appends the relaxed form of a field (section 3.4.2) without its CRLF: the name in lower case, the value on one line, runs of
/// white space as one space, none at its ends.
pub fn field(field: RawField<'_>, into: &mut Vec<u8>) {
    into.extend(field.name.iter().map(u8::to_ascii_lowercase));
    into.push(b':');
    let start = into.len();
    let mut blank = false;
    let mut at = 0;
    while at < field.value.len() {
        let octet = field.value[at];
        match octet {
            b'\r' if field.value.get(at + 1) == Some(&b'\n') => at += 1,
            b' ' | b'\t' => blank = into.len() > start,
            _ => {
                if std::mem::take(&mut blank) {
                    into.push(b' ');
                }
                into.push(octet);
            }
        }
        at += 1;
    }
}

/// Hands the relaxed form of a body (section 3.4.4) to `take`, slice by slice: white space at the ends of lines is gone, runs of
/// it are one space, empty lines at the end are gone, the last line ends in CRLF. Nothing at all of an empty body.
pub fn body(body: &[u8], mut take: impl FnMut(&[u8])) {
    let body = without_blank_end(body);
    let mut runs = Runs::of(body);
    let mut at = 0;
    while let Some(start) = runs.next_from(at) {
        take(&body[at..start]);
        at = start + body[start..].iter().take_while(|octet| is_blank(octet)).count();
        if !body[at..].starts_with(b"\r\n") {
            take(b" ");
        }
    }
    if at < body.len() {
        take(&body[at..]);
    }
    if !body.is_empty() && !body.ends_with(b"\r\n") {
        take(b"\r\n");
    }
}

fn is_blank(octet: &u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

/// Without the lines at the end that are empty or hold white space only, and without white space at an end that is no CRLF.
fn without_blank_end(body: &[u8]) -> &[u8] {
    let mut end = body.len();
    loop {
        let line = body[..end].strip_suffix(b"\r\n").unwrap_or(&body[..end]);
        let text = line.len() - line.iter().rev().take_while(|octet| is_blank(octet)).count();
        if text == 0 {
            return &[];
        }
        if !line[..text].ends_with(b"\r\n") {
            // A last line with words keeps its own CRLF.
            return if line.len() == end { &body[..text] } else { &body[..end] };
        }
        end = text;
    }
}

/// White space that is not one space between words. Searches for what a run must hold, many octets at a time: a walk over the
/// octets of a mail takes as long as hashing them.
struct Runs<'a> {
    body: &'a [u8],
    /// Where the next of each kind is, as far as it is known: two spaces, a tab, a space before a line end.
    ahead: [Option<usize>; 3],
}

impl<'a> Runs<'a> {
    fn of(body: &'a [u8]) -> Runs<'a> {
        let mut runs = Runs { body, ahead: [None; 3] };
        runs.ahead = [0, 1, 2].map(|kind| runs.find(kind, 0));
        runs
    }

    fn find(&self, kind: usize, from: usize) -> Option<usize> {
        let rest = &self.body[from..];
        let found = match kind {
            0 => memmem::find(rest, b"  "),
            1 => memchr(b'\t', rest),
            _ => memmem::find(rest, b" \r\n"),
        };
        found.map(|at| from + at)
    }

    /// The start of the first run that begins at `from` or later; what ends there is no white space.
    fn next_from(&mut self, from: usize) -> Option<usize> {
        for kind in 0..self.ahead.len() {
            if self.ahead[kind].is_some_and(|at| at < from) {
                self.ahead[kind] = self.find(kind, from);
            }
        }
        let first = self.ahead.into_iter().flatten().min()?;
        // One space before a tab belongs to its run.
        let spaced = self.body[first] == b'\t' && first > from && self.body[first - 1] == b' ';
        Some(first - usize::from(spaced))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    fn relaxed(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        body(text, |slice| out.extend_from_slice(slice));
        out
    }

    fn hash(text: &[u8]) -> String {
        data_encoding::BASE64.encode(&Sha256::digest(relaxed(text)))
    }

    fn relaxed_header(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for raw in fields(text) {
            field(raw, &mut out);
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    /// By the words of RFC 6376 section 3.4.4, one after the other.
    fn by_the_book(text: &[u8]) -> Vec<u8> {
        let text: Vec<u8> = text.iter().map(|b| if *b == b'\t' { b' ' } else { *b }).collect();
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let mut rest = &text[..];
        while !rest.is_empty() {
            let (line, next) = match memmem::find(rest, b"\r\n") {
                Some(at) => (&rest[..at], &rest[at + 2..]),
                None => (rest, &rest[rest.len()..]),
            };
            let mut line = line.to_vec();
            line.dedup_by(|a, b| *a == b' ' && *b == b' ');
            if line.last() == Some(&b' ') {
                line.pop();
            }
            lines.push(line);
            rest = next;
        }
        while lines.last().is_some_and(Vec::is_empty) {
            lines.pop();
        }
        lines.into_iter().flat_map(|line| [line, b"\r\n".to_vec()].concat()).collect()
    }

    #[test]
    fn w58_examples_of_rfc_6376() {
        // Section 3.4.5, example 1.
        assert_eq!(relaxed_header(b"A: X\r\nB : Y\t\r\n\tZ  \r\n\r\n C \r\n"), b"a:X\r\nb:Y Z\r\n");
        assert_eq!(relaxed(b" C \r\nD \t E\r\n\r\n\r\n"), b" C\r\nD E\r\n");
        assert_eq!(hash(b" C \r\nD \t E\r\n\r\n\r\n"), "unak6JHq0wL+Q1HP7dW1tjBx9FLA6DffoZ0qrLwbbpo=");
    }

    #[test]
    fn w58_a_body_of_nothing_is_empty() {
        let empty = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        for text in ["", "\r\n", "\r\n\r\n\r\n", " \t\r\n \r\n", "  "] {
            assert_eq!(hash(text.as_bytes()), empty, "{text:?}");
        }
        assert_eq!(relaxed(b"a\r\n \t\r\n\r\n  "), b"a\r\n");
        assert_eq!(relaxed(b"a \t"), b"a\r\n");
        assert_eq!(relaxed(b"\r\n\r\na"), b"\r\n\r\na\r\n");
        assert_eq!(relaxed(b"\t\ta\tb\r\nc\r\n"), b" a b\r\nc\r\n");
    }

    #[test]
    fn fields_keep_their_folding_apart() {
        let header = b"From: a\r\n b\r\nno colon\r\nTo : c\r\n\tX: d\r\nLast:e";
        let names: Vec<&[u8]> = fields(header).iter().map(|field| field.name).collect();
        assert_eq!(names, [b"From".as_slice(), b"To", b"Last"]);
        assert_eq!(relaxed_header(header), b"from:a b\r\nto:c X: d\r\nlast:e\r\n");
    }

    proptest! {
        #[test]
        fn w58_bodies_are_relaxed_by_the_book(text in "([ \\t]|[a-c]|\\r\\n|\\r|\\n){0,60}") {
            prop_assert_eq!(relaxed(text.as_bytes()), by_the_book(text.as_bytes()), "{:?}", text);
        }

        #[test]
        fn w58_a_relaxed_body_stays_as_it_is(text in "([ \\t=]|[a-c]|\\r\\n){0,60}") {
            let once = relaxed(text.as_bytes());
            prop_assert_eq!(relaxed(&once), once);
        }
    }
}
