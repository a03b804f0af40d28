//! What a composed message looks like on the wire. Numbers are the items of the wire rules.

use std::collections::{BTreeMap, BTreeSet};

use mail_parser::{MessageParser, MimeHeaders};
use proptest::prelude::*;
use secrecy::SecretString;

use tidings::domain::address::Address;
use tidings::domain::body::{Body, Context, Field, Filled, Piece, Values, walk};
use tidings::domain::settings::AddressPattern;
use tidings::domain::token::Purpose;
use tidings::mail::compose::{Compiled, ComposeProblem, Envelope, Frame, Kind, ListId, Recipient, ReplyTo};
use tidings::mail::token::{Keyring, delivery_in_message_id};
use tidings::runtime::Timestamp;

pub fn keyring() -> Keyring {
    Keyring::new(&[SecretString::from("a secret that only this test knows")]).unwrap()
}

fn pattern(before: &str) -> AddressPattern {
    AddressPattern { before: before.into(), after: String::new(), domain: "news.example.org".into() }
}

pub fn frame(kind: Kind) -> Frame {
    Frame {
        kind,
        from_name: "Example News".into(),
        from_address: "weekly@news.example.org".into(),
        reply: pattern("support+"),
        reply_to: ReplyTo::Edition,
        bounce: pattern("bounce+"),
        unsubscribe: Some(pattern("leave+")),
        url: "https://news.example.org".into(),
        archive_url: Some("https://news.example.org/archive".into()),
        upgrade_url: Some("https://news.example.org/plans".into()),
        help_url: None,
        owner: None,
        join: None,
        feedback_id: None,
        message_id_domain: "msg.news.example.org".into(),
        list_id: Some(ListId { phrase: "Zoë's Weekly".into(), id: "weekly.news.example.org".into() }),
        in_reply_to: None,
        references: Vec::new(),
    }
}

pub fn literal(text: &str) -> Piece {
    Piece::Literal(text.into())
}

fn hole(field: Field, context: Context) -> Piece {
    Piece::Hole { field, context }
}

pub fn body() -> Body {
    Body {
        subject: vec![literal("Hello "), hole(Field::SubscriberName, Context::Bare)],
        html: vec![
            literal("<p>Dear "),
            hole(Field::SubscriberName, Context::Html),
            literal(",</p>\n<a href=\""),
            hole(Field::LinkUnsubscribe, Context::Html),
            literal("\">Leave</a> <a href=\"https://x.example/?n="),
            hole(Field::SubscriberName, Context::Url),
            literal("\">é</a>\n"),
        ],
        text: vec![
            literal("Dear "),
            hole(Field::SubscriberName, Context::Bare),
            literal(",\n\nleave: "),
            hole(Field::LinkUnsubscribe, Context::Bare),
            Piece::If {
                field: Field::SubscriberTermEnds,
                then: vec![literal("\nuntil "), hole(Field::SubscriberTermEnds, Context::Bare)],
                otherwise: vec![literal("\nfor ever ")],
            },
        ],
    }
}

pub fn recipient(delivery: i64) -> Recipient {
    Recipient {
        delivery,
        subscriber: delivery + 1000,
        thread: 7,
        proof_of: 0,
        staff: 3,
        address: Address::parse(&format!("reader{delivery}@reader.example.com")).unwrap(),
        name: "Ann".into(),
        tier_label: "Yearly".into(),
        term_ends: "1 May 2027".into(),
        key_id: keyring().current_key_id(),
        // 2026-10-25T00:30:00Z
        first_attempt_at: Timestamp(1_792_888_200_000),
    }
}

fn compose(frame: &Frame, body: &Body, recipient: &Recipient) -> Result<(Envelope, String), ComposeProblem> {
    let mut wire = Vec::new();
    let envelope = Compiled::new(frame, body)?.compose(&keyring(), recipient, &mut wire)?;
    Ok((envelope, String::from_utf8(wire).unwrap()))
}

fn newsletter(body: &Body, recipient: &Recipient) -> String {
    compose(&frame(Kind::Newsletter), body, recipient).unwrap().1
}

