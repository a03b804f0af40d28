//! The pages of the house, on the private listener: the desk for staff, the board for editors, and who may see what.
//!
//! Whoever is not signed in sees the form to sign in and nothing else; a reader's cookie opens nothing here ([`Place::Private`]). What
//! somebody is is asked for each request, so who has left is out at once. What changes something is asked of [`HouseDoors`], with a
//! token of the session in the form: SameSite=Lax alone would let another port of this host send it.
//! Known gap: a link that is asked for by somebody else is one mail of ours; the limits are those of all pages.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::book::Book;
use super::counted::{Kept, Paces};
use super::public::{Away, Shown, client, done, fenced, style};
use super::sign_in::{self, Entrance, Gate, Signed, Signing};
use super::{board, desk, look, upload};
use crate::domain::allowance::Network;
use crate::domain::board::{Ahead, BoardOrder, Look, Ordered};
use crate::domain::desk::{DeskOrder, Outcome};
use crate::domain::sign_in::{Place, Session, Who};
use crate::mail::token::Keyring;
use crate::runtime::{Clock, Timestamp};
use crate::store::editions::EditionRow;
use crate::store::{Store, StoreError};

/// Numbers are at least so old before they are read again.
const COUNTED: Duration = Duration::from_secs(1);
const AHEAD: Duration = Duration::from_secs(10);

/// For whom the desk is.
pub(super) const STAFF: &str = "the desk's staff";

/// The steps behind the pages.
pub trait HouseDoors: Send + Sync {
    /// What counts now.
    fn shown(&self) -> Arc<dyn Shown>;
    fn desk(self: Arc<Self>, order: DeskOrder) -> BoxFuture<'static, Result<Outcome, Away>>;
    fn board(self: Arc<Self>, order: BoardOrder) -> BoxFuture<'static, Result<Ordered, Away>>;
    /// Each tier's mail of this edition.
    fn look(self: Arc<Self>, slug: String) -> BoxFuture<'static, Result<Look, Away>>;
    fn ahead(self: Arc<Self>) -> BoxFuture<'static, Result<Ahead, Away>>;
}

/// What the pages need.
pub struct House {
    pub doors: Arc<dyn HouseDoors>,
    pub entrance: Arc<dyn Entrance>,
    pub store: Store,
    pub keyring: Arc<Keyring>,
    pub clock: Arc<dyn Clock>,
    /// Where the store lives: what it is asked runs there.
    pub main: Handle,
    /// Where the pages are reached, without a slash at the end.
    pub url: String,
    /// In whose name answers go out.
    pub desk_name: String,
    pub proxies: Vec<Network>,
}

/// Shared by all requests.
#[derive(Clone)]
pub(super) struct Rooms(Arc<Inner>);

struct Inner {
    house: House,
    book: Book,
    gate: Gate,
    counted: Kept<Option<Arc<EditionRow>>>,
    ahead: Kept<Arc<Ahead>>,
    paces: Paces,
    uploads: Semaphore,
}

/// Somebody who plans and sends editions.
pub(super) struct Editor(pub Session);

/// Somebody who answers conversations.
pub(super) struct Member {
    pub session: Session,
    /// Row of the member of staff.
    pub id: i64,
}

