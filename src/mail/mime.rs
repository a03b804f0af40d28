//! The MIME tree of a received message (RFC 2045, RFC 2046), cut at its boundaries and read leaf by leaf.
//!
//! mail-parser reads header fields and decodes; the tree is walked here, because its own walk goes as deep as the message says
//! (freeing a chain of a million nested messages would overflow the stack, which nothing can catch) and lets a nested message
//! without headers swallow the parts behind it. Enclosed messages are attachments and are not opened. Limits: depth, parts, header
//! block, decoded text; what lies beyond is left out and said in [`Content::cut`].
//! Known gaps: uuencoded text and winmail.dat stay attachments or text as they are; an attachment's size is computed, not decoded.

use std::borrow::Cow;

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::{ContentType, HeaderName, Message, MessageParser, MimeHeaders};

use super::html;
use super::{files, flowed};

pub(super) const DEPTH_MAX: usize = 10;
pub(super) const PARTS_MAX: usize = 200;
/// A longer header block is read up to here.
pub(super) const HEADER_MAX: usize = 256 * 1024;
/// Octets of one text part that are decoded, and of all text together that is kept.
pub(super) const TEXT_MAX: usize = 1024 * 1024;
const NAME_MAX: usize = 120;

/// A file that came with a message. Its octets stay in the raw copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Without any folder (RFC 2183 section 2.3 warns of paths).
    pub name: String,
    /// Media type in lower case.
    pub media_type: String,
    /// Decoded size.
    pub bytes: usize,
    /// The name by which the HTML form shows it (RFC 2392), without angle brackets.
    pub content_id: Option<String>,
}

/// What the tree holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub text: String,
    pub has_html: bool,
    /// Lines of what the HTML form marks as the writer's signature.
    pub signature: Vec<String>,
    pub attachments: Vec<Attachment>,
    /// The octets of each, where they were asked for; as many.
    pub octets: Vec<Vec<u8>>,
    /// All HTML parts, where they were asked for.
    pub html: Vec<String>,
    /// Parts, depth or text went beyond a limit.
    pub cut: bool,
}

/// The header block of a message or part, and what is behind its empty line.
pub(super) fn split_header(raw: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    while at < raw.len() {
        let end = memchr::memchr(b'\n', &raw[at..]).map_or(raw.len(), |found| at + found + 1);
        if matches!(&raw[at..end], b"\n" | b"\r\n") {
            return (&raw[..at.min(HEADER_MAX)], &raw[end..]);
        }
        at = end;
    }
    (&raw[..raw.len().min(HEADER_MAX)], &[])
}

