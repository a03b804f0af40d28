//! What editors are told by mail: an edition was queued, its date skipped, missed or blocked, a breaker
//! stopped it, and its first pass is done.
//!
//! A report is queued in the transaction of what it reports, so that neither happens without the other. It leaves through the same
//! queue as everything else. Without editors in the config nothing is rendered.

use std::sync::Arc;

use super::content::{Content, Shelf};
use super::frames;
use crate::domain::address::Address;
use crate::domain::delivery::DeliveryKind;
use crate::domain::publication::TierId;
use crate::domain::settings::Settings;
use crate::render::{ReportEvent, ReportInput, ReportTier, render_report};
use crate::runtime::Timestamp;
use crate::store::bounces::{self, CameBack};
use crate::store::deliveries::{self, DeskMail};
use crate::store::editions::{self, EditionRow};
use crate::store::{Store, StoreError, Tx, bodies, slots};

/// Tells editors.
#[derive(Clone)]
pub struct Reporter {
    pub shelf: Arc<Shelf>,
    pub settings: Settings,
}

/// What happened to which edition.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    pub event: ReportEvent,
    pub slug: &'a str,
    pub slot: Option<&'a str>,
    /// `None`: left out.
    pub due_at: Option<Timestamp>,
    pub reason: &'a str,
    pub action: &'a str,
    pub notes: &'a [String],
}

