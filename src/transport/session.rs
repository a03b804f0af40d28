//! One SMTP connection, driven command by command, each command under a timer of its own (W97).
//!
//! A refusal is followed by RSET and the connection goes on; after a lost connection, a timer, a 421 or nonsense the session is spent
//! and its owner opens another. MAIL, RCPT and DATA travel in one write where the server offers PIPELINING, and body and final
//! dot in one. lettre gives commands and parameters; its connections are not used, see Cargo.toml.

use std::sync::Arc;
use std::time::Duration;

use lettre::transport::smtp::commands::{Data, Quit, Rset};
use lettre::transport::smtp::extension::{MailParameter, RcptParameter};

use super::body::{dot_stuffed, wire_ready};
use super::hello::{self, ConnectProblem, Offers, Opened};
use super::link::Link;
use super::reply::Said;
use crate::domain::address::Address;
use crate::domain::delivery::{Outcome, Phase, Reply};
use crate::domain::reply_rule::{Judgement, ReplyClass, ReplyRules};
use crate::domain::settings::RelaySettings;

/// How long each step may take; the defaults are the minimums of RFC 5321 section 4.5.3.2.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Ours to choose.
    pub connect: Duration,
    /// Also of EHLO, STARTTLS with its handshake, and AUTH.
    pub banner: Duration,
    pub mail: Duration,
    pub rcpt: Duration,
    pub data: Duration,
    /// How long the server may take none of a body that is not yet all written.
    pub block: Duration,
    /// From the final dot to its reply.
    pub dot: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let minutes = |count: u64| Duration::from_secs(count * 60);
        Timeouts {
            connect: Duration::from_secs(30),
            banner: minutes(5),
            mail: minutes(5),
            rcpt: minutes(5),
            data: minutes(2),
            block: minutes(3),
            dot: minutes(10),
        }
    }
}

/// What became of one message on this connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    Made(Outcome),
    /// The server had enough of this connection, after at least one message and before this one: nothing was tried (W116).
    Recycled(String),
}

/// A connection that is ready for MAIL.
pub struct Session {
    link: Link,
    offers: Offers,
    timeouts: Timeouts,
    accepted: u32,
    usable: bool,
    rules: Arc<ReplyRules>,
    /// A body on its way; kept for its room.
    body: Vec<u8>,
}

/// How one command ended.
enum Answer {
    Positive(Reply),
    Negative(Reply),
    Lost(String),
}

impl Session {
    /// Connects, says EHLO, encrypts and logs in, as the relay's settings say.
    ///
    /// # Errors
    /// When the relay cannot be reached, is silent, is not whom the settings name, or refuses us.
    pub async fn connect(relay: &RelaySettings, timeouts: Timeouts) -> Result<Session, ConnectProblem> {
        Ok(Session::of(hello::open(relay, &timeouts).await?, relay, timeouts))
    }

    pub(super) fn of(opened: Opened, relay: &RelaySettings, timeouts: Timeouts) -> Session {
        let (Opened { link, offers, .. }, rules) = (opened, relay.rules.clone());
        Session { link, offers, timeouts, accepted: 0, usable: true, rules, body: Vec::new() }
    }

    /// Whether another message may be tried on this connection.
    pub fn usable(&self) -> bool {
        self.usable
    }

    /// Messages that the peer accepted on this connection.
    pub fn accepted(&self) -> u32 {
        self.accepted
    }

    /// Tries one message. `message` is complete: headers, body, CRLF line ends.
    pub async fn send(&mut self, from: &str, to: &Address, message: &str) -> Attempt {
        if let Err(outcome) = self.refuse_unsendable(from, to, message) {
            return Attempt::Made(outcome);
        }
        if let Some(failed) = self.heard_before_mail().await {
            return self.give_way((Phase::Mail, failed), false).await;
        }
        let mail = self.mail(from, to, message.len());
        let rcpt = self.rcpt(from, to);
        let (data, failed) = if self.offers.pipelining {
            self.envelope_at_once(mail, &rcpt).await
        } else {
            self.envelope(mail, rcpt).await
        };
        if let Some(failed) = failed {
            return self.give_way(failed, data).await;
        }
        let outcome = self.deliver(message).await;
        if let Outcome::Accepted(_) = outcome {
            self.accepted += 1;
        }
        Attempt::Made(outcome)
    }

    /// Ends the connection politely. A failure changes nothing (W89).
    pub async fn quit(mut self) {
        if self.usable {
            let limit = Duration::from_secs(5);
            let goodbye = self.link.ask(Quit.to_string().as_bytes(), limit).await;
            drop(goodbye);
            self.link.close(limit).await;
        }
    }

