//! The desk's page: who may see it, what an answer does, and what becomes of hostile words, forged forms and two who write at once.

use tidings::domain::inbound::InboundSource;
use tidings::domain::sign_in::{Account, Place};
use tidings::domain::thread::{PostKind, ThreadState};
use tidings::mail::secret::Secret;
use tidings::store::inbound::{self, NewInbound};
use tidings::store::threads::{self, NewPost, NewThread};
use tidings::store::{Store, audit, sessions, staff};

use crate::support::clock::TUESDAY;
use crate::support::house::{EDITOR, House, MIRA, TOM};
use crate::support::http::Answer;
use crate::support::public::{field, parsed};
use crate::support::stores::{TestStore, on_every_store};

const ANA: &str = "ana@readers.example";

/// Nothing of a conversation is on a page.
#[track_caller]
fn tells_nothing(answer: &Answer) {
    for word in ["Does it fit", "Ana", "readers.example", "seen", "textarea"] {
        assert!(!answer.body.contains(word), "{word}: {}", answer.body);
    }
}

#[tokio::test]
async fn the_desk_is_seen_by_its_staff_and_by_nobody_else() {
    on_every_store(|store| async move {
        let house = House::start(&store).await;
        let number = house.thread(ANA, Some("yearly"), "Does it fit?", "Does it fit?").await;
        let mira = house.sign_in(MIRA).await;
        let editor = house.sign_in(EDITOR).await;
        // A reader's session, shown under the name of the house's cookie.
        let secret = Secret::random().unwrap();
        let mut tx = store.write().await.unwrap();
        let reader = tidings::store::people::by_key(&mut tx, ANA).await.unwrap().unwrap();
        let account = Account::Subscriber(reader.id);
        assert_eq!(account.place(), Place::Public);
        let ends = house.now() + std::time::Duration::from_secs(3600);
        sessions::open(&mut tx, &secret.hash(), &account, ends, house.now()).await.unwrap();
        tx.commit().await.unwrap();
        let reader = format!("Cookie: tidings_house={}\r\n", secret.reveal());
        let one = format!("/desk/{number}");
        let page = house.get(&mira, &one).await;
        assert!(page.code == 200 && page.body.contains("Does it fit?"), "{}", page.body);
        let (form, seen) = (field(&page.body, "form"), field(&page.body, "seen"));
        let fields = [("form", form.as_str()), ("seen", seen.as_str()), ("do", "answer"), ("text", "Yes.")];
        for cookie in ["", &reader, "Cookie: tidings_house=x\r\n"] {
            for path in ["/", "/desk", "/desk?search=fit", &one, "/desk/999", "/desk/1/files/1"] {
                let answer = house.get(cookie, path).await;
                assert_eq!(answer.code, 303, "{path}: {}", answer.body);
                assert!(answer.head.contains("location: /sign-in"), "{}", answer.head);
                tells_nothing(&answer);
            }
            let answer = house.post(cookie, &one, &fields).await;
            assert_eq!(answer.code, 401);
            assert!(answer.body.contains(">\nYes.</textarea>"), "their words are not lost: {}", answer.body);
        }
        for path in ["/", "/desk", "/desk?search=fit", &one, "/desk/1/files/1"] {
            let answer = house.get(&editor, path).await;
            assert_eq!(answer.code, if path == "/" { 303 } else { 403 }, "{path}");
            tells_nothing(&answer);
        }
        assert_eq!(house.post(&editor, &one, &fields).await.code, 403);
        // Who has left the desk is out at once.
        let mut tx = store.write().await.unwrap();
        staff::sync(&mut tx, &[]).await.unwrap();
        tx.commit().await.unwrap();
        let answer = house.get(&mira, &one).await;
        assert_eq!(answer.code, 303);
        tells_nothing(&answer);
        assert_eq!(house.post(&mira, &one, &fields).await.code, 401);
        assert_eq!(house.posts(number).await.len(), 1, "nothing was done");
    })
    .await;
}

