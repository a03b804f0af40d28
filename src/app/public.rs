//! The public pages' doors: which step is behind which button.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Setup;
use crate::domain::address::Address;
use crate::domain::joining::{Asked, Confirmed};
use crate::domain::publication::Publication;
use crate::domain::sign_in::{Opened, Place, Session, Wish};
use crate::domain::token::Subject;
use crate::render::Article;
use crate::runtime::{Clock, Timestamp};
use crate::store::Store;
use crate::tasks::alarm::Alarms;
use crate::tasks::content::Content;
use crate::tasks::leaving::Leaver;
use crate::tasks::readers::{JoinAsk, JoinDoor, Readers};
use crate::tasks::sign_in::SignIn;
use crate::web::{self, Away, Doors, Entrance, Shown};
use tokio::sync::Notify;

/// What readers do themselves, over the store of this process.
pub(super) fn readers(setup: &Setup, store: &Store, alarms: Alarms, wake: Arc<Notify>) -> Readers {
    Readers {
        store: store.clone(),
        shelf: setup.shelf.clone(),
        settings: setup.settings.clone(),
        keyring: setup.keyring.clone(),
        alarms,
        wake,
    }
}

/// The steps of one process.
pub struct PublicDoors {
    pub readers: Readers,
    pub leaver: Leaver,
    pub clock: Arc<dyn Clock>,
}

impl Shown for Content {
    fn publication(&self) -> &Publication {
        &self.publication
    }

    fn support(&self) -> &str {
        &self.support
    }

    fn article(&self, id: &str) -> Option<&Article> {
        self.articles.get(id)
    }

    fn articles(&self) -> Vec<&Article> {
        self.articles.values().collect()
    }
}

fn away(error: impl std::fmt::Display) -> Away {
    error.to_string()
}

impl Doors for PublicDoors {
    fn shown(&self) -> Arc<dyn Shown> {
        self.readers.shelf.get()
    }

    fn leave(self: Arc<Self>, subscriber: i64) -> BoxFuture<'static, Result<bool, Away>> {
        Box::pin(async move { self.leaver.leave(subscriber).await.map_err(away) })
    }

    fn come_back(self: Arc<Self>, subscriber: i64, from: IpAddr) -> BoxFuture<'static, Result<bool, Away>> {
        Box::pin(
            async move { self.readers.come_back(subscriber, from, self.clock.now()).await.map_err(away) },
        )
    }

    fn prefer(
        self: Arc<Self>,
        subscriber: i64,
        name: String,
        paused_until: Option<Timestamp>,
    ) -> BoxFuture<'static, Result<(), Away>> {
        Box::pin(async move {
            self.readers.prefer(subscriber, &name, paused_until, self.clock.now()).await.map_err(away)
        })
    }

    fn ask_to_move(
        self: Arc<Self>,
        subscriber: i64,
        address: Address,
        from: IpAddr,
    ) -> BoxFuture<'static, Result<Asked, Away>> {
        Box::pin(async move {
            self.readers.ask_to_move(subscriber, &address, from, self.clock.now()).await.map_err(away)
        })
    }

    fn join(
        self: Arc<Self>,
        address: Address,
        name: String,
        from: IpAddr,
    ) -> BoxFuture<'static, Result<Asked, Away>> {
        Box::pin(async move {
            let ask = JoinAsk { address: &address, name: &name, door: JoinDoor::Website(from) };
            self.readers.join(&ask, self.clock.now()).await.map_err(away)
        })
    }

    fn confirm(self: Arc<Self>, link: Subject, from: IpAddr) -> BoxFuture<'static, Result<Confirmed, Away>> {
        Box::pin(async move { self.readers.confirm(link, from, self.clock.now()).await.map_err(away) })
    }
}

/// The public pages of one process. Called where the store lives.
pub fn pages(setup: &Setup, readers: Readers, leaver: Leaver, clock: &Arc<dyn Clock>) -> axum::Router {
    web::public(web::Public {
        store: readers.store.clone(),
        keyring: setup.keyring.clone(),
        entrance: front_door(&readers, clock),
        doors: Arc::new(PublicDoors { readers, leaver, clock: clock.clone() }),
        clock: clock.clone(),
        main: tokio::runtime::Handle::current(),
        proxies: setup.settings.web.proxies.clone(),
    })
}

/// The entrance of the pages, public and private.
pub fn front_door(readers: &Readers, clock: &Arc<dyn Clock>) -> Arc<FrontDoor> {
    Arc::new(FrontDoor { sign_in: SignIn(readers.clone()), clock: clock.clone() })
}

/// Signing in to the pages of one process, public and private.
pub struct FrontDoor {
    pub sign_in: SignIn,
    pub clock: Arc<dyn Clock>,
}

impl Entrance for FrontDoor {
    fn ask(self: Arc<Self>, wish: Wish) -> BoxFuture<'static, Result<(), Away>> {
        Box::pin(async move { self.sign_in.ask(&wish, self.clock.now()).await.map_err(away) })
    }

    fn look(
        self: Arc<Self>,
        place: Place,
        link: String,
    ) -> BoxFuture<'static, Result<Option<Address>, Away>> {
        Box::pin(async move { self.sign_in.look(place, &link, self.clock.now()).await.map_err(away) })
    }

    fn open(self: Arc<Self>, place: Place, link: String) -> BoxFuture<'static, Result<Option<Opened>, Away>> {
        Box::pin(async move { self.sign_in.open(place, &link, self.clock.now()).await.map_err(away) })
    }

    fn session(
        self: Arc<Self>,
        place: Place,
        cookie: String,
    ) -> BoxFuture<'static, Result<Option<Session>, Away>> {
        Box::pin(async move { self.sign_in.session(place, &cookie, self.clock.now()).await.map_err(away) })
    }

    fn close(self: Arc<Self>, session: Session, everywhere: bool) -> BoxFuture<'static, Result<(), Away>> {
        Box::pin(async move { self.sign_in.close(&session, everywhere).await.map_err(away) })
    }
}
