//! What people do to an edition that is queued, by command and on the board: a change of state and who made it, in the caller's
//! transaction. Editors' words by mail go through [`super::editors`], which this uses for the same words.

use super::content::Content;
use super::editors::{self, Changed, Word};
use crate::domain::edition::{EditionOrder, EditionState};
use crate::runtime::Timestamp;
use crate::store::{StoreError, Tx, audit, deliveries, editions};

/// Whose change it is: the door it came through, and "by ..." for the reason.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    pub door: &'a str,
    pub who: &'a str,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obeyed {
    Done {
        id: i64,
        to: EditionState,
    },
    /// It is in this state, and cannot be moved from there; or why else not.
    Not {
        state: EditionState,
        why: String,
    },
    /// It is not queued.
    Unknown,
}

/// Pauses, resumes or cancels. Of a cancelled one, whoever asks or whoever tidies skips the rest.
///
/// # Errors
/// When the database fails.
pub async fn change(
    tx: &mut Tx,
    slug: &str,
    order: EditionOrder,
    by: By<'_>,
    now: Timestamp,
) -> Result<Obeyed, StoreError> {
    let (Some(was), Some(id)) = (editions::standing(tx, slug).await?, editions::id(tx, slug).await?) else {
        return Ok(Obeyed::Unknown);
    };
    let to = order.to();
    let reason = if to == EditionState::Sending { String::new() } else { format!("{to} {}", by.who) };
    if !editions::change_state(tx, slug, order.from(), to, &reason, now).await? {
        let why = format!("it is {} and cannot become {to}", was.state);
        return Ok(Obeyed::Not { state: was.state, why });
    }
    written(tx, slug, (was.state, to), by, now).await?;
    Ok(Obeyed::Done { id, to })
}

/// What came of trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    /// So many deliveries.
    Done(u64),
    /// Nothing of it is sent any more.
    Over(EditionState),
    Unknown,
}

/// Tries again what waits for a word. Nobody closes the edition meanwhile.
///
/// # Errors
/// When the database fails.
pub async fn retry(tx: &mut Tx, slug: &str, by: By<'_>, now: Timestamp) -> Result<Retried, StoreError> {
    let Some(id) = editions::id(tx, slug).await? else { return Ok(Retried::Unknown) };
    editions::hold(tx, id).await?;
    let Some(was) = editions::standing(tx, slug).await? else { return Ok(Retried::Unknown) };
    if was.state.is_over() {
        return Ok(Retried::Over(was.state));
    }
    let count = deliveries::retry_held(tx, editions::stream(id), now).await?;
    editions::change_state(tx, slug, &[EditionState::Attention], EditionState::Sending, "", now).await?;
    audit::record(tx, now, by.door, "edition retry", slug, &format!("{count} deliveries")).await?;
    Ok(Retried::Done(count))
}

/// Does what an editor says.
///
/// # Errors
/// When the database fails.
pub async fn say(
    tx: &mut Tx,
    content: &Content,
    slug: &str,
    (word, by): (Word, By<'_>),
    now: Timestamp,
) -> Result<Obeyed, StoreError> {
    let (Some(was), Some(id)) = (editions::standing(tx, slug).await?, editions::id(tx, slug).await?) else {
        return Ok(Obeyed::Unknown);
    };
    match editors::obey(tx, content, slug, (word, by.who), now).await? {
        Changed::Done(to) => {
            written(tx, slug, (was.state, to), by, now).await?;
            Ok(Obeyed::Done { id, to })
        }
        Changed::Not(why) => Ok(Obeyed::Not { state: was.state, why }),
    }
}

async fn written(
    tx: &mut Tx,
    slug: &str,
    (was, to): (EditionState, EditionState),
    by: By<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let detail = format!("was {was}; {}", by.who);
    audit::record(tx, now, by.door, &format!("edition {to}"), slug, &detail).await
}
