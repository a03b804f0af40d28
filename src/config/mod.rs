//! Text to checked settings: `tidings.toml` of the operator and `publication.toml` of the editors.
//!
//! Each file becomes a tree of values that know their place (`tree`); environment and flags are put into it (`overrides`);
//! then two readers (`operator`, `editors`) walk it with a cursor (`section`) and small grammars (`syntax`, `urls`,
//! `slot_rule`). Every reader goes on after a mistake, so one load reports all of them.
//!
//! Limits: both files are read whole. Articles and templates are checked elsewhere.

mod editors;
mod mail_in;
mod operator;
mod overrides;
pub mod providers;
mod reply_rule_row;
pub mod reply_rules;
mod retention;
mod secret;
mod section;
mod signing;
mod slot_rule;
mod syntax;
mod tree;
mod urls;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::domain::problem::{Position, Problem};
use crate::domain::publication::Publication;
use crate::domain::settings::Settings;
use overrides::Override;
use secret::Sources;
use section::{Report, Section};

/// Keys at the top of `publication.toml`: they say which file an override belongs to.
const PUBLICATION_KEYS: &[&str] = &[
    "name",
    "from",
    "url",
    "postal_address",
    "timezone",
    "language",
    "editors",
    "upgrade_url",
    "lapsed",
    "offer",
    "import",
    "tiers",
    "slots",
    "editions",
];

/// Where things are, all derived from the path of the operator's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The operator's file.
    pub settings: PathBuf,
    /// The editors' file beside it.
    pub publication: PathBuf,
    /// The folder of the article files.
    pub articles: PathBuf,
    /// Where relative paths start: the parent of the config folder.
    pub base: PathBuf,
}

impl Paths {
    /// Derives all paths from the one of `tidings.toml`. Touches no file.
    pub fn of(settings: &Path) -> Paths {
        let folder = settings.parent().unwrap_or(Path::new(""));
        let base = match folder.file_name() {
            Some(_) => match folder.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
                _ => PathBuf::from("."),
            },
            // An empty path, `..` or the root: the parent can only be named by going up.
            None => folder.join(".."),
        };
        Paths {
            settings: settings.to_owned(),
            publication: folder.join("publication.toml"),
            articles: folder.join("articles"),
            base,
        }
    }
}

/// What one load found.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// `None` when the operator's file has an error.
    pub settings: Option<Settings>,
    /// `None` when the editors' file has an error.
    pub publication: Option<Publication>,
    /// Errors and warnings of both files, as one reads them.
    pub problems: Vec<Problem>,
    pub paths: Paths,
}

impl Loaded {
    /// Whether something must be corrected before anything can start; warnings do not count.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(Problem::is_error)
    }
}

/// The variables of this process. One that is not Unicode cannot be a setting of ours and is left out.
pub fn process_environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Reads and checks both files. `flags` are pairs of a key such as `relays.0.rate` and a value; they win over the
/// environment, which wins over the files.
pub fn load(path: &Path, env: &BTreeMap<String, String>, flags: &[(String, String)]) -> Loaded {
    let paths = Paths::of(path);
    let sources = Sources { env, base: &paths.base };
    let ours =
        |change: &Override| change.path.first().is_some_and(|key| PUBLICATION_KEYS.contains(&key.as_str()));
    let (for_editors, for_operator) = overrides::collect(env, flags).into_iter().partition(ours);
    let (settings, mut problems) =
        read(&paths.settings, for_operator, |root| operator::settings(root, &sources));
    let (publication, more) = read(&paths.publication, for_editors, editors::publication);
    problems.extend(more);
    Loaded { settings, publication, problems, paths }
}

/// Reads one file with its overrides. The value is `None` as soon as there is one error.
fn read<T>(
    path: &Path,
    changes: Vec<Override>,
    reader: impl FnOnce(Section<'_>) -> Option<T>,
) -> (Option<T>, Vec<Problem>) {
    let name = path.display().to_string();
    const HINT: &str = "name the operator's file with --config; publication.toml stands beside it";
    let (mut root, report) = match text_of(path, &name, HINT) {
        Ok(text) => {
            let (root, problems) = tree::parse(text.strip_prefix('\u{FEFF}').unwrap_or(&text), &name);
            (root, Report::with_syntax(problems))
        }
        Err(problem) => return (None, vec![problem]),
    };
    for change in changes {
        overrides::apply(&mut root, change, &report);
    }
    let value = Section::root(&root, &report).and_then(reader);
    let value = if report.errors() == 0 { value } else { None };
    let mut problems = report.into_problems();
    // The file first, then what came from outside of it.
    problems.sort_by(|a, b| (a.file != name, a).cmp(&(b.file != name, b)));
    (value, problems)
}

fn text_of(path: &Path, name: &str, hint: &str) -> Result<String, Problem> {
    let bytes = std::fs::read(path).map_err(|error| {
        Problem::error(name, Position::FILE, "", &format!("cannot be read: {error}"), hint)
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let good = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        let at = Position::of(&good, good.len());
        Problem::error(name, at, "", "is not UTF-8 text", "save the file as UTF-8")
    })
}
