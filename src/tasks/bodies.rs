//! Frozen bodies, compiled once and shared by all connections. Bounded: an edition has one per tier, a notice one of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::domain::body::Body;
use crate::mail::compose::{Compiled, Frame};
use crate::mail::files::{File, Shown};
use crate::store::answers::{self, BodyFile};
use crate::store::{Store, StoreError, bodies};

/// About 200 kB each: two editions of four tiers and many notices.
const KEPT: usize = 64;

/// The compiled bodies that were used last.
#[derive(Debug, Default)]
pub struct Bodies(Mutex<HashMap<i64, Arc<Compiled>>>);

impl Bodies {
    /// # Errors
    /// Why there is no compiled body.
    pub async fn get(&self, store: &Store, id: i64) -> Result<Arc<Compiled>, BodyProblem> {
        if let Some(known) = self.lock().get(&id) {
            return Ok(known.clone());
        }
        let (compiled, with_files) = load(store, id).await?;
        let compiled = Arc::new(compiled);
        // One recipient gets it, and its files may have many megabytes.
        if with_files {
            return Ok(compiled);
        }
        let mut known = self.lock();
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(id, compiled.clone());
        Ok(compiled)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<i64, Arc<Compiled>>> {
        // The map is whole between any two statements that may panic.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Why a body cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BodyProblem {
    /// The body is sound, the store is away: later it works.
    #[error("the store cannot be read: {0}")]
    Store(#[from] StoreError),
    /// Our own fault, for whoever gets it.
    #[error("body {id}: {why}")]
    Broken { id: i64, why: String },
}

/// The compiled body, and whether files go with it.
async fn load(store: &Store, id: i64) -> Result<(Compiled, bool), BodyProblem> {
    let mut tx = store.read().await?;
    let (frame, body) = bodies::by_id(&mut tx, id).await?;
    let files = answers::files(&mut tx, id).await?;
    drop(tx);
    let broken = |why: String| BodyProblem::Broken { id, why };
    let frame: Frame = serde_json::from_str(&frame).map_err(|error| broken(error.to_string()))?;
    let body: Body = serde_json::from_str(&body).map_err(|error| broken(error.to_string()))?;
    let compiled = Compiled::new(&frame, &body).map_err(|problem| broken(problem.to_string()))?;
    let file = |file: BodyFile| File {
        name: file.name,
        media_type: file.media_type,
        octets: file.octets,
        shown: Shown::Nowhere,
    };
    let files: Vec<File> = files.into_iter().map(file).collect();
    Ok((compiled.with_files(&files), !files.is_empty()))
}
