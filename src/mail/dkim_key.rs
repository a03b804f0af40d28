//! RSA keys for DKIM: read from PEM and checked, made new, and written as the DNS record that publishes them.
//!
//! 2048 bits and more only. RFC 8301 section 3.2 allows 1024; neither large providers recommend it nor does the library sign
//! with it. Known gap: no Ed25519 (RFC 8463), which no large provider asks for.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
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
    #[error("is not an RSA key")]
    NotRsa,
    #[error("is an RSA key of fewer than 2048 bits")]
    Short,
    #[error("is an RSA key of more than 8192 bits")]
    Long,
    #[error("is damaged: it is no RSA key that fits together")]
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

/// Reads a private key: PKCS#8 or PKCS#1, PEM.
///
/// # Errors
/// Why it cannot sign.
pub fn parse(pem: &str) -> Result<KeyPair, KeyProblem> {
    let Ok(key) = PrivateKeyDer::from_pem_slice(pem.as_bytes()) else {
        return Err(what_else(pem));
    };
    let parsed = match &key {
        PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err(KeyProblem::NotRsa),
    };
    parsed.map_err(|rejected| match rejected.to_string().as_str() {
        "TooSmall" => KeyProblem::Short,
        "TooLarge" => KeyProblem::Long,
        "WrongAlgorithm" => KeyProblem::NotRsa,
        _ => KeyProblem::Damaged,
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

/// The sizes that [`generate`] makes.
pub const SIZES: [&str; 3] = ["2048", "3072", "4096"];

/// Makes a key, and its PEM (PKCS#8). `None`: there is no such size, or the system gave no random numbers.
pub fn generate(bits: &str) -> Option<(KeyPair, SecretString)> {
    let size = match bits {
        "2048" => KeySize::Rsa2048,
        "3072" => KeySize::Rsa3072,
        "4096" => KeySize::Rsa4096,
        _ => return None,
    };
    let pair = KeyPair::generate(size).ok()?;
    let der: Pkcs8V1Der<'_> = pair.as_der().ok()?;
    let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
    for line in data_encoding::BASE64.encode(der.as_ref()).as_bytes().chunks(64) {
        pem.extend(line.iter().map(|octet| char::from(*octet)));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    Some((pair, SecretString::from(pem)))
}

/// The TXT record that publishes the key (RFC 6376 section 3.6.1), as one line.
pub fn record(pair: &KeyPair) -> String {
    let key: Result<PublicKeyX509Der<'_>, _> = pair.public_key().as_der();
    let key = key.expect("the public half of a key that was checked can be written");
    format!("v=DKIM1; k=rsa; p={}", data_encoding::BASE64.encode(key.as_ref()))
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
        assert_eq!(again.public_modulus_len(), 256);
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
            (&named("EC PRIVATE KEY"), KeyProblem::NotRsa),
            (&named("RSA PRIVATE KEY"), KeyProblem::Damaged),
            (include_str!("../../tests/keys/rfc8463-rsa.pem"), KeyProblem::Short),
            (include_str!("../../tests/keys/rfc8463-ed25519.pem"), KeyProblem::NotRsa),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).err(), Some(expected), "{text}");
        }
    }

    #[test]
    fn w57_both_forms_of_pem_are_the_same_key() {
        let (pair, _) = generate("2048").unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        // RFC 5208 section 5: version and algorithm, then the PKCS#1 key in an octet string.
        let inner = data_encoding::BASE64.encode(&der.as_ref()[26..]);
        let traditional =
            format!("-----BEGIN RSA PRIVATE KEY-----\n{inner}\n-----END RSA PRIVATE KEY-----\n");
        assert_eq!(record(&parse(&traditional).unwrap()), record(&pair));
    }
}
