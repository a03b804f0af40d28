//! `bodies`: what a mail says, frozen: of an edition and a tier, of a proof, or of a single message.

use super::sql::{row, rows};
use super::{StoreError, Tx};
use crate::domain::publication::TierId;

/// One tier's frozen body as it is stored.
#[derive(Clone, Debug)]
pub struct NewBody {
    pub tier: TierId,
    /// JSON of `mail`'s frame.
    pub frame: String,
    /// JSON of `domain::body::Body`.
    pub body: String,
    /// How many extras a person of this tier may have in a term; `None`: the edition is none.
    pub extra_limit: Option<i64>,
}

/// A message that is not an edition's: its own frozen body.
///
/// # Errors
/// When the database fails.
pub async fn add(tx: &mut Tx, frame: &str, body: &str) -> Result<i64, StoreError> {
    const SQL: &str = "INSERT INTO bodies (audience, frame, body) VALUES (1, $1, $2) RETURNING id";
    let (id,) = row!(tx, (i64,), SQL, frame, body)?
        .ok_or(StoreError::Corrupt { what: "a body", why: "no id came back".into() })?;
    Ok(id)
}

/// The frame and body of one row, as JSON.
///
/// # Errors
/// When the database fails or the row is gone.
pub async fn by_id(tx: &mut Tx, id: i64) -> Result<(String, String), StoreError> {
    const SQL: &str = "SELECT frame, body FROM bodies WHERE id = $1";
    row!(tx, (String, String), SQL, id)?
        .ok_or(StoreError::Corrupt { what: "a delivery", why: format!("its body {id} is gone") })
}

/// Whether its words were thrown away: they were too old, or their person was erased.
pub fn is_emptied(body: &str) -> bool {
    body == "{}"
}

/// A body that is a proof: of a tier, and of no edition.
///
/// # Errors
/// When the database fails.
pub async fn add_proof(tx: &mut Tx, body: &NewBody) -> Result<i64, StoreError> {
    const SQL: &str = "INSERT INTO bodies (tier, audience, frame, body) VALUES ($1, 1, $2, $3) RETURNING id";
    let (id,) = row!(tx, (i64,), SQL, body.tier.as_str(), body.frame.as_str(), body.body.as_str())?
        .ok_or(StoreError::Corrupt { what: "a body", why: "no id came back".into() })?;
    Ok(id)
}

/// The ids of an edition's frozen bodies.
///
/// # Errors
/// When the database fails.
pub async fn ids(tx: &mut Tx, slug: &str) -> Result<Vec<i64>, StoreError> {
    const SQL: &str = "SELECT b.id FROM bodies b JOIN editions e ON e.id = b.edition_id \
        WHERE e.slug = $1 AND b.tier IS NOT NULL ORDER BY b.id";
    Ok(rows!(tx, (i64,), SQL, slug)?.into_iter().map(|(id,)| id).collect())
}

/// The frozen bodies of an edition: id, tier, frame, body.
///
/// # Errors
/// When the database fails.
pub async fn of_edition(tx: &mut Tx, slug: &str) -> Result<Vec<(i64, String, String, String)>, StoreError> {
    const SQL: &str = "SELECT b.id, b.tier, b.frame, b.body FROM bodies b JOIN editions e ON e.id = b.edition_id \
        WHERE e.slug = $1 AND b.tier IS NOT NULL ORDER BY b.id";
    Ok(rows!(tx, (i64, String, String, String), SQL, slug)?)
}
