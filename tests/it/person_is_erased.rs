//! W190: who is erased is in no table and no file any more, gets nothing, stays away after an import, and every count still adds up.

use secrecy::ExposeSecret;
use sqlx::{Connection, Row};
use tidings::domain::address::Address;
use tidings::domain::bounce::Bounce;
use tidings::domain::delivery::{DeliveryKind, DeliveryState, Settlement};
use tidings::domain::settings::{OnUncertain, StorageUrl};
use tidings::domain::subscriber::Subscriber;
use tidings::domain::suppression::SuppressionReason;
use tidings::domain::token::Purpose;
use tidings::runtime::Timestamp;
use tidings::store::claims::{self, ClaimRequest, Claimed};
use tidings::store::deliveries::{self, LANE_OTHER, Settled};
use tidings::store::{Store, audit, bounces, dossier, editions, owners, people, suppressions};
use tidings::tasks::erase::{Erased, Eraser, sweep};
use tidings::tasks::people::{ImportOptions, import};

use crate::support::clock::TUESDAY;
use crate::support::daemon::Site;
use crate::support::peer::Peer;
use crate::support::public::Front;
use crate::support::receiving::{Receiving, message};
use crate::support::sending::{Sending, edition, queued_edition, subscriber};
use crate::support::stores::{TestStore, on_every_store};

pub const ERIKA: &str = "Erika.Muster@readers.example";

/// Each is about her, and about nobody else.
const HERS: [&str; 6] = ["erika", "Muster", "HERWORDS", "203.0.113.77", "HERANSWER", "HERREPORT"];

pub fn eraser(front: &Front) -> Eraser<'_> {
    Eraser { store: &front.store, keyring: &front.setup.keyring, addresses: &front.setup.settings.addresses }
}

pub async fn erase(front: &Front, address: &str) -> Option<Erased> {
    eraser(front).erase(&Address::parse(address).unwrap(), front.now()).await.unwrap()
}

/// Every row of every table as text, and for a file every octet of it and of its log.
pub async fn everything(test: &TestStore) -> String {
    match &test.url {
        StorageUrl::Sqlite(file) => {
            let mut all = Vec::new();
            for end in ["", "-wal"] {
                let path = format!("{}{end}", file.display());
                all.extend(std::fs::read(path).unwrap_or_default());
            }
            String::from_utf8_lossy(&all).into_owned()
        }
        StorageUrl::Postgres(url) => {
            let mut sql = sqlx::PgConnection::connect(url.expose_secret()).await.unwrap();
            let tables = sqlx::query(
                "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'",
            )
            .fetch_all(&mut sql)
            .await
            .unwrap();
            let mut all = String::new();
            for table in tables {
                let name: String = table.get(0);
                let rows = sqlx::AssertSqlSafe(format!("SELECT t::text FROM {name} t"));
                for row in sqlx::query(rows).fetch_all(&mut sql).await.unwrap() {
                    all.push_str(&row.get::<String, _>(0));
                    all.push('\n');
                }
                // A bytea is shown in hex.
                if name == "inbound" {
                    for row in sqlx::query("SELECT encode(raw, 'escape') FROM inbound")
                        .fetch_all(&mut sql)
                        .await
                        .unwrap()
                    {
                        all.push_str(&row.get::<String, _>(0));
                    }
                }
            }
            all
        }
    }
}

/// How often one of these is said, whatever its case.
pub fn said(all: &str) -> Vec<&'static str> {
    let all = all.to_lowercase();
    HERS.into_iter().filter(|word| all.contains(&word.to_lowercase())).collect()
}

