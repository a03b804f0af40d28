//! Received octets to plain values. Never fails: what cannot be read is said in the `unreadable` field, and the rest is empty.
//!
//! Header fields are read twice: by mail-parser where a field has a grammar (addresses, dates, encoded words), and by a plain
//! splitter where the raw value is wanted (marks of automatic mail, ids). The first field of a name counts, because that is the
//! one that people see in their program. Everything is bounded, texts hold no control characters; the raw copy keeps all.
//! Enclosed messages are attachments; what programs report is read by `report`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mail_parser::{Address as Addresses, DateTime, HeaderName, Message};

use crate::domain::settings::AddressPattern;
use crate::domain::token::Subject;
use crate::domain::verdict::{EnvelopeFrom, Facts};
use crate::runtime::Timestamp;

use super::envelope;
pub use super::mime::Attachment;
use super::mime::{self, clean, split_header, with_header};
use super::signs;
use super::token::Keyring;

/// Fields of a header that are looked at.
const FIELDS_MAX: usize = 1_000;
const VALUE_MAX: usize = 8 * 1024;
const SUBJECT_MAX: usize = 1_000;
const NAME_MAX: usize = 200;
const REFERENCES_MAX: usize = 50;
const ID_MAX: usize = 500;

/// A name with its address, as a message gives them. The address is not checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    pub name: String,
    pub address: String,
}

/// A received message as plain values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Why nothing could be read.
    pub unreadable: Option<String>,
    /// The first address of the first From.
    pub from: Option<Person>,
    /// Return-Path as the receiving server wrote it; empty for `<>`.
    pub return_path: Option<String>,
    /// Addresses that it may have been sent to, most dependable first, each once.
    pub recipients: Vec<String>,
    pub subject: String,
    /// Ids have no angle brackets.
    pub message_id: Option<String>,
    pub in_reply_to: Vec<String>,
    /// Newest last.
    pub references: Vec<String>,
    pub date: Option<Timestamp>,
    /// When the last server that took it had it: the newest Received (RFC 5321 section 4.4).
    pub arrived: Option<Timestamp>,
    pub text: String,
    pub has_html: bool,
    /// Lines of what the HTML form marks as the writer's signature.
    pub signature: Vec<String>,
    pub attachments: Vec<Attachment>,
    /// The `report-type` of a multipart/report in lower case; empty where it has none.
    pub report: Option<String>,
    /// Something went beyond a limit and was left out.
    pub cut: bool,
    fields: Vec<(String, String)>,
}

impl Parsed {
    /// The first value of a field, white space collapsed. `name` in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn unreadable(why: &str) -> Parsed {
        Parsed { unreadable: Some(why.to_owned()), ..Parsed::default() }
    }
}

/// As [`parse`], and holds even if a parser below panics: one message must never stop the others.
pub fn parse_guarded(raw: &[u8], max_message: usize) -> Parsed {
    if raw.len() > max_message {
        return Parsed::unreadable(&format!("it has {} octets, more than {max_message}", raw.len()));
    }
    catch_unwind(AssertUnwindSafe(|| parse(raw)))
        .unwrap_or_else(|_| Parsed::unreadable("the parser broke on it"))
}

/// Reads a message.
pub fn parse(raw: &[u8]) -> Parsed {
    let raw = without_mbox_line(raw);
    let (block, _) = split_header(raw);
    let fields = split_fields(block);
    if fields.is_empty() {
        return Parsed::unreadable("it has no header");
    }
    let mut parsed = Parsed { fields, ..Parsed::default() };
    with_header(block, |message| read_header(message, &mut parsed));
    parsed.return_path =
        parsed.field("return-path").map(|path| path.trim_matches(['<', '>', ' ']).to_owned());
    parsed.recipients = envelope::recipients(&parsed.fields);
    parsed.message_id = parsed.field("message-id").and_then(|value| ids(value).into_iter().next());
    parsed.in_reply_to = parsed.field("in-reply-to").map(ids).unwrap_or_default();
    parsed.references = parsed.field("references").map(ids).unwrap_or_default();
    let content = mime::read(raw);
    parsed.text = content.text;
    parsed.has_html = content.has_html;
    parsed.signature = content.signature;
    parsed.attachments = content.attachments;
    parsed.cut |= content.cut;
    parsed
}

