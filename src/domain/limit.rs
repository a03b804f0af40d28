//! How many messages may leave now, under one or several rates at once. Pure: time is an argument, the state is in a row.
//!
//! The rate with the shortest span sets the pace: its bucket fills evenly and holds hardly more than one message, so that no
//! second sees more than the rate allows, whoever borrows. A longer span is a quota: what was spent is kept by slices of the span
//! and counts until the whole slice has left it, so that no window of that length, wherever it starts, sees more. A rate of
//! its own is its own pace: `50000/d` alone is spread over the day, beside `14/s` it is what a day may see.
//!
//! A clock that is set back gives nothing, and blocks for [`SKEW`] at most.

use std::time::Duration;

use super::settings::Rate;
use crate::runtime::Timestamp;

/// Millionths of a message.
const ONE: i64 = 1_000_000;

/// What the bucket may hold beyond one message: what a late wake-up would lose otherwise.
const SLACK_MS: i64 = 20;

/// A quota's span is kept in so many slices.
const SLICES: i64 = 24;

/// Clocks of several machines differ by less than this; more is a clock that was set back.
const SKEW: Duration = Duration::from_secs(5);

/// One rate with what is left of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub rate: Rate,
    /// Millionths of a message, as of `refilled_at`. Of the pace only.
    pub tokens: i64,
    pub refilled_at: Timestamp,
    /// Slice number and messages, the oldest first. Of quotas only.
    pub spent: Vec<(i64, i64)>,
}

/// All rates of one lane or relay. Without any there is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts(Vec<Account>);

impl Account {
    /// A rate that was not used yet: one message is free.
    pub fn fresh(rate: Rate, now: Timestamp) -> Account {
        Account { rate, tokens: ONE, refilled_at: now, spent: Vec::new() }
    }

    fn span(&self) -> i64 {
        (self.rate.per.as_millis() as i64).max(1)
    }

    /// `share` of the rate, in thousandths, while it is slowed down.
    fn refill(&mut self, share: u32, now: Timestamp) {
        if self.refilled_at > now {
            if self.refilled_at.since(now) > SKEW {
                self.refilled_at = now;
            }
            return;
        }
        let elapsed = now.since(self.refilled_at).as_millis() as i128;
        let per = i128::from(self.span());
        let grown = |ms: i128| ms * i128::from(self.rate.count) * i128::from(ONE) / per;
        let full = i128::from(ONE) + grown(i128::from(SLACK_MS));
        let tokens = i128::from(self.tokens) + grown(elapsed) * i128::from(share) / 1000;
        self.tokens = i64::try_from(tokens.min(full)).unwrap_or(ONE);
        self.refilled_at = now;
    }

    fn slice(&self) -> i64 {
        (self.span() / SLICES).max(1)
    }

    fn forget(&mut self, now: Timestamp) {
        let current = now.millis().div_euclid(self.slice());
        // After a clock was set back, the future is now.
        for (slice, _) in &mut self.spent {
            *slice = (*slice).min(current);
        }
        self.spent.retain(|(slice, count)| *slice >= current - SLICES && *count > 0);
    }

    fn left(&self) -> i64 {
        i64::from(self.rate.count) - self.spent.iter().map(|(_, count)| count).sum::<i64>()
    }

    fn spend(&mut self, count: i64, now: Timestamp) {
        let current = now.millis().div_euclid(self.slice());
        match self.spent.last_mut() {
            Some((slice, spent)) if *slice >= current => *spent = (*spent + count).max(0),
            _ => self.spent.push((current, count.max(0))),
        }
    }

    /// When the pace has its next message, or the quota forgets its oldest slice.
    fn wait(&self, paces: bool, share: u32, now: Timestamp) -> Duration {
        let millis = if paces {
            let missing = i128::from((ONE - self.tokens).max(0)) * i128::from(self.span()) * 1000;
            let speed = i128::from(self.rate.count.max(1)) * i128::from(ONE) * i128::from(share.max(1));
            i64::try_from((missing + speed - 1) / speed).unwrap_or(i64::MAX)
                + (self.refilled_at.millis() - now.millis()).max(0)
        } else {
            let oldest = self.spent.first().map_or(0, |(slice, _)| *slice);
            (oldest + SLICES + 1) * self.slice() - now.millis()
        };
        Duration::from_millis(millis.max(1) as u64)
    }
}