/// Header fields, unfolded, in order.
pub fn fields(wire: &str) -> Vec<(String, String)> {
    let (header, _) = wire.split_once("\r\n\r\n").unwrap();
    let unfolded = header.replace("\r\n ", " ");
    unfolded
        .split("\r\n")
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

fn field(wire: &str, name: &str) -> Option<String> {
    fields(wire).into_iter().find(|(n, _)| n == name).map(|(_, value)| value)
}

/// What holds for every message, whatever went in.
pub fn check_wire(wire: &str) {
    assert!(wire.is_ascii(), "W5");
    assert!(!wire.replace("\r\n", "").contains(['\r', '\n', '\0']), "W1");
    assert!(wire.ends_with("\r\n"));
    let (header, body) = wire.split_once("\r\n\r\n").unwrap();
    assert!(header.len() <= 16 * 1024, "W32");
    for line in header.split("\r\n") {
        assert!(line.len() <= 998, "W4");
        assert!(!line.trim().is_empty(), "W12");
        assert!(!line.contains("=?") || line.len() <= 76, "W8: {line}");
    }
    for line in body.split("\r\n") {
        assert!(line.len() <= 76, "W4, W7: {line}");
        assert!(!line.starts_with('.'), "W3: {line}");
        assert!(!line.starts_with("From "), "W7: {line}");
        assert!(!line.ends_with([' ', '\t']), "W7: {line:?}");
    }
    let names: Vec<String> = fields(wire).into_iter().map(|(name, _)| name.to_lowercase()).collect();
    let distinct: BTreeSet<&String> = names.iter().collect();
    assert_eq!(names.len(), distinct.len(), "W13: {names:?}");
    for forbidden in ["return-path", "received", "delivered-to", "bcc", "cc", "sender"] {
        assert!(!names.iter().any(|name| name == forbidden), "W26, W34");
    }
}

/// What a text part decodes to: the filled pieces, line ends of each piece as CRLF, control characters as spaces.
pub fn expected(pieces: &[Piece], values: &Values) -> String {
    let mut out = String::new();
    walk(pieces, values, &mut |filled| {
        let text = match filled {
            Filled::Literal(text) => text.to_owned(),
            Filled::Value(text) => text,
        };
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '\r' => {
                    rest.next_if_eq(&'\n');
                    out.push_str("\r\n");
                }
                '\n' => out.push_str("\r\n"),
                c if c.is_control() && c != '\t' => out.push(' '),
                c => out.push(c),
            }
        }
    });
    out
}

fn values_of(recipient: &Recipient, wire: &str) -> Values {
    let unsubscribe = field(wire, "List-Unsubscribe").unwrap();
    let url = unsubscribe.split_once('<').unwrap().1.split_once('>').unwrap().0.to_owned();
    let mut values = Values::default();
    values
        .set(Field::SubscriberName, recipient.name.as_str())
        .set(Field::SubscriberTermEnds, recipient.term_ends.as_str())
        .set(Field::SubscriberTierLabel, recipient.tier_label.as_str())
        .set(Field::SubscriberAddress, recipient.address.as_str())
        .set(Field::LinkUnsubscribe, url);
    values
}

pub fn parts(wire: &str) -> (String, String, String) {
    let parsed = MessageParser::new().parse(wire.as_bytes()).unwrap();
    let text = parsed.text_bodies().next().unwrap().text_contents().unwrap_or("").to_owned();
    let html = parsed.html_bodies().next().unwrap().text_contents().unwrap_or("").to_owned();
    (parsed.subject().unwrap_or("").to_owned(), text, html)
}

fn text_body(text: &str) -> Body {
    Body { subject: vec![literal("S")], html: Vec::new(), text: vec![literal(text)] }
}

#[test]
fn w1_w2_no_input_ends_a_line_or_the_message() {
    for end in [
        "\n.\n",
        "\n.\r\n",
        "\r.\r",
        "\r.\r\n",
        "\r\n.\n",
        "\r\n.\r",
        "\r\n.\r\n",
        "\n\n.\r\n",
        "\0",
        "\u{2028}",
    ] {
        let attack = format!("x{end}MAIL FROM:<evil@x>\r\nRCPT TO:<v@y>\r\nDATA\r\nboo");
        let mut to = recipient(1);
        to.name = attack.chars().take(100).collect();
        let mut body = body();
        body.text.push(literal(&attack));
        body.html.insert(0, literal(&attack));
        let wire = newsletter(&body, &to);
        check_wire(&wire);
        assert!(!wire.contains("\r\n.") && !wire.contains("\n."));
    }
}

