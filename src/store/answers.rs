//! `body_files`, `staff_told`, and what a conversation shows of who wrote what: answers of staff, and those that did not arrive.

use super::sql::{row, rows, run};
use super::{StoreError, Tx};
use crate::runtime::Timestamp;

/// A file of a body.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct BodyFile {
    pub name: String,
    #[sqlx(rename = "type")]
    pub media_type: String,
    pub octets: Vec<u8>,
}

/// # Errors
/// When the database fails.
pub async fn add_file(tx: &mut Tx, body: i64, position: i64, file: &BodyFile) -> Result<(), StoreError> {
    const SQL: &str =
        "INSERT INTO body_files (body_id, position, name, type, octets) VALUES ($1, $2, $3, $4, $5)";
    run!(tx, SQL, body, position, file.name.as_str(), file.media_type.as_str(), file.octets.as_slice())?;
    Ok(())
}

/// # Errors
/// When the database fails.
pub async fn files(tx: &mut Tx, body: i64) -> Result<Vec<BodyFile>, StoreError> {
    const SQL: &str = "SELECT name, type, octets FROM body_files WHERE body_id = $1 ORDER BY position";
    Ok(rows!(tx, BodyFile, SQL, body)?)
}

/// Notes that a member is told of something in a conversation. Answers whether they may be: not if they were since `since`.
///
/// # Errors
/// When the database fails.
pub async fn may_tell(
    tx: &mut Tx,
    (thread, staff): (i64, i64),
    what: &str,
    since: Timestamp,
    now: Timestamp,
) -> Result<bool, StoreError> {
    const SQL: &str = "INSERT INTO staff_told (thread_id, staff_id, what, at) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (thread_id, staff_id, what) DO UPDATE SET at = excluded.at WHERE staff_told.at <= $5";
    Ok(run!(tx, SQL, thread, staff, what, now.millis(), since.millis())? > 0)
}

/// Says which post a delivery carries or tells of.
///
/// # Errors
/// When the database fails.
pub async fn is_about(tx: &mut Tx, delivery: i64, post: i64) -> Result<(), StoreError> {
    run!(tx, "UPDATE deliveries SET post_id = $2 WHERE id = $1", delivery, post)?;
    Ok(())
}

/// The post that a mail to this member told of, and the body of that mail: of the named delivery, or of their newest mail about the
/// conversation.
///
/// # Errors
/// When the database fails.
pub async fn told_of(
    tx: &mut Tx,
    (thread, staff): (i64, i64),
    delivery: Option<i64>,
) -> Result<Option<(i64, i64)>, StoreError> {
    const SQL: &str = "SELECT post_id, body_id FROM deliveries WHERE id = ( \
        SELECT max(d.id) FROM deliveries d JOIN posts p ON p.id = d.post_id \
        WHERE p.thread_id = $1 AND d.staff_id = $2 AND (d.id = $3 OR $3 = 0))";
    Ok(row!(tx, (i64, i64), SQL, thread, staff, delivery.unwrap_or(0))?)
}

/// The conversation that this mail to this member is about.
///
/// # Errors
/// When the database fails.
pub async fn notice_about(tx: &mut Tx, delivery: i64, staff: i64) -> Result<Option<i64>, StoreError> {
    const SQL: &str =
        "SELECT thread_id FROM deliveries WHERE id = $1 AND staff_id = $2 AND thread_id IS NOT NULL";
    Ok(row!(tx, (i64,), SQL, delivery, staff)?.map(|(thread,)| thread))
}

/// Another one's answer that was added after `post`: who wrote it, when, and its words.
///
/// # Errors
/// When the database fails.
pub async fn answered_since(
    tx: &mut Tx,
    (thread, staff): (i64, i64),
    post: i64,
) -> Result<Option<(String, Timestamp, String)>, StoreError> {
    const SQL: &str = "SELECT from_name, at, text FROM posts WHERE thread_id = $1 AND kind = 'staff' \
        AND id > $3 AND coalesce(staff_id, 0) <> $2 ORDER BY id DESC LIMIT 1";
    let found = row!(tx, (String, i64, String), SQL, thread, staff, post)?;
    Ok(found.map(|(name, at, text)| (name, Timestamp(at), text)))
}

/// Whether this author's mail with this id and these words is in the conversation already.
///
/// # Errors
/// When the database fails.
pub async fn is_known(
    tx: &mut Tx,
    (thread, staff): (i64, i64),
    message_id: &str,
    text: &str,
) -> Result<bool, StoreError> {
    const SQL: &str =
        "SELECT id FROM posts WHERE thread_id = $1 AND staff_id = $2 AND message_id = $3 AND text = $4";
    Ok(row!(tx, (i64,), SQL, thread, staff, message_id, text)?.is_some())
}

