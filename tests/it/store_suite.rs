//! What a store promises, whatever its dialect. Every test here runs on SQLite and on PostgreSQL.

use std::time::Duration;

use tidings::domain::address::Address;
use tidings::domain::delivery::{DeliveryKind, DeliveryState, Settlement};
use tidings::domain::edition::EditionState;
use tidings::domain::inbound::{InboundSource, InboundState};
use tidings::domain::publication::TierId;
use tidings::domain::settings::{OnUncertain, StaffMember};
use tidings::domain::subscriber::{Subscriber, SubscriberStatus};
use tidings::domain::suppression::SuppressionReason;
use tidings::domain::thread::{PostKind, ThreadState};
use tidings::domain::verdict::Verdict;
use tidings::runtime::Timestamp;
use tidings::store::claims::{ClaimRequest, Claimed};
use tidings::store::deliveries::{DeskMail, LANE_OTHER, Settled};
use tidings::store::threads::{Attachment, NewPost, NewThread};
use tidings::store::{
    Store, bodies, claims, deliveries, editions, inbound, owners, people, slots, staff, suppressions, threads,
};

use crate::support::clock::TUESDAY;
use crate::support::sending::{edition, subscriber as person};
use crate::support::stores::on_every_store;

async fn add(store: &Store, people: &[Subscriber]) {
    let mut tx = store.write().await.unwrap();
    people::add_many(&mut tx, &people.iter().collect::<Vec<_>>(), "test", "", TUESDAY).await.unwrap();
    tx.commit().await.unwrap();
}

async fn queue(store: &Store, edition: &editions::NewEdition) -> editions::Queued {
    let mut tx = store.write().await.unwrap();
    let queued = editions::queue(&mut tx, edition, TUESDAY).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    queued
}

async fn owner(store: &Store) -> i64 {
    let mut tx = store.write().await.unwrap();
    let owner = owners::register(&mut tx, "test", TUESDAY).await.unwrap();
    tx.commit().await.unwrap();
    owner
}

fn request(owner: i64, limit: usize, now: Timestamp) -> ClaimRequest {
    ClaimRequest {
        owner,
        key_id: 7,
        lane: LANE_OTHER,
        desk_only: false,
        limit,
        lapsed: Some("free".into()),
        now,
    }
}

async fn claim(store: &Store, request: &ClaimRequest) -> Vec<Claimed> {
    let mut tx = store.write().await.unwrap();
    let claimed = claims::claim(&mut tx, request).await.unwrap();
    tx.commit().await.unwrap();
    claimed
}

fn settled(claimed: &Claimed, owner: i64, state: DeliveryState, due_at: Option<Timestamp>) -> Settled {
    Settled {
        delivery: claimed.id,
        attempt: claimed.attempt,
        owner,
        relay: "main".into(),
        at: TUESDAY,
        settlement: Settlement {
            state,
            due_at,
            last_reply: "250 ok".into(),
            burns_attempt: true,
            suppress: None,
        },
        recipient: None,
    }
}

async fn settle(store: &Store, settled: &[Settled]) -> u64 {
    let mut tx = store.write().await.unwrap();
    let changed = deliveries::settle(&mut tx, settled).await.unwrap();
    tx.commit().await.unwrap();
    changed
}

async fn shown(store: &Store, slug: &str) -> editions::EditionRow {
    editions::show(&mut store.read().await.unwrap(), slug).await.unwrap().unwrap()
}

