//! Mail that comes back: editions that are sent, and reports about them to their return paths.

use tidings::domain::settings::OnUncertain;
use tidings::domain::suppression::SuppressionReason;
use tidings::domain::token::{Purpose, Subject};
use tidings::runtime::Timestamp;
use tidings::store::inbound::InboundRow;
use tidings::store::{Store, deliveries, editions, suppressions};

use super::peer::Peer;
use super::receiving::Receiving;
use super::sending::{Sending, edition, queued_edition};

pub const DAY: i64 = 86_400_000;
pub const WEEK: i64 = 7 * DAY;

/// A report in the form of RFC 3464, with the returned header where `copy` has one.
pub fn dsn(address: &str, action: &str, status: &str, diagnostic: &str, copy: &str) -> String {
    format!(
        "From: MAILER-DAEMON@relay.example.net\r\nTo: bounce@news.example.org\r\nSubject: Undelivered\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nIt did not work.\r\n\
         --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; relay.example.net\r\n\r\n\
         Final-Recipient: rfc822; {address}\r\nAction: {action}\r\nStatus: {status}\r\n\
         Diagnostic-Code: {diagnostic}\r\n\r\n\
         --b\r\nContent-Type: text/rfc822-headers\r\n\r\nSubject: News\r\n{copy}\r\n--b--\r\n"
    )
}

pub fn gone(address: &str) -> String {
    dsn(address, "failed", "5.1.1", "smtp; 550 5.1.1 no such user", "")
}

pub fn complaint(kind: &str, copy: &str) -> String {
    format!(
        "From: feedback@provider.example\r\nTo: bounce@news.example.org\r\nSubject: FW: News\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nAn email abuse report.\r\n\
         --b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: {kind}\r\nUser-Agent: x/1\r\n\
         Version: 0.1\r\nOriginal-Rcpt-To: redacted@provider.example\r\n\r\n\
         --b\r\nContent-Type: message/rfc822\r\n\r\nFrom: weekly@news.example.org\r\n{copy}Subject: News\r\n\r\nwords\r\n--b--\r\n"
    )
}

pub struct World {
    pub line: Receiving,
    pub sending: Sending,
    pub store: Store,
}

impl World {
    pub async fn start(store: &Store, people: usize) -> World {
        World::with(store, people, &Peer::willing().await).await
    }

    pub async fn with(store: &Store, people: usize, peer: &Peer) -> World {
        queued_edition(store, people).await;
        let sending = Sending::start(store, peer, OnUncertain::Resend).await;
        World { line: Receiving::start(store).await, sending, store: store.clone() }
    }

    /// Sends an edition of this slug at that time; the first one, `weekly`, is in the queue.
    pub async fn send(&self, slug: &str, at: i64) {
        let at = Timestamp(at);
        self.sending.clock.set(at);
        if slug != "weekly" {
            let mut tx = self.store.write().await.unwrap();
            let new = editions::NewEdition { due_at: at, ..edition(slug, &["free"]) };
            editions::queue(&mut tx, &new, at).await.unwrap().unwrap();
            tx.commit().await.unwrap();
        }
        self.sending.drain().await;
    }

    pub async fn delivery(&self, slug: &str, number: usize) -> i64 {
        let mut tx = self.store.read().await.unwrap();
        deliveries::list(&mut tx, Some(slug), None, 0, 1000).await.unwrap()[number].id
    }

    /// A token of that delivery's return path.
    pub fn token(&self, delivery: i64) -> String {
        self.line.setup.keyring.mint(Subject { purpose: Purpose::Bounce, row: delivery, second: 0 })
    }

    /// A report to the return path of that delivery.
    pub async fn report(&self, delivery: i64, raw: &str, at: i64) -> InboundRow {
        let to = self.line.address(Purpose::Bounce, delivery, 0);
        self.line.take_at(&to, "", raw.as_bytes(), Timestamp(at)).await
    }

    pub async fn suppression(&self, address: &str) -> Option<SuppressionReason> {
        let address = tidings::domain::address::Address::parse(address).unwrap();
        let found = suppressions::of(&mut self.store.read().await.unwrap(), &address).await.unwrap();
        found.map(|found| found.reason)
    }

    pub async fn suppressed(&self) -> usize {
        suppressions::list(&mut self.store.read().await.unwrap()).await.unwrap().len()
    }
}
