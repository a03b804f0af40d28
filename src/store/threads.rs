//! `threads`, `posts`, `attachments` and the view `chat_support_inbox`: support conversations.

use super::sql::{row, rows, rows_each, run};
use super::staff::StaffRow;
use super::{StoreError, Tx, search, word};
use crate::domain::thread::{PostKind, ThreadState};
use crate::runtime::Timestamp;

/// A conversation that is about to be opened.
#[derive(Clone, Debug)]
pub struct NewThread<'a> {
    pub subscriber_id: Option<i64>,
    pub address: &'a str,
    pub address_key: &'a str,
    pub name: &'a str,
    pub subject: &'a str,
    pub edition_id: Option<i64>,
    /// The thread that the message cites although its sender takes no part in it.
    pub suspected: Option<i64>,
}

/// Opens a conversation; the answer is its number.
///
/// # Errors
/// When the database fails.
pub async fn open(tx: &mut Tx, thread: &NewThread<'_>, now: Timestamp) -> Result<i64, StoreError> {
    const SQL: &str = "INSERT INTO threads (state, subscriber_id, address, address_key, name, subject, edition_id, \
            suspected_thread_id, waiting_since, created_at, last_post_at) \
        VALUES ('open', $1, $2, $3, $4, $5, $6, $7, $8, $8, $8) RETURNING id";
    let (id,) = row!(
        tx,
        (i64,),
        SQL,
        thread.subscriber_id,
        thread.address,
        thread.address_key,
        thread.name,
        thread.subject,
        thread.edition_id,
        thread.suspected,
        now.millis()
    )?
    .ok_or(StoreError::Corrupt { what: "a thread", why: "no id came back".into() })?;
    Ok(id)
}

/// One message or note of a conversation, about to be added.
#[derive(Clone, Debug)]
pub struct NewPost<'a> {
    pub thread: i64,
    pub kind: PostKind,
    pub from_name: &'a str,
    pub from_address: &'a str,
    pub text: &'a str,
    pub folded: &'a str,
    pub message_id: Option<&'a str>,
    pub inbound_id: Option<i64>,
    /// The member of staff who wrote it.
    pub staff_id: Option<i64>,
    pub attachments: &'a [Attachment],
}

impl<'a> NewPost<'a> {
    /// A note of a member of staff, by no mail.
    pub fn note(thread: i64, member: &'a StaffRow, text: &'a str) -> NewPost<'a> {
        NewPost {
            thread,
            kind: PostKind::Note,
            from_name: &member.name,
            from_address: &member.address,
            text,
            folded: "",
            message_id: None,
            inbound_id: None,
            staff_id: Some(member.id),
            attachments: &[],
        }
    }
}

/// What a post has beside its text; the bytes stay in the raw message.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Attachment {
    pub name: String,
    #[serde(rename = "type")]
    pub media_type: String,
    pub bytes: i64,
}

/// Adds a post. A subscriber's words reopen the thread and start its waiting time, unless it waits already; an answer of staff
/// ends it; notes and automatic mail change nothing but the list of posts.
///
/// # Errors
/// When the database fails.
pub async fn add_post(tx: &mut Tx, post: &NewPost<'_>, now: Timestamp) -> Result<i64, StoreError> {
    const SQL: &str = "INSERT INTO posts (thread_id, kind, from_name, from_address, at, text, folded, message_id, \
            inbound_id, staff_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id";
    let (id,) = row!(
        tx,
        (i64,),
        SQL,
        post.thread,
        post.kind.as_str(),
        post.from_name,
        post.from_address,
        now.millis(),
        post.text,
        post.folded,
        post.message_id,
        post.inbound_id,
        post.staff_id
    )?
    .ok_or(StoreError::Corrupt { what: "a post", why: "no id came back".into() })?;
    for attachment in post.attachments {
        const ATTACH: &str = "INSERT INTO attachments (post_id, name, type, bytes) VALUES ($1, $2, $3, $4)";
        run!(tx, ATTACH, id, attachment.name.as_str(), attachment.media_type.as_str(), attachment.bytes)?;
    }
    if post.kind == PostKind::Subscriber {
        const REOPEN: &str = "UPDATE threads SET state = 'open', last_post_at = $2, \
            waiting_since = coalesce(waiting_since, $2) WHERE id = $1";
        run!(tx, REOPEN, post.thread, now.millis())?;
    }
    if post.kind == PostKind::Staff {
        const ANSWERED: &str =
            "UPDATE threads SET state = 'waiting', last_post_at = $2, waiting_since = NULL WHERE id = $1";
        run!(tx, ANSWERED, post.thread, now.millis())?;
    }
    Ok(id)
}

