//! What nobody reports by itself and operators want to know: editions that wait for a word, a disk that fills.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::alarm::{Alarms, Teller};
use crate::domain::alarm::AlarmCause;
use crate::domain::edition::EditionState;
use crate::runtime::{Timestamp, disk};
use crate::store::{Store, StoreError, editions};

/// Looks now and then.
pub struct Watch {
    store: Store,
    alarms: Alarms,
    /// Where the database file lies; PostgreSQL watches its own disk.
    folder: Option<PathBuf>,
    /// Editions in `attention` that operators know of.
    known: BTreeSet<String>,
}

impl Watch {
    /// What was told before this process started is known.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn start(teller: &Teller) -> Result<Watch, StoreError> {
        let told = teller.recall().await?;
        let of_editions = told.into_iter().filter(|(cause, _)| *cause == AlarmCause::EditionAttention);
        Ok(Watch {
            alarms: teller.alarms.clone(),
            folder: teller.store.folder().map(PathBuf::from),
            known: of_editions.map(|(_, slug)| slug).collect(),
            store: teller.store.clone(),
        })
    }

    /// Looks at everything once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn step(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.look_at_disk(now);
        let mut tx = self.store.read().await?;
        let found = editions::in_state(&mut tx, EditionState::Attention).await?;
        let mut waiting = BTreeSet::new();
        for (_, slug) in found {
            if !self.known.contains(&slug) {
                let reason = editions::show(&mut tx, &slug).await?.map(|row| row.reason).unwrap_or_default();
                self.alarms.raise(AlarmCause::EditionAttention, &slug, &reason, now);
            }
            waiting.insert(slug);
        }
        self.known = waiting;
        Ok(())
    }

    fn look_at_disk(&self, now: Timestamp) {
        let Some(folder) = &self.folder else { return };
        match disk::room(folder) {
            Ok(room) if room.is_low() => {
                let text = format!("{} MB of {} MB are free", room.free >> 20, room.total >> 20);
                self.alarms.raise(AlarmCause::DiskLow, "", &text, now);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the disk cannot be looked at"),
        }
    }
}
