//! What must hold for every mail that leaves, whatever its template: its size, the way out, and who sends it.

use super::edition::EditionInput;
use crate::domain::body::{Body, Field, Piece, escape_html};
use crate::domain::problem::{Position, Problem};
use crate::domain::publication::Tier;

/// From here on a warning, in bytes.
pub const HTML_WARNS: usize = 90_000;
/// From here on Gmail cuts the mail off (W168), so it is not sent.
pub const HTML_STOPS: usize = 102_000;

/// Checks the body of an edition for one tier.
pub fn lint_edition(body: &Body, input: &EditionInput<'_>, tier: &Tier) -> Vec<Problem> {
    let file = format!("{} for {}", input.slug, tier.id);
    let error = |key: &str, what: &str, hint: &str| Problem::error(&file, Position::FILE, key, what, hint);
    let mut problems = Vec::new();
    let size = longest(&body.html);
    let what = format!("the HTML is {} kB", size / 1000);
    if size >= HTML_STOPS {
        problems.push(error("size", &what, "shorten the articles: mail clients cut at 102 kB"));
    } else if size >= HTML_WARNS {
        let hint = "mail clients cut at 102 kB";
        problems.push(Problem::warning(&file, Position::FILE, "size", &what, hint));
    }
    let mut address = String::new();
    escape_html(&input.publication.postal_address, &mut address);
    for (part, name, address) in [
        (&body.html, "HTML", address.as_str()),
        (&body.text, "text", input.publication.postal_address.as_str()),
    ] {
        if !always(part, &|piece| matches!(piece, Piece::Hole { field: Field::LinkUnsubscribe, .. })) {
            problems.push(error(
                "links.unsubscribe",
                &format!("is not in the {name} part"),
                "every reader needs it",
            ));
        }
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let wanted = flat(address);
        let found = |piece: &Piece| matches!(piece, Piece::Literal(text) if flat(text).contains(&wanted));
        if !always(part, &found) {
            let what = format!("is not in the {name} part");
            problems.push(error("publication.postal_address", &what, "every reader needs it"));
        }
    }
    if body.subject.iter().all(|piece| matches!(piece, Piece::Literal(text) if text.trim().is_empty())) {
        problems.push(error("subject", "is empty", "name something"));
    }
    if let Some(image) = without_alt(&body.html) {
        let what = format!("an image has no alternative text: {image}");
        problems.push(Problem::warning(&file, Position::FILE, "image", &what, "say what one would see"));
    }
    problems
}

/// The bytes of the longest filling, values not counted.
fn longest(pieces: &[Piece]) -> usize {
    let size = |piece: &Piece| match piece {
        Piece::Literal(text) => text.len(),
        Piece::Hole { .. } => 0,
        Piece::If { then, otherwise, .. } => longest(then).max(longest(otherwise)),
    };
    pieces.iter().map(size).sum()
}

/// Whether every reader gets a piece like this, whatever their values.
fn always(pieces: &[Piece], wanted: &dyn Fn(&Piece) -> bool) -> bool {
    pieces.iter().any(|piece| match piece {
        Piece::If { then, otherwise, .. } => always(then, wanted) && always(otherwise, wanted),
        other => wanted(other),
    })
}

/// The start of the first image without an `alt`.
fn without_alt(pieces: &[Piece]) -> Option<String> {
    pieces.iter().find_map(|piece| match piece {
        Piece::Literal(text) => text.match_indices("<img ").find_map(|(at, _)| {
            let tag = text[at..].split('>').next().unwrap_or_default();
            // An image whose tag goes on behind a hole is not judged.
            let whole = text[at..].contains('>');
            (whole && !tag.contains(" alt=")).then(|| tag.chars().take(80).collect())
        }),
        Piece::Hole { .. } => None,
        Piece::If { then, otherwise, .. } => without_alt(then).or_else(|| without_alt(otherwise)),
    })
}
