//! A store on a real disk, people, an edition of about 30 kB a mail, and a second connection for bare SQL.

use std::path::PathBuf;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection, SqliteConnection};
use tidings::domain::body::{Body, Context, Field, Piece};
use tidings::domain::settings::{AddressPattern, StorageUrl};
use tidings::mail::compose::{Frame, Kind, ListId, ReplyTo};
use tidings::mail::token::Keyring;
use tidings::runtime::Timestamp;
use tidings::store::bodies::NewBody;
use tidings::store::editions::{self, NewEdition};
use tidings::store::{Store, owners};

/// 2026-11-24T14:00:00Z.
pub const NOW: Timestamp = Timestamp(1_795_528_800_000);

/// A folder under the target folder: temporary folders are often in memory, where a commit costs nothing.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

pub struct World {
    pub store: Store,
    pub file: PathBuf,
    _folder: tempfile::TempDir,
}

impl World {
    pub async fn new() -> World {
        let folder = folder();
        let file = folder.path().join("tidings.db");
        let store = Store::open(&StorageUrl::Sqlite(file.clone())).await.unwrap();
        World { store, file, _folder: folder }
    }

    /// A connection of our own to the same file, with the store's settings.
    pub async fn sql(&self) -> SqliteConnection {
        sql(&self.file).await
    }

    /// `count` more active people of the four tiers in turn.
    pub async fn people(&self, count: usize) {
        let mut sql = self.sql().await;
        let insert = format!(
            "INSERT INTO subscribers (address, address_key, name, tier, status, created_at, updated_at) \
             WITH RECURSIVE n (i) AS (SELECT coalesce((SELECT max(id) FROM subscribers), 0) + 1 \
                UNION ALL SELECT i + 1 FROM n LIMIT {count}) \
             SELECT 'reader' || i || '@host' || (i % 50) || '.example', \
                'reader' || i || '@host' || (i % 50) || '.example', 'Reader Number ' || i, \
                CASE i % 4 WHEN 0 THEN 'free' WHEN 1 THEN 'monthly' WHEN 2 THEN 'yearly' ELSE 'lifetime' END, \
                'active', 0, 0 FROM n"
        );
        execute(&mut sql, &insert).await;
        sql.close().await.unwrap();
    }

    /// Queues an edition for everybody; answers its audience.
    pub async fn edition(&self, slug: &str) -> usize {
        let mut tx = self.store.write().await.unwrap();
        let queued = editions::queue(&mut tx, &edition(slug), NOW).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        usize::try_from(queued.audience).unwrap()
    }

    pub async fn owner(&self) -> i64 {
        let mut tx = self.store.write().await.unwrap();
        let owner = owners::register(&mut tx, "bench", NOW).await.unwrap();
        tx.commit().await.unwrap();
        owner
    }
}

pub async fn sql(file: &std::path::Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    SqliteConnection::connect_with(&options).await.unwrap()
}

pub async fn execute(sql: &mut SqliteConnection, text: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(text.to_owned())).execute(sql).await.unwrap();
}

pub fn keyring() -> Keyring {
    Keyring::new(&["a secret of sixteen or more".to_owned().into()]).unwrap()
}

fn pattern(base: &str) -> AddressPattern {
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
        upgrade_url: Some("https://news.example.org/plans".into()),
        help_url: None,
        owner: None,
        join: None,
        feedback_id: None,
        message_id_domain: "news.example.org".into(),
        list_id: Some(ListId { phrase: "Example News".into(), id: "newsletter.news.example.org".into() }),
        in_reply_to: None,
        references: Vec::new(),
    }
}

const HTML: &str = "<tr><td style=\"padding:0 24px;font-family:Georgia,serif;font-size:16px;line-height:1.6\">\
    <p style=\"margin:0 0 16px\">Quantisation maps weights to a small set of values; “per channel” scales keep the \
    error where it does least harm – the table below has the numbers.</p></td></tr>\n";
const TEXT: &str = "Quantisation maps weights to a small set of values; per-channel scales keep the error\n\
    where it does least harm. The table below has the numbers.\n\n";

/// Literals of about `size` octets in all with `holes` holes between them.
fn part(words: &str, size: usize, holes: usize, context: Context) -> Vec<Piece> {
    let fields = [Field::SubscriberName, Field::LinkView, Field::LinkUnsubscribe, Field::SubscriberTierLabel];
    let literal = words.repeat((size / (holes + 1) / words.len()).max(1));
    let mut pieces = Vec::new();
    for at in 0..holes {
        pieces.push(Piece::Literal(literal.clone()));
        pieces.push(Piece::Hole { field: fields[at % fields.len()], context });
    }
    pieces.push(Piece::Literal(literal));
    pieces
}

/// About 30 kB on the wire, with 23 holes in HTML and 6 in text.
pub fn body(tier: &str) -> Body {
    Body {
        subject: vec![Piece::Literal(format!("Model compression, for {tier} readers"))],
        html: part(HTML, 25_000, 23, Context::Html),
        text: part(TEXT, 4_500, 6, Context::Bare),
    }
}

pub fn edition(slug: &str) -> NewEdition {
    let new = |tier: &str| NewBody {
        tier: tier.into(),
        frame: serde_json::to_string(&frame()).unwrap(),
        body: serde_json::to_string(&body(tier)).unwrap(),
        extra_limit: None,
    };
    NewEdition {
        slug: slug.into(),
        slot: None,
        due_at: NOW,
        subject: "Model compression".into(),
        articles: vec!["model-compression".into()],
        bodies: ["free", "monthly", "yearly", "lifetime"].map(new).to_vec(),
        lapsed: Some("free".into()),
        extra: false,
        approval: false,
    }
}

/// The shipped example, which says what a lapsed person counts as and how tiers read.
#[allow(dead_code)] // not every bench has a daemon's parts
pub fn shelf() -> std::sync::Arc<tidings::tasks::content::Shelf> {
    let config = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/tidings.toml");
    let env = [("TIDINGS_SECRET".to_owned(), "a secret of sixteen or more".to_owned())].into();
    let (setup, problems) = tidings::app::Setup::load(&config, &env, &[]);
    setup.unwrap_or_else(|| panic!("{problems:?}")).shelf
}
