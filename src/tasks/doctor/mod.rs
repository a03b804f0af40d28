//! What `tidings doctor` looks at, in its order: names in DNS, keys, relays, intake, storage, the public pages, the clock.
//!
//! It looks and changes nothing: no mail, no row, no link that is somebody's. Each look has an end, and one that fails is a finding of
//! its own; none of them stops the others. What records mean is `domain::doctor`'s.

mod intake;
mod pages;
pub mod received;
mod relays;
mod storage;
pub mod test_mail;

use std::collections::BTreeSet;

use futures_util::future::join_all;

use crate::domain::doctor::{self, Check, PublishedKey, SendingAddress, Subject, Zone};
use crate::domain::problem::Problem;
use crate::domain::provider::Providers;
use crate::domain::publication::Publication;
use crate::domain::settings::Settings;
use crate::intake::dns::Names;
use crate::mail::dkim::Signer;
use crate::mail::dkim_key;
use crate::mail::token::Keyring;
use crate::runtime::Clock;
use crate::store::{Store, StoreError};

/// Rounds of questions. The deepest tree of includes that is walked, with room.
const ROUNDS: usize = 60;
/// Questions at once.
const AT_ONCE: usize = 16;

/// Whose health it is.
pub struct Patient<'a> {
    pub settings: &'a Settings,
    pub publication: &'a Publication,
    pub signer: Option<&'a Signer>,
    pub keyring: &'a Keyring,
    /// What the config itself warns of.
    pub warnings: &'a [Problem],
    pub store: Result<&'a Store, &'a StoreError>,
    pub providers: &'a Providers,
    pub clock: &'a dyn Clock,
}

/// Looks at everything once.
pub async fn examine(patient: &Patient<'_>) -> Vec<Check> {
    let (mut checks, zone) = names(patient).await;
    checks.push(key_files(patient.warnings));
    let (relays, mut clocks) = relays::look(patient).await;
    checks.extend(relays);
    checks.extend(intake::look(&patient.settings.intake).await);
    checks.extend(storage::look(patient).await);
    let (pages, clock) = pages::look(patient, &zone).await;
    checks.extend(pages);
    clocks.extend(clock);
    checks.push(relays::clock(&clocks));
    checks.push(zones());
    checks.extend(lanes(patient));
    patient.providers.name_codes(&mut checks);
    checks
}

/// Asks for records as long as a rule misses one.
async fn names(patient: &Patient<'_>) -> (Vec<Check>, Zone) {
    let subject = subject(patient);
    let mut zone = Zone::default();
    let names = match Names::new(patient.settings.intake.resolver) {
        Ok(names) => names,
        Err(why) => {
            let check = Check::new("W77", "no_resolver", doctor::Status::Unknown, "intake.resolver")
                .found(format!("nothing in DNS can be looked up: {why}"))
                .expected("a name server")
                .fix("name one: [intake] resolver = \"127.0.0.1:53\"");
            return (vec![check], zone);
        }
    };
    for _ in 0..ROUNDS {
        let open = match doctor::examine(&subject, &zone) {
            Ok(checks) => return (checks, zone),
            Err(open) => open,
        };
        for some in open.chunks(AT_ONCE) {
            let answers = join_all(some.iter().map(|question| names.ask(question))).await;
            for (question, answer) in some.iter().zip(answers) {
                zone.add(question.clone(), answer);
            }
        }
    }
    // Rules are bounded; should one not be, that is no "all is well" either.
    let check = Check::new("W77", "no_end", doctor::Status::Unknown, "DNS")
        .found(format!("after {ROUNDS} rounds of questions the records still lead on"))
        .expected("records that lead somewhere")
        .fix("follow the includes of the SPF record by hand");
    (vec![check], zone)
}

