//! Many received messages are committed together. One that the database refuses is set aside or asked to come later, and takes
//! nobody with it.

use std::sync::Arc;

use secrecy::ExposeSecret;
use sqlx::Connection;
use tidings::domain::alarm::AlarmCause;
use tidings::domain::inbound::{InboundSource, InboundState};
use tidings::domain::settings::StorageUrl;
use tidings::intake::ReceivedMail;
use tidings::store::{Store, alarms, inbound};
use tidings::tasks::alarm::{Alarms, Teller};
use tidings::tasks::receive::{Recorded, recorder};
use tidings::tasks::recording::{Found, RecordProblem};

use crate::support::clock::TUESDAY;
use crate::support::receiving::{example, message};
use crate::support::stores::TestStore;

const BAD: &str = "support+bad@news.example.org";

/// Makes the database refuse rows of which this is true.
async fn refuse(test: &TestStore, condition: &str) {
    match &test.url {
        StorageUrl::Sqlite(file) => {
            let url = format!("sqlite://{}", file.display());
            let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
            let condition = condition.replace("recipient", "NEW.recipient").replace("hash", "NEW.hash");
            let sql = format!(
                "CREATE TRIGGER refuses BEFORE INSERT ON inbound WHEN {condition} \
                 BEGIN SELECT RAISE(ABORT, 'this row is not wanted'); END"
            );
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        }
        StorageUrl::Postgres(url) => {
            let mut connection = sqlx::PgConnection::connect(url.expose_secret()).await.unwrap();
            let sql = format!("ALTER TABLE inbound ADD CONSTRAINT refuses CHECK (NOT ({condition}))");
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        }
    }
}

async fn both() -> Vec<TestStore> {
    let mut all = vec![TestStore::sqlite().await];
    all.extend(TestStore::postgres().await);
    all
}

fn mail(recipient: &str, number: usize) -> Found {
    let raw = message("ann@x.example", &format!("m{number}@x.example"), "", &format!("Question {number}"));
    let mail = ReceivedMail {
        envelope_from: Some("ann@x.example".to_owned()),
        recipient: recipient.to_owned(),
        source: InboundSource::Lmtp,
        raw: Arc::new(raw),
    };
    Found { mail, place: None, set_aside: None, late: None }
}

/// Records all of them as one group.
async fn record(store: &Store, group: Vec<Found>) -> Vec<Result<Recorded, RecordProblem>> {
    let alarms = Alarms::default();
    record_telling(store, group, &alarms).await
}

async fn record_telling(
    store: &Store,
    group: Vec<Found>,
    alarms: &Alarms,
) -> Vec<Result<Recorded, RecordProblem>> {
    let (recorder, line) = recorder(store.clone(), Arc::default());
    let line = line.telling(alarms.clone());
    let mut answers = Vec::new();
    for found in group {
        answers.push(recorder.hand_in(found).await.unwrap());
    }
    // They wait together by now.
    let running = tokio::spawn(line.run(|| TUESDAY));
    let mut recorded = Vec::new();
    for answer in answers {
        recorded.push(answer.recorded().await);
    }
    drop(recorder);
    running.await.unwrap();
    recorded
}

fn group(bad: usize) -> Vec<Found> {
    (0..10).map(|n| mail(if n == bad { BAD } else { "support@news.example.org" }, n)).collect()
}

#[tokio::test]
async fn it_is_set_aside_with_its_octets_and_the_others_are_recorded_once() {
    for test in both().await {
        refuse(&test, &format!("recipient = '{BAD}'")).await;
        let setup = example(&[]);
        let teller = Teller {
            alarms: Alarms::default(),
            store: test.store.clone(),
            shelf: setup.shelf.clone(),
            settings: setup.settings.clone(),
        };
        let recorded = record_telling(&test.store, group(4), &teller.alarms).await;
        assert!(recorded.iter().all(|one| matches!(one, Ok(Recorded::New(_)))), "{recorded:?}");
        teller.step(TUESDAY).await.unwrap();
        let mut tx = test.store.read().await.unwrap();
        let told = alarms::all(&mut tx).await.unwrap();
        assert!(
            told.iter().any(|alarm| alarm.occurred.cause == AlarmCause::InboundQuarantined),
            "operators are told"
        );
        let rows = inbound::list(&mut tx, None, 100).await.unwrap();
        assert_eq!(rows.len(), 10, "nobody is lost or doubled");
        let aside = inbound::list(&mut tx, Some(InboundState::Quarantined), 100).await.unwrap();
        let [aside] = aside.as_slice() else { panic!("{aside:?}") };
        assert!(aside.reason.starts_with("it could not be recorded as it came: "), "{}", aside.reason);
        let (_, raw) = inbound::show(&mut tx, aside.id).await.unwrap().unwrap();
        assert_eq!(raw, *mail(BAD, 4).mail.raw);
        drop(tx);
        // Their senders did not hear us and send again.
        let again = record(&test.store, group(4)).await;
        assert!(again.iter().all(|one| *one.as_ref().unwrap() == Recorded::Known), "{again:?}");
        test.remove().await;
    }
}

#[tokio::test]
async fn where_it_cannot_even_be_set_aside_only_its_own_door_is_asked_to_come_later() {
    for test in both().await {
        let hash =
            data_encoding::HEXLOWER.encode(&<sha2::Sha256 as sha2::Digest>::digest(&*mail(BAD, 4).mail.raw));
        refuse(&test, &format!("hash = '{hash}'")).await;
        let recorded = record(&test.store, group(4)).await;
        let later: Vec<usize> = (0..10).filter(|n| recorded[*n].is_err()).collect();
        assert_eq!(later, [4], "{recorded:?}");
        let rows = inbound::list(&mut test.store.read().await.unwrap(), None, 100).await.unwrap();
        assert_eq!(rows.len(), 9);
        test.remove().await;
    }
}

#[tokio::test]
async fn control_characters_of_an_address_that_was_read_from_a_message_spoil_nothing() {
    for test in both().await {
        let mut odd = mail("support+\u{0}x\u{1b}@news.example.org", 0);
        odd.mail.envelope_from = Some("a\u{0}nn@x.example".to_owned());
        let aside = Found {
            set_aside: Some("the server said \u{0}no".to_owned()),
            ..mail("support@news.example.org", 1)
        };
        let recorded = record(&test.store, vec![odd, aside, mail("support@news.example.org", 2)]).await;
        assert!(recorded.iter().all(|one| matches!(one, Ok(Recorded::New(_)))), "{recorded:?}");
        let rows = inbound::list(&mut test.store.read().await.unwrap(), None, 100).await.unwrap();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[2].recipient, "support+x@news.example.org");
        assert_eq!(rows[1].reason, "the server said no");
        test.remove().await;
    }
}
