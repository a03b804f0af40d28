//! Whatever comes through the door of the running daemon is refused, or stored with a reason; memory stays bounded, and the next
//! good mail works.

use mail_parser::MessageParser;

use crate::support::daemon::{Daemon, Site, until};
use crate::support::lmtp::Lmtp;
use crate::support::peer::{Peer, Taken};

const SUPPORT: &str = "support@news.example.org";
const STAFF: &str = "mira@staff.example.net";

/// In kB.
const MEMORY: u64 = 120_000;
/// While a message of the largest size that is taken is stored and read: received, bound, stored and parsed copies.
const MEMORY_AT_LARGEST: u64 = 200_000;

fn nested_parts() -> Vec<u8> {
    let mut mail = String::from("From: nest@reader.example\r\nSubject: nested\r\n");
    for level in 0..5_000 {
        mail.push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"));
    }
    mail.push_str("\r\ndeep\r\n");
    mail.into_bytes()
}

/// The same in every run; every octet value comes up.
fn random_bytes() -> Vec<u8> {
    let mut state = 5_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..200_000).map(|_| next()).collect()
}

fn long_header() -> Vec<u8> {
    format!("From: long@reader.example\r\nSubject: {}\r\n\r\nbody\r\n", "x".repeat(1_000_000)).into_bytes()
}

fn nul_bytes() -> Vec<u8> {
    b"From: nul@reader.example\r\nSubject: a\0b\r\n\r\nfirst\0second\r\n".to_vec()
}

/// The largest message that is taken, in one attachment.
fn large() -> Vec<u8> {
    let mut mail = String::from(
        "From: large@reader.example\r\nSubject: large\r\nMIME-Version: 1.0\r\n\
         Content-Type: application/octet-stream; name=large.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n",
    );
    let line = format!("{}\r\n", "QUJD".repeat(18));
    mail.push_str(&line.repeat(24_900_000 / line.len()));
    mail.into_bytes()
}

/// What became of the message with this number, once it is understood.
fn outcome(site: &Site, number: usize) -> serde_json::Value {
    until(&format!("message {number} is understood"), || {
        let list = site.json(&["inbound", "list", "--json"]);
        let row = list.as_array().unwrap().iter().find(|row| row["id"] == number).cloned();
        row.filter(|row| row["state"] != "received")
    })
}

/// A reader answers the mail that they got.
fn answer_to(mail: &Taken) -> (String, Vec<u8>) {
    let parsed = MessageParser::new().parse(&mail.bytes).unwrap();
    let reply_to = parsed.reply_to().unwrap().first().unwrap().address().unwrap().to_owned();
    let answer = format!(
        "From: A Reader <{}>\r\nTo: {reply_to}\r\nSubject: Re: {}\r\nMessage-ID: <a1@readers.example>\r\n\
         In-Reply-To: <{}>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
         Does it work for convolutions?\r\n",
        mail.to,
        parsed.subject().unwrap(),
        parsed.message_id().unwrap(),
    );
    (reply_to, answer.into_bytes())
}

fn bounded(daemon: &Daemon, limit: u64, after: &str) {
    let peak = daemon.peak_memory();
    println!("peak memory after {after}: {peak} kB");
    assert!(peak < limit, "{peak} kB after {after}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_bounded_and_the_next_mail_works() {
    let peer = Peer::willing().await;
    let site = Site::sending_to(peer.address);
    site.hurry();
    let people = site.import(5);
    let daemon = site.start();
    site.edition_in(&["sent"]);

    bounded(&daemon, MEMORY, "the edition");

    // Too large: said in advance, and not said. The connection goes on either way.
    let mut lmtp = Lmtp::connect(daemon.lmtp());
    let refused = lmtp.say("MAIL FROM:<big@reader.example> SIZE=30000000");
    assert!(refused.starts_with("552"), "{refused}");
    let refused = lmtp.deliver("big@reader.example", SUPPORT, &b"x".repeat(30_000_000));
    assert!(refused.starts_with("552"), "{refused}");
    bounded(&daemon, MEMORY, "30 MB");

    for (number, (what, mail, limit)) in [
        ("5,000 nested parts", nested_parts(), MEMORY),
        ("random bytes", random_bytes(), MEMORY),
        ("NUL bytes", nul_bytes(), MEMORY),
        ("a header line of 1 MB", long_header(), MEMORY),
        ("25 MB", large(), MEMORY_AT_LARGEST),
    ]
    .into_iter()
    .enumerate()
    {
        let reply = lmtp.deliver("sender@reader.example", SUPPORT, &mail);
        assert!(reply.starts_with("250"), "{what}: {reply}");
        let row = outcome(&site, number + 1);
        println!("{what}: {}, {}, {}", row["state"], row["verdict"], row["reason"]);
        assert!(["done", "quarantined"].contains(&row["state"].as_str().unwrap()), "{row}");
        assert_ne!(row["reason"], "", "{row}");
        bounded(&daemon, limit, what);
    }
    assert!(lmtp.say("QUIT").starts_with("221"));

    let before = site.json(&["inbox", "list", "--json"]).as_array().unwrap().len();
    let notices = || peer.taken().into_iter().filter(|mail| mail.to == STAFF).count();
    let told = notices();
    let sent = peer.taken().into_iter().find(|mail| mail.to == people[3]).unwrap();
    let (reply_to, answer) = answer_to(&sent);
    let reply = Lmtp::connect(daemon.lmtp()).deliver(&sent.to, &reply_to, &answer);
    assert!(reply.starts_with("250"), "{reply}");
    let thread = until("the answer opens a thread", || {
        let list = site.json(&["inbox", "list", "--json"]);
        let found =
            list.as_array().unwrap().iter().find(|row| row["subscriber"] == sent.to.as_str()).cloned();
        assert!(list.as_array().unwrap().len() <= before + 1);
        found
    });
    assert_eq!((&thread["state"], &thread["edition"]), (&"open".into(), &"first-light".into()), "{thread}");
    assert_eq!(thread["tier"], "yearly", "{thread}");
    until("staff are told", || (notices() > told).then_some(()));
    daemon.stop();
}
