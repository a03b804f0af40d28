//! Layer 2: bytes of mail. Outgoing messages from frozen bodies, inbound bytes to plain values, and the tokens that join the two.

pub mod authentication;
pub mod author;
pub mod canonical;
pub mod compose;
mod constant;
pub mod dkim;
pub mod dkim_key;
mod enclosed;
pub mod encode;
pub mod envelope;
pub mod files;
pub mod forward;
mod frame;
pub mod header;
pub mod html;
mod mime;
pub mod parse;
pub mod secret;
pub mod token;
pub mod trim;
