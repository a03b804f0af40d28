//! The operator's settings, checked. Produced by `config`; secrets never print.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::address::{Address, Mailbox};
use super::delivery::DeliveryKind;
use super::problem::Spot;
use super::reply_rule::ReplyRules;
use super::sign_in;

/// What `config/tidings.toml` says, after environment and flags.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Signs links and addresses. The first one signs, all of them verify. Never empty.
    pub secrets: Vec<SecretString>,
    pub operators: Vec<Address>,
    pub message_id_domain: String,
    /// How long a stopping daemon waits for replies to messages in flight.
    pub drain: Duration,
    pub storage: StorageUrl,
    /// Never empty.
    pub relays: Vec<RelaySettings>,
    /// What replies and reports of failures mean.
    pub rules: Arc<ReplyRules>,
    pub domains: Vec<DomainSettings>,
    pub retry: RetrySettings,
    /// Empty: mail leaves unsigned. Each key that is aligned with a From signs its mail.
    pub dkim: Vec<DkimSettings>,
    pub addresses: AddressPatterns,
    pub intake: IntakeSettings,
    pub desk: DeskSettings,
    pub web: WebSettings,
    pub retention: RetentionSettings,
    /// A folder that overrides the embedded templates.
    pub templates: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub enum StorageUrl {
    /// The database file, already joined to the base folder.
    Sqlite(PathBuf),
    Postgres(SecretString),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelaySecurity {
    /// Loopback only (W112).
    None,
    StartTls,
    Implicit,
}

/// A count per span of time, for example 600 a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub per: Duration,
}

#[derive(Clone, Debug)]
pub struct RelaySettings {
    pub name: String,
    pub security: RelaySecurity,
    pub host: String,
    pub port: u16,
    pub username: Option<String>,
    pub password: Option<SecretString>,
    /// PEM: the only certificates that are trusted for this relay; `None`: those that this machine trusts.
    pub ca: Option<String>,
    /// At least 1.
    pub connections: usize,
    /// All of them hold at once; empty: no limit.
    pub rates: Vec<Rate>,
    pub messages_per_connection: u32,
    pub weight: u32,
    /// What EHLO says; a name with at least two parts (W115).
    pub hello: String,
    /// The addresses that mail by this relay reaches other servers from; empty: they are not ours to look after.
    pub sends_from: Vec<std::net::IpAddr>,
    /// What its replies mean: the same for all relays.
    pub rules: Arc<ReplyRules>,
}

/// A lane: recipient domains that share a limit.
#[derive(Clone, Debug)]
pub struct DomainSettings {
    /// Lower case, A-labels. Never empty.
    pub matches: Vec<String>,
    pub rates: Vec<Rate>,
    /// Deliveries of this lane that one process has in flight at once; `None`: as many as there are connections.
    pub connections: Option<usize>,
}

impl DomainSettings {
    /// Its first domain.
    pub fn name(&self) -> &str {
        self.matches.first().map_or("", String::as_str)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUncertain {
    Resend,
    Hold,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrySettings {
    /// Waits before the second, third, ... attempt; the last one repeats. Never empty.
    pub schedule: Vec<Duration>,
    /// Counted from the first attempt.
    pub give_up: Duration,
    pub on_uncertain: OnUncertain,
}

impl RetrySettings {
    /// What holds for a delivery of this kind: a link that works for minutes is not mailed for days.
    pub fn of(&self, kind: DeliveryKind) -> Cow<'_, RetrySettings> {
        match kind {
            DeliveryKind::SignIn => {
                Cow::Owned(RetrySettings { give_up: self.give_up.min(sign_in::LINK_FOR), ..self.clone() })
            }
            _ => Cow::Borrowed(self),
        }
    }
}

#[derive(Clone, Debug)]
pub struct DkimSettings {
    pub domain: String,
    pub selector: String,
    /// PEM.
    pub key: SecretString,
    pub domain_spot: Spot,
    pub key_spot: Spot,
}

/// Names the record of a DKIM key below `_domainkey` (RFC 6376 section 3.1): DNS labels, usually one.
pub fn is_selector(text: &str) -> bool {
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        (1..=63).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 128 && text.split('.').all(label)
}

/// Addresses with `{token}` in the local part; `join` has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressPatterns {
    pub reply: AddressPattern,
    pub bounce: AddressPattern,
    pub unsubscribe: Option<AddressPattern>,
    pub join: Option<Address>,
}

/// `support+{token}@news.example.org`, split at the token.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AddressPattern {
    pub before: String,
    pub after: String,
    pub domain: String,
}

impl AddressPattern {
    /// The address that carries `token`.
    pub fn with(&self, token: &str) -> String {
        format!("{}{token}{}@{}", self.before, self.after, self.domain)
    }

