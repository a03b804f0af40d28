//! Signing in: a link by mail that works once, a button, one cookie, and nothing that says who is on the list.

use std::time::Duration;

use tidings::domain::address::Address;
use tidings::domain::sign_in::{Place, Who, Wish};
use tidings::domain::subscriber::{Subscriber, SubscriberStatus};
use tidings::domain::suppression::SuppressionReason;
use tidings::domain::token::{Purpose, Subject};
use tidings::store::{sessions, staff, suppressions};
use tidings::tasks::sign_in::SignIn;
use tidings::web::Limits;

use crate::support::clock::TUESDAY;
use crate::support::peer::Taken;
use crate::support::public::{FORM, Front, cookie, field, link_in, parsed};
use crate::support::receiving::example;
use crate::support::sending::subscriber;
use crate::support::stores::{TestStore, on_every_store};

const READER: &str = "jonas@readers.example";

fn only(mails: &[Taken]) -> &Taken {
    assert_eq!(mails.len(), 1, "{mails:?}");
    &mails[0]
}

#[tokio::test]
async fn w41_w217_a_link_is_used_up_by_its_button_and_by_nothing_else() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        front.add(READER, "yearly").await;
        assert_eq!(front.ask_to_sign_in(READER, "/archive/model-compression").await.code, 200);
        let mails = front.mails().await;
        let mail = only(&mails);
        assert_eq!((mail.to.as_str(), parsed(mail).subject()), (READER, Some("Sign in to Example News")));
        let link = link_in(mail, "/s/");
        for _ in 0..20 {
            let page = front.get(&link).await;
            assert!(page.code == 200 && page.body.contains("One button is left"), "{}", page.body);
            assert!(!page.head.to_lowercase().contains("set-cookie"), "{}", page.head);
            assert!(
                !page.body.contains(READER)
                    && page.body.contains("j\u{2022}\u{2022}\u{2022}@readers.example")
            );
            assert_eq!(front.ask("HEAD", &link, "", "").await.code, 200);
        }
        let opened = front.post(&link, "").await;
        assert_eq!(opened.code, 303);
        assert!(opened.head.contains("location: /archive/model-compression\r\n"), "{}", opened.head);
        let set = opened.head.lines().find(|line| line.starts_with("set-cookie: ")).unwrap();
        for wanted in
            ["tidings_reader=", "; Path=/;", "; HttpOnly", "; SameSite=Lax", "; Secure", "; Max-Age=2592000"]
        {
            assert!(set.contains(wanted), "{wanted}: {set}");
        }
        assert!(opened.head.contains("no-store") && opened.head.contains("referrer-policy: no-referrer"));
        for answer in [front.post(&link, "").await, front.get(&link).await] {
            assert!(answer.code == 404 && answer.body.contains("It works once"), "{}", answer.body);
        }
        // The store knows hashes only.
        let secret = cookie(&opened).split_once('=').unwrap().1.to_owned();
        let mut tx = store.read().await.unwrap();
        assert_eq!(sessions::by_hash(&mut tx, &secret, TUESDAY).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn w210_the_form_answers_the_same_whoever_asks() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        front.add("active@readers.example", "yearly").await;
        let pending =
            Subscriber { status: SubscriberStatus::Pending, ..subscriber("pending@readers.example", "free") };
        front.add_as(pending).await;
        front.add("bounced@readers.example", "yearly").await;
        let address = Address::parse("bounced@readers.example").unwrap();
        let mut tx = store.write().await.unwrap();
        suppressions::add(&mut tx, &address, SuppressionReason::HardBounce, "test", TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        let mut answers = Vec::new();
        for who in ["active", "pending", "bounced", "nobody"] {
            let page = front.ask_to_sign_in(&format!("{who}@readers.example"), "").await;
            let masked = format!("{}\u{2022}\u{2022}\u{2022}@", &who[..1]);
            let head: Vec<&str> = page.head.lines().filter(|line| !line.starts_with("date:")).collect();
            answers.push((page.code, head.join("\n"), page.body.replace(&masked, "X@")));
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_eq!(only(&front.mails().await).to, "active@readers.example");
    })
    .await;
}

