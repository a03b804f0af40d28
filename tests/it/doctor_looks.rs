//! `tidings doctor` as an operator runs it: beside a daemon, a relay, a name server and a proxy with a certificate, of which one thing
//! is broken at a time. What each set of records means is tested beside the rules, in `domain::doctor`.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tidings::mail::dkim::DkimKey;
use tidings::store::{Dialect, checkup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::certificates::{Authority, Identity};
use crate::support::daemon::{Answer, Daemon, Site};
use crate::support::dns::NameServer;
use crate::support::imap::{self, Held, ImapPeer};
use crate::support::mailbox::numbered;
use crate::support::peer::Peer;
use crate::support::signing::pem;
use crate::support::stores::on_every_store;

const HOST: &str = "news.example.org";
const DMARC: &str = "_dmarc.example.org";

/// A setup in which everything is as it should be.
struct Clinic {
    site: Arc<Site>,
    names: NameServer,
    peer: Peer,
    daemon: Option<Daemon>,
    proxy: Arc<Proxy>,
    authority: Authority,
}

/// TLS in front of the daemon's public pages.
struct Proxy {
    identity: Mutex<Identity>,
    target: Mutex<Option<std::net::SocketAddr>>,
    redirects: AtomicBool,
}

impl Proxy {
    async fn serve(self: Arc<Proxy>, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let proxy = self.clone();
            tokio::spawn(async move {
                let acceptor = proxy.identity.lock().unwrap().acceptor();
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut head = vec![0; 8000];
                let length = stream.read(&mut head).await.unwrap_or(0);
                if proxy.redirects.load(Ordering::SeqCst) && head.starts_with(b"POST") {
                    let answer = "HTTP/1.1 308 Moved\r\nLocation: https://www.example.org/\r\nContent-Length: 0\r\n\r\n";
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    stream.shutdown().await.unwrap();
                    return;
                }
                let target = *proxy.target.lock().unwrap();
                let Some(target) = target else { return };
                let Ok(mut behind) = TcpStream::connect(target).await else { return };
                behind.write_all(&head[..length]).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut stream, &mut behind).await);
            });
        }
    }
}

fn append(site: &Site, text: &str) {
    let path = site.path().join("config/tidings.toml");
    let before = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, format!("{before}\n{text}")).unwrap();
}

