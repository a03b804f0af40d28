//! All integration tests in one binary. One file per scenario.

mod compose_wire;
mod config_mistakes;
mod import_csv;
mod store_suite;
mod support;
