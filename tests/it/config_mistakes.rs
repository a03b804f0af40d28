//! What a person gets to read after mistakes in `tidings.toml` and `publication.toml`: all of them at once, each with its place.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tidings::config::{self, Loaded, Paths};
use tidings::domain::problem::Severity;
use tidings::domain::settings::{Listen, OnUncertain, RelaySecurity, StorageUrl};

const SECRET: &str = "a-signing-secret-of-32-characters";

const SETTINGS: &str = r#"secret = { env = "TIDINGS_SECRET" }
operators = ["ops@example.org"]
message_id_domain = "news.example.org"
[[relays]]
name = "main"
url = "smtp://127.0.0.1:2525"
[addresses]
reply = "support+{token}@news.example.org"
bounce = "bounce+{token}@news.example.org"
[desk]
address = "support@news.example.org"
"#;

const PUBLICATION: &str = r#"name = "Example News"
from = "Example News <weekly@news.example.org>"
url = "https://news.example.org"
postal_address = "Example Street 1, 12345 Exampletown"
timezone = "America/New_York"
[tiers.free]
label = "Free"
articles = "teaser"
[tiers.yearly]
label = "Yearly"
articles = "full"
"#;

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let secret = [("TIDINGS_SECRET", SECRET)];
    secret.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Loads the two texts from a folder of their own; the problems name the files without it.
fn load_with(settings: &str, publication: &str, env: &BTreeMap<String, String>) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    std::fs::create_dir(&config).unwrap();
    std::fs::write(config.join("tidings.toml"), settings).unwrap();
    std::fs::write(config.join("publication.toml"), publication).unwrap();
    let mut loaded = config::load(&config.join("tidings.toml"), env, &[]);
    let prefix = format!("{}/", config.display());
    for problem in &mut loaded.problems {
        problem.file = problem.file.replace(&prefix, "");
        problem.problem = problem.problem.replace(&format!("{}/", folder.path().display()), "");
    }
    loaded
}

fn load(settings: &str, publication: &str) -> Loaded {
    load_with(settings, publication, &env(&[]))
}

fn lines(loaded: &Loaded) -> Vec<String> {
    loaded.problems.iter().map(ToString::to_string).collect()
}

/// `file:line:column: key: what is wrong`, without the hint.
fn places(loaded: &Loaded) -> Vec<String> {
    let place = |p: &tidings::domain::problem::Problem| {
        assert!(!p.problem.is_empty() && !p.hint.is_empty(), "{p} has no hint");
        format!("{}:{}:{} {}: {}", p.file, p.line, p.column, p.key, p.problem)
    };
    loaded.problems.iter().map(place).collect()
}

#[test]
fn the_smallest_config_loads_with_every_default() {
    let loaded = load(SETTINGS, PUBLICATION);
    assert_eq!(lines(&loaded), Vec::<String>::new());
    let settings = loaded.settings.unwrap();
    assert_eq!(settings.drain, Duration::from_secs(60));
    assert_eq!(settings.retry.schedule.len(), 5);
    assert_eq!(settings.retry.give_up, Duration::from_secs(4 * 86_400));
    assert_eq!(settings.retry.on_uncertain, OnUncertain::Resend);
    assert_eq!(settings.intake.max_message, 25_000_000);
    let relay = &settings.relays[0];
    assert_eq!((relay.connections, relay.messages_per_connection, relay.weight), (8, 100, 1));
    assert_eq!((relay.security, relay.port), (RelaySecurity::None, 2525));
    assert_eq!(relay.hello, "news.example.org");
    assert!(
        matches!(settings.storage, StorageUrl::Sqlite(path) if path == loaded.paths.base.join("var/tidings.db"))
    );
    let publication = loaded.publication.unwrap();
    assert_eq!(publication.language, "en");
    assert_eq!(publication.lapsed_tier, None);
    let ids: Vec<&str> = publication.tiers.iter().map(|tier| tier.id.as_str()).collect();
    assert_eq!(ids, ["free", "yearly"]);
}

