//! W190 beyond one address and one moment: addresses that a person had before, what comes in about them later, and an erasing that is
//! cut short anywhere.

use std::time::Duration;

use sqlx::Connection;
use tidings::domain::address::Address;
use tidings::domain::settings::StorageUrl;
use tidings::domain::token::{Purpose, Subject};
use tidings::domain::verdict::Verdict;
use tidings::runtime::{Clock, SystemClock, Timestamp};
use tidings::store::erasures::{self, Erasure};
use tidings::store::inbound::{self, InboundRow, NewInbound};
use tidings::store::threads::ThreadRow;
use tidings::store::{
    Store, audit, bounces, deliveries, dossier, editions, former_addresses, people, suppressions,
};
use tidings::tasks::erase::{CUT_SHORT_AFTER, Eraser, go_on, lost_secrets};
use tidings::tasks::people::{ImportOptions, import};

use crate::person_is_erased::{ERIKA, erase, eraser, everything, lived, said};
use crate::support::clock::TUESDAY;
use crate::support::daemon::{Site, until};
use crate::support::public::{Front, link_in};
use crate::support::receiving::{Receiving, message};
use crate::support::sending::edition;
use crate::support::stores::{TestStore, both, on_every_store};

const OLD: &str = "greta.old@readers.example";
const NEW: &str = "greta.new@readers.example";

/// Moves a subscription as its reader does.
async fn moves(front: &Front, id: i64, from: &str, to: &str) {
    let cookie = front.sign_in(from).await;
    let preferences = front.link(Purpose::Preferences, id);
    let typed = format!("address={}", to.replace('@', "%40"));
    assert_eq!(front.post_as(&cookie, &format!("{preferences}/address"), &typed).await.code, 200);
    let mails = front.mails().await;
    let asked = mails.iter().find(|mail| mail.to == to).expect("the new address is asked");
    let page = front.post(&link_in(asked, "/c/"), "").await;
    assert!(page.body.contains("Your mails go here now"), "{}", page.body);
    // The old address is told.
    front.mails().await;
}

/// Records a message at a time of its own.
async fn record(store: &Store, to: &str, from: Option<&str>, raw: &[u8], at: Timestamp) -> i64 {
    // No word of it, which would be found as one of theirs.
    let hash = format!("{:x}", std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), raw));
    let new = NewInbound {
        source: tidings::domain::inbound::InboundSource::Lmtp,
        envelope_from: from,
        recipient: to,
        hash: &hash,
        raw: raw.to_vec(),
    };
    let mut tx = store.write().await.unwrap();
    let id = inbound::record(&mut tx, new, at).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    id
}

/// Records and understands one message.
async fn take(
    line: &Receiving,
    to: &str,
    from: Option<&str>,
    raw: &[u8],
    at: Timestamp,
) -> (InboundRow, Vec<u8>) {
    let id = record(&line.store, to, from, raw, at).await;
    line.receiver.drain(|| at).await.unwrap();
    inbound::show(&mut line.store.read().await.unwrap(), id).await.unwrap().unwrap()
}