/// Some servers pipe messages with the separator line of a mailbox file in front (RFC 4155).
pub(super) fn without_mbox_line(raw: &[u8]) -> &[u8] {
    if !raw.starts_with(b"From ") || raw.starts_with(b"From :") {
        return raw;
    }
    memchr::memchr(b'\n', raw).map_or(raw, |end| &raw[end + 1..])
}

fn read_header(message: &Message<'_>, parsed: &mut Parsed) {
    let first = |name: HeaderName<'static>| message.headers().iter().find(move |header| header.name == name);
    parsed.from = first(HeaderName::From).and_then(|header| header.value.as_address()).and_then(person);
    let subject = first(HeaderName::Subject).and_then(|header| header.value.as_text()).unwrap_or("");
    parsed.subject = in_one_line(subject, SUBJECT_MAX);
    let instant =
        |date: &DateTime| date.is_valid().then(|| Timestamp(date.to_timestamp().saturating_mul(1000)));
    parsed.date = first(HeaderName::Date).and_then(|header| header.value.as_datetime()).and_then(&instant);
    let received = first(HeaderName::Received).and_then(|header| header.value.as_received());
    parsed.arrived = received.and_then(|received| received.date()).and_then(|date| instant(&date));
    let content_type = first(HeaderName::ContentType).and_then(|header| header.value.as_content_type());
    let is_report = |ct: &&mail_parser::ContentType<'_>| {
        ct.ctype().eq_ignore_ascii_case("multipart")
            && ct.subtype().is_some_and(|subtype| subtype.eq_ignore_ascii_case("report"))
    };
    parsed.report = content_type
        .filter(is_report)
        .map(|ct| in_one_line(ct.attribute("report-type").unwrap_or(""), NAME_MAX).to_lowercase());
}

fn person(addresses: &Addresses<'_>) -> Option<Person> {
    let first = addresses.iter().find(|entry| entry.address.is_some())?;
    let address = in_one_line(first.address()?, ID_MAX);
    let name = in_one_line(first.name().unwrap_or(""), NAME_MAX);
    address.contains('@').then_some(Person { name, address })
}

/// Fields in order, names in lower case, values unfolded and cut.
pub(super) fn split_fields(block: &[u8]) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in block.split(|octet| *octet == b'\n') {
        let folded = line.first().is_some_and(|octet| matches!(octet, b' ' | b'\t'));
        let line = String::from_utf8_lossy(&line[..line.len().min(VALUE_MAX)]);
        if folded {
            if let Some((_, value)) = fields.last_mut()
                && value.len() < VALUE_MAX
            {
                value.push(' ');
                value.push_str(&in_one_line(&line, VALUE_MAX));
            }
            continue;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        let name = name.trim_end();
        if name.is_empty() || !name.bytes().all(|octet| octet.is_ascii_graphic()) {
            continue;
        }
        if fields.len() == FIELDS_MAX {
            break;
        }
        fields.push((name.to_ascii_lowercase(), in_one_line(value, VALUE_MAX)));
    }
    fields
}

