//! Layer 1: rules and types, pure. No async, no clock, no SQL, no wire format.

pub mod address;
pub mod alarm;
pub mod article_queue;
pub mod bearing;
pub mod body;
pub mod breaker;
pub mod delivery;
pub mod edition;
pub mod entitlement;
pub mod inbound;
pub mod limit;
pub mod problem;
pub mod publication;
pub mod reply_rule;
pub mod sender;
pub mod settings;
pub mod slot_rule;
pub mod slow_down;
pub mod subscriber;
pub mod suppression;
pub mod thread;
pub mod token;
pub mod verdict;
pub mod wall_clock;
pub(crate) mod words;
