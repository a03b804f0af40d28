//! One SMTP connection, driven command by command over lettre's low level, each command under a timer of its own (W97).
//!
//! lettre's pool is not used: it has no command timers, is not safe to cancel, and reconnects on every refusal. Here a refusal
//! is followed by RSET and the connection goes on; after a lost connection, a timer or a 421 the session is spent and its owner
//! opens another. MAIL, RCPT and DATA travel in one write where the server offers PIPELINING, and body and final dot in one.
//!
//! Known gap: plain connections only.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::commands::{Data, Ehlo, Quit, Rset};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::domain::address::Address;
use crate::domain::delivery::{Outcome, Phase, Reply};
use crate::domain::settings::RelaySettings;

/// How long each step may take; the defaults are the minimums of RFC 5321 section 4.5.3.2.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Ours to choose.
    pub connect: Duration,
    pub banner: Duration,
    pub mail: Duration,
    pub rcpt: Duration,
    pub data: Duration,
    /// From the first octet of the body to the reply to the final dot.
    pub dot: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let minutes = |count: u64| Duration::from_secs(count * 60);
        Timeouts {
            connect: Duration::from_secs(30),
            banner: minutes(5),
            mail: minutes(5),
            rcpt: minutes(5),
            data: minutes(2),
            dot: minutes(10),
        }
    }
}

/// What became of one message on this connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    Made(Outcome),
    /// The server had enough of this connection, after at least one message and before this one: nothing was tried (W116).
    Recycled(String),
}

/// Why no connection could be had. It says nothing about any message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{relay}: {why}")]
pub struct ConnectProblem {
    pub relay: String,
    pub why: String,
}

/// An open connection after EHLO.
pub struct Session {
    connection: AsyncSmtpConnection,
    written: Arc<AtomicU64>,
    timeouts: Timeouts,
    pipelining: bool,
    size_limit: Option<u64>,
    accepted: u32,
    usable: bool,
}

/// How one command ended.
enum Answer {
    Positive(Reply),
    Negative(Reply),
    Lost(String),
}

impl Session {
    /// Connects and says EHLO.
    ///
    /// # Errors
    /// When the relay cannot be reached, is silent, or refuses us.
    pub async fn connect(relay: &RelaySettings, timeouts: Timeouts) -> Result<Session, ConnectProblem> {
        let failed = |why: String| ConnectProblem { relay: relay.name.clone(), why };
        let stream =
            limited(timeouts.connect, TcpStream::connect((relay.host.as_str(), relay.port)))
                .await
                .map_err(|why| failed(format!("no connection to {}:{}: {why}", relay.host, relay.port)))?;
        // With Nagle's algorithm each small command waits for the peer's delayed acknowledgement: 43 ms a message.
        stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
        let written = Arc::new(AtomicU64::new(0));
        let counted = Counted { stream, written: written.clone() };
        let hello = ClientId::Domain(relay.hello.clone());
        let mut connection =
            limited(timeouts.banner, AsyncSmtpConnection::connect_with_transport(Box::new(counted), &hello))
                .await
                .map_err(|why| failed(format!("no greeting: {why}")))?;
        // lettre keeps only the keywords that it knows, so EHLO is asked again for the others.
        let offered = limited(timeouts.banner, connection.command(Ehlo::new(hello)))
            .await
            .map_err(|why| failed(format!("EHLO: {why}")))?;
        Ok(Session {
            pipelining: offers(&offered, "PIPELINING").is_some(),
            size_limit: offers(&offered, "SIZE")
                .and_then(|limit| limit.parse().ok())
                .filter(|limit| *limit > 0),
            connection,
            written,
            timeouts,
            accepted: 0,
            usable: true,
        })
    }

    /// Whether another message may be tried on this connection.
    pub fn usable(&self) -> bool {
        self.usable
    }

    /// Messages that the peer accepted on this connection.
    pub fn accepted(&self) -> u32 {
        self.accepted
    }

