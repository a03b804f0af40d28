//! W66, W71's alignment, W74, W75, W80-W84: DMARC as in RFC 9989, found by a walk up the tree of names and not by a list of public
//! suffixes, and BIMI, which hangs on it.

use super::dkim::tags;
use super::{Check, Kind, Stop, Subject, Zone, is_within};

/// RFC 9989 section 4.10: the walk asks at most so many names, and jumps to so many labels.
const QUERIES: usize = 8;
const JUMP: usize = 7;
const POLICIES: [&str; 3] = ["none", "quarantine", "reject"];

type Found = Result<Check, (&'static str, Stop)>;

pub(super) fn checks(subject: &Subject, zone: &Zone) -> Vec<Found> {
    let mut found = Vec::new();
    for from in &subject.from {
        let known = |id: &'static str| move |stop| (id, stop);
        match Policy::of(from, zone) {
            Ok(policy) => {
                found.push(Ok(policy.record(from, subject)));
                found.push(Ok(policy.void(from)));
                found.push(Ok(policy.gone_tags(from)));
                found.push(policy.reports(from, zone).map_err(known("W84")));
                found.push(policy.signature(from, subject, zone).map_err(known("W66")));
                found.push(policy.envelope(from, subject, zone).map_err(known("W71")));
                found.push(policy.bimi(from, zone).map_err(known("W75")));
            }
            Err(stop) => found.push(Err(("W74", stop))),
        }
    }
    found
}

/// One valid record with the domain that it stands at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    domain: String,
    text: String,
    tags: Vec<(String, String)>,
}

impl Record {
    fn tag(&self, wanted: &str) -> Option<&str> {
        // The first one counts; names are compared without case.
        let found = self.tags.iter().find(|(tag, _)| tag.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.as_str())
    }

    fn policy(&self, tag: &str) -> Option<&'static str> {
        let value = self.tag(tag)?;
        POLICIES.into_iter().find(|policy| policy.eq_ignore_ascii_case(value))
    }
}

/// What a walk found, from the name itself upwards.
#[derive(Debug, Default)]
struct Walk {
    records: Vec<Record>,
    /// Names whose records count for nothing, and why.
    void: Vec<(String, String)>,
}

/// RFC 9989 section 4.10: the names to ask, `_dmarc.` left out.
pub(super) fn names(domain: &str) -> Vec<String> {
    let labels: Vec<&str> = domain.split('.').collect();
    let below = |count: usize| labels[labels.len() - count..].join(".");
    let mut names = vec![domain.to_owned()];
    let first = if labels.len() > QUERIES { JUMP } else { labels.len().saturating_sub(1) };
    names.extend((1..=first).rev().map(below));
    names.truncate(QUERIES);
    names
}

fn walk(domain: &str, zone: &Zone) -> Result<Walk, Stop> {
    let mut walk = Walk::default();
    for name in names(domain) {
        let place = format!("_dmarc.{name}");
        let all = zone.get(&place, Kind::Txt)?;
        let valid: Vec<&String> = all.iter().filter(|text| is_record(text)).collect();
        match valid.as_slice() {
            [] => {
                let meant = all.iter().find(|text| text.to_ascii_lowercase().contains("dmarc1"));
                if let Some(text) = meant {
                    walk.void
                        .push((place, format!("{text}: it does not start with v=DMARC1, in these letters")));
                }
            }
            [one] => {
                let record = Record { domain: name.clone(), text: (*one).clone(), tags: tags(one) };
                let psd = record.tag("psd").map(str::to_ascii_lowercase);
                walk.records.push(record);
                // Above a name that says where the organisation ends, nothing is asked.
                if psd.as_deref() == Some("n") || (psd.as_deref() == Some("y") && name != domain) {
                    break;
                }
            }
            several => {
                walk.void.push((place, format!("{} records: all of them are discarded", several.len())))
            }
        }
    }
    Ok(walk)
}

