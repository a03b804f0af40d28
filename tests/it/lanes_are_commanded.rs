//! `tidings lanes`: what slows a lane down is shown, and an operator's word ends it, beside a running daemon.

use crate::support::daemon::{Site, until};
use crate::support::peer::Peer;

#[test]
fn a_lane_is_paused_and_resumed_by_hand() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let peer = runtime.block_on(Peer::willing());
    let site = Site::sending_to(peer.address);
    site.hurry();
    let lane = "[[domains]]\nmatch = [\"readers.example\"]\nrate = \"1000/s\"\n[retry]\n";
    site.change("tidings.toml", "[retry]\n", lane);
    // The lanes are written down when a daemon starts.
    site.start().stop();
    assert_eq!(site.run(&["lanes", "pause", "readers.example"]).code, 0);
    assert_eq!(site.run(&["lanes", "pause", "readers.example"]).code, 1, "it is paused already");
    assert_eq!(site.run(&["lanes", "pause", "nowhere.example"]).code, 1);
    let listed = site.json(&["lanes", "list", "--json"]);
    assert_eq!((&listed[0]["lane"], &listed[0]["state"]), (&"other".into(), &"open".into()), "{listed}");
    assert_eq!(
        (&listed[1]["lane"], &listed[1]["state"], &listed[1]["reason"]),
        (&"readers.example".into(), &"paused".into(), &"paused by hand".into())
    );
    assert!(site.run(&["lanes", "list"]).out.contains("paused by hand"));
}

#[test]
fn the_daemon_follows_within_a_second() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let peer = runtime.block_on(Peer::willing());
    let site = Site::sending_to(peer.address);
    site.hurry();
    site.change(
        "tidings.toml",
        "[retry]\n",
        "[[domains]]\nmatch = [\"readers.example\"]\nrate = \"20/s\"\n[retry]\n",
    );
    site.import(60);
    let daemon = site.start();
    until("some of it left", || (peer.count() > 0).then_some(()));
    assert_eq!(site.run(&["lanes", "pause", "readers.example"]).code, 0);
    let edition = site.edition();
    assert_eq!(edition["state"], "sending", "{edition}");
    assert_eq!(site.run(&["lanes", "resume", "readers.example"]).code, 0);
    assert_eq!(site.run(&["lanes", "resume", "readers.example"]).code, 1, "it goes on already");
    site.edition_in(&["sent"]);
    assert_eq!(peer.count(), 60);
    daemon.stop();
}
