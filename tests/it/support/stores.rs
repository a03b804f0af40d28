//! Stores of both dialects. PostgreSQL is the server that `TIDINGS_TEST_POSTGRES` names (a URL whose role may create
//! databases); where it is not set the run says so, and fails if `TIDINGS_REQUIRE_POSTGRES=1`.

use std::path::PathBuf;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use secrecy::ExposeSecret;
use sqlx::Connection;
use tidings::domain::settings::StorageUrl;
use tidings::store::Store;

/// A store that goes away with this value.
pub struct TestStore {
    pub store: Store,
    pub url: StorageUrl,
    _folder: Option<tempfile::TempDir>,
    database: Option<(String, String)>,
}

impl TestStore {
    pub async fn sqlite() -> TestStore {
        let folder = tempfile::tempdir().unwrap();
        let file: PathBuf = folder.path().join("tidings.db");
        let url = StorageUrl::Sqlite(file);
        let store = Store::open(&url).await.unwrap();
        TestStore { store, url, _folder: Some(folder), database: None }
    }

    /// A database of its own on the test server, if there is one.
    pub async fn postgres() -> Option<TestStore> {
        static SAID: Once = Once::new();
        let Ok(server) = std::env::var("TIDINGS_TEST_POSTGRES") else {
            let required = std::env::var("TIDINGS_REQUIRE_POSTGRES").is_ok_and(|value| value == "1");
            assert!(!required, "TIDINGS_REQUIRE_POSTGRES=1, but TIDINGS_TEST_POSTGRES names no server");
            SAID.call_once(|| println!("PostgreSQL is not tested: TIDINGS_TEST_POSTGRES is not set"));
            return None;
        };
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let database = format!("t{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let mut admin = sqlx::PgConnection::connect(&server).await.unwrap();
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {database}"));
        sqlx::raw_sql(create).execute(&mut admin).await.unwrap();
        let base = server.rsplit_once('/').unwrap().0;
        let url = StorageUrl::Postgres(format!("{base}/{database}").into());
        let store = Store::migrate(&url).await.unwrap();
        Some(TestStore { store, url, _folder: None, database: Some((server, database)) })
    }

    /// Returns once a transaction of this database waits for a lock.
    pub async fn until_one_waits(&self) {
        let (server, database) = self.database.as_ref().expect("only PostgreSQL's transactions wait here");
        let mut admin = sqlx::PgConnection::connect(server).await.unwrap();
        loop {
            const SQL: &str =
                "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'";
            let waiting: i64 = sqlx::query_scalar(SQL).bind(database).fetch_one(&mut admin).await.unwrap();
            if waiting > 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// For tables.
    pub fn name(&self) -> &'static str {
        match self.url {
            StorageUrl::Sqlite(_) => "SQLite",
            StorageUrl::Postgres(_) => "Postgres",
        }
    }

    /// Another store with all that this one holds, as a restored copy of it. PostgreSQL copies only what nobody has open: `store`
    /// is closed by then.
    pub async fn twin(&self) -> TestStore {
        let Some((server, database)) = &self.database else {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("tidings.db");
            std::fs::write(&file, "").unwrap();
            let StorageUrl::Sqlite(original) = &self.url else { unreachable!("it has no server") };
            let store = Store::open(&StorageUrl::Sqlite(original.clone())).await.unwrap();
            store.copy_into(&file).await.unwrap();
            store.close().await;
            let url = StorageUrl::Sqlite(file);
            let store = Store::open(&url).await.unwrap();
            return TestStore { store, url, _folder: Some(folder), database: None };
        };
        self.store.close().await;
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let twin = format!("{database}_twin{}", COUNT.fetch_add(1, Ordering::SeqCst));
        let mut admin = sqlx::PgConnection::connect(server).await.unwrap();
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {twin} TEMPLATE {database}"));
        sqlx::raw_sql(create).execute(&mut admin).await.unwrap();
        let base = server.rsplit_once('/').unwrap().0;
        let url = StorageUrl::Postgres(format!("{base}/{twin}").into());
        let store = Store::open(&url).await.unwrap();
        TestStore { store, url, _folder: None, database: Some((server.clone(), twin)) }
    }

    /// Closes the store and drops what belongs to it.
    pub async fn remove(self) {
        self.store.close().await;
        if let Some((server, database)) = self.database {
            let mut admin = sqlx::PgConnection::connect(&server).await.unwrap();
            let drop = sqlx::AssertSqlSafe(format!("DROP DATABASE {database} WITH (FORCE)"));
            sqlx::raw_sql(drop).execute(&mut admin).await.unwrap();
        }
    }
}

/// A store of every dialect that is to be had; each has to be removed.
pub async fn both() -> impl Iterator<Item = TestStore> {
    [Some(TestStore::sqlite().await), TestStore::postgres().await].into_iter().flatten()
}

impl TestStore {
    /// Runs a statement beside the store.
    pub async fn run(&self, sql: &str) {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        match &self.url {
            StorageUrl::Sqlite(file) => {
                let url = format!("sqlite://{}", file.display());
                let mut beside = sqlx::SqliteConnection::connect(&url).await.unwrap();
                sqlx::raw_sql(sql).execute(&mut beside).await.unwrap();
                beside.close().await.unwrap();
            }
            StorageUrl::Postgres(url) => {
                let mut beside = sqlx::PgConnection::connect(url.expose_secret()).await.unwrap();
                sqlx::raw_sql(sql).execute(&mut beside).await.unwrap();
                beside.close().await.unwrap();
            }
        }
    }
}

/// Runs one story on every dialect that is to be had.
pub async fn on_every_store<F>(story: impl Fn(Store) -> F)
where
    F: Future<Output = ()>,
{
    let sqlite = TestStore::sqlite().await;
    story(sqlite.store.clone()).await;
    sqlite.remove().await;
    if let Some(postgres) = TestStore::postgres().await {
        story(postgres.store.clone()).await;
        postgres.remove().await;
    }
}
