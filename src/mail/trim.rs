//! Folds what a reply quotes, so that support reads what is new first. Nothing is deleted: both halves are kept.
//!
//! A message is a row of quote blocks (lines that begin with `>`) and text between them. Text then quote folds the quote; quote
//! then text folds the quote too; any other order means that answers stand between the quotes, and all of it is shown. The line
//! above a quote is its headline if it is short and ends in a colon, in any language; it may be wrapped onto two lines if it
//! looks like a date and a sender. A copy without `>` begins with "Original Message" or with three lines of a header, in any
//! language. A `-- ` line starts a signature (RFC 3676 section 4.3), and what a telephone adds is one. If nothing or only a greeting
//! would remain, all is shown. For an answer of staff, which leaves the house, [`own_words`] is strict instead.
//! Known gap: a copy that nothing marks.

use super::forward::is_forward_head;
use crate::domain::relayed::bare;

const HEADLINE_MAX: usize = 120;
const WRAPPED_MAX: usize = 200;
/// A longer text behind `-- ` is no signature.
const SIGNATURE_MAX: usize = 12;
/// A single line this short that ends in a comma is only a greeting.
const GREETING_MAX: usize = 40;

/// How a wrapped headline begins: en, de, fr, es.
const OPENERS: [&str; 4] = ["on ", "am ", "le ", "el "];
/// Lines that start a copy of the old message without `>`: en, de, fr, es.
const ORIGINAL: [&str; 8] = [
    "original message",
    "original appointment",
    "ursprüngliche nachricht",
    "message d'origine",
    "mensaje original",
    "messaggio originale",
    "oorspronkelijk bericht",
    "mensagem original",
];

/// The first label of a copied header, in the languages of common programs.
const FROM: [&str; 16] = [
    "from",
    "von",
    "de",
    "da",
    "van",
    "från",
    "fra",
    "od",
    "lähettäjä",
    "feladó",
    "kimden",
    "от",
    "差出人",
    "发件人",
    "寄件者",
    "보낸 사람",
];
/// A copied header has this many lines or more.
const HEADER_LINES: usize = 3;
/// How a line begins that a telephone or a program adds at the end.
const SENT_FROM: [&str; 17] = [
    "sent from my ",
    "sent from mail for ",
    "sent from outlook",
    "sent from proton",
    "sent from yahoo",
    "sent with proton",
    "sent via ",
    "get outlook for ",
    "von meinem ",
    "gesendet von ",
    "gesendet mit ",
    "envoyé de ",
    "enviado desde ",
    "enviado do ",
    "inviato da ",
    "verzonden vanaf ",
    "skickat från ",
];
const SENT_FROM_MAX: usize = 80;

/// A text in two halves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    pub shown: String,
    /// What the reader may unfold. Empty if nothing was folded.
    pub folded: String,
}

/// Splits a text into what is new and what is quoted.
pub fn trim(text: &str) -> Trimmed {
    let all: Vec<&str> = text.lines().collect();
    let copied = copy(&all).unwrap_or(all.len());
    let lines = &all[..copied];
    let blocks = blocks(lines);
    let kinds: Vec<bool> = blocks.iter().map(|block| block.quote).collect();
    let shown = match kinds.as_slice() {
        [false] => blocks[0].start..blocks[0].end,
        [false, true] => blocks[0].start..headline(lines, blocks[0].end),
        [true, false] => blocks[1].start..blocks[1].end,
        _ => return whole(text),
    };
    let end = cut_end(lines, shown.clone());
    let kept = lines[shown.start..end].join("\n").trim().to_owned();
    if is_too_little(&kept) {
        return whole(text);
    }
    let before = lines[..shown.start].join("\n");
    let after = all[end..].join("\n");
    let folded =
        [before.trim(), after.trim()].into_iter().filter(|half| !half.is_empty()).collect::<Vec<_>>();
    Trimmed { shown: kept, folded: folded.join("\n") }
}

/// What the writer of an answer wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    pub words: String,
    /// A line of the words from which on they may be a copy or a signature, and may not. Nothing is cut there.
    pub doubt: Option<String>,
}

