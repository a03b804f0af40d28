//! Real peers: with only the relay line changed an edition goes to Postfix's own test server and through a Postfix with a queue.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use crate::support::daemon::{Site, until};
use crate::support::postfix::{Postfix, SmtpSink, count, is_here, read_by_python};

const PEOPLE: usize = 150;

/// Sends the edition there and looks at what arrived.
fn send_and_look(who: &str, relay: SocketAddr, mails: &Path, log: impl Fn() -> String) {
    let site = Site::sending_to(relay);
    let people: BTreeSet<String> = site.import(PEOPLE).into_iter().collect();
    let daemon = site.start();
    let edition = site.edition_in(&["sent", "attention"]);
    daemon.stop();
    assert_eq!((&edition["state"], &edition["audience"]), (&"sent".into(), &PEOPLE.into()), "{edition}");
    assert_eq!(edition["counts"]["accepted"], PEOPLE, "{edition}");
    until(&format!("{PEOPLE} files: {}", log()), || (count(mails) >= PEOPLE).then_some(()));
    let read = read_by_python(mails);
    let mut recipients = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for mail in &read {
        assert_eq!(mail["defects"], serde_json::json!([]), "{mail}");
        assert_eq!(mail["types"], serde_json::json!(["multipart/alternative", "text/plain", "text/html"]));
        let to = mail["to"].as_array().unwrap();
        assert_eq!(to.len(), 1, "{mail}");
        recipients.insert(to[0].as_str().unwrap().to_owned());
        ids.insert(mail["id"].as_str().unwrap().to_owned());
    }
    assert_eq!((read.len(), ids.len()), (PEOPLE, PEOPLE));
    assert_eq!(recipients, people);
    println!(
        "{who}: audience {PEOPLE}, accepted {}, files {}, defects 0",
        edition["counts"]["accepted"],
        read.len()
    );
}

#[test]
fn smtp_sink_gets_one_sound_message_for_everybody() {
    if !is_here() {
        return;
    }
    let sink = SmtpSink::start();
    send_and_look("smtp-sink", sink.address, &sink.mails, String::new);
}

#[test]
fn postfix_with_a_queue_delivers_one_sound_message_to_everybody() {
    if !is_here() {
        return;
    }
    let postfix = Postfix::start("readers.example");
    send_and_look("Postfix", postfix.address, &postfix.mails, || postfix.log());
}
