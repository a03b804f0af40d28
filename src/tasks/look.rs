//! What editors look at before an edition leaves: each tier's mail as it would be sent, and who gets none.
//!
//! The mail is the proof of [`super::proof`], so the page, `tidings preview` and the reader show the same; it is filled in for a sample
//! reader, and its links change nothing for anybody.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::content::Content;
use super::proof::{self, Proof, ProofProblem, Sample};
use crate::domain::address::Address;
use crate::domain::board::{LeftOut, Look, TierLook};
use crate::domain::body::fill;
use crate::domain::problem::Problem;
use crate::domain::publication::TierId;
use crate::domain::subscriber::SAMPLE_NAME;
use crate::mail::compose::Frame;
use crate::runtime::Timestamp;
use crate::store::board::Standing;
use crate::store::{Store, StoreError, board};

/// Problems that are told; `tidings check` tells all of them.
const TOLD: usize = 10;

/// Each tier's mail of this edition.
///
/// # Errors
/// When the database fails.
pub async fn look(
    store: &Store,
    content: &Arc<Content>,
    frame: &Frame,
    slug: &str,
    now: Timestamp,
) -> Result<Look, StoreError> {
    let (store, content, frame, slug) = (store.clone(), content.clone(), frame.clone(), slug.to_owned());
    // Rendering takes time that sending needs.
    let here = tokio::runtime::Handle::current();
    let looked = tokio::task::spawn_blocking(move || {
        let proofs = here.block_on(proof::of(Some(&store), &content, &frame, &slug, now));
        proofs.map(|proofs| proofs.iter().map(|proof| shown(&content, proof)).collect::<Vec<_>>())
    });
    let looked =
        looked.await.map_err(|error| StoreError::Corrupt { what: "a preview", why: error.to_string() })?;
    Ok(match looked {
        Ok(tiers) => Look::Shown(tiers),
        Err(ProofProblem::Store(error)) => return Err(error),
        Err(ProofProblem::Unknown) => Look::Unknown,
        Err(ProofProblem::Nothing(why)) => Look::Nothing(why),
        Err(ProofProblem::Files(problems)) => Look::Problems(said(&problems)),
    })
}

fn shown(content: &Content, proof: &Proof) -> TierLook {
    let publication = &content.publication;
    let label = publication.tier(&proof.tier).map(|tier| tier.label.clone());
    let address = Address::trusted("reader@example.org".into());
    let label = label.unwrap_or_else(|| proof.tier.to_string());
    let sample = Sample { name: SAMPLE_NAME, address: address.as_str(), tier_label: &label, term_ends: "" };
    let values = proof::values(publication, &proof.frame, &sample);
    TierLook {
        tier: proof.tier.to_string(),
        subject: fill(&proof.body.subject, &values),
        html: fill(&proof.body.html, &values),
        text: fill(&proof.body.text, &values),
        warnings: said(&proof.warnings),
        frozen: proof.edition != 0,
        label,
    }
}

fn said(problems: &[Problem]) -> Vec<String> {
    problems.iter().take(TOLD).map(ToString::to_string).collect()
}

/// Who gets nothing of an edition at `at` that has these tiers, each with how many get it. People are counted once, by the first
/// reason that holds.
///
/// # Errors
/// When the database fails.
pub async fn left_out(
    store: &Store,
    lapsed: Option<&TierId>,
    audience: &BTreeMap<String, i64>,
    at: Timestamp,
) -> Result<Vec<(LeftOut, i64)>, StoreError> {
    let everybody = board::everybody(&mut store.read().await?, lapsed, at).await?;
    let mut counts: BTreeMap<LeftOut, i64> = BTreeMap::new();
    for (standing, people) in everybody {
        let (reason, people) = match standing {
            Standing::Out(reason) => (reason, people),
            Standing::In(tier) => match tier.and_then(|tier| audience.get(tier.as_str()).copied()) {
                // Only a limit keeps them from what their tier gets.
                Some(get_it) => (LeftOut::ExtrasUsed, people - get_it),
                None => (LeftOut::NotEntitled, people),
            },
        };
        *counts.entry(reason).or_default() += people;
    }
    Ok(counts.into_iter().filter(|(_, people)| *people > 0).collect())
}
