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

/// What the demo did, in numbers.
fn assert_conversation(told: &serde_json::Value) {
    let editions = told["editions"].as_array().unwrap();
    assert_eq!((&editions[0]["audience"], &editions[0]["accepted"]), (&200.into(), &200.into()), "{told}");
    let (gone, second) =
        (told["bounces"].as_i64().unwrap() + told["unsubscribed"].as_i64().unwrap(), &editions[1]);
    assert_eq!(
        (&second["audience"], &second["accepted"]),
        (&(200 - gone).into(), &(200 - gone).into()),
        "{told}"
    );
    let numbers = ["relayed", "unsubscribed", "threads", "posts"].map(|key| told[key].as_i64().unwrap());
    assert_eq!(numbers, [1, 1, 1, 3], "a question, the automatic answer, and the one of staff: {told}");
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
    let output_of_demo = output.stdout;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verify_dkim.py");
    let mut command = Command::new(python);
    command.arg(script).arg(demo.join("dns.zone")).args([demo.join("mails"), demo.join("others")]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let counts = String::from_utf8(output.stdout).unwrap();
    let counts: Vec<usize> = counts.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let on_disk = |name: &str| std::fs::read_dir(demo.join(name)).unwrap().count();
    assert_eq!(counts[0], on_disk("mails") + on_disk("others"));
    let told: serde_json::Value = serde_json::from_slice(&output_of_demo).unwrap();
    assert_eq!(told["messages_on_disk"], on_disk("mails"));
    assert!(on_disk("mails") >= 400 && on_disk("others") > 0);
    assert_conversation(&told);
    assert!(counts[1] >= 200, "every newsletter has a List-Unsubscribe");
}
