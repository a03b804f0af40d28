//! A frozen body: what one tier gets of one edition, as literals with holes. It is data, not a template, so nothing that a
//! subscriber or an article contains can be taken for an instruction.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// A value that differs from recipient to recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Field {
    #[serde(rename = "subscriber.name")]
    SubscriberName,
    #[serde(rename = "subscriber.address")]
    SubscriberAddress,
    #[serde(rename = "subscriber.tier_label")]
    SubscriberTierLabel,
    #[serde(rename = "subscriber.term_ends")]
    SubscriberTermEnds,
    #[serde(rename = "links.unsubscribe")]
    LinkUnsubscribe,
    #[serde(rename = "links.preferences")]
    LinkPreferences,
    #[serde(rename = "links.view")]
    LinkView,
    #[serde(rename = "links.archive")]
    LinkArchive,
    #[serde(rename = "links.upgrade")]
    LinkUpgrade,
}

impl Field {
    pub const ALL: [Field; 9] = [
        Field::SubscriberName,
        Field::SubscriberAddress,
        Field::SubscriberTierLabel,
        Field::SubscriberTermEnds,
        Field::LinkUnsubscribe,
        Field::LinkPreferences,
        Field::LinkView,
        Field::LinkArchive,
        Field::LinkUpgrade,
    ];

    /// The name that a template uses.
    pub fn name(self) -> &'static str {
        match self {
            Field::SubscriberName => "subscriber.name",
            Field::SubscriberAddress => "subscriber.address",
            Field::SubscriberTierLabel => "subscriber.tier_label",
            Field::SubscriberTermEnds => "subscriber.term_ends",
            Field::LinkUnsubscribe => "links.unsubscribe",
            Field::LinkPreferences => "links.preferences",
            Field::LinkView => "links.view",
            Field::LinkArchive => "links.archive",
            Field::LinkUpgrade => "links.upgrade",
        }
    }

    pub fn named(name: &str) -> Option<Field> {
        Field::ALL.into_iter().find(|field| field.name() == name)
    }

    /// Links are whole URLs that we make ourselves.
    pub fn is_link(self) -> bool {
        self.name().starts_with("links.")
    }
}

/// Where a hole stands, which decides how its value is written (W23).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Context {
    /// Subject and text part: as it is, control characters as spaces.
    Bare,
    /// HTML text or an attribute that is not a URL: `& < > " '` escaped.
    Html,
    /// Inside a URL in HTML: percent-encoded down to RFC 3986 unreserved characters.
    Url,
}

impl Context {
    /// Writes `value` so that it stays text where it stands.
    pub fn escape(self, value: &str, into: &mut String) {
        match self {
            Context::Bare => into.extend(value.chars().map(|c| if c.is_control() { ' ' } else { c })),
            Context::Html => escape_html(value, into),
            Context::Url => {
                for byte in value.bytes() {
                    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                        into.push(char::from(byte));
                    } else {
                        // Writing to a String cannot fail.
                        let _ = write!(into, "%{byte:02X}");
                    }
                }
            }
        }
    }
}

/// Escapes for HTML text and for quoted attributes. Control characters other than line ends and tabs become spaces.
pub fn escape_html(value: &str, into: &mut String) {
    for c in value.chars() {
        match c {
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '"' => into.push_str("&quot;"),
            '\'' => into.push_str("&#39;"),
            '\n' | '\t' => into.push(c),
            c if c.is_control() => into.push(' '),
            c => into.push(c),
        }
    }
}

/// One piece of a part of a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    Literal(String),
    Hole {
        field: Field,
        context: Context,
    },
    /// `then` where the field has a value, `otherwise` where it has none.
    If {
        field: Field,
        then: Vec<Piece>,
        otherwise: Vec<Piece>,
    },
}

/// The three parts of a body. `html` is empty for mails that are text only (support answers may be).
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Body {
    pub subject: Vec<Piece>,
    pub html: Vec<Piece>,
    pub text: Vec<Piece>,
}

/// One recipient's values. A field that is absent counts as empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values(BTreeMap<Field, String>);

impl Values {
    pub fn set(&mut self, field: Field, value: impl Into<String>) -> &mut Self {
        self.0.insert(field, value.into());
        self
    }

    pub fn get(&self, field: Field) -> &str {
        self.0.get(&field).map_or("", String::as_str)
    }

    /// Whether a condition on this field holds.
    pub fn has(&self, field: Field) -> bool {
        !self.get(field).trim().is_empty()
    }
}

/// Walks pieces and hands out what this recipient gets, conditions resolved: literals and filled holes in order.
pub fn walk<'a>(pieces: &'a [Piece], values: &Values, visit: &mut impl FnMut(Filled<'a>)) {
    for piece in pieces {
        match piece {
            Piece::Literal(text) => visit(Filled::Literal(text)),
            Piece::Hole { field, context } => {
                let mut escaped = String::new();
                context.escape(values.get(*field), &mut escaped);
                visit(Filled::Value(escaped));
            }
            Piece::If { field, then, otherwise } => {
                let branch = if values.has(*field) { then } else { otherwise };
                walk(branch, values, visit);
            }
        }
    }
}

/// What [`walk`] hands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filled<'a> {
    Literal(&'a str),
    Value(String),
}

/// The whole part as one recipient gets it, before any transfer encoding.
pub fn fill(pieces: &[Piece], values: &Values) -> String {
    let mut out = String::new();
    walk(pieces, values, &mut |filled| match filled {
        Filled::Literal(text) => out.push_str(text),
        Filled::Value(text) => out.push_str(&text),
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hostile() -> Values {
        let mut values = Values::default();
        values.set(Field::SubscriberName, "a\"onmouseover=x <b>O'Brien & S\u{f6}hne\r\n");
        values
    }

    #[test]
    fn each_context_keeps_a_value_text() {
        let hole = |context| [Piece::Hole { field: Field::SubscriberName, context }];
        assert_eq!(
            fill(&hole(Context::Html), &hostile()),
            "a&quot;onmouseover=x &lt;b&gt;O&#39;Brien &amp; S\u{f6}hne \n"
        );
        assert_eq!(
            fill(&hole(Context::Url), &hostile()),
            "a%22onmouseover%3Dx%20%3Cb%3EO%27Brien%20%26%20S%C3%B6hne%0D%0A"
        );
        assert_eq!(fill(&hole(Context::Bare), &hostile()), "a\"onmouseover=x <b>O'Brien & S\u{f6}hne  ");
    }

    #[test]
    fn a_condition_picks_one_branch() {
        let pieces = [Piece::If {
            field: Field::SubscriberName,
            then: vec![Piece::Literal("Hello ".into())],
            otherwise: vec![Piece::Literal("Hello.".into())],
        }];
        assert_eq!(fill(&pieces, &hostile()), "Hello ");
        assert_eq!(fill(&pieces, &Values::default()), "Hello.");
    }

    #[test]
    fn field_names_are_the_template_names() {
        for field in Field::ALL {
            let json = serde_json::to_string(&field).unwrap();
            assert_eq!(json, format!("\"{}\"", field.name()));
            assert_eq!(Field::named(field.name()), Some(field));
        }
    }
}
