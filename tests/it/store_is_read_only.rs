//! The SQLite file or its folder cannot be written: every command and the daemon say which and what would be right, and change
//! nothing. What happens while the daemon runs is in `disk_is_full`.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::support::daemon::Site;

const NOBODY: u32 = 65_534;

/// Rights bind everybody but root: as root, the commands run as somebody else.
fn tidings(site: &Site, arguments: &[&str]) -> (i32, String) {
    // The folder of the build may be closed to others.
    let binary = site.path().join("tidings");
    if !binary.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_tidings"), &binary).unwrap();
    }
    let mut command = Command::new(binary);
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } == 0 {
        chown(site.path(), Some(NOBODY), None).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    command
        .args(arguments)
        .current_dir(site.path())
        .env("TIDINGS_SECRET", "a secret of sixteen bytes or more");
    let output = command.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn rights(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_read_only_file_or_folder_is_named_and_nothing_is_changed() {
    let site = Site::shipped();
    assert_eq!(site.run(&["subscribers", "add", "a@x.example", "--tier", "free"]).code, 0);
    let (folder, file) = (site.path().join("var"), site.path().join("var/tidings.db"));
    let before = std::fs::read(&file).unwrap();
    for (file_mode, folder_mode, named) in [(0o444, 0o777, "tidings.db"), (0o666, 0o555, "var")] {
        rights(&file, file_mode);
        rights(&folder, folder_mode);
        for arguments in [&["run"][..], &["subscribers", "add", "b@x.example", "--tier", "free"]] {
            let (code, said) = tidings(&site, arguments);
            assert_eq!(code, 69, "{said}");
            assert!(said.contains(&format!("{named} cannot be written: give the user")), "{said}");
        }
    }
    rights(&folder, 0o777);
    assert_eq!(std::fs::read(&file).unwrap(), before);
    let (code, said) = tidings(&site, &["subscribers", "add", "b@x.example", "--tier", "free"]);
    assert_eq!(code, 0, "{said}");
}