/// Closes a conversation, or opens it again: then somebody waits from now on. Answers whether it was in another state.
///
/// # Errors
/// When the database fails.
pub async fn set_open(tx: &mut Tx, thread: i64, open: bool, now: Timestamp) -> Result<bool, StoreError> {
    const OPEN: &str = "UPDATE threads SET state = 'open', waiting_since = $2 WHERE id = $1 AND state = 'closed' AND merged_into IS NULL";
    const CLOSE: &str =
        "UPDATE threads SET state = 'closed', waiting_since = NULL WHERE id = $1 AND state <> 'closed'";
    Ok(match open {
        true => run!(tx, OPEN, thread, now.millis())?,
        false => run!(tx, CLOSE, thread)?,
    } > 0)
}

/// Hands a conversation to a member, or to nobody.
///
/// # Errors
/// When the database fails.
pub async fn assign(tx: &mut Tx, thread: i64, staff: Option<i64>) -> Result<bool, StoreError> {
    Ok(run!(tx, "UPDATE threads SET assigned_to = $2 WHERE id = $1", thread, staff)? > 0)
}

/// Where a conversation goes on: itself, or the one that it was joined to.
///
/// # Errors
/// When the database fails.
pub async fn current(tx: &mut Tx, thread: i64) -> Result<i64, StoreError> {
    let mut at = thread;
    // Joining follows before it writes, so a chain is short; a wrong one must not hold anybody.
    for _ in 0..MERGES_MAX {
        let next = row!(tx, (Option<i64>,), "SELECT merged_into FROM threads WHERE id = $1", at)?;
        match next {
            Some((Some(next),)) => at = next,
            _ => break,
        }
    }
    Ok(at)
}

/// As [`current`]; and until this transaction ends, everybody else waits who writes in it, joins it to another one or splits it.
/// Whoever adds a post holds its conversation first: it would else stay behind in one that was joined to another meanwhile.
///
/// # Errors
/// When the database fails.
pub async fn hold(tx: &mut Tx, thread: i64) -> Result<i64, StoreError> {
    const SQL: &str = "UPDATE threads SET state = state WHERE id = $1 RETURNING merged_into";
    let mut at = thread;
    for _ in 0..MERGES_MAX {
        match row!(tx, (Option<i64>,), SQL, at)? {
            Some((Some(next),)) => at = next,
            _ => break,
        }
    }
    Ok(at)
}

const MERGES_MAX: usize = 10;

/// Moves the posts of one conversation into another and leaves a sign there. Both must be with the same person, and held.
///
/// # Errors
/// When the database fails.
pub async fn merge(tx: &mut Tx, from: i64, into: i64) -> Result<bool, StoreError> {
    const SIGN: &str = "UPDATE threads SET state = 'closed', waiting_since = NULL, merged_into = $2 \
        WHERE id = $1 AND id <> $2 AND address_key = (SELECT i.address_key FROM threads i WHERE i.id = $2)";
    let waiting = row!(tx, (Option<i64>,), "SELECT waiting_since FROM threads WHERE id = $1", from)?;
    if run!(tx, SIGN, from, into)? == 0 {
        return Ok(false);
    }
    run!(tx, "UPDATE posts SET thread_id = $2 WHERE thread_id = $1", from, into)?;
    super::held::follow(tx, from, into).await?;
    if waiting.is_some_and(|(since,)| since.is_some()) {
        run!(tx, "UPDATE threads SET state = 'open' WHERE id = $1", into)?;
    }
    wait_again(tx, into).await?;
    Ok(true)
}

