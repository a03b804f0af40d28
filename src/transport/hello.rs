//! From a TCP connection to a session that may send: banner, EHLO, TLS, AUTH.
//!
//! TLS that was asked for is required: without it there is no MAIL and no AUTH, and what the server offered before the handshake is
//! forgotten (W112, W113). A password leaves only through TLS (W114); it is in no text of ours, and a server that repeats it in
//! a reply is not quoted with it.
//!
//! Known gap: no HELO for servers that do not know EHLO.

use std::time::Duration;

use data_encoding::BASE64;
use lettre::transport::smtp::authentication::Mechanism;
use lettre::transport::smtp::commands::{Ehlo, Quit, Starttls};
use lettre::transport::smtp::extension::ClientId;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;

use super::link::{Link, Stream};
use super::reply::Said;
use super::session::Timeouts;
use crate::domain::delivery::{Phase, Reply};
use crate::domain::reply_rule::ReplyClass;
use crate::domain::settings::{RelaySecurity, RelaySettings};
use crate::runtime::tls;

/// Why no connection could be had. It says nothing about any message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{relay}: {why}")]
pub struct ConnectProblem {
    pub relay: String,
    pub phase: Phase,
    pub why: String,
    /// What the relay said, if that was it.
    pub reply: Option<Box<Reply>>,
    /// Settings or certificates have to change, here or there: waiting alone does not help (W114, W136).
    pub needs_operator: bool,
}

/// What EHLO offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offers {
    pub pipelining: bool,
    /// The largest message, where it is said.
    pub size: Option<u64>,
    /// SIZE, with a limit or without.
    pub takes_size: bool,
    pub smtputf8: bool,
    pub dsn: bool,
    pub starttls: bool,
    pub plain: bool,
    pub login: bool,
}

impl Offers {
    /// The first line is the server's name.
    pub fn of(said: &Said) -> Offers {
        let mut offers = Offers::default();
        for line in said.lines.iter().skip(1) {
            // `AUTH=PLAIN` is how servers wrote it before there was a standard.
            let line = line.to_ascii_uppercase().replacen("AUTH=", "AUTH ", 1);
            let mut words = line.split_whitespace();
            match words.next() {
                Some("PIPELINING") => offers.pipelining = true,
                Some("SMTPUTF8") => offers.smtputf8 = true,
                Some("DSN") => offers.dsn = true,
                Some("STARTTLS") => offers.starttls = true,
                Some("SIZE") => {
                    offers.takes_size = true;
                    offers.size =
                        words.next().and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0);
                }
                Some("AUTH") => {
                    for word in words {
                        offers.plain |= word == "PLAIN";
                        offers.login |= word == "LOGIN";
                    }
                }
                _ => {}
            }
        }
        offers
    }
}

/// A connection that is ready for MAIL.
pub(super) struct Opened {
    pub link: Link,
    pub offers: Offers,
    pub greeting: String,
}

/// Opens a connection that is ready for MAIL.
pub(super) async fn open(relay: &RelaySettings, timeouts: &Timeouts) -> Result<Opened, ConnectProblem> {
    let door = Door { relay, timeouts };
    let stream = door.connect().await?;
    let mut link = match relay.security {
        RelaySecurity::Implicit => door.encrypt(stream).await?,
        RelaySecurity::None | RelaySecurity::StartTls => Link::new(Stream::Plain(stream)),
    };
    let banner =
        link.reply(timeouts.banner).await.map_err(|why| door.lost(Phase::Connect, "greeting", &why))?;
    let greeting = door.positive(Phase::Connect, "the greeting", banner, 2)?.text;
    let mut offers = door.hello(&mut link).await?;
    if relay.security == RelaySecurity::StartTls {
        link = door.start_tls(link, &offers).await?;
        offers = door.hello(&mut link).await?;
    }
    if let Some((username, password)) = relay.username.as_deref().zip(relay.password.as_ref()) {
        door.log_in(&mut link, &offers, username, password).await?;
    }
    Ok(Opened { link, offers, greeting })
}

