//! `/board/SLUG/look`: what each tier gets of an edition that is queued or planned, as `tidings preview` shows it.
//!
//! The mail is a page of its own inside the page: fenced like a reader's view in the browser, in a frame that runs nothing and may not
//! lead anywhere, and seen by editors only, because it holds what readers pay for.

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::conversation::size;
use super::house::{Editor, Rooms};
use super::public::page_of_a_mail;
use crate::domain::board::{Look, TierLook};

/// What the page itself may do: show the frame, and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

pub(super) async fn page(
    State(rooms): State<Rooms>,
    editor: Editor,
    Path(slug): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let wanted = query.unwrap_or_default();
    let looked = match rooms.ask(rooms.house().doors.clone().look(slug.clone())).await {
        Ok(looked) => looked,
        Err(later) => return later,
    };
    let mut fields = json!({
        "title": format!("What each tier gets of {slug}"),
        "wide": true,
        "nav": rooms.nav(&editor.0, "/board", 0),
        "board": rooms.path("/board"),
        "slug": slug,
        "tabs": [],
        "problems": [],
        "nothing": Value::Null,
        "mail": Value::Null,
    });
    let status = match &looked {
        Look::Unknown => return rooms.nothing(),
        Look::Nothing(why) => {
            fields["nothing"] = why.as_str().into();
            StatusCode::OK
        }
        Look::Problems(problems) => {
            fields["problems"] = json!(problems);
            StatusCode::OK
        }
        Look::Shown(tiers) => {
            let wanted = wanted.strip_prefix("tier=").unwrap_or_default();
            let shown = tiers.iter().find(|tier| tier.tier == wanted).or(tiers.first());
            let Some(shown) = shown else { return rooms.nothing() };
            let href = |tier: &TierLook| rooms.path(&format!("/board/{slug}/look?tier={}", tier.tier));
            let tab = |tier: &TierLook| json!({ "href": href(tier), "label": tier.label, "here": tier.tier == shown.tier });
            fields["tabs"] = tiers.iter().map(tab).collect();
            fields["mail"] = json!({
                "label": shown.label,
                "subject": shown.subject,
                "size": size(shown.html.len() as i64),
                "frozen": shown.frozen,
                "warnings": shown.warnings,
                "text": shown.text,
                "frame": rooms.path(&format!("/board/{slug}/look/{}", shown.tier)),
            });
            StatusCode::OK
        }
    };
    let mut answer = rooms.page(status, "look", fields);
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    answer
}

/// The mail alone, for the frame.
pub(super) async fn mail(
    State(rooms): State<Rooms>,
    _: Editor,
    Path((slug, tier)): Path<(String, String)>,
) -> Response {
    let looked = match rooms.ask(rooms.house().doors.clone().look(slug)).await {
        Ok(Look::Shown(tiers)) => tiers,
        Ok(_) => return rooms.nothing(),
        Err(later) => return later,
    };
    let Some(shown) = looked.into_iter().find(|known| known.tier == tier) else { return rooms.nothing() };
    let content = rooms.shown();
    let page = page_of_a_mail(shown.html, &shown.text);
    let origin: String = content.publication().url.split('/').take(3).collect::<Vec<_>>().join("/");
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' {origin}; form-action 'none'; base-uri 'none'; \
         frame-ancestors 'self'; sandbox"
    );
    let mut answer = ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    answer
        .headers_mut()
        .insert(HeaderName::from_static("x-frame-options"), HeaderValue::from_static("SAMEORIGIN"));
    answer
}
