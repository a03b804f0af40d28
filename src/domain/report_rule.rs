//! The rows of the verdict's table that are about reports of programs: undelivered mail, complaints, receipts.
//!
//! A report changes something only for the mail that one of our tokens names; what somebody made up is kept and changes nobody
//! (W129, W155). What a failure means is `bounce`'s, what follows from it is the caller's.

use super::bounce::{BounceForm, Finding};
use super::complaint::Effect;
use super::token::Purpose;
use super::verdict::{EnvelopeFrom, Facts, Found, Verdict, first_token};

const DISPOSITION: &str = "disposition-notification";

/// Fields are a report whoever sends them; words are one only from a mail server, and words that nobody knows only at a return
/// path, and not where the message says of itself that it is an answer (W148).
pub(super) fn delivery_report(facts: &Facts) -> Found {
    let report = facts.bounce.as_ref()?;
    let is_receipt = facts.report.as_deref() == Some(DISPOSITION);
    let counts = match report.form {
        BounceForm::Fields => true,
        BounceForm::Words => facts.is_from_a_server(),
        BounceForm::Unknown => {
            facts.is_by_envelope() && facts.is_from_a_server() && !is_receipt && !is_an_answer(facts)
        }
    };
    if !counts {
        return None;
    }
    let nothing = |why: &str| Some((Verdict::AutoReply, format!("{}: {why}; nothing changes", report.name)));
    if facts.delivery().is_none() {
        return if report.form == BounceForm::Fields { nothing("it names no mail of ours") } else { None };
    }
    match &facts.finding {
        None => nothing("the mail that it names is not known"),
        Some(Finding::Nothing(why)) => nothing(why),
        Some(Finding::Delayed) => Some((
            Verdict::BounceDelayed,
            format!("{}: it is still being tried; nothing changes", report.name),
        )),
        Some(Finding::Failed(bounce)) => {
            let verdict = if bounce.is_hard() { Verdict::BounceHard } else { Verdict::BounceSoft };
            let mut why = format!("{}: {} {}", report.name, bounce.status, bounce.reason).replace("  ", " ");
            if !bounce.doubt.is_empty() {
                why.push_str(&format!("; not confirmed, because {}", bounce.doubt));
            }
            if bounce.points == 0 {
                why.push_str("; it is about us and counts for nobody");
            }
            Some((verdict, why))
        }
    }
}

/// Mail servers say `auto-replied` as well, but then their words are known.
fn is_an_answer(facts: &Facts) -> bool {
    facts.auto_submitted.as_deref().is_some_and(|value| first_token(value) == "auto-replied")
        || facts.auto_header.is_some()
        || facts.precedence.as_deref() == Some("auto_reply")
}

pub(super) fn complaint(facts: &Facts) -> Found {
    let feedback = facts.feedback?;
    let named = facts.delivery().is_some() || facts.returned.subscriber.is_some();
    Some(match (feedback.effect(), named) {
        (Effect::Nothing, _) => (Verdict::AutoReply, format!("{feedback}; nothing changes")),
        (Effect::Alarm, _) => {
            (Verdict::Complaint, format!("{feedback}; a person has to look, nothing changes"))
        }
        (_, false) => {
            (Verdict::Complaint, format!("{feedback}, and it names no mail of ours; nothing changes"))
        }
        (Effect::Complained | Effect::Leaves, true) => {
            (Verdict::Complaint, format!("{feedback} by a reader of ours"))
        }
    })
}

/// Somebody's program says that a mail was shown, deleted or filed (RFC 8098).
pub(super) fn receipt(facts: &Facts) -> Found {
    (facts.report.as_deref() == Some(DISPOSITION))
        .then(|| (Verdict::Receipt, "a disposition notification".to_owned()))
}

/// A multipart/report of a type that is nothing to us. A mail that leaves is looked at before, whatever it is wrapped in.
pub(super) fn other_report(facts: &Facts) -> Found {
    let kind = match facts.report.as_deref()? {
        "" => "nameless",
        kind => kind,
    };
    let leaves = facts.token.is_some_and(|token| token.purpose == Purpose::Unsubscribe);
    let empty = facts.envelope_from == EnvelopeFrom::Empty;
    (!leaves || empty).then(|| (Verdict::AutoReply, format!("a {kind} report; nothing changes")))
}

#[cfg(test)]
mod tests {
    use super::super::bounce::{Bounce, Report};
    use super::super::complaint::FeedbackType;
    use super::super::reply_rule::ReplyClass;
    use super::super::token::Subject;
    use super::super::verdict::{Returned, classify};
    use super::*;

    fn bounce(form: BounceForm) -> Facts {
        Facts {
            report: (form == BounceForm::Fields).then(|| "delivery-status".into()),
            envelope_from: EnvelopeFrom::Empty,
            token: Some(Subject { purpose: Purpose::Bounce, row: 7, second: 0 }),
            bounce: Some(Report { form, name: form.as_str().into(), recipients: vec![] }),
            finding: Some(failed(ReplyClass::Hard, "")),
            ..Facts::default()
        }
    }

