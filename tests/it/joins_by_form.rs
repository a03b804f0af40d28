//! The way in: asked for on a page or by mail, proven by a button in a mail, written down as evidence; and nothing for those who
//! use the form against others.

use std::time::Duration;

use tidings::domain::subscriber::{Subscriber, SubscriberStatus};
use tidings::domain::suppression::SuppressionReason;
use tidings::domain::verdict::Verdict;
use tidings::store::{bodies, deliveries, editions, people, suppressions};
use tidings::web::Limits;

use crate::support::clock::TUESDAY;
use crate::support::public::{FORM, Front, link_in, parsed};
use crate::support::receiving::{Receiving, example, message};
use crate::support::sending::{edition, subscriber};
use crate::support::stores::{TestStore, on_every_store};

const DAY: Duration = Duration::from_secs(86_400);
const NEW: &str = "nora@readers.example";

#[tokio::test]
async fn w186_w211_a_confirmed_wish_becomes_a_subscription_with_its_evidence() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        let page = front.join(NEW, "&name=Nora").await;
        assert_eq!(page.code, 200, "{}", page.body);
        assert!(page.body.contains("Look into your mailbox"), "{}", page.body);
        assert_eq!(front.status(NEW).await, Some(SubscriberStatus::Pending));
        // Nothing but the confirmation is sent before (W211).
        let mut tx = store.write().await.unwrap();
        let queued = editions::queue(&mut tx, &edition("weekly", &["free"]), front.now()).await.unwrap();
        assert_eq!(queued.unwrap().audience, 0);
        tx.commit().await.unwrap();
        let mails = front.mails().await;
        assert_eq!(mails.len(), 1);
        let asking = parsed(&mails[0]);
        assert_eq!(asking.subject(), Some("Is this your address? One button is left for Example News"));
        // W54: no list mail, and written by a program.
        assert!(asking.header("List-Unsubscribe").is_none() && asking.header("Precedence").is_none());
        assert_eq!(asking.header("Auto-Submitted").unwrap().as_text(), Some("auto-generated"));
        let link = link_in(&mails[0], "/c/");
        let button = front.get(&link).await;
        assert!(button.body.contains("Yes, subscribe me"), "{}", button.body);
        assert_eq!(front.status(NEW).await, Some(SubscriberStatus::Pending));
        front.clock.advance(DAY);
        // Pressed twice: once is enough.
        for _ in 0..2 {
            let done = front.post(&link, "").await;
            assert_eq!(done.code, 200);
            assert!(done.body.contains("You are on the list"), "{}", done.body);
        }
        let person = front.person(NEW).await.unwrap();
        assert_eq!(
            (person.status, person.name.as_str(), person.tier.as_str()),
            (SubscriberStatus::Active, "Nora", "free")
        );
        let history = front.history(person.id).await;
        assert_eq!(history.len(), 2, "{history:?}");
        assert!(
            history[0].starts_with("website: asked on the website at 2026-11-24T14:00:01"),
            "{history:?}"
        );
        let proof = &history[1];
        assert!(proof.contains("from 127.0.0.1: \"Send me this publication by mail."), "{proof}");
        assert!(proof.ends_with("confirmed by mail from 127.0.0.1"), "{proof}");
        let mails = front.mails().await;
        assert_eq!(mails.len(), 1, "one welcome");
        assert_eq!(parsed(&mails[0]).subject(), Some("Welcome to Example News"));
        // Its links work.
        assert!(front.get(&link_in(&mails[0], "/p/")).await.body.contains("What you get, and when"));
        assert!(front.get(&link_in(&mails[0], "/u/")).await.body.contains("Leave Example News?"));
        let list = deliveries::list(&mut store.read().await.unwrap(), None, None, 0, 10).await.unwrap();
        let kinds: Vec<&str> = list.iter().map(|row| row.kind.as_str()).collect();
        assert_eq!(kinds, ["confirm", "notice"]);
    })
    .await;
}

