//! What a peer says is settled by its rule, and the connection goes on.

use std::time::Duration;

use tidings::domain::delivery::DeliveryState;
use tidings::domain::edition::EditionState;
use tidings::domain::settings::OnUncertain;
use tidings::store::deliveries;
use tidings::tasks::health::STOPPED_FOR;
use tidings::transport::Timeouts;

use crate::support::clock::TUESDAY;
use crate::support::peer::{Do, Moment, Peer, Stage};
use crate::support::sending::{FIRST_RETRY, Sending, queued_edition};
use crate::support::stores::TestStore;

/// The second of three recipients meets `reaction` at `stage`, once.
fn second_meets(stage: Stage, reaction: Do) -> impl Fn(&Moment) -> Do + Send + Sync {
    let met = std::sync::atomic::AtomicBool::new(false);
    move |moment| {
        let second = moment.stage == stage && moment.message == 2 && moment.connection == 1;
        if second && !met.swap(true, std::sync::atomic::Ordering::SeqCst) { reaction.clone() } else { Do::Go }
    }
}

struct Seen {
    states: Vec<DeliveryState>,
    connections: u32,
    taken: usize,
    reply: String,
}

async fn story(extensions: &'static [&'static str], stage: Stage, reaction: Do) -> Seen {
    let test = TestStore::sqlite().await;
    let peer = Peer::start(extensions, second_meets(stage, reaction)).await;
    let short =
        Timeouts { dot: Duration::from_millis(300), mail: Duration::from_millis(300), ..Timeouts::default() };
    let sending = Sending::start_with(&test.store, &peer, OnUncertain::Resend, short).await;
    queued_edition(&test.store, 3).await;
    sending.drain().await;
    let mut tx = test.store.read().await.unwrap();
    let rows = deliveries::list(&mut tx, Some("weekly"), None, 0, 10).await.unwrap();
    Seen {
        states: rows.iter().map(|row| DeliveryState::from_word(&row.state).unwrap()).collect(),
        connections: peer.connections(),
        taken: peer.taken().len(),
        reply: rows[1].last_reply.clone().unwrap_or_default(),
    }
}

use DeliveryState::{Accepted, Queued, Refused};

#[tokio::test]
async fn a_refusal_ends_one_delivery_and_not_the_connection() {
    for extensions in [&["PIPELINING"][..], &[][..]] {
        let seen = story(extensions, Stage::Rcpt, Do::Say("550 5.1.1 no such user")).await;
        assert_eq!(seen.states, [Accepted, Refused, Accepted]);
        assert_eq!((seen.connections, seen.taken), (1, 2));
        assert_eq!(seen.reply, "550 5.1.1 no such user (rcpt)");

        let seen = story(extensions, Stage::Dot, Do::Say("554 5.7.1 not this")).await;
        assert_eq!((seen.states, seen.connections), (vec![Accepted, Refused, Accepted], 1));

        let seen = story(extensions, Stage::Rcpt, Do::Say("451 4.7.1 greylisted")).await;
        assert_eq!((seen.states, seen.connections), (vec![Accepted, Queued, Accepted], 1));

        let seen = story(extensions, Stage::Data, Do::Say("451 4.3.0 later")).await;
        assert_eq!((seen.states, seen.connections), (vec![Accepted, Queued, Accepted], 1));
    }
}

/// The relay refuses us before it has heard of a recipient: the delivery is as if it had never been claimed, and the relay gets a
/// rest instead of the whole list.
#[tokio::test]
async fn w93_w136_a_refusal_of_the_sender_costs_no_recipient_an_attempt() {
    for reaction in [Do::Say("550 5.7.1 we do not know you"), Do::Say("451 4.7.1 not now")] {
        let test = TestStore::sqlite().await;
        let peer = Peer::start(&["PIPELINING"], second_meets(Stage::Mail, reaction)).await;
        let sending = Sending::start(&test.store, &peer, OnUncertain::Resend).await;
        queued_edition(&test.store, 3).await;
        sending.drain().await;
        let mut tx = test.store.read().await.unwrap();
        let rows = deliveries::list(&mut tx, Some("weekly"), None, 0, 10).await.unwrap();
        drop(tx);
        let seen: Vec<_> = rows.iter().map(|row| (row.state.as_str(), row.attempt)).collect();
        assert_eq!(seen, [("accepted", 1), ("queued", 0), ("queued", 0)]);
        // One that defers us gets a second's rest, one that refuses us an hour or an operator's word.
        sending.clock.advance(STOPPED_FOR);
        sending.drain().await;
        let counts = sending.counts().await;
        assert_eq!(counts.accepted, 3);
    }
}

/// A message that is too large for the relay is our fault, and would be refused again for ever.
#[tokio::test]
async fn too_large_at_mail_is_parked() {
    let seen = story(&["PIPELINING"], Stage::Mail, Do::Say("552 5.3.4 too large")).await;
    assert_eq!(seen.states, [Accepted, DeliveryState::Parked, Accepted]);
}

/// W85: the code decides, whatever its words are.
#[tokio::test]
async fn w85_an_acceptance_in_another_charset_is_an_acceptance() {
    let seen = story(&["PIPELINING"], Stage::Dot, Do::SayBytes(b"250 2.0.0 accept\xe9e\r\n")).await;
    assert_eq!(seen.states, [Accepted; 3]);
}

