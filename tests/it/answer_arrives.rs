//! The straight line in: an answer becomes a thread that support reads, and staff are told.

use std::time::Duration;

use tidings::domain::delivery::DeliveryState;
use tidings::domain::inbound::InboundState;
use tidings::domain::subscriber::SubscriberStatus;
use tidings::domain::thread::{PostKind, ThreadState};
use tidings::domain::token::Purpose;
use tidings::domain::verdict::Verdict;
use tidings::store::{Store, deliveries, people, threads};
use tidings::tasks::receive::Recorded;

use crate::support::clock::TUESDAY;
use crate::support::receiving::{Receiving, message};
use crate::support::sending::queued_edition;
use crate::support::stores::on_every_store;

/// The delivery of the person with this number.
async fn delivery(store: &Store, number: usize) -> i64 {
    let rows =
        deliveries::list(&mut store.read().await.unwrap(), Some("weekly"), None, 0, 100).await.unwrap();
    rows[number].id
}

async fn notices(store: &Store) -> Vec<deliveries::DeliveryRow> {
    let queued = Some(DeliveryState::Queued);
    let rows = deliveries::list(&mut store.read().await.unwrap(), None, queued, 0, 100).await.unwrap();
    rows.into_iter()
        .filter(|row| row.kind == "notice" && row.address.ends_with("@staff.example.net"))
        .collect()
}

#[tokio::test]
async fn an_answer_opens_a_thread_and_the_next_one_continues_it() {
    on_every_store(|store| async move {
        queued_edition(&store, 2).await;
        let line = Receiving::start(&store).await;
        let to = line.address(Purpose::Edition, delivery(&store, 0).await, 0);
        let from = "Ana <p00000@x.example>";
        let first = message(from, "m1@x.example", "", "Does it fit?\n\nNews wrote:\n> words");
        let row = line.take(&to.to_uppercase(), "p00000@x.example", &first).await;
        assert_eq!((row.verdict, row.state), (Some(Verdict::SupportMessage), InboundState::Done));

        let threads = line.threads().await;
        assert_eq!(threads.len(), 1);
        let thread = &threads[0];
        assert_eq!((thread.state, thread.subject.as_str()), (ThreadState::Open, "Make it smaller"));
        assert_eq!((thread.tier.as_deref(), thread.edition.as_deref()), (Some("free"), Some("weekly")));
        let posts = line.posts(thread.thread).await;
        assert_eq!((posts[0].kind, posts[0].text.trim()), (PostKind::Subscriber, "Does it fit?"));
        assert!(posts[0].folded.contains("> words"), "folded, never deleted");
        let told = notices(&store).await;
        assert_eq!((told.len(), told[0].address.as_str()), (1, "mira@staff.example.net"));

        // The second one cites the first, and comes to the plain address.
        let cites = "In-Reply-To: <m1@x.example>\r\n";
        let second = message(from, "m2@x.example", cites, "And on a phone?");
        line.take("support@news.example.org", "p00000@x.example", &second).await;
        // The third one answers the edition again.
        let third = message(from, "m3@x.example", "", "One more thing.");
        line.take(&to, "p00000@x.example", &third).await;
        assert_eq!(line.threads().await.len(), 1);
        assert_eq!(line.posts(thread.thread).await.len(), 4, "three of hers and one automatic");
        let waiting = line.threads().await[0].waiting_since;
        assert_eq!(waiting, Some(TUESDAY), "it waits since the first word");
    })
    .await;
}

#[tokio::test]
async fn the_same_bytes_for_the_same_recipient_are_recorded_once() {
    on_every_store(|store| async move {
        let line = Receiving::start(&store).await;
        let raw = message("ana@x.example", "m1@x.example", "", "Hello");
        assert!(matches!(line.record("support@news.example.org", "", &raw).await, Recorded::New(_)));
        assert_eq!(line.record("support@news.example.org", "", &raw).await, Recorded::Known);
        // A reused Message-ID is another message all the same.
        let other = message("ana@x.example", "m1@x.example", "", "Hello again");
        assert!(matches!(line.record("support@news.example.org", "", &other).await, Recorded::New(_)));
    })
    .await;
}

#[tokio::test]
async fn a_stranger_with_somebody_elses_token_gets_a_thread_of_their_own() {
    on_every_store(|store| async move {
        queued_edition(&store, 2).await;
        let line = Receiving::start(&store).await;
        let ana = message("p00000@x.example", "m1@x.example", "", "My question");
        let to = line.address(Purpose::Edition, delivery(&store, 0).await, 0);
        line.take(&to, "p00000@x.example", &ana).await;
        let thread = line.threads().await[0].thread;
        let into = line.address(Purpose::Thread, thread, 0);
        let cites = "In-Reply-To: <m1@x.example>\r\n";
        let nosy = message("nosy@x.example", "m2@x.example", cites, "Let me see");
        line.take(&into, "nosy@x.example", &nosy).await;
        let threads = line.threads().await;
        assert_eq!(threads.len(), 2);
        assert_eq!(line.posts(thread).await.len(), 2, "her question and the automatic answer");
        let own = threads.iter().find(|row| row.thread != thread).unwrap();
        assert_eq!((own.subscriber.as_str(), own.tier.as_deref()), ("nosy@x.example", None));
    })
    .await;
}

