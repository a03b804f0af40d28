//! All integration tests in one binary. One file per scenario.

mod architecture;
mod compose_wire;
mod config_mistakes;
mod import_csv;
mod inbound_corpus;
mod inbound_rubbish;
mod lmtp_dialogue;
mod peer_refuses;
mod peer_takes_everything;
mod store_suite;
mod support;
mod notice_to_staff;
mod render_support;
mod tier_gates;
