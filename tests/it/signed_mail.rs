//! Signed mail as a peer receives it, checked by a verifier that shares no code with the signer. Numbers are the items of the
//! wire rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings::domain::settings::OnUncertain;
use tidings::mail::dkim::{DkimKey, Signer};
use tidings::tasks::signing::Signing;

use crate::support::clock::TUESDAY;
use crate::support::peer::{Do, Peer, Stage};
use crate::support::sending::{FIRST_RETRY, Sending, queued_edition};
use crate::support::signing::{pem, signer, verifier};
use crate::support::stores::TestStore;

const DOMAIN: &str = "news.example.org";
/// Whom the recorded mail is from.
const AUTHOR: &str = "weekly@news.example.org";

/// A line that signs with these keys.
async fn sending(store: &tidings::store::Store, peer: &Peer, signer: &Arc<Signer>) -> Sending {
    let mut sending = Sending::start(store, peer, OnUncertain::Resend).await;
    Arc::get_mut(&mut sending.line).unwrap().signing = Some(Signing::new(signer.clone()));
    sending
}

/// One signed newsletter, as the peer got it.
async fn received(signer: &Arc<Signer>) -> String {
    let test = TestStore::sqlite().await;
    let peer = Peer::willing().await;
    let sending = sending(&test.store, &peer, signer).await;
    queued_edition(&test.store, 1).await;
    assert_eq!(sending.drain().await, 1);
    String::from_utf8(peer.taken().remove(0).bytes).unwrap()
}

fn raw(text: &str) -> Arc<Vec<u8>> {
    Arc::new(text.as_bytes().to_vec())
}

/// The signatures, unfolded, and the message without them.
fn signatures(wire: &str) -> (Vec<String>, String) {
    let (mut found, mut rest) = (Vec::new(), wire);
    while let Some(value) = rest.strip_prefix("DKIM-Signature: ") {
        let end = value.match_indices("\r\n").find(|(at, _)| !value[at + 2..].starts_with(' ')).unwrap().0;
        found.push(value[..end].replace("\r\n ", ""));
        rest = &value[end + 2..];
    }
    (found, rest.to_owned())
}

fn tags(signature: &str) -> BTreeMap<&str, &str> {
    signature.split(';').map(|tag| tag.trim().split_once('=').unwrap()).collect()
}

