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

#[cfg(test)]
mod tests {
    use super::Masked;

    #[test]
    fn hides_all_but_first_character_and_domain() {
        assert_eq!(Masked("ann.lee@example.org").to_string(), "a***@example.org");
        assert_eq!(Masked("no address").to_string(), "***");
        assert_eq!(Masked("@example.org").to_string(), "****@example.org");
    }
}