#[tokio::test]
async fn w190_an_address_that_a_person_had_before_goes_with_them() {
    for (number, asked_as) in [(0, NEW), (1, OLD), (2, NEW), (3, OLD)] {
        let Some(test) =
            (if number < 2 { Some(TestStore::sqlite().await) } else { TestStore::postgres().await })
        else {
            continue;
        };
        let front = Front::start(&test.store).await;
        let line = Receiving::start(&test.store).await;
        // A question before she joined, changes by hand, a suppression that is held, and a bounce of the old address.
        let raw = message(&format!("Greta <{OLD}>"), "1@g.example", "", "GRETAS WORDS");
        line.take("support@news.example.org", OLD, &raw).await;
        let id = front.add(OLD, "yearly").await;
        let mut tx = test.store.write().await.unwrap();
        audit::record(&mut tx, TUESDAY, "cli", "subscriber set-tier", OLD, "free -> yearly").await.unwrap();
        audit::record(&mut tx, TUESDAY, "cli", "preview", "weekly", &format!("to {OLD}")).await.unwrap();
        tx.commit().await.unwrap();
        front.mails().await;
        moves(&front, id, OLD, NEW).await;
        // And one who asked for her old address, before she gave it up.
        front.add("other@readers.example", "free").await;
        let all = everything(&test).await.to_lowercase();
        assert!(all.contains(OLD) && all.contains(NEW) && all.contains("gretas words"));
        let mut tx = test.store.read().await.unwrap();
        let known = dossier::of(&mut tx, &Address::parse(OLD).unwrap()).await.unwrap().expect("W189");
        assert_eq!((known.address.as_str(), known.former_addresses.as_slice()), (NEW, &[OLD.to_owned()][..]));
        assert_eq!(known.threads.len(), 1, "W189: {known:?}");
        assert!(known.changes.iter().any(|change| change.action == "subscriber set-tier"), "W189: {known:?}");
        drop(tx);

        let erased = erase(&front, asked_as).await.expect("she is found by either");
        assert_eq!((erased.former_addresses, erased.others.len()), (1, 0), "{erased:?}");
        let all = everything(&test).await.to_lowercase();
        for hers in ["greta", OLD, NEW] {
            assert!(!all.contains(hers), "{} {asked_as}: {hers} at {:?}", test.name(), near(&all, hers));
        }
        assert!(all.contains("other@readers.example"));
        // Neither comes back by a file.
        let csv = format!("email,name,tier,status\n{OLD},G,free,active\n{NEW},G,free,active\n");
        let rows = tidings::import::rows(csv.as_bytes(), &["free".into()]).unwrap().map(Result::unwrap);
        let options = ImportOptions {
            consent_source: None,
            dry_run: false,
            now: TUESDAY,
            keyring: &front.setup.keyring,
            terms: &Default::default(),
        };
        let report = import(&test.store, rows, options, |_| {}).await.unwrap();
        assert_eq!((report.added, report.suppressed), (0, 2), "{report:?}");
        assert_eq!(erase(&front, OLD).await, None);
        test.remove().await;
    }
}

fn near(all: &str, what: &str) -> String {
    let at = all.find(what).unwrap_or(0);
    all.chars().skip(all[..at].chars().count().saturating_sub(80)).take(200).collect()
}

#[tokio::test]
async fn an_address_that_somebody_else_has_by_now_stays_theirs() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        let id = front.add(OLD, "yearly").await;
        moves(&front, id, OLD, NEW).await;
        // And back, and away again: it is a former address once.
        moves(&front, id, NEW, OLD).await;
        moves(&front, id, OLD, NEW).await;
        let found = former_addresses::of(&mut store.read().await.unwrap(), id).await.unwrap();
        assert_eq!(found, (vec![OLD.to_owned()], Vec::new()));
        let heir = front.add(OLD, "free").await;
        let erased = erase(&front, NEW).await.unwrap();
        assert_eq!((erased.former_addresses, erased.others.as_slice()), (0, &[OLD.to_owned()][..]));
        assert_eq!(front.person(OLD).await.map(|person| person.id), Some(heir));
        assert_eq!(front.person(NEW).await, None);
    })
    .await;
}

