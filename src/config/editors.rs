//! Reads `publication.toml`: the editors' settings.
//!
//! Tiers are read first, because everything else names them. A tier with a mistake of its own still counts as known, so that
//! one mistake does not make ten.

use std::time::Duration;

use chrono_tz::Tz;

use super::section::{Found, Section, nearest};
use super::syntax::{self, wrong};
use super::tree::Value;
use super::{slot_rule, urls};
use crate::domain::publication::{
    ArticleAccess, ImportRules, Offer, PlannedEdition, Publication, Slot, Tier, TierId,
};
use crate::domain::sender::more_than_a_name;

const LATE: Duration = Duration::from_secs(86_400);
const TEMPLATE: &str = "weekly";
const SUBJECT: &str = "{{articles.0.title}}";

/// Reads the whole file. `None` when something that has no default is missing or wrong.
pub(super) fn publication(mut root: Section<'_>) -> Option<Publication> {
    let name = text(&mut root, "name", "write name = \"Example News\"");
    let from =
        root.required("from", "write from = \"Example News <weekly@news.example.org>\"").and_then(|found| {
            let mailbox = found.parse(syntax::mailbox)?;
            if let Some(what) = more_than_a_name(&mailbox.name) {
                found.warn(
                    &format!("the name {what}"),
                    "write the sender's name alone: Gmail refuses names that deceive",
                );
            }
            Some(mailbox)
        });
    let url = root
        .required("url", "write url = \"https://news.example.org\"")
        .and_then(|found| found.parse(urls::web_base));
    let postal_address = text(
        &mut root,
        "postal_address",
        "write the sender's street and town; the law asks for them in every mail",
    );
    let timezone = root
        .required("timezone", "write timezone = \"America/New_York\"")
        .and_then(|found| found.parse(syntax::zone));
    let language =
        root.optional("language").map_or(Some("en".to_owned()), |found| found.parse(syntax::language));
    let editors = root.optional("editors").and_then(|found| found.parse_list(syntax::address));
    let proofs = root.optional("proofs").and_then(|found| found.flag()).unwrap_or(true);
    let upgrade_url = root.optional("upgrade_url").and_then(|found| found.parse(urls::web));
    let (tiers, ids) = tiers(&mut root);
    let lapsed_tier = root.optional("lapsed").and_then(|found| lapsed(found.section()?, &ids));
    let offer = root.optional("offer").and_then(|found| offer(found.section()?));
    let import = root.optional("import").and_then(|found| import(found.section()?, &ids)).unwrap_or_default();
    let slots = slots(&mut root, &ids);
    let editions = editions(&mut root, &ids, timezone.unwrap_or(Tz::UTC), &slots);
    root.finish();
    Some(Publication {
        name: name?,
        from: from?,
        url: url?,
        postal_address: postal_address?,
        timezone: timezone?,
        language: language?,
        editors: editors.unwrap_or_default(),
        proofs,
        upgrade_url,
        import: ImportRules { default: import.default.or_else(|| lapsed_tier.clone()), ..import },
        lapsed_tier,
        offer,
        tiers,
        slots,
        editions,
    })
}

fn text(section: &mut Section<'_>, key: &'static str, hint: &str) -> Option<String> {
    section.required(key, hint).and_then(|found| found.text()).map(str::to_owned)
}

/// The tiers, and the ids that other tables may name.
fn tiers(root: &mut Section<'_>) -> (Vec<Tier>, Vec<String>) {
    const HINT: &str = "add at least one, for example [tiers.free]";
    let Some(found) = root.required("tiers", HINT) else { return (Vec::new(), Vec::new()) };
    let Some(section) = found.section() else { return (Vec::new(), Vec::new()) };
    let names = section.names();
    if names.is_empty() {
        found.wrong::<()>("is empty", HINT);
    }
    let mut tiers = Vec::new();
    for (id, key_place, found) in &names {
        if let Err(why) = syntax::tier_id(id) {
            section.report.error(key_place, &found.path, &why.problem, &why.hint);
        }
        tiers.extend(found.section().and_then(|section| tier(id, section)));
    }
    (tiers, names.iter().map(|(id, ..)| (*id).to_owned()).collect())
}

