//! A Maildir that an MTA delivers into: every file is one row, whatever breaks between recording and moving.

use std::path::Path;

use tidings::domain::settings::{AfterMaildir, MaildirSettings};
use tidings::tasks::maildir::MaildirLine;

use crate::support::daemon::{Site, until};
use crate::support::mailbox::{assert_each_once, common, numbered, rows};
use crate::support::stores::on_every_store;

fn deliver(folder: &Path, name: &str, message: &[u8]) {
    std::fs::create_dir_all(folder.join("new")).unwrap();
    std::fs::create_dir_all(folder.join("tmp")).unwrap();
    std::fs::write(folder.join("tmp").join(name), message).unwrap();
    std::fs::rename(folder.join("tmp").join(name), folder.join("new").join(name)).unwrap();
}

fn count(folder: &Path, name: &str) -> usize {
    std::fs::read_dir(folder.join(name)).map_or(0, Iterator::count)
}

#[tokio::test]
async fn files_are_recorded_once_and_put_where_they_belong() {
    on_every_store(|store| async move {
        for after in [AfterMaildir::Keep, AfterMaildir::Delete] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("box");
            let settings = MaildirSettings { path: path.clone(), after, poll: std::time::Duration::ZERO };
            let line = MaildirLine { settings, common: common(&store, 100_000) };
            assert_eq!(line.step().await.unwrap(), 0);
            for number in 1..=1_200 {
                deliver(&path, &format!("17{number}.M1.mta"), &numbered(number));
            }
            std::fs::write(path.join("tmp/half"), b"From: half").unwrap();
            assert_eq!(line.step().await.unwrap(), 1_200);
            assert_each_once(&store, 1_200).await;
            let kept = if after == AfterMaildir::Keep { 1_200 } else { 0 };
            assert_eq!((count(&path, "new"), count(&path, "cur"), count(&path, "tmp")), (0, kept, 1));
            // A crash before the move leaves a file in its place, and a person may put one back.
            deliver(&path, "18.M1.mta", &numbered(7));
            assert_eq!(line.step().await.unwrap(), 1);
            assert_each_once(&store, 1_200).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_too_large_is_set_aside_and_kept() {
    on_every_store(|store| async move {
        let folder = tempfile::tempdir().unwrap();
        let settings = MaildirSettings {
            path: folder.path().to_owned(),
            after: AfterMaildir::Delete,
            poll: std::time::Duration::ZERO,
        };
        let line = MaildirLine { settings, common: common(&store, 10_000) };
        let mut large = numbered(1);
        large.resize(10_001, b'y');
        deliver(folder.path(), "1.large", &large);
        deliver(folder.path(), "2.empty", b"");
        deliver(folder.path(), "3.usual", &numbered(3));
        line.step().await.unwrap();
        let (ids, aside) = rows(&store).await;
        assert_eq!((ids.len(), aside), (3, 2), "{ids:?}");
        assert_eq!((count(folder.path(), "new"), count(folder.path(), "cur")), (0, 2));
    })
    .await;
}

/// The daemon itself, killed while it reads.
#[test]
fn a_killed_daemon_leaves_every_file_one_row() {
    let site = Site::shipped();
    let config = site.path().join("config/tidings.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}\n[intake.maildir]\npath = \"var/box\"\npoll = \"1s\"\n"))
        .unwrap();
    let path = site.path().join("var/box");
    let mut delivered = 0;
    for _ in 0..4 {
        for _ in 0..50 {
            delivered += 1;
            deliver(&path, &format!("17{delivered}.M1.mta"), &numbered(delivered));
        }
        let before = count(&path, "cur");
        let daemon = site.start();
        until("some of them are taken", || (count(&path, "cur") > before).then_some(()));
        daemon.kill();
    }
    let daemon = site.start();
    until("all of them are taken", || (count(&path, "new") == 0).then_some(()));
    daemon.stop();
    let rows = site.json(&["inbound", "list", "--json"]);
    assert_eq!(rows.as_array().unwrap().len(), delivered);
    assert_eq!(count(&path, "cur"), delivered);
}

/// A file that nobody can read; `None` where this user cannot make one.
struct Unreadable(std::path::PathBuf);

impl Unreadable {
    fn make(path: &Path) -> Option<Unreadable> {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(path, b"").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o000)).unwrap();
        let closed = std::fs::read(path).is_err();
        // Rights bind everybody but root, who may put a file in its place that answers each read with an error.
        let mount =
            || std::process::Command::new("mount").args(["--bind", "/proc/self/mem"]).arg(path).status();
        let covered = || mount().is_ok_and(|done| done.success()) && std::fs::read(path).is_err();
        (closed || covered()).then(|| Unreadable(path.to_owned()))
    }
}

impl Drop for Unreadable {
    fn drop(&mut self) {
        let _ =
            std::process::Command::new("umount").arg(&self.0).stderr(std::process::Stdio::null()).status();
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_stops_no_other() {
    let test = crate::support::stores::TestStore::sqlite().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = MaildirSettings {
        path: folder.path().to_owned(),
        after: AfterMaildir::Delete,
        poll: std::time::Duration::ZERO,
    };
    let line = MaildirLine { settings, common: common(&test.store, 10_000) };
    deliver(folder.path(), "1.closed", b"");
    deliver(folder.path(), "2.usual", &numbered(1));
    let Some(closed) = Unreadable::make(&folder.path().join("new/1.closed")) else {
        println!("not tested: root cannot make a file here that it cannot read");
        return;
    };
    let stopped = line.step().await.unwrap_err().to_string();
    assert!(stopped.contains("new/1.closed"), "{stopped}");
    assert_each_once(&test.store, 1).await;
    assert_eq!(count(folder.path(), "new"), 1, "the other one is filed, and this one waits");
    drop(closed);
}
