//! What must hold for every mail that leaves, whatever its template: its size, the way out, who sends it, its subject, and
//! nothing left over that a reader should not see. The same for `check`, previews and queueing: all of them render, and
//! nothing is rendered without it.
//!
//! Lines of the HTML and of the text part may be of any length: both are encoded when they are too long for SMTP. Only the
//! subject has a length that readers notice.

use super::article::TierArticle;
use super::edition::EditionInput;
use crate::domain::body::{Body, Field, Piece, escape_html};
use crate::domain::problem::{Position, Problem};
use crate::domain::publication::Tier;
use crate::domain::sender::reads_like_an_answer;

/// From here on a warning, in bytes.
pub const HTML_WARNS: usize = 90_000;
/// From here on Gmail cuts the mail off (W168), so it is not sent.
pub const HTML_STOPS: usize = 102_000;
/// Longer subjects are cut in most lists of mails, in characters.
const SUBJECT_WARNS: usize = 78;
/// Longer subjects are a mistake: somebody's whole paragraph.
const SUBJECT_STOPS: usize = 255;

/// The preview text, which lists of mails show.
const PREVIEWS: usize = 1;

/// What template languages and other newsletter systems leave when nobody fills it.
const LEFTOVERS: &[&str] = &["{{", "}}", "*|", "|*", "%%", "<mj-", "[object]"];

/// Checks the body of an edition for one tier.
pub fn lint_edition(
    body: &Body,
    input: &EditionInput<'_>,
    tier: &Tier,
    articles: &[TierArticle],
) -> Vec<Problem> {
    let file = format!("{} for {}", input.slug, tier.id);
    let mut problems = lint_mail(body, &file);
    let warning =
        |key: &str, what: &str, hint: &str| Problem::warning(&file, Position::FILE, key, what, hint);
    if reads_like_an_answer(&literals(&body.subject)) {
        let hint = "name what is in it: providers take a false answer for a way to deceive (W160)";
        problems.push(warning("subject", "starts like an answer", hint));
    }
    let hidden = tags(&literals(&body.html), "<").filter(|tag| is_hidden(tag)).count();
    if hidden > PREVIEWS {
        let what = format!("{hidden} parts of it are hidden from readers");
        problems.push(warning("hidden", &what, "hide nothing but the preview of <mj-preview> (W163)"));
    }
    let error =
        |key: &str, what: &str| Problem::error(&file, Position::FILE, key, what, "every reader needs it");
    let mut address = String::new();
    escape_html(&input.publication.postal_address, &mut address);
    for (part, name, address) in [
        (&body.html, "HTML", address.as_str()),
        (&body.text, "text", input.publication.postal_address.as_str()),
    ] {
        let what = format!("is not in the {name} part");
        if !always(part, &|piece| matches!(piece, Piece::Hole { field: Field::LinkUnsubscribe, .. })) {
            problems.push(error("links.unsubscribe", &what));
        }
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let wanted = flat(address);
        if !always(part, &|piece| matches!(piece, Piece::Literal(text) if flat(text).contains(&wanted))) {
            problems.push(error("publication.postal_address", &what));
        }
    }
    // An article may show braces; a frame around it may not.
    let mut frame = literals(&body.html);
    articles.iter().for_each(|article| frame = frame.replace(&article.html, ""));
    let titles = articles.iter().flat_map(|article| [&article.title, &article.summary, &article.author]);
    let shown: String = titles.map(String::as_str).collect();
    let mut words = literals(&body.text);
    articles.iter().for_each(|article| words = words.replace(&article.text, ""));
    for (part, name) in [(frame, "HTML"), (words, "text"), (literals(&body.subject), "subject")] {
        problems.extend(leftover(&part, &shown).map(|left| {
            let what = format!("\"{left}\" is left in the {name} part");
            let hint = "templates are filled in, articles and names are not";
            Problem::warning(&file, Position::FILE, "leftover", &what, hint)
        }));
    }
    problems
}

