//! Mail that comes back and readers who complain: who is not mailed any more, once, and what stops. Each story on both stores.

use tidings::domain::edition::EditionState;
use tidings::domain::subscriber::SubscriberStatus;
use tidings::domain::suppression::SuppressionReason;
use tidings::domain::token::{Purpose, Subject};
use tidings::domain::verdict::Verdict;
use tidings::render::ReportEvent;
use tidings::store::suppressions::{self, Word};
use tidings::store::{Store, bodies, bounces, editions, lanes, people};
use tidings::tasks::report::{Report, Reporter};

use crate::support::clock::TUESDAY;
use crate::support::peer::{Do, Moment, Peer, Stage};
use crate::support::receiving::Receiving;
use crate::support::returns::{DAY, WEEK, World, complaint, dsn, gone};
use crate::support::stores::on_every_store;

#[tokio::test]
async fn w143_a_hard_bounce_with_our_token_suppresses_at_once_and_the_next_edition_goes_elsewhere() {
    on_every_store(|store| async move {
        let world = World::start(&store, 3).await;
        world.send("weekly", TUESDAY.millis()).await;
        let delivery = world.delivery("weekly", 1).await;
        let row = world.report(delivery, &gone("p00001@x.example"), TUESDAY.millis() + 1000).await;
        assert_eq!(row.verdict, Some(Verdict::BounceHard));
        assert_eq!(row.reason, "delivery report: delivery-status: 5.1.1 no_such_mailbox");
        assert_eq!(world.suppression("p00001@x.example").await, Some(SuppressionReason::HardBounce));
        assert_eq!(world.suppressed().await, 1);

        world.send("next", TUESDAY.millis() + WEEK).await;
        let mut tx = store.read().await.unwrap();
        let row = editions::show(&mut tx, "next").await.unwrap().unwrap();
        assert_eq!((row.counts.accepted, row.audience), (2, 2), "who is suppressed is not in the audience");
        let back = bounces::of_edition(&mut tx, "weekly").await.unwrap();
        assert_eq!((back.len(), back[0].hard, back[0].soft, back[0].complaints), (1, 1, 0, 0));
    })
    .await;
}

