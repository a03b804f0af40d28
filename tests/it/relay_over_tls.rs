//! Relays that want TLS and a password: what they get, what they are refused, and what nobody ever reads in a log.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidings::domain::address::Address;
use tidings::domain::delivery::{Outcome, Phase};
use tidings::domain::settings::{OnUncertain, RelaySecurity, RelaySettings};
use tidings::store::deliveries;
use tidings::transport::{Attempt, ConnectProblem, Session, Timeouts};

use crate::support::certificates::Authority;
use crate::support::peer::{Do, Moment, PASSWORD, Peer, Stage, Tls, USERNAME};
use crate::support::sending::{Sending, queued_edition, relay};
use crate::support::stores::TestStore;

const EXTENSIONS: &[&str] = &["PIPELINING", "AUTH PLAIN LOGIN"];

fn trusting(authority: &Authority, security: RelaySecurity, peer: &Peer) -> RelaySettings {
    RelaySettings { security, ca: Some(authority.certificate.clone()), ..relay(peer) }
}

fn with_password(relay: RelaySettings, password: &str) -> RelaySettings {
    RelaySettings { username: Some(USERNAME.into()), password: Some(password.to_owned().into()), ..relay }
}

fn go(_: &Moment) -> Do {
    Do::Go
}

async fn refused(relay: &RelaySettings) -> ConnectProblem {
    match Session::connect(relay, Timeouts::default()).await {
        Ok(_) => panic!("it was let in"),
        Err(problem) => problem,
    }
}

/// The first words of what the peer was told.
fn verbs(peer: &Peer) -> Vec<String> {
    peer.commands().iter().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn both_kinds_of_tls_with_both_kinds_of_auth() {
    let authority = Authority::new();
    let acceptor = authority.server("127.0.0.1").acceptor();
    let kinds = [
        (RelaySecurity::Implicit, Tls::FromTheStart(acceptor.clone())),
        (RelaySecurity::StartTls, Tls::WhenAsked(acceptor)),
    ];
    for (security, tls) in kinds {
        for extensions in [EXTENSIONS, &["AUTH LOGIN"], &["AUTH=PLAIN"]] {
            let test = TestStore::sqlite().await;
            let peer = Peer::start_with(tls.clone(), extensions, go).await;
            let mut sending = Sending::start(&test.store, &peer, OnUncertain::Resend).await;
            Arc::get_mut(&mut sending.line).unwrap().relay =
                with_password(trusting(&authority, security, &peer), PASSWORD);
            queued_edition(&test.store, 3).await;
            assert_eq!(sending.drain().await, 3);
            assert_eq!((peer.count(), peer.connections()), (3, 1), "{security:?} {extensions:?}");
            test.remove().await;
        }
    }
}

/// W112: required means required.
#[tokio::test]
async fn w112_without_starttls_nothing_is_said_but_goodbye() {
    let authority = Authority::new();
    let peer = Peer::start(EXTENSIONS, go).await;
    let problem =
        refused(&with_password(trusting(&authority, RelaySecurity::StartTls, &peer), PASSWORD)).await;
    assert!(problem.needs_operator, "{problem}");
    assert_eq!(verbs(&peer), ["EHLO", "QUIT"]);

    // The same if it is offered and then refused.
    let acceptor = authority.server("127.0.0.1").acceptor();
    let refuses = |moment: &Moment| match moment.stage {
        Stage::StartTls => Do::Say("454 4.7.0 not now"),
        _ => Do::Go,
    };
    let peer = Peer::start_with(Tls::WhenAsked(acceptor), EXTENSIONS, refuses).await;
    let problem = refused(&trusting(&authority, RelaySecurity::StartTls, &peer)).await;
    assert_eq!((problem.phase, problem.needs_operator), (Phase::StartTls, false), "{problem}");
    assert!(!verbs(&peer).contains(&"MAIL".to_owned()));
}

#[tokio::test]
async fn w112_another_name_an_old_certificate_and_an_unknown_ca_get_no_mail() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let cases = [
        ("another name", authority.server("other.example"), "not valid for name"),
        ("expired", authority.expired_server("127.0.0.1"), "expired"),
        ("unknown CA", stranger.server("127.0.0.1"), "UnknownIssuer"),
    ];
    for (case, identity, words) in cases {
        for (security, tls) in [
            (RelaySecurity::Implicit, Tls::FromTheStart(identity.acceptor())),
            (RelaySecurity::StartTls, Tls::WhenAsked(identity.acceptor())),
        ] {
            let peer = Peer::start_with(tls, EXTENSIONS, go).await;
            let problem = refused(&with_password(trusting(&authority, security, &peer), PASSWORD)).await;
            assert!(problem.needs_operator && problem.phase == Phase::StartTls, "{case}: {problem}");
            assert!(problem.why.contains(words), "{case}: {problem}");
            let said = verbs(&peer);
            assert!(!said.iter().any(|verb| verb == "MAIL" || verb == "AUTH"), "{case}: {said:?}");
        }
    }
    // Nobody whom this machine does not know either.
    let peer =
        Peer::start_with(Tls::FromTheStart(authority.server("127.0.0.1").acceptor()), EXTENSIONS, go).await;
    let problem = refused(&RelaySettings { security: RelaySecurity::Implicit, ..relay(&peer) }).await;
    assert!(problem.needs_operator, "{problem}");
}

