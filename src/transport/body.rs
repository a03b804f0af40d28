//! The octets between 354 and the end: what must hold of them, and how they travel.

/// What must hold of the bytes whoever made them: nothing in them may end the message early (W1, W2, W5). UTF-8 is for headers
/// of a message whose recipient needs it (RFC 6532).
pub(super) fn wire_ready(message: &str, utf8: bool) -> Result<(), &'static str> {
    let bytes = message.as_bytes();
    if !(utf8 || bytes.is_ascii()) || memchr::memchr(0, bytes).is_some() {
        return Err("the message is not 7-bit");
    }
    if !message.ends_with("\r\n") {
        return Err("the message does not end in a line end");
    }
    if !only_crlf(bytes) {
        return Err("the message holds a line end that is not CRLF");
    }
    Ok(())
}

/// Whether CR and LF stand only side by side. Sums of octets without a branch, in blocks that cannot overflow one, become
/// vector instructions; going from line end to line end took 5 us a message.
fn only_crlf(bytes: &[u8]) -> bool {
    let mut after_cr = 0_u8;
    for block in bytes.chunks(128) {
        let inner =
            block.windows(2).map(|pair| u8::from((pair[0] == b'\r') != (pair[1] == b'\n'))).sum::<u8>();
        let first = u8::from(block[0] == b'\n');
        if inner > 0 || first != after_cr {
            return false;
        }
        after_cr = u8::from(block[block.len() - 1] == b'\r');
    }
    after_cr == 0
}

/// RFC 5321 section 4.5.2, with the final dot, into `out`. Our own composer never starts a line with a dot; other bytes may.
pub(super) fn dot_stuffed(message: &str, out: &mut Vec<u8>) {
    let bytes = message.as_bytes();
    out.clear();
    out.reserve(bytes.len() + 8);
    if bytes.first() == Some(&b'.') {
        out.push(b'.');
    }
    let mut from = 0;
    for at in memchr::memmem::find_iter(bytes, b"\r\n.") {
        out.extend_from_slice(&bytes[from..at + 3]);
        out.push(b'.');
        from = at + 3;
    }
    out.extend_from_slice(&bytes[from..]);
    out.extend_from_slice(b".\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w3_dots_are_stuffed() {
        let stuffed = |message| {
            let mut out = b"what was before".to_vec();
            dot_stuffed(message, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(stuffed(".\r\n..\r\n.a\r\na.\r\n.z\r\n"), "..\r\n...\r\n..a\r\na.\r\n..z\r\n.\r\n");
        assert_eq!(stuffed("a\r\n"), "a\r\n.\r\n");
    }

    #[test]
    fn w2_nothing_can_end_the_message_early() {
        for bad in ["a\n.\r\n", "a\r.\r\n", "\n", "a\n\r\n", "a\0\r\n", "\u{e9}\r\n", "a", "a\r"] {
            assert!(wire_ready(bad, false).is_err(), "{bad:?}");
        }
        assert_eq!(wire_ready("a\r\n\r\nb\r\n", false), Ok(()));
        // Wherever the blocks of the check end.
        for length in 120..140 {
            let line = "x".repeat(length);
            assert_eq!(wire_ready(&format!("{line}\r\nb\r\n"), false), Ok(()), "{length}");
            for bad in ["\n", "\r", "\n\r", "\r\r\n", "\r\n\n"] {
                assert!(wire_ready(&format!("{line}{bad}b\r\n"), false).is_err(), "{bad:?} behind {length}");
            }
        }
    }

    #[test]
    fn w28_utf8_only_where_it_was_agreed() {
        assert!(wire_ready("To: <\u{e9}@x.example>\r\n", false).is_err());
        assert_eq!(wire_ready("To: <\u{e9}@x.example>\r\n", true), Ok(()));
        assert!(wire_ready("\u{e9}\0\r\n", true).is_err());
    }
}
