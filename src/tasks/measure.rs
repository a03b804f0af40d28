//! What this process counts: attempts and what they took, decisions, received messages. Costs next to nothing where nobody counts.

use std::time::Duration;

use super::receive::Step;
use crate::domain::delivery::{Outcome, Settlement};
use crate::runtime::telemetry::{ATTEMPT_SECONDS, INBOUND, SETTLED};

/// The class of an outcome, as numbers and logs name it.
pub fn class(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted(_) => "accepted",
        Outcome::Deferred(_) => "deferred",
        Outcome::Refused(_) => "refused",
        Outcome::Unreachable(..) => "unreachable",
        Outcome::Unknown(_) => "unknown",
        Outcome::Unsendable(_) => "ours",
    }
}

/// What a peer said, or what happened to it.
pub fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted(reply) | Outcome::Deferred(reply) | Outcome::Refused(reply) => reply.to_string(),
        Outcome::Unreachable(_, why) | Outcome::Unknown(why) | Outcome::Unsendable(why) => why.clone(),
    }
}

/// One attempt is decided.
pub fn attempt(relay: &str, outcome: &Outcome, settlement: &Settlement, took: Duration) {
    let class = class(outcome);
    metrics::histogram!(ATTEMPT_SECONDS, "class" => class).record(took);
    let (state, relay) = (settlement.state.as_str(), relay.to_owned());
    metrics::counter!(SETTLED, "state" => state, "class" => class, "relay" => relay).increment(1);
}

/// One received message went through the line, or not.
pub fn received(step: &Step) {
    let (state, verdict) = match step {
        Step::Done(verdict) => ("done", verdict.as_str()),
        Step::Failed { quarantined: true } => ("quarantined", ""),
        Step::Failed { quarantined: false } => ("failed", ""),
        Step::Idle => return,
    };
    metrics::counter!(INBOUND, "state" => state, "verdict" => verdict).increment(1);
}
