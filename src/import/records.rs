//! Delimited text to records, with bounded memory and true line numbers.
//!
//! Our own splitter, because a quote that is never closed must cost one record and not the rest of the file: lines that were
//! read while looking for its end are kept and read again from the line after it. Quotes follow RFC 4180: a field is quoted
//! from its first character or not at all, `""` is a quote. A quote inside an unquoted field is text.
//!
//! Limits: a line of 128 kB, a record of 256 kB, both far above one field's 64 kB. A lone CR ends no line.

use std::collections::VecDeque;
use std::io::{self, BufRead};

use super::HeaderProblem;
use super::columns::column_name;
use super::format;

const LINE_MAX: usize = 128 * 1024;
const RECORD_MAX: usize = 256 * 1024;
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// One record, or why there is none at this line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record {
    Fields { line: u64, fields: Vec<Vec<u8>> },
    Broken { line: u64, reason: String },
}

/// A physical line without its end.
struct Line {
    number: u64,
    /// Cut at [`LINE_MAX`].
    bytes: Vec<u8>,
    too_long: bool,
}

pub(super) struct Records<R> {
    reader: R,
    delimiter: u8,
    lines_read: u64,
    /// Lines that were read in search of a closing quote, to be read again.
    waiting: VecDeque<Line>,
}

impl<R: BufRead> Records<R> {
    pub fn new(reader: R) -> Self {
        Records { reader, delimiter: b',', lines_read: 0, waiting: VecDeque::new() }
    }

    /// Reads the first line that is not blank, and with it the delimiter.
    pub fn header(&mut self) -> Result<Vec<String>, HeaderProblem> {
        let mut first = self.next_line()?.ok_or(HeaderProblem::Empty)?;
        // Every second byte of Latin text in UTF-16; with a byte order mark it would have been decoded.
        if first.bytes.contains(&0) {
            return Err(HeaderProblem::Utf16);
        }
        if first.bytes.starts_with(b"\xef\xbb\xbf") {
            first.bytes.drain(..3);
        }
        while first.bytes.trim_ascii().is_empty() {
            first = self.next_line()?.ok_or(HeaderProblem::Empty)?;
        }
        self.delimiter = sniff(&first.bytes);
        self.waiting.push_front(first);
        match self.next_record()? {
            Some(Record::Fields { fields, .. }) => {
                Ok(fields.iter().map(|field| column_name(field)).collect())
            }
            Some(Record::Broken { reason, .. }) => Err(HeaderProblem::Broken(reason)),
            None => Err(HeaderProblem::Empty),
        }
    }

    /// The next record; blank lines are none.
    pub fn next_record(&mut self) -> io::Result<Option<Record>> {
        let first = loop {
            match self.next_line()? {
                Some(line) if line.bytes.is_empty() => {}
                Some(line) => break line,
                None => return Ok(None),
            }
        };
        let line = first.number;
        let mut splitter = Splitter::new(self.delimiter);
        let mut after: VecDeque<Line> = VecDeque::new();
        let mut current = first;
        let mut size = 0;
        let reason = loop {
            size += current.bytes.len();
            if current.too_long || size > RECORD_MAX {
                break if after.is_empty() { "the line is longer than 128 kB" } else { UNCLOSED };
            }
            match splitter.line(&current.bytes) {
                Ok(true) => return Ok(Some(Record::Fields { line, fields: splitter.fields })),
                Ok(false) => {}
                Err(reason) => break reason,
            }
            if current.number != line {
                after.push_back(current);
            }
            current = match self.next_line()? {
                Some(next) => next,
                None => {
                    self.waiting.append(&mut after);
                    return Ok(Some(Record::Broken { line, reason: UNCLOSED.to_owned() }));
                }
            };
        };
        if current.number != line {
            after.push_back(current);
        }
        after.append(&mut self.waiting);
        self.waiting = after;
        Ok(Some(Record::Broken { line, reason: reason.to_owned() }))
    }

    fn next_line(&mut self) -> io::Result<Option<Line>> {
        if let Some(line) = self.waiting.pop_front() {
            return Ok(Some(line));
        }
        let mut line = Line { number: self.lines_read + 1, bytes: Vec::new(), too_long: false };
        let mut any = false;
        loop {
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if chunk.is_empty() {
                break;
            }
            any = true;
            let end = memchr::memchr(b'\n', chunk);
            let part = &chunk[..end.unwrap_or(chunk.len())];
            let room = LINE_MAX - line.bytes.len();
            line.too_long |= part.len() > room;
            line.bytes.extend_from_slice(&part[..part.len().min(room)]);
            let used = end.map_or(chunk.len(), |end| end + 1);
            self.reader.consume(used);
            if end.is_some() {
                break;
            }
        }
        if !any {
            return Ok(None);
        }
        self.lines_read += 1;
        if line.bytes.last() == Some(&b'\r') {
            line.bytes.pop();
        }
        Ok(Some(line))
    }
}

const UNCLOSED: &str = "a quote opens and is never closed";