/// Somebody with a trace in every table that knows people.
pub async fn lived(test: &TestStore) -> (Front, i64) {
    let front = Front::start(&test.store).await;
    let line = Receiving::start(&test.store).await;
    let person = Subscriber {
        name: "Erika Muster".into(),
        language: Some("de".into()),
        ..subscriber(ERIKA, "yearly")
    };
    let id = front.add_as(person).await;
    front.add("other@readers.example", "yearly").await;
    let mut tx = test.store.write().await.unwrap();
    let key = ERIKA.to_lowercase();
    let line_of =
        people::Evidence { key: &key, at: TUESDAY, source: "website", text: "agreed from 203.0.113.77" };
    people::add_evidence(&mut tx, &[line_of]).await.unwrap();
    audit::record(&mut tx, TUESDAY, "cli", "subscriber set-tier", &key, "free -> yearly for Erika")
        .await
        .unwrap();
    editions::queue(&mut tx, &edition("weekly", &["yearly"]), TUESDAY).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    assert_eq!(front.mails().await.len(), 2);
    let cookie = front.sign_in(ERIKA).await;
    // A wish that is open, one that is confirmed, and an ask that led to nothing.
    let preferences = front.link(Purpose::Preferences, id);
    front.post_as(&cookie, &format!("{preferences}/address"), "address=erika.new%40readers.example").await;
    front.join(&key, "").await;
    let mails = front.mails().await;
    assert_eq!(mails.len(), 2, "the question to the new address, and `you are on the list`");
    // She asks, the desk is told and answers; a bounce and an answer come back to the mail's own addresses.
    let raw = message(&format!("Erika Muster <{ERIKA}>"), "q1@erika.example", "", "HERWORDS of mine");
    let row = line.take("support@news.example.org", ERIKA, &raw).await;
    let thread = row.thread.expect("a conversation");
    let rows =
        deliveries::list(&mut test.store.read().await.unwrap(), Some("weekly"), None, 0, 10).await.unwrap();
    let delivery = rows.iter().find(|row| row.address.eq_ignore_ascii_case(ERIKA)).unwrap().id;
    let bounced = message("mailer@provider.example", "b1@provider.example", "", "no room for erika.muster");
    line.take(&line.address(Purpose::Bounce, delivery, 0), "", &bounced).await;
    let away =
        message("Erika <x@y.example>", "a1@y.example", "Auto-Submitted: auto-replied\r\n", "HERANSWER: away");
    line.take(&line.address(Purpose::Edition, delivery, 0), "x@y.example", &away).await;
    front.mails().await;
    // And what her provider says of her to a report.
    let mut tx = test.store.write().await.unwrap();
    let mailed = bounces::mailed(&mut tx, delivery).await.unwrap().expect("it was sent");
    let report = Bounce {
        class: None,
        reason: "unknown".into(),
        status: String::new(),
        said: "HERREPORT: Erika Muster has moved".into(),
        confirmed: false,
        points: 1,
        doubt: "",
    };
    bounces::enter(&mut tx, &mailed, (1, true), &report, TUESDAY).await.unwrap();
    tx.commit().await.unwrap();
    assert!(!line.posts(thread).await.is_empty());
    (front, id)
}

#[tokio::test]
async fn w190_nothing_of_the_person_is_left_and_the_counts_add_up() {
    for test in [Some(TestStore::sqlite().await), TestStore::postgres().await].into_iter().flatten() {
        let (front, id) = lived(&test).await;
        let address = Address::parse(ERIKA).unwrap();
        let before = said(&everything(&test).await);
        assert_eq!(before, HERS, "all of it is there before");
        let mut tx = test.store.read().await.unwrap();
        let dossier = dossier::of(&mut tx, &address).await.unwrap().unwrap();
        let known = serde_json::to_string(&dossier).unwrap();
        for wanted in
            ["Erika Muster", "HERWORDS", "HERREPORT", "203.0.113.77", "weekly", "set-tier", "\"sessions\":[{"]
        {
            assert!(known.contains(wanted), "W189: {wanted}: {known}");
        }
        assert!(!known.contains("other@readers"), "{known}");
        let counts = editions::show(&mut tx, "weekly").await.unwrap().unwrap().counts;
        drop(tx);

        let erased = erase(&front, ERIKA).await.expect("somebody was there");
        assert!(erased.deliveries >= 4 && erased.messages >= 3 && erased.conversations >= 1, "{erased:?}");
        assert_eq!(erased.in_flight, 0);
        assert_eq!(said(&everything(&test).await), Vec::<&str>::new(), "{}", test.name());
        assert_eq!(front.expire().await, 0);

        let mut tx = test.store.read().await.unwrap();
        let after = editions::show(&mut tx, "weekly").await.unwrap().unwrap();
        assert_eq!((after.counts, after.audience), (counts, 2), "the edition still adds up");
        assert!(people::by_id(&mut tx, id).await.unwrap().unwrap().name.is_empty());
        assert!(dossier::of(&mut tx, &address).await.unwrap().is_none());
        let listed = suppressions::list(&mut tx).await.unwrap();
        let marks: Vec<_> = listed.iter().filter(|row| row.reason == SuppressionReason::Erased).collect();
        assert!(marks.len() == 1 && marks[0].address.starts_with("erased:"), "{listed:?}");
        drop(tx);
        // Again: nothing is known.
        assert_eq!(erase(&front, ERIKA).await, None);
        assert_eq!(erase(&front, "nobody@readers.example").await, None);
        // The others keep theirs.
        assert!(everything(&test).await.contains("other@readers.example"));
        test.remove().await;
    }
}

