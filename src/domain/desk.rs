//! What somebody at the desk asks for on a page, and what comes of it.
//!
//! A form says what its page showed. Where the conversation went on meanwhile nothing is done, and the page is shown again with what is
//! new: two people who answer at once, a form that is sent twice and one that is kept for later are the same case.

/// What a page showed of a conversation: its newest post and its newest change by hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub post: i64,
    pub change: i64,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.post, self.change)
    }
}

impl Seen {
    /// As [`Seen`] is written. Anything else was seen by nobody.
    pub fn read(text: &str) -> Option<Seen> {
        let (post, change) = text.split_once('-')?;
        Some(Seen { post: post.parse().ok()?, change: change.parse().ok()? })
    }
}

/// What somebody of the desk wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The subscriber reads the words. `insists`: they know what speaks against it. `closes`: the conversation ends with it.
    Answer {
        insists: bool,
        closes: bool,
    },
    /// Only staff read the words.
    Note,
    Close,
    Reopen,
    /// To a member of staff, or to nobody.
    Assign(Option<i64>),
}

/// A file that somebody chose on a page.
#[derive(Clone, PartialEq, Eq)]
pub struct Enclosed {
    pub name: String,
    pub media_type: String,
    pub octets: Vec<u8>,
}

impl std::fmt::Debug for Enclosed {
    /// Without its octets: they are for one reader only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Enclosed({}, {} octets)", self.media_type, self.octets.len())
    }
}

/// One wish about one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeskOrder {
    pub thread: i64,
    /// Row of the member of staff who wishes it.
    pub member: i64,
    pub wish: Wish,
    /// Empty where the wish needs no words.
    pub text: String,
    /// Only an answer has some.
    pub files: Vec<Enclosed>,
    pub seen: Seen,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done, or was done before.
    Done,
    /// Nothing was done: the conversation is another one than the page showed.
    Moved,
    /// Nothing was done, and why. `question`: it is done if they insist.
    Refused { why: String, question: bool },
    /// Nothing was done: who asks is not of the desk any more.
    Left,
    /// There is no such conversation.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::Seen;

    #[test]
    fn what_was_seen_survives_a_form() {
        let seen = Seen { post: 12, change: 7 };
        assert_eq!(Seen::read(&seen.to_string()), Some(seen));
        for wrong in ["", "-", "1", "1-", "a-b", "1-2-3", "99999999999999999999-1"] {
            assert_eq!(Seen::read(wrong), None, "{wrong}");
        }
    }
}
