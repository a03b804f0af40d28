//! What follows when mail comes back or a reader complains: who is not mailed any more, and which edition or lane stops.
//!
//! A failure is entered once, whether the relay said it in the dialogue, a report brought it later, or both (W147); then the person's
//! history is read and `domain::bounce` says what it comes to. Reports weigh on the same breakers as refusals: numbers are asked of
//! the store, because the reports of one edition may reach any process. All of it is in the transaction of what brought it.
//!
//! Known gap: a report without our token is not matched by its recipient, however well its sender is proven.

use std::time::Duration;

use super::alarm::Alarms;
use super::ledger::Done;
use super::traffic::News;
use crate::domain::address::Address;
use crate::domain::alarm::AlarmCause;
use crate::domain::bounce::{self, Bounce, Evidence, Finding};
use crate::domain::breaker::{self, FALSE_HARD_WITHIN, PauseCause, Tally, Trouble};
use crate::domain::complaint::{Alert, Effect, FeedbackType, Share};
use crate::domain::delivery::{DeliveryKind, DeliveryState};
use crate::domain::reply_rule::{ReplyClass, ReplyRules};
use crate::domain::standing::standing;
use crate::domain::suppression::SuppressionReason;
use crate::domain::verdict::Facts;
use crate::runtime::{Masked, MaskedText, Timestamp};
use crate::store::bounces::{self, Entered, Mailed, Refused};
use crate::store::{StoreError, Tx, deliveries, editions, lanes, people, suppressions};

/// What an operator has to know, once what caused it is committed.
#[derive(Debug, Default)]
pub struct Told {
    alarms: Vec<(AlarmCause, String, String)>,
    news: Vec<News>,
}

impl Told {
    fn alarm(&mut self, cause: AlarmCause, subject: &str, text: String) {
        self.alarms.push((cause, subject.to_owned(), text));
    }

    /// To the log and to the operators.
    pub fn tell(&self, alarms: &Alarms, now: Timestamp) {
        self.news.iter().for_each(|news| news.tell(alarms, now));
        for (cause, subject, text) in &self.alarms {
            tracing::warn!(cause = cause.as_str(), %subject, %text, "a report needs somebody");
            alarms.raise(*cause, subject, text, now);
        }
    }
}

/// A report that was received, and what it is about.
#[derive(Debug)]
pub struct Reported<'a> {
    pub inbound: i64,
    pub facts: &'a Facts,
    /// The mail that it names, where that is known.
    pub mailed: Option<Mailed>,
    /// An answer of the desk that came back, and what was said of it.
    pub lost: Option<(i64, String)>,
    pub told: Told,
}

/// Looks up the mail that a report names.
///
/// # Errors
/// When the database fails.
pub async fn named(tx: &mut Tx, facts: &Facts) -> Result<Option<Mailed>, StoreError> {
    if facts.bounce.is_none() && facts.feedback.is_none() {
        return Ok(None);
    }
    if let Some(delivery) = facts.delivery() {
        return bounces::mailed(tx, delivery).await;
    }
    // A link to leave names the person; the mail was one of the newest.
    let Some(subscriber) = facts.returned.subscriber.filter(|_| facts.feedback.is_some()) else {
        return Ok(None);
    };
    match bounces::newest_taken(tx, subscriber).await? {
        Some(delivery) => bounces::mailed(tx, delivery).await,
        None => Ok(None),
    }
}

/// What the report comes to for that mail.
pub fn finding(facts: &Facts, mailed: Option<&Mailed>, rules: &ReplyRules) -> Option<Finding> {
    let (report, mailed) = (facts.bounce.as_ref()?, mailed?);
    let address = Some(mailed.address_key.as_str()).filter(|_| !mailed.is_nobodys());
    let evidence = Evidence { by_envelope: facts.is_by_envelope(), address };
    Some(bounce::judge(report, evidence, rules))
}

