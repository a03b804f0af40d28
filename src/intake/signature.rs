//! Whether a received message carries a DKIM signature (RFC 6376) of its From's domain, asked of DNS.
//!
//! For answers of editors and staff where the receiving server writes no Authentication-Results. A signature with a body length
//! is none (the library refuses it), because anybody may add to such a body.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mail_auth::common::crypto::Algorithm;
use mail_auth::hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator};

use crate::domain::sender::aligned;

/// For all keys of one message: the next one waits meanwhile.
const LIMIT: Duration = Duration::from_secs(5);

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

    /// Whether one of the message's signatures passes, covers From and To or Cc, and speaks for the author's domain. Answers by
    /// which domain.
    ///
    /// # Errors
    /// Why it is not proven, for the operator.
    pub async fn proves(&self, raw: Arc<Vec<u8>>, author: &str) -> Result<String, String> {
        let (authenticator, author) = (self.0.clone(), author.to_owned());
        let handle = tokio::runtime::Handle::current();
        // Off the reactor, because the whole message is hashed; and a fault of the library must not take the line of received
        // mail with it.
        let checked =
            tokio::task::spawn_blocking(move || handle.block_on(proves(&authenticator, &raw, &author)));
        checked.await.map_err(|error| format!("checking its signatures broke: {error}"))?
    }
}

async fn proves(authenticator: &MessageAuthenticator, raw: &[u8], author: &str) -> Result<String, String> {
    let message = AuthenticatedMessage::parse(raw).ok_or("its header cannot be read")?;
    if !matches!(message.froms(), [from] if from.eq_ignore_ascii_case(author)) {
        return Err("programs disagree about its author".to_owned());
    }
    let from_domain = author.rsplit_once('@').map_or("", |(_, domain)| domain);
    let checked = tokio::time::timeout(LIMIT, authenticator.verify_dkim(&message)).await;
    let checked = checked.map_err(|_| "no name server answered in time".to_owned())?;
    let mut why = "it has no DKIM signature".to_owned();
    for output in &checked {
        let Some(signature) = output.signature() else {
            why = format!("a DKIM signature of it is not valid: {}", told(output.result()));
            continue;
        };
        let domain = &signature.d;
        let covers = |name: &str| signature.h.iter().any(|field| field.eq_ignore_ascii_case(name));
        why = match output.result() {
            DkimResult::Pass if !aligned(domain, from_domain) => format!("its DKIM signature is of {domain}"),
            // RFC 6376 section 5.4: From must be signed. Without To, a word to somebody else could be sent on to us.
            DkimResult::Pass if !covers("from") || !(covers("to") || covers("cc")) => {
                format!("the DKIM signature of {domain} covers not From, and To or Cc")
            }
            // RFC 8301 section 3.1.
            DkimResult::Pass if signature.a == Algorithm::RsaSha1 => {
                format!("the DKIM signature of {domain} is made with SHA-1")
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
