//! Replies as real programs write them, each beside its right answer. The folder is optional: a run without it says so;
//! `TIDINGS_REPLY_CORPUS` names another one.
//!
//! The files carry made-up tokens; each is replaced by one that the keyring minted for the same purpose.

use std::path::PathBuf;

use secrecy::SecretString;

use tidings::config::reply_rules;
use tidings::domain::sender::SenderProof;
use tidings::domain::settings::AddressPattern;
use tidings::domain::staff_order::ABOVE;
use tidings::domain::thread::{Belongs, Candidate, Link, cited, find_thread};
use tidings::domain::token::{Purpose, Subject};
use tidings::domain::verdict::{Facts, Verdict, classify, why_unanswered};
use tidings::mail::authentication::proven_by;
use tidings::mail::author::sole_author;
use tidings::mail::forward::forward;
use tidings::mail::parse::{Arrived, Own, Parsed, facts, parse_guarded};
use tidings::mail::report;
use tidings::mail::token::Keyring;
use tidings::mail::trim::{Trimmed, own_words, trim};
use tidings::store::bounces::Mailed;
use tidings::tasks::bounces::finding;

const MAX: usize = 25 * 1024 * 1024;

/// The made-up token of a file, and what it stands for.
const TOKENS: [(&str, Purpose, i64, i64); 11] = [
    ("c1-7f3k9q2m", Purpose::Thread, 1, 0),
    ("c2-p4x8w1zt", Purpose::Thread, 2, 0),
    ("c3-m2n4b6v8", Purpose::Thread, 3, 0),
    ("c4-q1w2e3r4", Purpose::Thread, 4, 0),
    ("c6-a9s8d7f6", Purpose::Thread, 6, 0),
    ("s-c1-k3y5t7r9", Purpose::Staff, 1, 1),
    ("u-91hd02kk", Purpose::Unsubscribe, 91, 0),
    ("b-e55q0r7n", Purpose::Bounce, 402, 0),
    ("B-E55Q0R7P", Purpose::Bounce, 403, 0),
    ("b-e55q0r7q", Purpose::Bounce, 404, 0),
    ("b-e55q0r7t", Purpose::Bounce, 405, 0),
];

struct World {
    keyring: Keyring,
    own: Own,
    folder: PathBuf,
}

struct Read {
    parsed: Parsed,
    facts: Facts,
    verdict: Verdict,
    reason: String,
    trimmed: Trimmed,
}

fn world() -> Option<World> {
    let folder = match std::env::var_os("TIDINGS_REPLY_CORPUS") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/replies"),
    };
    if !folder.is_dir() {
        eprintln!("skipped: {} is not there", folder.display());
        return None;
    }
    let pattern = |before: &str| AddressPattern {
        before: before.into(),
        after: String::new(),
        domain: "news.example.org".into(),
    };
    let own = Own {
        message_id_domain: "msg.news.example.org".into(),
        addresses: vec!["support@news.example.org".into(), "weekly@news.example.org".into()],
        patterns: ["support+", "bounce+", "unsubscribe+"].map(pattern).to_vec(),
    };
    let keyring = Keyring::new(&[SecretString::from("corpus")]).unwrap();
    Some(World { keyring, own, folder })
}

impl World {
    fn raw(&self, file: &str) -> Vec<u8> {
        let mut raw = std::fs::read(self.folder.join(file)).unwrap();
        for (made_up, purpose, row, second) in TOKENS {
            let minted = self.keyring.mint(Subject { purpose, row, second });
            let upper = made_up.chars().next().is_some_and(|c| c.is_ascii_uppercase());
            let minted = if upper { minted.to_uppercase() } else { minted };
            raw = replace(&raw, made_up.as_bytes(), minted.as_bytes());
        }
        raw
    }