/// A mail came back. Answers the conversation that it belonged to.
///
/// # Errors
/// When the database fails.
pub(super) async fn came_back(
    tx: &mut Tx,
    reported: &mut Reported<'_>,
    now: Timestamp,
) -> Result<Option<i64>, StoreError> {
    let (Some(Finding::Failed(bounce)), Some(mailed)) = (&reported.facts.finding, &reported.mailed) else {
        return Ok(None);
    };
    let known = match mailed.subscriber_id {
        Some(subscriber) => bounces::took_before(tx, subscriber, mailed.id).await?,
        None => false,
    };
    // The edition and the lane still count what came back of somebody who was erased; what their server said is theirs.
    let unsaid = mailed.is_nobodys().then(|| Bounce { said: String::new(), ..bounce.clone() });
    let bounce = unsaid.as_ref().unwrap_or(bounce);
    let last = format!("came back: {} {}", bounce.status, bounce.said);
    let last = MaskedText(last.trim()).to_string();
    deliveries::came_back(tx, mailed.id, &last, now).await?;
    let entered = bounces::enter(tx, mailed, (reported.inbound, known), bounce, now).await?;
    if entered == Entered::Known {
        return Ok(mailed.thread_id);
    }
    if mailed.kind == DeliveryKind::Answer.as_str() && !mailed.is_nobodys() {
        reported.lost = Some((mailed.id, format!("{} {}", bounce.status, bounce.said).trim().to_owned()));
    }
    let source = format!("inbound {}: {} {}", reported.inbound, bounce.status, bounce.reason);
    if mailed.is_for_the_house() {
        let who = Masked(&mailed.address_key).to_string();
        let text = format!("{who}: came back: {}", MaskedText(&format!("{} {}", bounce.status, bounce.said)));
        reported.told.alarm(AlarmCause::HouseUnreachable, &who, text);
    } else if bounce.is_hard() {
        let address = Address::trusted(mailed.address_key.clone());
        suppressions::add(tx, &address, SuppressionReason::HardBounce, &source, now).await?;
    } else if let Some(person) = mailed.subscriber_id.zip(mailed.edition_id) {
        // Without points of its own as well: what looked like a success between others was none.
        weigh_person(tx, person, mailed.id, &source, now).await?;
    }
    // The lane's row before the edition's, as everywhere (`store`).
    let false_hard = known && bounce.class == Some(ReplyClass::Hard);
    if false_hard || bounce.class == Some(ReplyClass::Policy) {
        weigh_lane(tx, mailed, false_hard, &mut reported.told, now).await?;
    }
    weigh_edition(tx, mailed, bounce, &mut reported.told).await?;
    Ok(mailed.thread_id)
}

/// A mail is still being tried, by somebody who has it: where that was in doubt, it is no more.
///
/// # Errors
/// When the database fails.
pub(super) async fn delayed(tx: &mut Tx, reported: &Reported<'_>, now: Timestamp) -> Result<(), StoreError> {
    if let Some(mailed) = &reported.mailed
        && deliveries::is_on_its_way(tx, mailed.id, now).await?
    {
        tracing::info!(delivery = mailed.id, "a report says that it is on its way; it is not sent again");
    }
    Ok(())
}

/// Failures that the dialogue settled for good. Belongs into the transaction that settles them, behind it.
///
/// # Errors
/// When the database fails.
pub(super) async fn refused(
    tx: &mut Tx,
    done: impl Iterator<Item = &Done>,
    now: Timestamp,
) -> Result<(), StoreError> {
    for Done { settled, seen, .. } in done {
        let last = matches!(settled.settlement.state, DeliveryState::Refused | DeliveryState::Expired);
        let Some(failed) = seen.weight.failed.filter(|_| last) else { continue };
        let said = &settled.settlement.last_reply;
        let refused = Refused {
            delivery: settled.delivery,
            attempt: settled.attempt,
            at: settled.at,
            class: failed.class,
            status: if failed.bare { "550" } else { said.split(' ').nth(1).unwrap_or("") },
            said,
            points: failed.points,
        };
        let entered = bounces::enter_refused(tx, &refused).await?;
        if let Some(person) = seen.subscriber.zip(seen.edition)
            && entered
            && failed.class != ReplyClass::Hard
            && failed.points > 0
        {
            let source = format!("delivery {}: {said}", settled.delivery);
            weigh_person(tx, person, settled.delivery, &source, now).await?;
        }
    }
    Ok(())
}

