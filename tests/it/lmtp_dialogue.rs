//! An MTA hands mail over by LMTP, well behaved or not.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use tidings::domain::inbound::InboundSource;
use tidings::domain::settings::{Listen, LmtpSettings};
use tidings::intake::lmtp::{Listener, LmtpConfig, serve};
use tidings::intake::{Deposit, DepositError, ReceivedMail};
use tidings::runtime::Shutdown;

/// Keeps what it gets; can be away, and can be held.
#[derive(Default)]
struct Letterbox {
    mail: Mutex<Vec<ReceivedMail>>,
    away: AtomicBool,
    held: AtomicBool,
    arrived: Notify,
    release: Notify,
}

impl Deposit for Letterbox {
    fn accepts(&self, recipient: &str) -> bool {
        recipient.to_lowercase().ends_with("@news.example.org")
    }

    async fn deposit(&self, mail: ReceivedMail) -> Result<(), DepositError> {
        if self.held.load(Ordering::SeqCst) {
            self.arrived.notify_one();
            self.release.notified().await;
        }
        if self.away.load(Ordering::SeqCst) || mail.recipient.starts_with("full") {
            return Err(DepositError::Later);
        }
        self.mail.lock().unwrap().push(mail);
        Ok(())
    }
}

struct World {
    address: SocketAddr,
    mailbox: Arc<Letterbox>,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
}

async fn world(change: impl FnOnce(&mut LmtpConfig)) -> World {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = LmtpConfig::new("mx.news.example.org", 10_000);
    change(&mut config);
    let mailbox = Arc::new(Letterbox::default());
    let shutdown = Shutdown::new();
    let serving = tokio::spawn(serve(Listener::Tcp(listener), config, mailbox.clone(), shutdown.clone()));
    World { address, mailbox, shutdown, serving }
}

struct Peer(BufReader<TcpStream>);

impl Peer {
    async fn connect(world: &World) -> Peer {
        Peer(BufReader::new(TcpStream::connect(world.address).await.unwrap()))
    }

    /// A peer that has said LHLO.
    async fn greeted(world: &World) -> Peer {
        let mut peer = Peer::connect(world).await;
        assert_eq!(peer.line().await, "220 mx.news.example.org LMTP");
        peer.send("LHLO relay.example.net\r\n").await;
        while peer.line().await.as_bytes()[3] == b'-' {}
        peer
    }

    async fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        line.trim_end().to_owned()
    }

    async fn codes(&mut self, count: usize) -> Vec<String> {
        let mut codes = Vec::new();
        for _ in 0..count {
            codes.push(self.line().await.chars().take(3).collect());
        }
        codes
    }

    async fn say(&mut self, text: &str) -> String {
        self.send(text).await;
        self.line().await
    }

    /// Everything until the other side closes.
    async fn rest(mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).await.unwrap();
        rest
    }
}

impl World {
    fn raws(&self) -> Vec<String> {
        let mail = self.mailbox.mail.lock().unwrap();
        mail.iter().map(|mail| String::from_utf8_lossy(&mail.raw).into_owned()).collect()
    }

    async fn stop(self) {
        self.shutdown.ask();
        self.serving.await.unwrap();
    }
}

const ENVELOPE: &str = "MAIL FROM:<ann@reader.example.com>\r\nRCPT TO:<support@news.example.org>\r\nDATA\r\n";

