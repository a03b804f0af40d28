//! What a pause of a lane does to hard bounces: the guard's makes them doubtful, nobody else's does; an operator says in the end what
//! they were; and nothing that came back is sent again.

use std::time::Duration;

use tidings::domain::breaker::PauseCause;
use tidings::domain::edition::EditionState;
use tidings::domain::settings::OnUncertain;
use tidings::domain::suppression::SuppressionReason;
use tidings::runtime::{Clock, Timestamp};
use tidings::store::suppressions::{self, Word};
use tidings::store::{Store, deliveries, editions, lanes};
use tidings::tasks::send::Step;

use crate::support::clock::{StoppedClock, TUESDAY};
use crate::support::daemon::Site;
use crate::support::peer::{Do, Moment, Peer, Stage};
use crate::support::returns::{WEEK, World, dsn, gone};
use crate::support::sending::{Sending, queued_edition};
use crate::support::stores::on_every_store;
use crate::support::traffic::{Process, add_people, at, lane, named, queue};

async fn pause(store: &Store, lane: i64, cause: PauseCause, why: &str) {
    let mut tx = store.write().await.unwrap();
    assert!(lanes::pause(&mut tx, lane, cause, why, TUESDAY).await.unwrap());
    tx.commit().await.unwrap();
}

async fn held(store: &Store, lane: i64) -> usize {
    suppressions::held(&mut store.read().await.unwrap(), lane).await.unwrap().len()
}

async fn end_hold(store: &Store, lane: i64, word: Word) -> u64 {
    let mut tx = store.write().await.unwrap();
    let held = suppressions::end_hold(&mut tx, lane, word).await.unwrap();
    lanes::resume(&mut tx, lane).await.unwrap();
    tx.commit().await.unwrap();
    held
}

async fn state_of(store: &Store, id: i64) -> (String, String) {
    let all = deliveries::list(&mut store.read().await.unwrap(), None, None, 0, 1000).await.unwrap();
    let found = all.into_iter().find(|row| row.id == id).unwrap();
    (found.state, found.last_reply.unwrap_or_default())
}

#[tokio::test]
async fn w145_a_pause_by_anybody_but_the_guard_changes_nothing_about_a_hard_bounce() {
    on_every_store(|store| async move {
        let world = World::start(&store, 60).await;
        world.send("weekly", TUESDAY.millis()).await;
        world.send("next", TUESDAY.millis() + WEEK).await;
        let now = TUESDAY.millis() + WEEK + 1000;
        let causes = [PauseCause::Operator, PauseCause::Policy, PauseCause::Complaints];
        for (number, cause) in causes.into_iter().enumerate() {
            pause(&store, 0, cause, "a reason").await;
            let address = format!("p{number:05}@x.example");
            world.report(world.delivery("next", number).await, &gone(&address), now).await;
            let found = world.suppression(&address).await;
            assert_eq!(found, Some(SuppressionReason::HardBounce), "{cause}");
            assert_eq!(held(&store, 0).await, 0);
            let mut tx = store.write().await.unwrap();
            assert!(lanes::resume(&mut tx, 0).await.unwrap());
            tx.commit().await.unwrap();
            let found = world.suppression(&address).await;
            assert_eq!(found, Some(SuppressionReason::HardBounce), "after the pause too");
        }
    })
    .await;
}

