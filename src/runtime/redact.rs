//! Addresses in logs: the first character and the domain are enough to find a person, and not enough to write to one.

use std::fmt;

/// Displays an address as `a***@example.org`. Text without `@` is hidden whole.
pub struct Masked<'a>(pub &'a str);

impl fmt::Display for Masked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.rsplit_once('@') {
            Some((local, domain)) => {
                let first = local.chars().next().unwrap_or('*');
                write!(f, "{first}***@{domain}")
            }
            None => f.write_str("***"),
        }
    }
}

/// Displays a text, such as a peer's reply, with everything that looks like an address masked.
pub struct MaskedText<'a>(pub &'a str);

impl fmt::Display for MaskedText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |c: char| c.is_alphanumeric() || "@._%+-'=!#$&*/?^`{|}~".contains(c);
        let mut rest = self.0;
        while let Some(start) = rest.find(part) {
            f.write_str(&rest[..start])?;
            let word = &rest[start..];
            let end = word.find(|c: char| !part(c)).unwrap_or(word.len());
            match word[..end].split_once('@') {
                Some((local, domain)) if !local.is_empty() && !domain.is_empty() => {
                    Masked(&word[..end]).fmt(f)?;
                }
                _ => f.write_str(&word[..end])?,
            }
            rest = &word[end..];
        }
        f.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::{Masked, MaskedText};

    #[test]
    fn hides_all_but_first_character_and_domain() {
        assert_eq!(Masked("ann.lee@example.org").to_string(), "a***@example.org");
        assert_eq!(Masked("no address").to_string(), "***");
        assert_eq!(Masked("@example.org").to_string(), "****@example.org");
    }

    #[test]
    fn addresses_inside_a_text_are_masked() {
        let reply = "550 5.1.1 <secret.person@dom.example>: Recipient address rejected (rcpt)";
        assert_eq!(
            MaskedText(reply).to_string(),
            "550 5.1.1 <s***@dom.example>: Recipient address rejected (rcpt)"
        );
        assert_eq!(MaskedText("owner-email=\"eve@x.example\"").to_string(), "owner-email=\"e***@x.example\"");
        assert_eq!(MaskedText("a @ b, no address").to_string(), "a @ b, no address");
    }
}
