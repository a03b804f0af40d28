//! Holes on their way through handlebars and mrml: swapped for sentinels before, found again after.
//!
//! A sentinel is a run of letters and digits with 128 random bits that are new for every call, so no article, title or
//! template can contain one. It names the place in the template that it stands for, which gives every later error a
//! position. The same place may come out several times (`each`, mrml's copy of the title) but never less often.

use std::collections::BTreeMap;
use std::ops::Range;

use super::context::Html;
use super::fields::Shape;
use super::includes::{self, Include};
use super::tags::{self, Kind};
use crate::domain::body::{Context, Field, Piece};
use crate::domain::problem::{Position, Problem};

/// What a sentinel stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Meaning {
    Value(Field),
    /// `unless` swaps the branches.
    If {
        field: Field,
        unless: bool,
    },
    Else,
    End,
    /// HTML that is put in after mrml.
    Markup(String),
}

#[derive(Clone, Debug)]
struct Site {
    meaning: Meaning,
    file: String,
    at: Position,
    /// The tag had its line to itself: blanks before it and the line end behind it go with it.
    whole_line: bool,
}

/// All sentinels of one rendering.
pub(super) struct Sentinels {
    prefix: String,
    sites: Vec<Site>,
}

/// Digits of a sentinel's number.
const DIGITS: usize = 6;

/// A template with its holes swapped, and where the swapped parts were.
pub(super) struct Swapped {
    pub text: String,
    moved: Vec<(Range<usize>, Range<usize>)>,
}

impl Swapped {
    /// Takes over the source up to `range` and puts `text` in its place. `at` is how far the source was taken over.
    fn put(&mut self, source: &str, at: &mut usize, range: Range<usize>, text: &str) {
        self.text.push_str(&source[*at..range.start]);
        let start = self.text.len();
        self.text.push_str(text);
        *at = range.end;
        self.moved.push((range, start..self.text.len()));
    }

    /// The place in the original of a place in the swapped text.
    pub fn original(&self, source: &str, line: usize, column: usize) -> Position {
        let start: usize = self.text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        let at = self.text[start..]
            .char_indices()
            .nth(column.saturating_sub(1))
            .map_or(start, |(at, _)| start + at);
        let before = self.moved.iter().take_while(|(_, swapped)| swapped.start <= at).last();
        let original = match before {
            Some((original, swapped)) if swapped.contains(&at) => original.start,
            Some((original, swapped)) => original.end + (at - swapped.end),
            None => at,
        };
        Position::of(source, original)
    }
}

impl Sentinels {
    pub fn new() -> Sentinels {
        let mut random = [0_u8; 16];
        getrandom::fill(&mut random)
            .expect("the system's random source works, or keys could not be made either");
        let nonce = data_encoding::BASE32_NOPAD.encode(&random).to_lowercase();
        Sentinels { prefix: format!("tdg{nonce}q"), sites: Vec::new() }
    }

    fn add(&mut self, site: Site) -> String {
        self.sites.push(site);
        format!("{}{:0DIGITS$}", self.prefix, self.sites.len() - 1)
    }

    /// A place for HTML that must not pass mrml.
    pub fn markup(&mut self, html: String) -> String {
        let (file, at) = (String::new(), Position::FILE);
        self.add(Site { meaning: Meaning::Markup(html), file, at, whole_line: false })
    }

