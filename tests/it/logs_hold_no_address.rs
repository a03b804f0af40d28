//! Everything that the program itself can log, at its finest level, while it sends, is refused, and receives: no address of anybody
//! is in it, and the fields have the same names everywhere.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::daemon::{EDITION, Site, until};
use crate::support::lmtp::Lmtp;
use crate::support::peer::{Do, Peer, Stage};
use crate::support::receiving::message;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_are_masked_at_every_level_and_fields_have_one_name() {
    // Replies name the recipient, as those of real servers do.
    let peer = Peer::start(&["PIPELINING"], |moment| match (moment.stage, moment.message) {
        (Stage::Rcpt, 2) => {
            Do::Say("550 5.1.1 <p00003@readers.example>: unknown (owner reader@secret.example)")
        }
        (Stage::Dot, 3) => Do::Say("451 4.3.0 try later, p00004@readers.example"),
        (Stage::Mail, 5) => Do::SayAndClose("451 4.7.1 <bounce+abc@news.example.org> slow down"),
        (Stage::Dot, 7) => Do::Close,
        _ => Do::Go,
    })
    .await;
    let site = Site::sending_to(peer.address).with_pages();
    site.change("tidings.toml", "operators = []", "operators = [\"ops@operators.example\"]");
    site.hurry();
    site.import(40);
    let daemon = site.start_as(&["run"], |command| {
        command.env("TIDINGS_LOG", "tidings=trace").env("TIDINGS_LOG_FORMAT", "json");
    });
    site.edition_in(&["sent", "attention"]);
    let door = {
        let log = daemon.log();
        let ready = log.lines().find(|line| line.contains("\"ready\"")).unwrap();
        let ready: Value = serde_json::from_str(ready).unwrap();
        ready["fields"]["lmtp"].as_str().unwrap().parse().unwrap()
    };
    let mut lmtp = Lmtp::connect(door);
    for (number, to) in ["support@news.example.org", "leave+abc@news.example.org", "nobody@elsewhere.example"]
        .iter()
        .enumerate()
    {
        let id = format!("{number}@writers.example");
        let raw = message(
            "Secret Writer <secret.writer@writers.example>",
            &id,
            "Cc: other@writers.example\r\n",
            "Words.",
        );
        lmtp.deliver("secret.writer@writers.example", to, &raw);
    }
    let mut lmtp = Lmtp::connect(door);
    lmtp.deliver("secret.writer@writers.example", "support@news.example.org", b"\xff\xfe no mail at all \0");
    until("all of them are understood", || {
        let list = site.json(&["inbound", "list", "--json"]);
        let list = list.as_array().unwrap().clone();
        (list.len() >= 3 && list.iter().all(|row| row["state"] == "done")).then_some(())
    });
    site.run(&["editions", "pause", EDITION]);
    daemon.signal(libc::SIGHUP);
    until("the reload is in the log", || daemon.log().contains("editors").then_some(()));
    daemon.ask_to_stop();
    let (status, log) = daemon.ended();
    assert_eq!(status.code(), Some(0), "{log}");

    let hidden =
        ["p000", "secret.writer@", "secret.writer", "reader@", "other@", "ops@", "bounce+", "Secret Writer"];
    for line in log.lines() {
        for address in hidden {
            assert!(!line.contains(address), "`{address}` in {line}");
        }
    }
    // It did say something about them.
    assert!(log.contains("p***@readers.example") && log.contains("s***@writers.example"), "{log}");
    let fields: Vec<Value> =
        log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["fields"].take()).collect();
    let settled: Vec<&Value> =
        fields.iter().filter(|fields| fields["message"] == "delivery settled").collect();
    assert!(settled.len() >= 40, "{log}");
    for fields in &settled {
        for name in ["delivery", "attempt", "state", "class", "relay", "to", "reply"] {
            assert!(!fields[name].is_null(), "no {name} in {fields}");
        }
    }
    let classes: BTreeSet<&str> = settled.iter().map(|fields| fields["class"].as_str().unwrap()).collect();
    assert!(classes.contains("accepted") && classes.contains("refused"), "{classes:?}");
}
