//! The small grammars of single values: durations, rates, sizes, names, dates, addresses with a hole for the token.
//!
//! Each one is a function from text to a value or a [`Wrong`], and knows nothing of files. None of them is used on secrets.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use chrono_tz::Tz;

use crate::domain::address::{Address, Mailbox};
use crate::domain::allowance::Network;
use crate::domain::publication::Term;
use crate::domain::settings::{AddressPattern, Listen, Rate};
use crate::domain::token::TOKEN_MAX;
use crate::domain::wall_clock;
use crate::runtime::Timestamp;

/// What is wrong with a text, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub problem: String,
    pub hint: String,
}

pub(super) fn wrong<T>(problem: impl Into<String>, hint: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { problem: problem.into(), hint: hint.into() })
}

/// Splits `50 min` into 50 and `min`. A leading zero is fine, a sign or a fraction is not.
fn number_and_unit(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..end].parse().ok()?, text[end..].trim()))
}

/// `60s`, `5m`, `2h`, `4d`.
pub(super) fn duration(text: &str) -> Result<Duration, Wrong> {
    let seconds = number_and_unit(text).and_then(|(count, unit)| {
        let unit = match unit {
            "s" => 1,
            "m" | "min" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return None,
        };
        Some(u64::from(count) * unit)
    });
    // Ten years: longer is a slip of the finger, and every sum with a timestamp stays far from overflow.
    match seconds {
        Some(seconds) if seconds <= 3650 * 86_400 => Ok(Duration::from_secs(seconds)),
        Some(_) => wrong(format!("`{text}` is more than ten years"), "write a shorter time"),
        None => wrong(
            format!("`{text}` is not a duration"),
            "write a whole number and s, m, h or d, for example \"60s\" or \"4d\"",
        ),
    }
}

/// A duration of at least a second.
pub(super) fn some_duration(text: &str) -> Result<Duration, Wrong> {
    match duration(text)? {
        Duration::ZERO => wrong("is no time at all", "write at least \"1s\""),
        span => Ok(span),
    }
}

/// `14/s`, `600/min`, `20000/h`, `50000/d`.
pub(super) fn rate(text: &str) -> Result<Rate, Wrong> {
    let parts = text.split_once('/').map(|(count, unit)| (count.trim().parse::<u32>(), unit.trim()));
    let rate = match parts {
        Some((Ok(count), "s")) => Rate { count, per: Duration::from_secs(1) },
        Some((Ok(count), "min" | "m")) => Rate { count, per: Duration::from_secs(60) },
        Some((Ok(count), "h")) => Rate { count, per: Duration::from_secs(3600) },
        Some((Ok(count), "d")) => Rate { count, per: Duration::from_secs(86_400) },
        _ => {
            return wrong(
                format!("`{text}` is not a rate"),
                "write a whole number, a slash and s, min, h or d, for example \"600/min\"",
            );
        }
    };
    if rate.count == 0 {
        return wrong("would never send anything", "write at least 1, or leave the rate out for no limit");
    }
    Ok(rate)
}

/// `25MB`, `500kB`. Decimal, as mail servers count.
pub(super) fn size(text: &str) -> Result<usize, Wrong> {
    let bytes = number_and_unit(text).and_then(|(count, unit)| match unit {
        "kB" | "KB" => Some(u64::from(count) * 1000),
        "MB" => Some(u64::from(count) * 1_000_000),
        _ => None,
    });
    match bytes {
        Some(bytes @ 10_000..=200_000_000) => Ok(bytes as usize),
        Some(_) => wrong(format!("`{text}` is out of range"), "write a size from \"10kB\" to \"200MB\""),
        None => wrong(format!("`{text}` is not a size"), "write a whole number and kB or MB: \"25MB\""),
    }
}

