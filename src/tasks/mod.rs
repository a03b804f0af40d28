//! Layer 4: the order of steps. Each worker is one public `step`; the loop around it is a few lines.

pub mod bodies;
pub mod health;
pub mod ledger;
pub mod send;
