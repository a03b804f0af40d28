//! What the desk's pages ask for: lists by waiting time, one conversation with its posts, and the files of a post. A page reads a bounded
//! number of rows and of characters, whatever people send.

use super::sql::{row, rows};
use super::{StoreError, Tx, answers, search, word};
use crate::domain::desk::Seen;
use crate::domain::publication::TierId;
use crate::domain::thread::{PostKind, ThreadState};
use crate::runtime::Timestamp;
use crate::store::answers::BodyFile;

/// Characters of one post that a page shows, of its words and of what is folded. The raw message has all of them.
pub const SHOWN_MAX: usize = 20_000;

/// Characters of all posts of a page. What is more is behind the link to older posts.
const PAGE_MAX: usize = 200_000;

/// Which conversations.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// `None`: in any state.
    pub state: Option<ThreadState>,
    /// In number, subject, address, name and words; empty: all of them.
    pub search: &'a str,
    /// Whose people come first.
    pub paid: &'a [TierId],
    pub skip: i64,
    pub limit: i64,
}

/// One line of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub number: i64,
    pub state: ThreadState,
    pub name: String,
    pub address: String,
    /// `None`: no subscriber.
    pub tier: Option<String>,
    pub term_ends_at: Option<Timestamp>,
    pub subject: String,
    pub assigned_to: Option<String>,
    pub waiting_since: Option<Timestamp>,
    pub last_post_at: Timestamp,
    /// The start of the newest post that a person wrote.
    pub words: String,
}

#[derive(sqlx::FromRow)]
struct Listed {
    number: i64,
    state: String,
    name: String,
    address: String,
    tier: Option<String>,
    term_ends_at: Option<i64>,
    subject: String,
    assigned_to: Option<String>,
    waiting_since: Option<i64>,
    last_post_at: i64,
    words: Option<String>,
}

/// Who waits for us first, then who pays, then who waits for longest; then what was last touched. `$1` are the paid tiers, each
/// between commas, `$2` is now.
const ORDER: &str = "CASE t.state WHEN 'open' THEN 0 WHEN 'waiting' THEN 1 ELSE 2 END, \
    CASE WHEN t.state = 'open' AND s.tier IS NOT NULL AND (s.term_ends_at IS NULL OR s.term_ends_at > $2) \
        AND replace($1, ',' || s.tier || ',', '') <> $1 THEN 0 ELSE 1 END, \
    coalesce(t.waiting_since, 0), t.last_post_at DESC, t.id DESC";

/// # Errors
/// When the database fails.
pub async fn list(tx: &mut Tx, asked: &Asked<'_>, now: Timestamp) -> Result<Vec<Line>, StoreError> {
    let state = asked.state.map(|state| format!(" AND t.state = '{state}'")).unwrap_or_default();
    let search = match asked.search {
        "" => " AND $3 = $4".to_owned(),
        _ => format!(" AND (CAST(t.id AS TEXT) = $4 OR {})", search::in_threads(tx.dialect(), "$3")),
    };
    // The page is cut out first, so that words are read for its rows only.
    let sql = format!(
        "SELECT t.id AS number, t.state, t.name, t.address, s.tier, s.term_ends_at, t.subject, \
            a.name AS assigned_to, t.waiting_since, t.last_post_at, \
            (SELECT substr(p.text, 1, 200) FROM posts p WHERE p.thread_id = t.id AND p.kind <> 'automatic' \
                ORDER BY p.id DESC LIMIT 1) AS words \
        FROM (SELECT t.id AS id FROM threads t LEFT JOIN subscribers s ON s.id = t.subscriber_id \
            WHERE t.merged_into IS NULL{state}{search} ORDER BY {ORDER} LIMIT $5 + 0 OFFSET $6 + 0) AS page \
        JOIN threads t ON t.id = page.id LEFT JOIN subscribers s ON s.id = t.subscriber_id \
        LEFT JOIN staff a ON a.id = t.assigned_to ORDER BY {ORDER}"
    );
    let paid: String = asked.paid.iter().map(|tier| format!(",{tier},")).collect();
    let needle = asked.search.trim_start_matches('#');
    let (pattern, number) = match asked.search {
        "" => (String::new(), String::new()),
        _ => (search::pattern(tx.dialect(), needle), needle.trim().to_owned()),
    };
    let sql = sqlx::AssertSqlSafe(sql);
    let found = rows!(
        tx,
        Listed,
        sql,
        paid.as_str(),
        now.millis(),
        pattern.as_str(),
        number.as_str(),
        asked.limit,
        asked.skip
    )?;
    found.into_iter().map(read).collect()
}

