//! Whether somebody who writes to a signed address is who the From says.

/// A token says what an answer is about, never who wrote it: that takes a pass of DMARC, or of an aligned DKIM signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SenderProof {
    /// Nothing depends on it.
    #[default]
    NotAsked,
    /// By what.
    Proven(String),
    /// Why not.
    Unproven(String),
}

/// Whether a signature of this domain (RFC 6376 `d=`) speaks for a From: it is the same domain or one above it. Narrower than
/// RFC 9989 section 4.4.1, whose relaxed alignment also takes a domain beside or below, which somebody else may run. A domain of
/// one label signs for nobody. Without a list of public suffixes: one that published keys could sign for those below it.
pub fn aligned(signing: &str, from: &str) -> bool {
    let (signing, from) = (signing.to_ascii_lowercase(), from.to_ascii_lowercase());
    let below = |child: &str, parent: &str| {
        child.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1)
    };
    let has_parent = |domain: &str| domain.trim_matches('.').contains('.');
    has_parent(&signing) && has_parent(&from) && (signing == from || below(&from, &signing))
}

#[cfg(test)]
mod tests {
    use super::aligned;

    #[test]
    fn a_domain_signs_for_itself_and_below() {
        for (signing, from, expected) in [
            ("example.net", "example.net", true),
            ("Example.NET", "staff.example.net", true),
            ("mail.example.net", "example.net", false),
            ("other.net", "example.net", false),
            ("evilexample.net", "example.net", false),
            ("example.net", "evilexample.net", false),
            ("net", "example.net", false),
            (".net", "example.net", false),
            ("", "example.net", false),
            ("a.example.net", "b.example.net", false),
        ] {
            assert_eq!(aligned(signing, from), expected, "{signing} {from}");
        }
    }
}
