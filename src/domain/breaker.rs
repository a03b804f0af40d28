//! When to stop by ourselves (W145, W146): an edition that bounces or whose content is refused, a destination that refuses us, and
//! a destination whose bounces are not to be believed. Pure: time is an argument.

use std::time::Duration;

use super::bounce;
use super::delivery::{Outcome, Reply};
use super::reply_rule::ReplyClass;
use super::words::words;
use crate::runtime::Timestamp;

/// An edition's and a destination's shares are looked at from so many decided recipients on.
const ENOUGH: i64 = 100;
/// Of a hundred.
const HARD_SHARE: i64 = 5;
const POLICY_SHARE: i64 = 5;
const CONTENT: i64 = 3;

/// W145: recipients who took our mail before and bounce hard within an hour.
const FALSE_HARD: i64 = 20;
const FALSE_HARD_SHARE: i64 = 10;
pub const FALSE_HARD_WITHIN: Duration = Duration::from_secs(3600);

/// An hour is kept in so many slices.
pub const SLICES: i64 = 6;

/// The slice of an instant.
pub fn slice_of(at: Timestamp) -> i64 {
    at.millis().div_euclid(FALSE_HARD_WITHIN.as_millis() as i64 / SLICES)
}

/// What one attempt means to a breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// The recipient's mail was taken or refused for good.
    pub decided: bool,
    pub hard: bool,
    pub content: bool,
    pub policy: bool,
    /// What it means for the recipient, should it be the last word.
    pub failed: Option<Failed>,
}

/// What a refusal adds to what is known of a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    pub class: ReplyClass,
    /// Towards the soft limit.
    pub points: i64,
    /// 550 and no more: many servers mean that there is no such mailbox (W139).
    pub bare: bool,
}

impl Failed {
    fn of(reply: &Reply) -> Option<Failed> {
        let class = reply.class();
        let ours =
            matches!(class, ReplyClass::Relay | ReplyClass::Ignored) || reply.phase.is_before_recipient();
        let bare = reply.code == 550 && reply.enhanced.as_deref().is_none_or(|code| code.ends_with(".0.0"));
        (!ours).then(|| Failed { class, points: bounce::points(class, &reply.text), bare })
    }
}

/// Reads an outcome. A message that is ours to repair counts as refused content: it would be the same for everybody.
pub fn weigh(outcome: &Outcome) -> Weight {
    match outcome {
        Outcome::Accepted(_) => Weight { decided: true, ..Weight::default() },
        Outcome::Refused(reply) => {
            let class = reply.class();
            Weight {
                decided: class != ReplyClass::Relay,
                hard: class == ReplyClass::Hard,
                content: class == ReplyClass::Content,
                policy: class == ReplyClass::Policy,
                failed: Failed::of(reply),
            }
        }
        Outcome::Unsendable(_) => Weight { content: true, ..Weight::default() },
        Outcome::Deferred(reply) => Weight { failed: Failed::of(reply), ..Weight::default() },
        Outcome::Unreachable(..) | Outcome::Unknown(_) => Weight::default(),
    }
}

/// An edition's numbers since it was last set going.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub decided: i64,
    pub hard: i64,
    pub content: i64,
}

impl Tally {
    pub fn add(&mut self, weight: Weight) {
        self.decided += i64::from(weight.decided);
        self.hard += i64::from(weight.hard);
        self.content += i64::from(weight.content);
    }

    /// Whether something in it may trip the breaker, so that it is worth adding up.
    pub fn is_bad(&self) -> bool {
        self.hard > 0 || self.content > 0
    }

    /// Why the edition stops, in words with the numbers; `None`: it goes on.
    pub fn verdict(&self) -> Option<String> {
        if self.content >= CONTENT {
            return Some(format!("{} were refused for their content or size", self.content));
        }
        let bounces = self.decided >= ENOUGH && self.hard * 100 >= self.decided * HARD_SHARE;
        bounces.then(|| format!("{} of {} recipients bounced hard", self.hard, self.decided))
    }
}

words! {
    /// Who paused a destination.
    PauseCause {
        Operator = "operator",
        Policy = "policy",
        /// The guard (W145): its hard bounces are not believed until an operator has said what they were.
        FalseBounces = "false_bounces",
        Complaints = "complaints",
    }
}

