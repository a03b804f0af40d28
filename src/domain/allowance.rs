//! How often one place in the network may ask for something that costs others: counted in fixed windows, per address and per
//! neighbourhood (IPv6 by /64 and /48, because one customer has that many; IPv4 by /32 and /24), and over all (W213).
//!
//! Limits: memory is bounded. While it is full, newcomers are counted together only.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::runtime::Timestamp;

/// Places that are remembered at once: about 2 MB.
const PLACES: usize = 20_000;

/// Addresses with the same first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

impl Network {
    /// The network of `bits` that an address is in. An IPv4 address inside of IPv6 counts as what it is.
    pub fn of(address: IpAddr, bits: u8) -> Network {
        let first = match address.to_canonical() {
            IpAddr::V4(v4) => {
                let kept = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & kept))
            }
            IpAddr::V6(v6) => {
                let kept = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & kept))
            }
        };
        Network { first, bits }
    }

    /// `10.0.0.0/8`, or a single address. `None` when it is neither.
    pub fn parse(text: &str) -> Option<Network> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address.parse::<IpAddr>().ok()?, bits.parse::<u8>().ok()?),
            None => {
                let address: IpAddr = text.parse().ok()?;
                (address, if address.is_ipv4() { 32 } else { 128 })
            }
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        (bits <= most).then(|| Network::of(address, bits))
    }

    pub fn holds(&self, address: IpAddr) -> bool {
        let same_family = address.to_canonical().is_ipv4() == self.first.is_ipv4();
        same_family && Network::of(address, self.bits).first == self.first
    }
}

/// What is allowed within one window.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    pub window: Duration,
    pub address: u32,
    pub neighbourhood: u32,
    pub all: u32,
}

/// Counts who asked.
#[derive(Debug)]
pub struct Allowance {
    quota: Quota,
    began: Timestamp,
    all: u32,
    places: HashMap<Network, u32>,
}

impl Allowance {
    pub fn new(quota: Quota) -> Allowance {
        Allowance { quota, began: Timestamp(0), all: 0, places: HashMap::new() }
    }

    /// Counts one request from there. Answers whether it is within what is allowed.
    pub fn take(&mut self, from: IpAddr, now: Timestamp) -> bool {
        if now.since(self.began) >= self.quota.window || now < self.began {
            self.began = now;
            self.all = 0;
            self.places.clear();
        }
        let (near, far) = if from.to_canonical().is_ipv4() { (32, 24) } else { (64, 48) };
        let near = self.count(Network::of(from, near)) < self.quota.address;
        let far = self.count(Network::of(from, far)) < self.quota.neighbourhood;
        // Who is refused takes nothing from the others.
        let allowed = near && far && self.all < self.quota.all;
        self.all += u32::from(allowed);
        allowed
    }

    /// How often this place asked before.
    fn count(&mut self, place: Network) -> u32 {
        if self.places.len() >= PLACES && !self.places.contains_key(&place) {
            return 0;
        }
        let count = self.places.entry(place).or_default();
        *count = count.saturating_add(1);
        *count - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota { window: Duration::from_secs(3600), address: 3, neighbourhood: 5, all: 1000 };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn w213_one_customer_is_one_place_however_many_addresses_it_has() {
        let mut allowance = Allowance::new(QUOTA);
        let allowed =
            (0..100).filter(|n| allowance.take(ip(&format!("2001:db8:1:1::{n:x}")), Timestamp(1000))).count();
        assert_eq!(allowed, 3, "of 100 from one /64");
        let allowed =
            (2..100).filter(|n| allowance.take(ip(&format!("2001:db8:1:{n:x}::1")), Timestamp(1000))).count();
        assert_eq!(allowed, 0, "the /48 asked a hundred times already");
        assert!(allowance.take(ip("2001:db8:2::1"), Timestamp(1000)));
        assert!(allowance.take(ip("2001:db8:1:1::1"), Timestamp(1000 + 3_600_000)), "an hour later");
    }

    #[test]
    fn all_together_have_a_limit_and_refused_ones_do_not_count() {
        let mut allowance = Allowance::new(Quota { all: 4, ..QUOTA });
        let ask = |allowance: &mut Allowance, text: &str| allowance.take(ip(text), Timestamp(1000));
        let first: Vec<bool> = (0..5).map(|_| ask(&mut allowance, "192.0.2.1")).collect();
        assert_eq!(first, [true, true, true, false, false]);
        assert!(ask(&mut allowance, "198.51.100.1"));
        assert!(!ask(&mut allowance, "203.0.113.1"));
    }

    #[test]
    fn memory_is_bounded() {
        let mut allowance = Allowance::new(Quota { all: u32::MAX, ..QUOTA });
        for n in 0..30_000_u32 {
            allowance.take(IpAddr::V4(Ipv4Addr::from_bits(n << 8)), Timestamp(1000));
        }
        assert!(allowance.places.len() <= PLACES);
    }

    #[test]
    fn networks_are_read_and_hold_their_addresses() {
        let network = |text: &str| Network::parse(text).unwrap();
        assert!(
            network("10.0.0.0/8").holds(ip("10.255.0.1")) && !network("10.0.0.0/8").holds(ip("11.0.0.1"))
        );
        assert!(network("127.0.0.1").holds(ip("127.0.0.1")) && !network("127.0.0.1").holds(ip("127.0.0.2")));
        assert!(network("10.0.0.0/8").holds(ip("::ffff:10.1.2.3")));
        assert!(network("2001:db8::/32").holds(ip("2001:db8::1")));
        assert!(network("0.0.0.0/0").holds(ip("1.2.3.4")) && !network("0.0.0.0/0").holds(ip("::1")));
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0", "10.0.0.0/", "x/8"] {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
    }
}