fn read(row: Listed) -> Result<Line, StoreError> {
    Ok(Line {
        number: row.number,
        state: word("a thread's state", &row.state, ThreadState::from_word)?,
        name: row.name,
        address: row.address,
        tier: row.tier,
        term_ends_at: row.term_ends_at.map(Timestamp),
        subject: row.subject,
        assigned_to: row.assigned_to,
        waiting_since: row.waiting_since.map(Timestamp),
        last_post_at: Timestamp(row.last_post_at),
        words: row.words.unwrap_or_default(),
    })
}

/// How many conversations wait for us, and how many for the subscriber.
///
/// # Errors
/// When the database fails.
pub async fn counts(tx: &mut Tx) -> Result<(i64, i64), StoreError> {
    const SQL: &str = "SELECT (SELECT count(*) FROM threads WHERE state = 'open'), \
        (SELECT count(*) FROM threads WHERE state = 'waiting')";
    Ok(row!(tx, (i64, i64), SQL)?.unwrap_or_default())
}

/// What a page does not learn from `threads::show`.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Beside {
    pub subscriber_id: Option<i64>,
    pub address_key: String,
    pub assigned_to: Option<i64>,
    pub suspected_thread_id: Option<i64>,
}

/// # Errors
/// When the database fails.
pub async fn beside(tx: &mut Tx, thread: i64) -> Result<Option<Beside>, StoreError> {
    const SQL: &str =
        "SELECT subscriber_id, address_key, assigned_to, suspected_thread_id FROM threads WHERE id = $1";
    Ok(row!(tx, Beside, SQL, thread)?)
}

/// One post as a page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    pub id: i64,
    pub kind: PostKind,
    pub from_name: String,
    pub from_address: String,
    pub at: Timestamp,
    /// At most [`SHOWN_MAX`] characters, as `folded`.
    pub text: String,
    pub folded: String,
    /// There is more of one of them.
    pub is_cut: bool,
    pub files: Vec<Attached>,
    /// The delivery that carries it: its state, and what the relay said last.
    pub delivery: Option<(String, Option<String>)>,
}

/// A file of a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    pub id: i64,
    pub name: String,
    pub media_type: String,
    pub bytes: i64,
}

#[derive(sqlx::FromRow)]
struct PostRow {
    id: i64,
    kind: String,
    from_name: String,
    from_address: String,
    at: i64,
    text: String,
    folded: String,
    length: i64,
    delivery: Option<String>,
    last_reply: Option<String>,
}

/// The newest posts of a conversation before `before`, oldest first: at most `limit`, and as many as are read on one page. Also
/// whether there are older ones.
///
/// # Errors
/// When the database fails.
pub async fn posts(
    tx: &mut Tx,
    thread: i64,
    before: i64,
    limit: usize,
) -> Result<(Vec<Post>, bool), StoreError> {
    let sql = format!(
        "SELECT p.id, p.kind, p.from_name, p.from_address, p.at, substr(p.text, 1, {SHOWN_MAX}) AS text, \
            substr(p.folded, 1, {SHOWN_MAX}) AS folded, \
            CAST(length(p.text) AS BIGINT) + CAST(length(p.folded) AS BIGINT) AS length, \
            d.state AS delivery, d.last_reply \
        FROM posts p LEFT JOIN deliveries d ON d.post_id = p.id AND d.staff_id IS NULL \
        WHERE p.thread_id = $1 AND p.id < $2 ORDER BY p.id DESC LIMIT $3 + 0"
    );
    const FILES: &str = "SELECT a.post_id, a.id, a.name, a.type, a.bytes FROM attachments a \
        JOIN posts p ON p.id = a.post_id WHERE p.thread_id = $1 AND p.id >= $2 AND p.id < $3 ORDER BY a.id";
    let found = rows!(tx, PostRow, sqlx::AssertSqlSafe(sql), thread, before, limit as i64 + 1)?;
    let (mut posts, mut all, mut has_older) = (Vec::new(), 0, false);
    for row in found {
        let shown = row.text.chars().count() + row.folded.chars().count();
        all += shown;
        if posts.len() == limit || (all > PAGE_MAX && !posts.is_empty()) {
            has_older = true;
            break;
        }
        posts.push(Post {
            id: row.id,
            kind: word("a post's kind", &row.kind, PostKind::from_word)?,
            from_name: row.from_name,
            from_address: row.from_address,
            at: Timestamp(row.at),
            is_cut: (shown as i64) < row.length,
            text: row.text,
            folded: row.folded,
            files: Vec::new(),
            delivery: row.delivery.map(|state| (state, row.last_reply)),
        });
    }
    posts.reverse();
    let first = posts.first().map_or(0, |post: &Post| post.id);
    type File = (i64, i64, String, String, i64);
    for (post, id, name, media_type, bytes) in rows!(tx, File, FILES, thread, first, before)? {
        if let Some(owner) = posts.iter_mut().find(|candidate| candidate.id == post) {
            owner.files.push(Attached { id, name, media_type, bytes });
        }
    }
    Ok((posts, has_older))
}