/// `1 year`, `3 months`, `30 days`.
pub(super) fn term(text: &str) -> Result<Term, Wrong> {
    let term = match number_and_unit(text) {
        Some((count @ 1..=1200, "day" | "days")) => Term::Days(count),
        Some((count @ 1..=1200, "month" | "months")) => Term::Months(count),
        Some((count @ 1..=100, "year" | "years")) => Term::Years(count),
        _ => {
            return wrong(
                format!("`{text}` is not a term"),
                "write for example \"1 year\", \"1 month\" or \"30 days\"",
            );
        }
    };
    Ok(term)
}

/// An identifier that goes into addresses, file names and links.
pub(super) fn slug(text: &str) -> Result<String, Wrong> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if text.len() <= 64 && !text.is_empty() && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    wrong(format!("`{text}` is not a slug"), "use 1 to 64 lower-case letters, digits and hyphens")
}

/// A tier's id: like a slug, and `_` too.
pub(super) fn tier_id(text: &str) -> Result<String, Wrong> {
    match slug(&text.replace('_', "-")) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => wrong(
            format!("`{text}` is not a tier id"),
            "use 1 to 64 lower-case letters, digits, hyphens and underscores",
        ),
    }
}

/// An article's id: its file name without `.md`, so it must not lead out of its folder.
pub(super) fn article_id(text: &str) -> Result<String, Wrong> {
    if text.ends_with(".md") {
        return wrong(format!("`{text}` is a file name"), "write the name without `.md`");
    }
    let allowed = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    if text.len() <= 100 && !text.starts_with('.') && text.chars().all(allowed) {
        return Ok(text.to_owned());
    }
    wrong(format!("`{text}` is not an article id"), "write the name of a file in `articles`, without `.md`")
}

pub(super) fn address(text: &str) -> Result<Address, Wrong> {
    Address::parse(text).or_else(|why| {
        wrong(format!("`{text}` is not an address: {why}"), "write one address, for example ann@example.org")
    })
}

pub(super) fn mailbox(text: &str) -> Result<Mailbox, Wrong> {
    let mailbox = Mailbox::parse(text).or_else(|why| {
        wrong(
            format!("`{text}` is not one sender: {why}"),
            "write one name and address: \"Example News <weekly@news.example.org>\"",
        )
    })?;
    if mailbox.name.contains('@') {
        return wrong(
            "the name holds an address of its own",
            "write exactly one name and address (receivers refuse more)",
        );
    }
    Ok(mailbox)
}

/// A domain name with at least two parts, in A-labels. Not `localhost`, no underscore (W115).
pub(super) fn host_name(text: &str) -> Result<String, Wrong> {
    Address::parse(&format!("postmaster@{text}")).map(|address| address.domain().to_owned()).or_else(|_| {
        wrong(format!("`{text}` is not a full domain name"), "write for example \"news.example.org\"")
    })
}

