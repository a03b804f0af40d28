//! A consistent copy of a running SQLite file: written beside its place, marked as a copy, made durable, and only then named.
//!
//! The copy is read in one view and written page by page, so memory does not grow with the file, and neither the writer nor a
//! reader waits. Whoever opens it finds the mark: see `restore`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};

use crate::domain::settings::StorageUrl;
use crate::runtime::Timestamp;
use crate::store::{Store, StoreError, copies};

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupProblem {
    #[error("{path} is there already; a backup never overwrites, name another file", path = .0.display())]
    Exists(PathBuf),
    #[error("{path} is there: another backup is under way, or one was cut short; remove it then", path = .0.display())]
    UnderWay(PathBuf),
    #[error("{path}: {error}", path = path.display())]
    File { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Copies the store to `file`, for this user alone. Answers its size in bytes.
///
/// # Errors
/// Nothing is left behind then.
pub async fn backup(store: &Store, file: &Path, now: Timestamp) -> Result<u64, BackupProblem> {
    if file.symlink_metadata().is_ok() {
        return Err(BackupProblem::Exists(file.to_owned()));
    }
    let part = beside(file, ".part");
    let created = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
    created.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => BackupProblem::UnderWay(part.clone()),
        _ => BackupProblem::File { path: part.clone(), error },
    })?;
    let written = write(store, &part, now).await;
    let named = written.and_then(|()| name(&part, file));
    if named.is_err() {
        for rest in [part.clone(), beside(&part, "-wal"), beside(&part, "-shm"), beside(&part, "-journal")] {
            // Most of them are not there.
            let _ = fs::remove_file(rest);
        }
    }
    named
}

async fn write(store: &Store, part: &Path, now: Timestamp) -> Result<(), BackupProblem> {
    store.copy_into(part).await?;
    // Opened as any store: a copy that this binary cannot open is none.
    let copy = Store::open(&StorageUrl::Sqlite(part.to_owned())).await?;
    let marked = mark(&copy, now).await;
    copy.close().await;
    Ok(marked?)
}

async fn mark(copy: &Store, now: Timestamp) -> Result<(), StoreError> {
    let mut tx = copy.write().await?;
    copies::mark(&mut tx, now).await?;
    tx.commit().await
}

fn name(part: &Path, file: &Path) -> Result<u64, BackupProblem> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| BackupProblem::File { path, error }
    };
    let written = File::open(part).map_err(failed(part))?;
    written.sync_all().map_err(failed(part))?;
    let bytes = written.metadata().map_err(failed(part))?.len();
    match rustix::fs::renameat_with(CWD, part, CWD, file, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(rustix::io::Errno::EXIST) => return Err(BackupProblem::Exists(file.to_owned())),
        // Some file systems cannot promise it; there it was looked at a moment ago.
        Err(_) => fs::rename(part, file).map_err(failed(file))?,
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))?;
    Ok(bytes)
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
