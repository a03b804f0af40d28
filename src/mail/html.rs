//! HTML to plain text, for reading by people: one pass, no tree, nothing kept but words and lines.
//!
//! Block elements and `<br>` end lines, `head`, `style` and `script` are left out, quoted blocks become lines with `> ` so that
//! the same folding serves both kinds of mail. A blockquote is a quote when it says so (`type=cite`, or a class of a known client)
//! or when a line that ends in a colon stands before it; otherwise people use it for their own words. What a client marks as
//! the writer's signature becomes quoted lines behind `> -- `. Known gaps: tables become lines, lists lose their numbers.

use mail_parser::decoders::html::add_html_token;

/// Elements that end a line before and after.
const BLOCKS: [&str; 20] = [
    "p",
    "div",
    "tr",
    "table",
    "ul",
    "ol",
    "li",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "pre",
    "section",
    "article",
    "header",
    "footer",
    "hr",
    "blockquote",
];
/// Elements whose text nobody sees.
const HIDDEN: [&str; 5] = ["head", "style", "script", "title", "template"];
const QUOTE_CLASSES: [&str; 4] = ["gmail_quote", "yahoo_quoted", "protonmail_quote", "moz-cite"];
/// Elements that can be a quote or a signature as a whole: those that programs close.
const MARKABLE: [&str; 4] = ["div", "span", "table", "section"];
/// Attributes of a quote that is no blockquote: Yahoo.
const QUOTE_MARKS: [&str; 1] = ["class=yahoo_quoted"];
/// Attributes of a signature: Gmail, Thunderbird, Apple Mail (two), Outlook (two), Proton, Evolution, Zimbra.
const SIGNATURE_MARKS: [&str; 9] = [
    "gmail_signature",
    "moz-signature",
    "applemailsignature",
    "apple-mail-signature",
    "id=signature",
    "ms-outlook-mobile-signature",
    "protonmail_signature_block",
    "-x-evo-signature",
    "data-marker=__sig_",
];
/// The first line of a signature.
pub(super) const SIGNATURE: &str = "> --";
/// A longer line is no headline of a quote.
const HEADLINE_MAX: usize = 120;
/// How far quoted attributes are followed. Without a limit, unpaired marks would make the cost quadratic.
const QUOTED_TAG_MAX: usize = 2048;
/// More levels of quoting than anybody reads.
const QUOTES_MAX: usize = 8;

/// The text of an HTML document or fragment. Never fails; broken markup is text.
pub fn to_text(html: &str) -> String {
    write(html).finish()
}

/// The ids of the attached pictures that it shows, in lower case, and whether in a quote or a signature.
pub(super) fn pictures(html: &str) -> Vec<(String, bool)> {
    write(html).pictures
}

fn write(html: &str) -> Writer {
    let mut writer = Writer::default();
    let mut rest = html;
    while let Some(open) = rest.find('<') {
        writer.text(&rest[..open]);
        let after = &rest[open..];
        if let Some(comment) = after.strip_prefix("<!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        if !after[1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '!' || c == '?') {
            writer.text("<");
            rest = &after[1..];
            continue;
        }
        let Some(close) = tag_end(after) else {
            rest = "";
            break;
        };
        let tag = Tag::of(&after[1..close]);
        rest = &after[close + 1..];
        if !tag.closes && HIDDEN.contains(&tag.name.as_str()) {
            rest = behind(rest, &tag.name);
            continue;
        }
        writer.tag(&tag);
    }
    writer.text(rest);
    writer
}

/// The `>` that ends a tag; one inside a quoted attribute does not.
fn tag_end(tag: &str) -> Option<usize> {
    let mut quote = None;
    for (at, octet) in tag.bytes().enumerate().take(QUOTED_TAG_MAX) {
        match (quote, octet) {
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') => quote = Some(octet),
            (Some(open), octet) if open == octet => quote = None,
            _ => {}
        }
    }
    // An unpaired quotation mark, or too long to look for one: the plain end is better than none.
    tag.find('>')
}

/// What follows the end tag of `name`, or nothing.
fn behind<'a>(rest: &'a str, name: &str) -> &'a str {
    let end = format!("</{name}");
    let mut at = 0;
    while let Some(found) = rest[at..].find("</") {
        at += found;
        if rest.get(at..at + end.len()).is_some_and(|tag| tag.eq_ignore_ascii_case(&end)) {
            return rest[at..].find('>').map_or("", |close| &rest[at + close + 1..]);
        }
        at += 2;
    }
    ""
}

