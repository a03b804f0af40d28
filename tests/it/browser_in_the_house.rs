//! The day of a member of staff and of an editor in a real browser, on a running daemon: at both widths and by day and night, without a
//! script and without a sideways scroll. `TIDINGS_SHOTS=DIR` keeps the pictures.

use crate::browser_subscribes::shots;
use crate::support::chromium::Chromium;
use crate::support::daemon::{Daemon, Site, until};
use crate::support::lmtp::Lmtp;
use crate::support::peer::Peer;
use crate::support::public::parsed;
use crate::support::receiving::message;

const MIRA: &str = "mira@staff.example.net";
const EDITOR: &str = "ed@example.org";

const QUESTION: &str = "Hello, thanks for the piece on shrinking models. I tried quantise.py on a small ResNet and it stops \
    with a shape error in the first layer. Is it meant for linear layers only, or do I hold it wrong?\n\n\
    And would you round depthwise layers at all?\n\nJonas\n\nOn Tue, 24 Nov 2026 at 09:12, Example News wrote:\n> Make the model smaller\n> before you make the server bigger.\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_day_of_a_member_of_staff_and_of_an_editor() {
    let peer = Peer::willing().await;
    let site = Site::sending_to(peer.address).with_pages();
    site.change("publication.toml", "editors = []", &format!("editors = [\"{EDITOR}\"]"));
    let day = tokio::task::spawn_blocking(move || {
        if let Some(browser) = Chromium::start() {
            play(browser, &site, &peer);
        }
    });
    day.await.unwrap();
}

fn sign_in(browser: &mut Chromium, daemon: &Daemon, peer: &Peer, who: &str) {
    let here = daemon.pages();
    browser.open(&format!("http://{here}/sign-in"));
    browser.write("#address", who);
    // A form that is sent within a second is shown again, with what was typed.
    until("the form is taken", || {
        browser.press("main form button");
        browser.text().contains("Look into your mailbox").then_some(())
    });
    let mail = until("a link", || {
        let mails = peer.taken();
        mails
            .into_iter()
            .rev()
            .find(|mail| mail.to == who && parsed(mail).subject().unwrap_or_default().starts_with("Sign in"))
    });
    let message = parsed(&mail);
    let text = message.body_text(0).unwrap();
    let (_, link) = text.split_once("/s/").unwrap();
    browser.open(&format!("http://{here}/s/{}", link.split_whitespace().next().unwrap()));
    browser.press("main form button");
}

fn play(mut browser: Chromium, site: &Site, peer: &Peer) {
    // Slow enough to be looked at.
    site.change("tidings.toml", "rate = \"50/s\"\n", "rate = \"8/s\"\n");
    // Dates to come, on a day that no test meets.
    let publication = site.path().join("config/publication.toml");
    let text = std::fs::read_to_string(&publication).unwrap();
    let slot = "\n[[slots]]\nname = \"weekly\"\ncron = \"0 9 2 1 *\"\ntake = { min = 1, max = 2 }\n\
        tiers = [\"free\", \"monthly\", \"yearly\", \"lifetime\"]\nsubject = \"{{articles.0.title}}\"\nlate = \"1h\"\n";
    std::fs::write(&publication, format!("{text}{slot}")).unwrap();
    site.import(300);
    site.run(&["subscribers", "unsubscribe", "p00009@readers.example"]);
    let daemon = site.start();
    browser.look(1280, false);
    sign_in(&mut browser, &daemon, peer, EDITOR);
    the_editors_day(&mut browser, site, &daemon);
    let mut lmtp = Lmtp::connect(daemon.lmtp());
    for (n, words) in
        ["Could you issue the invoice again, with our number?", QUESTION].into_iter().enumerate()
    {
        let from = format!("p0000{}@readers.example", n + 3);
        let raw = message(&format!("Jonas Brandt <{from}>"), &format!("{n}@readers.example"), "", words);
        assert!(lmtp.deliver(&from, "support@news.example.org", &raw).starts_with("250"));
    }
    until("the conversations", || {
        let list = site.json(&["inbox", "list", "--json"]);
        (list.as_array().unwrap().len() == 2).then_some(())
    });
    browser.call("Network.clearBrowserCookies", serde_json::json!({}));
    sign_in(&mut browser, &daemon, peer, MIRA);
    the_day_at_the_desk(&mut browser, &daemon, peer);
    daemon.stop();
}

