//! W69, W70: the record that says who may send for the envelope's domain (RFC 7208).
//!
//! All of the tree is walked, once for each sending address, also behind a term that matches: the budget is counted as for an address
//! that matches nothing, which is what a receiver counts in the worst case. Macros are expanded (`macros`), but for those that ask for
//! the left half of a return path: ours is another one for each mail, so where the answer would hang on it, it is `unknown`.

use std::net::IpAddr;

use super::names::reverse_name;
use super::{Check, Kind, SendingAddress, Status, Stop, Subject, Zone, is_within, macros};
use crate::domain::allowance::Network;

/// RFC 7208 section 4.6.4.
const LOOKUPS: usize = 10;
const VOIDS: usize = 2;
/// Nobody's tree is deeper: a record that includes itself ends here.
const DEPTH: usize = 12;

pub(super) fn checks(subject: &Subject, zone: &Zone) -> Vec<Result<Check, (&'static str, Stop)>> {
    match walk(subject, zone) {
        Ok(checks) => checks.into_iter().map(Ok).collect(),
        Err(stops) => stops.into_iter().map(|stop| Err(("W69", stop))).collect(),
    }
}

fn walk(subject: &Subject, zone: &Zone) -> Result<Vec<Check>, Vec<Stop>> {
    let domain = &subject.bounce;
    let proposal = proposal(subject);
    let records = records(zone, domain).map_err(|stop| vec![stop])?;
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
    let trees = trees(subject, zone, records[0])?;
    // What receivers count for the address that is worst off.
    let worst = trees.iter().max_by_key(|tree| (tree.error.is_some(), tree.lookups.max(tree.voids)));
    let Some(worst) = worst else { return Ok(Vec::new()) };
    Ok(vec![
        passes(subject, &trees, worst, (records[0], &proposal)),
        budget(domain, worst, records[0], &proposal),
    ])
}