#[tokio::test]
async fn w52_a_program_opens_nothing_and_reopens_nothing() {
    on_every_store(|store| async move {
        queued_edition(&store, 1).await;
        let line = Receiving::start(&store).await;
        let to = line.address(Purpose::Edition, delivery(&store, 0).await, 0);
        let away = "Auto-Submitted: auto-replied (vacation)\r\n";
        let first = message("p00000@x.example", "m1@x.example", away, "I am away");
        let row = line.take(&to, "", &first).await;
        assert_eq!((row.verdict, row.thread), (Some(Verdict::AutoReply), None));
        assert!(row.reason.contains("auto"), "{}", row.reason);
        assert!(line.threads().await.is_empty());

        let asked = message("p00000@x.example", "m2@x.example", "", "A question");
        line.take(&to, "p00000@x.example", &asked).await;
        let told = notices(&store).await.len();
        let again = message("p00000@x.example", "m3@x.example", away, "Still away");
        let row = line.take(&to, "", &again).await;
        let thread = line.threads().await[0].thread;
        assert_eq!((row.verdict, row.thread), (Some(Verdict::AutoReply), Some(thread)));
        let kinds: Vec<_> = line.posts(thread).await.into_iter().map(|post| post.kind).collect();
        assert_eq!(
            kinds,
            [PostKind::Subscriber, PostKind::Automatic, PostKind::Automatic],
            "ours, and the program's"
        );
        assert_eq!(notices(&store).await.len(), told, "nobody is told of a program's words");
    })
    .await;
}