fn the_editors_day(browser: &mut Chromium, site: &Site, daemon: &Daemon) {
    let here = daemon.pages();
    site.edition_in(&["sending"]);
    browser.open(&format!("http://{here}/board?still"));
    until("the board counts", || {
        browser.open(&format!("http://{here}/board?still"));
        browser.text().contains("a second").then_some(())
    });
    shots(browser, "board");
    assert!(browser.text().contains("Who is left out"), "one unsubscribed: {}", browser.text());
    // The mail itself, of what goes out and of what is planned.
    let planned =
        browser.eval("document.querySelector('section.section a[href$=\"/look\"]').getAttribute('href')");
    for (name, path) in [
        ("look-queued", format!("/board/{}/look?tier=yearly", crate::support::daemon::EDITION)),
        ("look-planned", planned.as_str().unwrap().to_owned()),
    ] {
        browser.open(&format!("http://{here}{path}"));
        assert!(browser.text().contains("Subject:"), "{name}: {}", browser.text());
        let alone = browser.eval("document.querySelector('iframe').contentDocument === null");
        assert_eq!(alone, true, "{name}: the frame is nobody's");
        shots(browser, name);
    }
    browser.open(&format!("http://{here}/board?still"));
    browser.press("button[value=pause]");
    assert!(browser.text().contains("PAUSED") || browser.text().contains("Paused"), "{}", browser.text());
    assert_eq!(site.edition()["state"], "paused");
    shots(browser, "edition-paused");
    browser.press("button[value=resume]");
    assert_eq!(site.edition()["state"], "sending");
    browser.open(&format!("http://{here}/board/{}/cancel", crate::support::daemon::EDITION));
    assert!(browser.text().contains("will never be sent"), "{}", browser.text());
    shots(browser, "cancel");
    browser.press("button[value=cancel]");
    assert_eq!(site.edition()["state"], "cancelled");
    browser.open(&format!("http://{here}/desk"));
    assert!(browser.text().contains("This page is for others"), "{}", browser.text());
    shots(browser, "not-yours");
}

fn the_day_at_the_desk(browser: &mut Chromium, daemon: &Daemon, peer: &Peer) {
    let here = daemon.pages();
    browser.open(&format!("http://{here}/desk"));
    assert!(browser.text().contains("Waiting 2"), "{}", browser.text());
    shots(browser, "desk");
    browser.open(&format!("http://{here}/desk/2"));
    assert!(!browser.text().contains("before you make"), "quotes are folded: {}", browser.text());
    shots(browser, "conversation");
    browser.write("#text", "Lena has numbers for depthwise layers.");
    browser.press("button[value=note]");
    browser.write("#text", "Mail me: mira@staff.example.net");
    browser.press("button[value=answer]");
    assert!(browser.text().contains("Nothing was sent"), "{}", browser.text());
    shots(browser, "refused");
    // A file with the answer, without a script.
    let file = std::env::temp_dir().join(format!("tidings-{}.log", std::process::id()));
    std::fs::write(&file, "12 of 12\n").unwrap();
    let root = browser.call("DOM.getDocument", serde_json::json!({}));
    let find = serde_json::json!({ "nodeId": root["root"]["nodeId"], "selector": "#files" });
    let node = browser.call("DOM.querySelector", find);
    let chosen = serde_json::json!({ "nodeId": node["nodeId"], "files": [file.display().to_string()] });
    browser.call("DOM.setFileInputFiles", chosen);
    browser.write("#text", "Hi Jonas,\n\nyes, with one line before it: fold the kernel into one axis.");
    browser.press("button[value=answer]");
    let answered = |mail: &&crate::support::peer::Taken| {
        mail.to == "p00004@readers.example"
            && String::from_utf8_lossy(&mail.bytes).contains("fold the kernel")
            && parsed(mail).attachment_count() == 1
    };
    until("the answer", || peer.taken().iter().find(answered).map(|_| ()));
    std::fs::remove_file(&file).unwrap();
    browser.open(&format!("http://{here}/desk/2"));
    assert!(browser.text().contains("waits for them"), "{}", browser.text());
    shots(browser, "answered");
    browser.open(&format!("http://{here}/desk?search=invoice"));
    shots(browser, "search");
    // Each stop of the keyboard is seen, and the first one skips to the content.
    browser.open(&format!("http://{here}/desk/2"));
    for kind in ["keyDown", "keyUp"] {
        let key =
            serde_json::json!({ "type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9 });
        browser.call("Input.dispatchKeyEvent", key);
    }
    assert_eq!(browser.eval("document.activeElement.className"), "skip");
    let nameless = browser.eval(
        "[...document.querySelectorAll('input:not([type=hidden]), select, textarea')].filter(f => f.labels.length === 0).length",
    );
    assert_eq!(nameless, 0, "a field without a label");
    browser.press("button[value=close]");
    assert!(browser.text().contains("closed"), "{}", browser.text());
    browser.open(&format!("http://{here}/sign-out"));
    browser.press("main form button");
    browser.open(&format!("http://{here}/desk"));
    assert!(browser.text().contains("Sign in by mail"), "{}", browser.text());
    shots(browser, "sign-in");
}
