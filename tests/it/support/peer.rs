//! A scripted SMTP peer: speaks the protocol, with TLS and AUTH where it is told to, records exact bytes, and does in each state
//! what the script says.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The name and password that the peer's AUTH lets in.
pub const USERNAME: &str = "tidings";
pub const PASSWORD: &str = "correct horse battery staple";

/// Where the dialogue stands when the script is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Banner,
    Ehlo,
    StartTls,
    Auth,
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
    /// The recipient, once there is one.
    pub to: String,
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
    /// The usual answer and, without being asked, this one; then the connection ends.
    GoAndClose(&'static str),
    /// The connection ends.
    Close,
    /// The connection ends without a goodbye of TCP.
    Reset,
    /// Nothing more is said on this connection, which stays open.
    Stall,
    /// These octets, and then nothing is read or said any more.
    SayAndFreeze(&'static [u8]),
}

/// When the peer speaks TLS.
#[derive(Clone)]
pub enum Tls {
    Never,
    FromTheStart(TlsAcceptor),
    WhenAsked(TlsAcceptor),
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
    commands: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<u32>>,
}

impl Peer {
    /// `extensions` are EHLO keywords beside the name.
    pub async fn start(
        extensions: &'static [&'static str],
        script: impl Fn(&Moment) -> Do + Send + Sync + 'static,
    ) -> Peer {
        Peer::start_with(Tls::Never, extensions, script).await
    }

    /// As `start`. With TLS, EHLO offers STARTTLS before it and `extensions` after it.
    pub async fn start_with(
        tls: Tls,
        extensions: &'static [&'static str],
        script: impl Fn(&Moment) -> Do + Send + Sync + 'static,
    ) -> Peer {
        // Little room on the way, so that a peer that reads nothing is felt soon.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1024).unwrap();
        let peer = Peer {
            address: listener.local_addr().unwrap(),
            taken: Arc::default(),
            commands: Arc::default(),
            connections: Arc::default(),
        };
        let world = World {
            tls,
            extensions,
            script: Arc::new(script),
            taken: peer.taken.clone(),
            commands: peer.commands.clone(),
        };
        tokio::spawn(accept(listener, world, peer.connections.clone()));
        peer
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

    /// Every command line, of all connections.
    pub fn commands(&self) -> Vec<String> {
        self.commands.lock().unwrap().clone()
    }
}

async fn accept(listener: TcpListener, world: World, connections: Arc<Mutex<u32>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let number = {
            let mut count = connections.lock().unwrap();
            *count += 1;
            *count
        };
        let world = world.clone();
        tokio::spawn(async move {
            // An error is the client's going away, which is what several tests are about.
            let _ = Dialogue::speak(stream, number, world).await;
        });
    }
}

