//! Every command as scripts use it: exit codes, and the keys of its JSON document.

use std::net::TcpListener;

use secrecy::ExposeSecret;
use serde_json::Value;
use tidings::domain::settings::StorageUrl;

use crate::support::daemon::{Answer, EDITION, Site};
use crate::support::peer::Peer;
use crate::support::stores::TestStore;

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// Exactly these keys, in any order.
fn has(value: &Value, promised: &str) {
    let mut promised: Vec<&str> = promised.split(' ').collect();
    promised.sort_unstable();
    assert_eq!(keys(value), promised, "{value}");
}

fn ends(answer: &Answer, code: i32, says: &str) {
    assert_eq!(answer.code, code, "{answer:?}");
    assert!(answer.err.contains(says), "{answer:?}");
    assert!(code == 0 || answer.out.is_empty(), "a refusal is no result: {answer:?}");
}

const EDITION_KEYS: &str = "slug state slot due_at queued_at finished_at audience counts tiers";
const COUNT_KEYS: &str = "queued leased accepted refused expired uncertain skipped parked";
const THREAD_KEYS: &str =
    "thread number state subscriber tier subject edition assigned_to waiting_since posts last_post_at";

#[test]
fn check_tells_all_problems_at_once() {
    let site = Site::shipped();
    let sound = site.run(&["check", "--json"]);
    assert_eq!((sound.code, &sound.json()["problems"]), (0, &serde_json::json!([])), "{sound:?}");
    site.change("tidings.toml", "drain = \"60s\"", "drain = \"soon\"\ndrian = \"1s\"");
    let broken = site.run(&["check", "--json"]);
    let problems = broken.json();
    let problems = problems["problems"].as_array().unwrap();
    assert_eq!((broken.code, problems.len()), (1, 2), "{broken:?}");
    for problem in problems {
        has(problem, "file line column key problem hint severity");
        assert_eq!(problem["severity"], "error");
    }
}

#[test]
fn wrong_usage_is_2_and_a_wrong_config_78() {
    let site = Site::shipped();
    for args in [
        &["subscribers", "show"][..],
        &["editions", "sing"],
        &["deliveries", "list", "--state", "lost"],
        &["subscribers", "show", "not an address"],
        &["subscribers", "add", "a@readers.example", "--tier", "golden"],
        &["preview", EDITION, "--tier", "golden"],
        &["preview", "unknown", "--tier", "free"],
    ] {
        ends(&site.run(args), 2, "");
    }
    site.change("tidings.toml", "drain = \"60s\"", "drain = \"soon\"");
    for args in [&["run"][..], &["editions", "list"], &["subscribers", "show", "a@readers.example"]] {
        ends(&site.run(args), 78, "tidings.toml:");
    }
    let nowhere = site.run(&["editions", "list", "--config", "elsewhere/tidings.toml"]);
    ends(&nowhere, 78, "elsewhere/tidings.toml");
}

#[test]
fn a_database_that_is_not_there_is_69() {
    let site = Site::shipped();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("url = \"postgres://tidings@{nobody}/tidings\"");
    site.change("tidings.toml", "url = \"sqlite://var/tidings.db\"", &url);
    for args in [&["run"][..], &["editions", "list"], &["inbox", "list"], &["migrate"]] {
        ends(&site.run(args), 69, "");
    }
    // An MTA's pipe tries again, whatever the reason.
    ends(&site.run(&["ingest", "config/tidings.toml"]), 75, "");
}

#[tokio::test]
async fn a_database_that_does_not_know_us_is_a_wrong_config() {
    let Some(store) = TestStore::postgres().await else { return };
    let StorageUrl::Postgres(url) = &store.url else { unreachable!("it is a PostgreSQL store") };
    let site = Site::shipped();
    let url = format!("url = \"{}_elsewhere\"", url.expose_secret());
    site.change("tidings.toml", "url = \"sqlite://var/tidings.db\"", &url);
    ends(&site.run(&["editions", "list"]), 78, "does not exist");
    store.remove().await;
}

