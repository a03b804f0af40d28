//! Keys for DKIM: read from PEM and checked, made new, and written as the DNS record that publishes them.
//!
//! RSA of 2048 bits and more only: RFC 8301 section 3.2 allows 1024; neither large providers recommend it nor does the library
//! sign with it. Ed25519 (RFC 8463) for a second signature beside that of an RSA key, which many verifiers cannot do without.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use secrecy::SecretString;

/// RFC 1035 section 3.3: one string of a TXT record.
const TXT_STRING: usize = 255;

/// Why a key cannot sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    #[error("holds no PEM private key")]
    NotPem,
    #[error("is a public key, and signing takes the private one")]
    Public,
    #[error("is encrypted with a passphrase, and nobody is there to type it")]
    Encrypted,
    #[error("is an OpenSSH key")]
    OpenSsh,
    #[error("is neither an RSA nor an Ed25519 key")]
    OtherKind,
    #[error("is an RSA key of fewer than 2048 bits")]
    Short,
    #[error("is an RSA key of more than 8192 bits")]
    Long,
    #[error("is damaged: it is no key that fits together")]
    Damaged,
}

impl KeyProblem {
    /// What would be right.
    pub fn hint(self) -> &'static str {
        match self {
            KeyProblem::Encrypted => "take the passphrase off: `openssl pkey -in FILE -out NEW_FILE`",
            KeyProblem::Short => {
                "make one of 2048 bits with `tidings dkim generate SELECTOR` and publish it under a new selector"
            }
            _ => "name a PEM file with an RSA private key; `tidings dkim generate SELECTOR` makes one",
        }
    }
}

/// A private key that was checked.
pub enum SigningKey {
    Rsa(KeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// The value of `a=`.
    pub fn algorithm(&self) -> &'static str {
        match self {
            SigningKey::Rsa(_) => "rsa-sha256",
            SigningKey::Ed25519(_) => "ed25519-sha256",
        }
    }

    /// Signs canonical fields.
    ///
    /// # Errors
    /// When the library does, which it should not with a key that was checked.
    pub fn sign(&self, input: &[u8]) -> Result<Vec<u8>, Unspecified> {
        match self {
            SigningKey::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input, &mut signature)?;
                Ok(signature)
            }
            // RFC 8463 section 3: PureEdDSA of the digest.
            SigningKey::Ed25519(pair) => {
                Ok(pair.try_sign(digest(&SHA256, input).as_ref())?.as_ref().to_vec())
            }
        }
    }
}

/// Reads a private key: PKCS#8, or PKCS#1 for RSA, PEM.
///
/// # Errors
/// Why it cannot sign.
pub fn parse(pem: &str) -> Result<SigningKey, KeyProblem> {
    let Ok(key) = PrivateKeyDer::from_pem_slice(pem.as_bytes()) else {
        return Err(what_else(pem));
    };
    let parsed = match &key {
        PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err(KeyProblem::OtherKind),
    };
    parsed.map(SigningKey::Rsa).or_else(|rejected| match rejected.to_string().as_str() {
        "TooSmall" => Err(KeyProblem::Short),
        "TooLarge" => Err(KeyProblem::Long),
        "WrongAlgorithm" => Ed25519KeyPair::from_pkcs8(key.secret_der())
            .map(SigningKey::Ed25519)
            .map_err(|_| KeyProblem::OtherKind),
        _ => Err(KeyProblem::Damaged),
    })
}

/// What a text is that holds no private key in the clear.
fn what_else(pem: &str) -> KeyProblem {
    let says = |words: &str| pem.contains(&format!("-----BEGIN {words}"));
    if says("ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED") {
        KeyProblem::Encrypted
    } else if says("PUBLIC KEY") || says("RSA PUBLIC KEY") {
        KeyProblem::Public
    } else if says("OPENSSH PRIVATE KEY") {
        KeyProblem::OpenSsh
    } else {
        KeyProblem::NotPem
    }
}

/// The sizes of RSA keys that [`generate`] makes.
pub const SIZES: [&str; 3] = ["2048", "3072", "4096"];

/// What [`generate`] takes for a key that has one size only.
pub const ED25519: &str = "ed25519";

/// Makes a key, and its PEM (PKCS#8). `kind`: one of [`SIZES`], or [`ED25519`]. `None`: there is no such kind, or the system gave
/// no random numbers.
pub fn generate(kind: &str) -> Option<(SigningKey, SecretString)> {
    let size = match kind {
        "2048" => KeySize::Rsa2048,
        "3072" => KeySize::Rsa3072,
        "4096" => KeySize::Rsa4096,
        ED25519 => {
            let pair = Ed25519KeyPair::generate().ok()?;
            // Version 1 is what other programs read.
            let pem = armoured(pair.to_pkcs8v1().ok()?.as_ref());
            return Some((SigningKey::Ed25519(pair), pem));
        }
        _ => return None,
    };
    let pair = KeyPair::generate(size).ok()?;
    let der: Pkcs8V1Der<'_> = pair.as_der().ok()?;
    let pem = armoured(der.as_ref());
    Some((SigningKey::Rsa(pair), pem))
}

