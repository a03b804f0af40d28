//! The public pages: what links in mails lead to, and the way in. Everybody can reach them, so each answer is bounded, says
//! nothing about who is on the list (W42, W210), sets no cookie and loads nothing from elsewhere (W209, W221).
//!
//! GET and HEAD change nothing, ever: programs open every link of a mail and run what they find (W41, W217). What changes
//! something is asked of [`Doors`], which the application connects with the steps that do it; reading is done here.
//! Limits: forms of 16 kB and ten fields, read within ten seconds (W219).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::book::Book;
use super::sign_in::{self, Entrance, Gate, Signing};
use super::{account, archive, feed, join, leave, plans, preferences, view};
use crate::domain::address::Address;
use crate::domain::allowance::{Allowance, Network, Quota};
use crate::domain::body::escape_html;
use crate::domain::joining::{Asked, Confirmed};
use crate::domain::publication::Publication;
use crate::domain::sign_in::Place;
use crate::domain::subscriber::Subscriber;
use crate::domain::token::{Purpose, Subject};
use crate::mail::token::Keyring;
use crate::render::Article;
use crate::runtime::{Clock, Timestamp};
use crate::store::suppressions::Suppression;
use crate::store::{Store, StoreError, people, suppressions};

/// Longer than this nobody waits for a page.
const WITHIN: Duration = Duration::from_secs(20);

/// Asking for mails, in an hour. Offices share an address, so it is not one.
const ASKING: Quota = Quota { window: Duration::from_secs(3600), address: 20, neighbourhood: 60, all: 2000 };

/// No script, no picture and no style from elsewhere, no frame around it (W209, W223).
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Why something could not be done now, for the log.
pub type Away = String;

/// The editors' files as pages show them.
pub trait Shown: Send + Sync {
    fn publication(&self) -> &Publication;
    /// As shown to readers.
    fn support(&self) -> &str;
    fn article(&self, id: &str) -> Option<&Article>;
    fn articles(&self) -> Vec<&Article>;
}

/// The steps behind the pages.
pub trait Doors: Send + Sync {
    /// What counts now.
    fn shown(&self) -> Arc<dyn Shown>;
    /// Answers whether the person got mail until now.
    fn leave(self: Arc<Self>, subscriber: i64) -> BoxFuture<'static, Result<bool, Away>>;
    /// Answers whether the leaving could be taken back.
    fn come_back(self: Arc<Self>, subscriber: i64, from: IpAddr) -> BoxFuture<'static, Result<bool, Away>>;
    fn prefer(
        self: Arc<Self>,
        subscriber: i64,
        name: String,
        paused_until: Option<Timestamp>,
    ) -> BoxFuture<'static, Result<(), Away>>;
    fn ask_to_move(
        self: Arc<Self>,
        subscriber: i64,
        address: Address,
        from: IpAddr,
    ) -> BoxFuture<'static, Result<Asked, Away>>;
    fn join(
        self: Arc<Self>,
        address: Address,
        name: String,
        from: IpAddr,
    ) -> BoxFuture<'static, Result<Asked, Away>>;
    fn confirm(self: Arc<Self>, link: Subject, from: IpAddr) -> BoxFuture<'static, Result<Confirmed, Away>>;
}

/// What the public pages need.
pub struct Public {
    pub doors: Arc<dyn Doors>,
    pub entrance: Arc<dyn Entrance>,
    pub store: Store,
    pub keyring: Arc<Keyring>,
    pub clock: Arc<dyn Clock>,
    /// Where the store lives: what it is asked runs there.
    pub main: Handle,
    /// Whose word about the client's address is believed (W213).
    pub proxies: Vec<Network>,
}

/// Shared by all requests.
#[derive(Clone)]
pub(super) struct Site(Arc<Inner>);

struct Inner {
    public: Public,
    book: Book,
    asking: Mutex<Allowance>,
    gate: Gate,
}

/// Where a connection comes from; `serve` puts it into each request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Where a request comes from, whatever stands between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client(pub IpAddr);

/// A person as pages see them.
pub(super) struct Reader {
    pub person: Subscriber,
    pub suppression: Option<Suppression>,
    pub paused_until: Option<Timestamp>,
}

