//! What leaves: everybody as a file without formulas, one person whole and nobody else.

use std::path::Path;
use std::process::Command;

use tidings::domain::address::Address;
use tidings::domain::settings::StorageUrl;
use tidings::domain::suppression::SuppressionReason;
use tidings::domain::thread::PostKind;
use tidings::store::threads::{NewPost, NewThread};
use tidings::store::{Store, dossier, people, suppressions, threads};
use tidings::tasks::export::export;

use crate::support::clock::TUESDAY;
use crate::support::sending::subscriber;
use crate::support::stores::on_every_store;

#[tokio::test]
async fn formulas_are_escaped_and_pages_follow_one_another() {
    on_every_store(|store| async move {
        let mut tx = store.write().await.unwrap();
        for part in 0..3 {
            let mut some: Vec<_> = (0..700)
                .map(|number| subscriber(&format!("p{:05}@x.example", part * 700 + number), "free"))
                .collect();
            some[0].name = "=HYPERLINK(\"https://x.example\")".to_owned();
            some[1].name = "'=kept".to_owned();
            let all: Vec<_> = some.iter().collect();
            people::add_many(&mut tx, &all, "form", "import", TUESDAY).await.unwrap();
        }
        tx.commit().await.unwrap();
        let (mut csv, mut last) = (Vec::new(), 0);
        let count = export(&store, &mut csv, |count| last = count).await.unwrap();
        assert_eq!((count, last), (2100, 2100));
        let csv = String::from_utf8(csv).unwrap();
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.unwrap()).collect();
        assert!(rows.iter().map(|row| &row[0]).is_sorted());
        assert_eq!(&rows[0][1], "'=HYPERLINK(\"https://x.example\")");
        assert_eq!(&rows[1][1], "''=kept");
        let tiers = ["free"].map(Into::into);
        let back: Vec<String> = tidings::import::rows(csv.as_bytes(), &tiers)
            .unwrap()
            .take(2)
            .map(|row| row.unwrap().unwrap().name)
            .collect();
        assert_eq!(back, ["=HYPERLINK(\"https://x.example\")", "'=kept"]);
    })
    .await;
}

async fn conversation(store: &Store, address: &str, words: &str) {
    let mut tx = store.write().await.unwrap();
    let key = Address::parse(address).unwrap().key();
    let person = people::by_key(&mut tx, &key).await.unwrap();
    let thread = NewThread {
        subscriber_id: person.map(|person| person.id),
        address,
        address_key: &key,
        name: "Ann",
        subject: "Question",
        edition_id: None,
        suspected: None,
    };
    let thread = threads::open(&mut tx, &thread, TUESDAY).await.unwrap();
    for (kind, from, text) in [
        (PostKind::Subscriber, address, words),
        (PostKind::Subscriber, "stranger@y.example", "STRANGER"),
        (PostKind::Staff, "mira@staff.example.net", "ANSWER"),
        (PostKind::Note, "mira@staff.example.net", "INTERNAL"),
    ] {
        let post = NewPost {
            thread,
            kind,
            from_name: "",
            from_address: from,
            text,
            folded: "",
            message_id: None,
            inbound_id: None,
            staff_id: None,
            attachments: &[],
        };
        threads::add_post(&mut tx, &post, TUESDAY).await.unwrap();
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn one_person_whole_and_nobody_else() {
    on_every_store(|store| async move {
        let (ann, bob) = (subscriber("Ann@x.example", "yearly"), subscriber("bob@x.example", "free"));
        let mut tx = store.write().await.unwrap();
        people::add_many(&mut tx, &[&ann, &bob], "form", "I agree, version 3", TUESDAY).await.unwrap();
        suppressions::add(&mut tx, &ann.address, SuppressionReason::Complaint, "test", TUESDAY)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        conversation(&store, "ann@x.example", "ANNS WORDS").await;
        conversation(&store, "bob@x.example", "BOBS WORDS").await;
        let mut tx = store.read().await.unwrap();
        let found = dossier::of(&mut tx, &Address::parse("ANN@x.example").unwrap()).await.unwrap().unwrap();
        let json = serde_json::to_string(&found).unwrap();
        for there in ["Ann@x.example", "I agree, version 3", "complaint", "ANNS WORDS", "ANSWER", "yearly"] {
            assert!(json.contains(there), "{there}: {json}");
        }
        for foreign in ["bob", "BOBS", "STRANGER", "stranger@", "mira@", "INTERNAL"] {
            assert!(!json.contains(foreign), "{foreign}: {json}");
        }
        let nobody = Address::parse("nobody@x.example").unwrap();
        assert!(dossier::of(&mut tx, &nobody).await.unwrap().is_none());
    })
    .await;
}

/// Runs the command line on a folder with the shipped config.
fn tidings(folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(args)
        .current_dir(folder)
        .env("TIDINGS_SECRET", "a-signing-secret-of-32-characters")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (done.status.code(), text(done.stdout), text(done.stderr))
}

fn copied(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copied(&entry.path(), &target)
        } else {
            drop(std::fs::copy(entry.path(), target))
        }
    }
}

