//! Signing in: a link by mail, a button, a session. The same for readers on the public pages and for staff and editors on the
//! private ones; [`Place`] says which, and nothing of one opens the other.
//!
//! A private page asks [`SignIn::session`] with what the cookie holds and gets who that is now: a member of staff who has left, an
//! editor who is no longer named and a person who was erased are out at once, whatever the cookie says. In `web` the extractor
//! `Signed` does it for a page; see `web/sign_in.rs`.
//! What asking answers, writes and costs is the same for every address (W210). Where a question came from is kept for a day, as a
//! keyed hash together with the address.

use super::content::Content;
use super::frames;
use super::readers::{Readers, To, later, queue, unprintable};
use super::receive::EffectProblem;
use crate::domain::address::Address;
use crate::domain::body::Body;
use crate::domain::delivery::DeliveryKind;
use crate::domain::sign_in::{self, Account, Opened, Place, Session, Who, Wish};
use crate::domain::subscriber::SubscriberStatus;
use crate::domain::suppression::SuppressionReason;
use crate::mail::secret::Secret;
use crate::render::{SignInInput, render_sign_in};
use crate::runtime::{Masked, Timestamp};
use crate::store::sessions::{self, NewSignIn};
use crate::store::{StoreError, Tx, people, staff, suppressions};

/// The steps of signing in, over what readers' steps have.
#[derive(Clone)]
pub struct SignIn(pub Readers);

/// Whom a link goes to.
struct Addressee {
    account: Account,
    /// Set for staff.
    staff: Option<i64>,
}

impl SignIn {
    /// Mails a link to the address, if somebody has it who may sign in there.
    ///
    /// # Errors
    /// When the database fails or the mail cannot be rendered.
    pub async fn ask(&self, wish: &Wish, now: Timestamp) -> Result<(), EffectProblem> {
        let readers = &self.0;
        let (place, address) = (wish.place, &wish.address);
        let content = readers.shelf.get();
        let secret = random()?;
        let expires_at = later(now, sign_in::LINK_FOR);
        let publication = &content.publication;
        let input = SignInInput {
            publication,
            support: &content.support,
            address: address.as_str(),
            until: &publication.date(expires_at, "%H:%M"),
            minutes: sign_in::LINK_FOR.as_secs() / 60,
            sign_in: &format!("{}/s/{}", self.base(place, &content), secret.reveal()),
        };
        // Rendered for everybody, so that the answer takes as long.
        let body = render_sign_in(&content.templates, &input).map_err(unprintable)?;
        let mut tx = readers.store.write().await?;
        let addressee = addressee(&mut tx, place, address, &content).await?;
        let account = addressee.as_ref().map(|found| &found.account);
        let holds = wish.holds.is_some_and(|id| account == Some(&Account::Subscriber(id)));
        let hashes = self.hashes(wish, holds);
        let links = sessions::links(&mut tx, &hashes, now).await?;
        let addressee = addressee.filter(|_| links.may_send(holds));
        let new = NewSignIn {
            hash: &secret.hash(),
            fingerprint: &hashes[0].0,
            asker: &hashes[0].1,
            account: addressee.as_ref().map(|found| &found.account),
            back: sign_in::way_back(&wish.back),
            expires_at,
        };
        sessions::ask(&mut tx, &new, now).await?;
        if let Some(found) = &addressee {
            self.mail(&mut tx, (found, address), &body, now).await?;
        }
        tx.commit().await?;
        readers.wake.notify_waiters();
        tracing::info!(to = %Masked(address.as_str()), ?place, mailed = addressee.is_some(), "somebody asked to sign in");
        Ok(())
    }

    async fn mail(
        &self,
        tx: &mut Tx,
        (found, address): (&Addressee, &Address),
        body: &Body,
        now: Timestamp,
    ) -> Result<(), EffectProblem> {
        let readers = &self.0;
        let content = readers.shelf.get();
        let publication = &content.publication;
        let (to, frame) = match (&found.account, found.staff) {
            (Account::Subscriber(id), _) => (To::Person(*id), frames::reader(&readers.settings, publication)),
            (Account::House(_), Some(id)) => {
                (To::Staff(id, address.as_str()), frames::notice(&readers.settings, publication))
            }
            (Account::House(_), None) => {
                (To::Address(address.as_str()), frames::report(&readers.settings, publication, 0))
            }
        };
        queue(tx, (DeliveryKind::SignIn, to), (&frame, body), now).await
    }

    /// What the address and the asker are counted by, under each of our keys.
    fn hashes(&self, wish: &Wish, holds: bool) -> Vec<(String, String)> {
        let keyring = &self.0.keyring;
        let key = wish.address.key();
        let askers = keyring.fingerprints(&format!("{:?} asks for {key}", wish.network()));
        let asker = |asker| if holds { sessions::HOLDER.to_owned() } else { asker };
        keyring.fingerprints(&key).into_iter().zip(askers.into_iter().map(asker)).collect()
    }

