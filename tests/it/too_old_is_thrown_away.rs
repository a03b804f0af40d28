//! W191: what is too old goes, in bounded pieces; aggregates, consents and open conversations stay.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tidings::domain::delivery::DeliveryKind;
use tidings::domain::settings::{OnUncertain, RetentionSettings};
use tidings::domain::token::Purpose;
use tidings::runtime::Timestamp;
use tidings::store::deliveries::DeskMail;
use tidings::store::{Store, audit, bodies, bounces, deliveries, editions, inbound, people};
use tidings::tasks::retention::{Retention, Thrown};

use crate::support::clock::TUESDAY;
use crate::support::peer::{Do, Moment, Peer, Stage};
use crate::support::public::{Front, link_in};
use crate::support::receiving::{Receiving, message};
use crate::support::sending::{Sending, queued_edition};
use crate::support::stores::{TestStore, both, on_every_store};

const DAY: u64 = 86_400;

fn days(count: u64) -> Duration {
    Duration::from_secs(count * DAY)
}

/// Steps until nothing is left. Answers the sum, and how many steps did something.
async fn throw(store: &Store, ages: &RetentionSettings, now: Timestamp) -> (Thrown, usize) {
    let mut retention = Retention::new(store.clone(), ages.clone());
    let (mut all, mut steps) = (Thrown::default(), 0);
    loop {
        let some = retention.step(now).await.unwrap();
        if some.is_nothing() {
            // Within the hour it does not look again.
            assert!(retention.step(now + Duration::from_secs(3599)).await.unwrap().is_nothing());
            return (all, steps);
        }
        steps += 1;
        all.messages += some.messages;
        all.attempts += some.attempts;
        all.replies += some.replies;
        all.bounces += some.bounces;
        all.audit += some.audit;
        all.networks += some.networks;
        all.sign_ins += some.sign_ins;
    }
}

#[tokio::test]
async fn w191_ninety_one_days_later_details_are_gone_and_sums_stay() {
    on_every_store(|store| async move {
        let line = Receiving::start(&store).await;
        let ages = line.setup.settings.retention.clone();
        assert_eq!((ages.messages, ages.replies), (Some(days(90)), Some(days(90))), "as shipped");
        queued_edition(&store, 3).await;
        // The first is refused, the others are taken.
        let met = std::sync::atomic::AtomicBool::new(false);
        let refused = move |moment: &Moment| match moment.stage {
            Stage::Rcpt if !met.swap(true, Ordering::SeqCst) => Do::Say("550 5.7.1 not for us"),
            _ => Do::Go,
        };
        let peer = Peer::start(&[], refused).await;
        let sending = Sending::start(&store, &peer, OnUncertain::Resend).await;
        sending.drain().await;
        sending.tidy(TUESDAY).await;
        let rows = async || {
            deliveries::list(&mut store.read().await.unwrap(), Some("weekly"), None, 0, 10).await.unwrap()
        };
        assert!(rows().await.iter().all(|row| row.last_reply.is_some()));
        let bounce = line.address(Purpose::Bounce, 1, 0);
        let bounced =
            line.take(&bounce, "", &message("m@p.example", "1@p.example", "", "no such user")).await;
        let open = line
            .take(
                "support@news.example.org",
                "a@x.example",
                &message("a@x.example", "2@x.example", "", "Why?"),
            )
            .await;
        assert!(open.thread.is_some());
        let mut tx = store.write().await.unwrap();
        audit::record(&mut tx, TUESDAY, "cli", "edition pause", "weekly", "").await.unwrap();
        tx.commit().await.unwrap();
        let sums = sending.edition().await;

        let (none, steps) = throw(&store, &ages, TUESDAY + days(89)).await;
        assert_eq!((none, steps), (Thrown::default(), 0));
        let (gone, _) = throw(&store, &ages, TUESDAY + days(91)).await;
        assert_eq!((gone.messages, gone.attempts), (1, 1), "{gone:?}");
        assert!(rows().await.iter().all(|row| row.last_reply.is_none()));
        let edition = sending.edition().await;
        assert_eq!(
            (edition.counts, edition.audience, edition.state),
            (sums.counts, sums.audience, sums.state)
        );
        let mut tx = store.read().await.unwrap();
        let (row, raw) = inbound::show(&mut tx, bounced.id).await.unwrap().unwrap();
        assert!(raw.is_empty() && row.verdict == bounced.verdict, "the verdict stays");
        let (_, raw) = inbound::show(&mut tx, open.id).await.unwrap().unwrap();
        assert!(!raw.is_empty(), "the conversation is open, its attachments are in there");
        drop(tx);
        let mut tx = store.write().await.unwrap();
        assert!(!inbound::rerun(&mut tx, bounced.id).await.unwrap());
        drop(tx);
        let (gone, _) = throw(&store, &ages, TUESDAY + days(2 * 365 + 2)).await;
        assert!(gone.audit >= 1, "{gone:?}");
    })
    .await;
}

