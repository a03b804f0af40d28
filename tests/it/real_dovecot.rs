//! A real IMAP server: Dovecot's mailbox, with TLS and a password, read by the daemon while people read it too, and the daemon killed.

use std::collections::BTreeMap;

use tidings::domain::inbound::InboundState;
use tidings::domain::settings::StorageUrl;
use tidings::store::{Store, inbound};

use crate::support::certificates::{Authority, Identity};
use crate::support::daemon::{Daemon, Site, until, until_moving};
use crate::support::dovecot::{Dovecot, USER, is_here};
use crate::support::mailbox::{assert_each_once, numbered, rows};
use crate::support::peer::PASSWORD;
use crate::support::stores::TestStore;

struct World {
    authority: Authority,
    dovecot: Dovecot,
    site: Site,
}

fn world(identity: impl FnOnce(&Authority) -> Identity, store: Option<&TestStore>, more: &str) -> World {
    let authority = Authority::new();
    let dovecot = Dovecot::start(&identity(&authority));
    let site = Site::shipped();
    if let Some(store) = store {
        site.keep_in(store);
    }
    let world = World { authority, dovecot, site };
    world.connect(&format!("imaps://{}", world.dovecot.secure), PASSWORD, more);
    world
}

fn usual(authority: &Authority) -> Identity {
    authority.server("127.0.0.1")
}

