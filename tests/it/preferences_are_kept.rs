//! A person changes their name, pauses, moves to another address and stops everything; nobody else can.

use std::time::Duration;

use tidings::domain::subscriber::SubscriberStatus;
use tidings::domain::token::{NOBODY, Purpose};
use tidings::store::{deliveries, editions, people};

use crate::support::clock::TUESDAY;
use crate::support::public::{Front, link_in, parsed};
use crate::support::sending::edition;
use crate::support::stores::{TestStore, on_every_store};

#[tokio::test]
async fn a_pause_keeps_editions_away_until_its_day() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        let id = front.add("a@readers.example", "free").await;
        front.add("b@readers.example", "free").await;
        let link = front.link(Purpose::Preferences, id);
        // Queued before the pause: it counts when the mail would leave.
        let queue = async |slug: &str| {
            let mut tx = store.write().await.unwrap();
            let queued =
                editions::queue(&mut tx, &edition(slug, &["free"]), front.now()).await.unwrap().unwrap();
            tx.commit().await.unwrap();
            queued.audience
        };
        assert_eq!(queue("one").await, 2);
        let page = front.post(&link, "name=Anna+%3CB%3E&until=2026-12-22").await;
        assert_eq!(page.code, 200);
        assert!(page.body.contains("Saved.") && page.body.contains("value=\"2026-12-22\""), "{}", page.body);
        assert!(page.body.contains("value=\"Anna &lt;B&gt;\""), "{}", page.body);
        let mails = front.mails().await;
        assert_eq!(mails.iter().map(|mail| mail.to.as_str()).collect::<Vec<_>>(), ["b@readers.example"]);
        let rows =
            deliveries::list(&mut store.read().await.unwrap(), Some("one"), None, 0, 10).await.unwrap();
        let told: Vec<_> = rows.iter().map(|row| (row.state.as_str(), row.last_reply.as_deref())).collect();
        assert!(told.contains(&("skipped", Some("paused before the send"))), "{told:?}");
        assert_eq!(queue("two").await, 1);
        // The start of that day in New York.
        let until = people::paused_until(&mut store.read().await.unwrap(), id).await.unwrap().unwrap();
        assert_eq!(until.rfc3339(), "2026-12-22T05:00:00Z");
        front.clock.advance(until.since(TUESDAY) - Duration::from_millis(1));
        assert_eq!(queue("three").await, 1);
        front.clock.advance(Duration::from_millis(1));
        assert_eq!(queue("four").await, 2);
        // An empty date ends it.
        front.post(&link, "name=Anna&until=").await;
        assert_eq!(people::paused_until(&mut store.read().await.unwrap(), id).await.unwrap(), None);
        assert_eq!(front.person("a@readers.example").await.unwrap().name, "Anna");
    })
    .await;
}

#[tokio::test]
async fn a_wrong_date_is_named_and_what_was_typed_is_kept() {
    let test = TestStore::sqlite().await;
    let front = Front::start(&test.store).await;
    let id = front.add("a@readers.example", "free").await;
    let link = front.link(Purpose::Preferences, id);
    for (until, what) in [
        ("soon", "is no date"),
        ("2026-11-24", "still to come"),
        ("2020-01-01", "still to come"),
        ("2029-01-01", "a year at most"),
    ] {
        let page = front.post(&link, &format!("name=Typed&until={until}")).await;
        assert_eq!(page.code, 422, "{until}");
        assert!(page.body.contains(what) && page.body.contains("value=\"Typed\""), "{until}: {}", page.body);
    }
    assert_eq!(front.person("a@readers.example").await.unwrap().name, "Reader free");
    // A preview's link shows the page and changes nothing; the slip of paper of another purpose opens nothing.
    let preview = front.link(Purpose::Preferences, NOBODY);
    for page in [front.get(&preview).await, front.post(&preview, "name=X&until=").await] {
        assert!(page.code == 200 && page.body.contains("This link is from a preview"), "{}", page.body);
    }
    let other = front.link(Purpose::Unsubscribe, id).replace("/u/", "/p/");
    assert_eq!(front.post(&other, "name=X").await.code, 404);
}

