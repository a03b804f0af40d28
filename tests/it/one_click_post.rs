//! RFC 8058: the POST that providers send for their users ends the subscription, whoever sends it and however often.

use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;

use tidings::domain::settings::OnUncertain;
use tidings::domain::subscriber::SubscriberStatus;
use tidings::domain::token::{NOBODY, Purpose};
use tidings::store::{deliveries, editions, people};
use tidings::web::Limits;

use crate::support::clock::TUESDAY;
use crate::support::http::{connect, read};
use crate::support::peer::Peer;
use crate::support::public::{FORM, Front};
use crate::support::receiving::example;
use crate::support::sending::{Sending, edition, queued_edition, subscriber};
use crate::support::stores::{TestStore, on_every_store};

const ONE_CLICK: &str = "List-Unsubscribe=One-Click";

/// RFC 8058 section 8.1, T2.
#[tokio::test]
async fn w38_w39_w40_both_encodings_end_it_once_without_cookie_or_redirect() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        let boundary = "---FormBoundaryjWmhtjORrn";
        let parts = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--{boundary}--\r\n"
        );
        let kinds = [
            (format!("Content-Type: {FORM}\r\n"), ONE_CLICK.to_owned()),
            (format!("Content-Type: multipart/form-data; boundary={boundary}\r\n"), parts),
            (format!("Content-Type: {FORM}\r\nCookie: session=1; a=b\r\n"), ONE_CLICK.to_owned()),
        ];
        for (number, (headers, body)) in kinds.iter().enumerate() {
            let address = format!("p{number}@readers.example");
            let id = front.add(&address, "yearly").await;
            let link = front.link(Purpose::Unsubscribe, id);
            // With the slash that a proxy may add, and again: providers repeat it.
            for path in [link.clone(), link.clone(), format!("{link}/")] {
                let answer = front.ask("POST", &path, headers, body).await;
                assert_eq!((answer.code, answer.body.as_str()), (200, "You are unsubscribed.\n"), "{path}");
                let head = answer.head.to_lowercase();
                assert!(!head.contains("location:") && !head.contains("set-cookie"), "{head}");
            }
            assert_eq!(front.status(&address).await, Some(SubscriberStatus::Unsubscribed));
            let once = ["test: a test", "website: unsubscribed", "suppressed: unsubscribed"];
            assert_eq!(front.history(id).await, once);
        }
    })
    .await;
}

#[tokio::test]
async fn w42_w207_every_wrong_link_is_answered_alike() {
    let test = TestStore::sqlite().await;
    let front = Front::start(&test.store).await;
    let id = front.add("a@readers.example", "free").await;
    let link = front.link(Purpose::Unsubscribe, id);
    let mut flipped = link.clone();
    let last = if flipped.pop() == Some('a') { 'b' } else { 'a' };
    flipped.push(last);
    let stolen = front.link(Purpose::Preferences, id).replace("/p/", "/u/");
    let deleted = front.link(Purpose::Unsubscribe, 4711);
    let random = "/u/not-a-token".to_owned();
    for method in ["GET", "POST"] {
        let mut pages = Vec::new();
        for path in [&flipped, &stolen, &deleted, &random] {
            let answer = front.ask(method, path, &format!("Content-Type: {FORM}\r\n"), ONE_CLICK).await;
            assert_eq!(answer.code, 404, "{path}");
            pages.push(answer.body);
        }
        pages.dedup();
        assert_eq!(pages.len(), 1, "{pages:?}");
    }
    assert_eq!(front.status("a@readers.example").await, Some(SubscriberStatus::Active));
    // Not the pair of the RFC, and no button of ours.
    let answer = front.post(&link, "unsubscribe=true").await;
    assert_eq!(answer.code, 400, "{}", answer.body);
    let answer = front.post(&front.link(Purpose::Unsubscribe, NOBODY), ONE_CLICK).await;
    assert_eq!((answer.code, answer.body.as_str()), (200, "This was a preview. Nothing was changed.\n"));
    assert_eq!(front.status("a@readers.example").await, Some(SubscriberStatus::Active));
}

#[tokio::test]
async fn w43_who_left_while_others_are_sent_to_gets_no_rcpt() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        queued_edition(&store, 20).await;
        let person = front.person("p00019@x.example").await.unwrap();
        let peer = Peer::willing().await;
        let sending = Sending::start(&store, &peer, OnUncertain::Resend).await;
        sending.connection().step().await;
        let answer = front.post(&front.link(Purpose::Unsubscribe, person.id), ONE_CLICK).await;
        assert_eq!(answer.code, 200);
        sending.drain().await;
        let to: Vec<String> = peer.taken().into_iter().map(|mail| mail.to).collect();
        assert_eq!(to.len(), 19);
        assert!(!to.contains(&"p00019@x.example".to_owned()));
        let rows = deliveries::list(&mut store.read().await.unwrap(), Some("weekly"), None, 0, 100).await;
        let row = rows.unwrap().into_iter().find(|row| row.address == "p00019@x.example").unwrap();
        assert_eq!(
            (row.state.as_str(), row.last_reply.as_deref()),
            ("skipped", Some("unsubscribed before the send"))
        );
    })
    .await;
}