#[tokio::test]
async fn w145_the_guard_trips_on_a_lane_that_somebody_else_has_paused() {
    on_every_store(|store| async move {
        let world = World::start(&store, 60).await;
        world.send("weekly", TUESDAY.millis()).await;
        world.send("next", TUESDAY.millis() + WEEK).await;
        pause(&store, 0, PauseCause::Operator, "paused by hand").await;
        for number in 0..25 {
            let at = TUESDAY.millis() + WEEK + 1000;
            world
                .report(world.delivery("next", number).await, &gone(&format!("p{number:05}@x.example")), at)
                .await;
        }
        assert_eq!((world.suppressed().await, held(&store, 0).await), (0, 25));
        let lane = lanes::standing(&mut store.read().await.unwrap(), 0).await.unwrap().unwrap();
        assert_eq!(lane.paused_by, Some(PauseCause::FalseBounces));
        assert_eq!(
            lane.paused.as_deref(),
            Some("20 of 60 recipients bounced hard who took mail before; before: paused by hand")
        );
        // A config that does not name the lane any more says nothing about its bounces.
        let mut tx = store.write().await.unwrap();
        lanes::sync(&mut tx, &[], &[], TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        let lane = lanes::standing(&mut store.read().await.unwrap(), 0).await.unwrap().unwrap();
        assert!(lane.is_doubted());
    })
    .await;
}

#[tokio::test]
async fn w145_who_never_took_a_mail_is_suppressed_whatever_the_guard_thinks_of_the_others() {
    on_every_store(|store| async move {
        let world = World::start(&store, 40).await;
        world.send("weekly", TUESDAY.millis()).await;
        add_people(&store, &["new@x.example".to_owned()]).await;
        world.send("next", TUESDAY.millis() + WEEK).await;
        let at = TUESDAY.millis() + WEEK + 1000;
        // The relay took it, and it was the first one that they were sent.
        world.report(world.delivery("next", 40).await, &gone("new@x.example"), at).await;
        for number in 0..21 {
            world
                .report(world.delivery("next", number).await, &gone(&format!("p{number:05}@x.example")), at)
                .await;
        }
        assert_eq!(held(&store, 0).await, 21);
        assert_eq!(world.suppression("new@x.example").await, Some(SuppressionReason::HardBounce));
    })
    .await;
}

#[tokio::test]
async fn w145_what_was_on_its_way_when_an_operator_paused_the_lane_is_believed() {
    on_every_store(|store| async move {
        let clock = StoppedClock::at(TUESDAY);
        let gone = |moment: &Moment| match moment.stage {
            Stage::Rcpt => Do::Say("550 5.1.1 no such user"),
            _ => Do::Go,
        };
        let (willing, gone) = (Peer::willing().await, Peer::start(&["PIPELINING"], gone).await);
        add_people(&store, &at("big.example", 3)).await;
        let domains = [lane("big.example", &[])];
        let process = Process::start(&store, &clock, &[named("main", &willing)], &domains).await;
        queue(&store, "first").await;
        process.drain().await;
        process.end().await;

        let process = Process::start(&store, &clock, &[named("main", &gone)], &domains).await;
        queue(&store, "weekly").await;
        let mut connection = process.connections().remove(0);
        assert_eq!(connection.step().await, Step::Tried);
        let lane = process.lane("big.example").await.id;
        pause(&store, lane, PauseCause::Operator, "paused by hand").await;
        clock.advance(Duration::from_secs(2));
        // Claims nothing more, and settles what it has.
        while connection.step().await == Step::Tried {}
        let tried = process.edition("weekly").await.counts.refused;
        let suppressed = suppressions::list(&mut store.read().await.unwrap()).await.unwrap().len() as i64;
        assert!(tried >= 1);
        assert_eq!((suppressed, held(&store, lane).await), (tried, 0));
        drop(connection);
    })
    .await;
}

/// Two who took mail before, held by the guard.
async fn two_held(store: &Store) -> World {
    let world = World::start(store, 4).await;
    world.send("weekly", TUESDAY.millis()).await;
    world.send("next", TUESDAY.millis() + WEEK).await;
    pause(store, 0, PauseCause::FalseBounces, "20 of 20 recipients bounced hard who took mail before").await;
    for number in 0..2 {
        let at = TUESDAY.millis() + WEEK + 1000;
        world
            .report(world.delivery("next", number).await, &gone(&format!("p{number:05}@x.example")), at)
            .await;
    }
    assert_eq!((world.suppressed().await, held(store, 0).await), (0, 2));
    world
}

#[tokio::test]
async fn w145_what_is_forgotten_stands_against_nobody_and_is_not_sent_again() {
    on_every_store(|store| async move {
        let world = two_held(&store).await;
        assert_eq!(end_hold(&store, 0, Word::Forget).await, 2);
        assert_eq!((world.suppressed().await, held(&store, 0).await), (0, 0));
        let third = TUESDAY.millis() + 2 * WEEK;
        world.send("third", third).await;
        let mut tx = store.read().await.unwrap();
        let next = editions::show(&mut tx, "next").await.unwrap().unwrap();
        let row = editions::show(&mut tx, "third").await.unwrap().unwrap();
        drop(tx);
        assert_eq!(
            (next.counts.accepted, row.counts.accepted),
            (4, 4),
            "the next edition, and not the last one"
        );
        // One in doubt would have been the second one within a month.
        world.report(world.delivery("third", 0).await, &gone("elsewhere@y.example"), third + 1000).await;
        assert_eq!(world.suppressed().await, 0);
    })
    .await;
}

#[tokio::test]
async fn w145_what_is_believed_is_suppressed() {
    on_every_store(|store| async move {
        let world = two_held(&store).await;
        assert_eq!(end_hold(&store, 0, Word::Believe).await, 2);
        assert_eq!((world.suppressed().await, held(&store, 0).await), (2, 0));
    })
    .await;
}

#[tokio::test]
async fn who_is_taken_off_the_list_by_hand_is_not_held_any_more() {
    on_every_store(|store| async move {
        let world = two_held(&store).await;
        let address = tidings::domain::address::Address::parse("p00000@x.example").unwrap();
        let mut tx = store.write().await.unwrap();
        suppressions::remove(&mut tx, &address).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(end_hold(&store, 0, Word::Believe).await, 1);
        assert_eq!(world.suppression("p00000@x.example").await, None);
    })
    .await;
}

/// The peer takes the message and goes away before it has said so.
async fn in_doubt(store: &Store, count: usize) -> World {
    let script = |moment: &Moment| match (moment.stage, moment.connection) {
        (Stage::Dot, 1) => Do::Close,
        _ => Do::Go,
    };
    World::with(store, count, &Peer::start(&[], script).await).await
}

#[tokio::test]
async fn what_was_in_doubt_and_came_back_is_never_sent_again() {
    on_every_store(|store| async move {
        let world = in_doubt(&store, 1).await;
        let mut connection = world.sending.connection();
        connection.step().await;
        connection.step().await;
        let id = world.delivery("weekly", 0).await;
        assert_eq!(state_of(&store, id).await.0, "uncertain");
        let soft = dsn("p00000@x.example", "failed", "5.2.2", "smtp; 552 5.2.2 mailbox full", "");
        world.report(id, &soft, TUESDAY.millis() + 1000).await;
        let (state, said) = state_of(&store, id).await;
        assert_eq!(state, "refused");
        assert!(said.starts_with("came back: 5.2.2"), "{said}");

        // Whatever an operator resumes and retries.
        pause(&store, 0, PauseCause::Operator, "paused by hand").await;
        end_hold(&store, 0, Word::Forget).await;
        let mut tx = store.write().await.unwrap();
        deliveries::retry_one(&mut tx, id, TUESDAY).await.unwrap();
        deliveries::retry_held(&mut tx, 1, TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        world.sending.clock.advance(Duration::from_secs(86_400));
        world.sending.tidy(world.sending.clock.now()).await;
        assert_eq!(world.sending.drain().await, 0);
        let counts = world.sending.counts().await;
        assert_eq!((counts.refused, counts.queued, counts.uncertain), (1, 0, 0));
        assert_eq!(world.sending.edition().await.state, EditionState::Sent);
    })
    .await;
}

#[tokio::test]
async fn what_was_in_doubt_and_is_still_being_tried_is_not_sent_again() {
    on_every_store(|store| async move {
        let world = in_doubt(&store, 1).await;
        let mut connection = world.sending.connection();
        connection.step().await;
        connection.step().await;
        let id = world.delivery("weekly", 0).await;
        assert_eq!(state_of(&store, id).await.0, "uncertain");
        let later = dsn("p00000@x.example", "delayed", "4.4.1", "smtp; 451 4.4.1 no answer", "");
        world.report(id, &later, TUESDAY.millis() + 1000).await;
        assert_eq!(state_of(&store, id).await.0, "accepted");
        world.sending.clock.advance(Duration::from_secs(86_400));
        world.sending.tidy(world.sending.clock.now()).await;
        assert_eq!(world.sending.drain().await, 0);
        assert_eq!(world.sending.edition().await.state, EditionState::Sent);
    })
    .await;
}

#[tokio::test]
async fn what_came_back_while_it_was_in_flight_is_not_tried_again() {
    on_every_store(|store| async move {
        let peer = Peer::start(&[], |moment: &Moment| match moment.stage {
            Stage::Dot => Do::Say("451 4.3.0 later"),
            _ => Do::Go,
        })
        .await;
        let world = World::with(&store, 1, &peer).await;
        let mut connection = world.sending.connection();
        assert_eq!(connection.step().await, Step::Tried);
        let id = world.delivery("weekly", 0).await;
        assert_eq!(state_of(&store, id).await.0, "leased");
        let soft = dsn("p00000@x.example", "failed", "5.2.2", "smtp; 552 5.2.2 mailbox full", "");
        world.report(id, &soft, TUESDAY.millis() + 1000).await;
        assert_eq!(connection.step().await, Step::Idle);
        assert_eq!(state_of(&store, id).await.0, "queued");
        let mails = |commands: Vec<String>| commands.iter().filter(|line| line.starts_with("MAIL")).count();
        let before = mails(peer.commands());
        world.sending.clock.advance(Duration::from_secs(1800));
        world.sending.drain().await;
        assert_eq!(state_of(&store, id).await, ("skipped".to_owned(), "came back already".to_owned()));
        assert_eq!(mails(peer.commands()), before);
    })
    .await;
}

/// The lane of the shipped config, with two people that the guard holds.
fn site_with_held() -> Site {
    let site = Site::shipped();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = tidings::domain::settings::StorageUrl::Sqlite(site.path().join("var/tidings.db"));
    std::fs::create_dir_all(site.path().join("var")).unwrap();
    runtime.block_on(async {
        let store = Store::open(&url).await.unwrap();
        let world = two_held(&store).await;
        drop(world);
        store.close().await;
    });
    site
}

#[test]
fn an_operator_has_to_say_what_held_bounces_were() {
    let site = site_with_held();
    let listed = site.json(&["lanes", "list", "--json"]);
    assert_eq!(
        (&listed[0]["paused_by"], &listed[0]["held"]),
        (&"false_bounces".into(), &2.into()),
        "{listed}"
    );
    assert!(site.run(&["lanes", "list"]).out.contains("; 2 hard bounces are held"));
    let held = site.json(&["lanes", "held", "other", "--json"]);
    assert_eq!(
        (&held[0]["address"], &held[1]["address"]),
        (&"p00000@x.example".into(), &"p00001@x.example".into())
    );

    let refused = site.run(&["lanes", "resume", "other"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    for words in [
        "nothing was changed: 2 hard bounces of `other` are held",
        "--believe",
        "--forget",
        "lanes held other",
    ] {
        assert!(refused.err.contains(words), "{words}: {refused:?}");
    }
    assert_eq!(site.json(&["lanes", "list", "--json"])[0]["state"], "paused", "and nothing was");
    assert_eq!(site.run(&["lanes", "resume", "other", "--believe", "--forget"]).code, 2);

    let resumed = site.run(&["lanes", "resume", "other", "--believe"]);
    assert_eq!(resumed.out, "other: open; 2 hard bounces are believed: these addresses are suppressed\n");
    let suppressed = site.json(&["suppressions", "list", "--json"]);
    assert_eq!(suppressed.as_array().unwrap().len(), 2, "{suppressed}");
    assert_eq!(site.json(&["lanes", "held", "other", "--json"]), serde_json::json!([]));
}

#[test]
fn an_operator_may_forget_held_bounces() {
    let site = site_with_held();
    let resumed = site.run(&["lanes", "resume", "other", "--forget"]);
    assert_eq!(
        resumed.out,
        "other: open; 2 hard bounces are forgotten: these people get the next edition; what bounced is not sent again\n"
    );
    assert_eq!(site.json(&["suppressions", "list", "--json"]), serde_json::json!([]));
    assert_eq!(site.run(&["lanes", "resume", "other"]).code, 1, "it goes on already");
}

/// An edition each day, and reports two days later: the newest one was always taken so far.
#[tokio::test]
async fn w144_soft_bounces_add_up_where_editions_are_closer_together_than_reports() {
    on_every_store(|store| async move {
        let world = World::start(&store, 1).await;
        let day = 86_400_000_i64;
        let full = dsn("p00000@x.example", "failed", "5.2.2", "smtp; 552 5.2.2 mailbox full", "");
        let slug = |number: i64| if number == 0 { "weekly".to_owned() } else { format!("day-{number:02}") };
        for number in 0..18 {
            world.send(&slug(number), TUESDAY.millis() + number * day).await;
            if number >= 2 {
                let report = world.delivery(&slug(number - 2), 0).await;
                world.report(report, &full, TUESDAY.millis() + number * day + 1000).await;
            }
            let expected = (number == 17).then_some(SuppressionReason::SoftLimit);
            assert_eq!(world.suppression("p00000@x.example").await, expected, "day {number}");
        }
    })
    .await;
}

/// On PostgreSQL: whoever has paused a lane goes on to an edition, so a report must not have the edition and wait for the lane.
#[tokio::test]
async fn a_report_and_the_gatherer_lock_in_one_order() {
    let Some(postgres) = crate::support::stores::TestStore::postgres().await else { return };
    let store = postgres.store.clone();
    let world = World::start(&store, 3).await;
    world.send("weekly", TUESDAY.millis()).await;
    world.send("next", TUESDAY.millis() + WEEK).await;
    let id = world.delivery("next", 0).await;
    let edition = editions::id(&mut store.read().await.unwrap(), "next").await.unwrap().unwrap();

    // As the gatherer does: the lane first.
    let mut gatherer = store.write().await.unwrap();
    lanes::lock(&mut gatherer, [0]).await.unwrap();
    let at = Timestamp(TUESDAY.millis() + WEEK + 1000);
    let to = world.line.address(tidings::domain::token::Purpose::Bounce, id, 0);
    world.line.record(&to, "", gone("p00000@x.example").as_bytes()).await;
    let reporting = world.line.receiver.drain(|| at);
    tokio::pin!(reporting);
    // Until the report waits for a lock.
    let waiting = postgres.until_one_waits();
    tokio::select! {
        done = &mut reporting => panic!("it did not wait for the lane: {done:?}"),
        () = waiting => {}
    }
    let tally = tidings::domain::breaker::Tally { decided: 1, hard: 0, content: 0 };
    tokio::select! {
        counted = editions::count(&mut gatherer, edition, tally) => { counted.unwrap(); }
        done = &mut reporting => panic!("the report ended first: {done:?}"),
    }
    gatherer.commit().await.unwrap();
    assert_eq!(reporting.await.unwrap(), 1);
    assert_eq!(world.suppression("p00000@x.example").await, Some(SuppressionReason::HardBounce));
    postgres.remove().await;
}

/// A daemon that is in doubt resends, as always; the guard here is against a report only.
#[tokio::test]
async fn what_is_in_doubt_without_a_report_is_sent_again() {
    on_every_store(|store| async move {
        queued_edition(&store, 1).await;
        let peer = Peer::start(&[], |moment: &Moment| match (moment.stage, moment.connection) {
            (Stage::Dot, 1) => Do::Close,
            _ => Do::Go,
        })
        .await;
        let sending = Sending::start(&store, &peer, OnUncertain::Resend).await;
        sending.drain().await;
        sending.clock.advance(Duration::from_secs(3000));
        sending.tidy(sending.clock.now()).await;
        sending.drain().await;
        assert_eq!(sending.counts().await.accepted, 1);
    })
    .await;
}
