//! What a report about undelivered mail means for its recipient (W129 to W144). Pure: reading the octets is `mail::dsn`'s and
//! `mail::bounce_text`'s work, looking up whom the mail went to is the caller's.
//!
//! The token says who and which mail, the report says whether. Only `Action: failed` is a failure; the most specific code wins;
//! class and reason come from the one table of replies. A report that is not to be trusted fully (no token in its envelope, a
//! sender in its envelope, words instead of fields, another recipient) never suppresses alone: two of them within 30 days do.

use std::time::Duration;

use super::delivery::Phase;
use super::reply_rule::{ReplyClass, ReplyRules};
use super::suppression::SuppressionReason;
use super::words::words;
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

/// Characters of a reason's words that are kept.
const SAID: usize = 300;

words! {
    /// How a report was written.
    BounceForm {
        /// Fields: RFC 3464, RFC 6533.
        Fields = "fields",
        /// Words of a mail server that we know.
        Words = "words",
        /// A mail server's, in words that we do not know.
        Unknown = "unknown",
    }
}

/// RFC 3464 section 2.3.3, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Failed,
    Delayed,
    /// Delivered, relayed, expanded, and whatever is no failure.
    Other,
}

/// What a report says about one recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// In lower case; Original-Recipient first.
    pub addresses: Vec<String>,
    pub action: Option<Action>,
    /// `5.1.1`, as the report's own field says.
    pub status: Option<String>,
    /// The basic code that the remote server answered.
    pub code: Option<u16>,
    /// The enhanced code that the remote server answered.
    pub enhanced: Option<String>,
    pub phase: Option<Phase>,
    /// The remote server's words.
    pub said: String,
}

/// A report about undelivered mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub form: BounceForm,
    /// Whose form it is, for the reason: `delivery-status`, `qmail`, ...
    pub name: String,
    pub recipients: Vec<Reported>,
}

/// What stands beside the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence<'a> {
    /// The token was in the recipient's address, and the envelope has no sender: RFC 5321 section 4.5.5.
    pub by_envelope: bool,
    /// Where the mail went, in lower case.
    pub address: Option<&'a str>,
}

/// A failure, with what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounce {
    /// `None`: nothing says of what kind it is, so it weighs like a soft one (W135).
    pub class: Option<ReplyClass>,
    /// A stable word.
    pub reason: String,
    /// The code that decided; empty where there was none.
    pub status: String,
    pub said: String,
    /// Whether it may suppress alone.
    pub confirmed: bool,
    /// What it adds to the soft score.
    pub points: i64,
    /// Why it is not confirmed; empty where it is.
    pub doubt: &'static str,
}

impl Bounce {
    /// The mailbox does not exist, and nothing about the report is in doubt.
    pub fn is_hard(&self) -> bool {
        self.class == Some(ReplyClass::Hard) && self.confirmed
    }
}

/// What a report comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    Failed(Bounce),
    /// Still being tried.
    Delayed,
    /// It changes nothing for anybody; why.
    Nothing(&'static str),
}

/// Reads a report about one mail of ours.
pub fn judge(report: &Report, evidence: Evidence<'_>, rules: &ReplyRules) -> Finding {
    if report.form == BounceForm::Unknown {
        return Finding::Failed(unclassified(report, "its words are not known"));
    }
    let (Some(found), other) = ours(&report.recipients, evidence.address) else {
        return Finding::Nothing("it names no recipient");
    };
    match found.action {
        Some(Action::Failed) => {}
        Some(Action::Delayed) => return Finding::Delayed,
        _ => return Finding::Nothing("it reports no failure"),
    }
    let doubt = if report.form == BounceForm::Words {
        "it is no report with fields"
    } else if !evidence.by_envelope {
        "it did not come to the return path without a sender"
    } else if other {
        "it names another recipient"
    } else {
        ""
    };
    let Some(answered) = answered(found) else {
        return Finding::Failed(Bounce {
            said: shorten(&found.said),
            ..unclassified(report, "it has no code")
        });
    };
    let Answered { code, enhanced, phase } = answered;
    let judged = rules.judge(code, enhanced, &found.said, phase);
    if judged.class == ReplyClass::Ignored {
        return Finding::Nothing("it was passed on to a server that reports nothing");
    }
    Finding::Failed(Bounce {
        class: Some(judged.class),
        reason: judged.reason.to_string(),
        points: points(judged.class, &found.said),
        status: enhanced.map_or_else(|| code.to_string(), str::to_owned),
        said: shorten(&found.said),
        confirmed: doubt.is_empty(),
        doubt,
    })
}