/// Moves the posts from `post` on into a conversation of their own with the same person; it must be held. Answers its number;
/// `None` where that would leave one of the two empty, or the post is not in it.
///
/// # Errors
/// When the database fails.
pub async fn split(tx: &mut Tx, thread: i64, post: i64, now: Timestamp) -> Result<Option<i64>, StoreError> {
    const COUNT: &str = "SELECT count(CASE WHEN id < $2 THEN 1 END), count(CASE WHEN id = $2 THEN 1 END) \
        FROM posts WHERE thread_id = $1";
    const NEW: &str = "INSERT INTO threads (state, subscriber_id, address, address_key, name, subject, edition_id, \
            suspected_thread_id, assigned_to, waiting_since, created_at, last_post_at) \
        SELECT state, subscriber_id, address, address_key, name, subject, NULL, id, assigned_to, waiting_since, $2, \
            last_post_at FROM threads WHERE id = $1 RETURNING id";
    let (before, found) = row!(tx, (i64, i64), COUNT, thread, post)?.unwrap_or_default();
    if before == 0 || found == 0 {
        return Ok(None);
    }
    let Some((new,)) = row!(tx, (i64,), NEW, thread, now.millis())? else { return Ok(None) };
    run!(tx, "UPDATE posts SET thread_id = $3 WHERE thread_id = $1 AND id >= $2", thread, post, new)?;
    wait_again(tx, thread).await?;
    wait_again(tx, new).await?;
    Ok(Some(new))
}

/// Says anew since when a conversation waits whose posts have changed: since the first word of the subscriber that nobody answered.
/// A closed one stays closed.
async fn wait_again(tx: &mut Tx, thread: i64) -> Result<(), StoreError> {
    const SINCE: &str = "UPDATE threads SET waiting_since = (SELECT min(p.at) FROM posts p WHERE p.thread_id = $1 \
            AND p.kind = 'subscriber' AND p.id > coalesce((SELECT max(s.id) FROM posts s \
                WHERE s.thread_id = $1 AND s.kind = 'staff'), 0)) WHERE id = $1 AND state <> 'closed'";
    const STATE: &str = "UPDATE threads SET state = CASE WHEN waiting_since IS NULL THEN 'waiting' ELSE 'open' END \
        WHERE id = $1 AND state <> 'closed'";
    run!(tx, SINCE, thread)?;
    run!(tx, STATE, thread)?;
    Ok(())
}

/// Who a conversation is with, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Participant {
    pub thread: i64,
    pub address_key: String,
    pub subscriber_id: Option<i64>,
    pub address: String,
    pub state: String,
    pub assigned_to: Option<i64>,
    pub last_post_at: i64,
}

/// # Errors
/// When the database fails.
pub async fn participant(tx: &mut Tx, thread: i64) -> Result<Option<Participant>, StoreError> {
    const SQL: &str = "SELECT id AS thread, address_key, subscriber_id, address, state, assigned_to, last_post_at \
        FROM threads WHERE id = $1";
    Ok(row!(tx, Participant, SQL, thread)?)
}

/// The conversations that hold a message with one of these ids, as (id, thread), in no order.
///
/// # Errors
/// When the database fails.
pub async fn by_message_ids(tx: &mut Tx, ids: &[String]) -> Result<Vec<(String, i64)>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let markers = super::sql::markers(ids.len(), 1);
    let sql = format!("SELECT message_id, thread_id FROM posts WHERE message_id IN ({markers})");
    Ok(rows_each!(tx, (String, i64), sql, ids, |query, id| query.bind(id.as_str()))?)
}

