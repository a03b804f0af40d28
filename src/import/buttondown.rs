//! Buttondown's subscribers. `type` is status and plan in one word.
//!
//! Types that pay, or paid, or are given it (`premium`, `gifted`, `trialed`, `churning`, `past_due`, `unpaid`) are plans
//! that `[import.plans]` must name. Tags and metadata have no home here.

use super::Rules;
use super::columns::Texts;
use super::draft::{Draft, Plan, Standing};
use super::format::Layout;
use crate::domain::suppression::SuppressionReason;

pub(super) static LAYOUT: Layout = Layout {
    columns: &[
        "email_address",
        "type",
        "notes",
        "creation_date",
        "unsubscription_date",
        "unsubscription_reason",
        "gift_subscription_end_date",
    ],
    required: 2,
    signatures: &[&["email_address", "type", "creation_date"]],
    rename: None,
    read,
};

fn read(texts: &Texts<'_>, _: &Rules) -> Result<Draft, String> {
    let word = texts.get(1)?.to_lowercase();
    let (standing, plan) = match word.as_str() {
        "regular" | "churned" => (Standing::ACTIVE, Plan::Free),
        "premium" | "gifted" | "trialed" | "churning" | "past_due" | "unpaid" => {
            (Standing::ACTIVE, Plan::Named(vec![word.clone()]))
        }
        "upcoming" => (Standing { unclear: true, ..Standing::PENDING }, Plan::Silent),
        "spammy" => (Standing::never(SuppressionReason::Manual), Plan::Silent),
        "" => return Err("it has no type".to_owned()),
        other => (Standing::read(other)?, Plan::Silent),
    };
    let mut draft = Draft::new(texts.get(0)?, standing);
    draft.note = texts.lines(2)?;
    if word == "gifted" {
        draft.paid_until(&texts.get(6)?, "gift_subscription_end_date")?;
    }
    draft.plan = plan;
    draft.remember(&texts.get(3)?, "buttondown: created".to_owned());
    let reason = texts.get(5)?;
    let why = if reason.is_empty() { reason } else { format!(", reason: {reason}") };
    let left = draft.remember(&texts.get(4)?, format!("buttondown: unsubscribed{why}"));
    if draft.standing.suppression.is_some() {
        draft.suppressed_at = left;
    } else if left.is_some() {
        // A date of leaving outweighs any type.
        draft.standing = Standing::LEFT;
        draft.suppressed_at = left;
    }
    Ok(draft)
}
