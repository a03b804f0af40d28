//! TLS to a server, a relay or a mailbox: what is trusted, and the handshake.
//!
//! With a CA file of the operator's only that file is trusted for the server, else the roots of this machine. The certificate must
//! be valid now and for the server's name; there is no switch for less (W112). Roots are parsed once, not per connection: that takes
//! milliseconds, and the session cache that comes with them makes later handshakes short.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Why there is no encrypted connection.
#[derive(Debug, thiserror::Error)]
pub enum TlsProblem {
    /// The other side, or its certificate, is not what the operator named. Waiting does not help.
    #[error("its certificate is not accepted: {0}")]
    Untrusted(rustls::CertificateError),
    /// This machine, or the CA file, holds no roots.
    #[error("nobody's certificate could be checked: {0}")]
    NoRoots(String),
    /// Anything else; it may go better next time.
    #[error("TLS handshake: {0}")]
    Failed(String),
}

impl TlsProblem {
    /// Settings or certificates have to change, here or there.
    pub fn needs_operator(&self) -> bool {
        !matches!(self, TlsProblem::Failed(_))
    }
}

/// Encrypts a connection to `host`, whose certificate must say so. `ca`: PEM, the only certificates that are trusted; without it
/// those that this machine trusts. Has no timer of its own.
///
/// # Errors
/// When the certificate is not accepted, or the handshake fails.
pub async fn handshake(
    host: &str,
    ca: Option<&str>,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, TlsProblem> {
    let config = config(ca).await?;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| TlsProblem::Failed(format!("`{host}` is no name for a certificate")))?;
    TlsConnector::from(config).connect(name, stream).await.map_err(|error| {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(why)) => TlsProblem::Untrusted(why.clone()),
            _ => TlsProblem::Failed(error.to_string()),
        }
    })
}

/// What was made once, by the CA text that it trusts.
static MADE: Mutex<Vec<(Option<String>, Arc<ClientConfig>)>> = Mutex::new(Vec::new());

/// Settings that trust `ca` (PEM) alone, or without it what this machine trusts. Made once for each.
///
/// # Errors
/// When there are no roots to trust.
pub async fn config(ca: Option<&str>) -> Result<Arc<ClientConfig>, TlsProblem> {
    let ca = ca.map(str::to_owned);
    let found = made().iter().find(|(made_of, _)| *made_of == ca).map(|(_, config)| config.clone());
    if let Some(config) = found {
        return Ok(config);
    }
    let of = ca.clone();
    // The machine's roots are files.
    let roots = tokio::task::spawn_blocking(move || match of {
        Some(pem) => roots_of(&pem),
        None => roots_of_this_machine(),
    });
    let roots = roots.await.map_err(|error| TlsProblem::NoRoots(error.to_string()))??;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsProblem::Failed(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    made().push((ca, config.clone()));
    Ok(config)
}

fn made() -> std::sync::MutexGuard<'static, Vec<(Option<String>, Arc<ClientConfig>)>> {
    // What a panic elsewhere leaves is a list of whole entries.
    MADE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn roots_of(pem: &str) -> Result<RootCertStore, TlsProblem> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate =
            certificate.map_err(|error| TlsProblem::NoRoots(format!("the CA file: {error}")))?;
        roots.add(certificate).map_err(|error| TlsProblem::NoRoots(format!("the CA file: {error}")))?;
    }
    if roots.is_empty() {
        return Err(TlsProblem::NoRoots("the CA file holds no certificate".into()));
    }
    Ok(roots)
}

fn roots_of_this_machine() -> Result<RootCertStore, TlsProblem> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // Old roots in a format that no longer counts are in most machines' lists.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map(ToString::to_string).unwrap_or_default();
        let hint = "this machine has no root certificates; install ca-certificates or name a `ca` file";
        return Err(TlsProblem::NoRoots(format!("{hint} {why}").trim_end().to_owned()));
    }
    Ok(roots)
}
