//! Whether a received message carries a DKIM signature (RFC 6376) of its From's domain, asked of DNS.
//!
//! For answers of editors and staff where the receiving server writes no Authentication-Results. A signature with a body length
//! is none (the library refuses it), because anybody may add to such a body.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mail_auth::hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator};

use crate::domain::sender::aligned;

/// Long enough for a slow name server; a message waits no longer for one.
const LIMIT: Duration = Duration::from_secs(10);

/// Asks a name server for the keys of signatures.
pub struct Signatures(MessageAuthenticator);

impl std::fmt::Debug for Signatures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signatures")
    }
}

impl Signatures {
    /// `resolver`: the name server to ask; without, the system's.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(resolver: Option<SocketAddr>) -> Result<Signatures, String> {
        let authenticator = match resolver {
            Some(place) => {
                let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
                for connection in &mut connections {
                    connection.port = place.port();
                }
                let server = NameServerConfig::new(place.ip(), true, connections.into());
                let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
                MessageAuthenticator::new(config, ResolverOpts::default())
            }
            None => MessageAuthenticator::new_system_conf(),
        };
        authenticator.map(Signatures).map_err(|error| error.to_string())
    }

    /// Whether one of the message's signatures passes and is aligned with its From. Answers by which domain.
    ///
    /// # Errors
    /// Why it is not proven, for the operator.
    pub async fn proves(&self, raw: Arc<[u8]>, from_domain: &str) -> Result<String, String> {
        let (authenticator, from_domain) = (self.0.clone(), from_domain.to_owned());
        // A task of its own: a fault of the library must not take the line of received mail with it.
        let task = tokio::spawn(async move { proves(&authenticator, &raw, &from_domain).await });
        let limited = tokio::time::timeout(LIMIT, task).await;
        let checked = limited.map_err(|_| "no name server answered in time".to_owned())?;
        checked.map_err(|error| format!("checking its signatures broke: {error}"))?
    }
}

async fn proves(
    authenticator: &MessageAuthenticator,
    raw: &[u8],
    from_domain: &str,
) -> Result<String, String> {
    let message = AuthenticatedMessage::parse(raw).ok_or("its header cannot be read")?;
    let checked = authenticator.verify_dkim(&message).await;
    let mut why = "it has no DKIM signature".to_owned();
    for output in &checked {
        let Some(signature) = output.signature() else {
            why = format!("a DKIM signature of it is not valid: {}", told(output.result()));
            continue;
        };
        let domain = &signature.d;
        why = match output.result() {
            DkimResult::Pass if !aligned(domain, from_domain) => {
                format!("its DKIM signature is of {domain}")
            }
            DkimResult::Pass => return Ok(format!("DKIM pass by {domain}")),
            other => format!("the DKIM signature of {domain}: {}", told(other)),
        };
    }
    Err(why)
}

fn told(result: &DkimResult) -> String {
    match result {
        DkimResult::TempError(error) => format!("the key could not be asked for: {error}"),
        DkimResult::Fail(error) | DkimResult::PermError(error) | DkimResult::Neutral(error) => {
            error.to_string()
        }
        DkimResult::Pass | DkimResult::None => "none".to_owned(),
    }
}