/// Checks what holds for any mail. `file` names it.
pub fn lint_mail(body: &Body, file: &str) -> Vec<Problem> {
    let mut problems: Vec<Problem> = size(&body.html, file).into_iter().collect();
    problems.extend(subject(&body.subject, file));
    let html = literals(&body.html);
    if let Some(image) = tags(&html, "<img ").find(|tag| !tag.contains(" alt=")) {
        let image: String = image.chars().take(80).collect();
        let what = format!("an image has no alternative text: {image}");
        problems.push(Problem::warning(file, Position::FILE, "image", &what, "say what one would see"));
    }
    for link in tags(&html, "<a ").filter_map(|tag| attribute(tag, "href")) {
        let lower = link.trim().to_ascii_lowercase();
        if lower.starts_with("http://") {
            let what = format!("\"{link}\" is not encrypted");
            let hint = "write https:// if it has it";
            problems.push(Problem::warning(file, Position::FILE, "link", &what, hint));
        } else if lower.is_empty() || lower.starts_with('#') || lower.starts_with("javascript:") {
            let what = format!("a link leads nowhere: \"{link}\"");
            problems.push(Problem::error(file, Position::FILE, "link", &what, "write a whole address"));
        }
    }
    problems.sort();
    problems.dedup();
    problems
}

fn size(html: &[Piece], file: &str) -> Option<Problem> {
    let size = longest(html, &|text| text.len());
    let what = format!("the HTML is {} kB", size / 1000);
    if size >= HTML_STOPS {
        let hint = "shorten the articles: mail clients cut at 102 kB";
        return Some(Problem::error(file, Position::FILE, "size", &what, hint));
    }
    let hint = "mail clients cut at 102 kB";
    (size >= HTML_WARNS).then(|| Problem::warning(file, Position::FILE, "size", &what, hint))
}

fn subject(subject: &[Piece], file: &str) -> Option<Problem> {
    if subject.iter().all(|piece| matches!(piece, Piece::Literal(text) if text.trim().is_empty())) {
        return Some(Problem::error(file, Position::FILE, "subject", "is empty", "name something"));
    }
    let length = longest(subject, &|text| text.chars().count());
    let what = format!("is {length} characters long");
    if length > SUBJECT_STOPS {
        return Some(Problem::error(file, Position::FILE, "subject", &what, "255 is the most"));
    }
    let hint = "lists of mails cut it; 78 is a good limit";
    (length > SUBJECT_WARNS).then(|| Problem::warning(file, Position::FILE, "subject", &what, hint))
}

/// The longest filling, values not counted.
fn longest(pieces: &[Piece], measure: &dyn Fn(&str) -> usize) -> usize {
    let of = |piece: &Piece| match piece {
        Piece::Literal(text) => measure(text),
        Piece::Hole { .. } => 0,
        Piece::If { then, otherwise, .. } => longest(then, measure).max(longest(otherwise, measure)),
    };
    pieces.iter().map(of).sum()
}

/// Whether every reader gets a piece like this, whatever their values.
fn always(pieces: &[Piece], wanted: &dyn Fn(&Piece) -> bool) -> bool {
    pieces.iter().any(|piece| match piece {
        Piece::If { then, otherwise, .. } => always(then, wanted) && always(otherwise, wanted),
        other => wanted(other),
    })
}

/// All constant text. A hole is a character that no rule here looks for, so that what stands around it is not taken for empty.
fn literals(pieces: &[Piece]) -> String {
    let mut out = String::new();
    for piece in pieces {
        match piece {
            Piece::Literal(text) => out.push_str(text),
            Piece::Hole { .. } => out.push('\u{fffc}'),
            Piece::If { then, otherwise, .. } => {
                out.push_str(&literals(then));
                out.push_str(&literals(otherwise));
            }
        }
    }
    out
}

fn leftover(text: &str, shown: &str) -> Option<&'static str> {
    LEFTOVERS.iter().find(|left| text.contains(**left) && !shown.contains(**left)).copied()
}

/// Whether a reader sees nothing of what is in it.
fn is_hidden(tag: &str) -> bool {
    let style = attribute(tag, "style").unwrap_or_default().to_ascii_lowercase();
    let style: String = style.chars().filter(|c| !c.is_whitespace()).collect();
    ["display:none", "visibility:hidden"].iter().any(|hides| style.contains(hides))
}

/// All start tags that begin like this. In our own output no value holds a `>`.
fn tags<'a>(html: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    html.match_indices(start).map(|(at, _)| {
        let rest = &html[at..];
        &rest[..rest.find('>').unwrap_or(rest.len())]
    })
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let start = format!(" {name}=\"");
    let at = tag.find(&start)? + start.len();
    tag[at..].split('"').next()
}
