//! What a subscriber must never read: who of the house answers, and where they are.
//!
//! Looked for in the words of an answer before it leaves: addresses of staff, hosts of their domains that are not public, the desk's
//! own pages, full names (whatever stands between their words, and also last name first), and addresses that carry a token of ours. A
//! first name alone is how people sign, and hides nothing. Letters are compared as people see them: without case, invisible characters, or the width of their forms. Known gap: what is spelt out ("mira at example dot net")
//! is not seen.

use unicode_normalization::UnicodeNormalization;

use super::settings::AddressPattern;

/// Mailbox providers whose name tells nothing about who has a mailbox there.
const PROVIDERS: [&str; 18] = [
    "gmail.com",
    "googlemail.com",
    "outlook.com",
    "hotmail.com",
    "live.com",
    "msn.com",
    "yahoo.com",
    "icloud.com",
    "me.com",
    "mac.com",
    "proton.me",
    "protonmail.com",
    "fastmail.com",
    "gmx.de",
    "gmx.net",
    "web.de",
    "aol.com",
    "posteo.de",
];

/// Everything that is looked for.
#[derive(Clone, Debug, Default)]
pub struct Hidden {
    addresses: Vec<String>,
    domains: Vec<String>,
    /// Hosts that subscribers see anyway, some of them perhaps below a domain of staff.
    public: Vec<String>,
    names: Vec<String>,
    /// Names as rows of words, first name first and last name first.
    spelt: Vec<String>,
    tokens: Vec<AddressPattern>,
}

/// What was found, in words for the author.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Leak {
    #[error("the address {0}")]
    Address(String),
    #[error("the name of the host {0}")]
    Domain(String),
    #[error("the full name {0}")]
    Name(String),
    #[error("an address of the desk that is meant for staff only")]
    Token,
}

/// Letters of a host name (RFC 1035 section 2.3.4 has 253). What is longer is none of the public ones; without a limit, a text of
/// nothing but our domain would be looked at once for each time that it stands there.
const HOST_MAX: usize = 255;

impl Hidden {
    /// `public`: domains that subscribers see anyway. `tokens`: addresses that only we make.
    pub fn new<'a>(
        members: impl IntoIterator<Item = (&'a str, &'a str)>,
        public: &[&str],
        tokens: &[&AddressPattern],
    ) -> Hidden {
        let mut hidden =
            Hidden { tokens: tokens.iter().map(|pattern| (*pattern).clone()).collect(), ..Hidden::default() };
        for (name, address) in members {
            hidden.add(name, address, public);
        }
        hidden
    }

    /// One more member, or one more name or address of theirs; either may be empty.
    pub fn add(&mut self, name: &str, address: &str, public: &[&str]) {
        let address = seen(address);
        for own in public.iter().map(|own| seen(own)) {
            if !self.public.contains(&own) {
                self.public.push(own);
            }
        }
        if let Some((_, domain)) = address.rsplit_once('@') {
            let known = PROVIDERS.contains(&domain) || self.public.iter().any(|own| own == domain);
            if !known && !domain.is_empty() {
                self.domains.push(domain.to_owned());
            }
            self.addresses.push(address);
        }
        let name = seen(name);
        if name.contains(' ') && !name.contains('@') {
            let spelt = words(&name);
            // "Mira S." as words would be in every "Mira's".
            if let Some((first, last)) = spelt.rsplit_once(' ').filter(|(_, last)| last.len() > 1) {
                self.spelt.extend([format!("{last} {first}"), spelt.clone()]);
            }
            self.names.push(name);
        }
    }

    /// The pages of the house: their host, or all of the address where subscribers see the host anyway, or it is a number.
    pub fn add_pages(&mut self, url: &str) {
        let whole = seen(url.split("//").nth(1).unwrap_or_default());
        let place = whole.split('/').next().unwrap_or_default();
        let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
        let is_name = host.contains('.') && host.contains(char::is_alphabetic);
        if is_name && !self.public.iter().any(|own| own == host) {
            self.domains.push(host.to_owned());
        } else if whole != host {
            self.domains.push(whole);
        }
    }

    /// The first of it that a text still holds.
    pub fn found_in(&self, text: &str) -> Option<Leak> {
        let text = seen(text);
        let whole = |wanted: &String| holds(&text, wanted, |c| c.is_alphanumeric() || c == '-');
        let address = self.addresses.iter().find(|address| holds(&text, address, char::is_alphanumeric));
        if let Some(address) = address {
            return Some(Leak::Address(address.clone()));
        }
        if let Some(domain) = self.domains.iter().find(|domain| self.tells(&text, domain)) {
            return Some(Leak::Domain(domain.clone()));
        }
        if let Some(name) = self.names.iter().find(|name| whole(name)) {
            return Some(Leak::Name(name.clone()));
        }
        let row = words(&text);
        if let Some(name) = self.spelt.iter().find(|name| holds(&row, name, char::is_alphanumeric)) {
            return Some(Leak::Name(name.clone()));
        }
        let word = |c: char| c.is_whitespace() || "<>()[]\"',;:".contains(c);
        let ours = |piece: &str| self.tokens.iter().any(|pattern| pattern.token_in(piece).is_some());
        text.split(word).map(|piece| piece.trim_end_matches(['.', '!', '?'])).any(ours).then_some(Leak::Token)
    }

    /// Whether a text names a host of this domain that is not public.
    fn tells(&self, text: &str, domain: &str) -> bool {
        let of_host = |c: char| c.is_alphanumeric() || c == '-' || c == '.';
        text.match_indices(domain).any(|(at, _)| {
            let end = at + domain.len();
            let (before, after) = (&text[..at], &text[end..]);
            let goes_on = |c: char| c.is_alphanumeric() || c == '-';
            if before.ends_with(goes_on) || after.starts_with(goes_on) {
                return false;
            }
            let length = |letters: &mut dyn Iterator<Item = char>| -> usize {
                letters.take(HOST_MAX).take_while(|c| of_host(*c)).map(char::len_utf8).sum()
            };
            let start = at - length(&mut before.chars().rev());
            let end = end + length(&mut after.chars());
            let host = text[start..end].trim_matches('.');
            !self.public.iter().any(|own| own == host)
        })
    }
}