#[test]
fn ten_mistakes_make_ten_problems() {
    let settings = r#"secret = "written out here, which is wrong"
operators = ["ops@example"]
message_id_domain = "localhost"
drain = "60"
[[relays]]
name = "main"
url = "smtp://mail.example.net:25"
conections = 8
rate = "fast"
[addresses]
reply = "support@news.example.org"
bounce = "bounce+{token}@news.example.org"
[desk]
address = "support@news.example.org"
"#;
    let publication = r#"name = "Example News"
from = "A <a@news.example.org>, B <b@news.example.org>"
url = "https://news.example.org"
postal_address = "Example Street 1"
timezone = "Mars/Olympus"
[tiers.free]
label = "Free"
articles = "some"
"#;
    let loaded = load(settings, publication);
    let expected = [
        "tidings.toml:1:10 secret: is written out here",
        "tidings.toml:2:14 operators.0: `ops@example` is not an address",
        "tidings.toml:3:21 message_id_domain: `localhost` is not a full domain name",
        "tidings.toml:4:9 drain: `60` is not a duration",
        "tidings.toml:7:7 relays.0.url: plain smtp://",
        "tidings.toml:8:1 relays.0.conections: is not a setting",
        "tidings.toml:9:8 relays.0.rate: `fast` is not a rate",
        "tidings.toml:11:9 addresses.reply: has no {token}",
        "publication.toml:2:8 from: ",
        "publication.toml:5:12 timezone: `Mars/Olympus` is not a time zone",
        "publication.toml:8:12 tiers.free.articles: `some` is not a choice",
    ];
    let found = places(&loaded);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
    assert!(loaded.settings.is_none() && loaded.publication.is_none());
    let spelling = lines(&loaded).into_iter().find(|line| line.contains("conections")).unwrap();
    assert!(spelling.contains("did you mean `connections`?"), "{spelling}");
}

/// One mistake in an otherwise good config: the text that is added, and how its only problem starts.
fn assert_each(cases: &[(&str, &str)], load: impl Fn(&str) -> Loaded) {
    for (text, expected) in cases {
        let loaded = load(text);
        let found = places(&loaded);
        let errors = loaded.problems.iter().filter(|problem| problem.is_error()).count();
        assert_eq!(errors, 1, "{text}\n{found:#?}");
        assert!(found.iter().any(|line| line.starts_with(expected)), "{text}\n{found:#?}\n{expected}");
    }
}

