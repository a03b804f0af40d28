//! All integration tests in one binary. One file per scenario.

mod answer_arrives;
mod architecture;
mod audience_rule;
mod compose_wire;
mod config_mistakes;
mod edition_falls_due;
mod import_csv;
mod inbound_corpus;
mod inbound_rubbish;
mod lmtp_dialogue;
mod notice_to_staff;
mod peer_refuses;
mod peer_takes_everything;
mod people_are_exported;
mod people_are_imported;
mod people_from_elsewhere;
mod render_support;
mod store_suite;
mod support;
mod tier_gates;
