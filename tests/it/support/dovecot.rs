//! Dovecot as a real IMAP server, from Debian's package: a private instance with a mailbox in a Maildir, TLS and a password. It needs
//! root; where it cannot run the run says so, and fails if `TIDINGS_REQUIRE_DOVECOT=1`.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::certificates::Identity;
use super::daemon::until;
use super::peer::PASSWORD;

/// Nobody's user and group on Debian.
const NOBODY: u32 = 65_534;

pub const USER: &str = "box";

/// Whether Dovecot can be started here.
pub fn is_here() -> bool {
    let root =
        std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let here = root && Path::new("/usr/sbin/dovecot").exists() && Path::new("/usr/lib/dovecot/imap").exists();
    let required = std::env::var("TIDINGS_REQUIRE_DOVECOT").is_ok_and(|value| value == "1");
    assert!(
        here || !required,
        "TIDINGS_REQUIRE_DOVECOT=1, but dovecot-imapd is not installed, or we are not root"
    );
    if !here {
        println!("Dovecot is not tested: dovecot-imapd is not installed, or we are not root");
    }
    here
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A Dovecot of our own with the mailbox of [`USER`], whose password is that of the scripted peer.
pub struct Dovecot {
    /// With STARTTLS; without TLS too, because it is on loopback.
    pub plain: SocketAddr,
    /// TLS from the first octet.
    pub secure: SocketAddr,
    folder: tempfile::TempDir,
    delivered: AtomicUsize,
}

impl Dovecot {
    pub fn start(identity: &Identity) -> Dovecot {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let root = folder.path().display();
        let (plain, secure) = (free_address(), free_address());
        std::fs::write(folder.path().join("cert.pem"), &identity.certificate).unwrap();
        std::fs::write(folder.path().join("key.pem"), &identity.key).unwrap();
        std::fs::write(folder.path().join("users"), format!("{USER}:{{PLAIN}}{PASSWORD}\n")).unwrap();
        let config = format!(
            "base_dir = {root}/run\nstate_dir = {root}/run\nlog_path = {root}/log\nprotocols = imap\n\
             listen = 127.0.0.1\nmail_location = maildir:{root}/mail/%u\nfirst_valid_uid = 1\n\
             ssl = yes\nssl_cert = <{root}/cert.pem\nssl_key = <{root}/key.pem\ndisable_plaintext_auth = no\n\
             mail_fsync = never\nmail_max_userip_connections = 100\nauth_failure_delay = 0\n\
             passdb {{\n  driver = passwd-file\n  args = {root}/users\n}}\n\
             userdb {{\n  driver = static\n  args = uid={NOBODY} gid={NOBODY} home={root}/mail/%u\n}}\n\
             service imap-login {{\n  inet_listener imap {{\n    port = {}\n  }}\n\
             inet_listener imaps {{\n    port = {}\n    ssl = yes\n  }}\n}}\n\
             namespace inbox {{\n  inbox = yes\n  separator = /\n}}\n",
            plain.port(),
            secure.port(),
        );
        std::fs::write(folder.path().join("dovecot.conf"), config).unwrap();
        let dovecot = Dovecot { plain, secure, folder, delivered: AtomicUsize::new(0) };
        for name in ["tmp", "new", "cur"] {
            std::fs::create_dir_all(dovecot.mailbox().join(name)).unwrap();
        }
        for path in [dovecot.folder.path().join("mail"), dovecot.mailbox()] {
            chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        for name in ["tmp", "new", "cur"] {
            chown(dovecot.mailbox().join(name), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        dovecot.run();
        dovecot
    }

    /// Starts it, again after [`Dovecot::stop`].
    pub fn run(&self) {
        let started = self.command("/usr/sbin/dovecot", &[]).status().unwrap();
        assert!(started.success(), "Dovecot does not start: {}", self.log());
        for address in [self.plain, self.secure] {
            until(&format!("somebody listens on {address}"), || TcpStream::connect(address).ok().map(drop));
        }
    }

    /// Ends it and every connection.
    pub fn stop(&self) {
        self.command("/usr/sbin/dovecot", &["stop"]).status().unwrap();
        until("Dovecot has ended", || TcpStream::connect(self.plain).is_err().then_some(()));
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.folder.path().join("dovecot.conf")).args(args);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn mailbox(&self) -> PathBuf {
        self.folder.path().join("mail").join(USER)
    }

    /// What Dovecot wrote into its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Puts a message into the mailbox, as an MTA does.
    pub fn deliver(&self, message: &[u8]) {
        let number = self.delivered.fetch_add(1, Ordering::SeqCst);
        let name = format!("{}.M{number}P{}.mta.example", 1_790_000_000 + number, std::process::id());
        let (tmp, new) = (self.mailbox().join("tmp").join(&name), self.mailbox().join("new").join(&name));
        std::fs::write(&tmp, message).unwrap();
        chown(&tmp, Some(NOBODY), Some(NOBODY)).unwrap();
        std::fs::rename(tmp, new).unwrap();
    }

    /// Makes Dovecot number the mailbox anew, under another UIDVALIDITY.
    pub fn renumber(&self) {
        self.stop();
        for entry in std::fs::read_dir(self.mailbox()).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name().to_string_lossy().starts_with("dovecot") {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
        // Its default is the time in seconds, which may be the one of before.
        let list = self.mailbox().join("dovecot-uidlist");
        std::fs::write(&list, "3 V1234567 N1\n").unwrap();
        chown(&list, Some(NOBODY), Some(NOBODY)).unwrap();
        self.run();
    }

    /// What `doveadm` answers about all messages of a folder, one line each.
    pub fn asked(&self, folder: &str, fields: &str) -> Vec<String> {
        let args = ["-f", "tab", "fetch", "-u", USER, fields, "mailbox", folder, "ALL"];
        let output = self.command("/usr/bin/doveadm", &args).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().skip(1).map(str::to_owned).collect()
    }

    /// Flags of all messages of a folder, with how many have them. \Recent is not one that anybody keeps.
    pub fn flags(&self, folder: &str) -> BTreeMap<String, usize> {
        let mut flags = BTreeMap::new();
        for line in self.asked(folder, "flags") {
            let kept: Vec<&str> = line.split_whitespace().filter(|flag| *flag != "\\Recent").collect();
            *flags.entry(kept.join(" ")).or_default() += 1;
        }
        flags
    }

    /// Runs another command of `doveadm`.
    pub fn admin(&self, args: &[&str]) {
        let status = self.command("/usr/bin/doveadm", args).status().unwrap();
        assert!(status.success(), "{args:?}: {}", self.log());
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        self.command("/usr/sbin/dovecot", &["stop"]).status().ok();
    }
}
