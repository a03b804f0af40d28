//! One record to one checked row, or the reason why not.
//!
//! Nothing is guessed: an unknown tier, status, zone or date skips the row. An empty status is `active`, because lists of
//! people who get mail often have no such column filled. Text is NFC, without control characters.

use chrono::{DateTime, NaiveDate};
use unicode_normalization::UnicodeNormalization;

use super::{HeaderProblem, Skipped};
use crate::domain::address::Address;
use crate::domain::publication::TierId;
use crate::domain::subscriber::{ImportRow, SubscriberStatus, is_language_tag};
use crate::runtime::Timestamp;

/// Above this a field is no name, address or date, whatever it is.
const FIELD_MAX: usize = 64 * 1024;
const NAME_MAX: usize = 500;

const COLUMNS: [&str; 8] =
    ["email", "name", "tier", "status", "timezone", "language", "term_started_at", "term_ends_at"];
/// The first of [`COLUMNS`] must be there.
const REQUIRED: usize = 4;

/// Where in a record each column stands.
#[derive(Debug)]
pub(super) struct Columns {
    /// In the order of [`COLUMNS`].
    at: [Option<usize>; COLUMNS.len()],
    count: usize,
}

impl Columns {
    pub fn is_known(field: &[u8]) -> bool {
        COLUMNS.contains(&column_name(field).as_str())
    }

    /// Reads a header; also returns the columns that mean nothing to us.
    pub fn read(fields: &[Vec<u8>]) -> Result<(Columns, Vec<String>), HeaderProblem> {
        let mut columns = Columns { at: [None; COLUMNS.len()], count: fields.len() };
        let mut unknown = Vec::new();
        let names: Vec<String> = fields.iter().map(|field| column_name(field)).collect();
        for (at, name) in names.iter().enumerate() {
            match COLUMNS.iter().position(|column| column == name) {
                Some(column) if columns.at[column].is_some() => {
                    return Err(HeaderProblem::Twice(name.clone()));
                }
                Some(column) => columns.at[column] = Some(at),
                None if name.is_empty() => {}
                None => unknown.push(name.clone()),
            }
        }
        let missing: Vec<String> = (0..REQUIRED)
            .filter(|column| columns.at[*column].is_none())
            .map(|column| COLUMNS[column].to_owned())
            .collect();
        if missing.is_empty() {
            return Ok((columns, unknown));
        }
        // A file without a header has somebody's address in its first line; that is not printed.
        let found =
            names.into_iter().map(|name| if name.contains('@') { "an address".to_owned() } else { name });
        Err(HeaderProblem::Missing { missing, found: found.collect() })
    }
}

fn column_name(field: &[u8]) -> String {
    let name: String = String::from_utf8_lossy(field).trim().to_lowercase().chars().take(60).collect();
    one_line(&name)
}

/// Checks one record.
pub(super) fn checked(
    line: u64,
    fields: &[Vec<u8>],
    columns: &Columns,
    tiers: &[TierId],
) -> Result<ImportRow, Skipped> {
    let texts = Texts { fields, columns };
    read(line, &texts, tiers).map_err(|reason| {
        let address = texts.get(0).unwrap_or_default();
        Skipped { line, address: address.chars().take(254).collect(), reason }
    })
}

fn read(line: u64, texts: &Texts<'_>, tiers: &[TierId]) -> Result<ImportRow, String> {
    texts.check_shape()?;
    let address = texts.get(0)?;
    if address.is_empty() {
        return Err("it has no address".to_owned());
    }
    let address = Address::parse(&address).map_err(|why| format!("not an address: {why}"))?;
    let name = texts.get(1)?;
    if name.chars().count() > NAME_MAX {
        return Err(format!("the name is longer than {NAME_MAX} characters"));
    }
    let tier = tier(&texts.get(2)?, tiers)?;
    let status = status(&texts.get(3)?)?;
    let timezone = texts
        .some(4)?
        .map(|text| text.parse().map_err(|_| format!("`{}` is not a time zone", short(&text))))
        .transpose()?;
    let language = texts.some(5)?;
    if let Some(text) = language.as_deref().filter(|text| !is_language_tag(text)) {
        return Err(format!("`{}` is not a language", short(text)));
    }
    let term_started_at = texts.some(6)?.map(|text| time(&text, "term_started_at")).transpose()?;
    let term_ends_at = texts.some(7)?.map(|text| time(&text, "term_ends_at")).transpose()?;
    if let (Some(start), Some(end)) = (term_started_at, term_ends_at)
        && end < start
    {
        return Err("the term ends before it starts".to_owned());
    }
    Ok(ImportRow { line, address, name, tier, status, timezone, language, term_started_at, term_ends_at })
}

