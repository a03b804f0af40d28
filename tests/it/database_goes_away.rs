//! PostgreSQL is stopped in the middle of an edition and started again: nothing is sent that cannot be settled, senders are asked
//! to come later, and the daemon goes on by itself.

use std::collections::BTreeSet;

use crate::support::cluster::Cluster;
use crate::support::daemon::{Site, until};
use crate::support::http::get;
use crate::support::lmtp::Lmtp;
use crate::support::peer::Peer;
use crate::support::receiving::message;

const PEOPLE: usize = 1_500;
const CONNECTIONS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_gone_and_comes_back() {
    let Some(cluster) = Cluster::start() else { return };
    let peer = Peer::willing().await;
    let site = Site::sending_to(peer.address).with_pages();
    site.hurry();
    let url = format!("url = \"{}\"", cluster.url());
    site.change("tidings.toml", "url = \"sqlite://var/tidings.db\"", &url);
    site.change("tidings.toml", "operators = []", "operators = [\"ops@example.org\"]");
    assert_eq!(site.run(&["migrate"]).code, 0);
    let people = site.import(PEOPLE);
    let daemon = site.start();
    until("300 messages", || (peer.count() >= 300).then_some(()));
    cluster.stop();
    // Each connection may have one message on its way that cannot be settled now, and takes no other.
    let at_the_stop = peer.count();
    until("the daemon has noticed", || daemon.log().contains("alarm: ").then_some(()));
    let health = get(daemon.pages(), "/health");
    assert_eq!(health.code, 503, "{}", health.body);
    assert!(health.body.contains("the store: "), "{}", health.body);
    let raw = message("Reader <reader@readers.example>", "1@readers.example", "", "A question.");
    let reply =
        Lmtp::connect(daemon.lmtp()).deliver("reader@readers.example", "support@news.example.org", &raw);
    assert!(reply.starts_with('4'), "{reply}");
    assert!(peer.count() <= at_the_stop + CONNECTIONS, "{} after {at_the_stop}", peer.count());

    cluster.go_on();
    let edition = site.edition_in(&["sent", "attention"]);
    assert_eq!(edition["state"], "sent", "{edition}");
    assert_eq!(edition["counts"]["accepted"], PEOPLE, "{edition}");
    let reply =
        Lmtp::connect(daemon.lmtp()).deliver("reader@readers.example", "support@news.example.org", &raw);
    assert!(reply.starts_with("250"), "{reply}");
    until("the alarm", || peer.taken().iter().any(|mail| mail.to == "ops@example.org").then_some(()));
    until("health", || (get(daemon.pages(), "/health").code == 200).then_some(()));
    daemon.stop();

    let recipients: Vec<String> =
        peer.taken().into_iter().map(|mail| mail.to).filter(|to| to.ends_with("@readers.example")).collect();
    let distinct: BTreeSet<&String> = recipients.iter().collect();
    assert_eq!(distinct.len(), people.len(), "nobody is missed");
    let doubles = recipients.len() - distinct.len();
    println!("PostgreSQL stopped and started: missed 0, doubles {doubles}");
    assert!(doubles <= CONNECTIONS, "{doubles}");
}