struct Door<'a> {
    relay: &'a RelaySettings,
    timeouts: &'a Timeouts,
}

impl Door<'_> {
    async fn connect(&self) -> Result<TcpStream, ConnectProblem> {
        let (host, port) = (self.relay.host.as_str(), self.relay.port);
        let failed =
            |why: String| self.away(Phase::Connect, format!("no connection to {host}:{port}: {why}"));
        let connecting = TcpStream::connect((host, port));
        let stream = match tokio::time::timeout(self.timeouts.connect, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed(format!("nothing within {} s", self.timeouts.connect.as_secs()))),
        };
        // With Nagle's algorithm each small command waits for the peer's delayed acknowledgement: 43 ms a message.
        stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
        // A name may lead elsewhere than it says.
        let here = stream.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback());
        if self.relay.security == RelaySecurity::None && !here {
            let why = format!("{host} is not this machine, and without TLS mail goes no further");
            return Err(self.settings(Phase::Connect, why));
        }
        Ok(stream)
    }

    async fn encrypt(&self, stream: TcpStream) -> Result<Link, ConnectProblem> {
        let shaking = tls::handshake(&self.relay.host, self.relay.ca.as_deref(), stream);
        match tokio::time::timeout(self.timeouts.banner, shaking).await {
            Ok(Ok(stream)) => Ok(Link::new(Stream::Tls(Box::new(stream)))),
            Ok(Err(problem)) if problem.needs_operator() => {
                Err(self.settings(Phase::StartTls, problem.to_string()))
            }
            Ok(Err(problem)) => Err(self.away(Phase::StartTls, problem.to_string())),
            Err(_) => Err(self.away(Phase::StartTls, "the TLS handshake takes too long".to_owned())),
        }
    }

    async fn hello(&self, link: &mut Link) -> Result<Offers, ConnectProblem> {
        let hello = Ehlo::new(ClientId::Domain(self.relay.hello.clone())).to_string();
        let said = self.ask(link, Phase::Hello, "EHLO", &hello).await?;
        let said = self.positive(Phase::Hello, "EHLO", said, 2)?;
        Ok(Offers::of(&said))
    }

    async fn start_tls(&self, mut link: Link, offers: &Offers) -> Result<Link, ConnectProblem> {
        if !offers.starttls {
            self.leave(link).await;
            let why = "it does not offer STARTTLS, and without it no mail and no password is given to it";
            return Err(self.settings(Phase::StartTls, why.to_owned()));
        }
        let said = self.ask(&mut link, Phase::StartTls, "STARTTLS", &Starttls.to_string()).await?;
        self.positive(Phase::StartTls, "STARTTLS", said, 2)?;
        let stream = link.into_plain().map_err(|why| self.settings(Phase::StartTls, why.to_owned()))?;
        self.encrypt(stream).await
    }

    async fn log_in(
        &self,
        link: &mut Link,
        offers: &Offers,
        username: &str,
        password: &SecretString,
    ) -> Result<(), ConnectProblem> {
        if !link.is_encrypted() {
            let why = "a password is set, and without TLS it would be readable on its way";
            return Err(self.settings(Phase::Auth, why.to_owned()));
        }
        let secret = password.expose_secret();
        let lines: Vec<SecretString> = match (offers.plain, offers.login) {
            (true, _) => {
                let response = BASE64.encode(format!("\0{username}\0{secret}").as_bytes());
                vec![line(&format!("AUTH {} {response}", Mechanism::Plain))]
            }
            (false, true) => vec![
                line(&format!("AUTH {}", Mechanism::Login)),
                line(&BASE64.encode(username.as_bytes())),
                line(&BASE64.encode(secret.as_bytes())),
            ],
            (false, false) => {
                let why = "it offers neither AUTH PLAIN nor AUTH LOGIN, and a user name is set";
                return Err(self.settings(Phase::Auth, why.to_owned()));
            }
        };
        for (at, command) in lines.iter().enumerate() {
            let said = self.ask(link, Phase::Auth, "AUTH", command.expose_secret()).await?;
            let wanted = if at + 1 < lines.len() { 3 } else { 2 };
            self.positive(Phase::Auth, "AUTH", without_secrets(said, username, secret), wanted)?;
        }
        Ok(())
    }

    async fn ask(
        &self,
        link: &mut Link,
        phase: Phase,
        what: &str,
        command: &str,
    ) -> Result<Said, ConnectProblem> {
        let asked = link.ask(command.as_bytes(), self.timeouts.banner).await;
        asked.map_err(|why| self.lost(phase, what, &why))
    }

    fn positive(&self, phase: Phase, what: &str, said: Said, wanted: u16) -> Result<Said, ConnectProblem> {
        if said.code / 100 == wanted {
            return Ok(said);
        }
        if said.code < 400 {
            return Err(
                self.away(phase, format!("{what}: an answer that does not belong here: {}", said.code))
            );
        }
        let reply = said.at(phase, &self.relay.rules);
        // The door may be shut for us, or for everybody for a while.
        let needs_operator = reply.code >= 500 || reply.class() == ReplyClass::Relay;
        let why = format!("{what}: {reply}");
        Err(ConnectProblem { reply: Some(Box::new(reply)), needs_operator, ..self.away(phase, why) })
    }

    async fn leave(&self, mut link: Link) {
        let limit = Duration::from_secs(5);
        drop(link.ask(Quit.to_string().as_bytes(), limit.min(self.timeouts.banner)).await);
        link.close(limit.min(self.timeouts.banner)).await;
    }

    fn lost(&self, phase: Phase, what: &str, why: &str) -> ConnectProblem {
        self.away(phase, format!("{what}: {why}"))
    }

    fn away(&self, phase: Phase, why: String) -> ConnectProblem {
        ConnectProblem { relay: self.relay.name.clone(), phase, why, reply: None, needs_operator: false }
    }

    fn settings(&self, phase: Phase, why: String) -> ConnectProblem {
        ConnectProblem { needs_operator: true, ..self.away(phase, why) }
    }
}