/// Whether a person's mailbox has failed often enough, now that an edition's delivery to it has failed too.
async fn weigh_person(
    tx: &mut Tx,
    (subscriber, edition): (i64, i64),
    failed: i64,
    source: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    // Read first: who moves in between is forgiven what the old address did, and the new one is not suppressed for it.
    let Some(person) = people::by_id(tx, subscriber).await? else { return Ok(()) };
    let history = bounces::history(tx, subscriber, edition).await?;
    let Some(reason) = standing(&history, failed, now) else { return Ok(()) };
    suppressions::add(tx, &person.address, reason, source, now).await?;
    Ok(())
}

/// An edition whose mails come back stops (W146). One that is out already has nothing to stop.
async fn weigh_edition(
    tx: &mut Tx,
    mailed: &Mailed,
    bounce: &Bounce,
    told: &mut Told,
) -> Result<(), StoreError> {
    let Some(edition) = mailed.edition_id else { return Ok(()) };
    let content = bounce.confirmed && bounce.class == Some(ReplyClass::Content);
    if !bounce.is_hard() && !content {
        return Ok(());
    }
    // It was counted as decided when the relay took it.
    let tally = Tally { decided: 0, hard: i64::from(bounce.is_hard()), content: i64::from(content) };
    let sums = editions::count(tx, edition, tally).await?.unwrap_or_default();
    let Some(reason) = sums.verdict() else { return Ok(()) };
    if let Some(slug) = editions::stop(tx, edition, &reason).await? {
        told.news.push(News::Stopped { edition: slug, reason });
    }
    Ok(())
}

/// A lane whose provider refuses us, or says that people do not exist who took mail before, is paused; what it said within the hour
/// is not believed (W145). A lane that anybody else paused is still guarded, and its bounces are believed until the guard trips.
async fn weigh_lane(
    tx: &mut Tx,
    mailed: &Mailed,
    false_hard: bool,
    told: &mut Told,
    now: Timestamp,
) -> Result<(), StoreError> {
    lanes::lock(tx, [mailed.lane]).await?;
    let (Some(edition), Some(lane)) = (mailed.edition_id, lanes::standing(tx, mailed.lane).await?) else {
        return Ok(());
    };
    let since = ago(now, FALSE_HARD_WITHIN);
    let (hard, refused) = bounces::count_report(tx, mailed.lane, (false_hard, !false_hard), now).await?;
    let mut disbelieved = false_hard && lane.is_doubted();
    if !lane.is_doubted() && (false_hard || lane.paused.is_none()) {
        let refused = if lane.paused.is_none() { refused } else { 0 };
        if let Some(most) = breaker::worth_counting(hard, refused) {
            let decided = bounces::taken(tx, edition, Some(mailed.lane), most).await?;
            if let Some(trouble) = breaker::trouble(hard, refused, decided)
                && lanes::pause(tx, mailed.lane, trouble.cause(), &trouble.to_string(), now).await?
            {
                disbelieved = trouble.cause() == PauseCause::FalseBounces;
                told.news.push(News::Paused { lane: lane.name, trouble });
            }
        }
    }
    if disbelieved {
        let held = suppressions::hold(tx, mailed.lane, since, now).await?;
        tracing::warn!(lane = mailed.lane, suppressions = held, "these suppressions are held");
    }
    Ok(())
}