fn armoured(der: &[u8]) -> SecretString {
    let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
    for line in data_encoding::BASE64.encode(der).as_bytes().chunks(64) {
        pem.extend(line.iter().map(|octet| char::from(*octet)));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    SecretString::from(pem)
}

/// The TXT record that publishes the key (RFC 6376 section 3.6.1, RFC 8463 section 4), as one line.
pub fn record(key: &SigningKey) -> String {
    match key {
        SigningKey::Rsa(pair) => {
            let key: Result<PublicKeyX509Der<'_>, _> = pair.public_key().as_der();
            let key = key.expect("the public half of a key that was checked can be written");
            format!("v=DKIM1; k=rsa; p={}", data_encoding::BASE64.encode(key.as_ref()))
        }
        SigningKey::Ed25519(pair) => {
            format!("v=DKIM1; k=ed25519; p={}", data_encoding::BASE64.encode(pair.public_key().as_ref()))
        }
    }
}

/// Where the record belongs.
pub fn record_name(selector: &str, domain: &str) -> String {
    format!("{selector}._domainkey.{domain}")
}

/// A record in strings of at most 255 octets, as zone files take it.
pub fn strings(record: &str) -> Vec<&str> {
    let mut rest = record;
    let mut strings = Vec::new();
    while !rest.is_empty() {
        // Records are ASCII.
        let (string, more) = rest.split_at(rest.len().min(TXT_STRING));
        strings.push(string);
        rest = more;
    }
    strings
}

/// A record as a line of a zone file (RFC 1035 section 5.1).
pub fn zone(name: &str, record: &str) -> String {
    let mut out = format!("{name}. IN TXT (");
    for string in strings(record) {
        out.push_str("\n    \"");
        out.push_str(string);
        out.push('"');
    }
    out.push_str(" )\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn w57_a_new_key_is_read_again_and_published() {
        let (pair, pem) = generate("2048").unwrap();
        let again = parse(pem.expose_secret()).unwrap();
        assert_eq!(record(&pair), record(&again));
        assert_eq!(again.sign(b"x").unwrap().len(), 256);
        let record = record(&pair);
        assert!(record.starts_with("v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"), "{record}");
        let strings = strings(&record);
        assert_eq!(strings.iter().map(|string| string.len()).collect::<Vec<_>>(), [255, record.len() - 255]);
        assert_eq!(strings.concat(), record);
        assert!(generate("1024").is_none());
    }

    #[test]
    fn w57_what_cannot_sign_is_named() {
        let (_, pem) = generate("2048").unwrap();
        let pem = pem.expose_secret();
        let named = |label: &str| pem.replace("PRIVATE KEY", label);
        let cases = [
            ("", KeyProblem::NotPem),
            ("hello", KeyProblem::NotPem),
            (&named("PUBLIC KEY"), KeyProblem::Public),
            (&named("ENCRYPTED PRIVATE KEY"), KeyProblem::Encrypted),
            (&named("OPENSSH PRIVATE KEY"), KeyProblem::OpenSsh),
            (&named("EC PRIVATE KEY"), KeyProblem::OtherKind),
            (P256, KeyProblem::OtherKind),
            (&named("RSA PRIVATE KEY"), KeyProblem::Damaged),
            (include_str!("../../tests/keys/rfc8463-rsa.pem"), KeyProblem::Short),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).err(), Some(expected), "{text}");
        }
    }

    /// `openssl ecparam -name prime256v1 -genkey`, as PKCS#8.
    const P256: &str = "-----BEGIN PRIVATE KEY-----\n\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgRT1Ep2pL+QZC/iem\n\
        kMwrJBYxV5eNpnTUKJz4hNDvZOGhRANCAAQdjWQWFvXuRin35xZHuJTCiirgVTOj\n\
        x2ajYmGtVWeE4w9Z04oNMXweqACVHgndFg0fgST4fgwQRNr8SwoCRE/0\n\
        -----END PRIVATE KEY-----\n";

    #[test]
    fn w63_an_ed25519_key_is_read_made_and_published() {
        // RFC 8463 appendix A.2.
        let key = parse(include_str!("../../tests/keys/rfc8463-ed25519.pem")).unwrap();
        assert_eq!(record(&key), "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
        let (key, pem) = generate(ED25519).unwrap();
        let again = parse(pem.expose_secret()).unwrap();
        assert_eq!(record(&key), record(&again));
        assert_eq!((again.algorithm(), again.sign(b"x").unwrap().len()), ("ed25519-sha256", 64));
        let damaged = pem.expose_secret().replace("MC4CAQ", "MC4CAh");
        assert_eq!(parse(&damaged).err(), Some(KeyProblem::Damaged), "{}", pem.expose_secret().len());
    }

    #[test]
    fn w57_both_forms_of_pem_are_the_same_key() {
        let (key, _) = generate("2048").unwrap();
        let SigningKey::Rsa(pair) = &key else { unreachable!("it was made as one") };
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        // RFC 5208 section 5: version and algorithm, then the PKCS#1 key in an octet string.
        let inner = data_encoding::BASE64.encode(&der.as_ref()[26..]);
        let traditional =
            format!("-----BEGIN RSA PRIVATE KEY-----\n{inner}\n-----END RSA PRIVATE KEY-----\n");
        assert_eq!(record(&parse(&traditional).unwrap()), record(&key));
    }
}
