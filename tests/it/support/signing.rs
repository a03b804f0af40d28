//! Keys to sign with, and a name server that publishes them.

use std::sync::{Arc, OnceLock};

use secrecy::{ExposeSecret, SecretString};
use tidings::intake::signature::Signatures;
use tidings::mail::dkim::{DkimKey, Signer};
use tidings::mail::dkim_key;

use super::dns::NameServer;

/// A key of this run.
pub fn pem(number: usize) -> &'static str {
    static KEYS: [OnceLock<SecretString>; 2] = [const { OnceLock::new() }; 2];
    KEYS[number].get_or_init(|| dkim_key::generate("2048").unwrap().1).expose_secret()
}

/// A signer with a key of this run for each (domain, selector).
pub fn signer(names: &[(&str, &str)]) -> Arc<Signer> {
    let key = |(number, (domain, selector)): (usize, &(&str, &str))| {
        DkimKey::new(domain, selector, pem(number)).unwrap()
    };
    Arc::new(Signer::new(names.iter().enumerate().map(key).collect()))
}

/// mail-auth, which shares no code with the signer, and a name server that knows these keys only.
pub async fn verifier(keys: impl IntoIterator<Item = &DkimKey>) -> Signatures {
    let names = NameServer::start().await;
    for key in keys {
        names.publish(&key.record_name(), &key.record());
    }
    Signatures::new(Some(names.address)).unwrap()
}
