//! What a set of DNS records means for a sender: the checks of `tidings doctor` that are about names (W65-W84). Pure.
//!
//! A rule reads a [`Zone`], the answers that are known so far. What it misses comes back as questions; whoever can ask (tasks and
//! intake) adds the answers and calls [`examine`] again, until nothing is missing. So a rule follows includes and parents as if it
//! asked by itself, and a test is a table of records.
//!
//! "Not there" and "could not be looked up" are never the same (W77): a name server that fails makes the check `unknown`, which is
//! no pass. One lookup that fails is one finding; other checks that need it say `skipped`.

mod dkim;
mod dmarc;
mod macros;
mod names;
mod spf;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Serialize;

use super::words::words;

/// As much of a record is shown, in characters.
const FOUND: usize = 500;

words! {
    /// How a check ended. Only `warn`, `fail` and `unknown` are findings.
    Status {
        Ok = "ok",
        Warn = "warn",
        Fail = "fail",
        /// It could not be found out.
        Unknown = "unknown",
        /// It does not apply, or another finding has to be repaired first.
        Skipped = "skipped",
    }
}

/// The answer of one check (W79).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The rule of the wire that it belongs to, for example `W74`.
    pub id: &'static str,
    /// A stable word for what was looked at or found.
    pub key: &'static str,
    pub status: Status,
    /// Where: a name in DNS, a relay, a setting, a file.
    #[serde(rename = "where")]
    pub place: String,
    pub found: String,
    pub expected: String,
    /// The record, line or command that repairs it. Empty where there is nothing to repair.
    pub fix: String,
    /// What providers would answer to mail with this fault (W165).
    pub codes: Vec<String>,
}

impl Check {
    pub fn new(id: &'static str, key: &'static str, status: Status, place: &str) -> Check {
        let place = clean(place);
        let (found, expected, fix) = (String::new(), String::new(), String::new());
        Check { id, key, status, place, found, expected, fix, codes: Vec::new() }
    }

    pub fn ok(id: &'static str, key: &'static str, place: &str) -> Check {
        Check::new(id, key, Status::Ok, place)
    }

    pub fn fail(id: &'static str, key: &'static str, place: &str) -> Check {
        Check::new(id, key, Status::Fail, place)
    }

    pub fn warn(id: &'static str, key: &'static str, place: &str) -> Check {
        Check::new(id, key, Status::Warn, place)
    }

    pub fn skipped(id: &'static str, key: &'static str, place: &str) -> Check {
        Check::new(id, key, Status::Skipped, place)
    }

    pub fn found(self, found: impl Into<String>) -> Check {
        Check { found: shortened(&clean(&found.into())), ..self }
    }

    pub fn expected(self, expected: impl Into<String>) -> Check {
        Check { expected: expected.into(), ..self }
    }

    pub fn fix(self, fix: impl Into<String>) -> Check {
        let fix = fix.into();
        let lines: Vec<String> = fix.lines().map(clean).collect();
        Check { fix: lines.join("\n"), ..self }
    }

    pub fn is_finding(&self) -> bool {
        matches!(self.status, Status::Warn | Status::Fail | Status::Unknown)
    }
}

/// What strangers publish goes to a terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// And not without end. What repairs it is never cut: it is to be copied.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(FOUND) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

words! {
    /// The record types that the rules read.
    Kind {
        Txt = "TXT",
        A = "A",
        Aaaa = "AAAA",
        Mx = "MX",
        Ptr = "PTR",
        /// Of the zone that holds the name: whether the name exists at all.
        Soa = "SOA",
    }
}

/// What a rule wants to know. The name is in lower case and without a dot at its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    pub name: String,
    pub kind: Kind,
}

impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.kind)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Never empty. TXT: the strings of each record joined; MX: `10 mx.example.org`; names without a dot at their end.
    Records(Vec<String>),
    /// There is no such name, or no such record at it.
    Nothing,
    /// Why it could not be found out.
    Unknown(String),
}