#[tokio::test]
async fn w45_w188_stop_everything_is_one_link_and_one_button_away() {
    let test = TestStore::sqlite().await;
    let front = Front::start(&test.store).await;
    let id = front.add("a@readers.example", "lifetime").await;
    let page = front.get(&front.link(Purpose::Preferences, id)).await;
    let stop = page.body.split("href=\"/u/").nth(1).unwrap().split('"').next().unwrap();
    front.post(&format!("/u/{stop}"), "leave=yes").await;
    assert_eq!(front.status("a@readers.example").await, Some(SubscriberStatus::Unsubscribed));
    let page = front.get(&front.link(Purpose::Preferences, id)).await;
    assert!(page.body.contains("You get no mail from us"), "{}", page.body);
    // The page that asks before it may be answered with less.
    let id = front.add("b@readers.example", "free").await;
    let page = front.post(&front.link(Purpose::Unsubscribe, id), "pause=yes").await;
    assert!(page.body.contains("no mail until 22 December 2026"), "{}", page.body);
    let until = people::paused_until(&mut test.store.read().await.unwrap(), id).await.unwrap().unwrap();
    assert_eq!(until.rfc3339(), "2026-12-22T05:00:00Z");
}

#[tokio::test]
async fn a_new_address_counts_once_it_has_answered_and_the_old_one_is_told() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        let id = front.add("old@readers.example", "yearly").await;
        front.add("taken@readers.example", "free").await;
        let preferences = front.link(Purpose::Preferences, id);
        let link = format!("{preferences}/address");
        let said = "a mail is on its way to it";
        // The link alone may come from a mail that was passed on.
        let page = front.post(&link, "address=new%40readers.example").await;
        assert!(page.code == 422 && page.body.contains("sign in first"), "{}", page.body);
        assert!(front.get(&preferences).await.body.contains("/sign-in?back=/p/"));
        let other = front.sign_in("taken@readers.example").await;
        assert_eq!(front.post_as(&other, &link, "address=new%40readers.example").await.code, 422);
        assert_eq!(front.mails().await.len(), 0);
        let cookie = front.sign_in("old@readers.example").await;
        assert!(front.get_as(&cookie, &preferences).await.body.contains("Send the mail"));
        // Somebody else's address: the same words, no mail (W210).
        let page = front.post_as(&cookie, &link, "address=taken%40readers.example").await;
        assert!(page.code == 200 && page.body.contains(said), "{}", page.body);
        assert_eq!(front.mails().await.len(), 0);
        let page = front.post_as(&cookie, &link, "address=new%40readers.example").await;
        assert!(page.code == 200 && page.body.contains(said), "{}", page.body);
        let mails = front.mails().await;
        assert_eq!((mails.len(), mails[0].to.as_str()), (1, "new@readers.example"));
        assert_eq!(parsed(&mails[0]).subject(), Some("Is this your new address for Example News?"));
        let confirm = link_in(&mails[0], "/c/");
        assert!(front.get(&confirm).await.body.contains("Yes, send it here"));
        assert!(front.person("old@readers.example").await.is_some(), "nothing has changed yet");
        assert!(front.post(&confirm, "").await.body.contains("Your mails go here now"));
        assert_eq!(front.person("old@readers.example").await, None);
        assert_eq!(front.person("new@readers.example").await.unwrap().id, id);
        let history = front.history(id).await;
        assert!(history.last().unwrap().contains("the address was changed"), "{history:?}");
        let mails = front.mails().await;
        assert_eq!((mails.len(), mails[0].to.as_str()), (1, "old@readers.example"));
        let text = parsed(&mails[0]).body_text(0).unwrap().into_owned();
        assert!(text.contains("n***@readers.example") && !text.contains("new@readers"), "{text}");
        assert!(
            front.get_as(&cookie, &preferences).await.body.contains("Sign in first"),
            "whoever reads the old mailbox is out"
        );
        let cookie = front.sign_in("new@readers.example").await;
        for (wrong, what) in [("new%40readers.example", "go there already"), ("x", "it has no @")] {
            let page = front.post_as(&cookie, &link, &format!("address={wrong}")).await;
            assert!(page.code == 422 && page.body.contains(what), "{}", page.body);
        }
    })
    .await;
}

/// The address was free when it was asked and is somebody's when it answers.
#[tokio::test]
async fn an_address_that_somebody_has_by_then_is_not_moved_to() {
    let test = TestStore::sqlite().await;
    let front = Front::start(&test.store).await;
    let id = front.add("old@readers.example", "yearly").await;
    let link = format!("{}/address", front.link(Purpose::Preferences, id));
    let cookie = front.sign_in("old@readers.example").await;
    front.post_as(&cookie, &link, "address=new%40readers.example").await;
    let confirm = link_in(&front.mails().await[0], "/c/");
    front.add("new@readers.example", "free").await;
    assert!(front.post(&confirm, "").await.body.contains("This address cannot be used"));
    assert_eq!(front.person("old@readers.example").await.unwrap().id, id);
}
