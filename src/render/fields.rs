//! The fields that templates may use, by kind. A name that is not in its table is an error with its position; handlebars
//! itself lets a missing one pass inside of `{{#if}}`.

/// What stands behind a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Shape {
    /// Text or a number; escaped where it is printed.
    Value,
    /// HTML that was made here: only as `{{{...}}}`, only in the HTML part, only in text.
    Markup,
    /// Differs from recipient to recipient; see [`crate::domain::body::Field`].
    Hole,
    Object(&'static [(&'static str, Shape)]),
    List(&'static Shape),
}

impl Shape {
    pub(super) fn field(&self, name: &str) -> Option<&'static Shape> {
        match self {
            Shape::Object(fields) => fields.iter().find(|(known, _)| *known == name).map(|(_, shape)| shape),
            Shape::List(inner) if !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()) => Some(inner),
            _ => None,
        }
    }

    /// Whether it is an object of things that differ from recipient to recipient.
    pub(super) fn has_holes(&self) -> bool {
        matches!(self, Shape::Object(fields) if fields.iter().any(|(_, shape)| *shape == Shape::Hole))
    }

    /// Whether a whole path, as templates write it, is a hole in this kind of mail.
    pub(super) fn is_hole(&self, path: &str) -> bool {
        let (first, second) = path.split_once('.').unwrap_or((path, ""));
        self.field(first).and_then(|shape| shape.field(second)) == Some(&Shape::Hole)
    }

    /// The names of an object, for hints.
    pub(super) fn names(&self) -> String {
        match self {
            Shape::Object(fields) => fields.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
            Shape::List(_) => "0, 1, ...".to_owned(),
            _ => String::new(),
        }
    }
}

use Shape::{Hole, List, Markup, Object, Value};

const PUBLICATION: Shape = Object(&[
    ("name", Value),
    ("url", Value),
    ("postal_address", Value),
    ("support", Value),
    ("language", Value),
    // Whether there is a page to send people to; the link itself is links.upgrade.
    ("upgrade_url", Value),
]);

const ARTICLE: Shape = Object(&[
    ("id", Value),
    ("title", Value),
    ("summary", Value),
    ("author", Value),
    ("reading_minutes", Value),
    ("full_minutes", Value),
    // full_minutes less reading_minutes.
    ("minutes_left", Value),
    ("html", Markup),
    ("text", Value),
    ("url", Value),
    ("cover", Value),
    ("extra", Value),
    ("is_teaser", Value),
]);

const PLAN: Shape = Object(&[
    ("id", Value),
    ("label", Value),
    ("price", Value),
    ("note", Value),
    // Zero where there is no refund.
    ("refund_days", Value),
    // All of it in one aligned line or more, for the text part.
    ("line", Value),
]);

/// Editions, whatever the name of their template.
pub static EDITION: Shape = Object(&[
    ("publication", PUBLICATION),
    (
        "edition",
        Object(&[
            ("slug", Value),
            ("subject", Value),
            ("date", Value),
            ("number", Value),
            // Whether any of the articles is cut for this tier.
            ("is_teaser", Value),
        ]),
    ),
    ("articles", List(&ARTICLE)),
    (
        "tier",
        Object(&[
            ("id", Value),
            ("label", Value),
            ("price", Value),
            // `teaser` or `full`.
            ("articles", Value),
            ("archive", Value),
            ("chat_support", Value),
        ]),
    ),
    ("plans", List(&PLAN)),
    // Empty strings when none is running on the day of the edition.
    ("offer", Object(&[("label", Value), ("until", Value)])),
    ("subscriber", Object(&[("name", Hole), ("address", Hole), ("tier_label", Hole), ("term_ends", Hole)])),
    (
        "links",
        Object(&[
            ("unsubscribe", Hole),
            ("preferences", Hole),
            ("view", Hole),
            ("archive", Hole),
            ("upgrade", Hole),
        ]),
    ),
]);

/// The notice that tells staff of a subscriber's words. It has no holes: it is rendered for one thread.
pub static SUPPORT_NOTICE: Shape = Object(&[
    ("publication", PUBLICATION),
    (
        "thread",
        Object(&[
            ("number", Value),
            ("subject", Value),
            ("state", Value),
            ("tier_label", Value),
            ("term_ends", Value),
            ("edition_subject", Value),
            ("earlier", Value),
            ("subscriber_name", Value),
            ("subscriber_address", Value),
            ("assigned_to", Value),
            ("waiting_since", Value),
            // Its page at the desk; empty where the private pages are not served.
            ("url", Value),
        ]),
    ),
    (
        "post",
        Object(&[
            ("html", Markup),
            ("text", Value),
            ("folded_lines", Value),
            ("at", Value),
            ("attachments", Value),
            ("cut", Value),
        ]),
    ),
    // `above` stands at the top: what is below it is nobody's answer.
    ("desk", Object(&[("name", Value), ("above", Value), ("note_address", Value)])),
]);

