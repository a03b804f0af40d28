//! Alarms: whoever sees something wrong raises it, and operators are told once per cause and hour, by mail, log and metric.
//!
//! Raising takes no time and cannot fail: it is remembered here until the store has it, because the store may be what is away.
//! `Teller::step` writes it down. Across restarts and processes the row of the cause decides whether a mail is due; the mail leaves
//! through the queue like any other. While it waits there untried (the relay may be what is down), what happens again goes into
//! the same mail.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::content::Shelf;
use super::frames;
use crate::domain::alarm::AlarmCause;
use crate::domain::delivery::DeliveryKind;
use crate::domain::settings::Settings;
use crate::render::{AlarmInput, render_alarm};
use crate::runtime::telemetry::ALARMS;
use crate::runtime::{MaskedText, Timestamp};
use crate::store::alarms::{self, Alarm, Occurred};
use crate::store::deliveries::{self, DeskMail};
use crate::store::{Store, StoreError, Tx, bodies};

/// A relay that is away for less is a relay that was restarted.
const DOWN_FOR: Duration = Duration::from_secs(60);

/// Causes and what they are about, remembered at a time: relays, editions and single ones are few.
const REMEMBERED: usize = 256;

/// Characters of a text that a mail shows.
const TEXT_SHOWN: usize = 600;

type Key = (AlarmCause, String);

/// Where alarms are raised. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Alarms(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Not yet in the store.
    raised: BTreeMap<Key, Occurred>,
    /// When the log said so last.
    logged: BTreeMap<Key, Timestamp>,
    /// Since when a relay or a mailbox cannot be used.
    down: BTreeMap<String, Timestamp>,
}

impl Alarms {
    /// Something is wrong. `subject` is a relay, an edition, or nothing.
    pub fn raise(&self, cause: AlarmCause, subject: &str, text: &dyn Display, now: Timestamp) {
        let text: String = MaskedText(&text.to_string()).to_string().chars().take(TEXT_SHOWN).collect();
        let key = (cause, subject.to_owned());
        let mut state = self.lock();
        if !state.logged.contains_key(&key) && state.logged.len() >= REMEMBERED {
            state.logged.clear();
        }
        if state.logged.get(&key).is_none_or(|at| now.since(*at) >= cause.every()) {
            state.logged.insert(key.clone(), now);
            metrics::counter!(ALARMS, "cause" => cause.as_str()).increment(1);
            tracing::error!(cause = cause.as_str(), subject, "alarm: {text}");
        }
        let new = Occurred { cause, subject: key.1.clone(), text, since: now, last: now, count: 1 };
        state.remember(key, new);
    }

    /// A relay could not be used. It is an alarm once that lasts.
    pub fn relay_failed(&self, relay: &str, why: &dyn Display, now: Timestamp) {
        let since = *self.lock().down.entry(relay.to_owned()).or_insert(now);
        if now.since(since) >= DOWN_FOR {
            self.raise(AlarmCause::RelayDown, relay, why, now);
        }
    }

    /// A relay can be used.
    pub fn relay_works(&self, relay: &str) {
        self.lock().down.remove(relay);
    }

    /// A mailbox could not be read. It is an alarm once that lasts.
    pub fn intake_failed(&self, place: &str, why: &dyn Display, now: Timestamp) {
        let since = *self.lock().down.entry(place.to_owned()).or_insert(now);
        if now.since(since) >= DOWN_FOR {
            self.raise(AlarmCause::IntakeDown, place, why, now);
        }
    }

    /// A mailbox can be read.
    pub fn intake_works(&self, place: &str) {
        self.lock().down.remove(place);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each map is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remember(&mut self, key: Key, new: Occurred) {
        if let Some(known) = self.raised.get_mut(&key) {
            known.since = known.since.min(new.since);
            known.last = known.last.max(new.last);
            known.count += new.count;
            known.text = new.text;
        } else if self.raised.len() < REMEMBERED {
            self.raised.insert(key, new);
        }
    }
}

/// Tells operators.
#[derive(Clone)]
pub struct Teller {
    pub alarms: Alarms,
    pub store: Store,
    pub shelf: Arc<Shelf>,
    pub settings: Settings,
}

impl Teller {
    /// Learns what was told before this process started, so that the log is not told twice either. Answers what every known
    /// alarm is about.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recall(&self) -> Result<Vec<(AlarmCause, String)>, StoreError> {
        let known = alarms::all(&mut self.store.read().await?).await?;
        let mut state = self.alarms.lock();
        for alarm in &known {
            if let Some(told_at) = alarm.told_at {
                state.logged.insert((alarm.occurred.cause, alarm.occurred.subject.clone()), told_at);
            }
        }
        Ok(known.into_iter().map(|alarm| (alarm.occurred.cause, alarm.occurred.subject)).collect())
    }

