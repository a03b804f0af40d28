//! Staff answer by mail: what they write reaches the subscriber, and nothing else of theirs does.

use std::sync::atomic::{AtomicUsize, Ordering};

use tidings::domain::address::Address;
use tidings::domain::delivery::{DeliveryState, Settlement};
use tidings::domain::settings::OnUncertain;
use tidings::domain::thread::{PostKind, ThreadState};
use tidings::domain::token::Purpose;
use tidings::domain::verdict::Verdict;
use tidings::mail::parse::{Parsed, parse};
use tidings::runtime::Timestamp;
use tidings::store::inbound::InboundRow;
use tidings::store::{Store, claims, deliveries, owners, threads};
use tidings::tasks::alarm::Teller;
use tidings::tasks::answer::{Answer, Answered, Question, Refusal};
use tidings::tasks::erase::Eraser;
use tidings::tasks::receive::Proving;

use crate::support::clock::TUESDAY;
use crate::support::peer::{Do, Peer, Stage, Taken};
use crate::support::receiving::{Receiving, message};
use crate::support::sending::{Sending, queued_edition};
use crate::support::stores::{TestStore, on_every_store};

pub const ANA: &str = "p00000@x.example";
pub const MIRA: &str = "mira@staff.example.net";
pub const TOM: &str = "tom@staff.example.net";
pub const PASS: &str =
    "Authentication-Results: mx.news.example.org; dmarc=pass header.from=staff.example.net\r\n";

/// A desk of two, one reader with an edition, and a relay that takes everything.
pub struct World {
    pub line: Receiving,
    pub sending: Sending,
    pub peer: Peer,
    pub store: Store,
}

impl World {
    pub async fn start(store: &Store, peer: Peer) -> World {
        queued_edition(store, 1).await;
        let flags = [("desk.staff.1.name", "Tom Berg"), ("desk.staff.1.email", TOM)];
        let mut line = Receiving::start_with(store, &flags).await;
        line.receiver.proving = Proving::Server("mx.news.example.org".into());
        let sending = Sending::start(store, &peer, OnUncertain::Resend).await;
        let world = World { line, sending, peer, store: store.clone() };
        world.send().await;
        world
    }

    /// Lets everything leave that is queued.
    pub async fn send(&self) {
        self.sending.drain().await;
    }

    /// The mails to an address, oldest first; without the automatic answer to Ana's first question.
    pub fn mails(&self, to: &str) -> Vec<Taken> {
        let written = |mail: &Taken| to != ANA || parse(&mail.bytes).field("auto-submitted").is_none();
        self.peer.taken().into_iter().filter(|mail| mail.to == to && written(mail)).collect()
    }

    pub fn newest(&self, to: &str) -> Parsed {
        parse(&self.mails(to).last().expect("a mail").bytes)
    }

    /// Ana answers the newest mail that she has.
    pub async fn ana(&self, id: &str, text: &str) -> InboundRow {
        let mail = self.newest(ANA);
        let to = mail.field("reply-to").unwrap().to_owned();
        let cites = format!("In-Reply-To: <{}>\r\n", mail.message_id.unwrap());
        let row = self.line.take(&to, ANA, &message(&format!("Ana Lopez <{ANA}>"), id, &cites, text)).await;
        self.send().await;
        row
    }

    /// A member answers the newest mail that they have, as a mail program does, with the whole of it quoted below.
    pub fn answer(&self, from: &str, id: &str, more: &str, text: &str) -> (String, Vec<u8>) {
        let mail = self.newest(from);
        let to = mail.field("reply-to").unwrap().to_owned();
        let quoted: String = mail.text.lines().map(|line| format!("> {line}\r\n")).collect();
        let text = text.replace('\n', "\r\n");
        let raw = format!(
            "Received: from miras-laptop.home.example.net ([203.0.113.44]) by smtp.staff.example.net\r\n\
             X-Originating-IP: [203.0.113.44]\r\nUser-Agent: ExampleMail/11\r\nFrom: Mira Stein <{from}>\r\n\
             To: Example News Support <{to}>\r\nCc: Somebody <{TOM}>\r\nSubject: Re: {}\r\nMessage-ID: <{id}@miras-laptop>\r\n\
             In-Reply-To: <{}>\r\n{more}\r\n{text}\r\n\r\nOn Tue, 24 Nov 2026, Example News Support <{to}> wrote:\r\n{quoted}",
            mail.subject,
            mail.message_id.as_ref().unwrap()
        );
        (to, raw.into_bytes())
    }

    pub async fn staff(&self, from: &str, id: &str, text: &str) -> InboundRow {
        let (to, raw) = self.answer(from, id, PASS, text);
        let row = self.line.take(&to, from, &raw).await;
        self.send().await;
        row
    }

    /// Closed ones are not in the list of those who wait.
    pub async fn thread(&self, number: i64) -> threads::ThreadRow {
        threads::show(&mut self.store.read().await.unwrap(), number).await.unwrap().unwrap()
    }

