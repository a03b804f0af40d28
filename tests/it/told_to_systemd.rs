//! What an init system hears of a daemon: ready, alive while every worker makes progress, reloading, stopping.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tidings::domain::settings::StorageUrl;
use tidings::store::Store;

use crate::support::daemon::{Daemon, PATIENCE, Site};

/// The init system's side.
struct Listener(UnixDatagram, PathBuf);

impl Listener {
    fn new(site: &Site) -> Listener {
        let path = site.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Listener(socket, path)
    }

    /// The next message, as lines.
    fn next(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let read = self.0.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..read].to_vec()).unwrap().lines().map(str::to_owned).collect()
    }

    /// The next message that holds this line; what comes before is skipped.
    fn until(&self, line: &str) -> Vec<String> {
        loop {
            let message = self.next();
            if message.iter().any(|found| found == line) {
                return message;
            }
        }
    }

    fn start(&self, site: &Site, watchdog: Option<Duration>) -> Daemon {
        site.start_as(&["run"], |command| {
            command.env("NOTIFY_SOCKET", &self.1);
            if let Some(watchdog) = watchdog {
                command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
            }
        })
    }
}

#[test]
fn it_hears_ready_reloading_and_stopping() {
    let site = Site::shipped();
    let listener = Listener::new(&site);
    let daemon = listener.start(&site, None);
    let ready = listener.next();
    assert_eq!(ready[0], "READY=1");
    assert!(ready[1].starts_with("STATUS=owner "), "{ready:?}");
    daemon.signal(libc::SIGHUP);
    let reloading = listener.next();
    assert_eq!(reloading[0], "RELOADING=1");
    let since = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse::<u64>();
    assert!(since.is_ok_and(|since| since > 0), "{reloading:?}");
    assert_eq!(listener.next()[0], "READY=1");
    daemon.stop();
    assert_eq!(listener.next()[0], "STOPPING=1");
}

#[test]
fn it_hears_that_the_daemon_lives_while_it_does() {
    let site = Site::shipped();
    let listener = Listener::new(&site);
    let daemon = listener.start(&site, Some(Duration::from_millis(40)));
    for _ in 0..5 {
        listener.until("WATCHDOG=1");
    }
    daemon.stop();
    listener.until("STOPPING=1");
}

/// Somebody holds the database and does not let go: rounds fail, but they are rounds, and a restart would help nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_busy_is_no_reason_to_restart() {
    let site = Site::shipped();
    let listener = Listener::new(&site);
    let daemon = listener.start(&site, Some(Duration::from_millis(40)));
    let store = Store::open(&StorageUrl::Sqlite(site.path().join("var/tidings.db"))).await.unwrap();
    let held = store.write().await.unwrap();
    for _ in 0..5 {
        listener.until("WATCHDOG=1");
    }
    drop(held);
    store.close().await;
    daemon.stop();
}

#[test]
fn the_unit_is_sound() {
    let unit =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tidings.service")).unwrap();
    let line = |start: &str| {
        let found = unit.lines().find_map(|line| line.strip_prefix(start)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("no {start} in the unit")).to_owned()
    };
    assert_eq!((line("Type").as_str(), line("KillSignal").as_str()), ("notify", "SIGTERM"));
    let seconds = |start: &str| line(start).trim_end_matches('s').parse::<u64>().unwrap();
    // The shipped `drain` is a minute, and what is left to write comes after it.
    assert!(seconds("TimeoutStopSec") > 62);
    assert!(seconds("WatchdogSec") >= 30);
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("systemd-analyze is not here: the unit was only read");
        return;
    }
    // It looks for the binary where the unit says; here it is somewhere else.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("tidings.service");
    std::fs::write(&copy, unit.replace("/usr/local/bin/tidings", env!("CARGO_BIN_EXE_tidings"))).unwrap();
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    let about_us: Vec<&str> = said.lines().filter(|line| line.contains("tidings")).collect();
    assert!(verified.status.success() && about_us.is_empty(), "{said}");
}
