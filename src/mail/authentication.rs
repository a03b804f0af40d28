//! What our own receiving server found out about a message: its Authentication-Results field (RFC 8601).
//!
//! Only the topmost field counts, and only with the configured authserv-id: those below it, anybody may have written. Comments
//! and quoted strings are dropped before anything is compared, because they may hold what the sender chose.

use super::parse::Parsed;
use crate::domain::sender::aligned;

/// Whether the server found that the message comes from the domain of its From: DMARC passed for it (RFC 9989), or a DKIM
/// signature of an aligned domain did. Answers by what.
///
/// # Errors
/// Why it is not proven, for the operator.
pub fn proven_by(parsed: &Parsed, authserv_id: &str, from_domain: &str) -> Result<String, String> {
    let field = parsed.field("authentication-results").ok_or("it has no Authentication-Results")?;
    let statements = statements(field).ok_or("its Authentication-Results cannot be read")?;
    let (server, results) = statements.split_first().ok_or("its Authentication-Results is empty")?;
    let mut words = server.split_whitespace();
    let is_ours = words.next().is_some_and(|id| id.eq_ignore_ascii_case(authserv_id));
    // Nothing but a version may follow the name.
    if !is_ours || words.any(|word| !word.bytes().all(|octet| octet.is_ascii_digit())) {
        return Err("its topmost Authentication-Results is not our server's".to_owned());
    }
    if results.iter().any(|statement| failed_dmarc(statement)) {
        return Err("our server found that DMARC fails".to_owned());
    }
    results
        .iter()
        .find_map(|statement| passed(statement, from_domain))
        .ok_or_else(|| format!("our server found neither DMARC nor an aligned DKIM pass for {from_domain}"))
}

/// A domain that wants no other proof than DMARC says so itself.
fn failed_dmarc(statement: &str) -> bool {
    let first = statement.split_whitespace().next().unwrap_or("").to_ascii_lowercase();
    first.strip_prefix("dmarc").is_some_and(|rest| rest.ends_with("=fail"))
}

fn passed(statement: &str, from_domain: &str) -> Option<String> {
    let mut words = statement.split_whitespace();
    let (method, result) = words.next()?.split_once('=')?;
    let method = method.split('/').next().unwrap_or("").to_ascii_lowercase();
    if !result.eq_ignore_ascii_case("pass") {
        return None;
    }
    let properties: Vec<(&str, &str)> = words.filter_map(|word| word.split_once('=')).collect();
    let property = |wanted: &str| {
        let found = properties.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| *value).filter(|value| !value.is_empty())
    };
    match method.as_str() {
        "dmarc" if property("header.from")?.eq_ignore_ascii_case(from_domain) => {
            Some(format!("DMARC pass for {from_domain}"))
        }
        "dkim" => {
            let domain =
                property("header.d").or_else(|| property("header.i")?.rsplit_once('@').map(|(_, d)| d))?;
            aligned(domain, from_domain).then(|| format!("DKIM pass by {domain}"))
        }
        _ => None,
    }
}

/// The parts between semicolons, without comments and without what stands in quotes. `None` where a comment or a quote does
/// not end.
fn statements(value: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let (mut depth, mut quoted) = (0_usize, false);
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted || depth > 0 => drop(chars.next()),
            '"' if depth == 0 => quoted = !quoted,
            _ if quoted => {}
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            _ if depth > 0 => {}
            ';' => parts.push(String::new()),
            // The last one always exists.
            c => parts.last_mut()?.push(c),
        }
    }
    (depth == 0 && !quoted).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    fn proven(fields: &str) -> Result<String, String> {
        proven_by(
            &parse(format!("{fields}\nFrom: a@staff.example.net\n\nx").as_bytes()),
            "mx.example.org",
            "staff.example.net",
        )
    }

    #[test]
    fn a_pass_of_the_right_domain_proves() {
        for results in [
            "mx.example.org; dmarc=pass (p=NONE sp=NONE) header.from=staff.example.net",
            "MX.example.org 1;\n dkim=fail header.d=x.example;\n dkim=pass (2048-bit key) header.d=Staff.example.NET header.s=a",
            "mx.example.org; spf=pass smtp.mailfrom=x.example; dkim=pass header.i=@example.net header.s=a",
            "mx.example.org; dkim/1=pass reason=\"a; b (c\" header.d=example.net",
        ] {
            assert!(proven(&format!("Authentication-Results: {results}")).is_ok(), "{results}");
        }
    }

    #[test]
    fn nothing_else_does() {
        for (results, why) in [
            ("mx.example.org; none", "neither"),
            ("mx.example.org; dmarc=fail header.from=staff.example.net", "DMARC fails"),
            ("mx.example.org; dmarc=fail; dkim=pass header.d=staff.example.net", "DMARC fails"),
            ("mx.example.org; dkim=pass header.d=mail.staff.example.net", "neither"),
            ("mx.example.org dkim=fail; dmarc=pass header.from=staff.example.net", "not our server's"),
            ("mx.example.org; dmarc=pass header.from=evil.example", "neither"),
            ("mx.example.org; dkim=pass header.d=evilstaff.example.net", "neither"),
            ("mx.example.org; dkim=pass header.d=net", "neither"),
            ("mx.example.org; dkim=pass header.d=\"staff.example.net\"", "neither"),
            ("mx.example.org; dkim=pass (header.d=staff.example.net)", "neither"),
            ("mx.example.org; spf=pass smtp.mailfrom=staff.example.net", "neither"),
            ("mx.example.org (; dmarc=pass header.from=staff.example.net", "cannot be read"),
            ("evil.example; dmarc=pass header.from=staff.example.net", "not our server's"),
            (
                "evil.example; x=y\nAuthentication-Results: mx.example.org; dmarc=pass header.from=staff.example.net",
                "not our server's",
            ),
            (
                "mx.example.org; dkim=fail reason=\"; dmarc=pass header.from=staff.example.net\" header.d=x",
                "neither",
            ),
        ] {
            let answer = proven(&format!("Authentication-Results: {results}")).unwrap_err();
            assert!(answer.contains(why), "{results}: {answer}");
        }
        assert!(proven("Subject: x").unwrap_err().contains("has no Authentication-Results"));
    }
}
