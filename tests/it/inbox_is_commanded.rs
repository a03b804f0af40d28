//! `tidings inbox`: conversations are read, answered, noted, closed, handed over, split and joined by command, and what cannot be done says
//! why.

use serde_json::Value;

use crate::support::daemon::Site;

/// A reader's message, taken from a file as an MTA's pipe hands it over.
fn ingest(site: &Site, id: &str, subject: &str, text: &str) {
    let raw = format!(
        "From: Reader <p00000@readers.example>\r\nTo: support@news.example.org\r\nSubject: {subject}\r\nMessage-ID: <{id}@readers.example>\r\n\
         \r\n{text}\r\n"
    );
    std::fs::write(site.path().join("mail.eml"), raw).unwrap();
    let answer = site.run(&["ingest", "mail.eml", "--recipient", "support@news.example.org"]);
    assert_eq!(answer.code, 0, "{answer:?}");
}

fn kinds(thread: &Value) -> Vec<&str> {
    thread["posts"].as_array().unwrap().iter().map(|post| post["kind"].as_str().unwrap()).collect()
}

fn refused(site: &Site, args: &[&str], why: &str) {
    let answer = site.run(args);
    assert!(answer.code == 1 && answer.err.contains(why), "{args:?}: {answer:?}");
}

#[test]
fn the_inbox_is_commanded() {
    let site = Site::shipped();
    site.import(1);
    ingest(&site, "q1", "Does it fit?", "Does it fit?");
    let list = site.json(&["inbox", "list", "--json"]);
    assert_eq!((&list[0]["state"], &list[0]["number"]), (&"open".into(), &1.into()), "{list}");
    refused(
        &site,
        &["inbox", "reply", "1", "--text", "Ask mira@staff.example.net"],
        "its words hold the address mira@staff.example.net",
    );
    refused(&site, &["inbox", "reply", "1", "--text", " "], "there are no words");
    refused(&site, &["inbox", "reply", "9", "--text", "Yes"], "there is no conversation 9");
    refused(&site, &["inbox", "reply", "1", "--text", "Yes", "--as", "Eve"], "nobody is called `Eve`");
    refused(&site, &["inbox", "reply", "1", "--text", "Yes.\n\nM\n+00 555 0100"], "--anyway sends it");
    std::fs::write(site.path().join("a.pdf"), b"%PDF-1.7").unwrap();
    refused(
        &site,
        &["inbox", "reply", "1", "--text", "See it", "--attach", "a.pdf"],
        "a.pdf cannot go with it",
    );
    refused(&site, &["inbox", "reopen", "1"], "is not closed");
    refused(&site, &["inbox", "split", "1", "--from", "1"], "is not in conversation 1, or is its first one");
    refused(&site, &["inbox", "merge", "1", "1"], "are one");

    let replied = site.json(&["inbox", "reply", "1", "--text", "Yes, it fits.", "--as", "mira", "--json"]);
    assert_eq!(
        (&replied["state"], kinds(&replied)),
        (&"waiting".into(), vec!["subscriber", "automatic", "staff"]),
        "{replied}"
    );
    assert_eq!(replied["posts"][2]["from"], "mira@staff.example.net");
    let queued = site.json(&["deliveries", "list", "--state", "queued", "--json"]);
    let answers = queued.as_array().unwrap().iter().filter(|row| row["kind"] == "answer");
    assert_eq!(
        answers.map(|row| row["address"].as_str().unwrap()).collect::<Vec<_>>(),
        ["p00000@readers.example"]
    );
    let noted = site.json(&["inbox", "note", "1", "--text", "A friend of Eve's.", "--json"]);
    assert_eq!((&noted["state"], kinds(&noted).last()), (&"waiting".into(), Some(&"note")));
    let handed = site.json(&["inbox", "assign", "1", "Mira", "--json"]);
    assert_eq!(handed["assigned_to"], "Mira");
    assert_eq!(site.json(&["inbox", "assign", "1", "nobody", "--json"])["assigned_to"], Value::Null);

    ingest(&site, "q2", "Another matter", "And an invoice?");
    let merged = site.json(&["inbox", "merge", "2", "1", "--json"]);
    assert_eq!(
        (&merged["number"], &merged["state"], &merged["posts"].as_array().unwrap().len()),
        (&1.into(), &"open".into(), &5),
        "{merged}"
    );
    assert_eq!(site.json(&["inbox", "show", "2", "--json"])["number"], 1, "it is followed");
    let moved = merged["posts"][4]["id"].to_string();
    let split = site.json(&["inbox", "split", "1", "--from", &moved, "--json"]);
    assert_eq!(
        (&split["number"], &split["state"], kinds(&split)),
        (&3.into(), &"open".into(), vec!["subscriber"]),
        "{split}"
    );
    assert_eq!(site.json(&["inbox", "close", "3", "--json"])["state"], "closed");
    refused(&site, &["inbox", "close", "3"], "is closed already");
    let closed = site.json(&["inbox", "list", "--state", "closed", "--json"]);
    assert_eq!(closed[0]["number"], 3);
    assert_eq!(site.json(&["inbox", "list", "--search", "FITS", "--json"]).as_array().unwrap().len(), 1);
    assert_eq!(site.json(&["inbox", "reopen", "3", "--json"])["state"], "open");
    assert_eq!(site.run(&["inbox", "list", "--state", "gone"]).code, 2);
}

/// Tiers that have answers from a person stand first, however long the others wait.
#[test]
fn who_pays_for_answers_is_listed_first() {
    let site = Site::shipped();
    site.import(3);
    ingest(&site, "q1", "Free", "First?");
    let raw = "From: p00002@readers.example\r\nTo: support@news.example.org\r\nSubject: Paid\r\nMessage-ID: <q2@readers.example>\r\n\r\nSecond?\r\n";
    std::fs::write(site.path().join("mail.eml"), raw).unwrap();
    site.run(&["ingest", "mail.eml", "--recipient", "support@news.example.org"]);
    let list = site.json(&["inbox", "list", "--json"]);
    let subjects: Vec<&str> =
        list.as_array().unwrap().iter().map(|row| row["subject"].as_str().unwrap()).collect();
    assert_eq!(subjects, ["Paid", "Free"]);
}
