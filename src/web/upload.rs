//! A letter with files, as a browser's form sends it: read in pieces, with a bound for each thing and for the whole.
//!
//! What is too much is thrown away while it is read, so that the words come back to who wrote them: a form that is cut off loses them.
//! Files go through the same rules as those of a mail ([`crate::mail::files`]); here are only their number, size and name. A page
//! cannot give files back to a form, so after a question they are chosen again.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use multer::{Constraints, Field, Multipart, SizeLimit};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::form::{self, Form, LETTER_BYTES};
use crate::domain::desk::Enclosed;
use crate::mail::files::{TOTAL_MAX, sniffed};

/// Files of one answer.
pub(super) const FILES: usize = 10;
/// Fields beside them.
const FIELDS: usize = 10;
/// Of a whole form, in octets; what is above [`TOTAL_MAX`] of it is read and not kept.
const WHOLE: usize = 64 << 20;
/// For all of it: 10 MB through a slow line.
const TIME: Duration = Duration::from_secs(50);
/// Characters of a name.
const NAME: usize = 150;

/// Forms that may hold files in memory at the same time; others wait at their first file. Words alone wait for nobody.
pub(super) const AT_ONCE: usize = 4;

/// What such a form says.
pub(super) struct Letter {
    pub form: Form,
    pub files: Vec<Enclosed>,
    /// Why the files cannot be taken.
    pub problem: Option<String>,
}

/// Reads a form to its end. Without `keeps` files are thrown away: whoever is not signed in keeps their words.
///
/// # Errors
/// The status that says what is wrong with it, where not even the words can be read.
pub(super) async fn read(request: Request, keeps: bool, places: &Semaphore) -> Result<Letter, StatusCode> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let Ok(boundary) = multer::parse_boundary(kind) else {
        let form = form::read_within(request, LETTER_BYTES).await?;
        return Ok(Letter { form, files: Vec::new(), problem: None });
    };
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if length.and_then(|length| length.parse().ok()).is_some_and(|length: usize| length > WHOLE) {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let reading = parts(request.into_body(), boundary, keeps.then_some(places));
    tokio::time::timeout(TIME, reading).await.map_err(|_| StatusCode::REQUEST_TIMEOUT)?
}

/// `places`: where files are kept at all.
async fn parts(body: Body, boundary: String, places: Option<&Semaphore>) -> Result<Letter, StatusCode> {
    let whole = Constraints::new().size_limit(SizeLimit::new().whole_stream(WHOLE as u64));
    let mut parts = Multipart::with_constraints(body.into_data_stream(), boundary, whole);
    let (mut fields, mut words) = (Vec::new(), LETTER_BYTES);
    let left = if places.is_some() { TOTAL_MAX } else { 0 };
    let mut taken = Taken { files: Vec::new(), left, problem: None, places, place: None };
    while let Some(part) = parts.next_field().await.map_err(|error| status(&error))? {
        if part.file_name().is_some() {
            taken.file(part).await?;
            continue;
        }
        if fields.len() == FIELDS {
            return Err(StatusCode::BAD_REQUEST);
        }
        let name = part.name().unwrap_or("").to_owned();
        let Some(octets) = octets_of(part, &mut words).await? else {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        };
        fields.push((name, String::from_utf8_lossy(&octets).into_owned()));
    }
    Ok(Letter { form: Form::of(fields), files: taken.files, problem: taken.problem })
}

struct Taken<'a> {
    files: Vec<Enclosed>,
    /// Octets that may still come.
    left: usize,
    problem: Option<String>,
    places: Option<&'a Semaphore>,
    place: Option<SemaphorePermit<'a>>,
}

impl Taken<'_> {
    async fn file(&mut self, part: Field<'_>) -> Result<(), StatusCode> {
        if let (Some(places), None, true) = (self.places, &self.place, part.file_name() != Some("")) {
            // It is never closed.
            self.place = places.acquire().await.ok();
        }
        let name = plain(part.file_name().unwrap_or(""));
        let kind = part.content_type().map_or("application/octet-stream".to_owned(), ToString::to_string);
        let Some(octets) = octets_of(part, &mut self.left).await? else {
            if self.places.is_some() {
                let most = TOTAL_MAX >> 20;
                self.problem.get_or_insert(format!("its files are larger than {most} MB together"));
            }
            self.left = 0;
            return Ok(());
        };
        // A browser sends an empty one where none was chosen.
        if name.is_empty() && octets.is_empty() {
            return Ok(());
        }
        if octets.is_empty() {
            self.problem.get_or_insert(format!("the file {name} is empty"));
        } else if self.files.len() == FILES {
            self.problem.get_or_insert(format!("it has more than {FILES} files"));
        } else {
            let media_type = sniffed(&octets).map_or(kind, str::to_owned);
            let name = if name.is_empty() { "file".to_owned() } else { name };
            self.files.push(Enclosed { name, media_type, octets });
        }
        Ok(())
    }
}

