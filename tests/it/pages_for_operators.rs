//! `/health` and `/metrics` of a running daemon, and what becomes of peers that do not behave.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidings::runtime::{Shutdown, Vitals};
use tidings::store::Store;
use tidings::web::{self, Limits};

use crate::support::clock::{StoppedClock, TUESDAY};
use crate::support::daemon::{Site, until};
use crate::support::http::{connect, get, read};
use crate::support::lmtp::Lmtp;
use crate::support::peer::{Do, Peer, Stage};
use crate::support::receiving::message;
use crate::support::sending::queued_edition;
use crate::support::stores::{TestStore, on_every_store};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_daemon_shows_its_health_and_its_numbers() {
    // Every third message of a connection is refused for good.
    let peer = Peer::start(&["PIPELINING"], |moment| {
        let met = moment.stage == Stage::Rcpt && moment.message == 3;
        if met { Do::Say("550 5.1.1 no such user") } else { Do::Go }
    })
    .await;
    let site = Site::sending_to(peer.address).with_pages();
    site.hurry();
    site.import(50);
    let daemon = site.start();
    let edition = site.edition_in(&["sent"]);
    let health = get(daemon.pages(), "/health");
    assert_eq!(health.code, 200, "{}", health.body);
    let told = health.json();
    assert_eq!((&told["status"], &told["store"]), (&"ok".into(), &"sqlite".into()), "{told}");
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert!(told["owner"].as_i64().unwrap() > 0 && told["reasons"].as_array().unwrap().is_empty(), "{told}");
    assert!(told["last_tick_at"].is_string() && told["last_heartbeat_at"].is_string(), "{told}");

    let mut lmtp = Lmtp::connect(daemon.lmtp());
    let raw = message("Reader <reader@readers.example>", "1@readers.example", "", "A question.");
    assert!(lmtp.deliver("reader@readers.example", "support@news.example.org", &raw).starts_with("250"));
    site.json(&["inbox", "list", "--json"]);
    until("the message is understood", || {
        let list = site.json(&["inbound", "list", "--state", "done", "--json"]);
        (!list.as_array().unwrap().is_empty()).then_some(())
    });

    // What is in the store is kept for some seconds.
    let page = until("the conversation on the page", || {
        let page = get(daemon.pages(), "/metrics");
        page.body.contains("tidings_threads{state=\"open\",tier=\"\"} 1").then_some(page)
    });
    assert_eq!(page.code, 200);
    assert!(page.head.contains("text/plain; version=0.0.4"), "{}", page.head);
    let refused = edition["counts"]["refused"].as_f64().unwrap();
    assert!(refused > 0.0, "{edition}");
    let settled = |state: &str, class: &str| {
        page.number(&format!(
            "tidings_deliveries_settled_total{{state=\"{state}\",class=\"{class}\",relay=\"main\"}}"
        ))
    };
    // The notice to staff is a delivery too.
    assert!((refused..=refused + 1.0).contains(&settled("refused", "refused")), "{}", page.body);
    let both = settled("refused", "refused") + settled("accepted", "accepted");
    assert!((50.0..=51.0).contains(&both), "{}", page.body);
    assert!(page.number("tidings_attempt_seconds_count{class=\"accepted\"}") >= 50.0 - refused);
    assert!(
        page.body.contains("tidings_attempt_seconds_bucket{class=\"accepted\",le=\"0.005\"}"),
        "{}",
        page.body
    );
    assert_eq!(page.number("tidings_editions{state=\"sent\"}"), 1.0);
    assert_eq!(page.number("tidings_inbound_total{state=\"done\",verdict=\"support_message\"}"), 1.0);
    assert_eq!((page.number("tidings_owners"), page.number("tidings_store_up")), (1.0, 1.0));
    assert_eq!(page.number("tidings_open_deliveries{state=\"uncertain\"}"), 0.0);
    assert!(page.number("process_start_time_seconds") > 1.0e9);
    assert!(
        page.body.contains(&format!("tidings_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")))
    );
    assert!(!page.body.contains('@'), "no address is on the page:\n{}", page.body);
    for (path, code) in [("/", 303), ("/health/", 404), ("/metrics?x=1", 200)] {
        assert_eq!(get(daemon.pages(), path).code, code, "{path}");
    }
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_taken_is_a_clear_start_problem() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let site = Site::shipped();
    let answer = site.run(&["--set", &format!("web.private={address}"), "run"]);
    assert_eq!(answer.code, 69, "{answer:?}");
    let expected = format!("cannot serve pages on {address}: Address already in use");
    assert!(answer.err.contains(&expected) && answer.err.contains("web.private"), "{}", answer.err);
    // A process that does not serve pages does not need the address.
    let daemon =
        site.start_as(&["--set", &format!("web.private={address}"), "run", "--only", "send"], |_| {});
    daemon.stop();
}

/// Pages of a process whose signs of life are the test's.
struct Pages {
    address: SocketAddr,
    vitals: Vitals,
    shutdown: Shutdown,
}

