//! Ghost's members export, new and old (`products` in place of `tiers`, a short-lived `expiry_at`).
//!
//! Ghost knows no monthly or yearly: the names of its tiers mean what `[import.plans]` says. A complimentary plan or a gift
//! without a tier is the plan `complimentary` or `gift`. Labels and Stripe ids have no home here.

use super::Rules;
use super::columns::Texts;
use super::draft::{Draft, Plan, Standing};
use super::format::Layout;
use super::times::flag;

pub(super) static LAYOUT: Layout = Layout {
    columns: &[
        "email",
        "subscribed_to_emails",
        "name",
        "note",
        "tiers|products|import_tier",
        "complimentary_plan",
        "created_at",
        "deleted_at",
        "expiry_at",
        "gift_id",
    ],
    required: 2,
    signatures: &[&["email", "subscribed_to_emails"]],
    rename: None,
    read,
};

fn read(texts: &Texts<'_>, rules: &Rules) -> Result<Draft, String> {
    if texts.some(7)?.is_some() {
        return Err("it was deleted in Ghost".to_owned());
    }
    let subscribed = flag(&texts.get(1)?, "subscribed_to_emails")?;
    let standing = match subscribed {
        Some(true) => Standing::ACTIVE,
        Some(false) => Standing::LEFT,
        None => Standing { unclear: true, ..Standing::PENDING },
    };
    let mut draft = Draft::new(texts.get(0)?, standing);
    draft.name = texts.get(2)?;
    draft.note = texts.lines(3)?;
    let tiers = texts.get(4)?;
    draft.plan = if !tiers.is_empty() {
        Plan::Named(tier_names(&tiers, rules))
    } else if flag(&texts.get(5)?, "complimentary_plan")? == Some(true) {
        Plan::Named(vec!["complimentary".to_owned()])
    } else if texts.some(9)?.is_some() {
        Plan::Named(vec!["gift".to_owned()])
    } else {
        Plan::Free
    };
    draft.paid_until(&texts.get(8)?, "expiry_at")?;
    draft.remember(&texts.get(6)?, "ghost: member since".to_owned());
    Ok(draft)
}

/// Names are joined with commas, and may hold commas themselves: the whole cell first.
fn tier_names(cell: &str, rules: &Rules) -> Vec<String> {
    if rules.import.tier_of(cell).is_some() {
        return vec![cell.to_owned()];
    }
    let parts = cell.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}