/// The conversation that already is about this delivery's edition with this person, if it is not older than `since`.
///
/// # Errors
/// When the database fails.
pub async fn about_edition(
    tx: &mut Tx,
    address_key: &str,
    edition_id: i64,
    since: Timestamp,
) -> Result<Option<i64>, StoreError> {
    const SQL: &str = "SELECT id FROM threads WHERE address_key = $1 AND edition_id = $2 AND last_post_at >= $3 \
        ORDER BY id DESC LIMIT 1";
    Ok(row!(tx, (i64,), SQL, address_key, edition_id, since.millis())?.map(|(id,)| id))
}

/// Whether a conversation is with somebody who is no subscriber.
///
/// # Errors
/// When the database fails.
pub async fn is_a_strangers(tx: &mut Tx, thread: i64) -> Result<bool, StoreError> {
    const SQL: &str = "SELECT id FROM threads WHERE id = $1 AND subscriber_id IS NULL";
    Ok(row!(tx, (i64,), SQL, thread)?.is_some())
}

/// How many posts strangers have written since then.
///
/// # Errors
/// When the database fails.
pub async fn strangers_since(tx: &mut Tx, since: Timestamp) -> Result<i64, StoreError> {
    const SQL: &str = "SELECT count(*) FROM posts p JOIN threads t ON t.id = p.thread_id \
        WHERE t.subscriber_id IS NULL AND t.last_post_at >= $1 AND p.at >= $1 AND p.kind = 'subscriber'";
    Ok(row!(tx, (i64,), SQL, since.millis())?.map_or(0, |(count,)| count))
}

/// Earlier conversations with this person, the newest first: number, subject, state.
///
/// # Errors
/// When the database fails.
pub async fn earlier(
    tx: &mut Tx,
    address_key: &str,
    except: i64,
    limit: i64,
) -> Result<Vec<(i64, String, String)>, StoreError> {
    const SQL: &str = "SELECT id, subject, state FROM threads WHERE address_key = $1 AND id <> $2 \
        ORDER BY id DESC LIMIT $3 + 0";
    Ok(rows!(tx, (i64, String, String), SQL, address_key, except, limit)?)
}

/// One row of `inbox list`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ThreadRow {
    pub thread: i64,
    pub number: i64,
    pub state: ThreadState,
    pub subscriber: String,
    #[serde(skip)]
    pub name: String,
    pub tier: Option<String>,
    pub subject: String,
    pub edition: Option<String>,
    pub assigned_to: Option<String>,
    pub waiting_since: Option<Timestamp>,
    pub posts: i64,
    pub last_post_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct Listed {
    thread: i64,
    state: String,
    subscriber: String,
    name: String,
    tier: Option<String>,
    subject: String,
    edition: Option<String>,
    assigned_to: Option<String>,
    waiting_since: Option<i64>,
    posts: i64,
    last_post_at: i64,
}

const COLUMNS: &str = "SELECT thread, state, subscriber, name, tier, subject, edition, assigned_to, waiting_since, \
    posts, last_post_at FROM chat_support_inbox";

const ALL: &str = "SELECT t.id AS thread, t.state, t.address AS subscriber, t.name, s.tier, t.subject, \
        e.slug AS edition, a.name AS assigned_to, t.waiting_since, \
        (SELECT count(*) FROM posts p WHERE p.thread_id = t.id) AS posts, t.last_post_at \
    FROM threads t LEFT JOIN subscribers s ON s.id = t.subscriber_id \
    LEFT JOIN editions e ON e.id = t.edition_id LEFT JOIN staff a ON a.id = t.assigned_to";

