//! All integration tests in one binary. One file per scenario.

mod render_support;
mod tier_gates;
