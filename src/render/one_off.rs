//! Mails for one person: confirmation, welcome, sign-in, and the acknowledgement of a question. Everything in them is known
//! when they are rendered, so their bodies have no holes; links that carry tokens come in as whole addresses.
//!
//! Dates and times come in as shown, in the publication's zone and in English: the house has no other month names yet.

use serde_json::{Value, json};

use super::edition::{body, of_publication, one_line};
use super::fields;
use super::holes::Sentinels;
use super::lint;
use super::template::TemplateSet;
use crate::domain::body::Body;
use crate::domain::problem::Problem;
use crate::domain::publication::{ArticleAccess, Publication, Tier};

/// "Is this your address?", for a person who may be somebody else's victim: nothing in it comes from whoever asked but the
/// address itself.
#[derive(Clone, Copy, Debug)]
pub struct ConfirmInput<'a> {
    pub publication: &'a Publication,
    /// The address that answers reach.
    pub support: &'a str,
    /// The address that is to be confirmed.
    pub address: &'a str,
    /// When it was asked for, as shown: `24 November at 14:05`.
    pub asked_at: &'a str,
    /// How, as the end of a sentence: `on our website`, `by mail`. Empty leaves it out.
    pub asked_where: &'a str,
    /// What the person will get, as shown: `one mail on Tuesdays`. Empty leaves it out.
    pub gets: &'a str,
    /// The day on which the request is deleted. Empty leaves it out.
    pub expires: &'a str,
    /// The whole address of the button.
    pub confirm: &'a str,
}

/// "You are on the list already", for who asks to join once more.
#[derive(Clone, Copy, Debug)]
pub struct KnownInput<'a> {
    pub publication: &'a Publication,
    pub support: &'a str,
    pub name: &'a str,
    pub address: &'a str,
    /// Whole addresses.
    pub preferences: &'a str,
    pub unsubscribe: &'a str,
}

/// "Do you want to leave?", for who may have asked for it by mail: anybody can write in their name.
#[derive(Clone, Copy, Debug)]
pub struct LeaveInput<'a> {
    pub publication: &'a Publication,
    pub support: &'a str,
    pub address: &'a str,
    /// The whole address of the button.
    pub unsubscribe: &'a str,
}

/// "Your mails go elsewhere from now on", for the address that they left.
#[derive(Clone, Copy, Debug)]
pub struct AddressToldInput<'a> {
    pub publication: &'a Publication,
    pub support: &'a str,
    pub name: &'a str,
    pub old: &'a str,
    /// Masked: the old address may be somebody else's by now.
    pub new: &'a str,
}

/// The first mail to somebody who has confirmed or was added.
#[derive(Clone, Copy, Debug)]
pub struct WelcomeInput<'a> {
    pub publication: &'a Publication,
    pub support: &'a str,
    pub name: &'a str,
    pub address: &'a str,
    pub tier: &'a Tier,
    /// As shown; empty for a term that never ends.
    pub term_ends: &'a str,
    /// When the next edition is due, as shown: `Tuesday 1 December, 09:00`. Empty leaves it out.
    pub next: &'a str,
    /// Whole addresses. An empty one leaves its link out; a way to unsubscribe should always be there.
    pub unsubscribe: &'a str,
    pub preferences: &'a str,
    pub archive: &'a str,
}

/// A link that signs somebody in, once, within minutes.
#[derive(Clone, Copy, Debug)]
pub struct SignInInput<'a> {
    pub publication: &'a Publication,
    pub support: &'a str,
    pub address: &'a str,
    /// Until when it works, as shown: `14:20`.
    pub until: &'a str,
    /// For how many minutes that is.
    pub minutes: u64,
    /// The whole address of the button.
    pub sign_in: &'a str,
}

/// The automatic answer to a question: for who may ask, that a person will read it; for who may not, that nobody will answer.
#[derive(Clone, Copy, Debug)]
pub struct SupportAckInput<'a> {
    pub publication: &'a Publication,
    pub support: &'a str,
    /// The desk's name.
    pub desk: &'a str,
    /// The subject of what came in.
    pub subject: &'a str,
    /// The sender's name. Empty for a greeting without one.
    pub name: &'a str,
    /// The sender's tier; its `chat_support` decides what is said.
    pub tier: &'a Tier,
    /// What the operator promises, as a sentence: `We answer within two working days.` Empty promises nothing.
    pub promise: &'a str,
}

/// Renders the mail that asks for a confirmation.
pub fn render_confirm(templates: &TemplateSet, input: &ConfirmInput<'_>) -> Result<Body, Vec<Problem>> {
    render_request(templates, fields::CONFIRM_KIND, input)
}

/// Renders the mail that asks whether a new address is the reader's.
pub fn render_address(templates: &TemplateSet, input: &ConfirmInput<'_>) -> Result<Body, Vec<Problem>> {
    render_request(templates, fields::ADDRESS_KIND, input)
}

/// Renders the mail that tells the old address.
pub fn render_address_told(
    templates: &TemplateSet,
    input: &AddressToldInput<'_>,
) -> Result<Body, Vec<Problem>> {
    let more = json!({
        "subscriber": { "name": one_line(input.name), "address": one_line(input.old) },
        "request": { "address": one_line(input.new) },
    });
    print(templates, fields::ADDRESS_TOLD_KIND, of_publication(input.publication, input.support), more)
}

