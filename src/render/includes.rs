//! `mj-include`, resolved by us: mrml's own loses the width of what it includes and names no file in its errors. An include
//! becomes a partial of the same file, so that it is checked and rendered where it stands, with positions in its own file.
//!
//! A path is relative to the template folder, whatever file names it. Whole documents and style sheets are not included.

use std::ops::Range;

/// One `<mj-include path="..." />`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Include {
    /// The element, its end tag with it.
    pub range: Range<usize>,
    /// Checked: relative, inside the folder.
    pub path: String,
}

/// What is wrong at an offset, and what would be right.
pub(super) type Fault = (usize, String, &'static str);

const START: &str = "<mj-include";
const HINT: &str = "write <mj-include path=\"partials/NAME.mjml\" />, relative to the template folder";

/// All includes of a template in order, and what is wrong with others. Comments are skipped.
pub(super) fn scan(text: &str) -> (Vec<Include>, Vec<Fault>) {
    let (mut includes, mut faults) = (Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(found) = text[at..].find(['<', '{']) {
        let start = at + found;
        let rest = &text[start..];
        let comment = [("<!--", "-->"), ("{{!--", "--}}"), ("{{!", "}}")]
            .into_iter()
            .find(|(open, _)| rest.starts_with(open));
        if let Some((_, close)) = comment {
            at = rest.find(close).map_or(text.len(), |end| start + end + close.len());
        } else if rest.strip_prefix(START).is_some_and(|rest| !rest.starts_with(is_name)) {
            match one(text, start) {
                Ok(include) => {
                    at = include.range.end;
                    includes.push(include);
                }
                Err(fault) => {
                    faults.push(fault);
                    at = start + START.len();
                }
            }
        } else {
            at = start + 1;
        }
    }
    (includes, faults)
}

/// The name under which an included file is known to the template engine.
pub(super) fn partial_name(path: &str) -> String {
    format!("include_{}", data_encoding::HEXLOWER.encode(path.as_bytes()))
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_:".contains(c)
}

fn one(text: &str, start: usize) -> Result<Include, Fault> {
    let wrong = |at: usize, what: &str| (at, what.to_owned(), HINT);
    let mut at = start + START.len();
    let mut path = None;
    let self_closed = loop {
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else { return Err(wrong(start, "this mj-include never ends")) };
        if first.is_whitespace() {
            at += first.len_utf8();
        } else if rest.starts_with("/>") {
            at += 2;
            break true;
        } else if first == '>' {
            at += 1;
            break false;
        } else {
            let name = &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())];
            let (from, value) = value(text, at + name.len())
                .ok_or_else(|| wrong(at, "the attributes of mj-include are not understood"))?;
            match name {
                "path" => path = Some((from, value)),
                "type" if value == "mjml" => {}
                "type" => {
                    let hint = "put it into mj-style or mj-raw of a partial";
                    return Err((at, format!("mj-include with type=\"{value}\" is not resolved"), hint));
                }
                other => return Err((at, format!("mj-include has no attribute \"{other}\""), HINT)),
            }
            at = from + value.len() + 1;
        }
    };
    if !self_closed {
        let end = text[at..].trim_start();
        let Some(rest) = end.strip_prefix("</mj-include>") else {
            return Err(wrong(start, "this mj-include is not closed"));
        };
        at = text.len() - rest.len();
    }
    let (from, path) = path.ok_or_else(|| wrong(start, "this mj-include names no path"))?;
    Ok(Include { range: start..at, path: inside(path).map_err(|what| wrong(from, what))? })
}

/// `="value"` at `at`: where the value starts, and the value.
fn value(text: &str, at: usize) -> Option<(usize, &str)> {
    let rest = text[at..].trim_start().strip_prefix('=')?.trim_start();
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inner = &rest[1..];
    let value = &inner[..inner.find(quote)?];
    (!value.contains('<')).then_some((text.len() - inner.len(), value))
}

/// A path that cannot lead out of the folder, without a `./` in front.
fn inside(path: &str) -> Result<String, &'static str> {
    let path = path.strip_prefix("./").unwrap_or(path);
    if path.contains("{{") {
        return Err("the path of an mj-include is fixed: no field can stand in it");
    }
    let leaves = |part: &str| part.is_empty() || part == ".." || part == ".";
    if path.contains(['\\', ':', '\0']) || path.split('/').any(leaves) {
        return Err("this path leaves the template folder");
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_are_found_with_their_range() {
        let text = "<!-- <mj-include path=\"a\"/> -->{{!-- <mj-include path=\"b\"/> --}}\
                    <mj-include path='./partials/c.mjml' type=\"mjml\"/>x<mj-include path=\"d\"> </mj-include>";
        let (includes, faults) = scan(text);
        assert!(faults.is_empty(), "{faults:?}");
        let found: Vec<(&str, &str)> =
            includes.iter().map(|include| (include.path.as_str(), &text[include.range.clone()])).collect();
        assert_eq!(found[0], ("partials/c.mjml", "<mj-include path='./partials/c.mjml' type=\"mjml\"/>"));
        assert_eq!(found[1], ("d", "<mj-include path=\"d\"> </mj-include>"));
    }

    #[test]
    fn paths_stay_inside() {
        for (text, at, words) in [
            ("<mj-include path=\"../x.mjml\" />", 18, "leaves"),
            ("<mj-include path=\"a/../../x.mjml\" />", 18, "leaves"),
            ("<mj-include path=\"/etc/passwd\" />", 18, "leaves"),
            ("<mj-include path=\"c:\\x\" />", 18, "leaves"),
            ("<mj-include path=\"\" />", 18, "leaves"),
            ("<mj-include path=\"{{x}}\" />", 18, "fixed"),
            ("<mj-include />", 0, "no path"),
            ("<mj-include path=x />", 12, "not understood"),
            ("<mj-include path=\"x", 12, "not understood"),
            ("<mj-include path=\"x\"", 0, "never ends"),
            ("<mj-include path=\"x\">", 0, "not closed"),
            ("<mj-include src=\"x\" />", 12, "no attribute"),
            ("<mj-include path=\"x\" type=\"css\" />", 21, "not resolved"),
        ] {
            let (includes, faults) = scan(text);
            assert!(includes.is_empty(), "{text}");
            assert!(faults[0].0 == at && faults[0].1.contains(words), "{text}: {faults:?}");
        }
    }

    /// A scan that is cut anywhere answers, it does not panic.
    #[test]
    fn every_cut_is_answered() {
        let text = "ü<mj-include path='ü/b' type=\"mjml\" > </mj-include><!-- -->{{! }}";
        for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
            let _ = scan(&text[..at]);
            let _ = scan(&text[at..]);
        }
    }
}
