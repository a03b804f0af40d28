//! A copy of the store is taken while it works, and put to use later: it sends nothing by itself that may have been sent since.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use mail_parser::MessageParser;
use secrecy::ExposeSecret;
use tidings::domain::delivery::DeliveryKind;
use tidings::domain::edition::EditionState;
use tidings::domain::settings::{OnUncertain, StorageUrl};
use tidings::domain::subscriber::SubscriberStatus;
use tidings::domain::token::Purpose;
use tidings::store::deliveries::{DeliveryRow, DeskMail};
use tidings::store::{Store, bodies, copies, deliveries, editions};
use tidings::tasks::export::export;
use tidings::tasks::restore;
use tidings::tasks::schedule::{Happened, Scheduler};

use crate::support::clock::TUESDAY;
use crate::support::daemon::{EDITION, Site, until};
use crate::support::http::get;
use crate::support::lmtp::Lmtp;
use crate::support::peer::Peer;
use crate::support::public::Front;
use crate::support::receiving::{example, message};
use crate::support::sending::{FIRST_RETRY, queued_edition, retry};
use crate::support::stores::{TestStore, on_every_store};

const PEOPLE: usize = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_sending_daemon_waits_for_a_word_and_then_goes_on() {
    let peer = Peer::willing().await;
    let site = Site::sending_to(peer.address).with_pages();
    site.hurry();
    let limit = "messages_per_connection = 100";
    site.change("tidings.toml", limit, &format!("rate = \"400/s\"\n{limit}"));
    let people = site.import(PEOPLE);
    let daemon = site.start();
    until("100 messages", || (peer.count() >= 100).then_some(()));
    let taken = site.json(&["backup", "copy.db", "--json"]);
    let copy = site.path().join("copy.db");
    let metadata = copy.metadata().unwrap();
    assert_eq!(
        (metadata.permissions().mode() & 0o777, metadata.len()),
        (0o600, taken["bytes"].as_u64().unwrap())
    );
    let again = site.run(&["backup", "copy.db"]);
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.err.contains("never overwrites"), "{again:?}");
    assert_eq!(site.run(&["backup", "no/such/folder/copy.db"]).code, 69);
    let at_the_copy = peer.count();
    let more = until("100 more messages", || (peer.count() >= at_the_copy + 100).then(|| peer.count()));
    daemon.kill();
    let left: Vec<_> =
        std::fs::read_dir(site.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("copy.db.")), "{left:?}");

    // The machine is lost; the copy takes its place.
    site.change("tidings.toml", "url = \"sqlite://var/tidings.db\"", "url = \"sqlite://copy.db\"");
    let sent = peer.count();
    let daemon = site.start();
    assert!(daemon.log().contains("on hold: this database is a copy of"), "{}", daemon.log());
    let health = get(daemon.pages(), "/health");
    assert_eq!((health.code, &health.json()["status"]), (200, &"on_hold".into()), "{}", health.body);
    let list = site.run(&["editions", "list", "--json"]);
    assert!(list.err.contains("tidings run --restored") && list.json().is_array(), "{list:?}");
    // It receives and answers commands.
    let raw = message("Reader <reader@readers.example>", "1@readers.example", "", "A question.");
    assert!(
        Lmtp::connect(daemon.lmtp())
            .deliver("reader@readers.example", "support@news.example.org", &raw)
            .starts_with("250")
    );
    until("the conversation", || {
        (site.json(&["inbox", "list", "--json"]).as_array().unwrap().len() == 1).then_some(())
    });
    let beside = site.run(&["run", "--restored"]);
    assert_eq!(beside.code, 75, "beside a daemon it is refused: {beside:?}");
    daemon.stop();
    assert_eq!(
        (peer.count(), site.edition()["state"].as_str()),
        (sent, Some("sending")),
        "on hold nothing leaves"
    );

    let daemon = site.start_as(&["run", "--restored"], |_| {});
    let log = daemon.log();
    assert!(log.contains("`editions resume` sends what the copy knows as queued"), "{log}");
    let edition = site.edition();
    assert_eq!(edition["state"], "paused", "{edition}");
    let shown = site.run(&["editions", "show", EDITION]);
    assert!(shown.out.contains("restored from a copy of"), "{shown:?}");
    // The notice about the question came after the copy was taken: it leaves.
    until("the notice", || peer.taken().iter().any(|mail| mail.to == "mira@staff.example.net").then_some(()));
    assert_eq!(peer.count(), sent + 1);
    daemon.stop();

    // The mark is off, the edition still waits.
    let daemon = site.start();
    assert!(!daemon.log().contains("on hold"), "{}", daemon.log());
    assert_eq!((site.edition()["state"].as_str(), peer.count()), (Some("paused"), sent + 1));
    assert_eq!(site.run(&["editions", "resume", EDITION]).code, 0);
    let edition = site.edition_in(&["sent", "attention"]);
    daemon.stop();
    assert_eq!(
        (&edition["state"], &edition["counts"]["accepted"]),
        (&"sent".into(), &PEOPLE.into()),
        "{edition}"
    );
    let mut ids: HashMap<String, Vec<String>> = HashMap::new();
    for mail in peer.taken() {
        let id = MessageParser::new().parse(&mail.bytes).unwrap().message_id().unwrap().to_owned();
        ids.entry(mail.to).or_default().push(id);
    }
    assert!(people.iter().all(|person| ids.contains_key(person)), "nobody is missed");
    assert!(ids.values().all(|ids| ids.iter().all(|id| *id == ids[0])), "a double is the same message");
    let doubles = peer.count() - ids.len();
    println!("{more} sent when the machine was lost; after the resume doubles {doubles}");
    assert!(doubles >= 100 - 8, "the copy could not know of them: {doubles}");
}

