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

const ATTRIBUTES: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("img", &["src", "alt"]),
    ("td", &["colspan", "rowspan"]),
    ("th", &["colspan", "rowspan", "scope"]),
    ("ol", &["start"]),
];
/// On every element.
const EVERYWHERE: &[&str] = &["lang", "title"];
const SCHEMES: &[&str] = &["http", "https", "mailto"];

static INLINE_HTML: LazyLock<Builder<'static>> = LazyLock::new(|| builder(INLINE.iter().copied().collect()));
static BLOCK_HTML: LazyLock<Builder<'static>> =
    LazyLock::new(|| builder(INLINE.iter().chain(BLOCK).copied().collect()));
static WORDS: LazyLock<Builder<'static>> = LazyLock::new(|| builder(HashSet::new()));

fn builder(tags: HashSet<&'static str>) -> Builder<'static> {
    let mut builder = Builder::empty();
    let set = |names: &[&'static str]| names.iter().copied().collect::<HashSet<_>>();
    builder
        .tags(tags)
        .clean_content_tags(WITH_CONTENT.iter().copied().collect())
        .tag_attributes(ATTRIBUTES.iter().map(|(tag, names)| (*tag, set(names))).collect())
        .generic_attributes(set(EVERYWHERE))
        .url_schemes(set(SCHEMES))
        .url_relative(UrlRelative::Deny)
        .link_rel(None)
        .strip_comments(true);
    builder
}

/// An article's HTML without the styles that mail needs: a page has a style sheet, and its policy forbids any other (W209).
pub fn plain_html(html: &str) -> String {
    static PLAIN: LazyLock<Builder<'static>> = LazyLock::new(|| {
        let mut builder = builder(INLINE.iter().chain(BLOCK).copied().chain(["span"]).collect());
        // The role tells tables that lay something out from those that hold figures.
        builder.generic_attributes(["class", "role"].into_iter().collect());
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

/// Something that the allow list takes away.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dropped {
    /// Offset in what was looked at.
    pub at: usize,
    pub what: String,
    pub hint: String,
}

/// What [`block`] or [`inline`] will leave out of `html`, in its order. Comments are left out without a word.
pub(super) fn dropped(html: &str, is_block: bool) -> Vec<Dropped> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = html[at..].find('<').map(|found| at + found) {
        let rest = &html[open..];
        if rest.starts_with("<!--") {
            at = open + rest.find("-->").map_or(rest.len(), |end| end + 3);
            continue;
        }
        let name: String = rest[1..].chars().take_while(char::is_ascii_alphanumeric).collect();
        if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            at = open + 1;
            continue;
        }
        let name_end = open + 1 + name.len();
        let (attributes, end) = attributes(html, name_end);
        at = end;
        let tag = name.to_ascii_lowercase();
        if WITH_CONTENT.contains(&tag.as_str()) {
            let what = format!("<{name}> is left out, and all that it holds");
            let hint = "say it in words, or link to a page that has it".to_owned();
            found.push(Dropped { at: open, what, hint });
            let close = format!("</{tag}");
            at = html[end..].to_ascii_lowercase().find(&close).map_or(html.len(), |close| end + close);
        } else if !(INLINE.contains(&tag.as_str()) || is_block && BLOCK.contains(&tag.as_str())) {
            let (kept, place) = match is_block {
                true => ([INLINE, BLOCK].concat(), ""),
                false => (INLINE.to_vec(), " among words"),
            };
            let what = format!("<{name}> is left out, what it holds stays");
            found.push(Dropped { at: open, what, hint: format!("kept{place} are {}", kept.join(", ")) });
        } else {
            found.extend(attributes.into_iter().filter_map(|attribute| attribute.dropped(&tag)));
        }
    }
    found
}

struct Attribute<'a> {
    at: usize,
    name: &'a str,
    value: &'a str,
}

