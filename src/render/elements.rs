//! The elements of MJML as data: where each may stand, what may stand in it, and which attributes it has with which values.
//! mrml accepts any element, attribute, value and place in silence, so this table is the only thing that says no.
//!
//! Known gap: what HTML elements may have and hold is not checked beyond links, pictures and fonts.

use super::values::Value::{self, *};

/// What stands between an element's start and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Other elements of MJML only.
    Elements,
    /// Words or HTML, so that a hole may stand in it.
    Words,
    Css,
    Nothing,
}

/// One row of the table.
#[derive(Debug)]
pub(super) struct Element {
    pub name: &'static str,
    pub parents: &'static [&'static str],
    pub content: Content,
    attributes: &'static [(&'static str, Value)],
    /// Groups of attributes that many elements share.
    shared: &'static [&'static [(&'static str, Value)]],
}

impl Element {
    pub fn named(name: &str) -> Option<&'static Element> {
        ELEMENTS.iter().find(|element| element.name == name)
    }

    /// What the values of an attribute are, if the element has it.
    pub fn attribute(&self, name: &str) -> Option<Value> {
        let all = self.attributes.iter().chain(self.shared.iter().flat_map(|group| group.iter()));
        all.into_iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// The names of all attributes, for hints.
    pub fn names(&self) -> Vec<&'static str> {
        let shared = self.shared.iter().flat_map(|group| group.iter());
        let mut names: Vec<&str> = self.attributes.iter().chain(shared).map(|(name, _)| *name).collect();
        names.sort_unstable();
        names
    }
}

/// Whether any element has this attribute: what `mj-all` and `mj-class` may set.
pub(super) fn anywhere(attribute: &str) -> Option<Value> {
    ELEMENTS.iter().find_map(|element| element.attribute(attribute))
}

/// Attributes that MJML has and our renderer drops in silence, with what to do instead.
pub(super) const IGNORED: &[(&str, &str, &str)] = &[
    ("mj-divider", "align", "set width to 100%, or draw the line as a table cell in an mj-text"),
    ("mj-table", "role", "write <table role=\"presentation\"> into an mj-text"),
    ("mj-image", "sizes", "set width"),
    ("mj-style", "inline", "write a style attribute where it is needed"),
    ("mj-accordion-element", "icon-wrapped-url", "set it on the mj-accordion"),
    ("mj-accordion-element", "icon-unwrapped-url", "set it on the mj-accordion"),
];

const BODY: &[(&str, Value)] = &[("css-class", Any), ("mj-class", Any)];
const PADDING: &[(&str, Value)] = &[
    ("padding", Sides),
    ("padding-top", Length),
    ("padding-right", Length),
    ("padding-bottom", Length),
    ("padding-left", Length),
];
const INNER_PADDING: &[(&str, Value)] = &[
    ("inner-padding", Sides),
    ("inner-padding-top", Length),
    ("inner-padding-right", Length),
    ("inner-padding-bottom", Length),
    ("inner-padding-left", Length),
];
const BORDER: &[(&str, Value)] = &[
    ("border", Border),
    ("border-top", Border),
    ("border-right", Border),
    ("border-bottom", Border),
    ("border-left", Border),
    ("border-radius", Sides),
];
const BACKGROUND: &[(&str, Value)] = &[
    ("background-color", Colour),
    ("background-url", Url),
    ("background-repeat", OneOf(&["repeat", "no-repeat"])),
    ("background-size", Any),
    ("background-position", Any),
    ("background-position-x", Any),
    ("background-position-y", Any),
];
const FONT: &[(&str, Value)] = &[
    ("color", Colour),
    ("font-family", Font),
    ("font-size", FontSize),
    ("font-style", OneOf(&["normal", "italic", "oblique"])),
    ("font-weight", Weight),
    ("letter-spacing", Spacing),
    ("line-height", LineHeight),
    ("text-decoration", Any),
    ("text-transform", OneOf(&["none", "capitalize", "uppercase", "lowercase"])),
];
const LINK: &[(&str, Value)] = &[("href", Url), ("rel", Any), ("target", Any), ("title", Any), ("name", Any)];
const DIRECTION: &[(&str, Value)] = &[("direction", OneOf(&["ltr", "rtl"]))];
/// What stands in a column: its cell has a ground of its own.
const BLOCK: &[(&str, Value)] = &[("container-background-color", Colour)];
const ICONS: &[(&str, Value)] = &[
    ("icon-align", Vertical),
    ("icon-width", Length),
    ("icon-height", Length),
    ("icon-wrapped-url", Url),
    ("icon-wrapped-alt", Any),
    ("icon-unwrapped-url", Url),
    ("icon-unwrapped-alt", Any),
    ("icon-position", OneOf(&["left", "right"])),
];

