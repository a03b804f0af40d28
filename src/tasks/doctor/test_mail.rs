//! `doctor --send-test`: one mail of an edition, signed and sent like every other, and what became of it (W68).
//!
//! It leaves through the queue, so a daemon has to run. It is the proof of an edition, whose links and addresses change nothing for
//! anybody; what somebody outside of the house gets is a tier's that reads teasers only.

use crate::domain::address::Address;
use crate::domain::delivery::DeliveryState;
use crate::domain::doctor::{Check, Status};
use crate::domain::publication::{ArticleAccess, Publication};
use crate::mail::compose::Frame;
use crate::runtime::{Masked, Timestamp};
use crate::store::deliveries::{self, DeliveryRow};
use crate::store::{Store, StoreError, audit, editions, suppressions};
use crate::tasks::content::Content;
use crate::tasks::proof::{self, Proof, ProofProblem};
use crate::tasks::week;

/// Why nothing was queued.
#[derive(Debug, thiserror::Error)]
pub enum TestProblem {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    No(String),
}

/// Queues the mail. `of_house`: the address may read what readers pay for. Answers the number of the delivery and its edition.
///
/// # Errors
/// Why there is none to send, or not to this address.
pub async fn queue(
    store: &Store,
    content: &Content,
    frame: &Frame,
    (to, of_house): (&Address, bool),
    now: Timestamp,
) -> Result<(i64, String), TestProblem> {
    let mut tx = store.read().await?;
    if let Some(found) = suppressions::of(&mut tx, to).await? {
        return Err(TestProblem::No(format!("{to} is suppressed ({}); nothing is sent to it", found.reason)));
    }
    drop(tx);
    let mut why = "there is no edition to take a mail from: plan one in publication.toml".to_owned();
    for slug in slugs(store, content, now).await? {
        match proof::of(Some(store), content, frame, &slug, now).await {
            Ok(proofs) => {
                let Some(proof) = chosen(&content.publication, &proofs, of_house) else {
                    why = format!("{to} is nobody of the house, and no tier of `{slug}` reads teasers only");
                    continue;
                };
                let mut tx = store.write().await?;
                let delivery = proof::queue(&mut tx, proof, to, None, now).await?;
                audit::record(
                    &mut tx,
                    now,
                    "cli",
                    "doctor",
                    &slug,
                    &format!("test mail to {}", Masked(to.as_str())),
                )
                .await?;
                tx.commit().await?;
                return Ok((delivery, slug));
            }
            Err(ProofProblem::Store(error)) => return Err(error.into()),
            Err(ProofProblem::Unknown) => {}
            Err(ProofProblem::Nothing(reason)) => why = format!("`{slug}`: {reason}"),
            Err(ProofProblem::Files(problems)) => {
                why =
                    problems.first().map_or_else(|| format!("`{slug}` does not render"), ToString::to_string);
            }
        }
    }
    Err(TestProblem::No(why))
}

/// The newest queued edition first, then what is coming.
async fn slugs(store: &Store, content: &Content, now: Timestamp) -> Result<Vec<String>, StoreError> {
    let queued = editions::list(&mut store.read().await?).await?;
    let mut slugs: Vec<String> = queued.into_iter().map(|edition| edition.slug).take(3).collect();
    slugs.extend(week::forecast(store, content, now, 3).await?.into_iter().map(|date| date.slug));
    slugs.extend(content.publication.editions.iter().map(|edition| edition.slug.clone()));
    let mut known = std::collections::BTreeSet::new();
    slugs.retain(|slug| known.insert(slug.clone()));
    Ok(slugs)
}

fn chosen<'p>(publication: &Publication, proofs: &'p [Proof], of_house: bool) -> Option<&'p Proof> {
    let teasers = |proof: &&Proof| {
        publication.tier(&proof.tier).is_some_and(|tier| tier.articles == ArticleAccess::Teaser)
    };
    proofs.iter().find(teasers).or_else(|| proofs.first().filter(|_| of_house))
}

/// Where the mail is now.
///
/// # Errors
/// When the database fails.
pub async fn progress(store: &Store, delivery: i64) -> Result<Option<DeliveryRow>, StoreError> {
    let rows = deliveries::list(&mut store.read().await?, None, None, delivery - 1, 1).await?;
    Ok(rows.into_iter().find(|row| row.id == delivery))
}

/// Whether more of it is to come soon.
pub fn is_open(row: &DeliveryRow) -> bool {
    let waits =
        [DeliveryState::Queued.as_str(), DeliveryState::Leased.as_str()].contains(&row.state.as_str());
    // One that was tried and put back comes again in minutes: that is an answer for now.
    waits && row.last_reply.is_none()
}

/// What became of it, as a check.
pub fn told(row: &DeliveryRow, daemon_lives: bool) -> Check {
    let relay = row.relay.as_deref().unwrap_or("none yet");
    let place = format!("delivery {} by relay {relay}", row.id);
    let reply = row.last_reply.as_deref().unwrap_or("no reply yet");
    let found = format!("{}: {reply}", row.state);
    let look = format!("tidings deliveries list --state {} --json", row.state);
    match DeliveryState::from_word(&row.state) {
        Some(DeliveryState::Accepted) => Check::ok("W68", "test_mail", &place).found(format!(
            "{found}; when it has arrived, save its source and run `tidings doctor --received FILE`"
        )),
        Some(DeliveryState::Queued | DeliveryState::Leased) if !daemon_lives => {
            Check::new("W68", "test_mail_waits", Status::Unknown, &place)
                .found(format!("{found}; no daemon is running, it leaves when one is"))
                .expected("a daemon that sends")
                .fix("start `tidings run`")
        }
        Some(DeliveryState::Queued | DeliveryState::Leased | DeliveryState::Uncertain) => {
            Check::new("W68", "test_mail_waits", Status::Unknown, &place)
                .found(found)
                .expected("a 250 to the final dot")
                .fix(format!("look again: {look}"))
        }
        _ => Check::fail("W68", "test_mail_refused", &place)
            .found(found)
            .expected("a 250 to the final dot")
            .fix("repair what the reply names; `tidings doctor` lists what it may be about"),
    }
}
