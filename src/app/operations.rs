//! What operators see and do: pages, signs of life, alarms of the daemon's own workers, a reload, a copy that is put to use.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::oneshot;

use super::daemon::{Parts, StartProblem};
use super::setup::Setup;
use crate::domain::alarm::AlarmCause;
use crate::runtime::{Clock, Pulse, Shutdown, Timestamp, Vitals};
use crate::store::{Dialect, Store, StoreError};
use crate::tasks::alarm::Alarms;
use crate::tasks::content::Shelf;
use crate::tasks::ledger::Ledger;
use crate::tasks::receive::{self, Receiver};
use crate::tasks::{lease, measure, restore};
use crate::web;

/// How often the ledger is asked whether it still answers.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// A bound listener of pages.
pub(super) struct PagesListener(std::net::TcpListener);

impl PagesListener {
    pub fn bind(address: SocketAddr) -> std::io::Result<PagesListener> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(PagesListener(listener))
    }

    pub fn address(&self) -> Option<SocketAddr> {
        self.0.local_addr().ok()
    }

    /// Serves on a thread of its own, so that who asks for pages takes no time from sending. The answer resolves when it ends.
    ///
    /// # Errors
    /// When there is no further thread.
    pub fn serve(
        self,
        pages: Router,
        limits: web::Limits,
        shutdown: Shutdown,
    ) -> std::io::Result<oneshot::Receiver<()>> {
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new().name("pages".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(async move {
                    match tokio::net::TcpListener::from_std(self.0) {
                        Ok(listener) => web::serve(listener, pages, limits, shutdown).await,
                        Err(error) => tracing::error!(%error, "the pages' listener"),
                    }
                }),
                Err(error) => tracing::error!(%error, "the pages' thread"),
            }
            // Whoever waits may be gone.
            let _ = end.send(());
        })?;
        Ok(ended)
    }
}

/// # Errors
/// When somebody else listens there, or nobody may.
pub(super) fn bind_pages(
    key: &'static str,
    address: Option<SocketAddr>,
) -> Result<Option<PagesListener>, StartProblem> {
    let Some(address) = address else { return Ok(None) };
    let bound = PagesListener::bind(address);
    bound.map(Some).map_err(|error| StartProblem::Pages { key, address, error })
}

/// Says that every worker makes progress, as often as the init system wants to hear it, and nothing while one does not.
pub(super) async fn watchdog(vitals: Vitals, every: Duration, shutdown: Shutdown, alive: impl Fn()) {
    let mut stuck = Vec::new();
    loop {
        let now_stuck = vitals.stuck();
        if now_stuck.is_empty() {
            alive();
        } else if now_stuck != stuck {
            tracing::error!(
                workers = now_stuck.join(", "),
                "no progress; the init system is not told that we live"
            );
        }
        stuck = now_stuck;
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = shutdown.wait() => return,
        }
    }
}

/// Asks the ledger for nothing, now and then. Any answer is a sign of life: that the store is away is said elsewhere.
pub(super) async fn ask_ledger(ledger: Ledger, pulse: Pulse, shutdown: Shutdown) {
    loop {
        tokio::select! {
            _ = ledger.ask(None, false) => pulse.beat(),
            () = shutdown.wait() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(ASK_EVERY) => {}
            () = shutdown.wait() => return,
        }
    }
}

/// Takes all that was recorded through the line, each once, and counts. On hold nothing is read, and nobody told.
pub(super) async fn understand(
    receiver: &Receiver,
    clock: &dyn Clock,
    alarms: &Alarms,
    pulse: &Pulse,
) -> Result<(), StoreError> {
    if restore::held(&receiver.store).await?.is_some() {
        return Ok(());
    }
    let mut after = 0;
    loop {
        let (step, id) = receiver.step(after, clock.now()).await?;
        measure::received(&step);
        match step {
            receive::Step::Idle => break,
            receive::Step::Failed { quarantined: true } => {
                let text = format!("number {id}; its reason is in `tidings inbound list`");
                alarms.raise(AlarmCause::InboundQuarantined, "", &text, clock.now());
            }
            receive::Step::Failed { .. } | receive::Step::Done(_) => {}
        }
        pulse.beat();
        after = id;
    }
    if let Err(problem) = receiver.desk.tell_lost(&receiver.store, clock.now()).await {
        tracing::error!(%problem, "staff could not be told of an answer that did not arrive");
    }
    Ok(())
}