/// One walk for each sending address, or one for nobody's where none is known. All of their questions are asked together.
fn trees<'z>(subject: &'z Subject, zone: &'z Zone, record: &str) -> Result<Vec<Tree<'z>>, Vec<Stop>> {
    let mut senders: Vec<Option<&SendingAddress>> = Vec::new();
    for sender in &subject.sending {
        if !senders.iter().flatten().any(|known| known.address == sender.address) {
            senders.push(Some(sender));
        }
    }
    if senders.is_empty() {
        senders.push(None);
    }
    let (mut trees, mut stops) = (Vec::new(), Vec::new());
    for sender in senders {
        let mut tree = Tree::new(zone, &subject.bounce, sender);
        match tree.record(&subject.bounce, record, 0) {
            Ok(result) => {
                tree.passes = result == Some(true);
                trees.push(tree);
            }
            Err(stop) if !stops.contains(&stop) => stops.push(stop),
            Err(_) => {}
        }
    }
    if stops.is_empty() { Ok(trees) } else { Err(stops) }
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
fn passes(
    subject: &Subject,
    trees: &[Tree<'_>],
    worst: &Tree<'_>,
    (record, proposal): (&str, &str),
) -> Check {
    let domain = &subject.bounce;
    if worst.lookups > LOOKUPS || worst.voids > VOIDS {
        return Check::skipped("W69", "spf", domain).found("receivers stop before its end, see W70");
    }
    if let Some(why) = &worst.error {
        return Check::fail("W69", "spf_error", domain)
            .found(format!("{record}: {why}"))
            .expected("a record that receivers can evaluate")
            .fix(proposal);
    }
    if subject.sending.is_empty() {
        let relays = subject.relays_without_addresses.join(", ");
        return Check::ok("W69", "spf", domain).found(format!(
            "{record}; whether it passes is not checked: `sends_from` of {relays} is not set in tidings.toml"
        ));
    }
    let outside: Vec<&Tree<'_>> = trees.iter().filter(|tree| !tree.passes).collect();
    let addresses: Vec<String> =
        outside.iter().filter_map(|tree| Some(tree.sender?.address.to_string())).collect();
    let addresses = addresses.join(", ");
    if outside.is_empty() {
        return Check::ok("W69", "spf", domain).found(record);
    }
    if outside.iter().any(|tree| tree.macros) {
        return Check::new("W69", "spf_macros", Status::Unknown, domain)
            .found(format!(
                "{record}: whether {addresses} pass hangs on the left half of the return path, which is another one for each mail"
            ))
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

/// The walk for one sending address. What a term or a record says of it: nothing, that it passes, or that it does not.
struct Tree<'z> {
    zone: &'z Zone,
    /// The domain of the envelope sender, which macros may ask for wherever they stand.
    bounce: &'z str,
    sender: Option<&'z SendingAddress>,
    passes: bool,
    lookups: usize,
    voids: usize,
    void_names: Vec<String>,
    error: Option<String>,
    /// A macro asked for what is not known.
    macros: bool,
    /// Of the first record only.
    all: Option<char>,
    ptr: bool,
    redirects: bool,
}

impl<'z> Tree<'z> {
    fn new(zone: &'z Zone, bounce: &'z str, sender: Option<&'z SendingAddress>) -> Tree<'z> {
        Tree {
            zone,
            bounce,
            sender,
            passes: false,
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

    fn is_in(&self, network: &Network) -> bool {
        self.sender.is_some_and(|sender| network.holds(sender.address))
    }

    fn record(&mut self, domain: &str, record: &str, depth: usize) -> Result<Option<bool>, Stop> {
        let mut result = None;
        let (mut redirect, mut has_all) = (None, false);
        for term in record.split_whitespace().skip(1) {
            let lower = term.to_ascii_lowercase();
            if lower.starts_with("redirect=") {
                redirect = Some(term["redirect=".len()..].to_owned());
                continue;
            }
            if lower.contains('=') && !lower.contains(':') {
                // `exp=` and what future versions add (RFC 7208 section 6).
                continue;
            }
            let (qualifier, mechanism) = match term.strip_prefix(['+', '-', '~', '?']) {
                Some(rest) => (term.chars().next().unwrap_or('+'), rest),
                None => ('+', term),
            };
            let matched = self.mechanism(domain, mechanism, depth)?;
            let name = mechanism.to_ascii_lowercase();
            if name == "all" {
                has_all = true;
                if depth == 0 {
                    self.all = Some(qualifier);
                }
            }
            self.ptr |= depth == 0 && (name == "ptr" || name.starts_with("ptr:"));
            if matched && result.is_none() {
                result = Some(qualifier == '+');
            }
        }
        if let (Some(target), false) = (redirect, has_all) {
            self.redirects |= depth == 0;
            self.lookups += 1;
            if let Some(target) = self.expanded(&target, domain)? {
                result = result.or(self.other(&target, depth, "redirect")?);
            }
        }
        Ok(result)
    }

    /// Whether it matches the sender.
    fn mechanism(&mut self, domain: &str, mechanism: &str, depth: usize) -> Result<bool, Stop> {
        let end = mechanism.find([':', '/']).unwrap_or(mechanism.len());
        let (name, argument) = mechanism.split_at(end);
        let argument = argument.strip_prefix(':').unwrap_or(argument);
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "all" => return Ok(true),
            "ip4" | "ip6" => {
                let Some(network) = Network::parse(argument) else {
                    self.broken(format!("`{mechanism}` is no address"));
                    return Ok(false);
                };
                return Ok(self.is_in(&network));
            }
            "include" | "a" | "mx" | "ptr" | "exists" => self.lookups += 1,
            _ => {
                self.broken(format!("`{mechanism}` is no mechanism"));
                return Ok(false);
            }
        }
        if self.lookups > LOOKUPS + DEPTH {
            return Ok(false);
        }
        let (target, bits) = macros::split_bits(argument);
        let Some(target) = self.expanded(target, domain)? else { return Ok(false) };
        if target.is_empty() && matches!(name.as_str(), "include" | "exists") {
            self.broken(format!("`{name}` leads nowhere"));
            return Ok(false);
        }
        let target = if target.is_empty() { domain.to_owned() } else { target };
        match name.as_str() {
            "include" => Ok(self.other(&target, depth, "include")? == Some(true)),
            "a" => self.hosts(&[target], bits, Kind::A),
            "mx" => {
                let hosts: Vec<String> =
                    self.zone.get(&target, Kind::Mx)?.iter().filter_map(|mx| exchange(mx)).collect();
                if hosts.is_empty() {
                    self.void(&target);
                }
                self.hosts(&hosts, bits, Kind::Mx)
            }
            "exists" => {
                // Also for IPv6 it is an A record (RFC 7208 section 5.7).
                let found = !self.zone.get(&target, Kind::A)?.is_empty();
                if !found {
                    self.void(&target);
                }
                Ok(found && self.sender.is_some())
            }
            _ => Ok(self.names()?.iter().any(|name| is_within(name, &target))),
        }
    }

    /// A name with its macros replaced; `None`: it has one that is not known, or that nobody can read.
    fn expanded(&mut self, text: &str, domain: &str) -> Result<Option<String>, Stop> {
        if !text.contains('%') {
            return Ok(Some(text.to_ascii_lowercase()));
        }
        let parts = match macros::parts(text) {
            Ok(parts) => parts,
            Err(why) => {
                self.broken(format!("`{text}`: {why}"));
                return Ok(None);
            }
        };
        let Some(sender) = self.sender.filter(|_| !macros::ask_for_local(&parts)) else {
            self.macros = true;
            return Ok(None);
        };
        let name = match macros::ask_for_name(&parts) {
            true => self.named(domain)?,
            false => String::new(),
        };
        let values = macros::Values {
            ip: sender.address,
            domain,
            sender: self.bounce,
            hello: &sender.hello,
            name: &name,
        };
        Ok(Some(macros::expand(&parts, &values)))
    }

    /// The names of the sender that lead back to it (RFC 7208 section 5.5).
    fn names(&self) -> Result<Vec<String>, Stop> {
        let Some(sender) = self.sender else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for pointer in self.zone.get(&reverse_name(sender.address), Kind::Ptr)?.iter().take(LOOKUPS) {
            if self.zone.addresses(pointer)?.contains(&sender.address) {
                names.push(pointer.trim_end_matches('.').to_lowercase());
            }
        }
        Ok(names)
    }

    /// The one that `%{p}` stands for: the domain itself, then what is below it, then any (section 7.3).
    fn named(&self, domain: &str) -> Result<String, Stop> {
        let mut names = self.names()?;
        names.sort_by_key(|name| (name != domain, !is_within(name, domain)));
        Ok(names.into_iter().next().unwrap_or_else(|| "unknown".to_owned()))
    }

    fn hosts(&mut self, hosts: &[String], bits: (u8, u8), of: Kind) -> Result<bool, Stop> {
        let mut matched = false;
        for host in hosts.iter().take(LOOKUPS) {
            let addresses = self.zone.addresses(host)?;
            if addresses.is_empty() && of == Kind::A {
                self.void(host);
            }
            for address in addresses {
                let bits = if address.is_ipv4() { bits.0 } else { bits.1 };
                matched |= self.is_in(&Network::of(address, bits));
            }
        }
        Ok(matched)
    }

    fn other(&mut self, target: &str, depth: usize, what: &str) -> Result<Option<bool>, Stop> {
        if target.is_empty() || depth >= DEPTH {
            self.broken(format!("`{what}` leads nowhere"));
            return Ok(None);
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
                Ok(None)
            }
            _ => {
                self.broken(format!("{what} {target} has several SPF records"));
                Ok(None)
            }
        }
    }
}

/// The host of an MX record; the root of a null MX is none.
pub(super) fn exchange(record: &str) -> Option<String> {
    let host = record.split_whitespace().nth(1)?.trim_end_matches('.');
    (!host.is_empty()).then(|| host.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::super::Answer;
    use super::*;

    const DOMAIN: &str = "news.example.org";

    fn sender(address: &str) -> SendingAddress {
        SendingAddress {
            relay: "main".into(),
            address: address.parse().unwrap(),
            hello: "out.example.org".into(),
        }
    }

    /// The checks for these sending addresses in a zone, and the names that were asked for.
    fn looked(senders: &[&str], zone: &[(&str, Kind, &str)]) -> (Vec<Check>, Vec<String>) {
        let subject = Subject {
            from: vec![DOMAIN.into()],
            bounce: DOMAIN.into(),
            inbound: Vec::new(),
            keys: Vec::new(),
            sending: senders.iter().map(|address| sender(address)).collect(),
            relays_without_addresses: Vec::new(),
            web: DOMAIN.into(),
            postmaster: String::new(),
        };
        let (mut known, mut asked) = (Zone::default(), Vec::new());
        for _ in 0..100 {
            let mut open = Vec::new();
            let results = checks(&subject, &known);
            let mut done = Vec::new();
            for result in results {
                match result {
                    Ok(check) => done.push(check),
                    Err((_, Stop::Ask(question))) => open.push(question),
                    Err((_, Stop::Unknown(question, why))) => panic!("{question}: {why}"),
                }
            }
            if open.is_empty() {
                return (done, asked);
            }
            for question in open {
                let rows =
                    zone.iter().filter(|(name, kind, _)| *name == question.name && *kind == question.kind);
                let records: Vec<String> = rows.map(|(_, _, value)| (*value).to_owned()).collect();
                asked.push(question.name.clone());
                let answer = if records.is_empty() { Answer::Nothing } else { Answer::Records(records) };
                known.add(question, answer);
            }
        }
        panic!("it asks without end")
    }

    /// The key of W69's finding, or `ok`.
    fn found(senders: &[&str], zone: &[(&str, Kind, &str)]) -> String {
        let (checks, _) = looked(senders, zone);
        let check = checks.iter().find(|check| check.id == "W69").unwrap();
        if check.is_finding() { check.key.to_owned() } else { check.status.as_str().to_owned() }
    }

    #[test]
    fn w69_macros_are_expanded_for_each_sending_address() {
        use Kind::{A, Aaaa, Ptr, Txt};
        let zone = [
            (DOMAIN, Txt, "v=spf1 exists:%{ir}.%{v}._spf.%{d2} -all"),
            ("1.2.0.192.in-addr._spf.example.org", A, "127.0.0.2"),
        ];
        assert_eq!(found(&["192.0.2.1"], &zone), "ok");
        assert_eq!(found(&["192.0.2.1", "192.0.2.9"], &zone), "spf_fails");
        let (_, asked) = looked(&["192.0.2.9", "2001:db8::1"], &zone);
        assert!(asked.contains(&"9.2.0.192.in-addr._spf.example.org".to_owned()), "{asked:?}");
        let six = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.org";
        assert!(asked.contains(&six.to_owned()), "{asked:?}");

        // In includes and redirects, with the domain of the record that they stand in.
        let zone = [
            (DOMAIN, Txt, "v=spf1 include:_%{v}.%{d} ?all"),
            ("_in-addr.news.example.org", Txt, "v=spf1 redirect=%{o1}.%{d3}.relay.example"),
            ("org.news.example.org.relay.example", Txt, "v=spf1 a:%{h}/24 -all"),
            ("out.example.org", A, "192.0.2.200"),
        ];
        assert_eq!(found(&["192.0.2.1"], &zone), "ok");
        assert_eq!(found(&["192.0.3.1"], &zone), "spf_fails");

        // The name of the address has to lead back to it.
        let zone = [
            (DOMAIN, Txt, "v=spf1 exists:%{p}.ok.example ptr:relay.example -all"),
            ("1.2.0.192.in-addr.arpa", Ptr, "mx.relay.example."),
            ("2.2.0.192.in-addr.arpa", Ptr, "mx.relay.example."),
            ("mx.relay.example", A, "192.0.2.1"),
            ("mx.relay.example", Aaaa, "2001:db8::1"),
        ];
        assert_eq!(found(&["192.0.2.1"], &zone), "ok");
        assert_eq!(found(&["192.0.2.2"], &zone), "spf_fails");
    }

    #[test]
    fn w69_what_hangs_on_one_mail_is_not_known_and_what_does_not_is() {
        let record = |text: &'static str| [(DOMAIN, Kind::Txt, text)];
        assert_eq!(found(&["192.0.2.1"], &record("v=spf1 exists:%{l}.users.example -all")), "spf_macros");
        assert_eq!(found(&["192.0.2.1"], &record("v=spf1 exists:%{S}.users.example -all")), "spf_macros");
        assert_eq!(
            found(&["192.0.2.1"], &record("v=spf1 exists:%{l}.users.example ip4:192.0.2.1 -all")),
            "ok"
        );
        assert_eq!(found(&[], &record("v=spf1 exists:%{i}.users.example -all")), "ok", "nothing to compare");
        for wrong in [
            "v=spf1 exists:%{x}.example -all",
            "v=spf1 exists:%.example -all",
            "v=spf1 include:%{d0} -all",
            "v=spf1 exists: -all",
        ] {
            assert_eq!(found(&["192.0.2.1"], &record(wrong)), "spf_error", "{wrong}");
        }
        // `exp=` may hold macros of its own, which nothing hangs on.
        assert_eq!(found(&["192.0.2.1"], &record("v=spf1 ip4:192.0.2.1 exp=%{t}.why.example -all")), "ok");
    }

    #[test]
    fn w70_macros_count_as_lookups_and_voids() {
        let zone = [(
            DOMAIN,
            Kind::Txt,
            "v=spf1 exists:%{i}.a.example exists:%{i}.b.example exists:%{i}.c.example ip4:192.0.2.1 -all",
        )];
        let (checks, _) = looked(&["192.0.2.1"], &zone);
        let keys: Vec<&str> = checks.iter().map(|check| check.key).collect();
        assert_eq!(keys, ["spf", "spf_voids"], "{checks:#?}");
    }
}
