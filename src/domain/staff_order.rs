//! What a member of staff writes above their answer: `#note`, `#close`, `#reopen`, `#assign NAME`, `#send`.
//!
//! Commands stand in the first lines, each alone on its own; the rest is the answer. Whatever looks like a command and is none comes
//! back to its author, and so does a command that stands further down: what was meant for the house must not reach a
//! subscriber. `# heading` and `#142` are words.

use super::relayed::bare;

/// Stands at the top of every mail to staff: what is below it is nobody's answer.
pub const ABOVE: &str = "Write your answer above this line";

const KNOWN: [&str; 5] = ["note", "close", "reopen", "assign", "send"];

/// What one mail orders, and the words that are left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// The words stay in the house.
    pub note: bool,
    pub close: bool,
    pub reopen: bool,
    /// The answer that was held for its author goes out.
    pub send: bool,
    /// Who takes the conversation over.
    pub assign: Option<Heir>,
    pub text: String,
}

/// Who a conversation goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heir {
    /// Whoever orders it.
    Me,
    Nobody,
    /// As written.
    Named(String),
}

impl Heir {
    fn read(name: &str) -> Heir {
        match name.to_lowercase().as_str() {
            "me" | "myself" => Heir::Me,
            "nobody" | "none" | "-" => Heir::Nobody,
            _ => Heir::Named(name.to_owned()),
        }
    }
}

/// Why nothing is done, in words for the author.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderProblem {
    #[error("`#{0}` is no command; there are #note, #close, #reopen, #assign NAME and #send")]
    Unknown(String),
    #[error("`#{0}` stands further down; commands belong into the first lines")]
    TooLate(String),
    #[error("`#{0}` takes nothing behind it; write the answer into the next line")]
    Behind(String),
    #[error("`#assign` needs a name; write #assign NAME, #assign me or #assign nobody")]
    Nobody,
    #[error(
        "`#send` sends the answer that is held, so it stands alone; without it, your words are a new answer"
    )]
    SendWithMore,
    #[error("`#close` and `#reopen` cannot both be meant")]
    CloseAndReopen,
}

/// Reads the commands above a text.
///
/// # Errors
/// What is not understood. Then nothing of it may happen.
pub fn read(text: &str) -> Result<Orders, OrderProblem> {
    let mut orders = Orders::default();
    let quoted = text.lines().take_while(|line| line.starts_with('>') || plain(line).is_empty()).count();
    // Who writes below a quote has first lines of their own.
    let above = text.lines().take(quoted);
    let mut lines = text.lines().skip(quoted).peekable();
    let mut noted = String::new();
    while let Some(line) = lines.peek() {
        if plain(line).is_empty() {
            lines.next();
            continue;
        }
        let Some((word, behind)) = command(line, true) else { break };
        match word.as_str() {
            "note" => {
                orders.note = true;
                noted = behind;
            }
            "assign" if behind.is_empty() => return Err(OrderProblem::Nobody),
            "assign" => orders.assign = Some(Heir::read(&behind)),
            "close" | "reopen" | "send" if !behind.is_empty() => return Err(OrderProblem::Behind(word)),
            "close" => orders.close = true,
            "reopen" => orders.reopen = true,
            "send" => orders.send = true,
            _ => return Err(OrderProblem::Unknown(word)),
        }
        lines.next();
    }
    let rest: Vec<&str> = lines.collect();
    if let Some((word, _)) = rest.iter().find_map(|line| command(line, false)) {
        return Err(OrderProblem::TooLate(word));
    }
    let words = above.chain([noted.as_str()].into_iter().filter(|noted| !noted.is_empty())).chain(rest);
    orders.text = bare(&words.collect::<Vec<_>>().join("\n")).to_owned();
    if orders.send && (orders.note || !orders.text.is_empty()) {
        return Err(OrderProblem::SendWithMore);
    }
    if orders.close && orders.reopen {
        return Err(OrderProblem::CloseAndReopen);
    }
    Ok(orders)
}

/// A line without what programs put around words: blanks of all kinds, invisible letters, marks of bold and code.
fn plain(line: &str) -> &str {
    let around = |c: char| {
        c.is_whitespace()
            || matches!(
                c,
                '*' | '_' | '`' | '\\' | '\u{a0}' | '\u{ad}' | '\u{200b}'
                    ..='\u{200f}' | '\u{2060}' | '\u{feff}'
            )
    };
    line.trim_matches(around)
}