/// All answers that are known so far.
#[derive(Clone, Debug, Default)]
pub struct Zone(BTreeMap<Question, Answer>);

/// Why a rule cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stop {
    Ask(Question),
    Unknown(Question, String),
}

impl Zone {
    pub fn add(&mut self, question: Question, answer: Answer) {
        self.0.insert(question, answer);
    }

    /// The records; none where there are none.
    fn get(&self, name: &str, kind: Kind) -> Result<&[String], Stop> {
        let question = Question { name: name.trim_end_matches('.').to_lowercase(), kind };
        match self.0.get(&question) {
            Some(Answer::Records(records)) => Ok(records),
            Some(Answer::Nothing) => Ok(&[]),
            Some(Answer::Unknown(why)) => Err(Stop::Unknown(question, why.clone())),
            None => Err(Stop::Ask(question)),
        }
    }

    /// All addresses of a name.
    fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Stop> {
        let (four, six) = (self.get(name, Kind::A), self.get(name, Kind::Aaaa));
        Ok(four?.iter().chain(six?).filter_map(|text| text.parse().ok()).collect())
    }

    /// The addresses of a name that was asked for by [`examine`].
    pub fn known_addresses(&self, name: &str) -> Vec<IpAddr> {
        self.addresses(name).unwrap_or_default()
    }
}

/// A key with the record that publishes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedKey {
    pub domain: String,
    pub selector: String,
    /// `v=DKIM1; k=rsa; p=...`
    pub record: String,
    /// The same as lines of a zone file.
    pub zone: String,
}

/// One address that mail reaches other servers from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendingAddress {
    pub relay: String,
    pub address: IpAddr,
    pub hello: String,
}

/// Whose mail is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The domains of every From, the publication's first.
    pub from: Vec<String>,
    /// The domain of the envelope sender.
    pub bounce: String,
    /// Domains that mail comes back to, each with the setting that names it; each domain once.
    pub inbound: Vec<(String, String)>,
    pub keys: Vec<PublishedKey>,
    pub sending: Vec<SendingAddress>,
    /// Relays that do not say which addresses they send from.
    pub relays_without_addresses: Vec<String>,
    /// The host of the public pages.
    pub web: String,
    /// Where reports may go, for the records that are proposed.
    pub postmaster: String,
}

