//! Which thread a message belongs to: token, then In-Reply-To, then References from the right, and only for somebody who takes
//! part in that thread.
//!
//! Never by subject, number or Thread-Index: all three let strangers into foreign threads. The lookups are the store's; here is
//! the order of the questions and what the answers mean.

use std::time::Duration;

use super::words::words;

/// How many cited Message-IDs are looked up at most. A hostile References header costs no more than this.
pub const CITED_MAX: usize = 10;

words! {
    /// Where a support conversation stands.
    ThreadState {
        /// Support owes an answer.
        Open = "open",
        /// The subscriber has the last word from us.
        Waiting = "waiting",
        Closed = "closed",
    }
}

words! {
    /// Who wrote a post.
    PostKind {
        Subscriber = "subscriber",
        Staff = "staff",
        /// Seen by staff only.
        Note = "note",
        /// Written by a program, theirs or ours. Opens, reopens and answers nothing.
        Automatic = "automatic",
    }
}

words! {
    /// What connects a message with a thread, strongest first.
    Link {
        Token = "token",
        InReplyTo = "in_reply_to",
        References = "references",
    }
}

/// The Message-IDs to look up, in the order in which they count: In-Reply-To, then References from the newest. No id twice, at
/// most [`CITED_MAX`].
pub fn cited<'a>(in_reply_to: &'a [String], references: &'a [String]) -> Vec<(Link, &'a str)> {
    let direct = in_reply_to.iter().map(|id| (Link::InReplyTo, id.as_str()));
    let older = references.iter().rev().map(|id| (Link::References, id.as_str()));
    let mut ids: Vec<(Link, &str)> = Vec::new();
    for (link, id) in direct.chain(older) {
        if ids.len() == CITED_MAX {
            break;
        }
        if ids.iter().all(|(_, seen)| *seen != id) {
            ids.push((link, id));
        }
    }
    ids
}

/// A thread that a link led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub link: Link,
    pub thread: i64,
    /// Keys ([`super::address::Address::key`]) of the people who take part.
    pub participants: Vec<String>,
    /// It was closed so long ago that what comes now is another matter.
    pub too_old: bool,
}

/// A conversation that was closed and silent for so long is not opened again.
pub const TOO_OLD: Duration = Duration::from_secs(180 * 86_400);

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belongs {
    To {
        thread: i64,
        link: Link,
    },
    /// A thread of its own. `suspected` is the one that was cited, closed long ago or by somebody who takes no part in it; staff
    /// see the link, a stranger sees nothing of it.
    New {
        suspected: Option<i64>,
    },
}

/// Decides where a message of `sender` goes. `candidates` are in the order of [`Link`].
pub fn find_thread(sender: &str, candidates: &[Candidate]) -> Belongs {
    let sender = sender.to_lowercase();
    let takes_part = |candidate: &&Candidate| candidate.participants.contains(&sender);
    match candidates.iter().find(takes_part) {
        Some(candidate) if candidate.too_old => Belongs::New { suspected: Some(candidate.thread) },
        Some(candidate) => Belongs::To { thread: candidate.thread, link: candidate.link },
        None => Belongs::New { suspected: candidates.first().map(|candidate| candidate.thread) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(link: Link, thread: i64, who: &str) -> Candidate {
        Candidate { link, thread, participants: vec![who.to_owned()], too_old: false }
    }

    #[test]
    fn the_first_link_of_a_participant_wins() {
        let both = [candidate(Link::Token, 1, "a@x.example"), candidate(Link::InReplyTo, 2, "a@x.example")];
        assert_eq!(find_thread("A@x.example", &both), Belongs::To { thread: 1, link: Link::Token });
        let foreign =
            [candidate(Link::Token, 1, "b@x.example"), candidate(Link::InReplyTo, 2, "a@x.example")];
        assert_eq!(find_thread("a@x.example", &foreign), Belongs::To { thread: 2, link: Link::InReplyTo });
    }

    #[test]
    fn a_stranger_gets_a_new_thread_that_names_the_suspected_one() {
        let foreign = [candidate(Link::References, 7, "b@x.example")];
        assert_eq!(find_thread("nosy@x.example", &foreign), Belongs::New { suspected: Some(7) });
        assert_eq!(find_thread("nosy@x.example", &[]), Belongs::New { suspected: None });
    }

    #[test]
    fn what_was_closed_long_ago_stays_closed() {
        let old = Candidate { too_old: true, ..candidate(Link::Token, 7, "a@x.example") };
        assert_eq!(find_thread("a@x.example", &[old]), Belongs::New { suspected: Some(7) });
    }

    #[test]
    fn cited_ids_are_newest_first_and_bounded() {
        let references: Vec<String> = (0..50).map(|n| format!("r{n}@x")).collect();
        let direct = ["r49@x".to_owned(), "direct@x".to_owned()];
        let ids = cited(&direct, &references);
        assert_eq!(ids.len(), CITED_MAX);
        assert_eq!(
            ids[..3],
            [(Link::InReplyTo, "r49@x"), (Link::InReplyTo, "direct@x"), (Link::References, "r48@x")]
        );
        assert_eq!(ids[9], (Link::References, "r41@x"));
    }
}