#[tokio::test]
async fn a_link_ends_after_fifteen_minutes_and_a_session_after_thirty_days() {
    let test = TestStore::sqlite().await;
    let front = Front::start(&test.store).await;
    front.add(READER, "yearly").await;
    front.ask_to_sign_in(READER, "").await;
    let link = link_in(only(&front.mails().await), "/s/");
    front.clock.advance(Duration::from_secs(15 * 60));
    assert_eq!(front.post(&link, "").await.code, 404);
    let cookie = front.sign_in(READER).await;
    assert!(front.get_as(&cookie, "/sign-out").await.body.contains("You are signed in as"));
    front.clock.advance(Duration::from_secs(30 * 86_400));
    assert!(front.get_as(&cookie, "/sign-out").await.body.contains("You are signed out"));
    let mut tx = test.store.write().await.unwrap();
    assert_eq!(sessions::expire(&mut tx, front.now()).await.unwrap(), 3, "two links, one session");
}

#[tokio::test]
async fn who_signs_out_is_out_and_no_other_site_does_it_for_them() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        front.add(READER, "yearly").await;
        front.add("mia@readers.example", "free").await;
        let (here, there) = (front.sign_in(READER).await, front.sign_in(READER).await);
        let mia = front.sign_in("mia@readers.example").await;
        let kind = format!("Content-Type: {FORM}\r\n");
        let is_in = async |cookie: &str| {
            front.get_as(cookie, "/sign-out").await.body.contains("You are signed in as")
        };
        let form = field(&front.get_as(&here, "/sign-out").await.body, "form");
        let foreign = field(&front.get_as(&mia, "/sign-out").await.body, "form");
        for wrong in ["", "form=x", &format!("form={foreign}")] {
            assert_eq!(front.ask("POST", "/sign-out", &format!("{here}{kind}"), wrong).await.code, 403);
        }
        assert!(is_in(&here).await && is_in(&there).await);
        let out = front.ask("POST", "/sign-out", &format!("{here}{kind}"), &format!("form={form}")).await;
        assert!(out.code == 200 && out.head.contains("tidings_reader=; Path=/; Max-Age=0;"), "{}", out.head);
        assert!(!is_in(&here).await && is_in(&there).await);
        // A link that waits in the mailbox goes with everything else.
        front.ask_to_sign_in(READER, "").await;
        let waiting = link_in(only(&front.mails().await), "/s/");
        let form = field(&front.get_as(&there, "/sign-out").await.body, "form");
        front
            .ask("POST", "/sign-out", &format!("{there}{kind}"), &format!("form={form}&everywhere=yes"))
            .await;
        assert!(!is_in(&there).await && is_in(&mia).await);
        assert_eq!(front.post(&waiting, "").await.code, 404);
        for wrong in
            ["", "tidings_reader=", "tidings_reader=abc", "tidings_house=x; a", "tidings_reader=\u{e4}"]
        {
            assert!(!is_in(&format!("Cookie: {wrong}\r\n")).await, "{wrong}");
        }
    })
    .await;
}

#[tokio::test]
async fn another_site_signs_nobody_in_and_leads_nobody_away() {
    let test = TestStore::sqlite().await;
    let front = Front::start(&test.store).await;
    front.add(READER, "yearly").await;
    front.ask_to_sign_in(READER, "https://evil.example/").await;
    let link = link_in(only(&front.mails().await), "/s/");
    let from = format!("Content-Type: {FORM}\r\nSec-Fetch-Site: cross-site\r\n");
    assert_eq!(front.ask("POST", &link, &from, "").await.code, 403);
    let own = format!("Content-Type: {FORM}\r\nSec-Fetch-Site: same-origin\r\n");
    let opened = front.ask("POST", &link, &own, "").await;
    assert!(opened.head.contains("location: /archive\r\n"), "{}", opened.head);
    let page = front.get("/sign-in?back=//evil.example").await;
    assert!(page.body.contains("name=\"back\" value=\"\""), "{}", page.body);
    let page = front.get("/sign-in?back=%22%3E%3Cscript%3E").await;
    assert!(page.code == 200 && !page.body.contains("<script"), "W223: {}", page.body);
}