/// Renders the mail for somebody who is on the list already.
pub fn render_known(templates: &TemplateSet, input: &KnownInput<'_>) -> Result<Body, Vec<Problem>> {
    let more = json!({
        "subscriber": { "name": one_line(input.name), "address": one_line(input.address) },
        "links": { "preferences": input.preferences, "unsubscribe": input.unsubscribe },
    });
    print(templates, fields::KNOWN_KIND, of_publication(input.publication, input.support), more)
}

/// Renders the mail that asks whether somebody wants to leave.
pub fn render_leave(templates: &TemplateSet, input: &LeaveInput<'_>) -> Result<Body, Vec<Problem>> {
    let more = json!({
        "subscriber": { "address": one_line(input.address) },
        "links": { "unsubscribe": input.unsubscribe },
    });
    print(templates, fields::LEAVE_KIND, of_publication(input.publication, input.support), more)
}

fn render_request(
    templates: &TemplateSet,
    kind: &str,
    input: &ConfirmInput<'_>,
) -> Result<Body, Vec<Problem>> {
    let more = json!({
        "request": {
            "address": one_line(input.address),
            "at": one_line(input.asked_at),
            "where": one_line(input.asked_where),
            "gets": one_line(input.gets),
            "expires": one_line(input.expires),
        },
        "links": { "confirm": input.confirm },
    });
    print(templates, kind, of_publication(input.publication, input.support), more)
}

/// Renders the welcome.
pub fn render_welcome(templates: &TemplateSet, input: &WelcomeInput<'_>) -> Result<Body, Vec<Problem>> {
    let more = json!({
        "subscriber": {
            "name": one_line(input.name),
            "address": one_line(input.address),
            "tier_label": input.tier.label,
            "term_ends": one_line(input.term_ends),
        },
        "tier": of_tier(input.tier),
        "next": { "at": one_line(input.next) },
        "links": {
            "unsubscribe": input.unsubscribe,
            "preferences": input.preferences,
            "archive": input.archive,
        },
    });
    print(templates, fields::WELCOME_KIND, of_publication(input.publication, input.support), more)
}

/// Renders the sign-in mail.
pub fn render_sign_in(templates: &TemplateSet, input: &SignInInput<'_>) -> Result<Body, Vec<Problem>> {
    let more = json!({
        "request": {
            "address": one_line(input.address),
            "until": one_line(input.until),
            "minutes": input.minutes,
        },
        "links": { "sign_in": input.sign_in },
    });
    print(templates, fields::SIGN_IN_KIND, of_publication(input.publication, input.support), more)
}

/// Renders the acknowledgement.
pub fn render_support_ack(
    templates: &TemplateSet,
    input: &SupportAckInput<'_>,
) -> Result<Body, Vec<Problem>> {
    let more = json!({
        "thread": { "subject": one_line(input.subject), "reply_subject": reply_subject(input.subject) },
        "subscriber": { "name": one_line(input.name) },
        "tier": of_tier(input.tier),
        "desk": { "name": one_line(input.desk), "promise": one_line(input.promise) },
    });
    print(templates, fields::SUPPORT_ACK_KIND, of_publication(input.publication, input.support), more)
}

/// Fills the templates of a kind. A link that leads nowhere stops the mail: it would be of no use to anybody.
pub(super) fn print(
    templates: &TemplateSet,
    kind: &str,
    publication: Value,
    mut more: Value,
) -> Result<Body, Vec<Problem>> {
    more["publication"] = publication;
    let body = print_with(templates, kind, &more, &mut Sentinels::new())?;
    let dead = |problem: &Problem| problem.is_error() && problem.key == "link";
    let problems: Vec<Problem> = lint::lint_mail(&body, kind).into_iter().filter(dead).collect();
    if problems.is_empty() { Ok(body) } else { Err(problems) }
}

/// The same for mails that carry somebody's own words, which may be as long as they like and hold what they like.
pub(super) fn print_with(
    templates: &TemplateSet,
    kind: &str,
    fields: &Value,
    sentinels: &mut Sentinels,
) -> Result<Body, Vec<Problem>> {
    body(&templates.parts(kind, None)?, fields, sentinels)
}

fn of_tier(tier: &Tier) -> Value {
    json!({
        "id": tier.id.as_str(),
        "label": tier.label,
        "price": tier.price.clone().unwrap_or_default(),
        "note": tier.note.clone().unwrap_or_default(),
        "teaser": tier.articles == ArticleAccess::Teaser,
        "archive": tier.archive,
        "chat_support": tier.chat_support,
        "refund_days": tier.refund_days,
    })
}

/// `Re: x`, once, whatever x already starts with.
pub(super) fn reply_subject(subject: &str) -> String {
    let subject = one_line(subject);
    let subject = subject.trim();
    let answered = subject.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("re:"));
    if answered { subject.to_owned() } else { format!("Re: {subject}").trim_end().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::reply_subject;

    #[test]
    fn a_subject_is_answered_once() {
        for (subject, answer) in [
            ("Hi", "Re: Hi"),
            ("RE: Hi", "RE: Hi"),
            ("re:Hi", "re:Hi"),
            ("", "Re:"),
            ("Regards", "Re: Regards"),
            ("ü", "Re: ü"),
            ("a\nb", "Re: a b"),
        ] {
            assert_eq!(reply_subject(subject), answer);
        }
    }
}
