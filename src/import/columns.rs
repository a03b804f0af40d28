//! Where in a record each column stands, and its text: NFC, trimmed, without control characters.
//!
//! Columns are found by whole names, never by parts of them: `email_disabled` is no address, and `Email marketing` neither.
//! A layout names its columns in an order of its own; `a|b` are two names for one column.

use unicode_normalization::UnicodeNormalization;

use super::HeaderProblem;

/// Above this a field is no name, address or note, whatever it is.
const FIELD_MAX: usize = 64 * 1024;

/// Where in a record each column of a layout stands.
#[derive(Debug)]
pub(super) struct Columns {
    wanted: &'static [&'static str],
    at: Vec<Option<usize>>,
    count: usize,
}

/// The first of a column's names.
fn first_name(column: &'static str) -> &'static str {
    column.split('|').next().unwrap_or(column)
}

impl Columns {
    /// Reads a header; the first `required` columns must be there. Also returns the names that mean nothing to us.
    pub fn read(
        names: &[String],
        wanted: &'static [&'static str],
        required: usize,
    ) -> Result<(Columns, Vec<String>), HeaderProblem> {
        let mut columns = Columns { wanted, at: vec![None; wanted.len()], count: names.len() };
        let mut unknown = Vec::new();
        for (at, name) in names.iter().enumerate() {
            match wanted.iter().position(|column| column.split('|').any(|one| one == name)) {
                Some(column) if columns.at[column].is_some() => {
                    return Err(HeaderProblem::Twice(name.clone()));
                }
                Some(column) => columns.at[column] = Some(at),
                None if name.is_empty() => {}
                None => unknown.push(name.clone()),
            }
        }
        let lacking = (0..required).filter(|column| columns.at[*column].is_none());
        let missing: Vec<String> = lacking.map(|column| first_name(wanted[column]).to_owned()).collect();
        if missing.is_empty() {
            return Ok((columns, unknown));
        }
        Err(HeaderProblem::Missing { missing, found: shown(names) })
    }
}

/// The names of a header for a message. A file without a header has somebody's address in its first line; that is not printed.
pub(super) fn shown(names: &[String]) -> Vec<String> {
    names.iter().map(|name| if name.contains('@') { "an address".to_owned() } else { name.clone() }).collect()
}

/// A column's name as it is compared: lower case, without blanks around it.
pub(super) fn column_name(field: &[u8]) -> String {
    let name: String = String::from_utf8_lossy(field).trim().to_lowercase().chars().take(60).collect();
    one_line(&name)
}

/// The record's fields by column.
pub(super) struct Texts<'a> {
    pub fields: &'a [Vec<u8>],
    pub columns: &'a Columns,
}

impl Texts<'_> {
    /// A delimiter in an unquoted name moves every column behind it, so a wrong count is not repaired.
    pub fn check_shape(&self) -> Result<(), String> {
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

    /// Whether the file has the column at all.
    pub fn has(&self, column: usize) -> bool {
        self.columns.at[column].is_some()
    }

    fn raw(&self, column: usize) -> Result<&str, String> {
        let Some(field) = self.columns.at[column].and_then(|at| self.fields.get(at)) else { return Ok("") };
        std::str::from_utf8(field).map_err(|_| {
            let name = first_name(self.columns.wanted[column]);
            format!("{name} is not UTF-8 text; is the file Windows-1252? then say --encoding windows-1252")
        })
    }

    /// A column's text on one line. Empty where the column is missing.
    pub fn get(&self, column: usize) -> Result<String, String> {
        let line = one_line(self.raw(column)?);
        let text = unescaped(&line);
        Ok(if text.is_ascii() { text.to_owned() } else { text.nfc().collect() })
    }

    /// As [`Texts::get`], `None` where it is empty.
    pub fn some(&self, column: usize) -> Result<Option<String>, String> {
        Ok(Some(self.get(column)?).filter(|text| !text.is_empty()))
    }

    /// A column's text with its line breaks, each of them `\n`.
    pub fn lines(&self, column: usize) -> Result<String, String> {
        let text = self.raw(column)?.replace("\r\n", "\n").replace('\r', "\n");
        let lines: Vec<String> =
            text.split('\n').map(|line| unescaped(&one_line(line)).nfc().collect()).collect();
        Ok(lines.join("\n").trim().to_owned())
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

/// What a spreadsheet would compute when a cell starts with it (W226).
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

fn is_formula(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(FORMULA)
}

/// Exports put a `'` before what a spreadsheet would compute; it is not part of the value. A name such as `'Aziz` keeps its own.
fn unescaped(text: &str) -> &str {
    text.strip_prefix('\'').filter(|rest| is_formula(rest)).unwrap_or(text)
}

/// The reverse: one `'` more before every line that a spreadsheet would compute, so that nothing is lost.
pub(super) fn escaped(text: &str) -> String {
    let line = |line: &str| if is_formula(line) { format!("'{line}") } else { line.to_owned() };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// At most 40 characters of a value that is shown in a reason.
pub(super) fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaping_is_undone_exactly() {
        for text in ["=1+1", "'=1", "''=1", "-", "@a", "+49", "'Aziz", "plain", "", "'"] {
            let cell = escaped(text);
            assert!(!cell.starts_with(FORMULA), "{cell}");
            assert_eq!(unescaped(&cell), text);
        }
        assert_eq!(escaped("a\n=b"), "a\n'=b");
    }
}
