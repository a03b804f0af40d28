//! Markdown to a small tree that the HTML and the text renderer share. CommonMark with tables, footnotes and strike-through.
//!
//! Beyond CommonMark: an image alone in a paragraph is a figure, a quote that starts with **Note**, **Check this** or
//! **Careful** is a callout, a quote's last paragraph that starts with a dash is its source, a paragraph `Table: words`
//! before a table is its caption, and the lines of an `only` gate enclose a members' part.

use std::collections::BTreeSet;
use std::ops::Range;

use pulldown_cmark::{Alignment, CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// The one set of options: gates are found with the same grammar that renders.
pub(super) fn parser(text: &str) -> Parser<'_> {
    Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_STRIKETHROUGH)
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Block {
    Paragraph(Vec<Inline>),
    Heading(u8, Vec<Inline>),
    Code {
        language: String,
        name: String,
        text: String,
    },
    Figure(Image),
    Quote {
        blocks: Vec<Block>,
        source: Option<Vec<Inline>>,
    },
    Callout {
        label: String,
        blocks: Vec<Block>,
    },
    List {
        start: Option<u64>,
        items: Vec<Vec<Block>>,
    },
    Table(Table),
    Rule,
    Html(String),
    /// A part for some tiers; the offset of its gate.
    Members {
        gate: usize,
        blocks: Vec<Block>,
    },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table {
    pub caption: Option<Vec<Inline>>,
    pub right: Vec<bool>,
    pub head: Vec<Vec<Inline>>,
    pub rows: Vec<Vec<Vec<Inline>>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Image {
    pub url: String,
    pub alt: String,
    pub title: String,
    pub at: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Inline {
    Text(String),
    Code(String),
    Emphasis(Vec<Inline>),
    Strong(Vec<Inline>),
    Strike(Vec<Inline>),
    Link {
        url: String,
        words: Vec<Inline>,
        at: usize,
    },
    Image(Image),
    Html(String),
    Soft,
    Hard,
    /// The number of a footnote, from 1.
    Note(usize),
}

/// A document: its blocks, and its footnotes in order of first use.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Document {
    pub blocks: Vec<Block>,
    pub notes: Vec<Vec<Block>>,
}

impl Document {
    pub fn parse(text: &str) -> Document {
        let mut builder = Builder {
            events: parser(text).into_offset_iter().collect(),
            at: 0,
            names: vec![],
            notes: vec![],
        };
        let blocks = builder.blocks();
        let mut notes = Vec::new();
        for name in &builder.names {
            let found = builder.notes.iter().find(|(defined, _)| defined == name);
            notes.push(found.map(|(_, blocks)| blocks.clone()).unwrap_or_default());
        }
        Document { blocks, notes }
    }
}

/// Deeper than any text that one can read; a tree of this depth is far from exhausting a stack.
const DEPTH_MAX: usize = 40;

/// Where a text is nested too deeply to be built into a tree.
pub(super) fn too_deep(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (event, range) in parser(text).into_offset_iter() {
        match event {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Some(range.start);
        }
    }
    None
}

/// The offsets of everything that depends on a definition elsewhere: reference links, images and footnotes.
pub(super) fn references(text: &str) -> BTreeSet<usize> {
    parser(text)
        .into_offset_iter()
        .filter(|(event, _)| {
            matches!(event, Event::FootnoteReference(_) | Event::Start(Tag::Link { .. } | Tag::Image { .. }))
        })
        .map(|(_, range)| range.start)
        .collect()
}

/// The raw HTML: whole blocks (`true`), and single tags among words.
pub(super) fn raw_html(text: &str) -> Vec<(Range<usize>, bool)> {
    let html = |(event, range)| match event {
        Event::Start(Tag::HtmlBlock) => Some((range, true)),
        Event::InlineHtml(_) => Some((range, false)),
        _ => None,
    };
    parser(text).into_offset_iter().filter_map(html).collect()
}

/// Where words, but for code, look like a place holder that another system would fill: `{{name}}`, `*|FNAME|*`.
pub(super) fn place_holders(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (event, range) in parser(text).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(_)) => in_code = true,
            Event::End(TagEnd::CodeBlock) => in_code = false,
            // Most of those with stars are emphasis to CommonMark.
            Event::Start(Tag::Emphasis) if text[range.start..].starts_with("*|") => found.push(range.start),
            Event::Text(_) if !in_code => {
                // A text ends at any mark, also within what is looked for.
                let starts = |at: &usize| text[*at..].starts_with("{{") || text[*at..].starts_with("*|");
                let places = (range.start..range.end).filter(|at| text.is_char_boundary(*at));
                found.extend(places.filter(starts));
            }
            _ => {}
        }
    }
    found
}

