//! A mailbox line on a test store, and what it recorded.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings::domain::inbound::InboundState;
use tidings::domain::settings::ImapSettings;
use tidings::mail::parse::{Own, parse};
use tidings::runtime::Shutdown;
use tidings::store::{Store, inbound};
use tidings::tasks::alarm::Alarms;
use tidings::tasks::mailbox::{Common, MailboxLine};
use tidings::tasks::recording::recorder;

use super::clock::{StoppedClock, TUESDAY};
use super::receiving::example;

/// What a door needs, with a recording line behind it.
pub fn common(store: &Store, max_message: usize) -> Common {
    let (recorder, line) = recorder(store.clone(), Arc::default());
    tokio::spawn(line.run(|| TUESDAY));
    Common {
        store: store.clone(),
        recorder,
        own: Arc::new(own()),
        max_message,
        alarms: Alarms::default(),
        clock: Arc::new(StoppedClock::at(TUESDAY)),
        shutdown: Shutdown::new(),
    }
}

fn own() -> Own {
    example(&[]).own()
}

pub fn line(store: &Store, settings: ImapSettings, max_message: usize) -> MailboxLine {
    MailboxLine::new(settings, common(store, max_message))
}

/// One message, told from others by its number.
pub fn numbered(number: usize) -> Vec<u8> {
    format!(
        "Delivered-To: support@news.example.org\r\nFrom: Reader <p{number}@readers.example>\r\n\
         To: support@news.example.org\r\nSubject: Question {number}\r\nMessage-ID: <n{number}@readers.example>\r\n\
         \r\nHow does part {number} work?\r\n"
    )
    .into_bytes()
}

/// How many rows each Message-ID has, and how many are set aside.
pub async fn rows(store: &Store) -> (BTreeMap<String, usize>, usize) {
    let (mut ids, mut aside) = (BTreeMap::new(), 0);
    let mut tx = store.read().await.unwrap();
    for row in inbound::list(&mut tx, None, 1_000_000).await.unwrap() {
        let (row, raw) = inbound::show(&mut tx, row.id).await.unwrap().unwrap();
        aside += usize::from(row.state == InboundState::Quarantined);
        let id = parse(&raw).message_id.unwrap_or_else(|| format!("none of {} octets", raw.len()));
        *ids.entry(id).or_default() += 1;
    }
    (ids, aside)
}

/// Exactly one row for each of messages 1 to `count`, and none besides.
pub async fn assert_each_once(store: &Store, count: usize) {
    let (ids, aside) = rows(store).await;
    let twice: Vec<_> = ids.iter().filter(|(_, rows)| **rows != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let missing: Vec<usize> =
        (1..=count).filter(|n| !ids.contains_key(&format!("n{n}@readers.example"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!((ids.len(), aside), (count, 0));
}