    fn refuse_unsendable(&self, from: &str, to: &Address, message: &str) -> Result<(), Outcome> {
        if to.needs_smtputf8() && !self.offers.smtputf8 {
            return Err(Outcome::Refused(Reply {
                code: 550,
                enhanced: Some("5.6.7".into()),
                text: "5.6.7 not sent: the address needs SMTPUTF8, which the relay does not offer".into(),
                phase: Phase::Rcpt,
                // It is the relay that lacks something: nobody's mailbox is worse for it.
                judgement: Judgement::new(ReplyClass::Ignored, "smtputf8"),
            }));
        }
        if let Some(limit) = self.offers.size.filter(|limit| message.len() as u64 > *limit) {
            let why = format!("the message has {} octets, the relay takes {limit}", message.len());
            return Err(Outcome::Unsendable(why));
        }
        let bad_sender = |c: char| c.is_control() || "<> ".contains(c);
        if from.contains(bad_sender) || !from.is_ascii() {
            return Err(Outcome::Unsendable("the envelope sender is not an address".into()));
        }
        wire_ready(message, to.needs_smtputf8()).map_err(|why| Outcome::Unsendable(why.into()))
    }

    fn mail(&self, from: &str, to: &Address, size: usize) -> String {
        let mut command = format!("MAIL FROM:<{from}>");
        if self.offers.takes_size {
            push(&mut command, MailParameter::Size(size));
        }
        if to.needs_smtputf8() {
            push(&mut command, MailParameter::SmtpUtfEight);
        }
        // W123. The local part names the delivery, so a report that lost everything else still finds it.
        if let Some((token, _)) = from.rsplit_once('@').filter(|_| self.offers.dsn) {
            push(&mut command, dsn("RET", "HDRS"));
            push(&mut command, dsn("ENVID", token));
        }
        command + "\r\n"
    }

    fn rcpt(&self, from: &str, to: &Address) -> String {
        let mut command = format!("RCPT TO:<{to}>");
        if self.offers.dsn && !from.is_empty() {
            push(&mut command, dsn("NOTIFY", "FAILURE"));
            if to.needs_smtputf8() {
                push(&mut command, format_args!("ORCPT=utf-8;{}", unitext(to.as_str())));
            } else {
                push(&mut command, dsn("ORCPT", &format!("rfc822;{to}")));
            }
        }
        command + "\r\n"
    }

    /// A 421 without a question may stand there since the last message. Anything else that does means that the server and we do not
    /// speak of the same message any more.
    async fn heard_before_mail(&mut self) -> Option<Answer> {
        match self.link.unasked().await {
            Ok(None) => None,
            Ok(Some(said)) if said.code == 421 => Some(Answer::Negative(said.at(Phase::Mail, &self.rules))),
            Ok(Some(said)) => {
                Some(Answer::Lost(format!("the server said {} without being asked", said.code)))
            }
            Err(why) => Some(Answer::Lost(why)),
        }
    }

    /// MAIL, RCPT, DATA one after the other. Answers whether DATA was opened, and what failed.
    async fn envelope(&mut self, mail: String, rcpt: String) -> (bool, Option<(Phase, Answer)>) {
        let steps = [(Phase::Mail, mail), (Phase::Rcpt, rcpt), (Phase::Data, Data.to_string())];
        for (phase, command) in steps {
            match self.command(command, phase).await {
                Answer::Positive(_) => {}
                failed => return (false, Some((phase, failed))),
            }
        }
        (true, None)
    }

    /// The same in one write (RFC 2920). Every reply is read even after a refusal, or the next message would be given this
    /// one's answers.
    async fn envelope_at_once(&mut self, mail: String, rcpt: &str) -> (bool, Option<(Phase, Answer)>) {
        let first = self.command(format!("{mail}{rcpt}DATA\r\n"), Phase::Mail).await;
        if let Answer::Lost(_) = first {
            return (false, Some((Phase::Mail, first)));
        }
        let mut failed = negative(Phase::Mail, first);
        let mut open = false;
        for phase in [Phase::Rcpt, Phase::Data] {
            let answer = self.answer(phase).await;
            match answer {
                Answer::Lost(_) => return (false, Some(failed.unwrap_or((phase, answer)))),
                Answer::Positive(_) => open = phase == Phase::Data,
                Answer::Negative(_) => failed = failed.or(negative(phase, answer)),
            }
        }
        (open, failed)
    }

