//! The octets of one connection: commands out, replies in, each step under a timer of its own (W97).
//!
//! While octets are written it also listens: a server that says 421 in the middle of a body and reads no further is understood at
//! once instead of at the end (W99). It knows how much of a body the other side may have, which decides between trying again and
//! doubt (W90, W100).

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::reply::{Replies, Said};

const NO_REPLY: &str = "no reply in time";

pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

pub(super) struct Link {
    stream: Stream,
    replies: Replies,
}

/// A body that did not leave whole.
pub(super) struct Stopped {
    /// Whether all of it was handed over, so that the peer may have it.
    pub whole: bool,
    /// What the peer said meanwhile.
    pub said: Option<Said>,
    pub why: String,
}

impl Link {
    pub fn new(stream: Stream) -> Link {
        Link { stream, replies: Replies::default() }
    }

    pub fn is_encrypted(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// The bare stream, to start TLS on it.
    ///
    /// # Errors
    /// When something was said already: it came before the encryption and must not be believed after it (W113).
    pub fn into_plain(self) -> Result<TcpStream, &'static str> {
        match self.stream {
            Stream::Plain(stream) if self.replies.is_empty() => Ok(stream),
            Stream::Plain(_) => Err("the server spoke between STARTTLS and the handshake"),
            Stream::Tls(_) => Err("TLS inside TLS"),
        }
    }

    /// Writes one command or several and reads the first reply, each within `limit`.
    ///
    /// # Errors
    /// When the connection is lost or nonsense comes. It is spent then.
    pub async fn ask(&mut self, command: &[u8], limit: Duration) -> Result<Said, String> {
        let asked = async {
            self.write(command, limit).await.map_err(|stopped| stopped.said.ok_or(stopped.why))?;
            self.read().await.map_err(Err)
        };
        match tokio::time::timeout(limit, asked).await {
            Ok(Ok(said)) | Ok(Err(Ok(said))) => Ok(said),
            Ok(Err(Err(why))) => Err(why),
            Err(_) => Err(NO_REPLY.to_owned()),
        }
    }

    /// Reads one reply within `limit`.
    ///
    /// # Errors
    /// As [`Link::ask`].
    pub async fn reply(&mut self, limit: Duration) -> Result<Said, String> {
        tokio::time::timeout(limit, self.read()).await.unwrap_or_else(|_| Err(NO_REPLY.to_owned()))
    }

    /// What the server said without being asked, if it did: before a command is written, so that no old reply is taken for the
    /// answer to a new command.
    ///
    /// # Errors
    /// When the connection is gone, or half a reply stands there.
    pub async fn unasked(&mut self) -> Result<Option<Said>, String> {
        let read = poll_fn(|cx| match self.poll_hear(cx) {
            Poll::Ready(read) => Poll::Ready(Some(read)),
            Poll::Pending => Poll::Ready(None),
        });
        if let Some(read) = read.await {
            read?;
        }
        if self.replies.is_empty() {
            return Ok(None);
        }
        match self.replies.take() {
            Ok(Some(said)) => Ok(Some(said)),
            Ok(None) => Err("the server said half a line without being asked".to_owned()),
            Err(garbage) => Err(garbage.to_string()),
        }
    }

    /// Writes all of it. `block`: how long the peer may take none of it.
    ///
    /// # Errors
    /// When the peer stops taking it, goes away, or says something before it has all.
    pub async fn write(&mut self, octets: &[u8], block: Duration) -> Result<(), Stopped> {
        let mut done = 0;
        loop {
            let whole = done == octets.len();
            let step = poll_fn(|cx| self.poll_step(cx, &octets[done..]));
            let stopped = |said, why| Stopped { whole, said, why };
            match tokio::time::timeout(block, step).await {
                Err(_) => return Err(stopped(None, "the server takes nothing more in time".to_owned())),
                Ok(Moved::Flushed) => return Ok(()),
                Ok(Moved::Wrote(count)) => done += count,
                Ok(Moved::Heard) => match self.replies.take() {
                    Ok(None) => {}
                    Ok(Some(said)) => return Err(stopped(Some(said), "interrupted".to_owned())),
                    Err(garbage) => return Err(stopped(None, garbage.to_string())),
                },
                // What the peer said before it closed may still be there, and says why.
                Ok(Moved::Lost(why)) => {
                    let last = tokio::time::timeout(block, self.read()).await;
                    return Err(stopped(last.ok().and_then(Result::ok), why));
                }
            }
        }
    }

    /// Says goodbye to the encryption too. A failure changes nothing.
    pub async fn close(mut self, limit: Duration) {
        let shut = poll_fn(|cx| match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        });
        drop(tokio::time::timeout(limit, shut).await);
    }

    async fn read(&mut self) -> Result<Said, String> {
        loop {
            if let Some(said) = self.replies.take().map_err(|garbage| garbage.to_string())? {
                return Ok(said);
            }
            poll_fn(|cx| self.poll_hear(cx)).await?;
        }
    }

    /// Writes and flushes as far as that goes; listens while it does not.
    fn poll_step(&mut self, cx: &mut Context<'_>, rest: &[u8]) -> Poll<Moved> {
        let wrote = if rest.is_empty() {
            self.poll_flush(cx).map(|flushed| flushed.map(|()| Moved::Flushed))
        } else {
            self.poll_write(cx, rest).map(|wrote| wrote.map(Moved::Wrote))
        };
        match wrote {
            Poll::Ready(Ok(Moved::Wrote(0))) => Poll::Ready(Moved::Lost("connection closed".to_owned())),
            Poll::Ready(Ok(moved)) => Poll::Ready(moved),
            Poll::Ready(Err(error)) => Poll::Ready(Moved::Lost(error.to_string())),
            Poll::Pending => match ready!(self.poll_hear(cx)) {
                Ok(()) => Poll::Ready(Moved::Heard),
                Err(why) => Poll::Ready(Moved::Lost(why)),
            },
        }
    }

    fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        let room = self.replies.room();
        let known = room.len();
        room.resize(room.capacity(), 0);
        let mut buffer = ReadBuf::new(&mut room[known..]);
        let read = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
        };
        let count = buffer.filled().len();
        room.truncate(known + count);
        match ready!(read) {
            Ok(()) if count > 0 => Poll::Ready(Ok(())),
            Ok(()) => Poll::Ready(Err("connection closed".to_owned())),
            Err(error) => Poll::Ready(Err(error.to_string())),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, octets),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, octets),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }
}

enum Moved {
    Wrote(usize),
    Flushed,
    Heard,
    Lost(String),
}
