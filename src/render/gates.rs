//! Gates: which parts of an article only some tiers get.
//!
//! `<!-- more -->` ends what a teaser tier gets; `<!-- only: yearly, lifetime -->` and `<!-- /only -->` enclose a part for
//! the named tiers. They are read from the Markdown before anything is sanitised or rendered, and they fail closed: a
//! gate must stand alone at the start of a top-level line, in exactly this spelling. Whatever else looks like one is an
//! error: odd case or spacing, a missing dash, in a paragraph, list, quote or HTML, an unknown tier, a close misspelling.
//!
//! Inside code a gate is text. But a forgotten closing fence would turn a real gate into code and so open it, hence a gate
//! at the start of a line of code is an error as soon as any fence of the article is unclosed or contains another fence,
//! and always in code made by indentation.
//!
//! The cut replaces gated lines by blanks of the same length, so offsets and line numbers stay those of the file, and
//! nothing of a gated part (link definitions, footnotes, headings) is left for Markdown to find.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, Tag};

use super::markdown;
use crate::domain::problem::{Position, Problem};
use crate::domain::publication::{ArticleAccess, Tier, TierId};

const HINT: &str = "write <!-- more -->, <!-- only: TIER, TIER --> or <!-- /only -->, alone at the start of a line outside \
                    of lists, quotes and HTML";

/// The gates of one article, valid by construction. Offsets are bytes of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gates {
    /// The line of `<!-- more -->`.
    more: Option<Range<usize>>,
    only: Vec<Only>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Only {
    /// From the start of the opening line to the end of the closing one.
    range: Range<usize>,
    tiers: Vec<TierId>,
}

impl Gates {
    /// Reads the gates of `text` behind `body`, where the front matter ends. All problems at once.
    pub fn read(file: &str, text: &str, body: usize, tiers: &[TierId]) -> Result<Gates, Vec<Problem>> {
        let source = blank(text, std::iter::once(0..body));
        let places = Places::of(&source);
        let mut reader =
            Reader { file, text: &source, tiers, problems: Vec::new(), gates: Gates::default(), open: None };
        for found in suspects(&source, tiers) {
            reader.suspect(&found, &places);
        }
        if let Some(open) = reader.open.take() {
            reader.wrong(open.range.start, "only", "is never closed", "end the part with <!-- /only -->");
        }
        if reader.problems.is_empty() { Ok(reader.gates) } else { Err(reader.problems) }
    }

    /// Whether `tier` gets less than the whole because of `<!-- more -->`.
    pub fn cuts_off(&self, tier: &Tier) -> bool {
        tier.articles == ArticleAccess::Teaser && self.more.is_some()
    }

    /// The Markdown that `tier` is entitled to, of the same length as `text` (the whole file, front matter blanked).
    pub fn cut(&self, text: &str, tier: &Tier) -> String {
        let mut hidden: Vec<Range<usize>> = self.more.iter().cloned().collect();
        if self.cuts_off(tier) {
            hidden = self.more.iter().map(|more| more.start..text.len()).collect();
        }
        hidden.extend(
            self.only.iter().filter(|only| !only.tiers.contains(&tier.id)).map(|only| only.range.clone()),
        );
        blank(text, hidden)
    }

    /// The tiers of the gate whose opening line contains `offset`, for the label of the part.
    pub(super) fn opened_at(&self, offset: usize) -> Option<&[TierId]> {
        self.only.iter().find(|only| only.range.start == offset).map(|only| only.tiers.as_slice())
    }
}

/// `text` with every character of `ranges` but line ends replaced by blanks.
pub(super) fn blank(text: &str, ranges: impl IntoIterator<Item = Range<usize>>) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for range in ranges {
        for byte in &mut bytes[range] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    }
    // Ranges end at line ends or at the end of the text, so no character is cut in two.
    String::from_utf8(bytes).expect("whole lines were replaced by ASCII blanks")
}

/// What a line says, if it is a gate in its one right spelling.
#[derive(Debug, PartialEq, Eq)]
enum Gate<'a> {
    More,
    /// The names as written, with their offsets in the line.
    Only(Vec<(usize, &'a str)>),
    End,
}

fn parse(line: &str) -> Option<Gate<'_>> {
    let inner = line.trim_end().strip_prefix("<!-- ")?.strip_suffix(" -->")?;
    match inner {
        "more" => return Some(Gate::More),
        "/only" => return Some(Gate::End),
        _ => {}
    }
    let list = inner.strip_prefix("only:")?;
    let mut at = "<!-- only:".len();
    let mut names = Vec::new();
    for part in list.split(',') {
        let name = part.trim();
        names.push((at + (part.len() - part.trim_start().len()), name));
        at += part.len() + 1;
    }
    names
        .iter()
        .all(|(_, name)| !name.is_empty() && !name.contains(char::is_whitespace))
        .then_some(Gate::Only(names))
}

/// Something that may be meant as a gate.
struct Suspect {
    at: usize,
    /// It does not even start with the right word.
    misspelt: bool,
}

