//! Real peers: with only the relay line changed an edition goes to Postfix's own test server and through a Postfix with a queue.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use crate::support::certificates::Authority;
use crate::support::daemon::{EDITION, Site, until};
use crate::support::peer::{PASSWORD, USERNAME};
use crate::support::postfix::{Postfix, Secured, SmtpSink, count, is_here, read_by_python};

const PEOPLE: usize = 150;

/// Sends the edition there and looks at what arrived.
fn send_and_look(who: &str, relay: SocketAddr, mails: &Path, log: impl Fn() -> String) {
    look(who, &Site::sending_to(relay), mails, log);
}

fn look(who: &str, site: &Site, mails: &Path, log: impl Fn() -> String) {
    let people: BTreeSet<String> = site.import(PEOPLE).into_iter().collect();
    let daemon = site.start();
    let edition = site.edition_in(&["sent", "attention"]);
    daemon.stop();
    assert_eq!((&edition["state"], &edition["audience"]), (&"sent".into(), &PEOPLE.into()), "{edition}");
    assert_eq!(edition["counts"]["accepted"], PEOPLE, "{edition}");
    until(&format!("{who}: {PEOPLE} files: {}", log()), || (count(mails) >= PEOPLE).then_some(()));
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

fn url(address: SocketAddr, implicit: bool) -> String {
    format!("{}://{address}", if implicit { "smtps" } else { "smtp+starttls" })
}

#[test]
fn postfix_over_starttls_and_over_tls_with_a_password_delivers() {
    if !is_here() {
        return;
    }
    let authority = Authority::new();
    let identity = authority.server("127.0.0.1");
    for implicit in [false, true] {
        let postfix = Postfix::start_secured("readers.example", Secured { identity: &identity, implicit });
        let site = Site::sending_to(postfix.address);
        let url = url(postfix.address, implicit);
        site.secure_relay(postfix.address, &url, &authority.certificate, (USERNAME, PASSWORD));
        look(&url, &site, &postfix.mails, || postfix.log());
        let log = postfix.log();
        assert!(log.contains("sasl_username=tidings"), "{log}");
        assert!(log.contains("TLS connection established"), "{log}");
    }
}

/// A certificate that does not fit, or a wrong password: no MAIL, recipients stay queued, one alarm, however often it is tried.
#[test]
fn a_postfix_that_is_not_the_one_named_gets_no_mail() {
    if !is_here() {
        return;
    }
    let authority = Authority::new();
    let (right, stranger) = (authority.server("127.0.0.1"), Authority::new().server("127.0.0.1"));
    let (elsewhere, expired) = (authority.server("mta.example"), authority.expired_server("127.0.0.1"));
    let cases = [
        ("wrong name", &elsewhere, true, PASSWORD, "certificate not valid for name"),
        ("expired", &expired, false, PASSWORD, "certificate expired"),
        ("unknown CA", &stranger, true, PASSWORD, "UnknownIssuer"),
        ("wrong password", &right, false, "guessed", "535"),
    ];
    for (case, identity, implicit, password, words) in cases {
        let postfix = Postfix::start_secured("readers.example", Secured { identity, implicit });
        let site = Site::sending_to(postfix.address);
        let url = url(postfix.address, implicit);
        site.secure_relay(postfix.address, &url, &authority.certificate, (USERNAME, password));
        site.import(20);
        let before = postfix.log().matches(": connect from").count();
        let daemon = site.start();
        until(&format!("{case}: it is stopped"), || {
            daemon.log().contains("the relay is stopped").then_some(())
        });
        let tried = postfix.log().matches(": connect from").count();
        assert!(tried > before);
        let mut asked = 0;
        until(&format!("{case}: it is tried again"), || {
            // What was on its way at the first word may have stopped it once more.
            if asked % 100 == 0 {
                daemon.hang_up();
            }
            asked += 1;
            (postfix.log().matches(": connect from").count() > tried).then_some(())
        });
        let edition = site.edition();
        assert_eq!(
            (&edition["state"], &edition["counts"]["queued"]),
            (&"sending".into(), &20.into()),
            "{edition}"
        );
        let deliveries = site.json(&["deliveries", "list", "--edition", EDITION, "--json"]);
        for row in deliveries.as_array().unwrap() {
            assert_eq!((&row["state"], &row["attempt"]), (&"queued".into(), &0.into()), "{case}: {row}");
        }
        let log = daemon.log();
        let alarms: Vec<_> = log.lines().filter(|line| line.contains("ERROR")).collect();
        assert!(alarms.len() == 1 && alarms[0].contains(words), "{case}: {alarms:?}");
        assert!(!log.contains("guessed"));
        let theirs = postfix.log();
        assert!(!theirs.contains("from=<") && count(&postfix.mails) == 0, "{case}: {theirs}");
        println!("{case}: 20 queued, no MAIL, one alarm");
        daemon.stop();
    }
}
