//! One conversation as the desk's page shows it. Everything that somebody wrote is text, escaped by the template; the HTML of a message
//! is never shown.

use std::time::Duration;

use serde_json::{Value, json};

use super::house::{Member, Rooms};
use super::sign_in::Signing;
use crate::domain::address::Address;
use crate::domain::desk::Seen;
use crate::domain::publication::{Publication, TierId};
use crate::domain::subscriber::{Subscriber, SubscriberStatus};
use crate::domain::thread::{PostKind, ThreadState};
use crate::mail::files::TOTAL_MAX;
use crate::runtime::Timestamp;
use crate::store::desk::{self, Attached, Beside, Post};
use crate::store::staff::{self, StaffRow};
use crate::store::suppressions::{self, Suppression};
use crate::store::threads::{self, ThreadRow};
use crate::store::{StoreError, Tx, editions, people};

/// Posts of one page; older ones are behind a link.
const POSTS: usize = 100;

/// Earlier conversations that are named.
const EARLIER: i64 = 8;

const AT: &str = "%A %-d %B %Y, %H:%M";
const DAY: &str = "%-d %B %Y";

/// What a page says in answer to a form, and what was typed into it.
#[derive(Default)]
pub(super) struct Told {
    pub problem: Option<String>,
    /// They may insist.
    pub question: bool,
    /// It would have closed the conversation.
    pub closes: bool,
    pub text: String,
    /// What the form's page had shown.
    pub seen: Option<Seen>,
}

/// All that one page shows, of one moment.
pub(super) struct Whole {
    thread: ThreadRow,
    beside: Beside,
    posts: Vec<Post>,
    /// There are posts before those.
    has_older: bool,
    is_newest: bool,
    seen: Seen,
    person: Option<Person>,
    suppression: Option<Suppression>,
    earlier: Vec<(i64, String, String)>,
    edition_subject: Option<String>,
    staff: Vec<StaffRow>,
}

struct Person {
    subscriber: Subscriber,
    paused_until: Option<Timestamp>,
    extras_used: i64,
}

impl Whole {
    /// The conversation that this number leads to, with the posts before `before`.
    pub async fn read(tx: &mut Tx, number: i64, before: i64) -> Result<Option<Whole>, StoreError> {
        let number = threads::current(tx, number).await?;
        let Some(thread) = threads::show(tx, number).await? else { return Ok(None) };
        let Some(beside) = desk::beside(tx, number).await? else { return Ok(None) };
        let (posts, has_older) = desk::posts(tx, number, before, POSTS).await?;
        let person = match beside.subscriber_id {
            Some(id) => person(tx, id).await?,
            None => None,
        };
        let edition_subject = match &thread.edition {
            Some(slug) => editions::show_subject(tx, slug).await?,
            None => None,
        };
        Ok(Some(Whole {
            seen: desk::seen(tx, number).await?,
            suppression: suppressions::of(tx, &Address::trusted(thread.subscriber.clone())).await?,
            earlier: threads::earlier(tx, &beside.address_key, number, EARLIER).await?,
            staff: staff::active(tx).await?,
            is_newest: before == i64::MAX,
            thread,
            beside,
            posts,
            has_older,
            person,
            edition_subject,
        }))
    }

    pub fn number(&self) -> i64 {
        self.thread.number
    }
}

async fn person(tx: &mut Tx, id: i64) -> Result<Option<Person>, StoreError> {
    let Some(subscriber) = people::by_id(tx, id).await? else { return Ok(None) };
    let paused_until = people::paused_until(tx, id).await?;
    Ok(Some(Person { extras_used: people::extras_used(tx, id).await?, subscriber, paused_until }))
}