#[tokio::test]
async fn queueing_takes_the_audience_once() {
    on_every_store(|store| async move {
        let past = Some(Timestamp(TUESDAY.millis() - 1));
        let lapsed = Subscriber { term_ends_at: past, ..person("lapsed@x.example", "yearly") };
        let gone = Subscriber { status: SubscriberStatus::Unsubscribed, ..person("gone@x.example", "free") };
        let people = [
            person("free@x.example", "free"),
            person("yearly@x.example", "yearly"),
            person("monthly@x.example", "monthly"),
            person("bounced@x.example", "yearly"),
            lapsed,
            gone,
        ];
        add(&store, &people).await;
        let mut tx = store.write().await.unwrap();
        let bounced = Address::parse("Bounced@x.example").unwrap();
        let reason = SuppressionReason::HardBounce;
        assert!(suppressions::add(&mut tx, &bounced, reason, "test", TUESDAY).await.unwrap());
        assert!(!suppressions::add(&mut tx, &bounced, reason, "test", TUESDAY).await.unwrap());
        tx.commit().await.unwrap();

        let queued = queue(&store, &edition("weekly", &["free", "yearly"])).await;
        assert_eq!(queued.audience, 3);
        let tiers: Vec<_> = queued.tiers.iter().map(|(tier, count)| (tier.as_str(), *count)).collect();
        assert_eq!(tiers, [("free", 2), ("yearly", 1)]);

        let mut tx = store.write().await.unwrap();
        let again = editions::queue(&mut tx, &edition("weekly", &["free"]), TUESDAY).await.unwrap();
        assert_eq!(again, None, "a slug is queued once");
        drop(tx);
        let row = shown(&store, "weekly").await;
        assert_eq!((row.audience, row.counts.queued, row.counts.total()), (3, 3, 3));
        let tiers: Vec<_> = row.tiers.iter().map(|(tier, counts)| (tier.as_str(), counts.audience)).collect();
        assert_eq!(tiers, [("free", 2), ("yearly", 1)]);
    })
    .await;
}

