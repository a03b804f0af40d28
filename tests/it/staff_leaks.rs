//! However a mail program dresses an answer of staff, its subscriber reads the words alone or nothing.

use proptest::prelude::*;

use tidings::domain::hidden::Hidden;
use tidings::domain::relayed::{relayed, signature_like};
use tidings::domain::staff_order::{self, ABOVE};
use tidings::mail::parse::parse;
use tidings::mail::trim::own_words;

const THEIRS: &str = "Does the script work for convolutions?\n\nAnd on a phone?";

fn notice() -> String {
    format!(
        "--- {ABOVE} ---\n\nDoes the script work\n====================\n\nAna Lopez, Tuesday 24 November, 09:41\n\nPlan: Yearly, until \
         3 March 2027\nBefore: 2 conversations: #97 invoice (closed), #61 GPU memory on a laptop (closed)\nAddress: ana@reader.example\n\
         Assigned to: nobody yet\n\n| Does the script work for convolutions?\n|\n| And on a phone?\n\nAnswer this mail, and your words go out."
    )
}

/// What the words of an answer become.
fn sent(raw: &str) -> Option<String> {
    let parsed = parse(raw.as_bytes());
    let own = own_words(&parsed.text, ABOVE, &parsed.signature);
    if own.doubt.is_some() {
        return None;
    }
    let text = staff_order::read(&relayed(&own.words, THEIRS, &notice())).ok()?.text;
    let mut hidden = Hidden::new([("Mira Stein", "mira@staff.example.net")], &["news.example.org"], &[]);
    hidden.add("Mira B. Stein", "", &[]);
    let leaks = hidden.found_in(&text).is_some() || signature_like(&text).is_some();
    (!leaks && !text.is_empty()).then_some(text)
}

/// Words that people answer with; none of them looks like a line of a mail program.
fn words() -> impl Strategy<Value = Vec<String>> {
    let line = "[A-Z][a-z]{2,9}( [a-z]{1,9}){0,8}[.!?]";
    let special = prop_oneof![
        Just("Run `a -> b` first.".to_owned()),
        Just("- one\n- two".to_owned()),
        Just("    let x = 1;".to_owned()),
        Just("See https://news.example.org/archive/a.".to_owned()),
    ];
    prop::collection::vec(prop_oneof![4 => line.prop_map(String::from), 1 => special], 1..5)
}

fn signature() -> impl Strategy<Value = String> {
    let facts = prop::sample::subsequence(
        vec![
            "Mira Stein",
            "Senior Support Engineer",
            "mira@staff.example.net",
            "+00 555 0100",
            "https://staff.example.net/mira",
            "Staff Ltd, Example Street 9",
        ],
        1..6,
    );
    facts.prop_map(|facts| facts.join("\n"))
}

#[derive(Clone, Copy, Debug)]
enum Program {
    Gmail,
    Apple,
    Thunderbird,
    Outlook,
    Proton,
    Below,
    Naked,
}

/// The plain form of an answer as a program writes it.
fn plain(program: Program, text: &str, signature: &str) -> String {
    let quoted: String = notice().lines().map(|line| format!("> {line}\n")).collect();
    let by = "News Support <support+abc@news.example.org>";
    match program {
        Program::Gmail => {
            format!("{text}\n\n-- \n{signature}\n\nOn Tue, 24 Nov 2026 at 09:41, {by}\nwrote:\n\n{quoted}")
        }
        Program::Apple => {
            format!("{text}\n\n-- \n{signature}\n\n\n> On 24 Nov 2026, at 09:41, {by} wrote:\n> \n{quoted}")
        }
        Program::Thunderbird => {
            format!("On 24.11.26 09:41, {by} wrote:\n{quoted}\n{text}\n\n-- \n{signature}\n")
        }
        Program::Outlook => format!(
            "{text}\n\n-- \n{signature}\n\n________________________________\nFrom: {by}\nSent: Tuesday, 24 November 2026 09:41\n\
             To: Mira Stein <mira@staff.example.net>\nSubject: [#1] x\n\n{}",
            notice()
        ),
        Program::Proton => format!(
            "{text}\n\n-- \n{signature}\n\nSent with Proton Mail secure email.\n\nOn Tuesday, November 24th, 2026 at 09:41, {by} wrote:\n\n{quoted}"
        ),
        Program::Below => format!("{text}\n\n{by} schrieb am 24. November:\n\n{quoted}\n-- \n{signature}\n"),
        // Nothing marks the signature.
        Program::Naked => format!("{text}\n\n{signature}\n\n{by} wrote:\n{quoted}"),
    }
}

fn message(body: &str) -> String {
    format!("From: Mira Stein <mira@staff.example.net>\nContent-Type: text/plain; charset=utf-8\n\n{body}")
}