/// The pages of the house. Health and numbers are in another router, and open.
pub fn house(house: House) -> Router {
    let (entrance, keyring) = (house.entrance.clone(), house.keyring.clone());
    let gate = Gate::new(Place::Private, entrance, keyring, house.clock.clone(), house.main.clone());
    let (counted, ahead) = (Kept::new(COUNTED), Kept::new(AHEAD));
    let uploads = Semaphore::new(upload::AT_ONCE);
    let rooms = Inner { house, book: Book::new(), gate, counted, ahead, paces: Paces::default(), uploads };
    let rooms = Rooms(Arc::new(rooms));
    Router::new()
        .route("/", get(front))
        .route("/desk", get(desk::list))
        .route("/desk/{number}", get(desk::page).post(desk::act))
        .route("/desk/{number}/files/{file}", get(desk::file))
        .route("/board", get(board::board))
        .route("/board/{slug}", get(board::page).post(board::act))
        .route("/board/{slug}/cancel", get(board::cancel))
        .route("/board/{slug}/look", get(look::page))
        .route("/board/{slug}/look/{tier}", get(look::mail))
        .route("/tokens.css", get(style))
        .merge(sign_in::routes())
        .fallback(async |State(rooms): State<Rooms>| rooms.nothing())
        .layer(from_fn_with_state(rooms.clone(), guard))
        .with_state(rooms)
}

async fn guard(State(rooms): State<Rooms>, mut request: Request, next: Next) -> Response {
    let client = client(&rooms.0.house.proxies, &request);
    request.extensions_mut().insert(client);
    fenced(next.run(request).await)
}

/// Everybody gets the page that is theirs.
async fn front(State(rooms): State<Rooms>, Signed(session): Signed) -> Response {
    match session.who {
        Who::House { staff: Some(_), .. } => rooms.to("/desk"),
        _ => rooms.to("/board"),
    }
}

impl FromRequestParts<Rooms> for Editor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, rooms: &Rooms) -> Result<Editor, Response> {
        let Signed(session) = <Signed as FromRequestParts<Rooms>>::from_request_parts(parts, rooms).await?;
        match session.who {
            Who::House { editor: true, .. } => Ok(Editor(session)),
            _ => Err(rooms.not_yours("editors")),
        }
    }
}

impl FromRequestParts<Rooms> for Member {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, rooms: &Rooms) -> Result<Member, Response> {
        let Signed(session) = <Signed as FromRequestParts<Rooms>>::from_request_parts(parts, rooms).await?;
        Member::of(session).ok_or_else(|| rooms.not_yours(STAFF))
    }
}

impl Member {
    /// The member of staff whom a session is of.
    pub fn of(session: Session) -> Option<Member> {
        match session.who {
            Who::House { staff: Some(id), .. } => Some(Member { session, id }),
            _ => None,
        }
    }
}

impl Rooms {
    pub fn house(&self) -> &House {
        &self.0.house
    }

    /// Places for forms with files.
    pub fn uploads(&self) -> &Semaphore {
        &self.0.uploads
    }

    pub fn now(&self) -> Timestamp {
        self.0.house.clock.now()
    }

    pub fn shown(&self) -> Arc<dyn Shown> {
        self.0.house.doors.shown()
    }