#[tokio::test]
async fn a_slot_date_is_queued_once() {
    on_every_store(|store| async move {
        let dated = |slug: &str| editions::NewEdition {
            slot: Some(("weekly".into(), "2026-11-24".into())),
            ..edition(slug, &["free"])
        };
        queue(&store, &dated("one")).await;
        let mut tx = store.write().await.unwrap();
        assert_eq!(editions::queue(&mut tx, &dated("two"), TUESDAY).await.unwrap(), None);
        drop(tx);
        let week_later = Some(("weekly".into(), "2026-12-01".into()));
        let same = editions::NewEdition { slot: week_later, ..edition("next", &["free"]) };
        let mut tx = store.write().await.unwrap();
        let taken = editions::queue(&mut tx, &same, TUESDAY).await.unwrap();
        assert_eq!(taken, None, "no slot takes an article that went out");
        drop(tx);
        queue(&store, &editions::NewEdition { articles: vec!["two".into()], ..same }).await;
        let mut tx = store.read().await.unwrap();
        assert_eq!(slots::edition_before(&mut tx, "weekly", "next").await.unwrap().as_deref(), Some("one"));
        assert_eq!(slots::edition_before(&mut tx, "weekly", "one").await.unwrap(), None);
        assert_eq!(slots::edition_before(&mut tx, "extras", "next").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn claims_are_leases_and_settlements_are_fenced() {
    on_every_store(|store| async move {
        add(&store, &[person("a@x.example", "free"), person("b@x.example", "free")]).await;
        queue(&store, &edition("weekly", &["free"])).await;
        let me = owner(&store).await;
        let claimed = claim(&store, &request(me, 8, TUESDAY)).await;
        assert_eq!(claimed.len(), 2);
        assert!(claim(&store, &request(me, 8, TUESDAY)).await.is_empty(), "a lease is exclusive");
        let first = &claimed[0];
        assert_eq!((first.attempt, first.key_id, first.first_attempt_at), (1, 7, TUESDAY));
        assert_eq!(first.tier, Some(TierId::from("free")));

        let mut stale = settled(first, me, DeliveryState::Refused, None);
        stale.attempt = 9;
        assert_eq!(settle(&store, &[stale]).await, 0, "fenced by the attempt");
        let foreign = settled(first, me + 1, DeliveryState::Refused, None);
        assert_eq!(settle(&store, &[foreign]).await, 0, "fenced by the owner");

        let later = TUESDAY + Duration::from_secs(300);
        let both = [
            settled(first, me, DeliveryState::Accepted, None),
            settled(&claimed[1], me, DeliveryState::Queued, Some(later)),
        ];
        assert_eq!(settle(&store, &both).await, 2);
        assert_eq!(settle(&store, &both).await, 0, "settling twice is settling once");
        assert!(claim(&store, &request(me, 8, TUESDAY)).await.is_empty(), "not due yet");
        let other_key = ClaimRequest { key_id: 8, ..request(me, 8, later) };
        let again = claim(&store, &other_key).await;
        assert_eq!(again.len(), 1);
        let kept = (again[0].attempt, again[0].key_id, again[0].first_attempt_at);
        assert_eq!(kept, (2, 7, TUESDAY), "a retry keeps its key and its time");
        let rows =
            deliveries::list(&mut store.read().await.unwrap(), Some("weekly"), None, 0, 10).await.unwrap();
        let states: Vec<_> = rows.iter().map(|row| row.state.as_str()).collect();
        assert_eq!(states, ["accepted", "leased"]);
    })
    .await;
}

/// W143: the settlement and the suppression are one transaction, so that the next claim already skips; a settlement that comes too
/// late to count suppresses nobody.
#[tokio::test]
async fn w143_a_hard_bounce_suppresses_in_the_transaction_that_settles_it() {
    on_every_store(async |store| {
        let people = [person("Gone@x.example", "free"), person("here@x.example", "free")];
        add(&store, &people).await;
        queue(&store, &edition("one", &["free"])).await;
        queue(&store, &edition("two", &["free"])).await;
        let owner = owner(&store).await;
        let claimed = claim(&store, &request(owner, 2, TUESDAY)).await;
        let bounced: Vec<_> = claimed
            .iter()
            .map(|one| {
                let mut settled = settled(one, owner, DeliveryState::Refused, None);
                settled.settlement.suppress = Some(SuppressionReason::HardBounce);
                settled.settlement.last_reply = "550 5.1.1 no such user (rcpt)".into();
                settled.recipient = Some(one.address.clone());
                settled
            })
            .collect();
        let gone = bounced.iter().position(|one| one.recipient.as_ref().unwrap().local() == "Gone").unwrap();
        let stale = Settled { attempt: 9, ..bounced[1 - gone].clone() };

        let mut tx = store.write().await.unwrap();
        assert_eq!(deliveries::settle(&mut tx, &[bounced[gone].clone(), stale]).await.unwrap(), 1);
        let next = claims::claim(&mut tx, &request(owner, 5, TUESDAY)).await.unwrap();
        let to: Vec<_> = next.iter().map(|one| one.address.as_str()).collect();
        assert_eq!(to, ["here@x.example"], "the other edition's mail to the gone one is skipped");
        let listed = suppressions::list(&mut tx).await.unwrap();
        tx.commit().await.unwrap();

        assert_eq!(listed.len(), 1);
        assert_eq!(
            (listed[0].address.as_str(), listed[0].reason),
            ("gone@x.example", SuppressionReason::HardBounce)
        );
        let source = format!("delivery {}: 550 5.1.1 no such user (rcpt)", bounced[gone].delivery);
        assert_eq!(listed[0].source, source);
    })
    .await;
}

#[tokio::test]
async fn w43_a_claim_reads_consent_suppression_and_entitlement_again() {
    on_every_store(|store| async move {
        let soon = TUESDAY + Duration::from_secs(60);
        let people = [
            person("leaves@x.example", "yearly"),
            person("bounces@x.example", "yearly"),
            Subscriber { term_ends_at: Some(soon), ..person("lapses@x.example", "yearly") },
            person("stays@x.example", "yearly"),
            person("moves@x.example", "yearly"),
        ];
        add(&store, &people).await;
        queue(&store, &edition("weekly", &["free", "yearly"])).await;
        let mut tx = store.write().await.unwrap();
        let leaves = people::by_key(&mut tx, "leaves@x.example").await.unwrap().unwrap();
        assert!(people::unsubscribe(&mut tx, leaves.id, "test", TUESDAY).await.unwrap());
        assert!(!people::unsubscribe(&mut tx, leaves.id, "test", TUESDAY).await.unwrap());
        let bounces = Address::parse("bounces@x.example").unwrap();
        suppressions::add(&mut tx, &bounces, SuppressionReason::HardBounce, "test", TUESDAY).await.unwrap();
        let moves = people::by_key(&mut tx, "moves@x.example").await.unwrap().unwrap();
        let moved = Subscriber { tier: "monthly".into(), ..moves };
        people::update(&mut tx, &moved, TUESDAY).await.unwrap();
        tx.commit().await.unwrap();

        let me = owner(&store).await;
        let claimed = claim(&store, &request(me, 8, soon)).await;
        let got: Vec<_> = claimed
            .iter()
            .map(|one| (one.address.as_str(), one.tier.as_ref().map_or("", |tier| tier.as_str())))
            .collect();
        assert_eq!(got, [("lapses@x.example", "free"), ("stays@x.example", "yearly")]);
        assert_ne!(claimed[0].body_id, claimed[1].body_id, "a lapsed person gets the fallback's body");
        let rows = deliveries::list(
            &mut store.read().await.unwrap(),
            Some("weekly"),
            Some(DeliveryState::Skipped),
            0,
            10,
        )
        .await
        .unwrap();
        let reasons: Vec<_> = rows.iter().map(|row| row.last_reply.clone().unwrap()).collect();
        assert_eq!(
            reasons,
            [
                "unsubscribed before the send",
                "suppressed before the send: hard_bounce",
                "no longer entitled: the tier gets nothing of this edition"
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn what_a_dead_owner_held_is_uncertain() {
    on_every_store(|store| async move {
        add(&store, &[person("a@x.example", "free"), person("b@x.example", "free")]).await;
        let queued = queue(&store, &edition("weekly", &["free"])).await;
        let dead = owner(&store).await;
        let held = claim(&store, &request(dead, 1, TUESDAY)).await;
        let resend_at = TUESDAY + Duration::from_secs(300);
        let mut tx = store.write().await.unwrap();
        assert_eq!(deliveries::recover(&mut tx, OnUncertain::Resend, resend_at, TUESDAY).await.unwrap(), 0);
        let me = owners::register(&mut tx, "next", TUESDAY).await.unwrap();
        assert_eq!(
            owners::end_silent(&mut tx, me, Timestamp(TUESDAY.millis() + 1), TUESDAY).await.unwrap(),
            1
        );
        assert_eq!(deliveries::recover(&mut tx, OnUncertain::Resend, resend_at, TUESDAY).await.unwrap(), 1);
        assert_eq!(deliveries::requeue_uncertain(&mut tx, TUESDAY).await.unwrap(), 0, "its wait is not over");
        tx.commit().await.unwrap();
        assert_eq!(shown(&store, "weekly").await.counts.uncertain, 1);

        let open = editions::open(&mut store.read().await.unwrap(), queued.edition_id).await.unwrap();
        assert!(open.moving && open.held);
        let mut tx = store.write().await.unwrap();
        assert_eq!(deliveries::requeue_uncertain(&mut tx, resend_at).await.unwrap(), 1);
        tx.commit().await.unwrap();
        let late = settled(&held[0], dead, DeliveryState::Accepted, None);
        assert_eq!(settle(&store, &[late]).await, 0, "it is queued again: the late word changes nothing");
        let again = claim(&store, &request(me, 8, resend_at)).await;
        assert_eq!(again.len(), 2);
        let doubtful: Vec<_> = again.iter().map(|one| (one.attempt, one.uncertain_before)).collect();
        assert_eq!(doubtful, [(1, 0), (2, 1)], "new mail first, then the doubtful one");
    })
    .await;
}

#[tokio::test]
async fn hold_keeps_the_doubtful_and_a_late_250_counts() {
    on_every_store(|store| async move {
        add(&store, &[person("a@x.example", "free"), person("b@x.example", "free")]).await;
        let queued = queue(&store, &edition("weekly", &["free"])).await;
        let dead = owner(&store).await;
        let held = claim(&store, &request(dead, 8, TUESDAY)).await;
        let mut tx = store.write().await.unwrap();
        owners::end_silent(&mut tx, dead + 1, Timestamp(i64::MAX), TUESDAY).await.unwrap();
        deliveries::recover(&mut tx, OnUncertain::Hold, TUESDAY, TUESDAY).await.unwrap();
        assert_eq!(deliveries::requeue_uncertain(&mut tx, Timestamp(i64::MAX / 2)).await.unwrap(), 0);
        tx.commit().await.unwrap();
        let late = settled(&held[0], dead, DeliveryState::Accepted, None);
        assert_eq!(settle(&store, &[late]).await, 1);
        let open = editions::open(&mut store.read().await.unwrap(), queued.edition_id).await.unwrap();
        assert_eq!((open.moving, open.held), (false, true));
        let mut tx = store.write().await.unwrap();
        let stream = editions::stream(queued.edition_id);
        assert_eq!(deliveries::retry_held(&mut tx, stream, TUESDAY).await.unwrap(), 1);
        tx.commit().await.unwrap();
        let counts = shown(&store, "weekly").await.counts;
        assert_eq!((counts.accepted, counts.queued), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn a_paused_edition_is_not_claimed_and_a_cancelled_one_is_skipped() {
    on_every_store(|store| async move {
        let people: Vec<_> = (0..5).map(|n| person(&format!("p{n}@x.example"), "free")).collect();
        add(&store, &people).await;
        let queued = queue(&store, &edition("weekly", &["free"])).await;
        let me = owner(&store).await;
        let mut tx = store.write().await.unwrap();
        use EditionState::{Cancelled, Paused, Sending};
        assert!(
            editions::change_state(&mut tx, "weekly", &[Sending], Paused, "by hand", TUESDAY).await.unwrap()
        );
        assert!(
            !editions::change_state(&mut tx, "weekly", &[Sending], Paused, "by hand", TUESDAY).await.unwrap()
        );
        tx.commit().await.unwrap();
        assert!(claim(&store, &request(me, 8, TUESDAY)).await.is_empty());
        let mut tx = store.write().await.unwrap();
        assert!(
            editions::change_state(&mut tx, "weekly", &[Sending, Paused], Cancelled, "", TUESDAY)
                .await
                .unwrap()
        );
        assert_eq!(editions::skip_chunk(&mut tx, queued.edition_id, TUESDAY).await.unwrap(), 5);
        assert_eq!(editions::skip_chunk(&mut tx, queued.edition_id, TUESDAY).await.unwrap(), 0);
        tx.commit().await.unwrap();
        let row = shown(&store, "weekly").await;
        assert_eq!((row.counts.skipped, row.finished_at), (5, Some(TUESDAY)));
    })
    .await;
}

#[tokio::test]
async fn answers_come_before_notices_before_new_editions() {
    on_every_store(|store| async move {
        add(&store, &[person("a@x.example", "free")]).await;
        queue(&store, &edition("older", &["free"])).await;
        queue(&store, &edition("newer", &["free"])).await;
        let mut tx = store.write().await.unwrap();
        let member = StaffMember { name: "Mira".into(), email: Address::parse("mira@x.example").unwrap() };
        let members = staff::sync(&mut tx, std::slice::from_ref(&member)).await.unwrap();
        assert_eq!(staff::sync(&mut tx, &[member]).await.unwrap(), members, "a member keeps the row");
        let body_id = bodies::add(&mut tx, "{}", "{}").await.unwrap();
        let to_mira = Some((members[0].id, "mira@x.example"));
        let mail = |kind, subscriber_id, staff: Option<(i64, &'static str)>| DeskMail {
            kind,
            subscriber_id,
            thread_id: None,
            address: staff.map(|(_, address)| address),
            staff_id: staff.map(|(id, _)| id),
            body_id,
        };
        deliveries::queue_desk_mail(&mut tx, mail(DeliveryKind::Notice, None, to_mira), TUESDAY)
            .await
            .unwrap();
        let someone = people::by_key(&mut tx, "a@x.example").await.unwrap().unwrap().id;
        deliveries::queue_desk_mail(&mut tx, mail(DeliveryKind::Answer, Some(someone), None), TUESDAY)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let me = owner(&store).await;
        let mut order = Vec::new();
        for _ in 0..4 {
            let one = claim(&store, &request(me, 1, TUESDAY)).await.remove(0);
            let row =
                deliveries::list(&mut store.read().await.unwrap(), None, None, one.id - 1, 1).await.unwrap();
            order.push((one.kind, row[0].edition.clone(), one.address.to_string()));
        }
        let edition = |slug: &str| (DeliveryKind::Edition, Some(slug.to_owned()), "a@x.example".to_owned());
        assert_eq!(
            order,
            [
                (DeliveryKind::Answer, None, "a@x.example".to_owned()),
                (DeliveryKind::Notice, None, "mira@x.example".to_owned()),
                edition("newer"),
                edition("older"),
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn inbound_is_recorded_once_per_recipient_and_quarantined_after_three_failures() {
    on_every_store(|store| async move {
        let message = |recipient| inbound::NewInbound {
            source: InboundSource::Lmtp,
            envelope_from: Some(""),
            recipient,
            hash: "ab12",
            raw: b"Subject: \0 raw\r\n\r\n\xff".to_vec(),
        };
        let mut tx = store.write().await.unwrap();
        let first = inbound::record(&mut tx, message("a@x.example"), TUESDAY).await.unwrap().unwrap();
        assert_eq!(inbound::record(&mut tx, message("a@x.example"), TUESDAY).await.unwrap(), None);
        let second = inbound::record(&mut tx, message("b@x.example"), TUESDAY).await.unwrap().unwrap();
        tx.commit().await.unwrap();

        let mut tx = store.write().await.unwrap();
        let waiting = inbound::next(&mut tx, 0).await.unwrap().unwrap();
        assert_eq!((waiting.id, waiting.raw.as_slice()), (first, &b"Subject: \0 raw\r\n\r\n\xff"[..]));
        assert!(!inbound::failed(&mut tx, first, "boom").await.unwrap());
        assert!(!inbound::failed(&mut tx, first, "boom").await.unwrap());
        assert!(inbound::failed(&mut tx, first, "boom").await.unwrap(), "the third one");
        assert!(inbound::done(&mut tx, second, Verdict::Loop, "own id", None).await.unwrap());
        assert!(!inbound::done(&mut tx, second, Verdict::Loop, "own id", None).await.unwrap());
        assert!(inbound::next(&mut tx, 0).await.unwrap().is_none());
        let held = inbound::list(&mut tx, Some(InboundState::Quarantined), 10).await.unwrap();
        assert_eq!((held.len(), held[0].reason.as_str()), (1, "boom"));
        assert!(inbound::rerun(&mut tx, first).await.unwrap());
        assert_eq!(inbound::next(&mut tx, 0).await.unwrap().unwrap().failures, 0);
        let (row, raw) = inbound::show(&mut tx, second).await.unwrap().unwrap();
        assert_eq!((row.verdict, raw.len()), (Some(Verdict::Loop), 19));
    })
    .await;
}

#[tokio::test]
async fn the_support_inbox_shows_who_waits() {
    on_every_store(|store| async move {
        add(&store, &[person("ana@x.example", "yearly")]).await;
        let queued = queue(&store, &edition("weekly", &["yearly"])).await;
        let mut tx = store.write().await.unwrap();
        let ana = people::by_key(&mut tx, "ana@x.example").await.unwrap().unwrap();
        let new = NewThread {
            subscriber_id: Some(ana.id),
            address: "Ana@x.example",
            address_key: "ana@x.example",
            name: "Ana",
            subject: "Does it work?",
            edition_id: Some(queued.edition_id),
            suspected: None,
        };
        let thread = threads::open(&mut tx, &new, TUESDAY).await.unwrap();
        let file = Attachment { name: "a.png".into(), media_type: "image/png".into(), bytes: 12 };
        let post = NewPost {
            thread,
            kind: PostKind::Subscriber,
            from_name: "Ana",
            from_address: "Ana@x.example",
            text: "Will this fit on my GPU?",
            folded: "> quoted",
            message_id: Some("m1@x.example"),
            inbound_id: None,
            staff_id: None,
            attachments: std::slice::from_ref(&file),
        };
        threads::add_post(&mut tx, &post, TUESDAY).await.unwrap();
        tx.commit().await.unwrap();

        let mut tx = store.read().await.unwrap();
        let inbox = threads::inbox(&mut tx, "", 10).await.unwrap();
        assert_eq!(inbox.len(), 1);
        let row = &inbox[0];
        assert_eq!((row.thread, row.state, row.posts), (thread, ThreadState::Open, 1));
        assert_eq!((row.tier.as_deref(), row.edition.as_deref()), (Some("yearly"), Some("weekly")));
        assert_eq!(row.waiting_since, Some(TUESDAY));
        assert_eq!(threads::inbox(&mut tx, "gpu", 10).await.unwrap().len(), 1);
        assert_eq!(threads::inbox(&mut tx, "absent", 10).await.unwrap().len(), 0);
        let posts = threads::posts(&mut tx, thread).await.unwrap();
        assert_eq!(
            (posts[0].text.as_str(), posts[0].attachments.as_slice()),
            (post.text, std::slice::from_ref(&file))
        );
        let ids = ["m1@x.example".to_owned(), "m2@x.example".to_owned()];
        let found = threads::by_message_ids(&mut tx, &ids).await.unwrap();
        assert_eq!(found, [("m1@x.example".to_owned(), thread)]);
        let about =
            threads::about_edition(&mut tx, "ana@x.example", queued.edition_id, TUESDAY).await.unwrap();
        assert_eq!(about, Some(thread));
    })
    .await;
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let test = crate::support::stores::TestStore::sqlite().await;
    let tidings::domain::settings::StorageUrl::Sqlite(file) = &test.url else { unreachable!() };
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (99, 'later', 1, x'00', 0)")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    let refused = Store::open(&test.url).await.unwrap_err();
    assert!(refused.to_string().contains("version 99"), "{refused}");
}

#[tokio::test]
async fn one_daemon_per_sqlite_file() {
    let test = crate::support::stores::TestStore::sqlite().await;
    let held = test.store.lock_for_daemon().unwrap();
    let refused = test.store.lock_for_daemon().unwrap_err();
    assert!(refused.to_string().contains("another daemon"), "{refused}");
    drop(held);
    test.store.lock_for_daemon().unwrap();
}

#[tokio::test]
async fn a_database_file_is_private_and_its_removal_is_noticed() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("var/tidings.db");
    let url = tidings::domain::settings::StorageUrl::Sqlite(file.clone());
    let store = Store::open(&url).await.unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    store.write().await.unwrap().commit().await.unwrap();
    std::fs::remove_file(&file).unwrap();
    let Err(gone) = store.write().await else { panic!("written into nowhere") };
    assert!(gone.is_away() && gone.to_string().contains("removed"), "{gone}");
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_given_back() {
    on_every_store(|store| async move {
        add(&store, &[person("a@x.example", "free"), person("b@x.example", "free")]).await;
        queue(&store, &edition("weekly", &["free"])).await;
        let me = owner(&store).await;
        let claimed = claim(&store, &request(me, 2, TUESDAY)).await;
        let mut tx = store.write().await.unwrap();
        assert_eq!(deliveries::give_back(&mut tx, me, &[claimed[0].id]).await.unwrap(), 1);
        tx.commit().await.unwrap();
        let again = claim(&store, &request(me, 2, TUESDAY)).await;
        assert_eq!((again.len(), again[0].id, again[0].attempt), (1, claimed[1].id, 1));
    })
    .await;
}

#[tokio::test]
async fn who_was_declared_dead_claims_nothing_and_staff_who_left_get_nothing() {
    on_every_store(|store| async move {
        add(&store, &[person("a@x.example", "free")]).await;
        queue(&store, &edition("weekly", &["free"])).await;
        let dead = owner(&store).await;
        let mut tx = store.write().await.unwrap();
        owners::end_silent(&mut tx, dead + 1, Timestamp(i64::MAX), TUESDAY).await.unwrap();
        let member = StaffMember { name: "Mira".into(), email: Address::parse("mira@x.example").unwrap() };
        let members = staff::sync(&mut tx, &[member]).await.unwrap();
        let body_id = bodies::add(&mut tx, "{}", "{}").await.unwrap();
        let mail = DeskMail {
            kind: DeliveryKind::Notice,
            subscriber_id: None,
            thread_id: None,
            address: Some("mira@x.example"),
            staff_id: Some(members[0].id),
            body_id,
        };
        deliveries::queue_desk_mail(&mut tx, mail, TUESDAY).await.unwrap();
        staff::sync(&mut tx, &[]).await.unwrap();
        tx.commit().await.unwrap();
        assert!(claim(&store, &request(dead, 8, TUESDAY)).await.is_empty());
        let me = owner(&store).await;
        let claimed = claim(&store, &request(me, 8, TUESDAY)).await;
        let kinds: Vec<_> = claimed.iter().map(|one| one.kind).collect();
        assert_eq!(kinds, [DeliveryKind::Edition], "the notice is skipped");
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_edition_is_swept_and_attention_ends_by_itself() {
    on_every_store(|store| async move {
        use EditionState::{Attention, Cancelled, Sending, Sent};
        add(&store, &[person("a@x.example", "free"), person("b@x.example", "free")]).await;
        queue(&store, &edition("weekly", &["free"])).await;
        let me = owner(&store).await;
        let claimed = claim(&store, &request(me, 1, TUESDAY)).await;
        let mut tx = store.write().await.unwrap();
        editions::change_state(&mut tx, "weekly", &[Sending], Cancelled, "", TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        // Its command died before it skipped anything, and what was in flight came back.
        settle(&store, &[settled(&claimed[0], me, DeliveryState::Queued, Some(TUESDAY))]).await;
        tidings::tasks::ledger::tidy(&store, TUESDAY).await.unwrap();
        let counts = shown(&store, "weekly").await.counts;
        assert_eq!((counts.queued, counts.skipped), (0, 2));

        queue(&store, &edition("second", &["free"])).await;
        let claimed = claim(&store, &request(me, 8, TUESDAY)).await;
        let first = settled(&claimed[0], me, DeliveryState::Accepted, None);
        let doubtful = settled(&claimed[1], me, DeliveryState::Uncertain, None);
        settle(&store, &[first, doubtful]).await;
        tidings::tasks::ledger::tidy(&store, TUESDAY).await.unwrap();
        assert_eq!(shown(&store, "second").await.state, Attention);
        settle(&store, &[settled(&claimed[1], me, DeliveryState::Accepted, None)]).await;
        tidings::tasks::ledger::tidy(&store, TUESDAY).await.unwrap();
        assert_eq!(shown(&store, "second").await.state, Sent);
    })
    .await;
}

#[tokio::test]
async fn an_abandoned_transaction_leaves_nothing_and_blocks_nobody() {
    on_every_store(|store| async move {
        let ann = [person("ann@x.example", "free")];
        let mut tx = store.write().await.unwrap();
        people::add_many(&mut tx, &[&ann[0]], "test", "", TUESDAY).await.unwrap();
        drop(tx);
        // A task that is stopped somewhere between BEGIN and COMMIT.
        for polls in 1..12 {
            let mut doomed = Box::pin(async {
                let mut tx = store.write().await.unwrap();
                people::add_many(&mut tx, &[&ann[0]], "test", "", TUESDAY).await.unwrap();
                std::future::pending::<()>().await;
            });
            for _ in 0..polls {
                let _ = tokio::time::timeout(Duration::from_micros(50), &mut doomed).await;
            }
        }
        assert_eq!(people::active_by_tier(&mut store.read().await.unwrap()).await.unwrap(), []);
        add(&store, &ann).await;
        let found = people::active_by_tier(&mut store.read().await.unwrap()).await.unwrap();
        assert_eq!(found, [("free".to_owned(), 1)]);
    })
    .await;
}
