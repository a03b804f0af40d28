//! Somebody moves to another address, and the shop still knows the old one: its file makes nobody new. What a mail did that went to the
//! old address is about the old address.

use tidings::domain::address::Address;
use tidings::domain::subscriber::{ImportRow, ImportedSuppression, Subscriber, SubscriberStatus};
use tidings::domain::suppression::SuppressionReason;
use tidings::import::{Skipped, moment};
use tidings::runtime::Timestamp;
use tidings::store::{Store, bounces, deliveries, editions, people, suppressions};
use tidings::tasks::people::{ImportOptions, ImportReport, import};

use crate::support::clock::TUESDAY;
use crate::support::daemon::Site;
use crate::support::importing;
use crate::support::public::{Front, link_in};
use crate::support::receiving::keyring;
use crate::support::sending::{edition, subscriber};
use crate::support::stores::on_every_store;

const OLD: &str = "ann.old@readers.example";
const NEW: &str = "ann.new@readers.example";
const OLDER: &str = "ann.older@readers.example";
const HOUR: i64 = 3_600_000;

fn row(address: &str, tier: &str, status: SubscriberStatus) -> ImportRow {
    ImportRow { status, ..importing::row(address, tier) }
}

fn stopped(address: &str, reason: SuppressionReason, at: Option<Timestamp>) -> ImportRow {
    let suppression = Some(ImportedSuppression { reason, at, source: None });
    ImportRow { suppression, ..row(address, "yearly", SubscriberStatus::Unsubscribed) }
}

async fn take(store: &Store, rows: &[ImportRow]) -> ImportReport {
    let mut reports = Vec::new();
    for dry_run in [true, false] {
        let options = ImportOptions {
            consent_source: Some("shop"),
            dry_run,
            now: later(2),
            keyring: &keyring(),
            terms: &Default::default(),
        };
        let rows = rows.iter().cloned().map(Ok::<_, Skipped>);
        reports.push(import(store, rows, options, |_| {}).await.unwrap());
    }
    let report = reports.pop().unwrap();
    assert_eq!(reports[0], report, "a dry run says the same");
    report
}

fn later(hours: i64) -> Timestamp {
    Timestamp(TUESDAY.millis() + hours * HOUR)
}

async fn person(store: &Store, address: &str) -> Option<Subscriber> {
    people::by_key(&mut store.read().await.unwrap(), address).await.unwrap()
}

/// A yearly reader who has moved from the first address to the last one, an hour each.
async fn moved(store: &Store, addresses: &[&str]) -> i64 {
    let mut tx = store.write().await.unwrap();
    people::add_many(&mut tx, &[&subscriber(addresses[0], "yearly")], "test", "", TUESDAY).await.unwrap();
    let id = people::by_key(&mut tx, addresses[0]).await.unwrap().unwrap().id;
    for (hours, address) in addresses.iter().enumerate().skip(1) {
        let address = Address::parse(address).unwrap();
        assert!(people::move_to(&mut tx, id, &address, later(hours as i64)).await.unwrap());
    }
    tx.commit().await.unwrap();
    id
}

async fn leave(store: &Store, id: i64) {
    let mut tx = store.write().await.unwrap();
    people::unsubscribe(&mut tx, id, "test", later(1)).await.unwrap();
    tx.commit().await.unwrap();
}

async fn audience(store: &Store) -> i64 {
    let mut tx = store.write().await.unwrap();
    let new = edition("any", &["free", "monthly", "yearly"]);
    editions::queue(&mut tx, &new, later(2)).await.unwrap().unwrap().audience
}

#[tokio::test]
async fn who_moved_and_left_is_not_brought_back_by_the_old_address() {
    on_every_store(|store| async move {
        let id = moved(&store, &[OLD, NEW]).await;
        leave(&store, id).await;
        let report = take(&store, &[row(OLD, "yearly", SubscriberStatus::Active)]).await;
        assert_eq!((report.added, report.unchanged, report.suppressed), (0, 1, 1), "{report:?}");
        assert!(report.unclear[0].reason.contains("another address now"), "{report:?}");
        assert_eq!(report.unclear[0].address, OLD);
        assert_eq!(person(&store, OLD).await, None);
        assert_eq!(person(&store, NEW).await.unwrap().status, SubscriberStatus::Unsubscribed);
        assert_eq!(audience(&store).await, 0);
    })
    .await;
}

