//! `/sign-in`, `/s/LINK`, `/sign-out`: signing in by a mailed link, for any site of ours. A link is used up by the button behind it
//! and never by opening it, because programs open links and run what they find (W41, W217). The answer of the form is the same for
//! every address (W210), its limits are those of W213 and W219.
//!
//! How a site uses it: it holds a [`Gate`], implements [`Signing`] for its state and merges [`routes`]. A page of it takes
//! [`Signed`] as an argument, and whoever is not signed in is led to the form and back; `Option<Signed>` lets everybody in and
//! knows who it is. `signed.0.who` tells a subscriber from staff and editors, asked anew for each request. A form that changes
//! something carries [`Gate::form`] in a field `form`, and [`Gate::is_own`] checks it: a cookie alone proves no wish.
//!
//! The cookie is the only one there is: HttpOnly, SameSite=Lax, Secure where the site's address is https, one per place, because
//! ports do not part cookies. It lasts as long as its session.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{FromRequestParts, OptionalFromRequestParts, Path, RawQuery, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::form::{self, Form};
use super::leave::refused;
use super::public::{Away, Client, done, masked};
use crate::domain::address::Address;
use crate::domain::allowance::{Allowance, Quota};
use crate::domain::sign_in::{Opened, Place, Session, Wish, way_back};
use crate::domain::token::{Purpose, Subject};
use crate::mail::token::Keyring;
use crate::runtime::{Clock, Timestamp};

/// Asking for links, in an hour.
const ASKING: Quota = Quota { window: Duration::from_secs(3600), address: 20, neighbourhood: 60, all: 2000 };

/// The steps behind it.
pub trait Entrance: Send + Sync {
    fn ask(self: Arc<Self>, wish: Wish) -> BoxFuture<'static, Result<(), Away>>;
    /// Whom a link lets in; looking uses nothing up.
    fn look(self: Arc<Self>, place: Place, link: String)
    -> BoxFuture<'static, Result<Option<Address>, Away>>;
    fn open(self: Arc<Self>, place: Place, link: String) -> BoxFuture<'static, Result<Option<Opened>, Away>>;
    fn session(
        self: Arc<Self>,
        place: Place,
        cookie: String,
    ) -> BoxFuture<'static, Result<Option<Session>, Away>>;
    fn close(self: Arc<Self>, session: Session, everywhere: bool) -> BoxFuture<'static, Result<(), Away>>;
}

/// The entrance of one site.
pub struct Gate {
    place: Place,
    entrance: Arc<dyn Entrance>,
    keyring: Arc<Keyring>,
    clock: Arc<dyn Clock>,
    main: Handle,
    asking: Mutex<Allowance>,
}

/// A site that one can sign in to.
pub(super) trait Signing: Clone + Send + Sync + 'static {
    fn gate(&self) -> &Gate;
    /// The site's whole address, without a slash at the end.
    fn url(&self) -> String;
    /// Where one is after signing in who came for nothing in particular: a path.
    fn home(&self) -> &'static str;
    fn page(&self, status: StatusCode, name: &str, fields: Value) -> Response;
}

/// Somebody who is signed in.
pub(super) struct Signed(pub Session);

impl Gate {
    pub fn new(
        place: Place,
        entrance: Arc<dyn Entrance>,
        keyring: Arc<Keyring>,
        clock: Arc<dyn Clock>,
        main: Handle,
    ) -> Gate {
        Gate { place, entrance, keyring, clock, main, asking: Mutex::new(Allowance::new(ASKING)) }
    }

    /// What a form of this session carries.
    pub fn form(&self, session: &Session) -> String {
        self.keyring.mint(Subject {
            purpose: Purpose::Session,
            row: session.id,
            second: session.expires_at.millis(),
        })
    }

    /// Whether a form was made for this session.
    pub fn is_own(&self, session: &Session, form: &Form) -> bool {
        let (row, second) = (session.id, session.expires_at.millis());
        self.keyring.verify(form.get("form")) == Some(Subject { purpose: Purpose::Session, row, second })
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn may_ask(&self, from: IpAddr) -> bool {
        // A count is whole whatever its last writer did.
        self.asking.lock().unwrap_or_else(PoisonError::into_inner).take(from, self.now())
    }

    /// The subscriber whose own page somebody comes from: its path holds what only their mails hold.
    fn holder(&self, back: &str) -> Option<i64> {
        let token = back.strip_prefix("/p/").and_then(|rest| rest.split('/').next())?;
        let subject = self.keyring.verify(token)?;
        (subject.purpose == Purpose::Preferences).then_some(subject.row)
    }

    fn cookie_name(&self) -> &'static str {
        match self.place {
            Place::Public => "tidings_reader",
            Place::Private => "tidings_house",
        }
    }

