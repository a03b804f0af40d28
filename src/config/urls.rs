//! The URLs of the two files: relays, mailboxes, storage, and the publication's own pages.
//!
//! Each kind has a fixed shape, so these are a few splits rather than a URL library. A URL with a password in it is refused
//! without being quoted.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::syntax::{Wrong, wrong};
use crate::domain::settings::RelaySecurity;

/// `host`, `host:port`, `[::1]:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPort {
    pub host: String,
    pub port: u16,
}

const RELAY_HINT: &str =
    "write \"smtp+starttls://host:587\", \"smtps://host:465\" or \"smtp://127.0.0.1:25\"";

/// The security, host and port of a relay. Plain SMTP only to this machine (W112).
pub(super) fn relay(text: &str) -> Result<(RelaySecurity, HostPort), Wrong> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return wrong("is not a URL", RELAY_HINT);
    };
    let (security, port) = match scheme {
        "smtp" => (RelaySecurity::None, 25),
        "smtp+starttls" => (RelaySecurity::StartTls, 587),
        "smtps" => (RelaySecurity::Implicit, 465),
        _ => return wrong(format!("`{scheme}://` is not a kind of relay"), RELAY_HINT),
    };
    let place = host_port(rest, port, RELAY_HINT)?;
    if security == RelaySecurity::None && !is_loopback(&place.host) {
        return wrong(
            format!("plain smtp:// would send everybody's mail unencrypted to {}", place.host),
            "use smtp+starttls:// or smtps://; smtp:// is for loopback hosts only",
        );
    }
    Ok((security, place))
}

const IMAP_HINT: &str =
    "write \"imaps://imap.example.org\", \"imap+starttls://host:143\" or \"imap://127.0.0.1\"";

/// The security, host and port of a mailbox. Plain IMAP only to this machine, as with relays.
pub(super) fn imap(text: &str) -> Result<(RelaySecurity, HostPort), Wrong> {
    let (security, rest, port) = match text.split_once("://") {
        Some(("imaps", rest)) => (RelaySecurity::Implicit, rest, 993),
        Some(("imap+starttls", rest)) => (RelaySecurity::StartTls, rest, 143),
        Some(("imap", rest)) => (RelaySecurity::None, rest, 143),
        Some((scheme, _)) => return wrong(format!("`{scheme}://` is not a kind of mailbox"), IMAP_HINT),
        None => return wrong("is not a URL", IMAP_HINT),
    };
    let place = host_port(rest, port, IMAP_HINT)?;
    if security == RelaySecurity::None && !is_loopback(&place.host) {
        return wrong(
            format!("plain imap:// would send the password unencrypted to {}", place.host),
            "use imaps:// or imap+starttls://; imap:// is for loopback hosts only",
        );
    }
    Ok((security, place))
}

fn host_port(rest: &str, default_port: u16, hint: &str) -> Result<HostPort, Wrong> {
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('@') {
        return wrong(
            "holds a user name or password",
            "write them as `username` and `password` of their own",
        );
    }
    let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or("none"))),
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    let port = match port.map(str::parse::<u16>) {
        None => default_port,
        Some(Ok(port)) if port != 0 => port,
        Some(_) => return wrong("has no valid port", "write a port from 1 to 65535"),
    };
    let host = host.to_ascii_lowercase();
    if host.parse::<IpAddr>().is_ok() {
        return Ok(HostPort { host, port });
    }
    match idna::domain_to_ascii_strict(&host) {
        Ok(host) if !host.is_empty() => Ok(HostPort { host, port }),
        _ => wrong("has no valid host name", hint),
    }
}

/// Hosts that no packet leaves this machine for.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What a storage URL names. The PostgreSQL URL itself stays with the caller, who knows whether it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Storage {
    Sqlite(PathBuf),
    Postgres { has_password: bool },
}

/// `sqlite://var/tidings.db` (relative to the base folder), `sqlite:///srv/tidings.db`, `postgres://...`.
pub(super) fn storage(text: &str, base: &Path) -> Result<Storage, Wrong> {
    if let Some(path) = text.strip_prefix("sqlite://") {
        if path.is_empty() || path.ends_with('/') || path.contains('?') || path.contains(":memory:") {
            return wrong("does not name a database file", "write for example \"sqlite://var/tidings.db\"");
        }
        return Ok(Storage::Sqlite(base.join(path)));
    }
    let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
    match rest {
        Some("") => {
            wrong("does not name a server", "write for example \"postgres://tidings@db.example.org/tidings\"")
        }
        Some(rest) => {
            let authority = rest.split(['/', '?']).next().unwrap_or_default();
            let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
            Ok(Storage::Postgres { has_password: user.contains(':') || rest.contains("password=") })
        }
        None => wrong("is not a storage URL", "write \"sqlite://var/tidings.db\" or \"postgres://...\""),
    }
}

