//! A relay that fails in each state, in each way. Every cell is settled by its rule, nothing is lost, and nobody is blamed for what
//! is not theirs. The relay speaks STARTTLS and AUTH, so that these states exist. Prints the matrix.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidings::domain::settings::{OnUncertain, RelaySecurity, RelaySettings};
use tidings::domain::suppression::SuppressionReason;
use tidings::store::{deliveries, suppressions};
use tidings::transport::Timeouts;

use crate::support::certificates::{Authority, Identity};
use crate::support::peer::{Do, Moment, PASSWORD, Peer, Stage, Tls, USERNAME};
use crate::support::sending::{FIRST_RETRY, Sending, queued_edition, queued_large_edition, relay};
use crate::support::stores::TestStore;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Temporary,
    Permanent,
    Closing,
    Close,
    Reset,
    Stall,
    WrongLine,
    Endless,
    /// The usual reply in words that are not UTF-8; in the middle of a body, where nothing is usual, a 451.
    NotUtf8,
}

use Fault::{Close, Closing, Endless, NotUtf8, Permanent, Reset, Stall, Temporary, WrongLine};

const FAULTS: [Fault; 9] = [Temporary, Permanent, Closing, Close, Reset, Stall, WrongLine, Endless, NotUtf8];

const STAGES: [Stage; 9] = [
    Stage::Banner,
    Stage::Ehlo,
    Stage::StartTls,
    Stage::Auth,
    Stage::Mail,
    Stage::Rcpt,
    Stage::Data,
    Stage::Body,
    Stage::Dot,
];

/// A line that does not end: 1 MB.
fn endless() -> &'static [u8] {
    static LINE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    LINE.get_or_init(|| {
        let mut line = b"250 ".to_vec();
        line.resize(1024 * 1024, b'x');
        line
    })
}

fn reaction(stage: Stage, fault: Fault) -> Do {
    let permanent = match stage {
        Stage::Rcpt => "550 5.1.1 no such user",
        Stage::Auth => "535 5.7.8 no",
        Stage::Data | Stage::Body | Stage::Dot => "554 5.7.1 not this",
        _ => "550 5.7.1 we do not know you",
    };
    // In the middle of a body nobody asks: what is said there stands alone, and the rest of the body is not read.
    if stage == Stage::Body {
        return match fault {
            Temporary => Do::SayAndFreeze(b"451 4.3.0 later\r\n"),
            Permanent => Do::SayAndFreeze(b"554 5.7.1 not this\r\n"),
            Closing => Do::SayAndFreeze(b"421 4.3.2 going down\r\n"),
            Close => Do::Close,
            Reset => Do::Reset,
            Stall => Do::SayAndFreeze(b""),
            WrongLine => Do::SayAndFreeze(b"what?\r\n"),
            Endless => Do::SayAndFreeze(endless()),
            NotUtf8 => Do::SayAndFreeze(b"451 4.3.0 sp\xe4ter\r\n"),
        };
    }
    match fault {
        Temporary => Do::Say("451 4.3.0 later"),
        Permanent => Do::Say(permanent),
        Closing => Do::SayAndClose("421 4.3.2 going down"),
        Close => Do::Close,
        Reset => Do::Reset,
        Stall => Do::Stall,
        WrongLine => Do::SayBytes(b"what?\r\n"),
        Endless => Do::SayBytes(endless()),
        NotUtf8 => Do::SayBytes(match stage {
            Stage::Banner | Stage::StartTls => b"220 sch\xf6n\r\n",
            Stage::Ehlo => b"250 sch\xf6n\r\n",
            Stage::Auth => b"235 sch\xf6n\r\n",
            Stage::Data => b"354 sch\xf6n\r\n",
            _ => b"250 sch\xf6n\r\n",
        }),
    }
}

/// State and attempts of the one that met the fault, and whether the relay gets a rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    state: &'static str,
    attempts: i64,
    suppressed: bool,
    rested: bool,
}

fn cell(state: &'static str, attempts: i64) -> Cell {
    Cell { state, attempts, suppressed: false, rested: false }
}

