//! Layer 2: bytes of mail. Outgoing messages from frozen bodies, inbound bytes to plain values, and the tokens that join the two.

mod arf;
pub mod authentication;
pub mod author;
mod bounce_text;
pub mod canonical;
pub mod compose;
mod constant;
pub mod display;
pub mod dkim;
pub mod dkim_key;
mod dsn;
mod enclosed;
pub mod encode;
pub mod files;
mod flowed;
pub mod forward;
mod frame;
pub mod header;
pub mod html;
mod leaves;
mod mime;
pub mod parse;
pub mod report;
pub mod secret;
mod signs;
pub mod token;
pub mod trim;
