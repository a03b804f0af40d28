//! The seam: the only file that names a database driver.
//!
//! SQL is written once, with `$1` markers, as text that both dialects understand. A transaction is an enum over the two native
//! ones; the macros [`run`], [`rows`] and [`row`] repeat a call for each. The dialect is asked for seven things only: the suffixes
//! of a claim and of a read that a change follows, a unique violation, opening, wake-up, the migration folder, and where ids go on.
//!
//! SQLite has one writer connection whose transactions are immediate (a deferred one that upgrades fails under load at once,
//! whatever the busy timeout) and a few readers. PostgreSQL has one pool. The writer is behind a lock and not in a pool: a pool
//! tests a connection before and after each transaction, and each test is a trip to the thread of the connection and back.

use std::fmt::Write as _;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::StoreError;

static SQLITE: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: sqlx::migrate::Migrator = sqlx::migrate!("migrations/postgres");

/// Longer than the longest write transaction (queueing a million rows: about two seconds).
const BUSY: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// The operator of `store::search`.
    pub(super) fn matches(self) -> &'static str {
        match self {
            Dialect::Sqlite => "GLOB",
            Dialect::Postgres => "~",
        }
    }

    /// What stands before and after the inner SELECT of a claim. Two processes never claim one row: PostgreSQL needs it said,
    /// SQLite has one writer. PostgreSQL plans `IN (SELECT ..)` anew at each claim, and an array once.
    pub(super) fn around_claim(self) -> (&'static str, &'static str) {
        match self {
            Dialect::Sqlite => ("IN (", ")"),
            Dialect::Postgres => ("= ANY (ARRAY(", " FOR UPDATE OF d SKIP LOCKED))"),
        }
    }

    /// What ends a SELECT of rows, with ids, that are changed by what is read. PostgreSQL reads them once others have committed,
    /// and keeps others from changing them, in the order of ids so that two do not wait for each other. Rows that refer to them
    /// can still be written. SQLite has one writer. No reader's transaction may say it.
    pub(super) fn to_change(self) -> &'static str {
        match self {
            Dialect::Sqlite => "",
            Dialect::Postgres => " ORDER BY id FOR NO KEY UPDATE",
        }
    }

    /// Lets the ids of table `$1` go on after `$2`. SQLite needs no word for it: they go on after the highest row.
    pub(super) fn skip_ids(self) -> Option<&'static str> {
        match self {
            Dialect::Sqlite => None,
            Dialect::Postgres => Some("SELECT setval(pg_get_serial_sequence($1, 'id'), $2)"),
        }
    }

    /// Rows of what does not fit together. PostgreSQL looks after itself.
    pub(super) fn integrity(self) -> Option<&'static str> {
        match self {
            Dialect::Sqlite => Some("SELECT quick_check FROM pragma_quick_check LIMIT 10"),
            Dialect::Postgres => None,
        }
    }

    /// Name and value of what a commit waits for.
    pub(super) fn durability(self) -> &'static str {
        match self {
            Dialect::Sqlite => "SELECT 'synchronous', CAST(synchronous AS TEXT) FROM pragma_synchronous",
            Dialect::Postgres => {
                "SELECT name, setting FROM pg_settings \
                WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') ORDER BY name"
            }
        }
    }

    /// Values with which nothing that was committed is lost: FULL and EXTRA; everything but `off`.
    pub(super) fn safe_values(self) -> &'static [&'static str] {
        match self {
            Dialect::Sqlite => &["2", "3"],
            Dialect::Postgres => &["on", "local", "remote_write", "remote_apply"],
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Pool {
    Sqlite { writer: Writer, readers: SqlitePool, file: PathBuf, identity: Identity },
    Postgres(PgPool),
}

/// An open transaction of either dialect. Dropping it rolls back.
pub struct Tx(pub(super) Inner);

pub(super) enum Inner {
    Sqlite(SqliteTx),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

/// A transaction of the one writer, or of a reader.
pub(super) enum SqliteTx {
    Write(Written),
    Read(sqlx::Transaction<'static, sqlx::Sqlite>),
}

impl Deref for SqliteTx {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        match self {
            SqliteTx::Write(written) => written.connection(),
            SqliteTx::Read(tx) => tx,
        }
    }
}

impl DerefMut for SqliteTx {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        match self {
            SqliteTx::Write(written) => written.connection_mut(),
            SqliteTx::Read(tx) => tx,
        }
    }
}

/// The one connection that writes; `None` after closing.
type Writer = Arc<Mutex<Option<SqliteConnection>>>;

/// The writer's lock with an open transaction.
pub(super) struct Written(Option<OwnedMutexGuard<Option<SqliteConnection>>>);

const HELD: &str =
    "the guard is there until the transaction ends, and the connection until the store is closed";

impl Written {
    async fn begin(writer: &Writer) -> Result<Written, sqlx::Error> {
        let locked = tokio::time::timeout(BUSY, writer.clone().lock_owned()).await;
        let guard = locked.map_err(|_| sqlx::Error::PoolTimedOut)?;
        if guard.is_none() {
            return Err(sqlx::Error::PoolClosed);
        }
        // Before the first statement, so that being dropped at any later await rolls back.
        let mut written = Written(Some(guard));
        sqlx::query("BEGIN IMMEDIATE").execute(written.connection_mut()).await?;
        Ok(written)
    }

    async fn commit(mut self) -> Result<(), sqlx::Error> {
        sqlx::query("COMMIT").execute(self.connection_mut()).await?;
        self.0 = None;
        Ok(())
    }

    fn connection(&self) -> &SqliteConnection {
        self.0.as_ref().and_then(|guard| guard.as_ref()).expect(HELD)
    }

    fn connection_mut(&mut self) -> &mut SqliteConnection {
        self.0.as_mut().and_then(|guard| guard.as_mut()).expect(HELD)
    }
}

impl Drop for Written {
    /// Statements of a connection run one after the other, so whatever was under way ends before the rollback, and the lock
    /// is let go after it. Without a runtime the process is ending, and the rollback is the next opener's.
    fn drop(&mut self) {
        let Some(mut guard) = self.0.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Some(connection) = guard.as_mut() {
                // It fails where BEGIN or COMMIT failed and nothing is open.
                let _ = sqlx::query("ROLLBACK").execute(connection).await;
            }
        });
    }
}

