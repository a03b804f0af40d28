//! Layer 2: files of subscribers, from us and from other systems, and the file that we write ourselves.
//!
//! A file is decoded (`encoding`), read record by record (`records`), and its header decides which system wrote it
//! (`format`). Each system has a file of its own that turns a record into a `draft`; what a draft means for us is decided in
//! one place. A bad row stops nothing; only a header that cannot be used and a failing disk do. Any delimiter of comma,
//! semicolon, tab and pipe, columns in any order.
//!
//! Nothing is guessed upward: a plan that the editors have not named gives no tier, a status that does not clearly say
//! `active` gives no mail. Addresses are matched by whole column names, statuses by whole words.
//!
//! Limits: a record is at most 256 kB, so memory does not grow with the file.

mod buttondown;
mod columns;
mod draft;
mod encoding;
mod format;
mod ghost;
mod keila;
mod listmonk;
mod mailchimp;
mod own;
mod plain;
mod records;
mod substack;
mod times;
mod write;

use std::io::{self, BufReader, Read};

use crate::domain::publication::{ImportRules, TierId};
use crate::domain::subscriber::ImportRow;
use columns::Columns;
use encoding::Decoded;
pub use encoding::Encoding;
pub use format::Format;
use records::{Record, Records};
pub use times::moment;
pub use write::{ExportRow, Writer};

/// A record that was not taken, or of which something has to be told.
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
    #[error(
        "the file is UTF-16 without a byte order mark; say --encoding utf-16le, or save it as UTF-8 (in a spreadsheet: \
         \"CSV UTF-8\")"
    )]
    Utf16,
    #[error("the first line is not a header: {0}")]
    Broken(String),
    #[error("the header lacks {}; it names {}", .missing.join(", "), .found.join(", "))]
    Missing { missing: Vec<String>, found: Vec<String> },
    #[error("the header names {0} twice")]
    Twice(String),
    #[error("the header fits {}; say which one with --format", .0.iter().map(|f| f.as_str()).collect::<Vec<_>>().join(" and "))]
    Ambiguous(Vec<Format>),
    #[error("no tier for people without a plan: set `default` under [import] in publication.toml")]
    NoDefault,
}

/// How a file is to be read.
#[derive(Clone, Debug)]
pub struct Wishes<'a> {
    /// `None`: the header decides.
    pub format: Option<Format>,
    /// `None`: UTF-8, or what the byte order mark says.
    pub encoding: Option<Encoding>,
    /// The publication's tiers: nobody is given another one.
    pub tiers: &'a [TierId],
    pub rules: &'a ImportRules,
}

/// Starts reading a file. The header is read at once, rows one by one.
///
/// # Errors
/// When the header cannot be used; the message names what is missing and what was found.
pub fn open<R: Read>(reader: R, wishes: &Wishes<'_>) -> Result<Rows<R>, HeaderProblem> {
    let mut records = Records::new(BufReader::new(Decoded::new(reader, wishes.encoding)));
    let mut names = records.header()?;
    let format = match wishes.format {
        Some(format) => format,
        None => format::of_header(&names, wishes.rules.default.is_some())?,
    };
    if format != Format::Tidings && wishes.rules.default.is_none() {
        return Err(HeaderProblem::NoDefault);
    }
    let layout = format.layout();
    if let Some(rename) = layout.rename {
        rename(&mut names);
    }
    let (columns, unknown) = Columns::read(&names, layout.columns, layout.required)?;
    let rules = Rules { tiers: wishes.tiers.to_vec(), import: wishes.rules.clone() };
    Ok(Rows { records, format, columns, unknown, rules, failed: false })
}

/// Starts reading a file in the own format.
///
/// # Errors
/// As [`open`].
pub fn rows<R: Read>(reader: R, tiers: &[TierId]) -> Result<Rows<R>, HeaderProblem> {
    let rules = ImportRules::default();
    open(reader, &Wishes { format: Some(Format::Tidings), encoding: None, tiers, rules: &rules })
}

/// What rows are checked against.
struct Rules {
    tiers: Vec<TierId>,
    import: ImportRules,
}

/// The rows of one file, in its order.
pub struct Rows<R> {
    records: Records<BufReader<Decoded<R>>>,
    format: Format,
    columns: Columns,
    unknown: Vec<String>,
    rules: Rules,
    failed: bool,
}

impl<R> Rows<R> {
    /// What the file was found to be.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Columns of the header that mean nothing to us; said once, not with every row.
    pub fn unknown_columns(&self) -> &[String] {
        &self.unknown
    }

    fn checked(&self, line: u64, fields: &[Vec<u8>]) -> Result<ImportRow, Skipped> {
        let texts = columns::Texts { fields, columns: &self.columns };
        let draft = texts.check_shape().and_then(|()| (self.format.layout().read)(&texts, &self.rules));
        draft.and_then(|draft| draft.checked(line, &self.rules)).map_err(|reason| {
            // The address is the first column of every layout.
            let address = texts.get(0).unwrap_or_default();
            Skipped { line, address: address.chars().take(254).collect(), reason }
        })
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
                Record::Fields { line, fields } => Some(Ok(self.checked(line, &fields))),
                Record::Broken { line, reason } => {
                    Some(Ok(Err(Skipped { line, address: String::new(), reason })))
                }
            };
        }
        None
    }
}
