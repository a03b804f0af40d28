//! The file that we write: the own format with every column, so that reading it again loses nothing.
//!
//! Cells that a spreadsheet would compute get a `'` in front, which reading takes back. The consent history is one cell of
//! JSON: it has as many lines as it has.

use std::io::{self, Write};

use super::columns::escaped;
use super::own::COLUMNS;
use crate::domain::subscriber::Subscriber;
use crate::runtime::Timestamp;

/// One person with what stands beside them. `consent` is a JSON list of `at`, `source` and `text`.
#[derive(Clone, Copy, Debug)]
pub struct ExportRow<'a> {
    pub person: &'a Subscriber,
    pub note: &'a str,
    /// Reason, time, source.
    pub suppression: Option<(&'a str, Timestamp, &'a str)>,
    pub consent: &'a str,
}

/// Writes people one by one.
pub struct Writer<W: Write>(csv::Writer<W>);

impl<W: Write> Writer<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn new(out: W) -> io::Result<Writer<W>> {
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(COLUMNS)?;
        Ok(Writer(writer))
    }

    /// # Errors
    /// When what is behind it fails.
    pub fn row(&mut self, row: &ExportRow<'_>) -> io::Result<()> {
        let person = row.person;
        let time = |at: Option<Timestamp>| at.map(Timestamp::rfc3339).unwrap_or_default();
        let (reason, at, source) = match row.suppression {
            Some((reason, at, source)) => (reason, Some(at), source),
            None => ("", None, ""),
        };
        let cells: [&str; COLUMNS.len()] = [
            &escaped(person.address.as_str()),
            &escaped(&person.name),
            person.tier.as_str(),
            person.status.as_str(),
            person.timezone.as_deref().unwrap_or_default(),
            person.language.as_deref().unwrap_or_default(),
            &time(person.term_started_at),
            &time(person.term_ends_at),
            &escaped(row.note),
            reason,
            &time(at),
            &escaped(source),
            row.consent,
        ];
        self.0.write_record(cells)?;
        Ok(())
    }

    /// # Errors
    /// When what is behind it fails.
    pub fn finish(mut self) -> io::Result<()> {
        self.0.flush()
    }
}