    /// Swaps the holes of a template that has been checked, those that `shape` has, and its includes for calls of partials.
    pub fn swap(&mut self, file: &str, source: &str, shape: &Shape, includes: Vec<Include>) -> Swapped {
        let mut swapped = Swapped { text: String::new(), moved: Vec::new() };
        let mut open: Vec<bool> = Vec::new();
        let mut at = 0;
        let hole = |path: &str| Field::named(path).filter(|_| shape.is_hole(path));
        let mut includes = includes.into_iter().peekable();
        for tag in tags::scan(source).unwrap_or_default() {
            while let Some(include) = includes.next_if(|include| include.range.start < tag.range.start) {
                swapped.put(source, &mut at, include.range, &call_of(&include.path));
            }
            let first = tag.words.first().map_or("", |word| word.text);
            let argument = tag.words.get(1).and_then(|word| hole(word.text));
            let meaning = match tag.kind {
                Kind::Value => hole(first).map(Meaning::Value),
                Kind::Open => {
                    let meaning = argument.map(|field| Meaning::If { field, unless: first == "unless" });
                    open.push(meaning.is_some());
                    meaning
                }
                Kind::Else => open.last().copied().unwrap_or_default().then_some(Meaning::Else),
                Kind::Close => open.pop().unwrap_or_default().then_some(Meaning::End),
                Kind::Comment | Kind::Triple | Kind::Partial => None,
            };
            let Some(meaning) = meaning else { continue };
            let whole_line = !matches!(meaning, Meaning::Value(_)) && alone(source, &tag.range);
            let place = Position::of(source, tag.range.start);
            let mark = self.add(Site { meaning, file: file.to_owned(), at: place, whole_line });
            swapped.put(source, &mut at, tag.range, &mark);
        }
        for include in includes {
            swapped.put(source, &mut at, include.range, &call_of(&include.path));
        }
        swapped.text.push_str(&source[at..]);
        swapped
    }

    /// How often each sentinel occurs.
    pub fn count(&self, text: &str) -> BTreeMap<usize, usize> {
        let mut counts = BTreeMap::new();
        for (_, number) in self.found(text) {
            *counts.entry(number).or_default() += 1;
        }
        counts
    }

    /// Sentinels that were there before mrml and are not, or not as often, after it.
    pub fn lost(&self, before: &str, after: &str) -> Vec<Problem> {
        let after = self.count(after);
        let lost =
            self.count(before).into_iter().filter(|(number, count)| after.get(number).unwrap_or(&0) < count);
        lost.filter_map(|(number, _)| {
            let site = self.sites.get(number)?;
            let hint = "put it where a reader can see it";
            Some(Problem::error(
                &site.file,
                site.at,
                "template",
                "does not survive the rendering of MJML",
                hint,
            ))
        })
        .collect()
    }

    /// The sentinels of `text` with their offsets. A prefix without a known number is skipped; [`Sentinels::leftover`] finds it.
    fn found(&self, text: &str) -> Vec<(usize, usize)> {
        let number = |at: usize| {
            let digits = text.get(at + self.prefix.len()..at + self.prefix.len() + DIGITS)?;
            let number = digits.parse::<usize>().ok()?;
            (number < self.sites.len()).then_some((at, number))
        };
        text.match_indices(&self.prefix).filter_map(|(at, _)| number(at)).collect()
    }

    /// Splits a rendered part into pieces. `html`: the contexts are those of HTML, else everything is bare.
    pub fn split(&self, text: &str, html: bool) -> Result<Vec<Piece>, Vec<Problem>> {
        let mut splitter = Splitter {
            sentinels: self,
            html: html.then(Html::new),
            stack: vec![],
            pieces: vec![],
            problems: vec![],
        };
        let mut at = 0;
        for (start, number) in self.found(text) {
            let site = &self.sites[number];
            let mut from = start;
            let mut to = start + self.prefix.len() + DIGITS;
            if site.whole_line {
                let blanks = text[at..start].trim_end_matches([' ', '\t']).len();
                if (blanks == 0 && at == 0) || text[..at + blanks].ends_with('\n') {
                    from = at + blanks;
                    to += usize::from(text[to..].starts_with('\n'));
                }
            }
            splitter.literal(&text[at..from]);
            splitter.site(number, site, &text[to..]);
            at = to;
        }
        splitter.literal(&text[at..]);
        splitter.finish()
    }

    fn leftover(&self, pieces: &[Piece]) -> bool {
        pieces.iter().any(|piece| match piece {
            Piece::Literal(text) => text.contains(&self.prefix),
            Piece::Hole { .. } => false,
            Piece::If { then, otherwise, .. } => self.leftover(then) || self.leftover(otherwise),
        })
    }
}

fn call_of(path: &str) -> String {
    format!("{{{{> {}}}}}", includes::partial_name(path))
}

/// Whether a tag is the only thing on its line.
fn alone(source: &str, range: &Range<usize>) -> bool {
    let before = source[..range.start].rsplit('\n').next().unwrap_or_default();
    let after = source[range.end..].split('\n').next().unwrap_or_default();
    before.trim().is_empty() && after.trim().is_empty()
}