#[tokio::test]
async fn w210_w216_the_page_tells_nothing_and_the_mail_fits_who_asked() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        let gone = Subscriber {
            status: SubscriberStatus::Unsubscribed,
            ..subscriber("n3@readers.example", "yearly")
        };
        front.add("n1@readers.example", "yearly").await;
        front.add("n2@readers.example", "free").await;
        let returning = front.add_as(gone.clone()).await;
        let mut tx = store.write().await.unwrap();
        let bounced = subscriber("n2@readers.example", "free").address;
        let (hard, left) = (SuppressionReason::HardBounce, SuppressionReason::Unsubscribed);
        suppressions::add(&mut tx, &bounced, hard, "test", TUESDAY).await.unwrap();
        suppressions::add(&mut tx, &gone.address, left, "test", TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        let mut pages = Vec::new();
        for number in 1..=4 {
            let page = front.join(&format!("n{number}@readers.example"), "").await;
            assert_eq!(page.code, 200);
            pages.push((page.body, page.head.lines().filter(|line| !line.starts_with("date")).count()));
        }
        pages.dedup();
        assert_eq!(pages.len(), 1, "the same answer for all four");
        let taken = front.mails().await;
        let mut mails: Vec<(String, String)> =
            taken.iter().map(|mail| (mail.to.clone(), parsed(mail).subject().unwrap().to_owned())).collect();
        mails.sort();
        let confirm = "Is this your address? One button is left for Example News".to_owned();
        assert_eq!(
            mails,
            [
                ("n1@readers.example".to_owned(), "You are on the list of Example News already".to_owned()),
                ("n3@readers.example".to_owned(), confirm.clone()),
                ("n4@readers.example".to_owned(), confirm),
            ]
        );
        // Who comes back keeps the plan, and the list of those who left loses them.
        let request = link_in(taken.iter().find(|mail| mail.to == "n3@readers.example").unwrap(), "/c/");
        assert!(front.post(&request, "").await.body.contains("You are on the list"));
        let history = front.history(returning).await;
        assert!(!history.iter().any(|line| line.starts_with("suppressed")), "{history:?}");
        assert_eq!(front.person("n3@readers.example").await.unwrap().tier.as_str(), "yearly");
    })
    .await;
}

#[tokio::test]
async fn w212_an_address_gets_one_mail_a_day_and_three_that_it_does_not_answer() {
    let test = TestStore::sqlite().await;
    let front = Front::start(&test.store).await;
    let mut mails = Vec::new();
    for _ in 0..5 {
        for _ in 0..3 {
            assert_eq!(front.join(NEW, "").await.code, 200);
        }
        mails.push(front.mails().await.len());
        front.clock.advance(DAY);
    }
    assert_eq!(mails, [1, 1, 1, 0, 0]);
    // Upper case is the same mailbox.
    assert_eq!(front.join("NORA@READERS.EXAMPLE", "").await.code, 200);
    assert_eq!(front.mails().await.len(), 0);
}

/// SQLite gives the number of a deleted row again when it was the last one.
#[tokio::test]
async fn a_link_of_a_wish_that_is_gone_confirms_nobody_elses() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        front.join("mine@readers.example", "").await;
        let link = link_in(&front.mails().await[0], "/c/");
        front.clock.advance(DAY * 7);
        assert_eq!(front.expire().await, 1);
        // I ask for somebody else, and have a link from before.
        front.join("victim@readers.example", "").await;
        for answer in [front.get(&link).await, front.post(&link, "").await] {
            assert_eq!(answer.code, 404, "{}", answer.body);
        }
        assert_eq!(front.status("victim@readers.example").await, Some(SubscriberStatus::Pending));
        let own = link_in(&front.mails().await[0], "/c/");
        assert!(front.post(&own, "").await.body.contains("You are on the list"));
    })
    .await;
}

