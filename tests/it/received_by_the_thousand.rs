//! Messages of other people's tests, whole, cut at every 64th octet and mutated: reading each ends, panics never, loses nothing and
//! stays within its bounds.
//!
//! The messages: the reply corpus, those of flufl.bounce, mail-parser's and mail-auth's own, as far as they are there; a run says how
//! many there were. 100,000 mutations, or as many as `TIDINGS_MUTATIONS` says, over all cores.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use secrecy::SecretString;

use tidings::domain::bounce::Report;
use tidings::domain::verdict::classify;
use tidings::mail::parse::{Arrived, Own, facts, parse_guarded};
use tidings::mail::report;
use tidings::mail::token::Keyring;
use tidings::mail::trim::trim;

use super::bounces_of_all_kinds;
use crate::support::mutation::{self, Dice};

const MAX: usize = 25 * 1024 * 1024;
const MUTATIONS: usize = 100_000;
/// A larger one is cut to this before it is mutated: what is long is tested whole.
const MUTATED_MAX: usize = 16 * 1024;
const CUT_EVERY: usize = 64;

struct Message {
    name: String,
    raw: Vec<u8>,
}

/// What a package brings along for its own tests, from where cargo has unpacked its source.
fn of_package(name: &str, found: &mut Vec<Message>) {
    let metadata = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == name).unwrap();
    let manifest = Path::new(package["manifest_path"].as_str().unwrap());
    let before = found.len();
    collect(manifest.parent().unwrap(), &["eml"], found);
    println!("{} messages of {name}'s own", found.len() - before);
}

fn collect(folder: &Path, endings: &[&str], found: &mut Vec<Message>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, endings, found);
        } else if path.extension().is_some_and(|ending| endings.iter().any(|one| ending == *one)) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            found.push(Message { name, raw: std::fs::read(&path).unwrap() });
        }
    }
}

fn messages() -> Vec<Message> {
    let mut found = Vec::new();
    let corpus = std::env::var_os("TIDINGS_REPLY_CORPUS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/replies"),
        PathBuf::from,
    );
    if corpus.is_dir() {
        collect(&corpus, &["eml"], &mut found);
    }
    println!("{} replies", found.len());
    let before = found.len();
    if let Some(folder) = bounces_of_all_kinds::folder() {
        collect(&folder, &["txt"], &mut found);
    }
    println!("{} bounces of flufl.bounce", found.len() - before);
    of_package("mail-parser", &mut found);
    of_package("mail-auth", &mut found);
    found
}

struct Reader {
    keyring: Keyring,
    own: Own,
}

impl Reader {
    fn new() -> Reader {
        Reader {
            keyring: Keyring::new(&[SecretString::from("any secret of sixteen")]).unwrap(),
            own: Own::default(),
        }
    }

    /// Reads a message all the way to its verdict, and checks what holds for every one.
    fn read(&self, name: &str, raw: &[u8]) {
        let parsed = parse_guarded(raw, MAX);
        assert_ne!(parsed.unreadable.as_deref(), Some("the parser broke on it"), "{name}");
        for from in ["", "a@x.example"] {
            let arrived = Arrived { envelope_from: Some(from), recipient: Some("support@x.example") };
            let mut facts = facts(&parsed, arrived, &self.own, &self.keyring);
            report::add(&mut facts, raw, &parsed, &self.keyring);
            bounded(name, raw, facts.bounce.as_ref());
            assert!(!classify(&facts).1.is_empty(), "{name}");
        }
        assert!(parsed.text.len() <= 1024 * 1024 && parsed.attachments.len() <= 200, "{name}");
        // No word is lost by folding.
        let trimmed = trim(&parsed.text);
        let words = |text: &str| text.split_whitespace().count();
        assert_eq!(words(&trimmed.shown) + words(&trimmed.folded), words(&parsed.text), "{name}");
    }
}

/// What is kept of a report is never more than came, however it is written.
fn bounded(name: &str, raw: &[u8], report: Option<&Report>) {
    let Some(report) = report else { return };
    assert!(report.recipients.len() <= 100, "{name}");
    for one in &report.recipients {
        assert!(
            one.addresses.len() <= 3 && one.addresses.iter().all(|address| address.len() <= 960),
            "{name}"
        );
        assert!(one.said.len() <= 3 * raw.len() + 16, "{name}");
    }
}

/// Runs `work` for every number below `count`, on all cores.
fn on_all_cores(count: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        break;
                    }
                    work(at);
                }
            });
        }
    });
}

/// Octets that mean something in a message.
const PIECES: [&[u8]; 20] = [
    b"\0",
    b"\r",
    b"\n",
    b"\r\n\r\n",
    b"--",
    b"=?utf-8?b?",
    b"<",
    b">",
    b";",
    b"\"",
    b"\xff\xfe",
    b"\r\nContent-Type: message/delivery-status\r\n\r\n",
    b"\r\nContent-Type: multipart/report; boundary=b\r\n",
    b"\r\nAction: failed\r\n",
    b"\r\nFinal-Recipient: rfc822; a@x.example\r\n",
    b"550-5.1.1 ",
    b"\\x{",
    b"\r\nHi. This is the qmail-send program\r\n\r\n<",
    b"SMTP=",
    b"\xe2\x84\xaa@\xc4\xb0",
];

/// The same mutation for the same number, in every run.
fn mutated(raw: &[u8], number: usize) -> Vec<u8> {
    let mut dice = Dice(number as u64 ^ 0x9E37_79B9_7F4A_7C15);
    dice.roll(1);
    mutation::mutated(&mut dice, &raw[..raw.len().min(MUTATED_MAX)], &PIECES, (200, 400))
}

#[test]
fn every_message_whole_and_cut_at_every_64th_octet() {
    let (messages, reader, cuts) = (messages(), Reader::new(), AtomicUsize::new(0));
    on_all_cores(messages.len(), |at| {
        let Message { name, raw } = &messages[at];
        reader.read(name, raw);
        for end in (0..raw.len()).step_by(CUT_EVERY) {
            reader.read(name, &raw[..end]);
            cuts.fetch_add(1, Ordering::Relaxed);
        }
    });
    println!("{} messages and {} cuts were read", messages.len(), cuts.into_inner());
    assert!(messages.len() >= 100, "mail-parser's own are always there");
}

#[test]
fn mutated_messages() {
    let (messages, reader) = (messages(), Reader::new());
    let count = std::env::var("TIDINGS_MUTATIONS").map_or(MUTATIONS, |count| count.parse().unwrap());
    on_all_cores(count, |number| {
        let Message { name, raw } = &messages[number % messages.len()];
        reader.read(&format!("{name}, mutation {number}"), &mutated(raw, number));
    });
    println!("{count} mutations of {} messages were read", messages.len());
}
