//! What decides what somebody reads in the archive: which articles went out to a tier, and which extras a person got. A question
//! over editions, their articles and deliveries.

use std::collections::BTreeSet;

use super::sql::rows;
use super::{StoreError, Tx};

/// The articles of extra editions that were accepted for this person. One look-up for each extra edition.
///
/// # Errors
/// When the database fails.
pub async fn extras_got(tx: &mut Tx, subscriber: i64) -> Result<BTreeSet<String>, StoreError> {
    // The joins keep their order: few editions are extras.
    const SQL: &str = "SELECT a.article_id FROM editions e CROSS JOIN deliveries d CROSS JOIN edition_articles a \
        WHERE e.extra = 1 AND d.edition_id = e.id AND d.subscriber_id = $1 AND d.state = 'accepted' \
        AND a.edition_id = e.id";
    Ok(rows!(tx, (String,), SQL, subscriber)?.into_iter().map(|(id,)| id).collect())
}