#[tokio::test]
async fn w190_who_was_erased_stays_away() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        front.add(ERIKA, "yearly").await;
        let old = front.link(Purpose::Unsubscribe, front.person(ERIKA).await.unwrap().id);
        erase(&front, ERIKA).await.unwrap();
        // By a file.
        let csv = "email,name,tier,status\nERIKA.muster@readers.example,Erika,yearly,active\nnew@readers.example,N,free,active\n";
        let tiers = ["free", "yearly"].map(Into::into);
        for dry_run in [true, false] {
            let rows = tidings::import::rows(csv.as_bytes(), &tiers).unwrap().map(Result::unwrap);
            let options = ImportOptions { consent_source: None, dry_run, now: TUESDAY, keyring: &front.setup.keyring, terms: &Default::default() };
            let report = import(&store, rows, options, |_| {}).await.unwrap();
            assert_eq!((report.added, report.skipped_rows, report.suppressed), (1, 1, 1), "{report:?}");
            assert!(report.skipped[0].reason.contains("erased"), "{report:?}");
        }
        assert_eq!(front.person(ERIKA).await, None);
        // By the form: the same answer, and no mail.
        assert!(front.join(ERIKA, "").await.body.contains("Look into your mailbox"));
        assert_eq!(front.ask_to_sign_in(ERIKA, "").await.code, 200);
        // As somebody's new address.
        let mia = front.add("mia@readers.example", "free").await;
        let preferences = front.link(Purpose::Preferences, mia);
        let cookie = front.sign_in("mia@readers.example").await;
        let asked = "address=erika.muster%40readers.example";
        assert_eq!(front.post_as(&cookie, &format!("{preferences}/address"), asked).await.code, 200);
        assert!(front.mails().await.is_empty());
        // A link of an old mail is answered as any wrong one.
        assert_eq!(front.get(&old).await.code, 404);
        assert_eq!(front.post(&old, "List-Unsubscribe=One-Click").await.code, 404);
    })
    .await;
}

#[tokio::test]
async fn an_erase_in_the_middle_of_an_edition_breaks_no_sum_and_sends_nothing_to_the_person() {
    on_every_store(|store| async move {
        queued_edition(&store, 10).await;
        let peer = Peer::willing().await;
        let sending = Sending::start(&store, &peer, OnUncertain::Resend).await;
        let mut connection = sending.connection();
        for _ in 0..3 {
            connection.step().await;
        }
        let front = Front::start(&store).await;
        let gone = erase(&front, "p00007@x.example").await.unwrap();
        assert_eq!((gone.deliveries, gone.in_flight), (1, 0));
        while !matches!(connection.step().await, tidings::tasks::send::Step::Idle) {}
        assert!(peer.taken().iter().all(|mail| mail.to != "p00007@x.example"));
        let counts = sending.counts().await;
        assert_eq!((counts.accepted, counts.skipped, counts.total()), (9, 1, 10));
        assert_eq!(sending.tidy(TUESDAY).await, ["weekly"]);
    })
    .await;
}

async fn claimed(store: &Store, owner: i64, now: Timestamp) -> Vec<Claimed> {
    let request =
        ClaimRequest { owner, key_id: 7, lane: LANE_OTHER, desk_only: false, limit: 10, lapsed: None, now };
    let mut tx = store.write().await.unwrap();
    let found = claims::claim(&mut tx, &request).await.unwrap();
    tx.commit().await.unwrap();
    found
}

