//! An article as plain text: 72 columns, code indented by four, tables aligned or in groups, links written out.

use super::blocks::Surroundings;
use super::markdown::{Block, Document, Inline, Table, words};
use super::sanitise;

/// Longest line, in characters. Code and long addresses may exceed it.
pub(super) const COLUMNS: usize = 72;

/// The whole document, footnotes last, without a line end at the end.
pub(super) fn text(document: &Document, around: &Surroundings<'_>) -> String {
    let mut writer = Writer { around, figures: 0, tables: 0 };
    let mut parts = writer.blocks(&document.blocks, COLUMNS);
    if !document.notes.is_empty() {
        parts.push("----".to_owned());
    }
    for (at, note) in document.notes.iter().enumerate() {
        let mark = format!("[{}] ", at + 1);
        let body = writer.blocks(note, COLUMNS - mark.len()).join("\n\n");
        parts.push(indent(&body, &mark, "    "));
    }
    parts.join("\n\n")
}

/// Breaks `text` at blanks into lines of at most `columns` characters; a longer word stays whole.
pub(super) fn wrap(text: &str, columns: usize) -> String {
    // Deep inside of quotes nothing would be left.
    let columns = columns.max(20);
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let mut current = String::new();
        let mut length = 0;
        for word in line.split_whitespace() {
            let size = word.chars().count();
            if length > 0 && length + 1 + size > columns {
                lines.push(std::mem::take(&mut current));
                length = 0;
            }
            if length > 0 {
                current.push(' ');
                length += 1;
            }
            current.push_str(word);
            length += size;
        }
        lines.push(current);
    }
    lines.join("\n")
}

/// Puts `first` before the first line and `rest` before the others; empty lines stay empty.
pub(super) fn indent(text: &str, first: &str, rest: &str) -> String {
    let lines = text.split('\n').enumerate().map(|(at, line)| match (at, line.is_empty()) {
        (0, _) => format!("{first}{line}"),
        (_, true) => String::new(),
        (_, false) => format!("{rest}{line}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

struct Writer<'a> {
    around: &'a Surroundings<'a>,
    figures: usize,
    tables: usize,
}

impl Writer<'_> {
    fn blocks(&mut self, blocks: &[Block], columns: usize) -> Vec<String> {
        blocks.iter().map(|block| self.block(block, columns)).filter(|text| !text.trim().is_empty()).collect()
    }

    fn block(&mut self, block: &Block, columns: usize) -> String {
        match block {
            Block::Paragraph(inlines) => wrap(&self.inlines(inlines), columns),
            Block::Heading(level, inlines) => {
                let title = wrap(&self.inlines(inlines), columns);
                let longest = title.lines().map(|line| line.chars().count()).max().unwrap_or(0);
                if *level == 2 { format!("{title}\n{}", "-".repeat(longest)) } else { title }
            }
            Block::Code { name, text, .. } => {
                let code = indent(&visible(text.trim_end_matches('\n')), "    ", "    ");
                if name.is_empty() { code } else { format!("{}:\n\n{code}", visible(name)) }
            }
            Block::Figure(image) => {
                if self.around.paths.image(&image.url).is_none() {
                    return String::new();
                }
                self.figures += 1;
                let figure = wrap(&format!("[Figure {}: {}]", self.figures, visible(&image.alt)), columns);
                if image.title.is_empty() {
                    figure
                } else {
                    format!("{figure}\n{}", wrap(&visible(&image.title), columns))
                }
            }
            Block::Quote { blocks, source } => {
                let mut quote = self.blocks(blocks, columns.saturating_sub(2)).join("\n\n");
                if let Some(source) = source {
                    quote.push_str(&format!("\n\n-- {}", self.inlines(source)));
                }
                indent(&quote, "> ", "> ").replace("\n\n", "\n>\n")
            }
            Block::Callout { label, blocks } => self.boxed(label, blocks, columns),
            Block::Members { gate, blocks } => {
                let label = (self.around.label)(*gate);
                self.boxed(&label, blocks, columns)
            }
            Block::List { start, items } => self.list(*start, items, columns),
            Block::Table(table) => self.table(table, columns),
            Block::Rule => "-".repeat(columns.min(60)),
            Block::Html(raw) => wrap(visible(&sanitise::words(raw)).trim(), columns),
        }
    }

    fn boxed(&mut self, label: &str, blocks: &[Block], columns: usize) -> String {
        let body = self.blocks(blocks, columns.saturating_sub(2)).join("\n\n");
        indent(&format!("{label}\n{body}"), "| ", "| ").replace("\n\n", "\n|\n")
    }

    fn list(&mut self, start: Option<u64>, items: &[Vec<Block>], columns: usize) -> String {
        let mut out = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let mark = match start {
                Some(start) => format!("{}. ", start + at as u64),
                None => "- ".to_owned(),
            };
            let body = self.blocks(item, columns.saturating_sub(mark.len()).max(20)).join("\n\n");
            out.push(indent(&body, &mark, &" ".repeat(mark.len())));
        }
        out.join("\n")
    }

    fn table(&mut self, table: &Table, columns: usize) -> String {
        let flat = |row: &Vec<Vec<Inline>>| -> Vec<String> {
            row.iter()
                .map(|cell| self.inlines(cell).split_whitespace().collect::<Vec<_>>().join(" "))
                .collect()
        };
        let head = flat(&table.head);
        let rows: Vec<Vec<String>> = table.rows.iter().map(flat).collect();
        let caption = table.caption.as_ref().map(|caption| self.inlines(caption));
        let body = aligned(table, &head, &rows, columns).unwrap_or_else(|| groups(&head, &rows, columns));
        match caption {
            Some(caption) => {
                self.tables += 1;
                format!("{}\n\n{body}", wrap(&format!("Table {}. {caption}", self.tables), columns))
            }
            None => body,
        }
    }

    fn inlines(&self, inlines: &[Inline]) -> String {
        let mut out = String::new();
        for inline in inlines {
            match inline {
                Inline::Text(text) => out.push_str(&visible(text)),
                Inline::Code(text) => out.push_str(&format!("`{}`", visible(text))),
                Inline::Emphasis(inner) | Inline::Strong(inner) | Inline::Strike(inner) => {
                    out.push_str(&self.inlines(inner));
                }
                Inline::Link { url, words: inner, .. } => {
                    let text = self.inlines(inner);
                    let url = self.around.paths.link(url).map(visible).unwrap_or_default();
                    let same = url.is_empty() || text == url || url.strip_prefix("mailto:") == Some(&text);
                    out.push_str(&if same { text } else { format!("{text} ({url})") });
                }
                Inline::Image(image) => {
                    out.push_str(&format!("[{}]", visible(&words(&[Inline::Image(image.clone())]))))
                }
                Inline::Html(html) => {
                    let tag = html.to_ascii_lowercase();
                    out.push_str(if tag.starts_with("<br") { "\n" } else { "" });
                }
                Inline::Soft => out.push(' '),
                Inline::Hard => out.push('\n'),
                Inline::Note(number) => out.push_str(&format!("[{number}]")),
            }
        }
        out
    }
}

/// Control characters as blanks, but for line ends.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c == '\n' || !c.is_control() { c } else { ' ' }).collect()
}

