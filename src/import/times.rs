//! Times and yes-or-no as other systems write them. A time without a zone is UTC: the machine's own zone would give another
//! answer on every machine.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};

use super::columns::short;
use crate::runtime::Timestamp;

/// RFC 3339, or a date, which means its start in UTC.
///
/// # Errors
/// Says that the text is neither.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.to_utc().into());
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| text.len() == 10);
    match date {
        Some(date) => Ok(date.and_time(NaiveTime::MIN).and_utc().into()),
        None => Err(format!("`{}` is not RFC 3339 or year-month-day", short(text))),
    }
}

/// As [`moment`], and what databases and programs print: `2024-01-02 15:04:05[.123456][ UTC]`, Go's
/// `2024-01-02 15:04:05.123456 +0000 UTC`.
pub(super) fn foreign(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = moment(text) {
        return Ok(at);
    }
    // Go repeats the zone by name; the offset before it is what counts.
    let bare = text.trim_end_matches(|c: char| c.is_ascii_uppercase()).trim_end();
    if let Ok(at) = DateTime::parse_from_str(bare, "%Y-%m-%d %H:%M:%S%.f %z") {
        return Ok(at.to_utc().into());
    }
    // A name without an offset would have to be looked up; only UTC's is known.
    let bare = text.strip_suffix("UTC").or_else(|| text.strip_suffix('Z')).unwrap_or(text).trim_end();
    match NaiveDateTime::parse_from_str(&bare.replacen('T', " ", 1), "%Y-%m-%d %H:%M:%S%.f") {
        Ok(at) => Ok(at.and_utc().into()),
        Err(_) => Err(format!("`{}` is not a time", short(text))),
    }
}

/// `true` and `false` in the words that exports use; `None` for an empty cell.
pub(super) fn flag(text: &str, column: &str) -> Result<Option<bool>, String> {
    match text.to_ascii_lowercase().as_str() {
        "" => Ok(None),
        "true" | "yes" | "1" | "t" => Ok(Some(true)),
        "false" | "no" | "0" | "f" => Ok(Some(false)),
        _ => Err(format!("{column} `{}` is neither true nor false", short(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_many_programs() {
        let cases = [
            ("2024-01-02 15:04:05.123456 +0000 UTC", "2024-01-02T15:04:05.123Z"),
            ("2024-01-02 15:04:05 +0200 CEST", "2024-01-02T13:04:05Z"),
            ("2024-01-02 15:04:05 UTC", "2024-01-02T15:04:05Z"),
            ("2024-01-02 15:04:05", "2024-01-02T15:04:05Z"),
            ("2024-01-02T15:04:05.000Z", "2024-01-02T15:04:05Z"),
            ("2024-01-02", "2024-01-02T00:00:00Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(foreign(text).map(Timestamp::rfc3339), Ok(expected.to_owned()), "{text}");
        }
        for text in ["yesterday", "2024-01-02 15:04:05 CEST", "02/01/2024", ""] {
            assert!(foreign(text).is_err(), "{text}");
        }
    }
}