    /// Tries one message. `message` is complete: headers, body, CRLF line ends.
    pub async fn send(&mut self, from: &str, to: &Address, message: &str) -> Attempt {
        if let Err(outcome) = self.refuse_unsendable(from, to, message) {
            return Attempt::Made(outcome);
        }
        let mail = match self.size_limit {
            Some(_) => format!("MAIL FROM:<{from}> SIZE={}\r\n", message.len()),
            None => format!("MAIL FROM:<{from}>\r\n"),
        };
        let rcpt = format!("RCPT TO:<{to}>\r\n");
        let (data, failed) = if self.pipelining {
            self.envelope_at_once(mail, &rcpt).await
        } else {
            self.envelope(mail, rcpt).await
        };
        if let Some(failed) = failed {
            return self.give_way(failed, data).await;
        }
        let outcome = self.body(message).await;
        if let Outcome::Accepted(_) = outcome {
            self.accepted += 1;
        }
        Attempt::Made(outcome)
    }

    /// Ends the connection politely. A failure changes nothing (W89).
    pub async fn quit(mut self) {
        if self.usable {
            let goodbye = limited(Duration::from_secs(5), self.connection.command(Quit)).await;
            drop(goodbye);
        }
    }

    fn refuse_unsendable(&self, from: &str, to: &Address, message: &str) -> Result<(), Outcome> {
        if to.needs_smtputf8() {
            return Err(Outcome::Refused(Reply {
                code: 550,
                enhanced: Some("5.6.7".into()),
                text: "not sent: the address needs SMTPUTF8, which this version does not speak".into(),
                phase: Phase::Rcpt,
            }));
        }
        if let Some(limit) = self.size_limit.filter(|limit| message.len() as u64 > *limit) {
            let why = format!("the message has {} octets, the relay takes {limit}", message.len());
            return Err(Outcome::Unsendable(why));
        }
        let bad_sender = |c: char| c.is_control() || "<> ".contains(c);
        if from.contains(bad_sender) || !from.is_ascii() {
            return Err(Outcome::Unsendable("the envelope sender is not an address".into()));
        }
        wire_ready(message).map_err(|why| Outcome::Unsendable(why.into()))
    }

    /// MAIL, RCPT, DATA one after the other. Answers whether DATA was opened, and what failed.
    async fn envelope(&mut self, mail: String, rcpt: String) -> (bool, Option<(Phase, Answer)>) {
        let steps = [(Phase::Mail, mail), (Phase::Rcpt, rcpt), (Phase::Data, Data.to_string())];
        for (phase, command) in steps {
            match self.command(command, phase).await {
                Answer::Positive(_) => {}
                failed => return (false, Some((phase, failed))),
            }
        }
        (true, None)
    }

    /// The same in one write (RFC 2920). Every reply is read even after a refusal, or the next message would be given this
    /// one's answers.
    async fn envelope_at_once(&mut self, mail: String, rcpt: &str) -> (bool, Option<(Phase, Answer)>) {
        let first = self.command(format!("{mail}{rcpt}DATA\r\n"), Phase::Mail).await;
        if let Answer::Lost(_) = first {
            return (false, Some((Phase::Mail, first)));
        }
        let mut failed = negative(Phase::Mail, first);
        let mut open = false;
        for phase in [Phase::Rcpt, Phase::Data] {
            let answer = self.answer(phase).await;
            match answer {
                Answer::Lost(_) => return (false, Some(failed.unwrap_or((phase, answer)))),
                Answer::Positive(_) => open = phase == Phase::Data,
                Answer::Negative(_) => failed = failed.or(negative(phase, answer)),
            }
        }
        (open, failed)
    }

    /// Ends a transaction that was refused, and says what that means.
    async fn give_way(&mut self, (phase, answer): (Phase, Answer), data_open: bool) -> Attempt {
        let reply = match answer {
            Answer::Lost(why) => {
                self.usable = false;
                let recycled = phase == Phase::Mail && self.accepted > 0;
                let why = format!("{why} ({})", phase.as_str());
                return if recycled {
                    Attempt::Recycled(why)
                } else {
                    Attempt::Made(Outcome::Unreachable(phase, why))
                };
            }
            Answer::Positive(reply) | Answer::Negative(reply) => reply,
        };
        if reply.code == 421 {
            self.usable = false;
            if phase == Phase::Mail && self.accepted > 0 {
                return Attempt::Recycled(reply.to_string());
            }
        } else if data_open {
            // Refused, yet asked for the body: a lone dot, whose refusal ends the transaction (W109).
            let ended = self.command(".\r\n", Phase::Dot).await;
            self.usable &= matches!(ended, Answer::Negative(_));
        } else {
            let reset = self.command(Rset, Phase::Mail).await;
            self.usable &= matches!(reset, Answer::Positive(_));
        }
        Attempt::Made(if reply.code >= 500 { Outcome::Refused(reply) } else { Outcome::Deferred(reply) })
    }