/// A reader's provider says what the reader thinks of a mail.
///
/// # Errors
/// When the database fails.
pub(super) async fn complained(
    tx: &mut Tx,
    reported: &mut Reported<'_>,
    now: Timestamp,
) -> Result<Option<i64>, StoreError> {
    let Some(feedback) = reported.facts.feedback else { return Ok(None) };
    let place = format!("number {}: {feedback}", reported.inbound);
    if feedback.effect() == Effect::Alarm {
        reported.told.alarm(AlarmCause::AbuseReport, "", place);
        return Ok(None);
    }
    let Some(mailed) = &reported.mailed else {
        let Some(subscriber) = reported.facts.returned.subscriber else {
            // The danger is a provider whose reports are not understood: then nobody ever complains.
            reported.told.alarm(AlarmCause::ReportUnmatched, "", place);
            return Ok(None);
        };
        leave(tx, feedback, subscriber, reported.inbound, now).await?;
        return Ok(None);
    };
    let first = bounces::complain(tx, mailed, reported.inbound, feedback.as_str(), now).await?;
    match mailed.subscriber_id {
        Some(subscriber) => leave(tx, feedback, subscriber, reported.inbound, now).await?,
        None => {
            let address = Address::trusted(mailed.address_key.clone());
            suppressions::complain(tx, &address, &source(reported.inbound, feedback), now).await?;
        }
    }
    if first && let Some(edition) = mailed.edition_id {
        weigh_complaints(tx, edition, mailed.lane, &mut reported.told, now).await?;
    }
    Ok(mailed.thread_id)
}

fn source(inbound: i64, feedback: FeedbackType) -> String {
    format!("inbound {inbound}: {feedback}")
}

async fn leave(
    tx: &mut Tx,
    feedback: FeedbackType,
    subscriber: i64,
    inbound: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let source = source(inbound, feedback);
    if feedback.effect() == Effect::Complained
        && let Some(person) = people::by_id(tx, subscriber).await?
    {
        suppressions::complain(tx, &person.address, &source, now).await?;
    }
    people::unsubscribe(tx, subscriber, &source, now).await?;
    Ok(())
}

/// Complaints of one provider's readers, and of all (W154).
async fn weigh_complaints(
    tx: &mut Tx,
    edition: i64,
    lane: i64,
    told: &mut Told,
    now: Timestamp,
) -> Result<(), StoreError> {
    let here = share(tx, edition, Some(lane)).await?;
    let name = lanes::standing(tx, lane).await?.map_or_else(String::new, |lane| lane.name);
    match here.alert() {
        Some(Alert::Stop) => {
            let Share { complaints, delivered } = here;
            let trouble = Trouble::Complaints { complaints, delivered };
            if lanes::pause(tx, lane, trouble.cause(), &trouble.to_string(), now).await? {
                told.news.push(News::Paused { lane: name, trouble });
            }
        }
        Some(Alert::Warn) => {
            let text = format!("{} of {} readers of one edition", here.complaints, here.delivered);
            told.alarm(AlarmCause::Complaints, &name, text);
        }
        None => {}
    }
    let all = share(tx, edition, None).await?;
    if all.alert() == Some(Alert::Stop) {
        let reason = format!("{} of {} readers complained", all.complaints, all.delivered);
        if let Some(slug) = editions::stop(tx, edition, &reason).await? {
            told.news.push(News::Stopped { edition: slug, reason });
        }
    }
    Ok(())
}

async fn share(tx: &mut Tx, edition: i64, lane: Option<i64>) -> Result<Share, StoreError> {
    let complaints = bounces::complaints(tx, edition, lane).await?;
    let delivered = bounces::taken(tx, edition, lane, Share::enough(complaints)).await?;
    Ok(Share { complaints, delivered })
}

fn ago(now: Timestamp, span: Duration) -> Timestamp {
    Timestamp(now.millis().saturating_sub(span.as_millis() as i64))
}
