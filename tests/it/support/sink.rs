//! An SMTP server that takes everything and keeps of each message only who got it and a digest: for audiences of tens
//! of thousands.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, Debug)]
pub struct Kept {
    pub to: String,
    pub digest: [u8; 32],
}

#[derive(Clone)]
pub struct Sink {
    pub address: SocketAddr,
    kept: Arc<Mutex<Vec<Kept>>>,
}

impl Sink {
    pub async fn start() -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sink = Sink { address: listener.local_addr().unwrap(), kept: Arc::default() };
        let kept = sink.kept.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = kept.clone();
                // The client's going away is what some tests are about.
                tokio::spawn(async move { drop(speak(stream, &kept).await) });
            }
        });
        sink
    }

    pub fn count(&self) -> usize {
        self.kept.lock().unwrap().len()
    }

    pub fn kept(&self) -> Vec<Kept> {
        self.kept.lock().unwrap().clone()
    }

    /// How many mails beyond the first one everybody got; each is the very same message, and all of `people` have one.
    pub fn doubles(&self, people: &[String]) -> usize {
        let kept = self.kept();
        let mut first: HashMap<&str, [u8; 32]> = HashMap::new();
        for mail in &kept {
            let digest = first.entry(&mail.to).or_insert(mail.digest);
            assert_eq!(*digest, mail.digest, "a double of {} differs", mail.to);
        }
        let missed = people.iter().filter(|person| !first.contains_key(person.as_str())).count();
        assert_eq!((missed, first.len()), (0, people.len()), "everybody, and nobody else");
        kept.len() - first.len()
    }
}

async fn speak(stream: TcpStream, kept: &Mutex<Vec<Kept>>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::with_capacity(1 << 16, reader);
    writer.write_all(b"220 sink.example ESMTP\r\n").await?;
    let mut to = String::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line);
        let verb = text.split([' ', ':', '\r']).next().unwrap_or_default().to_uppercase();
        let answer: &[u8] = match verb.as_str() {
            "EHLO" => b"250-sink.example\r\n250 PIPELINING\r\n",
            "RCPT" => {
                let inner = text.split_once('<').map_or("", |(_, rest)| rest);
                to = inner.split_once('>').map_or("", |(address, _)| address).to_owned();
                b"250 ok\r\n"
            }
            "DATA" => {
                writer.write_all(b"354 go\r\n").await?;
                let mut hash = Sha256::new();
                loop {
                    line.clear();
                    if reader.read_until(b'\n', &mut line).await? == 0 {
                        return Ok(());
                    }
                    if line == b".\r\n" {
                        break;
                    }
                    hash.update(&line);
                }
                let digest = hash.finalize().into();
                kept.lock().unwrap().push(Kept { to: to.clone(), digest });
                b"250 taken\r\n"
            }
            "QUIT" => {
                writer.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => b"250 ok\r\n",
        };
        writer.write_all(answer).await?;
    }
}