#[test]
fn single_mistakes_of_operators() {
    let cases = [
        ("[storage]\nurl = \"mysql://x\"", "tidings.toml:13:7 storage.url: is not a storage URL"),
        ("[storage]\nurl = \"postgres://u:p@h/d\"", "tidings.toml:13:7 storage.url: holds a password"),
        ("[retry]\nschedule = []", "tidings.toml:13:12 retry.schedule: is empty"),
        ("[retry]\nschedule = [\"5m\", \"x\"]", "tidings.toml:13:19 retry.schedule.1: `x` is not a duration"),
        ("[retry]\non_uncertain = \"maybe\"", "tidings.toml:13:16 retry.on_uncertain: `maybe`"),
        ("[intake.lmtp]\nlisten = \"here\"", "tidings.toml:13:10 intake.lmtp.listen: `here`"),
        ("[intake.lmtp]", "tidings.toml:12:1 intake.lmtp.listen: is missing"),
        (
            "[intake.lmtp]\nlisten = \"unix:x\"\nmode = \"rw\"",
            "tidings.toml:14:8 intake.lmtp.mode: `rw` is not a mode",
        ),
        (
            "[intake.lmtp]\nlisten = \"unix:x\"\nmode = \"0066\"",
            "tidings.toml:14:8 intake.lmtp.mode: `0066` is not a mode",
        ),
        (
            "[intake.lmtp]\nlisten = \"127.0.0.1:1\"\nmode = \"0660\"",
            "tidings.toml:14:8 intake.lmtp.mode: is for socket files only",
        ),
        (
            "[intake.lmtp]\nlisten = \"127.0.0.1:1\"\nsessions = 0",
            "tidings.toml:14:12 intake.lmtp.sessions: 0 is out of range",
        ),
        (
            "[intake.imap]\nurl = \"imap://x.example\"\nusername = \"u\"\npassword = { env = \"TIDINGS_SECRET\" }",
            "tidings.toml:13:7 intake.imap.url: plain imap:// would send the password unencrypted to x.example",
        ),
        (
            "[intake.imap]\nurl = \"pop3://x.example\"\nusername = \"u\"\npassword = { env = \"TIDINGS_SECRET\" }",
            "tidings.toml:13:7 intake.imap.url: `pop3://` is not a kind of mailbox",
        ),
        (
            "[intake.imap]\nurl = \"imaps://x.example\"\nusername = \"u\"\npassword = \"secret\"",
            "tidings.toml:15:12 intake.imap.password: is written out here",
        ),
        (
            "[intake.imap]\nurl = \"imaps://x.example\"\nusername = \"u\"\npassword = { env = \"TIDINGS_SECRET\" }\nafter = \"move\"",
            "tidings.toml:16:9 intake.imap.after: `move` is not a choice",
        ),
        (
            "[intake.imap]\nurl = \"imaps://x.example\"\nusername = \"u\"\npassword = { env = \"TIDINGS_SECRET\" }\nafter = \"move Inbox\"",
            "tidings.toml:16:9 intake.imap.after: moves messages to where they are",
        ),
        (
            "[intake.imap]\nurl = \"imaps://x.example\"\nusername = \"u\"\npassword = { env = \"TIDINGS_SECRET\" }\nbacklog = true",
            "tidings.toml:16:11 intake.imap.backlog: is true or false",
        ),
        (
            "[intake.imap]\nurl = \"imap://127.0.0.1\"\nusername = \"u\"\npassword = { env = \"TIDINGS_SECRET\" }\nca = \"ca.pem\"",
            "tidings.toml:16:6 intake.imap.ca:",
        ),
        ("[intake.maildir]\npath = \"m\"\nafter = \"eat\"", "tidings.toml:14:9 intake.maildir.after: `eat`"),
        ("[intake.maildir]\nafter = \"keep\"", "tidings.toml:12:1 intake.maildir.path: is missing"),
        (
            "[[relays]]\nname = \"main\"\nurl = \"smtp://127.0.0.1\"",
            "tidings.toml:12:1 relays.1: there are two relays",
        ),
        (
            "[[relays]]\nname = \"b\"\nurl = \"smtp://localhost\"\nusername = \"u\"\npassword = { env = \"TIDINGS_SECRET\" }",
            "tidings.toml:15:12 relays.1.username: would be sent with its password over a connection without TLS",
        ),
        (
            "[[relays]]\nname = \"b\"\nurl = \"smtps://mail.example.net\"\nca = \"nowhere.pem\"",
            "tidings.toml:15:6 relays.1.ca:",
        ),
        (
            "[[relays]]\nname = \"b\"\nurl = \"smtps://mail.example.net\"\nca = \"config/publication.toml\"",
            "tidings.toml:15:6 relays.1.ca:",
        ),
        (
            "[[relays]]\nname = \"b\"\nurl = \"smtps://mail.example.net\"\nhello = \"my_host\"",
            "tidings.toml:15:9 relays.1.hello: `my_host` is not a full domain name",
        ),
        (
            "[[relays]]\nname = \"b\"\nurl = \"smtp://localhost\"\nhello = \"localhost\"",
            "tidings.toml:15:9 relays.1.hello",
        ),
        (
            "[[relays]]\nname = \"b\"\nurl = \"smtp://localhost\"\nusername = \"u\"",
            "tidings.toml:15:12 relays.1.username: has no password",
        ),
        (
            "[[relays]]\nname = \"b\"\nurl = \"smtp://localhost\"\nrate = [\"1/s\", \"2/s\"]",
            "tidings.toml:15:16 relays.1.rate.1: is a second rate",
        ),
        (
            "[[relays]]\nname = \"b\"\nurl = \"smtp://localhost\"\nconnections = 0",
            "tidings.toml:15:15 relays.1.connections: 0 is out of range",
        ),
        (
            "[[relays]]\nname = \"b\"\nurl = \"smtp://localhost\"\nweight = \"1\"",
            "tidings.toml:15:10 relays.1.weight: is text",
        ),
        (
            "[[desk.staff]]\nname = \"M\"\nemail = \"Support@news.example.org\"",
            "tidings.toml:14:9 desk.staff.0.email: is the support address",
        ),
        (
            "[[desk.staff]]\nname = \"M\"\nemail = \"m@x.example\"\n[[desk.staff]]\nname = \"N\"\nemail = \"M@x.example\"",
            "tidings.toml:17:9 desk.staff.1.email: M@x.example is in the list twice",
        ),
        (
            "[[domains]]\nmatch = [\"a.example\"]\n[[domains]]\nmatch = [\"a.example\"]",
            "tidings.toml:15:9 domains.1.match: a.example is in two lanes",
        ),
        ("[colour]", "tidings.toml:12:2 colour: is not a setting"),
        (
            "[dkim]\ndomain = \"x.example\"\nselector = \"t1\"\nkey = { file = \"no/such.pem\" }",
            "tidings.toml:15:16 dkim.key.file: no/such.pem cannot be read",
        ),
        (
            "[web]\nproxies = [\"10.0.0.0/33\"]",
            "tidings.toml:13:12 web.proxies.0: `10.0.0.0/33` is no IP address and no network",
        ),
        (
            "[web]\nprivate = \"0.0.0.0:8026\"",
            "tidings.toml:13:11 web.private: can be reached from other machines, and who signs in there would be read on the \
             way",
        ),
        ("[web]\nlisten = \"localhost\"", "tidings.toml:13:10 web.listen: `localhost` is not an IP address"),
        ("[retry]\ngive_up = \"0d\"", "tidings.toml:13:11 retry.give_up: is no time at all"),
        ("[intake]\nmax_message = \"1GB\"", "tidings.toml:13:15 intake.max_message: `1GB` is not a size"),
        ("[desk]\nname = \"again\"", "tidings.toml:12:"),
        ("x = = 1", "tidings.toml:12:"),
    ];
    assert_each(&cases, |text| load(&format!("{SETTINGS}{text}\n"), PUBLICATION));
}

