//! One reader's answer, sent to the daemon's own door as an MTA would: LMTP (RFC 2033), to the Reply-To of the mail.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::app::Failure;
use crate::mail::parse;

const WORDS: &str = "Hello,\r\n\r\nthanks for the piece on shrinking models. Does the script work for convolutions \
                     as well,\r\nor is it meant for linear layers only?\r\n\r\nYours, a reader\r\n";

/// Answers the mail that `from` got, and waits until the daemon has acknowledged it.
pub async fn send(door: SocketAddr, from: &str, mail: &[u8]) -> Result<(), Failure> {
    let original = parse::parse(mail);
    let field = |name: &str| original.field(name).unwrap_or_default().trim().to_owned();
    let to = field("reply-to");
    let message = format!(
        "From: A Reader <{from}>\r\nTo: {to}\r\nSubject: Re: {}\r\nMessage-ID: <answer-1@readers.example>\r\n\
         In-Reply-To: {id}\r\nReferences: {id}\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\n{WORDS}\r\nExample News wrote:\r\n> {}\r\n> \r\n",
        original.subject,
        original.subject,
        id = field("message-id"),
    );
    let lost = |error: std::io::Error| Failure::Unreachable(format!("LMTP at {door}: {error}"));
    let stream = TcpStream::connect(door).await.map_err(lost)?;
    let (reader, mut writer) = stream.into_split();
    let mut replies = BufReader::new(reader).lines();
    let dialogue = [
        (String::new(), "220"),
        ("LHLO readers.example\r\n".to_owned(), "250"),
        (format!("MAIL FROM:<{from}>\r\n"), "250"),
        (format!("RCPT TO:<{to}>\r\n"), "250"),
        ("DATA\r\n".to_owned(), "354"),
        (format!("{message}.\r\n"), "250"),
        ("QUIT\r\n".to_owned(), "221"),
    ];
    for (command, expected) in dialogue {
        writer.write_all(command.as_bytes()).await.map_err(lost)?;
        loop {
            let reply = replies.next_line().await.map_err(lost)?.unwrap_or_default();
            if !reply.starts_with(expected) {
                return Err(Failure::Ours(format!("LMTP answered `{reply}` to `{}`", command.trim_end())));
            }
            if reply.as_bytes().get(3) != Some(&b'-') {
                break;
            }
        }
    }
    Ok(())
}
