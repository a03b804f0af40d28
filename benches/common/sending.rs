//! The send line over a store, as the daemon has it, and a sink that takes everything.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings::domain::settings::{OnUncertain, RelaySecurity, RelaySettings, RetrySettings};
use tidings::mail::dkim::Signer;
use tidings::runtime::{Shutdown, SystemClock};
use tidings::tasks::ledger::{Owner, ledger};
use tidings::tasks::send::{Connection, SendLine, Step};
use tidings::tasks::signing::Signing;
use tidings::transport::Pacer;

use super::cpu;
use super::world::{NOW, World, keyring, shelf};

/// Takes everything, one thread a connection.
pub fn own_sink() -> u16 {
    use std::io::{BufRead, BufReader, Write};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let talk = |stream: std::net::TcpStream| -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut write = stream.try_clone()?;
        let mut lines = BufReader::with_capacity(65_536, stream);
        let mut line = Vec::new();
        let mut body = false;
        write.write_all(b"220 sink\r\n")?;
        loop {
            line.clear();
            if lines.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            let reply: &[u8] = match (body, &line[..]) {
                (true, b".\r\n") => b"250 ok\r\n",
                (true, _) => continue,
                (false, [b'E' | b'e', ..]) => b"250-sink\r\n250 PIPELINING\r\n",
                (false, [b'D' | b'd', ..]) => b"354 go\r\n",
                _ => b"250 ok\r\n",
            };
            body = reply.starts_with(b"354");
            write.write_all(reply)?;
        }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || talk(stream));
        }
    });
    port
}

fn line(
    world: &World,
    port: u16,
    owner: i64,
    signer: Option<&Arc<Signer>>,
) -> (SendLine, tidings::tasks::ledger::Gatherer) {
    let keyring = Arc::new(keyring());
    let who = Owner {
        id: owner,
        key_id: keyring.current_key_id().into(),
        shelf: shelf(),
        alarms: Default::default(),
    };
    let (asks, gatherer) = ledger(world.store.clone(), who);
    let relay = RelaySettings {
        name: "main".into(),
        security: RelaySecurity::None,
        host: "127.0.0.1".into(),
        port,
        username: None,
        password: None,
        ca: None,
        connections: 8,
        rates: Vec::new(),
        messages_per_connection: 100,
        weight: 1,
        sends_from: Vec::new(),
        rules: tidings::config::reply_rules::built_in(),
        hello: "news.example.org".into(),
    };
    let line = SendLine {
        store: world.store.clone(),
        ledger: asks,
        owner,
        pacer: Pacer::new(&relay.rates),
        relay,
        timeouts: Default::default(),
        retry: RetrySettings {
            schedule: vec![Duration::from_secs(300)],
            give_up: Duration::from_secs(86_400),
            on_uncertain: OnUncertain::Resend,
        },
        keyring,
        signing: signer.cloned().map(Signing::new),
        shelf: shelf(),
        bodies: Default::default(),
        health: Default::default(),
        alarms: Default::default(),
        clock: Arc::new(SystemClock),
        shutdown: Shutdown::new(),
        wake: Default::default(),
    };
    (line, gatherer)
}

/// Sends everything that is queued. Seconds and processor seconds.
pub async fn ours(
    world: &World,
    port: u16,
    owner: i64,
    connections: usize,
    count: usize,
    signer: Option<&Arc<Signer>>,
) -> (f64, f64) {
    let (line, gatherer) = line(world, port, owner, signer);
    let line = Arc::new(line);
    let (start, before) = (Instant::now(), cpu(libc::RUSAGE_SELF));
    let gathering = tokio::spawn(gatherer.run(|| NOW));
    let sending: Vec<_> = (0..connections)
        .map(|_| {
            let mut connection = Connection::new(line.clone());
            tokio::spawn(async move {
                let mut tried = 0;
                loop {
                    match connection.step().await {
                        Step::Tried => tried += 1,
                        Step::Idle | Step::Stopped => return tried,
                        Step::Down(wait) => panic!("the sink is away: {wait:?}"),
                    }
                }
            })
        })
        .collect();
    drop(line);
    let mut tried = 0;
    for one in sending {
        tried += one.await.unwrap();
    }
    gathering.await.unwrap();
    let took = (start.elapsed().as_secs_f64(), cpu(libc::RUSAGE_SELF) - before);
    assert_eq!(tried, count, "every queued message is tried");
    took
}