async fn desk_mail(store: &Store) -> Vec<DeliveryRow> {
    let rows = deliveries::list(&mut store.read().await.unwrap(), None, None, 0, 100).await.unwrap();
    rows.into_iter().filter(|row| row.kind == "notice").collect()
}

async fn notice(store: &Store) {
    let mut tx = store.write().await.unwrap();
    let body_id = bodies::add(&mut tx, "{}", "{}").await.unwrap();
    let mail = DeskMail {
        kind: DeliveryKind::Notice,
        subscriber_id: None,
        thread_id: None,
        address: Some("mira@staff.example.net"),
        staff_id: None,
        body_id,
    };
    deliveries::queue_desk_mail(&mut tx, mail, TUESDAY).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn mail_of_the_desk_that_the_copy_has_queued_is_uncertain() {
    for policy in [OnUncertain::Resend, OnUncertain::Hold] {
        on_every_store(|store| async move {
            queued_edition(&store, 3).await;
            notice(&store).await;
            let mut tx = store.write().await.unwrap();
            copies::mark(&mut tx, TUESDAY).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(restore::held(&store).await.unwrap().unwrap().taken_at, TUESDAY);
            // On hold, another one is queued.
            notice(&store).await;
            let now = TUESDAY + Duration::from_secs(60);
            let aside = restore::restore(&store, &retry(policy), now).await.unwrap();
            assert_eq!((aside.editions, aside.desk), (vec!["weekly".to_owned()], 1));
            // A mailbox that saw the lost database's next message must not take the copy's next one for it.
            notice(&store).await;
            let mail = desk_mail(&store).await;
            assert_eq!(mail.len(), 3);
            assert!(mail[2].id > mail[1].id + 9_999_999, "{mail:?}");
            assert_eq!((mail[0].state.as_str(), mail[1].state.as_str()), ("uncertain", "queued"));
            let again = (policy == OnUncertain::Resend).then(|| (now + FIRST_RETRY).millis());
            assert_eq!(mail[0].due_at, again);
            assert_eq!(restore::held(&store).await.unwrap(), None);
            assert_eq!(restore::restored_at(&store).await.unwrap(), Some(now));
        })
        .await;
    }
}

/// Links of mails that the lost database sent after the copy was taken are out there, and act on nobody who came later.
#[tokio::test]
async fn a_link_from_the_lost_database_is_nobodys() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        front.add("old@readers.example", "free").await;
        let cookie = front.sign_in("old@readers.example").await;
        let mut tx = store.write().await.unwrap();
        copies::mark(&mut tx, TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        // In the lost one, the next number was somebody's; and so was the next edition's.
        let lost = front.person("old@readers.example").await.unwrap().id + 1;
        let links = [front.link(Purpose::Unsubscribe, lost), front.link(Purpose::Preferences, lost)];
        restore::restore(&store, &retry(OnUncertain::Resend), TUESDAY).await.unwrap();
        let new = front.add("new@readers.example", "free").await;
        assert!(new > lost + 9_000_000, "{new}");
        for link in &links {
            assert_eq!(front.get(link).await.code, 404);
        }
        assert_eq!(front.post(&links[0], "List-Unsubscribe=One-Click").await.code, 404);
        assert_eq!(front.status("new@readers.example").await, Some(SubscriberStatus::Active));
        queued_edition(&store, 2).await;
        let mut tx = store.read().await.unwrap();
        let edition = editions::show(&mut tx, "weekly").await.unwrap().unwrap();
        assert!(edition.id > 1_000 && edition.audience == 4, "{edition:?}");
        drop(tx);
        // Who signed out of the lost one is not signed in again by the copy.
        assert!(front.get_as(&cookie, "/sign-out").await.body.contains("You are signed out"));
        let mut csv = Vec::new();
        assert_eq!(
            export(&store, &mut csv, |_| {}).await.unwrap(),
            4,
            "the row that keeps the numbers is nobody"
        );
    })
    .await;
}