fn tier(id: &str, mut section: Section<'_>) -> Option<Tier> {
    let label = text(&mut section, "label", "write what readers call it: label = \"Yearly\"");
    let price = section.optional("price").and_then(|found| found.text()).map(str::to_owned);
    let note = section.optional("note").and_then(|found| found.text()).map(str::to_owned);
    let articles =
        section.required("articles", "write articles = \"teaser\" or \"full\"").and_then(|found| {
            found.parse(|text| match text {
                "teaser" => Ok(ArticleAccess::Teaser),
                "full" => Ok(ArticleAccess::Full),
                _ => wrong(format!("`{text}` is not a choice"), "write \"teaser\" or \"full\""),
            })
        });
    let archive = section.optional("archive").and_then(|found| found.flag()).unwrap_or(false);
    let chat_support = section.optional("chat_support").and_then(|found| found.flag()).unwrap_or(false);
    let extras = section.optional("extra_articles").and_then(|found| found.integer(0..=10_000));
    let term = section.optional("term").and_then(|found| found.parse(syntax::term));
    let refund_days = section.optional("refund_days").and_then(|found| found.integer(0..=3650));
    section.finish();
    Some(Tier {
        id: TierId::from(id),
        label: label?,
        price,
        note,
        articles: articles?,
        archive,
        chat_support,
        extra_articles: extras.unwrap_or(0),
        term,
        refund_days: refund_days.unwrap_or(0),
    })
}

fn lapsed(mut section: Section<'_>, known: &[String]) -> Option<TierId> {
    let tier = section.required("tier", "write tier = \"free\", or leave [lapsed] out");
    let tier = tier.and_then(|found| found.parse(|text| known_tier(text, known)));
    section.finish();
    tier
}

fn offer(mut section: Section<'_>) -> Option<Offer> {
    let label = text(&mut section, "label", "write label = \"50 % off\"");
    let until = section
        .required("until", "write its last day: until = \"2026-12-31\"")
        .and_then(|found| found.checked(syntax::date(found.time_text()?)));
    section.finish();
    Some(Offer { label: label?, until: until? })
}

/// What the plans of other systems mean. The names of plans are keys, so any text may stand there.
fn import(mut section: Section<'_>, known: &[String]) -> Option<ImportRules> {
    let default = section.optional("default").and_then(|found| found.parse(|text| known_tier(text, known)));
    let mut plans: Vec<(String, TierId)> = Vec::new();
    if let Some(table) = section.optional("plans").and_then(|found| found.section()) {
        for (name, key_place, found) in table.names() {
            if name.trim().is_empty() {
                section.report.error(
                    key_place,
                    &found.path,
                    "is empty",
                    "write the plan's name as the other system does",
                );
            }
            if plans.iter().any(|(other, _)| other.to_lowercase() == name.trim().to_lowercase()) {
                let hint = "upper and lower case are the same here; write it once";
                section.report.error(key_place, &found.path, "is named twice", hint);
            }
            if let Some(tier) = found.parse(|text| known_tier(text, known)) {
                plans.push((name.trim().to_owned(), tier));
            }
        }
    }
    section.finish();
    Some(ImportRules { default, plans })
}

fn known_tier(text: &str, known: &[String]) -> Result<TierId, syntax::Wrong> {
    if known.iter().any(|id| id == text) {
        return Ok(TierId::from(text));
    }
    let ids: Vec<&str> = known.iter().map(String::as_str).collect();
    let hint = match nearest(text, &ids) {
        Some(near) => format!("did you mean `{near}`? Tiers: {}", ids.join(", ")),
        None => format!("tiers: {}", ids.join(", ")),
    };
    wrong(format!("there is no tier `{text}`"), hint)
}

/// The audience of a slot or an edition.
fn audience(section: &mut Section<'_>, known: &[String]) -> Option<Vec<TierId>> {
    let found = section.required("tiers", "name the tiers that get it: tiers = [\"free\"]")?;
    if found.is_empty_list() {
        return found.wrong("is empty", "name at least one tier");
    }
    found.parse_list(|text| known_tier(text, known))
}

fn slots(root: &mut Section<'_>, known: &[String]) -> Vec<Slot> {
    let mut slots: Vec<Slot> = Vec::new();
    for item in root.optional("slots").and_then(|found| found.list()).unwrap_or_default() {
        let Some(slot) = item.section().and_then(|section| slot(section, known)) else { continue };
        if slots.iter().any(|other| other.name == slot.name) {
            item.wrong::<()>(&format!("there are two slots `{}`", slot.name), "give each its own name");
        }
        slots.push(slot);
    }
    slots
}

