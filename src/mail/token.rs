//! Signed tokens: what links, reply addresses, return paths and Message-IDs carry instead of a look-up table.
//!
//! A token is `purpose, key id, row, second row, MAC` as lower-case base32: letters and digits only, because relays change the
//! case of addresses and some refuse anything else (W128). The MAC is HMAC-SHA-256 (RFC 2104) over a prefix of our own and all
//! that stands before it, cut to 96 bits; RFC 2104 section 5 asks for at least half of the hash or 80 bits. There is no expiry:
//! people answer old mail. The key id is derived from the secret, so a rotation needs no numbers in the configuration.
//! Limits: 256 key ids, so two secrets may collide; then the keyring refuses to start, and another secret has to be taken.

use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::domain::token::{Purpose, Subject};

/// Octets of the MAC that a token carries.
const MAC_LEN: usize = 12;
/// The longest token that is worth decoding: two rows of 64 bits.
const DECODE_MAX: usize = 56;
/// Keeps these MACs apart from any other use of the same secret.
const DOMAIN: &[u8] = b"tidings token 1\0";
const FINGERPRINT_DOMAIN: &[u8] = b"tidings fingerprint 1\0";
const BINDING_DOMAIN: &[u8] = b"tidings binding 1\0";
const KEY_ID_DOMAIN: &[u8] = b"tidings key id 1\0";
/// What a Message-ID starts with. The dot keeps it out of SpamAssassin's MSGID_RANDY, which wants letters and digits only.
const MESSAGE_ID_PREFIX: &str = "m.";

/// Why the secrets make no keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringProblem {
    #[error("there is no secret")]
    Empty,
    #[error("secret number {0} is empty")]
    Blank(usize),
    #[error("secrets number {0} and {1} have the same key id; take another one in place of the newer")]
    Collision(usize, usize),
}

struct Key {
    id: u8,
    mac: Hmac<Sha256>,
}

/// The secrets, ready to sign and to check. The first one signs, all of them verify.
pub struct Keyring {
    keys: Vec<Key>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring({} keys)", self.keys.len())
    }
}

impl Keyring {
    /// # Errors
    /// No secret, an empty one, or two with the same key id (counted from 1 in the message).
    pub fn new(secrets: &[SecretString]) -> Result<Keyring, KeyringProblem> {
        let mut keys: Vec<Key> = Vec::with_capacity(secrets.len());
        for (at, secret) in secrets.iter().enumerate() {
            let secret = secret.expose_secret().as_bytes();
            if secret.is_empty() {
                return Err(KeyringProblem::Blank(at + 1));
            }
            let id = key_id(secret);
            if let Some(other) = keys.iter().position(|key| key.id == id) {
                return Err(KeyringProblem::Collision(other + 1, at + 1));
            }
            keys.push(Key { id, mac: hmac_key(secret) });
        }
        if keys.is_empty() { Err(KeyringProblem::Empty) } else { Ok(Keyring { keys }) }
    }

    /// The key that signs now. A delivery stores it with its first attempt.
    pub fn current_key_id(&self) -> u8 {
        self.signing_key().id
    }

    /// A token under the current key.
    pub fn mint(&self, subject: Subject) -> String {
        mint(self.signing_key(), subject)
    }

    /// A token under the key that a delivery was first tried with, so that its envelope and Message-ID survive a rotation. When
    /// that key is gone, the current one signs.
    pub fn mint_with(&self, key_id: u8, subject: Subject) -> String {
        mint(self.key(key_id).unwrap_or(self.signing_key()), subject)
    }

