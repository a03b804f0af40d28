//! Breakers: an edition that bounces or whose content is refused stops, a destination that refuses us is paused, and bounces that
//! are not to be believed suppress nobody. Resuming goes on without sending anything twice.

use std::collections::BTreeSet;

use tidings::domain::edition::EditionState;
use tidings::runtime::Clock;
use tidings::store::suppressions::{self, Word};
use tidings::store::{deliveries, editions, lanes};
use tidings::tasks::report::Reporter;

use crate::support::clock::{StoppedClock, TUESDAY};
use crate::support::peer::{Do, Moment, Peer, Stage};
use crate::support::receiving::example;
use crate::support::stores::{TestStore, on_every_store};
use crate::support::traffic::{Process, add_people, at, lane, named, queue};

/// Says this at one stage of these messages of the first connection.
fn says(
    stage: Stage,
    reply: &'static str,
    which: impl Fn(u32) -> bool + Send + Sync + 'static,
) -> impl Fn(&Moment) -> Do + Send + Sync {
    move |moment| match moment.stage == stage && which(moment.message) {
        true => Do::Say(reply),
        false => Do::Go,
    }
}

async fn suppressed(process: &Process) -> usize {
    suppressions::list(&mut process.store.read().await.unwrap()).await.unwrap().len()
}