/// Tells a member of staff what became of their mail. It has no holes either.
pub static SUPPORT_TOLD: Shape = Object(&[
    ("publication", PUBLICATION),
    ("thread", Object(&[("number", Value), ("subject", Value), ("url", Value)])),
    (
        "told",
        Object(&[
            ("title", Value),
            ("reason", Value),
            ("action", Value),
            // What a colleague wrote meanwhile.
            ("theirs", Value),
            ("theirs_html", Markup),
            // What the reader wrote.
            ("text", Value),
            ("html", Markup),
        ]),
    ),
    ("desk", Object(&[("name", Value), ("above", Value)])),
]);

/// Asks for a confirmation.
pub static CONFIRM: Shape = Object(&[
    ("publication", PUBLICATION),
    // Empty ones are left out.
    (
        "request",
        Object(&[("address", Value), ("at", Value), ("where", Value), ("gets", Value), ("expires", Value)]),
    ),
    ("links", Object(&[("confirm", Value)])),
]);

/// Tells somebody who asked to join that they are on the list.
pub static KNOWN: Shape = Object(&[
    ("publication", PUBLICATION),
    ("subscriber", Object(&[("name", Value), ("address", Value)])),
    ("links", Object(&[("unsubscribe", Value), ("preferences", Value)])),
]);

/// Asks who wrote the word for leaving, and is not proven.
pub static LEAVE: Shape = Object(&[
    ("publication", PUBLICATION),
    ("subscriber", Object(&[("address", Value)])),
    ("links", Object(&[("unsubscribe", Value)])),
]);

/// Tells the old address of the new one.
pub static ADDRESS_TOLD: Shape = Object(&[
    ("publication", PUBLICATION),
    ("subscriber", Object(&[("name", Value), ("address", Value)])),
    // The new one, masked.
    ("request", Object(&[("address", Value)])),
]);

const TIER_SHOWN: Shape = Object(&[
    ("id", Value),
    ("label", Value),
    ("price", Value),
    ("note", Value),
    // Whether articles stop at their teaser.
    ("teaser", Value),
    ("archive", Value),
    ("chat_support", Value),
    ("refund_days", Value),
]);

/// Greets somebody who is subscribed from now on. Its links are whole addresses, or empty.
pub static WELCOME: Shape = Object(&[
    ("publication", PUBLICATION),
    (
        "subscriber",
        Object(&[("name", Value), ("address", Value), ("tier_label", Value), ("term_ends", Value)]),
    ),
    ("tier", TIER_SHOWN),
    ("next", Object(&[("at", Value)])),
    ("links", Object(&[("unsubscribe", Value), ("preferences", Value), ("archive", Value)])),
]);

/// Signs somebody in.
pub static SIGN_IN: Shape = Object(&[
    ("publication", PUBLICATION),
    ("request", Object(&[("address", Value), ("until", Value), ("minutes", Value)])),
    ("links", Object(&[("sign_in", Value)])),
]);

/// What staff wrote, to a subscriber.
pub static SUPPORT_ANSWER: Shape = Object(&[
    ("publication", PUBLICATION),
    ("thread", Object(&[("subject", Value), ("reply_subject", Value)])),
    ("answer", Object(&[("html", Markup), ("text", Value)])),
    ("desk", Object(&[("name", Value)])),
]);

/// The automatic answer to a question.
pub static SUPPORT_ACK: Shape = Object(&[
    ("publication", PUBLICATION),
    ("thread", Object(&[("subject", Value), ("reply_subject", Value)])),
    ("subscriber", Object(&[("name", Value)])),
    ("tier", TIER_SHOWN),
    ("desk", Object(&[("name", Value), ("promise", Value)])),
]);

const REPORT_TIER: Shape = Object(&[
    ("label", Value),
    ("audience", Value),
    ("accepted", Value),
    ("refused", Value),
    ("skipped", Value),
    ("uncertain", Value),
    ("parked", Value),
    ("queued", Value),
    ("has_refused", Value),
    ("has_skipped", Value),
    ("has_queued", Value),
    ("has_uncertain", Value),
    ("has_parked", Value),
    ("came_back", Value),
    ("complaints", Value),
    ("has_came_back", Value),
    ("has_complaints", Value),
    // Where its mail can be read.
    ("proof", Value),
    // One number for each of report.columns.
    ("cells", List(&Value)),
]);