    fn failed(class: ReplyClass, doubt: &'static str) -> Finding {
        Finding::Failed(Bounce {
            class: Some(class),
            reason: class.as_str().into(),
            status: "5.1.1".into(),
            said: String::new(),
            confirmed: doubt.is_empty(),
            points: i64::from(class != ReplyClass::Policy),
            doubt,
        })
    }

    fn check(facts: &Facts, verdict: Verdict, reason: &str) {
        let found = classify(facts);
        assert_eq!((found.0, found.1.as_str()), (verdict, reason), "{facts:?}");
    }

    #[test]
    fn a_report_says_what_it_found_and_how_sure_it_is() {
        let facts = bounce(BounceForm::Fields);
        check(&facts, Verdict::BounceHard, "delivery report: fields: 5.1.1 hard");
        let unsure =
            Facts { finding: Some(failed(ReplyClass::Hard, "it names another recipient")), ..facts.clone() };
        check(
            &unsure,
            Verdict::BounceSoft,
            "delivery report: fields: 5.1.1 hard; not confirmed, because it names another recipient",
        );
        let ours = Facts { finding: Some(failed(ReplyClass::Policy, "")), ..facts.clone() };
        check(
            &ours,
            Verdict::BounceSoft,
            "delivery report: fields: 5.1.1 policy; it is about us and counts for nobody",
        );
        let delayed = Facts { finding: Some(Finding::Delayed), ..facts };
        assert_eq!(classify(&delayed).0, Verdict::BounceDelayed);
    }

    #[test]
    fn w129_what_no_token_of_ours_names_changes_nobody() {
        let forged = Facts { token: None, finding: None, ..bounce(BounceForm::Fields) };
        check(
            &forged,
            Verdict::AutoReply,
            "delivery report: fields: it names no mail of ours; nothing changes",
        );
        let unknown = Facts { finding: None, ..bounce(BounceForm::Fields) };
        assert_eq!(classify(&unknown).0, Verdict::AutoReply);
        let by_copy = Facts {
            token: None,
            returned: Returned { delivery: Some(7), subscriber: None },
            ..bounce(BounceForm::Fields)
        };
        assert_eq!(classify(&by_copy).0, Verdict::BounceHard);
        let words = Facts { token: None, finding: None, ..bounce(BounceForm::Words) };
        check(&words, Verdict::AutoReply, "automatic: no sender in the envelope, and no report");
    }

    #[test]
    fn words_count_only_from_a_mail_server() {
        let person = EnvelopeFrom::Address("ann@x.example".into());
        let quoted =
            Facts { envelope_from: person.clone(), from_local: "ann".into(), ..bounce(BounceForm::Words) };
        assert_eq!(classify(&quoted).0, Verdict::SupportMessage);
        let server = Facts { from_local: "mailer-daemon".into(), ..quoted };
        assert_eq!(classify(&server).0, Verdict::BounceHard);
        let away =
            Facts { auto_submitted: Some("auto-replied (vacation)".into()), ..bounce(BounceForm::Unknown) };
        assert_eq!(classify(&away).0, Verdict::AutoReply);
    }

    #[test]
    fn w148_receipts_and_other_reports_are_no_bounces() {
        let receipt = Facts {
            report: Some(DISPOSITION.into()),
            bounce: None,
            finding: None,
            ..bounce(BounceForm::Fields)
        };
        check(&receipt, Verdict::Receipt, "receipt: a disposition notification");
        let from_server = Facts { report: Some(DISPOSITION.into()), ..bounce(BounceForm::Unknown) };
        assert_eq!(classify(&from_server).0, Verdict::Receipt);
        let other = Facts { report: Some(String::new()), ..Facts::default() };
        check(&other, Verdict::AutoReply, "report: a nameless report; nothing changes");
    }

    #[test]
    fn w152_w155_a_complaint_counts_for_whom_a_token_names() {
        let report = |feedback, subscriber| Facts {
            report: Some("feedback-report".into()),
            feedback: Some(feedback),
            returned: Returned { delivery: None, subscriber },
            ..Facts::default()
        };
        check(
            &report(FeedbackType::Abuse, Some(3)),
            Verdict::Complaint,
            "complaint: abuse by a reader of ours",
        );
        check(
            &report(FeedbackType::Abuse, None),
            Verdict::Complaint,
            "complaint: abuse, and it names no mail of ours; nothing changes",
        );
        assert_eq!(classify(&report(FeedbackType::NotSpam, Some(3))).0, Verdict::AutoReply);
        assert_eq!(classify(&report(FeedbackType::Fraud, Some(3))).0, Verdict::Complaint);
    }
}
