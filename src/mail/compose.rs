//! Makes one recipient's message from a frozen body: constant text is encoded once per body, holes are spliced between.
//!
//! A [`Compiled`] body holds each part as quoted-printable pieces that begin and end in column 0, and everything of the header
//! that does not depend on the recipient. Per recipient there remain a few MACs, the header fields with an address in them and
//! the encoding of the values. Nothing random, no clock: the same delivery gives the same octets at every attempt (W25).
//! Transfer encoding: quoted-printable for parts with holes; base64 where a part has none and is mostly not ASCII (W6). `7bit`
//! is never used. The output is ASCII, with one exception: the To field of an address whose local part is not (W28, RFC 6532).
//! It has no line that starts with a dot, so it needs no dot stuffing, and ends in CRLF.
//! For signing, [`Envelope::body_at`] divides header and body; a signature goes in front of both.
//! Known gap: no inline images.

use crate::domain::address::Address;
use crate::domain::body::{Body, Context, Field, Piece, Values, fill};
use crate::domain::token::{NOBODY, Purpose, Subject};
use crate::runtime::Timestamp;

use super::constant::{constant_lines, mailto};
use super::enclosed::Enclosed;
use super::encode;
use super::files::File;
pub use super::frame::{Frame, Kind, ListId, ReplyTo};
use super::header;
use super::token::{self, Keyring};

/// W32: large providers refuse more, and nobody reads more.
const SUBJECT_MAX: usize = 255;
/// W32, in octets.
const HEADER_MAX: usize = 16 * 1024;
/// A longer display name is cut: the mail matters more than the name.
const NAME_MAX: usize = 100;
const QUOTED_PRINTABLE: &str = "quoted-printable";

/// Why a message cannot be made. All of them are our own fault: the delivery waits for an operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComposeProblem {
    #[error("{0} cannot stand in a header")]
    Frame(&'static str),
    #[error("a URL has {0} octets, which is too long for a header")]
    LongUrl(usize),
    #[error("one-click unsubscribing needs an https:// URL (RFC 8058)")]
    NotHttps,
    #[error("the text part is empty")]
    NoText,
    #[error("the subject is empty")]
    NoSubject,
    #[error("the subject has {0} characters, more than {SUBJECT_MAX}")]
    LongSubject(usize),
    #[error("the header has {0} octets, more than {HEADER_MAX}")]
    LongHeader(usize),
    #[error("a newsletter needs a subscriber who can unsubscribe")]
    NoSubscriber,
}

/// Who gets the message. Ids are 0 where there is none; texts are empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    pub delivery: i64,
    pub subscriber: i64,
    pub thread: i64,
    pub staff: i64,
    /// The queued edition that a proof is of. Answers to a proof are editors' words about it, never a reader's.
    pub proof_of: i64,
    pub address: Address,
    pub name: String,
    pub tier_label: String,
    pub term_ends: String,
    /// The key of the first attempt ([`Keyring::current_key_id`]).
    pub key_id: u8,
    /// The message's Date, the same at every attempt (W15).
    pub first_attempt_at: Timestamp,
}

/// What SMTP has to know of a composed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The return path of this delivery alone.
    pub from: String,
    pub to: Address,
    /// Without angle brackets.
    pub message_id: String,
    /// Where the body begins in the octets that were appended, after the empty line; the header's last CRLF ends 2 before it.
    pub body_at: usize,
    /// The peer must offer SMTPUTF8 (W28).
    pub smtputf8: bool,
}

/// A body and its frame, ready to be filled.
#[derive(Clone, Debug)]
pub struct Compiled {
    frame: Frame,
    subject: SubjectLine,
    text: Part,
    html: Option<Part>,
    files: Enclosed,
    /// The From field, encoded.
    from_line: Vec<u8>,
    /// The fields that follow the recipient's own, encoded.
    constant_lines: Vec<u8>,
}

#[derive(Clone, Debug)]
enum SubjectLine {
    /// No holes: encoded once.
    Encoded(Vec<u8>),
    Filled(Vec<Piece>),
}

#[derive(Clone, Debug)]
struct Part {
    encoding: &'static str,
    spans: Vec<Span>,
}

/// As [`Piece`], with the literals encoded.
#[derive(Clone, Debug)]
enum Span {
    Encoded(Vec<u8>),
    Hole { field: Field, context: Context },
    If { field: Field, then: Vec<Span>, otherwise: Vec<Span> },
}

