//! W78: whether mail that comes back finds an open door, at each door that the settings name. A mailbox is opened as the daemon opens
//! it, but for reading only: nothing in it changes.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::domain::doctor::{Check, Status};
use crate::domain::settings::{AfterImap, ImapSettings, IntakeSettings, Listen};
use crate::intake::imap::{ImapProblem, Mailbox};
use crate::intake::knock;

/// For login and mailbox together; slow servers delay a failed login on purpose.
const PATIENCE: Duration = Duration::from_secs(45);

pub(super) async fn look(intake: &IntakeSettings) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(lmtp) = &intake.lmtp {
        checks.push(door(&lmtp.listen).await);
    }
    if let Some(imap) = &intake.imap {
        checks.push(mailbox(imap).await);
    }
    if let Some(maildir) = &intake.maildir {
        checks.push(folder(&maildir.path));
    }
    if checks.is_empty() {
        let check = Check::warn("W78", "intake_missing", "intake")
            .found("nothing takes in answers and bounces but `tidings ingest`")
            .expected("a door for received mail")
            .fix("[intake.lmtp]\nlisten = \"127.0.0.1:2424\"");
        checks.push(check);
    }
    checks
}

async fn door(listen: &Listen) -> Check {
    let place = match listen {
        Listen::Tcp(address) => format!("lmtp {address}"),
        Listen::Unix(path) => format!("lmtp {}", path.display()),
    };
    match knock::knock(listen).await {
        Ok(greeting) => Check::ok("W78", "intake", &place).found(greeting),
        Err(why) => Check::warn("W78", "intake_closed", &place)
            .found(format!("nobody takes in answers and bounces: {why}"))
            .expected("a daemon that listens there")
            .fix("start `tidings run`, or `tidings run --only receive`"),
    }
}

async fn mailbox(settings: &ImapSettings) -> Check {
    let place = settings.place();
    match tokio::time::timeout(PATIENCE, opened(settings)).await {
        Ok(Ok(found)) => Check::ok("W78", "imap", &place).found(found),
        Ok(Err(problem)) => refused(settings, &problem),
        Err(_) => refused(settings, &ImapProblem::Lost("the server did not answer in time".to_owned())),
    }
}

/// Logs in, opens the mailbox and looks for the folder that recorded mail is moved to.
async fn opened(settings: &ImapSettings) -> Result<String, ImapProblem> {
    // So the mailbox is examined and not selected.
    let reading = ImapSettings { after: AfterImap::Keep, ..settings.clone() };
    let mut mailbox = Mailbox::open(&reading).await?;
    let found = format!("it can be opened and holds {} messages", mailbox.opened().messages);
    if let AfterImap::Move(folder) = &settings.after {
        mailbox.look_for(folder).await.map_err(|problem| match problem {
            ImapProblem::No(why) | ImapProblem::NoFolder(why) => {
                ImapProblem::NoFolder(format!("{folder}: {why}"))
            }
            other => other,
        })?;
    }
    mailbox.close().await;
    Ok(found)
}

fn refused(settings: &ImapSettings, problem: &ImapProblem) -> Check {
    let place = settings.place();
    let (key, status, expected, fix) = match problem {
        ImapProblem::Lost(_) => (
            "imap_away",
            Status::Unknown,
            "a server that answers",
            format!(
                "start the server at {}:{}, or correct `url` of [intake.imap]",
                settings.host, settings.port
            ),
        ),
        ImapProblem::NoFolder(_) => (
            "imap_no_folder",
            Status::Fail,
            "the folder that recorded mail is moved to",
            "make the folder on the server, or name one that is there in `after` of [intake.imap]".to_owned(),
        ),
        ImapProblem::Nonsense(_) => (
            "imap_nonsense",
            Status::Fail,
            "a server that speaks IMAP",
            "correct `url` of [intake.imap]: imaps://HOST, or imap+starttls://HOST".to_owned(),
        ),
        ImapProblem::Refused(_) | ImapProblem::No(_) => (
            "imap_refused",
            Status::Fail,
            "a login that opens the mailbox",
            "correct `username`, `password` and `mailbox` of [intake.imap], or the certificate (`ca`)"
                .to_owned(),
        ),
    };
    Check::new("W78", key, status, &place).found(problem.to_string()).expected(expected).fix(fix)
}

/// Whether a Maildir can be worked with: `new` is listed, recorded messages are moved to `cur`.
fn folder(path: &Path) -> Check {
    let place = format!("maildir {}", path.display());
    let expected = "a Maildir: a folder with new, cur and tmp that this user may read and write";
    let make = format!("mkdir -p -m 700 {0}/new {0}/cur {0}/tmp, as the user of the daemon", path.display());
    let missing = |what: &str| {
        Check::warn("W78", "maildir_missing", &place)
            .found(format!(
                "{what} is not there: nothing has been delivered yet, or the mail server delivers elsewhere"
            ))
            .expected(expected)
            .fix(format!("correct `path` of [intake.maildir], or {make}"))
    };
    let refused = |what: &str, error: io::Error| {
        Check::fail("W78", "maildir_refuses", &place)
            .found(format!("{what}: {error}"))
            .expected(expected)
            .fix(format!("chown -R the user of the daemon {0} and chmod -R u+rwX {0}", path.display()))
    };
    if let Err(error) = std::fs::read_dir(path) {
        let what = path.display().to_string();
        return if error.kind() == io::ErrorKind::NotFound { missing(&what) } else { refused(&what, error) };
    }
    let mut waiting = 0;
    for name in ["new", "cur"] {
        let place = path.join(name);
        match std::fs::read_dir(&place) {
            Ok(entries) if name == "new" => waiting = entries.count(),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return missing(&format!("`{name}` in it"));
            }
            Err(error) => return refused(&format!("`{name}`"), error),
        }
        if let Err(error) = rustix::fs::access(&place, rustix::fs::Access::WRITE_OK) {
            return refused(&format!("`{name}` cannot be written to"), error.into());
        }
    }
    Check::ok("W78", "maildir", &place).found(format!("{waiting} messages wait in `new`"))
}
