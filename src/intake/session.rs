//! The LMTP dialogue (RFC 2033) as a machine without a socket: octets in, replies out.
//!
//! It splits command lines itself, because a line that is too long must be skipped to its end and not read on as a command;
//! smtp-proto reads the commands and takes the dots out of the data, and ends it at CRLF.CRLF only, so that a bare line end can
//! smuggle nothing. Limits: command line, recipients, wrong commands, message size. A message that is too large is read to its
//! end without being kept, and refused there. Room for a message is asked for before it is let in, and again where it turns out
//! larger than announced: without, it is for later.

use smtp_proto::request::receiver::{DataReceiver, DummyDataReceiver};
use smtp_proto::{MAIL_BODY_BINARYMIME, MailFrom, RcptTo, Request};

/// RFC 5321 section 4.5.3.1.4 gives 512 and each extension adds some.
const LINE_MAX: usize = 2_048;
/// RFC 5321 section 4.5.3.1.8.
const RECIPIENTS_MAX: usize = 100;
/// After so many errors the peer is not one that delivers mail.
const ERRORS_MAX: usize = 20;
/// Asked for where a message announces no size, and the least that is asked for later.
const ROOM_FIRST: usize = 64 * 1024;
/// A message of more than so many times the limit is not worth reading to its end.
const DISCARD_TIMES: usize = 8;

const NO_ROOM: &str = "452 4.3.1 no memory for it now, try again later";

/// What the listener has to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// All octets are used; read more.
    More,
    /// A message is complete. Deposit it for each recipient, then give one reply each with [`Dialogue::answered`].
    Message { from: String, recipients: Vec<String>, raw: Vec<u8> },
    /// A message wants in. Wait for so many octets of memory, then say [`Dialogue::room`]. They are kept until the message's
    /// replies are given.
    Room(usize),
    /// It is larger than announced. Without waiting, take so many more if they are there, then say [`Dialogue::more_room`].
    MoreRoom(usize),
    /// A message was read to its end and refused: its octets are free again.
    Dropped,
    /// Flush the replies and close.
    Close,
}

enum State {
    Command,
    /// Behind a line that is too long, up to its end.
    SkipLine,
    /// Behind DATA, before its reply.
    Waiting,
    Data {
        receiver: DataReceiver,
        raw: Vec<u8>,
        /// Octets that it may have.
        room: usize,
    },
    Discard {
        receiver: DummyDataReceiver,
        seen: usize,
        why: Discarded,
    },
}

#[derive(Clone, Copy)]
enum Discarded {
    TooLarge,
    NoRoom,
}

/// One connection's dialogue.
pub(super) struct Dialogue<'a> {
    hostname: &'a str,
    max_message: usize,
    state: State,
    line: Vec<u8>,
    greeted: bool,
    from: Option<String>,
    /// What MAIL announced; 0 where it did not.
    size: usize,
    recipients: Vec<String>,
    errors: usize,
    /// Replies that were not sent yet.
    pub(super) out: Vec<u8>,
}

