//! A store that began as a copy of another one: on hold until an operator says that it may be used, and then careful.
//!
//! The copy knows what was queued when it was taken, not what was sent since. So nothing that it has queued leaves by itself:
//! editions pause, mail of the desk becomes uncertain, and what fell due in the meantime waits for approval
//! (`Scheduler::after_restore`). Each opening numbers deliveries, conversations, people and editions above all others, before it
//! writes any (`domain::restored`), so no link or address of a mail of the lost database acts on somebody else; whoever was signed
//! in signs in again.
//!
//! Received mail is recorded on hold, and understood after the release (`store::inbound::next`): the lost database may have done
//! what it says. [`came_before`] finds such mail, and what it would send or approve asks first. Known gap: who unsubscribed after the
//! copy was taken, and not by a mail that comes again, is subscribed in it.

use super::threading::Message;
use crate::domain::delivery;
use crate::domain::restored::{Release, Traces};
use crate::domain::settings::{RetrySettings, StorageUrl};
use crate::runtime::Timestamp;
use crate::store::copies::{self, Copy, PutAside};
use crate::store::{Store, StoreError, Tx, audit, inbound};

/// The mark of a copy that nobody has released.
///
/// # Errors
/// When the database fails.
pub async fn held(store: &Store) -> Result<Option<Copy>, StoreError> {
    let newest = copies::newest(&mut store.read().await?).await?;
    Ok(newest.filter(|copy| copy.restored_at.is_none()))
}

/// Opens a store to enter people, conversations or mail in it.
///
/// # Errors
/// As [`Store::open`], and when it is a copy on hold that cannot be written.
pub async fn open(url: &StorageUrl, now: Timestamp) -> Result<Store, StoreError> {
    let store = Store::open(url).await?;
    opened(&store, now).await?;
    Ok(store)
}

/// Takes ids of its own for a copy on hold that was opened now. Answers its mark.
///
/// # Errors
/// When the database fails.
pub async fn opened(store: &Store, now: Timestamp) -> Result<Option<Copy>, StoreError> {
    let Some(copy) = held(store).await? else { return Ok(None) };
    let mut tx = store.write().await?;
    copies::skip_ids(&mut tx, now).await?;
    tx.commit().await?;
    Ok(Some(copy))
}

/// Whether the database that this one is a copy of may have understood this message, and done what it says.
///
/// # Errors
/// When the database fails.
pub(super) async fn came_before(tx: &mut Tx, message: &Message<'_>) -> Result<bool, StoreError> {
    let Some(Copy { taken_at, restored_at: Some(released_at), .. }) = copies::newest(tx).await? else {
        return Ok(false);
    };
    let received_at = inbound::received_at(tx, message.inbound).await?;
    let traces = Traces { received_at, arrived: message.parsed.arrived, date: message.parsed.date };
    Ok(Release { taken_at, released_at }.came_before(&traces))
}

/// When this store was put to use as a copy, if ever.
///
/// # Errors
/// When the database fails.
pub async fn restored_at(store: &Store) -> Result<Option<Timestamp>, StoreError> {
    Ok(copies::newest(&mut store.read().await?).await?.and_then(|copy| copy.restored_at))
}

/// Why nothing is sent, and what is received is not read.
pub fn reason(copy: &Copy) -> String {
    format!(
        "on hold: this database is a copy of {}; nothing is sent, and mail is received and waits, until `tidings run --restored` \
         puts it to use",
        copy.taken_at
    )
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