/// The record's fields by column.
struct Texts<'a> {
    fields: &'a [Vec<u8>],
    columns: &'a Columns,
}

impl Texts<'_> {
    /// A delimiter in an unquoted name moves every column behind it, so a wrong count is not repaired.
    fn check_shape(&self) -> Result<(), String> {
        if let Some(long) = self.fields.iter().find(|field| field.len() > FIELD_MAX) {
            return Err(format!("a field of {} kB is too long", long.len() / 1024));
        }
        let (has, wants) = (self.fields.len(), self.columns.count);
        let surplus = self.fields.get(wants..).unwrap_or_default();
        if has < wants || surplus.iter().any(|field| !field.trim_ascii().is_empty()) {
            return Err(format!("it has {has} columns, the header has {wants}"));
        }
        Ok(())
    }

    /// A column's text: one line, NFC, trimmed. Empty where the column is missing.
    fn get(&self, column: usize) -> Result<String, String> {
        let Some(field) = self.columns.at[column].and_then(|at| self.fields.get(at)) else {
            return Ok(String::new());
        };
        let text =
            std::str::from_utf8(field).map_err(|_| format!("{} is not UTF-8 text", COLUMNS[column]))?;
        let line = one_line(text);
        let text = unescaped(&line);
        Ok(if text.is_ascii() { text.to_owned() } else { text.nfc().collect() })
    }

    fn some(&self, column: usize) -> Result<Option<String>, String> {
        Ok(Some(self.get(column)?).filter(|text| !text.is_empty()))
    }
}

/// Line breaks and tabs become blanks; other control characters and those that turn the reading direction vanish.
fn one_line(text: &str) -> String {
    // Nearly every field; the rest of this function is ten times slower.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.trim().to_owned();
    }
    let turning = |c: char| matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}');
    let breaking = |c: char| matches!(c, '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}');
    let kept = text.chars().filter(|c| breaking(*c) || !(c.is_control() || turning(*c)));
    kept.map(|c| if breaking(c) { ' ' } else { c }).collect::<String>().trim().to_owned()
}

/// Exports put a `'` before what a spreadsheet would compute; it is not part of the value. A name such as `'Aziz` keeps its own.
fn unescaped(text: &str) -> &str {
    match text.strip_prefix('\'') {
        Some(rest) if rest.starts_with(['=', '+', '-', '@']) => rest,
        _ => text,
    }
}

/// At most 40 characters of a value that is shown in a reason.
fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Ids are lower case, so `Yearly` is the tier `yearly` and nothing else.
fn tier(text: &str, tiers: &[TierId]) -> Result<TierId, String> {
    if text.is_empty() {
        return Err("it has no tier".to_owned());
    }
    let found = tiers.iter().find(|tier| tier.as_str().eq_ignore_ascii_case(text));
    found.cloned().ok_or_else(|| format!("there is no tier `{}`", short(text)))
}

fn status(text: &str) -> Result<SubscriberStatus, String> {
    if text.is_empty() {
        return Ok(SubscriberStatus::Active);
    }
    SubscriberStatus::from_word(&text.to_ascii_lowercase())
        .ok_or_else(|| format!("`{}` is not a status (pending, active, unsubscribed)", short(text)))
}

/// RFC 3339, or a date, which means its start in UTC.
fn time(text: &str, column: &str) -> Result<Timestamp, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(Timestamp(at.timestamp_millis()));
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| text.len() == 10);
    match date {
        Some(date) => Ok(Timestamp(date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis())),
        None => Err(format!("{column} `{}` is not RFC 3339 or year-month-day", short(text))),
    }
}
