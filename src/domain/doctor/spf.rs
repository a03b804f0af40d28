//! W69, W70: the record that says who may send for the envelope's domain (RFC 7208).
//!
//! All of the tree is walked, also behind a term that matches: the budget is counted as for an address that matches nothing, which
//! is what a receiver counts in the worst case. Terms with macros are counted and not evaluated: where the answer would hang on one,
//! it is `unknown`.

use std::net::IpAddr;

use super::{Check, Kind, Status, Stop, Subject, Zone};
use crate::domain::allowance::Network;

/// RFC 7208 section 4.6.4.
const LOOKUPS: usize = 10;
const VOIDS: usize = 2;
/// Nobody's tree is deeper: a record that includes itself ends here.
const DEPTH: usize = 12;

pub(super) fn checks(subject: &Subject, zone: &Zone) -> Vec<Result<Check, (&'static str, Stop)>> {
    match walk(subject, zone) {
        Ok(checks) => checks.into_iter().map(Ok).collect(),
        Err(stop) => vec![Err(("W69", stop))],
    }
}

fn walk(subject: &Subject, zone: &Zone) -> Result<Vec<Check>, Stop> {
    let domain = &subject.bounce;
    let proposal = proposal(subject);
    let records = records(zone, domain)?;
    if records.len() != 1 {
        let (key, found) = match records.len() {
            0 => ("spf_missing", "no record that starts with v=spf1".to_owned()),
            count => (
                "spf_several",
                format!("{count} records that start with v=spf1: receivers take none of them"),
            ),
        };
        let check = Check::fail("W69", key, domain).found(found).expected("one record").fix(proposal);
        return Ok(vec![
            check,
            Check::skipped("W70", "spf_budget", domain).found("there is not one record, see W69"),
        ]);
    }
    let senders = subject.sending.iter().map(|sender| sender.address).collect();
    let mut tree = Tree { senders, ..Tree::new(zone) };
    let outcome = tree.record(domain, records[0], 0)?;
    let mut checks = vec![passes(subject, &tree, &outcome, (records[0], &proposal))];
    checks.push(budget(domain, &tree, records[0], &proposal));
    Ok(checks)
}

fn records<'z>(zone: &'z Zone, domain: &str) -> Result<Vec<&'z str>, Stop> {
    let all = zone.get(domain, Kind::Txt)?;
    Ok(all.iter().map(String::as_str).filter(|text| is_record(text)).collect())
}

fn is_record(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    lower == "v=spf1" || lower.starts_with("v=spf1 ")
}

fn proposal(subject: &Subject) -> String {
    let mut terms = Vec::new();
    for sender in &subject.sending {
        let term = match sender.address {
            IpAddr::V4(address) => format!("ip4:{address}"),
            IpAddr::V6(address) => format!("ip6:{address}"),
        };
        if !terms.contains(&term) {
            terms.push(term);
        }
    }
    let relays = subject.relays_without_addresses.iter();
    terms.extend(
        relays.map(|relay| format!("include:<what relay `{relay}` says that its customers include>")),
    );
    format!("{}. IN TXT \"v=spf1 {} -all\"", subject.bounce, terms.join(" "))
}

/// W69 for each sending address.
fn passes(subject: &Subject, tree: &Tree<'_>, outcome: &Outcome, (record, proposal): (&str, &str)) -> Check {
    let domain = &subject.bounce;
    if tree.lookups > LOOKUPS || tree.voids > VOIDS {
        return Check::skipped("W69", "spf", domain).found("receivers stop before its end, see W70");
    }
    if let Some(why) = &tree.error {
        return Check::fail("W69", "spf_error", domain)
            .found(format!("{record}: {why}"))
            .expected("a record that receivers can evaluate")
            .fix(proposal);
    }
    if tree.senders.is_empty() {
        let relays = subject.relays_without_addresses.join(", ");
        return Check::ok("W69", "spf", domain).found(format!(
            "{record}; whether it passes is not checked: `sends_from` of {relays} is not set in tidings.toml"
        ));
    }
    let outside: Vec<String> = tree
        .senders
        .iter()
        .zip(&outcome.0)
        .filter(|(_, result)| **result != Some(true))
        .map(|(ip, _)| ip.to_string())
        .collect();
    if outside.is_empty() {
        return Check::ok("W69", "spf", domain).found(record);
    }
    let addresses = outside.join(", ");
    if tree.macros {
        return Check::new("W69", "spf_macros", Status::Unknown, domain)
            .found(format!("{record}: whether {addresses} pass hangs on macros, which are not evaluated here"))
            .expected("a pass for every address of `sends_from`")
            .fix("send with --send-test to a mailbox whose server writes Authentication-Results, and read `spf=` there");
    }
    Check::fail("W69", "spf_fails", domain)
        .found(format!("{record} does not pass for {addresses}"))
        .expected("a pass for every address of `sends_from`")
        .fix(proposal)
}

