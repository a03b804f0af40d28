//! A file of the operator's says what a provider means, from `tidings.toml` to the ledger (W166).

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings::config::{self, Loaded};
use tidings::domain::settings::{OnUncertain, RelaySettings};

use crate::support::peer::{Do, Peer, Stage};
use crate::support::sending::{Sending, queued_edition, relay};
use crate::support::stores::TestStore;

/// The shipped files with a line that names a file of rules, and what is in it.
fn loaded(rules: &str) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    std::fs::create_dir(&config).unwrap();
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    std::fs::copy(shipped.join("publication.toml"), config.join("publication.toml")).unwrap();
    let settings = std::fs::read_to_string(shipped.join("tidings.toml")).unwrap();
    let line = "reply_rules = \"config/rules.toml\"\n";
    std::fs::write(config.join("tidings.toml"), format!("{line}{settings}")).unwrap();
    std::fs::write(config.join("rules.toml"), rules).unwrap();
    let env = BTreeMap::from([("TIDINGS_SECRET".to_owned(), "a secret of sixteen or more".to_owned())]);
    let mut loaded = config::load(&config.join("tidings.toml"), &env, &[]);
    for problem in &mut loaded.problems {
        problem.file = problem.file.replace(&format!("{}/", folder.path().display()), "");
    }
    loaded
}

const REPLY: &str = "550 5.7.1 the mailbox of this person is no more";

async fn suppressed(rules: Option<&str>) -> Vec<String> {
    let test = TestStore::sqlite().await;
    let peer =
        Peer::start(&[], |moment| if moment.stage == Stage::Rcpt { Do::Say(REPLY) } else { Do::Go }).await;
    let mut sending = Sending::start(&test.store, &peer, OnUncertain::Resend).await;
    if let Some(rules) = rules {
        let rules = loaded(rules).settings.unwrap().relays[0].rules.clone();
        Arc::get_mut(&mut sending.line).unwrap().relay = RelaySettings { rules, ..relay(&peer) };
    }
    queued_edition(&test.store, 1).await;
    assert_eq!(sending.drain().await, 1);
    let mut tx = test.store.read().await.unwrap();
    let all = tidings::store::suppressions::list(&mut tx).await.unwrap();
    all.into_iter().map(|row| row.reason.to_string()).collect()
}

#[tokio::test]
async fn w166_a_rule_of_the_operators_decides_and_without_it_a_policy_refusal_suppresses_nobody() {
    assert_eq!(suppressed(None).await, Vec::<String>::new());
    let rules = "dated = 2026-11-25\nprovider = [\n  { says = [\"mailbox*is no more\"], on_5xx = \"hard\", reason = \"no_such_mailbox\" },\n]\n";
    assert_eq!(suppressed(Some(rules)).await, ["hard_bounce"]);
}

#[test]
fn w166_mistakes_in_it_are_found_at_start_with_their_place() {
    let found = loaded(
        "dated = \"2026-11-25\"\nprovider = [\n  { says = [\"x y z\"], clas = \"hard\", reason = \"gone\" },\n]\n",
    );
    assert!(found.settings.is_none(), "a daemon does not start with rules that it cannot read");
    let lines: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
    assert!(
        lines.iter().any(|line| line
            .starts_with("config/rules.toml:3:23: provider.0.clas: is not a setting, did you mean `class`?")),
        "{lines:#?}"
    );
    let lost = loaded("dated = \"2026-11-25\"").settings.unwrap();
    assert_eq!(
        lost.rules.rules.len(),
        config::reply_rules::built_in().rules.len(),
        "an empty file changes nothing"
    );
}

#[test]
fn w166_a_file_that_is_not_there_is_an_error_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("config/tidings.toml");
    std::fs::create_dir(folder.path().join("config")).unwrap();
    std::fs::write(&missing, "reply_rules = \"nowhere.toml\"\n").unwrap();
    let found = config::load(&missing, &BTreeMap::new(), &[]);
    let line = found.problems.iter().find(|problem| problem.file.ends_with("nowhere.toml")).unwrap();
    assert!(line.problem.starts_with("cannot be read"), "{line}");
}
