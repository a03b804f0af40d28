//! All integration tests in one binary. One file per scenario.

mod architecture;
mod compose_wire;
mod config_mistakes;
mod import_csv;
mod import_into_store;
mod inbound_corpus;
mod inbound_rubbish;
mod lmtp_dialogue;
mod notice_to_staff;
mod peer_refuses;
mod peer_takes_everything;
mod render_support;
mod store_suite;
mod support;
mod tier_gates;
