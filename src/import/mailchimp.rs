//! Mailchimp's three files: subscribed, unsubscribed and cleaned (which means bounced). They differ in their columns only.
//!
//! Times have no zone and count as UTC. Names of columns are localised, so the address is found by its place: before
//! MEMBER_RATING, with `mail` in its name. A fourth file, of people who never signed up, looks like the first: whoever has
//! neither opted in nor confirmed is pending. Tags that `[import.plans]` names are plans; TAGS is a list inside a cell.

use super::Rules;
use super::columns::Texts;
use super::draft::{Draft, Plan, Standing};
use super::format::Layout;
use super::records::list_in;
use crate::domain::suppression::SuppressionReason;

const ADDRESS: &str = "email address";

pub(super) static LAYOUT: Layout = Layout {
    columns: &[
        ADDRESS,
        "first name|vorname|prénom|nombre",
        "last name|nachname|nom|apellido",
        "optin_time",
        "optin_ip",
        "confirm_time",
        "confirm_ip",
        "timezone",
        "notes",
        "tags",
        "unsub_time",
        "unsub_campaign_title",
        "unsub_reason",
        "clean_time",
        "clean_campaign_title",
    ],
    required: 1,
    signatures: &[&["leid", "euid"]],
    rename: Some(rename),
    read,
};

fn rename(names: &mut [String]) {
    if names.iter().any(|name| name == ADDRESS) {
        return;
    }
    let end = names.iter().position(|name| name == "member_rating").unwrap_or(names.len());
    let mut found = (0..end).filter(|at| names[*at].contains("mail"));
    if let (Some(at), None) = (found.next(), found.next()) {
        names[at] = ADDRESS.to_owned();
    }
}

fn read(texts: &Texts<'_>, rules: &Rules) -> Result<Draft, String> {
    let mut draft = Draft::new(texts.get(0)?, Standing::ACTIVE);
    draft.name = [texts.get(1)?, texts.get(2)?].join(" ").trim().to_owned();
    draft.timezone = texts.get(7)?.parse().ok();
    draft.note = texts.lines(8)?;
    draft.plan = plan(&mut draft, &texts.get(9)?, rules);
    let from = |ip: String| if ip.is_empty() { ip } else { format!(" from {ip}") };
    let opted = draft.remember(&texts.get(3)?, format!("mailchimp: opted in{}", from(texts.get(4)?)));
    let confirmed = draft.remember(&texts.get(5)?, format!("mailchimp: confirmed{}", from(texts.get(6)?)));
    if texts.has(10) {
        left(texts, &mut draft)?;
    } else if texts.has(13) {
        draft.standing = Standing::never(SuppressionReason::HardBounce);
        let text = format!("mailchimp: cleaned{}", campaign(&texts.get(14)?));
        draft.suppressed_at = draft.remember(&texts.get(13)?, text);
    } else if opted.is_none() && confirmed.is_none() {
        draft.standing = Standing::PENDING;
        draft.unclear.push("it has neither opted in nor confirmed; it was taken as pending".to_owned());
    }
    Ok(draft)
}

fn left(texts: &Texts<'_>, draft: &mut Draft) -> Result<(), String> {
    let reason = texts.get(12)?;
    let upper = reason.to_uppercase();
    let complained = ["SPAM", "ABUSE"].iter().any(|word| upper.starts_with(word));
    draft.standing = if complained { Standing::never(SuppressionReason::Complaint) } else { Standing::LEFT };
    let why = if reason.is_empty() { reason } else { format!(", reason: {reason}") };
    let text = format!("mailchimp: unsubscribed{}{why}", campaign(&texts.get(11)?));
    draft.suppressed_at = draft.remember(&texts.get(10)?, text);
    Ok(())
}

fn campaign(title: &str) -> String {
    if title.is_empty() { String::new() } else { format!(", campaign: {title}") }
}

/// Other tags are no plans, and nothing is said about them.
fn plan(draft: &mut Draft, cell: &str, rules: &Rules) -> Plan {
    let Some(tags) = list_in(cell) else {
        draft.unclear.push("its tags cannot be read".to_owned());
        return Plan::Silent;
    };
    let plans: Vec<String> = tags.into_iter().filter(|tag| rules.import.tier_of(tag).is_some()).collect();
    if plans.is_empty() { Plan::Silent } else { Plan::Named(plans) }
}
