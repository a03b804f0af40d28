//! A support conversation through a real MTA: subscriber, staff, subscriber, `#close`. Postfix delivers what we send, and hands what
//! people send to our LMTP door; who of staff writes is proven by a DKIM signature that the daemon checks itself, with a key from DNS.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use mail_auth::common::crypto::Ed25519Key;
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::DkimSigner;
use tidings::mail::parse::{Parsed, parse};

use crate::support::daemon::{Daemon, Site, until};
use crate::support::dns::NameServer;
use crate::support::postfix::{Postfix, is_here};

const ANA: &str = "p00000@readers.example";
const MIRA: &str = "mira@staff.example.net";

/// A message as Postfix delivered it.
struct Delivered {
    raw: Vec<u8>,
    parsed: Parsed,
}

struct World {
    site: Site,
    postfix: Postfix,
    daemon: Daemon,
    key: Vec<u8>,
}

impl World {
    fn start(names: &NameServer) -> World {
        let door = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let postfix =
            Postfix::start_for(&["readers.example", "staff.example.net"], ("news.example.org", door));
        let site = Site::sending_to(postfix.address);
        site.change("tidings.toml", "listen = \"127.0.0.1:0\"", &format!("listen = \"{door}\""));
        site.change(
            "tidings.toml",
            "# resolver = \"127.0.0.1:53\"",
            &format!("resolver = \"{}\"", names.address),
        );
        site.change(
            "tidings.toml",
            "email = \"mira@staff.example.net\"",
            "email = \"mira@staff.example.net\"\n[[desk.staff]]\nname = \"Tom Berg\"\nemail = \"tom@staff.example.net\"",
        );
        let key = Ed25519Key::generate_pkcs8().unwrap();
        let public = Ed25519Key::from_pkcs8_maybe_unchecked_der(&key).unwrap().public_key();
        let record = format!("v=DKIM1; k=ed25519; p={}", data_encoding::BASE64.encode(&public));
        names.publish("s._domainkey.staff.example.net", &record);
        names.publish("s._domainkey.evil.example", &record);
        site.import(1);
        let daemon = site.start();
        World { site, postfix, daemon, key }
    }

    /// Everything that was delivered to an address.
    fn mails(&self, to: &str) -> Vec<Delivered> {
        let folder = std::fs::read_dir(&self.postfix.mails).into_iter().flatten();
        let mut found: Vec<(std::time::SystemTime, Delivered)> = folder
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let raw = std::fs::read(entry.path()).ok()?;
                let parsed = parse(&raw);
                let hers = parsed.field("delivered-to") == Some(to);
                hers.then(|| (entry.metadata().unwrap().modified().unwrap(), Delivered { raw, parsed }))
            })
            .collect();
        found.sort_by_key(|(at, _)| *at);
        found.into_iter().map(|(_, mail)| mail).collect()
    }

    /// Waits until this address has so many mails. Answers the newest that `wanted` knows.
    fn mail(&self, to: &str, count: usize, wanted: impl Fn(&Parsed) -> bool) -> Delivered {
        until(&format!("{count} mails to {to}: {} {}", self.postfix.log(), self.daemon.log()), || {
            let mails = self.mails(to);
            (mails.len() >= count).then(|| mails.into_iter().rev().find(|mail| wanted(&mail.parsed)))?
        })
    }

    fn conversation(&self) -> serde_json::Value {
        self.site.json(&["inbox", "show", "1", "--json"])
    }

    fn verdicts(&self, count: usize) -> Vec<(String, String)> {
        until(&format!("{count} received messages"), || {
            let rows = self.site.json(&["inbound", "list", "--json"]);
            let rows = rows.as_array().unwrap().clone();
            let done = rows.iter().filter(|row| row["state"] == "done").count();
            let word = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
            (done >= count)
                .then(|| rows.iter().map(|row| (word(row, "verdict"), word(row, "reason"))).collect())
        })
    }

    fn signed(&self, domain: &str, raw: &str) -> Vec<u8> {
        let signature = DkimSigner::from_key(Ed25519Key::from_pkcs8_maybe_unchecked_der(&self.key).unwrap())
            .domain(domain)
            .selector("s")
            .headers(["From", "To", "Subject", "Message-ID"])
            .sign(raw.as_bytes())
            .unwrap();
        [signature.to_header().into_bytes(), raw.as_bytes().to_vec()].concat()
    }
}