#[tokio::test]
async fn a_dialogue_step_by_step() {
    let world = world(|_| {}).await;
    let mut peer = Peer::connect(&world).await;
    assert_eq!(peer.line().await, "220 mx.news.example.org LMTP");
    peer.send("LHLO relay.example.net\r\n").await;
    let mut offered = Vec::new();
    for _ in 0..6 {
        offered.push(peer.line().await);
    }
    let expected = [
        "250-mx.news.example.org",
        "250-PIPELINING",
        "250-SIZE 10000",
        "250-8BITMIME",
        "250-SMTPUTF8",
        "250 ENHANCEDSTATUSCODES",
    ];
    assert_eq!(offered, expected);
    assert_eq!(peer.say("MAIL FROM:<> SIZE=100 BODY=8BITMIME SMTPUTF8\r\n").await, "250 2.1.0 go on");
    assert_eq!(peer.say("RCPT TO:<Support+ABC@news.example.org>\r\n").await, "250 2.1.5 go on");
    assert_eq!(peer.say("RCPT TO:<x@other.example>\r\n").await, "550 5.1.1 no such recipient");
    assert_eq!(peer.say("RCPT TO:<full@news.example.org>\r\n").await, "250 2.1.5 go on");
    assert!(peer.say("DATA\r\n").await.starts_with("354 "));
    // One reply for each recipient that was taken at RCPT, in that order (RFC 2033 section 4.2).
    assert_eq!(peer.say("Subject: hi\r\n\r\nüber\0\r\n.\r\n").await, "250 2.0.0 stored");
    assert_eq!(peer.line().await, "451 4.3.0 it cannot be stored now, try again later");
    assert_eq!(peer.say("NOOP\r\n").await, "250 2.0.0 here");
    assert_eq!(peer.say("QUIT\r\n").await, "221 2.0.0 bye");
    assert_eq!(peer.rest().await, "");
    let mail = world.mailbox.mail.lock().unwrap().pop().unwrap();
    assert_eq!(mail.envelope_from.as_deref(), Some(""));
    assert_eq!(mail.recipient, "Support+ABC@news.example.org");
    assert_eq!(mail.source, InboundSource::Lmtp);
    assert_eq!(&*mail.raw, "Subject: hi\r\n\r\nüber\0\r\n".as_bytes());
    world.stop().await;
}

#[tokio::test]
async fn pipelined_messages_in_one_write() {
    let world = world(|_| {}).await;
    let mut peer = Peer::connect(&world).await;
    let message = format!("{ENVELOPE}one\r\n.\r\n");
    peer.send(&format!("LHLO x\r\n{message}{}RSET\r\nQUIT\r\n", message.replace("one", "two"))).await;
    let all = peer.rest().await;
    let codes: Vec<&str> =
        all.lines().filter(|line| line.as_bytes()[3] == b' ').map(|line| &line[..3]).collect();
    assert_eq!(codes, ["220", "250", "250", "250", "354", "250", "250", "250", "354", "250", "250", "221"]);
    assert_eq!(world.raws(), ["one\r\n", "two\r\n"]);
    world.stop().await;
}

#[tokio::test]
async fn split_at_every_octet() {
    let world = world(|_| {}).await;
    let mut peer = Peer::greeted(&world).await;
    peer.0.get_mut().set_nodelay(true).unwrap();
    let body = "Subject: dots\r\n\r\n..\r\n...a\r\n.b\r\nbare\n.\nline\r.\r\nend\r\n.\r\n";
    let expected = "Subject: dots\r\n\r\n.\r\n..a\r\nb\r\nbare\n.\nline\r.\r\nend\r\n";
    let all = format!("{ENVELOPE}{body}");
    for at in 1..all.len() {
        peer.send(&all[..at]).await;
        peer.0.get_mut().flush().await.unwrap();
        tokio::task::yield_now().await;
        peer.send(&all[at..]).await;
        assert_eq!(peer.codes(4).await, ["250", "250", "354", "250"], "{at}");
    }
    for octet in all.chars() {
        peer.send(&octet.to_string()).await;
    }
    assert_eq!(peer.codes(4).await, ["250", "250", "354", "250"]);
    let raws = world.raws();
    assert_eq!(raws.len(), all.len());
    assert!(raws.iter().all(|raw| raw == expected), "{:?}", raws.iter().find(|raw| *raw != expected));
    world.stop().await;
}

#[tokio::test]
async fn a_dot_on_the_first_line_counts() {
    let world = world(|_| {}).await;
    let mut peer = Peer::greeted(&world).await;
    peer.send(&format!("{ENVELOPE}.\r\n{ENVELOPE}..x\r\n.\r\n")).await;
    assert_eq!(peer.codes(8).await, ["250", "250", "354", "250", "250", "250", "354", "250"]);
    assert_eq!(world.raws(), ["", ".x\r\n"]);
    world.stop().await;
}

#[tokio::test]
async fn w2_bare_line_ends_smuggle_nothing() {
    let world = world(|_| {}).await;
    for end in ["\n.\n", "\n.\r\n", "\r.\r", "\r.\r\n", "\r\n.\n", "\r\n.\r", "\n\n.\r\n"] {
        let mut peer = Peer::greeted(&world).await;
        peer.send(&format!("{ENVELOPE}x{end}MAIL FROM:<evil@x.example>\r\n\r\n.\r\n")).await;
        assert_eq!(peer.codes(4).await, ["250", "250", "354", "250"], "{end:?}");
        assert_eq!(peer.say("NOOP\r\n").await, "250 2.0.0 here", "{end:?}");
    }
    assert_eq!(world.raws().len(), 7);
    world.stop().await;
}