/// The public pages.
pub fn public(public: Public) -> Router {
    let asking = Mutex::new(Allowance::new(ASKING));
    let (entrance, keyring) = (public.entrance.clone(), public.keyring.clone());
    let gate = Gate::new(Place::Public, entrance, keyring, public.clock.clone(), public.main.clone());
    let site = Site(Arc::new(Inner { public, book: Book::new(), asking, gate }));
    // A router that redirects a slash would break one-click unsubscribing (W40): both are the same page.
    Router::new()
        .route("/u/{token}", get(leave::page).post(leave::act))
        .route("/u/{token}/", get(leave::page).post(leave::act))
        .route("/p/{token}", get(preferences::page).post(preferences::save))
        .route("/p/{token}/address", get(preferences::page).post(preferences::move_to))
        .route("/c/{token}", get(join::confirmation).post(join::confirm))
        .route("/v/{token}", get(view::page))
        .route("/media/{name}", get(view::media))
        .route("/join", get(join::page).post(join::ask))
        .route("/archive", get(archive::list))
        .route("/archive/{id}", get(archive::article))
        .route("/plans", get(plans::page))
        .route("/feed.xml", get(feed::atom))
        .route("/you", get(account::page))
        .route("/", get(archive::front))
        .route("/tokens.css", get(style))
        .route("/robots.txt", get(robots))
        .merge(sign_in::routes())
        .fallback(async |State(site): State<Site>| site.gone())
        .layer(from_fn_with_state(site.clone(), guard))
        .with_state(site)
}

/// What every request goes through: who asks, and what browsers may do with the answer.
async fn guard(State(site): State<Site>, mut request: Request, next: Next) -> Response {
    let client = client(&site.0.public.proxies, &request);
    request.extensions_mut().insert(client);
    fenced(next.run(request).await)
}

/// What browsers may do with an answer that says nothing else.
pub(super) fn fenced(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "private, no-store"),
        (HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    answer
}

/// A mail as a page: its HTML, or its text where it has none.
pub(super) fn page_of_a_mail(html: String, text: &str) -> String {
    if !html.is_empty() {
        return html;
    }
    let mut page = "<!doctype html><meta charset=\"utf-8\"><pre>".to_owned();
    escape_html(text, &mut page);
    page
}

impl Site {
    pub fn public(&self) -> &Public {
        &self.0.public
    }

    pub fn now(&self) -> Timestamp {
        self.0.public.clock.now()
    }

    pub fn shown(&self) -> Arc<dyn Shown> {
        self.0.public.doors.shown()
    }

    /// The row that a token of this purpose names (W42, W207).
    pub fn row(&self, token: &str, purpose: Purpose) -> Option<i64> {
        self.subject(token, purpose).map(|subject| subject.row)
    }

    /// The same with what binds it.
    pub fn subject(&self, token: &str, purpose: Purpose) -> Option<Subject> {
        self.0.public.keyring.verify(token).filter(|subject| subject.purpose == purpose)
    }

    pub fn mint(&self, purpose: Purpose, row: i64) -> String {
        self.0.public.keyring.mint(Subject { purpose, row, second: 0 })
    }

    /// Whether this place may ask for a mail once more.
    pub fn may_ask(&self, from: IpAddr) -> bool {
        let now = self.now();
        // A count is whole whatever its last writer did.
        self.0.asking.lock().unwrap_or_else(PoisonError::into_inner).take(from, now)
    }

