//! A scanner for the tags of a template, with the byte offset of every word. Handlebars itself keeps one position per
//! element and none per argument, and it must not be asked before holes are taken out.
//!
//! Only the part of the language that templates may use is recognised; the rest is refused here with its position: raw
//! blocks, escaped tags, `{{^}}`, `{{&}}`, decorators and inline partials.

use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Comment,
    Value,
    /// `{{{...}}}`: not escaped.
    Triple,
    /// `{{#...}}`
    Open,
    Else,
    /// `{{/...}}`
    Close,
    /// `{{> ...}}`
    Partial,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    pub range: Range<usize>,
    pub kind: Kind,
    /// Names, literals and parentheses; without `else` itself.
    pub words: Vec<Word<'a>>,
    /// `{{~` or `~}}`.
    pub trims: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub at: usize,
    pub text: &'a str,
}

/// What is wrong at an offset.
pub(super) type Fault = (usize, &'static str);

/// All tags of `text` in order.
pub(super) fn scan(text: &str) -> Result<Vec<Tag<'_>>, Fault> {
    let mut tags = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find("{{") {
        let start = at + found;
        let tag = one(text, start)?;
        at = tag.range.end;
        tags.push(tag);
    }
    Ok(tags)
}

fn one(text: &str, start: usize) -> Result<Tag<'_>, Fault> {
    let rest = &text[start..];
    if text[..start].ends_with('\\') {
        return Err((start - 1, "a tag cannot be escaped; put the braces into an article or write &#123;"));
    }
    if rest.starts_with("{{{{") {
        return Err((start, "raw blocks are not part of the template language"));
    }
    if rest.starts_with("{{!") {
        let end = if rest.starts_with("{{!--") { "--}}" } else { "}}" };
        let length = rest.find(end).ok_or((start, "this comment never ends"))? + end.len();
        return Ok(Tag { range: start..start + length, kind: Kind::Comment, words: vec![], trims: false });
    }
    let (open, close) = if rest.starts_with("{{{") { ("{{{", "}}}") } else { ("{{", "}}") };
    let length = rest.find(close).ok_or((start, "this tag never ends"))?;
    let mut from = start + open.len();
    let mut to = start + length;
    let range = start..to + close.len();
    let inner = &text[from..to];
    if inner.contains("{{") {
        return Err((start, "this tag never ends"));
    }
    let trims = inner.starts_with('~') || inner.ends_with('~');
    from += usize::from(inner.starts_with('~'));
    to -= usize::from(inner.ends_with('~') && to > from);
    let skipped = text[from..to].len() - text[from..to].trim_start().len();
    let from = from + skipped;
    let (kind, skip) = match text[from..to].chars().next() {
        None => return Err((start, "this tag is empty")),
        Some(_) if open == "{{{" => (Kind::Triple, 0),
        Some('#') => (Kind::Open, 1),
        Some('/') => (Kind::Close, 1),
        Some('>') => (Kind::Partial, 1),
        Some('^') => return Err((start, "write {{else}} or {{#unless}}")),
        Some('&') => return Err((start, "write {{{...}}}")),
        Some('*') => return Err((start, "decorators are not part of the template language")),
        Some(_) => (Kind::Value, 0),
    };
    let mut words = words(text, from + skip..to)?;
    let mut kind = kind;
    if kind == Kind::Value && words.first().is_some_and(|word| word.text == "else") {
        kind = Kind::Else;
        words.remove(0);
    } else if words.is_empty() {
        return Err((start, "this tag is empty"));
    }
    Ok(Tag { range, kind, words, trims })
}

fn words(text: &str, range: Range<usize>) -> Result<Vec<Word<'_>>, Fault> {
    let mut words = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let rest = &text[at..range.end];
        let Some(first) = rest.chars().next() else { break };
        let length = match first {
            c if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            '(' | ')' => 1,
            '"' | '\'' => rest[1..].find(first).ok_or((at, "this quote never ends"))? + 2,
            _ => rest.find(|c: char| c.is_whitespace() || "()\"'".contains(c)).unwrap_or(rest.len()),
        };
        words.push(Word { at, text: &text[at..at + length] });
        at += length;
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_their_offsets() {
        let tags = scan("a {{#if (eq tier.id \"a b\")}}{{{html}}}{{~ else ~}}{{/if}}{{!-- }} --}}").unwrap();
        let kinds: Vec<Kind> = tags.iter().map(|tag| tag.kind).collect();
        assert_eq!(kinds, [Kind::Open, Kind::Triple, Kind::Else, Kind::Close, Kind::Comment]);
        let words: Vec<(usize, &str)> = tags[0].words.iter().map(|word| (word.at, word.text)).collect();
        assert_eq!(words, [(5, "if"), (8, "("), (9, "eq"), (12, "tier.id"), (20, "\"a b\""), (25, ")")]);
        assert!(tags[2].trims && tags[2].words.is_empty());
    }

    #[test]
    fn what_is_not_part_of_the_language_is_refused_at_its_place() {
        for (text, at) in [
            ("a {{", 2),
            ("{{}}", 0),
            ("x{{{{raw}}}}", 1),
            ("\\{{x}}", 0),
            ("{{^}}", 0),
            ("{{&x}}", 0),
            ("{{!-- x }}", 0),
            ("{{a {{b}}", 0),
            ("{{x \"}}", 4),
            ("{{#}}", 0),
            ("{{*x}}", 0),
        ] {
            assert_eq!(scan(text).map_err(|(at, _)| at), Err(at), "{text}");
        }
    }

    /// A scan that is cut anywhere answers, it does not panic.
    #[test]
    fn every_cut_is_answered() {
        let text = "ü{{#if a}}{{~x~}}{{{html}}}{{> p}}{{!-- ü --}}{{else}}{{/if}}{{wrap \"ü\"}}";
        for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
            let _ = scan(&text[..at]);
            let _ = scan(&text[at..]);
        }
    }
}
