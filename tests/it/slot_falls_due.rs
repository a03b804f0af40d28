//! A slot's dates: queued once, missed when too late, skipped when there is too little to send; extras are counted.

use std::sync::Arc;
use std::time::Duration;

use tidings::app::Setup;
use tidings::domain::delivery::DeliveryState;
use tidings::domain::edition::EditionState;
use tidings::domain::subscriber::Subscriber;
use tidings::runtime::Timestamp;
use tidings::store::{Store, deliveries, edition_articles, editions, people};
use tidings::tasks::schedule::{Happened, Scheduler};
use tidings::tasks::week;

use crate::support::receiving::example_of;
use crate::support::sending::subscriber;
use crate::support::stores::on_every_store;

const SUNDAYS: &str = "[[slots]]\nname = \"weekly\"\nat = \"Sun 08:00\"\ntake = { min = 1, max = 1 }\n\
    tiers = [\"free\", \"yearly\"]\nlate = \"LATE\"\n";

fn instant(text: &str) -> Timestamp {
    serde_json::from_str(&format!("\"{text}\"")).unwrap()
}

/// The example with this slot, in Berlin, and articles of these names; those that start with `x` are extras.
fn setup(slots: &str, articles: &[&str]) -> Setup {
    let article = |id: &&str| {
        let extra = if id.starts_with('x') { "extra = true\n" } else { "" };
        let text = format!(
            "+++\ntitle = \"Title {id}\"\nsummary = \"s\"\nopen = true\nstatus = \"ready\"\n{extra}+++\nWords.\n"
        );
        (format!("{id}.md"), text)
    };
    example_of("Europe/Berlin", slots, &articles.iter().map(article).collect::<Vec<_>>())
}

fn scheduler(store: &Store, setup: &Setup) -> Scheduler {
    Scheduler::new(store.clone(), setup.shelf.clone(), setup.settings.clone(), Arc::default())
}

