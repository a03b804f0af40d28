//! Layer 4: pages. The private listener has [`private`] for operators (health and numbers) and [`house`](house()) for staff and editors; the
//! public one has [`public`](public()) for everybody (links in mails, the way in, the archive).
//!
//! [`serve`] bounds whatever a peer does. Pages have a thread of their own: only what they ask of the store runs beside sending.

mod account;
mod archive;
mod board;
mod book;
mod conversation;
mod counted;
mod desk;
mod feed;
mod form;
mod health;
mod house;
mod join;
mod leave;
mod look;
mod numbers;
mod plans;
mod preferences;
mod public;
mod reading;
mod server;
mod sign_in;
mod upload;
mod view;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::runtime::Handle;

use crate::runtime::{Clock, Shutdown, Timestamp, Vitals};
use crate::store::Store;
pub use house::{House, HouseDoors, house};
pub use public::{Away, Doors, Peer, Public, Shown, public};
pub use server::{Limits, serve};
pub use sign_in::Entrance;

/// What pages of one process know.
pub struct Process {
    pub store: Store,
    pub owner: i64,
    pub vitals: Vitals,
    pub clock: Arc<dyn Clock>,
    pub shutdown: Shutdown,
    pub started_at: Timestamp,
    /// Where the store lives: what it is asked runs there.
    pub main: Handle,
}

impl Process {
    fn folder(&self) -> Option<PathBuf> {
        self.store.folder().map(PathBuf::from)
    }

    /// Asks the store, for so long at most.
    async fn ask<T, F>(&self, within: Duration, question: F) -> Result<T, String>
    where
        F: Future<Output = Result<T, crate::store::StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        let asked = self.main.spawn(tokio::time::timeout(within, question));
        // Once more out here: the other thread may be what is stuck.
        match tokio::time::timeout(within, asked).await {
            Ok(Ok(Ok(Ok(answer)))) => Ok(answer),
            Ok(Ok(Ok(Err(error)))) => Err(error.to_string()),
            Ok(Ok(Err(_))) | Err(_) => Err(format!("no answer within {} s", within.as_secs())),
            Ok(Err(error)) => Err(error.to_string()),
        }
    }
}

/// The private pages.
pub fn private(process: Process) -> Router {
    let process = Arc::new(process);
    let health = Arc::new(health::Checkup::new(process.clone()));
    let numbers = Arc::new(numbers::Sheet::new(process));
    Router::new()
        .route("/health", get(health::page).with_state(health))
        .route("/metrics", get(numbers::page).with_state(numbers))
}
