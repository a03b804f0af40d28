//! The keys that sign, checked against the addresses that mail comes from.

use std::sync::Arc;

use secrecy::ExposeSecret;

use crate::domain::address::Address;
use crate::domain::problem::Problem;
use crate::domain::sender::aligned;
use crate::domain::settings::{DkimSettings, Settings};
use crate::mail::dkim::{DkimKey, Signer};

/// The signer that `[dkim]` asks for: `None` where it asks for none, or where a key is none. `from` is the editors' From, where
/// their file could be read.
pub fn signer(settings: &Settings, from: Option<&Address>) -> (Option<Arc<Signer>>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut keys = Vec::new();
    for entry in &settings.dkim {
        match DkimKey::new(&entry.domain, &entry.selector, entry.key.expose_secret()) {
            Ok(key) => keys.push(key),
            Err(problem) => problems.push(entry.key_spot.error(&problem.to_string(), problem.hint())),
        }
    }
    if keys.len() == settings.dkim.len() {
        problems.extend(alone(&settings.dkim, &keys));
    }
    if let Some(from) = from {
        problems.extend(unaligned(&settings.dkim, &[from, &settings.desk.mailbox.address]));
    }
    let complete = !keys.is_empty() && keys.len() == settings.dkim.len();
    (complete.then(|| Arc::new(Signer::new(keys))), problems)
}

/// W63: an Ed25519 signature is a second one. Who cannot read it finds no signature without an RSA key of the same domain.
fn alone(settings: &[DkimSettings], keys: &[DkimKey]) -> Vec<Problem> {
    let has_rsa =
        |domain: &str| settings.iter().zip(keys).any(|(entry, key)| key.is_rsa() && entry.domain == domain);
    let lonely = settings.iter().zip(keys).filter(|(entry, key)| !key.is_rsa() && !has_rsa(&entry.domain));
    lonely
        .map(|(entry, _)| {
            let problem =
                "is an Ed25519 key, which signs beside an RSA key only: many receivers know no other";
            let hint = format!(
                "add a [[dkim]] of {} with an RSA key; `tidings dkim generate SELECTOR` makes one",
                entry.domain
            );
            entry.key_spot.error(problem, &hint)
        })
        .collect()
}

/// W66: receivers count a signature only if its domain is that of From, or above or below it (DMARC). A From without one could
/// not be signed and is never sent unsigned; a key without one signs nothing.
fn unaligned(keys: &[DkimSettings], senders: &[&Address]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let Some(first) = keys.first() else { return problems };
    for (at, sender) in senders.iter().enumerate() {
        let known = senders[..at].iter().any(|other| other.domain() == sender.domain());
        if !known && !keys.iter().any(|key| aligned(&key.domain, sender.domain())) {
            let problem = format!("no key is aligned with {sender}, from where mail is sent");
            let hint = format!("sign as {} or a domain above it, or add a second [[dkim]]", sender.domain());
            problems.push(first.domain_spot.error(&problem, &hint));
        }
    }
    for key in keys {
        if problems.is_empty() && !senders.iter().any(|sender| aligned(&key.domain, sender.domain())) {
            let problem = format!("{} signs nothing: no mail comes from it", key.domain);
            problems.push(key.domain_spot.warning(&problem, "leave it out, or name the domain of a From"));
        }
    }
    problems
}