/// A command that holds a secret: wiped after use, and never shown.
fn line(text: &str) -> SecretString {
    SecretString::from(format!("{text}\r\n"))
}

/// Some servers repeat what they were told.
fn without_secrets(said: Said, username: &str, secret: &str) -> Said {
    let encoded = [
        BASE64.encode(format!("\0{username}\0{secret}").as_bytes()),
        BASE64.encode(secret.as_bytes()),
        secret.to_owned(),
    ];
    let clean = |text: String| encoded.iter().fold(text, |text, secret| text.replace(secret.as_str(), "***"));
    Said { text: clean(said.text), lines: said.lines.into_iter().map(clean).collect(), ..said }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[&str]) -> Said {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        Said { code: 250, enhanced: None, text: String::new(), lines }
    }

    #[test]
    fn what_a_server_offers() {
        let offers = Offers::of(&said(&[
            "dsn.example PIPELINING",
            "size 1000",
            "Pipelining",
            "AUTH CRAM-MD5 plain",
            "AUTH=LOGIN",
            "STARTTLS",
            "8BITMIME",
        ]));
        let expected = Offers {
            pipelining: true,
            size: Some(1000),
            takes_size: true,
            starttls: true,
            plain: true,
            login: true,
            ..Offers::default()
        };
        assert_eq!(offers, expected);
        assert_eq!(Offers::of(&said(&["DSN"])), Offers::default(), "the first line is a name");
        assert_eq!(Offers::of(&said(&["x", "SIZE 0"])).size, None);
        assert_eq!(Offers::of(&said(&["x", "SIZE"])).size, None);
    }

    #[test]
    fn a_repeated_secret_is_not_quoted() {
        let mut echo = said(&["bad password hunter2 aHVudGVyMg=="]);
        echo.text = format!("bad {}", BASE64.encode(b"\0me\0hunter2"));
        let clean = without_secrets(echo, "me", "hunter2");
        assert_eq!(clean.text, "bad ***");
        assert_eq!(clean.lines, ["bad password *** ***"]);
    }
}
