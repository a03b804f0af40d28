//! Layer 2: files of subscribers, from us and from other systems.
//!
//! So far the own format: `email,name,tier,status[,timezone,language,term_started_at,term_ends_at]`, with comma, semicolon, tab
//! or pipe, columns in any order. A file is read record by record (`records`), each record becomes a checked row (`row`) or
//! a reason. A bad row stops nothing; only a header that cannot be used and a failing disk do.
//!
//! Limits: a record is at most 256 kB, so memory does not grow with the file. Known gap: exports of other systems.

mod records;
mod row;

use std::io::{self, BufReader, Read};

use crate::domain::publication::TierId;
use crate::domain::subscriber::ImportRow;
use records::{Record, Records};
use row::Columns;

/// A record that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Skipped {
    /// The line of the file where the record starts, from 1.
    pub line: u64,
    /// What its address column holds; empty where that could not be read.
    pub address: String,
    pub reason: String,
}

/// Why a file was not begun.
#[derive(Debug, thiserror::Error)]
pub enum HeaderProblem {
    #[error("the file cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("the file is empty; its first line must name the columns: email,name,tier,status")]
    Empty,
    #[error("the file is UTF-16; save it as UTF-8 (in a spreadsheet: \"CSV UTF-8\")")]
    Utf16,
    #[error("the first line is not a header: {0}")]
    Broken(String),
    #[error("the header lacks {}; it names {}", .missing.join(", "), .found.join(", "))]
    Missing { missing: Vec<String>, found: Vec<String> },
    #[error("the header names {0} twice")]
    Twice(String),
}

/// Starts reading a file in the own format. The header is read at once, rows one by one. A tier that is not among `tiers`
/// skips its row: nobody is given a tier by guess.
///
/// # Errors
/// When the header cannot be used; the message names what is missing and what was found.
pub fn rows<R: Read>(reader: R, tiers: &[TierId]) -> Result<Rows<R>, HeaderProblem> {
    let mut records = Records::new(BufReader::new(reader));
    let (columns, unknown) = records.header()?;
    Ok(Rows { records, columns, unknown, tiers: tiers.to_vec(), failed: false })
}

/// The rows of one file, in its order.
pub struct Rows<R> {
    records: Records<BufReader<R>>,
    columns: Columns,
    unknown: Vec<String>,
    tiers: Vec<TierId>,
    failed: bool,
}

impl<R> Rows<R> {
    /// Columns of the header that mean nothing to us; said once, not with every row.
    pub fn unknown_columns(&self) -> &[String] {
        &self.unknown
    }
}

/// An `Err` is the disk's: the file ends there for us, and what follows was not read.
impl<R: Read> Iterator for Rows<R> {
    type Item = io::Result<Result<ImportRow, Skipped>>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            let record = match self.records.next_record() {
                Ok(Some(record)) => record,
                Ok(None) => return None,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            };
            return match record {
                // Spreadsheets export empty lines as `;;;`.
                Record::Fields { fields, .. } if fields.iter().all(|field| field.trim_ascii().is_empty()) => {
                    continue;
                }
                Record::Fields { line, fields } => {
                    Some(Ok(row::checked(line, &fields, &self.columns, &self.tiers)))
                }
                Record::Broken { line, reason } => {
                    Some(Ok(Err(Skipped { line, address: String::new(), reason })))
                }
            };
        }
        None
    }
}