#[test]
fn single_mistakes_of_editors() {
    let edition = |rest: &str| format!("[[editions]]\nslug = \"a\"\n{rest}\n");
    let slot = |rest: &str| format!("[[slots]]\nname = \"weekly\"\ntiers = [\"free\"]\n{rest}\n");
    let good = "at = \"2026-11-28T09:00\"\narticles = [\"x\"]\ntiers = [\"free\"]";
    let cases = [
        (
            edition("at = \"soon\"\narticles = [\"x\"]\ntiers = [\"free\"]"),
            "publication.toml:14:6 editions.0.at: `soon`",
        ),
        (
            edition("at = \"2026-11-28T09:00\"\narticles = []\ntiers = [\"free\"]"),
            "publication.toml:15:12 editions.0.articles: is empty",
        ),
        (
            edition("at = \"2026-11-28T09:00\"\narticles = [\"a\", \"b\", \"c\"]\ntiers = [\"free\"]"),
            "publication.toml:15:12 editions.0.articles: has 3",
        ),
        (
            edition("at = \"2026-11-28T09:00\"\narticles = [\"a\", \"a\"]\ntiers = [\"free\"]"),
            "publication.toml:15:18 editions.0.articles.1: is in this list twice",
        ),
        (
            edition("at = \"2026-11-28T09:00\"\narticles = [\"x\"]\ntiers = [\"yearl\"]"),
            "publication.toml:16:10 editions.0.tiers.0: there is no tier `yearl`",
        ),
        (
            edition("at = \"2026-11-28T09:00\"\narticles = [\"x\"]"),
            "publication.toml:12:1 editions.0.tiers: is missing",
        ),
        (edition(&format!("{good}\nlate = \"never\"")), "publication.toml:17:8 editions.0.late: `never`"),
        (
            edition(&format!("{good}\n[[editions]]\nslug = \"a\"\n{good}")),
            "publication.toml:17:1 editions.1: there are two editions `a`",
        ),
        (slot("at = \"Tue 9\""), "publication.toml:15:6 slots.0.at: `Tue 9`"),
        (
            slot("cron = \"0 9,17 * * TUE\""),
            "publication.toml:15:8 slots.0.cron: `0 9,17 * * TUE` comes twice on one day",
        ),
        (
            slot("at = \"Tue 09:00\"\ncron = \"0 9 * * TUE\""),
            "publication.toml:16:8 slots.0.cron: says when for a second time",
        ),
        (slot(""), "publication.toml:12:1 slots.0.at: is missing"),
        (
            slot("at = \"Tue 09:00\"\ntake = { min = 2, max = 1 }"),
            "publication.toml:16:8 slots.0.take: min 2 is more than max 1",
        ),
        (
            slot("at = \"Tue 09:00\"\n[[slots]]\nname = \"weekly\"\nat = \"Fri 09:00\"\ntiers = [\"free\"]"),
            "publication.toml:16:1 slots.1: there are two slots",
        ),
        (
            slot(&format!("at = \"Tue 09:00\"\n[[editions]]\nslug = \"weekly-2026-12-01\"\n{good}")),
            "publication.toml:16:1 editions.0: the slug",
        ),
        ("[lapsed]\ntier = \"fre\"".to_owned(), "publication.toml:13:8 lapsed.tier: there is no tier `fre`"),
        (
            "[import]\ndefault = \"fre\"".to_owned(),
            "publication.toml:13:11 import.default: there is no tier `fre`",
        ),
        (
            "[import.plans]\n\"Gold, old\" = \"yearl\"".to_owned(),
            "publication.toml:13:15 import.plans.Gold, old: there is no tier `yearl`",
        ),
        (
            "[import.plans]\nGold = \"yearly\"\ngold = \"free\"".to_owned(),
            "publication.toml:14:1 import.plans.gold: is named twice",
        ),
        ("[import.plans]\n\" \" = \"yearly\"".to_owned(), "publication.toml:13:1 import.plans. : is empty"),
        ("[import]\nplan = 1".to_owned(), "publication.toml:13:1 import.plan: is not a setting"),
        (
            "[offer]\nlabel = \"x\"\nuntil = \"soon\"".to_owned(),
            "publication.toml:14:9 offer.until: `soon` is not a date",
        ),
        (
            "[tiers.Gold]\nlabel = \"G\"\narticles = \"full\"".to_owned(),
            "publication.toml:12:8 tiers.Gold: `Gold` is not a tier id",
        ),
        (
            "[tiers.gold]\nlabel = \"G\"\narticles = \"full\"\nterm = \"1 week\"".to_owned(),
            "publication.toml:15:8 tiers.gold.term: `1 week`",
        ),
        (
            "[tiers.gold]\nlabel = \"G\"\narticles = \"full\"\narchive = 1".to_owned(),
            "publication.toml:15:11 tiers.gold.archive: is a whole number",
        ),
        ("[tiers.free]\nprice = \"$1\"".to_owned(), "publication.toml:12:"),
    ];
    let cases: Vec<(&str, &str)> = cases.iter().map(|(text, expected)| (text.as_str(), *expected)).collect();
    assert_each(&cases, |text| load(SETTINGS, &format!("{PUBLICATION}{text}\n")));
}