/// A page's address, without a slash at its end. `http://` only on this machine, for trying things out.
pub(super) fn web(text: &str) -> Result<String, Wrong> {
    const HINT: &str = "write for example \"https://news.example.org\"";
    let (plain, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return wrong(format!("`{text}` is not a web address"), HINT),
    };
    if text.contains(|c: char| c.is_whitespace() || "\"'<>\\{}`".contains(c)) {
        return wrong(format!("`{text}` holds characters that a link cannot have"), HINT);
    }
    let place = host_port(rest.split(['/', '?', '#']).next().unwrap_or_default(), 443, HINT)?;
    if plain && !is_loopback(&place.host) {
        return wrong(format!("`{text}` is not encrypted"), HINT);
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// The publication's base: links are made by adding a path to it.
pub(super) fn web_base(text: &str) -> Result<String, Wrong> {
    match web(text)? {
        url if url.contains(['?', '#']) => wrong(
            format!("`{text}` has a query or fragment, and links are made by adding to it"),
            "write only scheme, host and path",
        ),
        url => Ok(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relays() {
        use RelaySecurity::*;
        let cases = [
            ("smtp://127.0.0.1", None, "127.0.0.1", 25),
            ("smtp://localhost:2525", None, "localhost", 2525),
            ("smtp://[::1]:2525/", None, "::1", 2525),
            ("smtp+starttls://SMTP.example.net", StartTls, "smtp.example.net", 587),
            ("smtps://smtp.example.net", Implicit, "smtp.example.net", 465),
            ("smtps://bücher.example:2465", Implicit, "xn--bcher-kva.example", 2465),
        ];
        for (text, security, host, port) in cases {
            assert_eq!(relay(text), Ok((security, HostPort { host: host.into(), port })), "{text}");
        }
        let refused = [
            "smtp.example.net",
            "smtp://smtp.example.net:25",
            "smtp://127.0.0.1.example.net",
            "http://127.0.0.1",
            "smtp://127.0.0.1:0",
            "smtp://127.0.0.1:99999",
            "smtp://[::1]2525",
            "smtp://",
            "smtp://a b",
            "smtps://smtp.example.net/path",
        ];
        for text in refused {
            assert!(relay(text).is_err(), "{text}");
        }
        let problem = relay("smtps://me:hunter2@smtp.example.net").unwrap_err();
        assert!(!format!("{problem:?}").contains("hunter2"));
    }

    #[test]
    fn storages() {
        let base = Path::new("/srv");
        let sqlite = |path: &str| Ok(Storage::Sqlite(path.into()));
        assert_eq!(storage("sqlite://var/t.db", base), sqlite("/srv/var/t.db"));
        assert_eq!(storage("sqlite:///data/t.db", base), sqlite("/data/t.db"));
        let open = Ok(Storage::Postgres { has_password: false });
        assert_eq!(storage("postgres://tidings@db/tidings", base), open);
        let secret = Ok(Storage::Postgres { has_password: true });
        assert_eq!(storage("postgres://tidings:pw@db/tidings", base), secret);
        assert_eq!(storage("postgres://db/tidings?password=pw", base), secret);
        for text in ["sqlite://", "sqlite::memory:", "mysql://x", "sqlite://a.db?mode=ro", "postgres://"] {
            assert!(storage(text, base).is_err(), "{text}");
        }
    }

    #[test]
    fn pages() {
        assert_eq!(web_base("https://news.example.org/"), Ok("https://news.example.org".into()));
        assert!(web("https://news.example.org/plans?x=1").is_ok());
        assert!(web("http://127.0.0.1:8025").is_ok());
        for text in ["news.example.org", "http://news.example.org", "https://", "https://a b", "javascript:x"]
        {
            assert!(web(text).is_err(), "{text}");
        }
        assert!(web_base("https://news.example.org/?a").is_err());
    }
}