/// Runs `read` over the fields of a header block; `None` where it has none.
pub(super) fn with_header<T>(block: &[u8], read: impl FnOnce(&Message<'_>) -> T) -> Option<T> {
    let mut ended = Vec::with_capacity(block.len() + 4);
    ended.extend_from_slice(block);
    ended.extend_from_slice(b"\r\n\r\n");
    let message = MessageParser::new().parse_headers(&ended)?;
    (!message.parts.is_empty()).then(|| read(&message))
}

/// Reads the tree below a message.
pub(super) fn read(raw: &[u8]) -> Content {
    walk(raw, Walk::default())
}

/// The same with the octets of files and with the HTML itself.
pub(super) fn read_whole(raw: &[u8]) -> Content {
    walk(raw, Walk { whole: true, ..Walk::default() })
}

fn walk(raw: &[u8], mut walk: Walk) -> Content {
    let shown = walk.part(raw, 0);
    let mut content = walk.content;
    for piece in shown {
        let piece = piece.text.trim_end();
        if piece.is_empty() {
            continue;
        }
        if !content.text.is_empty() {
            content.text.push_str("\n\n");
        }
        content.text.push_str(piece);
    }
    if content.text.len() > TEXT_MAX {
        let end = (0..=TEXT_MAX).rev().find(|at| content.text.is_char_boundary(*at)).unwrap_or(0);
        content.text.truncate(end);
        content.cut = true;
    }
    content
}

/// A text part as a reader sees it.
struct Shown {
    html: bool,
    text: String,
}

#[derive(Default)]
struct Walk {
    content: Content,
    parts: usize,
    text: usize,
    whole: bool,
}

/// What the header of a part says about its body.
pub(super) struct Nature {
    pub media_type: String,
    pub boundary: Option<String>,
    pub charset: Option<String>,
    pub encoding: String,
    name: Option<String>,
    content_id: Option<String>,
    attached: bool,
    /// `format=flowed`, and its `delsp`.
    flowed: Option<bool>,
}

impl Walk {
    fn part(&mut self, raw: &[u8], depth: usize) -> Vec<Shown> {
        self.parts += 1;
        if self.parts > PARTS_MAX || depth > DEPTH_MAX {
            self.content.cut = true;
            return Vec::new();
        }
        let (block, body) = split_header(raw);
        let nature = with_header(block, Nature::of).unwrap_or_else(Nature::plain);
        if let Some(boundary) =
            nature.boundary.as_deref().filter(|_| nature.media_type.starts_with("multipart/"))
        {
            let children = split_parts(body, boundary, PARTS_MAX + 1);
            if !children.is_empty() {
                return self.children(&children, nature.media_type == "multipart/alternative", depth);
            }
        }
        // A multipart without a single boundary line is read as the text that it then is.
        let html = nature.media_type == "text/html";
        let shown = html || nature.media_type == "text/plain" || nature.media_type.starts_with("multipart/");
        if shown && !nature.attached {
            return self.text(&nature, body, html).into_iter().collect();
        }
        let bytes = decoded_size(&nature.encoding, body);
        let name = nature.name.unwrap_or_else(|| default_name(&nature.media_type).to_owned());
        if self.whole {
            self.content.octets.push(decoded(&nature.encoding, body).into_owned());
        }
        // What a file is its octets say, whatever the message calls it: people open what they take for a picture.
        let media_type =
            files::sniffed(&head(&nature.encoding, body)).map_or(nature.media_type, str::to_owned);
        let content_id = nature.content_id;
        self.content.attachments.push(Attachment { name, media_type, bytes, content_id });
        Vec::new()
    }

    fn children(&mut self, children: &[&[u8]], alternative: bool, depth: usize) -> Vec<Shown> {
        let shown: Vec<Vec<Shown>> = children.iter().map(|child| self.part(child, depth + 1)).collect();
        if !alternative {
            return shown.into_iter().flatten().collect();
        }
        // The plain form is what the writer saw; without one, the last form that has text (RFC 2046 section 5.1.4).
        let has_text = |form: &Vec<Shown>| form.iter().any(|piece| !piece.text.trim().is_empty());
        let is_plain = |form: &Vec<Shown>| form.iter().all(|piece| !piece.html) && has_text(form);
        let at = shown.iter().position(is_plain).or_else(|| shown.iter().rposition(has_text));
        at.and_then(|at| shown.into_iter().nth(at)).unwrap_or_default()
    }

    fn text(&mut self, nature: &Nature, body: &[u8], html: bool) -> Option<Shown> {
        self.content.has_html |= html;
        let room = TEXT_MAX.saturating_sub(self.text);
        if room == 0 {
            self.content.cut = true;
            return None;
        }
        // Encodings of text need at most three characters an octet.
        let limit = room.saturating_mul(3);
        self.content.cut |= body.len() > limit;
        let decoded = decoded(&nature.encoding, &body[..body.len().min(limit)]);
        let text = in_unicode(nature.charset.as_deref(), &decoded);
        if html && self.whole {
            self.content.html.push(text.clone());
        }
        let text = match (html, nature.flowed) {
            (true, _) => html::to_text(&text),
            (false, Some(delsp)) => flowed::joined(&text, delsp),
            (false, None) => text,
        };
        let text = clean(&text);
        if html {
            self.content.signature.extend(signature_lines(&text));
        }
        self.text += text.len();
        Some(Shown { html, text })
    }
}

impl Nature {
    pub(super) fn of(message: &Message<'_>) -> Nature {
        // The first field counts, as for every reader that stops at what it knows.
        let content_type = first_content_type(message, &HeaderName::ContentType);
        let disposition = first_content_type(message, &HeaderName::ContentDisposition);
        let attribute = |name: &str| content_type.and_then(|ct| ct.attribute(name)).map(str::to_owned);
        let media_type = content_type.map_or_else(
            || "text/plain".to_owned(),
            |ct| format!("{}/{}", ct.ctype(), ct.subtype().unwrap_or("plain")).to_ascii_lowercase(),
        );
        let name = disposition
            .and_then(|d| d.attribute("filename"))
            .map(str::to_owned)
            .or_else(|| typeless_name(message))
            .or_else(|| attribute("name"))
            .and_then(|name| file_name(&name));
        Nature {
            boundary: attribute("boundary").filter(|boundary| !boundary.is_empty()),
            charset: attribute("charset"),
            flowed: attribute("format")
                .filter(|format| format.eq_ignore_ascii_case("flowed"))
                .map(|_| attribute("delsp").is_some_and(|delsp| delsp.eq_ignore_ascii_case("yes"))),
            encoding: message.content_transfer_encoding().unwrap_or("").trim().to_ascii_lowercase(),
            attached: name.is_some() || disposition.is_some_and(ContentType::is_attachment),
            // It is shown to staff: nothing but the letters of a media type (RFC 6838 section 4.2).
            media_type: media_type.chars().filter(|c| c.is_ascii_graphic()).take(NAME_MAX).collect(),
            content_id: message.content_id().map(|id| id.trim_matches(['<', '>', ' ']).to_owned()),
            name,
        }
    }

    /// RFC 2045 section 5.2: what no header says is plain text.
    pub(super) fn plain() -> Nature {
        Nature {
            media_type: "text/plain".to_owned(),
            boundary: None,
            charset: None,
            encoding: String::new(),
            name: None,
            content_id: None,
            attached: false,
            flowed: None,
        }
    }
}

/// The quoted lines behind the mark of a signature.
fn signature_lines(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        inside = line.trim_end() == html::SIGNATURE || inside && line.starts_with("> ");
        if inside && line.trim_end() != html::SIGNATURE {
            lines.push(line.trim_start_matches("> ").trim().to_owned());
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

/// The file name of a `Content-Disposition: ; filename=...`, which mail-parser does not read without its first word.
fn typeless_name(message: &Message<'_>) -> Option<String> {
    let raw = message.header_raw(HeaderName::ContentDisposition)?.trim();
    if !raw.starts_with(';') {
        return None;
    }
    let repaired = format!("Content-Disposition: attachment{raw}");
    with_header(repaired.as_bytes(), |message| message.attachment_name().map(str::to_owned)).flatten()
}

fn first_content_type<'a>(message: &'a Message<'a>, name: &HeaderName<'_>) -> Option<&'a ContentType<'a>> {
    message
        .headers()
        .iter()
        .find(|header| header.name == *name)
        .and_then(|header| header.value.as_content_type())
}

/// The bodies between `--boundary` lines (RFC 2046 section 5.1.1), at most `most`. A missing last line ends with the data.
pub(super) fn split_parts<'a>(body: &'a [u8], boundary: &str, most: usize) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut part_start = None;
    let mut at = 0;
    while at < body.len() && parts.len() < most {
        let end = memchr::memchr(b'\n', &body[at..]).map_or(body.len(), |found| at + found + 1);
        if let Some(last) = is_delimiter(&body[at..end], boundary.as_bytes()) {
            if let Some(start) = part_start {
                parts.push(without_line_end(&body[start..at.max(start)]));
            }
            part_start = (!last).then_some(end);
            if last {
                break;
            }
        }
        at = end;
    }
    if let Some(start) = part_start.filter(|_| parts.len() < most) {
        parts.push(&body[start.min(body.len())..]);
    }
    parts
}

