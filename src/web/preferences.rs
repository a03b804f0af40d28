//! `/p/TOKEN`: what a person gets, when and where. A pause ends at the start of a day in the publication's zone; another address
//! counts once it has answered.

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{Days, NaiveDate, NaiveTime};
use serde_json::{Value, json};

use super::form::{self, Form};
use super::leave::refused;
use super::public::{Client, Reader, Site, masked};
use super::sign_in::Signed;
use crate::domain::address::Address;
use crate::domain::sign_in::Who;
use crate::domain::token::{NOBODY, Purpose};
use crate::domain::wall_clock;
use crate::runtime::Timestamp;

/// Who wants more than that wants to leave.
const LONGEST_PAUSE: Days = Days::new(366);

const NAME: usize = 100;

pub(super) async fn page(
    State(site): State<Site>,
    Path(token): Path<String>,
    signed: Option<Signed>,
) -> Response {
    match site.row(&token, Purpose::Preferences) {
        Some(NOBODY) => preview(&site),
        Some(row) => match site.reader(row).await {
            Ok(Some(reader)) => shown(&site, &token, &reader, Told::to(signed.as_ref(), &reader)),
            Ok(None) => site.gone(),
            Err(later) => later,
        },
        None => site.gone(),
    }
}

/// What a page says in answer to a form, and what was typed into it.
#[derive(Default)]
struct Told {
    saved: Option<&'static str>,
    wrong: Option<String>,
    name: Option<String>,
    until: Option<String>,
    /// Whoever asks reads the mails of the address.
    owner: bool,
}

impl Told {
    /// A mail is passed on with all its links: only who is signed in is the person.
    fn to(signed: Option<&Signed>, reader: &Reader) -> Told {
        let owner = signed.is_some_and(|signed| signed.0.who == Who::Subscriber(reader.person.id));
        Told { owner, ..Told::default() }
    }
}

/// A form of this page, the person whose page it is, and what they are told; else what is answered instead.
async fn typed(
    site: &Site,
    token: &str,
    signed: Option<Signed>,
    request: Request,
) -> Result<(Form, Reader, Told), Response> {
    let Some(row) = site.row(token, Purpose::Preferences) else { return Err(site.gone()) };
    let form = form::read(request).await.map_err(refused)?;
    if row == NOBODY {
        return Err(preview(site));
    }
    let reader = site.reader(row).await?.ok_or_else(|| site.gone())?;
    let told = Told::to(signed.as_ref(), &reader);
    Ok((form, reader, told))
}

pub(super) async fn save(
    State(site): State<Site>,
    Path(token): Path<String>,
    signed: Option<Signed>,
    request: Request,
) -> Response {
    let (form, reader, told) = match typed(&site, &token, signed, request).await {
        Ok(typed) => typed,
        Err(answer) => return answer,
    };
    let (name, until) = (form.line("name", NAME), form.line("until", 20));
    let paused_until = match pause(&site, &until) {
        Ok(paused_until) => paused_until,
        Err(wrong) => {
            let told = Told { wrong: Some(wrong), name: Some(name), until: Some(until), ..told };
            return shown(&site, &token, &reader, told);
        }
    };
    let doors = site.public().doors.clone();
    if let Err(later) = site.ask(doors.prefer(reader.person.id, name, paused_until)).await {
        return later;
    }
    match site.reader(reader.person.id).await {
        Ok(Some(reader)) => shown(&site, &token, &reader, Told { saved: Some("Saved."), ..told }),
        Ok(None) => site.gone(),
        Err(later) => later,
    }
}

/// The instant that a date stands for; `None` for an empty one.
fn pause(site: &Site, until: &str) -> Result<Option<Timestamp>, String> {
    if until.is_empty() {
        return Ok(None);
    }
    let zone = site.shown().publication().timezone;
    let today = site.now().to_utc().with_timezone(&zone).date_naive();
    let date: NaiveDate = until
        .parse()
        .map_err(|_| format!("No mails before: \"{until}\" is no date. Write it as {today}."))?;
    if date <= today {
        return Err("No mails before: name a day that is still to come, or leave it empty.".to_owned());
    }
    if today.checked_add_days(LONGEST_PAUSE).is_some_and(|last| date > last) {
        return Err("No mails before: a pause is a year at most.".to_owned());
    }
    Ok(Some(wall_clock::instant_of(date.and_time(NaiveTime::MIN), zone)))
}

