//! How many of something each address has.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;

/// Counts by address; an address that has none takes no memory.
#[derive(Default)]
pub struct Tally(RefCell<HashMap<IpAddr, usize>>);

impl Tally {
    /// One more.
    pub fn add(&self, address: IpAddr) {
        *self.0.borrow_mut().entry(address).or_insert(0) += 1;
    }

    /// One less.
    pub fn remove(&self, address: IpAddr) {
        let mut counts = self.0.borrow_mut();
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }

    /// How many it has.
    pub fn of(&self, address: IpAddr) -> usize {
        self.0.borrow().get(&address).copied().unwrap_or(0)
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
}