impl Accounts {
    pub fn new(mut accounts: Vec<Account>) -> Accounts {
        accounts.sort_by_key(|account| account.rate.per);
        Accounts(accounts)
    }

    pub fn is_unlimited(&self) -> bool {
        self.0.is_empty()
    }

    pub fn each(&self) -> &[Account] {
        &self.0
    }

    /// A hundredth of a second's worth, at least one message: so much is worth borrowing ahead.
    pub fn chunk(&self) -> u64 {
        let per_second = self.0.first().map_or(0, |pace| i64::from(pace.rate.count) * 1000 / pace.span());
        (per_second / 100).max(1) as u64
    }

    /// Borrows up to `wanted` messages, of `share` thousandths of the pace. All rates hold at once.
    ///
    /// # Errors
    /// When there is none: how long until there may be one.
    pub fn borrow(&mut self, wanted: u64, share: u32, now: Timestamp) -> Result<u64, Duration> {
        let mut given = i64::try_from(wanted).unwrap_or(i64::MAX);
        for (at, account) in self.0.iter_mut().enumerate() {
            let left = if at == 0 {
                account.refill(share, now);
                account.tokens / ONE
            } else {
                account.forget(now);
                account.left()
            };
            if left <= 0 {
                return Err(account.wait(at == 0, share, now));
            }
            given = given.min(left);
        }
        self.book(given, now);
        Ok(given.max(0) as u64)
    }

    /// Takes back what was borrowed and not used.
    pub fn give_back(&mut self, count: u64, now: Timestamp) {
        self.book(-i64::try_from(count).unwrap_or(0), now);
    }

    fn book(&mut self, count: i64, now: Timestamp) {
        for (at, account) in self.0.iter_mut().enumerate() {
            match at {
                0 => account.tokens -= count.saturating_mul(ONE),
                _ => account.spend(count, now),
            }
        }
    }
}

/// `slice:messages` with commas, as a row keeps it.
pub fn spent_as_text(spent: &[(i64, i64)]) -> String {
    spent.iter().map(|(slice, count)| format!("{slice}:{count}")).collect::<Vec<_>>().join(",")
}

