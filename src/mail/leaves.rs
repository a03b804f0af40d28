//! The leaves of a message's MIME tree, one after the other: what reports of machines are read from.
//!
//! `mime` reads a message for people: it decodes, chooses among alternatives, names files. A report is read by its media types, and
//! its raw parts are wanted, so the same tree is walked here without any of that. Enclosed messages are leaves and are not opened:
//! somebody who forwards a bounce is no mail server. The limits are those of `mime`.

use super::mime::{
    DEPTH_MAX, Nature, PARTS_MAX, clean, decoded, in_unicode, split_header, split_parts, with_header,
};
use super::{html, parse};

/// Octets of one leaf that are decoded.
pub(super) const LEAF_MAX: usize = 256 * 1024;

/// A part that holds no others.
pub(super) struct Leaf<'a> {
    /// In lower case.
    pub media_type: String,
    body: &'a [u8],
    nature: Nature,
}

impl Leaf<'_> {
    /// Its text as a reader sees it.
    pub fn text(&self) -> String {
        let text = in_unicode(self.nature.charset.as_deref(), &self.octets());
        let text = if self.media_type == "text/html" { html::to_text(&text) } else { text };
        clean(&text)
    }

    /// Its body without the transfer encoding, up to the limit.
    pub fn octets(&self) -> std::borrow::Cow<'_, [u8]> {
        decoded(&self.nature.encoding, &self.body[..self.body.len().min(LEAF_MAX)])
    }

    pub fn is_enclosed_message(&self) -> bool {
        const KINDS: [&str; 5] = [
            "message/rfc822",
            "message/global",
            "text/rfc822-headers",
            "message/rfc822-headers",
            "message/global-headers",
        ];
        KINDS.contains(&self.media_type.as_str())
    }
}

/// The leaves in their order.
pub(super) fn leaves(raw: &[u8]) -> Vec<Leaf<'_>> {
    let mut found = Vec::new();
    let mut parts = 0;
    walk(parse::without_mbox_line(raw), 0, &mut parts, &mut found);
    found
}

fn walk<'a>(raw: &'a [u8], depth: usize, parts: &mut usize, found: &mut Vec<Leaf<'a>>) {
    *parts += 1;
    if *parts > PARTS_MAX || depth > DEPTH_MAX {
        return;
    }
    let (block, body) = split_header(raw);
    let nature = with_header(block, Nature::of).unwrap_or_else(Nature::plain);
    if let Some(boundary) = nature.boundary.as_deref().filter(|_| nature.media_type.starts_with("multipart/"))
    {
        let children = split_parts(body, boundary, PARTS_MAX + 1);
        if !children.is_empty() {
            children.into_iter().for_each(|child| walk(child, depth + 1, parts, found));
            return;
        }
    }
    // A multipart without a single boundary line is the text that it then is.
    let media_type = match nature.media_type.starts_with("multipart/") {
        true => "text/plain".to_owned(),
        false => nature.media_type.clone(),
    };
    found.push(Leaf { media_type, body, nature });
}
