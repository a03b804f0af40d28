//! `/desk`: who waits for an answer, one conversation, its files, and the answer.
//!
//! Lists are cut into pages in the database. An answer carries what its page showed; where the conversation went on since, the page
//! comes again with what is new and with the words in the box. Files leave as downloads of no type that a browser opens, because
//! strangers wrote them.

use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use unicode_normalization::UnicodeNormalization;

use super::conversation::{self, Told, Whole};
use super::form::{Form, LETTER};
use super::house::{Member, Rooms};
use super::leave::refused;
use super::sign_in::{Signed, Signing};
use super::upload::{self, Letter};
use crate::domain::desk::{DeskOrder, Outcome, Seen, Wish};
use crate::domain::publication::{Publication, TierId};
use crate::domain::sign_in::way_back;
use crate::domain::thread::ThreadState;
use crate::mail::files;
use crate::runtime::Timestamp;
use crate::store::desk::{self as rows, Asked, Line, Octets};
use crate::store::numbers::{self, Threads};
use crate::store::{StoreError, Tx};

/// Lines of one page.
const LINES: i64 = 50;

/// Lines beside a conversation.
const BESIDE: i64 = 30;

/// Pages that one can turn to; who needs more searches.
const PAGES: i64 = 10_000;

const SEARCH: usize = 100;

/// Characters of the name that a file is saved under, and of its ending.
const NAME: usize = 100;
const ENDING: usize = 12;

const MOVED: &str =
    "This conversation went on since you opened it, so nothing was done yet. What is new is marked.";

/// No page can give files back to a form.
const CHOOSE: &str = "Choose the files again: a page cannot keep them.";

/// What a list is asked for.
#[derive(Clone, Debug)]
struct Question {
    state: Option<ThreadState>,
    search: String,
    page: i64,
}

impl Question {
    fn read(query: Option<&str>) -> Question {
        let pairs: Vec<(String, String)> =
            form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().take(10).collect();
        let get = |name: &str| pairs.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
        let kept = get("search").chars().filter(|c| !c.is_control()).take(SEARCH);
        let search = kept.collect::<String>().trim().to_owned();
        let state = ThreadState::from_word(get("state"));
        // Without a word it is everything; who searches looks everywhere.
        let state = state.or(if search.is_empty() { Some(ThreadState::Open) } else { None });
        Question { state, search, page: get("page").parse().unwrap_or(1).clamp(1, PAGES) }
    }

    /// The path of a list like this one.
    fn path(&self, rooms: &Rooms, page: i64) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(state) = self.state {
            query.append_pair("state", state.as_str());
        }
        if !self.search.is_empty() {
            query.append_pair("search", &self.search);
        }
        if page > 1 {
            query.append_pair("page", &page.to_string());
        }
        rooms.path(&format!("/desk?{}", query.finish()))
    }
}

/// The lines of a page, the counts of the tabs, and who waits by tier.
struct Listed {
    lines: Vec<Line>,
    counts: (i64, i64),
    tiers: Vec<Threads>,
}

pub(super) async fn list(State(rooms): State<Rooms>, member: Member, RawQuery(query): RawQuery) -> Response {
    let question = Question::read(query.as_deref());
    let (asked, paid, now) = (question.clone(), paid(rooms.shown().publication()), rooms.now());
    let read = rooms.read(|store| async move {
        let mut tx = store.read().await?;
        let skip = (asked.page - 1) * LINES;
        // One more than is shown: whether there is a next page.
        let lines = lines(&mut tx, (asked.state, &asked.search), &paid, (skip, LINES + 1), now).await?;
        let counts = rows::counts(&mut tx).await?;
        Ok(Listed { lines, counts, tiers: numbers::threads(&mut tx).await? })
    });
    let mut listed = match read.await {
        Ok(listed) => listed,
        Err(later) => return later,
    };
    let has_next = listed.lines.len() as i64 > LINES;
    listed.lines.truncate(LINES as usize);
    let page = question.page;
    let mut fields = json!({
        "title": "Desk",
        "wide": true,
        "nav": rooms.nav(&member.session, "/desk", listed.counts.0),
        "name": member.session.name,
        "tiers": by_tier(&rooms, &listed.tiers),
        "previous": (page > 1).then(|| question.path(&rooms, page - 1)),
        "next": has_next.then(|| question.path(&rooms, page + 1)),
        "number": page,
    });
    fields["side"] = side(&rooms, &listed.lines, &question, listed.counts, 0);
    rooms.page(StatusCode::OK, "desk", fields)
}

