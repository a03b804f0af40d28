//! What a refusal or a deferral means: rules that are read from the top, first match wins. The rules are data with a date, which
//! `config` reads from a file; here is what a rule is and how it is matched.
//!
//! The order is the strategy. Providers' own texts come before codes, because the same code means different things at different
//! providers. Then the phase: before RCPT nobody has been named, so whatever is said there is about us. Then the enhanced code
//! (RFC 3463, IANA's registry), then the basic code (RFC 5321 section 4.2.3), then what is left. The first digit of the basic
//! code picks the column: where the enhanced code's class disagrees with it, the basic one counts (W96).
//!
//! Known gaps: 5.1.2 and 5.4.4 would be hard after a DNS look-up of our own, which is not made here; a provider is known by its
//! words only, not by its MX.

use std::sync::Arc;

use super::delivery::Phase;
use super::words::words;

words! {
    /// What a reply is about, and so what follows from it (W137).
    ReplyClass {
        /// H: there is no such mailbox. The address is suppressed.
        Hard = "hard",
        /// F: the mailbox is full. Tried again in the message's life, then a soft bounce.
        Full = "full",
        /// T: it will pass. Tried again.
        Transient = "transient",
        /// S: about this recipient, and not for sure. A soft bounce.
        Recipient = "recipient",
        /// P: policy, reputation or authentication of the sender. Never the recipient's fault.
        Policy = "policy",
        /// C: our content, size or format.
        Content = "content",
        /// X: our transport or its settings.
        Relay = "relay",
        /// Not a failure of anybody: it counts for nothing (x.1.9).
        Ignored = "ignored",
    }
}

words! {
    /// The part of the dialogue in which a rule holds.
    When {
        Always = "always",
        /// Up to and with MAIL: no recipient has been named.
        Before = "before",
        /// STARTTLS and AUTH.
        Entering = "entering",
        /// RCPT and later.
        Named = "named",
        Rcpt = "rcpt",
        /// DATA and later.
        After = "after",
    }
}

/// The reason of a [`ReplyClass::Relay`] that may be one odd recipient's.
pub const PROTOCOL: &str = "protocol";

/// A class with the reason for it: a stable word for logs and reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    pub class: ReplyClass,
    pub reason: Arc<str>,
}

impl Judgement {
    pub fn new(class: ReplyClass, reason: &str) -> Judgement {
        Judgement { class, reason: Arc::from(reason) }
    }
}

/// A condition on the enhanced code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// None, or one that says nothing (x.0.z).
    Absent,
    /// Subject and detail, for example `1.1`.
    Is(String),
    /// A subject with its dot, and any detail.
    Under(String),
}

/// One row. An empty list is no condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// A provider's name in [`ReplyRules::marks`].
    pub of: Option<String>,
    pub when: When,
    /// Basic codes.
    pub codes: Vec<u16>,
    pub status: Vec<Status>,
    /// Lower case; one of them must be in the text. A `*` stands for anything between.
    pub says: Vec<String>,
    /// What a 4xx means; `None`: the row does not hold for one.
    pub four: Option<ReplyClass>,
    pub five: Option<ReplyClass>,
    pub reason: Arc<str>,
}

impl Rule {
    /// Whether a 4xx or, with `five`, a 5xx can ever be this row's.
    pub fn reaches(&self, five: bool) -> bool {
        let class = if five { self.five } else { self.four };
        class.is_some() && (self.codes.is_empty() || self.codes.iter().any(|code| (*code >= 500) == five))
    }

    /// Whether this row, read first, leaves nothing to the other one.
    pub fn hides(&self, other: &Rule) -> bool {
        let when = self.when == other.when
            || match self.when {
                When::Always => true,
                When::Before => other.when == When::Entering,
                When::Named => matches!(other.when, When::Rcpt | When::After),
                When::Entering | When::Rcpt | When::After => false,
            };
        when && (self.of.is_none() || self.of == other.of)
            && is_within(&self.codes, &other.codes, |mine, theirs| mine == theirs)
            && is_within(&self.status, &other.status, Status::covers)
            && is_within(&self.says, &other.says, |mine, theirs| says(theirs, mine))
            && [false, true].into_iter().all(|five| self.reaches(five) || !other.reaches(five))
    }
}

/// Whether a list of conditions holds wherever another one does. An empty list holds always.
fn is_within<T>(mine: &[T], theirs: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    let covered = |one: &T| mine.iter().any(|of_mine| covers(of_mine, one));
    mine.is_empty() || (!theirs.is_empty() && theirs.iter().all(covered))
}

impl Status {
    fn covers(&self, other: &Status) -> bool {
        match (self, other) {
            (Status::Absent, Status::Is(one)) => one.starts_with("0."),
            (Status::Absent, Status::Under(subject)) => subject == "0.",
            (Status::Under(subject), Status::Is(one)) => one.starts_with(subject.as_str()),
            _ => self == other,
        }
    }
}

/// All rules in their order, with the marks that providers are known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyRules {
    pub rules: Vec<Rule>,
    /// How a provider's replies end, in lower case, and its name.
    pub marks: Vec<(String, String)>,
    /// Of what is not in doubt, and of what no rule holds for.
    taken: Judgement,
    unknown: [Judgement; 2],
}

