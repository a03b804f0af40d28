//! Throwing away what is too old to keep (W191), a bounded piece at a time. Counts stay: rows of the ledger lose what peers said, and
//! nothing else.
//!
//! Tables that grow at their end are read from their beginning, so a piece costs the same however much there is. The ledger and the
//! consents keep most of their rows for ever: `retention` says how far they were gone through. What was not over by then is in
//! `retention_waits` and is looked at in each round: an edition on hold, or a mail that waits for an operator, keeps no other one.
//! Known gap: a mail that nobody decides about keeps its words, because it may still be sent.

use std::net::IpAddr;

use super::erasure::{MESSAGES, Wiped, empty};
use super::sql::{row, rows, run};
use super::{StoreError, Tx};
use crate::runtime::Timestamp;

/// Rows that are deleted at a time, and rows that are gone through.
const DELETED: i64 = 500;
const WALKED: i64 = 1000;

/// Longer than mail is tried for. What was queued that long before all that is too old is not waited for.
const TRIED_FOR: i64 = 7 * 86_400_000;

/// A date further ahead than clocks differ by is a mistake of whoever wrote it.
const AHEAD: i64 = 86_400_000;

/// What stands in place of the address of a network.
const REMOVED: &str = "(removed)";

/// Empties received messages that came before then, those of open conversations left out: their attachments are in them.
///
/// # Errors
/// When the database fails.
pub async fn messages(tx: &mut Tx, before: Timestamp) -> Result<u64, StoreError> {
    const OLD: &str = "SELECT i.id FROM inbound i WHERE i.emptied_at IS NULL AND i.received_at < $1 \
        AND i.state <> 'received' AND NOT EXISTS (SELECT 1 FROM threads t WHERE t.id = i.thread_id AND t.state <> 'closed') \
        ORDER BY i.received_at LIMIT $2 + 0";
    let mut wiped = Wiped::default();
    for (id,) in rows!(tx, (i64,), OLD, before.millis(), MESSAGES)? {
        if !wiped.has_room() {
            break;
        }
        wiped.note(empty(tx, id, false).await?);
    }
    Ok(wiped.messages)
}

/// Deletes attempts that were made before then.
///
/// # Errors
/// When the database fails.
pub async fn attempts(tx: &mut Tx, before: Timestamp) -> Result<u64, StoreError> {
    const SQL: &str = "DELETE FROM attempts WHERE at < $1 \
        AND id IN (SELECT o.id FROM attempts o ORDER BY o.id LIMIT $2 + 0)";
    Ok(run!(tx, SQL, before.millis(), DELETED)?)
}

/// Deletes lines of the audit that are older.
///
/// # Errors
/// When the database fails.
pub async fn audit(tx: &mut Tx, before: Timestamp) -> Result<u64, StoreError> {
    const SQL: &str =
        "DELETE FROM audit WHERE at < $1 AND id IN (SELECT o.id FROM audit o ORDER BY o.id LIMIT $2 + 0)";
    Ok(run!(tx, SQL, before.millis(), DELETED)?)
}

/// Over, and too old to keep what was said.
const OVER: &str =
    "(state = 'accepted' OR state = 'refused' OR state = 'expired' OR state = 'skipped') AND settled_at < $3";

/// Takes what peers said off deliveries that were settled before then, and the words off mails that were no editions, once nobody
/// waits for them. What waits for an operator's word keeps both. Answers how many rows were gone through.
///
/// # Errors
/// When the database fails.
pub async fn replies(tx: &mut Tx, before: Timestamp) -> Result<u64, StoreError> {
    const NEXT: &str = "SELECT d.id, d.state, d.settled_at, \
            coalesce(e.queued_at, d.first_attempt_at, d.due_at, d.settled_at, 0) \
        FROM deliveries d LEFT JOIN editions e ON e.id = d.edition_id WHERE d.id > $1 ORDER BY d.id LIMIT $2 + 0";
    let after = reached(tx, "deliveries").await?;
    let (mut last, mut count, mut waiting) = (after, 0, Vec::new());
    for (id, state, settled, born) in rows!(tx, (i64, String, Option<i64>, i64), NEXT, after, WALKED)? {
        if !is_over(&state, settled, before) {
            if born >= before.millis() - TRIED_FOR {
                break;
            }
            waiting.push(id);
        }
        (last, count) = (id, count + 1);
    }
    if count == 0 {
        return Ok(0);
    }
    for id in waiting {
        const NOTE: &str =
            "INSERT INTO retention_waits (delivery_id) VALUES ($1) ON CONFLICT (delivery_id) DO NOTHING";
        run!(tx, NOTE, id)?;
    }
    forget(tx, (after, last), before).await?;
    reach(tx, "deliveries", last).await?;
    Ok(count)
}

