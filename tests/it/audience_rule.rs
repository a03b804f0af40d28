//! The rule of who gets what, as a value and as SQL: the same answer for every mix of people.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use tidings::domain::entitlement::{Audience, Person};
use tidings::domain::publication::TierId;
use tidings::domain::subscriber::{Subscriber, SubscriberStatus};
use tidings::domain::suppression::SuppressionReason;
use tidings::runtime::Timestamp;
use tidings::store::{Store, deliveries, editions, people, suppressions};

use crate::support::clock::TUESDAY;
use crate::support::sending::{edition, subscriber};
use crate::support::stores::on_every_store;

const TIERS: [&str; 4] = ["free", "monthly", "yearly", "lifetime"];

type Mix = (usize, u8, u8, bool, u8);

fn mixes() -> impl Strategy<Value = Vec<Mix>> {
    proptest::collection::vec((0..TIERS.len(), 0..3u8, 0..4u8, any::<bool>(), 0..4u8), 1..60)
}

fn person((tier, status, ends, ..): Mix, number: usize) -> Subscriber {
    let statuses = [SubscriberStatus::Active, SubscriberStatus::Pending, SubscriberStatus::Unsubscribed];
    Subscriber {
        status: statuses[usize::from(status)],
        term_ends_at: shifted(ends),
        ..subscriber(&format!("p{number:04}@x.example"), TIERS[tier])
    }
}

/// Not at all, just before, at, or just after the moment of queueing.
fn shifted(how: u8) -> Option<Timestamp> {
    let shift: Option<i64> = [None, Some(-1), Some(0), Some(1)][usize::from(how)];
    shift.map(|shift| Timestamp(TUESDAY.millis() + shift))
}

/// Queues the edition for these people and compares who is in it, and with whose body, with the rule.
async fn agree(store: &Store, mixes: &[Mix], tiers: &[&str], lapsed: Option<TierId>, slug: &str) {
    let everyone: Vec<Subscriber> =
        mixes.iter().enumerate().map(|(number, mix)| person(*mix, number)).collect();
    let audience = Audience {
        tiers: tiers.iter().map(|tier| TierId::from(*tier)).collect(),
        lapsed: lapsed.clone(),
        extra_limits: BTreeMap::new(),
    };
    let mut tx = store.write().await.unwrap();
    people::add_many(&mut tx, &everyone.iter().collect::<Vec<_>>(), "test", "", TUESDAY).await.unwrap();
    let mut expected = BTreeMap::new();
    for (someone, mix) in everyone.iter().zip(mixes) {
        let suppression = mix.3.then_some(SuppressionReason::Complaint);
        if let Some(reason) = suppression {
            suppressions::add(&mut tx, &someone.address, reason, "test", TUESDAY).await.unwrap();
        }
        let paused_until = shifted(mix.4);
        if paused_until.is_some() {
            let key = someone.address.key();
            let id = people::by_key(&mut tx, &key).await.unwrap().unwrap().id;
            people::pause(&mut tx, id, paused_until, TUESDAY).await.unwrap();
        }
        let known = Person {
            status: someone.status,
            tier: someone.tier.clone(),
            term_ends_at: someone.term_ends_at,
            suppression,
            paused_until,
            extras_used: 0,
        };
        if let Ok(tier) = audience.body_for(&known, TUESDAY) {
            expected.insert(someone.address.to_string(), tier.to_string());
        }
    }
    let new = editions::NewEdition { lapsed, ..edition(slug, tiers) };
    let queued = editions::queue(&mut tx, &new, TUESDAY).await.unwrap().unwrap();
    let rows = deliveries::list(&mut tx, Some(slug), None, 0, 1000).await.unwrap();
    // Rolled back: the next mix starts with an empty store.
    drop(tx);
    let found: BTreeMap<String, String> =
        rows.into_iter().map(|row| (row.address, row.tier.unwrap_or_default())).collect();
    assert_eq!(found, expected);
    assert_eq!(queued.audience as usize, found.len());
}

#[tokio::test]
async fn sql_and_rule_agree() {
    on_every_store(|store| async move {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        for round in 0..24 {
            let mixes = mixes().new_tree(&mut runner).unwrap().current();
            let slug = format!("e{round}");
            agree(&store, &mixes, &TIERS, Some("free".into()), &slug).await;
            agree(&store, &mixes, &["monthly", "yearly"], Some("free".into()), &slug).await;
            agree(&store, &mixes, &["yearly"], None, &slug).await;
        }
    })
    .await;
}