/// What the subscriber of a conversation has seen, oldest first: ids of their own messages, and deliveries of ours (with the key of
/// their first attempt) whose ids follow from them.
///
/// # Errors
/// When the database fails.
pub async fn seen_by_subscriber(tx: &mut Tx, thread: i64) -> Result<Vec<Seen>, StoreError> {
    const EDITION: &str = "SELECT d.id, d.key_id FROM threads t JOIN deliveries d \
        ON d.edition_id = t.edition_id AND d.subscriber_id = t.subscriber_id WHERE t.id = $1";
    const POSTS: &str = "SELECT p.message_id, d.id, d.key_id FROM posts p \
        LEFT JOIN deliveries d ON d.post_id = p.id AND d.staff_id IS NULL \
        WHERE p.thread_id = $1 AND (p.kind = 'subscriber' OR d.id IS NOT NULL) ORDER BY p.id, d.id";
    let mut seen: Vec<Seen> = rows!(tx, (i64, Option<i64>), EDITION, thread)?
        .into_iter()
        .map(|(delivery, key)| Seen::Ours { delivery, key })
        .collect();
    for (theirs, delivery, key) in rows!(tx, (Option<String>, Option<i64>, Option<i64>), POSTS, thread)? {
        match (delivery, theirs) {
            (Some(delivery), _) => seen.push(Seen::Ours { delivery, key }),
            (None, Some(id)) => seen.push(Seen::Theirs(id)),
            (None, None) => {}
        }
    }
    Ok(seen)
}

/// A message that a subscriber has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Theirs(String),
    Ours { delivery: i64, key: Option<i64> },
}

/// The newest words that the subscriber wrote in a conversation: more than a notice shows of them.
///
/// # Errors
/// When the database fails.
pub async fn words_of_subscriber(tx: &mut Tx, thread: i64) -> Result<String, StoreError> {
    const SQL: &str = "SELECT substr(text, 1, 20000) FROM posts WHERE thread_id = $1 AND kind = 'subscriber' \
        ORDER BY id DESC LIMIT 5";
    let texts: Vec<String> = rows!(tx, (String,), SQL, thread)?.into_iter().map(|(text,)| text).collect();
    Ok(texts.join("\n"))
}

/// An answer that did not arrive.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Lost {
    pub post: i64,
    pub thread: i64,
    pub staff: Option<i64>,
    /// The state of its delivery.
    pub state: String,
    pub reply: Option<String>,
}

/// Answers since `since` whose delivery failed, or is uncertain for good, and of which nobody was told.
///
/// # Errors
/// When the database fails.
pub async fn lost(tx: &mut Tx, since: Timestamp) -> Result<Vec<Lost>, StoreError> {
    const SQL: &str = "SELECT p.id AS post, p.thread_id AS thread, p.staff_id AS staff, d.state, d.last_reply AS reply \
        FROM posts p JOIN deliveries d ON d.post_id = p.id AND d.staff_id IS NULL \
        WHERE p.kind = 'staff' AND p.told_at IS NULL AND p.at >= $1 \
            AND (d.state = 'refused' OR d.state = 'expired' OR d.state = 'skipped' OR d.state = 'parked' \
                OR (d.state = 'uncertain' AND d.due_at IS NULL)) \
        ORDER BY p.id LIMIT 100";
    Ok(rows!(tx, Lost, SQL, since.millis())?)
}

/// The answer that this delivery carries, and who wrote it.
///
/// # Errors
/// When the database fails.
pub async fn carried(tx: &mut Tx, delivery: i64) -> Result<Option<Lost>, StoreError> {
    const SQL: &str = "SELECT p.id AS post, p.thread_id AS thread, p.staff_id AS staff, d.state, d.last_reply AS reply \
        FROM deliveries d JOIN posts p ON p.id = d.post_id \
        WHERE d.id = $1 AND d.staff_id IS NULL AND p.kind = 'staff' AND p.told_at IS NULL";
    Ok(row!(tx, Lost, SQL, delivery)?)
}

/// Notes that staff know that a post did not arrive. Answers whether they did not before.
///
/// # Errors
/// When the database fails.
pub async fn mark_lost(tx: &mut Tx, post: i64, now: Timestamp) -> Result<bool, StoreError> {
    const SQL: &str = "UPDATE posts SET told_at = $2 WHERE id = $1 AND told_at IS NULL";
    Ok(run!(tx, SQL, post, now.millis())? > 0)
}

/// How many automatic mails of ours this conversation has, and how many went to this address since `since`.
///
/// # Errors
/// When the database fails.
pub async fn automatic(
    tx: &mut Tx,
    thread: i64,
    address_key: &str,
    since: Timestamp,
) -> Result<(i64, i64), StoreError> {
    const SQL: &str = "SELECT count(CASE WHEN t.id = $1 THEN 1 END), count(CASE WHEN p.at > $3 THEN 1 END) \
        FROM threads t JOIN posts p ON p.thread_id = t.id \
        WHERE t.address_key = $2 AND p.kind = 'automatic' AND p.inbound_id IS NULL";
    Ok(row!(tx, (i64, i64), SQL, thread, address_key, since.millis())?.unwrap_or_default())
}
