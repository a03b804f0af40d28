//! `[retention]`: how long details are kept. A span, or "forever".

use std::time::Duration;

use super::section::Section;
use super::syntax::{self, Wrong};
use crate::domain::settings::RetentionSettings;

const DAY: u64 = 86_400;

/// A span that may have no end.
fn age(text: &str) -> Result<Option<Duration>, Wrong> {
    match text {
        "forever" => Ok(None),
        _ => syntax::some_duration(text)
            .map(Some)
            .map_err(|wrong| Wrong { hint: "write for example \"90d\", or \"forever\"".to_owned(), ..wrong }),
    }
}

pub(super) fn retention(root: &mut Section<'_>) -> RetentionSettings {
    let days = |count: u64| Some(Duration::from_secs(count * DAY));
    let mut ages =
        RetentionSettings { messages: days(90), replies: days(90), audit: days(730), networks: days(365) };
    let Some(mut section) = root.optional("retention").and_then(|found| found.section()) else { return ages };
    for (key, place) in [
        ("messages", &mut ages.messages),
        ("replies", &mut ages.replies),
        ("audit", &mut ages.audit),
        ("networks", &mut ages.networks),
    ] {
        if let Some(found) = section.optional(key).and_then(|found| found.parse(age)) {
            *place = found;
        }
    }
    section.finish();
    ages
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn an_age_is_a_span_or_none() {
        assert_eq!(age("90d").unwrap().map(|age| age.as_secs()), Some(90 * 86_400));
        assert_eq!(age("forever").unwrap(), None);
        for wrong in ["", "0s", "never", "90", "-1d"] {
            assert!(age(wrong).is_err_and(|wrong| wrong.hint.contains("forever")), "{wrong}");
        }
    }
}
