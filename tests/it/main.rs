//! All integration tests in one binary. One file per scenario.

mod compose_wire;
mod inbound_corpus;
mod inbound_rubbish;
mod lmtp_dialogue;
