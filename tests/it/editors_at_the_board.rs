//! The editors' board: who may see it, what it says of a send and of what is next, and what orders on it do.

use std::time::Duration;

use tidings::domain::edition::EditionState;
use tidings::store::{Store, audit, editions};

use crate::support::house::{EDITOR, House, MIRA};
use crate::support::http::Answer;
use crate::support::public::field;
use crate::support::sending::queued_edition;
use crate::support::stores::on_every_store;

async fn state(store: &Store) -> EditionState {
    editions::standing(&mut store.read().await.unwrap(), "weekly").await.unwrap().unwrap().state
}

/// Presses a button of the edition's page, as it stands now.
async fn press(house: &House, cookie: &str, order: &str) -> Answer {
    let page = house.get(cookie, "/board/weekly").await;
    assert_eq!(page.code, 200, "{}", page.body);
    let (form, stood) = (field(&page.body, "form"), field(&page.body, "stood"));
    house.post(cookie, "/board/weekly", &[("form", &form), ("stood", &stood), ("do", order)]).await
}

#[tokio::test]
async fn the_board_is_for_editors_and_the_desk_for_staff() {
    on_every_store(|store| async move {
        let house = House::start(&store).await;
        queued_edition(&store, 3).await;
        let (mira, editor) = (house.sign_in(MIRA).await, house.sign_in(EDITOR).await);
        let page = house.get(&editor, "/board/weekly").await;
        let (form, stood) = (field(&page.body, "form"), field(&page.body, "stood"));
        let fields = [("form", form.as_str()), ("stood", stood.as_str()), ("do", "pause")];
        for path in ["/board", "/board/weekly", "/board/weekly/cancel", "/board/nothing"] {
            for (cookie, code) in [("", 303), ("Cookie: tidings_house=x\r\n", 303), (mira.as_str(), 403)] {
                let answer = house.get(cookie, path).await;
                assert_eq!(answer.code, code, "{path}");
                for word in ["accepted", "stood", "Ready to go out", "Subject"] {
                    assert!(!answer.body.contains(word), "{path}: {word}: {}", answer.body);
                }
            }
        }
        let undone = house.post("", "/board/weekly", &fields).await;
        assert!(undone.code == 401 && undone.body.contains("Nothing was done"), "{}", undone.body);
        assert!(undone.body.contains("/sign-in?back=/board/weekly"), "{}", undone.body);
        assert_eq!(house.post(&mira, "/board/weekly", &fields).await.code, 403);
        for forged in ["", "x", &field(&house.get(&mira, "/sign-out").await.body, "form")] {
            let fields = [("form", forged), ("stood", stood.as_str()), ("do", "pause")];
            assert_eq!(house.post(&editor, "/board/weekly", &fields).await.code, 403, "{forged}");
        }
        for (code, stood, order) in [
            (400, "", "pause"),
            (400, stood.as_str(), ""),
            (400, stood.as_str(), "erase"),
            (409, "paused-0", "resume"),
            (409, "sending-9", "pause"),
            (409, stood.as_str(), "approve"),
        ] {
            let fields = [("form", form.as_str()), ("stood", stood), ("do", order)];
            assert_eq!(house.post(&editor, "/board/weekly", &fields).await.code, code, "{stood} {order}");
        }
        assert_eq!(house.post(&editor, "/board/nothing", &fields).await.code, 404);
        assert_eq!(house.get(&editor, "/board/nothing").await.code, 404);
        assert!(house.get(&editor, "/").await.head.contains("location: /board\r\n"));
        assert!(house.get(&mira, "/").await.head.contains("location: /desk\r\n"));
        assert_eq!(state(&store).await, EditionState::Sending, "nothing was done");
    })
    .await;
}