/// The words of a text with one blank between them, whatever else stood there.
fn words(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// A text as eyes compare it: one form and case of each letter, nothing invisible, one blank between words.
pub fn seen(text: &str) -> String {
    let visible = |c: &char| !matches!(c, '\u{ad}' | '\u{34f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}');
    let plain: String = text.nfkc().filter(visible).flat_map(char::to_lowercase).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether it stands there by itself and not as a part of a longer word.
fn holds(text: &str, wanted: &str, goes_on: impl Fn(char) -> bool) -> bool {
    text.match_indices(wanted).any(|(at, _)| {
        let before = text[..at].chars().next_back().is_some_and(&goes_on);
        let after = text[at + wanted.len()..].chars().next().is_some_and(&goes_on);
        !before && !after
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden() -> Hidden {
        let reply = AddressPattern {
            before: "support+".into(),
            after: String::new(),
            domain: "news.example.org".into(),
        };
        let members = [
            ("Mira Stein", "mira@staff.example.net"),
            ("Tom", "tom.berg@gmail.com"),
            ("Li", "li@news.example.org"),
        ];
        Hidden::new(members, &["news.example.org"], &[&reply])
    }

    #[test]
    fn what_tells_who_answers_is_found() {
        for text in [
            "write to Mira@Staff.example.net",
            "mira@staff.example.net, please",
            "see https://wiki.staff.example.net/x",
            "host: staff.example.net.",
            "Mira\u{a0}Stein",
            "MIRA\n  STEIN, Support",
            "Mi\u{200b}ra Stein",
            "\u{ff2d}ira Stein",
            "mira.stein@laptop",
            "/home/mira.stein/x",
            "mira-stein",
            "mira_stein.png",
            "*Mira* Stein",
            "Stein, Mira",
            "Mira Stein's laptop",
            "tom.berg@gmail.com",
            "li@news.example.org",
            "<support+abcd@news.example.org>",
            "support+abcd@NEWS.example.org.",
        ] {
            assert!(hidden().found_in(text).is_some(), "{text}");
        }
    }

    #[test]
    fn what_tells_nothing_passes() {
        for text in [
            "Mira",
            "Yours, Tom",
            "gmail.com sorts it into Promotions",
            "https://news.example.org/archive",
            "support@news.example.org",
            "otherstaff.example.net is not ours",
            "Mira Steinberg",
            "Frankenstein, Mira",
            "the admira steinway",
            "",
        ] {
            assert_eq!(hidden().found_in(text), None, "{text}");
        }
    }

    #[test]
    fn a_public_host_within_the_domain_of_staff_is_no_leak() {
        let members = [("Mira Stein", "mira@example.com")];
        let hidden = Hidden::new(members, &["news.example.com", "www.example.com"], &[]);
        for text in ["https://news.example.com/archive", "www.example.com.", "help@NEWS.example.com"] {
            assert_eq!(hidden.found_in(text), None, "{text}");
        }
        for text in ["example.com", "wiki.example.com", "x.news.example.com", "www.example.com, example.com"]
        {
            assert!(matches!(hidden.found_in(text), Some(Leak::Domain(_))), "{text}");
        }
    }

    #[test]
    fn the_pages_of_the_house_are_no_words_for_subscribers() {
        let found = |url: &str, text: &str| {
            let mut hidden = hidden();
            hidden.add_pages(url);
            hidden.found_in(text).is_some()
        };
        assert!(found("https://desk.inside.example", "see https://desk.inside.example/desk/4"));
        assert!(found("http://127.0.0.1:8026", "http://127.0.0.1:8026/desk/4"));
        assert!(found("https://news.example.org/house", "https://news.example.org/house/desk/4"));
        assert!(found("https://news.example.org:9443", "news.example.org:9443"));
        assert!(!found("http://127.0.0.1:8026", "ping 127.0.0.1 or 127.0.0.1:80268"));
        assert!(!found("https://news.example.org/house", "https://news.example.org/archive"));
        assert!(!found("https://news.example.org", "https://news.example.org/archive"));
        assert!(!found("", "anything: //"));
    }

    #[test]
    fn a_name_that_ends_in_one_letter_is_found_as_it_stands_only() {
        let hidden = Hidden::new([("Mira S.", "mira@gmail.com")], &[], &[]);
        assert_eq!(hidden.found_in("Mira's answer; it's Mira"), None);
        assert!(hidden.found_in("Yours, Mira S.").is_some());
    }
}
