//! A copy of the store is taken while it works, and put to use later: it sends nothing by itself that may have been sent since.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use mail_parser::MessageParser;
use secrecy::ExposeSecret;
use tidings::domain::body::{Body, fill};
use tidings::domain::delivery::DeliveryKind;
use tidings::domain::edition::EditionState;
use tidings::domain::inbound::{InboundSource, InboundState};
use tidings::domain::settings::{OnUncertain, StorageUrl};
use tidings::domain::subscriber::SubscriberStatus;
use tidings::domain::token::Purpose;
use tidings::domain::verdict::Verdict;
use tidings::mail::parse::{Parsed, parse};
use tidings::runtime::{Clock, SystemClock, Timestamp};
use tidings::store::deliveries::{DeliveryRow, DeskMail};
use tidings::store::inbound::{InboundRow, NewInbound};
use tidings::store::threads::NewThread;
use tidings::store::{Store, bodies, copies, deliveries, editions, inbound, people, threads};
use tidings::tasks::export::export;
use tidings::tasks::receive::Proving;
use tidings::tasks::restore;
use tidings::tasks::schedule::{Happened, Scheduler};

use crate::support::clock::TUESDAY;
use crate::support::daemon::{Daemon, EDITION, Site, until};
use crate::support::http::get;
use crate::support::lmtp::Lmtp;
use crate::support::peer::Peer;
use crate::support::public::Front;
use crate::support::receiving::{Receiving, example, message};
use crate::support::sending::{FIRST_RETRY, edition, queued_edition, retry, subscriber};
use crate::support::stores::{TestStore, on_every_store};

const PEOPLE: usize = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_sending_daemon_waits_for_a_word_and_then_goes_on() {
    let peer = Peer::willing().await;
    let site = Site::sending_to(peer.address).with_pages();
    site.hurry();
    let limit = "messages_per_connection = 100";
    site.change("tidings.toml", limit, &format!("rate = \"400/s\"\n{limit}"));
    let people = site.import(PEOPLE);
    let daemon = site.start();
    until("100 messages", || (peer.count() >= 100).then_some(()));
    let taken = site.json(&["backup", "copy.db", "--json"]);
    let copy = site.path().join("copy.db");
    let metadata = copy.metadata().unwrap();
    assert_eq!(
        (metadata.permissions().mode() & 0o777, metadata.len()),
        (0o600, taken["bytes"].as_u64().unwrap())
    );
    let again = site.run(&["backup", "copy.db"]);
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.err.contains("never overwrites"), "{again:?}");
    assert_eq!(site.run(&["backup", "no/such/folder/copy.db"]).code, 69);
    let at_the_copy = peer.count();
    let more = until("100 more messages", || (peer.count() >= at_the_copy + 100).then(|| peer.count()));
    daemon.kill();
    let left: Vec<_> =
        std::fs::read_dir(site.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("copy.db.")), "{left:?}");

    // The machine is lost; the copy takes its place.
    site.change("tidings.toml", "url = \"sqlite://var/tidings.db\"", "url = \"sqlite://copy.db\"");
    let sent = peer.count();
    let daemon = site.start();
    assert!(daemon.log().contains("on hold: this database is a copy of"), "{}", daemon.log());
    let health = get(daemon.pages(), "/health");
    assert_eq!((health.code, &health.json()["status"]), (200, &"on_hold".into()), "{}", health.body);
    let list = site.run(&["editions", "list", "--json"]);
    assert!(list.err.contains("tidings run --restored") && list.json().is_array(), "{list:?}");
    // It receives and answers commands. What is received waits: the lost daemon may have understood it.
    let raw = message("Reader <reader@readers.example>", "1@readers.example", "", "A question.");
    assert!(
        Lmtp::connect(daemon.lmtp())
            .deliver("reader@readers.example", "support@news.example.org", &raw)
            .starts_with("250")
    );
    let received = site.json(&["inbound", "list", "--json"]);
    assert_eq!(received[0]["state"], "received", "{received}");
    assert_eq!(site.json(&["inbox", "list", "--json"]), serde_json::json!([]));
    let beside = site.run(&["run", "--restored"]);
    assert_eq!(beside.code, 75, "beside a daemon it is refused: {beside:?}");
    daemon.stop();
    assert_eq!(
        (peer.count(), site.edition()["state"].as_str()),
        (sent, Some("sending")),
        "on hold nothing leaves"
    );

    let daemon = site.start_as(&["run", "--restored"], |_| {});
    let log = daemon.log();
    assert!(log.contains("`editions resume` sends what the copy knows as queued"), "{log}");
    let edition = site.edition();
    assert_eq!(edition["state"], "paused", "{edition}");
    let shown = site.run(&["editions", "show", EDITION]);
    assert!(shown.out.contains("restored from a copy of"), "{shown:?}");
    // The question is understood, and the notice about it leaves.
    until("the notice", || peer.taken().iter().any(|mail| mail.to == "mira@staff.example.net").then_some(()));
    assert_eq!(peer.count(), sent + 1);
    daemon.stop();

    // The mark is off, the edition still waits.
    let daemon = site.start();
    assert!(!daemon.log().contains("on hold"), "{}", daemon.log());
    assert_eq!((site.edition()["state"].as_str(), peer.count()), (Some("paused"), sent + 1));
    assert_eq!(site.run(&["editions", "resume", EDITION]).code, 0);
    let edition = site.edition_in(&["sent", "attention"]);
    daemon.stop();
    assert_eq!(
        (&edition["state"], &edition["counts"]["accepted"]),
        (&"sent".into(), &PEOPLE.into()),
        "{edition}"
    );
    let mut ids: HashMap<String, Vec<String>> = HashMap::new();
    for mail in peer.taken() {
        let id = MessageParser::new().parse(&mail.bytes).unwrap().message_id().unwrap().to_owned();
        ids.entry(mail.to).or_default().push(id);
    }
    assert!(people.iter().all(|person| ids.contains_key(person)), "nobody is missed");
    assert!(ids.values().all(|ids| ids.iter().all(|id| *id == ids[0])), "a double is the same message");
    let doubles = peer.count() - ids.len();
    println!("{more} sent when the machine was lost; after the resume doubles {doubles}");
    assert!(doubles >= 100 - 8, "the copy could not know of them: {doubles}");
}

