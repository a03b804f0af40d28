//! What comes in about somebody after they were erased (W190): a late report, a program's answer, staff who quote them, a message of
//! their own that had waited. It has the verdict that it would have had, so that editions and lanes still count it, and nothing of it
//! is kept.
//!
//! Words that they write themselves after the end of it are another matter: they want an answer. They open a conversation with a
//! stranger, which a second erasing wipes as well.
//! Known gap: a report that names nobody, in fields that nobody knows, is kept until its age ends it.

use crate::domain::address::Address;
use crate::domain::token::{Purpose, Subject};
use crate::domain::verdict::{Facts, Verdict};
use crate::mail::parse::Person;
use crate::mail::token::Keyring;
use crate::runtime::Timestamp;
use crate::store::{Store, StoreError, Tx, erasure, erasures, people, threads};

/// What a message has to do with somebody who was erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bearing {
    /// Nothing, as far as it shows.
    Unrelated,
    /// It is of them or about them.
    About,
    /// They sent it before they were erased: it changes nothing any more.
    Overtaken,
}

/// Why nothing of a message is kept: the only words that are.
pub(super) const WHY: &str = "about somebody who was erased";

/// Looks at whom a message comes from and what it names.
///
/// # Errors
/// When the database fails.
pub(super) async fn bearing(
    tx: &mut Tx,
    keyring: &Keyring,
    facts: &Facts,
    from: Option<&Person>,
    received_at: Timestamp,
) -> Result<Bearing, StoreError> {
    if !erasures::any(tx).await? {
        return Ok(Bearing::Unrelated);
    }
    // Who works here may have been erased as a reader, and still writes about others.
    if let Some(from) = from.filter(|_| !facts.from_is_staff && !facts.from_is_editor) {
        let key = Address::trusted(from.address.clone()).key();
        match erasures::erased_at(tx, &keyring.erased_marks(&key)).await? {
            Some(at) if received_at <= at => return Ok(Bearing::Overtaken),
            Some(_) => return Ok(Bearing::About),
            None => {}
        }
    }
    let deliveries = facts.token.into_iter().filter(|token| is_a_mails(token.purpose));
    for delivery in deliveries.map(|token| token.row).chain(facts.returned.delivery) {
        if erasures::is_wiped_delivery(tx, delivery).await? {
            return Ok(Bearing::About);
        }
    }
    if let Some(Subject { purpose: Purpose::Thread | Purpose::Staff | Purpose::StaffNote, row, .. }) =
        facts.token
        && is_wiped_thread(tx, row).await?
    {
        return Ok(Bearing::About);
    }
    let leaver = facts.token.filter(|token| token.purpose == Purpose::Unsubscribe).map(|token| token.row);
    for subscriber in leaver.into_iter().chain(facts.returned.subscriber) {
        let person = people::by_id(tx, subscriber).await?;
        if person.is_some_and(|person| person.address.as_str().is_empty()) {
            return Ok(Bearing::About);
        }
    }
    let reported = facts.bounce.iter().flat_map(|report| &report.recipients);
    for address in reported.flat_map(|recipient| &recipient.addresses).take(NAMED) {
        if erasures::is_erased(tx, &keyring.erased_marks(address)).await? {
            return Ok(Bearing::About);
        }
    }
    Ok(Bearing::Unrelated)
}

/// Addresses of a report that are looked up.
const NAMED: usize = 20;

fn is_a_mails(purpose: Purpose) -> bool {
    matches!(purpose, Purpose::Bounce | Purpose::Edition | Purpose::MessageId)
}

/// Whether a conversation was with somebody who was erased.
///
/// # Errors
/// When the database fails.
pub(super) async fn is_wiped_thread(tx: &mut Tx, thread: i64) -> Result<bool, StoreError> {
    let thread = threads::current(tx, thread).await?;
    Ok(threads::participant(tx, thread).await?.is_some_and(|found| found.address.is_empty()))
}

/// Whether nothing of a message is kept, once its effects are done and it belongs to this conversation.
///
/// # Errors
/// When the database fails.
pub(super) async fn is_wiped(
    tx: &mut Tx,
    bearing: Bearing,
    verdict: Verdict,
    thread: Option<i64>,
) -> Result<bool, StoreError> {
    if let Some(thread) = thread
        && is_wiped_thread(tx, thread).await?
    {
        return Ok(true);
    }
    Ok(match bearing {
        Bearing::Unrelated => false,
        Bearing::Overtaken => true,
        // Somebody's own words, to be answered.
        Bearing::About => verdict != Verdict::SupportMessage,
    })
}

/// Throws the octets of a message away, and who sent it. In the transaction that marks it as done.
///
/// # Errors
/// When the database fails.
pub(super) async fn wipe(tx: &mut Tx, inbound: i64) -> Result<(), StoreError> {
    erasure::empty(tx, inbound, false).await.map(drop)
}

/// Takes what was wiped out of SQLite's log too, where it came in by. What cannot be done now is done by the next checkpoint.
pub(super) async fn clear_log(store: &Store) {
    if let Err(error) = store.flush().await {
        tracing::warn!(%error, "the log of the database could not be emptied yet");
    }
}
