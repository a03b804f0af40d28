//! The scan over the markup of an MJML template, on the source and with positions: mrml names no place for an unclosed tag
//! and accepts unknown elements in silence. What is found about one start tag is the business of [`rules`].
//!
//! Static text is fed piece by piece, with the tags of the template in between; a tag inside of a value is announced by
//! [`Markup::dynamic`]. Comments are skipped, conditional ones too.

use super::check::Place;
use super::elements::{Content, Element};
use super::rules::{self, Attribute, Tag};

/// HTML elements that have no end.
pub(super) const VOID: &[&str] =
    &["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"];

/// An element that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub name: String,
    pub place: Place,
}

/// Where in the markup the scan stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Text,
    /// Between `<name` and `>`, outside of quotes.
    Tag,
    Quoted(char),
    Comment,
    /// Style sheets.
    Css,
}

/// What is wrong, where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub place: Place,
    pub what: String,
    pub hint: String,
    pub warning: bool,
}

impl Finding {
    pub fn error(place: Place, what: impl Into<String>, hint: &str) -> Finding {
        Finding { place, what: what.into(), hint: hint.to_owned(), warning: false }
    }

    pub fn warning(place: Place, what: impl Into<String>, hint: &str) -> Finding {
        Finding { warning: true, ..Finding::error(place, what, hint) }
    }
}

/// The scan over a template and its partials.
#[derive(Debug)]
pub(super) struct Markup {
    pub stack: Vec<Opened>,
    pub state: State,
    /// The start tag that is being read.
    tag: Option<Tag>,
    /// Its attribute that is being read, and whether its = was there.
    attribute: Option<Attribute>,
    equals: bool,
    slash: bool,
    /// Names of all elements of MJML that were opened.
    seen: Vec<String>,
}

impl Markup {
    pub fn new() -> Markup {
        Markup {
            stack: Vec::new(),
            state: State::Text,
            tag: None,
            attribute: None,
            equals: false,
            slash: false,
            seen: Vec::new(),
        }
    }

    /// Whether a hole may stand here: in words, or in an attribute's value.
    pub fn takes_words(&self) -> bool {
        match self.state {
            State::Text => self.in_words(),
            State::Quoted(_) => true,
            State::Tag | State::Comment | State::Css => false,
        }
    }

    /// Whether words here stand between elements, where nobody would expect them. False inside of what was reported itself:
    /// unknown elements, and HTML between elements.
    pub fn between_elements(&self) -> bool {
        let known = |opened: &Opened| Element::named(&opened.name).is_some();
        self.state == State::Text && !self.in_words() && self.stack.iter().all(known)
    }

    fn in_words(&self) -> bool {
        self.stack.iter().any(|opened| rules::holds_words(&opened.name))
    }

    /// A tag of the template stands in the value that is being read.
    pub fn dynamic(&mut self) {
        if let (State::Quoted(_), Some(attribute)) = (self.state, &mut self.attribute) {
            attribute.dynamic = true;
        }
    }

