//! The sample publication, embedded: the very files of `config/`, and two hundred made-up readers.

use std::fmt::Write;
use std::io;
use std::path::Path;

use crate::app::Failure;

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

/// A secret for one run.
pub fn secret() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Failure::Ours(format!("no random numbers: {error}")))?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}
