//! Code blocks as a table of two cells: name and language, then one `div` per line. Five colours, each with its class.

use std::fmt::Write;
use std::sync::LazyLock;

use syntect::parsing::{ParseState, Scope, ScopeStack, SyntaxReference, SyntaxSet};

use super::blocks::{MONO, SANS};
use crate::domain::body::escape_html;

static SYNTAXES: LazyLock<SyntaxSet> = LazyLock::new(SyntaxSet::load_defaults_newlines);

/// Scope, class and colour. The first that matches the innermost scope wins.
const COLOURS: &[(&str, &str, &str)] = &[
    ("comment", "c", "#6b6558"),
    ("punctuation.definition.comment", "c", "#6b6558"),
    ("string", "s", "#1d6b3f"),
    ("punctuation.definition.string", "s", "#1d6b3f"),
    ("constant.numeric", "n", "#94460a"),
    ("constant.language", "k", "#8a2f6b"),
    ("keyword.operator.logical", "k", "#8a2f6b"),
    ("entity.name.function", "f", "#0b5c71"),
    ("storage", "k", "#8a2f6b"),
    ("keyword.control", "k", "#8a2f6b"),
    ("keyword.other", "k", "#8a2f6b"),
    ("keyword.declaration", "k", "#8a2f6b"),
];

static SCOPES: LazyLock<Vec<(Scope, &'static str, &'static str)>> = LazyLock::new(|| {
    COLOURS
        .iter()
        .filter_map(|(scope, class, colour)| Some((Scope::new(scope).ok()?, *class, *colour)))
        .collect()
});

/// Long blocks are shown without colours: the grammars are regular expressions, and a mail of that size is refused anyway.
const COLOURED_BYTES: usize = 40_000;

pub(super) fn html(language: &str, name: &str, text: &str, out: &mut String) {
    let syntax = SYNTAXES.find_syntax_by_token(language).filter(|_| !language.is_empty());
    let label = match (name.is_empty(), syntax.map(|syntax| syntax.name.as_str())) {
        (false, Some(language)) => format!("{name} \u{b7} {language}"),
        (false, None) => name.to_owned(),
        (true, Some("Plain Text") | None) => String::new(),
        (true, Some(language)) => language.to_owned(),
    };
    out.push_str(
        "<table role=\"presentation\" class=\"code\" width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\" \
         style=\"margin:0 0 24px;border-collapse:separate\">\n",
    );
    if !label.is_empty() {
        let _ = write!(
            out,
            "<tr><td class=\"tint bar\" style=\"background-color:#f6f3ec;border-radius:6px 6px 0 0;border-bottom:1px solid \
             #e3ded3;padding:8px 16px;font-family:{SANS};font-size:13px;line-height:20px;color:#5b6067\"><span class=\"soft\">"
        );
        escape_html(&label, out);
        out.push_str("</span></td></tr>\n");
    }
    let radius = if label.is_empty() { "6px" } else { "0 0 6px 6px" };
    let _ = writeln!(
        out,
        "<tr><td class=\"tint lines\" style=\"background-color:#f6f3ec;border-radius:{radius};padding:12px 16px \
         14px;font-family:{MONO};font-size:14px;line-height:22px;color:#1d2125;word-break:break-word\">"
    );
    lines(syntax.filter(|_| text.len() <= COLOURED_BYTES), text, out);
    out.push_str("</td></tr></table>\n");
}

fn lines(syntax: Option<&SyntaxReference>, text: &str, out: &mut String) {
    let text = text.replace('\t', "    ");
    let mut state = syntax.map(ParseState::new);
    let mut stack = ScopeStack::new();
    for line in text.trim_end_matches('\n').split('\n') {
        let with_end = format!("{line}\n");
        let changes =
            state.as_mut().and_then(|state| state.parse_line(&with_end, &SYNTAXES).ok()).unwrap_or_default();
        let indent = line.len() - line.trim_start_matches(' ').len();
        let _ = write!(out, "<div class=\"d{}\">", (indent / 4).min(4));
        let mut writer = Writer { out, leading: true };
        let mut at = 0;
        for (offset, change) in changes {
            let offset = offset.min(line.len());
            writer.run(&line[at..offset], &stack);
            at = offset;
            // A broken grammar may pop too much; the line is then plain.
            let _ = stack.apply(&change);
        }
        writer.run(&line[at..], &stack);
        if line.trim().is_empty() {
            writer.out.push_str("&nbsp;");
        }
        out.push_str("</div>\n");
    }
}

struct Writer<'a> {
    out: &'a mut String,
    leading: bool,
}

impl Writer<'_> {
    fn run(&mut self, text: &str, stack: &ScopeStack) {
        if self.leading {
            let words = text.trim_start_matches(' ');
            if !words.is_empty() {
                self.out.push_str(&"&nbsp;".repeat(text.len() - words.len()));
                self.leading = false;
                return self.coloured(words, stack);
            }
            self.out.push_str(&"&nbsp;".repeat(text.len()));
            return;
        }
        self.coloured(text, stack);
    }

    fn coloured(&mut self, text: &str, stack: &ScopeStack) {
        if text.trim().is_empty() {
            return blanks(text, self.out);
        }
        let colour = stack
            .as_slice()
            .iter()
            .rev()
            .find_map(|scope| SCOPES.iter().find(|(prefix, _, _)| prefix.is_prefix_of(*scope)));
        match colour {
            Some((_, class, colour)) => {
                let open = format!("<span class=\"{class}\" style=\"color:{colour}\">");
                let end = "</span>";
                // Neighbours of one colour share a span.
                if self.out.ends_with(end)
                    && self.out[..self.out.len() - end.len()]
                        .rfind("<span")
                        .is_some_and(|at| self.out[at..].starts_with(&open))
                {
                    self.out.truncate(self.out.len() - end.len());
                } else {
                    self.out.push_str(&open);
                }
                blanks(text, self.out);
                self.out.push_str(end);
            }
            None => blanks(text, self.out),
        }
    }
}

/// Escapes and keeps runs of blanks, which HTML would join.
fn blanks(text: &str, out: &mut String) {
    let mut escaped = String::new();
    escape_html(text, &mut escaped);
    out.push_str(&escaped.replace("  ", "&nbsp; "));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(language: &str, name: &str, text: &str) -> String {
        let mut out = String::new();
        html(language, name, text, &mut out);
        out
    }

    #[test]
    fn lines_keep_their_shape_and_get_their_colours() {
        let out = code("python", "a.py", "def f(x):\n\treturn  1  # <one>\n\n");
        assert!(out.contains("a.py \u{b7} Python"), "{out}");
        assert!(
            out.contains("<div class=\"d0\"><span class=\"k\" style=\"color:#8a2f6b\">def</span> "),
            "{out}"
        );
        assert!(out.contains("<div class=\"d1\">&nbsp;&nbsp;&nbsp;&nbsp;<span class=\"k\""), "{out}");
        assert!(out.contains("# &lt;one&gt;</span>") && out.contains(">1</span>&nbsp; "), "{out}");
    }

    #[test]
    fn an_unknown_language_is_plain() {
        let out = code("nosuch", "", "a  <b>\n\n  c");
        assert!(
            !out.contains("<span")
                && out.contains("a&nbsp; &lt;b&gt;")
                && out.contains("<div class=\"d0\">&nbsp;</div>")
        );
    }
}
