//! A PostgreSQL server of a test's own, which it may stop and start.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A cluster in a folder of its own on a port of its own. Stopped and removed with this value.
pub struct Cluster {
    bin: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
}

impl Cluster {
    /// `None` where PostgreSQL's programs are not installed; the run says so, and fails if `TIDINGS_REQUIRE_POSTGRES=1`.
    pub fn start() -> Option<Cluster> {
        let Some(bin) = programs() else {
            let required = std::env::var("TIDINGS_REQUIRE_POSTGRES").is_ok_and(|value| value == "1");
            assert!(
                !required,
                "TIDINGS_REQUIRE_POSTGRES=1, but there is no pg_ctl below /usr/lib/postgresql"
            );
            println!("a PostgreSQL that goes away is not tested: its programs are not here");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let cluster = Cluster { bin, folder, port };
        if is_root() {
            // PostgreSQL refuses to run as root.
            run(Command::new("chown").arg("postgres").arg(cluster.folder.path()));
        }
        let data = cluster.folder.path().join("data");
        run(cluster
            .program("initdb")
            .args(["-U", "tidings", "-A", "trust", "-E", "UTF8", "--no-sync", "-D"])
            .arg(data));
        cluster.go_on();
        Some(cluster)
    }

    pub fn url(&self) -> String {
        format!("postgres://tidings@127.0.0.1:{}/postgres", self.port)
    }

    /// The server is gone between two instructions.
    pub fn stop(&self) {
        run(self.control().args(["-m", "immediate", "-w", "stop"]));
    }

    /// The server starts, and recovers what was committed.
    pub fn go_on(&self) {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=50",
            self.port
        );
        let log = self.folder.path().join("log");
        run(self.control().arg("-w").arg("-l").arg(log).args(["-o", &options, "start"]));
    }

    fn control(&self) -> Command {
        let mut command = self.program("pg_ctl");
        command.arg("-D").arg(self.folder.path().join("data"));
        command
    }

    fn program(&self, name: &str) -> Command {
        let program = self.bin.join(name);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir("/");
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It may be stopped already.
        let _ = self
            .control()
            .args(["-m", "immediate", "-w", "stop"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let bins = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    bins.filter(|bin| bin.join("pg_ctl").exists() && bin.join("initdb").exists()).max()
}

fn is_root() -> bool {
    Path::new("/proc/self")
        .metadata()
        .is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0)
}

fn run(command: &mut Command) {
    // The server inherits what its starter has open: a pipe would never end.
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}
