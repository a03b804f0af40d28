//! The check of a template before it renders anything: fields against their table, holes against their grammar, blocks and
//! partials, and the markup around them. It walks through partials as they are called, so a partial is checked with the
//! scope and the place that each caller gives it.
//!
//! The language is a part of handlebars: `{{path}}`, `{{{html}}}`, `if`, `unless`, `each`, `else`, `else if`, comparisons
//! in parentheses, partials without parameters, and in text `{{wrap path}}` and `{{heading path}}`.

use super::fields::Shape;
use super::includes::{self, Include};
use super::mjml::{Finding, Markup, State};
use super::scope::Scopes;
use super::tags::{self, Kind, Tag, Word};
use crate::domain::body::Field;
use crate::domain::problem::{Position, Problem};

/// Comparisons that may stand in parentheses.
const COMPARISONS: &[&str] = &["eq", "ne", "gt", "gte", "lt", "lte", "and", "or", "not", "len"];
/// Functions of the text part.
pub(super) const TEXT_FUNCTIONS: &[&str] = &["wrap", "heading"];

const TAGS_HINT: &str =
    "write {{FIELD}}, {{#if}}, {{#unless}}, {{#each}}, {{else}}, {{> PARTIAL}} or {{!-- a comment --}}";
const HOLE_HINT: &str = "write {{subscriber.FIELD}}, {{links.FIELD}}, or {{#if subscriber.FIELD}} and {{#unless \
                         subscriber.FIELD}} around words";

/// A byte offset in a file of the template set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub file: usize,
    pub at: usize,
}

impl Place {
    pub fn plus(&self, more: usize) -> Place {
        Place { file: self.file, at: self.at + more }
    }
}

/// One file as the check sees it.
pub(super) struct Source<'a> {
    pub name: &'a str,
    pub text: &'a str,
}

/// Answers the file that a partial or an include means.
pub(super) type Finder<'a> = &'a dyn Fn(Called<'_>) -> Option<Source<'a>>;

/// How a file names another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Called<'a> {
    /// `{{> NAME}}`
    Partial(&'a str),
    /// `<mj-include path="PATH" />`
    Include(&'a str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Subject,
    Html,
    Text,
}

/// Checks one part of a template for one kind.
pub(super) fn check<'a>(
    part: Part,
    fields: &'static Shape,
    root: Source<'a>,
    find: Finder<'a>,
) -> Vec<Problem> {
    let mut walker = Walker {
        part,
        find,
        files: Vec::new(),
        calls: Vec::new(),
        scopes: Scopes::new(fields),
        markup: Markup::new(),
        findings: Vec::new(),
    };
    walker.file(root);
    if part == Part::Html {
        walker.markup.finish(Place { file: 0, at: 0 }, &mut walker.findings);
    }
    walker.problems()
}

struct Walker<'a> {
    part: Part,
    find: Finder<'a>,
    files: Vec<Source<'a>>,
    /// The partials that are being walked, outermost first: the file, and its name in the call.
    calls: Vec<(usize, String)>,
    scopes: Scopes,
    markup: Markup,
    findings: Vec<Finding>,
}

/// An open block.
struct Open {
    name: &'static str,
    place: Place,
    hole: bool,
    each: Option<&'static Shape>,
    /// How deep the markup was, and where.
    depth: usize,
    state: State,
    has_else: bool,
}

impl<'a> Walker<'a> {
    fn problems(self) -> Vec<Problem> {
        let problem = |finding: &Finding| {
            let file = &self.files[finding.place.file];
            let at = Position::of(file.text, finding.place.at);
            let make = if finding.warning { Problem::warning } else { Problem::error };
            make(file.name, at, "template", &finding.what, &finding.hint)
        };
        let mut problems: Vec<Problem> = self.findings.iter().map(problem).collect();
        problems.sort();
        problems.dedup();
        problems
    }

    fn wrong(&mut self, place: Place, what: impl Into<String>, hint: &'static str) {
        self.findings.push(Finding::error(place, what, hint));
    }