pub(super) async fn move_to(
    State(site): State<Site>,
    Path(token): Path<String>,
    Extension(Client(from)): Extension<Client>,
    signed: Option<Signed>,
    request: Request,
) -> Response {
    let (form, reader, told) = match typed(&site, &token, signed, request).await {
        Ok(typed) => typed,
        Err(answer) => return answer,
    };
    if !told.owner {
        let wrong = Some("New address: sign in first, so that nobody else moves your mails.".to_owned());
        return shown(&site, &token, &reader, Told { wrong, ..told });
    }
    let address = match Address::parse(&form.line("address", 300)) {
        Ok(address) => address,
        Err(problem) => {
            let wrong = Some(format!("New address: {problem}."));
            return shown(&site, &token, &reader, Told { wrong, ..told });
        }
    };
    if address.key() == reader.person.address.key() {
        let wrong = Some("New address: mails go there already.".to_owned());
        return shown(&site, &token, &reader, Told { wrong, ..told });
    }
    if !site.may_ask(from) {
        return site.later(StatusCode::TOO_MANY_REQUESTS);
    }
    let doors = site.public().doors.clone();
    match site.ask(doors.ask_to_move(reader.person.id, address, from)).await {
        // The same words whatever is known about the address (W210).
        Ok(_) => {
            let saved = "If the address can be used, a mail is on its way to it. Press the button there.";
            shown(&site, &token, &reader, Told { saved: Some(saved), ..told })
        }
        Err(later) => later,
    }
}

fn shown(site: &Site, token: &str, reader: &Reader, told: Told) -> Response {
    let person = &reader.person;
    let stop = format!("{}/u/{}", site.base(), site.mint(Purpose::Unsubscribe, person.id));
    if !reader.gets_mail() {
        let fields = json!({
            "title": "You get no mail from us",
            "lead": format!("{} is off the list.", masked(&person.address)),
            "link": { "href": format!("{}/join", site.base()), "label": "Subscribe again" },
        });
        return site.page(StatusCode::OK, "note", fields);
    }
    let content = site.shown();
    let publication = content.publication();
    let now = site.now();
    let zone = publication.timezone;
    let until = reader.paused_until.filter(|until| *until > now);
    let date = |at: Timestamp| at.to_utc().with_timezone(&zone).date_naive().to_string();
    let tier = publication.tier(&person.tier);
    let status = if told.wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let fields = json!({
        "title": "What you get, and when",
        "saved": told.saved,
        "wrong": told.wrong,
        "address": masked(&person.address),
        "plan": tier.map(|tier| format!("{} reader", tier.label.to_lowercase())),
        "ends": person.term_ends_at.map(|at| publication.date(at, "%-d %B %Y")),
        "name": told.name.unwrap_or_else(|| person.name.clone()),
        "until": told.until.or(until.map(date)),
        "next": next(site, reader),
        "here": format!("{}/p/{token}", site.base()),
        "owner": told.owner,
        "sign_in": format!("{}/sign-in?back=/p/{token}", site.base()),
        "stop": stop,
    });
    site.page(status, "preferences", fields)
}

fn next(site: &Site, reader: &Reader) -> Option<String> {
    let content = site.shown();
    let publication = content.publication();
    let from = site.now().max(reader.paused_until.unwrap_or(site.now()));
    let next = publication.next_mail(&reader.person.tier, from)?;
    Some(publication.date(next, "%A %-d %B, %H:%M"))
}

fn preview(site: &Site) -> Response {
    let fields = json!({
        "title": "What you get, and when",
        "preview": true,
        "address": "r\u{2022}\u{2022}\u{2022}@reader.example",
        "name": "Sample Reader",
        "plan": Value::Null,
        "here": "",
        "owner": true,
        "stop": "#main",
    });
    site.page(StatusCode::OK, "preferences", fields)
}