/// The first value of a field of a header block. `name` in lower case.
pub(super) fn field_in(block: &[u8], name: &str) -> Option<String> {
    split_fields(block).into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

/// Control characters away, white space collapsed, at most `most` characters.
fn in_one_line(text: &str, most: usize) -> String {
    let mut out = String::new();
    for word in clean(text).split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    if out.chars().count() > most {
        out = out.chars().take(most).collect();
    }
    out
}

/// Ids between any of the separators that programs use: white space, commas, and `><` without anything between.
fn ids(value: &str) -> Vec<String> {
    let pieces = value.split(|c: char| c.is_whitespace() || matches!(c, ',' | '<' | '>' | ';'));
    let mut ids: Vec<String> = Vec::new();
    for id in pieces.filter(|id| id.contains('@') && id.len() <= ID_MAX) {
        if !ids.iter().any(|seen| seen == id) {
            ids.push(id.to_owned());
        }
        // The newest ones stand at the end and matter most; the first one is the root.
        if ids.len() > REFERENCES_MAX {
            ids.remove(1);
        }
    }
    ids
}

/// The addresses of a field, in lower case.
pub(super) fn addresses(value: &str) -> Vec<String> {
    with_header(format!("To: {value}").as_bytes(), |message| {
        let listed = message.to().map(|list| {
            list.iter()
                .filter_map(|entry| entry.address())
                .map(|address| in_one_line(address, ID_MAX).to_lowercase())
        });
        listed.into_iter().flatten().filter(|address| address.contains('@')).collect()
    })
    .unwrap_or_default()
}

/// What is ours, for telling our own mail from other people's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    pub message_id_domain: String,
    /// The publication's From, the desk, the join address.
    pub addresses: Vec<String>,
    /// Reply, bounce and unsubscribe.
    pub patterns: Vec<AddressPattern>,
}

impl Own {
    /// Whether mail to this address is for us.
    pub fn is_ours(&self, address: &str) -> bool {
        self.addresses.iter().any(|own| own.eq_ignore_ascii_case(address))
            || self.patterns.iter().any(|pattern| pattern.token_in(address).is_some())
    }

    /// Whether mail from this address is ours. A pattern that is nothing but a token holds every address of its domain, and of those
    /// only what we signed is ours: the domain's mailer-daemon is no loop, nor is a person who lives there.
    pub fn is_from_us(&self, keyring: &Keyring, address: &str) -> bool {
        let by_pattern = |pattern: &AddressPattern| match pattern.token_in(address) {
            Some(token) if pattern.before.is_empty() && pattern.after.is_empty() => {
                keyring.verify(&token).is_some()
            }
            token => token.is_some(),
        };
        self.addresses.iter().any(|own| own.eq_ignore_ascii_case(address))
            || self.patterns.iter().any(by_pattern)
    }

    /// The first recipient whose token one of our keys signed.
    pub fn token<'a>(
        &self,
        keyring: &Keyring,
        recipients: impl IntoIterator<Item = &'a str>,
    ) -> Option<Subject> {
        recipients.into_iter().find_map(|recipient| {
            self.patterns
                .iter()
                .filter_map(|pattern| pattern.token_in(recipient))
                .find_map(|t| keyring.verify(&t))
        })
    }
}

/// What came with a message beside its octets. A source without envelopes leaves both empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrived<'a> {
    /// `Some("")` for `<>`.
    pub envelope_from: Option<&'a str>,
    pub recipient: Option<&'a str>,
}

/// Who wrote a message: its From (RFC 5322 section 3.6.2), and where it has none, the envelope's sender. Reply-To is no identity.
pub fn sender(parsed: &Parsed, arrived: Arrived<'_>) -> Option<Person> {
    let envelope = || {
        let address = arrived.envelope_from.or(parsed.return_path.as_deref())?;
        address.contains('@').then(|| Person { name: String::new(), address: address.to_owned() })
    };
    parsed.from.clone().or_else(envelope)
}

