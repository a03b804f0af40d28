//! Everything that understands recorded messages, put together for the daemon and for commands.

use std::sync::Arc;

use tokio::sync::Notify;

use super::{Setup, public};
use crate::domain::settings::IntakeSettings;
use crate::intake::signature::Signatures;
use crate::store::{Store, StoreError, staff};
use crate::tasks::alarm::Alarms;
use crate::tasks::notice::Press;
use crate::tasks::receive::{Proving, Receiver};
use crate::tasks::report::Reporter;
use crate::tasks::threading::Desk;

/// What answers are given with, for the daemon, commands and pages: the staff of the config are entered in the store.
///
/// # Errors
/// When the database fails.
pub async fn desk(setup: &Setup, store: &Store, alarms: Alarms) -> Result<Desk, StoreError> {
    let mut tx = store.write().await?;
    let staff = staff::sync(&mut tx, &setup.settings.desk.staff).await?;
    tx.commit().await?;
    let press = Press {
        shelf: setup.shelf.clone(),
        frame: setup.notice_frame(),
        desk_name: setup.settings.desk.mailbox.name.clone(),
        house: setup.settings.web.private_base(),
    };
    Ok(Desk { staff, press, keyring: setup.keyring.clone(), settings: setup.settings.clone(), alarms })
}

/// The receiver of one process.
///
/// # Errors
/// When the database fails.
pub async fn receiver(
    setup: &Setup,
    store: &Store,
    alarms: Alarms,
    wake: Arc<Notify>,
) -> Result<Receiver, StoreError> {
    Ok(Receiver {
        store: store.clone(),
        keyring: setup.keyring.clone(),
        own: Arc::new(setup.own()),
        desk: desk(setup, store, alarms.clone()).await?,
        max_message: setup.settings.intake.max_message,
        reporter: Reporter { shelf: setup.shelf.clone(), settings: setup.settings.clone() },
        readers: public::readers(setup, store, alarms, wake.clone()),
        proving: proving(&setup.settings.intake),
        marks: Default::default(),
        wake,
    })
}

fn proving(intake: &IntakeSettings) -> Proving {
    match &intake.authserv_id {
        Some(id) => Proving::Server(id.clone()),
        None => match Signatures::new(intake.resolver) {
            Ok(signatures) => Proving::Signatures(Box::new(signatures)),
            Err(why) => Proving::Nothing(format!("no name server can be asked for keys: {why}")),
        },
    }
}
