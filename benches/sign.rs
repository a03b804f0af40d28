//! What a signature costs beside the message that it is for: composing alone, composing and signing, and the bare RSA operation
//! of the same key. Beside it what the other library of the tree takes for the same operation.

mod common;

use std::process::ExitCode;

use common::{Report, median, micros, rounds, world};
use secrecy::ExposeSecret;
use tidings::domain::address::Address;
use tidings::mail::compose::{Compiled, Recipient};
use tidings::mail::dkim::{DkimKey, Signer};
use tidings::mail::dkim_key;

fn recipient() -> Recipient {
    Recipient {
        delivery: 123_456,
        subscriber: 4711,
        thread: 0,
        staff: 0,
        proof_of: 0,
        address: Address::parse("reader4711@host11.example").unwrap(),
        name: "Reader Number 4711".into(),
        tier_label: "Yearly".into(),
        term_ends: String::new(),
        key_id: world::keyring().current_key_id(),
        first_attempt_at: world::NOW,
    }
}

fn main() -> ExitCode {
    let mut report = Report::new("sign: one recipient's message, RSA 2048");
    let compiled =
        Compiled::new(&world::frame().of_edition("weekly", "yearly"), &world::body("yearly")).unwrap();
    let (keyring, recipient) = (world::keyring(), recipient());
    let (key, pem) = dkim_key::generate("2048").unwrap();
    let signer = Signer::new(vec![DkimKey::new("news.example.org", "t1", pem.expose_secret()).unwrap()]);
    let der = data_encoding::BASE64
        .decode(
            pem.expose_secret().lines().filter(|line| !line.starts_with('-')).collect::<String>().as_bytes(),
        )
        .unwrap();
    let ring = ring::signature::RsaKeyPair::from_pkcs8(&der).unwrap();
    let (input, mut signature) = (vec![b'x'; 2000], vec![0; 256]);
    let mut message = Vec::new();
    let (mut unsigned, mut signed, mut bare, mut other) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds(9) {
        unsigned.push(micros(50, || {
            message.clear();
            compiled.compose(&keyring, &recipient, &mut message).unwrap()
        }));
        signed.push(micros(200, || {
            message.clear();
            let envelope = compiled.compose(&keyring, &recipient, &mut message).unwrap();
            signer
                .sign(compiled.from_domain(), recipient.first_attempt_at, &mut message, envelope.body_at)
                .unwrap();
        }));
        bare.push(micros(200, || {
            std::hint::black_box(key.sign(&input).unwrap());
        }));
        other.push(micros(200, || {
            let random = ring::rand::SystemRandom::new();
            ring.sign(&ring::signature::RSA_PKCS1_SHA256, &random, &input, &mut signature).unwrap();
        }));
    }
    report.figure("octets of the signed message", message.len() as f64, "");
    report.figure("composing", median(&unsigned), "us");
    report.figure("composing and signing", median(&signed), "us");
    report.figure("one bare RSA signature", median(&bare), "us");
    report.figure("the same with ring", median(&other), "us");
    let extra: Vec<f64> = (0..bare.len()).map(|at| (signed[at] - unsigned[at]) / bare[at]).collect();
    report.at_most("(signed - unsigned) / bare signature", median(&extra), 1.3);
    report.finish()
}
