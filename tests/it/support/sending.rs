//! A send line on a test store: people, an edition with real bodies, connections that a test steps by hand.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tidings::domain::address::Address;
use tidings::domain::body::{Body, Context, Field, Piece};
use tidings::domain::settings::{AddressPattern, OnUncertain, RelaySecurity, RelaySettings, RetrySettings};
use tidings::domain::subscriber::{Subscriber, SubscriberStatus};
use tidings::mail::compose::{Frame, Kind, ListId, ReplyTo};
use tidings::mail::token::Keyring;
use tidings::runtime::{Shutdown, Timestamp};
use tidings::store::{Store, bodies, editions, owners, people};
use tidings::tasks::alarm::Alarms;
use tidings::tasks::content::Shelf;
use tidings::tasks::ledger::{self, Owner};
use tidings::tasks::send::{Connection, SendLine, Step};
use tidings::transport::{Pacer, Timeouts};

use super::clock::{StoppedClock, TUESDAY};
use super::peer::Peer;
use super::receiving::example;

pub const FIRST_RETRY: Duration = Duration::from_secs(300);

pub fn subscriber(address: &str, tier: &str) -> Subscriber {
    Subscriber {
        id: 0,
        address: Address::parse(address).unwrap(),
        name: format!("Reader {tier}"),
        tier: tier.into(),
        status: SubscriberStatus::Active,
        timezone: None,
        language: None,
        term_started_at: None,
        term_ends_at: None,
    }
}

pub fn retry(on_uncertain: OnUncertain) -> RetrySettings {
    RetrySettings { schedule: vec![FIRST_RETRY], give_up: Duration::from_secs(3600), on_uncertain }
}

pub fn pattern(base: &str) -> AddressPattern {
    AddressPattern { before: format!("{base}+"), after: String::new(), domain: "news.example.org".into() }
}

pub fn frame() -> Frame {
    Frame {
        kind: Kind::Newsletter,
        from_name: "Example News".into(),
        from_address: "weekly@news.example.org".into(),
        reply: pattern("support"),
        reply_to: ReplyTo::Edition,
        bounce: pattern("bounce"),
        unsubscribe: Some(pattern("leave")),
        url: "https://news.example.org".into(),
        archive_url: Some("https://news.example.org/archive".into()),
        upgrade_url: None,
        help_url: None,
        owner: None,
        join: None,
        feedback_id: None,
        message_id_domain: "news.example.org".into(),
        list_id: Some(ListId { phrase: "Example News".into(), id: "weekly.news.example.org".into() }),
        in_reply_to: None,
        references: Vec::new(),
    }
}

/// A body that says for which tier it is.
pub fn body(tier: &str) -> Body {
    let literal = |text: &str| Piece::Literal(text.to_owned());
    let hole = |field, context| Piece::Hole { field, context };
    Body {
        subject: vec![literal("News for "), literal(tier)],
        html: vec![
            literal(&format!("<p>words of {tier}</p>\n<p>")),
            hole(Field::SubscriberName, Context::Html),
            literal("</p><a href=\""),
            hole(Field::LinkUnsubscribe, Context::Html),
            literal("\">leave</a>\n"),
        ],
        text: vec![
            literal(&format!("words of {tier}\n")),
            hole(Field::SubscriberName, Context::Bare),
            literal("\n"),
            hole(Field::LinkUnsubscribe, Context::Bare),
            literal("\n"),
        ],
    }
}

pub fn edition(slug: &str, tiers: &[&str]) -> editions::NewEdition {
    let new = |tier: &&str| bodies::NewBody {
        tier: (*tier).into(),
        frame: serde_json::to_string(&frame()).unwrap(),
        body: serde_json::to_string(&body(tier)).unwrap(),
        extra_limit: None,
    };
    editions::NewEdition {
        slug: slug.into(),
        slot: None,
        due_at: TUESDAY,
        subject: "Subject".into(),
        articles: vec!["one".into()],
        bodies: tiers.iter().map(new).collect(),
        lapsed: Some("free".into()),
        extra: false,
        approval: false,
    }
}

/// `count` people of the free tier, and an edition for them in the queue.
pub async fn queued_edition(store: &Store, count: usize) {
    queue_for(store, count, &edition("weekly", &["free"])).await;
}