pub(super) fn fields(rooms: &Rooms, member: &Member, whole: &Whole, told: &Told) -> Value {
    let shown = rooms.shown();
    let publication = shown.publication();
    let thread = &whole.thread;
    let here = rooms.path(&format!("/desk/{}", thread.number));
    let (tag, standing) = standing(thread, rooms.now());
    let new_after = told.seen.map_or(i64::MAX, |seen| seen.post);
    let posts = whole.posts.iter().map(|post| self::post(publication, &here, post, new_after));
    let choices = whole.staff.iter().map(
        |one| json!({ "id": one.id, "name": one.name, "here": whole.beside.assigned_to == Some(one.id) }),
    );
    let is_erased = thread.subscriber.is_empty();
    let who = match thread.name.trim() {
        _ if is_erased => "A person who was erased",
        "" => &thread.subscriber,
        _ => &thread.name,
    };
    json!({
        "title": format!("#{} {} · Desk", thread.number, shortened(&thread.subject, 60)),
        "wide": true,
        "number": thread.number,
        "subject": if is_erased { who } else { &thread.subject },
        "erased": is_erased,
        "who": who,
        "tag": tag,
        "standing": standing,
        "taken": thread.assigned_to,
        "closed": thread.state == ThreadState::Closed,
        "list": rooms.path("/desk"),
        "here": here,
        "older": whole.has_older.then(|| whole.posts.first().map(|post| format!("{here}?before={}", post.id))),
        "newest": whole.is_newest,
        "answerable": whole.is_newest && !is_erased,
        "posts": posts.collect::<Vec<_>>(),
        "card": card(rooms, publication, whole),
        "earlier": whole.earlier.iter().map(|earlier| self::earlier(rooms, earlier)).collect::<Vec<_>>(),
        "suspected": whole.beside.suspected_thread_id.map(|number| {
            json!({ "number": number, "href": rooms.path(&format!("/desk/{number}")) })
        }),
        "staff": choices.collect::<Vec<_>>(),
        "desk": rooms.house().desk_name,
        "form": rooms.gate().form(&member.session),
        "seen": whole.seen.to_string(),
        "most": super::form::LETTER,
        "files_most": super::upload::FILES,
        "files_size": TOTAL_MAX >> 20,
        "problem": told.problem,
        "question": told.question,
        "insist": if told.closes { "insist-close" } else { "insist" },
        "text": told.text,
    })
}

fn earlier(rooms: &Rooms, (number, subject, state): &(i64, String, String)) -> Value {
    let href = rooms.path(&format!("/desk/{number}"));
    let state = ThreadState::from_word(state).map_or("", said);
    json!({ "number": number, "subject": shortened(subject, 80), "state": state, "href": href })
}

fn said(state: ThreadState) -> &'static str {
    match state {
        ThreadState::Open => "waits for us",
        ThreadState::Waiting => "waits for them",
        ThreadState::Closed => "closed",
    }
}

/// A mark for its colour, and the words.
fn standing(thread: &ThreadRow, now: Timestamp) -> (&'static str, String) {
    match (thread.state, thread.waiting_since) {
        (ThreadState::Open, Some(since)) => ("warn", format!("waits for us, {}", span(now.since(since)))),
        (ThreadState::Open, None) => ("warn", said(ThreadState::Open).to_owned()),
        (state, _) => ("", said(state).to_owned()),
    }
}

fn post(publication: &Publication, here: &str, post: &Post, new_after: i64) -> Value {
    let folded = post.folded.lines().count();
    let at = publication.date(post.at, AT);
    let (class, from) = match post.kind {
        PostKind::Subscriber => ("", post.from_name.clone()),
        PostKind::Staff => (" ours", post.from_name.clone()),
        PostKind::Note => (" note", format!("Note by {}", post.from_name)),
        PostKind::Automatic => (" auto", String::new()),
    };
    let from = if from.trim().is_empty() { post.from_address.clone() } else { from };
    json!({
        "id": post.id,
        "class": class,
        "automatic": post.kind == PostKind::Automatic,
        "note": post.kind == PostKind::Note,
        "from": from,
        "at": at,
        "delivery": (post.kind == PostKind::Staff).then(|| post.delivery.as_ref().map(delivered)).flatten(),
        "text": calm(&post.text),
        "folded": post.folded,
        "folded_lines": match folded {
            0 => None,
            1 => Some("1 quoted line".to_owned()),
            many => Some(format!("{many} quoted lines")),
        },
        "cut": post.is_cut,
        "new": post.id > new_after && post.kind != PostKind::Automatic,
        "files": post.files.iter().map(|file| self::file(here, file)).collect::<Vec<_>>(),
    })
}

fn file(here: &str, file: &Attached) -> Value {
    json!({
        "href": format!("{here}/files/{}", file.id),
        "name": shortened(&file.name, 80),
        "type": shortened(&file.media_type, 60),
        "size": size(file.bytes),
    })
}

pub(super) fn size(bytes: i64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
    }
}

/// What became of an answer, in words.
fn delivered((state, reply): &(String, Option<String>)) -> String {
    let reply = reply.as_deref().map(|reply| format!(": {}", shortened(reply, 120))).unwrap_or_default();
    match state.as_str() {
        "accepted" => "delivered".to_owned(),
        "queued" | "leased" => "on its way".to_owned(),
        "uncertain" => "on its way, and nobody knows how far".to_owned(),
        "skipped" => format!("not sent{reply}"),
        _ => format!("not delivered{reply}"),
    }
}

