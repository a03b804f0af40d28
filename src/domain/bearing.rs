//! What the outcome of one attempt says about the relay that it went by (W93, W114, W136, W138, W146). Pure.

use super::delivery::Outcome;
use super::reply_rule::{PROTOCOL, ReplyClass};

/// What follows for the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearing {
    /// It took a message.
    Well,
    Nothing,
    /// It may or may not have the message, or it speaks of a protocol error to one recipient. Three in a row stop it.
    Doubtful,
    /// It is lost, or defers everybody: it gets a rest.
    Away,
    /// It does not want us: it is stopped.
    Refuses,
}

/// Reads an outcome.
pub fn bearing(outcome: &Outcome) -> Bearing {
    match outcome {
        Outcome::Accepted(_) => Bearing::Well,
        Outcome::Unknown(_) => Bearing::Doubtful,
        Outcome::Deferred(reply) if reply.code == 421 => Bearing::Away,
        Outcome::Refused(reply) | Outcome::Deferred(reply) => {
            let ours = reply.class() == ReplyClass::Relay;
            match reply.phase.is_before_recipient() {
                // Too large, which every relay would say.
                true if reply.class() == ReplyClass::Content => Bearing::Nothing,
                true if reply.code >= 500 => Bearing::Refuses,
                true => Bearing::Away,
                false if !ours => Bearing::Nothing,
                // Of one odd recipient, perhaps.
                false if &*reply.judgement.reason == PROTOCOL || reply.code < 500 => Bearing::Doubtful,
                false => Bearing::Refuses,
            }
        }
        Outcome::Unreachable(..) if outcome.is_the_relays_fault() => Bearing::Away,
        Outcome::Unreachable(..) | Outcome::Unsendable(_) => Bearing::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::{Phase, Reply};

    #[test]
    fn who_is_refused() {
        let cases = [
            (550, "5.7.1", "we do not know you", Phase::Mail, Bearing::Refuses),
            (530, "5.7.0", "authentication required", Phase::Mail, Bearing::Refuses),
            (535, "5.7.8", "bad credentials", Phase::Auth, Bearing::Refuses),
            (554, "5.7.1", "relay access denied", Phase::Rcpt, Bearing::Refuses),
            (451, "4.3.0", "not now", Phase::Mail, Bearing::Away),
            (421, "4.7.0", "too many connections", Phase::Dot, Bearing::Away),
            (555, "5.5.4", "unsupported parameter", Phase::Rcpt, Bearing::Doubtful),
            (552, "5.3.4", "too large", Phase::Mail, Bearing::Nothing),
            (550, "5.1.1", "no such user", Phase::Rcpt, Bearing::Nothing),
            (550, "5.7.26", "unauthenticated", Phase::Dot, Bearing::Nothing),
            (451, "4.7.1", "greylisted", Phase::Rcpt, Bearing::Nothing),
        ];
        for (code, enhanced, text, phase, expected) in cases {
            let rules = crate::domain::reply_rule::samples::rules();
            let reply = Reply::new(code, Some(enhanced.into()), text.into(), phase, &rules);
            let outcome = if code >= 500 { Outcome::Refused(reply) } else { Outcome::Deferred(reply) };
            assert_eq!(bearing(&outcome), expected, "{outcome:?}");
        }
        assert_eq!(bearing(&Outcome::Unknown(String::new())), Bearing::Doubtful);
        assert_eq!(bearing(&Outcome::Unreachable(Phase::Mail, String::new())), Bearing::Away);
        assert_eq!(bearing(&Outcome::Unreachable(Phase::Data, String::new())), Bearing::Nothing);
    }
}
