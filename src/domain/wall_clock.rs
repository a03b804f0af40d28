//! From what a clock on the wall shows to an instant (design section 7, wire rules W195 to W198).

use chrono::{Duration, LocalResult, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;

use crate::runtime::Timestamp;

/// The instant of a local time. In a gap (spring) the offset before the gap holds, so 02:30 becomes what the clock shows as
/// 03:30; in a fold (autumn) the first occurrence counts.
pub fn instant_of(local: NaiveDateTime, zone: Tz) -> Timestamp {
    let offset = match zone.offset_from_local_datetime(&local) {
        LocalResult::Single(offset) | LocalResult::Ambiguous(offset, _) => offset.fix(),
        LocalResult::None => offset_before_gap(local, zone),
    };
    Timestamp((local.and_utc().timestamp() - i64::from(offset.local_minus_utc())) * 1000)
}

/// Walks back to the last minute that exists. The longest gap so far was a whole day (Samoa skipped 30 December 2011).
fn offset_before_gap(local: NaiveDateTime, zone: Tz) -> chrono::FixedOffset {
    let existing = (1..=26 * 60).find_map(|minutes| {
        let earlier = local.checked_sub_signed(Duration::minutes(minutes))?;
        zone.offset_from_local_datetime(&earlier).latest()
    });
    existing.unwrap_or_else(|| zone.offset_from_utc_datetime(&local)).fix()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_folds() {
        let cases = [
            ("America/New_York", "2026-12-01T09:00", "2026-12-01T14:00:00Z"),
            // Gap: 02:00 to 03:00 does not exist on 8 March 2026.
            ("America/New_York", "2026-03-08T02:30", "2026-03-08T07:30:00Z"),
            ("America/New_York", "2026-03-08T03:00", "2026-03-08T07:00:00Z"),
            // Fold: 01:30 happens twice on 1 November 2026, first in summer time.
            ("America/New_York", "2026-11-01T01:30", "2026-11-01T05:30:00Z"),
            ("Europe/Berlin", "2026-03-29T02:30", "2026-03-29T01:30:00Z"),
            ("Europe/Berlin", "2026-10-25T02:30", "2026-10-25T00:30:00Z"),
            ("Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-03T15:45:00Z"),
            ("Pacific/Apia", "2011-12-30T12:00", "2011-12-30T22:00:00Z"),
            ("UTC", "2026-03-29T02:30", "2026-03-29T02:30:00Z"),
        ];
        for (zone, local, expected) in cases {
            let local = NaiveDateTime::parse_from_str(local, "%Y-%m-%dT%H:%M").unwrap();
            assert_eq!(instant_of(local, zone.parse().unwrap()).rfc3339(), expected, "{zone} {local}");
        }
    }
}