impl ReplyRules {
    pub fn new(rules: Vec<Rule>, marks: Vec<(String, String)>) -> ReplyRules {
        let unknown = |class| Judgement::new(class, "unknown");
        ReplyRules {
            rules,
            marks,
            taken: Judgement::new(ReplyClass::Ignored, "taken"),
            unknown: [unknown(ReplyClass::Transient), unknown(ReplyClass::Recipient)],
        }
    }

    /// What this reply is about. A 2xx or 3xx is no failure, and costs no look at the rules.
    pub fn judge(&self, code: u16, enhanced: Option<&str>, text: &str, phase: Phase) -> Judgement {
        if code < 400 {
            return self.taken.clone();
        }
        let status = enhanced.and_then(|code| code.split_once('.')).map_or("", |(_, rest)| rest);
        let text = text.to_lowercase();
        let marks = self.marks.iter().filter(|(mark, _)| text.trim_end().ends_with(mark.as_str()));
        let of = marks.map(|(_, name)| name.as_str()).next();
        let seen = Seen { code, phase, status, text: &text, of };
        let found = self.rules.iter().find_map(|rule| seen.judged_by(rule));
        found.unwrap_or_else(|| self.unknown[usize::from(code >= 500)].clone())
    }
}

/// A reply, made ready for the rules.
struct Seen<'a> {
    code: u16,
    phase: Phase,
    /// Subject and detail without the class; empty where there is none.
    status: &'a str,
    text: &'a str,
    of: Option<&'a str>,
}

impl Seen<'_> {
    fn judged_by(&self, rule: &Rule) -> Option<Judgement> {
        let class = if self.code >= 500 { rule.five } else { rule.four }?;
        let holds = (rule.of.is_none() || rule.of.as_deref() == self.of)
            && self.is_when(rule.when)
            && (rule.codes.is_empty() || rule.codes.contains(&self.code))
            && (rule.status.is_empty() || rule.status.iter().any(|status| self.has(status)))
            && (rule.says.is_empty() || rule.says.iter().any(|words| says(self.text, words)));
        holds.then(|| Judgement { class, reason: rule.reason.clone() })
    }

    fn is_when(&self, when: When) -> bool {
        match when {
            When::Always => true,
            When::Before => self.phase.is_before_recipient(),
            When::Entering => matches!(self.phase, Phase::StartTls | Phase::Auth),
            When::Named => !self.phase.is_before_recipient(),
            When::Rcpt => self.phase == Phase::Rcpt,
            When::After => matches!(self.phase, Phase::Data | Phase::Dot),
        }
    }

    fn has(&self, status: &Status) -> bool {
        match status {
            Status::Absent => self.status.is_empty() || self.status.starts_with("0."),
            Status::Is(one) => self.status == one,
            Status::Under(subject) => self.status.starts_with(subject.as_str()),
        }
    }
}

/// Whether the text has the fragments of `words` in their order.
fn says(text: &str, words: &str) -> bool {
    let mut rest = text;
    words.split('*').all(|fragment| match rest.find(fragment) {
        Some(at) => {
            rest = &rest[at + fragment.len()..];
            true
        }
        None => false,
    })
}

/// Enough rows for the tests of this layer. Those that mail is judged by are a file that `config` reads and tests.
#[cfg(test)]
pub(super) mod samples {
    use super::ReplyClass::{Content, Full, Hard, Policy, Recipient, Relay, Transient};
    use super::{PROTOCOL, ReplyClass, ReplyRules, Rule, Status, When};

    type Columns = (Option<ReplyClass>, Option<ReplyClass>);

    fn row(when: When, status: &str, (four, five): Columns, reason: &str) -> Rule {
        let status = match status.strip_suffix('*') {
            _ if status.is_empty() => Vec::new(),
            Some(subject) => vec![Status::Under(subject.to_owned())],
            None => vec![Status::Is(status.to_owned())],
        };
        Rule {
            of: None,
            when,
            codes: Vec::new(),
            status,
            says: Vec::new(),
            four,
            five,
            reason: reason.into(),
        }
    }

    pub fn rules() -> ReplyRules {
        use When::{After, Always, Before};
        let both = |class| (Some(class), Some(class));
        let of = |four, five| (Some(four), Some(five));
        let not_let_in = row(Always, "", both(Relay), "not_let_in");
        let rows = vec![
            Rule { codes: vec![530, 535], ..not_let_in.clone() },
            Rule { says: vec!["relay access denied".to_owned()], ..not_let_in },
            row(Always, "7.8", both(Relay), "not_let_in"),
            row(Always, "3.4", both(Content), "too_large"),
            row(Before, "1.*", of(Transient, Relay), "sender_address"),
            row(Always, "5.3", both(Transient), "too_many_recipients"),
            row(Always, "5.*", both(Relay), PROTOCOL),
            row(Before, "7.*", both(Policy), "policy"),
            row(Before, "", of(Transient, Policy), "refused"),
            Rule { codes: vec![556], ..row(Always, "", both(Hard), "null_mx") },
            row(Always, "1.1", of(Transient, Hard), "no_such_mailbox"),
            row(Always, "1.10", of(Transient, Hard), "null_mx"),
            row(Always, "2.2", both(Full), "mailbox_full"),
            row(Always, "3.1", both(Transient), "system_full"),
            row(Always, "6.*", both(Content), "content"),
            row(Always, "7.*", both(Policy), "policy"),
            row(After, "", (None, Some(Policy)), "refused"),
            row(Always, "", of(Transient, Recipient), "unknown"),
        ];
        ReplyRules::new(rows, Vec::new())
    }
}
