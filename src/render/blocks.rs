//! The blocks of an article as HTML for mails: every style inline, every colour with its class for dark schemes.

use std::fmt::Write;

use super::code;
use super::markdown::{Block, Document, Image, Inline, Table};
use super::paths::Paths;
use super::sanitise;
use crate::domain::body::escape_html;

pub(super) const SERIF: &str = "Georgia, 'Times New Roman', serif";
pub(super) const SANS: &str = "'Segoe UI', -apple-system, BlinkMacSystemFont, Helvetica, Arial, sans-serif";
pub(super) const MONO: &str =
    "Consolas, Menlo, 'DejaVu Sans Mono', 'Liberation Mono', 'Courier New', monospace";

/// What the renderers need beside the document.
pub(super) struct Surroundings<'a> {
    pub paths: &'a Paths,
    /// The label of the members' part whose gate is at an offset.
    pub label: &'a dyn Fn(usize) -> String,
}

/// The whole document, footnotes last.
pub(super) fn html(document: &Document, around: &Surroundings<'_>) -> String {
    let mut writer = Writer { out: String::new(), around, figures: 0, tables: 0 };
    writer.blocks(&document.blocks, "0 0 20px");
    if !document.notes.is_empty() {
        writer.notes(&document.notes);
    }
    writer.out
}

struct Writer<'a> {
    out: String,
    around: &'a Surroundings<'a>,
    figures: usize,
    tables: usize,
}