    fn file(&mut self, source: Source<'a>) {
        let text = source.text;
        let file = self.files.len();
        self.files.push(source);
        let tags = match tags::scan(text) {
            Ok(tags) => tags,
            Err((at, what)) => return self.wrong(Place { file, at }, what, TAGS_HINT),
        };
        let mut includes = self.includes(text, file).into_iter().peekable();
        let mut open: Vec<Open> = Vec::new();
        let mut at = 0;
        for tag in &tags {
            while let Some(include) = includes.next_if(|include| include.range.start < tag.range.start) {
                self.markup_of(&text[at..include.range.start], Place { file, at });
                at = include.range.end;
                self.include(&include, Place { file, at: include.range.start });
            }
            self.markup_of(&text[at..tag.range.start], Place { file, at });
            at = tag.range.end;
            self.tag(tag, file, &mut open);
        }
        for include in includes {
            self.markup_of(&text[at..include.range.start], Place { file, at });
            at = include.range.end;
            self.include(&include, Place { file, at: include.range.start });
        }
        self.markup_of(&text[at..], Place { file, at });
        while let Some(block) = open.pop() {
            self.wrong(
                block.place,
                format!("{{{{#{}}}}} is never closed", block.name),
                "close it in the same file",
            );
            self.leave(&block.each, block.has_else);
        }
        if self.part == Part::Subject && text.trim_end_matches('\n').contains('\n') {
            let at = text.find('\n').unwrap_or(0);
            self.wrong(Place { file, at }, "the subject has more than one line", "write it on one line");
        }
    }

    fn includes(&mut self, text: &str, file: usize) -> Vec<Include> {
        if self.part != Part::Html {
            return Vec::new();
        }
        let (includes, faults) = includes::scan(text);
        for (at, what, hint) in faults {
            self.wrong(Place { file, at }, what, hint);
        }
        includes
    }

    fn include(&mut self, include: &Include, place: Place) {
        if self.markup.state != State::Text {
            return self.wrong(
                place,
                "an mj-include stands inside of a tag or a style",
                "put it between elements",
            );
        }
        self.enter(Called::Include(&include.path), &include.path, place);
    }

    fn markup_of(&mut self, text: &str, place: Place) {
        if self.part == Part::Html {
            self.markup.feed(text, place, &mut self.findings);
        }
    }

    fn tag(&mut self, tag: &Tag<'_>, file: usize, open: &mut Vec<Open>) {
        let place = Place { file, at: tag.range.start };
        if tag.kind != Kind::Comment && self.part == Part::Html && self.markup.state == State::Tag {
            self.wrong(
                place,
                "stands between the attributes of a tag",
                "put it inside of an attribute's quotes",
            );
            return;
        }
        if tag.kind != Kind::Comment {
            self.markup.dynamic();
        }
        match tag.kind {
            Kind::Comment => {}
            Kind::Value | Kind::Triple => self.value(tag, place),
            Kind::Open => self.open(tag, place, open),
            Kind::Else => self.otherwise(tag, place, open),
            Kind::Close => self.close(tag, place, open),
            Kind::Partial => self.call(tag, place),
        }
    }

    fn value(&mut self, tag: &Tag<'_>, place: Place) {
        let [word] = tag.words[..] else { return self.function(tag, place) };
        if self.scopes.mentions_hole(word.text) {
            let plain = Field::named(word.text).is_some() && tag.kind == Kind::Value && !tag.trims;
            if !plain {
                self.wrong_hole(word, &place);
            } else if self.part == Part::Html && !self.markup.takes_words() {
                let hint = "put it into the text of an mj-text or into an attribute's quotes";
                self.wrong(place, "a subscriber's value stands between elements", hint);
            }
            return;
        }
        let here = Place { at: word.at, ..place };
        let Some(shape) = self.path(word, &here) else { return };
        match (shape, tag.kind) {
            (Shape::Value, Kind::Triple) => {
                self.wrong(here, format!("\"{}\" is no HTML", word.text), "write two braces");
            }
            (Shape::Markup, _) if self.part != Part::Html => {
                self.wrong(here, "HTML has no place in this part", "use the field text");
            }
            (Shape::Markup, Kind::Value) => self.wrong(here, "HTML needs three braces", "write {{{html}}}"),
            (Shape::Markup, _) if self.markup.state != State::Text => {
                self.wrong(here, "HTML has no place in an attribute", "put it into the text of an mj-text");
            }
            (Shape::Value | Shape::Markup, _)
                if self.part == Part::Html && self.markup.between_elements() =>
            {
                self.wrong(here, "words stand between elements", "put them into an mj-text");
            }
            (Shape::Value | Shape::Markup, _) => {}
            (Shape::Hole, _) => self.wrong_hole(word, &here),
            (Shape::Object(_) | Shape::List(_), _) => {
                self.wrong(
                    here,
                    format!("\"{}\" is not a single value", word.text),
                    "name one of its fields",
                );
            }
        }
    }