    pub async fn number(&self) -> i64 {
        self.line.threads().await[0].thread
    }

    pub async fn kinds(&self) -> Vec<PostKind> {
        let kinds = self.line.posts(self.number().await).await.into_iter().map(|post| post.kind);
        kinds.filter(|kind| *kind != PostKind::Automatic).collect()
    }
}

/// Searches all that the subscriber has, as it came and as it reads, for anything of the house.
pub fn assert_nothing_leaks(world: &World) {
    let mut hidden: Vec<String> = [
        "staff.example.net",
        "mira@",
        "tom@",
        "Mira Stein",
        "Tom Berg",
        "miras-laptop",
        "203.0.113.44",
        "555 0100",
        "ExampleMail",
        "Received:",
        "X-Originating-IP",
        "User-Agent",
        "above this line",
        "Address:",
        "Before:",
        "inbox show",
        "wrote:",
        "Cc:",
    ]
    .map(str::to_owned)
    .to_vec();
    for staff in [MIRA, TOM] {
        hidden.extend(world.mails(staff).iter().filter_map(|mail| parse(&mail.bytes).message_id));
    }
    for mail in world.peer.taken().into_iter().filter(|mail| mail.to == ANA).skip(1) {
        let parsed = parse(&mail.bytes);
        let whole = mail_parser::MessageParser::new().parse(&mail.bytes).unwrap();
        let html = whole.body_html(0).map(|html| html.into_owned()).unwrap_or_default();
        let raw = String::from_utf8_lossy(&mail.bytes).into_owned();
        for place in [&raw, &parsed.text, &html, &parsed.subject] {
            for word in &hidden {
                assert!(!place.to_lowercase().contains(&word.to_lowercase()), "{word} in {place}");
            }
        }
        assert_eq!(parsed.from.unwrap().address, "support@news.example.org");
    }
}

const SIGNED: &str =
    "Hello Ana,\n\nyes, it fits.\n\nMira\n-- \nMira Stein\nmira@staff.example.net, +00 555 0100";

#[tokio::test]
async fn a_conversation_from_the_first_question_to_the_close() {
    on_every_store(|store| async move {
        let world = World::start(&store, Peer::willing().await).await;
        world.ana("a1@x.example", "Does it fit?").await;
        assert_eq!((world.mails(MIRA).len(), world.mails(TOM).len()), (1, 1));
        let row = world.staff(MIRA, "s1", SIGNED).await;
        assert_eq!(row.verdict, Some(Verdict::StaffReply), "{}", row.reason);
        let answer = world.newest(ANA);
        assert_eq!(
            answer.text.lines().take(5).collect::<Vec<_>>(),
            ["Hello Ana,", "", "yes, it fits.", "", "Mira"]
        );
        assert_eq!(answer.subject, "Re: Make it smaller");
        assert_eq!(answer.in_reply_to, ["a1@x.example"]);
        let edition = parse(&world.mails(ANA)[0].bytes).message_id.unwrap();
        assert_eq!(answer.references[..2], [edition.as_str(), "a1@x.example"]);
        assert!(answer.field("auto-submitted").is_none(), "a person wrote it");
        let number = world.number().await;
        assert_eq!(world.thread(number).await.state, ThreadState::Waiting);

        world.ana("a2@x.example", "Thanks! And on a phone?").await;
        let row = world.thread(number).await;
        assert_eq!((row.state, row.posts), (ThreadState::Open, 4));
        world.staff(MIRA, "s2", "#close\nNot on a phone.\n\nMira").await;
        let last = world.newest(ANA);
        assert!(last.text.starts_with("Not on a phone.\n\nMira"), "{}", last.text);
        assert_eq!(last.references.last().map(String::as_str), Some("a2@x.example"));
        let count = last.references.len();
        assert_eq!(count, 5, "edition, question, automatic, answer, question: {:?}", last.references);
        assert_eq!(world.thread(number).await.state, ThreadState::Closed);
        assert!(world.line.threads().await.is_empty());

        world.ana("a3@x.example", "One more thing.").await;
        assert_eq!(world.thread(number).await.state, ThreadState::Open, "a person's words open it again");
        world.staff(MIRA, "s3", "#close").await;
        assert_eq!(world.thread(number).await.state, ThreadState::Closed);
        assert_eq!(world.mails(ANA).len(), 3, "the edition and two answers");
        assert_nothing_leaks(&world);
    })
    .await;
}

