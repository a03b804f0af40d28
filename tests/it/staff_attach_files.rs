//! Files with an answer on the desk's page: the rules of mail, and bad input is answered in the page with the words in the box.

use tidings::domain::thread::PostKind;

use crate::staff_answers::png;
use crate::support::house::{House, MIRA};
use crate::support::public::parsed;
use crate::support::stores::{TestStore, on_every_store};

type Files<'a> = [(&'a str, &'a [u8])];

const ANA: &str = "ana@readers.example";
const ANSWER: [(&str, &str); 2] = [("do", "answer"), ("text", "See the picture.")];

#[tokio::test]
async fn files_go_with_an_answer_clean_and_once() {
    on_every_store(|store| async move {
        let house = House::start(&store).await;
        let number = house.thread(ANA, Some("yearly"), "Does it fit?", "Does it fit?").await;
        let mira = house.sign_in(MIRA).await;
        let page = house.get(&mira, &format!("/desk/{number}")).await.body;
        assert!(page.contains("enctype=\"multipart/form-data\"") && page.contains("type=\"file\""), "{page}");
        let files: [(&str, &[u8]); 3] = [
            ("shot one.png", &png()),
            ("run.log", b"12 of 12"),
            ("mira.vcf", b"BEGIN:VCARD\r\nFN:Mira Stein"),
        ];
        let done = house.press_with(&mira, number, &ANSWER, &files).await;
        assert_eq!(done.code, 303, "{}", done.body);
        let mails = house.mails().await;
        let mail = mails.iter().find(|mail| mail.to == ANA).expect("an answer");
        let message = parsed(mail);
        use mail_parser::MimeHeaders;
        let names: Vec<_> = message.attachments().map(|part| part.attachment_name().unwrap()).collect();
        assert_eq!(names, ["shot-one.png", "run.log"]);
        let whole = String::from_utf8_lossy(&mail.bytes);
        assert!(
            !whole.contains("Mira")
                && !message.attachments().any(|part| {
                    part.contents().windows(4).any(|octets| octets == b"Mira" || octets == b"tEXt")
                })
        );
        let post = house.posts(number).await.pop().unwrap();
        assert_eq!((post.kind, post.files.len()), (PostKind::Staff, 2));
        let page = house.get(&mira, &format!("/desk/{number}")).await.body;
        assert!(page.contains("shot-one.png"), "{page}");
        let file = house.get(&mira, &format!("/desk/{number}/files/{}", post.files[1].id)).await;
        assert_eq!((file.code, file.body.as_str()), (200, "12 of 12"));
        // None chosen, as a browser says it.
        let done =
            house.press_with(&mira, number, &[("do", "answer"), ("text", "Words.")], &[("", b"")]).await;
        assert_eq!((done.code, house.posts(number).await.len()), (303, 3), "{}", done.body);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_go_is_said_in_the_page() {
    on_every_store(|store| async move {
        let house = House::start(&store).await;
        let number = house.thread(ANA, Some("yearly"), "Does it fit?", "Does it fit?").await;
        let mira = house.sign_in(MIRA).await;
        let large = vec![b'x'; (10 << 20) + 1];
        let many: Vec<(&str, &[u8])> = vec![("a.txt", b"1"); 11];
        let cases: [(&Files, &str); 6] = [
            (&[("a.txt", &large)], "its files are larger than 10 MB together"),
            (&many, "it has more than 10 files"),
            (&[("a.txt", b"")], "the file a.txt is empty"),
            (&[("x.log", b"by mira@staff.example.net")], "the file x.log holds"),
            (&[("tom_berg.png", &png())], "the file tom_berg.png holds"),
            (&[("a.pdf", b"%PDF-1.7"), ("<b>.png", &png())], "a.pdf cannot go with it"),
        ];
        for (files, why) in cases {
            let answer = house.press_with(&mira, number, &ANSWER, files).await;
            assert_eq!(answer.code, 422, "{why}: {}", answer.head);
            assert!(answer.body.contains(why), "{why}: {}", answer.body);
            assert!(answer.body.contains(">\nSee the picture.</textarea>"), "{why}: {}", answer.body);
            assert!(answer.body.contains("Choose the files again"), "{why}: {}", answer.body);
            assert!(!answer.body.contains("<b>.png"), "{}", answer.body);
        }
        assert_eq!(house.posts(number).await.len(), 1, "nothing was sent");
        // Who insists sends it without what cannot go.
        let insist = [("do", "insist"), ("text", "See the picture.")];
        let files: [(&str, &[u8]); 2] = [("a.pdf", b"%PDF-1.7"), ("b.png", &png())];
        assert_eq!(house.press_with(&mira, number, &insist, &files).await.code, 303);
        let post = house.posts(number).await.pop().unwrap();
        assert_eq!(post.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["b.png"]);
        let note = [("do", "note"), ("text", "For us.")];
        let answer = house.press_with(&mira, number, &note, &[("b.png", &png())]).await;
        assert!(answer.code == 422 && answer.body.contains("a note holds words only"), "{}", answer.body);
        assert_eq!(house.press_with(&mira, number, &note, &[("", b"")]).await.code, 303);
    })
    .await;
}

#[tokio::test]
async fn who_is_not_signed_in_uploads_nothing_and_keeps_their_words() {
    let test = TestStore::sqlite().await;
    let house = House::start(&test.store).await;
    let number = house.thread(ANA, Some("yearly"), "Does it fit?", "Does it fit?").await;
    let mira = house.sign_in(MIRA).await;
    let seen = house.get(&mira, &format!("/desk/{number}")).await;
    assert_eq!(seen.code, 200);
    let body = "--b\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nMy words.\r\n--b\r\n\
        Content-Disposition: form-data; name=\"files\"; filename=\"a.png\"\r\n\r\nx\r\n--b--\r\n";
    let kind = "Content-Type: multipart/form-data; boundary=b\r\n";
    let answer = house.ask("POST", &format!("/desk/{number}"), kind, body).await;
    assert_eq!(answer.code, 401);
    assert!(answer.body.contains(">\nMy words.</textarea>"), "{}", answer.body);
    // Cut off, or forged.
    let cut = house.ask("POST", &format!("/desk/{number}"), &format!("{mira}{kind}"), &body[..80]).await;
    assert_eq!(cut.code, 400);
    let forged = house.ask("POST", &format!("/desk/{number}"), &format!("{mira}{kind}"), body).await;
    assert_eq!(forged.code, 403);
    assert_eq!(house.posts(number).await.len(), 1);
    test.remove().await;
}