#[test]
fn a_misspelt_required_key_is_one_mistake() {
    let loaded = load(&SETTINGS.replace("message_id_domain", "mesage_id_domain"), PUBLICATION);
    let found = lines(&loaded);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("did you mean `message_id_domain`?"), "{found:#?}");
}

#[test]
fn a_value_of_the_wrong_type_is_told_what_to_write() {
    let loaded = load(&format!("drain = 60\n{SETTINGS}"), PUBLICATION);
    let expected = "tidings.toml:1:9: drain: is a whole number, write a whole number and s, m, h or d, for example \"60s\" or \"4d\"";
    assert_eq!(lines(&loaded), [expected]);
}

#[test]
fn a_syntax_error_hides_no_other_mistake() {
    let settings =
        SETTINGS.replace("message_id_domain = \"news.example.org\"", "message_id_domain = news.example.org");
    let settings = settings.replace("name = \"main\"", "name = \"Main\"");
    let loaded = load(&settings, &PUBLICATION.replace("teaser", "tease"));
    let found = places(&loaded);
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("tidings.toml:3:21 : not valid TOML"), "{found:#?}");
    assert!(found[1].starts_with("tidings.toml:5:8 relays.0.name: "), "{found:#?}");
    assert!(found[2].starts_with("publication.toml:8:12 tiers.free.articles: "), "{found:#?}");
}

#[test]
fn files_that_are_missing_or_no_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tidings.toml");
    let loaded = config::load(&path, &env(&[]), &[]);
    assert_eq!(loaded.problems.len(), 2);
    assert!(loaded.problems.iter().all(|problem| problem.problem.starts_with("cannot be read")));
    std::fs::write(&path, b"a = 1\nb = \"\xff\"\n").unwrap();
    let loaded = config::load(&path, &env(&[]), &[]);
    assert_eq!((loaded.problems[0].line, loaded.problems[0].column), (2, 6));
    assert!(loaded.problems[0].problem.contains("UTF-8"));
}

#[test]
fn a_byte_order_mark_moves_no_column() {
    let loaded = load(&format!("\u{FEFF}{}", SETTINGS.replace("secret", "secert")), PUBLICATION);
    assert!(
        places(&loaded).iter().any(|line| line.starts_with("tidings.toml:1:1 secert")),
        "{:?}",
        lines(&loaded)
    );
}

#[test]
fn secrets_are_named_and_never_printed() {
    let written = SETTINGS.replace("{ env = \"TIDINGS_SECRET\" }", "\"hunter2hunter2hunter2\"");
    let loaded = load(&written, PUBLICATION);
    assert!(!format!("{:?}", loaded.problems).contains("hunter2"));
    assert!(loaded.problems[0].hint.contains("{ env = \"NAME\" }"));

    let loaded = load(SETTINGS, PUBLICATION);
    assert!(!format!("{loaded:?}").contains(SECRET));

    let variables = env(&[
        ("TIDINGS__RELAYS__0__PASSWORD", "hunter2"),
        ("TIDINGS__STORAGE__URL", "postgres://u:hunter2@h/d"),
    ]);
    let loaded = load_with(SETTINGS, PUBLICATION, &variables);
    assert!(loaded.has_errors());
    assert!(!format!("{loaded:?}").contains("hunter2"), "{:#?}", loaded.problems);

    let urls = env(&[("TIDINGS__RELAYS__0__URL", "smtp://u:hunter2@127.0.0.1")]);
    let loaded = load_with(SETTINGS, PUBLICATION, &urls);
    assert!(loaded.has_errors());
    assert!(!format!("{loaded:?}").contains("hunter2"), "{:#?}", loaded.problems);
}

