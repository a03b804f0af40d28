//! All integration tests in one binary. One file per scenario.

mod architecture;
mod config_mistakes;
mod import_csv;
