//! Where in rendered HTML a hole stands. A small scan of mrml's output, which is regular; what it does not understand is
//! refused as a place for a hole.

use super::mjml::VOID;
use crate::domain::body::{Context, Field};

/// Attributes whose value is an address.
const URLS: &[&str] = &["href", "src", "action", "background", "cite", "poster", "formaction"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Text,
    Name,
    /// Inside of a tag, outside of quotes.
    Tag,
    Quoted(char),
    /// Ends at `-->`.
    Comment,
    /// A style sheet.
    Raw,
}

/// The scan. Conditional comments of Outlook count as the HTML that they contain.
#[derive(Debug)]
pub(super) struct Html {
    state: State,
    name: String,
    /// The attribute that is being read, and its value so far.
    attribute: String,
    value: String,
    closing: bool,
    slash: bool,
    depth: usize,
    /// Characters that may be the start of a comment's delimiter.
    pending: String,
}

impl Html {
    pub fn new() -> Html {
        Html {
            state: State::Text,
            name: String::new(),
            attribute: String::new(),
            value: String::new(),
            closing: false,
            slash: false,
            depth: 0,
            pending: String::new(),
        }
    }

    pub fn in_text(&self) -> bool {
        self.state == State::Text
    }

    /// How many elements are open.
    pub fn depth(&self) -> usize {
        self.depth
    }

    pub fn feed(&mut self, text: &str) {
        for c in text.chars() {
            self.step(c);
        }
    }

    /// The context of a hole here, or why there is none. `rest` is what follows it.
    pub fn hole(&mut self, field: Field, rest: &str) -> Result<Context, (&'static str, &'static str)> {
        let quote = match self.state {
            State::Text => return Ok(Context::Html),
            State::Quoted(quote) => quote,
            State::Name | State::Tag => {
                return Err((
                    "a subscriber's value stands inside of a tag",
                    "put it into text or an attribute's quotes",
                ));
            }
            State::Comment | State::Raw => {
                return Err((
                    "a subscriber's value stands in a comment or a style sheet",
                    "put it into text",
                ));
            }
        };
        let attribute = self.attribute.to_ascii_lowercase();
        if attribute == "style" || attribute == "srcset" || attribute.starts_with("on") {
            return Err(("a subscriber's value stands in a style or a script", "put it into text"));
        }
        let before = self.value.trim_start().to_owned();
        // Whatever follows in this value stands behind something.
        self.value.push('\u{0}');
        if !URLS.contains(&attribute.as_str()) {
            return Ok(Context::Html);
        }
        match (field.is_link(), before.is_empty()) {
            (true, true) if rest.trim_start().starts_with(quote) => Ok(Context::Html),
            (true, _) => {
                Err(("a link is a whole address", "write nothing before or after it between the quotes"))
            }
            (false, true) => {
                Err(("a subscriber's value cannot start an address", "write the start of the address"))
            }
            (false, false) if fixed(&before) => Ok(Context::Url),
            (false, false) => Err((
                "a subscriber's value cannot be part of a host",
                "write the whole host and a slash before it",
            )),
        }
    }

    fn step(&mut self, c: char) {
        match self.state {
            State::Text => {
                if c == '<' {
                    self.state = State::Name;
                    self.name.clear();
                    (self.closing, self.slash) = (false, false);
                }
            }
            State::Name => self.name(c),
            State::Tag => self.tag(c),
            State::Quoted(quote) if c == quote => {
                self.state = State::Tag;
                self.attribute.clear();
            }
            State::Quoted(_) => self.value.push(c),
            State::Comment => self.comment(c),
            State::Raw => {
                if c == '<' {
                    self.pending.clear();
                }
                self.pending.push(c);
                if self.pending == "</" {
                    self.state = State::Name;
                    self.name.clear();
                    (self.closing, self.slash) = (true, false);
                }
            }
        }
    }

    fn name(&mut self, c: char) {
        match c {
            '/' if self.name.is_empty() => self.closing = true,
            '>' => self.end(),
            '/' => {
                self.slash = true;
                self.state = State::Tag;
            }
            c if c.is_whitespace() => {
                self.state = State::Tag;
                self.attribute.clear();
            }
            c => {
                self.name.push(c);
                if self.name == "!--" {
                    self.state = State::Comment;
                    self.pending.clear();
                }
            }
        }
    }

    fn tag(&mut self, c: char) {
        match c {
            '>' => self.end(),
            '"' | '\'' => {
                self.value.clear();
                self.state = State::Quoted(c);
            }
            '/' => self.slash = true,
            '=' => {}
            c if c.is_whitespace() => self.attribute.clear(),
            c => {
                self.slash = false;
                self.attribute.push(c);
            }
        }
    }

    fn end(&mut self) {
        self.state = State::Text;
        let name = self.name.to_ascii_lowercase();
        // `<!doctype>`, `<![endif]-->` and the like are no elements.
        if name.starts_with('!') {
            return;
        }
        if self.closing {
            self.depth = self.depth.saturating_sub(1);
        } else if !self.slash && !VOID.contains(&name.as_str()) {
            self.depth += 1;
            if name == "style" {
                self.state = State::Raw;
                self.pending.clear();
            }
        }
    }

    fn comment(&mut self, c: char) {
        self.pending.push(c);
        // `<!--[if mso | IE]>` shows its content to Outlook; `<!-->` is an empty comment.
        let shown = self.pending.trim_start().starts_with("[if") && c == '>';
        if shown || self.pending == ">" || self.pending.ends_with("-->") {
            self.state = State::Text;
        }
    }
}

/// Whether scheme and host of an address are complete, so that what follows cannot change them.
fn fixed(before: &str) -> bool {
    match before.split_once("://") {
        Some((_, rest)) => rest.contains(['/', '?', '#']),
        None => before.starts_with("mailto:"),
    }
}
