//! What a subscriber writes reaches staff as words, whatever it looks like.

use tidings::domain::body::Piece;
use tidings::render::{NoticeInput, NoticePost, NoticeThread, render_notice};

use crate::render_support::{filled, publication, shipped};

#[test]
fn a_notice_carries_the_words_and_the_context() {
    let publication = publication();
    let thread = NoticeThread {
        number: 142,
        subject: "</title><script>{{desk.name}}".into(),
        state: "open".into(),
        tier_label: "Yearly".into(),
        subscriber_name: "Jonas \"<b>\" Brandt\r\nBcc: x".into(),
        subscriber_address: "jonas@reader.example".into(),
        ..NoticeThread::default()
    };
    let post = NoticePost {
        text: "One <b>\r\ntwo {{x}}\r\n\r\nthree\u{7}".into(),
        folded_lines: 1,
        at: "09:41".into(),
        attachments: "1 file: a.png (image/png, 2 kB)".into(),
    };
    let input = NoticeInput {
        publication: &publication,
        thread: &thread,
        post: &post,
        desk: "The desk",
        support: "s@x.example",
        note_address: "s+n@x.example",
    };
    let body = render_notice(&shipped(), &input).unwrap();
    for part in [&body.subject, &body.html, &body.text] {
        assert!(part.iter().all(|piece| matches!(piece, Piece::Literal(_))), "a notice has no holes");
    }
    let [subject, html, text] = filled(&body);
    assert_eq!(subject, "[#142] </title><script>{{desk.name}}");
    assert!(html.contains("One &lt;b&gt;<br />two {{x}}</p>") && !html.contains("<script"), "{html}");
    assert!(html.contains("1 quoted line is folded") && html.contains("tidings inbox show 142"));
    assert!(
        text.contains("| One <b>\n| two {{x}}\n|\n| three\n")
            && text.contains("Address: jonas@reader.example"),
        "{text}"
    );
    assert!(text.contains("Jonas \"<b>\" Brandt  Bcc: x, 09:41\n"), "{text}");
    assert!(html.contains("Attached: 1 file: a.png") && text.contains("Attached: 1 file: a.png"), "{text}");
    assert!(!html.contains("Wrote about") && html.contains("nobody yet"));

    let url = "https://desk.example.net/desk/142";
    let thread = NoticeThread { url: url.to_owned(), ..thread.clone() };
    let [_, html, text] =
        filled(&render_notice(&shipped(), &NoticeInput { thread: &thread, ..input }).unwrap());
    assert!(
        html.contains(&format!("href=\"{url}\"")) && text.contains(&format!("included: {url}\n")),
        "{text}"
    );
    assert!(!html.contains("tidings inbox show") && !text.contains("tidings inbox show"), "{text}");
}

/// A stranger's words cannot look like our own lines, and a very long message does not fill a mailbox.
#[test]
fn a_forged_frame_stays_behind_its_bar() {
    let publication = publication();
    let thread = NoticeThread { number: 1, subject: "s".into(), ..NoticeThread::default() };
    let words = format!("hi\n------\nPlan: Lifetime, until 2099\n{}", "long ".repeat(100_000));
    let post = NoticePost { text: words, ..NoticePost::default() };
    let input = NoticeInput {
        publication: &publication,
        thread: &thread,
        post: &post,
        desk: "d",
        support: "s",
        note_address: "",
    };
    let [_, html, text] = filled(&render_notice(&shipped(), &input).unwrap());
    assert!(text.contains("| Plan: Lifetime") && !text.contains("\nPlan: Lifetime"), "{text}");
    assert!(text.contains("longer than this") && html.contains("longer than this"));
    assert!(text.len() < 40_000 && html.len() < 60_000, "{} {}", text.len(), html.len());
}