/// Puts a copy to use: what it has queued waits for a word. Beside a running daemon it is refused.
///
/// # Errors
/// When the store is held by a daemon, or is away.
pub async fn restored(setup: &Setup, store: &Store, now: Timestamp) -> Result<(), StartProblem> {
    let _alone = store.lock_for_daemon()?;
    // A file is locked; processes on PostgreSQL are known by their heartbeats.
    if store.dialect() == Dialect::Postgres && lease::living(store, now).await? > 0 {
        return Err(StartProblem::NotAlone);
    }
    restore::restore(store, &setup.settings.retry, now).await?;
    Ok(())
}

/// The parts that may run: a copy that nobody has released records mail, serves pages and answers commands, and no more.
pub(super) async fn on_hold(
    store: &Store,
    (vitals, now): (&Vitals, Timestamp),
    parts: Parts,
) -> Result<Parts, StoreError> {
    let Some(copy) = restore::opened(store, now).await? else { return Ok(parts) };
    let why = restore::reason(&copy);
    tracing::warn!("{why}");
    vitals.hold(why);
    Ok(Parts { schedule: false, send: false, ..parts })
}

pub(super) async fn reload(shelf: &Arc<Shelf>, alarms: &Alarms, now: Timestamp) {
    let shelf = shelf.clone();
    match tokio::task::spawn_blocking(move || shelf.refresh()).await {
        Ok(Ok(content)) => tracing::info!(articles = content.articles.len(), "the editors' files are read"),
        Ok(Err(problems)) => {
            if let Some(first) = problems.first() {
                let text = format!("{} problems, the first one: {first}", problems.len());
                alarms.raise(AlarmCause::ConfigRefused, "", &text, now);
            }
            for problem in problems {
                tracing::error!(%problem, "the editors' files are refused, what was read before stays");
            }
        }
        Err(error) => tracing::error!(%error, "reading the editors' files broke"),
    }
}

/// Answers whether a worker that ended before it was asked to ended as it should.
pub(super) fn report_early(ended: Option<Result<&'static str, tokio::task::JoinError>>) -> bool {
    match ended {
        Some(Ok(worker)) => tracing::error!(worker, "a worker ended by itself; the daemon stops"),
        Some(Err(error)) => tracing::error!(%error, "a worker broke; the daemon stops"),
        None => return true,
    }
    false
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_worker_that_is_stuck_silences_the_watchdog_until_it_goes_on() {
        let (vitals, shutdown) = (Vitals::default(), Shutdown::new());
        let keeping = vitals.worker("keeping", Duration::from_secs(3600));
        // No patience at all: it is stuck from the start.
        let ledger = vitals.worker("ledger", Duration::ZERO);
        let (told, said) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (counted, heard) = (told.clone(), said.clone());
        let alive = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            heard.notify_one();
        };
        let every = Duration::ZERO;
        let watching = tokio::spawn(watchdog(vitals.clone(), every, shutdown.clone(), alive));
        for _ in 0..50 {
            tokio::task::yield_now().await;
            keeping.beat();
        }
        assert_eq!(told.load(Ordering::SeqCst), 0);
        drop(ledger);
        vitals.worker("ledger", Duration::from_secs(3600));
        said.notified().await;
        shutdown.ask();
        watching.await.unwrap();
        assert!(told.load(Ordering::SeqCst) > 0);
    }
}
