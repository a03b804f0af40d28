//! What readers do themselves: join with a confirmation, come back, change what they get and where. One function each, whatever
//! door it came through; the mails leave through the ordinary queue.
//!
//! Asking to join costs the same whatever is known about the address: one mail is rendered and one transaction written, also
//! when nothing is sent (W210). Whoever is written about is held first: an erasing comes before or after, never between.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::Notify;

use super::alarm::Alarms;
use super::content::{Content, Shelf};
use super::frames;
use super::receive::EffectProblem;
use crate::domain::address::Address;
use crate::domain::alarm::AlarmCause;
use crate::domain::body::Body;
use crate::domain::delivery::DeliveryKind;
use crate::domain::joining::{self, Asked, CONSENT, Confirmed, JoinMail, RequestKind};
use crate::domain::problem::Problem;
use crate::domain::settings::Settings;
use crate::domain::subscriber::{Subscriber, SubscriberStatus};
use crate::domain::suppression::SuppressionReason;
use crate::domain::token::{Purpose, Subject};
use crate::mail::compose::Frame;
use crate::mail::token::Keyring;
use crate::render::{ConfirmInput, KnownInput, WelcomeInput, render_confirm, render_known, render_welcome};
use crate::runtime::{Masked, Timestamp};
use crate::store::deliveries::{self, DeskMail};
use crate::store::requests::{self, NewRequest, Request};
use crate::store::{Store, StoreError, Tx, bodies, erasures, people, suppressions};

pub(super) const WEBSITE: &str = "website";

/// How dates read in mails.
pub(super) const AT: &str = "%-d %B at %H:%M";
pub(super) const DAY: &str = "%-d %B %Y";

/// Everything that these steps need.
#[derive(Clone)]
pub struct Readers {
    pub store: Store,
    pub shelf: Arc<Shelf>,
    pub settings: Settings,
    pub keyring: Arc<Keyring>,
    pub alarms: Alarms,
    /// Something was queued.
    pub wake: Arc<Notify>,
}

/// Somebody asks to join.
#[derive(Clone, Copy, Debug)]
pub struct JoinAsk<'a> {
    pub address: &'a Address,
    /// May be empty; kept for people who are new.
    pub name: &'a str,
    pub door: JoinDoor,
}

/// Where they asked.
#[derive(Clone, Copy, Debug)]
pub enum JoinDoor {
    Website(IpAddr),
    Mail,
}

impl JoinDoor {
    fn as_said(self) -> &'static str {
        match self {
            JoinDoor::Website(_) => "on our website",
            JoinDoor::Mail => "by mail",
        }
    }

    /// For the consent history (W186).
    fn evidence(self, now: Timestamp) -> String {
        match self {
            JoinDoor::Website(from) => {
                format!("asked on the website at {} from {from}: \"{CONSENT}\"", now.rfc3339())
            }
            JoinDoor::Mail => format!("asked by a mail to the join address at {}", now.rfc3339()),
        }
    }
}

impl Readers {
    /// As [`Readers::join_in`], with a transaction of its own.
    ///
    /// # Errors
    /// When the database fails or the mail cannot be rendered; nothing is noted then.
    pub async fn join(&self, ask: &JoinAsk<'_>, now: Timestamp) -> Result<Asked, EffectProblem> {
        let mut tx = self.store.write().await?;
        let asked = self.join_in(&mut tx, ask, now).await?;
        tx.commit().await?;
        self.wake.notify_waiters();
        Ok(asked)
    }