impl Clinic {
    async fn open() -> Clinic {
        let (names, peer, authority) = (NameServer::start().await, Peer::willing().await, Authority::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let identity = Mutex::new(authority.server(HOST));
        let proxy = Arc::new(Proxy { identity, target: Mutex::default(), redirects: AtomicBool::new(false) });
        tokio::spawn(proxy.clone().serve(listener));
        let site = site(&peer, &names, port, &authority);
        publish(&names);
        let mut clinic = Clinic { site: Arc::new(site), names, peer, daemon: None, proxy, authority };
        clinic.start().await;
        clinic
    }

    async fn start(&mut self) {
        let site = self.site.clone();
        let daemon = tokio::task::spawn_blocking(move || site.start()).await.unwrap();
        *self.proxy.target.lock().unwrap() = Some(daemon.public());
        self.daemon = Some(daemon);
    }

    async fn run(&self, args: &[&str]) -> Answer {
        let mut command = self.site.command(args);
        command.env("SSL_CERT_FILE", self.site.path().join("roots.pem"));
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        Answer {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// All checks, the findings among them, and the exit code.
    async fn examined(&self) -> (Vec<Value>, Vec<Value>, i32) {
        let answer = self.run(&["doctor", "--json"]).await;
        let checks = answer.json().as_array().unwrap().clone();
        let is_finding =
            |check: &&Value| ["warn", "fail", "unknown"].contains(&check["status"].as_str().unwrap());
        let findings = checks.iter().filter(is_finding).cloned().collect();
        (checks, findings, answer.code)
    }

    /// The one finding, which must be this one and have a fix that says this.
    async fn finds(&self, (id, key, status): (&str, &str, &str), fix: &str) -> Value {
        let (_, findings, code) = self.examined().await;
        assert_eq!(findings.len(), 1, "{id} {key}: {findings:#?}");
        let found = findings[0].clone();
        assert_eq!(
            (&found["id"], &found["key"], &found["status"]),
            (&id.into(), &key.into(), &status.into()),
            "{found}"
        );
        assert!(found["fix"].as_str().unwrap().contains(fix), "{fix}: {found}");
        assert_eq!(
            code,
            match status {
                "fail" => 1,
                "unknown" => 69,
                _ => 0,
            },
            "{found}"
        );
        found
    }
}

fn site(peer: &Peer, names: &NameServer, port: u16, authority: &Authority) -> Site {
    let site = Site::shipped();
    let folder = site.path();
    std::fs::create_dir_all(folder.join("secrets")).unwrap();
    std::fs::create_dir_all(folder.join("var")).unwrap();
    let key = folder.join("secrets/t1.pem");
    std::fs::write(&key, pem(0)).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(folder.join("roots.pem"), &authority.certificate).unwrap();
    site.change("tidings.toml", "smtp://127.0.0.1:2525", &format!("smtp://{}", peer.address));
    let more = "weight = 1\nhello = \"out.example.org\"\nsends_from = [\"192.0.2.1\"]";
    site.change("tidings.toml", "\nweight = 1\n", &format!("\n{more}\n"));
    let resolver = format!("max_message = \"25MB\"\nresolver = \"{}\"", names.address);
    site.change("tidings.toml", "max_message = \"25MB\"", &resolver);
    site.change("tidings.toml", "listen = \"127.0.0.1:0\"", "listen = \"unix:var/lmtp\"");
    site.change(
        "publication.toml",
        "url = \"https://news.example.org\"\n",
        &format!("url = \"https://{HOST}:{port}\"\n"),
    );
    let mut tables =
        "[dkim]\ndomain = \"news.example.org\"\nselector = \"t1\"\nkey = { file = \"secrets/t1.pem\" }\n\
        [web]\nlisten = \"127.0.0.1:0\"\n"
            .to_owned();
    for domain in ["gmail.com", "outlook.com", "yahoo.com", "icloud.com"] {
        tables.push_str(&format!("[[domains]]\nmatch = [\"{domain}\"]\nconnections = 5\n"));
    }
    append(&site, &tables);
    site
}

fn publish(names: &NameServer) {
    let key = DkimKey::new(HOST, "t1", pem(0)).unwrap();
    names.publish(&key.record_name(), &key.record());
    names.publish(HOST, "v=spf1 ip4:192.0.2.1 -all");
    names.set(HOST, "MX", &["10 mx.example.org"]);
    names.set(HOST, "SOA", &["example.org"]);
    names.set(HOST, "A", &["127.0.0.1"]);
    names.set("mx.example.org", "A", &["192.0.2.3"]);
    names.set("out.example.org", "A", &["192.0.2.1"]);
    names.set("1.2.0.192.in-addr.arpa", "PTR", &["out.example.org"]);
    names.publish(DMARC, "v=DMARC1; p=none; rua=mailto:ops@example.org");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w79_a_whole_setup_has_no_finding_and_each_check_is_one_object() {
    let clinic = Clinic::open().await;
    let (checks, findings, code) = clinic.examined().await;
    assert_eq!((findings, code), (Vec::new(), 0), "{checks:#?}");
    let mut promised = ["id", "key", "status", "where", "found", "expected", "fix", "codes"];
    promised.sort_unstable();
    for check in &checks {
        let mut keys: Vec<&str> = check.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, promised);
        assert!(["ok", "skipped"].contains(&check["status"].as_str().unwrap()), "{check}");
        assert!(!check["found"].as_str().unwrap().is_empty(), "{check}");
    }
    let keys: Vec<&str> = checks.iter().map(|check| check["key"].as_str().unwrap()).collect();
    for key in [
        "dkim",
        "spf",
        "dmarc",
        "reverse",
        "relay",
        "intake",
        "storage",
        "durability",
        "disk",
        "web_page",
        "one_click",
        "clock",
        "time_zones",
        "lanes",
        "key_files",
    ] {
        assert!(keys.contains(&key), "{key}: {keys:?}");
    }
    // Nobody was mailed, and nothing was written but what opening a store writes.
    assert_eq!(clinic.peer.count(), 0);
    let text = clinic.run(&["doctor"]).await;
    assert!(
        text.out.ends_with("skipped\n") && text.out.contains("0 failed, 0 warnings, 0 not known"),
        "{text:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w65_to_w84_each_record_that_is_broken_is_found_once_with_its_fix_and_its_code() {
    let clinic = Clinic::open().await;
    let key = DkimKey::new(HOST, "t1", pem(0)).unwrap();
    let (dkim, other) = (key.record_name(), DkimKey::new(HOST, "t1", pem(1)).unwrap().record());
    let dmarc = "v=DMARC1; p=none; rua=mailto:ops@example.org";
    type Case<'a> = (&'a str, &'static str, &'a [&'a str], (&'a str, &'a str, &'a str), &'a str, &'a str);
    let record = key.record();
    let cases: &[Case<'_>] = &[
        (
            &dkim,
            "TXT",
            &[&other],
            ("W65", "dkim_other_key", "fail"),
            "t1._domainkey.news.example.org. IN TXT (",
            "5.7.30",
        ),
        (&dkim, "TXT", &[], ("W65", "dkim_not_published", "fail"), "v=DKIM1; k=rsa; p=", "5.7.515"),
        (HOST, "TXT", &[], ("W69", "spf_missing", "fail"), "\"v=spf1 ip4:192.0.2.1 -all\"", "5.7.27"),
        (
            HOST,
            "TXT",
            &["v=spf1 ip4:192.0.2.1 +all"],
            ("W70", "spf_plus_all", "fail"),
            "ip4:192.0.2.1 -all",
            "",
        ),
        (HOST, "MX", &["0 ."], ("W71", "bounce_null_mx", "fail"), "news.example.org. IN MX 10", "5.7.27"),
        (
            "1.2.0.192.in-addr.arpa",
            "PTR",
            &[],
            ("W72", "ptr_missing", "fail"),
            "IN PTR out.example.org.",
            "5.7.25",
        ),
        (
            DMARC,
            "TXT",
            &[],
            ("W74", "dmarc_missing", "fail"),
            "_dmarc.news.example.org. IN TXT \"v=DMARC1; p=none",
            "Gmail 421 4.7.31",
        ),
        (DMARC, "TXT", &[dmarc, dmarc], ("W81", "dmarc_void", "fail"), "leave one", "5.7.40"),
        (
            DMARC,
            "TXT",
            &["v=DMARC1; p=none; pct=10"],
            ("W82", "dmarc_gone_tags", "warn"),
            "\"v=DMARC1; p=none\"",
            "",
        ),
        (
            DMARC,
            "TXT",
            &["v=DMARC1; p=none; rua=mailto:x@reports.example"],
            ("W84", "dmarc_reports_unwanted", "warn"),
            "example.org._report._dmarc.reports.example. IN TXT \"v=DMARC1\"",
            "",
        ),
    ];
    for (name, kind, broken, finding, fix, code) in cases {
        clinic.names.set(name, kind, broken);
        let found = clinic.finds(*finding, fix).await;
        let codes = found["codes"].to_string();
        assert!(codes.contains(code), "{code}: {found}");
        publish(&clinic.names);
    }
    assert!(record.len() > 255, "the key takes two strings of a record");
    clinic.names.set(DMARC, "TXT", &[]);
    let text = clinic.run(&["doctor"]).await;
    for says in [
        "fail    W74   _dmarc.news.example.org",
        "fix: _dmarc.news.example.org. IN TXT",
        "providers: Gmail 421 4.7.31",
        "1 failed",
    ] {
        assert!(text.out.contains(says), "{says}: {text:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w77_a_name_server_that_fails_or_is_silent_is_no_pass_and_no_failure() {
    let clinic = Clinic::open().await;
    clinic.names.fails("_dmarc.news.example.org");
    let found = clinic.finds(("W74", "lookup", "unknown"), "resolver").await;
    assert!(found["found"].as_str().unwrap().contains("Server Failure"), "{found}");
    let clinic = Clinic::open().await;
    clinic.names.is_silent("1.2.0.192.in-addr.arpa");
    let found = clinic.finds(("W72", "lookup", "unknown"), "ask again").await;
    assert!(found["where"].as_str().unwrap().contains("1.2.0.192.in-addr.arpa PTR"), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w78_what_the_world_sees_of_the_pages() {
    let mut clinic = Clinic::open().await;
    clinic.proxy.redirects.store(true, Ordering::SeqCst);
    let found = clinic.finds(("W40", "one_click_redirected", "fail"), "no redirect").await;
    assert!(found["found"].as_str().unwrap().contains("308, to https://www.example.org/"), "{found}");
    clinic.proxy.redirects.store(false, Ordering::SeqCst);

    *clinic.proxy.identity.lock().unwrap() = Authority::new().server(HOST);
    clinic.finds(("W78", "web_certificate", "fail"), HOST).await;
    *clinic.proxy.identity.lock().unwrap() = clinic.authority.server("www.example.org");
    clinic.finds(("W78", "web_certificate", "fail"), HOST).await;
    *clinic.proxy.identity.lock().unwrap() = clinic.authority.server(HOST);

    // Another secret: the links of mails are not known to the pages.
    let mut command = clinic.site.command(&["doctor", "--json"]);
    command
        .env("SSL_CERT_FILE", clinic.site.path().join("roots.pem"))
        .env("TIDINGS_SECRET", "another secret of sixteen bytes");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("web_page_missing") && text.contains("one_click_refused"), "{text}");

    // The daemon is gone: its door for mail and its pages.
    drop(clinic.daemon.take());
    std::fs::remove_file(clinic.site.path().join("var/lmtp")).unwrap();
    let (_, findings, code) = clinic.examined().await;
    let keys: Vec<&str> = findings.iter().map(|check| check["key"].as_str().unwrap()).collect();
    assert_eq!((keys, code), (vec!["intake_closed", "web_unreachable"], 69), "{findings:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w67_w73_w117_keys_relays_and_lanes() {
    let clinic = Clinic::open().await;
    let key = clinic.site.path().join("secrets/t1.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    clinic.finds(("W67", "key_file_open", "warn"), "chmod 600").await;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();

    clinic.site.change("tidings.toml", "match = [\"yahoo.com\"]", "match = [\"other.example\"]");
    clinic.finds(("W117", "no_lane", "warn"), "match = [\"yahoo.com\", \"aol.com\"").await;
    clinic.site.change("tidings.toml", "match = [\"other.example\"]", "match = [\"aol.com\"]");

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let peer = format!("smtp://{}", clinic.peer.address);
    clinic.site.change("tidings.toml", &peer, &format!("smtp://{nobody}"));
    clinic.finds(("W73", "relay_unreachable", "unknown"), "correct `url` of relay `main`").await;
    clinic.site.change(
        "tidings.toml",
        &format!("smtp://{nobody}"),
        &format!("smtp+starttls://{}", clinic.peer.address),
    );
    let found = clinic.finds(("W73", "relay_tls", "fail"), "certificate").await;
    assert!(found["codes"].to_string().contains("5.7.29"), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w78_a_database_that_cannot_be_opened_is_a_finding_beside_the_others() {
    let clinic = Clinic::open().await;
    std::fs::write(
        clinic.site.path().join("rubbish.db"),
        "this is no database, and long enough to be read as one",
    )
    .unwrap();
    clinic.site.change("tidings.toml", "sqlite://var/tidings.db", "sqlite://rubbish.db");
    clinic.finds(("W78", "storage_refuses", "fail"), "[storage]").await;
}

/// One mail by the only way that mail takes, signed; and the same as a relay that adds a footer hands it on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w68_a_test_mail_is_sent_by_the_queue_and_verified_after_the_relay() {
    let clinic = Clinic::open().await;
    let answer = clinic.run(&["doctor", "--send-test", "check@verifier.example", "--json"]).await;
    let checks = answer.json();
    assert_eq!(
        (answer.code, &checks[0]["id"], &checks[0]["status"]),
        (0, &"W68".into(), &"ok".into()),
        "{answer:?}"
    );
    let found = checks[0]["found"].as_str().unwrap();
    assert!(found.starts_with("accepted: 250"), "{found}");
    assert!(checks[0]["where"].as_str().unwrap().ends_with("by relay main"), "{checks}");
    let taken = clinic.peer.taken();
    assert_eq!(taken.len(), 1);
    let mail = String::from_utf8(taken[0].bytes.clone()).unwrap();
    assert!(mail.contains("\r\nTo: ") && mail.contains("check@verifier.example"), "{mail}");
    assert!(
        mail.contains("\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"),
        "the real kind of mail"
    );

    // As a mail program saves it.
    let file = clinic.site.path().join("received.eml");
    let received = |text: String| {
        std::fs::write(&file, format!("Received: by mx.verifier.example\n{text}")).unwrap();
        clinic.run(&["doctor", "--received", "received.eml", "--json"])
    };
    let whole = received(mail.replace("\r\n", "\n")).await;
    assert_eq!((whole.code, &whole.json()[0]["key"]), (0, &"received".into()), "{whole:?}");
    let footer = received(format!("{mail}\r\nScanned by relay.example\r\n")).await;
    assert_eq!(footer.code, 1, "{footer:?}");
    assert!(
        footer.json()[0]["found"].as_str().unwrap().starts_with("body hash mismatch after relay"),
        "{footer:?}"
    );
    let renamed = received(mail.replacen("\r\nSubject: ", "\r\nSubject: [EXTERNAL] ", 1)).await;
    assert_eq!((renamed.code, &renamed.json()[0]["key"]), (1, &"received_broken".into()), "{renamed:?}");
    let bare = received("From: a@x.example\n\nhello\n".to_owned()).await;
    assert_eq!((bare.code, &bare.json()[0]["key"]), (1, &"received_not_signed".into()), "{bare:?}");
    let nothing = received(String::new()).await;
    assert!([1, 69].contains(&nothing.code), "{nothing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w68_a_test_mail_waits_for_a_daemon_and_says_so() {
    let mut clinic = Clinic::open().await;
    let daemon = clinic.daemon.take().unwrap();
    tokio::task::spawn_blocking(move || daemon.stop()).await.unwrap();
    let answer = clinic.run(&["doctor", "--send-test", "check@verifier.example", "--json"]).await;
    assert_eq!((answer.code, &answer.json()[0]["key"]), (69, &"test_mail_waits".into()), "{answer:?}");
    assert!(answer.json()[0]["found"].as_str().unwrap().contains("no daemon is running"), "{answer:?}");
    assert_eq!(clinic.peer.count(), 0);

    let wrong = clinic.run(&["doctor", "--send-test", "nobody"]).await;
    assert_eq!((wrong.code, wrong.out.as_str()), (2, ""), "{wrong:?}");
    let added = clinic.run(&["suppressions", "add", "gone@verifier.example"]).await;
    assert_eq!(added.code, 0, "{added:?}");
    let refused = clinic.run(&["doctor", "--send-test", "gone@verifier.example"]).await;
    assert!(refused.code == 1 && refused.err.contains("is suppressed"), "{refused:?}");
}

#[tokio::test]
async fn w78_both_databases_say_what_a_commit_waits_for() {
    on_every_store(|store| async move {
        let mut tx = store.read().await.unwrap();
        assert_eq!(checkup::faults(&mut tx).await.unwrap(), Vec::<String>::new());
        let durability = checkup::durability(&mut tx).await.unwrap();
        let names: Vec<&str> = durability.iter().map(|found| found.setting.as_str()).collect();
        match store.dialect() {
            Dialect::Sqlite => assert_eq!((names, durability[0].value.as_str()), (vec!["synchronous"], "2")),
            // Whether a server for tests is safe is its own matter.
            Dialect::Postgres => assert_eq!(names, ["fsync", "full_page_writes", "synchronous_commit"]),
        }
        let unsafe_values = durability.iter().filter(|found| !found.is_safe);
        assert!(unsafe_values.into_iter().all(|found| found.value == "off"), "{durability:?}");
    })
    .await;
}

/// Pages of the file overwritten in the middle: found, with the way back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w78_a_damaged_database_is_found() {
    let mut clinic = Clinic::open().await;
    let daemon = clinic.daemon.take().unwrap();
    tokio::task::spawn_blocking(move || daemon.stop()).await.unwrap();
    let file = clinic.site.path().join("var/tidings.db");
    let mut octets = std::fs::read(&file).unwrap();
    let half = octets.len() / 2;
    octets[half..].fill(0xa5);
    std::fs::write(&file, octets).unwrap();
    let (_, findings, code) = clinic.examined().await;
    let storage = findings.iter().find(|check| check["key"] == "storage_damaged");
    assert!(storage.is_some_and(|check| check["status"] == "fail") && code == 1, "{findings:#?}");
}

/// Each way in which a mailbox cannot be read is one finding with its fix, and looking changes nothing in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w78_the_mailbox_is_logged_in_to_and_changed_in_nothing() {
    let clinic = Clinic::open().await;
    let mood = Arc::new(Mutex::new(""));
    let asked = mood.clone();
    let peer = ImapPeer::start(Held::of(&[numbered(1)]), move |_, command| {
        let verb = command.split(' ').next().unwrap_or("");
        match *asked.lock().unwrap() {
            "login" if verb == "LOGIN" => imap::Do::Say(b"TAG NO [AUTHENTICATIONFAILED] no\r\n".to_vec()),
            "mailbox" if verb == "EXAMINE" => {
                imap::Do::Say(b"TAG NO [NONEXISTENT] no such mailbox\r\n".to_vec())
            }
            "folder" if verb == "STATUS" => {
                imap::Do::Say(b"TAG NO [NONEXISTENT] no such folder\r\n".to_vec())
            }
            "gone" => imap::Do::Close(Vec::new()),
            _ => imap::Do::Go,
        }
    })
    .await;
    std::fs::write(clinic.site.path().join("imap-password"), "a long secret").unwrap();
    let mailbox = format!(
        "[intake.imap]\nurl = \"imap://{}\"\nusername = \"support\"\npassword = {{ file = \"imap-password\" }}\n\
         after = \"move Recorded\"\n",
        peer.address
    );
    append(&clinic.site, &mailbox);
    let (checks, findings, code) = clinic.examined().await;
    assert_eq!((findings, code), (Vec::new(), 0));
    let imap = checks.iter().find(|check| check["key"] == "imap").expect("it is looked at");
    assert!(imap["found"].as_str().unwrap().contains("holds 1 messages"), "{imap}");
    for (how, finding, fix) in [
        ("login", ("W78", "imap_refused", "fail"), "`password`"),
        ("mailbox", ("W78", "imap_refused", "fail"), "`mailbox`"),
        ("folder", ("W78", "imap_no_folder", "fail"), "make the folder"),
        ("gone", ("W78", "imap_away", "unknown"), "start the server"),
    ] {
        *mood.lock().unwrap() = how;
        clinic.finds(finding, fix).await;
    }
    // Of the doctor's own commands; the daemon was started before the mailbox was named.
    let harmless = ["CAPABILITY", "LOGIN", "EXAMINE", "STATUS", "LOGOUT"];
    for command in peer.commands() {
        assert!(harmless.iter().any(|known| command.starts_with(known)), "{command}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w78_a_maildir_is_there_and_whole() {
    let clinic = Clinic::open().await;
    append(&clinic.site, "[intake.maildir]\npath = \"var/maildir\"\n");
    let path = clinic.site.path().join("var/maildir");
    clinic.finds(("W78", "maildir_missing", "warn"), "mkdir -p -m 700").await;
    assert!(!path.exists(), "looking makes nothing");
    std::fs::create_dir_all(path.join("new")).unwrap();
    let found = clinic.finds(("W78", "maildir_missing", "warn"), "mkdir -p -m 700").await;
    assert!(found["found"].as_str().unwrap().contains("`cur`"), "{found}");
    std::fs::create_dir_all(path.join("cur")).unwrap();
    std::fs::write(path.join("new/1.a"), "Subject: x\n\nx\n").unwrap();
    let (checks, findings, _) = clinic.examined().await;
    assert_eq!(findings, Vec::<Value>::new());
    let maildir = checks.iter().find(|check| check["key"] == "maildir").unwrap();
    assert!(maildir["found"].as_str().unwrap().starts_with("1 messages"), "{maildir}");
    // A file where a folder should be.
    std::fs::remove_dir_all(path.join("new")).unwrap();
    std::fs::write(path.join("new"), "").unwrap();
    clinic.finds(("W78", "maildir_refuses", "fail"), "chown").await;
}
