//! Reads the parts of `tidings.toml` that concern what comes in: `[intake]` and `[desk]`.

use std::time::Duration;

use super::secret::Sources;
use super::section::{Found, Section};
use super::syntax::wrong;
use super::{syntax, urls};
use crate::domain::address::{Address, Mailbox};
use crate::domain::settings::{
    AfterImap, AfterMaildir, DeskSettings, ImapSettings, IntakeSettings, Listen, LmtpSettings,
    MaildirSettings, RelaySecurity, StaffMember,
};

/// What large providers take, in bytes.
const MAX_MESSAGE: usize = 25_000_000;

/// Sessions of LMTP at once: more than an MTA opens by itself (Postfix: 20).
const SESSIONS: u32 = 64;

/// A socket file that the MTA's group may write to.
const SOCKET_MODE: u32 = 0o660;

/// Where nobody tells of new mail.
const IMAP_POLL: Duration = Duration::from_secs(60);
const MAILDIR_POLL: Duration = Duration::from_secs(2);

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
    intake.lmtp = section.optional("lmtp").and_then(|found| lmtp(found.section()?, sources));
    intake.imap = section.optional("imap").and_then(|found| imap(found.section()?, sources));
    intake.maildir = section.optional("maildir").and_then(|found| maildir(found.section()?, sources));
    section.finish();
    Some(intake)
}

fn lmtp(mut section: Section<'_>, sources: &Sources<'_>) -> Option<LmtpSettings> {
    let listen = section
        .required("listen", "write listen = \"127.0.0.1:2424\"")
        .and_then(|found| found.parse(|text| syntax::listen(text, sources.base)));
    let mode_found = section.optional("mode");
    let mode = mode_found.as_ref().map_or(Some(SOCKET_MODE), |found| found.parse(syntax::mode));
    if let (Some(found), Some(Listen::Tcp(_))) = (&mode_found, &listen) {
        found
            .wrong::<()>("is for socket files only", "leave it out, or listen on \"unix:/run/tidings/lmtp\"");
    }
    let sessions = section.optional("sessions").and_then(|found| found.integer(1..=1000)).unwrap_or(SESSIONS);
    section.finish();
    Some(LmtpSettings { listen: listen?, mode: mode?, sessions: sessions as usize })
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
    let ca = section.optional("ca").and_then(|found| match &url {
        Some((RelaySecurity::None, _)) => {
            found.wrong("has no use without TLS", "use imaps:// or imap+starttls://, or leave `ca` out")
        }
        _ => sources.certificates(&found),
    });
    let mailbox = section.optional("mailbox").map_or(Some("INBOX"), |found| found.text());
    let after_found = section.optional("after");
    let after = after_found.as_ref().map_or(Some(AfterImap::Keep), |found| found.parse(after_imap));
    if let (Some(found), Some(AfterImap::Move(folder)), Some(mailbox)) = (&after_found, &after, mailbox)
        && folder.eq_ignore_ascii_case(mailbox)
    {
        found.wrong::<()>("moves messages to where they are", "name another folder, or write \"keep\"");
    }
    let backlog = section.optional("backlog").map_or(Some(true), |found| found.parse(backlog));
    let poll = section.optional("poll").map_or(Some(IMAP_POLL), |found| found.parse(syntax::some_duration));
    section.finish();
    let (security, url) = url?;
    Some(ImapSettings {
        security,
        host: url.host,
        port: url.port,
        username: username?.to_owned(),
        password: password?,
        ca,
        mailbox: mailbox?.to_owned(),
        after: after?,
        backlog: backlog?,
        poll: poll?,
    })
}

fn after_imap(text: &str) -> Result<AfterImap, syntax::Wrong> {
    match (text, text.strip_prefix("move ").map(str::trim)) {
        ("keep", _) => Ok(AfterImap::Keep),
        ("flag", _) => Ok(AfterImap::Flag),
        (_, Some(folder)) if !folder.is_empty() => Ok(AfterImap::Move(folder.to_owned())),
        _ => wrong(format!("`{text}` is not a choice"), "write \"keep\", \"flag\" or \"move FOLDER\""),
    }
}

fn backlog(text: &str) -> Result<bool, syntax::Wrong> {
    match text {
        "take" => Ok(true),
        "skip" => Ok(false),
        _ => wrong(format!("`{text}` is not a choice"), "write \"take\" or \"skip\""),
    }
}

fn maildir(mut section: Section<'_>, sources: &Sources<'_>) -> Option<MaildirSettings> {
    let path = section
        .required("path", "write path = \"var/maildir\"")
        .and_then(|found| found.text())
        .map(|path| sources.base.join(path));
    let after = section.optional("after").map_or(Some(AfterMaildir::Keep), |found| {
        found.parse(|text| match text {
            "keep" => Ok(AfterMaildir::Keep),
            "delete" => Ok(AfterMaildir::Delete),
            _ => wrong(format!("`{text}` is not a choice"), "write \"keep\" or \"delete\""),
        })
    });
    let poll =
        section.optional("poll").map_or(Some(MAILDIR_POLL), |found| found.parse(syntax::some_duration));
    section.finish();
    Some(MaildirSettings { path: path?, after: after?, poll: poll? })
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
