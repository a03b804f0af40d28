//! From the path of `tidings.toml` to everything that is needed to run, or to every problem at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::signing;
use crate::config::{self, Paths};
use crate::domain::problem::{Position, Problem};
use crate::domain::settings::Settings;
use crate::mail::compose::{Compiled, Frame};
use crate::mail::dkim::Signer;
use crate::mail::parse::Own;
use crate::mail::token::Keyring;
use crate::tasks::content::{Content, Places, Shelf};
use crate::tasks::frames;

/// Checked files.
#[derive(Clone)]
pub struct Setup {
    pub settings: Settings,
    pub content: Arc<Content>,
    /// The same, for who runs for long: it follows the files.
    pub shelf: Arc<Shelf>,
    pub keyring: Arc<Keyring>,
    /// `None`: mail leaves unsigned.
    pub signer: Option<Arc<Signer>>,
    pub paths: Paths,
}

impl Setup {
    /// Reads and checks both files, the articles and the templates. The second half of the answer are all problems, warnings
    /// among them; with an error there is no setup.
    pub fn load(
        config: &Path,
        env: &BTreeMap<String, String>,
        flags: &[(String, String)],
    ) -> (Option<Setup>, Vec<Problem>) {
        let loaded = config::load(config, env, flags);
        let mut problems = loaded.problems;
        let keyring = loaded.settings.as_ref().and_then(|settings| match Keyring::new(&settings.secrets) {
            Ok(keyring) => Some(Arc::new(keyring)),
            Err(problem) => {
                let file = loaded.paths.settings.display().to_string();
                problems.push(Problem::error(&file, Position::FILE, "secret", &problem.to_string(), ""));
                None
            }
        });
        let signer = loaded.settings.as_ref().and_then(|settings| {
            let from = loaded.publication.as_ref().map(|publication| &publication.from.address);
            let (signer, more) = signing::signer(settings, from);
            problems.extend(more);
            signer
        });
        // Articles can only be checked against tiers, but without the operator's file as well.
        let settings = loaded.settings.as_ref();
        let places = Places {
            publication: loaded.paths.publication.clone(),
            articles: loaded.paths.articles.clone(),
            templates: settings.and_then(|settings| settings.templates.clone()),
        };
        let support = settings.map_or("", |settings| settings.desk.mailbox.address.as_str());
        let content = loaded.publication.and_then(|publication| {
            let (content, more) = Content::load(publication, &places, support);
            problems.extend(more);
            content
        });
        if let (Some(settings), Some(content)) = (settings, &content) {
            problems.extend(unfit_mails(settings, content));
        }
        let setup = match (loaded.settings, content, keyring) {
            (Some(settings), Some(content), Some(keyring)) => {
                let (path, env, flags) = (config.to_owned(), env.clone(), flags.to_owned());
                let reload = Box::new(move || {
                    let (setup, problems) = Setup::load(&path, &env, &flags);
                    (setup.map(|setup| Content::clone(&setup.content)), problems)
                });
                let shelf = Arc::new(Shelf::new(content.clone(), places, reload));
                let content = Arc::new(content);
                Some(Setup { settings, content, shelf, keyring, signer, paths: loaded.paths })
            }
            _ => None,
        };
        (setup.filter(|_| !problems.iter().any(Problem::is_error)), problems)
    }

    /// The frame of editions.
    pub fn edition_frame(&self) -> Frame {
        frames::edition(&self.settings, &self.content.publication)
    }

    /// The frame of notices to staff.
    pub fn notice_frame(&self) -> Frame {
        frames::notice(&self.settings, &self.content.publication)
    }

    /// Our own addresses, as intake and loop tests know them.
    pub fn own(&self) -> Own {
        let addresses = &self.settings.addresses;
        let named = [Some(&self.content.publication.from.address), Some(&self.settings.desk.mailbox.address)];
        let patterns = [Some(&addresses.reply), Some(&addresses.bounce), addresses.unsubscribe.as_ref()];
        Own {
            message_id_domain: self.settings.message_id_domain.clone(),
            addresses: named
                .into_iter()
                .flatten()
                .chain(addresses.join.as_ref())
                .map(|address| address.as_str().to_owned())
                .collect(),
            patterns: patterns.into_iter().flatten().cloned().collect(),
        }
    }
}

/// What only shows when a body becomes a mail: a subject that no header holds, a URL that is too long.
fn unfit_mails(settings: &Settings, content: &Content) -> Vec<Problem> {
    let frame = frames::edition(settings, &content.publication);
    let mut problems = Vec::new();
    for edition in &content.publication.editions {
        for tier in &edition.tiers {
            let Ok((body, _)) = content.render(edition, tier, 1) else { continue };
            if let Err(problem) = Compiled::new(&frame, &body) {
                let key = format!("editions.{}.{tier}", edition.slug);
                problems.push(Problem::error(&edition.slug, Position::FILE, &key, &problem.to_string(), ""));
            }
        }
    }
    problems
}