#[tokio::test]
async fn who_moved_is_renewed_under_the_old_address_and_mailed_once() {
    on_every_store(|store| async move {
        let id = moved(&store, &[OLD, NEW]).await;
        let ends = Some(moment("2027-12-01").unwrap());
        let renewed = ImportRow {
            term_ends_at: ends,
            note: "called in May".into(),
            ..row(OLD, "yearly", SubscriberStatus::Active)
        };
        let report = take(&store, std::slice::from_ref(&renewed)).await;
        assert_eq!((report.added, report.updated), (0, 1), "{report:?}");
        let ann = person(&store, NEW).await.unwrap();
        assert_eq!((ann.id, ann.term_ends_at, ann.tier.as_str()), (id, ends, "yearly"));
        let note = tidings::store::notes::of(&mut store.read().await.unwrap(), id).await.unwrap();
        assert_eq!(note, "called in May");
        assert_eq!((audience(&store).await, take(&store, &[renewed]).await.unchanged), (1, 1));
        // Refunded.
        take(&store, &[row(OLD, "free", SubscriberStatus::Active)]).await;
        let ann = person(&store, NEW).await.unwrap();
        assert_eq!(
            (ann.tier.as_str(), ann.term_ends_at, ann.status),
            ("free", None, SubscriberStatus::Active)
        );
    })
    .await;
}

#[tokio::test]
async fn of_several_rows_of_one_person_one_counts() {
    on_every_store(|store| async move {
        let id = moved(&store, &[OLDER, OLD, NEW]).await;
        let active = SubscriberStatus::Active;
        let stale = [row(OLDER, "free", active), row(OLD, "monthly", active)];
        let both = [&stale[..], &[row(NEW, "lifetime", active)]].concat();
        for rows in [both.clone(), both.iter().rev().cloned().collect()] {
            let report = take(&store, &rows).await;
            assert_eq!((report.added, report.skipped_rows), (0, 2), "{report:?}");
            assert!(report.skipped.iter().any(|row| row.reason.contains("names too")), "{report:?}");
            assert_eq!(person(&store, NEW).await.unwrap().tier.as_str(), "lifetime");
        }
        for rows in [stale.to_vec(), stale.iter().rev().cloned().collect()] {
            let report = take(&store, &rows).await;
            assert_eq!(
                (report.added, report.skipped_rows, report.skipped[0].address.as_str()),
                (0, 1, OLDER)
            );
            assert_eq!(person(&store, NEW).await.unwrap().tier.as_str(), "monthly");
        }
        // Back at the old address, it is theirs as any other.
        let mut tx = store.write().await.unwrap();
        assert!(people::move_to(&mut tx, id, &Address::parse(OLD).unwrap(), later(2)).await.unwrap());
        tx.commit().await.unwrap();
        let report = take(&store, &[row(OLD, "yearly", active)]).await;
        assert_eq!((report.updated, report.unclear_rows, report.added), (1, 0, 0), "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn what_a_file_says_of_the_old_mailbox_stays_there_and_a_wish_to_leave_counts() {
    use SuppressionReason::{Complaint, HardBounce, Manual, Unsubscribed};
    on_every_store(|store| async move {
        moved(&store, &[OLD, NEW]).await;
        let stops = [
            (HardBounce, None, true),
            (Manual, None, true),
            (Unsubscribed, Some(TUESDAY), true),
            (Complaint, Some(later(2)), false),
        ];
        for (reason, at, stays) in stops {
            let report = take(&store, &[stopped(OLD, reason, at)]).await;
            assert_eq!(report.added, 0, "{report:?}");
            let status = person(&store, NEW).await.unwrap().status;
            assert_eq!(status == SubscriberStatus::Active, stays, "{reason} {at:?}");
        }
        let mut tx = store.read().await.unwrap();
        let old = suppressions::of(&mut tx, &Address::parse(OLD).unwrap()).await.unwrap().unwrap();
        assert_eq!(old.reason, HardBounce, "the first reason");
        let new = suppressions::of(&mut tx, &Address::parse(NEW).unwrap()).await.unwrap().unwrap();
        assert_eq!(new.reason, Unsubscribed);
    })
    .await;
    // A status without a reason or a time is a wish.
    on_every_store(|store| async move {
        moved(&store, &[OLD, NEW]).await;
        take(&store, &[row(OLD, "yearly", SubscriberStatus::Unsubscribed)]).await;
        assert_eq!(person(&store, NEW).await.unwrap().status, SubscriberStatus::Unsubscribed);
    })
    .await;
}

/// The mailbox may be another person's by now: they join as anybody does, and get nothing that was bought before.
#[tokio::test]
async fn who_has_the_old_address_now_is_another_person_once_they_confirmed() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        let ann = moved(&store, &[OLD, NEW]).await;
        front.join(OLD, "").await;
        let bought = [row(OLD, "lifetime", SubscriberStatus::Active)];
        assert_eq!(take(&store, &bought).await.updated, 1);
        let asked = person(&store, OLD).await.unwrap();
        assert_eq!((asked.tier.as_str(), asked.status), ("free", SubscriberStatus::Pending));
        assert_eq!(person(&store, NEW).await.unwrap().tier.as_str(), "lifetime");
        let mails = front.mails().await;
        assert_eq!((mails.len(), mails[0].to.as_str()), (1, OLD));
        front.post(&link_in(&mails[0], "/c/"), "").await;
        let joined = person(&store, OLD).await.unwrap();
        assert_eq!((joined.tier.as_str(), joined.status), ("free", SubscriberStatus::Active));
        assert_ne!(joined.id, ann);
        // From now on a file means them.
        assert_eq!(take(&store, &[row(OLD, "monthly", SubscriberStatus::Active)]).await.updated, 1);
        assert_eq!(person(&store, OLD).await.unwrap().tier.as_str(), "monthly");
        assert_eq!(person(&store, NEW).await.unwrap().tier.as_str(), "lifetime");
    })
    .await;
}

