//! `/board`: what goes out now, what is next and what each tier gets of it, what was done by hand; and an editor's orders.
//!
//! The page looks again by itself while something is sent, by a `meta` refresh that a link turns off. Counting a large edition is dear, so
//! numbers are kept ([`super::counted`]) and states are not. Cancelling asks once more, with numbers.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::conversation::{size, span};
use super::form;
use super::house::{Editor, Rooms};
use super::leave::refused;
use super::sign_in::Signing;
use crate::domain::board::{Ahead, BoardOrder, Coming, Ordered, Stood, TierPlan};
use crate::domain::edition::{Counts, EditionOrder, EditionState};
use crate::domain::publication::Publication;
use crate::runtime::Timestamp;
use crate::store::audit::{self, Entry};
use crate::store::board::{self as rows, Over};
use crate::store::editions::{self, EditionRow};

/// Seconds after which the page looks again while something is on its way. A reader of the screen has to come to its end.
const AGAIN: u32 = 15;

/// While something may begin at any moment.
const AGAIN_SOON: u32 = 60;

/// A date that is so near may begin while the page is open.
const NEAR: Duration = Duration::from_secs(3600);

/// Editions that are over, and changes by hand, on the board.
const LATELY: i64 = 8;
const CHANGES: i64 = 12;

/// Changes of one edition.
const ITS_CHANGES: i64 = 100;

const DUE: &str = "%A %-d %B, %H:%M";

const MOVED: &str =
    "It does not stand as this page showed it any more, so nothing was done. This is how it stands now.";

/// An edition as it stands, with numbers that may be some seconds old.
struct Shown {
    stood: Stood,
    reason: String,
    row: Arc<EditionRow>,
    pace: Option<f64>,
}

pub(super) async fn board(State(rooms): State<Rooms>, editor: Editor, RawQuery(query): RawQuery) -> Response {
    let read = rooms.read(|store| async move {
        let mut tx = store.read().await?;
        let under_way = rows::under_way(&mut tx).await?;
        Ok((under_way, rows::over(&mut tx, LATELY).await?, rows::changes(&mut tx, CHANGES).await?))
    });
    let (under_way, over, changes) = match read.await {
        Ok(read) => read,
        Err(later) => return later,
    };
    let mut now = Vec::new();
    for slug in under_way {
        match look(&rooms, &slug).await {
            Ok(Some(shown)) => now.push(shown),
            Ok(None) => {}
            Err(later) => return later,
        }
    }
    // What is to come may be dear or broken; what goes out now is shown all the same.
    let ahead = rooms.ahead().await;
    let content = rooms.shown();
    let publication = content.publication();
    // One that is due soon, or stands because somebody said so, may go on at any moment; also by another's word.
    let moves = match Moves::of(now.iter()) {
        Moves::Not if ahead.as_ref().is_some_and(|ahead| is_near(ahead, rooms.now())) => Moves::Soon,
        moves => moves,
    };
    let mut fields = json!({
        "title": "Board",
        "wide": true,
        "nav": rooms.nav(&editor.0, "/board", 0),
        "now": now.iter().map(|shown| edition(&rooms, &editor, publication, shown)).collect::<Vec<_>>(),
        "over": over.iter().map(|over| self::over(&rooms, publication, over)).collect::<Vec<_>>(),
        "changes": changes.iter().map(|entry| change(publication, entry)).collect::<Vec<_>>(),
        "zone": publication.timezone.name().replace('_', " "),
    });
    match ahead {
        Some(ahead) => fields["ahead"] = to_come(&rooms, publication, &ahead),
        None => fields["unknown"] = true.into(),
    }
    refreshed(&rooms, &mut fields, moves, query.as_deref(), "/board");
    rooms.page(StatusCode::OK, "board", fields)
}

/// How soon a page is out of date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moves {
    /// Something is on its way.
    Now,
    /// Something may begin, or be let go on by somebody else.
    Soon,
    /// Nothing, until its reader does something.
    Not,
}

impl Moves {
    fn of<'a>(shown: impl IntoIterator<Item = &'a Shown>) -> Moves {
        let one = |shown: &Shown| match shown.stood.state {
            EditionState::Sending => Moves::Now,
            _ if shown.row.counts.leased > 0 => Moves::Now,
            state if state.is_over() => Moves::Not,
            _ => Moves::Soon,
        };
        let all: Vec<Moves> = shown.into_iter().map(one).collect();
        let any = |wanted| all.contains(&wanted);
        if any(Moves::Now) {
            Moves::Now
        } else if any(Moves::Soon) {
            Moves::Soon
        } else {
            Moves::Not
        }
    }

    /// Seconds until it looks again; `None`: it does not.
    fn every(self) -> Option<u32> {
        match self {
            Moves::Now => Some(AGAIN),
            Moves::Soon => Some(AGAIN_SOON),
            Moves::Not => None,
        }
    }
}