fn aligned(table: &Table, head: &[String], rows: &[Vec<String>], columns: usize) -> Option<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).chain(head.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    if widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1) > columns {
        return None;
    }
    let line = |row: &[String]| {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let fill =
                " ".repeat(widths.get(column).copied().unwrap_or(0).saturating_sub(cell.chars().count()));
            if table.right.get(column) == Some(&true) {
                format!("{fill}{cell}")
            } else {
                format!("{cell}{fill}")
            }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rule = widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>().join("  ");
    let mut out = vec![line(head), rule];
    out.extend(rows.iter().map(|row| line(row)));
    Some(out.join("\n"))
}

fn groups(head: &[String], rows: &[Vec<String>], columns: usize) -> String {
    let group = |row: &Vec<String>| {
        let lines = head.iter().zip(row).map(|(key, value)| {
            let line = if key.is_empty() { value.clone() } else { format!("{key}: {value}") };
            indent(&wrap(&line, columns.saturating_sub(2)), "", "  ")
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    rows.iter().map(group).collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::paths::Paths;

    fn plain(markdown: &str) -> String {
        let around = Surroundings { paths: &Paths::default(), label: &|_| "For some".into() };
        text(&Document::parse(markdown), &around)
    }

    #[test]
    fn lines_are_at_most_72_columns() {
        let long = "word ".repeat(60);
        let text = plain(&format!("{long}\n\n- {long}\n\n> {long}\n\n> **Note:** {long}\n"));
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
    }

    #[test]
    fn a_wide_table_becomes_groups() {
        let wide = "x ".repeat(40);
        let text = plain(&format!("| Name | What |\n|---|---|\n| a | {wide} |\n| b | c |\n"));
        assert!(text.starts_with("Name: a\nWhat: x x") && text.ends_with("\n\nName: b\nWhat: c"), "{text}");
        let text = plain("| Name | N |\n|---|---|\n| a | 10 |\n| bcd | 9 |\n");
        assert_eq!(text, "Name   N\n----  --\na     10\nbcd    9");
    }

    #[test]
    fn tight_lists_keep_words_that_start_with_markup() {
        let text = plain("1. **a** b\n2. `c`\n   - *d*\n\nend\n");
        assert_eq!(text, "1. a b\n2. `c`\n\n   - d\n\nend");
    }
}