    /// Ends a transaction that was refused, and says what that means.
    async fn give_way(&mut self, (phase, answer): (Phase, Answer), data_open: bool) -> Attempt {
        let reply = match answer {
            Answer::Lost(why) => {
                self.usable = false;
                let recycled = phase == Phase::Mail && self.accepted > 0;
                let why = format!("{why} ({})", phase.as_str());
                return if recycled {
                    Attempt::Recycled(why)
                } else {
                    Attempt::Made(Outcome::Unreachable(phase, why))
                };
            }
            Answer::Positive(reply) | Answer::Negative(reply) => reply,
        };
        if reply.code == 421 {
            self.usable = false;
            if phase == Phase::Mail && self.accepted > 0 {
                return Attempt::Recycled(reply.to_string());
            }
        } else if data_open {
            // Refused, yet asked for the body: a lone dot, whose refusal ends the transaction (W109).
            let ended = self.command(".\r\n".to_owned(), Phase::Dot).await;
            self.usable &= matches!(ended, Answer::Negative(_));
        } else {
            let reset = self.command(Rset.to_string(), Phase::Mail).await;
            self.usable &= matches!(reset, Answer::Positive(_));
        }
        Attempt::Made(if reply.code >= 500 { Outcome::Refused(reply) } else { Outcome::Deferred(reply) })
    }

    async fn deliver(&mut self, message: &str) -> Outcome {
        dot_stuffed(message, &mut self.body);
        let answer = match self.link.write(&self.body, self.timeouts.block).await {
            Ok(()) => self.answer(Phase::Dot).await,
            Err(stopped) => {
                self.usable = false;
                match stopped.said {
                    // An acceptance of something that it has not got is none.
                    Some(said) if stopped.whole || said.code >= 400 => {
                        understood(said, Phase::Dot, &self.rules)
                    }
                    // Only when all of it was handed over may the peer have the message (W90, W100).
                    _ if !stopped.whole => {
                        let why = format!("{} (in the body)", stopped.why);
                        return Outcome::Unreachable(Phase::Dot, why);
                    }
                    _ => Answer::Lost(stopped.why),
                }
            }
        };
        match answer {
            Answer::Positive(reply) => Outcome::Accepted(reply),
            Answer::Negative(reply) => {
                self.usable &= reply.code != 421;
                refusal(reply)
            }
            Answer::Lost(why) => {
                self.usable = false;
                Outcome::Unknown(format!("{why} (after the final dot)"))
            }
        }
    }

    async fn command(&mut self, command: String, phase: Phase) -> Answer {
        let said = self.link.ask(command.as_bytes(), self.limit(phase)).await;
        said.map_or_else(Answer::Lost, |said| understood(said, phase, &self.rules))
    }

    async fn answer(&mut self, phase: Phase) -> Answer {
        let said = self.link.reply(self.limit(phase)).await;
        said.map_or_else(Answer::Lost, |said| understood(said, phase, &self.rules))
    }

    fn limit(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Connect | Phase::Hello | Phase::StartTls | Phase::Auth => self.timeouts.banner,
            Phase::Mail => self.timeouts.mail,
            Phase::Rcpt => self.timeouts.rcpt,
            Phase::Data => self.timeouts.data,
            Phase::Dot => self.timeouts.dot,
        }
    }
}

fn negative(phase: Phase, answer: Answer) -> Option<(Phase, Answer)> {
    matches!(answer, Answer::Negative(_)).then_some((phase, answer))
}

/// By the first digit only (W86). 3yz belongs to DATA, 2yz to everything else; the wrong one of them means that the two sides do
/// not speak of the same command any more.
fn understood(said: Said, phase: Phase, rules: &ReplyRules) -> Answer {
    let wanted = if phase == Phase::Data { 3 } else { 2 };
    match said.code / 100 {
        4 | 5 => Answer::Negative(said.at(phase, rules)),
        digit if digit == wanted => Answer::Positive(said.at(phase, rules)),
        _ => Answer::Lost(format!("an answer that does not belong here: {}", said.code)),
    }
}

fn refusal(reply: Reply) -> Outcome {
    if reply.code >= 500 { Outcome::Refused(reply) } else { Outcome::Deferred(reply) }
}

fn push(command: &mut String, parameter: impl std::fmt::Display) {
    command.push(' ');
    command.push_str(&parameter.to_string());
}

/// RFC 3461 section 4: lettre writes the value as xtext.
fn dsn(keyword: &str, value: &str) -> RcptParameter {
    RcptParameter::Other { keyword: keyword.to_owned(), value: Some(value.to_owned()) }
}

/// RFC 6533 section 3: what xtext is to ASCII, for an address that is not.
fn unitext(address: &str) -> String {
    let mut text = String::with_capacity(address.len());
    for character in address.chars() {
        match character {
            '+' | '=' | '\\' => text.push_str(&format!("\\x{{{:X}}}", u32::from(character))),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w123_addresses_in_parameters_are_encoded() {
        assert_eq!(dsn("ORCPT", "rfc822;a+b=c@x.example").to_string(), "ORCPT=rfc822;a+2Bb+3Dc@x.example");
        assert_eq!(unitext("用+户=\\@x.example"), "用\\x{2B}户\\x{3D}\\x{5C}@x.example");
    }
}
