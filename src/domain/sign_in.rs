//! Signing in with a mailed link: who, for how long, and how many links an address gets. No passwords.

use std::time::Duration;

use super::address::Address;
use crate::runtime::Timestamp;

/// A link works once, within this.
pub const LINK_FOR: Duration = Duration::from_secs(15 * 60);

/// A reader stays signed in for this long; nothing prolongs it.
const READER_FOR: Duration = Duration::from_secs(30 * 86_400);

/// Staff and editors, who see other people's words.
const HOUSE_FOR: Duration = Duration::from_secs(7 * 86_400);

/// Links for one address that work at the same time, and in a day: mails that somebody else may have asked for.
const OPEN: i64 = 3;
const A_DAY: i64 = 10;

/// Which pages somebody signs in to. A link of one is worthless on the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The archive: subscribers.
    Public,
    /// Desk and board: staff and editors.
    Private,
}

/// Who a link or a cookie stands for, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// Row of the subscriber.
    Subscriber(i64),
    /// Key of an address of the house. What it may do is asked each time: who has left is out at once.
    House(String),
}

impl Account {
    pub fn place(&self) -> Place {
        match self {
            Account::Subscriber(_) => Place::Public,
            Account::House(_) => Place::Private,
        }
    }

    /// How long a session of theirs lasts.
    pub fn session_for(&self) -> Duration {
        match self {
            Account::Subscriber(_) => READER_FOR,
            Account::House(_) => HOUSE_FOR,
        }
    }
}

/// Who somebody is who is signed in, at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Row of the subscriber.
    Subscriber(i64),
    /// Row of the member of staff, where they are one; whether they are an editor. At least one of the two.
    House { staff: Option<i64>, editor: bool },
}

/// Somebody who is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub id: i64,
    pub who: Who,
    /// May be empty.
    pub name: String,
    pub address: Address,
    pub expires_at: Timestamp,
}

/// A link was used: what the cookie holds from now on, for how long, and where to go. Never printed.
#[derive(Clone)]
pub struct Opened {
    pub cookie: String,
    pub expires_at: Timestamp,
    pub back: String,
}

/// Links that one address was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Links {
    pub open: i64,
    pub today: i64,
}

impl Links {
    /// Whether it may get another one.
    pub fn may_send(self) -> bool {
        self.open < OPEN && self.today < A_DAY
    }
}

/// Where to go after signing in: a path of these pages, or nothing. Never another site, whatever a form says.
pub fn way_back(text: &str) -> &str {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
    let own = text.starts_with('/') && !text.contains("//") && !text.contains("..");
    if own && text.len() <= 200 && text.chars().all(plain) { text } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_stays_on_these_pages() {
        for good in ["/archive/model-compression", "/", "/threads/12"] {
            assert_eq!(way_back(good), good);
        }
        for bad in [
            "",
            "archive",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a?next=//b",
            "/../x",
            "/a\r\nSet-Cookie: x",
            "/a%2f%2fb",
            &format!("/{}", "a".repeat(200)),
        ] {
            assert_eq!(way_back(bad), "", "{bad}");
        }
    }

    #[test]
    fn an_address_gets_few_links_at_a_time() {
        assert!(Links { open: 2, today: 9 }.may_send());
        assert!(!Links { open: 3, today: 3 }.may_send());
        assert!(!Links { open: 0, today: 10 }.may_send());
    }
}
