//! One rendering of one part: handlebars with our escape, its errors as problems, and mrml.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use handlebars::{Handlebars, RenderErrorReason, handlebars_helper};
use mrml::prelude::parser::{Error as MrmlError, ParserOptions};
use mrml::prelude::render::RenderOptions;
use serde_json::Value;

use super::check::{Called, Part};
use super::holes::{Sentinels, Swapped};
use super::includes;
use super::plain;
use super::tags::{self, Kind};
use super::template::{File, Parts};
use crate::domain::body::escape_html;
use crate::domain::problem::{Position, Problem};

/// The name of the file that is rendered, among the partials.
const MAIN: &str = "\u{0}";

handlebars_helper!(wrap: |text: Value| plain::wrap(&shown(&text), plain::COLUMNS));
handlebars_helper!(heading: |text: Value| {
    let title = plain::wrap(&shown(&text), plain::COLUMNS);
    let longest = title.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    format!("{title}\n{}", "=".repeat(longest))
});

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Fills a template but for its holes, which become sentinels.
pub(super) fn fill(
    part: Part,
    parts: &Parts<'_>,
    root: &File,
    fields: &Value,
    sentinels: &mut Sentinels,
) -> Result<String, Vec<Problem>> {
    let files: BTreeMap<String, (&File, Swapped)> = all(part, parts, root)
        .into_iter()
        .map(|(name, file)| {
            let includes = if part == Part::Html { includes::scan(&file.text).0 } else { Vec::new() };
            (name, (file, sentinels.swap(&file.name, &file.text, parts.shape, includes)))
        })
        .collect();
    let registry = registry(part, &files)?;
    registry.render(MAIN, fields).map_err(|error| {
        let name = error.template_name.as_deref().unwrap_or(MAIN);
        let (file, swapped) =
            files.get(name).or(files.get(MAIN)).expect("the main file is always among them");
        let at = swapped.original(&file.text, error.line_no.unwrap_or(1), error.column_no.unwrap_or(1));
        let what = match error.reason() {
            RenderErrorReason::MissingVariable(Some(path)) => {
                format!("\"{path}\" has no value in this edition")
            }
            other => other.to_string().replace('\n', " "),
        };
        vec![Problem::error(
            &file.name,
            at,
            "template",
            &what,
            "put it inside of {{#if}} if it may be missing",
        )]
    })
}

/// A file and all that it calls, each with the name that it has in the registry.
fn all<'a>(part: Part, parts: &'a Parts<'_>, root: &'a File) -> BTreeMap<String, &'a File> {
    let mut files = BTreeMap::new();
    let mut wanted = vec![(MAIN.to_owned(), root)];
    while let Some((name, file)) = wanted.pop() {
        for tag in tags::scan(&file.text).unwrap_or_default() {
            let Some(word) = tag.words.first().filter(|_| tag.kind == Kind::Partial) else { continue };
            let called = parts.called(part, Called::Partial(word.text));
            wanted.extend(called.map(|file| (word.text.to_owned(), file)));
        }
        let includes = if part == Part::Html { includes::scan(&file.text).0 } else { Vec::new() };
        for include in includes {
            let called = parts.called(part, Called::Include(&include.path));
            wanted.extend(called.map(|file| (includes::partial_name(&include.path), file)));
        }
        files.insert(name, file);
        wanted.retain(|(name, _)| !files.contains_key(name));
    }
    files
}

fn registry(
    part: Part,
    files: &BTreeMap<String, (&File, Swapped)>,
) -> Result<Handlebars<'static>, Vec<Problem>> {
    let mut registry = Handlebars::new();
    registry.set_strict_mode(true);
    registry.set_prevent_indent(true);
    match part {
        Part::Html => registry.register_escape_fn(|value| {
            let mut out = String::new();
            escape_html(value, &mut out);
            out
        }),
        Part::Text | Part::Subject => registry.register_escape_fn(handlebars::no_escape),
    }
    registry.register_helper("wrap", Box::new(wrap));
    registry.register_helper("heading", Box::new(heading));
    let mut problems = Vec::new();
    for (name, (file, swapped)) in files {
        if let Err(error) = registry.register_template_string(name, &swapped.text) {
            let at = error
                .pos()
                .map_or(Position::FILE, |(line, column)| swapped.original(&file.text, line, column));
            let what = error.reason().to_string().replace('\n', " ");
            problems.push(Problem::error(
                &file.name,
                at,
                "template",
                &what,
                "check the braces and the blocks of the template",
            ));
        }
    }
    if problems.is_empty() { Ok(registry) } else { Err(problems) }
}