    fn read(&self, file: &str) -> Read {
        let raw = self.raw(file);
        let parsed = parse_guarded(&raw, MAX);
        let mut facts = facts(&parsed, Arrived::default(), &self.own, &self.keyring);
        // What the receiver asks where a member of staff may answer.
        facts.from_is_staff =
            parsed.from.as_ref().is_some_and(|from| from.address == "mira@staff.example.net");
        let proof = sole_author(&raw, &parsed)
            .map_err(str::to_owned)
            .and_then(|_| proven_by(&parsed, "mx.news.example.org", "staff.example.net"));
        facts.proof = proof.map_or_else(SenderProof::Unproven, SenderProof::Proven);
        facts.forward = forward(&parsed, |to| self.own.token(&self.keyring, [to]) == facts.token);
        report::add(&mut facts, &raw, &parsed, &self.keyring);
        let rules = reply_rules::built_in();
        facts.finding = finding(&facts, facts.delivery().map(mailed).as_ref(), &rules);
        let (verdict, reason) = classify(&facts);
        let trimmed = trim(&parsed.text);
        Read { parsed, facts, verdict, reason, trimmed }
    }
}

/// Where the mails went whose return paths the files answer to.
fn mailed(delivery: i64) -> Mailed {
    let address = match delivery {
        402 => "eva@slow.example.com",
        403 => "finn.former@gone.example.com",
        _ => "gus@oldmailer.example.com",
    };
    Mailed {
        id: delivery,
        kind: "edition".into(),
        edition_id: Some(118),
        subscriber_id: Some(delivery),
        thread_id: None,
        staff_id: None,
        lane: 0,
        state: "accepted".into(),
        address_key: address.into(),
    }
}

fn replace(raw: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = raw;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}

#[test]
fn every_file_gets_its_verdict() {
    let Some(world) = world() else { return };
    let cases = [
        ("01-vacation-rfc3834.eml", Verdict::AutoReply),
        ("02-human-with-response-suppress.eml", Verdict::SupportMessage),
        ("03-client-generated-unsubscribe.eml", Verdict::Unsubscribe),
        ("04-dsn-delayed.eml", Verdict::BounceDelayed),
        ("05-dsn-failed-odd-case.eml", Verdict::BounceHard),
        ("06-human-reply-to-bounce-address.eml", Verdict::SupportMessage),
        ("08-interleaved-reply.eml", Verdict::SupportMessage),
        ("09-on-sentence-not-a-quote.eml", Verdict::SupportMessage),
        ("10-html-whole-body-in-quote-class.eml", Verdict::SupportMessage),
        ("12a-reused-message-id.eml", Verdict::SupportMessage),
        ("12b-reused-message-id.eml", Verdict::SupportMessage),
        ("13-provider-rewrote-message-id.eml", Verdict::SupportMessage),
        ("15-forged-staff-reply.eml", Verdict::RejectedStaff),
        ("16-staff-reply-leaks.eml", Verdict::StaffReply),
        ("17-staff-forwards-notification.eml", Verdict::InternalNote),
        ("21-nul-bytes.eml", Verdict::SupportMessage),
        ("22-broken-nested-message.eml", Verdict::SupportMessage),
        ("23-own-ack-came-back.eml", Verdict::Loop),
        ("25-read-receipt.eml", Verdict::Receipt),
    ];
    for (file, verdict) in cases {
        let read = world.read(file);
        assert_eq!(read.verdict, verdict, "{file}: {}", read.reason);
        assert!(read.parsed.unreadable.is_none(), "{file}");
    }
    let rejected = world.read("05-dsn-failed-odd-case.eml");
    assert_eq!(rejected.reason, "delivery report: delivery-status: 5.1.1 no_such_mailbox");
    assert_eq!(rejected.facts.token.map(|token| (token.purpose, token.row)), Some((Purpose::Bounce, 403)));
}