/// RFC 9989 section 4.8: the version comes first, case-sensitive.
fn is_record(text: &str) -> bool {
    let first = text.split(';').next().unwrap_or_default();
    first.split_once('=').is_some_and(|(tag, value)| tag.trim() == "v" && value.trim() == "DMARC1")
}

/// RFC 9989 section 4.10.2.
pub(super) fn organisation(domain: &str, zone: &Zone) -> Result<String, Stop> {
    let walk = walk(domain, zone)?;
    for record in &walk.records {
        match record.tag("psd").map(str::to_ascii_lowercase).as_deref() {
            Some("n") => return Ok(record.domain.clone()),
            Some("y") if record.domain != domain => {
                let above = record.domain.split('.').count();
                let labels: Vec<&str> = domain.split('.').collect();
                return Ok(labels[labels.len() - above - 1..].join("."));
            }
            _ => {}
        }
    }
    Ok(walk.records.last().map_or_else(|| domain.to_owned(), |record| record.domain.clone()))
}

struct Policy {
    walk: Walk,
    organisation: String,
    /// The record that counts for this From.
    record: Option<Record>,
}

impl Policy {
    fn of(from: &str, zone: &Zone) -> Result<Policy, Stop> {
        let walk = walk(from, zone)?;
        let organisation = organisation(from, zone)?;
        let at = |domain: &str| walk.records.iter().find(|record| record.domain == domain).cloned();
        let record = at(from).or_else(|| at(&organisation)).or_else(|| walk.records.last().cloned());
        Ok(Policy { walk, organisation, record })
    }

    /// W74: there is one, and it says what it wants.
    fn record(&self, from: &str, subject: &Subject) -> Check {
        let place = format!("_dmarc.{from}");
        let reports = if is_within(domain_of(&subject.postmaster), &self.organisation) {
            format!("; rua=mailto:{}", subject.postmaster)
        } else {
            String::new()
        };
        let proposal = |domain: &str| format!("_dmarc.{domain}. IN TXT \"v=DMARC1; p=none{reports}\"");
        let Some(record) = &self.record else {
            if !self.walk.void.is_empty() {
                return Check::skipped("W74", "dmarc", &place).found("no valid record, see W81");
            }
            return Check::fail("W74", "dmarc_missing", &place)
                .found("no DMARC record, here or above")
                .expected("a record with v=DMARC1 and p=")
                .fix(proposal(from));
        };
        let at = format!("_dmarc.{}", record.domain);
        let fail = |key, found: String| {
            let with = match record.tag("p") {
                None => record.text.replacen("v=DMARC1", "v=DMARC1; p=none", 1),
                Some(value) => record.text.replacen(&format!("p={value}"), "p=none", 1),
            };
            Check::fail("W74", key, &at)
                .found(found)
                .expected("p=none, p=quarantine or p=reject")
                .fix(format!("{at}. IN TXT \"{with}\""))
        };
        match (record.tag("p"), record.policy("p")) {
            (None, _) => fail("dmarc_no_policy", format!("{}: p is missing", record.text)),
            (Some(value), None) => {
                fail("dmarc_bad_policy", format!("{}: `{value}` is no policy", record.text))
            }
            (_, Some(_)) => {
                let policy = self.effective(from);
                Check::ok("W74", "dmarc", &at)
                    .found(format!("{}: mail of {from} that fails meets `{policy}`", record.text))
            }
        }
    }