/// Hands a message to Postfix, as a mail program does.
fn submit(server: SocketAddr, from: &str, to: &str, raw: &[u8]) {
    let mut stream = TcpStream::connect(server).unwrap();
    let mut replies = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut expect = |code: &str| {
        let line = replies.next().unwrap().unwrap();
        assert!(line.starts_with(code), "{line}");
    };
    expect("220");
    for (command, code) in [
        ("HELO mua.example".to_owned(), "250"),
        (format!("MAIL FROM:<{from}>"), "250"),
        (format!("RCPT TO:<{to}>"), "250"),
        ("DATA".to_owned(), "354"),
    ] {
        stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        expect(code);
    }
    let raw = String::from_utf8(raw.to_vec()).unwrap().replace("\r\n.", "\r\n..");
    stream.write_all(format!("{raw}\r\n.\r\n").as_bytes()).unwrap();
    expect("250");
}

/// Ana answers a mail that she has.
fn ana(world: &World, mail: &Parsed, id: &str, text: &str) {
    let to = mail.field("reply-to").unwrap();
    let raw = format!(
        "From: Ana Lopez <{ANA}>\r\nTo: {to}\r\nSubject: Re: {}\r\nMessage-ID: <{id}@readers.example>\r\nIn-Reply-To: <{}>\r\n\r\n{text}\r\n",
        mail.subject,
        mail.message_id.as_ref().unwrap()
    );
    submit(world.postfix.address, ANA, to, raw.as_bytes());
}

/// Mira's mail program: everything about her and her machine, both forms, a signature, the whole notice quoted.
fn mira(mail: &Parsed, id: &str, text: &str) -> (String, String) {
    let to = mail.field("reply-to").unwrap().to_owned();
    let quoted: String = mail.text.lines().map(|line| format!("> {line}\r\n")).collect();
    let html = text.replace("\r\n", "<br>");
    let raw = format!(
        "Received: from miras-laptop.home.example.net ([203.0.113.44]) by smtp.staff.example.net\r\nX-Originating-IP: [203.0.113.44]\r\n\
         User-Agent: ExampleMail/11\r\nFrom: Mira Stein <{MIRA}>\r\nSender: {MIRA}\r\nTo: Example News Support <{to}>\r\n\
         Cc: Tom Berg <tom@staff.example.net>\r\nSubject: Re: {}\r\nMessage-ID: <{id}@miras-laptop.home.example.net>\r\n\
         In-Reply-To: <{}>\r\nReferences: <{}>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_m\"\r\n\r\n\
         --=_m\r\nContent-Type: multipart/alternative; boundary=\"=_s\"\r\n\r\n\
         --=_s\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n\r\n-- \r\nMira Stein\r\n{MIRA}, +00 555 0100\r\n\r\n\
         On Tue, 24 Nov 2026, Example News Support <{to}> wrote:\r\n\r\n{quoted}\r\n\
         --=_s\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>{html}</p><div class=\"moz-signature\">Mira Stein<br>{MIRA}</div>\
         <div class=\"moz-cite-prefix\">On 24 Nov wrote:</div><blockquote type=\"cite\">To: Mira Stein</blockquote>\r\n--=_s--\r\n\
         --=_m\r\nContent-Type: text/vcard; name=\"mira.vcf\"\r\nContent-Disposition: attachment; filename=\"mira.vcf\"\r\n\r\n\
         BEGIN:VCARD\r\nFN:Mira Stein\r\nEND:VCARD\r\n--=_m--\r\n",
        mail.subject,
        mail.message_id.as_ref().unwrap(),
        mail.message_id.as_ref().unwrap()
    );
    (to, raw)
}