async fn lines(
    tx: &mut Tx,
    (state, search): (Option<ThreadState>, &str),
    paid: &[TierId],
    (skip, limit): (i64, i64),
    now: Timestamp,
) -> Result<Vec<Line>, StoreError> {
    rows::list(tx, &Asked { state, search, paid, skip, limit }, now).await
}

/// Who pays comes first.
fn paid(publication: &Publication) -> Vec<TierId> {
    publication.tiers.iter().filter(|tier| tier.price.is_some()).map(|tier| tier.id.clone()).collect()
}

/// The column with tabs, search and lines. `here`: the conversation that is open beside it.
fn side(rooms: &Rooms, lines: &[Line], question: &Question, counts: (i64, i64), here: i64) -> Value {
    let tab = |state: ThreadState, label: String| {
        let of = Question { state: Some(state), search: question.search.clone(), page: 1 };
        json!({ "href": of.path(rooms, 1), "label": label, "here": question.state == Some(state) })
    };
    let empty = match (question.search.as_str(), question.state) {
        ("", Some(ThreadState::Open)) => "Nobody waits for us.",
        ("", _) => "There is none.",
        _ => "Nothing was found.",
    };
    json!({
        "action": rooms.path("/desk"),
        "search": question.search,
        "tabs": [
            tab(ThreadState::Open, format!("Waiting {}", counts.0)),
            tab(ThreadState::Waiting, format!("For them {}", counts.1)),
            tab(ThreadState::Closed, "Closed".to_owned()),
        ],
        "lines": lines.iter().map(|line| entry(rooms, line, here)).collect::<Vec<_>>(),
        "empty": lines.is_empty().then_some(empty),
    })
}

fn entry(rooms: &Rooms, line: &Line, here: i64) -> Value {
    let shown = rooms.shown();
    let publication = shown.publication();
    let now = rooms.now();
    let since = match (line.state, line.waiting_since) {
        (ThreadState::Open, Some(since)) => conversation::span(now.since(since)),
        (ThreadState::Closed, _) => format!("closed, {}", publication.date(line.last_post_at, "%-d %b")),
        _ => publication.date(line.last_post_at, "%-d %b, %H:%M"),
    };
    let who = if line.name.trim().is_empty() { &line.address } else { &line.name };
    json!({
        "href": rooms.path(&format!("/desk/{}", line.number)),
        "here": line.number == here,
        "who": who,
        "tier": conversation::plan(publication, line.tier.as_deref(), line.term_ends_at, now),
        "since": since,
        "subject": line.subject,
        "words": line.words.split_whitespace().collect::<Vec<_>>().join(" "),
        "taken": line.assigned_to,
    })
}

/// How many wait for us in each tier, and since when; in the order of the tiers that pay, then the others.
fn by_tier(rooms: &Rooms, threads: &[Threads]) -> Vec<Value> {
    let shown = rooms.shown();
    let publication = shown.publication();
    let place = |threads: &Threads| {
        let at = publication.tiers.iter().position(|tier| tier.id.0 == threads.tier);
        let pays = at.is_some_and(|at| publication.tiers[at].price.is_some());
        (!pays, at.unwrap_or(usize::MAX))
    };
    let mut open: Vec<&Threads> =
        threads.iter().filter(|threads| threads.state == ThreadState::Open.as_str()).collect();
    open.sort_by_key(|threads| place(threads));
    let row = |threads: &&Threads| {
        let label = publication.tier(&TierId(threads.tier.clone())).map(|tier| tier.label.clone());
        let none = if threads.tier.is_empty() { "No subscriber".to_owned() } else { threads.tier.clone() };
        json!({
            "label": label.unwrap_or(none),
            "count": threads.count,
            "longest": threads.waiting_since.map(|since| conversation::span(rooms.now().since(since))),
        })
    };
    open.iter().map(row).collect()
}