    /// Notes that somebody wants to join and queues the mail that they should get, if any.
    ///
    /// # Errors
    /// When the database fails or the mail cannot be rendered.
    pub async fn join_in(
        &self,
        tx: &mut Tx,
        ask: &JoinAsk<'_>,
        now: Timestamp,
    ) -> Result<Asked, EffectProblem> {
        let content = self.shelf.get();
        let Some(tier) = content.publication.joining_tier() else { return Ok(Asked::Closed) };
        let key = ask.address.key();
        let fingerprints = self.keyring.fingerprints(&key);
        let asks = requests::asks(tx, &fingerprints, now).await?;
        if asks.is_flood() {
            let text = format!("{} mails in an hour, {} confirmed", asks.all_in_hour, asks.confirmed_in_hour);
            self.alarms.raise(AlarmCause::JoinFlood, "", &text, now);
            return Ok(Asked::Later);
        }
        let person = match people::by_key(tx, &key).await? {
            Some(person) if people::hold(tx, person.id).await? => Some(person),
            _ => None,
        };
        let suppression = self.suppression(tx, ask.address).await?;
        let mail = joining::join_mail(person.as_ref().map(|person| person.status), suppression, &asks);
        match (mail, person) {
            (JoinMail::Confirm, person) => {
                let subscriber = match person {
                    Some(person) => person.id,
                    None => enter_pending(tx, ask, &tier.id, now).await?,
                };
                self.ask_to_confirm(tx, &content, (ask, subscriber), now).await?;
            }
            (JoinMail::Known, Some(person)) => {
                let body = self.known(&content, &person)?;
                self.queue(tx, &content, (DeliveryKind::Notice, To::Person(person.id)), &body, now).await?;
            }
            // Rendered all the same, so that the answer takes as long.
            _ => drop(self.confirmation(&content, ask, 0, now)?),
        }
        requests::note_ask(tx, &fingerprints[0], mail != JoinMail::Nothing, now).await?;
        tracing::info!(to = %Masked(ask.address.as_str()), door = ask.door.as_said(), ?mail, "somebody asked to join");
        Ok(Asked::Noted)
    }