#[tokio::test]
async fn adding_an_old_address_by_hand_is_asked_about() {
    let site = Site::shipped();
    let ran = |args: Vec<&'static str>| site.run(&args);
    assert_eq!(ran(vec!["subscribers", "add", OLD, "--tier", "yearly"]).code, 0);
    let url = tidings::domain::settings::StorageUrl::Sqlite(site.path().join("var/tidings.db"));
    let store = Store::open(&url).await.unwrap();
    let mut tx = store.write().await.unwrap();
    let id = people::by_key(&mut tx, OLD).await.unwrap().unwrap().id;
    assert!(people::move_to(&mut tx, id, &Address::parse(NEW).unwrap(), later(1)).await.unwrap());
    tx.commit().await.unwrap();
    let add = vec!["subscribers", "add", OLD, "--tier", "yearly"];
    let answer = ran(add.clone());
    assert!(answer.code == 1 && answer.err.contains("--another-person"), "{answer:?}");
    assert_eq!(person(&store, OLD).await, None);
    assert_eq!(ran([&add[..], &["--another-person"]].concat()).code, 0);
    assert_ne!(person(&store, OLD).await.unwrap().id, id);
    store.close().await;
}

#[tokio::test]
async fn a_mail_that_comes_back_is_about_the_address_that_it_went_to() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        let id = front.add(OLD, "free").await;
        let mut tx = store.write().await.unwrap();
        editions::queue(&mut tx, &edition("before", &["free"]), front.now()).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        assert_eq!(front.mails().await.len(), 1);
        front.clock.advance(std::time::Duration::from_secs(3600));
        let mut tx = store.write().await.unwrap();
        assert!(people::move_to(&mut tx, id, &Address::parse(NEW).unwrap(), front.now()).await.unwrap());
        editions::queue(&mut tx, &edition("after", &["free"]), front.now()).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        front.clock.advance(std::time::Duration::from_secs(3600));
        assert_eq!(front.mails().await[0].to, NEW);
        let mut tx = store.read().await.unwrap();
        for (slug, address) in [("before", OLD), ("after", NEW)] {
            let sent = deliveries::list(&mut tx, Some(slug), None, 0, 10).await.unwrap();
            let mailed = bounces::mailed(&mut tx, sent[0].id).await.unwrap().unwrap();
            assert_eq!(mailed.address_key, address, "{slug}");
        }
    })
    .await;
}