#[tokio::test]
async fn w129_forged_reports_change_nobody() {
    on_every_store(|store| async move {
        let world = World::start(&store, 2).await;
        world.send("weekly", TUESDAY.millis()).await;
        let raw = gone("p00000@x.example");
        let forged = ["bounce+aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@news.example.org", "support@news.example.org"];
        for to in forged {
            let row = world.line.take(to, "", raw.as_bytes()).await;
            assert_eq!(row.verdict, Some(Verdict::AutoReply), "{}", row.reason);
        }
        // A token of another purpose is no return path, and one of a mail that was never sent names nothing.
        let to = world.line.address(Purpose::Thread, 1, 0);
        assert_eq!(world.line.take(&to, "", raw.as_bytes()).await.verdict, Some(Verdict::AutoReply));
        let to = world.line.address(Purpose::Bounce, 999, 0);
        assert_eq!(world.line.take(&to, "", raw.as_bytes()).await.verdict, Some(Verdict::AutoReply));
        let proof = world.line.address(Purpose::Bounce, -1, 0);
        assert_eq!(world.line.take(&proof, "", raw.as_bytes()).await.verdict, Some(Verdict::AutoReply));
        assert_eq!(world.suppressed().await, 0);
        assert!(world.line.threads().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn w143_what_is_in_doubt_needs_a_second_time() {
    on_every_store(|store| async move {
        let world = World::start(&store, 3).await;
        world.send("weekly", TUESDAY.millis()).await;
        // One with a sender in its envelope, one about another address, one in words.
        let first = world.delivery("weekly", 0).await;
        let to = world.line.address(Purpose::Bounce, first, 0);
        let row = world.line.take(&to, "postmaster@x.example", gone("p00000@x.example").as_bytes()).await;
        assert_eq!(row.verdict, Some(Verdict::BounceSoft), "{}", row.reason);
        let second = world.delivery("weekly", 1).await;
        let row = world.report(second, &gone("elsewhere@y.example"), TUESDAY.millis()).await;
        assert!(row.reason.ends_with("because it names another recipient"), "{}", row.reason);
        let qmail = "From: MAILER-DAEMON@y.example\r\nSubject: failure notice\r\n\r\n\
            Hi. This is the qmail-send program at y.example.\r\nI wasn't able to deliver your message.\r\n\r\n\
            <p00002@x.example>:\r\nSorry, no mailbox here by that name. (#5.1.1)\r\n\r\n--- Below this line\r\n";
        let third = world.delivery("weekly", 2).await;
        let row = world.report(third, qmail, TUESDAY.millis()).await;
        assert_eq!(row.verdict, Some(Verdict::BounceSoft), "{}", row.reason);
        assert_eq!(world.suppressed().await, 0);

        world.send("next", TUESDAY.millis() + WEEK).await;
        for number in 0..3 {
            let delivery = world.delivery("next", number).await;
            world.report(delivery, &gone("elsewhere@y.example"), TUESDAY.millis() + WEEK).await;
        }
        assert_eq!(world.suppressed().await, 3, "twice within a month");
    })
    .await;
}

#[tokio::test]
async fn w144_the_fifth_soft_bounce_in_a_row_suppresses() {
    on_every_store(|store| async move {
        let world = World::start(&store, 2).await;
        let full = |address: &str| dsn(address, "failed", "5.2.2", "smtp; 552 5.2.2 mailbox full", "");
        for week in 0..6 {
            let at = TUESDAY.millis() + week * WEEK;
            let slug = if week == 0 { "weekly".to_owned() } else { format!("week-{week}") };
            world.send(&slug, at).await;
            let delivery = world.delivery(&slug, 0).await;
            let row = world.report(delivery, &full("p00000@x.example"), at + 1000).await;
            assert_eq!(row.verdict, Some(Verdict::BounceSoft), "{}", row.reason);
            // The other one's third issue came through.
            if week != 2 {
                let delivery = world.delivery(&slug, 1).await;
                world.report(delivery, &full("p00001@x.example"), at + 1000).await;
            }
            let expected = (week >= 4).then_some(SuppressionReason::SoftLimit);
            assert_eq!(world.suppression("p00000@x.example").await, expected, "week {week}");
            if week == 4 {
                break;
            }
        }
        assert_eq!(world.suppression("p00001@x.example").await, None);
    })
    .await;
}

#[tokio::test]
async fn w147_the_same_failure_told_twice_is_one() {
    on_every_store(|store| async move {
        let world = World::start(&store, 2).await;
        world.send("weekly", TUESDAY.millis()).await;
        let delivery = world.delivery("weekly", 0).await;
        let soft = dsn("p00000@x.example", "failed", "5.2.2", "smtp; 552 5.2.2 full", "");
        for raw in [soft.clone(), soft.replace("Undelivered", "Again"), gone("p00000@x.example")] {
            world.report(delivery, &raw, TUESDAY.millis()).await;
        }
        let back = bounces::of_edition(&mut store.read().await.unwrap(), "weekly").await.unwrap();
        assert_eq!((back[0].hard, back[0].soft), (1, 0), "the worst that was said counts, once");
        assert_eq!(world.suppression("p00000@x.example").await, Some(SuppressionReason::HardBounce));
        // What was hard stays hard, whatever comes later.
        world.report(delivery, &soft.replace("Undelivered", "Late"), TUESDAY.millis()).await;
        let back = bounces::of_edition(&mut store.read().await.unwrap(), "weekly").await.unwrap();
        assert_eq!((back[0].hard, back[0].soft), (1, 0));
    })
    .await;
}

#[tokio::test]
async fn w139_a_second_bare_550_a_day_later_suppresses() {
    on_every_store(|store| async move {
        let refuse = |moment: &Moment| match moment.stage {
            Stage::Rcpt => Do::Say("550 no"),
            _ => Do::Go,
        };
        let world = World::with(&store, 1, &Peer::start(&[], refuse).await).await;
        world.send("weekly", TUESDAY.millis()).await;
        assert_eq!(world.suppressed().await, 0);
        world.send("soon", TUESDAY.millis() + DAY / 2).await;
        assert_eq!(world.suppressed().await, 0, "it may be the same trouble");
        world.send("later", TUESDAY.millis() + DAY + 1).await;
        assert_eq!(world.suppression("p00000@x.example").await, Some(SuppressionReason::HardBounce));
    })
    .await;
}

#[tokio::test]
async fn w132_w148_what_is_no_failure_changes_nothing() {
    on_every_store(|store| async move {
        let world = World::start(&store, 1).await;
        world.send("weekly", TUESDAY.millis()).await;
        let delivery = world.delivery("weekly", 0).await;
        let away = "From: p00000@x.example\r\nSubject: Out of office\r\nAuto-Submitted: auto-replied\r\n\r\nAway.\r\n";
        let riddle = "From: p00000@x.example\r\nSubject: Please confirm your message\r\nX-TMDA-Confirm: 1\r\n\r\nWho are you?\r\n";
        let moved = "From: Postmaster <postmaster@x.example>\r\nSubject: New address\r\nX-Autoreply: yes\r\n\r\nIt is y@x.example now.\r\n";
        let read = "From: p00000@x.example\r\nContent-Type: multipart/report; report-type=disposition-notification; boundary=b\r\n\r\n--b\r\n\r\nread\r\n--b--\r\n";
        let cases = [
            (dsn("p00000@x.example", "delayed", "4.4.1", "smtp; 451 later", ""), Verdict::BounceDelayed),
            (dsn("p00000@x.example", "delivered", "2.0.0", "smtp; 250 ok", ""), Verdict::AutoReply),
            (dsn("p00000@x.example", "relayed", "2.0.0", "smtp; 250 ok", ""), Verdict::AutoReply),
            (away.to_owned(), Verdict::AutoReply),
            (riddle.to_owned(), Verdict::AutoReply),
            (moved.to_owned(), Verdict::AutoReply),
            (read.to_owned(), Verdict::Receipt),
        ];
        for (raw, verdict) in cases {
            let row = world.report(delivery, &raw, TUESDAY.millis()).await;
            assert_eq!(row.verdict, Some(verdict), "{}: {raw}", row.reason);
        }
        assert!(bounces::of_edition(&mut store.read().await.unwrap(), "weekly").await.unwrap().is_empty());
        assert!(world.line.threads().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn w135_a_server_in_words_that_nobody_knows_is_unclassified() {
    let stories = |store: Store| async move {
        let world = World::start(&store, 1).await;
        world.send("weekly", TUESDAY.millis()).await;
        let delivery = world.delivery("weekly", 0).await;
        let raw =
            "From: MAILER-DAEMON@x.example\r\nSubject: Nedoruceno\r\n\r\nZpravu se nepodarilo dorucit.\r\n";
        let row = world.report(delivery, raw, TUESDAY.millis()).await;
        assert_eq!(row.verdict, Some(Verdict::BounceSoft));
        assert!(row.reason.contains("unclassified"), "{}", row.reason);
        assert_eq!(world.suppressed().await, 0);
    };
    on_every_store(stories).await;
}

#[tokio::test]
async fn w152_a_complaint_unsubscribes_and_suppresses_whom_the_copy_names() {
    on_every_store(|store| async move {
        let world = World::start(&store, 4).await;
        world.send("weekly", TUESDAY.millis()).await;
        let keyring = &world.line.setup.keyring;
        let minted = |purpose, row| keyring.mint(Subject { purpose, row, second: 0 });
        let by_id = format!(
            "Message-ID: <m.{}@news.example.org>\r\n",
            minted(Purpose::MessageId, world.delivery("weekly", 0).await)
        );
        let to = "bounce@news.example.org";
        let row =
            world.line.take(to, "feedback@provider.example", complaint("abuse", &by_id).as_bytes()).await;
        assert_eq!(row.verdict, Some(Verdict::Complaint), "{}", row.reason);
        assert_eq!(world.suppression("p00000@x.example").await, Some(SuppressionReason::Complaint));
        let mut tx = store.read().await.unwrap();
        let person = people::by_key(&mut tx, "p00000@x.example").await.unwrap().unwrap();
        assert_eq!(person.status, SubscriberStatus::Unsubscribed);

        // Only the link to leave is left, and the reader has left by it before.
        let other = people::by_key(&mut tx, "p00001@x.example").await.unwrap().unwrap();
        drop(tx);
        let link = minted(Purpose::Unsubscribe, other.id);
        let mut tx = store.write().await.unwrap();
        people::unsubscribe(&mut tx, other.id, "website", TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        let by_link = format!("List-Unsubscribe: <https://news.example.org/u/{link}>\r\n");
        world.line.take(to, "feedback@provider.example", complaint("abuse", &by_link).as_bytes()).await;
        assert_eq!(world.suppression("p00001@x.example").await, Some(SuppressionReason::Complaint));
        let back = bounces::of_edition(&mut store.read().await.unwrap(), "weekly").await.unwrap();
        assert_eq!(back[0].complaints, 2);

        let third = format!(
            "Return-Path: <{}>\r\n",
            world.line.address(Purpose::Bounce, world.delivery("weekly", 2).await, 0)
        );
        world.line.take(to, "feedback@provider.example", complaint("opt-out", &third).as_bytes()).await;
        assert_eq!(world.suppression("p00002@x.example").await, Some(SuppressionReason::Unsubscribed));
        for kind in ["not-spam", "auth-failure", "fraud", "virus", "something"] {
            let fourth = format!(
                "Return-Path: <{}>\r\n",
                world.line.address(Purpose::Bounce, world.delivery("weekly", 3).await, 0)
            );
            world.line.take(to, "feedback@provider.example", complaint(kind, &fourth).as_bytes()).await;
        }
        assert_eq!(world.suppression("p00003@x.example").await, None);
    })
    .await;
}

#[tokio::test]
async fn w153_the_older_form_and_one_that_names_nobody() {
    on_every_store(|store| async move {
        let world = World::start(&store, 1).await;
        world.send("weekly", TUESDAY.millis()).await;
        let path = world.line.address(Purpose::Bounce, world.delivery("weekly", 0).await, 0);
        let old = |copy: &str| {
            format!(
                "From: staff@hotmail.com\r\nTo: bounce@news.example.org\r\nSubject: complaint about message from 192.0.2.1\r\n\
                 Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n{copy}\
                 X-HmXmrOriginalRecipient: redacted@hotmail.com\r\nSubject: News\r\n\r\nwords\r\n--b--\r\n"
            )
        };
        let row = world.line.take("bounce@news.example.org", "staff@hotmail.com", old("").as_bytes()).await;
        assert_eq!(row.reason, "complaint: abuse, and it names no mail of ours; nothing changes");
        assert_eq!(world.suppressed().await, 0);
        let copy = format!("X-Sender: <{path}>\r\n");
        world.line.take("bounce@news.example.org", "staff@hotmail.com", old(&copy).as_bytes()).await;
        assert_eq!(world.suppression("p00000@x.example").await, Some(SuppressionReason::Complaint));
    })
    .await;
}

#[tokio::test]
async fn w146_reports_stop_an_edition_that_is_still_leaving() {
    on_every_store(|store| async move {
        let world = World::start(&store, 240).await;
        let mut connection = world.sending.connection();
        for _ in 0..120 {
            connection.step().await;
        }
        // What was decided is written down once a second.
        world.sending.clock.advance(std::time::Duration::from_secs(2));
        for _ in 0..20 {
            connection.step().await;
        }
        for number in 0..8 {
            let delivery = world.delivery("weekly", number).await;
            world.report(delivery, &gone(&format!("p{number:05}@x.example")), TUESDAY.millis() + 1000).await;
        }
        let row = editions::show(&mut store.read().await.unwrap(), "weekly").await.unwrap().unwrap();
        assert_eq!(row.state, EditionState::Attention, "{:?}", row);
        assert!(row.reason.ends_with("recipients bounced hard"), "{}", row.reason);
        assert!(row.counts.queued >= 99, "the rest stays: {:?}", row.counts);
        assert_eq!(world.suppressed().await, 8);
    })
    .await;
}

#[tokio::test]
async fn w145_reports_about_people_who_took_mail_before_are_not_believed() {
    on_every_store(|store| async move {
        let world = World::start(&store, 60).await;
        world.send("weekly", TUESDAY.millis()).await;
        world.send("next", TUESDAY.millis() + WEEK).await;
        for number in 0..25 {
            let delivery = world.delivery("next", number).await;
            let at = TUESDAY.millis() + WEEK + 1000;
            world.report(delivery, &gone(&format!("p{number:05}@x.example")), at).await;
        }
        assert_eq!(world.suppressed().await, 0, "a provider's outage suppresses nobody");
        let paused = lanes::standing(&mut store.read().await.unwrap(), 0).await.unwrap().unwrap().paused;
        assert_eq!(paused.as_deref(), Some("20 of 60 recipients bounced hard who took mail before"));
        // An operator who looked says that it is true.
        let mut tx = store.write().await.unwrap();
        assert_eq!(suppressions::end_hold(&mut tx, 0, Word::Believe).await.unwrap(), 25);
        tx.commit().await.unwrap();
        assert_eq!(world.suppressed().await, 25);
    })
    .await;
}

#[tokio::test]
async fn w136_reports_of_policy_pause_the_lane_and_suppress_nobody() {
    on_every_store(|store| async move {
        let world = World::start(&store, 100).await;
        world.send("weekly", TUESDAY.millis()).await;
        for number in 0..6 {
            let raw = dsn(
                &format!("p{number:05}@x.example"),
                "failed",
                "5.7.26",
                "smtp; 550 5.7.26 unauthenticated",
                "",
            );
            let row = world.report(world.delivery("weekly", number).await, &raw, TUESDAY.millis()).await;
            assert!(row.reason.ends_with("it is about us and counts for nobody"), "{}", row.reason);
        }
        assert_eq!(world.suppressed().await, 0);
        let paused = lanes::standing(&mut store.read().await.unwrap(), 0).await.unwrap().unwrap().paused;
        assert_eq!(paused.as_deref(), Some("5 of 100 messages were refused for policy or reputation"));
    })
    .await;
}

#[tokio::test]
async fn w154_three_complaints_stop_the_edition_and_its_lane() {
    on_every_store(|store| async move {
        let world = World::start(&store, 50).await;
        world.send("weekly", TUESDAY.millis()).await;
        for number in 0..3 {
            let row = editions::show(&mut store.read().await.unwrap(), "weekly").await.unwrap().unwrap();
            assert_eq!(row.state, EditionState::Sending, "{number} complaints warn");
            let path = world.line.address(Purpose::Bounce, world.delivery("weekly", number).await, 0);
            let raw = complaint("abuse", &format!("Return-Path: <{path}>\r\n"));
            world.report(world.delivery("weekly", number).await, &raw, TUESDAY.millis()).await;
        }
        let mut tx = store.read().await.unwrap();
        let row = editions::show(&mut tx, "weekly").await.unwrap().unwrap();
        assert_eq!((row.state, row.reason.as_str()), (EditionState::Attention, "3 of 50 readers complained"));
        let paused = lanes::standing(&mut tx, 0).await.unwrap().unwrap().paused;
        assert_eq!(paused.as_deref(), Some("3 of 50 readers complained"));
    })
    .await;
}

#[tokio::test]
async fn what_was_lifted_by_hand_stands_against_nobody() {
    on_every_store(|store| async move {
        let world = World::start(&store, 1).await;
        let unsure = gone("elsewhere@y.example");
        for (slug, week) in [("weekly", 0), ("second", 1)] {
            world.send(slug, TUESDAY.millis() + week * WEEK).await;
            world.report(world.delivery(slug, 0).await, &unsure, TUESDAY.millis() + week * WEEK).await;
        }
        let address = tidings::domain::address::Address::parse("p00000@x.example").unwrap();
        let mut tx = store.write().await.unwrap();
        assert!(suppressions::remove(&mut tx, &address).await.unwrap());
        tx.commit().await.unwrap();
        world.send("third", TUESDAY.millis() + 2 * WEEK).await;
        world.report(world.delivery("third", 0).await, &unsure, TUESDAY.millis() + 2 * WEEK).await;
        assert_eq!(world.suppressed().await, 0, "the first one since");
    })
    .await;
}

#[tokio::test]
async fn editors_read_what_came_back_and_how_the_last_one_ended() {
    on_every_store(|store| async move {
        let world = World::start(&store, 4).await;
        world.send("weekly", TUESDAY.millis()).await;
        world.report(world.delivery("weekly", 0).await, &gone("p00000@x.example"), TUESDAY.millis()).await;
        let full = dsn("p00001@x.example", "failed", "5.2.2", "smtp; 552 5.2.2 full", "");
        world.report(world.delivery("weekly", 1).await, &full, TUESDAY.millis()).await;
        let path = world.line.address(Purpose::Bounce, world.delivery("weekly", 2).await, 0);
        let raw = complaint("abuse", &format!("Return-Path: <{path}>\r\n"));
        world.report(world.delivery("weekly", 2).await, &raw, TUESDAY.millis()).await;

        let setup = &world.line.setup;
        let reporter = Reporter { shelf: setup.shelf.clone(), settings: setup.settings.clone() };
        let row = editions::show(&mut store.read().await.unwrap(), "weekly").await.unwrap().unwrap();
        let report = Report {
            event: ReportEvent::FirstPassDone,
            slug: "weekly",
            slot: row.slot.as_deref(),
            due_at: None,
            reason: "",
            action: "",
            notes: &[],
        };
        let mut tx = store.write().await.unwrap();
        reporter.tell(&mut tx, &report, TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        let mut texts = Vec::new();
        let mut tx = store.read().await.unwrap();
        for id in 1..20 {
            texts.extend(bodies::by_id(&mut tx, id).await.ok().map(|(_, body)| body));
        }
        let printed = texts.iter().find(|text| text.contains("Came back")).unwrap();
        assert!(printed.contains(">2 came back<") && printed.contains(">1 complained<"), "{printed}");
    })
    .await;
}

/// Patterns that are nothing but a token: every address of the domain looks like one of ours.
#[tokio::test]
async fn a_report_of_our_own_domains_mail_server_is_no_loop() {
    on_every_store(|store| async move {
        let mut world = World::start(&store, 1).await;
        world.line = Receiving::start_with(&store, &[("addresses.bounce", "{token}@news.example.org")]).await;
        world.send("weekly", TUESDAY.millis()).await;
        let delivery = world.delivery("weekly", 0).await;
        let own = gone("p00000@x.example")
            .replace("MAILER-DAEMON@relay.example.net", "MAILER-DAEMON@news.example.org")
            .replace("MIME-Version", "Message-ID: <1@news.example.org>\r\nMIME-Version");
        let row = world.report(delivery, &own, TUESDAY.millis() + 1000).await;
        assert_eq!(row.verdict, Some(Verdict::BounceHard), "{}", row.reason);
        assert_eq!(world.suppression("p00000@x.example").await, Some(SuppressionReason::HardBounce));
        // What comes from an address that we made is a loop, as ever.
        let ours = own.replace("MAILER-DAEMON@news", &format!("{}@news", world.token(delivery)));
        let row = world.report(delivery, &ours, TUESDAY.millis() + 1000).await;
        assert_eq!(row.verdict, Some(Verdict::Loop), "{}", row.reason);
    })
    .await;
}
