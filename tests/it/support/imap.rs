//! A scripted IMAP server: one mailbox in memory, and a script that may answer any command itself, badly.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tidings::domain::settings::{AfterImap, ImapSettings, RelaySecurity};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What is done with a command instead of the usual.
pub enum Do {
    /// What a server does.
    Go,
    /// Says this. `TAG` becomes the command's tag.
    Say(Vec<u8>),
    /// Says this and closes the connection.
    Close(Vec<u8>),
}

/// The mailbox.
pub struct Held {
    pub messages: BTreeMap<u32, Vec<u8>>,
    pub validity: u32,
    pub next: u32,
    pub capabilities: &'static str,
    /// Folders that COPY and MOVE find.
    pub folders: Vec<String>,
}

impl Held {
    /// These messages under UIDs 1, 2, 3 ...
    pub fn of(messages: &[Vec<u8>]) -> Held {
        let messages: BTreeMap<u32, Vec<u8>> = (1..).zip(messages.iter().cloned()).collect();
        let next = u32::try_from(messages.len()).unwrap() + 1;
        Held { messages, validity: 7, next, capabilities: "IMAP4rev1", folders: Vec::new() }
    }
}

type Script = dyn FnMut(usize, &str) -> Do + Send;

struct Shared {
    held: Held,
    commands: Vec<String>,
    script: Box<Script>,
}

pub struct ImapPeer {
    pub address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl ImapPeer {
    /// The script is asked with the number of the connection, from 1, and each command without its tag.
    pub async fn start(held: Held, script: impl FnMut(usize, &str) -> Do + Send + 'static) -> ImapPeer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared { held, commands: Vec::new(), script: Box::new(script) }));
        let serving = shared.clone();
        tokio::spawn(async move {
            for connection in 1.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                tokio::spawn(serve(stream, connection, serving.clone()));
            }
        });
        ImapPeer { address, shared }
    }

    /// What it was asked, without tags.
    pub fn commands(&self) -> Vec<String> {
        self.shared.lock().unwrap().commands.clone()
    }

    /// Commands that begin like this.
    pub fn count(&self, start: &str) -> usize {
        self.commands().iter().filter(|command| command.starts_with(start)).count()
    }

    pub fn change(&self, change: impl FnOnce(&mut Held)) {
        change(&mut self.shared.lock().unwrap().held);
    }

    pub fn left(&self) -> Vec<u32> {
        self.shared.lock().unwrap().held.messages.keys().copied().collect()
    }

    pub fn settings(&self, after: AfterImap) -> ImapSettings {
        ImapSettings {
            security: RelaySecurity::None,
            host: "127.0.0.1".into(),
            port: self.address.port(),
            username: "support".into(),
            password: "a long secret".to_owned().into(),
            ca: None,
            mailbox: "INBOX".into(),
            after,
            backlog: true,
            poll: std::time::Duration::from_millis(1),
        }
    }
}

async fn serve(stream: TcpStream, connection: usize, shared: Arc<Mutex<Shared>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"* OK here\r\n").await?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let (tag, command) = line.trim_end().split_once(' ').unwrap_or(("*", ""));
        let (said, close) = {
            let mut shared = shared.lock().unwrap();
            shared.commands.push(command.to_owned());
            match (shared.script)(connection, command) {
                Do::Go => (shared.held.answer(command), false),
                Do::Say(said) => (said, false),
                Do::Close(said) => (said, true),
            }
        };
        let said = with_tag(said, tag);
        stream.write_all(&said).await?;
        if close || command == "LOGOUT" {
            return stream.shutdown().await;
        }
    }
}

/// The tag stands in the last line, after any message.
fn with_tag(mut said: Vec<u8>, tag: &str) -> Vec<u8> {
    let last = said.len().saturating_sub(2);
    let start = said[..last].iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
    if said[start..].starts_with(b"TAG ") {
        said.splice(start..start + 3, tag.bytes());
    }
    said
}

impl Held {
    /// What a server says.
    pub fn answer(&mut self, command: &str) -> Vec<u8> {
        let words: Vec<&str> = command.split(' ').collect();
        let mut said = Vec::new();
        match words.as_slice() {
            ["CAPABILITY"] => said.extend(format!("* CAPABILITY {}\r\n", self.capabilities).bytes()),
            ["SELECT" | "EXAMINE", ..] => said.extend(
                format!(
                    "* {} EXISTS\r\n* OK [UIDVALIDITY {}] ok\r\n* OK [UIDNEXT {}] ok\r\n",
                    self.messages.len(),
                    self.validity,
                    self.next
                )
                .bytes(),
            ),
            ["UID", "SEARCH", "UID", range, ..] => {
                let found: Vec<String> = self.of_set(range).iter().map(u32::to_string).collect();
                said.extend(format!("* SEARCH {}\r\n", found.join(" ")).bytes());
            }
            ["UID", "FETCH", set, ..] => {
                let (from, most) = partial(command);
                for uid in self.of_set(set) {
                    let message = &self.messages[&uid];
                    if command.contains("RFC822.SIZE") {
                        let size = message.len();
                        said.extend(format!("* 1 FETCH (UID {uid} RFC822.SIZE {size})\r\n").bytes());
                        continue;
                    }
                    let start = from.min(message.len());
                    let body = &message[start..message.len().min(start.saturating_add(most))];
                    let (origin, section) = match most {
                        usize::MAX => (String::new(), ""),
                        _ => (format!("<{from}>"), if command.contains("HEADER") { "HEADER" } else { "" }),
                    };
                    let length = body.len();
                    said.extend(
                        format!("* 1 FETCH (UID {uid} BODY[{section}]{origin} {{{length}}}\r\n").bytes(),
                    );
                    said.extend(body);
                    said.extend(b")\r\n");
                }
            }
            ["UID", verb @ ("COPY" | "MOVE"), set, folder @ ..] => {
                if !self.folders.contains(&folder.join(" ").trim_matches('"').to_owned()) {
                    return b"TAG NO [TRYCREATE] no such folder\r\n".to_vec();
                }
                if *verb == "MOVE" {
                    self.of_set(set).iter().for_each(|uid| drop(self.messages.remove(uid)));
                }
            }
            ["UID", "EXPUNGE", set] => {
                self.of_set(set).iter().for_each(|uid| drop(self.messages.remove(uid)));
            }
            ["CREATE", folder @ ..] => self.folders.push(folder.join(" ").trim_matches('"').to_owned()),
            _ => {}
        }
        said.extend(b"TAG OK done\r\n");
        said
    }

    fn of_set(&self, set: &str) -> Vec<u32> {
        let last = self.messages.keys().last().copied().unwrap_or(0);
        let number = |text: &str| if text == "*" { last } else { text.parse().unwrap() };
        let within = |uid: &u32| {
            set.split(',').any(|part| {
                let (a, b) = part.split_once(':').unwrap_or((part, part));
                let (a, b) = (number(a), number(b));
                (a.min(b)..=a.max(b)).contains(uid)
            })
        };
        self.messages.keys().copied().filter(within).collect()
    }
}

/// `<from.most>` of a FETCH.
fn partial(command: &str) -> (usize, usize) {
    let inner = command.split_once("]<").and_then(|(_, rest)| rest.split_once('>'));
    let numbers = inner.and_then(|(inner, _)| inner.split_once('.'));
    numbers.map_or((0, usize::MAX), |(from, most)| (from.parse().unwrap(), most.parse().unwrap()))
}