#[tokio::test]
async fn a_forged_answer_is_held_and_told() {
    on_every_store(|store| async move {
        let world = World::start(&store, Peer::willing().await).await;
        world.ana("a1@x.example", "Does it fit?").await;
        let text = "Please confirm your card number at https://evil.example/verify";
        let foreign = "Authentication-Results: evil.example; dmarc=pass header.from=staff.example.net\r\n";
        let fails =
            "Authentication-Results: mx.news.example.org; dmarc=fail header.from=staff.example.net\r\n";
        for (id, more) in [("f1", ""), ("f2", foreign), ("f3", fails)] {
            let (to, raw) = world.answer(MIRA, id, more, text);
            let row = world.line.take(&to, "bulk@evil.example", &raw).await;
            assert_eq!(row.verdict, Some(Verdict::RejectedStaff), "{}", row.reason);
        }
        // Proven, and somebody else.
        let (to, raw) = world.answer(MIRA, "f4", PASS, text);
        let raw = String::from_utf8(raw)
            .unwrap()
            .replace(&format!("Mira Stein <{MIRA}>"), "Eve <eve@staff.example.net>");
        let row = world.line.take(&to, "eve@staff.example.net", raw.as_bytes()).await;
        assert_eq!(row.verdict, Some(Verdict::RejectedStaff), "{}", row.reason);
        world.send().await;
        assert_eq!(world.mails(ANA).len(), 1, "only the edition");
        assert_eq!(world.kinds().await, [PostKind::Subscriber]);
        assert_eq!(
            (world.mails(MIRA).len(), world.mails(TOM).len()),
            (2, 1),
            "told once an hour, and only her"
        );
        let told = world.newest(MIRA);
        assert_eq!(told.subject, "[#1] A mail in your name is held: Make it smaller");
        assert!(!told.text.contains("evil.example"), "who forges a mail does not write ours: {}", told.text);
        let setup = &world.line.setup;
        let teller = Teller {
            alarms: world.line.receiver.desk.alarms.clone(),
            store: store.clone(),
            shelf: setup.shelf.clone(),
            settings: setup.settings.clone(),
        };
        assert_eq!(teller.step(TUESDAY).await.unwrap(), 1);
        world.send().await;
        let alarm = world.newest("ops@example.org");
        assert!(alarm.text.contains("A mail in the name of staff is held"), "{}", alarm.text);
    })
    .await;
}

#[tokio::test]
async fn a_member_who_is_away_reaches_nobody() {
    let test = TestStore::sqlite().await;
    let world = World::start(&test.store, Peer::willing().await).await;
    world.ana("a1@x.example", "Does it fit?").await;
    let before = world.peer.count();
    let notice = world.newest(MIRA);
    let reply_to = notice.field("reply-to").unwrap().to_owned();
    let bounce = world.mails(MIRA)[0].from.clone();
    let away = |header: &str, to: &str, subject: &str| {
        format!(
            "{PASS}From: {MIRA}\r\nTo: {to}\r\nSubject: {subject}\r\nIn-Reply-To: <{}>\r\n{header}\r\nI am away. Mira Stein\r\n",
            notice.message_id.as_ref().unwrap()
        )
    };
    let re = "Re: [#1] Make it smaller";
    let cases = [
        (reply_to.as_str(), MIRA, away("Auto-Submitted: auto-replied\r\n", &reply_to, re)),
        (reply_to.as_str(), MIRA, away("Precedence: auto_reply\r\n", &reply_to, re)),
        (reply_to.as_str(), "", away("", &reply_to, re)),
        (reply_to.as_str(), MIRA, away("", &reply_to, "Automatic reply: [#1] Make it smaller")),
        (reply_to.as_str(), MIRA, away("", &reply_to, "Automatisk svar: [#1] Make it smaller")),
        (bounce.as_str(), "", away("", &bounce, "Out of Office")),
        (
            "support@news.example.org",
            "",
            away("Auto-Submitted: auto-generated\r\n", "support@news.example.org", re),
        ),
    ];
    for (number, (to, envelope, raw)) in cases.into_iter().enumerate() {
        let raw = format!("Message-ID: <away{number}@x>\r\n{raw}");
        let row = world.line.take(to, envelope, raw.as_bytes()).await;
        assert_eq!(row.verdict, Some(Verdict::AutoReply), "{number}: {}", row.reason);
        world.send().await;
        assert_eq!(world.peer.count(), before, "{number}: nobody gets a mail");
    }
    assert_eq!(world.kinds().await, [PostKind::Subscriber]);
}

/// Some programs do not know Reply-To.
#[tokio::test]
async fn an_answer_to_the_wrong_address_is_no_question() {
    let test = TestStore::sqlite().await;
    let world = World::start(&test.store, Peer::willing().await).await;
    world.ana("a1@x.example", "Does it fit?").await;
    let id = world.newest(MIRA).message_id.unwrap();
    for number in 0..2 {
        let raw = message(
            MIRA,
            &format!("w{number}@x"),
            &format!("{PASS}In-Reply-To: <{id}>\r\n"),
            "Yes, it fits.",
        );
        let row = world.line.take("support@news.example.org", MIRA, &raw).await;
        assert_eq!(row.thread, Some(1));
    }
    world.send().await;
    assert_eq!(world.kinds().await, [PostKind::Subscriber]);
    // The second mail holds other words: it is not swallowed.
    assert_eq!((world.mails(MIRA).len(), world.mails(TOM).len()), (3, 1), "told of each, and nobody else");
    assert!(world.newest(MIRA).subject.contains("came to the wrong address"));
    assert_eq!((world.mails(ANA).len(), world.line.threads().await.len()), (1, 1));
}

