//! No byte more can be written to the SQLite file: nothing is sent that cannot be settled, senders are asked to come later, and
//! when there is room again the daemon goes on by itself.
//!
//! The full disk is a limit on the size of files that the test puts on the running daemon and takes off again.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;

use crate::support::daemon::{Daemon, Site, until};
use crate::support::lmtp::Lmtp;
use crate::support::peer::Peer;
use crate::support::receiving::message;

const PEOPLE: usize = 1_500;
const CONNECTIONS: usize = 8;

/// Files of the daemon may have this many bytes from now on.
fn limit(daemon: &Daemon, bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the process is our child, and the limit lives as long as the call.
    let done =
        unsafe { libc::prlimit(daemon.pid(), libc::RLIMIT_FSIZE, &raw const limit, std::ptr::null_mut()) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_is_full_and_then_it_is_not() {
    let peer = Peer::willing().await;
    let site = Site::sending_to(peer.address).with_pages();
    site.hurry();
    // Slow enough that the disk is full before the end on any machine.
    let limits = "messages_per_connection = 100";
    site.change("tidings.toml", limits, &format!("rate = \"800/s\"\n{limits}"));
    site.change("tidings.toml", "operators = []", "operators = [\"ops@example.org\"]");
    let people = site.import(PEOPLE);
    let daemon = site.start_as(&["run"], |command| {
        // SAFETY: it only says how one signal is taken; without it the limit would kill where a full disk answers.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
                Ok(())
            })
        };
    });
    until("200 messages", || (peer.count() >= 200).then_some(()));
    limit(&daemon, 1);
    let at_the_end = peer.count();
    until("the ledger has noticed", || daemon.log().contains("the ledger cannot write").then_some(()));
    let raw = message("Reader <reader@readers.example>", "1@readers.example", "", "A question.");
    let deliver =
        || Lmtp::connect(daemon.lmtp()).deliver("reader@readers.example", "support@news.example.org", &raw);
    let reply = deliver();
    assert!(reply.starts_with('4'), "{reply}");
    until("the heartbeat has noticed", || daemon.log().contains("alarm: ").then_some(()));
    assert!(daemon.log().contains("store_away"), "{}", daemon.log());
    // What was claimed before may leave, one message a connection, and no other.
    assert!(peer.count() <= at_the_end + 2 * CONNECTIONS, "{} after {at_the_end}", peer.count());
    let stopped_at = peer.count();
    assert!(deliver().starts_with('4'));
    assert_eq!(peer.count(), stopped_at, "nothing leaves any more");

    limit(&daemon, libc::RLIM_INFINITY);
    let edition = site.edition_in(&["sent", "attention"]);
    assert_eq!(edition["state"], "sent", "{edition}");
    let reply = deliver();
    assert!(reply.starts_with("250"), "{reply}");
    until("the alarm", || peer.taken().iter().any(|mail| mail.to == "ops@example.org").then_some(()));
    daemon.stop();
    let recipients: Vec<String> = peer
        .taken()
        .into_iter()
        .map(|mail| mail.to)
        .filter(|to| to.ends_with("p@readers.example") || to.starts_with("p0"))
        .collect();
    let distinct: BTreeSet<&String> = recipients.iter().collect();
    assert_eq!(
        (distinct.len(), recipients.len()),
        (people.len(), people.len()),
        "nobody is missed or doubled"
    );
}
