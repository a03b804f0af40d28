//! One connection to an IMAP server: commands out, responses in, each step under a timer, and never more octets than were asked for.
//!
//! The library reads a response whole before it gives it away, and makes room for a literal as soon as the server has named its
//! length. So every command says how much its answer may have, and a literal that goes beyond that is seen before the library
//! sees it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_imap::Session;
use async_imap::imap_proto::{MailboxDatum, RequestId, Response, ResponseCode, Status};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::client::TlsStream;

use super::ImapProblem;

/// For a command to leave, and for each response to come.
pub(super) const STEP: Duration = Duration::from_secs(60);
/// What a server may say beside what was asked for.
pub(super) const CHATTER: usize = 256 * 1024;

#[derive(Debug)]
pub(super) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A socket that gives so many octets and no more.
#[derive(Debug)]
pub(super) struct Bounded {
    socket: Socket,
    left: usize,
    announced: Announced,
    /// Octets of the literal that is passing by.
    literal: usize,
}

/// How much of `{123}` and a line end, which announce a literal, has passed by.
#[derive(Clone, Copy, Debug, Default)]
enum Announced {
    #[default]
    Nothing,
    Digits(usize),
    Closed(usize),
    Return(usize),
}

impl Bounded {
    pub fn new(socket: Socket) -> Bounded {
        Bounded { socket, left: CHATTER, announced: Announced::Nothing, literal: 0 }
    }

    /// Looks at what has come. Answers whether no literal goes beyond what is left.
    fn fits(&mut self, mut octets: &[u8]) -> bool {
        while let Some((octet, rest)) = octets.split_first() {
            if self.literal > 0 {
                let passed = self.literal.min(octets.len());
                self.literal -= passed;
                octets = &octets[passed..];
                continue;
            }
            self.announced = match (self.announced, octet) {
                (_, b'{') => Announced::Digits(0),
                (Announced::Digits(length), digit @ b'0'..=b'9') => {
                    Announced::Digits(length.saturating_mul(10).saturating_add(usize::from(digit - b'0')))
                }
                (Announced::Digits(length), b'}') => Announced::Closed(length),
                (Announced::Closed(length), b'\r') => Announced::Return(length),
                (Announced::Return(length), b'\n') => {
                    if length > self.left.saturating_add(rest.len()) {
                        return false;
                    }
                    self.literal = length;
                    Announced::Nothing
                }
                _ => Announced::Nothing,
            };
            octets = rest;
        }
        true
    }

    /// From now on the server may say so many octets.
    pub fn allow(&mut self, octets: usize) {
        self.left = octets;
    }

    pub fn into_socket(self) -> Socket {
        self.socket
    }
}

