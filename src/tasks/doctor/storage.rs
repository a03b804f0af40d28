//! W78, W190: whether what is written is there, fits together, has room, and still tells who was erased.

use super::Patient;
use crate::domain::doctor::{Check, Status};
use crate::domain::settings::StorageUrl;
use crate::runtime::disk;
use crate::store::{Store, StoreError, checkup};
use crate::tasks::erase::{self, LostSecret};

pub(super) async fn look(patient: &Patient<'_>) -> Vec<Check> {
    let place = match &patient.settings.storage {
        StorageUrl::Sqlite(file) => file.display().to_string(),
        StorageUrl::Postgres(_) => "PostgreSQL".to_owned(),
    };
    let store = match patient.store {
        Ok(store) => store,
        Err(error) => return vec![closed(&place, error)],
    };
    let mut checks = vec![room(store, &place)];
    let (faults, durability) = match looked(store).await {
        Ok(found) => found,
        Err(error) => {
            checks.push(closed(&place, &error));
            return checks;
        }
    };
    checks.push(match faults.first() {
        None => Check::ok("W78", "storage", &place).found("it opens, fits together and takes writes"),
        Some(first) => damaged(&place, first),
    });
    checks.push(match erase::lost_secrets(store, patient.keyring).await {
        Ok(lost) => erased(&lost, &place),
        Err(error) => closed(&place, &error),
    });
    let weak = durability.iter().find(|setting| !setting.is_safe);
    checks.push(match weak {
        None => Check::ok("W78", "durability", &place).found(
            durability
                .iter()
                .map(|found| format!("{} = {}", found.setting, found.value))
                .collect::<Vec<_>>()
                .join(", "),
        ),
        Some(found) => Check::fail("W78", "not_durable", &place)
            .found(format!(
                "{} = {}: what was acknowledged may be lost with the power",
                found.setting, found.value
            ))
            .expected("a commit that waits for the disk")
            .fix(format!("{} = on in postgresql.conf, and a restart of the server", found.setting)),
    });
    checks
}

async fn looked(store: &Store) -> Result<(Vec<String>, Vec<checkup::Durability>), StoreError> {
    let mut tx = store.read().await?;
    let found = (checkup::faults(&mut tx).await?, checkup::durability(&mut tx).await?);
    drop(tx);
    // Begun and taken back: a file system that is full or read only says so here.
    drop(store.write().await?);
    Ok(found)
}

/// W190: who was erased is recognised.
fn erased(lost: &[LostSecret], place: &str) -> Check {
    if lost.is_empty() {
        return Check::ok("W190", "erased", place).found("who was erased is recognised");
    }
    let found: Vec<String> = lost.iter().map(ToString::to_string).collect();
    let fixes: Vec<String> = lost.iter().map(LostSecret::fix).collect();
    Check::fail("W190", "secret_lost", place)
        .found(found.join("; "))
        .expected("every secret that somebody was erased under")
        .fix(fixes.join("\n"))
}

fn closed(place: &str, error: &StoreError) -> Check {
    // SQLite's words for a file that is broken speak of a disk image; it is not away.
    if error.to_string().contains("malformed") {
        return damaged(place, &error.to_string());
    }
    let (status, key) =
        if error.is_away() { (Status::Unknown, "storage_away") } else { (Status::Fail, "storage_refuses") };
    let fix = match error {
        StoreError::OlderSchema { .. } => "run `tidings migrate`",
        StoreError::NewerSchema { .. } => "run the newer binary",
        _ => "start the database, or correct `url` of [storage]",
    };
    Check::new("W78", key, status, place)
        .found(error.to_string())
        .expected("a database of this version that answers")
        .fix(fix)
}

fn damaged(place: &str, what: &str) -> Check {
    Check::fail("W78", "storage_damaged", place)
        .found(format!("it does not fit together: {what}"))
        .expected("a database without damage")
        .fix("stop the daemon, keep a copy of the file, and put a backup in its place: `tidings run --restored`")
}

fn room(store: &Store, place: &str) -> Check {
    let Some(folder) = store.folder() else {
        return Check::skipped("W78", "disk", place).found("PostgreSQL's disk is looked after where it is");
    };
    match disk::room(folder) {
        Ok(room) if room.read_only => Check::fail("W78", "disk_read_only", place)
            .found("the file system is read only")
            .expected("a file system that takes writes")
            .fix("mount it for writing, or correct `url` of [storage]"),
        Ok(room) if room.is_low() => Check::warn("W78", "disk_low", place)
            .found(format!("{} MB of {} MB are free", room.free >> 20, room.total >> 20))
            .expected("5 % and 200 MB")
            .fix("make room on that file system"),
        Ok(room) => Check::ok("W78", "disk", place).found(format!("{} MB are free", room.free >> 20)),
        Err(error) => Check::new("W78", "disk_unknown", Status::Unknown, place)
            .found(format!("the file system cannot be looked at: {error}"))
            .expected("a file system")
            .fix("correct `url` of [storage]"),
    }
}
