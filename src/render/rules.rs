//! What is judged about one start tag: its name, its place, its attributes and their values.
//!
//! An attribute whose value holds a tag of the template is judged by its name alone: what comes out of it is not known here.

use super::check::Place;
use super::elements::{Content, Element, IGNORED, anywhere};
use super::mjml::Finding;
use super::values::Value;

/// A start tag that was read to its end.
#[derive(Clone, Debug)]
pub(super) struct Tag {
    pub name: String,
    pub place: Place,
    pub attributes: Vec<Attribute>,
}

#[derive(Clone, Debug)]
pub(super) struct Attribute {
    pub name: String,
    pub place: Place,
    /// None if it has no value at all.
    pub value: Option<String>,
    /// Where the value starts, behind its quote.
    pub value_at: Place,
    pub quote: char,
    /// A tag of the template stands in the value.
    pub dynamic: bool,
}

impl Tag {
    pub fn is_mjml(&self) -> bool {
        is_mjml(&self.name)
    }

    fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }
}

pub(super) fn is_mjml(name: &str) -> bool {
    name.starts_with("mj-") || name == "mjml"
}

/// Fonts that mrml and MJML answer with a link to a font server.
const LINKED_FONTS: &[&str] = &["roboto", "open sans", "lato", "ubuntu", "droid sans"];
/// Attributes whose value is an address, in MJML and in HTML.
const ADDRESSES: &[&str] = &[
    "href",
    "src",
    "srcset",
    "background",
    "background-url",
    "action",
    "thumbnails-src",
    "left-icon",
    "right-icon",
    "icon-wrapped-url",
    "icon-unwrapped-url",
    "base-url",
];
/// Elements for which mrml fetches a picture from somebody else unless told otherwise.
const FOREIGN: &[(&str, &[&str])] = &[
    ("mj-social-element", &["src"]),
    ("mj-accordion", &["icon-wrapped-url", "icon-unwrapped-url"]),
    ("mj-carousel", &["left-icon", "right-icon"]),
];

/// Judges a start tag. `parent` is the innermost element of MJML around it, `in_words` whether any of those around holds words.
pub(super) fn judge(tag: &Tag, parent: Option<&str>, in_words: bool, findings: &mut Vec<Finding>) {
    let before = findings.len();
    if tag.is_mjml() {
        match Element::named(&tag.name) {
            Some(element) => {
                place(tag, element, parent, findings);
                let defaults = matches!(parent, Some("mj-attributes" | "mj-class"));
                attributes(tag, element, findings);
                if !defaults {
                    pictures(tag, findings);
                }
            }
            None => unknown(tag, findings),
        }
    } else if !in_words && parent.is_none_or(|parent| Element::named(parent).is_some()) {
        let what = format!("<{}> stands between elements", tag.name);
        let hint = "put HTML into an mj-text, mj-table or mj-raw";
        findings.push(Finding::error(tag.place.clone(), what, hint));
    } else if tag.name.eq_ignore_ascii_case("img") && tag.attribute("alt").is_none() {
        findings.push(no_alt(tag));
    }
    for (at, attribute) in tag.attributes.iter().enumerate() {
        if tag.attributes[..at].iter().any(|earlier| earlier.name == attribute.name) {
            let what = format!("\"{}\" stands twice in <{}>", attribute.name, tag.name);
            findings.push(Finding::error(attribute.place.clone(), what, "leave one of them out"));
        }
        written(attribute, findings);
        // One problem is enough for one attribute.
        if !findings[before..].iter().any(|finding| finding.place == attribute.place) {
            reaches(tag, attribute, findings);
        }
    }
}

fn unknown(tag: &Tag, findings: &mut Vec<Finding>) {
    // One that is right never comes here; what is wrong with the others is said where they are resolved.
    if tag.name == "mj-include" {
        return;
    }
    let hint = match tag.name.as_str() {
        "mj-html-attributes" | "mj-selector" | "mj-html-attribute" => {
            "our renderer does not read it; write the attribute where it is needed"
        }
        "mj-invoice" | "mj-invoice-item" | "mj-list" | "mj-location" | "mj-container" | "mj-inline-links" => {
            "it was taken out of MJML long ago; write an mj-table or an mj-text"
        }
        _ => "check the name",
    };
    let what = format!("there is no element <{}>", tag.name);
    findings.push(Finding::error(tag.place.clone(), what, hint));
}

fn place(tag: &Tag, element: &Element, parent: Option<&str>, findings: &mut Vec<Finding>) {
    let in_head = matches!(element.parents, ["mjml"] | ["mj-head"] | ["mj-attributes"] | []);
    let right = match parent {
        None => element.parents.is_empty(),
        // Defaults of a component.
        Some("mj-attributes" | "mj-class") => {
            element.name == "mj-class" || element.name == "mj-all" || !in_head
        }
        Some(parent) if Element::named(parent).is_none() => true,
        Some(parent) => element.parents.contains(&parent),
    };
    if right {
        return;
    }
    let what = match parent {
        None => format!("<{}> stands outside of everything", tag.name),
        Some(parent) => format!("<{}> cannot stand in <{parent}>", tag.name),
    };
    let hint = match (element.parents, parent) {
        ([], _) => "one template has one <mjml>; an included file has none".to_owned(),
        (parents, _) => format!("it belongs into {}", parents.join(", ")),
    };
    findings.push(Finding::error(tag.place.clone(), what, &hint));
}