/// Erased while the relay had an edition of hers, which comes back later.
#[tokio::test]
async fn w190_what_comes_in_later_about_the_person_is_counted_and_not_kept() {
    for test in both().await {
        let store = &test.store;
        let front = Front::start(store).await;
        let line = Receiving::start(store).await;
        let id = front.add(ERIKA, "yearly").await;
        front.add("other@readers.example", "yearly").await;
        let mut tx = store.write().await.unwrap();
        editions::queue(&mut tx, &edition("weekly", &["yearly"]), TUESDAY).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        assert_eq!(front.mails().await.len(), 2);
        let rows =
            deliveries::list(&mut store.read().await.unwrap(), Some("weekly"), None, 0, 10).await.unwrap();
        let theirs = rows.iter().find(|row| row.address.eq_ignore_ascii_case(ERIKA)).unwrap().id;
        erase(&front, ERIKA).await.unwrap();
        let later = front.now() + Duration::from_secs(60);

        let bounce = line.address(Purpose::Bounce, theirs, 0);
        let report = format!(
            "From: mailer-daemon@provider.example\r\nTo: <{bounce}>\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n\
             --b\r\nContent-Type: text/plain\r\n\r\n<{ERIKA}>: Erika Muster has moved\r\n\
             --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.provider.example\r\n\r\n\
             Final-Recipient: rfc822; {ERIKA}\r\nAction: failed\r\nStatus: 5.1.1\r\n\
             Diagnostic-Code: smtp; 550 5.1.1 {ERIKA} Erika Muster has moved\r\n\r\n--b--\r\n"
        );
        let (row, raw) = take(&line, &bounce, Some(""), report.as_bytes(), later).await;
        assert!(matches!(row.verdict, Some(Verdict::BounceHard | Verdict::BounceSoft)), "{row:?}");
        assert_eq!((raw.len(), row.reason.as_str()), (0, "about somebody who was erased"));
        let came_back = bounces::of_edition(&mut store.read().await.unwrap(), "weekly").await.unwrap();
        assert_eq!(came_back.len(), 1, "the edition counts it: {came_back:?}");

        // A program's answer, a wish to leave, a report that names only the address, and a wish to join.
        let away = message(
            "Erika <x@y.example>",
            "2@y.example",
            "Auto-Submitted: auto-replied\r\n",
            "Erika Muster is away",
        );
        let leave = line.address(Purpose::Unsubscribe, id, 0);
        let named = report.replace(&format!("To: <{bounce}>"), "To: <support@news.example.org>");
        let join = message(&format!("Erika Muster <{ERIKA}>"), "3@y.example", "", "let me in");
        for (to, from, raw) in [
            (line.address(Purpose::Edition, theirs, 0), "x@y.example", away),
            (leave, ERIKA, message(ERIKA, "4@y.example", "", "unsubscribe Erika Muster")),
            ("support@news.example.org".to_owned(), "", named.into_bytes()),
            ("join@news.example.org".to_owned(), ERIKA, join),
        ] {
            let (row, raw) = take(&line, &to, Some(from), &raw, later).await;
            assert!(row.verdict.is_some() && raw.is_empty(), "{to}: {row:?}");
        }
        assert!(front.mails().await.is_empty(), "nothing is sent for any of it");
        let all = everything(&test).await;
        assert_eq!(said(&all), Vec::<&str>::new(), "{}", test.name());
        let listed = suppressions::list(&mut store.read().await.unwrap()).await.unwrap();
        assert!(
            listed.iter().all(|row| row.address.starts_with("erased:") && row.address.len() > 30),
            "{listed:?}"
        );
        test.remove().await;
    }
}

