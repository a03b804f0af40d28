//! What an inbound message is. A table of rules over facts, first match wins, each verdict with its reason (design section 5).
//!
//! The order is the design's: own loop; report; the role of the recipient, which the purpose inside the token gives (unsubscribe,
//! bounce, staff, thread, edition); join; unreadable; automatic; human. Thread and edition tokens decide nothing here: a holiday
//! note to either is still automatic, so they only lead to a thread later. The rows about reports of programs are in `report_rule`.

use super::bounce::{Finding, Report};
use super::complaint::FeedbackType;
use super::report_rule::{complaint, delivery_report, other_report, receipt};
use super::sender::SenderProof;
use super::token::{Purpose, Subject};
use super::words::words;

words! {
    /// What a message was found to be.
    Verdict {
        SupportMessage = "support_message",
        StaffReply = "staff_reply",
        InternalNote = "internal_note",
        RejectedStaff = "rejected_staff",
        Unsubscribe = "unsubscribe",
        Join = "join",
        BounceHard = "bounce_hard",
        BounceSoft = "bounce_soft",
        BounceDelayed = "bounce_delayed",
        Complaint = "complaint",
        AutoReply = "auto_reply",
        Receipt = "receipt",
        Loop = "loop",
        Unreadable = "unreadable",
    }
}

/// Who the envelope says a message is from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EnvelopeFrom {
    /// No envelope reached us, and no Return-Path either.
    #[default]
    Unknown,
    /// `<>`: a program wrote it and wants no answer (RFC 5321 section 4.5.5).
    Empty,
    Address(String),
}

/// Which mail of ours came back in a message, by the tokens in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    pub delivery: Option<i64>,
    pub subscriber: Option<i64>,
}

/// Everything about a message that a rule may ask. Header values are trimmed and in lower case; an absent header is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Why nothing could be read, when nothing could.
    pub unreadable: Option<String>,
    pub envelope_from: EnvelopeFrom,
    /// The verified token of the recipient.
    pub token: Option<Subject>,
    /// The recipient is the address that people join with.
    pub to_join: bool,
    /// The From address is one of ours.
    pub from_is_ours: bool,
    /// The Message-ID is under our own domain.
    pub message_id_is_ours: bool,
    /// X-Loop holds one of our addresses.
    pub loop_mark_is_ours: bool,
    /// The `report-type` of a multipart/report; empty when it has none.
    pub report: Option<String>,
    /// RFC 3834 section 5, with its comments and parameters.
    pub auto_submitted: Option<String>,
    pub precedence: Option<String>,
    pub list_id: bool,
    pub list_unsubscribe: bool,
    /// The first present header of those that only automatic answers carry.
    pub auto_header: Option<String>,
    pub apple_action: Option<String>,
    /// Says what NOT to answer; says nothing about who wrote the message.
    pub auto_response_suppress: bool,
    pub from_local: String,
    /// The From is one of the publication's editors.
    pub from_is_editor: bool,
    /// The From is the registered address of the member that the token names.
    pub from_is_staff: bool,
    /// Why a member's mail is something that they send on, and no answer.
    pub forward: Option<String>,
    /// Asked for where somebody of the house is spoken for.
    pub proof: SenderProof,
    /// What a mail server says about a mail that it could not deliver.
    pub bounce: Option<Report>,
    /// What `bounce` comes to for the mail that it names; `None` where it names none that is known.
    pub finding: Option<Finding>,
    /// What a reader's provider says that the reader thinks of a mail.
    pub feedback: Option<FeedbackType>,
    pub returned: Returned,
    /// The first sign of a program that asks us to prove that we are people.
    pub challenge: Option<String>,
    /// The subject looks like that of an automatic answer. A suspicion, no more.
    pub subject_suspected: bool,
    /// Its subject is the word for leaving, and nothing else.
    pub asks_to_leave: bool,
}

impl Facts {
    /// The delivery that it is about: by the address that it came to, else by the mail that came back.
    pub fn delivery(&self) -> Option<i64> {
        let by_address =
            self.token.filter(|token| matches!(token.purpose, Purpose::Bounce | Purpose::Edition));
        by_address.map(|token| token.row).or(self.returned.delivery)
    }

    /// It came to the return path of one mail, and wants no answer.
    pub fn is_by_envelope(&self) -> bool {
        let to_bounce = self.token.is_some_and(|token| token.purpose == Purpose::Bounce);
        to_bounce && !matches!(self.envelope_from, EnvelopeFrom::Address(_))
    }