/// W70.
fn budget(domain: &str, tree: &Tree<'_>, record: &str, proposal: &str) -> Check {
    let count = format!("{} lookups of {LOOKUPS}, {} void of {VOIDS}", tree.lookups, tree.voids);
    let fail = |key, found: String, expected: &str, fix: String| {
        Check::fail("W70", key, domain).found(found).expected(expected).fix(fix)
    };
    let changed = |from: &str, to: &str| format!("{domain}. IN TXT \"{}\"", record.replace(from, to));
    if tree.lookups > LOOKUPS {
        let fix =
            format!("leave out includes that nobody sends by, or name addresses in their place: {proposal}");
        return fail(
            "spf_lookups",
            format!("{count}: receivers stop with permerror"),
            "at most 10 terms that ask DNS",
            fix,
        );
    }
    if tree.voids > VOIDS {
        let fix = format!("leave out what does not exist: {}", tree.void_names.join(", "));
        return fail(
            "spf_voids",
            format!("{count}: receivers stop with permerror"),
            "at most 2 terms whose names do not exist",
            fix,
        );
    }
    if tree.error.is_some() {
        return Check::skipped("W70", "spf_budget", domain).found("the record is broken, see W69");
    }
    let warn = |key, found: &str, fix: String| {
        Check::warn("W70", key, domain)
            .found(format!("{record}: {found}"))
            .expected("-all or ~all at its end, and no ptr")
            .fix(fix)
    };
    match tree.all {
        Some('+') => fail(
            "spf_plus_all",
            format!("{record}: +all lets everybody send in this name"),
            "-all or ~all at its end",
            {
                let last = record.split_whitespace().last().unwrap_or("all");
                changed(last, "-all")
            },
        ),
        Some('?') => warn("spf_neutral_all", "?all says nothing about others", changed("?all", "-all")),
        None if !tree.redirects => warn(
            "spf_no_all",
            "it has no `all`: others are neither allowed nor refused",
            format!("{domain}. IN TXT \"{record} -all\""),
        ),
        _ if tree.ptr => {
            warn("spf_ptr", "ptr is slow, and receivers may ignore it (RFC 7208 section 5.5)", {
                let without: Vec<&str> = record
                    .split_whitespace()
                    .filter(|term| {
                        !term.trim_start_matches(['+', '-', '~', '?']).to_ascii_lowercase().starts_with("ptr")
                    })
                    .collect();
                format!("{domain}. IN TXT \"{}\"", without.join(" "))
            })
        }
        _ => Check::ok("W70", "spf_budget", domain).found(count),
    }
}

/// For each sending address: whether a term matched, and whether as a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome(Vec<Option<bool>>);

struct Tree<'z> {
    zone: &'z Zone,
    senders: Vec<IpAddr>,
    lookups: usize,
    voids: usize,
    void_names: Vec<String>,
    error: Option<String>,
    macros: bool,
    /// Of the first record only.
    all: Option<char>,
    ptr: bool,
    redirects: bool,
}

