//! Whatever arrives, reading it ends, stays within its bounds and never panics.

use secrecy::SecretString;

use tidings::domain::verdict::{Verdict, classify};
use tidings::mail::parse::{Arrived, Own, Parsed, facts, parse, parse_guarded};
use tidings::mail::token::Keyring;
use tidings::mail::trim::trim;

use crate::support::mutation::{Dice, mutated};

const MAX: usize = 25 * 1024 * 1024;

const SAMPLE: &[u8] = b"Return-Path: <>\r\nDelivered-To: support+c1@news.example.org\r\n\
From: =?utf-8?q?J=C3=B6?= <jo@reader.example.com>, b@x.example\r\n\
To: \"News, Support\" <support@news.example.org>, group: a@x.example;\r\n\
Subject: =?iso-8859-1?b?cmVwbHk=?= and\r\n more\r\nDate: Tue, 10 Mar 2026 12:00:00 +0000\r\n\
Message-ID: <jp.10@reader.example.com>\r\nReferences: <a@x>,<b@x><c@x>\r\n d@x\r\n\
Auto-Submitted: auto-replied (vacation)\r\nMIME-Version: 1.0\r\n\
Content-Type: multipart/mixed; boundary=\"=_n1\"; report-type=x\r\n\r\n--=_n1\r\n\
Content-Type: multipart/alternative; boundary=n2\r\n\r\n--n2\r\n\
Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
caf=E9\r\n\r\nOn 3 May, X wrote:\r\n> quoted=20\r\n--n2\r\n\
Content-Type: text/html; charset=utf-8\r\n\r\n<p class='x>'>caf&eacute;</p><blockquote type=\"cite\">q</blockquote>\r\n\
--n2--\r\n--=_n1\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment; filename=\"../../letter.eml\"\r\n\r\n\
no header\r\n--=_n1\r\nContent-Type: image/png; name*=utf-8''a%20b.png\r\nContent-Transfer-Encoding: base64\r\n\r\n\
iVBORw0KGgo=\r\n--=_n1--\r\n";

/// Reads a message all the way and checks what holds for every one.
fn read(raw: &[u8]) -> Parsed {
    let parsed = parse_guarded(raw, MAX);
    assert_ne!(
        parsed.unreadable.as_deref(),
        Some("the parser broke on it"),
        "{:?}",
        String::from_utf8_lossy(raw)
    );
    let trimmed = trim(&parsed.text);
    let controls = |text: &str| text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t'));
    assert!(!controls(&parsed.text) && !controls(&parsed.subject) && !controls(&trimmed.shown));
    assert!(parsed.attachments.iter().all(|file| !controls(&file.name) && !file.name.contains('/')));
    assert!(parsed.text.len() <= 1024 * 1024);
    assert!(parsed.references.len() <= 50 && parsed.in_reply_to.len() <= 50 && parsed.recipients.len() <= 50);
    assert!(parsed.attachments.len() <= 200);
    // No word is lost by folding.
    let words = |text: &str| text.split_whitespace().count();
    assert_eq!(words(&trimmed.shown) + words(&trimmed.folded), words(&parsed.text));
    parsed
}

#[test]
fn the_sample_reads_right() {
    let parsed = read(SAMPLE);
    assert_eq!(parsed.from.unwrap().name, "Jö");
    assert_eq!(parsed.subject, "reply and more");
    assert_eq!(parsed.references, ["a@x", "b@x", "c@x", "d@x"]);
    let names: Vec<String> = parsed.attachments.into_iter().map(|file| file.name).collect();
    assert_eq!(names, ["letter.eml", "a b.png"]);
    let trimmed = trim(&parsed.text);
    assert_eq!(trimmed.shown, "café");
    assert!(trimmed.folded.contains("quoted"));
}

#[test]
fn cut_at_every_octet() {
    for end in 0..SAMPLE.len() {
        read(&SAMPLE[..end]);
        read(&SAMPLE[end..]);
    }
}

#[test]
fn twenty_thousand_mutations() {
    let mut dice = Dice(7);
    let tokens: [&[u8]; 12] = [
        b"\0",
        b"\r",
        b"\n",
        b"\r\n\r\n",
        b"--=_n1\r\n",
        b"--n2--",
        b"=?utf-8?b?",
        b"<",
        b">",
        b";",
        b"\"",
        b"\xff\xfe",
    ];
    for _ in 0..20_000 {
        read(&mutated(&mut dice, SAMPLE, &tokens, (40, 80)));
    }
}

#[test]
fn random_octets() {
    let mut dice = Dice(11);
    for _ in 0..2_000 {
        let raw: Vec<u8> = (0..dice.roll(600)).map(|_| dice.roll(256) as u8).collect();
        read(&raw);
    }
}

#[test]
fn nul_and_carriage_returns_alone() {
    assert!(read(&[0; 10_000]).unreadable.is_some());
    assert!(read(&vec![b'\r'; 10_000]).unreadable.is_some());
    assert!(read(&vec![b'\n'; 10_000]).unreadable.is_some());
    assert_eq!(read(b"From: a@x.example\r\n\r\na\0b\r\n").text, "ab");
}

#[test]
fn five_thousand_nested_parts_stop_at_the_limit() {
    let mut multiparts = String::from("From: a@x.example\r\n");
    for level in 0..5_000 {
        multiparts
            .push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"));
    }
    multiparts.push_str("\r\ndeep\r\n");
    let parsed = read(multiparts.as_bytes());
    assert!(parsed.cut);
    assert_eq!(parsed.text, "");
    // Enclosed messages are files, however many there are in one another.
    let messages = format!("From: a@x.example\r\n{}", "Content-Type: message/rfc822\r\n\r\n".repeat(200_000));
    let parsed = read(messages.as_bytes());
    assert_eq!(parsed.attachments.len(), 1);
    let mut siblings = String::from("From: a@x.example\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n");
    siblings.push_str(&"--b\r\nContent-Type: image/png\r\n\r\nx\r\n".repeat(5_000));
    let parsed = read(siblings.as_bytes());
    assert!(parsed.cut && parsed.attachments.len() < 200);
}

#[test]
fn large_things_are_cut() {
    let header = format!("From: a@x.example\r\nSubject: {}\r\n\r\n", "x".repeat(5_000_000));
    assert!(read(header.as_bytes()).subject.len() <= 1_000);
    let fields = format!("From: a@x.example\r\n{}\r\n", "X-A: b\r\n".repeat(500_000));
    read(fields.as_bytes());
    let to = format!("From: a@x.example\r\nTo: {}\r\n\r\n", "a@x.example, ".repeat(100_000));
    read(to.as_bytes());
    let text = format!("From: a@x.example\r\n\r\n{}", "line\r\n".repeat(1_000_000));
    let parsed = read(text.as_bytes());
    assert!(parsed.cut && parsed.text.len() <= 1024 * 1024);
    for html in ["<a \"", "<", "<blockquote>", "&", "<!--", "<a \">\"", "<style>", "<br>", "<pre>\n", "</p>"]
    {
        let html = format!("From: a@x.example\r\nContent-Type: text/html\r\n\r\n{}", html.repeat(200_000));
        read(html.as_bytes());
    }
    assert!(parse_guarded(&[b'a'; 100], 99).unreadable.is_some());
}

#[test]
fn a_message_of_nothing_is_unreadable_and_says_so() {
    let keyring = Keyring::new(&[SecretString::from("x")]).unwrap();
    let facts = facts(&parse(b""), Arrived::default(), &Own::default(), &keyring);
    assert_eq!(classify(&facts), (Verdict::Unreadable, "unreadable: it has no header".to_owned()));
}
