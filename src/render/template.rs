//! The set of templates: shipped ones, embedded; a configured folder overrides single files; `tiers/<tier>/<kind>/`
//! overrides them for one tier.
//!
//! A configured file always beats a shipped one, even a shipped one for the tier: who writes a `weekly/body.mjml` of their
//! own means it for everybody. A partial `x` is `partials/x.mjml` in the HTML part, `partials/x.txt.hbs` in text and
//! subject, or `partials/x.hbs` in all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::check::{self, Called, Part, Source};
use super::fields::{self, Shape};
use crate::domain::problem::{Position, Problem};
use crate::domain::publication::TierId;

/// The template set that is part of the program.
const SHIPPED: &[(&str, &str)] = &[
    ("weekly/subject.hbs", include_str!("../../templates/weekly/subject.hbs")),
    ("weekly/body.mjml", include_str!("../../templates/weekly/body.mjml")),
    ("weekly/body.txt.hbs", include_str!("../../templates/weekly/body.txt.hbs")),
    ("tiers/free/weekly/body.mjml", include_str!("../../templates/tiers/free/weekly/body.mjml")),
    ("tiers/free/weekly/body.txt.hbs", include_str!("../../templates/tiers/free/weekly/body.txt.hbs")),
    ("support-notice/subject.hbs", include_str!("../../templates/support-notice/subject.hbs")),
    ("support-notice/body.mjml", include_str!("../../templates/support-notice/body.mjml")),
    ("support-notice/body.txt.hbs", include_str!("../../templates/support-notice/body.txt.hbs")),
    ("support-answer/subject.hbs", include_str!("../../templates/support-answer/subject.hbs")),
    ("support-answer/body.mjml", include_str!("../../templates/support-answer/body.mjml")),
    ("support-answer/body.txt.hbs", include_str!("../../templates/support-answer/body.txt.hbs")),
    ("support-told/subject.hbs", include_str!("../../templates/support-told/subject.hbs")),
    ("support-told/body.mjml", include_str!("../../templates/support-told/body.mjml")),
    ("support-told/body.txt.hbs", include_str!("../../templates/support-told/body.txt.hbs")),
    ("support-ack/subject.hbs", include_str!("../../templates/support-ack/subject.hbs")),
    ("support-ack/body.mjml", include_str!("../../templates/support-ack/body.mjml")),
    ("support-ack/body.txt.hbs", include_str!("../../templates/support-ack/body.txt.hbs")),
    ("confirm/subject.hbs", include_str!("../../templates/confirm/subject.hbs")),
    ("confirm/body.mjml", include_str!("../../templates/confirm/body.mjml")),
    ("confirm/body.txt.hbs", include_str!("../../templates/confirm/body.txt.hbs")),
    ("address/subject.hbs", include_str!("../../templates/address/subject.hbs")),
    ("address/body.mjml", include_str!("../../templates/address/body.mjml")),
    ("address/body.txt.hbs", include_str!("../../templates/address/body.txt.hbs")),
    ("address-told/subject.hbs", include_str!("../../templates/address-told/subject.hbs")),
    ("address-told/body.mjml", include_str!("../../templates/address-told/body.mjml")),
    ("address-told/body.txt.hbs", include_str!("../../templates/address-told/body.txt.hbs")),
    ("known/subject.hbs", include_str!("../../templates/known/subject.hbs")),
    ("known/body.mjml", include_str!("../../templates/known/body.mjml")),
    ("known/body.txt.hbs", include_str!("../../templates/known/body.txt.hbs")),
    ("leave/subject.hbs", include_str!("../../templates/leave/subject.hbs")),
    ("leave/body.mjml", include_str!("../../templates/leave/body.mjml")),
    ("leave/body.txt.hbs", include_str!("../../templates/leave/body.txt.hbs")),
    ("welcome/subject.hbs", include_str!("../../templates/welcome/subject.hbs")),
    ("welcome/body.mjml", include_str!("../../templates/welcome/body.mjml")),
    ("welcome/body.txt.hbs", include_str!("../../templates/welcome/body.txt.hbs")),
    ("sign-in/subject.hbs", include_str!("../../templates/sign-in/subject.hbs")),
    ("sign-in/body.mjml", include_str!("../../templates/sign-in/body.mjml")),
    ("sign-in/body.txt.hbs", include_str!("../../templates/sign-in/body.txt.hbs")),
    ("editor-report/subject.hbs", include_str!("../../templates/editor-report/subject.hbs")),
    ("editor-report/body.mjml", include_str!("../../templates/editor-report/body.mjml")),
    ("editor-report/body.txt.hbs", include_str!("../../templates/editor-report/body.txt.hbs")),
    ("alarm/subject.hbs", include_str!("../../templates/alarm/subject.hbs")),
    ("alarm/body.mjml", include_str!("../../templates/alarm/body.mjml")),
    ("alarm/body.txt.hbs", include_str!("../../templates/alarm/body.txt.hbs")),
    ("partials/article.mjml", include_str!("../../templates/partials/article.mjml")),
    ("partials/article.txt.hbs", include_str!("../../templates/partials/article.txt.hbs")),
    ("partials/bar.mjml", include_str!("../../templates/partials/bar.mjml")),
    ("partials/contents.mjml", include_str!("../../templates/partials/contents.mjml")),
    ("partials/filler.mjml", include_str!("../../templates/partials/filler.mjml")),
    ("partials/footer.mjml", include_str!("../../templates/partials/footer.mjml")),
    ("partials/footer.txt.hbs", include_str!("../../templates/partials/footer.txt.hbs")),
    ("partials/letterhead.mjml", include_str!("../../templates/partials/letterhead.mjml")),
    ("partials/masthead.mjml", include_str!("../../templates/partials/masthead.mjml")),
    ("partials/masthead.txt.hbs", include_str!("../../templates/partials/masthead.txt.hbs")),
    ("partials/plans.mjml", include_str!("../../templates/partials/plans.mjml")),
    ("partials/plans.txt.hbs", include_str!("../../templates/partials/plans.txt.hbs")),
    ("partials/reply.mjml", include_str!("../../templates/partials/reply.mjml")),
    ("partials/reply.txt.hbs", include_str!("../../templates/partials/reply.txt.hbs")),
    ("partials/report_sum.mjml", include_str!("../../templates/partials/report_sum.mjml")),
    ("partials/report_sum.txt.hbs", include_str!("../../templates/partials/report_sum.txt.hbs")),
    ("partials/report_title.hbs", include_str!("../../templates/partials/report_title.hbs")),
    ("partials/sender.mjml", include_str!("../../templates/partials/sender.mjml")),
    ("partials/styles.mjml", include_str!("../../templates/partials/styles.mjml")),
    ("partials/typed.mjml", include_str!("../../templates/partials/typed.mjml")),
];