    /// What a token names, if one of our keys signed it. Ignores case; takes constant time for tokens of one length, known key or
    /// not (W42, W207).
    pub fn verify(&self, token: &str) -> Option<Subject> {
        if token.len() > DECODE_MAX || !token.is_ascii() {
            return None;
        }
        let octets = data_encoding::BASE32_NOPAD.decode(token.to_ascii_uppercase().as_bytes()).ok()?;
        let (signed, mac) = octets.split_at_checked(octets.len().checked_sub(MAC_LEN)?)?;
        let [purpose, key_id, rows @ ..] = signed else { return None };
        let known = self.key(*key_id);
        let right = keyed(known.unwrap_or(self.signing_key()), signed).verify_truncated_left(mac).is_ok();
        if !right || known.is_none() {
            return None;
        }
        let (row, rest) = read_varint(rows)?;
        let (second, rest) = read_varint(rest)?;
        let purpose = purpose_of(*purpose)?;
        rest.is_empty().then_some(Subject { purpose, row, second })
    }

    /// Keyed hashes of a text, one per key and the current one first: they tell whether it is the same text, and not which one.
    pub fn fingerprints(&self, text: &str) -> Vec<String> {
        let hash = |key: &Key| {
            let mut mac = key.mac.clone();
            mac.update(FINGERPRINT_DOMAIN);
            mac.update(text.as_bytes());
            data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes()[..16])
        };
        self.keys.iter().map(hash).collect()
    }

    /// A number for an address, to bind a token to it: a row's number may be given again, and then it names somebody else.
    pub fn binding(address_key: &str) -> i64 {
        let hash = Sha256::new().chain_update(BINDING_DOMAIN).chain_update(address_key).finalize();
        i64::from_be_bytes(hash[..8].try_into().expect("SHA-256 has 32 octets"))
    }

    /// What stands in the list of suppressions in place of an address that was erased, one for each key and the current one first.
    pub fn erased_marks(&self, address_key: &str) -> Vec<String> {
        let hashes = self.fingerprints(&format!("erased {address_key}"));
        self.keys.iter().zip(hashes).map(|(key, hash)| format!("erased:{:02x}:{hash}", key.id)).collect()
    }

    /// Of all keys, the current one first.
    pub fn key_ids(&self) -> impl Iterator<Item = u8> + '_ {
        self.keys.iter().map(|key| key.id)
    }

    fn signing_key(&self) -> &Key {
        self.keys.first().expect("the constructor refuses an empty keyring")
    }

    fn key(&self, id: u8) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }
}

/// The Message-ID of a delivery, without angle brackets (RFC 5322 section 3.6.4): the same at every attempt, and nobody else can
/// make one up (W16).
pub fn message_id(keyring: &Keyring, key_id: u8, delivery: i64, domain: &str) -> String {
    let subject = Subject { purpose: Purpose::MessageId, row: delivery, second: 0 };
    format!("{MESSAGE_ID_PREFIX}{}@{domain}", keyring.mint_with(key_id, subject))
}

/// The delivery that a Message-ID of ours names, with or without angle brackets, whatever its domain is by now.
pub fn delivery_in_message_id(keyring: &Keyring, message_id: &str) -> Option<i64> {
    let id = message_id.trim().trim_start_matches('<').trim_end_matches('>');
    let (local, _) = id.rsplit_once('@')?;
    let prefix = local.get(..MESSAGE_ID_PREFIX.len())?;
    if !prefix.eq_ignore_ascii_case(MESSAGE_ID_PREFIX) {
        return None;
    }
    let subject = keyring.verify(&local[MESSAGE_ID_PREFIX.len()..])?;
    (subject.purpose == Purpose::MessageId).then_some(subject.row)
}

fn mint(key: &Key, subject: Subject) -> String {
    let mut octets = Vec::with_capacity(40);
    octets.push(purpose_byte(subject.purpose));
    octets.push(key.id);
    write_varint(subject.row, &mut octets);
    write_varint(subject.second, &mut octets);
    let mac = keyed(key, &octets).finalize().into_bytes();
    octets.extend_from_slice(&mac[..MAC_LEN]);
    let mut token = data_encoding::BASE32_NOPAD.encode(&octets);
    token.make_ascii_lowercase();
    token
}

