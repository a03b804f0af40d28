//! One edition for one tier: articles and templates become a frozen body.
//!
//! Order: the edition's subject, then the three parts. In each part handlebars fills everything but the holes; the HTML part
//! then goes through mrml, and the articles' HTML is put in after it, so that nothing in an article can break MJML or be
//! changed by it. The result is split at the sentinels.

use chrono::NaiveDate;
use serde_json::{Value, json};

use super::article::{Article, TierArticle};
use super::check::Part;
use super::engine;
use super::holes::Sentinels;
use super::lint;
use super::plain;
use super::template::{File, Parts, TemplateSet};
use crate::domain::body::Body;
use crate::domain::problem::{Position, Problem};
use crate::domain::publication::{ArticleAccess, Publication, Tier};

/// What is rendered, the same for every tier.
#[derive(Clone, Copy, Debug)]
pub struct EditionInput<'a> {
    pub publication: &'a Publication,
    pub slug: &'a str,
    /// The name of the template, for example `weekly`.
    pub template: &'a str,
    /// The edition's own subject, a template over the same fields: `{{articles.0.title}}`.
    pub subject: &'a str,
    /// The day on the publication's calendar.
    pub date: NaiveDate,
    /// Which one it is, counted by the caller; 0 if it does not count.
    pub number: u64,
    /// In sending order. Those that the front matter denies to the tier are left out.
    pub articles: &'a [Article],
    /// The address that answers reach, as shown to readers.
    pub support: &'a str,
}

/// What one tier gets.
#[derive(Clone, Debug)]
pub struct RenderedTier {
    pub body: Body,
    /// What does not stop the send.
    pub warnings: Vec<Problem>,
}

/// How problems name an edition's own subject, which is a file to nobody. Their positions are within it.
pub fn subject_name(slug: &str) -> String {
    format!("{slug}: subject")
}

/// Renders an edition for `tier`. On errors nothing is rendered, and warnings are among them.
pub fn render_edition(
    templates: &TemplateSet,
    input: &EditionInput<'_>,
    tier: &Tier,
) -> Result<RenderedTier, Vec<Problem>> {
    let theirs = || input.articles.iter().filter(|article| article.is_for(&tier.id));
    let refused: Vec<Problem> = theirs().filter_map(|article| article.refusal(tier)).collect();
    if !refused.is_empty() {
        return Err(refused);
    }
    let articles: Vec<TierArticle> = theirs().map(|article| article.for_tier(tier)).collect();
    if articles.is_empty() {
        let what = format!("no article of this edition is for the tier \"{}\"", tier.id);
        let hint = "leave the tier out of the edition, or change the articles' tiers";
        return Err(vec![Problem::error(input.slug, Position::FILE, "articles", &what, hint)]);
    }
    let parts = templates.parts(input.template, Some(&tier.id))?;
    let subject = File { name: subject_name(input.slug), text: input.subject.to_owned() };
    let problems = templates.check_subject(&subject.name, &subject.text);
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut sentinels = Sentinels::new();
    let mut fields = fields(input, tier, &articles, &mut sentinels);
    let own = engine::fill(Part::Subject, &parts, &subject, &fields, &mut sentinels)?;
    fields["edition"]["subject"] = Value::String(one_line(&own));
    let body = body(&parts, &fields, &mut sentinels)?;
    let mut found = lint::lint_edition(&body, input, tier, &articles);
    found.sort();
    if found.iter().any(Problem::is_error) { Err(found) } else { Ok(RenderedTier { body, warnings: found }) }
}

/// The three parts. All of their problems at once.
pub(super) fn body(
    parts: &Parts<'_>,
    fields: &Value,
    sentinels: &mut Sentinels,
) -> Result<Body, Vec<Problem>> {
    let mut subject = engine::fill(Part::Subject, parts, parts.subject, fields, sentinels)
        .and_then(|text| sentinels.split(one_line(&text).trim(), false));
    let mut text = engine::fill(Part::Text, parts, parts.text, fields, sentinels)
        .and_then(|text| sentinels.split(&text, false));
    let mut html = engine::fill(Part::Html, parts, parts.html, fields, sentinels).and_then(|mjml| {
        let html = engine::mjml(parts, &mjml)?;
        let lost = sentinels.lost(&mjml, &html);
        if lost.is_empty() { sentinels.split(&html, true) } else { Err(lost) }
    });
    let mut problems: Vec<Problem> = Vec::new();
    for part in [&mut subject, &mut html, &mut text] {
        if let Err(more) = part {
            problems.append(more);
        }
    }
    match (subject, html, text) {
        (Ok(subject), Ok(html), Ok(text)) => Ok(Body { subject, html, text }),
        _ => Err(problems),
    }
}

