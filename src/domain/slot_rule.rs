//! When a slot is due: five cron fields on the wall clock, mapped to instants by the zone (design section 7).
//!
//! A rule knows no zone and no summer time: croner walks it as if local time were UTC, and [`wall_clock`] maps what it finds. So a
//! local date has one occurrence whatever the clocks do, and the next one is computed from the zone's data each time, never by
//! adding a week (W195). Day of month and weekday must both match, which is not cron's own default.
//!
//! Limits: a rule that comes twice on one local date is refused by `config`, because a slot's date names one edition.

use chrono::{DateTime, Duration, NaiveDate, NaiveDateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use super::wall_clock;
use crate::runtime::Timestamp;

/// A zone's offset from UTC is less than this, with a skipped day on top.
const OFFSET_MAX: Duration = Duration::hours(50);

/// One time at which a slot is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Occurrence {
    pub due_at: Timestamp,
    /// The date that the wall clock's rule names; with the slot's name it identifies the edition.
    pub date: NaiveDate,
}

/// A checked rule.
#[derive(Clone, Debug)]
pub struct SlotRule(Cron);

impl SlotRule {
    /// Reads minute, hour, day of month, month and weekday.
    ///
    /// # Errors
    /// The parser's words.
    pub fn parse(cron: &str) -> Result<SlotRule, String> {
        CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .dom_and_dow(true)
            .build()
            .parse(cron)
            .map(SlotRule)
            .map_err(|error| error.to_string())
    }

    /// The local times of the rule after `local`, in order. Empty once the calendar has no more.
    pub fn local_times(&self, local: NaiveDateTime) -> impl Iterator<Item = NaiveDateTime> + '_ {
        let mut last = local.and_utc();
        std::iter::from_fn(move || {
            let next = self.0.find_next_occurrence(&last, false).ok()?;
            last = next;
            Some(next.naive_utc())
        })
    }

    /// Occurrences after `instant`, in order of their instants.
    pub fn after(&self, instant: Timestamp, zone: Tz) -> impl Iterator<Item = Occurrence> + '_ {
        let start = instant.to_utc().naive_utc() - OFFSET_MAX;
        self.local_times(start)
            .map(move |local| Occurrence { due_at: wall_clock::instant_of(local, zone), date: local.date() })
            .skip_while(move |occurrence| occurrence.due_at <= instant)
    }

    /// The last occurrence at or before `instant` and not before `since`.
    pub fn latest(&self, instant: Timestamp, since: Timestamp, zone: Tz) -> Option<Occurrence> {
        let mut at: DateTime<Utc> = instant.to_utc() + OFFSET_MAX;
        loop {
            let previous = self.0.find_previous_occurrence(&at, false).ok()?;
            let local = previous.naive_utc();
            let due_at = wall_clock::instant_of(local, zone);
            if due_at <= instant {
                return (due_at >= since).then_some(Occurrence { due_at, date: local.date() });
            }
            at = previous;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(cron: &str) -> SlotRule {
        SlotRule::parse(cron).unwrap()
    }

    fn zone(name: &str) -> Tz {
        name.parse().unwrap()
    }

    fn instant(text: &str) -> Timestamp {
        serde_json::from_str(&format!("\"{text}\"")).unwrap()
    }

    fn first_on(cron: &str, name: &str, date: &str) -> String {
        let date: NaiveDate = date.parse().unwrap();
        let before = Timestamp::from(date.and_time(Default::default()).and_utc() - Duration::days(3));
        let found = rule(cron).after(before, zone(name)).find(|found| found.date == date).unwrap();
        found.due_at.rfc3339()
    }

    #[test]
    fn w195_the_wall_clock_time_holds_through_summer_time() {
        for (date, expected) in [
            ("2026-03-22", "2026-03-22T07:00:00Z"),
            ("2026-03-29", "2026-03-29T06:00:00Z"),
            ("2026-10-18", "2026-10-18T06:00:00Z"),
            ("2026-10-25", "2026-10-25T07:00:00Z"),
        ] {
            assert_eq!(first_on("0 8 * * SUN", "Europe/Berlin", date), expected);
        }
    }

    #[test]
    fn w196_to_w198_gaps_folds_and_odd_zones() {
        for (cron, name, date, expected) in [
            ("30 2 * * *", "Europe/Berlin", "2026-03-29", "2026-03-29T01:30:00Z"),
            ("30 2 * * *", "America/New_York", "2026-03-08", "2026-03-08T07:30:00Z"),
            ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04", "2026-10-03T15:45:00Z"),
            ("30 0 * * *", "Africa/Cairo", "2026-04-24", "2026-04-23T22:30:00Z"),
            ("30 0 * * *", "America/Santiago", "2026-09-06", "2026-09-06T04:30:00Z"),
            ("30 2 * * *", "Europe/Berlin", "2026-10-25", "2026-10-25T00:30:00Z"),
            ("30 1 * * *", "America/New_York", "2026-11-01", "2026-11-01T05:30:00Z"),
            ("45 1 * * *", "Australia/Lord_Howe", "2026-04-05", "2026-04-04T14:45:00Z"),
            ("0 9 * * *", "Asia/Kolkata", "2026-06-01", "2026-06-01T03:30:00Z"),
            ("0 9 * * *", "Asia/Kathmandu", "2026-06-01", "2026-06-01T03:15:00Z"),
            ("0 9 * * *", "Pacific/Apia", "2011-12-30", "2011-12-30T19:00:00Z"),
        ] {
            assert_eq!(first_on(cron, name, date), expected, "{cron} {name} {date}");
        }
    }

    /// Ten years of a daily rule in five zones: every local date once, in order, and `latest` finds what `after` lists.
    #[test]
    fn each_local_date_comes_once() {
        for name in
            ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Santiago"]
        {
            let daily = rule("30 2 * * *");
            let start = instant("2020-01-01T00:00:00Z");
            let found: Vec<Occurrence> = daily.after(start, zone(name)).take(3653).collect();
            for pair in found.windows(2) {
                assert_eq!(pair[1].date, pair[0].date.succ_opt().unwrap(), "{name}");
                assert!(pair[1].due_at > pair[0].due_at, "{name} {}", pair[0].date);
                let between = Timestamp(pair[1].due_at.millis() - 1);
                assert_eq!(daily.latest(between, Timestamp(0), zone(name)), Some(pair[0]), "{name}");
                assert_eq!(daily.latest(pair[1].due_at, Timestamp(0), zone(name)), Some(pair[1]), "{name}");
            }
        }
    }

    #[test]
    fn latest_stops_at_since() {
        let weekly = rule("0 8 * * SUN");
        let monday = instant("2026-11-23T09:00:00Z");
        let found = weekly.latest(monday, Timestamp(0), zone("UTC")).unwrap();
        assert_eq!(found.due_at, instant("2026-11-22T08:00:00Z"));
        assert_eq!(weekly.latest(monday, instant("2026-11-22T08:00:01Z"), zone("UTC")), None);
    }

    #[test]
    fn a_first_thursday_needs_both_fields() {
        let first: Vec<NaiveDate> = rule("0 9 * * THU#1")
            .after(instant("2026-11-01T00:00:00Z"), zone("UTC"))
            .take(2)
            .map(|found| found.date)
            .collect();
        assert_eq!(first, ["2026-11-05".parse().unwrap(), "2026-12-03".parse().unwrap()]);
    }
}