/// `support+{token}@news.example.org`, with room for the longest token in 64 octets (W30, W128).
pub(super) fn pattern(text: &str) -> Result<AddressPattern, Wrong> {
    const HINT: &str = "write for example \"support+{token}@news.example.org\"";
    let Some((local, domain)) = text.rsplit_once('@') else {
        return wrong(format!("`{text}` is not an address"), HINT);
    };
    let mut parts = local.split("{token}");
    let (Some(before), Some(after), None) = (parts.next(), parts.next(), parts.next()) else {
        let problem = match local.matches("{token}").count() {
            0 => "has no {token} before the @",
            _ => "has more than one {token}",
        };
        return wrong(problem, HINT);
    };
    let room = 64 - before.len().saturating_add(after.len()).min(64);
    if room < TOKEN_MAX {
        return wrong(
            format!("leaves {room} characters for the token, which needs {TOKEN_MAX}"),
            format!("use at most {} characters beside {{token}}", 64 - TOKEN_MAX),
        );
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-_.=".contains(c);
    let sample = Address::parse(&format!("{before}{}{after}@{domain}", "t".repeat(TOKEN_MAX)));
    match sample {
        Ok(sample) if before.chars().all(plain) && after.chars().all(plain) => Ok(AddressPattern {
            before: before.to_owned(),
            after: after.to_owned(),
            domain: sample.domain().to_owned(),
        }),
        Ok(_) => wrong(format!("`{text}` has characters that servers refuse around the token"), HINT),
        Err(why) => wrong(format!("`{text}` is not an address: {why}"), HINT),
    }
}

/// `127.0.0.1:2424` or `unix:/run/tidings/lmtp`.
pub(super) fn listen(text: &str, base: &Path) -> Result<Listen, Wrong> {
    match text.strip_prefix("unix:") {
        Some("") => wrong("has no path", "write for example \"unix:/run/tidings/lmtp\""),
        Some(path) => Ok(Listen::Unix(base.join(path))),
        None => socket(text).map(Listen::Tcp).map_err(|_| Wrong {
            problem: format!("`{text}` is not a place to listen"),
            hint: "write \"127.0.0.1:2424\" or \"unix:/run/tidings/lmtp\"".to_owned(),
        }),
    }
}

/// Permissions of a file, in octal: `0660`.
pub(super) fn mode(text: &str) -> Result<u32, Wrong> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777 && mode & 0o600 == 0o600);
    let octal = text.bytes().all(|digit| digit.is_ascii_digit()) && matches!(text.len(), 3 | 4);
    mode.filter(|_| octal).ok_or_else(|| Wrong {
        problem: format!("`{text}` is not a mode that we could listen with"),
        hint: "write for example \"0660\": who may connect is in the second and third digit".to_owned(),
    })
}

pub(super) fn socket(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().or_else(|_| {
        wrong(format!("`{text}` is not an IP address with a port"), "write for example \"127.0.0.1:8025\"")
    })
}

pub(super) fn ip(text: &str) -> Result<std::net::IpAddr, Wrong> {
    text.parse()
        .or_else(|_| wrong(format!("`{text}` is not an IP address"), "write for example \"192.0.2.1\""))
}

pub(super) fn network(text: &str) -> Result<Network, Wrong> {
    Network::parse(text).ok_or_else(|| Wrong {
        problem: format!("`{text}` is no IP address and no network"),
        hint: "write for example \"127.0.0.1\" or \"10.0.0.0/8\"".to_owned(),
    })
}

pub(super) fn zone(text: &str) -> Result<Tz, Wrong> {
    text.parse().or_else(|_| {
        wrong(format!("`{text}` is not a time zone"), "write an IANA name, for example \"America/New_York\"")
    })
}

/// The shape of BCP 47; whether the language exists nobody checks.
pub(super) fn language(text: &str) -> Result<String, Wrong> {
    if crate::domain::subscriber::is_language_tag(text) {
        return Ok(text.to_owned());
    }
    wrong(format!("`{text}` is not a language tag"), "write for example \"en\" or \"pt-BR\"")
}

pub(super) fn date(text: &str) -> Result<NaiveDate, Wrong> {
    text.parse().or_else(|_| {
        wrong(format!("`{text}` is not a date"), "write year-month-day, for example \"2026-12-31\"")
    })
}