/// A subject is one line, whatever a title, a template or a sender's name holds.
pub(super) fn one_line(text: &str) -> String {
    text.trim_end_matches('\n').chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn fields(
    input: &EditionInput<'_>,
    tier: &Tier,
    articles: &[TierArticle],
    sentinels: &mut Sentinels,
) -> Value {
    let publication = input.publication;
    let is_teaser = articles.iter().any(|article| article.is_teaser);
    let articles: Vec<Value> = articles.iter().map(|article| of_article(article, sentinels)).collect();
    let offer = publication.offer.as_ref().filter(|offer| input.date <= offer.until);
    json!({
        "publication": of_publication(publication, input.support),
        "edition": {
            "slug": input.slug,
            "subject": "",
            "date": long_date(input.date),
            "number": input.number,
            "is_teaser": is_teaser,
        },
        "articles": articles,
        "tier": {
            "id": tier.id.as_str(),
            "label": tier.label,
            "price": tier.price.clone().unwrap_or_default(),
            "articles": match tier.articles {
                ArticleAccess::Teaser => "teaser",
                ArticleAccess::Full => "full",
            },
            "archive": tier.archive,
            "chat_support": tier.chat_support,
        },
        "plans": plans(publication),
        "offer": {
            "label": offer.map(|offer| offer.label.clone()).unwrap_or_default(),
            "until": offer.map(|offer| day(offer.until)).unwrap_or_default(),
        },
    })
}

fn of_article(article: &TierArticle, sentinels: &mut Sentinels) -> Value {
    json!({
        "id": article.id,
        "title": article.title,
        "summary": article.summary,
        "author": article.author,
        "reading_minutes": article.reading_minutes,
        "full_minutes": article.full_minutes,
        "minutes_left": article.full_minutes.saturating_sub(article.reading_minutes),
        "html": sentinels.markup(article.html.clone()),
        "text": article.text,
        "url": article.url,
        "cover": article.cover,
        "extra": article.extra,
        "is_teaser": article.is_teaser,
    })
}

pub(super) fn of_publication(publication: &Publication, support: &str) -> Value {
    json!({
        "name": publication.name,
        "url": publication.url,
        "postal_address": publication.postal_address,
        "support": support,
        "language": publication.language,
        "upgrade_url": publication.upgrade_url.clone().unwrap_or_default(),
    })
}

/// The tiers with a price, in the order of the config.
fn plans(publication: &Publication) -> Vec<Value> {
    let plans: Vec<(&Tier, &str)> =
        publication.tiers.iter().filter_map(|tier| Some((tier, tier.price.as_deref()?))).collect();
    let widest = |of: &dyn Fn(&(&Tier, &str)) -> usize| plans.iter().map(of).max().unwrap_or(0);
    let label_width = widest(&|(tier, _)| tier.label.chars().count());
    let price_width = widest(&|(_, price)| price.chars().count());
    plans
        .iter()
        .map(|(tier, price)| {
            let note = tier.note.clone().unwrap_or_default();
            let shown = with_refund(&note, tier.refund_days);
            let start = format!("  {:label_width$}    {price:price_width$}    ", tier.label);
            let room = plain::COLUMNS.saturating_sub(start.chars().count());
            let line = if room < 20 {
                let below = plain::indent(&plain::wrap(&shown, plain::COLUMNS - 4), "    ", "    ");
                format!("{}\n{below}", start.trim_end())
            } else {
                plain::indent(&plain::wrap(&shown, room), &start, &" ".repeat(start.chars().count()))
            };
            json!({
                "id": tier.id.as_str(),
                "label": tier.label,
                "price": price,
                "note": note,
                "refund_days": tier.refund_days,
                "line": line.trim_end(),
            })
        })
        .collect()
}

/// A plan's note, and for how long its money can be had back.
fn with_refund(note: &str, days: u32) -> String {
    match (note, days) {
        (note, 0) => note.to_owned(),
        ("", days) => format!("your money back within {days} days"),
        (note, days) => format!("{note}; your money back within {days} days"),
    }
}

/// `Tuesday 24 November 2026`. Whatever the publication's language is: there are English names only.
fn long_date(date: NaiveDate) -> String {
    date.format("%A %-d %B %Y").to_string()
}

/// `31 December 2026`.
fn day(date: NaiveDate) -> String {
    date.format("%-d %B %Y").to_string()
}
