//! A publication and editions for the tests of the rendering.

use std::path::Path;

use chrono::NaiveDate;
use tidings::domain::address::{Address, Mailbox};
use tidings::domain::body::{Body, Field, Values, fill};
use tidings::domain::problem::Problem;
use tidings::domain::publication::{ArticleAccess, Offer, Publication, Term, Tier, TierId};
use tidings::render::{Article, EditionInput, RenderedTier, TemplateSet, render_edition};

pub const TIERS: [&str; 4] = ["free", "monthly", "yearly", "lifetime"];

fn tier(id: &str, label: &str, price: Option<&str>, note: &str) -> Tier {
    Tier {
        id: TierId::from(id),
        label: label.into(),
        price: price.map(Into::into),
        note: (!note.is_empty()).then(|| note.into()),
        articles: if price.is_some() { ArticleAccess::Full } else { ArticleAccess::Teaser },
        archive: price.is_some(),
        chat_support: price.is_some(),
        extra_articles: 0,
        term: (id == "yearly").then_some(Term::Years(1)),
        refund_days: if matches!(id, "yearly" | "lifetime") { 10 } else { 0 },
    }
}

pub fn publication() -> Publication {
    Publication {
        name: "Example News".into(),
        from: Mailbox {
            name: "Example News".into(),
            address: Address::parse("weekly@news.example.org").unwrap(),
        },
        url: "https://news.example.org".into(),
        postal_address: "Example Street 1, 12345 Exampletown".into(),
        timezone: chrono_tz::America::New_York,
        language: "en".into(),
        editors: vec![],
        proofs: true,
        upgrade_url: Some("https://news.example.org/plans".into()),
        lapsed_tier: Some(TierId::from("free")),
        import: Default::default(),
        offer: Some(Offer {
            label: "50 % off".into(),
            until: NaiveDate::from_ymd_opt(2026, 12, 31).unwrap(),
        }),
        tiers: vec![
            tier("free", "Free", None, ""),
            tier(
                "monthly",
                "Monthly",
                Some("$6 a month"),
                "Every article, the whole archive, answers from a person",
            ),
            tier("yearly", "Yearly", Some("$60 a year"), "All of that, ten extra articles, two months free"),
            tier(
                "lifetime",
                "Lifetime",
                Some("$240 once"),
                "Everything in monthly, for good. Nothing renews",
            ),
        ],
        slots: vec![],
        editions: vec![],
    }
}

/// Parses an article body with a plain front matter of five lines, so that its first line is line 6. It may be given
/// whole to teaser tiers, which most of them are about.
pub fn article(body: &str) -> Result<Article, Vec<Problem>> {
    let text = format!("+++\ntitle = \"A title\"\nsummary = \"A summary\"\nopen = true\n+++\n{body}");
    Article::parse("config/articles/a.md", &text, Path::new("config/articles"), &publication())
        .map(|(article, _)| article)
}

pub fn shipped() -> TemplateSet {
    TemplateSet::shipped(&publication().tier_ids()).unwrap()
}

pub fn edition<'a>(publication: &'a Publication, articles: &'a [Article]) -> EditionInput<'a> {
    EditionInput {
        publication,
        slug: "weekly-2026-11-24",
        template: "weekly",
        subject: "{{articles.0.title}}",
        date: NaiveDate::from_ymd_opt(2026, 11, 24).unwrap(),
        number: 7,
        articles,
        support: "support@news.example.org",
    }
}

pub fn render(articles: &[Article], tier: &str) -> Result<RenderedTier, Vec<Problem>> {
    render_with(&shipped(), articles, tier)
}

pub fn render_with(
    templates: &TemplateSet,
    articles: &[Article],
    tier: &str,
) -> Result<RenderedTier, Vec<Problem>> {
    let publication = publication();
    let tier = publication.tier(&TierId::from(tier)).unwrap();
    render_edition(templates, &edition(&publication, articles), tier)
}

pub fn values() -> Values {
    let mut values = Values::default();
    values.set(Field::SubscriberName, "Jonas Brandt").set(Field::SubscriberAddress, "jonas@reader.example");
    values.set(Field::SubscriberTierLabel, "Yearly").set(Field::SubscriberTermEnds, "3 March 2027");
    for field in Field::ALL.into_iter().filter(|field| field.is_link()) {
        values.set(field, format!("https://news.example.org/{}?a=1&b=2", field.name()));
    }
    values
}

/// Subject, HTML and text as a reader with [`values`] gets them.
pub fn filled(body: &Body) -> [String; 3] {
    [&body.subject, &body.html, &body.text].map(|pieces| fill(pieces, &values()))
}

/// A set of these templates, each a path below `templates/` and its text.
pub fn with(files: &[(&str, &str)]) -> Result<TemplateSet, Vec<Problem>> {
    let files = files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), format!("templates/{path}"), (*text).to_owned()));
    TemplateSet::of(files.collect(), &publication().tier_ids())
}

/// A whole template; `inner` starts in line 4.
pub fn body(inner: &str) -> String {
    format!(
        "<mjml>\n<mj-body>\n<mj-section><mj-column>\n{inner}\n</mj-column></mj-section>\n</mj-body>\n</mjml>\n"
    )
}

/// Asserts that one of the problems stands there and says so.
#[track_caller]
pub fn found(problems: &[Problem], at: (&str, usize, usize), words: &str) {
    let (file, line, column) = at;
    let there = problems
        .iter()
        .any(|p| (p.file.as_str(), p.line, p.column) == (file, line, column) && p.problem.contains(words));
    assert!(there, "{at:?} {words:?}: {problems:#?}");
}
