//! A mailbox on an IMAP server that does odd things: every message is one row, whatever breaks, and nothing is read without a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use tidings::domain::settings::{AfterImap, ImapSettings};
use tidings::intake::imap::ImapProblem;
use tidings::store::mailboxes;
use tidings::tasks::mailbox::{MailboxLine, Stopped};

use crate::support::imap::{Do, Held, ImapPeer};
use crate::support::mailbox::{assert_each_once, common, line, numbered, rows};
use crate::support::stores::{TestStore, on_every_store};

fn messages(count: usize) -> Held {
    Held::of(&(1..=count).map(numbered).collect::<Vec<_>>())
}

fn go(_: usize, _: &str) -> Do {
    Do::Go
}

const MAX: usize = 3_000_000;

#[tokio::test]
async fn every_message_is_one_row_and_nothing_is_changed() {
    on_every_store(|store| async move {
        let peer = ImapPeer::start(messages(250), go).await;
        let mut line = line(&store, peer.settings(AfterImap::Keep), MAX);
        assert_eq!(line.step().await.unwrap(), 250);
        assert_each_once(&store, 250).await;
        // Another look takes nothing, and asks for nothing but what is new.
        let fetched = peer.count("UID FETCH");
        assert_eq!(line.step().await.unwrap(), 250);
        assert_eq!(peer.count("UID FETCH"), fetched);
        peer.change(|held| {
            held.messages.insert(251, numbered(251));
            held.next = 252;
        });
        assert_eq!(line.step().await.unwrap(), 251);
        assert_each_once(&store, 251).await;
        let commands = peer.commands();
        let harmless = ["CAPABILITY", "LOGIN", "EXAMINE", "UID SEARCH", "UID FETCH", "LOGOUT"];
        for command in &commands {
            assert!(harmless.iter().any(|known| command.starts_with(known)), "{command}");
            assert!(!command.contains("BODY["), "{command}");
        }
        let recipients: Vec<String> = {
            let mut tx = store.read().await.unwrap();
            let rows = tidings::store::inbound::list(&mut tx, None, 3).await.unwrap();
            rows.into_iter().map(|row| row.recipient).collect()
        };
        assert_eq!(recipients, ["support@news.example.org"; 3]);
    })
    .await;
}

/// The connection breaks at every place of the way, in the middle of a literal too.
#[tokio::test]
async fn a_server_that_goes_away_in_the_middle_costs_nothing() {
    for place in ["LOGIN", "EXAMINE", "UID SEARCH", "(UID RFC822.SIZE)", "(UID BODY.PEEK[]"] {
        on_every_store(|store| async move {
            let peer = ImapPeer::start(messages(20), move |connection, command| {
                if connection > 3 || !command.contains(place) {
                    return Do::Go;
                }
                let half = "* 1 FETCH (UID 1 BODY[] {4000}\r\nDelivered-To: support@news.example.org\r\n";
                Do::Close(half.as_bytes()[..half.len() / connection].to_vec())
            })
            .await;
            let mut line = line(&store, peer.settings(AfterImap::Keep), MAX);
            // Once it was lost at the sizes, it goes on without them.
            for _ in 0..if place == "(UID RFC822.SIZE)" { 1 } else { 3 } {
                let stopped = line.step().await.unwrap_err();
                assert!(matches!(stopped, Stopped::Server(ImapProblem::Lost(_))), "{place}: {stopped:?}");
            }
            assert_eq!(line.step().await.unwrap(), 20, "{place}");
            assert_each_once(&store, 20).await;
        })
        .await;
    }
}

/// A refused FETCH, or one that leaves a message out, is not the end of the list.
#[tokio::test]
async fn what_a_server_does_not_give_is_asked_for_again_and_then_set_aside() {
    let test = TestStore::sqlite().await;
    let held = Held { capabilities: "IMAP4rev1 MOVE", ..messages(5) };
    // Number 3 never comes.
    let peer = ImapPeer::start(held, |_, command| match command {
        "UID FETCH 1:5 (UID BODY.PEEK[])" => Do::Say(b"TAG OK nothing today\r\n".to_vec()),
        command if command.starts_with("UID FETCH 3 (UID BODY.PEEK[]") => {
            Do::Say(b"TAG NO I have lost it\r\n".to_vec())
        }
        _ => Do::Go,
    })
    .await;
    let mut line = line(&test.store, peer.settings(AfterImap::Move("Done".into())), MAX);
    let mut failures = 0;
    while let Err(stopped) = line.step().await {
        assert!(matches!(stopped, Stopped::Server(_)), "{stopped:?}");
        failures += 1;
        assert!(failures < 10);
    }
    let (ids, aside) = rows(&test.store).await;
    assert_eq!((ids.len(), aside), (5, 1), "{ids:?}");
    assert_eq!(ids["none of 0 octets"], 1);
    // It stays where it was; the others went where they belong.
    assert_eq!(peer.left(), [3]);
    test.remove().await;
}

