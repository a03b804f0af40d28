//! What people and programs send to the daemon in the demo, handed to its own door as an MTA would: LMTP (RFC 2033).

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::sample::AUTHSERV_ID;
use super::sink::Recorded;
use crate::app::Failure;
use crate::mail::parse::{Parsed, parse};

const QUESTION: &str = "Hello,\r\n\r\nthanks for the piece on shrinking models. Does the script work for convolutions \
                        as well,\r\nor is it meant for linear layers only?\r\n\r\nYours, a reader";
const ANSWER: &str = "Hello,\r\n\r\nyes, it works for convolutions too. Fold the kernel into one axis first, so that each \
                      row\r\nis one output channel.\r\n\r\nMira";

/// A message with its envelope.
pub struct Letter {
    from: String,
    to: String,
    raw: String,
}

/// A reader answers the mail that they got.
pub fn question(mail: &Recorded) -> Letter {
    let original = parse(&mail.bytes);
    let to = field(&original, "reply-to");
    let raw = format!(
        "From: A Reader <{}>\r\n{}Message-ID: <answer-1@readers.example>\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\n{QUESTION}\r\n\r\nExample News wrote:\r\n> {}\r\n> \r\n",
        mail.to,
        answering(&original, &to),
        original.subject,
    );
    Letter { from: mail.to.clone(), to, raw }
}

/// A member of staff answers the notice in their own program, with its signature and the whole notice quoted; the server that took it
/// in found that its signature passes.
pub fn answer(notice: &Recorded) -> Letter {
    let original = parse(&notice.bytes);
    let to = field(&original, "reply-to");
    let domain = notice.to.rsplit('@').next().unwrap_or_default();
    let quoted: String = original.text.lines().map(|line| format!("> {line}\r\n")).collect();
    let raw = format!(
        "Authentication-Results: {AUTHSERV_ID}; dkim=pass header.d={domain}\r\nFrom: Mira Stein <{from}>\r\n{}\
         Message-ID: <answer-2@laptop.{domain}>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{ANSWER}\r\n\r\n\
         -- \r\nMira Stein, {from}\r\n\r\nExample News Support wrote:\r\n{quoted}",
        answering(&original, &to),
        from = notice.to,
    );
    Letter { from: notice.to.clone(), to, raw }
}

/// The server of a reader's domain reports that there is no such mailbox (RFC 3464), to the return path of the mail.
pub fn bounce(mail: &Recorded) -> Letter {
    let original = parse(&mail.bytes);
    let to = mail.from.clone();
    let raw = format!(
        "From: Mail Delivery System <MAILER-DAEMON@readers.example>\r\nTo: {to}\r\nSubject: Undelivered Mail Returned to Sender\r\n\
         Message-ID: <bounce-1@readers.example>\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"report\"\r\n\r\n\
         --report\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nYour message could not be delivered.\r\n\r\n\
         --report\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.readers.example\r\n\r\n\
         Final-Recipient: rfc822; {recipient}\r\nAction: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.readers.example\r\n\
         Diagnostic-Code: smtp; 550 5.1.1 <{recipient}>: no such mailbox\r\n\r\n\
         --report\r\nContent-Type: text/rfc822-headers\r\n\r\nTo: {recipient}\r\nMessage-ID: <{id}>\r\n\r\n--report--\r\n",
        recipient = mail.to,
        id = original.message_id.unwrap_or_default(),
    );
    Letter { from: String::new(), to, raw }
}

/// A reader leaves by mail, to the address that List-Unsubscribe names (RFC 2369); their program writes it.
///
/// # Errors
/// When the mail names none.
pub fn leaving(mail: &Recorded) -> Result<Letter, Failure> {
    let original = parse(&mail.bytes);
    let listed = field(&original, "list-unsubscribe");
    let to = listed.split_once("mailto:").and_then(|(_, rest)| rest.split(['?', '>']).next());
    let to = to.ok_or_else(|| Failure::Ours("a mail names no address for leaving".into()))?.to_owned();
    let raw = format!(
        "From: {from}\r\nTo: {to}\r\nSubject: unsubscribe\r\nMessage-ID: <leave-1@readers.example>\r\n\
         Auto-Submitted: auto-replied\r\n\r\nunsubscribe\r\n",
        from = mail.to
    );
    Ok(Letter { from: mail.to.clone(), to, raw })
}

fn field(mail: &Parsed, name: &str) -> String {
    mail.field(name).unwrap_or_default().trim().to_owned()
}

/// To, Subject and the ids of an answer.
fn answering(original: &Parsed, to: &str) -> String {
    let id = original.message_id.as_deref().unwrap_or_default();
    format!("To: {to}\r\nSubject: Re: {}\r\nIn-Reply-To: <{id}>\r\nReferences: <{id}>\r\n", original.subject)
}

impl Letter {
    /// Hands it over, and waits until the daemon has acknowledged it.
    ///
    /// # Errors
    /// When the door is shut or says anything else.
    pub async fn deliver(&self, door: SocketAddr) -> Result<(), Failure> {
        let lost = |error: std::io::Error| Failure::Unreachable(format!("LMTP at {door}: {error}"));
        let stream = TcpStream::connect(door).await.map_err(lost)?;
        let (reader, mut writer) = stream.into_split();
        let mut replies = BufReader::new(reader).lines();
        let dialogue = [
            (String::new(), "220"),
            ("LHLO readers.example\r\n".to_owned(), "250"),
            (format!("MAIL FROM:<{}>\r\n", self.from), "250"),
            (format!("RCPT TO:<{}>\r\n", self.to), "250"),
            ("DATA\r\n".to_owned(), "354"),
            (format!("{}.\r\n", self.raw.replace("\r\n.", "\r\n..")), "250"),
            ("QUIT\r\n".to_owned(), "221"),
        ];
        for (command, expected) in dialogue {
            writer.write_all(command.as_bytes()).await.map_err(lost)?;
            loop {
                let reply = replies.next_line().await.map_err(lost)?.unwrap_or_default();
                if !reply.starts_with(expected) {
                    let said = command.lines().next().unwrap_or_default();
                    return Err(Failure::Ours(format!("LMTP answered `{reply}` to `{said}`")));
                }
                if reply.as_bytes().get(3) != Some(&b'-') {
                    break;
                }
            }
        }
        Ok(())
    }
}