/// Wall-clock time in the publication's zone, or RFC 3339 with its own offset.
pub(super) fn due_at(text: &str, zone: Tz) -> Result<Timestamp, Wrong> {
    let formats = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"];
    let local = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    if let Some(local) = local {
        return Ok(wall_clock::instant_of(local, zone));
    }
    DateTime::parse_from_rfc3339(text).map(|at| Timestamp(at.timestamp_millis())).or_else(|_| {
        wrong(
            format!("`{text}` is not a date and time"),
            "write for example \"2026-12-03T09:00\" in the publication's time zone",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases = [("60s", 60), ("5m", 300), ("2h", 7200), ("4d", 345_600), ("0s", 0), ("15 m", 900)];
        for (text, seconds) in cases {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "5", "m", "-5m", "1.5h", "5 weeks", "99999999999s", "4000d", "5M", "٣m"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(some_duration("0s").is_err());
    }

    #[test]
    fn rates() {
        for (text, count, per) in [("14/s", 14, 1), ("600/min", 600, 60), ("20000/h", 20_000, 3600)] {
            assert_eq!(rate(text), Ok(Rate { count, per: Duration::from_secs(per) }), "{text}");
        }
        assert_eq!(rate("50000 / d").map(|rate| rate.per.as_secs()), Ok(86_400));
        for text in ["", "14", "14/", "/s", "14/w", "0/s", "-1/s", "1.5/s", "5000000000/s", "14/s/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_terms_and_names() {
        assert_eq!(size("25MB"), Ok(25_000_000));
        assert_eq!(size("500kB"), Ok(500_000));
        assert!(size("25").is_err() && size("1kB").is_err() && size("25GB").is_err());
        assert_eq!(term("1 year"), Ok(Term::Years(1)));
        assert_eq!(term("30 days"), Ok(Term::Days(30)));
        assert!(term("0 days").is_err() && term("year").is_err() && term("1 week").is_err());
        assert!(slug("weekly-2026").is_ok());
        assert!(slug("Weekly").is_err() && slug("").is_err() && slug(&"a".repeat(65)).is_err());
        assert!(tier_id("gold_plus").is_ok() && tier_id("Gold").is_err());
        assert!(article_id("../secret").is_err() && article_id("a.md").is_err() && article_id(".a").is_err());
        assert!(language("en").is_ok() && language("pt-BR").is_ok() && language("english!").is_err());
    }

    #[test]
    fn patterns_leave_room_for_the_token() {
        let found = pattern("Support+{token}@News.Example.org").unwrap();
        assert_eq!((found.before.as_str(), found.after.as_str()), ("Support+", ""));
        assert_eq!(found.domain, "news.example.org");
        assert!(pattern(&format!("{}{{token}}@x.example", "a".repeat(24))).is_ok());
        let cases = [
            ("support@news.example.org", "no {token}"),
            ("a{token}b{token}@x.example", "more than one"),
            ("aaaaaaaaaaaaaaaaaaaaaaaaa{token}@x.example", "leaves 39"),
            ("{token}", "not an address"),
            ("a+{token}@localhost", "not an address"),
            ("a {token}@x.example", "not an address"),
            ("ü{token}@x.example", "characters"),
            ("support@{token}.example.org", "no {token}"),
        ];
        for (text, expected) in cases {
            let problem = pattern(text).unwrap_err().problem;
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }

    #[test]
    fn listening_places() {
        let base = Path::new("/srv");
        assert_eq!(listen("127.0.0.1:2424", base), Ok(Listen::Tcp("127.0.0.1:2424".parse().unwrap())));
        assert_eq!(listen("unix:/run/lmtp", base), Ok(Listen::Unix("/run/lmtp".into())));
        assert_eq!(listen("unix:var/lmtp", base), Ok(Listen::Unix("/srv/var/lmtp".into())));
        assert!(listen("localhost:2424", base).is_err() && listen("unix:", base).is_err());
    }

    #[test]
    fn senders_are_one_address() {
        assert!(mailbox("Example News <weekly@news.example.org>").is_ok());
        assert!(mailbox("\"News, Inc.\" <weekly@news.example.org>").is_ok());
        for text in ["Foo", "a@x.example, b@x.example", "A <a@x.example>, B <b@x.example>", "a@localhost"] {
            assert!(mailbox(text).is_err(), "{text}");
        }
        assert!(mailbox("a@x.example, B <b@x.example>").is_err());
    }

    #[test]
    fn due_times_are_local_unless_they_say_otherwise() {
        let zone: Tz = "America/New_York".parse().unwrap();
        for text in ["2026-12-03T09:00", "2026-12-03T09:00:00", "2026-12-03 09:00", "2026-12-03T14:00:00Z"] {
            assert_eq!(due_at(text, zone).unwrap().rfc3339(), "2026-12-03T14:00:00Z", "{text}");
        }
        assert!(due_at("2026-12-03", zone).is_err() && due_at("tomorrow", zone).is_err());
        assert!(due_at("2026-02-30T09:00", zone).is_err());
    }
}