impl Attribute<'_> {
    fn dropped(&self, tag: &str) -> Option<Dropped> {
        let name = self.name.to_ascii_lowercase();
        if EVERYWHERE.contains(&name.as_str()) {
            return None;
        }
        let allowed = ATTRIBUTES.iter().find(|(known, _)| *known == tag).map_or(&[][..], |(_, names)| names);
        if !allowed.contains(&name.as_str()) {
            let hint = match allowed.is_empty() {
                true => "mails bring their own looks; write the tag alone".to_owned(),
                false => format!("kept of <{tag}> are {}", allowed.join(", ")),
            };
            return Some(Dropped {
                at: self.at,
                what: format!("the attribute {} of <{tag}> is left out", self.name),
                hint,
            });
        }
        let scheme = self.value.trim().split(':').next().unwrap_or_default().to_ascii_lowercase();
        let leads_nowhere = !self.value.contains(':') || !SCHEMES.contains(&scheme.as_str());
        (matches!(name.as_str(), "href" | "src") && leads_nowhere).then(|| Dropped {
            at: self.at,
            what: format!(
                "the attribute {} of <{tag}> is left out, because \"{}\" is no address of its own",
                self.name, self.value
            ),
            hint: "write a whole one with https:, http: or mailto:, or use Markdown's links and pictures"
                .to_owned(),
        })
    }
}

/// The attributes of a tag whose name ends at `from`, and where the tag ends.
fn attributes(html: &str, from: usize) -> (Vec<Attribute<'_>>, usize) {
    let mut found = Vec::new();
    let mut at = from;
    let is_space = |c: char| c.is_ascii_whitespace() || c == '/';
    loop {
        at += html[at..].find(|c| !is_space(c)).unwrap_or(html.len() - at);
        if html[at..].is_empty() || html[at..].starts_with('>') {
            return (found, (at + 1).min(html.len()));
        }
        let start = at;
        // A name holds at least one character, whatever it is.
        let first = html[at..].chars().next().map_or(0, char::len_utf8);
        at += first;
        at += html[at..].find(|c| is_space(c) || matches!(c, '=' | '>')).unwrap_or(html.len() - at);
        let name = &html[start..at];
        let mut value = "";
        let blank = html[at..].len() - html[at..].trim_start().len();
        if html[at + blank..].starts_with('=') {
            at += blank + 1;
            at += html[at..].len() - html[at..].trim_start().len();
            let quote = html[at..].chars().next().filter(|quote| matches!(quote, '"' | '\''));
            at += usize::from(quote.is_some());
            let end = match quote {
                Some(quote) => html[at..].find(quote),
                None => html[at..].find(|c: char| c.is_ascii_whitespace() || c == '>'),
            };
            let end = at + end.unwrap_or(html.len() - at);
            value = &html[at..end];
            at = (end + usize::from(quote.is_some())).min(html.len());
        }
        found.push(Attribute { at: start, name, value });
    }
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

    #[test]
    fn what_is_dropped_is_told_and_nothing_else() {
        for (html, expected) in [
            ("<b>x</b> <br/> a < b <!-- <font> --> &lt;", vec![]),
            ("<a href='https://x.example/?a=1'>x</a><a href=mailto:x@y.example>y</a>", vec![]),
            ("ü<font color=red>x</font>", vec![(2, "<font>")]),
            ("<B STYLE = \"a>b\" class>x</B>", vec![(3, "attribute STYLE"), (17, "attribute class")]),
            ("<img src=x.png alt='y'/>", vec![(5, "attribute src")]),
            ("<a href='javascript:x' title=z>x</a>", vec![(3, "attribute href")]),
            ("<script>if (a<b) '<i class=x>'</script><u x>", vec![(0, "<script>"), (42, "attribute x")]),
            ("<style>b<i", vec![(0, "<style>")]),
            ("<b =x", vec![(3, "attribute =x")]),
            ("<", vec![]),
            ("<p>x</p>", vec![(0, "<p>")]),
        ] {
            let found = dropped(html, false);
            let shown: Vec<_> = found.iter().map(|one| (one.at, one.what.as_str())).collect();
            assert_eq!(shown.len(), expected.len(), "{html}: {found:?}");
            for ((at, what), (expected_at, words)) in shown.iter().zip(&expected) {
                assert!(at == expected_at && what.contains(words), "{html}: {found:?}");
            }
            // What is told is what is done, both ways.
            assert_eq!(dropped(&inline(html), false), [], "{html}");
            assert_eq!(inline(&inline(html)), inline(html));
        }
        assert_eq!(dropped("<p>x</p><table><tr><td width=3>", true).len(), 1);
    }
}
