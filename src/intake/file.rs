//! Raw messages from files and pipes, for `tidings ingest` behind an MTA. Octets stay as they are, line ends too.

use std::io::Read;
use std::path::Path;

/// Why a file gave no message.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    #[error("it is empty")]
    Empty,
    #[error("it is larger than {0} octets")]
    TooLarge(usize),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Reads one message from `source` to its end. Reads at most one octet more than `max_message`.
///
/// # Errors
/// Nothing there, too much there, or the source fails.
pub fn read(source: impl Read, max_message: usize) -> Result<Vec<u8>, FileProblem> {
    let mut raw = Vec::new();
    source.take(max_message as u64 + 1).read_to_end(&mut raw)?;
    match raw.len() {
        0 => Err(FileProblem::Empty),
        length if length > max_message => Err(FileProblem::TooLarge(max_message)),
        _ => Ok(raw),
    }
}

/// Reads the message in a file; `-` is standard input.
///
/// # Errors
/// As [`read`], and when the file cannot be opened.
pub fn read_path(path: &Path, max_message: usize) -> Result<Vec<u8>, FileProblem> {
    if path == Path::new("-") {
        read(std::io::stdin().lock(), max_message)
    } else {
        read(std::fs::File::open(path)?, max_message)
    }
}

/// The first octets of a file, at most `most`.
///
/// # Errors
/// When it cannot be read.
pub fn start(path: &Path, most: usize) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::new();
    std::fs::File::open(path)?.take(most as u64).read_to_end(&mut start)?;
    Ok(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_stay_and_sizes_are_held() {
        let raw = b"From: a@x.example\n\nbare line ends\n";
        assert_eq!(read(&raw[..], raw.len()).unwrap(), raw);
        assert!(matches!(read(&raw[..], raw.len() - 1), Err(FileProblem::TooLarge(_))));
        assert!(matches!(read(&b""[..], 10), Err(FileProblem::Empty)));
        assert!(matches!(read(std::io::repeat(b'x'), 1000), Err(FileProblem::TooLarge(1000))));
        assert!(matches!(read_path(Path::new("/does/not/exist"), 10), Err(FileProblem::Io(_))));
    }
}