#[test]
fn people_are_added_shown_and_let_go() {
    let site = Site::shipped();
    std::fs::write(
        site.path().join("people.csv"),
        "email,name,tier,status,term_started_at\nann@readers.example,Ann,yearly,active,2026-11-01\nwho,,free,active,\n",
    )
    .unwrap();
    let report = site.json(&["subscribers", "import", "people.csv", "--json"]);
    for key in ["format", "rows", "added", "updated", "unchanged", "suppressed", "skipped"] {
        assert!(report.get(key).is_some(), "{key}: {report}");
    }
    assert_eq!((&report["format"], &report["added"]), (&"tidings".into(), &1.into()), "{report}");
    has(&report["skipped"][0], "line address reason");
    assert_eq!(report["skipped"][0]["line"], 3);

    let ann = site.json(&["subscribers", "show", "ann@readers.example", "--json"]);
    has(&ann, "address name tier status timezone language term consent suppression note paused_until");
    has(&ann["term"], "started_at ends_at refund_until extras_used");
    has(&ann["consent"][0], "at source text");
    assert_eq!((&ann["suppression"], &ann["consent"][0]["source"]), (&Value::Null, &"unproven".into()));
    assert!(ann["term"]["refund_until"].as_str().unwrap().starts_with("2026-11-11T"), "{ann}");

    ends(&site.run(&["subscribers", "add", "bob@readers.example", "--tier", "free"]), 0, "");
    ends(&site.run(&["subscribers", "add", "bob@readers.example", "--tier", "free"]), 1, "there already");
    ends(&site.run(&["subscribers", "unsubscribe", "bob@readers.example"]), 0, "");
    ends(&site.run(&["subscribers", "unsubscribe", "eve@readers.example"]), 1, "no subscriber");
    ends(&site.run(&["subscribers", "show", "eve@readers.example"]), 1, "no subscriber");
    let bob = site.json(&["subscribers", "show", "bob@readers.example", "--json"]);
    assert_eq!(bob["status"], "unsubscribed");

    ends(&site.run(&["suppressions", "add", "ann@readers.example"]), 0, "");
    let list = site.json(&["suppressions", "list", "--json"]);
    list.as_array().unwrap().iter().for_each(|row| has(row, "address reason at source"));
    let ann = site.json(&["subscribers", "show", "ann@readers.example", "--json"]);
    has(&ann["suppression"], "reason at");
    assert_eq!(ann["suppression"]["reason"], "manual");
    ends(&site.run(&["suppressions", "remove", "ann@readers.example"]), 2, "--reason");
    let remove = ["suppressions", "remove", "ann@readers.example", "--reason", "they asked"];
    ends(&site.run(&remove), 0, "");
    ends(&site.run(&remove), 1, "not suppressed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edition_is_planned_sent_and_listed() {
    let peer = Peer::willing().await;
    let site = Site::sending_to(peer.address);
    site.import(10);
    ends(&site.run(&["editions", "show", "unknown"]), 1, "there is no edition `unknown`");
    for change in ["pause", "resume", "cancel", "retry"] {
        ends(&site.run(&["editions", change, "unknown"]), 1, "there is no edition `unknown`");
    }
    let planned = site.edition();
    has(&planned, EDITION_KEYS);
    has(&planned["counts"], COUNT_KEYS);
    assert_eq!((&planned["state"], &planned["queued_at"]), (&"planned".into(), &Value::Null));
    assert_eq!(site.json(&["editions", "list", "--json"]), serde_json::json!([planned]));
    assert_eq!(site.json(&["deliveries", "list", "--json"]), serde_json::json!([]));

    let daemon = site.start();
    let sent = site.edition_in(&["sent"]);
    has(&sent, EDITION_KEYS);
    has(&sent["counts"], COUNT_KEYS);
    assert_eq!(keys(&sent["tiers"]), ["free", "lifetime", "monthly", "yearly"]);
    has(&sent["tiers"]["free"], "audience accepted");
    assert_eq!(sent["tiers"]["free"], serde_json::json!({"audience": 4, "accepted": 4}));
    assert!(sent["finished_at"].as_str().unwrap().ends_with('Z'), "{sent}");
    assert_eq!(site.json(&["editions", "list", "--json"]), serde_json::json!([sent]));
    ends(&site.run(&["editions", "pause", EDITION]), 1, "is sent");
    daemon.stop();

    let list = site.json(&["deliveries", "list", "--edition", EDITION, "--json"]);
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 10);
    let taken = peer.taken();
    for row in list {
        has(
            row,
            "id edition kind address tier state attempt relay lane message_id last_reply due_at settled_at",
        );
        assert_eq!(
            (&row["kind"], &row["state"], &row["lane"]),
            (&"edition".into(), &"accepted".into(), &"other".into())
        );
        assert_eq!((&row["relay"], &row["attempt"]), (&"main".into(), &1.into()));
        let mail = taken.iter().find(|mail| row["address"] == mail.to.as_str()).unwrap();
        let parsed = mail_parser::MessageParser::new().parse(&mail.bytes).unwrap();
        let shown = row["message_id"].as_str().unwrap();
        assert_eq!(shown.trim_matches(['<', '>']), parsed.message_id().unwrap());
    }
    let none = site.json(&["deliveries", "list", "--edition", EDITION, "--state", "refused", "--json"]);
    assert_eq!(none, serde_json::json!([]));
}

