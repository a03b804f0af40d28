//! Whatever a subscriber's name, an editor's subject, a publication's name or an article holds: the signed mail has the header
//! fields, the parts and the limits of any other, says in each part exactly what was filled in, and is the same again on a retry.

use mail_parser::{MessageParser, MimeHeaders};
use proptest::prelude::*;
use tidings::domain::body::{Body, Field, Values};
use tidings::domain::publication::TierId;
use tidings::mail::compose::{Compiled, Kind, Recipient};
use tidings::mail::dkim::Signer;
use tidings::render::{EditionInput, render_edition};

use crate::compose_wire::{check_wire, expected, fields, frame, keyring, parts, recipient};
use crate::render_support::{article, edition, publication, shipped};
use crate::support::signing::signer;

/// Text that mail programs have fallen for: line ends and controls of every kind, encoded-words, header fields, boundaries, dots,
/// markup, holes, long words, letters of other scripts.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        "\\PC{0,12}",
        "[\\x00-\\x1f\\x7f\u{80}-\u{9f}\u{2028}\u{2029}\u{200b}\u{202e}\u{feff}]{1,3}",
        "[ \t\"\\\\<>(),:;@=?_.%&'{}]{1,6}",
        "[a-z]{60,300}",
        Just("\r\nBcc: evil@x.example\r\n".to_owned()),
        Just("\r\n\r\n<script>alert(1)</script>\r\n".to_owned()),
        Just("\r\n.\r\nMAIL FROM:<evil@x.example>\r\n".to_owned()),
        Just("=?utf-8?q?=0D=0ABcc:_x?=".to_owned()),
        Just("--=_boundary\r\n--=_boundary--\r\n".to_owned()),
        Just("</mj-text><mj-raw>{{links.unsubscribe}}{{{subscriber.name}}}".to_owned()),
        Just("日本語🎉Ünïcödé".to_owned()),
    ];
    prop::collection::vec(pieces, 0..5).prop_map(|pieces| pieces.concat().replace('\u{fffd}', "?"))
}

fn signed(compiled: &Compiled, signer: &Signer, to: &Recipient) -> Option<String> {
    let mut wire = Vec::new();
    let envelope = compiled.compose(&keyring(), to, &mut wire).ok()?;
    signer.sign(compiled.from_domain(), to.first_attempt_at, &mut wire, envelope.body_at).unwrap();
    Some(String::from_utf8(wire).unwrap())
}

fn names(wire: &str) -> Vec<String> {
    fields(wire).into_iter().map(|(name, _)| name).collect()
}

fn shape(wire: &str) -> Vec<String> {
    let parsed = MessageParser::new().parse(wire.as_bytes()).unwrap();
    let of = |part: &mail_parser::MessagePart<'_>| {
        let kind = part.content_type().unwrap();
        format!("{}/{} {:?}", kind.ctype(), kind.subtype().unwrap_or(""), kind.attribute("charset"))
    };
    parsed.parts.iter().map(of).collect()
}

/// As the composer fills them.
fn values(to: &Recipient, wire: &str) -> Values {
    let url = |name: &str| {
        let header = fields(wire).into_iter().find(|(field, _)| field == name).unwrap().1;
        header.split_once('<').unwrap().1.split_once('>').unwrap().0.to_owned()
    };
    let mut values = Values::default();
    values
        .set(Field::SubscriberName, to.name.as_str())
        .set(Field::SubscriberAddress, to.address.as_str())
        .set(Field::SubscriberTierLabel, to.tier_label.as_str())
        .set(Field::SubscriberTermEnds, to.term_ends.as_str())
        .set(Field::LinkUnsubscribe, url("List-Unsubscribe"));
    values
}

/// What must hold of a mail with hostile words in it, beside a mail without.
fn check(wire: &str, harmless: &str, body: Option<&Body>, to: &Recipient) {
    check_wire(wire);
    assert_eq!(names(wire), names(harmless), "no field more, none less, in the same order");
    assert_eq!(shape(wire), shape(harmless));
    let controls = |text: &str| text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\r' | '\n'));
    assert!(!controls(wire), "no control character leaves");
    let parsed = MessageParser::new().parse(wire.as_bytes()).unwrap();
    assert!(!parsed.subject().unwrap_or("").contains(char::is_control));
    assert_eq!(parsed.from().unwrap().iter().count(), 1);
    assert_eq!(parsed.to().unwrap().iter().count(), 1);
    assert_eq!(parsed.to().unwrap().first().unwrap().address(), Some(to.address.as_str()));
    assert_eq!(parsed.from().unwrap().first().unwrap().address(), Some("weekly@news.example.org"));
    let (_, text, html) = parts(wire);
    assert!(!controls(&text) && !controls(&html));
    if let Some(body) = body {
        let values = values(to, wire);
        assert_eq!(text, expected(&body.text, &values));
        assert_eq!(html, expected(&body.html, &values));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// W1, W4, W8 to W13, W17, W23, W25, W33.
    #[test]
    fn w11_a_reader_changes_nothing_but_their_own_words(name in hostile(), label in hostile(), until in hostile()) {
        let signer = signer(&[("news.example.org", "t1")]);
        let body = crate::compose_wire::body();
        let compiled = Compiled::new(&frame(Kind::Newsletter), &body).unwrap();
        let to = Recipient { name, tier_label: label, term_ends: until, ..recipient(3) };
        // A name of more than a subject's length is refused, and only that.
        let Some(wire) = signed(&compiled, &signer, &to) else {
            prop_assert!(to.name.chars().count() > 240);
            return Ok(());
        };
        let harmless = signed(&compiled, &signer, &recipient(3)).unwrap();
        check(&wire, &harmless, Some(&body), &to);
        prop_assert_eq!(signed(&compiled, &signer, &to).unwrap(), wire, "W25");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// What is not refused with a problem leaves as a sound mail, for every tier.
    #[test]
    fn w11_an_editor_changes_nothing_but_their_own_words(
        subject in hostile(), publisher in hostile(), from in hostile(), markdown in hostile(), name in hostile(),
    ) {
        let signer = signer(&[("news.example.org", "t1")]);
        let (Ok(article), Ok(plain)) = (article(&markdown), article("Words.\n")) else { return Ok(()) };
        let usual = publication();
        let hostile = tidings::domain::publication::Publication { name: publisher.clone(), ..publication() };
        let set = shipped();
        for tier in ["free", "yearly"] {
            let tier = usual.tier(&TierId::from(tier)).unwrap();
            let articles = [article.clone()];
            let input = EditionInput { subject: &subject, ..edition(&hostile, &articles) };
            let Ok(rendered) = render_edition(&set, &input, tier) else { continue };
            let mut frame = frame(Kind::Newsletter);
            frame.from_name = from.clone();
            if let Some(list) = &mut frame.list_id {
                list.phrase = publisher.clone();
            }
            let Ok(compiled) = Compiled::new(&frame, &rendered.body) else { continue };
            let to = Recipient { name: name.clone(), ..recipient(3) };
            let Some(wire) = signed(&compiled, &signer, &to) else { continue };
            let harmless = render_edition(&set, &edition(&usual, std::slice::from_ref(&plain)), tier).unwrap();
            let harmless = Compiled::new(&crate::compose_wire::frame(Kind::Newsletter), &harmless.body).unwrap();
            check(&wire, &signed(&harmless, &signer, &recipient(3)).unwrap(), None, &to);
            prop_assert_eq!(signed(&compiled, &signer, &to).unwrap(), wire, "W25");
        }
    }
}