    /// Reads `text`, which starts at `place`.
    pub fn feed(&mut self, text: &str, place: Place, findings: &mut Vec<Finding>) {
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let here = place.plus(at);
            at += match self.state {
                State::Text => self.text(rest, here, findings),
                State::Comment => match rest.find("-->") {
                    Some(end) => {
                        self.state = State::Text;
                        end + 3
                    }
                    None => rest.len(),
                },
                State::Css => match rest.find("</") {
                    Some(end) => {
                        self.state = State::Text;
                        end
                    }
                    None => rest.len(),
                },
                State::Quoted(quote) => self.quoted(quote, rest, findings),
                State::Tag => self.inside(rest, here, findings),
            };
        }
    }

    /// What is only known at the end of the whole template.
    pub fn finish(&mut self, root: Place, findings: &mut Vec<Finding>) {
        if let Some(tag) = self.tag.take() {
            let what = format!("the start tag of <{}> never ends", tag.name);
            findings.push(Finding::error(tag.place, what, "end it with >"));
        }
        for opened in std::mem::take(&mut self.stack) {
            findings.push(unclosed(&opened));
        }
        for needed in ["mjml", "mj-body"] {
            if !self.seen.iter().any(|name| name == needed) {
                let what = format!("the template has no <{needed}>");
                findings.push(Finding::error(root, what, "write <mjml><mj-body>...</mj-body></mjml>"));
                return;
            }
        }
    }

    fn text(&mut self, rest: &str, here: Place, findings: &mut Vec<Finding>) -> usize {
        let found = rest.find('<').unwrap_or(rest.len());
        let words = &rest[..found];
        if !words.trim().is_empty() && self.between_elements() {
            let place = here.plus(words.len() - words.trim_start().len());
            findings.push(Finding::error(place, "words stand between elements", "put them into an mj-text"));
        }
        if found == rest.len() {
            return found;
        }
        let here = here.plus(found);
        let tag = &rest[found..];
        if tag.starts_with("<!--") {
            self.state = State::Comment;
            return found + 4;
        }
        if tag.starts_with("<!") || tag.starts_with("<?") {
            findings.push(Finding::error(here, "declarations have no place in a template", "leave it out"));
            return found + tag.find('>').map_or(2, |end| end + 1);
        }
        let closing = tag.starts_with("</");
        let from = if closing { 2 } else { 1 };
        let name: String =
            tag[from..].chars().take_while(|c| c.is_ascii_alphanumeric() || "-_:".contains(*c)).collect();
        if name.is_empty() {
            findings.push(Finding::error(here, "this < starts no tag", "write &lt;"));
            return found + 1;
        }
        let length = found + from + name.len();
        if closing {
            let end = rest[length..].find('>').map_or(rest.len() - length, |end| end + 1);
            self.close(&name, here, findings);
            return length + end;
        }
        self.tag = Some(Tag { name, place: here, attributes: Vec::new() });
        self.attribute = None;
        self.equals = false;
        self.slash = false;
        self.state = State::Tag;
        length
    }

    /// Between the attributes of a start tag.
    fn inside(&mut self, rest: &str, here: Place, findings: &mut Vec<Finding>) -> usize {
        let Some(first) = rest.chars().next() else { return 0 };
        match first {
            c if c.is_whitespace() => return c.len_utf8(),
            '/' => {
                self.keep();
                self.slash = true;
            }
            '>' => self.end(findings),
            '<' => {
                let name = self.tag.as_ref().map_or("", |tag| tag.name.as_str());
                let what = format!("the start tag of <{name}> is not finished before this <");
                findings.push(Finding::error(here, what, "end it with >"));
                self.end(findings);
                return 0;
            }
            '=' => self.equals = self.attribute.is_some(),
            '"' | '\'' => self.quote(first, here, findings),
            _ if self.equals => return self.unquoted(rest, here, findings),
            _ => {
                self.keep();
                self.slash = false;
                let stop = |c: char| c.is_whitespace() || "=></\"'".contains(c);
                let name = &rest[..rest.find(stop).unwrap_or(rest.len())];
                self.attribute = Some(Attribute {
                    name: name.to_owned(),
                    place: here.clone(),
                    value: None,
                    value_at: here,
                    quote: '"',
                    dynamic: false,
                });
                return name.len();
            }
        }
        1
    }

    fn quote(&mut self, quote: char, here: Place, findings: &mut Vec<Finding>) {
        match &mut self.attribute {
            Some(attribute) if self.equals => {
                attribute.value = Some(String::new());
                attribute.value_at = here.plus(1);
                attribute.quote = quote;
            }
            _ => findings.push(Finding::error(
                here,
                "a quote stands where an attribute should start",
                "write NAME=\"VALUE\", and &quot; for a quote in a value",
            )),
        }
        self.slash = false;
        self.state = State::Quoted(quote);
    }

    fn unquoted(&mut self, rest: &str, here: Place, findings: &mut Vec<Finding>) -> usize {
        let end = rest.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(rest.len());
        let name = self.attribute.take().map(|attribute| attribute.name).unwrap_or_default();
        self.equals = false;
        let what = format!("the value of \"{name}\" has no quotes");
        findings.push(Finding::error(here, what, "put double quotes around it"));
        end
    }

    fn quoted(&mut self, quote: char, rest: &str, findings: &mut Vec<Finding>) -> usize {
        let end = rest.find([quote, '<']);
        let value = &rest[..end.unwrap_or(rest.len())];
        if let Some(Attribute { value: Some(so_far), .. }) = &mut self.attribute {
            so_far.push_str(value);
        }
        let Some(end) = end else { return rest.len() };
        if rest[end..].starts_with('<') {
            if let Some(attribute) = &self.attribute {
                let what = format!("the quote of \"{}\" is not closed before the next <", attribute.name);
                let hint = "close it; a < in a value is written &lt;";
                findings.push(Finding::error(attribute.place.clone(), what, hint));
            }
            // What was swallowed is not judged.
            self.attribute = None;
            self.end(findings);
            return end;
        }
        self.keep();
        self.state = State::Tag;
        end + 1
    }

    /// The attribute that was being read is complete.
    fn keep(&mut self) {
        self.equals = false;
        if let (Some(attribute), Some(tag)) = (self.attribute.take(), &mut self.tag) {
            tag.attributes.push(attribute);
        }
    }

    /// The start tag is complete.
    fn end(&mut self, findings: &mut Vec<Finding>) {
        self.keep();
        self.state = State::Text;
        let Some(tag) = self.tag.take() else { return };
        let parent = self.stack.iter().rev().find(|opened| rules::is_mjml(&opened.name));
        rules::judge(&tag, parent.map(|parent| parent.name.as_str()), self.in_words(), findings);
        if tag.is_mjml() {
            self.seen.push(tag.name.clone());
        }
        if self.slash || VOID.contains(&tag.name.as_str()) {
            return;
        }
        let css = Element::named(&tag.name).is_some_and(|element| element.content == Content::Css);
        if css || tag.name == "style" {
            self.state = State::Css;
        }
        self.stack.push(Opened { name: tag.name, place: tag.place });
    }

    fn close(&mut self, name: &str, here: Place, findings: &mut Vec<Finding>) {
        match self.stack.iter().rposition(|opened| opened.name == name) {
            Some(at) => {
                for opened in self.stack.drain(at..).skip(1) {
                    findings.push(unclosed(&opened));
                }
            }
            None => findings.push(Finding::error(
                here,
                format!("</{name}> closes nothing"),
                "open it before, or leave it out",
            )),
        }
    }
}

fn unclosed(opened: &Opened) -> Finding {
    let what = format!("<{}> is never closed", opened.name);
    Finding::error(opened.place.clone(), what, "close it inside of the element that it is in")
}