impl Compiled {
    /// Encodes what is constant.
    ///
    /// # Errors
    /// When the frame would make a broken header, or the body lacks its text or subject.
    pub fn new(frame: &Frame, body: &Body) -> Result<Compiled, ComposeProblem> {
        frame.check()?;
        if body.text.is_empty() {
            return Err(ComposeProblem::NoText);
        }
        let subject = if has_holes(&body.subject) {
            SubjectLine::Filled(body.subject.clone())
        } else {
            let mut line = Vec::new();
            write_subject(&fill(&body.subject, &Values::default()), &mut line)?;
            SubjectLine::Encoded(line)
        };
        let mut from_line = Vec::new();
        header::mailbox("From", &frame.from_name, &frame.from_address, &mut from_line);
        Ok(Compiled {
            subject,
            text: Part::new(&body.text),
            html: (!body.html.is_empty()).then(|| Part::new(&body.html)),
            files: Enclosed::default(),
            from_line,
            constant_lines: constant_lines(frame),
            frame: frame.clone(),
        })
    }

    /// The same with files, which every recipient gets.
    pub fn with_files(self, files: &[File]) -> Compiled {
        Compiled { files: Enclosed::new(files), ..self }
    }

    /// The domain of the From, for which a signature has to stand.
    pub fn from_domain(&self) -> &str {
        self.frame.from_address.rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    /// Appends the whole message for one recipient to `into`.
    ///
    /// # Errors
    /// What only this recipient's values can break; `into` is as it was.
    pub fn compose(
        &self,
        keyring: &Keyring,
        recipient: &Recipient,
        into: &mut Vec<u8>,
    ) -> Result<Envelope, ComposeProblem> {
        let start = into.len();
        let composed = self.write(keyring, recipient, into);
        if composed.is_err() {
            into.truncate(start);
        }
        composed
    }

    fn write(
        &self,
        keyring: &Keyring,
        recipient: &Recipient,
        into: &mut Vec<u8>,
    ) -> Result<Envelope, ComposeProblem> {
        if self.frame.kind == Kind::Newsletter && recipient.subscriber == 0 {
            return Err(ComposeProblem::NoSubscriber);
        }
        let start = into.len();
        let marks = Marks::new(keyring, &self.frame, recipient);
        let values = values(&marks, &self.frame, recipient);
        self.write_header(&marks, recipient, &values, into)?;
        let header = into.len() - start;
        if header > HEADER_MAX {
            return Err(ComposeProblem::LongHeader(header));
        }
        into.extend_from_slice(b"\r\n");
        let body_at = into.len() - start;
        self.write_body(&marks, &values, into);
        Ok(Envelope {
            from: self.frame.bounce.with(&marks.bounce),
            to: recipient.address.clone(),
            smtputf8: recipient.address.needs_smtputf8(),
            message_id: marks.message_id,
            body_at,
        })
    }

    fn write_header(
        &self,
        marks: &Marks,
        recipient: &Recipient,
        values: &Values,
        into: &mut Vec<u8>,
    ) -> Result<(), ComposeProblem> {
        header::plain("Date", &recipient.first_attempt_at.rfc5322(), into);
        into.extend_from_slice(&self.from_line);
        let name: String = recipient.name.chars().take(NAME_MAX).collect();
        header::mailbox("To", &name, recipient.address.as_str(), into);
        header::plain("Reply-To", &self.frame.reply.with(&marks.reply), into);
        match &self.subject {
            SubjectLine::Encoded(line) => into.extend_from_slice(line),
            SubjectLine::Filled(pieces) => write_subject(&fill(pieces, values), into)?,
        }
        into.extend_from_slice(b"Message-ID: <");
        into.extend_from_slice(marks.message_id.as_bytes());
        into.extend_from_slice(b">\r\n");
        if self.frame.kind == Kind::Newsletter {
            self.write_unsubscribe(marks, into);
        }
        into.extend_from_slice(&self.constant_lines);
        match self.files.is_empty() {
            true => self.write_content_header(marks, into),
            false => multipart("mixed", &marks.outer_boundary(), into),
        }
        Ok(())
    }

    fn write_content_header(&self, marks: &Marks, into: &mut Vec<u8>) {
        match &self.html {
            Some(_) => multipart("alternative", &marks.boundary, into),
            None => self.text.write_header("text/plain", into),
        }
    }

    /// RFC 8058 section 3.1: the HTTPS URI first, and the fixed value of the second field.
    fn write_unsubscribe(&self, marks: &Marks, into: &mut Vec<u8>) {
        let url = format!("<{}>", marks.unsubscribe_url);
        let mailto = self.frame.unsubscribe.as_ref().map(|pattern| {
            // Some programs send nothing without a subject.
            format!("<{}?subject=unsubscribe>", mailto(&pattern.with(&marks.unsubscribe)))
        });
        header::items(
            "List-Unsubscribe",
            ",",
            [Some(url.as_str()), mailto.as_deref()].into_iter().flatten(),
            into,
        );
        into.extend_from_slice(b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n");
    }

    fn write_body(&self, marks: &Marks, values: &Values, into: &mut Vec<u8>) {
        if self.files.is_empty() {
            return self.write_content(marks, values, into);
        }
        let boundary = marks.outer_boundary();
        into.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        self.write_content_header(marks, into);
        into.extend_from_slice(b"\r\n");
        self.write_content(marks, values, into);
        self.files.write(&boundary, into);
    }

    fn write_content(&self, marks: &Marks, values: &Values, into: &mut Vec<u8>) {
        let Some(html) = &self.html else {
            self.text.write(values, into);
            if !into.ends_with(b"\r\n") {
                into.extend_from_slice(b"\r\n");
            }
            return;
        };
        // RFC 2046 section 5.1.4: the richest part last.
        for (media_type, part) in [("text/plain", &self.text), ("text/html", html)] {
            into.extend_from_slice(b"--");
            into.extend_from_slice(marks.boundary.as_bytes());
            into.extend_from_slice(b"\r\n");
            part.write_header(media_type, into);
            into.extend_from_slice(b"\r\n");
            part.write(values, into);
            into.extend_from_slice(b"\r\n");
        }
        into.extend_from_slice(b"--");
        into.extend_from_slice(marks.boundary.as_bytes());
        into.extend_from_slice(b"--\r\n");
    }
}

/// What fills the holes of one recipient's body, for who shows it elsewhere than in a mail.
pub fn personal(keyring: &Keyring, frame: &Frame, recipient: &Recipient) -> Values {
    values(&Marks::new(keyring, frame, recipient), frame, recipient)
}

fn values(marks: &Marks, frame: &Frame, recipient: &Recipient) -> Values {
    let mut values = Values::default();
    values.set(Field::SubscriberName, recipient.name.as_str());
    values.set(Field::SubscriberAddress, recipient.address.as_str());
    values.set(Field::SubscriberTierLabel, recipient.tier_label.as_str());
    values.set(Field::SubscriberTermEnds, recipient.term_ends.as_str());
    values.set(Field::LinkUnsubscribe, marks.unsubscribe_url.as_str());
    values.set(Field::LinkPreferences, marks.preferences_url.as_str());
    values.set(Field::LinkView, marks.view_url.as_str());
    values.set(Field::LinkArchive, frame.archive_url.as_deref().unwrap_or(""));
    values.set(Field::LinkUpgrade, frame.upgrade_url.as_deref().unwrap_or(""));
    values
}

/// What is signed for one recipient.
struct Marks {
    reply: String,
    bounce: String,
    unsubscribe: String,
    message_id: String,
    boundary: String,
    unsubscribe_url: String,
    preferences_url: String,
    view_url: String,
}

impl Marks {
    fn new(keyring: &Keyring, frame: &Frame, recipient: &Recipient) -> Marks {
        let mint =
            |purpose, row, second| keyring.mint_with(recipient.key_id, Subject { purpose, row, second });
        let link = |row: i64, path: &str, token: &str| match row {
            0 => String::new(),
            _ => format!("{}/{path}/{token}", frame.url),
        };
        let message_id =
            token::message_id(keyring, recipient.key_id, recipient.delivery, &frame.message_id_domain);
        let is_proof = frame.reply_to == ReplyTo::Edition && recipient.subscriber == NOBODY;
        let reply_to = if is_proof { ReplyTo::Editors(recipient.proof_of) } else { frame.reply_to };
        let (row, second) = match reply_to {
            ReplyTo::Edition => (recipient.delivery, 0),
            ReplyTo::Thread => (recipient.thread, 0),
            ReplyTo::Staff => (recipient.thread, recipient.staff),
            ReplyTo::Editors(edition) => (edition, 0),
        };
        let unsubscribe = mint(Purpose::Unsubscribe, recipient.subscriber, 0);
        Marks {
            reply: mint(reply_to.purpose(), row, second),
            bounce: mint(Purpose::Bounce, recipient.delivery, 0),
            unsubscribe_url: link(recipient.subscriber, "u", &unsubscribe),
            preferences_url: link(
                recipient.subscriber,
                "p",
                &mint(Purpose::Preferences, recipient.subscriber, 0),
            ),
            view_url: link(recipient.delivery, "v", &mint(Purpose::View, recipient.delivery, 0)),
            unsubscribe,
            boundary: boundary(&message_id),
            message_id,
        }
    }

    /// Around text and files. No boundary is the start of another one.
    fn outer_boundary(&self) -> String {
        self.boundary.replacen("=_", "=_f.", 1)
    }
}

fn multipart(kind: &str, boundary: &str, into: &mut Vec<u8>) {
    into.extend_from_slice(
        format!("Content-Type: multipart/{kind};\r\n boundary=\"{boundary}\"\r\n").as_bytes(),
    );
}

/// `=_` occurs in no quoted-printable and no base64 text (W18, RFC 2045 section 6.7), so no body line can be a boundary.
fn boundary(message_id: &str) -> String {
    let local = message_id.split('@').next().unwrap_or("");
    format!("=_{local}")
}

impl Part {
    fn new(pieces: &[Piece]) -> Part {
        if !has_holes(pieces) {
            let text = encode::without_controls(&fill(pieces, &Values::default()));
            if encode::base64_is_smaller(&text) {
                let mut encoded = Vec::new();
                encode::base64(&text, &mut encoded);
                return Part { encoding: "base64", spans: vec![Span::Encoded(encoded)] };
            }
        }
        Part { encoding: QUOTED_PRINTABLE, spans: spans(pieces) }
    }

    fn write_header(&self, media_type: &str, into: &mut Vec<u8>) {
        into.extend_from_slice(b"Content-Type: ");
        into.extend_from_slice(media_type.as_bytes());
        into.extend_from_slice(b"; charset=utf-8\r\n");
        header::plain("Content-Transfer-Encoding", self.encoding, into);
    }

    fn write(&self, values: &Values, into: &mut Vec<u8>) {
        let mut scratch = String::new();
        write_spans(&self.spans, values, &mut scratch, into);
        // The padding of base64 looks like a soft break and must stay.
        if self.encoding == QUOTED_PRINTABLE {
            encode::finish_quoted_printable(into);
        }
    }
}

fn spans(pieces: &[Piece]) -> Vec<Span> {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Literal(text) => {
                let mut encoded = Vec::new();
                encode::quoted_printable(&encode::without_controls(text), &mut encoded);
                Span::Encoded(encoded)
            }
            Piece::Hole { field, context } => Span::Hole { field: *field, context: *context },
            Piece::If { field, then, otherwise } => {
                Span::If { field: *field, then: spans(then), otherwise: spans(otherwise) }
            }
        })
        .collect()
}

fn write_spans(spans: &[Span], values: &Values, scratch: &mut String, into: &mut Vec<u8>) {
    for span in spans {
        match span {
            Span::Encoded(octets) => into.extend_from_slice(octets),
            Span::Hole { field, context } => {
                scratch.clear();
                context.escape(values.get(*field), scratch);
                encode::quoted_printable(scratch, into);
            }
            Span::If { field, then, otherwise } => {
                let branch = if values.has(*field) { then } else { otherwise };
                write_spans(branch, values, scratch, into);
            }
        }
    }
}

fn has_holes(pieces: &[Piece]) -> bool {
    pieces.iter().any(|piece| !matches!(piece, Piece::Literal(_)))
}

fn write_subject(subject: &str, into: &mut Vec<u8>) -> Result<(), ComposeProblem> {
    let subject = header::one_line(subject);
    let length = subject.chars().count();
    if length == 0 {
        return Err(ComposeProblem::NoSubject);
    }
    if length > SUBJECT_MAX {
        return Err(ComposeProblem::LongSubject(length));
    }
    header::unstructured("Subject", &subject, into);
    Ok(())
}