/// What a page shows of a conversation. Automatic mail is no news.
///
/// # Errors
/// When the database fails.
pub async fn seen(tx: &mut Tx, thread: i64) -> Result<Seen, StoreError> {
    const SQL: &str = "SELECT \
        coalesce((SELECT max(id) FROM posts WHERE thread_id = $1 AND kind <> 'automatic'), 0), \
        coalesce((SELECT max(id) FROM audit WHERE subject = $2 AND action LIKE 'inbox %'), 0)";
    let (post, change) = row!(tx, (i64, i64), SQL, thread, thread.to_string())?.unwrap_or_default();
    Ok(Seen { post, change })
}

/// What happened in a conversation since a page showed it; more than one of each is not told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Kind, member and words of a post.
    pub posts: Vec<(String, Option<i64>, String)>,
    /// Action and detail of a change, as the audit has them.
    pub changes: Vec<(String, String)>,
}

/// # Errors
/// When the database fails.
pub async fn news(tx: &mut Tx, thread: i64, seen: Seen) -> Result<News, StoreError> {
    const POSTS: &str = "SELECT kind, staff_id, text FROM posts WHERE thread_id = $1 AND id > $2 \
        AND kind <> 'automatic' ORDER BY id LIMIT 2";
    const CHANGES: &str = "SELECT action, detail FROM audit WHERE subject = $1 AND id > $2 \
        AND action LIKE 'inbox %' ORDER BY id LIMIT 2";
    Ok(News {
        posts: rows!(tx, (String, Option<i64>, String), POSTS, thread, seen.post)?,
        changes: rows!(tx, (String, String), CHANGES, thread.to_string(), seen.change)?,
    })
}

/// Where the octets of an attachment are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Octets {
    /// The file at this position of a raw message.
    InMessage { raw: Vec<u8>, position: usize },
    /// As it was sent.
    Sent(BodyFile),
    /// They were thrown away with the message.
    Gone,
}

/// An attachment of a post of this conversation: its name, and where its octets are. A message may be large: one at a time.
///
/// # Errors
/// When the database fails.
pub async fn file(tx: &mut Tx, thread: i64, attachment: i64) -> Result<Option<(String, Octets)>, StoreError> {
    const SQL: &str = "SELECT a.name, p.id, p.kind, p.inbound_id, \
            (SELECT count(*) FROM attachments b WHERE b.post_id = a.post_id AND b.id < a.id) \
        FROM attachments a JOIN posts p ON p.id = a.post_id WHERE a.id = $1 AND p.thread_id = $2";
    const BODY: &str =
        "SELECT body_id FROM deliveries WHERE post_id = $1 AND staff_id IS NULL ORDER BY id LIMIT 1";
    const RAW: &str = "SELECT raw FROM inbound WHERE id = $1";
    let found = row!(tx, (String, i64, String, Option<i64>, i64), SQL, attachment, thread)?;
    let Some((name, post, kind, inbound, position)) = found else { return Ok(None) };
    let position = usize::try_from(position).unwrap_or_default();
    if kind == PostKind::Staff.as_str() {
        let Some((body,)) = row!(tx, (i64,), BODY, post)? else { return Ok(Some((name, Octets::Gone))) };
        let sent = answers::files(tx, body).await?.into_iter().nth(position);
        return Ok(Some((name, sent.map_or(Octets::Gone, Octets::Sent))));
    }
    let raw = match inbound {
        Some(inbound) => row!(tx, (Vec<u8>,), RAW, inbound)?.map(|(raw,)| raw),
        None => None,
    };
    let octets =
        raw.filter(|raw| !raw.is_empty()).map_or(Octets::Gone, |raw| Octets::InMessage { raw, position });
    Ok(Some((name, octets)))
}
