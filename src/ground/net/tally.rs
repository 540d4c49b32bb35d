//! How many of something each client address has. IPv6 counts by /64: that much one subscriber has (RFC 6177).

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// Counts by address; an address that has none takes no memory.
#[derive(Default)]
pub struct Tally(RefCell<HashMap<IpAddr, usize>>);

impl Tally {
    /// One more.
    pub fn add(&self, address: IpAddr) {
        *self.0.borrow_mut().entry(network(address)).or_insert(0) += 1;
    }

    /// One less.
    pub fn remove(&self, address: IpAddr) {
        let mut counts = self.0.borrow_mut();
        if let Some(count) = counts.get_mut(&network(address)) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&network(address));
            }
        }
    }

    /// How many it has.
    pub fn of(&self, address: IpAddr) -> usize {
        self.0.borrow().get(&network(address)).copied().unwrap_or(0)
    }
}

/// What an address is counted as.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_any_is_forgotten() {
        let (tally, a, b) = (Tally::default(), [1, 1, 1, 1].into(), [2, 2, 2, 2].into());
        [a, a, b].iter().for_each(|address| tally.add(*address));
        assert_eq!((tally.of(a), tally.of(b)), (2, 1));
        [b, b, a].iter().for_each(|address| tally.remove(*address));
        assert_eq!((tally.of(a), tally.of(b)), (1, 0));
        assert_eq!(tally.0.borrow().len(), 1);
    }

    #[test]
    fn ipv6_counts_by_64_and_ipv4_by_address() {
        let tally = Tally::default();
        let of = |text: &str| tally.of(text.parse().unwrap());
        let all = [
            "2001:db8::1",
            "2001:db8::2:3:4:5",
            "2001:db8:0:1::1",
            "::ffff:1.1.1.1",
            "1.1.1.2",
        ];
        all.iter().for_each(|text| tally.add(text.parse().unwrap()));
        assert_eq!((of("2001:db8::9"), of("2001:db8:0:1::9")), (2, 1));
        assert_eq!((of("1.1.1.1"), of("1.1.1.2"), of("1.1.1.3")), (1, 1, 0));
    }
}