/// Everything that looks like the start of a comment and is, or nearly is, `more`, `only` or `/only`.
fn suspects(text: &str, tiers: &[TierId]) -> Vec<Suspect> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices('<') {
        let rest = text[at + 1..].trim_start_matches([' ', '\t']);
        let inner = rest.trim_start_matches(|c: char| c == '!' || dash(c) || c.is_whitespace());
        let opener = &rest[..rest.len() - inner.len()];
        if !opener.contains(|c: char| c == '!' || dash(c)) {
            continue;
        }
        let closing = inner.starts_with('/');
        let inner = inner.trim_start_matches(|c: char| c == '/' || c.is_whitespace());
        let word: String =
            inner.chars().take_while(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
        if word.starts_with("more") || word.starts_with("only") {
            found.push(Suspect { at, misspelt: false });
        } else if opener.starts_with("!--")
            && (closing || near(&word) || names_tiers(inner, tiers) || speaks_of_gates(inner))
        {
            found.push(Suspect { at, misspelt: true });
        }
    }
    found
}

/// Whether a comment holds one of the words, seen as a person sees it: without letters that do not show, and with letters of other
/// alphabets that look the same. A pasted zero-width blank must not open a gate; `read more` may be meant as one.
fn speaks_of_gates(inner: &str) -> bool {
    let end = inner.find("-->").unwrap_or(inner.len());
    let seen: String = inner[..end].chars().filter(|c| !is_invisible(*c)).map(as_it_looks).collect();
    let words = seen.split(|c: char| !c.is_alphanumeric());
    let closed_up: String = seen.chars().filter(|c| c.is_alphanumeric()).collect();
    ["more", "only"]
        .into_iter()
        .any(|gate| closed_up.starts_with(gate) || words.clone().any(|word| word == gate))
}

/// Unicode's format characters that take no room.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{34F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

/// Cyrillic, Greek and full-width letters as the Latin ones that they look like, in lower case.
fn as_it_looks(c: char) -> char {
    match c {
        '\u{43C}' | '\u{41C}' | '\u{39C}' => 'm',
        '\u{43E}' | '\u{41E}' | '\u{3BF}' | '\u{39F}' | '0' => 'o',
        '\u{433}' => 'r',
        '\u{435}' | '\u{415}' | '\u{451}' | '\u{395}' => 'e',
        '\u{443}' | '\u{423}' | '\u{3C5}' | '\u{3A5}' => 'y',
        '\u{39D}' => 'n',
        '\u{FF21}'..='\u{FF5A}' => {
            char::from_u32(c as u32 - 0xFEE0).map_or(c, |plain| plain.to_ascii_lowercase())
        }
        _ => c.to_lowercase().next().unwrap_or(c),
    }
}

fn dash(c: char) -> bool {
    c == '-' || ('\u{2010}'..='\u{2015}').contains(&c) || c == '\u{2212}'
}

/// One letter too many, too few, or two exchanged. A replaced letter counts for `only` alone: `more` has too many
/// neighbours that are words (`move`, `mode`).
fn near(word: &str) -> bool {
    ["more", "only"].into_iter().any(|right| {
        let (mut left, mut letters): (Vec<char>, Vec<char>) =
            (word.chars().collect(), right.chars().collect());
        let replaced =
            left.len() == letters.len() && left.iter().zip(&letters).filter(|(a, b)| a != b).count() == 1;
        let shorter = |long: &[char], short: &[char]| {
            (0..long.len()).any(|skip| {
                let kept = long.iter().enumerate().filter(|(at, _)| *at != skip).map(|(_, c)| c);
                kept.eq(short.iter())
            })
        };
        if (replaced && right == "only") || shorter(&left, &letters) || shorter(&letters, &left) {
            return true;
        }
        left.sort_unstable();
        letters.sort_unstable();
        left == letters
    })
}

/// `anything: yearly, lifetime -->`.
fn names_tiers(inner: &str, tiers: &[TierId]) -> bool {
    let comment = inner.split("-->").next().unwrap_or_default();
    let Some((_, list)) = comment.split_once(':') else { return false };
    list.split(',').all(|name| tiers.iter().any(|tier| tier.as_str() == name.trim()))
}

/// Where Markdown sees code and HTML.
#[derive(Default)]
struct Places {
    /// HTML blocks that stand in nothing else.
    html: Vec<Range<usize>>,
    inline_code: Vec<Range<usize>>,
    fenced: Vec<Range<usize>>,
    indented: Vec<Range<usize>>,
    /// A fence is unclosed or contains another one.
    doubtful: bool,
}

impl Places {
    fn of(text: &str) -> Places {
        let mut places = Places::default();
        let mut depth = 0_usize;
        for (event, range) in markdown::parser(text).into_offset_iter() {
            match event {
                Event::Start(tag) => {
                    match tag {
                        Tag::HtmlBlock if depth == 0 => places.html.push(range),
                        Tag::CodeBlock(CodeBlockKind::Indented) => places.indented.push(range),
                        Tag::CodeBlock(CodeBlockKind::Fenced(_)) => {
                            places.doubtful |= doubtful(&text[range.clone()]);
                            places.fenced.push(range);
                        }
                        _ => {}
                    }
                    depth += 1;
                }
                Event::End(_) => depth -= 1,
                Event::Code(_) => places.inline_code.push(range),
                _ => {}
            }
        }
        places
    }
}