#[tokio::test]
async fn w223_pages_of_the_house_are_fenced() {
    let test = TestStore::sqlite().await;
    let house = House::start(&test.store).await;
    let number = house.thread(ANA, Some("yearly"), "Does it fit?", "Does it fit?").await;
    let mira = house.sign_in(MIRA).await;
    for path in ["/desk".to_owned(), format!("/desk/{number}"), "/sign-in".to_owned(), "/nowhere".to_owned()]
    {
        let answer = house.get(&mira, &path).await;
        for wanted in [
            "content-security-policy: default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'",
            "frame-ancestors 'none'",
            "referrer-policy: no-referrer",
            "x-content-type-options: nosniff",
            "cache-control: private, no-store",
        ] {
            assert!(answer.head.contains(wanted), "{path}: {wanted}: {}", answer.head);
        }
        for wrong in ["<script", "style=\"", "http://", "https://", "<img"] {
            assert!(!answer.body.contains(wrong), "{path}: {wrong}");
        }
    }
    for method in ["PUT", "DELETE", "PATCH"] {
        assert_eq!(house.ask(method, &format!("/desk/{number}"), &mira, "").await.code, 405);
    }
}

#[tokio::test]
async fn an_answer_leaves_by_the_queue_in_the_desks_name() {
    on_every_store(|store| async move {
        let house = House::start(&store).await;
        let number = house.thread(ANA, Some("yearly"), "Does it fit?", "Does it fit?").await;
        let mira = house.sign_in(MIRA).await;
        let text = "Hello Ana,\r\n\r\nyes, it fits.\0\r\n";
        let done = house.press(&mira, number, &[("do", "answer"), ("text", text)]).await;
        assert_eq!((done.code, done.head.contains(&format!("location: /desk/{number}\r\n"))), (303, true));
        let mails = house.mails().await;
        let mail = mails.iter().find(|mail| mail.to == ANA).expect("an answer");
        let message = parsed(mail);
        assert_eq!(message.subject(), Some("Re: Does it fit?"));
        assert!(message.body_text(0).unwrap().starts_with("Hello Ana,"), "{:?}", message.body_text(0));
        let whole = String::from_utf8_lossy(&mail.bytes).to_lowercase();
        assert!(!whole.contains("mira") && !whole.contains("staff.example.net"), "{whole}");
        assert_eq!(house.row(number).await.state, ThreadState::Waiting);
        let page = house.get(&mira, &format!("/desk/{number}")).await;
        assert!(page.body.contains("delivered") && page.body.contains("waits for them"), "{}", page.body);
        // A note stays, a closed one is opened again, and each is written down with its author.
        assert_eq!(house.press(&mira, number, &[("do", "note"), ("text", "Ask Tom.")]).await.code, 303);
        assert_eq!(house.press(&mira, number, &[("do", "close")]).await.code, 303);
        assert_eq!(house.row(number).await.state, ThreadState::Closed);
        assert_eq!(house.press(&mira, number, &[("do", "reopen")]).await.code, 303);
        assert_eq!(house.row(number).await.state, ThreadState::Open);
        let tom = house.staff(TOM).await.to_string();
        assert_eq!(house.press(&mira, number, &[("do", "assign"), ("to", &tom)]).await.code, 303);
        assert_eq!(house.row(number).await.assigned_to.as_deref(), Some("Tom Berg"));
        let mails = house.mails().await;
        assert_eq!(mails.iter().map(|mail| mail.to.as_str()).collect::<Vec<_>>(), [TOM], "Tom is told");
        let kinds: Vec<PostKind> = house.posts(number).await.into_iter().map(|post| post.kind).collect();
        assert_eq!(kinds, [PostKind::Subscriber, PostKind::Staff, PostKind::Note]);
        let done = house.press(&mira, number, &[("do", "answer-close"), ("text", "That is all.")]).await;
        assert_eq!((done.code, house.row(number).await.state), (303, ThreadState::Closed));
        let rows =
            audit::about(&mut store.read().await.unwrap(), ("inbox", &number.to_string()), 20).await.unwrap();
        let said: Vec<String> =
            rows.into_iter().map(|row| format!("{} {}: {}", row.actor, row.action, row.detail)).collect();
        assert_eq!(
            said,
            [
                "desk inbox reply: by Mira, and closed",
                "desk inbox assign: to Tom Berg, by Mira",
                "desk inbox reopen: by Mira",
                "desk inbox close: by Mira",
                "desk inbox note: by Mira",
                "desk inbox reply: by Mira"
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn what_went_on_meanwhile_is_shown_before_an_answer_leaves() {
    on_every_store(|store| async move {
        let house = House::start(&store).await;
        let number = house.thread(ANA, Some("yearly"), "Does it fit?", "Does it fit?").await;
        let (mira, tom) = (house.sign_in(MIRA).await, house.sign_in(TOM).await);
        let path = format!("/desk/{number}");
        let before = house.get(&tom, &path).await;
        let (form, seen) = (field(&before.body, "form"), field(&before.body, "seen"));
        house.press(&mira, number, &[("do", "answer"), ("text", "Yes, it fits.")]).await;
        house.words(number, "One more thing: in blue?").await;
        let fields =
            |form, seen| [("form", form), ("seen", seen), ("do", "answer"), ("text", "No <b>idea</b>.")];
        let again = house.post(&tom, &path, &fields(&form, &seen)).await;
        assert_eq!(again.code, 409);
        assert!(again.body.contains("went on since you opened it"), "{}", again.body);
        assert!(
            again.body.contains(">\nNo &lt;b&gt;idea&lt;/b&gt;.</textarea>"),
            "nothing is lost: {}",
            again.body
        );
        assert_eq!(again.body.matches("tag warn\">new</span>").count(), 2, "{}", again.body);
        assert_eq!(house.posts(number).await.len(), 3);
        // Now he has seen it.
        let (form, seen) = (field(&again.body, "form"), field(&again.body, "seen"));
        assert_eq!(house.post(&tom, &path, &fields(&form, &seen)).await.code, 303);
        assert_eq!(house.posts(number).await.len(), 4);
        // The button twice, and an old page sent again: the same words are one answer, and nothing else happens either.
        for _ in 0..3 {
            assert_eq!(house.post(&tom, &path, &fields(&form, &seen)).await.code, 303);
        }
        for act in ["close", "reopen", "assign"] {
            let old = [("form", form.as_str()), ("seen", seen.as_str()), ("do", act), ("to", "")];
            assert_eq!(house.post(&tom, &path, &old).await.code, 409, "{act}");
        }
        assert_eq!(
            (house.posts(number).await.len(), house.row(number).await.state),
            (4, ThreadState::Waiting)
        );
        // An act without words is no post, and an old page knows nothing of it.
        let page = house.get(&tom, &path).await;
        let (form, seen) = (field(&page.body, "form"), field(&page.body, "seen"));
        let close = [("form", form.as_str()), ("seen", seen.as_str()), ("do", "close")];
        assert_eq!(house.post(&tom, &path, &close).await.code, 303);
        assert_eq!(house.press(&mira, number, &[("do", "reopen")]).await.code, 303);
        assert_eq!(house.post(&tom, &path, &close).await.code, 409);
        assert_eq!(house.row(number).await.state, ThreadState::Open);
        assert_eq!(house.mails().await.iter().filter(|mail| mail.to == ANA).count(), 2);
    })
    .await;
}

/// An old page that is sent again may be a button pressed twice, or somebody who says the same once more.
#[tokio::test]
async fn the_same_words_after_somebody_elses_are_another_answer() {
    on_every_store(|store| async move {
        let house = House::start(&store).await;
        let number = house.thread(ANA, Some("yearly"), "Does it fit?", "Does it fit?").await;
        let mira = house.sign_in(MIRA).await;
        let path = format!("/desk/{number}");
        let page = house.get(&mira, &path).await;
        let (form, seen) = (field(&page.body, "form"), field(&page.body, "seen"));
        let press = async |act| {
            let fields = [("form", form.as_str()), ("seen", seen.as_str()), ("do", act), ("text", "Yes.")];
            house.post(&mira, &path, &fields).await.code
        };
        assert_eq!((press("answer").await, press("answer").await), (303, 303), "pressed twice");
        assert_eq!(press("answer-close").await, 409, "another button");
        house.words(number, "And for my team?").await;
        assert_eq!(press("answer").await, 409, "nobody has answered that");
        assert_eq!((house.posts(number).await.len(), house.row(number).await.state), (3, ThreadState::Open));

        let page = house.get(&mira, &path).await;
        let (form, seen) = (field(&page.body, "form"), field(&page.body, "seen"));
        let tom = house.staff(TOM).await.to_string();
        let order = async |act| {
            let fields =
                [("form", form.as_str()), ("seen", seen.as_str()), ("do", act), ("to", tom.as_str())];
            house.post(&mira, &path, &fields).await.code
        };
        assert_eq!((order("assign").await, order("assign").await, order("close").await), (303, 303, 409));
        assert_eq!(house.mails().await.iter().filter(|mail| mail.to == TOM).count(), 1, "told once");
    })
    .await;
}

/// Whatever goes wrong, nobody has to write their words again; and who only takes or closes a conversation keeps what they began.
#[tokio::test]
async fn what_was_typed_is_never_lost() {
    on_every_store(|store| async move {
        let house = House::start(&store).await;
        let number = house.thread(ANA, Some("yearly"), "Does it fit?", "Does it fit?").await;
        let (mira, path) = (house.sign_in(MIRA).await, format!("/desk/{number}"));
        let page = house.get(&mira, &path).await;
        let (form, seen) = (field(&page.body, "form"), field(&page.body, "seen"));
        let words = "Yes,\n<b>it</b> does";
        let shown = ">\nYes,\n&lt;b&gt;it&lt;/b&gt; does</textarea>";
        let tom = house.staff(TOM).await.to_string();
        let editor = house.sign_in(EDITOR).await;
        for (cookie, form, act, code, way) in [
            ("", form.as_str(), "answer", 401, format!("/sign-in?back={path}")),
            (mira.as_str(), "x", "answer", 403, path.clone()),
            (mira.as_str(), form.as_str(), "erase", 400, path.clone()),
            (editor.as_str(), form.as_str(), "answer", 403, "/sign-out".to_owned()),
        ] {
            let fields = [("form", form), ("seen", &seen), ("do", act), ("text", words)];
            let answer = house.post(cookie, &path, &fields).await;
            assert_eq!(answer.code, code, "{}", answer.body);
            assert!(
                answer.body.contains(shown) && answer.body.contains("Nothing was done"),
                "{}",
                answer.body
            );
            assert!(answer.body.contains(&format!("href=\"{way}\"")), "{way}: {}", answer.body);
        }
        let order = |act| [("do", act), ("to", tom.as_str()), ("text", words)];
        for (act, state, taken) in [
            ("assign", ThreadState::Open, Some("Tom Berg")),
            ("close", ThreadState::Closed, Some("Tom Berg")),
            ("reopen", ThreadState::Open, Some("Tom Berg")),
        ] {
            let answer = house.press(&mira, number, &order(act)).await;
            assert!(answer.code == 200 && answer.body.contains(shown), "{act}: {}", answer.body);
            let row = house.row(number).await;
            assert_eq!((row.state, row.assigned_to.as_deref()), (state, taken), "{act}");
            // What the page shows now is what the next answer is about.
            assert!(!answer.body.contains("class=\"tag warn\">new"), "{act}");
        }
        assert_eq!(house.posts(number).await.len(), 1, "nothing was said");
    })
    .await;
}

#[tokio::test]
async fn two_who_press_at_the_same_moment_send_one_answer() {
    on_every_store(|store| async move {
        let house = House::start(&store).await;
        let number = house.thread(ANA, Some("yearly"), "Does it fit?", "Does it fit?").await;
        let mut pressed = Vec::new();
        for who in [MIRA, TOM] {
            let cookie = house.sign_in(who).await;
            let page = house.get(&cookie, &format!("/desk/{number}")).await;
            pressed.push((cookie, field(&page.body, "form"), field(&page.body, "seen")));
        }
        let path = format!("/desk/{number}");
        let post = async |(cookie, form, seen): &(String, String, String), text: &str| {
            let fields = [("form", form.as_str()), ("seen", seen.as_str()), ("do", "answer"), ("text", text)];
            house.post(cookie, &path, &fields).await.code
        };
        let (one, other) = tokio::join!(post(&pressed[0], "Yes."), post(&pressed[1], "No."));
        let mut codes = [one, other];
        codes.sort_unstable();
        assert_eq!(codes, [303, 409]);
        assert_eq!(house.posts(number).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn forged_forms_change_nothing() {
    on_every_store(|store| async move {
        let house = House::start(&store).await;
        let number = house.thread(ANA, Some("yearly"), "Does it fit?", "Does it fit?").await;
        let (mira, tom) = (house.sign_in(MIRA).await, house.sign_in(TOM).await);
        let path = format!("/desk/{number}");
        let page = house.get(&mira, &path).await;
        let seen = field(&page.body, "seen");
        let theirs = field(&house.get(&tom, &path).await.body, "form");
        for form in ["", "x", &theirs] {
            for act in ["answer", "note", "close", "assign"] {
                let fields =
                    [("form", form), ("seen", seen.as_str()), ("do", act), ("text", "x"), ("to", "1")];
                let answer = house.post(&mira, &path, &fields).await;
                assert_eq!(answer.code, 403, "{form} {act}: {}", answer.body);
            }
        }
        let form = field(&page.body, "form");
        for (code, fields) in [
            (400, vec![("seen", seen.as_str()), ("do", "erase")]),
            (400, vec![("seen", seen.as_str())]),
            (400, vec![("seen", "1"), ("do", "close")]),
            (400, vec![("do", "close")]),
            (400, vec![("seen", seen.as_str()), ("do", "assign"), ("to", "' OR 1=1")]),
            (409, vec![("seen", "999999-0"), ("do", "close")]),
            (422, vec![("seen", seen.as_str()), ("do", "assign"), ("to", "999")]),
            (422, vec![("seen", seen.as_str()), ("do", "answer"), ("text", " \r\n ")]),
            (422, vec![("seen", seen.as_str()), ("do", "note"), ("text", "")]),
        ] {
            let fields = [&[("form", form.as_str())], fields.as_slice()].concat();
            assert_eq!(house.post(&mira, &path, &fields).await.code, code, "{fields:?}");
        }
        let long = "a".repeat(600_000);
        let fields = [("form", form.as_str()), ("seen", seen.as_str()), ("do", "answer"), ("text", &long)];
        assert_eq!(house.post(&mira, &path, &fields).await.code, 413);
        for wrong in ["/desk/0", "/desk/x", "/desk/99999999999999999999", "/desk/-1"] {
            assert_eq!(house.get(&mira, wrong).await.code, 404, "{wrong}");
            let fields = [("form", form.as_str()), ("seen", "0-0"), ("do", "close")];
            assert_eq!(house.post(&mira, wrong, &fields).await.code, 404, "{wrong}");
        }
        assert_eq!(house.posts(number).await.len(), 1);
        assert_eq!(
            (house.row(number).await.state, house.row(number).await.assigned_to),
            (ThreadState::Open, None)
        );
        assert_eq!(house.mails().await.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_tells_who_writes_comes_back_with_its_words() {
    let test = TestStore::sqlite().await;
    let house = House::start(&test.store).await;
    let number = house.thread(ANA, Some("yearly"), "Does it fit?", "Does it fit?").await;
    let mira = house.sign_in(MIRA).await;
    let leak =
        house.press(&mira, number, &[("do", "answer"), ("text", "Write to mira@staff.example.net")]).await;
    assert_eq!(leak.code, 422);
    assert!(leak.body.contains("Nothing was sent: its words hold"), "{}", leak.body);
    assert!(
        leak.body.contains("Write to mira@staff.example.net</textarea>")
            && !leak.body.contains("all the same")
    );
    let signed = "Yes.\n\nBest regards,\nThe team\n+1 555 0100";
    let question = house.press(&mira, number, &[("do", "answer-close"), ("text", signed)]).await;
    assert!(question.body.contains("looks like a signature"), "{}", question.body);
    assert!(question.body.contains("value=\"insist-close\">Send it all the same"), "{}", question.body);
    assert_eq!(house.press(&mira, number, &[("do", "insist-close"), ("text", signed)]).await.code, 303);
    assert_eq!(house.row(number).await.state, ThreadState::Closed);
}

/// SQLite lowers ASCII only, and PostgreSQL what its locale knows.
#[tokio::test]
async fn a_search_finds_words_in_every_script_and_case() {
    on_every_store(|store| async move {
        let house = House::start(&store).await;
        let words = "\u{417}\u{434}\u{440}\u{430}\u{432}\u{441}\u{442}\u{432}\u{443}\u{439}\u{442}\u{435}, \u{c9}mile: 5*[x] 100% _ok_ (a.b) ^c$ d|e \\f";
        let number = house.thread(ANA, Some("yearly"), "\u{d6}l und Stra\u{df}e", words).await;
        house.thread("bo@readers.example", Some("free"), "Another", "5xx900ok ab c d e f").await;
        let mira = house.sign_in(MIRA).await;
        for search in [
            "\u{437}\u{434}\u{420}\u{410}", "\u{417}\u{414}", "\u{e9}MILE", "\u{f6}l UND", "stra\u{df}E", "5*[X]", "100% _", "(a.b)", "^c$", "d|e",
            "\\f", "ANA@readers", "#1",
        ] {
            let coded = form_urlencoded::byte_serialize(search.as_bytes()).collect::<String>();
            let page = house.get(&mira, &format!("/desk?search={coded}")).await;
            assert!(page.body.contains(&format!("/desk/{number}\"")), "{search}: {}", page.body);
            assert!(!page.body.contains(&format!("/desk/{}\"", number + 1)), "{search}");
            if search != "#1" {
                let mut tx = store.read().await.unwrap();
                let found = threads::inbox(&mut tx, search, 10).await.unwrap();
                assert_eq!(found.iter().map(|row| row.number).collect::<Vec<_>>(), [number], "{search}");
                let found = threads::in_state(&mut tx, ThreadState::Open, search, 10).await.unwrap();
                assert_eq!(found.len(), 1, "{search}");
            }
        }
    })
    .await;
}

/// Whatever somebody sends, a page has a length that is read and rendered in no time; the rest is behind a link.
#[tokio::test]
async fn a_flood_of_words_is_many_pages() {
    on_every_store(|store| async move {
        let house = House::start(&store).await;
        let number = house.thread(ANA, Some("yearly"), "Flood", "The first.").await;
        for _ in 0..30 {
            house.words(number, &"a\n\n\n".repeat(16_000)).await;
        }
        house.words(number, "The last.").await;
        let mira = house.sign_in(MIRA).await;
        let (mut path, mut pages, mut posts) = (format!("/desk/{number}"), 0, 0);
        loop {
            let page = house.get(&mira, &path).await;
            assert!(page.code == 200 && page.body.len() < 300_000, "{} {}", page.code, page.body.len());
            pages += 1;
            posts += page.body.matches("<section class=\"post").count();
            assert_eq!(pages == 1, page.body.contains("The last.</p>"));
            let Some((before, _)) = page.body.split_once("\">Older posts") else {
                assert!(page.body.contains("The first.</p>"));
                break;
            };
            path = before.rsplit_once("href=\"").unwrap().1.to_owned();
        }
        assert!(posts == 32 && (3..12).contains(&pages), "{posts} {pages}");
    })
    .await;
}

#[tokio::test]
async fn hostile_words_are_words() {
    on_every_store(|store| async move {
        let house = House::start(&store).await;
        let hostile =
            "</title></textarea><script>alert(1)</script>\"><img src=x onerror=y> {{form}} &amp; \u{202e}x";
        let number = house.thread(ANA, Some("yearly"), hostile, hostile).await;
        let name = "\"><svg onload=x>.html".to_owned();
        let file = threads::Attachment { name, media_type: "text/html\"><b>".to_owned(), bytes: 12 };
        house.words_with(number, (hostile, hostile), &[file]).await;
        let mira = house.sign_in(MIRA).await;
        let search = form_urlencoded::byte_serialize(hostile.as_bytes()).collect::<String>();
        for path in ["/desk".to_owned(), format!("/desk/{number}"), format!("/desk?search={search}")] {
            let page = house.get(&mira, &path).await;
            assert_eq!(page.code, 200);
            for wrong in ["<script", "<img", "<svg", "</textarea>&", "html\"><b>"] {
                assert!(!page.body.contains(wrong), "{path}: {wrong}: {}", page.body);
            }
            assert!(page.body.contains("&lt;script&gt;"), "{path}");
            assert!(page.body.contains("<bdi>&lt;/title"), "its direction ends with it: {path}");
        }
        let again = house.press(&mira, number, &[("do", "note"), ("text", "")]).await;
        assert!(!again.body.contains("<script"));
    })
    .await;
}

/// A message with a page and a picture that came from outside.
fn with_files() -> Vec<u8> {
    b"From: ana@readers.example\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nLook.\r\n--b\r\n\
      Content-Type: text/html; name=\"evil.html\"\r\nContent-Disposition: attachment; filename=\"evil.html\"\r\n\r\n\
      <script>x</script>\r\n--b\r\nContent-Type: image/svg+xml; name=\"p.svg\"\r\n\
      Content-Disposition: inline; filename=\"p.svg\"\r\n\r\n<svg onload=x/>\r\n--b--\r\n"
        .to_vec()
}

#[tokio::test]
async fn a_file_is_a_download_and_belongs_to_its_conversation() {
    on_every_store(|store| async move {
        let house = House::start(&store).await;
        let number = house.thread(ANA, Some("yearly"), "Look", "Look.").await;
        let other = house.thread("bo@readers.example", Some("free"), "Another", "Another.").await;
        let mira = house.sign_in(MIRA).await;
        post_with_files(&store, &house, number).await;
        let posts = house.posts(number).await;
        let files = &posts.last().unwrap().files;
        for (file, name, octets) in
            [(&files[0], "evil.html", "<script>x</script>"), (&files[1], "p.svg", "<svg onload=x/>")]
        {
            let path = format!("/desk/{number}/files/{}", file.id);
            let answer = house.get(&mira, &path).await;
            assert_eq!((answer.code, answer.body.trim_end()), (200, octets), "{}", answer.head);
            for wanted in [
                "content-type: application/octet-stream\r\n",
                &format!("content-disposition: attachment; filename=\"{name}\"\r\n"),
                "content-security-policy: default-src 'none'; sandbox\r\n",
                "x-content-type-options: nosniff\r\n",
            ] {
                assert!(answer.head.contains(wanted), "{wanted}: {}", answer.head);
            }
            assert_eq!(house.get(&mira, &format!("/desk/{other}/files/{}", file.id)).await.code, 404);
            assert_eq!(house.get("", &path).await.code, 303);
        }
        assert_eq!(house.get(&mira, &format!("/desk/{number}/files/99")).await.code, 404);
        assert_eq!(house.get(&mira, &format!("/desk/{number}/files/x")).await.code, 404);
    })
    .await;
}

async fn post_with_files(store: &Store, house: &House, number: i64) {
    let raw = with_files();
    let parsed = tidings::mail::parse::parse(&raw);
    let attached: Vec<threads::Attachment> = parsed
        .attachments
        .iter()
        .map(|file| threads::Attachment {
            name: file.name.clone(),
            media_type: file.media_type.clone(),
            bytes: file.bytes as i64,
        })
        .collect();
    assert_eq!(attached.len(), 2, "{attached:?}");
    let mut tx = store.write().await.unwrap();
    let new = NewInbound {
        source: InboundSource::File,
        envelope_from: None,
        recipient: "support@news.example.org",
        hash: "x",
        raw,
    };
    let inbound = inbound::record(&mut tx, new, house.now()).await.unwrap();
    let post = NewPost {
        thread: number,
        kind: PostKind::Subscriber,
        from_name: "Ana Lopez",
        from_address: ANA,
        text: "Look.",
        folded: "",
        message_id: None,
        inbound_id: inbound,
        staff_id: None,
        attachments: &attached,
    };
    threads::add_post(&mut tx, &post, house.now()).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn who_pays_comes_first_then_who_waits_for_longest() {
    on_every_store(|store| async move {
        let house = House::start(&store).await;
        let minute = std::time::Duration::from_secs(60);
        let mut numbers = Vec::new();
        for (who, tier) in [
            ("s", None),
            ("f", Some("free")),
            ("m", Some("monthly")),
            ("l", Some("lifetime")),
            ("y", Some("yearly")),
        ] {
            let address = format!("{who}@readers.example");
            numbers.push(
                house.thread(&address, tier, &format!("Question of {who}"), "Is it 100% blue_ish!?").await,
            );
            house.clock.advance(minute);
        }
        // The term of one is over.
        let mut tx = store.write().await.unwrap();
        let lapsed = tidings::store::people::by_key(&mut tx, "l@readers.example").await.unwrap().unwrap();
        let term = (Some(TUESDAY), Some(TUESDAY + minute));
        tidings::store::people::set_tier(&mut tx, lapsed.id, &lapsed.tier, term, TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        let mira = house.sign_in(MIRA).await;
        let order = |page: &str| -> Vec<usize> {
            let mut found: Vec<(usize, usize)> = "smfly"
                .char_indices()
                .filter_map(|(at, who)| Some((page.find(&format!("Question of {who}"))?, at)))
                .collect();
            found.sort_unstable();
            found.into_iter().map(|(_, at)| at).collect()
        };
        let page = house.get(&mira, "/desk").await.body;
        // m, y pay; then s, f and the one whose term is over, by waiting time.
        assert_eq!(order(&page), [1, 4, 0, 2, 3], "{page}");
        assert!(
            page.contains("Lifetime, ended") && page.contains("Waiting 5") && page.contains("5 min"),
            "{page}"
        );
        for (search, found) in [
            ("Question of m", vec![1]),
            ("100% BLUE_ISH!", vec![1, 4, 0, 2, 3]),
            ("100_ blue", vec![]),
            ("%", vec![1, 4, 0, 2, 3]),
            ("f@readers", vec![2]),
            (&format!("#{}", numbers[4]), vec![4]),
            ("' OR 1=1 --", vec![]),
        ] {
            let asked = form_urlencoded::byte_serialize(search.as_bytes()).collect::<String>();
            let page = house.get(&mira, &format!("/desk?search={asked}")).await;
            assert_eq!((page.code, order(&page.body)), (200, found), "{search}");
        }
        house.press(&mira, numbers[0], &[("do", "close")]).await;
        let closed = house.get(&mira, "/desk?state=closed").await.body;
        assert_eq!(order(&closed), [0]);
    })
    .await;
}

#[tokio::test]
async fn ten_thousand_conversations_are_two_hundred_pages() {
    on_every_store(|store| async move {
        let house = House::start(&store).await;
        let mut tx = store.write().await.unwrap();
        for n in 0..10_000 {
            let address = format!("p{n}@readers.example");
            let subject = format!("Question {n:05}");
            let new = NewThread {
                subscriber_id: None,
                address: &address,
                address_key: &address,
                name: "",
                subject: &subject,
                edition_id: None,
                suspected: None,
            };
            threads::open(&mut tx, &new, TUESDAY).await.unwrap();
        }
        tx.commit().await.unwrap();
        house.words(1, &"a long word ".repeat(20_000)).await;
        let mira = house.sign_in(MIRA).await;
        let began = std::time::Instant::now();
        let first = house.get(&mira, "/desk").await;
        println!("the first of 200 pages: {:?}, {} kB", began.elapsed(), first.body.len() / 1000);
        assert_eq!(first.body.matches("<strong>").count(), 50);
        assert!(first.body.len() < 60_000, "{}", first.body.len());
        assert!(first.body.contains("Waiting 10000") && first.body.contains("page=2"), "{}", first.body);
        let last = house.get(&mira, "/desk?state=open&page=200").await;
        assert_eq!(last.body.matches("<strong>").count(), 50);
        assert!(!last.body.contains("page=201") && last.body.contains("page=199"));
        let beyond = house.get(&mira, "/desk?state=open&page=9999").await;
        assert!(
            beyond.code == 200
                && beyond.body.contains("There is none") | beyond.body.contains("Nobody waits")
        );
        let began = std::time::Instant::now();
        let found = house.get(&mira, "/desk?search=question+09999").await;
        println!("a search: {:?}", began.elapsed());
        assert_eq!(found.body.matches("<strong>").count(), 1);
        // One conversation with very many posts, and one post that is very long.
        for n in 0..250 {
            house.words(2, &format!("Word {n:03}.")).await;
        }
        let page = house.get(&mira, "/desk/2").await.body;
        assert_eq!(page.matches("<section class=\"post").count(), 100);
        assert!(page.contains("Word 249.") && !page.contains("Word 149.") && page.contains("Answer to"));
        let (_, older) = page.split_once("href=\"/desk/2?before=").unwrap();
        let older = format!("/desk/2?before={}", older.split('"').next().unwrap());
        let page = house.get(&mira, &older).await.body;
        assert!(page.contains("Word 149.") && page.contains("Word 050.") && !page.contains("Answer to"));
        let long = house.get(&mira, "/desk/1").await.body;
        assert!(long.len() < 120_000 && long.contains("longer than this page shows"), "{}", long.len());
    })
    .await;
}