#[test]
fn secrets_that_are_unset_empty_short_or_unclear() {
    let cases = [
        (
            "{ env = \"NO_SUCH\" }",
            "tidings.toml:1:18 secret.env: the environment variable NO_SUCH is not set",
        ),
        ("{ env = \"EMPTY\" }", "tidings.toml:1:10 secret: is empty"),
        ("{ env = \"SHORT\" }", "tidings.toml:1:10 secret: is shorter than 16 bytes"),
        ("{ file = \"no/such\" }", "tidings.toml:1:19 secret.file: no/such cannot be read"),
        ("{ }", "tidings.toml:1:10 secret: names no source"),
        ("{ env = \"A\", file = \"b\" }", "tidings.toml:1:10 secret: names two sources"),
        ("[]", "tidings.toml:1:10 secret: is an empty list"),
        ("[{ env = \"TIDINGS_SECRET\" }, { env = \"SHORT\" }]", "tidings.toml:1:39 secret.1: is shorter"),
    ];
    assert_each(&cases, |reference| {
        let settings = SETTINGS.replace("{ env = \"TIDINGS_SECRET\" }", reference);
        load_with(&settings, PUBLICATION, &env(&[("SHORT", "123456789012345"), ("EMPTY", "")]))
    });
}

#[test]
fn a_secret_file_loses_one_newline_and_stands_beside_the_config_folder() {
    use secrecy::ExposeSecret;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    std::fs::create_dir(&config).unwrap();
    std::fs::write(folder.path().join("old.key"), "0123456789abcdef\n\n").unwrap();
    let secret = "[{ env = \"TIDINGS_SECRET\" }, { file = \"old.key\" }]";
    std::fs::write(config.join("tidings.toml"), SETTINGS.replace("{ env = \"TIDINGS_SECRET\" }", secret))
        .unwrap();
    std::fs::write(config.join("publication.toml"), PUBLICATION).unwrap();
    let loaded = config::load(&config.join("tidings.toml"), &env(&[]), &[]);
    let secrets: Vec<String> =
        loaded.settings.unwrap().secrets.iter().map(|secret| secret.expose_secret().to_owned()).collect();
    assert_eq!(secrets, [SECRET, "0123456789abcdef\n"]);
}

#[test]
fn the_environment_wins_over_the_file_and_flags_over_both() {
    let variables = env(&[
        ("TIDINGS__DRAIN", "5s"),
        ("TIDINGS__RELAYS__0__RATE", "[\"14/s\", \"50000/d\"]"),
        ("TIDINGS__RELAYS__0__CONNECTIONS", "3"),
        ("TIDINGS__NAME", "1984"),
        ("TIDINGS__INTAKE__LMTP__LISTEN", "127.0.0.1:2424"),
        ("TIDINGS_CONFIG", "not a setting"),
    ]);
    let loaded = load_with(SETTINGS, PUBLICATION, &variables);
    assert_eq!(lines(&loaded), Vec::<String>::new());
    let settings = loaded.settings.unwrap();
    assert_eq!(settings.drain, Duration::from_secs(5));
    assert_eq!(settings.relays[0].rates.len(), 2);
    assert_eq!(settings.relays[0].connections, 3);
    let lmtp = settings.intake.lmtp.unwrap();
    assert_eq!(lmtp.listen, Listen::Tcp("127.0.0.1:2424".parse().unwrap()));
    assert_eq!((lmtp.mode, lmtp.sessions), (0o660, 64));
    assert_eq!(loaded.publication.unwrap().name, "1984");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tidings.toml");
    std::fs::write(&path, SETTINGS).unwrap();
    std::fs::write(folder.path().join("publication.toml"), PUBLICATION).unwrap();
    let loaded = config::load(&path, &variables, &[("drain".to_owned(), "7s".to_owned())]);
    assert_eq!(loaded.settings.unwrap().drain, Duration::from_secs(7));
}

