//! W53, W71, W72, W78: the domains that mail comes from and back to, and the names of the addresses that send.

use std::net::IpAddr;

use super::spf::exchange;
use super::{Check, Kind, SendingAddress, Stop, Subject, Zone};

type Found = Result<Check, (&'static str, Stop)>;

/// Labels that only dynamic addresses have, or that count addresses.
const GENERIC: &[&str] = &[
    "dyn",
    "dynamic",
    "dhcp",
    "dsl",
    "adsl",
    "cable",
    "dialup",
    "pool",
    "ppp",
    "pppoe",
    "broadband",
    "customer",
    "cust",
    "clients",
    "home",
    "res",
];

/// W71: bounces arrive, and the domain exists.
pub(super) fn envelope(subject: &Subject, zone: &Zone) -> Vec<Found> {
    let domain = &subject.bounce;
    vec![
        takes_mail(("W71", "bounce"), ("addresses.bounce", domain), zone).map_err(|stop| ("W71", stop)),
        exists(domain, zone).map_err(|stop| ("W71", stop)),
    ]
}

/// Yahoo takes mail only from domains that have an SOA, their own or that of the zone that they are in.
fn exists(domain: &str, zone: &Zone) -> Result<Check, Stop> {
    Ok(match zone.get(domain, Kind::Soa)? {
        [] => Check::fail("W71", "bounce_no_soa", domain)
            .found("no SOA: the domain does not exist")
            .expected("a zone that holds the domain")
            .fix(format!(
                "have {domain} delegated and served, or set [addresses] bounce to a domain that is"
            )),
        [zone, ..] => Check::ok("W71", "bounce_soa", domain).found(format!("in the zone {zone}")),
    })
}

/// W53, W78: everything else that answers come back to, `abuse@` and `postmaster@` of it with it.
pub(super) fn inbound(subject: &Subject, zone: &Zone) -> Vec<Found> {
    let others = subject.inbound.iter().filter(|(_, domain)| *domain != subject.bounce);
    others
        .map(|(setting, domain)| {
            takes_mail(("W53", "inbound"), (setting, domain), zone).map_err(|stop| ("W53", stop))
        })
        .collect()
}

fn takes_mail(
    (id, what): (&'static str, &str),
    (setting, domain): (&str, &str),
    zone: &Zone,
) -> Result<Check, Stop> {
    let key = |bounce: &'static str, other: &'static str| if what == "bounce" { bounce } else { other };
    let records = zone.get(domain, Kind::Mx)?;
    let fail = |key, found: String| {
        Check::fail(id, key, domain)
            .found(found)
            .expected(format!("an MX that takes mail for {domain} ({setting}, and postmaster@ and abuse@ of it) and gives it to [intake]"))
            .fix(format!("{domain}. IN MX 10 <the host whose mail server gives it to [intake.lmtp]>."))
    };
    if let [one] = records
        && exchange(one).is_none()
    {
        return Ok(fail(
            key("bounce_null_mx", "inbound_null_mx"),
            format!("{one}: a null MX, the domain takes no mail (RFC 7505)"),
        ));
    }
    if records.is_empty() {
        if zone.addresses(domain)?.is_empty() {
            return Ok(fail(
                key("bounce_no_mx", "inbound_no_mx"),
                "neither MX nor an address: mail to it is lost".to_owned(),
            ));
        }
        return Ok(Check::warn(id, key("bounce_implicit_mx", "inbound_implicit_mx"), domain)
            .found("no MX: mail goes to the address of the domain itself")
            .expected("an MX that says so")
            .fix(format!("{domain}. IN MX 10 {domain}.")));
    }
    let hosts: Vec<String> = records.iter().filter_map(|mx| exchange(mx)).collect();
    for host in &hosts {
        if !zone.addresses(host)?.is_empty() {
            return Ok(Check::ok(id, key("bounce_mx", "inbound_mx"), domain)
                .found(format!("{} takes mail", hosts.join(", "))));
        }
    }
    Ok(fail(key("bounce_dead_mx", "inbound_dead_mx"), format!("{}: no address behind it", hosts.join(", ")))
        .fix(hosts.iter().map(|host| format!("{host}. IN A <its address>")).collect::<Vec<_>>().join("\n")))
}

/// W72: each address has a name that leads back to it, and says that name.
pub(super) fn reverse(subject: &Subject, zone: &Zone) -> Vec<Found> {
    let checked = subject.sending.iter().map(|sender| address(sender, zone).map_err(|stop| ("W72", stop)));
    let skipped = subject.relays_without_addresses.iter().map(|relay| {
        Ok(Check::skipped("W72", "reverse", &format!("relay {relay}"))
            .found("whose addresses the world sees is not said: for a smarthost that is its operator's matter, else set `sends_from` of the relay"))
    });
    checked.chain(skipped).collect()
}

fn address(sender: &SendingAddress, zone: &Zone) -> Result<Check, Stop> {
    let SendingAddress { relay, address, hello } = sender;
    let (place, name) = (format!("{address} (relay {relay})"), reverse_name(*address));
    let pointers = zone.get(&name, Kind::Ptr)?;
    let Some(pointer) = pointers.first() else {
        return Ok(Check::fail("W72", "ptr_missing", &place)
            .found("no PTR record")
            .expected("a name that leads back to the address")
            .fix(format!("{name}. IN PTR {hello}.")));
    };
    let host = pointer.trim_end_matches('.').to_lowercase();
    let mut back = None;
    for pointer in pointers {
        if zone.addresses(pointer)?.contains(address) {
            back = Some(pointer.trim_end_matches('.').to_lowercase());
            break;
        }
    }
    let kind = if address.is_ipv4() { "A" } else { "AAAA" };
    let Some(confirmed) = back else {
        return Ok(Check::fail("W72", "ptr_not_confirmed", &place)
            .found(format!("its name is {host}, and {host} does not lead to {address}"))
            .expected("a name that leads back to the address")
            .fix(format!("{host}. IN {kind} {address}")));
    };
    if is_generic(&confirmed, *address) {
        return Ok(Check::warn("W72", "ptr_generic", &place)
            .found(format!("{confirmed} looks like the name of a dynamic address"))
            .expected("a name of your own")
            .fix(format!("{name}. IN PTR {hello}.")));
    }
    if !confirmed.eq_ignore_ascii_case(hello) {
        return Ok(Check::warn("W72", "hello_differs", &place)
            .found(format!("the relay is told `EHLO {hello}`, the address is called {confirmed}"))
            .expected("one name: where the relay is your own MTA, its EHLO outwards counts")
            .fix(format!("[[relays]] hello = \"{confirmed}\" in tidings.toml, and the same name in the MTA (Postfix: smtp_helo_name = {confirmed})")));
    }
    Ok(Check::ok("W72", "reverse", &place).found(format!("{confirmed}, forward and back")))
}

/// RFC 1035 section 3.5, RFC 3596 section 2.5.
pub(super) fn reverse_name(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let digits: Vec<String> =
                format!("{:032x}", v6.to_bits()).chars().rev().map(String::from).collect();
            format!("{}.ip6.arpa", digits.join("."))
        }
    }
}

