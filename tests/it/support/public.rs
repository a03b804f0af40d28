//! The public pages on a test store: the shipped example, a clock that stands still, real HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mail_parser::{Message, MessageParser};
use tidings::app::Setup;
use tidings::app::public;
use tidings::domain::settings::OnUncertain;
use tidings::domain::subscriber::{Subscriber, SubscriberStatus};
use tidings::domain::token::{Purpose, Subject};
use tidings::runtime::{Clock, Shutdown, Timestamp};
use tidings::store::{Store, people, requests, suppressions};
use tidings::tasks::leaving;
use tidings::tasks::readers::Readers;
use tidings::web::{self, Limits};

use super::clock::{StoppedClock, TUESDAY};
use super::http::{self, Answer};
use super::peer::{Peer, Taken};
use super::receiving::example;
use super::sending::{Sending, subscriber};

pub const FORM: &str = "application/x-www-form-urlencoded";

pub struct Front {
    pub setup: Setup,
    pub store: Store,
    pub clock: StoppedClock,
    pub address: SocketAddr,
    pub readers: Readers,
    shutdown: Shutdown,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.shutdown.ask();
    }
}

impl Front {
    pub async fn start(store: &Store) -> Front {
        Front::start_with(store, example(&[]), Limits::PUBLIC).await
    }

    pub async fn start_with(store: &Store, setup: Setup, limits: Limits) -> Front {
        let (clock, shutdown) = (StoppedClock::at(TUESDAY), Shutdown::new());
        let (leaver, line) = leaving::leaver(store.clone());
        let now = clock.clone();
        tokio::spawn(line.run(move || now.now()));
        let readers = Readers {
            store: store.clone(),
            shelf: setup.shelf.clone(),
            settings: setup.settings.clone(),
            keyring: setup.keyring.clone(),
            alarms: Default::default(),
            wake: Default::default(),
        };
        let ticking: Arc<dyn Clock> = Arc::new(clock.clone());
        let pages = public::pages(&setup, readers.clone(), leaver, &ticking);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(web::serve(listener, pages, limits, shutdown.clone()));
        Front { setup, store: store.clone(), clock, address, readers, shutdown }
    }

    /// The path of a link as mails carry it.
    pub fn link(&self, purpose: Purpose, row: i64) -> String {
        let path = match purpose {
            Purpose::Unsubscribe => "u",
            Purpose::Preferences => "p",
            Purpose::View => "v",
            _ => "c",
        };
        format!("/{path}/{}", self.setup.keyring.mint(Subject { purpose, row, second: 0 }))
    }

    pub async fn ask(&self, method: &str, path: &str, more: &str, body: &str) -> Answer {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: news.example.org\r\nConnection: close\r\n{more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let address = self.address;
        tokio::task::spawn_blocking(move || http::ask(address, &request)).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "", "").await
    }

