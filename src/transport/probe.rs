//! A connection to a relay as sending opens it, TLS and login with it, that ends before any mail.

use super::hello::{self, ConnectProblem};
use super::session::{Session, Timeouts};
use crate::domain::settings::RelaySettings;

/// What a relay was like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// The first line that it said, without its code.
    pub greeting: String,
    /// The largest message that it takes, where it says so.
    pub size: Option<u64>,
}

/// Connects, says EHLO, encrypts and logs in as the settings say, and leaves.
///
/// # Errors
/// As [`Session::connect`].
pub async fn probe(relay: &RelaySettings, timeouts: Timeouts) -> Result<Probed, ConnectProblem> {
    let opened = hello::open(relay, &timeouts).await?;
    let probed = Probed { greeting: opened.greeting.clone(), size: opened.offers.size };
    Session::of(opened, relay, timeouts).quit().await;
    Ok(probed)
}
