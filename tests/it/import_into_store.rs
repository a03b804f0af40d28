//! What an import makes of rows, whatever their order in the file.

use tidings::domain::subscriber::ImportRow;
use tidings::import::Skipped;
use tidings::store::{Store, people};
use tidings::tasks::people::{ImportOptions, ImportReport, import};

use crate::support::clock::TUESDAY;
use crate::support::importing;
use crate::support::receiving::keyring;
use crate::support::stores::on_every_store;

fn row(address: &str, name: &str, tier: &str) -> ImportRow {
    ImportRow { line: 1, name: name.into(), ..importing::row(address, tier) }
}

async fn imported(store: &Store, rows: Vec<ImportRow>) -> ImportReport {
    let options = ImportOptions {
        consent_source: Some("shop"),
        dry_run: false,
        now: TUESDAY,
        keyring: &keyring(),
        terms: &Default::default(),
    };
    let rows = rows.into_iter().map(Ok::<_, Skipped>);
    import(store, rows, options, |_| {}).await.unwrap()
}

#[tokio::test]
async fn of_rows_with_one_address_the_later_ones_are_merged_in() {
    on_every_store(|store| async move {
        // More than a chunk, against the order of addresses, with three rows of one person far apart.
        let mut rows: Vec<_> =
            (0..1200).rev().map(|n| row(&format!("p{n:04}@x.example"), "P", "free")).collect();
        rows.insert(1000, row("P0700@x.example", "Seven Hundred", "monthly"));
        rows.push(row("p0700@X.example", "", "yearly"));
        let report = imported(&store, rows.clone()).await;
        assert_eq!((report.rows, report.added, report.updated, report.unchanged), (1202, 1200, 2, 0));

        let mut tx = store.read().await.unwrap();
        let person = people::by_key(&mut tx, "p0700@x.example").await.unwrap().unwrap();
        assert_eq!((person.name.as_str(), person.tier.as_str()), ("Seven Hundred", "yearly"));
        let consents = people::consents(&mut tx, person.id).await.unwrap();
        assert_eq!(consents.len(), 1, "{consents:?}");
        drop(tx);

        let again = imported(&store, rows.split_off(1201)).await;
        assert_eq!((again.added, again.updated, again.unchanged), (0, 0, 1));
    })
    .await;
}
