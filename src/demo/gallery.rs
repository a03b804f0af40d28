//! What a kept demo shows: every tier's mail as it arrived, and the conversation that came of one.

use std::io;
use std::path::Path;

use super::sink::Recorded;
use crate::app::Setup;
use crate::app::gallery::{self, Shown};
use crate::mail::parse;

/// Writes the page with the first mail of each tier.
pub fn write(folder: &Path, setup: &Setup, mails: &[Recorded], conversation: &str) -> io::Result<()> {
    let publication = &setup.content.publication;
    let mut shown = Vec::new();
    for tier in &publication.tiers {
        let of_tier = || mails.iter().filter(|mail| mail.tier() == tier.id.as_str());
        let Some(mail) = of_tier().next() else { continue };
        let parsed = parse::parse(&mail.bytes);
        shown.push(Shown {
            tier: tier.id.to_string(),
            caption: format!("{}, {} people", tier.label, of_tier().count()),
            bytes: mail.bytes.len(),
            eml: mail.path.strip_prefix(folder).unwrap_or(&mail.path).display().to_string(),
            subject: parsed.subject,
            html: html_part(&mail.bytes),
            text: parsed.text,
        });
    }
    let title = format!("{}: what each tier got", publication.name);
    gallery::write(folder, setup, &title, &shown, Some(("And the answer that came back", conversation)))
}

/// The HTML that a mail program shows.
fn html_part(raw: &[u8]) -> String {
    mail_parser::MessageParser::new()
        .parse(raw)
        .and_then(|message| message.body_html(0).map(std::borrow::Cow::into_owned))
        .unwrap_or_default()
}
