//! W73: each relay as sending meets it, TLS and login with it, and what the world says about our clock (W78).

use std::time::Duration;

use chrono::DateTime;
use futures_util::future::join_all;

use super::Patient;
use crate::domain::delivery::Phase;
use crate::domain::doctor::{Check, Status};
use crate::domain::settings::{RelaySecurity, RelaySettings};
use crate::runtime::{MaskedText, Timestamp};
use crate::transport::probe::{Probed, probe};
use crate::transport::{ConnectProblem, Timeouts};

/// Somebody waits before a terminal.
const STEP: Duration = Duration::from_secs(15);
/// W78.
const CLOCK: i64 = 60_000;

/// What somebody else's clock said, and ours at that moment.
pub(super) struct Told {
    pub by: String,
    pub theirs: Timestamp,
    pub ours: Timestamp,
}

pub(super) async fn look(patient: &Patient<'_>) -> (Vec<Check>, Vec<Told>) {
    let timeouts = Timeouts { connect: STEP, banner: STEP, ..Timeouts::default() };
    let probes = patient.settings.relays.iter().map(|relay| async move {
        let probed = probe(relay, timeouts).await;
        (relay, probed, patient.clock.now())
    });
    let (mut checks, mut clocks) = (Vec::new(), Vec::new());
    for (relay, probed, ours) in join_all(probes).await {
        if let Ok(Some(theirs)) = probed.as_ref().map(|probed| date_in(&probed.greeting)) {
            clocks.push(Told { by: format!("relay {}", relay.name), theirs, ours });
        }
        checks.push(match probed {
            Ok(probed) => well(relay, &probed),
            Err(problem) => wrong(relay, &problem),
        });
    }
    (checks, clocks)
}

fn place(relay: &RelaySettings) -> String {
    format!("relay {} ({}:{})", relay.name, relay.host, relay.port)
}

fn well(relay: &RelaySettings, probed: &Probed) -> Check {
    let tls = match relay.security {
        RelaySecurity::None => "on this machine, without TLS",
        RelaySecurity::StartTls => "STARTTLS, its certificate is accepted",
        RelaySecurity::Implicit => "TLS, its certificate is accepted",
    };
    let login = relay.username.as_ref().map_or_else(String::new, |_| ", the login too".to_owned());
    let size = probed.size.map_or_else(String::new, |size| format!(", mails up to {size} octets"));
    let greeting = MaskedText(&probed.greeting).to_string();
    Check::ok("W73", "relay", &place(relay)).found(format!("{tls}{login}{size}: {greeting}"))
}

fn wrong(relay: &RelaySettings, problem: &ConnectProblem) -> Check {
    let name = &relay.name;
    let (key, expected, fix) = match problem.phase {
        Phase::Connect if !problem.needs_operator => (
            "relay_unreachable",
            "a server that greets".to_owned(),
            format!(
                "start the server at {}:{}, open the way to it, or correct `url` of relay `{name}`",
                relay.host, relay.port
            ),
        ),
        Phase::StartTls => (
            "relay_tls",
            format!("TLS with a certificate for {} that is valid now and that is trusted", relay.host),
            format!(
                "renew or correct the certificate there; for a CA of your own: ca = \"secrets/relay-ca.pem\" in relay `{name}`"
            ),
        ),
        Phase::Auth => (
            "relay_login",
            "a login that is taken".to_owned(),
            format!("correct `username` and `password` of relay `{name}`"),
        ),
        _ => (
            "relay_refuses",
            "a relay that lets us in".to_owned(),
            format!("have the relay's operator allow this machine, which says EHLO {}", relay.hello),
        ),
    };
    let status = if problem.needs_operator { Status::Fail } else { Status::Unknown };
    let found = MaskedText(&problem.why).to_string();
    Check::new("W73", key, status, &place(relay)).found(found).expected(expected).fix(fix)
}

/// The date that some servers greet with.
fn date_in(greeting: &str) -> Option<Timestamp> {
    let starts = greeting.match_indices(' ').map(|(at, _)| at + 1);
    std::iter::once(0).chain(starts).find_map(|at| date(&greeting[at..]))
}

/// RFC 5322 section 3.3, and HTTP's form of it.
pub(super) fn date(text: &str) -> Option<Timestamp> {
    DateTime::parse_from_rfc2822(text.trim()).ok().map(|date| Timestamp(date.timestamp_millis()))
}

/// W78. A second of a message's Date and of every link's life hang on it.
pub(super) fn clock(told: &[Told]) -> Check {
    let off = |told: &&Told| (told.ours.millis() - told.theirs.millis()).abs();
    match told.iter().max_by_key(off) {
        None => Check::skipped("W78", "clock", "this machine")
            .found("nobody said what time it is: neither a relay's greeting nor a page has a date"),
        Some(worst) if off(&worst) > CLOCK => {
            let seconds = (worst.ours.millis() - worst.theirs.millis()) / 1000;
            let direction = if seconds > 0 { "ahead of" } else { "behind" };
            Check::fail("W78", "clock_off", "this machine")
                .found(format!("its clock is {} s {direction} that of {}", seconds.abs(), worst.by))
                .expected("at most 60 s")
                .fix("keep it with NTP: `timedatectl set-ntp true`")
        }
        Some(worst) => Check::ok("W78", "clock", "this machine").found(format!(
            "within {} s of {}",
            off(&worst) / 1000,
            worst.by
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w78_a_clock_is_right_within_a_minute_of_every_other() {
        let greeting = "smtp.example.net ESMTP Exim 4.96 Thu, 26 Nov 2026 02:22:45 +0000";
        let theirs = date_in(greeting).unwrap();
        assert_eq!(theirs.rfc3339(), "2026-11-26T02:22:45Z");
        assert_eq!(date_in("mx.example.org ESMTP Postfix"), None);
        assert_eq!(date("Thu, 26 Nov 2026 02:22:45 GMT"), Some(theirs));
        let told = |seconds: i64| Told {
            by: "relay main".into(),
            theirs,
            ours: Timestamp(theirs.millis() + seconds * 1000),
        };
        assert_eq!(clock(&[]).status, Status::Skipped);
        assert_eq!(clock(&[told(60), told(-3)]).status, Status::Ok);
        let off = clock(&[told(1), told(-61)]);
        assert_eq!(
            (off.status, off.found.as_str()),
            (Status::Fail, "its clock is 61 s behind that of relay main")
        );
    }
}