#[test]
fn the_new_words_are_shown_and_the_old_ones_folded() {
    let Some(world) = world() else { return };
    let cases: [(&str, &[&str], &[&str]); 8] = [
        ("02-human-with-response-suppress.eml", &["88-1204", "Ben"], &[]),
        ("06-human-reply-to-bounce-address.eml", &["café"], &[]),
        (
            "08-interleaved-reply.eml",
            &[
                "> Which address do you use?\n\nhana@reader.example.com, since January.",
                "> And does the web version open?\n\nYes, but only in private mode.",
            ],
            &[],
        ),
        (
            "09-on-sentence-not-a-quote.eml",
            &[
                "On Monday I opened Settings -> Profile and changed my name --",
                "it went back to the old one.",
                "- open the page",
                "- press save",
            ],
            &["What did you change?", "On 8 Mar 2026"],
        ),
        ("10-html-whole-body-in-quote-class.eml", &["monthly to the yearly plan", "refunded?", "Jo"], &["<"]),
        (
            "13-provider-rewrote-message-id.eml",
            &["Danke, jetzt geht es."],
            &["schrieb News Support", "noch einmal"],
        ),
        ("21-nul-bytes.eml", &["firstsecond line"], &["\0"]),
        ("22-broken-nested-message.eml", &["See the attached letter, it looks damaged."], &["no header"]),
    ];
    for (file, has, lacks) in cases {
        let read = world.read(file);
        for text in has {
            assert!(read.trimmed.shown.contains(text), "{file}: {text} not in {}", read.trimmed.shown);
        }
        for text in lacks {
            assert!(!read.trimmed.shown.contains(text), "{file}: {text} in {}", read.trimmed.shown);
        }
    }
    let folded = world.read("09-on-sentence-not-a-quote.eml").trimmed.folded;
    assert!(folded.contains("On 8 Mar 2026") && folded.contains("What did you change?"), "{folded}");
}

#[test]
fn a_staff_members_own_words_are_without_signature_and_quote() {
    let Some(world) = world() else { return };
    let parsed = world.read("16-staff-reply-leaks.eml").parsed;
    let words = "Hello Ana,\n\nplease ask for a new link on the sign-in page; it is valid for one hour.";
    let own = own_words(&parsed.text, ABOVE, &parsed.signature);
    assert_eq!((own.words.as_str(), own.doubt), (words, None));
}

#[test]
fn attachments_survive_a_broken_neighbour_and_lose_their_folder() {
    let Some(world) = world() else { return };
    let parsed = world.read("22-broken-nested-message.eml").parsed;
    let names: Vec<&str> = parsed.attachments.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["letter.eml", "a.png"]);
    assert_eq!(parsed.attachments[1].bytes, 8);
}

#[test]
fn nul_leaves_the_texts_and_stays_in_the_raw_copy() {
    let Some(world) = world() else { return };
    let parsed = world.read("21-nul-bytes.eml").parsed;
    assert_eq!(parsed.subject, "Brokensubject");
    assert!(world.raw("21-nul-bytes.eml").contains(&0));
}

#[test]
fn messages_find_their_threads() {
    let Some(world) = world() else { return };
    let thread_of = |read: &Read| match read.facts.token {
        Some(Subject { purpose: Purpose::Thread, row, .. }) => Some(row),
        _ => None,
    };
    let participants = |who: &str| vec![who.to_owned()];
    // The relay replaced our Message-ID; the token in the address is what remains.
    let lea = world.read("13-provider-rewrote-message-id.eml");
    let from = lea.parsed.from.clone().unwrap();
    let candidate = Candidate {
        link: Link::Token,
        thread: thread_of(&lea).unwrap(),
        participants: participants("lea@reader.example.com"),
        too_old: false,
    };
    let found = find_thread(&from.address, std::slice::from_ref(&candidate));
    assert_eq!(found, Belongs::To { thread: 6, link: Link::Token });
    assert_eq!(find_thread("nosy@reader.example.com", &[candidate]), Belongs::New { suspected: Some(6) });
    let ids = cited(&lea.parsed.in_reply_to, &lea.parsed.references);
    assert_eq!(ids, [(Link::InReplyTo, "0102018e-aaaa-bbbb-000000@eu-west-1.provider.example.net")]);
    assert_eq!(thread_of(&world.read("02-human-with-response-suppress.eml")), Some(2));
}

#[test]
fn a_person_on_exchange_is_kept_but_gets_no_automatic_answer() {
    let Some(world) = world() else { return };
    let read = world.read("02-human-with-response-suppress.eml");
    assert!(why_unanswered(&read.facts).is_some());
    assert!(why_unanswered(&world.read("06-human-reply-to-bounce-address.eml").facts).is_none());
}
