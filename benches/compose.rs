//! One recipient's message from a compiled body, beside a plain copy of the same octets, and beside the usual way: handlebars for
//! both parts and lettre's builder for the message.

mod common;

use std::process::ExitCode;

use common::{Report, median, micros, ratio, rounds, world};
use handlebars::Handlebars;
use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Body as Encoded, MultiPart, SinglePart};
use tidings::domain::address::Address;
use tidings::domain::body::{Body, Context, Piece};
use tidings::mail::compose::{Compiled, Recipient};

fn recipient() -> Recipient {
    Recipient {
        delivery: 123_456,
        subscriber: 4711,
        thread: 0,
        proof_of: 0,
        staff: 0,
        address: Address::parse("reader4711@host11.example").unwrap(),
        name: "Reader Number 4711".into(),
        tier_label: "Yearly".into(),
        term_ends: String::new(),
        key_id: world::keyring().current_key_id(),
        first_attempt_at: world::NOW,
    }
}

/// The same pieces as a template.
fn template(pieces: &[Piece]) -> String {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Literal(literal) => text.push_str(literal),
            Piece::Hole { field, context: Context::Bare } => {
                text.push_str(&format!("{{{{{{{}}}}}}}", key(field.name())))
            }
            Piece::Hole { field, .. } => text.push_str(&format!("{{{{{}}}}}", key(field.name()))),
            Piece::If { .. } => {}
        }
    }
    text
}

fn key(name: &str) -> String {
    name.replace('.', "_")
}

/// Handlebars and lettre, per message.
fn usual(templates: &Handlebars<'_>, values: &serde_json::Value) -> Vec<u8> {
    let part = |kind: ContentType, name: &str| {
        let text = templates.render(name, values).unwrap();
        let encoding = ContentTransferEncoding::QuotedPrintable;
        let body = Encoded::new_with_encoding(text, encoding).unwrap();
        SinglePart::builder().header(kind).body(body)
    };
    let message = lettre::Message::builder()
        .from("Example News <weekly@news.example.org>".parse().unwrap())
        .to("Reader Number 4711 <reader4711@host11.example>".parse().unwrap())
        .subject("Model compression, for yearly readers")
        .multipart(
            MultiPart::alternative()
                .singlepart(part(ContentType::TEXT_PLAIN, "text"))
                .singlepart(part(ContentType::TEXT_HTML, "html")),
        )
        .unwrap();
    message.formatted()
}

fn templates(body: &Body) -> Handlebars<'static> {
    let mut templates = Handlebars::new();
    templates.register_template_string("html", template(&body.html)).unwrap();
    templates.register_template_string("text", template(&body.text)).unwrap();
    templates
}

fn main() -> ExitCode {
    let mut report = Report::new("compose: one recipient's message");
    let body = world::body("yearly");
    let compiled = Compiled::new(&world::frame(), &body).unwrap();
    let (keyring, recipient, templates) = (world::keyring(), recipient(), templates(&body));
    let values = serde_json::json!({
        "subscriber_name": "Reader Number 4711",
        "subscriber_tier_label": "Yearly",
        "links_view": "https://news.example.org/v/abcdefghijklmnopqrstuvwxyz",
        "links_unsubscribe": "https://news.example.org/u/abcdefghijklmnopqrstuvwxyz",
    });
    let mut message = Vec::new();
    compiled.compose(&keyring, &recipient, &mut message).unwrap();
    let octets = message.clone();
    report.figure("octets of the message", octets.len() as f64, "");
    report.figure("octets the usual way", usual(&templates, &values).len() as f64, "");
    let (mut ours, mut copy, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds(7) {
        ours.push(micros(100, || {
            message.clear();
            compiled.compose(&keyring, &recipient, &mut message).unwrap()
        }));
        copy.push(micros(100, || {
            message.clear();
            message.extend_from_slice(std::hint::black_box(&octets));
        }));
        theirs.push(micros(100, || usual(&templates, &values)));
    }
    report.figure("composing", median(&ours), "us");
    report.figure("copying as many octets", median(&copy), "us");
    report.figure("handlebars and lettre's builder", median(&theirs), "us");
    report.ratio("composing / copying", ratio(&ours, &copy));
    report.at_most("composing / handlebars and lettre", ratio(&ours, &theirs), 0.2);
    report.finish()
}