#[tokio::test]
async fn w191_consents_lose_where_from_and_keep_who_when_and_what() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        front.join("nora@readers.example", "").await;
        let mail = front.mails().await.remove(0);
        front.post(&link_in(&mail, "/c/"), "").await;
        front.mails().await;
        let id = front.person("nora@readers.example").await.unwrap().id;
        let before = front.history(id).await;
        assert!(before.iter().all(|line| line.contains("from 127.0.0.1")), "{before:?}");
        let ages = front.setup.settings.retention.clone();
        throw(&store, &ages, front.now() + days(364)).await;
        assert_eq!(front.history(id).await, before);
        let (gone, _) = throw(&store, &ages, front.now() + days(366)).await;
        assert_eq!(gone.networks, 3, "two lines of consent, and the wish itself: {gone:?}");
        let after = front.history(id).await;
        assert_eq!(after.len(), before.len());
        for line in &after {
            assert!(line.contains("from (removed)") && line.contains("Send me this publication"), "{line}");
            assert!(!line.contains("127.0.0.1"), "{line}");
        }
        assert_eq!(front.request(1).await, None);
    })
    .await;
}

#[tokio::test]
async fn each_step_is_a_bounded_piece_and_forever_is_for_ever() {
    on_every_store(|store| async move {
        queued_edition(&store, 2_500).await;
        let mut tx = store.write().await.unwrap();
        let id = editions::show(&mut tx, "weekly").await.unwrap().unwrap().id;
        while editions::skip_chunk(&mut tx, id, TUESDAY).await.unwrap() > 0 {}
        tx.commit().await.unwrap();
        let forever = RetentionSettings { messages: None, replies: None, audit: None, networks: None };
        let later = TUESDAY + days(4000);
        assert_eq!(throw(&store, &forever, later).await, (Thrown::default(), 0));
        let ages = RetentionSettings { replies: Some(days(90)), ..forever };
        let mut retention = Retention::new(store.clone(), ages);
        let mut pieces = Vec::new();
        for _ in 0..4 {
            pieces.push(retention.step(later).await.unwrap().replies);
        }
        assert_eq!(pieces, [1000, 1000, 500, 0]);
    })
    .await;
}

/// Settles deliveries as if they had been sent.
async fn settled(test: &TestStore, ids: std::ops::RangeInclusive<i64>, state: &str, at: Timestamp) {
    let sql = format!(
        "UPDATE deliveries SET state = '{state}', settled_at = {}, first_attempt_at = {}, last_reply = '250 for reader', \
            due_at = CASE WHEN '{state}' = 'queued' THEN due_at END WHERE id >= {} AND id <= {}",
        at.millis(),
        at.millis(),
        ids.start(),
        ids.end()
    );
    test.run(&sql).await;
}

/// How many deliveries still hold what was said.
async fn said(store: &Store) -> Vec<i64> {
    let mut tx = store.read().await.unwrap();
    let rows = deliveries::list(&mut tx, Some("weekly"), None, 0, 5000).await.unwrap();
    rows.iter().filter(|row| row.last_reply.is_some()).map(|row| row.id).collect()
}