/// Two questions that nobody answered stay two that wait.
#[tokio::test]
async fn splitting_hides_no_question() {
    on_every_store(|store| async move {
        let world = World::start(&store, Peer::willing().await).await;
        world.ana("a1@x.example", "Does it fit?").await;
        world.ana("a2@x.example", "And an invoice?").await;
        let second = world.line.posts(1).await.last().unwrap().id;
        let mut tx = store.write().await.unwrap();
        let new = threads::split(&mut tx, 1, second, TUESDAY).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        for number in [1, new] {
            let row = world.thread(number).await;
            assert_eq!((row.state, row.waiting_since), (ThreadState::Open, Some(TUESDAY)), "{number}");
        }
        // A calling card comes with every mail, and is nothing that somebody wants to be read.
        let (to, raw) = world.answer(MIRA, "s1", PASS, "#close");
        let card: (&str, &str, &[u8]) = ("mira.vcf", "text/vcard", b"BEGIN:VCARD");
        world.line.take(&to, MIRA, &with_files(&raw, &[card])).await;
        assert_eq!(world.thread(1).await.state, ThreadState::Closed);
    })
    .await;
}

#[tokio::test]
async fn commands_do_what_they_say_or_come_back() {
    on_every_store(|store| async move {
        let world = World::start(&store, Peer::willing().await).await;
        world.ana("a1@x.example", "Does it fit?").await;
        for (id, text, why) in [
            ("c1", "#notes\nHe is difficult.", "no command"),
            ("c2", "Hello Ana,\n\n#note\nhe is difficult", "stands further down"),
            ("c3", "#assign Bob\nYes.", "there are Mira, Tom Berg"),
            ("c4", "#send", "no answer of yours waits"),
            ("c5", "#note", "a note needs words"),
            ("c6", "-- \nMira Stein", "no words of yours"),
        ] {
            let row = world.staff(MIRA, id, text).await;
            assert_eq!(row.verdict, Some(Verdict::StaffReply), "{}", row.reason);
            let told = world.newest(MIRA).text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(told.contains("Nothing of it was sent") && told.contains(why), "{text}: {told}");
            assert_eq!((world.mails(ANA).len(), world.kinds().await.len()), (1, 1), "{text}");
        }
        let tom = world.mails(TOM).len();
        world.staff(MIRA, "c7", "#note\nHe is difficult.\n\n#142 was the same.").await;
        let posts = world.line.posts(1).await;
        let note = posts.last().unwrap();
        let note = (note.kind, note.text.as_str(), note.from.as_str());
        assert_eq!(note, (PostKind::Note, "He is difficult.\n\n#142 was the same.", MIRA));
        world.staff(MIRA, "c8", "#assign tom\n#note yours?").await;
        assert_eq!(world.thread(1).await.assigned_to.as_deref(), Some("Tom Berg"));
        assert_eq!(world.mails(TOM).len(), tom + 1, "the heir is told");
        let mira = world.mails(MIRA).len();
        world.ana("a2@x.example", "Hello?").await;
        assert_eq!((world.mails(MIRA).len(), world.mails(TOM).len()), (mira, tom + 2), "only the heir");
        // What is sent on is a note, and its author hears that it is.
        let (to, raw) = world.answer(TOM, "c9", PASS, "Can you take it?");
        let raw = String::from_utf8(raw).unwrap().replace("Subject: Re:", "Subject: Fwd:");
        let row = world.line.take(&to, TOM, raw.as_bytes()).await;
        assert_eq!(row.verdict, Some(Verdict::InternalNote), "{}", row.reason);
        world.send().await;
        assert!(world.newest(TOM).text.contains("Kept as a note"));
        // The second address of a notice takes notes.
        let mut tx = store.read().await.unwrap();
        let second = tidings::store::staff::active(&mut tx).await.unwrap()[1].id;
        drop(tx);
        let notes = world.line.address(Purpose::StaffNote, 1, second);
        let raw = format!(
            "{PASS}From: {TOM}\r\nTo: {notes}\r\nSubject: x\r\nMessage-ID: <c10@x>\r\n\r\nFor us.\r\n"
        );
        let row = world.line.take(&notes, TOM, raw.as_bytes()).await;
        assert_eq!(row.verdict, Some(Verdict::InternalNote), "{}", row.reason);
        let kinds = world.kinds().await;
        assert_eq!(kinds.iter().filter(|kind| **kind == PostKind::Note).count(), 4, "{kinds:?}");
        assert_eq!(world.mails(ANA).len(), 1, "nothing but the edition");
        assert!(
            world.mails(MIRA)[0].bytes.windows(notes.len()).all(|part| part != notes.as_bytes()),
            "each has their own"
        );
    })
    .await;
}

