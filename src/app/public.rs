//! The public pages' doors: which step is behind which button.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Setup;
use crate::domain::address::Address;
use crate::domain::joining::{Asked, Confirmed};
use crate::domain::publication::Publication;
use crate::render::Article;
use crate::runtime::{Clock, Timestamp};
use crate::store::Store;
use crate::tasks::alarm::Alarms;
use crate::tasks::content::Content;
use crate::tasks::leaving::Leaver;
use crate::tasks::readers::{JoinAsk, JoinDoor, Readers};
use crate::web::{Away, Doors, Shown};
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

    fn confirm(self: Arc<Self>, request: i64, from: IpAddr) -> BoxFuture<'static, Result<Confirmed, Away>> {
        Box::pin(async move { self.readers.confirm(request, from, self.clock.now()).await.map_err(away) })
    }
}