/// As [`replies`], for those that were not over when they were gone by. Answers how many rows were gone through where there may be
/// more, else how many are over now.
///
/// # Errors
/// When the database fails.
pub async fn late_replies(tx: &mut Tx, before: Timestamp) -> Result<u64, StoreError> {
    const NEXT: &str = "SELECT w.delivery_id, d.state, d.settled_at FROM retention_waits w \
        JOIN deliveries d ON d.id = w.delivery_id WHERE w.delivery_id > $1 ORDER BY w.delivery_id LIMIT $2 + 0";
    let after = reached(tx, "waits").await?;
    let found = rows!(tx, (i64, String, Option<i64>), NEXT, after, WALKED)?;
    let mut over = 0;
    for (id, state, settled) in &found {
        if is_over(state, *settled, before) {
            forget(tx, (*id - 1, *id), before).await?;
            run!(tx, "DELETE FROM retention_waits WHERE delivery_id = $1", *id)?;
            over += 1;
        }
    }
    let more = found.len() as i64 == WALKED;
    // The next round begins with the first one.
    let up_to = found.last().map_or(0, |(id, ..)| *id);
    let next = if more { up_to } else { 0 };
    if next != after {
        reach(tx, "waits", next).await?;
    }
    Ok(if more { found.len() as u64 } else { over })
}

fn is_over(state: &str, settled: Option<i64>, before: Timestamp) -> bool {
    let ended = matches!(state, "accepted" | "refused" | "expired" | "skipped");
    ended && settled.is_some_and(|at| at < before.millis())
}

/// Of deliveries above `after` and up to `last` that are over. Reports share their words: the last one takes them along.
async fn forget(tx: &mut Tx, (after, last): (i64, i64), before: Timestamp) -> Result<(), StoreError> {
    let reply = sqlx::AssertSqlSafe(format!(
        "UPDATE deliveries SET last_reply = NULL WHERE id > $1 AND id <= $2 AND last_reply IS NOT NULL AND {OVER}"
    ));
    let unread = unread();
    let words = sqlx::AssertSqlSafe(format!(
        "UPDATE bodies SET frame = '{{}}', body = '{{}}' WHERE edition_id IS NULL AND id IN {unread}"
    ));
    let files = sqlx::AssertSqlSafe(format!("DELETE FROM body_files WHERE body_id IN {unread}"));
    run!(tx, reply, after, last, before.millis())?;
    run!(tx, words, after, last, before.millis())?;
    run!(tx, files, after, last, before.millis())?;
    Ok(())
}

/// The bodies of these deliveries that nobody waits for any more. `+ 0`: a plain IS NULL makes SQLite read all mail that is no
/// edition's in place of the range.
pub(super) fn unread() -> String {
    format!(
        "(SELECT f.body_id FROM deliveries f WHERE f.id > $1 AND f.id <= $2 AND (f.edition_id + 0) IS NULL \
            AND NOT EXISTS (SELECT 1 FROM deliveries w WHERE w.body_id = f.body_id AND w.edition_id IS NULL \
                AND NOT coalesce({OVER}, 1 = 0)))"
    )
}

pub(super) const OLD_BOUNCES: &str =
    "SELECT o.id FROM bounces o WHERE o.said <> '' AND o.at < $1 ORDER BY o.at LIMIT $2 + 0";

/// Takes the words of servers off what came back before then: what it was, and of which mail, stays. Answers how many rows.
///
/// # Errors
/// When the database fails.
pub async fn bounces(tx: &mut Tx, before: Timestamp) -> Result<u64, StoreError> {
    let sql = sqlx::AssertSqlSafe(format!("UPDATE bounces SET said = '' WHERE id IN ({OLD_BOUNCES})"));
    Ok(run!(tx, sql, before.millis(), DELETED)?)
}