#[test]
fn w3_dots_need_no_stuffing() {
    let wire = newsletter(
        &Body { html: vec![literal(".\n..\n.a\na.\n.z")], ..text_body(".\n..\n.a\na.\n.z") },
        &recipient(1),
    );
    check_wire(&wire);
    assert_eq!(parts(&wire).1, ".\r\n..\r\n.a\r\na.\r\n.z");
}

#[test]
fn w4_w5_long_lines_and_letters_leave_as_short_ascii() {
    let html = format!("<p>{}é日🎉</p>", "x".repeat(5000));
    let wire = newsletter(&Body { html: vec![literal(&html)], ..body() }, &recipient(1));
    check_wire(&wire);
    assert_eq!(parts(&wire).2, html);
}

#[test]
fn w6_encoding_follows_the_text() {
    let japanese = "日".repeat(2000);
    let (_, wire) = compose(&frame(Kind::Answer), &text_body(&japanese), &recipient(1)).unwrap();
    check_wire(&wire);
    assert_eq!(field(&wire, "Content-Transfer-Encoding").as_deref(), Some("base64"));
    assert_eq!(parts(&wire).1, japanese);
    let ascii = format!("{}é", "a".repeat(2000));
    let (_, wire) = compose(&frame(Kind::Answer), &text_body(&ascii), &recipient(1)).unwrap();
    check_wire(&wire);
    assert_eq!(field(&wire, "Content-Transfer-Encoding").as_deref(), Some("quoted-printable"));
    // A part with holes is spliced, so it is quoted-printable whatever it holds.
    let mut body = body();
    body.text.push(literal(&japanese));
    assert!(!newsletter(&body, &recipient(1)).contains("base64"));
}

#[test]
fn w6_base64_keeps_its_padding() {
    for length in 1..9 {
        let text = "日é".repeat(length);
        let (_, wire) = compose(&frame(Kind::Answer), &text_body(&text), &recipient(1)).unwrap();
        assert_eq!(parts(&wire).1, text);
    }
}

#[test]
fn w8_to_w11_hostile_names_stay_names() {
    for name in [
        "Zoë \"Z\" <x>",
        "=?utf-8?q?Boss=0D=0ABcc:x?=",
        "Hi\r\nBcc: evil@x",
        "Hi\nX: y",
        "Hi\r\n\r\n<body>",
        "a, b; c: d",
        "\"",
        "back\\slash",
    ] {
        let mut to = recipient(1);
        to.name = name.into();
        let wire = newsletter(&body(), &to);
        check_wire(&wire);
        let plain = newsletter(&body(), &recipient(1));
        let names = |wire: &str| fields(wire).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(&wire), names(&plain), "W11: {name}");
        assert!(!wire.contains("\"=?"), "W9");
        let parsed = MessageParser::new().parse(wire.as_bytes()).unwrap();
        let clean = name.replace(|c: char| c.is_control(), " ");
        let first = parsed.to().unwrap().first().unwrap();
        assert_eq!(first.name(), Some(clean.trim()), "W8, W10");
        assert_eq!(first.address(), Some("reader1@reader.example.com"));
        assert_eq!(parsed.subject(), Some(format!("Hello {clean}").trim()));
        let (_, text, html) = parts(&wire);
        assert!(text.contains(&clean), "W22");
        assert!(!html.contains("<x>") && !html.contains("<body>"), "W23");
    }
}

#[test]
fn w12_a_long_url_is_an_error_and_no_broken_header() {
    let mut long = frame(Kind::Newsletter);
    long.url = format!("https://news.example.org/{}", "u".repeat(700));
    let (_, wire) = compose(&long, &body(), &recipient(1)).unwrap();
    assert!(wire.split("\r\n").any(|line| line.starts_with("List-Unsubscribe: <https") && line.len() > 700));
    long.url = format!("https://news.example.org/{}", "u".repeat(980));
    assert_eq!(compose(&long, &body(), &recipient(1)), Err(ComposeProblem::LongUrl(1005)));
    long.url = "https://news.example.org/a b".into();
    assert_eq!(compose(&long, &body(), &recipient(1)), Err(ComposeProblem::Frame("a URL")));
    long.url = "https://news.example.org/\r\nBcc:x".into();
    assert_eq!(compose(&long, &body(), &recipient(1)), Err(ComposeProblem::Frame("a URL")));
}

#[test]
fn w15_date_is_the_first_attempt() {
    let wire = newsletter(&body(), &recipient(1));
    assert_eq!(field(&wire, "Date").as_deref(), Some("Sun, 25 Oct 2026 00:30:00 +0000"));
}

