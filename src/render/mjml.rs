//! A light look at the markup of an MJML template, on the source and with positions: mrml names no place for an unclosed tag
//! and accepts unknown elements in silence. Attributes are left to mrml.

use super::check::Place;

/// Every element of MJML that mrml renders. `mj-include` is not among them: partials do that.
const KNOWN: &[&str] = &[
    "mjml",
    "mj-accordion",
    "mj-accordion-element",
    "mj-accordion-text",
    "mj-accordion-title",
    "mj-all",
    "mj-attributes",
    "mj-body",
    "mj-breakpoint",
    "mj-button",
    "mj-carousel",
    "mj-carousel-image",
    "mj-class",
    "mj-column",
    "mj-divider",
    "mj-font",
    "mj-group",
    "mj-head",
    "mj-hero",
    "mj-image",
    "mj-navbar",
    "mj-navbar-link",
    "mj-preview",
    "mj-raw",
    "mj-section",
    "mj-social",
    "mj-social-element",
    "mj-spacer",
    "mj-style",
    "mj-table",
    "mj-text",
    "mj-title",
    "mj-wrapper",
];

/// Elements whose content is text or HTML, so that a hole may stand in it.
const WORDS: &[&str] = &[
    "mj-accordion-text",
    "mj-accordion-title",
    "mj-button",
    "mj-navbar-link",
    "mj-preview",
    "mj-raw",
    "mj-social-element",
    "mj-table",
    "mj-text",
    "mj-title",
];

/// HTML elements that have no end.
pub(super) const VOID: &[&str] =
    &["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
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

/// The scan over a template and its partials. Static text is fed piece by piece, tags of the template in between.
#[derive(Debug)]
pub(super) struct Markup {
    pub stack: Vec<Element>,
    pub state: State,
    /// The start tag that is being read.
    tag: Option<Element>,
    slash: bool,
}

/// What is wrong, where, and what would be right.
pub(super) type Finding = (Place, String, &'static str);

impl Markup {
    pub fn new() -> Markup {
        Markup { stack: Vec::new(), state: State::Text, tag: None, slash: false }
    }

    /// Whether a hole may stand here: in words, or in an attribute's value.
    pub fn takes_words(&self) -> bool {
        match self.state {
            State::Text => self.stack.iter().any(|element| WORDS.contains(&element.name.as_str())),
            State::Quoted(_) => true,
            State::Tag | State::Comment | State::Css => false,
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
                State::Comment => self.until(rest, "-->", State::Text),
                State::Css => match rest.find("</") {
                    Some(end) => {
                        self.state = State::Text;
                        end
                    }
                    None => rest.len(),
                },
                State::Quoted(quote) => match rest.find(quote) {
                    Some(end) => {
                        self.state = State::Tag;
                        end + 1
                    }
                    None => rest.len(),
                },
                State::Tag => self.inside(rest, here, findings),
            };
        }
    }

    fn until(&mut self, rest: &str, end: &str, then: State) -> usize {
        match rest.find(end) {
            Some(at) => {
                self.state = then;
                at + end.len()
            }
            None => rest.len(),
        }
    }

    fn text(&mut self, rest: &str, here: Place, findings: &mut Vec<Finding>) -> usize {
        let Some(found) = rest.find('<') else { return rest.len() };
        let here = here.plus(found);
        let tag = &rest[found..];
        if tag.starts_with("<!--") {
            self.state = State::Comment;
            return found + 4;
        }
        if tag.starts_with("<!") || tag.starts_with("<?") {
            findings.push((here, "declarations have no place in a template".into(), "leave it out"));
            return found + 2;
        }
        let closing = tag.starts_with("</");
        let from = if closing { 2 } else { 1 };
        let name: String =
            tag[from..].chars().take_while(|c| c.is_ascii_alphanumeric() || "-_:".contains(*c)).collect();
        if name.is_empty() {
            findings.push((here, "this < starts no tag".into(), "write &lt;"));
            return found + 1;
        }
        let length = found + from + name.len();
        if closing {
            let end = rest[length..].find('>').map_or(rest.len() - length, |end| end + 1);
            self.close(&name, here, findings);
            return length + end;
        }
        if (name.starts_with("mj-") || name == "mjml") && !KNOWN.contains(&name.as_str()) {
            findings.push((
                here.clone(),
                format!("there is no element <{name}>"),
                "check the name; partials do what mj-include does",
            ));
        }
        self.tag = Some(Element { name, place: here });
        self.slash = false;
        self.state = State::Tag;
        length
    }

    fn inside(&mut self, rest: &str, here: Place, findings: &mut Vec<Finding>) -> usize {
        let Some(found) = rest.find(['"', '\'', '>', '/', '<']) else { return rest.len() };
        match rest.as_bytes()[found] {
            b'/' => self.slash = true,
            b'>' => {
                self.state = State::Text;
                if let Some(tag) = self.tag.take() {
                    self.open(tag);
                }
            }
            b'<' => {
                let name = self.tag.as_ref().map_or("", |tag| tag.name.as_str()).to_owned();
                let what = format!("the start tag of <{name}> is not finished before this <");
                findings.push((here.plus(found), what, "end it with >"));
                self.state = State::Text;
                self.tag = None;
                return found;
            }
            quote => {
                self.slash = false;
                self.state = State::Quoted(char::from(quote));
            }
        }
        found + 1
    }

    fn open(&mut self, tag: Element) {
        if self.slash || VOID.contains(&tag.name.as_str()) {
            return;
        }
        if tag.name == "mj-style" || tag.name == "style" {
            self.state = State::Css;
        }
        self.stack.push(tag);
    }

    fn close(&mut self, name: &str, here: Place, findings: &mut Vec<Finding>) {
        match self.stack.iter().rposition(|element| element.name == name) {
            Some(at) => {
                for unclosed in self.stack.drain(at..).skip(1) {
                    findings.push(unclosed_element(&unclosed));
                }
            }
            None => {
                findings.push((here, format!("</{name}> closes nothing"), "open it before, or leave it out"))
            }
        }
    }
}

pub(super) fn unclosed_element(element: &Element) -> Finding {
    let what = format!("<{}> is never closed", element.name);
    (element.place.clone(), what, "close it inside of the element that it is in")
}
