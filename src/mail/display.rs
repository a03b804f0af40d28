//! The HTML of a received message as a page may show it: words and their structure, and nothing that acts or asks another server.
//!
//! No script, style, form, frame or picture; no attribute but the target of a link, which opens without telling where from. A picture
//! would have to be fetched from whoever wrote the message (W228 and every tracker) or be one of the attached ones, which the page
//! lists. What is left out is said in [`Displayed::pictures`]. Known gap: quotes are not folded in this form.

use std::collections::{HashMap, HashSet};

use super::mime;

/// Octets of HTML that are looked at; more is shown as text only.
const HTML_MAX: usize = 256 << 10;

/// Elements within each other. Beyond it the parser's time grows with the square of them.
const DEPTH_MAX: usize = 200;

/// Elements that end by themselves where the next one begins, or have no end at all.
const ENDED: [&str; 15] =
    ["p", "li", "td", "th", "tr", "dd", "dt", "br", "img", "hr", "meta", "link", "input", "o:p", "!doctype"];

/// Elements that structure words.
const KEPT: [&str; 33] = [
    "a",
    "abbr",
    "b",
    "blockquote",
    "br",
    "code",
    "dd",
    "del",
    "div",
    "dl",
    "dt",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "li",
    "ol",
    "p",
    "pre",
    "s",
    "span",
    "strong",
    "sub",
    "sup",
    "table",
    "tr",
    "td",
    "ul",
];

/// HTML for a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Displayed {
    pub html: String,
    /// Pictures that are left out.
    pub pictures: usize,
}

/// The HTML form of a message, fit for display; `None` where it has none, or too much of it, or it goes too deep. Costs what parsing costs: off the reactor.
pub fn displayed(raw: &[u8]) -> Option<Displayed> {
    let content = mime::read_whole(super::parse::without_mbox_line(raw));
    let whole = content.html.join("\n");
    let fit = !whole.is_empty() && whole.len() <= HTML_MAX && depth(&whole) <= DEPTH_MAX;
    fit.then(|| sanitised(&whole))
}

/// How many elements are open at once, at most. Those that are never closed count for as long as the text goes on.
fn depth(html: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for piece in html.split('<').skip(1) {
        let closes = piece.starts_with('/');
        let name = piece.trim_start_matches('/');
        let end = name.find(|c: char| c.is_whitespace() || c == '>' || c == '/').unwrap_or(name.len());
        let name = name[..end].to_ascii_lowercase();
        if name.is_empty() || name.starts_with('!') || ENDED.contains(&name.as_str()) {
            continue;
        }
        open = if closes { open.saturating_sub(1) } else { open + 1 };
        most = most.max(open);
    }
    most
}

fn sanitised(html: &str) -> Displayed {
    let lower = html.to_ascii_lowercase();
    let pictures = lower.matches("<img").count();
    let mut builder = ammonia::Builder::empty();
    builder
        .tags(HashSet::from(KEPT))
        .clean_content_tags(HashSet::from(["script", "style", "title", "template", "head"]))
        .tag_attributes(HashMap::from([("a", HashSet::from(["href"]))]))
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        .url_relative(ammonia::UrlRelative::Deny)
        .link_rel(Some("noopener noreferrer nofollow"))
        .strip_comments(true);
    Displayed { html: builder.clean(html).to_string(), pictures }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(html: &str) -> String {
        sanitised(html).html
    }

    #[test]
    fn words_and_links_stay() {
        let html = "<div><p>Hello <b>you</b>,<br>see <a href=\"https://x.example/a?b=1&amp;c=2\">this</a></p><ul><li>one</ul></div>";
        let kept = "<div><p>Hello <b>you</b>,<br>see <a href=\"https://x.example/a?b=1&amp;c=2\" \
            rel=\"noopener noreferrer nofollow\">this</a></p><ul><li>one</li></ul></div>";
        assert_eq!(shown(html), kept);
    }

    #[test]
    fn nothing_acts_and_nothing_is_fetched() {
        for html in [
            "<script>x</script>",
            "<img src=https://t.example/p.gif onerror=x>",
            "<p style=\"background:url(https://t.example/p)\">a</p>",
            "<table background=https://t.example/p><tr><td>a</table>",
            "<a href=\"javascript:x\">a</a>",
            "<a href=\"data:text/html,x\">a</a>",
            "<a href=\"/editions/cancel\">a</a>",
            "<link rel=stylesheet href=https://t.example/s><style>@import 'https://t.example'</style>",
            "<iframe src=https://t.example></iframe><object data=https://t.example></object>",
            "<form action=https://t.example><input name=x></form>",
            "<svg><a xlink:href=\"javascript:x\"><animate onbegin=x></a></svg>",
            "<base href=https://t.example><meta http-equiv=refresh content='0;url=https://t.example'>",
            "<video poster=https://t.example/p><source src=https://t.example/v></video>",
            "<p id=main class=notice onclick=x>a</p>",
        ] {
            let out = shown(html);
            for word in
                ["t.example", "javascript", "on", "data:", "style", "class", "id=", "editions", "src", "form"]
            {
                assert!(
                    !out.contains(word) || word == "on" && !out.contains("onclick"),
                    "{word} in {out} of {html}"
                );
            }
        }
        assert_eq!(sanitised("<IMG src=a><img src=b>").pictures, 2);
    }

    #[test]
    fn a_message_without_html_or_with_too_much_has_none() {
        assert_eq!(displayed(b"From: a@x.example\n\nwords"), None);
        let long = format!("From: a@x.example\nContent-Type: text/html\n\n<p>{}", "a".repeat(HTML_MAX));
        assert_eq!(displayed(long.as_bytes()), None);
        let raw =
            b"From: a@x.example\nContent-Type: text/html; charset=iso-8859-1\n\n<p>caf\xe9<script>x</script>";
        assert_eq!(displayed(raw).unwrap().html, "<p>caf\u{e9}</p>");
        let nested = |count: usize, open: &str| {
            displayed(
                format!("From: a@x.example\nContent-Type: text/html\n\n{}x", open.repeat(count)).as_bytes(),
            )
        };
        for open in ["<div>", "<b>", "<table><tr><td>", "<a href=x>", "</p><font>"] {
            assert_eq!(nested(20_000, open), None, "{open}");
        }
        assert!(nested(DEPTH_MAX, "<div>").is_some() && nested(2_000, "<p>a<br>").is_some());
    }
}