/// Whether a fenced block, fences included, may be the result of a forgotten closing fence.
fn doubtful(block: &str) -> bool {
    let fence =
        |line: &str| line.trim_start_matches([' ', '>']).starts_with(['`', '~']) && fence_length(line) >= 3;
    let lines: Vec<&str> = block.trim_end().lines().collect();
    let closed = lines.len() > 1 && lines.last().is_some_and(|line| fence(line));
    let inner = lines.get(1..lines.len().saturating_sub(1)).unwrap_or_default();
    !closed || inner.iter().any(|line| fence(line))
}

fn fence_length(line: &str) -> usize {
    let line = line.trim_start_matches([' ', '>']);
    let first = line.chars().next();
    line.chars().take_while(|c| Some(*c) == first).count()
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    tiers: &'a [TierId],
    problems: Vec<Problem>,
    gates: Gates,
    open: Option<Only>,
}

impl Reader<'_> {
    fn wrong(&mut self, at: usize, key: &str, what: &str, hint: &str) {
        self.problems.push(Problem::error(self.file, Position::of(self.text, at), key, what, hint));
    }

    fn suspect(&mut self, found: &Suspect, places: &Places) {
        let at = found.at;
        let within = |ranges: &[Range<usize>]| ranges.iter().find(|range| range.contains(&at)).cloned();
        let line = self.line(at);
        let leads = self.text[line.start..at].trim().is_empty();
        if within(&places.inline_code).is_some()
            || (within(&places.fenced).is_some() && !(leads && places.doubtful))
        {
            return;
        }
        if within(&places.fenced).is_some() {
            let hint = "close every code block; or start the line with a letter if it is meant to be read";
            return self.wrong(at, "gate", "stands in a code block whose fences do not pair up", hint);
        }
        if within(&places.indented).is_some() {
            if leads {
                let hint = "start the gate at the first column, or show it in a fenced block";
                self.wrong(at, "gate", "is indented and so only code", hint);
            }
            return;
        }
        if found.misspelt {
            return self.wrong(at, "gate", "looks like a misspelt gate", HINT);
        }
        let written = self.text[line.clone()].to_owned();
        let Some(gate) = parse(&written).filter(|_| at == line.start) else {
            let what = if leads { "is not a valid gate" } else { "does not stand alone on its line" };
            return self.wrong(at, "gate", what, HINT);
        };
        let block = within(&places.html).unwrap_or(at..at);
        if block.is_empty() || !self.text[block].trim_end().lines().all(|line| parse(line).is_some()) {
            return self.wrong(at, "gate", "stands inside of something else", HINT);
        }
        self.gate(gate, line);
    }

    fn gate(&mut self, gate: Gate<'_>, line: Range<usize>) {
        match (gate, self.open.take()) {
            (Gate::More, None) if self.gates.more.is_none() => self.gates.more = Some(line),
            (Gate::More, None) => self.wrong(line.start, "more", "is here a second time", "keep one"),
            (Gate::More, Some(open)) => {
                let hint = "end the part for some tiers before <!-- more --> and open it again behind it";
                self.wrong(line.start, "more", "stands inside of an only part", hint);
                self.open = Some(open);
            }
            (Gate::Only(names), None) => self.open = Some(self.opened(&names, line)),
            (Gate::Only(_), Some(open)) => {
                let from = Position::of(self.text, open.range.start).line;
                let what = format!("stands inside of the only part of line {from}");
                self.wrong(line.start, "only", &what, "end that one first with <!-- /only -->");
                self.open = Some(open);
            }
            (Gate::End, Some(open)) => {
                self.gates.only.push(Only { range: open.range.start..line.end, tiers: open.tiers });
            }
            (Gate::End, None) => {
                self.wrong(line.start, "/only", "ends nothing", "open the part with <!-- only: TIER -->");
            }
        }
    }

    fn opened(&mut self, names: &[(usize, &str)], line: Range<usize>) -> Only {
        let known = self.tiers.iter().map(TierId::as_str).collect::<Vec<_>>().join(", ");
        for (column, name) in names {
            if !self.tiers.iter().any(|tier| tier.as_str() == *name) {
                let what = format!("there is no tier \"{name}\"");
                self.wrong(line.start + column, "only", &what, &format!("the tiers are {known}"));
            }
        }
        Only { range: line, tiers: names.iter().map(|(_, name)| TierId::from(*name)).collect() }
    }

    /// The line around an offset, without its end.
    fn line(&self, at: usize) -> Range<usize> {
        let start = self.text[..at].rfind('\n').map_or(0, |end| end + 1);
        let end = self.text[at..].find('\n').map_or(self.text.len(), |end| at + end);
        start..end
    }
}