#[test]
fn w16_message_ids_are_distinct_stable_and_tell_nothing() {
    let compiled = Compiled::new(&frame(Kind::Newsletter), &text_body("x")).unwrap();
    let keyring = keyring();
    let mut seen = BTreeSet::new();
    let mut wire = Vec::new();
    for delivery in 1..=10_000 {
        wire.clear();
        let envelope = compiled.compose(&keyring, &recipient(delivery), &mut wire).unwrap();
        let id = envelope.message_id;
        let (local, domain) = id.split_once('@').unwrap();
        assert_eq!(domain, "msg.news.example.org");
        assert!(local.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.'), "{id}");
        assert_eq!(delivery_in_message_id(&keyring, &id), Some(delivery));
        assert!(String::from_utf8_lossy(&wire).contains(&format!("Message-ID: <{id}>\r\n")));
        assert!(seen.insert(id));
    }
}

#[test]
fn w17_w21_text_first_then_html() {
    let wire = newsletter(&body(), &recipient(1));
    check_wire(&wire);
    let parsed = MessageParser::new().parse(wire.as_bytes()).unwrap();
    let types: Vec<(String, String)> = parsed
        .parts
        .iter()
        .map(|part| {
            let content = part.content_type().unwrap();
            let charset = content.attribute("charset").unwrap_or("").to_owned();
            (format!("{}/{}", content.ctype(), content.subtype().unwrap()), charset)
        })
        .collect();
    let expected = [("multipart/alternative", ""), ("text/plain", "utf-8"), ("text/html", "utf-8")];
    assert_eq!(types, expected.map(|(a, b)| (a.to_owned(), b.to_owned())), "W17, W21");
    assert_eq!(field(&wire, "MIME-Version").as_deref(), Some("1.0"));
}

#[test]
fn w18_a_boundary_cannot_be_written_by_the_body() {
    let wire = newsletter(&body(), &recipient(1));
    let content_type = field(&wire, "Content-Type").unwrap();
    let boundary = content_type.split('"').nth(1).unwrap();
    assert!(boundary.starts_with("=_") && boundary.len() <= 70);
    let mut body = body();
    body.text = vec![literal(&format!("--{boundary}\n--{boundary}--\n"))];
    let wire = newsletter(&body, &recipient(1));
    assert_eq!(wire.matches(&format!("\r\n--{boundary}\r\n")).count(), 2);
    assert!(wire.ends_with(&format!("\r\n--{boundary}--\r\n")));
    assert_eq!(wire.matches(&format!("--{boundary}--")).count(), 1);
    assert_eq!(parts(&wire).1, format!("--{boundary}\r\n--{boundary}--\r\n"));
}

#[test]
fn w22_w23_each_part_escapes_for_itself() {
    for name in ["</mj-text><mj-raw><script>", "O'Brien & Söhne", "a\"onmouseover=x"] {
        let mut to = recipient(1);
        to.name = name.into();
        let (subject, text, html) = parts(&newsletter(&body(), &to));
        assert_eq!(subject, format!("Hello {name}"));
        assert!(text.starts_with(&format!("Dear {name},")));
        assert!(!html.contains("<script>") && !html.contains("\"onmouseover"));
        let query = html.split("?n=").nth(1).unwrap().split('"').next().unwrap();
        assert!(query.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)), "{query}");
    }
}

#[test]
fn w24_conditions_leave_no_placeholder() {
    let mut to = recipient(1);
    to.term_ends.clear();
    let (_, text, _) = parts(&newsletter(&body(), &to));
    assert!(text.ends_with("\r\nfor ever "), "{text:?}");
    assert!(!text.contains("{{") && !text.contains("}}"));
}

#[test]
fn w25_the_same_delivery_gives_the_same_octets() {
    let compiled = Compiled::new(&frame(Kind::Newsletter), &body()).unwrap();
    let json = serde_json::to_string(&frame(Kind::Newsletter)).unwrap();
    let thawed: Frame = serde_json::from_str(&json).unwrap();
    let again = Compiled::new(&thawed, &body()).unwrap();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let keyring = keyring();
    let envelope = compiled.compose(&keyring, &recipient(5), &mut first).unwrap();
    assert_eq!(again.compose(&keyring, &recipient(5), &mut second).unwrap(), envelope);
    assert_eq!(first, second);
    // Rotated keys change nothing for a delivery that was already tried.
    let rotated = Keyring::new(&[
        SecretString::from("a newer secret"),
        SecretString::from("a secret that only this test knows"),
    ])
    .unwrap();
    second.clear();
    compiled.compose(&rotated, &recipient(5), &mut second).unwrap();
    assert_eq!(first, second);
}

