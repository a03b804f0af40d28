//! What a person's mailbox did so far, and whether that is enough to stop mailing it (W139, W143, W144). Pure: time is an argument.
//!
//! Reports come days after their edition, in any order, and the next edition may have been taken meanwhile. So a report is weighed
//! in the run that it belongs to: the failures around its delivery up to the next edition that was taken. What was taken is a
//! success against what came before only once nothing can come back of it any more. All counts are of when editions left, never of
//! when reports came; so the same reports come to the same in every order.

use std::time::Duration;

use super::reply_rule::ReplyClass;
use super::suppression::SuppressionReason;
use crate::runtime::Timestamp;

/// Unconfirmed hard bounces so far apart, or nearer, suppress together (W143).
const UNCONFIRMED_WITHIN: Duration = Duration::from_secs(30 * 86_400);
/// A bare 550 counts as hard when it comes again after this time (W139).
const UNCLEAR_APART: Duration = Duration::from_secs(86_400);
/// W144: so many points, over at least this time, with no gap longer than the last one.
const SOFT_POINTS: i64 = 5;
const SOFT_SPAN: Duration = Duration::from_secs(15 * 86_400);
const SOFT_STALE: Duration = Duration::from_secs(30 * 86_400);
const DAY: i64 = 86_400_000;
/// Servers give up after five days (RFC 5321 section 4.5.4.1), some after a week; after it no report comes.
pub const REPORTED_WITHIN: Duration = Duration::from_secs(7 * 86_400);

/// One edition that a person was sent, oldest first in a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    pub delivery: i64,
    /// When it left first.
    pub at: Timestamp,
    pub result: IssueResult,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssueResult {
    /// Taken, and nothing came back so far.
    Took,
    Bounced {
        /// As stored; `None`: unclassified.
        class: Option<ReplyClass>,
        status: String,
        confirmed: bool,
        points: i64,
    },
    /// Not tried, cancelled, in doubt.
    Nothing,
}

/// Whether what is known is enough to stop mailing a person, now that this delivery has failed; and why.
pub fn standing(history: &[Issue], failed: i64, now: Timestamp) -> Option<SuppressionReason> {
    let run = run_of(history, failed, now)?;
    let hard: Vec<Timestamp> = times(run, |class, _| class == Some(ReplyClass::Hard));
    if any_two(&hard, |apart| apart <= UNCONFIRMED_WITHIN) {
        return Some(SuppressionReason::HardBounce);
    }
    let unclear = times(run, |class, status| class == Some(ReplyClass::Recipient) && status == "550");
    if any_two(&unclear, |apart| apart >= UNCLEAR_APART) {
        return Some(SuppressionReason::HardBounce);
    }
    is_spent(run).then_some(SuppressionReason::SoftLimit)
}

/// The issues without success around this delivery. `None`: the mailbox has worked since.
fn run_of(history: &[Issue], failed: i64, now: Timestamp) -> Option<&[Issue]> {
    let at = history.iter().position(|issue| issue.delivery == failed)?;
    let took = |issue: &Issue| issue.result == IssueResult::Took;
    let works = |issue: &Issue| took(issue) && issue.at <= now && now.since(issue.at) > REPORTED_WITHIN;
    if history[at + 1..].iter().any(works) {
        return None;
    }
    let first = history[..at].iter().rposition(took).map_or(0, |taken| taken + 1);
    let end = history[at + 1..].iter().position(took).map_or(history.len(), |taken| at + 1 + taken);
    Some(&history[first..end])
}

fn times(run: &[Issue], of: impl Fn(Option<ReplyClass>, &str) -> bool) -> Vec<Timestamp> {
    let counts = |issue: &&Issue| match &issue.result {
        IssueResult::Bounced { class, status, .. } => of(*class, status),
        _ => false,
    };
    run.iter().filter(counts).map(|issue| issue.at).collect()
}

fn any_two(times: &[Timestamp], enough: impl Fn(Duration) -> bool) -> bool {
    times
        .iter()
        .enumerate()
        .any(|(at, first)| times[at + 1..].iter().any(|later| enough(later.since(*first))))
}