/// The reverse of [`spent_as_text`]; `None`: somebody else wrote it.
pub fn spent_from_text(text: &str) -> Option<Vec<(i64, i64)>> {
    let pair = |one: &str| {
        let (slice, count) = one.split_once(':')?;
        Some((slice.parse().ok()?, count.parse().ok()?))
    };
    text.split(',').filter(|one| !one.is_empty()).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(count: u32, seconds: u64) -> Rate {
        Rate { count, per: Duration::from_secs(seconds) }
    }

    fn accounts(rates: &[Rate]) -> Accounts {
        Accounts::new(rates.iter().map(|rate| Account::fresh(*rate, Timestamp(0))).collect())
    }

    /// Borrows as much as there is every `step` ms until `end`; answers when each message left.
    fn run(accounts: &mut Accounts, step: i64, end: i64) -> Vec<i64> {
        let mut left = Vec::new();
        for at in (0..end).step_by(step as usize) {
            while let Ok(count) = accounts.borrow(accounts.chunk(), 1000, Timestamp(at)) {
                left.extend(std::iter::repeat_n(at, count as usize));
            }
        }
        left
    }

    /// The most in any window of `span` ms.
    fn busiest(left: &[i64], span: i64) -> usize {
        let within = |start: &i64| left.iter().filter(|at| (*start..start + span).contains(*at)).count();
        left.iter().map(within).max().unwrap_or(0)
    }

    #[test]
    fn no_second_sees_more_than_the_pace() {
        for (count, most) in [(14, 15), (50, 52), (100, 103), (1000, 1021)] {
            let left = run(&mut accounts(&[rate(count, 1)]), 3, 10_000);
            assert!(left.len() >= count as usize * 10 - 1, "{count}/s: {} in ten seconds", left.len());
            assert!(busiest(&left, 1000) <= most, "{count}/s: {}", busiest(&left, 1000));
        }
    }

    #[test]
    fn a_long_span_alone_is_spread_over_it() {
        let left = run(&mut accounts(&[rate(60, 60)]), 100, 60_000);
        assert_eq!((left.len(), busiest(&left, 1000)), (60, 1));
    }

    #[test]
    fn a_quota_beside_a_pace_is_what_its_span_may_see() {
        let mut both = accounts(&[rate(500, 3600), rate(1, 1)]);
        let left = run(&mut both, 500, 3 * 3_600_000);
        assert_eq!(left.iter().filter(|at| **at < 501_000).count(), 500, "at full pace until it is used up");
        assert!(busiest(&left, 3_600_000) <= 500, "wherever the hour starts");
        assert!(left.len() >= 1300, "and again an hour later: {}", left.len());
    }

    #[test]
    fn an_empty_account_says_when_to_ask_again() {
        let mut pace = accounts(&[rate(4, 1)]);
        assert_eq!(pace.borrow(9, 1000, Timestamp(0)), Ok(1));
        let wait = pace.borrow(9, 1000, Timestamp(0)).unwrap_err();
        assert_eq!(wait, Duration::from_millis(250));
        assert_eq!(pace.borrow(9, 1000, Timestamp(250)), Ok(1));
        assert_eq!(
            pace.borrow(9, 500, Timestamp(250)).unwrap_err(),
            Duration::from_millis(500),
            "at half the pace"
        );
        let mut quota = accounts(&[rate(100, 1), rate(1, 3600)]);
        assert_eq!(quota.borrow(9, 1000, Timestamp(10)), Ok(1));
        let wait = quota.borrow(9, 1000, Timestamp(1000)).unwrap_err();
        assert!(wait >= Duration::from_secs(3599) && wait <= Duration::from_secs(3600 + 150), "{wait:?}");
    }

    #[test]
    fn a_clock_that_is_set_back_gives_nothing_and_does_not_block() {
        let mut pace = accounts(&[rate(10, 1), rate(1000, 3600)]);
        assert_eq!(pace.borrow(9, 1000, Timestamp(100_000)), Ok(1));
        for _ in 0..100 {
            assert!(pace.borrow(9, 1000, Timestamp(0)).is_err(), "no tokens from going back");
            assert!(pace.borrow(9, 1000, Timestamp(50)).is_err() || pace.each()[0].tokens < ONE);
        }
        assert_eq!(pace.borrow(9, 1000, Timestamp(150)), Ok(1), "and on at its pace from there");
        // Two machines a little apart: the one behind waits, and wins nothing by it.
        let mut near = accounts(&[rate(10, 1)]);
        assert_eq!(near.borrow(1, 1000, Timestamp(1000)), Ok(1));
        assert!(near.borrow(1, 1000, Timestamp(900)).is_err());
        assert!(near.borrow(1, 1000, Timestamp(1070)).is_err());
        assert_eq!(near.borrow(1, 1000, Timestamp(1101)), Ok(1));
    }

    #[test]
    fn what_was_not_used_comes_back() {
        let mut both = accounts(&[rate(1000, 1), rate(5000, 3600)]);
        let given = both.borrow(10, 1000, Timestamp(1000)).unwrap();
        let after = both.clone();
        both.give_back(given, Timestamp(1000));
        assert_eq!(both.borrow(10, 1000, Timestamp(1000)), Ok(given));
        assert_eq!(both, after);
    }

    #[test]
    fn spent_is_written_and_read() {
        for spent in [vec![], vec![(3, 4)], vec![(-1, 2), (3, 4)]] {
            assert_eq!(spent_from_text(&spent_as_text(&spent)), Some(spent));
        }
        assert_eq!(spent_from_text("x"), None);
    }
}