async fn resume(process: &Process, slug: &str) {
    let mut tx = process.store.write().await.unwrap();
    let from = [EditionState::Attention];
    let now = process.clock.now();
    assert!(editions::change_state(&mut tx, slug, &from, EditionState::Sending, "", now).await.unwrap());
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn w146_five_hard_bounces_of_a_hundred_stop_it_and_resume_goes_on() {
    on_every_store(|store| async move {
        // A message that was refused leaves the number as it is, so the peer is asked by what it has seen.
        let asked = std::sync::atomic::AtomicU32::new(0);
        let script = move |moment: &Moment| match moment.stage {
            Stage::Rcpt if asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 20 == 7 => {
                Do::Say("550 5.1.1 no such user")
            }
            _ => Do::Go,
        };
        let (peer, clock) = (Peer::start(&["PIPELINING"], script).await, StoppedClock::at(TUESDAY));
        add_people(&store, &at("x.example", 220)).await;
        let process = Process::start(&store, &clock, &[named("main", &peer)], &[]).await;
        queue(&store, "weekly").await;
        process.drain().await;
        let row = process.edition("weekly").await;
        assert_eq!(
            (row.state, row.reason.as_str()),
            (EditionState::Attention, "6 of 108 recipients bounced hard")
        );
        assert_eq!((row.counts.refused, row.counts.accepted), (6, 102), "it stopped within a message");
        assert_eq!(suppressed(&process).await, 6, "these were nobody's before: they are suppressed");

        resume(&process, "weekly").await;
        process.drain().await;
        let row = process.edition("weekly").await;
        assert_eq!(row.state, EditionState::Attention, "and it counts anew");
        assert_eq!(
            row.counts.accepted + row.counts.refused,
            208,
            "a hundred more were decided: {:?}",
            row.counts
        );
        resume(&process, "weekly").await;
        process.drain().await;
        let row = process.edition("weekly").await;
        assert_eq!((row.counts.queued, row.counts.accepted + row.counts.refused), (0, 220));
        let to: Vec<String> =
            peer.taken().into_iter().map(|mail| mail.to).filter(|to| to.ends_with("x.example")).collect();
        assert_eq!(to.len(), to.iter().collect::<BTreeSet<_>>().len(), "nobody twice");

        // Editors are told once.
        let setup = example(&[]);
        let reporter = Reporter { shelf: setup.shelf.clone(), settings: setup.settings.clone() };
        for _ in 0..2 {
            reporter.stopped(&store, clock.now()).await.unwrap();
        }
        let all = deliveries::list(&mut store.read().await.unwrap(), None, None, 0, 1000).await.unwrap();
        let reports: Vec<_> = all.iter().filter(|row| row.kind == "report").collect();
        assert_eq!(reports.len(), setup.content.publication.editors.len());
    })
    .await;
}

#[tokio::test]
async fn w146_three_refusals_of_content_stop_it() {
    let test = TestStore::sqlite().await;
    let clock = StoppedClock::at(TUESDAY);
    let peer = Peer::start(&["PIPELINING"], says(Stage::Dot, "554 5.6.0 malformed message", |_| true)).await;
    add_people(&test.store, &at("x.example", 50)).await;
    let process = Process::start(&test.store, &clock, &[named("main", &peer)], &[]).await;
    queue(&test.store, "weekly").await;
    process.drain().await;
    let row = process.edition("weekly").await;
    assert_eq!((row.state, row.counts.queued), (EditionState::Attention, 47));
    assert_eq!(row.reason, "3 were refused for their content or size");
}

/// W136: what is said about us suppresses nobody, and pauses the destination.
#[tokio::test]
async fn w136_five_hundred_policy_refusals_suppress_nobody() {
    on_every_store(|store| async move {
        let clock = StoppedClock::at(TUESDAY);
        let policy = says(Stage::Rcpt, "550 5.7.26 unauthenticated mail is not accepted", |_| true);
        let (refusing, willing) = (Peer::start(&["PIPELINING"], policy).await, Peer::willing().await);
        add_people(&store, &at("big.example", 500)).await;
        let domains = [lane("big.example", &[])];
        let process = Process::start(&store, &clock, &[named("main", &refusing)], &domains).await;
        queue(&store, "weekly").await;
        process.drain().await;
        let state = process.lane("big.example").await;
        assert_eq!(
            state.paused.as_deref(),
            Some("100 of 100 messages were refused for policy or reputation")
        );
        let row = process.edition("weekly").await;
        assert_eq!((row.state, row.counts.queued, row.counts.refused), (EditionState::Sending, 400, 100));
        assert_eq!(suppressed(&process).await, 0);
        process.end().await;

        // A restart is no word of an operator's.
        let process = Process::start(&store, &clock, &[named("main", &willing)], &domains).await;
        process.drain().await;
        assert_eq!(willing.count(), 0);
        let mut tx = store.write().await.unwrap();
        assert!(lanes::resume(&mut tx, state.id).await.unwrap());
        tx.commit().await.unwrap();
        process.drain().await;
        assert_eq!(willing.count(), 400);
    })
    .await;
}

/// W145: two hundred people who took mail before do not all die within an hour.
#[tokio::test]
async fn w145_bounces_of_people_who_took_mail_before_are_held() {
    on_every_store(|store| async move {
        let clock = StoppedClock::at(TUESDAY);
        let (willing, gone) = (
            Peer::willing().await,
            Peer::start(&["PIPELINING"], says(Stage::Rcpt, "550 5.1.1 no such user", |_| true)).await,
        );
        add_people(&store, &at("big.example", 200)).await;
        let domains = [lane("big.example", &[])];
        let process = Process::start(&store, &clock, &[named("main", &willing)], &domains).await;
        queue(&store, "first").await;
        process.drain().await;
        process.end().await;
        assert_eq!(willing.count(), 200);

        let process = Process::start(&store, &clock, &[named("main", &gone)], &domains).await;
        queue(&store, "weekly").await;
        process.drain().await;
        let state = process.lane("big.example").await;
        assert_eq!(state.paused.as_deref(), Some("20 of 20 recipients bounced hard who took mail before"));
        assert_eq!(suppressed(&process).await, 0, "held, not suppressed");
        assert_eq!(process.edition("weekly").await.counts.queued, 180);

        let mut tx = store.write().await.unwrap();
        lanes::resume(&mut tx, state.id).await.unwrap();
        assert_eq!(suppressions::end_hold(&mut tx, state.id, Word::Believe).await.unwrap(), 20);
        tx.commit().await.unwrap();
        assert_eq!(suppressed(&process).await, 20, "an operator who believes them says so");
    })
    .await;
}