/// Why a destination is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It refuses us, not its people.
    Policy { refused: i64, decided: i64 },
    /// It says that people do not exist who took mail before.
    FalseBounces { hard: i64, decided: i64 },
    /// Its people call our mail unwanted.
    Complaints { complaints: i64, delivered: i64 },
}

impl Trouble {
    pub fn cause(&self) -> PauseCause {
        match self {
            Trouble::Policy { .. } => PauseCause::Policy,
            Trouble::FalseBounces { .. } => PauseCause::FalseBounces,
            Trouble::Complaints { .. } => PauseCause::Complaints,
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Policy { refused, decided } => {
                write!(f, "{refused} of {decided} messages were refused for policy or reputation")
            }
            Trouble::FalseBounces { hard, decided } => {
                write!(f, "{hard} of {decided} recipients bounced hard who took mail before")
            }
            Trouble::Complaints { complaints, delivered } => {
                write!(f, "{complaints} of {delivered} readers complained")
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    number: i64,
    decided: i64,
    policy: i64,
    false_hard: i64,
}

/// What one destination decided in the last hour.
#[derive(Clone, Debug, Default)]
pub struct Destination(Vec<Slice>);

impl Destination {
    /// Adds one attempt; `known`: the recipient took mail before. Answers what is wrong, if it is enough to pause; the numbers then
    /// start again.
    pub fn add(&mut self, weight: Weight, known: bool, now: Timestamp) -> Option<Trouble> {
        if !weight.decided {
            return None;
        }
        let number = slice_of(now);
        self.0.retain(|slice| (number - SLICES..=number).contains(&slice.number));
        if self.0.last().is_none_or(|slice| slice.number != number) {
            self.0.push(Slice { number, ..Slice::default() });
        }
        let slice = self.0.last_mut()?;
        slice.decided += 1;
        slice.policy += i64::from(weight.policy);
        slice.false_hard += i64::from(weight.hard && known);
        if !weight.policy && !weight.hard {
            return None;
        }
        let trouble = self.trouble();
        if trouble.is_some() {
            self.0.clear();
        }
        trouble
    }

    fn trouble(&self) -> Option<Trouble> {
        let sum = |of: fn(&Slice) -> i64| self.0.iter().map(of).sum::<i64>();
        let decided = sum(|slice| slice.decided);
        trouble(sum(|slice| slice.false_hard), sum(|slice| slice.policy), decided)
    }
}

/// How many decided recipients have to be counted, at most, to know whether so many reports within an hour are trouble; `None`: they
/// are too few to ask, or nearly as many as when it was asked last. Counting costs as many rows.
pub fn worth_counting(hard: i64, refused: i64) -> Option<i64> {
    let asks = |count: i64, step: i64| count > 0 && count % step == 0;
    let by_hard = asks(hard, FALSE_HARD).then(|| hard * 100 / FALSE_HARD_SHARE + 1);
    let by_policy =
        asks(refused, ENOUGH * POLICY_SHARE / 100).then(|| (refused * 100 / POLICY_SHARE + 1).max(ENOUGH));
    by_hard.max(by_policy)
}

/// What is wrong with a destination where so many people who took mail before bounced hard, and so many were refused for policy, of
/// those that it decided.
pub fn trouble(hard: i64, refused: i64, decided: i64) -> Option<Trouble> {
    if hard >= FALSE_HARD && hard * 100 > decided * FALSE_HARD_SHARE {
        return Some(Trouble::FalseBounces { hard, decided });
    }
    let policy = decided >= ENOUGH && refused * 100 >= decided * POLICY_SHARE;
    policy.then_some(Trouble::Policy { refused, decided })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::{Phase, Reply};

    fn refused(code: u16, enhanced: &str, phase: Phase) -> Weight {
        let text = format!("{enhanced} words");
        let rules = crate::domain::reply_rule::samples::rules();
        weigh(&Outcome::Refused(Reply::new(code, Some(enhanced.into()), text, phase, &rules)))
    }

    fn accepted() -> Weight {
        Weight { decided: true, ..Weight::default() }
    }

    #[test]
    fn w146_five_of_a_hundred_stop_an_edition() {
        let hard = refused(550, "5.1.1", Phase::Rcpt);
        let mut tally = Tally::default();
        (0..5).for_each(|_| tally.add(hard));
        (0..94).for_each(|_| tally.add(accepted()));
        assert_eq!(tally.verdict(), None, "99 are too few to say");
        tally.add(accepted());
        assert_eq!(tally.verdict().as_deref(), Some("5 of 100 recipients bounced hard"));
        tally.add(accepted());
        assert_eq!(tally.verdict(), None, "less than 5 %");
        let mut policy = Tally::default();
        (0..500).for_each(|_| policy.add(refused(550, "5.7.26", Phase::Dot)));
        assert_eq!((policy.verdict(), policy.decided), (None, 500), "policy is the destination's breaker");
    }

    #[test]
    fn w146_three_refusals_of_content_stop_an_edition() {
        let mut tally = Tally::default();
        tally.add(refused(552, "5.3.4", Phase::Dot));
        tally.add(weigh(&Outcome::Unsendable("too large".into())));
        assert_eq!(tally.verdict(), None);
        tally.add(refused(554, "5.6.0", Phase::Dot));
        assert_eq!(tally.verdict().as_deref(), Some("3 were refused for their content or size"));
    }

    #[test]
    fn w146_policy_pauses_the_destination() {
        let policy = refused(550, "5.7.26", Phase::Dot);
        let mut destination = Destination::default();
        for n in 0..99 {
            let weight = if n % 20 == 0 { policy } else { accepted() };
            assert_eq!(destination.add(weight, true, Timestamp(0)), None);
        }
        let trouble = destination.add(policy, true, Timestamp(0));
        assert_eq!(trouble, Some(Trouble::Policy { refused: 6, decided: 100 }));
        assert_eq!(destination.add(policy, true, Timestamp(0)), None, "counted anew");
    }

    #[test]
    fn w145_hard_bounces_of_people_who_took_mail_before() {
        let hard = refused(550, "5.1.1", Phase::Rcpt);
        let mut destination = Destination::default();
        let hour = FALSE_HARD_WITHIN.as_millis() as i64;
        for _ in 0..19 {
            assert_eq!(destination.add(hard, true, Timestamp(0)), None);
        }
        assert_eq!(destination.add(hard, false, Timestamp(0)), None, "nobody knew that one");
        assert_eq!(destination.add(hard, true, Timestamp(hour * 2)), None, "19 are two hours old");
        let mut destination = Destination::default();
        (0..19).for_each(|_| assert_eq!(destination.add(hard, true, Timestamp(0)), None));
        let trouble = destination.add(hard, true, Timestamp(hour - 1));
        assert_eq!(trouble, Some(Trouble::FalseBounces { hard: 20, decided: 20 }));
        let mut mixed = Destination::default();
        (0..200).for_each(|_| assert_eq!(mixed.add(accepted(), false, Timestamp(0)), None));
        let seen: Vec<_> = (0..30).filter_map(|_| mixed.add(hard, true, Timestamp(0))).collect();
        assert_eq!(seen, [Trouble::FalseBounces { hard: 23, decided: 223 }], "more than a tenth");
    }

    #[test]
    fn reports_are_counted_as_far_as_it_matters_and_not_each_time() {
        assert_eq!([19, 20, 21, 40].map(|hard| worth_counting(hard, 0)), [None, Some(201), None, Some(401)]);
        assert_eq!(
            [4, 5, 6, 10].map(|refused| worth_counting(0, refused)),
            [None, Some(101), None, Some(201)]
        );
        assert_eq!(trouble(20, 0, 201), None);
        assert_eq!(trouble(20, 0, 199), Some(Trouble::FalseBounces { hard: 20, decided: 199 }));
        assert_eq!(trouble(0, 5, 101), None);
        assert_eq!(trouble(0, 5, 100), Some(Trouble::Policy { refused: 5, decided: 100 }));
    }

    #[test]
    fn what_is_the_relays_fault_is_nobodys_bounce() {
        let weight = refused(550, "5.7.8", Phase::Rcpt);
        assert_eq!(weight, Weight::default());
        assert_eq!(weigh(&Outcome::Unknown(String::new())), Weight::default());
    }
}
