//! All integration tests in one binary. One file per scenario.

mod config_mistakes;
mod import_csv;
