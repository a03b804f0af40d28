//! Layer 3: SQL. One file per table or per group that changes together; each function takes an open transaction, so that a
//! use case which several doors share is one function, and its caller decides what else commits with it.
//!
//! `Store::write` is the only way to a writing transaction, `Store::read` gives one consistent view. No network wait happens
//! inside either. Nothing here decides: rules are in `domain`, the order of steps in `tasks`.
//!
//! On PostgreSQL transactions that lock in different orders wait for each other for ever, so all lock in this one: owners, then
//! deliveries with what hangs on them (attempts, bounces, suppressions and held ones), then lanes by id (`lanes::lock`), then
//! editions by id, then limits of relays, then those of lanes.

pub mod alarms;
pub mod answers;
pub mod archive;
pub mod audit;
pub mod board;
pub mod bodies;
pub mod bounces;
pub mod checkup;
pub mod claims;
pub mod copies;
pub mod deliveries;
pub mod desk;
pub mod dossier;
pub mod edition_articles;
pub mod editions;
pub mod editor_words;
pub mod erasure;
pub mod erasures;
pub mod former_addresses;
pub mod held;
pub mod held_people;
pub mod inbound;
pub mod lanes;
pub mod mailboxes;
pub mod notes;
pub mod numbers;
pub mod owners;
pub mod people;
#[cfg(test)]
mod query_plans;
pub mod refused_mail;
pub mod requests;
pub mod retention;
mod search;
pub mod sessions;
pub mod slots;
mod sql;
pub mod staff;
pub mod suppressions;
pub mod threads;
pub mod told_mails;

use std::path::{Path, PathBuf};

use crate::domain::settings::StorageUrl;
pub use sql::{Dialect, Tx};

/// The open database of one process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pool: sql::Pool,
}

/// What the database or its file could not do. Constraints that carry a promise come back as their own variant.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database answered: {0}")]
    Sql(#[from] sqlx::Error),
    #[error("a migration failed: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("{path}: {error}", path = path.display())]
    File { path: PathBuf, error: std::io::Error },
    #[error("{path} cannot be written: give the user that Tidings runs as the right to write it, and its file system must not be mounted read-only ({error})", path = path.display())]
    ReadOnly { path: PathBuf, error: std::io::Error },
    #[error("{path} was removed or replaced while it was open; nothing is written until this process is started again", path = .0.display())]
    Gone(PathBuf),
    #[error("another daemon works on {path}; stop it first, or give this one a database of its own", path = .0.display())]
    Locked(PathBuf),
    #[error("the schema is version {found}, this binary knows {known}: run the newer binary")]
    NewerSchema { found: i64, known: i64 },
    #[error("the schema is version {found}, this binary needs {known}: run `tidings migrate`")]
    OlderSchema { found: i64, known: i64 },
    #[error("the store holds {what} that this binary cannot read: {why}")]
    Corrupt { what: &'static str, why: String },
}

/// By the words of SQLite: a damaged file ("database disk image is malformed") is not away, it stays damaged.
fn is_sqlite_away(text: &str) -> bool {
    const SIGNS: [&str; 7] =
        ["locked", "busy", "disk I/O error", "readonly", "is full", "unable to open", "interrupted"];
    SIGNS.iter().any(|sign| text.contains(sign))
}

impl StoreError {
    /// Whether the store is away, as against refusing what was asked: later it will work. Everything else would fail again.
    pub fn is_away(&self) -> bool {
        match self {
            StoreError::Sql(sqlx::Error::Database(error)) => {
                let code = error.code().unwrap_or_default();
                let text = error.message();
                // PostgreSQL: connection, resources, intervention, system, serialization and deadlocks.
                let postgres = ["08", "53", "57", "58", "40"]
                    .iter()
                    .any(|class| code.len() == 5 && code.starts_with(class));
                // SQLite has no classes that sqlx tells apart from constraints.
                postgres || is_sqlite_away(text)
            }
            StoreError::Sql(error) => {
                use sqlx::Error::{Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
                matches!(error, Io(_) | PoolClosed | PoolTimedOut | Protocol(_) | Tls(_) | WorkerCrashed)
            }
            StoreError::File { .. }
            | StoreError::ReadOnly { .. }
            | StoreError::Locked(_)
            | StoreError::Gone(_) => true,
            _ => false,
        }
    }

    /// Whether the database is there and does not know us: a wrong name, password or database in the settings.
    pub fn is_about_the_login(&self) -> bool {
        // PostgreSQL's class 28 is "invalid authorization", 3D "invalid catalog name".
        let wrong = |code: &str| code.starts_with("28") || code.starts_with("3D");
        matches!(self, StoreError::Sql(sqlx::Error::Database(error)) if error.code().is_some_and(|code| wrong(&code)))
    }

    /// Whether others were writing the same at the same time: doing it again does it right.
    pub fn is_crossed(&self) -> bool {
        // PostgreSQL's class 40 is "transaction rollback": serialization failures and deadlocks.
        let rolled_back = matches!(self, StoreError::Sql(sqlx::Error::Database(error))
            if error.code().is_some_and(|code| code.len() == 5 && code.starts_with("40")));
        rolled_back || self.is_unique_violation()
    }

    /// Whether a promise that is written as a unique constraint refused the write.
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, StoreError::Sql(sqlx::Error::Database(error)) if error.is_unique_violation())
    }
}

