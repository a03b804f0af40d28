//! The header fields that every recipient of a frame gets alike.

use super::frame::{Frame, Kind};
use super::header;

/// The fields that every recipient of the frame gets alike.
pub(super) fn constant_lines(frame: &Frame) -> Vec<u8> {
    let mut lines = Vec::new();
    if let Some(id) = frame.answered() {
        header::plain("In-Reply-To", &id, &mut lines);
    }
    let cited = frame.cited();
    if !cited.is_empty() {
        header::items("References", "", cited.iter().map(String::as_str), &mut lines);
    }
    match frame.kind {
        Kind::Newsletter => list_lines(frame, &mut lines),
        Kind::Notice => {
            header::plain("Auto-Submitted", "auto-generated", &mut lines);
            // W51: more would suppress the bounces that we want.
            header::plain("X-Auto-Response-Suppress", "OOF, AutoReply", &mut lines);
            header::plain("X-Loop", &frame.from_address, &mut lines);
        }
        Kind::Acknowledgement => {
            header::plain("Auto-Submitted", "auto-replied", &mut lines);
            header::plain("X-Auto-Response-Suppress", "All", &mut lines);
            header::plain("Precedence", "bulk", &mut lines);
            header::plain("X-Loop", &frame.from_address, &mut lines);
        }
        Kind::Answer => {}
    }
    header::plain("MIME-Version", "1.0", &mut lines);
    lines
}

/// RFC 2369 and RFC 2919: each at most once, none of them empty (W46, W47).
fn list_lines(frame: &Frame, lines: &mut Vec<u8>) {
    if let Some(list) = &frame.list_id {
        header::identifier("List-Id", &list.phrase, &list.id, lines);
    }
    if let Some(url) = &frame.help_url {
        header::plain("List-Help", &format!("<{url}>"), lines);
    }
    if let Some(url) = &frame.archive_url {
        header::plain("List-Archive", &format!("<{url}>"), lines);
    }
    if let Some(address) = &frame.owner {
        header::plain("List-Owner", &format!("<{}>", mailto(address)), lines);
    }
    if let Some(address) = &frame.join {
        header::plain("List-Subscribe", &format!("<{}?subject=subscribe>", mailto(address)), lines);
    }
    header::plain("List-Post", "NO", lines);
    if let Some(id) = &frame.feedback_id {
        header::plain("Feedback-ID", id, lines);
    }
    header::plain("Precedence", "bulk", lines);
}

/// RFC 6068 section 2.
pub(super) fn mailto(address: &str) -> String {
    let mut out = String::from("mailto:");
    for octet in address.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~!$'*+@".contains(&octet) {
            out.push(char::from(octet));
        } else {
            out.push_str(&format!("%{octet:02X}"));
        }
    }
    out
}
