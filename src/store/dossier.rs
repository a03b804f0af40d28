//! Everything that the store holds about one person, for whoever asks what is known about them. A question over many tables,
//! and the only place that asks it.
//!
//! Only what is theirs: in their threads, the posts from their own address and what was answered to them, without the names
//! and addresses of staff.

use serde::Serialize;

use super::people::Consent;
use super::sql::rows;
use super::suppressions::Suppression;
use super::threads::{Attachment, PostRow};
use super::{StoreError, Tx, former_addresses, notes, people, suppressions, threads};
use crate::domain::address::Address;
use crate::domain::subscriber::{Subscriber, SubscriberStatus};
use crate::domain::thread::PostKind;
use crate::runtime::Timestamp;

/// One person, whole.
#[derive(Debug, Serialize)]
pub struct Dossier {
    pub address: String,
    /// What they were written to before they moved, in lower case. What is kept by one of them is here too.
    pub former_addresses: Vec<String>,
    pub profile: Option<Profile>,
    pub note: String,
    pub consent: Vec<Consent>,
    pub requests: Vec<Wish>,
    pub suppression: Option<Suppression>,
    pub sessions: Vec<SignedIn>,
    pub deliveries: Vec<Delivery>,
    pub threads: Vec<Thread>,
    pub received: Vec<Received>,
    /// What was changed about them by hand.
    pub changes: Vec<Change>,
}

#[derive(Debug, Serialize)]
pub struct Profile {
    pub name: String,
    pub tier: String,
    pub status: SubscriberStatus,
    pub timezone: Option<String>,
    pub language: Option<String>,
    pub term_started_at: Option<Timestamp>,
    pub term_ends_at: Option<Timestamp>,
    pub paused_until: Option<Timestamp>,
}

/// A wish that a mail has to prove.
#[derive(Debug, Serialize)]
pub struct Wish {
    pub kind: String,
    pub address: String,
    pub asked: String,
    pub asked_at: Timestamp,
    pub confirmed_at: Option<Timestamp>,
}

/// Somebody signed in to the archive as them.
#[derive(Debug, Serialize)]
pub struct SignedIn {
    pub opened_at: Timestamp,
    pub expires_at: Timestamp,
}

/// A message to them.
#[derive(Debug, Serialize)]
pub struct Delivery {
    pub id: i64,
    pub edition: Option<String>,
    pub kind: String,
    pub state: String,
    pub last_reply: Option<String>,
    pub first_attempt_at: Option<Timestamp>,
    pub settled_at: Option<Timestamp>,
    /// What was said to tries that did not succeed.
    pub attempts: Vec<Attempt>,
    /// What came back of it later.
    pub came_back: Vec<CameBack>,
}

/// A report about a message, or a complaint.
#[derive(Debug, Serialize)]
pub struct CameBack {
    pub at: Timestamp,
    pub kind: String,
    pub class: String,
    pub said: String,
}

#[derive(Debug, Serialize)]
pub struct Attempt {
    pub at: Timestamp,
    pub state: String,
    pub reply: String,
}

/// A conversation with them.
#[derive(Debug, Serialize)]
pub struct Thread {
    pub number: i64,
    pub state: String,
    pub subject: String,
    pub created_at: Timestamp,
    pub posts: Vec<Post>,
}

#[derive(Debug, Serialize)]
pub struct Post {
    pub kind: PostKind,
    pub at: Timestamp,
    pub text: String,
    /// The quoted part.
    pub folded: String,
    pub attachments: Vec<Attachment>,
}

/// A message from them, whatever it was found to be.
#[derive(Debug, Serialize)]
pub struct Received {
    pub id: i64,
    pub received_at: Timestamp,
    pub verdict: Option<String>,
    pub state: String,
}

#[derive(Debug, Serialize)]
pub struct Change {
    pub at: Timestamp,
    pub action: String,
    pub detail: String,
}