/// A label of a provider's own pools, or the numbers of the address in it.
fn is_generic(name: &str, address: IpAddr) -> bool {
    let labels: Vec<&str> = name.split(['.', '-', '_']).collect();
    let words = |label: &&str| GENERIC.contains(&label.trim_end_matches(|c: char| c.is_ascii_digit()));
    let IpAddr::V4(v4) = address.to_canonical() else { return labels.iter().any(words) };
    let numbers = v4.octets().map(|octet| octet.to_string());
    let counted = numbers.iter().filter(|number| labels.contains(&number.as_str())).count();
    labels.iter().any(words) || counted == 4
}

/// W78: the host of the links has an address. What answers there is asked over HTTPS.
pub(super) fn web(subject: &Subject, zone: &Zone) -> Vec<Found> {
    if subject.web.is_empty() || subject.web == "localhost" || subject.web.parse::<IpAddr>().is_ok() {
        return vec![Ok(Check::skipped("W78", "web_host", &subject.web).found("no name to look up"))];
    }
    let looked = zone.addresses(&subject.web).map(|addresses| match addresses.as_slice() {
        [] => Check::fail("W78", "web_no_address", &subject.web)
            .found("no address: every link in mails leads nowhere")
            .expected("an address of the machine that serves the public pages")
            .fix(format!("{}. IN A <the address of the web server in front of [web] listen>", subject.web)),
        all => {
            let all: Vec<String> = all.iter().map(ToString::to_string).collect();
            Check::ok("W78", "web_host", &subject.web).found(all.join(", "))
        }
    });
    vec![looked.map_err(|stop| ("W78", stop))]
}
