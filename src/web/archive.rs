//! `/archive` and `/archive/ID`: what went out before, rendered from the article for the reader's tier of this moment, gated like
//! mail (design section 12). A stranger gets the start of what everybody was sent; an extra is there only for those who got it.
//!
//! What a stranger sees is public and may be kept by caches, with a mark of its content (ETag); what is made for somebody who
//! shows a cookie is theirs alone and is stored nowhere.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::plans::{offer, plans};
use super::public::Site;
use super::reading::{Open, Reading, reading};
use super::sign_in::Signed;
use crate::domain::publication::Publication;
use crate::render::plain_html;

/// The first page is the archive: a reader who types the name of the place wants to read.
pub(super) async fn front(State(site): State<Site>) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, format!("{}/archive", site.base()))]).into_response()
}

pub(super) async fn list(State(site): State<Site>, signed: Option<Signed>, headers: HeaderMap) -> Response {
    let reading = match reading(&site, signed.as_ref()).await {
        Ok(reading) => reading,
        Err(later) => return later,
    };
    let content = site.shown();
    let all = content.articles();
    let open = reading.all(content.publication(), &all);
    let mut months: Vec<(String, Vec<Value>)> = Vec::new();
    for one in &open {
        let month = one.day.map_or_else(|| "Earlier".to_owned(), |day| day.format("%B %Y").to_string());
        if months.last().is_none_or(|(last, _)| *last != month) {
            months.push((month, Vec::new()));
        }
        if let Some((_, articles)) = months.last_mut() {
            articles.push(entry(&site, one));
        }
    }
    let lead = match (open.len(), open.iter().any(Open::is_cut)) {
        (0, _) => "Nothing was sent yet. Subscribe, and the first one comes to you.".to_owned(),
        (count, cut) => {
            let all = if count == 1 {
                "One article.".to_owned()
            } else {
                format!("{count} articles, the newest first.")
            };
            if cut { format!("{all} The start of each is free; members read all of them.") } else { all }
        }
    };
    let months: Vec<Value> =
        months.into_iter().map(|(month, articles)| json!({ "month": month, "articles": articles })).collect();
    let fields = json!({
        "title": "All articles",
        "lead": lead,
        "months": months,
        "feed": true,
        "nav": reading.nav(&site, "archive"),
    });
    kept(&site, &headers, "archive", fields)
}

fn entry(site: &Site, open: &Open<'_>) -> Value {
    let article = open.article;
    // A tag only for what not everybody has.
    let tag = match (article.extra, open.is_cut()) {
        (true, _) => "Extra",
        (false, true) => "Members",
        (false, false) => "",
    };
    json!({
        "href": format!("{}/archive/{}", site.base(), article.id),
        "title": article.title,
        "summary": article.summary,
        "date": open.day.map(|day| day.format("%-d %B").to_string()).unwrap_or_default(),
        "minutes": article.full_minutes(),
        "tag": tag,
    })
}

pub(super) async fn article(
    State(site): State<Site>,
    Path(id): Path<String>,
    signed: Option<Signed>,
    headers: HeaderMap,
) -> Response {
    let reading = match reading(&site, signed.as_ref()).await {
        Ok(reading) => reading,
        Err(later) => return later,
    };
    let content = site.shown();
    let publication = content.publication();
    let found = content.article(&id).and_then(|article| reading.open(publication, article));
    let Some(open) = found else { return site.gone() };
    let fields = shown(&site, publication, &reading, &open);
    kept(&site, &headers, "article", fields)
}

fn shown(site: &Site, publication: &Publication, reading: &Reading, open: &Open<'_>) -> Value {
    let article = open.article;
    let cut = article.refusal(open.tier).is_none().then(|| article.for_tier(open.tier));
    let whole = article.full_minutes();
    let left = whole.saturating_sub(cut.as_ref().map_or(0, |cut| cut.reading_minutes)).max(1);
    let verb = if left == 1 { "is" } else { "are" };
    let chat = reading.tier.as_ref().is_some_and(|tier| tier.chat_support);
    json!({
        "title": article.title,
        "summary": article.summary,
        "author": article.author,
        "date": open.day.map(|day| day.format("%-d %B %Y").to_string()),
        "minutes": if open.is_cut() { whole } else { cut.as_ref().map_or(whole, |cut| cut.reading_minutes) },
        "html": cut.map(|cut| plain_html(&cut.html)).unwrap_or_default(),
        "rest": open.is_cut().then(|| format!("{left} of {whole} minutes {verb} left.")),
        "plans": plans(publication, None),
        "offer": offer(publication, site.now()),
        "sign_in": reading.member.is_none().then(|| format!("{}/sign-in?back=/archive/{}", site.base(), article.id)),
        "chat": chat,
        "nav": reading.nav(site, ""),
    })
}

/// A page of the book that may be kept where it was made for nobody in particular.
pub(super) fn kept(site: &Site, asked: &HeaderMap, name: &str, fields: Value) -> Response {
    match site.html(name, fields) {
        Some(html) => keep(asked, "text/html; charset=utf-8", 300, html),
        None => (StatusCode::INTERNAL_SERVER_ERROR, "This page is broken.\n").into_response(),
    }
}

/// Says what may become of an answer. Whoever shows a cookie, a dead one too, gets nothing that is meant to be kept: a cache may
/// not know the difference. Anything else may be kept by anybody for so many seconds, and carries a mark of its content.
pub(super) fn keep(asked: &HeaderMap, kind: &'static str, seconds: u32, body: String) -> Response {
    if asked.contains_key(header::COOKIE) {
        return ([(header::CONTENT_TYPE, kind)], body).into_response();
    }
    let mark = format!("\"{}\"", data_encoding::HEXLOWER.encode(&Sha256::digest(&body)[..12]));
    let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let known = known.flat_map(|value| value.split(',')).any(|one| {
        let one = one.trim();
        one == "*" || one.trim_start_matches("W/") == mark
    });
    let headers = [
        (header::CACHE_CONTROL, format!("public, max-age={seconds}")),
        (header::VARY, "Cookie".to_owned()),
        (header::ETAG, mark),
        (HeaderName::from_static("x-robots-tag"), "all".to_owned()),
        (header::CONTENT_TYPE, kind.to_owned()),
    ];
    match known {
        true => (StatusCode::NOT_MODIFIED, headers).into_response(),
        false => (headers, body).into_response(),
    }
}