#[tokio::test]
async fn w37_w56_to_w62_the_recorded_mail_verifies_and_nothing_of_it_may_change() {
    let signer = signer(&[(DOMAIN, "t1")]);
    let verifier = verifier(signer.keys()).await;
    let wire = received(&signer).await;
    assert_eq!(
        verifier.proves(raw(&wire), AUTHOR).await.as_deref(),
        Ok("DKIM pass by news.example.org"),
        "W56"
    );

    let (found, _) = signatures(&wire);
    assert_eq!(found.len(), 1);
    let tags = tags(&found[0]);
    let expected = [("v", "1"), ("a", "rsa-sha256"), ("c", "relaxed/relaxed"), ("d", DOMAIN), ("s", "t1")];
    for (tag, value) in expected {
        assert_eq!(tags[tag], value, "W57, W58");
    }
    assert_eq!(tags["t"], (TUESDAY.millis() / 1000).to_string(), "W62");
    assert!(!tags.contains_key("l") && !tags.contains_key("x"), "W61, W62");
    let signed: Vec<&str> = tags["h"].split(':').collect();
    let (header, _) = wire.split_once("\r\n\r\n").unwrap();
    let there = |name: &str| header.to_lowercase().contains(&format!("\r\n{name}:"));
    let covered = [
        "from",
        "sender",
        "reply-to",
        "to",
        "cc",
        "subject",
        "date",
        "message-id",
        "mime-version",
        "content-type",
        "content-transfer-encoding",
        "list-id",
        "list-help",
        "list-unsubscribe",
        "list-unsubscribe-post",
        "list-archive",
        "list-owner",
        "feedback-id",
        "precedence",
    ];
    for name in covered {
        assert!(!there(name) || signed.contains(&name), "W59: {name}");
    }
    assert!(!signed.iter().any(|name| ["return-path", "received", "dkim-signature"].contains(name)), "W59");

    let once_more = [
        ("From", "Somebody <evil@news.example.org>"),
        ("To", "other@x.example"),
        ("Subject", "Another"),
        ("Date", "Tue, 24 Nov 2026 15:00:00 +0000"),
        ("Reply-To", "evil@x.example"),
        ("Content-Type", "text/html"),
        ("List-Unsubscribe", "<https://evil.example/>"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
    ];
    let mut changed = vec![
        ("W37", wire.replace("<https://news.example.org/u/", "<https://news.example.orh/u/")),
        ("W37", wire.replace("List-Unsubscribe=One-Click", "List-Unsubscribe=One-Clicl")),
        ("W61", format!("{wire}one more line\r\n")),
        ("W56", wire.replace("words of free", "words of fred")),
    ];
    for (name, value) in once_more {
        changed.push(("W60, in front", format!("{name}: {value}\r\n{wire}")));
        changed.push(("W60, behind", wire.replacen("\r\n\r\n", &format!("\r\n{name}: {value}\r\n\r\n"), 1)));
    }
    for (item, text) in changed {
        assert_ne!(text, wire, "{item}");
        assert!(verifier.proves(raw(&text), AUTHOR).await.is_err(), "{item}");
    }
    // What relays may do on the way changes nothing.
    let refolded = wire.replace("\r\n boundary=", "\r\n\t boundary=");
    let traced = format!("Received: from a by b;\r\n Tue, 24 Nov 2026 15:00:00 +0000\r\n{refolded}\r\n\r\n");
    assert!(refolded != wire && verifier.proves(raw(&traced), AUTHOR).await.is_ok(), "W58");
}

#[tokio::test]
async fn w60_what_is_not_there_may_not_be_added() {
    let signer = signer(&[(DOMAIN, "t1")]);
    let verifier = verifier(signer.keys()).await;
    let mut wire = b"From: weekly@news.example.org\r\nTo: b@x.example\r\n\r\nhello\r\n".to_vec();
    let body_at = wire.len() - "hello\r\n".len();
    signer.sign(DOMAIN, TUESDAY, &mut wire, body_at).unwrap();
    let wire = String::from_utf8(wire).unwrap();
    assert!(verifier.proves(raw(&wire), AUTHOR).await.is_ok());
    for name in ["Subject", "Date", "Reply-To", "Content-Type", "List-Unsubscribe", "List-Unsubscribe-Post"] {
        let text = wire.replacen("\r\n\r\n", &format!("\r\n{name}: x\r\n\r\n"), 1);
        assert!(verifier.proves(raw(&text), AUTHOR).await.is_err(), "{name}");
    }
    // Relays add these and are right to.
    for name in ["Sender", "List-Id", "X-Spam-Score"] {
        let text = wire.replacen("\r\n\r\n", &format!("\r\n{name}: x\r\n\r\n"), 1);
        assert!(verifier.proves(raw(&text), AUTHOR).await.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn w64_every_key_leaves_its_own_signature() {
    let signer = signer(&[(DOMAIN, "t1"), ("example.org", "t2")]);
    let wire = received(&signer).await;
    let (found, message) = signatures(&wire);
    assert_eq!(found.len(), signer.keys().len());
    let at = wire.rfind("DKIM-Signature: ").unwrap();
    let alone = [format!("{}{message}", &wire[..at]), wire[at..].to_owned()];
    for (key, text) in signer.keys().iter().zip(alone) {
        let verifier = verifier([key]).await;
        assert!(verifier.proves(raw(&text), AUTHOR).await.is_ok(), "{key:?}");
        assert!(verifier.proves(raw(&wire), AUTHOR).await.is_ok(), "{key:?} beside the other");
    }
}

/// Each signature holds without the other, and for a verifier that knows one of the two kinds.
#[tokio::test]
async fn w63_an_ed25519_signature_is_the_second_one() {
    let ed25519 = include_str!("../keys/rfc8463-ed25519.pem");
    let rsa = DkimKey::new(DOMAIN, "t1", pem(0)).unwrap();
    let second = DkimKey::new(DOMAIN, "e1", ed25519).unwrap();
    let signer = Arc::new(Signer::new(vec![rsa, second]));
    let wire = received(&signer).await;
    let (found, message) = signatures(&wire);
    let algorithms: Vec<&str> = found.iter().map(|field| tags(field)["a"]).collect();
    assert_eq!(algorithms, ["rsa-sha256", "ed25519-sha256"]);
    let at = wire.rfind("DKIM-Signature: ").unwrap();
    let alone = [format!("{}{message}", &wire[..at]), wire[at..].to_owned()];
    for (key, text) in signer.keys().iter().zip(alone) {
        let verifier = verifier([key]).await;
        assert!(verifier.proves(raw(&text), AUTHOR).await.is_ok(), "{key:?}");
        assert!(verifier.proves(raw(&wire), AUTHOR).await.is_ok(), "{key:?} beside the other");
        assert!(verifier.proves(raw(&text.replace("words of free", "words of fred")), AUTHOR).await.is_err());
    }
    // Never alone, whatever the settings were when it was read.
    let lonely = Signer::new(vec![DkimKey::new(DOMAIN, "e1", ed25519).unwrap()]);
    let mut message = b"From: weekly@news.example.org\r\n\r\nhello\r\n".to_vec();
    assert!(lonely.sign(DOMAIN, TUESDAY, &mut message, 33).is_err());
    assert!(message.starts_with(b"From:"));
}

#[tokio::test]
async fn w66_a_key_signs_for_the_domains_that_it_is_aligned_with() {
    let signer = signer(&[(DOMAIN, "t1"), ("other.example", "t2")]);
    let (found, _) = signatures(&received(&signer).await);
    assert_eq!(found.len(), 1);
    assert_eq!(tags(&found[0])["d"], DOMAIN);
}

#[tokio::test]
async fn w67_keys_change_in_the_middle_of_an_edition() {
    let (old, new) = (signer(&[(DOMAIN, "old")]), signer(&[("example.org", "x"), (DOMAIN, "new")]));
    let test = TestStore::sqlite().await;
    let peer = Peer::willing().await;
    let mut sending = sending(&test.store, &peer, &old).await;
    queued_edition(&test.store, 4).await;
    let mut connection = sending.connection();
    connection.step().await;
    connection.step().await;
    drop(connection);
    Arc::get_mut(&mut sending.line).unwrap().signing = Some(Signing::new(new.clone()));
    assert_eq!(sending.drain().await, 2);
    let verifier = verifier(old.keys().iter().chain(new.keys())).await;
    let taken = peer.taken();
    assert_eq!(taken.len(), 4);
    for (mail, selector) in taken.iter().zip(["s=old;", "s=old;", "s=new;", "s=new;"]) {
        let wire = String::from_utf8(mail.bytes.clone()).unwrap();
        assert!(wire.contains(selector), "{wire}");
        assert!(verifier.proves(raw(&wire), AUTHOR).await.is_ok());
    }
}

#[tokio::test]
async fn w25_a_retry_has_the_same_octets_signature_and_all() {
    let signer = signer(&[(DOMAIN, "t1")]);
    let test = TestStore::sqlite().await;
    // The connection is lost when the peer has the whole message and before it has said so.
    let peer = Peer::start(&["PIPELINING"], |moment| match (moment.stage, moment.connection) {
        (Stage::Dot, 1) => Do::Close,
        _ => Do::Go,
    })
    .await;
    let sending = sending(&test.store, &peer, &signer).await;
    queued_edition(&test.store, 1).await;
    sending.drain().await;
    for _ in 0..3 {
        sending.clock.advance(FIRST_RETRY * 2);
        sending.tidy(tidings::runtime::Clock::now(&sending.clock)).await;
        sending.drain().await;
    }
    let taken = peer.taken();
    assert_eq!(taken.iter().map(|mail| mail.acknowledged).collect::<Vec<_>>(), [false, true]);
    assert_eq!((&taken[0].from, &taken[0].to), (&taken[1].from, &taken[1].to));
    assert!(taken[0].bytes.starts_with(b"DKIM-Signature: "));
    assert_eq!(taken[0].bytes, taken[1].bytes);
}

#[tokio::test]
async fn what_cannot_be_signed_is_parked_and_never_sent() {
    let test = TestStore::sqlite().await;
    let peer = Peer::willing().await;
    let sending = sending(&test.store, &peer, &signer(&[("other.example", "t1")])).await;
    queued_edition(&test.store, 2).await;
    sending.drain().await;
    assert_eq!(peer.count(), 0);
    let counts = sending.counts().await;
    assert_eq!((counts.parked, counts.accepted, counts.queued), (2, 0, 0));
    let mut tx = test.store.read().await.unwrap();
    let rows = tidings::store::deliveries::list(&mut tx, Some("weekly"), None, 0, 9).await.unwrap();
    let said = rows[0].last_reply.clone().unwrap();
    assert_eq!(
        said,
        "it cannot be signed: no RSA key for DKIM is aligned with the From domain news.example.org"
    );
}
