//! The pages of the house on a test store: the shipped example with a desk of two, a clock that stands still, real HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidings::app;
use tidings::domain::settings::OnUncertain;
use tidings::domain::thread::PostKind;
use tidings::runtime::{Clock, Shutdown, Timestamp};
use tidings::store::desk::Post;
use tidings::store::threads::{self, Attachment, NewPost, NewThread, ThreadRow};
use tidings::store::{Store, desk, people, staff};
use tidings::web::{self, Limits};

use super::clock::{StoppedClock, TUESDAY};
use super::http::{self, Answer};
use super::peer::{Peer, Taken};
use super::public::{FORM, cookie, field, parsed};
use super::receiving::example;
use super::sending::{Sending, subscriber};

pub const MIRA: &str = "mira@staff.example.net";
pub const TOM: &str = "tom@staff.example.net";
pub const EDITOR: &str = "ed@example.org";

/// Where the pages say that they are.
const URL: &str = "http://127.0.0.1:8026";

pub struct House {
    pub store: Store,
    pub clock: StoppedClock,
    pub address: SocketAddr,
    shutdown: Shutdown,
}

impl Drop for House {
    fn drop(&mut self) {
        self.shutdown.ask();
    }
}

impl House {
    pub async fn start(store: &Store) -> House {
        let flags = [
            ("web.private", "127.0.0.1:8026"),
            ("desk.staff.1.name", "Tom Berg"),
            ("desk.staff.1.email", TOM),
        ];
        let setup = example(&flags);
        let (clock, shutdown) = (StoppedClock::at(TUESDAY), Shutdown::new());
        let ticking: Arc<dyn Clock> = Arc::new(clock.clone());
        let pages = app::house::pages(&setup, store, Default::default(), &ticking).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(web::serve(listener, pages, Limits::PRIVATE, shutdown.clone()));
        House { store: store.clone(), clock, address, shutdown }
    }

    pub async fn ask(&self, method: &str, path: &str, more: &str, body: &str) -> Answer {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: desk.example.org\r\nConnection: close\r\n{more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let address = self.address;
        tokio::task::spawn_blocking(move || http::ask(address, &request)).await.unwrap()
    }

    pub async fn get(&self, cookie: &str, path: &str) -> Answer {
        self.ask("GET", path, cookie, "").await
    }

    /// What a form of a browser sends.
    pub async fn post(&self, cookie: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        self.ask("POST", path, &format!("{cookie}Content-Type: {FORM}\r\n"), &body.finish()).await
    }

    /// Presses a button of a conversation's page with files chosen, as a browser sends it.
    pub async fn press_with(
        &self,
        cookie: &str,
        number: i64,
        fields: &[(&str, &str)],
        files: &[(&str, &[u8])],
    ) -> Answer {
        let path = format!("/desk/{number}");
        let page = self.get(cookie, &path).await;
        let (form, seen) = (field(&page.body, "form"), field(&page.body, "seen"));
        let own = [("form", form.as_str()), ("seen", seen.as_str())];
        let mut body = Vec::new();
        for (name, value) in own.iter().chain(fields) {
            let part = format!("--bnd\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            body.extend(part.bytes());
        }
        for (name, octets) in files {
            let head = format!(
                "--bnd\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\n\
                 Content-Type: application/octet-stream\r\n\r\n"
            );
            body.extend(head.bytes().chain(octets.iter().copied()).chain(*b"\r\n"));
        }
        body.extend(b"--bnd--\r\n");
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: desk.example.org\r\nConnection: close\r\n{cookie}\
             Content-Type: multipart/form-data; boundary=bnd\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend(body);
        let address = self.address;
        tokio::task::spawn_blocking(move || http::ask_bytes(address, &request)).await.unwrap()
    }

    /// Presses a button of a conversation's page, as it stands now.
    pub async fn press(&self, cookie: &str, number: i64, fields: &[(&str, &str)]) -> Answer {
        let path = format!("/desk/{number}");
        let page = self.get(cookie, &path).await;
        assert_eq!(page.code, 200, "{}", page.body);
        let (form, seen) = (field(&page.body, "form"), field(&page.body, "seen"));
        let own = [("form", form.as_str()), ("seen", seen.as_str())];
        self.post(cookie, &path, &[&own, fields].concat()).await
    }

    /// Signs somebody in by their mail. Answers the header with their cookie.
    pub async fn sign_in(&self, address: &str) -> String {
        let page = self.get("", "/sign-in").await;
        self.clock.advance(Duration::from_secs(1));
        let form = field(&page.body, "form");
        assert_eq!(self.post("", "/sign-in", &[("address", address), ("form", &form)]).await.code, 200);
        let mails = self.mails().await;
        let mail = mails.iter().find(|mail| mail.to == address).expect("a link was mailed");
        let message = parsed(mail);
        let text = message.body_text(0).unwrap();
        let (_, link) = text.split_once(&format!("{URL}/s/")).unwrap();
        let link = link.split_whitespace().next().unwrap();
        let opened = self.post("", &format!("/s/{link}"), &[]).await;
        assert_eq!(opened.code, 303, "{}", opened.body);
        format!("Cookie: {}\r\n", cookie(&opened))
    }

    /// Sends all that waits.
    pub async fn mails(&self) -> Vec<Taken> {
        let peer = Peer::willing().await;
        let sending = Sending::start(&self.store, &peer, OnUncertain::Resend).await;
        sending.clock.advance(self.now().since(TUESDAY));
        sending.drain().await;
        peer.taken()
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A conversation that a person of this tier opened, or a stranger.
    pub async fn thread(&self, address: &str, tier: Option<&str>, subject: &str, text: &str) -> i64 {
        let mut tx = self.store.write().await.unwrap();
        if let Some(tier) = tier {
            let person = subscriber(address, tier);
            people::add_many(&mut tx, &[&person], "test", "a test", TUESDAY).await.unwrap();
        }
        let person = people::by_key(&mut tx, address).await.unwrap();
        let new = NewThread {
            subscriber_id: person.map(|person| person.id),
            address,
            address_key: address,
            name: "Ana Lopez",
            subject,
            edition_id: None,
            suspected: None,
        };
        let number = threads::open(&mut tx, &new, self.now()).await.unwrap();
        tx.commit().await.unwrap();
        self.words(number, text).await;
        number
    }

    /// The subscriber's words.
    pub async fn words(&self, number: i64, text: &str) -> i64 {
        self.words_with(number, (text, "> what was said\n> before"), &[]).await
    }

    pub async fn words_with(&self, number: i64, (text, folded): (&str, &str), files: &[Attachment]) -> i64 {
        let mut tx = self.store.write().await.unwrap();
        let post = NewPost {
            thread: number,
            kind: PostKind::Subscriber,
            from_name: "Ana Lopez",
            from_address: "ana@readers.example",
            text,
            folded,
            message_id: None,
            inbound_id: None,
            staff_id: None,
            attachments: files,
        };
        let post = threads::add_post(&mut tx, &post, self.now()).await.unwrap();
        tx.commit().await.unwrap();
        post
    }

    pub async fn row(&self, number: i64) -> ThreadRow {
        threads::show(&mut self.store.read().await.unwrap(), number).await.unwrap().unwrap()
    }

    pub async fn posts(&self, number: i64) -> Vec<Post> {
        desk::posts(&mut self.store.read().await.unwrap(), number, i64::MAX, 1000).await.unwrap().0
    }

    pub async fn staff(&self, address: &str) -> i64 {
        staff::by_key(&mut self.store.read().await.unwrap(), address).await.unwrap().unwrap().id
    }
}
