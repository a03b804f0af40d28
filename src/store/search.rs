//! How words are looked for: as letters are read, in either case, on both databases. SQLite's `lower` knows ASCII only, as does
//! PostgreSQL's in the C locale, so the pattern names both cases of every letter and nothing is lowered.

use super::sql::Dialect;

/// Longer is no search.
const LONGEST: usize = 200;

/// Where conversations are searched; `t` is the thread, `marker` that of the [`pattern`].
pub(super) fn in_threads(dialect: Dialect, marker: &str) -> String {
    let like = dialect.matches();
    format!(
        "(t.subject {like} {marker} OR t.address {like} {marker} OR t.name {like} {marker} \
            OR EXISTS (SELECT 1 FROM posts p WHERE p.thread_id = t.id AND p.text {like} {marker}))"
    )
}

/// The pattern of a text that stands somewhere, for [`Dialect::matches`].
pub(super) fn pattern(dialect: Dialect, text: &str) -> String {
    let letters: String =
        text.chars().filter(|c| *c != '\0').take(LONGEST).map(|c| letter(dialect, c)).collect();
    match dialect {
        Dialect::Sqlite => format!("*{letters}*"),
        Dialect::Postgres => letters,
    }
}

/// One letter in both cases.
fn letter(dialect: Dialect, c: char) -> String {
    let lower = single(c.to_lowercase()).unwrap_or(c);
    let upper = single(c.to_uppercase()).unwrap_or(c);
    match (lower == upper, dialect) {
        (false, _) => format!("[{lower}{upper}]"),
        (true, Dialect::Sqlite) if "*?[".contains(c) => format!("[{c}]"),
        (true, Dialect::Postgres) if c.is_ascii_punctuation() => format!("\\{c}"),
        (true, _) => c.to_string(),
    }
}

fn single(mut cases: impl Iterator<Item = char>) -> Option<char> {
    cases.next().filter(|_| cases.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_is_looked_for_in_both_cases_and_the_rest_as_it_is() {
        assert_eq!(pattern(Dialect::Sqlite, "\u{d6}l 5*[a]?\0"), "*[\u{f6}\u{d6}][lL] 5[*][[][aA]][?]*");
        assert_eq!(pattern(Dialect::Postgres, "\u{f6}l_(5.\\%"), "[\u{f6}\u{d6}][lL]\\_\\(5\\.\\\\\\%");
        assert_eq!(pattern(Dialect::Postgres, "stra\u{df}e"), "[sS][tT][rR][aA]\u{df}[eE]");
        assert_eq!(
            (pattern(Dialect::Sqlite, ""), pattern(Dialect::Postgres, "")),
            ("**".into(), String::new())
        );
    }
}
