//! What is taken off the store when a person is erased, and what stays: their rows in the ledger, without a word about who it was,
//! so that every edition still adds up; and one suppression that is a keyed hash. A use case over many tables.
//!
//! Rows are wiped and not deleted where something else counts or names them. Each function is one transaction's worth; doing it
//! again finds nothing more. Which erasings are not over, and who was erased, is in `erasures`.
//! A table that learns something about people has to be added here and to `dossier`.

use super::sql::{row, rows, run};
use super::{StoreError, Tx};
use crate::domain::suppression::SuppressionReason;
use crate::runtime::Timestamp;

/// Received messages that are wiped at a time, and their bytes together; one alone may have 25 MB.
pub(super) const MESSAGES: i64 = 50;
const BYTES: i64 = 8 << 20;

/// Conversations that are wiped at a time.
const THREADS: i64 = 50;

/// Whom it is about, by one of their addresses.
#[derive(Clone, Copy, Debug)]
pub struct Erasing<'a> {
    /// Of the address, the one that they have or one that they had.
    pub key: &'a str,
    /// Keyed hashes of it in place of an address, one for each of our keys, the current one first.
    pub marks: &'a [String],
    /// Keyed hashes as limits are counted by.
    pub fingerprints: &'a [String],
    /// Set where they are a subscriber.
    pub subscriber: Option<i64>,
}

impl Erasing<'_> {
    fn id(&self) -> i64 {
        self.subscriber.unwrap_or(0)
    }

    /// As SQLite's lower() makes it, which knows ASCII only.
    fn ascii(&self) -> String {
        self.key.to_ascii_lowercase()
    }

    /// Of the current key.
    pub fn mark(&self) -> &str {
        self.marks.first().map_or("", String::as_str)
    }
}

/// A delivery of theirs and the key that its mail was signed with.
pub type Delivery = (i64, Option<i64>);

