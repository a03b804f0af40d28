//! `index.html` of a kept demo: every tier's mail side by side, as a person would look at them.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;
use std::path::Path;

use super::sink::Recorded;
use crate::app::Setup;
use crate::domain::body::escape_html;
use crate::mail::parse;

const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width\">\n<title>What each tier got</title>\n<style>\n\
    :root { color-scheme: light dark }\n\
    body { margin: 24px; font: 16px/24px 'Segoe UI', -apple-system, BlinkMacSystemFont, Helvetica, Arial, sans-serif;\n\
           background: light-dark(#fff, #15181b); color: light-dark(#1d2125, #e8e5df) }\n\
    .bar { width: 40px; height: 4px; background: light-dark(#0b5c71, #7cc4d6) }\n\
    h1 { font-size: 20px; margin: 12px 0 24px } h2 { font-size: 16px; margin: 0 0 8px }\n\
    .row { display: flex; gap: 24px; overflow-x: auto; padding-bottom: 16px }\n\
    .mail { flex: 0 0 420px } iframe { width: 420px; height: 1400px; border: 1px solid light-dark(#8a8578, #7a8189) }\n\
    a { color: light-dark(#0b5c71, #7cc4d6) }\n\
    pre { white-space: pre-wrap; font: 14px/22px Consolas, Menlo, monospace; background: light-dark(#f6f3ec, #20252a);\n\
          padding: 16px; border-radius: 6px; overflow-x: auto }\n</style>\n";

/// Writes `index.html`, one page per tier and the media. The pictures' addresses point into the folder, because the sample
/// publication's site does not exist; the `.eml` files are as they were sent.
pub fn write(folder: &Path, setup: &Setup, mails: &[Recorded], conversation: &str) -> io::Result<()> {
    let media = folder.join("media");
    std::fs::create_dir_all(&media)?;
    for file in setup.content.media() {
        std::fs::copy(&file.path, media.join(&file.name))?;
    }
    std::fs::create_dir_all(folder.join("tiers"))?;
    let publication = &setup.content.publication;
    let mut page = format!(
        "{HEAD}<div class=\"bar\"></div>\n<h1>{}: what each tier got</h1>\n<div class=\"row\">\n",
        text(&publication.name)
    );
    let mut seen = BTreeSet::new();
    for tier in &publication.tiers {
        let Some(mail) = mails.iter().find(|mail| mail.tier() == tier.id.as_str()) else { continue };
        if !seen.insert(&tier.id) {
            continue;
        }
        let parsed = parse::parse(&mail.bytes);
        let html = html_part(&mail.bytes).replace(&format!("{}/media/", publication.url), "../media/");
        std::fs::write(folder.join("tiers").join(format!("{}.html", tier.id)), html)?;
        let count = mails.iter().filter(|mail| mail.tier() == tier.id.as_str()).count();
        let eml = mail.path.strip_prefix(folder).unwrap_or(&mail.path).display().to_string();
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "<section class=\"mail\"><h2>{}, {count} people</h2>\n<p>{} bytes. <a href=\"{}\">.eml</a>, \
             <a href=\"tiers/{id}.html\">alone</a></p>\n<iframe src=\"tiers/{id}.html\" title=\"{}\"></iframe>\n\
             <details><summary>The text part</summary><pre>{}</pre></details></section>",
            text(&tier.label),
            mail.bytes.len(),
            text(&eml),
            text(&tier.label),
            text(&parsed.text),
            id = tier.id,
        );
    }
    let _ = write!(
        page,
        "</div>\n<h1>And the answer that came back</h1>\n<pre>{}</pre>\n</html>\n",
        text(conversation)
    );
    std::fs::write(folder.join("index.html"), page)
}

/// The HTML that a mail program shows.
fn html_part(raw: &[u8]) -> String {
    mail_parser::MessageParser::new()
        .parse(raw)
        .and_then(|message| message.body_html(0).map(std::borrow::Cow::into_owned))
        .unwrap_or_default()
}

fn text(value: &str) -> String {
    let mut out = String::new();
    escape_html(value, &mut out);
    out
}
