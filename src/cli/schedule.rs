//! `tidings schedule`: the next dates, and what each would send to whom.

use clap::Args;

use super::Context;
use crate::app::Failure;
use crate::runtime::{Clock, SystemClock, Timestamp};
use crate::store::Store;
use crate::tasks::week;

#[derive(Debug, Args)]
pub struct ScheduleArgs {
    /// As if it were that moment: 2026-03-15, or with a time in RFC 3339. Sends nothing.
    #[arg(long, value_name = "DATE", value_parser = moment)]
    from: Option<Timestamp>,
    /// How many dates.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
}

/// A date is its first moment, UTC.
fn moment(text: &str) -> Result<Timestamp, String> {
    let date = text.parse::<chrono::NaiveDate>().map(|date| date.and_time(chrono::NaiveTime::MIN).and_utc());
    let instant = date.or_else(|_| chrono::DateTime::parse_from_rfc3339(text).map(|at| at.to_utc()));
    instant.map(Timestamp::from).map_err(|_| "write 2026-03-15 or 2026-03-15T08:00:00Z".to_owned())
}

pub async fn schedule(context: &Context, args: &ScheduleArgs) -> Result<(), Failure> {
    let setup = context.setup()?;
    let store = Store::open(&setup.settings.storage).await?;
    let from = args.from.unwrap_or_else(|| SystemClock.now());
    let dates = week::forecast(&store, &setup.content, from, args.count.into()).await?;
    store.close().await;
    if context.output.json {
        return context.output.document(&dates);
    }
    let zone = setup.content.publication.timezone;
    let rows: Vec<Vec<String>> = dates
        .iter()
        .map(|date| {
            let people: i64 = date.audience.values().sum();
            let articles =
                if date.articles.is_empty() { "too few: skipped".into() } else { date.articles.join(", ") };
            let local = date.due_at.to_utc().with_timezone(&zone).format("%a %-d %b %Y, %H:%M %Z");
            vec![date.slug.clone(), local.to_string(), people.to_string(), articles]
        })
        .collect();
    let head = ["EDITION", "DUE", "PEOPLE", "ARTICLES"];
    context.output.table(
        &head,
        &rows,
        "Nothing is planned. Add [[slots]] or [[editions]] to publication.toml.",
    );
    Ok(())
}
