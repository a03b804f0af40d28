//! The LMTP listener (RFC 2033): an MTA hands messages over by TCP or Unix socket and hears for each recipient whether it is
//! stored. The dialogue is in `session`; here are sockets, time limits and shutdown.
//!
//! A message is stored for every recipient on its own, and 250 is said only after [`Deposit::deposit`] returned. A connection
//! that breaks before the final dot leaves nothing behind. Limits: sessions, idle time, time for one message, and one sum of
//! octets for the messages of all sessions: a message waits for its share before it is let in, and hears 452 where there is none.
//! No TLS and no login: listen on loopback or a socket file.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::session::{Dialogue, Step};
use super::{Deposit, ReceivedMail};
use crate::domain::inbound::InboundSource;
use crate::domain::settings::{Listen, LmtpSettings};
use crate::runtime::Shutdown;

const READ: usize = 16 * 1024;
/// A peer that does not take a short reply is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// After a failed accept, for example without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// RFC 5321 section 4.5.3.2.4 lets a client wait for two minutes for the reply to DATA.
const ROOM_WAIT: Duration = Duration::from_secs(60);
/// Octets that a message takes from the sum at a time.
const ROOM_UNIT: usize = 1024;
/// The least sum: many usual messages, or a few of the largest.
const ROOM: usize = 64 << 20;

/// How the listener behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LmtpConfig {
    /// What greeting and LHLO say.
    pub hostname: String,
    /// In octets.
    pub max_message: usize,
    /// One more hears 421.
    pub max_sessions: usize,
    /// RFC 5321 section 4.5.3.2.7 asks for 5 minutes.
    pub idle: Duration,
    /// For whoever has not said LHLO: scanners hold no place for long.
    pub greeting: Duration,
    /// From DATA to the final dot.
    pub message: Duration,
    /// Octets of messages that all sessions may have in memory together.
    pub room: usize,
}

impl LmtpConfig {
    pub fn new(hostname: impl Into<String>, max_message: usize) -> LmtpConfig {
        LmtpConfig {
            hostname: hostname.into(),
            max_message,
            max_sessions: 64,
            idle: Duration::from_secs(300),
            greeting: Duration::from_secs(30),
            message: Duration::from_secs(600),
            room: ROOM.max(max_message.saturating_mul(2)),
        }
    }
}

/// A bound socket.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// The address of a TCP listener, with the port that was given for port 0.
    pub fn local_addr(&self) -> Option<std::net::SocketAddr> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(_) => None,
        }
    }

    /// Binds. A socket file that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// When the address is taken or not ours to take.
    pub async fn bind(settings: &LmtpSettings) -> std::io::Result<Listener> {
        match &settings.listen {
            Listen::Tcp(address) => Ok(Listener::Tcp(TcpListener::bind(address).await?)),
            Listen::Unix(path) => {
                refuse_living(path).await?;
                // Under another name until its permissions are what they shall be: nobody connects before that.
                let new = path.with_extension(format!("{}.new", std::process::id()));
                match std::fs::remove_file(&new) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                let listener = UnixListener::bind(&new)?;
                std::fs::set_permissions(&new, PermissionsExt::from_mode(settings.mode))?;
                std::fs::rename(&new, path)?;
                Ok(Listener::Unix(listener))
            }
        }
    }
}

/// A socket file whose listener is gone may be replaced; one that is in use, and anything else, may not.
async fn refuse_living(path: &Path) -> std::io::Result<()> {
    use std::io::ErrorKind;
    let refused = |why: &str| Err(std::io::Error::new(ErrorKind::AddrInUse, why));
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(file) if !file.file_type().is_socket() => refused("there is a file that is no socket"),
        Ok(_) => match UnixStream::connect(path).await {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
            Err(error) => Err(error),
            Ok(_) => refused("somebody listens there already"),
        },
    }
}