impl Tx {
    /// # Errors
    /// When the database could not make it durable. The transaction then did not happen, or on a lost connection to
    /// PostgreSQL may have: every write is written so that doing it again is harmless.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self.0 {
            Inner::Sqlite(SqliteTx::Write(written)) => written.commit().await?,
            Inner::Sqlite(SqliteTx::Read(tx)) => tx.commit().await?,
            Inner::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }

    pub(super) fn dialect(&self) -> Dialect {
        match self.0 {
            Inner::Sqlite(_) => Dialect::Sqlite,
            Inner::Postgres(_) => Dialect::Postgres,
        }
    }
}

impl Pool {
    /// Opens a SQLite file, creating it and its folder where they are missing. Does not migrate.
    pub(super) async fn sqlite(file: &Path) -> Result<Pool, StoreError> {
        create_private(file)?;
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY)
            // What is deleted is overwritten, so that who is erased is not left in free pages (W190). The rest frees few pages.
            .pragma("secure_delete", "ON")
            .statement_cache_capacity(256);
        let writer = Arc::new(Mutex::new(Some(options.connect().await?)));
        let readers = SqlitePoolOptions::new()
            .min_connections(0)
            .max_connections(4)
            .test_before_acquire(false)
            .connect_lazy_with(options.read_only(true).create_if_missing(false));
        let identity = identity(file);
        Ok(Pool::Sqlite { writer, readers, file: file.to_owned(), identity })
    }

    pub(super) async fn postgres(url: &SecretString) -> Result<Pool, StoreError> {
        let options = PgConnectOptions::from_str(url.expose_secret())?;
        // A pool knocks at a closed port until its timeout is over; who starts a command hears at once that nobody is there.
        let first = tokio::time::timeout(BUSY, PgConnection::connect_with(&options)).await;
        first.map_err(|_| sqlx::Error::PoolTimedOut)??.close().await?;
        let pool =
            PgPoolOptions::new().max_connections(8).acquire_timeout(BUSY).connect_with(options).await?;
        Ok(Pool::Postgres(pool))
    }

    pub(super) async fn begin_write(&self) -> Result<Tx, StoreError> {
        Ok(Tx(match self {
            Pool::Sqlite { writer, file, identity: opened, .. } => {
                // SQLite would go on writing into a file that was removed, and all of it would be gone with this process.
                if identity(file) != *opened {
                    return Err(StoreError::Gone(file.clone()));
                }
                Inner::Sqlite(SqliteTx::Write(Written::begin(writer).await?))
            }
            Pool::Postgres(pool) => Inner::Postgres(pool.begin().await?),
        }))
    }

    /// One consistent view of the whole store.
    pub(super) async fn begin_read(&self) -> Result<Tx, StoreError> {
        Ok(Tx(match self {
            Pool::Sqlite { readers, .. } => Inner::Sqlite(SqliteTx::Read(readers.begin().await?)),
            Pool::Postgres(pool) => {
                Inner::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?)
            }
        }))
    }

    /// On a connection of its own, so that neither the writer nor a reader waits.
    pub(super) async fn copy_into(&self, into: &Path) -> Result<(), StoreError> {
        let Pool::Sqlite { file, .. } = self else { return Ok(()) };
        let options = SqliteConnectOptions::new().filename(file).read_only(true).busy_timeout(BUSY);
        let mut reader = options.connect().await?;
        sqlx::query("VACUUM INTO $1").bind(into.to_string_lossy()).execute(&mut reader).await?;
        reader.close().await?;
        Ok(())
    }

    /// Moves the log of a SQLite file into it and empties it, as far as readers let it.
    pub(super) async fn flush(&self) -> Result<(), StoreError> {
        let Pool::Sqlite { writer, .. } = self else { return Ok(()) };
        let mut writer = writer.lock().await;
        let writer = writer.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(writer).await?;
        Ok(())
    }

    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        match self {
            Pool::Sqlite { writer, .. } => {
                let mut writer = writer.lock().await;
                SQLITE.run(writer.as_mut().ok_or(sqlx::Error::PoolClosed)?).await?;
            }
            Pool::Postgres(pool) => POSTGRES.run(pool).await?,
        }
        Ok(())
    }

    /// The version of the newest migration that has run; `None` on an empty database.
    pub(super) async fn schema_version(&self) -> Result<Option<i64>, StoreError> {
        const NEWEST: &str = "SELECT max(version) FROM _sqlx_migrations";
        let found = match self {
            Pool::Sqlite { writer, .. } => {
                let mut writer = writer.lock().await;
                let writer = writer.as_mut().ok_or(sqlx::Error::PoolClosed)?;
                sqlx::query_scalar::<_, Option<i64>>(NEWEST).fetch_one(writer).await
            }
            Pool::Postgres(pool) => sqlx::query_scalar::<_, Option<i64>>(NEWEST).fetch_one(pool).await,
        };
        match found {
            Ok(version) => Ok(version),
            Err(sqlx::Error::Database(error)) if error.message().contains("_sqlx_migrations") => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Pool::Sqlite { writer, readers, .. } => {
                readers.close().await;
                let writer = writer.lock().await.take();
                if let Some(writer) = writer
                    && let Err(error) = writer.close().await
                {
                    tracing::debug!(%error, "closing the database");
                }
            }
            Pool::Postgres(pool) => pool.close().await,
        }
    }
}