/// W113: what came before the encryption is not believed after it.
#[tokio::test]
async fn w113_words_behind_the_220_end_the_session() {
    let authority = Authority::new();
    let injects = |moment: &Moment| match moment.stage {
        Stage::StartTls => Do::SayBytes(b"220 go\r\n250-evil\r\n250 AUTH PLAIN\r\n"),
        _ => Do::Go,
    };
    let acceptor = authority.server("127.0.0.1").acceptor();
    let peer = Peer::start_with(Tls::WhenAsked(acceptor), &[], injects).await;
    let problem =
        refused(&with_password(trusting(&authority, RelaySecurity::StartTls, &peer), PASSWORD)).await;
    assert!(problem.why.contains("between STARTTLS and the handshake"), "{problem}");
    assert_eq!(verbs(&peer), ["EHLO", "STARTTLS"]);
}

#[tokio::test]
async fn w114_no_password_without_tls() {
    let peer = Peer::start(EXTENSIONS, go).await;
    let problem = refused(&with_password(relay(&peer), PASSWORD)).await;
    assert!(problem.needs_operator, "{problem}");
    assert_eq!(verbs(&peer), ["EHLO"]);

    let authority = Authority::new();
    let acceptor = authority.server("127.0.0.1").acceptor();
    let peer = Peer::start_with(Tls::FromTheStart(acceptor), &["AUTH CRAM-MD5"], go).await;
    let problem =
        refused(&with_password(trusting(&authority, RelaySecurity::Implicit, &peer), PASSWORD)).await;
    assert!(problem.needs_operator && problem.why.contains("AUTH PLAIN"), "{problem}");
}

