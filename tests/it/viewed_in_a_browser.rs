//! W181: a mail in the browser is that mail; pictures under their hash; an archive that shows strangers the start of things.

use sha2::{Digest, Sha256};
use tidings::domain::settings::OnUncertain;
use tidings::domain::token::{NOBODY, Purpose};
use tidings::store::{deliveries, editions};

use crate::support::clock::TUESDAY;
use crate::support::http::{connect, read};
use crate::support::peer::Peer;
use crate::support::public::{Front, parsed};
use crate::support::sending::{Sending, edition};
use crate::support::stores::{TestStore, on_every_store};

#[tokio::test]
async fn w181_a_view_is_the_mail_of_that_delivery_and_nobody_elses() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        front.add("y@readers.example", "yearly").await;
        front.add("f@readers.example", "free").await;
        let mut tx = store.write().await.unwrap();
        editions::queue(&mut tx, &edition("weekly", &["free", "yearly"]), TUESDAY).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        let rows =
            deliveries::list(&mut store.read().await.unwrap(), Some("weekly"), None, 0, 10).await.unwrap();
        let id = |address: &str| rows.iter().find(|row| row.address == address).unwrap().id;
        let (yearly, free) = (id("y@readers.example"), id("f@readers.example"));
        assert_eq!(front.get(&front.link(Purpose::View, yearly)).await.code, 404, "it has not left yet");
        let peer = Peer::willing().await;
        Sending::start(&store, &peer, OnUncertain::Resend).await.drain().await;
        for (delivery, theirs, others, to) in [
            (yearly, "words of yearly", "words of free", "y@readers.example"),
            (free, "words of free", "words of yearly", "f@readers.example"),
        ] {
            let page = front.get(&front.link(Purpose::View, delivery)).await;
            assert_eq!(page.code, 200);
            assert!(page.body.contains(theirs) && !page.body.contains(others), "{}", page.body);
            let mail = peer.taken().into_iter().find(|mail| mail.to == to).unwrap();
            let html = parsed(&mail).body_html(0).unwrap().replace("\r\n", "\n");
            assert_eq!(page.body.trim_end(), html.trim_end(), "the very mail");
            let head = page.head.to_lowercase();
            for wanted in [
                "cache-control: private, no-store",
                "x-robots-tag: noindex, nofollow",
                "referrer-policy: no-referrer",
            ] {
                assert!(head.contains(wanted), "{head}");
            }
            assert!(head.contains(
                "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' https://news.example.org;"
            ));
        }
        let stolen = front.link(Purpose::Bounce, yearly).replace("/c/", "/v/");
        assert_eq!(front.get(&stolen).await.code, 404);
        assert_eq!(front.get(&front.link(Purpose::View, 4711)).await.code, 404);
        let preview = front.get(&front.link(Purpose::View, NOBODY)).await;
        assert!(preview.code == 200 && preview.body.contains("This link is from a preview"));
    })
    .await;
}

#[tokio::test]
async fn pictures_are_served_by_their_hash_and_no_name_leads_elsewhere() {
    let test = TestStore::sqlite().await;
    let front = Front::start(&test.store).await;
    let media = front.setup.content.media();
    assert!(!media.is_empty());
    for one in &media {
        let request = format!("GET /media/{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", one.name);
        let address = front.address;
        let (head, bytes) = tokio::task::spawn_blocking(move || {
            use std::io::{Read, Write};
            let mut stream = connect(address);
            stream.write_all(request.as_bytes()).unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            let at = all.windows(4).position(|part| part == b"\r\n\r\n").unwrap();
            (String::from_utf8(all[..at].to_vec()).unwrap().to_lowercase(), all[at + 4..].to_vec())
        })
        .await
        .unwrap();
        assert!(head.contains("cache-control: public, max-age=31536000, immutable"), "{head}");
        assert!(head.contains("content-type: image/png") && head.contains("nosniff"), "{head}");
        let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes)[..12]);
        assert!(one.name.starts_with(&hash));
    }
    for wrong in [
        "/media/",
        "/media/..",
        "/media/../config/tidings.toml",
        "/media/..%2f..%2fconfig%2ftidings.toml",
        "/media/%2e%2e/publication.toml",
        "/media/federated-round.png",
        "/media/000000000000000000000000.png",
        "//etc/passwd",
    ] {
        let page = front.get(wrong).await;
        assert_eq!(page.code, 404, "{wrong}");
        assert!(!page.body.contains("secret"), "{wrong}");
    }
    let mut stream = connect(front.address);
    std::io::Write::write_all(
        &mut stream,
        b"GET /media/\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .unwrap();
    let answer = tokio::task::spawn_blocking(move || read(&stream)).await.unwrap();
    assert!([400, 404].contains(&answer.code), "{}", answer.head);
}

#[tokio::test]
async fn a_stranger_reads_the_start_of_what_was_sent_and_no_gated_word() {
    let test = TestStore::sqlite().await;
    let front = Front::start(&test.store).await;
    let content = &front.setup.content;
    // Nothing was sent: what waits is not announced.
    let ready: Vec<_> = content.articles.values().filter(|a| a.status.as_str() == "ready").collect();
    assert!(!ready.is_empty());
    let page = front.get("/archive").await;
    for article in &ready {
        assert!(!page.body.contains(&article.title), "{}", article.id);
        assert_eq!(front.get(&format!("/archive/{}", article.id)).await.code, 404, "{}", article.id);
    }
    let mut tx = test.store.write().await.unwrap();
    let all: Vec<String> = ready.iter().map(|article| article.id.clone()).collect();
    let sent = editions::NewEdition { articles: all, ..edition("weekly", &["free", "yearly"]) };
    editions::queue(&mut tx, &sent, TUESDAY).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    let page = front.get("/archive").await;
    assert_eq!(page.code, 200);
    assert!(page.head.to_lowercase().contains("x-robots-tag: all"));
    let yearly = content.publication.tier(&"yearly".into()).unwrap();
    let free = content.publication.tier(&"free".into()).unwrap();
    let mut gated = 0;
    for article in ready {
        let page = front.get(&format!("/archive/{}", article.id)).await;
        if article.extra || !article.is_for(&free.id) {
            assert_eq!(page.code, 404, "{}: an extra is only for those who got it", article.id);
            continue;
        }
        assert!(page.code == 200 && page.body.contains("</h1>"), "{}", page.body);
        // Every line of the whole that the start does not hold.
        let (whole, start) = (article.for_tier(yearly).text, article.for_tier(free).text);
        let words = |text: &str| {
            text.lines().map(str::trim).filter(|line| line.len() > 30).map(str::to_owned).collect::<Vec<_>>()
        };
        let shown = page.body.replace("&quot;", "\"").replace("&amp;", "&");
        for line in words(&whole).iter().filter(|line| !start.contains(line.as_str())) {
            gated += 1;
            assert!(!shown.contains(line.as_str()), "{}: {line}", article.id);
        }
        assert!(!page.body.contains("style=\""), "the policy forbids it");
    }
    assert!(gated > 10, "{gated}");
    let plans = front.get("/plans").await;
    for wanted in ["$6 a month", "$60 a year", "Lifetime"] {
        assert!(plans.code == 200 && plans.body.contains(wanted), "{}", plans.body);
    }
}