#[tokio::test]
async fn what_was_on_its_way_is_wiped_once_it_is_settled() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        front.add(ERIKA, "free").await;
        let mut tx = store.write().await.unwrap();
        editions::queue(&mut tx, &edition("weekly", &["free"]), TUESDAY).await.unwrap().unwrap();
        let owner = owners::register(&mut tx, "test", TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        let one = claimed(&store, owner, TUESDAY).await.remove(0);
        let gone = erase(&front, ERIKA).await.unwrap();
        assert_eq!(gone.in_flight, 1);
        assert_eq!(
            sweep(&store, TUESDAY).await.unwrap(),
            0,
            "it is not settled yet, so nothing is looked at"
        );
        let settled = Settled {
            delivery: one.id,
            attempt: one.attempt,
            owner,
            relay: "main".into(),
            at: TUESDAY,
            settlement: Settlement {
                state: DeliveryState::Refused,
                due_at: None,
                last_reply: "550 5.1.1 no erika.muster@readers.example here (rcpt)".into(),
                burns_attempt: true,
                suppress: Some(SuppressionReason::HardBounce),
            },
            recipient: Some(one.address.clone()),
        };
        let mut tx = store.write().await.unwrap();
        assert_eq!(deliveries::settle(&mut tx, &[settled]).await.unwrap(), 1);
        tx.commit().await.unwrap();
        assert_eq!(sweep(&store, TUESDAY).await.unwrap(), 0);
        let mut tx = store.read().await.unwrap();
        let rows = deliveries::list(&mut tx, Some("weekly"), None, 0, 10).await.unwrap();
        assert_eq!((rows[0].state.as_str(), rows[0].last_reply.as_deref()), ("refused", None));
        let listed = suppressions::list(&mut tx).await.unwrap();
        assert!(listed.iter().all(|row| row.address.starts_with("erased:")), "{listed:?}");
    })
    .await;
}

#[tokio::test]
async fn mail_that_comes_back_into_the_queue_after_the_erase_reaches_nobody() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        front.add(ERIKA, "free").await;
        front.ask_to_sign_in(ERIKA, "").await;
        let mut tx = store.write().await.unwrap();
        let owner = owners::register(&mut tx, "test", TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        let one = claimed(&store, owner, front.now()).await.remove(0);
        assert_eq!(one.kind, DeliveryKind::SignIn);
        erase(&front, ERIKA).await.unwrap();
        let deferred = Settled {
            delivery: one.id,
            attempt: one.attempt,
            owner,
            relay: "main".into(),
            at: TUESDAY,
            settlement: Settlement {
                state: DeliveryState::Queued,
                due_at: Some(TUESDAY),
                last_reply: "451 later (rcpt)".into(),
                burns_attempt: true,
                suppress: None,
            },
            recipient: None,
        };
        let mut tx = store.write().await.unwrap();
        deliveries::settle(&mut tx, &[deferred]).await.unwrap();
        tx.commit().await.unwrap();
        assert!(claimed(&store, owner, front.now()).await.is_empty());
        sweep(&store, TUESDAY).await.unwrap();
        assert!(front.mails().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_erase_that_was_cut_short_is_done_by_doing_it_again() {
    let test = TestStore::sqlite().await;
    let (front, id) = lived(&test).await;
    let key = ERIKA.to_lowercase();
    let eraser = eraser(&front);
    eraser.begin(&Address::parse(ERIKA).unwrap(), front.now()).await.unwrap().expect("she is there");
    assert!(people::by_id(&mut test.store.read().await.unwrap(), id).await.unwrap().unwrap().name.is_empty());
    // Here the process ends. Nothing is sent to her already, and a file does not bring her back.
    assert!(front.join(&key, "").await.body.contains("Look into your mailbox"));
    assert!(front.mails().await.is_empty());
    erase(&front, ERIKA).await.expect("she is found again");
    assert_eq!(said(&everything(&test).await), Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erase_by_command_says_what_it_did_and_can_be_lifted() {
    let site = Site::shipped();
    let people = site.import(5);
    let (first, other) = (people[0].as_str(), people[1].as_str());
    let gone = site.json(&["subscribers", "erase", first, "--json"]);
    assert_eq!((&gone["deliveries"], &gone["in_flight"]), (&0.into(), &0.into()), "{gone}");
    assert_eq!(site.run(&["subscribers", "erase", first]).code, 1);
    assert_eq!(site.run(&["subscribers", "erase", "no address"]).code, 2);
    assert_eq!(site.run(&["subscribers", "show", first]).code, 1);
    let all = site.run(&["subscribers", "export"]).out;
    assert!(!all.contains(first) && all.contains(other), "{all}");
    let add = site.run(&["subscribers", "add", first, "--tier", "free"]);
    assert!(add.code == 1 && add.err.contains("erased"), "{add:?}");
    assert_eq!(site.run(&["suppressions", "remove", first, "--reason", "asked to come back"]).code, 0);
    assert_eq!(site.run(&["subscribers", "add", first, "--tier", "free"]).code, 0);
    let listed = site.json(&["suppressions", "list", "--json"]);
    assert_eq!(listed, serde_json::json!([]));
}
