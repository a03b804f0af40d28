//! All integration tests in one binary. One file per scenario.
