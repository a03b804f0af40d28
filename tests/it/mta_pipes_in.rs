//! An MTA's pipe: `tidings ingest` with a message on its standard input and the envelope in arguments or in the environment.

use std::io::Write;
use std::process::{Output, Stdio};

use crate::support::daemon::Site;
use crate::support::mailbox::numbered;

fn pipe(site: &Site, args: &[&str], env: &[(&str, &str)], message: &[u8]) -> Output {
    let mut command = site.command(args);
    command.envs(env.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that has ended does not read.
    let _ = child.stdin.take().unwrap().write_all(message);
    child.wait_with_output().unwrap()
}

fn recipients(site: &Site) -> Vec<String> {
    let rows = site.json(&["inbound", "list", "--json"]);
    let rows = rows.as_array().unwrap();
    let mut found: Vec<String> =
        rows.iter().map(|row| row["recipient"].as_str().unwrap().to_owned()).collect();
    found.sort();
    found
}

#[test]
fn the_envelope_is_in_the_environment_or_in_arguments() {
    let site = Site::shipped();
    let postfix = [
        ("ORIGINAL_RECIPIENT", "support@news.example.org"),
        ("RECIPIENT", "box@local.example"),
        ("SENDER", "p1@readers.example"),
    ];
    let taken = pipe(&site, &["ingest"], &postfix, &numbered(1));
    assert_eq!(taken.status.code(), Some(0), "{taken:?}");
    assert!(String::from_utf8_lossy(&taken.stdout).contains("support_message"), "{taken:?}");
    // The MTA did not hear us and tries again.
    let again = pipe(&site, &["ingest", "-"], &postfix, &numbered(1));
    assert!(again.status.success() && String::from_utf8_lossy(&again.stdout).contains("received before"));
    let both = ["ingest", "--recipient=join@news.example.org", "--recipient=support@news.example.org"];
    assert!(pipe(&site, &both, &postfix, &numbered(2)).status.success());
    assert_eq!(
        recipients(&site),
        ["join@news.example.org", "support@news.example.org", "support@news.example.org"]
    );
}

/// What is wrong for ever is sent back, everything else is kept by the MTA.
#[test]
fn codes_tell_an_mta_whether_to_keep_the_mail() {
    let site = Site::shipped();
    assert_eq!(pipe(&site, &["ingest"], &[], b"").status.code(), Some(1));
    site.change("tidings.toml", "max_message = \"25MB\"", "max_message = \"10kB\"");
    assert_eq!(pipe(&site, &["ingest"], &[], &[b'x'; 10_001]).status.code(), Some(1));
    let small = numbered(1);
    // A config that does not check, a database of nobody, a folder that cannot be one.
    let env = [("TIDINGS__STORAGE__URL", "sqlite://people.csv/no.db")];
    std::fs::write(site.path().join("people.csv"), "x").unwrap();
    assert_eq!(pipe(&site, &["ingest"], &env, &small).status.code(), Some(75));
    let env = [("TIDINGS__DRAIN", "soon")];
    assert_eq!(pipe(&site, &["ingest"], &env, &small).status.code(), Some(75));
    assert_eq!(pipe(&site, &["ingest", "--config", "nowhere.toml"], &[], &small).status.code(), Some(75));
    assert_eq!(recipients(&site), [""; 0]);
    // Nobody listens to what it says: the message is stored all the same.
    let mut command = site.command(&["ingest"]);
    command.stdin(Stdio::piped()).stdout(std::fs::File::create("/dev/full").unwrap()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&small).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(recipients(&site), [""]);
}