const PARTS: [(Part, &str); 3] =
    [(Part::Subject, "subject.hbs"), (Part::Html, "body.mjml"), (Part::Text, "body.txt.hbs")];

/// One file of the set.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// As problems name it.
    pub name: String,
    pub text: String,
}

impl File {
    fn source(&self) -> Source<'_> {
        Source { name: &self.name, text: &self.text }
    }
}

/// All templates, checked.
#[derive(Clone, Debug)]
pub struct TemplateSet {
    configured: BTreeMap<String, File>,
    shipped: BTreeMap<String, File>,
    kinds: BTreeSet<String>,
    warnings: Vec<Problem>,
}

/// The files of one kind for one tier.
pub(super) struct Parts<'a> {
    set: &'a TemplateSet,
    /// The fields of the kind.
    pub shape: &'static Shape,
    pub subject: &'a File,
    pub html: &'a File,
    pub text: &'a File,
}

impl Parts<'_> {
    pub fn called(&self, part: Part, called: Called<'_>) -> Option<&File> {
        self.set.called(part, called)
    }
}

impl TemplateSet {
    /// The shipped templates alone.
    pub fn shipped(tiers: &[TierId]) -> Result<TemplateSet, Vec<Problem>> {
        TemplateSet::of(Vec::new(), tiers)
    }

    /// The shipped templates with the files of `folder` over them, all checked for `tiers`.
    pub fn load(folder: &Path, tiers: &[TierId]) -> Result<TemplateSet, Vec<Problem>> {
        let mut files = Vec::new();
        let mut problems = Vec::new();
        read(folder, "", &mut files, &mut problems);
        match TemplateSet::of(files, tiers) {
            Ok(set) if problems.is_empty() => Ok(set),
            Ok(set) => Err(problems.into_iter().chain(set.warnings).collect()),
            Err(more) => Err(problems.into_iter().chain(more).collect()),
        }
    }

    /// The same from texts: path in the folder, name for problems, text.
    pub fn of(files: Vec<(String, String, String)>, tiers: &[TierId]) -> Result<TemplateSet, Vec<Problem>> {
        let shipped = SHIPPED.iter().map(|(path, text)| {
            ((*path).to_owned(), File { name: format!("templates/{path}"), text: (*text).to_owned() })
        });
        let configured = files.into_iter().map(|(path, name, text)| {
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n");
            (path, File { name, text })
        });
        let mut set = TemplateSet {
            configured: configured.collect(),
            shipped: shipped.collect(),
            kinds: BTreeSet::new(),
            warnings: Vec::new(),
        };
        let mut problems = set.places(tiers);
        let kinds = set.kinds.clone();
        for kind in &kinds {
            problems.extend(set.check(kind, None));
            for tier in tiers.iter().filter(|_| fields::is_edition(kind)) {
                problems.extend(set.check(kind, Some(tier)));
            }
        }
        problems.sort();
        problems.dedup();
        if problems.iter().any(Problem::is_error) {
            return Err(problems);
        }
        set.warnings = problems;
        Ok(set)
    }

