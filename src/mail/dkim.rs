//! DKIM signatures (RFC 6376): rsa-sha256, and ed25519-sha256 (RFC 8463) beside it where there is a key; relaxed/relaxed, over the
//! octets that leave.
//!
//! Every key whose domain is aligned with the From signs, in the order of the settings; the signatures stand in front of the
//! message. Time is an argument and nothing is random, so a retry has the same signature (W25). The signing library at hand
//! reads the clock and cannot do that. Never `l=` (W61); no `x=`, because a queue may outlive it (W62).
//! What does not change is made once, with the signer: names, tags, key. Of a message there remain the hash of its body, which
//! begins with its own boundary, some 20 short fields, and the RSA operation, which is nearly all of the cost.

use aws_lc_rs::digest::{Context, SHA256};

use super::canonical::{self, RawField};
use super::dkim_key::{self, KeyProblem, SigningKey};
use crate::domain::sender::aligned;
use crate::runtime::Timestamp;

/// RFC 5322 section 2.1.1 wants 78.
const LINE: usize = 76;

/// The fields that are signed where they are there, by what they say or what programs do with them (W59, RFC 6376 section 5.4.1).
/// With `true`, one more than there are is named: a field of this name that somebody adds breaks the signature (W60, section
/// 8.15). Not so where relays add one for good reasons, such as Sender.
const SIGNED: [(&str, bool); 25] = [
    ("from", true),
    ("sender", false),
    ("reply-to", true),
    ("to", true),
    ("cc", false),
    ("subject", true),
    ("date", true),
    ("message-id", false),
    ("in-reply-to", false),
    ("references", false),
    ("mime-version", false),
    ("content-type", true),
    ("content-transfer-encoding", false),
    ("list-id", false),
    ("list-help", false),
    ("list-unsubscribe", true),
    ("list-unsubscribe-post", true),
    ("list-subscribe", false),
    ("list-post", false),
    ("list-owner", false),
    ("list-archive", false),
    ("feedback-id", false),
    ("precedence", false),
    ("auto-submitted", false),
    ("x-auto-response-suppress", false),
];

/// Why a message cannot be signed. Our own fault: it waits for an operator and is never sent unsigned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignProblem {
    #[error("no RSA key for DKIM is aligned with the From domain {0}")]
    NoKey(String),
    #[error("the DKIM key of {0} did not sign")]
    Failed(String),
}

/// One key with the name under which its public half is in DNS.
pub struct DkimKey {
    domain: String,
    selector: String,
    key: SigningKey,
    /// The field up to the time.
    opening: String,
}

impl std::fmt::Debug for DkimKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DkimKey({})", dkim_key::record_name(&self.selector, &self.domain))
    }
}

impl DkimKey {
    /// `domain` in A-labels.
    ///
    /// # Errors
    /// Why the key cannot sign.
    pub fn new(domain: &str, selector: &str, pem: &str) -> Result<DkimKey, KeyProblem> {
        let key = dkim_key::parse(pem)?;
        let algorithm = key.algorithm();
        let opening = format!("v=1; a={algorithm}; c=relaxed/relaxed;\r\n d={domain};\r\n s={selector}; t=");
        Ok(DkimKey { domain: domain.to_owned(), selector: selector.to_owned(), key, opening })
    }

    /// Whether every verifier can check its signatures. Not every one knows Ed25519 (W63).
    pub fn is_rsa(&self) -> bool {
        matches!(self.key, SigningKey::Rsa(_))
    }

    /// Whether receivers take its signatures as those of this From domain (DMARC, relaxed).
    pub fn signs_for(&self, from_domain: &str) -> bool {
        aligned(&self.domain, from_domain)
    }

    pub fn record(&self) -> String {
        dkim_key::record(&self.key)
    }

    pub fn record_name(&self) -> String {
        dkim_key::record_name(&self.selector, &self.domain)
    }

