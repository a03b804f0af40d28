//! A received message that ends the process each time it is read: it is tried three times, set aside with its reason, and the others
//! are understood. What ends the process is played here by not coming back from a try.

use tidings::domain::inbound::InboundState;
use tidings::runtime::Timestamp;
use tidings::store::inbound;
use tidings::tasks::receive::{Recorded, Step};

use crate::support::clock::TUESDAY;
use crate::support::receiving::{Receiving, message};
use crate::support::stores::on_every_store;

fn later(minutes: i64) -> Timestamp {
    Timestamp(TUESDAY.millis() + minutes * 60_000)
}

/// Begins to read the first message that waits, and ends.
async fn ends_while_reading(line: &Receiving, now: Timestamp) {
    let waiting = inbound::next(&mut line.store.read().await.unwrap(), 0).await.unwrap().unwrap();
    assert!(line.receiver.marks.may_try(&line.store, &waiting, now).await.unwrap());
}

async fn recorded(line: &Receiving, count: usize) -> Vec<i64> {
    let mut ids = Vec::new();
    for number in 0..count {
        let raw =
            message("ann@x.example", &format!("m{number}@x.example"), "", &format!("Question {number}"));
        let Recorded::New(id) = line.record("support@news.example.org", "ann@x.example", &raw).await else {
            panic!()
        };
        ids.push(id);
    }
    ids
}

#[tokio::test]
async fn it_is_set_aside_after_three_ends_and_the_others_are_understood() {
    on_every_store(|store| async move {
        let line = Receiving::start(&store).await;
        let ids = recorded(&line, 3).await;
        ends_while_reading(&line, later(0)).await;
        for minutes in [1, 2] {
            ends_while_reading(&Receiving::start(&store).await, later(minutes)).await;
        }
        let line = Receiving::start(&store).await;
        assert_eq!(
            line.receiver.step(0, later(3)).await.unwrap(),
            (Step::Failed { quarantined: true }, ids[0])
        );
        line.receiver.drain(|| later(3)).await.unwrap();
        let poison = line.inbound(ids[0]).await;
        assert_eq!(poison.state, InboundState::Quarantined);
        assert_eq!(poison.reason, "the process ended each time that it was read");
        for id in &ids[1..] {
            assert_eq!(line.inbound(*id).await.state, InboundState::Done);
        }
        // An operator who has repaired what was wrong gives it three tries again.
        let mut tx = store.write().await.unwrap();
        assert!(inbound::rerun(&mut tx, ids[0]).await.unwrap());
        tx.commit().await.unwrap();
        line.receiver.drain(|| later(4)).await.unwrap();
        assert_eq!(line.inbound(ids[0]).await.state, InboundState::Done);
    })
    .await;
}

#[tokio::test]
async fn whoever_waited_beside_it_is_not_to_blame() {
    on_every_store(|store| async move {
        // All of them are marked together, and the first one ends the process again and again.
        let line = Receiving::start(&store).await;
        let ids = recorded(&line, 5).await;
        for minutes in 0..3 {
            ends_while_reading(&Receiving::start(&store).await, later(minutes)).await;
        }
        let line = Receiving::start(&store).await;
        line.receiver.drain(|| later(4)).await.unwrap();
        let mut states = Vec::new();
        for id in &ids {
            states.push(line.inbound(*id).await.state);
        }
        use InboundState::{Done, Quarantined};
        assert_eq!(states, [Quarantined, Done, Done, Done, Done]);
    })
    .await;
}

#[tokio::test]
async fn a_message_in_the_hand_of_a_living_process_is_not_to_blame() {
    on_every_store(|store| async move {
        let line = Receiving::start(&store).await;
        let ids = recorded(&line, 1).await;
        // Four processes that all live begin with it, and one of them finishes.
        let lines =
            [Receiving::start(&store).await, Receiving::start(&store).await, Receiving::start(&store).await];
        for line in &lines {
            ends_while_reading(line, later(0)).await;
        }
        line.receiver.drain(|| later(0)).await.unwrap();
        assert_eq!(line.inbound(ids[0]).await.state, InboundState::Done);
    })
    .await;
}
