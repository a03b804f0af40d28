//! Folds what a reply quotes, so that support reads what is new first. Nothing is deleted: both halves are kept.
//!
//! A message is a row of quote blocks (lines that begin with `>`) and text between them. Text then quote folds the quote; quote
//! then text folds the quote too; any other order means that answers stand between the quotes, and all of it is shown. The line
//! above a quote is its headline if it is short and ends in a colon, in any language; it may be wrapped onto two lines if it
//! looks like a date and a sender. A `-- ` line starts a signature (RFC 3676 section 4.3). If nothing or only a greeting would
//! remain, all is shown. Known gaps: quotes without `>` other than "Original Message" blocks.

const HEADLINE_MAX: usize = 120;
const WRAPPED_MAX: usize = 200;
/// A longer text behind `-- ` is no signature.
const SIGNATURE_MAX: usize = 12;
/// A single line this short that ends in a comma is only a greeting.
const GREETING_MAX: usize = 40;

/// How a wrapped headline begins: en, de, fr, es.
const OPENERS: [&str; 4] = ["on ", "am ", "le ", "el "];
/// Lines that start a copy of the old message without `>`: en, de, fr, es.
const ORIGINAL: [&str; 4] =
    ["original message", "ursprüngliche nachricht", "message d'origine", "mensaje original"];

/// A text in two halves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    pub shown: String,
    /// What the reader may unfold. Empty if nothing was folded.
    pub folded: String,
}

/// Splits a text into what is new and what is quoted.
pub fn trim(text: &str) -> Trimmed {
    let lines: Vec<&str> = text.lines().collect();
    let blocks = blocks(&lines);
    let kinds: Vec<bool> = blocks.iter().map(|block| block.quote).collect();
    let shown = match kinds.as_slice() {
        [false] => blocks[0].start..blocks[0].end,
        [false, true] => blocks[0].start..headline(&lines, blocks[0].end),
        [true, false] => blocks[1].start..blocks[1].end,
        _ => return whole(text),
    };
    let end = cut_end(&lines, shown.clone());
    let kept = lines[shown.start..end].join("\n").trim().to_owned();
    if is_too_little(&kept) {
        return whole(text);
    }
    let before = lines[..shown.start].join("\n");
    let after = lines[end..].join("\n");
    let folded =
        [before.trim(), after.trim()].into_iter().filter(|half| !half.is_empty()).collect::<Vec<_>>();
    Trimmed { shown: kept, folded: folded.join("\n") }
}

fn whole(text: &str) -> Trimmed {
    Trimmed { shown: text.trim().to_owned(), folded: String::new() }
}

/// Lines of one kind; empty lines belong to what stands before them.
struct Block {
    quote: bool,
    start: usize,
    end: usize,
}

/// The row of blocks that the order is judged by: a headline alone is part of its quote, a signature at the end is no text.
fn blocks(lines: &[&str]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let quote = line.starts_with('>');
        match blocks.last_mut() {
            Some(last) if last.quote == quote => last.end = at + 1,
            _ => blocks.push(Block { quote, start: at, end: at + 1 }),
        }
    }
    if blocks.len() > 2
        && blocks.last().is_some_and(|last| !last.quote && is_signature(lines, last.start..last.end))
    {
        blocks.pop();
    }
    let only_headline =
        |pair: &[Block]| !pair[0].quote && pair[1].quote && headline(lines, pair[0].end) == pair[0].start;
    if blocks.len() > 1 && only_headline(&blocks[..2]) {
        blocks.remove(0);
    }
    blocks
}

fn is_signature(lines: &[&str], range: std::ops::Range<usize>) -> bool {
    lines[range.start] == "-- " && range.len() <= SIGNATURE_MAX
}

/// Where the headline of a quote begins, if the line before `end` is one; else `end`.
fn headline(lines: &[&str], end: usize) -> usize {
    let Some(last) = end.checked_sub(1).and_then(|at| lines.get(at)) else { return end };
    let last = last.trim();
    if !last.ends_with([':', '：']) || last.chars().count() > HEADLINE_MAX {
        return end;
    }
    let Some(before) = end.checked_sub(2).and_then(|at| lines.get(at)) else { return end - 1 };
    let before = before.trim();
    let starts_paragraph = end < 3 || lines[end - 3].trim().is_empty();
    let opener = OPENERS.iter().any(|word| before.to_lowercase().starts_with(word));
    let dated = before.chars().any(|c| c.is_ascii_digit());
    let short = before.chars().count() + last.chars().count() <= WRAPPED_MAX;
    let complete = OPENERS.iter().any(|word| last.to_lowercase().starts_with(word));
    let wrapped = starts_paragraph && opener && dated && short && !complete;
    if wrapped { end - 2 } else { end - 1 }
}

