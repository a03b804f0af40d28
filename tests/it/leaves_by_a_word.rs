//! A subject that is the word for leaving, without any token: it counts for a reader who is proven, and for nobody else.

use tidings::domain::subscriber::SubscriberStatus;
use tidings::domain::token::Purpose;
use tidings::domain::verdict::Verdict;
use tidings::store::{Store, people};
use tidings::tasks::receive::Proving;

use crate::support::receiving::Receiving;
use crate::support::sending::queued_edition;
use crate::support::stores::on_every_store;

const SUPPORT: &str = "support@news.example.org";
const PASS: &str = "Authentication-Results: mx.news.example.org; dmarc=pass header.from=x.example\r\n";
const FAIL: &str = "Authentication-Results: mx.news.example.org; dmarc=fail header.from=x.example\r\n";

fn mail(from: &str, id: &str, proof: &str, subject: &str) -> Vec<u8> {
    let header = format!(
        "{proof}From: {from}\r\nTo: {SUPPORT}\r\nSubject: {subject}\r\nMessage-ID: <{id}@x.example>\r\n"
    );
    format!("{header}\r\nThank you.\r\n\r\n> unsubscribe\r\n").into_bytes()
}

async fn status(store: &Store, address: &str) -> SubscriberStatus {
    people::by_key(&mut store.read().await.unwrap(), address).await.unwrap().unwrap().status
}

#[tokio::test]
async fn a_proven_reader_leaves_and_a_forged_one_stays() {
    on_every_store(|store| async move {
        queued_edition(&store, 3).await;
        let mut line = Receiving::start(&store).await;
        line.receiver.proving = Proving::Server("mx.news.example.org".into());
        let forged = mail("p00000@x.example", "m1", FAIL, "unsubscribe");
        let row = line.take(SUPPORT, "p00000@x.example", &forged).await;
        assert_eq!(row.verdict, Some(Verdict::SupportMessage), "{}", row.reason);
        assert!(
            row.reason.starts_with("leave: it asks to leave, and its sender is not proven"),
            "{}",
            row.reason
        );
        assert_eq!(status(&store, "p00000@x.example").await, SubscriberStatus::Active);
        assert!(row.thread.is_some(), "a person reads it");

        let wanted = mail("p00000@x.example", "m2", PASS, "Re: Unsubscribe");
        let row = line.take(SUPPORT, "p00000@x.example", &wanted).await;
        assert_eq!((row.verdict, row.thread), (Some(Verdict::Unsubscribe), None), "{}", row.reason);
        assert_eq!(status(&store, "p00000@x.example").await, SubscriberStatus::Unsubscribed);

        // As an answer to an edition, and with the word only in what is quoted.
        let person =
            people::by_key(&mut store.read().await.unwrap(), "p00002@x.example").await.unwrap().unwrap();
        let to = line.address(Purpose::Edition, 2, 0);
        let quoted = mail("p00001@x.example", "m3", PASS, "Re: Make it smaller");
        assert_eq!(
            line.take(SUPPORT, "p00001@x.example", &quoted).await.verdict,
            Some(Verdict::SupportMessage)
        );
        assert_eq!(status(&store, "p00001@x.example").await, SubscriberStatus::Active);
        let answer = mail("p00001@x.example", "m4", PASS, "abmelden");
        let answer = String::from_utf8(answer).unwrap().replace(SUPPORT, &to);
        line.take(&to, "p00001@x.example", answer.as_bytes()).await;
        assert_eq!(status(&store, "p00001@x.example").await, SubscriberStatus::Unsubscribed);
        assert_eq!(person.status, SubscriberStatus::Active);

        let stranger = mail("nobody@x.example", "m5", PASS, "unsubscribe");
        assert_eq!(
            line.take(SUPPORT, "nobody@x.example", &stranger).await.verdict,
            Some(Verdict::SupportMessage)
        );
    })
    .await;
}
