//! Scheduling: what is due becomes rows in the queue, once, or is missed, or skipped.
//!
//! What is due is a configured one-off, or the latest date of a slot (`week`). Before anything is queued the editors' files are read
//! again if they changed, so that what a preview shows is what is sent; then every tier is rendered and checked, and one
//! transaction queues it. A body that does not render sends nothing to anybody: the edition is looked at again until it is late.
//! Slug and (slot, local date) are unique in the store, so that a rerun, a restart, a second process or a clock that was set back
//! change nothing.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::content::{Content, Shelf};
use super::report::{Report, Reporter};
use super::week::{self, Due};
use super::{editors, frames, proof};
use crate::domain::edition::EditionState;
use crate::domain::problem::{Position, Problem};
use crate::domain::publication::{PlannedEdition, Publication};
use crate::domain::settings::Settings;
use crate::mail::compose::{Compiled, Frame};
use crate::render::ReportEvent;
use crate::runtime::Timestamp;
use crate::store::bodies::NewBody;
use crate::store::editions::{self, NewEdition, Queued, Unsent};
use crate::store::{Store, StoreError, Tx};

/// What became of one due edition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    Queued {
        slug: String,
        audience: i64,
        waits_for_approval: bool,
    },
    Missed {
        slug: String,
        reason: String,
    },
    /// A slot's date for which there are too few articles.
    Skipped {
        slug: String,
        reason: String,
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
    pub shelf: Arc<Shelf>,
    pub reporter: Reporter,
    /// Something was queued.
    pub wake: Arc<Notify>,
    /// Slugs that the store is known to know: a past edition stays in the config for weeks, and is not asked about each second.
    decided: Mutex<BTreeSet<String>>,
    /// When this store was put to use as a copy of another one. What was due before may have been sent by that one.
    restored_at: Option<Timestamp>,
    /// What editors were told of blocked editions: not the same thing every second.
    told: Mutex<BTreeSet<(String, String)>>,
}

impl Scheduler {
    pub fn new(store: Store, shelf: Arc<Shelf>, settings: Settings, wake: Arc<Notify>) -> Scheduler {
        let reporter = Reporter { shelf: shelf.clone(), settings };
        let (decided, told) = Default::default();
        Scheduler { store, shelf, reporter, wake, decided, restored_at: None, told }
    }

    /// What was due until then is queued, and waits for approval whatever the config says.
    pub fn after_restore(self, restored_at: Option<Timestamp>) -> Scheduler {
        Scheduler { restored_at, ..self }
    }

    /// Decides about everything that is due and not decided yet.
    ///
    /// # Errors
    /// When the database fails; the next step decides.
    pub async fn step(&self, now: Timestamp) -> Result<Vec<Happened>, StoreError> {
        let mut happened = self.end_unapproved(now).await?;
        let due = self.due(&self.shelf.get(), now).await?;
        if due.is_empty() {
            return Ok(happened);
        }
        let shelf = self.shelf.clone();
        let fresh = tokio::task::spawn_blocking(move || shelf.refresh()).await;
        let content = match fresh {
            Ok(Ok(content)) => content,
            Ok(Err(problems)) => return self.blocked(&due, &problems, now).await,
            Err(error) => {
                return Err(StoreError::Corrupt { what: "the editors' files", why: error.to_string() });
            }
        };
        // An edition that an editor took out in the meantime is not due any more.
        for due in self.due(&content, now).await? {
            happened.extend(self.decide(&content, due, now).await?);
        }
        if happened.iter().any(|event| matches!(event, Happened::Queued { .. })) {
            self.wake.notify_waiters();
        }
        Ok(happened)
    }

    /// What is due and not decided, as far as this process and the store know.
    async fn due(&self, content: &Content, now: Timestamp) -> Result<Vec<Due>, StoreError> {
        let mut due = week::due(&self.store, content, now).await?;
        due.retain(|due| !self.decided().contains(due.slug()));
        if due.is_empty() {
            return Ok(due);
        }
        let known = editions::known_slugs(&mut self.store.read().await?).await?;
        due.retain(|due| !known.iter().any(|slug| slug == due.slug()));
        self.decided().extend(known);
        Ok(due)
    }