    /// Whom a link lets in that still works there. Looking uses nothing up.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn look(
        &self,
        place: Place,
        link: &str,
        now: Timestamp,
    ) -> Result<Option<Address>, StoreError> {
        let Some(link) = Secret::read(link) else { return Ok(None) };
        let mut tx = self.0.store.read().await?;
        let Some(found) = sessions::look(&mut tx, &link.hash(), place, now).await? else { return Ok(None) };
        Ok(self.who(&mut tx, &found.account).await?.map(|(_, _, address)| address))
    }

    /// Uses a link up and opens a session. `None`: the link does not work, or not any more.
    ///
    /// # Errors
    /// When the database fails; the link still works then.
    pub async fn open(
        &self,
        place: Place,
        link: &str,
        now: Timestamp,
    ) -> Result<Option<Opened>, EffectProblem> {
        let Some(link) = Secret::read(link) else { return Ok(None) };
        let cookie = random()?;
        let mut tx = self.0.store.write().await?;
        let Some(used) = sessions::take(&mut tx, &link.hash(), place, now).await? else { return Ok(None) };
        let expires_at = later(now, used.account.session_for());
        let id = sessions::open(&mut tx, &cookie.hash(), &used.account, expires_at, now).await?;
        // Somebody who may not be here any more uses the link up all the same.
        let known = self.who(&mut tx, &used.account).await?.is_some();
        if !known {
            sessions::close(&mut tx, id).await?;
        }
        tx.commit().await?;
        Ok(known.then(|| Opened { cookie: cookie.reveal().to_owned(), expires_at, back: used.back }))
    }

    /// Who somebody is who shows this cookie on these pages.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn session(
        &self,
        place: Place,
        cookie: &str,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        let Some(cookie) = Secret::read(cookie) else { return Ok(None) };
        let mut tx = self.0.store.read().await?;
        let stored = sessions::by_hash(&mut tx, &cookie.hash(), now).await?;
        let Some(stored) = stored.filter(|stored| stored.account.place() == place) else { return Ok(None) };
        let found = self.who(&mut tx, &stored.account).await?;
        Ok(found.map(|(who, name, address)| Session {
            id: stored.id,
            who,
            name,
            address,
            expires_at: stored.expires_at,
        }))
    }

    /// Ends a session; with `everywhere`, all of the same person, and the links that they were sent.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn close(&self, session: &Session, everywhere: bool) -> Result<(), StoreError> {
        let mut tx = self.0.store.write().await?;
        if everywhere {
            let account = match session.who {
                Who::Subscriber(id) => Account::Subscriber(id),
                Who::House { .. } => Account::House(session.address.key()),
            };
            sessions::close_all(&mut tx, &account).await?;
        } else {
            sessions::close(&mut tx, session.id).await?;
        }
        tx.commit().await
    }

    /// What an account is at this moment; `None`: nothing any more.
    async fn who(
        &self,
        tx: &mut Tx,
        account: &Account,
    ) -> Result<Option<(Who, String, Address)>, StoreError> {
        match account {
            Account::Subscriber(id) => {
                let person =
                    people::by_id(tx, *id).await?.filter(|person| !person.address.as_str().is_empty());
                Ok(person.map(|person| (Who::Subscriber(person.id), person.name, person.address)))
            }
            Account::House(key) => {
                let member = staff::by_key(tx, key).await?;
                let content = self.0.shelf.get();
                let editor = content.publication.editors.iter().find(|editor| editor.key() == *key);
                let address = match (&member, editor) {
                    (Some(member), _) => Address::trusted(member.address.clone()),
                    (None, Some(editor)) => editor.clone(),
                    (None, None) => return Ok(None),
                };
                let who = Who::House { staff: member.as_ref().map(|one| one.id), editor: editor.is_some() };
                Ok(Some((who, member.map(|one| one.name).unwrap_or_default(), address)))
            }
        }
    }

    fn base(&self, place: Place, content: &Content) -> String {
        match place {
            Place::Public => content.publication.url.clone(),
            Place::Private => self.0.settings.web.private_base(),
        }
    }
}

/// Who may sign in there with this address. Who has left still reads what they paid for; who never confirmed, bounced or complained
/// gets no mail.
async fn addressee(
    tx: &mut Tx,
    place: Place,
    address: &Address,
    content: &Content,
) -> Result<Option<Addressee>, StoreError> {
    let key = address.key();
    let suppression = suppressions::of(tx, address).await?.map(|found| found.reason);
    if suppression.is_some_and(|reason| reason != SuppressionReason::Unsubscribed) {
        return Ok(None);
    }
    match place {
        Place::Public => {
            let person = people::by_key(tx, &key).await?;
            let person = person.filter(|person| person.status != SubscriberStatus::Pending);
            Ok(match person {
                // An erasing comes before or after.
                Some(person) if people::hold(tx, person.id).await? => {
                    Some(Addressee { account: Account::Subscriber(person.id), staff: None })
                }
                _ => None,
            })
        }
        Place::Private => {
            let staff = staff::by_key(tx, &key).await?.map(|member| member.id);
            let editor = content.publication.editors.iter().any(|editor| editor.key() == key);
            let known = staff.is_some() || editor;
            Ok(known.then_some(Addressee { account: Account::House(key), staff }))
        }
    }
}

fn random() -> Result<Secret, EffectProblem> {
    Secret::random().map_err(|error| EffectProblem::Message(format!("no random numbers: {error}")))
}