    /// Appends the whole field for these canonical fields and this body hash.
    fn sign(&self, what: &Canonical, at: Timestamp, into: &mut Vec<u8>) -> Result<(), SignProblem> {
        let start = into.len();
        into.extend_from_slice(b"DKIM-Signature: ");
        into.extend_from_slice(self.opening.as_bytes());
        into.extend_from_slice(at.millis().div_euclid(1000).to_string().as_bytes());
        into.extend_from_slice(b";\r\n h=");
        into.extend_from_slice(what.names.as_bytes());
        into.extend_from_slice(b";\r\n bh=");
        into.extend_from_slice(what.body_hash.as_bytes());
        into.extend_from_slice(b";\r\n b=");
        let mut input = Vec::with_capacity(what.fields.len() + 1024);
        input.extend_from_slice(&what.fields);
        for own in canonical::fields(&into[start..]) {
            canonical::field(own, &mut input);
        }
        let signature = self.key.sign(&input).map_err(|_| SignProblem::Failed(self.record_name()))?;
        let signature = data_encoding::BASE64.encode(&signature);
        let (first, rest) = signature.split_at(LINE - 3);
        into.extend_from_slice(first.as_bytes());
        for line in rest.as_bytes().chunks(LINE - 1) {
            into.extend_from_slice(b"\r\n ");
            into.extend_from_slice(line);
        }
        into.extend_from_slice(b"\r\n");
        Ok(())
    }
}

/// What all signatures of a message have in common.
struct Canonical {
    /// The value of `h=`, folded.
    names: String,
    fields: Vec<u8>,
    body_hash: String,
}

impl Canonical {
    fn of(message: &[u8], body_at: usize) -> Canonical {
        let (header, body) = message.split_at(body_at);
        let fields = canonical::fields(header);
        let names = names(&fields);
        Canonical {
            fields: input(&fields, names.iter().copied()),
            names: folded(&names),
            body_hash: body_hash(body),
        }
    }
}

/// The value of `bh=`.
fn body_hash(body: &[u8]) -> String {
    let mut hash = Context::new(&SHA256);
    canonical::body(body, |slice| hash.update(slice));
    data_encoding::BASE64.encode(hash.finish().as_ref())
}

/// The names for `h=`, each as often as it is there, and those of W60 once more.
fn names(fields: &[RawField<'_>]) -> Vec<&'static str> {
    let mut names = Vec::with_capacity(40);
    for (name, once_more) in SIGNED {
        let there = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes())).count();
        names.extend(std::iter::repeat_n(name, there + usize::from(once_more)));
    }
    names
}

/// The canonical fields in the order of `h=`; of several with one name the last comes first, and a name that is used up adds
/// nothing (RFC 6376 section 5.4.2).
fn input<'a>(fields: &[RawField<'_>], names: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut input = Vec::with_capacity(2048);
    let mut used = vec![false; fields.len()];
    for name in names {
        let last = (0..fields.len())
            .rev()
            .find(|at| !used[*at] && fields[*at].name.eq_ignore_ascii_case(name.as_bytes()));
        if let Some(at) = last {
            used[at] = true;
            canonical::field(fields[at], &mut input);
            input.extend_from_slice(b"\r\n");
        }
    }
    input
}

/// Folds behind colons.
fn folded(names: &[&str]) -> String {
    let mut out = String::new();
    let mut column = " h=".len();
    for (at, name) in names.iter().enumerate() {
        if at > 0 {
            out.push(':');
            column += 1;
        }
        if column + name.len() + 1 > LINE {
            out.push_str("\r\n ");
            column = 1;
        }
        out.push_str(name);
        column += name.len();
    }
    out
}

/// The keys of a daemon.
#[derive(Debug)]
pub struct Signer {
    keys: Vec<DkimKey>,
}

impl Signer {
    pub fn new(keys: Vec<DkimKey>) -> Signer {
        Signer { keys }
    }

    pub fn keys(&self) -> &[DkimKey] {
        &self.keys
    }

