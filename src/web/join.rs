//! `/join` and `/c/TOKEN`: the way in, and the button of the mail that proves a wish. What the form answers is the same for
//! every address (W210); a confirmation is a POST, because programs open links (W217).
//!
//! Robots are met three times: a field that people do not see, a form that has to be shown before it is sent, and a limit per
//! place (W213).

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::form;
use super::leave::refused;
use super::public::{Client, Site, masked};
use crate::domain::address::Address;
use crate::domain::joining::{self, Asked, CONSENT, Confirmed, RequestKind};
use crate::domain::token::Purpose;
use crate::mail::token::Keyring;
use crate::store::requests;

const NAME: usize = 100;

pub(super) async fn page(State(site): State<Site>) -> Response {
    shown(&site, StatusCode::OK, json!({}))
}

fn shown(site: &Site, status: StatusCode, mut fields: Value) -> Response {
    let content = site.shown();
    let publication = content.publication();
    let Some(tier) = publication.joining_tier() else { return closed(site) };
    let next = publication.next_mail(&tier.id, site.now());
    fields["title"] = format!("Get {}", publication.name).into();
    fields["next"] = next.map(|at| publication.date(at, "%A %-d %B")).into();
    fields["consent"] = CONSENT.into();
    fields["form"] = form::shown_at(&site.public().keyring, site.now()).into();
    site.page(status, "join", fields)
}

fn closed(site: &Site) -> Response {
    let fields = json!({
        "title": "Not by yourself",
        "lead": "This publication has no plan that one can join here.",
        "hint": "Write to us, and a person answers.",
    });
    site.page(StatusCode::NOT_FOUND, "note", fields)
}

pub(super) async fn ask(
    State(site): State<Site>,
    Extension(Client(from)): Extension<Client>,
    request: Request,
) -> Response {
    let form = match form::read(request).await {
        Ok(form) => form,
        Err(status) => return refused(status),
    };
    let (typed, name) = (form.line("address", 300), form.line("name", NAME));
    let again = |wrong: String| {
        let fields = json!({ "wrong": wrong, "address": typed, "name": name });
        shown(&site, StatusCode::UNPROCESSABLE_ENTITY, fields)
    };
    if !form.was_shown(&site.public().keyring, site.now()) {
        return again(form::PRESS_AGAIN.into());
    }
    let address = match Address::parse(&typed) {
        Ok(address) => address,
        Err(problem) => return again(format!("Your mail address: {problem}.")),
    };
    if !site.may_ask(from) {
        return site.later(StatusCode::TOO_MANY_REQUESTS);
    }
    if form.has("website") {
        // A robot hears what everybody hears.
        return asked(&site, &address);
    }
    let doors = site.public().doors.clone();
    match site.ask(doors.join(address.clone(), name.clone(), from)).await {
        Ok(Asked::Noted) => asked(&site, &address),
        Ok(Asked::Later) => site.later(StatusCode::SERVICE_UNAVAILABLE),
        Ok(Asked::Closed) => closed(&site),
        Err(later) => later,
    }
}

/// The same for every address.
fn asked(site: &Site, address: &Address) -> Response {
    let fields = json!({
        "title": "Look into your mailbox",
        "lead": format!("If it was needed, a mail is on its way to {}. Press the button in it.", masked(address)),
        "hint": "Nothing there after some minutes? Look into the folder for spam. One mail a day goes to an address, so asking again does not help.",
    });
    site.page(StatusCode::OK, "note", fields)
}

pub(super) async fn confirmation(State(site): State<Site>, Path(token): Path<String>) -> Response {
    let Some(link) = site.subject(&token, Purpose::Confirm) else { return site.gone() };
    let read =
        site.read(move |store| async move { requests::by_id(&mut store.read().await?, link.row).await });
    let request = match read.await {
        Ok(request) => request,
        Err(later) => return later,
    };
    let now = site.now();
    let theirs = request.filter(|request| Keyring::binding(&request.address.key()) == link.second);
    let open = theirs.filter(|request| request.confirmed_at.is_some() || request.expires_at > now);
    let Some(request) = open else { return site.gone() };
    let address = masked(&request.address);
    if request.confirmed_at.is_some() {
        let reader = match site.reader(request.subscriber).await {
            Ok(reader) => reader,
            Err(later) => return later,
        };
        let person = reader.as_ref().map(|reader| (reader.person.status, &reader.person.address));
        let suppression = reader.as_ref().and_then(|reader| reader.suppression.as_ref());
        let suppression = suppression.map(|found| found.reason);
        return confirmed(&site, joining::standing(request.kind, &request.address, person, suppression));
    }
    let content = site.shown();
    let name = &content.publication().name;
    let fields = match request.kind {
        RequestKind::Join => json!({
            "title": "One button is left",
            "lead": format!("Press it and {address} gets {name}."),
            "button": "Yes, subscribe me",
            "hint": "We note the time and the wording of your consent; you can take it back in every mail.",
        }),
        RequestKind::Address => json!({
            "title": "One button is left",
            "lead": format!("Press it and {name} goes to {address} from now on."),
            "button": "Yes, send it here",
            "hint": "The address that got it until now is told.",
        }),
    };
    site.page(StatusCode::OK, "confirm", fields)
}

pub(super) async fn confirm(
    State(site): State<Site>,
    Path(token): Path<String>,
    Extension(Client(from)): Extension<Client>,
    request: Request,
) -> Response {
    let Some(link) = site.subject(&token, Purpose::Confirm) else { return site.gone() };
    if let Err(status) = form::read(request).await {
        return refused(status);
    }
    let doors = site.public().doors.clone();
    match site.ask(doors.confirm(link, from)).await {
        Ok(done) => confirmed(&site, done),
        Err(later) => later,
    }
}

fn confirmed(site: &Site, done: Confirmed) -> Response {
    let content = site.shown();
    let publication = content.publication();
    let next = publication.joining_tier().and_then(|tier| publication.next_mail(&tier.id, site.now()));
    let next =
        next.map(|at| format!("The next mail is due on {}.", publication.date(at, "%A %-d %B, %H:%M")));
    let fields = match done {
        Confirmed::Joined => json!({
            "title": "You are on the list",
            "lead": next.unwrap_or_else(|| format!("{} comes by mail from now on.", publication.name)),
            "hint": "A first mail with the way to your preferences is on its way.",
        }),
        Confirmed::Moved => json!({
            "title": "Your mails go here now",
            "lead": format!("{} comes to the new address from now on.", publication.name),
        }),
        Confirmed::Taken => json!({
            "title": "This address cannot be used",
            "lead": "Nothing was changed. Write to us, and a person looks into it.",
        }),
        Confirmed::Left => json!({
            "title": "You have left since",
            "lead": "This link was used before. You are off the list now and get no mail from us.",
            "link": { "href": format!("{}/join", site.base()), "label": "Subscribe again" },
        }),
        Confirmed::Stopped => json!({
            "title": "Mails to this address are stopped",
            "lead": "This link was used before. Since then mails came back, or somebody asked us not to send there.",
            "hint": "Write to us, and a person looks into it.",
        }),
        Confirmed::Elsewhere => json!({
            "title": "Your mails go to another address now",
            "lead": "This link was used before, and the address was changed since. Nothing was changed now.",
            "link": { "href": format!("{}/sign-in", site.base()), "label": "Sign in with the address that you have now" },
        }),
        Confirmed::Gone => return site.gone(),
    };
    site.page(StatusCode::OK, "note", fields)
}