/// The facts that the verdict is decided by.
pub fn facts(parsed: &Parsed, arrived: Arrived<'_>, own: &Own, keyring: &Keyring) -> Facts {
    let lower = |name: &str| parsed.field(name).map(str::to_lowercase).filter(|value| !value.is_empty());
    let token = match arrived.recipient {
        Some(recipient) => own.token(keyring, [recipient]),
        None => own.token(keyring, parsed.recipients.iter().map(String::as_str)),
    };
    let sender = sender(parsed, arrived);
    let from = sender.as_ref().map_or("", |person| person.address.as_str());
    let nobody = || sender.is_none().then(|| "it names no sender".to_owned());
    let envelope_from = match arrived.envelope_from.or(parsed.return_path.as_deref()) {
        None => EnvelopeFrom::Unknown,
        Some("") => EnvelopeFrom::Empty,
        Some(address) => EnvelopeFrom::Address(address.to_lowercase()),
    };
    let under_our_domain = |id: &String| {
        id.rsplit_once('@').is_some_and(|(_, domain)| domain.eq_ignore_ascii_case(&own.message_id_domain))
    };
    Facts {
        unreadable: parsed.unreadable.clone().or_else(nobody),
        envelope_from,
        token,
        from_is_ours: own.is_from_us(keyring, from),
        message_id_is_ours: parsed.message_id.as_ref().is_some_and(under_our_domain),
        loop_mark_is_ours: parsed
            .field("x-loop")
            .is_some_and(|mark| own.is_from_us(keyring, mark.trim_matches(['<', '>', ' ']))),
        report: parsed.report.clone(),
        auto_submitted: lower("auto-submitted"),
        precedence: lower("precedence").or_else(|| lower("x-precedence")),
        list_id: parsed.field("list-id").is_some(),
        list_unsubscribe: parsed.field("list-unsubscribe").is_some(),
        auto_header: signs::automatic(parsed),
        apple_action: lower("x-apple-action"),
        auto_response_suppress: parsed.field("x-auto-response-suppress").is_some_and(|value| {
            value
                .split(',')
                .any(|word| ["all", "autoreply", "oof"].contains(&word.trim().to_ascii_lowercase().as_str()))
        }),
        from_local: from.rsplit_once('@').map_or("", |(local, _)| local).to_lowercase(),
        challenge: signs::challenge(parsed),
        subject_suspected: signs::is_subject_suspected(parsed),
        asks_to_leave: signs::asks_to_leave(parsed),
        // Whoever knows the editors and the join address, can ask a name server and the store, sets the others.
        ..Facts::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::token::Purpose;

    #[test]
    fn the_newest_received_says_when_it_came() {
        let raw = b"Received: from b.example by c.example (Postfix) with ESMTPS id 4ABC\r\n\tfor <x@c.example>; Tue, 24 Nov 2026 15:00:00 +0100 (CET)\r\n\
            Received: from a.example by b.example; Mon, 23 Nov 2026 10:00:00 +0000\r\n\
            Date: Mon, 23 Nov 2026 09:00:00 +0000\r\nFrom: <a@a.example>\r\n\r\nx\r\n";
        let parsed = parse(raw);
        assert_eq!(parsed.arrived.map(|at| at.rfc3339()).as_deref(), Some("2026-11-24T14:00:00Z"));
        assert_eq!(parsed.date.map(|at| at.rfc3339()).as_deref(), Some("2026-11-23T09:00:00Z"));
        let parsed = parse(b"Received: by c.example; yesterday\r\nFrom: <a@a.example>\r\n\r\nx\r\n");
        assert_eq!((parsed.arrived, parsed.date), (None, None));
    }

    #[test]
    fn ids_split_on_everything_that_programs_write() {
        assert_eq!(ids("<a@x><b@x>, <c@x>\t d@x <> junk"), ["a@x", "b@x", "c@x", "d@x"]);
        let many: String = (0..500).map(|n| format!("<r{n}@x> ")).collect();
        let kept = ids(&many);
        assert_eq!(kept.len(), REFERENCES_MAX);
        assert_eq!((kept[0].as_str(), kept[49].as_str()), ("r0@x", "r499@x"));
    }

    #[test]
    fn a_mailbox_line_in_front_is_no_header() {
        let parsed = parse(b"From b@x.example Tue Mar 10 12:00:00 2026\nFrom: a@x.example\n\nx");
        assert_eq!(parsed.from.unwrap().address, "a@x.example");
        assert_eq!(parse(b"From : a@x.example\n\nx").from.unwrap().address, "a@x.example");
    }

    #[test]
    fn the_first_from_counts() {
        let parsed =
            parse(b"From: A <a@x.example>\r\nFrom: b@x.example\r\nSubject: one\r\nSubject: two\r\n\r\n");
        assert_eq!(parsed.from, Some(Person { name: "A".into(), address: "a@x.example".into() }));
        assert_eq!(parsed.subject, "one");
    }

    #[test]
    fn recipients_come_most_dependable_first() {
        let parsed = parse(
            b"Cc: c@x.example\nTo: \"B, b\" <B@x.example>, g: d@x.example;\nDelivered-To: a+t@x.example\n\nx",
        );
        assert_eq!(parsed.recipients, ["a+t@x.example", "b@x.example", "d@x.example", "c@x.example"]);
        assert_eq!(parsed.text, "x");
    }

    #[test]
    fn charsets_and_encodings_become_text() {
        let cases: [(&[u8], &str); 6] = [
            (b"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\ncaf=E9", "café"),
            (b"Content-Type: text/plain\n\ncaf\xe9", "café"),
            (b"Content-Type: text/plain; charset=us-ascii\n\ncaf\xc3\xa9", "café"),
            (b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nY2Fmw6k=\n", "café"),
            (b"Content-Type: text/plain\n\n\x1b$B%O%m!<\x1b(B", "ハロー"),
            (b"Content-Type: text/plain; charset=nonsense\n\ncaf\xc3\xa9", "café"),
        ];
        for (raw, text) in cases {
            assert_eq!(parse(raw).text, text);
        }
    }

    #[test]
    fn alternatives_show_the_plain_form_and_mixed_shows_all() {
        let raw = b"Content-Type: multipart/mixed; boundary=b\n\npreamble\n--b\nContent-Type: multipart/alternative; boundary=b1\n\n--b1\nContent-Type: text/html\n\n<p>html</p>\n--b1\n\nplain\n--b1--\n--b\nContent-Type: text/html\n\n<p>more</p>\n--b\nContent-Type: application/pdf; name=\"../a/b.pdf\"\nContent-Transfer-Encoding: base64\n\nAAAA\nAAA=\n--b--\nepilogue\n";
        let parsed = parse(raw);
        assert_eq!(parsed.text, "plain\n\nmore");
        assert!(parsed.has_html);
        let expected = Attachment {
            name: "b.pdf".into(),
            media_type: "application/pdf".into(),
            bytes: 5,
            content_id: None,
        };
        assert_eq!(parsed.attachments, [expected]);
    }

    fn facts_of(raw: &str, arrived: Arrived<'_>) -> Facts {
        let pattern = |before: &str| AddressPattern {
            before: before.into(),
            after: String::new(),
            domain: "news.example.org".into(),
        };
        let own = Own {
            message_id_domain: "msg.news.example.org".into(),
            addresses: vec!["support@news.example.org".into()],
            patterns: vec![pattern("support+"), pattern("leave+")],
        };
        facts(&parse(raw.as_bytes()), arrived, &own, &keyring())
    }

    fn keyring() -> Keyring {
        Keyring::new(&[secrecy::SecretString::from("x")]).unwrap()
    }

    #[test]
    fn the_envelope_decides_the_role_and_the_headers_only_without_one() {
        let leave = keyring().mint(Subject { purpose: Purpose::Unsubscribe, row: 5, second: 0 });
        let raw =
            format!("From: a@x.example\nTo: support@news.example.org, LEAVE+{leave}@news.example.org\n\nx");
        let seen = facts_of(&raw, Arrived::default()).token.map(|token| token.row);
        assert_eq!(seen, Some(5));
        let arrived = Arrived { recipient: Some("support@news.example.org"), envelope_from: Some("") };
        let facts = facts_of(&raw, arrived);
        assert_eq!(facts.token, None);
        assert_eq!(facts.envelope_from, EnvelopeFrom::Empty);
    }

    #[test]
    fn marks_of_programs_are_found_whatever_their_case() {
        let marked = |field: &str| facts_of(&format!("From: a@x.example\n{field}\n\nx"), Arrived::default());
        assert_eq!(
            marked("AUTO-SUBMITTED: Auto-Replied\n (vacation)").auto_submitted.unwrap(),
            "auto-replied (vacation)"
        );
        assert_eq!(marked("X-Precedence: Bulk").precedence.unwrap(), "bulk");
        assert_eq!(marked("X-AutoReply: YES").auto_header.unwrap(), "x-autoreply: yes");
        assert_eq!(marked("X-Autoreply: no").auto_header, None);
        assert_eq!(marked("X-Autogenerated: forward").auto_header, None);
        assert_eq!(
            marked("Content-Type: Multipart/Report; Report-Type=\"Delivery-Status\"; boundary=b")
                .report
                .unwrap(),
            "delivery-status"
        );
        assert!(marked("X-Auto-Response-Suppress: DR, OOF").auto_response_suppress);
        assert!(!marked("X-Auto-Response-Suppress: DR, RN").auto_response_suppress);
        assert!(marked("X-Loop: <Support@news.example.org>").loop_mark_is_ours);
        assert!(marked("Message-ID: <x@MSG.news.example.org>").message_id_is_ours);
        assert!(!marked("Message-ID: <x@evilmsg.news.example.org>").message_id_is_ours);
    }

    #[test]
    fn a_pattern_of_nothing_but_a_token_makes_no_stranger_ours() {
        let bare =
            AddressPattern { before: String::new(), after: String::new(), domain: "news.example.org".into() };
        let own = Own { patterns: vec![bare], ..Own::default() };
        let from_us = |address: &str| own.is_from_us(&keyring(), address);
        for address in
            ["MAILER-DAEMON@news.example.org", "postmaster@news.example.org", "ann@news.example.org"]
        {
            assert!(!from_us(address), "{address}");
            assert!(own.is_ours(address), "mail to it is taken: {address}");
        }
        let token = keyring().mint(Subject { purpose: Purpose::Thread, row: 5, second: 0 });
        assert!(from_us(&format!("{token}@NEWS.example.org")));
        assert!(!from_us(&format!("{token}@elsewhere.example")));
        // Where something stands before the token, nobody else has such an address.
        let named = AddressPattern { before: "support+".into(), ..own.patterns[0].clone() };
        let own = Own { patterns: vec![named], ..Own::default() };
        assert!(own.is_from_us(&keyring(), "support+anything@news.example.org"));
    }

    #[test]
    fn without_from_the_envelope_names_the_sender() {
        let arrived = Arrived { envelope_from: Some("b@x.example"), recipient: None };
        assert_eq!(sender(&parse(b"Subject: x\n\nx"), arrived).unwrap().address, "b@x.example");
        assert_eq!(facts_of("Subject: x\n\nx", arrived).unreadable, None);
        assert_eq!(
            facts_of("Subject: x\n\nx", Arrived::default()).unreadable.as_deref(),
            Some("it names no sender")
        );
        assert_eq!(sender(&parse(b"From: <>\nReply-To: c@x.example\n\nx"), Arrived::default()), None);
    }

    #[test]
    fn nothing_readable_says_why() {
        assert_eq!(parse(b"").unreadable.as_deref(), Some("it has no header"));
        assert_eq!(parse(b"just words\r\n").unreadable.as_deref(), Some("it has no header"));
        assert_eq!(
            parse_guarded(b"From: a@x.example\n\n", 3).unreadable.as_deref(),
            Some("it has 19 octets, more than 3")
        );
    }
}
