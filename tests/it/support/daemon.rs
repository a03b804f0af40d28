//! The real binary as a child process, on a config folder of its own: the shipped one, changed where a test needs it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use serde_json::Value;
use tidings::domain::settings::StorageUrl;
use tidings::runtime::{Clock, SystemClock};

use super::stores::TestStore;

/// Nothing that a test waits for takes longer than this on a machine that is alive.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The edition of the shipped config.
pub const EDITION: &str = "first-light";

/// Asks until there is an answer.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// As [`until`], and patient as long as something moves.
pub fn until_moving<T>(what: &str, progress: impl Fn() -> usize, mut ask: impl FnMut() -> Option<T>) -> T {
    let mut seen = (progress(), Instant::now());
    loop {
        if let Some(found) = ask() {
            return found;
        }
        let now = progress();
        if now != seen.0 {
            seen = (now, Instant::now());
        }
        assert!(seen.1.elapsed() < PATIENCE, "{what}: it stands at {now} since {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A folder with `config/` and `var/`.
pub struct Site {
    folder: tempfile::TempDir,
}

/// What a command answered.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Answer {
    /// The one JSON document of standard output.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Site {
    /// The shipped config. Only the LMTP port differs, so that many can run beside each other.
    pub fn shipped() -> Site {
        let site = Site::with_slots();
        // A slot that falls due while a test runs would be an edition more.
        let publication = site.folder.path().join("config/publication.toml");
        let text = std::fs::read_to_string(&publication).unwrap();
        std::fs::write(&publication, text.split_once("[[slots]]").unwrap().0).unwrap();
        site
    }

    /// The shipped config with its recurring editions.
    pub fn with_slots() -> Site {
        let folder = tempfile::tempdir().unwrap();
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config"), &folder.path().join("config"));
        let site = Site { folder };
        site.change("tidings.toml", "listen = \"127.0.0.1:2424\"", "listen = \"127.0.0.1:0\"");
        site
    }

    /// The shipped config with its relay at `relay` and its edition due now.
    pub fn sending_to(relay: SocketAddr) -> Site {
        let site = Site::shipped();
        site.change("tidings.toml", "url = \"smtp://127.0.0.1:2525\"", &format!("url = \"smtp://{relay}\""));
        // Reports and alarms are mails too; tests that count mails are not about them.
        site.change("tidings.toml", "operators = [\"ops@example.org\"]", "operators = []");
        site.change("publication.toml", "editors = [\"ed@example.org\"]", "editors = []");
        let now = SystemClock.now().rfc3339();
        site.change("publication.toml", "at = \"2026-11-28T09:00\"", &format!("at = \"{now}\""));
        site
    }

    /// Its private pages, on any free port.
    pub fn with_pages(self) -> Site {
        let path = self.folder.path().join("config/tidings.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, format!("{text}\n[web]\nprivate = \"127.0.0.1:0\"\n")).unwrap();
        self
    }

    /// Its public pages, on any free port.
    pub fn with_public(self) -> Site {
        let path = self.folder.path().join("config/tidings.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, format!("{text}\n[web]\nlisten = \"127.0.0.1:0\"\n")).unwrap();
        self
    }

    /// Says how the relay is reached: with TLS and a password, trusting this CA.
    pub fn secure_relay(&self, relay: SocketAddr, url: &str, ca: &str, (username, password): (&str, &str)) {
        std::fs::write(self.folder.path().join("relay-ca.pem"), ca).unwrap();
        std::fs::write(self.folder.path().join("relay-password"), password).unwrap();
        let lines = format!(
            "url = \"{url}\"\nusername = \"{username}\"\npassword = {{ file = \"relay-password\" }}\nca = \"relay-ca.pem\""
        );
        self.change("tidings.toml", &format!("url = \"smtp://{relay}\""), &lines);
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Replaces a text of one config file, which must be there.
    pub fn change(&self, file: &str, from: &str, to: &str) {
        let path = self.folder.path().join("config").join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{file}: {from}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }

    /// In this store instead of a file in the folder.
    pub fn keep_in(&self, store: &TestStore) {
        if let StorageUrl::Postgres(url) = &store.url {
            let url = format!("url = \"{}\"", url.expose_secret());
            self.change("tidings.toml", "url = \"sqlite://var/tidings.db\"", &url);
        }
    }

    /// No limit but the connections, and doubtful mail again after a second.
    pub fn hurry(&self) {
        self.change("tidings.toml", "rate = \"50/s\"\n", "");
        let schedule = "schedule = [\"5m\", \"30m\", \"1h\", \"2h\", \"3h\"]";
        self.change("tidings.toml", schedule, "schedule = [\"1s\"]");
    }

    /// Imports `count` people, spread over all tiers. Answers their addresses.
    pub fn import(&self, count: usize) -> Vec<String> {
        let tiers = ["free", "free", "monthly", "yearly", "lifetime"];
        let people: Vec<(String, &str)> =
            (0..count).map(|n| (format!("p{n:05}@readers.example"), tiers[n % tiers.len()])).collect();
        let mut csv = "email,name,tier,status\n".to_owned();
        for (address, tier) in &people {
            csv.push_str(&format!("{address},\"Reader, a {tier} one\",{tier},active\n"));
        }
        std::fs::write(self.folder.path().join("people.csv"), csv).unwrap();
        let answer =
            self.json(&["subscribers", "import", "people.csv", "--consent-source", "a test", "--json"]);
        assert_eq!(answer["added"], count, "{answer}");
        people.into_iter().map(|(address, _)| address).collect()
    }

    /// The binary with its surroundings, in the folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("TIDINGS_SECRET", "a secret of sixteen bytes or more")
            .env_remove("TIDINGS_CONFIG")
            .env_remove("TIDINGS_LOG")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Answer {
        let output = self.command(args).output().unwrap();
        Answer {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command that must succeed, and reads its document.
    pub fn json(&self, args: &[&str]) -> Value {
        let answer = self.run(args);
        assert_eq!(answer.code, 0, "{args:?}: {answer:?}");
        answer.json()
    }

    /// `editions show` of the shipped edition.
    pub fn edition(&self) -> Value {
        self.json(&["editions", "show", EDITION, "--json"])
    }

    /// Waits until the edition is in one of these states.
    pub fn edition_in(&self, states: &[&str]) -> Value {
        until(&format!("the edition in {states:?}"), || {
            let edition = self.edition();
            states.contains(&edition["state"].as_str().unwrap()).then_some(edition)
        })
    }

    /// Starts the daemon and waits until it is ready.
    pub fn start(&self) -> Daemon {
        self.start_with(&["run"])
    }

    /// As [`Site::start`], with this command.
    pub fn start_with(&self, args: &[&str]) -> Daemon {
        self.start_as(args, |_| {})
    }

    /// As [`Site::start`], with other arguments and what `change` adds to the process.
    pub fn start_as(&self, args: &[&str], change: impl FnOnce(&mut Command)) -> Daemon {
        let mut command = self.command(args);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        change(&mut command);
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (read, stderr) = (log.clone(), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = read.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut daemon = Daemon { child, log };
        until("the daemon is ready", || {
            let ended = daemon.child.try_wait().unwrap();
            assert!(ended.is_none(), "the daemon ended with {ended:?}: {}", daemon.log());
            daemon.log().contains("ready").then_some(())
        });
        daemon
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A running daemon; killed where a test ends without stopping it.
pub struct Daemon {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Daemon {
    /// Standard error so far, without colours.
    pub fn log(&self) -> String {
        let log = self.log.lock().unwrap();
        let mut plain = String::with_capacity(log.len());
        let mut coloured = false;
        for letter in log.chars() {
            match (coloured, letter) {
                (false, '\u{1b}') => coloured = true,
                (true, 'm') => coloured = false,
                (false, _) => plain.push(letter),
                (true, _) => {}
            }
        }
        plain
    }

    /// Where it listens for LMTP.
    pub fn lmtp(&self) -> SocketAddr {
        let log = self.log();
        let (_, rest) = log.split_once("lmtp=").unwrap();
        rest.split_whitespace().next().unwrap().trim_matches('"').parse().unwrap()
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Where its private pages are.
    pub fn pages(&self) -> SocketAddr {
        let log = self.log();
        let (_, rest) = log.split_once("pages=").unwrap();
        rest.split_whitespace().next().unwrap().trim_matches('"').parse().unwrap()
    }

    /// Where its public pages are.
    pub fn public(&self) -> SocketAddr {
        let log = self.log();
        let (_, rest) = log.split_once("public=").unwrap();
        rest.split_whitespace().next().unwrap().trim_matches('"').parse().unwrap()
    }

    /// The most memory that it ever held, in kB.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// SIGKILL: the process is gone between two instructions.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM.
    pub fn ask_to_stop(&self) {
        self.signal(libc::SIGTERM);
    }

    /// SIGHUP: the editors' files are read again, stopped relays are tried again.
    pub fn hang_up(&self) {
        self.signal(libc::SIGHUP);
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: the process is our child and was not waited for yet, so that the id is its own.
        assert_eq!(unsafe { libc::kill(self.pid(), signal) }, 0);
    }

    /// Waits for the end.
    pub fn ended(mut self) -> (ExitStatus, String) {
        let status = until("the daemon ends", || self.child.try_wait().unwrap());
        (status, self.log())
    }

    /// SIGTERM, and the end must be a clean one.
    pub fn stop(self) {
        self.ask_to_stop();
        let (status, log) = self.ended();
        assert_eq!(status.code(), Some(0), "{log}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
