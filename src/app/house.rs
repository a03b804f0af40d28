//! The doors of the house's pages: which step is behind which button.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use super::receiving::desk;
use super::{Setup, public};
use crate::domain::board::{Ahead, BoardOrder, Look, Ordered};
use crate::domain::desk::{DeskOrder, Outcome};
use crate::domain::settings::Settings;
use crate::mail::compose::Frame;
use crate::runtime::Clock;
use crate::store::{Store, StoreError};
use crate::tasks::alarm::Alarms;
use crate::tasks::content::{Content, Shelf};
use crate::tasks::desk_page::DeskPage;
use crate::tasks::{board, frames, look};
use crate::web::{self, Away, HouseDoors, Shown};

/// The steps of one process.
struct Doors {
    shelf: Arc<Shelf>,
    desk: DeskPage,
    clock: Arc<dyn Clock>,
}

impl HouseDoors for Doors {
    fn shown(&self) -> Arc<dyn Shown> {
        self.shelf.get()
    }

    fn desk(self: Arc<Self>, order: DeskOrder) -> BoxFuture<'static, Result<Outcome, Away>> {
        Box::pin(async move {
            let outcome = self.desk.obey(&order, self.clock.now()).await;
            outcome.map_err(|problem| problem.to_string())
        })
    }

    fn board(self: Arc<Self>, order: BoardOrder) -> BoxFuture<'static, Result<Ordered, Away>> {
        Box::pin(async move {
            let content = self.shelf.get();
            let ordered = board::obey(&self.desk.store, &content, &order, self.clock.now()).await;
            self.desk.wake.notify_waiters();
            ordered.map_err(|error| error.to_string())
        })
    }

    fn ahead(self: Arc<Self>) -> BoxFuture<'static, Result<Ahead, Away>> {
        Box::pin(async move {
            // As the scheduler does: what editors see is what their files say now.
            let shelf = self.shelf.clone();
            let read = tokio::task::spawn_blocking(move || shelf.refresh()).await;
            let content = match read.map_err(|error| error.to_string())? {
                Ok(content) => content,
                Err(problems) => return Err(format!("{} problems in the editors' files", problems.len())),
            };
            let ahead = board::ahead(&self.desk.store, &content, self.clock.now(), DATES).await;
            ahead.map_err(|error| error.to_string())
        })
    }

    fn look(self: Arc<Self>, slug: String) -> BoxFuture<'static, Result<Look, Away>> {
        Box::pin(async move {
            let shelf = self.shelf.clone();
            let read = tokio::task::spawn_blocking(move || shelf.refresh()).await;
            let content = match read.map_err(|error| error.to_string())? {
                Ok(content) => content,
                Err(problems) => {
                    return Ok(Look::Problems(problems.iter().take(10).map(ToString::to_string).collect()));
                }
            };
            let frame = frame(&self.desk.desk.settings, &content);
            let looked = look::look(&self.desk.store, &content, &frame, &slug, self.clock.now()).await;
            looked.map_err(|error| error.to_string())
        })
    }
}

/// The publication's constant part of mails, as it is now.
fn frame(settings: &Settings, content: &Content) -> Frame {
    frames::edition(settings, &content.publication)
}

/// Dates that the board shows.
const DATES: usize = 4;

/// The pages of the house in one process. Called where the store lives.
///
/// # Errors
/// When the database fails.
pub async fn pages(
    setup: &Setup,
    store: &Store,
    (alarms, wake): (Alarms, Arc<Notify>),
    clock: &Arc<dyn Clock>,
) -> Result<axum::Router, StoreError> {
    let readers = public::readers(setup, store, alarms.clone(), wake.clone());
    let web = &setup.settings.web;
    let desk = DeskPage { desk: desk(setup, store, alarms).await?, store: store.clone(), wake };
    Ok(web::house(web::House {
        entrance: public::front_door(&readers, clock),
        doors: Arc::new(Doors { shelf: setup.shelf.clone(), desk, clock: clock.clone() }),
        store: store.clone(),
        keyring: setup.keyring.clone(),
        clock: clock.clone(),
        main: tokio::runtime::Handle::current(),
        url: web.private_base(),
        desk_name: setup.settings.desk.mailbox.name.clone(),
        proxies: web.proxies.clone(),
    }))
}