/// Held by the one daemon of a SQLite file; the operating system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct DaemonLock(#[expect(dead_code, reason = "held for its Drop")] Option<std::fs::File>);

impl Store {
    /// Opens the store. A SQLite file is created and migrated by whatever opens it; PostgreSQL is migrated by
    /// [`Store::migrate`] only, because several processes share it.
    ///
    /// # Errors
    /// When it cannot be reached, or its schema is not the one that this binary knows.
    pub async fn open(url: &StorageUrl) -> Result<Store, StoreError> {
        let store = match url {
            StorageUrl::Sqlite(file) => {
                let store = Store { pool: sql::Pool::sqlite(file).await? };
                store.refuse_newer().await?;
                store.pool.migrate().await?;
                store
            }
            StorageUrl::Postgres(url) => Store { pool: sql::Pool::postgres(url).await? },
        };
        let known = sql::newest_schema();
        let found = store.refuse_newer().await?;
        if found < known {
            return Err(StoreError::OlderSchema { found, known });
        }
        Ok(store)
    }

    /// Opens the store and brings its schema up to date.
    ///
    /// # Errors
    /// As [`Store::open`], and when a migration fails; it then left nothing behind.
    pub async fn migrate(url: &StorageUrl) -> Result<Store, StoreError> {
        if let StorageUrl::Postgres(url) = url {
            let store = Store { pool: sql::Pool::postgres(url).await? };
            store.refuse_newer().await?;
            store.pool.migrate().await?;
        }
        Store::open(url).await
    }

    async fn refuse_newer(&self) -> Result<i64, StoreError> {
        let found = self.pool.schema_version().await?.unwrap_or(0);
        let known = sql::newest_schema();
        if found > known {
            return Err(StoreError::NewerSchema { found, known });
        }
        Ok(found)
    }

    /// # Errors
    /// When the database is away or busy for longer than its timeout.
    pub async fn write(&self) -> Result<Tx, StoreError> {
        self.pool.begin_write().await
    }

    /// # Errors
    /// When the database is away.
    pub async fn read(&self) -> Result<Tx, StoreError> {
        self.pool.begin_read().await
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// The folder of a SQLite file.
    pub fn folder(&self) -> Option<&Path> {
        match &self.pool {
            sql::Pool::Sqlite { file, .. } => {
                let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
                Some(folder.unwrap_or(Path::new(".")))
            }
            sql::Pool::Postgres(_) => None,
        }
    }

    /// Writes one consistent view of a SQLite file into `into`, an empty file, while others write on. Reads only; on PostgreSQL,
    /// which has its own means, nothing happens.
    ///
    /// # Errors
    /// When the file cannot be read or `into` not be written.
    pub async fn copy_into(&self, into: &Path) -> Result<(), StoreError> {
        self.pool.copy_into(into).await
    }

    /// Empties the log of a SQLite file into it, as far as others who read let it.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.pool.flush().await
    }

    pub fn dialect(&self) -> Dialect {
        match self.pool {
            sql::Pool::Sqlite { .. } => Dialect::Sqlite,
            sql::Pool::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Makes this process the one daemon of a SQLite file. PostgreSQL needs no such thing: owners have heartbeats there.
    ///
    /// # Errors
    /// [`StoreError::Locked`] while another process holds it.
    pub fn lock_for_daemon(&self) -> Result<DaemonLock, StoreError> {
        let sql::Pool::Sqlite { file, .. } = &self.pool else {
            return Ok(DaemonLock(None));
        };
        let path = lock_path(file);
        let failed = |error| StoreError::File { path: path.clone(), error };
        let lock = std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(DaemonLock(Some(lock))),
            Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Locked(file.clone())),
            Err(std::fs::TryLockError::Error(error)) => Err(StoreError::File { path, error }),
        }
    }
}

fn lock_path(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// Reads a stored word; an unknown one means that somebody else wrote into the store.
fn word<T>(what: &'static str, text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
    parse(text).ok_or_else(|| StoreError::Corrupt { what, why: format!("the word `{text}`") })
}

#[cfg(test)]
mod tests {
    use super::is_sqlite_away;

    #[test]
    fn what_passes_is_away_and_damage_is_not() {
        for away in [
            "database is locked",
            "database table is locked",
            "disk I/O error",
            "database or disk is full",
            "attempt to write a readonly database",
            "unable to open database file",
            "interrupted",
        ] {
            assert!(is_sqlite_away(away), "{away}");
        }
        assert!(!is_sqlite_away("database disk image is malformed"));
        assert!(!is_sqlite_away("UNIQUE constraint failed: editions.slug"));
    }
}
