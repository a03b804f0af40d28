//! `/you`: who is signed in, what they have, and the way to change or end it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::public::{Site, masked};
use super::reading::reading;
use super::sign_in::Signed;
use crate::domain::token::Purpose;

pub(super) async fn page(State(site): State<Site>, signed: Signed) -> Response {
    let reading = match reading(&site, Some(&signed)).await {
        Ok(reading) => reading,
        Err(later) => return later,
    };
    let Some(member) = &reading.member else { return site.gone() };
    let content = site.shown();
    let publication = content.publication();
    let plan = publication.tier(&member.tier).map_or(member.tier.as_str(), |tier| tier.label.as_str());
    let lapsed = reading.tier.as_ref().is_none_or(|tier| tier.id != member.tier);
    let tier = reading.tier.as_ref();
    let fields = json!({
        "title": if member.name.is_empty() { "You" } else { &member.name },
        "address": masked(&member.address),
        "plan": plan,
        "ends": member.term_ends_at.map(|at| publication.date(at, "%-d %B %Y")),
        "lapsed": lapsed,
        "counts_as": tier.map(|tier| tier.label.as_str()),
        "archive": tier.is_some_and(|tier| tier.archive),
        "chat": tier.is_some_and(|tier| tier.chat_support),
        "preferences": format!("{}/p/{}", site.base(), site.mint(Purpose::Preferences, member.id)),
        "nav": reading.nav(&site, "you"),
    });
    site.page(StatusCode::OK, "you", fields)
}
