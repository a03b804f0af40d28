//! Complaints of readers: feedback reports (RFC 5965), and the older form in which a provider forwards the mail as it is.

use super::leaves::Leaf;
use super::parse::{self, Parsed};
use crate::domain::complaint::FeedbackType;

/// Who sends the older form, and how its subject starts (W153).
const FORWARDERS: [&str; 4] = ["@hotmail.com", "@outlook.com", "@live.com", "@microsoft.com"];
const FORWARDED: &str = "complaint about message from";

/// The feedback in a message, if it is any.
pub(super) fn read(parsed: &Parsed, leaves: &[Leaf<'_>]) -> Option<FeedbackType> {
    if let Some(leaf) = leaves.iter().find(|leaf| leaf.media_type == "message/feedback-report") {
        let value = parse::field_in(&leaf.octets(), "feedback-type").unwrap_or_default();
        return Some(FeedbackType::of(&value));
    }
    if parsed.report.as_deref() == Some("feedback-report") {
        return Some(FeedbackType::Other);
    }
    let from = parsed.from.as_ref().map(|from| from.address.to_lowercase()).unwrap_or_default();
    let forwarded = FORWARDERS.iter().any(|domain| from.ends_with(domain))
        && parsed.subject.to_lowercase().starts_with(FORWARDED)
        && leaves.iter().any(Leaf::is_enclosed_message);
    forwarded.then_some(FeedbackType::Abuse)
}
