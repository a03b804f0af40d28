//! The whole line: deliveries from SQLite, filled, composed, sent over SMTP and settled, with 8 and with 32 connections, beside
//! Postfix's `smtp-source -d` on the same `smtp-sink` in the same rounds. Without Postfix's tools a sink of our own takes the mail
//! and only our own figures are printed. With 8 connections signed as well, beside the bare RSA operation of the same key.

mod common;

use std::net::TcpListener;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::sending::{ours, own_sink};
use common::world::World;
use common::{Report, cpu, median, micros, ratio, rounds, size};
use secrecy::ExposeSecret;
use tidings::mail::dkim::{DkimKey, Signer};
use tidings::mail::dkim_key;

/// smtp-source's own octets a message; ours are printed.
const SOURCE_LENGTH: usize = 30_000;

/// One way to send the messages: seconds and processor seconds a message, round by round.
#[derive(Default)]
struct Way {
    wall: Vec<f64>,
    cpu: Vec<f64>,
}

impl Way {
    fn add(&mut self, count: usize, (wall, cpu): (f64, f64)) {
        self.wall.push(wall / count as f64);
        self.cpu.push(cpu / count as f64);
    }

    fn print(&self, report: &Report, name: &str) {
        report.figure(&format!("{name}: messages a second"), 1.0 / median(&self.wall), "/s");
        report.figure(&format!("{name}: processor time a message"), median(&self.cpu) * 1e6, "us");
    }
}

/// Postfix's sink, or ours where that is missing. Ends with this value.
struct Sink {
    port: u16,
    child: Option<Child>,
}

impl Sink {
    fn start() -> Sink {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        let mut command = Command::new(tool("smtp-sink"));
        // Started as root, it wants a user to become.
        // SAFETY: geteuid has no preconditions.
        if unsafe { libc::geteuid() } == 0 {
            command.args(["-u", "nobody"]);
        }
        command.args([&format!("127.0.0.1:{port}"), "1024"]).stdout(Stdio::null());
        drop(free);
        match command.spawn() {
            Ok(child) => {
                let sink = Sink { port, child: Some(child) };
                while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
                    std::thread::sleep(Duration::from_millis(20));
                }
                sink
            }
            Err(_) => Sink { port: own_sink(), child: None },
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn tool(name: &str) -> String {
    let there = format!("/usr/sbin/{name}");
    if std::path::Path::new(&there).exists() { there } else { name.to_owned() }
}

/// Seconds and processor seconds of `smtp-source` for `count` messages over 8 connections.
fn source(port: u16, count: usize) -> Option<(f64, f64)> {
    let (start, before) = (Instant::now(), cpu(libc::RUSAGE_CHILDREN));
    let (length, count) = (SOURCE_LENGTH.to_string(), count.to_string());
    let arguments = ["-d", "-s", "8", "-l", &length, "-m", &count, &format!("127.0.0.1:{port}")];
    let status = Command::new(tool("smtp-source")).args(arguments).status().ok()?;
    assert!(status.success(), "smtp-source failed");
    Some((start.elapsed().as_secs_f64(), cpu(libc::RUSAGE_CHILDREN) - before))
}

fn main() -> ExitCode {
    let count = size(5_000);
    let mut report = Report::new(&format!("send: {count} messages from the store to a sink"));
    let sink = Sink::start();
    let (mut theirs, mut eight, mut many) = (Way::default(), Way::default(), Way::default());
    let (mut signed, mut bare) = (Way::default(), Vec::new());
    let (bare_key, pem) = dkim_key::generate("2048").unwrap();
    let key = DkimKey::new("news.example.org", "t1", pem.expose_secret()).unwrap();
    let signer = Arc::new(Signer::new(vec![key]));
    common::runtime().block_on(async {
        let world = World::new().await;
        world.people(count).await;
        let owner = world.owner().await;
        common::reset_peak();
        for round in 0..rounds(5) {
            if let Some(took) = source(sink.port, count) {
                theirs.add(count, took);
            }
            let ways = [(&mut eight, 8, None), (&mut many, 32, None), (&mut signed, 8, Some(&signer))];
            for (way, connections, signer) in ways {
                world.edition(&format!("edition-{round}-{connections}-{}", signer.is_some())).await;
                way.add(count, ours(&world, sink.port, owner, connections, count, signer).await);
            }
            bare.push(micros(200, || {
                std::hint::black_box(bare_key.sign(&[b'x'; 2000]).unwrap());
            }));
        }
        accepted(&world, count * 3 * rounds(5)).await;
    });
    eight.print(&report, "8 connections");
    many.print(&report, "32 connections");
    signed.print(&report, "8 connections, signed");
    report.figure("one bare RSA signature", median(&bare), "us");
    let extra: Vec<f64> =
        (0..bare.len()).map(|at| (signed.cpu[at] - eight.cpu[at]) * 1e6 / bare[at]).collect();
    report.at_most("8: processor time (signed - unsigned) / bare signature", median(&extra), 1.3);
    report.figure("peak memory", common::peak_mb(), "MB");
    if sink.child.is_none() || theirs.wall.is_empty() {
        println!(
            "  Postfix's smtp-sink and smtp-source are not installed: there is nothing to compare with."
        );
        return report.finish();
    }
    theirs.print(&report, "smtp-source, 8 connections");
    report.at_least("8: rate / smtp-source", ratio(&theirs.wall, &eight.wall), 0.8);
    report.at_most("8: processor time / smtp-source", ratio(&eight.cpu, &theirs.cpu), 3.0);
    report.at_least("32: rate / smtp-source", ratio(&theirs.wall, &many.wall), 0.95);
    report.at_most("32: processor time / smtp-source", ratio(&many.cpu, &theirs.cpu), 2.0);
    report.finish()
}

async fn accepted(world: &World, expected: usize) {
    let mut sql = world.sql().await;
    let found: i64 = sqlx::query_scalar("SELECT count(*) FROM deliveries WHERE state = 'accepted'")
        .fetch_one(&mut sql)
        .await
        .unwrap();
    assert_eq!(usize::try_from(found).unwrap(), expected, "every message is accepted and settled");
}