/// Whatever a server says of sizes, no more than a piece is ever read.
#[tokio::test]
async fn a_message_of_a_gigabyte_is_not_loaded() {
    let test = TestStore::sqlite().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let peer = ImapPeer::start(messages(3), move |_, command| {
        if command == "UID FETCH 1:3 (UID RFC822.SIZE)" {
            // The first one is honest; the second one says less than it has.
            let sizes = [(1, 1_073_741_824), (2, 100), (3, 300)];
            let lines: String = sizes
                .iter()
                .map(|(uid, size)| format!("* {uid} FETCH (UID {uid} RFC822.SIZE {size})\r\n"))
                .collect();
            return Do::Say(format!("{lines}TAG OK\r\n").into_bytes());
        }
        let bodies = command.contains("BODY.PEEK[]");
        assert!(!(bodies && command.starts_with("UID FETCH 1 ")), "{command}");
        if bodies && !command.starts_with("UID FETCH 3 ") {
            count.fetch_add(1, Ordering::SeqCst);
            let mut said = b"* 2 FETCH (UID 2 BODY[]<0> {1073741824}\r\n".to_vec();
            said.resize(4 << 20, b'x');
            return Do::Close(said);
        }
        Do::Go
    })
    .await;
    let mut line = line(&test.store, peer.settings(AfterImap::Keep), MAX);
    let mut stops = 0;
    loop {
        match line.step().await {
            Ok(last) => {
                assert_eq!(last, 3);
                break;
            }
            Err(Stopped::Server(ImapProblem::Nonsense(why))) => assert!(why.contains("more than"), "{why}"),
            Err(other) => panic!("{other:?}"),
        }
        stops += 1;
        assert!(stops < 10);
    }
    let (ids, aside) = rows(&test.store).await;
    // Of the honest one there is the header; it has no body to be lost by being read again.
    assert_eq!((ids.len(), aside), (3, 2), "{ids:?}");
    assert_eq!((ids["n1@readers.example"], ids["n3@readers.example"]), (1, 1));
    test.remove().await;
}

/// A message in pieces, one octet around the size of a piece too.
#[tokio::test]
async fn large_messages_come_in_pieces_and_whole() {
    let test = TestStore::sqlite().await;
    const PIECE: usize = 1 << 20;
    let sizes = [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, MAX, MAX + 1];
    let sized = |(number, size): (usize, &usize)| {
        let mut raw = numbered(number + 1);
        raw.resize(*size, b'y');
        raw
    };
    let held = Held::of(&sizes.iter().enumerate().map(sized).collect::<Vec<_>>());
    let peer = ImapPeer::start(held, go).await;
    let mut line = line(&test.store, peer.settings(AfterImap::Keep), MAX);
    assert_eq!(line.step().await.unwrap(), 6);
    let mut tx = test.store.read().await.unwrap();
    let mut found = Vec::new();
    for row in tidings::store::inbound::list(&mut tx, None, 10).await.unwrap().into_iter().rev() {
        let (row, raw) = tidings::store::inbound::show(&mut tx, row.id).await.unwrap().unwrap();
        found.push((raw.len(), row.state.to_string(), row.reason));
    }
    drop(tx);
    for (found, size) in found.iter().zip(&sizes[..5]) {
        assert_eq!((found.0, found.1.as_str()), (*size, "received"));
    }
    assert!(found[5].0 <= 64 * 1024 && found[5].1 == "quarantined", "{:?}", found[5]);
    assert!(found[5].2.contains("it has more than 3000000 octets"), "{}", found[5].2);
    test.remove().await;
}

#[tokio::test]
async fn without_move_a_message_is_copied_and_only_that_one_removed() {
    let cases: [(&str, usize, &[u32]); 3] =
        [("IMAP4rev1 UIDPLUS", 1, &[]), ("IMAP4rev1", 0, &[1, 2, 3]), ("IMAP4rev1 MOVE", 0, &[])];
    for (capabilities, expunged, left) in cases {
        on_every_store(|store| async move {
            let peer = ImapPeer::start(Held { capabilities, ..messages(3) }, go).await;
            let mut line = line(&store, peer.settings(AfterImap::Move("Done & gone".into())), MAX);
            line.step().await.unwrap();
            assert_each_once(&store, 3).await;
            assert_eq!(peer.left(), left, "{capabilities}");
            assert_eq!(peer.count("CREATE \"Done &- gone\""), 1, "{capabilities}");
            assert_eq!(peer.count("UID EXPUNGE 1:3"), expunged, "{capabilities}");
            assert_eq!(peer.count("EXPUNGE"), 0, "what others have marked is not ours to remove");
            assert!(!peer.commands().iter().any(|command| command.contains("Seen")));
            // Nothing is left to do.
            let before = peer.count("UID COPY") + peer.count("UID MOVE");
            line.step().await.unwrap();
            assert_eq!(peer.count("UID COPY") + peer.count("UID MOVE"), before);
        })
        .await;
    }
}

