//! An answer of the desk that comes back: whoever wrote it hears of it, and the reader's mailbox is known to be gone.

use tidings::domain::settings::OnUncertain;
use tidings::domain::verdict::Verdict;
use tidings::mail::parse::parse;
use tidings::store::suppressions;
use tidings::tasks::receive::Proving;

use crate::support::clock::TUESDAY;
use crate::support::peer::Peer;
use crate::support::receiving::{Receiving, message};
use crate::support::sending::{Sending, queued_edition};
use crate::support::stores::on_every_store;

const ANA: &str = "p00000@x.example";
const MIRA: &str = "mira@staff.example.net";
const PASS: &str =
    "Authentication-Results: mx.news.example.org; dmarc=pass header.from=staff.example.net\r\n";

#[tokio::test]
async fn its_author_is_told_once_and_nobody_else() {
    on_every_store(|store| async move {
        queued_edition(&store, 1).await;
        let peer = Peer::willing().await;
        let mut line = Receiving::start(&store).await;
        line.receiver.proving = Proving::Server("mx.news.example.org".into());
        let sending = Sending::start(&store, &peer, OnUncertain::Resend).await;
        sending.drain().await;
        let newest = |to: &str| peer.taken().into_iter().rfind(|mail| mail.to == to).expect("a mail");
        let reply_to = |bytes: &[u8]| parse(bytes).field("reply-to").unwrap().to_owned();

        let asked = message(ANA, "m1@x.example", "", "Does it fit?");
        line.take(&reply_to(&newest(ANA).bytes), ANA, &asked).await;
        sending.drain().await;
        let notice = newest(MIRA);
        let to = reply_to(&notice.bytes);
        let answer = format!("{PASS}From: Mira <{MIRA}>\r\nTo: <{to}>\r\nSubject: Re: x\r\nMessage-ID: <s1@staff.example.net>\r\n\r\nIt does.\r\n");
        let row = line.take(&to, MIRA, answer.as_bytes()).await;
        assert_eq!(row.verdict, Some(Verdict::StaffReply), "{}", row.reason);
        sending.drain().await;
        let answered = newest(ANA);
        assert!(String::from_utf8_lossy(&answered.bytes).contains("It does."));

        let before = peer.taken().len();
        let report = |subject: &str| {
            format!(
                "From: MAILER-DAEMON@relay.example.net\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n\
                 Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n\
                 --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; relay.example.net\r\n\r\n\
                 Final-Recipient: rfc822; {ANA}\r\nAction: failed\r\nStatus: 5.1.1\r\n\
                 Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n\r\n--b--\r\n"
            )
        };
        let row = line.take_at(&answered.from, "", report("Undelivered").as_bytes(), TUESDAY).await;
        assert_eq!(row.verdict, Some(Verdict::BounceHard), "{}", row.reason);
        assert!(row.thread.is_some(), "it belongs to the conversation");
        line.take_at(&answered.from, "", report("Undelivered again").as_bytes(), TUESDAY).await;
        sending.drain().await;
        let told = peer.taken();
        assert_eq!(told.len(), before + 1);
        assert_eq!(told[before].to, MIRA);
        let text = String::from_utf8_lossy(&told[before].bytes).into_owned();
        assert!(text.contains("did not arrive") && text.contains("5.1.1"), "{text}");
        let listed = suppressions::list(&mut store.read().await.unwrap()).await.unwrap();
        assert_eq!(listed.iter().map(|one| one.address.as_str()).collect::<Vec<_>>(), [ANA]);
    })
    .await;
}
