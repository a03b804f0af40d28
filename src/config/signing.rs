//! Reads `[dkim]`, or several of them: under which names mail is signed, and with which keys.
//!
//! Whether a key is one, and fits the addresses that mail comes from, is checked where both files are known.

use std::os::unix::fs::PermissionsExt;

use super::secret::Sources;
use super::section::{Found, Section};
use super::syntax::{self, wrong};
use super::tree::Value;
use crate::domain::settings::{DkimSettings, is_selector};

/// Read, write and run, for group and others.
const OTHERS: u32 = 0o077;

pub(super) fn keys(root: &mut Section<'_>, sources: &Sources<'_>) -> Vec<DkimSettings> {
    let Some(found) = root.optional("dkim") else { return Vec::new() };
    if found.is_empty_list() {
        found.wrong::<()>("is empty", "leave it out to send without signatures");
    }
    let mut keys: Vec<DkimSettings> = Vec::new();
    for item in found.one_or_list() {
        let Some(key) = item.section().and_then(|section| key(section, sources)) else { continue };
        if keys.iter().any(|other| (&other.domain, &other.selector) == (&key.domain, &key.selector)) {
            let problem = format!("there are two keys for {}._domainkey.{}", key.selector, key.domain);
            item.wrong::<()>(&problem, "a key of its own takes a selector of its own");
        }
        keys.push(key);
    }
    keys
}

fn key(mut section: Section<'_>, sources: &Sources<'_>) -> Option<DkimSettings> {
    let domain_found =
        section.required("domain", "write the domain that signs, for example \"news.example.org\"");
    let domain = domain_found.as_ref().and_then(|found| found.parse(syntax::host_name));
    let selector =
        section.required("selector", "write selector = \"t1\"").and_then(|found| found.parse(selector));
    let key_found = section
        .required("key", "write key = { file = \"secrets/t1.pem\" }; `tidings dkim generate t1` makes one");
    let key = key_found.as_ref().and_then(|found| sources.secret(found));
    if let Some(found) = &key_found {
        check_permissions(found, sources);
    }
    section.finish();
    Some(DkimSettings {
        domain: domain?,
        selector: selector?,
        key: key?,
        domain_spot: domain_found?.spot(),
        key_spot: key_found?.spot(),
    })
}

fn selector(text: &str) -> Result<String, syntax::Wrong> {
    if is_selector(text) {
        return Ok(text.to_owned());
    }
    wrong(format!("`{text}` is not a selector"), "use letters, digits and hyphens, for example \"t1\"")
}

/// Who can read the key can sign in our name (W67). Only a warning: some systems hand out secrets as files of their own.
fn check_permissions(found: &Found<'_>, sources: &Sources<'_>) {
    let Value::Table(table) = &found.node.value else { return };
    let Some(Value::Text(name)) = table.get("file").map(|entry| &entry.node.value) else { return };
    let path = sources.base.join(name);
    let Ok(found_there) = std::fs::metadata(&path) else { return };
    let mode = found_there.permissions().mode();
    if mode & OTHERS != 0 {
        let problem =
            format!("{} can be read or written by others (mode {:04o})", path.display(), mode & 0o7777);
        found.warn(&problem, &format!("run `chmod 600 {}`", path.display()));
    }
}