/// Device and inode: what makes a file this one; `None` where it is not there.
type Identity = Option<(u64, u64)>;

fn identity(file: &Path) -> Identity {
    std::fs::metadata(file).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Creates the file and its folder where they are missing, for this user alone: it holds people's addresses and mail.
fn create_private(file: &Path) -> Result<(), StoreError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| StoreError::File { path, error }
    };
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
    }
    if !file.exists() {
        let new = std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file);
        new.map_err(failed(file))?;
    }
    // Beside it SQLite keeps the log and the index of the log. Its own answer would name neither file nor folder.
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for path in [file, folder] {
        rustix::fs::access(path, rustix::fs::Access::WRITE_OK)
            .map_err(|error| StoreError::ReadOnly { path: path.to_owned(), error: error.into() })?;
    }
    Ok(())
}

/// The newest schema that this binary knows.
pub(super) fn newest_schema() -> i64 {
    SQLITE.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Executes one statement in a [`Tx`]; yields the number of rows that it changed.
macro_rules! run {
    ($tx:expr, $sql:expr $(, $arg:expr)* $(,)?) => {
        match &mut $tx.0 {
            $crate::store::sql::Inner::Sqlite(tx) => {
                sqlx::query($sql)$(.bind($arg))*.execute(&mut **tx).await.map(|done| done.rows_affected())
            }
            $crate::store::sql::Inner::Postgres(tx) => {
                sqlx::query($sql)$(.bind($arg))*.execute(&mut **tx).await.map(|done| done.rows_affected())
            }
        }
    };
}

/// All rows of one query in a [`Tx`], each as `$ty` (a tuple or a `FromRow`).
macro_rules! rows {
    ($tx:expr, $ty:ty, $sql:expr $(, $arg:expr)* $(,)?) => {
        match &mut $tx.0 {
            $crate::store::sql::Inner::Sqlite(tx) => {
                sqlx::query_as::<_, $ty>($sql)$(.bind($arg))*.fetch_all(&mut **tx).await
            }
            $crate::store::sql::Inner::Postgres(tx) => {
                sqlx::query_as::<_, $ty>($sql)$(.bind($arg))*.fetch_all(&mut **tx).await
            }
        }
    };
}

/// The first row of one query in a [`Tx`], if there is one.
macro_rules! row {
    ($tx:expr, $ty:ty, $sql:expr $(, $arg:expr)* $(,)?) => {
        match &mut $tx.0 {
            $crate::store::sql::Inner::Sqlite(tx) => {
                sqlx::query_as::<_, $ty>($sql)$(.bind($arg))*.fetch_optional(&mut **tx).await
            }
            $crate::store::sql::Inner::Postgres(tx) => {
                sqlx::query_as::<_, $ty>($sql)$(.bind($arg))*.fetch_optional(&mut **tx).await
            }
        }
    };
}

/// One statement whose binds come from a loop: `$bind` is a closure body over `query` and one element.
macro_rules! run_each {
    ($tx:expr, $sql:expr, $items:expr, |$query:ident, $item:pat_param| $bind:expr) => {
        match &mut $tx.0 {
            $crate::store::sql::Inner::Sqlite(tx) => {
                let sql = $crate::store::sql::nameless($sql);
                let mut $query = sqlx::query(sqlx::AssertSqlSafe(sql));
                for $item in $items {
                    $query = $bind;
                }
                $query.execute(&mut **tx).await.map(|done| done.rows_affected())
            }
            $crate::store::sql::Inner::Postgres(tx) => {
                let mut $query = sqlx::query(sqlx::AssertSqlSafe($sql));
                for $item in $items {
                    $query = $bind;
                }
                $query.execute(&mut **tx).await.map(|done| done.rows_affected())
            }
        }
    };
}

/// As [`run_each`], for a query with an answer.
macro_rules! rows_each {
    ($tx:expr, $ty:ty, $sql:expr, $items:expr, |$query:ident, $item:pat_param| $bind:expr) => {
        match &mut $tx.0 {
            $crate::store::sql::Inner::Sqlite(tx) => {
                let sql = $crate::store::sql::nameless($sql);
                let mut $query = sqlx::query_as::<_, $ty>(sqlx::AssertSqlSafe(sql));
                for $item in $items {
                    $query = $bind;
                }
                $query.fetch_all(&mut **tx).await
            }
            $crate::store::sql::Inner::Postgres(tx) => {
                let mut $query = sqlx::query_as::<_, $ty>(sqlx::AssertSqlSafe($sql));
                for $item in $items {
                    $query = $bind;
                }
                $query.fetch_all(&mut **tx).await
            }
        }
    };
}

/// The extras that count against the term of subscriber `s`, as an open SELECT that a condition on `u`, the delivery, may follow.
/// Counted from when a delivery is queued, given back when it ends refused, expired or skipped. The joins keep their order: few
/// editions are extras, and each is one lookup.
macro_rules! extras_of_s {
    () => {
        "SELECT count(*) FROM editions g CROSS JOIN deliveries u \
        WHERE g.extra = 1 AND g.queued_at >= coalesce(s.term_started_at, s.created_at) \
        AND u.edition_id = g.id AND u.subscriber_id = s.id AND u.state NOT IN ('refused', 'expired', 'skipped')"
    };
}

pub(crate) use extras_of_s;
pub(crate) use {row, rows, rows_each, run, run_each};

/// `$1 .. $n`, each once and in this order, as SQLite's nameless markers; any other text stays as it is. To SQLite `$1` is a name:
/// parsing and binding go through the list of names for each one, so 5500 of them took 20 ms more a statement.
pub(super) fn nameless(sql: String) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql.as_str();
    let mut expected = 1_usize;
    while let Some(at) = rest.find('$') {
        let digits = rest[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        let (before, number) = (&rest[..at], &rest[at + 1..at + 1 + digits]);
        if number.parse() != Ok(expected) {
            return sql;
        }
        out.push_str(before);
        out.push('?');
        rest = &rest[at + 1 + digits..];
        expected += 1;
    }
    out.push_str(rest);
    out
}

/// `$1, $2, ... $n` or, with `width`, `($1, $2), ($3, $4), ...`.
pub(super) fn markers(count: usize, width: usize) -> String {
    let mut text = String::with_capacity(count * (width * 6 + 4));
    for index in 0..count * width {
        let (first, last) = (index % width == 0, index % width == width - 1);
        text.push_str(if index == 0 { "" } else { ", " });
        text.push_str(if width > 1 && first { "($" } else { "$" });
        // Writing to a string does not fail.
        let _ = write!(text, "{}", index + 1);
        text.push_str(if width > 1 && last { ")" } else { "" });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{markers, nameless};

    #[test]
    fn markers_count_through_their_groups() {
        assert_eq!(markers(3, 1), "$1, $2, $3");
        assert_eq!(markers(2, 2), "($1, $2), ($3, $4)");
        assert_eq!(markers(0, 2), "");
    }

    #[test]
    fn markers_lose_their_names_where_the_order_allows() {
        let same = |sql: &str| nameless(sql.to_owned());
        assert_eq!(same("VALUES ($1, CAST($2 AS TEXT)), ($3)"), "VALUES (?, CAST(? AS TEXT)), (?)");
        for kept in ["SELECT $2, $1", "SELECT $1, $1", "SELECT '$'", "SELECT $1, $3", "SELECT 1"] {
            assert_eq!(same(kept), kept);
        }
    }
}