struct Tag {
    name: String,
    closes: bool,
    /// Everything behind the name, in lower case.
    attributes: String,
}

impl Tag {
    fn of(inside: &str) -> Tag {
        let closes = inside.starts_with('/');
        let inside = inside.trim_start_matches('/');
        let end = inside.find(|c: char| c.is_whitespace() || c == '/').unwrap_or(inside.len());
        Tag {
            name: inside[..end].to_ascii_lowercase(),
            closes,
            attributes: inside[end..].to_ascii_lowercase(),
        }
    }

    fn says_quote(&self) -> bool {
        let squeezed: String = self.attributes.chars().filter(|c| !matches!(c, '"' | '\'' | ' ')).collect();
        squeezed.contains("type=cite") || QUOTE_CLASSES.iter().any(|class| self.attributes.contains(class))
    }

    /// What the element as a whole is, if it is marked.
    fn mark(&self) -> Option<Mark> {
        if !MARKABLE.contains(&self.name.as_str()) || self.attributes.is_empty() {
            return None;
        }
        let squeezed: String = self.attributes.chars().filter(|c| !matches!(c, '"' | '\'' | ' ')).collect();
        let has = |marks: &[&str]| marks.iter().any(|mark| squeezed.contains(mark));
        // Gmail marks the two dashes before a signature as well; they are a line of their own.
        let signature = has(&SIGNATURE_MARKS) && !squeezed.contains("gmail_signature_prefix");
        (signature || has(&QUOTE_MARKS)).then(|| Mark { name: self.name.clone(), open: 1, signature })
    }
}

/// An open element that is a quote or a signature.
struct Mark {
    name: String,
    /// Elements of its name that are open within it, itself included.
    open: usize,
    signature: bool,
}

#[derive(Default)]
struct Writer {
    out: String,
    line: String,
    marks: Vec<Mark>,
    pictures: Vec<(String, bool)>,
    /// For each open blockquote, whether it is a quote.
    quotes: Vec<bool>,
    /// Depth of `pre`.
    preformatted: usize,
    /// White space is due before the next word.
    gap: bool,
    /// The last line with words, to find the headline of a quote.
    headline: bool,
}

impl Writer {
    fn text(&mut self, raw: &str) {
        let mut rest = raw;
        while let Some(at) = rest.find('&') {
            self.words(&rest[..at]);
            let entity = &rest[at..];
            let end = entity.bytes().take(32).position(|octet| octet == b';');
            let Some(end) = end else {
                self.words("&");
                rest = &entity[1..];
                continue;
            };
            let mut decoded = String::new();
            add_html_token(&mut decoded, &entity.as_bytes()[..=end], false);
            self.words(&decoded.replace('\u{a0}', " "));
            rest = &entity[end + 1..];
        }
        self.words(rest);
    }

    fn words(&mut self, text: &str) {
        for c in text.chars() {
            if self.preformatted > 0 && c == '\n' {
                self.end_line(false);
            } else if self.preformatted == 0 && c.is_whitespace() {
                self.gap = true;
            } else {
                if self.gap && !self.line.is_empty() {
                    self.line.push(' ');
                }
                self.gap = false;
                self.line.push(c);
            }
        }
    }

    fn tag(&mut self, tag: &Tag) {
        self.follow_marks(tag);
        if tag.name == "img"
            && let Some(id) = tag.attributes.split_once("cid:").map(|(_, id)| id)
        {
            let end = id.find(['"', '\'', ' ', '>']).unwrap_or(id.len());
            let beside = self.quotes.contains(&true) || !self.marks.is_empty();
            self.pictures.push((id[..end].to_owned(), beside));
        }
        if tag.name == "br" {
            self.end_line(false);
            return;
        }
        if tag.name == "td" || tag.name == "th" {
            self.gap = true;
        }
        if !BLOCKS.contains(&tag.name.as_str()) {
            return;
        }
        self.end_line(true);
        match (tag.name.as_str(), tag.closes) {
            ("blockquote", false) if self.quotes.len() < QUOTES_MAX => {
                self.quotes.push(tag.says_quote() || self.headline);
            }
            ("blockquote", true) => {
                self.quotes.pop();
            }
            ("pre", false) => self.preformatted += 1,
            ("pre", true) => self.preformatted = self.preformatted.saturating_sub(1),
            ("p", _) => self.empty_line(),
            ("li", false) => self.line.push_str("- "),
            _ => {}
        }
    }

