//! Sending: permit -> claim -> fill -> sign -> send -> settle, one delivery after the other on each connection.
//!
//! A connection is opened only while something is due, and before anything is claimed: a relay that is down costs no delivery an
//! attempt. The settlement of the last delivery travels with the next claim; where the next one has to wait for its permit, it
//! goes ahead alone. A message whose connection was recycled by the server is tried at once on a new one.
//!
//! Known gaps: one relay, one lane; each takes its place here (permit, claim).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::bodies::{Bodies, BodyProblem};
use super::content::Shelf;
use super::health::Health;
use super::ledger::{self, Ledger};
use super::signing::Signing;
use crate::domain::delivery::{DeliveryState, History, Outcome, Phase, Settlement, settle};
use crate::domain::settings::{RelaySettings, RetrySettings};
use crate::domain::token::NOBODY;
use crate::mail::compose::{Envelope, Recipient};
use crate::mail::token::Keyring;
use crate::runtime::{Clock, Masked, MaskedText, Shutdown};
use crate::store::Store;
use crate::store::claims::Claimed;
use crate::store::deliveries::Settled;
use crate::transport::{Attempt, Pacer, Session, Timeouts};

/// An idle connection is closed after this; servers wait five minutes at least (W116).
const IDLE: Duration = Duration::from_secs(30);

/// The store is away; a second later it may be back.
const LEDGER_AWAY: Step = Step::Down(Duration::from_secs(1));

/// What all connections to one relay share.
pub struct SendLine {
    pub store: Store,
    pub ledger: Ledger,
    pub owner: i64,
    pub relay: RelaySettings,
    pub pacer: Pacer,
    pub timeouts: Timeouts,
    pub retry: RetrySettings,
    pub keyring: Arc<Keyring>,
    /// `None`: mail leaves unsigned.
    pub signing: Option<Signing>,
    /// How tiers and dates read.
    pub shelf: Arc<Shelf>,
    pub bodies: Bodies,
    pub health: Health,
    pub clock: Arc<dyn Clock>,
    pub shutdown: Shutdown,
    /// A hint that something became due. The tick's look into the store is the truth.
    pub wake: Arc<Notify>,
}

/// One connection with what it has in hand.
pub struct Connection {
    line: Arc<SendLine>,
    session: Option<Session>,
    /// Decided, and not yet committed.
    unsettled: Option<Settled>,
    message: Vec<u8>,
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// One delivery was tried.
    Tried,
    /// Nothing is due.
    Idle,
    /// The relay or the ledger is away; look again after this time.
    Down(Duration),
    /// Shutdown was asked for: everything is settled and the connection is closed.
    Stopped,
}

impl Connection {
    pub fn new(line: Arc<SendLine>) -> Connection {
        Connection { line, session: None, unsettled: None, message: Vec::new() }
    }

