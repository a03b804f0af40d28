//! Automatic mail is answered by nothing: two desks that answer each other, and people who are away, get one automatic mail at most.

use std::time::Duration;

use tidings::domain::settings::OnUncertain;
use tidings::domain::thread::{PostKind, ThreadState};
use tidings::domain::verdict::Verdict;
use tidings::mail::parse::{Parsed, parse};
use tidings::runtime::Timestamp;
use tidings::store::{Store, people};

use crate::support::clock::TUESDAY;
use crate::support::peer::Peer;
use crate::support::receiving::{Receiving, message};
use crate::support::sending::{Sending, queued_edition, subscriber};
use crate::support::stores::on_every_store;

/// A reader of the free tier.
const DESK: &str = "p00000@x.example";
/// Somebody who pays for answers.
const PAYS: &str = "pays@x.example";

struct World {
    line: Receiving,
    sending: Sending,
    peer: Peer,
}

impl World {
    async fn start(store: &Store) -> World {
        queued_edition(store, 1).await;
        let mut tx = store.write().await.unwrap();
        people::add_many(&mut tx, &[&subscriber(PAYS, "yearly")], "test", "", TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        let peer = Peer::willing().await;
        let sending = Sending::start(store, &peer, OnUncertain::Resend).await;
        let world = World { line: Receiving::start(store).await, sending, peer };
        world.sending.drain().await;
        world
    }

    async fn take(&self, to: &str, from: &str, raw: &[u8], now: Timestamp) -> Option<Verdict> {
        let row = self.line.take_at(to, from, raw, now).await;
        self.sending.clock.set(now);
        self.sending.drain().await;
        row.verdict
    }

    /// Our automatic mails to an address.
    fn automatic(&self, to: &str) -> Vec<Parsed> {
        let mails = self.peer.taken().into_iter().filter(|mail| mail.to == to);
        mails.map(|mail| parse(&mail.bytes)).filter(|mail| mail.field("auto-submitted").is_some()).collect()
    }
}

const SUPPORT: &str = "support@news.example.org";

#[tokio::test]
async fn two_desks_exchange_one_automatic_mail() {
    on_every_store(|store| async move {
        let world = World::start(&store).await;
        let edition = parse(&world.peer.taken()[0].bytes);
        let to = edition.field("reply-to").unwrap().to_owned();
        // Their desk says nothing of being one, and answers whatever it gets.
        let first = message(DESK, "t0@desk.example", "", "We have received your request.");
        assert_eq!(world.take(&to, DESK, &first, TUESDAY).await, Some(Verdict::SupportMessage));
        assert_eq!(world.automatic(DESK).len(), 1);
        for round in 1..6 {
            let ours = world.automatic(DESK).pop().unwrap();
            let to = ours.field("reply-to").unwrap().to_owned();
            let now = Timestamp(TUESDAY.millis() + round * 60_000);
            let cites = format!("In-Reply-To: <{}>\r\n", ours.message_id.unwrap());
            let again =
                message(DESK, &format!("t{round}@desk.example"), &cites, "We have received your request.");
            world.take(&to, DESK, &again, now).await;
            // And once more as if it were a new matter: no address of ours with a token, nothing cited.
            let fresh =
                message(DESK, &format!("n{round}@desk.example"), "", &format!("Ticket {round} was opened."));
            world.take(SUPPORT, DESK, &fresh, now).await;
        }
        assert_eq!(world.automatic(DESK).len(), 1, "one, however often it answers");
        let mail = &world.automatic(DESK)[0];
        assert_eq!(mail.field("auto-submitted"), Some("auto-replied"));
        assert_eq!(mail.field("x-auto-response-suppress"), Some("All"));
        assert_eq!(mail.field("precedence"), Some("bulk"));
        assert_eq!(mail.field("x-loop"), Some(SUPPORT));
        assert_eq!(mail.in_reply_to, ["t0@desk.example"]);
        // Our own mark sent back is a loop, and a day later another matter may get an answer again.
        let looped = message(SUPPORT, "l@desk.example", &format!("X-Loop: {SUPPORT}\r\n"), "x");
        assert_eq!(world.take(SUPPORT, DESK, &looped, TUESDAY).await, Some(Verdict::Loop));
        let later = TUESDAY + Duration::from_secs(86_500);
        world.take(SUPPORT, DESK, &message(DESK, "d@desk.example", "", "Hello"), later).await;
        assert_eq!(world.automatic(DESK).len(), 2);
    })
    .await;
}

#[tokio::test]
async fn who_is_away_gets_none_and_opens_nothing() {
    on_every_store(|store| async move {
        let world = World::start(&store).await;
        let ask = message(PAYS, "q1@x.example", "", "Does it fit?");
        world.take(SUPPORT, PAYS, &ask, TUESDAY).await;
        assert_eq!(world.automatic(PAYS).len(), 1);
        let ours = world.automatic(PAYS).pop().unwrap();
        let to = ours.field("reply-to").unwrap().to_owned();
        for (number, header) in
            ["Auto-Submitted: auto-replied", "Precedence: bulk", "X-Autoreply: yes"].into_iter().enumerate()
        {
            for to in [to.as_str(), SUPPORT] {
                let raw = message(
                    PAYS,
                    &format!("v{number}{}@x.example", to.len()),
                    &format!("{header}\r\n"),
                    "I am away.",
                );
                assert_eq!(world.take(to, "", &raw, TUESDAY).await, Some(Verdict::AutoReply));
            }
        }
        assert_eq!(world.automatic(PAYS).len(), 1);
        let threads = world.line.threads().await;
        assert_eq!((threads.len(), threads[0].state), (1, ThreadState::Open));
        let kinds: Vec<PostKind> =
            world.line.posts(threads[0].thread).await.into_iter().map(|post| post.kind).collect();
        assert_eq!(kinds[..2], [PostKind::Subscriber, PostKind::Automatic]);
        assert!(kinds[1..].iter().all(|kind| *kind == PostKind::Automatic), "{kinds:?}");
    })
    .await;
}

#[tokio::test]
async fn a_tier_without_answers_is_told_the_truth_and_a_stranger_nothing() {
    on_every_store(|store| async move {
        let world = World::start(&store).await;
        world.take(SUPPORT, PAYS, &message(PAYS, "q1@x.example", "", "Does it fit?"), TUESDAY).await;
        let paid = &world.automatic(PAYS)[0].text;
        assert!(paid.contains("a person will read it and answer you"), "{paid}");
        world.take(SUPPORT, DESK, &message(DESK, "q2@x.example", "", "Does it fit?"), TUESDAY).await;
        let free = world.automatic(DESK)[0].text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(free.contains("please do not wait for one"), "{free}");
        // Forged or not, nobody whom we do not know hears from a program of ours.
        world
            .take(SUPPORT, "eve@y.example", &message("eve@y.example", "q3@y.example", "", "Hello"), TUESDAY)
            .await;
        assert!(world.automatic("eve@y.example").is_empty());
        // People whose mail asks for no automatic answer get none; their words count all the same.
        for (number, header) in
            ["X-Auto-Response-Suppress: OOF, AutoReply", "List-Id: <l.x.example>"].into_iter().enumerate()
        {
            let from = format!("quiet{number}@x.example");
            let mut tx = store.write().await.unwrap();
            people::add_many(&mut tx, &[&subscriber(&from, "yearly")], "test", "", TUESDAY).await.unwrap();
            tx.commit().await.unwrap();
            let raw =
                message(&from, &format!("s{number}@x.example"), &format!("{header}\r\n"), "Does it fit?");
            assert_eq!(world.take(SUPPORT, &from, &raw, TUESDAY).await, Some(Verdict::SupportMessage));
            assert!(world.automatic(&from).is_empty(), "{header}");
        }
    })
    .await;
}
