//! What a command carries: names of mailboxes in modified UTF-7 (RFC 3501 section 5.1.3), in quotes, and sets of UIDs.

use std::fmt::Write as _;

use data_encoding::{Encoding, Specification};

/// A mailbox's name as a quoted string. Names from settings hold no control characters.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", utf7(name).replace('\\', "\\\\").replace('"', "\\\""))
}

fn utf7(name: &str) -> String {
    let base64 = base64();
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    let printable = |c: char| matches!(c, ' '..='~');
    while let Some(first) = rest.chars().next() {
        let end = if first == '&' {
            1
        } else {
            rest.find(|c| printable(c) != printable(first)).unwrap_or(rest.len())
        };
        let (run, tail) = rest.split_at(end);
        match (first, &base64) {
            ('&', _) => out.push_str("&-"),
            (first, _) if printable(first) => {
                let plain = run.find('&').unwrap_or(run.len());
                out.push_str(&run[..plain]);
                rest = &rest[plain..];
                continue;
            }
            (_, Some(base64)) => {
                let units: Vec<u8> = run.encode_utf16().flat_map(u16::to_be_bytes).collect();
                // Writing to a string does not fail.
                let _ = write!(out, "&{}-", base64.encode(&units));
            }
            // Without the alphabet the server says that it has no such mailbox.
            (_, None) => out.push_str(run),
        }
        rest = tail;
    }
    out
}

/// Base64 with a comma for the slash, and without padding.
fn base64() -> Option<Encoding> {
    let mut specification = Specification::new();
    specification.symbols.push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,");
    specification.encoding().ok()
}

/// A set of UIDs, ascending ones that follow each other as ranges: `3:5,9`.
pub(super) fn set(uids: &[u32]) -> String {
    let mut out = String::new();
    let mut at = 0;
    while let Some(first) = uids.get(at) {
        let mut last = *first;
        at += 1;
        while uids.get(at).is_some_and(|next| Some(*next) == last.checked_add(1)) {
            last += 1;
            at += 1;
        }
        let comma = if out.is_empty() { "" } else { "," };
        // Writing to a string does not fail.
        let _ = match last == *first {
            true => write!(out, "{comma}{first}"),
            false => write!(out, "{comma}{first}:{last}"),
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_servers_store_them() {
        // The example of RFC 3501 section 5.1.3 and others.
        assert_eq!(utf7("~peter/mail/台北/日本語"), "~peter/mail/&U,BTFw-/&ZeVnLIqe-");
        assert_eq!(utf7("Entwürfe & mehr"), "Entw&APw-rfe &- mehr");
        assert_eq!(utf7("&&a😀"), "&-&-a&2D3eAA-");
        assert_eq!(utf7(""), "");
        assert_eq!(quoted("a \"b\" \\c"), "\"a \\\"b\\\" \\\\c\"");
    }

    #[test]
    fn sets_are_ranges() {
        assert_eq!(set(&[]), "");
        assert_eq!(set(&[7]), "7");
        assert_eq!(set(&[1, 2, 3, 5, 7, 8]), "1:3,5,7:8");
        assert_eq!(set(&[u32::MAX - 1, u32::MAX]), "4294967294:4294967295");
    }
}
