//! `/plans`: what one can buy, in the order of the config, with the running offer. Nothing is bought here.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

use super::archive::kept;
use super::public::Site;
use super::reading::reading;
use super::sign_in::Signed;
use crate::domain::publication::{Publication, Tier};
use crate::runtime::Timestamp;

pub(super) async fn page(State(site): State<Site>, signed: Option<Signed>, headers: HeaderMap) -> Response {
    let reading = match reading(&site, signed.as_ref()).await {
        Ok(reading) => reading,
        Err(later) => return later,
    };
    let content = site.shown();
    let publication = content.publication();
    let here = format!("{}/plans", publication.url);
    // The shipped setting leads to this very page: then people write.
    let upgrade = publication.upgrade_url.as_ref().filter(|url| **url != here);
    let fields = json!({
        "title": "Plans",
        "middle": true,
        "lead": format!("What {} can be for you.", publication.name),
        "offer": offer(publication, site.now()),
        "plans": plans(publication, reading.tier.as_ref().map(|tier| tier.id.as_str())),
        "upgrade": upgrade,
        "write": upgrade.is_none(),
        "nav": reading.nav(&site, "plans"),
    });
    kept(&site, &headers, "plans", fields)
}

/// The tiers with a price; `own` is marked.
pub(super) fn plans(publication: &Publication, own: Option<&str>) -> Vec<Value> {
    let priced = publication.tiers.iter().filter_map(|tier| Some((tier, tier.price.as_ref()?)));
    let plan = |(tier, price): (&Tier, &String)| {
        json!({
            "label": tier.label,
            "price": price,
            "note": tier.note,
            "archive": tier.archive,
            "chat_support": tier.chat_support,
            "extra_articles": tier.extra_articles,
            "refund_days": tier.refund_days,
            "own": own == Some(tier.id.as_str()),
        })
    };
    priced.map(plan).collect()
}

/// `50 % off until 31 December 2026.`, on its last day too.
pub(super) fn offer(publication: &Publication, now: Timestamp) -> Option<String> {
    let today = now.to_utc().with_timezone(&publication.timezone).date_naive();
    let offer = publication.offer.as_ref().filter(|offer| today <= offer.until)?;
    Some(format!("{} until {}.", offer.label, offer.until.format("%-d %B %Y")))
}
