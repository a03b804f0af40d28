//! Sending: permit -> claim -> fill -> sign -> send -> settle, one delivery after the other on each connection.
//!
//! A connection belongs to one relay. It is opened only while something is due, and before anything is claimed: a relay that is
//! down costs no delivery an attempt. The settlement of the last delivery travels with the next claim; where the next one has
//! to wait for its permit, it goes ahead alone. A message whose connection was recycled by the server is tried at once on a new one.
//!
//! Known gap: which relay takes which domain cannot be said.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::alarm::Alarms;
use super::bodies::{Bodies, BodyProblem};
use super::content::Shelf;
use super::health::{Health, Seat};
use super::ledger::{Done, Ledger, Turn, Work};
use super::measure;
use super::signing::Signing;
use super::traffic::Seen;
use crate::domain::alarm::AlarmCause;
use crate::domain::bearing::{Bearing, bearing};
use crate::domain::breaker::weigh;
use crate::domain::delivery::{DeliveryState, History, Outcome, Phase, Settlement, settle};
use crate::domain::settings::{RelaySettings, RetrySettings};
use crate::domain::slow_down::throttle;
use crate::domain::token::NOBODY;
use crate::mail::compose::{Envelope, Recipient};
use crate::mail::token::Keyring;
use crate::runtime::{Clock, Masked, MaskedText, Shutdown, Timestamp};
use crate::store::Store;
use crate::store::claims::Claimed;
use crate::store::deliveries::Settled;
use crate::transport::{Attempt, ConnectProblem, Pacer, Session, Timeouts};

/// An idle connection is closed after this; servers wait five minutes at least (W116).
const IDLE: Duration = Duration::from_secs(30);

/// The relay stands no more connections, or another one's share comes first.
const NO_SEAT: Duration = Duration::from_secs(1);
const NOT_ITS_TURN: Duration = Duration::from_millis(10);

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
    pub bodies: Arc<Bodies>,
    pub health: Health,
    pub alarms: Alarms,
    pub clock: Arc<dyn Clock>,
    pub shutdown: Shutdown,
    /// A hint that something became due. The tick's look into the store is the truth.
    pub wake: Arc<Notify>,
}

/// One connection with what it has in hand.
pub struct Connection {
    line: Arc<SendLine>,
    session: Option<Session>,
    /// Its place among the relay's connections, while it uses one.
    seat: Option<Seat>,
    /// A permit of the relay's pacer that no delivery has used yet.
    permit: bool,
    /// Decided, and not yet committed.
    unsettled: Option<Done>,
    /// How long there is nothing to do, where that is known.
    rest_for: Option<Duration>,
    /// When it last had a delivery.
    used_at: Timestamp,
    message: Vec<u8>,
}

impl SendLine {
    /// Answers how soon to ask again.
    fn not_connected(&self, problem: &ConnectProblem, seat: Option<&Seat>, now: Timestamp) -> Duration {
        if problem.needs_operator {
            return self.stop_relay(&problem.to_string(), seat, now);
        }
        let (wait, first) = self.health.failed(now);
        self.alarms.relay_failed(&self.relay.name, problem, now);
        if first {
            tracing::warn!(%problem, "the relay cannot be used; recipients stay queued");
        }
        if problem.reply.as_ref().is_some_and(|reply| reply.code < 500) {
            self.slow_down(now);
        }
        wait
    }

    fn slow_down(&self, now: Timestamp) {
        if let Some(width) = self.health.deferred(self.relay.connections, now) {
            let relay = &self.relay.name;
            tracing::warn!(%relay, width, "the relay defers us: it is slowed down to so many connections");
        }
    }