struct Frame {
    number: usize,
    field: Field,
    unless: bool,
    depth: usize,
    then: Option<Vec<Piece>>,
    outer: Vec<Piece>,
}

struct Splitter<'a> {
    sentinels: &'a Sentinels,
    html: Option<Html>,
    stack: Vec<Frame>,
    pieces: Vec<Piece>,
    problems: Vec<Problem>,
}

impl Splitter<'_> {
    fn literal(&mut self, text: &str) {
        if let Some(html) = &mut self.html {
            html.feed(text);
        }
        self.push(text);
    }

    fn push(&mut self, text: &str) {
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Literal(before)) => before.push_str(text),
            _ => self.pieces.push(Piece::Literal(text.to_owned())),
        }
    }

    fn wrong(&mut self, number: usize, what: &str, hint: &str) {
        let site = &self.sentinels.sites[number];
        self.problems.push(Problem::error(&site.file, site.at, "template", what, hint));
    }

    fn site(&mut self, number: usize, site: &Site, rest: &str) {
        let in_text = self.html.as_ref().is_none_or(Html::in_text);
        match &site.meaning {
            Meaning::Value(field) => {
                match self.html.as_mut().map_or(Ok(Context::Bare), |html| html.hole(*field, rest)) {
                    Ok(context) => self.pieces.push(Piece::Hole { field: *field, context }),
                    Err((what, hint)) => self.wrong(number, what, hint),
                }
            }
            Meaning::Markup(html) if in_text && self.html.is_some() => self.push(html),
            Meaning::Markup(_) => self.wrong(number, "HTML stands outside of text", "put it into an mj-text"),
            _ if !in_text => {
                self.wrong(
                    number,
                    "a condition on a subscriber's value stands outside of text",
                    "put it around words",
                );
            }
            Meaning::If { field, unless } => {
                let outer = std::mem::take(&mut self.pieces);
                let depth = self.depth();
                self.stack.push(Frame { number, field: *field, unless: *unless, depth, then: None, outer });
            }
            Meaning::Else => match self.stack.last_mut() {
                Some(frame) if frame.then.is_none() => {
                    frame.then = Some(std::mem::take(&mut self.pieces));
                    self.balanced(number);
                }
                _ => self.wrong(
                    number,
                    "conditions do not nest any more after rendering",
                    "keep it in one element",
                ),
            },
            Meaning::End => {
                self.balanced(number);
                match self.stack.pop() {
                    Some(frame) => self.close(frame),
                    None => self.wrong(
                        number,
                        "conditions do not nest any more after rendering",
                        "keep it in one element",
                    ),
                }
            }
        }
    }

    fn depth(&self) -> usize {
        self.html.as_ref().map_or(0, Html::depth)
    }

    fn balanced(&mut self, number: usize) {
        if self.stack.last().is_some_and(|frame| frame.depth != self.depth()) {
            self.wrong(
                number,
                "this branch opens or closes other elements",
                "open and close in the same branch",
            );
        }
    }

    fn close(&mut self, frame: Frame) {
        let last = std::mem::replace(&mut self.pieces, frame.outer);
        let (then, otherwise) = match frame.then {
            Some(then) => (then, last),
            None => (last, Vec::new()),
        };
        let (then, otherwise) = if frame.unless { (otherwise, then) } else { (then, otherwise) };
        self.pieces.push(Piece::If { field: frame.field, then, otherwise });
    }

    fn finish(mut self) -> Result<Vec<Piece>, Vec<Problem>> {
        while let Some(frame) = self.stack.pop() {
            self.wrong(
                frame.number,
                "this condition does not end any more after rendering",
                "keep it in one element",
            );
        }
        if self.problems.is_empty() && self.sentinels.leftover(&self.pieces) {
            let what = "a place holder is left in the rendered part";
            self.problems.push(Problem::error(
                "",
                Position::FILE,
                "template",
                what,
                "this is our fault, please report",
            ));
        }
        if self.problems.is_empty() { Ok(self.pieces) } else { Err(self.problems) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fields::EDITION;
    use super::*;
    use crate::domain::body::{Values, fill};

    fn named() -> Values {
        let mut values = Values::default();
        values.set(Field::SubscriberName, "A & B").set(Field::LinkView, "https://x.example/?a=1&b=2");
        values
    }

    fn split(template: &str, html: bool) -> Result<Vec<Piece>, Vec<Problem>> {
        let mut sentinels = Sentinels::new();
        let swapped = sentinels.swap("t", template, &EDITION, Vec::new());
        sentinels.split(&swapped.text, html)
    }

    #[test]
    fn a_tag_alone_on_its_line_takes_the_line_with_it() {
        let text = "Start\n{{#if subscriber.name}}\n  Hello {{subscriber.name}},\n  {{else}}\nHello,\n{{/if}}\nend\n";
        let pieces = split(text, false).unwrap();
        assert_eq!(fill(&pieces, &named()), "Start\n  Hello A & B,\nend\n");
        assert_eq!(fill(&pieces, &Values::default()), "Start\nHello,\nend\n");
    }

    #[test]
    fn unless_swaps_the_branches() {
        for text in [
            "{{#unless subscriber.name}}no{{else}}yes{{/unless}}",
            "{{#if subscriber.name}}yes{{else}}no{{/if}}",
        ] {
            let pieces = split(text, true).unwrap();
            assert_eq!(fill(&pieces, &named()), "yes");
            assert_eq!(fill(&pieces, &Values::default()), "no");
        }
    }

    #[test]
    fn each_place_gets_its_context() {
        let html = "<p title=\"{{subscriber.name}}\">{{subscriber.name}} <a href=\"{{links.view}}\">x</a> \
                    <a href='https://x.example/?n={{subscriber.name}}&amp;m={{subscriber.name}}'>y</a></p>";
        assert_eq!(
            fill(&split(html, true).unwrap(), &named()),
            "<p title=\"A &amp; B\">A &amp; B <a href=\"https://x.example/?a=1&amp;b=2\">x</a> \
             <a href='https://x.example/?n=A%20%26%20B&amp;m=A%20%26%20B'>y</a></p>"
        );
        for wrong in [
            "<a href=\"{{subscriber.name}}\">",
            "<a href=\"https://{{subscriber.name}}\">",
            "<a href=\" {{subscriber.name}}\">",
            "<a href=\"{{links.view}}#x\">",
            "<a href=\"https://x.example/{{links.view}}\">",
            "<p {{subscriber.name}}>",
            "<{{subscriber.name}}>",
            "<p style=\"{{subscriber.name}}\">",
            "<p onclick=\"{{subscriber.name}}\">",
            "<style>{{subscriber.name}}</style>",
            "<!-- {{subscriber.name}} -->",
            "<p title={{subscriber.name}}>",
            "<p title=\"{{#if subscriber.name}}x{{/if}}\">",
            "{{#if subscriber.name}}<p>{{/if}}</p>",
            "<a href=\"javascript:{{subscriber.name}}\">",
        ] {
            assert!(split(wrong, true).is_err(), "{wrong}");
        }
        let outlook = "<!--[if mso | IE]><b>{{subscriber.name}}</b><![endif]--><!--[if !mso]><!-->{{subscriber.name}}<!--<![endif]-->";
        assert!(split(outlook, true).is_ok());
    }

    #[test]
    fn a_lost_hole_is_named() {
        let mut sentinels = Sentinels::new();
        let swapped = sentinels.swap("t", "a\n {{subscriber.name}}", &EDITION, Vec::new());
        let problems = sentinels.lost(&swapped.text, "a");
        assert_eq!((problems[0].file.as_str(), problems[0].line, problems[0].column), ("t", 2, 2));
        assert!(sentinels.lost(&swapped.text, &swapped.text.repeat(2)).is_empty());
    }

    #[test]
    fn positions_lead_back_to_the_source() {
        let source = "ä{{subscriber.name}}b{{x}}\nc {{links.view}} d";
        let swapped = Sentinels::new().swap("t", source, &EDITION, Vec::new());
        let at = swapped.text.find("{{x}}").unwrap();
        let column = swapped.text[..at].chars().count() + 1;
        assert_eq!(swapped.original(source, 1, column), Position::of(source, source.find("{{x}}").unwrap()));
        let line = swapped.text.lines().nth(1).unwrap();
        assert_eq!(swapped.original(source, 2, line.chars().count()), Position::of(source, source.len() - 1));
        assert_eq!(swapped.original(source, 9, 9), Position::of(source, source.len()));
    }
}
