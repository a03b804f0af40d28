//! What the settings name and do not hold. Secrets are named, never written: `{ env = "NAME" }` or `{ file = "path" }`. Their values reach no problem and no log.

use std::collections::BTreeMap;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};

use super::section::Found;
use super::tree::Value;

/// A signing secret below this is guessable offline from any token.
const SIGNING_MIN: usize = 16;
const REFERENCE: &str = "write { env = \"NAME\" } or { file = \"path\" }";

/// Where secrets are looked up.
pub(super) struct Sources<'a> {
    pub env: &'a BTreeMap<String, String>,
    /// Relative paths start here.
    pub base: &'a Path,
}

impl Sources<'_> {
    /// Reads one secret.
    pub fn secret(&self, found: &Found<'_>) -> Option<SecretString> {
        if !matches!(found.node.value, Value::Table(_)) {
            return found.wrong("is written out here, and a secret must not be", REFERENCE);
        }
        let mut section = found.section()?;
        let (env, file) = (section.optional("env"), section.optional("file"));
        section.finish();
        let value = match (env, file) {
            (Some(name), None) => self.variable(&name)?,
            (None, Some(path)) => self.file(&path)?,
            (None, None) => return found.wrong("names no source", REFERENCE),
            (Some(_), Some(_)) => return found.wrong("names two sources", "keep either `env` or `file`"),
        };
        if value.is_empty() {
            return found.wrong("is empty", "give the secret a value where it is kept");
        }
        Some(SecretString::from(value))
    }

    fn variable(&self, name: &Found<'_>) -> Option<String> {
        let variable = name.text()?;
        match self.env.get(variable) {
            Some(value) => Some(value.clone()),
            None => name.wrong(
                &format!("the environment variable {variable} is not set"),
                "set it where the daemon is started",
            ),
        }
    }

    /// One newline at the end belongs to the editor that wrote the file, not to the secret.
    fn file(&self, path: &Found<'_>) -> Option<String> {
        let file = self.base.join(path.text()?);
        let value = match std::fs::read(&file).map(String::from_utf8) {
            Ok(Ok(value)) => value,
            Ok(Err(_)) => return path.wrong("the file is not UTF-8 text", "keep the secret as text"),
            Err(error) => {
                let problem = format!("{} cannot be read: {error}", file.display());
                return path.wrong(&problem, "relative paths start at the parent of the config folder");
            }
        };
        let value = value.strip_suffix('\n').map(|v| v.strip_suffix('\r').unwrap_or(v)).unwrap_or(&value);
        Some(value.to_owned())
    }

    /// Reads a PEM file of certificates that are trusted. They are no secret, so the path is the value.
    pub fn certificates(&self, found: &Found<'_>) -> Option<String> {
        const HINT: &str = "name a PEM file that holds the CA's certificate";
        let file = self.base.join(found.text()?);
        let pem = match std::fs::read_to_string(&file) {
            Ok(pem) => pem,
            Err(error) => {
                let problem = format!("{} cannot be read: {error}", file.display());
                return found.wrong(&problem, "relative paths start at the parent of the config folder");
            }
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let added = certificate
                .map_err(|error| error.to_string())
                .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()));
            if let Err(error) = added {
                let problem = format!("{} holds something that is no certificate: {error}", file.display());
                return found.wrong(&problem, HINT);
            }
        }
        if roots.is_empty() {
            return found.wrong(&format!("{} holds no certificate", file.display()), HINT);
        }
        Some(pem)
    }

    /// Reads `secret`: one or a list, the first one signs.
    pub fn signing(&self, found: Found<'_>) -> Option<Vec<SecretString>> {
        if found.is_empty_list() {
            return found.wrong("is an empty list", REFERENCE);
        }
        let mut secrets = Vec::new();
        let mut complete = true;
        for item in found.one_or_list() {
            match self.secret(&item) {
                Some(secret) if secret.expose_secret().len() < SIGNING_MIN => {
                    let problem = format!("is shorter than {SIGNING_MIN} bytes");
                    item.wrong::<()>(&problem, "make one with `openssl rand -base64 32`");
                    complete = false;
                }
                Some(secret) => secrets.push(secret),
                None => complete = false,
            }
        }
        complete.then_some(secrets)
    }
}
