//! Breakers at work: what attempts showed is added up, and what is enough stops an edition or pauses a lane (W145, W146).
//!
//! Counting is grouped: an edition's row is touched when something bad was seen, or once a second. Each process counts
//! for itself what it has not written down yet, at most a second's worth, and loses that with a crash.

use std::collections::BTreeMap;
use std::time::Duration;

use super::traffic::{News, Seen, Traffic};
use crate::domain::breaker::{FALSE_HARD_WITHIN, Tally, Trouble};
use crate::runtime::Timestamp;
use crate::store::{StoreError, Tx, bounces, editions, lanes, suppressions};

/// What is only counted is written down after this time.
const WRITE: Duration = Duration::from_secs(1);

/// What was counted of each edition and is not in its row yet.
#[derive(Clone, Debug, Default)]
pub struct Breakers {
    tallies: BTreeMap<i64, Tally>,
    written_at: Option<Timestamp>,
}

impl Breakers {
    /// Counts an attempt that trips nothing by itself.
    pub fn count(&mut self, seen: &Seen) {
        if let Some(edition) = seen.edition.filter(|_| seen.weight.decided) {
            self.tallies.entry(edition).or_default().add(seen.weight);
        }
    }

    /// Weighs what may trip a breaker, and writes down what was counted where that is due. Answers what tripped.
    ///
    /// # Errors
    /// When the database fails; the caller then forgets what was weighed here.
    pub async fn weigh(
        &mut self,
        tx: &mut Tx,
        traffic: &mut Traffic,
        bad: impl Iterator<Item = &Seen>,
        now: Timestamp,
    ) -> Result<Vec<News>, StoreError> {
        let mut news = Vec::new();
        for seen in bad {
            if let Some(edition) = seen.edition {
                self.tallies.entry(edition).or_default().add(seen.weight);
            }
            let known = match seen.subscriber {
                Some(subscriber) if seen.weight.hard => {
                    bounces::took_before(tx, subscriber, i64::MAX).await?
                }
                _ => false,
            };
            let found = traffic.weigh(tx, seen, known, now).await?;
            // Those that were on their way when the guard paused the lane are not to be believed either. Its row is locked, so that
            // what another process or an operator did to it is seen.
            let false_bounces =
                matches!(found, Some(News::Paused { trouble: Trouble::FalseBounces { .. }, .. }));
            if false_bounces || (known && is_doubted(tx, seen.lane).await?) {
                let since = now - FALSE_HARD_WITHIN;
                let held = suppressions::hold(tx, seen.lane, since, now).await?;
                tracing::warn!(lane = seen.lane, suppressions = held, "these suppressions are held");
            }
            news.extend(found);
        }
        self.write(tx, &mut news, now).await?;
        Ok(news)
    }

    async fn write(&mut self, tx: &mut Tx, news: &mut Vec<News>, now: Timestamp) -> Result<(), StoreError> {
        let due = self.written_at.is_none_or(|at| at > now || now.since(at) >= WRITE);
        if self.tallies.is_empty() || !(due || self.tallies.values().any(Tally::is_bad)) {
            return Ok(());
        }
        for (edition, tally) in &self.tallies {
            let sums = editions::count(tx, *edition, *tally).await?.unwrap_or_default();
            let Some(reason) = sums.verdict() else { continue };
            if let Some(slug) = editions::stop(tx, *edition, &reason).await? {
                news.push(News::Stopped { edition: slug, reason });
            }
        }
        self.tallies.clear();
        self.written_at = Some(now);
        Ok(())
    }
}

async fn is_doubted(tx: &mut Tx, lane: i64) -> Result<bool, StoreError> {
    Ok(lanes::standing(tx, lane).await?.is_some_and(|lane| lane.is_doubted()))
}