type Section = fn(&Subject, &Zone) -> Vec<Result<Check, (&'static str, Stop)>>;

/// In the order in which they are printed. A rule whose record others need stands before them.
const SECTIONS: &[Section] =
    &[dkim::checks, spf::checks, names::envelope, names::reverse, dmarc::checks, names::inbound, names::web];

/// All checks, or what has to be asked first.
///
/// # Errors
/// The questions that are open; each of them once.
pub fn examine(subject: &Subject, zone: &Zone) -> Result<Vec<Check>, Vec<Question>> {
    let (mut checks, mut open, mut failed) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for result in SECTIONS.iter().flat_map(|section| section(subject, zone)) {
        match result {
            Ok(check) => checks.push(check),
            Err((_, Stop::Ask(question))) => {
                open.insert(question);
            }
            Err((id, Stop::Unknown(question, why))) => {
                let first = failed.insert(question.clone());
                checks.push(not_known(id, &question, &why, first));
            }
        }
    }
    if open.is_empty() { Ok(checks) } else { Err(open.into_iter().collect()) }
}

/// W77.
fn not_known(id: &'static str, question: &Question, why: &str, first: bool) -> Check {
    let place = question.to_string();
    if !first {
        return Check::skipped(id, "lookup", &place).found("it could not be looked up, as above");
    }
    Check::new(id, "lookup", Status::Unknown, &place)
        .found(format!("it could not be looked up: {why}"))
        .expected("an answer of a name server, be it that there is no such record")
        .fix("ask again later; if it stays, repair the name servers of this domain, or name another resolver: [intake] resolver = \"127.0.0.1:53\"")
}

/// `name` or something below it.
fn is_within(name: &str, domain: &str) -> bool {
    name == domain || name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA";
    const FROM: &str = "news.example.org";

    /// Everything as it should be.
    const WHOLE: &[(&str, Kind, &str)] = &[
        ("t1._domainkey.news.example.org", Kind::Txt, KEY),
        ("news.example.org", Kind::Txt, "some-site-verification=1"),
        ("news.example.org", Kind::Txt, "v=spf1 ip4:192.0.2.1 include:_spf.relay.example -all"),
        ("_spf.relay.example", Kind::Txt, "v=spf1 ip4:198.51.100.0/24 ~all"),
        ("news.example.org", Kind::Mx, "10 mx.example.org"),
        ("news.example.org", Kind::Soa, "example.org"),
        ("news.example.org", Kind::A, "192.0.2.2"),
        ("mx.example.org", Kind::A, "192.0.2.3"),
        ("1.2.0.192.in-addr.arpa", Kind::Ptr, "news.example.org"),
        ("news.example.org", Kind::A, "192.0.2.1"),
        ("_dmarc.example.org", Kind::Txt, "v=DMARC1; p=none; rua=mailto:dmarc@example.org"),
    ];

    fn subject() -> Subject {
        Subject {
            from: vec![FROM.into()],
            bounce: FROM.into(),
            inbound: vec![
                ("desk.address".into(), FROM.into()),
                ("addresses.reply".into(), "answers.example.org".into()),
            ],
            keys: vec![PublishedKey {
                domain: FROM.into(),
                selector: "t1".into(),
                record: KEY.into(),
                zone: format!("t1._domainkey.{FROM}. IN TXT (\n    \"{KEY}\" )\n"),
            }],
            sending: vec![SendingAddress {
                relay: "main".into(),
                address: "192.0.2.1".parse().unwrap(),
                hello: FROM.into(),
            }],
            relays_without_addresses: Vec::new(),
            web: FROM.into(),
            postmaster: "ops@example.org".into(),
        }
    }

    type Rows = Vec<(String, Kind, String)>;

    fn whole() -> Rows {
        let more = [("answers.example.org", Kind::Mx, "10 mx.example.org")];
        let rows = WHOLE.iter().chain(&more);
        rows.map(|(name, kind, value)| ((*name).to_owned(), *kind, (*value).to_owned())).collect()
    }

    /// Answers every question from the rows until nothing is open. Answers what was asked, too.
    fn examined(subject: &Subject, rows: &Rows, unknown: &[&str]) -> (Vec<Check>, Vec<Question>) {
        let (mut zone, mut asked) = (Zone::default(), Vec::new());
        for _ in 0..200 {
            let open = match examine(subject, &zone) {
                Ok(checks) => return (checks, asked),
                Err(open) => open,
            };
            for question in open {
                let found: Vec<String> = rows
                    .iter()
                    .filter(|(name, kind, _)| *name == question.name && *kind == question.kind)
                    .map(|(_, _, value)| value.clone())
                    .collect();
                let answer = match unknown.contains(&question.name.as_str()) {
                    true => Answer::Unknown("SERVFAIL".into()),
                    false if found.is_empty() => Answer::Nothing,
                    false => Answer::Records(found),
                };
                asked.push(question.clone());
                zone.add(question, answer);
            }
        }
        panic!("it asks without end")
    }

    fn findings(subject: &Subject, rows: &Rows) -> Vec<Check> {
        examined(subject, rows, &[]).0.into_iter().filter(Check::is_finding).collect()
    }

    /// Replaces all records of a name and type.
    fn with(name: &str, kind: Kind, values: &[&str]) -> Rows {
        let mut rows = whole();
        rows.retain(|(n, k, _)| (n.as_str(), *k) != (name, kind));
        rows.extend(values.iter().map(|value| (name.to_owned(), kind, (*value).to_owned())));
        rows
    }

    #[test]
    fn w65_to_w84_a_whole_zone_has_no_finding() {
        let (checks, asked) = examined(&subject(), &whole(), &[]);
        let wrong: Vec<&Check> = checks.iter().filter(|check| check.status != Status::Ok).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        let mut ids: Vec<&str> = checks.iter().map(|check| check.id).collect();
        ids.dedup();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(
            ids,
            ["W53", "W65", "W66", "W69", "W70", "W71", "W72", "W74", "W75", "W78", "W81", "W82", "W84"]
        );
        let mut once = asked.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), asked.len(), "each question is asked once");
    }

    /// One thing is broken; what is wrong is said once, under its number, with the fix.