#[tokio::test]
async fn w212_w213_w219_few_links_for_an_address_few_asks_from_a_place() {
    let test = TestStore::sqlite().await;
    let proxied = example(&[("web.proxies.0", "127.0.0.1")]);
    let front = Front::start_with(&test.store, proxied, Limits::PUBLIC).await;
    front.add(READER, "yearly").await;
    for _ in 0..5 {
        assert_eq!(front.ask_to_sign_in(READER, "").await.code, 200);
    }
    assert_eq!(front.mails().await.len(), 3, "three links work at a time");
    let page = front.get("/sign-in").await;
    let form = field(&page.body, "form");
    let typed = format!("address=a%40readers.example&form={form}");
    assert_eq!(front.post("/sign-in", &typed).await.code, 422, "sent in no time");
    front.clock.advance(Duration::from_secs(1));
    let mut codes = Vec::new();
    for n in 0..25 {
        let from = format!("Content-Type: {FORM}\r\nX-Forwarded-For: 2001:db8:1:1::{n:x}\r\n");
        codes.push(front.ask("POST", "/sign-in", &from, &typed).await.code);
    }
    assert_eq!(codes.iter().filter(|code| **code == 429).count(), 5, "{codes:?}");
    assert_eq!(front.post("/sign-in", &"a".repeat(20_000)).await.code, 413);
    for path in ["/sign-in", "/sign-out", "/s/x"] {
        assert_eq!(front.ask("PUT", path, "", "").await.code, 405, "{path}");
    }
}

/// Asks from one place in the network, a second after the form was shown.
async fn ask_from(front: &Front, from: &str, back: &str) -> u16 {
    let page = front.get("/sign-in").await;
    front.clock.advance(Duration::from_secs(1));
    let typed =
        format!("address={}&form={}&back={back}", READER.replace('@', "%40"), field(&page.body, "form"));
    let headers = format!("Content-Type: {FORM}\r\nX-Forwarded-For: {from}\r\n");
    front.ask("POST", "/sign-in", &headers, &typed).await.code
}

#[tokio::test]
async fn w213_strangers_use_nothing_up_of_the_readers_links_and_fill_no_mailbox() {
    on_every_store(|store| async move {
        let proxied = example(&[("web.proxies.0", "127.0.0.1")]);
        let front = Front::start_with(&store, proxied, Limits::PUBLIC).await;
        let id = front.add(READER, "yearly").await;
        let others = front.add("other@readers.example", "yearly").await;
        // One stranger, from a network of their own, for most of a day.
        let mut sent = 0;
        for _ in 0..30 {
            assert_eq!(ask_from(&front, "192.0.2.7", "").await, 200);
            front.clock.advance(Duration::from_secs(20 * 60));
            sent += front.mails().await.len();
        }
        assert_eq!(sent, 5, "a neighbourhood has five a day");
        assert_eq!(ask_from(&front, "198.51.100.1", "").await, 200);
        assert_eq!(front.mails().await.len(), 1, "the reader is somewhere else");
        // Strangers everywhere.
        let mut sent = 0;
        for n in 0..60 {
            assert_eq!(ask_from(&front, &format!("203.0.{n}.1"), "").await, 200);
            sent += front.mails().await.len();
        }
        assert_eq!(sent, 9, "fifteen a day in all");
        assert!(front.mails().await.is_empty());
        // With the link of another reader's mail, or a wrong one, one is a stranger.
        for token in
            [&front.link(Purpose::Preferences, others), "/p/abc", "/p/", &front.link(Purpose::View, id)]
        {
            ask_from(&front, "198.51.100.1", &token.replace('/', "%2F")).await;
        }
        assert!(front.mails().await.is_empty());
        // The link of any mail of ours is the way that is always there, and has a limit of its own.
        let own = front.link(Purpose::Preferences, id).replace('/', "%2F");
        let mut sent = 0;
        for _ in 0..20 {
            assert_eq!(ask_from(&front, "198.51.100.1", &own).await, 200);
            let mails = front.mails().await;
            sent += mails.len();
            if let Some(mail) = mails.first() {
                assert_eq!(front.post(&link_in(mail, "/s/"), "").await.code, 303);
            }
        }
        assert_eq!(sent, 5);
        front.clock.advance(Duration::from_secs(86_400));
        assert_eq!(ask_from(&front, "192.0.2.7", "").await, 200);
        assert_eq!(front.mails().await.len(), 1, "the next day");
        // Where they asked from is not kept.
        let page = front.ask_to_sign_in(READER, "").await;
        assert!(page.body.contains("by the link in any mail of ours"), "{}", page.body);
    })
    .await;
}