#[test]
fn raw_messages_are_taken_from_files_and_shown() {
    let site = Site::shipped();
    std::fs::write(
        site.path().join("a.eml"),
        "From: Ann <ann@readers.example>\r\nTo: support@news.example.org\r\nSubject: A question\r\n\
         Message-ID: <q1@readers.example>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nHow do I pay?\r\n\
         --b\r\nContent-Type: image/png; name=a.png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n--b--\r\n",
    )
    .unwrap();
    assert_eq!(site.json(&["inbox", "list", "--json"]), serde_json::json!([]));
    assert_eq!(site.json(&["inbound", "list", "--json"]), serde_json::json!([]));
    let taken = site.run(&["ingest", "a.eml", "--recipient", "support@news.example.org"]);
    assert_eq!(taken.code, 0, "{taken:?}");
    let again = site.run(&["ingest", "a.eml", "--recipient", "support@news.example.org"]);
    assert!(again.code == 0 && again.out.contains("received before"), "{again:?}");
    ends(&site.run(&["ingest", "missing.eml"]), 75, "missing.eml");
    // Several files: one that is missing or too large stops no other, and what can be tried again decides about the code.
    std::fs::write(site.path().join("large.eml"), vec![b'x'; 25_000_001]).unwrap();
    std::fs::write(
        site.path().join("b.eml"),
        "From: b@readers.example\r\nSubject: list\r\nPrecedence: bulk\r\n\r\nx\r\n",
    )
    .unwrap();
    ends(&site.run(&["ingest", "large.eml"]), 1, "larger than 25000000 octets");
    let several = site.run(&[
        "ingest",
        "large.eml",
        "missing.eml",
        "b.eml",
        "a.eml",
        "--recipient",
        "x@elsewhere.example",
    ]);
    assert!(several.code == 75 && several.err.contains("missing.eml"), "{several:?}");
    assert_eq!(several.out.lines().count(), 2, "{several:?}");

    let threads = site.json(&["inbox", "list", "--json"]);
    has(&threads[0], THREAD_KEYS);
    assert_eq!((&threads[0]["state"], &threads[0]["posts"]), (&"open".into(), &1.into()), "{threads}");
    let number = threads[0]["number"].to_string();
    let thread = site.json(&["inbox", "show", &number, "--json"]);
    let mut promised = keys(&threads[0]);
    promised.sort_unstable();
    assert_eq!(keys(&thread), promised, "posts are a list here");
    let post = &thread["posts"][0];
    has(post, "id kind from at text folded attachments message_id");
    has(&post["attachments"][0], "name type bytes");
    assert_eq!((&post["kind"], &post["attachments"][0]["bytes"]), (&"subscriber".into(), &8.into()));
    ends(&site.run(&["inbox", "show", "999"]), 1, "no conversation 999");

    let list = site.json(&["inbound", "list", "--json"]);
    has(&list[0], "id received_at source recipient verdict reason thread state");
    assert_eq!((&list[0]["source"], &list[0]["verdict"]), (&"file".into(), &"support_message".into()));
    assert_eq!(site.json(&["inbound", "list", "--state", "quarantined", "--json"]), serde_json::json!([]));
    assert_eq!(site.json(&["inbound", "show", "1", "--json"])["verdict"], "support_message");
    ends(&site.run(&["inbound", "show", "999"]), 1, "no received message 999");
    ends(&site.run(&["inbound", "rerun", "1"]), 1, "is done");
}

