//! The LMTP listener (RFC 2033): an MTA hands messages over by TCP or Unix socket and hears for each recipient whether it is
//! stored. The dialogue is in `session`; here are sockets, time limits and shutdown.
//!
//! A message is stored for every recipient on its own, and 250 is said only after [`Deposit::deposit`] returned. A connection
//! that breaks before the final dot leaves nothing behind. Limits: sessions, idle time, and one message per session in memory; so
//! the worst case is `max_sessions` times `max_message`. No TLS and no login: listen on loopback or a socket file.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::session::{Dialogue, Step};
use super::{Deposit, ReceivedMail};
use crate::domain::inbound::InboundSource;
use crate::domain::settings::Listen;
use crate::runtime::Shutdown;

const READ: usize = 16 * 1024;
/// A peer that does not take a short reply is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// After a failed accept, for example without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
}

impl LmtpConfig {
    pub fn new(hostname: impl Into<String>, max_message: usize) -> LmtpConfig {
        LmtpConfig {
            hostname: hostname.into(),
            max_message,
            max_sessions: 64,
            idle: Duration::from_secs(300),
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
    pub async fn bind(listen: &Listen) -> std::io::Result<Listener> {
        match listen {
            Listen::Tcp(address) => Ok(Listener::Tcp(TcpListener::bind(address).await?)),
            Listen::Unix(path) => {
                remove_stale(path).await?;
                Ok(Listener::Unix(UnixListener::bind(path)?))
            }
        }
    }
}

/// Removes a socket file whose listener is gone; anything else stays and makes the bind fail.
async fn remove_stale(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket
        && UnixStream::connect(path).await.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
    {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// Takes connections until shutdown is asked for, then lets messages in flight finish and says 421 to everybody else.
pub async fn serve<D: Deposit>(listener: Listener, config: LmtpConfig, deposit: Arc<D>, shutdown: Shutdown) {
    let config = Arc::new(config);
    let places = Arc::new(Semaphore::new(config.max_sessions));
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
                    sessions.spawn(async move {
                        let busy = place.is_none();
                        let ended = session(stream, &config, &*deposit, &shutdown, busy).await;
                        if let Err(error) = ended {
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

async fn session<D: Deposit>(
    mut stream: Box<dyn Stream>,
    config: &LmtpConfig,
    deposit: &D,
    shutdown: &Shutdown,
    busy: bool,
) -> std::io::Result<()> {
    let mut dialogue = Dialogue::new(&config.hostname, config.max_message);
    if busy || shutdown.asked() {
        dialogue.out.clear();
        dialogue.bye("too many sessions, or shutting down");
        return flush(&mut stream, &mut dialogue.out).await;
    }
    let mut buffer = vec![0; READ];
    loop {
        flush(&mut stream, &mut dialogue.out).await?;
        let read = match wait(&mut stream, &mut buffer, &dialogue, config, shutdown).await {
            Waited::Octets(read) => read?,
            Waited::Idle => {
                dialogue.bye("idle for too long");
                return flush(&mut stream, &mut dialogue.out).await;
            }
            Waited::Shutdown => {
                dialogue.bye("shutting down");
                return flush(&mut stream, &mut dialogue.out).await;
            }
        };
        if read == 0 {
            return Ok(());
        }
        let mut octets = &buffer[..read];
        loop {
            match dialogue.take(&mut octets, &|recipient: &str| deposit.accepts(recipient)) {
                Step::More => break,
                Step::Close => return flush(&mut stream, &mut dialogue.out).await,
                Step::Message { from, recipients, raw } => {
                    let stored = store(deposit, from, recipients, raw).await;
                    dialogue.answered(stored);
                }
            }
        }
    }
}

enum Waited {
    Octets(std::io::Result<usize>),
    Idle,
    Shutdown,
}

/// Waits for the peer; for shutdown too, unless a message is on its way.
async fn wait(
    stream: &mut Box<dyn Stream>,
    buffer: &mut [u8],
    dialogue: &Dialogue<'_>,
    config: &LmtpConfig,
    shutdown: &Shutdown,
) -> Waited {
    let in_message = dialogue.in_message();
    tokio::select! {
        read = timeout(config.idle, stream.read(buffer)) => read.map_or(Waited::Idle, Waited::Octets),
        () = shutdown.wait(), if !in_message => Waited::Shutdown,
    }
}

async fn store<D: Deposit>(deposit: &D, from: String, recipients: Vec<String>, raw: Vec<u8>) -> Vec<bool> {
    let raw: Arc<[u8]> = raw.into();
    let deposits = recipients.into_iter().map(|recipient| {
        deposit.deposit(ReceivedMail {
            envelope_from: Some(from.clone()),
            recipient,
            source: InboundSource::Lmtp,
            raw: raw.clone(),
        })
    });
    join_all(deposits).await.into_iter().map(|stored| stored.is_ok()).collect()
}

async fn flush(stream: &mut Box<dyn Stream>, out: &mut Vec<u8>) -> std::io::Result<()> {
    if out.is_empty() {
        return Ok(());
    }
    let written = timeout(WRITE_TIMEOUT, async {
        stream.write_all(out).await?;
        stream.flush().await
    });
    written.await.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    out.clear();
    Ok(())
}
