//! Whether somebody who writes to a signed address is who the From says.

/// A token says what an answer is about, never who wrote it: that takes a pass of DMARC, or of an aligned DKIM signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SenderProof {
    /// Nothing depends on it.
    #[default]
    NotAsked,
    /// By what.
    Proven(String),
    /// Why not.
    Unproven(String),
}

/// Whether a signature of this domain (RFC 6376 `d=`) speaks for a From: it is the same domain or one above it. Narrower than
/// RFC 9989 section 4.4.1, whose relaxed alignment also takes a domain beside or below, which somebody else may run. A domain of
/// one label signs for nobody. Without a list of public suffixes: one that published keys could sign for those below it.
pub fn aligned(signing: &str, from: &str) -> bool {
    let (signing, from) = (signing.to_ascii_lowercase(), from.to_ascii_lowercase());
    let below = |child: &str, parent: &str| {
        child.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1)
    };
    let has_parent = |domain: &str| domain.trim_matches('.').contains('.');
    has_parent(&signing) && has_parent(&from) && (signing == from || below(&from, &signing))
}

/// Words that mail programs put before the subject of an answer or of mail that is handed on.
const ANSWERS: &[&str] = &["re", "fwd", "fw", "aw", "wg", "tr", "sv"];

/// Whether a subject pretends to be an answer (W160).
pub fn reads_like_an_answer(subject: &str) -> bool {
    let start = subject.split([':', '\u{ff1a}']).next().unwrap_or_default().trim().to_lowercase();
    start.len() < subject.trim().len()
        && ANSWERS.contains(&start.trim_end_matches(|c: char| "[0123456789]".contains(c)))
}

/// What in a display name is more than the name of a sender (W159): providers take it for a way to deceive.
pub fn more_than_a_name(name: &str) -> Option<&'static str> {
    let counted = name.split('(').skip(1).any(|rest| {
        rest.split_once(')')
            .is_some_and(|(inside, _)| !inside.is_empty() && inside.chars().all(|c| c.is_ascii_digit()))
    });
    // Dingbats, arrows and marks, and the blocks of pictures.
    let picture = |c: char| matches!(c, '\u{2190}'..='\u{21ff}' | '\u{2600}'..='\u{27bf}' | '\u{2b00}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}');
    if reads_like_an_answer(name) {
        Some("starts like the subject of an answer")
    } else if name.contains('[') && name.contains(']') {
        Some("holds brackets, as subjects do")
    } else if counted {
        Some("counts in parentheses, as a conversation does")
    } else if name.contains(picture) {
        Some("holds a picture or a mark")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{aligned, more_than_a_name, reads_like_an_answer};

    #[test]
    fn w159_a_display_name_is_a_name() {
        for good in [
            "Example News",
            "Zoë's Weekly",
            "News (Europe)",
            "Re Magazine",
            "日本語ニュース",
            "A & B, Inc.",
            "News 24",
        ] {
            assert_eq!(more_than_a_name(good), None, "{good}");
        }
        for bad in ["Re: Example", "Example (2)", "[Example] News", "Example ✔", "Example 🎉", "FWD: x"] {
            assert!(more_than_a_name(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn w160_a_subject_that_is_no_answer() {
        for bad in ["Re: Hi", "RE:Hi", "re[2]: Hi", "Fwd: Hi", "FW : Hi", "AW: Hi", "Re：Hi"] {
            assert!(reads_like_an_answer(bad), "{bad}");
        }
        for good in ["Reply: all", "Re", "Results: four of them", "", "Ready: set", "A re: view"] {
            assert!(!reads_like_an_answer(good), "{good}");
        }
    }

    #[test]
    fn a_domain_signs_for_itself_and_below() {
        for (signing, from, expected) in [
            ("example.net", "example.net", true),
            ("Example.NET", "staff.example.net", true),
            ("mail.example.net", "example.net", false),
            ("other.net", "example.net", false),
            ("evilexample.net", "example.net", false),
            ("example.net", "evilexample.net", false),
            ("net", "example.net", false),
            (".net", "example.net", false),
            ("", "example.net", false),
            ("a.example.net", "b.example.net", false),
        ] {
            assert_eq!(aligned(signing, from), expected, "{signing} {from}");
        }
    }
}
