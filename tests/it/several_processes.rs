//! Two, then four processes share the queue of one PostgreSQL: everybody gets one mail; when one is killed, doubles are at most
//! its connections; and the limit of the relay holds for all of them together.

use crate::support::daemon::{Daemon, Site, until_moving};
use crate::support::sink::Sink;
use crate::support::stores::TestStore;

const CONNECTIONS: usize = 8;

/// 20,000 people where `TIDINGS_LONG_RUNS=1`; an unoptimised build sends some hundred mails a second to a database of its own.
fn audience() -> usize {
    if std::env::var("TIDINGS_LONG_RUNS").is_ok_and(|value| value == "1") { 20_000 } else { 3_000 }
}

async fn site(store: &TestStore) -> (Sink, Site, Vec<String>) {
    let sink = Sink::start().await;
    let site = Site::sending_to(sink.address);
    site.hurry();
    site.keep_in(store);
    let people = site.import(audience());
    (sink, site, people)
}

fn senders(site: &Site, count: usize) -> Vec<Daemon> {
    (0..count).map(|_| site.start_with(&["run", "--only", "send"])).collect()
}

fn ends_sent(site: &Site, sink: &Sink, people: usize) {
    let edition = until_moving(
        "the end",
        || sink.count(),
        || {
            let edition = site.edition();
            ["sent", "attention"].contains(&edition["state"].as_str().unwrap()).then_some(edition)
        },
    );
    assert_eq!(edition["state"], "sent", "{edition}");
    assert_eq!(edition["counts"]["accepted"], people, "{edition}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_gets_one_mail_from_two_and_from_four() {
    for processes in [2, 4] {
        let Some(store) = TestStore::postgres().await else { return };
        let (sink, site, people) = site(&store).await;
        let running = senders(&site, processes);
        let first = site.start_with(&["run", "--only", "schedule"]);
        ends_sent(&site, &sink, people.len());
        running.into_iter().for_each(Daemon::stop);
        first.stop();
        assert_eq!((sink.count(), sink.doubles(&people)), (people.len(), 0));
        println!("{processes} processes: {} people, one mail each", people.len());
        store.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_four_is_killed_in_the_middle() {
    let Some(store) = TestStore::postgres().await else { return };
    let (sink, site, people) = site(&store).await;
    let mut running = senders(&site, 4);
    let first = site.start_with(&["run", "--only", "schedule"]);
    until_moving("the middle", || sink.count(), || (sink.count() >= people.len() / 2).then_some(()));
    running.remove(1).kill();
    // What it held is uncertain once it was silent for too long, and then sent again by the others.
    ends_sent(&site, &sink, people.len());
    running.into_iter().for_each(Daemon::stop);
    first.stop();
    let doubles = sink.doubles(&people);
    println!("one of four killed: missed 0, doubles {doubles} (at most {CONNECTIONS})");
    assert!(doubles <= CONNECTIONS, "{doubles}");
    store.remove().await;
}
