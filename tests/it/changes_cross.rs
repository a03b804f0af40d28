//! Two change the same at the same time on PostgreSQL, where readers wait for nobody: one transaction is open and has done its part, the
//! other one begins, waits for it, and goes on behind its commit. Neither undoes what the other did. SQLite has one writer.

use std::future::Future;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::Connection;
use tidings::domain::address::Address;
use tidings::domain::edition::EditionState;
use tidings::domain::settings::StorageUrl;
use tidings::domain::slow_down::Pace;
use tidings::domain::subscriber::{ImportRow, Subscriber, SubscriberStatus};
use tidings::domain::thread::ThreadState;
use tidings::domain::token::Purpose;
use tidings::import::Skipped;
use tidings::runtime::Timestamp;
use tidings::store::deliveries::LANE_OTHER;
use tidings::store::erasure::{self, Erasing};
use tidings::store::threads::{self, NewThread};
use tidings::store::{Store, Tx, editions, lanes, people, slots};
use tidings::tasks::edition_orders::{self, By, Retried};
use tidings::tasks::ledger;
use tidings::tasks::people::{ImportOptions, ImportReport, import};
use tidings::tasks::readers::{JoinAsk, JoinDoor, Readers};
use tidings::tasks::traffic::{Caps, Traffic};

use crate::support::clock::TUESDAY;
use crate::support::importing;
use crate::support::public::Front;
use crate::support::receiving::{Receiving, keyring, message};
use crate::support::sending::{edition, queued_edition, subscriber};
use crate::support::stores::TestStore;

const ANN: &str = "ann@readers.example";

/// Commits `tx` once `other` waits for it. Answers what `other` came to.
async fn crossed<T>(test: &TestStore, tx: Tx, other: impl Future<Output = T>) -> T {
    let waits = async {
        let StorageUrl::Postgres(url) = &test.url else { unreachable!("it is a PostgreSQL store") };
        let mut beside = sqlx::PgConnection::connect(url.expose_secret()).await.unwrap();
        const WAITING: &str = "SELECT count(*) FROM pg_stat_activity \
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while sqlx::query_scalar::<_, i64>(WAITING).fetch_one(&mut beside).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
        tx.commit().await.unwrap();
        beside.close().await.unwrap();
        // Now the other one has to come to its end.
        std::future::pending::<()>().await;
    };
    let crossing = async {
        tokio::select! {
            () = waits => unreachable!("it waits for ever"),
            done = other => done,
        }
    };
    tokio::time::timeout(Duration::from_secs(60), crossing).await.expect("they wait for each other")
}

async fn take(store: &Store, address: &str, name: &str) -> ImportReport {
    let row = ImportRow { name: name.into(), ..importing::row(address, "yearly") };
    let options = ImportOptions {
        consent_source: Some("shop"),
        dry_run: false,
        now: TUESDAY,
        keyring: &keyring(),
        terms: &Default::default(),
    };
    import(store, [Ok::<_, Skipped>(row)].into_iter(), options, |_| {}).await.unwrap()
}

async fn person(store: &Store, address: &str) -> Subscriber {
    people::by_key(&mut store.read().await.unwrap(), address).await.unwrap().unwrap()
}

#[tokio::test]
async fn an_import_does_not_undo_a_leaving() {
    let Some(test) = TestStore::postgres().await else { return };
    let front = Front::start(&test.store).await;
    let id = front.add(ANN, "free").await;
    let mut tx = test.store.write().await.unwrap();
    assert!(people::unsubscribe(&mut tx, id, "website", TUESDAY).await.unwrap());
    let report = crossed(&test, tx, take(&test.store, ANN, "Ann Lee")).await;
    assert_eq!(report.updated, 1, "{report:?}");
    let ann = person(&test.store, ANN).await;
    assert_eq!((ann.status, ann.name.as_str()), (SubscriberStatus::Unsubscribed, "Ann Lee"));
    test.remove().await;
}

#[tokio::test]
async fn preferences_do_not_undo_a_refund() {
    let Some(test) = TestStore::postgres().await else { return };
    let front = Front::start(&test.store).await;
    let id = front.add(ANN, "yearly").await;
    let mut tx = test.store.write().await.unwrap();
    people::set_tier(&mut tx, id, &"free".into(), (Some(TUESDAY), None), TUESDAY).await.unwrap();
    crossed(&test, tx, front.readers.prefer(id, "Ann Lee", None, TUESDAY)).await.unwrap();
    let ann = person(&test.store, ANN).await;
    assert_eq!((ann.tier.as_str(), ann.name.as_str()), ("free", "Ann Lee"));
    test.remove().await;
}