    async fn body(&mut self, message: &str) -> Outcome {
        let stuffed = dot_stuffed(message);
        let before = self.written.load(Ordering::Relaxed);
        let size = stuffed.len() as u64;
        match self.command(stuffed, Phase::Dot).await {
            Answer::Positive(reply) => Outcome::Accepted(reply),
            Answer::Negative(reply) => {
                self.usable &= reply.code != 421;
                if reply.code >= 500 { Outcome::Refused(reply) } else { Outcome::Deferred(reply) }
            }
            Answer::Lost(why) => {
                self.usable = false;
                // Only when the operating system took the dot may the peer have the message (W90, W100).
                if self.written.load(Ordering::Relaxed) - before < size {
                    Outcome::Unreachable(Phase::Dot, format!("{why} (in the body)"))
                } else {
                    Outcome::Unknown(format!("{why} (after the final dot)"))
                }
            }
        }
    }

    async fn command(&mut self, command: impl Display, phase: Phase) -> Answer {
        let limit = self.limit(phase);
        read(tokio::time::timeout(limit, self.connection.command(command)).await, phase)
    }

    async fn answer(&mut self, phase: Phase) -> Answer {
        let limit = self.limit(phase);
        read(tokio::time::timeout(limit, self.connection.read_response()).await, phase)
    }

    fn limit(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Connect | Phase::Hello | Phase::StartTls | Phase::Auth => self.timeouts.banner,
            Phase::Mail => self.timeouts.mail,
            Phase::Rcpt => self.timeouts.rcpt,
            Phase::Data => self.timeouts.data,
            Phase::Dot => self.timeouts.dot,
        }
    }
}

fn negative(phase: Phase, answer: Answer) -> Option<(Phase, Answer)> {
    matches!(answer, Answer::Negative(_)).then_some((phase, answer))
}

fn read(result: Result<Result<Response, SmtpError>, tokio::time::error::Elapsed>, phase: Phase) -> Answer {
    let error = match result {
        Err(_) => return Answer::Lost("no reply in time".into()),
        Ok(Ok(response)) => {
            let text = response.message().collect::<Vec<_>>().join(" ");
            return Answer::Positive(reply(u16::from(response.code()), text, phase));
        }
        Ok(Err(error)) => error,
    };
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    match error.status() {
        Some(code) => Answer::Negative(reply(u16::from(code), source.replace('\n', " "), phase)),
        None => Answer::Lost(if source.is_empty() { error.to_string() } else { source }),
    }
}

fn reply(code: u16, text: String, phase: Phase) -> Reply {
    Reply { code, enhanced: enhanced_code(&text), text, phase }
}

/// RFC 3463: only where the text starts with it, with one published variant that writes a `#` before it (W94).
fn enhanced_code(text: &str) -> Option<String> {
    let word = text.split_whitespace().next()?;
    let word = word.strip_prefix('#').unwrap_or(word);
    let mut parts = word.split('.');
    let class = parts.next().is_some_and(|part| matches!(part, "2" | "4" | "5"));
    let number = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let rest = parts.next().is_some_and(number) && parts.next().is_some_and(number);
    (class && rest && parts.next().is_none()).then(|| word.to_owned())
}

/// The parameter of an EHLO keyword, empty where it has none; `None` where it is not offered.
fn offers(response: &Response, keyword: &str) -> Option<String> {
    response.message().find_map(|line| {
        let mut words = line.split_whitespace();
        let offered = words.next().is_some_and(|word| word.eq_ignore_ascii_case(keyword));
        offered.then(|| words.next().unwrap_or_default().to_owned())
    })
}

