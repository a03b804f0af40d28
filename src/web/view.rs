//! `/v/TOKEN` and `/media/NAME`: a mail in the browser, and the pictures of articles.
//!
//! A view is the frozen body of that very delivery with that person's values: no more and no less than the mail (W181). Pictures
//! are known by the hash of their bytes, so a changed file has another name, and no name leads out of the list of them.
//! Known gap: a picture that an editor replaces is gone from older mails.

use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::public::Site;
use crate::domain::address::Address;
use crate::domain::body::{Body, escape_html, fill};
use crate::domain::publication::TierId;
use crate::domain::subscriber::SAMPLE_NAME;
use crate::domain::token::{NOBODY, Purpose};
use crate::mail::compose::{Frame, Recipient, personal};
use crate::store::StoreError;
use crate::store::bodies;
use crate::store::deliveries::{self, Viewed};

pub(super) async fn page(State(site): State<Site>, Path(token): Path<String>) -> Response {
    let Some(row) = site.row(&token, Purpose::View) else { return site.gone() };
    if row == NOBODY {
        let fields = json!({
            "title": "A preview has no page",
            "preview": true,
            "lead": "A reader sees their mail here. The preview itself shows what that is.",
        });
        return site.page(StatusCode::OK, "note", fields);
    }
    let read = site.read(move |store| async move {
        let mut tx = store.read().await?;
        let Some(viewed) = deliveries::viewed(&mut tx, row).await? else { return Ok(None) };
        let (frame, body) = bodies::by_id(&mut tx, viewed.body_id).await?;
        if bodies::is_emptied(&body) {
            return Ok(Some(Found::TooOld));
        }
        let corrupt =
            |error: serde_json::Error| StoreError::Corrupt { what: "a body", why: error.to_string() };
        let frame: Frame = serde_json::from_str(&frame).map_err(corrupt)?;
        let body: Body = serde_json::from_str(&body).map_err(corrupt)?;
        Ok(Some(Found::Whole(Box::new((viewed, frame, body)))))
    });
    match read.await {
        // Who was erased has a row without an address.
        Ok(Some(Found::Whole(found))) if !found.0.address.is_empty() => {
            let (viewed, frame, body) = *found;
            shown(&site, row, viewed, &frame, &body)
        }
        Ok(Some(Found::TooOld)) => too_old(&site),
        Ok(_) => site.gone(),
        Err(later) => later,
    }
}

/// What a link of a mail leads to.
enum Found {
    Whole(Box<(Viewed, Frame, Body)>),
    /// Its words are not kept any more: editions are, so it was one mail for itself.
    TooOld,
}

fn too_old(site: &Site) -> Response {
    let fields = json!({
        "title": "This preview is not kept any more",
        "lead": "Previews and test mails are thrown away after some time; the mail itself is still whole.",
        "hint": "Whoever makes the publication sends a new one: tidings preview with --to.",
    });
    site.page(StatusCode::GONE, "note", fields)
}

fn shown(site: &Site, delivery: i64, viewed: Viewed, frame: &Frame, body: &Body) -> Response {
    let content = site.shown();
    let publication = content.publication();
    let tier = viewed.tier.map(TierId).and_then(|tier| publication.tier(&tier).cloned());
    let keyring = &site.public().keyring;
    let recipient = Recipient {
        delivery,
        subscriber: viewed.subscriber_id.unwrap_or(NOBODY),
        thread: 0,
        staff: 0,
        proof_of: 0,
        address: Address::trusted(viewed.address),
        name: viewed.name.unwrap_or_else(|| SAMPLE_NAME.to_owned()),
        tier_label: tier.map(|tier| tier.label).unwrap_or_default(),
        term_ends: viewed.term_ends_at.map(|at| publication.date(at, "%-d %B %Y")).unwrap_or_default(),
        key_id: viewed
            .key_id
            .and_then(|key| u8::try_from(key).ok())
            .unwrap_or_else(|| keyring.current_key_id()),
        first_attempt_at: viewed.first_attempt_at,
    };
    let values = personal(keyring, frame, &recipient);
    let mut page = fill(&body.html, &values);
    if page.is_empty() {
        page = "<!doctype html><meta charset=\"utf-8\"><pre>".to_owned();
        escape_html(&fill(&body.text, &values), &mut page);
    }
    // A mail brings its styles along. Pictures come from here, also where a test or a proxy gives "here" another name.
    let origin: String = publication.url.split('/').take(3).collect::<Vec<_>>().join("/");
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' {origin}; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    );
    let mut answer = ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

pub(super) async fn media(State(site): State<Site>, Path(name): Path<String>) -> Response {
    let content = site.shown();
    let all = content.articles();
    let found = all.iter().flat_map(|article| &article.media).find(|media| media.name == name);
    let Some(media) = found.cloned() else { return site.gone() };
    drop(all);
    let Ok(bytes) = tokio::fs::read(&media.path).await else { return site.gone() };
    let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes)[..12]);
    let (known, extension) = name.split_once('.').unwrap_or((&name, ""));
    if known != hash {
        // The file is another one by now, and that one may be for others.
        return site.gone();
    }
    let kind = match extension {
        "png" => "image/png",
        "gif" => "image/gif",
        _ => "image/jpeg",
    };
    let headers =
        [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    (headers, bytes).into_response()
}
