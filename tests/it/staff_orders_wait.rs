//! What staff order by mail beside an answer, and what is held: nothing is lost, and nothing goes round for ever.

use tidings::domain::alarm::AlarmCause;
use tidings::domain::thread::{PostKind, ThreadState};
use tidings::domain::token::Purpose;
use tidings::domain::verdict::Verdict;
use tidings::mail::parse::parse;
use tidings::runtime::Timestamp;
use tidings::store::{alarms, held, retention};
use tidings::tasks::alarm::Teller;

use crate::staff_answers::{ANA, MIRA, PASS, TOM, World, assert_nothing_leaks, with_files};
use crate::support::clock::TUESDAY;
use crate::support::peer::Peer;
use crate::support::receiving::message;
use crate::support::stores::{TestStore, on_every_store};

const PHONE: &str = "Yes.\n\nMira\n+00 555 9999";

/// The newest mail to somebody, in one line.
fn words(world: &World, to: &str) -> String {
    world.newest(to).text.split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn told_operators(world: &World) -> Vec<AlarmCause> {
    let setup = &world.line.setup;
    let teller = Teller {
        alarms: world.line.receiver.desk.alarms.clone(),
        store: world.store.clone(),
        shelf: setup.shelf.clone(),
        settings: setup.settings.clone(),
    };
    teller.step(TUESDAY).await.unwrap();
    let known = alarms::all(&mut world.store.read().await.unwrap()).await.unwrap();
    known.into_iter().map(|alarm| alarm.occurred.cause).collect()
}

/// `#assign` and `#close` beside an answer that is held wait with it, and are told.
#[tokio::test]
async fn orders_beside_a_held_answer_wait_with_it() {
    on_every_store(|store| async move {
        let world = World::start(&store, Peer::willing().await).await;
        world.ana("a1@x.example", "Does it fit?").await;
        world.staff(MIRA, "s1", &format!("#assign Tom Berg\n#close\n{PHONE}")).await;
        assert_eq!(world.mails(ANA).len(), 1, "it is held");
        assert_eq!(world.thread(1).await.assigned_to, None);
        let asked = world.newest(MIRA).text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(asked.contains("the conversation goes to Tom Berg and it is closed"), "{asked}");
        world.staff(MIRA, "s2", "#send").await;
        assert_eq!(world.mails(ANA).len(), 2);
        let thread = world.thread(1).await;
        assert_eq!((thread.assigned_to.as_deref(), thread.state), (Some("Tom Berg"), ThreadState::Closed));
        assert_eq!(world.mails(TOM).len(), 2, "he is told that it is his");
        // Asked once more, because a colleague was quicker, they still wait.
        world.ana("a2@x.example", "And on a phone?").await;
        world.staff(TOM, "t1", &format!("#assign Mira\n{PHONE}")).await;
        let (to, send) = world.answer(TOM, "t2", PASS, "#send");
        let mira = &world.line.receiver.desk.staff[0];
        let mut tx = store.write().await.unwrap();
        let seen = world.line.posts(1).await.last().unwrap().id;
        let quick = tidings::tasks::answer::Answer {
            thread: 1,
            author: Some(mira),
            also_called: "",
            text: "Not on a phone.",
            doubt: None,
            files: &[],
            seen,
            insists: true,
            closes: false,
            inbound: None,
            instead_of: None,
        };
        world.line.receiver.desk.answer(&mut tx, &quick, TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        world.line.take(&to, TOM, &send).await;
        world.send().await;
        assert_eq!(world.thread(1).await.assigned_to.as_deref(), Some("Tom Berg"));
        world.staff(TOM, "t3", "#send").await;
        let why = world.newest(TOM).text;
        assert_eq!(world.thread(1).await.assigned_to.as_deref(), Some("Mira"), "{why}");
        assert_nothing_leaks(&world);
    })
    .await;
}

/// An answer that comes back whole comes with its orders.
#[tokio::test]
async fn an_answer_that_comes_back_brings_its_orders() {
    let test = TestStore::sqlite().await;
    let world = World::start(&test.store, Peer::willing().await).await;
    world.ana("a1@x.example", "Does it fit?").await;
    world.staff(MIRA, "s1", "#assign Tom\n#close\nAsk mira@staff.example.net").await;
    let told = world.newest(MIRA).text;
    assert!(told.contains("Nothing of it was sent or done"), "{told}");
    assert!(told.contains("| #assign Tom") && told.contains("| #close"), "{told}");
    assert_eq!(world.thread(1).await.assigned_to, None);
    test.remove().await;
}

/// Two answers are held; `#send` means the one that it answers, and the other one still waits.
#[tokio::test]
async fn the_word_is_about_the_answer_that_was_asked_about() {
    on_every_store(|store| async move {
        let world = World::start(&store, Peer::willing().await).await;
        world.ana("a1@x.example", "Does it fit?").await;
        let (to, other) = world.answer(MIRA, "s2", PASS, "Second.\n\nMira\n+00 555 2222");
        world.staff(MIRA, "s1", "First.\n\nMira\n+00 555 1111").await;
        let (to_first, send_first) = world.answer(MIRA, "s3", PASS, "#send");
        // To the notice, and not to the mail that asks: it takes nothing's place.
        world.line.take(&to, MIRA, &other).await;
        world.send().await;
        let waiting = held::of_author(&mut store.read().await.unwrap(), 1, 1).await.unwrap();
        assert_eq!(waiting.len(), 2, "{waiting:?}");
        // A word that answers neither is asked back.
        let (_, blind) = world.answer(MIRA, "s4", PASS, "#send");
        let blind = String::from_utf8(blind).unwrap();
        let blind: String = blind
            .lines()
            .filter(|line| !line.starts_with("In-Reply-To"))
            .map(|line| format!("{line}\r\n"))
            .collect();
        world.line.take(&to, MIRA, blind.as_bytes()).await;
        world.send().await;
        assert_eq!(world.mails(ANA).len(), 1);
        assert!(words(&world, MIRA).contains("several answers of yours wait"), "{}", world.newest(MIRA).text);
        world.line.take(&to_first, MIRA, &send_first).await;
        world.send().await;
        assert!(world.newest(ANA).text.starts_with("First."), "{}", world.newest(ANA).text);
        let waiting = held::of_author(&mut store.read().await.unwrap(), 1, 1).await.unwrap();
        assert_eq!(waiting.len(), 1);
        assert!(waiting[0].text.starts_with("Second."));
        // The only one that is left needs no mail to be found.
        let blind = blind.replace("s4@", "s5@");
        world.line.take(&to, MIRA, blind.as_bytes()).await;
        world.send().await;
        assert!(world.newest(ANA).text.starts_with("Second."));
        assert_eq!(world.kinds().await, [PostKind::Subscriber, PostKind::Staff, PostKind::Staff]);
    })
    .await;
}

/// One mail to the desk and to the address of a conversation, in either order, by LMTP once for each.
#[tokio::test]
async fn one_mail_to_two_of_our_addresses_is_one_post() {
    for token_first in [true, false] {
        on_every_store(|store| async move {
            let world = World::start(&store, Peer::willing().await).await;
            let desk = "support@news.example.org";
            let edition = world.newest(ANA).field("reply-to").unwrap().to_owned();
            let two = |id: &str, other: &str, text: &str| {
                let raw = String::from_utf8(message(ANA, id, "", text)).unwrap();
                let to = raw.lines().find(|line| line.starts_with("To:")).unwrap().to_owned();
                raw.replace(&to, &format!("To: {desk}, {other}"))
            };
            let mut order = [edition.clone(), desk.to_owned()];
            if !token_first {
                order.reverse();
            }
            let raw = two("two1@x.example", &edition, "Does it fit?");
            for to in &order {
                let marked = format!("Delivered-To: {to}\r\n{raw}");
                let row = world.line.take(to, ANA, marked.as_bytes()).await;
                assert_eq!((row.verdict, row.thread), (Some(Verdict::SupportMessage), Some(1)));
            }
            world.send().await;
            assert_eq!(world.line.threads().await.len(), 1);
            assert!(world.line.threads().await[0].edition.is_some(), "it is about the edition");
            assert_eq!(world.kinds().await, [PostKind::Subscriber]);
            assert_eq!(world.mails(MIRA).len(), 1, "one notice");
            // Into a conversation that is there already.
            let thread = world.line.address(Purpose::Thread, 1, 0);
            let raw = two("two2@x.example", &thread, "And on a phone?");
            for to in if token_first { [thread.as_str(), desk] } else { [desk, thread.as_str()] } {
                world.line.take(to, ANA, raw.as_bytes()).await;
            }
            assert_eq!((world.line.threads().await.len(), world.kinds().await.len()), (1, 2));
            // The same id with other words, or from somebody else, is another message.
            let other = raw.replace("And on a phone?", "And on a watch?");
            world.line.take(desk, ANA, other.as_bytes()).await;
            let stranger = raw.replace(ANA, "eve@x.example");
            world.line.take(desk, "eve@x.example", stranger.as_bytes()).await;
            let posts = world.line.posts(1).await.len() + world.line.posts(2).await.len();
            assert_eq!((world.line.threads().await.len(), posts), (2, 5), "four of people, one automatic");
        })
        .await;
    }
}

/// A member's reply to all comes to the desk as well: the copy there is no second mail.
#[tokio::test]
async fn a_members_copy_to_the_desk_says_nothing_new() {
    let test = TestStore::sqlite().await;
    let world = World::start(&test.store, Peer::willing().await).await;
    world.ana("a1@x.example", "Does it fit?").await;
    let (to, raw) = world.answer(MIRA, "s1", PASS, "Yes, it fits.");
    for recipient in ["support@news.example.org", to.as_str()] {
        world.line.take(recipient, MIRA, &raw).await;
    }
    world.send().await;
    assert_eq!((world.mails(ANA).len(), world.mails(MIRA).len()), (2, 1));
    test.remove().await;
}

/// A program that answers what we tell a member comes to an end, operators hear of it, and other conversations go on.
#[tokio::test]
async fn a_program_that_answers_what_staff_are_told_comes_to_an_end() {
    on_every_store(|store| async move {
        let world = World::start(&store, Peer::willing().await).await;
        world.ana("a1@x.example", "Does it fit?").await;
        for number in 0..40 {
            world.staff(MIRA, &format!("loop{number}"), &format!("#away\nI am away, {number}.")).await;
        }
        assert_eq!(world.mails(MIRA).len(), 11, "the notice, and ten");
        assert!(
            words(&world, MIRA).contains("This is the last mail of this kind"),
            "{}",
            world.newest(MIRA).text
        );
        assert_eq!(world.mails(ANA).len(), 1);
        assert!(told_operators(&world).await.contains(&AlarmCause::MailLoop));
        // Nothing is lost: all that came is in the list of what was received, and later she is told again.
        let (to, raw) = world.answer(MIRA, "later", PASS, "#away\nAgain.");
        let later = Timestamp(TUESDAY.millis() + 4 * 3_600_000);
        world.line.take_at(&to, MIRA, &raw, later).await;
        let mut tx = store.read().await.unwrap();
        let queued = tidings::store::deliveries::list(&mut tx, None, None, 0, 1000).await.unwrap();
        assert!(queued.iter().any(|row| row.address == MIRA && row.state == "queued"));
    })
    .await;
}

/// A member who is a subscriber too, with a program that answers everything and marks nothing, on both sides.
#[tokio::test]
async fn a_member_who_subscribes_cannot_go_round_for_ever() {
    on_every_store(|store| async move {
        let world = World::start(&store, Peer::willing().await).await;
        let desk = "support@news.example.org";
        world.line.take(desk, MIRA, &message(MIRA, "m0@x", PASS, "A question of mine.")).await;
        world.send().await;
        assert_eq!((world.mails(MIRA).len(), world.mails(TOM).len()), (0, 1), "she knows what she asked");
        // Tom's program answers each notice, hers answers each answer.
        let mut rounds = 0;
        let mut seen = world.mails(TOM).len();
        loop {
            world.staff(TOM, &format!("r{rounds}"), "I am away.").await;
            let answer = world.newest(MIRA);
            let to = answer.field("reply-to").unwrap().to_owned();
            let cites = format!("{PASS}In-Reply-To: <{}>\r\n", answer.message_id.unwrap());
            let raw = message(MIRA, &format!("m{}@x", rounds + 1), &cites, "I am on holiday.");
            world.line.take(&to, MIRA, &raw).await;
            world.send().await;
            rounds += 1;
            let now = world.mails(TOM).len();
            if now == seen {
                break;
            }
            seen = now;
            assert!(rounds < 10, "it goes round for ever");
        }
        assert!(told_operators(&world).await.contains(&AlarmCause::MailLoop));
        let posts = world.line.posts(1).await;
        assert_eq!(
            posts.iter().filter(|post| post.kind == PostKind::Subscriber).count(),
            rounds + 1,
            "all of it is kept"
        );
    })
    .await;
}

/// What a member sends on without a word is kept whole, and where there is nothing to keep, they are told that.
#[tokio::test]
async fn what_is_sent_on_without_words_is_kept_or_told() {
    on_every_store(|store| async move {
        let world = World::start(&store, Peer::willing().await).await;
        world.ana("a1@x.example", "Does it fit?").await;
        let to = world.newest(MIRA).field("reply-to").unwrap().to_owned();
        let head = |id: &str| {
            format!("{PASS}From: {MIRA}\r\nTo: {to}\r\nSubject: Fwd: invoice\r\nMessage-ID: <{id}@x>\r\n")
        };
        let raw = format!(
            "{}\r\n---------- Forwarded message ---------\r\nFrom: Shop <shop@shop.example>\r\nSubject: invoice\r\n\r\nThe sum is 60.\r\n",
            head("f1")
        );
        let row = world.line.take(&to, MIRA, raw.as_bytes()).await;
        assert_eq!(row.verdict, Some(Verdict::InternalNote), "{}", row.reason);
        world.send().await;
        let posts = world.line.posts(1).await;
        let note = posts.iter().find(|post| post.kind == PostKind::Note).expect("a note");
        assert!(note.text.contains("The sum is 60."), "{}", note.text);
        assert!(world.newest(MIRA).subject.contains("Kept as a note"));
        // Nothing but a file.
        let raw = with_files(format!("{}\r\n\r\n", head("f2")).as_bytes(), &[("a.pdf", "application/pdf", b"%PDF")]);
        world.line.take(&to, MIRA, &raw).await;
        assert_eq!(world.line.posts(1).await.iter().filter(|post| post.kind == PostKind::Note).count(), 2);
        world.send().await;
        // Nothing at all.
        let before = world.mails(MIRA).len();
        world.line.take(&to, MIRA, format!("{}\r\n\r\n", head("f3")).as_bytes()).await;
        world.send().await;
        assert_eq!(world.mails(MIRA).len(), before + 1, "one mail, and not two that disagree");
        assert!(words(&world, MIRA).contains("a note needs words"));
        assert_eq!(world.mails(ANA).len(), 1);
    })
    .await;
}

/// The notice's words are too old to be kept: the answer to it is asked about, and not broken.
#[tokio::test]
async fn an_answer_to_a_notice_that_was_thrown_away_is_asked_about() {
    on_every_store(|store| async move {
        let world = World::start(&store, Peer::willing().await).await;
        world.ana("a1@x.example", "Does it fit?").await;
        let (to, late) = world.answer(MIRA, "s1", PASS, "Yes, it fits.\n\nMira");
        let mut tx = store.write().await.unwrap();
        let later = Timestamp(TUESDAY.millis() + 1);
        while retention::replies(&mut tx, later).await.unwrap() > 0 {}
        tx.commit().await.unwrap();
        let row = world.line.take(&to, MIRA, &late).await;
        assert_eq!(row.verdict, Some(Verdict::StaffReply), "{}", row.reason);
        world.send().await;
        assert_eq!(world.mails(ANA).len(), 1);
        assert!(world.newest(MIRA).subject.contains("waits for a word of yours"));
        world.staff(MIRA, "s2", "#send").await;
        assert!(world.newest(ANA).text.starts_with("Yes, it fits."));
        assert_nothing_leaks(&world);
        // A command needs no notice.
        world.staff(MIRA, "s3", "#close").await;
        assert_eq!(world.thread(1).await.state, ThreadState::Closed);
        assert_eq!(parse(&world.mails(ANA)[1].bytes).subject, "Re: Make it smaller");
    })
    .await;
}

/// Orders that people expect: to take it, to give it back, to open it again.
#[tokio::test]
async fn a_conversation_is_taken_given_back_and_opened_again() {
    on_every_store(|store| async move {
        let world = World::start(&store, Peer::willing().await).await;
        world.ana("a1@x.example", "Does it fit?").await;
        let before = world.mails(MIRA).len();
        for (id, order, heir) in [
            ("m1", "#assign me", Some("Mira")),
            ("m2", "#assign nobody", None),
            ("m3", "#Assign: Tom", Some("Tom Berg")),
            ("m4", "#assign -", None),
        ] {
            world.staff(MIRA, id, order).await;
            assert_eq!(world.thread(1).await.assigned_to.as_deref(), heir, "{order}");
        }
        assert_eq!(world.mails(MIRA).len(), before, "who takes it needs no mail about it");
        world.staff(MIRA, "m5", "#close").await;
        world.staff(MIRA, "m6", "#reopen").await;
        assert_eq!(world.thread(1).await.state, ThreadState::Open);
        world.staff(MIRA, "m7", "#close\n#reopen").await;
        assert!(words(&world, MIRA).contains("cannot both be meant"));
        // Opened beside an answer that is held.
        world.staff(MIRA, "m8", "#close").await;
        world.staff(MIRA, "m9", &format!("#reopen\n{PHONE}")).await;
        assert_eq!((world.thread(1).await.state, world.mails(ANA).len()), (ThreadState::Open, 1));
        // Given back beside an answer that is held.
        world.staff(TOM, "t1", "#assign me").await;
        world.staff(TOM, "t2", &format!("#assign nobody\n{PHONE}")).await;
        assert!(words(&world, TOM).contains("the conversation goes to nobody"), "{}", words(&world, TOM));
        assert_eq!(world.thread(1).await.assigned_to.as_deref(), Some("Tom Berg"));
        world.staff(TOM, "t3", "#send").await;
        assert_eq!((world.thread(1).await.assigned_to, world.mails(ANA).len()), (None, 2));
    })
    .await;
}

/// Who has a conversation hears of a colleague's note in it, and who takes it over learns what was said since.
#[tokio::test]
async fn notes_reach_whoever_has_the_conversation() {
    on_every_store(|store| async move {
        let world = World::start(&store, Peer::willing().await).await;
        world.ana("a1@x.example", "Does it fit?").await;
        world.staff(MIRA, "n1", "#note\nShe is on a Pixel.").await;
        assert_eq!(world.mails(TOM).len(), 1, "nobody has it yet");
        world.staff(MIRA, "n2", "Yes, it fits.").await;
        world.staff(MIRA, "n3", "#assign Tom").await;
        let handed = words(&world, TOM);
        for said in ["| Does it fit?", "noted, Tuesday", "| She is on a Pixel.", "answered, Tuesday", "| Yes, it fits."] {
            assert!(handed.contains(said), "{said}: {handed}");
        }
        let count = world.mails(TOM).len();
        world.staff(MIRA, "n4", "#note\nAnd she pays.").await;
        let told = words(&world, TOM);
        assert_eq!(world.mails(TOM).len(), count + 1);
        assert!(told.contains("A note in your conversation") && told.contains("| And she pays."), "{told}");
        world.staff(TOM, "n5", "#note\nI know.").await;
        assert_eq!(world.mails(TOM).len(), count + 1, "not of one's own");
        // His answer quotes all of it, and none of it leaves.
        world.staff(TOM, "n6", "It does.").await;
        let answer = world.newest(ANA).text;
        assert!(answer.starts_with("It does.") && !answer.contains("Pixel") && !answer.contains("pays"), "{answer}");
        // What is sent on with words keeps what it is about, folded.
        let to = world.newest(MIRA).field("reply-to").unwrap().to_owned();
        let raw = format!(
            "{PASS}From: {MIRA}\r\nTo: {to}\r\nSubject: Fwd: invoice\r\nMessage-ID: <f9@x>\r\n\r\nPlease see below.\r\n\r\n\
             ---------- Forwarded message ---------\r\nFrom: Shop <shop@shop.example>\r\nSubject: invoice\r\n\r\nThe sum is 60.\r\n"
        );
        world.line.take(&to, MIRA, raw.as_bytes()).await;
        let posts = world.line.posts(1).await;
        let note = posts.iter().rev().find(|post| post.kind == PostKind::Note).unwrap();
        let whole = format!("{}\n{}", note.text, note.folded);
        assert!(note.text.starts_with("Please see below.") && whole.contains("The sum is 60."), "{whole}");
        assert_nothing_leaks(&world);
    })
    .await;
}