#[tokio::test]
async fn w191_rows_that_wait_keep_no_others_and_are_come_back_to() {
    for test in both().await {
        let store = test.store.clone();
        queued_edition(&store, 3_500).await;
        settled(&test, 1..=3_500, "accepted", TUESDAY).await;
        // The first waits in a lane that is on hold, one for an operator, one in doubt.
        for (id, state) in [(1, "queued"), (1_700, "parked"), (3_400, "uncertain")] {
            settled(&test, id..=id, state, TUESDAY).await;
        }
        let ages = RetentionSettings { replies: Some(days(90)), messages: None, audit: None, networks: None };
        // Its neighbours are younger than mail is tried for beyond the age: the row that waits is waited for.
        let (none, _) = throw(&store, &ages, TUESDAY + days(91)).await;
        assert_eq!((none.replies, said(&store).await.len()), (0, 3_500));
        let later = TUESDAY + days(98);
        let mut retention = Retention::new(store.clone(), ages.clone());
        let mut pieces = Vec::new();
        while pieces.last() != Some(&0) {
            pieces.push(retention.step(later).await.unwrap().replies);
        }
        assert_eq!(pieces, [1000, 1000, 1000, 500, 0], "bounded pieces");
        assert_eq!(said(&store).await, [1, 1_700, 3_400], "what waits keeps what was said");
        // They are sent in the end, and from then on they age like the others.
        for id in [1, 1_700, 3_400] {
            settled(&test, id..=id, "accepted", later).await;
        }
        let (none, _) = throw(&store, &ages, later + days(89)).await;
        assert_eq!((none.replies, said(&store).await.len()), (0, 3));
        let (gone, _) = throw(&store, &ages, later + days(91)).await;
        assert_eq!(gone.replies, 3);
        assert!(said(&store).await.is_empty());
        test.remove().await;
    }
}

#[tokio::test]
async fn w191_a_thousand_rows_that_wait_are_gone_through_in_rounds() {
    for test in both().await {
        let store = test.store.clone();
        queued_edition(&store, 2_600).await;
        settled(&test, 1..=2_600, "queued", TUESDAY).await;
        let ages = RetentionSettings { replies: Some(days(90)), messages: None, audit: None, networks: None };
        let later = TUESDAY + days(98);
        throw(&store, &ages, later).await;
        assert_eq!(said(&store).await.len(), 2_600);
        // The last one is over: each round comes to it, however many wait before it.
        settled(&test, 2_600..=2_600, "accepted", TUESDAY).await;
        throw(&store, &ages, later + days(1)).await;
        assert_eq!(said(&store).await.len(), 2_599);
        settled(&test, 1..=1, "accepted", TUESDAY).await;
        throw(&store, &ages, later + days(2)).await;
        assert_eq!(said(&store).await.len(), 2_598);
        test.remove().await;
    }
}

#[tokio::test]
async fn w191_words_that_several_mails_share_stay_while_one_of_them_waits() {
    for test in both().await {
        let store = test.store.clone();
        let mut tx = store.write().await.unwrap();
        let body = bodies::add(&mut tx, "{\"frame\":1}", "{\"words\":1}").await.unwrap();
        let mut ids = Vec::new();
        for to in ["ed@example.org", "eva@example.org", "emil@example.org"] {
            let mail = DeskMail {
                kind: DeliveryKind::Report,
                subscriber_id: None,
                thread_id: None,
                address: Some(to),
                staff_id: None,
                body_id: body,
            };
            ids.push(deliveries::queue_desk_mail(&mut tx, mail, TUESDAY).await.unwrap());
        }
        tx.commit().await.unwrap();
        let words = async || bodies::by_id(&mut store.read().await.unwrap(), body).await.unwrap().1;
        settled(&test, ids[0]..=ids[0], "accepted", TUESDAY).await;
        settled(&test, ids[1]..=ids[1], "parked", TUESDAY).await;
        settled(&test, ids[2]..=ids[2], "accepted", TUESDAY).await;
        let ages = RetentionSettings { replies: Some(days(90)), messages: None, audit: None, networks: None };
        throw(&store, &ages, TUESDAY + days(98)).await;
        assert_eq!(words().await, "{\"words\":1}", "one of them may still be sent");
        settled(&test, ids[1]..=ids[1], "accepted", TUESDAY + days(98)).await;
        throw(&store, &ages, TUESDAY + days(180)).await;
        assert_eq!(words().await, "{\"words\":1}", "and is young");
        throw(&store, &ages, TUESDAY + days(190)).await;
        assert_eq!(words().await, "{}");
        test.remove().await;
    }
}