#[test]
fn mistakes_in_the_environment_name_the_variable() {
    let variables = env(&[
        ("TIDINGS__COLOUR", "red"),
        ("TIDINGS__DRAIN", "soon"),
        ("TIDINGS__OPERATORS__5", "a@x.example"),
        ("TIDINGS__RELAYS__0__RAET", "1/s"),
        ("TIDINGS__TIERS__FREE__ARTICLES", "none"),
    ]);
    let loaded = load_with(SETTINGS, PUBLICATION, &variables);
    let found = lines(&loaded);
    let expected = [
        "TIDINGS__COLOUR: colour: is not a setting",
        "TIDINGS__DRAIN: drain: `soon` is not a duration",
        "TIDINGS__OPERATORS__5: operators.5: there are only 1 items",
        "TIDINGS__RELAYS__0__RAET: relays.0.raet: is not a setting, did you mean `rate`?",
        "TIDINGS__TIERS__FREE__ARTICLES: tiers.free.articles: `none` is not a choice",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn nothing_that_is_checked_is_left_undone() {
    let settings = format!(
        "{SETTINGS}[[relays]]\nname = \"b\"\nurl = \"smtp://127.0.0.1\"\n[[domains]]\nmatch = [\"gmail.com\"]\n\
         [dkim]\ndomain = \"x.example\"\nselector = \"t1\"\nkey = {{ env = \"TIDINGS_SECRET\" }}\n[intake.imap]\n\
         url = \"imaps://x.example\"\nusername = \"u\"\npassword = {{ env = \"TIDINGS_SECRET\" }}\n\
         [intake.maildir]\npath = \"var/m\"\n[web]\nlisten = \"127.0.0.1:1\"\nproxies = [\"127.0.0.1\", \"10.0.0.0/8\"]\n"
    );
    let publication =
        format!("{PUBLICATION}[[slots]]\nname = \"weekly\"\nat = \"Tue 09:00\"\ntiers = [\"free\"]\n");
    let loaded = load(&settings, &publication);
    assert!(
        loaded.problems.iter().all(|problem| problem.severity == Severity::Warning),
        "{:#?}",
        lines(&loaded)
    );
    let found: Vec<(usize, &str)> =
        loaded.problems.iter().map(|problem| (problem.line, problem.key.as_str())).collect();
    assert_eq!(found, []);
    assert!(loaded.settings.is_some());
    let slots = loaded.publication.unwrap().slots;
    assert_eq!((slots[0].cron.as_str(), slots[0].take_min, slots[0].take_max), ("0 9 * * TUE", 1, 2));
}

#[test]
fn due_times_follow_the_wall_clock_of_the_publication() {
    let at = |at: &str| {
        let edition =
            format!("[[editions]]\nslug = \"a\"\nat = {at}\narticles = [\"x\"]\ntiers = [\"free\"]\n");
        load(SETTINGS, &format!("{PUBLICATION}{edition}")).publication.unwrap().editions[0].due_at.rfc3339()
    };
    assert_eq!(at("\"2026-12-03T09:00\""), "2026-12-03T14:00:00Z");
    assert_eq!(at("2026-12-03T09:00:00"), "2026-12-03T14:00:00Z");
    assert_eq!(at("2026-12-03T09:00"), "2026-12-03T14:00:00Z");
    assert_eq!(at("2026-12-03T09:00:00Z"), "2026-12-03T09:00:00Z");
    assert_eq!(at("\"2026-03-08T02:30\""), "2026-03-08T07:30:00Z");
    assert_eq!(at("\"2026-11-01T01:30\""), "2026-11-01T05:30:00Z");
}

#[test]
fn paths_start_at_the_parent_of_the_config_folder() {
    let cases = [
        ("config/tidings.toml", "."),
        ("/etc/tidings/tidings.toml", "/etc"),
        ("a/b/tidings.toml", "a"),
        ("tidings.toml", ".."),
        ("../tidings.toml", "../.."),
        ("./tidings.toml", "./.."),
    ];
    for (path, base) in cases {
        assert_eq!(Paths::of(Path::new(path)).base, Path::new(base), "{path}");
    }
    assert_eq!(Paths::of(Path::new("config/tidings.toml")).articles, Path::new("config/articles"));
}

#[test]
fn the_shipped_config_loads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/tidings.toml");
    let loaded = config::load(&path, &env(&[]), &[]);
    assert_eq!(lines(&loaded), Vec::<String>::new());
    let publication = loaded.publication.unwrap();
    let ids: Vec<&str> = publication.tiers.iter().map(|tier| tier.id.as_str()).collect();
    assert_eq!(ids, ["free", "monthly", "yearly", "lifetime"]);
    let edition = &publication.editions[0];
    assert_eq!(edition.slug, "first-light");
    assert_eq!(edition.due_at.rfc3339(), "2026-11-28T14:00:00Z");
    let slots: Vec<&str> = publication.slots.iter().map(|slot| slot.name.as_str()).collect();
    assert_eq!(slots, ["weekly", "extras"]);
    assert_eq!(edition.articles, ["model-compression", "federated-learning"]);
    assert_eq!(edition.tiers.len(), 4);
    assert_eq!(loaded.settings.unwrap().relays[0].port, 2525);
}

#[test]
fn the_parts_that_the_shipped_config_has_commented_out_are_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let uncommented = |name: &str, marker: &str| {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        let (head, tail) = text.split_once(marker).unwrap();
        let uncomment = |line: &str| {
            let bare = line.trim_start_matches(['#', ' ']);
            let is_setting = bare.starts_with('[') || bare.contains(" = ");
            format!("{}\n", if is_setting { bare } else { line })
        };
        let tail: String = tail.lines().skip(1).map(uncomment).collect();
        format!("{head}{tail}")
    };
    let settings = uncommented("tidings.toml", "# Other doors")
        .replace("{ file = \"secrets/t1.pem\" }", "{ env = \"TIDINGS_SECRET\" }");
    let publication = std::fs::read_to_string(folder.join("publication.toml")).unwrap();
    let loaded = load_with(&settings, &publication, &env(&[("IMAP_PASSWORD", "x")]));
    assert!(!loaded.has_errors(), "{:#?}", lines(&loaded));
    assert!(loaded.settings.unwrap().intake.imap.is_some());
}