pub(super) async fn page(
    State(rooms): State<Rooms>,
    member: Member,
    Path(number): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let Ok(number) = number.parse() else { return rooms.nothing() };
    let query = query.unwrap_or_default();
    let before = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "before");
    let before = before.and_then(|(_, value)| value.parse().ok()).unwrap_or(i64::MAX);
    shown(&rooms, &member, (number, before), Told::default(), StatusCode::OK).await
}

/// The conversation with what is told about it.
async fn shown(
    rooms: &Rooms,
    member: &Member,
    (number, before): (i64, i64),
    told: Told,
    status: StatusCode,
) -> Response {
    let (paid, now) = (paid(rooms.shown().publication()), rooms.now());
    let read = rooms.read(|store| async move {
        let mut tx = store.read().await?;
        let Some(whole) = Whole::read(&mut tx, number, before).await? else { return Ok(None) };
        let open = (Some(ThreadState::Open), "");
        let lines = lines(&mut tx, open, &paid, (0, BESIDE), now).await?;
        let counts = rows::counts(&mut tx).await?;
        Ok(Some((whole, lines, counts)))
    });
    let (whole, lines, counts) = match read.await {
        Ok(Some(read)) => read,
        Ok(None) => return rooms.nothing(),
        Err(later) => return later,
    };
    if whole.number() != number && status == StatusCode::OK {
        // It was joined to another one.
        return rooms.to(&format!("/desk/{}", whole.number()));
    }
    let question = Question { state: Some(ThreadState::Open), search: String::new(), page: 1 };
    let mut fields = conversation::fields(rooms, member, &whole, &told);
    fields["nav"] = rooms.nav(&member.session, "/desk", counts.0);
    fields["side"] = side(rooms, &lines, &question, counts, whole.number());
    rooms.page(status, "conversation", fields)
}

pub(super) async fn act(
    State(rooms): State<Rooms>,
    signed: Option<Signed>,
    Path(number): Path<String>,
    request: Request,
) -> Response {
    let Letter { form, files, problem } = match upload::read(request, signed.is_some(), rooms.uploads()).await
    {
        Ok(letter) => letter,
        Err(status) => return refused(status),
    };
    let here = format!("/desk/{number}");
    let lost = |why| lost(&rooms, &form, &here, why);
    let Some(Signed(session)) = signed else { return lost(Lost::SignedOut) };
    let Some(member) = Member::of(session) else { return lost(Lost::Left) };
    if !rooms.gate().is_own(&member.session, &form) {
        return lost(Lost::Old);
    }
    let Ok(thread) = number.parse() else { return rooms.nothing() };
    let (Some(wish), Some(seen)) = (wish(&form), Seen::read(form.get("seen"))) else {
        return lost(Lost::Unsaid);
    };
    let text = form.letter("text", LETTER);
    let names: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
    let closes = matches!(wish, Wish::Answer { closes: true, .. });
    let again = Told { text: text.clone(), seen: Some(seen), closes, ..Told::default() };
    if let Some(why) = problem {
        let problem = Some(format!("Nothing was sent: {why}. {CHOOSE}"));
        let told = Told { problem, ..again };
        return shown(&rooms, &member, (thread, i64::MAX), told, StatusCode::UNPROCESSABLE_ENTITY).await;
    }
    let order = DeskOrder { thread, member: member.id, wish, text, files, seen };
    let Ok(outcome) = rooms.ask(rooms.house().doors.clone().desk(order)).await else {
        return lost(Lost::Away);
    };
    // What stood in the box is no part of these, and stays there.
    let is_aside = matches!(wish, Wish::Close | Wish::Reopen | Wish::Assign(_));
    let files = match names.as_slice() {
        [] => String::new(),
        names => format!(" {CHOOSE} You chose {}.", names.join(", ")),
    };
    let (status, told) = match outcome {
        Outcome::Done if is_aside && !again.text.is_empty() => (StatusCode::OK, Told { seen: None, ..again }),
        Outcome::Done => return rooms.to(&here),
        Outcome::Left => return lost(Lost::Left),
        Outcome::Unknown => return rooms.nothing(),
        Outcome::Moved => (StatusCode::CONFLICT, Told { problem: Some(format!("{MOVED}{files}")), ..again }),
        Outcome::Refused { why, question } => {
            let problem = Some(format!("Nothing was sent: {why}.{files}"));
            (StatusCode::UNPROCESSABLE_ENTITY, Told { problem, question, ..again })
        }
    };
    shown(&rooms, &member, (thread, i64::MAX), told, status).await
}

