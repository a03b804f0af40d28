//! When to fall silent, because a program may be answering ours (RFC 3834 section 2; headers are not enough, many programs set none).
//!
//! Two chains can go round: a mail that tells a member about a mail of theirs, and a notice whose answer a program answers. Each is
//! counted; who is silenced stays in the inbox, and operators are told.

use std::time::Duration;

use crate::runtime::Timestamp;

/// The time in which mails are counted.
pub const WITHIN: Duration = Duration::from_secs(3 * 3600);
/// Mails that tell one member about their mails in one conversation, and in all of them.
pub const TOLD_IN_ONE: i64 = 10;
const TOLD_IN_ALL: i64 = 40;
/// Messages of one person in one conversation that staff are told of by mail.
const SPOKEN: usize = 20;
/// The same words so often in a row are a program's.
const SAME: usize = 3;
/// Words that are looked at.
pub const LOOKED_AT: i64 = SPOKEN as i64 + 1;

/// How many mails told a member about mails of theirs within [`WITHIN`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToldLately {
    pub in_thread: i64,
    pub in_all: i64,
}

impl ToldLately {
    /// Whether one more may leave.
    pub fn may_tell(self) -> bool {
        self.in_thread < TOLD_IN_ONE && self.in_all < TOLD_IN_ALL
    }

    /// Whether one more is the last one for a while.
    pub fn is_last(self) -> bool {
        self.in_thread + 1 == TOLD_IN_ONE || self.in_all + 1 == TOLD_IN_ALL
    }
}

/// Words of a subscriber, and when they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    pub at: Timestamp,
    pub text: String,
}

/// Why staff get no notice of the newest of these words, the newest first, if they get none.
pub fn sounds_like_a_program(spoken: &[Spoken], now: Timestamp) -> Option<&'static str> {
    let lately: Vec<&Spoken> = spoken.iter().take_while(|one| now.since(one.at) < WITHIN).collect();
    let words = |one: &Spoken| one.text.split_whitespace().collect::<Vec<_>>().join(" ");
    let newest = lately.first().map(|one| words(one)).filter(|words| !words.is_empty())?;
    if lately.len() > SPOKEN {
        return Some("more than 20 messages came within three hours");
    }
    let same = lately.iter().take(SAME).filter(|one| words(one) == newest).count();
    (same == SAME).then_some("the same words came three times in a row")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoken(count: usize, text: impl Fn(usize) -> String) -> Vec<Spoken> {
        (0..count).map(|n| Spoken { at: Timestamp(1_000_000 - n as i64), text: text(n) }).collect()
    }

    #[test]
    fn people_are_heard_and_programs_end() {
        let now = Timestamp(1_000_000);
        assert_eq!(sounds_like_a_program(&[], now), None);
        assert_eq!(sounds_like_a_program(&spoken(20, |n| format!("Word {n}")), now), None);
        assert!(sounds_like_a_program(&spoken(21, |n| format!("Word {n}")), now).is_some());
        assert_eq!(sounds_like_a_program(&spoken(2, |_| "I am away.".into()), now), None);
        assert!(sounds_like_a_program(&spoken(3, |_| "I am\r\n away.".into()), now).is_some());
        let others = spoken(3, |n| if n == 1 { "What?".into() } else { "Thanks!".into() });
        assert_eq!(sounds_like_a_program(&others, now), None);
        // Only pictures.
        assert_eq!(sounds_like_a_program(&spoken(3, |_| String::new()), now), None);
        // Long ago.
        let later = now + WITHIN;
        assert_eq!(sounds_like_a_program(&spoken(30, |_| "Thanks!".into()), later), None);
    }

    #[test]
    fn the_tenth_mail_is_the_last_one() {
        let told = |in_thread, in_all| ToldLately { in_thread, in_all };
        assert!(told(0, 0).may_tell() && told(9, 9).may_tell() && told(9, 9).is_last());
        assert!(!told(10, 10).may_tell() && !told(0, 40).may_tell() && told(0, 39).is_last());
    }
}
