//! Everything that the store holds about one person, for whoever asks what is known about them. A question over many tables,
//! and the only place that asks it.
//!
//! Only what is theirs: in their threads, the posts from their own address and what was answered to them, without the names
//! and addresses of staff.

use serde::Serialize;

use super::people::Consent;
use super::sql::rows;
use super::suppressions::Suppression;
use super::{StoreError, Tx, notes, people, suppressions};
use crate::domain::address::Address;
use crate::domain::subscriber::{Subscriber, SubscriberStatus};
use crate::runtime::Timestamp;

/// One person, whole.
#[derive(Debug, Serialize)]
pub struct Dossier {
    pub address: String,
    pub profile: Option<Profile>,
    pub note: String,
    pub consent: Vec<Consent>,
    pub requests: Vec<Wish>,
    pub suppression: Option<Suppression>,
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
    pub kind: String,
    pub at: Timestamp,
    pub text: String,
    /// The quoted part.
    pub folded: String,
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

/// Everything about the person with this address; `None` when nothing is known.
///
/// # Errors
/// When the database fails.
pub async fn of(tx: &mut Tx, address: &Address) -> Result<Option<Dossier>, StoreError> {
    let key = address.key();
    let person = people::by_key(tx, &key).await?;
    let id = person.as_ref().map_or(0, |person| person.id);
    let dossier = Dossier {
        address: person.as_ref().map_or(address, |person| &person.address).to_string(),
        note: notes::of(tx, id).await?,
        consent: people::consents(tx, id).await?,
        requests: wishes(tx, id).await?,
        suppression: suppressions::of(tx, address).await?,
        deliveries: deliveries(tx, id).await?,
        threads: threads(tx, id, &key).await?,
        received: received(tx, &key).await?,
        changes: changes(tx, &key).await?,
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

async fn deliveries(tx: &mut Tx, subscriber: i64) -> Result<Vec<Delivery>, StoreError> {
    // Notices to staff name a thread, not a subscriber.
    const SQL: &str = "SELECT d.id, e.slug, d.kind, d.state, d.last_reply, d.first_attempt_at, d.settled_at \
        FROM deliveries d LEFT JOIN editions e ON e.id = d.edition_id \
        WHERE d.subscriber_id = $1 AND d.staff_id IS NULL ORDER BY d.id";
    type Row = (i64, Option<String>, String, String, Option<String>, Option<i64>, Option<i64>);
    let read = |(id, edition, kind, state, last_reply, first, settled): Row| Delivery {
        id,
        edition,
        kind,
        state,
        last_reply,
        first_attempt_at: first.map(Timestamp),
        settled_at: settled.map(Timestamp),
    };
    Ok(rows!(tx, Row, SQL, subscriber)?.into_iter().map(read).collect())
}

async fn threads(tx: &mut Tx, subscriber: i64, key: &str) -> Result<Vec<Thread>, StoreError> {
    const THREADS: &str = "SELECT id, state, subject, created_at FROM threads \
        WHERE address_key = $2 OR subscriber_id = $1 ORDER BY id";
    const POSTS: &str =
        "SELECT kind, from_address, at, text, folded FROM posts WHERE thread_id = $1 ORDER BY id";
    let mut found = Vec::new();
    for (number, state, subject, at) in rows!(tx, (i64, String, String, i64), THREADS, subscriber, key)? {
        let posts = rows!(tx, (String, String, i64, String, String), POSTS, number)?;
        // SQL's lower() knows ASCII only.
        let theirs =
            posts.into_iter().filter(|(kind, from, ..)| kind == "staff" || from.to_lowercase() == key);
        let posts = theirs
            .map(|(kind, _, at, text, folded)| Post { kind, at: Timestamp(at), text, folded })
            .collect();
        found.push(Thread { number, state, subject, created_at: Timestamp(at), posts });
    }
    Ok(found)
}

async fn received(tx: &mut Tx, key: &str) -> Result<Vec<Received>, StoreError> {
    const SQL: &str =
        "SELECT id, received_at, verdict, state FROM inbound WHERE lower(envelope_from) = $1 ORDER BY id";
    let read = |(id, at, verdict, state): (i64, i64, Option<String>, String)| Received {
        id,
        received_at: Timestamp(at),
        verdict,
        state,
    };
    Ok(rows!(tx, (i64, i64, Option<String>, String), SQL, key)?.into_iter().map(read).collect())
}

async fn changes(tx: &mut Tx, key: &str) -> Result<Vec<Change>, StoreError> {
    const SQL: &str = "SELECT at, action, detail FROM audit WHERE subject = $1 ORDER BY id";
    let read = |(at, action, detail): (i64, String, String)| Change { at: Timestamp(at), action, detail };
    Ok(rows!(tx, (i64, String, String), SQL, key)?.into_iter().map(read).collect())
}