/// What must hold of the bytes whoever made them: nothing in them may end the message early (W1, W2, W5).
fn wire_ready(message: &str) -> Result<(), &'static str> {
    let bytes = message.as_bytes();
    if !bytes.is_ascii() || memchr::memchr(0, bytes).is_some() {
        return Err("the message is not 7-bit");
    }
    if !message.ends_with("\r\n") {
        return Err("the message does not end in a line end");
    }
    if !only_crlf(bytes) {
        return Err("the message holds a line end that is not CRLF");
    }
    Ok(())
}

/// Whether CR and LF stand only side by side. Sums of octets without a branch, in blocks that cannot overflow one, become
/// vector instructions; going from line end to line end took 5 us a message.
fn only_crlf(bytes: &[u8]) -> bool {
    let mut after_cr = 0_u8;
    for block in bytes.chunks(128) {
        let inner =
            block.windows(2).map(|pair| u8::from((pair[0] == b'\r') != (pair[1] == b'\n'))).sum::<u8>();
        let first = u8::from(block[0] == b'\n');
        if inner > 0 || first != after_cr {
            return false;
        }
        after_cr = u8::from(block[block.len() - 1] == b'\r');
    }
    after_cr == 0
}

/// RFC 5321 section 4.5.2, with the final dot. Our own composer never starts a line with a dot; other bytes may.
fn dot_stuffed(message: &str) -> String {
    let mut out = String::with_capacity(message.len() + 8);
    if message.starts_with('.') {
        out.push('.');
    }
    let mut from = 0;
    for at in memchr::memmem::find_iter(message.as_bytes(), b"\r\n.") {
        out.push_str(&message[from..at + 3]);
        out.push('.');
        from = at + 3;
    }
    out.push_str(&message[from..]);
    out.push_str(".\r\n");
    out
}

/// `Ok` within the limit, else why not, as text.
async fn limited<T, E: Display>(
    limit: Duration,
    future: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match tokio::time::timeout(limit, future).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("nothing within {} s", limit.as_secs())),
    }
}

/// A stream that counts what the operating system took, to tell a message that was cut short from one in doubt, and that reads
/// replies as ASCII.
#[derive(Debug)]
struct Counted {
    stream: TcpStream,
    written: Arc<AtomicU64>,
}

impl AsyncTokioStream for Counted {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        // A reply is decided by its code; words that are not UTF-8 would make lettre lose the reply with the words (W85).
        for byte in &mut buf.filled_mut()[before..] {
            if !byte.is_ascii() {
                *byte = b'?';
            }
        }
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(count)) = &polled {
            self.written.fetch_add(*count as u64, Ordering::Relaxed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w3_dots_are_stuffed() {
        assert_eq!(dot_stuffed(".\r\n..\r\n.a\r\na.\r\n.z\r\n"), "..\r\n...\r\n..a\r\na.\r\n..z\r\n.\r\n");
        assert_eq!(dot_stuffed("a\r\n"), "a\r\n.\r\n");
    }

    #[test]
    fn w2_nothing_can_end_the_message_early() {
        for bad in ["a\n.\r\n", "a\r.\r\n", "\n", "a\n\r\n", "a\0\r\n", "\u{e9}\r\n", "a", "a\r"] {
            assert!(wire_ready(bad).is_err(), "{bad:?}");
        }
        assert_eq!(wire_ready("a\r\n\r\nb\r\n"), Ok(()));
        // Wherever the blocks of the check end.
        for length in 120..140 {
            let line = "x".repeat(length);
            assert_eq!(wire_ready(&format!("{line}\r\nb\r\n")), Ok(()), "{length}");
            for bad in ["\n", "\r", "\n\r", "\r\r\n", "\r\n\n"] {
                assert!(wire_ready(&format!("{line}{bad}b\r\n")).is_err(), "{bad:?} behind {length}");
            }
        }
    }

    #[test]
    fn w94_enhanced_codes_stand_first_or_not_at_all() {
        let code = |text| enhanced_code(text);
        assert_eq!(code("5.1.1 no such user").as_deref(), Some("5.1.1"));
        assert_eq!(code("#5.1.0 Address rejected").as_deref(), Some("5.1.0"));
        assert_eq!(code("Host 5.1.1.1 refused"), None);
        assert_eq!(code("5.1.1.1 refused"), None);
        assert_eq!(code("3.1.1 what"), None);
        assert_eq!(code(""), None);
    }
}