/// The process ends, or the connection, between the commit and the move: the move is made up for, and the row stays one.
#[tokio::test]
async fn what_a_crash_left_in_its_place_is_moved_later() {
    on_every_store(|store| async move {
        let mut held = messages(30);
        held.capabilities = "IMAP4rev1 MOVE";
        held.folders.push("Done".into());
        let peer = ImapPeer::start(held, |connection, command| {
            if connection < 3 && command.starts_with("UID MOVE") { Do::Close(Vec::new()) } else { Do::Go }
        })
        .await;
        for _ in 0..2 {
            // Another line knows nothing of the first one.
            assert!(line(&store, peer.settings(AfterImap::Move("Done".into())), MAX).step().await.is_err());
            assert_eq!(peer.left().len(), 30);
        }
        line(&store, peer.settings(AfterImap::Move("Done".into())), MAX).step().await.unwrap();
        assert_eq!(peer.left(), [0; 0]);
        assert_each_once(&store, 30).await;
    })
    .await;
}

/// Somebody drags messages back, or the server numbers all of them anew: rows stay what they are, new mail is new.
#[tokio::test]
async fn moved_back_and_renumbered_messages_are_known_by_their_octets() {
    on_every_store(|store| async move {
        let peer = ImapPeer::start(messages(10), go).await;
        let keep = || line(&store, peer.settings(AfterImap::Keep), MAX);
        keep().step().await.unwrap();
        peer.change(|held| {
            let back = held.messages.remove(&4).unwrap();
            held.messages.insert(11, back);
            // The same Message-ID is no proof of anything.
            let mut other = numbered(5);
            other.extend(b"and one question more\r\n");
            held.messages.insert(12, other);
            held.next = 13;
        });
        assert_eq!(keep().step().await.unwrap(), 12);
        let (ids, _) = rows(&store).await;
        assert_eq!((ids.len(), ids["n4@readers.example"], ids["n5@readers.example"]), (10, 1, 2));
        // Another UIDVALIDITY.
        peer.change(|held| {
            held.validity = 8;
            held.messages = (101..).zip(held.messages.values().cloned()).collect();
            held.messages.insert(200, numbered(11));
            held.next = 201;
        });
        assert_eq!(keep().step().await.unwrap(), 200);
        let (ids, _) = rows(&store).await;
        assert_eq!((ids.len(), ids.values().sum::<usize>()), (11, 12));
        // A mailbox out of a backup: the old UIDVALIDITY, and new messages under old UIDs.
        peer.change(|held| {
            held.messages = (1..).zip([numbered(12)]).collect();
            held.next = 2;
        });
        assert_eq!(keep().step().await.unwrap(), 1);
        let (ids, _) = rows(&store).await;
        assert_eq!(ids["n12@readers.example"], 1);
    })
    .await;
}

#[tokio::test]
async fn a_backlog_that_is_not_wanted_stays_out_even_renumbered() {
    let test = TestStore::sqlite().await;
    let peer = ImapPeer::start(messages(5), go).await;
    let skip = || {
        let settings = ImapSettings { backlog: false, ..peer.settings(AfterImap::Keep) };
        line(&test.store, settings, MAX)
    };
    assert_eq!(skip().step().await.unwrap(), 5);
    assert_eq!(rows(&test.store).await.0.len(), 0);
    peer.change(|held| {
        held.messages.insert(6, numbered(6));
        held.next = 7;
    });
    skip().step().await.unwrap();
    assert_eq!(rows(&test.store).await.0.len(), 1);
    peer.change(|held| held.validity = 9);
    skip().step().await.unwrap();
    // The day before the mailbox was first seen, for servers elsewhere.
    assert_eq!(peer.count("UID SEARCH UID 1:6 SINCE 23-Nov-2026"), 1);
    test.remove().await;
}

/// Two processes read one mailbox: the position decides, nobody records what the other has, and nothing is left out.
#[tokio::test]
async fn two_processes_share_a_mailbox() {
    on_every_store(|store| async move {
        let mut held = messages(300);
        held.capabilities = "IMAP4rev1 MOVE";
        let peer = ImapPeer::start(held, go).await;
        let reads = || {
            let mut line = line(&store, peer.settings(AfterImap::Move("Done".into())), MAX);
            async move {
                let mut turns = 0;
                while let Err(stopped) = line.step().await {
                    assert!(matches!(stopped, Stopped::OutOfTurn | Stopped::Store(_)), "{stopped:?}");
                    turns += 1;
                    assert!(turns < 300);
                }
            }
        };
        tokio::join!(reads(), reads());
        assert_each_once(&store, 300).await;
        assert_eq!(peer.left(), [0; 0]);
    })
    .await;
}