#[tokio::test]
async fn commands_import_set_tier_and_export() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    copied(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config"), &at.join("config"));
    std::fs::write(at.join("keila.csv"), include_bytes!("../fixtures/import/keila.csv")).unwrap();
    let (code, out, said) = tidings(at, &["subscribers", "import", "keila.csv", "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["format"], "keila");
    assert_eq!(report["skipped"][0]["line"], 7);
    assert!(said.contains("`data` is not read for keila"), "{said}");
    let (code, _, said) = tidings(at, &["subscribers", "import", "keila.csv", "--format", "gohst"]);
    assert!(code == Some(2) && said.contains("write one of tidings, ghost"), "{said}");

    let set = ["subscribers", "set-tier", "ANN@x.example", "yearly", "--starts", "2026-01-31"];
    let (code, out, said) = tidings(at, &set);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(out, "ann@x.example is yearly from 2026-01-31T00:00:00Z until 2027-01-31T00:00:00Z\n");
    let with = |more: [&'static str; 2]| [&set[..], &more].concat();
    assert_eq!(tidings(at, &with(["--ends", "2026-06-01"])).0, Some(0));
    assert_eq!(tidings(at, &with(["--ends", "2025-06-01"])).0, Some(2));
    assert_eq!(tidings(at, &["subscribers", "set-tier", "ann@x.example", "gold"]).0, Some(2));
    assert_eq!(tidings(at, &["subscribers", "set-tier", "no@x.example", "free"]).0, Some(1));

    let (code, out, said) = tidings(at, &["subscribers", "export", "--out", "all.csv"]);
    assert_eq!((code, out.as_str()), (Some(0), "6 people are in all.csv\n"), "{said}");
    let csv = std::fs::read_to_string(at.join("all.csv")).unwrap();
    assert_eq!(tidings(at, &["subscribers", "export"]).1, csv);
    let ann = "ann@x.example,Ann Lee,yearly,active,,,2026-01-31T00:00:00Z,2026-06-01T00:00:00Z,,,,,";
    assert!(csv.lines().nth(1).unwrap().starts_with(ann), "{csv}");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(at.join("all.csv")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!at.join("all.csv.part").exists());

    let (code, out, _) = tidings(at, &["subscribers", "export", "--person", "ann@x.example"]);
    let person: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &person["profile"]["tier"]), (Some(0), &"yearly".into()));
    let change = &person["changes"][0];
    assert_eq!(change["action"], "subscriber set-tier");
    assert!(change["detail"].as_str().unwrap().starts_with("free -> yearly from 2026-01-31"), "{change}");
    assert_eq!(tidings(at, &["subscribers", "export", "--person", "no@x.example"]).0, Some(1));
    let store = Store::open(&StorageUrl::Sqlite(at.join("var/tidings.db"))).await.unwrap();
    store.close().await;
}
