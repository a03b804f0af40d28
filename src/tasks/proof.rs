//! The proof of an edition: the very mail of each tier, for people who check it before readers get it.
//!
//! Of a queued edition it is the frozen body; before that, the files as they are now, with the articles that the slot's date would
//! take. By mail it leaves through the queue like everything else: a delivery that belongs to no edition, so that no number
//! counts it, with the edition's own body. Its links carry [`NOBODY`], so that an editor who tries them unsubscribes nobody, and
//! answers to it are an editor's words about the edition.
//!
//! [`NOBODY`]: crate::domain::token::NOBODY

use super::content::Content;
use super::week;
use crate::domain::address::Address;
use crate::domain::body::{Body, Field, Values};
use crate::domain::delivery::DeliveryKind;
use crate::domain::problem::Problem;
use crate::domain::publication::{Publication, TierId};
use crate::mail::compose::Frame;
use crate::runtime::Timestamp;
use crate::store::bodies::NewBody;
use crate::store::deliveries::{self, DeskMail};
use crate::store::editions;
use crate::store::{Store, StoreError, Tx, bodies};

/// One tier's mail of one edition.
#[derive(Clone, Debug)]
pub struct Proof {
    pub tier: TierId,
    pub frame: Frame,
    pub body: Body,
    pub warnings: Vec<Problem>,
    /// The row of the queued edition; 0: it is not queued.
    pub edition: i64,
    /// The row of the frozen body; `None`: it was rendered from the files.
    stored: Option<i64>,
}

/// The reader whom a proof is filled in for.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    pub name: &'a str,
    pub address: &'a str,
    pub tier_label: &'a str,
    pub term_ends: &'a str,
}

/// What fills the holes of a proof that is looked at. Its links lead to pages that change nothing.
pub fn values(publication: &Publication, frame: &Frame, sample: &Sample<'_>) -> Values {
    let url = &publication.url;
    let mut values = Values::default();
    values
        .set(Field::SubscriberName, sample.name)
        .set(Field::SubscriberAddress, sample.address)
        .set(Field::SubscriberTierLabel, sample.tier_label)
        .set(Field::SubscriberTermEnds, sample.term_ends)
        .set(Field::LinkUnsubscribe, format!("{url}/u/preview"))
        .set(Field::LinkPreferences, format!("{url}/p/preview"))
        .set(Field::LinkView, format!("{url}/v/preview"))
        .set(Field::LinkArchive, frame.archive_url.as_deref().unwrap_or(""))
        .set(Field::LinkUpgrade, frame.upgrade_url.as_deref().unwrap_or(""));
    values
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProofProblem {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no such edition")]
    Unknown,
    /// Nothing of it was or would be sent.
    #[error("{0}")]
    Nothing(String),
    #[error("it does not render")]
    Files(Vec<Problem>),
}

/// The proofs of an edition, one for each tier. Without a store: of a one-off, as if nothing had ever been queued.
///
/// # Errors
/// Why there are none.
pub async fn of(
    store: Option<&Store>,
    content: &Content,
    frame: &Frame,
    slug: &str,
    now: Timestamp,
) -> Result<Vec<Proof>, ProofProblem> {
    if let Some(store) = store
        && let Some(frozen) = frozen(store, slug).await?
    {
        return Ok(frozen);
    }
    let due = week::planned(content, slug, now)?.ok_or(ProofProblem::Unknown)?;
    let (edition, number) = match (store, due) {
        (Some(store), due) => {
            let edition = week::plan(store, content, &due).await?.map_err(ProofProblem::Nothing)?;
            (edition, editions::queued_count(&mut store.read().await?).await? + 1)
        }
        (None, week::Due::OneOff(edition)) => (edition, 1),
        (None, week::Due::Date { .. }) => {
            let why = "which articles a slot's date takes, only the database knows, and it cannot be reached";
            return Err(ProofProblem::Nothing(why.to_owned()));
        }
    };
    let mut proofs = Vec::new();
    let mut problems = Vec::new();
    for tier in &edition.tiers {
        match content.render(&edition, tier, number) {
            Ok((body, warnings)) => {
                let frame = frame.of_edition(&edition.slug, tier.as_str());
                proofs.push(Proof { tier: tier.clone(), frame, body, warnings, edition: 0, stored: None });
            }
            Err(more) => problems.extend(more),
        }
    }
    if problems.is_empty() { Ok(proofs) } else { Err(ProofProblem::Files(problems)) }
}

/// `None`: the edition is not queued.
async fn frozen(store: &Store, slug: &str) -> Result<Option<Vec<Proof>>, ProofProblem> {
    let mut tx = store.read().await?;
    let Some(id) = editions::id(&mut tx, slug).await? else { return Ok(None) };
    let mut proofs = Vec::new();
    for (stored, tier, frame, body) in bodies::of_edition(&mut tx, slug).await? {
        let corrupt =
            |error: serde_json::Error| StoreError::Corrupt { what: "a body", why: error.to_string() };
        proofs.push(Proof {
            tier: TierId(tier),
            frame: serde_json::from_str(&frame).map_err(corrupt)?,
            body: serde_json::from_str(&body).map_err(corrupt)?,
            warnings: Vec::new(),
            edition: id,
            stored: Some(stored),
        });
    }
    if proofs.is_empty() {
        return Err(ProofProblem::Nothing("nothing of it was queued, and nothing will be".to_owned()));
    }
    Ok(Some(proofs))
}

/// Queues one proof to one address. `person`: whose name and term it shows; without, a sample reader's.
///
/// # Errors
/// When the database fails.
pub async fn queue(
    tx: &mut Tx,
    proof: &Proof,
    to: &Address,
    person: Option<i64>,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let body_id = match proof.stored {
        Some(id) => id,
        None => bodies::add_proof(tx, &stored_form(proof)?).await?,
    };
    queue_body(tx, body_id, to, person, now).await
}

/// As [`queue`], of every tier's frozen body of an edition that has just been queued.
///
/// # Errors
/// When the database fails.
pub async fn queue_all(tx: &mut Tx, slug: &str, to: &[Address], now: Timestamp) -> Result<(), StoreError> {
    for body_id in bodies::ids(tx, slug).await? {
        for address in to {
            queue_body(tx, body_id, address, None, now).await?;
        }
    }
    Ok(())
}

async fn queue_body(
    tx: &mut Tx,
    body_id: i64,
    to: &Address,
    person: Option<i64>,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let mail = DeskMail {
        kind: DeliveryKind::Report,
        subscriber_id: None,
        thread_id: None,
        address: Some(to.as_str()),
        staff_id: None,
        body_id,
    };
    let delivery = deliveries::queue_desk_mail(tx, mail, now).await?;
    if let Some(person) = person {
        deliveries::show_as(tx, delivery, person).await?;
    }
    Ok(delivery)
}

fn stored_form(proof: &Proof) -> Result<NewBody, StoreError> {
    let corrupt = |error: serde_json::Error| StoreError::Corrupt { what: "a body", why: error.to_string() };
    Ok(NewBody {
        tier: proof.tier.clone(),
        frame: serde_json::to_string(&proof.frame).map_err(corrupt)?,
        body: serde_json::to_string(&proof.body).map_err(corrupt)?,
        extra_limit: None,
    })
}