impl AsyncRead for Bounded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        let room = buf.remaining().min(this.left);
        // The library's buffer is initialised already, so this costs nothing.
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(room));
        ready!(match &mut this.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_read(cx, &mut part),
            Socket::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, &mut part),
        })?;
        let read = part.filled().len();
        this.left -= read;
        if !this.fits(part.filled()) {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().socket {
            Socket::Plain(stream) => Pin::new(stream).poll_write(cx, octets),
            Socket::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

/// A logged-in connection.
#[derive(Debug)]
pub(super) struct Wire(Session<Bounded>);

impl Wire {
    pub fn new(session: Session<Bounded>) -> Wire {
        Wire(session)
    }

    /// Sends one command and shows every response to `hear`, the last one too. `octets`: what all of them may have together, beside
    /// some chatter.
    ///
    /// # Errors
    /// When the connection is lost, the server says no, or what it says is not IMAP or too much. After anything but a no the
    /// connection is spent.
    pub async fn ask(
        &mut self,
        command: &str,
        octets: usize,
        mut hear: impl FnMut(&Response<'_>),
    ) -> Result<(), ImapProblem> {
        self.0.get_mut().allow(CHATTER.saturating_add(octets));
        let tag = self.say(command).await?;
        loop {
            let said = read(timeout(STEP, self.0.read_response()).await)?;
            let response = said.parsed();
            hear(response);
            match response {
                Response::Done { tag: of, status, outcome } if *of == tag => {
                    return done(status, outcome.code.as_ref(), outcome.information.as_deref());
                }
                Response::Data { status: Status::Bye, outcome } => {
                    return Err(bye(outcome.information.as_deref()));
                }
                _ => {}
            }
        }
    }

    /// IDLE (RFC 2177) until new mail is told of or `longest` is over, whatever the server says to keep the connection alive.
    /// Answers whether the server takes part; if not, nothing was waited for.
    ///
    /// # Errors
    /// As [`Wire::ask`].
    pub async fn idle(&mut self, longest: Duration) -> Result<bool, ImapProblem> {
        self.0.get_mut().allow(CHATTER);
        let ends = Instant::now() + longest;
        let tag = self.say("IDLE").await?;
        let (mut told, mut idling) = (false, false);
        while !(told && idling) {
            // Mail that came between the last look and this command is told of before the go-ahead.
            let until = if idling { ends } else { Instant::now() + STEP };
            let said = match timeout_at(until, self.0.read_response()).await {
                Err(_) if idling => break,
                said => read(said)?,
            };
            match said.parsed() {
                Response::Continue(_) => idling = true,
                Response::MailboxData(MailboxDatum::Exists(_)) => told = true,
                Response::Data { status: Status::Bye, outcome } => {
                    return Err(bye(outcome.information.as_deref()));
                }
                Response::Done { tag: of, .. } if *of == tag => return Ok(false),
                _ => {}
            }
        }
        let written = timeout(STEP, self.0.run_command_untagged("DONE")).await;
        written.map_err(|_| ImapProblem::slow())?.map_err(ImapProblem::of)?;
        loop {
            let said = read(timeout(STEP, self.0.read_response()).await)?;
            if matches!(said.parsed(), Response::Done { tag: of, .. } if *of == tag) {
                return Ok(true);
            }
        }
    }

    async fn say(&mut self, command: &str) -> Result<RequestId, ImapProblem> {
        let said = timeout(STEP, self.0.run_command(command)).await;
        said.map_err(|_| ImapProblem::slow())?.map_err(ImapProblem::of)
    }
}

/// One response, where a timer ran beside it.
pub(super) fn read<T>(
    read: Result<io::Result<Option<T>>, tokio::time::error::Elapsed>,
) -> Result<T, ImapProblem> {
    match read {
        Ok(Ok(Some(response))) => Ok(response),
        Ok(Ok(None)) => Err(ImapProblem::Lost("the server closed the connection".to_owned())),
        Ok(Err(error)) => Err(ImapProblem::of(error.into())),
        Err(_) => Err(ImapProblem::slow()),
    }
}

fn done(status: &Status, code: Option<&ResponseCode<'_>>, text: Option<&str>) -> Result<(), ImapProblem> {
    let text = text.unwrap_or("no reason given").trim().to_owned();
    match status {
        Status::Ok => Ok(()),
        _ if matches!(code, Some(ResponseCode::TryCreate)) => Err(ImapProblem::NoFolder(text)),
        _ => Err(ImapProblem::No(text)),
    }
}

fn bye(text: Option<&str>) -> ImapProblem {
    ImapProblem::Lost(format!("the server said goodbye: {}", text.unwrap_or("no reason given").trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_literal_that_is_too_long_is_seen_where_it_is_announced() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut bounded = Bounded::new(Socket::Plain(stream));
        bounded.allow(1_000);
        let fine: [&[u8]; 5] = [
            b"* 1 FETCH (BODY[] {300}\r\n",
            &[b'{'; 298],
            // Within the literal it is anybody's text.
            b"9}",
            b"\r\n* OK {9999}, which is no end of a line\r\n{99",
            b"9}\r",
        ];
        for octets in fine {
            assert!(bounded.fits(octets), "{}", String::from_utf8_lossy(octets));
        }
        assert!(bounded.fits(b"\n"));
        assert_eq!(bounded.literal, 999);
        bounded.literal = 0;
        assert!(!bounded.fits(b"BODY[] {1001}\r\n"));
        assert!(!bounded.fits(b"{99999999999999999999999999}\r\nx"));
    }
}