    async fn decide(
        &self,
        content: &Arc<Content>,
        due: Due,
        now: Timestamp,
    ) -> Result<Option<Happened>, StoreError> {
        if now.since(due.due_at()) > due.late() {
            return self.miss(&due, now).await;
        }
        match week::plan(&self.store, content, &due).await? {
            Ok(mut edition) => {
                edition.approval |= self.restored_at.is_some_and(|at| due.due_at() <= at);
                self.queue(content, &due, &edition, now).await
            }
            Err(reason) => {
                let slug = due.slug().to_owned();
                let new = self.enter(&due, EditionState::Skipped, &reason, now).await?;
                Ok(new.then_some(Happened::Skipped { slug, reason }))
            }
        }
    }

    /// The files do not check: nothing is queued from what they were before. What is late is missed all the same.
    async fn blocked(
        &self,
        due: &[Due],
        problems: &[Problem],
        now: Timestamp,
    ) -> Result<Vec<Happened>, StoreError> {
        let mut happened = Vec::new();
        for due in due {
            if now.since(due.due_at()) > due.late() {
                happened.extend(self.miss(due, now).await?);
            } else {
                self.tell_blocked(due, problems, now).await?;
                let slug = due.slug().to_owned();
                happened.push(Happened::Blocked { slug, problems: problems.to_vec() });
            }
        }
        Ok(happened)
    }

