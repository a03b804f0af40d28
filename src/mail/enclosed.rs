//! Files that go with a body, encoded once for all its recipients (RFC 2045 section 6.8, RFC 2183).

use super::files::File;

/// The parts of all files, each with its header and base64, without boundaries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Enclosed(Vec<Vec<u8>>);

impl Enclosed {
    pub fn new(files: &[File]) -> Enclosed {
        Enclosed(files.iter().map(part).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every part behind its boundary, and the last boundary.
    pub fn write(&self, boundary: &str, into: &mut Vec<u8>) {
        for part in &self.0 {
            into.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
            into.extend_from_slice(part);
        }
        into.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    }
}

/// Names and types were made plain before ([`super::files::cleaned`]); anything else in them would be a broken header.
fn part(file: &File) -> Vec<u8> {
    let plain = |text: &str, also: &str| -> String {
        text.chars().filter(|c| c.is_ascii_alphanumeric() || also.contains(*c)).collect()
    };
    let (name, media_type) = (plain(&file.name, "._-"), plain(&file.media_type, "/+.-"));
    let mut out = format!(
        "Content-Type: {media_type}\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"{name}\"\r\n\r\n"
    )
    .into_bytes();
    out.extend_from_slice(data_encoding::BASE64_MIME.encode(&file.octets).as_bytes());
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}