#[tokio::test]
async fn our_own_mail_is_a_loop() {
    on_every_store(|store| async move {
        let line = Receiving::start(&store).await;
        let own = message("support@news.example.org", "m.abc@news.example.org", "", "Hello");
        let row = line.take("support@news.example.org", "support@news.example.org", &own).await;
        assert_eq!((row.verdict, row.thread), (Some(Verdict::Loop), None));
        assert!(line.threads().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn w44_an_unsubscribe_by_mail_names_the_tokens_owner_whatever_the_from_says() {
    on_every_store(|store| async move {
        queued_edition(&store, 2).await;
        let line = Receiving::start(&store).await;
        let person =
            people::by_key(&mut store.read().await.unwrap(), "p00001@x.example").await.unwrap().unwrap();
        let to = line.address(Purpose::Unsubscribe, person.id, 0);
        let robot = "Auto-Submitted: auto-replied\r\n";
        let raw = message("forged@y.example", "m1@y.example", robot, "unsubscribe");
        let row = line.take(&to, "forged@y.example", &raw).await;
        assert_eq!(row.verdict, Some(Verdict::Unsubscribe));
        let mut tx = store.read().await.unwrap();
        let gone = people::by_key(&mut tx, "p00001@x.example").await.unwrap().unwrap();
        let stays = people::by_key(&mut tx, "p00000@x.example").await.unwrap().unwrap();
        use SubscriberStatus::{Active, Unsubscribed};
        assert_eq!((gone.status, stays.status), (Unsubscribed, Active));
        assert!(line.threads().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_message_that_nobody_can_read_stops_no_other() {
    on_every_store(|store| async move {
        let line = Receiving::start(&store).await;
        let junk: Vec<u8> = (0..4000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let Recorded::New(bad) = line.record("support@news.example.org", "x@y.example", &junk).await else {
            panic!("known")
        };
        let good = message("ana@x.example", "m1@x.example", "", "Nul\0 and bell\u{7} and words");
        line.take("support@news.example.org", "ana@x.example", &good).await;
        let row = line.inbound(bad).await;
        assert_ne!(row.state, InboundState::Received, "{row:?}");
        assert!(!row.reason.is_empty());
        let thread =
            line.threads().await.iter().find(|row| row.subscriber == "ana@x.example").unwrap().thread;
        let text = line.posts(thread).await[0].text.clone();
        assert!(!text.contains('\0') && text.contains("and words"), "{text:?}");
    })
    .await;
}

#[tokio::test]
async fn an_old_conversation_about_an_edition_is_not_dug_up() {
    on_every_store(|store| async move {
        queued_edition(&store, 1).await;
        let line = Receiving::start(&store).await;
        let to = line.address(Purpose::Edition, delivery(&store, 0).await, 0);
        let first = message("p00000@x.example", "m1@x.example", "", "First");
        line.take(&to, "p00000@x.example", &first).await;
        let later = TUESDAY + Duration::from_secs(30 * 86_400);
        let second = message("p00000@x.example", "m2@x.example", "", "A month later");
        line.take_at(&to, "p00000@x.example", &second, later).await;
        assert_eq!(line.threads().await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_address_that_we_would_not_mail_still_gets_a_conversation() {
    on_every_store(|store| async move {
        let line = Receiving::start(&store).await;
        let odd = message("Bob <bob@my_host.example>", "m1@x.example", "", "Hello");
        let row = line.take("support@news.example.org", "bob@my_host.example", &odd).await;
        assert_eq!((row.state, row.verdict), (InboundState::Done, Some(Verdict::SupportMessage)));
        let nameless = b"Subject: no From\r\nMessage-ID: <m2@x.example>\r\n\r\nHello\r\n";
        let row = line.take("support@news.example.org", "eve@x.example", nameless).await;
        assert_eq!((row.state, row.verdict), (InboundState::Done, Some(Verdict::SupportMessage)));
        let senders: Vec<String> = line.threads().await.into_iter().map(|thread| thread.subscriber).collect();
        assert_eq!(senders, ["bob@my_host.example", "eve@x.example"]);
    })
    .await;
}

#[tokio::test]
async fn a_long_subject_silences_nobody() {
    on_every_store(|store| async move {
        queued_edition(&store, 1).await;
        let line = Receiving::start(&store).await;
        let raw = format!(
            "From: p00000@x.example\r\nSubject: {}\r\nMessage-ID: <m1@x>\r\n\r\nHi\r\n",
            "long ".repeat(400)
        );
        line.take("support@news.example.org", "p00000@x.example", raw.as_bytes()).await;
        let told = notices(&store).await;
        assert_eq!(told.len(), 1);
        let mut tx = store.read().await.unwrap();
        let body = deliveries::origin(&mut tx, told[0].id).await.unwrap().unwrap();
        assert!(body.thread_id.is_some());
        drop(tx);
        let peer = crate::support::peer::Peer::willing().await;
        let retry = tidings::domain::settings::OnUncertain::Resend;
        let sending = crate::support::sending::Sending::start(&store, &peer, retry).await;
        sending.drain().await;
        let taken = peer.taken().into_iter().find(|mail| mail.to == "mira@staff.example.net");
        assert!(taken.is_some(), "the notice leaves");
    })
    .await;
}

#[tokio::test]
async fn a_crowd_of_strangers_does_not_fill_the_staffs_mailboxes() {
    on_every_store(|store| async move {
        let line = Receiving::start(&store).await;
        for number in 0..30 {
            let from = format!("s{number}@x.example");
            let raw = message(&from, &format!("m{number}@x.example"), "", "Buy");
            line.take("support@news.example.org", &from, &raw).await;
        }
        assert_eq!((line.threads().await.len(), notices(&store).await.len()), (30, 20));
    })
    .await;
}

/// Only what strangers write counts, not what the desk says in their conversations.
#[tokio::test]
async fn what_staff_writes_to_strangers_silences_none_of_them() {
    on_every_store(|store| async move {
        let line = Receiving::start(&store).await;
        let first = message("s@x.example", "m@x.example", "", "Where is it?");
        line.take("support@news.example.org", "s@x.example", &first).await;
        let before = notices(&store).await.len();
        let mut tx = store.write().await.unwrap();
        for _ in 0..30 {
            let note = threads::NewPost {
                thread: 1,
                kind: PostKind::Note,
                from_name: "Mira",
                from_address: "mira@staff.example.net",
                text: "Looking.",
                folded: "",
                message_id: None,
                inbound_id: None,
                staff_id: None,
                attachments: &[],
            };
            threads::add_post(&mut tx, &note, TUESDAY).await.unwrap();
        }
        tx.commit().await.unwrap();
        let second = message("t@x.example", "n@x.example", "", "Where is mine?");
        line.take("support@news.example.org", "t@x.example", &second).await;
        assert_eq!(notices(&store).await.len(), before + 1);
    })
    .await;
}

#[tokio::test]
async fn a_forged_mail_from_ourselves_opens_nothing() {
    on_every_store(|store| async move {
        let line = Receiving::start(&store).await;
        let raw = message("weekly@news.example.org", "m1@elsewhere.example", "", "Hello");
        let row = line.take("support@news.example.org", "x@elsewhere.example", &raw).await;
        assert_eq!((row.verdict, line.threads().await.len()), (Some(Verdict::Loop), 0));
    })
    .await;
}
