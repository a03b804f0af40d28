//! SIGTERM in the middle of an edition: what is on the wire is answered and settled, the rest waits for the next start.

use std::collections::BTreeSet;

use crate::support::daemon::{EDITION, Site, until};
use crate::support::peer::{Do, Peer, Stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_are_awaited_and_the_next_start_finishes() {
    let peer = Peer::willing().await;
    let site = Site::sending_to(peer.address);
    site.hurry();
    // Slow enough that the stop comes before the end on any machine.
    let limit = "messages_per_connection = 100";
    site.change("tidings.toml", limit, &format!("rate = \"400/s\"\n{limit}"));
    let people = site.import(1_000);
    let daemon = site.start();
    until("200 messages", || (peer.count() >= 200).then_some(()));
    daemon.stop();
    let edition = site.edition();
    let counts = &edition["counts"];
    assert_eq!((&counts["uncertain"], &counts["leased"]), (&0.into(), &0.into()), "{edition}");
    assert_eq!(counts["accepted"], peer.count(), "every reply was settled");
    assert_ne!(counts["queued"], 0, "it stopped before the end");
    let daemon = site.start();
    let edition = site.edition_in(&["sent", "attention"]);
    daemon.stop();
    assert_eq!((&edition["state"], &edition["counts"]["accepted"]), (&"sent".into(), &1_000.into()));
    let recipients: BTreeSet<String> = peer.taken().into_iter().map(|mail| mail.to).collect();
    assert_eq!((peer.count(), recipients.len()), (people.len(), people.len()), "no doubles");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_does_not_come_in_time_leaves_an_uncertain_delivery() {
    // The first connection's second message is taken and never answered.
    let stalls = |moment: &crate::support::peer::Moment| {
        let met = moment.stage == Stage::Dot && moment.connection == 1 && moment.message == 2;
        if met { Do::Stall } else { Do::Go }
    };
    let peer = Peer::start(&["PIPELINING"], stalls).await;
    let site = Site::sending_to(peer.address);
    site.hurry();
    site.change("tidings.toml", "drain = \"60s\"", "drain = \"1s\"");
    site.change("tidings.toml", "on_uncertain = \"resend\"", "on_uncertain = \"hold\"");
    site.import(100);
    let daemon = site.start();
    until("all but one answered", || (site.edition()["counts"]["accepted"] == 99).then_some(()));
    daemon.stop();
    assert_eq!(site.edition()["counts"]["leased"], 1);
    let daemon = site.start();
    let edition = site.edition_in(&["sent", "attention"]);
    let told = "the edition stops here: deliveries wait for `editions retry`";
    until("it is told", || daemon.log().contains(told).then_some(()));
    daemon.stop();
    assert_eq!((&edition["state"], &edition["counts"]["uncertain"]), (&"attention".into(), &1.into()));
    let held = site.json(&["deliveries", "list", "--edition", EDITION, "--state", "uncertain", "--json"]);
    let unanswered = peer.taken().into_iter().find(|mail| !mail.acknowledged).unwrap();
    assert_eq!(held[0]["address"], unanswered.to.as_str());
}