#[tokio::test]
async fn w215_a_wish_that_nobody_confirms_is_deleted_with_all_that_belongs_to_it() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        front.join(NEW, "").await;
        let mails = front.mails().await;
        let link = link_in(&mails[0], "/c/");
        front.clock.advance(6 * DAY);
        assert_eq!(front.expire().await, 0);
        front.clock.advance(DAY);
        let late = front.post(&link, "").await;
        assert_eq!(late.code, 404, "too late, even before it is deleted");
        assert_eq!(front.expire().await, 1);
        assert_eq!(front.person(NEW).await, None);
        assert_eq!(front.request(1).await, None);
        let mut tx = store.read().await.unwrap();
        let list = deliveries::list(&mut tx, None, None, 0, 10).await.unwrap();
        let told: Vec<_> = list.iter().map(|row| (row.address.as_str(), row.last_reply.as_deref())).collect();
        assert_eq!(told, [("", None)], "what was sent is counted, and says nothing about anybody");
        let body = deliveries::body_of(&mut tx, list[0].id).await.unwrap().unwrap();
        assert_eq!(bodies::by_id(&mut tx, body).await.unwrap().1, "{}");
        assert_eq!(people::page(&mut tx, 0, 10).await.unwrap(), []);
        drop(tx);
        assert_eq!(front.get(&link).await.code, 404);
        // And may ask again.
        front.join(NEW, "").await;
        assert_eq!(front.mails().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn w213_robots_and_floods_are_turned_away() {
    let test = TestStore::sqlite().await;
    let proxied = example(&[("web.proxies.0", "127.0.0.1")]);
    let front = Front::start_with(&test.store, proxied, Limits::PUBLIC).await;
    // The field that people do not see: the same answer, and nothing else.
    let page = front.join(NEW, "&website=https://spam.example").await;
    assert!(page.code == 200 && page.body.contains("Look into your mailbox"));
    assert_eq!(front.person(NEW).await, None);
    // A form that was never shown, or is sent in no time, keeps what was typed.
    let form = format!("address={}&name=Nora&form=x", NEW.replace('@', "%40"));
    let page = front.post("/join", &form).await;
    assert_eq!(page.code, 422);
    assert!(
        page.body.contains("press the button once more") && page.body.contains("value=\"Nora\""),
        "{}",
        page.body
    );
    for (wrong, what) in [("nora", "it has no @"), ("nora@x", "at least two parts")] {
        let page = front.join(wrong, "").await;
        assert!(page.code == 422 && page.body.contains(what), "{}", page.body);
    }
    // The proxy says who asks; a hundred addresses of one /64 are one place.
    let mut codes = Vec::new();
    for n in 0..30 {
        let from = format!("X-Forwarded-For: 203.0.113.9, 2001:db8:1:1::{n:x}\r\n");
        codes.push(front.join_from(&format!("r{n}@readers.example"), "", &from).await.code);
    }
    let limited = codes.iter().filter(|code| **code == 429).count();
    assert_eq!(limited, 10, "{codes:?}");
    assert_eq!(front.join_from(NEW, "", "X-Forwarded-For: 2001:db8:2::1\r\n").await.code, 200);
    let evidence = front.history(front.person(NEW).await.unwrap().id).await;
    assert!(evidence[0].contains("from 2001:db8:2::1"), "{evidence:?}");
}

#[tokio::test]
async fn w213_nobody_but_a_known_proxy_says_who_asks() {
    let test = TestStore::sqlite().await;
    let front = Front::start(&test.store).await;
    for n in 0..21 {
        let from = format!("X-Forwarded-For: 198.51.{n}.1\r\n");
        let code = front.join_from(&format!("r{n}@readers.example"), "", &from).await.code;
        assert_eq!(code, if n < 20 { 200 } else { 429 }, "{n}");
    }
    let evidence = front.history(front.person("r0@readers.example").await.unwrap().id).await;
    assert!(evidence[0].contains("from 127.0.0.1"), "{evidence:?}");
}

#[tokio::test]
async fn w214_many_mails_that_nobody_confirms_stop_all_of_them_for_an_hour() {
    let test = TestStore::sqlite().await;
    let proxied = example(&[("web.proxies.0", "127.0.0.1")]);
    let front = Front::start_with(&test.store, proxied, Limits::PUBLIC).await;
    let ask = async |n: usize| {
        let from = format!("X-Forwarded-For: 10.{}.{}.1\r\n", n / 200, n % 200);
        front.join_from(&format!("r{n}@readers.example"), "", &from).await.code
    };
    for n in 0..51 {
        assert_eq!(ask(n).await, 200, "{n}");
    }
    assert_eq!(ask(51).await, 503);
    assert_eq!(front.person("r51@readers.example").await, None);
    front.clock.advance(Duration::from_secs(3600));
    assert_eq!(ask(52).await, 200);
    assert_eq!(front.mails().await.len(), 52);
}

#[tokio::test]
async fn joining_by_mail_asks_the_sender_and_programs_join_nobody() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        let line = Receiving::start(&store).await;
        let join = "join@news.example.org";
        let raw = message("Nora Lind <nora@readers.example>", "1@readers.example", "", "please");
        let row = line.take(join, NEW, &raw).await;
        assert_eq!(
            (row.verdict, row.reason.as_str()),
            (Some(Verdict::Join), "join: sent to the join address")
        );
        assert_eq!(row.thread, None);
        let person = front.person(NEW).await.unwrap();
        assert_eq!((person.status, person.name.as_str()), (SubscriberStatus::Pending, "Nora Lind"));
        let mails = front.mails().await;
        assert_eq!((mails.len(), mails[0].to.as_str()), (1, NEW));
        assert!(parsed(&mails[0]).body_text(0).unwrap().contains("Asked: by mail on"));
        assert!(front.post(&link_in(&mails[0], "/c/"), "").await.body.contains("You are on the list"));
        let history = front.history(person.id).await;
        assert!(history[1].contains("asked by a mail to the join address at"), "{history:?}");
        // W52: an out-of-office, a list, a bounce.
        for (number, more, from) in [
            (2, "Auto-Submitted: auto-replied\r\n", "o@readers.example"),
            (3, "List-Id: <x.example>\r\nPrecedence: list\r\n", "l@readers.example"),
            (4, "", ""),
        ] {
            let id = format!("{number}@readers.example");
            let raw = message("O <o@readers.example>", &id, more, "away");
            let row = line.take(join, from, &raw).await;
            assert_ne!(row.verdict, Some(Verdict::Join), "{number}");
        }
        assert_eq!(front.person("o@readers.example").await, None);
    })
    .await;
}

#[tokio::test]
async fn what_is_typed_is_text() {
    let test = TestStore::sqlite().await;
    let front = Front::start(&test.store).await;
    let page =
        front.post("/join", "address=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&name=%3Cb%3E&form=").await;
    assert!(!page.body.contains("<script") && !page.body.contains("<b>"), "W223: {}", page.body);
    assert!(page.body.contains("&quot;&gt;&lt;script&gt;"), "{}", page.body);
    let kind = format!("Content-Type: {FORM}\r\n");
    assert_eq!(front.ask("POST", "/join", &kind, &"a".repeat(20_000)).await.code, 413);
}