/// Whether a line is the delimiter, and if so whether it is the last one.
fn is_delimiter(line: &[u8], boundary: &[u8]) -> Option<bool> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary)?.trim_ascii_end();
    match rest {
        b"" => Some(false),
        b"--" => Some(true),
        _ => None,
    }
}

/// The line end before a delimiter belongs to the delimiter.
fn without_line_end(part: &[u8]) -> &[u8] {
    part.strip_suffix(b"\r\n").or_else(|| part.strip_suffix(b"\n")).unwrap_or(part)
}

/// What cannot be decoded is taken as it is: a reader sees what came rather than nothing.
pub(super) fn decoded<'a>(encoding: &str, body: &'a [u8]) -> Cow<'a, [u8]> {
    let decoded = match encoding {
        "base64" => base64_decode(body),
        "quoted-printable" => quoted_printable_decode(body),
        _ => None,
    };
    decoded.map_or(Cow::Borrowed(body), Cow::Owned)
}

/// The first octets of a body, decoded; enough to know a type by.
fn head(encoding: &str, body: &[u8]) -> Vec<u8> {
    const LENGTH: usize = 64;
    match encoding {
        "base64" => {
            let digits: Vec<u8> = body
                .iter()
                .copied()
                .filter(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
                .take(LENGTH)
                .collect();
            base64_decode(&digits).unwrap_or_default()
        }
        _ => decoded(encoding, &body[..body.len().min(LENGTH * 3)]).into_owned(),
    }
}

fn decoded_size(encoding: &str, body: &[u8]) -> usize {
    match encoding {
        "base64" => {
            let digits =
                body.iter().filter(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')).count();
            digits * 3 / 4
        }
        "quoted-printable" => decoded(encoding, body).len(),
        _ => body.len(),
    }
}

/// Text in the charset that the header names, unless the octets say that it is another one.
pub(super) fn in_unicode(charset: Option<&str>, octets: &[u8]) -> String {
    let decode = |name: &str| charset_decoder(name.as_bytes()).map(|decoder| decoder(octets));
    let named = charset.unwrap_or("").trim_matches([' ', '"', '\'']).to_ascii_lowercase();
    let escapes = octets.windows(2).any(|pair| matches!(pair, b"\x1b$" | b"\x1b("));
    if escapes && octets.is_ascii() && ["", "us-ascii", "utf-8", "iso-8859-1"].contains(&named.as_str()) {
        // Some programs send Japanese without saying so.
        return decode("iso-2022-jp").unwrap_or_default();
    }
    // What has a form that nobody hits by chance is UTF-8, whatever Western charset the header names; many programs say
    // us-ascii whatever they send.
    let western =
        ["", "us-ascii", "ascii", "utf-8", "utf8", "iso-8859-1", "iso-8859-15", "windows-1252", "latin1"];
    let is_western = western.contains(&named.as_str());
    if is_western && let Ok(text) = std::str::from_utf8(octets) {
        return text.to_owned();
    }
    if let Some(text) =
        Some(named.as_str()).filter(|name| !name.starts_with("utf-8") && *name != "utf8").and_then(decode)
        && named != "us-ascii"
    {
        return text;
    }
    // Single octets that are no UTF-8 among hardly any that are: a Western text that is called something else. Else a UTF-8
    // text with damage.
    let (good, bad) = utf8_marks(octets);
    match bad > good {
        true => decode("windows-1252").unwrap_or_default(),
        false => String::from_utf8_lossy(octets).into_owned(),
    }
}

/// How many sequences of more than one octet are UTF-8, and how many octets are none.
fn utf8_marks(octets: &[u8]) -> (usize, usize) {
    octets.utf8_chunks().fold((0, 0), |(good, bad), chunk| {
        (
            good + chunk.valid().chars().filter(|c| !c.is_ascii()).count(),
            bad + usize::from(!chunk.invalid().is_empty()),
        )
    })
}

/// Line ends as `\n`, no NUL and no other control characters: what may stand in a text column (PostgreSQL refuses U+0000).
pub(super) fn clean(text: &str) -> String {
    text.replace("\r\n", "\n")
        .chars()
        .map(|c| if c == '\r' { '\n' } else { c })
        .filter(|c| (!c.is_control() || matches!(c, '\n' | '\t')) && !turns_text_around(*c))
        .collect()
}

/// Marks that let a text look like another one: directional overrides and isolates. Text of right-to-left scripts needs none.
fn turns_text_around(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// The last part of a path, in either notation, short and without control characters.
fn file_name(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or("");
    let clean: String = last.chars().filter(|c| !c.is_control()).take(NAME_MAX).collect();
    let clean = clean.trim().trim_start_matches('.').trim();
    (!clean.is_empty()).then(|| clean.to_owned())
}

fn default_name(media_type: &str) -> &'static str {
    match media_type {
        "message/rfc822" | "message/global" => "message.eml",
        "text/calendar" => "invite.ics",
        _ => "attachment",
    }
}
