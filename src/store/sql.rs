//! The seam: the only file that names a database driver.
//!
//! SQL is written once, with `$1` markers, as text that both dialects understand. A transaction is an enum over the two native
//! ones; the macros [`run`], [`rows`] and [`row`] repeat a call for each. The dialect is asked for five things only: the
//! suffix of a claim, a unique violation, opening, wake-up, and the migration folder.
//!
//! SQLite has one writer connection whose transactions are immediate (a deferred one that upgrades fails under load at once,
//! whatever the busy timeout) and a few readers. PostgreSQL has one pool.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

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
    /// Two processes never claim one row: PostgreSQL needs it said, SQLite has one writer.
    pub(super) fn claim_suffix(self) -> &'static str {
        match self {
            Dialect::Sqlite => "",
            Dialect::Postgres => " FOR UPDATE OF d SKIP LOCKED",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Pool {
    Sqlite { writer: SqlitePool, readers: SqlitePool, file: PathBuf },
    Postgres(PgPool),
}

/// An open transaction of either dialect. Dropping it rolls back.
pub struct Tx(pub(super) Inner);

pub(super) enum Inner {
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

impl Tx {
    /// # Errors
    /// When the database could not make it durable. The transaction then did not happen, or on a lost connection to
    /// PostgreSQL may have: every write is written so that doing it again is harmless.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self.0 {
            Inner::Sqlite(tx) => tx.commit().await?,
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
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .map_err(|error| StoreError::File { path: folder.to_owned(), error })?;
        }
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY)
            .statement_cache_capacity(256);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(BUSY)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.clone())
            .await?;
        let readers = SqlitePoolOptions::new()
            .min_connections(0)
            .max_connections(4)
            .connect_lazy_with(options.read_only(true).create_if_missing(false));
        Ok(Pool::Sqlite { writer, readers, file: file.to_owned() })
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
            Pool::Sqlite { writer, .. } => Inner::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Pool::Postgres(pool) => Inner::Postgres(pool.begin().await?),
        }))
    }

    /// One consistent view of the whole store.
    pub(super) async fn begin_read(&self) -> Result<Tx, StoreError> {
        Ok(Tx(match self {
            Pool::Sqlite { readers, .. } => Inner::Sqlite(readers.begin().await?),
            Pool::Postgres(pool) => {
                Inner::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?)
            }
        }))
    }

    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        match self {
            Pool::Sqlite { writer, .. } => SQLITE.run(writer).await?,
            Pool::Postgres(pool) => POSTGRES.run(pool).await?,
        }
        Ok(())
    }

    /// The version of the newest migration that has run; `None` on an empty database.
    pub(super) async fn schema_version(&self) -> Result<Option<i64>, StoreError> {
        const NEWEST: &str = "SELECT max(version) FROM _sqlx_migrations";
        let found = match self {
            Pool::Sqlite { writer, .. } => {
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
                writer.close().await;
            }
            Pool::Postgres(pool) => pool.close().await,
        }
    }
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
                let mut $query = sqlx::query(sqlx::AssertSqlSafe($sql));
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
                let mut $query = sqlx::query_as::<_, $ty>(sqlx::AssertSqlSafe($sql));
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

pub(crate) use {row, rows, rows_each, run, run_each};

/// `$1, $2, ... $n` or, with `width`, `($1, $2), ($3, $4), ...`.
pub(super) fn markers(count: usize, width: usize) -> String {
    let mut text = String::with_capacity(count * width * 5);
    for index in 0..count {
        if index > 0 {
            text.push_str(", ");
        }
        let group =
            (0..width).map(|at| format!("${}", index * width + at + 1)).collect::<Vec<_>>().join(", ");
        if width > 1 {
            text.push('(');
            text.push_str(&group);
            text.push(')');
        } else {
            text.push_str(&group);
        }
    }
    text
}
