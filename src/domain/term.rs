//! Where a term begins of which only its end was told. Shops tell no more, so renewals arrive like this, by import as by
//! `set-tier --ends`; one rule for both, because extras are counted from the beginning.
//!
//! Another tier, or a first end: a term begins now. A later end of the same tier renews the term if it is later by more than
//! half a term, whether the old term is over or not. Anything less is a correction, as is an earlier end: the end moves, the
//! beginning stays, and no extras are given twice.
//!
//! A renewed term begins where the old one ended; or one term before its own end where that is later, which is the day of the
//! purchase of somebody who lapsed and came back. Neither counts if it is more than a week ahead, because until then no extra
//! would be counted against any term: the term then begins now.
//!
//! A term is as long as the tier says, else as the person's last one was, else a month.
//! Known gap: corrections are not added up. An end that creeps on by less than half a term at a time renews nothing.

use std::time::Duration;

use super::publication::Term;
use crate::runtime::Timestamp;

/// A renewal that arrives this long before the old end still follows it.
const AHEAD: Duration = Duration::from_secs(7 * 86_400);

const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// A person's term as the store knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// `None`: the day on which the person was entered.
    pub started_at: Option<Timestamp>,
    /// `None`: it never ends.
    pub ends_at: Option<Timestamp>,
}

/// Where the term begins of a person who keeps their tier and of whom it is told that their term ends at `ends`. `length` is the
/// tier's.
pub fn begins(known: Known, ends: Timestamp, length: Option<Term>, now: Timestamp) -> Option<Timestamp> {
    let Some(old) = known.ends_at else { return known.started_at.or(Some(now)) };
    if ends.since(old) <= usual(known.started_at, old, length) / 2 {
        return known.started_at;
    }
    let bought = length.map_or(old, |length| length.start(ends).max(old));
    let begun = |at: &Timestamp| *at <= now + AHEAD;
    Some([bought, old].into_iter().find(begun).unwrap_or(now))
}

fn usual(started: Option<Timestamp>, ended: Timestamp, length: Option<Term>) -> Duration {
    let last = || started.map(|started| ended.since(started)).filter(|span| !span.is_zero());
    length.map(|length| length.end(ended).since(ended)).or_else(last).unwrap_or(MONTH)
}

#[cfg(test)]
mod tests {
    use chrono::{NaiveDate, NaiveTime};

    use super::*;

    fn day(text: &str) -> Timestamp {
        NaiveDate::parse_from_str(text, "%Y-%m-%d").unwrap().and_time(NaiveTime::MIN).and_utc().into()
    }

    const YEAR: Option<Term> = Some(Term::Years(1));
    const ONE_MONTH: Option<Term> = Some(Term::Months(1));

    /// The beginning after it is told at `now` that the term from `started` to `ended` ends at `ends`.
    fn told(term: [&str; 2], ends: &str, length: Option<Term>, now: &str) -> String {
        let known = Known { started_at: Some(day(term[0])), ends_at: Some(day(term[1])) };
        let begins = begins(known, day(ends), length, day(now)).unwrap();
        begins.rfc3339()[..10].to_owned()
    }

    #[test]
    fn a_renewal_follows_the_old_term() {
        let term = ["2025-12-01", "2026-12-01"];
        for now in ["2026-11-24", "2026-12-01", "2026-12-31", "2027-06-01"] {
            assert_eq!(told(term, "2027-12-01", YEAR, now), "2026-12-01", "told on {now}");
            assert_eq!(told(term, "2027-12-01", None, now), "2026-12-01", "told on {now}, no length");
        }
        // A month has 28 to 31 days.
        for (from, to, next) in [
            ("2026-01-31", "2026-02-28", "2026-03-31"),
            ("2027-12-31", "2028-01-31", "2028-02-29"),
            ("2026-11-01", "2026-12-01", "2026-12-31"),
        ] {
            assert_eq!(told([from, to], next, ONE_MONTH, to), to);
        }
        // Two years at once.
        assert_eq!(told(term, "2028-12-01", YEAR, "2026-12-02"), "2026-12-01");
    }

    #[test]
    fn a_renewal_long_before_the_old_end_begins_now() {
        let term = ["2025-12-01", "2026-12-01"];
        assert_eq!(told(term, "2027-12-01", YEAR, "2026-11-23"), "2026-11-23");
        assert_eq!(told(term, "2027-12-01", YEAR, "2026-05-01"), "2026-05-01");
    }

    #[test]
    fn who_lapsed_begins_on_the_day_of_the_purchase() {
        let term = ["2024-12-01", "2025-12-01"];
        assert_eq!(told(term, "2027-11-20", YEAR, "2026-11-24"), "2026-11-20");
        assert_eq!(told(["2026-01-01", "2026-02-01"], "2026-12-20", ONE_MONTH, "2026-11-24"), "2026-11-20");
    }

    #[test]
    fn a_correction_renews_nothing() {
        let month = ["2026-11-01", "2026-12-01"];
        for now in ["2026-11-24", "2026-12-03"] {
            // Days of grace, also where the old end has passed.
            for ends in ["2026-12-01", "2026-12-04", "2026-12-16", "2026-11-20"] {
                assert_eq!(told(month, ends, ONE_MONTH, now), "2026-11-01", "{ends}");
                assert_eq!(told(month, ends, None, now), "2026-11-01", "{ends}, no length");
            }
            assert_eq!(told(month, "2026-12-17", ONE_MONTH, now), "2026-12-01");
        }
        // A month as a present, a refund, a slip of the keyboard that is taken back.
        let year = ["2025-12-01", "2026-12-01"];
        for ends in ["2027-01-01", "2027-05-31", "2026-06-01", "2025-01-01"] {
            assert_eq!(told(year, ends, YEAR, "2026-11-24"), "2025-12-01", "{ends}");
        }
    }

    #[test]
    fn who_has_no_beginning_or_no_end() {
        let known = |started_at, ends_at| Known { started_at, ends_at };
        let (now, ends) = (day("2026-11-24"), day("2027-11-24"));
        assert_eq!(begins(known(None, None), ends, YEAR, now), Some(now), "the first end");
        let started = day("2026-11-01");
        assert_eq!(begins(known(Some(started), None), ends, YEAR, now), Some(started));
        let old = day("2026-11-23");
        assert_eq!(begins(known(None, Some(old)), ends, YEAR, now), Some(day("2026-11-24")));
        assert_eq!(begins(known(None, Some(old)), ends, None, now), Some(old), "more than half a month");
        assert_eq!(begins(known(None, Some(old)), day("2026-12-01"), None, now), None);
        // A term that ended before it began says nothing of its length.
        assert_eq!(begins(known(Some(now), Some(old)), day("2026-11-30"), None, now), Some(now));
    }

    #[test]
    fn dates_at_the_end_of_time_break_nothing() {
        let known = Known { started_at: Some(Timestamp(i64::MIN)), ends_at: Some(Timestamp(i64::MAX)) };
        for length in [None, YEAR, ONE_MONTH, Some(Term::Days(u32::MAX))] {
            for ends in [i64::MIN, 0, i64::MAX] {
                begins(known, Timestamp(ends), length, Timestamp(0));
                let other = Known { ends_at: Some(Timestamp(i64::MIN)), ..known };
                begins(other, Timestamp(ends), length, Timestamp(0));
            }
        }
    }
}
