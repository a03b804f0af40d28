//! What editors look at before an edition leaves: each tier's mail in the page, fenced, and who gets none.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use tidings::domain::board::LeftOut;
use tidings::domain::entitlement::{Audience, Person, Skip};
use tidings::domain::publication::TierId;
use tidings::domain::subscriber::{Subscriber, SubscriberStatus};
use tidings::domain::suppression::SuppressionReason;
use tidings::runtime::Timestamp;
use tidings::store::{Store, people, suppressions};
use tidings::tasks::look;

use crate::support::clock::TUESDAY;
use crate::support::house::{EDITOR, House, MIRA};
use crate::support::sending::{queued_edition, subscriber};
use crate::support::stores::on_every_store;

#[tokio::test]
async fn each_tiers_mail_is_looked_at_before_it_leaves() {
    on_every_store(|store| async move {
        let house = House::start(&store).await;
        let (mira, editor) = (house.sign_in(MIRA).await, house.sign_in(EDITOR).await);
        let board = house.get(&editor, "/board").await.body;
        let (_, after) = board.split_once("href=\"/board/").expect("a planned date to look at");
        let slug = after.split('/').next().unwrap().to_owned();
        for path in [format!("/board/{slug}/look"), format!("/board/{slug}/look/yearly")] {
            for (cookie, code) in [("", 303), (mira.as_str(), 403)] {
                let answer = house.get(cookie, &path).await;
                assert_eq!(answer.code, code, "{path}");
                assert!(!answer.body.contains("Subject:") && !answer.body.contains("Unsubscribe"), "{path}");
            }
        }
        let page = house.get(&editor, &format!("/board/{slug}/look?tier=yearly")).await;
        assert_eq!(page.code, 200);
        for wanted in
            ["the files as they are now", "sandbox=\"\"", "Subject:", "aria-current=\"page\">Yearly"]
        {
            assert!(page.body.contains(wanted), "{wanted}: {}", page.body);
        }
        assert!(page.head.contains("frame-src 'self'") && page.head.contains("frame-ancestors 'none'"));
        let full = house.get(&editor, &format!("/board/{slug}/look/yearly")).await;
        let start = house.get(&editor, &format!("/board/{slug}/look/free")).await;
        for answer in [&full, &start] {
            assert_eq!(answer.code, 200);
            for wanted in ["default-src 'none'", "frame-ancestors 'self'", "sandbox", "form-action 'none'"] {
                assert!(answer.head.contains(wanted), "{wanted}: {}", answer.head);
            }
            assert!(answer.head.contains("cache-control: private, no-store"), "{}", answer.head);
            assert!(answer.body.contains("/u/preview") && !answer.body.contains("{{"), "{}", answer.body);
        }
        assert!(full.body.len() > start.body.len(), "the free tier gets the start only");
        // Queued, it is what was frozen.
        queued_edition(&store, 2).await;
        let page = house.get(&editor, "/board/weekly/look").await;
        assert!(page.code == 200 && page.body.contains("what was frozen"), "{}", page.body);
        assert!(house.get(&editor, "/board/weekly").await.body.contains("/board/weekly/look"));
        for path in ["/board/nothing/look", "/board/nothing/look/free", "/board/weekly/look/gold"] {
            assert_eq!(house.get(&editor, path).await.code, 404, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_board_says_who_is_left_out() {
    on_every_store(|store| async move {
        let house = House::start(&store).await;
        let editor = house.sign_in(EDITOR).await;
        let mut tx = store.write().await.unwrap();
        let mut everyone: Vec<Subscriber> =
            (0..5).map(|n| subscriber(&format!("o{n}@x.example"), "yearly")).collect();
        everyone[0].status = SubscriberStatus::Pending;
        people::add_many(&mut tx, &everyone.iter().collect::<Vec<_>>(), "test", "", TUESDAY).await.unwrap();
        suppressions::add(&mut tx, &everyone[1].address, SuppressionReason::Complaint, "test", TUESDAY)
            .await
            .unwrap();
        let id = people::by_key(&mut tx, "o2@x.example").await.unwrap().unwrap().id;
        let far = Timestamp(TUESDAY.millis() + 400 * 86_400_000);
        people::pause(&mut tx, id, Some(far), TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        house.clock.advance(Duration::from_secs(60));
        let board = house.get(&editor, "/board").await.body;
        for wanted in [
            "Who is left out",
            "<dt>1</dt><dd>not confirmed yet</dd>",
            "<dt>1</dt><dd>suppressed:",
            "<dt>1</dt><dd>paused beyond that day</dd>",
        ] {
            assert!(board.contains(wanted), "{wanted}: {board}");
        }
        assert!(!board.contains("x.example"), "numbers, and nobody's address");
    })
    .await;
}

type Mix = (usize, u8, u8, bool, u8);

const TIERS: [&str; 4] = ["free", "monthly", "yearly", "lifetime"];

/// Not at all, just before, at, or just after the moment that is asked about.
fn shifted(how: u8) -> Option<Timestamp> {
    let shift: Option<i64> = [None, Some(-1), Some(0), Some(1)][usize::from(how)];
    shift.map(|shift| Timestamp(TUESDAY.millis() + shift))
}

/// Who is left out by the rule, of people who are entered.
async fn by_the_rule(store: &Store, mixes: &[Mix], audience: &Audience) -> Vec<(LeftOut, i64)> {
    let statuses = [SubscriberStatus::Active, SubscriberStatus::Pending, SubscriberStatus::Unsubscribed];
    let mut tx = store.write().await.unwrap();
    let mut expected: BTreeMap<LeftOut, i64> = BTreeMap::new();
    for (n, (tier, status, ends, suppressed, paused)) in mixes.iter().enumerate() {
        let someone = Subscriber {
            status: statuses[usize::from(*status)],
            term_ends_at: shifted(*ends),
            ..subscriber(&format!("p{n:04}@x.example"), TIERS[*tier])
        };
        people::add_many(&mut tx, &[&someone], "test", "", TUESDAY).await.unwrap();
        let suppression = suppressed.then_some(SuppressionReason::Complaint);
        if let Some(reason) = suppression {
            suppressions::add(&mut tx, &someone.address, reason, "test", TUESDAY).await.unwrap();
        }
        let id = people::by_key(&mut tx, &someone.address.key()).await.unwrap().unwrap().id;
        people::pause(&mut tx, id, shifted(*paused), TUESDAY).await.unwrap();
        let person = Person {
            status: someone.status,
            tier: someone.tier.clone(),
            term_ends_at: someone.term_ends_at,
            suppression,
            paused_until: shifted(*paused),
            extras_used: 0,
        };
        let why = match audience.body_for(&person, TUESDAY) {
            Ok(_) => continue,
            Err(Skip::Unsubscribed) if someone.status == SubscriberStatus::Pending => LeftOut::Unconfirmed,
            Err(Skip::Unsubscribed) => LeftOut::Unsubscribed,
            Err(Skip::Suppressed(_)) => LeftOut::Suppressed,
            Err(Skip::Paused) => LeftOut::Paused,
            Err(Skip::ExtrasUsed) => LeftOut::ExtrasUsed,
            Err(_) => LeftOut::NotEntitled,
        };
        *expected.entry(why).or_default() += 1;
    }
    tx.commit().await.unwrap();
    expected.into_iter().collect()
}

/// The counts of the page are the rule's, for every mix of people.
#[tokio::test]
async fn who_is_left_out_is_what_the_rule_says() {
    let free = || Some(TierId::from("free"));
    for (of, lapsed, extra) in
        [(&TIERS[..], free(), None), (&TIERS[1..3], free(), None), (&TIERS[2..3], None, Some(0))]
    {
        let audience = Audience {
            tiers: of.iter().map(|tier| TierId::from(*tier)).collect(),
            lapsed,
            extra_limits: of.iter().filter_map(|tier| Some((TierId::from(*tier), extra?))).collect(),
        };
        let audience = &audience;
        on_every_store(|store| async move {
            let strategy =
                proptest::collection::vec((0..4usize, 0..3u8, 0..4u8, any::<bool>(), 0..4u8), 150..151);
            let mut runner = proptest::test_runner::TestRunner::deterministic();
            let mixes: Vec<Mix> = strategy.new_tree(&mut runner).unwrap().current();
            let expected = by_the_rule(&store, &mixes, audience).await;
            let lapsed = audience.lapsed.as_ref();
            let mut counts = BTreeMap::new();
            for tier in &audience.tiers {
                let mut tx = store.read().await.unwrap();
                let count = people::count_entitled(&mut tx, tier, lapsed, extra, TUESDAY).await.unwrap();
                counts.insert(tier.0.clone(), count);
            }
            assert_eq!(look::left_out(&store, lapsed, &counts, TUESDAY).await.unwrap(), expected);
        })
        .await;
    }
}
