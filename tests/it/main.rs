//! All integration tests in one binary. One file per scenario.

mod store_suite;
mod support;
mod compose_wire;
