//! Layer 1: rules and types, pure. No async, no clock, no SQL, no wire format.

pub mod address;
pub mod body;
pub mod delivery;
pub mod problem;
pub mod publication;
pub mod settings;
pub mod subscriber;
pub mod token;
pub mod verdict;
pub mod wall_clock;
mod words;