/// What support reads: open and waiting threads, who waits longest first.
///
/// # Errors
/// When the database fails.
pub async fn inbox(tx: &mut Tx, search: &str, limit: i64) -> Result<Vec<ThreadRow>, StoreError> {
    let sql = format!(
        "{COLUMNS} WHERE $1 = '' OR thread IN (SELECT t.id FROM threads t WHERE {}) \
        ORDER BY waiting_since IS NULL, waiting_since, thread LIMIT $3 + 0",
        search::in_threads(tx.dialect(), "$2")
    );
    let pattern = search::pattern(tx.dialect(), search);
    let found = rows!(tx, Listed, sqlx::AssertSqlSafe(sql), search, pattern.as_str(), limit)?;
    found.into_iter().map(read).collect()
}

/// Conversations in one state, the newest first, without those that go on in another one.
///
/// # Errors
/// When the database fails.
pub async fn in_state(
    tx: &mut Tx,
    state: ThreadState,
    search: &str,
    limit: i64,
) -> Result<Vec<ThreadRow>, StoreError> {
    let sql = format!(
        "{ALL} WHERE t.state = $1 AND t.merged_into IS NULL AND ($2 = '' OR {}) \
        ORDER BY t.last_post_at DESC, t.id DESC LIMIT $4 + 0",
        search::in_threads(tx.dialect(), "$3")
    );
    let pattern = search::pattern(tx.dialect(), search);
    let found = rows!(tx, Listed, sqlx::AssertSqlSafe(sql), state.as_str(), search, pattern.as_str(), limit)?;
    found.into_iter().map(read).collect()
}

/// One thread, closed or not.
///
/// # Errors
/// When the database fails.
pub async fn show(tx: &mut Tx, thread: i64) -> Result<Option<ThreadRow>, StoreError> {
    let sql = format!("{ALL} WHERE t.id = $1");
    row!(tx, Listed, sqlx::AssertSqlSafe(sql), thread)?.map(read).transpose()
}

fn read(row: Listed) -> Result<ThreadRow, StoreError> {
    Ok(ThreadRow {
        thread: row.thread,
        number: row.thread,
        state: word("a thread's state", &row.state, ThreadState::from_word)?,
        subscriber: row.subscriber,
        name: row.name,
        tier: row.tier,
        subject: row.subject,
        edition: row.edition,
        assigned_to: row.assigned_to,
        waiting_since: row.waiting_since.map(Timestamp),
        posts: row.posts,
        last_post_at: Timestamp(row.last_post_at),
    })
}

/// One post as `inbox show` has it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PostRow {
    pub id: i64,
    pub kind: PostKind,
    pub from: String,
    pub at: Timestamp,
    pub text: String,
    pub folded: String,
    pub attachments: Vec<Attachment>,
    pub message_id: Option<String>,
}

/// The posts of a thread in order.
///
/// # Errors
/// When the database fails.
pub async fn posts(tx: &mut Tx, thread: i64) -> Result<Vec<PostRow>, StoreError> {
    type Row = (i64, String, String, i64, String, String, Option<String>);
    const POSTS: &str = "SELECT id, kind, from_address, at, text, folded, message_id FROM posts \
        WHERE thread_id = $1 ORDER BY id";
    const ATTACHMENTS: &str = "SELECT a.post_id, a.name, a.type, a.bytes FROM attachments a \
        JOIN posts p ON p.id = a.post_id WHERE p.thread_id = $1 ORDER BY a.id";
    let mut posts = Vec::new();
    for (id, kind, from, at, text, folded, message_id) in rows!(tx, Row, POSTS, thread)? {
        posts.push(PostRow {
            id,
            kind: word("a post's kind", &kind, PostKind::from_word)?,
            from,
            at: Timestamp(at),
            text,
            folded,
            attachments: Vec::new(),
            message_id,
        });
    }
    for (post, name, media_type, bytes) in rows!(tx, (i64, String, String, i64), ATTACHMENTS, thread)? {
        if let Some(owner) = posts.iter_mut().find(|candidate| candidate.id == post) {
            owner.attachments.push(Attachment { name, media_type, bytes });
        }
    }
    Ok(posts)
}
