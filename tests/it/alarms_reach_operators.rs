//! What goes wrong is told to operators once per cause and hour: across restarts, across processes, and when the relay that would
//! carry the mail is what is broken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mail_parser::MessageParser;
use tidings::app::Setup;
use tidings::domain::address::Address;
use tidings::domain::alarm::AlarmCause;
use tidings::domain::edition::EditionState;
use tidings::domain::settings::OnUncertain;
use tidings::domain::suppression::SuppressionReason;
use tidings::runtime::{Clock, Timestamp};
use tidings::store::deliveries::DeliveryRow;
use tidings::store::{Store, alarms, deliveries, editions, suppressions};
use tidings::tasks::alarm::{Alarms, Teller};
use tidings::tasks::send::Step;
use tidings::tasks::watch::Watch;

use crate::support::clock::TUESDAY;
use crate::support::daemon::{Site, until};
use crate::support::peer::{Do, Moment, Peer, Stage};
use crate::support::receiving::example;
use crate::support::sending::{Sending, queued_edition};
use crate::support::stores::{TestStore, on_every_store};

const MINUTE: Duration = Duration::from_secs(60);

/// A process's teller.
fn teller(store: &Store, setup: &Setup) -> Teller {
    Teller {
        alarms: Alarms::default(),
        store: store.clone(),
        shelf: setup.shelf.clone(),
        settings: setup.settings.clone(),
    }
}

async fn mails(store: &Store) -> Vec<DeliveryRow> {
    let rows = deliveries::list(&mut store.read().await.unwrap(), None, None, 0, 1000).await.unwrap();
    rows.into_iter().filter(|row| row.kind == "report").collect()
}

async fn known(store: &Store) -> Vec<alarms::Alarm> {
    alarms::all(&mut store.read().await.unwrap()).await.unwrap()
}

/// What a relay took: subject and text of each mail to operators.
fn told(peer: &Peer) -> Vec<(String, String)> {
    let taken = peer.taken().into_iter().filter(|mail| mail.to == "ops@example.org");
    taken
        .map(|mail| {
            let parsed = MessageParser::new().parse(&mail.bytes).unwrap();
            (parsed.subject().unwrap().to_owned(), parsed.body_text(0).unwrap().replace("\r\n", "\n"))
        })
        .collect()
}

#[tokio::test]
async fn one_mail_per_cause_and_hour_across_restarts_and_processes() {
    on_every_store(|store| async move {
        let peer = Peer::willing().await;
        let sending = Sending::start(&store, &peer, OnUncertain::Resend).await;
        let setup = example(&[]);
        let (one, other) = (teller(&store, &setup), teller(&store, &setup));
        let raise = |teller: &Teller, now| {
            teller.alarms.raise(AlarmCause::ConfigRefused, "", &"3 problems in publication.toml", now);
        };
        raise(&one, TUESDAY);
        assert_eq!(one.step(TUESDAY).await.unwrap(), 1);
        sending.drain().await;
        assert_eq!(told(&peer).len(), 1);
        let (subject, text) = &told(&peer)[0];
        assert_eq!(subject, "Alarm: The editors\u{2019} files are refused");
        assert!(
            text.contains("3 problems in publication.toml")
                && text.contains("Tuesday 24 November, 09:00 EST"),
            "{text}"
        );
        assert!(text.contains("tidings check") && !text.contains("times"), "{text}");

        // Another process, the same process later, and one that was started anew: the hour is not over.
        for (teller, minutes) in [(&other, 1), (&one, 20), (&teller(&store, &setup), 59)] {
            raise(teller, TUESDAY + minutes * MINUTE);
            assert_eq!(teller.step(TUESDAY + minutes * MINUTE).await.unwrap(), 0);
        }
        // It is over: what was not told yet is, by whoever looks first, and says how often.
        let later = TUESDAY + 60 * MINUTE;
        assert_eq!(other.step(later).await.unwrap(), 1);
        assert_eq!(one.step(later).await.unwrap(), 0);
        sending.clock.advance(60 * MINUTE);
        sending.drain().await;
        let (_, text) = &told(&peer)[1];
        assert!(
            text.contains("First Tuesday 24 November, 09:01 EST\nLast Tuesday 24 November, 09:59 EST"),
            "{text}"
        );
        assert!(text.contains("At least 3 times"), "{text}");
        // Nothing new: nothing is told.
        assert_eq!(other.step(later + 180 * MINUTE).await.unwrap(), 0);
        // Another subject is another alarm.
        for edition in ["a", "b"] {
            other.alarms.raise(AlarmCause::EditionAttention, edition, &"why", later);
        }
        assert_eq!(other.step(later).await.unwrap(), 2);
        assert_eq!(mails(&store).await.len(), 4);
    })
    .await;
}