/// A message whose commit failed is not passed over by the next one.
#[tokio::test]
async fn a_message_out_of_turn_is_not_recorded() {
    on_every_store(|store| async move {
        let seen = mailboxes::Seen { validity: Some(1), next: Some(9), backlog: true, sure: false };
        let now = crate::support::clock::TUESDAY;
        let mut tx = store.write().await.unwrap();
        let mailboxes::Opening::GoOn(position) = mailboxes::open(&mut tx, "box", seen, now).await.unwrap()
        else {
            panic!("a new mailbox")
        };
        let place = |after, uid| mailboxes::Place {
            mailbox: position.id,
            validity: position.validity,
            after,
            uid,
            file: true,
        };
        assert!(mailboxes::advance(&mut tx, &place(0, 3)).await.unwrap());
        assert!(!mailboxes::advance(&mut tx, &place(4, 5)).await.unwrap(), "4 is missing");
        assert!(!mailboxes::advance(&mut tx, &place(0, 3)).await.unwrap(), "3 is there");
        let elsewhere = mailboxes::Place { validity: 2, ..place(3, 4) };
        assert!(!mailboxes::advance(&mut tx, &elsewhere).await.unwrap(), "another numbering");
        assert!(mailboxes::advance(&mut tx, &place(3, 5)).await.unwrap());
        assert_eq!(
            mailboxes::unfiled(&mut tx, position.id, mailboxes::Filing::Waiting, 0, 10).await.unwrap(),
            [3, 5]
        );
        mailboxes::filed(&mut tx, position.id, &[3, 4]).await.unwrap();
        assert_eq!(
            mailboxes::unfiled(&mut tx, position.id, mailboxes::Filing::Waiting, 0, 10).await.unwrap(),
            [5]
        );
        let behind = mailboxes::Seen { next: Some(2), ..seen };
        assert_eq!(mailboxes::open(&mut tx, "box", behind, now).await.unwrap(), mailboxes::Opening::Unsure);
        let sure = mailboxes::Seen { sure: true, ..behind };
        let again = mailboxes::open(&mut tx, "box", sure, now).await.unwrap();
        assert!(matches!(again, mailboxes::Opening::Again(position) if position.last_uid == 0));
        assert_eq!(
            mailboxes::unfiled(&mut tx, position.id, mailboxes::Filing::Waiting, 0, 10).await.unwrap(),
            [0; 0]
        );
        tx.commit().await.unwrap();
    })
    .await;
}

/// A folder that cannot be had is no reason to stop reading, and moves are made up for.
#[tokio::test]
async fn a_refused_move_keeps_no_message_out() {
    let test = TestStore::sqlite().await;
    let held = Held { capabilities: "IMAP4rev1 MOVE", ..messages(4) };
    let peer = ImapPeer::start(held, |connection, command| {
        let refused = connection < 3 && (command.starts_with("UID MOVE") || command.starts_with("CREATE"));
        if refused { Do::Say(b"TAG NO [TRYCREATE] not here\r\n".to_vec()) } else { Do::Go }
    })
    .await;
    let mut line = line(&test.store, peer.settings(AfterImap::Move("Done".into())), MAX);
    for _ in 0..2 {
        assert_eq!(line.step().await.unwrap(), 4);
        assert_each_once(&test.store, 4).await;
        assert_eq!(peer.left().len(), 4);
    }
    assert_eq!(line.step().await.unwrap(), 4);
    assert_eq!(peer.left(), [0; 0]);
    test.remove().await;
}

/// Without IDLE the server is asked now and then, by NOOP.
#[tokio::test]
async fn a_server_without_idle_is_asked_now_and_then() {
    let test = TestStore::sqlite().await;
    let (asked, recorded) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (asks, records) = (asked.clone(), recorded.clone());
    let peer = ImapPeer::start(messages(1), move |_, command| {
        match command {
            "NOOP" => asks.notify_one(),
            // It looks behind the second message: that one is recorded.
            "UID SEARCH UID 3:*" => records.notify_one(),
            _ => {}
        }
        Do::Go
    })
    .await;
    let common = common(&test.store, MAX);
    let shutdown = common.shutdown.clone();
    let running = tokio::spawn(MailboxLine::new(peer.settings(AfterImap::Keep), common).run());
    asked.notified().await;
    peer.change(|held| drop(held.messages.insert(2, numbered(2))));
    recorded.notified().await;
    shutdown.ask();
    running.await.unwrap();
    assert_each_once(&test.store, 2).await;
    assert_eq!(peer.count("IDLE"), 0);
    test.remove().await;
}