/// Leaves out a signature, or the copy of the old message, at the end of the new text.
fn cut_end(lines: &[&str], text: std::ops::Range<usize>) -> usize {
    let original = text.clone().find(|at| is_original(lines[*at]));
    let end = original.unwrap_or(text.end);
    let signature = (text.start..end).rev().find(|at| lines[*at] == "-- ");
    match signature {
        Some(at) if end - at <= SIGNATURE_MAX => at,
        _ => end,
    }
}

fn is_original(line: &str) -> bool {
    let line = line.trim();
    let inside = line.trim_matches(['-', '_', ' ']).to_lowercase();
    line.starts_with("--") && ORIGINAL.contains(&inside.as_str())
}

fn is_too_little(shown: &str) -> bool {
    let letters = shown.chars().filter(|c| c.is_alphanumeric()).take(2).count();
    let greeting = !shown.contains('\n') && shown.ends_with(',') && shown.chars().count() <= GREETING_MAX;
    letters < 2 || greeting
}

#[cfg(test)]
mod tests {
    use super::trim;

    fn check(text: &str, shown: &str, folded: &str) {
        let trimmed = trim(text);
        assert_eq!((trimmed.shown.as_str(), trimmed.folded.as_str()), (shown, folded), "{text}");
    }

    #[test]
    fn a_quote_below_is_folded_with_its_headline() {
        check("Yes.\n\nAm Fr. schrieb X <x@y>:\n> Really?\n", "Yes.", "Am Fr. schrieb X <x@y>:\n> Really?");
        check(
            "Yes.\n\nOn Fri, 13 Mar 2026 at 14:10, News Support <s@news.example.org>\nwrote:\n\n> Really?\n>\n> S",
            "Yes.",
            "On Fri, 13 Mar 2026 at 14:10, News Support <s@news.example.org>\nwrote:\n\n> Really?\n>\n> S",
        );
        check("Ja\n\n2026年3月13日 サポート：\n> 何", "Ja", "2026年3月13日 サポート：\n> 何");
        check("No headline\n> quote", "No headline", "> quote");
    }

    #[test]
    fn an_own_line_above_the_headline_stays() {
        check("Thanks, that works\nX wrote:\n> a", "Thanks, that works", "X wrote:\n> a");
        check(
            "On 3 May I wrote this\nOn 4 May X wrote:\n> a",
            "On 3 May I wrote this",
            "On 4 May X wrote:\n> a",
        );
    }

    #[test]
    fn a_quote_above_is_folded() {
        check("X wrote:\n> Really?\n\nYes.", "Yes.", "X wrote:\n> Really?");
    }

    #[test]
    fn answers_between_quotes_are_shown_whole() {
        for text in ["X wrote:\n> a\n\nb\n\n> c", "a\n> b\nc", "> a\nb\n> c\nd\n> e"] {
            check(text, text, "");
        }
    }

    #[test]
    fn too_little_is_shown_whole() {
        for text in ["> only a quote", "Hello,\n\n> all the rest", "X wrote:\n> a", "", "?\n> a"] {
            check(text, text, "");
        }
    }

    #[test]
    fn signatures_are_folded() {
        check("Yes.\n-- \nAnn\nPhone", "Yes.", "-- \nAnn\nPhone");
        check("Yes.\n\n-- \nAnn\n\nOn 1 May X wrote:\n> a", "Yes.", "-- \nAnn\n\nOn 1 May X wrote:\n> a");
        check("Yes.\n\nX wrote:\n> a\n\n-- \nAnn", "Yes.", "X wrote:\n> a\n\n-- \nAnn");
        let long = format!("Yes.\n-- \n{}", "line\n".repeat(40));
        check(&long, long.trim(), "");
    }

    #[test]
    fn a_copied_message_is_folded_and_a_forward_is_not() {
        check(
            "Yes.\n\n-----Original Message-----\nFrom: X\nReally?",
            "Yes.",
            "-----Original Message-----\nFrom: X\nReally?",
        );
        let forward = "Look at this\n\n---------- Forwarded message ----------\nFrom: X\n\nReally?";
        check(forward, forward, "");
    }
}