/// Everything that is logged while it lives, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// W114, W136: a wrong password stops the relay with one alarm, marks nobody, and stands in no log: the peer repeats the whole
/// command in its refusal, as some do.
#[tokio::test]
async fn w114_a_wrong_password_costs_nobody_and_is_in_no_log() {
    const WRONG: &str = "another horse";
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let authority = Authority::new();
    let acceptor = authority.server("127.0.0.1").acceptor();
    for extensions in [&["AUTH PLAIN"][..], &["AUTH LOGIN"]] {
        let test = TestStore::sqlite().await;
        let peer = Peer::start_with(Tls::FromTheStart(acceptor.clone()), extensions, go).await;
        let mut sending = Sending::start(&test.store, &peer, OnUncertain::Resend).await;
        let settings = with_password(trusting(&authority, RelaySecurity::Implicit, &peer), WRONG);
        tracing::trace!(?settings, "as a careless line would log them");
        let problem = refused(&settings).await;
        assert_eq!((problem.phase, problem.needs_operator), (Phase::Auth, true));
        tracing::trace!(?problem, %problem, "and what came of it");
        Arc::get_mut(&mut sending.line).unwrap().relay = settings;
        queued_edition(&test.store, 3).await;
        for _ in 0..5 {
            assert_eq!(sending.drain().await, 0);
        }
        assert_eq!(peer.connections(), 2, "one probe per interval");
        let mut tx = test.store.read().await.unwrap();
        let rows = deliveries::list(&mut tx, Some("weekly"), None, 0, 10).await.unwrap();
        drop(tx);
        assert!(rows.iter().all(|row| row.state == "queued" && row.attempt == 0), "{rows:?}");
        test.remove().await;
    }
    drop(guard);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let alarms = log.lines().filter(|line| line.contains("ERROR")).count();
    assert_eq!(alarms, 2, "one for each relay: {log}");
    let base64 = |text: &str| data_encoding::BASE64.encode(text.as_bytes());
    for secret in [WRONG.to_owned(), base64(WRONG), base64(&format!("\0{USERNAME}\0{WRONG}"))] {
        assert!(!log.contains(&secret), "{secret}");
    }
    assert!(log.contains("535"), "the log is there: {log}");
}

/// What one recipient's commands look like.
async fn envelope(extensions: &'static [&'static str], to: &str) -> (Vec<String>, Attempt) {
    let peer = Peer::start(extensions, go).await;
    let mut session = Session::connect(&relay(&peer), Timeouts::default()).await.unwrap();
    let to = Address::parse(to).unwrap();
    let message = format!("To: <{to}>\r\n\r\nwords\r\n");
    let attempt = session.send("bounce+abc=1@news.example.org", &to, &message).await;
    let kept = |line: &String| line.starts_with("MAIL") || line.starts_with("RCPT");
    (peer.commands().into_iter().filter(kept).collect(), attempt)
}

fn was_accepted(attempt: &Attempt) -> bool {
    matches!(attempt, Attempt::Made(Outcome::Accepted(_)))
}

#[tokio::test]
async fn w27_w28_domains_become_a_labels_and_local_parts_need_smtputf8() {
    let (lines, attempt) = envelope(&["SMTPUTF8"], "user@bücher.example").await;
    assert!(was_accepted(&attempt));
    assert_eq!(lines, ["MAIL FROM:<bounce+abc=1@news.example.org>", "RCPT TO:<user@xn--bcher-kva.example>"]);

    let (lines, attempt) = envelope(&["SMTPUTF8"], "用户@例子.example").await;
    assert!(was_accepted(&attempt), "{attempt:?}");
    assert_eq!(lines[0], "MAIL FROM:<bounce+abc=1@news.example.org> SMTPUTF8");
    assert!(lines[1].starts_with("RCPT TO:<用户@"), "{lines:?}");

    let (lines, attempt) = envelope(&[], "用户@例子.example").await;
    assert!(lines.is_empty(), "{lines:?}");
    let Attempt::Made(Outcome::Refused(reply)) = attempt else { panic!("{attempt:?}") };
    assert_eq!(reply.enhanced.as_deref(), Some("5.6.7"));
}

