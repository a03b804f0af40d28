//! An editor answers the report of an edition that waits: approved by a proven word, and by nothing less.

use std::sync::Arc;

use mail_auth::common::crypto::Ed25519Key;
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::DkimSigner;
use tidings::app;
use tidings::domain::edition::EditionState;
use tidings::domain::inbound::InboundSource;
use tidings::domain::settings::OnUncertain;
use tidings::domain::token::Purpose;
use tidings::domain::verdict::Verdict;
use tidings::intake::signature::Signatures;
use tidings::store::inbound::NewInbound;
use tidings::store::{Store, bodies, deliveries, editions, inbound, people, threads};
use tidings::tasks::receive::{Proving, Receiver};
use tidings::tasks::schedule::Scheduler;

use crate::support::clock::TUESDAY;
use crate::support::dns::NameServer;
use crate::support::peer::Peer;
use crate::support::receiving::Receiving;
use crate::support::sending::{Sending, edition, subscriber};
use crate::support::stores::on_every_store;

const EDITOR: &str = "ed@example.org";

/// An edition of one reader that waits for approval. Answers its row.
async fn waiting(store: &Store) -> i64 {
    let mut tx = store.write().await.unwrap();
    people::add_many(&mut tx, &[&subscriber("a@x.example", "free")], "test", "", TUESDAY).await.unwrap();
    let new = editions::NewEdition { approval: true, ..edition("weekly", &["free"]) };
    let queued = editions::queue(&mut tx, &new, TUESDAY).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    queued.edition_id
}

async fn state(store: &Store) -> EditionState {
    editions::standing(&mut store.read().await.unwrap(), "weekly").await.unwrap().unwrap().state
}

