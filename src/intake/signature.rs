//! Whether a received message carries a DKIM signature (RFC 6376) of its From's domain, asked of DNS.
//!
//! For answers of editors and staff where the receiving server writes no Authentication-Results. A signature with a body length
//! is none (the library refuses it), because anybody may add to such a body.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mail_auth::common::crypto::Algorithm;
use mail_auth::dkim::DkimError;
use mail_auth::hickory_resolver::config::ResolverOpts;
use mail_auth::{AuthenticatedMessage, DkimOutput, DkimResult, MessageAuthenticator};

use super::dns;
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
            Some(place) => MessageAuthenticator::new(dns::only(place), ResolverOpts::default()),
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

/// One signature of a message, and what a receiver says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `d=` and `s=`; empty where the field cannot be read.
    pub domain: String,
    pub selector: String,
    /// Why it does not count.
    pub result: Result<(), Unverified>,
}

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// The key could not be asked for: nobody knows.
    #[error("the key could not be asked for: {0}")]
    NotKnown(String),
    #[error("body hash mismatch")]
    Body,
    #[error("{0}")]
    Wrong(String),
}

impl Signatures {
    /// What a receiver says of each signature of a message; none where it is not signed.
    ///
    /// # Errors
    /// Why it cannot be looked at.
    pub async fn verdicts(&self, raw: Arc<Vec<u8>>) -> Result<Vec<Verdict>, String> {
        let (authenticator, handle) = (self.0.clone(), tokio::runtime::Handle::current());
        let looked = tokio::task::spawn_blocking(move || handle.block_on(verdicts(&authenticator, &raw)));
        looked.await.map_err(|error| format!("checking its signatures broke: {error}"))?
    }
}

async fn verdicts(authenticator: &MessageAuthenticator, raw: &[u8]) -> Result<Vec<Verdict>, String> {
    let message = AuthenticatedMessage::parse(raw).ok_or("its header cannot be read")?;
    let checked = tokio::time::timeout(LIMIT, authenticator.verify_dkim(&message)).await;
    let checked = checked.map_err(|_| "no name server answered in time".to_owned())?;
    let verdict = |output: &DkimOutput<'_>| {
        let named = output.signature().map(|signature| (signature.d.clone(), signature.s.clone()));
        let (domain, selector) = named.unwrap_or_default();
        let result = match output.result() {
            DkimResult::Pass => Ok(()),
            DkimResult::TempError(error) => Err(Unverified::NotKnown(error.to_string())),
            DkimResult::Fail(mail_auth::Error::Dkim(DkimError::FailedBodyHashMatch))
            | DkimResult::PermError(mail_auth::Error::Dkim(DkimError::FailedBodyHashMatch))
            | DkimResult::Neutral(mail_auth::Error::Dkim(DkimError::FailedBodyHashMatch)) => {
                Err(Unverified::Body)
            }
            other => Err(Unverified::Wrong(told(other))),
        };
        Verdict { domain, selector, result }
    };
    Ok(checked.iter().map(verdict).collect())
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