#[tokio::test]
async fn the_second_of_two_answers_is_asked_for() {
    on_every_store(|store| async move {
        let world = World::start(&store, Peer::willing().await).await;
        world.ana("a1@x.example", "Does it fit?").await;
        let (to, late) = world.answer(TOM, "t1", PASS, "No, it does not.\n\nTom");
        world.staff(MIRA, "s1", "Yes, it fits.\n\nMira").await;
        world.line.take(&to, TOM, &late).await;
        world.send().await;
        assert_eq!(world.mails(ANA).len(), 2, "the edition, and the first answer");
        let asked = world.newest(TOM);
        let text = asked.text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            text.contains("Mira answered on Tuesday 24 November") && text.contains("| Yes, it fits."),
            "{text}"
        );
        assert!(
            text.contains("Your words, which are kept:") && text.contains("| No, it does not."),
            "{text}"
        );
        world.staff(TOM, "t2", "#send").await;
        assert!(world.newest(ANA).text.starts_with("No, it does not.\n\nTom"));
        assert_eq!(world.kinds().await, [PostKind::Subscriber, PostKind::Staff, PostKind::Staff]);
        // It is sent once.
        world.staff(TOM, "t3", "#send").await;
        assert_eq!(world.mails(ANA).len(), 3);
        // An answer to the question is a new one, and only that goes.
        world.ana("a2@x.example", "Which of the two?").await;
        let (to, late) = world.answer(TOM, "t4", PASS, "No.\n\nTom");
        world.staff(MIRA, "s2", "The first.\n\nMira").await;
        world.line.take(&to, TOM, &late).await;
        world.send().await;
        world.staff(TOM, "t5", "Mira is right.\n\nTom").await;
        assert_eq!(world.mails(ANA).len(), 5);
        assert!(world.newest(ANA).text.starts_with("Mira is right."));
        world.staff(TOM, "t6", "#send").await;
        assert_eq!(world.mails(ANA).len(), 5, "what was held is dropped");
        assert_nothing_leaks(&world);
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_tells_who_wrote_it_comes_back() {
    let test = TestStore::sqlite().await;
    let world = World::start(&test.store, Peer::willing().await).await;
    world.ana("a1@x.example", "Does it fit?").await;
    for (number, text) in [
        "Yes.\n\nMira Stein\nSupport",
        "Yes. Write to me: mira@staff.example.net",
        "See https://wiki.staff.example.net/fits",
        "Tom Berg knows more.",
    ]
    .into_iter()
    .enumerate()
    {
        world.staff(MIRA, &format!("l{number}"), text).await;
        assert_eq!(world.mails(ANA).len(), 1, "{text}");
        let told = world.newest(MIRA);
        assert!(told.subject.contains("Your mail came back"), "{text}: {}", told.subject);
        assert!(told.text.contains("its words hold"), "{}", told.text);
    }
    // What only looks like a signature is asked about.
    world.staff(MIRA, "q1", "Yes.\n\nMira\n+00 555 9999").await;
    assert_eq!(world.mails(ANA).len(), 1);
    assert!(world.newest(MIRA).subject.contains("waits for a word of yours"));
    world.staff(MIRA, "q2", "#send").await;
    assert!(world.newest(ANA).text.contains("+00 555 9999"));
    // The same mail once more, by another way.
    let (to, raw) = world.answer(MIRA, "d1", PASS, "Once.");
    world.line.take(&to, MIRA, &raw).await;
    world.line.take(&to, MIRA, &[b"X-Way: another\r\n", raw.as_slice()].concat()).await;
    world.send().await;
    assert_eq!(world.mails(ANA).len(), 3);
}

/// A picture with words beside it.
pub fn png() -> Vec<u8> {
    let chunk = |kind: &[u8; 4], body: &[u8]| {
        [&(body.len() as u32).to_be_bytes(), kind.as_slice(), body, b"crc4"].concat()
    };
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", b"size"),
        chunk(b"tEXt", b"Author\0Mira Stein"),
        chunk(b"IDAT", b"pixels"),
        chunk(b"IEND", b""),
    ]
    .concat()
}

pub fn with_files(raw: &[u8], files: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let raw = String::from_utf8(raw.to_vec()).unwrap();
    let (header, text) = raw.split_once("\r\n\r\n").unwrap();
    let mut out = format!(
        "{header}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n"
    );
    for (name, media_type, octets) in files {
        out.push_str(&format!(
            "--b\r\nContent-Type: {media_type}; name=\"{name}\"\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{}\r\n",
            data_encoding::BASE64_MIME.encode(octets)
        ));
    }
    out.push_str("--b--\r\n");
    out.into_bytes()
}

#[tokio::test]
async fn files_go_clean_or_not_at_all() {
    on_every_store(|store| async move {
        let world = World::start(&store, Peer::willing().await).await;
        world.ana("a1@x.example", "Does it fit?").await;
        let (to, raw) = world.answer(MIRA, "p1", PASS, "See the picture.\n\nMira");
        let card: (&str, &str, &[u8]) = ("mira.vcf", "text/vcard", b"BEGIN:VCARD\r\nFN:Mira Stein");
        let files = [("shot one.png", "image/png", &png()[..]), card, ("run.log", "text/plain", b"12 of 12")];
        world.line.take(&to, MIRA, &with_files(&raw, &files)).await;
        world.send().await;
        let answer = world.newest(ANA);
        let names: Vec<&str> = answer.attachments.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["shot-one.png", "run.log"]);
        assert!(answer.text.starts_with("See the picture."));
        let whole = world.mails(ANA).pop().unwrap().bytes;
        let message = mail_parser::MessageParser::new().parse(&whole).unwrap();
        use mail_parser::MimeHeaders;
        let picture =
            message.attachments().find(|part| part.attachment_name() == Some("shot-one.png")).unwrap();
        assert!(!picture.contents().windows(4).any(|part| part == b"Mira" || part == b"tEXt"));
        assert!(picture.contents().ends_with(b"crc4"));
        // What cannot be cleaned is asked about, and never goes.
        let (to, raw) = world.answer(MIRA, "p2", PASS, "And the paper.\n\nMira");
        let files = [
            ("a.pdf", "application/pdf", &b"%PDF-1.7 /Author (Mira Stein)"[..]),
            ("b.png", "image/png", &png()[..]),
        ];
        world.line.take(&to, MIRA, &with_files(&raw, &files)).await;
        world.send().await;
        assert_eq!(world.mails(ANA).len(), 2);
        assert!(world.newest(MIRA).text.contains("a.pdf cannot go with it"), "{}", world.newest(MIRA).text);
        world.staff(MIRA, "p3", "#send").await;
        let answer = world.newest(ANA);
        let names: Vec<&str> = answer.attachments.iter().map(|file| file.name.as_str()).collect();
        assert_eq!((answer.text.starts_with("And the paper."), names), (true, vec!["b.png"]));
        let posts = world.line.posts(1).await;
        assert_eq!(posts.last().unwrap().attachments.len(), 1);
        // A text that names somebody, and a name that does.
        for (number, file) in
            [("x.log", "text/plain", &b"by Mira Stein"[..]), ("mira_stein.png", "image/png", &png()[..])]
                .into_iter()
                .enumerate()
        {
            let (to, raw) = world.answer(MIRA, &format!("p4{number}"), PASS, "Look.");
            world.line.take(&to, MIRA, &with_files(&raw, &[file])).await;
            world.send().await;
            assert_eq!(world.mails(ANA).len(), 3, "{}", file.0);
            assert!(world.newest(MIRA).text.contains(file.0));
        }
        assert_nothing_leaks(&world);
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_refused_is_told_to_its_author_once() {
    on_every_store(|store| async move {
        let mails = AtomicUsize::new(0);
        let peer = Peer::start(&["PIPELINING"], move |moment| {
            let hers = moment.stage == Stage::Rcpt && moment.to == ANA;
            match hers && mails.fetch_add(1, Ordering::SeqCst) > 0 {
                true => Do::Say("550 5.7.1 not wanted here"),
                false => Do::Go,
            }
        })
        .await;
        let world = World::start(&store, peer).await;
        world.ana("a1@x.example", "Does it fit?").await;
        world.staff(MIRA, "s1", "Yes, it fits.").await;
        let told = world.line.receiver.desk.tell_lost(&store, TUESDAY).await.unwrap();
        assert_eq!(told, 1);
        assert_eq!(world.line.receiver.desk.tell_lost(&store, TUESDAY).await.unwrap(), 0);
        world.send().await;
        let mail = world.newest(MIRA);
        assert!(mail.subject.contains("Your answer did not arrive"), "{}", mail.subject);
        assert!(
            mail.text.contains("not wanted here") && mail.text.contains("| Yes, it fits."),
            "{}",
            mail.text
        );
    })
    .await;
}

#[tokio::test]
async fn all_that_speaks_against_an_answer_is_asked_at_once_and_again() {
    on_every_store(|store| async move {
        let world = World::start(&store, Peer::willing().await).await;
        world.ana("a1@x.example", "Does it fit?").await;
        let (to, raw) = world.answer(TOM, "t1", PASS, "No, it does not.\n\nTom\n+00 555 9999");
        let files = [("a.pdf", "application/pdf", &b"%PDF-1.7"[..]), ("b.png", "image/png", &png()[..])];
        world.staff(MIRA, "s1", "Yes, it fits.\n\nMira").await;
        world.line.take(&to, TOM, &with_files(&raw, &files)).await;
        world.send().await;
        let told = world.newest(TOM).text.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in
            ["Mira answered on", "| Yes, it fits.", "a.pdf cannot go with it", "+00 555 9999", "| No, it"]
        {
            assert!(told.contains(part), "{part} is not in {told}");
        }
        // A colleague answers while it is held.
        world.staff(MIRA, "s2", "Or rather no.\n\nMira").await;
        world.staff(TOM, "t2", "#send").await;
        assert_eq!(world.mails(ANA).len(), 3, "the edition, and two answers of Mira's");
        let told = world.newest(TOM).text;
        assert!(told.contains("| Or rather no.") && told.contains("| No, it does not."), "{told}");
        world.staff(TOM, "t3", "#send").await;
        let answer = world.newest(ANA);
        let names: Vec<&str> = answer.attachments.iter().map(|file| file.name.as_str()).collect();
        assert_eq!((answer.text.starts_with("No, it does not."), names), (true, vec!["b.png"]));
        assert_eq!(world.mails(ANA).len(), 4);
    })
    .await;
}

/// Its process was lost in the middle, and nobody sends it again by itself.
#[tokio::test]
async fn an_answer_of_which_nobody_knows_is_told_to_its_author() {
    on_every_store(|store| async move {
        let world = World::start(&store, Peer::willing().await).await;
        world.ana("a1@x.example", "Does it fit?").await;
        let (to, raw) = world.answer(MIRA, "s1", PASS, "Yes, it fits.");
        world.line.take(&to, MIRA, &raw).await;
        let mut tx = store.write().await.unwrap();
        let dead = owners::register(&mut tx, "dead", TUESDAY).await.unwrap();
        let request = claims::ClaimRequest {
            owner: dead,
            key_id: 7,
            lane: deliveries::LANE_OTHER,
            desk_only: false,
            limit: 8,
            lapsed: None,
            now: TUESDAY,
        };
        assert!(!claims::claim(&mut tx, &request).await.unwrap().is_empty());
        owners::end(&mut tx, dead, TUESDAY).await.unwrap();
        deliveries::recover(&mut tx, OnUncertain::Hold, TUESDAY, TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(world.line.receiver.desk.tell_lost(&store, TUESDAY).await.unwrap(), 1);
        world.send().await;
        let mail = world.newest(MIRA);
        assert!(mail.subject.contains("Your answer may not have arrived"), "{}", mail.subject);
        assert!(mail.text.contains("| Yes, it fits."), "{}", mail.text);

        // An operator sends it once more, and it fails: that is news.
        let mut tx = store.write().await.unwrap();
        let rows = deliveries::list(&mut tx, None, None, 0, 100).await.unwrap();
        let answer = rows.iter().find(|row| row.kind == "answer").unwrap().id;
        assert!(deliveries::retry_one(&mut tx, answer, TUESDAY).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(world.line.receiver.desk.tell_lost(&store, TUESDAY).await.unwrap(), 0, "it is on its way");
        let mut tx = store.write().await.unwrap();
        let owner = owners::register(&mut tx, "another", TUESDAY).await.unwrap();
        let request = claims::ClaimRequest { owner, ..request };
        let claimed = claims::claim(&mut tx, &request).await.unwrap();
        let claimed = claimed.iter().find(|claimed| claimed.id == answer).unwrap();
        let settlement = Settlement {
            state: DeliveryState::Refused,
            due_at: None,
            last_reply: "550 5.7.1 not today".into(),
            burns_attempt: true,
            suppress: None,
        };
        let refused = deliveries::Settled {
            recipient: None,
            delivery: answer,
            attempt: claimed.attempt,
            owner,
            relay: "main".into(),
            at: TUESDAY,
            settlement,
        };
        assert_eq!(deliveries::settle(&mut tx, &[refused]).await.unwrap(), 1);
        tx.commit().await.unwrap();
        assert_eq!(world.line.receiver.desk.tell_lost(&store, TUESDAY).await.unwrap(), 1);
        world.send().await;
        let mail = world.newest(MIRA);
        assert!(mail.subject.contains("Your answer did not arrive"), "{}", mail.subject);
    })
    .await;
}

#[tokio::test]
async fn an_answer_to_a_person_who_was_erased_is_refused_to_staff_only() {
    on_every_store(|store| async move {
        let world = World::start(&store, Peer::willing().await).await;
        world.ana("a1@x.example", "Does it fit?").await;
        let (to, late) = world.answer(MIRA, "s1", PASS, "Yes, it fits.");
        let setup = &world.line.setup;
        let addresses = &setup.settings.addresses;
        let eraser = Eraser { store: &store, keyring: &setup.keyring, addresses };
        assert!(eraser.erase(&Address::parse(ANA).unwrap(), TUESDAY).await.unwrap().is_some());
        let before = world.peer.count();
        world.line.take(&to, MIRA, &late).await;
        world.send().await;
        assert_eq!(world.peer.count(), before + 1, "one mail");
        let told = world.newest(MIRA);
        assert!(told.subject.contains("Your mail came back"), "{}", told.subject);
        assert!(told.text.contains("this person was erased"), "{}", told.text);
        assert!(world.line.posts(1).await.iter().all(|post| post.kind != PostKind::Staff));
        // What they quoted is hers, a note as well; nothing of it is kept.
        let note = world.line.address(Purpose::StaffNote, 1, 1);
        let quoting =
            message(&format!("Mira Stein <{MIRA}>"), "s2@staff.example.net", PASS, "Ana wrote: Does it fit?");
        world.line.take(&note, MIRA, &quoting).await;
        assert!(world.line.posts(1).await.iter().all(|post| post.kind != PostKind::Note));
        let mut tx = store.read().await.unwrap();
        let rows = tidings::store::inbound::list(&mut tx, None, 100).await.unwrap();
        for row in rows {
            let (row, raw) = tidings::store::inbound::show(&mut tx, row.id).await.unwrap().unwrap();
            assert!(raw.is_empty(), "{row:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_same_function_serves_commands_and_pages() {
    on_every_store(|store| async move {
        let world = World::start(&store, Peer::willing().await).await;
        world.ana("a1@x.example", "Does it fit?").await;
        let desk = &world.line.receiver.desk;
        let question = world.line.posts(1).await[0].id;
        let answer = |text: &'static str, seen: i64| Answer {
            thread: 1,
            author: Some(&desk.staff[0]),
            also_called: "",
            text,
            doubt: None,
            instead_of: None,
            files: &[],
            seen,
            insists: false,
            closes: true,
            inbound: None,
        };
        let ask = async |answer: Answer<'_>| {
            let mut tx = store.write().await.unwrap();
            let answered = desk.answer(&mut tx, &answer, TUESDAY).await.unwrap();
            tx.commit().await.unwrap();
            answered
        };
        assert!(matches!(
            ask(answer("Ask mira@staff.example.net", question)).await,
            Answered::Refused(Refusal::Leak(_))
        ));
        assert_eq!(ask(answer(" \n", question)).await, Answered::Refused(Refusal::Empty));
        let gone = Answer { thread: 99, ..answer("Yes.", question) };
        assert_eq!(ask(gone).await, Answered::Refused(Refusal::NoThread(99)));
        assert!(matches!(ask(answer("Yes.", question)).await, Answered::Sent { thread: 1, .. }));
        assert_eq!(world.thread(1).await.state, ThreadState::Closed);
        let other = Answer { author: Some(&desk.staff[1]), ..answer("No.", question) };
        let Answered::Refused(Refusal::Asks(questions)) = ask(other).await else { panic!("it is asked") };
        assert!(matches!(questions.as_slice(), [Question::Crossed { .. }]), "{questions:?}");
        let operator = Answer { author: None, insists: true, ..answer("From the desk.", 0) };
        assert!(matches!(ask(operator).await, Answered::Sent { .. }));
        world.send().await;
        assert!(world.newest(ANA).text.starts_with("From the desk."));
        assert_nothing_leaks(&world);
    })
    .await;
}

#[tokio::test]
async fn conversations_are_split_and_joined_and_old_ones_stay_closed() {
    on_every_store(|store| async move {
        let world = World::start(&store, Peer::willing().await).await;
        world.ana("a1@x.example", "Does it fit?").await;
        world.staff(MIRA, "s1", "Yes.").await;
        let to = world.newest(ANA).field("reply-to").unwrap().to_owned();
        world.ana("a2@x.example", "And something else: an invoice?").await;
        let posts = world.line.posts(1).await;
        let mut tx = store.write().await.unwrap();
        assert_eq!(
            threads::split(&mut tx, 1, posts[0].id, TUESDAY).await.unwrap(),
            None,
            "nothing would be left"
        );
        assert_eq!(threads::split(&mut tx, 1, 999, TUESDAY).await.unwrap(), None);
        let new = threads::split(&mut tx, 1, posts[3].id, TUESDAY).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        assert_eq!(world.thread(1).await.state, ThreadState::Waiting);
        assert_eq!(world.thread(1).await.waiting_since, None);
        assert_eq!((world.thread(new).await.state, world.thread(new).await.posts), (ThreadState::Open, 1));
        // An answer to the question that moved goes on where it moved to.
        world.staff(MIRA, "s2", "Here it is.").await;
        assert_eq!(world.thread(1).await.posts, 4, "her notice was of the conversation before it was split");
        let mut tx = store.write().await.unwrap();
        assert!(threads::merge(&mut tx, new, 1).await.unwrap());
        assert!(!threads::merge(&mut tx, 1, 1).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!((world.thread(1).await.posts, world.thread(new).await.posts), (5, 0));
        let into = world.line.address(Purpose::Thread, new, 0);
        let row = world.line.take(&into, ANA, &message(ANA, "a3@x.example", "", "Thanks")).await;
        assert_eq!(row.thread, Some(1), "what was joined is followed");
        let mut tx = store.write().await.unwrap();
        threads::set_open(&mut tx, 1, false, TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        let later = Timestamp(TUESDAY.millis() + 181 * 86_400_000);
        let row =
            world.line.take_at(&to, ANA, &message(ANA, "a4@x.example", "", "A year later"), later).await;
        assert_ne!(row.thread, Some(1), "closed so long ago, it stays closed");
    })
    .await;
}