/// W220: providers send them in bulk and from few addresses, while the edition that caused them is still going out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w220_thousands_from_one_address_are_all_honoured_while_sending_goes_on() {
    const LEAVE: usize = 5000;
    const STAY: usize = 500;
    let test = TestStore::sqlite().await;
    let front = Front::start(&test.store).await;
    let all: Vec<_> = (0..LEAVE + STAY)
        .map(|n| subscriber(&format!("p{n:05}@x.example"), if n < LEAVE { "yearly" } else { "free" }))
        .collect();
    let mut tx = test.store.write().await.unwrap();
    for chunk in all.chunks(500) {
        people::add_many(&mut tx, &chunk.iter().collect::<Vec<_>>(), "test", "", TUESDAY).await.unwrap();
    }
    let stays = editions::queue(&mut tx, &edition("weekly", &["free"]), TUESDAY).await.unwrap().unwrap();
    assert_eq!(stays.audience as usize, STAY);
    tx.commit().await.unwrap();
    let peer = Peer::willing().await;
    let sending = Sending::start(&test.store, &peer, OnUncertain::Resend).await;
    let mut links = Vec::new();
    for person in &all[..LEAVE] {
        let id = front.person(person.address.as_str()).await.unwrap().id;
        links.push(front.link(Purpose::Unsubscribe, id));
    }
    let sent = tokio::spawn(async move { sending.drain().await });
    let address = front.address;
    let clients: Vec<_> = links
        .chunks(LEAVE / 20)
        .map(|part| {
            let part = part.to_vec();
            tokio::task::spawn_blocking(move || part.iter().filter(|link| honoured(address, link)).count())
        })
        .collect();
    let mut honoured = 0;
    for client in clients {
        honoured += client.await.unwrap();
    }
    assert_eq!(honoured, LEAVE);
    assert_eq!(sent.await.unwrap(), STAY);
    assert_eq!(peer.count(), STAY);
    let active = people::active_by_tier(&mut test.store.read().await.unwrap()).await.unwrap();
    assert_eq!(active, [("free".to_owned(), STAY as i64)]);
}

/// One POST on a connection of its own, without User-Agent (W219).
fn honoured(address: std::net::SocketAddr, link: &str) -> bool {
    let mut stream = connect(address);
    let request = format!(
        "POST {link} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {FORM}\r\nContent-Length: 26\r\n\r\n{ONE_CLICK}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut first = String::new();
    BufReader::new(&stream).read_line(&mut first).unwrap();
    first.starts_with("HTTP/1.1 200")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w219_long_slow_and_odd_requests_are_turned_away_and_the_next_one_is_answered() {
    let test = TestStore::sqlite().await;
    let limits = Limits {
        connections: 2,
        head: Duration::from_millis(200),
        whole: Duration::from_millis(500),
        answer: Duration::from_millis(500),
        ..Limits::PUBLIC
    };
    let front = Front::start_with(&test.store, example(&[]), limits).await;
    let id = front.add("a@readers.example", "free").await;
    let link = front.link(Purpose::Unsubscribe, id);
    // Both places are taken by peers that never end their form.
    let slow: Vec<_> = (0..2).map(|_| connect(front.address)).collect();
    for mut stream in &slow {
        let head = format!(
            "POST {link} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 26\r\n\r\nList"
        );
        stream.write_all(head.as_bytes()).unwrap();
    }
    let long = "x".repeat(1 << 20);
    assert_eq!(front.post(&link, &long).await.code, 413);
    for mut stream in slow {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "half a form is not acted on");
    }
    // In pieces, without saying how long it will be.
    let mut stream = connect(front.address);
    let head = format!("POST {link} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let piece = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    let _ = stream.write_all(piece.as_bytes());
    assert_eq!(read(&stream).code, 413);
    for (method, code) in [("TRACE", 405), ("DELETE", 405), ("PUT", 405), ("OPTIONS", 405)] {
        assert_eq!(front.ask(method, &link, "", "").await.code, code, "{method}");
    }
    assert_eq!(front.ask("POST", &link, "Content-Type: application/json\r\n", "{}").await.code, 415);
    assert_eq!(front.status("a@readers.example").await, Some(SubscriberStatus::Active));
    assert_eq!(front.post(&link, ONE_CLICK).await.code, 200);
    assert_eq!(front.status("a@readers.example").await, Some(SubscriberStatus::Unsubscribed));
}

/// The page's own button, and the way back that it leaves open for an hour.
#[tokio::test]
async fn w193_the_button_of_the_page_leaves_and_may_be_taken_back_within_the_hour() {
    let test = TestStore::sqlite().await;
    let front = Front::start(&test.store).await;
    let id = front.add("jonas@readers.example", "yearly").await;
    let link = front.link(Purpose::Unsubscribe, id);
    let page = front.get(&link).await;
    assert!(
        page.body.contains("Leave Example News?")
            && page.body.contains("j\u{2022}\u{2022}\u{2022}@readers.example")
    );
    assert!(!page.body.contains("jonas@"), "no address on the page: {}", page.body);
    let done = front.post(&link, "leave=yes").await;
    assert_eq!(done.code, 200);
    assert!(done.body.contains("Done. No more mail from us.") && done.body.contains("Subscribe me again"));
    assert_eq!(front.status("jonas@readers.example").await, Some(SubscriberStatus::Unsubscribed));
    let back = front.post(&link, "undo=yes").await;
    assert!(back.body.contains("You are on the list again"), "{}", back.body);
    assert_eq!(front.status("jonas@readers.example").await, Some(SubscriberStatus::Active));
    let history = front.history(id).await;
    assert!(history.last().unwrap().starts_with("website: took the leaving back"), "{history:?}");
    front.post(&link, "leave=yes").await;
    front.clock.advance(Duration::from_secs(3600));
    let late = front.get(&link).await;
    assert!(!late.body.contains("Subscribe me again") && late.body.contains("/join"), "{}", late.body);
    assert!(front.post(&link, "undo=yes").await.body.contains("Done. No more mail"));
    assert_eq!(front.status("jonas@readers.example").await, Some(SubscriberStatus::Unsubscribed));
}