/// What was queued for the editor: each mail's subject, and its words on one line.
async fn told(store: &Store) -> Vec<(String, String)> {
    let mut tx = store.read().await.unwrap();
    let rows = deliveries::list(&mut tx, None, None, 0, 100).await.unwrap();
    let mut mails = Vec::new();
    for row in rows.iter().filter(|row| row.address == EDITOR) {
        let id = deliveries::body_of(&mut tx, row.id).await.unwrap().unwrap();
        let (_, body) = bodies::by_id(&mut tx, id).await.unwrap();
        let body: tidings::domain::body::Body = serde_json::from_str(&body).unwrap();
        let part = |pieces| tidings::domain::body::fill(pieces, &Default::default());
        mails.push((part(&body.subject), part(&body.text).split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    mails
}

/// An answer, written to `to`.
fn answer(to: &str, from: &str, id: &str, more: &str, text: &str) -> Vec<u8> {
    let text = text.replace('\n', "\r\n");
    format!("From: {from}\r\nTo: {to}\r\nSubject: Re: Queued\r\nMessage-ID: <{id}>\r\n{more}\r\n{text}\r\n")
        .into_bytes()
}

fn server_says(result: &str) -> String {
    format!("Authentication-Results: mx.news.example.org; {result} header.from=example.org\r\n")
}

async fn believing(store: &Store) -> Receiving {
    let mut line = Receiving::start(store).await;
    line.receiver.proving = Proving::Server("mx.news.example.org".into());
    line
}

#[tokio::test]
async fn a_proven_approve_lets_the_edition_go() {
    on_every_store(|store| async move {
        let id = waiting(&store).await;
        let line = believing(&store).await;
        let to = line.address(Purpose::Editors, id, 0);
        let text = "Approve.\n\nOn Tuesday Example News wrote:\n> Nothing leaves before\n> hold";
        let raw = answer(&to, "Ed <ED@example.org>", "e1@x", &server_says("dmarc=pass"), text);
        let row = line.take(&to, EDITOR, &raw).await;
        assert_eq!(row.verdict, Some(Verdict::StaffReply), "{}", row.reason);
        assert_eq!(state(&store).await, EditionState::Sending);
        let mails = told(&store).await;
        let [(subject, text)] = &mails[..] else { panic!("{mails:?}") };
        assert_eq!(subject, "Answer about weekly, approved by ed@example.org");
        assert!(text.contains("What came of it: approved by ed@example.org"), "{text}");
        // And held again by the next one.
        let hold = answer(&to, EDITOR, "e2@x", &server_says("dmarc=pass"), "hold");
        line.take(&to, EDITOR, &hold).await;
        assert_eq!(state(&store).await, EditionState::WaitingApproval);
        let row = editions::show(&mut store.read().await.unwrap(), "weekly").await.unwrap().unwrap();
        assert_eq!(row.reason, "held by ed@example.org");
        // The first answer comes again, by another way: it was said once.
        let again = [b"Received: from x by y\r\n".to_vec(), raw].concat();
        let row = line.take(&to, EDITOR, &again).await;
        assert_eq!(
            (row.verdict, state(&store).await),
            (Some(Verdict::StaffReply), EditionState::WaitingApproval)
        );
    })
    .await;
}

#[tokio::test]
async fn nothing_less_does() {
    let test = crate::support::stores::TestStore::sqlite().await;
    let store = &test.store;
    let id = waiting(store).await;
    let line = believing(store).await;
    let to = line.address(Purpose::Editors, id, 0);
    let pass = server_says("dmarc=pass");
    let eve = answer("eve@freelance.example", EDITOR, "10@x", &pass, "Approved.");
    let cases = [
        (eve, Verdict::RejectedStaff, "not written to this address"),
        (answer(&to, "eve@example.org", "1@x", &pass, "approve"), Verdict::RejectedStaff, "no editor's"),
        (answer(&to, EDITOR, "2@x", "", "approve"), Verdict::RejectedStaff, "no Authentication-Results"),
        (
            answer(&to, EDITOR, "3@x", &server_says("dmarc=fail"), "approve"),
            Verdict::RejectedStaff,
            "DMARC fails",
        ),
        (
            answer(&to, "ed@example.org, eve@evil.example", "4@x", &pass, "approve"),
            Verdict::RejectedStaff,
            "one author",
        ),
        (
            answer(&to, EDITOR, "5@x", &format!("{pass}From: eve@evil.example\r\n"), "approve"),
            Verdict::RejectedStaff,
            "more than one From",
        ),
        (answer(&to, EDITOR, "6@x", &pass, "Looks good to me"), Verdict::StaffReply, "an editor's word"),
        (
            answer(&to, EDITOR, "7@x", &format!("{pass}Auto-Submitted: auto-replied\r\n"), "approve"),
            Verdict::AutoReply,
            "Auto-Submitted",
        ),
    ];
    for (raw, verdict, why) in cases {
        let row = line.take(&to, EDITOR, &raw).await;
        assert_eq!(row.verdict, Some(verdict), "{}", row.reason);
        assert!(row.reason.contains(why), "{why}: {}", row.reason);
        assert_eq!(state(store).await, EditionState::WaitingApproval, "{}", row.reason);
    }
    let told = told(store).await;
    assert_eq!(told.len(), 1, "an editor hears of it once an hour: {told:?}");
    assert!(told[0].1.contains("was not taken: its sender was not proven"), "{told:?}");
    let later = TUESDAY + std::time::Duration::from_secs(3_601);
    line.take_at(&to, EDITOR, &answer(&to, EDITOR, "11@x", &pass, "Looks good"), later).await;
    assert!(self::told(store).await[1].1.contains("not understood"));
    // Not even a proven editor can approve by another token, or an edition that is not there.
    let staff = line.address(Purpose::Staff, id, 0);
    let row = line.take(&staff, EDITOR, &answer(&staff, EDITOR, "8@x", &pass, "approve")).await;
    assert_eq!(row.verdict, Some(Verdict::RejectedStaff));
    let gone = line.address(Purpose::Editors, id + 77, 0);
    line.take(&gone, EDITOR, &answer(&gone, EDITOR, "9@x", &pass, "approve")).await;
    assert_eq!(state(store).await, EditionState::WaitingApproval);
    assert!(line.threads().await.is_empty(), "support reads none of it");
}

/// Signed as a mail server of the domain would.
fn signed(key: &[u8], domain: &str, raw: &[u8], whole: bool) -> Vec<u8> {
    let signature = DkimSigner::from_key(Ed25519Key::from_pkcs8_maybe_unchecked_der(key).unwrap())
        .domain(domain)
        .selector("s")
        .headers(["From", "To", "Subject"])
        .body_length(!whole)
        .sign(raw)
        .unwrap();
    [signature.to_header().into_bytes(), raw.to_vec()].concat()
}

/// A receiver that asks a name server, which knows one key for both domains; and that key.
async fn asking(store: &Store) -> (Receiving, Vec<u8>) {
    let names = NameServer::start().await;
    let mut line = Receiving::start(store).await;
    line.receiver.proving = Proving::Signatures(Box::new(Signatures::new(Some(names.address)).unwrap()));
    let key = Ed25519Key::generate_pkcs8().unwrap();
    let public =
        data_encoding::BASE64.encode(&Ed25519Key::from_pkcs8_maybe_unchecked_der(&key).unwrap().public_key());
    for domain in ["example.org", "evil.example"] {
        names.publish(&format!("s._domainkey.{domain}"), &format!("v=DKIM1; k=ed25519; p={public}"));
    }
    (line, key)
}

#[tokio::test]
async fn without_a_server_to_believe_its_signature_is_asked_for() {
    let test = crate::support::stores::TestStore::sqlite().await;
    let store = &test.store;
    let id = waiting(store).await;
    let (line, key) = asking(store).await;
    let to = line.address(Purpose::Editors, id, 0);
    let bare = |id: &str| answer(&to, EDITOR, id, "", "approve");
    let mut changed = signed(&key, "example.org", &answer(&to, EDITOR, "c@x", "", "hold"), true);
    let at = changed.windows(6).rposition(|part| part == b"hold\r\n").unwrap();
    changed[at..at + 4].copy_from_slice(b"halt");
    let refused = [
        (bare("a@x"), "it has no DKIM signature"),
        (signed(&key, "evil.example", &bare("b@x"), true), "its DKIM signature is of evil.example"),
        (signed(&key, "example.org", &bare("l@x"), false), "a DKIM signature of it is not valid"),
        (
            signed(&key, "nowhere.example.org", &bare("n@x"), true),
            "the DKIM signature of nowhere.example.org",
        ),
        (changed, "the DKIM signature of example.org"),
    ];
    for (raw, why) in refused {
        let row = line.take(&to, EDITOR, &raw).await;
        assert_eq!(row.verdict, Some(Verdict::RejectedStaff), "{}", row.reason);
        assert!(row.reason.contains(why), "{why}: {}", row.reason);
        assert_eq!(state(store).await, EditionState::WaitingApproval);
    }
    let row = line.take(&to, EDITOR, &signed(&key, "example.org", &bare("d@x"), true)).await;
    assert_eq!(row.reason, "editors: an editor's word, DKIM pass by example.org");
    assert_eq!(state(store).await, EditionState::Sending);
}

/// The very mails that the editor gets are answered: the report, and one of the proofs.
#[tokio::test]
async fn the_report_and_the_proofs_of_a_waiting_edition_can_be_answered() {
    let test = crate::support::stores::TestStore::sqlite().await;
    let store = &test.store;
    let slots = "[[slots]]\nname = \"weekly\"\nat = \"Tue 09:00\"\ntake = { min = 1, max = 1 }\n\
        tiers = [\"free\"]\napproval = true\n";
    let article = "+++\ntitle = \"T\"\nsummary = \"s\"\nopen = true\nstatus = \"ready\"\n+++\nWords.\n";
    let setup = crate::support::receiving::example_of("UTC", slots, &[("a.md".into(), article.into())]);
    let mut tx = store.write().await.unwrap();
    people::add_many(&mut tx, &[&subscriber("a@x.example", "free")], "test", "", TUESDAY).await.unwrap();
    tx.commit().await.unwrap();
    let scheduler =
        Scheduler::new(store.clone(), setup.shelf.clone(), setup.settings.clone(), Arc::default());
    let due = serde_json::from_str::<tidings::runtime::Timestamp>("\"2026-11-24T09:00:00Z\"").unwrap();
    scheduler.step(tidings::runtime::Timestamp(due.millis() - 1)).await.unwrap();
    scheduler.step(due).await.unwrap();
    let slug = "weekly-2026-11-24";
    let state =
        || async { editions::standing(&mut store.read().await.unwrap(), slug).await.unwrap().unwrap().state };
    assert_eq!(state().await, EditionState::WaitingApproval);
    let peer = Peer::willing().await;
    let sending = Sending::start(store, &peer, OnUncertain::Resend).await;
    sending.clock.advance(std::time::Duration::from_secs(7 * 86_400));
    assert_eq!(sending.drain().await, 2, "the report and one proof; nothing to readers");
    let mut receiver: Receiver =
        app::receiver(&setup, store, Default::default(), Arc::default()).await.unwrap();
    receiver.proving = Proving::Server("mx.news.example.org".into());
    let mails = peer.taken();
    assert!(mails.iter().all(|mail| mail.to == EDITOR), "{mails:?}");
    for (mail, word, expected) in
        [(&mails[0], "approve", EditionState::Sending), (&mails[1], "hold", EditionState::WaitingApproval)]
    {
        let parsed = tidings::mail::parse::parse(&mail.bytes);
        let to = parsed.field("reply-to").unwrap().to_owned();
        let raw = answer(&to, EDITOR, &format!("{word}@x"), &server_says("dmarc=pass"), word);
        let mut tx = store.write().await.unwrap();
        let new = NewInbound {
            source: InboundSource::File,
            envelope_from: Some(EDITOR),
            recipient: &to,
            hash: word,
            raw,
        };
        inbound::record(&mut tx, new, due).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        receiver.drain(|| due).await.unwrap();
        assert_eq!(state().await, expected, "{word}");
    }
    assert!(threads::inbox(&mut store.read().await.unwrap(), "", 10).await.unwrap().is_empty());
    // Cancelled: no proof leaves any more.
    let mut tx = store.write().await.unwrap();
    tidings::tasks::proof::queue_all(&mut tx, slug, &setup.content.publication.editors, due).await.unwrap();
    let from = [EditionState::WaitingApproval];
    editions::change_state(&mut tx, slug, &from, EditionState::Cancelled, "", due).await.unwrap();
    tx.commit().await.unwrap();
    let before = peer.count();
    sending.drain().await;
    let after = peer.taken();
    let proofs = after[before..]
        .iter()
        .filter(|mail| String::from_utf8_lossy(&mail.bytes).contains("List-Unsubscribe:"));
    assert_eq!(proofs.count(), 0);
}

/// Two readings of one From must not let the one be asked who it is and the other be proven.
#[tokio::test]
async fn the_author_that_is_proven_is_the_author_that_counts() {
    let test = crate::support::stores::TestStore::sqlite().await;
    let store = &test.store;
    let id = waiting(store).await;
    let (line, key) = asking(store).await;
    let to = line.address(Purpose::Editors, id, 0);
    let of = |from: &str, id: &str| answer(&to, from, id, "", "approve");
    let colleague = signed(&key, "example.org", &of("eve@example.org", "c@x"), true);
    let prefixed = |more: &str| [b"From: ed@example.org\r\n", more.as_bytes(), &colleague].concat();
    let cases = [
        signed(&key, "evil.example", &of("ed <x>, <eve@evil.example>", "a@x"), true),
        signed(&key, "evil.example", &of("\"a\\\u{1}\" <ed@example.org>, \"<eve@evil.example>", "b@x"), true),
        prefixed(""),
        prefixed(&"X-n: y\r\n".repeat(1_100)),
        prefixed(&format!("X-n: {}\r\n", "y".repeat(300_000))),
    ];
    for (number, raw) in cases.into_iter().enumerate() {
        let row = line.take(&to, EDITOR, &raw).await;
        assert_eq!(row.verdict, Some(Verdict::RejectedStaff), "{number}: {}", row.reason);
        assert_eq!(state(store).await, EditionState::WaitingApproval, "{number}: {}", row.reason);
    }
    // Signed, but without its From: anybody could have changed it.
    let unsigned = DkimSigner::from_key(Ed25519Key::from_pkcs8_maybe_unchecked_der(&key).unwrap())
        .domain("example.org")
        .selector("s")
        .headers(["To", "Subject"])
        .sign(&of(EDITOR, "f@x"))
        .unwrap();
    let raw = [unsigned.to_header().into_bytes(), of(EDITOR, "f@x")].concat();
    let row = line.take(&to, EDITOR, &raw).await;
    assert!(row.reason.contains("covers not From"), "{}", row.reason);
    assert_eq!(state(store).await, EditionState::WaitingApproval);
}

#[tokio::test]
async fn what_was_held_waits_and_what_nobody_approved_in_time_is_too_late() {
    on_every_store(|store| async move {
        let id = waiting(&store).await;
        let line = believing(&store).await;
        let to = line.address(Purpose::Editors, id, 0);
        let pass = server_says("dmarc=pass");
        let setup = &line.setup;
        let scheduler =
            Scheduler::new(store.clone(), setup.shelf.clone(), setup.settings.clone(), Arc::default());
        let late = TUESDAY + std::time::Duration::from_secs(86_400 + 60);
        let row = line.take_at(&to, EDITOR, &answer(&to, EDITOR, "1@x", &pass, "approve"), late).await;
        assert_eq!(
            (row.verdict, state(&store).await),
            (Some(Verdict::StaffReply), EditionState::WaitingApproval)
        );
        assert!(told(&store).await[0].1.contains("too late"));
        // Approved in time and held later: a part of it may be out, and the rest waits for a word.
        line.take(&to, EDITOR, &answer(&to, EDITOR, "2@x", &pass, "approve")).await;
        line.take_at(&to, EDITOR, &answer(&to, EDITOR, "3@x", &pass, "hold"), late).await;
        assert_eq!(state(&store).await, EditionState::WaitingApproval);
        scheduler.step(late).await.unwrap();
        assert_eq!(state(&store).await, EditionState::WaitingApproval, "it is not given up");
        line.take_at(&to, EDITOR, &answer(&to, EDITOR, "4@x", &pass, "approve"), late).await;
        assert_eq!(state(&store).await, EditionState::Sending);
    })
    .await;
}
