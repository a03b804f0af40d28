//! An editor answers the report of an edition that waits: approved by a proven word, and by nothing less.

use std::sync::Arc;

use mail_auth::common::crypto::Ed25519Key;
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::DkimSigner;
use tidings::app::daemon;
use tidings::domain::edition::EditionState;
use tidings::domain::token::Purpose;
use tidings::domain::verdict::Verdict;
use tidings::intake::signature::Signatures;
use tidings::store::{Store, deliveries, editions, people};
use tidings::tasks::receive::{Proving, Receiver};
use tidings::tasks::schedule::Scheduler;

use crate::support::clock::TUESDAY;
use crate::support::dns::NameServer;
use crate::support::receiving::{Receiving, message};
use crate::support::sending::{edition, subscriber};
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
    editions::state(&mut store.read().await.unwrap(), "weekly").await.unwrap().unwrap()
}

/// What was queued for the editor: each mail's subject, and its words on one line.
async fn told(store: &Store) -> Vec<(String, String)> {
    let mut tx = store.read().await.unwrap();
    let rows = deliveries::list(&mut tx, None, None, 0, 100).await.unwrap();
    let mut mails = Vec::new();
    for row in rows.iter().filter(|row| row.address == EDITOR) {
        let id = deliveries::body_of(&mut tx, row.id).await.unwrap().unwrap();
        let (_, body) = editions::body(&mut tx, id).await.unwrap();
        let body: tidings::domain::body::Body = serde_json::from_str(&body).unwrap();
        let part = |pieces| tidings::domain::body::fill(pieces, &Default::default());
        mails.push((part(&body.subject), part(&body.text).split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    mails
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
        let raw = message("Ed <ED@example.org>", "e1@x", &server_says("dmarc=pass"), text);
        let row = line.take(&to, EDITOR, &raw).await;
        assert_eq!(row.verdict, Some(Verdict::StaffReply), "{}", row.reason);
        assert_eq!(state(&store).await, EditionState::Sending);
        let mails = told(&store).await;
        let [(subject, text)] = &mails[..] else { panic!("{mails:?}") };
        assert_eq!(subject, "Answer about weekly, approved by ed@example.org");
        assert!(text.contains("What came of it: approved by ed@example.org"), "{text}");
        // And held again by the next one.
        let raw = message(EDITOR, "e2@x", &server_says("dmarc=pass"), "hold");
        line.take(&to, EDITOR, &raw).await;
        assert_eq!(state(&store).await, EditionState::WaitingApproval);
        let row = editions::show(&mut store.read().await.unwrap(), "weekly").await.unwrap().unwrap();
        assert_eq!(row.reason, "held by ed@example.org");
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
    let cases = [
        (message("eve@example.org", "1@x", &pass, "approve"), Verdict::RejectedStaff, None),
        (message(EDITOR, "2@x", "", "approve"), Verdict::RejectedStaff, Some("was not taken")),
        (
            message(EDITOR, "3@x", &server_says("dmarc=fail"), "approve"),
            Verdict::RejectedStaff,
            Some("was not taken"),
        ),
        (
            message("ed@example.org, eve@evil.example", "4@x", &pass, "approve"),
            Verdict::RejectedStaff,
            Some("more than one author"),
        ),
        (
            message(EDITOR, "5@x", &format!("{pass}From: eve@evil.example\r\n"), "approve"),
            Verdict::RejectedStaff,
            Some("more than one author"),
        ),
        (message(EDITOR, "6@x", &pass, "Looks good to me"), Verdict::StaffReply, Some("not understood")),
        (
            message(EDITOR, "7@x", &format!("{pass}Auto-Submitted: auto-replied\r\n"), "approve"),
            Verdict::AutoReply,
            None,
        ),
    ];
    for (raw, verdict, expected) in cases {
        let before = told(store).await.len();
        let row = line.take(&to, EDITOR, &raw).await;
        assert_eq!(row.verdict, Some(verdict), "{}", row.reason);
        assert_eq!(state(store).await, EditionState::WaitingApproval, "{}", row.reason);
        let told = told(store).await;
        match expected {
            Some(words) => assert!(told.last().unwrap().1.contains(words), "{told:?}"),
            None => assert_eq!(told.len(), before, "{told:?}"),
        }
    }
    // Not even a proven editor can approve by another token, or an edition that is not there.
    let thread = line.address(Purpose::Staff, id, 0);
    let row = line.take(&thread, EDITOR, &message(EDITOR, "8@x", &pass, "approve")).await;
    assert_eq!(row.verdict, Some(Verdict::RejectedStaff));
    let gone = line.address(Purpose::Editors, id + 77, 0);
    line.take(&gone, EDITOR, &message(EDITOR, "9@x", &pass, "approve")).await;
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

#[tokio::test]
async fn without_a_server_to_believe_its_signature_is_asked_for() {
    let test = crate::support::stores::TestStore::sqlite().await;
    let store = &test.store;
    let id = waiting(store).await;
    let names = NameServer::start().await;
    let mut line = Receiving::start(store).await;
    line.receiver.proving = Proving::Signatures(Box::new(Signatures::new(Some(names.address)).unwrap()));
    let to = line.address(Purpose::Editors, id, 0);
    let key = Ed25519Key::generate_pkcs8().unwrap();
    let public =
        data_encoding::BASE64.encode(&Ed25519Key::from_pkcs8_maybe_unchecked_der(&key).unwrap().public_key());
    for domain in ["example.org", "evil.example"] {
        names.publish(&format!("s._domainkey.{domain}"), &format!("v=DKIM1; k=ed25519; p={public}"));
    }
    let bare = |id: &str| message(EDITOR, id, "", "approve");
    let mut changed = signed(&key, "example.org", &message(EDITOR, "c@x", "", "hold"), true);
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

#[tokio::test]
async fn the_report_of_a_waiting_edition_can_be_answered() {
    let test = crate::support::stores::TestStore::sqlite().await;
    let store = &test.store;
    let slots = "[[editions]]\nslug = \"special\"\nat = \"2026-11-24T09:00\"\nsubject = \"S\"\narticles = [\"a\"]\n\
        tiers = [\"free\"]\n";
    let article = "+++\ntitle = \"T\"\nsummary = \"s\"\nopen = true\nstatus = \"ready\"\n+++\nWords.\n";
    let setup = crate::support::receiving::example_of("UTC", slots, &[("a.md".into(), article.into())]);
    let scheduler =
        Scheduler::new(store.clone(), setup.shelf.clone(), setup.settings.clone(), Arc::default());
    let due = setup.content.publication.editions[0].due_at;
    scheduler.step(due).await.unwrap();
    let id = editions::show(&mut store.read().await.unwrap(), "special").await.unwrap().unwrap().id;
    let rows = deliveries::list(&mut store.read().await.unwrap(), None, None, 0, 100).await.unwrap();
    assert_eq!(rows.len(), 2, "the report and one proof: {rows:#?}");
    assert!(rows.iter().all(|row| row.address == EDITOR && row.edition.is_none()));
    assert_eq!(rows.iter().filter(|row| row.tier.as_deref() == Some("free")).count(), 1);
    let mut tx = store.read().await.unwrap();
    let report = rows.iter().find(|row| row.tier.is_none()).unwrap();
    let body = deliveries::body_of(&mut tx, report.id).await.unwrap().unwrap();
    let (frame, _) = editions::body(&mut tx, body).await.unwrap();
    assert!(frame.contains(&format!("\"reply_to\":{{\"editors\":{id}}}")), "{frame}");
    drop(tx);
    let receiver: Receiver = daemon::receiver(&setup, store, Arc::default()).await.unwrap();
    assert!(!matches!(receiver.proving, Proving::Server(_)), "no server is configured to be believed");
}
