//! What the board asks for: the dates to come with what each tier gets, and an editor's orders.

use std::sync::Arc;

use super::content::Content;
use super::edition_orders::{self, By, Obeyed};
use super::editors::Word;
use super::{look, week};
use crate::domain::board::{Ahead, BoardOrder, Coming, Ordered, TierPlan};
use crate::domain::body::Piece;
use crate::domain::edition::EditionOrder;
use crate::domain::problem::Problem;
use crate::domain::publication::{ArticleAccess, PlannedEdition, TierId};
use crate::render::Status;
use crate::runtime::Timestamp;
use crate::store::{Store, StoreError, board, edition_articles, editions};

/// Problems of one tier that are told; `tidings check` tells all of them.
const TOLD: usize = 5;

/// Does what an editor orders, if the edition still stands as their page showed it.
///
/// # Errors
/// When the database fails. Nothing was done then.
pub async fn obey(
    store: &Store,
    content: &Content,
    order: &BoardOrder,
    now: Timestamp,
) -> Result<Ordered, StoreError> {
    let mut tx = store.write().await?;
    let Some(id) = editions::id(&mut tx, &order.slug).await? else { return Ok(Ordered::Unknown) };
    editions::hold(&mut tx, id).await?;
    let Some((stood, _)) = board::stood(&mut tx, &order.slug).await? else { return Ok(Ordered::Unknown) };
    if stood != order.stood {
        return Ok(Ordered::Moved);
    }
    let who = format!("by {}", order.by);
    let by = By { door: "board", who: &who };
    let slug = order.slug.as_str();
    let obeyed = match order.order {
        EditionOrder::Approve => {
            edition_orders::say(&mut tx, content, slug, (Word::Approve, by), now).await?
        }
        EditionOrder::Hold => edition_orders::say(&mut tx, content, slug, (Word::Hold, by), now).await?,
        other => edition_orders::change(&mut tx, slug, other, by, now).await?,
    };
    Ok(match obeyed {
        Obeyed::Done { .. } => {
            tx.commit().await?;
            Ordered::Done
        }
        Obeyed::Not { why, .. } => Ordered::Not(why),
        Obeyed::Unknown => Ordered::Unknown,
    })
}

/// The next `count` dates, and what each tier gets on the first of them, rendered as it would be sent.
///
/// # Errors
/// When the database fails.
pub async fn ahead(
    store: &Store,
    content: &Arc<Content>,
    now: Timestamp,
    count: usize,
) -> Result<Ahead, StoreError> {
    let forecast = week::forecast(store, content, now, count).await?;
    let title = |id: &String| content.articles.get(id).map_or(id, |article| &article.title).clone();
    let mut ahead = Ahead { ready: ready(store, content).await?, ..Ahead::default() };
    for date in &forecast {
        ahead.dates.push(Coming {
            slug: date.slug.clone(),
            due_at: date.due_at,
            articles: date.articles.iter().map(title).collect(),
            people: date.audience.values().sum(),
        });
    }
    let Some(first) = forecast.first() else { return Ok(ahead) };
    let Some(due) = week::planned(content, &first.slug, now)? else { return Ok(ahead) };
    let Ok(edition) = week::plan(store, content, &due).await? else { return Ok(ahead) };
    ahead.approval = edition.approval;
    let lapsed = content.publication.lapsed_tier.as_ref();
    ahead.left_out = look::left_out(store, lapsed, &first.audience, first.due_at).await?;
    let number = editions::queued_count(&mut store.read().await?).await? + 1;
    let content = content.clone();
    let audience = first.audience.clone();
    let rendered = tokio::task::spawn_blocking(move || {
        let people = |tier: &TierId| audience.get(tier.as_str()).copied().unwrap_or_default();
        let plan = |tier: &TierId| plan(&content, &edition, tier, (number, people(tier)));
        edition.tiers.iter().map(plan).collect::<Vec<_>>()
    });
    let rendered =
        rendered.await.map_err(|error| StoreError::Corrupt { what: "a plan", why: error.to_string() })?;
    for (subject, tier) in rendered {
        if ahead.subject.is_empty() {
            ahead.subject = subject;
        }
        ahead.tiers.push(tier);
    }
    Ok(ahead)
}

/// Titles and minutes of what waits to be sent.
async fn ready(store: &Store, content: &Content) -> Result<Vec<(String, usize)>, StoreError> {
    let used = edition_articles::used(&mut store.read().await?).await?;
    let waiting = content.articles.values().filter(|article| article.status == Status::Ready);
    let waiting = waiting.filter(|article| !used.contains(&article.id));
    Ok(waiting.map(|article| (article.title.clone(), article.full_minutes())).collect())
}

/// The subject, and what one tier gets.
fn plan(
    content: &Content,
    edition: &PlannedEdition,
    tier: &TierId,
    (number, people): (u64, i64),
) -> (String, TierPlan) {
    let known = content.publication.tier(tier);
    let label = known.map_or_else(|| tier.0.clone(), |tier| tier.label.clone());
    let articles = edition.articles.len();
    let gets = match known.map(|tier| tier.articles) {
        Some(ArticleAccess::Full) => format!("{articles} in full"),
        _ => format!("the start of {articles}"),
    };
    let said = |problems: &[Problem]| -> Vec<String> {
        problems.iter().take(TOLD).map(|problem| problem.problem.clone()).collect()
    };
    match content.render(edition, tier, number) {
        Ok((body, warnings)) => {
            let subject = literal(&body.subject);
            let bytes = literal(&body.html).len();
            let problems = said(&warnings);
            (subject, TierPlan { label, people, gets, bytes, problems, is_stopped: false })
        }
        Err(problems) => {
            let problems = said(&problems);
            (String::new(), TierPlan { label, people, gets, bytes: 0, problems, is_stopped: true })
        }
    }
}

/// What is the same for everybody.
fn literal(pieces: &[Piece]) -> String {
    let literals = pieces.iter().filter_map(|piece| match piece {
        Piece::Literal(text) => Some(text.as_str()),
        _ => None,
    });
    literals.collect()
}