    /// Does something where the store lives. The error is the page that says "later".
    pub async fn ask<T: Send + 'static>(
        &self,
        step: impl Future<Output = Result<T, Away>> + Send + 'static,
    ) -> Result<T, Response> {
        let asked = done(&self.0.public.main, "a public page", step).await;
        asked.ok_or_else(|| self.later(StatusCode::SERVICE_UNAVAILABLE))
    }

    /// Reads something from the store.
    pub async fn read<T, F>(&self, question: impl FnOnce(Store) -> F) -> Result<T, Response>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        let asked = question(self.0.public.store.clone());
        self.ask(async move { asked.await.map_err(|error| error.to_string()) }).await
    }

    pub async fn reader(&self, id: i64) -> Result<Option<Reader>, Response> {
        self.read(|store| async move {
            let mut tx = store.read().await?;
            // Who was erased, or never confirmed, has left a row without a person.
            let person = people::by_id(&mut tx, id).await?.filter(|one| !one.address.as_str().is_empty());
            let Some(person) = person else { return Ok(None) };
            let suppression = suppressions::of(&mut tx, &person.address).await?;
            let paused_until = people::paused_until(&mut tx, id).await?;
            Ok(Some(Reader { person, suppression, paused_until }))
        })
        .await
    }

    /// A page of the book, with what every page knows.
    pub fn page(&self, status: StatusCode, name: &str, fields: Value) -> Response {
        match self.html(name, fields) {
            Some(html) => {
                (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response()
            }
            None => (StatusCode::INTERNAL_SERVER_ERROR, "This page is broken.\n").into_response(),
        }
    }

    /// The same as text; `None`: it cannot be rendered, and the log says why.
    pub fn html(&self, name: &str, mut fields: Value) -> Option<String> {
        let shown = self.shown();
        let publication = shown.publication();
        fields["publication"] = json!({
            "name": publication.name,
            "url": publication.url,
            "postal_address": publication.postal_address,
            "support": shown.support(),
            "language": publication.language,
        });
        fields["base"] = self.base().into();
        let page = self.0.book.page(name, &fields);
        page.inspect_err(|error| tracing::error!(%error, page = name, "a page cannot be rendered")).ok()
    }

    /// What stands in front of every path where the publication's URL has one.
    pub fn base(&self) -> String {
        sign_in::base(self)
    }

    /// The one answer to every link that is wrong, old or somebody's who is gone (W42).
    pub fn gone(&self) -> Response {
        let fields = json!({
            "title": "This link does not work",
            "lead": "It may be cut off, or older than what it was for.",
            "hint": "Take the link of a newer mail. Answering any of our mails reaches a person.",
        });
        self.page(StatusCode::NOT_FOUND, "note", fields)
    }

    pub fn later(&self, status: StatusCode) -> Response {
        sign_in::later_with(self, status)
    }
}

/// Does something where the store lives, for whoever waits. `None`: it was not done, and the log says why.
pub(super) async fn done<T: Send + 'static>(
    main: &Handle,
    who: &str,
    step: impl Future<Output = Result<T, Away>> + Send + 'static,
) -> Option<T> {
    let why = match main.spawn(tokio::time::timeout(WITHIN, step)).await {
        Ok(Ok(Ok(answer))) => return Some(answer),
        Ok(Ok(Err(why))) => why,
        Ok(Err(_)) => format!("no answer within {} s", WITHIN.as_secs()),
        Err(error) => error.to_string(),
    };
    tracing::error!(%why, "{who} could not do what it was asked for");
    None
}

/// Who asks. A proxy that we know says for whom it does; anybody else may say what they like (W213).
pub(super) fn client(proxies: &[Network], request: &Request) -> Client {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    let mut client = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let headers = request.headers().get_all("x-forwarded-for");
    let named = headers.iter().filter_map(|value| value.to_str().ok());
    let hops: Vec<&str> = named.flat_map(|value| value.split(',')).map(str::trim).collect();
    for hop in hops.iter().rev() {
        if !proxies.iter().any(|proxy| proxy.holds(client)) {
            break;
        }
        let Ok(address) = hop.parse() else { break };
        client = address;
    }
    Client(client.to_canonical())
}

impl Signing for Site {
    fn gate(&self) -> &Gate {
        &self.0.gate
    }

    fn url(&self) -> String {
        self.shown().publication().url.clone()
    }

    fn home(&self) -> &'static str {
        "/archive"
    }

    fn page(&self, status: StatusCode, name: &str, fields: Value) -> Response {
        Site::page(self, status, name, fields)
    }
}

/// `j•••@reader.example`: enough to know oneself by (W209).
pub(super) fn masked(address: &Address) -> String {
    let first: String = address.local().chars().take(1).collect();
    format!("{first}\u{2022}\u{2022}\u{2022}@{}", address.domain())
}

pub(super) async fn style() -> impl IntoResponse {
    let headers =
        [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "public, max-age=86400")];
    (headers, super::book::STYLE)
}

async fn robots() -> impl IntoResponse {
    let text = "User-agent: *\nDisallow: /u/\nDisallow: /p/\nDisallow: /c/\nDisallow: /v/\nDisallow: /s/\nDisallow: /sign-in\nDisallow: /you\n";
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text)
}
