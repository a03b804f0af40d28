//! A real browser on a running daemon: the form, the mail, the button, the plans and the way out; at both widths and by day and
//! night, without a sideways scroll. `TIDINGS_SHOTS=DIR` keeps the pictures.

use std::net::SocketAddr;

use crate::support::chromium::Chromium;
use crate::support::daemon::{Site, until};
use crate::support::peer::Peer;
use crate::support::public::{link_in, parsed};

const NEW: &str = "nora@readers.example";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribe_confirm_active_and_leave_in_a_browser() {
    let peer = Peer::willing().await;
    let site = Site::sending_to(peer.address).with_public();
    let story = tokio::task::spawn_blocking(move || {
        if let Some(browser) = Chromium::start() {
            play(browser, &site, &peer);
        }
    });
    story.await.unwrap();
}

fn play(mut browser: Chromium, site: &Site, peer: &Peer) {
    site.import(5);
    let daemon = site.start();
    let here = daemon.public();
    browser.look(390, false);
    browser.open(&format!("http://{here}/join"));
    shots(&mut browser, "join");
    browser.write("#address", NEW);
    browser.write("#name", "Nora");
    // A form that is sent within a second is shown again, with what was typed.
    until("the form is taken", || {
        browser.press("main form button");
        let text = browser.text();
        assert!(
            text.contains("Look into your mailbox") || text.contains("press the button once more"),
            "{text}"
        );
        text.contains("Look into your mailbox").then_some(())
    });
    shots(&mut browser, "asked");
    let mail = |subject: &str| {
        until(subject, || {
            let mails = peer.taken();
            mails.into_iter().find(|mail| mail.to == NEW && parsed(mail).subject().unwrap().contains(subject))
        })
    };
    let confirm = local(here, &link_in(&mail("Is this your address?"), "/c/"));
    browser.open(&confirm);
    shots(&mut browser, "confirm");
    // Scripts of the page ran, if there were any: still pending.
    let status = |site: &Site| site.json(&["subscribers", "show", NEW, "--json"])["status"].clone();
    assert_eq!(status(site), "pending");
    browser.press("main form button");
    assert!(browser.text().contains("You are on the list"), "{}", browser.text());
    shots(&mut browser, "confirmed");
    assert_eq!(status(site), "active");
    let welcome = mail("Welcome to Example News");
    browser.open(&local(here, &link_in(&welcome, "/p/")));
    shots(&mut browser, "preferences");
    browser.write("#name", "Nora Lind");
    browser.press("main form button");
    assert!(browser.text().contains("Saved."), "{}", browser.text());
    for path in ["archive", "plans", "archive/model-compression", "nowhere"] {
        browser.open(&format!("http://{here}/{path}"));
        shots(&mut browser, &path.replace('/', "-"));
    }
    browser.open(&local(here, &link_in(&welcome, "/u/")));
    shots(&mut browser, "unsubscribe");
    browser.press("main form button");
    assert!(browser.text().contains("Done. No more mail from us."), "{}", browser.text());
    shots(&mut browser, "unsubscribed");
    assert_eq!(status(site), "unsubscribed");
    let cookies = browser.call("Network.getAllCookies", serde_json::json!({}));
    assert_eq!(cookies["cookies"], serde_json::json!([]), "W221");
    daemon.stop();
}

pub fn local(here: SocketAddr, path: &str) -> String {
    format!("http://{here}{path}")
}

/// The page at both widths, by day and night, and narrower than any phone.
pub fn shots(browser: &mut Chromium, name: &str) {
    let keep = std::env::var_os("TIDINGS_SHOTS").map(std::path::PathBuf::from);
    for width in [390, 1280] {
        for dark in [false, true] {
            browser.look(width, dark);
            if let Some(folder) = &keep {
                let scheme = if dark { "dark" } else { "light" };
                let path = folder.join(format!("{name}-{width}-{scheme}.png"));
                std::fs::write(path, browser.picture()).unwrap();
            }
        }
    }
    let styled = browser.eval("getComputedStyle(document.querySelector('.head'), '::before').height");
    assert_eq!(styled, "4px", "{name}: the style sheet is there");
    browser.look(320, false);
    let wide = browser.eval("document.documentElement.scrollWidth");
    assert!(wide.as_u64().is_some_and(|wide| wide <= 320), "{name} scrolls sideways at 320: {wide}");
    let elsewhere = browser.eval(
        "performance.getEntriesByType('resource').map(r => r.name).filter(n => !n.startsWith(location.origin)).length",
    );
    assert_eq!(elsewhere, 0, "{name} loads something from elsewhere");
    browser.look(390, false);
}
