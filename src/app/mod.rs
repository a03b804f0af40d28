//! Layer 5: the only place where parts meet. `Setup` is everything that files say, checked; `Daemon` is everything that runs;
//! `Failure` is how either says no.

mod conversation;
pub mod daemon;
mod doors;
mod failure;
pub mod gallery;
pub mod house;
mod keeping;
mod operations;
pub mod public;
mod receiving;
mod setup;
mod signing;

pub use conversation::conversation;
pub use daemon::{Daemon, Parts, StartProblem};
pub use failure::Failure;
pub use operations::restored;
pub use receiving::{desk, receiver};
pub use setup::Setup;
