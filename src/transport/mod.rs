//! Layer 3: sending. One `Session` is one SMTP connection to a relay; one `Pacer` holds a relay's rate limits.
//!
//! Transport tells what happened and decides nothing: no retry, no suppression, no state of a delivery.

mod body;
mod hello;
mod link;
pub mod pacer;
pub mod page;
pub mod probe;
mod reply;
pub mod session;

pub use hello::ConnectProblem;
pub use pacer::Pacer;
pub use session::{Attempt, Session, Timeouts};
