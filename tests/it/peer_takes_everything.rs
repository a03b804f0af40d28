//! The straight line out: an edition leaves, one mail a person, and is `sent`.

use std::collections::BTreeSet;

use mail_parser::MessageParser;
use tidings::domain::edition::EditionState;
use tidings::domain::settings::OnUncertain;
use tidings::tasks::send::Step;

use crate::support::clock::TUESDAY;
use crate::support::peer::{Do, Peer};
use crate::support::sending::{Sending, queued_edition, relay};
use crate::support::stores::on_every_store;

#[tokio::test]
async fn one_mail_a_person_and_the_edition_is_sent() {
    on_every_store(|store| async move {
        let peer = Peer::willing().await;
        let sending = Sending::start(&store, &peer, OnUncertain::Resend).await;
        queued_edition(&store, 25).await;
        assert_eq!(sending.drain().await, 25);
        assert_eq!(sending.tidy(TUESDAY).await, ["weekly"]);
        let row = sending.edition().await;
        assert_eq!((row.state, row.counts.accepted, row.audience), (EditionState::Sent, 25, 25));
        assert_eq!(row.finished_at, Some(TUESDAY));

        let taken = peer.taken();
        let recipients: BTreeSet<_> = taken.iter().map(|mail| mail.to.clone()).collect();
        let senders: BTreeSet<_> = taken.iter().map(|mail| mail.from.clone()).collect();
        assert_eq!(
            (taken.len(), recipients.len(), senders.len()),
            (25, 25, 25),
            "W127: one return path each"
        );
        for mail in &taken {
            let parsed = MessageParser::new().parse(&mail.bytes).unwrap();
            let to = parsed.to().unwrap().first().unwrap().address().unwrap();
            assert_eq!(to, mail.to, "W26: this recipient and nobody else");
            assert!(parsed.body_text(0).unwrap().contains("words of free"));
        }
    })
    .await;
}

#[tokio::test]
async fn several_connections_share_the_queue() {
    on_every_store(|store| async move {
        let peer = Peer::willing().await;
        let sending = Sending::start(&store, &peer, OnUncertain::Resend).await;
        queued_edition(&store, 120).await;
        let drains = (0..6).map(|_| sending.drain());
        let tried: usize = futures_util::future::join_all(drains).await.into_iter().sum();
        let recipients: BTreeSet<_> = peer.taken().into_iter().map(|mail| mail.to).collect();
        assert_eq!((tried, peer.taken().len(), recipients.len()), (120, 120, 120));
    })
    .await;
}

#[tokio::test]
async fn a_peer_without_pipelining_gets_the_same_mail() {
    let test = crate::support::stores::TestStore::sqlite().await;
    let peer = Peer::start(&[], |_| Do::Go).await;
    let sending = Sending::start(&test.store, &peer, OnUncertain::Resend).await;
    queued_edition(&test.store, 3).await;
    assert_eq!(sending.drain().await, 3);
    assert_eq!(sending.counts().await.accepted, 3);
}

#[tokio::test]
async fn w116_a_connection_carries_its_share_and_is_reopened() {
    let test = crate::support::stores::TestStore::sqlite().await;
    let peer = Peer::willing().await;
    let mut sending = Sending::start(&test.store, &peer, OnUncertain::Resend).await;
    let line = std::sync::Arc::get_mut(&mut sending.line).unwrap();
    line.relay = tidings::domain::settings::RelaySettings { messages_per_connection: 4, ..relay(&peer) };
    queued_edition(&test.store, 10).await;
    assert_eq!(sending.drain().await, 10);
    assert_eq!(peer.connections(), 3);
}

#[tokio::test]
async fn no_connection_is_opened_while_nothing_is_due() {
    let test = crate::support::stores::TestStore::sqlite().await;
    let peer = Peer::willing().await;
    let sending = Sending::start(&test.store, &peer, OnUncertain::Resend).await;
    assert_eq!(sending.connection().step().await, Step::Idle);
    assert_eq!(peer.connections(), 0);
}

#[tokio::test]
async fn shutdown_settles_what_was_tried_and_takes_nothing_new() {
    let test = crate::support::stores::TestStore::sqlite().await;
    let peer = Peer::willing().await;
    let sending = Sending::start(&test.store, &peer, OnUncertain::Resend).await;
    queued_edition(&test.store, 5).await;
    let mut connection = sending.connection();
    assert_eq!(connection.step().await, Step::Tried);
    sending.line.shutdown.ask();
    assert_eq!(connection.step().await, Step::Stopped);
    let counts = sending.counts().await;
    assert_eq!((counts.accepted, counts.queued, counts.leased), (1, 4, 0));
}
