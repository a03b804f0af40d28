//! The doors that mail comes in by, and the line that records what they take.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::Setup;
use crate::intake::lmtp::{self, Listener, LmtpConfig};
use crate::runtime::{Clock, Shutdown};
use crate::store::Store;
use crate::tasks::alarm::Alarms;
use crate::tasks::mailbox::{Common, MailboxLine};
use crate::tasks::maildir::MaildirLine;
use crate::tasks::recording::{self, Doors};

/// What doors need of the process that they belong to.
pub(super) struct House {
    pub store: Store,
    pub alarms: Alarms,
    pub clock: Arc<dyn Clock>,
    pub shutdown: Shutdown,
    /// Notified after each commit.
    pub recorded: Arc<Notify>,
}

/// Opens every door that the config names. Without any nothing is recorded here: `ingest` brings its own line.
pub(super) fn open(
    workers: &mut JoinSet<&'static str>,
    setup: &Setup,
    listener: Option<Listener>,
    house: House,
) {
    let intake = &setup.settings.intake;
    let (own, max_message) = (Arc::new(setup.own()), intake.max_message);
    let (recorder, line) = recording::recorder(house.store.clone(), house.recorded.clone());
    let line = line.telling(house.alarms.clone());
    let clock = house.clock.clone();
    let common = || Common {
        store: house.store.clone(),
        recorder: recorder.clone(),
        own: own.clone(),
        max_message,
        alarms: house.alarms.clone(),
        clock: house.clock.clone(),
        shutdown: house.shutdown.clone(),
    };
    let mut any = false;
    if let (Some(listener), Some(lmtp)) = (listener, &intake.lmtp) {
        any = true;
        let doors = Arc::new(Doors { recorder: recorder.clone(), own: own.clone() });
        let mut config = LmtpConfig::new(setup.settings.message_id_domain.clone(), max_message);
        config.max_sessions = lmtp.sessions;
        let shutdown = house.shutdown.clone();
        workers.spawn(async move {
            lmtp::serve(listener, config, doors, shutdown).await;
            "lmtp"
        });
    }
    if let Some(imap) = &intake.imap {
        any = true;
        let mailbox = MailboxLine::new(imap.clone(), common());
        workers.spawn(async move {
            mailbox.run().await;
            "imap"
        });
    }
    if let Some(maildir) = &intake.maildir {
        any = true;
        let maildir = MaildirLine { settings: maildir.clone(), common: common() };
        workers.spawn(async move {
            maildir.run().await;
            "maildir"
        });
    }
    if any {
        workers.spawn(async move {
            line.run(|| clock.now()).await;
            "recording"
        });
    }
}