#[tokio::test]
async fn an_import_does_not_undo_a_change_of_preferences() {
    let Some(test) = TestStore::postgres().await else { return };
    let front = Front::start(&test.store).await;
    let id = front.add(ANN, "free").await;
    let mut tx = test.store.write().await.unwrap();
    people::rename(&mut tx, id, "Ann Lee", TUESDAY).await.unwrap();
    crossed(&test, tx, take(&test.store, ANN, "")).await;
    let ann = person(&test.store, ANN).await;
    assert_eq!((ann.tier.as_str(), ann.name.as_str()), ("yearly", "Ann Lee"));
    test.remove().await;
}

#[tokio::test]
async fn who_joins_while_a_file_adds_them_is_one_person() {
    let Some(test) = TestStore::postgres().await else { return };
    let mut tx = test.store.write().await.unwrap();
    let asks = Subscriber { status: SubscriberStatus::Pending, ..subscriber(ANN, "free") };
    people::add_many(&mut tx, &[&asks], "website", "", TUESDAY).await.unwrap();
    let report = crossed(&test, tx, take(&test.store, ANN, "Ann Lee")).await;
    assert_eq!((report.added, report.updated, report.rows), (0, 1, 1), "{report:?}");
    assert_eq!(person(&test.store, ANN).await.status, SubscriberStatus::Pending, "consent is not raised");
    test.remove().await;
}

#[tokio::test]
async fn who_is_erased_while_a_file_names_them_stays_away() {
    let Some(test) = TestStore::postgres().await else { return };
    let front = Front::start(&test.store).await;
    let id = front.add(ANN, "free").await;
    let marks = keyring().erased_marks(ANN);
    let who = Erasing { key: ANN, marks: &marks, fingerprints: &[], subscriber: Some(id) };
    let mut tx = test.store.write().await.unwrap();
    erasure::forget(&mut tx, &who, TUESDAY).await.unwrap();
    let report = crossed(&test, tx, take(&test.store, ANN, "Ann Lee")).await;
    assert_eq!((report.added, report.updated, report.skipped_rows), (0, 0, 1), "{report:?}");
    assert_eq!(people::by_key(&mut test.store.read().await.unwrap(), ANN).await.unwrap(), None);
    test.remove().await;
}

#[tokio::test]
async fn who_moves_while_a_file_names_the_old_address_is_still_one_person() {
    let Some(test) = TestStore::postgres().await else { return };
    let front = Front::start(&test.store).await;
    let id = front.add(ANN, "free").await;
    let mut tx = test.store.write().await.unwrap();
    let new = Address::parse("ann.new@readers.example").unwrap();
    assert!(people::move_to(&mut tx, id, &new, TUESDAY).await.unwrap());
    let report = crossed(&test, tx, take(&test.store, ANN, "Ann Lee")).await;
    assert_eq!((report.added, report.updated), (0, 1), "{report:?}");
    assert_eq!(person(&test.store, new.as_str()).await.tier.as_str(), "yearly");
    test.remove().await;
}

#[tokio::test]
async fn an_edition_is_not_closed_over_what_is_tried_again() {
    let Some(test) = TestStore::postgres().await else { return };
    queued_edition(&test.store, 1).await;
    test.run("UPDATE deliveries SET state = 'parked', settled_at = 1, due_at = NULL").await;
    let mut tx = test.store.write().await.unwrap();
    let by = By { door: "cli", who: "by hand" };
    let retried = edition_orders::retry(&mut tx, "weekly", by, TUESDAY).await.unwrap();
    assert_eq!(retried, Retried::Done(1));
    crossed(&test, tx, ledger::tidy(&test.store, TUESDAY)).await.unwrap();
    let row = editions::show(&mut test.store.read().await.unwrap(), "weekly").await.unwrap().unwrap();
    assert_eq!((row.state, row.counts.queued), (EditionState::Sending, 1));
    test.remove().await;
}