impl<'a> Dialogue<'a> {
    pub(super) fn new(hostname: &'a str, max_message: usize) -> Dialogue<'a> {
        let mut dialogue = Dialogue {
            hostname,
            max_message,
            state: State::Command,
            line: Vec::new(),
            greeted: false,
            from: None,
            size: 0,
            recipients: Vec::new(),
            errors: 0,
            out: Vec::new(),
        };
        dialogue.reply(&format!("220 {hostname} LMTP"));
        dialogue
    }

    /// Whether the peer is sending a message, or waits for its replies.
    pub(super) fn in_message(&self) -> bool {
        matches!(self.state, State::Data { .. } | State::Discard { .. })
    }

    /// Whether the peer has said LHLO.
    pub(super) fn greeted(&self) -> bool {
        self.greeted
    }

    /// Uses up some of `octets`, which it shortens, until there is something to do.
    pub(super) fn take(&mut self, octets: &mut &[u8], accepts: &impl Fn(&str) -> bool) -> Step {
        while !octets.is_empty() {
            let step = match self.state {
                State::Command => self.take_line(octets, accepts),
                State::SkipLine => self.skip_line(octets),
                State::Waiting => return Step::More,
                State::Data { .. } | State::Discard { .. } => self.take_data(octets),
            };
            if let Some(step) = step {
                return step;
            }
        }
        Step::More
    }

    /// The replies to a complete message, one for each recipient in the order of RCPT (RFC 2033 section 4.2).
    pub(super) fn answered(&mut self, stored: impl IntoIterator<Item = bool>) {
        for stored in stored {
            self.reply(if stored {
                "250 2.0.0 stored"
            } else {
                "451 4.3.0 it cannot be stored now, try again later"
            });
        }
    }

    /// The reply before we close of our own will (RFC 5321 section 3.8).
    pub(super) fn bye(&mut self, why: &str) {
        self.reply(&format!("421 4.3.2 {why}"));
    }

    fn reply(&mut self, line: &str) {
        self.out.extend_from_slice(line.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    fn refuse(&mut self, line: &str) -> Option<Step> {
        self.reply(line);
        self.errors += 1;
        (self.errors >= ERRORS_MAX).then(|| {
            self.bye("too many errors");
            Step::Close
        })
    }

    fn take_line(&mut self, octets: &mut &[u8], accepts: &impl Fn(&str) -> bool) -> Option<Step> {
        let end = memchr::memchr(b'\n', octets).map(|at| at + 1);
        let (head, rest) = octets.split_at(end.unwrap_or(octets.len()));
        *octets = rest;
        if self.line.len() + head.len() > LINE_MAX {
            self.line.clear();
            if end.is_none() {
                self.state = State::SkipLine;
                return None;
            }
            return self.refuse("500 5.5.2 the line is too long");
        }
        self.line.extend_from_slice(head);
        end?;
        let line = std::mem::take(&mut self.line);
        let request = Request::parse(&mut line.iter());
        let step = self.command(request, accepts);
        self.line = line;
        self.line.clear();
        step
    }

    fn skip_line(&mut self, octets: &mut &[u8]) -> Option<Step> {
        let end = memchr::memchr(b'\n', octets);
        *octets = end.map_or(&[][..], |at| &octets[at + 1..]);
        end?;
        self.state = State::Command;
        self.refuse("500 5.5.2 the line is too long")
    }

    fn command<T: AsRef<str>>(
        &mut self,
        request: Result<Request<T>, smtp_proto::Error>,
        accepts: &impl Fn(&str) -> bool,
    ) -> Option<Step> {
        use smtp_proto::Error;
        match request {
            Ok(Request::Lhlo { .. }) => self.hello(),
            Ok(Request::Mail { from }) => return self.mail(&from),
            Ok(Request::Rcpt { to }) => return self.rcpt(&to, accepts),
            Ok(Request::Data) => return self.data(),
            Ok(Request::Rset) => {
                self.reset();
                self.reply("250 2.0.0 forgotten");
            }
            Ok(Request::Noop { .. }) => self.reply("250 2.0.0 here"),
            Ok(Request::Vrfy { .. }) => self.reply("252 2.5.1 try it with RCPT"),
            Ok(Request::Quit) => {
                self.reply("221 2.0.0 bye");
                return Some(Step::Close);
            }
            // Its octets would follow at once and be read as commands.
            Ok(Request::Bdat { .. }) => {
                self.reply("502 5.5.1 BDAT is not offered");
                return Some(Step::Close);
            }
            Ok(Request::Helo { .. } | Request::Ehlo { .. }) => {
                return self.refuse("500 5.5.1 this is LMTP, say LHLO");
            }
            Ok(_) => return self.refuse("502 5.5.1 not offered"),
            Err(Error::InvalidSenderAddress) => return self.refuse("501 5.1.7 the sender is not an address"),
            Err(Error::InvalidRecipientAddress) => {
                return self.refuse("501 5.1.3 the recipient is not an address");
            }
            Err(Error::SyntaxError { .. } | Error::InvalidParameter { .. }) => {
                return self.refuse("501 5.5.4 the command is not well formed");
            }
            Err(Error::UnsupportedParameter { .. }) => {
                return self.refuse("555 5.5.4 a parameter is not known here");
            }
            Err(_) => return self.refuse("500 5.5.1 no such command"),
        }
        None
    }

    fn hello(&mut self) {
        self.reset();
        self.greeted = true;
        let lines = [
            format!("250-{}", self.hostname),
            "250-PIPELINING".to_owned(),
            format!("250-SIZE {}", self.max_message),
            "250-8BITMIME".to_owned(),
            "250-SMTPUTF8".to_owned(),
            "250 ENHANCEDSTATUSCODES".to_owned(),
        ];
        lines.iter().for_each(|line| self.reply(line));
    }

    fn mail<T: AsRef<str>>(&mut self, from: &MailFrom<T>) -> Option<Step> {
        if !self.greeted {
            return self.refuse("503 5.5.1 say LHLO first");
        }
        if self.from.is_some() {
            return self.refuse("503 5.5.1 there is a sender already");
        }
        if from.size > self.max_message {
            return self.refuse(&self.too_large());
        }
        if from.flags & MAIL_BODY_BINARYMIME != 0 {
            return self.refuse("555 5.5.4 BINARYMIME is not offered");
        }
        if from.address.as_ref().contains(char::is_control) {
            return self.refuse("501 5.1.7 a control character is in the sender's address");
        }
        self.from = Some(from.address.as_ref().to_owned());
        self.size = from.size;
        self.reply("250 2.1.0 go on");
        None
    }

    fn rcpt<T: AsRef<str>>(&mut self, to: &RcptTo<T>, accepts: &impl Fn(&str) -> bool) -> Option<Step> {
        if self.from.is_none() {
            return self.refuse("503 5.5.1 there is no sender yet");
        }
        if self.recipients.len() >= RECIPIENTS_MAX {
            self.reply("452 4.5.3 too many recipients");
            return None;
        }
        let address = to.address.as_ref();
        if address.contains(char::is_control) {
            return self.refuse("501 5.1.3 a control character is in the recipient's address");
        }
        if !accepts(address) {
            // Not counted as an error: a list of recipients may hold many that are not ours.
            self.reply("550 5.1.1 no such recipient");
            return None;
        }
        self.recipients.push(address.to_owned());
        self.reply("250 2.1.5 go on");
        None
    }

    fn data(&mut self) -> Option<Step> {
        if self.recipients.is_empty() {
            return self.refuse("503 5.5.1 there is no recipient yet");
        }
        self.state = State::Waiting;
        // What is announced is an estimate (RFC 1870 section 6).
        let likely = self.size.saturating_add(self.size / 16).saturating_add(1024);
        Some(Step::Room(if self.size == 0 { ROOM_FIRST } else { likely.min(self.max_message + 1) }))
    }

    /// The answer to [`Step::Room`]: how many octets there are for the message; none means that it has to come later.
    pub(super) fn room(&mut self, room: Option<usize>) {
        let Some(room) = room else {
            self.state = State::Command;
            self.reset();
            return self.reply(NO_ROOM);
        };
        let mut receiver = DataReceiver::new();
        // The line end of DATA itself counts: a dot on the first line is a dot at the start of a line.
        receiver.ingest(&mut b"\r\n".iter(), &mut Vec::new());
        // Pages that nothing is written to take no memory.
        self.state = State::Data { receiver, raw: Vec::with_capacity(room), room };
        self.reply("354 send it, end with a dot");
    }

    /// The answer to [`Step::MoreRoom`]: how many octets more there are. Without any, the message is read to its end and has to
    /// come later.
    pub(super) fn more_room(&mut self, more: Option<usize>) {
        let State::Data { receiver, raw, room } = &mut self.state else { return };
        match more {
            Some(more) => *room += more,
            None => {
                let (receiver, seen) = (DummyDataReceiver::new_data(receiver), raw.len());
                self.state = State::Discard { receiver, seen, why: Discarded::NoRoom };
            }
        }
    }

    fn take_data(&mut self, octets: &mut &[u8]) -> Option<Step> {
        let mut bytes = octets.iter();
        let before = octets.len();
        let (ended, abuse) = match &mut self.state {
            State::Data { raw, room, .. } if raw.len() + before > *room && *room <= self.max_message => {
                let wanted = (*room / 2).min(self.max_message + 1 - *room);
                return Some(Step::MoreRoom(wanted.max(before)));
            }
            State::Data { receiver, raw, .. } => {
                let ended = receiver.ingest(&mut bytes, raw);
                let seen = raw.len();
                if seen > self.max_message && !ended {
                    let receiver = DummyDataReceiver::new_data(receiver);
                    self.state = State::Discard { receiver, seen, why: Discarded::TooLarge };
                }
                (ended, false)
            }
            State::Discard { receiver, seen, .. } => {
                let ended = receiver.ingest(&mut bytes);
                *seen += before - bytes.len();
                (ended, *seen > self.max_message.saturating_mul(DISCARD_TIMES))
            }
            State::Command | State::SkipLine | State::Waiting => (false, false),
        };
        *octets = bytes.as_slice();
        if abuse && !ended {
            self.bye("this does not end");
            return Some(Step::Close);
        }
        if ended { self.finish() } else { None }
    }

    /// The dot was read.
    fn finish(&mut self) -> Option<Step> {
        let state = std::mem::replace(&mut self.state, State::Command);
        let from = self.from.take().unwrap_or_default();
        let recipients = std::mem::take(&mut self.recipients);
        let refusal = match state {
            State::Data { raw, .. } if raw.len() <= self.max_message => {
                return Some(Step::Message { from, recipients, raw });
            }
            State::Discard { seen, why: Discarded::NoRoom, .. } if seen <= self.max_message => {
                NO_ROOM.to_owned()
            }
            _ => self.too_large(),
        };
        recipients.iter().for_each(|_| self.reply(&refusal));
        Some(Step::Dropped)
    }

    fn too_large(&self) -> String {
        format!("552 5.3.4 a message may have {} octets", self.max_message)
    }

    fn reset(&mut self) {
        self.from = None;
        self.size = 0;
        self.recipients.clear();
    }
}