#[derive(Clone)]
struct World {
    tls: Tls,
    extensions: &'static [&'static str],
    script: Arc<Script>,
    taken: Arc<Mutex<Vec<Taken>>>,
    commands: Arc<Mutex<Vec<String>>>,
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    fn tcp(&self) -> &TcpStream {
        match self {
            Wire::Plain(stream) => stream,
            Wire::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Wire::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Wire::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Wire::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Wire::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Wire::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

struct Dialogue {
    wire: BufReader<Wire>,
    number: u32,
    world: World,
    message: u32,
    /// MAIL was taken.
    open: bool,
    from: String,
    recipient: String,
    fooled: bool,
}

enum Next {
    Command,
    Handshake(TlsAcceptor),
}

/// The connection ends here.
struct End;

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> End {
        End
    }
}

impl Dialogue {
    async fn speak(stream: TcpStream, number: u32, world: World) -> Result<(), End> {
        stream.set_nodelay(true).unwrap();
        let wire = match &world.tls {
            Tls::FromTheStart(acceptor) => Wire::Tls(Box::new(acceptor.accept(stream).await?)),
            Tls::Never | Tls::WhenAsked(_) => Wire::Plain(stream),
        };
        let mut dialogue = Dialogue {
            wire: BufReader::new(wire),
            number,
            world,
            message: 1,
            open: false,
            from: String::new(),
            recipient: String::new(),
            fooled: false,
        };
        dialogue.react(Stage::Banner, "220 peer.example ESMTP").await?;
        loop {
            dialogue = match dialogue.command().await? {
                Next::Command => dialogue,
                Next::Handshake(acceptor) => dialogue.encrypt(&acceptor).await?,
            };
        }
    }

    async fn encrypt(self, acceptor: &TlsAcceptor) -> Result<Dialogue, End> {
        let Wire::Plain(stream) = self.wire.into_inner() else { return Err(End) };
        let wire = BufReader::new(Wire::Tls(Box::new(acceptor.accept(stream).await?)));
        Ok(Dialogue { wire, ..self })
    }

    async fn line(&mut self) -> Result<String, End> {
        let mut line = String::new();
        if self.wire.read_line(&mut line).await? == 0 {
            return Err(End);
        }
        let line = line.trim_end_matches("\r\n").to_owned();
        self.world.commands.lock().unwrap().push(line.clone());
        Ok(line)
    }

    async fn hello(&mut self) -> Result<(), End> {
        let mut lines = vec!["250-peer.example".to_owned()];
        if matches!((&self.world.tls, self.wire.get_ref()), (Tls::WhenAsked(_), Wire::Plain(_))) {
            lines.push("250-STARTTLS".to_owned());
        } else {
            lines.extend(self.world.extensions.iter().map(|keyword| format!("250-{keyword}")));
        }
        let last = lines.len() - 1;
        lines[last].replace_range(3..4, " ");
        self.react(Stage::Ehlo, &lines.join("\r\n")).await.map(drop)
    }

    async fn log_in(&mut self, line: &str) -> Result<(), End> {
        let decode = |text: &str| data_encoding::BASE64.decode(text.as_bytes()).unwrap_or_default();
        let right = match line.strip_prefix("AUTH PLAIN ") {
            Some(response) => decode(response) == format!("\0{USERNAME}\0{PASSWORD}").as_bytes(),
            None => {
                self.say("334 VXNlcm5hbWU6").await?;
                let name = decode(&self.line().await?);
                self.say("334 UGFzc3dvcmQ6").await?;
                let password = decode(&self.line().await?);
                (name.as_slice(), password.as_slice()) == (USERNAME.as_bytes(), PASSWORD.as_bytes())
            }
        };
        if right {
            self.react(Stage::Auth, "235 2.7.0 welcome").await.map(drop)
        } else {
            // What some servers really do.
            self.say(&format!("535 5.7.8 no such login: {line}")).await
        }
    }

    async fn command(&mut self) -> Result<Next, End> {
        let line = self.line().await?;
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
        match verb.as_str() {
            "EHLO" | "LHLO" | "HELO" => self.hello().await?,
            "STARTTLS" => {
                let Tls::WhenAsked(acceptor) = self.world.tls.clone() else {
                    self.say("502 5.5.1 no").await?;
                    return Ok(Next::Command);
                };
                if self.react(Stage::StartTls, "220 2.0.0 go").await? {
                    return Ok(Next::Handshake(acceptor));
                }
            }
            "AUTH" => self.log_in(&line).await?,
            "MAIL" => {
                self.from = between(&line);
                self.recipient.clear();
                self.open = self.react(Stage::Mail, "250 2.1.0 ok").await?;
            }
            "RCPT" if !self.open => self.say("503 5.5.1 no sender").await?,
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
            "RSET" => {
                self.open = false;
                self.recipient.clear();
                self.say("250 2.0.0 ok").await?;
            }
            "QUIT" => {
                self.say("221 2.0.0 bye").await?;
                return Err(End);
            }
            _ => self.say("500 5.5.2 what").await?,
        }
        Ok(Next::Command)
    }

    async fn body(&mut self) -> Result<(), End> {
        let mut bytes = Vec::new();
        let mut asked = false;
        loop {
            let mut line = Vec::new();
            if self.wire.read_until(b'\n', &mut line).await? == 0 {
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
                    Do::Go => {}
                    Do::Stall => self.stall().await,
                    reaction => self.carry_out(reaction, "").await.map(drop)?,
                }
            }
        }
        let reaction = if self.fooled {
            assert!(bytes.is_empty(), "a body for nobody");
            Do::Say("554 5.5.1 no valid recipients")
        } else {
            self.ask(Stage::Dot)
        };
        let acknowledged = matches!(reaction, Do::Go | Do::GoAndClose(_));
        let refused = matches!(reaction, Do::Say(_) | Do::SayAndTake(_) | Do::SayAndClose(_));
        if !refused {
            let taken = Taken {
                connection: self.number,
                from: self.from.clone(),
                to: self.recipient.clone(),
                bytes,
                acknowledged,
            };
            self.world.taken.lock().unwrap().push(taken);
        }
        self.message += 1;
        self.open = false;
        self.recipient.clear();
        self.carry_out(reaction, "250 2.0.0 taken").await?;
        Ok(())
    }

    fn ask(&self, stage: Stage) -> Do {
        (self.world.script)(&Moment {
            stage,
            connection: self.number,
            message: self.message,
            to: self.recipient.clone(),
        })
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
                self.wire.write_all(reply).await?;
                self.wire.flush().await?;
                Ok(true)
            }
            Do::SayAndFreeze(reply) => {
                self.wire.write_all(reply).await?;
                self.wire.flush().await?;
                std::future::pending().await
            }
            Do::Reset => {
                self.wire.get_ref().tcp().set_zero_linger()?;
                Err(End)
            }
            Do::SayAndClose(reply) => {
                self.say(reply).await?;
                Err(End)
            }
            Do::GoAndClose(more) => {
                self.say(&format!("{usual}\r\n{more}")).await?;
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
        self.wire.write_all(format!("{reply}\r\n").as_bytes()).await?;
        self.wire.flush().await?;
        Ok(())
    }

    /// Reads and says nothing until the client goes away.
    async fn stall(&mut self) {
        let mut sink = Vec::new();
        while self.wire.read_until(b'\n', &mut sink).await.is_ok_and(|count| count > 0) {
            sink.clear();
        }
    }
}

fn between(line: &str) -> String {
    let inner = line.split_once('<').map_or("", |(_, rest)| rest);
    inner.split_once('>').map_or("", |(address, _)| address).to_owned()
}
