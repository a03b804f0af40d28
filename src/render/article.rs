//! An article: one Markdown file, its gates, and what each tier gets of it.
//!
//! [`Article::parse`] checks everything that can be wrong and answers with all problems at once; an article that exists is
//! valid for every tier. [`Article::for_tier`] cuts the source and renders it, it cannot fail.
//!
//! Limits: raw HTML is sanitised block by block, so an element that spans several Markdown blocks is closed at the end of
//! the first. Pictures from elsewhere (`https://`) are not fetched or checked.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::NaiveDate;

use super::blocks::{self, Surroundings};
use super::front;
use super::gates::{self, Gates};
use super::markdown::{self, Document};
use super::media::Media;
use super::paths::{Paths, Resolver};
use super::plain;
use super::sanitise;
use crate::domain::problem::{Position, Problem};
use crate::domain::publication::{ArticleAccess, Publication, Tier, TierId};

/// Words that one reads in a minute.
const WORDS_PER_MINUTE: usize = 220;

/// Where an article stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    Draft,
    /// May be taken by a slot.
    Ready,
    /// Back catalogue: in the archive, never queued.
    Published,
}

impl Status {
    /// As written in the front matter.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Draft => "draft",
            Status::Ready => "ready",
            Status::Published => "published",
        }
    }

    pub fn from_word(word: &str) -> Option<Status> {
        [Status::Draft, Status::Ready, Status::Published].into_iter().find(|status| status.as_str() == word)
    }
}

/// A checked article.
#[derive(Clone, Debug)]
pub struct Article {
    /// The file stem.
    pub id: String,
    /// As the person named it, for problems.
    pub file: String,
    pub title: String,
    /// Public: it is in the preheader and in the archive's list. Empty if there is none.
    pub summary: String,
    pub author: String,
    pub date: Option<NaiveDate>,
    /// Published address of the cover, empty if there is none.
    pub cover: String,
    pub extra: bool,
    /// Everybody may have all of it: a teaser tier needs no `<!-- more -->`.
    pub open: bool,
    /// Who gets the article at all; `None`: every tier of the edition. The caller decides by [`Article::is_for`].
    pub tiers: Option<Vec<TierId>>,
    pub status: Status,
    /// What is odd about it, and keeps nothing from being sent.
    pub warnings: Vec<Problem>,
    /// Files that have to be published before a mail leaves.
    pub media: Vec<Media>,
    /// Its place in the archive.
    pub url: String,
    /// The file with its front matter blanked, so that offsets are those of the file.
    source: String,
    gates: Gates,
    paths: Paths,
    labels: BTreeMap<TierId, String>,
    full_minutes: usize,
}

/// What one tier gets of an article.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierArticle {
    pub id: String,
    pub title: String,
    pub summary: String,
    pub author: String,
    pub url: String,
    pub cover: String,
    pub extra: bool,
    pub html: String,
    pub text: String,
    /// Of what this tier gets.
    pub reading_minutes: usize,
    /// Of the whole article, with every part for some tiers.
    pub full_minutes: usize,
    /// Whether `<!-- more -->` ended it for this tier.
    pub is_teaser: bool,
}