impl World {
    fn connect(&self, url: &str, password: &str, more: &str) {
        let config = self.site.path().join("config/tidings.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let text = text.split_once("\n[intake.imap]\n").map_or(text.as_str(), |(before, _)| before);
        let imap = format!(
            "{text}\n[intake.imap]\nurl = \"{url}\"\nusername = \"{USER}\"\npassword = {{ file = \"imap-password\" }}\n{more}\n"
        );
        std::fs::write(self.site.path().join("imap-password"), password).unwrap();
        std::fs::write(self.site.path().join("imap-ca.pem"), &self.authority.certificate).unwrap();
        std::fs::write(&config, imap).unwrap();
    }

    fn store(&self) -> StorageUrl {
        StorageUrl::Sqlite(self.site.path().join("var/tidings.db"))
    }
}

const CA: &str = "ca = \"imap-ca.pem\"";

/// How many messages the store has.
fn recorded(runtime: &tokio::runtime::Runtime, store: &Store) -> usize {
    runtime.block_on(async {
        inbound::list(&mut store.read().await.unwrap(), None, 1_000_000).await.unwrap().len()
    })
}

/// How many have been understood. A life that understands none is a message's that ends the process, and three of these set it aside.
fn understood(runtime: &tokio::runtime::Runtime, store: &Store) -> usize {
    runtime.block_on(async {
        let rows = inbound::list(&mut store.read().await.unwrap(), None, 1_000_000).await.unwrap();
        rows.iter().filter(|row| row.state != InboundState::Received).count()
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Delivers `count` messages in ten parts and kills the daemon in the middle of each. Answers how far it was at each kill.
fn deliver_and_kill(world: &World, count: usize, runtime: &tokio::runtime::Runtime, store: &Store) {
    let mut kills = Vec::new();
    for part in 0..10 {
        for number in part * count / 10 + 1..=(part + 1) * count / 10 {
            world.dovecot.deliver(&numbered(number));
        }
        let (before, done) = (recorded(runtime, store), understood(runtime, store));
        let daemon = world.site.start();
        // Each time a little later: in the first batch, between two, while it moves.
        let wanted = before + (part + 1) * count / 200;
        until("some of them are recorded", || (recorded(runtime, store) >= wanted).then_some(()));
        until("one more is understood", || (understood(runtime, store) > done).then_some(()));
        daemon.kill();
        kills.push(recorded(runtime, store));
    }
    let daemon = world.site.start();
    until_moving(
        "all of them are recorded",
        || recorded(runtime, store),
        || (recorded(runtime, store) >= count).then_some(()),
    );
    // What was recorded last is moved or flagged after its commit.
    until("nothing is left to do there", || {
        runtime.block_on(async {
            let mut tx = store.read().await.unwrap();
            tidings::store::mailboxes::unfiled(&mut tx, 1, tidings::store::mailboxes::Filing::Waiting, 0, 1)
                .await
                .unwrap()
                .is_empty()
                .then_some(())
        })
    });
    daemon.stop();
    println!("{count} messages, killed after {kills:?}");
}

/// 2,000 mails, ten kills, messages that move: each is one row, all of them end in the folder, nobody's \Seen changes.
#[test]
fn two_thousand_mails_and_ten_kills_make_two_thousand_rows() {
    if !is_here() {
        return;
    }
    let runtime = runtime();
    let world = world(usual, None, &format!("{CA}\nafter = \"move Taken\""));
    let store = runtime.block_on(Store::open(&world.store())).unwrap();
    deliver_and_kill(&world, 2_000, &runtime, &store);
    runtime.block_on(assert_each_once(&store, 2_000));
    assert_eq!(world.dovecot.flags("INBOX"), BTreeMap::new());
    assert_eq!(world.dovecot.flags("Taken"), BTreeMap::from([(String::new(), 2_000)]));
    runtime.block_on(store.close());
}

/// On PostgreSQL, in a mailbox that people read too: what they have seen stays seen, the rest unseen, and all get the keyword.
#[test]
fn a_mailbox_that_people_read_keeps_its_flags() {
    if !is_here() {
        return;
    }
    let runtime = runtime();
    let Some(test) = runtime.block_on(TestStore::postgres()) else { return };
    let world = world(usual, Some(&test), &format!("{CA}\nafter = \"flag\""));
    for number in 1..=40 {
        world.dovecot.deliver(&numbered(number));
    }
    world.dovecot.admin(&["flags", "add", "-u", USER, "\\Seen", "mailbox", "INBOX", "uid", "1:10"]);
    world.dovecot.admin(&[
        "flags",
        "add",
        "-u",
        USER,
        "\\Flagged \\Deleted",
        "mailbox",
        "INBOX",
        "uid",
        "11",
    ]);
    deliver_more_and_kill(&world, 40, 300, &runtime, &test.store);
    runtime.block_on(assert_each_once(&test.store, 300));
    let keyword = "$TidingsRecorded";
    let expected = BTreeMap::from([
        (format!("\\Seen {keyword}"), 10),
        (format!("\\Flagged \\Deleted {keyword}"), 1),
        (keyword.to_owned(), 289),
    ]);
    let mut flags = BTreeMap::new();
    for (line, count) in world.dovecot.flags("INBOX") {
        let mut words: Vec<&str> = line.split(' ').collect();
        words.sort_by_key(|word| (*word == keyword, *word != "\\Seen" && *word != "\\Flagged"));
        *flags.entry(words.join(" ")).or_default() += count;
    }
    assert_eq!(flags, expected);
    runtime.block_on(test.remove());
}

fn deliver_more_and_kill(
    world: &World,
    there: usize,
    count: usize,
    runtime: &tokio::runtime::Runtime,
    store: &Store,
) {
    for number in there + 1..=count {
        world.dovecot.deliver(&numbered(number));
    }
    for part in 1..=5 {
        let done = understood(runtime, store);
        let daemon = world.site.start();
        let wanted = part * count / 6;
        until("some of them are recorded", || (recorded(runtime, store) >= wanted).then_some(()));
        until("one more is understood", || (understood(runtime, store) > done).then_some(()));
        daemon.kill();
    }
    let daemon = world.site.start();
    until("all of them are recorded", || (recorded(runtime, store) >= count).then_some(()));
    until("all of them are flagged", || {
        let flagged: usize = world
            .dovecot
            .flags("INBOX")
            .iter()
            .filter(|(flags, _)| flags.contains("$TidingsRecorded"))
            .map(|(_, count)| count)
            .sum();
        (flagged == count).then_some(())
    });
    daemon.stop();
}

fn log_has(daemon: &Daemon, words: &str) {
    until(&format!("`{words}` in the log: {}", daemon.log()), || daemon.log().contains(words).then_some(()));
}

/// New mail wakes the daemon at once: nobody polls within an hour. STARTTLS here, and none on loopback.
#[test]
fn new_mail_wakes_the_daemon_and_a_restarted_server_is_found_again() {
    if !is_here() {
        return;
    }
    let runtime = runtime();
    let world = world(usual, None, CA);
    let store = runtime.block_on(Store::open(&world.store())).unwrap();
    let mut count = 0;
    let kinds = [
        (format!("imaps://{}", world.dovecot.secure), CA),
        (format!("imap+starttls://{}", world.dovecot.plain), CA),
        (format!("imap://{}", world.dovecot.plain), ""),
    ];
    for (url, ca) in kinds {
        world.connect(&url, PASSWORD, &format!("{ca}\npoll = \"1h\""));
        let daemon = world.site.start();
        for _ in 0..3 {
            count += 1;
            world.dovecot.deliver(&numbered(count));
            until(&format!("message {count} by {url}: {}", daemon.log()), || {
                (recorded(&runtime, &store) >= count).then_some(())
            });
        }
        // The server goes and comes back with mail.
        world.dovecot.stop();
        count += 1;
        world.dovecot.deliver(&numbered(count));
        log_has(&daemon, "the mailbox is opened again");
        world.dovecot.run();
        until("it is connected again", || (recorded(&runtime, &store) >= count).then_some(()));
        daemon.stop();
    }
    runtime.block_on(assert_each_once(&store, count));
    // And numbers everything anew.
    world.dovecot.renumber();
    world.dovecot.deliver(&numbered(count + 1));
    let daemon = world.site.start();
    log_has(&daemon, "its messages have new numbers");
    until("the new one", || (recorded(&runtime, &store) > count).then_some(()));
    daemon.stop();
    runtime.block_on(assert_each_once(&store, count + 1));
    assert_eq!(world.dovecot.flags("INBOX"), BTreeMap::from([(String::new(), count + 1)]));
    runtime.block_on(store.close());
}

/// Certificates that do not fit and a wrong password: one alarm, no mail lost, and the password is in no log at any level.
#[test]
fn a_server_that_is_not_the_one_named_gets_no_password() {
    if !is_here() {
        return;
    }
    type Makes = fn(&Authority) -> Identity;
    let cases: [(&str, Makes, &str, &str); 4] = [
        ("wrong password", usual, "not the password", "the login is refused"),
        ("expired", |authority| authority.expired_server("127.0.0.1"), PASSWORD, "certificate expired"),
        (
            "wrong name",
            |authority| authority.server("imap.example"),
            PASSWORD,
            "certificate not valid for name",
        ),
        ("unknown CA", |_| Authority::new().server("127.0.0.1"), PASSWORD, "UnknownIssuer"),
    ];
    for (case, makes, password, words) in cases {
        let world = world(makes, None, CA);
        world.dovecot.deliver(&numbered(1));
        for url in
            [format!("imaps://{}", world.dovecot.secure), format!("imap+starttls://{}", world.dovecot.plain)]
        {
            world.connect(&url, password, CA);
            let daemon = world.site.start_as(&["run"], |command| {
                command.env("TIDINGS_LOG", "trace");
            });
            log_has(&daemon, "cause=\"intake_refuses\"");
            let log = daemon.log();
            let alarms: Vec<&str> = log.lines().filter(|line| line.contains("intake_refuses")).collect();
            assert!(alarms.len() == 1 && alarms[0].contains(words), "{case}: {alarms:?}");
            assert!(!log.contains(password), "{case}");
            daemon.stop();
            // One alarm an hour, and this is the second start: its row is of the first one.
            std::fs::remove_dir_all(world.site.path().join("var")).unwrap();
        }
        if password == PASSWORD {
            assert!(!world.dovecot.log().contains("Login"), "{case}: {}", world.dovecot.log());
        }
    }
}

/// 30 MB are more than `max_message`: the message is set aside by its header and stays where it is; others go on.
#[test]
fn a_message_of_thirty_megabytes_is_set_aside_in_little_memory() {
    if !is_here() {
        return;
    }
    let runtime = runtime();
    let world = world(usual, None, &format!("{CA}\nafter = \"move Taken\""));
    let mut large = numbered(1);
    large.resize(30_000_000, b'y');
    // Lines, as mail has them.
    (200..large.len()).step_by(78).for_each(|at| large[at] = b'\n');
    world.dovecot.deliver(&large);
    large.truncate(20_000_000);
    world.dovecot.deliver(&large);
    world.dovecot.deliver(&numbered(3));
    let daemon = world.site.start();
    let store = runtime.block_on(Store::open(&world.store())).unwrap();
    until("all of them are recorded", || (recorded(&runtime, &store) >= 3).then_some(()));
    until("two are moved", || (world.dovecot.flags("Taken").values().sum::<usize>() == 2).then_some(()));
    log_has(&daemon, "it has more than 25000000 octets");
    until("both are understood", || {
        let rows = world.site.json(&["inbound", "list", "--state", "done", "--json"]);
        (rows.as_array().unwrap().len() == 2).then_some(())
    });
    println!("peak memory with a message of 20 MB: {} kB", daemon.peak_memory());
    daemon.stop();
    let (_, aside) = runtime.block_on(rows(&store));
    assert_eq!(aside, 1);
    assert_eq!(world.dovecot.flags("INBOX").values().sum::<usize>(), 1);
    runtime.block_on(store.close());
}
