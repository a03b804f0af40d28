//! Reads the parts of `tidings.toml` that concern what comes in: `[intake]` and `[desk]`.

use super::secret::Sources;
use super::section::{Found, Section};
use super::{syntax, urls};
use crate::domain::address::{Address, Mailbox};
use crate::domain::settings::{DeskSettings, ImapSettings, IntakeSettings, StaffMember};

/// What large providers take, in bytes.
const MAX_MESSAGE: usize = 25_000_000;

/// `None` when a part of it is there and unusable. A missing table means: nothing comes in by itself.
pub(super) fn intake(root: &mut Section<'_>, sources: &Sources<'_>) -> Option<IntakeSettings> {
    let mut intake = IntakeSettings {
        authserv_id: None,
        resolver: None,
        lmtp: None,
        imap: None,
        maildir: None,
        max_message: MAX_MESSAGE,
    };
    let Some(found) = root.optional("intake") else { return Some(intake) };
    let mut section = found.section()?;
    intake.authserv_id = section.optional("authserv_id").and_then(|found| {
        found.parse(|text| match text.contains(char::is_whitespace) || text.contains([';', '(', '"']) {
            true => syntax::wrong(
                "is not the name of a server",
                "write the first word of its Authentication-Results: \"mx.news.example.org\"",
            ),
            false => Ok(text.to_owned()),
        })
    });
    intake.resolver = section.optional("resolver").and_then(|found| found.parse(syntax::socket));
    if let Some(size) = section.optional("max_message").and_then(|found| found.parse(syntax::size)) {
        intake.max_message = size;
    }
    if let Some(mut lmtp) = section.optional("lmtp").and_then(|found| found.section()) {
        let listen = lmtp.required("listen", "write listen = \"127.0.0.1:2424\"");
        intake.lmtp = listen.and_then(|found| found.parse(|text| syntax::listen(text, sources.base)));
        lmtp.finish();
    }
    intake.imap = section.optional("imap").and_then(|found| imap(found.section()?, sources));
    if let Some(mut maildir) = section.optional("maildir").and_then(|found| found.section()) {
        let path = maildir.required("path", "write path = \"var/maildir\"");
        intake.maildir = path.and_then(|found| found.text()).map(|path| sources.base.join(path));
        maildir.finish();
    }
    section.finish();
    Some(intake)
}

fn imap(mut section: Section<'_>, sources: &Sources<'_>) -> Option<ImapSettings> {
    let url = section
        .required("url", "write url = \"imaps://imap.example.org\"")
        .and_then(|found| found.parse(urls::imap));
    let username =
        section.required("username", "write username = \"support\"").and_then(|found| found.text());
    let password = section
        .required("password", "write password = { env = \"IMAP_PASSWORD\" }")
        .and_then(|found| sources.secret(&found));
    let mailbox = section.optional("mailbox").map_or(Some("INBOX"), |found| found.text());
    section.finish();
    let url = url?;
    Some(ImapSettings {
        host: url.host,
        port: url.port,
        username: username?.to_owned(),
        password: password?,
        mailbox: mailbox?.to_owned(),
    })
}

/// The support address and who answers there.
pub(super) fn desk(mut section: Section<'_>) -> Option<DeskSettings> {
    let address = section
        .required("address", "write the support address: address = \"support@news.example.org\"")
        .and_then(|found| found.parse(syntax::address));
    let name = section.optional("name").map_or(Some(""), |found| found.text());
    let mut staff = Vec::new();
    for item in section.optional("staff").and_then(|found| found.list()).unwrap_or_default() {
        if let Some(member) = staff_member(&item, address.as_ref(), &staff) {
            staff.push(member);
        }
    }
    section.finish();
    Some(DeskSettings { mailbox: Mailbox { name: name?.to_owned(), address: address? }, staff })
}

fn staff_member(item: &Found<'_>, desk: Option<&Address>, others: &[StaffMember]) -> Option<StaffMember> {
    let mut section = item.section()?;
    let name = section.required("name", "write name = \"Mira\"").and_then(|found| found.text());
    let found = section.required("email", "write email = \"mira@staff.example.net\"");
    let email = found.as_ref().and_then(|found| found.parse(syntax::address));
    section.finish();
    let (found, email) = (found?, email?);
    if others.iter().any(|other| other.email.key() == email.key()) {
        return found.wrong(&format!("{email} is in the list twice"), "one entry for each person");
    }
    if desk.is_some_and(|desk| desk.key() == email.key()) {
        return found
            .wrong("is the support address itself", "mail would go round in a circle; use their own");
    }
    Some(StaffMember { name: name?.to_owned(), email })
}
