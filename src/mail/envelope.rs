//! Whom a message was for, where no envelope says it: read from its header, the most dependable field first.

use super::mime::split_header;
use super::parse::{Own, addresses, split_fields, without_mbox_line};

const RECIPIENTS_MAX: usize = 50;

/// What servers write when they deliver or pass on.
const TRACE_FIELDS: [&str; 6] =
    ["x-gm-original-to", "delivered-to", "x-original-to", "envelope-to", "resent-to", "x-forwarded-to"];

/// What the sender wrote.
const WRITTEN_FIELDS: [&str; 2] = ["to", "cc"];

/// The addresses that a message may have been sent to, most dependable first, each once, in lower case.
pub(super) fn recipients(fields: &[(String, String)]) -> Vec<String> {
    found_in(fields, TRACE_FIELDS.iter().chain(&WRITTEN_FIELDS))
}

/// The address of ours that servers delivered a message for, if they wrote it down. Without it, who reads the message may believe
/// its To and Cc.
pub fn delivered_for(raw: &[u8], own: &Own) -> Option<String> {
    let (block, _) = split_header(without_mbox_line(raw));
    let traced = found_in(&split_fields(block), TRACE_FIELDS.iter());
    traced.into_iter().find(|address| own.is_ours(address))
}

fn found_in<'a>(fields: &[(String, String)], names: impl Iterator<Item = &'a &'a str>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for name in names {
        for (_, value) in fields.iter().filter(|(known, _)| known == name) {
            for address in addresses(value) {
                if found.len() < RECIPIENTS_MAX && !found.contains(&address) {
                    found.push(address);
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_wrote_counts_before_what_the_sender_wrote() {
        let own = Own { addresses: vec!["support@news.example.org".into()], ..Own::default() };
        let raw =
            |fields: &str| format!("From: a@x.example\r\n{fields}Subject: x\r\n\r\nDelivered-To: y\r\n");
        let read = |fields: &str| delivered_for(raw(fields).as_bytes(), &own);
        let ours = Some("support@news.example.org".to_owned());
        // The mailbox that collects everybody's mail is not whom it was for.
        assert_eq!(
            read("Delivered-To: box@local.example\r\nX-Original-To: Support@News.example.org\r\n"),
            ours
        );
        assert_eq!(read("Envelope-To: <support@news.example.org>\r\n"), ours);
        assert_eq!(read("To: support@news.example.org\r\n"), None);
        assert_eq!(read("Delivered-To: box@local.example\r\n"), None);
        assert_eq!(delivered_for(b"", &own), None);
    }
}