    /// A mail server wrote it, as far as its sender tells.
    pub fn is_from_a_server(&self) -> bool {
        self.envelope_from == EnvelopeFrom::Empty
            || matches!(self.from_local.as_str(), "mailer-daemon" | "postmaster" | "mail-daemon")
    }
}

pub(super) type Found = Option<(Verdict, String)>;

/// One row of the table.
struct Rule {
    name: &'static str,
    applies: fn(&Facts) -> Found,
}

/// First match wins. A row that is still missing is a comment at its place.
const RULES: &[Rule] = &[
    Rule { name: "own loop", applies: own_loop },
    Rule { name: "delivery report", applies: delivery_report },
    Rule { name: "complaint", applies: complaint },
    Rule { name: "receipt", applies: receipt },
    Rule { name: "report", applies: other_report },
    Rule { name: "unsubscribe", applies: unsubscribe },
    Rule { name: "bounce", applies: bounce },
    Rule { name: "staff", applies: staff },
    Rule { name: "editors", applies: editors },
    Rule { name: "join", applies: join },
    Rule { name: "unreadable", applies: unreadable },
    Rule { name: "challenge", applies: challenge },
    Rule { name: "automatic", applies: automatic },
    Rule { name: "leave", applies: leave },
    Rule { name: "human", applies: human },
];

/// Says what a message is, and why, for the operator.
pub fn classify(facts: &Facts) -> (Verdict, String) {
    RULES
        .iter()
        .find_map(|rule| {
            (rule.applies)(facts).map(|(verdict, why)| (verdict, format!("{}: {why}", rule.name)))
        })
        .expect("the last rule takes every message")
}

/// Why a message of a person gets no automatic answer from us, although it is kept and shown like any other (RFC 3834 section 2).
pub fn why_unanswered(facts: &Facts) -> Option<&'static str> {
    if facts.auto_response_suppress {
        Some("X-Auto-Response-Suppress asks for none")
    } else if facts.list_id || facts.list_unsubscribe {
        Some("it came through a list")
    } else if matches!(facts.precedence.as_deref(), Some("list" | "bulk" | "junk")) {
        Some("its Precedence says it is bulk")
    } else if facts.envelope_from == EnvelopeFrom::Empty {
        Some("its envelope has no sender")
    } else if NO_REPLY.contains(&facts.from_local.as_str()) {
        Some("its sender reads no mail")
    } else if facts.subject_suspected {
        Some("its subject is that of an automatic answer")
    } else {
        None
    }
}

const NO_REPLY: [&str; 6] =
    ["mailer-daemon", "postmaster", "no-reply", "noreply", "do-not-reply", "donotreply"];

fn own_loop(facts: &Facts) -> Found {
    if !facts.from_is_ours {
        return None;
    }
    let why = match (facts.message_id_is_ours, facts.loop_mark_is_ours) {
        (true, _) => "our own Message-ID and From came back",
        (false, true) => "our own X-Loop and From came back",
        // Nobody writes from our own addresses but we: a forgery, or our mail through a relay that replaced its ids.
        (false, false) => "its From is one of our own addresses",
    };
    Some((Verdict::Loop, why.to_owned()))
}

/// Before the automatic test: mail programs that unsubscribe for a person mark that mail as automatic.
fn unsubscribe(facts: &Facts) -> Found {
    purpose(facts, Purpose::Unsubscribe)?;
    Some((Verdict::Unsubscribe, "sent to an unsubscribe address".to_owned()))
}

/// A person who answers to the return path is still a person.
fn bounce(facts: &Facts) -> Found {
    purpose(facts, Purpose::Bounce)?;
    (facts.envelope_from == EnvelopeFrom::Empty).then(|| {
        (
            Verdict::AutoReply,
            "no sender in the envelope, to a bounce address, and no report of a failure".to_owned(),
        )
    })
}

/// A token alone proves nothing about the sender. Automatic mail is left to the rule that knows it: an out-of-office note is no
/// answer, whoever wrote it.
fn staff(facts: &Facts) -> Found {
    let note = purpose(facts, Purpose::StaffNote).is_some();
    if !note {
        purpose(facts, Purpose::Staff)?;
    }
    if facts.unreadable.is_some() || automatic(facts).is_some() {
        return None;
    }
    let rejected = |why: &str| Some((Verdict::RejectedStaff, why.to_owned()));
    let how = match &facts.proof {
        _ if !facts.from_is_staff => {
            return rejected("its From is not the address of the member whom this one was made for");
        }
        SenderProof::Proven(how) => how,
        SenderProof::Unproven(why) => return rejected(why),
        SenderProof::NotAsked => return rejected("its sender was not proven"),
    };
    if note {
        return Some((Verdict::InternalNote, format!("sent to the address for notes, {how}")));
    }
    Some(match &facts.forward {
        Some(why) => (Verdict::InternalNote, format!("{why}, {how}")),
        None => (Verdict::StaffReply, format!("a member's answer, {how}")),
    })
}