#[test]
#[rustfmt::skip]
fn w65_to_w84_each_fault_is_one_finding_with_its_fix() {
    use Kind::{A, Mx, Ptr, Soa, Txt};
    let dkim = "t1._domainkey.news.example.org";
    let (many, voids) = (include_many(11), "v=spf1 ip4:192.0.2.1 a:x.example a:y.example a:z.example -all");
    let other = KEY.replace("MIIB", "MIIC");
    let spf = |end: &str| format!("v=spf1 ip4:192.0.2.1 {end}");
    let cases: Vec<(&str, &str, Status, Rows, &str)> = vec![
        ("W65", "dkim_not_published", Status::Fail, with(dkim, Txt, &[]), "t1._domainkey.news.example.org. IN TXT"),
        ("W65", "dkim_other_key", Status::Fail, with(dkim, Txt, &[&other]), KEY),
        ("W65", "dkim_revoked", Status::Fail, with(dkim, Txt, &["v=DKIM1; k=rsa; p="]), KEY),
        ("W65", "dkim_no_key", Status::Fail, with(dkim, Txt, &["v=DKIM1; k=rsa"]), KEY),
        ("W65", "dkim_several", Status::Fail, with(dkim, Txt, &[KEY, &other]), KEY),
        ("W65", "dkim_version", Status::Fail, with(dkim, Txt, &[&KEY.replace("v=DKIM1; k=rsa", "k=rsa; v=DKIM1")]), KEY),
        ("W65", "dkim_kind", Status::Fail, with(dkim, Txt, &[&KEY.replace("k=rsa", "k=ed25519")]), KEY),
        ("W65", "dkim_hash", Status::Fail, with(dkim, Txt, &[&format!("{KEY}; h=sha1")]), KEY),
        ("W65", "dkim_use", Status::Fail, with(dkim, Txt, &[&format!("{KEY}; s=tlsrpt")]), KEY),
        ("W65", "dkim_testing", Status::Warn, with(dkim, Txt, &[&format!("{KEY}; t=y")]), KEY),
        ("W69", "spf_missing", Status::Fail, with(FROM, Txt, &["v=spf10 all"]), "news.example.org. IN TXT \"v=spf1 ip4:192.0.2.1 -all\""),
        ("W69", "spf_several", Status::Fail, with(FROM, Txt, &[&spf("-all"), "v=spf1 -all"]), "ip4:192.0.2.1"),
        ("W69", "spf_fails", Status::Fail, with(FROM, Txt, &["v=spf1 ip4:192.0.2.9 mx:none.example -all"]), "ip4:192.0.2.1"),
        ("W69", "spf_fails", Status::Fail, with(FROM, Txt, &["v=spf1 -ip4:192.0.2.1 +ip4:192.0.2.0/24 -all"]), "ip4:192.0.2.1"),
        ("W69", "spf_error", Status::Fail, with(FROM, Txt, &["v=spf1 ip4:192.0.2.1 ipv4:1.2.3.4 -all"]), "ip4:192.0.2.1"),
        ("W69", "spf_error", Status::Fail, with(FROM, Txt, &["v=spf1 ip4:192.0.2.1 include:nobody.example -all"]), "ip4:192.0.2.1"),
        ("W69", "spf_macros", Status::Unknown, with(FROM, Txt, &["v=spf1 exists:%{l}.relay.example -all"]), "--send-test"),
        ("W70", "spf_lookups", Status::Fail, many, "ip4:192.0.2.1"),
        ("W70", "spf_voids", Status::Fail, with(FROM, Txt, &[voids]), "x.example, y.example, z.example"),
        ("W70", "spf_plus_all", Status::Fail, with(FROM, Txt, &[&spf("+all")]), "v=spf1 ip4:192.0.2.1 -all"),
        ("W70", "spf_neutral_all", Status::Warn, with(FROM, Txt, &[&spf("?all")]), "v=spf1 ip4:192.0.2.1 -all"),
        ("W70", "spf_no_all", Status::Warn, with(FROM, Txt, &["v=spf1 ip4:192.0.2.1"]), "v=spf1 ip4:192.0.2.1 -all"),
        ("W70", "spf_ptr", Status::Warn, with(FROM, Txt, &[&spf("ptr -all")]), "v=spf1 ip4:192.0.2.1 -all"),
        ("W71", "bounce_no_mx", Status::Fail, without_address(with(FROM, Mx, &[])), "news.example.org. IN MX 10"),
        ("W71", "bounce_implicit_mx", Status::Warn, with(FROM, Mx, &[]), "news.example.org. IN MX 10 news.example.org."),
        ("W71", "bounce_null_mx", Status::Fail, with(FROM, Mx, &["0 ."]), "news.example.org. IN MX 10"),
        ("W71", "bounce_dead_mx", Status::Fail, with(FROM, Mx, &["10 gone.example.org"]), "gone.example.org. IN A"),
        ("W71", "bounce_no_soa", Status::Fail, with(FROM, Soa, &[]), "delegated"),
        ("W53", "inbound_null_mx", Status::Fail, with("answers.example.org", Mx, &["0 ."]), "answers.example.org. IN MX 10"),
        ("W72", "ptr_missing", Status::Fail, with("1.2.0.192.in-addr.arpa", Ptr, &[]), "1.2.0.192.in-addr.arpa. IN PTR news.example.org."),
        ("W72", "ptr_not_confirmed", Status::Fail, with("1.2.0.192.in-addr.arpa", Ptr, &["mx.example.org"]), "mx.example.org. IN A 192.0.2.1"),
        ("W72", "hello_differs", Status::Warn, also("out.example.org", A, "192.0.2.1", with("1.2.0.192.in-addr.arpa", Ptr, &["out.example.org"])), "hello = \"out.example.org\""),
        ("W72", "ptr_generic", Status::Warn, also("host-192-0-2-1.dyn.isp.example", A, "192.0.2.1", with("1.2.0.192.in-addr.arpa", Ptr, &["host-192-0-2-1.dyn.isp.example"])), "IN PTR news.example.org."),
        ("W74", "dmarc_missing", Status::Fail, with("_dmarc.example.org", Txt, &[]), "_dmarc.news.example.org. IN TXT \"v=DMARC1; p=none"),
        ("W74", "dmarc_no_policy", Status::Fail, with("_dmarc.example.org", Txt, &["v=DMARC1; rua=mailto:d@example.org"]), "v=DMARC1; p=none; rua=mailto:d@example.org"),
        ("W74", "dmarc_bad_policy", Status::Fail, with("_dmarc.example.org", Txt, &["v=DMARC1; p=nothing"]), "v=DMARC1; p=none"),
        ("W75", "bimi_not_enforced", Status::Warn, also("default._bimi.news.example.org", Txt, "v=BIMI1; l=https://x.example/l.svg", whole()), "p=quarantine"),
        ("W81", "dmarc_void", Status::Fail, with("_dmarc.example.org", Txt, &["v=DMARC1; p=none", "v=DMARC1; p=reject"]), "leave one TXT record"),
        ("W81", "dmarc_void", Status::Fail, with("_dmarc.example.org", Txt, &["p=none; v=DMARC1"]), "v=DMARC1; p=none"),
        ("W81", "dmarc_void", Status::Fail, also("_dmarc.news.example.org", Txt, "v=dmarc1; p=none", whole()), "_dmarc.news.example.org"),
        ("W82", "dmarc_gone_tags", Status::Warn, with("_dmarc.example.org", Txt, &["v=DMARC1; p=reject; pct=50; t=y"]), "\"v=DMARC1; p=reject; t=y\""),
        ("W84", "dmarc_reports_unwanted", Status::Warn, with("_dmarc.example.org", Txt, &["v=DMARC1; p=none; rua=mailto:a@reports.example!10m"]), "example.org._report._dmarc.reports.example. IN TXT \"v=DMARC1\""),
        ("W78", "web_no_address", Status::Fail, without_address(with("mx.example.org", A, &["192.0.2.3"])), "news.example.org. IN A"),
    ];
    for (id, key, status, rows, fix) in cases {
        let mut subject = subject();
        if key == "web_no_address" {
            subject.web = "www.example.org".into();
        }
        if key.starts_with("bounce_") {
            subject.web = "127.0.0.1".into();
            subject.sending.clear();
        }
        let rows = if key == "web_no_address" { whole() } else { rows };
        let fix = fix.replace("news.example.org. IN A", if key == "web_no_address" { "www.example.org. IN A" } else { "news.example.org. IN A" });
        let found = findings(&subject, &rows);
        assert_eq!(found.len(), 1, "{id} {key}: {found:#?}");
        assert_eq!((found[0].id, found[0].key, found[0].status), (id, key, status), "{found:#?}");
        assert!(found[0].fix.contains(&fix) && !found[0].expected.is_empty() && !found[0].found.is_empty(), "{fix}: {found:#?}");
    }
}

    /// Without addresses of the domain itself.
    fn without_address(mut rows: Rows) -> Rows {
        rows.retain(|(name, kind, _)| (name.as_str(), *kind) != (FROM, Kind::A));
        rows
    }

    fn also(name: &str, kind: Kind, value: &str, mut rows: Rows) -> Rows {
        rows.push((name.to_owned(), kind, value.to_owned()));
        rows
    }

    /// An SPF tree with so many lookups, nested.
    fn include_many(count: usize) -> Rows {
        let mut rows = with(FROM, Kind::Txt, &["v=spf1 ip4:192.0.2.1 include:i1.example -all"]);
        for number in 1..=count {
            let next =
                if number < count { format!("include:i{}.example ", number + 1) } else { String::new() };
            rows.push((
                format!("i{number}.example"),
                Kind::Txt,
                format!("v=spf1 {next}ip4:198.51.100.{number} ~all"),
            ));
        }
        rows
    }

    #[test]
    fn w70_ten_lookups_are_in_the_budget_and_a_circle_ends() {
        assert_eq!(findings(&subject(), &include_many(10)), []);
        let mut circle = with(FROM, Kind::Txt, &["v=spf1 ip4:192.0.2.1 include:a.example -all"]);
        circle.push(("a.example".into(), Kind::Txt, "v=spf1 include:a.example -all".into()));
        let found = findings(&subject(), &circle);
        assert_eq!(found.iter().map(|check| check.key).collect::<Vec<_>>(), ["spf_lookups"], "{found:#?}");
    }

    #[test]
    fn w69_all_ways_to_pass() {
        for record in [
            "v=spf1 a -all",
            "v=spf1 a:news.example.org/31 -all",
            "v=spf1 mx:other.example ~all",
            "v=spf1 redirect=_spf.other.example",
            "V=SPF1 +IP4:192.0.2.0/24 -ALL",
            "v=spf1 exp=why.example ip4:192.0.2.1 -all",
        ] {
            let mut rows = with(FROM, Kind::Txt, &[record]);
            rows.push(("other.example".into(), Kind::Mx, "5 out.other.example".into()));
            rows.push(("out.other.example".into(), Kind::A, "192.0.2.1".into()));
            rows.push(("_spf.other.example".into(), Kind::Txt, "v=spf1 ip4:192.0.2.1 -all".into()));
            assert_eq!(findings(&subject(), &rows), [], "{record}");
        }
        // A smarthost's addresses are not known, and that is said.
        let smarthost =
            Subject { sending: Vec::new(), relays_without_addresses: vec!["main".into()], ..subject() };
        let (checks, _) = examined(&smarthost, &whole(), &[]);
        assert!(!checks.iter().any(Check::is_finding), "{checks:#?}");
        assert!(
            checks
                .iter()
                .any(|check| check.id == "W69" && check.found.contains("`sends_from` of main is not set"))
        );
        assert!(checks.iter().any(|check| check.id == "W72" && check.status == Status::Skipped));
    }

    /// The three examples of alignment in RFC 9989 Appendix B.4, and the mode that asks for the very domain.
    #[test]
    fn w66_w71_w83_alignment_by_the_tree_walk() {
        let aligned = |from: &str, key: &str, bounce: &str, dmarc: &[(&str, &str)]| {
            let mut subject = subject();
            (subject.from, subject.bounce) = (vec![from.into()], bounce.into());
            subject.keys[0].domain = key.into();
            let mut rows = whole();
            rows.retain(|(name, _, _)| !name.starts_with("_dmarc"));
            rows.extend(
                dmarc.iter().map(|(name, text)| (format!("_dmarc.{name}"), Kind::Txt, (*text).to_owned())),
            );
            let (checks, _) = examined(&subject, &rows, &[]);
            let of = |keys: [&str; 2]| {
                let found = checks.iter().find(|check| keys.contains(&check.key)).unwrap();
                (found.id, found.status == Status::Ok)
            };
            (of(["dkim_aligned", "dkim_not_aligned"]), of(["spf_aligned", "spf_not_aligned"]))
        };
        let none = "v=DMARC1; p=none";
        // B.4.1
        let seen = aligned(
            "example.com",
            "signing.example.com",
            "example.com",
            &[("example.com", none), ("signing.example.com", none)],
        );
        assert_eq!(seen, (("W66", true), ("W71", true)));
        // B.4.2
        let deep = "a.b.c.d.e.f.g.h.i.j.k.example.com";
        let seen = aligned("a.mail.example.com", deep, "example.com", &[("example.com", none)]);
        assert_eq!(seen, (("W66", true), ("W71", true)));
        // B.4.3
        let psd = "v=DMARC1; p=reject; psd=y";
        let seen = aligned(
            "giant.bank.example",
            "mail.mega.bank.example",
            "mail.giant.bank.example",
            &[("bank.example", psd), ("giant.bank.example", none), ("mega.bank.example", none)],
        );
        assert_eq!(seen, (("W83", false), ("W71", true)));
        let strict = "v=DMARC1; p=none; adkim=s; aspf=s";
        let seen =
            aligned("news.example.com", "example.com", "bounce.example.com", &[("example.com", strict)]);
        assert_eq!(seen, (("W66", false), ("W71", false)));
        let seen = aligned(
            "news.example.com",
            "other.example",
            "news.example.com",
            &[("example.com", none), ("other.example", none)],
        );
        assert_eq!(seen, (("W83", false), ("W71", true)));
        let own = "v=DMARC1; p=none; psd=n";
        let seen = aligned(
            "a.news.example.com",
            "example.com",
            "news.example.com",
            &[("news.example.com", own), ("example.com", none)],
        );
        assert_eq!(seen, (("W83", false), ("W71", true)));
    }

    #[test]
    fn w80_eight_names_are_asked_at_most() {
        assert_eq!(
            dmarc::names("a.b.c.d.e.f.g.h.i.j.mail.example.com"),
            [
                "a.b.c.d.e.f.g.h.i.j.mail.example.com",
                "g.h.i.j.mail.example.com",
                "h.i.j.mail.example.com",
                "i.j.mail.example.com",
                "j.mail.example.com",
                "mail.example.com",
                "example.com",
                "com"
            ]
        );
        assert_eq!(dmarc::names("news.example.org"), ["news.example.org", "example.org", "org"]);
        assert_eq!(dmarc::names("a.b.c.d.e.f.example.com").len(), 8);
        assert_eq!(dmarc::names("org"), ["org"]);
    }

    #[test]
    fn w82_a_test_lowers_the_policy_by_one() {
        let rows = with("_dmarc.example.org", Kind::Txt, &["v=DMARC1; p=reject; t=y; sp=reject; foo=1"]);
        let (checks, _) = examined(&subject(), &rows, &[]);
        let dmarc = checks.iter().find(|check| check.key == "dmarc").unwrap();
        assert!(dmarc.found.contains("meets `quarantine`"), "{dmarc:?}");
        assert!(!checks.iter().any(Check::is_finding), "{checks:#?}");
    }

    #[test]
    fn w84_reports_elsewhere_are_welcome_where_it_is_said() {
        let rows = with(
            "_dmarc.example.org",
            Kind::Txt,
            &["v=DMARC1; p=none; rua=mailto:a@reports.example,mailto:b@mail.example.org"],
        );
        let rows = also("example.org._report._dmarc.reports.example", Kind::Txt, "v=DMARC1;", rows);
        assert_eq!(findings(&subject(), &rows), []);
    }

    /// Each name fails in turn: that is one finding of its own kind, and no other check passes for it or fails.
    #[test]
    fn w77_what_cannot_be_looked_up_is_unknown_once_and_never_well() {
        let (_, asked) = examined(&subject(), &whole(), &[]);
        for question in asked {
            let (checks, _) = examined(&subject(), &whole(), &[&question.name]);
            let found: Vec<&Check> = checks.iter().filter(|check| check.is_finding()).collect();
            assert!(!found.is_empty(), "{question}");
            for check in &found {
                assert_eq!((check.key, check.status), ("lookup", Status::Unknown), "{question}: {found:#?}");
                assert!(
                    check.found.contains("SERVFAIL") && check.place.contains(&question.name),
                    "{check:?}"
                );
            }
            let mut places: Vec<&str> = found.iter().map(|check| check.place.as_str()).collect();
            places.dedup();
            assert_eq!(places.len(), found.len(), "one lookup is one finding: {found:#?}");
        }
    }

    #[test]
    fn a_publication_without_keys_is_told_how_to_make_one() {
        let found = findings(&Subject { keys: Vec::new(), ..subject() }, &whole());
        assert_eq!(found.iter().map(|check| check.key).collect::<Vec<_>>(), ["dkim_missing"]);
        assert!(found[0].fix.contains("tidings dkim generate t1 --domain news.example.org"));
    }

    #[test]
    fn what_strangers_publish_reaches_no_terminal() {
        let hostile = format!("v=DMARC1; p=\u{1b}[2Jnone\u{7}{}", "x".repeat(5000));
        let found = findings(&subject(), &with("_dmarc.example.org", Kind::Txt, &[&hostile]));
        assert_eq!(found.len(), 1);
        assert!(
            found[0].found.chars().count() < 510 && !found[0].found.contains(char::is_control),
            "{found:?}"
        );
    }

    proptest::proptest! {
        /// Any text in any record ends in an answer.
        #[test]
        fn rubbish_in_dns_is_only_rubbish(text in "[ -~\u{80}-\u{ff}]{0,60}", at in 0..12_usize) {
            let mut rows = whole();
            let starts = ["", "v=spf1 ", "v=DMARC1; ", "v=DKIM1; ", "v=spf1 a:", "v=spf1 include:", "v=spf1 mx/"];
            let at = at % rows.len();
            rows[at].2 = format!("{}{text}", starts[at % starts.len()]);
            examined(&subject(), &rows, &[]);
        }
    }
}
