//! Renewals arrive as a later end, by import and by `set-tier --ends`: a new term begins, with its extras. A correction begins none.

use tidings::domain::publication::TierId;
use tidings::domain::subscriber::Subscriber;
use tidings::import::{self, moment};
use tidings::runtime::Timestamp;
use tidings::store::{Store, editions, people};
use tidings::tasks::people::{ImportOptions, ImportReport, import as import_rows};

use crate::support::clock::TUESDAY;
use crate::support::daemon::Site;
use crate::support::receiving::example;
use crate::support::sending::edition;
use crate::support::stores::on_every_store;

const ANN: &str = "ann@readers.example";

fn day(text: &str) -> Timestamp {
    moment(text).unwrap()
}

async fn take(store: &Store, csv: &str, now: Timestamp) -> ImportReport {
    let setup = example(&[]);
    let publication = &setup.content.publication;
    let rows = import::rows(csv.as_bytes(), &publication.tier_ids()).unwrap().map(Result::unwrap);
    let options = ImportOptions {
        consent_source: Some("shop"),
        dry_run: false,
        now,
        keyring: &setup.keyring,
        terms: &publication.terms(),
    };
    import_rows(store, rows, options, |_| {}).await.unwrap()
}

/// What a shop tells: the tier and an end.
async fn told(store: &Store, tier: &str, ends: &str) -> ImportReport {
    take(store, &format!("email,name,tier,status,term_ends_at\n{ANN},Ann,{tier},active,{ends}\n"), TUESDAY)
        .await
}

async fn ann(store: &Store) -> Subscriber {
    people::by_key(&mut store.read().await.unwrap(), ANN).await.unwrap().unwrap()
}

/// Queues an extra edition for everybody who has one left. Answers how many got it.
async fn extra(store: &Store, slug: &str, at: Timestamp) -> i64 {
    let mut new = editions::NewEdition { extra: true, ..edition(slug, &["yearly"]) };
    new.bodies[0].extra_limit = Some(10);
    let mut tx = store.write().await.unwrap();
    let queued = editions::queue(&mut tx, &new, at).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    queued.audience
}

/// Ann has a year until 1 December 2026, and took all ten extras of it.
async fn all_taken(store: &Store) {
    let csv = format!(
        "email,name,tier,status,term_started_at,term_ends_at\n{ANN},Ann,yearly,active,2025-12-01,2026-12-01\n"
    );
    take(store, &csv, day("2025-12-01")).await;
    for number in 0..10 {
        assert_eq!(extra(store, &format!("x{number}"), day("2026-03-01")).await, 1);
    }
    assert_eq!(entitled(store, TUESDAY).await, 0);
}

async fn entitled(store: &Store, at: Timestamp) -> i64 {
    let (yearly, free) = (TierId::from("yearly"), TierId::from("free"));
    let mut tx = store.read().await.unwrap();
    people::count_entitled(&mut tx, &yearly, Some(&free), Some(10), at).await.unwrap()
}

#[tokio::test]
async fn a_renewal_by_import_brings_new_extras() {
    on_every_store(|store| async move {
        all_taken(&store).await;
        assert_eq!(told(&store, "yearly", "2027-12-01").await.updated, 1);
        let renewed = ann(&store).await;
        assert_eq!(renewed.term_started_at, Some(day("2026-12-01")));
        assert_eq!(renewed.term_ends_at, Some(day("2027-12-01")));
        assert_eq!(entitled(&store, TUESDAY).await, 1);
        // The same file every night.
        assert_eq!(told(&store, "yearly", "2027-12-01").await.unchanged, 1);
        for number in 0..11 {
            let got = extra(&store, &format!("y{number}"), day("2027-02-01")).await;
            assert_eq!(got, i64::from(number < 10), "extra {number}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_correction_by_import_brings_none() {
    on_every_store(|store| async move {
        all_taken(&store).await;
        for ends in ["2026-12-08", "2027-01-01", "2026-11-30", "2026-12-01"] {
            assert_eq!(told(&store, "yearly", ends).await.updated, 1);
            let corrected = ann(&store).await;
            assert_eq!(
                (corrected.term_started_at, corrected.term_ends_at),
                (Some(day("2025-12-01")), Some(day(ends)))
            );
            assert_eq!(entitled(&store, TUESDAY).await, 0, "{ends}");
        }
    })
    .await;
}

#[tokio::test]
async fn another_tier_begins_a_term_with_the_import() {
    on_every_store(|store| async move {
        all_taken(&store).await;
        told(&store, "free", "").await;
        let refunded = ann(&store).await;
        assert_eq!((refunded.tier.as_str(), refunded.term_ends_at), ("free", None));
        told(&store, "yearly", "2027-11-20").await;
        assert_eq!(ann(&store).await.term_started_at, Some(TUESDAY));
        assert_eq!(entitled(&store, TUESDAY).await, 1);
    })
    .await;
}

#[test]
fn set_tier_reads_a_later_end_as_an_import_does() {
    let site = Site::shipped();
    let ran = |args: &[&str]| {
        let answer = site.run(args);
        assert_eq!(answer.code, 0, "{answer:?}");
        answer.out
    };
    ran(&["subscribers", "add", ANN, "--tier", "yearly"]);
    let set = ["subscribers", "set-tier", ANN, "yearly"];
    ran(&[&set[..], &["--starts", "2020-01-01", "--ends", "2021-01-01"]].concat());
    for (ends, starts) in [
        ("2021-01-11", "2020-01-01"),
        ("2022-01-11", "2021-01-11"),
        ("2022-01-10", "2021-01-11"),
        // Back after a year without.
        ("2024-03-01", "2023-03-01"),
    ] {
        let said = ran(&[&set[..], &["--ends", ends]].concat());
        assert_eq!(said, format!("{ANN} is yearly from {starts}T00:00:00Z until {ends}T00:00:00Z\n"));
    }
    // Before the term began: no term at all.
    let answer = site.run(&[&set[..], &["--ends", "2023-02-01"]].concat());
    assert!(answer.code == 2 && answer.err.contains("before it starts"), "{answer:?}");
}
