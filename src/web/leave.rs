//! `/u/TOKEN`: leaving. The POST of RFC 8058 ends the subscription and answers in one line; people get a page with one button.
//!
//! After the button there is one way back for an hour, with the same link: whoever holds it could just as well have come from
//! that mail. Later the way back is the form, which asks the address itself.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::form;
use super::public::{Client, Reader, Site, masked};
use crate::domain::joining;
use crate::domain::subscriber::SubscriberStatus;
use crate::domain::token::{NOBODY, Purpose};
use crate::domain::wall_clock;
use crate::runtime::Timestamp;

const FOUR_WEEKS: Duration = Duration::from_secs(28 * 86_400);
const DAY: &str = "%-d %B %Y";

pub(super) async fn page(State(site): State<Site>, Path(token): Path<String>) -> Response {
    match site.row(&token, Purpose::Unsubscribe) {
        Some(NOBODY) => preview(&site),
        Some(row) => match site.reader(row).await {
            Ok(Some(reader)) => shown(&site, &reader),
            Ok(None) => site.gone(),
            Err(later) => later,
        },
        None => site.gone(),
    }
}

pub(super) async fn act(
    State(site): State<Site>,
    Path(token): Path<String>,
    Extension(Client(from)): Extension<Client>,
    request: Request,
) -> Response {
    let Some(row) = site.row(&token, Purpose::Unsubscribe) else { return site.gone() };
    let form = match form::read(request).await {
        Ok(form) => form,
        Err(status) => return refused(status),
    };
    // RFC 8058 section 3.2. No page: a program reads it, and it must not be led anywhere (W40).
    let one_click = form.get("List-Unsubscribe").eq_ignore_ascii_case("One-Click");
    if row == NOBODY {
        return if one_click { line("This was a preview. Nothing was changed.") } else { preview(&site) };
    }
    let reader = match site.reader(row).await {
        Ok(Some(reader)) => reader,
        Ok(None) => return site.gone(),
        Err(later) => return later,
    };
    let doors = site.public().doors.clone();
    if one_click || form.has("leave") {
        return match site.ask(doors.leave(row)).await {
            Ok(_) if one_click => line("You are unsubscribed."),
            Ok(_) => left(&site, &reader, true),
            Err(later) => later,
        };
    }
    if form.has("undo") {
        return match site.ask(doors.come_back(row, from)).await {
            Ok(true) => back(&site, &reader),
            Ok(false) => left(&site, &reader, false),
            Err(later) => later,
        };
    }
    if form.has("pause") && reader.gets_mail() {
        let until = four_weeks(&site);
        return match site.ask(doors.prefer(row, reader.person.name.clone(), Some(until))).await {
            Ok(()) => paused(&site, &reader, until),
            Err(later) => later,
        };
    }
    refused(StatusCode::BAD_REQUEST)
}

impl Reader {
    pub(super) fn gets_mail(&self) -> bool {
        self.person.status == SubscriberStatus::Active && self.suppression.is_none()
    }
}

fn line(text: &str) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{text}\n")).into_response()
}

pub(super) fn refused(status: StatusCode) -> Response {
    let what = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "This form is too long.",
        StatusCode::REQUEST_TIMEOUT => "This form took too long.",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "This form has a type that is not understood.",
        _ => "This form is not understood. Open the link of the mail again and press a button there.",
    };
    // What is left of the form is not read.
    (status, [(header::CONNECTION, "close")], format!("{what}\n")).into_response()
}

fn shown(site: &Site, reader: &Reader) -> Response {
    if !reader.gets_mail() {
        let suppression = reader.suppression.as_ref().map(|found| (found.reason, found.at));
        return left(site, reader, joining::may_undo(suppression, site.now()));
    }
    let shown = site.shown();
    let publication = shown.publication();
    let day = |at: Timestamp| publication.date(at, DAY);
    let plan = publication.tier(&reader.person.tier).filter(|tier| tier.price.is_some());
    let fields = json!({
        "title": format!("Leave {}?", publication.name),
        "address": masked(&reader.person.address),
        "plan": plan.map(|tier| tier.label.to_lowercase()),
        "ends": reader.person.term_ends_at.map(day),
        "paused": reader.paused_until.filter(|until| *until > site.now()).map(day),
        "pause_until": day(four_weeks(site)),
    });
    site.page(StatusCode::OK, "leave", fields)
}

fn preview(site: &Site) -> Response {
    let shown = site.shown();
    let fields = json!({
        "title": format!("Leave {}?", shown.publication().name),
        "preview": true,
        "address": "r\u{2022}\u{2022}\u{2022}@reader.example",
        "pause_until": shown.publication().date(four_weeks(site), DAY),
    });
    site.page(StatusCode::OK, "leave", fields)
}

fn left(site: &Site, reader: &Reader, undo: bool) -> Response {
    let fields = json!({
        "title": "Done. No more mail from us.",
        "address": masked(&reader.person.address),
        "undo": undo,
    });
    site.page(StatusCode::OK, "left", fields)
}

fn back(site: &Site, reader: &Reader) -> Response {
    let shown = site.shown();
    let publication = shown.publication();
    let next = publication.next_mail(&reader.person.tier, site.now());
    let next =
        next.map(|at| format!("The next mail is due on {}.", publication.date(at, "%A %-d %B, %H:%M")));
    let fields = json!({
        "title": "You are on the list again",
        "lead": format!("{} gets {} as before.", masked(&reader.person.address), publication.name),
        "hint": next,
    });
    site.page(StatusCode::OK, "note", fields)
}

fn paused(site: &Site, reader: &Reader, until: Timestamp) -> Response {
    let shown = site.shown();
    let publication = shown.publication();
    let fields = json!({
        "title": "A pause, then",
        "lead": format!("{} gets no mail until {}.", masked(&reader.person.address), publication.date(until, DAY)),
        "hint": "After that mails come as before.",
        "link": {
            "href": format!("{}/p/{}", site.base(), site.mint(Purpose::Preferences, reader.person.id)),
            "label": "Change this",
        },
    });
    site.page(StatusCode::OK, "note", fields)
}

/// The start of a day, so that the page can name it.
fn four_weeks(site: &Site) -> Timestamp {
    let zone = site.shown().publication().timezone;
    let then = Timestamp(site.now().millis() + FOUR_WEEKS.as_millis() as i64);
    let day = then.to_utc().with_timezone(&zone).date_naive();
    wall_clock::instant_of(day.and_time(chrono::NaiveTime::MIN), zone)
}