impl Reporter {
    /// Queues one mail to each editor.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tell(&self, tx: &mut Tx, report: &Report<'_>, now: Timestamp) -> Result<(), StoreError> {
        let editors = self.shelf.get().publication.editors.clone();
        self.tell_to(tx, report, &editors, now).await
    }

    /// Queues one mail to each of these editors. A report that cannot be rendered must not keep an edition from going out: it is logged.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tell_to(
        &self,
        tx: &mut Tx,
        report: &Report<'_>,
        editors: &[Address],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if editors.is_empty() {
            return Ok(());
        }
        let content = self.shelf.get();
        // What became of an answer needs no numbers, and counting takes long where there are many.
        let counted = report.event != ReportEvent::Answered && !report.slug.is_empty();
        let row = if counted { editions::show(tx, report.slug).await? } else { None };
        let edition = editions::id(tx, report.slug).await?.unwrap_or(0);
        let back = if counted { bounces::of_edition(tx, report.slug).await? } else { Vec::new() };
        let notes = [report.notes, &self.looking_back(tx, report).await?].concat();
        let report = &Report { notes: &notes, ..report.clone() };
        let Some((frame, body)) = self.print(&content, report, (edition, row.as_ref()), &back) else {
            return Ok(());
        };
        let body_id = bodies::add(tx, &frame, &body).await?;
        for editor in editors {
            let mail = DeskMail {
                kind: DeliveryKind::Report,
                subscriber_id: None,
                thread_id: None,
                address: Some(editor.as_str()),
                staff_id: None,
                body_id,
            };
            deliveries::queue_desk_mail(tx, mail, now).await?;
        }
        Ok(())
    }

    /// Reports every edition of which everybody was tried once, and not reported before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn first_passes(&self, store: &Store, now: Timestamp) -> Result<(), StoreError> {
        let done = editions::first_passes(&mut store.read().await?).await?;
        for slug in done {
            let mut tx = store.write().await?;
            if !editions::mark_first_pass(&mut tx, &slug, now).await? {
                continue;
            }
            if let Some(row) = editions::show(&mut tx, &slug).await? {
                let report = Report {
                    event: ReportEvent::FirstPassDone,
                    slug: &slug,
                    slot: row.slot.as_deref(),
                    due_at: Some(row.due_at),
                    reason: "",
                    action: "",
                    notes: &notes(&row),
                };
                self.tell(&mut tx, &report, now).await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// Reports every edition that a breaker stopped, and not reported before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stopped(&self, store: &Store, now: Timestamp) -> Result<(), StoreError> {
        let untold = editions::untold(&mut store.read().await?).await?;
        for slug in untold {
            let mut tx = store.write().await?;
            if !editions::mark_told(&mut tx, &slug).await? {
                continue;
            }
            if let Some(row) = editions::show(&mut tx, &slug).await? {
                let action = format!(
                    "Nothing more of it leaves. `tidings editions resume {slug}` goes on with those who were not tried yet; \
                     `tidings editions cancel {slug}` ends it."
                );
                let report = Report {
                    event: ReportEvent::Stopped,
                    slug: &slug,
                    slot: row.slot.as_deref(),
                    due_at: Some(row.due_at),
                    reason: &row.reason,
                    action: &action,
                    notes: &notes(&row),
                };
                self.tell(&mut tx, &report, now).await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// What came back of a slot's last edition, in the report of the next one: most of it comes after the first pass was reported.
    async fn looking_back(&self, tx: &mut Tx, report: &Report<'_>) -> Result<Vec<String>, StoreError> {
        let (Some(slot), ReportEvent::Queued | ReportEvent::WaitingApproval) = (report.slot, report.event)
        else {
            return Ok(Vec::new());
        };
        let Some(before) = slots::edition_before(tx, slot, report.slug).await? else { return Ok(Vec::new()) };
        let back = bounces::of_edition(tx, &before).await?;
        Ok(in_words(&before, &back).into_iter().collect())
    }

    fn print(
        &self,
        content: &Content,
        report: &Report<'_>,
        (edition, row): (i64, Option<&EditionRow>),
        back: &[CameBack],
    ) -> Option<(String, String)> {
        let publication = &content.publication;
        let date = |at: Timestamp| publication.date(at, "%A %-d %B, %H:%M %Z");
        let tiers = row.map(|row| tiers(content, row, back)).unwrap_or_default();
        let queued_at = row.and_then(|row| row.queued_at).map(date).unwrap_or_default();
        let input = ReportInput {
            publication,
            support: &content.support,
            event: report.event,
            slug: report.slug,
            subject: row.map_or("", |row| row.subject.as_str()),
            slot: report.slot.unwrap_or(""),
            due_at: &report.due_at.map(date).unwrap_or_default(),
            queued_at: &queued_at,
            settled_at: "",
            tiers: &tiers,
            reason: report.reason,
            action: report.action,
            notes: report.notes,
            board: "",
            next: "",
        };
        let frame = frames::report(&self.settings, publication, edition);
        let printed = render_report(&content.templates, &input)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
        let json = printed.and_then(|body| {
            let both =
                serde_json::to_string(&frame).and_then(|frame| Ok((frame, serde_json::to_string(&body)?)));
            both.map_err(|error| error.to_string())
        });
        json.map_err(|why| tracing::error!(edition = report.slug, %why, "editors could not be told")).ok()
    }
}

/// Only what all of a tier's numbers are known of is shown per tier; the sums are in the notes.
fn tiers(content: &Content, row: &EditionRow, back: &[CameBack]) -> Vec<ReportTier> {
    let number = |count: i64| count.unsigned_abs();
    let of = |tier: &TierId, count: fn(&CameBack) -> i64| {
        number(back.iter().filter(|one| one.tier == tier.0).map(count).sum())
    };
    row.tiers
        .iter()
        .map(|(tier, counts)| ReportTier {
            label: content.publication.tier(tier).map_or_else(|| tier.0.clone(), |tier| tier.label.clone()),
            audience: number(counts.audience),
            accepted: number(counts.counts.accepted),
            refused: number(counts.counts.refused + counts.counts.expired),
            skipped: number(counts.counts.skipped),
            uncertain: number(counts.counts.uncertain),
            parked: number(counts.counts.parked),
            queued: number(counts.counts.open()),
            came_back: of(tier, |one| one.hard + one.soft + one.ours),
            complaints: of(tier, |one| one.complaints),
            proof: String::new(),
        })
        .collect()
}

/// What came back of an edition, as one sentence; `None`: nothing did.
fn in_words(slug: &str, back: &[CameBack]) -> Option<String> {
    let sum = |of: fn(&CameBack) -> i64| back.iter().map(of).sum::<i64>();
    let counts = [
        (sum(|one| one.hard), "for good"),
        (sum(|one| one.soft), "for now"),
        (sum(|one| one.ours), "because of us"),
    ];
    let complaints = sum(|one| one.complaints);
    let parts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, how)| format!("{count} {how}")).collect();
    let came = (!parts.is_empty()).then(|| format!("came back {}", parts.join(", ")));
    let readers = match complaints {
        0 => None,
        1 => Some("1 reader complained".to_owned()),
        many => Some(format!("{many} readers complained")),
    };
    let all: Vec<String> = came.into_iter().chain(readers).collect();
    (!all.is_empty()).then(|| format!("Of `{slug}` since it left: {}.", all.join("; ")))
}

fn notes(row: &EditionRow) -> Vec<String> {
    let counts = row.counts;
    let mut notes = Vec::new();
    if counts.queued > 0 {
        notes.push(format!("{} deferred, to be tried again.", counts.queued));
    }
    if counts.uncertain > 0 {
        notes.push(format!("{} uncertain: the relay may or may not have them.", counts.uncertain));
    }
    if counts.parked > 0 {
        notes.push(format!(
            "{} parked by a fault of ours; `tidings editions retry {}` tries them again.",
            counts.parked, row.slug
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::{CameBack, in_words};

    #[test]
    fn what_came_back_is_one_sentence_or_none() {
        let free = CameBack { tier: "free".into(), hard: 4, soft: 2, ours: 0, complaints: 1 };
        let paid = CameBack { tier: "yearly".into(), hard: 1, ..CameBack::default() };
        let words = in_words("weekly", &[free, paid]).unwrap();
        assert_eq!(words, "Of `weekly` since it left: came back 5 for good, 2 for now; 1 reader complained.");
        assert_eq!(in_words("weekly", &[CameBack::default()]), None);
        let complaints = CameBack { complaints: 2, ..CameBack::default() };
        assert_eq!(
            in_words("weekly", &[complaints]).unwrap(),
            "Of `weekly` since it left: 2 readers complained."
        );
    }
}
