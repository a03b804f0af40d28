//! The editors' part, loaded and checked as a whole: publication, articles, templates.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

use crate::domain::body::Body;
use crate::domain::problem::{Position, Problem};
use crate::domain::publication::{PlannedEdition, Publication, TierId};
use crate::render::{Article, EditionInput, Media, Status, TemplateSet, render_edition, subject_name};

/// What can be rendered. Immutable: a reload makes another one.
#[derive(Clone, Debug)]
pub struct Content {
    pub publication: Publication,
    pub articles: BTreeMap<String, Article>,
    pub templates: TemplateSet,
    /// As shown to readers.
    pub support: String,
    publication_file: String,
}

/// Reads the editors' files again.
pub type Reload = dyn Fn() -> (Option<Content>, Vec<Problem>) + Send + Sync;

/// The content that counts now. A running send keeps its frozen bodies, whatever is put here.
pub struct Shelf {
    current: RwLock<Arc<Content>>,
    places: Places,
    /// What the files looked like when `current` was read.
    seen: Mutex<Look>,
    reload: Box<Reload>,
}

/// Names, sizes and times of the editors' files.
type Look = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

impl Shelf {
    pub fn new(content: Content, places: Places, reload: Box<Reload>) -> Shelf {
        let seen = Mutex::new(look(&places));
        Shelf { current: RwLock::new(Arc::new(content)), places, seen, reload }
    }

