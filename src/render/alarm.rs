//! What operators are told when something is wrong.

use serde_json::json;

use super::edition::{of_publication, one_line};
use super::fields;
use super::one_off::print;
use super::template::TemplateSet;
use crate::domain::body::Body;
use crate::domain::problem::Problem;
use crate::domain::publication::Publication;

/// An alarm to render.
#[derive(Clone, Copy, Debug)]
pub struct AlarmInput<'a> {
    pub publication: &'a Publication,
    pub support: &'a str,
    /// What is wrong: `The relay is down`.
    pub title: &'a str,
    /// What it is about: a relay, an edition. Empty leaves it out.
    pub about: &'a str,
    /// In the words of whoever found it.
    pub text: &'a str,
    /// What to do, as a sentence.
    pub action: &'a str,
    /// When it happened first and last, as shown: the mail may leave much later.
    pub since: &'a str,
    pub last: &'a str,
    /// How often it happened in between.
    pub count: u64,
}

/// Renders the alarm.
///
/// # Errors
/// All problems of its templates.
pub fn render_alarm(templates: &TemplateSet, input: &AlarmInput<'_>) -> Result<Body, Vec<Problem>> {
    let more = json!({
        "alarm": {
            "title": one_line(input.title),
            "about": one_line(input.about),
            "text": one_line(input.text),
            "action": one_line(input.action),
            "since": one_line(input.since),
            "last": one_line(input.last),
            "count": input.count,
            "again": input.count > 1,
        },
    });
    print(templates, fields::ALARM_KIND, of_publication(input.publication, input.support), more)
}