    fn function(&mut self, tag: &Tag<'_>, place: Place) {
        let name = tag.words[0];
        let here = Place { at: name.at, ..place };
        if self.part != Part::Text || !TEXT_FUNCTIONS.contains(&name.text) || tag.kind == Kind::Triple {
            let hint = "in the text part there are {{wrap FIELD}} and {{heading FIELD}}, elsewhere none";
            self.wrong(here.clone(), format!("there is no function \"{}\" here", name.text), hint);
        }
        self.arguments(&tag.words[1..], &here);
    }

    /// Paths, literals and comparisons in parentheses.
    fn arguments(&mut self, words: &[Word<'_>], place: &Place) {
        let mut compares = false;
        for word in words {
            let here = Place { at: word.at, ..place.clone() };
            let first = std::mem::replace(&mut compares, word.text == "(");
            if first {
                if !COMPARISONS.contains(&word.text) {
                    let hint = "there are eq, ne, gt, gte, lt, lte, and, or, not, len";
                    self.wrong(here, format!("there is no comparison \"{}\"", word.text), hint);
                }
            } else if word.text.contains('=') && !literal(word.text) {
                self.wrong(here, "named arguments are not part of the template language", "leave it out");
            } else if !matches!(word.text, "(" | ")")
                && !literal(word.text)
                && (self.scopes.mentions_hole(word.text) || self.path(*word, &here) == Some(&Shape::Hole))
            {
                self.wrong_hole(*word, &here);
            }
        }
    }

    fn open(&mut self, tag: &Tag<'_>, place: Place, open: &mut Vec<Open>) {
        let name = match tag.words[0].text {
            "if" => "if",
            "unless" => "unless",
            "each" => "each",
            other => {
                let what = format!("there is no block \"{other}\"");
                self.wrong(place.clone(), what, "there are if, unless and each");
                "?"
            }
        };
        let rest = &tag.words[1..];
        let mut block = Open {
            name,
            place: place.clone(),
            hole: false,
            each: None,
            depth: self.markup.stack.len(),
            state: self.markup.state,
            has_else: false,
        };
        match (name, rest) {
            ("if" | "unless", [word]) if self.scopes.mentions_hole(word.text) => {
                block.hole = true;
                if Field::named(word.text).is_none_or(Field::is_link) || tag.trims {
                    self.wrong_hole(*word, &place);
                }
                if self.part == Part::Html && !(self.markup.state == State::Text && self.markup.takes_words())
                {
                    let hint = "put the whole condition into the text of an mj-text";
                    self.wrong(place, "a condition on a subscriber's value stands outside of text", hint);
                }
            }
            ("if" | "unless", [_, ..]) => self.arguments(rest, &place),
            ("each", [word]) if !self.scopes.mentions_hole(word.text) => {
                let here = Place { at: word.at, ..place };
                match self.path(*word, &here) {
                    Some(Shape::List(inner)) => block.each = Some(inner),
                    Some(_) => self.wrong(
                        here,
                        format!("\"{}\" is not a list", word.text),
                        "there are articles and plans",
                    ),
                    None => {}
                }
            }
            ("each", [word]) => self.wrong_hole(*word, &place),
            ("?", _) => {}
            _ => self.wrong(place, format!("{{{{#{name}}}}} needs one argument"), "name a field"),
        }
        self.scopes.enter(block.each);
        open.push(block);
    }

    fn otherwise(&mut self, tag: &Tag<'_>, place: Place, open: &mut [Open]) {
        let Some(block) = open.last_mut() else {
            return self.wrong(place, "{{else}} belongs to no block", "open one before");
        };
        let chained = !tag.words.is_empty();
        if block.has_else || (chained && (block.hole || block.name != "if" || tag.words[0].text != "if")) {
            self.wrong(
                place,
                "this {{else}} does not fit its block",
                "write {{else}}, or {{else if FIELD}} in an {{#if}}",
            );
            return;
        }
        if block.hole && tag.trims {
            self.wrong(place.clone(), "white space cannot be trimmed around a subscriber's value", HOLE_HINT);
        }
        block.has_else = !chained;
        if block.each.is_some() {
            self.scopes.leave();
        }
        self.balanced(&open[open.len() - 1], place.clone());
        if chained {
            self.arguments(&tag.words[1..], &place);
        }
    }

    fn close(&mut self, tag: &Tag<'_>, place: Place, open: &mut Vec<Open>) {
        let name = tag.words[0].text;
        match open.pop() {
            Some(block) => {
                if block.name != name && block.name != "?" {
                    let what = format!("{{{{/{name}}}}} closes {{{{#{}}}}}", block.name);
                    self.wrong(place.clone(), what, "close blocks in reverse order");
                }
                if block.hole && tag.trims {
                    self.wrong(
                        place.clone(),
                        "white space cannot be trimmed around a subscriber's value",
                        HOLE_HINT,
                    );
                }
                self.balanced(&block, place);
                self.leave(&block.each, block.has_else);
            }
            None => self.wrong(
                place,
                format!("{{{{/{name}}}}} closes nothing"),
                "open the block in the same file",
            ),
        }
    }

    fn leave(&mut self, each: &Option<&'static Shape>, has_else: bool) {
        if each.is_some() && !has_else {
            self.scopes.leave();
        }
    }

    /// Every branch of a block leaves the markup as it found it.
    fn balanced(&mut self, block: &Open, place: Place) {
        if self.part != Part::Html {
            return;
        }
        if self.markup.stack.len() != block.depth || self.markup.state != block.state {
            let what = format!(
                "the branch of {{{{#{}}}}} that ends here opens or closes other elements",
                block.name
            );
            self.wrong(place, what, "open and close an element in the same branch");
        }
    }

    fn call(&mut self, tag: &Tag<'_>, place: Place) {
        let name = tag.words[0].text;
        if tag.words.len() > 1 {
            let what = "partials take no parameters";
            return self.wrong(place, what, "a partial sees the fields of the place where it is called");
        }
        self.enter(Called::Partial(name), name, place);
    }

    /// Walks another file as if it stood here.
    fn enter(&mut self, called: Called<'_>, name: &str, place: Place) {
        let Some(source) = (self.find)(called) else {
            let (what, hint) = match called {
                Called::Partial(_) => {
                    (format!("there is no partial \"{name}\""), "put it into templates/partials/")
                }
                Called::Include(_) => (
                    format!("there is no file \"{name}\" in the template folder"),
                    "write its path from the template folder on, like partials/NAME.mjml",
                ),
            };
            return self.wrong(place, what, hint);
        };
        let among = |file: &usize| self.files[*file].name == source.name;
        let inside = self.calls.iter().map(|(file, _)| file);
        if among(&0) || inside.into_iter().any(among) {
            let chain: Vec<&str> = self.calls.iter().map(|(_, call)| call.as_str()).chain([name]).collect();
            let what = format!("partials include each other: {}", chain.join(" > "));
            return self.wrong(place, what, "break the circle");
        }
        let (depth, state) = (self.markup.stack.len(), self.markup.state);
        let floor = self.scopes.shut();
        self.calls.push((self.files.len(), name.to_owned()));
        self.file(source);
        self.calls.pop();
        self.scopes.reopen(floor);
        if self.markup.stack.len() != depth || self.markup.state != state {
            self.wrong(place, format!("\"{name}\" opens or closes other elements"), "balance it");
            self.markup.stack.truncate(depth);
        }
    }

    fn wrong_hole(&mut self, word: Word<'_>, place: &Place) {
        let known = Field::named(word.text).is_some()
            || !word.text.contains('.')
            || word.text.starts_with(['.', '@']);
        let what = if known {
            format!("\"{}\" cannot be used like this: it differs from reader to reader", word.text)
        } else {
            format!("there is no field \"{}\"", word.text)
        };
        self.wrong(Place { at: word.at, ..place.clone() }, what, HOLE_HINT);
    }

    /// What a path leads to; reports and answers nothing if it leads nowhere.
    fn path(&mut self, word: Word<'_>, place: &Place) -> Option<&'static Shape> {
        match self.scopes.resolve(word.text) {
            Ok(shape) => Some(shape),
            Err(why) => {
                self.wrong(
                    place.clone(),
                    format!("there is no field \"{}\"{why}", word.text),
                    "check the name; inside of {{#each}} other names need @root.",
                );
                None
            }
        }
    }
}

fn literal(word: &str) -> bool {
    word.starts_with(['"', '\'']) || word.parse::<f64>().is_ok() || matches!(word, "true" | "false" | "null")
}
