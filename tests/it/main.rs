//! All integration tests in one binary. One file per scenario.

mod notice_to_staff;
mod render_support;
mod tier_gates;