/// A bounce keeps newsletters from an address, and nothing of its work from somebody of the house.
#[tokio::test]
async fn who_of_the_house_cannot_be_reached_is_told_of_and_tried_again() {
    on_every_store(|store| async move {
        let gone = |moment: &Moment| match moment.stage {
            Stage::Rcpt => Do::Say("550 5.1.1 no such user"),
            _ => Do::Go,
        };
        let peer = Peer::start(&["PIPELINING"], gone).await;
        let sending = Sending::start(&store, &peer, OnUncertain::Resend).await;
        let setup = example(&[]);
        let teller = Teller { alarms: sending.line.alarms.clone(), ..teller(&store, &setup) };
        teller.alarms.raise(AlarmCause::ConfigRefused, "", &"3 problems", TUESDAY);
        assert_eq!(teller.step(TUESDAY).await.unwrap(), 1);
        sending.drain().await;
        assert_eq!(mails(&store).await[0].state, "refused");
        assert_eq!(suppressions::list(&mut store.read().await.unwrap()).await.unwrap(), []);
        teller.step(TUESDAY).await.unwrap();
        let about = known(&store).await;
        let about: Vec<_> =
            about.iter().filter(|alarm| alarm.occurred.cause == AlarmCause::HouseUnreachable).collect();
        assert!(about.len() == 1 && about[0].occurred.text.contains("550 5.1.1"), "{about:?}");
        assert!(!about[0].occurred.text.contains("ops@"), "masked: {about:?}");

        // However it came to be: what was suppressed before is tried.
        let mut tx = store.write().await.unwrap();
        let operator = Address::parse("ops@example.org").unwrap();
        suppressions::add(&mut tx, &operator, SuppressionReason::HardBounce, "once", TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        for (after, mails_of_it) in [(23, 1), (24, 2)] {
            sending.drain().await;
            let now = TUESDAY + after * 60 * MINUTE;
            sending.clock.advance(now.since(sending.clock.now()));
            teller.step(now).await.unwrap();
            let told = mails(&store).await;
            assert_eq!(told.len(), 1 + mails_of_it, "once a day: {told:?}");
        }
        sending.drain().await;
        assert!(mails(&store).await.iter().all(|mail| mail.state == "refused"));
        // Only somebody's word keeps it away.
        let mut tx = store.write().await.unwrap();
        suppressions::remove(&mut tx, &operator).await.unwrap();
        suppressions::add(&mut tx, &operator, SuppressionReason::Manual, "a wish", TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        let later = TUESDAY + 30 * 60 * MINUTE;
        sending.clock.advance(later.since(sending.clock.now()));
        teller.alarms.raise(AlarmCause::ConfigRefused, "", &"4 problems", later);
        teller.step(later).await.unwrap();
        sending.drain().await;
        assert_eq!(mails(&store).await.iter().filter(|mail| mail.state == "skipped").count(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_was_raised_while_the_store_was_away_is_told_when_it_is_back() {
    let test = TestStore::sqlite().await;
    let setup = example(&[]);
    let away = teller(&test.store, &setup);
    let blocked = test.store.clone();
    blocked.close().await;
    away.alarms.raise(AlarmCause::StoreAway, "", &"database is locked", TUESDAY);
    away.alarms.raise(AlarmCause::DiskLow, "", &"1 MB of 2 MB are free", TUESDAY);
    assert!(away.step(TUESDAY).await.is_err());
    away.alarms.raise(AlarmCause::StoreAway, "", &"database is locked", TUESDAY + MINUTE);
    assert!(away.step(TUESDAY + MINUTE).await.is_err());
    let store = Store::open(&test.url).await.unwrap();
    let back = Teller { store: store.clone(), ..away };
    assert_eq!(back.step(TUESDAY + 2 * MINUTE).await.unwrap(), 2);
    let known = known(&store).await;
    let away = known.iter().find(|alarm| alarm.occurred.cause == AlarmCause::StoreAway).unwrap();
    assert_eq!(
        (away.occurred.count, away.occurred.since, away.occurred.last),
        (2, TUESDAY, TUESDAY + MINUTE)
    );
}

#[tokio::test]
async fn a_relay_that_refuses_us_is_told_by_one_mail_once_it_is_back() {
    on_every_store(|store| async move {
        let broken = Arc::new(AtomicBool::new(true));
        let refuses = broken.clone();
        let peer = Peer::start(&["PIPELINING"], move |moment| {
            let met = moment.stage == Stage::Mail && refuses.load(Ordering::SeqCst);
            if met { Do::SayAndClose("550 5.7.1 <weekly@news.example.org> not from here") } else { Do::Go }
        })
        .await;
        let sending = Sending::start(&store, &peer, OnUncertain::Resend).await;
        let setup = example(&[]);
        let teller = Teller { alarms: sending.line.alarms.clone(), ..teller(&store, &setup) };
        queued_edition(&store, 3).await;
        let mut connection = sending.connection();
        // Five hours, looked at every minute.
        for _ in 0..300 {
            assert!(matches!(connection.step().await, Step::Down(_)));
            sending.clock.advance(MINUTE);
            teller.step(now(&sending)).await.unwrap();
        }
        assert_eq!(mails(&store).await.len(), 1, "one mail waits, however long that takes");
        assert_eq!((peer.count(), sending.counts().await.queued), (0, 3), "and nobody is blamed");
        broken.store(false, Ordering::SeqCst);
        // A relay that refuses us is tried again after an hour, or at an operator's word.
        sending.clock.advance(60 * MINUTE);
        sending.drain().await;
        let told = told(&peer);
        assert_eq!((told.len(), peer.count()), (1, 4));
        let (subject, text) = &told[0];
        assert_eq!(subject, "Alarm: The relay refuses us (main)");
        assert!(
            text.contains("First Tuesday 24 November, 09:00 EST") && text.contains("At least 4 times"),
            "{text}"
        );
        assert!(text.contains("w***@news.example.org") && !text.contains("weekly@"), "{text}");
    })
    .await;
}

fn now(sending: &Sending) -> Timestamp {
    tidings::runtime::Clock::now(&sending.clock)
}

#[tokio::test]
async fn a_relay_that_is_away_is_an_alarm_after_a_minute() {
    let test = TestStore::sqlite().await;
    let setup = example(&[]);
    let teller = teller(&test.store, &setup);
    let away = |seconds: u64| {
        teller.alarms.relay_failed("main", &"connection refused", TUESDAY + Duration::from_secs(seconds))
    };
    away(0);
    away(59);
    assert_eq!(teller.step(TUESDAY).await.unwrap(), 0);
    teller.alarms.relay_works("main");
    away(61);
    assert_eq!(teller.step(TUESDAY).await.unwrap(), 0, "it worked in between");
    away(121);
    assert_eq!(teller.step(TUESDAY + 2 * MINUTE).await.unwrap(), 1);
    let known = known(&test.store).await;
    assert_eq!(
        (known[0].occurred.cause, known[0].occurred.subject.as_str()),
        (AlarmCause::RelayDown, "main")
    );
}

#[tokio::test]
async fn an_edition_that_stops_is_told_once_also_across_a_restart() {
    on_every_store(|store| async move {
        queued_edition(&store, 3).await;
        let setup = example(&[]);
        let first = teller(&store, &setup);
        let mut watch = Watch::start(&first).await.unwrap();
        watch.step(TUESDAY).await.unwrap();
        assert_eq!(first.step(TUESDAY).await.unwrap(), 0);
        stop(&store, EditionState::Attention, "5 % hard bounces").await;
        for hour in 0..3 {
            watch.step(TUESDAY + 60 * hour * MINUTE).await.unwrap();
            assert_eq!(first.step(TUESDAY + 60 * hour * MINUTE).await.unwrap(), usize::from(hour == 0));
        }
        let second = teller(&store, &setup);
        let mut watch = Watch::start(&second).await.unwrap();
        let later = TUESDAY + 600 * MINUTE;
        watch.step(later).await.unwrap();
        assert_eq!(second.step(later).await.unwrap(), 0, "it was told before the restart");
        // It goes on, and stops again.
        stop(&store, EditionState::Sending, "").await;
        watch.step(later).await.unwrap();
        stop(&store, EditionState::Attention, "content refused").await;
        watch.step(later).await.unwrap();
        assert_eq!(second.step(later).await.unwrap(), 0, "the mail that still waits tells it as well");
        assert_eq!((mails(&store).await.len(), known(&store).await[0].occurred.count), (1, 2));
        let known = known(&store).await;
        assert_eq!(
            (known[0].occurred.subject.as_str(), known[0].occurred.text.as_str()),
            ("weekly", "content refused")
        );
    })
    .await;
}

async fn stop(store: &Store, state: EditionState, reason: &str) {
    let from = [EditionState::Sending, EditionState::Attention];
    let mut tx = store.write().await.unwrap();
    assert!(editions::change_state(&mut tx, "weekly", &from, state, reason, TUESDAY).await.unwrap());
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn without_operators_the_row_says_that_it_was_logged() {
    let test = TestStore::sqlite().await;
    let setup = example(&[("operators", "[]")]);
    let teller = teller(&test.store, &setup);
    teller.alarms.raise(AlarmCause::DiskLow, "", &"little room", TUESDAY);
    assert_eq!(teller.step(TUESDAY).await.unwrap(), 1);
    assert_eq!(mails(&test.store).await.len(), 0);
    assert_eq!(known(&test.store).await[0].told_at, Some(TUESDAY));
}

/// The whole way: a daemon that is killed, its successor, and a config that is refused at SIGHUP.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_tells_of_its_killed_predecessor_and_of_a_refused_config() {
    let peer = Peer::willing().await;
    let site = Site::sending_to(peer.address).with_pages();
    site.change("tidings.toml", "operators = []", "operators = [\"ops@example.org\"]");
    site.start().kill();
    let daemon = site.start();
    until("the alarm about the killed one", || {
        told(&peer).iter().any(|(subject, _)| subject == "Alarm: A daemon died").then_some(())
    });
    site.change("publication.toml", "timezone = \"America/New_York\"", "timezone = \"Mars/Olympus\"");
    for _ in 0..3 {
        daemon.signal(libc::SIGHUP);
    }
    let told = until("the alarm about the config", || {
        let told = told(&peer);
        told.iter().any(|(subject, _)| subject.contains("files are refused")).then_some(told)
    });
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].1.contains("Mars/Olympus"), "{told:?}");
    let page = crate::support::http::get(daemon.pages(), "/metrics");
    assert_eq!(page.number("tidings_alarms_total{cause=\"config_refused\"}"), 1.0);
    assert_eq!(daemon.log().matches("alarm: ").count(), 2, "{}", daemon.log());
    daemon.stop();
}
