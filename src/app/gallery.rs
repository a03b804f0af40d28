//! A page that shows every tier's mail side by side, as a person would look at them. Kept demos and previews write it.

use std::fmt::Write;
use std::io;
use std::path::Path;

use super::Setup;
use crate::domain::body::escape_html;

const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width\">\n<title>What each tier gets</title>\n<style>\n\
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

/// One tier's mail.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The tier's id, which names its page.
    pub tier: String,
    /// Above the mail: the tier's label and who gets it.
    pub caption: String,
    /// The whole message's size.
    pub bytes: usize,
    /// The message, relative to the folder.
    pub eml: String,
    pub subject: String,
    pub html: String,
    pub text: String,
}

/// Writes `index.html`, one page per tier and the media. The pictures' addresses point into the folder, because what is not
/// sent yet is not published yet; the `.eml` files stay as they are. `more` is shown below the mails: a title and a text.
///
/// # Errors
/// When the folder cannot be written.
pub fn write(
    folder: &Path,
    setup: &Setup,
    title: &str,
    mails: &[Shown],
    more: Option<(&str, &str)>,
) -> io::Result<()> {
    let media = folder.join("media");
    std::fs::create_dir_all(&media)?;
    for file in setup.content.media() {
        std::fs::copy(&file.path, media.join(&file.name))?;
    }
    std::fs::create_dir_all(folder.join("tiers"))?;
    let published = format!("{}/media/", setup.content.publication.url);
    let mut page =
        format!("{HEAD}<div class=\"bar\"></div>\n<h1>{}</h1>\n<div class=\"row\">\n", escaped(title));
    for mail in mails {
        let html = mail.html.replace(&published, "../media/");
        std::fs::write(folder.join("tiers").join(format!("{}.html", mail.tier)), html)?;
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "<section class=\"mail\"><h2>{caption}</h2>\n<p>{subject}<br>\n{bytes} bytes. <a href=\"{eml}\">.eml</a>, \
             <a href=\"tiers/{tier}.html\">alone</a></p>\n\
             <iframe src=\"tiers/{tier}.html\" title=\"{caption}\"></iframe>\n\
             <details><summary>The text part</summary><pre>{text}</pre></details></section>",
            caption = escaped(&mail.caption),
            subject = escaped(&mail.subject),
            bytes = mail.bytes,
            eml = escaped(&mail.eml),
            tier = escaped(&mail.tier),
            text = escaped(&mail.text),
        );
    }
    page.push_str("</div>\n");
    if let Some((title, text)) = more {
        let _ = writeln!(page, "<h1>{}</h1>\n<pre>{}</pre>", escaped(title), escaped(text));
    }
    page.push_str("</html>\n");
    std::fs::write(folder.join("index.html"), page)
}

fn escaped(value: &str) -> String {
    let mut out = String::new();
    escape_html(value, &mut out);
    out
}