    /// A path of these pages as a browser has to ask for it.
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", sign_in::base(self))
    }

    pub fn to(&self, path: &str) -> Response {
        (StatusCode::SEE_OTHER, [(header::LOCATION, self.path(path))]).into_response()
    }

    /// Does something where the store lives. The error is the page that says "later".
    pub async fn ask<T: Send + 'static>(
        &self,
        step: impl Future<Output = Result<T, Away>> + Send + 'static,
    ) -> Result<T, Response> {
        done(&self.0.house.main, "a page of the house", step).await.ok_or_else(|| self.later())
    }

    /// Reads something from the store.
    pub async fn read<T, F>(&self, question: impl FnOnce(Store) -> F) -> Result<T, Response>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        let asked = question(self.0.house.store.clone());
        self.ask(async move { asked.await.map_err(|error| error.to_string()) }).await
    }

    /// The numbers of an edition, at most some seconds old; `None`: there is no such edition.
    pub async fn counted(&self, slug: &str) -> Result<Option<Arc<EditionRow>>, Response> {
        let read = self.read(|store| board::count(store, slug.to_owned()));
        let counted = async { read.await.map(|row| row.map(Arc::new)) };
        Ok(self.0.counted.get(slug, self.now(), counted).await?.as_ref().clone())
    }

    /// How fast an edition goes, in deliveries a second.
    pub async fn pace(&self, row: &EditionRow) -> Option<f64> {
        self.0.paces.of(row, self.now()).await
    }

    /// What was changed is read again.
    pub async fn recount(&self) {
        self.0.counted.forget().await;
        self.0.ahead.forget().await;
    }

    /// What is to come; `None`: nobody knows now, and the log says why.
    pub async fn ahead(&self) -> Option<Arc<Ahead>> {
        let asked = async { self.ask(self.0.house.doors.clone().ahead()).await.map(Arc::new) };
        self.0.ahead.get("", self.now(), asked).await.ok().map(|kept| kept.as_ref().clone())
    }

    /// The links at the top of a page. `waiting`: conversations that wait for us.
    pub fn nav(&self, session: &Session, here: &str, waiting: i64) -> Value {
        let entry = |path: &str, label: String| json!({ "href": self.path(path), "label": label, "here": path == here });
        let mut entries = Vec::new();
        if let Who::House { editor: true, .. } = session.who {
            entries.push(entry("/board", "Board".to_owned()));
        }
        if let Who::House { staff: Some(_), .. } = session.who {
            let label = if waiting == 0 { "Desk".to_owned() } else { format!("Desk, {waiting} waiting") };
            entries.push(entry("/desk", label));
        }
        entries.push(entry("/sign-out", "Sign out".to_owned()));
        Value::Array(entries)
    }

    /// A page of the book, with what every page knows.
    pub fn page(&self, status: StatusCode, name: &str, mut fields: Value) -> Response {
        let shown = self.shown();
        let publication = shown.publication();
        fields["publication"] = json!({
            "name": publication.name,
            "postal_address": publication.postal_address,
            "support": shown.support(),
            "language": publication.language,
        });
        fields["base"] = sign_in::base(self).into();
        match self.0.book.page(name, &fields) {
            Ok(html) => (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response(),
            Err(error) => {
                tracing::error!(%error, page = name, "a page cannot be rendered");
                (StatusCode::INTERNAL_SERVER_ERROR, "This page is broken.\n").into_response()
            }
        }
    }

    pub fn nothing(&self) -> Response {
        let link = json!({ "href": self.path("/"), "label": "To the first page" });
        let lead = "There is no page of that name, or nothing of that number.";
        let fields = json!({ "title": "Nothing is here", "lead": lead, "link": link });
        self.page(StatusCode::NOT_FOUND, "note", fields)
    }

    pub fn not_yours(&self, whose: &str) -> Response {
        let fields = json!({
            "title": "This page is for others",
            "lead": format!("It is for {whose}, and you are signed in as somebody else."),
            "link": { "href": self.path("/sign-out"), "label": "Sign out" },
        });
        self.page(StatusCode::FORBIDDEN, "note", fields)
    }

    /// A form that no page of ours showed to this session.
    pub fn forged(&self) -> Response {
        let fields = json!({
            "title": "Nothing was done",
            "lead": "This form was not made for you, or you have signed in anew since.",
            "hint": "Go back, load the page again, and press the button there.",
        });
        self.page(StatusCode::FORBIDDEN, "note", fields)
    }

    fn later(&self) -> Response {
        let fields = json!({
            "title": "Not now, please",
            "lead": "We could not do this at the moment. Nothing was changed.",
            "hint": "Go back: what you wrote is still there. Try again in some minutes.",
        });
        self.page(StatusCode::SERVICE_UNAVAILABLE, "note", fields)
    }
}

impl Signing for Rooms {
    fn gate(&self) -> &Gate {
        &self.0.gate
    }

    fn url(&self) -> String {
        self.0.house.url.clone()
    }

    fn home(&self) -> &'static str {
        "/"
    }

    fn page(&self, status: StatusCode, name: &str, fields: Value) -> Response {
        Rooms::page(self, status, name, fields)
    }
}
