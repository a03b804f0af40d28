//! Random secrets of links and cookies. The store knows their hash, so that a copy of it opens nothing.
//!
//! Unlike a token (`token`) such a secret names no row and can be ended. 160 random bits need no slow hash.

use sha2::{Digest, Sha256};

const OCTETS: usize = 20;

/// As base32 in lower case: what a link or a cookie carries.
const LENGTH: usize = 32;

/// Known to one person only; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// When the operating system has no random numbers.
    pub fn random() -> Result<Secret, getrandom::Error> {
        let mut octets = [0; OCTETS];
        getrandom::fill(&mut octets)?;
        let mut text = data_encoding::BASE32_NOPAD.encode(&octets);
        text.make_ascii_lowercase();
        Ok(Secret(text))
    }

    /// What somebody shows us, if it has the shape of one.
    pub fn read(text: &str) -> Option<Secret> {
        let shape = text.len() == LENGTH && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
        shape.then(|| Secret(text.to_owned()))
    }

    /// The text itself, for the one who gets it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored.
    pub fn hash(&self) -> String {
        data_encoding::HEXLOWER
            .encode(&Sha256::new().chain_update(b"tidings secret 1\0").chain_update(&self.0).finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_is_known_by_its_hash_and_prints_nothing() {
        let (one, other) = (Secret::random().unwrap(), Secret::random().unwrap());
        assert_ne!(one.hash(), other.hash());
        let read = Secret::read(one.reveal()).unwrap();
        assert_eq!(read.hash(), one.hash());
        assert!(!one.hash().contains(one.reveal()) && format!("{one:?}") == "Secret");
        for wrong in ["", "short", &"A".repeat(32), &"1".repeat(32), &"a".repeat(33), "é"] {
            assert_eq!(Secret::read(wrong), None, "{wrong}");
        }
    }
}
