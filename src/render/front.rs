//! The front matter of an article: TOML between two `+++` lines at the very start of the file. Unknown keys are errors, and
//! every problem carries the position in the whole file, not in the TOML.

use std::ops::Range;

use chrono::NaiveDate;
use serde::Deserialize;
use toml::Spanned;

use super::article::Status;
use crate::domain::problem::{Position, Problem};
use crate::domain::publication::TierId;

const KEYS: &str = "the keys are title, summary, author, date, cover, extra, open, tiers and status";

/// What the front matter says, checked, with the places that later checks need.
pub(super) struct Front {
    pub title: String,
    pub summary: String,
    pub author: String,
    pub date: Option<NaiveDate>,
    /// The path as written and its byte offset in the file.
    pub cover: Option<(String, usize)>,
    pub extra: bool,
    pub open: bool,
    pub tiers: Option<Vec<TierId>>,
    pub status: Status,
    /// Where the body starts.
    pub body: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    title: Spanned<String>,
    summary: Option<Spanned<String>>,
    author: Option<Spanned<String>>,
    date: Option<Spanned<toml::Value>>,
    cover: Option<Spanned<String>>,
    #[serde(default)]
    extra: bool,
    #[serde(default)]
    open: bool,
    tiers: Option<Vec<Spanned<String>>>,
    status: Option<Spanned<String>>,
}

/// Splits off and checks the front matter of `text`.
pub(super) fn read(file: &str, text: &str, tiers: &[TierId]) -> Result<Front, Vec<Problem>> {
    let (toml, body) = match split(text) {
        Ok(parts) => parts,
        Err((at, what)) => {
            let hint = "start the file with +++, TOML, and +++ again, each +++ alone on its line";
            return Err(vec![Problem::error(file, Position::of(text, at), "+++", what, hint)]);
        }
    };
    let start = toml.start;
    let raw: Raw = toml::from_str(&text[toml]).map_err(|error| {
        let at = Position::of(text, start + error.span().map_or(0, |span| span.start));
        let message = error.message().replace('\n', ", ");
        vec![Problem::error(file, at, "front matter", &message, KEYS)]
    })?;
    check(file, text, start, raw, tiers).map(|front| Front { body, ..front })
}

/// The byte ranges of the TOML, and the offset of what follows.
fn split(text: &str) -> Result<(Range<usize>, usize), (usize, &'static str)> {
    let mut lines = text.split_inclusive('\n');
    let first = lines.next().unwrap_or_default();
    if first.trim_end() != "+++" {
        return Err((0, "the front matter is missing"));
    }
    let mut at = first.len();
    for line in lines {
        if line.trim_end() == "+++" {
            return Ok((first.len()..at, at + line.len()));
        }
        at += line.len();
    }
    Err((0, "the front matter never ends"))
}

fn check(file: &str, text: &str, start: usize, raw: Raw, tiers: &[TierId]) -> Result<Front, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut wrong = |span: Range<usize>, key: &str, what: &str, hint: &str| {
        let at = Position::of(text, start + span.start);
        problems.push(Problem::error(file, at, key, what, hint));
    };
    for (key, value) in
        [("title", Some(&raw.title)), ("summary", raw.summary.as_ref()), ("author", raw.author.as_ref())]
    {
        let Some(value) = value else { continue };
        if value.as_ref().chars().any(char::is_control) {
            wrong(value.span(), key, "has a line break or a control character", "write it on one line");
        }
    }
    if raw.title.as_ref().trim().is_empty() {
        wrong(raw.title.span(), "title", "is empty", "give the article a title");
    }
    let date = raw.date.and_then(|date| {
        let parsed = day(date.as_ref());
        if parsed.is_none() {
            wrong(date.span(), "date", "is not a date", "write 2026-12-01");
        }
        parsed
    });
    let status = match raw.status.as_ref().map(|status| (Status::from_word(status.as_ref()), status.span())) {
        None => Status::Draft,
        Some((Some(status), _)) => status,
        Some((None, span)) => {
            wrong(span, "status", "is not a status", "write \"draft\", \"ready\" or \"published\"");
            Status::Draft
        }
    };
    let known = tiers.iter().map(TierId::as_str).collect::<Vec<_>>().join(", ");
    for tier in raw.tiers.iter().flatten() {
        if !tiers.iter().any(|known| known.as_str() == tier.as_ref()) {
            let what = format!("there is no tier \"{}\"", tier.as_ref());
            wrong(tier.span(), "tiers", &what, &format!("the tiers are {known}"));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let words = |value: Option<Spanned<String>>| value.map(Spanned::into_inner).unwrap_or_default();
    Ok(Front {
        title: raw.title.into_inner().trim().to_owned(),
        summary: words(raw.summary).trim().to_owned(),
        author: words(raw.author).trim().to_owned(),
        date,
        cover: raw.cover.map(|cover| (cover.as_ref().clone(), start + cover.span().start)),
        extra: raw.extra,
        open: raw.open,
        tiers: raw.tiers.map(|ids| ids.into_iter().map(|id| TierId(id.into_inner())).collect()),
        status,
        body: 0,
    })
}

/// A TOML date, or the same as a string.
fn day(value: &toml::Value) -> Option<NaiveDate> {
    let text = match value {
        toml::Value::Datetime(date) => date.date?.to_string(),
        toml::Value::String(text) => text.clone(),
        _ => return None,
    };
    NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (usize, usize, String) {
        let tiers = [TierId::from("free"), TierId::from("yearly")];
        let problems = read("a.md", text, &tiers).err().expect("the front matter is wrong");
        (problems[0].line, problems[0].column, problems[0].key.clone())
    }

    #[test]
    fn problems_have_the_position_in_the_file() {
        let place = |text: &str| {
            let (line, column, _) = refused(text);
            (line, column)
        };
        assert_eq!(place("+++\ntitle = \"a\"\nauthr = \"b\"\n+++\n"), (3, 1));
        assert_eq!(place("+++\ntitle = \"a\"\nstatus = \"redy\"\n+++\n"), (3, 10));
        assert_eq!(place("+++\ntitle = \"a\"\ntiers = [\"free\", \"gold\"]\n+++\n"), (3, 18));
        assert_eq!(place("+++\ntitle = \"a\"\ndate = \"soon\"\n+++\n"), (3, 8));
        assert_eq!(place("+++\ntitle = \"a\\nb\"\n+++\n"), (2, 9));
        assert_eq!(place("+++\ntitle = \"a\"\ntitle = \"b\"\n+++\n"), (3, 1));
        assert_eq!(place("title = \"a\"\n"), (1, 1));
        assert_eq!(place("+++\ntitle = \"a\"\n"), (1, 1));
    }

    #[test]
    fn dates_may_be_dates_or_strings() {
        for date in ["2026-12-01", "\"2026-12-01\""] {
            let text = format!("+++\ntitle = \"a\"\ndate = {date}\n+++\nbody");
            let front = read("a.md", &text, &[]).ok().unwrap();
            assert_eq!(front.date, NaiveDate::from_ymd_opt(2026, 12, 1));
            assert_eq!(&text[front.body..], "body");
            assert_eq!(front.status, Status::Draft);
        }
    }
}
