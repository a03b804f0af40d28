//! Sending beside the public pages (W43, W219, W220): the same edition alone, and while one address presses one-click links at the rate
//! of 5,000 a minute, as many forged ones beside them, and clients that never end their form hold connections. Pairs, in turns; the
//! pages on a thread of their own, as in the daemon. Every valid click has to be honoured, and nothing else.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::sending::{ours, own_sink};
use common::world::{World, execute};
use common::{Report, median, ratio, rounds, size};
use tidings::app::{Setup, public};
use tidings::domain::token::{Purpose, Subject};
use tidings::runtime::{Clock, Shutdown, SystemClock};
use tidings::tasks::leaving;
use tidings::tasks::readers::Readers;
use tidings::web::{self, Limits};

/// Valid clicks a minute, and forged ones.
const A_MINUTE: u32 = 5_000;

/// Clients that share the valid clicks, and as many that share the forged ones: one alone would wait for its answers.
const CLIENTS: u32 = 8;

/// Clients that send a letter a second.
const SLOW: usize = 50;

/// People who leave; more than a round presses.
const LEAVERS: usize = 30_000;

const CONNECTIONS: usize = 8;

/// What came of the clicks of one round.
#[derive(Default)]
struct Clicks {
    valid: AtomicUsize,
    honoured: AtomicUsize,
    forged: AtomicUsize,
    turned_away: AtomicUsize,
    /// Of slow clients, which must not be.
    acted_on: AtomicUsize,
}

/// Clients of one address, until they are told to stop.
struct Crowd {
    began: Instant,
    stop: Arc<AtomicBool>,
    clicks: Arc<Clicks>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Crowd {
    fn start(pages: SocketAddr, links: Arc<Vec<String>>, next: Arc<AtomicUsize>) -> Crowd {
        let (stop, clicks) = (Arc::new(AtomicBool::new(false)), Arc::new(Clicks::default()));
        let mut threads = Vec::new();
        for client in 0..CLIENTS * 2 {
            let (stop, clicks, links, next) = (stop.clone(), clicks.clone(), links.clone(), next.clone());
            threads.push(std::thread::spawn(move || {
                let (start, gap) = (Instant::now(), Duration::from_secs(60) / A_MINUTE);
                for number in (client / 2..).step_by(CLIENTS as usize) {
                    // By the clock and not by the answers: slow ones do not make it fewer.
                    std::thread::sleep((start + gap * number).saturating_duration_since(Instant::now()));
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    if client % 2 == 1 {
                        clicks.forged.fetch_add(1, Ordering::Relaxed);
                        let link = format!("{}x", links[number as usize % links.len()]);
                        let turned_away = post(pages, &link).starts_with("HTTP/1.1 404");
                        clicks.turned_away.fetch_add(usize::from(turned_away), Ordering::Relaxed);
                    } else {
                        let Some(link) = links.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                        clicks.valid.fetch_add(1, Ordering::Relaxed);
                        let honoured = post(pages, link).starts_with("HTTP/1.1 200");
                        clicks.honoured.fetch_add(usize::from(honoured), Ordering::Relaxed);
                    }
                }
            }));
        }
        let (stopped, counted) = (stop.clone(), clicks.clone());
        threads.push(std::thread::spawn(move || slow(pages, &links[links.len() - 1], &stopped, &counted)));
        Crowd { began: Instant::now(), stop, clicks, threads }
    }

    /// What came of it, and the seconds that it took.
    fn end(self) -> (Arc<Clicks>, f64) {
        let took = self.began.elapsed().as_secs_f64();
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        (self.clicks, took)
    }
}

/// The first line of the answer to one POST on a connection of its own.
fn post(pages: SocketAddr, link: &str) -> String {
    let mut stream = TcpStream::connect(pages).unwrap();
    let request = format!("{}{BODY}", head(link));
    stream.write_all(request.as_bytes()).unwrap();
    let mut first = String::new();
    BufReader::new(&stream).read_line(&mut first).unwrap();
    first
}

const BODY: &str = "List-Unsubscribe=One-Click";

fn head(link: &str) -> String {
    format!(
        "POST {link} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n",
        BODY.len()
    )
}

/// Clients that begin a form and go on by a letter a second; who is turned away comes again.
fn slow(pages: SocketAddr, link: &str, stop: &AtomicBool, clicks: &Clicks) {
    let begin = || {
        let mut stream = TcpStream::connect(pages).unwrap();
        stream.write_all(head(link).as_bytes()).unwrap();
        (stream, 0)
    };
    let mut open: Vec<(TcpStream, usize)> = (0..SLOW).map(|_| begin()).collect();
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_secs(1) / SLOW as u32);
        let (mut stream, sent) = open.remove(0);
        // Never the last letter.
        let letter = &BODY.as_bytes()[sent.min(BODY.len() - 2)..][..1];
        match stream.write_all(letter) {
            Ok(()) if sent < BODY.len() - 2 => open.push((stream, sent + 1)),
            _ => {
                let mut first = String::new();
                stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
                let _ = BufReader::new(&stream).read_line(&mut first);
                clicks.acted_on.fetch_add(usize::from(first.starts_with("HTTP/1.1 200")), Ordering::Relaxed);
                open.push(begin());
            }
        }
    }
}