/// A text with one empty line where there are several, so that what somebody wrote is not out of sight.
fn calm(text: &str) -> String {
    let mut calm = String::with_capacity(text.len());
    let mut is_gap = false;
    for line in text.lines().map(str::trim_end) {
        if line.is_empty() {
            is_gap = !calm.is_empty();
            continue;
        }
        if !calm.is_empty() {
            calm.push_str(if is_gap { "\n\n" } else { "\n" });
        }
        calm.push_str(line);
        is_gap = false;
    }
    calm
}

fn card(rooms: &Rooms, publication: &Publication, whole: &Whole) -> Vec<Value> {
    let now = rooms.now();
    let mut pairs = Vec::new();
    let mut pair = |name: &str, value: String, warns: bool| {
        pairs.push(json!({ "name": name, "value": value, "warns": warns }));
    };
    match &whole.person {
        Some(person) => {
            let subscriber = &person.subscriber;
            let tier = publication.tier(&subscriber.tier);
            let label = tier.map_or(subscriber.tier.0.as_str(), |tier| tier.label.as_str());
            let lapsed = subscriber.term_ends_at.filter(|ends| *ends <= now);
            let until = match (subscriber.term_ends_at, lapsed) {
                (_, Some(ends)) => format!(", ended {}", publication.date(ends, DAY)),
                (Some(ends), None) => format!(" until {}", publication.date(ends, DAY)),
                (None, None) => String::new(),
            };
            pair("Plan", format!("{label}{until}"), lapsed.is_some());
            if let Some(tier) = tier.filter(|tier| tier.extra_articles > 0) {
                pair("Extras", format!("{} of {} used", person.extras_used, tier.extra_articles), false);
            }
            if tier.is_some_and(|tier| !tier.chat_support) {
                pair("Support", "not part of this plan".to_owned(), true);
            }
            if subscriber.status != SubscriberStatus::Active {
                pair("Status", subscriber.status.to_string(), true);
            }
            if let Some(until) = person.paused_until.filter(|until| *until > now) {
                pair("Paused", format!("until {}", publication.date(until, DAY)), false);
            }
        }
        None => pair("Plan", "no subscriber".to_owned(), true),
    }
    pair("Mail", whole.thread.subscriber.clone(), false);
    if let Some(found) = &whole.suppression {
        let reason = found.reason.as_str().replace('_', " ");
        pair("Suppressed", format!("{reason}, {}", publication.date(found.at, DAY)), true);
    }
    if let Some(slug) = &whole.thread.edition {
        let subject = whole.edition_subject.as_ref().filter(|subject| !subject.is_empty());
        pair("About", subject.unwrap_or(slug).clone(), false);
    }
    pairs
}

/// The plan in a list.
pub(super) fn plan(
    publication: &Publication,
    tier: Option<&str>,
    ends: Option<Timestamp>,
    now: Timestamp,
) -> String {
    let Some(tier) = tier else { return "no subscriber".to_owned() };
    let label = publication.tier(&TierId(tier.to_owned())).map_or(tier, |tier| tier.label.as_str());
    let lapsed = ends.is_some_and(|ends| ends <= now);
    if lapsed { format!("{label}, ended") } else { label.to_owned() }
}

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}\u{2026}", text[..at].trim_end()),
        None => text.to_owned(),
    }
}

/// How long, in one or two units.
pub(super) fn span(span: Duration) -> String {
    let minutes = span.as_secs() / 60;
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => "under 1 min".to_owned(),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes:02}"),
        (1, hours, _) => format!("1 day {hours} h"),
        (days, _, _) => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_at_a_glance() {
        for (seconds, expected) in [
            (0, "under 1 min"),
            (60, "1 min"),
            (33 * 60 + 59, "33 min"),
            (70 * 60, "1 h 10"),
            (25 * 3600, "1 day 1 h"),
            (86_400 * 9, "9 days"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn a_text_keeps_its_lines_and_loses_its_gaps() {
        assert_eq!(calm("\n\na\n  b \r\n\n \n\nc\n\n"), "a\n  b\n\nc");
        assert_eq!(calm(" \n\n"), "");
    }

    #[test]
    fn sizes_have_one_unit() {
        assert_eq!(
            [size(0), size(999), size(1_999), size(1_560_000)],
            ["0 bytes", "999 bytes", "1 kB", "1.5 MB"]
        );
    }
}
