//! Which lines of a staff member's mail a subscriber may read: their own words, and quotes of what the subscriber wrote.
//!
//! A mail program quotes the whole notice, with the plan, the address and earlier conversations in it. Of such lines only those
//! stay that the subscriber wrote. A program may break a long quoted line and leave its rest without a mark: joined with
//! the line above it is in the notice, and goes too. A quote at the top stays only where all of it is the subscriber's: there, people
//! quote what they answer, or everything.

use super::hidden::seen;

/// A paragraph with this many lines or fewer may be a signature that nothing marks.
const SIGNATURE_MAX: usize = 8;
/// A number with this many digits is a telephone's.
const PHONE_DIGITS: usize = 7;

/// The lines that may leave. `theirs` is what the subscriber wrote in this conversation, `notice` what the author was sent.
pub fn relayed(text: &str, theirs: &str, notice: &str) -> String {
    let (theirs, notice) = (seen(theirs), seen(notice));
    let mut kept: Vec<String> = Vec::new();
    // Whether only quotes were seen so far, and all of them were theirs.
    let (mut at_top, mut pure) = (true, true);
    // The quoted line above, without its marks.
    let mut above = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with('>') {
            let inside = line.trim_start_matches(['>', '|', ' ', '\t']);
            above = seen(inside);
            if !above.is_empty() && theirs.contains(&above) {
                kept.push(format!("> {}", inside.trim_end()));
            } else if !above.is_empty() {
                pure = false;
            }
            continue;
        }
        let words = seen(line);
        let joined = format!("{above} {words}");
        if !above.is_empty() && !words.is_empty() && (notice.contains(&joined) || theirs.contains(&joined)) {
            if theirs.contains(&joined) {
                kept.push(format!("> {}", line.trim()));
            } else {
                pure = false;
            }
            above = joined;
            continue;
        }
        if at_top && !words.is_empty() {
            if !pure {
                kept.clear();
            }
            at_top = false;
        }
        above.clear();
        kept.push(line.trim_end().to_owned());
    }
    let mut out = kept.join("\n");
    while out.contains("\n\n\n") {
        out = out.replace("\n\n\n", "\n\n");
    }
    bare(&out).to_owned()
}

/// Without empty lines at both ends; the first line keeps its indentation.
pub fn bare(text: &str) -> &str {
    let text = text.trim_end();
    let start = text.find(|c: char| !c.is_whitespace()).unwrap_or(0);
    &text[text[..start].rfind('\n').map_or(0, |at| at + 1)..]
}

/// Whether the end of a text looks like a signature that nothing marks: a short last paragraph, not the only one, with a telephone
/// number in it. Answers that line.
pub fn signature_like(text: &str) -> Option<&str> {
    let text = text.trim_end();
    let at = text.rfind("\n\n")?;
    let last = text[at..].trim();
    if last.lines().count() > SIGNATURE_MAX {
        return None;
    }
    last.lines().find(|line| is_phone(line))
}

/// Digits with the marks that people put between those of a telephone number, and little beside.
fn is_phone(line: &str) -> bool {
    let marks = |c: char| c.is_ascii_digit() || "+-()/. \u{a0}\u{2011}\u{2013}".contains(c);
    let run = line.split(|c| !marks(c)).max_by_key(|run| digits(run)).unwrap_or("");
    let dialled = run.trim().starts_with(['+', '(', '0']);
    digits(run) >= PHONE_DIGITS && dialled && line.chars().count() <= 80
}

fn digits(text: &str) -> usize {
    text.chars().filter(char::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEIRS: &str =
        "Which address do you use?\nAnd does the web version open at all in a private window?";
    const NOTICE: &str = "Support, #142, open\n\nAna Lopez, Tuesday\nPlan: Yearly, until 3 March\nBefore: 2 conversations: #97 \
        invoice (closed)\n| Which address do you use?";

    #[test]
    fn only_the_subscribers_own_lines_are_quoted() {
        let text = "> Support, #142, open\n> Plan: Yearly, until 3 March\n> | Which address do you use?\nhana@, since January.\n\
            >> Before: 2 conversations: #97\ninvoice (closed)\n> And does the web version\nopen at all?\nYes.";
        let kept = "hana@, since January.\n> And does the web version\nopen at all?\nYes.";
        assert_eq!(relayed(text, THEIRS, NOTICE), kept, "the notice at the top, and in between only theirs");
        let text = "> | Which address do you use?\n\nhana@, since January.";
        assert_eq!(relayed(text, THEIRS, NOTICE), "> Which address do you use?\n\nhana@, since January.");
    }

    #[test]
    fn a_broken_quote_goes_with_its_rest() {
        let text = "> Before: 2 conversations: #97\ninvoice (closed)\nMy words.";
        assert_eq!(relayed(text, THEIRS, NOTICE), "My words.");
        let text = "> And does the web version\nopen at all in a private window?\nYes.";
        let kept = "> And does the web version\n> open at all in a private window?\nYes.";
        assert_eq!(relayed(text, THEIRS, NOTICE), kept);
    }

    #[test]
    fn own_words_stay_as_they_are() {
        let text = "Hi,\n\n    code --x | y\n\n\n- one\nMira";
        assert_eq!(relayed(text, "", ""), "Hi,\n\n    code --x | y\n\n- one\nMira");
    }

    #[test]
    fn a_telephone_number_at_the_end_looks_like_a_signature() {
        assert_eq!(signature_like("Yes.\n\nMira\n+00 555 0100"), Some("+00 555 0100"));
        assert_eq!(
            signature_like("Yes.\n\nMira Stein | Support | T (030) 555-01 00"),
            Some("Mira Stein | Support | T (030) 555-01 00")
        );
        for text in [
            "Yes.\n\nMira",
            "+00 555 0100",
            "Call +00 555 0100.\n\nMira",
            "Yes.\n\nSince 2026-11-24 09:00 it works.",
        ] {
            assert_eq!(signature_like(text), None, "{text}");
        }
    }
}
