//! Postfix hands mail over by LMTP, by TCP and by a socket file, while the daemon is killed: every mail is one row.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use tidings::domain::settings::StorageUrl;
use tidings::mail::parse::parse;
use tidings::store::{Store, inbound};

use crate::support::daemon::{Site, until, until_moving};
use crate::support::postfix::{Postfix, is_here};
use crate::support::stores::TestStore;

fn count(runtime: &tokio::runtime::Runtime, store: &Store) -> usize {
    runtime.block_on(async {
        inbound::list(&mut store.read().await.unwrap(), None, 1_000_000).await.unwrap().len()
    })
}

/// The queue ids that Postfix wrote into what it handed over: one a mail.
async fn queue_ids(store: &Store) -> Vec<String> {
    let mut tx = store.read().await.unwrap();
    let mut ids = Vec::new();
    for row in inbound::list(&mut tx, None, 1_000_000).await.unwrap() {
        let (_, raw) = inbound::show(&mut tx, row.id).await.unwrap().unwrap();
        let received = parse(&raw).field("received").unwrap_or_default().to_owned();
        let (_, id) = received.split_once(" id ").unwrap_or_else(|| panic!("{received}"));
        ids.push(id.split([';', ' ']).next().unwrap().to_owned());
    }
    ids
}

fn send_and_kill(site: &Site, postfix: &Postfix, store: &Store, mails: usize, kills: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut daemon = site.start();
    let mut source = Command::new("/usr/sbin/smtp-source")
        .args(["-m", &mails.to_string(), "-s", "4", "-l", "2000", "-f", "reader@readers.example"])
        .args(["-t", "support@news.example.org", &postfix.address.to_string()])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut seen = Vec::new();
    for kill in 1..=kills {
        let wanted = kill * mails / (kills + 1);
        until(&format!("{wanted} rows: {}", postfix.log()), || {
            (count(&runtime, store) >= wanted).then_some(())
        });
        daemon.kill();
        seen.push(count(&runtime, store));
        daemon = site.start();
    }
    assert!(source.wait().unwrap().success());
    let mut asked = 0;
    until_moving(
        "all of them are recorded",
        || count(&runtime, store),
        || {
            // A mail that Postfix skipped as "still being delivered" is else tried again much later.
            asked += 1;
            if asked % 20 == 0 {
                postfix.flush();
            }
            (count(&runtime, store) >= mails).then_some(())
        },
    );
    daemon.stop();
    let ids = runtime.block_on(queue_ids(store));
    let distinct: BTreeSet<&String> = ids.iter().collect();
    assert_eq!((ids.len(), distinct.len()), (mails, mails));
    println!("Postfix over LMTP: {mails} mails, killed after {seen:?}, {} rows", ids.len());
}

#[test]
fn two_thousand_mails_by_lmtp_and_ten_kills_make_two_thousand_rows() {
    if !is_here() {
        return;
    }
    let site = Site::shipped();
    let door = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    site.change("tidings.toml", "listen = \"127.0.0.1:0\"", &format!("listen = \"{door}\""));
    let postfix = Postfix::start_into("news.example.org", &format!("inet:{door}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let file = StorageUrl::Sqlite(site.path().join("var/tidings.db"));
    let store = runtime.block_on(Store::open(&file)).unwrap();
    send_and_kill(&site, &postfix, &store, 2_000, 10);
    runtime.block_on(store.close());
}

#[test]
fn mails_by_a_socket_file_reach_postgresql_once() {
    if !is_here() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let Some(test) = runtime.block_on(TestStore::postgres()) else { return };
    let site = Site::shipped();
    site.keep_in(&test);
    // Postfix' user goes through the folder, and connects by the mode of the file.
    std::fs::set_permissions(site.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let door = site.path().join("lmtp");
    let listen = format!("listen = \"unix:{}\"\nmode = \"0666\"", door.display());
    site.change("tidings.toml", "listen = \"127.0.0.1:0\"", &listen);
    let postfix = Postfix::start_into("news.example.org", &format!("unix:{}", door.display()));
    send_and_kill(&site, &postfix, &test.store, 200, 3);
    runtime.block_on(test.remove());
}