/// Takes connections until shutdown is asked for, then lets messages in flight finish and says 421 to everybody else.
pub async fn serve<D: Deposit>(listener: Listener, config: LmtpConfig, deposit: Arc<D>, shutdown: Shutdown) {
    let config = Arc::new(config);
    let places = Arc::new(Semaphore::new(config.max_sessions));
    let room = Arc::new(Semaphore::new(config.room.div_ceil(ROOM_UNIT)));
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.wait() => break,
            Some(_) = sessions.join_next() => {}
            accepted = accept(&listener) => match accepted {
                Ok(stream) => {
                    let (config, deposit, shutdown) = (config.clone(), deposit.clone(), shutdown.clone());
                    let place = places.clone().try_acquire_owned().ok();
                    let room = Room { all: room.clone(), taken: None };
                    sessions.spawn(async move {
                        let mut session = Session { stream, config: &config, shutdown: &shutdown, room };
                        if let Err(error) = session.run(&*deposit, place.is_some()).await {
                            tracing::debug!(%error, "an LMTP session broke off");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "an LMTP connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while sessions.join_next().await.is_some() {}
}

/// What both kinds of socket are to a session.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn accept(listener: &Listener) -> std::io::Result<Box<dyn Stream>> {
    Ok(match listener {
        Listener::Tcp(listener) => {
            let (stream, _) = listener.accept().await?;
            // Replies are small; waiting for more of them would cost 40 ms each.
            // A peer that is gone already makes this fail, which is its own affair.
            stream.set_nodelay(true).ok();
            Box::new(stream)
        }
        Listener::Unix(listener) => Box::new(listener.accept().await?.0),
    })
}

/// A session's share of the memory.
struct Room {
    all: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// Waits for so many octets, not for ever.
    async fn take(&mut self, octets: usize) -> Option<usize> {
        let permit = timeout(ROOM_WAIT, self.all.clone().acquire_many_owned(units(octets))).await;
        self.taken = permit.ok()?.ok();
        self.taken.as_ref().map(|_| octets)
    }

    /// Adds so many octets if they are there.
    fn add(&mut self, octets: usize) -> Option<usize> {
        let Ok(more) = self.all.clone().try_acquire_many_owned(units(octets)) else {
            self.taken = None;
            return None;
        };
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        Some(octets)
    }

    fn free(&mut self) {
        self.taken = None;
    }
}

fn units(octets: usize) -> u32 {
    u32::try_from(octets.div_ceil(ROOM_UNIT)).unwrap_or(u32::MAX)
}

struct Session<'a> {
    stream: Box<dyn Stream>,
    config: &'a LmtpConfig,
    shutdown: &'a Shutdown,
    room: Room,
}

enum Waited {
    Octets(std::io::Result<usize>),
    Bye(&'static str),
}

impl Session<'_> {
    async fn run<D: Deposit>(&mut self, deposit: &D, has_place: bool) -> std::io::Result<()> {
        let mut dialogue = Dialogue::new(&self.config.hostname, self.config.max_message);
        if !has_place || self.shutdown.asked() {
            dialogue.out.clear();
            return self.bye(dialogue, "too many sessions, or shutting down").await;
        }
        let mut buffer = vec![0; READ];
        let mut message_ends = Instant::now();
        loop {
            self.flush(&mut dialogue.out).await?;
            let read = match self.wait(&mut buffer, &dialogue, message_ends).await {
                Waited::Octets(read) => read?,
                Waited::Bye(why) => return self.bye(dialogue, why).await,
            };
            if read == 0 {
                return Ok(());
            }
            let mut octets = &buffer[..read];
            loop {
                match dialogue.take(&mut octets, &|recipient: &str| deposit.accepts(recipient)) {
                    Step::More => break,
                    Step::Close => return self.flush(&mut dialogue.out).await,
                    Step::Room(wanted) => {
                        self.flush(&mut dialogue.out).await?;
                        let room = self.room.take(wanted).await;
                        message_ends = Instant::now() + self.config.message;
                        dialogue.room(room);
                    }
                    Step::MoreRoom(wanted) => dialogue.more_room(self.room.add(wanted)),
                    Step::Dropped => self.room.free(),
                    Step::Message { from, recipients, raw } => {
                        let stored = store(deposit, from, recipients, raw).await;
                        self.room.free();
                        dialogue.answered(stored);
                    }
                }
            }
        }
    }

    async fn bye(&mut self, mut dialogue: Dialogue<'_>, why: &str) -> std::io::Result<()> {
        dialogue.bye(why);
        self.flush(&mut dialogue.out).await
    }

    /// Waits for the peer; for shutdown too, unless a message is on its way.
    async fn wait(&mut self, buffer: &mut [u8], dialogue: &Dialogue<'_>, message_ends: Instant) -> Waited {
        let in_message = dialogue.in_message();
        let idle = if dialogue.greeted() { self.config.idle } else { self.config.greeting };
        let idle_ends = Instant::now() + idle;
        let ends = if in_message { idle_ends.min(message_ends) } else { idle_ends };
        tokio::select! {
            read = timeout_at(ends, self.stream.read(buffer)) => match read {
                Ok(read) => Waited::Octets(read),
                Err(_) if ends == idle_ends => Waited::Bye("idle for too long"),
                Err(_) => Waited::Bye("this message takes too long"),
            },
            () = self.shutdown.wait(), if !in_message => Waited::Bye("shutting down"),
        }
    }

    async fn flush(&mut self, out: &mut Vec<u8>) -> std::io::Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        let written = timeout(WRITE_TIMEOUT, async {
            self.stream.write_all(out).await?;
            self.stream.flush().await
        });
        written.await.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
        out.clear();
        Ok(())
    }
}

async fn store<D: Deposit>(deposit: &D, from: String, recipients: Vec<String>, raw: Vec<u8>) -> Vec<bool> {
    let raw = Arc::new(raw);
    let mut deposits = Vec::with_capacity(recipients.len());
    for recipient in recipients {
        deposits.push(deposit.deposit(ReceivedMail {
            envelope_from: Some(from.clone()),
            recipient,
            source: InboundSource::Lmtp,
            raw: raw.clone(),
        }));
    }
    // The last one has it for itself and need not copy it.
    drop(raw);
    join_all(deposits).await.into_iter().map(|stored| stored.is_ok()).collect()
}