#[tokio::test]
async fn w109_refused_recipient_with_354_gets_a_lone_dot() {
    let reaction = Do::SayAndTake("550 5.1.1 no such user");
    let seen = story(&["PIPELINING"], Stage::Rcpt, reaction).await;
    assert_eq!((seen.states, seen.connections), (vec![Accepted, Refused, Accepted], 1));
    assert_eq!((seen.taken, seen.reply.as_str()), (2, "550 5.1.1 no such user (rcpt)"));
}

#[tokio::test]
async fn w91_421_ends_the_connection_and_defers() {
    let seen = story(&["PIPELINING"], Stage::Rcpt, Do::SayAndClose("421 4.7.0 slow down")).await;
    assert_eq!(seen.states[..2], [Accepted, Queued]);
}

#[tokio::test]
async fn w116_a_recycled_connection_costs_nothing() {
    for reaction in [Do::SayAndClose("421 4.7.0 enough"), Do::Close] {
        let seen = story(&["PIPELINING"], Stage::Mail, reaction).await;
        assert_eq!((seen.states, seen.connections), (vec![Accepted; 3], 2));
    }
}

#[tokio::test]
async fn w90_lost_before_the_dot_is_retried() {
    for (stage, reaction) in [(Stage::Data, Do::Close), (Stage::Rcpt, Do::Close), (Stage::Mail, Do::Stall)] {
        let seen = story(&[], stage, reaction).await;
        let second = seen.states[1];
        assert!(matches!(second, Queued | Accepted), "{stage:?}: {second:?} {}", seen.reply);
        assert_eq!(seen.states[2], Accepted);
    }
}

#[tokio::test]
async fn w100_lost_after_the_dot_is_uncertain_and_sent_again_as_the_same_message() {
    for reaction in [Do::Close, Do::Stall] {
        let test = TestStore::sqlite().await;
        let peer = Peer::start(&["PIPELINING"], second_meets(Stage::Dot, reaction)).await;
        let short = Timeouts { dot: Duration::from_millis(300), ..Timeouts::default() };
        let sending = Sending::start_with(&test.store, &peer, OnUncertain::Resend, short).await;
        queued_edition(&test.store, 3).await;
        sending.drain().await;
        let counts = sending.counts().await;
        assert_eq!((counts.accepted, counts.uncertain), (2, 1));
        assert!(sending.tidy(TUESDAY).await.is_empty(), "an edition with a doubtful row is not sent");

        sending.clock.advance(FIRST_RETRY);
        sending.tidy(TUESDAY + FIRST_RETRY).await;
        assert_eq!(sending.drain().await, 1);
        assert_eq!(sending.tidy(TUESDAY + FIRST_RETRY).await, ["weekly"]);
        let taken = peer.taken();
        let doubled: Vec<_> = taken.iter().filter(|mail| mail.to == "p00001@x.example").collect();
        assert_eq!(doubled.len(), 2);
        assert_eq!(doubled[0].bytes, doubled[1].bytes, "W25: the same bytes");
        assert_eq!(doubled[0].from, doubled[1].from, "W108: the same return path");
    }
}

#[tokio::test]
async fn w102_with_hold_a_doubtful_one_waits_for_a_word() {
    let test = TestStore::sqlite().await;
    let peer = Peer::start(&["PIPELINING"], second_meets(Stage::Dot, Do::Close)).await;
    let sending = Sending::start(&test.store, &peer, OnUncertain::Hold).await;
    queued_edition(&test.store, 3).await;
    sending.drain().await;
    sending.clock.advance(Duration::from_secs(86_400));
    assert_eq!(sending.tidy(TUESDAY + Duration::from_secs(86_400)).await, ["weekly"]);
    assert_eq!(sending.drain().await, 0);
    let row = sending.edition().await;
    assert_eq!((row.state, row.counts.uncertain, row.counts.accepted), (EditionState::Attention, 1, 2));
    let copies = peer.taken().iter().filter(|mail| mail.to == "p00001@x.example").count();
    assert_eq!(copies, 1, "never doubled");
}

#[tokio::test]
async fn w104_a_deferral_walks_the_schedule_and_expires() {
    let test = TestStore::sqlite().await;
    let never = |moment: &Moment| match moment.stage {
        Stage::Rcpt => Do::Say("451 4.2.0 later"),
        _ => Do::Go,
    };
    let peer = Peer::start(&["PIPELINING"], never).await;
    let sending = Sending::start(&test.store, &peer, OnUncertain::Resend).await;
    queued_edition(&test.store, 1).await;
    let mut attempts = 0;
    for _ in 0..100 {
        attempts += sending.drain().await;
        sending.clock.advance(Duration::from_secs(60));
    }
    let row = sending.edition().await;
    assert_eq!(row.counts.expired, 1);
    // An hour of five-minute waits with a fifth of jitter either way.
    assert!((10..=15).contains(&attempts), "{attempts}");
}

#[tokio::test]
async fn w105_a_relay_that_is_down_costs_no_delivery_an_attempt() {
    let test = TestStore::sqlite().await;
    let closed = Peer::start(&[], |_| Do::Close).await;
    let sending = Sending::start(&test.store, &closed, OnUncertain::Resend).await;
    queued_edition(&test.store, 5).await;
    for _ in 0..20 {
        assert_eq!(sending.drain().await, 0);
    }
    assert_eq!(closed.connections(), 1, "one probe per interval");
    let mut tx = test.store.read().await.unwrap();
    let rows = deliveries::list(&mut tx, Some("weekly"), None, 0, 10).await.unwrap();
    assert!(rows.iter().all(|row| row.state == "queued" && row.attempt == 0));
}
