//! A real browser signs in by a mailed link and reads: a gated article as a yearly member, not as a monthly one, not as a stranger.
//! Scripts and link scanners use nothing up; every page at both widths by day and night. `TIDINGS_SHOTS=DIR` keeps the pictures.

use crate::support::chromium::Chromium;
use crate::support::daemon::{Daemon, Site, until};
use crate::support::peer::Peer;
use crate::support::public::{link_in, parsed};

use super::browser_subscribes::{local, shots};

const ARTICLE: &str = "+++\ntitle = \"Gates, and who goes through them\"\nsummary = \"What each plan reads.\"\nauthor = \"Ann\"\n\
    date = 2026-10-05\nstatus = \"published\"\n+++\n\nThe start is for everybody.\n\n<!-- more -->\n\nMEMBERSWORDS follow.\n\n\
    ```python gate.py\ndef gate(reader, a_name_that_is_rather_long, and_another_one_that_is_longer_still):\n    return reader\n```\n\n\
    <!-- only: yearly -->\n\n## For the year\n\nYEARLYWORDS stand here.\n\n<!-- /only -->\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_in_and_read_in_a_browser() {
    let peer = Peer::willing().await;
    let site = Site::sending_to(peer.address).with_public();
    std::fs::write(site.path().join("config/articles/gates.md"), ARTICLE).unwrap();
    let story = tokio::task::spawn_blocking(move || {
        if let Some(browser) = Chromium::start() {
            play(browser, &site, &peer);
        }
    });
    story.await.unwrap();
}

fn play(mut browser: Chromium, site: &Site, peer: &Peer) {
    for tier in ["monthly", "yearly"] {
        let add = site.run(&["subscribers", "add", &address(tier), "--tier", tier, "--name", "Jonas Lind"]);
        assert_eq!(add.code, 0, "{add:?}");
    }
    let daemon = site.start();
    let here = daemon.public();
    let article = local(here, "/archive/gates");
    // A stranger: the start, the plans, the way in.
    browser.open(&article);
    let text = browser.text();
    assert!(text.contains("The rest is for members") && text.contains("Choose a plan"), "{text}");
    assert!(!text.contains("MEMBERSWORDS") && !text.contains("YEARLYWORDS"), "{text}");
    shots(&mut browser, "article-stranger");
    landmarks(&mut browser, "article-stranger");
    for (tier, words, other) in [
        ("monthly", &["MEMBERSWORDS"][..], Some("YEARLYWORDS")),
        ("yearly", &["MEMBERSWORDS", "YEARLYWORDS"], None),
    ] {
        sign_in(&mut browser, &daemon, peer, tier);
        let text = browser.text();
        for word in words {
            assert!(text.contains(word), "{tier}: {word}: {text}");
        }
        assert!(other.is_none_or(|word| !text.contains(word)), "{tier}: {text}");
        assert!(text.contains("Jonas,"), "the way to the account: {text}");
        let cookies = browser.call("Network.getAllCookies", serde_json::json!({}));
        let cookies = cookies["cookies"].as_array().unwrap().clone();
        assert_eq!(cookies.len(), 1, "W221: {cookies:?}");
        let cookie = &cookies[0];
        assert_eq!(
            (&cookie["httpOnly"], &cookie["sameSite"], &cookie["name"]),
            (&true.into(), &"Lax".into(), &"tidings_reader".into())
        );
        if tier == "yearly" {
            shots(&mut browser, "article-yearly");
            for path in ["archive", "you", "plans"] {
                browser.open(&local(here, &format!("/{path}")));
                shots(&mut browser, &format!("{path}-yearly"));
                landmarks(&mut browser, path);
            }
        }
        browser.open(&local(here, "/sign-out"));
        if tier == "yearly" {
            shots(&mut browser, "sign-out");
            landmarks(&mut browser, "sign-out");
        }
        browser.press("main form button");
        assert!(browser.text().contains("You are signed out"), "{}", browser.text());
        browser.open(&article);
        assert!(!browser.text().contains("MEMBERSWORDS"), "{tier} is out");
    }
    daemon.stop();
}

fn address(tier: &str) -> String {
    format!("{tier}@readers.example")
}