    /// Does something where the store lives; the error was logged.
    async fn ask<T: Send + 'static>(&self, step: BoxFuture<'static, Result<T, Away>>) -> Result<T, ()> {
        done(&self.main, "signing in", step).await.ok_or(())
    }

    async fn session(&self, headers: &HeaderMap) -> Result<Option<Session>, ()> {
        let Some(cookie) = cookie(headers, self.cookie_name()) else { return Ok(None) };
        self.ask(self.entrance.clone().session(self.place, cookie.to_owned())).await
    }
}

/// The value of one cookie.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

impl<S: Signing> FromRequestParts<S> for Signed {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &S) -> Result<Signed, Response> {
        match <Signed as OptionalFromRequestParts<S>>::from_request_parts(parts, site).await? {
            Some(signed) => Ok(signed),
            None => {
                let back = if parts.method == Method::GET { way_back(parts.uri.path()) } else { "" };
                let question = if back.is_empty() { String::new() } else { format!("?back={back}") };
                Err(to(format!("{}/sign-in{question}", base(site))))
            }
        }
    }
}

impl<S: Signing> OptionalFromRequestParts<S> for Signed {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &S) -> Result<Option<Signed>, Response> {
        let found = site.gate().session(&parts.headers).await;
        found.map(|session| session.map(Signed)).map_err(|()| later(site))
    }
}

/// The pages.
pub(super) fn routes<S: Signing>() -> Router<S> {
    Router::new()
        .route("/sign-in", get(page::<S>).post(ask::<S>))
        .route("/s/{link}", get(look::<S>).post(open::<S>))
        .route("/sign-out", get(leaving::<S>).post(leave::<S>))
}

async fn page<S: Signing>(State(site): State<S>, RawQuery(question): RawQuery) -> Response {
    let question = question.unwrap_or_default();
    let back = form_urlencoded::parse(question.as_bytes()).find(|(name, _)| name == "back");
    let back = back.map(|(_, value)| way_back(&value).to_owned()).unwrap_or_default();
    shown(&site, StatusCode::OK, json!({ "back": back }))
}

fn shown<S: Signing>(site: &S, status: StatusCode, mut fields: Value) -> Response {
    fields["title"] = "Sign in by mail".into();
    fields["form"] = form::shown_at(&site.gate().keyring, site.gate().now()).into();
    site.page(status, "sign-in", fields)
}

async fn ask<S: Signing>(
    State(site): State<S>,
    client: Option<Extension<Client>>,
    request: Request,
) -> Response {
    let form = match form::read(request).await {
        Ok(form) => form,
        Err(status) => return refused(status),
    };
    let gate = site.gate();
    let (typed, back) = (form.line("address", 300), way_back(form.get("back")).to_owned());
    let again = |wrong: String| {
        let fields = json!({ "wrong": wrong, "address": typed, "back": back });
        shown(&site, StatusCode::UNPROCESSABLE_ENTITY, fields)
    };
    if !form.was_shown(&gate.keyring, gate.now()) {
        return again(form::PRESS_AGAIN.into());
    }
    let address = match Address::parse(&typed) {
        Ok(address) => address,
        Err(problem) => return again(format!("Your address: {problem}.")),
    };
    let from = client.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Extension(Client(from))| from);
    if !gate.may_ask(from) {
        return later_with(&site, StatusCode::TOO_MANY_REQUESTS);
    }
    // A robot hears what everybody hears.
    if !form.has("website") {
        let holds = gate.holder(&back);
        let wish = Wish { place: gate.place, address: address.clone(), back, from, holds };
        if gate.ask(gate.entrance.clone().ask(wish)).await.is_err() {
            return later(&site);
        }
    }
    let fields = json!({
        "title": "Look into your mailbox",
        "lead": format!("If {} has an account here, a link is on its way to it. It works once, for 15 minutes.", masked(&address)),
        "hint": "Nothing there after some minutes? Look into the folder for spam, and whether it is the address that your mails from us go to. \
            An address gets few links a day. If others asked for yours, open the preferences by the link in any mail of ours and sign in from there: that way always works.",
    });
    site.page(StatusCode::OK, "note", fields)
}

async fn look<S: Signing>(State(site): State<S>, Path(link): Path<String>) -> Response {
    let gate = site.gate();
    match gate.ask(gate.entrance.clone().look(gate.place, link)).await {
        Ok(Some(address)) => {
            let fields = json!({
                "title": "One button is left",
                "lead": format!("Press it and you are signed in as {} in this browser.", masked(&address)),
                "button": "Sign in",
                "hint": "The link works once. If you did not ask for it, close this page.",
            });
            site.page(StatusCode::OK, "confirm", fields)
        }
        Ok(None) => spent(&site),
        Err(()) => later(&site),
    }
}