fn subject(patient: &Patient<'_>) -> Subject {
    let Patient { settings, publication, .. } = patient;
    let domain = |address: &crate::domain::address::Address| address.domain().to_owned();
    let mut from = vec![domain(&publication.from.address), domain(&settings.desk.mailbox.address)];
    from.dedup();
    let addresses = &settings.addresses;
    let named = [
        ("publication.toml: from", Some(domain(&publication.from.address))),
        ("desk.address", Some(domain(&settings.desk.mailbox.address))),
        ("addresses.reply", Some(addresses.reply.domain.clone())),
        ("addresses.unsubscribe", addresses.unsubscribe.as_ref().map(|pattern| pattern.domain.clone())),
        ("addresses.join", addresses.join.as_ref().map(domain)),
    ];
    let mut known = BTreeSet::new();
    let inbound = named.into_iter().filter_map(|(setting, domain)| Some((setting.to_owned(), domain?)));
    let keys = patient.signer.map_or(&[][..], Signer::keys).iter().zip(&settings.dkim);
    let relays = &settings.relays;
    let sending = relays.iter().flat_map(|relay| {
        relay.sends_from.iter().map(|address| SendingAddress {
            relay: relay.name.clone(),
            address: *address,
            hello: relay.hello.clone(),
        })
    });
    let silent = relays.iter().filter(|relay| relay.sends_from.is_empty());
    Subject {
        from,
        bounce: addresses.bounce.domain.clone(),
        inbound: inbound.filter(|(_, domain)| known.insert(domain.clone())).collect(),
        keys: keys
            .map(|(key, named)| PublishedKey {
                domain: named.domain.clone(),
                selector: named.selector.clone(),
                record: key.record(),
                zone: dkim_key::zone(&key.record_name(), &key.record()),
            })
            .collect(),
        sending: sending.collect(),
        relays_without_addresses: silent.map(|relay| relay.name.clone()).collect(),
        web: pages::host(&publication.url),
        postmaster: settings
            .operators
            .first()
            .map_or_else(String::new, |address| address.as_str().to_owned()),
    }
}

/// W67: what the config found out about the files of keys.
fn key_files(warnings: &[Problem]) -> Check {
    let about =
        warnings.iter().find(|problem| problem.key.starts_with("dkim") && problem.key.ends_with("key"));
    match about {
        None => Check::ok("W67", "key_files", "dkim.key").found("no key file that others can read"),
        Some(problem) => Check::warn("W67", "key_file_open", &problem.key)
            .found(problem.problem.clone())
            .expected("a key file that only this user can read")
            .fix(problem.hint.clone()),
    }
}

/// W199.
fn zones() -> Check {
    Check::ok("W78", "time_zones", "this binary")
        .found(format!("time zones of {}", chrono_tz::IANA_TZDB_VERSION))
}

/// W117: only who sends from addresses of their own is counted by providers.
fn lanes(patient: &Patient<'_>) -> Vec<Check> {
    let Patient { settings, providers, .. } = patient;
    let place = format!("provider data of {}", providers.dated);
    if settings.relays.iter().all(|relay| relay.sends_from.is_empty()) {
        let why = "no relay has `sends_from`: a smarthost keeps to the limits of providers itself";
        return vec![Check::skipped("W117", "lanes", &place).found(why)];
    }
    let mut checks = Vec::new();
    for lane in &providers.lanes {
        let has_lane = |domain: &String| settings.domains.iter().any(|own| own.matches.contains(domain));
        if lane.r#match.iter().any(has_lane) {
            continue;
        }
        let domains: Vec<String> = lane.r#match.iter().map(|domain| format!("\"{domain}\"")).collect();
        checks.push(
            Check::warn("W117", "no_lane", &lane.provider)
                .found(format!("its domains have no lane of their own ({place})"))
                .expected(format!(
                    "at most {} connections at first, with {} messages each",
                    lane.connections, lane.messages_per_connection
                ))
                .fix(format!(
                    "[[domains]]\nmatch = [{}]\nconnections = {}",
                    domains.join(", "),
                    lane.connections
                )),
        );
    }
    if checks.is_empty() {
        checks.push(Check::ok("W117", "lanes", &place).found("the large providers have a lane each"));
    }
    checks
}

/// A look that could not be made because a machine or a name server is away.
pub fn is_away(check: &Check) -> bool {
    check.status == doctor::Status::Unknown
}

/// The address of a host that a rule has looked up.
fn known(zone: &Zone, host: &str) -> Vec<std::net::IpAddr> {
    host.parse().map_or_else(|_| zone.known_addresses(host), |address| vec![address])
}
