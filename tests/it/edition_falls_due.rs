//! A configured edition that is due is queued once, or is missed; one that does not render sends nothing.

use std::sync::Arc;
use std::time::Duration;

use tidings::domain::body::fill;
use tidings::domain::edition::EditionState;
use tidings::domain::publication::TierId;
use tidings::runtime::Timestamp;
use tidings::store::{Store, bodies, editions, people};
use tidings::tasks::schedule::{Happened, Scheduler};

use crate::support::receiving::example;
use crate::support::sending::subscriber;
use crate::support::stores::on_every_store;

/// The shipped example's edition is due at this time.
fn due(flags: &[(&str, &str)]) -> Timestamp {
    example(flags).content.publication.editions[0].due_at
}

fn scheduler(store: &Store, flags: &[(&str, &str)]) -> Scheduler {
    let setup = example(flags);
    Scheduler::new(store.clone(), setup.shelf.clone(), setup.settings.clone(), Arc::default())
}

async fn four_people(store: &Store) {
    let people: Vec<_> = ["free", "monthly", "yearly", "lifetime"]
        .map(|tier| subscriber(&format!("{tier}@x.example"), tier))
        .into();
    let mut tx = store.write().await.unwrap();
    people::add_many(&mut tx, &people.iter().collect::<Vec<_>>(), "test", "", Timestamp(0)).await.unwrap();
    tx.commit().await.unwrap();
}

async fn state(store: &Store) -> Option<EditionState> {
    let row = editions::show(&mut store.read().await.unwrap(), "first-light").await.unwrap();
    row.map(|row| row.state)
}

#[tokio::test]
async fn it_is_queued_once_however_many_look() {
    on_every_store(|store| async move {
        four_people(&store).await;
        let at = due(&[]);
        let first = scheduler(&store, &[]);
        assert!(first.step(Timestamp(at.millis() - 1)).await.unwrap().is_empty());
        assert_eq!(state(&store).await, None);
        let second = scheduler(&store, &[]);
        let (one, other) = tokio::join!(first.step(at), second.step(at));
        let mut happened = one.unwrap();
        happened.extend(other.unwrap());
        assert_eq!(
            happened,
            [Happened::Queued { slug: "first-light".into(), audience: 4, waits_for_approval: false }]
        );
        let restarted = scheduler(&store, &[]);
        assert!(restarted.step(at + Duration::from_secs(60)).await.unwrap().is_empty());
        assert_eq!(state(&store).await, Some(EditionState::Sending));
    })
    .await;
}

#[tokio::test]
async fn later_than_late_it_is_missed_once() {
    on_every_store(|store| async move {
        four_people(&store).await;
        let at = due(&[]) + Duration::from_secs(24 * 3600 + 1);
        let scheduler = scheduler(&store, &[]);
        let happened = scheduler.step(at).await.unwrap();
        assert!(matches!(happened[..], [Happened::Missed { .. }]), "{happened:?}");
        assert!(scheduler.step(at).await.unwrap().is_empty());
        assert_eq!(state(&store).await, Some(EditionState::Missed));
    })
    .await;
}

#[tokio::test]
async fn at_the_last_moment_it_is_still_sent() {
    on_every_store(|store| async move {
        four_people(&store).await;
        let at = due(&[]) + Duration::from_secs(24 * 3600);
        let happened = scheduler(&store, &[]).step(at).await.unwrap();
        assert!(matches!(happened[..], [Happened::Queued { audience: 4, .. }]), "{happened:?}");
    })
    .await;
}

#[tokio::test]
async fn the_frozen_bodies_are_what_the_preview_shows() {
    on_every_store(|store| async move {
        four_people(&store).await;
        let setup = example(&[]);
        let edition = &setup.content.publication.editions[0];
        scheduler(&store, &[]).step(edition.due_at).await.unwrap();
        let frozen = bodies::of_edition(&mut store.read().await.unwrap(), "first-light").await.unwrap();
        assert_eq!(frozen.len(), 4);
        for (_, tier, _, body) in frozen {
            let body: tidings::domain::body::Body = serde_json::from_str(&body).unwrap();
            let (previewed, _) = setup.content.render(edition, &TierId(tier), 1).unwrap();
            let nobody = Default::default();
            assert_eq!(fill(&body.html, &nobody), fill(&previewed.html, &nobody));
            assert_eq!(fill(&body.text, &nobody), fill(&previewed.text, &nobody));
            assert_eq!(fill(&body.subject, &nobody), fill(&previewed.subject, &nobody));
        }
    })
    .await;
}