/// Everything about the person who has this address, or had it and gave it up; `None` when nothing is known.
///
/// # Errors
/// When the database fails.
pub async fn of(tx: &mut Tx, address: &Address) -> Result<Option<Dossier>, StoreError> {
    let key = address.key();
    let mut person = people::by_key(tx, &key).await?;
    if person.is_none()
        && let Some(id) = former_addresses::subscriber(tx, &key).await?
    {
        person = people::by_id(tx, id).await?.filter(|person| !person.address.as_str().is_empty());
    }
    let id = person.as_ref().map_or(0, |person| person.id);
    let address = person.as_ref().map_or(address, |person| &person.address).clone();
    let (former, _) = former_addresses::of(tx, id).await?;
    let keys: Vec<String> = std::iter::once(address.key()).chain(former.clone()).collect();
    let dossier = Dossier {
        address: address.to_string(),
        former_addresses: former,
        note: notes::of(tx, id).await?,
        consent: people::consents(tx, id).await?,
        requests: wishes(tx, id).await?,
        suppression: suppressions::of(tx, &address).await?,
        sessions: sessions(tx, id).await?,
        deliveries: deliveries(tx, id, &keys).await?,
        threads: conversations(tx, id, &keys).await?,
        received: received(tx, &keys).await?,
        changes: changes(tx, &keys).await?,
        profile: match person {
            Some(person) => {
                let paused_until = people::paused_until(tx, id).await?;
                Some(profile(person, paused_until))
            }
            None => None,
        },
    };
    let nothing = dossier.profile.is_none()
        && dossier.suppression.is_none()
        && dossier.deliveries.is_empty()
        && dossier.threads.is_empty()
        && dossier.received.is_empty()
        && dossier.changes.is_empty();
    Ok((!nothing).then_some(dossier))
}

fn profile(person: Subscriber, paused_until: Option<Timestamp>) -> Profile {
    Profile {
        name: person.name,
        tier: person.tier.0,
        status: person.status,
        timezone: person.timezone,
        language: person.language,
        term_started_at: person.term_started_at,
        term_ends_at: person.term_ends_at,
        paused_until,
    }
}

async fn wishes(tx: &mut Tx, subscriber: i64) -> Result<Vec<Wish>, StoreError> {
    const SQL: &str = "SELECT kind, address, asked, asked_at, confirmed_at FROM requests \
        WHERE subscriber_id = $1 ORDER BY id";
    let read = |(kind, address, asked, at, confirmed): (String, String, String, i64, Option<i64>)| Wish {
        kind,
        address,
        asked,
        asked_at: Timestamp(at),
        confirmed_at: confirmed.map(Timestamp),
    };
    Ok(rows!(tx, (String, String, String, i64, Option<i64>), SQL, subscriber)?
        .into_iter()
        .map(read)
        .collect())
}

async fn sessions(tx: &mut Tx, subscriber: i64) -> Result<Vec<SignedIn>, StoreError> {
    const SQL: &str = "SELECT opened_at, expires_at FROM sessions WHERE subscriber_id = $1 ORDER BY id";
    let read = |(opened, expires): (i64, i64)| SignedIn {
        opened_at: Timestamp(opened),
        expires_at: Timestamp(expires),
    };
    Ok(rows!(tx, (i64, i64), SQL, subscriber)?.into_iter().map(read).collect())
}

/// Edition by edition, so that the ledger is not read from end to end. Mail to staff is about their work.
async fn deliveries(tx: &mut Tx, subscriber: i64, keys: &[String]) -> Result<Vec<Delivery>, StoreError> {
    const EDITIONS: &str = "SELECT d.id, e.slug, d.kind, d.state, d.last_reply, d.first_attempt_at, d.settled_at \
        FROM editions e CROSS JOIN deliveries d WHERE d.edition_id = e.id AND d.subscriber_id = $1";
    const SINGLE: &str = "SELECT id, CAST(NULL AS TEXT), kind, state, last_reply, first_attempt_at, settled_at \
        FROM deliveries WHERE edition_id IS NULL AND staff_id IS NULL AND subscriber_id = $1";
    const ADDRESSED: &str = "SELECT id, CAST(NULL AS TEXT), kind, state, last_reply, first_attempt_at, settled_at \
        FROM deliveries WHERE address IS NOT NULL AND lower(address) = $1 AND subscriber_id IS NULL \
            AND staff_id IS NULL AND kind <> 'report'";
    type Row = (i64, Option<String>, String, String, Option<String>, Option<i64>, Option<i64>);
    let mut found = rows!(tx, Row, EDITIONS, subscriber)?;
    found.extend(rows!(tx, Row, SINGLE, subscriber)?);
    for key in keys {
        found.extend(rows!(tx, Row, ADDRESSED, key.as_str())?);
    }
    found.sort_unstable_by_key(|row| row.0);
    let mut deliveries = Vec::with_capacity(found.len());
    for (id, edition, kind, state, last_reply, first, settled) in found {
        deliveries.push(Delivery {
            id,
            edition,
            kind,
            state,
            last_reply,
            first_attempt_at: first.map(Timestamp),
            settled_at: settled.map(Timestamp),
            attempts: attempts(tx, id).await?,
            came_back: came_back(tx, id).await?,
        });
    }
    Ok(deliveries)
}

