//! A store that began as a copy of another one: on hold until an operator says that it may be used, and then careful.
//!
//! The copy knows what was queued when it was taken, not what was sent since. So nothing that it has queued leaves by itself:
//! editions pause, mail of the desk becomes uncertain, and what fell due in the meantime waits for approval
//! (`Scheduler::after_restore`). Deliveries, conversations, people and editions are numbered far above what the lost database can
//! have used, so no link or address of a mail that it sent acts on somebody else; whoever was signed in signs in again. Known gap:
//! who unsubscribed after the copy was taken is subscribed in it.

use crate::domain::delivery;
use crate::domain::settings::RetrySettings;
use crate::runtime::Timestamp;
use crate::store::copies::{self, Copy, PutAside};
use crate::store::{Store, StoreError, audit};

/// The mark of a copy that nobody has released.
///
/// # Errors
/// When the database fails.
pub async fn held(store: &Store) -> Result<Option<Copy>, StoreError> {
    let newest = copies::newest(&mut store.read().await?).await?;
    Ok(newest.filter(|copy| copy.restored_at.is_none()))
}

/// When this store was put to use as a copy, if ever.
///
/// # Errors
/// When the database fails.
pub async fn restored_at(store: &Store) -> Result<Option<Timestamp>, StoreError> {
    Ok(copies::newest(&mut store.read().await?).await?.and_then(|copy| copy.restored_at))
}

/// Why nothing is sent.
pub fn reason(copy: &Copy) -> String {
    format!("on hold: this database is a copy of {}; `tidings run --restored` puts it to use", copy.taken_at)
}

/// Releases the copy. Where there is no mark (a dump of PostgreSQL, a file that was copied by other means), the operator's word is
/// enough: everything that is queued counts as queued when the copy was taken.
///
/// # Errors
/// When the database fails; the mark is still there.
pub async fn restore(store: &Store, retry: &RetrySettings, now: Timestamp) -> Result<PutAside, StoreError> {
    let mut tx = store.write().await?;
    let copy = match copies::newest(&mut tx).await?.filter(|copy| copy.restored_at.is_none()) {
        Some(copy) => copy,
        None => {
            copies::mark(&mut tx, now).await?;
            copies::newest(&mut tx)
                .await?
                .ok_or(StoreError::Corrupt { what: "a copy", why: "its mark is gone".into() })?
        }
    };
    let resend_at = delivery::uncertain_due(0, now, retry).unwrap_or(now);
    let aside = copies::restore(&mut tx, copy, retry.on_uncertain, resend_at, now).await?;
    let detail = format!("copy of {}; paused {}", copy.taken_at, aside.editions.join(", "));
    audit::record(&mut tx, now, "cli", "restored", "", &detail).await?;
    tx.commit().await?;
    tell(&copy, &aside);
    Ok(aside)
}

fn tell(copy: &Copy, aside: &PutAside) {
    let since = copy.taken_at;
    tracing::warn!(%since, desk = aside.desk, "restored from a copy; who unsubscribed since is subscribed again: import them before you resume");
    for edition in &aside.editions {
        tracing::warn!(%edition, %since, "paused: `editions resume` sends what the copy knows as queued, which may double; `editions cancel` ends it");
    }
}
