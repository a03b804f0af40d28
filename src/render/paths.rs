//! Where links and pictures of an article lead, checked once when the article is read.

use std::collections::BTreeMap;
use std::path::Path;

use super::markdown::{Block, Document, Image, Inline};
use super::media::Media;
use crate::domain::problem::{Position, Problem};

const SCHEMES: &[&str] = &["https", "http", "mailto"];

/// What each address as written became. A link that is not here is dropped, its words stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Paths {
    links: BTreeMap<String, String>,
    images: BTreeMap<String, String>,
}

impl Paths {
    pub fn link(&self, written: &str) -> Option<&str> {
        self.links.get(written).map(String::as_str)
    }

    pub fn image(&self, written: &str) -> Option<&str> {
        self.images.get(written).map(String::as_str)
    }
}

/// Walks a whole document and resolves its links and pictures.
pub(super) struct Resolver<'a> {
    pub file: &'a str,
    pub text: &'a str,
    pub folder: &'a Path,
    /// Of the publication, without a slash at the end.
    pub url: &'a str,
    pub paths: Paths,
    pub media: Vec<Media>,
    pub problems: Vec<Problem>,
}

impl Resolver<'_> {
    pub fn document(&mut self, document: &Document) {
        self.blocks(&document.blocks);
        for note in &document.notes {
            self.blocks(note);
        }
    }

    /// The published address of a relative path. Reports what is wrong.
    pub fn published(&mut self, written: &str, at: usize, key: &str) -> Option<String> {
        match Media::read(self.folder, written) {
            Ok(media) => {
                let url = format!("{}/media/{}", self.url, media.name);
                if !self.media.contains(&media) {
                    self.media.push(media);
                }
                Some(url)
            }
            Err((what, hint)) => {
                let what = format!("\"{written}\" {what}");
                self.problems.push(Problem::error(self.file, Position::of(self.text, at), key, &what, hint));
                None
            }
        }
    }

    fn blocks(&mut self, blocks: &[Block]) {
        for block in blocks {
            match block {
                Block::Paragraph(inlines) | Block::Heading(_, inlines) => self.inlines(inlines),
                Block::Figure(image) => self.image(image),
                Block::Quote { blocks, source } => {
                    self.blocks(blocks);
                    self.inlines(source.as_deref().unwrap_or_default());
                }
                Block::Callout { blocks, .. } | Block::Members { blocks, .. } => self.blocks(blocks),
                Block::List { items, .. } => items.iter().for_each(|item| self.blocks(item)),
                Block::Table(table) => {
                    self.inlines(table.caption.as_deref().unwrap_or_default());
                    table.head.iter().chain(table.rows.iter().flatten()).for_each(|cell| self.inlines(cell));
                }
                Block::Code { .. } | Block::Rule | Block::Html(_) => {}
            }
        }
    }

    fn inlines(&mut self, inlines: &[Inline]) {
        for inline in inlines {
            match inline {
                Inline::Emphasis(inner) | Inline::Strong(inner) | Inline::Strike(inner) => {
                    self.inlines(inner)
                }
                Inline::Link { url, words, at } => {
                    self.link(url, *at);
                    self.inlines(words);
                }
                Inline::Image(image) => self.image(image),
                _ => {}
            }
        }
    }

    fn link(&mut self, written: &str, at: usize) {
        let at = Position::of(self.text, at);
        let resolved = match scheme(written) {
            Some(scheme) if SCHEMES.contains(&scheme.as_str()) => {
                if scheme == "http" {
                    let what = format!("\"{written}\" is not encrypted");
                    self.problems.push(Problem::warning(
                        self.file,
                        at,
                        "link",
                        &what,
                        "write https:// if it has it",
                    ));
                }
                written.to_owned()
            }
            Some(scheme) => {
                let what = format!("links to {scheme}: do not work in mails; the link is left out");
                let hint = "use https:// or mailto:";
                self.problems.push(Problem::warning(self.file, at, "link", &what, hint));
                return;
            }
            None if written.starts_with('/') && !written.starts_with("//") => {
                format!("{}{written}", self.url)
            }
            None => {
                let what = format!("\"{written}\" leads nowhere from a mail; the link is left out");
                let hint = "write the whole address, or a path from the publication's root: /archive/...";
                self.problems.push(Problem::warning(self.file, at, "link", &what, hint));
                return;
            }
        };
        self.paths.links.insert(written.to_owned(), resolved);
    }

    fn image(&mut self, image: &Image) {
        let at = Position::of(self.text, image.at);
        if image.alt.trim().is_empty() {
            let hint = "say between the brackets what one would see";
            self.problems.push(Problem::warning(self.file, at, "image", "has no alternative text", hint));
        }
        let resolved = match scheme(&image.url).as_deref() {
            Some("https") => Some(image.url.clone()),
            Some(_) => {
                let what = format!("\"{}\" is not a picture that a mail can show", image.url);
                let hint = "put the file beside the article";
                self.problems.push(Problem::error(self.file, at, "image", &what, hint));
                None
            }
            None => self.published(&image.url.clone(), image.at, "image"),
        };
        if let Some(resolved) = resolved {
            self.paths.images.insert(image.url.clone(), resolved);
        }
    }
}

/// What stands before the first colon, if it is a scheme (RFC 3986 3.1). Browsers ignore white space and controls in it.
fn scheme(url: &str) -> Option<String> {
    let plain: String = url.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
    let (scheme, _) = plain.split_once(':')?;
    let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    valid.then(|| scheme.to_ascii_lowercase())
}
