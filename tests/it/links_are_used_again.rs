//! A mail stays in its mailbox, and its links are pressed again when things have changed: pages say what is true then.

use std::time::Duration;

use tidings::domain::address::Address;
use tidings::domain::joining::UNDO_FOR;
use tidings::domain::settings::RetentionSettings;
use tidings::domain::suppression::SuppressionReason;
use tidings::domain::token::Purpose;
use tidings::store::{people, suppressions};
use tidings::tasks::doctor::test_mail;
use tidings::tasks::retention::Retention;

use crate::support::clock::TUESDAY;
use crate::support::public::{Front, link_in};
use crate::support::stores::on_every_store;

const NORA: &str = "nora@readers.example";

#[tokio::test]
async fn a_confirmation_used_again_tells_who_has_left_that_they_have_and_the_way_back() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        front.join(NORA, "").await;
        let confirm = link_in(&front.mails().await[0], "/c/");
        assert!(front.post(&confirm, "").await.body.contains("You are on the list"));
        front.mails().await;
        for again in [front.get(&confirm).await, front.post(&confirm, "").await] {
            assert!(again.code == 200 && again.body.contains("You are on the list"), "{}", again.body);
        }
        let id = front.person(NORA).await.unwrap().id;
        let leave = front.link(Purpose::Unsubscribe, id);
        assert_eq!(front.post(&leave, "List-Unsubscribe=One-Click").await.code, 200);
        let before = front.history(id).await;
        for again in [front.get(&confirm).await, front.post(&confirm, "").await] {
            assert_eq!(again.code, 200);
            assert!(!again.body.contains("You are on the list"), "{}", again.body);
            assert!(again.body.contains("You have left since"), "{}", again.body);
            assert!(again.body.contains("href=\"/join\">Subscribe again</a>"), "{}", again.body);
        }
        assert_eq!(front.history(id).await, before, "and nothing was changed");
        // The way that it offers leads back.
        front.clock.advance(UNDO_FOR + Duration::from_secs(86_400));
        front.join(NORA, "").await;
        let anew = link_in(&front.mails().await[0], "/c/");
        assert!(front.post(&anew, "").await.body.contains("You are on the list"));
        assert!(front.get(&confirm).await.body.contains("You are on the list"), "it is true again");

        let mut tx = store.write().await.unwrap();
        let address = Address::parse(NORA).unwrap();
        suppressions::add(&mut tx, &address, SuppressionReason::HardBounce, "test", TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        for again in [front.get(&confirm).await, front.post(&confirm, "").await] {
            assert!(again.body.contains("Mails to this address are stopped"), "{}", again.body);
        }
    })
    .await;
}

#[tokio::test]
async fn a_change_of_address_used_again_tells_where_the_mails_go_by_now() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        let id = front.add(NORA, "free").await;
        let cookie = front.sign_in(NORA).await;
        let preferences = front.link(Purpose::Preferences, id);
        let typed = "address=nora.new%40readers.example";
        front.post_as(&cookie, &format!("{preferences}/address"), typed).await;
        let confirm = link_in(&front.mails().await[0], "/c/");
        assert!(front.post(&confirm, "").await.body.contains("Your mails go here now"));
        assert!(front.get(&confirm).await.body.contains("Your mails go here now"));
        let third = Address::parse("nora.third@readers.example").unwrap();
        let mut tx = store.write().await.unwrap();
        assert!(people::move_to(&mut tx, id, &third, front.now()).await.unwrap());
        tx.commit().await.unwrap();
        for again in [front.get(&confirm).await, front.post(&confirm, "").await] {
            assert!(again.body.contains("Your mails go to another address now"), "{}", again.body);
        }
    })
    .await;
}

#[tokio::test]
async fn the_link_of_an_old_proof_says_that_it_is_not_kept_any_more() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        let to = Address::parse("ed@example.org").unwrap();
        let content = front.setup.shelf.get();
        let queued =
            test_mail::queue(&store, &content, &front.setup.edition_frame(), (&to, true), front.now()).await;
        let (delivery, _) = queued.map_err(|_| "no edition").unwrap();
        assert_eq!(front.mails().await.len(), 1);
        let view = front.link(Purpose::View, delivery);
        assert_eq!(front.get(&view).await.code, 200);
        let ages = RetentionSettings {
            replies: Some(Duration::from_secs(90 * 86_400)),
            ..front.setup.settings.retention.clone()
        };
        let mut retention = Retention::new(store.clone(), ages);
        let later = front.now() + Duration::from_secs(91 * 86_400);
        while !retention.step(later).await.unwrap().is_nothing() {}
        let page = front.get(&view).await;
        assert_eq!(page.code, 410, "{}", page.body);
        assert!(
            page.body.contains("not kept any more") && page.body.contains("tidings preview"),
            "{}",
            page.body
        );
    })
    .await;
}