impl<'z> Tree<'z> {
    fn new(zone: &'z Zone) -> Tree<'z> {
        Tree {
            zone,
            senders: Vec::new(),
            lookups: 0,
            voids: 0,
            void_names: Vec::new(),
            error: None,
            macros: false,
            all: None,
            ptr: false,
            redirects: false,
        }
    }

    fn broken(&mut self, why: String) {
        self.error.get_or_insert(why);
    }

    fn void(&mut self, name: &str) {
        self.voids += 1;
        self.void_names.push(name.to_owned());
    }

    fn record(&mut self, domain: &str, record: &str, depth: usize) -> Result<Outcome, Stop> {
        let mut outcome = Outcome(vec![None; self.senders.len()]);
        let (mut redirect, mut has_all) = (None, false);
        for term in record.split_whitespace().skip(1) {
            let lower = term.to_ascii_lowercase();
            if let Some(target) = lower.strip_prefix("redirect=") {
                redirect = Some(target.to_owned());
                continue;
            }
            if lower.contains('=') && !lower.contains(':') {
                // `exp=` and what future versions add (RFC 7208 section 6).
                continue;
            }
            let (qualifier, mechanism) = match lower.strip_prefix(['+', '-', '~', '?']) {
                Some(rest) => (lower.chars().next().unwrap_or('+'), rest),
                None => ('+', lower.as_str()),
            };
            let matched = self.mechanism(domain, mechanism, depth)?;
            if mechanism == "all" {
                has_all = true;
                if depth == 0 {
                    self.all = Some(qualifier);
                }
            }
            self.ptr |= depth == 0 && (mechanism == "ptr" || mechanism.starts_with("ptr:"));
            for (result, matched) in outcome.0.iter_mut().zip(matched) {
                if matched && result.is_none() {
                    *result = Some(qualifier == '+');
                }
            }
        }
        if let (Some(target), false) = (redirect, has_all) {
            self.redirects |= depth == 0;
            let theirs = self.other(&target, depth, "redirect")?;
            for (result, theirs) in outcome.0.iter_mut().zip(theirs.0) {
                *result = result.or(theirs);
            }
        }
        Ok(outcome)
    }

    /// Which senders it matches.
    fn mechanism(&mut self, domain: &str, mechanism: &str, depth: usize) -> Result<Vec<bool>, Stop> {
        let none = vec![false; self.senders.len()];
        let end = mechanism.find([':', '/']).unwrap_or(mechanism.len());
        let (name, argument) = mechanism.split_at(end);
        let argument = argument.strip_prefix(':').unwrap_or(argument);
        match name {
            "all" => return Ok(vec![true; self.senders.len()]),
            "ip4" | "ip6" => {
                let Some(network) = Network::parse(argument) else {
                    self.broken(format!("`{mechanism}` is no address"));
                    return Ok(none);
                };
                return Ok(self.senders.iter().map(|sender| network.holds(*sender)).collect());
            }
            "include" | "a" | "mx" | "ptr" | "exists" => self.lookups += 1,
            _ => {
                self.broken(format!("`{mechanism}` is no mechanism"));
                return Ok(none);
            }
        }
        if argument.contains('%') {
            self.macros = true;
            return Ok(none);
        }
        if self.lookups > LOOKUPS + DEPTH {
            return Ok(none);
        }
        let (target, bits) = split_bits(argument);
        let target = if target.is_empty() { domain } else { target };
        match name {
            "include" => {
                let theirs = self.other(argument, depth, "include")?;
                Ok(theirs.0.into_iter().map(|result| result == Some(true)).collect())
            }
            "a" => self.hosts(&[target.to_owned()], bits, Kind::A),
            "mx" => {
                let hosts: Vec<String> =
                    self.zone.get(target, Kind::Mx)?.iter().filter_map(|mx| exchange(mx)).collect();
                if hosts.is_empty() {
                    self.void(target);
                }
                self.hosts(&hosts, bits, Kind::Mx)
            }
            // Both need the address of one message.
            _ => {
                self.macros |= name == "exists";
                Ok(none)
            }
        }
    }

    fn hosts(&mut self, hosts: &[String], bits: (u8, u8), of: Kind) -> Result<Vec<bool>, Stop> {
        let mut matched = vec![false; self.senders.len()];
        for host in hosts.iter().take(LOOKUPS) {
            let addresses = self.zone.addresses(host)?;
            if addresses.is_empty() && of == Kind::A {
                self.void(host);
            }
            for address in addresses {
                let bits = if address.is_ipv4() { bits.0 } else { bits.1 };
                let network = Network::of(address, bits);
                for (matched, sender) in matched.iter_mut().zip(&self.senders) {
                    *matched |= network.holds(*sender);
                }
            }
        }
        Ok(matched)
    }

    fn other(&mut self, target: &str, depth: usize, what: &str) -> Result<Outcome, Stop> {
        let none = Outcome(vec![None; self.senders.len()]);
        if what == "redirect" {
            self.lookups += 1;
        }
        if target.contains('%') {
            self.macros = true;
            return Ok(none);
        }
        if target.is_empty() || depth >= DEPTH {
            self.broken(format!("`{what}` leads nowhere"));
            return Ok(none);
        }
        let zone = self.zone;
        match records(zone, target)?.as_slice() {
            [one] => self.record(target, one, depth + 1),
            [] => {
                if zone.get(target, Kind::Txt)?.is_empty() {
                    self.void(target);
                }
                // More of them than the budget allows is the budget's finding.
                if self.voids <= VOIDS {
                    self.broken(format!("{what} {target} has no SPF record"));
                }
                Ok(none)
            }
            _ => {
                self.broken(format!("{what} {target} has several SPF records"));
                Ok(none)
            }
        }
    }
}

/// The host of an MX record; the root of a null MX is none.
pub(super) fn exchange(record: &str) -> Option<String> {
    let host = record.split_whitespace().nth(1)?.trim_end_matches('.');
    (!host.is_empty()).then(|| host.to_lowercase())
}

/// `example.org/24//64` into the name and the bits for both families.
fn split_bits(argument: &str) -> (&str, (u8, u8)) {
    let (name, bits) = argument.split_once('/').unwrap_or((argument, ""));
    let (four, six) = match bits.split_once("//") {
        Some((four, six)) => (four, six),
        None => bits.strip_prefix('/').map_or((bits, ""), |six| ("", six)),
    };
    (name, (four.parse().unwrap_or(32), six.parse().unwrap_or(128)))
}