    async fn ask_to_confirm(
        &self,
        tx: &mut Tx,
        content: &Content,
        (ask, subscriber): (&JoinAsk<'_>, i64),
        now: Timestamp,
    ) -> Result<(), EffectProblem> {
        let request = NewRequest {
            kind: RequestKind::Join,
            subscriber,
            address: ask.address,
            asked: &ask.door.evidence(now),
            expires_at: later(now, joining::PENDING_FOR),
        };
        let id = requests::enter(tx, &request, now).await?;
        let body = self.confirmation(content, ask, id, now)?;
        self.queue(tx, content, (DeliveryKind::Confirm, To::Person(subscriber)), &body, now).await
    }

    /// Somebody pressed the button of a confirmation. The link counts for the address that it was mailed to.
    ///
    /// # Errors
    /// When the database fails or the mail that follows cannot be rendered; nothing is confirmed then.
    pub async fn confirm(
        &self,
        link: Subject,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<Confirmed, EffectProblem> {
        let mut tx = self.store.write().await?;
        let is_theirs = |request: &Request| Keyring::binding(&request.address.key()) == link.second;
        let asked = requests::by_id(&mut tx, link.row).await?.filter(is_theirs);
        let Some(asked) = asked else { return Ok(Confirmed::Gone) };
        if !people::hold(&mut tx, asked.subscriber).await? {
            return Ok(Confirmed::Gone);
        }
        // Read again: whoever pressed at the same moment is done by now.
        let Some(request) = requests::by_id(&mut tx, asked.id).await? else { return Ok(Confirmed::Gone) };
        if request.confirmed_at.is_some() {
            let person = people::by_id(&mut tx, request.subscriber).await?;
            let suppression = self.suppression(&mut tx, &request.address).await?;
            let person = person.as_ref().map(|person| (person.status, &person.address));
            return Ok(joining::standing(request.kind, &request.address, person, suppression));
        }
        if !requests::confirm(&mut tx, request.id, now).await? {
            return Ok(Confirmed::Gone);
        }
        for fingerprint in self.keyring.fingerprints(&request.address.key()) {
            requests::note_confirmed(&mut tx, &fingerprint).await?;
        }
        let evidence = format!("{}; confirmed by mail from {from}", request.asked);
        let done = match request.kind {
            RequestKind::Join => self.welcome(&mut tx, &request, &evidence, now).await?,
            RequestKind::Address => self.move_now(&mut tx, &request, &evidence, now).await?,
        };
        tx.commit().await?;
        self.wake.notify_waiters();
        Ok(done)
    }

    async fn welcome(
        &self,
        tx: &mut Tx,
        request: &Request,
        evidence: &str,
        now: Timestamp,
    ) -> Result<Confirmed, EffectProblem> {
        if !people::activate(tx, request.subscriber, (WEBSITE, evidence), now).await? {
            return Ok(Confirmed::Joined);
        }
        let Some(person) = people::by_id(tx, request.subscriber).await? else { return Ok(Confirmed::Gone) };
        let content = self.shelf.get();
        let publication = &content.publication;
        // A tier that the editors have removed since gets no welcome, and no edition either.
        let Some(tier) = publication.tier(&person.tier) else { return Ok(Confirmed::Joined) };
        let date =
            |at: Option<Timestamp>, pattern| at.map(|at| publication.date(at, pattern)).unwrap_or_default();
        let input = WelcomeInput {
            publication,
            support: &content.support,
            name: &person.name,
            address: person.address.as_str(),
            tier,
            term_ends: &date(person.term_ends_at, DAY),
            next: &date(publication.next_mail(&tier.id, now), "%A %-d %B, %H:%M"),
            unsubscribe: &self.link("u", Purpose::Unsubscribe, person.id),
            preferences: &self.link("p", Purpose::Preferences, person.id),
            archive: &format!("{}/archive", publication.url),
        };
        let body = render_welcome(&content.templates, &input).map_err(unprintable)?;
        self.queue(tx, &content, (DeliveryKind::Notice, To::Person(person.id)), &body, now).await?;
        Ok(Confirmed::Joined)
    }

    /// Takes back a leaving of the last hour. Answers whether it could be taken back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn come_back(
        &self,
        subscriber: i64,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<bool, EffectProblem> {
        let mut tx = self.store.write().await?;
        if !people::hold(&mut tx, subscriber).await? {
            return Ok(false);
        }
        let Some(person) = people::by_id(&mut tx, subscriber).await? else { return Ok(false) };
        let suppression = suppressions::of(&mut tx, &person.address).await?;
        if !joining::may_undo(suppression.map(|found| (found.reason, found.at)), now) {
            return Ok(false);
        }
        let text = format!("took the leaving back on the same page, from {from}");
        people::activate(&mut tx, subscriber, (WEBSITE, &text), now).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Saves what the preferences page asks for.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn prefer(
        &self,
        subscriber: i64,
        name: &str,
        paused_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), EffectProblem> {
        let mut tx = self.store.write().await?;
        people::rename(&mut tx, subscriber, name, now).await?;
        people::pause(&mut tx, subscriber, paused_until, now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Deletes wishes that nobody confirmed in time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn expire(store: &Store, now: Timestamp) -> Result<usize, StoreError> {
        if !requests::has_expired(&mut store.read().await?, now).await? {
            return Ok(0);
        }
        let mut tx = store.write().await?;
        let expired = requests::expire(&mut tx, now).await?;
        tx.commit().await?;
        Ok(expired)
    }

    /// Why an address must not be mailed, one that was erased included.
    pub(super) async fn suppression(
        &self,
        tx: &mut Tx,
        address: &Address,
    ) -> Result<Option<SuppressionReason>, StoreError> {
        if erasures::is_erased(tx, &self.keyring.erased_marks(&address.key())).await? {
            return Ok(Some(SuppressionReason::Erased));
        }
        Ok(suppressions::of(tx, address).await?.map(|found| found.reason))
    }

    fn confirmation(
        &self,
        content: &Content,
        ask: &JoinAsk<'_>,
        request: i64,
        now: Timestamp,
    ) -> Result<Body, EffectProblem> {
        let publication = &content.publication;
        let input = ConfirmInput {
            publication,
            support: &content.support,
            address: ask.address.as_str(),
            asked_at: &publication.date(now, AT),
            asked_where: ask.door.as_said(),
            gets: "",
            expires: &publication.date(later(now, joining::PENDING_FOR), DAY),
            confirm: &self.confirm_link(request, ask.address),
        };
        render_confirm(&content.templates, &input).map_err(unprintable)
    }

    fn known(&self, content: &Content, person: &Subscriber) -> Result<Body, EffectProblem> {
        let input = KnownInput {
            publication: &content.publication,
            support: &content.support,
            name: &person.name,
            address: person.address.as_str(),
            preferences: &self.link("p", Purpose::Preferences, person.id),
            unsubscribe: &self.link("u", Purpose::Unsubscribe, person.id),
        };
        render_known(&content.templates, &input).map_err(unprintable)
    }

    pub(super) fn confirm_link(&self, request: i64, address: &Address) -> String {
        let second = Keyring::binding(&address.key());
        let token = self.keyring.mint(Subject { purpose: Purpose::Confirm, row: request, second });
        format!("{}/c/{token}", self.shelf.get().publication.url)
    }

    fn link(&self, path: &str, purpose: Purpose, row: i64) -> String {
        let token = self.keyring.mint(Subject { purpose, row, second: 0 });
        format!("{}/{path}/{token}", self.shelf.get().publication.url)
    }

    pub(super) async fn queue(
        &self,
        tx: &mut Tx,
        content: &Content,
        mail: (DeliveryKind, To<'_>),
        body: &Body,
        now: Timestamp,
    ) -> Result<(), EffectProblem> {
        let frame = frames::reader(&self.settings, &content.publication);
        queue(tx, mail, (&frame, body), now).await
    }
}

/// Queues one mail that is no edition's.
pub(super) async fn queue(
    tx: &mut Tx,
    (kind, to): (DeliveryKind, To<'_>),
    (frame, body): (&Frame, &Body),
    now: Timestamp,
) -> Result<(), EffectProblem> {
    let json = |error: serde_json::Error| EffectProblem::Message(error.to_string());
    let frame = serde_json::to_string(frame).map_err(json)?;
    let body = serde_json::to_string(body).map_err(json)?;
    let body_id = bodies::add(tx, &frame, &body).await?;
    let (subscriber_id, address, staff_id) = match to {
        To::Person(id) => (Some(id), None, None),
        To::Address(address) => (None, Some(address), None),
        To::Staff(id, address) => (None, Some(address), Some(id)),
    };
    let mail = DeskMail { kind, subscriber_id, thread_id: None, address, staff_id, body_id };
    deliveries::queue_desk_mail(tx, mail, now).await?;
    Ok(())
}

/// Whom a mail is for.
#[derive(Clone, Copy)]
pub(super) enum To<'a> {
    /// A subscriber, whatever their status; who left may be asked whether they want to come back.
    Person(i64),
    /// An address that is nobody's yet, or nobody's any more.
    Address(&'a str),
    /// A member of staff, at their registered address.
    Staff(i64, &'a str),
}

async fn enter_pending(
    tx: &mut Tx,
    ask: &JoinAsk<'_>,
    tier: &crate::domain::publication::TierId,
    now: Timestamp,
) -> Result<i64, EffectProblem> {
    let person = Subscriber {
        id: 0,
        address: ask.address.clone(),
        name: ask.name.to_owned(),
        tier: tier.clone(),
        status: SubscriberStatus::Pending,
        timezone: None,
        language: None,
        term_started_at: None,
        term_ends_at: None,
    };
    let (source, text) = match ask.door {
        JoinDoor::Website(_) => (WEBSITE, ask.door.evidence(now)),
        JoinDoor::Mail => ("mail", ask.door.evidence(now)),
    };
    people::add_many(tx, &[&person], source, &text, now).await?;
    let entered = people::by_key(tx, &ask.address.key()).await?;
    entered.map(|person| person.id).ok_or_else(|| EffectProblem::Message("a new person is not there".into()))
}

pub(super) fn later(now: Timestamp, span: std::time::Duration) -> Timestamp {
    Timestamp(now.millis() + span.as_millis() as i64)
}

pub(super) fn unprintable(problems: Vec<Problem>) -> EffectProblem {
    let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
    EffectProblem::Message(format!("the mail cannot be rendered: {}", list.join("; ")))
}
