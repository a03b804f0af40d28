//! Every mail of the demo, verified with dkimpy: an implementation in another language by other people. Where Python or dkimpy
//! is missing the run says so, and fails if `TIDINGS_REQUIRE_DKIMPY=1`.

use std::path::Path;
use std::process::Command;

/// A Python that has dkimpy. Debian's own knows Debian's packages, whatever else is first in the path.
fn python() -> Option<&'static str> {
    let has_it = |python: &&str| {
        let asked = Command::new(python).args(["-c", "import dkim"]).output();
        asked.is_ok_and(|output| output.status.success())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find(has_it);
    if found.is_none() {
        let required = std::env::var("TIDINGS_REQUIRE_DKIMPY").is_ok_and(|value| value == "1");
        assert!(!required, "TIDINGS_REQUIRE_DKIMPY=1, but no python3 can import dkim");
        println!("signatures are not checked with dkimpy: no python3 can import dkim");
    }
    found
}

#[test]
fn w37_w56_every_mail_of_the_demo_verifies() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let demo = folder.path().join("demo");
    let output = Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(["demo", "--json", "--keep"])
        .arg(&demo)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verify_dkim.py");
    let mut command = Command::new(python);
    command.arg(script).arg(demo.join("dns.zone")).args([demo.join("mails"), demo.join("others")]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let counts = String::from_utf8(output.stdout).unwrap();
    let counts: Vec<usize> = counts.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let on_disk = |name: &str| std::fs::read_dir(demo.join(name)).unwrap().count();
    assert_eq!(counts[0], on_disk("mails") + on_disk("others"));
    assert!(on_disk("mails") == 200 && on_disk("others") > 0);
    assert!(counts[1] >= 200, "every newsletter has a List-Unsubscribe");
}
