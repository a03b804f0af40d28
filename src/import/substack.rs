//! Substack's two files: the list of everybody, and the list of those who pay. The second one knows the plans.
//!
//! `email_disabled` is the inverse of subscribed. A `paid` person without a Stripe id holds a seat that somebody else pays
//! for: the plan `group`. Far-future ends mean "for ever". Addresses at `deletion-request.substack.com` are people who asked to
//! be forgotten.

use super::Rules;
use super::columns::Texts;
use super::draft::{Draft, Plan, Standing};
use super::format::Layout;
use super::times::flag;

pub(super) static LAYOUT: Layout = Layout {
    columns: &[
        "email",
        "email_disabled",
        "active_subscription",
        "expiry",
        "created_at",
        "stripe_connected_customer_id",
        "type",
    ],
    required: 2,
    signatures: &[&["email", "email_disabled", "active_subscription"], &["email", "email_disabled", "type"]],
    rename: None,
    read,
};

const DELETED: &str = "@deletion-request.substack.com";

fn read(texts: &Texts<'_>, _: &Rules) -> Result<Draft, String> {
    let address = texts.get(0)?;
    if address.to_lowercase().ends_with(DELETED) {
        return Err("it asked Substack to be deleted".to_owned());
    }
    let standing = match flag(&texts.get(1)?, "email_disabled")? {
        Some(false) => Standing::ACTIVE,
        Some(true) => Standing::LEFT,
        None => Standing { unclear: true, ..Standing::PENDING },
    };
    let mut draft = Draft::new(address, standing);
    draft.remember(&texts.get(4)?, "substack: created".to_owned());
    if !texts.has(6) {
        if flag(&texts.get(2)?, "active_subscription")? == Some(true) {
            draft
                .unclear
                .push("it pays, but which plan is in Substack's other file: import that as well".into());
        }
        return Ok(draft);
    }
    draft.plan = match texts.get(6)?.to_lowercase().as_str() {
        "" | "free" => Plan::Free,
        "paid" if texts.has(5) && texts.some(5)?.is_none() => Plan::Named(vec!["group".to_owned()]),
        other => Plan::Named(vec![other.to_owned()]),
    };
    draft.paid_until(&texts.get(3)?, "expiry")?;
    Ok(draft)
}