/// Why a form came to nothing.
#[derive(Clone, Copy)]
enum Lost {
    SignedOut,
    Left,
    Old,
    Unsaid,
    Away,
}

/// Gives somebody their words back: nobody else has them.
fn lost(rooms: &Rooms, form: &Form, here: &str, lost: Lost) -> Response {
    let sign_in = format!("/sign-in?back={}", way_back(here));
    let (status, title, why, (to, label)) = match lost {
        Lost::SignedOut => {
            (StatusCode::UNAUTHORIZED, "You are signed out", "", (sign_in.as_str(), "Sign in again"))
        }
        Lost::Left => {
            let why = " You are signed in as somebody who is not at the desk.";
            (StatusCode::FORBIDDEN, "This page is for others", why, ("/sign-out", "Sign out"))
        }
        Lost::Old => {
            let why = " You have signed in anew since the page was made.";
            (StatusCode::FORBIDDEN, "This page is too old", why, (here, "Load it again"))
        }
        Lost::Unsaid => {
            let why = " The page did not say what was to be done.";
            (StatusCode::BAD_REQUEST, "Once more, please", why, (here, "Load it again"))
        }
        Lost::Away => {
            let why = " It could not be written down; try again in some minutes.";
            (StatusCode::SERVICE_UNAVAILABLE, "Not now, please", why, (here, "Load the page again"))
        }
    };
    let fields = json!({
        "title": title,
        "lead": format!("Nothing was done.{why}"),
        "text": form.letter("text", LETTER),
        "href": rooms.path(to),
        "label": label,
    });
    rooms.page(status, "lost", fields)
}

fn wish(form: &Form) -> Option<Wish> {
    Some(match form.get("do") {
        "answer" => Wish::Answer { insists: false, closes: false },
        "answer-close" => Wish::Answer { insists: false, closes: true },
        "insist" => Wish::Answer { insists: true, closes: false },
        "insist-close" => Wish::Answer { insists: true, closes: true },
        "note" => Wish::Note,
        "close" => Wish::Close,
        "reopen" => Wish::Reopen,
        "assign" => Wish::Assign(match form.get("to") {
            "" => None,
            id => Some(id.parse().ok()?),
        }),
        _ => return None,
    })
}

pub(super) async fn file(
    State(rooms): State<Rooms>,
    _: Member,
    Path((number, file)): Path<(String, String)>,
) -> Response {
    let (Ok(number), Ok(file)) = (number.parse(), file.parse()) else { return rooms.nothing() };
    let read = rooms.read(|store| async move { rows::file(&mut store.read().await?, number, file).await });
    let (name, octets) = match read.await {
        Ok(Some((name, octets))) => (name, octets),
        Ok(None) => return rooms.nothing(),
        Err(later) => return later,
    };
    let found = match octets {
        Octets::Sent(file) => Some(file.octets),
        // Reading a large message takes time that other pages need.
        Octets::InMessage { raw, position } => rooms
            .house()
            .main
            .spawn_blocking(move || files::read(&raw).into_iter().nth(position).map(|file| file.octets))
            .await
            .ok()
            .flatten(),
        Octets::Gone => None,
    };
    match found {
        Some(octets) => download(&name, octets),
        None => rooms.nothing(),
    }
}