/// The public pages on a thread of their own.
fn serve(world: &World, setup: &Setup) -> SocketAddr {
    let (leaver, line) = leaving::leaver(world.store.clone());
    tokio::spawn(line.run(|| SystemClock.now()));
    let readers = Readers {
        store: world.store.clone(),
        shelf: setup.shelf.clone(),
        settings: setup.settings.clone(),
        keyring: setup.keyring.clone(),
        alarms: Default::default(),
        wake: Default::default(),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let pages = public::pages(setup, readers, leaver, &clock);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        common::runtime().block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            web::serve(listener, pages, Limits::PUBLIC, Shutdown::new()).await;
        });
    });
    address
}

/// People of a tier that no edition goes to, and the paths of their links.
async fn leavers(world: &World, setup: &Setup) -> Vec<String> {
    let mut sql = world.sql().await;
    let insert = format!(
        "INSERT INTO subscribers (address, address_key, name, tier, status, created_at, updated_at) \
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {LEAVERS}) \
         SELECT 'leaver' || i || '@host.example', 'leaver' || i || '@host.example', '', 'none', 'active', 0, 0 FROM n"
    );
    execute(&mut sql, &insert).await;
    let ids: Vec<i64> = sqlx::query_scalar("SELECT id FROM subscribers WHERE tier = 'none' ORDER BY id")
        .fetch_all(&mut sql)
        .await
        .unwrap();
    let token =
        |row: &i64| setup.keyring.mint(Subject { purpose: Purpose::Unsubscribe, row: *row, second: 0 });
    ids.iter().map(|row| format!("/u/{}", token(row))).collect()
}

fn setup() -> Setup {
    let config = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/tidings.toml");
    let env = [("TIDINGS_SECRET".to_owned(), "a secret of sixteen or more".to_owned())].into();
    let (setup, problems) = Setup::load(&config, &env, &[]);
    setup.unwrap_or_else(|| panic!("{problems:?}"))
}

fn main() -> ExitCode {
    let count = size(5_000);
    let rounds = rounds(5);
    let mut report = Report::new(&format!(
        "one_click: {count} messages over {CONNECTIONS} connections, alone and beside {A_MINUTE} valid clicks a minute from one \
         address, as many forged ones and {SLOW} slow clients"
    ));
    let port = own_sink();
    let (mut alone, mut beside, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    common::runtime().block_on(async {
        let (world, setup) = (World::new().await, setup());
        world.people(count).await;
        let owner = world.owner().await;
        let links = Arc::new(leavers(&world, &setup).await);
        let (pages, next) = (serve(&world, &setup), Arc::new(AtomicUsize::new(0)));
        let mut pressed = 0;
        for round in 0..rounds {
            // Each comes first every other time.
            for with_clicks in [round % 2 == 0, round % 2 == 1] {
                world.edition(&format!("edition-{round}-{with_clicks}")).await;
                let crowd = with_clicks.then(|| Crowd::start(pages, links.clone(), next.clone()));
                let (wall, _) = ours(&world, port, owner, CONNECTIONS, count, None).await;
                let Some(crowd) = crowd else {
                    alone.push(wall);
                    continue;
                };
                beside.push(wall);
                let (clicks, took) = tokio::task::spawn_blocking(|| crowd.end()).await.unwrap();
                let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
                assert_eq!(count(&clicks.honoured), count(&clicks.valid), "every valid click is honoured");
                assert_eq!(count(&clicks.turned_away), count(&clicks.forged), "no forged one is");
                assert_eq!(count(&clicks.acted_on), 0, "half a form is not acted on");
                rates.push(count(&clicks.valid) as f64 / took * 60.0);
                pressed += count(&clicks.honoured);
            }
        }
        let mut sql = world.sql().await;
        let left: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM subscribers WHERE tier = 'none' AND status = 'unsubscribed'",
        )
        .fetch_one(&mut sql)
        .await
        .unwrap();
        assert_eq!(usize::try_from(left).unwrap(), pressed, "and written down");
    });
    report.figure("alone: messages a second", count as f64 / median(&alone), "/s");
    report.figure("beside clicks: messages a second", count as f64 / median(&beside), "/s");
    report.figure("valid clicks a minute, all honoured", median(&rates), "/min");
    report.at_least("valid clicks / those that were to be", median(&rates) / f64::from(A_MINUTE), 0.9);
    report.at_least("rate beside clicks / rate alone", ratio(&alone, &beside), 0.9);
    report.finish()
}
