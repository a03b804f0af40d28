//! Received mail through the recording line and the receiver, on SQLite: beside bare parsing of the same messages, and beside bare
//! grouped inserts of their octets on the same disk. Half of them are plain questions, the others have HTML and an attachment.

mod common;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use common::world::{NOW, World, execute};
use common::{Report, cpu, median, ratio, rounds, runtime, size};
use tidings::app::{self, Setup};
use tidings::domain::inbound::InboundSource;
use tidings::intake::ReceivedMail;
use tidings::mail::parse;
use tidings::tasks::recording::{Found, recorder};

/// Messages of one bare group: what the recording line has waiting at most.
const GROUP: usize = 64;

fn message(number: usize) -> Vec<u8> {
    let header = format!(
        "Return-Path: <p{number}@readers.example>\r\nDelivered-To: support@news.example.org\r\n\
         Received: from mx.readers.example (mx.readers.example [192.0.2.1])\r\n\tby mx.news.example.org (Postfix) with \
         ESMTPS id 4XyZ{number:08}\r\n\tfor <support@news.example.org>; Tue, 24 Nov 2026 14:00:00 +0000 (UTC)\r\n\
         From: Reader {number} <p{number}@readers.example>\r\nTo: support@news.example.org\r\n\
         Subject: =?UTF-8?Q?Frage_zu_Teil_{number}_=C3=BCber_Kompression?=\r\n\
         Message-ID: <n{number}@readers.example>\r\nDate: Tue, 24 Nov 2026 14:00:00 +0000\r\nMIME-Version: 1.0\r\n"
    );
    let words = "How does quantisation change the calibration of the small model?\r\n".repeat(20);
    if number.is_multiple_of(2) {
        return format!("{header}Content-Type: text/plain; charset=utf-8\r\n\r\n{words}").into_bytes();
    }
    let picture =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAA\r\n".repeat(200);
    format!(
        "{header}Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n\
         --a\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{words}\r\n--a\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
         <html><body><p>{words}</p></body></html>\r\n--a--\r\n--m\r\nContent-Type: image/png; name=plot.png\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{picture}--m--\r\n"
    )
    .into_bytes()
}

/// Seconds for parsing each message.
fn bare_parsing(messages: &[Arc<Vec<u8>>]) -> f64 {
    common::seconds(|| {
        for message in messages {
            std::hint::black_box(parse::parse(message));
        }
    })
}

/// Seconds for entering the octets of each message, with a commit a group.
async fn bare_inserts(messages: &[Arc<Vec<u8>>]) -> f64 {
    let world = World::new().await;
    let mut sql = world.sql().await;
    execute(&mut sql, "CREATE TABLE bare (id INTEGER PRIMARY KEY, raw BLOB NOT NULL)").await;
    let start = Instant::now();
    for group in messages.chunks(GROUP) {
        execute(&mut sql, "BEGIN IMMEDIATE").await;
        for message in group {
            let insert = sqlx::query("INSERT INTO bare (raw) VALUES (?)").bind(message.as_slice());
            insert.execute(&mut sql).await.unwrap();
        }
        execute(&mut sql, "COMMIT").await;
    }
    start.elapsed().as_secs_f64()
}

struct Ours {
    recording: f64,
    understanding: f64,
    cpu: f64,
}

/// Seconds for recording all of them, as a busy door does, and for taking all of them through the line.
async fn ours(setup: &Setup, messages: &[Arc<Vec<u8>>]) -> Ours {
    let world = World::new().await;
    let receiver = app::receiver(setup, &world.store, Default::default(), Arc::default()).await.unwrap();
    let (recorder, line) = recorder(world.store.clone(), Arc::default());
    let running = tokio::spawn(line.run(|| NOW));
    let used = cpu(libc::RUSAGE_SELF);
    let start = Instant::now();
    for part in messages.chunks(GROUP * 4) {
        let mut answers = Vec::with_capacity(part.len());
        for raw in part {
            let mail = ReceivedMail {
                envelope_from: Some("reader@readers.example".to_owned()),
                recipient: "support@news.example.org".to_owned(),
                source: InboundSource::Lmtp,
                raw: raw.clone(),
            };
            answers.push(
                recorder.hand_in(Found { mail, place: None, set_aside: None, late: None }).await.unwrap(),
            );
        }
        for answer in answers {
            answer.recorded().await.unwrap();
        }
    }
    let recording = start.elapsed().as_secs_f64();
    let start = Instant::now();
    assert_eq!(receiver.drain(|| NOW).await.unwrap(), messages.len());
    let understanding = start.elapsed().as_secs_f64();
    drop(recorder);
    running.await.unwrap();
    Ours { recording, understanding, cpu: cpu(libc::RUSAGE_SELF) - used }
}

fn setup() -> Setup {
    let config = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/tidings.toml");
    let env = [("TIDINGS_SECRET".to_owned(), "a secret of sixteen or more".to_owned())].into();
    let (setup, problems) = Setup::load(&config, &env, &[]);
    setup.unwrap_or_else(|| panic!("{problems:?}"))
}

fn main() -> ExitCode {
    let count = size(2_000);
    let report = Report::new(&format!("inbound: {count} messages, each a new conversation"));
    let setup = setup();
    let messages: Vec<Arc<Vec<u8>>> = (1..=count).map(|number| Arc::new(message(number))).collect();
    let octets: usize = messages.iter().map(|message| message.len()).sum();
    let runtime = runtime();
    let (mut parsing, mut inserts) = (Vec::new(), Vec::new());
    let (mut recording, mut understanding, mut processor) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds(5) {
        parsing.push(bare_parsing(&messages));
        inserts.push(runtime.block_on(bare_inserts(&messages)));
        let ours = runtime.block_on(ours(&setup, &messages));
        recording.push(ours.recording);
        understanding.push(ours.understanding);
        processor.push(ours.cpu);
    }
    let each = count as f64;
    let whole: Vec<f64> = recording.iter().zip(&understanding).map(|(a, b)| a + b).collect();
    let bare: Vec<f64> = parsing.iter().zip(&inserts).map(|(a, b)| a + b).collect();
    report.figure("octets a message", octets as f64 / each, "");
    report.figure("bare parsing", median(&parsing) * 1e6 / each, "us a message");
    report.figure("bare inserts, a commit for 64", median(&inserts) * 1e6 / each, "us a message");
    report.figure("recording", each / median(&recording), "messages a second");
    report.figure("understanding", each / median(&understanding), "messages a second");
    report.figure("both, one after the other", each / median(&whole), "messages a second");
    report.figure("processor time, both", median(&processor) * 1e6 / each, "us a message");
    report.ratio("recording beside bare inserts", ratio(&recording, &inserts));
    report.ratio("understanding beside bare parsing", ratio(&understanding, &parsing));
    report.ratio("both beside bare parsing and bare inserts", ratio(&whole, &bare));
    report.finish()
}