/// What fell due after the copy was taken may have been sent by the one that was lost.
#[tokio::test]
async fn what_fell_due_in_the_meantime_waits_for_approval() {
    on_every_store(|store| async move {
        let setup = example(&[]);
        let due_at = setup.content.publication.editions[0].due_at;
        // A dump without a mark: the operator's word is enough.
        restore::restore(&store, &retry(OnUncertain::Resend), due_at + Duration::from_secs(5)).await.unwrap();
        let scheduler =
            || Scheduler::new(store.clone(), setup.shelf.clone(), setup.settings.clone(), Default::default());
        let restored_at = restore::restored_at(&store).await.unwrap();
        let now = due_at + Duration::from_secs(10);
        let happened = scheduler().after_restore(restored_at).step(now).await.unwrap();
        let waits = |event: &Happened| matches!(event, Happened::Queued { waits_for_approval: true, .. });
        assert!(happened.iter().any(waits), "{happened:?}");
        let state = editions::show(&mut store.read().await.unwrap(), EDITION).await.unwrap().unwrap().state;
        assert_eq!(state, EditionState::WaitingApproval);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_the_answer_names_its_own_means() {
    let Some(store) = TestStore::postgres().await else { return };
    let StorageUrl::Postgres(url) = &store.url else { unreachable!("it is a PostgreSQL store") };
    let site = Site::shipped();
    let url = format!("url = \"{}\"", url.expose_secret());
    site.change("tidings.toml", "url = \"sqlite://var/tidings.db\"", &url);
    let answer = site.run(&["backup", "copy.db"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.err.contains("pg_dump") && answer.err.contains("run --restored"), "{answer:?}");
    let daemon = site.start();
    let beside = site.run(&["run", "--restored"]);
    assert_eq!(beside.code, 75, "{beside:?}");
    assert!(beside.err.contains("another daemon"), "{beside:?}");
    daemon.stop();
    // The word is enough there: a dump carries no mark.
    let daemon = site.start_as(&["run", "--restored"], |_| {});
    assert!(daemon.log().contains("restored from a copy"), "{}", daemon.log());
    daemon.stop();
    store.remove().await;
}
