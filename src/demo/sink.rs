//! A recording SMTP server: takes everything, writes each message to disk before it says 250.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::mail::parse;

/// Far more than a mail of ours; what a stranger on loopback sends beyond it ends the connection.
const MESSAGE_MAX: u64 = 4 << 20;

/// One recorded message.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The return path.
    pub from: String,
    pub to: String,
    pub bytes: Vec<u8>,
    pub path: PathBuf,
}

impl Recorded {
    /// The sample people carry their tier in their address.
    pub fn tier(&self) -> &str {
        self.to.split('-').next().unwrap_or_default()
    }

    pub fn subject(&self) -> String {
        parse::parse(&self.bytes).subject
    }
}

/// The server. Mail to readers and mail to staff and editors have a folder each.
pub struct Sink {
    pub address: SocketAddr,
    mails: PathBuf,
    others: PathBuf,
    recorded: Mutex<Vec<Recorded>>,
}

impl Sink {
    /// Listens on a free port of loopback.
    pub async fn start(mails: &Path, others: &Path) -> std::io::Result<Arc<Sink>> {
        std::fs::create_dir_all(mails)?;
        std::fs::create_dir_all(others)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let sink = Arc::new(Sink {
            address: listener.local_addr()?,
            mails: mails.to_owned(),
            others: others.to_owned(),
            recorded: Mutex::default(),
        });
        let serving = sink.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sink = serving.clone();
                tokio::spawn(async move {
                    if let Err(error) = sink.serve(stream).await {
                        tracing::debug!(%error, "the recording server lost a connection");
                    }
                });
            }
        });
        Ok(sink)
    }

    /// Mails to readers.
    pub fn mails(&self) -> Vec<Recorded> {
        self.lock().iter().filter(|mail| mail.path.starts_with(&self.mails)).cloned().collect()
    }

    /// The mails to this address, oldest first.
    pub fn to(&self, address: &str) -> Vec<Recorded> {
        self.lock().iter().filter(|mail| mail.to == address).cloned().collect()
    }

    /// The first mail to a reader of this tier.
    pub fn of_tier(&self, tier: &str) -> Option<Recorded> {
        self.mails().into_iter().find(|mail| mail.tier() == tier)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Recorded>> {
        // A list to which whole messages are pushed is valid after any panic.
        self.recorded.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        writer.write_all(b"220 sink.example ESMTP\r\n").await?;
        let (mut from, mut to) = (String::new(), String::new());
        let mut line = String::new();
        loop {
            line.clear();
            if (&mut reader).take(2048).read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            let reply = match verb.as_str() {
                "EHLO" => "250-sink.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
                "MAIL" => {
                    from = path(&line);
                    "250 2.1.0 ok\r\n"
                }
                "RSET" | "NOOP" => "250 2.0.0 ok\r\n",
                "RCPT" => {
                    to = path(&line);
                    "250 2.1.5 ok\r\n"
                }
                "DATA" => {
                    writer.write_all(b"354 go on\r\n").await?;
                    let bytes = message(&mut reader).await?;
                    self.record(&from, &to, bytes)?;
                    "250 2.0.0 recorded\r\n"
                }
                "QUIT" => {
                    writer.write_all(b"221 2.0.0 bye\r\n").await?;
                    return Ok(());
                }
                _ => "500 5.5.2 not known here\r\n",
            };
            writer.write_all(reply.as_bytes()).await?;
        }
    }

    fn record(&self, from: &str, to: &str, bytes: Vec<u8>) -> std::io::Result<()> {
        let folder = if to.ends_with("@readers.example") { &self.mails } else { &self.others };
        let safe: String = to
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "@.-".contains(c) { c } else { '_' })
            .collect();
        let mut recorded = self.lock();
        let again = recorded.iter().filter(|mail| mail.to == to).count();
        let name = if again == 0 { format!("{safe}.eml") } else { format!("{safe}.{}.eml", again + 1) };
        let path = folder.join(name);
        std::fs::write(&path, &bytes)?;
        recorded.push(Recorded { from: from.to_owned(), to: to.to_owned(), bytes, path });
        Ok(())
    }
}

/// The address between the angle brackets of a command.
fn path(line: &str) -> String {
    line.split(['<', '>']).nth(1).unwrap_or_default().to_owned()
}

/// Reads to the lone dot and takes the stuffing out (RFC 5321 section 4.5.2).
async fn message(reader: &mut (impl AsyncBufReadExt + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut limited = reader.take(MESSAGE_MAX);
    let mut bytes = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if limited.read_until(b'\n', &mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        match line.strip_prefix(b".") {
            Some(b"\r\n") => return Ok(bytes),
            Some(rest) => bytes.extend_from_slice(rest),
            None => bytes.extend_from_slice(&line),
        }
    }
}
