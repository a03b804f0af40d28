//! The tier proof: for every tier of the shipped example, `preview` writes the bytes that the relay gets, but for Date, ids
//! and tokens (the boundary is one of them), and the addresses of the readers.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tidings::domain::settings::OnUncertain;
use tidings::runtime::Timestamp;
use tidings::store::people;
use tidings::tasks::schedule::Scheduler;

use crate::support::peer::Peer;
use crate::support::receiving::example;
use crate::support::sending::{Sending, subscriber};
use crate::support::stores::TestStore;

const TIERS: [&str; 4] = ["free", "monthly", "yearly", "lifetime"];
/// Characters of a token: of a row, and of nobody's.
const TOKENS: [usize; 2] = [26, 40];

fn preview(out: &Path, more: &[&str]) -> std::process::Output {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/tidings.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.arg("--config").arg(config).args(["preview", "first-light", "--out"]).arg(out).args(more);
    command.env("TIDINGS_SECRET", "a secret of sixteen or more").output().unwrap()
}

/// Without soft line breaks, and with everything that may differ made the same.
fn normal(message: &[u8], address: &str) -> String {
    let text = String::from_utf8(message.to_vec()).unwrap().replace("=\r\n", "");
    let text = text.replace(address, "READER");
    let date = text.lines().find(|line| line.starts_with("Date: ")).unwrap().to_owned();
    let mut out = String::new();
    let mut word = String::new();
    for c in text.replacen(&date, "Date: DATE", 1).chars().chain(['\n']) {
        if c.is_ascii_alphanumeric() {
            word.push(c);
            continue;
        }
        let token = TOKENS.contains(&word.len())
            && word.bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b));
        out.push_str(if token { "TOKEN" } else { &word });
        word.clear();
        out.push(c);
    }
    out
}

#[tokio::test]
async fn every_tier_gets_what_its_preview_shows() {
    let folder = tempfile::tempdir().unwrap();
    let output = preview(folder.path(), &[]);
    assert!(output.status.success(), "{output:?}");

    let test = TestStore::sqlite().await;
    let setup = example(&[]);
    let named = |tier: &str| tidings::domain::subscriber::Subscriber {
        name: "Sample Reader".into(),
        ..subscriber(&format!("{tier}@x.example"), tier)
    };
    let readers: Vec<_> = TIERS.iter().map(|tier| named(tier)).collect();
    let mut tx = test.store.write().await.unwrap();
    people::add_many(&mut tx, &readers.iter().collect::<Vec<_>>(), "test", "", Timestamp(0)).await.unwrap();
    tx.commit().await.unwrap();
    let edition = &setup.content.publication.editions[0];
    let scheduler =
        Scheduler::new(test.store.clone(), setup.shelf.clone(), setup.settings.clone(), Arc::default());
    scheduler.step(edition.due_at).await.unwrap();

    let peer = Peer::willing().await;
    let mut sending = Sending::start(&test.store, &peer, OnUncertain::Resend).await;
    sending.clock.advance(std::time::Duration::from_secs(7 * 86_400));
    Arc::get_mut(&mut sending.line).unwrap().shelf = setup.shelf.clone();
    assert_eq!(sending.drain().await, 9, "four readers; the editor gets the report and a proof of each tier");
    let mails = peer.taken();
    let proofs = mails.iter().filter(|mail| mail.to == "ed@example.org");
    let proofs = proofs.filter(|mail| normal(&mail.bytes, &mail.to).contains("List-Unsubscribe: "));
    // In the order in which tiers stand in the config.
    let proofs: Vec<_> = TIERS.into_iter().zip(proofs).collect();
    assert_eq!(proofs.len(), 4);
    let readers = mails.iter().filter(|mail| mail.to.ends_with("@x.example"));
    let readers = readers.map(|mail| (mail.to.split('@').next().unwrap(), mail));
    for (tier, mail) in readers.chain(proofs) {
        let shown = std::fs::read(folder.path().join(format!("first-light-{tier}.eml"))).unwrap();
        let (shown, sent) = (normal(&shown, "reader@example.org"), normal(&mail.bytes, &mail.to));
        assert!(sent.contains("TOKEN") && sent.contains("READER"), "{tier}: the test normalises nothing");
        for (at, (shown, sent)) in shown.lines().zip(sent.lines()).enumerate() {
            assert_eq!(shown, sent, "{tier}, line {}", at + 1);
        }
        assert_eq!(shown, sent, "{tier}");
    }
}

#[test]
fn all_tiers_stand_side_by_side_with_their_pictures() {
    let folder = tempfile::tempdir().unwrap();
    assert!(preview(folder.path(), &[]).status.success());
    let page = std::fs::read_to_string(folder.path().join("index.html")).unwrap();
    for tier in TIERS {
        assert!(page.contains(&format!("first-light-{tier}.eml")), "{page}");
        let html = std::fs::read_to_string(folder.path().join(format!("tiers/{tier}.html"))).unwrap();
        let picture = html.split("../media/").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        assert!(folder.path().join("media").join(picture).is_file(), "{tier}: {picture}");
        let as_sent =
            std::fs::read_to_string(folder.path().join(format!("first-light-{tier}.html"))).unwrap();
        assert!(as_sent.contains("https://news.example.org/media/") && !as_sent.contains("../media/"));
    }
    assert!(page.contains("Yearly") && page.contains("Make the model smaller"));
}

#[test]
fn what_an_article_loses_is_warned_of_once() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let config = folder.path().join("config");
    std::fs::create_dir_all(config.join("articles/media")).unwrap();
    for file in [
        "tidings.toml",
        "publication.toml",
        "articles/model-compression.md",
        "articles/federated-learning.md",
        "articles/media/federated-round.png",
    ] {
        std::fs::copy(shipped.join(file), config.join(file)).unwrap();
    }
    let article = config.join("articles/federated-learning.md");
    let text = std::fs::read_to_string(&article).unwrap() + "\nü <font>x</font>\n";
    std::fs::write(&article, &text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.arg("--config").arg(config.join("tidings.toml")).args(["preview", "first-light", "--out"]);
    command.arg(folder.path().join("out")).env("TIDINGS_SECRET", "a secret of sixteen or more");
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let place =
        format!("federated-learning.md:{}:3: warning: html: <font> is left out", text.lines().count());
    assert_eq!(said.matches(&place).count(), 1, "{said}");
}

#[test]
fn without_a_folder_one_tier_is_asked_for() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/tidings.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command
        .arg("--config")
        .arg(config)
        .args(["preview", "first-light"])
        .env("TIDINGS_SECRET", "a secret of sixteen or more");
    assert_eq!(command.output().unwrap().status.code(), Some(2));
}
