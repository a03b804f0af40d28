//! A scripted SMTP peer: speaks the protocol, records exact bytes, and does in each state what the script says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Where the dialogue stands when the script is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Banner,
    Ehlo,
    Mail,
    Rcpt,
    Data,
    /// In the middle of the body.
    Body,
    Dot,
}

/// What the script is told. Numbers count from 1.
#[derive(Clone, Debug)]
pub struct Moment {
    pub stage: Stage,
    pub connection: u32,
    /// The message of this connection.
    pub message: u32,
}

/// What the peer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Do {
    /// The usual answer.
    Go,
    /// This reply, and on.
    Say(&'static str),
    /// This reply to RCPT, and yet a 354 to DATA, whose body is refused (RFC 2920 section 3.1).
    SayAndTake(&'static str),
    /// The usual thing, in these octets.
    SayBytes(&'static [u8]),
    /// This reply, then the connection ends.
    SayAndClose(&'static str),
    /// The connection ends.
    Close,
    /// Nothing more is said on this connection, which stays open.
    Stall,
}

/// A message that the peer accepted, or took and then lost the connection over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub connection: u32,
    pub from: String,
    pub to: String,
    pub bytes: Vec<u8>,
    pub acknowledged: bool,
}

type Script = dyn Fn(&Moment) -> Do + Send + Sync;

pub struct Peer {
    pub address: SocketAddr,
    taken: Arc<Mutex<Vec<Taken>>>,
    connections: Arc<Mutex<u32>>,
}

impl Peer {
    /// `extensions` are EHLO keywords beside the name.
    pub async fn start(
        extensions: &'static [&'static str],
        script: impl Fn(&Moment) -> Do + Send + Sync + 'static,
    ) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(Mutex::new(0));
        let script: Arc<Script> = Arc::new(script);
        let (recorded, counted) = (taken.clone(), connections.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = {
                    let mut count = counted.lock().unwrap();
                    *count += 1;
                    *count
                };
                let dialogue = Dialogue::new(stream, number, extensions, script.clone(), recorded.clone());
                tokio::spawn(async move {
                    // An error is the client's going away, which is what several tests are about.
                    let _ = dialogue.speak().await;
                });
            }
        });
        Peer { address, taken, connections }
    }

    /// A peer that takes everything.
    pub async fn willing() -> Peer {
        Peer::start(&["PIPELINING", "8BITMIME"], |_| Do::Go).await
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }

    /// How many messages it has, without a copy of them.
    pub fn count(&self) -> usize {
        self.taken.lock().unwrap().len()
    }

    pub fn connections(&self) -> u32 {
        *self.connections.lock().unwrap()
    }
}

struct Dialogue {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    number: u32,
    extensions: &'static [&'static str],
    script: Arc<Script>,
    taken: Arc<Mutex<Vec<Taken>>>,
    message: u32,
    from: String,
    recipient: String,
    /// MAIL was taken, so that RCPT may follow.
    open: bool,
    fooled: bool,
}

/// The connection ends here.
struct End;

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> End {
        End
    }
}