/// The HTML form alone, as a program marks quote and signature.
fn html(program: Program, text: &str, signature: &str) -> String {
    let lines = |text: &str| text.replace('<', "&lt;").replace('\n', "<br>");
    let (text, signature, notice) = (lines(text), lines(signature), lines(&notice()));
    let body = match program {
        Program::Gmail | Program::Naked => format!(
            "<div dir=ltr>{text}<div><br></div><span class=\"gmail_signature_prefix\">-- </span><br><div class=\"gmail_signature\"><div>{signature}</div>\
             </div></div><br><div class=\"gmail_quote\"><div class=gmail_attr>On Tue News wrote:<br></div><blockquote class=\"gmail_quote\">{notice}</blockquote></div>"
        ),
        Program::Apple => format!(
            "<body>{text}<br><div id=\"AppleMailSignature\">{signature}</div><div><blockquote type=\"cite\"><div>On 24 Nov News wrote:</div>\
             <div>{notice}</div></blockquote></div></body>"
        ),
        Program::Thunderbird | Program::Below => format!(
            "<div class=\"moz-cite-prefix\">On 24.11.26 News wrote:<br></div><blockquote type=\"cite\">{notice}</blockquote><p>{text}</p>\
             <div class=\"moz-signature\">-- <br>{signature}</div>"
        ),
        Program::Outlook => format!(
            "<div>{text}</div><div id=\"Signature\"><div>{signature}</div></div><div id=\"appendonsend\"></div><hr><div id=\"divRplyFwdMsg\"><font>\
             <b>From:</b> News &lt;support+abc@news.example.org&gt;<br><b>Sent:</b> Tuesday, 24 November 2026 09:41<br><b>To:</b> Mira Stein\
             <br><b>Subject:</b> x</font></div><div>{notice}</div>"
        ),
        Program::Proton => format!(
            "<div>{text}</div><div class=\"protonmail_signature_block\">{signature}</div><div class=\"protonmail_quote\">On Tuesday News wrote:<br>\
             <blockquote class=\"protonmail_quote\" type=\"cite\">{notice}</blockquote></div>"
        ),
    };
    format!("From: Mira Stein <mira@staff.example.net>\nContent-Type: text/html; charset=utf-8\n\n{body}")
}

fn program() -> impl Strategy<Value = Program> {
    use Program::*;
    prop::sample::select(vec![Gmail, Apple, Thunderbird, Outlook, Proton, Below, Naked])
}

/// Words that are in signature or notice and in no answer.
const HOUSE: [&str; 9] = [
    "staff.example.net",
    "mira stein",
    "555 0100",
    "senior support",
    "staff ltd",
    "above this line",
    "plan: yearly",
    "support+abc",
    "#97",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_words_arrive_and_nothing_else(words in words(), signature in signature(), program in program()) {
        let text = words.join("\n\n");
        let out = sent(&message(&plain(program, &text, &signature)));
        if !matches!(program, Program::Naked) {
            prop_assert_eq!(out.as_deref(), Some(text.as_str()));
        }
    }

    #[test]
    fn html_alone_tells_no_more(words in words(), signature in signature(), program in program()) {
        let text = words.join("\n\n");
        let out = sent(&html(program, &text, &signature)).unwrap_or_default().to_lowercase();
        for word in HOUSE {
            prop_assert!(!out.contains(word), "{word} in {out}");
        }
        for word in &words {
            let first = word.lines().next().unwrap().trim().to_lowercase();
            prop_assert!(out.contains(&first), "{first} is not in {out}");
        }
    }

    /// Answers between the lines of the notice, cut anywhere, with lines that the program broke.
    #[test]
    fn answers_between_quotes_leave_the_notice_behind(
        words in words(), at in prop::collection::vec(0_usize..18, 1..4), width in 20_usize..60, signature in signature()
    ) {
        let mut body = String::from("News wrote:\n");
        for (number, line) in notice().lines().enumerate() {
            // Some programs break quoted lines and mark only the first part.
            let (head, rest) = match line.char_indices().nth(width).and_then(|(cut, _)| line[..cut].rfind(' ')) {
                Some(cut) => (&line[..cut], Some(&line[cut + 1..])),
                None => (line, None),
            };
            body.push_str(&format!("> {head}\n"));
            if let Some(rest) = rest {
                body.push_str(&format!("{rest}\n"));
            }
            if at.contains(&number) {
                body.push_str(&format!("\n{}\n\n", words.join("\n")));
            }
        }
        body.push_str(&format!("-- \n{signature}"));
        let out = sent(&message(&body)).unwrap_or_default().to_lowercase();
        for word in HOUSE.into_iter().chain(["assigned", "conversations", "gpu memory", "ana@reader"]) {
            prop_assert!(!out.contains(word), "{word} in {out}\nof {body}");
        }
    }
}