fn keyed(key: &Key, signed: &[u8]) -> Hmac<Sha256> {
    let mut mac = key.mac.clone();
    mac.update(DOMAIN);
    mac.update(signed);
    mac
}

fn hmac_key(secret: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length")
}

fn key_id(secret: &[u8]) -> u8 {
    Sha256::new().chain_update(KEY_ID_DOMAIN).chain_update(secret).finalize()[0]
}

/// These numbers are in mails that people keep; they never change.
fn purpose_byte(purpose: Purpose) -> u8 {
    match purpose {
        Purpose::Unsubscribe => 1,
        Purpose::Preferences => 2,
        Purpose::View => 3,
        Purpose::Bounce => 4,
        Purpose::Edition => 5,
        Purpose::Thread => 6,
        Purpose::Staff => 7,
        Purpose::MessageId => 8,
        Purpose::Editors => 9,
        Purpose::Confirm => 10,
        Purpose::Form => 11,
        Purpose::Session => 12,
        Purpose::StaffNote => 13,
    }
}

fn purpose_of(byte: u8) -> Option<Purpose> {
    use Purpose::*;
    let all = [
        Unsubscribe,
        Preferences,
        View,
        Bounce,
        Edition,
        Thread,
        Staff,
        MessageId,
        Editors,
        Confirm,
        Form,
        Session,
        StaffNote,
    ];
    all.into_iter().find(|purpose| purpose_byte(*purpose) == byte)
}