/// The command in a line and what stands behind it. At the top every word that touches its mark is one, and a known one even behind a
/// blank, because telephones put blanks; further down only known ones are, because people write hashtags.
fn command(line: &str, at_top: bool) -> Option<(String, String)> {
    let inside = plain(line);
    let inside = inside.strip_prefix('#').or_else(|| inside.strip_prefix('\u{ff03}'))?;
    let touching = plain(inside);
    let apart = inside.chars().next().is_none_or(char::is_whitespace);
    let end = touching.find(|c: char| !c.is_alphabetic()).unwrap_or(touching.len());
    let (word, behind) = touching.split_at(end);
    let word = word.to_lowercase();
    if word.is_empty() {
        return None;
    }
    let behind = plain(behind.trim_start_matches([':', '.', ','])).to_owned();
    let known = KNOWN.contains(&word.as_str());
    let counts = match (known, at_top) {
        (true, true) => true,
        (true, false) => !apart && (behind.is_empty() || word == "assign"),
        (false, at_top) => at_top && !apart,
    };
    counts.then_some((word, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(text: &str) -> Orders {
        read(text).unwrap_or_else(|problem| panic!("{text}: {problem}"))
    }

    #[test]
    fn words_alone_are_an_answer() {
        for text in
            ["Yes.", "# A heading\nYes.", "#142 is yours", "Use #rust tags\n#include <stdio.h>", "- #1"]
        {
            assert_eq!(orders(text), Orders { text: text.into(), ..Orders::default() }, "{text}");
        }
    }

    #[test]
    fn commands_stand_in_the_first_lines() {
        let answered = Orders { close: true, text: "Yes.\n\nMira".into(), ..Orders::default() };
        for text in ["#close\nYes.\n\nMira", "\n *#Close* \n\nYes.\n\nMira", "\u{feff}# close.\nYes.\n\nMira"]
        {
            assert_eq!(orders(text), answered, "{text}");
        }
        let noted = Orders { note: true, text: "He is difficult.\nReally.".into(), ..Orders::default() };
        for text in [
            "#note He is difficult.\nReally.",
            "#note:\n\nHe is difficult.\nReally.",
            "\u{ff03}note\nHe is difficult.\nReally.",
        ] {
            assert_eq!(orders(text), noted, "{text}");
        }
        let handed = orders("#assign Tom Berg\n#note\nyours");
        assert_eq!(
            (handed.assign, handed.note, handed.text.as_str()),
            (Some(Heir::Named("Tom Berg".into())), true, "yours")
        );
        for (text, heir) in
            [("#assign me", Heir::Me), ("#Assign: Nobody", Heir::Nobody), ("#assign -", Heir::Nobody)]
        {
            assert_eq!(orders(text).assign, Some(heir), "{text}");
        }
        assert!(orders("#reopen").reopen && orders("#reopen\nYes.").text == "Yes.");
        assert!(orders("#send").send && orders("#close").text.is_empty());
        let below = Orders { close: true, text: "> asked\n\nYes.".into(), ..Orders::default() };
        assert_eq!(orders("> asked\n\n#close\nYes."), below);
        assert_eq!(orders("    code").text, "    code");
    }

    #[test]
    fn what_is_no_command_comes_back() {
        use OrderProblem::{Behind, CloseAndReopen, Nobody, SendWithMore, TooLate, Unknown};
        for (text, problem) in [
            ("#notes\nx", Unknown("notes".into())),
            ("#wait 3d\nx", Unknown("wait".into())),
            ("#close now\nx", Behind("close".into())),
            ("#assign\nx", Nobody),
            ("Hello,\n\n#note\nhe is difficult", TooLate("note".into())),
            ("Hello,\n#assign Tom", TooLate("assign".into())),
            ("#send\nand more", SendWithMore),
            ("#note\n#send", SendWithMore),
            ("#close\n#reopen", CloseAndReopen),
        ] {
            assert_eq!(read(text), Err(problem), "{text}");
        }
    }
}