fn slot(mut section: Section<'_>, known: &[String]) -> Option<Slot> {
    let name =
        section.required("name", "write name = \"weekly\"").and_then(|found| found.parse(syntax::slug));
    let (at, cron) = (section.optional("at"), section.optional("cron"));
    let cron = match (at, cron) {
        (Some(at), None) => at.parse(slot_rule::from_at),
        (None, Some(cron)) => cron.parse(slot_rule::from_cron),
        (Some(_), Some(cron)) => cron.wrong("says when for a second time", "keep either `at` or `cron`"),
        (None, None) => {
            section.missing("at", "write at = \"Tue 09:00\" or `cron`");
            None
        }
    };
    let (take_min, take_max) = section.optional("take").map_or(Some((1, 2)), take).unwrap_or((1, 2));
    let extra = section.optional("extra").and_then(|found| found.flag()).unwrap_or(false);
    let tiers = audience(&mut section, known);
    let shared = shared(&mut section);
    let approval = section.optional("approval").and_then(|found| found.flag()).unwrap_or(false);
    section.finish();
    Some(Slot {
        name: name?,
        cron: cron?,
        take_min,
        take_max,
        extra,
        tiers: tiers?,
        subject: shared.subject,
        late: shared.late,
        approval,
        template: shared.template,
    })
}

/// How many articles a slot takes; an edition carries one or two.
fn take(found: Found<'_>) -> Option<(usize, usize)> {
    let mut section = found.section()?;
    let min = section.optional("min").map_or(Some(1), |found| found.integer(1..=2));
    let max = section.optional("max").map_or(Some(2), |found| found.integer(1..=2));
    section.finish();
    let (min, max) = (min?, max?);
    if min > max {
        return found.wrong(&format!("min {min} is more than max {max}"), "swap them");
    }
    Some((min as usize, max as usize))
}

/// What slots and editions have in common.
struct Shared {
    subject: String,
    late: Duration,
    template: String,
}

fn shared(section: &mut Section<'_>) -> Shared {
    let subject = section.optional("subject").and_then(|found| found.text()).unwrap_or(SUBJECT);
    let late = section.optional("late").and_then(|found| found.parse(syntax::duration)).unwrap_or(LATE);
    let template = section.optional("template").and_then(|found| found.parse(syntax::slug));
    Shared { subject: subject.to_owned(), late, template: template.unwrap_or_else(|| TEMPLATE.to_owned()) }
}

fn editions(root: &mut Section<'_>, known: &[String], zone: Tz, slots: &[Slot]) -> Vec<PlannedEdition> {
    let mut editions: Vec<PlannedEdition> = Vec::new();
    for item in root.optional("editions").and_then(|found| found.list()).unwrap_or_default() {
        let Some(edition) = item.section().and_then(|section| edition(section, known, zone)) else {
            continue;
        };
        if editions.iter().any(|other| other.slug == edition.slug) {
            let problem = format!("there are two editions `{}`", edition.slug);
            item.wrong::<()>(&problem, "give each its own slug; it names the edition for ever");
        }
        if let Some(slot) = slots.iter().find(|slot| is_date_of(&edition.slug, &slot.name)) {
            let problem = format!("the slug `{}` belongs to the slot `{}`", edition.slug, slot.name);
            item.wrong::<()>(&problem, "a slot names its editions so; choose another slug");
        }
        editions.push(edition);
    }
    editions
}

/// Whether a slug is `slot-2026-12-01`.
fn is_date_of(slug: &str, slot: &str) -> bool {
    let date = slug.strip_prefix(slot).and_then(|rest| rest.strip_prefix('-'));
    date.is_some_and(|date| date.len() == 10 && syntax::date(date).is_ok())
}

fn edition(mut section: Section<'_>, known: &[String], zone: Tz) -> Option<PlannedEdition> {
    let slug =
        section.required("slug", "write slug = \"first-light\"").and_then(|found| found.parse(syntax::slug));
    let due_at = section
        .required("at", "write at = \"2026-12-03T09:00\"")
        .and_then(|found| found.checked(syntax::due_at(found.time_text()?, zone)));
    let articles = articles(&mut section);
    let tiers = audience(&mut section, known);
    let shared = shared(&mut section);
    section.finish();
    Some(PlannedEdition {
        slug: slug?,
        due_at: due_at?,
        late: shared.late,
        subject: shared.subject,
        articles: articles?,
        tiers: tiers?,
        template: shared.template,
        slot: None,
        approval: false,
    })
}

fn articles(section: &mut Section<'_>) -> Option<Vec<String>> {
    let found = section.required("articles", "name one or two files of `articles`, without `.md`")?;
    match &found.node.value {
        Value::List(items) if items.is_empty() => found.wrong("is empty", "name one or two articles"),
        Value::List(items) if items.len() > 2 => {
            found.wrong(&format!("has {} articles", items.len()), "an edition carries one or two")
        }
        _ => found.parse_list(syntax::article_id),
    }
}
