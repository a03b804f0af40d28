//! A support conversation as text: what the inbox command and the demo print.

use std::fmt::Write;

use crate::store::threads::{PostRow, ThreadRow};

/// A conversation as one reads it.
pub fn conversation(thread: &ThreadRow, posts: &[PostRow]) -> String {
    let mut out = String::new();
    let tier = thread.tier.as_deref().unwrap_or("no subscriber");
    // Writing to a String cannot fail.
    let _ = writeln!(out, "#{} {} ({})", thread.number, thread.subject, thread.state);
    let _ = writeln!(out, "{} <{}>, {tier}", thread.name, thread.subscriber);
    if let Some(edition) = &thread.edition {
        let _ = writeln!(out, "about {edition}");
    }
    for post in posts {
        let _ = writeln!(out, "\n-- {} {} at {}", post.kind, post.from, post.at);
        let _ = writeln!(out, "{}", post.text.trim_end());
        let folded = post.folded.lines().count();
        if folded > 0 {
            let _ = writeln!(out, "[{folded} quoted lines are folded]");
        }
        for file in &post.attachments {
            let _ = writeln!(out, "[{}: {}, {} bytes]", file.name, file.media_type, file.bytes);
        }
    }
    out.trim_end().to_owned()
}