    /// Sends until shutdown.
    pub async fn run(mut self) {
        loop {
            match self.step().await {
                Step::Tried => {}
                Step::Stopped => return,
                // Once shutdown was asked for, only an unsettled delivery keeps us here: try again, and not in a hurry.
                Step::Down(wait) if self.line.shutdown.asked() => tokio::time::sleep(wait).await,
                Step::Down(wait) => {
                    self.close().await;
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.line.shutdown.wait() => {}
                    }
                }
                Step::Idle => self.rest().await,
            }
        }
    }

    /// Waits for work, and closes a connection that has waited for long.
    async fn rest(&mut self) {
        let line = self.line.clone();
        loop {
            tokio::select! {
                () = line.wake.notified() => return,
                () = line.shutdown.wait() => return,
                () = tokio::time::sleep(IDLE), if self.session.is_some() => self.close().await,
            }
        }
    }

    /// Tries one delivery, if there is one that may leave now.
    pub async fn step(&mut self) -> Step {
        match self.next_delivery().await {
            Ok(claimed) => {
                let outcome = self.try_delivery(&claimed).await;
                self.unsettled = Some(self.decide(&claimed, &outcome));
                self.after(&outcome).await
            }
            Err(step) => step,
        }
    }

    /// Permit, connection, claim, in this order: a connection that waits for its permit would be closed by the server, and a
    /// claim without a connection would cost a delivery an attempt.
    async fn next_delivery(&mut self) -> Result<Claimed, Step> {
        if self.line.shutdown.asked() {
            return Err(self.stop().await);
        }
        self.drop_spent_session().await;
        if self.session.is_none() {
            self.settle_alone().await?;
            self.look_for_work().await?;
        }
        if !self.line.pacer.try_permit() {
            self.settle_alone().await?;
            tokio::select! {
                () = self.line.pacer.permit() => {}
                () = self.line.shutdown.wait() => return Err(self.stop().await),
            }
        }
        if self.session.is_none() {
            self.open().await?;
        }
        let claimed = self.line.ledger.ask(self.unsettled.clone(), true).await.map_err(|_| LEDGER_AWAY)?;
        self.unsettled = None;
        let claimed = claimed.ok_or(Step::Idle)?;
        if self.line.shutdown.asked() {
            // No new MAIL: what was just claimed goes back untried.
            let why = "given back at shutdown";
            let settlement = Settlement::untried(self.line.clock.now(), why);
            self.unsettled = Some(self.settled(&claimed, settlement));
            return Err(self.stop().await);
        }
        Ok(claimed)
    }

    /// A relay that refuses everybody, or is lost before it has heard of a recipient, gets a rest; one that took a message is well.
    async fn after(&mut self, outcome: &Outcome) -> Step {
        let now = self.line.clock.now();
        let told_to_wait = matches!(outcome, Outcome::Deferred(reply) if reply.code == 421);
        if !outcome.is_the_relays_fault() && !told_to_wait {
            if matches!(outcome, Outcome::Accepted(_)) && self.line.health.recovered() {
                tracing::info!(relay = %self.line.relay.name, "the relay is back");
            }
            return Step::Tried;
        }
        let (wait, first) = self.line.health.failed(now);
        if first {
            let relay = &self.line.relay.name;
            tracing::error!(%relay, outcome = %MaskedText(&format!("{outcome:?}")), "the relay refuses us; recipients stay queued");
        }
        match self.settle_alone().await {
            Ok(()) => Step::Down(wait),
            Err(step) => step,
        }
    }

    async fn stop(&mut self) -> Step {
        if let Err(step) = self.settle_alone().await {
            return step;
        }
        self.close().await;
        Step::Stopped
    }

    async fn settle_alone(&mut self) -> Result<(), Step> {
        if self.unsettled.is_some() {
            let asked = self.line.ledger.ask(self.unsettled.clone(), false).await;
            asked.map_err(|_| LEDGER_AWAY)?;
            self.unsettled = None;
        }
        Ok(())
    }

    async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.quit().await;
        }
    }

    async fn drop_spent_session(&mut self) {
        let limit = self.line.relay.messages_per_connection;
        if self.session.as_ref().is_some_and(|session| !session.usable() || session.accepted() >= limit) {
            self.close().await;
        }
    }

    async fn look_for_work(&self) -> Result<(), Step> {
        match ledger::has_work(&self.line.store, self.line.clock.now()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Step::Idle),
            Err(error) => {
                tracing::error!(%error, "the store cannot be read; nothing is sent until it can");
                Err(LEDGER_AWAY)
            }
        }
    }

    async fn open(&mut self) -> Result<(), Step> {
        self.line.health.may_try(self.line.clock.now()).map_err(Step::Down)?;
        let line = self.line.clone();
        let connected = tokio::select! {
            connected = Session::connect(&line.relay, line.timeouts) => connected,
            () = line.shutdown.wait() => return Err(self.stop().await),
        };
        match connected {
            Ok(session) => {
                self.session = Some(session);
                Ok(())
            }
            Err(problem) => {
                let (wait, first) = self.line.health.failed(self.line.clock.now());
                if first {
                    tracing::error!(%problem, "the relay cannot be used; recipients stay queued");
                }
                Err(Step::Down(wait))
            }
        }
    }

    async fn try_delivery(&mut self, claimed: &Claimed) -> Outcome {
        let envelope = match self.compose(claimed).await {
            Ok(envelope) => envelope,
            Err(outcome) => return outcome,
        };
        // The composer writes 7-bit; anything else would be refused by the session as well.
        let Ok(message) = std::str::from_utf8(&self.message) else {
            return Outcome::Unsendable("the message is not 7-bit".into());
        };
        // A server recycles a connection once; two in a row is a server that takes nothing.
        for _ in 0..2 {
            let Some(session) = self.session.as_mut() else { break };
            match session.send(&envelope.from, &envelope.to, message).await {
                Attempt::Made(outcome) => return outcome,
                Attempt::Recycled(why) => {
                    tracing::debug!(relay = %self.line.relay.name, %why, "the relay recycled the connection");
                    self.session = Session::connect(&self.line.relay, self.line.timeouts).await.ok();
                }
            }
        }
        Outcome::Unreachable(Phase::Connect, "the relay closed the connection and takes no new one".into())
    }

    async fn compose(&mut self, claimed: &Claimed) -> Result<Envelope, Outcome> {
        let compiled = self.line.bodies.get(&self.line.store, claimed.body_id).await.map_err(|problem| {
            let why = problem.to_string();
            match problem {
                BodyProblem::Store(_) => Outcome::Unreachable(Phase::Data, why),
                BodyProblem::Broken { .. } => Outcome::Unsendable(why),
            }
        })?;
        let content = self.line.shelf.get();
        let publication = &content.publication;
        let tier = claimed.tier.as_ref().and_then(|tier| publication.tier(tier));
        let term_ends = claimed.term_ends_at.map(|at| publication.date(at, "%-d %B %Y"));
        let recipient = Recipient {
            delivery: claimed.id,
            subscriber: claimed.subscriber_id.unwrap_or(if claimed.is_proof() { NOBODY } else { 0 }),
            thread: claimed.thread_id.unwrap_or(0),
            staff: claimed.staff_id.unwrap_or(0),
            address: claimed.address.clone(),
            name: claimed.name.clone(),
            tier_label: tier.map(|tier| tier.label.clone()).unwrap_or_default(),
            term_ends: term_ends.unwrap_or_default(),
            key_id: u8::try_from(claimed.key_id).unwrap_or(self.line.keyring.current_key_id()),
            first_attempt_at: claimed.first_attempt_at,
        };
        self.message.clear();
        let mut envelope = compiled
            .compose(&self.line.keyring, &recipient, &mut self.message)
            .map_err(|problem| Outcome::Unsendable(problem.to_string()))?;
        if let Some(signing) = &self.line.signing {
            let unsigned = std::mem::take(&mut self.message);
            let signed = signing.sign(&compiled, recipient.first_attempt_at, unsigned, &mut envelope).await;
            self.message =
                signed.map_err(|why| Outcome::Unsendable(format!("it cannot be signed: {why}")))?;
        }
        Ok(envelope)
    }

    fn decide(&self, claimed: &Claimed, outcome: &Outcome) -> Settled {
        let history = History {
            attempt: claimed.attempt,
            first_attempt_at: claimed.first_attempt_at,
            uncertain_before: claimed.uncertain_before,
            jitter: jitter(claimed.id, claimed.attempt),
        };
        let settlement = settle(outcome, history, self.line.clock.now(), &self.line.retry);
        self.tell(claimed, &settlement);
        self.settled(claimed, settlement)
    }

    fn settled(&self, claimed: &Claimed, settlement: Settlement) -> Settled {
        Settled {
            delivery: claimed.id,
            attempt: claimed.attempt,
            owner: self.line.owner,
            relay: self.line.relay.name.clone(),
            at: self.line.clock.now(),
            settlement,
        }
    }

    fn tell(&self, claimed: &Claimed, settlement: &Settlement) {
        let to = Masked(claimed.address.as_str());
        let (delivery, attempt, state) = (claimed.id, claimed.attempt, settlement.state.as_str());
        let reply = MaskedText(&settlement.last_reply);
        match settlement.state {
            DeliveryState::Accepted => {
                tracing::debug!(delivery, %to, attempt, state, %reply, "delivery settled")
            }
            DeliveryState::Parked => {
                tracing::error!(delivery, %to, attempt, state, %reply, "delivery settled")
            }
            _ => tracing::info!(delivery, %to, attempt, state, %reply, "delivery settled"),
        }
    }
}

/// From 0 to 1, spread over deliveries and attempts, and the same whenever it is computed.
fn jitter(delivery: i64, attempt: i64) -> f64 {
    // Fibonacci hashing: the golden ratio's fraction of 2^64 spreads consecutive numbers evenly.
    let mixed = (delivery as u64).wrapping_add(attempt as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 40) as f64 / (1u64 << 24) as f64
}

#[cfg(test)]
mod tests {
    use super::jitter;

    #[test]
    fn jitter_spreads_and_repeats() {
        let values: Vec<f64> = (1..=1000).map(|id| jitter(id, 1)).collect();
        assert!(values.iter().all(|value| (0.0..1.0).contains(value)));
        let mean = values.iter().sum::<f64>() / 1000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
        assert_eq!(jitter(7, 2), jitter(7, 2));
    }
}
