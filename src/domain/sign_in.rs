//! Signing in with a mailed link: who, for how long, and how many links an address gets. No passwords.
//!
//! Anybody may ask for anybody's link, so what is asked for from one place must not use up what another place may ask for, and all
//! places together must not fill a mailbox. Whoever shows a link of a mail that the reader got asks on an account of its own: so
//! readers always have a way in, however many strangers ask for them.

use std::net::IpAddr;
use std::time::Duration;

use super::address::Address;
use super::allowance::Network;
use crate::runtime::Timestamp;

/// A link works once, within this.
pub const LINK_FOR: Duration = Duration::from_secs(15 * 60);

/// A reader stays signed in for this long; nothing prolongs it.
const READER_FOR: Duration = Duration::from_secs(30 * 86_400);

/// Staff and editors, who see other people's words.
const HOUSE_FOR: Duration = Duration::from_secs(7 * 86_400);

/// Links for one address that one asker made to work at the same time, and that they asked for in a day.
const OPEN: i64 = 3;
const A_DAY: i64 = 5;

/// Links for one address in a day, whoever asked; those not counted that were asked for with a link of ours.
const ALL_A_DAY: i64 = 15;

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

/// Somebody asks for a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    pub place: Place,
    pub address: Address,
    /// Where they want to go, see [`way_back`].
    pub back: String,
    pub from: IpAddr,
    /// The subscriber whose link, of a mail to them, they have.
    pub holds: Option<i64>,
}

impl Wish {
    /// The neighbourhood that it comes from.
    pub fn network(&self) -> Network {
        Network::of(self.from, if self.from.to_canonical().is_ipv4() { 24 } else { 48 })
    }
}

/// Links that one address was sent within a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// By this asker: those that still work, and all.
    pub open: i64,
    pub here: i64,
    /// By everybody who showed no link of ours.
    pub all: i64,
}

impl Links {
    /// Whether it may get another one. `holds`: who asks has a link of a mail to it.
    pub fn may_send(self, holds: bool) -> bool {
        self.open < OPEN && self.here < A_DAY && (holds || self.all < ALL_A_DAY)
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
        let links = |open, here, all| Links { open, here, all };
        for holds in [false, true] {
            assert!(links(2, 4, 14).may_send(holds));
            assert!(!links(3, 3, 3).may_send(holds));
            assert!(!links(0, 5, 5).may_send(holds));
        }
        assert!(!links(0, 0, 15).may_send(false));
        assert!(links(0, 0, 1000).may_send(true), "strangers use nothing up of it");
    }

    #[test]
    fn a_neighbourhood_is_one_asker() {
        let from = |text: &str| Wish {
            place: Place::Public,
            address: Address::trusted("a@x.example".into()),
            back: String::new(),
            from: text.parse().unwrap(),
            holds: None,
        };
        assert_eq!(from("192.0.2.1").network(), from("192.0.2.200").network());
        assert_eq!(from("::ffff:192.0.2.1").network(), from("192.0.2.200").network());
        assert_ne!(from("192.0.2.1").network(), from("192.0.3.1").network());
        assert_eq!(from("2001:db8:1:2::1").network(), from("2001:db8:1:3::1").network());
        assert_ne!(from("2001:db8:1::1").network(), from("2001:db8:2::1").network());
    }
}