/// The words without any markup, for alt texts and labels.
pub(super) fn words(inlines: &[Inline]) -> String {
    let mut out = String::new();
    for inline in inlines {
        match inline {
            Inline::Text(text) | Inline::Code(text) => out.push_str(text),
            Inline::Emphasis(inner) | Inline::Strong(inner) | Inline::Strike(inner) => {
                out.push_str(&words(inner))
            }
            Inline::Link { words: inner, .. } => out.push_str(&words(inner)),
            Inline::Image(image) => out.push_str(&image.alt),
            Inline::Soft | Inline::Hard => out.push(' '),
            Inline::Html(_) | Inline::Note(_) => {}
        }
    }
    out
}

struct Builder<'a> {
    events: Vec<(Event<'a>, Range<usize>)>,
    at: usize,
    /// Footnotes in order of first use.
    names: Vec<String>,
    notes: Vec<(String, Vec<Block>)>,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Option<(Event<'a>, Range<usize>)> {
        let event = self.events.get(self.at).cloned();
        self.at += 1;
        event
    }

    /// Blocks up to the end of the enclosing one, which is consumed.
    fn blocks(&mut self) -> Vec<Block> {
        let mut stack: Vec<(usize, Vec<Block>)> = vec![(0, Vec::new())];
        while let Some((event, range)) = self.next() {
            let top = stack.len() - 1;
            let blocks = &mut stack[top].1;
            match event {
                Event::End(_) => break,
                Event::Rule => blocks.push(Block::Rule),
                Event::Start(Tag::HtmlBlock) => {
                    for block in self.html(range.start) {
                        gate_or_html(block, &mut stack);
                    }
                }
                Event::Start(tag) if !inline_end(tag.to_end()) => {
                    let block = self.block(tag, blocks);
                    blocks.extend(block);
                }
                // A tight list's item holds its words directly.
                _ => {
                    self.at -= 1;
                    let words = self.inlines(true);
                    blocks.push(Block::Paragraph(words));
                }
            }
        }
        while stack.len() > 1 {
            // Gates are checked before: an open part at the end cannot be. Closing it is right all the same.
            let (gate, blocks) = stack.pop().unwrap_or_default();
            stack.last_mut().expect("the outermost level stays").1.push(Block::Members { gate, blocks });
        }
        stack.pop().map(|(_, blocks)| blocks).unwrap_or_default()
    }

    fn block(&mut self, tag: Tag<'a>, before: &mut Vec<Block>) -> Option<Block> {
        Some(match tag {
            Tag::Paragraph => {
                let inlines = self.inlines(false);
                match <[Inline; 1]>::try_from(inlines) {
                    Ok([Inline::Image(image)]) => Block::Figure(image),
                    Ok(one) => Block::Paragraph(one.into()),
                    Err(inlines) => Block::Paragraph(inlines),
                }
            }
            Tag::Heading { level, .. } => {
                // The title is the one h1 of an article.
                let level = if matches!(level, HeadingLevel::H1 | HeadingLevel::H2) { 2 } else { 3 };
                Block::Heading(level, self.inlines(false))
            }
            Tag::CodeBlock(kind) => self.code(&kind),
            Tag::BlockQuote(_) => quote(self.blocks()),
            Tag::List(start) => {
                let mut items = Vec::new();
                while let Some((Event::Start(Tag::Item), _)) = self.next() {
                    items.push(self.blocks());
                }
                Block::List { start, items }
            }
            Tag::Table(alignments) => {
                let caption = caption(before);
                Block::Table(self.table(&alignments, caption))
            }
            Tag::FootnoteDefinition(name) => {
                let blocks = self.blocks();
                self.notes.push((name.to_string(), blocks));
                return None;
            }
            // No other block is enabled; what it holds is kept.
            _ => {
                before.extend(self.blocks());
                return None;
            }
        })
    }

    fn code(&mut self, kind: &CodeBlockKind<'a>) -> Block {
        let mut text = String::new();
        while let Some((Event::Text(part), _)) = self.next() {
            text.push_str(&part);
        }
        let fence = match kind {
            CodeBlockKind::Fenced(words) => words.trim(),
            CodeBlockKind::Indented => "",
        };
        let (language, name) = fence.split_once(char::is_whitespace).unwrap_or((fence, ""));
        Block::Code { language: language.to_owned(), name: name.trim().to_owned(), text }
    }

    /// The HTML of one block, line by line where it consists of gates.
    fn html(&mut self, start: usize) -> Vec<(usize, String)> {
        let mut parts = Vec::new();
        let mut at = start;
        while let Some((event, range)) = self.next() {
            match event {
                Event::Html(text) | Event::Text(text) => {
                    at = range.start;
                    parts.push((at, text.to_string()));
                }
                _ => break,
            }
        }
        if parts.iter().any(|(_, text)| !text.trim_start().starts_with("<!-- ")) {
            return vec![(at, parts.into_iter().map(|(_, text)| text).collect())];
        }
        parts
    }

    /// Inlines up to the end of the enclosing block, or (`bare`) up to the next block.
    fn inlines(&mut self, bare: bool) -> Vec<Inline> {
        let mut out = Vec::new();
        while let Some((event, range)) = self.next() {
            match event {
                Event::End(end) if bare && !inline_end(end) => {
                    self.at -= 1;
                    break;
                }
                Event::End(_) => break,
                Event::Text(text) => match out.last_mut() {
                    Some(Inline::Text(before)) => before.push_str(&text),
                    _ => out.push(Inline::Text(text.to_string())),
                },
                Event::Code(text) => out.push(Inline::Code(text.to_string())),
                Event::SoftBreak => out.push(Inline::Soft),
                Event::HardBreak => out.push(Inline::Hard),
                Event::InlineHtml(html) | Event::Html(html) => out.push(Inline::Html(html.to_string())),
                Event::FootnoteReference(name) => out.push(Inline::Note(self.note(&name))),
                Event::Start(Tag::Emphasis) => out.push(Inline::Emphasis(self.inlines(false))),
                Event::Start(Tag::Strong) => out.push(Inline::Strong(self.inlines(false))),
                Event::Start(Tag::Strikethrough) => out.push(Inline::Strike(self.inlines(false))),
                Event::Start(Tag::Link { dest_url, link_type, .. }) => {
                    let mail = link_type == pulldown_cmark::LinkType::Email;
                    let url = if mail { format!("mailto:{dest_url}") } else { dest_url.to_string() };
                    out.push(Inline::Link { url, words: self.inlines(false), at: range.start });
                }
                Event::Start(Tag::Image { dest_url, title, .. }) => {
                    let alt = words(&self.inlines(false));
                    let (url, title) = (dest_url.to_string(), title.to_string());
                    out.push(Inline::Image(Image { url, alt, title, at: range.start }));
                }
                Event::Start(_) | Event::Rule => {
                    self.at -= 1;
                    break;
                }
                _ => {}
            }
        }
        out
    }

    fn note(&mut self, name: &str) -> usize {
        let known = self.names.iter().position(|known| known == name);
        known.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        }) + 1
    }

    fn table(&mut self, alignments: &[Alignment], caption: Option<Vec<Inline>>) -> Table {
        let mut table = Table { caption, ..Table::default() };
        let mut row = Vec::new();
        while let Some((event, _)) = self.next() {
            match event {
                Event::Start(Tag::TableCell) => row.push(self.inlines(false)),
                Event::End(TagEnd::TableHead) => table.head = std::mem::take(&mut row),
                Event::End(TagEnd::TableRow) => table.rows.push(std::mem::take(&mut row)),
                Event::End(TagEnd::Table) => break,
                _ => {}
            }
        }
        let numeric = |column: usize| {
            let cells = table.rows.iter().filter_map(|row| row.get(column));
            column > 0 && !table.rows.is_empty() && cells.into_iter().all(|cell| number(&words(cell)))
        };
        table.right = (0..table.head.len())
            .map(|column| match alignments.get(column) {
                Some(Alignment::Right) => true,
                None | Some(Alignment::None) => numeric(column),
                Some(Alignment::Left | Alignment::Center) => false,
            })
            .collect();
        table
    }
}