/// What the writer of an answer wrote, and nothing of what their program added, however little that is: quotes go, and so do
/// their headlines, signatures, and all below the line that says `above` ("write above this line"). Quotes above words
/// of the writer stay with their `>`, for somebody who knows what may be quoted. `signature`: lines that the HTML
/// form of the message marks as one. What looks like a copy without `>` goes only above that line: elsewhere it may be
/// what the writer wants to be read, and is a doubt.
pub fn own_words(text: &str, above: &str, signature: &[String]) -> Own {
    let all: Vec<&str> = text.lines().collect();
    let cut = all.iter().position(|line| !line.trim_start().starts_with('>') && line.contains(above));
    let copied = cut.and_then(|cut| copy_above(&all[..cut])).unwrap_or(all.len());
    let mut end = cut.unwrap_or(all.len()).min(copied);
    while end > 0 && all[end - 1].trim().is_empty() {
        end -= 1;
    }
    if cut == Some(end) || cut.is_some_and(|cut| cut <= copied) {
        end = headline(&all[..end], end);
    }
    let lines = &all[..end];
    let mut blocks = blocks(lines);
    if blocks.len() > 1 && blocks.last().is_some_and(|last| last.quote) {
        blocks.pop();
        if let Some(last) = blocks.last_mut() {
            last.end = headline(lines, last.end);
        }
    }
    if blocks.iter().all(|block| block.quote) {
        return Own::default();
    }
    let mut kept: Vec<&str> = Vec::new();
    for (at, block) in blocks.iter().enumerate() {
        let before_quote = blocks.get(at + 1).is_some_and(|next| next.quote);
        let end = if before_quote { headline(lines, block.end) } else { block.end };
        let next = blocks.get(at + 1).map_or(block.end, |next| next.start);
        // A headline may stand within a quote.
        let stays = |line: &&&str| !block.quote || line.starts_with('>') || line.trim().is_empty();
        kept.extend(lines[block.start..end.max(block.start)].iter().filter(stays));
        kept.extend(lines[block.end..next].iter().filter(|line| line.trim().is_empty()));
    }
    while kept.last().is_some_and(|line| line.trim().is_empty()) {
        kept.pop();
    }
    let long = kept.iter().position(|line| *line == "-- ").filter(|at| kept.len() - at > SIGNATURE_MAX);
    let marked = kept.iter().position(|line| *line == "-- ").filter(|_| long.is_none());
    let worn = kept.iter().rposition(|line| line.trim_end() == "--");
    kept.truncate(marked.or(worn.filter(|at| kept.len() - at <= SIGNATURE_MAX)).unwrap_or(kept.len()));
    let signature: std::collections::HashSet<&str> = signature.iter().map(String::as_str).collect();
    while let Some(last) = kept.last().map(|line| line.trim())
        && (last.is_empty() || is_sent_from(last) || signature.contains(last))
    {
        kept.pop();
    }
    let doubt = next_copy(&kept, 0).map(|copied| copied.start).or(long.filter(|at| *at < kept.len()));
    Own { words: bare(&kept.join("\n")).to_owned(), doubt: doubt.map(|at| kept[at].trim().to_owned()) }
}

/// Where the copy begins that ends above the line of our own mails. A header that is one only by an address in it may be words of
/// the writer, and counts only where nothing is below it.
fn copy_above(lines: &[&str]) -> Option<usize> {
    let mut last: Option<std::ops::Range<usize>> = None;
    while let Some(next) = next_copy(lines, last.as_ref().map_or(0, |last| last.end)) {
        let start = match &last {
            Some(last)
                if is_original(lines[last.end - 1])
                    && lines[last.end..next.start].iter().all(|line| line.trim().is_empty()) =>
            {
                last.start
            }
            _ => next.start,
        };
        last = Some(start..next.end);
    }
    let last = last?;
    let is_from = |line: &&str| label(line).is_some_and(|label| FROM.contains(&label.as_str()));
    let named = lines[last.clone()].iter().any(|line| is_original(line) || is_from(line));
    let bare = lines[last.end..].iter().all(|line| line.trim().is_empty());
    (named || bare).then_some(last.start)
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
    joined(lines, blocks)
}

/// A headline that stands alone belongs to the quote below it; quotes that follow each other are one. In the middle a headline has a
/// date or an address, because people end their answers with colons, too.
fn joined(lines: &[&str], blocks: Vec<Block>) -> Vec<Block> {
    let mut out: Vec<Block> = Vec::new();
    let follows_quote: Vec<bool> = blocks.iter().skip(1).map(|next| next.quote).chain([false]).collect();
    for (at, mut block) in blocks.into_iter().enumerate() {
        let alone = !block.quote && follows_quote[at] && headline(lines, block.end) == block.start;
        let dated = || {
            lines[block.start..block.end]
                .iter()
                .any(|line| line.contains(|c: char| c.is_ascii_digit() || c == '@'))
        };
        block.quote |= alone && (at == 0 || dated());
        match out.last_mut() {
            Some(last) if last.quote && block.quote => last.end = block.end,
            _ => out.push(block),
        }
    }
    out
}

fn is_signature(lines: &[&str], range: std::ops::Range<usize>) -> bool {
    lines[range.start] == "-- " && range.len() <= SIGNATURE_MAX
}

