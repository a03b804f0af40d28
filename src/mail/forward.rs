//! Whether a member of staff sends something on: that is no answer to a subscriber.

use super::author::addressed;
use super::parse::Parsed;

/// Marks of forwarding before a subject: en, de, fr, it, es, pt, nl, sv, pl.
const MARKS: [&str; 11] = ["fwd", "fw", "wg", "tr", "i", "rv", "enc", "doorst", "vb", "pd", "transf"];

/// Lines above a message that is sent on: en, de, fr, es, it, nl.
const HEADS: [&str; 10] = [
    "forwarded message",
    "begin forwarded message",
    "weitergeleitete nachricht",
    "anfang der weitergeleiteten nachricht",
    "message transf\u{e9}r\u{e9}",
    "d\u{e9}but du message transf\u{e9}r\u{e9}",
    "mensaje reenviado",
    "messaggio inoltrato",
    "doorgestuurd bericht",
    "vidarebefordrat meddelande",
];

/// Why it is something that is sent on: its subject, its text, or that it was written to somebody else and to us as a copy.
/// `is_ours` knows the address that was made for the member.
pub fn forward(parsed: &Parsed, is_ours: impl Fn(&str) -> bool) -> Option<String> {
    let subject = parsed.subject.trim_start();
    if let Some((mark, _)) = subject.split_once(':')
        && MARKS.iter().any(|known| mark.trim().to_lowercase() == *known)
    {
        return Some(format!("its subject begins with {}:", mark.trim()));
    }
    if parsed.text.lines().any(is_forward_head) {
        return Some("it holds a forwarded message".to_owned());
    }
    let to = parsed.field("to").map(super::parse::addresses).unwrap_or_default();
    let copied = !to.iter().any(|address| is_ours(address))
        && addressed(parsed).iter().any(|address| is_ours(address));
    copied.then(|| "it was written to somebody else, and to us as a copy".to_owned())
}

/// Whether a line stands above a message that is sent on.
pub(super) fn is_forward_head(line: &str) -> bool {
    let bare = line.trim().trim_matches(['-', '_', '=', ' ', ':']).to_lowercase();
    HEADS.contains(&bare.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    fn why(header: &str, text: &str) -> Option<String> {
        forward(&parse(format!("From: m@x.example\n{header}\n\n{text}").as_bytes()), |to| {
            to == "r+t@example.org"
        })
    }

    #[test]
    fn what_is_sent_on_is_no_answer() {
        let ours = "To: r+t@example.org\nSubject: ";
        assert_eq!(why(&format!("{ours}Re: [#142] I: a question"), "Yes."), None);
        for subject in ["Fwd: [#142] x", "FW: [#142] x", "WG: [#142] x", "I: [#142] x", "TR : [#142] x"] {
            assert!(why(&format!("{ours}{subject}"), "Can you?").is_some(), "{subject}");
        }
        for head in [
            "---------- Forwarded message ---------",
            "Begin forwarded message:",
            "-------- Weitergeleitete Nachricht --------",
        ] {
            assert!(
                why(&format!("{ours}Re: x"), &format!("Can you?\n\n{head}\nFrom: x")).is_some(),
                "{head}"
            );
        }
        assert!(why("To: tom@x.example\nCc: r+t@example.org\nSubject: Re: x", "Can you?").is_some());
        assert_eq!(why("To: \"Support\" <R+T@example.org>, tom@x.example\nSubject: Re: x", "Yes."), None);
    }
}
