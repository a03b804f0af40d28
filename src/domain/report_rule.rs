//! The rows of the verdict's table that are about reports of programs: undelivered mail, complaints, receipts.
//!
//! A report changes something only for the mail that one of our tokens names; what somebody made up is kept and changes nobody
//! (W129, W155). What a failure means is `bounce`'s, what follows from it is the caller's.

use super::bounce::{BounceForm, Finding};
use super::complaint::Effect;
use super::verdict::{EnvelopeFrom, Facts, Found, Verdict, first_token};
use super::token::Purpose;

const DISPOSITION: &str = "disposition-notification";

/// Fields are a report whoever sends them; words are one only from a mail server, and words that nobody knows only at a return
/// path, and not where the message says of itself that it is an answer (W148).
pub(super) fn delivery_report(facts: &Facts) -> Found {
    let report = facts.bounce.as_ref()?;
    let is_receipt = facts.report.as_deref() == Some(DISPOSITION);
    let counts = match report.form {
        BounceForm::Fields => true,
        BounceForm::Words => facts.is_from_a_server(),
        BounceForm::Unknown => facts.is_by_envelope() && facts.is_from_a_server() && !is_receipt && !is_an_answer(facts),
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
        Some(Finding::Delayed) => {
            Some((Verdict::BounceDelayed, format!("{}: it is still being tried; nothing changes", report.name)))
        }
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
        (Effect::Alarm, _) => (Verdict::Complaint, format!("{feedback}; a person has to look, nothing changes")),
        (_, false) => (Verdict::Complaint, format!("{feedback}, and it names no mail of ours; nothing changes")),
        (Effect::Complained | Effect::Leaves, true) => (Verdict::Complaint, format!("{feedback} by a reader of ours")),
    })
}

/// Somebody's program says that a mail was shown, deleted or filed (RFC 8098).
pub(super) fn receipt(facts: &Facts) -> Found {
    (facts.report.as_deref() == Some(DISPOSITION)).then(|| (Verdict::Receipt, "a disposition notification".to_owned()))
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