    /// The token in an address of this pattern, in lower case. Compares without case, because relays change it (W128).
    pub fn token_in(&self, address: &str) -> Option<String> {
        let address = address.to_lowercase();
        let (local, domain) = address.rsplit_once('@')?;
        if domain != self.domain.to_lowercase() {
            return None;
        }
        let token =
            local.strip_prefix(&self.before.to_lowercase())?.strip_suffix(&self.after.to_lowercase())?;
        (!token.is_empty()).then(|| token.to_owned())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    Tcp(std::net::SocketAddr),
    Unix(PathBuf),
}

impl std::fmt::Display for Listen {
    /// As in the file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Listen::Tcp(address) => address.fmt(f),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The LMTP listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LmtpSettings {
    pub listen: Listen,
    /// Permissions of a socket file.
    pub mode: u32,
    /// At once; one more is asked to come later.
    pub sessions: usize,
}

/// What becomes of a message in a mailbox once it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AfterImap {
    /// Nothing: the mailbox is not changed at all.
    Keep,
    /// It gets a keyword, which no mail program shows.
    Flag,
    /// It goes to this folder.
    Move(String),
}

#[derive(Clone, Debug)]
pub struct ImapSettings {
    /// `None` on this machine only.
    pub security: RelaySecurity,
    pub host: String,
    pub port: u16,
    pub username: String,
    pub password: SecretString,
    /// PEM: the only certificates that are trusted; `None`: those that this machine trusts.
    pub ca: Option<String>,
    pub mailbox: String,
    pub after: AfterImap,
    /// Whether what lies in the mailbox when it is first seen is taken too.
    pub backlog: bool,
    /// How often it is looked into where the server does not tell of new mail.
    pub poll: Duration,
}

impl ImapSettings {
    /// Names the mailbox in rows, logs and alarms: `INBOX of support at imap.example.org`. Not the port and not the kind of TLS:
    /// moving to another of those is not another mailbox.
    pub fn place(&self) -> String {
        format!("{} of {} at {}", self.mailbox, self.username, self.host)
    }
}

/// What becomes of a file in a Maildir once it is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterMaildir {
    /// It goes to `cur`, unseen.
    Keep,
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaildirSettings {
    pub path: PathBuf,
    pub after: AfterMaildir,
    /// How often `new` is looked into.
    pub poll: Duration,
}

#[derive(Clone, Debug)]
pub struct IntakeSettings {
    pub authserv_id: Option<String>,
    /// The name server for keys of signatures and for the doctor; `None`: the system's.
    pub resolver: Option<std::net::SocketAddr>,
    pub lmtp: Option<LmtpSettings>,
    pub imap: Option<ImapSettings>,
    pub maildir: Option<MaildirSettings>,
    /// A larger message is refused at the door, in bytes.
    pub max_message: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaffMember {
    pub name: String,
    pub email: Address,
}

#[derive(Clone, Debug)]
pub struct DeskSettings {
    /// The one address that a subscriber ever sees.
    pub mailbox: Mailbox,
    pub staff: Vec<StaffMember>,
}

/// How long details are kept (W191); `None`: for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionSettings {
    /// The bytes of received mail, and who sent it, counted from its arrival. Those of an open conversation stay.
    pub messages: Option<Duration>,
    /// What peers said about each delivery, and the words of mails to one person, counted from the settlement.
    pub replies: Option<Duration>,
    pub audit: Option<Duration>,
    /// From where in the network somebody asked or agreed.
    pub networks: Option<Duration>,
}

#[derive(Clone, Debug)]
pub struct WebSettings {
    pub listen: Option<std::net::SocketAddr>,
    pub private: Option<std::net::SocketAddr>,
    /// Where staff and editors reach the private pages: what links in mails to them begin with. No slash at the end.
    pub private_url: Option<String>,
    /// Whose X-Forwarded-For is believed.
    pub proxies: Vec<super::allowance::Network>,
}

impl WebSettings {
    /// Where staff and editors reach the private pages, without a slash at the end. Empty where there are none.
    pub fn private_base(&self) -> String {
        let listener = || self.private.map(|address| format!("http://{address}")).unwrap_or_default();
        self.private_url.clone().unwrap_or_else(listener)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_dns_labels() {
        for good in ["t1", "S2026", "2026-11.mail", "_a", "k1"] {
            assert!(is_selector(good), "{good}");
        }
        for bad in ["", ".", "a.", "-a", "a-", "a b", "ü", "a;s=b", "a\r\nX", &"a".repeat(64)] {
            assert!(!is_selector(bad), "{bad}");
        }
    }

    #[test]
    fn a_link_for_minutes_is_not_tried_for_days() {
        let days = RetrySettings {
            schedule: vec![Duration::from_secs(300)],
            give_up: Duration::from_secs(4 * 86_400),
            on_uncertain: OnUncertain::Resend,
        };
        assert_eq!(days.of(DeliveryKind::SignIn).give_up, sign_in::LINK_FOR);
        assert_eq!(days.of(DeliveryKind::Edition).give_up, days.give_up);
    }

    #[test]
    fn a_pattern_finds_its_token_without_case() {
        let pattern = AddressPattern {
            before: "support+".into(),
            after: String::new(),
            domain: "news.example.org".into(),
        };
        assert_eq!(pattern.with("abc"), "support+abc@news.example.org");
        assert_eq!(pattern.token_in("Support+ABC@NEWS.example.org").as_deref(), Some("abc"));
        assert_eq!(pattern.token_in("support+@news.example.org"), None);
        assert_eq!(pattern.token_in("support+abc@other.example.org"), None);
        assert_eq!(pattern.token_in("bounce+abc@news.example.org"), None);
    }
}