async fn desk_mail(store: &Store) -> Vec<DeliveryRow> {
    let rows = deliveries::list(&mut store.read().await.unwrap(), None, None, 0, 100).await.unwrap();
    rows.into_iter().filter(|row| row.kind == "notice").collect()
}

async fn notice(store: &Store) {
    let mut tx = store.write().await.unwrap();
    let body_id = bodies::add(&mut tx, "{}", "{}").await.unwrap();
    let mail = DeskMail {
        kind: DeliveryKind::Notice,
        subscriber_id: None,
        thread_id: None,
        address: Some("mira@staff.example.net"),
        staff_id: None,
        body_id,
    };
    deliveries::queue_desk_mail(&mut tx, mail, TUESDAY).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn mail_of_the_desk_that_the_copy_has_queued_is_uncertain() {
    for policy in [OnUncertain::Resend, OnUncertain::Hold] {
        on_every_store(|store| async move {
            queued_edition(&store, 3).await;
            notice(&store).await;
            let mut tx = store.write().await.unwrap();
            copies::mark(&mut tx, TUESDAY).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(restore::held(&store).await.unwrap().unwrap().taken_at, TUESDAY);
            // On hold, another one is queued.
            notice(&store).await;
            let now = TUESDAY + Duration::from_secs(60);
            let aside = restore::restore(&store, &retry(policy), now).await.unwrap();
            assert_eq!((aside.editions, aside.desk), (vec!["weekly".to_owned()], 1));
            // A mailbox that saw the lost database's next message must not take the copy's next one for it.
            notice(&store).await;
            let mail = desk_mail(&store).await;
            assert_eq!(mail.len(), 3);
            assert!(mail[2].id > mail[1].id + 9_999_999, "{mail:?}");
            assert_eq!((mail[0].state.as_str(), mail[1].state.as_str()), ("uncertain", "queued"));
            let again = (policy == OnUncertain::Resend).then(|| (now + FIRST_RETRY).millis());
            assert_eq!(mail[0].due_at, again);
            assert_eq!(restore::held(&store).await.unwrap(), None);
            assert_eq!(restore::restored_at(&store).await.unwrap(), Some(now));
        })
        .await;
    }
}

/// Links of mails that the lost database sent after the copy was taken are out there, and act on nobody who came later.
#[tokio::test]
async fn a_link_from_the_lost_database_is_nobodys() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        front.add("old@readers.example", "free").await;
        let cookie = front.sign_in("old@readers.example").await;
        let mut tx = store.write().await.unwrap();
        copies::mark(&mut tx, TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        // In the lost one, the next number was somebody's; and so was the next edition's.
        let lost = front.person("old@readers.example").await.unwrap().id + 1;
        let links = [front.link(Purpose::Unsubscribe, lost), front.link(Purpose::Preferences, lost)];
        restore::restore(&store, &retry(OnUncertain::Resend), TUESDAY).await.unwrap();
        let new = front.add("new@readers.example", "free").await;
        assert!(new > lost + 9_000_000, "{new}");
        for link in &links {
            assert_eq!(front.get(link).await.code, 404);
        }
        assert_eq!(front.post(&links[0], "List-Unsubscribe=One-Click").await.code, 404);
        assert_eq!(front.status("new@readers.example").await, Some(SubscriberStatus::Active));
        queued_edition(&store, 2).await;
        let mut tx = store.read().await.unwrap();
        let edition = editions::show(&mut tx, "weekly").await.unwrap().unwrap();
        assert!(edition.id > 1_000 && edition.audience == 4, "{edition:?}");
        drop(tx);
        // Who signed out of the lost one is not signed in again by the copy.
        assert!(front.get_as(&cookie, "/sign-out").await.body.contains("You are signed out"));
        let mut csv = Vec::new();
        assert_eq!(
            export(&store, &mut csv, |_| {}).await.unwrap(),
            4,
            "the row that keeps the numbers is nobody"
        );
    })
    .await;
}