impl Writer<'_> {
    /// `margin` is that of paragraphs; the last one of a box has none.
    fn blocks(&mut self, blocks: &[Block], margin: &str) {
        for (at, block) in blocks.iter().enumerate() {
            let last = at + 1 == blocks.len();
            self.block(block, if last && margin != "0 0 20px" { "0" } else { margin });
        }
    }

    fn block(&mut self, block: &Block, margin: &str) {
        match block {
            Block::Paragraph(inlines) => self.element("p", &format!("margin:{margin}"), inlines),
            Block::Heading(2, inlines) => {
                let style =
                    "margin:40px 0 12px;font-family:{};font-size:24px;line-height:30px;font-weight:700";
                self.element("h2", &style.replace("{}", SERIF), inlines);
            }
            Block::Heading(_, inlines) => {
                let style =
                    "margin:28px 0 8px;font-family:{};font-size:17px;line-height:24px;font-weight:700";
                self.element("h3", &style.replace("{}", SANS), inlines);
            }
            Block::Code { language, name, text } => code::html(language, name, text, &mut self.out),
            Block::Figure(image) => self.figure(image),
            Block::Quote { blocks, source } => self.quote(blocks, source.as_deref()),
            Block::Callout { label, blocks } => {
                self.out.push_str(&presentation("margin:0 0 28px"));
                self.out.push_str(
                    "<tr><td class=\"tint callout\" style=\"background-color:#f6f3ec;border-left:4px solid \
                     #0b5c71;border-radius:0 6px 6px 0;padding:16px 20px;font-size:17px;line-height:26px\">\n",
                );
                self.boxed(label, blocks);
            }
            Block::Members { gate, blocks } => {
                let label = (self.around.label)(*gate);
                self.out.push_str(&presentation("margin:32px 0 28px;border-collapse:separate"));
                self.out.push_str(
                    "<tr><td class=\"mark\" style=\"background-color:#e6f1f3;border-radius:6px;padding:18px \
                     20px;font-size:17px;line-height:26px\">\n",
                );
                self.boxed(&label, blocks);
            }
            Block::List { start, items } => self.list(*start, items),
            Block::Table(table) => self.table(table),
            Block::Rule => {
                self.out.push_str(&presentation("margin:32px 0"));
                self.out.push_str(
                    "<tr><td class=\"hair\" height=\"1\" style=\"border-top:1px solid \
                     #e3ded3;font-size:1px;line-height:1px\">&#160;</td></tr></table>\n",
                );
            }
            Block::Html(raw) => {
                let clean = sanitise::block(raw);
                if !clean.trim().is_empty() {
                    let _ = writeln!(self.out, "<div style=\"margin:{margin}\">{}</div>", dressed(&clean));
                }
            }
        }
    }

    fn element(&mut self, name: &str, style: &str, inlines: &[Inline]) {
        let html = self.inlines(inlines);
        let _ = writeln!(self.out, "<{name} style=\"{style}\">{html}</{name}>");
    }

    /// Label and content of a callout or a members' part, and the end of its table.
    fn boxed(&mut self, label: &str, blocks: &[Block]) {
        let _ = write!(
            self.out,
            "<p class=\"accent\" style=\"margin:0 0 4px;font-family:{SANS};font-size:13px;line-height:20px;\
             font-weight:700;color:#0b5c71\">"
        );
        escape_html(label, &mut self.out);
        self.out.push_str("</p>\n");
        self.blocks(blocks, "0 0 12px");
        self.out.push_str("</td></tr></table>\n");
    }

    fn quote(&mut self, blocks: &[Block], source: Option<&[Inline]>) {
        self.out.push_str(&presentation("margin:32px 0"));
        self.out.push_str(
            "<tr><td class=\"quote\" style=\"border-left:3px solid #8a8578;padding:2px 0 2px 20px\">\n",
        );
        for (at, block) in blocks.iter().enumerate() {
            match block {
                Block::Paragraph(inlines) => {
                    let margin = if at + 1 == blocks.len() && source.is_none() { "0" } else { "0 0 8px" };
                    let style = format!(
                        "margin:{margin};font-family:{SERIF};font-size:21px;line-height:30px;font-style:italic"
                    );
                    self.element("p", &style, inlines);
                }
                other => self.block(other, "0 0 12px"),
            }
        }
        if let Some(source) = source {
            let html = self.inlines(source);
            self.soft("margin:0", &html);
        }
        self.out.push_str("</td></tr></table>\n");
    }

    /// A small soft paragraph of the machinery's voice.
    fn soft(&mut self, margin: &str, html: &str) {
        let _ = writeln!(
            self.out,
            "<p class=\"soft\" style=\"{margin};font-family:{SANS};font-size:14px;line-height:20px;color:#5b6067\">\
             {html}</p>"
        );
    }

    fn figure(&mut self, image: &Image) {
        let Some(url) = self.around.paths.image(&image.url) else { return };
        self.figures += 1;
        let caption = !image.title.is_empty();
        let mut tag = String::from("<img class=\"fig\" src=\"");
        escape_html(url, &mut tag);
        tag.push_str("\" width=\"552\" alt=\"");
        escape_html(&image.alt, &mut tag);
        let below = if caption { "0" } else { "32px" };
        let _ = writeln!(
            self.out,
            "{tag}\" style=\"display:block;width:100%;max-width:552px;height:auto;border:0;border-radius:6px;\
             margin:32px 0 {below}\" />"
        );
        if caption {
            let mut html = format!("<strong>Figure {}.</strong> ", self.figures);
            escape_html(&image.title, &mut html);
            self.soft("margin:10px 0 32px", &html);
        }
    }

    fn list(&mut self, start: Option<u64>, items: &[Vec<Block>]) {
        let (name, attribute) = match start {
            None => ("ul", String::new()),
            Some(1) => ("ol", String::new()),
            Some(start) => ("ol", format!(" start=\"{start}\"")),
        };
        let _ = writeln!(self.out, "<{name}{attribute} style=\"margin:0 0 20px;padding:0 0 0 26px\">");
        for item in items {
            self.out.push_str("<li style=\"margin:0 0 10px;padding:0 0 0 4px\">");
            match item.split_first() {
                Some((Block::Paragraph(inlines), rest)) => {
                    let html = self.inlines(inlines);
                    self.out.push_str(&html);
                    self.blocks(rest, "10px 0 0");
                }
                _ => self.blocks(item, "0 0 10px"),
            }
            self.out.push_str("</li>\n");
        }
        let _ = writeln!(self.out, "</{name}>");
    }

    fn table(&mut self, table: &Table) {
        if let Some(caption) = &table.caption {
            self.tables += 1;
            let html = format!("<strong>Table {}.</strong> {}", self.tables, self.inlines(caption));
            self.soft("margin:32px 0 4px", &html);
        }
        let margin = if table.caption.is_some() { "0 0 32px" } else { "32px 0" };
        let _ = write!(
            self.out,
            "<table class=\"ink\" width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\" style=\"margin:{margin};\
             border-collapse:collapse;word-break:normal;font-family:{SANS};font-size:15px;line-height:21px;color:#1d2125\">\n<thead><tr>"
        );
        for (column, cell) in table.head.iter().enumerate() {
            let (align, gap) = place(table, column);
            let html = self.inlines(cell);
            let whole = if align == "right" { ";white-space:nowrap" } else { "" };
            let _ = write!(
                self.out,
                "<th scope=\"col\" class=\"soft rule\" style=\"font-size:13px;line-height:18px;font-weight:600;\
                 color:#5b6067;text-align:{align};vertical-align:bottom;padding:8px {gap} 8px 0;border-bottom:2px solid \
                 #8a8578{whole}\">{html}</th>"
            );
        }
        self.out.push_str("</tr></thead>\n<tbody>\n");
        for row in &table.rows {
            self.out.push_str("<tr>");
            for (column, cell) in row.iter().enumerate() {
                self.cell(table, column, cell);
            }
            self.out.push_str("</tr>\n");
        }
        self.out.push_str("</tbody></table>\n");
    }

    fn cell(&mut self, table: &Table, column: usize, cell: &[Inline]) {
        let (align, gap) = place(table, column);
        let html = self.inlines(cell);
        let right = table.right.get(column).copied().unwrap_or_default();
        let (name, class) = match (column, right) {
            (0, _) => ("th scope=\"row\"", "hair"),
            (_, true) => ("td", "hair num"),
            (_, false) => ("td", "hair"),
        };
        let _ = write!(
            self.out,
            "<{name} class=\"{class}\" style=\"text-align:{align};vertical-align:top;padding:10px {gap} 10px 0;\
             border-bottom:1px solid #e3ded3{}\">{html}</{}>",
            match (column, right) {
                (0, _) => ";font-weight:600",
                (_, true) => ";white-space:nowrap",
                _ => "",
            },
            &name[..2],
        );
    }

    fn notes(&mut self, notes: &[Vec<Block>]) {
        self.block(&Block::Rule, "");
        for (at, blocks) in notes.iter().enumerate() {
            let (first, rest) = match blocks.split_first() {
                Some((Block::Paragraph(inlines), rest)) => (self.inlines(inlines), rest),
                _ => (String::new(), blocks.as_slice()),
            };
            self.soft("margin:0 0 8px", &format!("<strong>{}</strong>&#160; {first}", at + 1));
            self.blocks(rest, "0 0 12px");
        }
    }

    fn inlines(&self, inlines: &[Inline]) -> String {
        let mut raw = String::new();
        self.raw(inlines, &mut raw);
        dressed(&sanitise::inline(&raw))
    }

    /// Plain HTML, not yet sanitised.
    fn raw(&self, inlines: &[Inline], out: &mut String) {
        for inline in inlines {
            self.raw_one(inline, out);
        }
    }

    fn raw_in(&self, name: &str, inner: &[Inline], out: &mut String) {
        let _ = write!(out, "<{name}>");
        self.raw(inner, out);
        let _ = write!(out, "</{name}>");
    }

    fn raw_one(&self, inline: &Inline, out: &mut String) {
        match inline {
            Inline::Text(text) => escape_html(text, out),
            Inline::Code(text) => {
                out.push_str("<code>");
                escape_html(text, out);
                out.push_str("</code>");
            }
            Inline::Emphasis(inner) => self.raw_in("em", inner, out),
            Inline::Strong(inner) => self.raw_in("strong", inner, out),
            Inline::Strike(inner) => self.raw_in("del", inner, out),
            Inline::Link { url, words, .. } => match self.around.paths.link(url) {
                Some(url) => {
                    out.push_str("<a href=\"");
                    escape_html(url, out);
                    out.push_str("\">");
                    self.raw(words, out);
                    out.push_str("</a>");
                }
                None => self.raw(words, out),
            },
            Inline::Image(image) => {
                if let Some(url) = self.around.paths.image(&image.url) {
                    out.push_str("<img src=\"");
                    escape_html(url, out);
                    out.push_str("\" alt=\"");
                    escape_html(&image.alt, out);
                    out.push_str("\">");
                }
            }
            Inline::Html(html) => out.push_str(html),
            Inline::Soft => out.push('\n'),
            Inline::Hard => out.push_str("<br>"),
            Inline::Note(number) => {
                let _ = write!(out, "<sup>{number}</sup>");
            }
        }
    }
}

/// Alignment and the gap to the right of a column.
fn place(table: &Table, column: usize) -> (&'static str, &'static str) {
    let align = if table.right.get(column).copied().unwrap_or_default() { "right" } else { "left" };
    (align, if column + 1 == table.head.len() { "0" } else { "20px" })
}

fn presentation(style: &str) -> String {
    format!(
        "<table role=\"presentation\" width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\" style=\"{style}\">"
    )
}

/// Puts our styles on sanitised inline elements. Safe because the sanitiser writes every other `<` as `&lt;`.
fn dressed(html: &str) -> String {
    if !html.contains('<') {
        return html.to_owned();
    }
    html.replace(
        "<code>",
        &format!(
            "<code class=\"tint\" style=\"font-family:{MONO};font-size:15px;background-color:#f6f3ec;border-radius:3px;\
             padding:1px 4px\">"
        ),
    )
    .replace("<a href=", "<a class=\"link\" style=\"color:#0b5c71;text-decoration:underline\" href=")
    .replace("<img ", "<img class=\"fig\" style=\"max-width:100%;height:auto;border:0\" ")
    .replace("<sup>", "<sup style=\"font-size:13px;line-height:0\">")
}
