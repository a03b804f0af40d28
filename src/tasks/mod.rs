//! Layer 4: the order of steps. Each worker is one public `step`; the loop around it is a few lines.

pub mod alarm;
pub mod backup;
pub mod bodies;
pub mod breakers;
pub mod content;
pub mod editors;
mod evidence;
pub mod export;
pub mod frames;
pub mod health;
pub mod lease;
pub mod ledger;
pub mod measure;
pub mod notice;
pub mod people;
pub mod proof;
pub mod receive;
pub mod report;
pub mod restore;
pub mod schedule;
pub mod send;
pub mod shares;
pub mod signing;
pub mod threading;
pub mod traffic;
pub mod watch;
pub mod week;