fn expected(stage: Stage, fault: Fault) -> Cell {
    let accepted = cell("accepted", 1);
    let untried = Cell { rested: true, ..cell("queued", 0) };
    let again = cell("queued", 1);
    let refused = cell("refused", 1);
    match (stage, fault) {
        // The EHLO reply of this fault offers no STARTTLS: that stops the relay as well.
        (Stage::Ehlo, NotUtf8) => untried,
        (_, NotUtf8) if stage != Stage::Body => accepted,
        // W90, W114, W136: nobody has been named. No recipient pays.
        (Stage::Banner | Stage::Ehlo | Stage::StartTls | Stage::Auth, _) => untried,
        (Stage::Mail, Temporary | Permanent) => untried,
        // W116: after a message that was accepted, this is how a connection is recycled.
        (Stage::Mail, _) => accepted,
        // W87, W91, W137 to W139, W143.
        (Stage::Rcpt, Permanent) => Cell { suppressed: true, ..refused },
        (_, Permanent) => refused,
        (_, Closing) => Cell { rested: true, ..again },
        (_, Temporary | NotUtf8) => again,
        // W100: from the dot on, silence is doubt.
        (Stage::Dot, _) => cell("uncertain", 1),
        // W90.
        _ => again,
    }
}

/// Where the peer falls silent, the timer of that step is short, and only that one.
fn timeouts(stage: Stage, fault: Fault) -> Timeouts {
    let mut timeouts = Timeouts::default();
    if fault == Stall {
        let timer = match stage {
            Stage::Banner | Stage::Ehlo | Stage::StartTls | Stage::Auth => &mut timeouts.banner,
            Stage::Mail => &mut timeouts.mail,
            Stage::Rcpt => &mut timeouts.rcpt,
            Stage::Data => &mut timeouts.data,
            Stage::Body => &mut timeouts.block,
            Stage::Dot => &mut timeouts.dot,
        };
        *timer = Duration::from_secs(1);
    }
    timeouts
}

/// Which of the recipients meets the fault. A body that does not fit the sockets between is large, and sent alone.
fn victim(stage: Stage) -> usize {
    usize::from(matches!(stage, Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Dot))
}

fn audience(stage: Stage) -> usize {
    if stage == Stage::Body { 1 } else { 3 }
}

/// Meets the fault once: at the door with the first connection, later with the second message.
fn once(stage: Stage, fault: Fault) -> impl Fn(&Moment) -> Do + Send + Sync {
    let met = AtomicBool::new(false);
    let message = victim(stage) as u32 + 1;
    move |moment| {
        let now = moment.stage == stage && moment.message == message;
        if now && !met.swap(true, Ordering::SeqCst) { reaction(stage, fault) } else { Do::Go }
    }
}

async fn play(
    authority: &Authority,
    identity: &Identity,
    extensions: &'static [&'static str],
    stage: Stage,
    fault: Fault,
) -> Cell {
    let test = TestStore::sqlite().await;
    let peer = Peer::start_with(Tls::WhenAsked(identity.acceptor()), extensions, once(stage, fault)).await;
    let mut sending =
        Sending::start_with(&test.store, &peer, OnUncertain::Resend, timeouts(stage, fault)).await;
    let line = Arc::get_mut(&mut sending.line).unwrap();
    line.relay = RelaySettings {
        security: RelaySecurity::StartTls,
        username: Some(USERNAME.into()),
        password: Some(PASSWORD.into()),
        ca: Some(authority.certificate.clone()),
        ..relay(&peer)
    };
    let people = audience(stage);
    if stage == Stage::Body {
        queued_large_edition(&test.store, people, 5_000_000).await;
    } else {
        queued_edition(&test.store, people).await;
    }
    sending.drain().await;
    let victim = victim(stage);
    let name = format!("{stage:?}, {fault:?}, {extensions:?}");
    let seen = look(&test, &sending, victim).await;

    // Nothing is lost: what was not refused arrives, and twice only where there was doubt. A relay that refused us waits for an
    // operator's word.
    for _ in 0..2 {
        sending.line.health.resume();
        sending.clock.advance(2 * FIRST_RETRY);
        sending.tidy(tidings::runtime::Clock::now(&sending.clock)).await;
        sending.drain().await;
    }
    let counts = sending.counts().await;
    let refused = i64::from(seen.state == "refused");
    assert_eq!((counts.accepted, counts.refused), (people as i64 - refused, refused), "{name}: {counts:?}");
    let mut tx = test.store.read().await.unwrap();
    let listed = suppressions::list(&mut tx).await.unwrap();
    drop(tx);
    let hard = listed.iter().filter(|one| one.reason == SuppressionReason::HardBounce).count();
    assert_eq!((listed.len(), hard), (usize::from(seen.suppressed), usize::from(seen.suppressed)), "{name}");
    let taken = peer.taken();
    let doubtful = seen.state == "uncertain";
    for number in 0..people {
        let to = format!("p{number:05}@x.example");
        let copies: Vec<_> = taken.iter().filter(|mail| mail.to == to).collect();
        let expected = match (number == victim, doubtful, refused) {
            (true, true, _) => 2,
            (true, _, 1) => 0,
            _ => 1,
        };
        assert_eq!(copies.len(), expected, "{name}: copies for {to}");
        assert!(copies.windows(2).all(|pair| pair[0].bytes == pair[1].bytes), "{name}: W25");
    }
    test.remove().await;
    seen
}

