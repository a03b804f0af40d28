//! A staff member's answer as the subscriber gets it: it looks typed. What a person types in plain text survives, as blocks:
//! paragraphs with their lines, lists, code (between fences or indented by four), quotes, and addresses as links.
//!
//! It is not Markdown: a `*`, `_` or `#` in a sentence stays what it is.

use super::edition::{of_publication, one_line};
use super::fields;
use super::holes::Sentinels;
use super::notice::visible;
use super::one_off::{print_with, reply_subject};
use super::template::TemplateSet;
use crate::domain::body::{Body, escape_html};
use crate::domain::problem::Problem;
use crate::domain::publication::Publication;

/// An answer to render.
#[derive(Clone, Copy, Debug)]
pub struct AnswerInput<'a> {
    pub publication: &'a Publication,
    /// The address that answers reach.
    pub support: &'a str,
    /// The desk's name, the only name of ours in it.
    pub desk: &'a str,
    /// The subject of the thread, without `Re:`.
    pub subject: &'a str,
    /// What staff wrote, plain text, quotes and signature already off.
    pub text: &'a str,
}

/// Renders the answer.
pub fn render_answer(templates: &TemplateSet, input: &AnswerInput<'_>) -> Result<Body, Vec<Problem>> {
    let mut sentinels = Sentinels::new();
    let text = visible(input.text);
    let fields = serde_json::json!({
        "publication": of_publication(input.publication, input.support),
        "thread": { "subject": one_line(input.subject), "reply_subject": reply_subject(input.subject) },
        "answer": { "html": sentinels.markup(html(&text)), "text": text },
        "desk": { "name": one_line(input.desk) },
    });
    print_with(templates, fields::SUPPORT_ANSWER_KIND, &fields, &mut sentinels)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Block {
    Paragraph(Vec<String>),
    Code(Vec<String>),
    Quote(Vec<String>),
    /// Items, and whether they are numbered, from which number on.
    List(Option<usize>, Vec<String>),
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = text.lines().peekable();
    let mut fresh = true;
    while let Some(line) = lines.next() {
        if line.trim().is_empty() {
            fresh = true;
            continue;
        }
        if line.trim_start().starts_with("```") {
            let code = lines.by_ref().take_while(|line| !line.trim_start().starts_with("```"));
            blocks.push(Block::Code(code.map(str::to_owned).collect()));
            fresh = true;
            continue;
        }
        let started = std::mem::replace(&mut fresh, false);
        // Indented lines are code even with empty lines between them.
        if let Some(code) = line.strip_prefix("    ").or_else(|| line.strip_prefix('\t')) {
            match blocks.last_mut() {
                Some(Block::Code(before)) => {
                    before.extend(started.then(String::new));
                    before.push(code.to_owned());
                }
                Some(Block::List(_, items)) if !started => append(items, line),
                _ => blocks.push(Block::Code(vec![code.to_owned()])),
            }
            continue;
        }
        if let Some(quoted) = line.strip_prefix('>') {
            let quoted = quoted.strip_prefix(' ').unwrap_or(quoted).to_owned();
            match blocks.last_mut() {
                Some(Block::Quote(before)) if !started => before.push(quoted),
                _ => blocks.push(Block::Quote(vec![quoted])),
            }
            continue;
        }
        match (item(line), blocks.last_mut()) {
            (Some((number, words)), Some(Block::List(first, items)))
                if first.is_some() == number.is_some()
                    && first.is_none_or(|first| number == Some(first + items.len())) =>
            {
                items.push(words.to_owned());
            }
            (Some((number, words)), _) => blocks.push(Block::List(number, vec![words.to_owned()])),
            (None, Some(Block::List(_, items))) if !started => append(items, line),
            (None, Some(Block::Paragraph(before))) if !started => before.push(line.to_owned()),
            (None, _) => blocks.push(Block::Paragraph(vec![line.to_owned()])),
        }
    }
    blocks
}

fn append(items: &mut [String], line: &str) {
    if let Some(last) = items.last_mut() {
        last.push(' ');
        last.push_str(line.trim());
    }
}

/// `- words`, `* words` or `2. words`. A year or a sum at the start of a line is no item: numbers end at 99.
fn item(line: &str) -> Option<(Option<usize>, &str)> {
    let line = line.trim_start();
    if let Some(words) = ["- ", "* ", "\u{2022} "].iter().find_map(|mark| line.strip_prefix(mark)) {
        return Some((None, words.trim()));
    }
    let (number, words) = line.split_once(". ").or_else(|| line.split_once(") "))?;
    let short = number.len() <= 2 && number.bytes().all(|b| b.is_ascii_digit());
    Some((Some(number.parse().ok().filter(|_| short)?), words.trim()))
}

const MONO: &str = "Consolas, Menlo, 'DejaVu Sans Mono', 'Liberation Mono', 'Courier New', monospace";

fn html(text: &str) -> String {
    let mut out = String::new();
    for block in blocks(text) {
        let text = match block {
            Block::Paragraph(lines) => format!("<p style=\"margin:0 0 16px\">{}</p>\n", lined(&lines)),
            Block::Quote(lines) => format!(
                "<p class=\"soft quote\" style=\"margin:0 0 16px;padding:0 0 0 12px;border-left:3px solid #8a8578;\
                 color:#5b6067\">{}</p>\n",
                lined(&lines)
            ),
            Block::Code(lines) => code(&lines),
            Block::List(first, items) => list(first, &items),
        };
        out.push_str(&text);
    }
    out
}

fn lined(lines: &[String]) -> String {
    lines.iter().map(|line| linked(line)).collect::<Vec<_>>().join("<br />")
}

fn code(lines: &[String]) -> String {
    let lines: Vec<String> = lines
        .iter()
        .map(|line| {
            let depth = line.chars().take_while(|c| *c == ' ').count();
            let mut out = "&nbsp;".repeat(depth);
            escape_html(&line[depth..], &mut out);
            out
        })
        .collect();
    format!(
        "<table role=\"presentation\" width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\" style=\"margin:0 0 16px;\
         border-collapse:separate\"><tr><td class=\"tint ink\" style=\"padding:10px 14px;background-color:#f6f3ec;\
         border-radius:6px;font-family:{MONO};font-size:14px;line-height:22px;color:#1d2125;word-break:break-word\">{}</td>\
         </tr></table>\n",
        lines.join("<br />")
    )
}

fn list(first: Option<usize>, items: &[String]) -> String {
    let (tag, start) = match first {
        None => ("ul", String::new()),
        Some(1) => ("ol", String::new()),
        Some(number) => ("ol", format!(" start=\"{number}\"")),
    };
    let items: Vec<String> =
        items.iter().map(|item| format!("<li style=\"margin:0 0 6px\">{}</li>", linked(item))).collect();
    format!("<{tag}{start} style=\"margin:0 0 16px;padding:0 0 0 26px\">{}</{tag}>\n", items.concat())
}

/// Escaped words in which addresses are links. What closes a sentence behind an address is no part of it.
fn linked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = ["https://", "http://"].iter().filter_map(|start| rest.find(start)).min() {
        let stop = |c: char| c.is_whitespace() || "<>\"'`".contains(c);
        let whole = &rest[at..at + rest[at..].find(stop).unwrap_or(rest.len() - at)];
        let mut url = whole.trim_end_matches(['.', ',', ';', ':', '!', '?']);
        while url.ends_with(')') && url.matches(')').count() > url.matches('(').count() {
            url = url[..url.len() - 1].trim_end_matches(['.', ',', ';', ':', '!', '?']);
        }
        escape_html(&rest[..at], &mut out);
        let mut escaped = String::new();
        escape_html(url, &mut escaped);
        if url.ends_with("//") {
            out.push_str(&escaped);
        } else {
            out.push_str(&format!(
                "<a class=\"link\" href=\"{escaped}\" style=\"color:#0b5c71;text-decoration:underline;\
                 word-break:break-word\">{escaped}</a>"
            ));
        }
        rest = &rest[at + url.len()..];
    }
    escape_html(rest, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_types_becomes_blocks() {
        let text = "Hi Jonas,\nyes.\n\n- one\n  goes on\n- two\n\n1. first\n2. second\n\n    a = 1\n\n    b = 2\n\n\
                    ```\n- no list\n```\n> asked\n> so\n2026. A year.\nMira";
        let strings = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            blocks(text),
            [
                Block::Paragraph(strings(&["Hi Jonas,", "yes."])),
                Block::List(None, strings(&["one goes on", "two"])),
                Block::List(Some(1), strings(&["first", "second"])),
                Block::Code(strings(&["a = 1", "", "b = 2"])),
                Block::Code(strings(&["- no list"])),
                Block::Quote(strings(&["asked", "so"])),
                Block::Paragraph(strings(&["2026. A year.", "Mira"])),
            ]
        );
    }

    #[test]
    fn addresses_end_where_the_sentence_goes_on() {
        for (text, url) in [
            ("See https://x.example/a.", "https://x.example/a"),
            ("(https://x.example/a_(b))", "https://x.example/a_(b)"),
            ("<https://x.example/?a=1&b=2>", "https://x.example/?a=1&amp;b=2"),
            ("https://x.example/!?", "https://x.example/"),
            ("http://x.example, then", "http://x.example"),
        ] {
            let html = linked(text);
            assert!(html.contains(&format!("href=\"{url}\"")), "{html}");
        }
        assert_eq!(linked("a https:// b <i>"), "a https:// b &lt;i&gt;");
        assert!(!linked("https://x.example/\"onclick=x").contains("\"onclick"));
    }
}