fn is_near(ahead: &Ahead, now: Timestamp) -> bool {
    ahead.dates.iter().any(|date| date.due_at.since(now) < NEAR)
}

/// Lets a page look again by itself, unless its address says that it shall not.
fn refreshed(rooms: &Rooms, fields: &mut Value, moves: Moves, query: Option<&str>, path: &str) {
    let still = query == Some("still");
    let every = moves.every();
    if let (Some(every), false) = (every, still) {
        fields["refresh"] = every.into();
    }
    // Its buttons lead back to a page that stands still as well.
    for shown in fields["now"].as_array_mut().into_iter().flatten() {
        shown["still"] = still.into();
    }
    fields["again"] = match (every, still) {
        (None, _) => Value::Null,
        (Some(every), false) => json!({
            "text": format!("This page looks again every {every} seconds;"),
            "href": rooms.path(&format!("{path}?still")),
            "label": "stop that",
        }),
        (Some(_), true) => json!({
            "text": "This page stands still;",
            "href": rooms.path(path),
            "label": "let it look again by itself",
        }),
    };
}

async fn look(rooms: &Rooms, slug: &str) -> Result<Option<Shown>, Response> {
    let asked = slug.to_owned();
    let stood = rooms.read(|store| async move { rows::stood(&mut store.read().await?, &asked).await });
    let Some((stood, reason)) = stood.await? else { return Ok(None) };
    let Some(row) = rooms.counted(slug).await? else { return Ok(None) };
    let pace = match stood.state {
        EditionState::Sending => rooms.pace(&row).await,
        _ => None,
    };
    Ok(Some(Shown { stood, reason, row, pace }))
}

/// What the board and the edition's own page show of it.
fn edition(rooms: &Rooms, editor: &Editor, publication: &Publication, shown: &Shown) -> Value {
    let row = &shown.row;
    let here = rooms.path(&format!("/board/{}", row.slug));
    let state = shown.stood.state;
    let button = |order: &EditionOrder| {
        let main = matches!(order, EditionOrder::Pause | EditionOrder::Approve | EditionOrder::Resume);
        json!({ "do": order.as_str(), "label": label(*order), "main": main })
    };
    let may = |order: &&EditionOrder| order.from().contains(&state);
    let orders = EditionOrder::ALL.iter().filter(may).filter(|order| **order != EditionOrder::Cancel);
    let tiers = row.tiers.iter().map(|(tier, numbers)| {
        json!({
            "label": publication.tier(tier).map_or(tier.as_str(), |tier| tier.label.as_str()),
            "bar": bar(&numbers.counts),
            "of": format!("{} of {}", grouped(numbers.counts.accepted), grouped(numbers.audience)),
        })
    });
    json!({
        "slug": row.slug,
        "look": rooms.path(&format!("/board/{}/look", row.slug)),
        "href": here,
        "heading": if state == EditionState::Sending { "Going out now" } else { said(state) },
        "bad": state == EditionState::Attention,
        "subject": row.subject,
        "reason": shown.reason,
        "due": publication.date(row.due_at, DUE),
        "queued": row.queued_at.map(|at| publication.date(at, "%H:%M:%S")),
        "audience": grouped(row.audience),
        "orders": orders.map(button).collect::<Vec<_>>(),
        "cancel": (EditionOrder::Cancel.from().contains(&state) && state != EditionState::Cancelled)
            .then(|| format!("{here}/cancel")),
        "form": rooms.gate().form(&editor.0),
        "stood": shown.stood.to_string(),
        "bar": bar(&row.counts),
        "figures": figures(&row.counts),
        "tiers": tiers.collect::<Vec<_>>(),
        "pace": shown.pace.map(|pace| paced(publication, pace, row.counts.open(), rooms.now())),
    })
}

fn label(order: EditionOrder) -> &'static str {
    match order {
        EditionOrder::Approve => "Approve",
        EditionOrder::Pause => "Pause",
        EditionOrder::Resume => "Go on",
        EditionOrder::Hold => "Hold",
        EditionOrder::Cancel => "Cancel the rest",
    }
}

fn said(state: EditionState) -> &'static str {
    match state {
        EditionState::Planned => "Planned",
        EditionState::WaitingApproval => "Waits for approval",
        EditionState::Sending => "Going out",
        EditionState::Paused => "Paused",
        EditionState::Attention => "Stopped: somebody has to look",
        EditionState::Sent => "Sent",
        EditionState::Cancelled => "Cancelled",
        EditionState::Missed => "Missed",
        EditionState::Skipped => "Skipped",
    }
}

