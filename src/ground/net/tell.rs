//! Lines of the log that anybody can cause: one an address, matter and minute, with a count of those that it stands for.

use super::tally::network;
use crate::ground::tasks::{Single, Tasks};
use smol::Timer;
use std::cell::RefCell;
use std::fmt::Arguments;
use std::net::IpAddr;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// Addresses and matters that are told apart in a minute; all that are more have one line together.
const MOST: usize = 256;

/// Something that was told of an address in the last minute.
struct Told {
    /// `None` for all that are too many.
    address: Option<IpAddr>,
    matter: &'static str,
    /// How often it came again since.
    again: u64,
}

#[derive(Default)]
struct Teller {
    told: RefCell<Vec<Told>>,
    minutes: Single,
    tasks: RefCell<Option<Tasks>>,
}

thread_local! {
    static CURRENT: Teller = Teller::default();
}

/// `tasks` run what tells how often something came again. Until this is called nobody does.
pub fn start(tasks: Tasks) {
    CURRENT.with(|teller| *teller.tasks.borrow_mut() = Some(tasks));
}

/// Tells something that a client of this address did: a line now, unless one about the same matter stands for it.
pub fn tell(address: IpAddr, matter: &'static str, line: Arguments<'_>) {
    CURRENT.with(|teller| {
        if let Some(address) = teller.is_new(network(address), matter) {
            log::info!("{matter} of {address}: {line}");
        }
        if let Some(tasks) = &*teller.tasks.borrow() {
            let count = || async {
                while CURRENT.with(|teller| !teller.told.borrow().is_empty()) {
                    Timer::after(MINUTE).await;
                    CURRENT.with(Teller::count);
                }
            };
            teller.minutes.start(tasks, "counts what was told", count);
        }
    });
}

impl Teller {
    /// What the line names, if there is to be one.
    fn is_new(&self, address: IpAddr, matter: &'static str) -> Option<String> {
        let mut told = self.told.borrow_mut();
        let known = |told: &&mut Told| match told.address {
            Some(known) => known == address && told.matter == matter,
            None => true,
        };
        if let Some(known) = told.iter_mut().find(known) {
            known.again += 1;
            return None;
        }
        let too_many = told.len() == MOST;
        let (address, matter) = match too_many {
            true => (None, "the like"),
            false => (Some(address), matter),
        };
        told.push(Told {
            address,
            matter,
            again: 0,
        });
        Some(named(address))
    }

    /// A minute is over: tells how often what was told came again, and forgets what did not.
    fn count(&self) {
        self.told.borrow_mut().retain_mut(|told| {
            let again = std::mem::take(&mut told.again);
            if again > 0 {
                let (matter, address) = (told.matter, named(told.address));
                log::info!("{matter} of {address}: {again} more in a minute");
            }
            again > 0
        });
    }
}

fn named(address: Option<IpAddr>) -> String {
    match address {
        Some(address @ IpAddr::V6(_)) => format!("{address}/64"),
        Some(address) => address.to_string(),
        None => "many addresses".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(teller: &Teller) -> Vec<u64> {
        teller.told.borrow().iter().map(|told| told.again).collect()
    }

    #[test]
    fn one_line_an_address_and_matter() {
        let teller = Teller::default();
        let told = |text: &str, matter| teller.is_new(network(text.parse().unwrap()), matter);
        assert_eq!(told("192.0.2.1", "a").unwrap(), "192.0.2.1");
        assert_eq!(told("2001:db8::1", "a").unwrap(), "2001:db8::/64");
        assert_eq!(told("2001:db8::2", "a"), None);
        assert_eq!(told("::ffff:192.0.2.1", "a"), None);
        assert!(told("192.0.2.1", "b").is_some() && told("192.0.2.2", "a").is_some());
        assert_eq!(again(&teller), [1, 1, 0, 0]);
        // What goes on keeps its one line a minute; what does not is forgotten.
        teller.count();
        assert_eq!(again(&teller), [0, 0]);
        assert_eq!(told("192.0.2.1", "a"), None);
        teller.count();
        teller.count();
        assert!(again(&teller).is_empty() && told("192.0.2.1", "a").is_some());
    }

    #[test]
    fn as_many_addresses_as_there_are_cost_so_many_lines() {
        let teller = Teller::default();
        let lines = (0..100_000u32).filter_map(|n| teller.is_new(IpAddr::V4(n.into()), "a"));
        assert_eq!(lines.count(), MOST + 1);
        let told = teller.told.borrow();
        assert_eq!(
            (told.len(), told[MOST].again),
            (MOST + 1, 100_000 - MOST as u64 - 1)
        );
    }
}