#[test]
fn w26_nobody_sees_another_reader() {
    let wires: Vec<String> = (1..=3).map(|n| newsletter(&body(), &recipient(n))).collect();
    for (at, wire) in wires.iter().enumerate() {
        for other in 1..=3 {
            assert_eq!(wire.contains(&format!("reader{other}@")), other == at + 1);
        }
        assert_eq!(field(wire, "To"), Some(format!("Ann <reader{}@reader.example.com>", at + 1)));
    }
}

#[test]
fn w27_w28_domains_in_ascii_and_local_parts_as_they_are() {
    let mut to = recipient(1);
    to.address = Address::parse("user@bücher.example").unwrap();
    let (envelope, wire) = compose(&frame(Kind::Newsletter), &body(), &to).unwrap();
    assert_eq!(envelope.to.as_str(), "user@xn--bcher-kva.example");
    assert!(wire.contains("To: Ann <user@xn--bcher-kva.example>\r\n"));
    assert!(!envelope.smtputf8);
    check_wire(&wire);
    to.address = Address::parse("用户@例子.example").unwrap();
    let (envelope, wire) = compose(&frame(Kind::Newsletter), &body(), &to).unwrap();
    assert!(envelope.smtputf8);
    assert!(wire.contains("To: Ann <用户@xn--fsqu00a.example>\r\n"));
}

#[test]
fn w30_w32_too_much_is_an_error() {
    let mut body = body();
    body.subject = vec![literal(&"a".repeat(5000))];
    assert_eq!(
        compose(&frame(Kind::Newsletter), &body, &recipient(1)),
        Err(ComposeProblem::LongSubject(5000))
    );
    body.subject = vec![hole(Field::SubscriberName, Context::Bare)];
    let mut to = recipient(1);
    to.name = "n".repeat(256);
    let compiled = Compiled::new(&frame(Kind::Newsletter), &body).unwrap();
    let mut wire = b"kept".to_vec();
    assert_eq!(compiled.compose(&keyring(), &to, &mut wire), Err(ComposeProblem::LongSubject(256)));
    assert_eq!(wire, b"kept");
    to.name.clear();
    assert_eq!(compiled.compose(&keyring(), &to, &mut wire), Err(ComposeProblem::NoSubject));
    let mut big = frame(Kind::Newsletter);
    big.from_name = "ü".repeat(9000);
    assert!(matches!(compose(&big, &text_body("x"), &recipient(1)), Err(ComposeProblem::LongHeader(_))));
    let mut narrow = frame(Kind::Newsletter);
    narrow.bounce = pattern("a-very-long-local-part+that-leaves-no-room+");
    assert_eq!(
        compose(&narrow, &text_body("x"), &recipient(1)),
        Err(ComposeProblem::Frame("an address pattern")),
        "W30"
    );
}

#[test]
fn w35_w36_w38_one_click() {
    let wire = newsletter(&body(), &recipient(1));
    let value = field(&wire, "List-Unsubscribe").unwrap();
    let (url, mailto) = value.split_once(", ").unwrap();
    let token = url.strip_prefix("<https://news.example.org/u/").unwrap().strip_suffix('>').unwrap();
    let subject = keyring().verify(token).unwrap();
    assert_eq!((subject.purpose, subject.row), (Purpose::Unsubscribe, 1001), "W38");
    assert_eq!(mailto, format!("<mailto:leave+{token}@news.example.org?subject=unsubscribe>"));
    assert_eq!(field(&wire, "List-Unsubscribe-Post").as_deref(), Some("List-Unsubscribe=One-Click"));
    let mut bare = frame(Kind::Newsletter);
    bare.unsubscribe = None;
    let (_, wire) = compose(&bare, &body(), &recipient(1)).unwrap();
    assert_eq!(field(&wire, "List-Unsubscribe").as_deref(), Some(url));
    bare.url = "http://news.example.org".into();
    assert_eq!(compose(&bare, &body(), &recipient(1)), Err(ComposeProblem::NotHttps));
    let mut nobody = recipient(1);
    nobody.subscriber = 0;
    assert_eq!(compose(&frame(Kind::Newsletter), &body(), &nobody), Err(ComposeProblem::NoSubscriber));
}

