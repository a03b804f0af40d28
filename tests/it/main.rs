//! All integration tests in one binary. One file per scenario.

mod architecture;
mod commands_answer;
mod compose_wire;
mod config_mistakes;
mod import_csv;
mod inbound_corpus;
mod inbound_rubbish;
mod killed_and_restarted;
mod lmtp_dialogue;
mod notice_to_staff;
mod owner_falls_silent;
mod peer_refuses;
mod peer_takes_everything;
mod real_postfix;
mod render_support;
mod rubbish_arrives;
mod stopped_by_sigterm;
mod store_suite;
mod support;
mod tier_gates;