/// Every delivery to them, edition by edition, so that the ledger is not read from end to end.
///
/// # Errors
/// When the database fails.
pub async fn deliveries(tx: &mut Tx, who: &Erasing<'_>) -> Result<Vec<Delivery>, StoreError> {
    const EDITIONS: &str = "SELECT d.id, d.key_id FROM editions e CROSS JOIN deliveries d \
        WHERE d.edition_id = e.id AND d.subscriber_id = $1";
    const SINGLE: &str = "SELECT id, key_id FROM deliveries WHERE edition_id IS NULL AND subscriber_id = $1";
    // Mail to somebody of the house stays: it is about their work.
    const ADDRESSED: &str = "SELECT id, key_id FROM deliveries WHERE (lower(address) = $1 OR lower(address) = $2) \
        AND address IS NOT NULL AND staff_id IS NULL AND kind <> 'report'";
    const ASKED: &str = "SELECT id, key_id FROM deliveries WHERE (lower(address) = $1 OR lower(address) = $2) \
        AND address IS NOT NULL AND kind = 'confirm'";
    const OF_THREADS: &str = "SELECT d.id, d.key_id FROM threads t CROSS JOIN deliveries d \
        WHERE (t.address_key = $1 OR t.subscriber_id = $2) AND d.thread_id = t.id AND d.thread_id IS NOT NULL";
    const WISHED: &str = "SELECT address_key FROM requests WHERE subscriber_id = $1";
    let mut found = rows!(tx, Delivery, EDITIONS, who.id())?;
    // Questions that went to an address which they wanted their mails at, and nothing else that somebody there got.
    for (key,) in rows!(tx, (String,), WISHED, who.id())? {
        let ascii = key.to_ascii_lowercase();
        found.extend(rows!(tx, Delivery, ASKED, key, ascii)?);
    }
    found.extend(rows!(tx, Delivery, SINGLE, who.id())?);
    found.extend(rows!(tx, Delivery, ADDRESSED, who.key, who.ascii())?);
    found.extend(rows!(tx, Delivery, OF_THREADS, who.key, who.id())?);
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// The person: suppressed as erased, without name, address, consent, wishes and sessions. From the commit on nothing is sent to them,
/// and no form, link or file finds somebody to write to. The address itself is in the row of `erasures` until [`finish`].
///
/// # Errors
/// When the database fails.
pub async fn forget(tx: &mut Tx, who: &Erasing<'_>, now: Timestamp) -> Result<(), StoreError> {
    const SUPPRESS: &str = "INSERT INTO suppressions (address_key, reason, at, source) VALUES ($1, $2, $3, 'erased') \
        ON CONFLICT (address_key) DO UPDATE SET reason = excluded.reason, at = excluded.at, source = excluded.source";
    const BLANK: &str = "UPDATE subscribers SET address = '', address_key = 'erased:' || id, name = '', \
            status = 'unsubscribed', timezone = NULL, language = NULL, term_started_at = NULL, term_ends_at = NULL, \
            paused_until = NULL, updated_at = $2 WHERE id = $1";
    let erased = SuppressionReason::Erased.as_str();
    for key in [who.mark(), who.key] {
        run!(tx, SUPPRESS, key, erased, now.millis())?;
    }
    for sql in [
        "DELETE FROM held_suppressions WHERE address_key = $1",
        "DELETE FROM former_addresses WHERE address_key = $1",
        // Somebody wanted their mails to go to this address.
        "DELETE FROM requests WHERE address_key = $1",
    ] {
        run!(tx, sql, who.key)?;
    }
    for fingerprint in who.fingerprints {
        run!(tx, "DELETE FROM asks WHERE fingerprint = $1", fingerprint.as_str())?;
        run!(tx, "DELETE FROM sign_ins WHERE fingerprint = $1", fingerprint.as_str())?;
    }
    if let Some(id) = who.subscriber {
        for sql in [
            "DELETE FROM sign_ins WHERE subscriber_id = $1",
            "DELETE FROM sessions WHERE subscriber_id = $1",
            "DELETE FROM consents WHERE subscriber_id = $1",
            "DELETE FROM notes WHERE subscriber_id = $1",
            "DELETE FROM requests WHERE subscriber_id = $1",
            "DELETE FROM former_addresses WHERE subscriber_id = $1",
        ] {
            run!(tx, sql, id)?;
        }
        run!(tx, BLANK, id, now.millis())?;
    }
    Ok(())
}

/// Takes what deliveries say about their person off them; what waits is skipped. Answers how many are on their way at this moment.
///
/// # Errors
/// When the database fails.
pub async fn wipe_all(tx: &mut Tx, theirs: &[Delivery], now: Timestamp) -> Result<u64, StoreError> {
    let mut in_flight = 0;
    for (delivery, _) in theirs {
        in_flight += u64::from(!wipe(tx, *delivery, now).await?);
    }
    Ok(in_flight)
}

/// Takes the address off what is left: the suppression, which stays as a hash, and the audit.
///
/// # Errors
/// When the database fails.
pub async fn finish(tx: &mut Tx, who: &Erasing<'_>, now: Timestamp) -> Result<(), StoreError> {
    run!(tx, "DELETE FROM suppressions WHERE address_key = $1", who.key)?;
    // What came in until now was about the person as they were.
    run!(tx, "UPDATE suppressions SET at = $2 WHERE address_key = $1", who.mark(), now.millis())?;
    // That something was changed stays, about whom does not.
    run!(tx, "UPDATE audit SET subject = $2, detail = '' WHERE subject = $1", who.key, who.mark())?;
    const QUOTED: &str =
        "UPDATE audit SET detail = '' WHERE detail <> '' AND lower(detail) LIKE $1 ESCAPE '!'";
    for key in [who.key.to_owned(), who.ascii()] {
        let plain = key.replace('!', "!!").replace('%', "!%").replace('_', "!_");
        run!(tx, QUOTED, format!("%{plain}%"))?;
    }
    Ok(())
}

/// Takes what a delivery says about its person off it. What waits is skipped; what is on its way is noted for later, and then the
/// answer is no.
async fn wipe(tx: &mut Tx, delivery: i64, now: Timestamp) -> Result<bool, StoreError> {
    const SETTLE: &str = "UPDATE deliveries SET state = 'skipped', due_at = NULL, owner = NULL, settled_at = $2 \
        WHERE id = $1 AND (state = 'queued' OR state = 'uncertain' OR state = 'parked')";
    const WIPE: &str = "UPDATE deliveries SET last_reply = NULL, address = CASE WHEN address IS NULL THEN NULL ELSE '' END \
        WHERE id = $1 AND state <> 'leased' AND staff_id IS NULL";
    const NOTE: &str = "INSERT INTO erased_in_flight (delivery_id) SELECT id FROM deliveries \
        WHERE id = $1 AND state = 'leased' ON CONFLICT (delivery_id) DO NOTHING";
    // A notice to staff about their words goes too; its row and whom it went to stay.
    const BODY: &str = "UPDATE bodies SET frame = '{}', body = '{}' WHERE edition_id IS NULL \
        AND id = (SELECT d.body_id FROM deliveries d WHERE d.id = $1 AND d.state <> 'leased')";
    const FILES: &str = "DELETE FROM body_files WHERE body_id = \
        (SELECT d.body_id FROM deliveries d WHERE d.id = $1 AND d.edition_id IS NULL AND d.state <> 'leased')";
    run!(tx, SETTLE, delivery, now.millis())?;
    run!(tx, WIPE, delivery)?;
    run!(tx, BODY, delivery)?;
    run!(tx, FILES, delivery)?;
    run!(tx, "DELETE FROM attempts WHERE delivery_id = $1", delivery)?;
    // That it came back counts for the edition and its lane; what their server said of them does not.
    run!(tx, "UPDATE bounces SET said = '' WHERE delivery_id = $1", delivery)?;
    Ok(run!(tx, NOTE, delivery)? == 0)
}

/// Wipes what came in meanwhile about deliveries that were on their way when their person was erased. Answers how many still are.
///
/// # Errors
/// When the database fails.
pub async fn sweep(tx: &mut Tx, now: Timestamp) -> Result<i64, StoreError> {
    const SETTLED: &str = "SELECT f.delivery_id FROM erased_in_flight f JOIN deliveries d ON d.id = f.delivery_id \
        WHERE d.state <> 'leased' ORDER BY f.delivery_id LIMIT 100";
    // A refusal suppressed the address that the message had gone to.
    const SUPPRESSED: &str = "DELETE FROM suppressions WHERE source LIKE $1";
    for (delivery,) in rows!(tx, (i64,), SETTLED)? {
        wipe(tx, delivery, now).await?;
        run!(tx, SUPPRESSED, format!("delivery {delivery}: %"))?;
        run!(tx, "DELETE FROM erased_in_flight WHERE delivery_id = $1", delivery)?;
    }
    Ok(row!(tx, (i64,), "SELECT count(*) FROM erased_in_flight")?.map_or(0, |(count,)| count))
}

/// Whether [`sweep`] has something to do.
///
/// # Errors
/// When the database fails.
pub async fn waits(tx: &mut Tx) -> Result<bool, StoreError> {
    const SQL: &str = "SELECT CAST(1 AS BIGINT) WHERE EXISTS (SELECT 1 FROM erased_in_flight f \
        JOIN deliveries d ON d.id = f.delivery_id WHERE d.state <> 'leased')";
    Ok(row!(tx, (i64,), SQL)?.is_some())
}

/// Wipes some received messages: those that they sent, those of their conversations, and those that came to one of `recipients`, in
/// lower case: addresses that were made for their mails. Answers how many; fewer than a chunk means that none is left.
///
/// # Errors
/// When the database fails.
pub async fn messages(tx: &mut Tx, who: &Erasing<'_>, recipients: &[String]) -> Result<u64, StoreError> {
    const SENT: &str = "SELECT id FROM inbound WHERE (lower(envelope_from) = $1 OR lower(envelope_from) = $2) \
        AND envelope_from IS NOT NULL LIMIT $3 + 0";
    const OF_THREADS: &str = "SELECT i.id FROM threads t CROSS JOIN inbound i \
        WHERE (t.address_key = $1 OR t.subscriber_id = $2) AND i.thread_id = t.id AND i.thread_id IS NOT NULL \
        AND (i.emptied_at IS NULL OR i.envelope_from IS NOT NULL OR i.reason <> '') LIMIT $3 + 0";
    const OF_POSTS: &str = "SELECT i.id FROM posts p CROSS JOIN inbound i \
        WHERE (lower(p.from_address) = $1 OR lower(p.from_address) = $2) AND i.id = p.inbound_id \
        AND (i.emptied_at IS NULL OR i.envelope_from IS NOT NULL OR i.reason <> '') LIMIT $3 + 0";
    const TO: &str = "SELECT id FROM inbound WHERE lower(recipient) = $1 \
        AND (emptied_at IS NULL OR envelope_from IS NOT NULL OR reason <> '') LIMIT $2 + 0";
    let ascii = who.ascii();
    let mut found = rows!(tx, (i64,), SENT, who.key, ascii.as_str(), MESSAGES)?;
    found.extend(rows!(tx, (i64,), OF_THREADS, who.key, who.id(), MESSAGES)?);
    found.extend(rows!(tx, (i64,), OF_POSTS, who.key, ascii.as_str(), MESSAGES)?);
    for recipient in recipients {
        if found.len() as i64 >= MESSAGES {
            break;
        }
        found.extend(rows!(tx, (i64,), TO, recipient.as_str(), MESSAGES)?);
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(MESSAGES as usize);
    let mut wiped = Wiped::default();
    for (id,) in found {
        if !wiped.has_room() {
            break;
        }
        wiped.note(empty(tx, id, true).await?);
    }
    Ok(wiped.messages)
}

/// Messages of one transaction: their bytes decide how long it takes.
#[derive(Default)]
pub(super) struct Wiped {
    pub messages: u64,
    bytes: i64,
}

impl Wiped {
    pub fn has_room(&self) -> bool {
        self.bytes < BYTES
    }

    pub fn note(&mut self, bytes: i64) {
        self.messages += 1;
        self.bytes += bytes;
    }
}

/// Throws the bytes of a received message away, and who sent it; with `whole`, why it is what it is too. What waited is done. Answers
/// how many bytes there were.
///
/// # Errors
/// When the database fails.
pub async fn empty(tx: &mut Tx, inbound: i64, whole: bool) -> Result<i64, StoreError> {
    const SIZE: &str = "SELECT CAST(length(raw) AS BIGINT) FROM inbound WHERE id = $1";
    const EMPTY: &str = "UPDATE inbound SET raw = $2, envelope_from = NULL, \
        emptied_at = coalesce(emptied_at, received_at) WHERE id = $1";
    const WHY: &str = "UPDATE inbound SET reason = '', \
        state = CASE WHEN state = 'received' THEN 'done' ELSE state END WHERE id = $1";
    let (bytes,) = row!(tx, (i64,), SIZE, inbound)?.unwrap_or_default();
    let nothing: &[u8] = &[];
    run!(tx, EMPTY, inbound, nothing)?;
    if whole {
        run!(tx, WHY, inbound)?;
    }
    Ok(bytes)
}

/// Wipes some of their conversations, answers and notes included, and what they wrote in others. Answers how many; 0 when none is
/// left. Comes after [`messages`], which finds messages by conversation.
///
/// # Errors
/// When the database fails.
pub async fn conversations(tx: &mut Tx, who: &Erasing<'_>) -> Result<u64, StoreError> {
    const FIND: &str = "SELECT id FROM threads WHERE (address_key = $1 OR subscriber_id = $2) \
        AND address <> '' ORDER BY id LIMIT $3 + 0";
    const THREAD: &str = "UPDATE threads SET state = 'closed', address = '', address_key = 'erased:' || id, name = '', \
        subject = '', waiting_since = NULL WHERE id = $1";
    const POSTS: &str = "UPDATE posts SET from_name = '', from_address = '', text = '', folded = '', message_id = NULL \
        WHERE thread_id = $1";
    const ATTACHMENTS: &str =
        "DELETE FROM attachments WHERE post_id IN (SELECT id FROM posts WHERE thread_id = $1)";
    // Answers that wait for a word of their author.
    const HELD_FILES: &str =
        "DELETE FROM body_files WHERE body_id IN (SELECT body_id FROM held_answers WHERE thread_id = $1)";
    const HELD_BODIES: &str = "UPDATE bodies SET frame = '{}', body = '{}' WHERE edition_id IS NULL \
        AND id IN (SELECT body_id FROM held_answers WHERE thread_id = $1)";
    const HELD: &str = "UPDATE held_answers SET text = '', files = '[]', \
        state = CASE WHEN state = 'held' THEN 'dropped' ELSE state END WHERE thread_id = $1";
    const ELSEWHERE: &str = "SELECT id FROM posts WHERE (lower(from_address) = $1 OR lower(from_address) = $2) \
        AND from_address <> '' AND kind = 'subscriber' ORDER BY id LIMIT $3 + 0";
    const POST: &str = "UPDATE posts SET from_name = '', from_address = '', text = '', folded = '', message_id = NULL \
        WHERE id = $1";
    let found = rows!(tx, (i64,), FIND, who.key, who.id(), THREADS)?;
    for (thread,) in &found {
        for sql in [ATTACHMENTS, HELD_FILES, HELD_BODIES, HELD, POSTS, THREAD] {
            run!(tx, sql, *thread)?;
        }
    }
    let elsewhere = rows!(tx, (i64,), ELSEWHERE, who.key, who.ascii(), THREADS)?;
    for (post,) in &elsewhere {
        run!(tx, "DELETE FROM attachments WHERE post_id = $1", *post)?;
        run!(tx, POST, *post)?;
    }
    Ok((found.len() + elsewhere.len()) as u64)
}

/// Whether anything is known about an address that is no subscriber's.
///
/// # Errors
/// When the database fails.
pub async fn is_known(tx: &mut Tx, who: &Erasing<'_>) -> Result<bool, StoreError> {
    let ascii = who.ascii();
    for sql in [
        "SELECT CAST(1 AS BIGINT) WHERE EXISTS (SELECT 1 FROM threads WHERE address_key = $1 OR address_key = $2)",
        "SELECT CAST(1 AS BIGINT) WHERE EXISTS (SELECT 1 FROM suppressions WHERE address_key = $1 OR address_key = $2)",
        "SELECT CAST(1 AS BIGINT) WHERE EXISTS (SELECT 1 FROM posts WHERE lower(from_address) = $1 OR lower(from_address) = $2)",
        "SELECT CAST(1 AS BIGINT) WHERE EXISTS (SELECT 1 FROM inbound \
            WHERE envelope_from IS NOT NULL AND (lower(envelope_from) = $1 OR lower(envelope_from) = $2))",
        "SELECT CAST(1 AS BIGINT) WHERE EXISTS (SELECT 1 FROM deliveries \
            WHERE address IS NOT NULL AND (lower(address) = $1 OR lower(address) = $2))",
        "SELECT CAST(1 AS BIGINT) WHERE EXISTS (SELECT 1 FROM audit WHERE subject = $1 OR subject = $2)",
    ] {
        if row!(tx, (i64,), sql, who.key, ascii.as_str())?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