/// Where the headline of a quote begins, if the line before `end` is one; else `end`. A signature has none.
fn headline(lines: &[&str], end: usize) -> usize {
    let quote = lines[end.min(lines.len())..].iter().find(|line| !line.trim().is_empty());
    if quote.is_some_and(|line| line.trim_end() == "> --") {
        return end;
    }
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

/// Leaves out a signature at the end of the new text.
fn cut_end(lines: &[&str], text: std::ops::Range<usize>) -> usize {
    let signature = (text.start..text.end).rev().find(|at| lines[*at] == "-- ");
    let mut end = signature.filter(|at| text.end - at <= SIGNATURE_MAX).unwrap_or(text.end);
    while end > text.start + 1 {
        let last = lines[end - 1].trim();
        if !(last.is_empty() || last == "--" || is_sent_from(last)) {
            break;
        }
        end -= 1;
    }
    end
}

fn is_sent_from(line: &str) -> bool {
    let lower = line.to_lowercase();
    line.chars().count() <= SENT_FROM_MAX && SENT_FROM.iter().any(|start| lower.starts_with(start))
}

/// Where a copy of an old message without `>` begins.
fn copy(lines: &[&str]) -> Option<usize> {
    next_copy(lines, 0).map(|copied| copied.start)
}

/// The lines that begin the next copy, from this line on. What is sent on is no copy: somebody wants it to be read.
fn next_copy(lines: &[&str], from: usize) -> Option<std::ops::Range<usize>> {
    (from..lines.len()).find_map(|at| {
        if is_original(lines[at]) {
            return Some(at..at + 1);
        }
        let length = copied_header(&lines[at..]);
        if length < HEADER_LINES {
            return None;
        }
        let above = (from..at).rev().find(|above| !lines[*above].trim().is_empty());
        match above.map(|above| (above, lines[above].trim())) {
            Some((_, line)) if is_forward_head(line) => None,
            Some((above, line)) if line.len() > 4 && line.chars().all(|c| c == '_' || c == '-') => {
                Some(above..at + length)
            }
            _ => Some(at..at + length),
        }
    })
}

/// How many lines of a copied header stand here: labels with values, the first one "From" in some language or an address among
/// them, and a time of day.
fn copied_header(lines: &[&str]) -> usize {
    let is_field = |line: &&&str| label(line).is_some();
    let header: Vec<&&str> = lines.iter().take(8).take_while(is_field).collect();
    let first = header.first().and_then(|line| label(line)).unwrap_or_default();
    let named = FROM.contains(&first.as_str()) || header.first().is_some_and(|line| line.contains('@'));
    let timed = header.iter().any(|line| has_time(line));
    if named && timed { header.len() } else { 0 }
}

/// The words before the colon of `Label: value`, in lower case.
fn label(line: &str) -> Option<String> {
    let line = line.trim().trim_start_matches('*');
    let (label, value) = line.split_once([':', '：'])?;
    let label = label.trim_matches(['*', ' ', '\u{a0}']).to_lowercase();
    let words = label.chars().all(|c| c.is_alphabetic() || matches!(c, ' ' | '-' | '.'));
    let short = !label.is_empty() && label.chars().count() <= 20;
    (words && short && !value.trim_matches(['*', ' ']).is_empty()).then_some(label)
}

/// `9:41` or `09.41` somewhere.
fn has_time(line: &str) -> bool {
    let octets = line.as_bytes();
    octets.windows(4).any(|four| {
        four[0].is_ascii_digit()
            && matches!(four[1], b':' | b'.')
            && four[2].is_ascii_digit()
            && four[3].is_ascii_digit()
    })
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
    use super::{own_words, trim};

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

    #[test]
    fn a_copy_begins_with_a_header_in_any_language() {
        let outlook = "Yes.\n\n________________________________\nFrom: News <s@x.example>\nSent: Tuesday, 24 November 2026 09:41\n\
            To: Ana\nSubject: Re: Hello\n\nReally?";
        check(outlook, "Yes.", outlook.split_once("\n\n").unwrap().1);
        for header in [
            "Von: News <s@x.example>\nGesendet: Dienstag, 24. November 2026 09:41\nAn: Ana\nBetreff: Hallo",
            "*De :* News\n*Envoyé :* mardi 24 novembre 2026 09:41\n*À :* Ana\n*Objet :* Bonjour",
            "差出人: News\n送信日時: 2026年11月24日 9:41\n宛先: Ana\n件名: 何",
        ] {
            check(&format!("Yes.\n\n{header}\n\nReally?"), "Yes.", &format!("{header}\n\nReally?"));
        }
        let forward = "Look\n\n---------- Forwarded message ---------\nFrom: X <x@y.example>\nDate: Tue, 24 Nov 2026 at 09:41\n\
            Subject: S\nTo: Y\n\nReally?";
        check(forward, forward, "");
        let list = "It was so:\nDevice: phone\nSystem: 12\nTime: 09:41";
        check(list, list, "");
    }

    #[test]
    fn what_a_telephone_adds_is_folded() {
        check("Yes.\n\nSent from my iPhone", "Yes.", "Sent from my iPhone");
        check(
            "Ja.\n\nVon meinem iPhone gesendet\n\n> Am 1. schrieb X:\n> a",
            "Ja.",
            "Von meinem iPhone gesendet\n\n> Am 1. schrieb X:\n> a",
        );
        check("Sent from my heart", "Sent from my heart", "");
    }

    const ABOVE: &str = "Write your answer above this line";

    #[test]
    fn own_words_are_what_the_writer_wrote() {
        let quote = format!("> --- {ABOVE} ---\n> Plan: Yearly\n> | Does it fit?\n");
        for text in [
            format!(
                "Hello,\n\nyes.\n\nMira\n\nOn 24 Nov 2026, at 09:41, Support <s+t@x.example> wrote:\n\n{quote}"
            ),
            format!("Hello,\n\nyes.\n\nMira\n-- \nMira Stein\n+00 555 0100\n\nOn 1 May X wrote:\n{quote}"),
            format!(
                "Hello,\n\nyes.\n\nMira\n\nVon: S\nGesendet: 09:41\nAn: M\nBetreff: x\n\n--- {ABOVE} ---\nPlan: Yearly"
            ),
            format!("Hello,\n\nyes.\n\nMira\n\nX schrieb am 1. Mai:\n\n--- {ABOVE} ---\nPlan: Yearly"),
            format!("Hello,\n\nyes.\n\nMira\n--\nMira Stein\n{quote}"),
            format!("Hello,\n\nyes.\n\nMira\n\nSent from my iPhone\n\n> On 1 May X wrote:\n{quote}"),
            format!("Hello,\n\nyes.\n\nMira\n> -- \n> Mira Stein\n> \nOn 1 May X wrote:\n{quote}"),
        ] {
            let own = own_words(&text, ABOVE, &[]);
            assert_eq!((own.words.as_str(), own.doubt), ("Hello,\n\nyes.\n\nMira", None), "{text}");
        }
        let below = own_words("On 1 May X wrote:\n> a\n\nYes.\n-- \nMira Stein", ABOVE, &[]).words;
        assert_eq!(below, "> a\n\nYes.", "what it is about may have to stay");
        assert_eq!(own_words("    code\n", ABOVE, &[]).words, "    code");
        let signature = ["Mira Stein".to_owned(), "Support".to_owned()];
        assert_eq!(own_words("Yes.\n\nMira Stein\nSupport\n", ABOVE, &signature).words, "Yes.");
        assert_eq!(own_words("Run this:\n> -- \n> Mira", ABOVE, &[]).words, "Run this:");
    }

    #[test]
    fn own_words_may_be_none() {
        for text in [
            format!("X wrote:\n> a\n> {ABOVE}"),
            format!("--- {ABOVE} ---\nPlan"),
            "-- \nMira".into(),
            String::new(),
        ] {
            assert_eq!(own_words(&text, ABOVE, &[]).words, "", "{text}");
        }
    }

    #[test]
    fn answers_between_quotes_keep_them() {
        let text = "X wrote:\n> Plan: Yearly\n> Which?\n\nThis one.\n\n> And so?\nYes.\n> Bye\n-- \nMira";
        assert_eq!(
            own_words(text, ABOVE, &[]).words,
            "> Plan: Yearly\n> Which?\n\nThis one.\n\n> And so?\nYes."
        );
    }

    #[test]
    fn nothing_is_cut_silently_where_no_mail_of_ours_follows() {
        let words = "Hello Ana,\n\nplease enter this:\n\nAccount: ana@x.example\nServer: imap.x.example\nVersion: 2.10\n\n\
            Then restart it.";
        let header = "From: News <s@x.example>\nSent: Tuesday 09:41\nTo: M\nSubject: x";
        for text in [
            words.to_owned(),
            format!("{words}\n\nOn 1 May X wrote:\n> --- {ABOVE} ---\n> Plan"),
            format!("{words}\n\n--- {ABOVE} ---\nPlan"),
            format!("{words}\n\n-----Original Message-----\n{header}\n\n--- {ABOVE} ---\nPlan"),
        ] {
            let own = own_words(&text, ABOVE, &[]);
            assert_eq!((own.words.as_str(), own.doubt.as_deref()), (words, Some("Account: ana@x.example")));
        }
        let copied = format!("Yes.\n\n{header}\n\nReally?");
        let own = own_words(&copied, ABOVE, &[]);
        assert_eq!((own.words.as_str(), own.doubt.is_some()), (copied.as_str(), true));
        let long = format!("Run this:\n-- \n{}", vec!["select 1;"; 40].join("\n"));
        let own = own_words(&long, ABOVE, &[]);
        assert_eq!((own.words.as_str(), own.doubt.as_deref()), (long.as_str(), Some("--")));
    }
}
