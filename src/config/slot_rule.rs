//! When a slot is due: `at = "Tue 09:00"` or five cron fields, normalised to the five fields.
//!
//! A rule is a rule of the wall clock: it knows no zone and no summer time (design section 7). Day of month and weekday must
//! both match. Which fields of time a rule has does not depend on the date, so looking at a
//! year of firings finds every rule that fires twice on one date.

use chrono::{Datelike, NaiveDate};

use super::syntax::{Wrong, wrong};
use crate::domain::slot_rule::SlotRule;

const DAYS: [(&str, &str); 7] = [
    ("monday", "MON"),
    ("tuesday", "TUE"),
    ("wednesday", "WED"),
    ("thursday", "THU"),
    ("friday", "FRI"),
    ("saturday", "SAT"),
    ("sunday", "SUN"),
];

/// `Tue 09:00` as cron fields.
pub(super) fn from_at(text: &str) -> Result<String, Wrong> {
    let read = || {
        let (day, time) = text.split_once(char::is_whitespace)?;
        let day = day.to_ascii_lowercase();
        let (_, day) = DAYS.iter().find(|(long, short)| *long == day || short.eq_ignore_ascii_case(&day))?;
        let (hour, minute) = time.trim().split_once(':')?;
        let two = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        if !two(hour) || !two(minute) {
            return None;
        }
        let (hour, minute): (u8, u8) = (hour.parse().ok()?, minute.parse().ok()?);
        (hour < 24 && minute < 60).then(|| format!("{minute} {hour} * * {day}"))
    };
    match read() {
        Some(cron) => Ok(cron),
        None => wrong(
            format!("`{text}` is not a weekday and a time"),
            "write for example \"Tue 09:00\", or use `cron` for other rules",
        ),
    }
}

/// Checks five cron fields, and writes them in one way: single spaces, upper case.
pub(super) fn from_cron(text: &str) -> Result<String, Wrong> {
    const HINT: &str = "write minute, hour, day of month, month and weekday, for example \"0 9 * * TUE\"";
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != 5 {
        return wrong(format!("`{text}` has {} fields", fields.len()), HINT);
    }
    // The parser takes an empty item of a list as nothing; a person who wrote one meant something.
    if fields.iter().any(|field| field.split(',').any(str::is_empty)) {
        return wrong(format!("`{text}` has a comma too many"), HINT);
    }
    let cron = fields.join(" ").to_ascii_uppercase();
    let rule = SlotRule::parse(&cron).map_err(|why| Wrong {
        problem: format!("`{text}` is not a cron rule: {why}"),
        hint: HINT.to_owned(),
    })?;
    check_year(&rule, text)?;
    Ok(cron)
}

/// Fires through a leap year, read as wall-clock time.
fn check_year(rule: &SlotRule, text: &str) -> Result<(), Wrong> {
    let eve = NaiveDate::from_ymd_opt(2027, 12, 31).and_then(|date| date.and_hms_opt(23, 59, 59));
    let mut times = rule.local_times(eve.unwrap_or_default());
    let Some(mut last) = times.next() else {
        return wrong(format!("`{text}` never comes"), "check that such a date exists");
    };
    for next in times.take_while(|time| time.year() <= 2028) {
        if next.date() == last.date() {
            return wrong(
                format!(
                    "`{text}` comes twice on one day, {} and {}",
                    last.format("%H:%M"),
                    next.format("%H:%M")
                ),
                "give each time a slot of its own",
            );
        }
        last = next;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weekday_and_time_become_cron() {
        let cases =
            [("Tue 09:00", "0 9 * * TUE"), ("sunday  23:59", "59 23 * * SUN"), ("MON 00:05", "5 0 * * MON")];
        for (text, cron) in cases {
            assert_eq!(from_at(text), Ok(cron.to_owned()), "{text}");
            assert_eq!(from_cron(cron), Ok(cron.to_owned()), "{text}");
        }
        for text in
            ["Tue", "09:00", "Tue 24:00", "Tue 9:00", "Tue 09:60", "Tux 09:00", "Tue 09:00:00", "Tue +9:00"]
        {
            assert!(from_at(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cron_rules_are_checked_over_a_year() {
        let good = ["0 9 * * TUE", "0 9 * * thu#1", "30  8 1 * *", "0 9 13 * FRI", "0 9 L * *", "0 9 29 2 *"];
        for text in good {
            assert!(from_cron(text).is_ok(), "{text}: {:?}", from_cron(text));
        }
        assert_eq!(from_cron(" 0  9 * * tue#1 "), Ok("0 9 * * TUE#1".to_owned()));
        let bad = [
            ("0 9 * *", "4 fields"),
            ("0 0 9 * * TUE", "6 fields"),
            ("@weekly", "1 fields"),
            ("0 9, * * TUE", "comma"),
            ("0 25 * * *", "not a cron rule"),
            ("0 9 * * FOO", "not a cron rule"),
            ("0 9,17 * * TUE", "09:00 and 17:00"),
            ("*/30 9 * * TUE", "09:00 and 09:30"),
            ("* * * * *", "00:00 and 00:01"),
            ("0 9,10 13 * FRI", "09:00 and 10:00"),
            ("0 9 30 2 *", "never comes"),
        ];
        for (text, expected) in bad {
            let problem = from_cron(text).unwrap_err().problem;
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }
}