fn inline_end(end: TagEnd) -> bool {
    matches!(end, TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough | TagEnd::Link | TagEnd::Image)
}

/// Opens or closes a members' part, or keeps a block of HTML.
fn gate_or_html((at, html): (usize, String), stack: &mut Vec<(usize, Vec<Block>)>) {
    let line = html.trim();
    if line.starts_with("<!-- only:") {
        stack.push((at, Vec::new()));
    } else if line == "<!-- /only -->" && stack.len() > 1 {
        let (gate, blocks) = stack.pop().unwrap_or_default();
        stack.last_mut().expect("a part lies within something").1.push(Block::Members { gate, blocks });
    } else if line != "<!-- more -->" {
        stack.last_mut().expect("the outermost level stays").1.push(Block::Html(html));
    }
}

/// Short and starting with a digit, a sign or a currency.
fn number(cell: &str) -> bool {
    let cell = cell.trim();
    cell.chars().count() <= 12
        && cell
            .trim_start_matches(['+', '-', '\u{2212}', '$', '\u{20ac}', '~'])
            .starts_with(|c: char| c.is_ascii_digit())
}

fn caption(before: &mut Vec<Block>) -> Option<Vec<Inline>> {
    let Some(Block::Paragraph(inlines)) = before.last() else { return None };
    let Some(Inline::Text(first)) = inlines.first() else { return None };
    let rest = first.strip_prefix("Table:")?.trim_start().to_owned();
    let mut caption = inlines.clone();
    caption[0] = Inline::Text(rest);
    before.pop();
    Some(caption)
}

