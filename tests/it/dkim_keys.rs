//! `[dkim]` and `tidings dkim generate`: what is wrong is told with its place, and what is printed works.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::daemon::Site;
use crate::support::signing::pem;

/// The shipped config with these lines about keys at its end, and a key in `secrets/`.
fn site(keys: &str, pem: &str) -> Site {
    let site = Site::shipped();
    let settings = site.path().join("config/tidings.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, format!("{keys}\n{text}")).unwrap();
    std::fs::create_dir(site.path().join("secrets")).unwrap();
    key_file(&site, "t1.pem", pem);
    site
}

fn key_file(site: &Site, name: &str, pem: &str) {
    let path = site.path().join("secrets").join(name);
    std::fs::write(&path, pem).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// What `check` says about the keys.
fn problems(site: &Site) -> Vec<String> {
    let answer = site.run(&["check"]);
    answer.out.lines().filter(|line| line.contains("dkim")).map(str::to_owned).collect()
}

fn table(domain: &str, selector: &str, key: &str) -> String {
    format!("dkim = {{ domain = \"{domain}\", selector = \"{selector}\", key = {key} }}")
}

const FILE: &str = "{ file = \"secrets/t1.pem\" }";

#[test]
fn a_key_that_fits_is_no_problem() {
    for domain in ["news.example.org", "example.org"] {
        assert_eq!(problems(&site(&table(domain, "t1", FILE), pem(0))), Vec::<String>::new(), "W66, relaxed");
    }
}

#[test]
fn w57_w66_mistakes_are_told_with_their_place() {
    let rfc_8463 = include_str!("../keys/rfc8463-rsa.pem");
    let table = |domain: &str, selector: &str| table(domain, selector, FILE);
    let cases = [
        (table("news.example.org", "t1"), "hello", "tidings.toml:1:62: dkim.key: holds no PEM private key"),
        (
            table("news.example.org", "t1"),
            rfc_8463,
            ":1:62: dkim.key: is an RSA key of fewer than 2048 bits, make one",
        ),
        (
            table("news.example.org", "t1"),
            include_str!("../keys/rfc8463-ed25519.pem"),
            ":1:62: dkim.key: is an Ed25519 key, which signs beside an RSA key only: many receivers know no other, add a \
             [[dkim]] of news.example.org with an RSA key",
        ),
        (
            table("other.example", "t1"),
            pem(0),
            ":1:19: dkim.domain: no key is aligned with weekly@news.example.org, from where mail is sent, sign as \
             news.example.org or a domain above it",
        ),
        (table("org", "t1"), pem(0), ":1:19: dkim.domain: `org` is not a full domain name"),
        (
            table("news.example.org", "t 1"),
            pem(0),
            ":1:50: dkim.selector: `t 1` is not a selector, use letters",
        ),
        ("dkim = []".to_owned(), pem(0), ":1:8: dkim: is empty, leave it out"),
        (
            "dkim = { selector = \"t1\" }".to_owned(),
            pem(0),
            "tidings.toml:1:8: dkim.domain: is missing, write the domain that signs",
        ),
    ];
    for (keys, pem, expected) in cases {
        let site = site(&keys, pem);
        let found = problems(&site);
        assert!(found.iter().any(|line| line.contains(expected)), "{keys}\n{found:#?}\n{expected}");
        assert_eq!(site.run(&["check"]).code, 1, "{keys}");
        assert!(!found.concat().contains("PRIVATE"), "no key is printed");
    }
}

#[test]
fn w67_a_key_that_others_can_read_is_a_warning_with_its_remedy() {
    let site = site(&table("news.example.org", "t1", FILE), pem(0));
    let path = site.path().join("secrets/t1.pem");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let found = problems(&site);
    let expected = "config/tidings.toml:1:62: warning: dkim.key: ./secrets/t1.pem can be read or written by others (mode \
                    0644), run `chmod 600 ./secrets/t1.pem`";
    assert_eq!(found, [expected]);
    assert_eq!(site.run(&["check"]).code, 0);
}

#[test]
fn several_keys_each_know_their_place() {
    let list = |second: &str| {
        format!("dkim = [{{ domain = \"news.example.org\", selector = \"t1\", key = {FILE} }},\n  {second}]")
    };
    let twice =
        site(&list(&format!("{{ domain = \"news.example.org\", selector = \"t1\", key = {FILE} }}")), pem(0));
    let found = problems(&twice);
    assert!(
        found[0].contains(":2:3: dkim.1: there are two keys for t1._domainkey.news.example.org"),
        "{found:?}"
    );
    let idle =
        site(&list(&format!("{{ domain = \"other.example\", selector = \"t2\", key = {FILE} }}")), pem(0));
    let found = problems(&idle);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains(":2:14: warning: dkim.1.domain: other.example signs nothing"), "{found:?}");
    let fine =
        site(&list(&format!("{{ domain = \"example.org\", selector = \"t2\", key = {FILE} }}")), pem(0));
    assert_eq!(problems(&fine), Vec::<String>::new());
}

#[test]
fn w63_an_ed25519_key_beside_an_rsa_key_is_no_problem() {
    let second = |domain: &str| {
        let first = format!("{{ domain = \"{domain}\", selector = \"t1\", key = {FILE} }}");
        let e1 = "{ domain = \"news.example.org\", selector = \"e1\", key = { file = \"secrets/e1.pem\" } }";
        let site = site(&format!("dkim = [{first},\n  {e1}]"), pem(0));
        key_file(&site, "e1.pem", include_str!("../keys/rfc8463-ed25519.pem"));
        problems(&site)
    };
    assert_eq!(second("news.example.org"), Vec::<String>::new());
    let found = second("example.org");
    assert!(found.len() == 1 && found[0].contains(":2:"), "the same d= as the RSA key: {found:?}");
}

#[test]
fn w63_generate_makes_an_ed25519_key_and_says_where_it_belongs() {
    let site = Site::shipped();
    let told = site.json(&["dkim", "generate", "e1", "--type", "ed25519", "--json"]);
    assert_eq!((&told["type"], &told["bits"]), (&"ed25519".into(), &256.into()));
    let record = told["record"].as_str().unwrap();
    let (tags, key) = record.split_once("p=").unwrap();
    assert_eq!((tags, key.len()), ("v=DKIM1; k=ed25519; ", 44), "W65");
    assert!(told["settings"].as_str().unwrap().starts_with("[[dkim]]\n"));
    let answer = site.run(&["dkim", "generate", "e2", "--type", "ed25519"]);
    assert!(answer.out.contains("beside that of the RSA key"), "{}", answer.out);
    assert_eq!(site.run(&["dkim", "generate", "e3", "--type", "dsa"]).code, 2);
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn w65_w67_a_generated_key_is_private_and_its_settings_check() {
    let site = Site::shipped();
    let told = site.json(&["dkim", "generate", "t1", "--json"]);
    let file = site.path().join("secrets/t1.pem");
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    assert_eq!(told["name"], "t1._domainkey.news.example.org");
    assert_eq!(
        (&told["selector"], &told["domain"], &told["bits"]),
        (&"t1".into(), &"news.example.org".into(), &2048.into())
    );
    let record = told["record"].as_str().unwrap();
    let strings: Vec<&str> =
        told["strings"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
    assert!(strings.len() == 2 && strings.iter().all(|string| string.len() <= 255));
    assert_eq!(strings.concat(), record);
    let zone = told["zone"].as_str().unwrap();
    assert_eq!(zone.split('"').skip(1).step_by(2).collect::<String>(), record);
    assert!(zone.starts_with("t1._domainkey.news.example.org. IN TXT ("));

    // What it says to write down works, and the public half is that of the key.
    let settings = site.path().join("config/tidings.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, format!("{text}\n{}", told["settings"].as_str().unwrap())).unwrap();
    assert_eq!(problems(&site), Vec::<String>::new());
    let key = tidings::mail::dkim_key::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(tidings::mail::dkim_key::record(&key), record);

    // Mails on their way need the old key's record: it is never overwritten.
    let before = std::fs::read(&file).unwrap();
    let again = site.run(&["dkim", "generate", "t1"]);
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.err.contains("t1.pem exists and is not overwritten; take another selector"), "{again:?}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn generate_works_before_there_is_a_config_and_says_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.args(args).current_dir(folder.path()).env_remove("TIDINGS_CONFIG").output().unwrap()
    };
    let output = run(&["dkim", "generate", "t1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("name it with --domain"), "{output:?}");
    let output =
        run(&["dkim", "generate", "t1", "--domain", "bücher.example", "--bits", "3072", "--out", "k.pem"]);
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    for expected in
        ["t1._domainkey.xn--bcher-kva.example. IN TXT (", "key = { file = \"k.pem\" }", "v=DKIM1; k=rsa; p="]
    {
        assert!(told.contains(expected), "{told}");
    }
    assert!(!told.contains("PRIVATE KEY"));
    assert_eq!(mode(&folder.path().join("k.pem")), 0o600);
    for (args, why) in [
        (&["dkim", "generate", "t 1", "--domain", "a.example"][..], "is not a selector"),
        (&["dkim", "generate", "t1", "--domain", "x"][..], "is not a full domain name"),
        (&["dkim", "generate", "t1", "--domain", "a.example", "--bits", "1024"][..], "1024"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{output:?}");
    }
}
