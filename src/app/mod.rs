//! Layer 5: the only place where parts meet. `Setup` is everything that files say, checked; `Daemon` is everything that runs.

pub mod daemon;
mod setup;

pub use daemon::{Daemon, Parts, StartProblem};
pub use setup::Setup;