fn quote(mut blocks: Vec<Block>) -> Block {
    if let Some(label) = callout(&mut blocks) {
        return Block::Callout { label, blocks };
    }
    let source = match blocks.last() {
        Some(Block::Paragraph(inlines)) if blocks.len() > 1 => match inlines.first() {
            Some(Inline::Text(text)) => {
                text.strip_prefix(['\u{2014}', '\u{2013}']).or(text.strip_prefix("-- ")).map(|rest| {
                    let mut source = inlines.clone();
                    source[0] = Inline::Text(rest.trim_start().to_owned());
                    source
                })
            }
            _ => None,
        },
        _ => None,
    };
    if source.is_some() {
        blocks.pop();
    }
    Block::Quote { blocks, source }
}

/// Takes the label off a callout's first paragraph.
fn callout(blocks: &mut Vec<Block>) -> Option<String> {
    let Some(Block::Paragraph(inlines)) = blocks.first_mut() else { return None };
    let Some(Inline::Strong(strong)) = inlines.first() else { return None };
    let label = words(strong).trim_end_matches(['.', ':']).to_owned();
    if !["Note", "Check this", "Careful"].contains(&label.as_str()) {
        return None;
    }
    inlines.remove(0);
    if matches!(inlines.first(), Some(Inline::Soft | Inline::Hard)) {
        inlines.remove(0);
    }
    if let Some(Inline::Text(text)) = inlines.first_mut() {
        *text = text.trim_start_matches([':', '.', ' ']).to_owned();
    }
    if inlines.is_empty() {
        blocks.remove(0);
    }
    Some(label)
}