async fn attempts(tx: &mut Tx, delivery: i64) -> Result<Vec<Attempt>, StoreError> {
    const SQL: &str = "SELECT at, state, reply FROM attempts WHERE delivery_id = $1 ORDER BY id";
    let read = |(at, state, reply): (i64, String, String)| Attempt { at: Timestamp(at), state, reply };
    Ok(rows!(tx, (i64, String, String), SQL, delivery)?.into_iter().map(read).collect())
}

async fn came_back(tx: &mut Tx, delivery: i64) -> Result<Vec<CameBack>, StoreError> {
    const SQL: &str = "SELECT at, kind, class, said FROM bounces WHERE delivery_id = $1 ORDER BY id";
    type Row = (i64, String, String, String);
    let read = |(at, kind, class, said): Row| CameBack { at: Timestamp(at), kind, class, said };
    Ok(rows!(tx, Row, SQL, delivery)?.into_iter().map(read).collect())
}

async fn conversations(tx: &mut Tx, subscriber: i64, keys: &[String]) -> Result<Vec<Thread>, StoreError> {
    const THEIRS: &str = "SELECT id, state, subject, created_at FROM threads WHERE subscriber_id = $1";
    const OF_KEY: &str = "SELECT id, state, subject, created_at FROM threads WHERE address_key = $1";
    let mut rows = rows!(tx, (i64, String, String, i64), THEIRS, subscriber)?;
    for key in keys {
        rows.extend(rows!(tx, (i64, String, String, i64), OF_KEY, key.as_str())?);
    }
    rows.sort_unstable();
    rows.dedup();
    let mut found = Vec::new();
    for (number, state, subject, at) in rows {
        let posts = threads::posts(tx, number).await?;
        let is_theirs =
            |post: &PostRow| post.kind == PostKind::Staff || keys.contains(&post.from.to_lowercase());
        let posts = posts.into_iter().filter(is_theirs).map(|post| Post {
            kind: post.kind,
            at: post.at,
            text: post.text,
            folded: post.folded,
            attachments: post.attachments,
        });
        let posts = posts.collect();
        found.push(Thread { number, state, subject, created_at: Timestamp(at), posts });
    }
    Ok(found)
}

async fn received(tx: &mut Tx, keys: &[String]) -> Result<Vec<Received>, StoreError> {
    const SQL: &str =
        "SELECT id, received_at, verdict, state FROM inbound WHERE lower(envelope_from) = $1 ORDER BY id";
    let read = |(id, at, verdict, state): (i64, i64, Option<String>, String)| Received {
        id,
        received_at: Timestamp(at),
        verdict,
        state,
    };
    let mut found = Vec::new();
    for key in keys {
        let rows = rows!(tx, (i64, i64, Option<String>, String), SQL, key.as_str())?;
        found.extend(rows.into_iter().map(read));
    }
    found.sort_by_key(|one| one.id);
    Ok(found)
}

async fn changes(tx: &mut Tx, keys: &[String]) -> Result<Vec<Change>, StoreError> {
    const SQL: &str = "SELECT at, action, detail FROM audit WHERE subject = $1 ORDER BY id";
    let read = |(at, action, detail): (i64, String, String)| Change { at: Timestamp(at), action, detail };
    let mut found = Vec::new();
    for key in keys {
        found.extend(rows!(tx, (i64, String, String), SQL, key.as_str())?.into_iter().map(read));
    }
    found.sort_by_key(|one| one.at);
    Ok(found)
}