/// The soft score of a run without success: one issue of a day counts, the worst, and a long silence forgets.
fn is_spent(run: &[Issue]) -> bool {
    let mut days: Vec<(Timestamp, i64)> = Vec::new();
    for issue in run {
        let IssueResult::Bounced { points, .. } = issue.result else { continue };
        match days.last_mut() {
            _ if points == 0 => {}
            Some((day, most)) if day.millis().div_euclid(DAY) == issue.at.millis().div_euclid(DAY) => {
                *most = points.max(*most);
            }
            _ => days.push((issue.at, points)),
        }
    }
    let mut sum = 0;
    let mut since: Option<(Timestamp, Timestamp)> = None;
    for (at, points) in days {
        since = match since {
            Some((first, last)) if at.since(last) <= SOFT_STALE => Some((first, at)),
            _ => {
                sum = 0;
                Some((at, at))
            }
        };
        sum += points;
        if sum >= SOFT_POINTS && since.is_some_and(|(first, last)| last.since(first) >= SOFT_SPAN) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if the last issue that failed was reported at once.
    fn stands(history: &[Issue]) -> Option<SuppressionReason> {
        let numbered: Vec<Issue> =
            history.iter().zip(1..).map(|(issue, delivery)| Issue { delivery, ..issue.clone() }).collect();
        let failed =
            numbered.iter().rev().find(|issue| matches!(issue.result, IssueResult::Bounced { .. }))?;
        standing(&numbered, failed.delivery, failed.at)
    }

    const WEEK: i64 = 7 * DAY;

    fn soft(week: i64) -> Issue {
        bounced(week * WEEK, Some(ReplyClass::Full), "5.2.2", 1)
    }

    fn bounced(at: i64, class: Option<ReplyClass>, status: &str, points: i64) -> Issue {
        let status = status.to_owned();
        Issue {
            delivery: 0,
            at: Timestamp(at),
            result: IssueResult::Bounced { class, status, confirmed: false, points },
        }
    }

    fn took(week: i64) -> Issue {
        Issue { delivery: 0, at: Timestamp(week * WEEK), result: IssueResult::Took }
    }

    #[test]
    fn w144_five_weekly_issues_are_the_limit_and_a_success_starts_again() {
        let run = |weeks: std::ops::Range<i64>| weeks.map(soft).collect::<Vec<_>>();
        assert_eq!(stands(&run(0..4)), None);
        assert_eq!(stands(&run(0..5)), Some(SuppressionReason::SoftLimit));
        let mut reset = run(0..3);
        reset.push(took(3));
        reset.extend(run(4..8));
        assert_eq!(stands(&reset), None);
        reset.push(soft(8));
        assert_eq!(stands(&reset), Some(SuppressionReason::SoftLimit));
        // One point a day, fifteen days at least, and a month of silence forgets.
        let daily: Vec<Issue> = (0..14).map(|day| bounced(day * DAY, None, "", 1)).collect();
        assert_eq!(stands(&daily), None, "thirteen days are too short");
        let twice: Vec<Issue> = (0..8).map(|n| bounced(n * DAY / 2, None, "", 1)).collect();
        assert_eq!(stands(&twice), None);
        let mut stale = run(0..4);
        stale.push(soft(9));
        assert_eq!(stands(&stale), None);
        let double: Vec<Issue> =
            (0..3).map(|week| bounced(week * WEEK * 2, Some(ReplyClass::Full), "", 2)).collect();
        assert_eq!(stands(&double), Some(SuppressionReason::SoftLimit));
        let ours: Vec<Issue> =
            (0..9).map(|week| bounced(week * WEEK, Some(ReplyClass::Policy), "5.7.1", 0)).collect();
        assert_eq!(stands(&ours), None);
    }

    #[test]
    fn w139_w143_a_second_time_makes_it_hard() {
        let hard = |at| bounced(at, Some(ReplyClass::Hard), "5.1.1", 1);
        assert_eq!(stands(&[hard(0)]), None);
        assert_eq!(stands(&[hard(0), hard(WEEK)]), Some(SuppressionReason::HardBounce));
        assert_eq!(stands(&[hard(0), hard(31 * DAY)]), None);
        assert_eq!(stands(&[hard(0), took(1), hard(2 * WEEK)]), None, "it took mail between them");
        let bare = |at| bounced(at, Some(ReplyClass::Recipient), "550", 1);
        assert_eq!(stands(&[bare(0), bare(DAY - 1)]), None);
        assert_eq!(stands(&[bare(0), bare(DAY)]), Some(SuppressionReason::HardBounce));
        let other = bounced(DAY, Some(ReplyClass::Recipient), "554", 1);
        assert_eq!(stands(&[bare(0), other]), None);
    }

    #[test]
    fn a_report_is_weighed_where_it_belongs_and_not_at_the_newest_edition() {
        let day = |day: i64, result: IssueResult| Issue { delivery: day, at: Timestamp(day * DAY), result };
        let full = || bounced(0, Some(ReplyClass::Full), "5.2.2", 1).result;
        // An edition a day; the reports come two days later, when two more were taken.
        let history = |failed: i64| {
            (0..failed + 3)
                .map(|n| day(n, if n <= failed { full() } else { IssueResult::Took }))
                .collect::<Vec<_>>()
        };
        let now = |failed: i64| Timestamp((failed + 2) * DAY);
        assert_eq!(standing(&history(14), 14, now(14)), None, "fourteen days are too short");
        assert_eq!(standing(&history(15), 15, now(15)), Some(SuppressionReason::SoftLimit));
        let late = Timestamp(16 * DAY + 8 * DAY);
        assert_eq!(standing(&history(15), 15, late), None, "the mailbox has worked for a week since");
        assert_eq!(standing(&history(15), 99, now(15)), None, "a mail of no edition");
    }

    use proptest::prelude::*;

    /// Hours between editions, whether each one bounces (and with how many points), how many hours later it is told.
    fn told() -> impl Strategy<Value = Vec<(i64, Option<i64>, i64)>> {
        let one = (6..30_i64 * 24, prop::option::weighted(0.8, 0..3_i64), 0..7 * 24_i64);
        let close = (6..36_i64, prop::option::weighted(0.9, 0..3_i64), 0..7 * 24_i64);
        prop::collection::vec(prop_oneof![1 => one, 3 => close], 1..40)
    }

    fn issues(editions: &[(i64, Option<i64>, i64)], known: impl Fn(usize, i64) -> bool) -> Vec<Issue> {
        let mut at = 0;
        let mut history = Vec::new();
        for (number, (apart, points, later)) in editions.iter().enumerate() {
            at += apart * 3_600_000;
            let result = match points {
                Some(points) if known(number, at + later * 3_600_000) => {
                    bounced(0, Some(ReplyClass::Full), "5.2.2", *points).result
                }
                _ => IssueResult::Took,
            };
            history.push(Issue { delivery: number as i64, at: Timestamp(at), result });
        }
        history
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// In whatever order reports come within a week, they come to what all of them together come to.
        #[test]
        fn w144_the_order_of_reports_decides_nothing(editions in told()) {
            let whole = issues(&editions, |_, _| true);
            let expected = whole
                .split(|issue| issue.result == IssueResult::Took)
                .any(is_spent);
            let mut reports: Vec<(i64, i64)> = whole
                .iter()
                .zip(&editions)
                .filter(|(_, (_, points, _))| points.is_some())
                .map(|(issue, (_, _, later))| (issue.at.millis() + later * 3_600_000, issue.delivery))
                .collect();
            reports.sort_unstable();
            let found = reports.iter().any(|(now, delivery)| {
                // What has left by then, and what was told by then.
                let mut history = issues(&editions, |_, told| told <= *now);
                history.retain(|issue| issue.at.millis() <= *now);
                standing(&history, *delivery, Timestamp(*now)) == Some(SuppressionReason::SoftLimit)
            });
            prop_assert_eq!(found, expected);
        }
    }
}