    pub fn get(&self) -> Arc<Content> {
        // An Arc is whole whatever its last writer did.
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the files again if they changed: what an editor sees in a preview is what is sent. Blocks on the disk.
    ///
    /// # Errors
    /// All problems; the content stays as it was, and the next call asks again.
    pub fn refresh(&self) -> Result<Arc<Content>, Vec<Problem>> {
        let found = look(&self.places);
        if *self.lock() == found {
            return Ok(self.get());
        }
        let (content, problems) = (self.reload)();
        let content = Arc::new(content.ok_or(problems)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = content.clone();
        *self.lock() = found;
        Ok(content)
    }

    fn lock(&self) -> MutexGuard<'_, Look> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A folder that is not there looks empty: reading it will say so.
fn look(places: &Places) -> Look {
    let mut found = Look::new();
    let mut waiting: Vec<PathBuf> = [&places.publication, &places.articles].into_iter().cloned().collect();
    waiting.extend(places.templates.clone());
    while let Some(path) = waiting.pop() {
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        if metadata.is_dir() {
            waiting
                .extend(std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        } else {
            found.insert(path, (metadata.len(), metadata.modified().ok()));
        }
    }
    found
}

/// Where the editors' files are.
#[derive(Clone, Debug)]
pub struct Places {
    pub publication: PathBuf,
    pub articles: PathBuf,
    pub templates: Option<PathBuf>,
}

impl Content {
    /// Reads articles and templates. The second half of the answer are all problems, warnings among them; with an error there is
    /// no content.
    pub fn load(publication: Publication, places: &Places, support: &str) -> (Option<Content>, Vec<Problem>) {
        let mut problems = Vec::new();
        let tiers = publication.tier_ids();
        let templates = match &places.templates {
            Some(folder) => TemplateSet::load(folder, &tiers),
            None => TemplateSet::shipped(&tiers),
        };
        let templates = templates.map_err(|more| problems.extend(more)).ok();
        problems.extend(templates.iter().flat_map(TemplateSet::warnings).cloned());
        let mut articles = BTreeMap::new();
        for path in article_files(&places.articles, &mut problems) {
            match Article::load(&path, &publication) {
                Ok((article, warnings)) => {
                    problems.extend(warnings);
                    articles.insert(article.id.clone(), article);
                }
                Err(more) => problems.extend(more),
            }
        }
        let publication_file = places.publication.display().to_string();
        let content = templates.filter(|_| !problems.iter().any(Problem::is_error)).map(|templates| {
            Content { publication, articles, templates, support: support.to_owned(), publication_file }
        });
        let content = content.filter(|content| {
            problems.extend(content.check());
            !problems.iter().any(Problem::is_error)
        });
        problems.sort();
        problems.dedup();
        (content, problems)
    }

    /// Renders what every configured edition would send: what does not render now would not at its time either.
    fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for edition in &self.publication.editions {
            for tier in &edition.tiers {
                match self.render(edition, tier, 1) {
                    Ok((_, warnings)) => problems.extend(warnings),
                    Err(more) => problems.extend(more),
                }
            }
        }
        for slot in &self.publication.slots {
            let found = self.templates.check_subject(&subject_name(&slot.name), &slot.subject);
            problems.extend(self.in_publication(&slot.name, &format!("slots.{}.subject", slot.name), found));
            if !self.templates.kinds().any(|kind| kind == slot.template) {
                let kinds = self.templates.kinds().collect::<Vec<_>>().join(", ");
                let what = format!("there is no template \"{}\"", slot.template);
                let key = format!("slots.{}.template", slot.name);
                let hint = format!("there are {kinds}");
                problems.push(Problem::error(&self.publication_file, Position::FILE, &key, &what, &hint));
            }
        }
        problems
    }

    /// Problems of a subject that stands in publication.toml. Where in that file is not known here, only where in the subject.
    fn in_publication(&self, name: &str, key: &str, problems: Vec<Problem>) -> Vec<Problem> {
        let subject = subject_name(name);
        let told = |problem: Problem| match problem.file == subject {
            false => problem,
            true => Problem {
                file: self.publication_file.clone(),
                line: 0,
                column: 0,
                key: key.to_owned(),
                problem: format!("at character {} of it, {}", problem.column, problem.problem),
                ..problem
            },
        };
        problems.into_iter().map(told).collect()
    }

    /// One tier's body of an edition, with its warnings.
    ///
    /// # Errors
    /// Everything that keeps it from being sent.
    pub fn render(
        &self,
        edition: &PlannedEdition,
        tier: &TierId,
        number: u64,
    ) -> Result<(Body, Vec<Problem>), Vec<Problem>> {
        let articles = self.articles_of(edition)?;
        let tier = self.publication.tier(tier).ok_or_else(|| {
            vec![self.problem(edition, &format!("the tier `{tier}` is not there"), "name one of [tiers]")]
        })?;
        if self.is_extra(edition) && tier.extra_articles == 0 {
            let what = format!("it carries an extra article, and the tier `{}` has none", tier.id);
            let hint = "leave the tier out, or give it `extra_articles`";
            return Err(vec![self.problem(edition, &what, hint)]);
        }
        let date = edition.due_at.to_utc().with_timezone(&self.publication.timezone).date_naive();
        let input = EditionInput {
            publication: &self.publication,
            slug: &edition.slug,
            template: &edition.template,
            subject: &edition.subject,
            date,
            number,
            articles: &articles,
            support: &self.support,
        };
        let rendered = render_edition(&self.templates, &input, tier).map_err(|problems| {
            self.in_publication(&edition.slug, &format!("editions.{}.subject", edition.slug), problems)
        })?;
        let mut warnings = rendered.warnings;
        warnings.extend(articles.iter().flat_map(|article| article.warnings.clone()));
        Ok((rendered.body, warnings))
    }

    /// Whether an edition counts against the extras of those who get it: one of its articles does.
    pub fn is_extra(&self, edition: &PlannedEdition) -> bool {
        edition.articles.iter().filter_map(|id| self.articles.get(id)).any(|article| article.extra)
    }

    /// How many extras a person of this tier may have in a term; `None`: the edition is none.
    pub fn extra_limit(&self, edition: &PlannedEdition, tier: &TierId) -> Option<i64> {
        let limit = self.publication.tier(tier).map_or(0, |tier| i64::from(tier.extra_articles));
        self.is_extra(edition).then_some(limit)
    }

    /// The files that mails of these articles show.
    pub fn media(&self) -> Vec<Media> {
        let mut seen = BTreeSet::new();
        let all = self.articles.values().flat_map(|article| article.media.iter());
        all.filter(|media| seen.insert(media.name.clone())).cloned().collect()
    }

    fn articles_of(&self, edition: &PlannedEdition) -> Result<Vec<Article>, Vec<Problem>> {
        let mut articles = Vec::new();
        let mut problems = Vec::new();
        for id in &edition.articles {
            match self.articles.get(id) {
                None => {
                    let there = self.articles.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                    let what = format!("there is no article `{id}`");
                    problems.push(self.problem(edition, &what, &format!("articles are {there}")));
                }
                Some(article) if article.status != Status::Ready => {
                    let what = format!("the article `{id}` is {}", article.status.as_str());
                    problems.push(self.problem(
                        edition,
                        &what,
                        "only an article with status = \"ready\" is sent",
                    ));
                }
                Some(article) => articles.push(article.clone()),
            }
        }
        if problems.is_empty() { Ok(articles) } else { Err(problems) }
    }

    fn problem(&self, edition: &PlannedEdition, what: &str, hint: &str) -> Problem {
        let key = format!("editions.{}", edition.slug);
        Problem::error(&self.publication_file, Position::FILE, &key, what, hint)
    }
}

fn article_files(folder: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    match std::fs::read_dir(folder) {
        Ok(entries) => {
            for entry in entries.flatten() {
                let path = entry.path();
                if path.extension().is_some_and(|extension| extension == "md") {
                    found.push(path);
                }
            }
        }
        Err(error) => {
            let file = folder.display().to_string();
            let what = format!("cannot be read: {error}");
            problems.push(Problem::error(
                &file,
                Position::FILE,
                "articles",
                &what,
                "articles stand beside publication.toml",
            ));
        }
    }
    found.sort();
    found
}