#[test]
fn w46_w47_list_fields_when_they_exist() {
    let wire = newsletter(&body(), &recipient(1));
    let list_id = field(&wire, "List-Id").unwrap();
    assert!(list_id.starts_with("=?utf-8?") && list_id.ends_with(" <weekly.news.example.org>"), "{list_id}");
    assert_eq!(field(&wire, "List-Archive").as_deref(), Some("<https://news.example.org/archive>"));
    assert_eq!(field(&wire, "List-Post").as_deref(), Some("NO"));
    assert_eq!((field(&wire, "List-Owner"), field(&wire, "List-Subscribe")), (None, None));
    let mut reachable = frame(Kind::Newsletter);
    reachable.owner = Some("support@news.example.org".into());
    reachable.join = Some("join+us@news.example.org".into());
    let (_, whole) = compose(&reachable, &body(), &recipient(1)).unwrap();
    assert_eq!(field(&whole, "List-Owner").as_deref(), Some("<mailto:support@news.example.org>"));
    let join = "<mailto:join+us@news.example.org?subject=subscribe>";
    assert_eq!(field(&whole, "List-Subscribe").as_deref(), Some(join));
    reachable.owner = Some("a b".into());
    assert!(compose(&reachable, &body(), &recipient(1)).is_err());
    assert_eq!(field(&wire, "List-Help"), None);
    let mut bare = frame(Kind::Newsletter);
    bare.archive_url = None;
    bare.list_id = Some(ListId { phrase: String::new(), id: "weekly.news.example.org".into() });
    let (_, wire) = compose(&bare, &body(), &recipient(1)).unwrap();
    assert_eq!(field(&wire, "List-Archive"), None);
    assert_eq!(field(&wire, "List-Id").as_deref(), Some("<weekly.news.example.org>"));
    assert!(!wire.contains("<>"));
    bare.list_id = Some(ListId { phrase: String::new(), id: "no dots".into() });
    assert_eq!(compose(&bare, &body(), &recipient(1)), Err(ComposeProblem::Frame("list_id")));
}

#[test]
fn w48_a_feedback_id_counts_editions_and_tiers_and_never_people() {
    let of = |slug: &str, tier: &str, to: i64| {
        let frame = frame(Kind::Newsletter).of_edition(slug, tier);
        field(&compose(&frame, &body(), &recipient(to)).unwrap().1, "Feedback-ID").unwrap()
    };
    assert_eq!(of("weekly-2026-12-01", "yearly", 1), "weekly-2026-12-01:yearly:newsletter:newsexampleorg");
    assert_eq!(of("special", "free", 1), of("special", "free", 2));
    for domain in ["t.co", "a-very-long-name.of.a.domain.example.org"] {
        let mut frame = frame(Kind::Newsletter);
        frame.from_address = format!("weekly@{domain}");
        let id = frame.of_edition("e", "free").feedback_id.unwrap();
        let sender = id.rsplit(':').next().unwrap();
        assert!((5..=15).contains(&sender.len()), "{id}");
    }
    let bad = frame(Kind::Newsletter).of_edition("a b", "free");
    assert_eq!(compose(&bad, &body(), &recipient(1)), Err(ComposeProblem::Frame("feedback_id")));
    // One-to-one mail has none.
    assert_eq!(field(&compose(&frame(Kind::Notice), &body(), &recipient(1)).unwrap().1, "Feedback-ID"), None);
}

#[test]
fn w34_nothing_of_the_inside_leaves() {
    let mut to = recipient(987_654_321);
    to.subscriber = 123_454_321;
    to.address = Address::parse("ann@reader.example.com").unwrap();
    for kind in [Kind::Newsletter, Kind::Notice, Kind::Answer] {
        let (envelope, wire) = compose(&frame(kind), &body(), &to).unwrap();
        check_wire(&wire);
        let home = std::env::var("HOME").unwrap_or_else(|_| "/home/".into());
        let host = std::fs::read_to_string("/etc/hostname").unwrap_or_else(|_| "localhost".into());
        for inside in ["987654321", "123454321", "X-Originating-IP", home.as_str(), host.trim()] {
            assert!(!wire.contains(inside) && !envelope.from.contains(inside), "{inside}");
        }
    }
}

