//! The doors of the house's pages: which step is behind which button.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use super::receiving::desk;
use super::{Setup, public};
use crate::domain::desk::{DeskOrder, Outcome};
use crate::runtime::Clock;
use crate::store::{Store, StoreError};
use crate::tasks::alarm::Alarms;
use crate::tasks::content::Shelf;
use crate::tasks::desk_page::DeskPage;
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
}

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
