//! T3, relay moods: a relay that recycles, throttles, defers and refuses in one edition. That sending slows down after the 454 is
//! told where limits are tested.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use tidings::domain::edition::EditionState;
use tidings::domain::settings::OnUncertain;
use tidings::domain::suppression::SuppressionReason;
use tidings::runtime::{Clock, Timestamp};
use tidings::store::{deliveries, suppressions};

use crate::support::clock::TUESDAY;
use crate::support::peer::{Do, Moment, Peer, Stage};
use crate::support::sending::{FIRST_RETRY, Sending, queued_edition};
use crate::support::stores::TestStore;

const TENTH: &str = "p00009@x.example";
const TWENTIETH: &str = "p00019@x.example";
const TWENTY_FIFTH: &str = "p00024@x.example";

/// 421 after every third mail of a session: `recycle` says it at the fourth MAIL or right behind the third 250.
fn moods(recycle: Stage) -> impl Fn(&Moment) -> Do + Send + Sync {
    let met: Mutex<BTreeMap<&str, u32>> = Mutex::default();
    let again = move |who: &'static str, times: u32| {
        let mut met = met.lock().unwrap();
        let count = met.entry(who).or_default();
        *count += 1;
        *count <= times
    };
    move |moment| match (moment.stage, moment.to.as_str()) {
        (Stage::Mail, _) if recycle == Stage::Mail && moment.message > 3 => {
            Do::SayAndClose("421 4.7.0 too many messages in this session")
        }
        (Stage::Rcpt, TWENTIETH) if again(TWENTIETH, 1) => Do::Say("451 try again in 2 minutes"),
        (Stage::Rcpt, TWENTY_FIFTH) => Do::Say("550 5.1.1 no such user"),
        (Stage::Dot, TENTH) if again(TENTH, 2) => {
            Do::Say("454 Throttling failure: Maximum sending rate exceeded")
        }
        (Stage::Dot, _) if recycle == Stage::Dot && moment.message == 3 => {
            Do::GoAndClose("421 4.7.0 too many messages in this session")
        }
        _ => Do::Go,
    }
}

/// When each recipient's mail was taken.
fn note(peer: &Peer, now: Timestamp, seen: &mut BTreeMap<String, Timestamp>) {
    for mail in peer.taken().into_iter().filter(|mail| mail.acknowledged) {
        seen.entry(mail.to).or_insert(now);
    }
}

#[tokio::test]
async fn t3_relay_moods() {
    for recycle in [Stage::Mail, Stage::Dot] {
        let test = TestStore::sqlite().await;
        let peer = Peer::start(&["PIPELINING"], moods(recycle)).await;
        let sending = Sending::start(&test.store, &peer, OnUncertain::Resend).await;
        queued_edition(&test.store, 30).await;
        let mut seen = BTreeMap::new();
        for _ in 0..60 {
            sending.drain().await;
            note(&peer, sending.clock.now(), &mut seen);
            sending.clock.advance(Duration::from_secs(30));
        }

        let taken = peer.taken();
        assert_eq!(taken.len(), 29, "once each");
        assert_eq!(seen.len(), 29);
        assert!(!seen.contains_key(TWENTY_FIFTH));
        assert!(seen[TWENTIETH].since(TUESDAY) >= Duration::from_secs(120), "{:?}", seen[TWENTIETH]);
        assert!(seen[TENTH].since(TUESDAY) >= FIRST_RETRY, "two deferrals, two waits");

        let mut tx = test.store.read().await.unwrap();
        let listed = suppressions::list(&mut tx).await.unwrap();
        let rows = deliveries::list(&mut tx, Some("weekly"), None, 0, 50).await.unwrap();
        drop(tx);
        assert_eq!(listed.len(), 1);
        assert_eq!(
            (listed[0].address.as_str(), listed[0].reason),
            (TWENTY_FIFTH, SuppressionReason::HardBounce)
        );
        // A recycled connection costs nobody a try.
        for row in &rows {
            let tries = match row.address.as_str() {
                TENTH => 3,
                TWENTIETH => 2,
                _ => 1,
            };
            assert_eq!(row.attempt, tries, "{row:?}");
        }
        sending.tidy(sending.clock.now()).await;
        let edition = sending.edition().await;
        assert_eq!(
            (edition.state, edition.counts.accepted, edition.counts.refused),
            (EditionState::Sent, 29, 1)
        );
    }
}