/// The same with a text of so many octets.
pub async fn queued_large_edition(store: &Store, count: usize, octets: usize) {
    let line = "a line of an article that goes on and on and on\n";
    let mut large = body("free");
    large.text.push(Piece::Literal(line.repeat(octets / line.len())));
    let mut edition = edition("weekly", &["free"]);
    edition.bodies[0].body = serde_json::to_string(&large).unwrap();
    queue_for(store, count, &edition).await;
}

async fn queue_for(store: &Store, count: usize, edition: &editions::NewEdition) {
    let people: Vec<_> = (0..count).map(|n| subscriber(&format!("p{n:05}@x.example"), "free")).collect();
    let mut tx = store.write().await.unwrap();
    for chunk in people.chunks(500) {
        people::add_many(&mut tx, &chunk.iter().collect::<Vec<_>>(), "test", "", TUESDAY).await.unwrap();
    }
    editions::queue(&mut tx, edition, TUESDAY).await.unwrap().unwrap();
    tx.commit().await.unwrap();
}

/// A relay at the peer's address.
pub fn relay(peer: &Peer) -> RelaySettings {
    RelaySettings {
        name: "main".into(),
        security: RelaySecurity::None,
        host: "127.0.0.1".into(),
        port: peer.address.port(),
        username: None,
        password: None,
        ca: None,
        connections: 4,
        rates: Vec::new(),
        messages_per_connection: 100,
        weight: 1,
        hello: "news.example.org".into(),
        sends_from: Vec::new(),
        rules: tidings::config::reply_rules::built_in(),
    }
}

/// The shipped publication. Nothing here changes it, and reading it takes half a second.
fn shipped_shelf() -> Arc<Shelf> {
    static SHELF: OnceLock<Arc<Shelf>> = OnceLock::new();
    SHELF.get_or_init(|| example(&[]).shelf).clone()
}

pub struct Sending {
    pub line: Arc<SendLine>,
    pub clock: StoppedClock,
    pub store: Store,
}

impl Sending {
    pub async fn start(store: &Store, peer: &Peer, on_uncertain: OnUncertain) -> Sending {
        Sending::start_with(store, peer, on_uncertain, Timeouts::default()).await
    }

    pub async fn start_with(
        store: &Store,
        peer: &Peer,
        on_uncertain: OnUncertain,
        timeouts: Timeouts,
    ) -> Sending {
        let clock = StoppedClock::at(TUESDAY);
        let keyring = Arc::new(Keyring::new(&["a secret of sixteen or more".to_owned().into()]).unwrap());
        let mut tx = store.write().await.unwrap();
        let owner = owners::register(&mut tx, "test", TUESDAY).await.unwrap();
        tx.commit().await.unwrap();
        let shelf = shipped_shelf();
        let alarms = Alarms::default();
        let who = Owner {
            id: owner,
            key_id: keyring.current_key_id().into(),
            shelf: shelf.clone(),
            alarms: alarms.clone(),
        };
        let (asks, gatherer) = ledger::ledger(store.clone(), who);
        let now = clock.clone();
        tokio::spawn(gatherer.run(move || tidings::runtime::Clock::now(&now)));
        let line = SendLine {
            store: store.clone(),
            ledger: asks,
            owner,
            relay: relay(peer),
            pacer: Pacer::default(),
            timeouts,
            retry: retry(on_uncertain),
            keyring,
            signing: None,
            shelf,
            bodies: Default::default(),
            health: Default::default(),
            alarms,
            clock: Arc::new(clock.clone()),
            shutdown: Shutdown::new(),
            wake: Default::default(),
        };
        Sending { line: Arc::new(line), clock, store: store.clone() }
    }

    pub fn connection(&self) -> Connection {
        Connection::new(self.line.clone())
    }

    /// Steps one connection until nothing is due or the relay is away. Answers how many deliveries were tried.
    pub async fn drain(&self) -> usize {
        let mut connection = self.connection();
        let mut tried = 0;
        loop {
            match connection.step().await {
                Step::Tried => tried += 1,
                Step::Idle | Step::Stopped => return tried,
                Step::Down(_) => return tried,
            }
        }
    }

    pub async fn counts(&self) -> tidings::domain::edition::Counts {
        self.edition().await.counts
    }

    pub async fn edition(&self) -> editions::EditionRow {
        editions::show(&mut self.store.read().await.unwrap(), "weekly").await.unwrap().unwrap()
    }

    pub async fn tidy(&self, now: Timestamp) -> Vec<String> {
        ledger::tidy(&self.store, now).await.unwrap()
    }
}