/// The octets of a part; `None` where they are more than `left`. They are read to their end all the same.
async fn octets_of(mut part: Field<'_>, left: &mut usize) -> Result<Option<Vec<u8>>, StatusCode> {
    let mut octets = Vec::new();
    let mut fits = true;
    while let Some(chunk) = part.chunk().await.map_err(|error| status(&error))? {
        fits &= octets.len() + chunk.len() <= *left;
        if fits {
            octets.extend_from_slice(&chunk);
        } else {
            octets = Vec::new();
        }
    }
    *left = left.saturating_sub(octets.len());
    Ok(fits.then_some(octets))
}

/// The last part of a path, because some browsers send all of it, without what no line holds.
fn plain(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or("");
    let kept: String = name.chars().filter(|c| !c.is_control()).take(NAME).collect();
    kept.trim().to_owned()
}

fn status(error: &multer::Error) -> StatusCode {
    match error {
        multer::Error::StreamSizeExceeded { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn letter(parts: &[(&str, Option<&str>, &[u8])], keeps: bool) -> Result<Letter, StatusCode> {
        let mut body = Vec::new();
        for (name, file, octets) in parts {
            let file = file.map(|file| format!("; filename=\"{file}\"\r\nContent-Type: image/png"));
            let head = format!(
                "--b\r\nContent-Disposition: form-data; name=\"{name}\"{}\r\n\r\n",
                file.unwrap_or_default()
            );
            body.extend(head.bytes().chain(octets.iter().copied()).chain(*b"\r\n"));
        }
        body.extend(b"--b--\r\n");
        let request = Request::builder().header("content-type", "multipart/form-data; boundary=b");
        read(request.body(Body::from(body)).unwrap(), keeps, &Semaphore::new(1)).await
    }

    #[tokio::test]
    async fn words_and_files_are_told_apart() {
        let parts: [(&str, Option<&str>, &[u8]); 4] = [
            ("text", None, "J\u{e4}".as_bytes()),
            ("files", Some("C:\\\\x\\\\a b.png"), b"\x89PNG\r\n\x1a\n"),
            ("files", Some(""), b""),
            ("files", Some("run.log"), b"12"),
        ];
        let read = letter(&parts, true).await.unwrap();
        assert_eq!((read.form.get("text"), read.problem), ("J\u{e4}", None));
        let files: Vec<(&str, &str)> =
            read.files.iter().map(|file| (file.name.as_str(), file.media_type.as_str())).collect();
        assert_eq!(files, [("a b.png", "image/png"), ("run.log", "image/png")]);
        let read = letter(&parts, false).await.unwrap();
        assert_eq!((read.files.len(), read.form.get("text"), read.problem), (0, "J\u{e4}", None));
    }

    #[tokio::test]
    async fn what_is_too_much_costs_no_words() {
        let large = vec![b'x'; TOTAL_MAX / 2 + 1];
        let parts: [(&str, Option<&str>, &[u8]); 3] =
            [("files", Some("a"), &large), ("files", Some("b"), &large), ("text", None, b"Yes.")];
        let read = letter(&parts, true).await.unwrap();
        assert_eq!(read.form.get("text"), "Yes.");
        assert_eq!(read.problem.as_deref(), Some("its files are larger than 10 MB together"));
        let mut many: Vec<(&str, Option<&str>, &[u8])> = vec![("files", Some("a"), b"1"); FILES + 1];
        many.push(("text", None, b"Yes."));
        let read = letter(&many, true).await.unwrap();
        assert_eq!(read.form.get("text"), "Yes.");
        assert_eq!(read.problem.as_deref(), Some("it has more than 10 files"));
        let read = letter(&[("files", Some("a.txt"), b""), ("text", None, b"Yes.")], true).await.unwrap();
        assert_eq!(read.problem.as_deref(), Some("the file a.txt is empty"));
        assert_eq!(letter(&[("text", None, &large)], true).await.err(), Some(StatusCode::PAYLOAD_TOO_LARGE));
        let many = vec![("text", None, &b"x"[..]); FIELDS + 1];
        assert_eq!(letter(&many, true).await.err(), Some(StatusCode::BAD_REQUEST));
    }

    #[tokio::test]
    async fn a_form_that_is_cut_anywhere_is_no_letter() {
        let whole =
            b"--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a\"\r\n\r\nxyz\r\n--b--\r\n";
        for cut in 0..whole.len() - 4 {
            let request = Request::builder().header("content-type", "multipart/form-data; boundary=b");
            let request = request.body(Body::from(whole[..cut].to_vec())).unwrap();
            let read = read(request, true, &Semaphore::new(1)).await;
            assert_eq!(read.err(), Some(StatusCode::BAD_REQUEST), "{cut}");
        }
    }
}
