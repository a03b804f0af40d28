//! A relay that refuses us is stopped at once: recipients stay queued, the others take over, an operator or an hour starts it again.

use tidings::domain::settings::OnUncertain;
use tidings::store::deliveries;
use tidings::tasks::send::Step;

use crate::support::clock::{StoppedClock, TUESDAY};
use crate::support::daemon::{Site, until};
use crate::support::peer::{Do, Moment, Peer, Stage};
use crate::support::sending::{FIRST_RETRY, Sending, queued_edition};
use crate::support::stores::TestStore;
use crate::support::traffic::{Process, add_people, at, named, queue};

fn says(at: Stage, reply: &'static str) -> impl Fn(&Moment) -> Do + Send + Sync {
    move |moment| if moment.stage == at { Do::Say(reply) } else { Do::Go }
}

#[tokio::test]
async fn refusing_mail_from_stops_it_and_the_next_one_takes_over() {
    let cases = [
        (Stage::Mail, "550 5.7.1 we do not know you"),
        (Stage::Mail, "530 5.7.0 authentication required"),
        (Stage::Rcpt, "554 5.7.1 relay access denied"),
    ];
    for (stage, reply) in cases {
        let test = TestStore::sqlite().await;
        let clock = StoppedClock::at(TUESDAY);
        let (one, two) = (Peer::start(&["PIPELINING"], says(stage, reply)).await, Peer::willing().await);
        add_people(&test.store, &at("x.example", 20)).await;
        let process =
            Process::start(&test.store, &clock, &[named("one", &one), named("two", &two)], &[]).await;
        queue(&test.store, "weekly").await;
        process.drain().await;
        let rows = deliveries::list(&mut test.store.read().await.unwrap(), Some("weekly"), None, 0, 100)
            .await
            .unwrap();
        assert!(rows.iter().all(|row| row.state != "refused"), "{reply}: nobody is blamed");
        assert!(two.count() >= 19, "{reply}: {}", two.count());
        assert!(process.lines[0].health.may_use(TUESDAY).is_err());
        assert_eq!(one.connections(), 1);
        clock.advance(FIRST_RETRY * 2);
        process.drain().await;
        assert_eq!(two.count(), 20, "{reply}: who met the refusal got the mail by the other relay");
    }
}

#[tokio::test]
async fn three_messages_in_a_row_without_an_answer_stop_it() {
    let test = TestStore::sqlite().await;
    let lost = |moment: &Moment| if moment.stage == Stage::Dot { Do::Close } else { Do::Go };
    let peer = Peer::start(&["PIPELINING"], lost).await;
    let sending = Sending::start(&test.store, &peer, OnUncertain::Hold).await;
    queued_edition(&test.store, 10).await;
    let mut connection = sending.connection();
    for _ in 0..2 {
        assert_eq!(connection.step().await, Step::Tried);
    }
    assert!(matches!(connection.step().await, Step::Down(_)), "the third one");
    for _ in 0..5 {
        assert!(matches!(connection.step().await, Step::Down(_)));
    }
    let counts = sending.counts().await;
    assert_eq!((counts.uncertain, counts.queued, peer.connections()), (3, 7, 3));
    sending.line.health.resume();
    assert_eq!(connection.step().await, Step::Tried, "an operator's word");
}

/// An odd recipient is not the relay: only one after the other are.
#[tokio::test]
async fn a_protocol_error_about_one_recipient_stops_nothing() {
    let test = TestStore::sqlite().await;
    let met = std::sync::atomic::AtomicU32::new(0);
    let odd = move |moment: &Moment| match moment.stage {
        Stage::Rcpt if met.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 4 < 2 => {
            Do::Say("555 5.5.4 unsupported parameter")
        }
        _ => Do::Go,
    };
    let peer = Peer::start(&["PIPELINING"], odd).await;
    let sending = Sending::start(&test.store, &peer, OnUncertain::Resend).await;
    queued_edition(&test.store, 10).await;
    let mut connection = sending.connection();
    for _ in 0..10 {
        assert_eq!(connection.step().await, Step::Tried, "two in a row are none");
    }
    assert!(sending.line.health.may_use(TUESDAY).is_ok());
}

/// The whole daemon: one alarm, and SIGHUP starts it again.
#[test]
fn one_alarm_and_sighup_starts_it_again() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let refusing =
        runtime.block_on(Peer::start(&["PIPELINING"], |moment| match (moment.stage, moment.connection) {
            (Stage::Mail, 1..=8) => Do::Say("550 5.7.1 we do not know you"),
            _ => Do::Go,
        }));
    let site = Site::sending_to(refusing.address);
    site.hurry();
    site.import(20);
    let daemon = site.start();
    until("the relay is stopped", || daemon.log().contains("the relay is stopped").then_some(()));
    assert_eq!(refusing.count(), 0);
    // What other connections had in hand at that moment comes back too.
    let counts = until("all are queued again", || {
        let counts = site.edition()["counts"].clone();
        (counts["leased"] == 0).then_some(counts)
    });
    assert_eq!((&counts["queued"], &counts["refused"]), (&20.into(), &0.into()), "{counts}");
    // Whatever number of connections met the refusal before, each SIGHUP lets them try again.
    until("the edition is sent", || {
        daemon.hang_up();
        (site.edition()["state"] == "sent").then_some(())
    });
    assert_eq!(refusing.count(), 20);
    daemon.stop();
}
