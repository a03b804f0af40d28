//! Pictures of articles. A relative path is published under a name made of the file's hash, so that a picture that changes
//! gets a new address and a gated one cannot be guessed.

use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

/// What mail clients show.
const EXTENSIONS: &[&str] = &["png", "jpg", "jpeg", "gif"];

/// A file to publish.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Media {
    /// The last part of its address, `<hash>.<extension>`.
    pub name: String,
    pub path: PathBuf,
}

impl Media {
    /// Reads `written`, a path relative to the article's folder. The error is what is wrong and what would be right.
    pub(super) fn read(folder: &Path, written: &str) -> Result<Media, (String, &'static str)> {
        let relative = Path::new(written);
        if relative.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(("leaves the folder of the articles".into(), "put the picture beside the article"));
        }
        let extension = relative.extension().and_then(|end| end.to_str()).unwrap_or_default().to_lowercase();
        if !EXTENSIONS.contains(&extension.as_str()) {
            return Err((format!("\"{extension}\" is not shown by mail clients"), "use png, jpg or gif"));
        }
        let path = folder.join(relative);
        let bytes =
            std::fs::read(&path).map_err(|error| (format!("cannot be read: {error}"), "check the path"))?;
        let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes)[..12]);
        Ok(Media { name: format!("{hash}.{extension}"), path })
    }
}