    /// What a form of a browser sends.
    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, &format!("Content-Type: {FORM}\r\n"), body).await
    }

    /// A form of somebody who shows this cookie.
    pub async fn post_as(&self, cookie: &str, path: &str, body: &str) -> Answer {
        self.ask("POST", path, &format!("Content-Type: {FORM}\r\n{cookie}"), body).await
    }

    /// Asks for a link as a person would: a second after the form was shown.
    pub async fn ask_to_sign_in(&self, address: &str, back: &str) -> Answer {
        let page = self.get("/sign-in").await;
        self.clock.advance(Duration::from_secs(1));
        let (form, address) = (field(&page.body, "form"), address.replace('@', "%40"));
        self.post("/sign-in", &format!("address={address}&form={form}&back={back}")).await
    }

    /// Signs somebody in by their mail. Answers the header with their cookie.
    pub async fn sign_in(&self, address: &str) -> String {
        assert_eq!(self.ask_to_sign_in(address, "").await.code, 200);
        let mails = self.mails().await;
        let mail = mails.iter().find(|mail| mail.to == address).expect("a link was mailed");
        let opened = self.post(&link_in(mail, "/s/"), "").await;
        assert_eq!(opened.code, 303, "{}", opened.body);
        format!("Cookie: {}\r\n", cookie(&opened))
    }

    /// A page as somebody sees it who shows this cookie.
    pub async fn get_as(&self, cookie: &str, path: &str) -> Answer {
        self.ask("GET", path, cookie, "").await
    }

    /// Fills in the subscribe form as a person would: a second after it was shown.
    pub async fn join(&self, address: &str, more: &str) -> Answer {
        self.join_from(address, more, "").await
    }

    pub async fn join_from(&self, address: &str, more: &str, headers: &str) -> Answer {
        let page = self.get("/join").await;
        assert_eq!(page.code, 200, "{}", page.body);
        self.clock.advance(Duration::from_secs(1));
        let form = field(&page.body, "form");
        let body = format!("address={}&form={form}{more}", address.replace('+', "%2B").replace('@', "%40"));
        self.ask("POST", "/join", &format!("Content-Type: {FORM}\r\n{headers}"), &body).await
    }

    pub async fn add(&self, address: &str, tier: &str) -> i64 {
        self.add_as(subscriber(address, tier)).await
    }

    pub async fn add_as(&self, person: Subscriber) -> i64 {
        let mut tx = self.store.write().await.unwrap();
        people::add_many(&mut tx, &[&person], "test", "a test", TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        self.person(person.address.as_str()).await.unwrap().id
    }

    pub async fn person(&self, address: &str) -> Option<Subscriber> {
        people::by_key(&mut self.store.read().await.unwrap(), &address.to_lowercase()).await.unwrap()
    }

    pub async fn status(&self, address: &str) -> Option<SubscriberStatus> {
        self.person(address).await.map(|person| person.status)
    }

    /// Consent and suppression of one person, as words.
    pub async fn history(&self, id: i64) -> Vec<String> {
        let mut tx = self.store.read().await.unwrap();
        let consents = people::consents(&mut tx, id).await.unwrap();
        let mut lines: Vec<String> =
            consents.into_iter().map(|line| format!("{}: {}", line.source, line.text)).collect();
        let person = people::by_id(&mut tx, id).await.unwrap().unwrap();
        let suppression = suppressions::of(&mut tx, &person.address).await.unwrap();
        lines.extend(suppression.map(|found| format!("suppressed: {}", found.reason)));
        lines
    }

    pub async fn expire(&self) -> usize {
        Readers::expire(&self.store, self.clock.now()).await.unwrap()
    }

    pub async fn request(&self, id: i64) -> Option<requests::Request> {
        requests::by_id(&mut self.store.read().await.unwrap(), id).await.unwrap()
    }

    /// Sends all that waits.
    pub async fn mails(&self) -> Vec<Taken> {
        let peer = Peer::willing().await;
        let sending = Sending::start(&self.store, &peer, OnUncertain::Resend).await;
        sending.clock.advance(self.clock.now().since(TUESDAY));
        sending.drain().await;
        peer.taken()
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// The value of a hidden field.
#[track_caller]
pub fn field(page: &str, name: &str) -> String {
    let start = format!("name=\"{name}\" value=\"");
    let (_, rest) = page.split_once(&start).unwrap_or_else(|| panic!("no {name} in\n{page}"));
    rest.split('"').next().unwrap().to_owned()
}

/// The first link of a mail's text part below this path, without its host.
#[track_caller]
pub fn link_in(mail: &Taken, path: &str) -> String {
    let message = parsed(mail);
    let text = message.body_text(0).unwrap();
    let start = format!("https://news.example.org{path}");
    let at = text.find(&start).unwrap_or_else(|| panic!("no {path} in\n{text}"));
    let rest = &text[at + "https://news.example.org".len()..];
    rest.split(|c: char| c.is_whitespace()).next().unwrap().to_owned()
}

pub fn parsed(mail: &Taken) -> Message<'_> {
    MessageParser::new().parse(&mail.bytes).unwrap()
}

/// The cookie that an answer sets, as a browser sends it back.
#[track_caller]
pub fn cookie(answer: &Answer) -> String {
    let set = answer.head.lines().find_map(|line| line.strip_prefix("set-cookie: "));
    set.unwrap_or_else(|| panic!("no cookie in {}", answer.head)).split(';').next().unwrap().to_owned()
}
