//! From a TCP connection to a logged-in one.
//!
//! TLS that was asked for is required, and what the server said before the handshake is forgotten: its octets stay in the buffer of
//! the connection before it. The password leaves only through TLS or on this machine, and a server that repeats it is not quoted.

use std::time::Duration;

use async_imap::Client;
use async_imap::imap_proto::{Capability, Response, ResponseCode, Status};
use secrecy::ExposeSecret;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ImapProblem;
use super::wire::{Bounded, STEP, Socket, Wire, read};
use crate::domain::settings::{ImapSettings, RelaySecurity};
use crate::runtime::tls;

const CONNECT: Duration = Duration::from_secs(30);

/// What the greeting offers, where it says so.
#[derive(Clone, Copy, Default)]
struct Offers {
    plain: bool,
    login_disabled: bool,
}

/// Connects, encrypts and logs in.
pub(super) async fn open(settings: &ImapSettings) -> Result<Wire, ImapProblem> {
    let stream = connect(settings).await?;
    let socket = match settings.security {
        RelaySecurity::Implicit => encrypt(settings, stream).await?,
        RelaySecurity::None | RelaySecurity::StartTls => Socket::Plain(stream),
    };
    let mut client = Client::new(Bounded::new(socket));
    let mut offers = greeting(&mut client).await?;
    if settings.security == RelaySecurity::StartTls {
        client = start_tls(settings, client).await?;
        // Before the handshake anybody could have said it.
        offers = Offers::default();
    }
    log_in(settings, client, offers).await
}

async fn connect(settings: &ImapSettings) -> Result<TcpStream, ImapProblem> {
    let (host, port) = (settings.host.as_str(), settings.port);
    let lost = |why: String| ImapProblem::Lost(format!("no connection to {host}:{port}: {why}"));
    let stream = match timeout(CONNECT, TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(lost(error.to_string())),
        Err(_) => return Err(lost(format!("nothing within {} s", CONNECT.as_secs()))),
    };
    // Commands are small; waiting for more of them would cost 40 ms each.
    stream.set_nodelay(true).map_err(|error| lost(error.to_string()))?;
    // A name may lead elsewhere than it says.
    let here = stream.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback());
    if settings.security == RelaySecurity::None && !here {
        let why = format!("{host} is not this machine, and without TLS the password would be readable");
        return Err(ImapProblem::Refused(why));
    }
    Ok(stream)
}

async fn encrypt(settings: &ImapSettings, stream: TcpStream) -> Result<Socket, ImapProblem> {
    let shaking = tls::handshake(&settings.host, settings.ca.as_deref(), stream);
    match timeout(CONNECT, shaking).await {
        Ok(Ok(stream)) => Ok(Socket::Tls(Box::new(stream))),
        Ok(Err(problem)) if problem.needs_operator() => Err(ImapProblem::Refused(problem.to_string())),
        Ok(Err(problem)) => Err(ImapProblem::Lost(problem.to_string())),
        Err(_) => Err(ImapProblem::Lost("the TLS handshake takes too long".to_owned())),
    }
}

async fn greeting(client: &mut Client<Bounded>) -> Result<Offers, ImapProblem> {
    let said = read(timeout(STEP, client.read_response()).await)?;
    match said.parsed() {
        Response::Data { status: Status::Ok, outcome } => Ok(match &outcome.code {
            Some(ResponseCode::Capabilities(offered)) => Offers {
                plain: offered
                    .iter()
                    .any(|one| matches!(one, Capability::Auth(name) if name.eq_ignore_ascii_case("PLAIN"))),
                login_disabled: offered.iter().any(
                    |one| matches!(one, Capability::Atom(name) if name.eq_ignore_ascii_case("LOGINDISABLED")),
                ),
            },
            _ => Offers::default(),
        }),
        Response::Data { status: Status::Bye, outcome } => {
            let why = outcome.information.as_deref().unwrap_or("no reason given");
            Err(ImapProblem::Lost(format!("the server does not let anybody in now: {why}")))
        }
        Response::Data { status: Status::PreAuth, .. } => {
            Err(ImapProblem::Refused("the server wants no login; name one that does".to_owned()))
        }
        _ => Err(ImapProblem::Nonsense("the greeting is not one of IMAP".to_owned())),
    }
}

async fn start_tls(
    settings: &ImapSettings,
    mut client: Client<Bounded>,
) -> Result<Client<Bounded>, ImapProblem> {
    let asked = timeout(STEP, client.run_command_and_check_ok("STARTTLS", None)).await;
    match asked.map_err(|_| ImapProblem::slow())?.map_err(ImapProblem::of) {
        Ok(()) => {}
        Err(ImapProblem::No(why)) => {
            let text = format!("it does not start TLS, and without it gets no password: {why}");
            return Err(ImapProblem::Refused(text));
        }
        Err(problem) => return Err(problem),
    }
    match client.into_inner().into_socket() {
        Socket::Plain(stream) => Ok(Client::new(Bounded::new(encrypt(settings, stream).await?))),
        Socket::Tls(_) => Err(ImapProblem::Nonsense("TLS inside TLS".to_owned())),
    }
}

struct Plain<'a>(&'a str, &'a str);

impl async_imap::Authenticator for Plain<'_> {
    type Response = String;

    fn process(&mut self, _challenge: &[u8]) -> String {
        format!("\0{}\0{}", self.0, self.1)
    }
}

/// LOGIN is what every server knows; it takes ASCII only, and PLAIN everything.
async fn log_in(
    settings: &ImapSettings,
    client: Client<Bounded>,
    offers: Offers,
) -> Result<Wire, ImapProblem> {
    let (username, password) = (settings.username.as_str(), settings.password.expose_secret());
    if offers.login_disabled && !offers.plain {
        return Err(ImapProblem::Refused("it offers neither LOGIN nor AUTH=PLAIN".to_owned()));
    }
    let by_plain = offers.plain || !username.is_ascii() || !password.is_ascii();
    let session = timeout(STEP, async {
        match by_plain {
            true => client.authenticate("PLAIN", Plain(username, password)).await,
            false => client.login(username, password).await,
        }
    });
    let session = session.await.map_err(|_| ImapProblem::slow())?;
    session.map(Wire::new).map_err(|(error, _)| match ImapProblem::of(error) {
        ImapProblem::No(why) => {
            let why = why.replace(password, "***");
            ImapProblem::Refused(format!("the login is refused: {why}"))
        }
        other => other,
    })
}