fn attributes(tag: &Tag, element: &Element, findings: &mut Vec<Finding>) {
    for attribute in &tag.attributes {
        let name = attribute.name.as_str();
        if let Some((.., hint)) = IGNORED.iter().find(|(of, ignored, _)| *of == tag.name && *ignored == name)
        {
            let what = format!("\"{name}\" of <{}> is ignored by our renderer", tag.name);
            findings.push(Finding::error(attribute.place.clone(), what, hint));
            continue;
        }
        let value = match element.name {
            "mj-all" => anywhere(name),
            "mj-class" => element.attribute(name).or_else(|| anywhere(name)),
            _ => element.attribute(name),
        };
        let Some(value) = value else {
            let what = format!("<{}> has no attribute \"{name}\"", tag.name);
            let names = element.names();
            let hint = match element.name {
                "mj-all" | "mj-class" => "check the name; no element has it".to_owned(),
                _ if names.is_empty() => "leave it out".to_owned(),
                _ => format!("it has {}", names.join(", ")),
            };
            findings.push(Finding::error(attribute.place.clone(), what, &hint));
            continue;
        };
        judge_value(attribute, value, findings);
    }
}

fn judge_value(attribute: &Attribute, value: Value, findings: &mut Vec<Finding>) {
    let name = &attribute.name;
    match &attribute.value {
        None => {
            let what = format!("\"{name}\" has no value");
            findings.push(Finding::error(attribute.place.clone(), what, &format!("write {name}=\"...\"")));
        }
        Some(_) if attribute.dynamic => {}
        Some(text) => {
            if let Err(hint) = value.check(text) {
                let what = format!("{name}=\"{text}\" is not understood");
                findings.push(Finding::error(attribute.value_at.clone(), what, &hint));
            }
        }
    }
}

/// mrml prints every value between double quotes, whatever it stood between.
fn written(attribute: &Attribute, findings: &mut Vec<Finding>) {
    let Some(value) = &attribute.value else { return };
    if let Some(at) = value.find('"').filter(|_| attribute.quote == '\'') {
        let what = format!("the double quote in \"{}\" ends the value too early", attribute.name);
        // Only up to the first tag of the template are offsets those of the file.
        let plus = if attribute.dynamic { 0 } else { at };
        findings.push(Finding::error(
            attribute.value_at.plus(plus),
            what,
            "write &quot; or single quotes inside",
        ));
    }
}

/// Where an attribute makes the reader's mail program reach out to.
fn reaches(tag: &Tag, attribute: &Attribute, findings: &mut Vec<Finding>) {
    let Some(value) = &attribute.value else { return };
    let name = attribute.name.as_str();
    let lower = value.trim_start().to_ascii_lowercase();
    if ADDRESSES.contains(&name) && lower.starts_with("http:") {
        let what = format!("\"{}\" is not encrypted", value.trim());
        findings.push(Finding::warning(attribute.value_at.clone(), what, "write https:// if it has it"));
    }
    if ADDRESSES.contains(&name) && (lower.starts_with("javascript:") || lower.starts_with("data:")) {
        let what = format!("{name} leads nowhere from a mail");
        findings.push(Finding::error(attribute.value_at.clone(), what, "write https://, mailto: or a field"));
    }
    let fonts = name.ends_with("font-family") || (name == "style" && lower.contains("font-family"));
    if let Some(font) = LINKED_FONTS.iter().find(|font| fonts && lower.contains(*font)) {
        let what = format!("\"{font}\" is a font that MJML links from somebody else's server");
        let hint = "name fonts that readers have: Georgia, 'Segoe UI', Helvetica, Arial";
        findings.push(Finding::warning(attribute.value_at.clone(), what, hint));
    }
    if tag.name == "mj-font" && name == "href" {
        let what = "each reader's mail program would ask another server for this font".to_owned();
        findings.push(Finding::warning(
            tag.place.clone(),
            what,
            "leave it out, and name fonts that readers have",
        ));
    }
}

fn pictures(tag: &Tag, findings: &mut Vec<Finding>) {
    let shown = match tag.name.as_str() {
        "mj-image" | "mj-carousel-image" => true,
        "mj-social-element" => tag.attribute("src").is_some(),
        _ => false,
    };
    if shown && tag.attribute("alt").is_none() {
        findings.push(no_alt(tag));
    }
    if let Some((_, wanted)) = FOREIGN.iter().find(|(name, _)| *name == tag.name)
        && let Some(missing) = wanted.iter().find(|name| tag.attribute(name).is_none())
    {
        let what =
            format!("<{}> without {missing} fetches its picture from somebody else's server", tag.name);
        findings.push(Finding::warning(tag.place.clone(), what, "name a picture of your own"));
    }
}

fn no_alt(tag: &Tag) -> Finding {
    let what = format!("<{}> has no alternative text", tag.name);
    Finding::warning(
        tag.place.clone(),
        what,
        "say in alt what one would see, or write alt=\"\" for an ornament",
    )
}

/// Whether holes and words may stand in an element.
pub(super) fn holds_words(name: &str) -> bool {
    Element::named(name).is_some_and(|element| element.content == Content::Words)
}