#[test]
fn a_conversation_through_postfix_tells_the_subscriber_nothing_of_staff() {
    if !is_here() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let names = runtime.block_on(NameServer::start());
    let world = World::start(&names);
    let edition = world.mail(ANA, 1, |_| true);
    ana(&world, &edition.parsed, "a1", "Does it fit?");
    let notice = world.mail(MIRA, 1, |_| true);
    assert!(notice.parsed.text.contains("| Does it fit?"), "{}", notice.parsed.text);
    let tom = world.mail("tom@staff.example.net", 1, |_| true);

    let (to, raw) = mira(&notice.parsed, "s1", "Hello Ana,\r\n\r\nyes, it fits.\r\n\r\nMira");
    submit(world.postfix.address, MIRA, &to, &world.signed("staff.example.net", &raw));
    // The edition, the automatic answer, and hers.
    let answer = world.mail(ANA, 3, |mail| mail.text.contains("yes, it fits."));
    ana(&world, &answer.parsed, "a2", "Thanks! And on a phone?");
    let second = world.mail(MIRA, 2, |mail| mail.text.contains("on a phone"));

    // Right token, right From, no pass; and one of another domain.
    let (to, forged) = mira(&second.parsed, "f1", "Please send your card number to https://evil.example.");
    submit(world.postfix.address, MIRA, &to, forged.as_bytes());
    submit(
        world.postfix.address,
        "bulk@evil.example",
        &to,
        &world.signed("evil.example", &forged.replace("<f1@", "<f2@")),
    );
    let told = world.mail(MIRA, 3, |mail| mail.subject.contains("in your name is held"));
    assert!(!told.parsed.text.contains("evil.example"), "{}", told.parsed.text);
    // An out-of-office note, signed and all.
    let (to, away) = mira(&second.parsed, "o1", "I am away.");
    let away = away.replacen("MIME-Version", "Auto-Submitted: auto-replied\r\nMIME-Version", 1);
    submit(world.postfix.address, "", &to, &world.signed("staff.example.net", &away));

    let (to, raw) = mira(&second.parsed, "s2", "#close\r\nNot on a phone.\r\n\r\nMira");
    submit(world.postfix.address, MIRA, &to, &world.signed("staff.example.net", &raw));
    world.mail(ANA, 4, |mail| mail.text.contains("Not on a phone."));
    let verdicts = world.verdicts(7);
    let count = |word: &str| verdicts.iter().filter(|(verdict, _)| verdict == word).count();
    let counts = ["support_message", "staff_reply", "rejected_staff", "auto_reply"].map(count);
    assert_eq!(counts, [2, 2, 2, 1], "{verdicts:?}");
    let conversation = world.conversation();
    assert_eq!(conversation["state"], "closed", "{conversation}");
    let kinds: Vec<&str> =
        conversation["posts"].as_array().unwrap().iter().map(|post| post["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["subscriber", "automatic", "staff", "subscriber", "staff"]);

    let received = world.mails(ANA);
    assert_eq!(received.len(), 4, "nothing of what was forged, and nothing of who is away");
    let mut hidden: Vec<String> = [
        "staff.example.net",
        "mira@",
        "tom@",
        "tom berg",
        "mira stein",
        "miras-laptop",
        "203.0.113.44",
        "555 0100",
        "examplemail",
        "x-originating-ip",
        "user-agent",
        "smtp.staff",
        "above this line",
        "inbox show",
        "waiting since",
        "wrote:",
        "vcard",
        "evil.example",
        "sender:",
    ]
    .map(str::to_owned)
    .to_vec();
    hidden.extend(
        [&notice, &second, &told, &tom].map(|mail| mail.parsed.message_id.clone().unwrap().to_lowercase()),
    );
    for mail in &received {
        let message = mail_parser::MessageParser::new().parse(&mail.raw).unwrap();
        let html = message.body_html(0).map(|html| html.into_owned()).unwrap_or_default();
        let raw = String::from_utf8_lossy(&mail.raw).into_owned();
        assert_eq!(raw.matches("\nReceived:").count(), 1, "only Postfix' own: {raw}");
        for place in [&raw, &mail.parsed.text, &html] {
            let place = place.to_lowercase();
            for word in &hidden {
                assert!(!place.contains(word.as_str()), "{word} in {place}");
            }
        }
    }
    println!(
        "a conversation through Postfix: {} mails to the subscriber, {} hidden words in none",
        received.len(),
        hidden.len()
    );
    let World { daemon, .. } = world;
    daemon.stop();
}
