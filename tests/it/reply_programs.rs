//! Answers as real mail programs shape them: what is new is shown, all the rest is folded, nothing is lost; and text in a charset
//! that its header does not name.

use std::path::Path;

use tidings::mail::parse::{Parsed, parse};
use tidings::mail::trim::{own_words, trim};

const NEW: &str = "Thanks, that works for me.\n\nOn Monday I try it with int4.";

fn read(name: &str) -> Parsed {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/replies").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    parse(text.replace('\n', "\r\n").as_bytes())
}

fn names() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/replies");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Blank lines are a matter of taste.
fn squeezed(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

#[test]
fn what_is_new_is_shown_and_the_rest_folded() {
    assert_eq!(names().len(), 14);
    for name in names() {
        let parsed = read(&name);
        let trimmed = trim(&parsed.text);
        assert_eq!(squeezed(&trimmed.shown), squeezed(NEW), "{name}: {}", parsed.text);
        assert!(trimmed.folded.contains("the script works for convolutions"), "{name}: {}", trimmed.folded);
        let kept = squeezed(&format!("{}\n{}", trimmed.shown, trimmed.folded));
        for line in parsed.text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            assert!(kept.contains(line), "{name}: {line} is lost");
        }
    }
}

/// The same, as if staff had written it: nothing of the quote may leave.
#[test]
fn own_words_are_the_new_ones() {
    for name in names() {
        let parsed = read(&name);
        let own = own_words(&parsed.text, "Write your answer above this line", &parsed.signature);
        // These quotes are not of our mails, so a copy without a mark is asked about.
        if own.doubt.is_some() {
            continue;
        }
        let own: Vec<&str> = own.words.lines().filter(|line| !line.starts_with('>')).collect();
        assert_eq!(squeezed(&own.join("\n")), squeezed(NEW), "{name}: {}", parsed.text);
    }
}

fn text_of(header: &str, body: &[u8]) -> String {
    let raw = [b"From: a@x.example\r\nMIME-Version: 1.0\r\n", header.as_bytes(), b"\r\n\r\n", body].concat();
    parse(&raw).text
}

#[test]
fn a_charset_that_is_not_the_named_one_is_found_out() {
    let of = |charset: &str| format!("Content-Type: text/plain; charset={charset}");
    let western = "Caf\u{e9} \u{201e}gut\u{201c} \u{2013} na\u{ef}ve";
    let (windows, _, _) = encoding_rs::WINDOWS_1252.encode(western);
    for charset in ["utf-8", "UTF-8", "us-ascii", "windows-1252", "\"utf-8\""] {
        assert_eq!(text_of(&of(charset), &windows), western, "{charset}");
    }
    assert_eq!(text_of("Subject: none named", &windows), western);
    for charset in ["iso-8859-1", "us-ascii", "windows-1252", "utf-8"] {
        assert_eq!(text_of(&of(charset), western.as_bytes()), western, "UTF-8 called {charset}");
    }
    let japanese = "\u{3053}\u{3093}\u{306b}\u{3061}\u{306f}\u{3001}\u{4e16}\u{754c}";
    let (jis, _, _) = encoding_rs::ISO_2022_JP.encode(japanese);
    for header in [of("iso-2022-jp"), of("us-ascii"), of("utf-8"), "Subject: none named".to_owned()] {
        assert_eq!(text_of(&header, &jis), japanese, "{header}");
    }
    let (sjis, _, _) = encoding_rs::SHIFT_JIS.encode(japanese);
    assert_eq!(text_of(&of("shift_jis"), &sjis), japanese);
    let (cyrillic, _, _) = encoding_rs::KOI8_R.encode("\u{41f}\u{440}\u{438}\u{432}\u{435}\u{442}");
    assert_eq!(text_of(&of("koi8-r"), &cyrillic), "\u{41f}\u{440}\u{438}\u{432}\u{435}\u{442}");
    // Damage within UTF-8 stays a mark in it.
    let damaged = [western.as_bytes(), b"\xff end"].concat();
    assert_eq!(text_of(&of("utf-8"), &damaged), format!("{western}\u{fffd} end"));
    // A charset that nobody knows: what the octets look like.
    assert_eq!(text_of(&of("x-unknown-8bit"), western.as_bytes()), western);
    assert_eq!(text_of(&of("x-unknown-8bit"), &windows), western);
}
