//! The rate limits of one relay. All of them hold at once; each lets through a small burst, so that several waiting connections
//! do not queue up behind one another's wake-ups.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::domain::settings::Rate;

/// At most this share of a second's worth may leave at once.
const BURST_SHARE: f64 = 0.05;

/// Hands out permits to send one message each.
#[derive(Debug, Default)]
pub struct Pacer {
    limiters: Vec<DefaultDirectRateLimiter>,
}

impl Pacer {
    /// No rates: no limit.
    pub fn new(rates: &[Rate]) -> Pacer {
        let limiters = rates.iter().filter_map(quota).map(RateLimiter::direct).collect();
        Pacer { limiters }
    }

    /// Takes a permit if one is free now. With several limits, a permit of the first is not given back when a later one
    /// refuses: the relay then sends a little less than it may, never more.
    pub fn try_permit(&self) -> bool {
        self.limiters.iter().all(|limiter| limiter.check().is_ok())
    }

    /// Waits for a permit. Dropping the future takes none of the limits that it had not reached.
    pub async fn permit(&self) {
        for limiter in &self.limiters {
            limiter.until_ready().await;
        }
    }
}

/// governor's own `per_hour(n)` would let through n at once: period and burst are set by hand.
fn quota(rate: &Rate) -> Option<Quota> {
    let count = rate.count.max(1);
    let period = rate.per / count;
    let per_second = f64::from(count) / rate.per.as_secs_f64();
    let burst = NonZeroU32::new((per_second * BURST_SHARE) as u32).unwrap_or(NonZeroU32::MIN);
    Quota::with_period(period.max(Duration::from_nanos(1))).map(|quota| quota.allow_burst(burst))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_does_not_burst_an_hour() {
        let hourly = quota(&Rate { count: 3600, per: Duration::from_secs(3600) }).unwrap();
        assert_eq!(hourly.burst_size().get(), 1);
        assert_eq!(hourly.replenish_interval(), Duration::from_secs(1));
        let fast = quota(&Rate { count: 200, per: Duration::from_secs(1) }).unwrap();
        assert_eq!(fast.burst_size().get(), 10);
    }

    #[test]
    fn every_limit_counts() {
        let rate = |count| Rate { count, per: Duration::from_secs(3600) };
        let pacer = Pacer::new(&[rate(1000), rate(1)]);
        assert!(pacer.try_permit());
        assert!(!pacer.try_permit());
        assert!(Pacer::new(&[]).try_permit());
    }
}
