//! Bytes to UTF-8, on the way and in bounded memory.
//!
//! A byte order mark says UTF-16; anything else is UTF-8 unless the operator says Windows-1252. It is not guessed: every file
//! is valid Windows-1252, so a guess could only be wrong in silence. A row that is not UTF-8 says what to try.
//!
//! encoding_rs is in the tree for mail in any case, and decodes in pieces that end anywhere.

use std::io::{self, Read};

use encoding_rs::{Decoder, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::domain::words::words;

words! {
    /// What the bytes of a file mean.
    Encoding {
        Utf8 = "utf-8",
        Utf16Le = "utf-16le",
        Utf16Be = "utf-16be",
        Windows1252 = "windows-1252",
    }
}

const PIECE: usize = 8 * 1024;

/// A reader of UTF-8, whatever stands behind it.
pub(super) struct Decoded<R> {
    inner: R,
    wish: Option<Encoding>,
    state: State,
    /// Read and not decoded.
    waiting: Vec<u8>,
    /// Decoded and not handed on.
    ready: Vec<u8>,
}

enum State {
    Unread,
    Utf8,
    Decoder(Box<Decoder>),
    /// A decoder that has said its last must not be asked again.
    Ended,
}

impl<R: Read> Decoded<R> {
    pub fn new(inner: R, wish: Option<Encoding>) -> Decoded<R> {
        Decoded { inner, wish, state: State::Unread, waiting: Vec::new(), ready: Vec::new() }
    }

    /// Reads the first bytes, where a byte order mark stands.
    fn begin(&mut self) -> io::Result<()> {
        let mut first = [0; 2];
        while self.waiting.len() < 2 {
            let room = 2 - self.waiting.len();
            match self.inner.read(&mut first[..room]) {
                Ok(0) => break,
                Ok(read) => self.waiting.extend_from_slice(&first[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let marked = match self.waiting.as_slice() {
            [0xFF, 0xFE] => Some(Encoding::Utf16Le),
            [0xFE, 0xFF] => Some(Encoding::Utf16Be),
            _ => None,
        };
        self.state = match self.wish.or(marked).unwrap_or(Encoding::Utf8) {
            Encoding::Utf8 => State::Utf8,
            Encoding::Utf16Le => State::Decoder(Box::new(UTF_16LE.new_decoder_with_bom_removal())),
            Encoding::Utf16Be => State::Decoder(Box::new(UTF_16BE.new_decoder_with_bom_removal())),
            Encoding::Windows1252 => {
                State::Decoder(Box::new(WINDOWS_1252.new_decoder_without_bom_handling()))
            }
        };
        Ok(())
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if matches!(self.state, State::Unread) {
            self.begin()?;
        }
        loop {
            let count = self.ready.len().min(into.len());
            if count > 0 || into.is_empty() {
                into[..count].copy_from_slice(&self.ready[..count]);
                self.ready.drain(..count);
                return Ok(count);
            }
            let decoder = match &mut self.state {
                State::Decoder(decoder) => decoder,
                State::Utf8 if self.waiting.is_empty() => return self.inner.read(into),
                State::Utf8 => {
                    self.ready.append(&mut self.waiting);
                    continue;
                }
                State::Unread | State::Ended => return Ok(0),
            };
            let start = self.waiting.len();
            self.waiting.resize(PIECE, 0);
            let read = self.inner.read(&mut self.waiting[start..]);
            self.waiting.truncate(start + *read.as_ref().unwrap_or(&0));
            let last = read? == 0;
            // Three bytes of UTF-8 a byte at most, and what the decoder kept from the piece before.
            let mut text = [0; PIECE * 3 + 16];
            let (_, _, written, _) = decoder.decode_to_utf8(&self.waiting, &mut text, last);
            self.ready.extend(&text[..written]);
            self.waiting.clear();
            if last {
                self.state = State::Ended;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time, as a slow pipe does.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(into.len()).min(1);
            self.0.read(&mut into[..count])
        }
    }

    fn decoded(bytes: &[u8], wish: Option<Encoding>) -> Vec<u8> {
        let mut text = Vec::new();
        Decoded::new(bytes, wish).read_to_end(&mut text).unwrap();
        let mut dripped = Vec::new();
        io::BufReader::new(Decoded::new(Drip(bytes), wish)).read_to_end(&mut dripped).unwrap();
        assert_eq!(text, dripped);
        text
    }

    #[test]
    fn marks_and_wishes_decide() {
        let text = "e\u{fc};\u{1f4ec}\r\n".repeat(3000);
        let units = || text.encode_utf16();
        let le: Vec<u8> = [0xFF, 0xFE].into_iter().chain(units().flat_map(u16::to_le_bytes)).collect();
        let be: Vec<u8> = [0xFE, 0xFF].into_iter().chain(units().flat_map(u16::to_be_bytes)).collect();
        assert!(decoded(&le, None) == text.as_bytes());
        assert!(decoded(&be, None) == text.as_bytes());
        assert!(decoded(&le[2..], Some(Encoding::Utf16Le)) == text.as_bytes());
        assert!(decoded(text.as_bytes(), None) == text.as_bytes());
        assert_eq!(
            decoded(b"m\xfcller \x80", Some(Encoding::Windows1252)),
            "m\u{fc}ller \u{20ac}".as_bytes()
        );
        assert_eq!(decoded(b"m\xfc", None), b"m\xfc");
        for short in [b"".as_slice(), b"a", b"ab"] {
            assert_eq!(decoded(short, None), short);
        }
    }
}