async fn add(store: &Store, people: &[Subscriber]) {
    let mut tx = store.write().await.unwrap();
    people::add_many(
        &mut tx,
        &people.iter().collect::<Vec<_>>(),
        "test",
        "",
        instant("2026-01-01T00:00:00Z"),
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

async fn state(store: &Store, slug: &str) -> Option<EditionState> {
    editions::show(&mut store.read().await.unwrap(), slug).await.unwrap().map(|row| row.state)
}

#[tokio::test]
async fn down_over_a_sunday() {
    on_every_store(|store| async move {
        add(&store, &[subscriber("a@x.example", "free")]).await;
        for (late, expected) in [("24h", EditionState::Missed), ("48h", EditionState::Sending)] {
            let slots = SUNDAYS.replace("LATE", late).replace("weekly", &format!("w{late}"));
            let setup = setup(&slots, &["a", "b"]);
            let scheduler = scheduler(&store, &setup);
            // Running on Saturday, down until Monday 09:00 UTC: 26 hours after Sunday 08:00 in Berlin.
            assert!(scheduler.step(instant("2026-11-21T12:00:00Z")).await.unwrap().is_empty());
            let happened = scheduler.step(instant("2026-11-23T09:00:00Z")).await.unwrap();
            assert_eq!(happened.len(), 1, "{happened:?}");
            let slug = format!("w{late}-2026-11-22");
            assert_eq!(state(&store, &slug).await, Some(expected));
            // A restart changes nothing, nor does a clock that was set back.
            let again =
                Scheduler::new(store.clone(), setup.shelf.clone(), setup.settings.clone(), Arc::default());
            assert!(again.step(instant("2026-11-23T09:00:10Z")).await.unwrap().is_empty());
            assert!(again.step(instant("2026-11-22T07:30:00Z")).await.unwrap().is_empty());
        }
    })
    .await;
}

#[tokio::test]
async fn four_weeks_down_is_one_run_at_most() {
    on_every_store(|store| async move {
        add(&store, &[subscriber("a@x.example", "free")]).await;
        let setup = setup(&SUNDAYS.replace("LATE", "48h"), &["a", "b", "c", "d", "e"]);
        let scheduler = scheduler(&store, &setup);
        assert!(scheduler.step(instant("2026-10-31T12:00:00Z")).await.unwrap().is_empty());
        let happened = scheduler.step(instant("2026-11-29T12:00:00Z")).await.unwrap();
        assert!(
            matches!(&happened[..], [Happened::Queued { slug, .. }] if slug == "weekly-2026-11-29"),
            "{happened:?}"
        );
        assert_eq!(editions::list(&mut store.read().await.unwrap()).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_new_slot_misses_nothing_of_the_past() {
    on_every_store(|store| async move {
        let setup = setup(&SUNDAYS.replace("LATE", "24h"), &["a"]);
        let first = scheduler(&store, &setup).step(instant("2026-11-25T12:00:00Z")).await.unwrap();
        assert!(first.is_empty(), "{first:?}");
    })
    .await;
}

#[tokio::test]
async fn each_article_once_and_a_date_without_any_is_skipped() {
    on_every_store(|store| async move {
        add(&store, &[subscriber("a@x.example", "free")]).await;
        let setup = setup(&SUNDAYS.replace("LATE", "24h"), &["b", "a"]);
        let scheduler = scheduler(&store, &setup);
        let mut sunday = instant("2026-11-01T07:00:00Z");
        scheduler.step(Timestamp(sunday.millis() - 1)).await.unwrap();
        let mut told = Vec::new();
        for _ in 0..3 {
            told.extend(scheduler.step(sunday).await.unwrap());
            sunday = sunday + Duration::from_secs(7 * 86_400);
        }
        assert!(
            matches!(&told[2], Happened::Skipped { slug, .. } if slug == "weekly-2026-11-15"),
            "{told:?}"
        );
        assert_eq!(state(&store, "weekly-2026-11-15").await, Some(EditionState::Skipped));
        let used = edition_articles::used(&mut store.read().await.unwrap()).await.unwrap();
        assert_eq!(used.len(), 2);
        let first =
            editions::show(&mut store.read().await.unwrap(), "weekly-2026-11-01").await.unwrap().unwrap();
        assert_eq!(first.subject, "Title a", "by file name");
    })
    .await;
}

#[tokio::test]
async fn the_forecast_walks_the_queue_and_the_clock() {
    let test = crate::support::stores::TestStore::sqlite().await;
    add(&test.store, &[subscriber("a@x.example", "free"), subscriber("b@x.example", "yearly")]).await;
    let setup = setup(&SUNDAYS.replace("LATE", "24h"), &["a", "b"]);
    let dates =
        week::forecast(&test.store, &setup.content, instant("2026-03-15T12:00:00Z"), 8).await.unwrap();
    let found: Vec<(String, String, usize)> = dates
        .iter()
        .map(|date| (date.date.to_string(), date.due_at.rfc3339(), date.articles.len()))
        .collect();
    let expected = [
        ("2026-03-22", "2026-03-22T07:00:00Z", 1),
        ("2026-03-29", "2026-03-29T06:00:00Z", 1),
        ("2026-04-05", "2026-04-05T06:00:00Z", 0),
    ];
    for (found, (date, due, articles)) in found.iter().zip(expected) {
        assert_eq!((found.0.as_str(), found.1.as_str(), found.2), (date, due, articles));
    }
    assert_eq!(found.len(), 8);
    assert_eq!(dates[0].audience, [("free".to_owned(), 1), ("yearly".to_owned(), 1)].into());
}

#[tokio::test]
async fn the_eleventh_extra_is_not_sent_and_a_renewal_gives_ten_again() {
    on_every_store(|store| async move {
        let started = Some(instant("2026-01-01T00:00:00Z"));
        let yearly = Subscriber { term_started_at: started, ..subscriber("y@x.example", "yearly") };
        let lapsed = Subscriber { term_ends_at: started, ..subscriber("l@x.example", "yearly") };
        add(&store, &[yearly, lapsed, subscriber("m@x.example", "monthly")]).await;
        let names: Vec<String> = (10..24).map(|number| format!("x{number}")).collect();
        let slots = "[[slots]]\nname = \"extras\"\nat = \"Thu 09:00\"\nextra = true\ntake = { min = 1, max = 1 }\n\
            tiers = [\"yearly\"]\n";
        let setup = setup(slots, &names.iter().map(String::as_str).collect::<Vec<_>>());
        let scheduler = scheduler(&store, &setup);
        let mut thursday = instant("2026-11-05T08:00:00Z");
        scheduler.step(Timestamp(thursday.millis() - 1)).await.unwrap();
        let mut audiences = Vec::new();
        for week in 0..12 {
            if week == 11 {
                let mut tx = store.write().await.unwrap();
                let known = people::by_key(&mut tx, "y@x.example").await.unwrap().unwrap();
                let renewed = Subscriber { term_started_at: Some(thursday), ..known };
                people::update(&mut tx, &renewed, thursday).await.unwrap();
                tx.commit().await.unwrap();
            }
            for event in scheduler.step(thursday).await.unwrap() {
                let Happened::Queued { audience, .. } = event else { panic!("{event:?}") };
                audiences.push(audience);
            }
            thursday = thursday + Duration::from_secs(7 * 86_400);
        }
        assert_eq!(audiences, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1], "ten, none, and ten again");
    })
    .await;
}

#[tokio::test]
async fn an_extra_that_was_refused_is_given_back() {
    on_every_store(|store| async move {
        add(&store, &[subscriber("y@x.example", "yearly")]).await;
        let slots = "[[slots]]\nname = \"extras\"\nat = \"Thu 09:00\"\nextra = true\ntake = { min = 1, max = 1 }\n\
            tiers = [\"yearly\"]\n";
        let setup = setup(slots, &["x1", "x2"]);
        let count = |limit| {
            let store = store.clone();
            async move {
                let at = instant("2026-11-06T08:00:00Z");
                let mut tx = store.read().await.unwrap();
                people::count_entitled(&mut tx, &"yearly".into(), None, Some(limit), at).await.unwrap()
            }
        };
        let scheduler = scheduler(&store, &setup);
        scheduler.step(instant("2026-11-05T07:00:00Z")).await.unwrap();
        scheduler.step(instant("2026-11-05T08:00:00Z")).await.unwrap();
        assert_eq!(count(1).await, 0, "counted when it is queued");
        let peer = crate::support::peer::Peer::start(&[], |moment| match moment.stage {
            // Refused, and the person stays: a hard bounce would take them out of the audience.
            crate::support::peer::Stage::Rcpt => crate::support::peer::Do::Say("550 5.7.1 not from you"),
            _ => crate::support::peer::Do::Go,
        })
        .await;
        let policy = tidings::domain::settings::OnUncertain::Resend;
        let sending = crate::support::sending::Sending::start(&store, &peer, policy).await;
        sending.drain().await;
        let refused = Some(DeliveryState::Refused);
        let mut tx = store.read().await.unwrap();
        let rows = deliveries::list(&mut tx, Some("extras-2026-11-05"), refused, 0, 10).await.unwrap();
        drop(tx);
        assert_eq!(rows.len(), 1);
        assert_eq!(count(1).await, 1, "given back");
    })
    .await;
}

#[tokio::test]
async fn approval_is_waited_for_and_not_for_ever() {
    on_every_store(|store| async move {
        add(&store, &[subscriber("a@x.example", "free")]).await;
        let slots = SUNDAYS.replace("LATE", "24h") + "approval = true\n";
        let setup = setup(&slots, &["a"]);
        let scheduler = scheduler(&store, &setup);
        scheduler.step(instant("2026-11-21T12:00:00Z")).await.unwrap();
        let sunday = instant("2026-11-22T07:00:00Z");
        let happened = scheduler.step(sunday).await.unwrap();
        assert!(matches!(happened[..], [Happened::Queued { waits_for_approval: true, .. }]), "{happened:?}");
        let slug = "weekly-2026-11-22";
        assert_eq!(state(&store, slug).await, Some(EditionState::WaitingApproval));
        let happened = scheduler.step(sunday + Duration::from_secs(24 * 3600 + 1)).await.unwrap();
        assert!(matches!(happened[..], [Happened::Missed { .. }]), "{happened:?}");
        assert_eq!(state(&store, slug).await, Some(EditionState::Missed));
    })
    .await;
}

#[tokio::test]
async fn what_an_editor_mends_before_the_time_is_what_is_sent() {
    let test = crate::support::stores::TestStore::sqlite().await;
    add(&test.store, &[subscriber("a@x.example", "free")]).await;
    let setup = setup(&SUNDAYS.replace("LATE", "24h"), &["a"]);
    let scheduler = scheduler(&test.store, &setup);
    scheduler.step(instant("2026-11-21T12:00:00Z")).await.unwrap();
    let file = setup.paths.articles.join("a.md");
    let text = std::fs::read_to_string(&file).unwrap();
    let sunday = instant("2026-11-22T07:00:00Z");
    std::fs::write(
        &file,
        text.replace("Words.", "Words.\n\n<!-- only: gold -->\n\nsecret\n\n<!-- /only -->\n"),
    )
    .unwrap();
    let happened = scheduler.step(sunday).await.unwrap();
    assert!(matches!(happened[..], [Happened::Blocked { .. }]), "a broken gate sends nothing: {happened:?}");
    std::fs::write(&file, text.replace("Title a", "Title mended at last")).unwrap();
    let happened = scheduler.step(sunday).await.unwrap();
    assert!(matches!(happened[..], [Happened::Queued { .. }]), "{happened:?}");
    let row =
        editions::show(&mut test.store.read().await.unwrap(), "weekly-2026-11-22").await.unwrap().unwrap();
    assert_eq!(row.subject, "Title mended at last");
}

/// Editors hear of what happens and what does not, once, in the transaction in which it does.
#[tokio::test]
async fn editors_are_told() {
    on_every_store(|store| async move {
        add(&store, &[subscriber("a@x.example", "free"), subscriber("b@x.example", "yearly")]).await;
        let setup = setup(&SUNDAYS.replace("LATE", "24h"), &["a"]);
        let scheduler = scheduler(&store, &setup);
        scheduler.step(instant("2026-11-21T12:00:00Z")).await.unwrap();
        scheduler.step(instant("2026-11-22T07:00:00Z")).await.unwrap();
        scheduler.step(instant("2026-11-22T07:00:01Z")).await.unwrap();
        let peer = crate::support::peer::Peer::willing().await;
        let policy = tidings::domain::settings::OnUncertain::Resend;
        let sending = crate::support::sending::Sending::start(&store, &peer, policy).await;
        sending.drain().await;
        let reporter = &scheduler.reporter;
        reporter.first_passes(&store, instant("2026-11-24T15:00:00Z")).await.unwrap();
        reporter.first_passes(&store, instant("2026-11-24T15:00:01Z")).await.unwrap();
        sending.drain().await;
        // The next Sunday has no article.
        scheduler.step(instant("2026-11-29T07:00:00Z")).await.unwrap();
        sending.clock.advance(Duration::from_secs(7 * 86_400));
        sending.drain().await;
        let subjects: Vec<String> = peer
            .taken()
            .into_iter()
            .filter(|mail| mail.to == "ed@example.org")
            .map(|mail| tidings::mail::parse::parse(&mail.bytes).subject)
            .collect();
        assert_eq!(subjects.len(), 5, "{subjects:?}");
        for (subject, word) in subjects.iter().zip(["Queued", "Title a", "Title a", "Out", "Skipped"]) {
            assert!(subject.contains(word), "{subjects:?}");
        }
    })
    .await;
}
