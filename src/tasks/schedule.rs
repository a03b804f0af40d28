//! Scheduling: a configured edition that is due becomes rows in the queue, once, or is missed.
//!
//! Everything is rendered and checked before the transaction that queues it; a body that does not render sends nothing to
//! anybody. The slug is unique in the store, so that a rerun, a restart or a second process changes nothing.
//!
//! Known gap: one-off editions only; slots take their place here.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::content::Content;
use crate::domain::edition::EditionState;
use crate::domain::problem::Problem;
use crate::domain::publication::PlannedEdition;
use crate::mail::compose::{Compiled, Frame};
use crate::runtime::Timestamp;
use crate::store::editions::{self, NewBody, NewEdition, Queued};
use crate::store::{Store, StoreError};

/// What became of one due edition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    Queued {
        slug: String,
        audience: i64,
    },
    Missed {
        slug: String,
    },
    /// It is due and cannot be sent as it is. It is looked at again until it is late.
    Blocked {
        slug: String,
        problems: Vec<Problem>,
    },
}

/// Queues what is due.
pub struct Scheduler {
    pub store: Store,
    pub content: Arc<Content>,
    pub frame: Frame,
    /// Something was queued.
    pub wake: Arc<Notify>,
    /// Slugs that the store is known to know: a past edition stays in the config for weeks, and is not asked about each second.
    decided: Mutex<BTreeSet<String>>,
}

impl Scheduler {
    pub fn new(store: Store, content: Arc<Content>, frame: Frame, wake: Arc<Notify>) -> Scheduler {
        Scheduler { store, content, frame, wake, decided: Mutex::default() }
    }

    /// Decides about every configured edition that is due and not decided yet.
    ///
    /// # Errors
    /// When the database fails; the next step decides.
    pub async fn step(&self, now: Timestamp) -> Result<Vec<Happened>, StoreError> {
        let open = |edition: &&PlannedEdition| edition.due_at <= now && !self.is_decided(&edition.slug);
        let due: Vec<&PlannedEdition> = self.content.publication.editions.iter().filter(open).collect();
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.store.read().await?;
        let known = editions::known_slugs(&mut tx).await?;
        let number = editions::queued_count(&mut tx).await? + 1;
        drop(tx);
        self.decided().extend(known.iter().cloned());
        let mut happened = Vec::new();
        for edition in due.into_iter().filter(|edition| !known.contains(&edition.slug)) {
            if now.since(edition.due_at) > edition.late {
                happened.extend(self.miss(edition, now).await?);
            } else {
                happened.extend(self.queue(edition, number, now).await?);
            }
        }
        if happened.iter().any(|event| matches!(event, Happened::Queued { .. })) {
            self.wake.notify_waiters();
        }
        Ok(happened)
    }

    fn is_decided(&self, slug: &str) -> bool {
        self.decided().contains(slug)
    }

    fn decided(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        // A set of names is whole between any two statements.
        self.decided.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn miss(&self, edition: &PlannedEdition, now: Timestamp) -> Result<Option<Happened>, StoreError> {
        let mut tx = self.store.write().await?;
        let reason = "its time was over when the daemon looked";
        let state = EditionState::Missed;
        let new = editions::enter_unsent(&mut tx, &edition.slug, state, edition.due_at, reason, now).await?;
        tx.commit().await?;
        Ok(new.then(|| Happened::Missed { slug: edition.slug.clone() }))
    }

    async fn queue(
        &self,
        edition: &PlannedEdition,
        number: u64,
        now: Timestamp,
    ) -> Result<Option<Happened>, StoreError> {
        let (content, frame, planned) = (self.content.clone(), self.frame.clone(), edition.clone());
        let frozen = tokio::task::spawn_blocking(move || freeze(&content, &frame, &planned, number)).await;
        let frozen = match frozen {
            Ok(Ok(frozen)) => frozen,
            Ok(Err(problems)) => {
                return Ok(Some(Happened::Blocked { slug: edition.slug.clone(), problems }));
            }
            Err(error) => {
                return Err(StoreError::Corrupt {
                    what: "an edition",
                    why: format!("rendering broke: {error}"),
                });
            }
        };
        let mut tx = self.store.write().await?;
        let queued = editions::queue(&mut tx, &frozen, now).await?;
        tx.commit().await?;
        Ok(queued.map(|Queued { audience, .. }| Happened::Queued { slug: edition.slug.clone(), audience }))
    }
}

/// Renders every tier and proves that a mail can be made of each, so that nothing is found out at the first recipient.
///
/// # Errors
/// All problems of all tiers.
pub fn freeze(
    content: &Content,
    frame: &Frame,
    edition: &PlannedEdition,
    number: u64,
) -> Result<NewEdition, Vec<Problem>> {
    let mut bodies = Vec::new();
    let mut problems = Vec::new();
    let mut subject = String::new();
    for tier in &edition.tiers {
        let body = match content.render(edition, tier, number) {
            Ok((body, _)) => body,
            Err(more) => {
                problems.extend(more);
                continue;
            }
        };
        let unfit = |why: String| {
            let key = format!("editions.{}", edition.slug);
            let at = crate::domain::problem::Position::FILE;
            Problem::error(&edition.slug, at, &key, &why, "")
        };
        if let Err(problem) = Compiled::new(frame, &body) {
            problems.push(unfit(problem.to_string()));
        }
        if subject.is_empty() {
            subject = crate::domain::body::fill(&body.subject, &Default::default());
        }
        match (serde_json::to_string(frame), serde_json::to_string(&body)) {
            (Ok(frame), Ok(body)) => bodies.push(NewBody {
                tier: tier.clone(),
                frame,
                body,
                extra_limit: content.extra_limit(edition, tier),
            }),
            (Err(error), _) | (_, Err(error)) => problems.push(unfit(error.to_string())),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(NewEdition {
        slug: edition.slug.clone(),
        slot: edition.slot.as_ref().map(|(name, date)| (name.clone(), date.to_string())),
        due_at: edition.due_at,
        subject,
        articles: edition.articles.clone(),
        bodies,
        lapsed: content.publication.lapsed_tier.clone(),
        extra: content.is_extra(edition),
        approval: edition.approval,
    })
}
