//! W65: the record of each key against the key itself (RFC 6376 section 3.6.1).

use super::{Check, Kind, PublishedKey, Stop, Subject, Zone};

/// What a record without `k=` is for.
const RSA: &str = "rsa";

pub(super) fn checks(subject: &Subject, zone: &Zone) -> Vec<Result<Check, (&'static str, Stop)>> {
    if subject.keys.is_empty() {
        let from = subject.from.first().map_or("", String::as_str);
        return vec![Ok(Check::fail("W65", "dkim_missing", "tidings.toml")
            .found("no [dkim]: mail leaves unsigned")
            .expected("a key of at least 2048 bits that signs all mail")
            .fix(format!("run `tidings dkim generate t1 --domain {from}` and do what it prints")))];
    }
    subject.keys.iter().map(|key| check(key, zone).map_err(|stop| ("W65", stop))).collect()
}

fn check(key: &PublishedKey, zone: &Zone) -> Result<Check, Stop> {
    let name = format!("{}._domainkey.{}", key.selector, key.domain);
    let records = zone.get(&name, Kind::Txt)?;
    let publish = || format!("publish the key of tidings.toml:\n{}", key.zone.trim_end());
    let fail = |id: &'static str, found: &str, expected: &str| {
        Check::fail("W65", id, &name).found(found).expected(expected).fix(publish())
    };
    let one = match records {
        [] => return Ok(fail("dkim_not_published", "not published", "the public half of the key")),
        [one] => one,
        more => {
            let found = format!("{} TXT records, and a verifier may take any of them", more.len());
            return Ok(fail("dkim_several", &found, "one TXT record")
                .fix(format!("leave this one only:\n{}", key.zone.trim_end())));
        }
    };
    let tags = tags(one);
    let tag = |wanted: &str| tags.iter().find(|(tag, _)| tag == wanted).map(|(_, value)| value.as_str());
    let starts_right =
        tag("v").is_none() || tags.first().is_some_and(|(name, value)| name == "v" && value == "DKIM1");
    let lists = |value: &str, wanted: &[&str]| value.split(':').any(|one| wanted.contains(&one.trim()));
    let published = tag("p").map(without_space);
    let own = self::tags(&key.record);
    let own = |wanted: &str| own.iter().find(|(tag, _)| tag == wanted).map(|(_, value)| value.as_str());
    let kind = own("k").unwrap_or(RSA);
    Ok(match published.as_deref() {
        _ if !starts_right => fail("dkim_version", one, "`v=DKIM1` as the first tag"),
        None => fail("dkim_no_key", one, "a `p=` with the public key"),
        Some("") => fail("dkim_revoked", "revoked: its p= is empty", "the public half of the key"),
        Some(_) if !tag("k").unwrap_or(RSA).eq_ignore_ascii_case(kind) => {
            fail("dkim_kind", one, &format!("`k={kind}`, which the key is"))
        }
        Some(found) if Some(found) != own("p") => fail(
            "dkim_other_key",
            "the key in DNS does not match the key file",
            "the public half of the key file",
        ),
        Some(_) if tag("h").is_some_and(|hashes| !lists(hashes, &["sha256"])) => {
            fail("dkim_hash", one, "no `h=`, or one with sha256")
        }
        Some(_) if tag("s").is_some_and(|uses| !lists(uses, &["*", "email"])) => {
            fail("dkim_use", one, "no `s=`, or one with email")
        }
        Some(_) if tag("t").is_some_and(|flags| lists(flags, &["y"])) => {
            Check::warn("W65", "dkim_testing", &name)
                .found("t=y: verifiers take its signatures for a test")
                .expected("no t=y")
                .fix(publish())
        }
        Some(_) => Check::ok("W65", "dkim", &name).found("the key of tidings.toml is published"),
    })
}

/// The tags of a list of RFC 6376 section 3.2, without white space around them.
pub(super) fn tags(record: &str) -> Vec<(String, String)> {
    let pairs = record.split(';').filter(|part| !part.trim().is_empty());
    pairs
        .map(|part| {
            let (tag, value) = part.split_once('=').unwrap_or((part, ""));
            (tag.trim().to_owned(), value.trim().to_owned())
        })
        .collect()
}

fn without_space(value: &str) -> String {
    value.chars().filter(|c| !c.is_whitespace()).collect()
}