#[tokio::test]
async fn words_that_they_write_themselves_after_it_are_answered_and_wiped_by_a_second_erasing() {
    for test in both().await {
        let front = Front::start(&test.store).await;
        let line = Receiving::start(&test.store).await;
        front.add(ERIKA, "yearly").await;
        // It waited while she was erased: a door without an envelope.
        let before = message(&format!("Erika Muster <{ERIKA}>"), "1@e.example", "", "HERWORDS from before");
        let waiting = record(&test.store, "", None, &before, front.now()).await;
        erase(&front, ERIKA).await.unwrap();
        line.receiver.drain(|| front.now()).await.unwrap();
        let (row, raw) =
            inbound::show(&mut test.store.read().await.unwrap(), waiting).await.unwrap().unwrap();
        assert_eq!((row.thread, raw.len()), (None, 0), "{row:?}");
        assert_eq!(said(&everything(&test).await), Vec::<&str>::new(), "{}", test.name());

        let later = front.now() + Duration::from_secs(3600);
        let asks = message(&format!("Erika Muster <{ERIKA}>"), "2@e.example", "", "HERWORDS: is it done?");
        let (row, raw) = take(&line, "support@news.example.org", Some(ERIKA), &asks, later).await;
        assert_eq!(row.verdict, Some(Verdict::SupportMessage));
        let thread = row.thread.expect("somebody has to answer");
        assert!(!raw.is_empty());
        let threads: Vec<ThreadRow> = line.threads().await;
        assert!(threads[0].thread == thread && threads[0].tier.is_none(), "a stranger: {threads:?}");
        assert!(front.mails().await.iter().all(|mail| mail.to != ERIKA), "no program answers");
        assert!(erase(&front, ERIKA).await.is_some());
        assert_eq!(said(&everything(&test).await), Vec::<&str>::new(), "{}", test.name());
        test.remove().await;
    }
}

#[tokio::test]
async fn nothing_is_written_back_between_the_first_step_and_the_last() {
    for test in both().await {
        let front = Front::start(&test.store).await;
        let line = Receiving::start(&test.store).await;
        let id = front.add(ERIKA, "yearly").await;
        let cookie = front.sign_in(ERIKA).await;
        let preferences = front.link(Purpose::Preferences, id);
        let typed = "address=erika.second%40readers.example";
        front.post_as(&cookie, &format!("{preferences}/address"), typed).await;
        let asked = front.mails().await.remove(0);
        let confirm = link_in(&asked, "/c/");
        let raw = message(&format!("Erika Muster <{ERIKA}>"), "1@e.example", "", "HERWORDS");
        record(&test.store, "support@news.example.org", Some(ERIKA), &raw, front.now()).await;

        let steps = eraser(&front);
        let (ids, _) = steps.begin(&Address::parse(ERIKA).unwrap(), front.now()).await.unwrap().unwrap();
        // Now each door that she had.
        assert_eq!(front.post(&preferences, "name=Erika+Muster&until=").await.code, 404);
        assert_eq!(front.post_as(&cookie, &format!("{preferences}/address"), typed).await.code, 404);
        assert_eq!(front.post(&confirm, "").await.code, 404);
        // Behind the pages as well: a form that was on its way.
        let home = std::net::IpAddr::from([192, 0, 2, 1]);
        front.readers.prefer(id, "Erika Muster", None, front.now()).await.unwrap();
        let second = Address::parse("erika.second@readers.example").unwrap();
        front.readers.ask_to_move(id, &second, home, front.now()).await.unwrap();
        assert!(!front.readers.come_back(id, home, front.now()).await.unwrap());
        let mut tx = test.store.write().await.unwrap();
        assert!(!people::activate(&mut tx, id, ("website", "Erika Muster"), front.now()).await.unwrap());
        assert!(!people::move_to(&mut tx, id, &second, front.now()).await.unwrap());
        let mut person = people::by_id(&mut tx, id).await.unwrap().unwrap();
        person.name = "Erika Muster".into();
        people::update(&mut tx, &person, front.now()).await.unwrap();
        assert!(!people::unsubscribe(&mut tx, id, "erika", front.now()).await.unwrap());
        tx.commit().await.unwrap();
        front.join(ERIKA, "&name=Erika+Muster").await;
        front.ask_to_sign_in(ERIKA, "").await;
        line.receiver.drain(|| front.now()).await.unwrap();
        assert!(front.mails().await.is_empty());
        for id in ids {
            while steps.piece(id, front.now()).await.unwrap().more {}
        }
        test.store.flush().await.unwrap();
        assert_eq!(said(&everything(&test).await), Vec::<&str>::new(), "{}", test.name());
        test.remove().await;
    }
}