/// Octets that a browser saves and never opens, whatever they are.
fn download(name: &str, octets: Vec<u8>) -> Response {
    let mut answer = octets.into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    headers.insert(HeaderName::from_static("x-download-options"), HeaderValue::from_static("noopen"));
    if let Ok(disposition) = HeaderValue::from_str(&disposition(name)) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    answer
}

/// RFC 6266: the name in letters that every browser takes, and where it has others, also as it is (RFC 8187).
fn disposition(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let named = |kept: &dyn Fn(char) -> bool| {
        let kept: String = name.nfc().map(|c| if kept(c) { c } else { '_' }).collect();
        within(kept.trim_matches('.'), NAME)
    };
    let plain = named(&is_plain);
    // What is no letter may turn a name around, or be a part of a path.
    let whole = named(&|c| is_plain(c) || c == ' ' || (!c.is_ascii() && c.is_alphanumeric()));
    let fallback = if plain.trim_matches(['_', '.']).is_empty() { "file" } else { &plain };
    if whole == plain {
        return format!("attachment; filename=\"{fallback}\"");
    }
    let mut coded = String::new();
    for octet in whole.bytes() {
        match char::from(octet) {
            c if is_plain(c) => coded.push(c),
            _ => coded.push_str(&format!("%{octet:02X}")),
        }
    }
    format!("attachment; filename=\"{fallback}\"; filename*=UTF-8''{coded}")
}

/// A name of at most that many characters that keeps its ending.
fn within(name: &str, most: usize) -> String {
    let length = name.chars().count();
    if length <= most {
        return name.to_owned();
    }
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let ending = if ending.chars().count() > ENDING { "" } else { ending };
    let kept = most - ending.chars().count() - usize::from(!ending.is_empty());
    let start: String = name.chars().take(kept).collect();
    if ending.is_empty() { start } else { format!("{start}.{ending}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_name_and_ending() {
        for (name, expected) in [
            ("a.pdf", "attachment; filename=\"a.pdf\""),
            ("a b.html", "attachment; filename=\"a_b.html\"; filename*=UTF-8''a%20b.html"),
            (
                "x\"\r\nSet-Cookie: a=b",
                "attachment; filename=\"x___Set-Cookie__a_b\"; filename*=UTF-8''x___Set-Cookie_%20a_b",
            ),
            ("...", "attachment; filename=\"file\""),
            ("\"; x=\"a.pdf", "attachment; filename=\"___x__a.pdf\"; filename*=UTF-8''__%20x__a.pdf"),
            ("../../etc/passwd", "attachment; filename=\"_.._etc_passwd\""),
            ("", "attachment; filename=\"file\""),
            ("\u{202e}fdp.exe\r\n", "attachment; filename=\"_fdp.exe__\""),
            ("\u{41e}\u{442}.pdf", "attachment; filename=\"__.pdf\"; filename*=UTF-8''%D0%9E%D1%82.pdf"),
        ] {
            let answer = download(name, b"x".to_vec());
            let said = answer.headers()[header::CONTENT_DISPOSITION].to_str().unwrap();
            assert_eq!(said, expected, "{name}");
        }
        let long = disposition(&format!("{}.pdf", "n".repeat(200)));
        assert_eq!(long, format!("attachment; filename=\"{}.pdf\"", "n".repeat(NAME - 4)));
        assert_eq!(within(&format!("a.{}", "x".repeat(300)), 10), "a.xxxxxxxx");
    }

    #[test]
    fn a_list_is_what_its_address_says_and_nothing_worse() {
        let read = |query: &str| {
            let Question { state, search, page } = Question::read(Some(query));
            (state, search, page)
        };
        let open = Some(ThreadState::Open);
        assert_eq!(read(""), (open, String::new(), 1));
        assert_eq!(read("state=closed&page=3"), (Some(ThreadState::Closed), String::new(), 3));
        assert_eq!(read("search=+a%00b%26c+"), (None, "ab&c".to_owned(), 1));
        assert_eq!(read("state=x&page=-7"), (open, String::new(), 1));
        assert_eq!(read("page=99999999999999999999"), (open, String::new(), 1));
        assert_eq!(read(&format!("search={}", "%C3%A4".repeat(5000))).1.chars().count(), SEARCH);
    }
}
