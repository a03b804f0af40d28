//! All integration tests in one binary. One file per scenario.

mod compose_wire;
mod store_suite;
mod support;