#[tokio::test]
async fn cut_short_after_any_piece_it_is_gone_on_with() {
    for test in both().await {
        let (front, _) = lived(&test).await;
        for n in 0..120 {
            let from = format!("Erika Muster <{ERIKA}>");
            let raw = message(&from, &format!("m{n}@e.example"), "", &format!("HERWORDS {n}"));
            record(&test.store, "support@news.example.org", Some(ERIKA), &raw, TUESDAY).await;
        }
        let steps = eraser(&front);
        let start = front.now();
        let (ids, _) = steps.begin(&Address::parse(ERIKA).unwrap(), start).await.unwrap().unwrap();
        // Whoever is at work is left alone.
        let soon = start + Duration::from_secs(20);
        assert_eq!(go_on(&steps, soon).await.unwrap(), None);
        let mut pieces = 0;
        loop {
            // Here a process ends, and another one begins.
            let later = start + CUT_SHORT_AFTER * (pieces + 1);
            let left = erasures::abandoned(&mut test.store.read().await.unwrap(), later).await.unwrap();
            assert_eq!(left, ids.first().copied());
            pieces += 1;
            if !steps.piece(ids[0], later).await.unwrap().more {
                break;
            }
        }
        assert!(pieces >= 5, "{pieces}");
        assert_eq!(go_on(&steps, start + CUT_SHORT_AFTER * 100).await.unwrap(), None);
        test.store.flush().await.unwrap();
        assert_eq!(said(&everything(&test).await), Vec::<&str>::new(), "{}", test.name());
        let of: Vec<Erasure> =
            erasures::of(&mut test.store.read().await.unwrap(), &ERIKA.to_lowercase()).await.unwrap();
        assert!(of.is_empty());
        test.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_ends_what_a_killed_command_began() {
    let site = Site::shipped();
    let first = site.import(3)[0].clone();
    // The command, up to its first commit: then it is killed.
    let key: secrecy::SecretString = "a secret of sixteen bytes or more".to_owned().into();
    let keyring = tidings::mail::token::Keyring::new(&[key]).unwrap();
    let front = crate::support::receiving::example(&[]);
    let url = StorageUrl::Sqlite(site.path().join("var/tidings.db"));
    let store = Store::open(&url).await.unwrap();
    let eraser = Eraser { store: &store, keyring: &keyring, addresses: &front.settings.addresses };
    let then = Timestamp(SystemClock.now().millis() - 60_000);
    eraser.begin(&Address::parse(&first).unwrap(), then).await.unwrap().expect("they are there");
    store.close().await;
    let daemon = site.start();
    until("the erasing is over", || {
        daemon.log().contains("an erasing that was cut short is over").then_some(())
    });
    daemon.stop();
    let file = std::fs::read(site.path().join("var/tidings.db")).unwrap();
    assert!(!String::from_utf8_lossy(&file).contains(&first), "{first}");
    let again = site.run(&["subscribers", "erase", &first]);
    assert_eq!(again.code, 1, "nothing is known any more: {again:?}");
}

#[tokio::test]
async fn a_secret_that_people_were_erased_under_is_missed() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        front.add(ERIKA, "free").await;
        erase(&front, ERIKA).await.unwrap();
        assert_eq!(lost_secrets(&store, &front.setup.keyring).await.unwrap(), []);
        let ring = |secrets: &[&str]| {
            let secrets: Vec<secrecy::SecretString> =
                secrets.iter().map(|one| (*one).to_owned().into()).collect();
            tidings::mail::token::Keyring::new(&secrets).unwrap()
        };
        let kept = ring(&["another secret, the newer one", "a secret of sixteen or more"]);
        assert_eq!(lost_secrets(&store, &kept).await.unwrap(), []);
        let lost = lost_secrets(&store, &ring(&["another secret, the newer one"])).await.unwrap();
        assert_eq!(lost.len(), 1, "{lost:?}");
        assert_eq!(lost[0].people, 1);
        let subject = Subject { purpose: Purpose::Form, row: 1, second: 0 };
        assert!(kept.verify(&kept.mint(subject)).is_some());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_secret_missing_nothing_begins_that_could_bring_anybody_back() {
    let site = Site::shipped();
    let people = site.import(3);
    site.json(&["subscribers", "erase", &people[0], "--json"]);
    let run = |secret: &str, args: &[&str]| {
        let output = site.command(args).env("TIDINGS_SECRET", secret).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let other = "quite another secret of 32 letters";
    let file = site.path().join("again.csv");
    std::fs::write(&file, format!("email,name,tier,status\n{},X,free,active\n", people[0])).unwrap();
    let import = ["subscribers", "import", file.to_str().unwrap()];
    let add = ["subscribers", "add", people[0].as_str(), "--tier", "free"];
    for args in [&["run"][..], &import, &add] {
        let (code, _, err) = run(other, args);
        assert_eq!(code, Some(78), "{args:?}: {err}");
        assert!(
            err.contains("as a further entry of `secret`") && err.contains("suppressions remove erased:"),
            "{err}"
        );
    }
    let (_, out, _) = run(other, &["doctor", "--json"]);
    let checks: serde_json::Value = serde_json::from_str(&out).unwrap();
    let found: Vec<_> =
        checks.as_array().unwrap().iter().filter(|check| check["key"] == "secret_lost").collect();
    assert!(found.len() == 1 && found[0]["status"] == "fail", "{checks:#}");
    let marks = site.json(&["suppressions", "list", "--json"]);
    let key = marks[0]["address"].as_str().unwrap()[..9].to_owned();
    // With the secret there is no need to.
    let refused = site.run(&["suppressions", "remove", &key, "--reason", "x"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    let (code, out, err) = run(other, &["suppressions", "remove", &key, "--reason", "the secret is lost"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("1 erased addresses are forgotten"), "{out}");
    assert_eq!(run(other, &import).0, Some(0));
}

/// Two at work on the same person: PostgreSQL lets both, and the store must not mind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_erase_the_same_person_do_not_stop_one_another() {
    for test in both().await {
        let (front, _) = lived(&test).await;
        let address = Address::parse(ERIKA).unwrap();
        let (one, other) = (eraser(&front), eraser(&front));
        let (one, other) = tokio::join!(one.erase(&address, front.now()), other.erase(&address, front.now()));
        assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
        test.store.flush().await.unwrap();
        assert_eq!(said(&everything(&test).await), Vec::<&str>::new(), "{}", test.name());
        test.remove().await;
    }
}

/// What a move left behind before former addresses were written down: a confirmed wish names where somebody moved to.
#[tokio::test]
async fn an_older_store_learns_former_addresses_from_confirmed_wishes() {
    let Some(test) = TestStore::postgres().await else { return };
    let StorageUrl::Postgres(url) = &test.url else { unreachable!() };
    let front = Front::start(&test.store).await;
    let id = front.add(OLD, "free").await;
    moves(&front, id, OLD, NEW).await;
    moves(&front, id, NEW, "greta.third@readers.example").await;
    let mut sql = sqlx::PgConnection::connect(secrecy::ExposeSecret::expose_secret(url)).await.unwrap();
    sqlx::query("DELETE FROM former_addresses").execute(&mut sql).await.unwrap();
    let migration = include_str!("../../migrations/postgres/0013_privacy.sql");
    let start = migration.find("INSERT INTO former_addresses").unwrap();
    let statement = &migration[start..start + migration[start..].find(';').unwrap()];
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut sql).await.unwrap();
    let found = former_addresses::of(&mut test.store.read().await.unwrap(), id).await.unwrap();
    assert_eq!(found.0, [NEW.to_owned()]);
    sql.close().await.unwrap();
    test.remove().await;
}
