//! Programs open every link of a mail before a person does, and some run what they find. Nothing comes of it (T2, W41, W217).

use tidings::domain::token::{NOBODY, Purpose};
use tidings::store::people;

use crate::support::public::{Front, link_in};
use crate::support::stores::TestStore;

#[tokio::test]
async fn w41_w217_get_head_and_options_change_nothing_on_any_link() {
    let test = TestStore::sqlite().await;
    let front = Front::start(&test.store).await;
    let id = front.add("a@readers.example", "yearly").await;
    assert_eq!(front.join("new@readers.example", "").await.code, 200);
    let mails = front.mails().await;
    let confirm = link_in(&mails[0], "/c/");
    let links = [
        front.link(Purpose::Unsubscribe, id),
        front.link(Purpose::Preferences, id),
        confirm.clone(),
        front.link(Purpose::Unsubscribe, NOBODY),
        front.link(Purpose::Preferences, NOBODY),
        front.link(Purpose::View, NOBODY),
    ];
    let before = state(&front, id).await;
    let agent = "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) SafeLinks\r\n";
    for link in &links {
        for round in 0..5 {
            for method in ["GET", "HEAD", "OPTIONS"] {
                // A body where none belongs is no form.
                let body = if round == 0 { "List-Unsubscribe=One-Click" } else { "" };
                let answer = front.ask(method, link, agent, body).await;
                let expected = if method == "OPTIONS" { 405 } else { 200 };
                assert_eq!(answer.code, expected, "{method} {link}: {}", answer.body);
                let head = answer.head.to_lowercase();
                for wanted in [
                    "referrer-policy: no-referrer",
                    "cache-control: private, no-store",
                    "x-robots-tag: noindex, nofollow",
                    "x-content-type-options: nosniff",
                    "content-security-policy: default-src 'none'",
                ] {
                    assert!(head.contains(wanted), "W209 {wanted}: {head}");
                }
                assert!(!head.contains("set-cookie"), "W221: {head}");
                for wrong in ["<script", "onload", "submit()", "http-equiv"] {
                    assert!(!answer.body.contains(wrong), "{wrong}: {}", answer.body);
                }
            }
        }
    }
    assert_eq!(state(&front, id).await, before);
    assert_eq!(front.mails().await.len(), 0, "nothing was queued");
    // The button does what the link alone does not.
    assert!(front.post(&confirm, "").await.body.contains("You are on the list"));
    assert_ne!(state(&front, id).await, before);
}

async fn state(front: &Front, id: i64) -> String {
    let new = front.person("new@readers.example").await.unwrap();
    let paused = people::paused_until(&mut front.store.read().await.unwrap(), id).await.unwrap();
    format!(
        "{:?} {:?} {paused:?} {new:?} {:?}",
        front.person("a@readers.example").await,
        front.history(id).await,
        front.history(new.id).await
    )
}
