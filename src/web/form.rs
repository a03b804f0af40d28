//! What a form sends, in either encoding: bounded in size, fields and time (W219, RFC 8058 section 3.2).

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use futures_util::stream;

use crate::domain::token::{Purpose, Subject};
use crate::mail::token::Keyring;
use crate::runtime::Timestamp;

/// Of a whole form.
const BYTES: usize = 16 << 10;

/// Of a form with a letter in it. A character takes nine octets at most.
pub(super) const LETTER_BYTES: usize = 512 << 10;

/// Characters of a letter.
pub(super) const LETTER: usize = 50_000;

/// Fields that are looked at.
const FIELDS: usize = 10;

/// For all of it.
const TIME: Duration = Duration::from_secs(10);

/// Nobody fills in a form in less, in seconds, and it is good for a day.
const QUICKEST: i64 = 1;
const OLDEST: i64 = 86_400;

/// What is said to whoever was quicker or slower.
pub(super) const PRESS_AGAIN: &str =
    "Please press the button once more: this page was sent very quickly, or was open for long.";

/// The value of the field `form`: when it was shown.
pub(super) fn shown_at(keyring: &Keyring, now: Timestamp) -> String {
    keyring.mint(Subject { purpose: Purpose::Form, row: now.millis() / 1000, second: 0 })
}

/// Names and values, in their order.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub fn of(fields: Vec<(String, String)>) -> Form {
        Form(fields)
    }

    /// The first value of a name, or nothing.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Whether a form that asks for a mail was shown before it was sent, neither a moment nor days ago (W213).
    pub fn was_shown(&self, keyring: &Keyring, now: Timestamp) -> bool {
        let shown = keyring.verify(self.get("form")).filter(|subject| subject.purpose == Purpose::Form);
        shown.is_some_and(|shown| (QUICKEST..OLDEST).contains(&(now.millis() / 1000 - shown.row)))
    }

    pub fn has(&self, name: &str) -> bool {
        !self.get(name).is_empty()
    }

    /// One line of at most `most` characters.
    pub fn line(&self, name: &str, most: usize) -> String {
        let value = self.get(name).chars().map(|c| if c.is_control() { ' ' } else { c });
        value.collect::<String>().trim().chars().take(most).collect()
    }

    /// A letter of at most `most` characters: its lines, without control characters and without empty ones around it.
    pub fn letter(&self, name: &str, most: usize) -> String {
        let value = self.get(name).replace("\r\n", "\n").replace('\r', "\n");
        let kept: String =
            value.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).take(most).collect();
        kept.trim_start_matches('\n').trim_end().to_owned()
    }
}

/// Reads a form to its end.
///
/// # Errors
/// The status that says what is wrong with it.
pub(super) async fn read(request: Request) -> Result<Form, StatusCode> {
    read_within(request, BYTES).await
}

/// As [`read`], of at most so many octets.
///
/// # Errors
/// The status that says what is wrong with it.
pub(super) async fn read_within(request: Request, most: usize) -> Result<Form, StatusCode> {
    let (head, body) = request.into_parts();
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    if header(header::CONTENT_LENGTH).parse().is_ok_and(|length: usize| length > most) {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let read = tokio::time::timeout(TIME, to_bytes(body, most)).await;
    let body = read.map_err(|_| StatusCode::REQUEST_TIMEOUT)?.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
    let kind = header(header::CONTENT_TYPE);
    match kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase().as_str() {
        "multipart/form-data" => parts(kind, body).await.ok_or(StatusCode::BAD_REQUEST),
        // RFC 8058's own example of the plain encoding; some senders leave the type out.
        "application/x-www-form-urlencoded" | "" => {
            let pairs = form_urlencoded::parse(&body).take(FIELDS);
            Ok(Form(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect()))
        }
        _ => Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
    }
}

async fn parts(kind: &str, body: Bytes) -> Option<Form> {
    let boundary = multer::parse_boundary(kind).ok()?;
    let whole = stream::once(async { Ok::<Bytes, Infallible>(body) });
    let mut parts = multer::Multipart::new(whole, boundary);
    let mut fields = Vec::new();
    while let Some(part) = parts.next_field().await.ok()? {
        if fields.len() == FIELDS {
            return None;
        }
        let name = part.name().unwrap_or("").to_owned();
        fields.push((name, part.text().await.ok()?));
    }
    Some(Form(fields))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    async fn form(kind: &str, body: &str) -> Result<Form, StatusCode> {
        let request = Request::builder().header("content-type", kind);
        read(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    #[tokio::test]
    async fn w39_both_encodings_say_the_same() {
        let plain = form("application/x-www-form-urlencoded", "List-Unsubscribe=One-Click").await.unwrap();
        assert_eq!(plain.get("List-Unsubscribe"), "One-Click");
        // RFC 8058 section 8.1.
        let body = "---FormBoundaryjWmhtjORrn\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\n\
            One-Click\r\n---FormBoundaryjWmhtjORrn--\r\n";
        let parts = form("multipart/form-data; boundary=-FormBoundaryjWmhtjORrn", body).await.unwrap();
        assert_eq!(parts.get("List-Unsubscribe"), "One-Click");
    }

    #[tokio::test]
    async fn w219_what_is_no_form_has_a_status() {
        let status =
            async |kind: &str, body: &str| form(kind, body).await.err().map(|status| status.as_u16());
        assert_eq!(status("application/json", "{}").await, Some(415));
        assert_eq!(status("multipart/form-data", "x").await, Some(400));
        assert_eq!(status("multipart/form-data; boundary=b", "--b\r\n\r\n").await, Some(400));
        assert_eq!(status("", &"x".repeat(BYTES + 1)).await, Some(413));
        let many = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n".repeat(11) + "--b--\r\n";
        assert_eq!(status("multipart/form-data; boundary=b", &many).await, Some(400));
    }

    #[tokio::test]
    async fn a_line_is_one_line() {
        let form = form("", "name=%20Bob%0D%0ABcc%3A%20x%40y.z%20").await.unwrap();
        assert_eq!(form.line("name", 100), "Bob  Bcc: x@y.z");
        assert_eq!(form.line("name", 3), "Bob");
    }

    #[test]
    fn a_letter_keeps_its_lines_and_nothing_that_no_column_holds() {
        let letter = |text: &str| Form(vec![("text".into(), text.into())]).letter("text", 12);
        assert_eq!(letter("\r\n\r\n  a\tb\r\nc\rd \r\n"), "  a\tb\nc\nd");
        assert_eq!(letter("a\0\u{7}\u{85}b"), "ab");
        assert_eq!(letter(&"\u{e4}".repeat(20)).chars().count(), 12);
        assert_eq!(letter(" \r\n \0"), "");
    }
}