    /// The names that a slot or an edition may give as its template.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.iter().map(String::as_str).filter(|kind| fields::is_edition(kind))
    }

    /// What does not keep the set from being used, with positions.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Finds the kinds, and files in places that mean nothing.
    fn places(&mut self, tiers: &[TierId]) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut kinds = BTreeSet::new();
        for (path, file) in self.shipped.iter().chain(&self.configured) {
            let parts: Vec<&str> = path.split('/').collect();
            let known = |name: &str| PARTS.iter().any(|(_, part)| *part == name);
            let wrong = match parts[..] {
                ["partials", .., name] => !(name.ends_with(".mjml") || name.ends_with(".hbs")),
                ["tiers", tier, _, part] => {
                    let shipped = !self.configured.contains_key(path);
                    !known(part) || (!shipped && !tiers.iter().any(|known| known.as_str() == tier))
                }
                [kind, part] if known(part) => {
                    kinds.insert(kind.to_owned());
                    false
                }
                _ => true,
            };
            if wrong {
                let what = "nothing uses a file at this place";
                let hint = "files are KIND/subject.hbs, KIND/body.mjml, KIND/body.txt.hbs, partials/NAME.mjml, \
                            partials/NAME.txt.hbs and tiers/TIER/KIND/FILE, with tiers of the publication";
                problems.push(Problem::error(&file.name, Position::FILE, "template", what, hint));
            }
        }
        self.kinds = kinds;
        problems
    }

    fn check(&self, kind: &str, tier: Option<&TierId>) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (part, name) in PARTS {
            let Some(root) = self.file(kind, tier, name) else {
                let what = format!("the template \"{kind}\" has no {name}");
                problems.push(Problem::error(
                    &format!("{kind}/{name}"),
                    Position::FILE,
                    "template",
                    &what,
                    "add it",
                ));
                continue;
            };
            problems.extend(self.check_file(part, kind, root));
        }
        problems
    }

    fn check_file(&self, part: Part, kind: &str, root: &File) -> Vec<Problem> {
        let find = |called: Called<'_>| self.called(part, called).map(File::source);
        check::check(part, fields::of_kind(kind), root.source(), &find)
    }

    /// Checks the subject of an edition, which is a template of its own. Positions are within `text`.
    pub fn check_subject(&self, name: &str, text: &str) -> Vec<Problem> {
        let file = File { name: name.to_owned(), text: text.to_owned() };
        self.check_file(Part::Subject, "", &file)
    }

    /// The files of a kind as `tier` gets them.
    pub(super) fn parts(&self, kind: &str, tier: Option<&TierId>) -> Result<Parts<'_>, Vec<Problem>> {
        let file = |name: &str| {
            let file = self.file(kind, tier, name).filter(|_| tier.is_none() || fields::is_edition(kind));
            file.ok_or_else(|| {
                let kinds = self.kinds().collect::<Vec<_>>().join(", ");
                let what = format!("there is no template \"{kind}\"");
                let hint = format!("there are {kinds}");
                vec![Problem::error(&format!("{kind}/{name}"), Position::FILE, "template", &what, &hint)]
            })
        };
        Ok(Parts {
            set: self,
            shape: fields::of_kind(kind),
            subject: file("subject.hbs")?,
            html: file("body.mjml")?,
            text: file("body.txt.hbs")?,
        })
    }

    fn file(&self, kind: &str, tier: Option<&TierId>, name: &str) -> Option<&File> {
        let general = format!("{kind}/{name}");
        let special = tier.map_or_else(|| general.clone(), |tier| format!("tiers/{tier}/{general}"));
        [&self.configured, &self.shipped]
            .into_iter()
            .find_map(|files| files.get(&special).or(files.get(&general)))
    }

    fn called(&self, part: Part, called: Called<'_>) -> Option<&File> {
        let name = match called {
            Called::Partial(name) => name,
            Called::Include(path) => {
                return [&self.configured, &self.shipped].into_iter().find_map(|files| files.get(path));
            }
        };
        let end = if part == Part::Html { "mjml" } else { "txt.hbs" };
        let (own, both) = (format!("partials/{name}.{end}"), format!("partials/{name}.hbs"));
        [&self.configured, &self.shipped].into_iter().find_map(|files| files.get(&own).or(files.get(&both)))
    }
}

/// All files below `folder`, hidden ones left out.
fn read(folder: &Path, under: &str, files: &mut Vec<(String, String, String)>, problems: &mut Vec<Problem>) {
    let unreadable = |path: &Path, error: std::io::Error| {
        let what = format!("cannot be read: {error}");
        Problem::error(
            &path.display().to_string(),
            Position::FILE,
            "template",
            &what,
            "templates are UTF-8 text files",
        )
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return problems.push(unreadable(folder, error)),
    };
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let inner = if under.is_empty() { name.clone() } else { format!("{under}/{name}") };
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            // Deeper than tiers/<tier>/<kind>/<file> means nothing; this also ends a circle of links.
            if inner.matches('/').count() < 4 {
                read(&path, &inner, files, problems);
            }
            continue;
        }
        match std::fs::read_to_string(&path) {
            Ok(text) => files.push((inner, path.display().to_string(), text)),
            Err(error) => problems.push(unreadable(&path, error)),
        }
    }
}