async fn open<S: Signing>(State(site): State<S>, Path(link): Path<String>, request: Request) -> Response {
    // Another site that signs its own reader in here would read along what they do.
    if is_from_elsewhere(request.headers()) {
        return refused(StatusCode::FORBIDDEN);
    }
    if let Err(status) = form::read(request).await {
        return refused(status);
    }
    let gate = site.gate();
    match gate.ask(gate.entrance.clone().open(gate.place, link)).await {
        Ok(Some(opened)) => {
            let back = if opened.back.is_empty() { site.home() } else { &opened.back };
            let life = opened.expires_at.since(gate.now()).as_secs();
            with_cookie(&site, to(format!("{}{back}", base(&site))), &opened.cookie, life)
        }
        Ok(None) => spent(&site),
        Err(()) => later(&site),
    }
}

async fn leaving<S: Signing>(State(site): State<S>, signed: Option<Signed>) -> Response {
    let Some(Signed(session)) = signed else { return out(&site) };
    let fields = json!({
        "title": "Sign out?",
        "address": masked(&session.address),
        "form": site.gate().form(&session),
    });
    site.page(StatusCode::OK, "sign-out", fields)
}

async fn leave<S: Signing>(State(site): State<S>, signed: Option<Signed>, request: Request) -> Response {
    let Some(Signed(session)) = signed else { return out(&site) };
    let form = match form::read(request).await {
        Ok(form) => form,
        Err(status) => return refused(status),
    };
    let gate = site.gate();
    if !gate.is_own(&session, &form) {
        return refused(StatusCode::FORBIDDEN);
    }
    match gate.ask(gate.entrance.clone().close(session, form.has("everywhere"))).await {
        Ok(()) => with_cookie(&site, out(&site), "", 0),
        Err(()) => later(&site),
    }
}

fn out<S: Signing>(site: &S) -> Response {
    let fields = json!({
        "title": "You are signed out",
        "lead": "Nothing of you is left in this browser.",
        "link": { "href": format!("{}/sign-in", base(site)), "label": "Sign in again" },
    });
    site.page(StatusCode::OK, "note", fields)
}

fn spent<S: Signing>(site: &S) -> Response {
    let fields = json!({
        "title": "This link does not work",
        "lead": "It works once, and for 15 minutes.",
        "link": { "href": format!("{}/sign-in", base(site)), "label": "Send me another one" },
    });
    site.page(StatusCode::NOT_FOUND, "note", fields)
}

fn later<S: Signing>(site: &S) -> Response {
    later_with(site, StatusCode::SERVICE_UNAVAILABLE)
}

/// What is said where nothing was done and it may go later.
pub(super) fn later_with<S: Signing>(site: &S, status: StatusCode) -> Response {
    let fields = json!({
        "title": "Not now, please",
        "lead": "We could not do this at the moment. Nothing was changed.",
        "hint": "Please try again in some minutes.",
    });
    let mut answer = site.page(status, "note", fields);
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("600"));
    answer
}

/// What stands in front of every path where the site's address has one.
pub(super) fn base<S: Signing>(site: &S) -> String {
    let url = site.url();
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    rest.find('/').map_or("", |at| &rest[at..]).trim_end_matches('/').to_owned()
}

fn to(place: String) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response()
}

/// `life` in seconds; 0 takes the cookie away.
fn with_cookie<S: Signing>(site: &S, mut answer: Response, value: &str, life: u64) -> Response {
    let (name, base) = (site.gate().cookie_name(), base(site));
    let path = if base.is_empty() { "/" } else { &base };
    let secure = if site.url().starts_with("https://") { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path={path}; Max-Age={life}; HttpOnly; SameSite=Lax{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer
}

/// A browser says whether a form comes from our own page. Who does not say it is no browser of these years, and a form that
/// carries a token is checked by that.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let said = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    said.is_some_and(|said| said != b"same-origin" && said != b"none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=b; tidings_reader=x; c"));
        headers.append(header::COOKIE, HeaderValue::from_static("tidings_house=y"));
        assert_eq!(cookie(&headers, "tidings_reader"), Some("x"));
        assert_eq!(cookie(&headers, "tidings_house"), Some("y"));
        assert_eq!(cookie(&headers, "tidings"), None);
    }

    #[test]
    fn a_form_of_another_site_is_told() {
        let said = |said: &'static str| {
            is_from_elsewhere(&HeaderMap::from_iter([(
                "sec-fetch-site".parse().unwrap(),
                HeaderValue::from_static(said),
            )]))
        };
        assert!(said("cross-site") && said("same-site"));
        assert!(!said("same-origin") && !said("none") && !is_from_elsewhere(&HeaderMap::new()));
    }
}