/// From the article that was not shown whole, over the mail, back to it.
fn sign_in(browser: &mut Chromium, daemon: &Daemon, peer: &Peer, tier: &str) {
    let here = daemon.public();
    let to = address(tier);
    browser.press("main aside a[href*=\"/sign-in\"]");
    assert!(browser.text().contains("Sign in by mail"), "{}", browser.text());
    if tier == "yearly" {
        shots(browser, "sign-in");
        landmarks(browser, "sign-in");
    }
    browser.write("#address", &to);
    until("the form is taken", || {
        browser.press("main form button");
        let text = browser.text();
        assert!(
            text.contains("Look into your mailbox") || text.contains("press the button once more"),
            "{text}"
        );
        text.contains("Look into your mailbox").then_some(())
    });
    let mail = until("the link", || {
        peer.taken()
            .into_iter()
            .find(|mail| mail.to == to && parsed(mail).subject().unwrap().contains("Sign in"))
    });
    let link = local(here, &link_in(&mail, "/s/"));
    // What a scanner does: it opens the link, runs what it finds there, and asks again by script. No form is sent.
    browser.open(&link);
    let asked = format!(
        "Promise.all(['GET', 'HEAD'].map(method => fetch('{link}', {{ method }}).then(r => r.status)))"
    );
    let told = browser.call(
        "Runtime.evaluate",
        serde_json::json!({ "expression": asked, "awaitPromise": true, "returnByValue": true }),
    );
    // The policy of the page forbids it to ask for anything; and nothing was used up.
    assert!(
        told.get("exceptionDetails").is_some() || told["result"]["value"] == serde_json::json!([200, 200]),
        "{told}"
    );
    for _ in 0..3 {
        browser.open(&link);
    }
    if tier == "yearly" {
        shots(browser, "sign-in-button");
        landmarks(browser, "sign-in-button");
    }
    browser.press("main form button");
    until("the article", || browser.text().contains("Gates, and who goes through them").then_some(()));
}

/// One main part with one heading, a language, names for every field, and a ring on everything that the keyboard reaches.
fn landmarks(browser: &mut Chromium, name: &str) {
    for (question, answer) in [
        ("document.querySelectorAll('main').length", 1),
        ("document.querySelectorAll('main h1').length", 1),
        ("document.querySelectorAll('header, footer').length >= 2 ? 1 : 0", 1),
        ("document.documentElement.lang.length > 0 ? 1 : 0", 1),
        (
            "[...document.querySelectorAll('input:not([type=hidden])')].filter(i => !i.labels.length).length",
            0,
        ),
        ("[...document.querySelectorAll('img:not([alt])')].length", 0),
    ] {
        assert_eq!(browser.eval(question), answer, "{name}: {question}");
    }
    // Tab by Tab: each stop is visible and has a ring, the first one leads past the head.
    browser.eval("document.activeElement.blur(); window.scrollTo(0, 0)");
    let mut stops = Vec::new();
    for at in 0..60 {
        browser.tab();
        let stop = browser.eval(
            "(() => { const e = document.activeElement; if (e === document.body) return null; \
             const s = getComputedStyle(e), r = e.getBoundingClientRect(); \
             return [e.className + '|' + (e.textContent || e.name).trim().slice(0, 30), s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2, r.width > 0 && r.height > 0 && r.left >= 0] })()",
        );
        let Some(stop) = stop.as_array() else { break };
        assert!(
            stop[1] == true && stop[2] == true,
            "{name}: stop {at} has no ring or is not to be seen: {stop:?}"
        );
        stops.push(stop[0].as_str().unwrap_or_default().to_owned());
        if stops.len() > 1 && stops.last() == stops.first() {
            break;
        }
    }
    assert!(stops.first().is_some_and(|first| first.starts_with("skip|")), "{name}: {stops:?}");
    contrast(browser, name);
}

/// Every text node against its ground, in both schemes: 4.5 to 1 at least.
fn contrast(browser: &mut Chromium, name: &str) {
    const SCRIPT: &str = r"(() => {
        const light = c => { const v = c.map(x => { x /= 255; return x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4 }); return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2] };
        const rgb = t => (t.match(/[\d.]+/g) || []).map(Number);
        const ground = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] > 0.9) return c } return [255, 255, 255] };
        let worst = [99, ''];
        const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (walk.nextNode()) { const n = walk.currentNode, e = n.parentElement; if (!n.textContent.trim() || !e.getClientRects().length) continue;
            const a = light(rgb(getComputedStyle(e).color)), b = light(ground(e)); const c = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            if (c < worst[0]) worst = [c, n.textContent.trim().slice(0, 40)] }
        return worst })()";
    for dark in [false, true] {
        browser.look(390, dark);
        let worst = browser.eval(SCRIPT);
        assert!(worst[0].as_f64().unwrap() >= 4.5, "{name}, dark {dark}: {worst}");
    }
    browser.look(390, false);
}