    /// Writes down what was raised, and queues the mails that are due. Answers how many alarms were told.
    ///
    /// # Errors
    /// When the database fails; what was raised is remembered.
    pub async fn step(&self, now: Timestamp) -> Result<usize, StoreError> {
        let mut waiting: Vec<Occurred> =
            std::mem::take(&mut self.alarms.lock().raised).into_values().collect();
        let mut told = 0;
        while let Some(one) = waiting.pop() {
            match self.write_down(&one, now).await {
                Ok(new) => told += usize::from(new),
                Err(error) => {
                    waiting.push(one);
                    let mut state = self.alarms.lock();
                    waiting.into_iter().for_each(|one| state.remember((one.cause, one.subject.clone()), one));
                    return Err(error);
                }
            }
        }
        let again = alarms::untold(&mut self.store.read().await?, now).await?;
        for alarm in again {
            let nothing_new = Occurred { count: 0, ..alarm.occurred };
            told += usize::from(self.write_down(&nothing_new, now).await?);
        }
        Ok(told)
    }

    async fn write_down(&self, one: &Occurred, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.store.write().await?;
        let mut alarm = alarms::add(&mut tx, one).await?;
        let told = match alarm.body_id {
            Some(body) if alarms::reword(&mut tx, body, None).await? > 0 => {
                self.reword(&mut tx, &mut alarm, body, one.count).await?;
                false
            }
            left => {
                if left.is_some() {
                    // That mail has left: this is what it could not tell.
                    alarm.occurred = one.clone();
                    alarm.body_id = None;
                }
                self.tell_if_due(&mut tx, &mut alarm, now).await?
            }
        };
        alarms::put(&mut tx, &alarm).await?;
        tx.commit().await?;
        Ok(told)
    }

    /// The waiting mail tells of what happened since as well. Printed again each time that the number doubles: a relay that is
    /// away for days is no reason to print thousands.
    async fn reword(&self, tx: &mut Tx, alarm: &mut Alarm, from: i64, more: i64) -> Result<(), StoreError> {
        let count = alarm.occurred.count;
        if more == 0 || (count - more).max(1).ilog2() == count.max(1).ilog2() {
            return Ok(());
        }
        if let Some(body) = self.print(tx, &alarm.occurred).await? {
            alarms::reword(tx, from, Some(body)).await?;
            alarm.body_id = Some(body);
        }
        Ok(())
    }

    async fn tell_if_due(&self, tx: &mut Tx, alarm: &mut Alarm, now: Timestamp) -> Result<bool, StoreError> {
        let due = alarm.told_at.is_none_or(|at| now.since(at) >= alarm.occurred.cause.every());
        if !due || alarm.occurred.count == 0 {
            return Ok(false);
        }
        alarm.told_at = Some(now);
        if self.settings.operators.is_empty() {
            alarm.occurred.count = 0;
            return Ok(true);
        }
        // What cannot be printed is in the log.
        let Some(body_id) = self.print(tx, &alarm.occurred).await? else { return Ok(true) };
        for operator in &self.settings.operators {
            let mail = DeskMail {
                kind: DeliveryKind::Report,
                subscriber_id: None,
                thread_id: None,
                address: Some(operator.as_str()),
                staff_id: None,
                body_id,
            };
            deliveries::queue_desk_mail(tx, mail, now).await?;
        }
        alarm.body_id = Some(body_id);
        Ok(true)
    }

    async fn print(&self, tx: &mut Tx, occurred: &Occurred) -> Result<Option<i64>, StoreError> {
        let content = self.shelf.get();
        let publication = &content.publication;
        let date = |at: Timestamp| publication.date(at, "%A %-d %B, %H:%M %Z");
        let input = AlarmInput {
            publication,
            support: &content.support,
            title: occurred.cause.title(),
            about: &occurred.subject,
            text: &occurred.text,
            action: occurred.cause.action(),
            since: &date(occurred.since),
            last: &date(occurred.last),
            count: occurred.count.unsigned_abs(),
        };
        let frame = frames::notice(&self.settings, publication);
        let printed = render_alarm(&content.templates, &input)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
        let json = printed.and_then(|body| {
            let both =
                serde_json::to_string(&frame).and_then(|frame| Ok((frame, serde_json::to_string(&body)?)));
            both.map_err(|error| error.to_string())
        });
        match json {
            Ok((frame, body)) => bodies::add(tx, &frame, &body).await.map(Some),
            Err(why) => {
                tracing::error!(cause = occurred.cause.as_str(), %why, "operators could not be told by mail");
                Ok(None)
            }
        }
    }
}