const HEAD: &[&str] = &["mj-head"];
const ATTRIBUTES: &[&str] = &["mj-attributes"];
const COLUMN: &[&str] = &["mj-column", "mj-hero"];

const ALIGN: Value = OneOf(&["left", "center", "right"]);
const ALIGN_TEXT: Value = OneOf(&["left", "center", "right", "justify"]);

const ELEMENTS: &[Element] = &[
    Element {
        name: "mjml",
        parents: &[],
        content: Content::Elements,
        attributes: &[("lang", Any), ("dir", OneOf(&["auto", "ltr", "rtl"])), ("owa", Any)],
        shared: &[],
    },
    Element { name: "mj-head", parents: &["mjml"], content: Content::Elements, attributes: &[], shared: &[] },
    Element {
        name: "mj-body",
        parents: &["mjml"],
        content: Content::Elements,
        attributes: &[("background-color", Colour), ("width", Pixels)],
        shared: &[BODY],
    },
    Element {
        name: "mj-attributes",
        parents: HEAD,
        content: Content::Elements,
        attributes: &[],
        shared: &[],
    },
    Element { name: "mj-all", parents: ATTRIBUTES, content: Content::Nothing, attributes: &[], shared: &[] },
    Element {
        name: "mj-class",
        parents: ATTRIBUTES,
        content: Content::Elements,
        attributes: &[("name", Any)],
        shared: &[],
    },
    Element {
        name: "mj-breakpoint",
        parents: HEAD,
        content: Content::Nothing,
        attributes: &[("width", Pixels)],
        shared: &[],
    },
    Element {
        name: "mj-font",
        parents: HEAD,
        content: Content::Nothing,
        attributes: &[("name", Any), ("href", Url)],
        shared: &[],
    },
    Element { name: "mj-preview", parents: HEAD, content: Content::Words, attributes: &[], shared: &[] },
    Element { name: "mj-title", parents: HEAD, content: Content::Words, attributes: &[], shared: &[] },
    Element { name: "mj-style", parents: HEAD, content: Content::Css, attributes: &[], shared: &[] },
    Element {
        name: "mj-raw",
        parents: &["mj-head", "mj-body", "mj-wrapper", "mj-section", "mj-group", "mj-column", "mj-hero"],
        content: Content::Words,
        attributes: &[("position", OneOf(&["file-start"]))],
        shared: &[],
    },
    Element {
        name: "mj-wrapper",
        parents: &["mj-body"],
        content: Content::Elements,
        attributes: &[("full-width", OneOf(&["full-width", "false"])), ("text-align", ALIGN)],
        shared: &[BODY, PADDING, BORDER, BACKGROUND, DIRECTION],
    },
    Element {
        name: "mj-section",
        parents: &["mj-body", "mj-wrapper"],
        content: Content::Elements,
        attributes: &[("full-width", OneOf(&["full-width", "false"])), ("text-align", ALIGN)],
        shared: &[BODY, PADDING, BORDER, BACKGROUND, DIRECTION],
    },
    Element {
        name: "mj-hero",
        parents: &["mj-body", "mj-wrapper"],
        content: Content::Elements,
        attributes: &[
            ("mode", Fixed),
            ("height", Pixels),
            ("width", Length),
            ("align", ALIGN),
            ("background-height", Pixels),
            ("background-width", Pixels),
            ("vertical-align", Vertical),
            ("inner-background-color", Colour),
            ("border-radius", Sides),
        ],
        shared: &[BODY, PADDING, INNER_PADDING, BACKGROUND, BLOCK],
    },
    Element {
        name: "mj-group",
        parents: &["mj-section"],
        content: Content::Elements,
        attributes: &[("width", Length), ("vertical-align", Vertical), ("background-color", Colour)],
        shared: &[BODY, DIRECTION],
    },
    Element {
        name: "mj-column",
        parents: &["mj-section", "mj-group"],
        content: Content::Elements,
        attributes: &[
            ("width", Length),
            ("vertical-align", Vertical),
            ("background-color", Colour),
            ("inner-background-color", Colour),
            ("inner-border", Border),
            ("inner-border-top", Border),
            ("inner-border-right", Border),
            ("inner-border-bottom", Border),
            ("inner-border-left", Border),
            ("inner-border-radius", Sides),
        ],
        shared: &[BODY, PADDING, BORDER, DIRECTION],
    },
    Element {
        name: "mj-text",
        parents: COLUMN,
        content: Content::Words,
        attributes: &[("align", ALIGN_TEXT), ("height", Pixels)],
        shared: &[BODY, PADDING, FONT, BLOCK],
    },
    Element {
        name: "mj-button",
        parents: COLUMN,
        content: Content::Words,
        attributes: &[
            ("align", ALIGN),
            ("background-color", Colour),
            ("height", Pixels),
            ("width", Length),
            ("text-align", ALIGN),
            ("vertical-align", Vertical),
        ],
        shared: &[BODY, PADDING, INNER_PADDING, BORDER, FONT, LINK, BLOCK],
    },
    Element {
        name: "mj-image",
        parents: COLUMN,
        content: Content::Nothing,
        attributes: &[
            ("src", Url),
            ("srcset", Any),
            ("alt", Any),
            ("align", ALIGN),
            ("width", Pixels),
            ("height", PixelsOrAuto),
            ("max-height", Length),
            ("fluid-on-mobile", OneOf(&["true", "false"])),
            ("full-width", OneOf(&["full-width", "false"])),
            ("font-size", FontSize),
            ("usemap", Any),
        ],
        shared: &[BODY, PADDING, BORDER, LINK, BLOCK],
    },
    Element {
        name: "mj-divider",
        parents: COLUMN,
        content: Content::Nothing,
        attributes: &[
            ("border-color", Colour),
            ("border-style", Any),
            ("border-width", Pixels),
            ("width", Length),
        ],
        shared: &[BODY, PADDING, BLOCK],
    },
    Element {
        name: "mj-spacer",
        parents: COLUMN,
        content: Content::Nothing,
        attributes: &[("height", Pixels)],
        shared: &[BODY, PADDING, BLOCK],
    },
    Element {
        name: "mj-table",
        parents: COLUMN,
        content: Content::Words,
        attributes: &[
            ("align", ALIGN),
            ("border", Border),
            ("cellpadding", Number),
            ("cellspacing", Number),
            ("table-layout", OneOf(&["auto", "fixed", "initial", "inherit"])),
            ("width", LengthOrAuto),
        ],
        shared: &[BODY, PADDING, FONT, BLOCK],
    },
    Element {
        name: "mj-accordion",
        parents: COLUMN,
        content: Content::Elements,
        attributes: &[("border", Border), ("font-family", Font)],
        shared: &[BODY, PADDING, ICONS, BLOCK],
    },
    Element {
        name: "mj-accordion-element",
        parents: &["mj-accordion"],
        content: Content::Elements,
        attributes: &[("background-color", Colour), ("border", Border), ("font-family", Font)],
        shared: &[BODY, ICONS],
    },
    Element {
        name: "mj-accordion-title",
        parents: &["mj-accordion-element"],
        content: Content::Words,
        attributes: &[("background-color", Colour)],
        shared: &[BODY, PADDING, FONT],
    },
    Element {
        name: "mj-accordion-text",
        parents: &["mj-accordion-element"],
        content: Content::Words,
        attributes: &[("background-color", Colour)],
        shared: &[BODY, PADDING, FONT],
    },
    Element {
        name: "mj-carousel",
        parents: COLUMN,
        content: Content::Elements,
        attributes: &[
            ("align", ALIGN),
            ("border-radius", Sides),
            ("icon-width", Length),
            ("left-icon", Url),
            ("right-icon", Url),
            ("tb-border", Border),
            ("tb-border-radius", Sides),
            ("tb-hover-border-color", Colour),
            ("tb-selected-border-color", Colour),
            ("tb-width", Length),
            ("thumbnails", OneOf(&["visible", "hidden", "supported"])),
        ],
        shared: &[BODY, PADDING, BLOCK],
    },
    Element {
        name: "mj-carousel-image",
        parents: &["mj-carousel"],
        content: Content::Nothing,
        attributes: &[
            ("src", Url),
            ("thumbnails-src", Url),
            ("alt", Any),
            ("border-radius", Sides),
            ("tb-border", Border),
            ("tb-border-radius", Sides),
        ],
        shared: &[BODY, LINK],
    },
    Element {
        name: "mj-navbar",
        parents: COLUMN,
        content: Content::Elements,
        attributes: &[
            ("align", ALIGN),
            ("base-url", Url),
            ("hamburger", OneOf(&["hamburger"])),
            ("ico-align", ALIGN),
            ("ico-open", Any),
            ("ico-close", Any),
            ("ico-color", Colour),
            ("ico-font-family", Font),
            ("ico-font-size", FontSize),
            ("ico-line-height", LineHeight),
            ("ico-padding", Sides),
            ("ico-padding-top", Length),
            ("ico-padding-right", Length),
            ("ico-padding-bottom", Length),
            ("ico-padding-left", Length),
            ("ico-text-decoration", Any),
            ("ico-text-transform", Any),
        ],
        shared: &[BODY, PADDING, BLOCK],
    },
    Element {
        name: "mj-navbar-link",
        parents: &["mj-navbar"],
        content: Content::Words,
        attributes: &[],
        shared: &[BODY, PADDING, FONT, LINK],
    },
    Element {
        name: "mj-social",
        parents: COLUMN,
        content: Content::Elements,
        attributes: &[
            ("align", ALIGN),
            ("mode", OneOf(&["horizontal", "vertical"])),
            ("border-radius", Sides),
            ("icon-size", Length),
            ("icon-height", Length),
            ("icon-padding", Sides),
            ("text-padding", Sides),
        ],
        shared: &[BODY, PADDING, INNER_PADDING, FONT, BLOCK],
    },
    Element {
        name: "mj-social-element",
        parents: &["mj-social"],
        content: Content::Words,
        attributes: &[
            ("src", Url),
            ("alt", Any),
            ("align", ALIGN),
            ("background-color", Colour),
            ("border-radius", Sides),
            ("icon-size", Length),
            ("icon-height", Length),
            ("icon-padding", Sides),
            ("icon-position", OneOf(&["left"])),
            ("text-padding", Sides),
            ("vertical-align", Vertical),
        ],
        shared: &[BODY, PADDING, FONT, LINK],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Every parent is an element that holds elements, and no attribute stands twice in a row of the table.
    #[test]
    fn the_table_agrees_with_itself() {
        for element in ELEMENTS {
            for parent in element.parents {
                let parent = Element::named(parent).unwrap();
                assert!(matches!(parent.content, Content::Elements), "{} in {}", element.name, parent.name);
            }
            let names = element.names();
            let mut once = names.clone();
            once.dedup();
            assert_eq!(names, once, "{}", element.name);
        }
        for (element, attribute, _) in IGNORED {
            let known = Element::named(element).unwrap().attribute(attribute);
            assert!(known.is_none() || attribute.starts_with("icon-"), "{element} {attribute}");
        }
    }
}