impl Dialogue {
    fn new(
        stream: TcpStream,
        number: u32,
        extensions: &'static [&'static str],
        script: Arc<Script>,
        taken: Arc<Mutex<Vec<Taken>>>,
    ) -> Dialogue {
        stream.set_nodelay(true).unwrap();
        let (reader, writer) = stream.into_split();
        Dialogue {
            reader: BufReader::new(reader),
            writer,
            number,
            extensions,
            script,
            taken,
            message: 1,
            from: String::new(),
            recipient: String::new(),
            open: false,
            fooled: false,
        }
    }

    async fn speak(mut self) -> Result<(), End> {
        self.react(Stage::Banner, "220 peer.example ESMTP").await?;
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let verb = line.split([' ', ':', '\r']).next().unwrap_or_default().to_uppercase();
            match verb.as_str() {
                "EHLO" | "LHLO" | "HELO" => {
                    let mut lines = vec!["250-peer.example".to_owned()];
                    lines.extend(self.extensions.iter().map(|keyword| format!("250-{keyword}")));
                    let last = lines.len() - 1;
                    lines[last].replace_range(3..4, " ");
                    let reply = lines.join("\r\n");
                    self.react(Stage::Ehlo, &reply).await?;
                }
                "MAIL" => {
                    self.from = between(&line);
                    self.recipient.clear();
                    self.open = self.react(Stage::Mail, "250 2.1.0 ok").await?;
                }
                "RCPT" if !self.open => self.say("503 5.5.1 MAIL first").await?,
                "RCPT" => {
                    self.recipient = between(&line);
                    let reaction = self.ask(Stage::Rcpt);
                    self.fooled = matches!(reaction, Do::SayAndTake(_));
                    if !self.carry_out(reaction, "250 2.1.5 ok").await? && !self.fooled {
                        self.recipient.clear();
                    }
                }
                "DATA" if self.recipient.is_empty() => self.say("503 5.5.1 no recipient").await?,
                "DATA" => {
                    if self.react(Stage::Data, "354 go").await? {
                        self.body().await?;
                    }
                }
                "RSET" => self.say("250 2.0.0 ok").await?,
                "QUIT" => {
                    self.say("221 2.0.0 bye").await?;
                    return Ok(());
                }
                _ => self.say("500 5.5.2 what").await?,
            }
        }
    }

    async fn body(&mut self) -> Result<(), End> {
        let mut bytes = Vec::new();
        let mut asked = false;
        loop {
            let mut line = Vec::new();
            if self.reader.read_until(b'\n', &mut line).await? == 0 {
                return Err(End);
            }
            if line == b".\r\n" {
                break;
            }
            let stuffed = line.first() == Some(&b'.');
            bytes.extend_from_slice(if stuffed { &line[1..] } else { &line });
            if !asked {
                asked = true;
                match self.ask(Stage::Body) {
                    Do::Close => return Err(End),
                    Do::Stall => self.stall().await,
                    _ => {}
                }
            }
        }
        let reaction = if self.fooled {
            assert!(bytes.is_empty(), "a body for nobody");
            Do::Say("554 5.5.1 no valid recipients")
        } else {
            self.ask(Stage::Dot)
        };
        let acknowledged = matches!(reaction, Do::Go);
        let refused = matches!(reaction, Do::Say(_) | Do::SayAndTake(_) | Do::SayAndClose(_));
        if !refused {
            let taken = Taken {
                connection: self.number,
                from: self.from.clone(),
                to: self.recipient.clone(),
                bytes,
                acknowledged,
            };
            self.taken.lock().unwrap().push(taken);
        }
        self.message += 1;
        self.recipient.clear();
        self.carry_out(reaction, "250 2.0.0 taken").await?;
        Ok(())
    }

    fn ask(&self, stage: Stage) -> Do {
        (self.script)(&Moment { stage, connection: self.number, message: self.message })
    }

    /// Answers whether the usual reply was given.
    async fn react(&mut self, stage: Stage, usual: &str) -> Result<bool, End> {
        let reaction = self.ask(stage);
        self.carry_out(reaction, usual).await
    }

    async fn carry_out(&mut self, reaction: Do, usual: &str) -> Result<bool, End> {
        match reaction {
            Do::Go => self.say(usual).await.map(|()| true),
            Do::Say(reply) | Do::SayAndTake(reply) => self.say(reply).await.map(|()| false),
            Do::SayBytes(reply) => {
                self.writer.write_all(reply).await?;
                Ok(true)
            }
            Do::SayAndClose(reply) => {
                self.say(reply).await?;
                Err(End)
            }
            Do::Close => Err(End),
            Do::Stall => {
                self.stall().await;
                Err(End)
            }
        }
    }

    async fn say(&mut self, reply: &str) -> Result<(), End> {
        self.writer.write_all(format!("{reply}\r\n").as_bytes()).await?;
        Ok(())
    }

    /// Reads and says nothing until the client goes away.
    async fn stall(&mut self) {
        let mut sink = Vec::new();
        while self.reader.read_until(b'\n', &mut sink).await.is_ok_and(|count| count > 0) {
            sink.clear();
        }
    }
}

fn between(line: &str) -> String {
    let inner = line.split_once('<').map_or("", |(_, rest)| rest);
    inner.split_once('>').map_or("", |(address, _)| address).to_owned()
}