/// MJML to HTML. No fonts are linked and no comments kept.
pub(super) fn mjml(parts: &Parts<'_>, mjml: &str) -> Result<String, Vec<Problem>> {
    let parsed = mrml::parse_with_options(mjml, &ParserOptions::default()).map_err(|error| {
        let what = format!("the MJML cannot be read: {}", reason(&error));
        vec![located(parts, mjml, offset(&error, mjml), &what)]
    })?;
    let fonts: HashMap<String, Cow<'static, str>> = HashMap::new();
    let options = RenderOptions { disable_comments: true, social_icon_origin: None, fonts };
    parsed
        .element
        .render(&options)
        .map_err(|error| vec![located(parts, mjml, None, &format!("the MJML cannot be rendered: {error}"))])
}

/// What mrml says, without its own positions: they are offsets in a text that nobody has seen.
fn reason(error: &MrmlError) -> String {
    match error {
        MrmlError::UnexpectedElement { .. } => "an element stands where it cannot".to_owned(),
        MrmlError::UnexpectedToken { .. } => "something unexpected stands here".to_owned(),
        MrmlError::MissingAttribute { name, .. } => format!("the attribute {name} is missing"),
        MrmlError::InvalidAttribute { .. } => "an attribute is not understood".to_owned(),
        MrmlError::InvalidFormat { .. } => "a value is not understood".to_owned(),
        MrmlError::EndOfStream { .. } => "it ends inside of an element".to_owned(),
        MrmlError::ParserError { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

/// Where in the filled MJML mrml gave up, if it says so.
fn offset(error: &MrmlError, mjml: &str) -> Option<usize> {
    match error {
        MrmlError::UnexpectedElement { position, .. }
        | MrmlError::UnexpectedToken { position, .. }
        | MrmlError::MissingAttribute { position, .. }
        | MrmlError::InvalidAttribute { position, .. }
        | MrmlError::InvalidFormat { position, .. } => Some(position.start),
        MrmlError::ParserError { source, .. } => {
            let at = source.pos();
            let line = usize::try_from(at.row).ok()?.saturating_sub(1);
            let column = usize::try_from(at.col).ok()?.saturating_sub(1);
            let start: usize = mjml.split_inclusive('\n').take(line).map(str::len).sum();
            mjml[start..].char_indices().nth(column).map(|(plus, _)| start + plus)
        }
        _ => None,
    }
}

/// A problem of the filled MJML, at the line of the template that it came from if there is exactly one like it.
fn located(parts: &Parts<'_>, mjml: &str, at: Option<usize>, what: &str) -> Problem {
    const HINT: &str = "check the elements of the template and their order";
    let whole = |what: &str| Problem::error(&parts.html.name, Position::FILE, "template", what, HINT);
    let Some(at) = at.filter(|at| mjml.is_char_boundary(*at)) else { return whole(what) };
    let start = mjml[..at].rfind('\n').map_or(0, |end| end + 1);
    let line = mjml[start..].lines().next().unwrap_or_default().trim();
    let files = all(Part::Html, parts, parts.html);
    let mut found = files
        .values()
        .flat_map(|file| file.text.match_indices(line).map(|(at, _)| (*file, at)).collect::<Vec<_>>());
    match (found.next(), found.next()) {
        (Some((file, place)), None) if !line.is_empty() => {
            let indent = mjml[start..].len() - mjml[start..].trim_start().len();
            let place = place + at.saturating_sub(start + indent).min(line.len());
            Problem::error(&file.name, Position::of(&file.text, place), "template", what, HINT)
        }
        _ => whole(&format!("{what}, near \"{}\"", line.chars().take(60).collect::<String>())),
    }
}
