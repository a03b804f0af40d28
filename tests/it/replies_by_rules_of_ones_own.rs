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

/// The lines that `check` prints about a file with these rows.
fn mistakes(rows: &str) -> Vec<String> {
    let found = loaded(&format!("dated = \"2026-11-25\"\n{rows}\n"));
    assert!(found.settings.is_none(), "a daemon does not start with it: {rows}");
    let lines = found.problems.iter().map(ToString::to_string);
    lines.filter(|line| line.starts_with("config/rules.toml")).collect()
}

#[test]
fn w166_a_row_that_cannot_be_meant_is_refused_with_what_would_be_right() {
    let row = |row: &str| format!("standard = [{row}]");
    let provider = |row: &str| format!("provider = [{row}]");
    let cases = [
        // Without any condition.
        (
            row("{ on_5xx = \"hard\", reason = \"x\" }"),
            "standard.0: has no condition: it holds for every reply, add `codes`, `status` or `says`",
        ),
        (row("{ class = \"policy\", reason = \"x\" }"), "standard.0: has no condition"),
        (row("{ when = \"always\", on_4xx = \"policy\", reason = \"x\" }"), "standard.0: has no condition"),
        (
            provider("{ codes = [550], class = \"policy\", reason = \"x\" }"),
            "provider.0: says nothing that only a provider says",
        ),
        // What may pass, and what is said about us.
        (
            row("{ status = [\"1.1\"], class = \"hard\", reason = \"x\" }"),
            "standard.0: makes a 4xx hard: what may pass would suppress the address, write on_5xx = \"hard\"",
        ),
        (
            row("{ codes = [450, 550], says = [\"no user\"], class = \"hard\", reason = \"x\" }"),
            "standard.0: makes a 4xx hard",
        ),
        (row("{ says = [\"no user\"], on_4xx = \"hard\", reason = \"x\" }"), "standard.0: makes a 4xx hard"),
        (
            row("{ codes = [550], on_5xx = \"hard\", reason = \"x\" }"),
            "standard.0: is hard without `status` or `says`",
        ),
        (
            row("{ when = \"rcpt\", on_5xx = \"hard\", reason = \"x\" }"),
            "standard.0: is hard without `status` or `says`",
        ),
        (
            row("{ when = \"before\", says = [\"no user\"], on_5xx = \"hard\", reason = \"x\" }"),
            "standard.0: is hard before a recipient is named",
        ),
        // Empty lists, which would be no condition.
        (
            row("{ codes = [], says = [\"no user\"], class = \"full\", reason = \"x\" }"),
            "standard.0.codes: is empty, leave it out, or write what it holds for: [550]",
        ),
        (
            row("{ status = [], says = [\"no user\"], class = \"full\", reason = \"x\" }"),
            "standard.0.status: is empty",
        ),
        (row("{ codes = [550], says = [], class = \"full\", reason = \"x\" }"), "standard.0.says: is empty"),
        ("[words]\nmine = []".to_owned(), "words.mine: is empty"),
        ("[marks]\nmine = []".to_owned(), "marks.mine: is empty"),
        // Unknown keys.
        (
            row("{ sayss = [\"no user\"], class = \"full\", reason = \"x\" }"),
            "standard.0.sayss: is not a setting, did you mean `says`?",
        ),
        ("standart = []".to_owned(), "standart: is not a setting, did you mean `standard`?"),
        // Twice.
        ("[words]\nmine = [\"no user\"]\nmine = [\"gone away\"]".to_owned(), "duplicate key"),
        (
            row(
                "{ says = [\"no user\"], class = \"full\", reason = \"x\" }, { says = [\"no user\"], class = \"policy\", reason = \"y\" }",
            ),
            "standard.1: has the conditions of standard.0, which decides first, keep one of them",
        ),
        // What never holds.
        (
            row(
                "{ status = [\"1.*\"], class = \"full\", reason = \"x\" }, { status = [\"1.1\"], codes = [550], on_5xx = \"hard\", reason = \"y\" }",
            ),
            "standard.1: can never hold: standard.0 holds wherever it does, and decides first, move it before that one, or leave it out",
        ),
        (
            format!(
                "{}\n{}",
                provider("{ says = [\"user\"], class = \"full\", reason = \"x\" }"),
                row("{ says = [\"no such user\"], class = \"full\", reason = \"x\" }")
            ),
            "standard.0: can never hold: provider.0 holds wherever it does",
        ),
        (
            row("{ codes = [550], on_4xx = \"full\", says = [\"no user\"], reason = \"x\" }"),
            "standard.0: can never hold: its codes are of one kind",
        ),
        (
            row("{ says = [\"550 no user\"], class = \"full\", reason = \"x\" }"),
            "standard.0.says.0: `550 no user` is never found: the basic code is not a part of the text, write codes = [550]",
        ),
        (
            row("{ says = [\"no\\nuser\"], class = \"full\", reason = \"x\" }"),
            "standard.0.says.0: holds a line break or a control character",
        ),
        (row("{ says = [\"*\"], class = \"full\", reason = \"x\" }"), "is in almost every text"),
        (
            row("{ status = [\"01.1\"], class = \"full\", reason = \"x\" }"),
            "`01.1` is not a subject and detail",
        ),
        (
            row("{ status = [\"5.1.1\"], class = \"full\", reason = \"x\" }"),
            "`5.1.1` is not a subject and detail",
        ),
        (row("{ codes = [250], class = \"full\", reason = \"x\" }"), "standard.0.codes.0: "),
        ("[marks]\nmine = [\"end *mx\"]".to_owned(), "is never found: no reply ends so"),
        (
            "[words]\nmine = [\"no user\"]".to_owned(),
            "words.mine: is named by no row of this file, and so changes nothing, name it in a row: says = \"mine\"",
        ),
        ("[marks]\nmine = [\"- my mx\"]".to_owned(), "marks.mine: is named by no row of this file"),
    ];
    for (rows, expected) in cases {
        let found = mistakes(&rows);
        assert!(
            found.iter().any(|line| line.contains(expected)),
            "{rows}\nexpected: {expected}\nfound: {found:#?}"
        );
    }
}