#[test]
fn w49_to_w51_each_kind_says_what_it_is() {
    let of = |kind| {
        let (_, wire) = compose(&frame(kind), &body(), &recipient(1)).unwrap();
        let all: BTreeMap<String, String> = fields(&wire).into_iter().collect();
        all
    };
    let newsletter = of(Kind::Newsletter);
    assert_eq!(newsletter.get("Precedence").map(String::as_str), Some("bulk"));
    assert!(
        !newsletter.contains_key("Auto-Submitted") && !newsletter.contains_key("X-Auto-Response-Suppress")
    );
    let notice = of(Kind::Notice);
    assert_eq!(notice.get("Auto-Submitted").map(String::as_str), Some("auto-generated"));
    assert_eq!(notice.get("X-Auto-Response-Suppress").map(String::as_str), Some("OOF, AutoReply"));
    assert_eq!(notice.get("X-Loop").map(String::as_str), Some("weekly@news.example.org"));
    let answer = of(Kind::Answer);
    assert!(!answer.contains_key("Auto-Submitted") && !answer.contains_key("X-Loop"));
    for all in [&notice, &answer] {
        assert!(!all.keys().any(|name| name.starts_with("List-") || name == "Precedence"));
    }
}

#[test]
fn an_answer_cites_what_it_answers_within_bounds() {
    let mut answer = frame(Kind::Answer);
    answer.in_reply_to = Some("q1@reader.example.com".into());
    answer.references = (0..200).map(|n| format!("r{n}@reader.example.com")).collect();
    answer.references[100] = "bad id\r\nX: y".into();
    let (_, wire) = compose(&answer, &text_body("x"), &recipient(1)).unwrap();
    check_wire(&wire);
    assert_eq!(field(&wire, "In-Reply-To").as_deref(), Some("<q1@reader.example.com>"));
    let references = field(&wire, "References").unwrap();
    assert!(references.len() <= 1600);
    assert!(
        references.starts_with("<r0@reader.example.com> ")
            && references.ends_with(" <r199@reader.example.com>")
    );
    assert_eq!(wire.matches("\r\n\r\n").count(), 1);
}

#[test]
fn addresses_of_a_delivery_carry_its_tokens() {
    let (envelope, wire) = compose(&frame(Kind::Newsletter), &body(), &recipient(9)).unwrap();
    let keyring = keyring();
    let verify = |before: &str, address: &str| {
        keyring.verify(&pattern(before).token_in(address).unwrap()).map(|s| (s.purpose, s.row, s.second))
    };
    assert_eq!(verify("bounce+", &envelope.from), Some((Purpose::Bounce, 9, 0)));
    let reply = field(&wire, "Reply-To").unwrap();
    assert_eq!(verify("support+", &reply), Some((Purpose::Edition, 9, 0)));
    let mut staff = frame(Kind::Notice);
    staff.reply_to = ReplyTo::Staff;
    let (_, wire) = compose(&staff, &body(), &recipient(9)).unwrap();
    assert_eq!(verify("support+", &field(&wire, "Reply-To").unwrap()), Some((Purpose::Staff, 7, 3)));
    let header = &wire[..wire.find("\r\n\r\n").unwrap()];
    assert!(!header.contains("List-"));
    let body_at = envelope.body_at;
    let (_, wire) = compose(&frame(Kind::Newsletter), &body(), &recipient(9)).unwrap();
    assert!(wire[..body_at].ends_with("\r\n\r\n") && wire[body_at..].starts_with("--=_"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_goes_in_comes_out_as_it_was(
        name in "[\\x00-\\x1f]{0,2}\\PC{0,60}[\\r\\n=.\\x7f]{0,3}",
        text in "(?s)[ -~\\r\\n\\t.=Fé日🎉\\x00]{0,400}",
        html in "(?s)[ -~\\r\\n\\t.=F<>é]{1,400}",
    ) {
        let mut to = recipient(3);
        to.name = name.replace('\u{fffd}', "?");
        let mut body = body();
        body.text.push(literal(&text));
        body.html.insert(1, literal(&html));
        let wire = newsletter(&body, &to);
        check_wire(&wire);
        let values = values_of(&to, &wire);
        let (subject, got_text, got_html) = parts(&wire);
        let spaced = format!("Hello {}", to.name.replace(|c: char| c.is_control(), " "));
        prop_assert_eq!(subject, spaced.trim());
        prop_assert_eq!(got_text, expected(&body.text, &values));
        prop_assert_eq!(got_html, expected(&body.html, &values));
    }
}