async fn look(test: &TestStore, sending: &Sending, victim: usize) -> Cell {
    let mut tx = test.store.read().await.unwrap();
    let rows = deliveries::list(&mut tx, Some("weekly"), None, 0, 10).await.unwrap();
    let suppressed = suppressions::list(&mut tx).await.unwrap();
    let row = &rows[victim];
    let states = ["queued", "accepted", "refused", "uncertain"];
    Cell {
        state: states.into_iter().find(|state| *state == row.state).unwrap_or("other"),
        attempts: row.attempt,
        suppressed: suppressed.iter().any(|one| one.address == row.address),
        rested: sending.line.health.may_try(tidings::runtime::Clock::now(&sending.clock)).is_err(),
    }
}

fn shown(cell: Cell) -> String {
    let mut text = format!("{} {}", cell.state, cell.attempts);
    for (word, set) in [(" suppressed", cell.suppressed), (" rest", cell.rested)] {
        if set {
            text.push_str(word);
        }
    }
    text
}

async fn matrix(extensions: &'static [&'static str], stages: &[Stage]) {
    let authority = Authority::new();
    let identity = authority.server("127.0.0.1");
    let mut table = format!("{:<10}", "");
    for fault in FAULTS {
        write!(table, "{:<22}", format!("{fault:?}")).unwrap();
    }
    let mut wrong = Vec::new();
    for stage in stages {
        write!(table, "\n{:<10}", format!("{stage:?}")).unwrap();
        // Beside each other, but for the silent one: its timer is short, and must not see the others' work.
        let cells = FAULTS.map(async |fault| match fault {
            Stall => None,
            _ => Some(play(&authority, &identity, extensions, *stage, fault).await),
        });
        let mut row = futures_util::future::join_all(cells).await;
        for (fault, seen) in FAULTS.into_iter().zip(&mut row) {
            let seen = match seen.take() {
                Some(seen) => seen,
                None => play(&authority, &identity, extensions, *stage, fault).await,
            };
            write!(table, "{:<22}", shown(seen)).unwrap();
            let expected = expected(*stage, fault);
            if seen != expected {
                wrong.push(format!("{stage:?} {fault:?}: {seen:?}, expected {expected:?}"));
            }
        }
    }
    println!("{extensions:?}\n{table}");
    assert!(wrong.is_empty(), "{table}\n{wrong:#?}");
}

#[tokio::test]
async fn each_fault_in_each_state_is_settled_by_its_rule_with_pipelining() {
    matrix(&["PIPELINING", "AUTH PLAIN LOGIN"], &STAGES).await;
}

#[tokio::test]
async fn each_fault_in_each_state_is_settled_by_its_rule_one_command_at_a_time() {
    // What differs: how commands and their replies travel.
    matrix(&["AUTH LOGIN"], &[Stage::Auth, Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Dot]).await;
}