    fn follow_marks(&mut self, tag: &Tag) {
        if let Some(top) = self.marks.last_mut()
            && top.name == tag.name
        {
            top.open = if tag.closes { top.open.saturating_sub(1) } else { top.open + 1 };
            if top.open == 0 {
                self.end_line(true);
                self.marks.pop();
            }
            return;
        }
        let within_signature = self.marks.iter().any(|mark| mark.signature);
        if tag.closes || within_signature || self.marks.len() == QUOTES_MAX {
            return;
        }
        if let Some(mark) = tag.mark() {
            self.end_line(true);
            if mark.signature && !self.quotes.contains(&true) {
                self.out.push_str(SIGNATURE);
                self.out.push_str(" \n");
            }
            self.marks.push(mark);
        }
    }

    fn end_line(&mut self, only_full: bool) {
        let line = std::mem::take(&mut self.line);
        let line = line.trim_end();
        self.gap = false;
        if only_full && line.is_empty() {
            return;
        }
        for _ in 0..self.quotes.iter().filter(|quote| **quote).count() + self.marks.len() {
            self.out.push_str("> ");
        }
        self.out.push_str(line);
        self.out.push('\n');
        if !line.is_empty() {
            self.headline = line.ends_with(':') && line.chars().count() <= HEADLINE_MAX;
        }
    }

    fn empty_line(&mut self) {
        let quoted = !self.quotes.is_empty() || !self.marks.is_empty();
        if !self.out.is_empty() && !self.out.ends_with("\n\n") && !quoted {
            self.out.push('\n');
        }
    }

    fn finish(mut self) -> String {
        self.end_line(true);
        let mut text = self.out;
        while text.contains("\n\n\n") {
            text = text.replace("\n\n\n", "\n\n");
        }
        text.trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::to_text;

    #[test]
    fn people_read_words_and_lines() {
        let cases = [
            ("<p>Hello&nbsp;<b>you</b> &amp; me</p><p>Bye</p>", "Hello you & me\n\nBye"),
            ("a<br>b<br/>c<div>d</div>e", "a\nb\nc\nd\ne"),
            ("<head><title>t</title><style>p{}</style></head>x<script>y<z</script>", "x"),
            ("<ul><li>one<li>two</ul>", "- one\n- two"),
            ("1 < 2 &unknown; &#228;&#x1F389; 3 &", "1 < 2 &unknown; ä🎉 3 &"),
            ("<a title='a > b' href=\"x\">link</a><!-- <p>no --> there", "link there"),
            ("<pre>a\n  b</pre>", "a\n  b"),
            ("<p>open <b", "open"),
            ("<style>never closed", ""),
            ("one\n two", "one two"),
        ];
        for (html, text) in cases {
            assert_eq!(to_text(html), text, "{html}");
        }
    }

    #[test]
    fn a_blockquote_is_a_quote_when_something_says_so() {
        let cite = "Yes.<blockquote type=\"cite\"><p>Really?</p></blockquote>";
        assert_eq!(to_text(cite), "Yes.\n> Really?");
        let headline = "Yes.<div>On Monday she wrote:</div><blockquote>Really?</blockquote>";
        assert_eq!(to_text(headline), "Yes.\nOn Monday she wrote:\n> Really?");
        let own = "A poem.<blockquote>Roses</blockquote>End";
        assert_eq!(to_text(own), "A poem.\nRoses\nEnd");
        let yahoo =
            "Yes.<div class=\"yahoo_quoted\"><div>On Monday she wrote:</div><div>Really?</div></div>End";
        assert_eq!(to_text(yahoo), "Yes.\n> On Monday she wrote:\n> Really?\nEnd");
    }

    #[test]
    fn a_signature_is_quoted_behind_its_mark() {
        for html in [
            "Yes.<div class=\"gmail_signature\" dir=ltr><div>Mira Stein</div><div>Support</div></div><div>End</div>",
            "Yes.<table id='Signature'><tr><td>Mira Stein</td></tr><tr><td>Support</td></tr></table>End",
            "Yes.<div class=moz-signature>Mira Stein<br>Support</div>End",
        ] {
            assert_eq!(to_text(html), "Yes.\n> -- \n> Mira Stein\n> Support\nEnd", "{html}");
        }
        assert_eq!(to_text("<div id=signatures>"), "> --");
    }
}
