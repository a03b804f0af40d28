//! Postfix as a real peer, from Debian's package: `smtp-sink`, and a private instance with a queue of its own that delivers into a
//! maildir, where it is told to with TLS and passwords. Both need root; where a part is missing the run says so, and fails if
//! `TIDINGS_REQUIRE_POSTFIX=1`.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::certificates::Identity;
use super::daemon::until;
use super::peer::{PASSWORD, USERNAME};

/// Nobody's user and group on Debian.
const NOBODY: u32 = 65_534;

/// Whether Postfix can be started here.
pub fn is_here() -> bool {
    let root =
        std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let python = Command::new("python3").arg("--version").stdout(Stdio::null()).status().is_ok();
    let installed =
        ["postfix", "smtp-sink", "saslpasswd2"].iter().all(|name| Path::new("/usr/sbin").join(name).exists());
    let here = root && python && installed;
    let required = std::env::var("TIDINGS_REQUIRE_POSTFIX").is_ok_and(|value| value == "1");
    assert!(
        here || !required,
        "TIDINGS_REQUIRE_POSTFIX=1, but Postfix, saslpasswd2 or Python is missing, or we are not root"
    );
    if !here {
        println!("Postfix is not tested: it, saslpasswd2 or Python is not installed, or we are not root");
    }
    here
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn wait_for(address: SocketAddr) {
    until(&format!("somebody listens on {address}"), || TcpStream::connect(address).ok().map(drop));
}

/// A folder that the unprivileged user may look into.
fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

fn folder_of_nobody(path: PathBuf) -> PathBuf {
    std::fs::create_dir_all(&path).unwrap();
    chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    path
}

/// `smtp-sink`, which keeps each message as a file.
pub struct SmtpSink {
    pub address: SocketAddr,
    pub mails: PathBuf,
    child: Child,
    _folder: tempfile::TempDir,
}

impl SmtpSink {
    pub fn start() -> SmtpSink {
        let folder = open_folder();
        let mails = folder_of_nobody(folder.path().join("mails"));
        let address = free_address();
        let child = Command::new("/usr/sbin/smtp-sink")
            .args(["-u", "nobody", "-d"])
            .arg(mails.join("mail."))
            .args([&address.to_string(), "100"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        wait_for(address);
        SmtpSink { address, mails, child, _folder: folder }
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a client has to do before Postfix takes its mail.
#[derive(Clone, Copy)]
pub struct Secured<'a> {
    pub identity: &'a Identity,
    /// TLS from the first octet, else by STARTTLS.
    pub implicit: bool,
}

/// What it hands on to an LMTP door.
enum Onward<'a> {
    Nothing,
    /// What is for this domain.
    Domain(&'a str, SocketAddr),
    /// Everything; as Postfix writes the place.
    All(&'a str),
}

/// A Postfix of our own.
pub struct Postfix {
    pub address: SocketAddr,
    /// Where delivered messages are, one file each.
    pub mails: PathBuf,
    folder: tempfile::TempDir,
}

impl Postfix {
    /// Takes mail for everybody at `domain`.
    pub fn start(domain: &str) -> Postfix {
        Postfix::start_with(domain, Onward::Nothing, None)
    }

    /// Takes mail for everybody at `domains`, and hands what is for another domain to an LMTP door.
    pub fn start_for(domains: &[&str], handed: (&str, SocketAddr)) -> Postfix {
        Postfix::start_with(&domains.join(", "), Onward::Domain(handed.0, handed.1), None)
    }

    /// Hands all mail for `domain` to an LMTP server at this place, and tries again every second.
    pub fn start_into(domain: &str, lmtp: &str) -> Postfix {
        Postfix::start_with(domain, Onward::All(lmtp), None)
    }

    /// With TLS and AUTH in front of everything, for `USERNAME` and `PASSWORD` of the scripted peer.
    pub fn start_secured(domain: &str, secured: Secured<'_>) -> Postfix {
        Postfix::start_with(domain, Onward::Nothing, Some(secured))
    }

    fn start_with(domain: &str, onward: Onward<'_>, secured: Option<Secured<'_>>) -> Postfix {
        let folder = open_folder();
        let address = free_address();
        let root = folder.path().display();
        let base = folder_of_nobody(folder.path().join("mail"));
        // The start creates the others, each with its owner.
        for name in ["etc", "queue"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let mut main = format!(
            "compatibility_level = 3.6\nqueue_directory = {root}/queue\ndata_directory = {root}/data\n\
             myhostname = mta.example\nmydestination =\nmynetworks = 127.0.0.0/8\ninet_protocols = ipv4\n\
             inet_interfaces = loopback-only\nsmtpd_peername_lookup = no\ndisable_dns_lookups = yes\n\
             alias_maps =\nalias_database =\nlocal_recipient_maps =\nbiff = no\n\
             smtpd_relay_restrictions = permit_mynetworks, reject\n\
             maillog_file = {root}/log\nmaillog_file_prefixes = {root}\n\
             virtual_mailbox_domains = {domain}\nvirtual_mailbox_maps = static:inbox/\n\
             virtual_mailbox_base = {}\nvirtual_minimum_uid = 1\nvirtual_uid_maps = static:{NOBODY}\n\
             virtual_gid_maps = static:{NOBODY}\n",
            base.display()
        );
        match onward {
            Onward::Nothing => {}
            Onward::Domain(domain, door) => {
                main.push_str(&format!("transport_maps = inline:{{{domain}=lmtp:inet:{door}}}\n"));
            }
            Onward::All(lmtp) => main.push_str(&format!(
                "virtual_transport = lmtp:{lmtp}\nminimal_backoff_time = 1s\nmaximal_backoff_time = 1s\n\
                 queue_run_delay = 1s\ntransport_retry_time = 1s\n\
                 default_destination_concurrency_failed_cohort_limit = 0\n\
                 lmtp_connection_cache_on_demand = no\n"
            )),
        }
        let mut smtpd = format!("{address} inet n - n - - smtpd");
        if let Some(secured) = secured {
            main.push_str(&secure(folder.path(), secured.identity));
            if secured.implicit {
                smtpd.push_str(" -o smtpd_tls_wrappermode=yes");
            }
        }
        let services = [
            smtpd.as_str(),
            "tlsmgr unix - - n 1000? 1 tlsmgr",
            "pickup unix n - n 60 1 pickup",
            "cleanup unix n - n - 0 cleanup",
            "qmgr unix n - n 300 1 qmgr",
            "rewrite unix - - n - - trivial-rewrite",
            "bounce unix - - n - 0 bounce",
            "defer unix - - n - 0 bounce",
            "trace unix - - n - 0 bounce",
            "verify unix - - n - 1 verify",
            "flush unix n - n 1000? 0 flush",
            "proxymap unix - - n - - proxymap",
            "error unix - - n - - error",
            "retry unix - - n - - error",
            "virtual unix - n n - - virtual",
            "anvil unix - - n - 1 anvil",
            "lmtp unix - - n - - lmtp",
            "postlog unix-dgram n - n - 1 postlogd",
        ];
        std::fs::write(folder.path().join("etc/main.cf"), main).unwrap();
        std::fs::write(folder.path().join("etc/master.cf"), services.join("\n") + "\n").unwrap();
        let postfix = Postfix { address, mails: base.join("inbox/new"), folder };
        assert!(postfix.says("start"), "Postfix does not start: {}", postfix.log());
        wait_for(address);
        postfix
    }

    /// What Postfix wrote into its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Tries everything in the queue again.
    pub fn flush(&self) {
        self.says("flush");
    }

    fn says(&self, word: &str) -> bool {
        let mut command = Command::new("/usr/sbin/postfix");
        command.arg("-c").arg(self.folder.path().join("etc")).arg(word);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().unwrap().success()
    }
}

/// Writes key, certificate and password where Postfix finds them. Answers the settings that ask for all three.
fn secure(folder: &Path, identity: &Identity) -> String {
    let root = folder.display();
    std::fs::write(folder.join("etc/cert.pem"), &identity.certificate).unwrap();
    std::fs::write(folder.join("etc/key.pem"), &identity.key).unwrap();
    let sasl = format!(
        "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN LOGIN\nsasldb_path: {root}/etc/sasldb\n"
    );
    // Debian's Postfix looks there, beside its main.cf.
    std::fs::create_dir(folder.join("etc/sasl")).unwrap();
    std::fs::write(folder.join("etc/sasl/smtpd.conf"), sasl).unwrap();
    let mut command = Command::new("/usr/sbin/saslpasswd2");
    command.args(["-p", "-c", "-u", "mta.example", "-f"]).arg(folder.join("etc/sasldb")).arg(USERNAME);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    // The server reads it as its own user.
    std::fs::set_permissions(folder.join("etc/sasldb"), PermissionsExt::from_mode(0o644)).unwrap();
    format!(
        "smtpd_tls_cert_file = {root}/etc/cert.pem\nsmtpd_tls_key_file = {root}/etc/key.pem\n\
         smtpd_tls_security_level = encrypt\nsmtpd_tls_auth_only = yes\nsmtpd_tls_loglevel = 1\n\
         smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = cyrus\nsmtpd_sasl_path = smtpd\n\
         cyrus_sasl_config_path = {root}/etc/sasl\nsmtpd_sasl_local_domain = mta.example\n\
         smtpd_client_restrictions = permit_sasl_authenticated, reject\n"
    )
}

impl Drop for Postfix {
    fn drop(&mut self) {
        self.says("stop");
    }
}

/// How many messages are in a folder.
pub fn count(mails: &Path) -> usize {
    std::fs::read_dir(mails).map_or(0, Iterator::count)
}

/// Reads every message with Python's email package in its strictest reading: headers too are parsed, every part is walked.
const READER: &str = r#"
import email, email.policy, json, os, sys
told = []
for name in sorted(os.listdir(sys.argv[1])):
    with open(os.path.join(sys.argv[1], name), "rb") as file:
        mail = email.message_from_binary_file(file, policy=email.policy.default)
    defects = [repr(defect) for part in mail.walk() for defect in part.defects]
    for part in mail.walk():
        for key, value in part.items():
            defects += ["%s: %r" % (key, defect) for defect in getattr(value, "defects", ())]
            str(value)
        if not part.is_multipart():
            part.get_content()
    told.append({
        "to": [address.addr_spec for address in mail["To"].addresses],
        "id": mail["Message-ID"],
        "types": [part.get_content_type() for part in mail.walk()],
        "defects": defects,
    })
json.dump(told, sys.stdout)
"#;

/// What Python makes of each message in a folder.
pub fn read_by_python(mails: &Path) -> Vec<Value> {
    let output = Command::new("python3").arg("-c").arg(READER).arg(mails).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