impl Pages {
    async fn of(store: &Store, limits: Limits) -> Pages {
        let (vitals, shutdown) = (Vitals::default(), Shutdown::new());
        vitals.wrote(TUESDAY);
        let pages = web::private(web::Process {
            store: store.clone(),
            owner: 7,
            vitals: vitals.clone(),
            clock: Arc::new(StoppedClock::at(TUESDAY + Duration::from_secs(90))),
            shutdown: shutdown.clone(),
            started_at: TUESDAY,
            main: tokio::runtime::Handle::current(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(web::serve(listener, pages, limits, shutdown.clone()));
        Pages { address, vitals, shutdown }
    }

    async fn get(&self, path: &'static str) -> crate::support::http::Answer {
        let address = self.address;
        tokio::task::spawn_blocking(move || get(address, path)).await.unwrap()
    }
}

#[tokio::test]
async fn the_queue_is_counted_by_lane_with_its_age() {
    on_every_store(|store| async move {
        queued_edition(&store, 20).await;
        let pages = Pages::of(&store, Limits::PRIVATE).await;
        let page = pages.get("/metrics").await;
        assert_eq!(page.number("tidings_queue_deliveries{lane=\"other\"}"), 20.0);
        assert_eq!(page.number("tidings_queue_oldest_seconds{lane=\"other\"}"), 90.0);
        assert_eq!(page.number("tidings_editions{state=\"sending\"}"), 1.0);
        pages.shutdown.ask();
    })
    .await;
}

#[tokio::test]
async fn a_store_that_is_away_is_no_health_and_the_page_of_numbers_says_so() {
    let test = TestStore::sqlite().await;
    let pages = Pages::of(&test.store, Limits::PRIVATE).await;
    assert_eq!(pages.get("/health").await.code, 200);
    test.store.close().await;
    let other = Pages::of(&test.store, Limits::PRIVATE).await;
    let health = other.get("/health").await;
    assert_eq!((health.code, &health.json()["status"]), (503, &"failing".into()), "{}", health.body);
    assert!(health.json()["reasons"][0].as_str().unwrap().starts_with("the store: "), "{}", health.body);
    assert_eq!(other.get("/metrics").await.number("tidings_store_up"), 0.0);
}

#[tokio::test]
async fn a_process_on_hold_is_healthy_and_a_stopping_one_is_not() {
    let test = TestStore::sqlite().await;
    let pages = Pages::of(&test.store, Limits::PRIVATE).await;
    pages.vitals.hold("on hold: a copy".into());
    let health = pages.get("/health").await;
    assert_eq!((health.code, &health.json()["status"]), (200, &"on_hold".into()), "{}", health.body);
    assert_eq!(health.json()["reasons"][0], "on hold: a copy");
    assert_eq!(pages.get("/metrics").await.number("tidings_on_hold"), 1.0);
    let stuck = Pages::of(&test.store, Limits::PRIVATE).await;
    // No patience at all: it is stuck as soon as it is entered.
    let _pulse = stuck.vitals.worker("ledger", Duration::ZERO);
    let health = stuck.get("/health").await;
    assert_eq!(health.code, 503);
    assert_eq!(health.json()["reasons"][0], "the ledger worker makes no progress");
    assert_eq!(stuck.get("/metrics").await.number("tidings_worker_stuck{worker=\"ledger\"}"), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_or_too_much_is_cut_and_the_next_one_is_answered() {
    let test = TestStore::sqlite().await;
    let limits = Limits {
        connections: 2,
        head: Duration::from_millis(200),
        whole: Duration::from_secs(2),
        answer: Duration::from_millis(500),
        ..Limits::PRIVATE
    };
    let pages = Pages::of(&test.store, limits).await;
    // Both places are taken by peers that say half a request, many more wait; all of them are cut in their time.
    let silent: Vec<_> = (0..20).map(|_| connect(pages.address)).collect();
    for mut stream in &silent {
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x").unwrap();
    }
    let health = pages.get("/health").await;
    assert_eq!(health.code, 200);
    for mut stream in silent {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "half a request is not answered");
    }
    // A head without end.
    let mut stream = connect(pages.address);
    let long = format!("GET /health HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(64 << 10));
    // The rest may be refused while it is written.
    let _ = stream.write_all(long.as_bytes());
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&rest));
    // A body that nobody asked for is not read.
    let mut stream = connect(pages.address);
    stream.write_all(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
    let answer = read(&stream);
    assert_eq!(answer.code, 405, "{}", answer.head);
    // Whoever keeps a connection is cut when its time is over, however well they behave.
    let mut stream = connect(pages.address);
    let asked = (0..1_000_000).find(|_| {
        let wrote = stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
        wrote.is_err() || stream.read(&mut [0; 4096]).map_or(true, |read| read == 0)
    });
    assert!(asked.is_some());
    assert_eq!(pages.get("/health").await.code, 200);
}