/// Cut at every place and with single characters exchanged, the files may be wrong; reading them always ends, and every
/// problem of a file has a place in it.
#[test]
fn broken_files_always_get_an_answer() {
    let check = |settings: &str, publication: &str| {
        let loaded = load(settings, publication);
        assert_eq!(loaded.settings.is_none() || loaded.publication.is_none(), loaded.has_errors());
        for problem in &loaded.problems {
            let text = if problem.file == "tidings.toml" { settings } else { publication };
            assert!((1..=text.lines().count() + 1).contains(&problem.line), "{problem}\n{text}");
            assert!(problem.column >= 1, "{problem}\n{text}");
        }
    };
    for cut in 0..SETTINGS.len().max(PUBLICATION.len()) {
        check(&SETTINGS[..cut.min(SETTINGS.len())], &PUBLICATION[..cut.min(PUBLICATION.len())]);
    }
    for (at, with) in (0..SETTINGS.len().min(PUBLICATION.len())).zip("\"[]{}=.,#'\n\\1\0ü".chars().cycle()) {
        let changed = |text: &str| format!("{}{with}{}", &text[..at], &text[at + 1..]);
        check(&changed(SETTINGS), &changed(PUBLICATION));
    }
}

#[test]
fn plans_of_other_systems_are_named_and_the_lapsed_tier_is_the_default() {
    let plans = "[lapsed]\ntier = \"free\"\n[import.plans]\n\"Gold Card\" = \"yearly\"\n";
    let import = load(SETTINGS, &format!("{PUBLICATION}{plans}")).publication.unwrap().import;
    assert_eq!(import.default.as_ref().map(|tier| tier.as_str()), Some("free"));
    assert_eq!(import.tier_of(" gold card ").map(|tier| tier.as_str()), Some("yearly"));
    assert_eq!(import.tier_of("Gold"), None);
    let chosen = format!("{PUBLICATION}[import]\ndefault = \"yearly\"\n");
    let import = load(SETTINGS, &chosen).publication.unwrap().import;
    assert_eq!(import.default.as_ref().map(|tier| tier.as_str()), Some("yearly"));
    assert_eq!(load(SETTINGS, PUBLICATION).publication.unwrap().import.default, None);
}

#[test]
fn w159_a_senders_name_that_deceives_is_a_warning() {
    for (name, what) in
        [("Re: Example News", "answer"), ("Example News (2)", "counts"), ("\u{2714} Example News", "picture")]
    {
        let text = PUBLICATION.replace("\"Example News <weekly@", &format!("\"{name} <weekly@"));
        let loaded = load(SETTINGS, &text);
        let lines = lines(&loaded);
        assert!(!loaded.has_errors() && lines.len() == 1, "{lines:#?}");
        assert!(
            lines[0].starts_with("publication.toml:2:8: warning: from: the name ") && lines[0].contains(what),
            "{lines:#?}"
        );
    }
}