#[tokio::test]
async fn staff_and_editors_sign_in_to_the_private_pages_only_while_they_are_of_the_house() {
    on_every_store(|store| async move {
        let front = Front::start_with(
            &store,
            example(&[("web.private_url", "https://desk.example.org")]),
            Limits::PUBLIC,
        )
        .await;
        let members = front.setup.settings.desk.staff.clone();
        let mut tx = store.write().await.unwrap();
        staff::sync(&mut tx, &members).await.unwrap();
        tx.commit().await.unwrap();
        front.add("mira@staff.example.net", "free").await;
        let steps = SignIn(front.readers.clone());
        let mut cookies = Vec::new();
        for (address, expected) in [
            ("mira@staff.example.net", Some((true, false))),
            ("ed@example.org", Some((false, true))),
            ("jonas@readers.example", None),
        ] {
            let typed = Address::parse(address).unwrap();
            let wish = Wish {
                place: Place::Private,
                address: typed,
                back: "/threads/3".into(),
                from: std::net::IpAddr::from([127, 0, 0, 1]),
                holds: None,
            };
            steps.ask(&wish, front.now()).await.unwrap();
            let mails = front.mails().await;
            let Some((is_staff, is_editor)) = expected else {
                assert!(mails.is_empty(), "{mails:?}");
                continue;
            };
            let mail = only(&mails);
            assert_eq!(mail.to, address);
            let message = parsed(mail);
            let text = message.body_text(0).unwrap();
            let (_, link) = text.split_once("https://desk.example.org/s/").unwrap();
            let link = link.split_whitespace().next().unwrap();
            assert!(
                steps.open(Place::Public, link, front.now()).await.unwrap().is_none(),
                "no reader's link"
            );
            let opened = steps.open(Place::Private, link, front.now()).await.unwrap().unwrap();
            assert_eq!(opened.back, "/threads/3");
            assert!(steps.session(Place::Public, &opened.cookie, front.now()).await.unwrap().is_none());
            let session = steps.session(Place::Private, &opened.cookie, front.now()).await.unwrap().unwrap();
            let Who::House { staff, editor } = session.who else { panic!("{session:?}") };
            assert_eq!((staff.is_some(), editor), (is_staff, is_editor));
            assert_eq!(session.address.as_str(), address);
            cookies.push(opened.cookie);
        }
        // A reader's cookie opens nothing in the house, whoever they are.
        let reader = front.sign_in("mira@staff.example.net").await;
        let secret = reader.trim().split_once('=').unwrap().1;
        assert!(steps.session(Place::Private, secret, front.now()).await.unwrap().is_none());
        let mut tx = store.write().await.unwrap();
        staff::sync(&mut tx, &[]).await.unwrap();
        tx.commit().await.unwrap();
        assert!(
            steps.session(Place::Private, &cookies[0], front.now()).await.unwrap().is_none(),
            "left the desk"
        );
        assert!(steps.session(Place::Private, &cookies[1], front.now()).await.unwrap().is_some());
        let week = Duration::from_secs(7 * 86_400);
        assert!(steps.session(Place::Private, &cookies[1], front.now() + week).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn a_token_is_no_link_and_no_cookie() {
    let test = TestStore::sqlite().await;
    let front = Front::start(&test.store).await;
    let id = front.add(READER, "yearly").await;
    for purpose in [Purpose::Session, Purpose::Confirm, Purpose::Unsubscribe] {
        let token = front.setup.keyring.mint(Subject { purpose, row: id, second: 0 });
        assert_eq!(front.post(&format!("/s/{token}"), "").await.code, 404);
        let cookie = format!("Cookie: tidings_reader={token}\r\n");
        assert!(front.get_as(&cookie, "/sign-out").await.body.contains("You are signed out"));
    }
}