    /// Puts a signature of each key that is aligned with `from_domain` in front of `message`, whose body begins at `body_at`.
    ///
    /// # Errors
    /// When not one key signs, or any of them fails; `message` is as it was.
    pub fn sign(
        &self,
        from_domain: &str,
        at: Timestamp,
        message: &mut Vec<u8>,
        body_at: usize,
    ) -> Result<(), SignProblem> {
        let keys = || self.keys.iter().filter(|key| key.signs_for(from_domain));
        if !keys().any(DkimKey::is_rsa) {
            return Err(SignProblem::NoKey(from_domain.to_owned()));
        }
        let what = Canonical::of(message, body_at);
        let mut signatures = Vec::with_capacity(1536);
        for key in keys() {
            key.sign(&what, at, &mut signatures)?;
        }
        message.splice(0..0, signatures);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
    use sha2::{Digest, Sha256};

    /// RFC 8463 appendix A.3, the RSA signature.
    const RFC_8463: &str = "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n \
        d=football.example.com; i=@football.example.com;\r\n \
        q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n \
        date : message-id : from : subject : date;\r\n \
        bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b=\r\n\
        From: Joe SixPack <joe@football.example.com>\r\n\
        To: Suzie Q <suzie@shopping.example.net>\r\n\
        Subject: Is dinner ready?\r\n\
        Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\
        Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n";
    const RFC_8463_BODY: &str = "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n\r\n";
    const RFC_8463_B: &str = "F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tF\
        OeS9mPYQTnGdaSGsgeefOsk2JzdA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=";
    /// RFC 8463 appendix A.2: the `p=` of the RSA key.
    const RFC_8463_P: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/\
        J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB";

    fn rfc_8463_input(header: &str) -> Vec<u8> {
        let fields = canonical::fields(header.as_bytes());
        let names = "from to subject date message-id from subject date".split(' ');
        let mut input = input(&fields, names);
        canonical::field(fields[0], &mut input);
        input
    }

    #[test]
    fn w56_the_rsa_vector_of_rfc_8463_reproduces() {
        assert_eq!(body_hash(RFC_8463_BODY.as_bytes()), "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=");
        let input = rfc_8463_input(RFC_8463);
        let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(&input));
        assert_eq!(hash, "fed71e6d70fb123bb5c353adc42821b304b6b9d54fc867f304f7c61daaaa1111");
        // RSASSA-PKCS1-v1_5 has one signature for a key and an input (RFC 8017 section 8.2.1): what verifies is what signing
        // gives. The key has 1024 bits, with which nothing here signs.
        let key = data_encoding::BASE64.decode(RFC_8463_P.as_bytes()).unwrap();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, key);
        let signature = data_encoding::BASE64.decode(RFC_8463_B.as_bytes()).unwrap();
        key.verify(&input, &signature).unwrap();
        // Names twice in h= catch a second From.
        let forged = format!("{RFC_8463}From: Somebody Else <else@football.example.com>\r\n");
        assert!(key.verify(&rfc_8463_input(&forged), &signature).is_err());
    }

    #[test]
    fn w63_the_ed25519_vector_of_rfc_8463_reproduces() {
        let header = RFC_8463.replace("a=rsa-sha256", "a=ed25519-sha256").replace("s=test", "s=brisbane");
        let input = rfc_8463_input(&header);
        let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(&input));
        assert_eq!(hash, "48ce9a2c710ece1710ff156996b836a7f45470e43efe5643074d6e1690ed62e7");
        let key = dkim_key::parse(include_str!("../../tests/keys/rfc8463-ed25519.pem")).unwrap();
        let expected =
            "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==";
        assert_eq!(data_encoding::BASE64.encode(&key.sign(&input).unwrap()), expected);
    }

    #[test]
    fn w59_w60_names_of_what_is_there_and_one_more() {
        let header =
            b"From: a\r\nTO: b\r\nList-Unsubscribe: <c>\r\nX-Other: d\r\nReceived: e\r\nSender: f\r\n";
        let fields = canonical::fields(header);
        let expected = "from:from:sender:reply-to:to:to:subject:date:content-type:list-unsubscribe:list-unsubscribe:\
            list-unsubscribe-post";
        assert_eq!(names(&fields).join(":"), expected);
        let text = folded(&names(&fields));
        assert_eq!(text.replace("\r\n ", ""), expected);
        assert!(text.split("\r\n").all(|line| line.len() + 3 <= LINE), "{text}");
    }
}
