//! An import adds, updates, and never raises consent or lifts a suppression.

use tidings::domain::address::Address;
use tidings::domain::publication::TierId;
use tidings::domain::subscriber::SubscriberStatus;
use tidings::domain::suppression::SuppressionReason;
use tidings::import;
use tidings::store::{Store, people, suppressions};
use tidings::tasks::people::{ImportOptions, ImportReport, import as import_rows};

use crate::support::clock::TUESDAY;
use crate::support::receiving::keyring;
use crate::support::stores::on_every_store;

async fn take(store: &Store, csv: &str, dry_run: bool) -> ImportReport {
    let tiers = ["free", "yearly"].map(TierId::from);
    let rows = import::rows(csv.as_bytes(), &tiers).unwrap().map(Result::unwrap);
    let options = ImportOptions {
        consent_source: Some("sign-up form"),
        dry_run,
        now: TUESDAY,
        keyring: &keyring(),
        terms: &Default::default(),
    };
    import_rows(store, rows, options, |_| {}).await.unwrap()
}

#[tokio::test]
async fn consent_is_never_raised_and_a_suppression_is_reported() {
    on_every_store(|store| async move {
        let first = "email,name,tier,status\nann@x.example,Ann,free,active\nbob@x.example,Bob,free,unsubscribed\n\
                     not an address,X,free,active\ncy@x.example,Cy,gold,active\nann@x.example,Ann Lee,yearly,active\n";
        let dry = take(&store, first, true).await;
        assert_eq!((dry.rows, dry.added), (5, 3), "a dry run knows only what is stored");
        assert!(people::by_key(&mut store.read().await.unwrap(), "ann@x.example").await.unwrap().is_none());

        let report = take(&store, first, false).await;
        assert_eq!((report.added, report.updated, report.skipped_rows), (2, 1, 2));
        let lines: Vec<u64> = report.skipped.iter().map(|row| row.line).collect();
        assert_eq!(lines, [4, 5]);

        let mut tx = store.write().await.unwrap();
        let ann = Address::parse("ann@x.example").unwrap();
        suppressions::add(&mut tx, &ann, SuppressionReason::HardBounce, "test", TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        let again = "email,name,tier,status\nANN@x.example,,yearly,active\nbob@x.example,Bob,yearly,active\n";
        let report = take(&store, again, false).await;
        assert_eq!((report.unchanged, report.updated, report.suppressed), (1, 1, 2), "Bob has left");
        let mut tx = store.read().await.unwrap();
        let bob = people::by_key(&mut tx, "bob@x.example").await.unwrap().unwrap();
        assert_eq!((bob.status, bob.tier.as_str()), (SubscriberStatus::Unsubscribed, "yearly"));
        let consent = people::consents(&mut tx, bob.id).await.unwrap();
        assert_eq!((consent.len(), consent[0].source.as_str()), (1, "sign-up form"));
        assert!(suppressions::of(&mut tx, &ann).await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn a_file_that_says_unsubscribed_ends_a_subscription() {
    on_every_store(|store| async move {
        take(&store, "email,name,tier,status\nann@x.example,Ann,free,active\n", false).await;
        take(&store, "email,name,tier,status\nann@x.example,Ann,free,unsubscribed\n", false).await;
        let mut tx = store.read().await.unwrap();
        let ann = people::by_key(&mut tx, "ann@x.example").await.unwrap().unwrap();
        assert_eq!(ann.status, SubscriberStatus::Unsubscribed);
        assert_eq!(people::consents(&mut tx, ann.id).await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn many_rows_go_in_chunks() {
    on_every_store(|store| async move {
        let mut csv = "email,name,tier,status\n".to_owned();
        for number in 0..1701 {
            csv.push_str(&format!("p{number}@x.example,P,free,active\n"));
        }
        assert_eq!(take(&store, &csv, false).await.added, 1701);
        assert_eq!(take(&store, &csv, false).await.unchanged, 1701);
    })
    .await;
}