/// An answer to a report. Automatic ones are left to the rule that knows them.
fn editors(facts: &Facts) -> Found {
    purpose(facts, Purpose::Editors)?;
    if facts.unreadable.is_some() || automatic(facts).is_some() {
        return None;
    }
    let (verdict, why) = match (&facts.proof, facts.from_is_editor) {
        (_, false) => (Verdict::RejectedStaff, "its From is no editor's".to_owned()),
        (SenderProof::Proven(how), true) => (Verdict::StaffReply, format!("an editor's word, {how}")),
        (SenderProof::Unproven(why), true) => (Verdict::RejectedStaff, why.clone()),
        (SenderProof::NotAsked, true) => (Verdict::RejectedStaff, "its sender was not proven".to_owned()),
    };
    Some((verdict, why))
}

/// A program must not subscribe anybody: what is automatic, and whoever reads no mail, is left to the rules behind (W52).
fn join(facts: &Facts) -> Found {
    let program = facts.unreadable.is_some() || automatic(facts).is_some() || why_unanswered(facts).is_some();
    (facts.to_join && !program).then(|| (Verdict::Join, "sent to the join address".to_owned()))
}

fn unreadable(facts: &Facts) -> Found {
    facts.unreadable.as_ref().map(|why| (Verdict::Unreadable, why.clone()))
}

/// Who answers every unknown sender with a riddle answers our answer with another one.
fn challenge(facts: &Facts) -> Found {
    facts
        .challenge
        .as_ref()
        .map(|sign| (Verdict::AutoReply, format!("it asks us to prove who we are: {sign}")))
}

/// X-Auto-Response-Suppress is deliberately absent: Exchange puts it on what people write.
fn automatic(facts: &Facts) -> Found {
    let found = |why: String| Some((Verdict::AutoReply, why));
    if let Some(value) = &facts.auto_submitted
        && first_token(value) != "no"
    {
        return found(format!("Auto-Submitted: {value}"));
    }
    if facts.precedence.as_deref() == Some("auto_reply") {
        return found("Precedence: auto_reply".to_owned());
    }
    if let Some(name) = &facts.auto_header {
        return found(format!("it has {name}"));
    }
    if facts.apple_action.as_deref() == Some("vacation") {
        return found("X-Apple-Action: vacation".to_owned());
    }
    if facts.envelope_from == EnvelopeFrom::Empty {
        return found("no sender in the envelope, and no report".to_owned());
    }
    match facts.precedence.as_deref() {
        Some(value @ ("bulk" | "junk")) if !facts.list_id => {
            found(format!("Precedence: {value} without List-Id"))
        }
        _ => None,
    }
}

/// Without a token only a sender who is proven leaves by a word: else anybody could end anybody's mail. A person reads the others.
fn leave(facts: &Facts) -> Found {
    match (&facts.proof, facts.asks_to_leave) {
        (SenderProof::Proven(how), true) => {
            Some((Verdict::Unsubscribe, format!("its subject asks for it, {how}")))
        }
        (SenderProof::Unproven(why), true) => {
            Some((Verdict::SupportMessage, format!("it asks to leave, and its sender is not proven: {why}")))
        }
        _ => None,
    }
}

fn human(_: &Facts) -> Found {
    Some((Verdict::SupportMessage, "nothing says that a program wrote it".to_owned()))
}

fn purpose(facts: &Facts, wanted: Purpose) -> Option<Subject> {
    facts.token.filter(|subject| subject.purpose == wanted)
}

