//! All integration tests in one binary. One file per scenario.

mod answer_arrives;
mod architecture;
mod audience_rule;
mod commands_answer;
mod compose_wire;
mod config_mistakes;
mod edition_falls_due;
mod import_csv;
mod inbound_corpus;
mod inbound_rubbish;
mod killed_and_restarted;
mod lmtp_dialogue;
mod notice_to_staff;
mod owner_falls_silent;
mod peer_refuses;
mod peer_takes_everything;
mod people_are_imported;
mod real_postfix;
mod render_support;
mod rubbish_arrives;
mod slot_falls_due;
mod stopped_by_sigterm;
mod store_suite;
mod support;
mod tier_gates;