#[tokio::test]
async fn too_large_is_refused_at_mail_and_at_the_dot() {
    let world = world(|_| {}).await;
    let mut peer = Peer::greeted(&world).await;
    let refusal = "552 5.3.4 a message may have 10000 octets";
    assert_eq!(peer.say("MAIL FROM:<a@x.example> SIZE=10001\r\n").await, refusal);
    let two = ENVELOPE.replace("DATA", "RCPT TO:<b@news.example.org>\r\nDATA");
    for size in [10_001, 30_000] {
        peer.send(&two).await;
        assert_eq!(peer.codes(4).await, ["250", "250", "250", "354"]);
        peer.send(&format!("{}\r\n.\r\n", "x".repeat(size))).await;
        assert_eq!(peer.line().await, refusal);
        assert_eq!(peer.line().await, refusal);
    }
    // What just fits is taken, and the connection serves on.
    peer.send(&format!("{ENVELOPE}{}\r\n.\r\n", "x".repeat(9_998))).await;
    assert_eq!(peer.codes(4).await, ["250", "250", "354", "250"]);
    assert_eq!(world.raws().len(), 1);
    // What does not end is cut off.
    peer.send(ENVELOPE).await;
    assert_eq!(peer.codes(3).await, ["250", "250", "354"]);
    let sent = peer.0.get_mut().write_all(&vec![b'x'; 200_000]).await;
    let mut rest = String::new();
    let read = peer.0.read_to_string(&mut rest).await;
    assert!(rest.starts_with("421 ") || sent.is_err() || read.is_err(), "{rest}");
    assert_eq!(world.raws().len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn dropped_in_the_data_leaves_nothing() {
    let world = world(|_| {}).await;
    for data in ["", "Subject: x\r\n\r\nhalf", "Subject: x\r\n\r\nhalf\r\n", "all\r\n.", "all\r\n.\r"] {
        let mut peer = Peer::greeted(&world).await;
        peer.send(&format!("{ENVELOPE}{data}")).await;
        assert_eq!(peer.codes(3).await, ["250", "250", "354"]);
        let mut stream = peer.0.into_inner();
        stream.shutdown().await.unwrap();
        // The other side closes too, so it has seen the end.
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "");
    }
    let address = world.address;
    let mailbox = world.mailbox.clone();
    world.stop().await;
    assert!(mailbox.mail.lock().unwrap().is_empty());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn storage_away_is_a_try_again() {
    let world = world(|_| {}).await;
    world.mailbox.away.store(true, Ordering::SeqCst);
    let mut peer = Peer::greeted(&world).await;
    peer.send(&format!("{ENVELOPE}x\r\n.\r\n")).await;
    assert_eq!(peer.codes(4).await, ["250", "250", "354", "451"]);
    world.mailbox.away.store(false, Ordering::SeqCst);
    peer.send(&format!("{ENVELOPE}x\r\n.\r\n")).await;
    assert_eq!(peer.codes(4).await, ["250", "250", "354", "250"]);
    assert_eq!(world.raws().len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn commands_out_of_order_and_out_of_shape() {
    let world = world(|_| {}).await;
    let mut peer = Peer::connect(&world).await;
    peer.line().await;
    let long = format!("NOOP {}\r\n", "x".repeat(5_000));
    let cases = [
        ("MAIL FROM:<a@x.example>\r\n", "503"),
        ("EHLO x\r\n", "500"),
        ("DATA\r\n", "503"),
        ("RCPT TO:<a@news.example.org>\r\n", "503"),
        (long.as_str(), "500"),
        ("NONSENSE\r\n", "500"),
        ("\r\n", "500"),
        ("AUTH PLAIN AAAA\r\n", "502"),
        ("STARTTLS\r\n", "502"),
        ("VRFY ann\r\n", "252"),
        ("NOOP\r\n", "250"),
    ];
    for (command, code) in cases {
        let reply = peer.say(command).await;
        assert!(reply.starts_with(code), "{command:.20} got {reply}");
    }
    peer.send("LHLO x\r\n").await;
    assert_eq!(peer.codes(6).await, ["250"; 6]);
    assert!(peer.say("MAIL FROM:<a b>\r\n").await.starts_with("50"));
    assert!(peer.say("MAIL FROM:<a@x.example>\r\n").await.starts_with("250"));
    assert!(peer.say("MAIL FROM:<b@x.example>\r\n").await.starts_with("503"));
    assert!(peer.say("DATA\r\n").await.starts_with("503"));
    assert!(peer.say("RSET\r\n").await.starts_with("250"));
    assert!(peer.say("RCPT TO:<a@news.example.org>\r\n").await.starts_with("503"));
    peer.send(&"X\r\n".repeat(20)).await;
    assert!(peer.rest().await.contains("421 4.3.2 too many errors"));
    world.stop().await;
}

#[tokio::test]
async fn more_recipients_than_the_cap_are_for_later() {
    let world = world(|_| {}).await;
    let mut peer = Peer::greeted(&world).await;
    peer.send("MAIL FROM:<a@x.example>\r\n").await;
    for n in 0..101 {
        peer.send(&format!("RCPT TO:<r{n}@news.example.org>\r\n")).await;
    }
    let codes = peer.codes(102).await;
    assert!(codes[..101].iter().all(|code| code == "250"));
    assert_eq!(codes[101], "452");
    peer.send("DATA\r\nx\r\n.\r\n").await;
    assert_eq!(peer.codes(101).await[1..], vec!["250"; 100]);
    assert_eq!(world.raws().len(), 100);
    world.stop().await;
}

#[tokio::test]
async fn too_many_sessions_hear_421() {
    let world = world(|config| config.max_sessions = 1).await;
    let first = Peer::greeted(&world).await;
    let second = Peer::connect(&world).await;
    assert!(second.rest().await.starts_with("421 4.3.2 "));
    drop(first);
    world.stop().await;
}

#[tokio::test]
async fn an_idle_peer_hears_421() {
    let world = world(|config| config.idle = Duration::from_millis(20)).await;
    let peer = Peer::connect(&world).await;
    assert_eq!(peer.rest().await, "220 mx.news.example.org LMTP\r\n421 4.3.2 idle for too long\r\n");
    world.stop().await;
}

#[tokio::test]
async fn shutdown_lets_the_message_in_flight_finish() {
    let world = world(|_| {}).await;
    world.mailbox.held.store(true, Ordering::SeqCst);
    let mut storing = Peer::greeted(&world).await;
    storing.send(&format!("{ENVELOPE}stored\r\n.\r\n")).await;
    world.mailbox.arrived.notified().await;
    let mut sending = Peer::greeted(&world).await;
    sending.send(&format!("{ENVELOPE}half ")).await;
    assert_eq!(sending.codes(3).await, ["250", "250", "354"]);
    let waiting = Peer::greeted(&world).await;
    world.shutdown.ask();
    assert_eq!(waiting.rest().await, "421 4.3.2 shutting down\r\n");
    world.mailbox.held.store(false, Ordering::SeqCst);
    world.mailbox.release.notify_one();
    sending.send("way\r\n.\r\n").await;
    assert_eq!(sending.rest().await, "250 2.0.0 stored\r\n421 4.3.2 shutting down\r\n");
    assert!(storing.rest().await.ends_with("250 2.0.0 stored\r\n421 4.3.2 shutting down\r\n"));
    world.serving.await.unwrap();
    assert_eq!(world.mailbox.mail.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn who_says_nothing_loses_the_place_sooner() {
    let world = world(|config| config.greeting = Duration::from_millis(20)).await;
    let silent = Peer::connect(&world).await;
    assert!(silent.rest().await.ends_with("421 4.3.2 idle for too long\r\n"));
    // With LHLO there is all the time that RFC 5321 gives.
    let mut peer = Peer::greeted(&world).await;
    let silent = Peer::connect(&world).await;
    assert!(silent.rest().await.ends_with("421 4.3.2 idle for too long\r\n"));
    assert_eq!(peer.say("NOOP\r\n").await, "250 2.0.0 here");
    world.stop().await;
}

#[tokio::test]
async fn a_message_that_trickles_in_is_cut_off() {
    let world = world(|config| {
        config.max_message = 100_000_000;
        config.message = Duration::from_millis(50);
    })
    .await;
    let mut peer = Peer::greeted(&world).await;
    peer.send(ENVELOPE).await;
    assert_eq!(peer.codes(3).await, ["250", "250", "354"]);
    // Each octet comes long before the idle time is over.
    let (mut reader, mut writer) = peer.0.into_inner().into_split();
    let trickle = tokio::spawn(async move { while writer.write_all(b"x").await.is_ok() {} });
    let mut rest = String::new();
    // Closed with octets of ours unread, the connection may be reset.
    let _ = reader.read_to_string(&mut rest).await;
    assert!(rest.is_empty() || rest == "421 4.3.2 this message takes too long\r\n", "{rest}");
    trickle.await.unwrap();
    assert!(world.raws().is_empty());
    world.stop().await;
}

/// All sessions share one sum of octets: who finds none waits, and who announced too little is asked to come later.
#[tokio::test]
async fn memory_for_messages_is_shared_and_bounded() {
    let world = world(|config| {
        config.max_message = 200_000;
        config.room = 120_000;
    })
    .await;
    world.mailbox.held.store(true, Ordering::SeqCst);
    let big = "x".repeat(80_000);
    let announced = ENVELOPE.replace("example.com>", "example.com> SIZE=80000");
    assert!(announced.contains("SIZE="));
    let mut first = Peer::greeted(&world).await;
    first.send(&announced).await;
    assert_eq!(first.codes(3).await, ["250", "250", "354"]);
    first.send(&format!("{big}\r\n.\r\n")).await;
    world.mailbox.arrived.notified().await;
    // The first one still has its octets: the second one waits before it is let in.
    let mut second = Peer::greeted(&world).await;
    second.send(&announced).await;
    assert_eq!(second.codes(2).await, ["250", "250"]);
    let mut small = Peer::greeted(&world).await;
    assert_eq!(small.say("NOOP\r\n").await, "250 2.0.0 here");
    world.mailbox.held.store(false, Ordering::SeqCst);
    world.mailbox.release.notify_one();
    assert_eq!(first.codes(1).await, ["250"]);
    assert_eq!(second.codes(1).await, ["354"]);
    // A message that announced nothing and turns out large finds nothing more; it is for later, and its connection goes on.
    let mut liar = Peer::greeted(&world).await;
    liar.send("MAIL FROM:<a@x.example> SIZE=1\r\nRCPT TO:<a@news.example.org>\r\nDATA\r\n").await;
    assert_eq!(liar.codes(3).await, ["250", "250", "354"]);
    liar.send(&format!("{big}\r\n.\r\n")).await;
    assert_eq!(liar.line().await, "452 4.3.1 no memory for it now, try again later");
    second.send(&format!("{big}\r\n.\r\n")).await;
    assert_eq!(second.codes(1).await, ["250"]);
    liar.send(&format!("{ENVELOPE}{big}\r\n.\r\n")).await;
    assert_eq!(liar.codes(4).await, ["250", "250", "354", "250"]);
    let sizes: Vec<usize> = world.raws().iter().map(String::len).collect();
    assert_eq!(sizes, [80_002; 3]);
    world.stop().await;
}

#[tokio::test]
async fn a_socket_file_is_for_whom_its_mode_names_and_one_left_behind_is_replaced() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| LmtpSettings {
        listen: Listen::Unix(folder.path().join(name)),
        mode: 0o620,
        sessions: 1,
    };
    drop(Listener::bind(&at("lmtp")).await.unwrap());
    let second = Listener::bind(&at("lmtp")).await.unwrap();
    let mode = std::fs::metadata(folder.path().join("lmtp")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o620);
    // A live one is not taken over.
    assert!(Listener::bind(&at("lmtp")).await.is_err());
    tokio::net::UnixStream::connect(folder.path().join("lmtp")).await.unwrap();
    drop(second);
    std::fs::write(folder.path().join("file"), "x").unwrap();
    assert!(Listener::bind(&at("file")).await.is_err());
    assert_eq!(std::fs::read(folder.path().join("file")).unwrap(), b"x");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

/// PostgreSQL keeps no NUL in text; one such address would fail the commit of all that arrive with it.
#[tokio::test]
async fn control_characters_in_an_address_are_refused() {
    let world = world(|_| {}).await;
    let mut peer = Peer::greeted(&world).await;
    let refused = peer.say("MAIL FROM:<\"a\0b\"@reader.example.com>\r\n").await;
    assert!(refused.starts_with("501 5.1.7"), "{refused}");
    assert!(peer.say("MAIL FROM:<ann@reader.example.com>\r\n").await.starts_with("250"));
    let refused = peer.say("RCPT TO:<\"support+x\0\"@news.example.org>\r\n").await;
    assert!(refused.starts_with("501 5.1.3"), "{refused}");
    assert!(peer.say("RCPT TO:<support@news.example.org>\r\n").await.starts_with("250"));
    world.stop().await;
}