/// The keyword of RFC 3834 section 5: what stands before a comment, a parameter or white space.
pub(super) fn first_token(value: &str) -> &str {
    value.split(|c: char| c.is_whitespace() || c == ';' || c == '(').find(|t| !t.is_empty()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(purpose: Purpose) -> Option<Subject> {
        Some(Subject { purpose, row: 1, second: 0 })
    }

    fn check(facts: Facts, verdict: Verdict, reason: &str) {
        let found = classify(&facts);
        assert_eq!(found.0, verdict, "{facts:?}");
        assert_eq!(found.1, reason, "{facts:?}");
    }

    fn person() -> Facts {
        Facts { envelope_from: EnvelopeFrom::Address("a@x.example".into()), ..Facts::default() }
    }

    #[test]
    fn our_own_mail_is_a_loop() {
        let ours = Facts { from_is_ours: true, message_id_is_ours: true, ..person() };
        check(ours.clone(), Verdict::Loop, "own loop: our own Message-ID and From came back");
        let marked = Facts { message_id_is_ours: false, loop_mark_is_ours: true, ..ours.clone() };
        check(marked, Verdict::Loop, "own loop: our own X-Loop and From came back");
        // A client that keeps our Message-ID but is somebody else is no loop.
        let foreign = Facts { from_is_ours: false, ..ours };
        assert_eq!(classify(&foreign).0, Verdict::SupportMessage);
    }

    #[test]
    fn an_unsubscribe_counts_even_when_a_program_sent_it() {
        let facts = Facts {
            token: token(Purpose::Unsubscribe),
            auto_submitted: Some("auto-replied".into()),
            unreadable: Some("no header".into()),
            ..person()
        };
        check(facts, Verdict::Unsubscribe, "unsubscribe: sent to an unsubscribe address");
    }

    #[test]
    fn a_bounce_address_takes_people_and_ignores_programs() {
        let person = Facts { token: token(Purpose::Bounce), ..person() };
        check(person.clone(), Verdict::SupportMessage, "human: nothing says that a program wrote it");
        let program = Facts { envelope_from: EnvelopeFrom::Empty, ..person };
        assert_eq!(classify(&program).0, Verdict::AutoReply);
    }

    #[test]
    fn a_member_of_staff_is_believed_only_when_proven() {
        let how = "DKIM pass by x.example";
        let mail = |purpose| Facts {
            token: token(purpose),
            from_is_staff: true,
            proof: SenderProof::Proven(how.into()),
            ..person()
        };
        let answer = mail(Purpose::Staff);
        check(answer.clone(), Verdict::StaffReply, &format!("staff: a member's answer, {how}"));
        let note = format!("staff: sent to the address for notes, {how}");
        check(mail(Purpose::StaffNote), Verdict::InternalNote, &note);
        let forward = Facts { forward: Some("its subject begins with Fwd:".into()), ..answer.clone() };
        check(forward, Verdict::InternalNote, &format!("staff: its subject begins with Fwd:, {how}"));
        let other = Facts { from_is_staff: false, ..answer.clone() };
        assert_eq!(classify(&other).0, Verdict::RejectedStaff);
        let unproven = SenderProof::Unproven("it has no DKIM signature".into());
        let forged = Facts { proof: unproven, ..answer.clone() };
        check(forged, Verdict::RejectedStaff, "staff: it has no DKIM signature");
        let unasked = Facts { proof: SenderProof::NotAsked, ..mail(Purpose::StaffNote) };
        check(unasked, Verdict::RejectedStaff, "staff: its sender was not proven");
        let away = Facts { auto_submitted: Some("auto-replied".into()), ..answer.clone() };
        check(away, Verdict::AutoReply, "automatic: Auto-Submitted: auto-replied");
        let empty = Facts { envelope_from: EnvelopeFrom::Empty, ..answer };
        assert_eq!(classify(&empty).0, Verdict::AutoReply);
    }

    #[test]
    fn w52_a_person_joins_by_mail_and_a_program_does_not() {
        let joins = Facts { to_join: true, ..person() };
        check(joins.clone(), Verdict::Join, "join: sent to the join address");
        let away = Facts { auto_submitted: Some("auto-replied".into()), ..joins.clone() };
        assert_eq!(classify(&away).0, Verdict::AutoReply);
        let bounced = Facts { envelope_from: EnvelopeFrom::Empty, ..joins.clone() };
        assert_eq!(classify(&bounced).0, Verdict::AutoReply);
        for facts in [
            Facts { list_id: true, ..joins.clone() },
            Facts { from_local: "noreply".into(), ..joins.clone() },
            Facts { unreadable: Some("no header".into()), ..joins },
        ] {
            assert_ne!(classify(&facts).0, Verdict::Join, "{facts:?}");
        }
    }

    #[test]
    fn an_editor_is_believed_only_when_proven() {
        let answer = |from_is_editor, proof| Facts {
            token: token(Purpose::Editors),
            from_is_editor,
            proof,
            ..person()
        };
        let proven = || SenderProof::Proven("DKIM pass by example.org".into());
        check(
            answer(true, proven()),
            Verdict::StaffReply,
            "editors: an editor's word, DKIM pass by example.org",
        );
        check(answer(false, proven()), Verdict::RejectedStaff, "editors: its From is no editor's");
        let unproven = SenderProof::Unproven("it has no DKIM signature".into());
        check(answer(true, unproven), Verdict::RejectedStaff, "editors: it has no DKIM signature");
        check(
            answer(true, SenderProof::NotAsked),
            Verdict::RejectedStaff,
            "editors: its sender was not proven",
        );
        let away = Facts { auto_submitted: Some("auto-replied".into()), ..answer(true, proven()) };
        check(away, Verdict::AutoReply, "automatic: Auto-Submitted: auto-replied");
    }

    #[test]
    fn a_word_in_the_subject_unsubscribes_whoever_is_proven() {
        let asks = |proof| Facts { asks_to_leave: true, proof, ..person() };
        check(
            asks(SenderProof::Proven("DKIM pass by x.example".into())),
            Verdict::Unsubscribe,
            "leave: its subject asks for it, DKIM pass by x.example",
        );
        check(
            asks(SenderProof::Unproven("it has no DKIM signature".into())),
            Verdict::SupportMessage,
            "leave: it asks to leave, and its sender is not proven: it has no DKIM signature",
        );
        assert_eq!(classify(&asks(SenderProof::NotAsked)).0, Verdict::SupportMessage);
        let away =
            Facts { auto_submitted: Some("auto-replied".into()), ..asks(SenderProof::Proven("x".into())) };
        assert_eq!(classify(&away).0, Verdict::AutoReply);
    }

    #[test]
    fn unreadable_says_why() {
        let facts = Facts { unreadable: Some("it has no headers".into()), ..person() };
        check(facts, Verdict::Unreadable, "unreadable: it has no headers");
    }

    #[test]
    fn automatic_by_each_sign() {
        let cases: [(Facts, &str); 7] = [
            (
                Facts { auto_submitted: Some("auto-replied (vacation)".into()), ..person() },
                "automatic: Auto-Submitted: auto-replied (vacation)",
            ),
            (
                Facts { auto_submitted: Some("auto-generated; x=y".into()), ..person() },
                "automatic: Auto-Submitted: auto-generated; x=y",
            ),
            (
                Facts { precedence: Some("auto_reply".into()), ..person() },
                "automatic: Precedence: auto_reply",
            ),
            (Facts { auto_header: Some("X-Autoreply".into()), ..person() }, "automatic: it has X-Autoreply"),
            (
                Facts { apple_action: Some("vacation".into()), ..person() },
                "automatic: X-Apple-Action: vacation",
            ),
            (
                Facts { envelope_from: EnvelopeFrom::Empty, token: token(Purpose::Thread), ..person() },
                "automatic: no sender in the envelope, and no report",
            ),
            (
                Facts { precedence: Some("junk".into()), ..person() },
                "automatic: Precedence: junk without List-Id",
            ),
        ];
        for (facts, reason) in cases {
            check(facts, Verdict::AutoReply, reason);
        }
    }

    #[test]
    fn people_stay_people() {
        let cases = [
            Facts { auto_submitted: Some("no".into()), ..person() },
            Facts { auto_submitted: Some("no; x=y".into()), ..person() },
            Facts { precedence: Some("bulk".into()), list_id: true, ..person() },
            Facts { precedence: Some("list".into()), ..person() },
            Facts { auto_response_suppress: true, ..person() },
            Facts { token: token(Purpose::Edition), ..person() },
            Facts { token: token(Purpose::Thread), ..person() },
            person(),
        ];
        for facts in cases {
            check(facts, Verdict::SupportMessage, "human: nothing says that a program wrote it");
        }
    }

    #[test]
    fn some_people_get_no_automatic_answer() {
        assert_eq!(why_unanswered(&person()), None);
        let suppressed = Facts { auto_response_suppress: true, ..person() };
        assert_eq!(why_unanswered(&suppressed), Some("X-Auto-Response-Suppress asks for none"));
        let listed = Facts { list_unsubscribe: true, ..person() };
        assert!(why_unanswered(&listed).is_some());
        let robot = Facts { from_local: "no-reply".into(), ..person() };
        assert!(why_unanswered(&robot).is_some());
    }
}
