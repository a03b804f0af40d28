//! The grammars of a row of a file of reply rules, and what is asked of it besides: a row that holds too often would hide all that come after
//! it and suppress people for what was said about us, and one that never holds is not what its author meant.

use super::section::Found;
use super::syntax::{Wrong, wrong};
use crate::domain::reply_rule::{ReplyClass, Rule, Status, When};

/// A list that has something in it. An empty one would be no condition, and hold for everything.
pub(super) fn filled<'a>(found: &Found<'a>, example: &str) -> Option<Vec<Found<'a>>> {
    let items = found.list()?;
    match items.is_empty() {
        true => found.wrong("is empty", &format!("leave it out, or write what it holds for: {example}")),
        false => Some(items),
    }
}

/// Reports what is wrong with a row by itself. `of_provider`: of the list of providers' texts; `is_ours`: of the binary's own file,
/// whose last rows are for what nothing is known of.
pub(super) fn check(item: &Found<'_>, rule: &Rule, (of_provider, is_ours): (bool, bool)) -> Option<()> {
    let is_named = rule.of.is_some() || !rule.says.is_empty() || !rule.status.is_empty();
    if of_provider && !is_named {
        return item.wrong(
            "says nothing that only a provider says",
            "add `of`, `says` or `status`, or move it to `standard`",
        );
    }
    if !is_ours && rule.codes.is_empty() && !is_named && rule.when == When::Always {
        return item.wrong("has no condition: it holds for every reply", "add `codes`, `status` or `says`");
    }
    if rule.four == Some(ReplyClass::Hard) && (rule.reaches(false) || !rule.reaches(true)) {
        return item.wrong(
            "makes a 4xx hard: what may pass would suppress the address",
            "write on_5xx = \"hard\", and on_4xx = \"transient\" where it holds for both",
        );
    }
    if !rule.reaches(false) && !rule.reaches(true) {
        return item.wrong(
            "can never hold: its codes are of one kind, its class is for the other",
            "write `on_4xx` for codes of 400 to 499, `on_5xx` for 500 to 599, or `class`",
        );
    }
    check_hard(item, rule)
}

/// Who is suppressed must have been named, and be what the reply is about.
fn check_hard(item: &Found<'_>, rule: &Rule) -> Option<()> {
    if rule.five != Some(ReplyClass::Hard) {
        return Some(());
    }
    if matches!(rule.when, When::Before | When::Entering) {
        return item.wrong(
            "is hard before a recipient is named: what is said then is about us",
            "write when = \"rcpt\", or the class \"policy\" or \"relay\"",
        );
    }
    if rule.status.is_empty() && rule.says.is_empty() {
        return item.wrong(
            "is hard without `status` or `says`: the same codes are said about senders",
            "add what says that there is no such mailbox: status = [\"1.1\"]",
        );
    }
    Some(())
}

/// Reports a row that an earlier one of the same file leaves nothing to; rows count from 0, as in keys.
pub(super) fn check_order(item: &Found<'_>, rule: &Rule, earlier: &[(String, Rule)]) -> Option<()> {
    match earlier.iter().find(|(_, first)| first.hides(rule)) {
        Some((place, first)) if first.of == rule.of && same(first, rule) => {
            item.wrong(&format!("has the conditions of {place}, which decides first"), "keep one of them")
        }
        Some((place, _)) => item.wrong(
            &format!("can never hold: {place} holds wherever it does, and decides first"),
            "move it before that one, or leave it out",
        ),
        None => Some(()),
    }
}

fn same(one: &Rule, other: &Rule) -> bool {
    (one.when, &one.codes, &one.status, &one.says) == (other.when, &other.codes, &other.status, &other.says)
}

/// A text to look for, in lower case.
pub(super) fn pattern(text: &str) -> Result<String, Wrong> {
    let code = text.as_bytes();
    let has_code = code.len() > 3
        && matches!(code[0], b'4' | b'5')
        && code[1..3].iter().all(u8::is_ascii_digit)
        && matches!(code[3], b' ' | b'-');
    if has_code {
        return wrong(
            format!("`{text}` is never found: the basic code is not a part of the text"),
            format!("write codes = [{}] and leave it out here", &text[..3]),
        );
    }
    if text.split('*').all(|fragment| fragment.trim().chars().count() < 3) {
        return wrong(
            format!("`{text}` is in almost every text"),
            "write at least three characters in a row",
        );
    }
    Ok(text.to_lowercase())
}

/// How a provider's replies end, in lower case.
pub(super) fn mark(text: &str) -> Result<String, Wrong> {
    let mark = pattern(text)?;
    if mark.contains('*') || mark.ends_with(char::is_whitespace) {
        return wrong(
            format!("`{text}` is never found: no reply ends so"),
            "write the end of a reply as it stands there, without `*` and without space behind it",
        );
    }
    Ok(mark)
}

pub(super) fn part(text: &str) -> Result<When, Wrong> {
    When::from_word(text).ok_or_else(|| Wrong {
        problem: format!("`{text}` is not a part of the dialogue"),
        hint: format!(
            "write one of: {}",
            When::ALL.iter().map(|when| when.as_str()).collect::<Vec<_>>().join(", ")
        ),
    })
}

pub(super) fn class(text: &str) -> Result<ReplyClass, Wrong> {
    ReplyClass::from_word(text).ok_or_else(|| Wrong {
        problem: format!("`{text}` is not a class"),
        hint: format!(
            "write one of: {}",
            ReplyClass::ALL.iter().map(|class| class.as_str()).collect::<Vec<_>>().join(", ")
        ),
    })
}

pub(super) fn word(text: &str) -> Result<String, Wrong> {
    match text.len() <= 40 && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    {
        true => Ok(text.to_owned()),
        false => wrong(format!("`{text}` is not a reason"), "write one word in lower case: \"mailbox_full\""),
    }
}

/// `1.1`, `7.*` or `none`.
pub(super) fn status(text: &str) -> Result<Status, Wrong> {
    // 0 but no other number starts with 0: "01.1" would be found nowhere.
    let number =
        |part: &str| part.parse::<u16>().is_ok_and(|number| number < 1000 && number.to_string() == part);
    match text.split_once('.') {
        _ if text == "none" => Ok(Status::Absent),
        Some((subject, "*")) if number(subject) => Ok(Status::Under(format!("{subject}."))),
        Some((subject, detail)) if number(subject) && number(detail) => Ok(Status::Is(text.to_owned())),
        _ => wrong(
            format!("`{text}` is not a subject and detail"),
            "write them without the class: \"1.1\", \"7.*\", or \"none\"",
        ),
    }
}