impl Article {
    /// Reads and checks `path`; pictures are looked for beside it.
    pub fn load(path: &Path, publication: &Publication) -> Result<(Article, Vec<Problem>), Vec<Problem>> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            let what = format!("cannot be read: {error}");
            vec![Problem::error(&file, Position::FILE, "", &what, "articles are UTF-8 text files")]
        })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Article::parse(&file, &text, folder, publication)
    }

    /// Checks `text`. The second half of the answer are warnings; on errors, warnings are among them.
    pub fn parse(
        file: &str,
        text: &str,
        folder: &Path,
        publication: &Publication,
    ) -> Result<(Article, Vec<Problem>), Vec<Problem>> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n").replace('\r', "\n");
        let tiers = publication.tier_ids();
        let front = front::read(file, &text, &tiers)?;
        if let Some(at) = markdown::too_deep(&text[front.body..]) {
            let at = Position::of(&text, front.body + at);
            let hint = "write it with fewer quotes, lists or marks inside of one another";
            return Err(vec![Problem::error(file, at, "nesting", "this is nested too deeply", hint)]);
        }
        let gates = Gates::read(file, &text, front.body, &tiers)?;
        let source = gates::blank(&text, std::iter::once(0..front.body));
        let mut resolver = Resolver {
            file,
            text: &text,
            folder,
            url: &publication.url,
            paths: Paths::default(),
            media: Vec::new(),
            problems: Vec::new(),
        };
        resolver.document(&Document::parse(&source));
        let cover = front
            .cover
            .as_ref()
            .and_then(|(written, at)| resolver.published(written, *at, "cover"))
            .unwrap_or_default();
        let Resolver { paths, media, mut problems, .. } = resolver;
        let id =
            Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let mut article = Article {
            url: format!("{}/archive/{id}", publication.url),
            labels: publication.tiers.iter().map(|tier| (tier.id.clone(), tier.label.clone())).collect(),
            id,
            file: file.to_owned(),
            title: front.title,
            summary: front.summary,
            author: front.author,
            date: front.date,
            cover,
            extra: front.extra,
            open: front.open,
            tiers: front.tiers,
            status: front.status,
            warnings: Vec::new(),
            media,
            source,
            gates,
            paths,
            full_minutes: 1,
        };
        problems.extend(bad_id(&article.id, file));
        problems.extend(markdown::place_holders(&article.source).into_iter().map(|at| {
            let (what, hint) =
                ("looks like a place holder", "nothing is filled in in an article; write it as `code`");
            Problem::warning(file, Position::of(&text, at), "leftover", what, hint)
        }));
        problems.extend(article.left_out(&text));
        article.full_minutes = minutes(&article.rendered(&article.source).1);
        problems.extend(publication.tiers.iter().flat_map(|tier| article.dangling(tier)));
        problems.sort();
        problems.dedup();
        if problems.iter().any(Problem::is_error) {
            return Err(problems);
        }
        article.warnings.clone_from(&problems);
        Ok((article, problems))
    }

    /// Raw HTML that no mail will hold, of which an editor would find out by looking only.
    fn left_out(&self, text: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (range, is_block) in markdown::raw_html(&self.source) {
            for gone in sanitise::dropped(&self.source[range.clone()], is_block) {
                let at = Position::of(text, range.start + gone.at);
                problems.push(Problem::warning(&self.file, at, "html", &gone.what, &gone.hint));
            }
        }
        problems
    }

    /// Of the whole article, with every part for some tiers.
    pub fn full_minutes(&self) -> usize {
        self.full_minutes
    }

    /// Whether the front matter lets `tier` have this article at all.
    pub fn is_for(&self, tier: &TierId) -> bool {
        self.tiers.as_ref().is_none_or(|tiers| tiers.contains(tier))
    }

    /// Why this tier must not get the article as it is: a teaser tier would get all of it, and nobody said that it may. The likeliest
    /// mistake is the one gate that was forgotten, so its absence is none of the ways to open an article.
    pub fn refusal(&self, tier: &Tier) -> Option<Problem> {
        let all = tier.articles == ArticleAccess::Teaser && !self.open && !self.gates.cuts_off(tier);
        all.then(|| {
            let what = format!("the tier \"{}\" gets the start of an article, and this one has no `<!-- more -->`", tier.id);
            let hint = "write `<!-- more -->` where its part ends, or open = true in the front matter to give it all";
            Problem::error(&self.file, Position::FILE, "more", &what, hint)
        })
    }

    /// Whether `tier` gets less than the whole, or nothing.
    pub fn is_cut_for(&self, tier: &Tier) -> bool {
        self.gates.cuts_off(tier) || self.refusal(tier).is_some()
    }

    /// What `tier` gets: the source is cut first, so what is rendered holds nothing else.
    pub fn for_tier(&self, tier: &Tier) -> TierArticle {
        let (html, text) = self.rendered(&self.gates.cut(&self.source, tier));
        TierArticle {
            id: self.id.clone(),
            title: self.title.clone(),
            summary: self.summary.clone(),
            author: self.author.clone(),
            url: self.url.clone(),
            cover: self.cover.clone(),
            extra: self.extra,
            reading_minutes: minutes(&text),
            full_minutes: self.full_minutes,
            is_teaser: self.gates.cuts_off(tier),
            html,
            text,
        }
    }

    fn rendered(&self, source: &str) -> (String, String) {
        let document = Document::parse(source);
        let label = |gate| self.label(gate);
        let around = Surroundings { paths: &self.paths, label: &label };
        (blocks::html(&document, &around), plain::text(&document, &around))
    }

    /// `For yearly and lifetime members`.
    fn label(&self, gate: usize) -> String {
        let ids = self.gates.opened_at(gate).unwrap_or_default();
        let names: Vec<String> = ids
            .iter()
            .map(|id| in_a_sentence(self.labels.get(id).map_or(id.as_str(), String::as_str)))
            .collect();
        match names.split_last() {
            Some((last, [])) => format!("For {last} members"),
            Some((last, others)) => format!("For {} and {last} members", others.join(", ")),
            None => "For members".to_owned(),
        }
    }

    /// References that `tier` sees whose definition it does not get.
    fn dangling(&self, tier: &Tier) -> Vec<Problem> {
        let cut = self.gates.cut(&self.source, tier);
        let left = markdown::references(&cut);
        let whole = markdown::references(&self.source);
        let visible = |at: &usize| !cut[*at..].starts_with(' ');
        let lost = whole.into_iter().filter(|at| !left.contains(at)).filter(visible);
        lost.map(|at| {
            let hint = "define it where everybody gets it, or use it in the same part only";
            let what = "is defined in a part that not everybody gets who sees this";
            Problem::error(&self.file, Position::of(&self.source, at), "reference", what, hint)
        })
        .collect()
    }
}

/// The id is part of an address.
fn bad_id(id: &str, file: &str) -> Option<Problem> {
    let good = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let hint = "use letters, digits, - and _ only";
    (!good).then(|| Problem::error(file, Position::FILE, "file name", "cannot be an article's id", hint))
}

/// A label within a sentence: `Yearly` becomes `yearly`, `VIP` stays.
fn in_a_sentence(label: &str) -> String {
    let mut chars = label.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(chars).collect(),
        _ => label.to_owned(),
    }
}

fn minutes(text: &str) -> usize {
    text.split_whitespace().count().div_ceil(WORDS_PER_MINUTE).max(1)
}