/// Takes addresses of networks out of consents that were given before then: who agreed to what and when stays. Confirmed wishes go
/// whole, because the consents hold them. A consent of a time that is still to come keeps none behind it. Answers how many rows were
/// gone through.
///
/// # Errors
/// When the database fails.
pub async fn networks(tx: &mut Tx, before: Timestamp, now: Timestamp) -> Result<u64, StoreError> {
    const NEXT: &str = "SELECT id, at, text FROM consents WHERE id > $1 ORDER BY id LIMIT $2 + 0";
    const WISHES: &str = "DELETE FROM requests WHERE id IN (SELECT id FROM requests \
        WHERE confirmed_at IS NOT NULL AND confirmed_at < $1 ORDER BY id LIMIT $2 + 0)";
    let after = reached(tx, "consents").await?;
    let found = rows!(tx, (i64, i64, String), NEXT, after, WALKED)?;
    let is_old = |at: i64| at < before.millis() || at > now.millis() + AHEAD;
    let old: Vec<_> = found.iter().take_while(|(_, at, _)| is_old(*at)).collect();
    for (id, _, text) in &old {
        if let Some(text) = without_networks(text) {
            run!(tx, "UPDATE consents SET text = $2 WHERE id = $1", *id, text)?;
        }
    }
    if let Some((last, ..)) = old.last() {
        reach(tx, "consents", *last).await?;
    }
    Ok(old.len() as u64 + run!(tx, WISHES, before.millis(), DELETED)?)
}

/// The same text without addresses of networks; `None` where it has none.
fn without_networks(text: &str) -> Option<String> {
    let is_one = |word: &str| {
        word.trim_matches(|c: char| !c.is_ascii_hexdigit() && c != ':')
            .trim_end_matches(':')
            .parse::<IpAddr>()
            .is_ok()
    };
    if !text.split(' ').any(is_one) {
        return None;
    }
    let clean = |word: &str| -> String {
        if !is_one(word) {
            return word.to_owned();
        }
        let end: String = word.chars().rev().take_while(|c| !c.is_ascii_hexdigit()).collect();
        format!("{REMOVED}{}", end.chars().rev().collect::<String>())
    };
    Some(text.split(' ').map(clean).collect::<Vec<_>>().join(" "))
}

/// Marks links that are mailed too late as expired: `ago` is when they were due, and a deferral makes none younger. They are few.
///
/// # Errors
/// When the database fails.
pub async fn late_links(tx: &mut Tx, ago: Timestamp, now: Timestamp) -> Result<u64, StoreError> {
    const SQL: &str = "UPDATE deliveries SET state = 'expired', due_at = NULL, settled_at = $2, \
            last_reply = 'its link works no more' \
        WHERE state = 'queued' AND stream = -2 AND kind = 'sign_in' \
            AND coalesce(first_attempt_at, due_at) <= $1 + 0";
    Ok(run!(tx, SQL, ago.millis(), now.millis())?)
}

/// Whether [`late_links`] has something to do.
///
/// # Errors
/// When the database fails.
pub async fn has_late_links(tx: &mut Tx, ago: Timestamp) -> Result<bool, StoreError> {
    const SQL: &str = "SELECT CAST(1 AS BIGINT) WHERE EXISTS (SELECT 1 FROM deliveries \
        WHERE state = 'queued' AND stream = -2 AND kind = 'sign_in' \
            AND coalesce(first_attempt_at, due_at) <= $1 + 0)";
    Ok(row!(tx, (i64,), SQL, ago.millis())?.is_some())
}

async fn reached(tx: &mut Tx, what: &str) -> Result<i64, StoreError> {
    let found = row!(tx, (i64,), "SELECT up_to FROM retention WHERE what = $1", what)?;
    Ok(found.map_or(0, |(up_to,)| up_to))
}

async fn reach(tx: &mut Tx, what: &str, up_to: i64) -> Result<(), StoreError> {
    const SQL: &str = "INSERT INTO retention (what, up_to) VALUES ($1, $2) \
        ON CONFLICT (what) DO UPDATE SET up_to = excluded.up_to";
    run!(tx, SQL, what, up_to)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::without_networks;

    #[test]
    fn only_addresses_of_networks_are_taken_out() {
        for (text, clean) in [
            (
                "asked on the website at 2026-11-24T14:00:00Z from 2001:db8::1: \"Send me\"; confirmed by mail from 10.1.2.3",
                "asked on the website at 2026-11-24T14:00:00Z from (removed): \"Send me\"; confirmed by mail from (removed)",
            ),
            (
                "took the leaving back on the same page, from ::1",
                "took the leaving back on the same page, from (removed)",
            ),
            ("from 127.0.0.1", "from (removed)"),
        ] {
            assert_eq!(without_networks(text).as_deref(), Some(clean));
        }
        for text in ["", "import", "version 1.2.3 of 2026", "at 14:00, beef: a cafe", "asked by a mail"] {
            assert_eq!(without_networks(text), None, "{text}");
        }
    }
}
