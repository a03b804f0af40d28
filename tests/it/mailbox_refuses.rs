//! A mailbox whose server fails at one message, in every way: none is lost, none comes twice, and none keeps the others waiting. The
//! line is a new one at each step, as after a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidings::domain::alarm::AlarmCause;
use tidings::domain::settings::AfterImap;
use tidings::store::{Store, alarms, inbound, refused_mail};
use tidings::tasks::alarm::{Alarms, Teller};
use tidings::tasks::mailbox::{MailboxLine, Stopped};

use crate::support::clock::{StoppedClock, TUESDAY};
use crate::support::imap::{Do, Held, ImapPeer};
use crate::support::mailbox::{assert_each_once, line, numbered, rows};
use crate::support::receiving::example;
use crate::support::stores::{TestStore, on_every_store};

const MAX: usize = 3_000_000;
const DAY: Duration = Duration::from_secs(24 * 3600 + 1);

fn messages(count: usize) -> Held {
    Held::of(&(1..=count).map(numbered).collect::<Vec<_>>())
}

/// A line that shares its alarms and its clock with those before it.
struct Lines<'a> {
    store: &'a Store,
    peer: &'a ImapPeer,
    after: AfterImap,
    clock: StoppedClock,
    alarms: Alarms,
}

impl Lines<'_> {
    fn of<'a>(store: &'a Store, peer: &'a ImapPeer, after: AfterImap) -> Lines<'a> {
        Lines { store, peer, after, clock: StoppedClock::at(TUESDAY), alarms: Alarms::default() }
    }

    fn next(&self) -> MailboxLine {
        let mut line = line(self.store, self.peer.settings(self.after.clone()), MAX);
        line.common.clock = Arc::new(self.clock.clone());
        line.common.alarms = self.alarms.clone();
        line
    }

    /// Steps until one goes through. Answers how many did not.
    async fn until_through(&self) -> usize {
        for failures in 0..12 {
            match self.next().step().await {
                Ok(_) => return failures,
                Err(Stopped::Server(_)) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        panic!("it blocks for ever: {:?}", self.peer.commands());
    }

    /// What operators were told, each with how often.
    async fn told(&self) -> Vec<(AlarmCause, String, i64)> {
        let setup = example(&[]);
        let teller = Teller {
            alarms: self.alarms.clone(),
            store: self.store.clone(),
            shelf: setup.shelf.clone(),
            settings: setup.settings.clone(),
        };
        teller.step(TUESDAY).await.unwrap();
        let known = alarms::all(&mut self.store.read().await.unwrap()).await.unwrap();
        known.into_iter().map(|one| (one.occurred.cause, one.occurred.text, one.occurred.count)).collect()
    }
}

/// UIDs that a command names.
fn names(command: &str, uid: u32) -> bool {
    let set = command.split(' ').nth(2).unwrap_or("");
    set.split(',').any(|part| {
        let (from, to) = part.split_once(':').unwrap_or((part, part));
        let number = |text: &str| if text == "*" { u32::MAX } else { text.parse().unwrap() };
        (number(from)..=number(to)).contains(&uid)
    })
}

/// Whatever a server does at number 3, the others come, it is set aside once, and operators hear of it.
#[tokio::test]
async fn a_message_that_a_server_cannot_give_blocks_no_other() {
    type Odd = fn() -> Do;
    let cases: [(&str, &str, Odd); 6] = [
        ("hangs up at its octets", "BODY.PEEK", || Do::Close(Vec::new())),
        ("hangs up in the middle of it", "BODY.PEEK", || {
            Do::Close(b"* 3 FETCH (UID 3 BODY[]<0> {900}\r\nSubject: half".to_vec())
        }),
        ("hangs up at its octets and at its size", "UID FETCH", || Do::Close(Vec::new())),
        ("says no to both", "UID FETCH", || Do::Say(b"TAG NO broken\r\n".to_vec())),
        ("says nothing of it", "UID FETCH", || Do::Say(b"TAG OK done\r\n".to_vec())),
        ("talks rubbish", "UID FETCH", || Do::Say(b"* 3 FETCH (((\r\nTAG OK\r\n".to_vec())),
    ];
    for (what, at, odd) in cases {
        on_every_store(|store| async move {
            let held = Held { capabilities: "IMAP4rev1 MOVE", ..messages(6) };
            let peer = ImapPeer::start(held, move |_, command| {
                let hit = command.starts_with("UID FETCH") && command.contains(at) && names(command, 3);
                if hit { odd() } else { Do::Go }
            })
            .await;
            let lines = Lines::of(&store, &peer, AfterImap::Move("Done".into()));
            let failures = lines.until_through().await;
            assert!((5..=7).contains(&failures), "{what}: {failures}");
            let (ids, aside) = rows(&store).await;
            assert_eq!((ids.len(), aside), (6, 1), "{what}: {ids:?}");
            assert!(ids.values().all(|count| *count == 1), "{what}: {ids:?}");
            assert_eq!(peer.left(), [3], "{what}");
            let told = lines.told().await;
            assert_eq!(told.len(), 1, "{what}: {told:?}");
            assert_eq!((told[0].0, told[0].2), (AlarmCause::InboundQuarantined, 1), "{what}");
            assert!(told[0].1.contains("the message is where it was, UID 3"), "{what}: {}", told[0].1);
            // New mail behind it comes at once.
            peer.change(|held| {
                held.messages.insert(7, numbered(7));
                held.next = 8;
            });
            assert_eq!(lines.next().step().await.unwrap(), 7, "{what}");
            assert_eq!(rows(&store).await.0["n7@readers.example"], 1);
        })
        .await;
    }
}

/// A lost line is no fault of the message: when the server gives it later, the row that stood for it becomes it.
#[tokio::test]
async fn what_was_set_aside_is_asked_for_again_and_taken_up() {
    on_every_store(|store| async move {
        let broken = Arc::new(AtomicBool::new(true));
        let breaks = broken.clone();
        let held = Held { capabilities: "IMAP4rev1 MOVE", ..messages(4) };
        let peer = ImapPeer::start(held, move |_, command| {
            let hit = breaks.load(Ordering::SeqCst) && command.contains("BODY.PEEK") && names(command, 2);
            if hit { Do::Close(Vec::new()) } else { Do::Go }
        })
        .await;
        let lines = Lines::of(&store, &peer, AfterImap::Move("Done".into()));
        lines.until_through().await;
        assert_eq!((rows(&store).await.1, peer.left()), (1, vec![2]));
        // Not at each look.
        let fetched = peer.count("UID FETCH");
        lines.next().step().await.unwrap();
        assert_eq!(peer.count("UID FETCH"), fetched);
        // A day later it still hangs up: reading goes on at the next connection.
        lines.clock.advance(DAY);
        assert!(lines.next().step().await.is_err());
        lines.next().step().await.unwrap();
        lines.clock.advance(DAY);
        broken.store(false, Ordering::SeqCst);
        lines.next().step().await.unwrap();
        assert_each_once(&store, 4).await;
        assert_eq!(peer.left(), [0; 0]);
        let mut tx = store.read().await.unwrap();
        let states: Vec<String> =
            inbound::list(&mut tx, None, 10).await.unwrap().iter().map(|row| row.state.to_string()).collect();
        assert_eq!(states, ["received"; 4]);
        assert_eq!(refused_mail::all(&mut tx, 1).await.unwrap(), []);
    })
    .await;
}

/// A message that failed and then came is forgotten: its next failure is its first one.
#[tokio::test]
async fn failures_are_counted_by_message_and_only_while_they_last() {
    on_every_store(|store| async move {
        let peer = ImapPeer::start(messages(1), |connection, command| {
            if connection < 4 && command.contains("BODY.PEEK") { Do::Close(Vec::new()) } else { Do::Go }
        })
        .await;
        let lines = Lines::of(&store, &peer, AfterImap::Keep);
        for failures in 1..4 {
            assert!(lines.next().step().await.is_err());
            let known = refused_mail::all(&mut store.read().await.unwrap(), 1).await.unwrap();
            assert_eq!((known.len(), known[0].uid, known[0].failures), (1, 1, failures));
        }
        assert_eq!(lines.next().step().await.unwrap(), 1);
        assert_each_once(&store, 1).await;
        assert_eq!(refused_mail::all(&mut store.read().await.unwrap(), 1).await.unwrap(), []);
    })
    .await;
}

/// SEARCH lists a message and the answer about sizes leaves it out.
#[tokio::test]
async fn a_message_without_a_size_is_fetched_all_the_same() {
    on_every_store(|store| async move {
        let peer = ImapPeer::start(messages(5), |_, command| match command {
            "UID FETCH 1:5 (UID RFC822.SIZE)" => Do::Say(
                b"* 1 FETCH (UID 1 RFC822.SIZE 200)\r\n* 4 FETCH (UID 4 RFC822.SIZE 200)\r\nTAG OK\r\n"
                    .to_vec(),
            ),
            _ => Do::Go,
        })
        .await;
        let lines = Lines::of(&store, &peer, AfterImap::Keep);
        assert_eq!(lines.next().step().await.unwrap(), 5);
        assert_each_once(&store, 5).await;
    })
    .await;
}

/// Somebody removes a message between the list and the look: that is no failure.
#[tokio::test]
async fn a_message_that_is_gone_is_left_out() {
    on_every_store(|store| async move {
        let peer = ImapPeer::start(messages(4), |connection, command| match (connection, command) {
            (1, "UID SEARCH UID 1:4") => Do::Say(b"* SEARCH 1 2 3 4 9\r\nTAG OK\r\n".to_vec()),
            _ => Do::Go,
        })
        .await;
        let lines = Lines::of(&store, &peer, AfterImap::Keep);
        assert_eq!(lines.next().step().await.unwrap(), 4);
        assert_each_once(&store, 4).await;
    })
    .await;
}

/// A server that gives smaller pieces than it was asked for has not come to the end.
#[tokio::test]
async fn smaller_pieces_make_a_whole_message() {
    let test = TestStore::sqlite().await;
    let mut large = numbered(1);
    large.resize(400_000, b'z');
    let whole = large.clone();
    let peer = ImapPeer::start(Held::of(&[large.clone()]), move |_, command| {
        let Some((_, piece)) = command.split_once("BODY.PEEK[]<") else { return Do::Go };
        let from: usize = piece.split('.').next().unwrap().parse().unwrap();
        let part = &large[from.min(large.len())..large.len().min(from + 65_536)];
        let mut said = format!("* 1 FETCH (UID 1 BODY[]<{from}> {{{}}}\r\n", part.len()).into_bytes();
        said.extend_from_slice(part);
        said.extend(b")\r\nTAG OK\r\n");
        Do::Say(said)
    })
    .await;
    Lines::of(&test.store, &peer, AfterImap::Keep).next().step().await.unwrap();
    let mut tx = test.store.read().await.unwrap();
    let (row, raw) = inbound::show(&mut tx, 1).await.unwrap().unwrap();
    assert_eq!((row.state.to_string().as_str(), raw == whole), ("received", true), "{} octets", raw.len());
    drop(tx);
    test.remove().await;
}

/// Without MOVE, where this user may copy and not delete: each message is copied once, and operators are told once.
#[tokio::test]
async fn what_may_not_be_deleted_is_copied_once() {
    on_every_store(|store| async move {
        let allowed = Arc::new(AtomicBool::new(false));
        let allows = allowed.clone();
        let held = Held { capabilities: "IMAP4rev1 UIDPLUS", folders: vec!["Done".into()], ..messages(3) };
        let peer = ImapPeer::start(held, move |_, command| {
            let refused = !allows.load(Ordering::SeqCst) && command.contains("\\Deleted");
            if refused { Do::Say(b"TAG NO [NOPERM] not yours\r\n".to_vec()) } else { Do::Go }
        })
        .await;
        let lines = Lines::of(&store, &peer, AfterImap::Move("Done".into()));
        let mut running = lines.next();
        for _ in 0..4 {
            running.step().await.unwrap();
        }
        assert_eq!(peer.count("UID COPY 1:3 "), 1);
        peer.change(|held| {
            held.messages.insert(4, numbered(4));
            held.next = 5;
        });
        running.step().await.unwrap();
        lines.next().step().await.unwrap();
        assert_eq!((peer.count("UID COPY"), peer.count("UID COPY 4 ")), (2, 1), "{:?}", peer.commands());
        assert_each_once(&store, 4).await;
        let told = lines.told().await;
        // Once by each of the two lines: a restart tells again.
        assert_eq!((told.len(), told[0].2), (1, 2), "{told:?}");
        // As soon as it may, it removes what was copied, and copies nothing.
        allowed.store(true, Ordering::SeqCst);
        running.step().await.unwrap();
        assert_eq!((peer.count("UID COPY"), peer.left()), (2, Vec::new()));
    })
    .await;
}

/// A server that hangs up at moving or copying keeps no message out, and nothing is copied twice.
#[tokio::test]
async fn a_server_that_hangs_up_at_filing_keeps_no_message_out() {
    for (capabilities, verb, tries) in [("IMAP4rev1", "UID COPY", 1), ("IMAP4rev1 MOVE", "UID MOVE", 3)] {
        on_every_store(|store| async move {
            let held = Held { capabilities, folders: vec!["Done".into()], ..messages(3) };
            let peer =
                ImapPeer::start(
                    held,
                    move |_, command| {
                        if command.starts_with(verb) { Do::Close(Vec::new()) } else { Do::Go }
                    },
                )
                .await;
            let lines = Lines::of(&store, &peer, AfterImap::Move("Done".into()));
            let mut running = lines.next();
            let mut failures = 0;
            while running.step().await.is_err() {
                failures += 1;
                assert!(failures < 5, "{verb} blocks for ever");
            }
            assert_eq!((failures, peer.count(verb)), (tries, tries), "{verb}");
            peer.change(|held| {
                held.messages.insert(4, numbered(4));
                held.next = 5;
            });
            // The new one is copied as well, and only that one.
            while running.step().await.is_err() {
                failures += 1;
                assert!(failures < 6, "{verb} blocks for ever");
            }
            assert_each_once(&store, 4).await;
            assert_eq!(peer.count(&format!("{verb} 1:3 ")), tries, "{verb}");
            let told = lines.told().await;
            assert!(told.len() == 1 && told[0].1.contains("stay where they are"), "{verb}: {told:?}");
        })
        .await;
    }
}

/// A server without UIDVALIDITY begins anew at each connection; a message that it cannot give is counted all the same.
#[tokio::test]
async fn without_uidvalidity_failures_add_up_too() {
    on_every_store(|store| async move {
        let peer = ImapPeer::start(messages(4), |_, command| match command {
            "EXAMINE \"INBOX\"" => Do::Say(b"* 4 EXISTS\r\n* OK [UIDNEXT 5] ok\r\nTAG OK\r\n".to_vec()),
            command if command.contains("BODY.PEEK") && names(command, 2) => Do::Close(Vec::new()),
            _ => Do::Go,
        })
        .await;
        let lines = Lines::of(&store, &peer, AfterImap::Keep);
        lines.until_through().await;
        for _ in 0..2 {
            lines.next().step().await.unwrap();
        }
        let (ids, aside) = rows(&store).await;
        assert_eq!((ids.len(), aside, ids.values().sum::<usize>()), (4, 1, 4), "{ids:?}");
    })
    .await;
}
