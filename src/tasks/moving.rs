//! A person wants their mails at another address: that address is asked, and counts once it has answered. The old one is told.
//!
//! Known gap: a person cannot move to an address that the store knows as somebody else's, themselves before they left included.

use std::net::IpAddr;

use super::readers::{AT, DAY, Readers, To, WEBSITE, later, unprintable};
use super::receive::EffectProblem;
use crate::domain::address::Address;
use crate::domain::delivery::DeliveryKind;
use crate::domain::joining::{self, Asked, Confirmed, RequestKind};
use crate::domain::sign_in::Account;
use crate::render::{AddressToldInput, ConfirmInput, render_address, render_address_told};
use crate::runtime::{Masked, Timestamp};
use crate::store::people::Evidence;
use crate::store::requests::{self, NewRequest, Request};
use crate::store::{Tx, people, sessions};

impl Readers {
    /// A person wants their mails at another address: that address is asked. What the page says tells nothing about it.
    ///
    /// # Errors
    /// When the database fails or the mail cannot be rendered.
    pub async fn ask_to_move(
        &self,
        subscriber: i64,
        address: &Address,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<Asked, EffectProblem> {
        let content = self.shelf.get();
        let fingerprints = self.keyring.fingerprints(&address.key());
        let mut tx = self.store.write().await?;
        if !people::hold(&mut tx, subscriber).await? {
            return Ok(Asked::Noted);
        }
        let asks = requests::asks(&mut tx, &fingerprints, now).await?;
        let taken = people::by_key(&mut tx, &address.key()).await?.is_some();
        let suppressed = self.suppression(&mut tx, address).await?.is_some();
        let free = !taken && !suppressed && !asks.is_spent() && !asks.is_flood();
        if free {
            let request = NewRequest {
                kind: RequestKind::Address,
                subscriber,
                address,
                asked: &format!("asked on the preferences page at {} from {from}", now.rfc3339()),
                expires_at: later(now, joining::PENDING_FOR),
            };
            let id = requests::enter(&mut tx, &request, now).await?;
            let confirm = self.confirm_link(id, address);
            let publication = &content.publication;
            let input = ConfirmInput {
                publication,
                support: &content.support,
                address: address.as_str(),
                asked_at: &publication.date(now, AT),
                asked_where: "",
                gets: "",
                expires: &publication.date(request.expires_at, DAY),
                confirm: &confirm,
            };
            let body = render_address(&content.templates, &input).map_err(unprintable)?;
            let to = To::Address(address.as_str());
            self.queue(&mut tx, &content, (DeliveryKind::Confirm, to), &body, now).await?;
        }
        requests::note_ask(&mut tx, &fingerprints[0], free, now).await?;
        tx.commit().await?;
        self.wake.notify_waiters();
        Ok(Asked::Noted)
    }

    pub(super) async fn move_now(
        &self,
        tx: &mut Tx,
        request: &Request,
        evidence: &str,
        now: Timestamp,
    ) -> Result<Confirmed, EffectProblem> {
        let Some(person) = people::by_id(tx, request.subscriber).await? else { return Ok(Confirmed::Gone) };
        let suppressed = self.suppression(tx, &request.address).await?.is_some();
        if suppressed || !people::move_to(tx, person.id, &request.address, now).await? {
            return Ok(Confirmed::Taken);
        }
        // Whoever reads the old mailbox is out.
        sessions::close_all(tx, &Account::Subscriber(person.id)).await?;
        let key = request.address.key();
        let text = format!("the address was changed: {evidence}");
        let line = Evidence { key: &key, at: now, source: WEBSITE, text: &text };
        people::add_evidence(tx, &[line]).await?;
        let content = self.shelf.get();
        let input = AddressToldInput {
            publication: &content.publication,
            support: &content.support,
            name: &person.name,
            old: person.address.as_str(),
            new: &Masked(request.address.as_str()).to_string(),
        };
        let body = render_address_told(&content.templates, &input).map_err(unprintable)?;
        let to = To::Address(person.address.as_str());
        self.queue(tx, &content, (DeliveryKind::Notice, to), &body, now).await?;
        Ok(Confirmed::Moved)
    }
}
