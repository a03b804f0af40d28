//! A Maildir (one file per message, `new` for what nobody has seen): its new messages, and where each goes once it is recorded.
//!
//! Whoever delivers writes into `tmp` and moves into `new`, so a file in `new` is whole; `tmp` is never looked at. Calls block: they
//! belong off the reactor.
//!
//! Known gap: no inotify; `new` is looked into every few seconds.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::file::{self, FileProblem};
use crate::domain::settings::AfterMaildir;

/// Octets of a header that is kept where the message is not.
const HEADER: usize = 64 * 1024;

/// One message's octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    Whole(Vec<u8>),
    /// Why it is not whole, and what there is of it.
    Part(String, Vec<u8>),
    /// Somebody removed it, or it is no file.
    Gone,
}

/// An open Maildir.
#[derive(Clone, Debug)]
pub struct Maildir {
    path: PathBuf,
}

impl Maildir {
    /// Opens it, creating what is missing: an MTA may deliver into it before the first message of ours.
    ///
    /// # Errors
    /// When a folder cannot be made or looked into.
    pub fn open(path: &Path) -> io::Result<Maildir> {
        for name in ["tmp", "new", "cur"] {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path.join(name))?;
        }
        std::fs::read_dir(path.join("new"))?;
        Ok(Maildir { path: path.to_owned() })
    }

    /// Names of new messages, at most `most` of them, in the order of their names, which begin with the time of delivery.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self, most: usize) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.path.join("new"))? {
            let entry = entry?;
            if entry.file_type()?.is_file() && !entry.file_name().as_encoded_bytes().starts_with(b".") {
                names.push(entry.file_name());
            }
            if names.len() == most {
                break;
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Reads one message of at most `max` octets.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self, name: &OsString, max: usize) -> io::Result<Read> {
        let path = self.path.join("new").join(name);
        match file::read_path(&path, max) {
            Ok(raw) => Ok(Read::Whole(raw)),
            Err(FileProblem::Empty) => Ok(Read::Part("the file is empty".to_owned(), Vec::new())),
            Err(FileProblem::TooLarge(max)) => {
                let why = format!("it has more than {max} octets; what is here is its start");
                let mut start = file::start(&path, HEADER)?;
                start.truncate(header_end(&start));
                Ok(Read::Part(why, start))
            }
            Err(FileProblem::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(Read::Gone),
            Err(FileProblem::Io(error)) => Err(error),
        }
    }

    /// Moves a recorded message to `cur`, where nobody has seen it yet, or deletes it. One that is gone is no error.
    ///
    /// # Errors
    /// When the file system says no.
    pub fn file(&self, name: &OsString, after: AfterMaildir) -> io::Result<()> {
        let from = self.path.join("new").join(name);
        let done = match after {
            AfterMaildir::Delete => std::fs::remove_file(&from),
            AfterMaildir::Keep => std::fs::rename(&from, self.free_name(name)),
        };
        match done {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Names are unique by agreement. A message that is there already stays, all the same.
    fn free_name(&self, name: &OsString) -> PathBuf {
        let cur = self.path.join("cur");
        let named = |number: usize| {
            let mut name = name.clone();
            if number > 0 {
                name.push(format!(".{number}"));
            }
            name.push(":2,");
            cur.join(name)
        };
        let mut number = 0;
        while named(number).exists() {
            number += 1;
        }
        named(number)
    }
}

/// Up to the empty line.
fn header_end(start: &[u8]) -> usize {
    let ends = [&b"\r\n\r\n"[..], b"\n\n"];
    ends.iter().filter_map(|end| memchr::memmem::find(start, end)).min().unwrap_or(start.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(maildir: &Maildir, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(maildir.path.join(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn new_messages_are_read_and_put_where_they_belong() {
        let folder = tempfile::tempdir().unwrap();
        let maildir = Maildir::open(&folder.path().join("box")).unwrap();
        let put = |name: &str, text: &str| std::fs::write(maildir.path.join(name), text).unwrap();
        put("new/2.b", "two");
        put("new/1.a", "one");
        put("new/3.large", &format!("Subject: x\n\n{}", "y".repeat(100)));
        put("new/4.empty", "");
        put("new/.hidden", "no");
        put("tmp/5.half", "ha");
        std::fs::create_dir(maildir.path.join("new/folder")).unwrap();
        let list = maildir.list(100).unwrap();
        assert_eq!(list, ["1.a", "2.b", "3.large", "4.empty"]);
        assert_eq!(maildir.list(2).unwrap().len(), 2);
        let read = |name: &str| maildir.read(&name.into(), 50).unwrap();
        assert_eq!(read("1.a"), Read::Whole(b"one".to_vec()));
        assert!(matches!(read("3.large"), Read::Part(_, start) if start == b"Subject: x"));
        assert!(matches!(read("4.empty"), Read::Part(_, start) if start.is_empty()));
        assert_eq!(read("gone"), Read::Gone);

        put("cur/1.a:2,", "older");
        maildir.file(&"1.a".into(), AfterMaildir::Keep).unwrap();
        maildir.file(&"2.b".into(), AfterMaildir::Delete).unwrap();
        maildir.file(&"gone".into(), AfterMaildir::Keep).unwrap();
        maildir.file(&"gone".into(), AfterMaildir::Delete).unwrap();
        assert_eq!(names(&maildir, "new"), [".hidden", "3.large", "4.empty", "folder"]);
        assert_eq!(names(&maildir, "cur"), ["1.a.1:2,", "1.a:2,"]);
        assert_eq!(std::fs::read(maildir.path.join("cur/1.a:2,")).unwrap(), b"older");
    }
}
