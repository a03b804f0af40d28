//! The pages of a process: those of the house and those for everybody, each on its listener.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Notify;

use super::{Daemon, StartProblem};
use crate::app::operations::PagesListener;
use crate::app::{Setup, house, public};
use crate::runtime::Timestamp;
use crate::tasks::leaving;
use crate::web;

impl Daemon {
    pub(super) async fn start_pages(
        &mut self,
        setup: &Setup,
        listener: PagesListener,
        wake: Arc<Notify>,
        started_at: Timestamp,
    ) -> Result<(), StartProblem> {
        let house = house::pages(setup, &self.store, (self.alarms.clone(), wake), &self.clock).await?;
        let pages = web::private(web::Process {
            store: self.store.clone(),
            owner: self.owner,
            vitals: self.vitals.clone(),
            clock: self.clock.clone(),
            shutdown: self.shutdown.clone(),
            started_at,
            main: tokio::runtime::Handle::current(),
        });
        self.serve("web.private", listener, pages.merge(house), web::Limits::PRIVATE)
    }

    /// The pages for everybody, and the line that writes down who leaves.
    pub(super) fn start_public(
        &mut self,
        setup: &Setup,
        listener: PagesListener,
        wake: Arc<Notify>,
    ) -> Result<(), StartProblem> {
        let (leaver, line) = leaving::leaver(self.store.clone());
        let clock = self.clock.clone();
        self.workers.spawn(async move {
            line.run(|| clock.now()).await;
            "leaving"
        });
        let readers = public::readers(setup, &self.store, self.alarms.clone(), wake);
        let pages = public::pages(setup, readers, leaver, &self.clock);
        self.serve("web.listen", listener, pages, web::Limits::PUBLIC)
    }

    fn serve(
        &mut self,
        key: &'static str,
        listener: PagesListener,
        pages: axum::Router,
        limits: web::Limits,
    ) -> Result<(), StartProblem> {
        let address = listener.address().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        let ended = listener
            .serve(pages, limits, self.shutdown.clone())
            .map_err(|error| StartProblem::Pages { key, address, error })?;
        self.workers.spawn(async move {
            // An error is its end as well.
            drop(ended.await);
            "pages"
        });
        Ok(())
    }
}
