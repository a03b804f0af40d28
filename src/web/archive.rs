//! `/archive`, `/archive/ID` and `/plans`, for somebody who is not signed in: what was sent to everybody, cut as for the tier that one joins
//! with, and never more than its teaser. Extras, drafts and what waits to be sent are not there (design section 12).
//!
//! Known gap: nobody can sign in yet, so members read older articles in their mails.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::NaiveDate;
use serde_json::{Value, json};

use super::public::Site;
use crate::domain::publication::{ArticleAccess, Publication, Tier};
use crate::render::{Article, Status, plain_html};
use crate::runtime::Timestamp;
use crate::store::editions;

/// When each article went out to this tier.
type Sent = BTreeMap<String, Timestamp>;

/// The first page is the archive: a reader who types the name of the place wants to read.
pub(super) async fn front(State(site): State<Site>) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, format!("{}/archive", site.base()))]).into_response()
}

pub(super) async fn list(State(site): State<Site>) -> Response {
    let sent = match sent(&site).await {
        Ok(sent) => sent,
        Err(later) => return later,
    };
    let content = site.shown();
    let publication = content.publication();
    let tier = stranger(publication);
    let mut open: Vec<(Option<NaiveDate>, &Article)> = content
        .articles()
        .into_iter()
        .filter(|article| is_open(article, tier.as_ref(), &sent))
        .map(|article| (date(publication, article, &sent), article))
        .collect();
    open.sort_by(|(one, a), (other, b)| other.cmp(one).then_with(|| a.id.cmp(&b.id)));
    let mut months: Vec<(String, Vec<Value>)> = Vec::new();
    for (day, article) in open {
        let month = day.map_or_else(|| "Earlier".to_owned(), |day| day.format("%B %Y").to_string());
        if months.last().is_none_or(|(last, _)| *last != month) {
            months.push((month, Vec::new()));
        }
        if let Some((_, articles)) = months.last_mut() {
            articles.push(entry(&site, article, day, tier.as_ref()));
        }
    }
    let months: Vec<Value> =
        months.into_iter().map(|(month, articles)| json!({ "month": month, "articles": articles })).collect();
    let lead = match months.is_empty() {
        true => "Nothing was sent yet. Subscribe, and the first one comes to you.",
        false => "Everything that was sent, the newest first.",
    };
    let fields =
        json!({ "title": "All articles", "lead": lead, "months": months, "nav": nav(&site, "archive") });
    public(site.page(StatusCode::OK, "archive", fields))
}

fn entry(site: &Site, article: &Article, day: Option<NaiveDate>, tier: Option<&Tier>) -> Value {
    let cut = tier.filter(|tier| article.refusal(tier).is_none()).map(|tier| article.for_tier(tier));
    json!({
        "href": format!("{}/archive/{}", site.base(), article.id),
        "title": article.title,
        "summary": article.summary,
        "date": day.map(|day| day.format("%-d %B").to_string()).unwrap_or_default(),
        "minutes": article.full_minutes(),
        "members": cut.is_none_or(|cut| cut.is_teaser),
    })
}

pub(super) async fn article(State(site): State<Site>, Path(id): Path<String>) -> Response {
    let sent = match sent(&site).await {
        Ok(sent) => sent,
        Err(later) => return later,
    };
    let content = site.shown();
    let tier = stranger(content.publication());
    let found = content.article(&id).filter(|article| is_open(article, tier.as_ref(), &sent));
    let Some(article) = found else { return site.gone() };
    let cut = tier.filter(|tier| article.refusal(tier).is_none()).map(|tier| article.for_tier(&tier));
    let left = article.full_minutes().saturating_sub(cut.as_ref().map_or(0, |cut| cut.reading_minutes));
    let rest = match &cut {
        Some(cut) if !cut.is_teaser => None,
        _ => Some(format!("{left} of {} minutes are left.", article.full_minutes())),
    };
    let fields = json!({
        "title": article.title,
        "summary": article.summary,
        "author": article.author,
        "minutes": article.full_minutes(),
        "html": cut.map(|cut| plain_html(&cut.html)).unwrap_or_default(),
        "rest": rest,
        "nav": nav(&site, ""),
    });
    public(site.page(StatusCode::OK, "article", fields))
}

pub(super) async fn plans(State(site): State<Site>) -> Response {
    let content = site.shown();
    let publication = content.publication();
    let today = site.now().to_utc().with_timezone(&publication.timezone).date_naive();
    let here = format!("{}/plans", publication.url);
    // The shipped setting leads to this very page: then people write.
    let upgrade = publication.upgrade_url.as_ref().filter(|url| **url != here);
    let plans: Vec<Value> = publication
        .tiers
        .iter()
        .filter_map(|tier| {
            Some(json!({
                "label": tier.label,
                "price": tier.price.as_ref()?,
                "note": tier.note,
                "archive": tier.archive,
                "chat_support": tier.chat_support,
                "extra_articles": tier.extra_articles,
                "refund_days": tier.refund_days,
            }))
        })
        .collect();
    let offer = publication.offer.as_ref().filter(|offer| today <= offer.until);
    let fields = json!({
        "title": "Plans",
        "middle": true,
        "lead": format!("What {} can be for you.", publication.name),
        "offer": offer.map(|offer| format!("{} until {}.", offer.label, offer.until.format("%-d %B %Y"))),
        "plans": plans,
        "upgrade": upgrade,
        "write": upgrade.is_none(),
        "nav": nav(&site, "plans"),
    });
    public(site.page(StatusCode::OK, "plans", fields))
}

/// What somebody gets whom we do not know: the start, whatever the tier that one joins with gets.
fn stranger(publication: &Publication) -> Option<Tier> {
    publication.joining_tier().map(|tier| Tier { articles: ArticleAccess::Teaser, ..tier.clone() })
}

/// Sent to everybody, or part of the back catalogue. Fails closed.
fn is_open(article: &Article, tier: Option<&Tier>, sent: &Sent) -> bool {
    let theirs = tier.is_some_and(|tier| article.is_for(&tier.id));
    let out = match article.status {
        Status::Published => true,
        Status::Ready => sent.contains_key(&article.id),
        Status::Draft => false,
    };
    theirs && out && !article.extra
}

fn date(publication: &Publication, article: &Article, sent: &Sent) -> Option<NaiveDate> {
    let day = |at: &Timestamp| at.to_utc().with_timezone(&publication.timezone).date_naive();
    article.date.or_else(|| sent.get(&article.id).map(day))
}

async fn sent(site: &Site) -> Result<Sent, Response> {
    let Some(tier) = site.shown().publication().joining_tier().map(|tier| tier.id.clone()) else {
        return Ok(Sent::new());
    };
    site.read(|store| async move { editions::sent_articles(&mut store.read().await?, &tier).await }).await
}

fn nav(site: &Site, here: &str) -> Value {
    let entry = |path: &str, label: &str| json!({ "href": format!("{}/{path}", site.base()), "label": label, "here": path == here });
    json!([entry("archive", "Articles"), entry("plans", "Plans"), entry("join", "Subscribe")])
}

/// Nothing on these pages is about anybody: they may be found and kept.
fn public(mut page: Response) -> Response {
    let headers = page.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    headers.insert(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("all"));
    page
}
