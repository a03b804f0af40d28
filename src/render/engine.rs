//! One rendering of one part: handlebars with our escape, its errors as problems, and mrml.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use handlebars::{Handlebars, RenderErrorReason, handlebars_helper};
use mrml::prelude::parser::ParserOptions;
use mrml::prelude::render::RenderOptions;
use serde_json::Value;

use super::check::Part;
use super::holes::{Sentinels, Swapped};
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
    let mut files: BTreeMap<String, (&File, Swapped)> = BTreeMap::new();
    let mut wanted = vec![(MAIN.to_owned(), root)];
    while let Some((name, file)) = wanted.pop() {
        for tag in tags::scan(&file.text).unwrap_or_default() {
            let Some(called) = tag.words.first().filter(|_| tag.kind == Kind::Partial) else { continue };
            if let Some(partial) =
                parts.partial(part, called.text).filter(|_| !files.contains_key(called.text))
            {
                wanted.push((called.text.to_owned(), partial));
            }
        }
        let swapped = sentinels.swap(&file.name, &file.text);
        files.insert(name, (file, swapped));
    }
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
pub(super) fn mjml(file: &str, mjml: &str) -> Result<String, Vec<Problem>> {
    let wrong = |what: String| {
        let hint = "check the elements of the template and their order";
        vec![Problem::error(file, Position::FILE, "template", &what, hint)]
    };
    let parsed = mrml::parse_with_options(mjml, &ParserOptions::default())
        .map_err(|error| wrong(format!("the MJML cannot be read: {error}")))?;
    let fonts: HashMap<String, Cow<'static, str>> = HashMap::new();
    let options = RenderOptions { disable_comments: true, social_icon_origin: None, fonts };
    parsed.element.render(&options).map_err(|error| wrong(format!("the MJML cannot be rendered: {error}")))
}