#[test]
fn a_preview_is_written_and_completions_are_printed() {
    let site = Site::shipped();
    let text = site.run(&["preview", EDITION, "--tier", "free"]);
    assert!(text.code == 0 && text.out.starts_with("Subject: "), "{text:?}");
    ends(&site.run(&["preview", EDITION, "--tier", "yearly", "--out", "seen"]), 0, "");
    for extension in ["eml", "html", "txt"] {
        assert!(site.path().join(format!("seen/{EDITION}-yearly.{extension}")).exists(), "{extension}");
    }
    ends(
        &site.run(&["preview", EDITION, "--tier", "free", "--as", "eve@readers.example"]),
        1,
        "no subscriber",
    );
    for shell in ["bash", "zsh", "fish"] {
        let script = site.run(&["completions", shell]);
        assert!(script.code == 0 && script.out.contains("tidings"), "{shell}");
    }
    ends(&site.run(&["completions", "abacus"]), 2, "abacus");
}

#[test]
fn a_preview_goes_by_mail_to_people_of_the_house_only() {
    let site = Site::sending_to("127.0.0.1:9".parse().unwrap());
    // The edition is due now, and nobody queues it here: only the preview is sent.
    site.change("publication.toml", "editors = []", "editors = [\"ed@example.org\"]");
    site.import(5);
    let to =
        |address: &str, more: &[&str]| site.run(&[&["preview", EDITION, "--to", address], more].concat());
    ends(&to("p00000@readers.example", &[]), 1, "add it to `editors`");
    ends(&to("nonsense", &[]), 2, "is not an address");
    ends(&to("ed@example.org", &["--tier", "gold"]), 2, "tiers are free, monthly, yearly, lifetime");
    ends(&to("ed@example.org", &["--as", "nobody@readers.example"]), 1, "there is no subscriber");
    assert_eq!(site.json(&["deliveries", "list", "--json"]), serde_json::json!([]), "nothing was queued");
    let queued = to("ed@example.org", &["--tier", "yearly", "--as", "p00003@readers.example", "--json"]);
    let queued = queued.json();
    has(&queued[0], "delivery tier address");
    let said = to("ED@example.org", &[]);
    assert!(
        said.out.contains("the mail of lifetime") && said.out.contains("No daemon is running"),
        "{said:?}"
    );
    site.run(&["suppressions", "add", "ed@example.org"]);
    ends(&to("ed@example.org", &[]), 1, "is suppressed (manual)");
}

#[test]
fn a_coming_date_can_be_shown_and_previewed() {
    let site = Site::with_slots();
    let dates = site.json(&["schedule", "--count", "5", "--json"]);
    let date = dates.as_array().unwrap().iter().find(|date| date["slot"] == "weekly").unwrap();
    let slug = format!("weekly-{}", date["date"].as_str().unwrap());
    let shown = site.json(&["editions", "show", &slug, "--json"]);
    assert_eq!((&shown["state"], &shown["slot"]), (&"planned".into(), &date["slot"]));
    let out = site.path().join("out");
    let preview = site.run(&["preview", &slug, "--tier", "yearly", "--out", out.to_str().unwrap()]);
    assert_eq!(preview.code, 0, "{preview:?}");
    assert!(out.join(format!("{slug}-yearly.eml")).is_file());
    ends(&site.run(&["preview", "weekly-1999-01-05", "--out", "out"]), 2, "no slot has such a date");
}

#[test]
fn a_due_edition_that_cannot_be_queued_says_why() {
    let site = Site::sending_to("127.0.0.1:9".parse().unwrap());
    site.change("publication.toml", "\"federated-learning\"]", "\"federatd-learning\"]");
    let answer = site.run(&["editions", "show", EDITION]);
    assert!(answer.code == 0 && answer.out.contains("It is due and cannot be queued:"), "{answer:?}");
    assert!(answer.out.contains("federatd-learning"), "{answer:?}");
    site.change("publication.toml", "slug = \"first-light\"", "slug = \"first light\"");
    ends(&site.run(&["editions", "show", EDITION]), 78, "publication.toml");
}