/// What fell due after the copy was taken may have been sent by the one that was lost.
#[tokio::test]
async fn what_fell_due_in_the_meantime_waits_for_approval() {
    on_every_store(|store| async move {
        let setup = example(&[]);
        let due_at = setup.content.publication.editions[0].due_at;
        // A dump without a mark: the operator's word is enough.
        restore::restore(&store, &retry(OnUncertain::Resend), due_at + Duration::from_secs(5)).await.unwrap();
        let scheduler =
            || Scheduler::new(store.clone(), setup.shelf.clone(), setup.settings.clone(), Default::default());
        let restored_at = restore::restored_at(&store).await.unwrap();
        let now = due_at + Duration::from_secs(10);
        let happened = scheduler().after_restore(restored_at).step(now).await.unwrap();
        let waits = |event: &Happened| matches!(event, Happened::Queued { waits_for_approval: true, .. });
        assert!(happened.iter().any(waits), "{happened:?}");
        let state = editions::show(&mut store.read().await.unwrap(), EDITION).await.unwrap().unwrap().state;
        assert_eq!(state, EditionState::WaitingApproval);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_the_answer_names_its_own_means() {
    let Some(store) = TestStore::postgres().await else { return };
    let StorageUrl::Postgres(url) = &store.url else { unreachable!("it is a PostgreSQL store") };
    let site = Site::shipped();
    let url = format!("url = \"{}\"", url.expose_secret());
    site.change("tidings.toml", "url = \"sqlite://var/tidings.db\"", &url);
    let answer = site.run(&["backup", "copy.db"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.err.contains("pg_dump") && answer.err.contains("run --restored"), "{answer:?}");
    let daemon = site.start();
    let beside = site.run(&["run", "--restored"]);
    assert_eq!(beside.code, 75, "{beside:?}");
    assert!(beside.err.contains("another daemon"), "{beside:?}");
    daemon.stop();
    // The word is enough there: a dump carries no mark.
    let daemon = site.start_as(&["run", "--restored"], |_| {});
    assert!(daemon.log().contains("restored from a copy"), "{}", daemon.log());
    daemon.stop();
    store.remove().await;
}

const ANA: &str = "ana@readers.example";
const MIRA: &str = "mira@staff.example.net";
const EDITOR: &str = "ed@example.org";
const HOUR: Duration = Duration::from_secs(3600);

fn passes(domain: &str) -> String {
    format!("Authentication-Results: mx.news.example.org; dmarc=pass header.from={domain}\r\n")
}

/// A proven mail of somebody of the house.
fn proven(from: &str, to: &str, id: &str, date: Timestamp, text: &str) -> Vec<u8> {
    let domain = from.split('@').next_back().unwrap();
    format!(
        "{}Date: {}\r\nFrom: <{from}>\r\nTo: <{to}>\r\nSubject: Re: refund\r\nMessage-ID: <{id}>\r\n\r\n{text}\r\n",
        passes(domain),
        date.rfc5322()
    )
    .into_bytes()
}

/// A number that the lost database gave to Ann is not given to a stranger while the copy is on hold, nor later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_in_a_lost_conversation_reaches_no_stranger() {
    let peer = Peer::willing().await;
    let site = Site::sending_to(peer.address);
    site.hurry();
    site.change("tidings.toml", "[intake]\n", "[intake]\nauthserv_id = \"mx.news.example.org\"\n");
    let told = || -> Vec<Parsed> {
        peer.taken().iter().filter(|mail| mail.to == MIRA).map(|mail| parse(&mail.bytes)).collect()
    };
    let deliver = |daemon: &Daemon, from: &str, to: &str, raw: &[u8]| {
        let reply = Lmtp::connect(daemon.lmtp()).deliver(from, to, raw);
        assert!(reply.starts_with("250"), "{reply}");
    };
    let support = "support@news.example.org";
    let daemon = site.start();
    site.json(&["backup", "copy.db", "--json"]);
    let question = message("Ann <ann@readers.example>", "q1@readers.example", "", "Where is my refund?");
    deliver(&daemon, "ann@readers.example", support, &question);
    let notice = until("the notice", || told().pop());
    daemon.kill();

    site.change("tidings.toml", "url = \"sqlite://var/tidings.db\"", "url = \"sqlite://copy.db\"");
    site.import(2);
    let daemon = site.start();
    let stranger = "stranger@elsewhere.example";
    let question = |id: &str| message(&format!("Stranger <{stranger}>"), id, "", "What do you sell?");
    deliver(&daemon, stranger, support, &question("q2@elsewhere.example"));
    std::fs::write(site.path().join("q3.eml"), question("q3@elsewhere.example")).unwrap();
    let taken = site.run(&["ingest", "q3.eml"]);
    assert_eq!(taken.code, 0, "{taken:?}");
    assert!(taken.err.contains("on hold") && taken.out.contains("stored as"), "{taken:?}");
    let received = site.json(&["inbound", "list", "--state", "received", "--json"]);
    assert_eq!(received.as_array().unwrap().len(), 2, "{received}");
    daemon.stop();

    let daemon = site.start_as(&["run", "--restored"], |_| {});
    let notices = until("notices about both", || Some(told()).filter(|mails| mails.len() == 3));
    let ids: std::collections::HashSet<_> = notices.iter().map(|mail| mail.message_id.clone()).collect();
    assert_eq!(ids.len(), 3, "a Message-ID that is out there is not given again");
    let waiting = site.json(&["inbox", "list", "--json"]);
    let number = |row: &serde_json::Value| row["thread"].as_i64().unwrap();
    assert!(waiting.as_array().unwrap().iter().all(|row| number(row) > 1_000_000), "{waiting}");
    // Mira answers what Ann had asked.
    let reply_to = notice.field("reply-to").unwrap().trim_matches(['<', '>']).to_owned();
    let text = "Dear Ann, your refund goes to the card that ends in 4242.";
    let answer = proven(MIRA, &reply_to, "a1@staff.example.net", SystemClock.now(), text);
    deliver(&daemon, MIRA, &reply_to, &answer);
    let mails = until("she is told", || Some(told()).filter(|mails| mails.len() == 4));
    assert!(mails[3].subject.contains("Your mail came back"), "{}", mails[3].subject);
    assert!(mails[3].text.contains("no such conversation"), "{}", mails[3].text);
    daemon.stop();
    let to_others: Vec<String> =
        peer.taken().into_iter().map(|mail| mail.to).filter(|to| to != MIRA).collect();
    assert_eq!(to_others, [""; 0], "nobody else gets anything");
    let copy = Store::open(&StorageUrl::Sqlite(site.path().join("copy.db"))).await.unwrap();
    let person = people::by_key(&mut copy.read().await.unwrap(), "p00000@readers.example").await.unwrap();
    assert!(person.unwrap().id > 1_000_000_000, "a command gives ids of the copy's own as well");
    copy.close().await;
}

/// Everything with an id that goes out: a person, an edition and its delivery, a conversation.
async fn ids_of(store: &Store, slug: &str, now: Timestamp) -> [i64; 4] {
    let mut tx = store.write().await.unwrap();
    let address = format!("{slug}@readers.example");
    people::add_many(&mut tx, &[&subscriber(&address, "free")], "test", "", now).await.unwrap();
    let person = people::by_key(&mut tx, &address).await.unwrap().unwrap().id;
    let queued = editions::queue(&mut tx, &edition(slug, &["free"]), now).await.unwrap().unwrap();
    let new = NewThread {
        subscriber_id: None,
        address: "a@x.example",
        address_key: "a@x.example",
        name: "",
        subject: "",
        edition_id: None,
        suspected: None,
    };
    let thread = threads::open(&mut tx, &new, now).await.unwrap();
    tx.commit().await.unwrap();
    let rows = deliveries::list(&mut store.read().await.unwrap(), Some(slug), None, 0, 100).await.unwrap();
    [person, queued.edition_id, rows.last().unwrap().id, thread]
}

#[tokio::test]
async fn a_backup_that_is_put_to_use_twice_gives_no_id_twice() {
    let mut stores = vec![TestStore::sqlite().await];
    stores.extend(TestStore::postgres().await);
    for original in stores {
        let old = ids_of(&original.store, "old", TUESDAY).await;
        let mut tx = original.store.write().await.unwrap();
        copies::mark(&mut tx, TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        let mut highest = old;
        for hours in 1..3 {
            let copy = original.twin().await;
            let opened_at = TUESDAY + HOUR * hours;
            // A command that writes, then a daemon, on hold; the second opening is the highest row's own.
            restore::open(&copy.url, opened_at).await.unwrap().close().await;
            let first = ids_of(&copy.store, "held", opened_at).await;
            let released_at = opened_at + Duration::from_secs(60);
            restore::opened(&copy.store, released_at + Duration::from_secs(1)).await.unwrap();
            let released_at = released_at + Duration::from_secs(2);
            restore::restore(&copy.store, &retry(OnUncertain::Hold), released_at).await.unwrap();
            let second = ids_of(&copy.store, "used", released_at).await;
            for (at, given) in [first, second].into_iter().flat_map(|ids| ids.into_iter().enumerate()) {
                assert!(given > highest[at], "{}: {given} after {highest:?}", copy.name());
                highest[at] = given;
            }
            assert!(highest[3] < 100_000_000_000, "people read the number of a conversation: {highest:?}");
            let listed = editions::list(&mut copy.store.read().await.unwrap()).await.unwrap();
            let stand_ins = listed.iter().filter(|row| row.slug.starts_with("restored-")).count();
            let expected = if copy.name() == "SQLite" { 2 } else { 0 };
            assert_eq!(
                stand_ins, expected,
                "one below the rows of the hold, and one below those of the release"
            );
            copy.remove().await;
        }
        original.remove().await;
    }
}

/// A desk on a store that is about to be a copy.
struct CopiedDesk {
    line: Receiving,
    store: Store,
    ana: i64,
}

impl CopiedDesk {
    async fn start(store: &Store) -> CopiedDesk {
        let mut tx = store.write().await.unwrap();
        people::add_many(&mut tx, &[&subscriber(ANA, "yearly")], "test", "", TUESDAY).await.unwrap();
        let ana = people::by_key(&mut tx, ANA).await.unwrap().unwrap().id;
        tx.commit().await.unwrap();
        let mut line = Receiving::start(store).await;
        line.receiver.proving = Proving::Server("mx.news.example.org".into());
        CopiedDesk { line, store: store.clone(), ana }
    }

    /// The copy is taken and opened.
    async fn copied(&self) {
        let mut tx = self.store.write().await.unwrap();
        copies::mark(&mut tx, TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        restore::opened(&self.store, TUESDAY + HOUR).await.unwrap();
    }

    async fn release(&self, now: Timestamp) {
        restore::restore(&self.store, &retry(OnUncertain::Hold), now).await.unwrap();
        self.line.receiver.drain(|| now).await.unwrap();
    }

    /// A message comes in at this time, and is understood if anything is.
    async fn comes(&self, to: &str, from: &str, raw: &[u8], now: Timestamp) -> InboundRow {
        let mut tx = self.store.write().await.unwrap();
        let hash = format!("{}{}", now.millis(), String::from_utf8_lossy(raw));
        let new = NewInbound {
            source: InboundSource::Lmtp,
            envelope_from: Some(from),
            recipient: to,
            hash: &hash,
            raw: raw.to_vec(),
        };
        let id = inbound::record(&mut tx, new, now).await.unwrap().expect("it is new");
        tx.commit().await.unwrap();
        self.line.receiver.drain(|| now).await.unwrap();
        self.line.inbound(id).await
    }

    fn staff_address(&self, thread: i64) -> String {
        self.line.address(Purpose::Staff, thread, self.line.receiver.desk.staff[0].id)
    }

    /// Queued mail: its address, its kind, and subject and text on one line.
    async fn queued(&self, to: &str) -> Vec<(String, String)> {
        let mut tx = self.store.read().await.unwrap();
        let rows = deliveries::list(&mut tx, None, None, 0, 1000).await.unwrap();
        let mut mails = Vec::new();
        for row in rows.iter().filter(|row| row.address == to) {
            let id = deliveries::body_of(&mut tx, row.id).await.unwrap().unwrap();
            let (_, body) = bodies::by_id(&mut tx, id).await.unwrap();
            let body: Body = serde_json::from_str(&body).unwrap();
            let part = |pieces| fill(pieces, &Default::default());
            let words = format!("{} {}", part(&body.subject), part(&body.text));
            mails.push((row.kind.clone(), words.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
        mails
    }

    async fn answers(&self) -> Vec<String> {
        let mails = self.queued(ANA).await.into_iter();
        mails.filter(|(kind, _)| kind == "answer").map(|(_, words)| words).collect()
    }
}

#[tokio::test]
async fn mail_that_comes_in_on_hold_is_understood_after_the_release() {
    on_every_store(|store| async move {
        let desk = CopiedDesk::start(&store).await;
        desk.copied().await;
        let support = "support@news.example.org";
        let dated = |at: Timestamp| format!("Date: {}\r\n", at.rfc5322());
        let on_hold = TUESDAY + HOUR * 2;
        let from = format!("Ana <{ANA}>");
        let asks = message(&from, "q1@readers.example", &dated(on_hold), "Does it fit?");
        let question = desk.comes(support, ANA, &asks, on_hold).await;
        let leave = desk.line.address(Purpose::Unsubscribe, desk.ana, 0);
        let leaves = message(&from, "u1@readers.example", &dated(on_hold), "unsubscribe");
        let unsubscribe = desk.comes(&leave, ANA, &leaves, on_hold).await;
        for row in [&question, &unsubscribe] {
            assert_eq!((row.state, row.verdict), (InboundState::Received, None));
        }
        assert!(desk.line.threads().await.is_empty() && desk.queued(MIRA).await.is_empty());

        desk.release(TUESDAY + HOUR * 3).await;
        assert_eq!(desk.line.inbound(question.id).await.verdict, Some(Verdict::SupportMessage));
        assert_eq!(desk.line.inbound(unsubscribe.id).await.verdict, Some(Verdict::Unsubscribe));
        assert_eq!(desk.line.threads().await.len(), 1);
        assert_eq!(desk.queued(MIRA).await.len(), 1, "staff hears of the question");
        assert_eq!(desk.queued(ANA).await, [], "the lost one may have answered by itself");
        let person = people::by_key(&mut store.read().await.unwrap(), ANA).await.unwrap().unwrap();
        assert_eq!(person.status, SubscriberStatus::Unsubscribed);
        // A mailbox is read again after the release, and then somebody asks for the first time.
        let mut tx = store.write().await.unwrap();
        let others = [subscriber("bo@readers.example", "yearly"), subscriber("cy@readers.example", "yearly")];
        people::add_many(&mut tx, &others.iter().collect::<Vec<_>>(), "test", "", TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        let now = TUESDAY + HOUR * 4;
        for (address, at, expected) in [("bo@readers.example", on_hold, 0), ("cy@readers.example", now, 1)] {
            let raw = message(&format!("<{address}>"), &format!("q-{address}"), &dated(at), "And this?");
            let row = desk.comes(support, address, &raw, now).await;
            assert_eq!(row.verdict, Some(Verdict::SupportMessage), "{}", row.reason);
            assert_eq!(desk.queued(address).await.len(), expected, "{address}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_staff_answer_from_before_the_release_leaves_only_at_its_authors_word() {
    on_every_store(|store| async move {
        let desk = CopiedDesk::start(&store).await;
        let asks = message(&format!("Ana <{ANA}>"), "q1@readers.example", "", "Does it fit?");
        desk.comes("support@news.example.org", ANA, &asks, TUESDAY).await;
        let thread = desk.line.threads().await[0].thread;
        let to = desk.staff_address(thread);
        let (taken, released) = (TUESDAY + Duration::from_secs(60), TUESDAY + HOUR * 3);
        let mail = |id: &str, date, text: &str| proven(MIRA, &to, id, date, text);
        desk.copied().await;
        let answer =
            desk.comes(&to, MIRA, &mail("a1@staff", taken, "#close\r\n\r\nYes, it fits."), taken).await;
        assert_eq!(answer.state, InboundState::Received);
        desk.release(released).await;
        let answer = desk.line.inbound(answer.id).await;
        assert_eq!(answer.verdict, Some(Verdict::StaffReply), "{}", answer.reason);
        assert_eq!(desk.answers().await, [""; 0]);
        let (_, told) = desk.queued(MIRA).await.pop().unwrap();
        assert!(told.contains("Your answer waits for a word of yours"), "{told}");
        assert!(told.contains("so it may have been sent before") && told.contains("Yes, it fits."), "{told}");
        assert_eq!(desk.line.threads().await.len(), 1, "nor is the conversation closed");

        // A yes that is as old is none.
        let now = released + HOUR;
        desk.comes(&to, MIRA, &mail("s1@staff", taken, "#send"), now).await;
        assert!(desk.queued(MIRA).await.pop().unwrap().1.contains("may have been sent before"));
        assert_eq!(desk.answers().await, [""; 0]);
        // A yes that is new is one, once.
        desk.comes(&to, MIRA, &mail("s2@staff", now, "#send"), now).await;
        let sent = desk.answers().await;
        assert!(sent.len() == 1 && sent[0].contains("Yes, it fits."), "{sent:?}");
        // A new answer leaves at once; one that a mailbox gives out again does not, whatever one of its clocks says.
        desk.comes(&to, MIRA, &mail("a2@staff", now, "In blue as well."), now).await;
        assert_eq!(desk.answers().await.len(), 2);
        let early = TUESDAY + HOUR * 2;
        let arrived = format!("Received: from a by b with ESMTP; {}\r\n", early.rfc5322()).into_bytes();
        for (id, raw) in [
            ("its date", mail("a3@staff", early, "In red as well.")),
            ("its arrival", [arrived, mail("a4@staff", now, "In green as well.")].concat()),
        ] {
            desk.comes(&to, MIRA, &raw, now).await;
            assert_eq!(desk.answers().await.len(), 2, "{id} is before the release");
        }
        // What stays in the house is done again.
        desk.comes(&to, MIRA, &mail("n1@staff", taken, "#note\r\nShe called."), now).await;
        assert!(desk.line.posts(thread).await.iter().any(|post| post.text == "She called."));
    })
    .await;
}

#[tokio::test]
async fn an_approval_from_before_the_release_approves_nothing() {
    on_every_store(|store| async move {
        let desk = CopiedDesk::start(&store).await;
        let mut tx = store.write().await.unwrap();
        let new = editions::NewEdition { approval: true, ..edition("weekly", &["free", "yearly"]) };
        let queued = editions::queue(&mut tx, &new, TUESDAY).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        let to = desk.line.address(Purpose::Editors, queued.edition_id, 0);
        let state = || async {
            editions::standing(&mut store.read().await.unwrap(), "weekly").await.unwrap().unwrap().state
        };
        desk.copied().await;
        let (on_hold, now) = (TUESDAY + HOUR * 2, TUESDAY + HOUR * 4);
        desk.comes(&to, EDITOR, &proven(EDITOR, &to, "e1@x", on_hold, "approve"), on_hold).await;
        desk.release(TUESDAY + HOUR * 3).await;
        assert_eq!(state().await, EditionState::WaitingApproval);
        let told = desk.queued(EDITOR).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].1.contains("it may have been sent since"), "{told:?}");
        let again = proven(EDITOR, &to, "e2@x", on_hold, "approve");
        desk.comes(&to, EDITOR, &again, now).await;
        assert_eq!(state().await, EditionState::WaitingApproval);
        desk.comes(&to, EDITOR, &proven(EDITOR, &to, "e3@x", now, "approve"), now).await;
        assert_eq!(state().await, EditionState::Sending);
        // To hold is safe, however old the word is.
        desk.comes(&to, EDITOR, &proven(EDITOR, &to, "e4@x", on_hold, "hold"), now).await;
        assert_eq!(state().await, EditionState::WaitingApproval);
    })
    .await;
}
