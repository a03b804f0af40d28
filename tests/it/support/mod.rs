//! The world that tests live in: temporary stores of both dialects, a clock that stands still, a scripted SMTP peer.

pub mod certificates;
pub mod chromium;
pub mod clock;
pub mod cluster;
pub mod daemon;
pub mod dns;
pub mod doubles;
pub mod dovecot;
pub mod house;
pub mod http;
pub mod stores;

pub mod imap;
pub mod importing;
pub mod lmtp;
pub mod mailbox;
pub mod mutation;
pub mod peer;
pub mod postfix;
pub mod public;
pub mod receiving;
pub mod returns;
pub mod sending;
pub mod signing;
pub mod sink;
pub mod traffic;
