//! A subject that is the word for leaving, without any token: it counts for a reader who is proven, and for nobody else.

use tidings::domain::subscriber::SubscriberStatus;
use tidings::domain::thread::PostKind;
use tidings::domain::token::Purpose;
use tidings::domain::verdict::Verdict;
use tidings::runtime::Timestamp;
use tidings::store::{Store, deliveries, people};
use tidings::tasks::receive::Proving;

use crate::support::clock::TUESDAY;
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

/// The mails of the desk, by kind and address.
async fn notices(store: &Store) -> Vec<(String, String)> {
    let all = deliveries::list(&mut store.read().await.unwrap(), None, None, 0, 1000).await.unwrap();
    let desk = all.into_iter().filter(|row| row.edition.is_none() && row.address.ends_with("x.example"));
    desk.map(|row| (row.kind, row.address)).collect()
}

#[tokio::test]
async fn who_does_not_prove_themselves_is_asked_once_a_day_and_nothing_else_changes() {
    on_every_store(|store| async move {
        queued_edition(&store, 2).await;
        let mut line = Receiving::start(&store).await;
        line.receiver.proving = Proving::Server("mx.news.example.org".into());
        let day = 86_400_000;
        let asked = ("notice".to_owned(), "p00000@x.example".to_owned());
        for (number, at, mails) in [(0, 0, 1), (1, 3_600_000, 1), (2, day - 1, 1), (3, day, 2)] {
            let raw = mail("p00000@x.example", &format!("m{number}"), FAIL, "unsubscribe");
            let at = Timestamp(TUESDAY.millis() + at);
            let row = line.take_at(SUPPORT, "p00000@x.example", &raw, at).await;
            assert_eq!(row.verdict, Some(Verdict::SupportMessage), "{}", row.reason);
            assert_eq!(notices(&store).await, vec![asked.clone(); mails], "message {number}");
        }
        assert_eq!(status(&store, "p00000@x.example").await, SubscriberStatus::Active);
        // The link in it is theirs, and it ends their mails.
        let thread = line.threads().await.into_iter().next().unwrap().thread;
        let posts = line.posts(thread).await;
        let sent = posts.iter().find(|post| post.kind == PostKind::Automatic).unwrap();
        let (_, link) = sent.text.split_once("https://news.example.org/u/").unwrap();
        let token: String = link.chars().take_while(char::is_ascii_alphanumeric).collect();
        let found = line.setup.keyring.verify(&token).unwrap();
        let person =
            people::by_key(&mut store.read().await.unwrap(), "p00000@x.example").await.unwrap().unwrap();
        assert_eq!((found.purpose, found.row), (Purpose::Unsubscribe, person.id));
        assert!(sent.text.contains("nothing has changed yet"), "{}", sent.text);

        // A program, and who asks not to be answered, are asked nothing; a stranger has nothing to leave.
        let program =
            mail("p00001@x.example", "m5", &format!("{FAIL}Auto-Submitted: auto-replied\r\n"), "unsubscribe");
        line.take(SUPPORT, "p00001@x.example", &program).await;
        let silent = mail(
            "p00001@x.example",
            "m6",
            &format!("{FAIL}X-Auto-Response-Suppress: All\r\n"),
            "unsubscribe",
        );
        line.take(SUPPORT, "p00001@x.example", &silent).await;
        line.take(SUPPORT, "nobody@x.example", &mail("nobody@x.example", "m7", FAIL, "unsubscribe")).await;
        assert_eq!(notices(&store).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn somebody_whose_question_was_acknowledged_is_asked_nevertheless() {
    on_every_store(|store| async move {
        queued_edition(&store, 1).await;
        let mut line = Receiving::start(&store).await;
        line.receiver.proving = Proving::Server("mx.news.example.org".into());
        let question = mail("p00000@x.example", "m1", FAIL, "Does it run on a phone?");
        line.take(SUPPORT, "p00000@x.example", &question).await;
        assert_eq!(notices(&store).await.len(), 1, "the acknowledgement");
        // As an answer in that conversation.
        let wish =
            mail("p00000@x.example", "m2", &format!("{FAIL}In-Reply-To: <m1@x.example>\r\n"), "unsubscribe");
        line.take(SUPPORT, "p00000@x.example", &wish).await;
        assert_eq!(notices(&store).await.len(), 2);
        assert_eq!(status(&store, "p00000@x.example").await, SubscriberStatus::Active);
    })
    .await;
}
