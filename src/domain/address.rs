//! Mail addresses, checked once at the edge so that nothing behind it has to ask again (wire rules W27-W31).

use std::fmt;

use unicode_normalization::UnicodeNormalization;

/// RFC 5321 section 4.5.3.1.1.
const LOCAL_MAX: usize = 64;
/// RFC 5321 section 4.5.3.1.3: a path of 256 octets includes the angle brackets.
const ADDRESS_MAX: usize = 254;

/// A deliverable address: NFC, no control characters, the domain in lower-case A-labels. The local part keeps its case for
/// sending; [`Address::key`] is what duplicates and suppressions compare.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(String);

/// Why a text is not an address that we would send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressProblem {
    #[error("it has no @")]
    NoAt,
    #[error("the part before @ is empty")]
    EmptyLocal,
    #[error("the part before @ is longer than 64 octets")]
    LongLocal,
    #[error("the address is longer than 254 octets")]
    TooLong,
    #[error("it holds a space, a control character or one of <>()[],;:\\\"")]
    Forbidden,
    #[error("the part before @ starts or ends with a dot, or has two in a row")]
    Dots,
    #[error("the domain is not a valid name with at least two parts")]
    Domain,
}

impl Address {
    /// Checks and normalises an address.
    ///
    /// # Errors
    /// Says which rule the text breaks. Quoted local parts and address literals are refused: no bulk recipient has one,
    /// and both are a way to smuggle commands (W31).
    pub fn parse(text: &str) -> Result<Address, AddressProblem> {
        let text = text.trim();
        let text: String = if text.is_ascii() { text.to_owned() } else { text.nfc().collect() };
        let (local, domain) = text.rsplit_once('@').ok_or(AddressProblem::NoAt)?;
        if local.is_empty() {
            return Err(AddressProblem::EmptyLocal);
        }
        if local.len() > LOCAL_MAX {
            return Err(AddressProblem::LongLocal);
        }
        let forbidden = |c: char| c.is_control() || c.is_whitespace() || "<>()[],;:\\\"@\u{FFFD}".contains(c);
        if local.contains(forbidden) || domain.contains(forbidden) {
            return Err(AddressProblem::Forbidden);
        }
        if local.starts_with('.') || local.ends_with('.') || local.contains("..") {
            return Err(AddressProblem::Dots);
        }
        let domain = idna::domain_to_ascii_strict(domain).map_err(|_| AddressProblem::Domain)?;
        if !domain.contains('.') || domain.ends_with('.') || domain.len() > 253 {
            return Err(AddressProblem::Domain);
        }
        let address = format!("{local}@{domain}");
        if address.len() > ADDRESS_MAX {
            return Err(AddressProblem::TooLong);
        }
        Ok(Address(address))
    }

    /// An address that this code checked before it was stored.
    pub fn trusted(stored: String) -> Address {
        Address(stored)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Lower case, for comparing people and suppressions (W29).
    pub fn key(&self) -> String {
        self.0.to_lowercase()
    }

    pub fn local(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(local, _)| local)
    }

    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    /// Whether only a server with SMTPUTF8 can take it (W28).
    pub fn needs_smtputf8(&self) -> bool {
        !self.0.is_ascii()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A display name with its address, as in `Example News <weekly@news.example.org>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    pub name: String,
    pub address: Address,
}

impl Mailbox {
    /// Reads `Name <address>` or a bare address. A name in double quotes loses them.
    ///
    /// # Errors
    /// As [`Address::parse`]; a second address is [`AddressProblem::Forbidden`] (W14).
    pub fn parse(text: &str) -> Result<Mailbox, AddressProblem> {
        let text = text.trim();
        match text.strip_suffix('>').and_then(|t| t.rsplit_once('<')) {
            Some((name, address)) => {
                let name = name.trim();
                let name = name.strip_prefix('"').and_then(|n| n.strip_suffix('"')).unwrap_or(name);
                if name.contains(['<', '>']) || name.contains(char::is_control) {
                    return Err(AddressProblem::Forbidden);
                }
                Ok(Mailbox { name: name.nfc().collect(), address: Address::parse(address)? })
            }
            None => Ok(Mailbox { name: String::new(), address: Address::parse(text)? }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w27_w29_normalises_what_it_accepts() {
        let cases = [
            ("Ann@Example.ORG", "Ann@example.org"),
            (" user@bücher.example ", "user@xn--bcher-kva.example"),
            ("u@straße.example", "u@xn--strae-oqa.example"),
            ("e\u{301}@x.example", "é@x.example"),
            ("o'brien+news@x.example", "o'brien+news@x.example"),
        ];
        for (input, expected) in cases {
            assert_eq!(Address::parse(input).unwrap().as_str(), expected, "{input}");
        }
    }

    #[test]
    fn w30_w31_refuses_with_the_rule_that_is_broken() {
        use AddressProblem::*;
        let long = format!("{}@x.example", "a".repeat(65));
        let cases = [
            ("nobody", NoAt),
            ("@x.example", EmptyLocal),
            (long.as_str(), LongLocal),
            ("a b@x.example", Forbidden),
            ("\"a\\r\\nRCPT TO:<evil@x>\"@example.com", Forbidden),
            ("a@example.com\r\nDATA", Forbidden),
            ("a@b@example.com", Forbidden),
            (".a@x.example", Dots),
            ("a..b@x.example", Dots),
            ("a@localhost", Domain),
            ("a@[127.0.0.1]", Forbidden),
            ("a@x_y.example", Domain),
        ];
        for (input, expected) in cases {
            assert_eq!(Address::parse(input), Err(expected), "{input:?}");
        }
    }

    #[test]
    fn w29_keys_ignore_case() {
        let upper = Address::parse("Ann@X.example").unwrap();
        let lower = Address::parse("ann@x.example").unwrap();
        assert_eq!(upper.key(), lower.key());
    }

    #[test]
    fn w14_mailbox_takes_one_address() {
        let mailbox = Mailbox::parse("\"Example News\" <weekly@news.example.org>").unwrap();
        assert_eq!(mailbox.name, "Example News");
        assert_eq!(mailbox.address.as_str(), "weekly@news.example.org");
        assert!(Mailbox::parse("A <a@x.example>, B <b@x.example>").is_err());
        assert!(Mailbox::parse("Foo").is_err());
    }
}