/// Deliveries that take part in a send, and what became of them: class of the colour, words, count.
fn parts(counts: &Counts) -> [(&'static str, &'static str, i64); 7] {
    [
        ("done", "accepted", counts.accepted),
        ("flight", "in flight", counts.leased),
        ("", "queued", counts.queued),
        ("later", "uncertain", counts.uncertain),
        ("lost", "refused or given up", counts.refused + counts.expired),
        ("lost", "parked: our fault", counts.parked),
        ("", "skipped", counts.skipped),
    ]
}

/// The first three always; the others where there are any.
fn figures(counts: &Counts) -> Vec<Value> {
    let shown = parts(counts).into_iter().enumerate().filter(|(at, (_, _, count))| *at < 3 || *count > 0);
    shown
        .map(|(_, (class, label, count))| json!({ "class": class, "label": label, "count": grouped(count) }))
        .collect()
}

/// A bar of 1000 units: rectangles beside each other, and the same in words.
fn bar(counts: &Counts) -> Value {
    let total = counts.total().max(1);
    let place = |count: i64| format!("{:.1}", count as f64 * 1000.0 / total as f64);
    let mut at = 0;
    let mut rects = Vec::new();
    let mut words = Vec::new();
    for (class, label, count) in parts(counts) {
        if count > 0 {
            words.push(format!("{} {label}", grouped(count)));
        }
        if count > 0 && !class.is_empty() {
            rects.push(json!({ "class": class, "x": place(at), "width": place(count) }));
            at += count;
        }
    }
    let words = format!("{} of {}", words.join(", "), grouped(counts.total()));
    json!({ "rects": rects, "words": words })
}

fn paced(publication: &Publication, pace: f64, open: i64, now: Timestamp) -> String {
    if pace <= 0.0 {
        return "Nothing left in the last minute.".to_owned();
    }
    let seconds = (open as f64 / pace).min(1e9) as u64;
    let end = publication.date(now + std::time::Duration::from_secs(seconds), "%H:%M");
    let far = if seconds > 86_400 { "in more than a day".to_owned() } else { format!("at about {end}") };
    format!("{pace:.1} a second, done {far}.")
}

/// `12,052`.
fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && digit != '-' && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn over(rooms: &Rooms, publication: &Publication, over: &Over) -> Value {
    json!({
        "href": rooms.path(&format!("/board/{}", over.slug)),
        "slug": over.slug,
        "date": publication.date(over.due_at, "%-d %b"),
        "state": said(over.state).to_lowercase(),
        "people": (over.audience > 0).then(|| grouped(over.audience)),
        "reason": over.reason,
    })
}

fn change(publication: &Publication, entry: &Entry) -> Value {
    json!({
        "at": publication.date(entry.at, "%-d %b, %H:%M"),
        "slug": entry.subject,
        "action": entry.action.strip_prefix("edition ").unwrap_or(&entry.action).replace('_', " "),
        "detail": entry.detail.replace('_', " "),
        "door": entry.actor,
    })
}

fn to_come(rooms: &Rooms, publication: &Publication, ahead: &Ahead) -> Value {
    let now = rooms.now();
    let date = |coming: &Coming| {
        json!({
            "slug": coming.slug,
            "look": (!coming.articles.is_empty()).then(|| rooms.path(&format!("/board/{}/look", coming.slug))),
            "date": publication.date(coming.due_at, "%a %-d %b, %H:%M"),
            "articles": coming.articles.join(" · "),
            "people": grouped(coming.people),
            "few": coming.articles.is_empty(),
        })
    };
    let first = ahead.dates.first().map(|first| {
        let mut shown = date(first);
        shown["due"] = publication.date(first.due_at, DUE).into();
        shown["in"] = span(first.due_at.since(now)).into();
        shown
    });
    let tier = |plan: &TierPlan| {
        json!({
            "label": plan.label,
            "people": grouped(plan.people),
            "gets": plan.gets,
            "size": (plan.bytes > 0).then(|| size(plan.bytes as i64)),
            "stopped": plan.is_stopped,
            "problems": plan.problems,
        })
    };
    json!({
        "first": first,
        "rest": ahead.dates.iter().skip(1).map(date).collect::<Vec<_>>(),
        "subject": ahead.subject,
        "approval": ahead.approval,
        "tiers": ahead.tiers.iter().map(tier).collect::<Vec<_>>(),
        "left_out": ahead.left_out.iter().map(|(why, people)| json!({ "why": why.said(), "people": grouped(*people) })).collect::<Vec<_>>(),
        "all": grouped(ahead.tiers.iter().map(|tier| tier.people).sum()),
        "ready": ahead.ready.iter().map(|(title, minutes)| json!({ "title": title, "minutes": minutes })).collect::<Vec<_>>(),
    })
}

/// One edition with all that was done to it by hand.
pub(super) async fn page(
    State(rooms): State<Rooms>,
    editor: Editor,
    Path(slug): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    shown(&rooms, &editor, &slug, query.as_deref(), (StatusCode::OK, None)).await
}