/// Tells editors what became of an edition.
pub static EDITOR_REPORT: Shape = Object(&[
    ("publication", PUBLICATION),
    (
        "report",
        Object(&[
            // queued, waiting_approval, skipped, missed, blocked, paused, first_pass_done or answered.
            ("event", Value),
            ("reason", Value),
            ("action", Value),
            ("notes", List(&Value)),
            // The same three, with what stands in backticks as code.
            ("reason_html", Markup),
            ("action_html", Markup),
            ("notes_html", List(&Markup)),
            // The notes as a list, wrapped.
            ("notes_text", Value),
            // How many notes are not shown.
            ("more_notes", Value),
            ("next", Value),
            // All of it as aligned text.
            ("table", Value),
            ("columns", List(&Value)),
            // Whether any tier has one.
            ("proofs", Value),
        ]),
    ),
    (
        "edition",
        Object(&[
            ("slug", Value),
            ("subject", Value),
            ("slot", Value),
            ("due_at", Value),
            ("queued_at", Value),
            ("settled_at", Value),
        ]),
    ),
    ("tiers", List(&REPORT_TIER)),
    ("total", REPORT_TIER),
    ("links", Object(&[("board", Value)])),
]);

/// Tells operators that something is wrong.
pub static ALARM: Shape = Object(&[
    ("publication", PUBLICATION),
    (
        "alarm",
        Object(&[
            ("title", Value),
            ("about", Value),
            ("text", Value),
            ("action", Value),
            ("since", Value),
            ("last", Value),
            ("count", Value),
            // Whether it happened more than once.
            ("again", Value),
        ]),
    ),
]);

/// The kinds that are not editions: each is rendered for one message, so they have no holes and no tiers.
const ONE_OFF: &[(&str, &Shape)] = &[
    (NOTICE_KIND, &SUPPORT_NOTICE),
    (TOLD_KIND, &SUPPORT_TOLD),
    (CONFIRM_KIND, &CONFIRM),
    (ADDRESS_KIND, &CONFIRM),
    (ADDRESS_TOLD_KIND, &ADDRESS_TOLD),
    (KNOWN_KIND, &KNOWN),
    (LEAVE_KIND, &LEAVE),
    (WELCOME_KIND, &WELCOME),
    (SIGN_IN_KIND, &SIGN_IN),
    (SUPPORT_ANSWER_KIND, &SUPPORT_ANSWER),
    (SUPPORT_ACK_KIND, &SUPPORT_ACK),
    (REPORT_KIND, &EDITOR_REPORT),
    (ALARM_KIND, &ALARM),
];

/// The notice to staff.
pub const NOTICE_KIND: &str = "support-notice";
/// What became of a member's mail.
pub const TOLD_KIND: &str = "support-told";
/// The mail that asks for a confirmation.
pub const CONFIRM_KIND: &str = "confirm";
/// The mail that asks a new address.
pub const ADDRESS_KIND: &str = "address";
/// The mail that tells the old address.
pub const ADDRESS_TOLD_KIND: &str = "address-told";
/// The mail to somebody who asks to join a second time.
pub const KNOWN_KIND: &str = "known";
/// The mail to somebody who may have asked to leave.
pub const LEAVE_KIND: &str = "leave";
/// The first mail to a subscriber.
pub const WELCOME_KIND: &str = "welcome";
/// The mail with a sign-in link.
pub const SIGN_IN_KIND: &str = "sign-in";
/// A staff member's answer.
pub const SUPPORT_ANSWER_KIND: &str = "support-answer";
/// The automatic answer.
pub const SUPPORT_ACK_KIND: &str = "support-ack";
/// The mail to editors.
pub const REPORT_KIND: &str = "editor-report";
/// The mail to operators.
pub const ALARM_KIND: &str = "alarm";

/// Whether a kind is rendered per edition and tier.
pub fn is_edition(kind: &str) -> bool {
    !ONE_OFF.iter().any(|(name, _)| *name == kind)
}

/// The fields of a kind of template.
pub fn of_kind(kind: &str) -> &'static Shape {
    ONE_OFF.iter().find(|(name, _)| *name == kind).map_or(&EDITION, |(_, shape)| shape)
}
