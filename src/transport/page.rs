//! Asks for one page as a stranger does: over HTTPS, trusting what this machine trusts, following no redirect.
//!
//! Where the host is, its caller says; so a name is looked up once, by one resolver.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::runtime::tls;

const LIMIT: Duration = Duration::from_secs(10);

/// What a page answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub status: u16,
    /// `Location`, where it leads elsewhere.
    pub leads_to: Option<String>,
    /// `Date`, as written.
    pub date: Option<String>,
}

/// An `https:` address in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub host: String,
    pub port: u16,
    /// With the slash at its start.
    pub path: String,
}

impl Target {
    /// Host and port as a request names them.
    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == 443 { host } else { format!("{host}:{}", self.port) }
    }

    /// `None`: it is no `https:` address.
    pub fn of(url: &str) -> Option<Target> {
        let rest = url.strip_prefix("https://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, 443),
        };
        let path = if path.is_empty() { "/" } else { path };
        Some(Target { host: host.trim_matches(['[', ']']).to_owned(), port, path: path.to_owned() })
    }
}

/// GET without a form, else POST of the form.
///
/// # Errors
/// Why nothing was answered, in words.
pub async fn ask(target: &Target, at: SocketAddr, form: Option<&str>) -> Result<Page, String> {
    let asked = tokio::time::timeout(LIMIT, asked(target, at, form)).await;
    asked.map_err(|_| format!("no answer from {at} within {} s", LIMIT.as_secs()))?
}

async fn asked(target: &Target, at: SocketAddr, form: Option<&str>) -> Result<Page, String> {
    let stream = TcpStream::connect(at).await.map_err(|error| format!("no connection to {at}: {error}"))?;
    let config = tls::config(None).await.map_err(|problem| problem.to_string())?;
    let mut config = rustls::ClientConfig::clone(&config);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(target.host.clone())
        .map_err(|_| format!("`{}` is no name for a certificate", target.host))?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let stream = stream.map_err(|error| format!("TLS: {error}"))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let driving = tokio::spawn(connection);
    let request = Request::builder()
        .method(if form.is_some() { Method::POST } else { Method::GET })
        .uri(&target.path)
        .header(header::HOST, target.authority())
        .header(header::CONNECTION, "close")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form.unwrap_or_default().to_owned())
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| format!("no answer: {error}"));
    driving.abort();
    let response = response?;
    let field = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok(Page {
        status: response.status().as_u16(),
        leads_to: field(header::LOCATION),
        date: field(header::DATE),
    })
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn targets() {
        let of = |url| Target::of(url).map(|target| (target.host, target.port, target.path));
        assert_eq!(of("https://news.example.org"), Some(("news.example.org".into(), 443, "/".into())));
        assert_eq!(of("https://x.example:8443/a/b"), Some(("x.example".into(), 8443, "/a/b".into())));
        assert_eq!(of("https://[::1]:8443/a"), Some(("::1".into(), 8443, "/a".into())));
        assert_eq!(of("https://[::1]/a"), Some(("::1".into(), 443, "/a".into())));
        assert_eq!(Target::of("https://[::1]:8443/").unwrap().authority(), "[::1]:8443");
        assert_eq!(Target::of("https://x.example/").unwrap().authority(), "x.example");
        assert_eq!(of("http://x.example"), None);
        assert_eq!(of("https://x.example:99999/"), None);
    }
}