    /// W82: `t=y` lowers the policy by one; `sp` is what the organisation says of names below it.
    fn effective(&self, from: &str) -> &'static str {
        let Some(record) = &self.record else { return "none" };
        let below = record.domain != from;
        let named =
            if below { record.policy("sp").or_else(|| record.policy("p")) } else { record.policy("p") };
        let named = named.unwrap_or("none");
        let testing = record.tag("t").is_some_and(|value| value.eq_ignore_ascii_case("y"));
        match named {
            "reject" if testing => "quarantine",
            "quarantine" if testing => "none",
            named => named,
        }
    }

    /// W81.
    fn void(&self, from: &str) -> Check {
        let place = format!("_dmarc.{from}");
        let Some((at, why)) = self.walk.void.first() else {
            return Check::ok("W81", "dmarc_valid", &place).found("no record that receivers discard");
        };
        Check::fail("W81", "dmarc_void", at)
            .found(why.clone())
            .expected("one record, with v=DMARC1 as its first tag")
            .fix(format!("leave one TXT record there: {at}. IN TXT \"v=DMARC1; p=none\""))
    }

    /// W82.
    fn gone_tags(&self, from: &str) -> Check {
        let place = format!("_dmarc.{from}");
        let Some(record) = &self.record else {
            return Check::skipped("W82", "dmarc_tags", &place).found("there is no record");
        };
        let gone: Vec<&str> =
            ["pct", "rf", "ri"].into_iter().filter(|tag| record.tag(tag).is_some()).collect();
        let at = format!("_dmarc.{}", record.domain);
        if gone.is_empty() {
            return Check::ok("W82", "dmarc_tags", &at).found("no tag that is gone");
        }
        let kept =
            record.tags.iter().filter(|(tag, _)| !gone.iter().any(|gone| tag.eq_ignore_ascii_case(gone)));
        let kept: Vec<String> = kept.map(|(tag, value)| format!("{tag}={value}")).collect();
        Check::warn("W82", "dmarc_gone_tags", &at)
            .found(format!("{}: {} is ignored since RFC 9989", record.text, gone.join(", ")))
            .expected("tags that count; t=y in place of pct, to apply the policy one level lower")
            .fix(format!("{at}. IN TXT \"{}\"", kept.join("; ")))
    }

    /// W84: whoever gets reports about another organisation must have said that it wants them (RFC 9990 section 4).
    fn reports(&self, from: &str, zone: &Zone) -> Result<Check, Stop> {
        let place = format!("_dmarc.{from}");
        let Some(record) = &self.record else {
            return Ok(Check::skipped("W84", "dmarc_reports", &place).found("there is no record"));
        };
        let at = format!("_dmarc.{}", record.domain);
        let addresses = record.tag("rua").unwrap_or_default().split(',').map(str::trim);
        for address in addresses.filter_map(|uri| uri.strip_prefix("mailto:")) {
            let address = address.split('!').next().unwrap_or_default();
            let theirs = domain_of(address).to_lowercase();
            if theirs.is_empty() || organisation(&theirs, zone)? == organisation(&record.domain, zone)? {
                continue;
            }
            let name = format!("{}._report._dmarc.{theirs}", record.domain);
            if !zone.get(&name, Kind::Txt)?.iter().any(|text| is_record(text)) {
                return Ok(Check::warn("W84", "dmarc_reports_unwanted", &name)
                    .found(format!(
                        "reports will not be sent: {theirs} does not say that it takes those about {}",
                        record.domain
                    ))
                    .expected("a record at the domain that gets the reports, or an address of your own")
                    .fix(format!("{name}. IN TXT \"v=DMARC1\"")));
            }
        }
        Ok(Check::ok("W84", "dmarc_reports", &at)
            .found(record.tag("rua").unwrap_or("no reports are asked for")))
    }

    fn is_strict(&self, tag: &str) -> bool {
        let value = self.record.as_ref().and_then(|record| record.tag(tag));
        value.is_some_and(|value| value.eq_ignore_ascii_case("s"))
    }

    /// Whether another domain speaks for this From: the same, or in relaxed mode of the same organisation.
    fn aligned(&self, from: &str, other: &str, tag: &str, zone: &Zone) -> Result<bool, Stop> {
        if other == from {
            return Ok(true);
        }
        Ok(!self.is_strict(tag) && organisation(other, zone)? == self.organisation)
    }

    /// W66, and W83 where it is the organisation that differs.
    fn signature(&self, from: &str, subject: &Subject, zone: &Zone) -> Result<Check, Stop> {
        if subject.keys.is_empty() {
            return Ok(Check::skipped("W66", "dkim_aligned", from).found("there is no key, see W65"));
        }
        let mut others = Vec::new();
        for key in &subject.keys {
            if self.aligned(from, &key.domain, "adkim", zone)? {
                let mode = if self.is_strict("adkim") { "strict" } else { "relaxed" };
                return Ok(Check::ok("W66", "dkim_aligned", from)
                    .found(format!("d={} is aligned ({mode})", key.domain)));
            }
            others.push(format!("d={}", key.domain));
        }
        let found = others.join(", ");
        Ok(self.not_aligned(("W66", "dkim"), from, &found, "adkim").fix(format!(
            "run `tidings dkim generate t1 --domain {from}`, publish what it prints, and set [dkim] domain = \"{from}\""
        )))
    }

    /// W71's alignment: so that SPF gives a DMARC pass too.
    fn envelope(&self, from: &str, subject: &Subject, zone: &Zone) -> Result<Check, Stop> {
        if self.aligned(from, &subject.bounce, "aspf", zone)? {
            let mode = if self.is_strict("aspf") { "strict" } else { "relaxed" };
            return Ok(Check::ok("W71", "spf_aligned", from)
                .found(format!("bounces go to {}, which is aligned ({mode})", subject.bounce)));
        }
        let check =
            self.not_aligned(("W71", "spf"), from, &format!("bounces go to {}", subject.bounce), "aspf");
        Ok(check
            .fix(format!("set [addresses] bounce = \"bounce+{{token}}@{from}\", with MX and SPF for {from}")))
    }

    fn not_aligned(&self, (id, what): (&'static str, &str), from: &str, found: &str, tag: &str) -> Check {
        let key = if what == "dkim" { "dkim_not_aligned" } else { "spf_not_aligned" };
        if self.is_strict(tag) {
            return Check::fail(id, key, from)
                .found(format!("{found}, and {tag}=s asks for {from} itself"))
                .expected(format!("the very domain of the From, or {tag}=r"));
        }
        Check::fail("W83", key, from)
            .found(format!("{found}, and the organisation of {from} is {}", self.organisation))
            .expected("a domain of the same organisation (RFC 9989 section 4.10.2)")
    }

    /// W75: reported only.
    fn bimi(&self, from: &str, zone: &Zone) -> Result<Check, Stop> {
        let place = format!("default._bimi.{from}");
        let mut record = None;
        for name in [place.clone(), format!("default._bimi.{}", self.organisation)] {
            let found = zone
                .get(&name, Kind::Txt)?
                .iter()
                .find(|text| text.to_ascii_lowercase().starts_with("v=bimi1"));
            record = record.or(found);
        }
        let Some(record) = record else {
            return Ok(Check::ok("W75", "bimi", &place).found("none, and none is needed"));
        };
        let tags = tags(record);
        let tag =
            |wanted: &str| tags.iter().find(|(tag, _)| tag == wanted).map_or("", |(_, value)| value.as_str());
        let weak = |check: Check| {
            check.expected("p=quarantine or p=reject, and no sp=none, on the organisation's record")
        };
        let warn = |key| Check::warn("W75", key, &place);
        let top = self.record.as_ref().filter(|record| record.domain == self.organisation);
        let sp_none = top.is_some_and(|record| record.policy("sp") == Some("none"));
        if self.effective(from) == "none" || sp_none {
            return Ok(weak(warn("bimi_not_enforced").found("not displayed: DMARC not at enforcement")).fix(format!(
                "when reports show that all of your mail passes: _dmarc.{}. IN TXT \"v=DMARC1; p=quarantine\"",
                self.organisation
            )));
        }
        if !tag("l").starts_with("https://") {
            return Ok(warn("bimi_no_image")
                .found(format!("{record}: l= is no https:// address"))
                .expected("an SVG Tiny PS over HTTPS")
                .fix(format!("{place}. IN TXT \"v=BIMI1; l=https://{from}/logo.svg\"")));
        }
        let certificate =
            if tag("a").is_empty() { "; Gmail shows it with a certificate (a=) only" } else { "" };
        Ok(Check::ok("W75", "bimi", &place).found(format!("{record}{certificate}")))
    }
}

fn domain_of(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}
