//! `edition_articles`: which articles an edition took.

use super::sql::{markers, rows, rows_each, run};
use super::{StoreError, Tx};

/// Articles that any edition has taken.
///
/// # Errors
/// When the database fails.
pub async fn used(tx: &mut Tx) -> Result<Vec<String>, StoreError> {
    let found = rows!(tx, (String,), "SELECT DISTINCT article_id FROM edition_articles")?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// Whether a slot may still take these articles. Slots take what no edition has, and two processes may queue for two slots at the same
/// moment: the second one waits here until the first one is done, and then sees what it took.
///
/// # Errors
/// When the database fails.
pub async fn are_free(tx: &mut Tx, articles: &[String]) -> Result<bool, StoreError> {
    const ONE_AT_A_TIME: &str =
        "UPDATE slots SET since = since WHERE name = (SELECT min(first.name) FROM slots AS first)";
    if articles.is_empty() {
        return Ok(true);
    }
    run!(tx, ONE_AT_A_TIME)?;
    let sql = format!(
        "SELECT CAST(1 AS BIGINT) FROM edition_articles WHERE article_id IN ({}) LIMIT 1",
        markers(articles.len(), 1)
    );
    let taken = rows_each!(tx, (i64,), sql, articles, |query, article| query.bind(article.as_str()))?;
    Ok(taken.is_empty())
}

/// # Errors
/// When the database fails.
pub async fn enter(tx: &mut Tx, edition: i64, articles: &[String]) -> Result<(), StoreError> {
    const SQL: &str = "INSERT INTO edition_articles (edition_id, position, article_id) VALUES ($1, $2, $3)";
    for (position, article) in articles.iter().enumerate() {
        run!(tx, SQL, edition, position as i64, article.as_str())?;
    }
    Ok(())
}
