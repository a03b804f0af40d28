//! `doctor --received`: a mail as it arrived, checked as a receiver checks it. A relay that rewrites headers or adds a footer breaks
//! the signature, and nothing on this side of the relay shows it (W68).

use std::net::SocketAddr;
use std::sync::Arc;

use crate::domain::doctor::{Check, Status};
use crate::intake::signature::{Signatures, Unverified, Verdict};
use crate::mail::dkim::Signer;

const EXPECTED: &str = "a signature of ours that verifies in the mailbox";

/// One check for each of our signatures in the message; one that says so where there is none.
pub async fn look(
    raw: Vec<u8>,
    place: &str,
    signer: Option<&Signer>,
    resolver: Option<SocketAddr>,
) -> Vec<Check> {
    let unknown = |why: String| {
        vec![
            Check::new("W68", "received_not_checked", Status::Unknown, place)
                .found(why)
                .expected(EXPECTED)
                .fix("ask again later, or name a name server: [intake] resolver = \"127.0.0.1:53\""),
        ]
    };
    let signatures = match Signatures::new(resolver) {
        Ok(signatures) => signatures,
        Err(why) => return unknown(format!("no name server can be asked for keys: {why}")),
    };
    let names: Vec<String> =
        signer.map_or(&[][..], Signer::keys).iter().map(|key| key.record_name()).collect();
    match signatures.verdicts(Arc::from(on_the_wire(&raw))).await {
        Ok(verdicts) => judged(&verdicts, &names, place),
        Err(why) => unknown(why),
    }
}

/// Mail programs save with the line ends of their system.
fn on_the_wire(raw: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(raw.len() + raw.len() / 40);
    for (at, octet) in raw.iter().enumerate() {
        if *octet == b'\n' && (at == 0 || raw[at - 1] != b'\r') {
            wire.push(b'\r');
        }
        wire.push(*octet);
    }
    wire
}

fn judged(verdicts: &[Verdict], names: &[String], place: &str) -> Vec<Check> {
    let name = |verdict: &Verdict| format!("{}._domainkey.{}", verdict.selector, verdict.domain);
    let ours: Vec<&Verdict> = verdicts.iter().filter(|verdict| names.contains(&name(verdict))).collect();
    if ours.is_empty() {
        let others: Vec<String> = verdicts.iter().map(name).collect();
        let found = match others.as_slice() {
            [] => "no signature at all".to_owned(),
            others => format!("none of our keys signed it; there are signatures of {}", others.join(", ")),
        };
        let fix = "set [dkim] in tidings.toml and send another one, or have the relay leave DKIM-Signature in place";
        return vec![
            Check::fail("W68", "received_not_signed", place).found(found).expected(EXPECTED).fix(fix),
        ];
    }
    ours.into_iter()
        .map(|verdict| {
            let place = format!("{place}: {}", name(verdict));
            let fail = |found: String, fix: &str| {
                Check::fail("W68", "received_broken", &place).found(found).expected(EXPECTED).fix(fix)
            };
            match &verdict.result {
                Ok(()) => Check::ok("W68", "received", &place).found("it verifies after the relay"),
                Err(Unverified::NotKnown(why)) => Check::new("W68", "received_not_checked", Status::Unknown, &place)
                    .found(why.clone())
                    .expected(EXPECTED)
                    .fix("ask again later"),
                Err(Unverified::Body) => fail(
                    "body hash mismatch after relay: somebody on the way changed the text".to_owned(),
                    "have the relay add no footer and convert nothing (Postfix: no content_filter or milter that rewrites)",
                ),
                Err(Unverified::Wrong(why)) => fail(
                    format!("it does not verify after the relay: {why}"),
                    "have the relay leave headers as they are; where the key is not published: `tidings doctor` has its record",
                ),
            }
        })
        .collect()
}
