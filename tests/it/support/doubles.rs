//! What a peer has after crashes: nobody is missing, and whoever has more than one mail has the very same one.

use std::collections::HashMap;

use mail_parser::MessageParser;

use super::peer::{Peer, Taken};

fn message_id(mail: &Taken) -> String {
    MessageParser::new().parse(&mail.bytes).unwrap().message_id().unwrap().to_owned()
}

/// Everybody has at least one mail; further ones are the very same message. Answers how many further ones there are.
pub fn doubles(peer: &Peer, people: &[String]) -> usize {
    let taken = peer.taken();
    let mut first: HashMap<&str, &Taken> = HashMap::new();
    let mut ids = HashMap::new();
    for mail in &taken {
        let one = first.entry(mail.to.as_str()).or_insert(mail);
        if std::ptr::eq(*one, mail) {
            assert_eq!(ids.insert(message_id(mail), mail.to.clone()), None, "one id for two people");
        }
        assert_eq!((&one.from, message_id(one)), (&mail.from, message_id(mail)));
        assert!(one.bytes == mail.bytes, "a double of {} differs", mail.to);
    }
    let missed: Vec<_> = people.iter().filter(|person| !first.contains_key(person.as_str())).collect();
    assert!(missed.is_empty(), "missed: {missed:?}");
    assert_eq!(first.len(), people.len());
    taken.len() - first.len()
}

/// Nobody has more than one.
pub fn no_doubles(peer: &Peer) {
    let mut recipients: Vec<String> = peer.taken().into_iter().map(|mail| mail.to).collect();
    let taken = recipients.len();
    recipients.sort();
    recipients.dedup();
    assert_eq!(recipients.len(), taken, "somebody has more than one");
}