#[tokio::test]
async fn w123_dsn_parameters_where_they_are_offered() {
    let (lines, attempt) = envelope(&["DSN", "SIZE 100000"], "a+b=c@x.example").await;
    assert!(was_accepted(&attempt));
    assert_eq!(
        lines,
        [
            "MAIL FROM:<bounce+abc=1@news.example.org> SIZE=32 RET=HDRS ENVID=bounce+2Babc+3D1",
            "RCPT TO:<a+b=c@x.example> NOTIFY=FAILURE ORCPT=rfc822;a+2Bb+3Dc@x.example",
        ]
    );
    let (lines, _) = envelope(&["DSN", "SMTPUTF8"], "用+户@x.example").await;
    assert_eq!(lines[1], "RCPT TO:<用+户@x.example> NOTIFY=FAILURE ORCPT=utf-8;用\\x{2B}户@x.example");
    let (lines, _) = envelope(&[], "a+b=c@x.example").await;
    assert_eq!(lines, ["MAIL FROM:<bounce+abc=1@news.example.org>", "RCPT TO:<a+b=c@x.example>"]);
}

#[tokio::test]
async fn w111_what_is_larger_than_the_relay_takes_is_not_tried() {
    let peer = Peer::start(&["SIZE 1000"], go).await;
    let mut session = Session::connect(&relay(&peer), Timeouts::default()).await.unwrap();
    let message = format!("Subject: large\r\n\r\n{}", "words\r\n".repeat(300));
    let attempt = session.send("b@x.example", &Address::parse("a@x.example").unwrap(), &message).await;
    let Attempt::Made(Outcome::Unsendable(why)) = attempt else { panic!("{attempt:?}") };
    assert!(why.contains("2118") && why.contains("1000"), "{why}");
    assert_eq!(verbs(&peer), ["EHLO"]);
    assert!(session.usable());
}

/// W99: a 421 in the middle of a large body, after which the relay reads no more, is understood at once: the timer of a body block
/// is the default of three minutes here.
#[tokio::test]
async fn w99_a_421_is_heard_while_we_write() {
    let stops = |moment: &Moment| match moment.stage {
        Stage::Body => Do::SayAndFreeze(b"421 4.3.2 going down\r\n"),
        _ => Do::Go,
    };
    let peer = Peer::start(&["PIPELINING"], stops).await;
    let mut session = Session::connect(&relay(&peer), Timeouts::default()).await.unwrap();
    let message = format!("Subject: large\r\n\r\n{}", "words and words and words\r\n".repeat(400_000));
    let attempt = session.send("b@x.example", &Address::parse("a@x.example").unwrap(), &message).await;
    let Attempt::Made(Outcome::Deferred(reply)) = attempt else { panic!("{attempt:?}") };
    assert_eq!((reply.code, reply.phase, session.usable()), (421, Phase::Dot, false));
}

/// An answer too many would be taken for the next message's: the session ends instead.
#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_not_the_next_ones() {
    let twice = |moment: &Moment| match moment.stage {
        Stage::Dot => Do::SayBytes(b"250 2.0.0 taken\r\n250 2.0.0 taken\r\n"),
        _ => Do::Go,
    };
    let peer = Peer::start(&[], twice).await;
    let mut session = Session::connect(&relay(&peer), Timeouts::default()).await.unwrap();
    let to = Address::parse("a@x.example").unwrap();
    assert!(was_accepted(&session.send("b@x.example", &to, "A: b\r\n\r\nc\r\n").await));
    let second = session.send("b@x.example", &to, "A: b\r\n\r\nc\r\n").await;
    assert!(matches!(second, Attempt::Recycled(_)), "{second:?}");
    assert!(!session.usable());
    assert_eq!(verbs(&peer).iter().filter(|verb| *verb == "MAIL").count(), 1);
}

/// W97, W98: who takes the connection and says nothing holds nobody for ever.
#[tokio::test]
async fn w98_a_silent_server_is_given_up() {
    let silent = |moment: &Moment| if moment.stage == Stage::Banner { Do::Stall } else { Do::Go };
    let peer = Peer::start(&[], silent).await;
    let timeouts = Timeouts { banner: Duration::from_millis(50), ..Timeouts::default() };
    let Err(problem) = Session::connect(&relay(&peer), timeouts).await else { panic!("it was let in") };
    assert_eq!((problem.phase, problem.needs_operator), (Phase::Connect, false), "{problem}");
}
