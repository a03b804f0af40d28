//! The sample publication, embedded: the very files of `config/`, and two hundred made-up readers.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use secrecy::ExposeSecret;

use crate::app::Failure;
use crate::mail::dkim_key;
use crate::runtime::Timestamp;

const FILES: [(&str, &[u8]); 8] = [
    ("config/tidings.toml", include_bytes!("../../config/tidings.toml")),
    ("config/publication.toml", include_bytes!("../../config/publication.toml")),
    ("config/articles/model-compression.md", include_bytes!("../../config/articles/model-compression.md")),
    ("config/articles/federated-learning.md", include_bytes!("../../config/articles/federated-learning.md")),
    (
        "config/articles/small-model-evaluation.md",
        include_bytes!("../../config/articles/small-model-evaluation.md"),
    ),
    ("config/articles/drift-checks.md", include_bytes!("../../config/articles/drift-checks.md")),
    (
        "config/articles/calibrated-confidence.md",
        include_bytes!("../../config/articles/calibrated-confidence.md"),
    ),
    (
        "config/articles/media/federated-round.png",
        include_bytes!("../../config/articles/media/federated-round.png"),
    ),
];

/// How many of each tier.
const PEOPLE: [(&str, usize); 4] = [("free", 120), ("monthly", 40), ("yearly", 30), ("lifetime", 10)];

/// Writes the sample publication below `folder`.
pub fn write(folder: &Path) -> io::Result<()> {
    for (name, bytes) in FILES {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, bytes)?;
    }
    Ok(())
}

/// The readers in the import format.
pub fn people() -> String {
    let mut csv = "email,name,tier,status,term_ends_at\n".to_owned();
    for (tier, count) in PEOPLE {
        // Far enough ahead for a sample; lifetime and free never end.
        let ends = if matches!(tier, "monthly" | "yearly") { "2099-03-03" } else { "" };
        for number in 1..=count {
            // Writing to a String cannot fail.
            let _ = writeln!(
                csv,
                "{tier}-{number:03}@readers.example,Reader {number} ({tier}),{tier},active,{ends}"
            );
        }
    }
    csv
}

/// What the sample publication sends from.
pub const DOMAIN: &str = "news.example.org";
pub const SELECTOR: &str = "demo";
/// The public half of the key, in the demo's folder.
pub const RECORD_FILE: &str = "dns.zone";
const KEY_FILE: &str = "secrets/demo.pem";

/// Makes the key that signs the demo's mail, and the record that would publish it. Answers where the key is, below `folder`.
pub fn signing_key(folder: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::No(format!("{}: {error}", folder.display()));
    let (pair, pem) = dkim_key::generate("2048")
        .ok_or_else(|| Failure::Ours("no key could be made: the system gave no random numbers".into()))?;
    std::fs::create_dir_all(folder.join("secrets")).map_err(failed)?;
    let mut file = std::fs::OpenOptions::new();
    let file = file.write(true).create_new(true).mode(0o600).open(folder.join(KEY_FILE));
    file.and_then(|mut file| file.write_all(pem.expose_secret().as_bytes())).map_err(failed)?;
    let name = dkim_key::record_name(SELECTOR, DOMAIN);
    let zone = dkim_key::zone(&name, &dkim_key::record(&pair));
    std::fs::write(folder.join(RECORD_FILE), zone).map_err(failed)?;
    Ok(KEY_FILE.to_owned())
}

/// The server that takes mail in for the sample publication, whose word about signatures is believed.
pub const AUTHSERV_ID: &str = "mx.news.example.org";

/// The settings of a second edition, due at that time.
pub fn second_edition(at: Timestamp) -> Vec<(String, String)> {
    let set = |key: &str, value: &str| (format!("editions.1.{key}"), value.to_owned());
    vec![
        set("slug", "second-light"),
        set("at", &at.rfc3339()),
        set("subject", "{{articles.0.title}}"),
        set("articles", "[\"small-model-evaluation\"]"),
        set("tiers", "[\"free\", \"monthly\", \"yearly\", \"lifetime\"]"),
    ]
}

/// A secret for one run.
pub fn secret() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Failure::Ours(format!("no random numbers: {error}")))?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}