#[tokio::test]
async fn w191_what_servers_said_of_mails_that_came_back_has_an_age() {
    for test in both().await {
        let store = test.store.clone();
        queued_edition(&store, 1_200).await;
        settled(&test, 1..=1_200, "accepted", TUESDAY).await;
        test.run(&format!(
                "INSERT INTO bounces (delivery_id, kind, edition_id, subscriber_id, lane, at, class, reason, status, said, \
                    confirmed, points, known, stands) \
                 SELECT id, 'bounce', edition_id, subscriber_id, 0, {}, 'hard', 'unknown', '5.1.1', 'Erika has moved', 1, 0, 0, 1 \
                 FROM deliveries",
                TUESDAY.millis()
            ))
            .await;
        let ages = RetentionSettings { replies: Some(days(90)), messages: None, audit: None, networks: None };
        let (none, _) = throw(&store, &ages, TUESDAY + days(90)).await;
        assert_eq!(none.bounces, 0);
        let mut retention = Retention::new(store.clone(), ages);
        let mut pieces = Vec::new();
        while pieces.last() != Some(&0) {
            pieces.push(retention.step(TUESDAY + days(91)).await.unwrap().bounces);
        }
        assert_eq!(pieces, [500, 500, 200, 0], "bounded pieces");
        let mut tx = store.read().await.unwrap();
        let person = bounces::history(&mut tx, 1).await.unwrap();
        assert_eq!(person.len(), 1, "that it came back stays: {person:?}");
        test.remove().await;
    }
}

#[tokio::test]
async fn w191_a_consent_of_a_time_to_come_keeps_none_behind_it() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        let id = front.add("nora@readers.example", "free").await;
        let mut tx = store.write().await.unwrap();
        let line = |at, text| people::Evidence { key: "nora@readers.example", at, source: "import", text };
        let ahead = TUESDAY + days(40_000);
        people::add_evidence(&mut tx, &[line(ahead, "from 192.0.2.1"), line(TUESDAY, "from 192.0.2.2")])
            .await
            .unwrap();
        tx.commit().await.unwrap();
        throw(&store, &front.setup.settings.retention, TUESDAY + days(366)).await;
        let lines = front.history(id).await;
        assert!(lines.iter().all(|line| !line.contains("192.0.2")), "{lines:?}");
    })
    .await;
}

#[tokio::test]
async fn a_link_that_could_not_be_mailed_in_time_is_not_mailed() {
    let test = TestStore::sqlite().await;
    let front = Front::start(&test.store).await;
    front.add("jonas@readers.example", "yearly").await;
    front.ask_to_sign_in("jonas@readers.example", "").await;
    let ages = front.setup.settings.retention.clone();
    let mut retention = Retention::new(test.store.clone(), ages);
    front.clock.advance(Duration::from_secs(899));
    retention.step(front.now()).await.unwrap();
    front.clock.advance(Duration::from_secs(1));
    retention.step(front.now()).await.unwrap();
    assert!(front.mails().await.is_empty());
    let rows = deliveries::list(&mut test.store.read().await.unwrap(), None, None, 0, 10).await.unwrap();
    assert_eq!((rows[0].state.as_str(), rows[0].kind.as_str()), ("expired", "sign_in"));
}