#[test]
fn w166_rows_that_look_alike_and_are_not_are_taken() {
    let rows = "provider = [\n\
        { of = \"mine\", says = \"gone\", on_5xx = \"hard\", reason = \"gone\" },\n\
        { of = \"mine\", says = \"gone\", on_4xx = \"transient\", reason = \"gone\" },\n\
        { of = \"google\", says = \"gone\", codes = [550, 554], class = \"hard\", reason = \"gone\" },\n\
        ]\nstandard = [\n\
        { when = \"rcpt\", codes = [571], class = \"policy\", reason = \"policy\" },\n\
        { codes = [571], class = \"recipient\", reason = \"unclear\" },\n\
        ]\n[marks]\nmine = [\"- my mx\"]\ngoogle = [\"- another mx\"]\n[words]\ngone = [\"is gone\", \"moved*away\"]\n";
    let found = loaded(&format!("dated = \"2026-11-25\"\n{rows}"));
    let lines: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
    assert!(found.settings.is_some(), "{lines:#?}");
}

#[test]
fn w166_check_prints_them() {
    let site = crate::support::daemon::Site::shipped();
    std::fs::write(
        site.path().join("config/rules.toml"),
        "dated = \"2026-11-25\"\nstandard = [\n  { on_5xx = \"hard\", reason = \"gone\" },\n]\n",
    )
    .unwrap();
    site.change(
        "tidings.toml",
        "message_id_domain",
        "reply_rules = \"config/rules.toml\"\nmessage_id_domain",
    );
    let checked = site.run(&["check", "--json"]);
    assert_ne!(checked.code, 0, "{checked:?}");
    let problems = checked.json()["problems"].clone();
    let found = problems.as_array().unwrap().iter().find(|one| one["key"] == "standard.0").unwrap();
    assert_eq!((&found["line"], &found["severity"]), (&3.into(), &"error".into()), "{found}");
    assert!(found["file"].as_str().unwrap().ends_with("rules.toml"));
    assert_eq!(found["hint"], "add `codes`, `status` or `says`");
}