/// LEB128 over the two's complement, so that small rows make short tokens.
fn write_varint(row: i64, into: &mut Vec<u8>) {
    let mut rest = row as u64;
    while rest >= 0x80 {
        into.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    into.push(rest as u8);
}

fn read_varint(octets: &[u8]) -> Option<(i64, &[u8])> {
    let mut row = 0u64;
    for (at, octet) in octets.iter().enumerate().take(10) {
        row |= u64::from(octet & 0x7f).checked_shl(7 * at as u32)?;
        if octet & 0x80 == 0 {
            return Some((row as i64, &octets[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::token::TOKEN_MAX;

    fn ring(secrets: &[&str]) -> Keyring {
        let secrets: Vec<SecretString> = secrets.iter().map(|s| SecretString::from(*s)).collect();
        Keyring::new(&secrets).unwrap()
    }

    fn subject(purpose: Purpose, row: i64, second: i64) -> Subject {
        Subject { purpose, row, second }
    }

    #[test]
    fn the_primitive_is_hmac_sha_256() {
        // RFC 4231 section 4.3, test case 2.
        let mut mac = hmac_key(b"Jefe");
        mac.update(b"what do ya want for nothing?");
        let hex = data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes());
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn what_is_minted_verifies_in_any_case() {
        let ring = ring(&["a secret of some length"]);
        for (row, second) in
            [(0, 0), (1, 0), (127, 128), (i64::MAX, i64::MAX), (-1, -1), ((1 << 42) - 1, 16_383)]
        {
            let token = ring.mint(subject(Purpose::Staff, row, second));
            assert!(token.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7')), "{token}");
            assert_eq!(ring.verify(&token), Some(subject(Purpose::Staff, row, second)), "{token}");
            assert_eq!(ring.verify(&token.to_uppercase()), Some(subject(Purpose::Staff, row, second)));
        }
    }

    #[test]
    fn w207_every_character_counts() {
        let ring = ring(&["one", "another"]);
        let token = ring.mint(subject(Purpose::Unsubscribe, 402, 0));
        for at in 0..token.len() {
            for other in "abcdefghijklmnopqrstuvwxyz234567".chars() {
                let mut changed: Vec<char> = token.chars().collect();
                if changed[at] == other {
                    continue;
                }
                changed[at] = other;
                let changed: String = changed.into_iter().collect();
                assert_eq!(ring.verify(&changed), None, "{changed}");
            }
        }
        for end in 0..token.len() {
            assert_eq!(ring.verify(&token[..end]), None);
        }
        assert_eq!(ring.verify(&format!("{token}a")), None);
    }

    #[test]
    fn a_token_is_bound_to_its_purpose_and_rows() {
        let ring = ring(&["one"]);
        let tokens: Vec<String> =
            [Purpose::Unsubscribe, Purpose::Preferences, Purpose::Bounce, Purpose::Thread]
                .into_iter()
                .flat_map(|purpose| [ring.mint(subject(purpose, 1, 2)), ring.mint(subject(purpose, 2, 1))])
                .collect();
        let distinct: std::collections::BTreeSet<&String> = tokens.iter().collect();
        assert_eq!(distinct.len(), tokens.len());
    }

    #[test]
    fn a_rotated_key_verifies_and_keeps_first_attempts() {
        let old = ring(&["old"]);
        let both = ring(&["new", "old"]);
        let first = old.mint(subject(Purpose::Bounce, 9, 0));
        assert!(both.verify(&first).is_some());
        assert_eq!(both.mint_with(old.current_key_id(), subject(Purpose::Bounce, 9, 0)), first);
        assert_ne!(both.mint(subject(Purpose::Bounce, 9, 0)), first);
        let new = ring(&["new"]);
        assert_eq!(new.verify(&first), None);
        // The key of the first attempt is gone: the current one takes over.
        let again = new.mint_with(old.current_key_id(), subject(Purpose::Bounce, 9, 0));
        assert_eq!(again, new.mint(subject(Purpose::Bounce, 9, 0)));
    }

    #[test]
    fn secrets_that_cannot_be_told_apart_are_refused() {
        let make = |secrets: &[&str]| {
            let secrets: Vec<SecretString> = secrets.iter().map(|s| SecretString::from(*s)).collect();
            Keyring::new(&secrets).map(|ring| ring.current_key_id())
        };
        assert_eq!(make(&[]), Err(KeyringProblem::Empty));
        assert_eq!(make(&["a", ""]), Err(KeyringProblem::Blank(2)));
        assert_eq!(make(&["a", "b", "a"]), Err(KeyringProblem::Collision(1, 3)));
        let first = make(&["s0"]).unwrap();
        let same = (1..10_000).map(|n| format!("s{n}")).find(|s| make(&[s]).unwrap() == first).unwrap();
        assert_eq!(make(&["s0", &same]), Err(KeyringProblem::Collision(1, 2)));
    }

    #[test]
    fn w208_the_longest_token_fits_its_room() {
        let ring = ring(&["one"]);
        let longest = ring.mint(subject(Purpose::Staff, (1 << 56) - 1, (1 << 21) - 1));
        assert_eq!(longest.len(), TOKEN_MAX);
        let usual = ring.mint(subject(Purpose::Staff, (1 << 42) - 1, (1 << 14) - 1));
        assert!(usual.len() <= 36);
    }

    #[test]
    fn w16_message_ids_are_stable_distinct_and_ours() {
        let ring = ring(&["one"]);
        let id = message_id(&ring, ring.current_key_id(), 77, "news.example.org");
        assert_eq!(id, message_id(&ring, ring.current_key_id(), 77, "news.example.org"));
        assert_eq!(delivery_in_message_id(&ring, &id), Some(77));
        assert_eq!(delivery_in_message_id(&ring, &format!(" <{}> ", id.to_uppercase())), Some(77));
        assert_eq!(delivery_in_message_id(&ring, "<m.aaaa@news.example.org>"), None);
        let view = ring.mint(subject(Purpose::View, 77, 0));
        assert_eq!(delivery_in_message_id(&ring, &format!("m.{view}@news.example.org")), None);
        let (local, _) = id.split_once('@').unwrap();
        assert!(local.len() <= 64);
        assert!(local.contains('.'), "MSGID_RANDY wants letters, digits, $ and - only");
        let all: std::collections::BTreeSet<String> =
            (0..10_000).map(|n| message_id(&ring, 0, n, "x.example")).collect();
        assert_eq!(all.len(), 10_000);
    }
}