/// The delimiter that makes the most known columns of a header, and the most columns where that is equal.
fn sniff(header: &[u8]) -> u8 {
    let score = |delimiter: u8| {
        let mut splitter = Splitter::new(delimiter);
        // A header that is broken scores by what could be read of it; reading it reports the reason.
        let _ = splitter.line(header);
        let known = splitter.fields.iter().filter(|field| format::is_known(&column_name(field))).count();
        (known, splitter.fields.len())
    };
    let mut best = DELIMITERS[0];
    for delimiter in DELIMITERS {
        if score(delimiter) > score(best) {
            best = delimiter;
        }
    }
    best
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Bare,
    Quoted,
    QuoteInQuoted,
}

/// The state machine of one record, fed line by line.
struct Splitter {
    delimiter: u8,
    state: State,
    field: Vec<u8>,
    fields: Vec<Vec<u8>>,
}

impl Splitter {
    fn new(delimiter: u8) -> Self {
        Splitter { delimiter, state: State::FieldStart, field: Vec::new(), fields: Vec::new() }
    }

    /// Takes one line; `true` when the record is complete, `false` when a quoted field goes on in the next line.
    fn line(&mut self, bytes: &[u8]) -> Result<bool, &'static str> {
        if self.state == State::Quoted {
            self.field.push(b'\n');
        }
        for &byte in bytes {
            self.state = match (self.state, byte) {
                (State::FieldStart, b'"') => State::Quoted,
                (State::Quoted, b'"') => State::QuoteInQuoted,
                (State::QuoteInQuoted, b'"') => {
                    self.field.push(b'"');
                    State::Quoted
                }
                (State::FieldStart | State::Bare | State::QuoteInQuoted, byte) if byte == self.delimiter => {
                    self.fields.push(std::mem::take(&mut self.field));
                    State::FieldStart
                }
                // Blanks between the closing quote and the delimiter.
                (State::QuoteInQuoted, b' ') => State::QuoteInQuoted,
                (State::QuoteInQuoted, _) => return Err("there is text behind a closing quote"),
                (state, byte) => {
                    self.field.push(byte);
                    if state == State::Quoted { State::Quoted } else { State::Bare }
                }
            };
        }
        if self.state == State::Quoted {
            return Ok(false);
        }
        self.fields.push(std::mem::take(&mut self.field));
        Ok(true)
    }
}

/// The items of a list that stands inside one cell, itself written as CSV (Mailchimp's tags).
pub(super) fn list_in(cell: &str) -> Option<Vec<String>> {
    let mut splitter = Splitter::new(b',');
    if !splitter.line(cell.as_bytes()).ok()? {
        return None;
    }
    let items = splitter.fields.into_iter().map(|item| String::from_utf8_lossy(&item).trim().to_owned());
    Some(items.filter(|item| !item.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str) -> Vec<(u64, Result<Vec<String>, String>)> {
        let mut records = Records::new(text.as_bytes());
        let mut found = Vec::new();
        while let Some(record) = records.next_record().unwrap() {
            found.push(match record {
                Record::Fields { line, fields } => {
                    (line, Ok(fields.iter().map(|f| String::from_utf8_lossy(f).into_owned()).collect()))
                }
                Record::Broken { line, reason } => (line, Err(reason)),
            });
        }
        found
    }

    fn fields(line: u64, fields: &[&str]) -> (u64, Result<Vec<String>, String>) {
        (line, Ok(fields.iter().map(|field| (*field).to_owned()).collect()))
    }

    #[test]
    fn quotes_lines_and_blanks() {
        let text = "a,\"b\"\"c\"\r\n\r\n\"x\ny\",z\n,\n\"q\" ,5\" disk\nlast";
        let expected = [
            fields(1, &["a", "b\"c"]),
            fields(3, &["x\ny", "z"]),
            fields(5, &["", ""]),
            fields(6, &["q", "5\" disk"]),
            fields(7, &["last"]),
        ];
        assert_eq!(records(text), expected);
    }

    #[test]
    fn an_open_quote_costs_one_record() {
        let broken = |line| (line, Err(UNCLOSED.to_owned()));
        assert_eq!(records("a,\"b\nc,d\ne,f\n"), [broken(1), fields(2, &["c", "d"]), fields(3, &["e", "f"])]);
        let behind = (1, Err("there is text behind a closing quote".to_owned()));
        assert_eq!(records("a,\"b\nc,\"d\"\ne\n"), [behind, fields(2, &["c", "d"]), fields(3, &["e"])]);
        assert_eq!(records("\"\n\"\n\""), [fields(1, &["\n"]), broken(3)]);
    }

    #[test]
    fn lines_and_records_are_bounded() {
        let long = format!("a\n{}\nb\n", "x".repeat(LINE_MAX + 1));
        let found = records(&long);
        assert_eq!(found.len(), 3);
        assert!(found[1].1.is_err() && found[2] == fields(3, &["b"]));
        let open = format!("\"{}\nb\n", "x\n".repeat(RECORD_MAX));
        let found = records(&open);
        assert!(found[0].1.is_err());
        assert_eq!(found[1], fields(2, &["x"]));
        assert_eq!(found.last(), Some(&fields(RECORD_MAX as u64 + 2, &["b"])));
    }
}