#[tokio::test]
async fn orders_are_those_of_the_commands_and_an_old_page_orders_nothing() {
    on_every_store(|store| async move {
        let house = House::start(&store).await;
        let editor = house.sign_in(EDITOR).await;
        queued_edition(&store, 3).await;
        let old = house.get(&editor, "/board/weekly").await.body;
        for (order, expected) in [
            ("pause", EditionState::Paused),
            ("resume", EditionState::Sending),
            ("hold", EditionState::WaitingApproval),
            ("approve", EditionState::Sending),
        ] {
            let done = press(&house, &editor, order).await;
            assert_eq!((done.code, state(&store).await), (303, expected), "{order}: {}", done.body);
        }
        // It stands as it did, and is not the same any more.
        let (form, stood) = (field(&old, "form"), field(&old, "stood"));
        for order in ["pause", "hold", "cancel"] {
            let fields = [("form", form.as_str()), ("stood", stood.as_str()), ("do", order)];
            let answer = house.post(&editor, "/board/weekly", &fields).await;
            assert!(
                answer.code == 409 && answer.body.contains("does not stand as this page showed it"),
                "{order}"
            );
        }
        assert_eq!(state(&store).await, EditionState::Sending);
        let asked = house.get(&editor, "/board/weekly/cancel").await.body;
        assert!(asked.contains("3 deliveries will never be sent. 0 were accepted"), "{asked}");
        assert_eq!(state(&store).await, EditionState::Sending, "looking changes nothing");
        let (form, stood) = (field(&asked, "form"), field(&asked, "stood"));
        let fields = [("form", form.as_str()), ("stood", stood.as_str()), ("do", "cancel")];
        assert_eq!(house.post(&editor, "/board/weekly", &fields).await.code, 303);
        assert_eq!(state(&store).await, EditionState::Cancelled);
        assert_eq!(house.post(&editor, "/board/weekly", &fields).await.code, 409);
        tidings::tasks::ledger::tidy(&store, house.now()).await.unwrap();
        house.clock.advance(Duration::from_secs(60));
        let page = house.get(&editor, "/board/weekly").await.body;
        assert!(page.contains("3 skipped of 3") && page.contains("cancelled by ed@example.org"), "{page}");
        let rows = audit::about(&mut store.read().await.unwrap(), ("edition", "weekly"), 20).await.unwrap();
        let said: Vec<String> =
            rows.iter().rev().map(|row| format!("{} {}: {}", row.actor, row.action, row.detail)).collect();
        assert_eq!(
            said,
            [
                "board edition paused: was sending; by ed@example.org",
                "board edition sending: was paused; by ed@example.org",
                "board edition waiting_approval: was sending; by ed@example.org",
                "board edition sending: was waiting_approval; by ed@example.org",
                "board edition cancelled: was sending; by ed@example.org"
            ]
        );
        let board = house.get(&editor, "/board").await.body;
        assert!(board.contains("weekly: cancelled") && board.contains("Done by hand"), "{board}");
    })
    .await;
}

#[tokio::test]
async fn the_board_tells_of_the_send_and_of_what_is_next() {
    on_every_store(|store| async move {
        let house = House::start(&store).await;
        let editor = house.sign_in(EDITOR).await;
        queued_edition(&store, 40).await;
        let board = house.get(&editor, "/board").await.body;
        assert!(
            board.contains("http-equiv=\"refresh\" content=\"15\"") && board.contains("40 queued of 40"),
            "{board}"
        );
        assert!(!board.contains("a second"), "one look makes no pace");
        assert!(board.contains("first-light") && board.contains("What each tier gets"), "{board}");
        assert!(board.contains("2 in full") || board.contains("1 in full"), "{board}");
        for wrong in ["<script", "style=\"", "http://", "https://", "readers.example", "x.example"] {
            assert!(!board.contains(wrong), "{wrong}: {board}");
        }
        assert_eq!(house.mails().await.len(), 40);
        house.clock.advance(Duration::from_secs(20));
        let still = house.get(&editor, "/board?still").await.body;
        assert!(still.contains("action=\"/board/weekly?still\""), "{still}");
        let board = house.get(&editor, "/board?still").await.body;
        assert!(!board.contains("http-equiv=\"refresh\"") && board.contains("let it look again"), "{board}");
        assert!(board.contains("40 accepted of 40") && board.contains("2.0 a second"), "{board}");
        assert!(board.contains(">40 of 40</td>"), "{board}");
    })
    .await;
}
