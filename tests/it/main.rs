//! All integration tests in one binary. One file per scenario.

mod compose_wire;