/// The codes that a report comes down to.
struct Answered<'a> {
    code: u16,
    enhanced: Option<&'a str>,
    phase: Phase,
}

/// Our recipient among those of the report, and whether it goes by another address there. Where none has ours, it was forwarded:
/// the mildest of them counts, because who is behind an address is not ours to judge.
fn ours<'a>(recipients: &'a [Reported], address: Option<&str>) -> (Option<&'a Reported>, bool) {
    let Some(address) = address else { return (mildest(recipients), true) };
    let is_ours = |one: &&Reported| one.addresses.iter().any(|known| known == address);
    match recipients.iter().find(is_ours) {
        Some(found) => (Some(found), false),
        None => (mildest(recipients), true),
    }
}

fn mildest(recipients: &[Reported]) -> Option<&Reported> {
    let rank = |one: &&Reported| match one.action {
        Some(Action::Failed) if is_temporary(one) => 2,
        Some(Action::Failed) => 3,
        Some(Action::Delayed) => 1,
        _ => 0,
    };
    recipients.iter().min_by_key(rank)
}

fn is_temporary(one: &Reported) -> bool {
    let four = |code: &Option<String>| code.as_deref().is_some_and(|code| code.starts_with('4'));
    four(&one.status) || four(&one.enhanced) || one.code.is_some_and(|code| code < 500)
}

/// The report as the reply that it goes back to. The report's own status counts unless it says nothing (x.0.0); then the enhanced
/// code of the remote server, then its basic code (W133). `failed` after a 4 is a try that was given up (W132).
fn answered(found: &Reported) -> Option<Answered<'_>> {
    let specific = |code: &&String| !code.ends_with(".0.0");
    let own = found.status.as_ref().filter(specific);
    let theirs = found.enhanced.as_ref().filter(specific);
    let enhanced = own.or(theirs).or(found.status.as_ref().filter(|_| found.code.is_none()));
    if enhanced.is_none() && found.code.is_none() {
        return None;
    }
    let temporary = match own {
        Some(own) => own.starts_with('4'),
        None => is_temporary(found),
    };
    let basic = found.code.filter(|code| (*code < 500) == temporary);
    Some(Answered {
        code: basic.unwrap_or(if temporary { 450 } else { 550 }),
        enhanced: enhanced.map(String::as_str),
        phase: found.phase.unwrap_or(Phase::Rcpt),
    })
}

fn unclassified(report: &Report, doubt: &'static str) -> Bounce {
    let said = report.recipients.first().map(|one| one.said.as_str()).unwrap_or("");
    Bounce {
        class: None,
        reason: "unclassified".to_owned(),
        status: String::new(),
        said: shorten(said),
        confirmed: false,
        points: 1,
        doubt,
    }
}

/// What adds to the soft score: what is about the recipient. A full mailbox that nobody uses counts twice (W140); what is about us
/// counts for nothing (W136).
pub fn points(class: ReplyClass, said: &str) -> i64 {
    match class {
        ReplyClass::Full if said.to_lowercase().contains("inactive") => 2,
        ReplyClass::Hard | ReplyClass::Full | ReplyClass::Transient | ReplyClass::Recipient => 1,
        ReplyClass::Policy | ReplyClass::Content | ReplyClass::Relay | ReplyClass::Ignored => 0,
    }
}

fn shorten(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID).collect()
}

