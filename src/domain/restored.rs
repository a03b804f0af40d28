//! A store that began as a copy of another one: which ids are its own, and which mail the lost one may have understood before.
//!
//! Ids of the lost store are out there, in Message-IDs, addresses and links. A copy cannot know how far they went, and the same copy
//! may be opened twice. So each opening takes its floor from the clock: ids grow more slowly than the floors do, so what a store
//! gave before an instant lies below the floor of that instant. Known gaps: ids that are given faster than [`PER_MS`] say, from one
//! opening to the next, and two openings within one millisecond.

use std::time::Duration;

use crate::runtime::Timestamp;

/// Floors count from here, so that ids stay short: 2025-01-01T00:00:00Z.
const EPOCH: i64 = 1_735_689_600_000;

/// What has ids that go out, with the ids of each that a floor grows by in a millisecond: more than one process can give. People
/// read the numbers of conversations, so those are as short as that allows. A token has room for 2^56 (`domain::token`), which
/// 512 leave free for 4,000 years.
pub const PER_MS: [(&str, i64); 4] =
    [("deliveries", 512), ("threads", 1), ("subscribers", 512), ("editions", 1)];

/// A mail may be on its way for five days (RFC 5321 section 4.5.4.1), and be understood a little later.
const ON_ITS_WAY: Duration = Duration::from_secs(7 * 86_400);

/// The id that an opening at `now` begins above. `newest`: the highest one that the copy has.
///
/// Where that is above the clock's floor, the clock was set back, and what it says is added: two openings differ in any case.
pub fn floor(newest: i64, per_ms: i64, now: Timestamp) -> i64 {
    let by_the_clock = now.millis().saturating_sub(EPOCH).max(1).saturating_mul(per_ms);
    if newest < by_the_clock { by_the_clock } else { newest.saturating_add(by_the_clock) }
}

/// When a copy was taken and when it was put to use; the same instant where nobody knows how old it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    pub taken_at: Timestamp,
    pub released_at: Timestamp,
}

/// What tells how old a received mail is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// When this store recorded it.
    pub received_at: Timestamp,
    /// When our mail server had it: its newest `Received` field.
    pub arrived: Option<Timestamp>,
    /// Its `Date` field: a mailbox that is read again, or a program that hands its mail in anew, changes all but that.
    pub date: Option<Timestamp>,
}

impl Release {
    /// Whether the lost store may have understood this mail, and done what it says.
    ///
    /// What is much older than the copy says nothing: the copy knows such mail by its octets, so a clock is wrong there. A mail
    /// without any time that can be true counts as old.
    pub fn came_before(&self, traces: &Traces) -> bool {
        if traces.received_at < self.released_at {
            return true;
        }
        let oldest = match self.taken_at < self.released_at {
            true => self.taken_at - ON_ITS_WAY,
            false => Timestamp(i64::MIN),
        };
        let mut times =
            [traces.arrived, traces.date].into_iter().flatten().filter(|at| *at >= oldest).peekable();
        times.peek().is_none() || times.any(|at| at < self.released_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;
    /// 2026-11-24T12:00:00Z.
    const NOON: i64 = 1_795_521_600_000;

    #[test]
    fn no_two_openings_share_an_id() {
        for (table, per_ms) in PER_MS {
            // The same copy, opened again and again; one that outran the clock as well.
            for newest in [0, 1_000_000, i64::from(u32::MAX) * per_ms * 1_000] {
                let openings = [NOON, NOON + 1, NOON + DAY, NOON + 4_000 * DAY];
                let floors = openings.map(|at| floor(newest, per_ms, Timestamp(at)));
                assert!(floors[0] > newest, "{table}");
                for pair in floors.windows(2) {
                    assert!(pair[1] - pair[0] >= per_ms, "{table}: {floors:?}");
                }
            }
            // What the last opening gave is below the next floor, whichever copy that one begins with.
            let first = floor(10, per_ms, Timestamp(NOON));
            let given = first + 60_000 * per_ms - 1;
            assert!(floor(10, per_ms, Timestamp(NOON + 60_000)) > given, "{table}");
            assert!(floor(given, per_ms, Timestamp(NOON + 60_000)) > given, "{table}");
            // A clock that was set back, or never set.
            for at in [NOON - DAY, 0, i64::MIN] {
                assert!(floor(given, per_ms, Timestamp(at)) > given, "{table}");
            }
            let in_2100 = Timestamp(NOON + 74 * 365 * DAY);
            assert!(floor(0, per_ms, in_2100) < 1 << 56, "{table}: a token has room for it");
        }
        assert!(floor(0, 1, Timestamp(NOON)) < 100_000_000_000, "people read it");
    }

    #[test]
    fn mail_from_before_the_release_is_known_by_any_of_its_times() {
        let release = Release { taken_at: Timestamp(NOON - DAY), released_at: Timestamp(NOON) };
        let (before, after) = (Some(Timestamp(NOON - 1)), Some(Timestamp(NOON)));
        let (ages_ago, tomorrow) = (Some(Timestamp(0)), Some(Timestamp(NOON + DAY)));
        let of = |received_at, arrived, date| {
            release.came_before(&Traces { received_at: Timestamp(received_at), arrived, date })
        };
        for (received_at, arrived, date, expected) in [
            (NOON - 1, after, after, true),
            (NOON, before, after, true),
            (NOON, after, before, true),
            (NOON, None, before, true),
            (NOON, before, None, true),
            (NOON, before, tomorrow, true),
            (NOON, None, None, true),
            (NOON, None, ages_ago, true),
            (NOON, after, after, false),
            (NOON, after, None, false),
            (NOON, None, after, false),
            // Their clock stands still: that must not shut them out for ever.
            (NOON, after, ages_ago, false),
            (NOON, ages_ago, after, false),
        ] {
            assert_eq!(of(received_at, arrived, date), expected, "{received_at} {arrived:?} {date:?}");
        }
        // Nobody knows how old a dump is that has no mark.
        let unmarked = Release { taken_at: Timestamp(NOON), ..release };
        let old =
            Traces { received_at: Timestamp(NOON), arrived: after, date: Some(Timestamp(NOON - 90 * DAY)) };
        assert!(unmarked.came_before(&old) && !release.came_before(&old));
    }
}
