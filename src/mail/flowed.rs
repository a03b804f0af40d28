//! Text whose lines a program broke to fit, and says so: `format=flowed` (RFC 3676). Its lines are joined again as their writer saw them.

/// Joins what was broken. `delsp`: the blank before a break is the break's own (section 4.2).
pub(super) fn joined(text: &str, delsp: bool) -> String {
    let mut out = String::with_capacity(text.len());
    // The depth of quoting of a line that goes on, if the last one does.
    let mut open: Option<usize> = None;
    for line in text.lines() {
        let depth = line.bytes().take_while(|octet| *octet == b'>').count();
        let words = &line[depth..];
        // Section 4.4: a blank was put before lines that begin with one, or with `>` or `From `.
        let words = words.strip_prefix(' ').unwrap_or(words);
        if open != Some(depth) || words == "-- " {
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(&">".repeat(depth));
            out.push_str(if depth > 0 { " " } else { "" });
        }
        let flows = words.ends_with(' ') && words != "-- ";
        out.push_str(if flows && delsp { &words[..words.len() - 1] } else { words });
        open = flows.then_some(depth);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::joined;

    #[test]
    fn lines_are_joined_within_one_depth() {
        for (text, expected) in [
            ("one \ntwo\nthree", "one two\nthree"),
            ("> one \n> two\nmine \n> theirs", "> one two\nmine \n> theirs"),
            (">> a \n>> b\n> c", ">> a b\n> c"),
            ("text \n-- \nAnn \nB", "text \n-- \nAnn B"),
            ("  indented\n From here\n >no quote", " indented\nFrom here\n>no quote"),
            ("a\n\nb", "a\n\nb"),
            ("", ""),
        ] {
            assert_eq!(joined(text, false), expected, "{text:?}");
        }
        assert_eq!(joined("\u{3053} \n\u{3093}", true), "\u{3053}\u{3093}");
    }
}
