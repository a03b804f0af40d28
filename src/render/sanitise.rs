//! Raw HTML in articles: an allow list, applied to what Markdown made before any style of ours is added.
//!
//! Ammonia's output is normalised (lower case, double quotes, every `<` of text escaped), so the styles of inline elements
//! are put on by replacing whole start tags afterwards.

use std::collections::HashSet;
use std::sync::LazyLock;

use ammonia::{Builder, UrlRelative};

const INLINE: &[&str] = &[
    "a", "abbr", "b", "br", "cite", "code", "del", "em", "i", "img", "ins", "kbd", "mark", "q", "s", "small",
    "strong", "sub", "sup", "u",
];
const BLOCK: &[&str] = &[
    "blockquote",
    "caption",
    "dd",
    "div",
    "dl",
    "dt",
    "figcaption",
    "figure",
    "h2",
    "h3",
    "hr",
    "li",
    "ol",
    "p",
    "pre",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "ul",
];
/// What these enclose is dropped with them.
const WITH_CONTENT: &[&str] = &[
    "script", "style", "iframe", "object", "embed", "form", "button", "select", "textarea", "template",
    "svg", "math",
];

static INLINE_HTML: LazyLock<Builder<'static>> = LazyLock::new(|| builder(INLINE.iter().copied().collect()));
static BLOCK_HTML: LazyLock<Builder<'static>> =
    LazyLock::new(|| builder(INLINE.iter().chain(BLOCK).copied().collect()));
static WORDS: LazyLock<Builder<'static>> = LazyLock::new(|| builder(HashSet::new()));

fn builder(tags: HashSet<&'static str>) -> Builder<'static> {
    let mut builder = Builder::empty();
    let attributes = |names: &[&'static str]| names.iter().copied().collect::<HashSet<_>>();
    builder
        .tags(tags)
        .clean_content_tags(WITH_CONTENT.iter().copied().collect())
        .tag_attributes(
            [
                ("a", attributes(&["href"])),
                ("img", attributes(&["src", "alt"])),
                ("td", attributes(&["colspan", "rowspan"])),
                ("th", attributes(&["colspan", "rowspan", "scope"])),
                ("ol", attributes(&["start"])),
            ]
            .into_iter()
            .collect(),
        )
        .url_schemes(attributes(&["http", "https", "mailto"]))
        .url_relative(UrlRelative::Deny)
        .link_rel(None)
        .strip_comments(true);
    builder
}

/// An article's HTML without the styles that mail needs: a page has a style sheet, and its policy forbids any other (W209).
pub fn plain_html(html: &str) -> String {
    static PLAIN: LazyLock<Builder<'static>> = LazyLock::new(|| {
        let mut builder = builder(INLINE.iter().chain(BLOCK).copied().chain(["span"]).collect());
        builder.generic_attributes(["class"].into_iter().collect());
        builder
    });
    PLAIN.clean(html).to_string()
}

/// The words of a paragraph or a cell.
pub(super) fn inline(html: &str) -> String {
    INLINE_HTML.clean(html).to_string()
}

/// A block of raw HTML.
pub(super) fn block(html: &str) -> String {
    BLOCK_HTML.clean(html).to_string()
}

/// What is left of raw HTML without its tags, for the text part.
pub(super) fn words(html: &str) -> String {
    let text = WORDS.clean(html).to_string();
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&")]
        .iter()
        .fold(text, |text, (entity, plain)| text.replace(entity, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_styles_and_forms_go_with_what_they_hold() {
        for raw in [
            "a<script>x</script>",
            "a<style>x{}</style>",
            "a<iframe src=x>x</iframe>",
            "a<form><input>x</form>",
            "a<img src=x onerror=x>",
            "a<svg><script>x</script></svg>",
            "a<a href='javascript:x'></a>",
        ] {
            for clean in [inline(raw), block(raw)] {
                assert!(clean.starts_with('a') && !clean.contains('x'), "{raw}: {clean}");
            }
            assert_eq!(words(raw).trim_end_matches('x'), "a", "{raw}");
        }
        assert_eq!(inline("<b class=k style=color:red onclick=x>y</b>"), "<b>y</b>");
        assert_eq!(words("<p>a &lt;b&gt; &amp;lt;</p>"), "a <b> &lt;");
    }
}