    /// Nothing more goes by this relay before an operator says so, or an hour is over. Answers how soon to ask again.
    fn stop_relay(&self, why: &str, seat: Option<&Seat>, now: Timestamp) -> Duration {
        let (wait, first) = self.health.stop(seat, now);
        if first {
            let (relay, why) = (&self.relay.name, MaskedText(why).to_string());
            self.alarms.raise(AlarmCause::RelayRefuses, relay, &why, now);
            tracing::warn!(%relay, why, "the relay is stopped for an hour or until SIGHUP; recipients stay queued, other relays take over");
        }
        wait
    }
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
        let used_at = line.clock.now();
        Connection {
            line,
            session: None,
            seat: None,
            permit: false,
            unsettled: None,
            rest_for: None,
            used_at,
            message: Vec::new(),
        }
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
        let wait = self.rest_for.take();
        loop {
            // Counted from its last delivery: hints wake it every second while something waits for a permit.
            let idle = IDLE.saturating_sub(line.clock.now().since(self.used_at));
            tokio::select! {
                () = line.wake.notified() => return,
                () = line.shutdown.wait() => return,
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => return,
                () = tokio::time::sleep(idle), if self.session.is_some() => self.close().await,
            }
        }
    }

    /// Tries one delivery, if there is one that may leave now.
    pub async fn step(&mut self) -> Step {
        match self.next_delivery().await {
            Ok(claimed) => {
                let began = tokio::time::Instant::now();
                let outcome = self.try_delivery(&claimed).await;
                self.used_at = self.line.clock.now();
                let done = self.decide(&claimed, &outcome);
                measure::attempt(&done.settled.relay, &outcome, &done.settled.settlement, began.elapsed());
                self.unsettled = Some(done);
                self.after(&outcome).await
            }
            Err(step) => {
                if self.session.is_none() {
                    self.seat = None;
                }
                step
            }
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
        self.take_place().await?;
        self.take_permit().await?;
        if self.session.is_none() {
            self.open().await?;
        }
        let share = self.line.health.share_of_rate(self.line.relay.connections);
        let turn = self.line.ledger.turn_at(share, self.unsettled.clone(), true);
        let turn = turn.await.map_err(|_| LEDGER_AWAY)?;
        self.unsettled = None;
        let claimed = match turn {
            Turn::Delivery(claimed) => *claimed,
            Turn::Nothing => return Err(Step::Idle),
            Turn::Later(wait) => {
                self.line.health.rests();
                self.rest_for = Some(wait);
                return Err(Step::Idle);
            }
        };
        self.permit = false;
        self.line.health.took();
        if self.line.shutdown.asked() {
            // No new MAIL: what was just claimed goes back untried.
            let why = "given back at shutdown";
            let settlement = Settlement::untried(self.line.clock.now(), why);
            self.unsettled = Some(self.done(&claimed, settlement, Seen::default()));
            return Err(self.stop().await);
        }
        Ok(claimed)
    }

    /// A place among the connections that the relay stands now, while it is its turn among the relays.
    async fn take_place(&mut self) -> Result<(), Step> {
        let now = self.line.clock.now();
        if let Err(wait) = self.line.health.may_use(now) {
            self.settle_alone().await?;
            self.close().await;
            return Err(Step::Down(wait));
        }
        if self.seat.is_some() && self.line.health.is_crowded() {
            self.settle_alone().await?;
            self.close().await;
        }
        if self.seat.is_none() {
            self.seat = self.line.health.seat(self.line.relay.connections, now);
        }
        let wait = match (&mut self.seat, self.line.health.has_share(now)) {
            (None, _) => NO_SEAT,
            (_, false) => NOT_ITS_TURN,
            (Some(seat), true) => {
                seat.begins();
                return Ok(());
            }
        };
        self.settle_alone().await?;
        self.rest_for = Some(wait);
        Err(Step::Idle)
    }

    /// The relay's own pace. A permit that brought no delivery is kept for the next one.
    async fn take_permit(&mut self) -> Result<(), Step> {
        if self.permit || self.line.pacer.try_permit() {
            self.permit = true;
            return Ok(());
        }
        self.settle_alone().await?;
        self.line.health.rests();
        tokio::select! {
            () = self.line.pacer.permit() => self.permit = true,
            () = self.line.shutdown.wait() => return Err(self.stop().await),
        }
        Ok(())
    }

    /// What an outcome says about the relay. One that refuses us is stopped; one that is lost, or defers everybody, gets a rest; one
    /// that took a message is well.
    async fn after(&mut self, outcome: &Outcome) -> Step {
        let now = self.line.clock.now();
        let health = &self.line.health;
        let relay = &self.line.relay.name;
        let wait = match bearing(outcome) {
            Bearing::Well => {
                if health.recovered() {
                    tracing::info!(%relay, "the relay is back");
                }
                return Step::Tried;
            }
            Bearing::Nothing => return Step::Tried,
            Bearing::Doubtful if !health.doubted() => return Step::Tried,
            Bearing::Refuses | Bearing::Doubtful => {
                self.line.stop_relay(&format!("{outcome:?}"), self.seat.as_ref(), now)
            }
            Bearing::Away => {
                let (wait, first) = health.failed(now);
                if first {
                    let outcome = MaskedText(&format!("{outcome:?}")).to_string();
                    tracing::warn!(%relay, outcome, "the relay takes nothing now; recipients stay queued");
                }
                if throttle(outcome).is_some() && outcome.is_the_relays_fault() {
                    self.line.slow_down(now);
                }
                wait
            }
        };
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
            let asked = self.line.ledger.turn(self.unsettled.clone(), false).await;
            asked.map_err(|_| LEDGER_AWAY)?;
            self.unsettled = None;
        }
        Ok(())
    }

    async fn close(&mut self) {
        self.seat = None;
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

    async fn look_for_work(&mut self) -> Result<(), Step> {
        match self.line.ledger.has_work(&self.line.store, self.line.clock.now()).await {
            Ok(Work::Now) => Ok(()),
            Ok(Work::Nothing) => Err(Step::Idle),
            Ok(Work::Later(wait)) => {
                self.rest_for = Some(wait);
                Err(Step::Idle)
            }
            Err(error) => {
                tracing::error!(%error, "the store cannot be read; nothing is sent until it can");
                Err(LEDGER_AWAY)
            }
        }
    }

    async fn open(&mut self) -> Result<(), Step> {
        if let Err(wait) = self.line.health.may_try(self.line.clock.now()) {
            self.line.health.rests();
            return Err(Step::Down(wait));
        }
        let line = self.line.clone();
        let connected = tokio::select! {
            connected = Session::connect(&line.relay, line.timeouts) => connected,
            () = line.shutdown.wait() => return Err(self.stop().await),
        };
        match connected {
            Ok(session) => {
                self.session = Some(session);
                line.alarms.relay_works(&line.relay.name);
                Ok(())
            }
            Err(problem) => {
                let now = self.line.clock.now();
                Err(Step::Down(self.line.not_connected(&problem, self.seat.as_ref(), now)))
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
            proof_of: claimed.proof_of.unwrap_or(0),
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

    fn decide(&self, claimed: &Claimed, outcome: &Outcome) -> Done {
        let history = History {
            attempt: claimed.attempt,
            first_attempt_at: claimed.first_attempt_at,
            uncertain_before: claimed.uncertain_before,
            jitter: jitter(claimed.id, claimed.attempt),
        };
        let mut settlement =
            settle(outcome, history, self.line.clock.now(), &self.line.retry.of(claimed.kind));
        let house = claimed.is_for_the_house();
        settlement.suppress = settlement.suppress.filter(|_| !house);
        self.tell(claimed, measure::class(outcome), &settlement);
        // What is said before a recipient is named is the relay's and no lane's.
        let of_lane = !outcome.is_the_relays_fault();
        let seen = Seen {
            lane: claimed.lane,
            edition: claimed.edition_id,
            subscriber: claimed.subscriber_id,
            weight: weigh(outcome),
            throttle: throttle(outcome).filter(|_| of_lane),
            house,
        };
        self.done(claimed, settlement, seen)
    }

    fn done(&self, claimed: &Claimed, settlement: Settlement, seen: Seen) -> Done {
        let is_named = seen.house || settlement.suppress.is_some();
        let settled = Settled {
            recipient: is_named.then(|| claimed.address.clone()),
            delivery: claimed.id,
            attempt: claimed.attempt,
            owner: self.line.owner,
            relay: self.line.relay.name.clone(),
            at: self.line.clock.now(),
            settlement,
        };
        Done { settled, seen, lease: Some(claimed.lease) }
    }

    fn tell(&self, claimed: &Claimed, class: &str, settlement: &Settlement) {
        let (to, relay) = (Masked(claimed.address.as_str()), self.line.relay.name.as_str());
        let (delivery, attempt, state) = (claimed.id, claimed.attempt, settlement.state.as_str());
        let reply = MaskedText(&settlement.last_reply);
        match settlement.state {
            DeliveryState::Accepted => {
                tracing::debug!(delivery, %to, relay, attempt, state, class, %reply, "delivery settled")
            }
            DeliveryState::Parked => {
                tracing::error!(delivery, %to, relay, attempt, state, class, %reply, "delivery settled")
            }
            _ => tracing::info!(delivery, %to, relay, attempt, state, class, %reply, "delivery settled"),
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