    fn decided(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // A set of names is whole between any two statements.
        self.decided.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn miss(&self, due: &Due, now: Timestamp) -> Result<Option<Happened>, StoreError> {
        let reason = "its time was over when the daemon looked".to_owned();
        let new = self.enter(due, EditionState::Missed, &reason, now).await?;
        Ok(new.then(|| Happened::Missed { slug: due.slug().to_owned(), reason }))
    }

    async fn enter(
        &self,
        due: &Due,
        state: EditionState,
        reason: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.store.write().await?;
        let unsent = Unsent { slug: due.slug(), slot: due.slot(), state, due_at: due.due_at(), reason };
        let new = editions::enter_unsent(&mut tx, &unsent, now).await?;
        if new {
            let event =
                if state == EditionState::Missed { ReportEvent::Missed } else { ReportEvent::Skipped };
            self.reporter.tell(&mut tx, &self.report(due, event, reason), now).await?;
        }
        tx.commit().await?;
        Ok(new)
    }

    fn report<'a>(&self, due: &'a Due, event: ReportEvent, reason: &'a str) -> Report<'a> {
        let action = match event {
            ReportEvent::Skipped => "Set more articles to ready, or lower the slot's `take`.",
            ReportEvent::Missed => "Send it as a one-off edition if it still should go out.",
            ReportEvent::Blocked => "Mend the files before it is late; `tidings check` names every problem.",
            _ => "",
        };
        let slot = due.slot_name();
        Report { event, slug: due.slug(), slot, due_at: Some(due.due_at()), reason, action, notes: &[] }
    }

    /// Tells editors of a blocked edition once for the same problems.
    async fn tell_blocked(&self, due: &Due, problems: &[Problem], now: Timestamp) -> Result<(), StoreError> {
        let lines: Vec<String> =
            problems.iter().filter(|problem| problem.is_error()).map(ToString::to_string).collect();
        let key = (due.slug().to_owned(), lines.join("\n"));
        if !self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(key) {
            return Ok(());
        }
        let many = if lines.len() == 1 { "" } else { "s" };
        let reason = format!("{} problem{many} in the files", lines.len());
        let report = Report { notes: &lines, ..self.report(due, ReportEvent::Blocked, &reason) };
        let mut tx = self.store.write().await?;
        self.reporter.tell(&mut tx, &report, now).await?;
        tx.commit().await
    }

    /// An edition that nobody approved in time is missed, and what it had in the queue is skipped. Looks with a reader: while
    /// nothing is late, nothing is written.
    async fn end_unapproved(&self, now: Timestamp) -> Result<Vec<Happened>, StoreError> {
        let content = self.shelf.get();
        let mut looked = self.store.read().await?;
        let mut late = Vec::new();
        for (_, slug) in editions::in_state(&mut looked, EditionState::WaitingApproval).await? {
            match editions::standing(&mut looked, &slug).await? {
                Some(standing) if editors::is_too_late(&content, &slug, &standing, now) => {
                    late.push((slug, standing));
                }
                _ => {}
            }
        }
        drop(looked);
        let mut happened = Vec::new();
        for (slug, standing) in late {
            let mut tx = self.store.write().await?;
            let reason = "nobody approved it in time".to_owned();
            let from = [EditionState::WaitingApproval];
            if editions::change_state(&mut tx, &slug, &from, EditionState::Missed, &reason, now).await? {
                let report = Report {
                    event: ReportEvent::Missed,
                    slug: &slug,
                    slot: standing.slot.as_deref(),
                    due_at: Some(standing.due_at),
                    reason: &reason,
                    action: "Send it as a one-off edition if it still should go out.",
                    notes: &[],
                };
                self.reporter.tell(&mut tx, &report, now).await?;
                tx.commit().await?;
                happened.push(Happened::Missed { slug, reason });
            }
        }
        Ok(happened)
    }

    /// Tells editors what is in the queue, and how to stop it, or until when it waits for them.
    async fn tell_queued(
        &self,
        tx: &mut Tx,
        publication: &Publication,
        due: &Due,
        edition: &PlannedEdition,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let slug = &edition.slug;
        let (event, action) = if edition.approval {
            let until = publication.date(edition.due_at + edition.late, "%A %-d %B, %H:%M %Z");
            let action = format!(
                "Answer this mail with `approve` in the first line, or run `tidings editions approve {slug}`. Nothing leaves \
                 before that, and without it the edition is missed on {until}."
            );
            (ReportEvent::WaitingApproval, action)
        } else {
            let action = format!(
                "To stop it, answer this mail with `hold` in the first line, or run `tidings editions hold {slug}`."
            );
            (ReportEvent::Queued, action)
        };
        let report = Report { action: &action, ..self.report(due, event, "") };
        self.reporter.tell(tx, &report, now).await
    }

    async fn queue(
        &self,
        content: &Arc<Content>,
        due: &Due,
        edition: &PlannedEdition,
        now: Timestamp,
    ) -> Result<Option<Happened>, StoreError> {
        let number = editions::queued_count(&mut self.store.read().await?).await? + 1;
        let frame = frames::edition(&self.reporter.settings, &content.publication);
        let publication = content.publication.clone();
        let (content, planned) = (content.clone(), edition.clone());
        let frozen = tokio::task::spawn_blocking(move || freeze(&content, &frame, &planned, number)).await;
        let slug = edition.slug.clone();
        let frozen = match frozen {
            Ok(Ok(frozen)) => frozen,
            Ok(Err(problems)) => {
                self.tell_blocked(due, &problems, now).await?;
                return Ok(Some(Happened::Blocked { slug, problems }));
            }
            Err(error) => {
                let why = format!("rendering broke: {error}");
                return Err(StoreError::Corrupt { what: "an edition", why });
            }
        };
        let mut tx = self.store.write().await?;
        let queued = editions::queue(&mut tx, &frozen, now).await?;
        let waits_for_approval = edition.approval;
        if queued.is_some() {
            self.tell_queued(&mut tx, &publication, due, edition, now).await?;
            if publication.proofs {
                proof::queue_all(&mut tx, &slug, &publication.editors, now).await?;
            }
        }
        tx.commit().await?;
        Ok(queued.map(|Queued { audience, .. }| Happened::Queued { slug, audience, waits_for_approval }))
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
            let key = format!("editions.{}.{tier}", edition.slug);
            Problem::error(&edition.slug, Position::FILE, &key, &why, "")
        };
        let frame = frame.of_edition(&edition.slug, tier.as_str());
        if let Err(problem) = Compiled::new(&frame, &body) {
            problems.push(unfit(problem.to_string()));
        }
        if subject.is_empty() {
            subject = crate::domain::body::fill(&body.subject, &Default::default());
        }
        match (serde_json::to_string(&frame), serde_json::to_string(&body)) {
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
