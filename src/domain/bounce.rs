//! What a report about undelivered mail means for its recipient (W129 to W144). Pure: reading the octets is `mail::dsn`'s and
//! `mail::bounce_text`'s work, looking up whom the mail went to is the caller's.
//!
//! The token says who and which mail, the report says whether. Only `Action: failed` is a failure; the most specific code wins;
//! class and reason come from the one table of replies. A report that is not to be trusted fully (no token in its envelope, a
//! sender in its envelope, words instead of fields, another recipient) never suppresses alone: two of them within 30 days do, which
//! is `standing`'s.

use super::delivery::Phase;
use super::reply_rule::{ReplyClass, ReplyRules};
use super::words::words;

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

/// The report as the reply that it goes back to. The most specific code wins (W133): the report's own status, unless the remote
/// server's answer says more; then that server's enhanced code; then its basic code; then whatever the status says. Whose code it
/// is, of them is the first digit too: `failed` after a 4 is a try that was given up (W132).
fn answered(found: &Reported) -> Option<Answered<'_>> {
    let failed = |code: &&str| code.starts_with(['4', '5']);
    let own = found.status.as_deref().filter(failed);
    let theirs = found.enhanced.as_deref().filter(failed);
    let real = theirs.filter(|code| !is_generic(code));
    let is_outdone = |own: &&str| is_vague(own) && real.is_some_and(|code| !is_vague(code));
    let own_says = own.filter(|own| !is_generic(own) && !is_outdone(own));
    let phase = found.phase.unwrap_or(Phase::Rcpt);
    let coded = |enhanced: &str| if enhanced.starts_with('4') { 450 } else { 550 };
    let agreeing = |code: u16| found.code.filter(|basic| (*basic < 500) == (code < 500)).unwrap_or(code);
    if let Some(own) = own_says {
        return Some(Answered { code: agreeing(coded(own)), enhanced: Some(own), phase });
    }
    if let Some(theirs) = real {
        return Some(Answered { code: found.code.unwrap_or(coded(theirs)), enhanced: Some(theirs), phase });
    }
    // A basic code beside "expired" is the reporting server's, about its own queue.
    let is_reply = !theirs.is_some_and(is_expired);
    if let Some(code) = found.code.filter(|_| is_reply) {
        return Some(Answered { code, enhanced: None, phase });
    }
    let own = own.or(theirs)?;
    Some(Answered { code: coded(own), enhanced: Some(own), phase })
}

/// Says that a try failed and not why: `x.0.0`, and `x.4.7`, which says that the trying ended.
fn is_generic(code: &str) -> bool {
    code.ends_with(".0.0") || is_expired(code)
}

/// RFC 3463 section 3.5: the time in which a message had to be delivered is over. The last reply says why it was not.
pub fn is_expired(code: &str) -> bool {
    matches!(code, "4.4.7" | "5.4.7")
}

/// Names a subject and no detail of it.
fn is_vague(code: &str) -> bool {
    code.ends_with(".0")
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
            ("5.1.1", (Some(450), None), Some(ReplyClass::Hard), "5.1.1"),
            ("", (None, None), None, ""),
        ];
        for (status, said, class, decided) in cases {
            let bounce = failed(vec![one("ann@x.example", Action::Failed, status, said)]);
            assert_eq!((bounce.class, bounce.status.as_str()), (class, decided), "{status} {said:?}");
        }
    }

    #[test]
    fn w132_w133_a_status_that_says_nothing_hides_no_reason() {
        use ReplyClass::{Full, Hard, Policy, Recipient, Transient};
        let cases = [
            // The time is over: the last reply says why.
            ("4.4.7", (Some(452), Some("4.2.2")), Some(Full), "4.2.2"),
            ("4.4.7", (Some(451), Some("4.7.1")), Some(Policy), "4.7.1"),
            ("5.4.7", (Some(550), Some("5.7.26")), Some(Policy), "5.7.26"),
            ("5.4.7", (Some(550), Some("5.1.1")), Some(Hard), "5.1.1"),
            ("4.4.7", (Some(450), Some("4.1.1")), Some(Transient), "4.1.1"),
            ("4.4.7", (None, Some("4.2.2")), Some(Full), "4.2.2"),
            ("4.4.7", (Some(421), None), Some(Transient), "421"),
            ("4.4.7", (None, None), Some(Transient), "4.4.7"),
            // A code beside "expired" is about the queue that gave up.
            ("4.4.7", (Some(550), Some("4.4.7")), Some(Transient), "4.4.7"),
            ("5.0.0", (Some(550), Some("5.4.7")), Some(Recipient), "5.0.0"),
            // Nothing known, and what the other server said of it, whichever digit it starts with.
            ("4.0.0", (Some(550), Some("5.1.1")), Some(Hard), "5.1.1"),
            ("4.0.0", (Some(452), Some("4.2.2")), Some(Full), "4.2.2"),
            ("5.0.0", (Some(450), Some("4.2.2")), Some(Full), "4.2.2"),
            ("5.0.0", (Some(421), None), Some(Transient), "421"),
            ("4.0.0", (None, None), Some(Transient), "4.0.0"),
            // Subjects without a detail.
            ("5.4.0", (Some(550), Some("5.1.1")), Some(Hard), "5.1.1"),
            ("5.4.0", (Some(550), Some("5.0.0")), Some(Recipient), "5.4.0"),
            // "It went well" is nothing that a failure can be known by.
            ("2.0.0", (Some(550), Some("5.1.1")), Some(Hard), "5.1.1"),
            ("2.1.5", (Some(452), Some("4.2.2")), Some(Full), "4.2.2"),
            ("2.1.5", (None, Some("2.0.0")), None, ""),
            ("2.0.0", (None, None), None, ""),
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
}