async fn shown(
    rooms: &Rooms,
    editor: &Editor,
    slug: &str,
    query: Option<&str>,
    (status, problem): (StatusCode, Option<String>),
) -> Response {
    let shown = match look(rooms, slug).await {
        Ok(Some(shown)) => shown,
        Ok(None) => return rooms.nothing(),
        Err(later) => return later,
    };
    let asked = slug.to_owned();
    let read = rooms.read(|store| async move {
        audit::about(&mut store.read().await?, ("edition", &asked), ITS_CHANGES).await
    });
    let changes = match read.await {
        Ok(changes) => changes,
        Err(later) => return later,
    };
    let content = rooms.shown();
    let publication = content.publication();
    let mut fields = json!({
        "title": format!("{slug} · Board"),
        "wide": true,
        "nav": rooms.nav(&editor.0, "/board", 0),
        "board": rooms.path("/board"),
        "now": [edition(rooms, editor, publication, &shown)],
        "changes": changes.iter().map(|entry| change(publication, entry)).collect::<Vec<_>>(),
        "wrong": problem,
    });
    let moves = if status == StatusCode::OK { Moves::of([&shown]) } else { Moves::Not };
    refreshed(rooms, &mut fields, moves, query, &format!("/board/{slug}"));
    rooms.page(status, "edition", fields)
}

/// Asks once more, with numbers.
pub(super) async fn cancel(State(rooms): State<Rooms>, editor: Editor, Path(slug): Path<String>) -> Response {
    let shown = match look(&rooms, &slug).await {
        Ok(Some(shown)) => shown,
        Ok(None) => return rooms.nothing(),
        Err(later) => return later,
    };
    if !EditionOrder::Cancel.from().contains(&shown.stood.state) {
        return rooms.to(&format!("/board/{slug}"));
    }
    let counts = &shown.row.counts;
    let fields = json!({
        "title": format!("Cancel {slug}?"),
        "subject": shown.row.subject,
        "rest": grouped(counts.queued + counts.uncertain + counts.parked),
        "accepted": grouped(counts.accepted),
        "flight": grouped(counts.leased),
        "action": rooms.path(&format!("/board/{slug}")),
        "form": rooms.gate().form(&editor.0),
        "stood": shown.stood.to_string(),
        "nav": rooms.nav(&editor.0, "/board", 0),
    });
    rooms.page(StatusCode::OK, "cancel", fields)
}

pub(super) async fn act(
    State(rooms): State<Rooms>,
    editor: Editor,
    Path(slug): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let form = match form::read(request).await {
        Ok(form) => form,
        Err(status) => return refused(status),
    };
    if !rooms.gate().is_own(&editor.0, &form) {
        return rooms.forged();
    }
    let (Some(order), Some(stood)) =
        (EditionOrder::from_word(form.get("do")), Stood::read(form.get("stood")))
    else {
        return refused(StatusCode::BAD_REQUEST);
    };
    let wish = BoardOrder { slug: slug.clone(), order, by: editor.0.address.clone(), stood };
    let ordered = rooms.ask(rooms.house().doors.clone().board(wish)).await;
    rooms.recount().await;
    let told = match ordered {
        Ok(Ordered::Done) => {
            let still = if query.as_deref() == Some("still") { "?still" } else { "" };
            return rooms.to(&format!("/board/{slug}{still}"));
        }
        Ok(Ordered::Moved) => (StatusCode::CONFLICT, Some(MOVED.to_owned())),
        Ok(Ordered::Not(why)) => (StatusCode::CONFLICT, Some(format!("Nothing was done: {why}."))),
        Ok(Ordered::Unknown) => return rooms.nothing(),
        Err(later) => return later,
    };
    shown(&rooms, &editor, &slug, query.as_deref(), told).await
}

/// The numbers of one edition.
pub(super) async fn count(
    store: crate::store::Store,
    slug: String,
) -> Result<Option<EditionRow>, crate::store::StoreError> {
    editions::show(&mut store.read().await?, &slug).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let shown = [0, 7, 999, 1_000, 12_052, 1_234_567, -1_000].map(grouped);
        assert_eq!(shown, ["0", "7", "999", "1,000", "12,052", "1,234,567", "-1,000"]);
    }

    #[test]
    fn a_bar_is_its_counts_and_says_them() {
        let counts = Counts { accepted: 50, leased: 25, queued: 24, refused: 1, ..Counts::default() };
        let bar = bar(&counts);
        assert_eq!(bar["words"], "50 accepted, 25 in flight, 24 queued, 1 refused or given up of 100");
        assert_eq!(bar["rects"][2], json!({ "class": "lost", "x": "750.0", "width": "10.0" }));
        assert_eq!(super::bar(&Counts::default())["rects"], json!([]));
    }
}
