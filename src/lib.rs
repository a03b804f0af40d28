//! Tidings.
pub mod app;
pub mod cli;
pub mod config;
pub mod demo;
pub mod domain;
pub mod import;
pub mod intake;
pub mod mail;
pub mod render;
pub mod runtime;
pub mod store;
pub mod tasks;
pub mod transport;