#[tokio::test]
async fn a_step_of_recovery_does_not_undo_an_operators_word() {
    let Some(test) = TestStore::postgres().await else { return };
    let slow = Pace { quiet_until: None, width: Some(1), width_at: Timestamp(TUESDAY.millis() - 3_600_000) };
    let mut tx = test.store.write().await.unwrap();
    lanes::set_pace(&mut tx, LANE_OTHER, &slow).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = test.store.write().await.unwrap();
    // What another process heard from the provider just now.
    let quiet = Timestamp(TUESDAY.millis() + 600_000);
    let silent = Pace { quiet_until: Some(quiet), width: Some(1), width_at: quiet };
    lanes::set_pace(&mut tx, LANE_OTHER, &silent).await.unwrap();
    let look = async {
        let mut traffic = Traffic::new(Caps { connections: 30, ..Caps::default() });
        let mut tx = test.store.write().await.unwrap();
        traffic.lock(&mut tx, std::iter::empty(), true, TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
    };
    crossed(&test, tx, look).await;
    let states = lanes::states(&mut test.store.read().await.unwrap(), TUESDAY).await.unwrap();
    assert_eq!(states[0].pace, silent);
    test.remove().await;
}

#[tokio::test]
async fn words_follow_a_conversation_that_is_joined_to_another_one() {
    let Some(test) = TestStore::postgres().await else { return };
    let line = Receiving::start(&test.store).await;
    let mut numbers = Vec::new();
    let mut tx = test.store.write().await.unwrap();
    for subject in ["First", "Second"] {
        let new = NewThread {
            subscriber_id: None,
            address: ANN,
            address_key: ANN,
            name: "Ann",
            subject,
            edition_id: None,
            suspected: None,
        };
        numbers.push(threads::open(&mut tx, &new, TUESDAY).await.unwrap());
    }
    tx.commit().await.unwrap();
    let to = line.address(Purpose::Thread, numbers[1], 0);
    let mut tx = test.store.write().await.unwrap();
    for number in &numbers {
        assert_eq!(threads::hold(&mut tx, *number).await.unwrap(), *number);
    }
    assert!(threads::merge(&mut tx, numbers[1], numbers[0]).await.unwrap());
    let raw = message(&format!("Ann <{ANN}>"), "late@x.example", "", "AND ONE MORE WORD");
    crossed(&test, tx, line.take(&to, ANN, &raw)).await;
    let posts = line.posts(numbers[0]).await;
    assert!(posts.iter().any(|post| post.text.contains("AND ONE MORE WORD")), "{posts:?}");
    let mut tx = test.store.read().await.unwrap();
    let first = threads::show(&mut tx, numbers[0]).await.unwrap().unwrap();
    let second = threads::show(&mut tx, numbers[1]).await.unwrap().unwrap();
    assert_eq!((first.state, second.state), (ThreadState::Open, ThreadState::Closed));
    drop(tx);
    test.remove().await;
}

#[tokio::test]
async fn two_slots_do_not_take_one_article() {
    let Some(test) = TestStore::postgres().await else { return };
    let mut tx = test.store.write().await.unwrap();
    for slot in ["monday", "weekly"] {
        slots::enter(&mut tx, slot, TUESDAY).await.unwrap();
    }
    tx.commit().await.unwrap();
    let dated = |slot: &str| editions::NewEdition {
        slot: Some((slot.into(), "2026-11-24".into())),
        ..edition(slot, &["free"])
    };
    let mut tx = test.store.write().await.unwrap();
    assert!(editions::queue(&mut tx, &dated("monday"), TUESDAY).await.unwrap().is_some());
    let second = async {
        let mut tx = test.store.write().await.unwrap();
        let queued = editions::queue(&mut tx, &dated("weekly"), TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        queued
    };
    assert_eq!(crossed(&test, tx, second).await, None, "the next step plans it anew");
    test.remove().await;
}

#[tokio::test]
async fn a_wish_that_is_made_again_does_not_expire() {
    let Some(test) = TestStore::postgres().await else { return };
    let front = Front::start(&test.store).await;
    front.join(ANN, "").await;
    assert_eq!(front.mails().await.len(), 1);
    front.clock.advance(Duration::from_secs(8 * 86_400));
    let address = Address::parse(ANN).unwrap();
    let ask = JoinAsk { address: &address, name: "", door: JoinDoor::Mail };
    let mut tx = test.store.write().await.unwrap();
    front.readers.join_in(&mut tx, &ask, front.now()).await.unwrap();
    let expired = crossed(&test, tx, Readers::expire(&test.store, front.now())).await.unwrap();
    assert_eq!(expired, 0);
    assert!(front.request(1).await.is_some());
    assert_eq!(person(&test.store, ANN).await.status, SubscriberStatus::Pending);
    test.remove().await;
}