/// One edition that a person was sent, oldest first in a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    pub at: Timestamp,
    pub result: IssueResult,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssueResult {
    /// Taken, and nothing came back.
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

/// Whether what a person's mailbox did so far is enough to stop mailing it, and why (W139, W143, W144). What was taken since wipes
/// out what was before.
pub fn standing(history: &[Issue]) -> Option<SuppressionReason> {
    let after = history.iter().rposition(|issue| issue.result == IssueResult::Took).map_or(0, |at| at + 1);
    let run = &history[after..];
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

/// The soft score of a run without success: at most one issue a day counts, and a long silence forgets.
fn is_spent(run: &[Issue]) -> bool {
    let (mut sum, mut first, mut last): (i64, Option<Timestamp>, Option<Timestamp>) = (0, None, None);
    for issue in run {
        let IssueResult::Bounced { points, .. } = issue.result else { continue };
        if points == 0 {
            continue;
        }
        if let Some(last) = last {
            if issue.at.millis() - last.millis() < DAY {
                continue;
            }
            if issue.at.since(last) > SOFT_STALE {
                (sum, first) = (0, None);
            }
        }
        sum += points;
        first = first.or(Some(issue.at));
        last = Some(issue.at);
    }
    let span = first.zip(last).map(|(first, last)| last.since(first));
    sum >= SOFT_POINTS && span.is_some_and(|span| span >= SOFT_SPAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::reply_rule::samples::rules;

    fn one(address: &str, action: Action, status: &str, said: (Option<u16>, Option<&str>)) -> Reported {
        Reported {
            addresses: vec![address.to_owned()],
            action: Some(action),
            status: Some(status.to_owned()).filter(|status| !status.is_empty()),
            code: said.0,
            enhanced: said.1.map(str::to_owned),
            ..Reported::default()
        }
    }

    fn report(recipients: Vec<Reported>) -> Report {
        Report { form: BounceForm::Fields, name: "delivery-status".into(), recipients }
    }

    const OURS: Evidence<'static> = Evidence { by_envelope: true, address: Some("ann@x.example") };

    fn failed(recipients: Vec<Reported>) -> Bounce {
        match judge(&report(recipients), OURS, &rules()) {
            Finding::Failed(bounce) => bounce,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn w132_only_failed_is_a_failure() {
        let of = |action| {
            judge(&report(vec![one("ann@x.example", action, "4.0.0", (None, None))]), OURS, &rules())
        };
        assert_eq!(of(Action::Delayed), Finding::Delayed);
        assert_eq!(of(Action::Other), Finding::Nothing("it reports no failure"));
        // "Simple DSN" of RFC 3464: failed with 4.0.0 is a try that was given up.
        let Finding::Failed(bounce) = of(Action::Failed) else { panic!() };
        assert_eq!((bounce.class, bounce.is_hard()), (Some(ReplyClass::Transient), false));
        assert_eq!(judge(&report(vec![]), OURS, &rules()), Finding::Nothing("it names no recipient"));
    }

    #[test]
    fn w133_the_most_specific_code_wins() {
        let cases = [
            ("5.0.0", (Some(550), Some("5.1.1")), Some(ReplyClass::Hard), "5.1.1"),
            ("5.1.1", (Some(550), Some("5.7.26")), Some(ReplyClass::Hard), "5.1.1"),
            ("5.0.0", (Some(550), None), Some(ReplyClass::Recipient), "550"),
            ("", (Some(552), Some("5.2.2")), Some(ReplyClass::Full), "5.2.2"),
            ("5.0.0", (None, None), Some(ReplyClass::Recipient), "5.0.0"),
            ("4.4.7", (Some(550), Some("5.1.1")), Some(ReplyClass::Transient), "4.4.7"),
            ("5.1.1", (Some(450), None), Some(ReplyClass::Hard), "5.1.1"),
            ("", (None, None), None, ""),
        ];
        for (status, said, class, decided) in cases {
            let bounce = failed(vec![one("ann@x.example", Action::Failed, status, said)]);
            assert_eq!((bounce.class, bounce.status.as_str()), (class, decided), "{status} {said:?}");
        }
    }

    #[test]
    fn w134_only_our_recipient_counts_and_a_strangers_is_in_doubt() {
        let gone = |address| one(address, Action::Failed, "5.1.1", (None, None));
        let taken = |address| one(address, Action::Other, "2.0.0", (None, None));
        let full = |address| one(address, Action::Failed, "5.2.2", (None, None));
        let among = failed(vec![gone("bob@x.example"), full("ann@x.example"), taken("eve@x.example")]);
        assert_eq!((among.class, among.confirmed), (Some(ReplyClass::Full), true));
        let forwarded = failed(vec![gone("ann@elsewhere.example")]);
        assert!(!forwarded.is_hard() && forwarded.class == Some(ReplyClass::Hard));
        assert_eq!(forwarded.doubt, "it names another recipient");
        // A list behind the address, of which one member is gone.
        let list = judge(&report(vec![gone("m1@y.example"), taken("m2@y.example")]), OURS, &rules());
        assert_eq!(list, Finding::Nothing("it reports no failure"));
    }

    #[test]
    fn w129_w135_w143_what_is_not_sure_never_suppresses_alone() {
        let gone = || vec![one("ann@x.example", Action::Failed, "5.1.1", (None, None))];
        assert!(failed(gone()).is_hard());
        let late = Evidence { by_envelope: false, ..OURS };
        let Finding::Failed(bounce) = judge(&report(gone()), late, &rules()) else { panic!() };
        assert!(!bounce.is_hard() && bounce.points == 1);
        let words = Report { form: BounceForm::Words, name: "qmail".into(), recipients: gone() };
        let Finding::Failed(bounce) = judge(&words, OURS, &rules()) else { panic!() };
        assert!(!bounce.is_hard());
        let unknown = Report { form: BounceForm::Unknown, name: "unknown".into(), recipients: vec![] };
        let Finding::Failed(bounce) = judge(&unknown, OURS, &rules()) else { panic!() };
        assert_eq!((bounce.class, bounce.points, bounce.confirmed), (None, 1, false));
    }

    #[test]
    fn w136_what_is_about_us_counts_for_nobody() {
        let bounce = failed(vec![one("ann@x.example", Action::Failed, "5.7.26", (None, None))]);
        assert_eq!((bounce.points, bounce.is_hard()), (0, false));
        assert_eq!(points(ReplyClass::Full, "out of storage space and Inactive"), 2);
        assert_eq!(points(ReplyClass::Relay, ""), 0);
    }

    const WEEK: i64 = 7 * DAY;

    fn soft(week: i64) -> Issue {
        bounced(week * WEEK, Some(ReplyClass::Full), "5.2.2", 1)
    }

    fn bounced(at: i64, class: Option<ReplyClass>, status: &str, points: i64) -> Issue {
        let status = status.to_owned();
        Issue { at: Timestamp(at), result: IssueResult::Bounced { class, status, confirmed: false, points } }
    }

    fn took(week: i64) -> Issue {
        Issue { at: Timestamp(week * WEEK), result: IssueResult::Took }
    }

    #[test]
    fn w144_five_weekly_issues_are_the_limit_and_a_success_starts_again() {
        let run = |weeks: std::ops::Range<i64>| weeks.map(soft).collect::<Vec<_>>();
        assert_eq!(standing(&run(0..4)), None);
        assert_eq!(standing(&run(0..5)), Some(SuppressionReason::SoftLimit));
        let mut reset = run(0..3);
        reset.push(took(3));
        reset.extend(run(4..8));
        assert_eq!(standing(&reset), None);
        reset.push(soft(8));
        assert_eq!(standing(&reset), Some(SuppressionReason::SoftLimit));
        // One point a day, fifteen days at least, and a month of silence forgets.
        let daily: Vec<Issue> = (0..14).map(|day| bounced(day * DAY, None, "", 1)).collect();
        assert_eq!(standing(&daily), None, "thirteen days are too short");
        let twice: Vec<Issue> = (0..8).map(|n| bounced(n * DAY / 2, None, "", 1)).collect();
        assert_eq!(standing(&twice), None);
        let mut stale = run(0..4);
        stale.push(soft(9));
        assert_eq!(standing(&stale), None);
        let double: Vec<Issue> =
            (0..3).map(|week| bounced(week * WEEK * 2, Some(ReplyClass::Full), "", 2)).collect();
        assert_eq!(standing(&double), Some(SuppressionReason::SoftLimit));
        let ours: Vec<Issue> =
            (0..9).map(|week| bounced(week * WEEK, Some(ReplyClass::Policy), "5.7.1", 0)).collect();
        assert_eq!(standing(&ours), None);
    }

    #[test]
    fn w139_w143_a_second_time_makes_it_hard() {
        let hard = |at| bounced(at, Some(ReplyClass::Hard), "5.1.1", 1);
        assert_eq!(standing(&[hard(0)]), None);
        assert_eq!(standing(&[hard(0), hard(WEEK)]), Some(SuppressionReason::HardBounce));
        assert_eq!(standing(&[hard(0), hard(31 * DAY)]), None);
        assert_eq!(standing(&[hard(0), took(1), hard(2 * WEEK)]), None, "it took mail between them");
        let bare = |at| bounced(at, Some(ReplyClass::Recipient), "550", 1);
        assert_eq!(standing(&[bare(0), bare(DAY - 1)]), None);
        assert_eq!(standing(&[bare(0), bare(DAY)]), Some(SuppressionReason::HardBounce));
        let other = bounced(DAY, Some(ReplyClass::Recipient), "554", 1);
        assert_eq!(standing(&[bare(0), other]), None);
    }
}
